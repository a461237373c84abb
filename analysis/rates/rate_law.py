"""LR(N, D, B) through the bottoms of bowls, with intervals of its constants."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import optimize

from analysis.estimation.intervals import t_quantile
from analysis.page import digits
from analysis.rates.bowls import LEVEL, Array, Bowl
from scaling.rates import RateLaw

NAMES = {"rate": "rate there", "n": "exponent of N", "d": "exponent of D", "b": "exponent of B"}


@dataclasses.dataclass(frozen=True)
class RateFit:
    """LR(N, D, B) through the bottoms of bowls, with intervals of its constants.

    Attributes:
        intervals: of rate (at N_1, D_1, B_1) and of the exponents that the bowls identify.
        scatter: standard deviation of ln(best rate) about the law beyond the errors of the bowls.
        degrees: bowls minus constants.
    """

    law: RateLaw
    intervals: dict[str, tuple[float, float]]
    scatter: float
    degrees: int
    bowls: int

    @property
    def formula(self) -> str:
        """The law with its numbers; exponents follow a caret."""
        parts = [digits.plain(self.law.rate)]
        for name, letter in (("n", "N"), ("d", "D"), ("b", "B")):
            if name in self.intervals:
                value, _ = digits.constant(getattr(self.law, name), *self.intervals[name])
                parts.append(f"({letter} / {digits.short(getattr(self.law, f'{letter}_1'))})^{value}")
        return f"LR = {' '.join(parts)}"

    def sentence(self) -> str:
        ends = "; ".join(
            f"{NAMES[name]} {digits.constant(getattr(self.law, name), *ends)[1]}"
            for name, ends in self.intervals.items()
        )
        return f"{digits.percent(LEVEL)} intervals: {ends}; from {self.bowls} bowls."


def through(bowls: Sequence[Bowl]) -> tuple[RateFit | None, str]:
    """ln(best rate) on ln N, ln D and ln B, weighed by the errors of the bowls and the scatter about the law."""
    kept = [b for b in bowls if b.interior and math.isfinite(b.error)]
    names = [
        name
        for name, column in (("n", "params"), ("d", "tokens"), ("b", "batch_tokens"))
        if len({getattr(b, column) for b in kept if math.isfinite(getattr(b, column))}) > 1
    ]
    if len(kept) < 3 or not names:
        what = digits.plural(len(kept), "bowl has", "bowls have")
        return None, f"{len(kept)} {what} a bottom between the rates tried; wanted 3 or more, of different sizes"
    columns = {"n": "params", "d": "tokens", "b": "batch_tokens"}
    logs = {name: np.log([getattr(b, column) for b in kept]) for name, column in columns.items()}
    middle = {name: float(values.mean()) for name, values in logs.items()}
    X = np.column_stack([np.ones(len(kept)), *(logs[name] - middle[name] for name in names)])
    degrees = len(kept) - X.shape[1]
    scaled = X / np.linalg.norm(X, axis=0)
    if degrees < 1 or np.linalg.svd(scaled, compute_uv=False)[-1] < 1e-2:
        return None, f"{len(kept)} bowls do not tell the {X.shape[1]} constants apart; add sizes or lengths"
    y = np.log([b.best for b in kept])
    error, shared = (np.array([getattr(b, name) for b in kept]) for name in ("error", "shared"))
    own = np.maximum(error**2 - shared**2, 0.0)

    def solve(tau: float) -> tuple[Array, Array, float]:
        w = 1 / np.maximum(own + tau**2, 1e-18)
        covariance = np.linalg.inv((X.T * w) @ X)
        beta = covariance @ (X.T * w) @ y
        moved = covariance @ (X.T * w) @ shared
        return beta, covariance + np.outer(moved, moved), float(np.sum(w * (y - X @ beta) ** 2))

    # Paule & Mandel (1982): the scatter that makes the weighted squares what their degrees of freedom expect.
    tau = 0.0
    if solve(0.0)[2] > degrees:
        root: Any = optimize.brentq(lambda s: solve(s)[2] - degrees, 0.0, 10 * float(np.ptp(y)) + 1.0)
        tau = float(root)
    beta, covariance, _ = solve(tau)
    half = float(t_quantile(LEVEL, np.array(float(degrees)))) * np.sqrt(np.diag(covariance))
    exponents = dict(zip(names, beta[1:].tolist(), strict=True))
    law = RateLaw(
        rate=math.exp(beta[0]),
        N_1=math.exp(middle["n"]),
        D_1=math.exp(middle["d"]),
        B_1=math.exp(middle["b"]) if math.isfinite(middle["b"]) else 1.0,
        **({"n": 0.0} | exponents),
    )
    intervals = {"rate": (math.exp(beta[0] - half[0]), math.exp(beta[0] + half[0]))}
    intervals |= {name: (beta[k] - half[k], beta[k] + half[k]) for k, name in enumerate(names, 1)}
    return RateFit(law, {k: (float(a), float(b)) for k, (a, b) in intervals.items()}, tau, degrees, len(kept)), ""
