"""How groups of models are told apart in a panel: colours, marks and legends."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.page.canvas import GREY

GROUPS = ("#1d2433", "#b3261e", "#2f6db5", "#3f8f5b", "#a86a12", "#7a4fa3")  # of kinds of models, told by marks as well
SYMBOLS = ("o", "s", "^", "D", "v", "P")


def symbol(k: int, **more: Any) -> dict[str, Any]:
    """How the k-th group of points is drawn."""
    style: dict[str, Any] = {"color": GROUPS[k % len(GROUPS)], "marker": SYMBOLS[k % len(SYMBOLS)]}
    return style | {"ms": 5, "mec": "white", "mew": 0.5} | more


def groups_legend(axes: Axes, entries: Sequence[tuple[str, dict[str, Any]]], loc: Any = "best", **more: Any) -> None:
    """A legend of groups (label, style of a line), and after them what the axes name themselves, such as ghosts."""
    handles: list[Any] = [Line2D([], [], label=label, **style) for label, style in entries]
    handles += axes.get_legend_handles_labels()[0]
    axes.legend(handles=handles, loc=loc, **({"handlelength": 1.8} | more))


def beside(figure: Figure, entries: Sequence[tuple[str, dict[str, Any]]], title: str) -> None:
    """A legend at the right of a figure whose panels left room for it."""
    width = figure.get_figwidth()
    figure.legend(
        handles=[Line2D([], [], label=label, **style) for label, style in entries],
        title=title,
        loc="upper left",
        bbox_to_anchor=(1 - 0.9 / width, 1 - 0.3 / figure.get_figheight()),
        handletextpad=0.3,
        handlelength=1.2,
        labelspacing=0.55,
        alignment="left",
        borderaxespad=0.0,
    )


def plain_line(axes: Axes, y: float = 0.0) -> None:
    """A thin level line to measure from."""
    axes.axhline(y, color=GREY, lw=0.8, zorder=0)
