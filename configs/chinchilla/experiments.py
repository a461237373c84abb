"""What is trained: the main grid, shared with other papers, and cosines longer than the run (Figure A1)."""

import dataclasses
import math
from collections.abc import Callable, Mapping

from configs import grid
from configs.budget import NAME, QUESTION, runs_of
from configs.chinchilla.budgets import DEFAULT, Budget, named
from scaling.config import EvalConfig, RunConfig, Study
from scaling.rates import Text

CYCLES = (1.0, 1.1, 1.25, 1.5, 2.0, 5.0)  # of the cosine, in lengths of the run: Figure A1
TRIED = (0.5, 2.0)  # times the rule's rate, where the cosine is as long as the run


def study(budget: str = DEFAULT, rates: Text = "python") -> Study:
    """The runs of all experiments.

    Args:
      rates: the text whose learning rates the runs take; that of data.source where it is left out.
    """
    return Study(NAME, QUESTION, runs_of(EXPERIMENTS, named(budget, rates=rates)))


def main_grid(budget: Budget) -> tuple[RunConfig, ...]:
    """Approaches 1, 2 and 3."""
    return grid.runs(budget.grid, budget.rates)


def cycles(budget: Budget) -> tuple[RunConfig, ...]:
    """Cosines as long as the run and longer.

    A run that is stopped in the middle of its cosine is a longer run looked at there: the evaluations lie close enough
    together to read its loss after the tokens of the shortest.
    """
    part = budget.cycle
    return tuple(
        cosine(budget, cycle, seed, factor)
        for seed in range(part.seeds)
        for cycle, factor in (*((cycle, 1.0) for cycle in CYCLES), *((1.0, factor) for factor in TRIED))
        if factor == 1.0 or seed == 0
    )


def cosine(budget: Budget, cycle: float, seed: int, factor: float) -> RunConfig:
    """A cosine so many times as long as the run, at so many times the rule's rate."""
    part, model = budget.cycle, budget.grid.model(budget.cycle.k)
    B = budget.grid.batch_tokens
    run = budget.grid.trained(
        model,
        math.ceil(cycle * part.tokens / B) * B,
        EvalConfig(windows=budget.grid.windows, per_octave=8, octaves=3),
        budget.rates,
        seed=seed,
        unique_tokens=int(max(CYCLES)) * part.tokens,
    )
    rate = factor * budget.grid.rate(model.N, part.tokens, B, budget.rates)
    return dataclasses.replace(run, optim=dataclasses.replace(run.optim, learning_rate=rate, schedule="cosine"))


EXPERIMENTS: Mapping[str, Callable[[Budget], tuple[RunConfig, ...]]] = {"grid": main_grid, "cycle": cycles}
