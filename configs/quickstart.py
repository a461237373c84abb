"""The quickstart: how the loss depends on N and D, on whatever text there is, within minutes on two CPU cores.

Four groups of runs, each a training of one model:

- the grid: every size at every D, one epoch, the cosine matched to the run: L(N, D) of Hoffmann et al. (2022);
- repeated data: few unique tokens, seen again and again at a constant rate until the held-out loss stops falling:
  L(N, D) of Kaplan et al. (2020);
- replicates: corners of the grid with other seeds, for the seed noise;
- half and double the learning rate at the smallest and the largest size, for the warning that a rate was not its best.
"""

import dataclasses

from configs.rates import learning_rate
from scaling import calibration
from scaling.config import EvalConfig, ModelConfig, OptimConfig, RunConfig, Study
from scaling.errors import InputError
from scaling.ladder import ladder
from scaling.rates import Text

FIRST_D = 2**17  # tokens
SHAPES = ((8, 2), (16, 2), (24, 2), (40, 2), (64, 2), (80, 2), (128, 2), (128, 4), (192, 4), (256, 4), (384, 4))
EPOCHS = 16  # of the repeated data: the held-out loss of all but the smallest models has then turned
BATCH = 4  # sequences of 64 tokens: short runs lack updates more than they gain from large batches
AROUND = 0.5  # minutes for the text before and the page after
LEVELS = 30  # ever more sizes, doublings and seeds; the last would take years


def study(minutes: float = 5, D: int = FIRST_D, rates: Text = "python") -> Study:
    """As many sizes, doublings of D and seeds as `minutes` allow, at least 6, 4 and 2.

    Args:
      D: the smallest of the grid's numbers of tokens. The largest is 8 D, so that a small text can be taken as it is:
        only with the default do more minutes also add doublings.
      rates: the text whose learning rates the runs take; that of data.source where it is left out.
    """
    if D < 512 or D % 512:
        raise InputError(f"D={D} is not a positive multiple of 512; the nearest is {max(1, round(D / 512)) * 512}")
    fitting = None
    for level in range(LEVELS):
        n_sizes = min(6 + level, len(SHAPES))
        n_data, n_seeds = 4 + (level // 3 if D == FIRST_D else 0), 2 + level // 2
        runs = _runs(D, n_sizes, n_data, n_seeds, rates)
        if _minutes(runs) > minutes:
            break
        fitting = runs
    if fitting is None:
        raise InputError(f"minutes={minutes:g} is too short; use at least {_minutes(_runs(D, 6, 4, 2)):.2g}")
    return Study("quickstart", "How does the loss depend on model size N and data D?", fitting)


def _runs(D: int, n_sizes: int, n_data: int, n_seeds: int, rates: Text = "python") -> tuple[RunConfig, ...]:
    models = ladder(SHAPES[:n_sizes], d_head=8)
    Ds = [D * 2**k for k in range(n_data)]

    def once(model: ModelConfig, tokens: int, seed: int = 0, factor: float = 1.0) -> RunConfig:
        rate = OptimConfig(learning_rate=factor * learning_rate(model.N, text=rates))
        return RunConfig(model, tokens=tokens, batch=BATCH, seed=seed, optim=rate, eval=EvalConfig(windows=128))

    def again(model: ModelConfig, U: int) -> RunConfig:
        rate = OptimConfig(learning_rate=learning_rate(model.N, text=rates), schedule="constant")
        return dataclasses.replace(once(model, EPOCHS * U), unique_tokens=U, optim=rate)

    ends = (models[0], models[-1])
    return (
        *(once(model, tokens) for model in models for tokens in Ds),
        *(again(model, D // few) for model in models[:-2] for few in (8, 4, 2)),
        *(once(model, tokens, seed=seed) for model in ends for tokens in (Ds[0], Ds[-2]) for seed in range(1, n_seeds)),
        *(once(model, Ds[1], factor=factor) for model in ends for factor in (0.5, 2.0)),
    )


def _minutes(runs: tuple[RunConfig, ...]) -> float:
    """About how long the runs take on two cores that have compiled none of their programs yet."""
    return AROUND + calibration.seconds(runs) / 60
