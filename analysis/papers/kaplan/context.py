"""Transformers with their losses at each position of the context, which Figures 20 and 21 share."""

import contextlib
import dataclasses
import math
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np

from analysis import digits
from analysis.page.canvas import MAP
from analysis.papers.claim import Undecided
from analysis.papers.evidence import Evidence, mode
from analysis.papers.kaplan import runs
from analysis.table import Table

LEAST = 3  # sizes
USED = 0.01  # of the loss: what a context must gain from its second token to its second half to count as used
UNUSED = "have not learned to use their context: their loss hardly falls past the second token"
SHORTEST = 32  # tokens of context: a power law of the position needs some


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Transformers of one context: the loss at each position, from 1, of each N; seeds are averaged. N rises."""

    n_ctx: int
    table: Table
    loss: Mapping[float, np.ndarray]  # t each


def sizes_of(evidence: Evidence, n_ctx: int | None = None) -> Sizes:
    """Those of this context, or of the longest one.

    Raises:
        Undecided: there are none.
    """
    table = runs.deep(runs.of_kind(evidence.need("context", "grid"), "transformer"))
    length = n_ctx or int(table["n_ctx"].max())
    if not (table["n_ctx"] == length).any():
        raise Undecided(f"no models of {length} tokens of context are finished")
    table = table.where(table["n_ctx"] == length, "another context")
    table = runs.best_rates(table.where(table["tokens"] == mode(table["tokens"]), "another length"))
    loss = {}
    for N in np.unique(table["params"]):
        with contextlib.suppress(Undecided):  # a size without its losses by position is not among them
            loss[float(N)] = evidence.loss_by_position(table.where(table["params"] == N, "another size"))
    if not loss:
        raise Undecided(f"no loss by position of models of {length} tokens of context was recorded")
    return Sizes(length, table, loss)


def long_context(evidence: Evidence) -> Sizes:
    """Those of the longest context, which is SHORTEST tokens or more."""
    found = sizes_of(evidence)
    if found.n_ctx < SHORTEST:
        raise Undecided(f"no finished Transformer of two layers has a context of {SHORTEST} or more")
    return found


def unused(loss: Mapping[float, np.ndarray] | Sequence[np.ndarray]) -> bool:
    """Whether models, in the median, do no better late in their context than at the few tokens after the first."""
    losses = loss.values() if isinstance(loss, Mapping) else loss
    return float(np.median([np.log(one[len(one) // 2 :]).mean() - np.log(one[1:4]).mean() for one in losses])) > -USED


def uncounted(table: Table) -> str:
    """Which sizes look at so much context that C = 6 N D leaves out more than it counts (Kaplan et al., appendix C)."""
    table = table.where(table["params"] > 0, "no layer")
    N = np.unique(table["params"])
    beyond = np.unique(table["params"][table["n_ctx"] > 12 * table["d_model"]])
    if not len(beyond):
        return "No context exceeds 12 d_model, where C = 6ND would leave out more compute than it counts."
    few = "all" if len(beyond) == len(N) else f"{len(beyond)} of {len(N)}"
    return (
        f"The context exceeds 12 d_model for {few} sizes (N up to {digits.short(float(beyond[-1]))}): looking back "
        "costs these more than their parameters do, C = 6ND fails, and the paper warns of results there."
    )


def colour_of(T: float, last: float) -> tuple[float, float, float, float]:
    """The colour of a position: light for the first, dark for the last."""
    return matplotlib.colormaps[MAP](0.9 - 0.88 * math.log(T) / math.log(max(last, 2)))
