"""A fit as a figure: the law with its band over the runs, and what it leaves of each run.

A law of one column is a curve; of two, a family of curves over the second column, one for each of some values of the
first; of more, measured against predicted.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, LogNorm, to_rgba
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from analysis import digits
from analysis.fit.estimate import Fit
from analysis.page import canvas
from analysis.page.svg import of_runs
from analysis.table import Table
from analysis.table.columns import COLUMNS

Array = NDArray[np.float64]

CURVES = 7  # of a family
MANY = 9  # more values of a column than this are drawn as round ones between them
HELD = "#b3261e"


@dataclasses.dataclass(frozen=True)
class _Runs:
    """The runs of a table that the law can be asked about, and what the fit did with each."""

    names: NDArray[np.str_]
    columns: Sequence[Array]  # one for each input of the law
    measured: Array
    predicted: Array
    held: NDArray[np.bool_]
    left_out: NDArray[np.bool_]

    @property
    def fitted(self) -> NDArray[np.bool_]:
        return ~(self.held | self.left_out)


def draw(fit: Fit, table: Table) -> canvas.Drawing:
    """The figure of a fit.

    Args:
        fit: of any law.
        table: the runs it was made from, those it left out included: they are marked.

    Raises:
        InputError: the table lacks a column of the law.
    """
    runs = _runs(fit, table)
    with matplotlib.rc_context(canvas.STYLE):
        figure = canvas.Drawing(facecolor="white", figsize=(10.0, 4.3), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
        colours, scale = _colours(runs)
        if len(runs.columns) == 1:
            _family(left, fit, runs, [()], scale)
        elif len(runs.columns) == 2:
            _family(left, fit, runs, [(value,) for value in _some(runs.columns[0])], scale)
        else:
            _diagonal(left, fit, runs)
        x = runs.columns[-1] if len(runs.columns) < 3 else runs.predicted
        _points(left, x, runs.measured, runs, colours)
        off = _off(fit, runs.measured, runs.predicted)
        low, high = _span(off[~runs.left_out])
        _points(right, x, np.clip(off, low, high), runs, colours)
        if fit.law.logarithmic:
            canvas.percent_axis(right, max(-low, high))
        right.set_ylim(low, high)
        x_label = label(fit.law.inputs[-1]) if len(runs.columns) < 3 else f"predicted {label(fit.target)}"
        for axes in (left, right):
            axes.set_xscale("log")
            _axis(axes.xaxis, x)
            axes.set_xlabel(x_label)
        if fit.law.logarithmic:
            left.set_yscale("log")
            _axis(left.yaxis, np.geomspace(*_ends(runs.measured), 9))
            left.set_ylim(*_ends(runs.measured, 0.06))
        left.set_ylabel(f"{'measured ' if len(runs.columns) > 2 else ''}{label(fit.target)}")
        band = f"{100 * fit.level:.4g}% band of the law" if fit.sound else f"no band: {fit.status}"
        left.set_title(
            f"{fit.law.name}, {band}" if len(runs.columns) < 3 else f"{fit.law.name}, measured and predicted"
        )
        right.axhline(0, color=canvas.INK, lw=0.8, zorder=1)
        right.set_title("Measured above the law")
        if fit.held_out and fit.sound:
            _one_run(right, fit, x[runs.held], (low, high))
        if np.any((off < low) | (off > high)):
            figure.supxlabel("Left-out runs beyond the axis stand at its edge.", x=0.99, ha="right", fontsize="small")
        if scale is not None:
            bar = figure.colorbar(scale, ax=[left, right], pad=0.015, aspect=30)
            bar.set_label(label(fit.law.inputs[0]))
            # A page shows no images, and a bar of many colours would be one. (The stubs have it optional.)
            bar.solids.set(rasterized=False, edgecolor="face")  # pyright: ignore[reportOptionalMemberAccess]
            bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]  # a spine; the stubs lack it
            _axis(bar.ax.yaxis, np.geomspace(*_ends(runs.columns[0]), 9))
        _legend(left, runs)
        return figure


def _runs(fit: Fit, table: Table) -> _Runs:
    numbers = [np.asarray(table[name], float) for name in (*fit.law.inputs, fit.target)]
    whole = np.logical_and.reduce([np.isfinite(column) & (column > 0) for column in numbers[:-1]])
    whole &= np.isfinite(numbers[-1]) & (not fit.law.logarithmic or numbers[-1] > 0)
    labels = np.array([table.label(i) for i in range(len(table))])[whole]
    columns, measured = tuple(column[whole] for column in numbers[:-1]), numbers[-1][whole]
    held_rows = set(fit.held_out.rows) if fit.held_out else set()
    held = np.array([label in held_rows for label in labels], bool)
    gone = {row for excluded in fit.excluded for row in excluded.rows} - held_rows
    left_out = np.array([label in gone for label in labels], bool)
    predicted = np.asarray(fit.law(*columns), float)
    return _Runs(np.array(table.names)[whole], columns, measured, predicted, held, left_out)


def _family(axes: Axes, fit: Fit, runs: _Runs, leading: list[tuple[float, ...]], scale: ScalarMappable | None) -> None:
    """A curve with its band over the last column for each choice of the columns before it."""
    low, high = _ends(runs.columns[-1], 0.05)
    x = np.geomspace(low, high, 120)
    for values in leading:
        colour = scale.to_rgba(np.array(values[:1]))[0] if scale is not None else canvas.INK
        said = fit.band(*(np.full_like(x, value) for value in values), x)
        if fit.sound:
            axes.fill_between(x, said.low, said.high, color=colour, alpha=0.18, lw=0, zorder=2)
        own = np.logical_and.reduce([runs.fitted, *(c == v for c, v in zip(runs.columns, values, strict=False))])
        # A curve between the values that were trained has no runs of its own: it is drawn whole.
        canvas.along_runs(axes, x, said.value, runs.columns[-1][own] if own.any() and values else x, colour)


def _diagonal(axes: Axes, fit: Fit, runs: _Runs) -> None:
    """The line on which runs lie that are as predicted, with the band of the law around it."""
    order = np.argsort(runs.predicted)
    said = fit.band(*(column[order] for column in runs.columns))
    if fit.sound:
        bars = [said.value - said.low, said.high - said.value]
        axes.errorbar(said.value, said.value, yerr=bars, fmt="none", ecolor=canvas.GREY, elinewidth=3, alpha=0.25)
    ends = _ends(np.concatenate([runs.measured, runs.predicted]))
    axes.plot(ends, ends, color=canvas.INK, lw=0.9, zorder=3)


def _off(fit: Fit, measured: Array, predicted: Array) -> Array:
    """How far above the law, in per cent; of a law that may fall below 0 in the unit of its target."""
    return 100 * (measured / predicted - 1) if fit.law.logarithmic else measured - predicted


def _one_run(axes: Axes, fit: Fit, x: Array, limits: tuple[float, float]) -> None:
    """Bars of the interval of one run about the law, as `_off` counts, at the rows held out x (n,)."""
    held = fit.held_out
    assert held is not None
    low, high = (np.clip(_off(fit, np.array(e), np.array(held.predicted)), *limits) for e in (held.low, held.high))
    told = held.bounded
    axes.vlines(x[told], low[told], high[told], color=HELD, lw=6, alpha=0.1, zorder=2)
    axes.set_title(f"Measured above the law; bars: {100 * fit.level:.4g}% of one run")


def _points(axes: Axes, x: Array, y: Array, runs: _Runs, colours: Array) -> None:
    size = 26 if len(x) < 80 else 14
    looks: tuple[tuple[NDArray[np.bool_], dict[str, Any]], ...] = (
        (runs.fitted, {"s": size, "c": colours[runs.fitted], "edgecolors": "white", "linewidths": 0.4, "zorder": 5}),
        (runs.held, {"s": 1.4 * size, "facecolors": "white", "edgecolors": HELD, "linewidths": 1.3, "marker": "s",
                     "zorder": 6}),
        (runs.left_out, {"s": size, "c": canvas.GREY, "linewidths": 0.8, "marker": "x", "zorder": 4}),
    )  # fmt: skip
    for rows, look in looks:
        if rows.any():
            of_runs(axes.scatter(x[rows], y[rows], **look), runs.names[rows])


def _legend(axes: Axes, runs: _Runs) -> None:
    looks = (
        (runs.fitted, "fitted", "o", canvas.INK, canvas.INK),
        (runs.held, "held out", "s", HELD, "white"),
        (runs.left_out, "left out", "x", canvas.GREY, canvas.GREY),
    )
    handles = [
        Line2D([], [], ls="", ms=5, marker=marker, color=edge, mfc=face, label=f"{name}, {int(rows.sum())}")
        for rows, name, marker, edge, face in looks
        if rows.any()
    ]
    axes.legend(handles=handles, title="runs", alignment="left", borderaxespad=0.2)


def _colours(runs: _Runs) -> tuple[Array, ScalarMappable | None]:
    """The colour of each run by the first of several columns, and the scale; one colour for a law of one."""
    if len(runs.columns) == 1:
        return np.tile(to_rgba(canvas.INK), (len(runs.measured), 1)), None
    part = matplotlib.colormaps[canvas.MAP](np.linspace(canvas.LIGHTEST, canvas.DARKEST, 256))
    scale = ScalarMappable(LogNorm(*_ends(runs.columns[0])), ListedColormap(part))
    return np.asarray(scale.to_rgba(runs.columns[0]), float), scale


def _some(values: Array) -> Array:
    """The values where they are few, else round ones between them."""
    own = np.unique(values)
    return own if len(own) <= MANY else np.geomspace(own[0], own[-1], CURVES + 2)[1:-1]


def _axis(axis: Axis, values: Array) -> None:
    """Ticks on a logarithmic axis that a person would have chosen."""
    factors = ((1,),) if np.max(values) / np.min(values) > 1e4 else canvas.FACTORS
    canvas.log_axis(axis, values, digits.ten if np.max(values) >= 1e15 else _count, factors)


def _count(value: float) -> str:
    return digits.short(value) if value >= 1000 else f"{value:.3g}"


def _ends(values: Array, margin: float = 0.0) -> tuple[float, float]:
    """The smallest and the largest value, moved apart by a share of the logarithm between them."""
    low, high = float(np.min(values)), float(np.max(values))
    if high <= low * (1 + 1e-9):
        low, high = low / 1.1, high * 1.1
    return low * (low / high) ** margin, high * (high / low) ** margin


def _span(off: Array) -> tuple[float, float]:
    """Limits of an axis that shows 0 and all of these."""
    low, high = min(0.0, float(np.min(off))), max(0.0, float(np.max(off)))
    margin = 0.08 * (high - low) or 1.0
    return low - margin, high + margin


def label(column: str) -> str:
    """A column of a law as an axis names it, with its unit."""
    unit = COLUMNS.get(column, "")
    return canvas.LABELS.get(column, f"{column}, {unit}" if unit else column)
