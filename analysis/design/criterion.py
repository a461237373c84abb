"""How narrow the forecast of a study will be: the variance of ln L at a target, averaged over what is believed.

Each law of the prior is linearised at its own constants, as the intervals of a fit are (`analysis.fit.intervals`):
M = sum_i n_i g_i g_i' / sigma^2, and the variance at the target is g' M^-1 g.
"""

import dataclasses
import itertools

import numpy as np
from scipy import optimize

from analysis.confidence import LEVEL, t_quantile
from analysis.design.pool import Counts, Pool
from analysis.design.prior import Prior, theta_of
from analysis.fit import solver
from analysis.fit.misfit import POWER
from analysis.frontier import Array
from analysis.laws import Law
from scaling.errors import InputError

FAINT = 1.0  # information on a bend of 1 in ln L that is as good as none
NOTHING = np.zeros(0), np.zeros(0)
RIDGE = 1e-9  # of the information of all candidates: what a study that cannot tell a constant is given of it


@dataclasses.dataclass(frozen=True, eq=False)
class Target:
    """Where the forecast is wanted: (N, D) rows, all alike in weight; (t,) each."""

    params: Array
    tokens: Array


@dataclasses.dataclass(frozen=True, eq=False)
class Form:
    """The laws of one form: slopes d ln L / d theta in units of the noise of a run, by law.

    Attributes:
        rows: of each candidate, (laws, m, p).
        wanted: at the target, in ln L itself, (laws, t, p).
        begun: of the runs that are there already, (laws, b, p).
        squares: J J' of each candidate, (laws, m, p p).
    """

    rows: Array
    wanted: Array
    begun: Array
    squares: Array

    def matrices(self, counts: Counts) -> Array:
        """Information of studies, counts (..., m): (laws, ..., p, p)."""
        p = self.rows.shape[-1]
        found = np.tensordot(counts, self.squares, (-1, 1))  # ... laws pp
        found = np.moveaxis(found, -2, 0).reshape(len(self.rows), *np.shape(counts)[:-1], p, p)
        told = np.swapaxes(self.begun, 1, 2) @ self.begun
        ridge = RIDGE * np.maximum(np.einsum("lmi,lmi->li", self.rows, self.rows), 1e-30)[:, None] * np.eye(p)
        return found + (told + ridge).reshape(len(told), *(1,) * (np.ndim(counts) - 1), p, p)


@dataclasses.dataclass(frozen=True, eq=False)
class Criterion:
    """The variances of ln L at a target that studies made of a pool would leave.

    Attributes:
        begun: runs that are there already, at no cost, (N, D) rows; what they tell is in every study.
        laws: those of the prior, by form, in the order of everything that has an entry for each.
        forms: of these.
    """

    prior: Prior
    pool: Pool
    target: Target
    begun: tuple[Array, Array]
    laws: tuple[Law, ...]
    forms: tuple[Form, ...]

    @classmethod
    def of(cls, prior: Prior, pool: Pool, target: Target, begun: tuple[Array, Array] = NOTHING) -> "Criterion":
        forms, laws = [], sorted(prior.laws, key=lambda one: one.name)
        for law, of_form in itertools.groupby(laws, key=type):
            theta = np.array([theta_of(one) for one in of_form])
            rows, wanted, there = (
                solver.jacobian(law, theta, (N, D), True)
                for N, D in ((pool.params, pool.tokens), (target.params, target.tokens), begun)
            )
            if not (np.isfinite(rows).all() and np.isfinite(wanted).all()):
                raise InputError(f"a law of {law.name} has no slope at some candidates or at the target; leave it out")
            rows, there = rows / prior.noise, there / prior.noise
            squares = (rows[..., None] * rows[..., None, :]).reshape(*rows.shape[:2], -1)
            forms.append(Form(rows, wanted, there, squares))
        return cls(prior, pool, target, begun, tuple(laws), tuple(forms))

    def law(self, counts: Counts) -> Array:
        """Variance of each law's value at the target, its form being right, averaged over the target: (laws, ...)."""
        found = []
        for form in self.forms:
            M = form.matrices(counts)
            g = form.wanted.reshape(len(M), *(1,) * (M.ndim - 3), *form.wanted.shape[1:])
            solved = np.linalg.solve(M, np.broadcast_to(np.swapaxes(g, -1, -2), (*M.shape[:-1], g.shape[-2])))
            found.append(np.einsum("l...tp,l...pt->l...", np.broadcast_to(g, (*M.shape[:-2], *g.shape[-2:])), solved))
        return np.concatenate(found) / len(self.target.params)

    def error(self, counts: Counts) -> Array:
        """Variance of the law's own error at the target, which lies beyond the runs: (...)."""
        there = np.asarray(counts) > 0
        far = np.zeros(there.shape[:-1])
        for own, begun, at in zip(*map(_sides, (self.pool, self.begun, self.target)), strict=True):
            largest = np.max(np.where(there, own, 0.0), -1, initial=begun.max(initial=1.0))
            smallest = np.min(np.where(there, own, np.inf), -1, initial=begun.min(initial=np.inf))
            smallest = np.where(np.isfinite(smallest), smallest, largest)
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
        counts = np.asarray(counts)
        bends, begun = self._bends(self.pool.params, self.pool.tokens), self._bends(*self.begun)
        squares = np.tensordot(counts, np.einsum("mi,mj->mij", bends, bends), 1) + begun.T @ begun  # ... 3 3
        total = []
        for form in self.forms:
            both = np.einsum("...m,lmi,mj->l...ij", counts, form.rows, bends, optimize=True)
            told = np.einsum("lbi,bj->lij", form.begun, begun)
            both = both + told.reshape(len(told), *(1,) * (counts.ndim - 1), *told.shape[1:])
            left = squares - np.swapaxes(both, -1, -2) @ np.linalg.solve(form.matrices(counts), both)
            total.append(-0.5 * np.linalg.slogdet(left + FAINT * np.eye(3))[1])
        return np.concatenate(total).mean(0)

    def _bends(self, N: Array, D: Array) -> Array:
        """(ln N)^2, ln N ln D and (ln D)^2 of runs, from the middle of the pool and in units of its width, (n, 3)."""
        logs = np.log([self.pool.params, self.pool.tokens])
        middle, width = logs.mean(1, keepdims=True), np.maximum(logs.std(1, keepdims=True), 1e-9)
        u, v = (np.log([N, D]) - middle) / width
        return np.stack([u * u, u * v, v * v], -1) / self.prior.noise

    def bound(self, flops: float) -> Array:
        """Least standard deviation of each law's value that any spending of so much FLOP can leave, (laws,).

        Elfving's theorem for c-optimality, as a linear programme: the least sum of |u_i| with sum_i u_i g_i /
        (sigma sqrt(c_i)) the target's slope. For runs paid one by one, and one target.
        """
        if len(self.target.params) > 1:
            raise InputError("a bound is known for one target; give one")
        least = [
            elfving(rows, wanted[0], self.pool.flops)[0]
            for form in self.forms
            for rows, wanted in zip(form.rows, form.wanted, strict=True)
        ]
        return np.array(least) / np.sqrt(flops)


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
    """Half the width of the interval that a fit to so many runs tells, in ln L: t times the median scatter."""
    degrees = np.array(max(runs - constants, 1), float)
    median = 1 - 2 / (9 * degrees)  # Wilson and Hilferty: the median of chi^2 / degrees, to the power 1/3
    return t_quantile(level, degrees) * np.sqrt(variance) * median**1.5


def _sides(runs: "Pool | Target | tuple[Array, Array]") -> tuple[Array, Array, Array]:
    """N, D and N D."""
    N, D = runs if isinstance(runs, tuple) else (runs.params, runs.tokens)
    return N, D, N * D
