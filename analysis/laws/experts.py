# ruff: noqa: RUF009  (`constant`, `exponent` and the like return dataclass fields)
"""Laws of models whose feed-forwards are routed to experts.

Each counts N as its paper does: used per token (`params`), or with all experts (`params_experts`).
"""

import dataclasses
import math

from analysis.laws.admission import DECAYED, FINISHED, ONE_LENGTH, ONE_PASS
from analysis.laws.law import Law, Scalar, Values, constant, exponent, floor, namespace, power


def saturating(E: Values, E_start: Scalar, E_max: Scalar) -> Values:
    """The expert count E' that does not act below E_start nor above E_max, Clark et al. (2022) eq. 1."""
    return 1 / (1 / (E - 1 + 1 / (1 / E_start - 1 / E_max)) + 1 / E_max)


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
        return saturating(E, self.E_start, self.E_max)

    def __call__(self, N: Values, E: Values) -> Values:
        xp = namespace(self.a, self.b, self.c, self.d, self.E_start, self.E_max, N, E)
        x, e = xp.log10(N), xp.log10(self.experts(E))
        return xp.exp(math.log(10) * (self.a * x + self.b * e + self.c * x * e + self.d))


@dataclasses.dataclass(frozen=True)
class Ludziejewski(Law):
    """L(N, D, E) = a E' ** delta N ** (alpha + gamma ln E') + b E' ** omega D ** (beta + zeta ln E') + c.

    N parameters used per token, E' the saturating count of E experts. Given E it is Chinchilla's law.
    """

    a: Scalar = constant("nats/token", (1.0, 1e3))
    alpha: Scalar = constant("", (-0.5, -0.05), "number")
    delta: Scalar = constant("", (-0.5, 0.0), "number")
    gamma: Scalar = constant("", (0.0, 0.03), "number")
    b: Scalar = constant("nats/token", (1.0, 1e3))
    beta: Scalar = constant("", (-0.5, -0.05), "number")
    omega: Scalar = constant("", (0.0, 1.0), "number")
    zeta: Scalar = constant("", (-0.05, 0.0), "number")
    c: Scalar = floor()
    E_start: Scalar = constant("experts", (1.2, 8.0))
    E_max: Scalar = constant("experts", (100.0, 1000.0))

    name = "ludziejewski"
    inputs = ("params", "tokens", "experts")
    source = "Ludziejewski et al. (2025), arXiv 2502.05172; natural logarithms"
    about = (FINISHED, ONE_PASS, DECAYED)
    linear = ("a", "b", "c")

    def of_experts(self, E: Values) -> tuple[Values, Values, Values, Values]:
        """m, mu, n, nu of m N ** mu + n D ** nu + c, the law for E experts."""
        count = saturating(E, self.E_start, self.E_max)
        ln = namespace(self.E_start, self.E_max, E).log(count)
        m, n = self.a * power(count, self.delta), self.b * power(count, self.omega)
        return m, self.alpha + self.gamma * ln, n, self.beta + self.zeta * ln

    def __call__(self, N: Values, D: Values, E: Values) -> Values:
        m, mu, n, nu = self.of_experts(E)
        return m * power(N, mu) + n * power(D, nu) + self.c


@dataclasses.dataclass(frozen=True)
class Krajewski(Law):
    """L(N, D, G) = c + (g / G ** gamma + a) / N ** alpha + b / D ** beta: experts cut G times as fine.

    N counts all experts, of a fixed number times the dense feed-forward.
    """

    c: Scalar = floor()
    g: Scalar = constant("nats/token", (0.1, 1e3))
    a: Scalar = constant("nats/token", (1.0, 1e4))
    b: Scalar = constant("nats/token", (1.0, 1e4))
    gamma: Scalar = exponent((0.1, 2.0))
    alpha: Scalar = exponent((0.05, 0.6))
    beta: Scalar = exponent((0.05, 0.6))

    name = "krajewski"
    inputs = ("params_experts", "tokens", "granularity")
    source = "Krajewski et al. (2024) eq. 9"
    about = (FINISHED, ONE_PASS, DECAYED)
    linear = ("c", "g", "a", "b")

    def __call__(self, N: Values, D: Values, G: Values) -> Values:
        grain = self.g * power(G, -self.gamma) + self.a
        return self.c + grain * power(N, -self.alpha) + self.b * power(D, -self.beta)


@dataclasses.dataclass(frozen=True)
class Abnar(Law):
    """L(N, D, s) = a / N ** alpha + b / D ** beta + c / s ** lambda_ + d / (s ** delta N ** gamma) + e.

    N counts all experts; s = K / E is the share of them that a token uses, 1 - S of the paper's sparsity S.
    """

    e: Scalar = floor()
    a: Scalar = constant("nats/token", (1.0, 1e6))
    b: Scalar = constant("nats/token", (1.0, 1e6))
    c: Scalar = constant("nats/token", (0.01, 3.0))
    d: Scalar = constant("nats/token", (0.1, 1e3))
    alpha: Scalar = exponent((0.1, 1.0))
    beta: Scalar = exponent((0.1, 1.0))
    lambda_: Scalar = constant("", (-0.5, 0.0), "number")
    delta: Scalar = exponent((0.05, 0.5))
    gamma: Scalar = exponent((0.05, 0.5))

    name = "abnar"
    inputs = ("params_experts", "tokens", "active_share")
    source = "Abnar et al. (2025), arXiv 2501.12370"
    about = (FINISHED, ONE_PASS, DECAYED)
    linear = ("e", "a", "b", "c", "d")

    def __call__(self, N: Values, D: Values, s: Values) -> Values:
        size = self.a * power(N, -self.alpha) + self.d * power(s, -self.delta) * power(N, -self.gamma)
        return size + self.b * power(D, -self.beta) + self.c * power(s, -self.lambda_) + self.e
