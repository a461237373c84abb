"""Rows left out and predicted: how probable each fit made what was then measured. Many data sets at once.

The score of a fold is the logarithm of the joint density that the fit to the other rows gives its held-out rows: a
Student t around the law's predictions, whose covariance is that of the constants (linearised, shared by all rows of the
fold) plus the scatter of each row. So it counts misses and widths together, and a law with more constants pays for
those that the rows left in do not know.
"""

import dataclasses
import itertools

import numpy as np
from numpy.typing import NDArray
from scipy import special

from analysis.fit import choice, doubts, intervals, solver
from analysis.fit.misfit import furthest
from analysis.fit.solver import Array, Problem
from analysis.fit.starts import starts_of
from analysis.laws import Law

STARTS = 31  # of each fold's own, beside the optimum of all rows
SPARE = 3  # rows that the smallest fold has beyond the constants
HELD = 4  # rows held out in all, at least
FOLDS = 5  # at most
TIED = 0.01  # in ln(x): rows so near are held out together


def wanted(constants: int) -> int:
    """Rows from which a law of so many constants can be judged by rows left out."""
    return constants + SPARE + HELD


def folds(distance: Array, constants: int, clusters: NDArray[np.int64] | None = None) -> NDArray[np.bool_]:
    """Which rows each fold predicts, bool (folds, n): a walk outwards, each fold fitted to all rows before its own.

    The nearer half of the rows (more where the constants want more, less where one distance has them) is never held
    out. Without a fold where too few rows lie nearer than others.

    Args:
        distance: how far out a row lies, such as ln(C), (n,).
        clusters: index per row; rows of one cluster stay together, as far out as the furthest of them.
    """
    if clusters is not None:
        distance = np.asarray(furthest(distance, clusters) + 1e-9 * clusters, np.float64)  # clusters apart
    n = len(distance)
    order = np.argsort(distance, kind="stable")
    x = distance[order]
    first = max(-(-n // 2), constants + SPARE)
    begins = np.flatnonzero(np.diff(x, prepend=-np.inf) > (TIED if clusters is None else 0))  # of what stays together
    outer = begins[begins >= min(first, n)]
    begins = outer if outer.size else begins[begins >= constants + SPARE][-1:]
    step = (n - first) / FOLDS
    cuts: list[int] = []
    for k in begins:
        if not cuts or k - cuts[-1] >= step - 1e-9:
            cuts.append(int(k))
    out = np.zeros((len(cuts), n), bool)
    for fold, (begin, end) in enumerate(itertools.pairwise([*cuts, n])):
        out[fold, order[begin:end]] = True
    return out


def before(held: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The rows that each fold is fitted to: those that neither it nor a later one predicts."""
    return ~np.cumsum(held[::-1], 0)[::-1].astype(bool)


def refit(problem: Problem, theta0: Array, lanes: int | None = None) -> tuple[Problem, Array]:
    """The best optimum of each of the problem's m data sets from all starts theta0 (s, p), and with which loss.

    A loss that is "auto" becomes Huber's where the rows are many (`analysis.fit.choice`).
    """
    m, s = len(problem.y), len(theta0)
    p = theta0.shape[1]
    free = np.ones(p, bool)
    automatic = problem.objective.kind == "auto"
    if automatic:
        problem = dataclasses.replace(problem, objective=dataclasses.replace(problem.objective, kind="squared"))
    data = np.repeat(np.arange(m), s)
    found = solver.solve(problem, np.tile(theta0, (m, 1)), free, data, solver.CLOSE, lanes)
    best = found.value.reshape(m, s).argmin(1)
    theta, value = found.theta.reshape(m, s, p)[np.arange(m), best], found.value.reshape(m, s)[np.arange(m), best]
    theta, value = solver.sink(problem, theta, value, free, lanes)
    if automatic and choice.robust(int((problem.weights > 0).sum(-1).min()), p):
        problem, theta = choice.settled(problem, theta, free, lanes)
    return problem, theta


def scores(problem: Problem, theta: Array, held: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Of each of the problem's m data sets, fitted at theta (m, p): log density and residuals of the rows held out.

    Args:
        held: bool (m, n); these rows have weight 0 in the problem.

    Returns:
        log density, (m,), and residuals, measured - predicted in the logarithm where the objective is, (m, n), NaN
        where a row is not held out.
    """
    law = problem.law
    # As if all rows scattered alike: what robust losses let single rows say of the covariance is too loud in few rows.
    alike = dataclasses.replace(problem, objective=dataclasses.replace(problem.objective, kind="squared"))
    spread = intervals.spread(alike, theta, np.ones(theta.shape[1], bool))
    covariance = _bounded(law, theta, spread.covariance)
    J = np.nan_to_num(solver.jacobian(law, theta, problem.x, problem.objective.log))  # m n p
    off = np.where(held, problem.y - solver.predict(law, theta, problem.x, problem.objective.log), np.nan)
    density = np.empty(len(theta))
    for i, rows in enumerate(held):
        own = np.array(max(float(spread.sigma[i]), doubts.NOISELESS) ** 2)
        joint = J[i, rows] @ covariance[i] @ J[i, rows].T
        variance = np.array(np.trace(joint) / len(joint))
        degrees = intervals.joint_degrees(variance, spread.degrees[i].min(), own, spread.sigma_degrees[i])
        density[i] = log_t(off[i, rows], joint + own * np.eye(len(joint)), float(degrees))
    return density, off


def _bounded(law: type[Law], theta: Array, covariance: Array) -> Array:
    """The covariance (m, p, p) where no constant is less certain than the range of its starts."""
    constants = solver.to_constants(law, theta)
    width = np.empty_like(theta)
    for k, c in enumerate(law.constants()):
        low, high = c.start
        width[:, k] = np.log(high / low) if c.kind == "scale" else high - low
        if c.kind == "floor":
            width[:, k] = high / np.maximum(constants[:, k], solver.ZERO)
    size = 1 / width
    scaled = covariance * size[:, :, None] * size[:, None]
    values, vectors = np.linalg.eigh(scaled)
    values = np.clip(values, 0, None)
    scaled = (vectors * (values / (1 + values))[:, None]) @ np.swapaxes(vectors, 1, 2)
    return scaled * width[:, :, None] * width[:, None]


def log_t(r: Array, scale: Array, degrees: float) -> float:
    """The logarithm of the density of residuals r (t,) under a Student t with this scale matrix (t, t)."""
    root = np.linalg.cholesky(scale)
    square = float((np.linalg.solve(root, r) ** 2).sum())
    t = len(r)
    normal = special.gammaln((degrees + t) / 2) - special.gammaln(degrees / 2) - t / 2 * np.log(degrees * np.pi)
    return float(normal - np.log(np.diag(root)).sum() - (degrees + t) / 2 * np.log1p(square / degrees))


def all_folds(
    problem: Problem, held: NDArray[np.bool_], theta0: Array | None = None, lanes: int | None = None
) -> tuple[Array, Array]:
    """Log density (m, folds) and residuals (m, folds, n) of each of the problem's m data sets under the folds `held`.

    Args:
        theta0: starts, (s, p); the law's own by default.
    """
    m, f = len(problem.y), len(held)
    theta0 = starts_of(problem, STARTS, {}) if theta0 is None else theta0
    train = np.tile(before(held), (m, 1))
    repeated = problem.with_data(np.repeat(problem.y, f, 0), np.repeat(problem.weights, f, 0) * train)
    fitted, theta = refit(repeated, theta0, lanes)
    density, off = scores(fitted, theta, np.tile(held, (m, 1)))
    return density.reshape(m, f), off.reshape(m, f, -1)
