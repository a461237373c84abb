"""Figure 8: the loss on other texts falls with N as that on the training text does, and depends on that alone."""

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import digits, reference
from analysis.confidence import mean_interval
from analysis.fit import fit
from analysis.fit.estimate import Fit
from analysis.page.canvas import GREY, LOSS, STYLE, fitted_line, log_axis, log_y, panels
from analysis.papers.claim import Claim, Undecided
from analysis.papers.drawing import groups_legend, logarithmic, papers_slope, symbol
from analysis.papers.drawn import Drawn
from analysis.papers.evidence import in_context
from analysis.papers.kaplan import runs
from analysis.papers.kaplan.claims import OF_LOSS, Kaplan
from analysis.papers.kaplan.context import left_out, marks
from analysis.papers.kaplan.fits import UNSETTLED
from analysis.papers.kaplan.trend import Trend, between, trend
from analysis.papers.known import measured
from analysis.table import Table

PARALLEL = "the paper shows parallel lines and prints no exponent of these"
PREFIX = "loss_on_"
LEAST = 4  # sizes
NEAR = 0.01  # of the loss: how near to the curve dots must lie on average to say that they lie on it


def test_sets(table: Table) -> list[str]:
    """The columns of losses on other texts that every run has.

    Raises:
        Undecided: there is none.
    """
    names = [name for name in table if name.startswith(PREFIX) and name != f"{PREFIX}train"]
    found = [name for name in names if np.isfinite(table[name]).all()]
    if not found:
        raise Undecided("no finished run was measured on other texts")
    return found


def short_name(column: str) -> str:
    """What a text is called: the last part of its source without wildcards, less its ending; "english" of
    "text:../english/validation*".
    """
    parts = [part for part in PurePath(column.removeprefix(PREFIX).rpartition(":")[2]).parts if "*" not in part]
    return (parts[-1] if parts else column.removeprefix(PREFIX)).split(".")[0]


def figure_8(evidence: Kaplan, drawn: Drawn) -> None:
    """Left: loss against N on the training text and on the others, each with its power law. Right: loss on the others
    against that on the training text, a point per run at its end, dashed along the training of the largest.
    """
    every = runs.deep(evidence.steps_runs)
    table = in_context(every)
    sets = test_sets(table)
    drawn.points(on_texts(table, sets, "run", "params", "loss"))
    if (sizes := len(np.unique(table["params"]))) < LEAST:
        raise Undecided(f"{sizes} sizes of two layers or more; wanted {LEAST}")
    laws = {name: fit("kaplan-n", table, target=name, loss="squared", waived=UNSETTLED) for name in ("loss", *sets)}
    path = _training(evidence, table, sets)
    drawn.figure = _draw(every, table, laws, path)
    if doubtful := [short_name(name) for name, law in laws.items() if not law.sound]:
        raise Undecided(f"the power law on {', '.join(doubtful)} is doubtful")
    drawn.say(_slopes(laws), left_out(every), *by_verdict(_offset(name, table, _ratio(table, name)) for name in sets))
    if path is None:
        drawn.say("Right panel: the curves hold no other texts.")
    else:
        drawn.say(*by_verdict(_dots(table, path, name) for name in sets))
    for name in sets:
        claim = Claim(f"alpha_N on {short_name(name)}", "Fig. 8", None, enough=OF_LOSS, note=PARALLEL)
        found = measured(claim, lambda name=name: laws[name], "alpha_N")
        drawn.show(evidence.no_narrower(found, table["params"]))


def on_texts(table: Table, sets: Sequence[str], *names: str) -> Iterator[dict[str, Any]]:
    """The rows of a table, these columns and the losses on other texts alone."""
    for i in range(len(table)):
        row = {name: table[name][i] for name in names}
        yield row | {PREFIX + short_name(name): table[name][i] for name in sets}


def _ratio(table: Table, name: str) -> Trend:
    return trend(np.log(table["params"]), np.log(table[name] / table["loss"]))


def _slopes(laws: dict[str, Fit]) -> str:
    def said(law: Fit) -> str:
        value, ends = digits.constant(law.constants["alpha_N"], *law.intervals["alpha_N"])
        return f"{value} ({ends})"

    others = ", ".join(f"{short_name(name)} {said(law)}" for name, law in laws.items() if name != "loss")
    return f"Exponents of N at equal tokens: training text {said(laws['loss'])}; {others}."


def by_verdict(said: Iterable[tuple[str, str]]) -> Iterator[str]:
    """A sentence for each verdict with all that it is true of, from pairs of what was measured and the verdict."""
    grouped: dict[str, list[str]] = {}
    for what, verdict in said:
        grouped.setdefault(verdict, []).append(what)
    for verdict, each in grouped.items():
        yield f"{verdict}: {'; '.join(each)}."


def _offset(name: str, table: Table, ratio: Trend) -> tuple[str, str]:
    """Whether the lines of two texts are parallel, from the ratio of their losses: the noise of a run drops out."""
    decade = math.log(10)
    low, high = (math.exp(np.log(table[name] / table["loss"])[table["params"] == N].mean()) - 1
                 for N in (table["params"].min(), table["params"].max()))  # fmt: skip
    change, *ends = (digits.percent(v * decade, sign=True) for v in (ratio.slope, ratio.low, ratio.high))
    verdict = (
        "The lines are parallel to that of the training text"
        if ratio.flat
        else "The distance from the line of the training text grows with N, as it does slowly in the paper"
        if ratio.slope > 0
        else "The distance from the line of the training text shrinks with N, while it grows slowly in the paper"
    )
    measured = f"{digits.percent(low, sign=True)}, {digits.percent(high, sign=True)}, {change} ({' to '.join(ends)})"
    return (
        f"{short_name(name)} {measured}",
        f"{verdict} (distance at the smallest size, at the largest, change per decade)",
    )


def _training(evidence: Kaplan, table: Table, sets: Sequence[str]) -> Table | None:
    """The learning curve of the largest model, where it holds the other texts."""
    largest = table.where(table["params"] == table["params"].max(), "smaller")
    try:
        curves = evidence.curves_of(largest.where(np.arange(len(largest)) == 0, "another seed"))
    except Undecided:
        return None
    if not all(curves.has(name) for name in sets):
        return None
    there = np.isfinite(curves["loss"]) & np.all([np.isfinite(curves[name]) for name in sets], axis=0)
    return curves.where(there, "not measured") if there.sum() > 1 else None


def _dots(table: Table, path: Table, name: str) -> tuple[str, str]:
    """How far the ends of smaller models lie from the training of the largest, at equal loss on the training text."""
    smaller = table["params"] < table["params"].max()
    off = np.log(table[name][smaller] / between(path["loss"], path[name], table["loss"][smaller]))
    off = off[np.isfinite(off)]
    if len(off) < LEAST:
        return f"{short_name(name)} {len(off)}", "Too few ends of smaller models lie within the curve of the largest"
    interval, worst = mean_interval(off), float(np.max(np.abs(off)))
    mean, low, high = (digits.percent(v, sign=True) for v in interval)
    near = max(map(abs, interval[1:])) < NEAR and worst < 2 * NEAR
    verdict = (
        "At equal loss on the training text the ends of smaller models lie on the curve of the largest (within "
        f"{digits.percent(NEAR)} on average, {digits.percent(2 * NEAR)} at most), as in the paper: transfer depends on "
        "that loss and hardly on how it was reached. Distance of the ends from the curve"
        if near
        else "At equal loss on the training text the ends of smaller models lie off the curve of the largest, unlike "
        "in the paper. Distance of the ends from the curve"
    )
    return f"{short_name(name)} {mean} ({low} to {high}, at most {digits.percent(worst)})", verdict


def _draw(every: Table, table: Table, laws: dict[str, Fit], path: Table | None) -> Figure:
    with rc_context(STYLE):
        figure, (left, right) = panels(2, legend=False)
        entries = []
        for k, (name, law) in enumerate(laws.items()):
            x = table["params"]
            line = np.geomspace(x.min() / 1.2, x.max() * 1.2, 60)
            fitted_line(left, line, law, [line], symbol(k)["color"])
            marks(left, every, k, y=name)
            entries.append(("training text" if name == "loss" else short_name(name), symbol(k, lw=1.0)))
        losses = np.concatenate([every[name] for name in laws])
        logarithmic(left, every["params"], "params", losses)
        left.set_ylim(top=losses.max() * (losses.max() / losses.min()) ** 0.3)
        papers_slope(left, table["params"], table["loss"], -reference.value("alpha_N"))
        left.set_ylabel(LOSS)
        left.set_title("Against N")
        groups_legend(left, entries, "upper right", ncols=2)
        _draw_right(right, table, list(laws)[1:], path)
        return figure


def _draw_right(axes: Axes, table: Table, sets: list[str], path: Table | None) -> None:
    shown = [table[name] for name in sets]
    x = table["loss"]
    for k, name in enumerate(sets, 1):
        axes.plot(x, table[name], **symbol(k, lw=0))
        if path is not None:
            near = path["loss"] < 1.15 * x.max()
            axes.plot(path["loss"][near], path[name][near], color=symbol(k)["color"], lw=1.0, dashes=(4, 2))
            shown.append(path[name][near])
    seen = x if path is None else np.concatenate([x, path["loss"][path["loss"] < 1.15 * x.max()]])
    axes.set_xscale("log")
    log_y(axes, np.concatenate(shown), digits.plain)
    log_axis(axes.xaxis, np.geomspace(seen.min(), seen.max(), 9), digits.plain)
    axes.set_xlim(seen.max() * 1.03, seen.min() / 1.03)
    axes.set_xlabel("Loss on the training text, nats per token")
    axes.set_ylabel("Loss on the other text")
    axes.set_title("Against the loss on the training text")
    entries = [(short_name(name), symbol(k, lw=1.0)) for k, name in enumerate(sets, 1)]
    entries.append(("ends of the sizes", symbol(0, color=GREY, lw=0)))
    if path is not None:
        style = {"color": GREY, "lw": 1.0, "dashes": (4, 2)}
        entries.append((f"N = {digits.short(table['params'].max())} in training", style))
    low, high = axes.get_ylim()
    axes.set_ylim(low / (high / low) ** 0.25, high)
    groups_legend(axes, entries, "lower left", ncols=2)
