"""The budgets: which sizes, numbers of pairs and seeds each affords, and how many texts are scored."""

import dataclasses
import functools

from configs import budget


@dataclasses.dataclass(frozen=True)
class Budget(budget.Budget):
    """One budget.

    Attributes:
        widths: d_model of the reward models, two layers each: N = 24 d_model^2.
        pairs: that the longest runs see, each once.
        lengths: so many, each a quarter of the next.
        seeds: of every size.
        scored: pairs whose texts are scored in the end, twice as many samples of the policy: by the longest runs of
            every size, and by all of the largest one.
        control: widths of the runs on a gold reward without a tail; none leaves them out.
        repeated: widths of the runs of four epochs; none leaves them out.
        soft: whether there are runs on labels that are drawn.
    """

    widths: tuple[int, ...] = (4, 6, 8, 12, 16, 24, 32, 48)
    pairs: int = 2**16
    lengths: int = 4
    seeds: int = 2
    scored: int = 2**14
    control: tuple[int, ...] = (4, 8, 32)
    repeated: tuple[int, ...] = (8, 16, 32)
    soft: bool = True


# For tests: nothing can be decided.
TINY = Budget(
    "tiny", widths=(4, 8), pairs=2**12, lengths=2, seeds=1, scored=2**11, control=(4,), repeated=(4,), soft=True
)

CPU_1H = Budget("cpu-1h")

CPU_3H = dataclasses.replace(
    CPU_1H,
    name="cpu-3h",
    widths=(*CPU_1H.widths, 64),
    pairs=2**18,
    lengths=5,
    seeds=3,
    scored=2**15,
    control=(4, 8, 16, 32),
)

BUDGETS = {one.name: one for one in (TINY, CPU_1H, CPU_3H)}
DEFAULT = "cpu-1h"

named = functools.partial(budget.of_one_text, BUDGETS)
