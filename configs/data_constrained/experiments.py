"""What is trained: sizes times unique tokens over epochs, some of them against learning by heart, and some with code in
place of the repeats.

    scaling study show configs/data_constrained/experiments.py --set budget=cpu-1h 'source=text:main/train*'

Give the text as `source`, and not as data.source, which would be the same for the runs with code.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping

from configs import grid
from configs.budget import NAME, QUESTION, runs_of
from configs.data_constrained.budgets import ARMS, DEFAULT, FILLS, PLAIN, Arm, Budget, Filled, Sizes, named
from configs.kaplan import data
from scaling.config import DataConfig, RunConfig, Study
from scaling.data import mixture
from scaling.rates import Text, suiting

OCTAVES = 2  # how far back a branch is measured
CODE = "python"  # the source that fills


def study(
    budget: str = DEFAULT,
    only: tuple[str, ...] = (),
    N: int | None = None,
    source: str = Budget.source,
    rates: Text | None = None,
) -> Study:
    """The runs of all figures, or a part of them.

    Args:
      only: names of experiments; all where there are none.
      N: only models of so many parameters, for a study that is trained in portions.
      source: the text.
      rates: the text whose learning rates the runs take; that of `source` where it is left out.
    """
    at = dataclasses.replace(named(budget, rates=rates or suiting(source)), source=source)
    return Study(NAME, QUESTION, runs_of(EXPERIMENTS, at, only, N))


def repeats(budget: Budget) -> tuple[RunConfig, ...]:
    """Without dropout and weight decay: each size on each set of unique tokens, and on tokens that are all new."""
    return (*_repeated(budget, PLAIN, budget.sizes, budget.unique), *_new(budget))


def main_grid(budget: Budget) -> tuple[RunConfig, ...]:
    """More sizes on new tokens: one seed of the main grid, which other papers share."""
    sizes = {budget.like.grid.size(k) for k in budget.grid}
    every = grid.runs(budget.like.grid, budget.rates)
    own = (run for run in every if run.model.N in sizes and not run.seed and run.tokens <= 2**budget.fresh)
    return tuple(_of_text(budget, run) for run in own)


def dropout(budget: Budget) -> tuple[RunConfig, ...]:
    """With dropout: runs of configs/kaplan/data.py."""
    sizes = {budget.like.grid.size(k) for k in budget.shared}
    runs = data.runs(dataclasses.replace(budget.like, rates=budget.rates))
    return tuple(_of_text(budget, run) for run in runs if run.model.dropout and run.model.N in sizes)


def arms(budget: Budget) -> tuple[RunConfig, ...]:
    """With weight decay, and with both."""
    return tuple(run for arm in ARMS for run in _repeated(budget, arm, budget.held, budget.held_unique))


def filled(budget: Budget) -> tuple[RunConfig, ...]:
    """With code in place of repeats, as long as the text repeated alone. No runs where the text is the code, or is no
    text that can be part of a mixture."""
    if mixture.is_one(budget.source) or budget.source.partition(":")[0] in (CODE, "tokens"):
        return ()
    return tuple(
        dataclasses.replace(_filled(budget, of, epochs, share), seed=seed)
        for of in budget.filled
        for epochs, share in FILLS
        for seed in range(of.seeds)
    )


def with_code(source: str, unique: int, share: float) -> str:
    """The first so many tokens of a text, read again where they are less than their share, and code as the other."""
    return f"mix:{1 - share:g}*first({source}, tokens={unique})+{share:g}*{CODE}"


def _filled(budget: Budget, of: Filled, epochs: int, share: float) -> RunConfig:
    """In the vocabulary of the text, and evaluated on what it holds out."""
    tokens, text = epochs * 2**of.unique, budget.source
    source = with_code(text, 2**of.unique, share)
    run = _run(budget, PLAIN, of.k, tokens, tokens)
    return dataclasses.replace(run, data=DataConfig(source, f"bpe:{text}", f"held_out({text})"))


def _repeated(budget: Budget, arm: Arm, sizes: Sizes, unique: tuple[int, ...]) -> Iterator[RunConfig]:
    """One epoch, two, four, ... of each set of unique tokens that can be repeated."""
    for k, longest in sizes:
        for u in unique:
            for tokens in range(u, min(longest, u + budget.epochs.bit_length() - 1) + 1 if u < longest else u):
                yield _run(budget, arm, k, 2**tokens, 2**u)


def _new(budget: Budget) -> Iterator[RunConfig]:
    """As many tokens, each seen once."""
    for k, longest in budget.sizes:
        for tokens in range(min(budget.unique), min(longest, budget.fresh) + 1):
            yield _run(budget, PLAIN, k, 2**tokens, 2**budget.fresh)


def _run(budget: Budget, arm: Arm, k: int, tokens: int, pool: int) -> RunConfig:
    """A branch of a trunk, warmed up and measured as Kaplan's on repeated data are."""
    like, part = budget.like, budget.like.data
    model = dataclasses.replace(like.grid.model(k), dropout=arm.dropout)
    evaluate = like.seen(1, OCTAVES, train_windows=part.train_windows)
    run = like.grid.trained(model, tokens, evaluate, budget.rates, unique_tokens=pool, warmup=part.warmup)
    run = _of_text(budget, run)
    if not arm.weight_decay:
        return run
    return dataclasses.replace(
        run, optim=dataclasses.replace(run.optim, optimizer="adamw", weight_decay=arm.weight_decay)
    )


def _of_text(budget: Budget, run: RunConfig) -> RunConfig:
    return dataclasses.replace(run, data=DataConfig(budget.source))


EXPERIMENTS: Mapping[str, Callable[[Budget], tuple[RunConfig, ...]]] = {
    "grid": main_grid,
    "repeats": repeats,
    "dropout": dropout,
    "arms": arms,
    "filled": filled,
}
