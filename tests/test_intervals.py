"""Intervals: they hold the truth as often as they say, and know which rows depend on one another."""

import dataclasses
import math

import numpy as np
import pytest
from drawn import TRUTH, grid, noisy
from scipy import optimize

from analysis.confidence import t_quantile
from analysis.fit import choice, fit, intervals, solver
from analysis.fit.estimate import Fit
from analysis.fit.solver import Objective, Problem
from analysis.laws import Chinchilla, KaplanN, KaplanNS, Law, QNorm


def drawn(law: Law, x: tuple[np.ndarray, ...], noise: float, m: int, luck: np.ndarray | None = None) -> Problem:
    """m ladders of the law, with the luck of their runs, ready for least squares."""
    scatter = noise * np.random.default_rng(7).normal(size=(m, len(x[0])))
    y = np.log(np.asarray(law(*x))) + scatter + (0 if luck is None else luck)
    return Problem(type(law), Objective("squared"), x, y, np.ones(y.shape))


def held(
    law: Law, problem: Problem, clusters: np.ndarray | None = None, robust: bool = False
) -> tuple[np.ndarray, float, intervals.Spread]:
    """How often profile intervals hold the constants, and the interval of the law at ten times the inputs its value."""
    m, truth = len(problem.y), solver.to_theta(type(law), np.array(dataclasses.astuple(law)))
    free = np.ones(len(truth), bool)
    found = solver.solve(problem, np.tile(truth, (m, 1)), data=np.arange(m), tolerance=solver.CLOSE)
    theta, value = found.theta, found.value
    if robust:
        problem, theta = choice.settled(problem, theta, free)
        found = solver.solve(problem, theta, data=np.arange(m))
        theta, value = found.theta, found.value
    theta, value = solver.sink(problem, theta, value, free)
    spread = intervals.spread(problem, theta, free, clusters)
    profiles = intervals.profile(problem, theta, value, spread, free)
    low, high, ends = profiles.low, profiles.high, profiles.ends
    far = tuple(np.array([10 * column.max()]) for column in problem.x)
    J = solver.jacobian(type(law), theta, far, True)[:, 0]
    said, at_ends = solver.predict(type(law), theta, far, True)[:, 0], solver.predict(type(law), ends, far, True)
    variance, degrees = np.einsum("mp,mpq,mq->m", J, spread.covariance, J), spread.degrees.min(-1)
    if (none := intervals.may_be_none(problem, low).any(-1)).any():
        over = intervals.over_floor(problem, theta, value, spread, free, profiles, clusters, 0.95)
        at, J = solver.predict(type(law), over.theta, far, True), solver.jacobian(type(law), over.theta, far, True)
        around = np.einsum("mkp,mkpq,mkq->mk", J[:, :, 0], over.covariance, J[:, :, 0])
        variance = np.where(none, over.variances(said, at[..., 0], around, degrees, 0.95), variance)
    below, above = intervals.reach(said, variance, at_ends[..., 0].T, degrees, 0.95)
    side = np.where(said > np.log(law(*far)), below, above)
    inside = np.abs(said - np.log(law(*far))) <= t_quantile(0.95, degrees) * np.sqrt(side)
    return ((low <= truth) & (truth <= high)).mean(0), float(inside.mean()), spread


def within(shares: np.ndarray, m: int) -> bool:
    """Within three binomial standard errors of 95 %."""
    return bool(np.all(np.abs(shares - 0.95) < 3 * math.sqrt(0.95 * 0.05 / m)))


def square(sizes: int, lengths: int) -> tuple[np.ndarray, ...]:
    mesh = np.meshgrid(np.geomspace(1e7, 1e10, sizes), np.geomspace(1e9, 1e12, lengths), indexing="ij")
    return tuple(column.ravel() for column in mesh)


@pytest.mark.parametrize(
    ("law", "x", "noise", "robust"),
    [
        (KaplanN(8.8e13, 0.076), (np.geomspace(1e5, 1e9, 12),), 0.01, False),
        (Chinchilla(1.8, 400, 2000, 0.34, 0.36), square(3, 3), 0.04, False),
        (Chinchilla(1.8, 400, 2000, 0.34, 0.36), square(8, 5), 0.01, True),
        (Chinchilla(0.1, 400, 2000, 0.34, 0.36), square(4, 3), 0.03, False),  # its floor sinks to 0 in a third
    ],
    ids=["one-input", "nine-runs", "forty-runs", "little-floor"],
)
def test_intervals_cover_the_truth_as_often_as_they_say(law, x, noise, robust):
    m = 160
    constants, forecast, _ = held(law, drawn(law, x, noise, m), robust=robust)
    assert within(np.append(constants, forecast), m), (constants, forecast)


@pytest.mark.parametrize(("own", "luck"), [(0.01, 0.0), (0.002, 0.01)])
def test_checkpoints_of_a_run_may_share_its_luck_or_not(own, luck):
    """20 runs of 10 checkpoints: the intervals hold the truth, and the scatter of a row is the rows' own."""
    law, m, run = Chinchilla(1.8, 400, 2000, 0.34, 0.36), 160, np.repeat(np.arange(20), 10)
    shared = luck * np.random.default_rng(1).normal(size=(m, 20))[:, run]
    constants, forecast, spread = held(law, drawn(law, square(20, 10), own, m, shared), run)
    assert within(np.append(constants, forecast), m), (constants, forecast)
    assert np.sqrt(np.mean(spread.sigma**2)) == pytest.approx(math.hypot(own, luck), rel=0.03)


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


def test_a_prediction_holds_what_the_law_says_at_the_ends_of_its_constants_intervals():
    """Two values of S leave alpha_S open by a factor of 14: linearised, the forecast would miss the truth."""
    truth, far = KaplanNS(6.5e13, 0.077, 2.1e3, 0.76), (1e10, 1e6)
    N, S = (x.ravel() for x in np.meshgrid(np.geomspace(1e6, 1e9, 10), [1e3, 1e5]))
    found = fit("kaplan-ns", noisy(truth, {"params": N, "steps_min": S}, 0.01, seed=3))
    assert found.ends
    narrow, wide = dataclasses.replace(found, ends=None).band(*far), found.band(*far)
    assert narrow.high < truth(*far) < wide.high
    laws = [KaplanNS(*theta) for theta in solver.to_constants(KaplanNS, found.ends.theta)]
    for law in laws:
        assert wide.low <= law(*far) * (1 + 1e-9)
        assert wide.high >= law(*far) * (1 - 1e-9)
    assert Fit.from_json(found.to_json()).band(*far, run=True) == pytest.approx(found.band(*far, run=True))
    shorter = dataclasses.replace(found, level=0.5).band(*far)
    assert wide.low < shorter.low < shorter.high < wide.high


def test_where_the_floor_may_be_0_a_prediction_is_bounded_by_the_likelihood_ratio():
    """Against SciPy's constrained optimum; linearised the floor would go on below 0 as far as above."""
    truth, (N, D) = QNorm(0.0, 12, 30, 0.15, 0.19, 0.35), square(5, 4)
    table = noisy(truth, {"params": N, "tokens": D}, 0.01, seed=1)
    found = fit(QNorm, table, loss="squared")
    assert found.status == "at a bound"
    assert found.ends
    again = Fit.from_json(found.to_json())
    law, y = type(found.law), np.log(table["loss"])
    most = found.objective + found.objective / found.degrees * t_quantile(0.95, found.degrees) ** 2

    def theta(u: np.ndarray) -> np.ndarray:  # u: the floor itself, which may be 0, then the others
        return np.append(np.log(max(u[0], solver.ZERO)), u[1:])

    def own(slopes: np.ndarray, u: np.ndarray) -> np.ndarray:
        return slopes / np.append(max(u[0], solver.ZERO), np.ones(5))

    def room(u: np.ndarray) -> float:
        return 1 - 0.5 * float(np.sum((solver.predict(law, theta(u), (N, D), True) - y) ** 2)) / float(most)

    def room_slope(u: np.ndarray) -> np.ndarray:
        r = solver.predict(law, theta(u), (N, D), True) - y
        return own(-r @ solver.jacobian(law, theta(u), (N, D), True) / most, u)

    for times in (1, 30):
        far = (np.array([times * N.max()]), np.array([times * D.max()]))
        value, low, high = (float(part[0]) for part in found.band(*far))
        np.testing.assert_allclose(again.band(*far), found.band(*far))
        linear = dataclasses.replace(found, ends=None).band(*far)
        assert value / linear.low[0] > (value / low) ** 1.3
        for side, end in ((-1, low), (1, high)):
            reached = [
                optimize.minimize(
                    lambda u, side=side, far=far: -side * float(solver.predict(law, theta(u), far, True)[0]),
                    np.append(np.exp(start[0]), start[1:]),
                    jac=lambda u, side=side, far=far: own(-side * solver.jacobian(law, theta(u), far, True)[0], u),
                    method="SLSQP",
                    bounds=[(0, None), *[(None, None)] * 5],
                    constraints=[{"type": "ineq", "fun": room, "jac": room_slope}],
                    options={"maxiter": 300, "ftol": 1e-10},
                )
                for start in [found.theta, *found.ends.theta[:2]]  # of the floor
            ]
            direct = max(-each.fun for each in reached if room(each.x) > -1e-6) * side
            assert np.log(end / value) == pytest.approx(direct - np.log(value), rel=0.1)


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
    as_runs = fit(KaplanN, table, loss="squared", every_run=True, clusters="group", bootstrap=200)
    one_each = fit(KaplanN, {"params": N[::10], "loss": loss[::10]}, loss="squared", every_run=True)
    assert as_runs.stderr["alpha_N"] == pytest.approx(one_each.stderr["alpha_N"], rel=0.35)
    assert as_runs.residuals.sigma == pytest.approx(one_each.residuals.sigma, rel=0.1)
    assert as_runs.degrees < 10
    low, high = as_runs.percentile["alpha_N"]
    assert (high - low) / 3.92 == pytest.approx(as_runs.stderr["alpha_N"], rel=0.35)


def test_bootstrap_draws_are_repeatable():
    table = noisy(KaplanN(8.8e13, 0.076), {"params": np.geomspace(1e5, 1e9, 12)}, 0.01)
    one, same, other = (fit(KaplanN, table, bootstrap=50, seed=seed).draws for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
