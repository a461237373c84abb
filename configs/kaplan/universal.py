"""Transformers that use their layers again, trained as the branches of one length of the grid: Figure 17.

Warm-up and rate are those of the N that counts each weight once.
"""

from configs.kaplan.budgets import DEFAULT, named
from configs.kaplan.terms import Budget
from scaling.config import RunConfig, Study
from scaling.ladder import universal
from scaling.rates import Text


def study(budget: str = DEFAULT, rates: Text = "python") -> Study:
    return Study("kaplan-universal", "What is it worth to use layers again?", runs(named(budget, rates=rates)))


def runs(budget: Budget) -> tuple[RunConfig, ...]:
    return tuple(
        budget.run(
            universal(*shape, reuse=reuse, d_head=budget.grid.d_head, **budget.grid.fields),
            budget.branch,
            budget.seen(),
        )
        for shape, reuse in budget.universal.shapes
    )
