"""Figures 10 and 18: the critical batch against the loss, and the trade of steps for tokens that it comes from."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import digits, reference
from analysis.batch_size import Critical, critical, steps_to_loss
from analysis.confidence import LEVEL, mean_interval
from analysis.fit.estimate import Fit
from analysis.noise_scale import noise_scale_over_loss
from analysis.page.canvas import GREY, INK, MAP, STYLE, Shades, log_axis, log_y, margins, panels, some
from analysis.papers.claim import Undecided
from analysis.papers.drawing import PF_DAYS, bits_per_byte, fixed_limits, groups_legend, named
from analysis.papers.drawn import Drawn
from analysis.papers.kaplan import fits
from analysis.papers.kaplan.claims import Kaplan
from analysis.papers.kaplan.left_out import Left, jackknife
from analysis.papers.kaplan.trend import meeting
from analysis.table import Table
from scaling.errors import InputError

BINS = 8  # of ln loss, for the noise scale
APART = 0.05  # of alpha_B: by how much each size alone must differ from all together for it to be said
FITS_WELL = 0.1  # rms distance in ln S from a hyperbola that is still a hyperbola
KNOWN = 10.0  # times its lower end is the upper one of a noise scale that says something
NEAR = 0.02  # of ln: how far beyond what another size has a loss, or D, still counts
WARM = 0.05  # of the updates to a loss: a longer warm-up than this is part of what they are
ZHANG = (0.087, 0.47)  # Zhang et al. (2024): powers of the critical batch in N at one D, in D at one N


# --- figure 10


def figure_10(evidence: Kaplan, drawn: Drawn) -> None:
    """B_crit of the batch scans, squares with their intervals, left against the loss and right against the tokens that
    the loss takes at B_crit; circles are gradient noise scales along the same runs, those known to a factor of ten or
    better. Grey: the paper's points, scaled to meet our law at one loss, and the power of D of Zhang et al. (2024).
    """
    law, found, curves = evidence.batch, evidence.tradeoffs, evidence.batch_curves
    drawn.show(evidence.alpha_B, evidence.B_star)
    noise = _noise(evidence.scanned_curves)
    drawn.points(_rows10(found, noise))
    left = None
    with drawn.part():
        left = evidence.batches_left_out
    onsets = evidence.onset_losses
    drawn.figure = _draw10(found, law.fit, noise, left, onsets, evidence.need("batch"))
    if left is None:
        raise Undecided(evidence.alpha_B.remark)
    alpha = law.fit.constants["alpha_B"]
    drawn.say(
        _goes_with(found, left),
        _onset(onsets),
        _law(alpha, left, found),
        *_sizes(found, law.fit),
        *_alone(found, alpha),
        *_agreement(law.fit, noise, found, left),
        *_edges(curves, found),
        *(f"Note: {note}." for note in found.notes if "not independent" not in note),
    )
    if not evidence.alpha_B.decided:
        raise Undecided(evidence.alpha_B.remark)


def _onset(onsets: Mapping[float, float]) -> str:
    """From which losses on the models of each size use their context."""
    if not onsets:
        return ""
    where = {math.inf: "above all losses here", -math.inf: "below all losses here"}
    said = ", ".join(f"{where.get(loss, f'{loss:.2f}')} at N = {digits.short(N)}" for N, loss in onsets.items())
    return (
        f"Models begin to use their context at a loss of {said} (median over the runs); what lies before is left out."
    )


def _noise(curves: Table) -> list[tuple[float, dict[str, np.ndarray]]]:
    """The simple noise scale over the loss where it is known to a factor KNOWN, of each size: columns loss, batch_crit,
    low, high.
    """
    if not curves.has("noise_trace"):
        return []
    measured = np.isfinite(curves["noise_trace"]) & np.isfinite(curves["grad_square"])
    found = []
    for N in np.unique(curves["params"]):
        own = curves.where(measured & (curves["params"] == N), "another size, or not measured")
        if len(own) < 2:
            continue
        try:
            dots = noise_scale_over_loss(own["loss"], own["noise_trace"], own["grad_square"], BINS)
        except InputError:
            continue  # no bin of this size has a gradient above its noise: it has no dots
        told = dots["high"] < KNOWN * dots["low"]
        if told.any():
            found.append((float(N), {name: values[told] for name, values in dots.items()}))
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
        + ("The two agree within the interval." if inside else "The two differ.")
    )


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
        f"{math.exp(off.std()):.2f}. The paper saw one law for 3M and 85M parameters; its points lie off it by a "
        f"factor of {_their_scatter():.2f}."
    )


def _their_scatter() -> float:
    """By what factor the paper's points lie off its own law, rms."""
    L, B = np.concatenate([reference.points(f"fig10_Bcrit_{size}") for size in ("3M", "85M")]).T
    law = reference.value("B_star") / L ** (1 / reference.value("alpha_B"))
    return math.exp(_rms(np.log(B / law)))


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


def powers(found: Critical) -> np.ndarray:
    """The powers with which B_crit goes with N at one loss, with N at one D, and with D at one N; NaN where the sizes
    have too few losses, or too little D, in common.

    D is the tokens that a loss takes at B_crit, 2 E_min by (5.2).
    """
    if not found.table.has("params"):
        return np.full(3, np.nan)
    ln_N, ln_L, ln_B, ln_D = (np.log(v) for v in (found.table["params"], found.table["loss"],
                                                  found.table["batch_crit"], _tokens(found)))  # fmt: skip
    weights = np.sqrt(fits.sureness(found.table))

    def at_one(x: np.ndarray) -> np.ndarray:
        """The powers of N and of x, over what of x another size has as well."""
        inside = np.zeros(len(x), bool)
        for size in np.unique(ln_N):
            own = x[ln_N == size]
            inside |= (ln_N != size) & (own.min() - NEAR <= x) & (x <= own.max() + NEAR)
        few = [size for size in np.unique(ln_N) if inside[ln_N == size].sum() < 2]
        inside &= ~np.isin(ln_N, few)
        if len(np.unique(ln_N[inside])) < 2:
            return np.full(2, np.nan)
        columns = np.stack([ln_N, x, np.ones_like(x)], 1)[inside]
        w = weights[inside]
        return np.linalg.lstsq(columns * w[:, None], ln_B[inside] * w, rcond=None)[0][:2]

    return np.array([at_one(ln_L)[0], *at_one(ln_D)])


def _tokens(found: Critical) -> np.ndarray:
    """The tokens that each loss of the table takes at its critical batch."""
    return np.array([2 * t.curve.E_min for t in found.tradeoffs if not t.warnings])


def _goes_with(found: Critical, left: Left) -> str:
    """Whether B_crit goes with the loss, as the paper has it, or with D, as others found later."""
    ours, without = powers(found), np.array([powers(scan) for scan in left.scans])
    if np.isnan(ours).any() or np.isnan(without).any():
        return "Whether B_crit goes with the loss or with D cannot be told: the sizes have too few of either in common."
    halves = [jackknife(column) for column in without.T]
    ends = [(value - half, value + half) for value, half in zip(ours, halves, strict=True)]
    said = [
        f"{name}^{digits.minus(f'{value:.2f}')} ({digits.minus(f'{low:.2f} to {high:.2f}')})"
        for name, value, (low, high) in zip("NND", ours, ends, strict=True)
    ]
    none = [low <= 0 <= high for low, high in ends[:2]]
    less = abs(ours[0]) < abs(ours[1]) / 2, abs(ours[1]) < abs(ours[0]) / 2
    verdict = (
        "which of the two it goes with cannot be told"
        if all(none)
        else "it goes with the loss, as in the paper"
        if not none[1] and (none[0] or less[0])
        else "it goes with D, as Zhang et al. (2024) found"
        if not none[0] and (none[1] or less[1])
        else "it goes with neither alone"
    )
    return (
        f"At one loss B_crit goes as {said[0]}; at one D, the tokens to a loss at B_crit, as {said[1]}; and at one N "
        f"as {said[2]} (jackknife; Zhang et al.: N^{ZHANG[0]:g} at one D, D^{ZHANG[1]:g} at one N): {verdict}."
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
            ". The two measure different things and need not agree: the noise scale takes the curvature as equal in "
            "all directions, of the gradient at one place, and the scans are of whole trainings with Adam. The paper's "
            "dots scatter about three times either way of its law."
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


def _draw10(
    found: Critical,
    law: Fit,
    noise: list[tuple[float, dict[str, np.ndarray]]],
    left: Left | None,
    onsets: Mapping[float, float],
    trained: Table,
) -> Figure:
    table = found.table
    N = table["params"] if table.has("params") else np.ones(len(table))
    sizes = np.unique(np.concatenate([N, [size for size, _ in noise]]))
    shades = Shades(float(sizes[0]), float(sizes[-1]))
    scan = {"color": GREY, "marker": "s", "ms": 5, "lw": 0}
    with rc_context(STYLE):
        figure, (axes, right) = panels(2, legend=False, height=4.6, above=PF_DAYS)
        losses_seen, batch = [table["loss"]], [table["batch_crit"]]
        for size, dots in noise:
            bars = np.array([dots["batch_crit"] - dots["low"], dots["high"] - dots["batch_crit"]])
            axes.errorbar(dots["loss"], dots["batch_crit"], yerr=bars, fmt="o", color=shades(size), mfc="white", ms=4.5,
                          mew=1.0, elinewidth=0.7, alpha=0.8, zorder=3)  # fmt: skip
            losses_seen.append(dots["loss"])
            batch.append(dots["batch_crit"])
        for size in np.unique(N):
            rows = N == size
            bars = np.array([(table["batch_crit"] - table["low"])[rows], (table["high"] - table["batch_crit"])[rows]])
            for panel, x in ((axes, table["loss"]), (right, _tokens(found))):
                panel.errorbar(x[rows], table["batch_crit"][rows], yerr=np.nan_to_num(bars), fmt="s",
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
        for panel, shown in ((axes, batches), (right, table["batch_crit"])):
            log_y(panel, shown, digits.short)
            low, high = panel.get_ylim()
            panel.set_ylim(low / 1.5, high * (high / low) ** 0.5)
        log_axis(axes.xaxis, np.geomspace(losses.min(), losses.max(), 9), digits.plain)
        axes.set_xlim(losses.max() * 1.03, losses.min() / 1.03)
        _papers10(axes, line, law)
        for size, loss in ((size, loss) for size, loss in onsets.items() if math.isfinite(loss)):
            axes.axvline(loss, 0, 0.68, color=shades(size), lw=0.9, dashes=(1, 2), zorder=1)
        axes.set_xlabel("Held-out loss, nats per token")
        axes.set_ylabel("Critical batch, tokens")
        axes.set_title("Against the loss")
        bits_per_byte(axes, trained, above=True)
        own = [(f"N = {digits.short(size)}", scan | {"color": shades(size)}) for size in some(sizes)]
        kinds = [("batch scans", scan)]
        if noise:
            kinds.append(("gradient noise scale", {"color": GREY, "marker": "o", "mfc": "white", "ms": 4.5, "lw": 0}))
        if onsets:
            kinds.append(("onset of context use", {"color": GREY, "lw": 0.9, "dashes": (1, 2)}))
        groups_legend(axes, [*(own if table.has("params") else []), *kinds], "upper left",
                      ncols=2)  # fmt: skip
        D = _tokens(found)
        right.set_xscale("log")
        log_axis(right.xaxis, np.geomspace(D.min(), D.max(), 9))
        right.set_xlim(*margins(D, 1.3))
        with fixed_limits(right):
            middle, height = math.exp(np.log(D).mean()), math.exp(np.log(table["batch_crit"]).mean())
            ends = np.array([D.min(), D.max()])
            style: dict[str, Any] = {"color": GREY, "lw": 1.0, "dashes": (5, 3), "zorder": 1.5}
            right.plot(
                ends, height * (ends / middle) ** ZHANG[1], label=f"D^{ZHANG[1]:g}, Zhang et al. (2024)", **style
            )
        right.set_xlabel("Tokens D to the loss, at B_crit")
        right.set_title("Against D")
        groups_legend(right, own if table.has("params") else [], "upper left")
        return figure


def _papers10(axes: Axes, line: np.ndarray, law: Fit) -> None:
    """The paper's points of both sizes, scaled alike: its tokens are others, and its losses of them."""
    theirs = {name: reference.points(f"fig10_Bcrit_{name}") for name in ("3M", "85M")}
    factor = meeting(theirs["85M"], line, law.band(line).value)
    if factor is not None:
        for name, marker in (("3M", "D"), ("85M", "^")):
            L, B = theirs[name].T
            style: dict[str, Any] = {"color": GREY, "ls": "", "marker": marker, "ms": 3.6, "mfc": "none", "mew": 0.8}
            with fixed_limits(axes):
                axes.plot(L, factor * B, label=f"paper's {name} × {factor:.2g}", zorder=1.5, **style)


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
    """Tokens against updates that batches need to reach a loss, a dot per batch, each at the fastest of its learning
    rates; lines are the hyperbola (5.1) through the dots of one loss. A panel per size.
    """
    curves = evidence.batch_curves
    found: dict[float, Critical] = {}
    for N in np.unique(curves["params"]):
        with drawn.part(f"N = {digits.short(N)}"):
            found[float(N)] = critical(
                curves.where(curves["params"] == N, "another size"), highest=evidence.onset_losses
            )
    if not found:
        return
    drawn.figure = _draw18(found)
    drawn.points(_rows18(found))
    for N, one in found.items():
        off = np.concatenate([np.log(t.steps / t.curve.steps(t.batch)) for t in one.tradeoffs])
        inside = [t for t in one.tradeoffs if not t.warnings]
        first, last = inside[0], inside[-1]
        drawn.say(
            f"N = {digits.short(N)}: {len(one.tradeoffs)} losses from {one.tradeoffs[0].loss:.2f} to "
            f"{one.tradeoffs[-1].loss:.2f}, each reached by {min(len(t.batch) for t in one.tradeoffs)} batch sizes or "
            f"more, lie off their hyperbolas by {digits.percent(_rms(off))} rms in steps; B_crit goes from "
            f"{digits.short(first.curve.B_crit)} tokens at {first.loss:.2f} to {digits.short(last.curve.B_crit)} at "
            f"{last.loss:.2f}."
        )
    drawn.say(*_warm_up(found, curves))


def _rms(off: np.ndarray) -> float:
    return float(np.sqrt(np.mean(off**2)))


def _warm_up(found: dict[float, Critical], curves: Table) -> Iterator[str]:
    """Whether the points lie on hyperbolas, all of them and those of which the warm-up is a small part."""
    warmup = curves["warmup"]  # a share of the run, or updates
    updates = np.where(warmup < 1, warmup * curves["steps"], warmup)
    off, share = [], []
    for N, one in found.items():
        own = curves["params"] == N
        for t in one.tradeoffs:
            off += np.log(t.steps / t.curve.steps(t.batch)).tolist()
            share += [
                updates[own & (curves["batch_tokens"] == B)].max() / S for B, S in zip(t.batch, t.steps, strict=True)
            ]
    off, share = np.array(off), np.array(share)
    late = share > WARM
    fits_well = _rms(off) < FITS_WELL
    if fits_well:
        yield "As in the paper, steps and tokens trade along (S/S_min - 1)(E/E_min - 1) = 1, eq. 5.1."
    least, most = (digits.short(round(float(end))) for end in (updates.min(), updates.max()))
    text = (
        f"The warm-up takes {least if least == most else f'{least} to {most}'} updates, "
        f"{digits.percent(share.min())} to {digits.percent(share.max())} of the updates to a loss"
    )
    if late.all() or not late.any():
        yield f"{text}{'' if fits_well else ': by that it cannot be told whether the points lie off because of it'}."
        return
    rest = _rms(off[~late])
    yield (
        f"{text}, over {digits.percent(WARM)} for {late.sum()} of {len(off)} points: these lie off their hyperbola "
        f"by {digits.percent(_rms(off[late]))} rms, the others by {digits.percent(rest)}"
        + (
            ""
            if fits_well
            else ", on it as in the paper"
            if rest < FITS_WELL
            else ", so that it is not the only reason"
        )
        + "."
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
            bottom, top = axes.get_ylim()
            axes.set_ylim(bottom, top * (top / bottom) ** 0.25)
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
