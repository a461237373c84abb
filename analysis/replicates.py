"""Seed noise, measured from runs that are equal in everything but their seed."""

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from analysis.solver import Array
from analysis.table import NUMBER_COLUMNS, TEXT_COLUMNS, Table

SETTINGS = (*NUMBER_COLUMNS, *TEXT_COLUMNS, "warmup", "weight_decay", "optimizer", "dtype", "tokens_id")
OUTCOMES = (
    *("run", "seed", "status", "loss", "loss_min", "loss_half", "tokens_at_min", "bits_per_byte"),
    *("batch_crit", "steps_min", "flops_min"),  # follow from the loss
)


@dataclasses.dataclass(frozen=True, eq=False)
class Replicates:
    """Seed noise: the spread of ln(loss) among runs that are equal in everything but their seed."""

    sigma: float  # pooled
    degrees: int
    groups: tuple[tuple[tuple[str, ...], float], ...]  # rows and their standard deviation
    slope: float  # of ln(sigma) in ln(params), 0 unless three sizes or more are replicated
    centre: float  # ln(params) at which sigma is the pooled one

    def per_row(self, table: Table) -> Array:
        if not self.slope:
            return np.full(len(table), self.sigma)
        return self.sigma * np.exp(self.slope * (np.log(table["params"]) - self.centre))


def same_settings(table: Table) -> NDArray[np.int64]:
    """Group index per row: equal in every setting that the table states."""
    names = [name for name in SETTINGS if name in table and name not in OUTCOMES]
    keys = list(zip(*(table[name].tolist() for name in names), strict=True)) if names else [()] * len(table)
    index: dict[str, int] = {}
    return np.array([index.setdefault(repr(key), len(index)) for key in keys])


def replicates(table: Table, target: str = "loss") -> Replicates | None:
    """Seed noise measured from replicates, None without a column `seed` or where no two runs differ in it alone."""
    if not table.has("seed"):
        return None
    table = table.where(np.isfinite(table[target]) & (table[target] > 0), f"no {target}")
    if table.has("status"):
        table = table.where(table["status"] == "done", "diverged or unfinished")
    group, y = same_settings(table), np.log(table[target])
    groups, squares, degrees, sizes, spreads = [], 0.0, 0, [], []
    for g in np.unique(group):
        i = np.flatnonzero(group == g)
        if len(i) < 2:
            continue
        s = float(np.std(y[i], ddof=1))
        groups.append((tuple(table.label(int(k)) for k in i), s))
        squares, degrees = squares + (len(i) - 1) * s * s, degrees + len(i) - 1
        if table.has("params") and s > 0:
            sizes += [math.log(table["params"][i[0]])] * (len(i) - 1)
            spreads += [math.log(s)] * (len(i) - 1)
    if not degrees:
        return None
    slope = float(np.polyfit(sizes, spreads, 1)[0]) if len(set(sizes)) > 2 else 0.0
    return Replicates(
        math.sqrt(squares / degrees), degrees, tuple(groups), slope, float(np.mean(sizes)) if sizes else 0.0
    )
