"""The budgets: the main grid, which other papers share at the same budget, and one between two of them."""

import dataclasses
import functools

from configs import budget
from configs.grid import GRIDS, Grid, Rung


@dataclasses.dataclass(frozen=True)
class Budget(budget.Budget):
    """One budget: a grid of sizes and lengths."""

    grid: Grid


# Of the grid of a day the sizes up to 3.9e5 parameters, one seed of most: its runs are runs of that grid.
HOURS = dataclasses.replace(GRIDS["cpu-24h"], rungs=tuple(Rung(k, 25, 3 if k in (3, 4, 5) else 1) for k in range(9)))

BUDGETS = {
    name: Budget(name, grid=grid, accelerated=name == "gpu-1h")
    for name, grid in {
        "tiny": GRIDS["tiny"],
        "cpu-1h": GRIDS["cpu-1h"],
        "cpu-6h": HOURS,
        "cpu-24h": GRIDS["cpu-24h"],
        "gpu-1h": GRIDS["gpu-1h"],
    }.items()
}
DEFAULT = "cpu-1h"

named = functools.partial(budget.of_one_text, BUDGETS)
