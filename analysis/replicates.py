"""Runs that are one setting, and the noise of the seed among them.

A setting is whatever was decided of a run before it was trained, its learning rate and its seed apart: every column of
a table but those that name a run or say what came of it. A column that nobody here has heard of tells two settings
apart as well. Losses are in nats per token, N in non-embedding parameters, D in tokens.
"""

import dataclasses
import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special

from analysis import digits
from analysis.confidence import LEVEL, sigma_interval
from analysis.table import Table
from scaling.config import COOLED

Array = NDArray[np.float64]

RATE = "learning_rate"  # and learning_rate_sum, which follows from it
# What a run is called and what came of it, by the beginning of a column's name.
NOT_SETTINGS = (
    *("_", "run", "name", "id", "seed", "status", "seconds", "time", "date", "error", "excess", "bits_per_byte"),
    *("loss", "train_loss", "val_loss", "test_loss", "perplexity", "accuracy", "tokens_at_min", "onset"),
    *("batch_crit", "steps_min", "steps_stop", "flops_min", "flops_trained", "noise_trace", "grad_square"),
)
# What branches of one trunk may differ in: shares and totals follow the length.
OWN_LENGTH = ("tokens", "unique_tokens", "epochs", "steps", "warmup")
LIKELY = 0.05  # that equal noise at all sizes would show such a slope, below which the slope is believed
ENOUGH = 12  # degrees of freedom below which no slope is believed


@dataclasses.dataclass(frozen=True)
class Replicated:
    """Runs that differ in their seed alone."""

    params: float
    tokens: float
    losses: tuple[float, ...]
    sigma: float  # standard deviation of ln(loss)


@dataclasses.dataclass(frozen=True)
class Noise:
    """Seed noise: the scatter of ln(loss) among replicates, pooled, with its chi-square interval.

    Attributes:
        degrees: of freedom. Branches of one trunk share its noise: they count once, however many.
        trunks: that the runs are branches of, 0 where none has several.
        nats: sigma times the mean loss of the replicated settings.
        slope: of ln(sigma) in ln(params), 0 unless equal noise at all sizes would hardly show one as steep.
        centre: ln(params) at which sigma is the pooled one.
    """

    sigma: float
    low: float
    high: float
    nats: float
    degrees: int
    groups: tuple[Replicated, ...]
    slope: float = 0.0
    centre: float = 0.0
    trunks: int = 0

    def per_row(self, table: Table) -> Array:
        """The noise of each row, by its size where the slope is believed."""
        if not self.slope:
            return np.full(len(table), self.sigma)
        return self.sigma * np.exp(self.slope * (np.log(table["params"]) - self.centre))

    def sentence(self) -> str:
        runs, low, high = sum(len(g.losses) for g in self.groups), digits.percent(self.low), digits.percent(self.high)
        return (
            f"Another seed changes the loss by {digits.percent(self.sigma)}, {self.nats:.2g} nats per token (one "
            f"standard deviation; {digits.percent(LEVEL)} interval {low} to {high}), measured on {runs} runs of "
            f"{len(self.groups)} {digits.plural(len(self.groups), 'setting', 'settings')}{self._shared()}."
        )

    def _shared(self) -> str:
        if not self.trunks:
            return ""
        return (
            f", branches of {self.trunks} trunks that count once each ({self.degrees} "
            f"{digits.plural(self.degrees, 'degree', 'degrees')} of freedom)"
        )


def setting_columns(table: Table, target: str = "loss") -> list[str]:
    """The columns that make the setting of a row."""
    return [name for name in table if name != target and not name.startswith((*NOT_SETTINGS, RATE))]


def settings(table: Table, *besides: str, target: str = "loss") -> NDArray[np.int64]:
    """The number of each row's setting, from 0 in the order in which they appear.

    Args:
        besides: columns in which rows of one number are equal too, such as "learning_rate".
        target: an outcome, whatever its name.
    """
    return grouped(table, [*setting_columns(table, target), *(name for name in besides if name in table)])


def grouped(table: Table, names: list[str]) -> NDArray[np.int64]:
    """A number per row, from 0 in the order in which they appear: that of its values in these columns; NaN is one."""
    group = np.zeros(len(table), np.int64)
    for name in names:
        values, code = np.unique(table[name], return_inverse=True)
        group = np.unique(group * len(values) + code, return_inverse=True)[1]
    _, first, group = np.unique(group, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[group]


def trunks(table: Table, *besides: str) -> NDArray[np.int64]:
    """A number per row: equal for branches of one trunk, runs that have a cooldown and differ in their length alone.

    What follows from the length may differ too. A warm-up is the same where its updates are.

    Args:
        besides: columns in which branches are equal too: RATE, and "seed" for those of one trunk and not of several
            that differ in their seed.
    """
    if "schedule" not in table:
        return np.arange(len(table))
    if "warmup" in table and "steps" in table:
        table = table.with_columns(_warmup=np.round(table["warmup"] * table["steps"]))
    same = [name for name in setting_columns(table) if name not in OWN_LENGTH and not name.startswith("flops")]
    group = grouped(table, [*same, *(name for name in ("_warmup", *besides) if name in table)])
    alone = ~np.isin(table["schedule"], COOLED)
    group[alone] = len(table) + np.arange(int(alone.sum()))
    return np.unique(group, return_inverse=True)[1]


def independent(table: Table, groups: Sequence[NDArray[np.int64]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which of the groups of `replicated` are branches of the same trunks, and how many degrees of freedom these have.

    Returns:
        The number of each group's trunks, from 0, and by that number the seeds less one.
    """
    of = trunks(table, RATE)
    cluster = np.unique([of[rows[0]] for rows in groups], return_inverse=True)[1]
    degrees = []
    for k in range(int(cluster.max(initial=-1)) + 1):
        own = [rows for rows, c in zip(groups, cluster, strict=True) if c == k]
        seeds = len(np.unique(np.concatenate([table["seed"][rows] for rows in own])))
        degrees.append(min(seeds - 1, sum(len(rows) - 1 for rows in own)))
    return cluster, np.array(degrees, np.int64)


def replicated(table: Table, target: str = "loss") -> Iterator[NDArray[np.int64]]:
    """The rows of each group of two runs or more that differ in their seed alone; of rows with one seed, the first."""
    if not table.has("seed"):
        return
    group = settings(table, RATE, target=target)
    for g in np.unique(group):
        rows = np.flatnonzero(group == g)
        rows = rows[np.unique(table["seed"][rows], return_index=True)[1]]
        if len(rows) > 1:
            yield rows


def mean_loss(loss: np.ndarray) -> float:
    """Geometric mean; nan if one of them is."""
    return float(np.exp(np.mean(np.log(loss)))) if len(loss) else math.nan


def seed_noise(table: Table, target: str = "loss") -> Noise | None:
    """Seed noise of the runs that ended well; None without a column `seed`, or where no two differ in it alone."""
    table = table.where(np.isfinite(table[target]) & (table[target] > 0), f"no {target}")
    table = table.where(table.ended(), "diverged or unfinished")
    members = list(replicated(table, target))
    if not members:
        return None
    groups = [_of_one(table, rows, target) for rows in members]
    spreads = np.array([g.sigma for g in groups])
    runs = np.array([len(g.losses) - 1 for g in groups])
    cluster, degrees = independent(table, members)
    total = int(degrees.sum())
    sigma = math.sqrt(float((runs * spreads**2).sum()) / int(runs.sum()))
    nats = sigma * mean_loss(np.array([loss for g in groups for loss in g.losses]))
    slope, centre = 0.0, 0.0
    if table.has("params"):
        share = np.bincount(cluster, runs)
        sizes = np.bincount(cluster, runs * np.log([g.params for g in groups])) / share
        slope, centre = _slope(sizes, np.sqrt(np.bincount(cluster, runs * spreads**2) / share), degrees)
    several = len(np.unique(trunks(table, RATE, "seed")[np.concatenate(members)]))
    shared = several if len(degrees) < len(groups) else 0
    groups.sort(key=lambda g: (g.params, g.tokens))
    return Noise(sigma, *sigma_interval(sigma, total), nats, total, tuple(groups), slope, centre, shared)


def _of_one(table: Table, rows: NDArray[np.int64], target: str) -> Replicated:
    losses = table[target][rows]
    size, tokens = (float(table[name][rows[0]]) if name in table else math.nan for name in ("params", "tokens"))
    return Replicated(size, tokens, tuple(losses.tolist()), float(np.std(np.log(losses), ddof=1)))


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
