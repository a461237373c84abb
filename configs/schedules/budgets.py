"""The budgets: one size and length for all schedules, seeds, and the sizes whose curves may collapse."""

import dataclasses
import functools

from configs import budget
from configs.chinchilla import budgets as chinchilla
from configs.chinchilla.budgets import Cycle
from configs.grid import GRIDS


@dataclasses.dataclass(frozen=True)
class Budget(chinchilla.Budget):
    """One budget: `cycle` is the size, the length and the seeds of all schedules.

    Attributes:
        slow: seeds of cosines at a rate that is too small.
        sizes: numbers of the grid's sizes whose curves are held against one another.
        shortest: log2 of the tokens of the smallest of them; twice as many for each doubling of N.
    """

    slow: int
    sizes: tuple[int, ...]
    shortest: int


BUDGETS = {
    one.name: one
    for one in (
        # For tests.
        Budget("tiny", GRIDS["tiny"], Cycle(3, 2**15, 2), slow=1, sizes=(2, 3, 4), shortest=17),
        # An hour of one core of English; with cpu-6h the cosines and the sizes are those of chinchilla at cpu-24h.
        Budget("cpu-1h", GRIDS["cpu-24h"], Cycle(4, 2**21, 3), slow=1, sizes=(4, 5, 6), shortest=20),
        Budget("cpu-6h", GRIDS["cpu-24h"], Cycle(4, 2**21, 3), slow=3, sizes=(4, 5, 6, 7, 8), shortest=20),
        Budget(
            "gpu-1h",
            GRIDS["gpu-1h"],
            Cycle(6, 2**23, 3),
            slow=3,
            sizes=(4, 5, 6, 7, 8, 9),
            shortest=20,
            accelerated=True,
        ),
    )
}
DEFAULT = "cpu-1h"

named = functools.partial(budget.of_one_text, BUDGETS)
