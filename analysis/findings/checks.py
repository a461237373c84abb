"""Checks on the runs themselves, before any law: whose learning rate counts, what doubling the data does.

Losses are in nats per token, N in non-embedding parameters, D in tokens.
"""

import dataclasses
import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from analysis import digits, mixed
from analysis.laws.admission import ONE_EPOCH
from analysis.replicates import mean_loss, seed_noise, settings
from analysis.table import Table, algebra

Mask = NDArray[np.bool_]

RATE = 0.01  # another learning rate that lowers the loss by more than this share is worth a warning
LUCK = 2.0  # and by more than so many standard deviations of what other seeds do to the difference
APART = 1.25  # amounts nearer to each other than this ratio say nothing of a doubling: their noise would be magnified


@dataclasses.dataclass(frozen=True)
class Trial:
    """One learning rate tried beside the study's own."""

    rate: float
    loss: float  # nan where the run diverged; over the seeds that both rates have, where there are some
    own: float  # at the study's own rate, over the same seeds
    change: float  # loss / own - 1; nan where one diverged
    least: float  # the share by which the loss must be lower to count: RATE, or LUCK


@dataclasses.dataclass(frozen=True)
class RateCheck:
    """A setting at which several learning rates were tried."""

    params: float
    tokens: float
    rate: float  # the study's own
    loss: float  # nan where a run diverged
    trials: tuple[Trial, ...]

    @property
    def diverged(self) -> bool:
        """Whether a run diverged at the study's own rate."""
        return not math.isfinite(self.loss)

    @property
    def best(self) -> Trial | None:
        """The rate that is better by over `least`, or None; any that did not diverge beats one that did."""
        if self.diverged:
            return min((t for t in self.trials if math.isfinite(t.loss)), key=lambda t: t.loss, default=None)
        better = [t for t in self.trials if t.change < -t.least]
        return min(better, key=lambda t: t.change) if better else None


@dataclasses.dataclass(frozen=True)
class Doubling:
    """What the last doubling of the unique tokens did at one size: `change` is the share of the loss it took off."""

    params: float
    unique_tokens: float  # the most at this size
    tokens: float  # processed by the longest run on them
    loss: float  # its lowest along the run
    change: float  # nan where nothing tells
    basis: str


# --- learning rates


def own_rates(table: Table) -> tuple[Mask, str]:
    """The rows at the study's own learning rate, and the rule that found them. It never looks at a loss.

    Where runs of one setting differ in their rate, the setting's own rate is the one that most of its runs have; of
    equally many, the one that most other settings of that size have; of these, the one in the middle.
    """
    keep = np.ones(len(table), bool)
    if not table.has("learning_rate"):
        return keep, "The table does not say at which learning rates the runs were trained."
    rate, cell = table["learning_rate"], settings(table)
    several = 0
    for k in np.unique(cell):
        rows = np.flatnonzero(cell == k)
        tried, runs = np.unique(rate[rows], return_counts=True)
        if len(tried) < 2:
            continue
        several += 1
        candidates = tried[runs == runs.max()]
        if len(candidates) > 1 and "params" in table:
            elsewhere = rate[(table["params"] == table["params"][rows[0]]) & (cell != k)]
            votes = np.array([(elsewhere == r).sum() for r in candidates])
            candidates = candidates[votes == votes.max()]
        keep[rows] = rate[rows] == candidates[(len(candidates) - 1) // 2]
    if not several:
        return keep, "Every setting was trained at one learning rate."
    return keep, (
        f"{several} {digits.plural(several, 'setting was', 'settings were')} trained at several learning rates. The "
        "laws use one rate per setting, chosen without a look at the losses: the rate of most of its runs, else of "
        "most other runs of that size, else the middle one."
    )


def rate_checks(table: Table, own: Mask) -> tuple[list[RateCheck], list[str]]:
    """Settings at which other rates than the study's own were tried, and sizes at which none was, in words.

    A run that is not finished has shown nothing yet: it counts as not tried.
    """
    checks: list[RateCheck] = []
    if not (table.has("learning_rate") and table.has("params")):
        own_name = mixed.named(table, "learning_rate")
        way = algebra.line({**table.taken, "learning_rate": own_name}, table.option) if own_name else ""
        way_out = f"; {own_name} is it by its name: say {way}" if own_name else ""
        return checks, [
            f"The table has no column learning_rate: whether the rates suit the sizes cannot be checked{way_out}."
        ]
    rate, cell, loss = table["learning_rate"], settings(table), np.where(_bad(table), np.nan, table["loss"])
    ended = table["status"] != "running" if "status" in table else np.ones(len(table), bool)
    noise = seed_noise(table.where(own & np.isfinite(loss), "another rate, or diverged"))
    sigma = noise.sigma if noise else 0.0
    for k in np.unique(cell):
        rows = (cell == k) & ended
        mine = rows & own
        if not (mine.any() and (rows & ~own).any()):
            continue
        trials = []
        for r in np.unique(rate[rows & ~own]):
            there = rows & (rate == r)
            other, at_own, pairs = _beside(table, loss, there, mine)
            least = max(RATE, LUCK * sigma * math.sqrt(2 / pairs))
            trials.append(Trial(float(r), other, at_own, other / at_own - 1, least))
        i = int(np.flatnonzero(mine)[0])
        checks.append(
            RateCheck(
                float(table["params"][i]),
                float(table["tokens"][i]),
                float(rate[i]),
                mean_loss(loss[mine]),
                tuple(trials),
            )
        )
    checks.sort(key=lambda c: (c.params, c.tokens))
    sizes, missing = np.unique(table["params"]), {}
    for name, size in (("smallest", sizes[0]), ("largest", sizes[-1])):
        steps = [t.rate / c.rate for c in checks if c.params == size for t in c.trials]
        there = {"half": any(step < 1 for step in steps), "double": any(step > 1 for step in steps)}
        lacks = [word for word, tried in there.items() if not tried]
        if lacks:
            missing.setdefault(" and ".join(lacks), []).append(f"{name} size (N = {digits.short(size)})")
    untried = [
        f"{what.capitalize()} the learning rate {'were' if ' and ' in what else 'was'} not tried at the "
        f"{' and the '.join(where)}: whether the rates suit the sizes is not known."
        for what, where in missing.items()
    ]
    return checks, untried


def _beside(table: Table, loss: np.ndarray, there: Mask, mine: Mask) -> tuple[float, float, int]:
    """Mean loss of the rows `there` and of `mine`, over common seeds where there are some, and how many that are."""
    if "seed" in table:
        common = np.intersect1d(table["seed"][there], table["seed"][mine])
        if len(common):
            there, mine = (rows & np.isin(table["seed"], common) for rows in (there, mine))
    return mean_loss(loss[there]), mean_loss(loss[mine]), int(min(there.sum(), mine.sum()))


def _bad(table: Table) -> Mask:
    return ~table.ended()


# --- data


def last_doublings(table: Table) -> Iterator[Doubling]:
    """What the last doubling of the unique tokens did at each size.

    Held against each other are the longest runs on the largest data set of a size and on the next that is clearly
    smaller, by the lowest loss along the
    run: one that repeats its data too often ends higher than it could have been stopped. A size with a single data set
    is judged by the second half of its run, if that saw its data once: where the learning rate decays this half does
    more than a doubling of D would, so the verdict errs on the safe side.
    """
    if not len(table):
        return
    unique = table["unique_tokens"] if "unique_tokens" in table else table["tokens"]
    loss = table["loss_min"] if table.has("loss_min") else table["loss"]
    for size in np.unique(table["params"]):
        here = table["params"] == size
        longest = []
        sets = np.unique(unique[here])
        for U in [*sets[sets * APART <= sets[-1]][-1:], sets[-1]]:
            rows = here & (unique == U)
            longest.append(rows & (table["tokens"] == table["tokens"][rows].max()))
        last = longest[-1]
        U, D, end = float(unique[last][0]), float(table["tokens"][last][0]), mean_loss(loss[last])
        change, basis = math.nan, "one data set only"
        if len(longest) > 1:
            before = float(unique[longest[0]][0])
            change = 1 - (end / mean_loss(loss[longest[0]])) ** (math.log(2) / math.log(U / before))
            basis = f"runs on {digits.short(before)} and {digits.short(U)} unique tokens"
        elif table.has("loss_half") and np.all(np.isfinite(table["loss_half"][last])) and D <= ONE_EPOCH * U:
            change = 1 - mean_loss(table["loss"][last]) / mean_loss(table["loss_half"][last])
            basis = "second half of its run"
        yield Doubling(float(size), U, D, end, change, basis)
