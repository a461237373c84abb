"""Dense and routed models beside each other: at equal compute, and where all experts have to fit into a memory as well.

By the joint law of Ludziejewski et al. (2025), arXiv 2502.05172. N is what a token uses, and C = 6 N D whatever the
number of experts; the model holds N (1 + share (E - 1)) parameters where a share of N is the feed-forwards that are
routed, each token to one of E.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from analysis import frontier, reference
from analysis.digits import short, typed
from analysis.frontier import FLOP_PER_PARAM_TOKEN
from analysis.jsonable import jsonable
from analysis.laws import Chinchilla, Ludziejewski
from scaling.errors import InputError

SHARE = 2 / 3  # of N in feed-forwards, with d_ff = 4 d_model
EXPERTS = (1, 2, 4, 8, 16, 32)
NAME = "ludziejewski"  # published:NAME
LARGEST = 32  # experts of the paper's runs


def published() -> Ludziejewski:
    """The law with the constants that the paper prints."""
    constants = reference.published()["ludziejewski2025"]
    return Ludziejewski(**{one.name: constants[one.name]["value"] for one in Ludziejewski.constants()})


@dataclasses.dataclass(frozen=True)
class Option:
    """The best model with so many experts."""

    experts: int
    params: float  # that a token uses
    params_experts: float  # that the model holds
    tokens: float
    loss: float

    def text(self, dense: "Option") -> str:
        return (
            f"{self.experts:>4}  {short(self.params):>8}  {short(self.params_experts):>8}  {short(self.tokens):>8}  "
            f"{self.loss:.4f}  {self.loss / dense.loss - 1:+.1%}"
        )


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Dense and routed models of one compute.

    Attributes:
        flops: C.
        total_params: that a model may hold, with all experts; infinite where nothing was said.
        at_compute: the best of each number of experts.
        in_memory: the best of them that holds no more than `total_params`.
        doubts: what a reader must know.
    """

    flops: float
    total_params: float
    at_compute: tuple[Option, ...]
    in_memory: tuple[Option, ...]
    doubts: tuple[str, ...] = ()

    @property
    def best(self) -> Option:
        """Of those that fit, the one of the lowest loss; of equal ones that with the fewest experts."""
        return min(self.in_memory, key=lambda option: option.loss)

    def text(self) -> str:
        head = "   E   N, used   N, held         D  loss    than dense"
        lines = [f"At {typed(self.flops)} FLOP, each number of experts at its best:", head]
        lines += [option.text(self.at_compute[0]) for option in self.at_compute]
        if math.isfinite(self.total_params):
            lines += [f"And holding {short(self.total_params)} parameters at most:", head]
            lines += [option.text(self.in_memory[0]) for option in self.in_memory]
        best = self.best
        lines.append(
            f"Lowest: {best.experts} {'experts' if best.experts > 1 else 'expert, the dense model'}, loss "
            f"{best.loss:.4f}, {short(best.params)} parameters used by a token of {short(best.params_experts)}"
        )
        return "\n".join([*(f"Warning: {doubt}" for doubt in self.doubts), *lines])

    def to_dict(self) -> dict[str, Any]:
        return jsonable(dataclasses.asdict(self) | {"best": dataclasses.asdict(self.best)})


def compare(
    law: Ludziejewski,
    flops: float,
    experts: Sequence[int] = EXPERTS,
    *,
    total_params: float = math.inf,
    share: float = SHARE,
    doubts: Sequence[str] = (),
) -> Comparison:
    """Dense and routed models of one compute, by a law of both.

    Args:
        flops: C = 6 N D.
        experts: numbers of them; 1 is the dense model, which is always there.
        total_params: that a model may hold.
        share: of N, the feed-forwards that are routed.
        doubts: of the law.

    Raises:
        InputError: a number that cannot be used.
    """
    for what, value in (("flops", flops), ("total params", total_params), *(("experts", e) for e in experts)):
        if not value >= 1:
            raise InputError(f"{what} {value:g}: wanted 1 or more")
    if not 0 < share < 1:
        raise InputError(f"share {share:g} of N in feed-forwards: wanted between 0 and 1, such as 0.67")
    numbers = sorted({1, *experts})
    free = tuple(_best(law, flops, number, math.inf, share) for number in numbers)
    held = tuple(_best(law, flops, number, total_params, share) for number in numbers)
    return Comparison(flops, total_params, free, held, tuple(doubts))


def held(params: float, experts: int, share: float = SHARE) -> float:
    """Parameters of a model of which a token uses so many."""
    return params * (1 + share * (experts - 1))


def surface(law: Ludziejewski, experts: int) -> Chinchilla:
    """L(N, D) of models with so many experts.

    Raises:
        InputError: more of N, or of D, would not lower the loss by it.
    """
    m, mu, n, nu = (float(np.asarray(value)) for value in law.of_experts(float(experts)))
    if not (mu < 0 and nu < 0):
        raise InputError(f"by this law the loss of {experts} experts does not fall with N and with D")
    return Chinchilla(E=float(law.c), A=m, B=n, alpha=-mu, beta=-nu)


def _best(law: Ludziejewski, flops: float, experts: int, total_params: float, share: float) -> Option:
    """Along C the loss has one minimum in N, so that the best size which fits is that or the largest which fits."""
    own = surface(law, experts)
    N = min(float(frontier.chinchilla_optimum(own, flops).params), total_params / held(1.0, experts, share))
    D = flops / (FLOP_PER_PARAM_TOKEN * N)
    return Option(experts, N, held(N, experts, share), D, float(own(N, D)))
