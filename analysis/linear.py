"""Whether further terms of a linear model explain what it leaves, beyond its scatter."""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

Array = NDArray[np.float64]

CHANCE = 1e-3  # that terms are said to explain something where they explain nothing
MISFIT = 3e-4  # of ln(loss), by which polynomials in ln N and ln D miss a law at least


class Gain(NamedTuple):
    """What further terms explain.

    Attributes:
        p: probability of so large an F where they explain nothing; 1 without degrees of freedom.
        added, left: degrees of freedom of these terms, and those that are left beside them.
        scatter: of y about the model with them.
        constants: of all terms, the further ones last.
    """

    F: float
    p: float
    added: int
    left: int
    scatter: float
    constants: Array


def polynomial(inputs: Sequence[Array], degree: int) -> Array:
    """All products of powers of the inputs, each (n,), up to this degree in all: a smooth law. -> n k"""
    x = [(values - values.mean()) / max(float(np.ptp(values)), 1e-9) for values in inputs]
    powers = [k for k in itertools.product(range(degree + 1), repeat=len(x)) if sum(k) <= degree]
    return np.stack([np.prod([v**k for v, k in zip(x, power, strict=True)], axis=0) for power in powers], axis=1)


def gain(terms: Array, further: Array, y: Array, floor: float = 0.0) -> Gain:
    """Least squares with and without the further terms; y (n,), terms (n, k).

    Args:
        floor: of the scatter, by which the terms themselves may be off.
    """
    whole = np.hstack([terms, further])
    found, _, rank, _ = np.linalg.lstsq(whole, y)
    constants, first = np.asarray(found, np.float64), np.linalg.lstsq(terms, y)
    added, left = int(rank) - int(first[2]), len(y) - int(rank)
    least, rest = (float(((y - X @ c) ** 2).sum()) for X, c in ((whole, constants), (terms, first[0])))
    if added < 1 or left < 1:
        return Gain(0.0, 1.0, added, left, math.nan, constants)
    F = (rest - least) / added / max(least / left, floor**2, 1e-24)
    return Gain(F, float(special.fdtrc(added, left, F)), added, left, math.sqrt(least / left), constants)
