"""The level of all intervals, and the distributions that make an interval of it.

Student's t, F and the normal distribution are written out here in plain Python, scalar by scalar, since a fit needs a
few dozen values of them, and importing SciPy's special functions takes longer than the descents.
"""

import functools
import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEVEL = 0.95
TINY = 1e-300
MANY_DEGREES = 1e5  # from there on t is the normal distribution and two terms: the next is below 1e-15
STEPS = 10_000  # of the continued fraction, which takes about sqrt(max(a, b)) of them


def t_quantile(level: float, degrees: ArrayLike) -> NDArray[np.float64]:
    """Half width of a two-sided interval of that level in standard errors, Student's t."""
    degrees = np.asarray(degrees, np.float64)
    return np.reshape([_t_quantile(float(level), float(d)) for d in degrees.ravel()], degrees.shape)


def t_below(degrees: float, t: float) -> float:
    """Probability that Student's t is below t."""
    tail = f_above(1.0, degrees, t * t) / 2
    return tail if t < 0 else 1 - tail


def f_above(degrees: float, other: float, F: float) -> float:
    """Probability that F with these degrees of freedom, numerator first, is above F."""
    return _beta(other / 2, degrees / 2, other / (other + degrees * F))


def normal_below(x: ArrayLike) -> NDArray[np.float64]:
    """Probability that a standard normal number is below x."""
    return np.asarray(_erfc(-np.asarray(x, np.float64) / math.sqrt(2)), np.float64) / 2


def sigma_interval(sigma: float, degrees: int, level: float = LEVEL) -> tuple[float, float]:
    """The interval of a standard deviation that was estimated with so many degrees of freedom, from chi-square."""
    from scipy import special

    def end(p: float) -> float:
        return sigma * math.sqrt(degrees / (2 * special.gammaincinv(degrees / 2, p)))

    return end((1 + level) / 2), end((1 - level) / 2)


_erfc = np.frompyfunc(math.erfc, 1, 1)


@functools.lru_cache(maxsize=4096)
def _t_quantile(level: float, degrees: float) -> float:
    if math.isnan(degrees):
        return math.nan
    degrees, tail = max(degrees, 1e-9), 1 - level
    z = _normal_quantile(1 - tail / 2)
    if degrees >= MANY_DEGREES:  # Abramowitz and Stegun 26.7.5
        return z + (z**3 + z) / (4 * degrees) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)
    # Newton's steps for ln(tail) over u = ln(t), which is nearly a line far out, between bounds that close in.
    low, high = -60.0, 700.0
    u = math.log(z) if z > 0 else low
    for _ in range(200):
        found = f_above(1.0, degrees, math.exp(min(2 * u, 600.0)))
        low, high = (u, high) if found > tail else (low, u)
        slope = -2 * math.exp(_t_log_density(degrees, u) + u) / max(found, TINY)
        step = math.log(max(found, TINY) / tail) / slope if slope < 0 else math.nan
        new = u - step
        if not low < new < high:
            new = (low + high) / 2
        if abs(new - u) < 1e-14 * max(1.0, abs(u)):
            break
        u = new
    return math.exp(u) if u < 299 else math.inf


def _t_log_density(degrees: float, u: float) -> float:
    """ln of the density of t at exp(u)."""
    normal = math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2) - math.log(degrees * math.pi) / 2
    square = 2 * u - math.log(degrees)
    return normal - (degrees + 1) / 2 * (math.log1p(math.exp(square)) if square < 30 else square)


def _normal_quantile(p: float) -> float:
    """Where a standard normal number lies below with probability p >= 1/2."""
    tail, low, high = 1 - p, 0.0, 40.0
    x = math.sqrt(-2 * math.log(2 * tail)) if 0 < tail < 0.5 else 0.0
    for _ in range(200):
        found = math.erfc(x / math.sqrt(2)) / 2
        low, high = (x, high) if found > tail else (low, x)
        density = math.exp(-x * x / 2) / math.sqrt(2 * math.pi)
        new = x + (found - tail) / max(density, TINY)
        new = new if low < new < high else (low + high) / 2
        if abs(new - x) < 1e-15 * max(1.0, x):
            break
        x = new
    return x


def _beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function I_x(a, b): DLMF 8.17.22, by Lentz's steps."""
    if x <= 0 or x >= 1 or math.isnan(x):
        return min(max(x, 0.0), 1.0) if not math.isnan(x) else math.nan
    if x > (a + 1) / (a + b + 2):
        return 1 - _beta(b, a, 1 - x)
    front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    c, d = 1.0, 1 / _away(1 - (a + b) * x / (a + 1))
    found = d
    for m in range(1, STEPS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        change = 1.0
        for term in (even, odd):
            d, c = 1 / _away(1 + term * d), _away(1 + term / c)
            change *= c * d
        found *= change
        if abs(change - 1) < 1e-16:
            break
    return math.exp(front) * found / a


def _away(x: float) -> float:
    """x, or a number next to 0 where it is 0."""
    return x if abs(x) > TINY else TINY
