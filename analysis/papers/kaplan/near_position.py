"""Figure 21: the loss at early and late positions of the context against N, of a long context and a very short one."""

import contextlib
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from analysis import digits
from analysis.page.canvas import GREY, LOSS, STYLE, panels
from analysis.papers.claim import Undecided
from analysis.papers.drawing import beside, groups_legend, logarithmic
from analysis.papers.drawn import Drawn
from analysis.papers.kaplan.claims import Kaplan
from analysis.papers.kaplan.context import LEAST, UNUSED, Sizes, colour_of, long_context, sizes_of, unused
from analysis.papers.kaplan.trend import Trend, mean_interval, trend

PAPERS = (1, 2, 4, 8, 16, 64, 256, 1024)  # positions that the paper shows


def figure_21(evidence: Kaplan, drawn: Drawn) -> None:
    """Loss at tokens 1, 2, 4, ... against N, of a long context and, dashed, of one of 8 tokens."""
    long, short = long_context(evidence), None
    places = [T for T in PAPERS if T < long.n_ctx] + [long.n_ctx]
    without = "No models of 8 tokens of context are finished."
    with contextlib.suppress(Undecided):
        short = sizes_of(evidence, 8)
    drawn.figure = _draw(long, short, places)
    drawn.points(_rows(long, short, places))
    if len(long.loss) < LEAST:
        raise Undecided(f"{len(long.loss)} sizes of {long.n_ctx} tokens of context; wanted {LEAST}")
    N = np.log(list(long.loss))
    slopes = {T: trend(N, np.log(_near(long, T))) for T in places}
    falling = [T for T, line in slopes.items() if line.high < 0]
    said = ", ".join(f"{_minus(line)} at T = {T}" for T, line in slopes.items())
    drawn.say(
        f"Exponents of N of the mean loss over the positions T/√2 to T (single ones scatter), {long.n_ctx} tokens of "
        f"context: {said}. What text stands at a position moves its loss by {digits.percent(_text_noise(long))} (one "
        "standard deviation), alike for all sizes.",
        _first(slopes[1], falling, [T for T in places if T > 1]),
        without if short is None else _short(long, short),
    )


def _at(sizes: Sizes, N: float, T: int) -> np.ndarray:
    """The losses of a size near position T, for single positions scatter."""
    return sizes.loss[N][_first_of(T) - 1 : T]


def _first_of(T: int) -> int:
    """The first of the positions whose mean stands for T: T / sqrt(2); 1 and 2 stand for themselves."""
    return math.ceil(T / math.sqrt(2))


def _positions(T: int) -> str:
    return str(T) if _first_of(T) == T else f"{_first_of(T)} to {T}"


def _near(sizes: Sizes, T: int) -> np.ndarray:
    """The mean loss near position T of each size."""
    return np.array([_at(sizes, N, T).mean() for N in sizes.loss])


def _minus(line: Trend) -> str:
    """The exponent alpha of N^−alpha with its interval."""
    return digits.minus(f"{-line.slope:.3f} ({-line.high:.3f} to {-line.low:.3f})")


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
        f"whether it does cannot be decided at T = {', '.join(map(str, missing))}"
        if missing
        else "at all others it does"
    )
    return f"{text}; {others_do} (the paper: all positions but the first improve with N)."


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
        if high < 0 and not unused(long.loss)
        else f"they are better, but not for the paper's reason: the others {UNUSED}"
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
        figure, (axes,) = panels(1, height=4.8)
        N = np.array(list(long.loss))
        entries, shown, sizes = [], [], [N]
        for T in places:
            colour = colour_of(T, places[-1])
            axes.plot(N, _near(long, T), "o-", color=colour, lw=1.0, ms=4, mec="white", mew=0.4)
            shown.append(_near(long, T))
            entries.append((_positions(T), {"color": colour, "marker": "o", "ms": 4, "lw": 1.0}))
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
        logarithmic(axes, every, "params", np.concatenate(shown))
        low, high = axes.get_ylim()
        axes.set_ylim(low, high * (high / low) ** 0.12)
        axes.set_ylabel(LOSS)
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
