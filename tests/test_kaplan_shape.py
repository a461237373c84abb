"""Figures 5, 6, 8 and 24: what was planted is found, what was not is not claimed."""

import dataclasses
import math
import re

import kaplan_ablation_records as known
import numpy as np
import pytest

from analysis.papers.drawn import Drawn
from analysis.papers.evidence import Evidence, Experiments
from analysis.papers.kaplan import depth, runs
from analysis.papers.kaplan.claims import Kaplan
from analysis.papers.kaplan.paper import PAPER
from analysis.papers.kaplan.transfer import short_name
from analysis.papers.kaplan.trend import Trend
from analysis.records import Records


def said(found: Drawn) -> str:
    return "\n".join([*found.sentences, *found.open])


def draw(name: str, experiments: Experiments) -> Drawn:
    return PAPER.draw_one(name, Kaplan(experiments))


def changed(experiments: Experiments, name: str, **columns: np.ndarray) -> dict[str, Records]:
    """The experiments with columns of one table of runs replaced."""
    records = experiments[name]
    return {**experiments, name: dataclasses.replace(records, runs=records.runs.with_columns(**columns))}


def test_a_planted_two_percent_of_shape_is_found():
    found = draw("fig5", {"shape": known.shape(lambda what, ratio: 0.02 if (what, ratio) == ("ff", 16) else 0.0)})
    assert found.decided
    (panel,) = (text for text in found.sentences if text.startswith("d_ff / d_model at"))
    assert panel.endswith(" at 16.0 (the paper (50M parameters): under 1 % from 0.5 to 4, 1.8 % at 8, 8.3 % at 40).")
    assert panel.count("±") == 1  # and no other
    row = np.flatnonzero((found.data["ratio_of"] == "d_ff / d_model") & (found.data["ratio"] == 16))[0]
    assert found.data["change"][row] == pytest.approx(0.02, abs=float(found.data["half_width"][row]))


def test_where_no_effect_of_shape_was_planted_none_is_claimed():
    claims = 0
    for seed in range(8):
        found = draw("fig5", {"shape": known.shape(seed=seed)})
        claims += sum("significant differences" in text for text in found.sentences)
    assert claims <= 3  # of 24 panels, at 95 % each


def test_small_deviations_of_N_are_no_effect_of_shape():
    experiments = {"shape": known.shape(noise=1e-5)}
    runs = experiments["shape"].runs
    N = np.where(runs["d_ff"] == 1024, 1.01 * 98304, runs["params"])
    moved = changed(experiments, "shape", params=N, loss=runs["loss"] * (N / 98304) ** -0.076)
    found = draw("fig5", moved).data
    assert np.max(np.abs(found["change"])) < 1e-4


def test_shapes_without_seeds_decide_nothing():
    found = draw("fig5", {"shape": known.shape(seeds=1)})
    assert not found.decided
    assert found.open[0].startswith("cannot decide: no setting has two seeds")
    assert found.figure is not None


def test_shapes_under_loud_noise_decide_nothing():
    found = draw("fig5", {"shape": known.shape(noise=0.02)})
    assert not found.decided
    assert "as large as those that the paper saw" in said(found)


def test_depths_fall_on_one_line_in_the_count_that_was_planted():
    without = draw("fig6", known.ladder(noise=0.001))
    assert without.decided
    assert "the one without is a line for all, as in the paper" in said(without)
    other = draw("fig6", known.ladder(noise=0.001, embeddings_count=True))
    assert other.decided
    assert "the other way round than in the paper" in said(other)


def test_depths_that_are_told_apart_in_no_count_decide_nothing():
    found = draw("fig6", known.ladder(noise=0.03))
    assert not found.decided
    assert "In neither count do the depths differ significantly" in said(found)
    assert found.figure is not None


def test_a_count_that_splits_significantly_and_one_that_nearly_does_tell_nothing():
    clear, nearly, none = (Trend(slope, slope - 0.01, slope + 0.01, 0, 0, 9) for slope in (0.014, 0.0072, 0.001))
    assert not depth._splits(nearly, clear)
    assert not depth._splits(clear, nearly)
    assert "other way round" in depth._splits(none, clear)
    assert "as in the paper" in depth._splits(clear, none)


@pytest.mark.parametrize("deeper", [0.02, 0.05])
def test_deeper_models_do_not_bend_the_line_that_they_are_held_against(deeper):
    found = draw("fig6", known.ladder(noise=1e-4, deeper=deeper))
    change = re.search(r"by \+([\d.]+) % \(\+([\d.]+) % to \+([\d.]+) %\) where it does not", found.sentences[0])
    assert change is not None
    value, low, high = (float(x) / 100 for x in change.groups())
    assert value == pytest.approx(deeper, rel=0.1)
    assert low < deeper < high


def test_a_line_of_sizes_has_one_depth_at_each_width():
    line = runs.line(runs.deep(Evidence(known.ladder()).need("grid")))
    shapes = sorted(set(zip(line["d_model"].tolist(), line["n_layer"].tolist(), strict=True)))
    assert shapes == list(known.LADDER)


def test_models_of_one_layer_are_seen_off_the_line_where_they_are():
    assert ", 0 of 3 outside the interval" in said(draw("fig6", known.ladder(noise=0.001, shallow=1.0)))
    assert "lie +4." in said(draw("fig6", known.ladder(noise=0.001, shallow=1.045)))


def test_transfer_in_proportion_gives_parallel_lines_and_dots_on_the_curve():
    found = draw("fig8", known.ladder())
    assert found.decided
    parallel, dots = found.sentences[1:]
    assert parallel.startswith("The lines are parallel")
    assert "hardly on how it was reached" in dots
    for sentence in (parallel, dots):
        assert "books" in sentence
        assert "wiki" in sentence


def test_a_text_on_which_size_helps_less_is_not_called_parallel():
    size = known.ladder()
    runs = size["steps"].runs
    found = draw("fig8", changed(size, "steps", loss_on_wiki=runs["loss_on_wiki"] * (runs["params"] / 1e4) ** 0.01))
    (offset,) = (text for text in found.sentences if "grows with N, as it does slowly in the paper" in text)
    assert ", +2.3 % (+2." in offset
    assert "books" not in offset
    (dots,) = (text for text in found.sentences if "lie off the curve of the largest" in text)
    assert "wiki" in dots
    assert "books" not in dots


def test_a_source_is_called_by_its_name():
    assert short_name("loss_on_text:../corpora/verse/validation*") == "verse"
    assert short_name("loss_on_/data/wiki.txt") == "wiki"
    assert short_name("loss_on_python") == "python"


def test_depth_is_told_from_no_depth_in_transfer():
    none = draw("fig24", {"shape": known.shape()})
    assert none.decided
    (text,) = (text for text in none.sentences if text.startswith("No effect of the depth"))
    assert "books" in text
    assert "wiki" in text
    some = draw("fig24", {"shape": known.shape(of_depth=0.005)})
    assert "A slight effect of the depth on transfer" in said(some)
    assert "No effect" not in said(some)


def test_texts_that_scatter_much_do_not_decide_on_depth():
    shape = known.shape()
    rng = np.random.default_rng(0)
    loud = shape.runs["loss_on_wiki"] * np.exp(0.05 * rng.normal(size=len(shape.runs)))
    found = draw("fig24", changed({"shape": shape}, "shape", loss_on_wiki=loud))
    assert not found.decided
    assert math.isfinite(found.data["loss_on_wiki"].sum())
