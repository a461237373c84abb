"""What each budget affords."""

from scaling.errors import InputError
from tests.skeleton.experiments import Budget

BUDGETS = {"tiny": Budget("tiny", ((8, 2), (16, 2), (24, 2), (32, 2), (48, 2)), 2**20)}


def named(budget: str) -> Budget:
    """The budget of this name.

    Raises:
        InputError: there is none.
    """
    if budget not in BUDGETS:
        raise InputError(f"budget={budget}: wanted one of {', '.join(BUDGETS)}")
    return BUDGETS[budget]
