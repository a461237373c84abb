"""What a figure function takes and gives: records of experiments in, a figure with its numbers and sentences out."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from analysis.records import Records
from analysis.table import Table
from analysis.table.columns import column

# The records of the runs that the paper's figures need, by the name of the experiment (a module of configs/kaplan):
# size, data, batch, shape, lstm, universal, schedule, context. An experiment without a finished run is absent.
Experiments = Mapping[str, Records]


@dataclasses.dataclass(frozen=True)
class Constant:
    """A number of the paper beside ours.

    Attributes:
        name: as the paper writes it, such as alpha_N.
        equation: of the paper, such as "(1.1)"; or a table.
        paper: its value there; None where the paper gives none.
        value: ours; None where our runs cannot decide.
        low, high: of our interval; None where there is none.
        unit: such as "tokens"; empty for pure numbers.
        exponent: exponents are the claim; other constants depend on text and vocabulary and are shown, not compared.
        held_out: relative error on the runs held out from the fit; None where nothing was held out.
        note: what a reader must know, such as why ours cannot decide.
    """

    name: str
    equation: str
    paper: float | None
    value: float | None
    low: float | None = None
    high: float | None = None
    unit: str = ""
    exponent: bool = True
    held_out: float | None = None
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Drawn:
    """One figure or table of the paper, from our runs.

    Attributes:
        name: of the paper, such as "fig5" or "table2"; also the name of its files.
        title: a line, such as "Figure 5: shape at fixed N".
        figure: None for a table, which is `data` itself.
        sentences: what agrees, what does not, and why (scale, data, vocabulary); or "cannot decide: ...".
        constants: for the table of constants.
        data: the points that are drawn, one table.
        decided: False where the runs are too few or too noisy for the figure's claim.
    """

    name: str
    title: str
    figure: Figure | None
    sentences: tuple[str, ...]
    constants: tuple[Constant, ...]
    data: Table
    decided: bool = True


def undecided(name: str, title: str, why: str, *, figure: Figure | None = None, data: Table | None = None) -> Drawn:
    """A figure that our runs cannot decide, and why; what can be shown of it all the same."""
    empty = Table({}, np.arange(0), name)
    return Drawn(name, title, figure, (f"cannot decide: {why}",), (), empty if data is None else data, decided=False)


def points(name: str, rows: Iterable[Mapping[str, Any]]) -> Table:
    """The points of a figure as a table, as they are: nothing is filled in, no unit is asked after."""
    rows = list(rows)
    names = list(dict.fromkeys(key for row in rows for key in row))
    columns = {key: column(key, [row.get(key) for row in rows], name) for key in names}
    return Table(columns, np.arange(1, len(rows) + 1), name)
