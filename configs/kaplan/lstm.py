"""LSTMs of several depths beside the Transformers of `size`: Figure 7 left.

Each at several rates, of which the best counts: the sweep in configs/rates.py knows Transformers alone. In trial runs
on English (N = 8,192 and 32,768, one layer and four, 2^18 and 2^19 tokens) its rate was the best of 1/4, 1/2, 1, 2 and
4 times it, or within 0.1 % of the best. Tokens, batch and schedule are those of `size`.
"""

from configs.kaplan.budget import Budget
from configs.kaplan.budgets import named
from scaling.config import EvalConfig, RunConfig, Study
from scaling.ladder import lstm


def study(budget: str = "cpu-20m") -> Study:
    return Study("kaplan-lstm", "How do LSTMs fall with their size?", runs(named(budget)))


def runs(budget: Budget) -> tuple[RunConfig, ...]:
    tokens, found = budget.size.tokens, []
    for shape in budget.recurrent.shapes:
        model = lstm(*shape, **budget.fields())
        found += [
            budget.run(
                model,
                tokens,
                EvalConfig(windows=budget.windows, per_octave=1, octaves=3),
                optim=budget.optim(model.N, tokens, budget.batch_tokens, factor=factor),
            )
            for factor in budget.recurrent.factors
        ]
    return tuple(found)
