# ruff: noqa: RUF009  (`constant`, `exponent` and the like return dataclass fields)
"""The published laws: one frozen dataclass each, its constants as fields, its formula as `__call__`.

N parameters (non-embedding unless a table says otherwise), D tokens, C FLOP, S updates, B tokens per batch, L nats per
token. A formula works on floats, NumPy arrays and JAX arrays alike. Constants are named as in the paper.

Two different D are never mixed: `unique_tokens` is the data available (Kaplan's, repeated and early stopped), `tokens`
the data processed (Chinchilla's, in at most one epoch with the decay matched to the run). A law names its columns and,
in `about`, the runs that it is about (`analysis.laws.admission`). `analysis.laws.law.describe` says all of it in words.
"""

import dataclasses
import difflib
import math

from analysis.laws.admission import (
    AMPLE,
    BEST_FOR_C,
    BEST_FOR_C_MIN,
    CONVERGED_RUNS,
    DECAYED,
    DEEP,
    FINISHED,
    LARGE_ENOUGH,
    LOWEST,
    MOST_DATA,
    ONE_BATCH,
    ONE_LENGTH,
    ONE_MODEL,
    ONE_PASS,
    STOPPED_EARLY,
    WARM,
)
from analysis.laws.law import Law, Scalar, Values, constant, exponent, floor, namespace, power
from scaling.errors import InputError

# --- Kaplan et al. (2020), arXiv 2001.08361


@dataclasses.dataclass(frozen=True)
class KaplanN(Law):
    """L(N) = (N_c / N) ** alpha_N: converged runs with ample data."""

    N_c: Scalar = constant("parameters", (1e7, 1e16))
    alpha_N: Scalar = exponent()

    name = "kaplan-n"
    inputs = ("params",)
    source = "Kaplan et al. (2020) eq. 1.1"
    about = (FINISHED, DEEP, AMPLE, MOST_DATA, CONVERGED_RUNS)

    def __call__(self, N: Values) -> Values:
        return power(self.N_c / N, self.alpha_N)


@dataclasses.dataclass(frozen=True)
class KaplanD(Law):
    """L(D) = (D_c / D) ** alpha_D: D unique tokens, a model that is large enough, stopped early."""

    D_c: Scalar = constant("tokens", (1e8, 1e16))
    alpha_D: Scalar = exponent()

    name = "kaplan-d"
    inputs = ("unique_tokens",)
    target = "loss_min"
    fallback = "loss"
    source = "Kaplan et al. (2020) eq. 1.2"
    about = (FINISHED, STOPPED_EARLY, LARGE_ENOUGH)

    def __call__(self, D: Values) -> Values:
        return power(self.D_c / D, self.alpha_D)


@dataclasses.dataclass(frozen=True)
class KaplanC(Law):
    """L(C) = (C_c / C) ** alpha_C: the best model at each compute, at one fixed batch size."""

    C_c: Scalar = constant("FLOP", (1e18, 1e32))
    alpha_C: Scalar = exponent((0.02, 0.5))

    name = "kaplan-c"
    inputs = ("flops",)
    source = "Kaplan et al. (2020) eq. 3.3"
    about = (FINISHED, DEEP, AMPLE, ONE_BATCH, BEST_FOR_C)

    def __call__(self, C: Values) -> Values:
        return power(self.C_c / C, self.alpha_C)


@dataclasses.dataclass(frozen=True)
class KaplanCMin(Law):
    """L(C_min) = (C_c / C_min) ** alpha_C: compute as it would be at a batch far below the critical one (eq. 5.5)."""

    C_c: Scalar = constant("FLOP", (1e18, 1e32))
    alpha_C: Scalar = exponent((0.02, 0.5))

    name = "kaplan-cmin"
    inputs = ("flops_min",)
    source = "Kaplan et al. (2020) eq. 1.3"
    about = (FINISHED, DEEP, AMPLE, BEST_FOR_C_MIN)

    def __call__(self, C_min: Values) -> Values:
        return power(self.C_c / C_min, self.alpha_C)


@dataclasses.dataclass(frozen=True)
class KaplanND(Law):
    """L(N, D) = [(N_c / N) ** (alpha_N / alpha_D) + D_c / D] ** alpha_D, D unique tokens, stopped early."""

    N_c: Scalar = constant("parameters", (1e7, 1e16))
    D_c: Scalar = constant("tokens", (1e8, 1e16))
    alpha_N: Scalar = exponent((0.05, 0.6))
    alpha_D: Scalar = exponent((0.05, 0.6))

    name = "kaplan-nd"
    inputs = ("params", "unique_tokens")
    target = "loss_min"
    fallback = "loss"
    source = "Kaplan et al. (2020) eq. 1.5"
    about = (FINISHED, STOPPED_EARLY)

    def __call__(self, N: Values, D: Values) -> Values:
        return power(power(self.N_c / N, self.alpha_N / self.alpha_D) + self.D_c / D, self.alpha_D)

    def excess(self, N: Values, D: Values) -> Values:
        """L(N, D) / L(N, infinity) - 1, eq. 4.3."""
        return power(1 + power(N / self.N_c, self.alpha_N / self.alpha_D) * self.D_c / D, self.alpha_D) - 1


@dataclasses.dataclass(frozen=True)
class KaplanExcess(Law):
    """L(N, D) / L(N, infinity) - 1 = (1 + K N ** (alpha_N / alpha_D) / D) ** alpha_D - 1.

    K = D_c / N_c ** (alpha_N / alpha_D): the excess alone cannot tell N_c and D_c apart.
    """

    K: Scalar = constant("tokens per parameter ** ratio", (1.0, 1e6))
    ratio: Scalar = exponent((0.4, 1.2))  # alpha_N / alpha_D
    alpha_D: Scalar = exponent((0.05, 0.6))

    name = "kaplan-excess"
    inputs = ("params", "unique_tokens")
    target = "excess"
    source = "Kaplan et al. (2020) eq. 4.3"
    about = (FINISHED, STOPPED_EARLY)

    def __call__(self, N: Values, D: Values) -> Values:
        return power(1 + self.K * power(N, self.ratio) / D, self.alpha_D) - 1


@dataclasses.dataclass(frozen=True)
class KaplanNS(Law):
    """L(N, S_min) = (N_c / N) ** alpha_N + (S_c / S_min) ** alpha_S, ample data.

    The printed S_c = 2.1e3 belongs to S counted at the critical batch, where S = 2 S_min; on an S_min axis it is half.
    """

    N_c: Scalar = constant("parameters", (1e7, 1e16))
    alpha_N: Scalar = exponent((0.03, 0.4))
    S_c: Scalar = constant("updates", (1e1, 1e6))
    alpha_S: Scalar = exponent((0.3, 1.2))

    name = "kaplan-ns"
    inputs = ("params", "steps_min")
    source = "Kaplan et al. (2020) eq. 1.6"
    about = (FINISHED, AMPLE, WARM)

    def __call__(self, N: Values, S_min: Values) -> Values:
        return power(self.N_c / N, self.alpha_N) + power(self.S_c / S_min, self.alpha_S)


@dataclasses.dataclass(frozen=True)
class KaplanBCrit(Law):
    """B_crit(L) = B_star / L ** (1 / alpha_B), tokens."""

    B_star: Scalar = constant("tokens", (1e5, 1e10))
    alpha_B: Scalar = exponent((0.1, 0.6))

    name = "kaplan-bcrit"
    inputs = ("loss",)
    target = "batch_crit"
    source = "Kaplan et al. (2020) eq. 1.4"

    def __call__(self, L: Values) -> Values:
        return self.B_star / power(L, 1 / self.alpha_B)


@dataclasses.dataclass(frozen=True)
class KaplanStop(Law):
    """S_stop = S_c / gap ** (1 / alpha_S), gap = L(N, D) - L(N, infinity): a lower bound of early stopping.

    Fit it with loss="asymmetric", which keeps the law below the runs; the paper takes both constants from L(N, S_min).
    """

    S_c: Scalar = constant("updates", (1e1, 1e6))
    alpha_S: Scalar = exponent((0.3, 1.2))

    name = "kaplan-stop"
    inputs = ("loss_gap",)
    target = "steps_stop"
    source = "Kaplan et al. (2020) eq. 5.7"
    about = (FINISHED, LOWEST)

    def __call__(self, gap: Values) -> Values:
        return self.S_c / power(gap, 1 / self.alpha_S)


@dataclasses.dataclass(frozen=True)
class KaplanPosition(Law):
    """L(T) = a + b T ** -c: the loss at token T of the context, T from 1."""

    a: Scalar = floor()
    b: Scalar = constant("nats/token", (0.5, 10.0))
    c: Scalar = exponent((0.1, 1.0))

    name = "kaplan-position"
    inputs = ("position",)
    source = "Kaplan et al. (2020) Fig. 20"
    about = (FINISHED, ONE_MODEL)
    linear = ("a", "b")

    def __call__(self, T: Values) -> Values:
        return self.a + self.b * power(T, -self.c)


@dataclasses.dataclass(frozen=True)
class KaplanLogN(Law):
    """L(N) = slope ln(N_c / N): the logarithm that a power law is held against."""

    slope: Scalar = constant("nats/token", (0.05, 1.0))
    N_c: Scalar = constant("parameters", (1e9, 1e16))

    name = "kaplan-log-n"
    inputs = ("params",)
    source = "Kaplan et al. (2020) Fig. 23"
    about = KaplanN.about

    def __call__(self, N: Values) -> Values:
        return self.slope * namespace(self.N_c, N).log(self.N_c / N)


# --- Henighan et al. (2020), arXiv 2010.14701: a power law with a floor


@dataclasses.dataclass(frozen=True)
class HenighanN(Law):
    """L(N) = L_inf + (N_0 / N) ** alpha."""

    L_inf: Scalar = floor()
    N_0: Scalar = constant("parameters", (1e1, 1e14))
    alpha: Scalar = exponent()

    name = "henighan-n"
    inputs = ("params",)
    source = "Henighan et al. (2020) eq. 1.1"
    about = KaplanN.about

    def __call__(self, N: Values) -> Values:
        return self.L_inf + power(self.N_0 / N, self.alpha)


@dataclasses.dataclass(frozen=True)
class HenighanD(Law):
    """L(D) = L_inf + (D_0 / D) ** alpha, D unique tokens, stopped early."""

    L_inf: Scalar = floor()
    D_0: Scalar = constant("tokens", (1e3, 1e15))
    alpha: Scalar = exponent()

    name = "henighan-d"
    inputs = ("unique_tokens",)
    target = "loss_min"
    fallback = "loss"
    source = "Henighan et al. (2020) eq. 1.1"
    about = KaplanD.about

    def __call__(self, D: Values) -> Values:
        return self.L_inf + power(self.D_0 / D, self.alpha)


@dataclasses.dataclass(frozen=True)
class HenighanC(Law):
    """L(C) = L_inf + (C_0 / C) ** alpha, the best model at each compute."""

    L_inf: Scalar = floor()
    C_0: Scalar = constant("FLOP", (1e10, 1e30))
    alpha: Scalar = exponent((0.02, 0.6))

    name = "henighan-c"
    inputs = ("flops",)
    source = "Henighan et al. (2020) eq. 1.1"
    about = KaplanC.about

    def __call__(self, C: Values) -> Values:
        return self.L_inf + power(self.C_0 / C, self.alpha)


# --- Hoffmann et al. (2022), arXiv 2203.15556, and what was built on it


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
    k: Scalar = constant("per nat", (1.0, 30.0))
    L_0: Scalar = constant("nats/token", (0.3, 5.0))

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


@dataclasses.dataclass(frozen=True)
class Clark(Law):
    """log10 L = a log10 N + b log10 E' + c log10 N log10 E' + d: N parameters used per token, E experts saturating.

    1 / E' = 1 / (E - 1 + 1 / (1 / E_start - 1 / E_max)) + 1 / E_max.
    """

    a: Scalar = constant("", (-0.2, 0.0), "number")
    b: Scalar = constant("", (-0.3, 0.0), "number")
    c: Scalar = constant("", (0.0, 0.03), "number")
    d: Scalar = constant("log10 nats/token", (0.5, 1.5), "number")
    E_start: Scalar = constant("experts", (1.2, 8.0))
    E_max: Scalar = constant("experts", (100.0, 1000.0))

    name = "clark"
    inputs = ("params", "experts")
    source = "Clark et al. (2022) eq. 1, with its saturating expert count; logarithms to base 10"
    about = (FINISHED, ONE_LENGTH)
    linear = ("a", "b", "c", "d")
    linear_in_log = True

    def experts(self, E: Values) -> Values:
        """The saturated expert count E'."""
        return 1 / (1 / (E - 1 + 1 / (1 / self.E_start - 1 / self.E_max)) + 1 / self.E_max)

    def __call__(self, N: Values, E: Values) -> Values:
        xp = namespace(self.a, self.b, self.c, self.d, self.E_start, self.E_max, N, E)
        x, e = xp.log10(N), xp.log10(self.experts(E))
        return xp.exp(math.log(10) * (self.a * x + self.b * e + self.c * x * e + self.d))


def lifetime_flops(N: Values, D_train: Values, D_inference: Values) -> Values:
    """FLOP to train a model and to serve it: 6 N D_train + 2 N D_inference, Sardana et al. (2024) eq. 3."""
    return 6 * N * D_train + 2 * N * D_inference


LAWS: tuple[type[Law], ...] = (
    KaplanN,
    KaplanD,
    KaplanC,
    KaplanCMin,
    KaplanND,
    KaplanExcess,
    KaplanNS,
    KaplanBCrit,
    KaplanStop,
    KaplanPosition,
    KaplanLogN,
    HenighanN,
    HenighanD,
    HenighanC,
    Chinchilla,
    Counted,
    Muennighoff,
    Gadre,
    GadreError,
    SigmoidAccuracy,
    Gemstones,
    Clark,
)


def law_by_name(name: str) -> type[Law]:
    """The law of that name, as `scaling fit` takes it."""
    for law in LAWS:
        if law.name == name:
            return law
    names = [law.name for law in LAWS]
    near = difflib.get_close_matches(name, names, n=1)
    meant = f" (did you mean {near[0]}?)" if near else ""
    raise InputError(f"no law is called {name!r}{meant}; there are {', '.join(names)}")
