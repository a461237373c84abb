"""How the best size and the best number of tokens grow with compute: panels of points, lines with bands, and slopes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from analysis import digits, reference
from analysis.page.canvas import Shades
from analysis.papers.chinchilla.approaches import Approach
from analysis.papers.chinchilla.evidence import NUMBERS, PAPER
from analysis.papers.drawing import (
    GROUPS,
    SYMBOLS,
    across,
    dots,
    fixed_limits,
    layered,
    legend,
    logarithmic,
    papers_slope,
    pf_days,
)

COLOURS: dict[int, str] = dict(
    zip(NUMBERS, (GROUPS[2], GROUPS[3], GROUPS[1]), strict=True)
)  # of the approaches, in every figure
MARKS: dict[int, str] = dict(zip(NUMBERS, SYMBOLS, strict=False))
ROOM = 0.25  # of the range of a panel, above its points
COMPUTE = "Compute C, FLOP"
SIZE = "Parameters N, with the embedding"
WANTED = {"params": ("Best N", "approach{}_a"), "tokens": ("Best D, tokens", "approach{}_b")}


def growth_panel(axes: Axes, approach: Approach, column: str, shades: Shades | None = None) -> None:
    """The optima of one approach over compute, the line through them with its band, and the paper's slope.

    The figure left PF_DAYS above its panels.

    Args:
        column: params or tokens.
        shades: of the points by their N; without, all have the colour of the approach.
    """
    points = approach.found.points
    C, y, N = (np.array([float(getattr(p, name)) for p in points]) for name in ("flops", column, "params"))
    colour = COLOURS[approach.number]
    dots(axes, C, y, [shades(n) if shades else colour for n in N], marker=MARKS[approach.number])
    room = np.array([y.min(), y.max() * (y.max() / y.min()) ** ROOM])  # for the legend
    logarithmic(axes, C, COMPUTE, np.append(y, room), write=digits.ten, write_y=digits.short, most=5)
    with fixed_limits(axes):
        line(axes, approach, column, across(axes, 40), label="our line")
    label, paper = WANTED[column]
    papers_slope(axes, C, y, reference.value(paper.format(approach.number), PAPER))
    axes.set_ylabel(label)
    legend(axes, "upper left")
    pf_days(axes)


def line(axes: Axes, approach: Approach, column: str, C: np.ndarray, label: str = "", **style: Any) -> None:
    """The line through the optima of an approach, with its band where it has one."""
    found, colour = approach.found, COLOURS[approach.number]
    value, band = (found.params, found.params_band) if column == "params" else (found.tokens, found.tokens_band)
    low, high = band(C)
    if np.isfinite(low).all():
        axes.fill_between(C, low, high, color=colour, alpha=0.16, lw=0, zorder=2)
    axes.plot(C, value(C), color=colour, label=label or None, **(layered(approach.number - 1) | style))


def optima(approach: Approach) -> list[dict[str, float | str]]:
    """The optima as rows."""
    return [
        {
            "approach": approach.title,
            **{name: float(getattr(point, name)) for name in ("flops", "params", "tokens", "loss")},
        }
        for point in approach.found.points
    ]


def joined_words(parts: Sequence[str]) -> str:
    """A list as it is said: "a, b and c"."""
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1]))) if parts else ""
