"""The budgets: how many qualities, lengths, slivers and sizes each affords."""

import dataclasses
import functools

from configs import budget


@dataclasses.dataclass(frozen=True)
class Budget(budget.Budget):
    """One budget. Sizes are those of configs/grid.py, by their number.

    Attributes:
        size: of the corrupted runs.
        qualities: share of the documents that are left as they are.
        longest: log2 of the tokens of the longest runs.
        lengths: so many, each half of the next.
        seeds: of every corrupted run, and of every size.
        sizes: of which the loss is measured on the text as it is, so that a loss can be read as a size.
        repeated: of the runs with a sliver.
        shares: of the tokens that are the sliver's.
        slivers: log2 of its tokens.
        whole: times that all of the text is read, in comparison.
        copied: share of the documents that are planted near-copies' originals, and how many there are of each.
        pool: log2 of the tokens that a filter chooses from.
        keeps: shares of them that filters keep.
        bad: share of the documents that are corrupted before.
        twice: seeds of the runs with near-copies and filters.
    """

    source: str = "python"
    size: int = 4
    qualities: tuple[float, ...] = (1.0, 0.9, 0.8, 0.75, 0.7, 0.6, 0.5)  # of Subramanyam et al. (2025)
    longest: int = 22
    lengths: int = 3
    seeds: int = 3
    sizes: tuple[int, ...] = (0, 1, 2, 3, 4, 5)
    repeated: int = 4
    shares: tuple[float, ...] = (0.1, 0.5)  # of Hernandez et al. (2022): 0.03 to 0.9
    slivers: tuple[int, ...] = (11, 13, 15, 17)
    whole: tuple[int, ...] = (4, 16, 64)
    copied: tuple[float, int] = (0.001, 1000)
    pool: int = 20
    keeps: tuple[float, ...] = (0.1, 0.25, 0.5, 1.0)  # of Goyal et al. (2024): 0.1 to 0.4
    bad: float = 0.5
    twice: int = 2
    windows: int = 512


# For tests: a minute, and nothing can be decided.
TINY = Budget(
    "tiny", size=2, qualities=(1.0, 0.75, 0.5), longest=17, lengths=2, seeds=2, sizes=(1, 2, 3), repeated=2,
    slivers=(11, 13), whole=(4,), copied=(0.02, 5), pool=16, keeps=(0.25, 0.5, 1.0), windows=128,
)  # fmt: skip

CPU_1H = Budget("cpu-1h")

# Longer runs, so that a sliver is read as often as in the paper.
CPU_3H = dataclasses.replace(
    CPU_1H, name="cpu-3h", longest=23, lengths=4, slivers=(10, 12, 14, 16, 18), twice=3, windows=1024
)

BUDGETS = {one.name: one for one in (TINY, CPU_1H, CPU_3H)}
DEFAULT = "cpu-1h"

named = functools.partial(budget.of_one_text, BUDGETS)
