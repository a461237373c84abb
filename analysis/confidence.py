"""The level of all intervals, and the quantiles that make an interval of it."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

LEVEL = 0.95


def t_quantile(level: float, degrees: ArrayLike) -> NDArray[np.float64]:
    """Half width of a two-sided interval of that level in standard errors, Student's t."""
    return special.stdtrit(np.maximum(degrees, 1e-9), 0.5 + level / 2)


def sigma_interval(sigma: float, degrees: int, level: float = LEVEL) -> tuple[float, float]:
    """The interval of a standard deviation that was estimated with so many degrees of freedom, from chi-square."""

    def end(p: float) -> float:
        return sigma * math.sqrt(degrees / (2 * special.gammaincinv(degrees / 2, p)))

    return end((1 + level) / 2), end((1 - level) / 2)
