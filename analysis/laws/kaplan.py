# ruff: noqa: RUF009  (`constant`, `exponent` and the like return dataclass fields)
"""The laws of Kaplan et al. (2020), arXiv 2001.08361, and of Henighan et al. (2020), arXiv 2010.14701."""

import dataclasses

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
    ONE_MODEL,
    ONE_PASS,
    STOPPED_EARLY,
    WARM,
)
from analysis.laws.law import Law, Scalar, Values, constant, exponent, floor, namespace, power

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
class KaplanOnePass(KaplanND):
    """L(N, D) = [(N_c / N) ** (alpha_N / alpha_D) + D_c / D] ** alpha_D, D tokens processed, at most once.

    The form of eq. 1.5 on the runs that Chinchilla's law is about, so that the two can be held against each other.
    """

    name = "kaplan-one-pass"
    inputs = ("params", "tokens")
    target = "loss"
    fallback = ""
    source = "the form of Kaplan et al. (2020) eq. 1.5, on tokens processed"
    about = (FINISHED, ONE_PASS, DECAYED)


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
