"""Figure 4: the fitted surface L(N, D), approach 3."""

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes

from analysis import digits, frontier
from analysis.page.canvas import GREY, LOSS, STYLE, log_axis, panels
from analysis.papers.chinchilla.approaches import budgets
from analysis.papers.chinchilla.evidence import Chinchilla2022
from analysis.papers.chinchilla.growth import COLOURS, COMPUTE, SIZE
from analysis.papers.chinchilla.profiles import measured_profiles
from analysis.papers.drawing import (
    BITS,
    PF_DAYS,
    across,
    beside,
    bits_per_byte,
    dots,
    fixed_limits,
    left_out,
    logarithmic,
    named,
    pf_days,
    tints,
)
from analysis.papers.drawn import Drawn

LEVELS = 12  # of the contours
SLICES = 8  # budgets of the right panel
MISFIT = 1.5  # times the luck of the seeds, beyond which the form is not exact


def figure_4(evidence: Chinchilla2022, drawn: Drawn) -> None:
    """Left: lines of equal fitted loss over compute and size, the runs as dots, and the best size for each compute.
    Right: measured losses over the size at equal compute, and the fit through them."""
    drawn.tell(evidence.a(3))
    drawn.show(evidence.b(3))
    drawn.tell(*evidence.constants)
    runs = evidence.runs
    drawn.points(named(runs, ("run", "params", "tokens", "flops", "loss")))
    with rc_context(STYLE):
        drawn.figure, (left, right) = panels(2, above=PF_DAYS, beyond=BITS)
        with drawn.panel(left, "Contours of the fitted loss"):
            _contours(left, evidence)
        with drawn.panel(right, "Slices at fixed compute"):
            found = measured_profiles(evidence)
            found = found[:: -(-len(found) // SLICES)]
            tint, law = tints(budgets(runs)), evidence.law.law
            N = np.exp(np.concatenate([p.x for p in found]))
            logarithmic(right, N, SIZE, np.exp(np.concatenate([p.y for p in found])), most=6)
            for p in found:
                dots(right, np.exp(p.x), np.exp(p.y), [tint(p.flops)] * len(p.x))
                with fixed_limits(right):
                    x = across(right, 80)
                    right.plot(x, law(x, p.flops / (6 * x)), color=tint(p.flops), lw=1.0, zorder=3)
            right.set_ylabel(LOSS)
            bits_per_byte(right, runs)
            style = [(digits.ten(p.flops), {"color": tint(p.flops), "marker": "o", "ms": 4}) for p in found]
            beside(drawn.figure, style, "C, FLOP")
    with drawn.part():
        fit = evidence.law
        n, sizes = fit.n_runs, len(np.unique(runs["params"]))
        drawn.say(
            f"L(N, D) = E + A / N^alpha + B / D^beta misses the {n} runs of {sizes} sizes by "
            f"{digits.percent(fit.residuals.rms)} rms.",
            _lack(evidence),
        )


def _lack(evidence: Chinchilla2022) -> str:
    """How the misfit compares with the luck of the seeds."""
    luck, rms = evidence.luck.total, evidence.law.residuals.rms
    more = rms > MISFIT * luck
    told = "over the range of these runs the form is not exact" if more else "the law misses them by no more than that"
    return f"Another seed moves a loss by {digits.percent(luck)}: {told}."


def _contours(axes: Axes, evidence: Chinchilla2022) -> None:
    runs, law = evidence.runs, evidence.law.law
    every = np.concatenate([runs["flops"], *(one.cells["flops"] for one in runs.excluded)])
    logarithmic(axes, every, COMPUTE, write=digits.ten, most=6)
    axes.set_yscale("log")
    low, high = runs["params"].min() / 1.4, runs["params"].max() * 1.4
    axes.set_ylim(low, high)
    log_axis(axes.yaxis, np.geomspace(low, high, 9), digits.short)
    C, N = np.meshgrid(across(axes, 120), np.geomspace(low, high, 120))
    loss = law(N, C / (6 * N))
    ends = np.log(runs["loss"].min() / 1.02), np.log(runs["loss"].max() * 1.02)
    drawn = axes.contour(
        C, N, loss, levels=np.exp(np.linspace(*ends, LEVELS)), cmap="viridis", linewidths=0.9, alpha=0.9
    )
    axes.clabel(drawn, fontsize=6.5, fmt="%.2f")
    axes.plot(runs["flops"], runs["params"], "o", color=GREY, ms=2.8, mew=0, zorder=4, label="runs")
    left_out(axes, runs, "flops", "params", shades=lambda N: GREY)
    best = frontier.best(law, across(axes, 40))
    with fixed_limits(axes):
        axes.plot(best.flops, best.params, color=COLOURS[3], lw=1.6, zorder=5, label="efficient frontier")
    axes.set_ylabel(SIZE)
    pf_days(axes)
    axes.legend(loc="upper left", frameon=True, facecolor="white", edgecolor="none", framealpha=0.85)
