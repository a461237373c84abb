# ruff: noqa: RUF009  (`constant` returns a dataclass field)
"""How far a proxy of a reward can be optimised: the gold reward over the distance from the policy that one began with.

The distance is the square root of KL(policy || first policy), in nats; the gold reward counts from its mean over the
first policy, in its standard deviations there.
"""

import dataclasses

from analysis.laws.admission import FINISHED
from analysis.laws.law import Law, Scalar, Values, constant, namespace


@dataclasses.dataclass(frozen=True)
class BestOfN(Law):
    """R(d) = d (alpha - beta d): of the best of n texts by a proxy, d ** 2 = ln n - (n - 1) / n."""

    alpha: Scalar = constant("per sqrt(nat)", (0.2, 2.0), "number")
    beta: Scalar = constant("per nat", (0.0, 0.3), "number")

    name = "best-of-n"
    inputs = ("distance",)
    target = "gold"
    logarithmic = False  # the best by a proxy may be worse than the mean of the policy
    source = "Gao, Schulman and Hilton (2022), arXiv 2210.10760, section 3.1"
    about = (FINISHED,)
    linear = ("alpha", "beta")

    def __call__(self, d: Values) -> Values:
        return d * (self.alpha - self.beta * d)

    @property
    def peak(self) -> Scalar:
        """The distance at which the gold reward is highest, alpha / (2 beta); beyond twice that it is below 0."""
        return self.alpha / (2 * self.beta)

    @property
    def height(self) -> Scalar:
        """The gold reward there, alpha^2 / (4 beta)."""
        return self.alpha**2 / (4 * self.beta)


@dataclasses.dataclass(frozen=True)
class Reinforced(Law):
    """R(d) = d (alpha - beta ln d): of a policy that reinforcement learning has moved by a distance d."""

    alpha: Scalar = constant("per sqrt(nat)", (0.2, 2.0), "number")
    beta: Scalar = constant("per sqrt(nat)", (0.0, 0.3), "number")

    name = "reinforced"
    inputs = ("distance",)
    target = "gold"
    logarithmic = False  # the best by a proxy may be worse than the mean of the policy
    source = "Gao, Schulman and Hilton (2022), arXiv 2210.10760, section 3.1"
    about = (FINISHED,)
    linear = ("alpha", "beta")

    def __call__(self, d: Values) -> Values:
        return d * (self.alpha - self.beta * namespace(self.alpha, self.beta, d).log(d))

    @property
    def peak(self) -> Scalar:
        """The distance at which the gold reward is highest, exp(alpha / beta - 1)."""
        return namespace(self.alpha, self.beta).exp(self.alpha / self.beta - 1)
