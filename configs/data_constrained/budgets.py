"""The budgets: sizes, unique tokens and epochs, which of them are trained again with dropout and weight decay, and
which with code in place of repeats."""

import dataclasses
import functools

from configs import budget
from configs.kaplan import budgets as kaplan
from configs.kaplan import terms

Sizes = tuple[tuple[int, int], ...]  # k of the grid, and log2 of the tokens beyond which data are not repeated


@dataclasses.dataclass(frozen=True)
class Arm:
    """How runs are kept from learning by heart."""

    weight_decay: float
    dropout: float


PLAIN = Arm(0.0, 0.0)
# Weight decay of the two sides of Lovelace et al. (2026), each with and without the dropout of Muennighoff et al.
ARMS = (Arm(0.1, 0.0), Arm(1.0, 0.0), Arm(0.1, 0.1), Arm(1.0, 0.1))
# Epochs of the text alone that a run with code is as long as, and the share of the code; the text is read once, or
# twice or four times where it has the other half.
FILLS = ((2, 0.5), (4, 0.5), (4, 0.75), (8, 0.5), (8, 0.75), (8, 0.875))


@dataclasses.dataclass(frozen=True)
class Filled:
    """Runs in which code takes the place of repeats, as long as runs of `repeats` on the same unique tokens.

    Attributes:
        k: of the grid's sizes.
        unique: log2 of the tokens of text.
    """

    k: int
    unique: int
    seeds: int = 1


@dataclasses.dataclass(frozen=True)
class Budget(budget.Budget):
    """One budget: the grid, warm-up and evaluations of a budget of Kaplan's, whose runs of repeated data it shares.

    Attributes:
        sizes, unique: of the trunks without dropout and weight decay; `unique` is log2 of the tokens.
        fresh: log2 of the tokens from which those runs draw that repeat none.
        grid: k of the main grid's sizes that are used, up to as many tokens; most have been trained for other papers.
        shared: k of Kaplan's runs with dropout.
        held: the trunks of each arm.
        held_unique: their unique tokens, log2.
        filled: each of them trained for all FILLS.
    """

    like: terms.Budget
    sizes: Sizes
    unique: tuple[int, ...]
    fresh: int
    grid: tuple[int, ...]
    epochs: int
    shared: tuple[int, ...]
    held: Sizes
    held_unique: tuple[int, ...]
    filled: tuple[Filled, ...] = ()
    source: str = dataclasses.field(default="python", kw_only=True)


BUDGETS = {
    "tiny": Budget(
        "tiny",
        like=kaplan.TINY,
        sizes=((2, 14), (4, 13)),
        unique=(11,),
        fresh=14,
        grid=(),
        epochs=4,
        shared=(2,),
        held=((4, 13),),
        held_unique=(11,),
        filled=(Filled(2, 11, seeds=2),),
    ),
    "cpu-1h": Budget(
        "cpu-1h",
        like=kaplan.CPU_24H,
        sizes=((2, 21), (4, 22), (5, 19), (6, 19)),
        unique=(14, 16, 18),
        fresh=22,
        grid=(2, 3, 4, 5, 6, 7),
        epochs=64,
        shared=(2, 4),
        held=((4, 20),),
        held_unique=(14,),
        filled=(Filled(4, 16, seeds=2), Filled(4, 18, seeds=2), Filled(6, 16)),
    ),
    "cpu-6h": Budget(
        "cpu-6h",
        like=kaplan.CPU_24H,
        sizes=((2, 24), (4, 24), (6, 23), (8, 22)),
        unique=(14, 16, 18, 20),
        fresh=24,
        grid=(2, 3, 4, 5, 6, 7, 8),
        epochs=64,
        shared=(2, 4),
        held=((4, 22), (6, 22), (8, 20)),
        held_unique=(14, 16, 18),
        filled=(Filled(4, 16, seeds=2), Filled(4, 18, seeds=2), Filled(6, 16), Filled(6, 18)),
    ),
    "gpu-1h": Budget(
        "gpu-1h",
        like=kaplan.GPU_1H,
        sizes=((4, 26), (6, 26), (8, 26), (10, 26)),
        unique=(17, 19, 21, 23),
        fresh=26,
        grid=(4, 5, 6, 7, 8, 9, 10),
        epochs=64,
        shared=(4, 6),
        held=((6, 25), (8, 25)),
        held_unique=(17, 19, 21),
        accelerated=True,
    ),
}
DEFAULT = "cpu-1h"

named = functools.partial(budget.of_one_text, BUDGETS)
