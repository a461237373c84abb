"""What each budget affords."""

from configs.budget import of_one_text
from scaling.rates import Text
from tests.skeleton.experiments import Budget

BUDGETS = {"tiny": Budget("tiny", ((8, 2), (16, 2), (24, 2), (32, 2), (48, 2)), 2**18)}
DEFAULT = "tiny"


def named(budget: str, transfer: tuple[str, ...] = (), rates: Text = "python") -> Budget:
    """The budget of this name.

    Raises:
        InputError: there is none, or text of other kinds is given.
    """
    return of_one_text(BUDGETS, budget, transfer, rates)
