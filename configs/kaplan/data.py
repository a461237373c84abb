"""L(N, D): sizes times unique tokens, repeated with dropout and stopped early: Figures 1, 4 left, 9, 16; Table 2.

The held-out loss counts where it is lowest (Kaplan et al. 2020 sec. 4.2). Runs of one size differ in their data alone:
the rate is constant and the same, so that where a run stops is a matter of its data and not of a decay. Tried
once on English text with 2^16 unique tokens at N = 98,304, two constant rates reached 4.011 and 4.037 and a cosine of
24 epochs 4.032. A run's first examples are measured as held-out ones are, to tell train from test.
"""

from configs.kaplan.budgets import named
from configs.kaplan.terms import Budget
from scaling.config import EvalConfig, RunConfig, Study
from scaling.rates import Text

DROPOUT = 0.1


def study(budget: str = "cpu-20m", rates: Text = "python") -> Study:
    return Study("kaplan-data", "How does the loss fall with size and data together?", runs(named(budget, rates=rates)))


def runs(budget: Budget) -> tuple[RunConfig, ...]:
    return tuple(
        _run(budget, shape, unique, epochs) for shape in budget.data.shapes for unique, epochs in budget.data.unique
    )


def _run(budget: Budget, shape: tuple[int, int], unique: int, epochs: int) -> RunConfig:
    """At most as long as the run with ample data, the last of `unique`: small models need more epochs."""
    part, model = budget.data, budget.model(shape, dropout=DROPOUT)
    repeated = round(epochs * (part.at / model.N) ** 0.25) * unique
    ample = unique == part.unique[-1][0]
    return budget.run(
        model,
        part.longest if ample else min(repeated, part.longest),
        EvalConfig(
            windows=budget.windows, per_octave=part.per_octave, octaves=part.octaves, train_windows=part.train_windows
        ),
        unique_tokens=unique,
        optim=budget.optim(model.N, part.rated, budget.batch_tokens, schedule=part.schedule, warmup_tokens=part.warmup),
    )
