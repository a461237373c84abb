"""Figure 7: LSTMs of 1, 2 and 4 layers beside Transformers, over N and along the context."""

import dataclasses
import math
from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import digits, reference
from analysis.confidence import LEVEL, t_quantile
from analysis.fit import fit
from analysis.fit.estimate import Fit
from analysis.page.canvas import LABELS, LOSS, STYLE, Shades, log_axes, log_axis, log_y, margins, panels
from analysis.papers.kaplan import claims, ghosts, runs
from analysis.papers.kaplan.context import UNUSED, unused
from analysis.papers.kaplan.drawn import Constant, Drawn, Experiments, points, undecided
from analysis.papers.kaplan.marks import groups_legend, symbol
from analysis.papers.kaplan.trend import between, mean_interval, trend
from analysis.papers.kaplan.words import from_fit
from analysis.replicates import Noise
from analysis.table import Table
from scaling.errors import InputError

NAME, TITLE = "fig7", "Figure 7: LSTM and Transformer"
DIGITISED = {1: "fig7_lstm_1_layer", 2: "fig7_lstm_2_layer", 4: "fig7_lstm_4_layer"}
LEAST = 3  # sizes of a line
ALIKE = 1.6  # the N of a pair differ by less than this factor
PAIRS = 3  # that are shown along the context
EARLY = 4  # tokens: the first ones, at which the paper saw no difference


def figure_7(experiments: Experiments) -> Drawn:
    """Left: loss against N, equal tokens, best learning rates. Right: loss along the context of pairs of equal N."""
    found = runs.finished(experiments, "lstm", "context")
    lstm = runs.of_kind(found, "lstm") if found is not None else None
    if lstm is None:
        return undecided(NAME, TITLE, "no LSTM is finished.")
    every = _same_length(lstm, experiments)
    lstm = runs.best_rates(every)
    transformer = runs.transformers_like(experiments, lstm)
    if transformer is None:
        return undecided(
            NAME, TITLE, "no Transformer was trained on the same tokens for as long as the LSTMs.", data=_data(lstm, [])
        )
    lines = _lines(transformer, lstm)
    pairs = _pairs(experiments)
    figure = _draw(transformer, lstm, pairs)
    data = _data(_both(transformer, lstm), pairs)
    with_lines = [n for n in lines if n]
    if 0 not in lines or not with_lines:
        why = f"a line needs {LEAST} sizes, {len(np.unique(transformer['params']))} Transformers are finished and "
        why += ", ".join(
            f"{int((lstm['n_layer'] == n).sum())} LSTMs of {n:.0f} layers" for n in np.unique(lstm["n_layer"])
        )
        undone = undecided(NAME, TITLE, why + ".", figure=figure, data=data)
        # The right panel may say something all the same.
        return dataclasses.replace(undone, sentences=(*undone.sentences, *_along(pairs, runs.noise_of(experiments))))
    constants = dict(_constants(lines, experiments, lstm))
    sentences = [
        f"At {digits.short(float(np.median(lstm['tokens'])))} tokens each. The Transformers are the ladder of "
        f"{runs.depths_text(transformer)}, one model per width. {_exponents(lines)}",
        *_rates(every, lstm),
        *(_gap(transformer, lstm, int(n), runs.noise_of(experiments)) for n in np.unique(lstm["n_layer"])),
        *(_slope_gap(lines[0], n, one) for n, one in constants.items()),
        *_along(pairs, runs.noise_of(experiments)),
    ]
    return Drawn(NAME, TITLE, figure, tuple(sentences), tuple(constants.values()), data)


def _same_length(lstm: Table, experiments: Experiments) -> Table:
    """The LSTMs of the experiment lstm, or, if there are none, those of the commonest context."""
    if "lstm" in experiments:
        own = np.isin(lstm["run"], experiments["lstm"].runs["run"])
        if own.any():
            lstm = lstm.where(own, "of another experiment")
    contexts, counts = np.unique(lstm["n_ctx"], return_counts=True)
    return lstm.where(lstm["n_ctx"] == contexts[np.argmax(counts)], "another context")


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


def _both(transformer: Table, lstm: Table) -> Table:
    names = ("run", "kind", "n_layer", "params", "learning_rate", "seed", "loss")
    return Table(
        {
            name: np.concatenate([transformer[name], lstm[name]])
            for name in names
            if name in lstm and name in transformer
        },
        np.arange(1, len(transformer) + len(lstm) + 1),
    )


# --- over N


def _lines(transformer: Table, lstm: Table) -> dict[int, Fit]:
    """The power law of each group with LEAST sizes or more; by layers of the LSTM, 0 for the Transformers."""
    found = {}
    low, high = (
        lstm["params"].min() / ALIKE,
        lstm["params"].max() * ALIKE,
    )  # the same range, lest a bend look like a slope
    inside = (transformer["params"] >= low) & (transformer["params"] <= high)
    groups = {0: transformer.where(inside, "beyond the sizes of the LSTMs")}
    groups |= {int(n): lstm.where(lstm["n_layer"] == n, "another depth") for n in np.unique(lstm["n_layer"])}
    for layers, table in groups.items():
        if len(np.unique(table["params"])) >= LEAST:
            try:
                line = fit("kaplan-n", runs.per_size(table), loss="squared", every_run=True)
            except InputError:
                continue  # too noisy for a line: its points are shown
            if line.status == "converged":
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


def _constants(lines: dict[int, Fit], experiments: Experiments, lstm: Table) -> Iterator[tuple[int, Constant]]:
    """The exponents by layers."""
    note = "the slope of the points of the paper's plot; at equal tokens here, converged there"
    for layers, line in lines.items():
        if layers in DIGITISED:
            name = f"alpha_N, {_called(layers)}"
            found = from_fit(name, "Fig 7", line, "alpha_N", paper=_theirs(layers), note=note)
            yield layers, claims.no_narrower(found, experiments, lstm["params"][lstm["n_layer"] == layers])


def _gap(transformer: Table, lstm: Table, layers: int, noise: Noise | None) -> str:
    """How far the LSTMs of one depth lie above Transformers of the same N, at the ends of the common range."""
    N, loss = runs.means(lstm.where(lstm["n_layer"] == layers, "another depth"))
    gap = np.log(loss / between(*runs.means(transformer), N))
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
        verdict = "without two seeds anywhere, what is noise is not known"
    elif last > half:
        verdict = "above it, as in the paper"
    elif last < -half:
        verdict = "below it, where the paper saw it above: these Transformers may not have learned to use their context"
    else:
        verdict = "not told from it"
    return (
        f"{_called(layers)} against the Transformer at equal N: {', '.join(said(k) for k in ends)} "
        f"(± {digits.percent(half)} from the seeds): at the largest common size {verdict}."
    )


def _slope_gap(transformer: Fit, layers: int, lstm: Constant) -> str:
    """Whether the LSTM gains less from N than the Transformer."""
    if lstm.value is None or lstm.low is None or lstm.high is None:
        return f"{_called(layers)}: its exponent is not known well enough to set beside the Transformer's."
    low, high = transformer.intervals["alpha_N"]
    difference = transformer.constants["alpha_N"] - lstm.value
    half = math.hypot((high - low) / 2, (lstm.high - lstm.low) / 2)
    verdict = (
        "it gains less from N, as in the paper"
        if difference > half
        else "it gains more from N, other than in the paper; few and narrow sizes with coarsely tried learning rates "
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


def _pairs(experiments: Experiments) -> list[Pair]:
    """At most PAIRS pairs of the longest context that both kinds were trained with, by rising N."""
    table = runs.finished(experiments, "context", "lstm")
    lstm = runs.of_kind(table, "lstm") if table is not None else None
    for n_ctx in sorted(set(lstm["n_ctx"]), reverse=True) if lstm is not None else ():
        assert lstm is not None
        own = runs.best_rates(lstm.where(lstm["n_ctx"] == n_ctx, "another context"))
        others = runs.transformers_like(experiments, own)
        if others is None:
            continue
        found = []
        for N in np.unique(others["params"]):
            apart = np.abs(np.log(own["params"] / N))
            k = int(np.argmin(apart + 1e-3 * (own["loss"] / own["loss"].min() - 1)))  # of equally near ones the better
            if apart[k] < math.log(ALIKE):
                same = (own["params"] == own["params"][k]) & (own["n_layer"] == own["n_layer"][k])
                a = runs.loss_by_position(experiments, own.where(same, "another size"))
                b = runs.loss_by_position(experiments, others.where(others["params"] == N, "another size"))
                if a is not None and b is not None and len(a) == len(b) >= 4 * EARLY:
                    found.append(Pair(float(own["params"][k]), int(own["n_layer"][k]), float(N), a, b))
        if found:
            keep = np.unique(np.linspace(0, len(found) - 1, PAIRS).round().astype(int))
            return [found[k] for k in keep]
    return []


def _along(pairs: Sequence[Pair], noise: Noise | None) -> Iterator[str]:
    if not pairs:
        yield "Along the context: no LSTM and Transformer of nearly the same N were trained with the same context."
    elif unused([pair.transformer for pair in pairs]):
        yield f"As for these Transformers of {len(pairs[0].transformer)} tokens of context, {UNUSED}."
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
            else "it catches up along the context, other than in the paper"
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
            left.plot(*runs.means(table), color=symbol(k)["color"], lw=0.9)
            left.plot(table["params"], table["loss"], **symbol(k, lw=0))
        N, loss = (np.concatenate([table[name] for table in groups]) for name in ("params", "loss"))
        log_axes(left, "params", N, loss)
        left.set_xlim(*margins(N, 1.4))
        if not ghosts.shown(left, *reference.points("fig7_transformer").T):
            ghosts.slope(left, transformer["params"], transformer["loss"], -_theirs(0))
        left.set_ylabel(LOSS)
        left.set_title("Against N")
        names = [f"Transformer, {runs.depths_text(transformer)}", *(_called(n) for n in depths)]
        groups_legend(left, [(name, symbol(k, lw=0.9)) for k, name in enumerate(names)], "upper right")
        _draw_along(right, pairs)
        return figure


def _draw_along(axes: Axes, pairs: Sequence[Pair]) -> None:
    axes.set_title("Along the context")
    if not pairs:
        axes.text(0.5, 0.5, "no pair of equal N", transform=axes.transAxes, ha="center", color="grey")
        axes.set_xticks([])
        axes.set_yticks([])
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


def _data(table: Table, pairs: Sequence[Pair]) -> Table:
    """Both panels: rows with `position` are those of the right one."""
    names = ("run", "kind", "n_layer", "params", "learning_rate", "seed", "loss")
    rows = [{name: table[name][i] for name in names if name in table} for i in range(len(table))]
    for pair in pairs:
        for kind, N, layers, loss in (
            ("transformer", pair.transformer_N, None, pair.transformer),
            ("lstm", pair.lstm_N, pair.lstm_layers, pair.lstm),
        ):
            rows += [
                {"kind": kind, "n_layer": layers, "params": N, "position": t + 1, "loss": value}
                for t, value in enumerate(loss)
            ]
    return points(NAME, rows)
