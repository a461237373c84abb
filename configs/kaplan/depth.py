"""Other depths than the grid's, trained as its branches of one length: Figure 6."""

from configs.kaplan.budgets import DEFAULT, named
from configs.kaplan.terms import Budget
from scaling.config import RunConfig, Study
from scaling.rates import Text


def study(budget: str = DEFAULT, rates: Text = "python") -> Study:
    return Study("kaplan-depth", "Does the depth matter beside N?", runs(named(budget, rates=rates)))


def runs(budget: Budget) -> tuple[RunConfig, ...]:
    return tuple(budget.run(budget.model(shape), budget.branch, budget.seen()) for shape in budget.depths)
