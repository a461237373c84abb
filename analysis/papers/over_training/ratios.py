"""L(N, D) fitted to runs of up to so many tokens per parameter: Table 1 of Sardana et al. (2024)."""

from collections.abc import Mapping, Sequence

import numpy as np

from analysis.fit import fit
from analysis.fit.estimate import Fit
from analysis.laws import Chinchilla
from analysis.papers.claim import Undecided
from analysis.table import Table
from scaling.errors import InputError

LIMITS = (100.0, 250.0, 500.0, np.inf)  # tokens per parameter, of the paper
FEWEST = 8  # runs to fit five constants to


def up_to(runs: Table, limit: float) -> Table:
    """The runs of at most so many tokens per parameter."""
    return runs.where(runs["tokens"] <= limit * 1.001 * runs["params"], f"over {limit:g} tokens per parameter")


def fits(
    runs: Table, limits: Sequence[float] = LIMITS, *, clusters: str | None = None
) -> Mapping[float, Fit[Chinchilla]]:
    """The law fitted to each part of the runs, Huber's loss with delta 1e-3, as published; a part too small is absent.

    Raises:
        Undecided: no part can be fitted.
    """
    found, why = {}, "there are too few runs"
    for limit in limits:
        part = up_to(runs, limit)
        if len(part) < FEWEST:
            continue
        try:
            found[limit] = fit(Chinchilla, part, loss="huber", delta=1e-3, clusters=clusters, waived=Chinchilla.about)
        except InputError as error:
            why = str(error)
    if not found:
        raise Undecided(why)
    return found
