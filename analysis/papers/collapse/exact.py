"""Two problems in which what generations do to the error is known exactly, to hold ours against."""

import functools
from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Way = Literal["replace", "accumulate", "fixed"]

TERMS = 10**6  # of a Zipf distribution


def replaced(generations: int) -> Array:
    """The error of each generation over that of the first, (n,), where each is fitted to answers of the one before.

    Linear regression, Gerstgrasser et al. (2024), arXiv 2404.01413, theorem 1: sigma^2 d / (T - d - 1) times n.
    """
    return np.arange(1.0, generations + 1)


def accumulated(generations: int) -> Array:
    """The same where generation n is fitted to all n T answers so far: at most sum_i 1 / i^2, theorem 2."""
    return np.cumsum(1 / np.arange(1.0, generations + 1) ** 2)


def fixed(generations: int) -> Array:
    """The same where generation n is fitted to T answers, the first T / n of each of the n data sets so far.

    Of a mean, that is where T is many times the number of features: w_n = sum_i (w_i + e_i,n) / n, i < n, where the
    mean noise e_i,n of the first T / n samples of data set i has covariance min(n, m) / T with e_i,m. This is no
    theorem of Gerstgrasser et al., whose accumulated text grows with n.
    """
    n = np.arange(1, generations + 1)
    noise = np.linalg.cholesky(np.minimum.outer(n, n).astype(float))  # of one data set: (size, draw)
    w = np.zeros((generations + 1, generations, generations))  # of each generation, by (data set, draw)
    for g in n:
        w[g] = w[:g].mean(0)
        w[g, :g] += noise[g - 1] / g
    return (w[1:] ** 2).sum((1, 2))


LAWS: Mapping[Way, Callable[[int], Array]] = {"replace": replaced, "fixed": fixed, "accumulate": accumulated}


@functools.cache
def regression(
    generations: int, *, way: Way, samples: int = 100, features: int = 20, draws: int = 2000, seed: int = 0
) -> Array:
    """The same by drawing: mean squared error of each generation over that of the first, (n,).

    Args:
        way: as in the experiments: T answers of the generation before, T of each so far, or T / n of each.
        samples: T of each generation, with features of the standard normal distribution, and noise of variance 1.
    """
    rng = np.random.default_rng(seed)
    d = features
    w, found = np.zeros((draws, d, 1)), []
    squares, products = np.zeros((draws, d, d)), np.zeros((draws, d, 1))
    written: list[tuple[Array, Array]] = []
    for n in range(1, generations + 1):
        x = rng.standard_normal((draws, samples, d))
        y = x @ w + rng.standard_normal((draws, samples, 1))
        written = [*written, (x, y)] if way == "fixed" else [(x, y)]
        if way != "accumulate":
            squares, products = np.zeros_like(squares), np.zeros_like(products)
        for i, (x, y) in enumerate(written):
            read = samples // n + (i < samples % n) if way == "fixed" else samples
            turned = x[:, :read].swapaxes(1, 2)
            squares += turned @ x[:, :read]
            products += turned @ y[:, :read]
        w = np.linalg.solve(squares, products)
        found.append(float((w**2).sum((1, 2)).mean()))
    error = np.array(found) / found[0]
    error.setflags(write=False)
    return error


def cut_tail(tokens: Array, b: float, kept: float = np.inf) -> Array:
    """The share of the words that a learner by heart has not met, after so many tokens of text, (n,).

    Dohmatob et al. (2024), arXiv 2402.07043: words by Zipf's law, p_i ~ i^-b. Text that a model writes has lost the
    words beyond the first `kept`, which are not met however much of it is read: T^-(b-1)/b falls to about
    kept^-(b-1), and no further.
    """
    i = np.arange(1.0, TERMS + 1)
    p = i**-b
    p /= p.sum()
    there = i <= kept
    q = np.where(there, p, 0.0) / p[there].sum()
    return np.array([float((p * np.exp(T * np.log1p(-np.minimum(q, 1 - 1e-12)))).sum()) for T in np.atleast_1d(tokens)])
