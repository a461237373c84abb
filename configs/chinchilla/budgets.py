"""The budgets: a minute or an hour on two cores with the embedded Python sources, a day with English, accelerators."""

import dataclasses
import functools

from configs import budget
from configs.grid import GRIDS, Grid


@dataclasses.dataclass(frozen=True)
class Cycle:
    """Cosines of several lengths at one size, each looked at after the same tokens: Figure A1."""

    k: int  # of the grid's sizes
    tokens: int  # of a run, a power of two
    seeds: int


@dataclasses.dataclass(frozen=True)
class Budget(budget.Budget):
    """One budget: the main grid, and the cosines beside it."""

    grid: Grid
    cycle: Cycle


CYCLES = {
    "tiny": Cycle(3, 2**15, 1),
    "cpu-1h": Cycle(3, 2**19, 2),
    "cpu-24h": Cycle(4, 2**21, 3),
    "gpu-1h": Cycle(6, 2**23, 3),
    "pod": Cycle(7, 2**34, 1),
}
ACCELERATED = ("gpu-1h", "pod")
BUDGETS = {
    name: Budget(name, grid=own, cycle=CYCLES[name], accelerated=name in ACCELERATED, paper=bool(own.shapes))
    for name, own in GRIDS.items()
}
DEFAULT = "cpu-1h"

named = functools.partial(budget.of_one_text, BUDGETS)
