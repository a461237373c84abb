"""Figure 5: what the loss owes to d_ff / d_model, d_model / n_layer and d_model / n_head at one N."""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import digits, reference
from analysis.confidence import LEVEL
from analysis.findings import shapes
from analysis.findings.shapes import SAME_SIZE, WHAT, Panel, Shapes
from analysis.laws.admission import IN_CONTEXT
from analysis.page.canvas import FAINT, STYLE, log_axis, margins, panels, percent_axis
from analysis.papers.claim import Undecided
from analysis.papers.drawing import groups_legend, level, papers_points, symbol
from analysis.papers.drawn import Drawn
from analysis.papers.evidence import NO_SEEDS
from analysis.papers.kaplan import runs
from analysis.papers.kaplan.claims import Kaplan
from analysis.replicates import Noise
from analysis.table import Table

DIGITISED = ("fig5_ff_ratio_50M_headdim64", "fig5_aspect_ratio_50M", "fig5_head_dim_25M_dmodel256")
SAW = (
    "the paper (50M parameters): under 1 % from 0.5 to 4, 1.8 % at 8, 8.3 % at 40",
    "the paper (50M parameters): within 1 % from 32 to 256, 2.7 % at 4, 4.6 % at 720",
    "the paper (25M parameters): at most 2 % from 16 to 256",
)
SHOWN = 2.0  # percent: axes reach at least as far, so that noise does not look like a shape
TOLD = 0.02  # of the loss: an interval wider than what the paper saw cannot decide


def figure_5(evidence: Kaplan, drawn: Drawn) -> None:
    """Loss above that of a base shape, the large diamond, in percent, a panel per ratio, N held fixed. Shaded: what the
    seeds alone explain of one change; grey: the paper's points of 50M and, right, 25M parameters, above its loss at our
    base's ratio.

    Changes are against the shape from which the others differ in one ratio, not against the best of all: of many noisy
    losses the lowest is too low. A change is claimed where it leaves the interval that holds for all shapes of its
    panel at once (Bonferroni).
    """
    table = runs.best_rates(evidence.need("shape"))
    alpha, said = _alpha_N(evidence)
    found = [_with_noise(one, evidence.noise) for one in by_size(table, alpha)]
    if not found:
        raise Undecided(f"no size has {shapes.LEAST} shapes that differ from one base in a single ratio")
    drawn.figure = _draw(found)
    drawn.points(_rows(found))
    if not all(one.degrees for one in found):
        raise Undecided(NO_SEEDS)
    wide = max(_half(one, panel, min(panel.seeds)) for one in found for panel in one.panels)
    if wide > TOLD:
        raise Undecided(
            f"the seeds alone explain changes of {digits.percent(wide)}, as large as those that the paper saw"
        )
    drawn.say(
        f"N agrees within {digits.percent(max(one.sizes[1] / one.sizes[0] for one in found) - 1)}; what differed was "
        f"taken out with L(N), {said}. Each change is against the base shape, {_base(found[0])}; the intervals hold "
        f"for all shapes of a panel at once ({digits.percent(LEVEL)}).",
        *(text for one in found for panel in one.panels for text in _sentences(one, panel)),
        _early(table),
        _worth(alpha, said),
        _width(found[0]),
    )


def _alpha_N(evidence: Kaplan) -> tuple[float, str]:
    """The exponent with which small deviations of N are taken out, and where it is from."""
    ours = evidence.alpha_N.ours
    if ours is not None:
        return ours, f"whose exponent on our own sizes is {ours:.3f}"
    paper = reference.value("alpha_N")
    return paper, f"with the paper's exponent {paper:g}, for want of sizes of our own"


def by_size(table: Table, alpha: float) -> Iterator[Shapes]:
    """The shapes of each size in the table, N rising, their losses brought to the middle N of the size."""
    N = np.sort(np.unique(table["params"]))
    for sizes in np.split(N, np.flatnonzero(np.diff(np.log(N)) > SAME_SIZE) + 1):
        rows = table.where(np.isin(table["params"], sizes), "another size")
        middle = math.sqrt(sizes[0] * sizes[-1])
        one = shapes.find(rows.with_columns(loss=rows["loss"] * (rows["params"] / middle) ** alpha))
        if one:
            yield one


def _with_noise(one: Shapes, noise: Noise | None) -> Shapes:
    """Without seeds of its own, a size takes the seed noise of all experiments."""
    if one.degrees or noise is None:
        return one
    return dataclasses.replace(one, sigma=noise.sigma, degrees=noise.degrees)


def _half(one: Shapes, panel: Panel, seeds: int) -> float:
    """Half width of an interval that holds for all shapes of a panel at once."""
    return one.half(seeds, 1 - (1 - LEVEL) / max(len(panel.ratio) - 1, 1))


def _base(one: Shapes) -> str:
    b = one.base
    return f"{b.n_layer} layers, d_model {b.d_model}, d_ff {b.d_ff}, {b.n_head} heads"


def _place(one: Shapes, panel: Panel) -> int:
    """Where the base stands in a panel."""
    ratio = one.base.ratios[WHAT.index(panel.what)]
    return int(np.argmin(np.abs(np.log(panel.ratio) - math.log(ratio))))


def _sentences(one: Shapes, panel: Panel) -> Iterator[str]:
    """What a panel shows, with intervals, beside what the paper saw."""
    base = _place(one, panel)
    half = [_half(one, panel, seeds) for seeds in panel.seeds]
    told = [k for k in range(len(half)) if k != base and abs(panel.change[k]) > half[k]]
    first = last = base
    while first > 0 and first - 1 not in told:
        first -= 1
    while last < len(half) - 1 and last + 1 not in told:
        last += 1
    size = f"N = {digits.short(math.sqrt(one.sizes[0] * one.sizes[1]))}"
    text = f"{panel.what} at {size}: "
    if last > first:
        most = max(panel.change[k] + half[k] for k in range(first, last + 1) if k != base)
        text += (
            f"from {digits.plain(panel.ratio[first])} to {digits.plain(panel.ratio[last])} no shape differs "
            f"significantly from the base, none costs more than {digits.percent(most)}"
        )
    else:
        text += "every other shape differs significantly from the base"
    ends = [f"{_change(panel.change[k], half[k])} at {digits.plain(panel.ratio[k])}" for k in told]
    if ends:
        text += f"; significant differences: {', '.join(ends)}"
    yield f"{text} ({SAW[WHAT.index(panel.what)]})."


def _change(change: float, half: float) -> str:
    return f"{digits.percent(change, sign=True)} ± {digits.percent(half)}"


def _early(table: Table) -> str:
    """How many shapes were measured before they used their context."""
    n = int((~IN_CONTEXT.rule(table).keep).sum())
    return f"{n} of {len(table)} runs {IN_CONTEXT.rule(table).reason}: there a shape may cost a delay." if n else ""


def _worth(alpha: float, said: str) -> str:
    """What a percent of the loss is worth."""
    compute = 1.01 ** (1 / reference.value("alpha_C_min")) - 1
    return (
        f"In the paper 1 % of the loss is worth {digits.percent(compute)} of the compute; by L(N), {said}, it is worth "
        f"{digits.percent(1.01 ** (1 / alpha) - 1)} of N at equal tokens."
    )


def _width(one: Shapes) -> str:
    """What the same ratio is in the paper's models."""
    theirs = (50e6 * one.base.ratios[1] / 12) ** (1 / 3)  # N = 12 n_layer d_model^2
    return (
        f"At the ratios of our base, d_model is {one.base.d_model} here and about {digits.plain(theirs, 2)} in the "
        "paper's 50M parameters: whether the loss goes with a ratio or with a width, larger sizes would tell."
    )


def _draw(found: Sequence[Shapes]) -> Figure:
    with rc_context(STYLE):
        figure, grid = panels(len(WHAT), height=3.7, legend=False)
        changes = [100 * c for one in found for panel in one.panels for c in panel.change]
        seeds = [100 * one.half(n) for one in found if one.degrees for panel in one.panels for n in panel.seeds]
        wide = max(seeds, default=0.0)
        for k, axes in enumerate(grid):
            here = [(j, one, panel) for j, one in enumerate(found) for panel in one.panels if panel.what == WHAT[k]]
            axes.set_xscale("log")
            axes.set_xlabel(WHAT[k])
            level(axes)
            if here:
                ratios = np.concatenate([panel.ratio for *_, panel in here])
                log_axis(axes.xaxis, ratios, lambda v: digits.plain(v, 2), most=6)
                axes.set_xlim(*margins(ratios, 1.25))
                percent_axis(axes, max(map(abs, changes)))
                axes.set_ylim(1.15 * min(*changes, -wide), 1.12 * max(*changes, wide, SHOWN))
                for j, one, panel in here:
                    _lines(axes, one, panel, j)
                ratio, change = reference.points(DIGITISED[k]).T
                at_base = np.interp(math.log(here[0][1].base.ratios[k]), np.log(ratio), change)
                papers_points(axes, ratio, change - at_base, label="paper's")
            else:
                axes.text(0.5, 0.5, "not tried", transform=axes.transAxes, ha="center", color="grey")
        entries = [
            (f"N = {digits.short(math.sqrt(one.sizes[0] * one.sizes[1]))}", symbol(j, lw=1.0))
            for j, one in enumerate(found)
        ]
        groups_legend(grid[-1], entries, loc="upper left")
        grid[0].set_title("Loss above the base shape's")
        return figure


def _lines(axes: Axes, one: Shapes, panel: Panel, j: int) -> None:
    x, y = np.array(panel.ratio), 100 * np.array(panel.change)
    if one.degrees:
        half = 100 * np.array([one.half(seeds) for seeds in panel.seeds])
        axes.fill_between(x, -half, half, color=FAINT, alpha=0.7, lw=0, zorder=0)
    axes.plot(x, y, lw=1.0, **symbol(j))
    base = _place(one, panel)
    axes.plot(x[base], y[base], **symbol(j, marker="D", mfc="white", mec=symbol(j)["color"], mew=1.2, ms=6, zorder=5))


def _rows(found: Sequence[Shapes]) -> Iterator[dict[str, Any]]:
    """The points: a row per shape of a panel."""
    for one in found:
        for panel in one.panels:
            for ratio, change, seeds in zip(panel.ratio, panel.change, panel.seeds, strict=True):
                yield {
                    "params": math.sqrt(one.sizes[0] * one.sizes[1]),
                    "ratio_of": panel.what,
                    "ratio": ratio,
                    "change": change,
                    "half_width": one.half(seeds),
                    "seeds": seeds,
                }
