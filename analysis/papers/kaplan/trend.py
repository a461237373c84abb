"""A straight line through few points, with intervals: what a curve does over a range, when no law is claimed."""

import dataclasses
import math

import numpy as np
from numpy.typing import ArrayLike

from analysis import digits
from analysis.confidence import LEVEL, t_quantile


@dataclasses.dataclass(frozen=True)
class Trend:
    """y = mean + slope (x - mean of x) by least squares; intervals of LEVEL, infinite with two points."""

    slope: float
    low: float
    high: float
    mean: float
    sigma: float  # scatter of y about the line
    n: int

    @property
    def flat(self) -> bool:
        """Whether no slope at all lies inside the interval."""
        return self.low <= 0 <= self.high

    def __str__(self) -> str:
        return digits.minus(f"{self.slope:.3g} ({self.low:.3g} to {self.high:.3g})")


def trend(x: ArrayLike, y: ArrayLike) -> Trend:
    """The line through points (x, y), shape (n,), of at least two different x."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    n = len(x)
    assert n > 1
    assert np.ptp(x) > 0
    away = x - x.mean()
    slope = float(away @ y / (away @ away))
    rest = y - y.mean() - slope * away
    sigma = math.sqrt(float(rest @ rest) / (n - 2)) if n > 2 else math.nan
    half = float(t_quantile(LEVEL, np.array(float(n - 2)))) * sigma / math.sqrt(away @ away) if n > 2 else math.inf
    return Trend(slope, slope - half, slope + half, float(y.mean()), sigma, n)


@dataclasses.dataclass(frozen=True)
class Crossing:
    """Where a straight line over ln x crosses zero: x, and the ends of its interval, by Fieller."""

    x: float
    low: float
    high: float


def crossing(x: ArrayLike, y: ArrayLike, sigma: float, degrees: float) -> Crossing | None:
    """The x at which y is zero on its line over ln x; None where no slope at all lies inside its interval.

    Args:
        sigma: standard deviation of each y, known with so many degrees of freedom; where the scatter about the line is
            larger, both are pooled.
    """
    ln_x = np.log(np.asarray(x, float))
    line = trend(ln_x, y)
    if line.sigma > sigma:
        sigma = math.sqrt((degrees * sigma**2 + (line.n - 2) * line.sigma**2) / (degrees + line.n - 2))
        degrees += line.n - 2
    square = float(((ln_x - ln_x.mean()) ** 2).sum())
    q = (float(t_quantile(LEVEL, np.array(float(degrees)))) * sigma) ** 2
    # (mean + slope u)^2 <= q (1 / n + u^2 / square), u = ln x - its mean: there some line of the interval is zero.
    a, b, c = line.slope**2 - q / square, line.mean * line.slope, line.mean**2 - q / line.n
    if not a > 0:
        return None
    root = math.sqrt(max(b * b - a * c, 0.0))
    at = (-line.mean / line.slope, (-b - root) / a, (-b + root) / a)
    with np.errstate(over="ignore"):  # a flat line crosses beyond all numbers
        return Crossing(*(float(np.exp(ln_x.mean() + u)) for u in at))


def between(x: ArrayLike, y: ArrayLike, at: ArrayLike) -> np.ndarray:
    """y at other x, interpolated in both logarithms; NaN outside the points."""
    x, y, at = np.log(np.asarray(x, float)), np.log(np.asarray(y, float)), np.log(np.asarray(at, float))
    order = np.argsort(x)
    slack = 1e-9  # a point at the very end is inside
    inside = (at >= x.min() - slack) & (at <= x.max() + slack)
    return np.where(inside, np.exp(np.interp(at, x[order], y[order])), np.nan)


def meeting(points: np.ndarray, x: ArrayLike, y: ArrayLike) -> float | None:
    """By how much a plot's y are multiplied to meet ours at the middle of the common range; None without one.

    Args:
        points: rows x, y; x, y: ours.
    """
    low, high = (end(f(points[:, 0]), f(x)) for end, f in ((max, np.min), (min, np.max)))
    if low > high:
        return None
    at = [math.sqrt(float(low * high))]
    return float((between(x, y, at) / between(points[:, 0], points[:, 1], at))[0])
