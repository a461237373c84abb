"""Figure 7: LSTMs of 1, 2 and 4 layers beside Transformers, over N and along the context."""

import contextlib
import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import digits, reference
from analysis.confidence import LEVEL, mean_interval, t_quantile
from analysis.fit import fit
from analysis.fit.estimate import Fit
from analysis.laws.admission import IN_CONTEXT
from analysis.page.canvas import GREY, LABELS, LOSS, STYLE, Shades, log_axis, log_y, panels
from analysis.papers.claim import Claim, Undecided
from analysis.papers.drawing import (
    BITS,
    bits_per_byte,
    blank,
    fixed_limits,
    groups_legend,
    logarithmic,
    named,
    papers_points,
    papers_slope,
    symbol,
)
from analysis.papers.drawn import Drawn
from analysis.papers.evidence import means, mode
from analysis.papers.kaplan import runs
from analysis.papers.kaplan.claims import OF_LOSS, Kaplan
from analysis.papers.kaplan.context import left_out, marks, used
from analysis.papers.kaplan.trend import between, crossing, meeting, trend
from analysis.papers.known import measured
from analysis.replicates import Noise, mean_loss
from analysis.table import Table
from scaling.errors import InputError

DIGITISED = {1: "fig7_lstm_1_layer", 2: "fig7_lstm_2_layer", 4: "fig7_lstm_4_layer"}
LEAST = 3  # sizes of a line
ALIKE = 1.6  # the N of a pair differ by less than this factor
PAIRS = 3  # that are shown along the context
EARLY = 4  # tokens: the first ones, at which the paper saw no difference


def figure_7(evidence: Kaplan, drawn: Drawn) -> None:
    """Left: loss against N at equal tokens, each model at the best of the learning rates that were tried, hollow where
    it ended before it used its context; grey: the paper's points, scaled so that its Transformers meet ours at one
    size. Right: loss along the context, mean over half octaves of the position, of an LSTM and a Transformer of nearly
    the same N.
    """
    every = _same_length(runs.of_kind(evidence.need("lstm", "context"), "lstm"), evidence)
    best = runs.best_rates(every)
    drawn.points(_rows([], best))
    ladder, pairs = evidence.transformers_like(best), _pairs(evidence)
    drawn.points(_rows(pairs, ladder, best))
    drawn.figure = _draw(ladder, best, pairs)
    lstm, transformer = IN_CONTEXT.admit(best), IN_CONTEXT.admit(ladder)
    lost = left_out(ladder, best)
    depths = [int(n) for n in np.unique(lstm["n_layer"])]
    lines = _lines(transformer, lstm)
    with drawn.part("how the losses fall with N"):
        if 0 not in lines or len(lines) < 2:
            there = ", ".join(f"{int((lstm['n_layer'] == n).sum())} LSTMs of {_depth(n)}" for n in depths)
            n = len(np.unique(transformer["params"]))
            raise Undecided(
                f"a line needs {LEAST} sizes of each, {n} Transformers are there and {there}. {lost}".strip()
            )
        claims = dict(_claims(lines, evidence, lstm))
        drawn.show(*claims.values())
        drawn.say(
            f"At {digits.short(float(np.median(lstm['tokens'])))} tokens each. The Transformers are the ladder of "
            f"{runs.depths_text(transformer)}, one model per width. {_exponents(lines)}",
            lost,
            *_rates(every, lstm, transformer),
            _transformers_rates(evidence, transformer),
            *(_gap(transformer, lstm, n, evidence.noise) for n in depths),
            _their_gap(),
        )
    drawn.say(*_along(pairs, evidence.noise))


def _same_length(lstm: Table, evidence: Kaplan) -> Table:
    """The LSTMs of the experiment lstm, or, if there are none, those of the commonest context."""
    if "lstm" in evidence.experiments:
        own = np.isin(lstm["run"], evidence.experiments["lstm"].runs["run"])
        if own.any():
            lstm = lstm.where(own, "of another experiment")
    return lstm.where(lstm["n_ctx"] == mode(lstm["n_ctx"]), "another context")


def _rates(every: Table, best: Table, transformer: Table) -> Iterator[str]:
    """Whether the best learning rates of the LSTMs lie inside those tried, and on which side of the Transformer those
    are that may do better still.
    """
    if not every.has("learning_rate"):
        return
    lowest = highest = sizes = several = ahead = behind = 0
    for key in dict.fromkeys(zip(best["params"], best["n_layer"], strict=True)):
        same, kept = ((table["params"] == key[0]) & (table["n_layer"] == key[1]) for table in (every, best))
        rate, tried = best["learning_rate"][kept][0], every["learning_rate"][same]
        sizes += 1
        several += tried.min() < tried.max()
        low, high = rate == tried.min() < tried.max(), rate == tried.max() > tried.min()
        lowest += low
        highest += high
        if low or high:
            gap = math.log(mean_loss(best["loss"][kept])) - np.log(between(*means(transformer), key[:1]))[0]
            ahead += gap < 0
            behind += gap > 0
    if not several:
        yield "One learning rate was tried for each LSTM, the rule's."
    elif lowest + highest == 0:
        yield "The best learning rate of each LSTM lies inside those tried."
    else:
        then = [
            f"{n} of these {digits.plural(n, 'is', 'are')} {then}"
            for n, then in (
                (behind, "behind the Transformer, and the gap would shrink"),
                (ahead, "ahead of the Transformer, and the lead would grow"),
            )
            if n
        ]
        yield (
            f"Of {sizes} LSTMs the lowest learning rate tried is the best for {lowest}, the highest for {highest}: "
            f"rates beyond may be better still{''.join(f'; {text}' for text in then)}."
        )


def _transformers_rates(evidence: Kaplan, transformer: Table) -> str:
    """How many rates the Transformers are the best of: more trials give the better losses."""
    table = runs.of_kind(evidence.need(*evidence.experiments), "transformer")
    keep = np.isin(table["params"], transformer["params"])
    for name in ("n_layer", "tokens", "unique_tokens", "batch_tokens", "n_ctx", "schedule", "warmup", "learning_rate"):
        if not table.has(name):
            return ""
        if name != "learning_rate":
            keep &= np.isin(table[name], transformer[name])
    most = max(len(np.unique(table["learning_rate"][keep & (table["params"] == N)])) for N in transformer["params"])
    return f"Each Transformer had {most} learning {digits.plural(most, 'rate', 'rates or fewer')}."


# --- over N


def _lines(transformer: Table, lstm: Table) -> dict[int, Fit]:
    """The power law of each group with LEAST sizes or more; by layers of the LSTM, 0 for the Transformers."""
    found = {}
    # The same range: else a bend would look like a slope.
    low, high = lstm["params"].min() / ALIKE, lstm["params"].max() * ALIKE
    inside = (transformer["params"] >= low) & (transformer["params"] <= high)
    groups = {0: transformer.where(inside, "beyond the sizes of the LSTMs")}
    groups |= {int(n): lstm.where(lstm["n_layer"] == n, "another depth") for n in np.unique(lstm["n_layer"])}
    for layers, table in groups.items():
        if len(np.unique(table["params"])) >= LEAST:
            try:
                line = fit("kaplan-n", runs.per_size(table), loss="squared")
            except InputError:
                continue  # too noisy for a line: its points are shown
            if line.sound:
                found[layers] = line
    return found


def _called(layers: int) -> str:
    return f"LSTM of {_depth(layers)}" if layers else "Transformer"


def _depth(layers: int) -> str:
    return f"{layers} {digits.plural(layers, 'layer', 'layers')}"


def _theirs(layers: int) -> float:
    """The paper's exponent: minus the slope of its plotted points."""
    N, loss = reference.points(DIGITISED[layers] if layers else "fig7_transformer").T
    return -trend(np.log(N), np.log(loss)).slope


def _exponents(lines: dict[int, Fit]) -> str:
    said = []
    for layers, line in lines.items():
        value, ends = digits.constant(line.constants["alpha_N"], *line.intervals["alpha_N"])
        paper = f"; {_theirs(layers):.3f} in the paper's plot" if not layers or layers in DIGITISED else ""
        said.append(f"{_called(layers)} {value} ({ends}{paper})")
    return f"Exponents of N: {', '.join(said)}."


def _claims(lines: dict[int, Fit], evidence: Kaplan, lstm: Table) -> Iterator[tuple[int, Claim]]:
    """The exponents by layers."""
    note = "the slope of the points of the paper's plot; at equal tokens here, converged there"
    for layers, line in lines.items():
        if layers in DIGITISED:
            claim = Claim(f"alpha_N, {_called(layers)}", "Fig. 7", _theirs(layers), enough=OF_LOSS, note=note)
            found = measured(claim, lambda line=line: line, "alpha_N")
            yield layers, evidence.no_narrower(found, lstm["params"][lstm["n_layer"] == layers])


def _gap(transformer: Table, lstm: Table, layers: int, noise: Noise | None) -> str:
    """How far the LSTMs of one depth lie above Transformers of the same N, at the ends of the common range, and where
    one overtakes the other.
    """
    N, loss = means(lstm.where(lstm["n_layer"] == layers, "another depth"))
    gap = np.log(loss / between(*means(transformer), N))
    N, gap = N[np.isfinite(gap)], gap[np.isfinite(gap)]
    if not gap.size:
        return f"{_called(layers)}: no size lies among those of the Transformers."
    half = math.nan
    if noise is not None:
        half = float(t_quantile(LEVEL, np.array(float(noise.degrees)))) * noise.sigma * math.sqrt(2)

    def said(k: int) -> str:
        return f"{digits.percent(math.expm1(gap[k]), sign=True)} at N = {digits.short(N[k])}"

    if math.isnan(half):
        verdict = "that may be noise: no setting has two seeds"
    elif gap[-1] > half:
        verdict = "it is higher, as in the paper"
    elif gap[-1] < -half:
        verdict = "it is lower, unlike in the paper"
    else:
        verdict = "it does not differ significantly"
    return (
        f"{_called(layers)} against the Transformer at equal N: "
        f"{', '.join(said(k) for k in dict.fromkeys((0, len(N) - 1)))} "
        f"(± {digits.percent(half)} from the seeds). At the largest common size {verdict}"
        f"{_overtaking(N, gap, noise)}."
    )


def _overtaking(N: np.ndarray, gap: np.ndarray, noise: Noise | None) -> str:
    """How the gap goes with N, and where the line through it changes sides."""
    if len(N) < LEAST or noise is None:
        return ""
    found = crossing(N, gap, noise.sigma * math.sqrt(2), noise.degrees)
    if found is None:
        return "; which gains more from N cannot be told, nor where one overtakes the other"
    rising = trend(np.log(N), gap).slope > 0
    x, low, high = (digits.short(end) for end in (found.x, found.low, found.high))
    at = f"N = {x} ({low} to {high}, {digits.percent(LEVEL)})"
    first, second = ("Transformer", "LSTM") if rising else ("LSTM", "Transformer")
    where = (
        f"the {first} overtakes the {second} at {at}"
        if N[0] <= found.x <= N[-1]
        else f"their lines cross at {at}, {'below' if found.x < N[0] else 'beyond'} our sizes"
    )
    gains = "less from N, as in the paper" if rising else "more from N, unlike in the paper"
    return f"; it gains {gains}, and {where}"


def _their_gap() -> str:
    """How far the paper's LSTMs lie above its Transformers."""
    N, loss = reference.points("fig7_transformer").T
    said = []
    for layers, name in DIGITISED.items():
        at, own = reference.points(name).T
        gap = own / between(N, loss, at) - 1
        ends = np.flatnonzero(np.isfinite(gap))[[0, -1]]
        said.append(
            f"{_called(layers)} "
            + " and ".join(f"{digits.percent(gap[k], sign=True)} at {digits.short(at[k])}" for k in ends)
        )
    return f"In the paper's plot LSTMs are behind at all sizes: {', '.join(said)}."


# --- along the context


@dataclasses.dataclass(frozen=True)
class Pair:
    """Losses along the context of an LSTM and a Transformer of nearly the same N on the same windows; t each."""

    lstm_N: float
    lstm_layers: int
    transformer_N: float
    position: np.ndarray
    lstm: np.ndarray
    transformer: np.ndarray

    @property
    def gap(self) -> np.ndarray:
        """ln of the LSTM's loss over the Transformer's: what makes a position of the text hard drops out. t"""
        return np.log(self.lstm / self.transformer)


def _pairs(evidence: Kaplan) -> list[Pair]:
    """At most PAIRS pairs of the longest context that both kinds were trained with, by rising N."""
    lstm = runs.of_kind(evidence.need("context", "lstm"), "lstm")
    for n_ctx in sorted(set(lstm["n_ctx"]), reverse=True):
        own = runs.best_rates(lstm.where(lstm["n_ctx"] == n_ctx, "another context"))
        try:
            others = evidence.transformers_like(own)
        except Undecided:
            continue
        found = []
        for N in np.unique(others["params"]):
            with contextlib.suppress(Undecided):  # of these the losses by position were not recorded
                found += _pair(evidence, own, others.where(others["params"] == N, "another size"))
        # An LSTM stands beside one Transformer, the nearest.
        found.sort(key=lambda pair: abs(math.log(pair.lstm_N / pair.transformer_N)))
        once = {(pair.lstm_N, pair.lstm_layers): pair for pair in reversed(found)}
        found = sorted(once.values(), key=lambda pair: pair.transformer_N)
        if found:
            keep = np.unique(np.linspace(0, len(found) - 1, PAIRS).round().astype(int))
            return [found[k] for k in keep]
    return []


def _pair(evidence: Kaplan, lstm: Table, transformer: Table) -> Iterator[Pair]:
    """The LSTM nearest to a Transformer beside it, where it is near enough."""
    N = float(transformer["params"][0])
    apart = np.abs(np.log(lstm["params"] / N))
    k = int(np.argmin(apart + 1e-3 * (lstm["loss"] / lstm["loss"].min() - 1)))  # of equally near ones the better
    if apart[k] < math.log(ALIKE):
        same = (lstm["params"] == lstm["params"][k]) & (lstm["n_layer"] == lstm["n_layer"][k])
        at, a = evidence.loss_by_position(lstm.where(same, "another size"))
        other, b = evidence.loss_by_position(transformer)
        if np.array_equal(at, other) and len(at) >= 4 * EARLY:
            yield Pair(float(lstm["params"][k]), int(lstm["n_layer"][k]), N, at, a, b)


def _along(pairs: Sequence[Pair], noise: Noise | None) -> Iterator[str]:
    if not pairs:
        yield "Along the context: no LSTM and Transformer of nearly the same N were trained with the same context."
    for pair in pairs:
        text = (
            f"LSTM of {digits.short(pair.lstm_N)} ({_depth(pair.lstm_layers)}) beside a Transformer of "
            f"{digits.short(pair.transformer_N)}, {len(pair.gap)} tokens of context: "
        )
        unused = [
            kind
            for kind, loss in (("the LSTM", pair.lstm), ("the Transformer", pair.transformer))
            if not used(pair.position, loss)
        ]
        if unused:
            yield f"{text}not compared, for {' and '.join(unused)} ended before the onset of context use."
            continue
        n = len(pair.gap)
        early, late = pair.gap[:EARLY], pair.gap[n // 2 :]
        growth = late.mean() - early.mean()
        error = math.sqrt(early.var(ddof=1) / len(early) + late.var(ddof=1) / len(late))
        half = float(t_quantile(LEVEL, np.array(EARLY - 1.0))) * error
        # What other seeds and the difference of N would do to the later losses; the first hardly depend on either.
        half = math.hypot(half, reference.value("alpha_N") * math.log(pair.lstm_N / pair.transformer_N))
        if noise is not None:
            half = math.hypot(half, float(t_quantile(LEVEL, np.array(float(noise.degrees)))) * noise.sigma * 2**0.5)
        ends = np.arange(n // 4, n)
        slopes = [trend(np.log2(pair.position[ends]), np.log(loss[ends])) for loss in (pair.transformer, pair.lstm)]
        first, last = mean_interval(early), mean_interval(late)
        verdict = (
            "it falls behind along the context, as in the paper"
            if growth > half
            else "it catches up along the context, unlike in the paper"
            if growth < -half
            else "no growth of the gap is seen"
        )
        yield (
            text + f"{digits.percent(math.expm1(first[0]), sign=True)} at the first {EARLY} tokens, "
            f"{digits.percent(math.expm1(last[0]), sign=True)} over the second half, a growth of "
            f"{digits.percent(growth, sign=True)} ± {digits.percent(half)}: {verdict}. Over the last two doublings of "
            f"the position the loss of the Transformer changes by {digits.percent(slopes[0].slope, sign=True)} each, "
            f"that of the LSTM by {digits.percent(slopes[1].slope, sign=True)}."
        )


# --- the figure


def _draw(transformer: Table, lstm: Table, pairs: Sequence[Pair]) -> Figure:
    with rc_context(STYLE):
        figure, (left, right) = panels(2, legend=False, beyond=BITS, between=BITS)
        depths = [int(n) for n in np.unique(lstm["n_layer"])]
        groups = [transformer, *(lstm.where(lstm["n_layer"] == n, "another depth") for n in depths)]
        for k, table in enumerate(groups):
            left.plot(*means(table), color=symbol(k)["color"], lw=0.9)
            marks(left, table, k)
        N, loss = (np.concatenate([table[name] for table in groups]) for name in ("params", "loss"))
        logarithmic(left, N, "params", loss)
        low, high = left.get_ylim()
        left.set_ylim(low, high * (high / low) ** 0.4)
        _papers(left, transformer, depths)
        left.set_ylabel(LOSS)
        bits_per_byte(left, transformer)
        left.set_title("Against N")
        names = [f"Transformer, {runs.depths_text(transformer)}", *(_called(n) for n in depths)]
        groups_legend(left, [(name, symbol(k, lw=0.9)) for k, name in enumerate(names)], "upper right")
        _draw_along(right, pairs)
        if pairs:
            bits_per_byte(right, transformer)
        return figure


def _papers(axes: Axes, transformer: Table, depths: Sequence[int]) -> None:
    """The paper's points, all scaled alike: its losses are of other tokens."""
    theirs = reference.points("fig7_transformer")
    factor = meeting(theirs, *means(transformer))
    drawn = factor is not None and papers_points(
        axes, theirs[:, 0], factor * theirs[:, 1], label=f"paper's Transformers × {factor:.2f}"
    )
    if not drawn or factor is None:
        papers_slope(axes, transformer["params"], transformer["loss"], -_theirs(0))
        return
    low, high = axes.get_xlim()
    for layers, name in DIGITISED.items():
        N, loss = reference.points(name).T
        N, loss = N[(low < N) & (high > N)], loss[(low < N) & (high > N)]
        if layers in depths and len(N):
            style: dict[str, Any] = {"color": GREY, "ls": "", "mew": 0.6, "marker": f"${layers}$", "ms": 5}
            with fixed_limits(axes):
                axes.plot(N, factor * loss, label=f"paper's LSTMs of {layers}, likewise", **style)


def _draw_along(axes: Axes, pairs: Sequence[Pair]) -> None:
    axes.set_title("Along the context")
    if not pairs:
        blank(axes, "Along the context", "no pair of equal N")
        return
    shades = Shades(pairs[0].transformer_N, pairs[-1].transformer_N)
    shown, entries = [], []
    for pair in pairs:
        for loss, dashes in ((pair.transformer, ()), (pair.lstm, (4, 2))):
            at, y = by_half_octave(pair.position, loss)
            style = {"color": shades(pair.transformer_N), "lw": 1.2, "dashes": dashes or (None, None)}
            axes.plot(at, y, **style)
            shown.append(y)
            name = "LSTM" if dashes else "Transformer"
            entries.append((f"{name}, N = {digits.short(pair.lstm_N if dashes else pair.transformer_N)}", style))
    axes.set_xscale("log")
    log_y(axes, np.concatenate(shown), digits.plain)
    low, high = axes.get_ylim()
    axes.set_ylim(low, high * (high / low) ** 0.4)
    log_axis(axes.xaxis, 2.0 ** np.arange(math.floor(math.log2(pairs[0].position[-1])) + 1))
    axes.set_xlabel(LABELS["position"])
    groups_legend(axes, entries, "upper right")


def by_half_octave(position: np.ndarray, loss: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means over positions of half an octave, at their geometric middle: single positions scatter with the text."""
    bins = np.floor(2 * np.log2(position))
    each = [bins == b for b in np.unique(bins)]
    return (
        np.array([math.exp(np.log(position[rows]).mean()) for rows in each]),
        np.array([loss[rows].mean() for rows in each]),
    )


def _rows(pairs: Sequence[Pair], *tables: Table) -> list[dict[str, Any]]:
    """Both panels: rows with `position` are those of the right one."""
    names = ("run", "kind", "n_layer", "params", "learning_rate", "seed", "loss")
    rows = [row for table in tables for row in named(table, names)]
    for pair in pairs:
        for kind, N, layers, loss in (
            ("transformer", pair.transformer_N, None, pair.transformer),
            ("lstm", pair.lstm_N, pair.lstm_layers, pair.lstm),
        ):
            rows += [
                {"kind": kind, "n_layer": layers, "params": N, "position": T, "loss": value}
                for T, value in zip(pair.position, loss, strict=True)
            ]
    return rows
