"""How far a law itself is off beyond its runs: it walks forward inside its table, and what it missed there is learnt.

Many rows tell the constants of a law to a hundredth and nothing of whether the law goes on. So the smaller runs are
fitted and predict the larger ones, in steps; what they miss beyond what their own scatter explains is the law's error,
and it grows with the distance. results/backtest.md says how often intervals with it hold, and how wide they are.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from analysis.fit import intervals, solver
from analysis.fit.solver import Array, Problem
from analysis.fit.starts import some_of
from analysis.laws import Law

POWER = 0.75  # of the distance in ln(size), with which the error grows: 1 would be a wrong slope, 1/2 a random walk
USUAL = 0.004  # the error at a distance of 1 in ln(loss), where a table is too short to say
USUAL_STEPS = 2  # how many steps of a table weigh as much as what is usual
USUAL_DEGREES = 4  # of freedom behind it
MOST = 0.05  # a step that misses by more than this at a distance of 1 counts as this
SPARE = 3  # rows beyond the constants that a step fits at least
VALUES = 3  # different values of each input that it fits at least
STEPS = 4  # along each scale, at most
APART = math.log(1.3)  # between steps, in ln(size)
NEAREST = 0.1  # rows nearer than this in ln(size) are as far as this
FURTHEST = math.log(30)  # rows beyond this say how a law ends, not how it goes on
STARTS = 7  # of each step, beside the optimum of all rows
ITERATIONS = 100  # of each start: one that takes more crosses a valley without end, and all lanes wait for it


@dataclasses.dataclass(frozen=True)
class Misfit:
    """A law's own error beyond its runs.

    Attributes:
        error: its standard deviation in ln(target) (of the target, where residuals are) at a distance of 1.
        degrees: of freedom behind it.
        steps: of the table that tell it, beside what is usual.
        largest, smallest: of the product of the inputs among the rows, in its logarithm.
    """

    error: float
    degrees: float
    steps: int
    largest: float
    smallest: float

    def variance(self, far: Array) -> Array:
        """Of the law at these distances from its runs."""
        return grown(self.error, far)

    def distance(self, x: tuple[Array, ...], ranges: list[tuple[float, float]]) -> Array:
        """How far columns x (n,) each lie beyond the runs, in ln: the furthest of the inputs and of their product."""
        logs = [np.log(column) for column in x]
        ends = [(math.log(low), math.log(high)) for low, high in ranges]
        logs, ends = [*logs, np.sum(logs, 0)], [*ends, (self.smallest, self.largest)]
        beyond = [np.maximum(value - high, low - value) for value, (low, high) in zip(logs, ends, strict=True)]
        return np.maximum(np.max(beyond, 0), 0.0)


def grown(error: float, far: Array) -> Array:
    """The variance of a law's own error, whose standard deviation is `error` at a distance of 1, at these distances."""
    return error**2 * far ** (2 * POWER)


def learn(
    problem: Problem,
    theta: Array,
    free: NDArray[np.bool_],
    clusters: NDArray[np.int64] | None,
    starts: Array,
) -> Misfit:
    """The error of the law that these rows show, and what is usual where they show little.

    Args:
        theta: the optimum of all rows, (p,).
        clusters: index of the run of each row: a run is either fitted or predicted.
        starts: in fit coordinates, (s, p), of which a few are taken.
    """
    size = np.sum([np.log(column) for column in problem.x], 0)
    usual = USUAL * (1.0 if problem.objective.log else float(np.abs(problem.y[0]).mean()))
    steps = steps_of(problem.law, problem.x, int(free.sum()) + SPARE, STEPS, clusters)
    found = _missed(problem, steps, np.vstack([theta, some_of(starts, STARTS)]), free, clusters, usual) if steps else []
    error = math.sqrt((USUAL_STEPS * usual**2 + sum(found)) / (USUAL_STEPS + len(found)))
    return Misfit(error, USUAL_DEGREES + len(found), len(found), float(size.max()), float(size.min()))


def outward(names: Sequence[str], x: Sequence[Array]) -> Array:
    """How far out rows lie, (n,): the sum of the logarithms of columns x (n,) each; a smaller loss is further."""
    return np.sum([np.log(column) * (-1 if n.startswith("loss") else 1) for n, column in zip(names, x, strict=True)], 0)


def steps_of(
    law: type[Law], x: tuple[Array, ...], least: int, most: int, clusters: NDArray[np.int64] | None = None
) -> list[NDArray[np.bool_]]:
    """Which rows each step fits: those up to a size, by the product of the inputs and by the first of them.

    Args:
        x: columns of the law, (n,) each.
        least: rows, or clusters, that a step fits.
        most: steps along each of the two.
    """
    steps: dict[bytes, NDArray[np.bool_]] = {}
    for scale in (outward(law.inputs, x), outward(law.inputs[:1], x[:1]))[: len(x)]:
        scale = np.round(scale / APART)
        scale = scale if clusters is None else furthest(scale, clusters)
        fitted = [scale <= end for end in np.unique(scale)[:-1]]
        fitted = [rows for rows in fitted if _enough(x, rows, least, clusters)]
        for i in np.unique(np.round(np.linspace(0, len(fitted) - 1, min(most, len(fitted))))).astype(int):
            steps.setdefault(fitted[i].tobytes(), fitted[i])
    return list(steps.values())


def furthest(scale: Array, clusters: NDArray[np.int64]) -> Array:
    """Of each row the largest value in its cluster, (n,): a run lies as far out as its furthest row."""
    largest = np.full(clusters.max() + 1, -np.inf)
    np.maximum.at(largest, clusters, scale)
    return largest[clusters]


def _enough(x: tuple[Array, ...], rows: NDArray[np.bool_], least: int, clusters: NDArray[np.int64] | None) -> bool:
    count = int(rows.sum()) if clusters is None else len(np.unique(clusters[rows]))
    return count >= least and all(len(np.unique(np.round(np.log(c[rows]), 2))) >= VALUES for c in x)


def _missed(
    problem: Problem,
    steps: list[NDArray[np.bool_]],
    starts: Array,
    free: NDArray[np.bool_],
    clusters: NDArray[np.int64] | None,
    usual: float,
) -> list[float]:
    """Squares of the law's error at a distance of 1, one for each step that says anything."""
    m, log = len(steps), problem.objective.log
    parts = problem.with_data(weights=np.array(steps) * problem.weights[0])
    found = solver.solve(
        parts, np.tile(starts, (m, 1)), free, np.repeat(np.arange(m), len(starts)), solver.CLOSE, iterations=ITERATIONS
    )
    value = found.value.reshape(m, -1)
    lowest = value.argmin(1)
    theta = found.theta.reshape(m, len(starts), -1)[np.arange(m), lowest]
    squares = []
    for rows, at, objective in zip(steps, theta, value[np.arange(m), lowest], strict=True):
        if not math.isfinite(objective):
            continue
        x = tuple(column[rows] for column in problem.x)
        part = dataclasses.replace(problem, x=x, y=problem.y[:, rows], weights=problem.weights[:, rows])
        index = None if clusters is None else np.unique(clusters[rows], return_inverse=True)[1]
        spread = intervals.spread(part, at[None], free, index)
        if spread.flat[0]:
            continue
        size = np.sum([np.log(column) for column in x], 0)
        here = Misfit(0.0, 0.0, 0, float(size.max()), float(size.min()))
        far = here.distance(problem.x, [(float(c.min()), float(c.max())) for c in x])
        held = ~rows & (far <= FURTHEST)
        if not held.any():
            continue
        columns = tuple(column[held] for column in problem.x)
        J = np.nan_to_num(solver.jacobian(problem.law, at, columns, log))
        variance = np.maximum(np.einsum("np,pq,nq->n", J, spread.covariance[0], J), 0) + spread.sigma[0] ** 2
        missed = (problem.y[0, held] - solver.predict(problem.law, at, columns, log)) ** 2 - variance
        share = missed / np.maximum(far[held], NEAREST) ** (2 * POWER)
        if np.isfinite(share).all():
            squares.append(float(np.clip(share.mean(), 0.0, (MOST / USUAL * usual) ** 2)))
    return squares
