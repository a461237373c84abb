"""A back-test as a figure: what each interval held, and how wide it was, over the distance beyond the runs."""

import math

import matplotlib
import numpy as np

from analysis.backtest import LEVELS, Backtest
from analysis.confidence import LEVEL
from analysis.page import canvas

OUTSIDE = "#b3261e"


def draw(found: Backtest) -> canvas.Drawing:
    """Left: share held against the nominal level, of the law alone and of one run. Right: each prediction's error in
    per cent over its distance beyond the fitted runs, those outside their interval marked, and the median half width.
    """
    with matplotlib.rc_context(canvas.STYLE):
        figure = canvas.Drawing(facecolor="white", figsize=(10.0, 4.3), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.4))
        left.plot([0, 1], [0, 1], color=canvas.GREY, lw=0.8, zorder=1)
        for run, colour, label in ((True, canvas.INK, "of one run"), (False, canvas.GREY, "of the law alone")):
            held = [found.covered(level, run=run) for level in LEVELS]
            left.plot(LEVELS, held, "o-", color=colour, label=label, zorder=3, clip_on=False)
        left.set(xlim=(0.4, 1), ylim=(0, 1), xlabel="nominal level of the interval", ylabel="share of runs it held")
        left.set_title(f"{found.law}: calibration")
        left.legend(loc="lower right")

        far = np.exp(np.concatenate([s.far for s in found.steps]))
        missed = 100 * np.expm1(np.concatenate([s.missed for s in found.steps]))
        half = np.concatenate([s.half_of_run[LEVELS.index(LEVEL)] for s in found.steps])
        inside = np.abs(np.log1p(missed / 100)) <= half
        for mask, colour, label in ((inside, canvas.INK, "inside"), (~inside, OUTSIDE, "outside")):
            right.scatter(far[mask], missed[mask], s=10, color=colour, alpha=0.6, lw=0, label=label, zorder=3)
        edges = np.geomspace(1, max(far.max(), 2) * 1.001, 9)
        where = np.digitize(far, edges)
        full = [k for k in range(1, len(edges)) if (where == k).any()]
        centre = [math.sqrt(edges[k - 1] * edges[k]) for k in full]
        width = np.array([100 * np.expm1(np.median(half[where == k])) for k in full])
        right.fill_between(centre, -width, width, color=canvas.GREY, alpha=0.2, lw=0, label="median 95% interval")
        right.axhline(0, color=canvas.INK, lw=0.8, zorder=1)
        right.set_xscale("log")
        right.set(xlabel="times beyond the largest run fitted")
        canvas.percent_axis(right, float(np.abs(missed).max()))
        right.set_title(f"Measured above predicted: {inside.mean():.0%} of {len(far)} inside")
        right.legend(loc="best")
        return figure
