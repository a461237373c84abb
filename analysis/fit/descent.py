"""Many descents to one estimate: the best optimum, its rivals, and the share of the starts that found it."""

import dataclasses
from typing import Self

import numpy as np
from numpy.typing import NDArray

from analysis.confidence import LEVEL, t_quantile
from analysis.fit import intervals, solver
from analysis.fit.intervals import Spread
from analysis.fit.rows import FitError
from analysis.fit.solver import Array, Problem
from analysis.laws import Law

GONE = 1e-4  # share of every prediction below which a term of the law has left the fit
NEARLY = 1.05  # times the best objective: optima up to here go along as starts of the bootstrap's refits
RIVALS = 3  # of them at most
RIVAL = 0.1  # of the rise that bounds a 95 % interval: an optimum this near is as good as the best


@dataclasses.dataclass(frozen=True, eq=False)
class Optimum:
    """Where the best of the descents ended."""

    theta: Array  # (p,), in fit coordinates
    value: float
    gradient: Array  # (p,)
    converged: bool
    share: float  # of the starts that ended here
    near: float  # of the starts that ended as low as the runs can tell
    others: Array  # (k, p) other optima, nearly as good, best first
    other_values: Array  # (k,)
    spread: Spread
    rival: float  # an objective up to here is as good as the best

    @property
    def sigma(self) -> float:
        """Scatter of a row around the law."""
        return float(self.spread.sigma[0])

    def sunk(self, problem: Problem, free: NDArray[np.bool_], clusters: NDArray[np.int64] | None) -> Self:
        """The optimum with the floors at 0 that are no better above it."""
        theta, value = solver.sink(problem, self.theta[None], np.array([self.value]), free)
        if np.array_equal(theta[0], self.theta):
            return self
        spread = intervals.spread(problem, theta, free, clusters)
        return dataclasses.replace(self, theta=theta[0], value=float(value[0]), spread=spread)


def descend(
    problem: Problem, theta0: Array, free: NDArray[np.bool_], clusters: NDArray[np.int64] | None = None
) -> Optimum:
    """The best optimum that the starts theta0 (s, p) lead to.

    Raises:
        FitError: no start leads anywhere.
    """
    found = solver.solve(problem, theta0, free, tolerance=solver.CLOSE)
    return best_of(problem, found, free, clusters)


def best_of(
    problem: Problem, found: solver.Solutions, free: NDArray[np.bool_], clusters: NDArray[np.int64] | None = None
) -> Optimum:
    """The best of the optima found for the problem's one data set, gone down to the end.

    Raises:
        FitError: no start led anywhere.
    """
    if not np.isfinite(found.value).any():
        raise FitError(
            f"{problem.law.name}: no start gives a finite prediction; are the columns in the units of docs/table.md?"
        )
    order = np.argsort(found.value)

    def look(i: int) -> tuple[int, solver.Solutions, Spread, float]:
        exact = solver.solve(problem, found.theta[[i]], free, warm=True)
        spread = intervals.spread(problem, exact.theta, free, clusters)
        return i, exact, spread, _rise(spread, free)

    best, exact, spread, rise = look(int(order[0]))
    plausible = sensible(problem.law, found.theta, free) & np.isfinite(found.value)
    if not plausible[best] and plausible.any():
        # A law with an exponent below 0 is no law: an optimum as good with all of them above 0 goes before.
        other = look(int(order[plausible[order]][0]))
        if other[1].value[0] - other[3] <= exact.value[0]:
            best, exact, spread, rise = other
    value = float(exact.value[0])
    same = np.abs(found.value - value) <= solver.SAME * value + 1e-24
    others: list[int] = []
    near = found.converged & (found.value <= max(value + rise, NEARLY * value)) & (plausible | ~plausible[best])
    near &= ~_rising(problem, found, free)
    apart = near & _apart(problem, exact.theta[0], found.theta, spread, free)
    for i in order[apart[order]]:
        if apart[i] and len(others) < RIVALS:
            others.append(int(i))
            apart &= _apart(problem, found.theta[i], found.theta, spread, free)
    return Optimum(
        exact.theta[0],
        value,
        exact.gradient[0],
        bool(exact.converged[0]),
        float(same.mean()),
        float((found.value <= value + rise).mean()),
        found.theta[others],
        found.value[others],
        spread,
        value + rise,
    )


def _rising(problem: Problem, found: solver.Solutions, free: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which of the descents stopped at a floor too low to be felt that should be higher: no optimum.

    As a logarithm it has no slope there, and the step that is left looks like none.
    """
    rising = np.zeros(len(found.value), bool)
    for k, c in enumerate(problem.law.constants()):
        if c.kind == "floor" and free[k]:
            felt = np.exp(found.theta[:, k]) > GONE * np.exp(solver.lifted(problem)) / solver.RISEN
            rising |= ~felt & (found.gradient[:, k] < 0)
    return rising


def _apart(problem: Problem, theta: Array, others: Array, spread: Spread, free: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which of the others (s, p) are another optimum than theta (p,): over half a standard error off, not by rounding.

    A scale without effect on any prediction may stand anywhere: it makes no other optimum.
    """
    log = np.array([c.log for c in problem.law.constants()])
    J = solver.jacobian(problem.law, theta, problem.x, True)
    felt = free & ~(log & (np.abs(J).max(0) < GONE))
    error = np.sqrt(np.diagonal(spread.covariance[0]))
    off = np.abs(others - theta) > 0.5 * error + 1e-6 * np.maximum(np.abs(theta), log)  # ln(1) is 0
    return np.any(off[:, felt], axis=1)


def sensible(law: type[Law], theta: Array, free: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which of the optima (s, p) have all exponents above 0."""
    exponents = np.array([c.kind == "exponent" for c in law.constants()]) & free
    return np.all(theta[:, exponents] > 0, axis=1)


def _rise(spread: Spread, free: NDArray[np.bool_]) -> float:
    """By how much an objective may lie above the best and still be as good: a tenth of what bounds a 95 % interval."""
    rise = spread.scale[0] * t_quantile(LEVEL, spread.degrees[0]) ** 2
    return float(RIVAL * 0.5 * np.median(rise[free]))
