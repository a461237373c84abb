"""L(N, S): sizes at one batch near the critical one, as the paper's was, at a constant rate.

Figures 4 right, 8, 11, 12, 14 right and 19, Table 3 and appendix B. At a batch far below the critical one S_min is
told by B_crit(L) alone, and not by the updates. The gradient noise is measured along each run, and the loss on the
transfer sets where the budget has some.
"""

from configs.kaplan.budgets import DEFAULT, named
from configs.kaplan.terms import Budget
from scaling.config import RunConfig, Study
from scaling.rates import Text


def study(budget: str = DEFAULT, transfer: tuple[str, ...] = (), rates: Text = "python") -> Study:
    """The sizes of a budget.

    Args:
      transfer: sources of held-out text of other kinds, as in eval.transfer.
      rates: the text whose learning rates the runs take; that of data.source where it is left out.
    """
    return Study("kaplan-steps", "How does the loss fall with size and updates?", runs(named(budget, transfer, rates)))


def runs(budget: Budget) -> tuple[RunConfig, ...]:
    return tuple(_run(budget, k) for k in budget.steps.sizes)


def _run(budget: Budget, k: int) -> RunConfig:
    part = budget.steps
    evaluate = budget.seen(part.per_octave, part.octaves, noise=part.noise, transfer=budget.transfer)
    return budget.run(budget.grid.model(k), part.tokens, evaluate, batch=part.batch, schedule="constant")
