"""A line through the bottoms of bowls: weighted by their errors, with the scatter about it and tests of it."""

import math
from typing import Any, NamedTuple

import numpy as np
from scipy import optimize, stats

from analysis.tuning.bowls import Array

APART = 1e-2  # smallest singular value of a design with columns of length 1: below it only luck separates columns


class Test(NamedTuple):
    """An F test.

    Attributes:
        F: near 1 where the hypothesis holds.
        degrees: of the numerator and the denominator; the second is infinite where the noise is known.
        p: how often the hypothesis alone gives so large an F.
    """

    F: float
    degrees: tuple[float, float]
    p: float


class Line(NamedTuple):
    """y = X beta.

    Attributes:
        covariance: of beta, with the shared error.
        scatter: standard deviation of y about the line beyond the errors, by Paule and Mandel (1982).
        degrees: rows minus columns.
        squares: of what the line leaves, over the errors alone; about `degrees` where the line is the truth.
    """

    beta: Array
    covariance: Array
    scatter: float
    degrees: int
    squares: float


def identified(X: Array) -> bool:
    """Whether rows of a design tell its columns apart and leave a degree of freedom. X: n k."""
    norms = np.linalg.norm(X, axis=0)
    if len(X) <= X.shape[1] or not norms.all():
        return False
    return bool(np.linalg.svd(X / norms, compute_uv=False)[-1] >= APART)


def through(X: Array, y: Array, error: Array, shared: Array) -> Line:
    """The line through y, weighted by the errors and the scatter about the line.

    Args:
        X: n k, with `identified(X)`.
        error: standard errors of y, n.
        shared: the part of `error` that moves all y together, with its sign, n.
    """
    own = np.maximum(error**2 - shared**2, 0.0)
    degrees = len(y) - X.shape[1]

    def solve(scatter: float) -> tuple[Array, Array, float]:
        w = 1 / np.maximum(own + scatter**2, 1e-18)
        covariance = np.linalg.inv((X.T * w) @ X)
        beta = covariance @ (X.T * w) @ y
        moved = covariance @ (X.T * w) @ shared
        return beta, covariance + np.outer(moved, moved), float(np.sum(w * (y - X @ beta) ** 2))

    scatter = 0.0
    if solve(0.0)[2] > degrees:
        root: Any = optimize.brentq(lambda s: solve(s)[2] - degrees, 0.0, 10 * float(np.ptp(y)) + 1.0)
        scatter = float(root)
    beta, covariance, _ = solve(scatter)
    return Line(beta, covariance, scatter, degrees, _squares(X, y, own, shared))


def misfit(line: Line, noise_degrees: float) -> Test:
    """Whether the line misses y by more than its errors.

    Args:
        noise_degrees: degrees of freedom of the noise that the errors come from; infinite where it is known.
    """
    return _test(line.squares / line.degrees, line.degrees, noise_degrees)


def nonzero(values: Array, covariance: Array, degrees: float) -> Test:
    """Whether any of some estimates differs from 0, by Wald's test. values: k; covariance: k k."""
    F = float(values @ np.linalg.solve(covariance, values)) / len(values)
    return _test(F, len(values), degrees)


def _test(F: float, first: float, second: float) -> Test:
    tail = stats.f.sf(F, first, second) if math.isfinite(second) else stats.chi2.sf(F * first, first)
    return Test(F, (float(first), float(second)), float(tail))


def _squares(X: Array, y: Array, own: Array, shared: Array) -> float:
    """What generalised least squares leaves, the shared error taken as one more unknown of mean 0 and variance 1."""
    scale = 1 / np.sqrt(np.maximum(own, 1e-18))
    design = np.block([[X * scale[:, None], (shared * scale)[:, None]], [np.zeros((1, X.shape[1])), np.ones((1, 1))]])
    target = np.append(y * scale, 0.0)
    left = target - design @ np.linalg.lstsq(design, target)[0]
    return float(left @ left)
