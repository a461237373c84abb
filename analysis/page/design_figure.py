"""A design as a picture: the plane of N and D with the runs it chose, and the interval that it promises by budget."""

import math
from typing import Any

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import digits
from analysis.design import Design
from analysis.frontier import FLOP_PER_PARAM_TOKEN, Array
from analysis.page.canvas import FAINT, GREY, INK, LIGHTEST, MAP, STYLE, log_axes, log_axis, panels

CHOSEN = "The runs: area by cost, dark where much is lost without"
PROMISED = "Promised half width of the law's value at the target"
SMALLEST, LARGEST = 14.0, 520.0  # square points of a mark: of a run that costs nothing, of one that costs all
MOST = 0.25  # share by which the interval is wider without a run: the darkest from here on
NAMED = 7  # runs with a label at most
CHEAP = 0.005  # share of the cost below which a run is nearly free
FONT, POINT = 7.0, 72.0  # of labels; points of an inch
Box = tuple[float, float, float, float]  # left, foot, right, top, in points
MARKS = {"a grid": "s", "IsoFLOP profiles": "^"}


def figure(made: Design) -> Figure:
    """What `scaling design --plot` draws."""
    with rc_context(STYLE):
        drawn, (left, right) = panels(2, legend=False)
        plane(left, made)
        promises(right, made)
    return drawn


def plane(axes: Axes, made: Design) -> None:
    """The candidates, those chosen, the target, and lines of equal compute."""
    pool, study = made.study.pool, made.study
    N, D, _ = (np.array(column, float) for column in zip(*study.runs, strict=True))
    at = float(made.target.params[0]), float(made.target.tokens[0])
    shown = [np.concatenate([own, begun, [x]]) for own, begun, x in
             zip((pool.params, pool.tokens), made.begun, at, strict=True)]  # fmt: skip
    low, high = (np.array([f(each) for each in shown]) for f in (np.min, np.max))
    edge = (high / low) ** 0.06
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(low[0] / edge[0], high[0] * edge[0])
    axes.set_ylim(low[1] / edge[1], high[1] * edge[1] ** 1.6)
    _equal_compute(axes)
    axes.scatter(pool.params, pool.tokens, s=3, color=GREY, lw=0, zorder=2, label="could be trained")
    if len(made.begun[0]):
        axes.scatter(*made.begun, s=26, fc="none", ec=GREY, lw=0.8, zorder=3, label="there already")
    share, adds = np.array(study.shares), np.array(made.adds)
    colours = colormaps[MAP](LIGHTEST - LIGHTEST * np.clip(adds / MOST, 0, 1))
    size = SMALLEST + (LARGEST - SMALLEST) * share
    axes.scatter(N, D, s=size, color=colours, ec="white", lw=0.7, zorder=4)
    _labels(axes, made, size)
    axes.scatter(*at, marker="*", s=130, color=INK, lw=0, zorder=5)
    axes.annotate("target", at, xytext=(-8, 0), textcoords="offset points", ha="right", va="center", fontsize=8)
    for axis, (least, most), label in (
        (axes.xaxis, (low[0], high[0]), "Parameters N"),
        (axes.yaxis, (low[1], high[1]), "Tokens D"),
    ):
        log_axis(axis, np.geomspace(least, most, 40), digits.short, ((1, 2, 5), (1,)), 7)
        axis.set_label_text(label)
    axes.set_title(CHOSEN)
    axes.legend(loc="lower right", fontsize=7, handletextpad=0.2)


def _labels(axes: Axes, made: Design, size: Array) -> None:
    """What the runs that matter most cost and add, beside each where there is room."""
    runs = made.study.runs
    share, adds = np.array(made.study.shares), np.array(made.adds)
    points = axes.transData.transform([run[:2] for run in runs]) * POINT / axes.figure.dpi
    half = np.sqrt(size) / 2
    taken = [(x - r, y - r, x + r, y + r) for (x, y), r in zip(points, half, strict=True)]
    frame = np.array(axes.bbox.extents) * POINT / axes.figure.dpi
    for i in map(int, np.argsort(-np.maximum(adds, share))[:NAMED]):
        times = f"{runs[i][2]} runs, " if runs[i][2] > 1 else ""
        paid = f"{digits.percent(float(share[i]))} of the cost" if share[i] >= CHEAP else "nearly free"
        lines = (f"{times}{paid}", f"without: {digits.percent(float(adds[i]), sign=True)}")
        wide, tall = 0.52 * FONT * max(map(len, lines)), 2.5 * FONT
        (x, y), away = points[i], half[i] + 3
        for dx, dy, ha, va in ((1, 0, "left", "center"), (-1, 0, "right", "center"), (0, 1, "center", "bottom"),
                               (0, -1, "center", "top")):  # fmt: skip
            left, foot = x + dx * away + wide * (dx - 1) / 2, y + dy * away + tall * (dy - 1) / 2
            box = (left, foot, left + wide, foot + tall)
            inside = frame[0] <= box[0] and frame[1] <= box[1] and box[2] <= frame[2] and box[3] <= frame[3]
            if inside and not any(_meet(box, other) for other in taken):
                taken.append(box)
                at = {"xytext": (dx * away, dy * away), "textcoords": "offset points", "ha": ha, "va": va}
                axes.annotate("\n".join(lines), runs[i][:2], fontsize=FONT, color=INK, zorder=5, **at)
                break


def _meet(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _equal_compute(axes: Axes) -> None:
    """Lines C = 6ND, a factor of a hundred apart."""
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    least, most = (math.log10(FLOP_PER_PARAM_TOKEN * N * D) for N, D in ((left, low), (right, high)))
    axes.grid(False)
    powers = range(2 * math.ceil(least / 2), math.floor(most) + 1, 2)
    for power in powers:
        ends = np.array([left, right])
        axes.plot(ends, 10.0**power / FLOP_PER_PARAM_TOKEN / ends, color=FAINT, lw=0.8, zorder=1)
        N = max(left, 10.0**power / FLOP_PER_PARAM_TOKEN / high)  # where the line enters at the left or the top
        told: dict[str, Any] = {"fontsize": 6.5, "color": GREY, "zorder": 1, "textcoords": "offset points"}
        place = (N, 10.0**power / FLOP_PER_PARAM_TOKEN / N)
        name = digits.ten(10.0**power) + (" FLOP" if power == powers[0] else "")
        axes.annotate(name, place, xytext=(2, -9), va="top" if N > left else "center", **told)


def promises(axes: Axes, made: Design) -> None:
    """The promise over the budget, and what the designs by habit promise for theirs."""
    budgets = {**{C: one.law for C, one in made.spendings.items()}, made.budget: made.study.promise.law}
    C = np.array(sorted(budgets))
    half = 100 * np.array([budgets[c] for c in C])
    axes.plot(C, half, color=INK, lw=1.2, marker="o", ms=4, zorder=3)
    axes.plot(made.budget, 100 * budgets[made.budget], "o", ms=9, color=INK, mec="white", zorder=4)
    _named(
        axes, made.budget, 100 * budgets[made.budget], f"the design: ± {digits.percent(made.study.promise.law)}", INK
    )
    shown = [*half]
    for rival in made.rivals:
        y = 100 * rival.promise.law
        shown.append(y)
        axes.plot(rival.flops, y, MARKS[rival.name], ms=6, color=GREY, zorder=3)
        _named(axes, rival.flops, y, f"{rival.name}: ± {digits.percent(rival.promise.law)}", GREY)
    if made.before is not None:
        shown.append(100 * made.before.law)
        axes.axhline(100 * made.before.law, color=GREY, lw=0.8, dashes=(4, 2), zorder=2)
        _named(axes, float(C[0]), 100 * made.before.law, "the runs that are there", GREY)
    log_axes(axes, "flops", C, shown)
    low, high = min(shown), max(shown)
    axes.set_ylim(low / (high / low) ** 0.16, high * (high / low) ** 0.1)
    axes.set_xlabel("Budget, FLOP")
    axes.set_ylabel("%")
    twice = made.spendings.get(2 * made.budget)
    if twice:
        said = f"double the budget buys ± {digits.percent(twice.law)}"
        axes.text(0.02, 0.03, said, transform=axes.transAxes, fontsize=8, color=INK)
    axes.set_title(PROMISED)


def _named(axes: Axes, x: float, y: float, told: str, colour: str) -> None:
    axes.annotate(told, (x, y), xytext=(6, 5), textcoords="offset points", fontsize=8, color=colour)
