"""Figure 21: the loss at early and late positions of the context against N, of a long context and a very short one."""

import contextlib
import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from analysis import digits
from analysis.confidence import LEVEL, mean_interval, t_quantile
from analysis.page.canvas import GREY, LOSS, STYLE, panels
from analysis.papers.claim import Undecided
from analysis.papers.drawing import BITS, beside, bits_per_byte, groups_legend, logarithmic
from analysis.papers.drawn import Drawn
from analysis.papers.kaplan.claims import OF_LOSS, Kaplan
from analysis.papers.kaplan.context import LEAST, Sizes, colour_of, long_context, sizes_of
from analysis.papers.kaplan.trend import Trend, trend
from analysis.replicates import Noise

PAPERS = (1, 2, 4, 8, 16, 64, 256, 1024)  # positions that the paper shows


def figure_21(evidence: Kaplan, drawn: Drawn) -> None:
    """Mean loss over the positions T/√2 to T of the context against N, T = 1 being a token that is predicted from
    nothing: circles of a long context, squares of one of 8 tokens.
    """
    long, short = long_context(evidence), None
    places = [T for T in PAPERS if long.first <= T < long.n_ctx] + [long.n_ctx]
    without = "No models of 8 tokens of context are finished."
    with contextlib.suppress(Undecided):
        short = sizes_of(evidence, 8)
    drawn.figure = _draw(long, short, places)
    drawn.points(_rows(long, short, places))
    told = long.without(long.unused)
    if len(told.loss) < LEAST:
        raise Undecided(
            f"{len(told.loss)} of {len(long.loss)} sizes began to use their context of {long.n_ctx}; wanted {LEAST}"
        )
    slopes = {T: _slope(told, T, evidence.noise) for T in places}
    falling = [T for T, line in slopes.items() if line.high < 0]
    said = ", ".join(f"{_minus(line)} at T = {T}" for T, line in slopes.items())
    drawn.say(
        f"Exponents of N of the mean loss over the positions T/√2 to T (single ones scatter), {long.n_ctx} tokens of "
        f"context: {said}. What text stands at a position moves its loss by {digits.percent(_text_noise(told))} (one "
        "standard deviation), alike for all sizes.",
        _first(slopes, falling),
        _left_out(long),
        without if short is None else _short(told, short),
    )


def _at(sizes: Sizes, N: float, T: int) -> np.ndarray:
    """The losses of a size near position T, for single positions scatter."""
    return sizes.loss[N][(_first_of(T) <= sizes.position) & (sizes.position <= T)]


def _first_of(T: int) -> int:
    """The first of the positions whose mean stands for T: T / sqrt(2); 1 and 2 stand for themselves."""
    return math.ceil(T / math.sqrt(2))


def _positions(T: int) -> str:
    return str(T) if _first_of(T) == T else f"{_first_of(T)}–{T}"


def _near(sizes: Sizes, T: int) -> np.ndarray:
    """The mean loss near position T of each size."""
    return np.array([_at(sizes, N, T).mean() for N in sizes.loss])


def _slope(sizes: Sizes, T: int, noise: Noise | None) -> Trend:
    """How ln of the loss near position T goes with ln N.

    With few sizes the scatter about a line knows little, and a bend is no noise: where the seed noise is known, the
    interval is from it and from what single positions of a model are off by.
    """
    ln_N = np.log(list(sizes.loss))
    line = trend(ln_N, np.log(_near(sizes, T)))
    if noise is None:
        return line
    late = [np.log(loss[len(loss) // 2 :]) for loss in sizes.loss.values()]
    # Between two models what the text does to both drops out.
    own = np.median([np.std(np.diff(a - b)) / 2 for a, b in itertools.pairwise(late)])
    sigma = math.hypot(noise.sigma, float(own) / math.sqrt(T - _first_of(T) + 1))
    half = float(t_quantile(LEVEL, np.array(float(noise.degrees)))) * sigma / math.sqrt(len(ln_N) * np.var(ln_N))
    return dataclasses.replace(line, low=line.slope - half, high=line.slope + half)


def _minus(line: Trend) -> str:
    """The exponent alpha of N^−alpha with its interval."""
    return digits.minus(f"{-line.slope:.3f} ({-line.high:.3f} to {-line.low:.3f})")


def _first(slopes: Mapping[int, Trend], falling: Sequence[int]) -> str:
    """Whether N helps at the first position and at the others; slopes by position."""
    helped, missing = ([str(T) for T in slopes if T > 1 and (T in falling) == falls] for falls in (True, False))
    others = f"N helps at {'T = ' + ', '.join(helped) if missing else 'all others'}" if helped else ""
    if missing:
        others += f"{', ' * bool(helped)}whether it does at T = {', '.join(missing)} cannot be decided"
    if 1 not in slopes:
        first = "no token of these windows is predicted from nothing, as T = 1 is: the first is an input only"
    elif not slopes[1].flat:
        they_are = "better" if slopes[1].slope < 0 else "worse"
        first = f"at T = 1, which is predicted from nothing, larger models are {they_are}"
    elif slopes[1].high - slopes[1].low < 2 * OF_LOSS:
        first = "at T = 1, which is predicted from nothing, N does not help"
    else:
        first = "whether N helps at T = 1, which is predicted from nothing, cannot be decided"
    return f"{first}; {others} (the paper: all positions but the first improve with N)."


def _left_out(long: Sizes) -> str:
    if not long.unused:
        return ""
    sizes = ", ".join(digits.short(N) for N in long.unused)
    return f"Sizes that ended before their onset of context use are left out, and hollow: N = {sizes}."


def _short(long: Sizes, short: Sizes) -> str:
    """Models of a short context against those of a long one, at equal N and early tokens."""
    as_long = np.median(short.table["tokens"]) == np.median(long.table["tokens"])
    common = [N for N in short.loss if N in long.loss] if as_long else []
    if len(common) < LEAST:
        return (
            f"{len(common)} sizes were trained with both contexts for as long: which is better at early tokens cannot "
            "be told."
        )
    text, parts = _text_noise(long), []
    for T in (T for T in (1, 2, 4, 8) if long.first <= T <= short.n_ctx):
        change = mean_interval([math.log(_at(short, N, T).mean() / _at(long, N, T).mean()) for N in common])[0]
        parts.append(f"{digits.percent(change, sign=True)} at T = {T}")
    # One comparison: all positions that see something before them, and that the short context has.

    def early(sizes: Sizes, N: float) -> np.ndarray:
        return np.log(sizes.loss[N][(sizes.position > 1) & (sizes.position <= short.n_ctx)])

    pairs = [early(short, N) - early(long, N) for N in common]
    mean, low, high = mean_interval([pair.mean() for pair in pairs])
    wide = 2 * text * math.sqrt(2 / len(pairs[0]))
    low, high = mean - math.hypot(mean - low, wide), mean + math.hypot(high - mean, wide)
    verdict = (
        "they are better at early tokens, as in the paper"
        if high < 0
        else "they are worse at early tokens, unlike in the paper"
        if low > 0
        else "whether they do better at early tokens, as in the paper, cannot be decided"
    )
    return (
        f"Models of {short.n_ctx} tokens of context against those of {long.n_ctx} at equal N ({len(common)} sizes): "
        f"{', '.join(parts)}; over T = 2 to {short.n_ctx} {digits.percent(mean, sign=True)} "
        f"({digits.percent(low, sign=True)} to {digits.percent(high, sign=True)}, other windows of text allowed for): "
        f"{verdict}."
    )


def _text_noise(sizes: Sizes) -> float:
    """What the text of one position adds to ln of its loss: the scatter of neighbours, late in the context."""
    late = [np.log(loss[len(loss) // 2 :]) for loss in sizes.loss.values()]
    return float(np.median([np.std(np.diff(one)) / math.sqrt(2) for one in late]))


def _draw(long: Sizes, short: Sizes | None, places: Sequence[int]) -> Figure:
    with rc_context(STYLE):
        figure, (axes,) = panels(1, height=4.8, beyond=BITS)
        N = np.array(list(long.loss))
        entries, shown, sizes = [], [], [N]
        hollow = np.isin(N, long.unused)
        for T in places:
            colour, y = colour_of(T, places[-1]), _near(long, T)
            axes.plot(N, y, "-", color=colour, lw=1.0)
            axes.plot(N[~hollow], y[~hollow], "o", color=colour, ms=4, mec="white", mew=0.4)
            axes.plot(N[hollow], y[hollow], "o", color=colour, ms=4, mfc="white", mew=1.0)
            shown.append(y)
            entries.append((_positions(T), {"color": colour, "marker": "o", "ms": 4, "lw": 1.0}))
            if short is not None and T <= short.n_ctx:
                own = np.array(list(short.loss))
                style: dict[str, Any] = {"lw": 1.0, "ls": "--", "marker": "s", "ms": 3.4, "mec": "white", "mew": 0.4}
                axes.plot(own, _near(short, T), color=colour, **style)
                shown.append(_near(short, T))
                sizes.append(own)
        if short is not None:
            grey = {"color": GREY, "lw": 1.0}
            contexts = [(f"context {long.n_ctx}", grey | {"marker": "o", "ms": 4}),
                        (f"context {short.n_ctx}", grey | {"marker": "s", "ms": 3.4, "dashes": (4, 2)})]  # fmt: skip
            groups_legend(axes, contexts, "upper right")
        every = np.concatenate(sizes)
        logarithmic(axes, every, "params", np.concatenate(shown))
        low, high = axes.get_ylim()
        axes.set_ylim(low, high * (high / low) ** 0.12)
        axes.set_ylabel(LOSS)
        bits_per_byte(axes, long.table)
        axes.set_title("Mean over positions T/√2 to T")
        beside(figure, entries, "Positions")
        return figure


def _rows(long: Sizes, short: Sizes | None, places: Sequence[int]) -> list[dict[str, Any]]:
    return [
        {"n_ctx": one.n_ctx, "params": N, "position": T, "first_position": _first_of(T), "loss": value}
        for one in (long, short)
        if one is not None
        for T in places
        if T <= one.n_ctx
        for N, value in zip(one.loss, _near(one, T), strict=True)
    ]
