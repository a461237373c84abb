"""Transformers with their losses at each position of the context, which Figures 7, 20 and 21 share.

Positions T count from 1, a token that is predicted from nothing. Windows of the older model begin with a token that was
an input only: their first loss is that of T = 2.
"""

import contextlib
import dataclasses
import math
from collections.abc import Collection, Iterator, Mapping

import matplotlib
import numpy as np
from matplotlib.axes import Axes

from analysis import digits
from analysis.laws.admission import IN_CONTEXT
from analysis.onset import BEYOND, GAIN, onset
from analysis.page.canvas import MAP
from analysis.papers.claim import Undecided
from analysis.papers.drawing import symbol
from analysis.papers.evidence import Evidence, mode
from analysis.papers.kaplan import runs
from analysis.papers.kaplan.trend import trend
from analysis.replicates import mean_loss
from analysis.table import Table

LEAST = 3  # sizes
SHORTEST = 32  # tokens of context: a power law of the position needs some
RULE = f"the loss beyond position {BEYOND} lies {GAIN:g} nats per token below that at position 2"


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Transformers of one context: the loss at each position of each N; seeds are averaged. N rises.

    Attributes:
        position: T of each loss, rising by one. t
    """

    n_ctx: int
    table: Table
    position: np.ndarray
    loss: Mapping[float, np.ndarray]  # t each

    @property
    def first(self) -> int:
        """The first position."""
        return int(self.position[0])

    @property
    def unused(self) -> list[float]:
        """The N whose runs ended before their onset of context use."""
        return [N for N, loss in self.loss.items() if not used(self.position, loss)]

    def without(self, sizes: Collection[float]) -> "Sizes":
        """These sizes left out."""
        return dataclasses.replace(self, loss={N: loss for N, loss in self.loss.items() if N not in sizes})


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
    position, loss = np.array([]), {}
    for N in np.unique(table["params"]):
        with contextlib.suppress(Undecided):  # a size without its losses by position is not among them
            position, loss[float(N)] = evidence.loss_by_position(table.where(table["params"] == N, "another size"))
    if not loss:
        raise Undecided(f"no loss by position of models of {length} tokens of context was recorded")
    return Sizes(length, table.where(np.isin(table["params"], list(loss)), "no loss by position"), position, loss)


def long_context(evidence: Evidence) -> Sizes:
    """Those of the longest context, which is SHORTEST tokens or more."""
    found = sizes_of(evidence)
    if found.n_ctx < SHORTEST:
        raise Undecided(f"no finished Transformer of two layers has a context of {SHORTEST} or more")
    return found


def used(position: np.ndarray, loss: np.ndarray) -> bool:
    """Whether a model uses its context, by the rule of the onset, from its losses at each position. t, t"""
    return math.isfinite(onset([1.0], loss[position == 2], [loss[position > BEYOND].mean()]))


def marks(axes: Axes, table: Table, k: int, y: str = "loss", times: float = 1.0) -> None:
    """The runs of the k-th group over `times` N, hollow where they ended before their model used its context."""
    begun = IN_CONTEXT.rule(table).keep
    for rows, style in ((begun, {}), (~begun, {"mfc": "white", "mec": symbol(k)["color"]})):
        axes.plot(times * table["params"][rows], table[y][rows], **symbol(k, lw=0, **style))


def left_out(*tables: Table) -> str:
    """How many runs the rule of the onset left out of these tables; empty for none."""
    n = sum(int((~IN_CONTEXT.rule(table).keep).sum()) for table in tables)
    why = IN_CONTEXT.rule(tables[0]).reason
    return f"{n} {digits.plural(n, 'run is', 'runs are')} left out, and hollow: {why}" if n else ""


def early(table: Table) -> Table:
    """The rows that the rule of the onset left out of a table."""
    reason = IN_CONTEXT.rule(table).reason
    cells = [excluded.cells for excluded in table.excluded if excluded.reason == reason]
    columns = {name: np.concatenate([of[name] for of in cells]) for name in (cells[0] if cells else ())}
    return Table(columns, np.arange(len(next(iter(columns.values()), ()))), table.source)


def onsets(table: Table) -> Iterator[str]:
    """After how many tokens Transformers began to use their context, and how that goes with N."""
    if "onset" not in table:
        return
    at: dict[float, float] = {}
    never = []
    for N in np.unique(table["params"]):
        own = table["params"] == N
        when = mean_loss(table["onset"][own])  # geometric, and NaN where one seed did not reach it
        if math.isfinite(when):
            at[float(N)] = when
        else:
            never.append(f"{digits.short(N)} ({digits.short(table['tokens'][own].max())} tokens)")
    said = []
    if at:
        most = max(at[float(N)] / D for N, D in zip(table["params"], table["tokens"], strict=True) if float(N) in at)
        each = ", ".join(f"{digits.short(when)} tokens at N = {digits.short(N)}" for N, when in at.items())
        said.append(f"after {each}, that is within {digits.percent(most)} of their runs")
    if never:
        said.append(f"{'but ' if at else ''}not before the end at N = {', '.join(never)}")
    text = f"These models begin to use their context ({RULE}, and stays there) {', '.join(said)}"
    if len(at) >= LEAST:
        text += f"; the onset goes as N^{trend(np.log(list(at)), np.log(list(at.values())))}"
    yield f"{text}."


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
