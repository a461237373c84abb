"""What each choice of an architecture is worth, a panel per size: intervals of its change of the loss."""

import textwrap

import numpy as np
from matplotlib import rc_context, ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.findings.choices import SAME_COST, Choices, Place
from analysis.page.canvas import GREY, INK, STYLE, panels, side_legend

PANELS = 3  # places that are shown, those of the largest N
LINE = 0.27  # inches of a choice
NAMES = 2.0  # inches for their names
WIDTH = 26  # letters of a name in one line
DEAR = "#b4560f"  # at equal FLOP


def changes(found: Choices) -> Figure:
    """A dot and its interval is the change at equal N and D, filled where it differs from the base.

    A diamond is the change at equal FLOP of a choice that costs more or less.
    """
    places = [place for place in found.places if place.choices][-PANELS:]
    names = list(dict.fromkeys(choice.name for place in reversed(places) for choice in place.choices))
    labels = [textwrap.fill(name, WIDTH) for name in names]
    with rc_context(STYLE):
        figure, grid = panels(len(places), height=1.3 + LINE * len(names), left=NAMES)
        ends = []
        for axes, place in zip(grid, places, strict=True):
            ends += _panel(axes, place, names)
            axes.set_yticks(range(len(names)), labels if axes is grid[0] else [""] * len(names))
            axes.set_ylim(len(names) - 0.5, -0.5)
        room = 0.04 * (max(ends) - min(ends))
        for axes in grid:
            axes.set_xlim(min(ends) - room, max(ends) + room)
        handles = [
            Line2D([], [], color=INK, marker="o", ms=5, lw=0, label="differs\n(Holm)"),
            Line2D([], [], color=INK, marker="o", ms=5, lw=0, mfc="white", label="does not"),
            Line2D([], [], color=DEAR, marker="D", ms=4.5, lw=0, label="at equal\nFLOP"),
            Line2D([], [], color=INK, lw=1.2, label="95 % of\neach"),
        ]
        side_legend(figure, handles, "Loss")
        return figure


def _panel(axes: Axes, place: Place, names: list[str]) -> list[float]:
    """Draws a place; the ends of all bars, in percent."""
    axes.axvline(0, color=GREY, lw=0.8)
    reached = [0.0]
    for choice in place.choices:
        y = names.index(choice.name)
        dear = abs(choice.cost - 1) > SAME_COST and np.isfinite(choice.at_flops.share)
        for change, colour, mark, up in ((choice.at_tokens, INK, "o", 0.0), (choice.at_flops, DEAR, "D", 0.24)):
            if mark == "D" and not dear:
                continue
            half = change.half if np.isfinite(change.half) else 0.0
            ends = [100 * (change.share - half), 100 * (change.share + half)]
            reached += ends
            axes.plot(ends, [y + up] * 2, color=colour, lw=1.2, zorder=3)
            face = colour if mark == "D" or choice.differs else "white"
            axes.plot(100 * change.share, y + up, mark, color=colour, mfc=face, ms=5 if mark == "o" else 4, zorder=4)
    axes.xaxis.set_major_locator(ticker.MaxNLocator(6))
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda x, _: f"{x:+.3g} %".replace("-", "−") if x else "0"))
    axes.set_title(str(place))
    axes.set_xlabel("Loss above the base's")
    return reached
