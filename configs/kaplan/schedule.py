"""Learning-rate schedules of one size: Figure 22, the final loss against the summed learning rate."""

import dataclasses

from configs.kaplan.budgets import DEFAULT, named
from configs.kaplan.terms import Budget
from scaling.config import OptimConfig, RunConfig, Study
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


def study(budget: str = DEFAULT, rates: Text = "python") -> Study:
    return Study("kaplan-schedule", "Does the schedule matter beside its sum?", runs(named(budget, rates=rates)))


def runs(budget: Budget) -> tuple[RunConfig, ...]:
    part, model = budget.schedules, budget.grid.model(budget.schedules.k)
    peak = budget.grid.rate(model.N, part.tokens, budget.grid.batch_tokens, budget.rates)
    found = []
    for factor, fields in SCHEDULES:
        for seed in range(part.seeds):
            run = budget.run(model, part.tokens, budget.seen(octaves=2), seed=seed)
            optim = OptimConfig(factor * peak, run.optim.optimizer, **fields)  # pyright: ignore[reportArgumentType]
            found.append(dataclasses.replace(run, optim=optim))
    return tuple(found)
