"""How often do the intervals hold the truth? Ladders drawn from known laws, fitted, counted.

    python benchmarks/calibration.py [--replicates 2000] [--bootstrapped 200] [--out results]

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
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analysis.confidence import LEVEL, t_quantile
from analysis.fit import descent, intervals, solver
from analysis.fit.solver import Array, Objective, Problem
from analysis.fit.starts import starts_of
from analysis.laws import Chinchilla, KaplanN, KaplanND, KaplanNS, Law

DRAWS = 199  # per percentile interval
STARTS = 16
FAR = 10.0  # predictions are asked for this many times beyond the largest of each input
LANES = 512

# Published constants, on ladders of three decades in N (five for L(N)) as a small group would run them.
CASES: tuple[tuple[Law, dict[str, tuple[float, float]]], ...] = (
    (KaplanN(8.8e13, 0.076), {"params": (1e5, 1e9)}),
    (KaplanND(6.4e13, 1.8e13, 0.076, 0.103), {"params": (1e6, 1e9), "unique_tokens": (1e8, 1e11)}),
    (Chinchilla(1.8172, 482.01, 2085.43, 0.3478, 0.3658), {"params": (1e7, 1e10), "tokens": (1e9, 1e12)}),
    (KaplanNS(6.5e13, 0.077, 2.1e3, 0.76), {"params": (1e6, 1e9), "steps_min": (1e3, 1e5)}),
)
GRIDS = {12: (4, 3), 40: (8, 5)}  # values of N and of the second input
NOISES = (0.002, 0.01)


@dataclasses.dataclass(frozen=True)
class Row:
    law: str
    runs: int
    noise: float
    loss: str
    constant: str  # or "forecast"
    profile: float  # coverage, share of replicates
    percentile: float
    unbounded: float  # share of profile intervals open on a side
    restarted: float  # share of replicates whose profile found a lower objective than the descents


def ladder(ranges: dict[str, tuple[float, float]], n: int) -> tuple[Array, ...]:
    if len(ranges) == 1:
        ((low, high),) = ranges.values()
        return (np.geomspace(low, high, n),)
    mesh = np.meshgrid(*(np.geomspace(*ends, k) for ends, k in zip(ranges.values(), GRIDS[n], strict=True)))
    return tuple(column.ravel() for column in mesh)


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
    problem: Problem, theta: Array, value: Array, free: NDArray[np.bool_]
) -> tuple[Array, Array, Array, NDArray[np.bool_]]:
    """Profile intervals, optima (lower ones where a profile met them), and which replicates began again."""
    around = intervals.spread(problem, theta, free)
    low, high, lowest = intervals.profile(problem, theta, value, around, free, LEVEL, LANES)
    again = np.flatnonzero(lowest[:, -1] < value * (1 - 1e-6))
    if again.size:
        part = problem.with_data(problem.y[again], problem.weights[again])
        found = solver.solve(part, lowest[again, :-1], data=np.arange(again.size), lanes=LANES)
        theta[again], value[again] = found.theta, found.value
        around_ = intervals.spread(part, found.theta, free)
        low[again], high[again], _ = intervals.profile(part, found.theta, found.value, around_, free, LEVEL, LANES)
    return low, high, theta, np.isin(np.arange(len(theta)), again)


def percentiles(problem: Problem, starts: Array, seed: int) -> tuple[Array, Array]:
    """Percentile intervals of each data set as a fit gives them, (m, p) each: its optima, its jitter, its choice."""
    m, n = problem.y.shape
    p = starts.shape[1]
    free = np.ones(p, bool)
    low, high = np.empty((m, p)), np.empty((m, p))
    found = descents(problem, starts)
    for i in range(m):
        one = problem.with_data(problem.y[i], problem.weights[i])
        lanes = slice(i * len(starts), (i + 1) * len(starts))
        mine = solver.Solutions(*(getattr(found, f.name)[lanes] for f in dataclasses.fields(found)))
        best = descent.best_of(one, mine, free)
        counts = intervals.resample(np.random.default_rng([seed, i]), n, DRAWS)
        counts = counts[(counts > 0).sum(-1) > p]
        draws = intervals.bootstrap(one, np.vstack([best.theta, *best.others]), best.spread, free, counts, seed)
        low[i], high[i] = intervals.percentile(draws, LEVEL)
    return low, high


def calibrate(law: Law, x: tuple[Array, ...], noise: float, loss: str, replicates: int, bootstrapped: int) -> list[Row]:
    n, kind = len(x[0]), type(law)
    rng = np.random.default_rng([n, round(noise * 1e6), len(loss), len(x)])
    log_truth = np.log(np.asarray(law(*x)))
    y = log_truth + noise * rng.normal(size=(replicates, n))
    objective = Objective("squared" if loss == "squared" else "huber")
    problem = Problem(kind, objective, x, y, np.ones((replicates, n)))
    constants = np.array([getattr(law, c.name) for c in kind.constants()])
    truth, free = solver.to_theta(kind, constants), np.ones(len(constants), bool)
    theta, value = estimate(problem)
    low, high, theta, again = profiles(problem, theta, value, free)
    covered = ((low <= truth) & (truth <= high)).mean(0)
    unbounded = (~np.isfinite(low) | ~np.isfinite(high)).mean(0)

    # The forecast: the linearised interval that `Fit.predict` gives, beyond the ladder.
    far = tuple(np.array([FAR * column.max()]) for column in x)
    J = solver.jacobian(kind, theta, far, True)[:, 0]  # m p
    around = intervals.spread(problem, theta, free)
    half = t_quantile(LEVEL, around.degrees) * np.sqrt(np.einsum("mp,mpq,mq->m", J, around.covariance, J))
    miss = np.abs(solver.predict(kind, theta, far, True)[:, 0] - math.log(float(law(*far)[0])))
    forecast = float((miss <= half).mean())

    some = problem.with_data(y[:bootstrapped], problem.weights[:bootstrapped])
    starts = starts_of(dataclasses.replace(problem, y=y[:1]), STARTS, {})
    low_, high_ = percentiles(some, starts, seed=n)
    percentile = ((low_ <= truth) & (truth <= high_)).mean(0)
    case = (kind.name, n, noise, loss)
    names = [c.name for c in kind.constants()]
    columns = zip(names, covered.tolist(), percentile.tolist(), unbounded.tolist(), strict=True)
    rows = [Row(*case, *column, float(again.mean())) for column in columns]
    return [*rows, Row(*case, "forecast", forecast, math.nan, 0.0, float(again.mean()))]


def report(rows: list[Row], args: argparse.Namespace, seconds: float) -> str:
    error = math.sqrt(LEVEL * (1 - LEVEL) / args.replicates)
    squared = [r for r in rows if r.loss == "squared" and r.constant != "forecast"]
    outside = [r for r in squared if abs(r.profile - LEVEL) > 3 * error]
    verdict = f"{len(outside)} of {len(squared)}" if outside else "none"
    low, high = (pick(r.profile for r in squared) for pick in (min, max))
    lines = [
        "# How often the intervals hold the truth",
        "",
        f"`{command(args)}`, {datetime.date.today()}, {seconds / 60:.1f} minutes of one processor, {machine()}.",
        "",
        f"{args.replicates} ladders per line ({args.bootstrapped} for the percentile bootstrap of {DRAWS} draws),",
        "drawn from the published constants with Gaussian noise in the logarithm of the loss. Nominal 95 %; three",
        f"binomial standard errors: {LEVEL - 3 * error:.3f} to {LEVEL + 3 * error:.3f}. The primary intervals are",
        f"profile likelihood. `forecast` is the linearised interval of the law {FAR:g} times beyond the largest of",
        "each input, `open` the share of profile intervals without an end, and `again` the share of ladders where a",
        "profile found a lower objective and the fit began again from there.",
        "",
        f"Least squares, all constants: {low:.3f} to {high:.3f}; {verdict} outside three standard errors.",
        "",
        "| law | runs | noise | loss | constant | profile | percentile bootstrap | open | again |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for r in rows:
        mark = " (outside)" if r in outside else ""
        percentile = "" if math.isnan(r.percentile) else f"{r.percentile:.3f}"
        lines.append(
            f"| {r.law} | {r.runs} | {r.noise:.1%} | {r.loss} | {r.constant} | {r.profile:.3f}{mark} | {percentile} "
            f"| {r.unbounded:.3f} | {r.restarted:.3f} |"
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
    parser.add_argument("--bootstrapped", type=int, default=200)
    parser.add_argument("--out", type=Path, default=Path("results"))
    args = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    began, rows = time.time(), []
    for loss in ("squared", "huber"):
        for law, ranges in CASES:
            for n in GRIDS:
                for noise in NOISES:
                    rows += calibrate(law, ladder(ranges, n), noise, loss, args.replicates, args.bootstrapped)
                    last = [r for r in rows if (r.law, r.runs, r.noise, r.loss) == (law.name, n, noise, loss)]
                    print(f"{time.time() - began:5.0f} s {law.name} {n} {noise:.1%} {loss}:", file=sys.stderr, end=" ")
                    print(", ".join(f"{r.constant} {r.profile:.3f}/{r.percentile:.3f}" for r in last), file=sys.stderr)
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
