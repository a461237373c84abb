"""B_crit(L): batches times learning rates, at constant rates: Figures 10 and 18, C_min and S_min of all others.

Each batch is held against the others at its best rate of several (Kaplan et al. 2020 sec. 5.1 after McCandlish et al.
2018). The rate stays constant, so that every point of a curve is what a run that long would reach. Runs are so long
that the warm-up is under 5 % of their least updates S_min. The gradient noise is measured at batches large enough to
tell it.
"""

from configs.kaplan.budgets import DEFAULT, named
from configs.kaplan.terms import Budget
from scaling.config import RunConfig, Study
from scaling.rates import Text


def study(budget: str = DEFAULT, rates: Text = "python") -> Study:
    return Study("kaplan-batch", "What do large batches cost, and what do they save?", runs(named(budget, rates=rates)))


def runs(budget: Budget) -> tuple[RunConfig, ...]:
    part = budget.batches
    return tuple(
        _run(budget, k, batch, factor) for k in part.sizes for batch in part.batches for factor in part.factors
    )


def _run(budget: Budget, k: int, batch: int, factor: float) -> RunConfig:
    part, model = budget.batches, budget.grid.model(k)
    B = batch * model.n_ctx
    tokens = round(part.tokens * (1 + B / part.reference) / B) * B
    evaluate = budget.seen(per_octave=4, octaves=6, noise=part.noise if batch in part.noisy else 0)
    return budget.run(
        model,
        tokens,
        evaluate,
        batch=batch,
        factor=factor,
        warmup=part.warmup * B,
        schedule="constant",
        unique_tokens=max(tokens, budget.grid.pool),
    )
