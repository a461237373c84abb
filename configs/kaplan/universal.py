"""Transformers that use their layers again, beside those of `size`: Figure 17.

Tokens, batch, schedule and the rule for the rate, at the N that counts each weight once, are those of `size`.
"""

from configs.kaplan.budgets import named
from configs.kaplan.terms import Budget
from scaling.config import EvalConfig, RunConfig, Study
from scaling.ladder import universal
from scaling.rates import Text


def study(budget: str = "cpu-20m", rates: Text = "python") -> Study:
    return Study("kaplan-universal", "What is it worth to use layers again?", runs(named(budget, rates=rates)))


def runs(budget: Budget) -> tuple[RunConfig, ...]:
    return tuple(
        budget.run(
            universal(*shape, reuse=reuse, d_head=budget.d_head, **budget.attending()),
            budget.size.tokens,
            EvalConfig(windows=budget.windows, per_octave=1, octaves=3),
        )
        for shape, reuse in budget.universal.shapes
    )
