"""The designs by habit, of the same cost and from the same pool: a grid in N and D, and IsoFLOP profiles.

Of each kind the one that does best at the target, so that a design is held against the best of its rivals.
"""

import numpy as np

from analysis import frontier
from analysis.design.pool import Aim, Counts, Pool
from analysis.design.prior import Prior
from analysis.frontier import FLOP_PER_PARAM_TOKEN, Array

SIZES, LENGTHS = (3, 4, 5, 6, 7), (3, 4, 5, 6, 7)  # of a grid
BUDGETS, AROUND = (3, 4, 5, 6, 7), (4, 5, 7)  # of IsoFLOP profiles, and sizes around the optimum of each
FACTOR, REACH = 4.0, 8.0  # between budgets; between a profile's optimum and its ends


def grid(aim: Aim, pool: Pool, flops: float, runs: int, fewest: int = 1) -> Counts:
    """Sizes by lengths, evenly apart in their logarithms from the smallest on, of so many runs."""
    N, D = np.unique(pool.params), np.unique(pool.tokens)
    found = []
    for top_N in range(2, len(N)):
        for top_D in range(2, len(D)):
            for sizes in SIZES:
                for lengths in LENGTHS:
                    at_N, at_D = (_spaced(0, top, n) for top, n in ((top_N, sizes), (top_D, lengths)))
                    if at_N is None or at_D is None or sizes * lengths > runs:
                        continue
                    counts = (np.isin(pool.params, N[at_N]) & np.isin(pool.tokens, D[at_D])).astype(np.int64)
                    found.append(counts)
    return _best(found, aim, pool, flops, fewest)


def isoflop(aim: Aim, pool: Pool, prior: Prior, flops: float, runs: int, fewest: int = 1) -> Counts:
    """Sizes within a factor of 8 of the best one at each of several budgets, the budgets a factor of 4 apart.

    The optima are those of the prior's first law.
    """
    law, C = prior.laws[0], FLOP_PER_PARAM_TOKEN * pool.params * pool.tokens
    found = []
    for budgets in BUDGETS:
        for around in AROUND:
            if budgets * around > runs:
                continue
            for top in np.unique(C):
                counts = np.zeros(len(pool), np.int64)
                for k in range(budgets):
                    at = top / FACTOR**k
                    best = float(frontier.best(law, at).params)
                    wanted = best * REACH ** np.linspace(-1, 1, around)
                    counts[_nearest(pool, wanted, at)] = 1
                found.append(counts)
    return _best(found, aim, pool, flops, fewest)


def _best(studies: list[Counts], aim: Aim, pool: Pool, flops: float, fewest: int) -> Counts:
    """The study within the budget that does best; one of no run where there is none."""
    fits = [counts for counts in studies if counts.sum() >= fewest and pool.cost(counts) <= flops]
    return min(fits, key=lambda counts: aim(counts)[0], default=np.zeros(len(pool), np.int64))


def _spaced(low: int, high: int, n: int) -> Counts | None:
    """n indices evenly apart from low to high; None where there are none."""
    return np.arange(low, high + 1, (high - low) // (n - 1)) if (high - low) % (n - 1) == 0 else None


def _nearest(pool: Pool, sizes: Array, C: float) -> list[int]:
    """The candidates nearest to these sizes at C FLOP."""
    logs = np.log([pool.params, pool.tokens])
    return [int(np.argmin(np.abs(logs - np.log([[N], [C / (FLOP_PER_PARAM_TOKEN * N)]])).sum(0))) for N in sizes]
