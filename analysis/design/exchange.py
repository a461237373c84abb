"""Which runs: greedy by gain for cost, then exchanges, from a pool and within a budget.

Fedorov's exchange for whole runs with costs: one run out, the best that then fit in, as long as the criterion falls.
"""

from collections.abc import Callable

import numpy as np

from analysis.design.pool import Counts, Pool
from analysis.frontier import Array

POWERS = (0.5, 1.0)  # of the cost, by which a gain is divided while the study is filled
PASSES = 12  # over the chosen runs
BETTER = 1e-6  # fall of the criterion that is worth an exchange

Score = Callable[[Counts], Array]  # of studies (..., m)


def choose(score: Score, pool: Pool, flops: float, runs: int, repeats: int, begin: Counts | None = None) -> Counts:
    """How often each candidate is trained, (m,).

    Args:
        score: to be made small.
        runs: in all, at most.
        repeats: of one candidate, at most.
        begin: runs that are there, and stay: what they cost is within the budget too.
    """
    begin = np.zeros(len(pool), np.int64) if begin is None else begin
    found = []
    for power in POWERS:
        counts = _filled(score, pool, flops, runs, repeats, begin, power)
        found.append(_exchanged(score, pool, flops, runs, repeats, begin, counts))
    return min(found, key=lambda counts: float(score(counts)))


def _more(pool: Pool, flops: float, runs: int, repeats: int, counts: Counts) -> Counts:
    """All studies of one run more that are within the bounds, (k, m)."""
    if counts.sum() >= runs:
        return np.zeros((0, len(pool)), np.int64)
    more = counts + np.eye(len(pool), dtype=np.int64)[counts < repeats]
    return more[pool.cost(more) <= flops * (1 + 1e-9)]


def _filled(score: Score, pool: Pool, flops: float, runs: int, repeats: int, counts: Counts, power: float) -> Counts:
    while len(more := _more(pool, flops, runs, repeats, counts)):
        cost = np.maximum(pool.cost(more) - pool.cost(counts), 1e-12 * flops)
        gain = (score(counts) - score(more)) / cost**power
        best = int(np.argmax(gain))
        if not gain[best] > 0:
            break
        counts = more[best]
    return counts


def _exchanged(
    score: Score, pool: Pool, flops: float, runs: int, repeats: int, begin: Counts, counts: Counts
) -> Counts:
    for _ in range(PASSES):
        before = float(score(counts))
        for i in np.flatnonzero(counts > begin):
            less = counts.copy()
            less[i] -= 1
            more = _more(pool, flops, runs, repeats, less)
            if len(more):
                at = score(more)
                best = int(np.argmin(at))
                if at[best] < score(counts) - BETTER:
                    counts = _filled(score, pool, flops, runs, repeats, more[best], POWERS[0])
        counts = _filled(score, pool, flops, runs, repeats, counts, POWERS[0])
        if float(score(counts)) > before - BETTER:
            break
    return counts
