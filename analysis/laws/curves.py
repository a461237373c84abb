# ruff: noqa: RUF009  (`constant`, `exponent` and the like return dataclass fields)
"""Curves L(D) that bend: towards a floor, from the loss of a model that knows nothing, or at breaks."""

import dataclasses
import functools

from analysis.laws.admission import FINISHED, ONE_MODEL
from analysis.laws.law import Law, Scalar, Values, constant, exponent, floor, held, namespace, power

STEPS = 8  # of Newton's method: from its start it nears the root from one side


@dataclasses.dataclass(frozen=True)
class M3(Law):
    """L(D) = b (1 / D + g) ** c: a power law that ends where D is 1 / g."""

    b: Scalar = constant("nats/token", (1.0, 1e5))
    g: Scalar = constant("per token", (1e-13, 1e-3))
    c: Scalar = exponent((0.05, 1.0))

    name = "m3"
    inputs = ("tokens",)
    source = "Alabdulmohsin et al. (2022) M3"
    about = (FINISHED, ONE_MODEL)
    linear = ("b",)

    def __call__(self, D: Values) -> Values:
        return self.b * power(1 / D + self.g, self.c)


@dataclasses.dataclass(frozen=True)
class M4(Law):
    """(L - e_inf) / (e_0 - L) ** a = b D ** -c: from e_0, the loss of a model that knows nothing, to the floor e_inf.

    It gives D for a loss; the loss for a D is found by Newton's method.
    """

    e_inf: Scalar = floor()
    e_0: Scalar = constant("nats/token", (1.0, 12.0))
    a: Scalar = constant("", (0.05, 5.0))
    b: Scalar = constant("", (1e-1, 1e5))
    c: Scalar = exponent((0.05, 1.0))

    name = "m4"
    inputs = ("tokens",)
    source = "Alabdulmohsin et al. (2022) M4"
    about = (FINISHED, ONE_MODEL)
    holds = ("bnsl-0",)

    def __call__(self, D: Values) -> Values:
        # In u, the logit of the way from e_inf to e_0, the equation is f(u) = ln of the right-hand side, where
        # f(u) = u + (a - 1) ln(1 + e ** u) rises with a slope between 1 and a and bends one way only.
        xp = namespace(self.e_inf, self.e_0, self.a, self.b, self.c, D)
        right = xp.log(self.b) - self.c * xp.log(D) + (self.a - 1) * xp.log(self.e_0 - self.e_inf)

        def newton(u: Values) -> Values:
            share = xp.exp(-xp.logaddexp(0.0, -u))
            return u - (u + (self.a - 1) * xp.logaddexp(u, 0.0) - right) / (1 + (self.a - 1) * share)

        u = xp.where(self.a < 1, xp.maximum(right, right / self.a), xp.minimum(right, right / self.a))
        u = held(u)
        for _ in range(STEPS):
            u = held(newton(u))
        u = newton(u)  # the only step with slopes: those of the root
        return self.e_inf + (self.e_0 - self.e_inf) * xp.exp(-xp.logaddexp(0.0, -u))


@functools.cache
def broken(breaks: int) -> type[Law]:
    """The law with so many breaks: constants a, b, c_0, and d_i, f_i, c_i of break i from 1.

    Without a break it is a power law with a floor. Breaks have no order of their own.
    """
    fields = [("a", Scalar, floor()), ("b", Scalar, constant("nats/token", (1.0, 1e5)))]
    fields.append(("c_0", Scalar, constant("", (0.0, 0.6), "number") if breaks else exponent()))
    for i in range(1, breaks + 1):
        fields += [
            (f"d_{i}", Scalar, constant("tokens", (1e3, 1e14), within="tokens")),
            (f"f_{i}", Scalar, constant("", (0.05, 1.0))),
            (f"c_{i}", Scalar, constant("", (-0.4, 0.6), "number")),
        ]

    def value(law, D: Values) -> Values:
        constants = [getattr(law, name) for name, *_ in fields]
        xp = namespace(*constants, D)
        x = xp.log(D)
        log = xp.log(law.b) - law.c_0 * x
        for d, f, c in zip(constants[3::3], constants[4::3], constants[5::3], strict=True):
            log = log - c * f * xp.logaddexp(0.0, (x - xp.log(d)) / f)
        return law.a + xp.exp(log)

    formula = "L(D) = a + b D ** -c_0: a power law with a floor, no break."
    if breaks:
        number = "one break" if breaks == 1 else f"{breaks} breaks"
        formula = (
            f"L(D) = a + b D ** -c_0 prod_i (1 + (D / d_i) ** (1 / f_i)) ** (-c_i f_i): {number}; the slope passes "
            "from -c_0 to -(c_0 + c_1) at d_1, and so on."
        )
    return dataclasses.make_dataclass(
        f"Broken{breaks}",
        fields,
        bases=(Law,),
        namespace={
            "__doc__": formula,
            "name": f"bnsl-{breaks}",
            "inputs": ("tokens",),
            "source": "Caballero et al. (2022), arXiv 2210.14891, eq. 1",
            "about": (FINISHED, ONE_MODEL),
            "linear": ("a", "b"),
            "holds": tuple(f"bnsl-{fewer}" for fewer in range(breaks)),
            "__call__": value,
        },
        frozen=True,
    )
