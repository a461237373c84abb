"""Which runs: greedy by gain for cost, then exchanges, from a pool and within a budget.

Fedorov's exchange for whole runs with costs: one run out, the best that then fit in, as long as the criterion falls.
"""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from analysis.design.pool import Aim, Counts, Pool
from analysis.frontier import Array

POWERS = (0.5, 0.25, 1.0)  # of the cost, by which a gain is divided while the study is filled
SHAKES, SHAKEN = 12, 3  # how often some of the chosen runs are drawn and left out, to begin anew; and how many
PASSES = 12  # over the chosen runs
BETTER = 1e-6  # fall of the criterion that is worth an exchange


def choose(aim: Aim, pool: Pool, flops: float, runs: int, repeats: int, begin: Counts | None = None) -> Counts:
    """How often each candidate is trained, (m,).

    Args:
        aim: to be made small.
        runs: in all, at most.
        repeats: of one candidate, at most.
        begin: runs with which the search begins; each may be exchanged.
    """
    begin = np.zeros(len(pool), np.int64) if begin is None else begin
    bounds = Bounds(pool, flops, runs, repeats)
    found = [_exchanged(aim, bounds, _filled(aim, bounds, begin, power)) for power in POWERS]
    best = min(found, key=lambda counts: aim(counts)[0])
    rng = np.random.default_rng(0)
    for _ in range(SHAKES):
        chosen = np.repeat(np.arange(len(pool)), best)
        if len(chosen) <= SHAKEN:
            break
        less = best.copy()
        np.subtract.at(less, rng.choice(chosen, SHAKEN, replace=False), 1)
        again = _exchanged(aim, bounds, _filled(aim, bounds, less, POWERS[0]))
        if aim(again)[0] < aim(best)[0]:
            best = again
    return best


@dataclasses.dataclass(frozen=True)
class Bounds:
    """What a study may be."""

    pool: Pool
    flops: float
    runs: int
    repeats: int

    def more(self, counts: Counts) -> tuple[NDArray[np.int64], Array]:
        """Which candidates may be trained once more, (k,), and what each costs then."""
        if counts.sum() >= self.runs:
            return np.zeros(0, np.int64), np.zeros(0)
        open_ = np.flatnonzero(counts < self.repeats)
        cost = self.pool.cost(counts + np.eye(len(counts), dtype=np.int64)[open_])
        fits = cost <= self.flops * (1 + 1e-9)
        return open_[fits], cost[fits] - float(self.pool.cost(counts))


def _filled(aim: Aim, bounds: Bounds, counts: Counts, power: float) -> Counts:
    """With runs added as long as one fits in, each the one that gains most for its cost."""
    counts = counts.copy()
    while True:
        open_, cost = bounds.more(counts)
        if not len(open_):
            return counts
        now, after = aim(counts)
        gain = (now - after[open_]) / np.maximum(cost, 1e-12 * bounds.flops) ** power
        best = int(np.argmax(gain))
        if not gain[best] > 0:
            return counts
        counts[open_[best]] += 1


def _exchanged(aim: Aim, bounds: Bounds, counts: Counts) -> Counts:
    """With one run out and the best that then fit in, as long as that lowers the aim."""
    best, _ = aim(counts)
    for _ in range(PASSES):
        before = best
        for i in np.flatnonzero(counts):
            if not counts[i]:
                continue
            less = counts.copy()
            less[i] -= 1
            open_, _ = bounds.more(less)
            if not len(open_):
                continue
            _, after = aim(less)
            if after[open_].min() < best - BETTER:
                less[open_[np.argmin(after[open_])]] += 1
                counts = _filled(aim, bounds, less, POWERS[0])
                best, _ = aim(counts)
        counts = _filled(aim, bounds, counts, POWERS[0])
        best, _ = aim(counts)
        if best > before - BETTER:
            return counts
    return counts
