"""Figures 10 and 18: the critical batch of the truth comes back, and the noise scale is held against it."""

import dataclasses
import re

import kaplan_records as known
import numpy as np
import pytest

from analysis import digits
from analysis.papers.drawn import Drawn
from analysis.papers.evidence import Experiments
from analysis.papers.kaplan.claims import Kaplan
from analysis.papers.kaplan.paper import PAPER
from analysis.records import Records

POWER = 0.47  # of D, where the critical batch goes with it


@pytest.fixture(scope="module")
def batch() -> Records:
    return known.batch()


def draw(name: str, experiments: Experiments) -> Drawn:
    return PAPER.draw_one(name, Kaplan(experiments))


def with_noise(records: Records, factor: float) -> Records:
    """The gradient noise scale times a factor."""
    curves = records.curves.with_columns(noise_trace=records.curves["noise_trace"] * factor)
    return dataclasses.replace(records, curves=curves)


@pytest.fixture(scope="module")
def found(batch) -> Drawn:
    return draw("fig10", {"batch": batch})


def test_the_exponent_of_the_critical_batch_is_within_its_interval(found):
    assert found.decided
    alpha, star = found.claims
    assert alpha.interval is not None
    assert alpha.interval[0] < known.TRUTH.alpha_B < alpha.interval[1]
    assert star.interval is not None
    assert star.interval[0] < known.TRUTH.B_star < star.interval[1]
    assert star.enough is None
    assert any("The two agree within the interval" in text for text in found.sentences)


def test_the_interval_of_the_critical_batch_holds_over_draws():
    inside = 0
    for seed in range(3):
        low, high = Kaplan({"batch": known.batch(seed=seed)}).alpha_B.interval or (0, np.inf)
        inside += low < known.TRUTH.alpha_B < high
    assert inside >= 2


def critical_by_data(N: float, S: np.ndarray, B: float) -> np.ndarray:
    """Losses whose critical batch is a power of the tokens D = 2 S_min B_crit to them, whatever N is."""
    free = known.TRUTH.path.converged(N)
    loss = free + np.geomspace(1e-3, 20, 4000)
    S_min = known.TRUTH.S_c * (loss - free) ** (-1 / known.TRUTH.alpha_S)
    B_crit = (2e3 * (2 * S_min / 1e6) ** POWER) ** (1 / (1 - POWER))  # = 2e3 (D / 1e6)^POWER
    return np.exp(np.interp(-np.log(S), -np.log(S_min * (1 + B_crit / B)), np.log(loss)))


def test_whether_the_critical_batch_goes_with_the_loss_or_with_D_is_what_was_planted(found):
    assert "it goes with the loss, as in the paper" in found.sentences[0]
    text = draw("fig10", {"batch": known.batch(law=critical_by_data, warmup=1e-3)}).sentences[0]
    assert "it goes with D, as Zhang et al. (2024) found" in text
    power = re.search(r"D\^([\d.]+) \(([\d.]+) to ([\d.]+)\)", text)
    assert power is not None
    assert float(power[1]) == pytest.approx(POWER, abs=0.1)


def test_a_noise_scale_equal_to_the_critical_batch_agrees(found):
    assert any("the two agree within their intervals" in text for text in found.sentences)


def test_a_noise_scale_three_times_off_is_told_and_what_lies_before_the_onset_of_context_use_is_left_out(batch):
    """The smaller size reaches the onset at once here, the larger one never."""
    runs = batch.runs
    smaller = runs["params"] == runs["params"].min()
    early = dataclasses.replace(batch, runs=runs.with_columns(onset=np.where(smaller, 1.0, np.nan)))
    found = draw("fig10", {"batch": with_noise(early, 3.0)})
    (text,) = (text for text in found.sentences if "gradient noise scale" in text)
    assert "is 3." in text or "is 2.9" in text
    assert "measure different things" in text
    assert set(found.data["params"]) == {runs["params"].min()}
    (text,) = (text for text in found.sentences if text.startswith("Models begin to use their context"))
    assert f"below all losses here at N = {digits.short(runs['params'].max())}" in text


def test_one_batch_size_decides_nothing(batch):
    one = batch.curves.where(batch.curves["batch_tokens"] == 256, "another batch")
    few = {"batch": dataclasses.replace(batch, curves=one)}
    for found in (draw("fig10", few), draw("fig18", few), draw("fig10", {}), draw("fig18", {})):
        assert not found.decided
        assert found.open[0].startswith("cannot decide")


def test_steps_and_tokens_lie_on_hyperbolas(batch):
    found = draw("fig18", {"batch": batch})
    assert found.decided
    assert "along (S/S_min - 1)(E/E_min - 1) = 1" in found.sentences[-2]
    np.testing.assert_allclose(found.data["tokens"], found.data["steps"] * found.data["batch_tokens"])
