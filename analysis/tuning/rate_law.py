"""LR(N, D, B) through the bottoms of bowls, and B_opt(N, D): intervals of constants, lack of fit, where they change."""

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from analysis import digits
from analysis.confidence import LEVEL, t_quantile
from analysis.tuning import halves, line
from analysis.tuning.bowls import Array, Bowl
from analysis.tuning.halves import SURE, Ends, Halves
from analysis.tuning.line import Test
from scaling.rates import RateLaw

NAMES = {"n": "exponent of N", "d": "exponent of D", "b": "exponent of B"}
COLUMNS = {"n": "params", "d": "tokens", "b": "batch_tokens"}
LETTERS = {"n": "N", "d": "D", "b": "B"}


@dataclasses.dataclass(frozen=True)
class RateFit:
    """LR(N, D, B) through the bottoms of bowls over the rate, or B_opt(N, D) through those over the batch.

    Attributes:
        law: whose `rate` is the batch, in tokens, where it is of batches.
        intervals: of rate (at N_1, D_1, B_1) and of the exponents that the bowls identify.
        covariance: of ln(rate) and these exponents, in that order.
        scatter: standard deviation of ln(best rate) about the law beyond the errors of the bowls.
        degrees: bowls minus constants.
        lack_of_fit: whether the law misses the bowls by more than their errors.
        halves: the exponents at few and at many tokens per parameter, or why they are not known.
        depth: layers that the law is for, and the exponent of the depth at one N, D and B, where one was trained at
            several depths.
    """

    law: RateLaw
    intervals: dict[str, tuple[float, float]]
    covariance: tuple[tuple[float, ...], ...]
    scatter: float
    degrees: int
    bowls: int
    lack_of_fit: Test
    halves: Halves | str
    depth: tuple[float, Ends] | None = None
    of_batches: bool = False

    @property
    def formula(self) -> str:
        """The law with its numbers; exponents follow a caret."""
        parts = [digits.short(self.law.rate) if self.of_batches else digits.plain(self.law.rate)]
        for name, letter in LETTERS.items():
            if name in self.intervals:
                value, _ = digits.constant(getattr(self.law, name), *self.intervals[name])
                parts.append(f"({letter} / {digits.short(getattr(self.law, f'{letter}_1'))})^{value}")
        return f"{'B_opt' if self.of_batches else 'LR'} = {' '.join(parts)}"

    def sentences(self) -> tuple[str, ...]:
        """Its intervals, whether it fits, whether it changes with tokens per parameter or with the depth."""
        names = {"rate": "batch there" if self.of_batches else "rate there", **NAMES}
        ends = "; ".join(
            f"{names[name]} {digits.constant(getattr(self.law, name), *ends)[1]}"
            for name, ends in self.intervals.items()
        )
        found = [f"{digits.percent(LEVEL)} intervals: {ends}; from {self.bowls} bowls.", self._fits()]
        found.append(self.halves if isinstance(self.halves, str) else self.halves.sentence())
        if self.depth:
            layers, (value, low, high) = self.depth
            text, interval = digits.constant(value, low, high)
            verdict = "changes significantly" if low * high > 0 else "does not change significantly"
            found.append(
                f"At one N, D and B the best rate {verdict} with the depth: (n_layer / {layers:.0f})^{text}, "
                f"{interval}. The law is for {layers:.0f} {digits.plural(int(layers), 'layer', 'layers')}."
            )
        return tuple(found)

    def _fits(self) -> str:
        test = self.lack_of_fit
        if test.p < SURE:
            best = "best batches" if self.of_batches else "best rates"
            return (
                f"The law misses the bowls by more than their errors ({halves.said(test)}): {best} scatter about "
                f"it by {digits.percent(self.scatter)} beyond them."
            )
        return f"The law misses the bowls by no more than their errors explain ({halves.said(test)})."

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        split = self.halves
        return {
            "law": dataclasses.asdict(self.law),
            "intervals": self.intervals,
            "covariance": self.covariance,
            "scatter": self.scatter,
            "degrees": self.degrees,
            "lack_of_fit": self.lack_of_fit._asdict(),
            "halves": split if isinstance(split, str) else _plain(split),
            "depth": self.depth,
        }


def _plain(split: Halves) -> dict[str, Any]:
    """Both halves for JSON."""
    return split._asdict() | {
        "differ": split.differ._asdict(),
        "each": {letter: test._asdict() for letter, test in split.each.items()},
    }


def through(
    bowls: Sequence[Bowl], noise_degrees: float = math.inf, *, of_batches: bool = False
) -> tuple[RateFit | None, str]:
    """ln(best rate) on ln N, ln D and ln B, weighted by the errors of the bowls and the scatter about the law.

    The depth is one more constant where a size, length and batch was trained at several depths; the law is then for the
    depth that most bowls have.

    Args:
        noise_degrees: degrees of freedom of the noise behind the errors of the bowls.
        of_batches: the bowls are over the batch, and their best batches are laid on ln N and ln D.
    """
    kept = [b for b in bowls if b.interior and math.isfinite(b.error)]
    names = [name for name, column in COLUMNS.items() if len(_values(kept, column)) > 1]
    if len(kept) < 3 or not names:
        what = digits.plural(len(kept), "bowl has", "bowls have")
        tried = "batches" if of_batches else "rates"
        return None, f"{len(kept)} {what} a bottom between the {tried} tried; wanted 3 or more, of different sizes"
    logs = {name: np.log([getattr(b, column) for b in kept]) for name, column in COLUMNS.items()}
    middle = {name: float(values.mean()) for name, values in logs.items()}
    columns = [np.ones(len(kept)), *(logs[name] - middle[name] for name in names)]
    layers = _several_depths(kept)
    if layers:
        columns.append(np.log([b.n_layer / layers for b in kept]))
    X = np.column_stack(columns)
    if not line.identified(X):
        return None, f"{len(kept)} bowls do not tell the {X.shape[1]} constants apart; add sizes or lengths"
    y = np.log([b.best for b in kept])
    error, shared = (np.array([getattr(b, name) for b in kept]) for name in ("error", "shared"))
    found = line.through(X, y, error, shared)
    half = float(t_quantile(LEVEL, np.array(float(found.degrees)))) * np.sqrt(np.diag(found.covariance))
    low, beta, high = ((found.beta + sign * half).tolist() for sign in (-1, 0, 1))
    law = RateLaw(
        rate=math.exp(beta[0]),
        N_1=math.exp(middle["n"]),
        D_1=math.exp(middle["d"]),
        B_1=math.exp(middle["b"]) if math.isfinite(middle["b"]) else 1.0,
        **({"n": 0.0} | dict(zip(names, beta[1:], strict=False))),
    )
    k = 1 + len(names)
    ratio = np.array([b.tokens / b.params for b in kept])
    fit = RateFit(
        law=law,
        intervals={"rate": (math.exp(low[0]), math.exp(high[0]))}
        | {name: (low[i], high[i]) for i, name in enumerate(names, 1)},
        covariance=tuple(map(tuple, found.covariance[:k, :k].tolist())),
        scatter=found.scatter,
        degrees=found.degrees,
        bowls=len(kept),
        lack_of_fit=line.misfit(found, noise_degrees),
        halves=halves.split(X, [LETTERS[name] for name in names], y, error, shared, ratio),
        depth=(layers, (beta[k], low[k], high[k])) if layers else None,
        of_batches=of_batches,
    )
    return fit, ""


def beside(fit: RateFit, kept: Mapping[str, Any], name: str) -> str | None:
    """Whether the exponents are those of another law, in a sentence; None where they have none in common.

    Args:
        kept: what `RateFit.to_dict` gave of the other, called `name`.
    """
    both = [key for key in fit.intervals if key != "rate" and key in (kept.get("intervals") or {})]
    if not both or not kept.get("covariance"):
        return None
    ours, theirs = ([list(of).index(key) for key in both] for of in (fit.intervals, kept["intervals"]))
    covariance = np.array(fit.covariance)[np.ix_(ours, ours)] + np.array(kept["covariance"])[np.ix_(theirs, theirs)]
    apart: Array = np.array([getattr(fit.law, key) - kept["law"][key] for key in both])
    test = line.nonzero(apart, covariance, fit.degrees + kept["degrees"])
    other = RateLaw(**kept["law"])
    height = fit.law.rate / other(fit.law.N_1, fit.law.D_1, fit.law.B_1)
    verdict = "differ from" if test.p < SURE else "do not differ significantly from"
    letters = ", ".join(LETTERS[key] for key in both)
    return (
        f"the exponents of {letters} {verdict} those of {name} ({halves.said(test)}); in the middle of this sweep its "
        f"rate is {height:.2f} times that of {name}."
    )


def _values(bowls: Sequence[Bowl], column: str) -> set[float]:
    return {value for b in bowls if math.isfinite(value := getattr(b, column))}


def _several_depths(bowls: Sequence[Bowl]) -> float:
    """The commonest depth where a size, length and batch was trained at several; 0 where none was."""
    depths: dict[tuple[float, float, float], set[float]] = {}
    for b in bowls:
        depths.setdefault((b.params, b.tokens, b.batch_tokens), set()).add(b.n_layer)
    if all(len(some) < 2 for some in depths.values()):
        return 0.0
    return Counter(b.n_layer for b in bowls).most_common(1)[0][0]
