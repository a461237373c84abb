"""Figure 20: the loss along the context, of each size, and during the training of the largest."""

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import digits, reference
from analysis.confidence import LEVEL, t_quantile
from analysis.fit import fit
from analysis.fit.estimate import Fit
from analysis.page.canvas import GREY, LOSS, STYLE, Shades, log_axis, log_y, panels
from analysis.papers.claim import Claim, Undecided
from analysis.papers.drawing import BITS, bits_per_byte, blank, fixed_limits, groups_legend, logarithmic
from analysis.papers.drawn import Drawn
from analysis.papers.kaplan.claims import RATIO, Kaplan
from analysis.papers.kaplan.context import LEAST, Sizes, colour_of, long_context, onsets, uncounted
from analysis.papers.kaplan.trend import trend
from analysis.papers.known import measured
from analysis.table import Table
from scaling.errors import InputError

SHARE = 0.9  # of the fall of a loss
AT = "loss_at_"  # columns of a table of curves: means over an octave of positions


def figure_20(evidence: Kaplan, drawn: Drawn) -> None:
    """Left: a dot is the loss at position T of one size, mean over its held-out windows, dashed a + b T^-c through the
    dots; dotted the paper's law of its smallest and its largest model, scaled to the height of our largest. Right: the
    mean loss over octaves of T while the largest is trained, with its onset of context use.
    """
    sizes = long_context(evidence)
    laws: dict[float, Fit] = {}
    for N, loss in sizes.loss.items():
        with contextlib.suppress(InputError):  # its losses are drawn without a law
            laws[N] = fit("kaplan-position", _along(sizes.position, loss), loss="squared")
    training = _training(evidence, sizes)
    drawn.figure = _draw(sizes, laws, training)
    drawn.points(_rows(sizes, laws))
    drawn.say(*onsets(sizes.table))
    sound = {N: law for N, law in laws.items() if law.sound and _half(law) < law.constants["c"] / 2}
    if not sound:
        why = f"the exponent of the position is not known to a half of itself at any of {len(sizes.loss)} sizes."
        raise Undecided(f"{why} {_reach(sizes)}")
    theirs = np.array(reference.published()["kaplan2020"]["fig20_position_fits"]["value"])
    drawn.say(_powers(sizes, sound, theirs), *_with_size(sound, theirs, float(sizes.table["n_vocab"][0])))
    drawn.say(*(_during(training) if training is not None else ["During training: the curves hold no positions."]))
    drawn.say(uncounted(sizes.table))
    largest = max(sound)
    note = f"N = {digits.short(largest)}, {sizes.n_ctx} tokens of context; the paper's has 774M and 1024"
    claim = Claim("c, largest model", "Fig. 20", float(theirs[-1, 2]), enough=RATIO, note=note)
    drawn.show(measured(claim, lambda: sound[largest], "c"))


def _along(position: np.ndarray, loss: np.ndarray) -> Table:
    return Table({"position": position.astype(float), "loss": loss}, np.arange(1, len(loss) + 1), "positions")


def _reach(sizes: Sizes) -> str:
    """How much of the fall along the context comes late."""
    late = [1 - loss[len(loss) // 2 :].mean() / loss[(sizes.position > 2) & (sizes.position <= 4)].mean()
            for loss in sizes.loss.values()]  # fmt: skip
    text = f"Past T = 4 their losses fall by {digits.percent(min(late))} to {digits.percent(max(late))}"
    return text + (f"; {len(sizes.unused)} ended before their onset of context use" if sizes.unused else "")


def _half(law: Fit) -> float:
    low, high = law.intervals["c"]
    return (high - low) / 2


def _powers(sizes: Sizes, sound: dict[float, Fit], theirs: np.ndarray) -> str:
    said = []
    for N, law in sound.items():
        value, ends = digits.constant(law.constants["c"], *law.intervals["c"])
        said.append(f"{value} ({ends}) at N = {digits.short(N)}")
    off = max(law.residuals.rms for law in sound.values())
    text = (
        f"L(T) = a + b T^−c over {sizes.n_ctx} tokens of context, to {digits.percent(off)} rms or better: c = "
        f"{', '.join(said)}. The paper: {theirs[0, 2]:g} to {theirs[-1, 2]:g} from its smallest to its largest model."
    )
    lost = len(sizes.loss) - len(sound)
    return text + (f" {lost} of {len(sizes.loss)} sizes give no sound fit." if lost else "")


def _with_size(sound: dict[float, Fit], theirs: np.ndarray, n_vocab: float) -> Iterator[str]:
    if len(sound) < LEAST:
        yield f"{len(sound)} sizes: whether c grows with N cannot be told."
        return
    slope, half = _per_decade(sound)
    verdict = (
        "no change with N is told; the paper saw it grow, over far larger sizes"
        if abs(slope) <= half
        else "it grows with N, as in the paper"
        if slope > 0
        else "it falls with N, unlike in the paper"
    )
    ends = f"{_signed(slope - half)} to {_signed(slope + half)}"
    yield f"The exponent c changes by {_signed(slope)} ({ends}) per decade of N: {verdict}."
    if np.mean([law.constants["c"] for law in sound.values()]) > theirs[-1, 2]:
        yield (
            f"Our c are larger. Possibly because a token of {n_vocab:,.0f} carries fewer letters than one of "
            f"{reference.value('n_vocab'):,.0f}, so that the same reach is more tokens: a larger vocabulary would tell."
        )


def _per_decade(sound: dict[float, Fit]) -> tuple[float, float]:
    """The slope of c in log10 N and half its interval: each c counts by its own interval, and these are widened where c
    scatters about the line by more than they say.
    """
    x, c = np.log10(list(sound)), np.array([law.constants["c"] for law in sound.values()])
    w = np.array([_half(law) for law in sound.values()]) ** -2.0
    away = x - np.average(x, weights=w)
    square = float((w * away**2).sum())
    slope = float((w * away * c).sum()) / square
    rest = c - np.average(c, weights=w) - slope * away
    # Intervals are this many standard deviations wide; chi-square of the rest over its degrees of freedom.
    sigmas = float(t_quantile(LEVEL, np.array(1e6)))
    spread = sigmas * math.sqrt(float((w * rest**2).sum()) / (len(x) - 2))
    return slope, max(1.0, spread) / math.sqrt(square)


def _signed(value: float) -> str:
    return digits.minus(f"{value:+.2g}")


def _training(evidence: Kaplan, sizes: Sizes) -> Table | None:
    """The learning curve of one run of the largest size, with losses by octaves of the position."""
    largest = sizes.table.where(sizes.table["params"] == max(sizes.loss), "smaller")
    try:
        curves = evidence.curves_of(largest.where(np.arange(len(largest)) == 0, "another seed"))
    except Undecided:
        return None
    return curves if len(_octaves(curves)) >= 3 and len(curves) >= 4 else None


def _octaves(curves: Table) -> list[int]:
    """The ends T of the octaves whose mean loss the curves hold, rising."""
    return sorted(int(name.removeprefix(AT)) for name in curves if name.startswith(AT) and curves.has(name))


def _during(training: Table) -> Iterator[str]:
    """When each octave of positions has made most of its fall."""
    octaves = [T for T in _octaves(training) if T > 1]  # at the first position there is only how frequent tokens are
    step = training["step"]
    when = []
    for T in octaves:
        low = np.minimum.accumulate(training[f"{AT}{T}"])
        goal = low[0] - SHARE * (low[0] - low[-1])
        first = np.concatenate(([True], np.diff(low) < 0))
        when.append(math.exp(float(np.interp(-goal, -low[first], np.log(step[first])))))
    line = trend(np.log2(octaves), np.log(when))
    text = (
        f"In the training of the largest model the first tokens have made {digits.percent(SHARE)} of their fall since "
        f"the first evaluation, at {digits.short(step[0])} updates, after "
        f"{digits.short(when[0])} updates (T = {octaves[0]}), the last after {digits.short(when[-1])} (T = "
        f"{octaves[-1] // 2 + 1} to {octaves[-1]}); per doubling of T it takes {digits.percent(line.slope, sign=True)} "
        f"({digits.percent(line.low, sign=True)} to {digits.percent(line.high, sign=True)}) updates more: "
    )
    if line.flat:
        yield text + "whether short range is learnt before long range, as the paper saw, cannot be decided here."
    else:
        yield text + (
            "short range is learnt first, long range later, as in the paper."
            if line.slope > 0
            else "long range is not learnt later here, unlike in the paper."
        )


def _draw(sizes: Sizes, laws: dict[float, Fit], training: Table | None) -> Figure:
    shades = Shades(min(sizes.loss), max(sizes.loss))
    T, entries = sizes.position.astype(float), []
    line = np.geomspace(T[0], T[-1], 100)
    with rc_context(STYLE):
        figure, (left, right) = panels(2, legend=False, beyond=BITS)
        for N, loss in sizes.loss.items():
            left.plot(T, loss, "o", color=shades(N), ms=1.8, mew=0, alpha=0.55)
            if N in laws:
                left.plot(line, laws[N].band(line).value, color=shades(N), lw=1.2, dashes=(4, 2))
            style = {"color": shades(N), "marker": "o", "ms": 3, "lw": 1.2, "dashes": (4, 2)}
            entries.append((f"N = {digits.short(N)}", style))
        logarithmic(left, 2.0 ** np.arange(int(math.log2(sizes.n_ctx)) + 1), "position", [*sizes.loss.values()])
        low, high = left.get_ylim()
        left.set_ylim(low, high * (high / low) ** 0.4)
        _papers(left, T, sizes.loss[max(sizes.loss)])
        left.set_ylabel(LOSS)
        left.set_title("At each position, with a + b T^−c")
        groups_legend(left, entries, "upper right")
        _draw_training(right, training, sizes)
        if training is not None:
            bits_per_byte(right, sizes.table)
        return figure


def _papers(axes: Axes, T: np.ndarray, loss: np.ndarray) -> None:
    """The paper's laws of its smallest and largest model, through the mean of ours: its losses are of other tokens."""
    for (a, b, c), name in zip(reference.published()["kaplan2020"]["fig20_position_fits"]["value"][:: 5],
                               ("smallest", "largest"), strict=True):  # fmt: skip
        theirs = a + b * T**-c
        factor = float(np.exp(np.mean(np.log(loss / theirs) / T) / np.mean(1 / T)))  # all octaves count alike
        style: dict[str, Any] = {"color": GREY, "lw": 1.0, "dashes": (1, 1.5) if name == "largest" else (1, 4)}
        with fixed_limits(axes):
            axes.plot(T, factor * theirs, label=f"paper's {name} × {factor:.2f}", zorder=1.5, **style)


def _draw_training(axes: Axes, training: Table | None, sizes: Sizes) -> None:
    title = f"During the training of N = {digits.short(max(sizes.loss))}"
    axes.set_title(title)
    if training is None:
        blank(axes, title, "no losses by position were recorded")
        return
    octaves = _octaves(training)
    entries, shown = [], []
    for T in octaves:
        style = {"color": colour_of(T, octaves[-1]), "lw": 1.1}
        axes.plot(training["step"], training[f"{AT}{T}"], **style)
        entries.append((_range(T), style))
        shown.append(training[f"{AT}{T}"])
    own = sizes.table["run"] == training["run"][0]
    if sizes.table.has("onset") and math.isfinite(when := float(sizes.table["onset"][own][0])):
        axes.axvline(when / training["batch_tokens"][0], color=GREY, lw=0.8, dashes=(1, 2), label="onset")
    axes.set_xscale("log")
    log_y(axes, np.concatenate(shown), digits.plain)
    log_axis(axes.xaxis, np.geomspace(training["step"].min(), training["step"].max(), 9))
    axes.set_xlabel("Updates")
    groups_legend(axes, entries, "lower left", title="Positions T", ncols=2)


def _range(T: int) -> str:
    return f"{T // 2 + 1} to {T}" if T > 2 else str(T)


def _rows(sizes: Sizes, laws: dict[float, Fit]) -> Iterator[dict[str, Any]]:
    for N, loss in sizes.loss.items():
        law = {} if N not in laws else laws[N].constants
        for T, value in zip(sizes.position, loss, strict=True):
            yield {"params": N, "position": T, "loss": value, **law}
