"""How the figures of papers are drawn: axes, marks, lines, legends, panels without an answer, the paper's own points.

The range of an axis is that of our runs: points of the paper beyond it are not drawn. Where most of those over our x
lie beyond it, all are brought to our height at one x that both have, which shows whether both fall alike; and where
both share no x, the paper's exponent is drawn, as a line of that slope through the middle of our points.
"""

import contextlib
import math
import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from analysis import digits
from analysis.page.canvas import GREY, LABELS, Shades, log_axis, log_y, side_legend
from analysis.page.svg import of_runs
from analysis.papers.claim import Undecided
from analysis.table import Table
from scaling.counts import PF_DAY

LAW = "#b3261e"  # fitted lines
OTHER = "#2f6db5"  # the second of two laws in one panel
GROUPS = ("#1d2433", LAW, OTHER, "#3f8f5b", "#a86a12", "#7a4fa3")  # of kinds of models, told by marks as well
SYMBOLS = ("o", "s", "^", "D", "v", "P")
POINTS = "paper's points"
SLOPE = "paper's exponent"
LEFT_OUT = "left out of the law"
PF_DAYS = 0.4  # inches above the panels that `pf_days` takes
ONE_RATE = 0.01  # of the bytes per token: as far as those of one tokenizer differ from one part of a text to another
BITS = 0.5  # inches at the right of a panel that `bits_per_byte` takes
LAYERS = ((2.2, (1, 0)), (1.6, (5, 2.5)), (1.4, (1.2, 1.6)), (1.2, (6, 2, 1.2, 2)))  # width, dashes
FEW_DECADES = 2.0  # on a shorter axis of PF-days powers of ten alone would be one tick or two
READ = 0.01  # of ln x: how closely the paper's points were read off
FEWEST = 3  # points of the paper within our axes that show anything


def tints(values: ArrayLike) -> Shades:
    """The colour of each D, from another map than that of the sizes: light for the least data, dark for the most."""
    return Shades(float(np.min(values)), float(np.max(values)), "magma", (0.82, 0.14))


def logarithmic(
    axes: Axes,
    x: ArrayLike,
    label: str,
    y: ArrayLike | None = None,
    *,
    write: Callable[[float], str] = digits.short,
    write_y: Callable[[float], str] = digits.plain,
    most: int = 8,
) -> None:
    """Logarithmic axes around x (and y), as much of them beyond the values as a point takes.

    Args:
        label: of x; the name of a column stands for its label.
    """
    axes.set_xscale("log")
    x = np.asarray(x, float)
    low, high = float(np.nanmin(x)), float(np.nanmax(x))
    margin = (high / low) ** 0.04 if high > low else 1.1
    axes.set_xlim(low / margin, high * margin)
    wide = high / low > (1e2 if write is digits.ten else 1e4)
    # Own values as ticks where few, else round numbers over the whole axis.
    log_axis(axes.xaxis, x if len(np.unique(x)) <= most else np.geomspace(low, high, 40), write, most=most)
    if wide:
        log_axis(axes.xaxis, np.geomspace(low, high, 40), write, ((1,),), most)
    axes.set_xlabel(LABELS.get(label, label))
    if y is not None:
        log_y(axes, y, write_y)


def pf_days(axes: Axes) -> None:
    """A second axis of compute above a panel, as the paper prints it; the figure left PF_DAYS above its panels."""
    second = axes.secondary_xaxis(
        "top", functions=(lambda C: np.asarray(C) / PF_DAY, lambda days: np.asarray(days) * PF_DAY)
    )
    days = across(axes, 40) / PF_DAY
    decades = math.log10(days[-1] / days[0])
    log_axis(second.xaxis, days, digits.ten, ((1,),) if decades > FEW_DECADES else ((1, 3), (1,)), 4)
    second.set_xlabel("PF-days")


def bits_per_byte(axes: Axes, table: Table, *, above: bool = False) -> None:
    """A second axis of the losses at the right of a panel, where the runs have one tokenizer and its rate is known.

    The figure left BITS beyond its panels, or between them.

    Args:
        above: the losses lie along x, and the axis above the panel, where the figure left PF_DAYS.
    """
    if not table.has("bytes_per_token"):
        return
    rates = table["bytes_per_token"]
    if np.ptp(rates) > ONE_RATE * rates.max():
        return
    bit = math.log(2) * float(rates.mean())  # nats per token
    functions = (lambda loss: np.asarray(loss) / bit, lambda bits: np.asarray(bits) * bit)
    second = axes.secondary_xaxis("top", functions=functions) if above else axes.secondary_yaxis("right", functions)
    low, high = axes.get_xlim() if above else axes.get_ylim()
    log_axis(second.xaxis if above else second.yaxis, np.geomspace(low, high, 9) / bit, digits.plain)
    second.set(**{"xlabel" if above else "ylabel": "bits per byte"})


@contextlib.contextmanager
def fixed_limits(axes: Axes) -> Iterator[None]:
    """Lines drawn inside do not change the range of the axes."""
    limits = axes.get_xlim(), axes.get_ylim()
    yield
    axes.set_xlim(limits[0])
    axes.set_ylim(limits[1])


def across(axes: Axes, n: int) -> np.ndarray:
    """n places over the whole width of logarithmic axes."""
    low, high = axes.get_xlim()
    return np.geomspace(low, high, n)


def named(table: Table, names: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of a table, of these columns those that it has."""
    there = [name for name in names if name in table]
    return [dict(zip(there, values, strict=True)) for values in zip(*(table[name] for name in there), strict=True)]


def blank(axes: Axes, title: str, why: object) -> None:
    """A panel that our runs cannot fill, and why."""
    lack = Undecided.of(why)
    axes.clear()
    axes.set_title(title)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    width = int(axes.get_window_extent().width / axes.figure.dpi * 11)  # letters of this size to an inch
    axes.text(
        0.5,
        0.5,
        textwrap.fill(f"{lack.word}: {lack.why}", max(width, 20)),
        transform=axes.transAxes,
        ha="center",
        va="center",
        color=GREY,
    )


def by_run(
    axes: Axes, curves: Table, x: str, y: str = "loss", *, shades: Shades, alpha: float = 0.8, lw: float = 0.8
) -> None:
    """A thin line for each run, in the colour of its size."""
    for run in dict.fromkeys(curves["run"].tolist()):
        rows = np.flatnonzero(curves["run"] == run)
        rows = rows[np.argsort(curves["step"][rows])]  # S_min and C_min need not grow with every update
        colour = shades(float(curves["params"][rows[0]]))
        (curve,) = axes.plot(curves[x][rows], curves[y][rows], color=colour, lw=lw, alpha=alpha, zorder=2)
        of_runs(curve, [run])


def dots(
    axes: Axes, x: ArrayLike, y: ArrayLike, colours: Sequence[Any], *, runs: Sequence[str] = (), **style: Any
) -> None:
    """Points, each in a colour of its own; `runs` names the run of each, where it is one."""
    look: dict[str, Any] = {"ls": "", "marker": "o", "ms": 4.6, "mec": "white", "mew": 0.5, "zorder": 5} | style
    names = runs or [""] * len(colours)
    for one, at, colour, run in zip(np.asarray(x, float), np.asarray(y, float), colours, names, strict=True):
        (dot,) = axes.plot(one, at, color=colour, **look)
        if run:
            of_runs(dot, [run])


def left_out(axes: Axes, table: Table, x: str, y: str = "loss", *, shades: Callable[[float], Any]) -> int:
    """The runs that rules left out of a law's table, within axes that are set: hollow, in the colour of their size.

    Returns:
        How many they are.
    """
    (left, right), (low, high), n = axes.get_xlim(), axes.get_ylim(), 0
    for cells in (excluded.cells for excluded in table.excluded):
        if not {x, y, "params"} <= set(cells):
            continue
        for at, loss, N in zip(cells[x], cells[y], cells["params"], strict=True):
            if left <= at <= right and low <= loss <= high:
                style: dict[str, Any] = {"ls": "", "marker": "o", "ms": 4.4, "mfc": "white", "mec": shades(float(N))}
                axes.plot(at, loss, mew=0.9, zorder=4, label=LEFT_OUT if n == 0 else "", **style)
                n += 1
    return n


def layered(k: int) -> dict[str, Any]:
    """The look of the k-th of lines that may lie on one another: the first broad, those on it thin and broken."""
    width, dashes = LAYERS[k % len(LAYERS)]
    return {"lw": width, "dashes": dashes, "zorder": 3 + 0.1 * k}


def legend(axes: Axes, loc: str = "lower left") -> None:
    """A legend where something has a name."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc=loc, handlelength=2.2)  # pyright: ignore[reportCallIssue, reportArgumentType]  # loc is a name


def symbol(k: int, **more: Any) -> dict[str, Any]:
    """How the k-th group of points is drawn."""
    style: dict[str, Any] = {"color": GROUPS[k % len(GROUPS)], "marker": SYMBOLS[k % len(SYMBOLS)]}
    return style | {"ms": 5, "mec": "white", "mew": 0.5} | more


def groups_legend(axes: Axes, entries: Sequence[tuple[str, dict[str, Any]]], loc: Any = "best", **more: Any) -> None:
    """A legend of groups (label, style of a line), and after them what the axes name themselves."""
    handles = [*_handles(entries), *axes.get_legend_handles_labels()[0]]
    axes.legend(handles=handles, loc=loc, **({"handlelength": 1.8} | more))


def beside(figure: Figure, entries: Sequence[tuple[str, dict[str, Any]]], title: str) -> None:
    """A legend of groups at the right of a figure whose panels left room for it."""
    side_legend(figure, _handles(entries), title)


def _handles(entries: Sequence[tuple[str, dict[str, Any]]]) -> list[Line2D]:
    return [Line2D([], [], label=label, **style) for label, style in entries]


def level(axes: Axes, y: float = 0.0) -> None:
    """A thin level line to measure from."""
    axes.axhline(y, color=GREY, lw=0.8, zorder=0)


def papers_points(axes: Axes, x: ArrayLike, y: ArrayLike, *, joined: bool = False, label: str = POINTS) -> bool:
    """Draws the paper's points that lie within the axes as they are, if there are FEWEST; whether it did."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    inside = (left <= x) & (x <= right) & (low <= y) & (y <= high)
    if inside.sum() < FEWEST:
        return False
    style: dict[str, Any] = {"ls": "", "marker": "D", "ms": 3.2, "mfc": "none", "mew": 0.8}
    if joined:
        style = {"lw": 1.0}
    axes.plot(x[inside], y[inside], color=GREY, alpha=0.9, zorder=1.5, label=label, **style)
    return True


class Fall(NamedTuple):
    """By what factor two curves fall over the x that both have."""

    start: float
    end: float
    ours: float
    theirs: float

    def said(self, what: str, write: Callable[[float], str] = digits.short) -> str:
        """As a sentence; `what` is x, such as "N"."""
        return (
            f"From {what} = {write(self.start)} to {write(self.end)} our loss falls by a factor of {self.ours:.3f}, "
            f"the paper's by {self.theirs:.3f}."
        )


def fall(x: ArrayLike, y: ArrayLike, points: ArrayLike) -> Fall | None:
    """How our curve and the paper's fall between the least and the largest of our x within theirs.

    None where fewer than two of ours are. Between its points the paper's is read in logarithms.

    Args:
        x, y: ours; the mean where several are at one x.
        points: the paper's (x, y). (n, 2)
    """
    (at, ours), theirs = _curve(x, y), _curve(*np.asarray(points, float).T)
    inside = (theirs[0][0] - READ <= at) & (at <= theirs[0][-1] + READ)
    if inside.sum() < 2:
        return None
    at, ours = at[inside], ours[inside]
    start, end = np.interp(at[[0, -1]], *theirs)
    (low, high) = np.exp(at[[0, -1]])
    return Fall(float(low), float(high), float(np.exp(ours[0] - ours[-1])), float(np.exp(start - end)))


def _curve(x: ArrayLike, y: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """ln x, rising, and the mean ln y at each."""
    x, y = np.log(np.asarray(x, float)), np.log(np.asarray(y, float))
    at = np.unique(x)
    return at, np.array([y[x == v].mean() for v in at])


def papers_curve(
    axes: Axes,
    x: ArrayLike,
    y: ArrayLike,
    points: ArrayLike,
    exponent: float,
) -> Fall | None:
    """The paper's points beside ours, in axes that are set: as they are where half of those over our x lie within.

    Else they are all moved by one factor, so that both curves meet at the largest x that they share: as L(x) / L(x_0)
    of both would be. Where they share too little, the paper's exponent is drawn.

    Args:
        x, y: ours.
        points: the paper's (x, y), in our units. (n, 2)
        exponent: of y in x.

    Returns:
        How far both fall over what they share, if they share something.
    """
    their_x, their_y = np.asarray(points, float).T
    shared = fall(x, y, points)
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    heights = their_y[(left <= their_x) & (their_x <= right)]
    inside = (low <= heights) & (heights <= high)
    if 2 * inside.sum() >= len(heights) and papers_points(axes, their_x, their_y):
        _through(axes, their_x, their_y)
        return shared
    if shared is not None:
        (at, ours), (across_x, theirs) = _curve(x, y), _curve(their_x, their_y)
        end = math.log(shared.end)
        factor = float(np.exp(np.interp(end, at, ours) - np.interp(end, across_x, theirs)))
        if papers_points(axes, their_x, factor * their_y, label=f"{POINTS} × {factor:.2f}"):
            _through(axes, their_x, factor * their_y)
            return shared
    papers_slope(axes, x, y, exponent)
    return shared


def _through(axes: Axes, x: np.ndarray, y: np.ndarray) -> None:
    """A thin line from point to point, as `fall` reads them."""
    with fixed_limits(axes):
        axes.plot(x, y, color=GREY, lw=0.7, alpha=0.7, zorder=1.4)


def papers_slope(axes: Axes, x: ArrayLike, y: ArrayLike, exponent: float) -> None:
    """A dashed line y ~ x^exponent through the middle, in logarithms, of our points."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    middle, height = np.exp(np.log(x).mean()), np.exp(np.log(y).mean())
    ends = np.array([x.min(), x.max()])
    style: dict[str, Any] = {"color": GREY, "lw": 1.0, "dashes": (5, 3), "zorder": 1.5}
    with fixed_limits(axes):
        axes.plot(ends, height * (ends / middle) ** exponent, label=digits.minus(f"{SLOPE} {exponent:.3g}"), **style)
