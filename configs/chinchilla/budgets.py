"""The budgets: a minute or an hour on two cores with the embedded Python sources, or a day with English."""

import dataclasses
from typing import ClassVar

from configs import grid
from configs.grid import Grid
from scaling.errors import InputError
from scaling.rates import Text

DEFAULT = "cpu-1h"


@dataclasses.dataclass(frozen=True)
class Cycle:
    """Cosines of several lengths at one size, each looked at after the same tokens: Figure A1."""

    k: int  # of configs.grid.size
    tokens: int  # of a run, a power of two
    seeds: int


@dataclasses.dataclass(frozen=True)
class Budget:
    """One budget.

    Attributes:
        rates: the text whose learning rates the runs take.
        accelerated, paper: of no budget here; the command asks.
    """

    name: str
    grid: Grid
    cycle: Cycle
    rates: Text = "python"
    accelerated: ClassVar[bool] = False
    paper: ClassVar[bool] = False


CYCLES = {"tiny": Cycle(3, 2**15, 1), "cpu-1h": Cycle(3, 2**19, 2), "cpu-24h": Cycle(4, 2**21, 3)}


def named(budget: str, transfer: tuple[str, ...] = (), rates: Text = "python") -> Budget:
    """The budget of that name.

    Args:
        rates: the text whose learning rates the runs take.

    Raises:
        InputError: there is none, or held-out text of other kinds was asked for, which this paper has no use for.
    """
    if transfer:
        raise InputError("--transfer: no figure of this paper measures other texts along a run; leave it out")
    return Budget(budget, grid.named(budget), CYCLES[budget], rates)
