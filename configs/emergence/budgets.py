"""The budgets: which sizes, seeds and lengths each affords, and how many questions are asked."""

import dataclasses
import functools

from configs import budget


@dataclasses.dataclass(frozen=True)
class Budget(budget.Budget):
    """One budget.

    Attributes:
        widths: d_model of the models, two layers each: N = 24 d_model^2.
        seeds: of every size on sums.
        examples: questions that the longest runs see, each once.
        lengths: so many, each half of the next, branches of one trunk.
        questions: that are asked of every model, none of them trained on.
        others: seeds of the other tasks; 0 leaves them out.
        mixed: tokens of runs on text with a task in it; 0 leaves them out.
        shares: of the tokens of these that are the task's.
        mixed_widths: of their models.
    """

    source: str = "python"
    widths: tuple[int, ...] = (4, 6, 8, 12, 16, 24, 32)
    seeds: int = 8
    examples: int = 180_000
    lengths: int = 2
    questions: int = 20_000
    others: int = 1
    mixed: int = 2**20
    shares: tuple[float, ...] = (0.01, 0.03, 0.1)
    mixed_widths: tuple[int, ...] = (8, 16, 32)


# For tests: nothing can be decided.
TINY = Budget(
    "tiny", widths=(4, 8), seeds=2, examples=16_384, lengths=2, questions=500, mixed=2**15, shares=(0.1,),
    mixed_widths=(8,),
)  # fmt: skip

CPU_1H = Budget("cpu-1h")

CPU_3H = dataclasses.replace(
    CPU_1H, name="cpu-3h", widths=(*CPU_1H.widths, 48), seeds=12, examples=360_000, lengths=3, others=4, mixed=2**22
)

BUDGETS = {one.name: one for one in (TINY, CPU_1H, CPU_3H)}
DEFAULT = "cpu-1h"

named = functools.partial(budget.of_one_text, BUDGETS)
