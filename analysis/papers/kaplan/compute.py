"""Figures 2, 3, 13, 14 and 15: what compute buys, what the best size is, and where the laws contradict each other."""

import math
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes

from analysis import digits, kaplan_path, reference
from analysis.frontier import Optimum
from analysis.page import plots
from analysis.page.canvas import GREY, INK, STYLE, Shades, fitted_line, panels, size_legend
from analysis.papers.kaplan import claims, fits, ghosts, runs
from analysis.papers.kaplan.drawn import Constant, Drawn, Experiments, points, undecided
from analysis.papers.kaplan.needed import Fewer, needed, widest
from analysis.papers.kaplan.panels import LABELS, LAW, by_run, dots, legend, logarithmic, losses, named, said
from analysis.papers.kaplan.words import UNDECIDED, decided, from_fit, written
from analysis.table import Table
from scaling.counts import PF_DAY
from scaling.errors import InputError

LOSSES = 120  # at which sizes are held against each other
OTHER = "#2f6db5"  # the second of two laws in one panel
PARTS = (("params", "model size N", "#3f8f5b"), ("batch_crit", "batch B", OTHER), ("steps_min", "updates S", "#a86a12"))


def figure_2(experiments: Experiments) -> Drawn:
    """Learning curves of all sizes over tokens and over compute."""
    name, title = "fig2", "Figure 2: larger models need fewer tokens"
    curves = fits.curves_of(experiments, "size")
    if curves is None:
        return undecided(name, title, "no run of the experiment size has finished")
    N = np.unique(curves["params"])
    figure = plots.learning_curves(curves)
    columns = ("run", "params", "tokens", "flops", "loss")
    rows = named(curves, columns)
    if len(N) < 2:
        return undecided(name, title, "one size alone has finished", figure=figure, data=points(name, rows))
    found = _fewer_tokens(experiments, curves)
    paper = "In the paper larger models reach a loss with fewer tokens, over six decades of N"
    data = points(name, rows)
    if isinstance(found, str):
        return undecided(name, title, f"{found}. {paper}.", figure=figure, data=data)
    said = f"to a loss of {found.loss:.3g} {found}, as far as the seeds tell"
    if not found.told:
        return undecided(name, title, f"{said}. {paper}.", figure=figure, data=data)
    verdict = f"{paper}: {'so they do' if found.low > 1 else 'not so'} here."
    return Drawn(name, title, figure, (f"{said[0].upper()}{said[1:]}.", verdict), (), data)


def _fewer_tokens(experiments: Experiments, curves: Table) -> Fewer | str:
    """The tokens of the sizes farthest apart that pass a common loss."""
    own = runs.on_line(experiments, curves)
    if own is None:
        return "no run of the ladder has finished"
    noise = runs.noise_of(experiments)
    if noise is None:
        return "no setting has two seeds: which differences are noise is not known"
    found = widest(needed(own, np.geomspace(own["loss"].max(), own["loss"].min(), LOSSES), noise))
    return "no two sizes pass the same loss" if found is None else found


def figure_3(experiments: Experiments) -> Drawn:
    """How growing compute is split over size, batch and updates along the best sizes."""
    name, title = "fig3", "Figure 3: where growing compute goes"
    best = fits.least_compute(experiments)
    if best.points is None or len(best.points) < 2:
        return undecided(name, title, best.why or "fewer than two sizes are best anywhere")
    found = {column: fits.growth(best.points, column) for column, _, _ in PARTS}
    if any(isinstance(fit, str) for fit in found.values()):
        why = next(fit for fit in found.values() if isinstance(fit, str))
        return undecided(name, title, why)
    powers = {column: fit.law.p for column, fit in found.items() if not isinstance(fit, str)}
    C = best.points["flops_min"]
    low, high = float(C.min()), float(C.max())
    x = np.geomspace(low, high, 60)
    constants = claims.path(experiments)
    shares = ", ".join(f"{digits.plain((high / low) ** powers[c], 2)} times the {what}" for c, what, _ in PARTS)
    rows = []
    with rc_context(STYLE):
        figure, (axes,) = panels(1, legend=False)
        base = np.ones_like(x)
        for column, what, colour in PARTS:
            top = base * (x / low) ** powers[column]
            axes.fill_between(x, base, top, color=colour, alpha=0.35, lw=0, label=what, zorder=2)
            axes.plot(x, top, color=colour, lw=1.2, zorder=3)
            growth = zip(x, top / base, strict=True)
            rows += [{"part": what, "flops_min": C_min, "growth": times} for C_min, times in growth]
            base = top
        logarithmic(axes, x, LABELS["flops_min"], np.concatenate([base, [1.0]]), write=digits.ten, write_y=digits.short)
        axes.set_ylabel("Growth, one on the other")
        legend(axes, "upper left")
    if open_ := [one for one in (constants[0], constants[2], constants[4]) if not decided([one])]:
        why = "; ".join(f"{one.name}: {one.note}" for one in open_)
        return undecided(name, title, why, figure=figure, data=points(name, rows))
    decades = f"{math.log10(high / low):.1f} decades of C_min"
    sentences = (
        f"Over our {decades} the best runs grow by {shares}.",
        f"In logarithms {digits.percent(powers['params'])} of the growth goes to N, "
        f"{digits.percent(powers['batch_crit'])} to B and {digits.percent(powers['steps_min'])} to S; in the paper "
        + ", ".join(digits.percent(reference.value(p)) for p in ("p_N", "p_B", "p_S"))
        + ".",
    )
    return Drawn(name, title, figure, sentences, (), points(name, rows))


def figure_13(experiments: Experiments) -> Drawn:
    """L(C) at a fixed batch, and L(C_min)."""
    name, title = "fig13", "Figure 13: loss over compute, spent and least"
    naive, best = fits.fixed_batch(experiments), fits.least_compute(experiments)
    curves, plain = fits.adjusted(experiments), fits.curves_of(experiments, "size")
    measured = (*claims.fixed_batch(experiments), *claims.least_compute(experiments))
    constants = (*measured, claims.predicted_exponent(experiments))
    if plain is None or (naive.points is None and best.points is None):
        return undecided(name, title, naive.why)
    shades = Shades.of(plain)
    rows, shown = [], []
    with rc_context(STYLE):
        figure, (axes,) = panels(1)
        by_run(axes, plain if isinstance(curves, str) else curves, "flops" if isinstance(curves, str) else "flops_min",
               shades=shades, alpha=0.3)  # fmt: skip
        for one, column, colour, label, marker in (
            (naive, "flops", OTHER, "fixed batch, C", "s"),
            (best, "flops_min", LAW, "C_min", "o"),
        ):
            if one.points is None:
                continue
            x, y = one.points[column], one.points["loss"]
            shown.append(x)
            dots(axes, x, y, [colour] * len(x), marker=marker)
            rows += [{"compute": label, "flops": a, "loss": b, "params": n}
                     for a, b, n in zip(x, y, one.points["params"], strict=True)]  # fmt: skip
        every = np.concatenate(shown)
        logarithmic(axes, every, "Compute, FLOP", [row["loss"] for row in rows], write=digits.ten)
        limits = axes.get_xlim(), axes.get_ylim()
        for one, colour, label in ((naive, OTHER, "fixed batch, C"), (best, LAW, "least compute, C_min")):
            if one.loss.fit is not None and one.loss.sound:
                line = np.geomspace(limits[0][0], limits[0][1], 60)
                fitted_line(axes, line, one.loss.fit, [line], colour, label=label, zorder=4)
        axes.set_xlim(limits[0])
        axes.set_ylim(limits[1])
        for ghost in ("fig13_L_of_Cmin", "fig13_L_of_C_fixed_batch"):
            C, L = reference.points(ghost).T
            seen = ghosts.shown(axes, PF_DAY * C, L, label=ghosts.LABEL if ghost == "fig13_L_of_Cmin" else "")
            if not seen and ghost == "fig13_L_of_Cmin" and best.points is not None:
                ghosts.slope(axes, best.points["flops_min"], best.points["loss"], -reference.value("alpha_C_min"))
        losses(axes)
        legend(axes)
        size_legend(figure, plain["params"], shades)
    sentences = (
        *claims.told(constants),
        *_consistent(constants[2], constants[4]),
        *said(best.loss),
    )
    return Drawn(name, title, figure, sentences, constants, points(name, rows), decided(constants[:4]))


def _consistent(measured: Constant, predicted: Constant) -> list[str]:
    if measured.value is None or predicted.value is None:
        return []
    apart = abs(measured.value - predicted.value) > sum(
        (one.high - one.low) / 2 for one in (measured, predicted) if one.high is not None and one.low is not None
    )
    return [
        f"Measured along the envelope alpha_C_min is {written(measured)}; from the three other exponents (1.8) has "
        f"{written(predicted)}: {'they disagree' if apart else 'the intervals overlap'}."
    ]


def figure_14(experiments: Experiments) -> Drawn:
    """The best size and its updates over compute, least and at a fixed batch."""
    name, title = "fig14", "Figure 14: the best size, and its updates"
    naive, best = fits.fixed_batch(experiments), fits.least_compute(experiments)
    path = claims.path(experiments)
    raw = fits.growth(naive.points, "params") if naive.points is not None else naive.why
    fixed = from_fit("N_opt exponent, fixed batch", "Fig. 14", raw, "p", paper="fixed_batch_N_opt_exponent")
    if (curves := fits.deep_curves(experiments)) is not None:
        fixed = claims.along_path(fixed, curves, "flops", "params")
    constants = (path[0], fixed, path[4])
    if naive.points is None and best.points is None:
        return undecided(name, title, naive.why)
    rows = []
    for one, compute, updates, what in (
        (best, "flops_min", "steps_min", "least"),
        (naive, "flops", "steps", "fixed batch"),
    ):
        if one.points is not None:
            columns = (one.points[c] for c in (compute, "params", updates))
            keys = ("flops", "params", "updates")
            rows += [{"compute": what} | dict(zip(keys, values, strict=True)) for values in zip(*columns, strict=True)]
    table = points(name, rows)
    with rc_context(STYLE):
        figure, (left, right) = panels(2, legend=False)
        for axes, y, label, ghost, exponent in (
            (left, "params", LABELS["params"], ("fig14_N_opt_of_Cmin", "fig14_N_opt_of_C_fixed_batch"), "p_N"),
            (right, "updates", "Updates", ("fig14_Smin_of_Cmin", "fig14_steps_fixed_batch"), "p_S"),
        ):
            _growth_panel(axes, table, y, label, ghost, exponent)
        for axes, one in ((left, best), (left, naive), (right, best)):
            if one.points is not None:
                column = "params" if axes is left else "steps_min"
                fit = fits.growth(one.points, column)
                if not isinstance(fit, str) and fit.status == "converged":
                    C = one.points["flops"]
                    x = np.geomspace(C.min(), C.max(), 40)
                    fitted_line(axes, x, fit, [x], LAW if one is best else OTHER, zorder=3)
        left.set_title("Best size")
        right.set_title("Its updates")
    return Drawn(name, title, figure, claims.told(constants), constants, table, decided(constants[:1]))


def _growth_panel(axes: Axes, table: Table, y: str, label: str, names: tuple[str, str], exponent: str) -> None:
    least_of, of = ("N", "N") if y == "params" else ("S_min", "S")
    looks = {"least": (LAW, "o", f"{least_of} over C_min"), "fixed batch": (OTHER, "s", f"{of} over C, fixed batch")}
    for what, (colour, marker, told) in looks.items():
        rows = table["compute"] == what
        if rows.any():
            dots(axes, table["flops"][rows], table[y][rows], [colour] * int(rows.sum()), marker=marker)
            axes.plot([], [], marker=marker, color=colour, ls="", ms=4.6, label=told)
    logarithmic(axes, table["flops"], "Compute, FLOP", table[y], write=digits.ten, write_y=digits.short, most=6)
    axes.set_ylabel(label)
    seen = False
    for name in names:
        C, values = reference.points(name).T
        seen |= ghosts.shown(axes, PF_DAY * C, values, label="" if seen else ghosts.LABEL)
    least = table["compute"] == "least"
    if not seen and least.any():
        ghosts.slope(axes, table["flops"][least], table[y][least], reference.value(exponent))
    legend(axes, "best")


def figure_15(experiments: Experiments) -> Drawn:
    """Where L(C_min) would fall below L(D) of the data that compute-efficient training uses."""
    name, title = "fig15", "Figure 15: where the laws contradict each other"
    best, data = fits.least_compute(experiments), fits.of_data(experiments)
    for found, what in ((best.loss, "L(C_min)"), (data, "L(D)")):
        if found.fit is None or not found.sound:
            why = f"{what}: {found.why or (found.fit.why if found.fit else '')}. {_theirs()}"
            return undecided(name, title, why, **_lower_alone(best))
    assert best.points is not None
    D, N = fits.growth(best.points, "tokens_efficient"), fits.growth(best.points, "params")
    if isinstance(D, str) or isinstance(N, str):
        return undecided(name, title, next(why for why in (D, N) if isinstance(why, str)))
    assert best.loss.fit is not None
    assert data.fit is not None
    c, d = best.loss.fit.constants, data.fit.constants
    try:
        at = kaplan_path.contradiction(
            c["C_c"] / PF_DAY, c["alpha_C"], d["D_c"], d["alpha_D"], D.law.y_1, D.law.p, N.law.y_1, N.law.p
        )
    except InputError as error:
        return undecided(name, title, f"our laws do not cross ({error})")
    rests_on = claims.least_compute(experiments)[0], claims.data(experiments)[0], claims.path(experiments)[0]
    settled = decided(rests_on)
    C = best.points["flops_min"]
    far = float(at.flops) * PF_DAY
    # Where they cross is no claim of ours if it is undecided: then the laws are shown over our runs alone.
    x = np.geomspace(C.min(), max(float(C.max()), far) * 30 if settled else float(C.max()), 120)
    lower, upper = best.loss.fit.law(x), data.fit.law(D.law(x))
    with rc_context(STYLE):
        figure, (axes,) = panels(1, legend=False)
        logarithmic(axes, x, LABELS["flops_min"], np.concatenate([lower, upper]), write=digits.ten)
        axes.plot(x, lower, color=LAW, lw=1.3, label="L(C_min)")
        axes.plot(x, upper, color=OTHER, lw=1.3, dashes=(4, 2), label="L(D) of the data it uses, one epoch")
        if settled:
            axes.axvspan(C.min(), C.max(), color=GREY, alpha=0.15, lw=0, label="our runs")
        if settled:
            axes.plot(far, float(at.loss), "o", color=INK, ms=6, zorder=5)
            axes.annotate("they cross", (far, float(at.loss)), xytext=(6, 6), textcoords="offset points", fontsize=8)
        losses(axes)
        legend(axes)
    rows = [{"flops_min": a, "L_of_C_min": b, "L_of_D": e} for a, b, e in zip(x, lower, upper, strict=True)]
    return Drawn(name, title, figure, _crossing(at, float(C.max()), settled), (), points(name, rows), settled)


def _lower_alone(best: fits.Efficient) -> dict[str, Any]:
    """The law of the least compute over its points, where the other law is not known."""
    if best.points is None or best.loss.fit is None or not best.loss.sound:
        return {}
    C, loss = best.points["flops_min"], best.points["loss"]
    x = np.geomspace(C.min() / 2, C.max() * 2, 60)
    with rc_context(STYLE):
        figure, (axes,) = panels(1, legend=False)
        logarithmic(axes, x, LABELS["flops_min"], loss, write=digits.ten)
        axes.plot(C, loss, "o", color=INK, ms=4)
        axes.plot(x, best.loss.fit.law(x), color=LAW, lw=1.3, label="L(C_min)")
        losses(axes)
        legend(axes)
    rows = [{"flops_min": a, "loss": b} for a, b in zip(C, loss, strict=True)]
    return {"figure": figure, "data": points("fig15", rows)}


def _theirs() -> str:
    C, N, D, L = (reference.value(f"{x}_contradiction") for x in ("C", "N", "D", "L"))
    return (
        f"The paper's cross near C = {digits.ten(C)} PF-days, N = {digits.ten(N)}, D = {digits.ten(D)} and {L:g} nats, "
        "each uncertain by about ten times."
    )


def _crossing(at: Optimum, largest: float, settled: bool) -> tuple[str, ...]:
    C, N, D, L = (float(v) for v in (at.flops, at.params, at.tokens, at.loss))
    paper = _theirs()
    if not settled:
        return (f"{UNDECIDED} where the laws cross: one of the exponents that it rests on is undecided.", paper)
    ours = (
        f"Our laws cross at C_min = {digits.ten(C)} PF-days, N = {digits.ten(N)}, D = {digits.ten(D)} and {L:.2g} "
        f"nats, {digits.ten(C * PF_DAY / largest, 1)} times our largest compute: an extrapolation, and a scale, which "
        "depends on the text."
    )
    return ours, paper
