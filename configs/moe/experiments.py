"""Models whose feed-forwards are experts, beside dense ones that do as much for a token.

    scaling study show configs/moe/experiments.py --set budget=cpu-1h

| experiment | runs |
| --- | --- |
| `experts` | sizes times numbers of experts at several lengths, tokens sent by a balanced hash; 1 is the dense model |
| `routings` | one size with one number of experts, sent in every way that there is, at the longest length |
| `rates` | the smallest and the largest size with the most experts, at half and at twice the learning rate |

All layers are routed, and a token meets one expert, as wide as the dense feed-forward: N, and what a token costs, is
that of the dense model but for the router, which a hash does not have. Dense runs are those of configs/grid.py.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Literal

from configs.budget import NAME, QUESTION, runs_of
from configs.moe.budgets import DEFAULT, Budget, named
from scaling.config import EvalConfig, ModelConfig, RunConfig, Study
from scaling.rates import Text

Routing = Literal["hash", "top_k", "expert_choice", "expert_choice_at_position"]
ROUTINGS: tuple[Routing, ...] = ("hash", "top_k", "expert_choice", "expert_choice_at_position")
FACTORS = (0.5, 2.0)  # times the rule's rate


def study(budget: str = DEFAULT, only: tuple[str, ...] = (), N: int | None = None, rates: Text = "python") -> Study:
    """The runs of all figures, or a part of them.

    Args:
      only: names of experiments; all where there are none.
      N: only models of so many parameters, for a study that is trained in portions.
      rates: the text whose learning rates the runs take; that of data.source where it is left out.
    """
    return Study(NAME, QUESTION, runs_of(EXPERIMENTS, named(budget, rates=rates), only, N))


def experts(budget: Budget) -> tuple[RunConfig, ...]:
    """Every size with every number of experts at every length."""
    ends = (budget.sizes[0], budget.sizes[-1])
    return tuple(
        run
        for k in budget.sizes
        for number in budget.experts
        for seed in range(budget.seeds if k in ends else 1)
        for run in _branches(budget, _hashed(budget, k, number), budget.lengths, seed=seed)
    )


def routings(budget: Budget) -> tuple[RunConfig, ...]:
    """The dense model, and each way of routing; those that have slots to spare have as many."""
    number, k = budget.experts[-2], budget.compared
    models = [_hashed(budget, k, 1), _hashed(budget, k, number)]
    models += [dataclasses.replace(models[1], routing="top_k")]
    models += [dataclasses.replace(models[0], kind="routed", experts=number, routing=way) for way in ROUTINGS[2:]]
    return tuple(run for model in models for run in _branches(budget, model, 1))


def rates(budget: Budget) -> tuple[RunConfig, ...]:
    """Other learning rates, and the rule's."""
    return tuple(
        run
        for k in (budget.sizes[0], budget.sizes[-1])
        for factor in (1.0, *FACTORS)
        for run in _branches(budget, _hashed(budget, k, budget.experts[-1]), 1, factor=factor)
    )


EXPERIMENTS: Mapping[str, Callable[[Budget], tuple[RunConfig, ...]]] = {
    "experts": experts,
    "routings": routings,
    "rates": rates,
}


def _hashed(budget: Budget, k: int, number: int) -> ModelConfig:
    """A size of the grid with so many experts."""
    dense = budget.grid.model(k)
    if number == 1:
        return dense
    return dataclasses.replace(dense, kind="routed", experts=number, routing="hash", capacity=budget.capacity)


def _branches(
    budget: Budget, model: ModelConfig, lengths: int, *, factor: float = 1.0, seed: int = 0
) -> Iterator[RunConfig]:
    """The longest run of a model, and so many less one that end before, as the grid trains its own."""
    evaluate = EvalConfig(windows=budget.grid.windows, per_octave=budget.grid.per_octave, octaves=6)
    for n in range(lengths):
        tokens = 2 ** (budget.longest - n)
        yield budget.grid.trained(model, tokens, evaluate, budget.rates, factor=factor, seed=seed)
