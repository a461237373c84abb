"""Text of known quality: documents corrupted at a stated rate, a sliver of the text read many times, near-copies and
what their removal is worth, and filters of several strengths.

    scaling study run configs/quality/experiments.py --set budget=cpu-1h 'source=text:main/train*' --out studies/quality

| experiment | runs |
| --- | --- |
| `corruption` | one size; of a share of the documents half of the words are random letters; several lengths, seeds |
| `sizes` | several sizes on the text as it is, so that a loss can be read as the size that has it |
| `repeats` | one size; a share of the tokens is a sliver of 2^11 to 2^17 tokens, read again and again |
| `whole` | one size; all of the text is less, and read several times |
| `copies` | one size; near-copies of a few documents are half of the text, and the same text after `dedup` |
| `filters` | one size; of a pool of which half is corrupted, the share most like the clean text, read several times |

A run's lengths are branches of one trunk. What is held out is never changed: give the text as `source` and not as
data.source, which would be the same for all runs.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping

from configs.budget import NAME, QUESTION, runs_of
from configs.grid import GRIDS
from configs.quality.budgets import DEFAULT, Budget, named
from configs.rates import learning_rate, trunk
from scaling.config import DataConfig, EvalConfig, RunConfig, Study
from scaling.rates import Text, suiting

GRID = GRIDS["cpu-1h"]  # its sizes, context and batch
EVALUATIONS = 2  # per octave


def study(budget: str = DEFAULT, source: str = "python", rates: Text | None = None) -> Study:
    """The runs of all experiments.

    Args:
      source: the text that is changed.
      rates: the text whose learning rates the runs take; that of `source` where it is left out.
    """
    at = dataclasses.replace(named(budget, rates=rates or suiting(source)), source=source)
    return Study(NAME, QUESTION, runs_of(EXPERIMENTS, at))


def corruption(budget: Budget) -> tuple[RunConfig, ...]:
    """Every quality at every length."""
    return tuple(
        run
        for quality in budget.qualities
        for seed in range(budget.seeds)
        for run in _branches(budget, budget.size, corrupted(budget.source, quality), budget.lengths, seed)
    )


def sizes(budget: Budget) -> tuple[RunConfig, ...]:
    """Every size at the longest length."""
    return tuple(
        run
        for k in budget.sizes
        for seed in range(budget.seeds)
        for run in _branches(budget, k, budget.source, 1, seed)
    )


def repeats(budget: Budget) -> tuple[RunConfig, ...]:
    """Every sliver at every share."""
    return tuple(
        run
        for share in budget.shares
        for sliver in budget.slivers
        for run in _branches(budget, budget.repeated, with_sliver(budget.source, share, 2**sliver), 1, 0)
    )


def whole(budget: Budget) -> tuple[RunConfig, ...]:
    """All of the text several times, as long as the other runs."""
    return tuple(
        dataclasses.replace(run, unique_tokens=2**budget.longest // epochs)
        for epochs in budget.whole
        for run in _branches(budget, budget.repeated, budget.source, 1, 0)
    )


def copies(budget: Budget) -> tuple[RunConfig, ...]:
    """A text with planted near-copies, what `dedup` leaves of it, and of the text without them. Python sources drop
    theirs always: no runs."""
    if budget.source.partition(":")[0] == "python":
        return ()
    return tuple(
        run
        for source in (copied(budget), f"dedup({copied(budget)})", f"dedup({copied(budget, 0.0)})")
        for seed in range(budget.twice)
        for run in _branches(budget, budget.repeated, source, 1, seed)
    )


def filters(budget: Budget) -> tuple[RunConfig, ...]:
    """Every strength at every length. Of a pool of so many tokens, a filter that keeps a share k leaves k of them: the
    first ones of the filtered text, since it has the order of the text."""
    return tuple(
        dataclasses.replace(run, unique_tokens=round(keep * 2**budget.pool / GRID.n_ctx) * GRID.n_ctx)
        for keep in budget.keeps
        for seed in range(budget.twice)
        for run in _branches(budget, budget.repeated, filtered(budget, keep), budget.lengths, seed)
    )


EXPERIMENTS: Mapping[str, Callable[[Budget], tuple[RunConfig, ...]]] = {
    "corruption": corruption,
    "sizes": sizes,
    "repeats": repeats,
    "whole": whole,
    "copies": copies,
    "filters": filters,
}


def corrupted(source: str, quality: float) -> str:
    """The text of which a share `quality` of the documents is left as it is."""
    return source if quality == 1 else f"corrupt({source}, share={round(1 - quality, 6):g})"


def with_sliver(source: str, share: float, tokens: int) -> str:
    """The text of whose tokens a share is the first so many, read again and again."""
    return f"mix:{round(1 - share, 6):g}*{source}+{share:g}*first({source}, tokens={tokens})"


def copied(budget: Budget, share: float | None = None) -> str:
    """The text with planted near-copies of a share of the documents; with none of none, cut as with some."""
    most, times = budget.copied
    return f"duplicate({budget.source}, share={most if share is None else share:g}, times={times})"


def filtered(budget: Budget, keep: float) -> str:
    """Of a text of which a share is corrupted, the share `keep` that is most like the text as it is."""
    source = corrupted(budget.source, 1 - budget.bad)
    return source if keep == 1 else f"filter({source}, keep={keep:g}, by={budget.source})"


def _branches(budget: Budget, k: int, source: str, lengths: int, seed: int) -> Iterator[RunConfig]:
    model = GRID.model(k)
    middle = 2 ** (budget.longest - (budget.lengths - 1) / 2)  # one rate serves all lengths
    rate = learning_rate(model.N, middle, GRID.batch_tokens, text=budget.rates)
    for n in range(lengths):
        yield RunConfig(
            model,
            tokens=2 ** (budget.longest - n),
            unique_tokens=2**budget.longest,  # all draw from the examples of the longest, in one order
            batch=GRID.batch,
            data=DataConfig(source),
            optim=trunk(rate, warmup=max(model.N, 16 * GRID.batch_tokens)),
            eval=EvalConfig(windows=budget.windows, per_octave=EVALUATIONS, octaves=6),
            seed=seed,
        )
