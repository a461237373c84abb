"""The budgets: how many mixtures of which size and length each affords."""

import dataclasses
import functools

from configs import budget

# Without a download: source code and two generated languages.
EMBEDDED = "mix:0.4*python+0.3*synthetic:order=2,symbols=64+0.3*synthetic:order=1,symbols=32,zipf=0.8"


@dataclasses.dataclass(frozen=True)
class Budget(budget.Budget):
    """One budget. Sizes are those of configs/grid.py, by their number.

    Attributes:
        source: a mixture; its parts are the texts, its shares one of the mixtures.
        size, tokens: of the models, and log2 of the tokens of each.
        mixtures: that are trained at this size, the last `held` of them for predictions alone.
        large: the size at which those are trained again.
        scarce: parts, the last ones, of which there is little text where parts repeat.
        repeats: how often each of them is read there at equal shares.
        seeds: of a proposal for all texts, and of what it is held against.
    """

    source: str = EMBEDDED
    size: int = 4
    tokens: int = 20
    mixtures: int = 36
    held: int = 12
    large: int = 6
    scarce: int = 2
    repeats: int = 8
    seeds: int = 2
    windows: int = 256


# For tests: nothing can be decided.
TINY = Budget("tiny", size=1, tokens=16, mixtures=12, held=4, large=2, scarce=1, seeds=1, windows=64)
CPU_1H = Budget("cpu-1h")
CPU_3H = Budget("cpu-3h", size=6, tokens=21, mixtures=60, large=8, windows=512)

BUDGETS = {one.name: one for one in (TINY, CPU_1H, CPU_3H)}
DEFAULT = "cpu-1h"

named = functools.partial(budget.of_one_text, BUDGETS)
