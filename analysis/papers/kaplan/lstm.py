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
from analysis.confidence import LEVEL, t_quantile
from analysis.fit import fit
from analysis.fit.estimate import Fit
from analysis.page.canvas import LABELS, LOSS, STYLE, Shades, log_axis, log_y, panels
from analysis.papers.claim import Claim, Undecided
from analysis.papers.drawing import blank, groups_legend, logarithmic, named, papers_points, papers_slope, symbol
from analysis.papers.drawn import Drawn
from analysis.papers.evidence import means, mode
from analysis.papers.kaplan import runs
from analysis.papers.kaplan.claims import OF_LOSS, Kaplan
from analysis.papers.kaplan.context import UNUSED, unused
from analysis.papers.kaplan.trend import between, mean_interval, trend
from analysis.papers.known import measured
from analysis.replicates import Noise
from analysis.table import Table
from scaling.errors import InputError

DIGITISED = {1: "fig7_lstm_1_layer", 2: "fig7_lstm_2_layer", 4: "fig7_lstm_4_layer"}
LEAST = 3  # sizes of a line
ALIKE = 1.6  # the N of a pair differ by less than this factor
PAIRS = 3  # that are shown along the context
EARLY = 4  # tokens: the first ones, at which the paper saw no difference


def figure_7(evidence: Kaplan, drawn: Drawn) -> None:
    """Left: loss against N, equal tokens, best learning rates. Right: loss along the context of pairs of equal N."""
    every = _same_length(runs.of_kind(evidence.need("lstm", "context"), "lstm"), evidence)
    lstm = runs.best_rates(every)
    drawn.points(_rows([], lstm))
    transformer = evidence.transformers_like(lstm)
    lines, pairs = _lines(transformer, lstm), _pairs(evidence)
    drawn.points(_rows(pairs, transformer, lstm))
    drawn.figure = _draw(transformer, lstm, pairs)
    depths = [int(n) for n in np.unique(lstm["n_layer"])]
    with drawn.part("how the losses fall with N"):
        if 0 not in lines or len(lines) < 2:
            there = ", ".join(f"{int((lstm['n_layer'] == n).sum())} LSTMs of {n} layers" for n in depths)
            n = len(np.unique(transformer["params"]))
            raise Undecided(f"a line needs {LEAST} sizes, {n} Transformers are finished and {there}")
        claims = dict(_claims(lines, evidence, lstm))
        drawn.show(*claims.values())
        drawn.say(
            f"At {digits.short(float(np.median(lstm['tokens'])))} tokens each. The Transformers are the ladder of "
            f"{runs.depths_text(transformer)}, one model per width. {_exponents(lines)}",
            *_rates(every, lstm),
            *(_gap(transformer, lstm, n, evidence.noise) for n in depths),
            *(_slope_gap(lines[0], n, claim) for n, claim in claims.items()),
        )
    drawn.say(*_along(pairs, evidence.noise))


def _same_length(lstm: Table, evidence: Kaplan) -> Table:
    """The LSTMs of the experiment lstm, or, if there are none, those of the commonest context."""
    if "lstm" in evidence.experiments:
        own = np.isin(lstm["run"], evidence.experiments["lstm"].runs["run"])
        if own.any():
            lstm = lstm.where(own, "of another experiment")
    return lstm.where(lstm["n_ctx"] == mode(lstm["n_ctx"]), "another context")


def _rates(every: Table, best: Table) -> Iterator[str]:
    """Whether the best learning rates of the LSTMs lie inside those tried."""
    if not every.has("learning_rate"):
        return
    lowest = highest = sizes = several = 0
    for key in dict.fromkeys(zip(best["params"], best["n_layer"], strict=True)):
        same, kept = ((table["params"] == key[0]) & (table["n_layer"] == key[1]) for table in (every, best))
        rate, tried = best["learning_rate"][kept][0], every["learning_rate"][same]
        sizes += 1
        several += tried.min() < tried.max()
        lowest += rate == tried.min() < tried.max()
        highest += rate == tried.max() > tried.min()
    if not several:
        yield "One learning rate was tried for each LSTM, the Transformer's of that N."
    elif lowest + highest == 0:
        yield "The best learning rate of each LSTM lies inside those tried."
    else:
        yield (
            f"Of {sizes} LSTMs the lowest learning rate tried is the best for {lowest}, the highest for {highest}: "
            "these may do better at rates beyond, and their gap to the Transformer be smaller."
        )


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
    return f"LSTM of {layers} {digits.plural(layers, 'layer', 'layers')}" if layers else "Transformer"


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
    """How far the LSTMs of one depth lie above Transformers of the same N, at the ends of the common range."""
    N, loss = means(lstm.where(lstm["n_layer"] == layers, "another depth"))
    gap = np.log(loss / between(*means(transformer), N))
    inside = np.flatnonzero(np.isfinite(gap))
    if not inside.size:
        return f"{_called(layers)}: no size lies among those of the Transformers."
    half = math.nan
    if noise is not None:
        half = float(t_quantile(LEVEL, np.array(float(noise.degrees)))) * noise.sigma * math.sqrt(2)

    def said(k: int) -> str:
        return f"{digits.percent(math.expm1(gap[k]), sign=True)} at N = {digits.short(N[k])}"

    ends = list(dict.fromkeys((int(inside[0]), int(inside[-1]))))
    last = gap[inside[-1]]
    if math.isnan(half):
        verdict = "that may be noise: no setting has two seeds"
    elif last > half:
        verdict = "it is higher, as in the paper"
    elif last < -half:
        verdict = "it is lower, unlike in the paper: these Transformers may not have learned to use their context"
    else:
        verdict = "it does not differ significantly"
    return (
        f"{_called(layers)} against the Transformer at equal N: {', '.join(said(k) for k in ends)} "
        f"(± {digits.percent(half)} from the seeds). At the largest common size {verdict}."
    )


def _slope_gap(transformer: Fit, layers: int, lstm: Claim) -> str:
    """Whether the LSTM gains less from N than the Transformer."""
    if lstm.ours is None or not lstm.decided:
        return f"{_called(layers)}: its exponent is not known well enough to set beside the Transformer's."
    low, high = transformer.intervals["alpha_N"]
    difference = transformer.constants["alpha_N"] - lstm.ours
    half = math.hypot((high - low) / 2, lstm.half)
    verdict = (
        "it gains less from N, as in the paper"
        if difference > half
        else "it gains more from N, unlike in the paper; few and narrow sizes with coarsely tried learning rates "
        "may not show the slope of large ones"
        if difference < -half
        else "which gains more from N cannot be told"
    )
    side = "below" if difference > 0 else "above"
    return f"{_called(layers)}: its exponent is {abs(difference):.3f} ± {half:.3f} {side} the Transformer's: {verdict}."


# --- along the context


@dataclasses.dataclass(frozen=True)
class Pair:
    """Losses along the context of an LSTM and a Transformer of nearly the same N on the same windows; t each."""

    lstm_N: float
    lstm_layers: int
    transformer_N: float
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
        a = evidence.loss_by_position(lstm.where(same, "another size"))
        b = evidence.loss_by_position(transformer)
        if len(a) == len(b) >= 4 * EARLY:
            yield Pair(float(lstm["params"][k]), int(lstm["n_layer"][k]), N, a, b)


def _along(pairs: Sequence[Pair], noise: Noise | None) -> Iterator[str]:
    if not pairs:
        yield "Along the context: no LSTM and Transformer of nearly the same N were trained with the same context."
    elif unused([pair.transformer for pair in pairs]):
        yield f"These Transformers of {len(pairs[0].transformer)} tokens of context {UNUSED}."
    for pair in pairs:
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
        slopes = [trend(np.log2(ends + 1), np.log(loss[ends])) for loss in (pair.transformer, pair.lstm)]
        first, last = mean_interval(early), mean_interval(late)
        verdict = (
            "it falls behind along the context, as in the paper"
            if growth > half
            else "it catches up along the context, unlike in the paper"
            if growth < -half
            else "no growth of the gap is seen"
        )
        layers = f"{pair.lstm_layers} {digits.plural(pair.lstm_layers, 'layer', 'layers')}"
        yield (
            f"LSTM of {digits.short(pair.lstm_N)} ({layers}) beside a Transformer of "
            f"{digits.short(pair.transformer_N)}, {n} tokens of context: "
            f"{digits.percent(math.expm1(first[0]), sign=True)} at the first {EARLY} tokens, "
            f"{digits.percent(math.expm1(last[0]), sign=True)} over the second half, a growth of "
            f"{digits.percent(growth, sign=True)} ± {digits.percent(half)}: {verdict}. Over the last two doublings of "
            f"the position the loss of the Transformer changes by {digits.percent(slopes[0].slope, sign=True)} each, "
            f"that of the LSTM by {digits.percent(slopes[1].slope, sign=True)}."
        )


# --- the figure


def _draw(transformer: Table, lstm: Table, pairs: Sequence[Pair]) -> Figure:
    with rc_context(STYLE):
        figure, (left, right) = panels(2, legend=False)
        depths = [int(n) for n in np.unique(lstm["n_layer"])]
        groups = [transformer, *(lstm.where(lstm["n_layer"] == n, "another depth") for n in depths)]
        for k, table in enumerate(groups):
            left.plot(*means(table), color=symbol(k)["color"], lw=0.9)
            left.plot(table["params"], table["loss"], **symbol(k, lw=0))
        N, loss = (np.concatenate([table[name] for table in groups]) for name in ("params", "loss"))
        logarithmic(left, N, "params", loss)
        if not papers_points(left, *reference.points("fig7_transformer").T):
            papers_slope(left, transformer["params"], transformer["loss"], -_theirs(0))
        left.set_ylabel(LOSS)
        left.set_title("Against N")
        names = [f"Transformer, {runs.depths_text(transformer)}", *(_called(n) for n in depths)]
        groups_legend(left, [(name, symbol(k, lw=0.9)) for k, name in enumerate(names)], "upper right")
        _draw_along(right, pairs)
        return figure


def _draw_along(axes: Axes, pairs: Sequence[Pair]) -> None:
    axes.set_title("Along the context")
    if not pairs:
        blank(axes, "Along the context", "no pair of equal N")
        return
    shades = Shades(pairs[0].transformer_N, pairs[-1].transformer_N)
    shown, entries = [], []
    for pair in pairs:
        for loss, dashes in ((pair.transformer, ()), (pair.lstm, (4, 2))):
            at, y = by_half_octave(loss)
            style = {"color": shades(pair.transformer_N), "lw": 1.2, "dashes": dashes or (None, None)}
            axes.plot(at, y, **style)
            shown.append(y)
            name = "LSTM" if dashes else "Transformer"
            entries.append((f"{name}, N = {digits.short(pair.lstm_N if dashes else pair.transformer_N)}", style))
    axes.set_xscale("log")
    log_y(axes, np.concatenate(shown), digits.plain)
    low, high = axes.get_ylim()
    axes.set_ylim(low, high * (high / low) ** 0.4)
    log_axis(axes.xaxis, 2.0 ** np.arange(math.floor(math.log2(len(pairs[0].gap))) + 1))
    axes.set_xlabel(LABELS["position"])
    groups_legend(axes, entries, "upper right")


def by_half_octave(loss: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means over positions of half an octave, at their geometric middle: single positions scatter with the text."""
    position = np.arange(1, len(loss) + 1)
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
                {"kind": kind, "n_layer": layers, "params": N, "position": t + 1, "loss": value}
                for t, value in enumerate(loss)
            ]
    return rows
