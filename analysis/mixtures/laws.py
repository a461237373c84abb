"""Laws of the loss on one domain over the shares of a mixture: a class is made for so many parts, `exponential(3)`.

Shares r_1 ... r_K add up to 1, so a factor before an exponential and an intercept before a linear law are no constants
of their own. A law takes the shares in their order, then N and D where it has terms in them.
"""

import dataclasses
import functools
import itertools
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from analysis.laws.law import Law, Scalar, Values, constant, floor, namespace, power

Array = NDArray[np.float64]

FLOORS = (0.02, 0.3, 0.6, 0.8, 0.9, 0.97)  # of the lowest loss, at which descents begin
POWERS = (0.2, 0.5, 1.0)  # of a share
LEAST = 1e-3  # of the largest constant: what a start has in place of 0
# A share is raised to no less: below, a trace of a part would be worth as much as all of it.
LEAST_POWER = 0.1
# New tokens that endless repeats are worth, over those that there are (Muennighoff et al. 2023, R_D*).
WORTH = 15.387756
SCALES = ("params", "tokens")
TERMS = {"params": ("A", "alpha"), "tokens": ("B", "beta")}  # constants of the terms in N and in D


class MixtureLaw(Law):
    """What mixture laws share.

    Attributes:
        parts: how many shares it takes.
        scales: of `SCALES`, those that it takes after them.
        own: whether it takes the share of the domain's own part alone.
        once: of each part, the share at which it is read once, where the law knows repeats.
    """

    parts: ClassVar[int]
    scales: ClassVar[tuple[str, ...]] = ()
    own: ClassVar[bool] = False
    once: ClassVar[tuple[float, ...]] = ()

    @classmethod
    def starts(cls, x: tuple[Array, ...], loss: Array) -> Array:
        """Constants at which descents begin, (s, p), as many for any loss: shares and scales x (n,) each, loss (n,)."""
        raise NotImplementedError

    @classmethod
    def labels(cls, parts: tuple[str, ...]) -> tuple[str, ...]:
        """What the constants are called where the parts have names: t_2 is t[books]."""
        names = []
        for c in cls.constants():
            letter, _, number = c.name.partition("_")
            names.append(f"{letter}[{parts[int(number) - 1]}]" if number else letter)
        return tuple(names)


def _each(letter: str, parts: int, field: Any) -> list[tuple[str, Any, Any]]:
    return [(f"{letter}_{k}", Scalar, field()) for k in range(1, parts + 1)]


def _made(name: str, formula: str, source: str, fields: list, call: Any, starts: Any, **more: Any) -> type[MixtureLaw]:
    return dataclasses.make_dataclass(
        name.title(),
        fields,
        bases=(MixtureLaw,),
        namespace={
            "__doc__": formula,
            "name": name,
            "source": source,
            "__call__": call,
            "starts": classmethod(starts),
            **more,
        },
        frozen=True,
    )


def _of(law: Any, letter: str, parts: int) -> list[Values]:
    return [getattr(law, f"{letter}_{k}") for k in range(1, parts + 1)]


def _powered(r: Values, a: Scalar) -> Values:
    """r ** max(a, LEAST_POWER) for r >= 0, 0 where r is 0, with a slope in `a` there too."""
    xp = namespace(r, a)
    there = r > 0
    return xp.where(there, power(xp.where(there, r, 1.0), xp.maximum(a, LEAST_POWER)), 0.0)


@functools.cache
def linear(parts: int) -> type[MixtureLaw]:
    """The baseline: regression on the shares, as RegMix has it beside its trees."""

    def call(law, *r: Values) -> Values:
        return sum(a * share for a, share in zip(_of(law, "a", parts), r, strict=True))

    def starts(cls, x: tuple[Array, ...], loss: Array) -> Array:
        return np.asarray(np.linalg.lstsq(np.stack(x, -1), loss, rcond=None)[0][None], np.float64)

    return _made(
        "linear", "L(r) = sum_j a_j r_j.", "regression on the shares, Liu et al. (2024), RegMix, arXiv 2407.01492",
        _each("a", parts, lambda: constant("nats/token", (0.1, 10.0), "number")), call, starts, parts=parts,
    )  # fmt: skip


@functools.cache
def exponential(parts: int) -> type[MixtureLaw]:
    """Ye's law; its factor k goes into the t_j, k exp(sum_j t_j r_j) being exp(sum_j (t_j + ln k) r_j)."""

    def call(law, *r: Values) -> Values:
        return law.c + _exp(sum(t * share for t, share in zip(_of(law, "t", parts), r, strict=True)))

    def starts(cls, x: tuple[Array, ...], loss: Array) -> Array:
        return _starts_of_exponential(np.stack(x, -1), loss)

    return _made(
        "exponential", "L(r) = c + exp(sum_j t_j r_j), that is c + k exp(sum_j t'_j r_j) with ln k in every t.",
        "Ye et al. (2024), arXiv 2403.16952",
        [("c", Scalar, floor()), *_each("t", parts, lambda: constant("", (-5.0, 5.0), "number"))],
        call, starts, parts=parts,
    )  # fmt: skip


@functools.cache
def repeats(parts: int, once: tuple[float, ...]) -> type[MixtureLaw]:
    """Ye's law where text ends and begins again: what its repeats lack of new text has a slope of its own.

    Args:
        once: of each part, the share at which it is read once; infinite where it has no end.
    """
    short = [j for j, share in enumerate(once, 1) if np.isfinite(share)]

    def call(law, *r: Values) -> Values:
        inside = sum(t * share for t, share in zip(_of(law, "t", parts), r, strict=True))
        return law.c + _exp(inside + sum(getattr(law, f"v_{j}") * worn(r[j - 1], once[j - 1]) for j in short))

    def starts(cls, x: tuple[Array, ...], loss: Array) -> Array:
        S = np.stack([*x, *(worn(x[j - 1], once[j - 1]) for j in short)], -1)
        return _starts_of_exponential(S, loss)

    fields = [("c", Scalar, floor()), *_each("t", parts, lambda: constant("", (-5.0, 5.0), "number"))]
    fields += [(f"v_{j}", Scalar, constant("", (-5.0, 5.0), "number")) for j in short]
    return _made(
        "repeats", "L(r) = c + exp(sum_j t_j r_j + sum_j v_j (r_j - r'_j)), r'_j what r_j is worth in new text.",
        "Ye et al. (2024), arXiv 2403.16952, with the worth of repeats of Muennighoff et al. (2023), arXiv 2305.16264",
        fields, call, starts, parts=parts, once=once,
    )  # fmt: skip


def _exp(x: Values) -> Values:
    with np.errstate(over="ignore"):  # of constants that few runs leave open it is infinite at mixtures unseen
        return namespace(x).exp(x)


def worn(r: Values, once: float) -> Values:
    """What a share lacks of as much new text, where the part is read once at `once`: nothing up to there."""
    xp = namespace(r)
    again = xp.maximum(r / once - 1, 0.0)
    return once * (again - WORTH * (1 - xp.exp(-again / WORTH)))


@functools.cache
def additive(parts: int, scales: tuple[str, ...] = ()) -> type[MixtureLaw]:
    """Shukor's additive law: the best mixture is the same at every N and D. Without terms in what never varied."""

    def call(law, *x: Values) -> Values:
        return (
            law.E + 1 / _reached(law, x, parts) + sum(_term(law, s, v) for s, v in zip(scales, x[parts:], strict=True))
        )

    def starts(cls, x: tuple[Array, ...], loss: Array) -> Array:
        found = []
        for E, gamma, falls in itertools.product(FLOORS[::2], POWERS, POWERS[:2] if scales else (0.0,)):
            rest, terms = _without_scales(x, loss, parts, scales, falls)
            C = _reach(x[:parts], rest, E * rest.min(), gamma)
            found.append([E * rest.min(), *C, *[gamma] * parts, *terms])
        return np.array(found)

    fields = [("E", Scalar, floor()), *_of_parts(parts)]
    for letter, power_ in (TERMS[s] for s in scales):
        fields += [(letter, Scalar, constant("nats/token", (1.0, 1e6))), (power_, Scalar, _positive())]
    formula = " + ".join(
        ["L(r) = E + 1 / sum_j C_j r_j ** gamma_j", *(f"{TERMS[s][0]} / {_letter(s)} ** {TERMS[s][1]}" for s in scales)]
    )
    return _made(
        "additive", f"{formula}.", "Shukor et al. (2025), arXiv 2507.09404, additive",
        fields, call, starts, parts=parts, scales=scales,
    )  # fmt: skip


@functools.cache
def joint(parts: int, scales: tuple[str, ...]) -> type[MixtureLaw]:
    """Shukor's joint law: what N and D are worth depends on the mixture, so that the best one moves with them."""

    def call(law, *x: Values) -> Values:
        terms = []
        for s, v in zip(scales, x[parts:], strict=True):
            letter, power_ = TERMS[s]
            weight = sum(a * share for a, share in zip(_of(law, letter, parts), x[:parts], strict=True))
            terms.append(weight * power(v, -getattr(law, power_)))
        return law.E + 1 / _reached(law, x, parts) + sum(terms)

    def starts(cls, x: tuple[Array, ...], loss: Array) -> Array:
        found = []
        for start in additive(parts, scales).starts(x, loss):
            head, terms = start[: 1 + 2 * parts], start[1 + 2 * parts :].reshape(-1, 2)
            found.append([*head, *(value for A, alpha in terms for value in (*[A] * parts, alpha))])
        return np.array(found)

    fields = [("E", Scalar, floor()), *_of_parts(parts)]
    for letter, power_ in (TERMS[s] for s in scales):
        fields += [*_each(letter, parts, lambda: constant("nats/token", (1.0, 1e6))), (power_, Scalar, _positive())]
    formula = " + ".join(
        [
            "L(r) = E + 1 / sum_j C_j r_j ** gamma_j",
            *(f"sum_j {TERMS[s][0]}_j r_j / {_letter(s)} ** {TERMS[s][1]}" for s in scales),
        ]
    )
    return _made(
        "joint", f"{formula}.", "Shukor et al. (2025), arXiv 2507.09404, joint; here A and B are linear in the shares",
        fields, call, starts, parts=parts, scales=scales,
    )  # fmt: skip


@functools.cache
def bimix(scales: tuple[str, ...] = ()) -> type[MixtureLaw]:
    """The law of a domain by its own share alone, which must be above 0. Its factor A goes into B and C."""

    def call(law, r: Values, *D: Values) -> Values:
        return power(r, -law.a) * (law.C + sum(_term(law, "tokens", v) for v in D))

    def starts(cls, x: tuple[Array, ...], loss: Array) -> Array:
        design = np.stack([np.ones_like(loss), -np.log(x[0])], -1)
        ln_C, a = np.linalg.lstsq(design, np.log(loss), rcond=None)[0]
        a, C = max(a, LEAST), np.exp(ln_C)
        if not scales:
            return np.array([[C, a]])
        falling = itertools.product((0.1, 0.5, 0.9), POWERS)  # which share of the loss falls with D, and how fast
        return np.array([[C * (1 - s), a, C * s * np.median(x[1]) ** b, b] for s, b in falling])

    fields = [("C", Scalar, constant("nats/token", (0.1, 10.0))), ("a", Scalar, _positive())]
    if scales:
        fields += [("B", Scalar, constant("nats/token", (1.0, 1e6))), ("beta", Scalar, _positive())]
    return _made(
        "bimix", f"L(r_i) = r_i ** -a (C{' + B / D ** beta' if scales else ''}), r_i the domain's own share.",
        "BiMix, arXiv 2405.14908", fields, call, starts, parts=1, scales=scales, own=True,
    )  # fmt: skip


def _starts_of_exponential(S: Array, loss: Array) -> Array:
    """A floor c and the slopes of ln(L - c) in the columns of S, for several floors."""
    found = []
    for share in FLOORS:
        c = share * loss.min()
        weight = loss - c  # one over the scatter of its logarithm
        found.append([c, *np.linalg.lstsq(weight[:, None] * S, weight * np.log(loss - c), rcond=None)[0]])
    return np.array(found)


def _letter(scale: str) -> str:
    return "N" if scale == "params" else "D"


def _positive() -> Any:
    return constant("", (0.05, 1.0))


def _of_parts(parts: int) -> list[tuple[str, Any, Any]]:
    return [*_each("C", parts, lambda: constant("per nat", (0.01, 100.0))), *_each("gamma", parts, _positive)]


def _term(law: Any, scale: str, v: Values) -> Values:
    letter, power_ = TERMS[scale]
    return getattr(law, letter) * power(v, -getattr(law, power_))


def _reached(law: Any, x: tuple[Values, ...], parts: int) -> Values:
    """sum_j C_j r_j ** gamma_j"""
    constants = zip(_of(law, "C", parts), x[:parts], _of(law, "gamma", parts), strict=True)
    return sum(C * _powered(r, gamma) for C, r, gamma in constants)


def _reach(shares: tuple[Array, ...], loss: Array, E: float, gamma: float) -> Array:
    """The C_j by least squares of 1 / (L - E), above 0."""
    weight = (loss - E) ** 2  # one over its scatter
    C = optimize.nnls(weight[:, None] * _powered(np.stack(shares, -1), gamma), weight / (loss - E))[0]
    return np.maximum(C, LEAST * max(C.max(), LEAST))


def _without_scales(
    x: tuple[Array, ...], loss: Array, parts: int, scales: tuple[str, ...], falls: float
) -> tuple[Array, list[float]]:
    """The losses without terms in N and D of this exponent, and the constants of these terms."""
    if not scales:
        return loss, []
    falling = np.stack([v**-falls for v in x[parts:]], -1)
    size = falling.max(0)
    A = optimize.nnls(np.hstack([np.stack(x[:parts], -1), falling / size]), loss)[0][parts:]
    A = np.maximum(A, LEAST * loss.mean()) / size
    rest = np.maximum(loss - falling @ A, 0.05 * loss)
    return rest, [value for a in A for value in (float(a), falls)]
