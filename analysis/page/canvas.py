"""What all figures share: style, colours by size, panels, logarithmic axes with ticks a person would choose, SVG text.

A size N has the same colour in all figures of a study (`Shades`): light for the smallest, dark for the largest, so that
the order survives printing in grey. Losses are in nats per token, N in parameters, D in tokens, C in FLOP.
"""

import dataclasses
import io
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike, NDArray

from analysis import digits
from analysis.fit.estimate import Fit
from analysis.table import Table
from scaling import folders
from scaling.errors import InputError

Array = NDArray[np.float64]
Colour = tuple[float, float, float, float]

INK = "#1d2433"
GREY = "#7b8494"
FAINT = "#dfe3ea"
MAP = "viridis"  # readable by colour-blind people, lightness falls along it
LIGHTEST, DARKEST = 0.86, 0.02  # part of the map in use: its last yellow is too light on paper
NAMED = 12  # sizes that a legend names; of more, the ends and some between
NEARLY = 1.05  # times the x of a run a line is still drawn as if there were one
MOST = 8  # ticks along an axis
FACTORS = ((1, 2, 5), (1, 3), (1,))  # round numbers: these times a power of ten
DENSE = ((1, 1.5, 2, 3, 5, 7), *FACTORS)  # of an axis of about one decade
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
    "params": "Parameters N",
    "tokens": "Tokens D",
    "unique_tokens": "Unique tokens D",
    "flops": "Compute C, FLOP",
    "flops_min": "Least compute C_min, FLOP",
    "step": "Updates S",
    "steps_min": "Least updates S_min",
    "position": "Position in the context, tokens",
    "experts": "Experts E",
    "learning_rate": "Peak learning rate",
}
WRITTEN: dict[str, Callable[[float], str]] = {"learning_rate": "{:.2g}".format}  # other than as counts
LOSS = "Held-out loss, nats per token"


@dataclasses.dataclass(frozen=True)
class Shades:
    """The colour of each N on one scale, logarithmic from the smallest to the largest.

    Attributes:
        colours: the name of a map of Matplotlib's.
        ends: where on it the smallest and the largest are.
    """

    smallest: float
    largest: float
    colours: str = MAP
    ends: tuple[float, float] = (LIGHTEST, DARKEST)

    @classmethod
    def of(cls, table: Table) -> "Shades":
        N = table["params"]
        return cls(float(np.nanmin(N)), float(np.nanmax(N)))

    def __call__(self, N: float) -> Colour:
        span = math.log(self.largest / self.smallest)
        place = math.log(N / self.smallest) / span if span > 0 else 1.0
        first, last = self.ends
        return matplotlib.colormaps[self.colours](first + (last - first) * min(max(place, 0.0), 1.0))


class Drawing(Figure):
    """A figure that a notebook shows by itself, as it shows those of pyplot, which makes none of ours."""

    def _repr_svg_(self) -> str:
        buffer = io.StringIO()
        with matplotlib.rc_context(STYLE):
            self.savefig(buffer, format="svg", facecolor="white", metadata={"Date": None})
        text = buffer.getvalue()
        return text[text.index("<svg") :]


def save(figure: Figure, path: str | Path) -> None:
    """The figure as a file of the kind that its name ends in, on white; text stays text in SVG.

    Raises:
        InputError: Matplotlib writes no such kind of file.
    """
    kind = Path(path).suffix
    with matplotlib.rc_context(STYLE):
        write(figure, path, facecolor="white", dpi=150, metadata={"Date": None} if kind == ".svg" else None)


def write(figure: Figure, path: str | Path, **how: Any) -> None:
    """The figure as a file of the kind that its name ends in; options as of Matplotlib's `savefig`.

    Raises:
        InputError: Matplotlib writes no such kind of file.
    """
    kind, buffer = Path(path).suffix[1:], io.BytesIO()
    if kind not in figure.canvas.get_supported_filetypes():
        raise InputError(f"{path}: no kind of picture is known by that ending; use .svg, .png or .pdf")
    figure.savefig(buffer, format=kind, **how)
    folders.write(Path(path), buffer.getvalue())


def panels(
    n: int,
    *,
    height: float = WIDE[1],
    rows: int = 1,
    legend: bool = True,
    left: float = 0.72,
    above: float = 0.0,
    below: float = 0.0,
    beyond: float = 0.0,
    between: float = 0.0,
) -> tuple[Figure, Sequence[Any]]:
    """A figure of n panels side by side in rows of this height, with room for the legend of sizes at its right.

    Args:
        left: inches for what stands at the left of the first panel.
        above, beyond, between: inches more above the panels, at the right of the last, and between two of a row, for a
            second axis there.
        below: inches more below the panels, for long names.
    """
    width = (WIDE[0] if n > 1 else HALF[0]) + (beyond if n == 1 else 0.0)
    columns, height = -(-n // rows), rows * height + above + below
    figure = Drawing(figsize=(width, height))
    # Margins in inches, so that panels of different figures on a page line up.
    right = beyond + (0.95 if legend else 0.15)
    apart = 0.26 if columns < 3 else 0.34
    panel = (width - left - right - (columns - 1) * between) / (columns + (columns - 1) * apart)
    grid = figure.add_gridspec(
        rows,
        columns,
        left=left / width,
        right=1 - right / width,
        bottom=(0.55 + below) / height,
        top=1 - (0.35 + above) / height,
        wspace=apart + between / panel,
        hspace=0.32,
    )
    return figure, [figure.add_subplot(grid[k // columns, k % columns]) for k in range(n)]


def fitted_line(
    axes: Axes,
    x: Array,
    fit: Fit,
    columns: Sequence[Array],
    colour: Any,
    *,
    label: str = "",
    zorder: float = 3,
    runs: Array | None = None,
    **style: Any,
) -> Array:
    """The fitted law with the band of its mean; its values.

    Args:
        runs: where the runs are along x; the line is dashed beyond them.
    """
    said = fit.band(*columns)
    axes.fill_between(x, said.low, said.high, color=colour, alpha=0.16, lw=0, zorder=zorder - 1)
    along_runs(axes, x, said.value, x if runs is None else runs, colour, zorder=zorder, label=label or None, **style)
    return said.value


def along_runs(axes: Axes, x: Array, y: Array, runs: Array, colour: Any, *, zorder: float = 3, **style: Any) -> None:
    """A line, dashed at x below and above where the runs are."""
    low, high = runs.min() / NEARLY, runs.max() * NEARLY
    inside = (low <= x) & (x <= high)
    axes.plot(x[inside], y[inside], color=colour, lw=1.1, zorder=zorder, **style)
    for beyond in (x <= low, x >= high):
        if beyond.sum() > 1:
            axes.plot(x[beyond], y[beyond], color=colour, lw=0.8, dashes=(3, 2.5), zorder=zorder)


def joined(axes: Axes, x: Array, y: Array, colour: Any) -> tuple[Array, Array]:
    """A thin line through the mean of the points at each x; its points."""
    at = np.unique(x)
    means = np.array([np.exp(np.log(y[x == v]).mean()) for v in at])
    axes.plot(at, means, color=colour, lw=0.8, zorder=3)
    return at, means


def log_axes(axes: Axes, column: str, x: ArrayLike, losses: ArrayLike, *, most: int = MOST) -> None:
    """Logarithmic axes of losses over `column`, with plain numbers, at most so many along x."""
    axes.set_xscale("log")
    log_y(axes, losses, digits.plain)
    if column == "flops":
        wide = np.ptp(np.log10(x)) > 2
        log_axis(axes.xaxis, np.geomspace(*_finite_range(x), 9), digits.ten, ((1,),) if wide else FACTORS)
    else:
        log_axis(axes.xaxis, x, WRITTEN.get(column, digits.short), most=most)
    axes.set_xlabel(LABELS[column])


def log_y(
    axes: Axes,
    values: ArrayLike,
    write: Callable[[float], str],
    factors: Sequence[tuple[float, ...]] = FACTORS,
) -> None:
    """A logarithmic upright axis around these values."""
    axes.set_yscale("log")
    low, high = _finite_range(values)
    axes.set_ylim(low / (high / low) ** 0.05, high * (high / low) ** 0.05)
    log_axis(axes.yaxis, [*np.geomspace(low, high, 9)], write, factors)


def log_axis(
    axis: Any,
    values: ArrayLike,
    write: Callable[[float], str] = digits.short,
    factors: Sequence[tuple[float, ...]] = FACTORS,
    most: int = MOST,
) -> None:
    """Ticks on a logarithmic axis that a person would have chosen."""
    axis.set_minor_locator(ticker.NullLocator())
    axis.set_major_locator(ticker.FixedLocator(ticks(values, factors, most)))
    axis.set_major_formatter(ticker.FuncFormatter(lambda v, _: _trimmed(write(v))))


def ticks(values: ArrayLike, factors: Sequence[tuple[float, ...]] = FACTORS, most: int = MOST) -> list[float]:
    """At most so many ticks for a logarithmic axis: the values themselves where few and well apart, else round numbers.

    Args:
        values: what the axis shows, above 0.
        factors: by what powers of ten may be multiplied, the densest choice first.
        most: 2 or more.
    """
    own = np.unique(np.asarray(values, float)[np.isfinite(values)])
    if len(own) == 1:
        return own.tolist()
    low, high = float(own[0]), float(own[-1])
    decades = math.log10(high / low)
    if len(own) <= most and np.min(np.diff(np.log10(own))) > 0.92 / most * decades:
        return own.tolist()
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    if decades > 0.7:
        rounds = ([v for p in powers for f in choice if low <= (v := f * 10.0**p) <= high] for choice in factors)
        inside = min(rounds, key=lambda choice: (len(choice) > most, -len(choice)))
        return inside[:: math.ceil(len(inside) / most)]
    least = (high - low) / (most - 1)
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


def margins(values: ArrayLike, factor: float) -> tuple[float, float]:
    low, high = _finite_range(values)
    return low / factor, high * factor


def percent_axis(axes: Axes, reach: float) -> None:
    axes.set_ylim(-1.15 * reach, 1.15 * reach)
    axes.yaxis.set_major_locator(ticker.MaxNLocator(6))
    axes.yaxis.set_major_formatter(
        ticker.FuncFormatter(lambda y, _: f"{y:+.3g} %".replace("-", "−") if abs(y) > 1e-9 else "0")
    )


def some(values: Array, most: int = NAMED) -> Array:
    """At most so many of them, the first and the last among these."""
    if len(values) <= most:
        return values
    return values[np.unique(np.linspace(0, len(values) - 1, most).round().astype(int))]


def size_legend(
    figure: Figure, N: Array, shades: Shades, *, title: str = "N", write: Callable[[float], str] = digits.short
) -> None:
    sizes = some(np.unique(N))
    handles = [Line2D([], [], color=shades(size), lw=0, marker="o", ms=5, label=write(size)) for size in sizes]
    side_legend(figure, handles, title)


def side_legend(figure: Figure, handles: Sequence[Line2D], title: str) -> None:
    """What marks mean, in the margin that `panels` leaves at the right."""
    width = figure.get_figwidth()
    figure.legend(
        handles=handles,
        title=title,
        loc="upper left",
        bbox_to_anchor=(1 - 0.9 / width, 1 - 0.3 / figure.get_figheight()),
        handletextpad=0.3,
        labelspacing=0.55,
        alignment="left",
        borderaxespad=0.0,
    )


def end_labels(axes: Axes, ends: Sequence[tuple[float, float, str]], head: str) -> None:
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
