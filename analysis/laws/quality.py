# ruff: noqa: RUF009  (`constant`, `exponent` and the like return dataclass fields)
"""What the quality of data is worth."""

import dataclasses

from analysis.laws.admission import DECAYED, FINISHED, ONE_MODEL, ONE_PASS
from analysis.laws.law import Law, Scalar, Values, constant, exponent, floor, power


@dataclasses.dataclass(frozen=True)
class Subramanyam(Law):
    """L(D, Q) = E + B / (D ** beta Q ** gamma), at one size of model.

    Q is the share of the examples that are as they should be. D tokens of quality Q are worth D Q ** (gamma / beta)
    that are: with gamma = beta the others are worth nothing, with a smaller gamma something.
    """

    E: Scalar = floor()
    B: Scalar = constant("nats/token", (1.0, 1e6))
    beta: Scalar = exponent((0.1, 1.0))
    gamma: Scalar = exponent((0.02, 1.0))

    name = "subramanyam"
    inputs = ("tokens", "quality")
    source = "Subramanyam et al. (2025), arXiv 2510.03313, whose A / N ** alpha is part of E at one size"
    about = (FINISHED, ONE_MODEL, ONE_PASS, DECAYED)
    linear = ("E",)

    def __call__(self, D: Values, Q: Values) -> Values:
        return self.E + self.B * power(D, -self.beta) * power(Q, -self.gamma)

    @property
    def worth(self) -> Scalar:
        """gamma / beta: the exponent of Q in the tokens that data of quality Q are worth."""
        return self.gamma / self.beta
