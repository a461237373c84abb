"""Comparing two ladders gives the factor of compute between them, with an interval that covers."""

import numpy as np
import pytest

from analysis.compare import compare
from analysis.laws import Chinchilla
from analysis.table import Table
from scaling.errors import InputError


def ladder(gain, noise, seed, n=8, **columns):
    C = np.geomspace(1e15, 1e19, n)
    wobble = np.exp(noise * np.random.default_rng(seed).standard_normal(n))
    return Table.from_columns({"flops": C, "loss": (3e26 / (C * gain)) ** 0.05 * wobble, **columns})


def test_a_ladder_that_needs_a_third_less_compute_is_seen():
    found = compare(ladder(1.0, 0.0, 0), ladder(1.5, 0.0, 0))
    assert [g.value for g in found.gains] == pytest.approx([1.5] * 3)
    assert found.gains[0].loss > found.gains[-1].loss


def test_the_interval_of_the_gain_covers():
    hits = 0
    for seed in range(60):
        last = compare(ladder(1.0, 0.004, seed), ladder(1.3, 0.004, 1000 + seed)).gains[-1]
        hits += last.low <= 1.3 <= last.high
    assert hits >= 51  # 3 standard errors of a binomial with p = 0.95 below 57, and a little


def test_equal_ladders_show_no_difference():
    found = compare(ladder(1.0, 0.004, 1), ladder(1.0, 0.004, 2))
    assert found.verdict == "no difference is shown"
    assert found.verdict in found.text()


def test_exchanging_the_ladders_turns_the_gain_around():
    A, B = ladder(1.0, 0.004, 1), ladder(1.3, 0.004, 2)
    for one, other in zip(compare(A, B).gains, compare(B, A).gains, strict=True):
        assert (one.value, one.low, one.high) == pytest.approx((1 / other.value, 1 / other.high, 1 / other.low))


def test_surfaces_are_compared_at_their_optima():
    N, D = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 1e10, 6), np.geomspace(3e8, 1e11, 6)))
    rng = np.random.default_rng(0)

    def runs(scale):
        law = Chinchilla(1.8, 480.0 * scale, 2100.0 * scale, 0.35, 0.35)
        return Table.from_columns(
            {"params": N, "tokens": D, "loss": law(N, D) * np.exp(0.001 * rng.standard_normal(36))}
        )

    # Both terms fall by s: N and D may each shrink by s^(1/0.35), compute by its square.
    found = compare(runs(1.0), runs(0.95), law="chinchilla").gains[-1]
    assert found.low < 0.95 ** (-2 / 0.35) < found.high


def test_ladders_that_share_no_losses_cannot_be_compared():
    C = np.geomspace(1e15, 1e17, 6)
    low, high = (Table.from_columns({"flops": C, "loss": s * C**-0.05}) for s in (10.0, 40.0))
    with pytest.raises(InputError, match="share no losses"):
        compare(low, high)


def test_different_vocabularies_are_warned_about():
    A, B = ladder(1.0, 0.004, 1, n_vocab=[1000] * 8), ladder(1.3, 0.004, 2, n_vocab=[32000] * 8)
    assert "use bits per byte" in compare(A, B).notes[0]


def test_a_diverged_run_is_left_out():
    A, B = ladder(1.0, 0.0, 1), ladder(1.5, 0.0, 2)
    loss, status = B["loss"].copy(), np.array(["done"] * 7 + ["diverged"])
    loss[7] = np.nan
    found = compare(A, B.with_columns(loss=loss, status=status))
    assert found.gains[-1].value == pytest.approx(1.5)
