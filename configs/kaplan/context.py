"""Losses by position in a long context, and with a very short one: Figures 7 right, 20 and 21.

A batch holds as many tokens as elsewhere, in fewer and longer windows or in more and shorter ones.
"""

from configs.kaplan.budgets import named
from configs.kaplan.terms import Budget
from scaling.config import EvalConfig, ModelConfig, RunConfig, Study
from scaling.ladder import lstm
from scaling.rates import Text


def study(budget: str = "cpu-20m", rates: Text = "python") -> Study:
    return Study("kaplan-context", "How does the loss fall along the context?", runs(named(budget, rates=rates)))


def runs(budget: Budget) -> tuple[RunConfig, ...]:
    part = budget.context
    held_out = part.windows * part.n_ctx  # tokens

    def run(model: ModelConfig, factor: float = 1.0) -> RunConfig:
        return budget.run(
            model,
            part.tokens,
            EvalConfig(windows=held_out // model.n_ctx, per_octave=1, octaves=7),
            batch=budget.batch_tokens // model.n_ctx,
            optim=budget.optim(model.N, part.tokens, budget.batch_tokens, factor=factor, kind=model.kind),
        )

    return (
        *(run(budget.model(shape, n_ctx=n_ctx)) for shape in part.shapes for n_ctx in (part.n_ctx, part.short)),
        *(run(lstm(*shape, **budget.fields(n_ctx=part.n_ctx)), factor) for shape, factor in part.recurrent),
    )
