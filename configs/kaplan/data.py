"""L(N, D): sizes times unique tokens, repeated with dropout and stopped early: Figures 1, 4 left, 9, 16; Table 2.

Each size and data set is a trunk over epochs, with a cooldown after 1, 2, 4, ... of them; the branch with the lowest
held-out loss counts (Kaplan et al. 2020 sec. 4.2). That is early stopping with a decay at the stop, so that a run on
few data and one on many end alike. A longer branch that does not lower the loss shows that the run had stopped. Runs of
one size differ in their data alone. A run's first examples are measured as held-out ones are, to tell train from test.
"""

import dataclasses
from collections.abc import Iterator

from configs.kaplan.budgets import DEFAULT, named
from configs.kaplan.terms import Budget
from scaling.config import RunConfig, Study
from scaling.rates import Text

DROPOUT = 0.1


def study(budget: str = DEFAULT, rates: Text = "python") -> Study:
    return Study("kaplan-data", "How does the loss fall with size and data together?", runs(named(budget, rates=rates)))


def runs(budget: Budget) -> tuple[RunConfig, ...]:
    part = budget.data
    return tuple(
        run
        for k, longest in part.sizes
        for unique in part.unique
        for dropout in (DROPOUT, 0.0)
        if dropout or (k, unique) in part.without
        for run in _branches(budget, k, 2**longest, 2**unique, dropout)
    )


def _branches(budget: Budget, k: int, longest: int, unique: int, dropout: float) -> Iterator[RunConfig]:
    """The branches of a trunk."""
    part = budget.data
    model = dataclasses.replace(budget.grid.model(k), dropout=dropout)
    evaluate = budget.seen(part.per_octave, part.octaves, train_windows=part.train_windows)
    tokens = unique
    while tokens <= max(min(part.epochs * unique, longest), unique):
        yield budget.run(model, tokens, evaluate, unique_tokens=unique, warmup=part.warmup)
        tokens *= 2
