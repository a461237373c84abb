"""How far the constants of a fitted law could be off: covariance, profile likelihood, bootstrap.

Everything takes many data sets at once (leading axis m), so that calibration runs the very code that a user's fit runs.
Fit coordinates throughout: scales and floors as logarithms (`analysis.fit.solver.to_theta`).
"""

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy import special

from analysis.confidence import LEVEL, t_quantile
from analysis.fit.solver import CLOSE, Array, Objective, Problem, jacobian, predict, solve

ROUNDS = 40  # of bracketing and false position per end of a profile interval
EXACT = 2e-3  # an end is found when its statistic is within this share of the quantile
FLAT = 1e-9  # smallest eigenvalue of the scaled curvature below which a direction is flat
IDLE = 1e-9  # slope of all predictions, against the steepest constant, below which a constant affects nothing
NONE = "none"  # kind of the intervals of a fit whose curvature is singular: without ends
FAR = 40.0  # in ln(constant): a scale that may shrink or grow by this much is not bounded


@dataclasses.dataclass(frozen=True, eq=False)
class Spread:
    """What the residuals at the optimum say of the scatter; arrays have one entry per data set.

    Attributes:
        covariance: of the fit coordinates, (m, p, p), zero for constants that are fixed or affect no prediction.
        scale: kappa, (m, p): with a constant held at its true value 2 (rise of the objective) / kappa is F(1, degrees).
            s^2 for least squares, otherwise the constant's variance times the curvature of its profile.
        degrees: rows minus constants estimated, or clusters minus them, (m,).
        flat: whether constants can change together without changing any prediction, (m,): then neither the covariance
            nor a profile that begins at the optimum bounds anything.
    """

    covariance: Array
    scale: Array
    degrees: Array
    flat: NDArray[np.bool_]


def spread(
    problem: Problem, theta: Array, free: NDArray[np.bool_], clusters: NDArray[np.int64] | None = None
) -> Spread:
    """Scale and covariance at the optima theta (m, p) of the problem's m data sets.

    Least squares takes the scatter to be the same for all runs: s^2 (J' W J)^-1, right for few runs and Gaussian noise.
    A robust loss is for scatter that is not: H^-1 M H^-1, M the sum of squared scores, H the curvature averaged over
    the density of the residuals, since Huber's function at delta = 1e-3 is nearly a modulus. With `clusters` (an index
    per row) M sums the scores of a cluster first: its rows may depend on one another.
    """
    m, p = theta.shape
    J = jacobian(problem.law, theta, problem.x, problem.objective.log)[..., free]  # m n q
    J = np.nan_to_num(J, nan=0.0, posinf=0.0, neginf=0.0)
    steepest = np.abs(J).max(1)  # m q
    idle = steepest < IDLE * steepest.max(-1, keepdims=True)
    J = np.where(idle[:, None], 0.0, J)
    w = problem.weights
    r = np.where(w > 0, predict(problem.law, theta, problem.x, problem.objective.log) - problem.y, 0.0)
    _, psi = problem.objective.terms(r)
    n, q = (w > 0).sum(-1), int(free.sum())
    degrees = np.maximum(n - q, 1).astype(float)
    slope = _slope(problem.objective, r, n, q)
    curvature = _inverse(np.einsum("mni,mn,mnj->mij", J, w * slope, J) + idle[:, None] * np.eye(q))
    flat = _flat(np.einsum("mni,mn,mnj->mij", J, (w > 0).astype(float), J) + idle[:, None] * np.eye(q))
    # The scatter as if all runs scattered alike.
    alike = (w * psi**2).sum(-1) / degrees / np.maximum((w * slope).sum(-1) / w.sum(-1), 1e-300)
    if problem.objective.kind == "squared" and clusters is None:
        small = ((w * psi**2).sum(-1) / degrees)[:, None, None] * np.where(idle[:, None], 0.0, curvature)
    else:
        score = J * (w * psi)[..., None]  # m n q
        few = n / degrees
        if clusters is not None:
            groups = int(clusters.max()) + 1
            summed = np.zeros((m, groups, q))
            for g in range(groups):
                summed[:, g] = score[:, clusters == g].sum(1)
            score, few = summed, np.full(m, groups / max(groups - 1, 1))
            degrees = np.full(m, max(groups - q, 1), float)
        small = curvature @ np.einsum("mgi,m,mgj->mij", score, few, score) @ curvature
        if clusters is None:
            # Squared scores miss what a run of much leverage hides, which tells with few runs: no less than if all
            # runs scattered alike.
            own = np.einsum("mii->mi", small)
            ratio = alike[:, None] * np.einsum("mii->mi", curvature) / np.where(own > 0, own, np.inf)
            stretch = np.sqrt(np.maximum(ratio, 1))
            small = small * stretch[:, :, None] * stretch[:, None, :]
        # A clipped inverse, squared, is rounding: its variances may come out below 0.
        flat = flat | (np.einsum("mii->mi", small) < 0).any(-1)
    small = np.where(flat[:, None, None], alike[:, None, None] * np.where(idle[:, None], 0.0, curvature), small)
    covariance = np.zeros((m, p, p))
    covariance[np.ix_(np.arange(m), free, free)] = small
    scale = np.ones((m, p))
    kappa = np.where(idle, np.nan, np.einsum("mii->mi", small) / np.einsum("mii->mi", curvature))
    scale[:, free] = np.where(idle, np.nanmedian(kappa, -1, keepdims=True), kappa)
    return Spread(covariance, scale, degrees, flat)


def _flat(A: Array) -> NDArray[np.bool_]:
    """Which of the matrices (m, q, q) are singular once each constant is in units of its own effect."""
    size = np.sqrt(np.maximum(np.einsum("mii->mi", A), 1e-100))
    return np.linalg.eigvalsh(A / (size[:, :, None] * size[:, None, :]))[:, 0] < FLAT


def _slope(objective: Objective, r: Array, n: Array, q: int) -> Array:
    """psi' averaged over a Gaussian window of 2 s n^(-1/5) around each residual, s their robust scatter; r (m, n)."""
    if objective.kind == "squared":
        return np.ones_like(r)
    s = 1.4826 * np.median(np.abs(r), -1) * np.sqrt(n / np.maximum(n - q, 1))
    window = np.maximum(2 * s * n**-0.2, 1e-300)[:, None]
    slope = special.ndtr((objective.delta - r) / window) - special.ndtr((-objective.delta - r) / window)
    if objective.kind == "asymmetric":
        above = special.ndtr(r / window)  # share of the window where the law lies above the run
        slope = slope * (1 + (objective.asymmetry - 1) * above)
    return slope


def _inverse(A: Array) -> Array:
    """Inverse of positive semi-definite matrices (m, q, q), huge but finite in the directions where one is singular."""
    size = np.sqrt(np.maximum(np.einsum("mii->mi", A), 1e-100))
    scaled = A / (size[:, :, None] * size[:, None, :])
    values, vectors = np.linalg.eigh(scaled)
    inverse = np.einsum("mik,mk,mjk->mij", vectors, 1 / np.maximum(values, 1e-15), vectors)
    return inverse / (size[:, :, None] * size[:, None, :])


def profile(
    problem: Problem,
    theta: Array,
    value: Array,
    spread: Spread,
    free: NDArray[np.bool_],
    level: float = LEVEL,
    lanes: int | None = None,
) -> tuple[Array, Array, Array]:
    """Profile-likelihood intervals of all free constants.

    An end is where holding the constant there and refitting the others raises the objective by kappa F(1, n - p) / 2.

    Args:
        theta, value: optimum and objective of each data set, (m, p) and (m,).

    Returns:
        low, high: (m, p), infinite where the objective never rises so far.
        lowest: (m, p + 1) the best fit met on the way, its objective last: below `value` if the optimum was only local.
    """
    m, p = theta.shape
    quantile = t_quantile(level, spread.degrees)
    lane = [(i, k, side) for i in range(m) for k in np.flatnonzero(free) for side in (-1.0, 1.0)]
    i, k, side = (np.array(column) for column in zip(*lane, strict=True))
    log = np.array([c.log for c in problem.law.constants()])[k]
    error = np.sqrt(spread.covariance[i, k, k])
    error = np.where(np.isfinite(error) & (error > 0), error, 1.0)
    # Where the covariance blows up the objective bends long before one standard error: start nearer.
    step = np.minimum(quantile[i] * error, np.where(log, 3.0, np.maximum(np.abs(theta[i, k]), 0.1)))
    variance = spread.covariance[i, k, k][:, None]
    path = spread.covariance[i, :, k] / np.where(variance > 0, variance, np.inf)
    path[np.arange(len(i)), k] = 1.0
    limit = np.where(log, FAR, np.maximum(1e3 * step, 1e2 * np.abs(theta[i, k])))

    inner, inner_z = np.zeros(len(i)), np.full(len(i), -1.0)  # distance from the optimum, statistic / quantile - 1
    outer, outer_z = np.full(len(i), np.inf), np.full(len(i), np.nan)
    inner_theta, outer_theta = theta[i].copy(), theta[i].copy()  # where the refits at these distances ended
    trial = step.copy()
    result = np.full(len(i), np.nan)
    lowest = np.column_stack([theta, value])
    held = np.broadcast_to(free, (len(i), p)).copy()
    held[np.arange(len(i)), k] = False
    for _ in range(ROUNDS):
        open_ = np.flatnonzero(np.isnan(result))
        if not open_.size:
            break
        # From the solutions on both sides: one may sit in a valley (a floor at zero, say) that the other avoids.
        bracketed = np.isfinite(outer[open_])
        near = open_[bracketed]
        reach = (side * (trial - inner))[open_, None]
        start = inner_theta[open_] + path[open_] * reach
        start = np.concatenate([start, outer_theta[near]])
        lane_of = np.concatenate([np.arange(open_.size), np.flatnonzero(bracketed)])
        start[np.arange(len(start)), k[open_][lane_of]] = (theta[i, k] + side * trial)[open_][lane_of]
        found = solve(problem, start, held[open_][lane_of], i[open_][lane_of], CLOSE, lanes)
        value_, theta_ = found.value[: open_.size].copy(), found.theta[: open_.size].copy()
        other = np.full(open_.size, np.inf)
        other[bracketed] = found.value[open_.size :]
        lower = other < value_
        value_[lower] = other[lower]
        theta_[lower] = found.theta[open_.size :][lower[bracketed]]
        rise = 2 * (value_ - value[i[open_]])
        z = np.sqrt(np.maximum(rise, 0) / spread.scale[i[open_], k[open_]]) / quantile[i[open_]] - 1
        z = np.where(np.isfinite(value_), z, np.inf)
        for lane_, solution, objective in zip(open_, theta_, value_, strict=True):
            if objective < lowest[i[lane_], -1]:
                lowest[i[lane_]] = [*solution, objective]
        below = z < 0
        lo, hi = open_[below], open_[~below]
        inner[lo], inner_z[lo], inner_theta[lo] = trial[lo], z[below], theta_[below]
        outer[hi], outer_z[hi], outer_theta[hi] = trial[hi], z[~below], theta_[~below]
        close = open_[np.abs(z) < EXACT]
        result[close] = trial[close]
        tight = np.isfinite(outer) & (outer - inner < 1e-9 * (1 + outer))
        result[np.isnan(result) & tight] = outer[np.isnan(result) & tight]
        lost = np.isnan(result) & ~np.isfinite(outer) & (inner >= limit)
        result[lost] = np.inf
        # The statistic is nearly linear in the distance: extrapolate, at most fivefold, then false position.
        with np.errstate(all="ignore"):
            further = inner * np.clip(1.05 / np.maximum(inner_z + 1, 1e-3), 1.2, 5.0)
            between = inner - inner_z * (outer - inner) / (outer_z - inner_z)
            middle = 0.5 * (inner + outer)
            inside = np.clip(between, inner + 0.05 * (outer - inner), outer - 0.05 * (outer - inner))
            inside = np.where(np.isfinite(inside), inside, middle)
        trial = np.where(np.isfinite(outer), inside, np.minimum(np.maximum(further, trial), limit))
    unfinished = np.isnan(result)
    result[unfinished] = np.where(np.isfinite(outer[unfinished]), outer[unfinished], np.inf)
    ends = np.full((2, m, p), np.nan)
    ends[((side > 0).astype(int), i, k)] = theta[i, k] + side * result
    return ends[0], ends[1], lowest


def resample(
    rng: np.random.Generator, n: int, draws: int, clusters: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """How often each of n rows (or whole clusters of them) is drawn, (draws, n)."""
    if clusters is None:
        return rng.multinomial(n, np.full(n, 1 / n), draws)
    groups = int(clusters.max()) + 1
    return rng.multinomial(groups, np.full(groups, 1 / groups), draws)[:, clusters]


def bootstrap(
    problem: Problem, optima: Array, spread: Spread, free: NDArray[np.bool_], counts: NDArray[np.int64], seed: int
) -> Array:
    """Refits the problem's one data set to resampled rows, each draw from all optima given and from near the best.

    Args:
        optima: (k, p), the best first; the further start is off it by twice its covariance.
        counts: how often each row is drawn, (draws, n), from `resample`.

    Returns:
        Fit coordinates of each draw, (draws, p).
    """
    m, p = len(counts), optima.shape[1]
    rng = np.random.default_rng([seed, 1])
    values, vectors = np.linalg.eigh(np.clip(spread.covariance[0], -1.0, 1.0))
    jitter = rng.normal(size=(m, 1, p)) @ (2 * np.sqrt(np.maximum(values, 0))[:, None] * vectors.T) * free
    starts = np.concatenate([np.broadcast_to(optima, (m, *optima.shape)), optima[0] + jitter], 1)  # m s p
    per_draw = starts.shape[1]
    resampled = problem.with_data(weights=counts * problem.weights[0])
    found = solve(resampled, starts.reshape(-1, p), free, np.repeat(np.arange(m), per_draw), CLOSE)
    best = found.value.reshape(m, per_draw).argmin(1)
    return found.theta.reshape(m, per_draw, p)[np.arange(m), best]


def percentile(draws: Array, level: float) -> tuple[Array, Array]:
    """Quantiles of the draws (m, p), (p,) each."""
    tail = 50 * (1 - level)
    low, high = np.percentile(draws, [tail, 100 - tail], axis=0)
    return low, high
