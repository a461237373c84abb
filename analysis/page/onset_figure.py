"""The onset of context use over N, and the final loss beside that of one scheme, a column per context."""

import math

import matplotlib
import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.findings.positions import Positions, Setting
from analysis.page.canvas import GREY, INK, LABELS, STYLE, log_axis, margins, panels, percent_axis, side_legend

HEIGHT = 3.5  # inches of a row
CONTEXTS = 3  # that are shown, the shortest first
MARKS = ("o", "s", "^", "v", "P", "X", "*")
COLOURS = "tab10"


def onset(found: Positions) -> Figure:
    """Above: tokens at the onset; a hollow mark with an arrow is a model that had seen so many without one.

    Below: the final loss above that of the first scheme.
    """
    settings = found.settings[:CONTEXTS]
    styles = {
        scheme: {"color": INK if k == 0 else matplotlib.colormaps[COLOURS](k - 1), "marker": MARKS[k % len(MARKS)]}
        for k, scheme in enumerate(found.schemes)
    }
    shown = [cell for setting in settings for scheme in styles for cell in found.of(setting, scheme)]
    sizes = np.array([cell.params for cell in shown])
    onsets = [cell.onset if math.isfinite(cell.onset) else cell.tokens for cell in shown]
    changes = [c for setting in settings for scheme in styles for c in found.changes(setting, scheme).values()]
    with rc_context(STYLE):
        figure, grid = panels(2 * len(settings), height=HEIGHT, rows=2)
        above, below = grid[: len(settings)], grid[len(settings) :]
        for setting, upper, lower in zip(settings, above, below, strict=True):
            _onsets(upper, found, setting, styles)
            upper.set_yscale("log")
            upper.set_ylim(*margins(onsets, 1.5))
            log_axis(upper.yaxis, np.geomspace(min(onsets), max(onsets), 9))
            _losses(lower, found, setting, styles)
            percent_axis(lower, 100 * max(max(map(abs, changes), default=0.0), 1e-3))
            lower.set_ylim(
                min(100 * min(changes, default=0.0) * 1.15, -1), max(100 * max(changes, default=0.0), 1) * 1.1
            )
            for axes in (upper, lower):
                axes.set_xscale("log")
                axes.set_xlim(*margins(sizes, 1.3))
                log_axis(axes.xaxis, sizes)
            lower.set_xlabel(LABELS["params"])
        above[0].set_ylabel("Tokens at the onset")
        below[0].set_ylabel(f"Final loss above that of {found.schemes[0]}")
        _legend(figure, styles)
        return figure


def _onsets(axes: Axes, found: Positions, setting: Setting, styles: dict) -> None:
    for place, (scheme, style) in enumerate(styles.items()):
        cells = found.of(setting, scheme)
        reached = [cell for cell in cells if math.isfinite(cell.onset)]
        N, at = [cell.params for cell in reached], [cell.onset for cell in reached]
        axes.plot(N, at, lw=1.0, ms=5, mec="white", mew=0.5, zorder=4, **style)
        aside = 1.07 ** (place - (len(styles) - 1) / 2)  # so that several such marks at one size stand side by side
        for cell in cells:
            if not math.isfinite(cell.onset):
                _never(axes, aside * cell.params, cell.tokens, style)
    axes.set_title(f"Context {setting.n_ctx}, batches of {setting.batch_tokens:,} tokens")


def _never(axes: Axes, N: float, tokens: float, style: dict) -> None:
    axes.plot(N, tokens, lw=0, ms=5, mfc="white", mew=1.0, zorder=3, **style)
    arrow = {"arrowstyle": "<|-", "color": style["color"], "lw": 0.9, "shrinkA": 0, "shrinkB": 3}
    axes.annotate("", (N, tokens), xytext=(0, 15), textcoords="offset points", arrowprops=arrow)


def _losses(axes: Axes, found: Positions, setting: Setting, styles: dict) -> None:
    axes.axhline(0, color=GREY, lw=0.8)
    for scheme, style in styles.items():
        changes = found.changes(setting, scheme)
        axes.plot(list(changes), [100 * c for c in changes.values()], lw=1.0, ms=5, mec="white", mew=0.5, **style)


def _legend(figure: Figure, styles: dict) -> None:
    names = {scheme: scheme.replace(", ", ",\n").replace(" × ", "\n× ") for scheme in styles}  # the margin is narrow
    handles = [Line2D([], [], lw=0, ms=5, label=names[scheme], **style) for scheme, style in styles.items()]
    side_legend(figure, handles, "Positions")
