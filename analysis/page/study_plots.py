"""Figures of single kinds of study: learning rates and their transfer, IsoFLOP profiles, cooldowns, shapes.

Style, colours and axes are in `analysis.page.canvas`, figures of the laws in `analysis.page.plots`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from analysis import digits
from analysis.findings.cooldowns import Cooldowns
from analysis.findings.shapes import Shapes
from analysis.frontier import Allocation
from analysis.isoflop import Profile, parabolas
from analysis.page.canvas import (
    DENSE,
    FAINT,
    GREY,
    INK,
    LABELS,
    LOSS,
    STYLE,
    WIDE,
    WRITTEN,
    Shades,
    log_axes,
    log_axis,
    log_y,
    margins,
    panels,
    percent_axis,
    size_legend,
)
from analysis.page.svg import of_runs
from analysis.table import Table
from analysis.transfer import Transfer
from analysis.tuning import Tuning
from analysis.tuning.bowls import Bowl
from analysis.tuning.halves import LIMIT
from analysis.tuning.rate_law import RateFit

LEGEND = 12  # room above the largest value, as a factor of it
NARROW = 5  # ticks along a panel of rates: there are several side by side
HIGHEST = 0.12  # of ln(loss) above the lowest: what is farther up, at rates that nearly diverge, is left off the axes
TALL = 5.2  # inches, of profiles: their bends are small beside what separates them


def _named(runs: Table | None, **columns: ArrayLike) -> list[str]:
    """The run that has these values, for each of them; empty where none has, as at a mean over seeds."""
    wanted = np.broadcast_arrays(*(np.atleast_1d(np.asarray(values, float)) for values in columns.values()))
    if runs is None or not all(runs.has(name) for name in columns):
        return [""] * len(wanted[0])
    there = {
        tuple(f"{value:.9g}" for value in row): run
        for run, row in zip(runs.names, np.column_stack([runs[name] for name in columns]), strict=True)
    }
    return [there.get(tuple(f"{value:.9g}" for value in row), "") for row in np.column_stack(wanted)]


def learning_rates(found: Tuning, *, shades: Shades | None = None, runs: Table | None = None) -> Figure:
    """Loss against the learning rate, a panel per length, and the best rates against N with the law through them.

    A curve is the bowl inside its window; a filled mark is its bottom with the interval, a cross a rate that diverged.
    These are of the batch and the depth that most bowls have, at the lengths that most have. Where there are others, or
    more lengths, a last panel has all best rates over the law's against D/N. `runs` names dots that are single runs.
    """
    every = [b for b in found.bowls if np.isfinite(b.losses).any()]
    bowls = _most_alike(every)
    sizes = np.array([b.params for b in bowls])
    shades = shades or Shades(float(sizes.min()), float(sizes.max()))
    lengths = sorted(D for D, _ in Counter(b.tokens for b in bowls).most_common(3))
    bowls = [b for b in bowls if b.tokens in lengths]
    rest = found.law is not None and len(bowls) < len(every)
    with rc_context(STYLE):
        n = len(lengths) + 1 + rest
        figure, grid = panels(n, height=TALL if n < 4 else WIDE[1], rows=1 if n < 4 else 2)
        for axes, D in zip(grid, lengths, strict=False):
            _bowls(axes, [b for b in bowls if b.tokens == D], shades, runs)
            axes.set_title(f"D = {digits.short(D)} tokens")
        low = min(axes.get_xlim()[0] for axes in grid[: len(lengths)])
        high = max(axes.get_xlim()[1] for axes in grid[: len(lengths)])
        for axes in grid[: len(lengths)]:
            axes.set_xlim(low, high)
            axes.set_ylabel(LOSS)
        _best_rates(grid[len(lengths)], bowls, found.law, lengths, shades)
        if rest and found.law:
            _over_the_law(grid[-1], [b for b in every if b.interior], found.law, shades)
        shown = [*bowls, *(b for b in every if rest and b.interior)]
        size_legend(figure, np.array([b.params for b in shown]), shades)
        return figure


def _most_alike(bowls: Sequence[Bowl]) -> list[Bowl]:
    """The bowls of the commonest batch and depth."""
    (common, _), *_ = Counter(map(_setting, bowls)).most_common()
    return [b for b in bowls if _setting(b) == common]


def _setting(b: Bowl) -> tuple[float, float]:
    return float(np.nan_to_num(b.batch_tokens)), float(np.nan_to_num(b.n_layer))


def _over_the_law(axes: Axes, bowls: Sequence[Bowl], fit: RateFit, shades: Shades) -> None:
    """Best rates over the law's against D/N, a mark per batch."""
    marks = ("o", "s", "^", "v", "D", "P")
    batches = sorted({float(np.nan_to_num(b.batch_tokens)) for b in bowls})
    ratio, ends = [b.tokens / b.params for b in bowls], []
    for b in bowls:
        law = fit.law(b.params, b.tokens, b.batch_tokens if b.batch_tokens > 0 else None)
        k = batches.index(float(np.nan_to_num(b.batch_tokens)))
        x = b.tokens / b.params * 1.1**k  # so that bars of several batches stand beside one another
        axes.plot([x, x], [b.low / law, b.high / law], color=shades(b.params), lw=1.2)
        axes.plot(x, b.best / law, marks[k % len(marks)], color=shades(b.params), ms=5, mew=0, zorder=5)
        ends += [b.low / law, b.high / law]
    axes.axhline(1.0, color=INK, lw=1.0, zorder=1)
    if min(ratio) < LIMIT < max(ratio):
        axes.axvline(LIMIT, color=GREY, lw=0.8, dashes=(2, 2), zorder=1)
        axes.annotate(
            f"D/N = {LIMIT:.0f}", (LIMIT, 1), xycoords=("data", "axes fraction"), xytext=(3, -9),
            textcoords="offset points", fontsize=7.5, color=GREY,
        )  # fmt: skip
    if batches[-1] > 0:
        handles = [
            Line2D([], [], color=GREY, marker=marks[k % len(marks)], ms=4.5, lw=0, label=f"B = {digits.short(B)}")
            for k, B in enumerate(batches)
        ]
        axes.legend(handles=handles, loc="lower left", ncols=2, handlelength=1.0)
    axes.set_xscale("log")
    log_axis(axes.xaxis, np.geomspace(min(ratio), max(ratio), 9), most=NARROW)
    log_y(axes, [min(ends) / 1.6, *ends], digits.plain, DENSE)  # with room for the legend
    axes.set_xlim(*margins(ratio, 1.5))
    axes.set_xlabel("D/N, tokens per parameter")
    axes.set_ylabel("Best rate over the law's")
    axes.set_title("Beside the law")


def _bowls(axes: Axes, bowls: Sequence[Bowl], shades: Shades, runs: Table | None = None) -> None:
    shown = []
    for b in bowls:
        colour = shades(b.params)
        rate, loss = np.array(b.tried), np.array(b.losses)
        inside = np.log(loss) < np.log(np.nanmin(loss)) + HIGHEST
        (dots,) = axes.plot(rate[inside], loss[inside], "o", color=colour, ms=3.6, mew=0, alpha=0.8)
        place = {"params": b.params, "tokens": b.tokens, "learning_rate": rate[inside], "loss": loss[inside]}
        of_runs(dots, _named(runs, **place))
        lost = rate[~np.isfinite(loss)]
        axes.plot(lost, np.full(len(lost), np.nanmax(loss[inside])), "x", color=colour, ms=5, mew=1.2)
        shown.append(loss[inside])
        if np.isfinite(b.curvature):
            line = np.geomspace(*b.window, 60)
            u = np.log(line / b.best)
            axes.plot(line, b.loss * np.exp(b.curvature * u**2 + b.skew * u**3), color=colour, lw=1.1)
        else:
            axes.plot(rate[inside], loss[inside], color=colour, lw=0.8, dashes=(2, 2))
        if b.interior:
            axes.plot([b.low, b.high], [b.loss] * 2, color=colour, lw=2.6, alpha=0.45, solid_capstyle="butt")
        full = colour if b.interior else "white"
        axes.plot(b.best, b.loss, "D", color=full, ms=5.5, mec=colour if not b.interior else "white", mew=1.0, zorder=5)
    rates = [rate for b in bowls for rate in b.tried]
    log_axes(axes, "learning_rate", rates, np.concatenate(shown), most=NARROW)


def _best_rates(
    axes: Axes, bowls: Sequence[Bowl], fit: RateFit | None, lengths: Sequence[float], shades: Shades
) -> None:
    """Best rate against N: a mark per length, a line of the law for each."""
    N = np.array([b.params for b in bowls])
    marks = ("o", "s", "^")
    line = np.geomspace(N.min() / 1.4, N.max() * 1.4, 30)
    ends = [b.best for b in bowls]
    for k, D in enumerate(lengths):
        apart = 1.06 ** (k - (len(lengths) - 1) / 2)  # so that bars of several lengths stand beside one another
        for b in (b for b in bowls if b.tokens == D):
            colour = shades(b.params)
            if b.interior:
                axes.plot([b.params * apart] * 2, [b.low, b.high], color=colour, lw=1.2)
                ends += [b.low, b.high]
            face = colour if b.interior else "white"
            axes.plot(b.params * apart, b.best, marks[k], color=colour, mfc=face, ms=5, mew=1.0, zorder=5)
        if fit:
            dashes = ((), (4, 2), (1.5, 1.5))[k]
            B = bowls[0].batch_tokens if bowls[0].batch_tokens > 0 else None
            law = [fit.law(size, D, B) for size in line.tolist()]
            axes.plot(line, law, color=INK, lw=1.0, dashes=dashes or (None, None), zorder=3)
    handles = [
        Line2D([], [], color=GREY, marker=marks[k], ms=4.5, lw=1.0 if fit else 0,
               dashes=((), (4, 2), (1.5, 1.5))[k] or (None, None), label=f"D = {digits.short(D)}")
        for k, D in enumerate(lengths)
    ]  # fmt: skip
    if not all(b.interior for b in bowls):
        handles.append(Line2D([], [], color=GREY, marker="o", mfc="white", ms=4.5, lw=0, label="not bounded"))
    axes.legend(handles=handles, loc="lower left", handlelength=2.2)
    log_axes(axes, "params", N, ends, most=NARROW)
    log_y(axes, ends, WRITTEN["learning_rate"], DENSE)
    axes.set_xlim(*margins(N, 1.5))
    axes.set_ylabel("Best peak learning rate")
    axes.set_title("Best rates")


def transfer(found: Transfer) -> Figure:
    """Loss against the learning rate, a panel per parametrisation and direction, a bowl per width or depth."""
    with rc_context(STYLE):
        n = len(found.shifts)
        figure, grid = panels(n, height=3.6, rows=-(-n // 2), legend=False)
        for axes, shift in zip(grid, found.shifts, strict=True):
            N = [b.params for b in shift.bowls]
            shades = Shades(min(N), max(N))
            _bowls(axes, shift.bowls, shades)
            axes.plot([b.best for b in shift.bowls], [b.loss for b in shift.bowls], color=GREY, lw=0.8, zorder=1)
            axes.set_ylabel(LOSS)
            axes.set_title(f"{shift.parametrization}, by {shift.along}")
            handles = [
                Line2D([], [], color=shades(b.params), lw=0, marker="o", ms=5, label=str(size))
                for size, b in zip(shift.sizes, shift.bowls, strict=True)
            ]
            above = {"loc": "lower right", "bbox_to_anchor": (1, 1), "borderaxespad": 0.2}
            axes.legend(handles=handles, ncols=len(handles), handletextpad=0.1, columnspacing=0.8, **above)
        return figure


def coordinates(found: Mapping[str, Any]) -> Figure:
    """How far activations moved against the width, a panel per parametrisation and a line per place in the model.

    Solid after the last update, dashed after the first.

    Args:
        found: a coordinate check as plain values, as `scaling.coordinates.Check.to_dict` gives them.
    """
    checked = found["parametrizations"]
    with rc_context(STYLE):
        figure, grid = panels(len(checked), height=3.6, legend=False)
        every = np.concatenate([np.ravel(np.array(one["distance"])[[0, -1]]) for one in checked])
        for axes, one in zip(grid, checked, strict=True):
            widths, distance = np.array(one["widths"]), np.array(one["distance"])  # w, s w p
            shades = Shades(1, len(one["places"]))
            for k, place in enumerate(one["places"]):
                colour = shades(k + 1)
                slope = f"{one['slopes'][-1][k]:+.2f}".replace("-", "−")
                axes.plot(widths, distance[-1, :, k], "o-", color=colour, ms=4, lw=1.1, label=f"{place}, slope {slope}")
                axes.plot(widths, distance[0, :, k], color=colour, lw=0.9, dashes=(3, 2))
            axes.set_xscale("log")
            log_axis(axes.xaxis, widths)
            log_y(axes, [*every, LEGEND * every.max()], digits.plain)
            axes.set_xlabel("d_model")
            axes.set_title(one["parametrization"])
            ends = (("after the last update", (None, None)), ("after the first", (3, 2)))
            handles = [Line2D([], [], color=GREY, lw=0.9, dashes=dashes, label=label) for label, dashes in ends]
            axes.legend(handles=[*axes.get_legend_handles_labels()[0], *handles], loc="upper left", ncols=2)
        grid[0].set_ylabel("Mean |h_t − h_0|")
        return figure


def isoflop(
    profiles: Sequence[Profile], found: Allocation | None, *, shades: Shades | None = None, runs: Table | None = None
) -> Figure:
    """Loss against N, a profile per budget with its minimum, and the best size against the budget with its line.

    A curve is the parabola through the sizes that it sees, where the minima are those of parabolas.

    Args:
        profiles: of `analysis.isoflop.profiles`.
        found: the allocation from them; None draws the profiles alone.
        runs: names the dots that are single runs.
    """
    budgets = np.array([p.flops for p in profiles])
    shades = shades or Shades(float(budgets.min()), float(budgets.max()))
    with rc_context(STYLE):
        figure, grid = panels(2 if found else 1, height=TALL)
        left, N, L = grid[0], [], []
        for p in profiles:
            colour = shades(p.flops)
            size, loss = np.exp(p.x), np.exp(p.y)
            N += size.tolist()
            L += loss.tolist()
            bent = found is not None and found.method.endswith("parabola") and len(p.x) >= 3
            (dots,) = left.plot(size, loss, "o" if bent else "o-", color=colour, ms=4, lw=0.9, mec="white", mew=0.4)
            of_runs(dots, _named(runs, params=size, loss=loss))
            if bent:
                (centre,), ((c0,), (c1,), (c2,)), near = parabolas(p.x, p.y[:, None])
                x = np.linspace(p.x[near[:, 0]].min(), p.x[near[:, 0]].max(), 60)
                left.plot(np.exp(x), np.exp(c0 + c1 * (x - centre) + c2 * (x - centre) ** 2), color=colour, lw=1.1)
        if found:
            for m in found.minima:
                if m.interior:
                    left.plot(m.params, m.loss, "D", color=shades(m.flops), ms=6.5, mec="white", mew=1.0, zorder=5)
            right = grid[1]
            C = np.geomspace(budgets.min() / 1.6, budgets.max() * 1.6, 60)
            low, high = found.params_band(C)
            right.fill_between(C, low, high, color=INK, alpha=0.13, lw=0)
            right.plot(C, found.params(C), color=INK, lw=1.2)
            for p in found.points:
                right.plot(p.flops, p.params, "D", color=shades(float(p.flops)), ms=6.5, mec="white", mew=1.0, zorder=5)
            best = [p.params for p in found.points]
            log_axes(right, "flops", budgets, best)
            log_y(right, [*best, *low, *high], digits.short)
            right.set_xlim(C[0], C[-1])
            right.set_ylabel("Best N, parameters")
            right.set_title("Best size at each budget")
        log_axes(left, "params", N, L)
        left.set_ylabel(LOSS)
        left.set_title("Profiles at equal compute")
        size_legend(figure, budgets, shades, title="C, FLOP", write=digits.ten)
        return figure


def cooldowns(found: Cooldowns, curves: Table, *, shades: Shades | None = None) -> Figure:
    """Trunks with their branches along the tokens, and what each branch ends above a run decayed over its own length.

    Args:
        curves: losses along training of at least the branches: run, tokens, loss.
    """
    sizes = np.array([t.params for t in found.trunks])
    shades = shades or Shades(float(sizes.min()), float(sizes.max()))
    compared = bool(len(found.changes))
    with rc_context(STYLE):
        figure, grid = panels(2 if compared else 1, height=TALL)
        left, shown, D = grid[0], [], []
        for trunk in found.trunks:
            colour = shades(trunk.params)
            for branch in trunk.branches:
                rows = np.flatnonzero((curves["run"] == branch.run) & np.isfinite(curves["loss"]))
                (curve,) = left.plot(curves["tokens"][rows], curves["loss"][rows], color=colour, lw=1.0)
                (end,) = left.plot(branch.tokens, branch.loss, "o", color=colour, ms=5, mec="white", mew=0.6, zorder=5)
                of_runs(curve, [branch.run])
                of_runs(end, [branch.run])
                if np.isfinite(branch.other):
                    left.plot(branch.tokens, branch.other, "_", color=colour, ms=11, mew=1.8, zorder=6)
                shown += [*curves["loss"][rows], branch.loss]
                D.append(branch.tokens)
        first = min(D) / 8
        near = (curves["tokens"] >= first) & np.isin(curves["run"], [b.run for t in found.trunks for b in t.branches])
        log_axes(left, "tokens", [first, *D], curves["loss"][near])
        left.set_xlim(first, max(D) * 1.15)
        left.set_ylabel(LOSS)
        left.set_title("Trunks and branches")
        handles = [Line2D([], [], color=GREY, marker="o", ms=5, lw=1.0, label="trunk, and end of a branch")]
        if compared:
            handles.append(
                Line2D([], [], color=GREY, marker="_", ms=11, mew=1.8, lw=0, label="decayed over its own length")
            )
            right = grid[1]
            right.axhline(0, color=INK, lw=0.8)
            for trunk in found.trunks:
                x = [b.tokens for b in trunk.branches]
                y = [100 * b.change for b in trunk.branches]
                right.plot(x, y, "o-", color=shades(trunk.params), ms=5, lw=0.9, mec="white", mew=0.6)
            right.set_xscale("log")
            log_axis(right.xaxis, D)
            right.set_xlim(*margins(D, 1.3))
            percent_axis(right, 100 * float(np.max(np.abs(found.changes))))
            right.set_xlabel(LABELS["tokens"])
            right.set_title("Branch above a run decayed over its own length")
        left.legend(handles=handles, loc="lower left")
        size_legend(figure, sizes, shades)
        return figure


def shapes(found: Shapes) -> Figure:
    """Loss above the base's in percent, a panel per ratio; what seeds alone explain is shaded."""
    with rc_context(STYLE):
        figure, grid = panels(len(found.panels), height=3.6, legend=False)
        changes = [100 * c for panel in found.panels for c in panel.change]
        for axes, panel in zip(grid, found.panels, strict=True):
            x, y = np.array(panel.ratio), 100 * np.array(panel.change)
            if found.degrees:
                half = 100 * np.array([found.half(seeds) for seeds in panel.seeds])
                axes.fill_between(x, -half, half, color=FAINT, lw=0, zorder=0, step=None)
            axes.axhline(0, color=GREY, lw=0.8)
            axes.plot(x, y, "o-", color=INK, ms=5, lw=1.0, mec="white", mew=0.6)
            base = np.argmin(np.abs(y))
            axes.plot(x[base], y[base], "D", color="white", mec=INK, mew=1.2, ms=6.5, zorder=5)
            axes.set_xscale("log")
            log_axis(axes.xaxis, x, digits.plain)
            axes.set_xlim(*margins(x, 1.25))
            percent_axis(axes, max(map(abs, changes)))
            axes.set_ylim(min(min(changes) * 1.15, -0.15 * max(changes)), max(changes) * 1.12)
            axes.set_xlabel(panel.what)
        grid[0].set_title("Loss above the base shape's")
        return figure
