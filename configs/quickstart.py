"""The quickstart: how the loss depends on N and D, on whatever text there is, within minutes on two CPU cores.

Four groups of runs, each a training of one model:

- the grid: every size at every D, one epoch, the cosine matched to the run: L(N, D) of Hoffmann et al. (2022);
- repeated data: few unique tokens, seen until the held-out loss stops falling: L(N, D) of Kaplan et al. (2020);
- replicates: the grid's corners with other seeds, for the seed noise;
- half and double the learning rate at the smallest and the largest size, for the warning that a rate was not its best.
"""

import dataclasses
import itertools

from configs.rates import learning_rate
from scaling import counts
from scaling.config import DataConfig, EvalConfig, OptimConfig, RunConfig, Study
from scaling.errors import InputError
from scaling.ladder import ladder

SHAPES = ((8, 2), (16, 2), (24, 2), (32, 2), (48, 2), (64, 2), (96, 2), (128, 2), (128, 4), (192, 4), (256, 4))
D_HEAD = 8
BATCH = 4  # sequences of 64 tokens: the critical batch of such losses is small, and steps are what short runs lack
SMALLEST = 6  # sizes; fewer make no law


def study(minutes: float = 5, data: str = "python") -> Study:
    """As many of the largest sizes, tokens and seeds as fit into `minutes` on two cores."""
    for n_sizes, octaves, seeds in sorted(
        itertools.product(range(SMALLEST, len(SHAPES) + 1), (4, 5, 6, 7), (2, 3, 4)), key=lambda choice: _rank(*choice)
    ):
        runs = _runs(n_sizes, octaves, seeds, data)
        if _minutes(runs) <= minutes:
            return Study("quickstart", "How does the loss depend on model size N and data D?", runs)
    least = _minutes(_runs(SMALLEST, 4, 2, data))
    raise InputError(f"minutes={minutes} is too short for {SMALLEST} sizes; use at least {least:.0f}")
