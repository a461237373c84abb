"""The quickstart: how the loss depends on N and D, on whatever text there is, within minutes on two CPU cores.

Groups of runs, each a training of one model:

- the grid: every size for several D, one epoch, the learning rate brought down over the last fifth: L(N, D) of
  Hoffmann et al. (2022). The smaller a size, the longer its runs, so that D spans a factor of 8 at little cost. The
  lengths of a size and seed are branches of one trunk, trained once. They share its luck, and more of them say little
  of N: so the cheap small sizes have several seeds, which show the seed noise as well;
- half and double the learning rate at the smallest and the largest size, for the warning that a rate was not its best;
- with more minutes, repeated data: few unique tokens, seen again and again at a constant rate until the held-out loss
  stops falling: L(N, D) of Kaplan et al. (2020).

Every run of the grid ends well after its model began to use its context (`analysis.onset`: after 240k tokens at
N = 13.8k and 100k at N = 301k on English, sooner on Python): a law across that onset would measure the onset. The
smallest model has three heads in each of two layers; with fewer it is left to chance whether it learns to copy.
"""

from typing import NamedTuple

from configs.rates import learning_rate, trunk
from scaling import calibration
from scaling.config import EvalConfig, ModelConfig, OptimConfig, RunConfig, Study
from scaling.errors import InputError
from scaling.ladder import ladder
from scaling.rates import Text


class Size(NamedTuple):
    shape: tuple[int, int]  # width, layers
    lengths: tuple[int, ...]  # of its runs, in D
    seeds: int


FIRST_D = 2**18  # tokens
LONGEST = 8  # of the grid's lengths, in D
SIZES = (
    Size((24, 2), (4, 8), seeds=3),
    Size((40, 2), (2, 4, 8), seeds=3),
    Size((64, 2), (1, 2), seeds=2),
    Size((112, 2), (1, 2, 4), seeds=1),
    Size((160, 2), (1, 2, 4), seeds=1),
    Size((224, 2), (1, 2, 4), seeds=1),
    Size((320, 2), (1, 2, 4), seeds=1),
)
EPOCHS = 16  # of the repeated data: the held-out loss of all but the smallest models has then turned
BATCH = 4  # sequences of 64 tokens: short runs lack updates more than they gain from large batches
AROUND = 0.5  # minutes for the text before and the page after
LEVELS = 30  # ever more sizes, doublings and seeds; the last would take years
Runs = tuple[RunConfig, ...]


def study(minutes: float = 5, D: int = FIRST_D, rates: Text = "python") -> Study:
    """As many sizes, doublings of D and seeds as `minutes` allow, at least the first four sizes; then repeated data.

    Args:
      D: the smallest of the grid's numbers of tokens. The largest is 8 D, so that a small text can be taken as it is:
        only with the default do more minutes also add doublings.
      rates: the text whose learning rates the runs take; that of data.source where it is left out.
    """
    if D < 512 or D % 512:
        raise InputError(f"D={D} is not a positive multiple of 512; the nearest is {max(1, round(D / 512)) * 512}")
    fitting = None
    for level in range(LEVELS):
        runs = _runs(D, level, rates)
        if _minutes(runs) > minutes:
            break
        fitting = runs
    if fitting is None:
        raise InputError(f"minutes={minutes:g} is too short; use at least {_minutes(_runs(D, 0)):.2g}")
    return Study("quickstart", "How does the loss depend on model size N and data D?", fitting)


def _runs(D: int, level: int, rates: Text = "python") -> Runs:
    """The runs of a level: from 1 on repeated data; every second adds a size and a seed, every third a doubling."""
    sizes = SIZES[: 4 + level // 2]
    models = ladder([size.shape for size in sizes], d_head=8)
    more = level // 3 if D == FIRST_D else 0

    def grid(model: ModelConfig, size: Size, factor: float = 1.0) -> Runs:
        optim = trunk(factor * learning_rate(model.N, size.lengths[1] * D, text=rates))
        pool, held_out = LONGEST * D * 2**more, EvalConfig(windows=256)
        lengths = (*size.lengths, *(size.lengths[-1] * 2**k for k in range(1, 1 + more)))
        return tuple(
            RunConfig(model, k * D, pool, BATCH, seed, optim=optim, eval=held_out)
            for seed in range(size.seeds + level // 2)
            for k in lengths
        )

    def again(model: ModelConfig, U: int) -> RunConfig:
        rate = OptimConfig(learning_rate=learning_rate(model.N, EPOCHS * U, text=rates), schedule="constant")
        return RunConfig(model, EPOCHS * U, U, BATCH, optim=rate, eval=EvalConfig(windows=256))

    return (
        *(run for model, size in zip(models, sizes, strict=True) for run in grid(model, size)),
        *(grid(models[i], sizes[i], factor)[0] for i in (0, -1) for factor in (0.5, 2.0)),
        *(again(model, D // few) for model in models[:3] for few in (16, 8, 4, 2) if level),
    )


def _minutes(runs: Runs) -> float:
    """About how long the runs take on two cores that have compiled none of their programs yet."""
    return AROUND + calibration.seconds(runs) / 60
