"""Figures: the same colour for the same size, the same text for the same data, ticks that a person can read."""

import subprocess
import sys
from xml.etree import ElementTree

import known_runs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import rgb_to_hsv, to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from analysis import digits
from analysis.findings.finding import HeldOutPrediction
from analysis.fit import fit
from analysis.fit.estimate import Fit
from analysis.page import canvas, plots, svg
from analysis.page.canvas import Shades
from analysis.table import Table


@pytest.fixture(scope="module")
def runs() -> Table:
    return known_runs.table(known_runs.grid())


@pytest.fixture(scope="module")
def surface(runs: Table) -> Fit:
    return fit("chinchilla", runs, loss="squared")


@pytest.fixture(scope="module")
def figures(runs: Table, surface: Fit) -> dict[str, Figure]:
    one = runs.where(runs["tokens"] == runs["tokens"].max(), "fewer tokens")
    size = fit("kaplan-n", one, loss="squared", every_run=True)
    said, law = (surface.band(one["params"], one["tokens"], run=run) for run in (True, False))
    held = HeldOutPrediction("a rule", one["params"], one["tokens"], one["loss"], *said, law.low, law.high)
    return {
        "curves": plots.learning_curves(known_runs.curves(runs)),
        "surface": plots.against_size_and_data(runs, surface),
        "joined": plots.against_size_and_data(runs),
        "size": plots.against_one(size, one),
        "residuals": plots.residuals(surface, runs, sigma=0.003),
        "positions": plots.positions(known_runs.positions(one)),
        "held out": plots.held_out(held),
    }


def test_a_size_has_one_colour_in_all_figures(figures, runs):
    shades = Shades.of(runs)
    for name in ("curves", "surface", "joined", "size", "residuals", "positions"):
        legend = figures[name].legends[0]
        sizes = [text.get_text() for text in legend.get_texts()]
        colours = [handle.get_color() for handle in legend.legend_handles]
        expected = {digits.short(N): shades(N) for N in np.unique(runs["params"])}
        assert dict(zip(sizes, colours, strict=True)) == expected, name


def test_larger_sizes_are_darker_so_that_grey_paper_keeps_the_order():
    shades = Shades(1e3, 1e9)
    light = [float(np.dot(to_rgb(shades(N)), (0.2126, 0.7152, 0.0722))) for N in np.geomspace(1e3, 1e9, 30)]
    assert np.all(np.diff(light) < 0)
    assert rgb_to_hsv(to_rgb(shades(1e3)))[2] < 0.95  # still seen on white


def test_every_axis_has_a_name_and_a_unit(figures):
    for name, figure in figures.items():
        for axes in figure.axes:
            assert axes.get_xlabel(), name
            label = axes.get_ylabel() or axes.get_title(loc="left")
            assert label, name


def test_the_same_figure_is_the_same_text_with_its_own_ids(runs, surface):
    first, second = (svg.drawings(plots.against_size_and_data(runs, surface), "a") for _ in range(2))
    assert first == second
    other = svg.drawings(plots.against_size_and_data(runs, surface), "b")
    ids = [set(part.split('"')[0] for part in text.split(' id="')[1:]) for text in (first, other)]
    assert ids[0]
    assert not ids[0] & ids[1]
    assert "<text" in first


def test_a_notebook_shows_a_figure_as_svg(figures):
    for figure in figures.values():
        text = figure._repr_svg_()
        assert ElementTree.fromstring(text).tag.endswith("svg")


def test_each_mark_in_the_text_of_a_figure_names_its_run_and_lies_where_the_run_is(runs, surface):
    """Also those of a panel whose limits leave runs outside of the figure, which are not drawn."""
    figure = plots.against_size_and_data(runs, surface)
    left, right = figure.axes
    right.set_ylim(float(np.median(runs["loss"])), 1.2 * float(np.median(runs["loss"])))
    drawn = ElementTree.fromstring(svg.drawings(figure, "a"))
    sizes = figure.get_size_inches() * 72
    seen = 0
    for axes, panel, column in ((left, drawn[0], "params"), (right, drawn[1], "tokens")):
        box = [float(v) for v in panel.get("data-box", "").split()]
        ends = [float(v) for v in panel.get("data-x", "").split()]
        for group in panel.findall(".//*[@data-runs]"):
            marks, names = group.findall(".//use"), group.get("data-runs", "").split()
            assert len(marks) == len(names)
            for mark, name in zip(marks, names, strict=True):
                row = runs.names.index(name)
                share = (float(mark.get("x", "")) - box[0]) / box[2]
                assert ends[0] * (ends[1] / ends[0]) ** share == pytest.approx(runs[column][row], rel=1e-3)
                height = sizes[1] - axes.transData.transform((1.0, runs["loss"][row]))[1] * 72 / figure.dpi
                assert float(mark.get("y", "")) == pytest.approx(height, abs=0.02)
                seen += 1
    assert len(runs) < seen < 2 * len(runs)
    assert drawn.get("class") == "panels"


def test_no_figure_needs_pyplot():
    code = "import sys, analysis.page.plots; assert 'matplotlib.pyplot' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@given(st.floats(1e-3, 1e20), st.floats(1.001, 1e12))
def test_ticks_are_few_and_inside(low, ratio):
    at = canvas.ticks([low * ratio**k for k in np.linspace(0, 1, 9)])
    assert 1 <= len(at) <= 9
    assert min(at) >= low * (1 - 1e-9)
    assert max(at) <= low * ratio * (1 + 1e-9)


def test_few_values_are_their_own_ticks():
    assert canvas.ticks([2**17, 2**18, 2**19, 2**20, 2**20]) == [2**17, 2**18, 2**19, 2**20]
    assert canvas.ticks([64.0]) == [64.0]


def test_labels_of_lines_that_end_together_do_not_overlap(runs):
    together = runs.with_columns(loss=4 + 0.01 * runs["loss"])
    axes = plots.against_size_and_data(together.with_columns(loss=together["loss"].round(1))).axes[0]
    places = [float(note.xy[1]) for note in axes.texts if isinstance(note, Annotation)]
    y = np.sort(axes.transData.transform(np.column_stack([np.ones(len(places)), places]))[:, 1])
    assert len(y) == 4
    assert np.min(np.diff(y)) * 72 / axes.figure.dpi > 9
