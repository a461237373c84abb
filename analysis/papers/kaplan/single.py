"""Figures 1 and 23: the loss as a power law of one quantity at a time, and no logarithm."""

import math

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes

from analysis import digits, laws, reference
from analysis.findings.finding import Finding
from analysis.fit import fit
from analysis.forms import compare_laws
from analysis.page.canvas import STYLE, Shades, fitted_line, panels, size_legend
from analysis.papers.kaplan import claims, fits, ghosts, runs
from analysis.papers.kaplan.drawn import Drawn, Experiments, points, undecided
from analysis.papers.kaplan.panels import LABELS, LAW, across, blank, by_run, dots, legend, logarithmic, losses, said
from analysis.papers.kaplan.words import decided
from analysis.table import Table
from scaling.counts import PF_DAY
from scaling.errors import InputError

APART = 6.0  # AICc: odds of about twenty to one
FORMS = {laws.KaplanN.name: "the power law", laws.KaplanLogN.name: "the logarithm"}


def figure_1(experiments: Experiments) -> Drawn:
    """Loss against C_min, D and N, each where the other two do not limit."""
    name, title = "fig1", "Figure 1: the loss over compute, data and size"
    by_size, by_data = fits.of_size(experiments), fits.of_data(experiments)
    best, curves = fits.least_compute(experiments), fits.adjusted(experiments)
    tables = [f.table for f in (by_size, by_data) if f.table is not None]
    if not isinstance(curves, str):
        tables.append(curves)
    rows = []
    for panel, unit, x, found, points_ in (
        ("C_min", "FLOP", "flops_min", best.loss, best.points),
        ("D", "tokens", "unique_tokens", by_data, by_data.table),
        ("N", "parameters", "params", by_size, by_size.table),
    ):
        if points_ is not None and found.fit is not None:
            rows += [
                {"panel": panel, "x": X, "unit_of_x": unit, "loss": L, "params": N}
                for X, L, N in zip(points_[x], points_[found.fit.target], points_["params"], strict=True)
            ]
    constants = (*claims.least_compute(experiments), *claims.data(experiments), *claims.size(experiments))
    sentences = (
        *claims.told(constants),
        *said(by_size),
        *said(by_data),
    )
    if not tables:
        return undecided(name, title, by_size.why)
    N = np.concatenate([table["params"] for table in tables])
    shades = Shades(float(N.min()), float(N.max()))
    with rc_context(STYLE):
        figure, (left, middle, right) = panels(3)
        if isinstance(curves, str) or best.points is None:
            blank(left, "Compute", best.why or best.loss.why)
        else:
            by_run(left, curves, "flops_min", shades=shades, alpha=0.45)
            _law(left, best.loss, best.points, "flops_min", shades, span=curves)
            _ghost(left, best.points, "flops_min", "fig13_L_of_Cmin", "alpha_C_min", unit=PF_DAY)
        _panel(middle, by_data, "unique_tokens", shades, "fig1_L_of_D", "alpha_D")
        _panel(right, by_size, "params", shades, "fig1_L_of_N", "alpha_N")
        for axes, what in ((left, "Compute"), (middle, "Data"), (right, "Size")):
            axes.set_title(what)
        losses(left)
        size_legend(figure, N, shades)
    return Drawn(name, title, figure, sentences, constants, points(name, rows), decided(constants))


def _panel(axes: Axes, found: Finding, column: str, shades: Shades, ghost: str, exponent: str) -> None:
    if found.table is None or found.fit is None:
        blank(axes, "", found.why)
        return
    _law(axes, found, found.table, column, shades)
    _ghost(axes, found.table.with_columns(loss=found.table[found.fit.target]), column, ghost, exponent)


def _law(axes: Axes, found: Finding, table: Table, column: str, shades: Shades, span: Table | None = None) -> None:
    """Points, the law through them and its band; axes around them, or around the curves in `span`."""
    y = table[found.fit.target if found.fit else "loss"]
    dots(axes, table[column], y, [shades(float(N)) for N in table["params"]])
    whole = table if span is None else span
    many = column == "flops_min"
    logarithmic(
        axes,
        whole[column],
        LABELS[column],
        np.concatenate([y, whole["loss"]]) if span is not None else y,
        write=digits.ten if many else digits.short,
        most=5,
    )
    if found.fit is not None and found.sound:
        x = np.geomspace(table[column].min() / 1.5, table[column].max() * 1.5, 60)
        limits = axes.get_xlim(), axes.get_ylim()
        fitted_line(axes, x, found.fit, [x], LAW, label="our law", zorder=4)
        axes.set_xlim(limits[0])
        axes.set_ylim(limits[1])


def _ghost(axes: Axes, table: Table, column: str, name: str, exponent: str, unit: float = 1.0) -> None:
    x, y = reference.points(name).T
    if not ghosts.shown(axes, unit * x, y):
        ghosts.slope(axes, table[column], table["loss"], -reference.value(exponent))
    legend(axes)


def figure_23(experiments: Experiments) -> Drawn:
    """L(N) as a power law and as a logarithm."""
    name, title = "fig23", "Figure 23: a power law or a logarithm of N"
    found = fits.of_size(experiments)
    if found.table is None or found.fit is None:
        return undecided(name, title, found.why)
    # Seeds of one size say nothing of the form. Without further columns no rule leaves out more of the rows.
    table = runs.per_size(found.table)
    try:
        power = fit(laws.KaplanN, table, loss="squared", every_run=True)
        logarithm = fit(laws.KaplanLogN, table, loss="squared", every_run=True)
        scores = compare_laws((laws.KaplanN, laws.KaplanLogN), table, loss="squared")
    except InputError as error:
        return undecided(name, title, str(error).rstrip("."))
    if not all(math.isfinite(score.aicc) for score in scores):
        return undecided(name, title, f"{len(table)} sizes are too few to tell two forms of two constants apart")
    gap = scores[1].aicc - scores[0].aicc
    rms = ", ".join(f"{FORMS[s.law]} {digits.percent(s.rms)}" for s in scores)
    settled = gap > APART and found.sound and power.status == "converged"
    N = table["params"]
    shades = Shades.of(table)
    with rc_context(STYLE):
        figure, (axes,) = panels(1)
        dots(axes, N, table["loss"], [shades(float(n)) for n in N])
        logarithmic(axes, N, LABELS["params"], table["loss"])
        x = across(axes, 80)
        axes.plot(x, power.law(x), color=LAW, lw=1.3, label="power law", zorder=4)
        axes.plot(x, logarithm.law(x), color="#2f6db5", lw=1.3, dashes=(4, 2), label="logarithm", zorder=4)
        losses(axes)
        legend(axes)
        size_legend(figure, N, shades)
    rows = [
        {"params": n, "loss": L, "power_law": float(power.law(n)), "logarithm": float(logarithm.law(n))}
        for n, L in zip(N, table["loss"], strict=True)
    ]
    span = f"{len(table)} sizes and {N.max() / N.min():.0f} times in N"
    sentences = (
        f"Over {span} {FORMS[scores[0].law]} describes our sizes better: AICc lower by {gap:.1f} (rms {rms})."
        if settled
        else f"cannot decide: over {span} the two differ by {gap:.1f} in AICc, wanted {APART:.0f} (rms {rms}).",
        "The paper found the power law better, over five decades of N; its logarithm falls by "
        f"{-reference.value('log_fit_slope_fig23'):g} nats for each e-fold of N, ours by {logarithm.law.slope:.3g}.",
        *((found.evidence,) if found.evidence else ()),
    )
    return Drawn(name, title, figure, sentences, (), points(name, rows), settled)
