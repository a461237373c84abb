"""Figures 10 and 18: the critical batch of the truth comes back, and the noise scale is held against it."""

import dataclasses

import kaplan_records as known
import numpy as np
import pytest

from analysis.papers.drawn import Drawn
from analysis.papers.evidence import Experiments
from analysis.papers.kaplan.claims import Kaplan
from analysis.papers.kaplan.paper import PAPER
from analysis.records import Records


@pytest.fixture(scope="module")
def batch() -> Records:
    return known.batch()


def draw(name: str, experiments: Experiments) -> Drawn:
    return PAPER.draw_one(name, Kaplan(experiments))


def with_noise(records: Records, factor: float) -> Records:
    """The gradient noise scale times a factor."""
    curves = records.curves.with_columns(noise_trace=records.curves["noise_trace"] * factor)
    return dataclasses.replace(records, curves=curves)


def test_the_exponent_of_the_critical_batch_is_within_its_interval(batch):
    found = draw("fig10", {"batch": batch})
    assert found.decided
    alpha, star = found.claims
    assert alpha.interval is not None
    assert alpha.interval[0] < known.TRUTH.alpha_B < alpha.interval[1]
    assert star.interval is not None
    assert star.interval[0] < known.TRUTH.B_star < star.interval[1]
    assert star.enough is None
    assert "The two agree within the interval" in found.sentences[0]


def test_the_interval_of_the_critical_batch_holds_over_draws():
    inside = 0
    for seed in range(3):
        low, high = Kaplan({"batch": known.batch(seed=seed)}).alpha_B.interval or (0, np.inf)
        inside += low < known.TRUTH.alpha_B < high
    assert inside >= 2


def test_a_noise_scale_equal_to_the_critical_batch_agrees(batch):
    assert any("the two agree within their intervals" in text for text in draw("fig10", {"batch": batch}).sentences)


def test_a_noise_scale_three_times_off_is_told_and_explained(batch):
    sentences = draw("fig10", {"batch": with_noise(batch, 3.0)}).sentences
    (text,) = (text for text in sentences if "gradient noise scale" in text)
    assert "is 3." in text or "is 2.9" in text
    assert "measure different things" in text


def test_one_batch_size_decides_nothing(batch):
    one = batch.curves.where(batch.curves["batch_tokens"] == 256, "another batch")
    few = {"batch": dataclasses.replace(batch, curves=one)}
    for found in (draw("fig10", few), draw("fig18", few), draw("fig10", {}), draw("fig18", {})):
        assert not found.decided
        assert found.open[0].startswith("cannot decide")


def test_steps_and_tokens_lie_on_hyperbolas(batch):
    found = draw("fig18", {"batch": batch})
    assert found.decided
    assert "along (S/S_min - 1)(E/E_min - 1) = 1" in found.sentences[-1]
    np.testing.assert_allclose(found.data["tokens"], found.data["steps"] * found.data["batch_tokens"])
