"""All experiments as one study: each run once, whichever of them it belongs to.

scaling study run configs/kaplan/experiments.py --set budget=cpu-24h --out studies/papers
"""

from collections.abc import Callable, Mapping, Sequence

from configs import grid
from configs.budget import NAME, QUESTION
from configs.kaplan import batch, context, data, depth, lstm, schedule, shape, steps, universal
from configs.kaplan.budgets import DEFAULT, named
from configs.kaplan.terms import Budget
from scaling.config import RunConfig, Study
from scaling.errors import InputError
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
    return union(named(budget, transfer, rates), only or tuple(EXPERIMENTS), N)


def union(budget: Budget, names: Sequence[str], N: int | None = None) -> Study:
    """The runs of these experiments as a study.

    Raises:
        InputError: an experiment is not known, or none has a model of N parameters.
    """
    for name in names:
        if name not in EXPERIMENTS:
            raise InputError(f"experiment {name!r}: wanted one of {', '.join(EXPERIMENTS)}")
    runs = dict.fromkeys(run for name in names for run in EXPERIMENTS[name](budget))
    if N is not None and not any(run.model.N == N for run in runs):
        sizes = ", ".join(map(str, sorted({run.model.N for run in runs})))
        raise InputError(f"N={N}: no model of budget {budget.name} has so many parameters; there are {sizes}")
    kept = tuple(run for run in runs if N in (None, run.model.N))
    return Study(NAME, QUESTION, kept)
