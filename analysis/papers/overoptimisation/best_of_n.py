"""The best of n texts by a proxy, exactly: how far it is from the policy, and what it is worth."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Array = NDArray[np.float64]


def kl(n: ArrayLike) -> Array:
    """KL(best of n || policy), nats, where no two texts have one score: Stiennon et al. (2020), appendix G.3."""
    n = np.asarray(n, float)
    return np.log(n) - (n - 1) / n


def kl_of_classes(p: ArrayLike, n: int) -> float:
    """The same where texts of one class are one text: of classes with chances p, the best last.

    It is less than `kl`, and no more than minus the logarithm of the best class's chance.
    """
    p = np.asarray(p, float)
    top = np.cumsum(p)
    chosen = top**n - np.concatenate([[0.0], top[:-1]]) ** n
    there = chosen > 0
    return float((chosen[there] * np.log(chosen[there] / p[there])).sum())


def weights(samples: int, n: ArrayLike) -> Array:
    """The chance that the i-th of so many samples, the worst first, is the best of n of them. -> (len(n), samples)

    C(i - 1, n - 1) / C(samples, n): Nakano et al. (2021), arXiv 2112.09332, appendix I.
    """
    n = np.asarray(n, float)[:, None]
    i = np.arange(1, samples + 1, dtype=float)
    with np.errstate(invalid="ignore"):
        ln = _ln_choose(i - 1, n - 1) - _ln_choose(np.asarray(float(samples)), n)
    return np.where(i >= n, np.exp(np.where(i >= n, ln, 0.0)), 0.0)


def ranked(proxy: Array, value: Array) -> Array:
    """The values in the order of the proxy, the lowest first; of samples with one score their mean."""
    order = np.argsort(proxy, kind="stable")
    _, group = np.unique(proxy[order], return_inverse=True)
    mean = np.bincount(group, value[order]) / np.bincount(group)
    return mean[group]


def best_of(proxy: Array, value: Array, n: ArrayLike) -> Array:
    """The mean value of the best of n by the proxy, of all n samples there are: without bias. -> (len(n),)"""
    return weights(len(proxy), n) @ ranked(proxy, value)


def _ln_choose(a: Array, b: Array) -> Array:
    return special.gammaln(a + 1) - special.gammaln(b + 1) - special.gammaln(np.maximum(a - b, 0) + 1)
