"""The budgets: how large a grid of sizes and compute each affords, from a minute on two cores to an accelerator."""

import dataclasses
import functools

from configs import budget


@dataclasses.dataclass(frozen=True)
class Grid:
    """Sizes, all of them read at the same budgets.

    A size is trained for `flops` / 6 N tokens, N counted with the head, or for `longest`; shorter by a factor of 2 as
    often as there are `halvings`, but for no fewer tokens than `shortest`.
    """

    n_vocab: int
    widths: tuple[int, ...]  # d_model, two layers
    flops: float
    halvings: int
    longest: int  # tokens
    shortest: int


@dataclasses.dataclass(frozen=True)
class Budget(budget.Budget):
    """One budget.

    Attributes:
        grid: of the four arms.
        control: of the tuned arm at another vocabulary.
        long, short: tokens of the two warm-ups.
        batch: sequences, of the arms that have one for all sizes.
        windows: held-out, of n_ctx tokens.
    """

    grid: Grid
    control: Grid
    long: int
    short: int = 2**14
    n_ctx: int = 64
    d_head: int = 8  # half of it where that does not divide d_model
    batch: int = 16
    windows: int = 512


# For tests: every arm has runs, and nothing can be decided.
TINY = Budget(
    "tiny",
    grid=Grid(2048, (8, 16, 24), flops=1.5e10, halvings=2, longest=2**17, shortest=2**14),
    control=Grid(512, (8, 16), flops=5e9, halvings=2, longest=2**17, shortest=2**14),
    long=2**15,
    short=2**12,
    windows=128,
)

# At a larger vocabulary models begin to use their context later (docs/discrepancy.md), and more of the budgets is lost.
# A quarter of an hour of two cores tells as much at 320 as half an hour does at 512, by what is expected.
CPU_1H = Budget(
    "cpu-1h",
    grid=Grid(320, (8, 12, 16, 24, 32, 40, 48, 64), flops=4e11, halvings=5, longest=2**23, shortest=2**17),
    control=Grid(512, (8, 12, 16, 24, 32, 40, 48, 64), flops=4e11, halvings=5, longest=2**23, shortest=2**17),
    long=2**18,
)

# V d / N is 5.3 at the smallest size and 0.3 at the largest.
CPU_24H = Budget(
    "cpu-24h",
    grid=Grid(
        1024,
        (8, 12, 16, 24, 32, 40, 48, 64, 80, 96, 128),
        flops=8e12,
        halvings=6,
        longest=3 * 2**23,
        shortest=2**17,
    ),
    control=Grid(512, (8, 12, 16, 24, 32, 40, 48, 64), flops=2.0**40, halvings=6, longest=2**24, shortest=2**17),
    long=2**19,
)

# One large accelerator: a hundred times the compute, at rates of the sweeps' law beyond where it was measured.
GPU_1H = Budget(
    "gpu-1h",
    grid=Grid(
        2048,
        (16, 24, 32, 48, 64, 96, 128, 192, 256, 384),
        flops=8e14,
        halvings=7,
        longest=2**26,
        shortest=2**19,
    ),
    control=Grid(512, (16, 24, 32, 48, 64, 96, 128, 192), flops=1e14, halvings=7, longest=2**26, shortest=2**19),
    long=2**22,
    short=2**16,
    n_ctx=128,
    batch=32,
    windows=1024,
    accelerated=True,
)

BUDGETS = {one.name: one for one in (TINY, CPU_1H, CPU_24H, GPU_1H)}
DEFAULT = "cpu-1h"

named = functools.partial(budget.of_one_text, BUDGETS)
