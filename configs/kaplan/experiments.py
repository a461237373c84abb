"""All experiments as one study: each run once, whichever of them it belongs to.

scaling study run configs/kaplan/experiments.py --set budget=cpu-24h --out studies/papers
"""

from collections.abc import Callable, Mapping, Sequence

from configs import grid
from configs.budget import NAME, QUESTION, runs_of
from configs.kaplan import batch, context, data, depth, lstm, schedule, shape, steps, universal
from configs.kaplan.budgets import DEFAULT, named
from configs.kaplan.terms import Budget
from scaling.config import RunConfig, Study
from scaling.rates import Text


def main_grid(budget: Budget) -> tuple[RunConfig, ...]:
    """The main grid, shared with other papers: Figures 1, 2, 6, 13, 14 left, 15, 23, and C_min of all figures."""
    return grid.runs(budget.grid, budget.rates)


EXPERIMENTS: Mapping[str, Callable[[Budget], tuple[RunConfig, ...]]] = {
    "grid": main_grid,
    "data": data.runs,
    "batch": batch.runs,
    "steps": steps.runs,
    "depth": depth.runs,
    "shape": shape.runs,
    "lstm": lstm.runs,
    "universal": universal.runs,
    "schedule": schedule.runs,
    "context": context.runs,
}


def study(
    budget: str = DEFAULT,
    only: tuple[str, ...] = (),
    transfer: tuple[str, ...] = (),
    N: int | None = None,
    rates: Text = "python",
) -> Study:
    """The runs of all experiments, or of some.

    Args:
      only: names of experiments; all where there are none.
      transfer: sources of held-out text of other kinds, as in eval.transfer; measured by `steps` and `shape`.
      N: only models of so many parameters, to compile one of them, say.
      rates: the text whose learning rates the runs take; that of data.source where it is left out.
    """
    return union(named(budget, transfer, rates), only, N)


def union(budget: Budget, names: Sequence[str], N: int | None = None) -> Study:
    """The runs of these experiments as a study, with the errors of `runs_of`."""
    return Study(NAME, QUESTION, runs_of(EXPERIMENTS, budget, names, N))
