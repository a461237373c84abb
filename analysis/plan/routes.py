"""How a fitted law spends compute: which N and D are best for C FLOP, and what another choice gives.

N as the law counts it, D in tokens, C in FLOP, losses in the unit of the fit.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from analysis import frontier
from analysis.digits import compute, short
from analysis.frontier import FLOP_PER_PARAM_TOKEN, Allocation, Array, Optimum
from analysis.kaplan_path import KaplanPath
from analysis.laws import KaplanBCrit, KaplanNS, Lovelace, Muennighoff
from analysis.laws.law import Law
from analysis.plan.prices import Overtrained, fresh_data, overtrained, price_of_size
from scaling.errors import InputError

FEWEST_TOKENS = 0.1  # per parameter, of a run worth training


@dataclasses.dataclass(frozen=True)
class SurfaceRoute:
    """By a law L(N, D), D processed in at most one epoch."""

    law: Callable[..., Any]

    def best(self, C: ArrayLike) -> Optimum:
        return frontier.best(self.law, C)

    def loss(self, N: float, C: float) -> float:
        return float(self.law(N, C / (FLOP_PER_PARAM_TOKEN * N)))

    def excess(self, C: float, ratios: ArrayLike) -> Array:
        return price_of_size(self.law, C, ratios)

    def given(self, N: float, C: float) -> Overtrained:
        return overtrained(self.law, N, C)

    def columns(self, best: Optimum) -> dict[str, float]:
        """The law's columns at the best run."""
        return {"params": float(best.params), "tokens": float(best.tokens)}


@dataclasses.dataclass(frozen=True)
class KaplanRoute:
    """With the batch at B_crit, by L(N, S_min) and B_crit(L): C = 2 C_min and S = 2 S_min (5.4, 5.5)."""

    path: KaplanPath

    def best(self, C: ArrayLike) -> Optimum:
        C_min = np.asarray(C, float) / 2
        return Optimum(np.asarray(C), self.path.params(C_min), 2 * self.path.tokens(C_min), self.path.loss(C_min))

    def loss(self, N: float, C: float) -> float:
        return float(self.path.loss_at(N, C / 2))

    def excess(self, C: float, ratios: ArrayLike) -> Array:
        return self.path.excess_compute(ratios) - 1

    def given(self, N: float, C: float) -> Overtrained:
        loss = self.loss(N, C)
        cheapest = self.best(2 * self.path.C_c * loss ** (-1 / self.path.alpha_C))  # (B.6) solved for C_min
        return Overtrained(float(N), C / (FLOP_PER_PARAM_TOKEN * N), loss, cheapest)

    def columns(self, best: Optimum) -> dict[str, float]:
        return {"params": float(best.params), "steps_min": float(self.path.steps(best.flops / 2))}


@dataclasses.dataclass(frozen=True)
class LineRoute:
    """Along lines N_opt(C) and D_opt(C), which say nothing of the loss."""

    params: Callable[[float], ArrayLike]
    tokens: Callable[[float], ArrayLike]

    @classmethod
    def of(cls, line: Allocation) -> "LineRoute":
        return cls(line.params, line.tokens)

    @classmethod
    def of_size(cls, size: Callable[[float], float]) -> "LineRoute":
        """By N_opt(C) alone: D follows from C = 6 N D."""
        return cls(size, lambda C: C / (FLOP_PER_PARAM_TOKEN * size(C)))

    def best(self, C: float) -> Optimum:
        return Optimum(np.asarray(C), np.asarray(self.params(C)), np.asarray(self.tokens(C)), np.asarray(math.nan))


Route = SurfaceRoute | KaplanRoute


def route(law: Law, B_crit: KaplanBCrit | None = None) -> Route:
    """The way a law spends compute.

    Raises:
        InputError: L(N, S_min) without B_crit(L), or a law that says nothing of compute.
    """
    if isinstance(law, KaplanNS):
        if B_crit is None:
            raise InputError(
                "kaplan-ns spends no compute by itself: give a fit of kaplan-bcrit beside it (--batch-fit)"
            )
        return KaplanRoute(KaplanPath(law.alpha_N, law.N_c, law.alpha_S, law.S_c, B_crit.alpha_B, B_crit.B_star))
    if isinstance(law, Muennighoff | Lovelace):
        law = fresh_data(law)
    if law.inputs != ("params", "tokens"):
        raise InputError(
            f"{law.name} is a law of {', '.join(law.inputs)}: no size follows from it; fit chinchilla, muennighoff, "
            "lovelace or kaplan-ns"
        )
    return SurfaceRoute(law)


def exponent(way: Route | LineRoute, C: float) -> float:
    """d ln N_opt / d ln C over a factor of 4 around C."""
    return float(np.log(way.best(2 * C).params / way.best(C / 2).params) / np.log(4))


def best_for_size(way: Route | LineRoute, N: float, C: float) -> Optimum:
    """The run for which N is the best size, cheaper than C FLOP, whose best size is larger: by bisection.

    Raises:
        InputError: N is the best size nowhere from C down to a ten-millionth of it, or only with hardly any tokens.
    """
    low, high = math.log(C) - math.log(1e7), math.log(C)
    for _ in range(36):
        middle = (low + high) / 2
        low, high = (middle, high) if float(way.best(math.exp(middle)).params) < N else (low, middle)
    found = way.best(math.exp((low + high) / 2))
    if abs(math.log(float(found.params) / N)) > 1e-3 or found.tokens < FEWEST_TOKENS * N:
        raise InputError(f"{short(N)} parameters are the best size at no compute below {compute(C)}")
    return found
