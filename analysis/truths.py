"""Surfaces whose exponents are known exactly, worked out without training: what a fit of a law should find.

Each is a frozen dataclass: called with columns it gives the loss, in its own unit; `exponents` are those of its limits,
by the input's letter, and `inputs` the columns that it takes.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from analysis.laws import Chinchilla, KaplanOnePass
from scaling.errors import InputError

Array = NDArray[np.float64]

EXACT_TERMS = 10_000  # of a sum over k, added one by one; the rest is an integral over ln(k)
NODES = 400  # of that integral
STEPS = 60  # of Newton's method, at most
LARGEST = 4096  # features of `PowerLawSGD`, whose matrix is diagonalised


@functools.cache
def _nodes() -> tuple[Array, Array]:
    return np.polynomial.legendre.leggauss(NODES)


def sum_over(term: Callable[[Array], Array], last: float) -> float:
    """The sum of a smooth falling term(k), k = 1 .. last."""
    few = np.arange(1.0, min(EXACT_TERMS, last) + 1)
    total = float(term(few).sum())
    if last > EXACT_TERMS:
        low, high = math.log(EXACT_TERMS + 0.5), math.log(last + 0.5)
        nodes, weights = _nodes()
        k = np.exp(low + (high - low) * (nodes + 1) / 2)
        total += float((weights * k * term(k)).sum() * (high - low) / 2)
    return total


@dataclasses.dataclass(frozen=True)
class Hutter:
    """Skills that come up as k ** -(1 + a): a model knows the first N of them that its D examples have shown.

    L(N, D) = sum_{k <= N} p_k (1 - p_k) ** D + sum_{k > N} p_k, p_k = k ** -(1 + a) / zeta(1 + a): the share of
    examples that it gets wrong. No floor. Hutter (2021), Michaud et al. (2023).
    """

    a: float = 0.6

    name: ClassVar[str] = "hutter"
    inputs: ClassVar[tuple[str, ...]] = ("params", "tokens")

    def __post_init__(self):
        if not 0.1 <= self.a <= 10:
            raise InputError(f"a is {self.a:g}; wanted 0.1 to 10")

    @property
    def exponents(self) -> dict[str, float]:
        """L(N) ~ N ** -alpha, L(D) ~ D ** -beta."""
        return {"alpha": self.a, "beta": self.a / (1 + self.a)}

    def __call__(self, N: ArrayLike, D: ArrayLike) -> Array:
        N, D = np.broadcast_arrays(np.asarray(N, np.float64), np.asarray(D, np.float64))
        return np.array([self._one(n, d) for n, d in zip(N.ravel(), D.ravel(), strict=True)]).reshape(N.shape)[()]

    def _one(self, N: float, D: float) -> float:
        zeta = float(special.zeta(1 + self.a))

        def unknown(first: float) -> float:
            return float(special.zeta(1 + self.a, first)) / zeta

        def unseen(k: Array) -> Array:
            p = k ** -(1 + self.a) / zeta
            return p * np.exp(D * np.log1p(-p))

        if D == math.inf:
            return unknown(math.floor(N) + 1.0)
        rare = (1e12 * (1 + D)) ** (1 / (1 + self.a))  # from here on D examples show next to nothing
        last = float(math.floor(min(N, max(rare, EXACT_TERMS))))
        return sum_over(unseen, last) + unknown(last + 1)


@dataclasses.dataclass(frozen=True)
class LinearFeatures:
    """Ridgeless regression on features with variances i ** -(1 + a), all of one weight in the target.

    L(D) = kappa, the root of sum_i lambda_i / (kappa + D lambda_i) = 1: the expected error of D examples and unlimited
    features (and by duality that of so many features and unlimited examples). No floor. Bahri et al. (2021).
    """

    a: float = 0.5

    name: ClassVar[str] = "features"
    inputs: ClassVar[tuple[str, ...]] = ("tokens",)

    def __post_init__(self):
        if not 0.1 <= self.a <= 10:
            raise InputError(f"a is {self.a:g}; wanted 0.1 to 10")

    @property
    def exponents(self) -> dict[str, float]:
        """L(D) ~ D ** -beta."""
        return {"beta": self.a}

    def __call__(self, D: ArrayLike) -> Array:
        D = np.asarray(D, np.float64)
        return np.array([self._one(d) for d in D.ravel()]).reshape(D.shape)[()]

    def _one(self, D: float) -> float:
        s = math.pi / (1 + self.a)
        log_kappa = (1 + self.a) * math.log(s / math.sin(s)) - self.a * math.log(D)  # its limit
        last = max(math.exp(320 / (1 + self.a)), EXACT_TERMS)  # the rest is 1e-12, and no power of it overflows
        for _ in range(STEPS):
            kappa = math.exp(log_kappa)

            def term(i: Array, kappa: float = kappa) -> Array:
                return 1 / (kappa * i ** (1 + self.a) + D)

            total = sum_over(term, last)
            slope = sum_over(lambda i, term=term: term(i) * (D * term(i) - 1), last)  # in ln(kappa)
            step = (1 - total) / slope
            log_kappa += step
            if abs(step) < 1e-12:
                break
        return math.exp(log_kappa)


@dataclasses.dataclass(frozen=True)
class PowerLawSGD:
    """The expected loss of one-pass SGD, one example a step, on the N largest of power-law features.

    Features are independent and Gaussian, of variances j ** -2 a; the target's coefficients are j ** -b; those beyond N
    are noise to the model. The rate is constant, a quarter of the largest stable one. The expected squares of the
    errors of all coefficients follow a linear recursion, which is solved exactly for any number of steps D.
    No floor, while 2 b < 2 a and 2 a > 1. After Paquette et al. (2024), whose features are random projections of these.
    """

    a: float = 0.75
    b: float = 0.1

    name: ClassVar[str] = "sgd"
    inputs: ClassVar[tuple[str, ...]] = ("params", "tokens")

    def __post_init__(self):
        if not (0.55 <= self.a <= 5 and 0.55 <= self.a + self.b and self.b <= self.a):
            raise InputError(
                f"a {self.a:g}, b {self.b:g}; wanted a from 0.55 to 5, b up to a, and a + b of 0.55 or more"
            )

    @property
    def exponents(self) -> dict[str, float]:
        """L(N) ~ N ** -alpha, L(D) ~ D ** -beta."""
        alpha = 2 * (self.a + self.b) - 1
        return {"alpha": alpha, "beta": alpha / (2 * self.a)}

    def __call__(self, N: ArrayLike, D: ArrayLike) -> Array:
        N, D = np.broadcast_arrays(np.asarray(N, np.float64), np.asarray(D, np.float64))
        if N.size and not 1 <= N.min() <= N.max() <= LARGEST:
            raise InputError(f"params {N.max():g}; wanted 1 to {LARGEST} features")
        loss = np.empty(N.shape)
        for n in np.unique(N):
            loss[N == n] = self._of(math.floor(n))(D[N == n])
        return loss[()]

    @functools.lru_cache(maxsize=64)  # noqa: B019  (frozen and small)
    def _of(self, N: int) -> Callable[[Array], Array]:
        j = np.arange(1.0, N + 1)
        variance = j ** (-2 * self.a)
        rate = 0.25 / float(special.zeta(2 * self.a))
        beyond = float(special.zeta(2 * (self.a + self.b), N + 1))
        # One example x changes the error e to e - rate x (x . e - noise); E[(x . A x)(x x')] = 2 H A H + tr(A H) H.
        M = np.diag(1 - 2 * rate * variance + rate**2 * variance**2) + rate**2 * (
            np.diag(variance**2) + np.outer(variance, variance)
        )
        values, vectors = np.linalg.eigh(M)
        first = vectors.T @ j ** (-2 * self.b)  # of the squares of the coefficients, from weights of 0
        pushed = vectors.T @ (rate**2 * variance * beyond)
        told = vectors.T @ variance

        def loss(D: Array) -> Array:
            left = values ** np.asarray(D)[:, None]
            return beyond + (left * first + (1 - left) / (1 - values) * pushed) @ told

        return loss


@dataclasses.dataclass(frozen=True)
class OfChinchilla(Chinchilla):
    """The law of Hoffmann et al. (2022) with the constants of Besiroglu et al. (2024)."""

    E: float = 1.8172
    A: float = 482.01
    B: float = 2085.43
    alpha: float = 0.3478
    beta: float = 0.3658

    @property
    def exponents(self) -> dict[str, float]:
        """L - E ~ N ** -alpha, L - E ~ D ** -beta."""
        return {"alpha": self.alpha, "beta": self.beta}


@dataclasses.dataclass(frozen=True)
class OfKaplan(KaplanOnePass):
    """The form of Kaplan et al. (2020) eq. 1.5 with the constants of their table 2."""

    N_c: float = 6.4e13
    D_c: float = 1.8e13
    alpha_N: float = 0.076
    alpha_D: float = 0.103

    @property
    def exponents(self) -> dict[str, float]:
        """L(N) ~ N ** -alpha, L(D) ~ D ** -beta."""
        return {"alpha": self.alpha_N, "beta": self.alpha_D}


Truth = Hutter | LinearFeatures | PowerLawSGD | OfChinchilla | OfKaplan


class Grid(NamedTuple):
    """Values of an input, evenly in the logarithm, whole numbers."""

    low: float
    high: float
    points: int

    def values(self) -> Array:
        return np.unique(np.round(np.geomspace(self.low, self.high, self.points)))


SURFACES: Mapping[str, tuple[type[Truth], Mapping[str, Grid]]] = {
    "hutter": (Hutter, {"params": Grid(10, 3000, 9), "tokens": Grid(1e2, 3e5, 9)}),
    "features": (LinearFeatures, {"tokens": Grid(1e2, 1e6, 24)}),
    "sgd": (PowerLawSGD, {"params": Grid(8, 128, 8), "tokens": Grid(30, 1e5, 8)}),
    "chinchilla": (OfChinchilla, {"params": Grid(1e7, 1e10, 7), "tokens": Grid(1e9, 1e12, 7)}),
    "kaplan": (OfKaplan, {"params": Grid(1e6, 1e9, 7), "tokens": Grid(1e8, 1e11, 7)}),
}


def surface(name: str, constants: Mapping[str, float]) -> Truth:
    """The surface of that name, some of its constants as given.

    Raises:
        InputError: no such surface or constant.
    """
    if name not in SURFACES:
        raise InputError(f"no surface is called {name!r}; there are {', '.join(SURFACES)}")
    kind, _ = SURFACES[name]
    known = [field.name for field in dataclasses.fields(kind)]
    for constant, value in constants.items():
        if constant not in known:
            raise InputError(f"{name} has no constant {constant}; it has {', '.join(known)}")
        if not math.isfinite(value) or value < 0:
            raise InputError(f"{name}: {constant} is {value:g}; wanted a number of 0 or more")
    return kind(**constants)


def drawn(truth: Truth, grids: Mapping[str, Grid], noise: float = 0.0, seed: int = 0) -> dict[str, Array]:
    """Every combination of the inputs' values, and the loss there: columns of a table.

    Each token is seen once, so `unique_tokens` are the tokens.

    Args:
        noise: standard deviation of ln(loss), of each row.
    """
    mesh = np.meshgrid(*(grids[name].values() for name in truth.inputs), indexing="ij")
    columns = {name: column.ravel() for name, column in zip(truth.inputs, mesh, strict=True)}
    loss = np.asarray(truth(*columns.values()))
    loss = loss * np.exp(noise * np.random.default_rng(seed).normal(size=len(loss)))
    return {**columns, "unique_tokens": columns["tokens"], "loss": loss}
