"""What is trained: one size under many schedules, from shared trunks where they have cooldowns.

    scaling study show configs/schedules/experiments.py --set budget=cpu-6h
    scaling study run configs/schedules/experiments.py --set only=nine --out studies/papers-cpu-1h

| experiment | what | of the peak rate |
| --- | --- | --- |
| `nine` | nine schedules of one length | 1: the rule's for a cosine |
| `gentle` | cooldowns over several shares of the run | GENTLE, which suits a constant rate |
| `cycle` | cosines 1 to 5 times as long as the run | 1; those of configs/chinchilla |
| `slow` | the same | SLOW |
| `collapse` | sizes with equal tokens per parameter | the main grid's |
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from configs import grid
from configs.budget import NAME, QUESTION, runs_of
from configs.chinchilla.experiments import CYCLES, cosine, cycles
from configs.schedules.budgets import DEFAULT, Budget, named
from scaling.config import RunConfig, Study
from scaling.rates import Text

GENTLE = 0.5  # of a cosine's peak: the best constant rate of Haegele et al. (2024)
SLOW = 0.25  # of it, as if the rate had not been tuned
SHARES = (0.05, 0.1, 0.2, 0.4)  # of the updates: cooldowns, as in Figure 5 of Haegele et al. (2024)
PER_OCTAVE = 16  # evaluations, so that a cooldown of a fifth has five
SCHEDULES: Mapping[str, Mapping[str, Any]] = {
    "constant": {"schedule": "constant"},
    "cosine": {},
    "wsd 20 %": {"schedule": "wsd", "decay": 0.2},
    "linear": {"schedule": "linear"},
    "wsd 5 %": {"schedule": "wsd", "decay": 0.05},
    "wsd 10 %": {"schedule": "wsd", "decay": 0.1},
    "wsd 40 %": {"schedule": "wsd", "decay": 0.4},
    "wsd 20 %, linear": {"schedule": "wsd_linear", "decay": 0.2},
    "two stages": {"schedule": "two_stage", "decay": 0.4},
}
FITTED = ("constant", "cosine", "wsd 20 %")  # by which laws are known; they predict the other six


def nine(budget: Budget) -> tuple[RunConfig, ...]:
    """SCHEDULES at one peak rate; the cosine is that of `cycle`."""
    return tuple(
        under(cosine(budget, 1.0, seed, 1.0), **fields)
        for seed in range(budget.cycle.seeds)
        for fields in SCHEDULES.values()
    )


def gentle(budget: Budget) -> tuple[RunConfig, ...]:
    """Cooldowns from a lower constant rate."""
    return tuple(
        under(cosine(budget, 1.0, seed, GENTLE), schedule="wsd", decay=share)
        for seed in range(budget.cycle.seeds)
        for share in SHARES
    )


def slow(budget: Budget) -> tuple[RunConfig, ...]:
    """Cosines as long as the run and longer at a rate that is too small."""
    return tuple(cosine(budget, cycle, seed, SLOW) for seed in range(budget.slow) for cycle in CYCLES)


def collapse(budget: Budget) -> tuple[RunConfig, ...]:
    """Branches of the main grid with equal tokens per parameter."""
    tokens = {budget.grid.size(k): 2 ** (budget.shortest + k - budget.sizes[0]) for k in budget.sizes}
    return tuple(run for run in grid.runs(budget.grid, budget.rates) if run.tokens == tokens.get(run.model.N))


def under(run: RunConfig, **optim: Any) -> RunConfig:
    """The run under another schedule, looked at more often."""
    if not optim:
        return run
    evaluate = dataclasses.replace(run.eval, per_octave=PER_OCTAVE)
    return dataclasses.replace(run, optim=dataclasses.replace(run.optim, **optim), eval=evaluate)


EXPERIMENTS: Mapping[str, Callable[[Budget], tuple[RunConfig, ...]]] = {
    "nine": nine,
    "gentle": gentle,
    "cycle": cycles,
    "slow": slow,
    "collapse": collapse,
}


def study(budget: str = DEFAULT, only: tuple[str, ...] = (), rates: Text = "python") -> Study:
    """The runs of all experiments, or of some.

    Args:
      only: names of experiments; all where there are none.
      rates: the text whose learning rates the runs take; that of data.source where it is left out.
    """
    return Study(NAME, QUESTION, runs_of(EXPERIMENTS, named(budget, rates=rates), only))
