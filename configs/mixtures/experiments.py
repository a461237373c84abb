"""Mixtures of some texts, one small model each, and some of them again with a larger one.

    scaling study run configs/mixtures/experiments.py --out studies/mixtures \\
      --set budget=cpu-3h 'source=mix:0.5*text:a/*.jsonl+0.3*text:b/*.jsonl+0.2*text:c/*.jsonl'

Shares are drawn from all mixtures alike (Dirichlet), none of them below LEAST. Every model has one vocabulary and is
evaluated on the held-out text of each part. Give the texts as `source`, and not as data.source, which would be the same
for all runs.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from configs.budget import NAME, QUESTION, runs_of
from configs.grid import GRIDS
from configs.mixtures.budgets import DEFAULT, EMBEDDED, Budget, named
from configs.rates import learning_rate
from scaling.config import DataConfig, EvalConfig, OptimConfig, RunConfig, Study
from scaling.data import mixture
from scaling.errors import InputError
from scaling.rates import Text

GRID = GRIDS["cpu-1h"]  # its sizes, context and batch
LEAST = 0.01  # share of a part
STEP = 0.001  # to which shares are rounded


def study(budget: str = DEFAULT, source: str = EMBEDDED, rates: Text = "english") -> Study:
    """The runs of all experiments.

    Args:
      source: a mixture, whose parts are the texts.
      rates: the text whose learning rates the runs take.
    """
    at = dataclasses.replace(named(budget, rates=rates), source=source)
    return Study(NAME, QUESTION, runs_of(EXPERIMENTS, at))


def small(budget: Budget) -> tuple[RunConfig, ...]:
    """Every mixture."""
    return _trained(budget, budget.size, mixtures(budget))


def large(budget: Budget) -> tuple[RunConfig, ...]:
    """Those that no law is fitted to, again with a larger model."""
    return _trained(budget, budget.large, mixtures(budget)[-budget.held :])


def repeated(budget: Budget) -> tuple[RunConfig, ...]:
    """Every mixture, of some of its parts only a little text."""
    return _trained(budget, budget.size, (scarce(budget, source) for source in mixtures(budget)))


def repeated_large(budget: Budget) -> tuple[RunConfig, ...]:
    """The mixtures of `large`, as in `repeated`."""
    return _trained(budget, budget.large, (scarce(budget, source) for source in mixtures(budget)[-budget.held :]))


EXPERIMENTS: Mapping[str, Callable[[Budget], tuple[RunConfig, ...]]] = {
    "small": small,
    "large": large,
    "repeated": repeated,
    "repeated_large": repeated_large,
}


def mixtures(budget: Budget) -> list[str]:
    """The sources: that of the budget first, and shares drawn at random.

    Raises:
        InputError: the budget's source is no mixture.
    """
    if not mixture.is_one(budget.source):
        raise InputError(f"{budget.source}: wanted several texts, each with a share, such as {EMBEDDED}")
    parts = mixture.parse(budget.source)
    draws = np.random.default_rng(len(parts)).dirichlet(np.ones(len(parts)), budget.mixtures - 1)
    whole = round(1 / STEP)
    found = [budget.source]
    for draw in draws:
        shares = np.round((LEAST + (1 - len(parts) * LEAST) * draw) * whole).astype(int)
        shares[np.argmax(shares)] += whole - shares.sum()
        found.append(mixture.PREFIX + "+".join(f"{n / whole:g}*{part}" for n, part in zip(shares, parts, strict=True)))
    return found


def scarce(budget: Budget, source: str) -> str:
    """The mixture with so little text of its last parts that at equal shares each is read `budget.repeats` times."""
    parts = mixture.parse(source)
    most = 2**budget.tokens // (len(parts) * budget.repeats)
    few = parts[len(parts) - budget.scarce :]
    short = [dataclasses.replace(part, most=min(most, part.most or most)) if part in few else part for part in parts]
    return mixture.PREFIX + "+".join(f"{part.share:.9g}*{part}" for part in short)


def held_out(budget: Budget) -> tuple[str, ...]:
    """The held-out text of each part."""
    return tuple(f"held_out({part.source})" for part in mixture.parse(budget.source))


def _trained(budget: Budget, k: int, sources: Iterable[str]) -> tuple[RunConfig, ...]:
    model, tokens = GRID.model(k), 2**budget.tokens
    rate = learning_rate(model.N, tokens, GRID.batch_tokens, text=budget.rates)
    return tuple(
        RunConfig(
            model,
            tokens=tokens,
            batch=GRID.batch,
            data=DataConfig(source),
            optim=OptimConfig(learning_rate=rate),
            eval=EvalConfig(windows=budget.windows, per_octave=1, octaves=2, transfer=held_out(budget)),
        )
        for source in sources
    )
