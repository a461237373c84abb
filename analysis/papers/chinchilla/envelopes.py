"""Figures 2 and A5: the envelope of what runs of every length reach, approach 1, and whether its line bends."""

import contextlib
from collections.abc import Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes

from analysis import digits
from analysis.frontier import Optimum, percentile_interval
from analysis.page.canvas import INK, LOSS, STYLE, panels, size_legend
from analysis.papers.chinchilla.evidence import Chinchilla2022
from analysis.papers.chinchilla.growth import COLOURS, COMPUTE, SIZE, growth_panel, joined_words, optima
from analysis.papers.chinchilla.trunks import trunks
from analysis.papers.claim import MISSING, Undecided
from analysis.papers.drawing import PF_DAYS, by_run, dots, fixed_limits, left_out, legend, logarithmic, pf_days
from analysis.papers.drawn import Drawn

PARTS = ("first third", "middle third", "last third")
PART_COLOURS = ("#c9791b", "#3f8f5b", "#2f6db5")  # orange, green and blue, as in the paper
LEAST = 2  # sizes of a third
TOLD = 0.2  # half-width of the interval of a difference of two exponents that decides it


def figure_2(evidence: Chinchilla2022, drawn: Drawn) -> None:
    """Left: the losses of runs of every length, joined for each size; pale, the constant rate before; hollow, runs left
    out; black, the envelope. Middle and right: size and tokens where two sizes cross on it, our line with its 95 %
    band, dashed the paper's exponent."""
    drawn.tell(evidence.a(1))
    drawn.show(evidence.b(1))
    with rc_context(STYLE):
        drawn.figure, (left, middle, right) = panels(3, above=PF_DAYS)
        with drawn.panel(left, "What runs of each length reach"):
            _reached(left, evidence)
            size_legend(drawn.figure, evidence.runs["params"], evidence.shades)
        for axes, column, title in ((middle, "params", "Best size"), (right, "tokens", "Best number of tokens")):
            with drawn.panel(axes, title):
                growth_panel(axes, evidence.envelope, column, evidence.shades)
    with drawn.part():
        drawn.points(optima(evidence.envelope))
        n = len(evidence.envelope.found.points)
        drawn.say(
            f"The best size changes {n} times where two curves cross, and a dot stands there. Each point of a curve is "
            "the end of a run with a cooldown of its own, so that the decay is matched to every length; the paper "
            "matched four cosines to each size, and found its points in the last 15 % of them."
        )


def _reached(axes: Axes, evidence: Chinchilla2022) -> None:
    """Ends of branches, the constant rate before them where it was recorded, and the envelope."""
    runs, shades = evidence.runs, evidence.shades
    every = [np.concatenate([runs[name], *(e.cells[name] for e in runs.excluded)]) for name in ("flops", "loss")]
    logarithmic(axes, every[0], COMPUTE, every[1], write=digits.ten, most=5)
    left_out(axes, runs, "flops", shades=shades)
    with fixed_limits(axes), contextlib.suppress(Undecided):  # the ends are what is compared
        by_run(axes, evidence.trunk_curves, "flops", shades=shades, alpha=0.35, lw=0.6)
    for own in trunks(runs):
        colour = shades(float(runs["params"][own[0]]))
        axes.plot(runs["flops"][own], runs["loss"][own], color=colour, lw=0.9, marker="o", ms=2.6, mew=0, zorder=3)
    try:
        points = evidence.envelope.found.points
    except MISSING:  # the claims say why
        points = ()
    C, loss = (np.array([float(getattr(p, name)) for p in points]) for name in ("flops", "loss"))
    axes.plot(C, loss, color=INK, lw=1.4, zorder=5, label="envelope")
    axes.set_ylabel(LOSS)
    legend(axes)
    pf_days(axes)


def figure_a5(evidence: Chinchilla2022, drawn: Drawn) -> None:
    """The best sizes along the envelope, and lines fitted to its first, middle and last third alone."""
    best = evidence.envelope
    points = best.found.points
    if len(points) < LEAST * len(PARTS):
        raise Undecided(
            f"the best size changes {len(points)} times where two curves cross; wanted {LEAST} for each third"
        )
    lines = _thirds(points)
    with rc_context(STYLE):
        drawn.figure, (axes,) = panels(1, legend=False, above=PF_DAYS)
        C, N = _columns(points)
        dots(axes, C, N, [COLOURS[1]] * len(C))
        logarithmic(axes, C, COMPUTE, N, write=digits.ten, write_y=digits.short, most=6)
        with fixed_limits(axes):
            for (slope, height), part, colour in zip(lines, PARTS, PART_COLOURS, strict=True):
                label = f"{part}: {digits.plain(slope, 2)}"
                axes.plot(C, np.exp(height) * C**slope, color=colour, lw=1.2, label=label)
        axes.set_ylabel(SIZE)
        legend(axes, "upper left")
        pf_days(axes)
    drawn.points(optima(best))
    sizes = joined_words([str(len(own)) for own in np.array_split(np.arange(len(points)), len(PARTS))])
    drawn.say(
        f"The exponents of the thirds, of {sizes} best sizes, are "
        f"{joined_words([digits.plain(slope, 2) for slope, _ in lines])}."
    )
    drawn.say(_bend(lines, [_thirds(own) for own in best.redrawn if len(own) >= LEAST * len(PARTS)]))


def _thirds(points: Sequence[Optimum]) -> list[tuple[float, float]]:
    """Slope and height of ln N over ln C in each third of the points."""
    C, N = (np.log(column) for column in _columns(points))
    thirds = np.array_split(np.arange(len(C)), len(PARTS))
    return [tuple(np.polyfit(C[own], N[own], 1).tolist()) for own in thirds]


def _bend(lines: list[tuple[float, float]], redrawn: list[list[tuple[float, float]]]) -> str:
    """Whether the exponent of the last third differs from that of the first.

    Raises:
        Undecided: the draws of luck leave that open.
    """
    gap = lines[-1][0] - lines[0][0]
    low, high = percentile_interval([each[-1][0] - each[0][0] for each in redrawn])
    if not high - low < 2 * TOLD:
        raise Undecided(
            "whether the line bends as the paper's does, whose exponents fall: the last third's less the first's is "
            f"{digits.plain(gap, 2)} ({digits.plain(low, 2)} to {digits.plain(high, 2)}), and ± {TOLD:g} decides"
        )
    value, interval = digits.constant(gap, low, high)
    told = "it bends down, as the paper's" if high < 0 else "it bends up" if low > 0 else "a straight line will do"
    return f"The last third's less the first's is {value} ({interval}): {told}."


def _columns(points: Sequence[Optimum]) -> tuple[np.ndarray, np.ndarray]:
    C, N = (np.array([float(getattr(p, name)) for p in points]) for name in ("flops", "params"))
    return C, N
