"""What is trained: the main grid, from a few tokens per parameter to thousands.

scaling study show configs/over_training/experiments.py --set budget=cpu-6h
"""

from collections.abc import Callable, Mapping

from configs import grid
from configs.budget import NAME, QUESTION
from configs.over_training.budgets import DEFAULT, Budget, named
from scaling.config import RunConfig, Study
from scaling.rates import Text


def study(budget: str = DEFAULT, rates: Text = "python") -> Study:
    """The runs of all figures.

    Args:
      rates: the text whose learning rates the runs take; that of data.source where it is left out.
    """
    return Study(NAME, QUESTION, main_grid(named(budget, rates=rates)))


def main_grid(budget: Budget) -> tuple[RunConfig, ...]:
    """Every size at every length."""
    return grid.runs(budget.grid, budget.rates)


EXPERIMENTS: Mapping[str, Callable[[Budget], tuple[RunConfig, ...]]] = {"grid": main_grid}
