"""How often do the intervals hold the truth? Ladders drawn from known laws, fitted as the tool itself would, counted.

    python benchmarks/calibration.py [--replicates 2000] [--bootstrapped 100] [--out results]

Writes results/calibration.md and results/calibration.json, which say how long it took.
"""

import argparse
import dataclasses
import datetime
import json
import math
import os
import platform
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from analysis import truths
from analysis.confidence import LEVEL, t_quantile
from analysis.fit import choice, descent, intervals, misfit, solver
from analysis.fit.descent import GONE
from analysis.fit.solver import Array, Objective, Problem
from analysis.fit.starts import starts_of
from analysis.jsonable import jsonable
from analysis.laws import Chinchilla, HenighanN, KaplanN, KaplanND, KaplanNS, KaplanOnePass, Law, QNorm

DRAWS = 199  # per percentile interval
STARTS = 16
FAR = 10.0  # predictions are asked for this many times beyond the largest of each input
LANES = 512

# Published constants, on ladders of three decades in N (five for L(N)) as a small group would run them.
LAWS: tuple[tuple[Law, dict[str, tuple[float, float]]], ...] = (
    (KaplanN(8.8e13, 0.076), {"params": (1e5, 1e9)}),
    (KaplanND(6.4e13, 1.8e13, 0.076, 0.103), {"params": (1e6, 1e9), "unique_tokens": (1e8, 1e11)}),
    (Chinchilla(1.8172, 482.01, 2085.43, 0.3478, 0.3658), {"params": (1e7, 1e10), "tokens": (1e9, 1e12)}),
    (KaplanNS(6.5e13, 0.077, 2.1e3, 0.76), {"params": (1e6, 1e9), "steps_min": (1e3, 1e5)}),
)
GRID = {"params": (1e7, 1e10), "tokens": (1e9, 1e12)}
# Another form than the true one: what is fitted, to what, and over which ranges.
WRONG: tuple[tuple[Law | truths.Truth, type[Law], dict[str, tuple[float, float]]], ...] = (
    (HenighanN(1.5, 8.8e13, 0.1), KaplanN, {"params": (1e5, 1e9)}),
    (KaplanOnePass(6.4e13, 1.8e13, 0.076, 0.103), Chinchilla, GRID),
    (Chinchilla(1.8172, 482.01, 2085.43, 0.3478, 0.3658), KaplanOnePass, GRID),
    (QNorm(1.8172, 482.01, 2085.43, 0.3478, 0.3658, 0.6), Chinchilla, GRID),
    (truths.Hutter(), Chinchilla, {"params": (10, 3000), "tokens": (100, 300_000)}),
)
WRONG_RUNS = (20, 40)
TIMES = (2.0, FAR)  # beyond the largest of each input: where a wrong form is asked
LITTLE_FLOOR = Chinchilla(0.1, 482.01, 2085.43, 0.3478, 0.3658)
GRIDS = {9: (3, 3), 12: (4, 3), 20: (5, 4), 40: (8, 5), 200: (20, 10)}  # values of N and of the second input
NOISES = (0.002, 0.01, 0.05)
BOOTSTRAPPED = ((12, 0.01), (40, 0.01))  # where percentiles are counted too
CHECKPOINTS = 10  # of each run, at as many D
SLOW = 5  # times fewer ladders where they take longest: much noise, or many runs


@dataclasses.dataclass(frozen=True)
class Case:
    """Ladders of one kind: rows of independent runs, or the checkpoints of runs that share their run's luck."""

    law: Law
    runs: int
    noise: float  # of each row, in ln(loss)
    luck: float | None = None  # of each run, where its rows are checkpoints
    counts: tuple[int, ...] | None = None  # values of each input, where not those of `GRIDS`

    @property
    def name(self) -> str:
        floor = ", little floor" if self.law is LITTLE_FLOOR else ""
        if self.counts:
            return f"{self.law.name}, {self.counts[0]} x {self.counts[1]} values"
        if self.luck is None:
            return f"{self.law.name}{floor}"
        return f"{self.law.name}, {CHECKPOINTS} checkpoints, {f'luck {self.luck:.1%}' if self.luck else 'no luck'}"

    def ladders(self, replicates: int) -> int:
        return replicates // SLOW if self.noise >= max(NOISES) or self.runs == max(GRIDS) else replicates

    @property
    def columns(self) -> tuple[Array, ...]:
        ((_, ranges),) = ((law, r) for law, r in LAWS if type(law) is type(self.law))
        return spread_over(ranges, self.counts or counts_of(ranges, self.runs, self.luck is not None))

    @property
    def clusters(self) -> NDArray[np.int64] | None:
        return None if self.luck is None else np.repeat(np.arange(self.runs), CHECKPOINTS)


def counts_of(ranges: dict[str, tuple[float, float]], runs: int, checkpoints: bool = False) -> tuple[int, ...]:
    """How many values of each input so many runs have."""
    if len(ranges) == 1:
        return (runs,)
    return (runs, CHECKPOINTS) if checkpoints else GRIDS[runs]


def spread_over(ranges: dict[str, tuple[float, float]], counts: tuple[int, ...]) -> tuple[Array, ...]:
    """The columns of a grid, a value of N after the other."""
    mesh = np.meshgrid(*(np.geomspace(*ends, k) for ends, k in zip(ranges.values(), counts, strict=True)))
    return tuple(column.T.ravel() for column in mesh)


def cases() -> Iterator[Case]:
    for law, _ in LAWS:
        few = 8 if len(law.inputs) == 1 else 9
        for runs in (few, 12, 20, 40, 200):
            for noise in NOISES:
                yield Case(law, runs, noise)
    for runs in (9, 20):
        yield Case(LITTLE_FLOOR, runs, 0.05)
    for runs in (8, 20):
        yield Case(LAWS[2][0], runs, 0.01, luck=0.0)
        yield Case(LAWS[2][0], runs, 0.002, luck=0.01)
    for law, _ in LAWS[1:]:
        for counts in ((2, 10), (10, 2), (3, 7), (7, 3)):
            yield Case(law, math.prod(counts), 0.01, counts=counts)


@dataclasses.dataclass(frozen=True)
class Row:
    case: str
    runs: int
    noise: float
    ladders: int
    loss: str  # that the tool takes
    constant: str  # or "forecast", or "one run"
    covered: float  # share of the replicates that have intervals
    percentile: float
    unbounded: float  # share of profile intervals open on a side
    none: float  # share of replicates without intervals, for a reason that a fit gives


@dataclasses.dataclass(frozen=True)
class WrongForm:
    """What intervals hold where another form than the true one is fitted."""

    truth: str
    law: str
    runs: int
    noise: float
    ladders: int
    loss: str  # that the tool takes
    times: float  # beyond the largest of each input
    off: float  # rms of ln(predicted / true)
    covered: float  # the truth, by the interval of the law
    covered_run: float  # a run there, by that of one run with the law's own error
    half_width: float  # of the latter, in the logarithm: the median
    none: float  # share without intervals, not counted in the rest


def descents(problem: Problem, starts: Array) -> solver.Solutions:
    """From all starts for each of the problem's data sets, those of the first data set first."""
    m = len(problem.y)
    data = np.repeat(np.arange(m), len(starts))
    return solver.solve(problem, np.tile(starts, (m, 1)), data=data, tolerance=solver.CLOSE, lanes=LANES)


def estimate(problem: Problem) -> tuple[Array, Array]:
    """Best optimum of each of the problem's data sets, as a fit finds it."""
    m = len(problem.y)
    found = descents(problem, starts_of(dataclasses.replace(problem, y=problem.y[:1]), STARTS, {}))
    best = found.value.reshape(m, STARTS).argmin(1)
    return found.theta.reshape(m, STARTS, -1)[np.arange(m), best], found.value.reshape(m, STARTS)[np.arange(m), best]


def fitted(
    law: type[Law], x: tuple[Array, ...], y: Array, runs: int, weights: Array | None = None
) -> tuple[Problem, Array, Array]:
    """Data sets y (m, n) with the loss that the tool takes for so many runs; optima (m, p) and objectives (m,).

    Args:
        weights: of the rows, (n,), of mean 1.
    """
    problem = Problem(law, Objective("squared"), x, y, np.ones_like(y) * (1.0 if weights is None else weights))
    free = np.ones(len(law.constants()), bool)
    theta, value = estimate(problem)
    if choice.robust(runs, len(free)):
        problem, theta = choice.settled(problem, theta, free, LANES)
        found = solver.solve(problem, theta, data=np.arange(len(y)), lanes=LANES)
        theta, value = found.theta, found.value
    return problem, theta, value


class Profiled(NamedTuple):
    """Optima of m data sets (lower ones where a profile met them), and the intervals of their constants."""

    low: Array  # (m, p)
    high: Array
    theta: Array  # (m, p)
    around: intervals.Spread
    ends: Array  # (m, k, p), of the profiles
    unsure: NDArray[np.int64]  # which data sets leave it open whether there is a floor
    over: intervals.OverFloor | None  # of these


def profiles(
    problem: Problem, theta: Array, value: Array, free: NDArray[np.bool_], clusters: NDArray[np.int64] | None
) -> Profiled:
    theta, value = solver.sink(problem, theta, value, free, LANES)
    around = intervals.spread(problem, theta, free, clusters)
    found = intervals.profile(problem, theta, value, around, free, LEVEL, LANES)
    again = np.flatnonzero(found.lowest[:, -1] < value * (1 - solver.SAME))
    if again.size:
        lower = solver.solve(problem, found.lowest[again, :-1], data=again, lanes=LANES)
        theta[again], value[again] = lower.theta, lower.value
        theta, value = solver.sink(problem, theta, value, free, LANES)
        around = intervals.spread(problem, theta, free, clusters)
        part = of_some(problem, again)
        for all_, new in zip(
            found,
            intervals.profile(part, theta[again], value[again], spread_of(around, again), free, LEVEL, LANES),
            strict=True,
        ):
            all_[again] = new
    open_ = intervals.may_be_none(problem, found.low) & np.isfinite(found.high)
    unsure, over = np.flatnonzero(open_.any(-1) & ~around.flat), None
    if unsure.size:
        some = intervals.Profile(*(part[unsure] for part in found))
        near = spread_of(around, unsure)
        part = of_some(problem, unsure)
        over = intervals.over_floor(part, theta[unsure], value[unsure], near, free, some, clusters, LEVEL, LANES)
    return Profiled(found.low, found.high, theta, around, found.ends, unsure, over)


def of_some(problem: Problem, some: NDArray[np.int64]) -> Problem:
    """The problem with some of its data sets alone."""
    part = problem.with_data(problem.y[some], problem.weights[some])
    return dataclasses.replace(part, objective=objective_of(problem.objective, some))


def spread_of(around: intervals.Spread, some: NDArray[np.int64]) -> intervals.Spread:
    return intervals.Spread(*(getattr(around, f.name)[some] for f in dataclasses.fields(around)))


def objective_of(objective: Objective, some: NDArray[np.int64]) -> Objective:
    """The objective of some of the data sets."""
    delta = np.asarray(objective.delta)
    return dataclasses.replace(objective, delta=delta[some] if delta.ndim else objective.delta)


def without_interval(problem: Problem, theta: Array, around: intervals.Spread) -> NDArray[np.bool_]:
    """Which data sets a fit gives no interval, or refuses: constants that could change together, that left the fit, or
    an exponent that is not above 0."""
    kinds = np.array([c.kind for c in problem.law.constants()])
    left = np.abs(solver.jacobian(problem.law, theta, problem.x, True)).max(1) < GONE
    left = left & np.isin(kinds, ("scale", "exponent"))
    return around.flat | left.any(-1) | (theta[:, kinds == "exponent"] <= 0).any(-1)


def percentiles(problem: Problem, starts: Array, seed: int) -> tuple[Array, Array]:
    """Percentile intervals of each data set as a fit gives them, (m, p) each: its optima, its jitter, its choice."""
    m, n = problem.y.shape
    p = starts.shape[1]
    free = np.ones(p, bool)
    low, high = np.empty((m, p)), np.empty((m, p))
    found = descents(problem, starts)
    for i in range(m):
        one = problem.with_data(problem.y[i], problem.weights[i])
        one = dataclasses.replace(one, objective=objective_of(problem.objective, np.array([i])))
        lanes = slice(i * len(starts), (i + 1) * len(starts))
        mine = solver.Solutions(*(getattr(found, f.name)[lanes] for f in dataclasses.fields(found)))
        best = descent.best_of(one, mine, free)
        counts = intervals.resample(np.random.default_rng([seed, i]), n, DRAWS)
        counts = counts[(counts > 0).sum(-1) > p]
        draws = intervals.bootstrap(one, np.vstack([best.theta, *best.others]), best.spread, free, counts, seed)
        low[i], high[i] = intervals.percentile(draws, LEVEL)
    return low, high


def calibrate(case: Case, replicates: int, bootstrapped: int) -> list[Row]:
    law, kind, x, clusters = case.law, type(case.law), case.columns, case.clusters
    n = len(x[0])
    rng = np.random.default_rng([n, round(case.noise * 1e6), round((case.luck or 0) * 1e6), len(x)])
    y = np.log(np.asarray(law(*x))) + case.noise * rng.normal(size=(replicates, n))
    if clusters is not None and case.luck is not None:
        y += case.luck * rng.normal(size=(replicates, case.runs))[:, clusters]
    constants = np.array([getattr(law, c.name) for c in kind.constants()])
    truth, free = solver.to_theta(kind, constants), np.ones(len(constants), bool)
    problem, theta, value = fitted(kind, x, y, case.runs)
    found = profiles(problem, theta, value, free, clusters)
    low, high = found.low, found.high
    none = without_interval(problem, found.theta, found.around)
    covered, unbounded = np.full((2, len(constants)), math.nan)
    if not none.all():
        covered = ((low <= truth) & (truth <= high))[~none].mean(0)
        unbounded = (~np.isfinite(low) | ~np.isfinite(high))[~none].mean(0)

    # The forecast: the linearised interval that `Fit.predict` gives, beyond the ladder, of the mean and of one run.
    far = tuple(np.array([FAR * column.max()]) for column in x)
    said = ahead(kind, found, far)
    half_of_one = t_quantile(LEVEL, said.degrees) * np.sqrt(said.of_one)
    off = said.value - math.log(float(law(*far)[0]))
    one = off + math.hypot(case.noise, case.luck or 0) * rng.normal(size=replicates)
    forecast, run = (
        float(held(missed, half)[~none].mean()) if not none.all() else math.nan
        for missed, half in ((off, said.half), (one, half_of_one))
    )

    names = [c.name for c in kind.constants()]
    percentile = np.full(len(names), math.nan)
    if clusters is None and (case.runs, case.noise) in BOOTSTRAPPED:
        first = np.arange(bootstrapped)
        some = problem.with_data(y[first], problem.weights[first])
        some = dataclasses.replace(some, objective=objective_of(problem.objective, first))
        low_, high_ = percentiles(some, starts_of(dataclasses.replace(problem, y=y[:1]), STARTS, {}), seed=n)
        percentile = ((low_ <= truth) & (truth <= high_)).mean(0)
    where = (case.name, case.runs, case.noise, replicates, problem.objective.kind)
    columns = zip(names, covered.tolist(), percentile.tolist(), unbounded.tolist(), strict=True)
    share = float(none.mean())
    rows = [Row(*where, *column, share) for column in columns]
    rows.append(Row(*where, "forecast", forecast, math.nan, math.nan, share))
    return [*rows, Row(*where, "one run", run, math.nan, math.nan, share)]


class Ahead(NamedTuple):
    """What fits say beyond their runs, as `Fit.predict` does, (m,) each."""

    value: Array  # logarithm of the law
    half: Array  # of the interval of the law, below and above, (2, m)
    of_one: Array  # variance of one run there, (2, m)
    degrees: Array  # of freedom behind it, (2, m)


def ahead(law: type[Law], found: Profiled, far: tuple[Array, ...]) -> Ahead:
    """Of each of the data sets at one place, the columns far (1,) each."""
    degrees, own = found.around.degrees.min(-1), found.around.sigma**2
    value = solver.predict(law, found.theta, far, True)[:, 0]
    at_ends = solver.predict(law, found.ends, far, True)[..., 0].T  # k m
    variance = np.stack([_around(law, found.theta, found.around.covariance, far)] * 2)
    if found.over is not None:
        at, some = solver.predict(law, found.over.theta, far, True)[..., 0], found.unsure
        around = _around(law, found.over.theta, found.over.covariance, far)
        variance[:, some] = found.over.variances(value[some], at, around, degrees[some], LEVEL)
    variance = intervals.reach(value, variance, at_ends, degrees, LEVEL)
    joint = intervals.joint_degrees(variance, degrees, own, found.around.sigma_degrees)
    half = t_quantile(LEVEL, degrees) * np.sqrt(variance)
    return Ahead(value, half, variance + own, joint)


def _around(law: type[Law], theta: Array, covariance: Array, far: tuple[Array, ...]) -> Array:
    J = solver.jacobian(law, theta, far, True)[..., 0, :]
    return np.einsum("...p,...pq,...q->...", J, covariance, J)


def held(missed: Array, half: Array) -> NDArray[np.bool_]:
    """Which predictions, off by so much (m,), hold the truth with half widths below and above (2, m)."""
    return (missed <= half[0]) & (-missed <= half[1])


def under_a_wrong_form(
    truth: Law | truths.Truth, law: type[Law], x: tuple[Array, ...], noise: float, replicates: int
) -> list[WrongForm]:
    """What the intervals of `Fit.predict` hold beyond the ladder, where another law is fitted than the true one."""
    n, p = len(x[0]), len(law.constants())
    rng = np.random.default_rng([n, round(noise * 1e6), len(law.name)])
    y = np.log(np.asarray(truth(*x))) + noise * rng.normal(size=(replicates, n))
    problem, theta, value = fitted(law, x, y, n)
    free = np.ones(p, bool)
    found = profiles(problem, theta, value, free, None)
    theta = found.theta
    with_interval = ~without_interval(problem, theta, found.around)
    starts = starts_of(dataclasses.replace(problem, y=y[:1]), STARTS, {})
    own = [learnt(problem, i, theta[i], free, starts) for i in range(replicates)]
    ranges = [(float(column.min()), float(column.max())) for column in x]
    some = with_interval if with_interval.any() else np.ones(replicates, bool)
    rows = []
    for times in TIMES:
        far = tuple(np.array([times * column.max()]) for column in x)
        said = ahead(law, found, far)
        wrong = np.array([float(one.variance(one.distance(far, ranges))[0]) for one in own])
        joint = intervals.joint_degrees(said.of_one, said.degrees, wrong, np.array([one.degrees for one in own]))
        half_of_one = t_quantile(LEVEL, joint) * np.sqrt(said.of_one + wrong)
        off = said.value - math.log(float(np.ravel(truth(*far))[0]))
        one = off + noise * rng.normal(size=replicates)
        covered, run = (
            float(held(missed, half)[with_interval].mean()) if with_interval.any() else math.nan
            for missed, half in ((off, said.half), (one, half_of_one))
        )
        rms, half_width = math.sqrt(float(np.mean(off[some] ** 2))), float(np.median(half_of_one.mean(0)[some]))
        none = float(1 - with_interval.mean())
        loss = problem.objective.kind
        rows.append(
            WrongForm(truth.name, law.name, n, noise, replicates, loss, times, rms, covered, run, half_width, none)
        )
    return rows


def learnt(problem: Problem, i: int, theta: Array, free: NDArray[np.bool_], starts: Array) -> misfit.Misfit:
    """The law's own error, as the fit of data set i learns it."""
    one = problem.with_data(problem.y[i], problem.weights[i])
    one = dataclasses.replace(one, objective=objective_of(problem.objective, np.array([i])))
    return misfit.learn(one, theta, free, None, starts)


def outside(rows: list[Row]) -> list[Row]:
    """The rows more than three binomial standard errors from the level."""
    return [r for r in rows if abs(r.covered - LEVEL) > 3 * binomial(r.ladders * (1 - r.none))]


def binomial(ladders: float) -> float:
    """Standard error of a share of 95 % of so many."""
    return math.sqrt(LEVEL * (1 - LEVEL) / max(ladders, 1))


def report(rows: list[Row], wrong: list[WrongForm], args: argparse.Namespace, seconds: float) -> str:
    error, less = (3 * binomial(n) for n in (args.replicates, args.replicates // SLOW))
    off = outside(rows)
    told = [r for r in rows if not math.isnan(r.covered)]
    lines = [
        "# How often the intervals hold the truth",
        "",
        f"`{command(args)}`, {datetime.date.today()}, {seconds / 60:.1f} minutes of one processor, {machine()}.",
        "",
        f"{args.replicates} ladders per line, {args.replicates // SLOW} where noise is 5 % or runs are 200",
        f"({args.bootstrapped} for the percentile bootstrap of {DRAWS} draws),",
        "drawn from the published constants with Gaussian noise in the logarithm of the loss, and fitted with the",
        "loss that the tool takes for as many rows. Nominal 95 %; three binomial standard errors:",
        f"{LEVEL - error:.3f} to {LEVEL + error:.3f} ({LEVEL - less:.3f} to {LEVEL + less:.3f} where there are fewer",
        "ladders). Constants: profile likelihood. `forecast`: the",
        f"interval of the law {FAR:g} times beyond the largest of each input; `one run`: of a run there by a true law.",
        "`open`: share of profile intervals without an end; `none`: share of ladders that a fit gives no interval,",
        "with its reason, and that are not counted in the rest.",
        "",
        f"{len(off)} of {len(told)} lie outside three standard errors, where {0.0027 * len(told):.1f} would by chance; "
        f"all lie within {min(r.covered for r in told):.3f} to {max(r.covered for r in told):.3f}.",
        "",
        "| law | runs | noise | ladders | loss | of | covered | percentile bootstrap | open | none |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for r in rows:
        mark = " (outside)" if r in off else ""
        lines.append(
            f"| {r.case} | {r.runs} | {r.noise:.1%} | {r.ladders} | {r.loss} | {r.constant} | {share(r.covered)}{mark} "
            f"| {share(r.percentile)} | {share(r.unbounded)} | {r.none:.3f} |"
        )
    lines += [
        "",
        "## Under a wrong form",
        "",
        "Ladders of another law than the one fitted: the interval of a law that is not true need not hold at its",
        "level, and these count as no failures. They say what a wrong form costs. `law`: share of the truths that the",
        "interval of the law holds; `one run`: of runs there, by that of one run, which has the law's own error",
        "beyond its runs; `half-width`: of the latter, the median; `off`: predicted against true, rms.",
        "",
        "| true | fitted | runs | noise | ladders | loss | times beyond | off | law | one run | half-width | none |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for w in wrong:
        lines.append(
            f"| {w.truth} | {w.law} | {w.runs} | {w.noise:.1%} | {w.ladders} | {w.loss} | {w.times:g} | {w.off:.1%} "
            f"| {share(w.covered)} | {share(w.covered_run)} | {w.half_width:.1%} | {w.none:.3f} |"
        )
    return "\n".join(lines) + "\n"


def share(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3f}"


def command(args: argparse.Namespace) -> str:
    return f"python benchmarks/calibration.py --replicates {args.replicates} --bootstrapped {args.bootstrapped}"


def machine() -> str:
    libraries = ", ".join(f"{name} {version(name)}" for name in ("jax", "numpy", "scipy"))
    return f"{platform.machine()}, Python {platform.python_version()}, {libraries}"


def main() -> None:
    parser = argparse.ArgumentParser(description="How often do the intervals hold the truth?")
    parser.add_argument("--replicates", type=int, default=2000)
    parser.add_argument("--bootstrapped", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path("results"))
    args = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    began, rows = time.time(), []
    for case in cases():
        new = calibrate(case, case.ladders(args.replicates), args.bootstrapped)
        rows += new
        print(f"{time.time() - began:5.0f} s {case.name} {case.runs} {case.noise:.1%}:", file=sys.stderr, end=" ")
        print(", ".join(f"{r.constant} {r.covered:.3f}/{r.percentile:.3f}" for r in new), file=sys.stderr, flush=True)
    wrong: list[WrongForm] = []
    for truth, law, ranges in WRONG:
        for runs in WRONG_RUNS:
            for noise in NOISES[:2]:
                x = spread_over(ranges, counts_of(ranges, runs))
                wrong += under_a_wrong_form(truth, law, x, noise, args.replicates // SLOW)
                print(f"{time.time() - began:5.0f} s {wrong[-2]}\n{wrong[-1]}", file=sys.stderr, flush=True)
    args.out.mkdir(exist_ok=True)
    text = report(rows, wrong, args, time.process_time())
    (args.out / "calibration.md").write_text(text, encoding="utf-8")
    facts = {
        "command": command(args),
        "date": str(datetime.date.today()),
        "machine": machine(),
        "replicates": args.replicates,
        "level": LEVEL,
        "rows": [dataclasses.asdict(r) for r in rows],
        "under_a_wrong_form": [dataclasses.asdict(w) for w in wrong],
    }
    (args.out / "calibration.json").write_text(
        json.dumps(jsonable(facts), indent=1, allow_nan=False) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
