"""Figure 3: IsoFLOP profiles, approach 2."""

from collections.abc import Iterator

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes

from analysis import digits
from analysis.isoflop import OFF_CENTRE, Profile, parabolas, profiles
from analysis.page.canvas import LOSS, STYLE, panels
from analysis.papers.chinchilla.approaches import profile_points
from analysis.papers.chinchilla.evidence import Chinchilla2022
from analysis.papers.chinchilla.growth import SIZE, growth_panel
from analysis.papers.drawing import PF_DAYS, dots, logarithmic, tints
from analysis.papers.drawn import Drawn


def figure_3(evidence: Chinchilla2022, drawn: Drawn) -> None:
    """Left: the loss over the size at equal compute, a parabola for each budget through the sizes near its minimum,
    which is hollow. Middle and right: size and tokens at the minima, our line with its 95 % band, dashed the paper's
    exponent."""
    drawn.tell(evidence.a(2))
    drawn.show(evidence.b(2))
    with rc_context(STYLE):
        drawn.figure, (left, middle, right) = panels(3, legend=False, above=PF_DAYS)
        with drawn.panel(left, "IsoFLOP profiles"):
            found = measured_profiles(evidence)
            profile_curves(left, found)
            drawn.points(_rows(found))
        for axes, column, title in ((middle, "params", "Best size"), (right, "tokens", "Best number of tokens")):
            with drawn.panel(axes, title):
                growth_panel(axes, evidence.profiles, column)
    with drawn.part():
        drawn.say(*_said(evidence))


def measured_profiles(evidence: Chinchilla2022) -> tuple[Profile, ...]:
    """The profiles of the measured losses, seeds averaged."""
    table, losses = profile_points(evidence.runs, evidence.draws[:, :1])
    return profiles(table.with_columns(loss=np.exp(losses[:, 0])))[0]


def profile_curves(axes: Axes, found: tuple[Profile, ...]) -> None:
    """The losses over the size at each compute, with a parabola through those near its minimum, which is hollow."""
    tint = tints([p.flops for p in found])
    every = np.exp(np.concatenate([p.y for p in found]))
    logarithmic(axes, np.exp(np.concatenate([p.x for p in found])), SIZE, every, most=5)
    for p in found:
        colour = tint(p.flops)
        dots(axes, np.exp(p.x), np.exp(p.y), [colour] * len(p.x), ms=3.4)
        (centre,), c, near = parabolas(p.x, p.y[:, None])
        if not c[2, 0] > 0:
            continue
        own = p.x[near[:, 0]]
        x = np.linspace(own.min(), own.max(), 60)
        y = c[0, 0] + c[1, 0] * (x - centre) + c[2, 0] * (x - centre) ** 2
        axes.plot(np.exp(x), np.exp(y), color=colour, lw=1.0, zorder=3)
        vertex = centre - c[1, 0] / (2 * c[2, 0])
        if own.min() < vertex < own.max():
            low = c[0, 0] - c[1, 0] ** 2 / (4 * c[2, 0])
            axes.plot(np.exp(vertex), np.exp(low), "o", mfc="white", mec=colour, ms=5.5, mew=1.2, zorder=6)
    first, last = found[0], found[-1]
    ends = [(first, first.x.argmax(), 6, "left"), (last, last.x.argmin(), -6, "right")]
    for p, end, away, side in ends[: len(found)]:
        axes.annotate(f"{digits.ten(p.flops)} FLOP", (np.exp(p.x[end]), np.exp(p.y[end])), xytext=(away, -2),
                      textcoords="offset points", fontsize=7.5, ha=side, color=tint(p.flops))  # fmt: skip
    axes.set_ylabel(LOSS)


def _rows(found: tuple[Profile, ...]) -> Iterator[dict[str, float]]:
    for p in found:
        for x, y, t in zip(p.x, p.y, p.t, strict=True):
            yield {"flops": p.flops, "params": np.exp(x), "tokens": np.exp(t), "loss": np.exp(y)}


def _said(evidence: Chinchilla2022) -> Iterator[str]:
    minima = evidence.profiles.found.minima
    inside = [m for m in minima if m.interior]
    low, high = (digits.ten(end(m.flops for m in inside)) for end in (min, max))
    yield (
        f"Of {len(minima)} budgets a factor of two apart, {len(inside)} have their minimum between two other sizes, "
        f"from {low} to {high} FLOP. All sizes of a budget have spent exactly as much: their losses are read between "
        "the ends of branches, where the learning rate has come down."
    )
    if off := sum(abs(m.offset) > OFF_CENTRE for m in inside):
        yield (
            f"{off} of these {digits.plural(off, 'lies', 'lie')} off the centre of the sizes there, which biases the "
            "exponent: the section on constants says by how much on our grid."
        )
