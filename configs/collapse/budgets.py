"""The budgets: how long a generation is, and how many chains of generations each affords."""

import dataclasses
import functools

from configs import budget


@dataclasses.dataclass(frozen=True)
class Budget(budget.Budget):
    """One budget. The size is one of configs/grid.py, by its number.

    Attributes:
        size: of every model.
        tokens: of the first generation, and of every one that does not accumulate.
        generations: the first is trained on real text.
        temperatures: at which models write.
        chains: of generations, each begun with a seed of its own.
        parts: of the held-out tokens, from the commonest to the rarest, whose losses are measured apart.
    """

    source: str = "python"
    size: int = 4
    tokens: int = 2**19
    generations: int = 5
    temperatures: tuple[float, ...] = (1.0, 0.8)
    chains: int = 2
    parts: int = 10
    windows: int = 512


# For tests: minutes, as each generation waits for the one before, and nothing can be decided.
TINY = Budget("tiny", size=1, tokens=2**16, generations=3, temperatures=(1.0,), chains=1, parts=4, windows=64)

CPU_1H = Budget("cpu-1h")

CPU_3H = dataclasses.replace(CPU_1H, name="cpu-3h", tokens=2**20, chains=3, windows=1024)

BUDGETS = {one.name: one for one in (TINY, CPU_1H, CPU_3H)}
DEFAULT = "cpu-1h"

named = functools.partial(budget.of_one_text, BUDGETS)
