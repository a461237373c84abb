"""What the figures of the laws share: axes of S_min, C_min and losses, panels without an answer, legends, sentences."""

import dataclasses
import math
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from analysis import digits
from analysis.findings.finding import Finding
from analysis.page.canvas import GREY, LOSS, Shades, log_axis, log_y
from analysis.table import Table

LAW = "#b3261e"  # fitted lines
LABELS = {
    "flops": "Compute C = 6NBS, FLOP",
    "flops_min": "Least compute C_min, FLOP",
    "steps_min": "Least updates S_min",
    "step": "Updates S",
    "params": "Parameters N, non-embedding",
    "tokens": "Tokens processed",
    "unique_tokens": "Unique tokens D",
}


@dataclasses.dataclass(frozen=True)
class Tints:
    """The colour of each D, from another scale than that of the sizes: light for the least data, dark for the most."""

    least: float
    most: float

    @classmethod
    def of(cls, values: ArrayLike) -> "Tints":
        return cls(float(np.min(values)), float(np.max(values)))

    def __call__(self, D: float) -> Any:
        span = math.log(self.most / self.least)
        place = math.log(D / self.least) / span if span > 0 else 1.0
        return matplotlib.colormaps["magma"](0.82 - 0.68 * min(max(place, 0.0), 1.0))


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
    """Logarithmic axes around x (and y), as much of them beyond the values as a point takes."""
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
    axes.set_xlabel(label)
    if y is not None:
        log_y(axes, y, write_y)


def across(axes: Axes, n: int) -> np.ndarray:
    """n places over the whole width of logarithmic axes."""
    low, high = axes.get_xlim()
    return np.geomspace(low, high, n)


def named(table: Table, names: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of a table, these columns alone."""
    return [dict(zip(names, values, strict=True)) for values in zip(*(table[name] for name in names), strict=True)]


def losses(axes: Axes) -> None:
    axes.set_ylabel(LOSS)


def blank(axes: Axes, title: str, why: str) -> None:
    """A panel that our runs cannot fill, and why."""
    axes.set_title(title)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    width = int(axes.get_window_extent().width / axes.figure.dpi * 11)  # letters of this size to an inch
    axes.text(
        0.5,
        0.5,
        textwrap.fill(f"cannot decide: {why}", max(width, 20)),
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
        axes.plot(curves[x][rows], curves[y][rows], color=colour, lw=lw, alpha=alpha, zorder=2)


def dots(axes: Axes, x: ArrayLike, y: ArrayLike, colours: Sequence[Any], **style: Any) -> None:
    """Points, each in a colour of its own."""
    look: dict[str, Any] = {"marker": "o", "ms": 4.6, "mec": "white", "mew": 0.5, "zorder": 5} | style
    for one, at, colour in zip(np.asarray(x, float), np.asarray(y, float), colours, strict=True):
        axes.plot(one, at, color=colour, **look)


def legend(axes: Axes, loc: str = "lower left") -> None:
    """A legend where something has a name."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc=loc, handlelength=2.2)  # pyright: ignore[reportCallIssue, reportArgumentType]  # loc is a name


def said(found: Finding) -> list[str]:
    """What a reader must know of a fit besides its constants: the evidence, the held-out error, a misfit."""
    if found.fit is None or not found.sound:
        return []
    sentences = [found.evidence, found.forecast(), found.misfit()]
    return [sentence for sentence in sentences if sentence]
