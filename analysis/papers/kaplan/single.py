"""Figures 1 and 23: the loss as a power law of one quantity at a time, and no logarithm."""

import math
from collections.abc import Mapping

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes

from analysis import digits, laws, reference
from analysis.fit import fit
from analysis.forms import compare_laws
from analysis.page.canvas import LOSS, STYLE, Shades, fitted_line, panels, size_legend
from analysis.papers.claim import Undecided
from analysis.papers.drawing import (
    BITS,
    LAW,
    OTHER,
    PF_DAYS,
    across,
    bits_per_byte,
    by_run,
    dots,
    fixed_limits,
    left_out,
    legend,
    logarithmic,
    papers_curve,
    pf_days,
)
from analysis.papers.drawn import Drawn
from analysis.papers.kaplan import runs
from analysis.papers.kaplan.claims import Kaplan
from analysis.papers.known import Known
from analysis.table import Table
from scaling.counts import PF_DAY

APART = 6.0  # AICc: odds of about twenty to one
FORMS = {laws.KaplanN.name: "the power law", laws.KaplanLogN.name: "the logarithm"}
UNITS = {"flops_min": ("C_min", "FLOP"), "unique_tokens": ("D", "tokens"), "params": ("N", "parameters")}


def figure_1(evidence: Kaplan, drawn: Drawn) -> None:
    """The loss over C_min, D and N, each where the other two do not limit it: our points in the colour of their size,
    red the law through them with its band; hollow: runs that the law leaves out; pale: learning curves. Grey: the
    paper's points, joined, and brought to our law's height at its largest x that both have where most lie elsewhere, or
    a line of its exponent.
    """
    drawn.tell(evidence.alpha_C_min, evidence.C_c_min, evidence.alpha_D, evidence.D_c, evidence.alpha_N, evidence.N_c)
    shades, rows = evidence.shades, []
    with rc_context(STYLE):
        drawn.figure, (left, middle, right) = panels(3, above=PF_DAYS, beyond=BITS)
        with drawn.panel(left, "Compute"):
            best, curves = evidence.least_compute, evidence.compute_curves
            by_run(left, curves, "flops_min", shades=shades, alpha=0.45)
            rows += _law(left, best.loss, "flops_min", shades, span=curves)
            _theirs(left, best.points, "flops_min", "fig13_L_of_Cmin", "alpha_C_min", drawn, unit=PF_DAY)
            pf_days(left)
        with drawn.panel(middle, "Data"):
            rows += _panel(
                middle, evidence.data, evidence.data_runs, "unique_tokens", shades, "fig1_L_of_D", "alpha_D", drawn
            )
        with drawn.panel(right, "Size"):
            rows += _panel(right, evidence.size, evidence.size_runs, "params", shades, "fig1_L_of_N", "alpha_N", drawn)
            bits_per_byte(right, evidence.size.table)
        left.set_ylabel(LOSS)
        if rows:
            size_legend(drawn.figure, np.array([row["params"] for row in rows]), shades)
    drawn.points(rows)
    with drawn.part():
        drawn.say(evidence.admitted())
    for find in (lambda: evidence.size, lambda: evidence.data):
        with drawn.part():
            drawn.say(*find().sentences())


def _panel(
    axes: Axes, found: Known, offered: Table, column: str, shades: Shades, points: str, exponent: str, drawn: Drawn
) -> list[dict]:
    """A law of the runs that it was offered, and hollow those that it left out; the paper's beside the law's runs."""
    target, left = found.fit.target, runs.left_by_law(found.table, offered)
    own = found.table.with_columns(loss=found.table[target])
    rows = _law(axes, found, column, shades, span=runs.deep(offered) if column == "params" else own)
    left_out(axes, left, column, target, shades=shades)
    _theirs(axes, own, column, points, exponent, drawn)
    return rows + [
        row | {"panel": f"{row['panel']}, left out"}
        for one in left.excluded
        for row in _rows(one.cells, column, target)
    ]


def _law(axes: Axes, found: Known, column: str, shades: Shades, span: Table | None = None) -> list[dict]:
    """Points, the law through them and its band; axes around all losses in `span`, if given. The points."""
    table = found.table
    x, y = table[column], table[found.fit.target]
    dots(axes, x, y, [shades(float(N)) for N in table["params"]], runs=table.names)
    write = digits.ten if column == "flops_min" else digits.short
    every = y if span is None else np.concatenate([y, span["loss"]])
    logarithmic(axes, x if span is None else span[column], column, every, write=write, most=5)
    if found.sound:
        line = np.geomspace(x.min() / 1.5, x.max() * 1.5, 60)
        with fixed_limits(axes):
            fitted_line(axes, line, found.fit, [line], LAW, label="our law", zorder=4)
    return _rows(table, column, found.fit.target)


def _rows(cells: Mapping[str, np.ndarray] | Table, column: str, target: str) -> list[dict]:
    panel, unit = UNITS[column]
    return [
        {"panel": panel, "x": x, "unit_of_x": unit, "loss": loss, "params": N}
        for x, loss, N in zip(cells[column], cells[target], cells["params"], strict=True)
    ]


def _theirs(axes: Axes, table: Table, column: str, name: str, exponent: str, drawn: Drawn, unit: float = 1.0) -> None:
    """The paper's points or exponent beside ours, and how far both fall over the x that they share, if they do."""
    points = reference.points(name) * (unit, 1)
    found = papers_curve(axes, table[column], table["loss"], points, -reference.value(exponent))
    if found is not None:
        write = digits.ten if column == "flops_min" else digits.short
        drawn.say(found.said(UNITS[column][0], write))
    legend(axes)


def figure_23(evidence: Kaplan, drawn: Drawn) -> None:
    """L(N) through the mean of each size, a dot in its colour, as a power law and as a logarithm."""
    found = evidence.size
    # Seeds of one size say nothing of the form. Without further columns no rule leaves out more of the rows.
    table = runs.per_size(found.table)
    N = table["params"]
    power, logarithm = fit(laws.KaplanN, table, loss="squared"), fit(laws.KaplanLogN, table, loss="squared")
    with rc_context(STYLE):
        drawn.figure, (axes,) = panels(1, beyond=BITS)
        dots(axes, N, table["loss"], [evidence.shades(float(n)) for n in N])
        logarithmic(axes, N, "params", table["loss"])
        x = across(axes, 80)
        axes.plot(x, power.law(x), color=LAW, lw=1.3, label="power law", zorder=4)
        axes.plot(x, logarithm.law(x), color=OTHER, lw=1.3, dashes=(4, 2), label="logarithm", zorder=4)
        axes.set_ylabel(LOSS)
        bits_per_byte(axes, found.table)
        legend(axes)
        size_legend(drawn.figure, N, evidence.shades)
    drawn.points(
        {"params": n, "loss": L, "power_law": float(power.law(n)), "logarithm": float(logarithm.law(n))}
        for n, L in zip(N, table["loss"], strict=True)
    )
    scores = compare_laws((laws.KaplanN, laws.KaplanLogN), table, loss="squared")
    if not all(math.isfinite(score.aicc) for score in scores):
        raise Undecided(f"{len(table)} sizes are too few to tell two forms of two constants apart")
    gap = scores[1].aicc - scores[0].aicc
    rms = ", ".join(f"{FORMS[s.law]} {digits.percent(s.rms)}" for s in scores)
    span = f"over {len(table)} sizes and {N.max() / N.min():.0f} times in N"
    if gap > APART and found.sound and power.sound:
        better = f"{FORMS[scores[0].law]} describes our sizes better: AICc lower by {gap:.1f} (rms {rms})."
        drawn.say(f"{span} {better}")
    else:
        drawn.lacks(f"{span} the two differ by {gap:.1f} in AICc, wanted {APART:.0f} (rms {rms})")
    drawn.say(
        "The paper found the power law better, over five decades of N; its logarithm falls by "
        f"{-reference.value('log_fit_slope_fig23'):g} nats for each e-fold of N, ours by {logarithm.law.slope:.3g}.",
        found.evidence,
    )
