# ruff: noqa: RUF009  (`constant`, `exponent` and the like return dataclass fields)
"""The law of Hoffmann et al. (2022), arXiv 2203.15556, and what was built on it."""

import dataclasses
import math

import numpy as np

from analysis.laws.admission import DECAYED, FINISHED, ONE_PASS
from analysis.laws.law import Law, Scalar, Values, constant, exponent, floor, namespace, power

GRID = 501  # points at which a lowest loss is looked for


@dataclasses.dataclass(frozen=True)
class Chinchilla(Law):
    """L(N, D) = E + A / N ** alpha + B / D ** beta, D tokens processed, at most once, the decay matched to the run."""

    E: Scalar = floor()
    A: Scalar = constant("nats/token", (1.0, 1e6))
    B: Scalar = constant("nats/token", (1.0, 1e6))
    alpha: Scalar = exponent((0.1, 1.0))
    beta: Scalar = exponent((0.1, 1.0))

    name = "chinchilla"
    inputs = ("params", "tokens")
    source = "Hoffmann et al. (2022) eq. 2"
    about = (FINISHED, ONE_PASS, DECAYED)
    linear = ("E", "A", "B")

    def __call__(self, N: Values, D: Values) -> Values:
        return self.E + self.A * power(N, -self.alpha) + self.B * power(D, -self.beta)


@dataclasses.dataclass(frozen=True)
class Counted(Law):
    """L(N, N_head, D) = E + A / (N + f (N_head - N)) ** alpha + B / D ** beta, N_head - N = V d.

    f is what a parameter of the head is worth: f near 0 speaks for a count without the head, f near 1 for one with it.
    """

    E: Scalar = floor()
    A: Scalar = constant("nats/token", (1.0, 1e6))
    B: Scalar = constant("nats/token", (1.0, 1e6))
    alpha: Scalar = exponent((0.1, 1.0))
    beta: Scalar = exponent((0.1, 1.0))
    f: Scalar = constant("", (0.05, 1.0))

    name = "counted"
    inputs = ("params", "params_head", "tokens")
    source = "after Pearce & Song (2024), whose f is 1"
    about = Chinchilla.about
    linear = Chinchilla.linear

    def __call__(self, N: Values, N_head: Values, D: Values) -> Values:
        return self.E + self.A * power(N + self.f * (N_head - N), -self.alpha) + self.B * power(D, -self.beta)


@dataclasses.dataclass(frozen=True)
class Muennighoff(Law):
    """Chinchilla's law with the effective data and parameters of repeated epochs.

    D' = U + U R_D (1 - exp(-r_D / R_D)), r_D = D / U - 1, for U unique tokens seen, at most D of those available; N'
    alike from U_N = min(N, N_opt(U)), N_opt(U) the compute-optimal size for U tokens under the same constants.
    """

    E: Scalar = floor()
    A: Scalar = constant("nats/token", (1.0, 1e6))
    B: Scalar = constant("nats/token", (1.0, 1e6))
    alpha: Scalar = exponent((0.1, 1.0))
    beta: Scalar = exponent((0.1, 1.0))
    R_D: Scalar = constant("epochs", (1.0, 100.0))
    R_N: Scalar = constant("", (0.5, 100.0))

    name = "muennighoff"
    inputs = ("params", "tokens", "unique_tokens")
    source = "Muennighoff et al. (2023) eqs. 5 and 6, fitted as in eqs. 16 and 17"
    about = (FINISHED, DECAYED)

    def __call__(self, N: Values, D: Values, U: Values) -> Values:
        xp = namespace(self.E, self.A, self.B, self.alpha, self.beta, self.R_D, self.R_N, N, D, U)
        U = xp.minimum(U, D)  # tokens that were never seen teach nothing
        # N_opt = G (C / 6) ** a and D_opt = (C / 6) ** b / G, so the size for U tokens is G (U G) ** (a / b).
        G = power(self.alpha * self.A / (self.beta * self.B), 1 / (self.alpha + self.beta))
        U_N = xp.minimum(N, G * power(U * G, self.beta / self.alpha))
        D_eff = U * (1 + self.R_D * -xp.expm1(-(D / U - 1) / self.R_D))
        N_eff = U_N * (1 + self.R_N * -xp.expm1(-xp.maximum(N / U_N - 1, 0.0) / self.R_N))
        return self.E + self.A * power(N_eff, -self.alpha) + self.B * power(D_eff, -self.beta)


@dataclasses.dataclass(frozen=True)
class Lovelace(Law):
    """L(N, D, U) = E + A / N ** alpha + B / D ** beta + P R ** delta (N / U) ** kappa, R = D / U - 1 repeats.

    A penalty for learning by heart, which can rise with training, as effective data cannot; without repeats it is
    Chinchilla's law. The paper's form of one constant has delta = kappa = 1.
    """

    E: Scalar = floor()
    A: Scalar = constant("nats/token", (1.0, 1e6))
    B: Scalar = constant("nats/token", (1.0, 1e6))
    alpha: Scalar = exponent((0.1, 1.0))
    beta: Scalar = exponent((0.1, 1.0))
    P: Scalar = constant("nats/token", (1e-4, 1.0))
    delta: Scalar = exponent((0.1, 2.0))
    kappa: Scalar = exponent((0.1, 2.0))

    name = "lovelace"
    inputs = ("params", "tokens", "unique_tokens")
    source = "Lovelace et al. (2026), arXiv 2605.01640"
    about = Muennighoff.about
    linear = ("E", "A", "B", "P")

    def __call__(self, N: Values, D: Values, U: Values) -> Values:
        xp = namespace(self.E, self.A, self.B, self.P, self.alpha, self.beta, self.delta, self.kappa, N, D, U)
        R = D / U - 1
        repeated = xp.where(R > 0, power(xp.where(R > 0, R, 1.0), self.delta), 0.0)
        once = self.E + self.A * power(N, -self.alpha) + self.B * power(D, -self.beta)
        return once + self.P * repeated * power(N / U, self.kappa)

    def best_epochs(self, N: float, U: float, most: float = 1e3) -> float:
        """D / U, from 1 to `most`, at which N parameters on U unique tokens have the lowest loss.

        With delta = kappa = 1 it is (beta B U ** (1 - beta) / (P N)) ** (1 / (1 + beta)).
        """
        x = np.linspace(0.0, math.log(most), GRID)
        for _ in range(2):  # the second within the cells beside the best of the first
            i = int(np.argmin(self(N, U * np.exp(x), U)))
            x = np.linspace(x[max(i - 1, 0)], x[min(i + 1, GRID - 1)], GRID)
        return float(np.exp(x[np.argmin(self(N, U * np.exp(x), U))]))


@dataclasses.dataclass(frozen=True)
class Gadre(Law):
    """L(C, M) = E + (a M ** eta + b M ** -eta) C ** -eta, C = 6 N D, M = D / N: one exponent for both."""

    E: Scalar = floor()
    a: Scalar = constant("nats/token", (1.0, 1e5))
    b: Scalar = constant("nats/token", (1.0, 1e5))
    eta: Scalar = exponent((0.02, 0.5))

    name = "gadre"
    inputs = ("params", "tokens")
    source = "Gadre et al. (2024) eq. 4"
    about = (FINISHED, ONE_PASS, DECAYED)
    linear = ("E", "a", "b")

    def __call__(self, N: Values, D: Values) -> Values:
        C, M = 6 * N * D, D / N
        return self.E + self.a * power(C / M, -self.eta) + self.b * power(C * M, -self.eta)

    def as_chinchilla(self) -> Chinchilla:
        """The same surface as Chinchilla's law: C / M = 6 N^2 and C M = 6 D^2."""
        six = power(6.0, -self.eta)
        return Chinchilla(self.E, self.a * six, self.b * six, 2 * self.eta, 2 * self.eta)


@dataclasses.dataclass(frozen=True)
class GadreError(Law):
    """Err(L) = eps - k exp(-gamma L): mean error on downstream tasks from the loss."""

    eps: Scalar = constant("", (0.5, 1.0))
    k: Scalar = constant("", (0.3, 10.0))
    gamma: Scalar = constant("per nat", (0.1, 2.0), "exponent")

    name = "gadre-error"
    inputs = ("loss",)
    target = "error"
    source = "Gadre et al. (2024) eq. 5"
    linear = ("eps", "k")

    def __call__(self, L: Values) -> Values:
        return self.eps - self.k * namespace(self.eps, self.k, self.gamma, L).exp(-self.gamma * L)


@dataclasses.dataclass(frozen=True)
class SigmoidAccuracy(Law):
    """Acc(L) = top - drop / (1 + exp(-k (L - L_0))): accuracy on a task from its loss, from `top` down to chance.

    The paper writes a = -drop and b = top; chance is top - drop.
    """

    top: Scalar = constant("", (0.5, 1.0))
    drop: Scalar = constant("", (0.2, 0.9))
    k: Scalar = constant("per unit of loss", (1.0, 30.0))
    L_0: Scalar = constant("as the loss", (0.3, 5.0))

    name = "sigmoid-accuracy"
    inputs = ("loss",)
    target = "accuracy"
    source = "Bhagia et al. (2024), step 2, whose losses are bits per byte of the answers"
    linear = ("top", "drop")

    def __call__(self, L: Values) -> Values:
        exp = namespace(self.top, self.drop, self.k, self.L_0, L).exp
        return self.top - self.drop / (1 + exp(-self.k * (L - self.L_0)))


@dataclasses.dataclass(frozen=True)
class Gemstones(Law):
    """L(w, d, D) = E + A / w ** alpha + B / d ** beta + G / D ** gamma: width and depth in place of N."""

    E: Scalar = floor()
    A: Scalar = constant("nats/token", (1.0, 1e4))
    B: Scalar = constant("nats/token", (0.1, 1e2))
    G: Scalar = constant("nats/token", (1.0, 1e6))
    alpha: Scalar = exponent((0.1, 2.0))
    beta: Scalar = exponent((0.1, 2.0))
    gamma: Scalar = exponent((0.1, 1.0))

    name = "gemstones"
    inputs = ("d_model", "n_layer", "tokens")
    source = "McLeish et al. (2025), their fit in width, depth and tokens"
    about = Chinchilla.about
    linear = ("E", "A", "B", "G")

    def __call__(self, w: Values, d: Values, D: Values) -> Values:
        shape = self.A * power(w, -self.alpha) + self.B * power(d, -self.beta)
        return self.E + shape + self.G * power(D, -self.gamma)


def lifetime_flops(N: Values, D_train: Values, D_inference: Values) -> Values:
    """FLOP to train a model and to serve it: 6 N D_train + 2 N D_inference, Sardana et al. (2024) eq. 3."""
    return 6 * N * D_train + 2 * N * D_inference
