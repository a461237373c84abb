"""Runs that are one setting, and the noise of the seed among them.

Losses are in nats per token, N in non-embedding parameters, D in tokens.
"""

import dataclasses
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis import digits
from analysis.confidence import LEVEL, sigma_interval
from analysis.table import Table

# What makes runs one setting: all that a record says of how a run was trained, but its rate and its seed.
SETTING = (
    *("kind", "reuse", "positions", "rotary_base", "position_scale", "norm", "feed_forward", "qk_norm", "n_kv_head"),
    *("tied", "bias", "z_loss", "softcap", "parametrization"),
    *("params", "d_model", "n_layer", "n_head", "d_attn", "d_ff", "n_ctx", "n_vocab", "dropout", "dtype"),
    *(
        "tokens",
        "unique_tokens",
        "batch_tokens",
        "schedule",
        "warmup",
        "optimizer",
        "weight_decay",
        "independent_decay",
        "data",
        "tokens_id",
    ),
)


@dataclasses.dataclass(frozen=True)
class Replicated:
    """Runs that differ in their seed alone."""

    params: float
    tokens: float
    losses: tuple[float, ...]
    sigma: float  # standard deviation of ln(loss)


@dataclasses.dataclass(frozen=True)
class Noise:
    """Seed noise: the scatter of ln(loss) among replicates, pooled, with its chi-square interval."""

    sigma: float
    low: float
    high: float
    nats: float  # sigma times the mean loss of the replicated settings
    degrees: int
    groups: tuple[Replicated, ...]

    def sentence(self) -> str:
        runs, low, high = sum(len(g.losses) for g in self.groups), digits.percent(self.low), digits.percent(self.high)
        return (
            f"Another seed changes the loss by {digits.percent(self.sigma)}, {self.nats:.2g} nats per token (one "
            f"standard deviation; {digits.percent(LEVEL)} interval {low} to {high}), measured on {runs} runs of "
            f"{len(self.groups)} {digits.plural(len(self.groups), 'setting', 'settings')}."
        )


def settings(table: Table, *besides: str) -> NDArray[np.int64]:
    """Group index per row: equal in all of SETTING and in the columns of `besides`."""
    names = [name for name in (*SETTING, *besides) if name in table]
    index: dict[tuple[Any, ...], int] = {}
    keys = zip(*(map(str, table[name]) for name in names), strict=True)  # as text: nan equals nan
    return np.array([index.setdefault(key, len(index)) for key in keys], dtype=np.int64)


def mean_loss(loss: np.ndarray) -> float:
    """Geometric mean; nan if one of them is."""
    return float(np.exp(np.mean(np.log(loss)))) if len(loss) else math.nan


def seed_noise(table: Table) -> Noise | None:
    """Seed noise from runs that are equal in everything but their seed; None where there are none."""
    if "seed" not in table:
        return None
    cell, groups = settings(table, "learning_rate"), []
    for k in np.unique(cell):
        rows = np.flatnonzero(cell == k)
        rows = rows[np.unique(table["seed"][rows], return_index=True)[1]]  # one run per seed
        if len(rows) > 1:
            losses = table["loss"][rows]
            spread = float(np.std(np.log(losses), ddof=1))
            first = int(rows[0])
            groups.append(
                Replicated(float(table["params"][first]), float(table["tokens"][first]), tuple(losses.tolist()), spread)
            )
    degrees = sum(len(g.losses) - 1 for g in groups)
    if not degrees:
        return None
    sigma = math.sqrt(sum((len(g.losses) - 1) * g.sigma**2 for g in groups) / degrees)
    low, high = sigma_interval(sigma, degrees)
    nats = sigma * mean_loss(np.array([loss for g in groups for loss in g.losses]))
    groups.sort(key=lambda g: (g.params, g.tokens))
    return Noise(sigma, low, high, nats, degrees, tuple(groups))
