"""How narrow the forecast of a study will be: the variance of ln L at a target, averaged over what is believed.

Each law of the prior is linearised at its own constants, as the intervals of a fit are (`analysis.fit.intervals`):
M = sum_i n_i g_i g_i' / sigma_i^2, and the variance at the target is g' M^-1 g.
"""

import dataclasses
import functools
import itertools
import math

import numpy as np
from scipy import optimize

from analysis.confidence import LEVEL, t_quantile
from analysis.design.pool import Aim, Counts, Pool
from analysis.design.prior import Belief, Prior
from analysis.fit import misfit, solver
from analysis.frontier import Array
from scaling.errors import InputError

AIMS = ("forecast", "exponent", "forms")  # the law at the target; N_opt's exponent; the power to tell that a law bends
UNNOTICED = 10.0  # that a unit of `departure` beyond what is allowed adds to an aim: what it buys is far less
LEAST = 3  # different sizes, and lengths
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
        split: slope of N_opt's exponent, (laws, 1, p); (laws, 0, p) where the form leaves no run to tell it.
        begun: of the runs that are there already, (laws, b, p).
        least: information on each constant that makes a study regular, (laws, p).
        ratios: variance of each run, the candidates first, to that which the weights of a fit take it to have,
            (laws, m + b).
    """

    rows: Array
    wanted: Array
    split: Array
    begun: Array
    least: Array
    ratios: Array

    @functools.cached_property
    def before(self) -> Array:
        """Information of the runs that are there already, (laws, p, p)."""
        least = self.least[..., None] * np.eye(self.rows.shape[-1])
        return np.asarray(np.swapaxes(self.begun, 1, 2) @ self.begun + least, np.float64)

    def matrix(self, counts: Counts) -> Array:
        """Information of a study, counts (m,): (laws, p, p)."""
        return np.swapaxes(self.rows * counts[:, None], 1, 2) @ self.rows + self.before

    def covariance(self, counts: Counts) -> Array:
        """What a fit of the study will tell of the constants, at the mean: s^2 (J' W J)^-1, (laws, p, p).

        s^2 is the scatter of runs about the law in units of the weights: where these are right, 1.
        """
        if (self.ratios == 1).all():
            return np.asarray(np.linalg.inv(self.matrix(counts)), np.float64)
        n = np.concatenate([counts, np.ones(self.begun.shape[1])])
        rows = np.concatenate([self.rows, self.begun], 1) * np.sqrt(self.ratios)[..., None]
        M = np.swapaxes(rows * n[:, None], 1, 2) @ rows + self.least[..., None] * np.eye(rows.shape[-1])
        inverse = np.linalg.inv(M)
        taken = np.einsum("lmp,lpq,lmq->lm", rows, inverse, rows)  # by the fit, of each run's scatter
        s2 = (n * self.ratios * (1 - taken)).sum(-1) / max(n.sum() - rows.shape[-1], 1)
        return np.maximum(s2, 0.0)[:, None, None] * inverse

    def told(self, counts: Counts) -> Array:
        """Variance of the law's value at the target as a fit of the study will tell it, averaged over it: (laws,)."""
        return np.einsum("ltp,lpq,ltq->l", self.wanted, self.covariance(counts), self.wanted) / self.wanted.shape[1]

    def variances(self, counts: Counts, wanted: Array | None = None) -> tuple[Array, Array]:
        """Of the law at the target, averaged over it: of the study (laws,), with one run more of each (laws, m).

        One run more takes (g' M^-1 j)^2 / (1 + j' M^-1 j) off.

        Args:
            wanted: slopes of something else than the law at the target, (laws, t, p).
        """
        inverse = np.linalg.inv(self.matrix(counts))
        wanted = self.wanted if wanted is None else wanted
        g, j = wanted @ inverse, self.rows @ inverse  # l t p, l m p
        now = np.einsum("ltp,ltp->l", g, wanted) / g.shape[1]
        gained = np.mean((self.rows @ np.swapaxes(g, 1, 2)) ** 2, -1) / (1 + np.einsum("lmp,lmp->lm", j, self.rows))
        return now, now[:, None] - gained

    def logarithms(self, counts: Counts) -> tuple[Array, Array]:
        """ln det M of the study (laws,), and with one run more of each (laws, m)."""
        M = self.matrix(counts)
        now = np.linalg.slogdet(M)[1]
        return now, now[:, None] + np.log1p(np.einsum("lmp,lmp->lm", self.rows @ np.linalg.inv(M), self.rows))


@dataclasses.dataclass(frozen=True, eq=False)
class Criterion:
    """The variances of ln L at a target that studies made of a pool would leave.

    Attributes:
        prior: what is believed.
        begun: runs that are there already, at no cost, (N, D) rows; what they tell is in every study.
        beliefs: those of the prior, by form, in the order of everything that has an entry for each "law".
        forms: of these; bent: the same with quadratic terms in ln N and ln D beside their constants.
    """

    prior: Prior
    pool: Pool
    target: Target
    begun: tuple[Array, Array]
    beliefs: tuple[Belief, ...]
    forms: tuple[Form, ...]
    bent: tuple[Form, ...]

    @classmethod
    def of(cls, prior: Prior, pool: Pool, target: Target, begun: tuple[Array, Array] = NOTHING) -> "Criterion":
        forms, bent, beliefs = [], [], prior.beliefs
        places = (pool.params, pool.tokens), (target.params, target.tokens), begun
        bends = [_bends(pool, *place) for place in places]
        smallest = float(np.concatenate([pool.params, begun[0]]).min())
        for (law, fixed), group in itertools.groupby(beliefs, key=lambda one: (type(one.law), one.fixed)):
            of_form = list(group)
            theta = np.array([solver.theta_of(one.law) for one in of_form])
            free = np.array([c.name not in fixed for c in law.constants()])
            noise, before = (
                np.array([prior.scatter(N, one.slope, smallest) for one in of_form])[..., None]
                for N in (pool.params, begun[0])
            )
            slopes = [solver.jacobian(law, theta, place, True)[..., free] for place in places]
            if not all(np.isfinite(J).all() for J in slopes):
                raise InputError(f"a law of {law.name} has no slope at some candidates or at the target; leave it out")
            both = [
                np.concatenate([J, np.broadcast_to(Q, (len(J), *Q.shape))], -1)
                for J, Q in zip(slopes, bends, strict=True)
            ]
            told = slopes[0] / noise
            least = RIDGE * np.maximum(np.einsum("lmi,lmi->li", told, told), 1e-30 / prior.noise**2)
            faint = np.concatenate([least, np.full((len(least), 3), FAINT)], -1)
            known = [split_slope(one) for one in of_form]
            split = (
                np.array([[each] for each in known if each is not None]) if known[0] is not None else slopes[1][:, :0]
            )
            sizes = np.concatenate([pool.params, begun[0]])
            taken = prior.scatter(sizes, prior.slope, smallest)
            ratios = (np.concatenate([noise, before], 1)[..., 0] / taken) ** 2
            forms.append(Form(told, slopes[1], split, slopes[2] / before, least, ratios))
            bent.append(Form(both[0] / noise, both[1], both[1][:, :0], both[2] / before, faint, ratios))
        return cls(prior, pool, target, begun, tuple(beliefs), tuple(forms), tuple(bent))

    @property
    def scatter(self) -> Array:
        """Variance of one run at the far end of the target, of each law."""
        smallest = float(np.concatenate([self.pool.params, self.begun[0]]).min())
        at = self.target.params[:1]
        return np.array([float(self.prior.scatter(at, one.slope, smallest)[0]) for one in self.beliefs]) ** 2

    def law(self, counts: Counts) -> Array:
        """Variance of each law's value at the target, its form being right, averaged over the target: (laws,)."""
        return np.concatenate([form.variances(counts)[0] for form in self.forms])

    def told(self, counts: Counts) -> Array:
        """As `law`, as a fit will tell it, whose weights are of one slope of the noise: (laws,)."""
        return np.concatenate([form.told(counts) for form in self.forms])

    def error(self, counts: Counts) -> tuple[float, Array]:
        """Variance of the law's own error at the target, beyond the runs: of the study, with one more of each (m,)."""
        far, after = 0.0, np.zeros(len(self.pool))
        there = np.asarray(counts) > 0
        for own, begun, at in zip(*map(_sides, (self.pool, self.begun, self.target)), strict=True):
            runs = np.concatenate([own[there], begun])
            high, low = np.maximum(own, runs.max(initial=0.0)), np.minimum(own, runs.min(initial=np.inf))
            after = np.maximum(after, np.maximum(np.log(at.max() / high), np.log(low / at.min())))
            if len(runs):
                far = max(far, math.log(at.max() / runs.max()), math.log(runs.min() / at.min()))
        far = far if there.any() or len(self.begun[0]) else float(after.max())
        return float(misfit.grown(self.prior.error, np.array(far))), misfit.grown(self.prior.error, after)

    def narrow(self, counts: Counts) -> tuple[float, Array]:
        """What a design makes small, of a study and of it with one run more of each candidate (m,).

        The mean over laws of the logarithm of the standard deviation at the target, the law's own error in.
        """
        found = [form.variances(counts) for form in self.forms]
        now, after = (np.concatenate([each[k] for each in found]) for k in (0, 1))
        own, own_after = self.error(counts)
        return float(0.5 * np.log(now + own).mean()), 0.5 * np.log(after + own_after).mean(0)

    def split(self, counts: Counts) -> tuple[float, Array]:
        """As `narrow`, of N_opt's exponent, over the laws whose runs tell it."""
        found = [form.variances(counts, form.split) for form in self.forms if form.split.shape[1]]
        now, after = (np.concatenate([each[k] for each in found]) for k in (0, 1))
        return float(0.5 * np.log(now).mean()), 0.5 * np.log(after).mean(0)

    def aim(self, name: str) -> Aim:
        """What a design makes small, by a name of AIMS.

        Raises:
            InputError: no law believed has an exponent of N_opt that runs tell.
        """
        if name == "exponent" and not any(form.split.shape[1] for form in self.forms):
            raise InputError("no law believed leaves the exponent of N_opt to the runs; give one of alpha and beta")
        return {"forecast": self.narrow, "exponent": self.split, "forms": self.departure}[name]

    def departure(self, counts: Counts) -> tuple[float, Array]:
        """How badly a study would notice that the law bends, as `narrow`: minus the information on the bends.

        The mean over laws of -1/2 ln det of the information on (ln N)^2, ln N ln D and (ln D)^2 that is left once the
        law's own constants are fitted: small where sizes and lengths are many and apart.
        """
        own, bent = ([form.logarithms(counts) for form in forms] for forms in (self.forms, self.bent))
        now, after = (
            0.5 * np.concatenate([of_law[k] - of_bent[k] for of_law, of_bent in zip(own, bent, strict=True)]).mean(0)
            for k in (0, 1)
        )
        return float(now), after

    def noticing(self, aim: Aim, study: Counts) -> Aim:
        """An aim among the studies that would notice a law that bends as well as this one, and have LEAST sizes and
        lengths: `departure` beyond it, and each that is lacking, adds UNNOTICED times as much."""
        most = self.departure(study)[0]

        def found(counts: Counts) -> tuple[float, Array]:
            (now, after), (bend, bends) = aim(counts), self.departure(counts)
            lacks, lack = self._lacking(counts)
            unnoticed = UNNOTICED * (max(bend - most, 0.0) + lacks)
            return now + unnoticed, after + UNNOTICED * (np.maximum(bends - most, 0.0) + lack)

        return found

    def apart(self, counts: Counts) -> tuple[Array, Array]:
        """The different sizes, and lengths, of a study and of the runs that are there already."""
        N, D = (
            np.unique(np.concatenate([own[counts > 0], begun]))
            for own, begun in zip((self.pool.params, self.pool.tokens), self.begun, strict=True)
        )
        return N, D

    def _lacking(self, counts: Counts) -> tuple[int, Array]:
        """Sizes and lengths below LEAST of a study, and of it with one run more of each candidate (m,)."""
        lacks, lack = 0, np.zeros(len(self.pool))
        for own, there in zip((self.pool.params, self.pool.tokens), self.apart(counts), strict=True):
            lacks += max(LEAST - len(there), 0)
            lack += np.maximum(LEAST - len(there) - ~np.isin(own, there), 0)
        return lacks, lack

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


def split_slope(belief: Belief) -> Array | None:
    """d (beta / (alpha + beta)) / d theta of the constants that a fit estimates, (p,): N_opt's exponent.

    None of a law that has not both, or whose both are known.
    """
    law, names = belief.law, [c.name for c in belief.constants]
    exponents = {c.name: float(getattr(law, c.name)) for c in law.constants() if c.kind == "exponent"}
    if not {"alpha", "beta"} <= exponents.keys() or not {"alpha", "beta"} & set(names):
        return None
    alpha, beta = exponents["alpha"], exponents["beta"]
    slope = {"alpha": -beta / (alpha + beta) ** 2, "beta": alpha / (alpha + beta) ** 2}
    return np.array([slope.get(name, 0.0) for name in names])


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


def _bends(pool: Pool, N: Array, D: Array) -> Array:
    """(ln N)^2, ln N ln D and (ln D)^2 of runs, from the middle of the pool and in units of its width, (n, 3)."""
    logs = np.log([pool.params, pool.tokens])
    middle, width = logs.mean(1, keepdims=True), np.maximum(logs.std(1, keepdims=True), 1e-9)
    u, v = (np.log([N, D]) - middle) / width
    return np.stack([u * u, u * v, v * v], -1)


def _sides(runs: "Pool | Target | tuple[Array, Array]") -> tuple[Array, Array, Array]:
    """N, D and N D."""
    N, D = runs if isinstance(runs, tuple) else (runs.params, runs.tokens)
    return N, D, N * D
