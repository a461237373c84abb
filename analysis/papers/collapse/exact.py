"""Two problems in which what generations do to the error is known exactly, to hold ours against."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

TERMS = 10**6  # of a Zipf distribution


def replaced(generations: int) -> Array:
    """The error of each generation over that of the first, (n,), where each is fitted to answers of the one before.

    Linear regression, Gerstgrasser et al. (2024), arXiv 2404.01413, theorem 1: sigma^2 d / (T - d - 1) times n.
    """
    return np.arange(1.0, generations + 1)


def accumulated(generations: int) -> Array:
    """The same where each is fitted to all answers so far: at most sum_i 1 / i^2, theorem 2."""
    return np.cumsum(1 / np.arange(1.0, generations + 1) ** 2)


def regression(
    generations: int, *, accumulate: bool, samples: int = 100, features: int = 20, draws: int = 2000, seed: int = 0
) -> Array:
    """The same by drawing: mean squared error of each generation over that of the first, (n,).

    Args:
        samples: T of each generation, with features of the standard normal distribution, and noise of variance 1.
    """
    rng = np.random.default_rng(seed)
    d = features
    squares, products = np.zeros((draws, d, d)), np.zeros((draws, d, 1))
    w, found = np.zeros((draws, d, 1)), []
    for _ in range(generations):
        x = rng.standard_normal((draws, samples, d))
        y = x @ w + rng.standard_normal((draws, samples, 1))
        keep = 1.0 if accumulate else 0.0
        squares = keep * squares + x.swapaxes(1, 2) @ x
        products = keep * products + x.swapaxes(1, 2) @ y
        w = np.linalg.solve(squares, products)
        found.append(float((w**2).sum((1, 2)).mean()))
    return np.array(found) / found[0]


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
