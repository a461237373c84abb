"""Seed noise, measured from runs that are equal in everything but their seed."""

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray
from scipy import special

from analysis.fit.solver import Array
from analysis.table import Table

# What a run is called and what came of it, by the beginning of a column's name. All other columns are settings.
NOT_SETTINGS = (
    *("_", "run", "name", "id", "seed", "status", "seconds", "time", "date", "error", "excess", "bits_per_byte"),
    *("loss", "train_loss", "val_loss", "test_loss", "perplexity", "accuracy", "tokens_at_min"),
    *("batch_crit", "steps_min", "steps_stop", "flops_min"),
)
LIKELY = 0.05  # that equal noise at all sizes would show such a slope, below which the slope is believed
ENOUGH = 12  # degrees of freedom below which no slope is believed


@dataclasses.dataclass(frozen=True, eq=False)
class Replicates:
    """Seed noise: the spread of ln(loss) among runs that are equal in everything but their seed."""

    sigma: float  # pooled
    degrees: int
    groups: tuple[tuple[tuple[str, ...], float], ...]  # rows and their standard deviation
    slope: float  # of ln(sigma) in ln(params), 0 unless equal noise at all sizes would hardly show one as steep
    centre: float  # ln(params) at which sigma is the pooled one

    def per_row(self, table: Table) -> Array:
        if not self.slope:
            return np.full(len(table), self.sigma)
        return self.sigma * np.exp(self.slope * (np.log(table["params"]) - self.centre))


def same_settings(table: Table, target: str = "loss") -> NDArray[np.int64]:
    """Group index per row: equal in every column but the target and those of `NOT_SETTINGS`."""
    names = [name for name in table if name != target and not name.startswith(NOT_SETTINGS)]
    keys = list(zip(*(table[name].tolist() for name in names), strict=True)) if names else [()] * len(table)
    index: dict[str, int] = {}
    return np.array([index.setdefault(repr(key), len(index)) for key in keys], np.int64)


def replicates(table: Table, target: str = "loss") -> Replicates | None:
    """Seed noise measured from replicates, None without a column `seed` or where no two runs differ in it alone."""
    if not table.has("seed"):
        return None
    table = table.where(np.isfinite(table[target]) & (table[target] > 0), f"no {target}")
    if table.has("status"):
        table = table.where(table["status"] == "done", "diverged or unfinished")
    group, y = same_settings(table, target), np.log(table[target])
    groups, squares, degrees, sizes, spreads = [], 0.0, [], [], []
    for g in np.unique(group):
        i = np.flatnonzero(group == g)
        if len(i) < 2:
            continue
        s = float(np.std(y[i], ddof=1))
        groups.append((tuple(table.label(int(k)) for k in i), s))
        squares += (len(i) - 1) * s * s
        degrees.append(len(i) - 1)
        sizes.append(math.log(table["params"][i[0]]) if table.has("params") else 0.0)
        spreads.append(s)
    if not degrees:
        return None
    slope, centre = _slope(np.array(sizes), np.array(spreads), np.array(degrees))
    return Replicates(math.sqrt(squares / sum(degrees)), sum(degrees), tuple(groups), slope, centre)


def _slope(sizes: Array, spreads: Array, degrees: NDArray[np.int64]) -> tuple[float, float]:
    """Slope of ln(spread) in the sizes where it is significant, else 0, and the size in the middle.

    The logarithm of a standard deviation from d degrees of freedom is off by (digamma(d / 2) - ln(d / 2)) / 2 on
    average and has the variance trigamma(d / 2) / 4, so the slope's error is known and not estimated. Weights from a
    slope that is only noise would be taken as known, and the intervals would be too short.
    """
    known = spreads > 0
    x, s, half = sizes[known], spreads[known], degrees[known] / 2
    if len(np.unique(x)) < 3 or 2 * half.sum() < ENOUGH:
        return 0.0, float(np.mean(sizes))
    w = 4 / special.polygamma(1, half)
    y = np.log(s) - (special.digamma(half) - np.log(half)) / 2
    centre = float(np.average(x, weights=w))
    square = float((w * (x - centre) ** 2).sum())
    slope = float((w * (x - centre) * y).sum() / square)
    believed = 2 * special.ndtr(-abs(slope) * math.sqrt(square)) < LIKELY
    return (slope if believed else 0.0), centre
