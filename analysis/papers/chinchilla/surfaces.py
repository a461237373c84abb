"""Figure 4: the fitted surface L(N, D), approach 3."""

from collections.abc import Iterator

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes

from analysis import digits, frontier
from analysis.page.canvas import GREY, LOSS, STYLE, log_axis, panels
from analysis.papers.chinchilla.approaches import budgets
from analysis.papers.chinchilla.evidence import BESIROGLU, OTHER_FORM, Chinchilla2022
from analysis.papers.chinchilla.growth import COLOURS, COMPUTE, SIZE, joined_words
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
    """Left: lines of equal fitted loss over compute and size, the runs as dots, hollow those left out, and the best
    size for each compute. Right: measured losses over the size at equal compute, and the fit there."""
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
            *_other_form(evidence),
            _refitted(evidence),
        )


def _lack(evidence: Chinchilla2022) -> str:
    """How the misfit compares with the luck of the seeds."""
    luck, fit, runs = evidence.luck.total, evidence.law, evidence.runs
    if not fit.residuals.rms > MISFIT * luck:
        return f"Another seed moves a loss by {digits.percent(luck)}: the law misses them by no more than that."
    off = runs["loss"] / fit.law(runs["params"], runs["tokens"]) - 1
    worst = int(np.argmax(np.abs(off)))
    return (
        f"Another seed moves a loss by {digits.percent(luck)}: over the range of these runs the form is not exact. It "
        f"is furthest off at N = {digits.short(runs['params'][worst])} after {digits.short(runs['tokens'][worst])} "
        f"tokens, where the loss is {digits.percent(abs(float(off[worst])))} {'above' if off[worst] > 0 else 'below'} "
        "it. The intervals of its constants and of a allow for that: they rest on how far whole trunks lie off it."
    )


def _other_form(evidence: Chinchilla2022) -> Iterator[str]:
    """What a form of one constant more makes of the same runs."""
    other = evidence.other_surfaces.get(OTHER_FORM)
    if other is None or other.fit is None:
        return
    fit = other.fit
    a = fit.derived(lambda law: law.beta / (law.alpha + law.beta))
    found = {"a": a, **{name: (fit.constants[name], *fit.intervals[name]) for name in ("alpha", "beta", "q")}}
    said = ["{} = {} ({})".format(name, *digits.constant(*map(float, of))) for name, of in found.items()]
    yield (
        "The q-norm L = E + [(A / N^alpha)^(1/q) + (B / D^beta)^(1/q)]^q, of one constant more, misses the same runs "
        f"by {digits.percent(fit.residuals.rms)} rms, with {joined_words(said)}; q = 1 is the form above."
    )


def _refitted(evidence: Chinchilla2022) -> str:
    """The paper's own runs as Besiroglu et al. (2024) refitted them, beside ours."""
    theirs = {
        "a": BESIROGLU.beta / (BESIROGLU.alpha + BESIROGLU.beta),
        "alpha": BESIROGLU.alpha,
        "beta": BESIROGLU.beta,
    }
    ours = {"a": evidence.a(3), **{claim.name: claim for claim in evidence.constants}}
    inside = [n for n, value in theirs.items() if (ends := ours[n].interval) and ends[0] <= value <= ends[1]]
    said = joined_words([f"{name} = {digits.plain(value, 2)}" for name, value in theirs.items()])
    which = f"{joined_words(inside)} {digits.plural(len(inside), 'lies', 'lie')}" if inside else "none lies"
    return (
        f"Besiroglu et al. (2024) refitted the paper's runs, whose fit had not converged, to {said}; of these {which} "
        "in our intervals."
    )


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
