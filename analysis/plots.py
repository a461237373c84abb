"""Figures from tables and fits: each function takes columns and gives a Matplotlib `Figure` for a page or a notebook.

A size N has the same colour in all figures of a study (`Shades`): light for the smallest, dark for the largest, so that
the order survives printing in grey. Losses are in nats per token, N in parameters, D in tokens, C in FLOP.
"""

import dataclasses
import io
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike, NDArray

from analysis import digits
from analysis.fit import Fit
from analysis.frontier import lower_envelope
from analysis.table import Table

Array = NDArray[np.float64]
Colour = tuple[float, float, float, float]

INK = "#1d2433"
GREY = "#7b8494"
FAINT = "#dfe3ea"
MAP = "viridis"  # readable by colour-blind people, lightness falls along it
LIGHTEST, DARKEST = 0.86, 0.02  # part of the map in use: its last yellow is too light on paper
PER_OCTAVE = 2  # points of a loss by position: single positions scatter with the text
NAMED = 9  # sizes that a legend names; of more, the ends and some between
FACTORS = ((1, 2, 5), (1, 3), (1,))  # round numbers: these times a power of ten
STYLE: dict[Any, Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": 8.5,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlecolor": INK,
    "axes.titlepad": 9.0,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.minor.visible": False,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "legend.title_fontsize": 8,
    "svg.fonttype": "none",  # text stays text: it can be searched, and takes the page's font
    "svg.hashsalt": "scaling",
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}
WIDE = (10.0, 4.1)  # inches
HALF = (4.9, 4.1)

LABELS = {
    "params": "Parameters N, non-embedding",
    "tokens": "Tokens D",
    "unique_tokens": "Unique tokens D",
    "flops": "Compute C = 6ND, FLOP",
    "position": "Position in the context, tokens",
}
LOSS = "Held-out loss, nats per token"


@dataclasses.dataclass(frozen=True)
class Shades:
    """The colour of each N on one scale, logarithmic from the smallest to the largest."""

    smallest: float
    largest: float

    @classmethod
    def of(cls, table: Table) -> "Shades":
        N = table["params"]
        return cls(float(np.nanmin(N)), float(np.nanmax(N)))

    def __call__(self, N: float) -> Colour:
        span = math.log(self.largest / self.smallest)
        place = math.log(N / self.smallest) / span if span > 0 else 1.0
        return matplotlib.colormaps[MAP](LIGHTEST + (DARKEST - LIGHTEST) * min(max(place, 0.0), 1.0))


def svg(figure: Figure, prefix: str) -> str:
    """The figure as SVG text to stand in a page: the same for the same figure, its ids made unique by `prefix`."""
    buffer = io.StringIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = re.sub(r"url\(#", f"url(#{prefix}-", text)
    return re.sub(r'href="#', f'href="#{prefix}-', text)


# --- figures


def learning_curves(
    curves: Table, *, ends: Table | None = None, fit: Fit | None = None, shades: Shades | None = None
) -> Figure:
    """Held-out loss along training, against tokens and against compute with the lower envelope of all curves.

    Args:
        curves: one row per (run, evaluation): run, params, tokens, flops, loss, as `read_curves` gives them.
        ends: the points that L(C) was fitted to, marked on the envelope.
        fit: L(C), drawn with its band over the range of `ends`.
    """
    shades = shades or Shades.of(curves)
    with matplotlib.rc_context(STYLE):
        figure, (left, right) = _panels(2)
        for run in dict.fromkeys(curves["run"].tolist()):
            rows = np.flatnonzero(curves["run"] == run)
            colour = shades(float(curves["params"][rows[0]]))
            for axes, column in ((left, "tokens"), (right, "flops")):
                x, y = curves[column][rows], curves["loss"][rows]
                axes.plot(x, y, color=colour, lw=0.9, alpha=0.75, solid_capstyle="round")
                axes.plot(x[-1], y[-1], "o", color=colour, ms=2.6, mew=0)
        finite = np.flatnonzero(np.isfinite(curves["loss"]))
        edge = finite[lower_envelope(curves["flops"][finite], curves["loss"][finite])]
        right.plot(curves["flops"][edge], curves["loss"][edge], color=INK, lw=1.6, zorder=5, label="lower envelope")
        if fit is not None and ends is not None:
            C = np.geomspace(ends["flops"].min() / 1.5, ends["flops"].max() * 1.5, 80)
            _line(right, C, fit, [C], "#b3261e", label="L(C), fitted", dashes=(4, 2), zorder=6)
        if ends is not None:
            right.plot(
                ends["flops"],
                ends["loss"],
                "o",
                mfc="white",
                mec=INK,
                ms=4.5,
                mew=1.1,
                zorder=7,
                ls="",
                label="runs that end on it",
            )
        for axes, column, title in ((left, "tokens", "Along the tokens"), (right, "flops", "Along the compute")):
            _log_axes(axes, column, curves[column], curves["loss"])
            axes.set_title(title)
        left.set_ylabel(LOSS)
        right.legend(loc="lower left", handlelength=1.8)
        _size_legend(figure, curves["params"], shades)
        return figure


def against_size_and_data(
    table: Table, fit: Fit | None = None, *, column: str = "tokens", shades: Shades | None = None
) -> Figure:
    """Losses against N with a line per D, against D with a line per N: the law with its band, or lines that join runs.

    Args:
        table: the runs, those a law was fitted to if one is given.
        fit: a law of params and `column`.
        column: which D, "tokens" or "unique_tokens".
    """
    shades = shades or Shades.of(table)
    N, D, L = table["params"], table[column], table[fit.target if fit else "loss"]
    line_N, line_D = (np.geomspace(x.min() / 1.2, x.max() * 1.2, 80) for x in (N, D))
    shown, ends = [L], []
    with matplotlib.rc_context(STYLE):
        figure, (left, right) = _panels(2)
        for length in _some(np.unique(D)):
            x, y = (
                (line_N, _line(left, line_N, fit, [line_N, np.full_like(line_N, length)], GREY))
                if fit
                else _joined(left, N[D == length], L[D == length], GREY)
            )
            ends.append((float(x[-1]), float(y[-1]), digits.short(length)))
            shown.append(y)
        for size in np.unique(N):
            rows, colour = N == size, shades(size)
            if fit:
                shown.append(_line(right, line_D, fit, [np.full_like(line_D, size), line_D], colour))
            else:
                _joined(right, D[rows], L[rows], colour)
            for axes, x in ((left, N), (right, D)):
                axes.plot(x[rows], L[rows], "o", color=colour, ms=4.2, mec="white", mew=0.5, ls="", zorder=5)
        for axes, name in ((left, "params"), (right, column)):
            _log_axes(axes, name, table[name], np.concatenate(shown))
        _end_labels(left, ends, "D =")
        left.set_title("Against N, one line per D")
        right.set_title("Against D, one line per N")
        left.set_ylabel(LOSS)
        _size_legend(figure, N, shades)
        return figure


def against_one(fit: Fit, table: Table, *, shades: Shades | None = None) -> Figure:
    """A law of one variable over the points it was fitted to, with its band."""
    shades = shades or Shades.of(table)
    (column,) = fit.law.inputs
    x, L = table[column], table[fit.target]
    with matplotlib.rc_context(STYLE):
        figure, (axes,) = _panels(1)
        line = np.geomspace(x.min() / 1.3, x.max() * 1.3, 80)
        _line(axes, line, fit, [line], INK)
        for i in range(len(table)):
            axes.plot(x[i], L[i], "o", color=shades(table["params"][i]), ms=5, mec="white", mew=0.5, zorder=5)
        axes.set_title(f"L({'C' if column == 'flops' else 'N' if column == 'params' else 'D'})")
        _log_axes(axes, column, x, np.concatenate([L, fit.band(line).value]))
        axes.set_ylabel(LOSS)
        _size_legend(figure, table["params"], shades)
        return figure


def residuals(fit: Fit, table: Table, *, sigma: float | None = None, shades: Shades | None = None) -> Figure:
    """What the law leaves of each run: measured / fitted - 1 in percent, against N and D.

    Args:
        sigma: seed noise as a share of the loss; two of it are shaded.
    """
    shades = shades or Shades.of(table)
    columns = fit.law.inputs
    said = fit.band(*(table[name] for name in columns)).value
    off = 100 * (table[fit.target] / said - 1)
    with matplotlib.rc_context(STYLE):
        figure, panels = _panels(len(columns), height=3.1)
        reach = max(float(np.max(np.abs(off))), 200 * (sigma or 0.0))
        for axes, name in zip(panels, columns, strict=True):
            axes.axhline(0, color=INK, lw=0.8)
            if sigma:
                axes.axhspan(-200 * sigma, 200 * sigma, color=FAINT, alpha=0.6, lw=0, zorder=0)
            for size in np.unique(table["params"]):
                rows = table["params"] == size
                axes.plot(table[name][rows], off[rows], "o", color=shades(size), ms=4.2, mec="white", mew=0.5, ls="")
            axes.set_xscale("log")
            _log_axis(axes.xaxis, table[name])
            axes.set_xlim(*_margins(table[name], 1.4))
            _percent_axis(axes, reach)
            axes.set_xlabel(LABELS[name])
            axes.set_title(f"Measured above the law, against {'N' if name == 'params' else 'D'}")
        _size_legend(figure, table["params"], shades)
        return figure


def held_out(
    measured: ArrayLike,
    predicted: ArrayLike,
    low: ArrayLike,
    high: ArrayLike,
    data: ArrayLike,
    *,
    column: str = "tokens",
) -> Figure:
    """Losses of runs that a fit had not seen: against what it foretold, and the error in percent against D.

    Args:
        measured, predicted, low, high: nats per token, shape (n,); the ends bound a single run.
        data: D of each run, of the kind that `column` names.
    """
    y, x, a, b, D = (np.asarray(v, float) for v in (measured, predicted, low, high, data))
    marks = {"fmt": "o", "color": INK, "ms": 4.5, "mec": "white", "mew": 0.5, "ecolor": GREY, "elinewidth": 0.9}
    with matplotlib.rc_context(STYLE):
        figure, (left, right) = _panels(2, height=3.4, legend=False)
        seen = np.concatenate([x, y, a, b])
        ends = _margins(seen, (seen.max() / seen.min()) ** 0.05)
        left.plot(ends, ends, color=GREY, lw=0.9, dashes=(4, 2))
        left.errorbar(x, y, xerr=np.maximum([x - a, b - x], 0), capsize=2, **marks)
        for axis in (left.xaxis, left.yaxis):
            axis.set_major_locator(ticker.MaxNLocator(6))
        left.set(xlim=ends, ylim=ends, xlabel="Foretold loss, nats per token", ylabel="Measured loss, nats per token")
        left.set_title("Foretold and measured")
        off = 100 * (x / y - 1)
        bars = np.maximum([off - 100 * (a / y - 1), 100 * (b / y - 1) - off], 0)
        right.axhline(0, color=INK, lw=0.8)
        right.errorbar(D, off, yerr=bars, capsize=2, **marks)
        right.set_xscale("log")
        _log_axis(right.xaxis, D)
        _percent_axis(right, max(float(np.max(np.abs(off))), float(np.max(np.abs([off - bars[0], off + bars[1]])))))
        right.set(xlim=_margins(D, 1.25), xlabel=LABELS[column])
        right.set_title("Foretold above the measured")
        return figure


def positions(table: Table, *, shades: Shades | None = None) -> Figure:
    """Held-out loss by position in the context, one line per size.

    Args:
        table: params, position (from 1), loss; runs of a size are averaged, and so are positions of half an octave.
    """
    shades = shades or Shades.of(table)
    with matplotlib.rc_context(STYLE):
        figure, (axes,) = _panels(1)
        bins = np.floor(PER_OCTAVE * np.log2(table["position"]))
        means = []
        for size in np.unique(table["params"]):
            here = [(table["params"] == size) & (bins == b) for b in np.unique(bins)]
            at, loss = (
                np.array([column[rows].mean() for rows in here if rows.any()])
                for column in (np.log(table["position"]), table["loss"])
            )
            axes.plot(np.exp(at), loss, color=shades(size), lw=1.1)
            means.append(loss)
        axes.set_title("Along the context")
        _log_axes(axes, "position", table["position"], np.concatenate(means))
        axes.set_ylabel(LOSS)
        _size_legend(figure, table["params"], shades)
        return figure


# --- pieces


def _panels(n: int, *, height: float = WIDE[1], legend: bool = True) -> tuple[Figure, Sequence[Any]]:
    """A figure of n panels side by side, with room for the legend of sizes at its right."""
    width = WIDE[0] if n == 2 else HALF[0]
    figure = Figure(figsize=(width, height))
    # Margins in inches, so that panels of different figures on a page line up.
    right = 0.95 if legend else 0.15
    grid = figure.add_gridspec(
        1,
        n,
        left=0.72 / width,
        right=1 - right / width,
        bottom=0.55 / height,
        top=1 - 0.35 / height,
        wspace=0.26,
    )
    return figure, [figure.add_subplot(grid[0, k]) for k in range(n)]


def _line(
    axes: Axes,
    x: Array,
    fit: Fit,
    columns: Sequence[Array],
    colour: Any,
    *,
    label: str = "",
    zorder: float = 3,
    **style: Any,
) -> Array:
    """The fitted law with the band of its mean; its values."""
    said = fit.band(*columns)
    axes.fill_between(x, said.low, said.high, color=colour, alpha=0.16, lw=0, zorder=zorder - 1)
    axes.plot(x, said.value, color=colour, lw=1.1, zorder=zorder, label=label or None, **style)
    return said.value


def _joined(axes: Axes, x: Array, y: Array, colour: Any) -> tuple[Array, Array]:
    """A thin line through the mean of the points at each x; its points."""
    at = np.unique(x)
    means = np.array([np.exp(np.log(y[x == v]).mean()) for v in at])
    axes.plot(at, means, color=colour, lw=0.8, zorder=3)
    return at, means


def _log_axes(axes: Axes, column: str, x: ArrayLike, losses: ArrayLike) -> None:
    """Logarithmic axes of losses over `column`, with plain numbers."""
    axes.set_xscale("log")
    axes.set_yscale("log")
    low, high = _finite_range(losses)
    axes.set_ylim(low / (high / low) ** 0.05, high * (high / low) ** 0.05)
    _log_axis(axes.yaxis, [*np.geomspace(low, high, 9)], digits.plain)
    if column == "flops":
        wide = np.ptp(np.log10(x)) > 2
        _log_axis(axes.xaxis, np.geomspace(*_finite_range(x), 9), digits.ten, ((1,),) if wide else FACTORS)
    else:
        _log_axis(axes.xaxis, x)
    axes.set_xlabel(LABELS[column])


def _log_axis(
    axis: Any,
    values: ArrayLike,
    write: Callable[[float], str] = digits.short,
    factors: Sequence[tuple[int, ...]] = FACTORS,
) -> None:
    """Ticks on a logarithmic axis that a person would have chosen."""
    axis.set_minor_locator(ticker.NullLocator())
    axis.set_major_locator(ticker.FixedLocator(ticks(values, factors)))
    axis.set_major_formatter(ticker.FuncFormatter(lambda v, _: _trimmed(write(v))))


def ticks(values: ArrayLike, factors: Sequence[tuple[int, ...]] = FACTORS) -> list[float]:
    """At most eight ticks for a logarithmic axis: the values themselves where few and well apart, else round numbers.

    Args:
        values: what the axis shows, above 0.
        factors: by what powers of ten may be multiplied, the densest choice first.
    """
    own = np.unique(np.asarray(values, float)[np.isfinite(values)])
    if len(own) == 1:
        return own.tolist()
    low, high = float(own[0]), float(own[-1])
    decades = math.log10(high / low)
    if len(own) <= 8 and np.min(np.diff(np.log10(own))) > 0.115 * decades:
        return own.tolist()
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    if decades > 0.7:
        rounds = ([v for p in powers for f in choice if low <= (v := f * 10.0**p) <= high] for choice in factors)
        inside = min(rounds, key=lambda choice: (len(choice) > 8, -len(choice)))
        return inside[:: math.ceil(len(inside) / 8)]
    least = (high - low) / 7
    power = 10.0 ** math.floor(math.log10(least))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least)
    return [k * step for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _trimmed(text: str) -> str:
    return text.rstrip("0").rstrip(".") if re.fullmatch(r"\d+\.\d+", text) else text


def _finite_range(values: ArrayLike) -> tuple[float, float]:
    values = np.asarray(values, float)
    finite = values[np.isfinite(values)]
    low, high = float(finite.min()), float(finite.max())
    return (low, high) if high > low else (low / 1.05, low * 1.05)


def _margins(values: ArrayLike, factor: float) -> tuple[float, float]:
    low, high = _finite_range(values)
    return low / factor, high * factor


def _percent_axis(axes: Axes, reach: float) -> None:
    axes.set_ylim(-1.15 * reach, 1.15 * reach)
    axes.yaxis.set_major_locator(ticker.MaxNLocator(6))
    axes.yaxis.set_major_formatter(
        ticker.FuncFormatter(lambda y, _: f"{y:+.3g} %".replace("-", "−") if abs(y) > 1e-9 else "0")
    )


def _some(values: Array) -> Array:
    """At most NAMED of them, the first and the last among these."""
    if len(values) <= NAMED:
        return values
    return values[np.unique(np.linspace(0, len(values) - 1, NAMED).round().astype(int))]


def _size_legend(figure: Figure, N: Array, shades: Shades) -> None:
    sizes = _some(np.unique(N))
    handles = [Line2D([], [], color=shades(size), lw=0, marker="o", ms=5, label=digits.short(size)) for size in sizes]
    width = figure.get_figwidth()
    figure.legend(
        handles=handles,
        title="N",
        loc="upper left",
        bbox_to_anchor=(1 - 0.9 / width, 1 - 0.3 / figure.get_figheight()),
        handletextpad=0.3,
        labelspacing=0.55,
        alignment="left",
        borderaxespad=0.0,
    )


def _end_labels(axes: Axes, ends: Sequence[tuple[float, float, str]], head: str) -> None:
    """Names lines at their right ends (x, y), moved apart where they would overlap."""
    low, high = (math.log(v) for v in axes.get_ylim())
    height = axes.get_window_extent().height / axes.figure.dpi * 72  # points
    apart = 9.5 / height * (high - low)
    places: list[float] = []
    ordered = sorted(ends, key=lambda end: end[1])
    for _, y, _ in ordered:
        places.append(max(math.log(y), places[-1] + apart) if places else math.log(y))
    shift = max(0.0, places[-1] - high)
    for (x, y, name), place in zip(ordered, places, strict=True):
        axes.annotate(
            f"{head} {name}" if y == ordered[-1][1] else name,
            (x, math.exp(place - shift)),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=7.5,
            color=GREY,
            annotation_clip=False,
        )
