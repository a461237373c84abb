"""Figures 20 and 21: the loss at each position of the context, over positions, over training and over N."""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.estimation.estimate import Fit
from analysis.fit import fit
from analysis.page import digits
from analysis.page.canvas import (
    GREY,
    LOSS,
    MAP,
    STYLE,
    Shades,
    log_axes,
    log_axis,
    log_y,
    margins,
    panels,
    size_legend,
)
from analysis.papers import reference
from analysis.papers.kaplan import runs
from analysis.papers.kaplan.drawn import Constant, Drawn, Experiments, points, undecided
from analysis.papers.kaplan.marks import beside, groups_legend
from analysis.papers.kaplan.trend import Trend, mean_interval, trend
from analysis.table import Table
from scaling.errors import InputError

FIG20, TITLE20 = "fig20", "Figure 20: loss along the context"
FIG21, TITLE21 = "fig21", "Figure 21: loss at single positions against N"
LEAST = 3  # sizes
SHORTEST = 32  # tokens of context: a power law of the position needs some
SHARE = 0.9  # of the fall of a loss
PAPERS = (1, 2, 4, 8, 16, 64, 256, 1024)  # positions that the paper shows
AT = "loss_at_"  # columns of a table of curves: means over an octave of positions


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Transformers of one context: the loss at each position, from 1, of each N; seeds are averaged. N rises."""

    n_ctx: int
    table: Table
    loss: Mapping[float, np.ndarray]  # t each


def _sizes(experiments: Experiments, n_ctx: int | None = None) -> Sizes | None:
    """Those of this context, or of the longest one."""
    table = runs.finished(experiments, "context", "size")
    table = runs.of_kind(table, "transformer") if table is not None else None
    table = runs.deep(table)
    if table is None:
        return None
    length = n_ctx or int(table["n_ctx"].max())
    if not (table["n_ctx"] == length).any():
        return None
    table = table.where(table["n_ctx"] == length, "another context")
    tokens, counts = np.unique(table["tokens"], return_counts=True)
    table = runs.best_rates(table.where(table["tokens"] == tokens[np.argmax(counts)], "another length"))
    loss = {}
    for N in np.unique(table["params"]):
        at = runs.loss_by_position(experiments, table.where(table["params"] == N, "another size"))
        if at is not None:
            loss[float(N)] = at
    return Sizes(length, table, loss) if loss else None


# --- figure 20


def figure_20(experiments: Experiments) -> Drawn:
    """Left: loss at token T of each size, with a + b T^-c. Right: the same of the largest during its training."""
    sizes = _sizes(experiments)
    if sizes is None or sizes.n_ctx < SHORTEST:
        return undecided(FIG20, TITLE20, f"no finished Transformer of two layers has a context of {SHORTEST} or more.")
    laws: dict[float, Fit] = {}
    for N, loss in sizes.loss.items():
        try:
            laws[N] = fit("kaplan-position", _along(loss), loss="squared", every_run=True)
        except InputError:
            continue  # its losses are drawn without a law
    training = _training(experiments, sizes)
    figure, data = _draw20(sizes, laws, training), _data20(sizes, laws)
    sound = {N: law for N, law in laws.items() if law.status == "converged" and _half(law) < law.constants["c"] / 2}
    if not sound:
        why = f"the exponent of the position is not known to a half of itself at any of {len(sizes.loss)} sizes."
        return undecided(FIG20, TITLE20, why, figure=figure, data=data)
    theirs = np.array(reference.published()["kaplan2020"]["fig20_position_fits"]["value"])
    sentences = [_powers(sizes, laws, sound, theirs), *_with_size(sound, theirs)]
    sentences += list(_during(training)) if training is not None else ["During training: the curves hold no positions."]
    largest = max(sound)
    constant = Constant(
        "c, largest model", "Fig 20", float(theirs[-1, 2]), sound[largest].constants["c"],
        *sound[largest].intervals["c"],
        note=f"N = {digits.short(largest)}, {sizes.n_ctx} tokens of context; the paper's has 774M and 1024",
    )  # fmt: skip
    return Drawn(FIG20, TITLE20, figure, tuple(sentences), (constant,), data)


def _along(loss: np.ndarray) -> Table:
    return Table({"position": np.arange(1.0, len(loss) + 1), "loss": loss}, np.arange(1, len(loss) + 1), "positions")


def _half(law: Fit) -> float:
    low, high = law.intervals["c"]
    return (high - low) / 2


def _powers(sizes: Sizes, laws: dict[float, Fit], sound: dict[float, Fit], theirs: np.ndarray) -> str:
    said = []
    for N, law in sound.items():
        value, ends = digits.constant(law.constants["c"], *law.intervals["c"])
        said.append(f"{value} ({ends}) at N = {digits.short(N)}")
    off = max(law.residuals.rms for law in sound.values())
    text = (
        f"L(T) = a + b T^-c over {sizes.n_ctx} tokens of context, to {digits.percent(off)} rms or better: c = "
        f"{', '.join(said)}. The paper: {theirs[0, 2]:g} to {theirs[-1, 2]:g} from its smallest to its largest model."
    )
    lost = len(sizes.loss) - len(sound)
    return text + (f" {lost} of {len(sizes.loss)} sizes give no sound fit." if lost else "")


def _with_size(sound: dict[float, Fit], theirs: np.ndarray) -> Iterator[str]:
    if len(sound) < LEAST:
        yield f"{len(sound)} sizes: whether c grows with N cannot be told."
        return
    line = trend(np.log10(list(sound)), [law.constants["c"] for law in sound.values()])
    verdict = (
        "no change with N is told; the paper saw it grow, over far larger sizes"
        if line.flat
        else "it grows with N, as in the paper"
        if line.slope > 0
        else "it falls with N, other than in the paper"
    )
    yield (
        f"c changes by {_signed(line.slope)} ({_signed(line.low)} to {_signed(line.high)}) per decade of N: {verdict}."
    )
    if np.mean([law.constants["c"] for law in sound.values()]) > theirs[-1, 2]:
        yield (
            "Our c are larger: tokens of a small vocabulary carry a few letters each, and much of what helps to "
            "foretell them lies within the last word or two."
        )


def _signed(value: float) -> str:
    return f"{value:+.2g}".replace("-", "−")


def _training(experiments: Experiments, sizes: Sizes) -> Table | None:
    """The learning curve of one run of the largest size, with losses by octaves of the position."""
    largest = sizes.table.where(sizes.table["params"] == max(sizes.loss), "smaller")
    curves = runs.curves_of(experiments, largest.where(np.arange(len(largest)) == 0, "another seed"))
    if curves is None or len(_octaves(curves)) < 3 or len(curves) < 4:
        return None
    return curves


def _octaves(curves: Table) -> list[int]:
    """The ends T of the octaves whose mean loss the curves hold, rising."""
    return sorted(int(name.removeprefix(AT)) for name in curves if name.startswith(AT) and curves.has(name))


def _during(training: Table) -> Iterator[str]:
    """When each octave of positions has made most of its fall."""
    octaves = [T for T in _octaves(training) if T > 1]  # the first position sees nothing to learn from
    step = training["step"]
    when = []
    for T in octaves:
        low = np.minimum.accumulate(training[f"{AT}{T}"])
        goal = low[0] - SHARE * (low[0] - low[-1])
        first = np.concatenate(([True], np.diff(low) < 0))
        when.append(math.exp(float(np.interp(-goal, -low[first], np.log(step[first])))))
    line = trend(np.log2(octaves), np.log(when))
    text = (
        f"In the training of the largest model the first tokens have made {digits.percent(SHARE)} of their fall after "
        f"{digits.short(when[0])} updates (T = {octaves[0]}), the last after {digits.short(when[-1])} (T = "
        f"{octaves[-1] // 2 + 1} to {octaves[-1]}); per doubling of T it takes {digits.percent(line.slope, sign=True)} "
        f"({digits.percent(line.low, sign=True)} to {digits.percent(line.high, sign=True)}) updates more: "
    )
    if line.flat:
        yield text + "that short range is learnt before long range, as the paper saw, is not told here."
    else:
        yield text + (
            "short range is learnt first, long range later, as in the paper."
            if line.slope > 0
            else "long range is not learnt later here, other than in the paper."
        )


def _draw20(sizes: Sizes, laws: dict[float, Fit], training: Table | None) -> Figure:
    shades = Shades(min(sizes.loss), max(sizes.loss))
    with rc_context(STYLE):
        figure, (left, right) = panels(2)
        T = np.arange(1.0, sizes.n_ctx + 1)
        for N, loss in sizes.loss.items():
            left.plot(T, loss, "o", color=shades(N), ms=1.8, mew=0, alpha=0.55)
            if N in laws:
                left.plot(T, laws[N].band(T).value, color=shades(N), lw=1.2, dashes=(4, 2))
        log_axes(left, "position", 2.0 ** np.arange(int(math.log2(sizes.n_ctx)) + 1), [*sizes.loss.values()])
        left.set_ylabel(LOSS)
        left.set_title("At each position, with a + b T^-c")
        size_legend(figure, np.array(list(sizes.loss)), shades)
        _draw_training(right, training)
        return figure


def _draw_training(axes: Axes, training: Table | None) -> None:
    axes.set_title("During the training of the largest")
    if training is None:
        axes.text(0.5, 0.5, "not recorded", transform=axes.transAxes, ha="center", color="grey")
        axes.set_xticks([])
        axes.set_yticks([])
        return
    octaves = _octaves(training)
    entries, shown = [], []
    for T in octaves:
        style = {"color": _of_position(T, octaves[-1]), "lw": 1.1}
        axes.plot(training["step"], training[f"{AT}{T}"], **style)
        entries.append((_range(T), style))
        shown.append(training[f"{AT}{T}"])
    axes.set_xscale("log")
    log_y(axes, np.concatenate(shown), digits.plain)
    log_axis(axes.xaxis, np.geomspace(training["step"].min(), training["step"].max(), 9))
    axes.set_xlabel("Updates")
    groups_legend(axes, entries, "lower left", title="Positions", ncols=2)


def _range(T: int) -> str:
    return f"{T // 2 + 1} to {T}" if T > 2 else str(T)


def _of_position(T: float, last: float) -> tuple[float, float, float, float]:
    """The colour of a position: light for the first, dark for the last."""
    import matplotlib

    return matplotlib.colormaps[MAP](0.9 - 0.88 * math.log(T) / math.log(max(last, 2)))


def _data20(sizes: Sizes, laws: dict[float, Fit]) -> Table:
    rows = []
    for N, loss in sizes.loss.items():
        law = {} if N not in laws else laws[N].constants
        rows += [{"params": N, "position": t + 1, "loss": value, **law} for t, value in enumerate(loss)]
    return points(FIG20, rows)


# --- figure 21


def figure_21(experiments: Experiments) -> Drawn:
    """Loss at tokens 1, 2, 4, ... against N, of a long context and, dashed, of one of 8 tokens."""
    long, short = _sizes(experiments), _sizes(experiments, 8)
    if long is None or long.n_ctx < SHORTEST:
        return undecided(FIG21, TITLE21, f"no finished Transformer of two layers has a context of {SHORTEST} or more.")
    places = [T for T in PAPERS if T < long.n_ctx] + [long.n_ctx]
    figure, data = _draw21(long, short, places), _data21(long, short, places)
    if len(long.loss) < LEAST:
        why = f"{len(long.loss)} sizes of {long.n_ctx} tokens of context; wanted {LEAST}."
        return undecided(FIG21, TITLE21, why, figure=figure, data=data)
    N = np.log(list(long.loss))
    slopes = {T: trend(N, np.log(_near(long, T))) for T in places}
    falling = [T for T, line in slopes.items() if line.high < 0]
    said = ", ".join(f"{_minus(line)} at T = {T}" for T, line in slopes.items())
    sentences = [
        f"Exponents of N at single positions, {long.n_ctx} tokens of context: {said}. What text stands at a position "
        f"moves its loss by {digits.percent(_text_noise(long))} (one standard deviation), alike for all sizes.",
        _first(slopes[1], falling, [T for T in places if T > 1]),
        *(_short(long, short) if short is not None else ["No models of 8 tokens of context are finished."]),
    ]
    return Drawn(FIG21, TITLE21, figure, tuple(sentences), (), data)


def _at(sizes: Sizes, N: float, T: int) -> np.ndarray:
    """The losses of a size near position T: from T / sqrt(2) up to T, for single positions scatter."""
    return sizes.loss[N][math.ceil(T / math.sqrt(2)) - 1 : T]


def _near(sizes: Sizes, T: int) -> np.ndarray:
    """The mean loss near position T of each size."""
    return np.array([_at(sizes, N, T).mean() for N in sizes.loss])


def _minus(line: Trend) -> str:
    """The exponent alpha of N^-alpha with its interval."""
    return f"{-line.slope:.3f} ({-line.high:.3f} to {-line.low:.3f})".replace("-", "−")


def _first(first: Trend, falling: Sequence[int], others: Sequence[int]) -> str:
    missing = [T for T in others if T not in falling]
    text = (
        "At the first token, which has no context, N does not help"
        if first.flat
        else "At the first token N helps as well"
        if first.slope < 0
        else "At the first token larger models are worse"
    )
    others_do = (
        f"that it does is not told at T = {', '.join(map(str, missing))}" if missing else "at all others it does"
    )
    return f"{text}; {others_do} (the paper: all positions but the first improve with N)."


def _short(long: Sizes, short: Sizes) -> Iterator[str]:
    """Models of a short context against those of a long one, at equal N and early tokens."""
    as_long = np.median(short.table["tokens"]) == np.median(long.table["tokens"])
    common = [N for N in short.loss if N in long.loss] if as_long else []
    if len(common) < LEAST:
        yield (
            f"{len(common)} sizes were trained with both contexts for as long: which is better at early tokens cannot "
            "be told."
        )
        return
    text, parts = _text_noise(long), []
    for T in (T for T in (1, 2, 4, 8) if T <= short.n_ctx):
        change = mean_interval([math.log(_at(short, N, T).mean() / _at(long, N, T).mean()) for N in common])[0]
        parts.append(f"{digits.percent(change, sign=True)} at T = {T}")
    # One comparison: all positions that see something before them, and that the short context has.
    n = short.n_ctx - 1
    mean, low, high = mean_interval([np.log(short.loss[N][1:] / long.loss[N][1 : n + 1]).mean() for N in common])
    wide = 2 * text * math.sqrt(2 / n)
    low, high = mean - math.hypot(mean - low, wide), mean + math.hypot(high - mean, wide)
    verdict = (
        "they are better at early tokens, as in the paper"
        if high < 0
        else "they are worse at early tokens, other than in the paper"
        if low > 0
        else "that they do better at early tokens, as in the paper, is not told"
    )
    yield (
        f"Models of {short.n_ctx} tokens of context against those of {long.n_ctx} at equal N ({len(common)} sizes): "
        f"{', '.join(parts)}; over T = 2 to {short.n_ctx} {digits.percent(mean, sign=True)} "
        f"({digits.percent(low, sign=True)} to {digits.percent(high, sign=True)}, other windows of text allowed for): "
        f"{verdict}."
    )


def _text_noise(sizes: Sizes) -> float:
    """What the text of one position adds to ln of its loss: the scatter of neighbours, late in the context."""
    late = [np.log(loss[len(loss) // 2 :]) for loss in sizes.loss.values()]
    return float(np.median([np.std(np.diff(one)) / math.sqrt(2) for one in late]))


def _draw21(long: Sizes, short: Sizes | None, places: Sequence[int]) -> Figure:
    with rc_context(STYLE):
        figure, (axes,) = panels(1, height=4.8)
        N = np.array(list(long.loss))
        entries, shown, sizes = [], [], [N]
        for T in places:
            colour = _of_position(T, places[-1])
            axes.plot(N, _near(long, T), "o-", color=colour, lw=1.0, ms=4, mec="white", mew=0.4)
            shown.append(_near(long, T))
            entries.append((str(T), {"color": colour, "marker": "o", "ms": 4, "lw": 1.0}))
            if short is not None and T <= short.n_ctx:
                own = np.array(list(short.loss))
                axes.plot(
                    own,
                    _near(short, T),
                    "s",
                    color=colour,
                    lw=1.0,
                    ms=3.4,
                    ls="--",
                    mec="white",
                    mew=0.4,
                )
                shown.append(_near(short, T))
                sizes.append(own)
        if short is not None:
            grey = {"color": GREY, "lw": 1.0}
            contexts = [(f"context {long.n_ctx}", grey | {"marker": "o", "ms": 4}),
                        (f"context {short.n_ctx}", grey | {"marker": "s", "ms": 3.4, "dashes": (4, 2)})]  # fmt: skip
            groups_legend(axes, contexts, "upper right")
        every = np.concatenate(sizes)
        log_axes(axes, "params", every, np.concatenate(shown))
        low, high = axes.get_ylim()
        axes.set_ylim(low, high * (high / low) ** 0.12)
        axes.set_xlim(*margins(every, 1.4))
        axes.set_ylabel(LOSS)
        axes.set_title("At single positions T")
        beside(figure, entries, "T")
        return figure


def _data21(long: Sizes, short: Sizes | None, places: Sequence[int]) -> Table:
    rows = [
        {"n_ctx": one.n_ctx, "params": N, "position": T, "loss": value}
        for one in (long, short)
        if one is not None
        for T in places
        if T <= one.n_ctx
        for N, value in zip(one.loss, _near(one, T), strict=True)
    ]
    return points(FIG21, rows)
