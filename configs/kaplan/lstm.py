"""LSTMs of several depths beside the Transformers of `size`: Figure 7 left.

Each at the rates of LSTMs of its N where such were swept (configs/rates.py), or at several, of which the best counts.
Tokens, batch and schedule are those of `size`.
"""

from configs.kaplan.budgets import named
from configs.kaplan.terms import Budget
from scaling.config import EvalConfig, RunConfig, Study
from scaling.ladder import lstm
from scaling.rates import Text


def study(budget: str = "cpu-20m", rates: Text = "python") -> Study:
    return Study("kaplan-lstm", "How do LSTMs fall with their size?", runs(named(budget, rates=rates)))


def runs(budget: Budget) -> tuple[RunConfig, ...]:
    tokens, found = budget.size.tokens, []
    for shape in budget.recurrent.shapes:
        model = lstm(*shape, **budget.fields())
        found += [
            budget.run(
                model,
                tokens,
                EvalConfig(windows=budget.windows, per_octave=1, octaves=3),
                optim=budget.optim(model.N, tokens, budget.batch_tokens, factor=factor, kind=model.kind),
            )
            for factor in budget.recurrent.factors
        ]
    return tuple(found)
