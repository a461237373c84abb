"""What counting does to the best size: N_opt(C) where the loss depends on some parameters and others are counted.

Models of one family have N parameters outside the vocabulary and V d in the head. Suppose that the loss is

    L = E + A / (N + f V d) ** alpha + B / D ** beta

and that compute is counted as C = 6 (N + c V d) D. c = 0 is the count of Kaplan et al. (2020), c = 1 that of Porian et
al. (2024) and nearly that of Hoffmann et al. (2022). f is what a parameter of the head is worth: 1 in Pearce & Song
(2024), 0 where the head does nothing. At the best size of each C

    D ** beta = (beta B / (alpha A)) (N + f V d) ** alpha e_c / e_f,    e_s = d ln(N + s V d) / d ln N,

so that the exponent of N + c V d in C follows from alpha, beta and the family before anything is trained: Pearce & Song
(2024) for f = 1 and c = 0. It is local: about 1 / (1 + the power of V d in N) for models that are nearly all head, and
beta / (alpha + beta) for those that have hardly any.
"""

import dataclasses
import math
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.frontier import FLOP_PER_PARAM_TOKEN, Optimum, golden_section
from analysis.laws import Chinchilla

Array = NDArray[np.float64]

SIZES = 400  # of a grid over ln N, from which the search for the best size starts


@dataclasses.dataclass(frozen=True)
class Family:
    """Models whose head, or embedding, has V d = omega N ** power parameters."""

    omega: float
    power: float

    @classmethod
    def of_depth(cls, n_vocab: float, n_layer: float) -> Self:
        """Models of one depth, N = 12 n_layer d ** 2."""
        return cls(n_vocab / math.sqrt(12 * n_layer), 1 / 2)

    @classmethod
    def of_aspect(cls, n_vocab: float, aspect: float) -> Self:
        """Models of one d_model / n_layer, N = 12 d ** 3 / aspect: Pearce & Song (2024)."""
        return cls(n_vocab * (aspect / 12) ** (1 / 3), 1 / 3)

    def head(self, N: ArrayLike) -> Array:
        """V d of models with N parameters outside the vocabulary."""
        return self.omega * np.asarray(N, float) ** self.power

    def counted(self, N: ArrayLike, share: float) -> Array:
        """N and a share of the head's parameters."""
        return np.asarray(N, float) + share * self.head(N)

    def growth(self, N: ArrayLike, share: float) -> Array:
        """d ln(N + share V d) / d ln N."""
        return self.counted(N, share * self.power) / self.counted(N, share)


PEARCE = Family(47_491, 1 / 3)  # a vocabulary of 32,000 at d_model / n_layer = 39.2: Pearce & Song (2024)


def best_tokens(family: Family, law: Chinchilla, N: ArrayLike, *, count: float, worth: float) -> Array:
    """The D for which models of size N are the best use of their compute.

    Args:
        law: of N + worth V d and D.
        N: parameters outside the vocabulary.
        count: c, the share of the head that compute counts.
        worth: f, the share of the head that the loss depends on.
    """
    ratio = law.beta * law.B / (law.alpha * law.A) * family.growth(N, count) / family.growth(N, worth)
    return (ratio * family.counted(N, worth) ** law.alpha) ** (1 / law.beta)


def exponent_between(
    family: Family, law: Chinchilla, first: float, last: float, *, count: float, worth: float
) -> float:
    """The exponent of the counted N in the counted C between two best sizes; arguments as of `best_tokens`.

    Args:
        first, last: N outside the vocabulary of the two.
    """
    ends = np.array([first, last], float)
    N = np.log(family.counted(ends, count))
    D = np.log(best_tokens(family, law, ends, count=count, worth=worth))
    return float((N[1] - N[0]) / (N[1] - N[0] + D[1] - D[0]))


def local_exponent(family: Family, law: Chinchilla, N: ArrayLike, *, count: float, worth: float) -> Array:
    """The exponent of the counted N in the counted C at models of size N; arguments as of `best_tokens`."""
    own = family.growth(N, count)
    tokens = (law.alpha * family.growth(N, worth) + _bend(family, N, count) - _bend(family, N, worth)) / law.beta
    return own / (own + tokens)


def _bend(family: Family, N: ArrayLike, share: float) -> Array:
    """d ln(growth) / d ln N."""
    g = family.power
    return family.counted(N, g**2 * share) / family.counted(N, g * share) - family.growth(N, share)


def progress(D: ArrayLike, warmup: float) -> Array:
    """Tokens at the full rate that D tokens are worth after a linear warm-up over `warmup` tokens: the summed rate."""
    D = np.asarray(D, float)
    return np.where(D > warmup, D - warmup / 2, D**2 / (2 * warmup)) if warmup else D


def best_sizes(
    family: Family, law: Chinchilla, C: ArrayLike, *, count: float, worth: float, warmup: float = 0.0
) -> Optimum:
    """The best sizes at each C, with N and C as they are counted; other arguments as of `best_tokens`.

    Args:
        C: FLOP, 6 (N + count V d) D; shape (n,).
        warmup: tokens over which the rate rises; D counts as its `progress`.
    """
    C = np.asarray(C, float)

    def loss(x: Array) -> Array:
        N = np.exp(x)
        D = C / (FLOP_PER_PARAM_TOKEN * family.counted(N, count))
        return law(family.counted(N, worth), np.maximum(progress(D, warmup), 1e-3))

    grid = np.linspace(0, np.log(C / FLOP_PER_PARAM_TOKEN), SIZES)  # size c
    i = np.clip(np.argmin(loss(grid), axis=0), 1, SIZES - 2)
    low, high = (np.take_along_axis(grid, (i + step)[None], axis=0)[0] for step in (-1, 1))
    x = golden_section(loss, low, high)
    N = family.counted(np.exp(x), count)
    return Optimum(C, N, C / (FLOP_PER_PARAM_TOKEN * N), loss(x))
