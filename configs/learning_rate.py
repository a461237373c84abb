"""Which learning rate suits which size and length: the sweep behind configs/rates.py.

    scaling study run configs/learning_rate.py --out studies/rates
    scaling tune studies/rates --out rates.json

Every rate of a size is the same program: rates are arrays. `more` adds two rates, once, past an end of the grid where a
best one lies at that end.
"""

import dataclasses
import math
from typing import Any

from scaling import rates
from scaling.config import EvalConfig, OptimConfig, RunConfig, Study
from scaling.ladder import ladder

SHAPES = ((8, 2), (16, 2), (24, 2), (32, 2), (48, 2), (64, 2), (96, 2))
APART = 4  # factor between lengths, and between batches


def study(
    D: int = 2**16,
    n_data: int = 2,
    n_sizes: int = 6,
    lowest: float = 2e-3,
    n_rates: int = 6,
    batch: int = 4,
    n_batches: int = 1,
    n_seeds: int = 1,
) -> Study:
    """`n_rates` learning rates, doubling from `lowest`, for each size, length, batch and seed.

    Args:
      D: the shortest length in tokens; `n_data` of them, each 4 times the one before.
      n_sizes: how many of SHAPES, the smallest first.
      batch: the smallest batch in sequences; `n_batches` of them, each 4 times the one before.
    """
    runs = tuple(
        RunConfig(
            model,
            tokens=D * APART**i,
            batch=batch * APART**j,
            seed=seed,
            optim=OptimConfig(learning_rate=lowest * 2**k),
            eval=EvalConfig(per_octave=1, octaves=5),
        )
        for model in ladder(SHAPES[:n_sizes], d_head=8)
        for i in range(n_data)
        for j in range(n_batches)
        for k in range(n_rates)
        for seed in range(n_seeds)
    )
    return Study("learning-rate", "Which learning rate suits which size and length?", runs)


def more(table: Any, **settings: Any) -> tuple[RunConfig, ...]:
    """Runs at two more rates wherever the lowest loss lies at an end of the grid; asked once, when all runs are done.

    Args:
      table: the study's runs, an `analysis.table.Table`.
      settings: as given to `study`.
    """
    columns = ("params", "tokens", "batch_tokens", "learning_rate", "loss")
    status = table["status"] if "status" in table else ["done"] * len(table["loss"])
    found: dict[tuple[float, ...], dict[float, list[float]]] = {}
    for row, state in zip(zip(*(table[name] for name in columns), strict=True), status, strict=True):
        params, tokens, batch, rate, loss = map(float, row)
        losses = found.setdefault((params, tokens, batch), {}).setdefault(rate, [])
        losses.append(math.log(loss) if state == "done" and loss > 0 else math.nan)
    added: dict[RunConfig, None] = {}
    for run in study(**settings).runs:
        grid = found.get((run.model.N, run.tokens, run.batch_tokens), {})
        end = rates.edge(list(grid), [sum(losses) / len(losses) for losses in grid.values()])
        for rate in rates.beyond(list(grid), end) if end else ():
            optim = dataclasses.replace(run.optim, learning_rate=rate)
            added[dataclasses.replace(run, optim=optim)] = None
    return tuple(added)
