"""The budgets: the main grid, which other papers share at the same budget, and one between two of them."""

import dataclasses

from configs import budget
from configs.grid import GRIDS, Grid, Rung
from scaling.rates import Text


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


def named(name: str, transfer: tuple[str, ...] = (), rates: Text = "python") -> Budget:
    """The budget of that name.

    Args:
        transfer: refused where there is some: no figure is about other texts.
        rates: the text whose learning rates the runs take.

    Raises:
        InputError: there is no such budget or text, or held-out text of other kinds was asked for.
    """
    return budget.of_one_text(BUDGETS, name, transfer, rates)
