"""Figures 2, 3, 13, 14 and 15: what compute buys, what the best size is, and where the laws contradict each other."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes

from analysis import digits, kaplan_path, recount, reference
from analysis.frontier import Optimum
from analysis.page import plots
from analysis.page.canvas import GREY, INK, LABELS, LOSS, STYLE, fitted_line, panels, size_legend
from analysis.papers.claim import MISSING, Claim, Undecided
from analysis.papers.drawing import (
    BITS,
    LAW,
    OTHER,
    PF_DAYS,
    POINTS,
    bits_per_byte,
    by_run,
    dots,
    fixed_limits,
    layered,
    legend,
    logarithmic,
    named,
    papers_points,
    papers_slope,
    pf_days,
    symbol,
)
from analysis.papers.drawn import Drawn
from analysis.papers.kaplan.claims import Kaplan
from analysis.papers.kaplan.evidence import Efficient
from analysis.papers.kaplan.needed import needed, widest
from analysis.recount import Best
from analysis.table import Table
from scaling.counts import PF_DAY
from scaling.errors import InputError

ROOM = 0.15  # of the range of a panel, above its points, for the legend
LOSSES = 120  # at which sizes are held against each other
PARTS = (("params", "model size N", "#3f8f5b"), ("batch_crit", "batch B", OTHER), ("steps_min", "updates S", "#a86a12"))


def figure_2(evidence: Kaplan, drawn: Drawn) -> None:
    """Held-out losses along the constant rate of every trunk, in the colour of its size, a dot at its end: left over
    tokens, right over compute, where black is the lowest of all curves.
    """
    curves = evidence.grid_curves
    drawn.figure = figure = plots.learning_curves(curves, above=PF_DAYS, beyond=BITS)
    with rc_context(STYLE):
        pf_days(figure.axes[1])
        bits_per_byte(figure.axes[1], evidence.grid)
    drawn.points(named(curves, ("run", "params", "tokens", "flops", "loss")))
    if len(np.unique(curves["params"])) < 2:
        raise Undecided("one size alone has finished")
    losses = np.geomspace(curves["loss"].max(), curves["loss"].min(), LOSSES)
    found = widest(needed(curves, losses, evidence.known_noise))
    if found is None:
        raise Undecided("no two sizes pass the same loss")
    paper = "In the paper larger models reach a loss with fewer tokens, over six decades of N"
    said = f"to a loss of {found.loss:.3g} {found}, as far as the seeds tell"
    if not found.told:
        raise Undecided(f"{said}. {paper}")
    drawn.say(said, f"{paper}: {'so they do' if found.low > 1 else 'not so'} here.")


def figure_3(evidence: Kaplan, drawn: Drawn) -> None:
    """Where C_min goes along the best sizes, from the smallest of our budgets on: by what factor N, the batch and the
    updates have grown, one on the other.
    """
    best = evidence.least_compute
    if len(best.points) < 2:
        raise Undecided("fewer than two sizes are best anywhere")
    powers = {column: best.growth(column).law.p for column, _, _ in PARTS}
    C = best.points["flops_min"]
    low, high = float(C.min()), float(C.max())
    x, rows = np.geomspace(low, high, 60), []
    with rc_context(STYLE):
        drawn.figure, (axes,) = panels(1, legend=False, above=PF_DAYS)
        base = np.ones_like(x)
        for column, what, colour in PARTS:
            top = base * (x / low) ** powers[column]
            axes.fill_between(x, base, top, color=colour, alpha=0.35, lw=0, label=what, zorder=2)
            axes.plot(x, top, color=colour, lw=1.2, zorder=3)
            growth = zip(x, top / base, strict=True)
            rows += [{"part": what, "flops_min": C_min, "growth": times} for C_min, times in growth]
            base = top
        logarithmic(axes, x, "flops_min", np.concatenate([base, [1.0]]), write=digits.ten, write_y=digits.short)
        axes.set_ylabel("Growth, one on the other")
        pf_days(axes)
        legend(axes, "upper left")
    drawn.points(rows)
    for claim in (evidence.N_opt, evidence.B_opt, evidence.S_opt):
        if not claim.decided:
            drawn.lacks(claim.remark, claim.name)
    if not drawn.decided:
        return
    shares = ", ".join(f"{digits.plain((high / low) ** powers[c], 2)} times the {what}" for c, what, _ in PARTS)
    ours = [digits.percent(powers[column]) for column, _, _ in PARTS]
    theirs = ", ".join(digits.percent(reference.value(p)) for p in ("p_N", "p_B", "p_S"))
    drawn.say(
        f"Over our {math.log10(high / low):.1f} decades of C_min the best runs grow by {shares}.",
        f"In logarithms {ours[0]} of the growth goes to N, {ours[1]} to B and {ours[2]} to S; in the paper {theirs}.",
    )


def figure_13(evidence: Kaplan, drawn: Drawn) -> None:
    """The lowest losses over the compute spent at the grid's one batch (squares, blue) and over C_min (dots, red), the
    power laws through them with their bands; pale: learning curves in the colour of their size; grey: the paper's.
    """
    measured, predicted = evidence.alpha_C_min, evidence.alpha_C_min_predicted
    drawn.tell(evidence.alpha_C, evidence.C_c, measured, evidence.C_c_min, predicted)
    plain, shades, rows = evidence.grid_curves, evidence.shades, []
    kinds = (
        ("flops", lambda: evidence.fixed_batch, OTHER, "fixed batch, C", "s"),
        ("flops_min", lambda: evidence.least_compute, LAW, "C_min", "o"),
    )
    with rc_context(STYLE):
        drawn.figure, (axes,) = panels(1, above=PF_DAYS, beyond=BITS)
        try:
            by_run(axes, evidence.compute_curves, "flops_min", shades=shades, alpha=0.3)
        except MISSING:  # of which the claims tell
            by_run(axes, plain, "flops", shades=shades, alpha=0.3)
        found: list[tuple[Efficient, str, str]] = []
        for column, find, colour, label, marker in kinds:
            with drawn.part():
                points = find().points
                x, y = points[column], points["loss"]
                dots(axes, x, y, [colour] * len(x), marker=marker)
                rows += [{"compute": label, "flops": a, "loss": b, "params": n}
                         for a, b, n in zip(x, y, points["params"], strict=True)]  # fmt: skip
                found.append((find(), colour, label))
        if not rows:
            drawn.figure = None
            return
        logarithmic(axes, [row["flops"] for row in rows], "Compute, FLOP", [row["loss"] for row in rows],
                    write=digits.ten)  # fmt: skip
        with fixed_limits(axes):
            for k, (one, colour, label) in enumerate(found):
                _loss_line(axes, one, colour, label, k)
        _papers_laws(axes, evidence)
        axes.set_ylabel(LOSS)
        pf_days(axes)
        bits_per_byte(axes, evidence.grid)
        legend(axes)
        size_legend(drawn.figure, plain["params"], shades)
    drawn.points(rows)
    drawn.say(_one_measurement(evidence), _consistent(measured, predicted))
    with drawn.part():
        drawn.say(*evidence.least_compute.loss.sentences())


def _one_measurement(evidence: Kaplan) -> str:
    """Why L(C) is not held against the paper's beside L(C_min), where it is not."""
    if not evidence.far_below:
        return ""
    curves = evidence.compute_curves
    share = np.quantile(curves["batch_tokens"] / curves["batch_crit"], (0.1, 0.9))
    low, high = (digits.percent(float(x)) for x in share)
    batch = digits.short(float(np.median(curves["batch_tokens"])))
    return (
        f"The grid's batch of {batch} tokens is {low} to {high} of B_crit, and the compute spent as much above C_min: "
        "L(C) and L(C_min) are one measurement, which is held against the paper's L(C_min) alone. The paper's L(C) is "
        "of a batch above the critical one of its small models."
    )


def _loss_line(axes: Axes, best: Efficient, colour: str, label: str, k: int) -> None:
    try:
        law = best.loss
    except Undecided:  # its points are shown, and the claims say why there is no line
        return
    if law.sound:
        line = np.geomspace(*axes.get_xlim(), 60)
        fitted_line(axes, line, law.fit, [line], colour, label=label, **_dashed(k))


def _papers_laws(axes: Axes, evidence: Kaplan) -> None:
    seen = False
    for name in ("fig13_L_of_Cmin", "fig13_L_of_C_fixed_batch"):
        C, L = reference.points(name).T
        seen |= papers_points(axes, PF_DAY * C, L, label="" if seen else POINTS)
    if not seen and evidence.alpha_C_min.ours is not None:
        points = evidence.least_compute.points
        papers_slope(axes, points["flops_min"], points["loss"], -reference.value("alpha_C_min"))


def _consistent(measured: Claim, predicted: Claim) -> str:
    if measured.ours is None or predicted.ours is None:
        return ""
    apart = abs(measured.ours - predicted.ours) > measured.half + predicted.half
    return (
        f"Measured along the envelope alpha_C_min is {measured.written}; from the three other exponents (1.8) has "
        f"{predicted.written}: {'they disagree' if apart else 'the intervals overlap'}."
    )


def figure_14(evidence: Kaplan, drawn: Drawn) -> None:
    """Left and middle: the best size along the learning curves, and its updates, red over C_min, blue over the compute
    spent at the grid's one batch, with the lines through them; grey: the paper's points, or a line of its exponent.
    Right: the best size by the ends of the grid's branches at equal compute, with N and C = 6ND counted in three ways,
    and the exponent of each.
    """
    drawn.tell(evidence.N_opt, evidence.N_opt_fixed_batch, evidence.S_opt)
    kinds = (
        (lambda: evidence.least_compute, "flops_min", "steps_min", "least"),
        (lambda: evidence.fixed_batch, "flops", "steps", "fixed batch"),
    )
    rows, found = [], {}
    for find, compute, updates, what in kinds:
        with drawn.part():
            found[what] = find()
            each = zip(*(found[what].points[c] for c in (compute, "params", updates)), strict=True)
            rows += [{"compute": what, "flops": C, "params": N, "updates": S} for C, N, S in each]
    if not rows:
        return
    drawn.points(rows)
    table = drawn.data
    with rc_context(STYLE):
        drawn.figure, (left, middle, right) = panels(3, legend=False, above=PF_DAYS)
        _growth_panel(left, table, "params", "N", ("fig14_N_opt_of_Cmin", "fig14_N_opt_of_C_fixed_batch"), "p_N")
        for k, (what, best) in enumerate(found.items()):
            _growth_line(left, best, "params", LAW if what == "least" else OTHER, k)
        left.set_title("Best size")
        with drawn.panel(middle, "Its updates"):
            _ = evidence.steps_curves  # or S_min cannot be measured
            _growth_panel(middle, table, "updates", "S", ("fig14_Smin_of_Cmin", "fig14_steps_fixed_batch"), "p_S")
            if "least" in found:
                _growth_line(middle, found["least"], "steps_min", LAW)
        with drawn.panel(right, "Best size by what is counted", "what counting does to the best size"):
            counts = evidence.counts
            _counts_panel(right, counts)
            drawn.points(
                rows
                + [
                    {"compute": f"6ND, {one.count}", "flops": C, "params": N}
                    for one in counts
                    for C, N in zip(one.flops, one.params, strict=True)
                ]
            )
            drawn.say(_by_count(counts))


def _counts_panel(axes: Axes, counts: Sequence[Best]) -> None:
    for k, best in enumerate(counts):
        C, N = best.line
        axes.plot(best.flops, best.params, label=f"{best.count}: {best.a:.2f}", **symbol(k, ls="", zorder=5))
        axes.plot(best.flops, N * (best.flops / C) ** best.a, color=symbol(k)["color"], **layered(k))
    C, N = (np.concatenate([getattr(best, name) for best in counts]) for name in ("flops", "params"))
    room = [N.min(), N.max() * (N.max() / N.min()) ** ROOM]
    logarithmic(axes, C, "C = 6ND of that N, FLOP", room, write=digits.ten, write_y=digits.short, most=4)
    axes.set_ylabel("N by each count")
    legend(axes, "upper left")
    pf_days(axes)


def _by_count(counts: Sequence[Best]) -> str:
    """The exponent of each count, and what the head alone changes."""
    said = [f"{value} ({ends}) {one.count}" for one in counts
            for value, ends in [digits.constant(one.a, *one.interval())]]  # fmt: skip
    change, ends = digits.constant(counts[1].a - counts[0].a, *recount.interval(counts[1].draws - counts[0].draws))
    return (
        f"By the ends of the same branches at equal C = 6ND the exponent of the best size is {', '.join(said[:-1])} "
        f"and {said[-1]}; the head changes it by {change} ({ends}), intervals from the scatter of the sizes."
    )


def _growth_line(axes: Axes, best: Efficient, column: str, colour: str, k: int = 0) -> None:
    try:
        fit = best.growth(column)
    except InputError:  # its points are shown, and the claims say why there is no line
        return
    if fit.sound:
        x = np.geomspace(best.points["flops"].min(), best.points["flops"].max(), 40)
        fitted_line(axes, x, fit, [x], colour, **_dashed(k))


def _dashed(k: int) -> dict[str, Any]:
    """The k-th of lines that may lie on one another, as wide as all fitted lines."""
    return {name: value for name, value in layered(k).items() if name != "lw"}


def _growth_panel(axes: Axes, table: Table, y: str, letter: str, names: tuple[str, str], exponent: str) -> None:
    least_of = "S_min" if letter == "S" else letter
    looks = {
        "least": (LAW, "o", f"{least_of} over C_min"),
        "fixed batch": (OTHER, "s", f"{letter} over C, fixed batch"),
    }
    for what, (colour, marker, told) in looks.items():
        rows = table["compute"] == what
        if rows.any():
            dots(axes, table["flops"][rows], table[y][rows], [colour] * int(rows.sum()), marker=marker)
            axes.plot([], [], marker=marker, color=colour, ls="", ms=4.6, label=told)
    logarithmic(axes, table["flops"], "Compute, FLOP", table[y], write=digits.ten, write_y=digits.short, most=4)
    pf_days(axes)
    axes.set_ylabel(LABELS.get(y, "Updates"))
    seen = False
    for name in names:
        C, values = reference.points(name).T
        seen |= papers_points(axes, PF_DAY * C, values, label="" if seen else POINTS)
    least = table["compute"] == "least"
    if not seen and least.any():
        papers_slope(axes, table["flops"][least], table[y][least], reference.value(exponent))
    legend(axes, "best")


def figure_15(evidence: Kaplan, drawn: Drawn) -> None:
    """The loss that the best sizes reach over C_min, dots and red, and, where L(D) is known, blue: L(D) of the data
    that they use in one epoch. Where red would fall below blue the laws contradict each other.
    """
    best = evidence.least_compute
    lower = best.loss.sure("L(C_min)")
    C = best.points["flops_min"]
    with drawn.part("where the laws cross"):
        for claim in (evidence.alpha_C_min, evidence.alpha_D, evidence.N_opt):
            if not claim.decided:
                raise Undecided(f"{claim.label} is undecided: {claim.remark}")
    try:
        upper = evidence.data.sure("L(D)")
        D, N = best.growth("tokens_efficient").law, best.growth("params").law
        c, d = lower.fit.constants, upper.fit.constants
        at = kaplan_path.contradiction(c["C_c"] / PF_DAY, c["alpha_C"], d["D_c"], d["alpha_D"], D.y_1, D.p, N.y_1, N.p)
    except MISSING as error:
        if drawn.decided:  # else it was said of where they cross
            drawn.lacks(error)
        at = upper = D = None
    far = float(at.flops) * PF_DAY if at is not None and drawn.decided else None
    # Where they cross is no claim of ours if it is undecided: then the laws are shown over our runs alone.
    x = np.geomspace(C.min(), float(C.max()) if far is None else max(float(C.max()), far) * 30, 120)
    shown = {"L_of_C_min": lower.fit.law(x)} | ({} if upper is None or D is None else {"L_of_D": upper.fit.law(D(x))})
    with rc_context(STYLE):
        drawn.figure, (axes,) = panels(1, legend=False, above=PF_DAYS, beyond=BITS)
        logarithmic(axes, x, "flops_min", np.concatenate([*shown.values(), best.points["loss"]]), write=digits.ten)
        axes.plot(C, best.points["loss"], "o", color=INK, ms=4)
        axes.plot(x, shown["L_of_C_min"], color=LAW, label="L(C_min)", **layered(0))
        if "L_of_D" in shown:
            axes.plot(x, shown["L_of_D"], color=OTHER, label="L(D) of the data it uses, one epoch", **layered(1))
        if at is not None and far is not None:
            axes.axvspan(C.min(), C.max(), color=GREY, alpha=0.15, lw=0, label="our runs")
            axes.plot(far, float(at.loss), "o", color=INK, ms=6, zorder=5)
            axes.annotate("they cross", (far, float(at.loss)), xytext=(6, 6), textcoords="offset points", fontsize=8)
        axes.set_ylabel(LOSS)
        pf_days(axes)
        bits_per_byte(axes, evidence.grid)
        legend(axes)
    drawn.points({"flops_min": a} | {name: y[k] for name, y in shown.items()} for k, a in enumerate(x))
    drawn.say(*_crossing(at if far else None, float(C.max())))


def _crossing(at: Optimum | None, largest: float) -> Iterator[str]:
    if at is not None:
        C, N, D, L = (float(v) for v in (at.flops, at.params, at.tokens, at.loss))
        yield (
            f"Our laws cross at C_min = {digits.ten(C)} PF-days, N = {digits.ten(N)}, D = {digits.ten(D)} and {L:.2g} "
            f"nats, {digits.ten(C * PF_DAY / largest, 1)} times our largest compute: an extrapolation, and a scale, "
            "which depends on the text."
        )
    C, N, D, L = (reference.value(f"{x}_contradiction") for x in ("C", "N", "D", "L"))
    yield (
        f"The paper's cross near C = {digits.ten(C)} PF-days, N = {digits.ten(N)}, D = {digits.ten(D)} and {L:g} nats, "
        "each uncertain by about ten times."
    )
