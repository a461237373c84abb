"""Shapes of one N: d_ff / d_model, d_model / n_layer and the heads, with seeds: Figures 5 and 24.

All shapes of an N have the learning rate and the warm-up of that N; the base, from which changes are told, has the
most seeds.
"""

import dataclasses

from configs.kaplan.budgets import DEFAULT, named
from configs.kaplan.terms import Budget
from configs.shapes import shapes
from scaling.config import RunConfig, Study
from scaling.rates import Text


def study(budget: str = DEFAULT, transfer: tuple[str, ...] = (), rates: Text = "python") -> Study:
    """All shapes and seeds of a budget.

    Args:
      transfer: sources of held-out text of other kinds, as in eval.transfer.
      rates: the text whose learning rates the runs take; that of data.source where it is left out.
    """
    return Study("kaplan-shape", "What does the loss owe to the shape?", runs(named(budget, transfer, rates)))


def runs(budget: Budget) -> tuple[RunConfig, ...]:
    part = budget.shapes
    evaluate = budget.seen(octaves=2, transfer=budget.transfer)
    found = []
    for base in part.bases:
        models = shapes(
            base.N,
            base.n_layer,
            base.d_head,
            base.ff_ratios,
            base.layers,
            base.heads,
            **budget.grid.fields,
        )
        # Steps of the width leave N off by up to a percent; rate and warm-up are one for all.
        first = budget.run(models[0], part.tokens, evaluate)
        found += [
            dataclasses.replace(first, model=model, seed=seed)
            for model in models
            for seed in range(part.base_seeds if model == models[0] else part.seeds)
        ]
    return tuple(found)
