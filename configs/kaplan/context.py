"""Losses by position in a long context, and with a very short one: Figures 7 right, 20 and 21.

A batch holds as many tokens as elsewhere, in fewer and longer windows or in more and shorter ones. Each LSTM is tried
at several rates, of which the best counts.
"""

from configs.kaplan.budgets import DEFAULT, named
from configs.kaplan.terms import Budget
from scaling.config import EvalConfig, ModelConfig, RunConfig, Study
from scaling.ladder import lstm
from scaling.rates import Text


def study(budget: str = DEFAULT, rates: Text = "python") -> Study:
    return Study("kaplan-context", "How does the loss fall along the context?", runs(named(budget, rates=rates)))


def runs(budget: Budget) -> tuple[RunConfig, ...]:
    part = budget.context
    held_out = part.windows * part.n_ctx  # tokens

    def run(model: ModelConfig, factor: float = 1.0) -> RunConfig:
        evaluate = EvalConfig(windows=held_out // model.n_ctx, per_octave=1, octaves=7)
        return budget.run(model, part.tokens, evaluate, factor=factor)

    recurrent = budget.recurrent_fields() | {"n_ctx": part.n_ctx}
    return (
        *(run(budget.model(shape, n_ctx=n_ctx)) for shape in part.shapes for n_ctx in (part.n_ctx, part.short)),
        *(run(lstm(*shape, **recurrent), factor) for shape in part.recurrent for factor in part.factors),
    )
