"""The figure of a fit shows the law, its band and every run, marked by what became of it."""

import dataclasses
import io

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex
from matplotlib.text import Text

from analysis.fit import fit
from analysis.laws import LAWS, Chinchilla, HenighanN, Muennighoff, law_by_name
from analysis.page import fit_figure
from analysis.table import Table


def surface(noise=0.003):
    N, D = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 1e9, 5), np.geomspace(1e9, 1e11, 5)))
    loss = Chinchilla(1.8, 480.0, 2100.0, 0.35, 0.37)(N, D) * np.exp(noise * np.random.default_rng(0).normal(size=25))
    return Table.from_columns({"params": N, "tokens": D, "loss": loss})


@pytest.fixture(scope="module")
def fitted():
    return fit("chinchilla", surface(), loss="squared", hold_out="params", drop_worst=2)


def points(axes):
    """How many runs a panel shows, by marker group in the order fitted, held out, left out."""
    return [len(np.asarray(c.get_offsets())) for c in axes.collections if isinstance(c, PathCollection)]


def test_every_run_is_shown_and_marked_by_what_became_of_it(fitted):
    figure = fit_figure.draw(fitted, surface())
    assert points(figure.axes[0]) == points(figure.axes[1]) == [18, 5, 2]
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["fitted, 18", "held out, 5", "left out, 2"]


def test_a_notebook_shows_the_figure(fitted):
    assert fit_figure.draw(fitted, surface())._repr_svg_().startswith("<svg")


def test_axes_have_names_and_units(fitted):
    left, right, bar = fit_figure.draw(fitted, surface()).axes
    assert left.get_xlabel() == right.get_xlabel() == "Tokens D"
    assert left.get_ylabel() == "loss, nats/token"
    assert bar.get_ylabel() == "Parameters N"


def test_a_law_of_two_columns_has_a_curve_for_each_size(fitted):
    lines = [
        line for line in fit_figure.draw(fitted, surface()).axes[0].get_lines() if len(np.asarray(line.get_xdata())) > 2
    ]
    assert len({to_hex(line.get_color()) for line in lines}) == 5
    x, y = (np.asarray(v, float) for v in lines[0].get_data())
    np.testing.assert_allclose(y, fitted.law(1e7, x), rtol=1e-9)


def test_what_the_law_leaves_of_a_run_is_in_percent(fitted):
    table = surface()
    right = fit_figure.draw(fitted, table).axes[1]
    shown = np.concatenate(
        [np.asarray(c.get_offsets())[:, 1] for c in right.collections if isinstance(c, PathCollection)]
    )
    off = 100 * (table["loss"] / fitted.law(table["params"], table["tokens"]) - 1)
    kept = np.sort(np.clip(off, *right.get_ylim()))
    np.testing.assert_allclose(np.sort(np.asarray(shown, float)), kept, atol=1e-9)


def test_a_doubtful_fit_has_no_band(fitted):
    doubtful = dataclasses.replace(fitted, status="flat direction")
    with_, without = (fit_figure.draw(f, surface()).axes[0] for f in (fitted, doubtful))
    assert len(with_.collections) - len(without.collections) == 5
    assert without.get_title(loc="left") == "chinchilla, no band: flat direction"


def test_a_law_of_one_column_is_a_curve_over_its_runs():
    N = np.geomspace(1e5, 1e9, 9)
    table = Table.from_columns({"params": N, "loss": HenighanN(1.5, 1e8, 0.2)(N) * np.exp(0.002 * np.cos(9 * N))})
    left = fit_figure.draw(fit("henighan-n", table, loss="squared"), table).axes[0]
    assert points(left)[0] == 9
    assert left.get_xlabel() == "Parameters N"
    assert len(left.collections) >= 2  # a band beside the runs


def test_runs_below_0_are_shown_where_the_law_may_fall_below_it():
    d = np.geomspace(0.4, 3.0, 9)
    table = Table.from_columns({"distance": d, "gold": d * (1.5 - 0.65 * d) + 0.01 * np.cos(9 * d)})
    assert table["gold"].min() < 0
    figure = fit_figure.draw(fit("best-of-n", table), table)
    assert points(figure.axes[0]) == points(figure.axes[1]) == [9]
    assert figure.axes[0].get_yscale() == "linear"
    assert figure.axes[0].get_ylim()[0] < table["gold"].min()
    assert np.abs(figure.axes[1].get_ylim()).max() < 0.05  # in the unit of the gold reward


def test_a_law_of_three_columns_is_measured_against_predicted():
    rng = np.random.default_rng(5)
    law = Muennighoff(1.87, 520.0, 1490.0, 0.3527, 0.3527, R_D=15.4, R_N=5.3)
    N, D, U = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 5e9, 5), np.geomspace(1e9, 1e11, 5), [1e8, 1e10]))
    U = np.minimum(U, D)
    loss = law(N, D, U) * np.exp(0.003 * rng.standard_normal(len(N)))
    table = Table.from_columns({"params": N, "tokens": D, "unique_tokens": U, "loss": loss})
    figure = fit_figure.draw(fit("muennighoff", table, loss="squared"), table)
    assert figure.axes[0].get_xlabel() == "predicted loss, nats/token"
    assert figure.axes[0].get_ylabel() == "measured loss, nats/token"
    assert "<image" not in figure._repr_svg_()  # a page may show none


@pytest.mark.parametrize("law", [law.name for law in LAWS])
def test_every_column_of_every_law_has_a_label(law):
    for column in (*law_by_name(law).inputs, law_by_name(law).target):
        assert fit_figure.label(column)


def test_the_same_fit_gives_the_same_picture(fitted):
    def picture():
        buffer = io.BytesIO()
        fit_figure.draw(fitted, surface()).savefig(buffer, format="png", dpi=40)
        return buffer.getvalue()

    assert picture() == picture()


def test_no_text_leaves_the_canvas():
    """Runs left out that stand far off the law, as when the five largest losses are dropped."""
    table = surface()
    loss = table["loss"].copy()
    loss[np.argsort(loss)[-5:]] *= 1.5
    table = table.with_columns(loss=loss)
    figure = fit_figure.draw(fit("chinchilla", table, loss="squared", drop_worst=5), table)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    remark = figure.get_supxlabel()
    assert remark == "Left-out runs beyond the axis stand at its edge."
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text()]
    right = figure.axes[1]
    titles = [text for text in texts if text.get_text() in (right.get_title(loc="left"), right.get_title(), remark)]
    assert len(titles) >= 2
    for text in titles:
        box = text.get_window_extent(canvas.get_renderer())
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= figure.bbox.width
        assert box.y1 <= figure.bbox.height
