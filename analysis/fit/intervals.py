"""How far the constants of a fitted law could be off: covariance, profile likelihood, bootstrap.

Everything takes many data sets at once (leading axis m), so that calibration runs the very code that a user's fit runs.
Fit coordinates throughout: scales and floors as logarithms (`analysis.fit.solver.to_theta`).
"""

import dataclasses
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy import special

from analysis.confidence import LEVEL, t_quantile
from analysis.fit.solver import CLOSE, ZERO, Array, Objective, Problem, at_zero, jacobian, predict, risen, solve

ROUNDS = 40  # of bracketing and false position per end of a profile interval
EXACT = 2e-3  # an end is found when its statistic is within this share of the quantile
FLAT = 1e-9  # smallest eigenvalue of the scaled curvature below which a direction is flat
IDLE = 1e-9  # slope of all predictions, against the steepest constant, below which a constant affects nothing
NONE = "none"  # kind of the intervals of a fit whose curvature is singular: without ends
LEAST = 1e-4  # a direction that one cluster decides but for this share is decided by it
FAR = 40.0  # in ln(constant): a scale that may shrink or grow by this much is not bounded
HELD = 5  # values of a floor on each side of its optimum at which the other constants are refitted
BETWEEN = 8  # parts of the way from one of them to the next
UNFELT = 1e-4  # share of the smallest target below which a floor is as good as none


@dataclasses.dataclass(frozen=True, eq=False)
class Spread:
    """What the residuals at the optimum say of the scatter; arrays have one entry per data set.

    Attributes:
        covariance: of the fit coordinates, (m, p, p), zero for constants that are fixed or affect no prediction.
        scale: kappa, (m, p): with a constant held at its true value 2 (rise of the objective) / kappa is F(1, degrees).
            s^2 for least squares, otherwise the constant's variance times the curvature of its profile.
        degrees: of freedom behind the variance of each constant, (m, p).
        sigma, sigma_degrees: scatter of a row around the law, and the degrees of freedom behind it, (m,).
        flat: whether constants can change together without changing any prediction, (m,): then neither the covariance
            nor a profile that begins at the optimum bounds anything.
    """

    covariance: Array
    scale: Array
    degrees: Array
    sigma: Array
    sigma_degrees: Array
    flat: NDArray[np.bool_]


def spread(
    problem: Problem, theta: Array, free: NDArray[np.bool_], clusters: NDArray[np.int64] | None = None
) -> Spread:
    """Scatter and covariance at the optima theta (m, p) of the problem's m data sets.

    Least squares takes the scatter to be the same for all runs: s^2 (J' W J)^-1, right for few runs and Gaussian noise.
    A robust loss, or `clusters` (an index per row: rows of one cluster may depend on one another), takes only clusters
    to be independent, and a row alone is one: H^-1 M H^-1, M the sum of the squared scores of clusters, H the curvature
    averaged over the density of the residuals. The scores are corrected for what the fit took from them, and the
    degrees are Satterthwaite's (Bell and McCaffrey 2002, "CR2"): so the variance is right for rows that are independent
    within their cluster, nearly so for rows that share its luck, and few clusters, or a few that decide, widen t.
    """
    m, p = theta.shape
    J = jacobian(problem.law, theta, problem.x, problem.objective.log)[..., free]  # m n q
    J = np.nan_to_num(J, nan=0.0, posinf=0.0, neginf=0.0)
    steepest = np.abs(J).max(1)  # m q
    idle = (steepest < IDLE * steepest.max(-1, keepdims=True)) & ~at_zero(problem.law, theta)[:, free]
    J = np.where(idle[:, None], 0.0, J)
    w = problem.weights
    r = np.where(w > 0, predict(problem.law, theta, problem.x, problem.objective.log) - problem.y, 0.0)
    _, psi = problem.objective.terms(r)
    n, q = (w > 0).sum(-1), int(free.sum())
    rest = np.maximum(n - q, 1).astype(float)
    sigma = np.sqrt((w * r**2).sum(-1) / rest)
    slope, few = _slope(problem.objective, r, n, q)
    one = idle[:, None] * np.eye(q)
    curvature = _inverse(np.einsum("mni,mn,mnj->mij", J, w * slope, J) + one)
    felt = J
    if at_zero(problem.law, theta)[:, free].any():  # a floor of 0 has so little slope that rounding hides what is flat
        felt = np.nan_to_num(jacobian(problem.law, risen(problem, theta), problem.x, problem.objective.log)[..., free])
        felt = np.where(idle[:, None], 0.0, felt)
    flat = _flat(np.einsum("mni,mn,mnj->mij", felt, (w > 0).astype(float), felt) + one)
    # The scatter as if all rows scattered alike.
    alike = few * (w * psi**2).sum(-1) / rest / np.maximum((w * slope).sum(-1) / w.sum(-1), 1e-300)
    degrees = np.repeat(rest[:, None], q, 1)
    small = alike[:, None, None] * np.where(idle[:, None], 0.0, curvature)
    if problem.objective.kind != "squared" or clusters is not None:
        index = np.arange(J.shape[1]) if clusters is None else clusters
        white = _Whitened.of(np.sqrt(w)[..., None] * J, index, one)
        by_cluster, degrees = _by_cluster(white, np.sqrt(w) * psi, curvature)
        if clusters is not None:
            squares = _squares_by_cluster(white, np.sqrt(w) * r)  # m G
            groups, total = squares.shape[1], squares.sum(-1)
            sigma = np.sqrt(total / n)
            told = 2 * total**2 / np.maximum(groups * squares.var(-1, ddof=1), 1e-300)  # fewer where clusters differ
            rest = np.clip(told, max(groups - q, 1), rest)
        # A clipped inverse, squared, is rounding: its variances may come out below 0.
        flat = flat | (np.einsum("mii->mi", by_cluster) < 0).any(-1)
        small = np.where(flat[:, None, None], small, few[:, None, None] * by_cluster)
    covariance = np.zeros((m, p, p))
    covariance[np.ix_(np.arange(m), free, free)] = small
    scale, every = np.ones((m, p)), np.repeat(degrees.min(-1, keepdims=True), p, 1)
    kappa = np.where(idle, np.nan, np.einsum("mii->mi", small) / np.einsum("mii->mi", curvature))
    scale[:, free] = np.where(idle, np.nanmedian(kappa, -1, keepdims=True), kappa)
    every[:, free] = degrees
    return Spread(covariance, scale, every, sigma, rest, flat)


def joint_degrees(variance: Array, degrees: Array, own: Array, own_degrees: Array) -> Array:
    """Degrees of freedom of a law's variance and a row's own together, which the same residuals tell."""
    error = variance / np.sqrt(degrees) + own / np.sqrt(own_degrees)
    return ((variance + own) / np.where(error > 0, error, 1.0)) ** 2


class _Whitened(NamedTuple):
    """Slopes K (m, n, q) of rows in coordinates where K'K is the identity, by clusters g of G."""

    K: Array  # (m, n, q)
    order: NDArray[np.int64]  # rows, a cluster after the other
    begins: NDArray[np.int64]  # of each cluster in that order
    share: Array  # (m, G, q) eigenvalues of K_g' K_g: each the share of a direction that the cluster decides
    axes: Array  # (m, G, q, q) their vectors
    back: Array  # (m, q, q) to the constants' own coordinates

    @classmethod
    def of(cls, K: Array, index: NDArray[np.int64], one: Array) -> Self:
        m, _, q = K.shape
        A = np.einsum("mni,mnj->mij", K, K) + one
        size = np.sqrt(np.maximum(np.einsum("mii->mi", A), 1e-100))
        values, vectors = np.linalg.eigh(A / (size[:, :, None] * size[:, None]))
        values = np.maximum(values, 1e-15)
        there = vectors / np.sqrt(values)[:, None] / size[:, :, None]  # m q q
        back = np.swapaxes(vectors * np.sqrt(values)[:, None], 1, 2) * size[:, None]
        K = K @ there
        order = np.argsort(index, kind="stable")
        begins = np.flatnonzero(np.diff(index[order], prepend=-1))
        share = np.add.reduceat((K[..., None] * K[:, :, None])[:, order].reshape(m, -1, q * q), begins, 1)
        share, axes = np.linalg.eigh(share.reshape(m, -1, q, q))
        return cls(K, order, begins, np.clip(share, 0, 1 - LEAST), axes, back)

    def score(self, u: Array) -> Array:
        """K_g' u_g of scores u (m, n), (m, G, q)."""
        return np.add.reduceat((self.K * u[..., None])[:, self.order], self.begins, 1)


def _by_cluster(white: _Whitened, u: Array, curvature: Array) -> tuple[Array, Array]:
    """CR2 covariance (m, q, q) from the scores u (m, n) of rows, and Satterthwaite's degrees."""
    score, share, axes, back = white.score(u), white.share, white.axes, white.back
    bread = back @ curvature  # m q q
    there = np.swapaxes(axes, -1, -2)
    root = 1 / np.sqrt(1 - share)
    adjusted = np.einsum("mgij,mgj->mgi", axes, root * np.einsum("mgij,mgj->mgi", there, score))
    pushed = np.einsum("mgi,mik->mgk", adjusted, bread)
    covariance = np.einsum("mgi,mgj->mij", pushed, pushed)
    # The variance of a constant is u' P u, P_gh = 1(g = h) |t_g|^2 - z_g' z_h.
    along = there @ bread[:, None]  # m g q k
    t = np.einsum("mgik,mgi->mgk", along**2, share * root**2)
    z = axes @ ((share * root)[..., None] * along)  # m g q k
    zz = np.einsum("mgik,mgik->mgk", z, z)
    joint = np.einsum("mgik,mgjk->mijk", z, z)
    trace = (t - zz).sum(1)
    square = (t**2 - 2 * t * zz).sum(1) + (joint**2).sum((1, 2))
    with np.errstate(all="ignore"):
        degrees = trace**2 / square
    return covariance, np.clip(np.nan_to_num(degrees, nan=1.0), 0.5, None)


def _squares_by_cluster(white: _Whitened, r: Array) -> Array:
    """Squares of the residuals r (m, n) summed over each cluster, with what the fit took from them, (m, G)."""
    taken = np.einsum("mgij,mgi->mgj", white.axes, white.score(r)) ** 2 / (1 - white.share)
    return np.add.reduceat(r[:, white.order] ** 2, white.begins, 1) + taken.sum(-1)


def _flat(A: Array) -> NDArray[np.bool_]:
    """Which of the matrices (m, q, q) are singular once each constant is in units of its own effect."""
    size = np.sqrt(np.maximum(np.einsum("mii->mi", A), 1e-100))
    return np.linalg.eigvalsh(A / (size[:, :, None] * size[:, None, :]))[:, 0] < FLAT


def _slope(objective: Objective, r: Array, n: Array, q: int) -> tuple[Array, Array]:
    """psi' averaged over a Gaussian window around each residual, r (m, n); what few rows add to the variance, (m,).

    The window is 2 s n^(-1/5), s their robust scatter: wide enough to be steady from row to row. It averages over too
    flat a density; the mean is set to that of a window narrower by delta, within which psi' is an average already.
    """
    if objective.kind == "squared":
        return np.ones_like(r), np.ones(len(r))
    s = scatter(r, n, q)
    wide = 2 * s * n**-0.2
    narrow = np.maximum(wide - np.reshape(objective.delta, -1), 1e-3 * wide)

    def slope(window: Array) -> Array:
        window = np.maximum(window, 1e-300)[:, None]
        inside = special.ndtr((objective.delta - r) / window) - special.ndtr((-objective.delta - r) / window)
        if objective.kind == "asymmetric":
            above = special.ndtr(r / window)  # share of the window where the law lies above the run
            inside = inside * (1 + (objective.asymmetry - 1) * above)
        return inside

    steady, exact = slope(wide), slope(narrow)
    mean = np.maximum(exact.mean(-1), 1e-300)
    few = (1 + q / n * exact.var(-1) / mean**2) ** 2  # Huber (1973) eq. 5.9
    return steady * (mean / np.maximum(steady.mean(-1), 1e-300))[:, None], few


def scatter(r: Array, n: Array, q: int) -> Array:
    """Robust standard deviation of residuals (m, n) around a law of q constants, (m,)."""
    return 1.4826 * np.median(np.abs(r), -1) * np.sqrt(n / np.maximum(n - q, 1))


def _inverse(A: Array) -> Array:
    """Inverse of positive semi-definite matrices (m, q, q), huge but finite in the directions where one is singular."""
    size = np.sqrt(np.maximum(np.einsum("mii->mi", A), 1e-100))
    scaled = A / (size[:, :, None] * size[:, None, :])
    values, vectors = np.linalg.eigh(scaled)
    inverse = np.einsum("mik,mk,mjk->mij", vectors, 1 / np.maximum(values, 1e-15), vectors)
    return inverse / (size[:, :, None] * size[:, None, :])


class Profile(NamedTuple):
    """Profile-likelihood intervals of m data sets.

    low, high: (m, p), infinite where the objective never rises so far; an exponent above 0 goes down to 0 at most.
    lowest: (m, p + 1) the best fit met on the way, its objective last: below the optimum's if that was only local.
    ends: (m, k, p) the constants at each of these ends (or as far as the walk came), the others refitted.
    """

    low: Array
    high: Array
    lowest: Array
    ends: Array


def reach(value: Array, variance: Array, at_ends: Array, degrees: Array, level: float) -> Array:
    """Variances of predictions below and above their value, (2, ...): as given, or more where a profile shows more.

    The constants at an end of an interval suit the runs as well as the interval allows, so that what they predict
    belongs to the interval of the prediction. Where predictions are linear in the constants, it lies within already.

    Args:
        value, variance: of predictions, (...); a variance of each side, (2, ...).
        at_ends: the same predictions with the constants at each end of their intervals, (k, ...).
        degrees: of freedom behind the variances.
        level: of these intervals.
    """
    off = np.where(np.isfinite(at_ends), at_ends - value, 0.0)
    furthest = np.stack([-off.min(0, initial=0.0), off.max(0, initial=0.0)])
    return np.maximum(variance, (furthest / t_quantile(level, degrees)) ** 2)


class OverFloor(NamedTuple):
    """The likelihood of m data sets over the floor of their law, from the low end of its interval to the high one.

    theta: (m, k, p) the other constants refitted with the floor held at k values, the optimum among them.
    spent: (m, k) how far each lies from the optimum, in shares of the quantile at which the interval ends.
    covariance: (m, k, p, p) of the other constants there.
    """

    theta: Array
    spent: Array
    covariance: Array

    def variances(self, value: Array, at: Array, around: Array, degrees: Array, level: float) -> Array:
        """Variances of predictions below and above their value, (2, ..., m), by a profile over the floor.

        A prediction's interval reaches as far as any constants predict that suit the runs as well as the level allows.
        With the floor held the prediction is linear in the others, by what its value leaves of the quantile.

        Args:
            value: of the predictions at the optimum, (..., m).
            at, around: the predictions and their variances at the values of the floor, (..., m, k).
            degrees: of freedom behind these, (m,).
            level: of the floor's interval.
        """
        quantile = t_quantile(level, degrees)[..., None]
        k = self.spent.shape[-1]
        finer = np.linspace(0, k - 1, (k - 1) * BETWEEN + 1)
        left = np.minimum(finer.astype(int), k - 2)
        share = finer - left

        def between(part: Array) -> Array:
            return part[..., left] * (1 - share) + part[..., left + 1] * share

        spent, at, around = between(self.spent), between(at), between(around)
        off = at - value[..., None]
        half = quantile * np.sqrt(np.maximum(1 - spent**2, 0) * around)
        usable = np.isfinite(off) & np.isfinite(half) & (spent <= 1 + 2 * EXACT)
        below, above = (np.where(usable, part, 0.0).max(-1, initial=0.0) for part in (half - off, half + off))
        return np.stack([below, above]) ** 2 / quantile[..., 0] ** 2


def may_be_none(problem: Problem, low: Array) -> NDArray[np.bool_]:
    """Which floors an interval that ends at low (m, p) lets be 0, (m, p); a logarithm says little of these."""
    floors = np.array([c.kind == "floor" for c in problem.law.constants()])
    least = np.exp(problem.y).min(-1) if problem.objective.log else np.abs(problem.y).min(-1)
    return floors & (low <= np.log(np.maximum(UNFELT * least, ZERO))[:, None])


def over_floor(
    problem: Problem,
    theta: Array,
    value: Array,
    spread_: Spread,
    free: NDArray[np.bool_],
    found: Profile,
    clusters: NDArray[np.int64] | None,
    level: float,
    lanes: int | None = None,
) -> OverFloor:
    """Refits the other constants with the floor held at values between the ends of its profile.

    Args:
        theta, value, spread_, found: optima (m, p), objectives (m,), spread and profiles of the data sets, all of a
            law with one floor, which is free.
    """
    m, p = theta.shape
    k = [c.kind for c in problem.law.constants()].index("floor")
    share = np.linspace(0, 1, HELD + 1)
    share, high = np.concatenate([share[:0:-1], share]), np.repeat([False, True], [HELD, HELD + 1])
    here = np.exp(theta[:, [k]])
    ends = np.exp(np.where(high, found.high[:, [k]], np.maximum(found.low[:, [k]], np.log(ZERO))))
    lane = 2 * int(free[:k].sum())  # of the profile's ends: two for each free constant
    start = theta[:, None] + share[:, None] * (found.ends[:, lane + high] - theta[:, None])
    start[..., k] = np.log(np.maximum(here + share * (ends - here), ZERO))
    data, others = np.repeat(np.arange(m), len(share)), free & (np.arange(p) != k)
    refit = solve(problem, start.reshape(-1, p), others, data, CLOSE, lanes)
    rise = np.maximum(2 * (refit.value - value[data]), 0) / spread_.scale[data, k]
    spent = np.sqrt(rise) / t_quantile(level, spread_.degrees[data, k])
    delta = np.asarray(problem.objective.delta)
    objective = dataclasses.replace(problem.objective, delta=delta[data]) if delta.ndim else problem.objective
    many = dataclasses.replace(problem, objective=objective, y=problem.y[data], weights=problem.weights[data])
    around = spread(many, refit.theta, others, clusters)
    # The scatter is that of the optimum: residuals around a floor that is held grow with it.
    unit = np.sqrt(np.where(others, spread_.scale[data] / around.scale, 0.0))
    covariance = around.covariance * unit[:, None] * unit[..., None]
    covariance[around.flat] = 0.0
    shape = m, len(share)
    return OverFloor(refit.theta.reshape(*shape, p), spent.reshape(shape), covariance.reshape(*shape, p, p))


def profile(
    problem: Problem,
    theta: Array,
    value: Array,
    spread: Spread,
    free: NDArray[np.bool_],
    level: float = LEVEL,
    lanes: int | None = None,
) -> "Profile":
    """Profile-likelihood intervals of all free constants.

    An end is where holding the constant there and refitting the others raises the objective by kappa F(1, n - p) / 2.

    Args:
        theta, value: optimum and objective of each data set, (m, p) and (m,).

    """
    m, p = theta.shape
    quantile = t_quantile(level, spread.degrees)  # m p
    lane = [(i, k, side) for i in range(m) for k in np.flatnonzero(free) for side in (-1.0, 1.0)]
    i, k, side = (np.array(column) for column in zip(*lane, strict=True))
    log = np.array([c.log for c in problem.law.constants()])[k]
    error = np.sqrt(spread.covariance[i, k, k])
    error = np.where(np.isfinite(error) & (error > 0), error, 1.0)
    exponent = np.array([c.kind == "exponent" for c in problem.law.constants()])[k]
    to_zero = exponent & (side < 0) & (theta[i, k] > 0)  # an exponent is above 0, and so is its interval
    sunk = at_zero(problem.law, theta) & free  # m p
    risen_theta = np.where(free, risen(problem, theta), theta)
    # Where the covariance blows up the objective bends long before one standard error: start nearer.
    step = np.minimum(quantile[i, k] * error, np.where(log, 3.0, np.maximum(np.abs(theta[i, k]), 0.1)))
    variance = spread.covariance[i, k, k][:, None]
    path = spread.covariance[i, :, k] / np.where(variance > 0, variance, np.inf)
    path[np.arange(len(i)), k] = 1.0
    limit = np.where(log, FAR, np.maximum(1e3 * step, 1e2 * np.abs(theta[i, k])))
    limit = np.where(to_zero, theta[i, k], limit)

    inner, inner_z = np.zeros(len(i)), np.full(len(i), -1.0)  # distance from the optimum, statistic / quantile - 1
    outer, outer_z = np.full(len(i), np.inf), np.full(len(i), np.nan)
    inner_theta, outer_theta = theta[i].copy(), theta[i].copy()  # where the refits at these distances ended
    ends_theta = np.full_like(inner_theta, np.nan)
    trial = np.minimum(step, limit)
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
        shift = path[open_] * reach
        shift = np.where(sunk[i[open_]], np.log1p(np.maximum(shift, 0)), shift)  # a floor leaves 0 in its own unit
        start = inner_theta[open_] + shift
        # A floor at 0 does not move whatever the other constants do: once more from one that all rows feel.
        raised = sunk[i[open_]].any(-1) & ~sunk[i[open_], k[open_]]
        above = np.where(sunk[i[open_]], risen_theta[i[open_]], inner_theta[open_])
        start = np.concatenate([start, outer_theta[near], above[raised]])
        lane_of = np.concatenate([np.arange(open_.size), np.flatnonzero(bracketed), np.flatnonzero(raised)])
        start[np.arange(len(start)), k[open_][lane_of]] = (theta[i, k] + side * trial)[open_][lane_of]
        found = solve(problem, start, held[open_][lane_of], i[open_][lane_of], CLOSE, lanes)
        order = np.lexsort((found.value, lane_of))  # the best of each lane's starts
        pick = order[np.unique(lane_of[order], return_index=True)[1]]
        value_, theta_ = found.value[pick], found.theta[pick]
        rise = 2 * (value_ - value[i[open_]])
        z = np.sqrt(np.maximum(rise, 0) / spread.scale[i[open_], k[open_]]) / quantile[i[open_], k[open_]] - 1
        z = np.where(np.isfinite(value_), z, np.inf)
        for lane_, solution, objective in zip(open_, theta_, value_, strict=True):
            if objective < lowest[i[lane_], -1]:
                lowest[i[lane_]] = [*solution, objective]
        below = z < 0
        lo, hi = open_[below], open_[~below]
        inner[lo], inner_z[lo], inner_theta[lo] = trial[lo], z[below], theta_[below]
        outer[hi], outer_z[hi], outer_theta[hi] = trial[hi], z[~below], theta_[~below]
        close = np.abs(z) < EXACT
        result[open_[close]] = trial[open_[close]]
        ends_theta[open_[close]] = theta_[close]
        tight = np.isfinite(outer) & (outer - inner < 1e-9 * (1 + outer))
        result[np.isnan(result) & tight] = outer[np.isnan(result) & tight]
        lost = np.isnan(result) & ~np.isfinite(outer) & (inner >= limit)
        result[lost] = np.where(to_zero, limit, np.inf)[lost]
        # The statistic is nearly linear in the distance: extrapolate, at most fivefold, then false position.
        with np.errstate(all="ignore"):
            further = inner * np.clip(1.05 / np.maximum(inner_z + 1, 1e-3), 1.2, 5.0)
            between = inner - inner_z * (outer - inner) / (outer_z - inner_z)
            middle = 0.5 * (inner + outer)
            inside = np.clip(between, inner + 0.05 * (outer - inner), outer - 0.05 * (outer - inner))
            inside = np.where(np.isfinite(inside), inside, middle)
        trial = np.where(np.isfinite(outer), inside, np.minimum(np.maximum(further, trial), limit))
    unfinished = np.isnan(result)
    result[unfinished] = np.where(np.isfinite(outer), outer, np.where(to_zero, limit, np.inf))[unfinished]
    ends = np.full((2, m, p), np.nan)
    ends[((side > 0).astype(int), i, k)] = theta[i, k] + side * result
    within = np.where(np.isnan(ends_theta), inner_theta, ends_theta).reshape(m, -1, p)
    return Profile(ends[0], ends[1], lowest, within)


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
