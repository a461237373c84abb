"""The runs that a study may be made of, and what they cost: sizes by lengths, alone or as branches of trunks.

N in parameters as the law counts them, D in tokens, costs in FLOP, C = 6ND.
"""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.digits import compute, short
from analysis.frontier import FLOP_PER_PARAM_TOKEN, Array
from analysis.plan.recipe import Shape, shape_for
from scaling.errors import InputError

STEP = 2.0  # between sizes, and between lengths
COOLDOWN = 0.2  # of a run, in which a trunk's rate falls to zero: configs/grid.py
VOCABULARY = 8192  # of the tokenizer of a written study
RATIOS = 1.0, 1000.0  # fewest and most tokens per parameter of a run
Counts = NDArray[np.int64]
Aim = Callable[[Counts], tuple[float, Array]]  # of a study, and of it with one run more of each candidate (m,)


@dataclasses.dataclass(frozen=True, eq=False)
class Pool:
    """Candidates, an entry each; a candidate can be trained several times, from other seeds.

    Attributes:
        params, tokens: of each, (m,).
        trunks: whether the runs of a size and a seed are branches of one trunk: then the longest pays for the others
            but for their cooldowns.
        overhead: FLOP that a run costs beside its training, to compile and to evaluate: of all, or of each, (m,).
    """

    params: Array
    tokens: Array
    trunks: bool = False
    overhead: float | Array = 0.0

    def __len__(self) -> int:
        return len(self.params)

    @property
    def flops(self) -> Array:
        """Of each, trained by itself, (m,)."""
        return FLOP_PER_PARAM_TOKEN * self.params * self.tokens + self.overhead

    def cost(self, counts: Counts) -> Array:
        """FLOP of studies that train each candidate so often: counts (..., m) give (...)."""
        counts = np.asarray(counts)
        if not self.trunks:
            return counts @ self.flops
        total = counts @ self._branches
        for N in np.unique(self.params):
            of_size = self.params == N
            for seed in range(int(counts[..., of_size].max(initial=0))):
                longest = np.max(np.where(counts[..., of_size] > seed, self.tokens[of_size], 0.0), -1)
                total = total + (1 - COOLDOWN) * FLOP_PER_PARAM_TOKEN * N * longest
        return total

    def paid(self, counts: Counts) -> Array:
        """FLOP of each candidate in a study, counts (m,): a trunk is paid by its longest branch. They sum to `cost`."""
        if not self.trunks:
            return counts * self.flops
        total = counts * self._branches
        for N in np.unique(self.params):
            for seed in range(int(counts[self.params == N].max())):
                longest = np.argmax(np.where((self.params == N) & (counts > seed), self.tokens, 0.0))
                total[longest] += (1 - COOLDOWN) * FLOP_PER_PARAM_TOKEN * N * self.tokens[longest]
        return total

    @property
    def _branches(self) -> Array:
        """FLOP of each behind its trunk, (m,)."""
        return COOLDOWN * FLOP_PER_PARAM_TOKEN * self.params * self.tokens + self.overhead


def pool(
    sizes: ArrayLike,
    flops: float,
    *,
    ratios: tuple[float, float] = RATIOS,
    most_tokens: float = math.inf,
    fewest_tokens: float = 0.0,
    trunks: bool = False,
    overhead: float = 0.0,
) -> Pool:
    """Sizes by lengths in factors of two, each run within the budget.

    Args:
        sizes: N of each.
        flops: the budget of the whole study, which no run exceeds.
        ratios: fewest and most tokens per parameter.
        most_tokens: that there are.
        fewest_tokens: of a run, whatever its size.

    Raises:
        InputError: no run is left.
    """
    sizes = np.unique(np.asarray(sizes, float))
    if not (sizes.size and sizes[0] > 0 and 0 < ratios[0] <= ratios[1]):
        raise InputError("sizes and tokens per parameter: wanted numbers above 0, the smaller first")
    if not (most_tokens >= 1 and overhead >= 0):
        raise InputError(
            f"{most_tokens:g} tokens at most, {overhead:g} FLOP beside a run: wanted 1 token or more, no less than 0 "
            "FLOP"
        )
    shortest = max(STEP ** math.floor(math.log(ratios[0] * sizes[0], STEP)), 1.0, fewest_tokens)
    longest = min(ratios[1] * float(sizes[-1]), flops / (FLOP_PER_PARAM_TOKEN * float(sizes[0])), most_tokens)
    lengths = shortest * STEP ** np.arange(max(math.floor(math.log(longest / shortest, STEP) + 1e-9), 0) + 1)
    N, D = np.repeat(sizes, len(lengths)), np.tile(lengths, len(sizes))
    ratio = D / N
    fits = (ratio >= ratios[0]) & (ratio <= ratios[1]) & (D <= most_tokens)
    fits &= FLOP_PER_PARAM_TOKEN * N * D + overhead <= flops
    if not fits.any():
        raise InputError(
            f"no run of {short(sizes[0])} to {short(sizes[-1])} parameters with {ratios[0]:g} to {ratios[1]:g} tokens "
            f"per parameter is within {compute(flops)}; allow smaller models, or spend more"
        )
    return Pool(np.asarray(N[fits], float), np.asarray(D[fits], float), trunks, overhead)


def standard_sizes(smallest: float, largest: float) -> list[Shape]:
    """Standard shapes a factor of STEP apart, the nearest to each size.

    Raises:
        InputError: there is none, or the ends are no sizes.
    """
    if not 0 < smallest <= largest:
        raise InputError(f"sizes from {smallest:g} to {largest:g}: wanted two numbers above 0, the smaller first")
    steps = math.floor(math.log(largest / smallest, STEP) + 1e-9)
    found = {shape.params: shape for k in range(steps + 1) for shape in [shape_for(smallest * STEP**k)]}
    return [found[N] for N in sorted(found)]
