# ruff: noqa: RUF009  (`constant`, `exponent` and the like return dataclass fields)
"""Laws of a whole loss curve, which take the learning rate of every update: L(t) under any schedule.

A class is made for given schedules, `luo(schedules)`, and its columns are `step`, the updates made, and
`schedule_number`, from 1, which of the schedules made them. Rates are those of updates 1, 2, ...; before the first the
rate is 0, so that a warm-up is a schedule that rises.
"""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar, NamedTuple, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.laws.admission import FINISHED, ONE_MODEL
from analysis.laws.law import Law, Scalar, Values, constant, exponent, floor, namespace, power

Array = NDArray[np.float64]
L = TypeVar("L", bound="OfSchedules")
KNOTS = 400  # places at most where a schedule's rate is taken to change
LEAST_RATE = 1e-12  # to which a rate of 0 is raised where a law divides by it


@dataclasses.dataclass(frozen=True)
class Schedules:
    """Several schedules as sums over the places where their rates change.

    Attributes:
        total: s t: the rates of the first t updates added up, t from 0; held at its last value beyond the end.
        at: s k: the update at which the rate changes.
        drop: s k: by how much it falls there; below 0 where it rises, 0 where there are fewer changes.
        rate: s k: the rate after it.
        before: s k: the rates of the updates before it added up.
    """

    total: Array
    at: Array
    drop: Array
    rate: Array
    before: Array

    @classmethod
    def of(cls, schedules: Sequence[ArrayLike], knots: int = KNOTS, between: int = 0) -> "Schedules":
        """Schedules as the learning rates of all their updates.

        Args:
            knots: a schedule with more changes has neighbouring ones that are of one sign taken together, at their
                mean place.
            between: places that are added where nothing changes, evenly over the rates added up.
        """
        all_ = [np.asarray(rates, float) for rates in schedules]
        longest = max(len(rates) for rates in all_)
        total = np.stack(
            [np.pad(np.append(0.0, np.cumsum(rates)), (0, longest - len(rates)), "edge") for rates in all_]
        )
        changes = [_changes(rates, sums, knots, between) for rates, sums in zip(all_, total, strict=True)]
        widest = max(len(at) for at, *_ in changes)
        fill = (longest + 1.0, 0.0, 1.0, 0.0)  # a change that never comes
        padded = ([np.pad(c[i], (0, widest - len(c[i])), constant_values=fill[i]) for c in changes] for i in range(4))
        return cls(total, *(np.stack(rows) for rows in padded))

    def chosen(self, which: Sequence[int]) -> Self:
        """These schedules, by their places from 0."""
        return dataclasses.replace(self, **{f.name: getattr(self, f.name)[which] for f in dataclasses.fields(self)})

    def seen(self, t: Values, number: Values) -> "Seen":
        """What a law reads after t updates of schedule `number`, from 1; beyond the last of either, as at the last."""
        xp = namespace(t, number)
        t, i = xp.asarray(t), xp.clip(xp.asarray(number).astype(int), 1, len(self.total)) - 1
        total, at, drop, rate, before = (xp.asarray(getattr(self, f.name)) for f in dataclasses.fields(self))
        S, come = total[i, xp.clip(t.astype(int), 0, total.shape[1] - 1)], at[i] <= t[..., None]
        return Seen(
            S,
            xp.where(come, drop[i], 0.0),
            rate[i],
            xp.where(come, S[..., None] - before[i], 0.0),
            xp.where(come, t[..., None] - at[i], 0.0),
            xp.cumsum(drop[i] > 0, -1) == 0,
        )


class Seen(NamedTuple):
    """What a law reads of a schedule at r rows.

    Attributes:
        S: r: the rates of all updates so far added up.
        drop: r k: of each change; 0 where it is still to come.
        rate: r k: after it.
        since: r k: the rates of the updates since it added up; updates: r k: how many they are.
        warming: r k: whether it belongs to the first rise.
    """

    S: Values
    drop: Values
    rate: Values
    since: Values
    updates: Values
    warming: Values


def _changes(rates: Array, total: Array, knots: int, between: int) -> tuple[Array, Array, Array, Array]:
    """`at`, `drop`, `rate` and `before` of one schedule."""
    drop = -np.diff(rates, prepend=0.0)
    k = np.flatnonzero(drop)
    drop = drop[k]
    if len(k) > knots:
        mass = np.cumsum(np.abs(drop)) - np.abs(drop) / 2
        sign = np.cumsum(np.append(False, np.diff(np.sign(drop)) != 0))
        share = np.floor(mass / np.abs(drop).sum() * (knots - sign[-1] - 1))
        parts = np.cumsum(np.append(False, (np.diff(sign) != 0) | (np.diff(share) != 0)))  # neither ever falls
    else:
        parts = np.arange(len(k))
    whole = np.bincount(parts, drop).astype(float)
    mean = [np.bincount(parts, drop * x) / whole for x in (k + 1.0, np.maximum(rates[k], LEAST_RATE), total[k])]
    even = np.searchsorted(total[: len(rates)], total[len(rates)] * np.arange(1, between + 1) / (between + 1))
    at = np.append(mean[0], even + 1.0)
    order = np.argsort(at, kind="stable")
    return (
        at[order],
        np.append(whole, np.zeros(between))[order],
        np.append(mean[1], np.maximum(rates[np.minimum(even, len(rates) - 1)], LEAST_RATE))[order],
        np.append(mean[2], total[even])[order],
    )


class OfSchedules(Law):
    """What laws of whole curves share."""

    inputs = ("step", "schedule_number")
    about = (FINISHED, ONE_MODEL)
    schedules: ClassVar[Schedules]
    between: ClassVar[int] = 0  # places of a schedule that the law wants beside those where its rate changes


@dataclasses.dataclass(frozen=True)
class Tissue(OfSchedules):
    """L(t) = L_0 + A S_1 ** -alpha - C S_2: S_1 the rates added up, S_2 the drops, each growing for about tau updates.

    S_2 is the sum over the updates so far of a momentum of the drops, m_i = (1 - 1 / tau) m_(i-1) + eta_(i-1) - eta_i,
    after the warm-up. It still grows where the rate has become 0 and nothing moves: not a law of such ends.
    """

    L_0: Scalar = floor()
    A: Scalar = constant("nats/token", (0.1, 10.0))
    alpha: Scalar = exponent((0.1, 1.0))
    C: Scalar = constant("nats/token", (0.01, 10.0))
    tau: Scalar = constant("updates", (50.0, 5000.0))

    name = "tissue"
    source = "Tissue et al. (2024), arXiv 2408.11029, lambda = 1 - 1 / tau"
    linear = ("L_0", "A", "C")

    def __call__(self, t: Values, number: Values) -> Values:
        xp = namespace(self.L_0, self.A, self.alpha, self.C, self.tau, t, number)
        seen = self.schedules.seen(t, number)
        tau = xp.asarray(self.tau)[..., None]
        grown = -tau * xp.expm1((seen.updates + 1) * xp.log1p(-1 / tau))
        return self.L_0 + self.A * power(seen.S, -self.alpha) - self.C * (seen.drop * ~seen.warming * grown).sum(-1)


@dataclasses.dataclass(frozen=True)
class Luo(OfSchedules):
    """L(t) = L_0 + A S_1 ** -alpha - B sum_k (eta_(k-1) - eta_k) (1 - (1 + C eta_k ** -gamma S_k) ** -beta).

    The multi-power law: S_1 the rates of all updates added up, S_k those from update k on. The sum runs over the
    warm-up too. B, C, beta and gamma are weakly identified by few curves.
    """

    L_0: Scalar = floor()
    A: Scalar = constant("nats/token", (0.1, 10.0))
    alpha: Scalar = exponent((0.1, 1.0))
    B: Scalar = constant("nats/token", (30.0, 3000.0))
    C: Scalar = constant("", (0.1, 30.0))
    beta: Scalar = exponent((0.1, 2.0))
    gamma: Scalar = exponent((0.1, 2.0))

    name = "luo"
    source = "Luo et al. (2025), arXiv 2503.12811"
    linear = ("L_0", "A", "B")

    def __call__(self, t: Values, number: Values) -> Values:
        xp = namespace(self.L_0, self.A, self.alpha, self.B, self.C, self.beta, self.gamma, t, number)
        seen = self.schedules.seen(t, number)
        C, beta, gamma = (xp.asarray(c)[..., None] for c in (self.C, self.beta, self.gamma))
        gained = 1 - power(1 + C * power(seen.rate, -gamma) * seen.since, -beta)
        return self.L_0 + self.A * power(seen.S, -self.alpha) - self.B * (seen.drop * gained).sum(-1)


@dataclasses.dataclass(frozen=True)
class Functional(OfSchedules):
    """L(t) = L_0 + A T^-q + integral over u from 0 to T of eta(u) (A_0 + A_1 u^-q) / (1 + c (T - u)) du.

    The functional scaling law: T the rates added up. What the noise of an update adds is proportional to its rate over
    its batch, of which there is one here, and is forgotten as 1 / (1 + c (T - u)): the exponent is near 1, at which the
    integral over a stretch of one rate is a logarithm. The paper, about gradient descent, has 1 + T where T stands
    here; the rates of Adam have no such unit, and the curves of Luo et al. (2025) want none.
    """

    L_0: Scalar = floor()
    A: Scalar = constant("nats/token", (0.1, 10.0))
    q: Scalar = exponent((0.1, 1.0))
    A_0: Scalar = constant("nats/token", (1e2, 1e7))
    A_1: Scalar = constant("nats/token", (1e2, 1e7))
    c: Scalar = constant("", (1e2, 1e5))

    name = "functional"
    source = "Li et al. (2025), arXiv 2509.19189, with the kernel's exponent 1"
    linear = ("L_0", "A", "A_0", "A_1")
    between = 40

    def __call__(self, t: Values, number: Values) -> Values:
        xp = namespace(self.L_0, self.A, self.q, self.A_0, self.A_1, self.c, t, number)
        seen = self.schedules.seen(t, number)
        q, A_0, A_1, c = (xp.asarray(x)[..., None] for x in (self.q, self.A_0, self.A_1, self.c))
        begun = seen.since
        ended = xp.concatenate([begun[..., 1:], xp.zeros_like(begun[..., :1])], -1)
        u = seen.S[..., None] - (begun + ended) / 2
        kept = (xp.log1p(c * begun) - xp.log1p(c * ended)) / c
        noise = (seen.rate * (A_0 + A_1 * power(u, -q)) * kept).sum(-1)
        return self.L_0 + self.A * power(seen.S, -self.q) + noise


OF_CURVES: tuple[type[OfSchedules], ...] = (Tissue, Luo, Functional)  # each is made for the schedules of its curves


def of_schedules(law: type[L], schedules: Schedules) -> type[L]:
    """A law of this module for these schedules."""
    namespace = {"schedules": schedules, "__doc__": law.__doc__}
    return dataclasses.make_dataclass(law.__name__, [], bases=(law,), namespace=namespace, frozen=True)
