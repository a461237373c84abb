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

import numpy as np
from numpy.typing import NDArray

from analysis.confidence import LEVEL, t_quantile
from analysis.fit import choice, descent, intervals, solver
from analysis.fit.descent import GONE
from analysis.fit.solver import Array, Objective, Problem
from analysis.fit.starts import starts_of
from analysis.laws import Chinchilla, KaplanN, KaplanND, KaplanNS, Law

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

    @property
    def name(self) -> str:
        floor = ", little floor" if self.law is LITTLE_FLOOR else ""
        if self.luck is None:
            return f"{self.law.name}{floor}"
        return f"{self.law.name}, {CHECKPOINTS} checkpoints, {f'luck {self.luck:.1%}' if self.luck else 'no luck'}"

    def ladders(self, replicates: int) -> int:
        return replicates // SLOW if self.noise >= max(NOISES) or self.runs == max(GRIDS) else replicates

    @property
    def columns(self) -> tuple[Array, ...]:
        ((_, ranges),) = ((law, r) for law, r in LAWS if type(law) is type(self.law))
        if len(ranges) == 1:
            ((low, high),) = ranges.values()
            return (np.geomspace(low, high, self.runs),)
        counts = GRIDS[self.runs] if self.luck is None else (self.runs, CHECKPOINTS)
        mesh = np.meshgrid(*(np.geomspace(*ends, k) for ends, k in zip(ranges.values(), counts, strict=True)))
        return tuple(column.T.ravel() for column in mesh)  # a value of N after the other

    @property
    def clusters(self) -> NDArray[np.int64] | None:
        return None if self.luck is None else np.repeat(np.arange(self.runs), CHECKPOINTS)


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


def profiles(
    problem: Problem, theta: Array, value: Array, free: NDArray[np.bool_], clusters: NDArray[np.int64] | None
) -> tuple[Array, Array, Array, intervals.Spread]:
    """Profile intervals and optima (lower ones where a profile met them), with their spread."""
    theta, value = solver.sink(problem, theta, value, free, LANES)
    around = intervals.spread(problem, theta, free, clusters)
    low, high, lowest = intervals.profile(problem, theta, value, around, free, LEVEL, LANES)
    again = np.flatnonzero(lowest[:, -1] < value * (1 - solver.SAME))
    if again.size:
        found = solver.solve(problem, lowest[again, :-1], data=again, lanes=LANES)
        theta[again], value[again] = found.theta, found.value
        theta, value = solver.sink(problem, theta, value, free, LANES)
        around = intervals.spread(problem, theta, free, clusters)
        part = problem.with_data(problem.y[again], problem.weights[again])
        part = dataclasses.replace(part, objective=objective_of(problem.objective, again))
        some = intervals.Spread(*(getattr(around, f.name)[again] for f in dataclasses.fields(around)))
        low[again], high[again], _ = intervals.profile(part, theta[again], value[again], some, free, LEVEL, LANES)
    return low, high, theta, around


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
    problem = Problem(kind, Objective("squared"), x, y, np.ones((replicates, n)))
    constants = np.array([getattr(law, c.name) for c in kind.constants()])
    truth, free = solver.to_theta(kind, constants), np.ones(len(constants), bool)
    theta, value = estimate(problem)
    if choice.robust(case.runs, len(constants)):
        problem, theta = choice.settled(problem, theta, free, LANES)
        found = solver.solve(problem, theta, data=np.arange(replicates), lanes=LANES)
        theta, value = found.theta, found.value
    low, high, theta, around = profiles(problem, theta, value, free, clusters)
    none = without_interval(problem, theta, around)
    covered = ((low <= truth) & (truth <= high))[~none].mean(0)
    unbounded = (~np.isfinite(low) | ~np.isfinite(high))[~none].mean(0)

    # The forecast: the linearised interval that `Fit.predict` gives, beyond the ladder, of the mean and of one run.
    far = tuple(np.array([FAR * column.max()]) for column in x)
    J = solver.jacobian(kind, theta, far, True)[:, 0]  # m p
    variance = np.einsum("mp,mpq,mq->m", J, around.covariance, J)
    degrees, own = around.degrees.min(-1), around.sigma**2
    half = t_quantile(LEVEL, degrees) * np.sqrt(variance)
    joint = intervals.joint_degrees(variance, degrees, own, around.sigma_degrees)
    half_of_one = t_quantile(LEVEL, joint) * np.sqrt(variance + own)
    off = solver.predict(kind, theta, far, True)[:, 0] - math.log(float(law(*far)[0]))
    one = off + math.hypot(case.noise, case.luck or 0) * rng.normal(size=replicates)
    forecast = float((np.abs(off) <= half)[~none].mean())
    run = float((np.abs(one) <= half_of_one)[~none].mean())

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
    rows.append(Row(*where, "forecast", forecast, math.nan, 0.0, share))
    return [*rows, Row(*where, "one run", run, math.nan, 0.0, share)]


def outside(rows: list[Row]) -> list[Row]:
    """The rows more than three binomial standard errors from the level."""
    return [r for r in rows if abs(r.covered - LEVEL) > 3 * binomial(r.ladders * (1 - r.none))]


def binomial(ladders: float) -> float:
    """Standard error of a share of 95 % of so many."""
    return math.sqrt(LEVEL * (1 - LEVEL) / max(ladders, 1))


def report(rows: list[Row], args: argparse.Namespace, seconds: float) -> str:
    error, less = (3 * binomial(n) for n in (args.replicates, args.replicates // SLOW))
    off = outside(rows)
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
        f"linearised interval of the law {FAR:g} times beyond the largest of each input; `one run`: of a run there.",
        "`open`: share of profile intervals without an end; `none`: share of ladders that a fit gives no interval,",
        "with its reason, and that are not counted in the rest.",
        "",
        f"{len(off)} of {len(rows)} lie outside three standard errors; all lie within "
        f"{min(r.covered for r in rows):.3f} to {max(r.covered for r in rows):.3f}.",
        "",
        "| law | runs | noise | ladders | loss | of | covered | percentile bootstrap | open | none |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for r in rows:
        mark = " (outside)" if r in off else ""
        percentile = "" if math.isnan(r.percentile) else f"{r.percentile:.3f}"
        lines.append(
            f"| {r.case} | {r.runs} | {r.noise:.1%} | {r.ladders} | {r.loss} | {r.constant} | {r.covered:.3f}{mark} "
            f"| {percentile} | {r.unbounded:.3f} | {r.none:.3f} |"
        )
    return "\n".join(lines) + "\n"


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
    args.out.mkdir(exist_ok=True)
    (args.out / "calibration.md").write_text(report(rows, args, time.process_time()), encoding="utf-8")
    facts = {
        "command": command(args),
        "date": str(datetime.date.today()),
        "machine": machine(),
        "replicates": args.replicates,
        "level": LEVEL,
        "rows": [{k: None if v != v else v for k, v in dataclasses.asdict(r).items()} for r in rows],
    }
    (args.out / "calibration.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
