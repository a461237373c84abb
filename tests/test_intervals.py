"""Intervals: they hold the truth as often as they say, and know which rows depend on one another."""

import math

import numpy as np
import pytest
from drawn import TRUTH, grid, noisy

from analysis.confidence import t_quantile
from analysis.fit import fit, intervals, solver
from analysis.fit.solver import Objective, Problem
from analysis.laws import Chinchilla, KaplanN


def test_profile_intervals_cover_the_truth_as_often_as_they_say():
    """L(N) on 12 sizes, 1 % noise, 600 ladders: within three binomial standard errors of 95 %."""
    truth, n, m = KaplanN(8.8e13, 0.076), 12, 600
    N = np.geomspace(1e5, 1e9, n)
    y = np.log(truth(N)) + 0.01 * np.random.default_rng(7).normal(size=(m, n))
    theta = solver.to_theta(KaplanN, np.array([8.8e13, 0.076]))
    problem = Problem(KaplanN, Objective("squared"), (N,), y, np.ones((m, n)))
    found = solver.solve(problem, np.tile(theta, (m, 1)), data=np.arange(m))
    free = np.ones(2, bool)
    low, high, _ = intervals.profile(
        problem, found.theta, found.value, intervals.spread(problem, found.theta, free), free
    )
    covered = ((low <= theta) & (theta <= high)).mean(0)
    assert np.all(np.abs(covered - 0.95) < 3 * math.sqrt(0.95 * 0.05 / m)), covered


def test_a_profile_end_is_where_the_f_statistic_says():
    columns = grid(Chinchilla)
    table = noisy(Chinchilla(*TRUTH["chinchilla"]), columns, 0.005)
    found = fit("chinchilla", table, loss="squared")
    low, high = found.intervals["alpha"]
    n, p = found.n_runs, 5
    for end in (low, high):
        held = fit("chinchilla", table, loss="squared", fixed={"alpha": end})
        F = 2 * (held.objective - found.objective) / (2 * found.objective / (n - p))
        assert F == pytest.approx(t_quantile(0.95, np.array(n - p)) ** 2, rel=1e-2)


def test_intervals_narrow_with_the_square_root_of_the_runs_and_widen_with_the_level():
    truth = KaplanN(8.8e13, 0.076)
    few, many = (
        fit(KaplanN, noisy(truth, {"params": np.geomspace(1e5, 1e9, n)}, 0.01), loss="squared") for n in (20, 320)
    )
    assert many.stderr["alpha_N"] / few.stderr["alpha_N"] == pytest.approx(0.25, rel=0.4)
    wide = fit(KaplanN, noisy(truth, {"params": np.geomspace(1e5, 1e9, 20)}, 0.01), loss="squared", level=0.99)
    assert wide.intervals["alpha_N"][0] < few.intervals["alpha_N"][0]
    assert wide.intervals["alpha_N"][1] > few.intervals["alpha_N"][1]


def test_rows_of_one_run_count_as_one_run():
    """Ten checkpoints that share their run's offset tell no more than the run."""
    rng = np.random.default_rng(3)
    N = np.repeat(np.geomspace(1e5, 1e9, 12), 10)
    run = np.repeat(np.arange(12), 10)
    loss = KaplanN(8.8e13, 0.076)(N) * np.exp(rng.normal(size=12)[run] * 0.01 + 0.0005 * rng.normal(size=120))
    table = {"params": N, "loss": loss, "group": run.astype(float)}
    as_rows = fit(KaplanN, table, loss="squared", every_run=True)
    as_runs = fit(KaplanN, table, loss="squared", every_run=True, clusters="group", bootstrap=200)
    assert as_runs.stderr["alpha_N"] > 2 * as_rows.stderr["alpha_N"]
    assert as_runs.degrees == 10
    low, high = as_runs.percentile["alpha_N"]
    assert (high - low) / 3.92 == pytest.approx(as_runs.stderr["alpha_N"], rel=0.35)


def test_bootstrap_draws_are_repeatable():
    table = noisy(KaplanN(8.8e13, 0.076), {"params": np.geomspace(1e5, 1e9, 12)}, 0.01)
    one, same, other = (fit(KaplanN, table, bootstrap=50, seed=seed).draws for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
