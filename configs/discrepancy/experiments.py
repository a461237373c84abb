"""Four arms of the same sizes, and a control: what is changed from Kaplan et al. (2020) to Hoffmann et al. (2022).

    scaling study run configs/discrepancy/experiments.py --set budget=cpu-24h --out studies/papers

| arm | warm-up | decay | rate, batch, beta2 |
| --- | --- | --- | --- |
| `long` | as long as many of the best runs | one cosine, over each size's longest run | one for all sizes |
| `short` | a few updates | the same | the same |
| `matched` | the same | over the last fifth of each run | the same |
| `tuned` | the same | the same | of each size |
| `control` | the same | the same | of each size, at another vocabulary |

Runs of one cosine are read along their learning curve. The others are branches of a trunk at a constant rate, which
costs a tenth more than the trunk alone. All draw the same examples, and an arm's runs are those of the others in
whatever it does not change.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping

from configs.budget import NAME, QUESTION, runs_of
from configs.discrepancy.budgets import Budget, Grid, named
from configs.rates import learning_rate, trunk
from scaling import counts
from scaling.config import EvalConfig, ModelConfig, OptimConfig, RunConfig, Study
from scaling.ladder import transformer
from scaling.rates import Text

MIDDLE = 24_576, 2**20  # N and D whose best rate is the one for all sizes
BETA2 = 0.95  # of Porian et al. (2024) where nothing is tuned; tuned, the default, which suits small batches
# Porian et al. (2024): B ~ (N with head) ** 0.7, and one batch for all sizes that is too large for most of them.
SUITED = 2.3e5  # N with head whose batch is the one for all
BATCH_POWER = 0.7
BATCHES = 4, 32  # sequences, the smallest and the largest
SMALLEST = 1536  # N of the smallest model whose rate is extrapolated: as in configs/kaplan


def long(budget: Budget) -> tuple[RunConfig, ...]:
    """A long warm-up, and one cosine over the longest run of each size."""
    return _cosines(budget, budget.long)


def short(budget: Budget) -> tuple[RunConfig, ...]:
    """The same with a short warm-up."""
    return _cosines(budget, budget.short)


def matched(budget: Budget) -> tuple[RunConfig, ...]:
    """The same with a decay for each length."""
    return tuple(
        run for model in _models(budget, budget.grid) for run in _branches(budget, budget.grid, model, budget.batch)
    )


def tuned(budget: Budget) -> tuple[RunConfig, ...]:
    """The same with the rate, the batch and beta2 of each size."""
    return _tuned(budget, budget.grid)


def control(budget: Budget) -> tuple[RunConfig, ...]:
    """The tuned arm at another vocabulary."""
    return _tuned(budget, budget.control)


EXPERIMENTS: Mapping[str, Callable[[Budget], tuple[RunConfig, ...]]] = {
    "long": long,
    "short": short,
    "matched": matched,
    "tuned": tuned,
    "control": control,
}


def study(budget: str = "cpu-1h", only: tuple[str, ...] = (), rates: Text = "python") -> Study:
    """The runs of all arms, or of some.

    Args:
      only: names of arms; all where there are none.
      rates: the text whose learning rates the runs take; that of data.source where it is left out.
    """
    return Study(NAME, QUESTION, runs_of(EXPERIMENTS, named(budget, rates=rates), only))


def _models(budget: Budget, grid: Grid) -> Iterator[ModelConfig]:
    for width in grid.widths:
        d_head = budget.d_head if width % budget.d_head == 0 else budget.d_head // 2
        yield transformer(width, 2, d_head, n_vocab=grid.n_vocab, n_ctx=budget.n_ctx)


def _lengths(grid: Grid, model: ModelConfig, unit: int) -> list[int]:
    """The tokens after which a size is read, the most first, in whole units."""
    most = min(grid.flops / counts.flops_per_token(model)["flops_head"], grid.longest)
    lengths = [max(1, round(most / 2**k / unit)) * unit for k in range(grid.halvings + 1)]
    return [tokens for tokens in lengths if tokens >= grid.shortest] or lengths[:1]


def _one_rate(budget: Budget, optim: OptimConfig, warmup: int) -> OptimConfig:
    return dataclasses.replace(optim, warmup=0.0, warmup_tokens=warmup, b2=BETA2)


def _rate_for_all(budget: Budget) -> float:
    return learning_rate(*MIDDLE, budget.batch * budget.n_ctx, text=budget.rates)


def _cosines(budget: Budget, warmup: int) -> tuple[RunConfig, ...]:
    optim = _one_rate(budget, OptimConfig(_rate_for_all(budget)), warmup)
    return tuple(
        RunConfig(
            model,
            tokens=_lengths(budget.grid, model, _unit(budget))[0],
            batch=budget.batch,
            optim=optim,
            eval=EvalConfig(windows=budget.windows, per_octave=2, octaves=budget.grid.halvings + 1),
        )
        for model in _models(budget, budget.grid)
    )


def _unit(budget: Budget) -> int:
    """Tokens of the largest batch, of which all lengths are multiples."""
    return BATCHES[1] * budget.n_ctx


def _branches(
    budget: Budget, grid: Grid, model: ModelConfig, batch: int, optim: OptimConfig | None = None
) -> Iterator[RunConfig]:
    """The runs of a size, one trunk at a constant rate with a cooldown for each length."""
    lengths = _lengths(grid, model, _unit(budget))
    for tokens in lengths:
        yield RunConfig(
            model,
            tokens=tokens,
            unique_tokens=lengths[0],  # all draw from the examples of the longest, in one order
            batch=batch,
            optim=optim or _one_rate(budget, trunk(_rate_for_all(budget)), budget.short),
            eval=EvalConfig(windows=budget.windows, per_octave=2, octaves=grid.halvings + 1),
        )


def _tuned(budget: Budget, grid: Grid) -> tuple[RunConfig, ...]:
    runs = []
    for model in _models(budget, grid):
        batch = suited_batch(counts.params(model)["params_head"])
        rate = learning_rate(max(model.N, SMALLEST), MIDDLE[1], batch * budget.n_ctx, text=budget.rates)
        optim = dataclasses.replace(trunk(rate), warmup_tokens=budget.short)
        runs += _branches(budget, grid, model, batch, optim)
    return tuple(runs)


def suited_batch(N_head: float) -> int:
    """Sequences of a batch for a model of so many parameters with the head: a power of 2 within BATCHES."""
    wanted = 16 * (N_head / SUITED) ** BATCH_POWER
    return min(max(2 ** round(math.log2(wanted)), BATCHES[0]), BATCHES[1])
