"""The level of all intervals, and the quantiles that make an interval of it."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

LEVEL = 0.95


def t_quantile(level: float, degrees: ArrayLike) -> NDArray[np.float64]:
    """Half width of a two-sided interval of that level in standard errors, Student's t."""
    return special.stdtrit(np.maximum(degrees, 1e-9), 0.5 + level / 2)


def half_width(variances: ArrayLike, degrees: ArrayLike, level: float = LEVEL) -> float:
    """Half width of the interval of a sum of independent estimates, each with its variance and degrees of freedom.

    Student's t with as many degrees of freedom as Welch (1947) gives the sum; infinite ones are of a variance that is
    known.
    """
    variance = np.asarray(variances, float)
    total, spread = float(variance.sum()), float((variance**2 / np.asarray(degrees, float)).sum())
    return float(t_quantile(level, total**2 / spread if spread else math.inf)) * math.sqrt(total)


def mean_interval(y: ArrayLike) -> tuple[float, float, float]:
    """The mean of independent values and the ends of its interval; infinite ends for one value."""
    y = np.asarray(y, float)
    if len(y) < 2:
        return float(y.mean()), -math.inf, math.inf
    half = float(t_quantile(LEVEL, np.array(len(y) - 1.0))) * float(y.std(ddof=1)) / math.sqrt(len(y))
    return float(y.mean()), float(y.mean()) - half, float(y.mean()) + half


def sigma_interval(sigma: float, degrees: int, level: float = LEVEL) -> tuple[float, float]:
    """The interval of a standard deviation that was estimated with so many degrees of freedom, from chi-square."""

    def end(p: float) -> float:
        return sigma * math.sqrt(degrees / (2 * special.gammaincinv(degrees / 2, p)))

    return end((1 + level) / 2), end((1 - level) / 2)
