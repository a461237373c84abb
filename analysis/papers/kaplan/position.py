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
from analysis.fit import fit
from analysis.fit.estimate import Fit
from analysis.page.canvas import LOSS, STYLE, Shades, log_axis, log_y, panels, size_legend
from analysis.papers.claim import Claim, Undecided
from analysis.papers.drawing import blank, groups_legend, logarithmic
from analysis.papers.drawn import Drawn
from analysis.papers.kaplan.claims import RATIO, Kaplan
from analysis.papers.kaplan.context import LEAST, UNUSED, Sizes, colour_of, long_context, uncounted, unused
from analysis.papers.kaplan.trend import trend
from analysis.papers.known import measured
from analysis.table import Table
from scaling.errors import InputError

SHARE = 0.9  # of the fall of a loss
AT = "loss_at_"  # columns of a table of curves: means over an octave of positions


def figure_20(evidence: Kaplan, drawn: Drawn) -> None:
    """Left: loss at token T of each size, with a + b T^-c. Right: the same of the largest during its training."""
    sizes = long_context(evidence)
    laws: dict[float, Fit] = {}
    for N, loss in sizes.loss.items():
        with contextlib.suppress(InputError):  # its losses are drawn without a law
            laws[N] = fit("kaplan-position", _along(loss), loss="squared")
    training = _training(evidence, sizes)
    drawn.figure = _draw(sizes, laws, training)
    drawn.points(_rows(sizes, laws))
    sound = {N: law for N, law in laws.items() if law.sound and _half(law) < law.constants["c"] / 2}
    if not sound:
        why = f"the exponent of the position is not known to a half of itself at any of {len(sizes.loss)} sizes."
        raise Undecided(why + (f" Models of {sizes.n_ctx} tokens {UNUSED}" if unused(sizes.loss) else ""))
    theirs = np.array(reference.published()["kaplan2020"]["fig20_position_fits"]["value"])
    drawn.say(_powers(sizes, sound, theirs), *_with_size(sound, theirs))
    drawn.say(*(_during(training) if training is not None else ["During training: the curves hold no positions."]))
    drawn.say(uncounted(sizes.table))
    largest = max(sound)
    note = f"N = {digits.short(largest)}, {sizes.n_ctx} tokens of context; the paper's has 774M and 1024"
    claim = Claim("c, largest model", "Fig. 20", float(theirs[-1, 2]), enough=RATIO, note=note)
    drawn.show(measured(claim, lambda: sound[largest], "c"))


def _along(loss: np.ndarray) -> Table:
    return Table({"position": np.arange(1.0, len(loss) + 1), "loss": loss}, np.arange(1, len(loss) + 1), "positions")


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
        else "it falls with N, unlike in the paper"
    )
    yield (
        f"The exponent c changes by {_signed(line.slope)} ({_signed(line.low)} to {_signed(line.high)}) per decade of "
        f"N: {verdict}."
    )
    if np.mean([law.constants["c"] for law in sound.values()]) > theirs[-1, 2]:
        yield (
            "Our c are larger: tokens of a small vocabulary carry a few letters each, and much of what helps to "
            "predict them lies within the last word or two."
        )


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
        f"In the training of the largest model the first tokens have made {digits.percent(SHARE)} of their fall after "
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
    with rc_context(STYLE):
        figure, (left, right) = panels(2)
        T = np.arange(1.0, sizes.n_ctx + 1)
        for N, loss in sizes.loss.items():
            left.plot(T, loss, "o", color=shades(N), ms=1.8, mew=0, alpha=0.55)
            if N in laws:
                left.plot(T, laws[N].band(T).value, color=shades(N), lw=1.2, dashes=(4, 2))
        logarithmic(left, 2.0 ** np.arange(int(math.log2(sizes.n_ctx)) + 1), "position", [*sizes.loss.values()])
        left.set_ylabel(LOSS)
        left.set_title("At each position, with a + b T^−c")
        size_legend(figure, np.array(list(sizes.loss)), shades)
        _draw_training(right, training)
        return figure


def _draw_training(axes: Axes, training: Table | None) -> None:
    axes.set_title("During the training of the largest")
    if training is None:
        blank(axes, "During the training of the largest", "no losses by position were recorded")
        return
    octaves = _octaves(training)
    entries, shown = [], []
    for T in octaves:
        style = {"color": colour_of(T, octaves[-1]), "lw": 1.1}
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


def _rows(sizes: Sizes, laws: dict[float, Fit]) -> Iterator[dict[str, Any]]:
    for N, loss in sizes.loss.items():
        law = {} if N not in laws else laws[N].constants
        for t, value in enumerate(loss):
            yield {"params": N, "position": t + 1, "loss": value, **law}
