"""Learning-rate schedules of one size: Figure 22, the final loss against the summed learning rate."""

from configs.kaplan.budgets import named
from configs.kaplan.terms import Budget
from scaling.config import EvalConfig, RunConfig, Study
from scaling.rates import Text

# Factor on the rule's peak rate, and fields of OptimConfig.
SCHEDULES = (
    *((factor, {"schedule": "cosine"}) for factor in (0.125, 0.25, 0.5, 1.0, 2.0)),
    *((factor, {"schedule": "linear"}) for factor in (0.25, 0.5, 1.0, 2.0)),
    *((factor, {"schedule": "constant"}) for factor in (0.125, 0.25, 0.5, 1.0)),
    *((factor, {"schedule": "wsd", "decay": 0.2}) for factor in (0.5, 1.0)),
    (1.0, {"schedule": "wsd", "decay": 0.6}),
    (1.0, {"schedule": "cosine", "warmup": 0.3}),
    (1.0, {"schedule": "linear", "warmup": 0.5}),
)


def study(budget: str = "cpu-20m", rates: Text = "python") -> Study:
    return Study("kaplan-schedule", "Does the schedule matter beside its sum?", runs(named(budget, rates=rates)))


def runs(budget: Budget) -> tuple[RunConfig, ...]:
    part = budget.schedules
    model = budget.model(part.shape)
    return tuple(
        budget.run(
            model,
            part.tokens,
            EvalConfig(windows=budget.windows, per_octave=1, octaves=2),
            seed=seed,
            optim=budget.optim(model.N, part.tokens, budget.batch_tokens, factor=factor, **fields),
        )
        for factor, fields in SCHEDULES
        for seed in range(part.seeds)
    )
