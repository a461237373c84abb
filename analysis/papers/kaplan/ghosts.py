"""The paper's own points and lines in grey behind ours.

The range of an axis is that of our runs: points of the paper beyond it are not drawn, and where hardly any is left,
its exponent is, as a line of that slope through the middle of our points.
"""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from analysis import digits
from analysis.page.canvas import GREY

LABEL = "Kaplan et al. (2020)"
FEWEST = 3  # points of the paper within our axes that show anything
SLOPE = "paper's exponent"


def shown(axes: Axes, x: ArrayLike, y: ArrayLike, *, joined: bool = False, label: str = LABEL) -> bool:
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


def slope(axes: Axes, x: ArrayLike, y: ArrayLike, exponent: float, *, label: str = SLOPE) -> None:
    """A dashed line y ~ x^exponent through the middle, in logarithms, of our points."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    middle, level = np.exp(np.log(x).mean()), np.exp(np.log(y).mean())
    ends = np.array([x.min(), x.max()])
    limits = axes.get_xlim(), axes.get_ylim()
    axes.plot(
        ends,
        level * (ends / middle) ** exponent,
        color=GREY,
        lw=1.0,
        dashes=(5, 3),
        zorder=1.5,
        label=digits.minus(f"{label} {exponent:.3g}"),
    )
    axes.set_xlim(limits[0])
    axes.set_ylim(limits[1])
