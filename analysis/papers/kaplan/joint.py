"""Figures 4, 9 and 16: size with data, size with steps, and how runs on little data over-fit."""

import math

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from analysis import digits, kaplan_path, laws, reference
from analysis.fit.estimate import Fit
from analysis.page.canvas import GREY, INK, LOSS, STYLE, Shades, panels, size_legend, some
from analysis.papers.claim import Undecided
from analysis.papers.drawing import (
    BITS,
    LAW,
    POINTS,
    across,
    bits_per_byte,
    by_run,
    dots,
    fixed_limits,
    left_out,
    legend,
    logarithmic,
    named,
    papers_points,
    tints,
)
from analysis.papers.drawn import Drawn
from analysis.papers.kaplan import early, runs
from analysis.papers.kaplan.claims import Kaplan
from analysis.papers.known import Known
from analysis.table import Table

GOAL = 0.01  # held-out error of L(N, D) on the largest runs


def figure_4(evidence: Kaplan, drawn: Drawn) -> None:
    """Left: the early-stopped loss over the unique tokens D, dots in the colour of their size, dotted our L(N, D);
    hollow: runs that are not known to have stopped. Right: learning curves over S_min, dotted our L(N, S_min).
    """
    drawn.tell(*evidence.joint_claims)
    with drawn.part("the held-out error of L(N, D)"):
        drawn.say(_held_out(evidence.joint.sure("L(N, D)")))
    drawn.tell(*evidence.steps_claims)
    with drawn.part():
        steps = evidence.steps.sure("L(N, S_min)")
        rms = digits.percent(steps.fit.residuals.rms)
        drawn.say(f"L(N, S_min) misses the learning curves past their warm-up by {rms} rms.")
        if steps.held_out_prediction is not None:
            drawn.say(f"L(N, S_min): {steps.forecast()}")
    shades, rows = evidence.shades, []
    with rc_context(STYLE):
        drawn.figure, (left, right) = panels(2, beyond=BITS)
        with drawn.panel(left, "Early-stopped loss over unique tokens"):
            table, fit = evidence.joint.table, evidence.joint.fit
            _over_data(left, runs.left_by_law(table, evidence.data_runs), fit, shades)
            rows += [
                {"panel": "L(N, D)", "params": n, "x": D, "loss": L, "law": float(fit.law(n, D))}
                for n, D, L in _columns(table, "params", "unique_tokens", fit.target)
            ]
        with drawn.panel(right, "Loss along training over S_min"):
            curves, fit = evidence.steps_curves, evidence.steps.fit
            _over_steps(right, curves, fit, shades)
            bits_per_byte(right, evidence.steps_runs)
            rows += [
                {"panel": "L(N, S_min)", "params": n, "x": S, "loss": L, "law": float(fit.law(n, S))}
                for n, S, L in _columns(curves, "params", "steps_min", "loss")
            ]
        if rows:
            size_legend(drawn.figure, np.array([row["params"] for row in rows]), shades)
    drawn.points(rows)


def _columns(table: Table, *names: str):
    return zip(*(table[name] for name in names), strict=True)


def _held_out(joint: Known) -> str:
    if joint.held_out_prediction is None:
        raise Undecided("too few sizes to hold one out")
    verdict = "within" if joint.held_out_prediction.rms <= GOAL else "beyond"
    return f"L(N, D): {joint.forecast()} That is {verdict} the goal of {digits.percent(GOAL)}."


def _over_data(axes: Axes, table: Table, fit: Fit, shades: Shades) -> None:
    N, D, L = table["params"], table["unique_tokens"], table[fit.target]
    dots(axes, D, L, [shades(float(n)) for n in N], runs=table.names)
    logarithmic(axes, D, "unique_tokens", L, most=6)
    left_out(axes, table, "unique_tokens", fit.target, shades=shades)
    x = across(axes, 80)
    with fixed_limits(axes):
        for size in np.unique(N):
            axes.plot(x, fit.law(size, x), color=shades(float(size)), lw=1.0, dashes=(1.5, 1.5), zorder=3)
    axes.set_ylabel(LOSS)
    axes.plot([], [], color=INK, lw=1.0, dashes=(1.5, 1.5), label="L(N, D), our fit")
    legend(axes)


def _over_steps(axes: Axes, curves: Table, fit: Fit, shades: Shades) -> None:
    by_run(axes, curves, "steps_min", shades=shades, alpha=0.7)
    logarithmic(axes, curves["steps_min"], "steps_min", curves["loss"], most=6)
    with fixed_limits(axes):
        for size in np.unique(curves["params"]):
            own = curves["steps_min"][curves["params"] == size]
            x = np.geomspace(own.min(), own.max(), 60)
            axes.plot(x, fit.law(size, x), color=shades(float(size)), lw=1.2, dashes=(1.5, 1.5), zorder=4)
    axes.set_ylabel(LOSS)
    seen = False
    for rows in reference.curves("fig4_learning_curves").values():
        seen |= papers_points(axes, *rows.T, joined=True, label="" if seen else POINTS)
    axes.plot([], [], color=INK, lw=1.2, dashes=(1.5, 1.5), label="L(N, S_min), our fit")
    legend(axes, "upper right")


def figure_9(evidence: Kaplan, drawn: Drawn) -> None:
    """Left: the early-stopped loss over N, a colour for each number D of unique tokens, dotted our L(N, D); hollow:
    runs that are not known to have stopped. Right: how far each loss lies above that of the same size on the most data,
    over N^(alpha_N/alpha_D) / D, coloured by size; red: the one curve (4.3) on which all should lie; grey: the paper's
    points over its own ratio, moved by one factor so that its curve and ours begin alike.
    """
    joint, excesses, shades = evidence.joint, evidence.excesses, evidence.shades
    law = joint.fit.law
    assert isinstance(law, laws.KaplanND)
    ratio = law.alpha_N / law.alpha_D
    N, D, L = (joint.table[name] for name in ("params", "unique_tokens", joint.fit.target))
    with rc_context(STYLE):
        drawn.figure, (left, right) = panels(2, between=BITS)
        with drawn.panel(left, "Early-stopped loss over N, by unique tokens"):
            _over_size(left, runs.left_by_law(joint.table, evidence.data_runs), joint.fit)
            bits_per_byte(left, evidence.data_runs)
        with drawn.panel(right, "Excess over the same size on the most data"):
            _collapsed(right, _some(excesses), law, ratio, shades)
        size_legend(drawn.figure, N, shades)
    most = D >= D.max() * (1 - 1e-9)
    drawn.points(
        [
            {"params": n, "unique_tokens": d, "loss_min": low, "excess": e, "x": n**ratio / d}
            | {"law": float(law.excess(n, d))}
            for n, d, low, e in _columns(excesses, "params", "unique_tokens", "loss_min", "excess")
        ]
        + [
            {"params": n, "unique_tokens": d, "loss_min": low}
            for n, d, low in zip(N[most], D[most], L[most], strict=True)
        ]
    )
    drawn.tell(evidence.ratio)
    with drawn.part("the collapse"):
        joint.sure("L(N, D)")
        drawn.say(_needed(law, float(N.max()), float(D.max())))
        drawn.say(_collapse(_some(excesses), law, evidence.noise.sigma if evidence.noise else math.nan))
    drawn.say(joint.evidence)


def _some(excesses: Table) -> Table:
    if not len(excesses):
        raise Undecided("no size was trained on the most data")
    return excesses


def _over_size(axes: Axes, table: Table, fit: Fit) -> None:
    N, D, L = table["params"], table["unique_tokens"], table[fit.target]
    tint = tints(D)
    dots(axes, N, L, [tint(float(d)) for d in D], runs=table.names)
    logarithmic(axes, N, "params", L, most=6)
    left_out(axes, table, "params", fit.target, shades=lambda N: GREY)
    x, handles = across(axes, 80), []
    with fixed_limits(axes):
        for d in some(np.unique(D)):
            axes.plot(x, fit.law(x, d), color=tint(float(d)), lw=1.0, dashes=(1.5, 1.5), zorder=3)
            handles.append(Line2D([], [], color=tint(float(d)), ls="", marker="o", ms=4.6, label=digits.short(d)))
    axes.set_ylabel(LOSS)
    handles += axes.get_legend_handles_labels()[0]
    axes.legend(handles=handles, title="D", loc="best", handletextpad=0.2, alignment="left")


def _needed(law: laws.KaplanND, N: float, most: float) -> str:
    """The data that keeps over-fitting small, eq. 4.4; `most` is the most that any run had."""
    share = reference.value("seed_noise")
    D = float(kaplan_path.data_without_overfitting(law, N, share))
    theirs = reference.value("overfit_data_prefactor") * N ** reference.value("overfit_exponent_alphaN_over_alphaD")
    beyond = f", beyond the {digits.short(most)} of any run here" if D > most else ""
    return (
        f"To stay within {digits.percent(share)} of the loss on ample data N = {digits.short(N)} wants "
        f"{digits.short(D)} unique tokens by our fit{beyond}; (4.4) has {digits.short(theirs)}, on other text."
    )


def _collapsed(axes: Axes, table: Table, law: laws.KaplanND, ratio: float, shades: Shades) -> None:
    x = table["params"] ** ratio / table["unique_tokens"]
    dots(axes, x, table["excess"], [shades(float(n)) for n in table["params"]], runs=table.names)
    logarithmic(axes, x, "N^(α_N/α_D) / D", write=digits.plain, most=6)
    line = across(axes, 100)
    # The excess is a function of x alone: any N, with the D that gives this x.
    axes.plot(line, law.excess(law.N_c, law.N_c**ratio / line), color=LAW, lw=1.2, label="(4.3), our fit")
    axes.axhline(0, color=GREY, lw=0.8, zorder=1)
    axes.set_ylabel("L(N, D) / L(N, ample) − 1")
    at, excess = _papers_excess(law)
    papers_points(axes, at, excess)
    legend(axes, "upper left")


def _papers_excess(law: laws.KaplanND) -> tuple[np.ndarray, np.ndarray]:
    """The paper's losses above those of the same size on its most data, over our N^(alpha_N/alpha_D) / D.

    Over its own ratio times one factor: that by which both curves (4.3) begin with one slope, D_c alpha_D / N_c^ratio.
    """
    N, D, L = reference.points("fig9_L_of_N_D").T
    paper = laws.KaplanND(*(reference.value(f"table2_{name}") for name in ("N_c", "D_c", "alpha_N", "alpha_D")))
    ours, theirs = (one.D_c * one.alpha_D / one.N_c ** (one.alpha_N / one.alpha_D) for one in (law, paper))
    ample = {n: float(L[(n == N) & (D.max() == D)].mean()) for n in np.unique(N[D.max() == D])}
    rows = np.isin(N, list(ample)) & (D < D.max())
    excess = L[rows] / np.array([ample[n] for n in N[rows]]) - 1
    return N[rows] ** (paper.alpha_N / paper.alpha_D) / D[rows] * theirs / ours, excess


def _collapse(table: Table, law: laws.KaplanND, sigma: float) -> str:
    """How far the points lie from one curve, against the noise of a ratio of two losses."""
    off = table["excess"] - np.asarray(law.excess(table["params"], table["unique_tokens"]))
    rms, largest = float(np.sqrt(np.mean(off**2))), float(table["excess"].max())
    known = f"; the seeds alone make {digits.percent(math.sqrt(2) * sigma)}" if math.isfinite(sigma) else ""
    verdict = "collapses onto" if rms < 0.1 * largest else "scatters about"
    return (
        f"The excess, up to {digits.percent(largest)} in {len(table)} runs, {verdict} the one curve (4.3) with "
        f"{digits.percent(rms)} rms{known}; the paper saw one curve up to an excess of a half."
    )


def figure_16(evidence: Kaplan, drawn: Drawn) -> None:
    """Left: the updates after which runs on little data had their lowest held-out loss, over the bound (5.7), in the
    colour of their size; dashed, where both are equal. Right: held-out losses of the largest of these models, lines,
    and training losses, dashed, for each number D of unique tokens; a dot at the lowest held-out one.
    """
    shades, rows = evidence.shades, []
    evidence.need("data")
    with rc_context(STYLE):
        drawn.figure, (left, right) = panels(2, beyond=BITS)
        with drawn.panel(left, "Early stopping against its lower bound", "the bound (5.7)"):
            stops = early.stops(evidence)
            _against_bound(left, stops, shades)
            columns = ("run", "params", "unique_tokens", "loss_gap", "steps_stop", "bound")
            rows += [{"panel": "stops"} | row for row in named(stops, columns)]
            with drawn.part("whether (5.7) is a bound"):
                for sentence in early.sentences(stops):
                    drawn.say(sentence)
        with drawn.panel(right, "The largest model on ever more data"):
            curves = early.curves_of_largest(evidence)
            drawn.say(_train_and_test(right, curves))
            bits_per_byte(right, evidence.every_data_run)
            columns = ("run", "params", "unique_tokens", "step", "loss", "train_loss", "loss_on_train")
            rows += [{"panel": "curves"} | row for row in named(curves, columns)]
        if rows:
            size_legend(drawn.figure, np.array([row["params"] for row in rows]), shades)
    drawn.points(rows)


def _against_bound(axes: Axes, stops: Table, shades: Shades) -> None:
    dots(axes, stops["bound"], stops["steps_stop"], [shades(float(n)) for n in stops["params"]])
    both = np.concatenate([stops["bound"], stops["steps_stop"]])
    label = "Bound (5.7), S_c (L − L_ample)^(−1/α_S)"
    logarithmic(axes, stops["bound"], label, both, write_y=digits.short, most=6)
    ends = np.array([stops["bound"].min(), stops["bound"].max()])
    axes.plot(ends, ends, color=GREY, lw=1.0, dashes=(4, 2), label="equal: runs lie above")
    axes.set_ylabel("Least updates S_min at the lowest held-out loss")
    legend(axes, "upper left")


def _train_and_test(axes: Axes, curves: Table) -> str:
    """Held-out losses as lines, training losses dashed, by unique tokens; what they show."""
    D = np.unique(curves["unique_tokens"])
    tint = tints(D)
    # On its own examples as the held-out loss is measured, that is without dropout, where the runs did measure it.
    trained = curves["loss_on_train"] if curves.has("loss_on_train") else curves["train_loss"]
    shown = curves["loss"] <= _ceiling(curves)
    handles, turned = [], 0
    for d in D:
        rows = np.flatnonzero((curves["unique_tokens"] == d) & shown)
        every = np.flatnonzero(curves["unique_tokens"] == d)
        low = int(np.argmin(curves["loss"][every]))
        turned += low < len(every) - 1 and curves["loss"][every[-1]] > 1.005 * curves["loss"][every[low]]
        colour = tint(float(d))
        axes.plot(curves["step"][rows], curves["loss"][rows], color=colour, lw=1.2, zorder=3)
        axes.plot(curves["step"][every], trained[every], color=colour, lw=0.9, dashes=(3, 2), zorder=2)
        axes.plot(curves["step"][every[low]], curves["loss"][every[low]], "o", color=colour, ms=4, zorder=4)
        handles.append(Line2D([], [], color=colour, lw=1.2, label=digits.short(float(d))))
    y = np.concatenate([curves["loss"][shown], trained[np.isfinite(trained)]])
    logarithmic(axes, curves["step"], "step", y[y > 0.2 * np.max(y)], most=6)
    axes.legend(handles=[*handles, Line2D([], [], color=INK, lw=0.9, dashes=(3, 2), label="training")], title="D",
                loc="lower left", alignment="left")  # fmt: skip
    axes.set_ylabel(LOSS)
    N = digits.short(float(curves["params"][0]))
    if not turned:
        return (
            f"At N = {N} the held-out loss of none of {len(D)} data sets turned up: the runs were too short, or the "
            "data too many, to over-fit."
        )
    rows = np.flatnonzero(curves["unique_tokens"] == D[0])
    low = rows[np.argmin(curves["loss"][rows])]
    gap = float(curves["loss"][low] - trained[low])
    excess = float(curves["loss"][low] - curves["loss"][curves["unique_tokens"] == D[-1]].min())
    return (
        f"At N = {N} the held-out loss turned up on {turned} of {len(D)} data sets. On the fewest data it is lowest "
        f"{digits.plain(excess, 2)} nats above that of the most data, and there {digits.plain(gap, 2)} above the "
        f"training loss: that gap "
        + ("overstates over-fitting, as in the paper." if gap > excess else "does not overstate over-fitting here.")
    )


def _ceiling(curves: Table) -> float:
    """Held-out losses above this are far past over-fitting: the lowest of the fewest data, and half as much again."""
    fewest = curves["unique_tokens"] == curves["unique_tokens"].min()
    return 1.35 * float(curves["loss"][fewest].min())
