"""Gadre et al.'s recipe: the law of a few small runs, and how far the others lie from it.

Some small sizes at M = 20 tokens per parameter, and the smallest of them at M = 320: as many runs as tell four
constants, and one or two more.
"""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from analysis.fit import fit
from analysis.fit.estimate import Fit
from analysis.laws import Gadre
from analysis.papers.claim import Undecided
from analysis.table import Table

Array = NDArray[np.float64]

BASES = (20.0, 40.0)  # tokens per parameter of the sizes: the second where too few use their context by the first
MORE = 16.0  # times as many, of the smallest size once more
LARGER = 6.0  # the largest size is so many times those that the law is fitted to
FEWEST = 4  # sizes at BASE


@dataclasses.dataclass(frozen=True, eq=False)
class Recipe:
    """A law from few small runs.

    Attributes:
        rows: that it is fitted to, as row numbers of the table.
        fit: of eq. 4.
    """

    rows: NDArray[np.intp]
    fit: Fit[Gadre]

    def errors(self, runs: Table) -> Array:
        """Predicted loss over measured less 1. (run,)"""
        return np.asarray(self.fit.law(runs["params"], runs["tokens"])) / runs["loss"] - 1


def chosen(table: Table) -> NDArray[np.intp]:
    """The rows of the recipe, of a table with params and ratio.

    Raises:
        Undecided: there are fewer than FEWEST sizes at any of BASES, or the smallest is not trained for longer.
    """
    N, M = table["params"], table["ratio"]
    small = N <= N.max() / LARGER * 1.001
    for base in BASES:
        own = np.flatnonzero(small & (M == base))
        if len(np.unique(N[own])) >= FEWEST:
            break
    else:
        raise Undecided(
            f"fewer than {FEWEST} sizes of at most 1/{LARGER:g} of the largest have {BASES[0]:g} or {BASES[1]:g} "
            "tokens per parameter"
        )
    more = np.flatnonzero((N == N[own].min()) & (M == MORE * base))
    if not len(more):
        raise Undecided(f"the smallest size of the recipe has no run of {MORE * base:g} tokens per parameter")
    return np.concatenate([own, more])


def fitted(table: Table, rows: NDArray[np.intp]) -> Recipe:
    """Eq. 4 fitted to these rows by least squares of the losses themselves, as in the paper."""
    keep = np.isin(np.arange(len(table)), rows)
    found = fit("gadre", table.where(keep, "not in the recipe"), loss="squared", log=False, waived=Gadre.about)
    return Recipe(rows, found)
