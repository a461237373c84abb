"""Figures 10 and 18: the critical batch against the loss, and the trade of steps for tokens that it comes from."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from analysis import digits, reference
from analysis.batch_size import Critical, critical, steps_to_loss
from analysis.confidence import LEVEL
from analysis.fit.estimate import Fit
from analysis.noise_scale import noise_scale_over_loss
from analysis.page.canvas import GREY, INK, MAP, STYLE, Shades, log_axis, log_y, margins, panels, size_legend, some
from analysis.papers.claim import Undecided
from analysis.papers.drawing import groups_legend, named, papers_points, papers_slope
from analysis.papers.drawn import Drawn
from analysis.papers.kaplan.claims import Kaplan
from analysis.papers.kaplan.left_out import Left
from analysis.papers.kaplan.trend import mean_interval
from analysis.table import Table
from scaling.errors import InputError

BINS = 8  # of ln loss, for the noise scale
APART = 0.05  # of alpha_B: by how much each size alone must differ from all together for it to be said
FITS_WELL = 0.1  # rms distance in ln S from a hyperbola that is still a hyperbola


# --- figure 10


def figure_10(evidence: Kaplan, drawn: Drawn) -> None:
    """B_crit of batch scans at fixed loss, its law, and the gradient noise scale along the same runs."""
    law, found, curves = evidence.batch, evidence.tradeoffs, evidence.batch_curves
    drawn.show(evidence.alpha_B, evidence.B_star)
    noise = _noise(curves)
    drawn.points(_rows10(found, noise))
    left = None
    with drawn.part():
        left = evidence.batches_left_out
    drawn.figure = _draw10(found, law.fit, noise, left)
    if left is None or not evidence.alpha_B.decided:
        raise Undecided(evidence.alpha_B.remark)
    alpha = law.fit.constants["alpha_B"]
    drawn.say(
        _law(alpha, left, found),
        *_sizes(found, law.fit),
        *_alone(found, alpha),
        *_agreement(law.fit, noise, found, left),
        *_edges(curves, found),
        *(f"Note: {note}." for note in found.notes if "not independent" not in note),
    )


def _noise(curves: Table) -> list[tuple[float, dict[str, np.ndarray]]]:
    """The simple noise scale over the loss, of each size: columns loss, batch_crit, low, high."""
    if not curves.has("noise_trace"):
        return []
    measured = np.isfinite(curves["noise_trace"]) & np.isfinite(curves["grad_square"])
    found = []
    for N in np.unique(curves["params"]):
        own = curves.where(measured & (curves["params"] == N), "another size, or not measured")
        if len(own) < 2:
            continue
        try:
            found.append((float(N), noise_scale_over_loss(own["loss"], own["noise_trace"], own["grad_square"], BINS)))
        except InputError:
            continue  # no bin of this size has a gradient above its noise: it has no dots
    return found


def _law(alpha: float, left: Left, found: Critical) -> str:
    value, ends = digits.constant(alpha, *left.alpha_B)
    theirs = reference.value("alpha_B")
    inside = left.alpha_B[0] <= theirs <= left.alpha_B[1]
    half = 2**-alpha
    return (
        f"B_crit = B_* / L^(1/alpha_B) with alpha_B = {value} ({ends}, {digits.percent(LEVEL)}, jackknife over "
        f"{len(left.without)} batch sizes), over losses from {found.table['loss'].min():.2f} to "
        f"{found.table['loss'].max():.2f}; the paper: {theirs:g}. It doubles when the loss falls by "
        f"{digits.percent(1 - half)} (paper: about 13 %). "
        + ("The two agree within the interval." if inside else
           "The two differ: our losses span a narrow range above the floor of small models, and a vocabulary of "
           "another size puts the same text at another loss.")
    )  # fmt: skip


def _sizes(found: Critical, law: Fit) -> Iterator[str]:
    """Whether the sizes lie on one law."""
    table = found.table
    sizes = np.unique(table["params"]) if table.has("params") else np.array([])
    if len(sizes) < 2:
        yield "One size alone gave critical batches: whether B_crit depends on the loss alone cannot be told."
        return
    off = np.log(table["batch_crit"] / law.band(table["loss"]).value)
    said = ", ".join(
        f"{math.exp(float(np.median(off[table['params'] == N]))):.2f} times the law at N = {digits.short(N)}"
        for N in sizes
    )
    yield (
        f"The points of each size lie at {said} in the median; single points scatter by a factor "
        f"{math.exp(off.std()):.2f}. The paper saw one law for 3M and 85M parameters, with points off it by up "
        "to a factor of 2."
    )


def _alone(found: Critical, alpha: float) -> Iterator[str]:
    """What each size by itself would make of alpha_B, where all lie well on one side of what they give together."""
    table = found.table
    sizes = np.unique(table["params"]) if table.has("params") else np.array([])
    alone = {}
    for N in sizes:
        own = table["params"] == N
        if np.unique(table["loss"][own]).size > 2:
            slope = np.polyfit(np.log(table["loss"][own]), np.log(table["batch_crit"][own]), 1)[0]
            alone[N] = -1 / slope
    low, high = min(alone.values(), default=alpha), max(alone.values(), default=alpha)
    if len(alone) > 1 and (high < (1 - APART) * alpha or low > (1 + APART) * alpha):
        said = " and ".join(f"N = {digits.short(N)} gives {value:.3f}" for N, value in alone.items())
        yield (
            f"By itself {said}, {'less' if high < alpha else 'more'} than together: the sizes lie at different "
            "heights, which one law for all of them takes for slope. The interval does not include this effect."
        )


def _agreement(
    law: Fit, noise: list[tuple[float, dict[str, np.ndarray]]], found: Critical, left: Left
) -> Iterator[str]:
    """The noise scale against the critical batch of the scans, where both are known."""
    if not noise:
        yield "The gradient noise was not measured along these runs: the noise scale is not compared."
        return
    low, high = found.table["loss"].min(), found.table["loss"].max()
    ratios, meets, count = [], 0, 0
    for _, dots in noise:
        inside = (dots["loss"] >= low / 1.05) & (dots["loss"] <= high * 1.05)
        said = law.band(dots["loss"])
        ratios += np.log(dots["batch_crit"] / said.value)[inside].tolist()
        meets += int(((dots["low"] <= said.high) & (dots["high"] >= said.low) & inside).sum())
        count += int(inside.sum())
    if not count:
        yield "No noise scale was measured at the losses of the scans."
        return
    mean, below, above = mean_interval(ratios)
    own = left.of_ln_B_crit(math.sqrt(low * high))
    below, above = (math.exp(mean + math.hypot(end - mean, own) * sign) for end, sign in ((below, -1), (above, 1)))
    mean = math.exp(mean)
    text = (
        f"The gradient noise scale tr(Sigma) / |G|^2 is {digits.plain(mean)} times the critical batch of the scans "
        f"at the same losses ({digits.plain(below)} to {digits.plain(above)} over {count} dots, the uncertainty of the "
        f"scans included); the intervals of {meets} of {count} dots meet that of the law"
    )
    if below <= 1 <= above:
        yield text + ": the two agree within their intervals."
    else:
        yield text + (
            ". The two measure different things: the noise scale takes the curvature as equal in all directions and "
            "the gradient as it is, while Adam rescales it and the scans ask how many updates a whole training needs. "
            "The paper's dots lie about three times either way of its law."
        )


def _edges(curves: Table, found: Critical) -> Iterator[str]:
    """Batches whose fastest learning rate is an end of what was tried: tuning might lower their steps."""
    low: list[str] = []
    high: list[str] = []
    for N in np.unique(curves["params"]):
        own = curves.where(curves["params"] == N, "another size")
        losses = found.table["loss"][found.table["params"] == N] if found.table.has("params") else found.table["loss"]
        if not len(losses):
            continue
        ends: dict[int, list[str]] = {-1: [], 0: [], 1: []}
        for B in np.unique(own["batch_tokens"]):
            end = _end(own.where(own["batch_tokens"] == B, "another batch"), losses)
            if end is not None:
                ends[end].append(digits.short(B))
        tried = sum(map(len, ends.values()))
        for end, names in ((-1, low), (1, high)):
            if ends[end]:
                names.append(
                    f"{len(ends[end])} of {tried} batches at N = {digits.short(N)} ({', '.join(ends[end])} tokens)"
                )
    for end, names in (("lowest", low), ("highest", high)):
        if names:
            yield (
                f"The {end} learning rate tried is the fastest for {' and '.join(names)}: a "
                f"{'lower' if end == 'lowest' else 'higher'} one might need fewer steps, and B_crit is as uncertain."
            )


def _end(curves: Table, losses: np.ndarray) -> int | None:
    """Whether the learning rate that reached most losses first is the lowest tried (-1), the highest (1) or neither."""
    rates = np.unique(curves["learning_rate"])
    if len(rates) < 2:
        return None
    steps = [steps_to_loss(curves.where(curves["learning_rate"] == r, "another rate"), losses)[1][:, 0] for r in rates]
    reached = np.isfinite(steps).any(0)
    if not reached.any():
        return None
    best = float(np.median(np.nanargmin(np.array(steps)[:, reached], axis=0)))
    return -1 if best == 0 else 1 if best == len(rates) - 1 else 0


def _draw10(found: Critical, law: Fit, noise: list[tuple[float, dict[str, np.ndarray]]], left: Left | None) -> Figure:
    table = found.table
    N = table["params"] if table.has("params") else np.ones(len(table))
    sizes = np.unique(np.concatenate([N, [size for size, _ in noise]]))
    shades = Shades(float(sizes[0]), float(sizes[-1]))
    with rc_context(STYLE):
        figure, (axes,) = panels(1, height=4.6)
        losses_seen, batch = [table["loss"]], [table["batch_crit"]]
        for size, dots in noise:
            bars = np.array([dots["batch_crit"] - dots["low"], np.minimum(dots["high"], 1e12) - dots["batch_crit"]])
            axes.errorbar(dots["loss"], dots["batch_crit"], yerr=bars, fmt="o", color=shades(size), mfc="white", ms=4.5,
                          mew=1.0, elinewidth=0.7, alpha=0.8, zorder=3)  # fmt: skip
            losses_seen.append(dots["loss"])
            batch.append(dots["batch_crit"])
        for size in np.unique(N):
            rows = N == size
            bars = np.array([(table["batch_crit"] - table["low"])[rows], (table["high"] - table["batch_crit"])[rows]])
            axes.errorbar(table["loss"][rows], table["batch_crit"][rows], yerr=np.nan_to_num(bars), fmt="s",
                          color=shades(size), ms=5, mec="white", mew=0.5, elinewidth=0.9, zorder=4)  # fmt: skip
        losses, batches = np.concatenate(losses_seen), np.concatenate(batch)
        line = np.geomspace(table["loss"].min() / 1.03, table["loss"].max() * 1.03, 50)
        if left is not None:
            half = np.exp([left.of_ln_B_crit(loss) for loss in line])
            axes.fill_between(
                line, law.band(line).value / half, law.band(line).value * half, color=GREY, alpha=0.16, lw=0
            )
        axes.plot(line, law.band(line).value, color=INK, lw=1.2, zorder=5, label="B_crit(L), our fit")
        axes.set_xscale("log")
        log_y(axes, batches, digits.short)
        low, high = axes.get_ylim()
        axes.set_ylim(low / 1.5, high * (high / low) ** 0.35)
        log_axis(axes.xaxis, np.geomspace(losses.min(), losses.max(), 9), digits.plain)
        axes.set_xlim(losses.max() * 1.03, losses.min() / 1.03)
        for name in ("fig10_Bcrit_3M", "fig10_Bcrit_85M"):
            theirs = reference.points(name)
            papers_points(axes, theirs[:, 0], theirs[:, 1], label="paper's, 3M and 85M" if "_3M" in name else "_")
        papers_slope(axes, table["loss"], table["batch_crit"], -1 / reference.value("alpha_B"))
        axes.set_xlabel("Held-out loss, nats per token")
        axes.set_ylabel("Critical batch, tokens")
        axes.set_title("Critical batch")
        entries = [
            ("batch scans", {"color": GREY, "marker": "s", "ms": 5, "lw": 0}),
            ("gradient noise scale", {"color": GREY, "marker": "o", "mfc": "white", "ms": 4.5, "lw": 0}),
        ]
        groups_legend(axes, entries, "upper left")
        if table.has("params"):
            size_legend(figure, sizes, shades)
        return figure


def _rows10(found: Critical, noise: list[tuple[float, dict[str, np.ndarray]]]) -> list[dict[str, Any]]:
    names = ("params", "loss", "batch_crit", "low", "high")
    scans = named(found.table, names)
    rows: list[dict[str, Any]] = [{"from": "scan"} | row for row in scans]
    for N, dots in noise:
        rows += [
            {"from": "noise scale", "params": N} | {name: float(dots[name][i]) for name in names[1:]}
            for i in range(len(dots["loss"]))
        ]
    return rows


# --- figure 18


def figure_18(evidence: Kaplan, drawn: Drawn) -> None:
    """Tokens against steps that each batch needs for a loss, with the hyperbola (5.1), a panel per size."""
    curves = evidence.batch_curves
    found: dict[float, Critical] = {}
    for N in np.unique(curves["params"]):
        with drawn.part(f"N = {digits.short(N)}"):
            found[float(N)] = critical(curves.where(curves["params"] == N, "another size"))
    if not found:
        return
    drawn.figure = _draw18(found)
    drawn.points(_rows18(found))
    worst = 0.0
    for N, one in found.items():
        off = np.concatenate([np.log(t.steps / t.curve.steps(t.batch)) for t in one.tradeoffs])
        rms = float(np.sqrt(np.mean(off**2)))
        worst = max(worst, rms)
        inside = [t for t in one.tradeoffs if not t.warnings]
        first, last = inside[0], inside[-1]
        drawn.say(
            f"N = {digits.short(N)}: {len(one.tradeoffs)} losses from {one.tradeoffs[0].loss:.2f} to "
            f"{one.tradeoffs[-1].loss:.2f}, each reached by {min(len(t.batch) for t in one.tradeoffs)} batch sizes or "
            f"more, lie off their hyperbolas by {digits.percent(rms)} rms in steps; B_crit goes from "
            f"{digits.short(first.curve.B_crit)} tokens at {first.loss:.2f} to {digits.short(last.curve.B_crit)} at "
            f"{last.loss:.2f}."
        )
    if worst < FITS_WELL:
        drawn.say("As in the paper, steps and tokens trade along (S/S_min - 1)(E/E_min - 1) = 1, eq. 5.1.")
    else:
        drawn.say(
            "Some batches lie well off their hyperbola: their learning rates were tried in coarse steps, or the "
            "warm-up, which is a share of the run, is a large part of the few updates that an early loss needs."
        )


def _draw18(found: dict[float, Critical]) -> Figure:
    losses = [t.loss for one in found.values() for t in one.tradeoffs]
    low, high = min(losses), max(losses)

    def colour(loss: float) -> tuple[float, float, float, float]:
        return matplotlib.colormaps[MAP](0.86 * math.log(loss / low) / max(math.log(high / low), 1e-9))

    with rc_context(STYLE):
        figure, grid = panels(len(found), legend=False)
        for axes, (N, one) in zip(grid, found.items(), strict=True):
            S, E = [], []
            for t in one.tradeoffs:
                axes.plot(t.steps, t.steps * t.batch, "o", color=colour(t.loss), ms=4.2, mec="white", mew=0.5)
                B = np.geomspace(t.batch[0] / 1.5, t.batch[-1] * 1.5, 60)
                axes.plot(t.curve.steps(B), t.curve.examples(B), color=colour(t.loss), lw=1.0)
                S += [*t.steps, *t.curve.steps(B)]
                E += [*(t.steps * t.batch), *t.curve.examples(B)]
            axes.set_xscale("log")
            log_y(axes, E, digits.short)
            log_axis(axes.xaxis, np.geomspace(min(S), max(S), 9))
            axes.set_xlim(*margins(S, 1.15))
            axes.set_xlabel("Steps S, updates")
            axes.set_title(f"N = {digits.short(N)}")
            shown: Sequence[float] = some(np.array([t.loss for t in one.tradeoffs]), 5).tolist()
            style = {"marker": "o", "ms": 4.2, "lw": 1.0}
            groups_legend(axes, [(f"L = {v:.2f}", style | {"color": colour(v)}) for v in shown], "upper right")
        grid[0].set_ylabel("Tokens E = B S")
        return figure


def _rows18(found: dict[float, Critical]) -> list[dict[str, Any]]:
    return [
        {
            "params": N,
            "loss": t.loss,
            "batch_tokens": B,
            "steps": S,
            "tokens": B * S,
            "steps_min": t.curve.S_min,
            "tokens_min": t.curve.E_min,
        }
        for N, one in found.items()
        for t in one.tradeoffs
        for B, S in zip(t.batch, t.steps, strict=True)
    ]
