"""Figures of laws from tables and fits: each takes columns and gives a Matplotlib `Figure` for a page or a notebook.

Style, colours and axes are in `analysis.page.canvas`; figures of single kinds of study in `analysis.page.study_plots`.
"""

import numpy as np
from matplotlib import rc_context, ticker
from matplotlib.figure import Figure

from analysis import digits
from analysis.findings.finding import HeldOutPrediction
from analysis.fit.estimate import Fit
from analysis.frontier import lower_envelope
from analysis.page.canvas import (
    FAINT,
    GREY,
    INK,
    LABELS,
    LOSS,
    STYLE,
    Shades,
    end_labels,
    fitted_line,
    joined,
    log_axes,
    log_axis,
    margins,
    panels,
    percent_axis,
    size_legend,
    some,
)
from analysis.page.svg import of_runs
from analysis.table import Table


def learning_curves(
    curves: Table,
    *,
    ends: Table | None = None,
    fit: Fit | None = None,
    shades: Shades | None = None,
    above: float = 0.0,
    beyond: float = 0.0,
) -> Figure:
    """Held-out loss along training, against tokens and against compute with the lower envelope of all curves.

    Args:
        curves: one row per (run, evaluation): run, params, tokens, flops, loss, as `records.read` gives them.
        ends: the points that L(C) was fitted to, marked on the envelope.
        fit: L(C), drawn with its band over the range of `ends`.
        above, beyond: inches more above the panels, and at the right of the last, for a second axis there.
    """
    shades = shades or Shades.of(curves)
    with rc_context(STYLE):
        figure, (left, right) = panels(2, above=above, beyond=beyond)
        for run in dict.fromkeys(curves["run"].tolist()):
            rows = np.flatnonzero(curves["run"] == run)
            colour = shades(float(curves["params"][rows[0]]))
            for axes, column in ((left, "tokens"), (right, "flops")):
                x, y = curves[column][rows], curves["loss"][rows]
                (curve,) = axes.plot(x, y, color=colour, lw=0.9, alpha=0.75, solid_capstyle="round")
                (end,) = axes.plot(x[-1], y[-1], "o", color=colour, ms=2.6, mew=0)
                of_runs(curve, [run])
                of_runs(end, [run])
        finite = np.flatnonzero(np.isfinite(curves["loss"]))
        edge = finite[lower_envelope(curves["flops"][finite], curves["loss"][finite])]
        right.plot(curves["flops"][edge], curves["loss"][edge], color=INK, lw=1.6, zorder=5, label="lower envelope")
        if fit is not None and ends is not None:
            C = np.geomspace(ends["flops"].min() / 1.5, ends["flops"].max() * 1.5, 80)
            fitted_line(right, C, fit, [C], "#b3261e", label="L(C), fitted", dashes=(4, 2), zorder=6)
        if ends is not None:
            right.plot(
                ends["flops"],
                ends["loss"],
                "o",
                mfc="white",
                mec=INK,
                ms=4.5,
                mew=1.1,
                zorder=7,
                ls="",
                label="runs that end on it",
            )
        for axes, column, title in ((left, "tokens", "Along the tokens"), (right, "flops", "Along the compute")):
            log_axes(axes, column, curves[column], curves["loss"])
            axes.set_title(title)
        left.set_ylabel(LOSS)
        right.legend(loc="lower left", handlelength=1.8)
        size_legend(figure, curves["params"], shades)
        return figure


def against_size_and_data(
    table: Table, fit: Fit | None = None, *, column: str = "tokens", shades: Shades | None = None
) -> Figure:
    """Losses against N with a line per D, against D with a line per N: the law with its band, or lines that join runs.

    Args:
        table: the runs, those a law was fitted to if one is given.
        fit: a law of params and `column`.
        column: which D, "tokens" or "unique_tokens".
    """
    shades = shades or Shades.of(table)
    N, D, L = table["params"], table[column], table[fit.target if fit else "loss"]
    runs, named = np.array(table.names), some(np.unique(N))
    line_N, line_D = (np.geomspace(x.min() / 1.2, x.max() * 1.2, 80) for x in (N, D))
    shown, ends = [L], []
    with rc_context(STYLE):
        figure, (left, right) = panels(2)
        for length in some(np.unique(D)):
            x, y = (
                (
                    line_N,
                    fitted_line(left, line_N, fit, [line_N, np.full_like(line_N, length)], GREY, runs=N[D == length]),
                )
                if fit
                else joined(left, N[D == length], L[D == length], GREY)
            )
            ends.append((float(x[-1]), float(y[-1]), digits.short(length)))
            shown.append(y)
        for size in np.unique(N):
            rows, colour = N == size, shades(size)
            if fit and size in named:
                shown.append(
                    fitted_line(right, line_D, fit, [np.full_like(line_D, size), line_D], colour, runs=D[rows])
                )
            elif not fit:
                joined(right, D[rows], L[rows], colour)
            for axes, x in ((left, N), (right, D)):
                (dots,) = axes.plot(x[rows], L[rows], "o", color=colour, ms=4.2, mec="white", mew=0.5, ls="", zorder=5)
                of_runs(dots, runs[rows])
        for axes, name in ((left, "params"), (right, column)):
            log_axes(axes, name, table[name], np.concatenate(shown))
        end_labels(left, ends, "D =")
        left.set_title("Against N, one line per D")
        right.set_title("Against D, one line per N")
        left.set_ylabel(LOSS)
        size_legend(figure, N, shades)
        return figure


def against_one(fit: Fit, table: Table, *, shades: Shades | None = None) -> Figure:
    """A law of one variable over the points it was fitted to, with its band."""
    shades = shades or Shades.of(table)
    (column,) = fit.law.inputs
    x, L = table[column], table[fit.target]
    with rc_context(STYLE):
        figure, (axes,) = panels(1)
        line = np.geomspace(x.min() / 1.3, x.max() * 1.3, 80)
        fitted_line(axes, line, fit, [line], INK)
        for i, run in enumerate(table.names):
            (dot,) = axes.plot(x[i], L[i], "o", color=shades(table["params"][i]), ms=5, mec="white", mew=0.5, zorder=5)
            of_runs(dot, [run])
        axes.set_title(f"L({'C' if column == 'flops' else 'N' if column == 'params' else 'D'})")
        log_axes(axes, column, x, np.concatenate([L, fit.band(line).value]))
        axes.set_ylabel(LOSS)
        size_legend(figure, table["params"], shades)
        return figure


def residuals(fit: Fit, table: Table, *, sigma: float | None = None, shades: Shades | None = None) -> Figure:
    """What the law leaves of each run: measured / fitted - 1 in percent, against N and D.

    Args:
        sigma: seed noise as a share of the loss; two of it are shaded.
    """
    shades = shades or Shades.of(table)
    columns = fit.law.inputs
    said = fit.band(*(table[name] for name in columns)).value
    off = 100 * (table[fit.target] / said - 1)
    runs = np.array(table.names)
    with rc_context(STYLE):
        figure, pair = panels(len(columns), height=3.1)
        reach = max(float(np.max(np.abs(off))), 200 * (sigma or 0.0))
        for axes, name in zip(pair, columns, strict=True):
            axes.axhline(0, color=INK, lw=0.8)
            if sigma:
                axes.axhspan(-200 * sigma, 200 * sigma, color=FAINT, alpha=0.6, lw=0, zorder=0)
            for size in np.unique(table["params"]):
                rows = table["params"] == size
                look = {"color": shades(size), "ms": 4.2, "mec": "white", "mew": 0.5, "ls": ""}
                (dots,) = axes.plot(table[name][rows], off[rows], "o", **look)
                of_runs(dots, runs[rows])
            axes.set_xscale("log")
            log_axis(axes.xaxis, table[name])
            axes.set_xlim(*margins(table[name], 1.4))
            percent_axis(axes, reach)
            axes.set_xlabel(LABELS[name])
            axes.set_title(f"Measured above the law, against {'N' if name == 'params' else 'D'}")
        size_legend(figure, table["params"], shades)
        return figure


def held_out(held: HeldOutPrediction, *, column: str = "tokens") -> Figure:
    """Losses of runs that a fit had not seen: against what it predicted, and the error in percent against D.

    Args:
        held: losses in nats per token, with the interval of one run (thin bars) and that of the law (thick).
        column: which tokens its D counts.
    """
    y, x, a, b, D = held.measured, held.predicted, held.low, held.high, held.D
    marks = {"fmt": "o", "color": INK, "ms": 4.5, "mec": "white", "mew": 0.5, "ecolor": GREY, "elinewidth": 0.9}
    with rc_context(STYLE):
        figure, (left, right) = panels(2, height=3.4, legend=False)
        seen = np.concatenate([x, y, a, b])
        ends = margins(seen, (seen.max() / seen.min()) ** 0.05)
        left.plot(ends, ends, color=GREY, lw=0.9, dashes=(4, 2))
        left.errorbar(x, y, xerr=np.maximum([x - a, b - x], 0), capsize=2, **marks)
        left.hlines(y, held.law_low, held.law_high, color=GREY, lw=2.4)
        for axis in (left.xaxis, left.yaxis):
            axis.set_major_locator(ticker.MaxNLocator(6))
        left.set(xlim=ends, ylim=ends, xlabel="Predicted loss, nats per token", ylabel="Measured loss, nats per token")
        left.set_title("Predicted and measured")
        off = 100 * (x / y - 1)
        bars = np.maximum([off - 100 * (a / y - 1), 100 * (b / y - 1) - off], 0)
        right.axhline(0, color=INK, lw=0.8)
        right.errorbar(D, off, yerr=bars, capsize=2, **marks)
        right.vlines(D, 100 * (held.law_low / y - 1), 100 * (held.law_high / y - 1), color=GREY, lw=2.4)
        right.set_xscale("log")
        log_axis(right.xaxis, D)
        percent_axis(right, max(float(np.max(np.abs(off))), float(np.max(np.abs([off - bars[0], off + bars[1]])))))
        right.set(xlim=margins(D, 1.25), xlabel=LABELS[column])
        right.set_title("Predicted above the measured")
        return figure


def positions(table: Table, *, shades: Shades | None = None) -> Figure:
    """Held-out loss by position in the context, one line per size.

    Args:
        table: params, position (from 1), loss; runs of a size are averaged, and so are the positions of an octave, as
            single ones scatter with the text: 1, 2, 3 to 4, 5 to 8, ...
    """
    shades = shades or Shades.of(table)
    with rc_context(STYLE):
        figure, (axes,) = panels(1)
        bins = np.ceil(np.log2(table["position"]))
        means = []
        for size in np.unique(table["params"]):
            here = [(table["params"] == size) & (bins == b) for b in np.unique(bins)]
            at, loss = (
                np.array([column[rows].mean() for rows in here if rows.any()])
                for column in (np.log(table["position"]), table["loss"])
            )
            axes.plot(np.exp(at), loss, "o-", color=shades(size), lw=1.1, ms=3, mew=0)
            means.append(loss)
        axes.set_title("Along the context")
        log_axes(axes, "position", table["position"], np.concatenate(means))
        axes.set_ylabel(LOSS)
        size_legend(figure, table["params"], shades)
        return figure
