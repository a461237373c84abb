"""The budgets: which sizes, numbers of experts and lengths each affords."""

import dataclasses
import functools

from configs import budget
from configs.grid import GRIDS, Grid


@dataclasses.dataclass(frozen=True)
class Budget(budget.Budget):
    """One budget.

    Attributes:
        grid: whose sizes, batch and examples all runs have; its runs of one expert are those of the main grid.
        sizes: numbers of the grid's sizes.
        experts: of every layer; 1 is the dense model.
        longest: log2 of the tokens of the longest runs.
        lengths: so many, each half of the next.
        seeds: of every run of the smallest and of the largest size; the others have one.
        compared: number of the size that is routed in every way, with the most experts but one.
        capacity: slots of an expert of a hash, and of top-k, over what it needs on average. At 1.5 one token in 10,000
            of a batch of 1,024 finds none with 16 experts of a hash, and none with fewer.
    """

    grid: Grid = GRIDS["cpu-1h"]
    sizes: tuple[int, ...] = (2, 3, 4, 5)
    experts: tuple[int, ...] = (1, 2, 4, 8, 16)
    longest: int = 21
    lengths: int = 3
    seeds: int = 2
    compared: int = 4
    capacity: float = 1.5


# For tests: a minute or two, and nothing can be decided.
TINY = Budget(
    "tiny", grid=GRIDS["tiny"], sizes=(2, 3, 4), experts=(1, 2, 4), longest=18, lengths=2, seeds=1, compared=3
)

CPU_1H = Budget("cpu-1h")

# A size more, twice as long.
CPU_3H = dataclasses.replace(CPU_1H, name="cpu-3h", sizes=(2, 3, 4, 5, 6), longest=22)

BUDGETS = {one.name: one for one in (TINY, CPU_1H, CPU_3H)}
DEFAULT = "cpu-1h"

named = functools.partial(budget.of_one_text, BUDGETS)
