# ruff: noqa: RUF009  (`constant`, `exponent` and the like return dataclass fields)
"""Other surfaces L(N, D): a family that holds Chinchilla's and Kaplan's, and forms with bends of their own."""

import dataclasses

from analysis.laws.admission import DECAYED, FINISHED, ONE_PASS
from analysis.laws.law import Law, Scalar, Values, constant, exponent, floor, namespace, power


@dataclasses.dataclass(frozen=True)
class QNorm(Law):
    """L(N, D) = E + [(A / N ** alpha) ** (1 / q) + (B / D ** beta) ** (1 / q)] ** q.

    How what N lacks and what D lacks add up: q = 1 is Chinchilla's sum, q near 0 the larger of the two, and E = 0 with
    q = beta the form of Kaplan et al. (2020) eq. 1.5.
    """

    E: Scalar = floor()
    A: Scalar = constant("nats/token", (0.5, 1e5))
    B: Scalar = constant("nats/token", (0.5, 1e5))
    alpha: Scalar = exponent((0.1, 1.0))
    beta: Scalar = exponent((0.1, 1.0))
    q: Scalar = constant("", (0.1, 2.0))

    name = "q-norm"
    inputs = ("params", "tokens")
    source = "this project's, of Kaplan et al. (2020) eq. 1.5 and Hoffmann et al. (2022) eq. 2"
    about = (FINISHED, ONE_PASS, DECAYED)
    linear = ("E",)
    holds = ("chinchilla", "kaplan-one-pass")

    def __call__(self, N: Values, D: Values) -> Values:
        xp = namespace(self.E, self.A, self.B, self.alpha, self.beta, self.q, N, D)
        of_N = (xp.log(self.A) - self.alpha * xp.log(N)) / self.q
        of_D = (xp.log(self.B) - self.beta * xp.log(D)) / self.q
        return self.E + xp.exp(self.q * xp.logaddexp(of_N, of_D))


@dataclasses.dataclass(frozen=True)
class Rosenfeld(Law):
    """L(N, D) = T / (1 + (T / L_0) ** 2) ** 0.5, T = E + A / N ** alpha + B / D ** beta: L_0 knows nothing.

    The paper has L_0 |t / (t - i eta)| with a coefficient of 1 before N ** -alpha: A, B and E here are its 1, b and
    c_inf times L_0 / eta, so that Chinchilla's law is the limit of a large L_0 with the constants that it has. With
    endless N and D a loss of E / (1 + (E / L_0) ** 2) ** 0.5 is left.
    """

    L_0: Scalar = constant("nats/token", (2.0, 12.0))
    A: Scalar = constant("nats/token", (1.0, 1e6))
    B: Scalar = constant("nats/token", (1.0, 1e6))
    E: Scalar = floor()
    alpha: Scalar = exponent((0.1, 1.2))
    beta: Scalar = exponent((0.1, 1.2))

    name = "rosenfeld"
    inputs = ("params", "tokens")
    source = "Rosenfeld et al. (2019) eq. 5"
    about = (FINISHED,)

    def __call__(self, N: Values, D: Values) -> Values:
        T = self.E + self.A * power(N, -self.alpha) + self.B * power(D, -self.beta)
        return T / (1 + (T / self.L_0) ** 2) ** 0.5


@dataclasses.dataclass(frozen=True)
class Farseer(Law):
    """L(N, D) = exp(s N ** q + S) + exp(B N ** b + Q) D ** -exp(A N ** a + E): the law in D changes with N."""

    s: Scalar = constant("", (-0.3, -0.01), "number")
    q: Scalar = exponent((0.05, 0.3))
    S: Scalar = constant("ln nats/token", (-0.5, 1.5), "number")
    B: Scalar = constant("", (20.0, 1000.0))
    b: Scalar = constant("", (-0.3, -0.05), "number")
    Q: Scalar = constant("ln nats/token", (-8.0, 2.0), "number")
    A: Scalar = constant("", (-3.0, -0.2), "number")
    a: Scalar = exponent((0.02, 0.15))
    E: Scalar = constant("", (0.0, 4.0), "number")

    name = "farseer"
    inputs = ("params", "tokens")
    source = "Li et al. (2025), Farseer, arXiv 2506.10972"
    about = (FINISHED, ONE_PASS, DECAYED)

    def __call__(self, N: Values, D: Values) -> Values:
        xp = namespace(self.s, self.q, self.S, self.B, self.b, self.Q, self.A, self.a, self.E, N, D)
        exponent_of_D = xp.exp(self.A * power(N, self.a) + self.E)
        return xp.exp(self.s * power(N, self.q) + self.S) + xp.exp(
            self.B * power(N, self.b) + self.Q - exponent_of_D * xp.log(D)
        )
