"""How narrow the forecast of a study will be: the variance of ln L at a target, averaged over what is believed.

Each law of the prior is linearised at its own constants, as the intervals of a fit are (`analysis.fit.intervals`):
M = sum_i n_i g_i g_i' / sigma^2, and the variance at the target is g' M^-1 g.
"""

import dataclasses

import numpy as np
from scipy import optimize

from analysis.confidence import LEVEL, t_quantile
from analysis.design.pool import Counts, Pool
from analysis.design.prior import Prior
from analysis.fit.misfit import POWER
from analysis.frontier import Array
from scaling.errors import InputError

FAINT = 1.0  # information on a bend of 1 in ln L that is as good as none
RIDGE = 1e-9  # of the information of all candidates: what a study that cannot tell a constant is given of it


@dataclasses.dataclass(frozen=True, eq=False)
class Target:
    """Where the forecast is wanted: (N, D) rows, all alike in weight; (t,) each."""

    params: Array
    tokens: Array


@dataclasses.dataclass(frozen=True, eq=False)
class Criterion:
    """The variances of ln L at a target that studies made of a pool would leave.

    Attributes:
        information: of one run of each candidate, by law: (m, p, p).
        wanted: slopes at the target, by law: (t, p).
    """

    prior: Prior
    pool: Pool
    target: Target
    information: tuple[Array, ...]
    wanted: tuple[Array, ...]

    @classmethod
    def of(cls, prior: Prior, pool: Pool, target: Target) -> "Criterion":
        slopes = prior.slopes(pool.params, pool.tokens)
        wanted = prior.slopes(target.params, target.tokens)
        for law, J in zip(prior.laws, slopes, strict=True):
            if not np.isfinite(J).all():
                raise InputError(f"{law.name} with constants {law} has no slope at some candidates; leave it out")
        information = tuple(np.einsum("mi,mj->mij", J, J) / prior.noise**2 for J in slopes)
        return cls(prior, pool, target, information, tuple(wanted))

    def matrices(self, counts: Counts) -> list[Array]:
        """Information of studies, counts (..., m), by law: (..., p, p)."""
        return [np.tensordot(counts, each, 1) + RIDGE * _scale(each) for each in self.information]

    def law(self, counts: Counts) -> Array:
        """Variance of each law's value at the target, its form being right, averaged over the target: (laws, ...)."""
        found = []
        for M, g in zip(self.matrices(counts), self.wanted, strict=True):
            solved = np.linalg.solve(M, np.broadcast_to(g.T, (*M.shape[:-2], *g.T.shape)))
            found.append(np.einsum("tp,...pt->...", g, solved) / len(g))
        return np.array(found)

    def error(self, counts: Counts) -> Array:
        """Variance of the law's own error at the target, which lies beyond the runs: (...)."""
        counts = np.asarray(counts)
        there = counts > 0
        N, D = self.pool.params, self.pool.tokens
        far = np.zeros(counts.shape[:-1])
        for own, at in (
            (N, self.target.params),
            (D, self.target.tokens),
            (N * D, self.target.params * self.target.tokens),
        ):
            largest = np.max(np.where(there, own, 0.0), -1, initial=1.0)
            smallest = np.min(np.where(there, own, own.max()), -1)
            beyond = np.maximum(np.log(at.max()) - np.log(largest), np.log(smallest) - np.log(at.min()))
            far = np.maximum(far, beyond)
        return self.prior.error**2 * far ** (2 * POWER)

    def score(self, counts: Counts) -> Array:
        """What a design makes small: the mean over laws of the logarithm of the standard deviation, both errors in."""
        return 0.5 * np.log(self.law(counts) + self.error(counts)).mean(0)

    def departure(self, counts: Counts) -> Array:
        """How badly a study would notice that the law bends: minus the information on ln L's quadratic terms.

        The mean over laws of -1/2 ln det of the information on (ln N)^2, ln N ln D and (ln D)^2 that is left once the
        law's own constants are fitted: small where sizes and lengths are many and apart.
        """
        logs = np.log([self.pool.params, self.pool.tokens])
        u, v = (logs - logs.mean(1, keepdims=True)) / np.maximum(logs.std(1, keepdims=True), 1e-9)
        bends = np.stack([u * u, u * v, v * v], -1) / self.prior.noise
        counts = np.asarray(counts)
        total = []
        for J, own in zip(self.prior.slopes(self.pool.params, self.pool.tokens), self.matrices(counts), strict=True):
            J = J / self.prior.noise
            both = np.tensordot(counts, np.einsum("mi,mj->mij", J, bends), 1)
            bend = np.tensordot(counts, np.einsum("mi,mj->mij", bends, bends), 1)
            left = bend - np.swapaxes(both, -1, -2) @ np.linalg.solve(own, both)
            total.append(-0.5 * np.linalg.slogdet(left + FAINT * np.eye(3))[1])
        return np.array(total).mean(0)

    def bound(self, flops: float) -> Array:
        """Least standard deviation of each law's value that any spending of so much FLOP can leave, (laws,).

        Elfving's theorem for c-optimality, as a linear programme: the least sum of |u_i| with sum_i u_i g_i /
        (sigma sqrt(c_i)) the target's slope. For runs paid one by one, and one target.
        """
        if len(self.target.params) > 1:
            raise InputError("a bound is known for one target; give one")
        return np.array([elfving(J / self.prior.noise, g[0], self.pool.flops)[0] / np.sqrt(flops)
                         for J, g in zip(self.prior.slopes(self.pool.params, self.pool.tokens), self.wanted, strict=True)])  # fmt: skip


def elfving(slopes: Array, wanted: Array, cost: Array) -> tuple[float, Array]:
    """The c-optimal design: (standard deviation x square root of the budget, share of the cost of each, (m,)).

    Args:
        slopes: of each candidate in units of its noise, (m, p).
        wanted: slope at the target, (p,).
        cost: of each, (m,).

    Raises:
        InputError: no mixture of the candidates tells the target.
    """
    per_cost = slopes / np.sqrt(cost)[:, None]  # m p
    unit = np.abs(per_cost).max(0)
    unit = np.where(unit > 0, unit, 1.0)
    both = np.concatenate([per_cost, -per_cost]) / unit
    found = optimize.linprog(np.ones(len(both)), A_eq=both.T, b_eq=wanted / unit, method="highs")
    if found.status != 0:
        raise InputError("these candidates do not tell the target, whatever is spent; give more sizes and lengths")
    u = found.x[: len(cost)] + found.x[len(cost) :]
    return float(u.sum()), u / u.sum()


def half_width(variance: Array, runs: int, constants: int, level: float = LEVEL) -> Array:
    """Half the width of the interval that a fit to so many runs will tell, in ln L: t times the median scatter found."""
    degrees = np.array(max(runs - constants, 1), float)
    median = 1 - 2 / (9 * degrees)  # Wilson and Hilferty: the median of chi^2 / degrees, to the power 1/3
    return t_quantile(level, degrees) * np.sqrt(variance) * median**1.5


def _scale(information: Array) -> Array:
    """The diagonal of the information of all candidates."""
    return np.diag(np.maximum(np.einsum("mii->i", information), 1e-30))
