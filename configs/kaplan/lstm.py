"""LSTMs of several depths, trained as the branches of one length of the grid: Figure 7 left.

Each at several rates around that of the sweeps for LSTMs of its N (configs/rates.py), of which the best counts.
"""

from configs.kaplan.budgets import DEFAULT, named
from configs.kaplan.terms import Budget
from scaling.config import RunConfig, Study
from scaling.ladder import lstm
from scaling.rates import Text


def study(budget: str = DEFAULT, rates: Text = "python") -> Study:
    return Study("kaplan-lstm", "How do LSTMs fall with their size?", runs(named(budget, rates=rates)))


def runs(budget: Budget) -> tuple[RunConfig, ...]:
    return tuple(
        budget.run(lstm(*shape, **budget.recurrent_fields()), budget.branch, budget.seen(), factor=factor)
        for shape in budget.recurrent.shapes
        for factor in budget.recurrent.factors
    )
