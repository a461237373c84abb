"""The page's four figures and its table: the walk, the same runs counted twice, the arms, and what the head is worth."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes

from analysis import digits, reference
from analysis.page.canvas import GREY, INK, LOSS, STYLE, Shades, log_axis, panels, side_legend
from analysis.papers.claim import Claim, Undecided
from analysis.papers.discrepancy import arithmetic
from analysis.papers.discrepancy.evidence import (
    ARMS,
    ATTENTION,
    CONTROL,
    CONTROL_HEAD,
    CONTROL_WITHOUT,
    KAPLAN,
    STEPS,
    TUNED,
    TUNED_WITHOUT,
    WALK,
    WARM,
    WARM_FIRST,
    Discrepancy,
    Station,
)
from analysis.papers.discrepancy.expected import WORTHS
from analysis.papers.drawing import GROUPS, LAW, OTHER, SYMBOLS, legend, logarithmic
from analysis.papers.drawn import Drawn
from analysis.recount import Best, Count

PORIANS = "Porian et al. (2024), RefinedWeb"
EVERY = 2  # budget that Figure 2 draws
VOCABULARIES = np.geomspace(256, 16384, 40)


def figure_1(evidence: Discrepancy, drawn: Drawn) -> None:
    """The exponent at each station of the walk, the first two steps in both orders."""
    claims = {at: evidence.exponent(at) for at in (*WALK, WARM_FIRST, ATTENTION)}
    drawn.tell(*claims.values())
    drawn.say(*_admitted(evidence))
    known = [at for at, claim in claims.items() if claim.ours is not None]
    rows = [_row(evidence, at, claims[at]) for at in claims]
    drawn.points(rows)
    with rc_context(STYLE):
        drawn.figure, (axes,) = panels(1, legend=False)
        drawn.figure.set_figwidth(10.0)
        drawn.figure.subplots_adjust(left=0.07, right=0.98)
        places = {at: float(i) for i, at in enumerate(WALK)} | {WARM_FIRST: 1.0, ATTENTION: len(WALK)}
        _published(axes)
        _porian(axes, places)
        for at in known:
            _predicted(axes, places[at], rows[list(claims).index(at)])
        _route(axes, [at for at in WALK if at in known], claims, places, {"color": INK, "marker": "o"}, "our runs")
        first = [at for at in (KAPLAN, WARM_FIRST, WARM) if at in known]
        look = {"color": OTHER, "marker": "s", "dashes": (4, 2)}
        if WARM_FIRST in known:
            _route(axes, first, claims, places, look, "the warm-up shortened first", only=WARM_FIRST)
        if ATTENTION in known:
            _route(axes, [at for at in (TUNED, ATTENTION) if at in known], claims, places,
                   {"color": GREY, "marker": "o", "dashes": (1, 2)}, "", only=ATTENTION)  # fmt: skip
        axes.set_xticks(list(range(len(WALK) + 1)), [*(_two_lines(at.told) for at in WALK), "attention\ncounted too"])
        axes.set_xlim(-0.4, len(WALK) + 0.4)
        axes.set_ylabel("Exponent a of N_opt ~ C^a")
        axes.grid(visible=False, axis="x")
        legend(axes, "upper right")
    if not known:
        raise Undecided(claims[KAPLAN].why)


def _two_lines(text: str) -> str:
    return text.replace(" ", "\n", 1)


def _row(evidence: Discrepancy, at: Station, claim: Claim) -> dict[str, Any]:
    low, high = claim.interval or (None, None)
    row = {"station": at.told, "arm": at.arm, "count": at.count.value, "a": claim.ours, "low": low, "high": high}
    row["porian"] = claim.paper
    if claim.ours is not None:
        said = arithmetic.predictions(evidence, at)
        row |= {f"predicted_f_{worth:g}": value for worth, value in zip(WORTHS, said, strict=True)}
    return row


def _published(axes: Axes) -> None:
    """Kaplan's and Hoffmann's own exponents, as level lines."""
    for paper, name, told in (("kaplan2020", "p_N", "Kaplan et al."), ("hoffmann2022", "approach2_a", "Hoffmann et al.")):
        value = reference.value(name, paper)
        axes.axhline(value, color=GREY, lw=0.8, dashes=(6, 3), zorder=0)
        axes.annotate(f"{told} {value:.2f}", (-0.38, value), xytext=(0, 3), textcoords="offset points", fontsize=7.5,
                      color=GREY)  # fmt: skip


def _porian(axes: Axes, places: dict[Station, float]) -> None:
    told = [at for at in places if at.exponent is not None]
    axes.plot([places[at] + 0.14 for at in told], [at.exponent for at in told], ls="", marker="D", ms=5, mfc="none",
              mec=GREY, mew=1.0, label=PORIANS)  # fmt: skip


def _predicted(axes: Axes, place: float, row: dict[str, Any]) -> None:
    values = [row[f"predicted_f_{worth:g}"] for worth in WORTHS]
    label = f"arithmetic, f = {WORTHS[0]:g} to {WORTHS[-1]:g}" if place == 0 else ""
    axes.fill_between([place - 0.3, place - 0.08], min(values), max(values), color=LAW, alpha=0.22, lw=0, label=label)
    axes.plot([place - 0.3, place - 0.08], [values[1]] * 2, color=LAW, lw=1.0)


def _route(
    axes: Axes,
    stations: Sequence[Station],
    claims: dict[Station, Claim],
    places: dict[Station, float],
    look: dict[str, Any],
    label: str,
    only: Station | None = None,
) -> None:
    """A line through stations, with the interval of each; or of one alone, where the others are drawn already."""
    x = [places[at] for at in stations]
    y = [claims[at].ours for at in stations]
    line = {key: value for key, value in look.items() if key != "marker"}
    axes.plot(x, y, lw=1.1, zorder=3, **line)
    shown = [at for at in stations if only in (None, at)]
    axes.plot([places[at] for at in shown], [claims[at].ours for at in shown], ls="", marker=look["marker"], ms=6,
              color=look["color"], mec="white", mew=0.6, zorder=5, label=label or None)  # fmt: skip
    for at in shown:
        if (between := claims[at].interval) is not None:
            axes.plot([places[at]] * 2, between, color=look["color"], lw=1.3, zorder=4)


def _admitted(evidence: Discrepancy) -> list[str]:
    """How many readings came before the onset of context use."""
    counts = []
    for arm in ARMS:
        try:
            whole = evidence.every_reading(arm)
            kept = len(evidence.readings(arm))
        except Undecided:
            continue
        counts.append(f"{len(whole) - kept} of {len(whole)} of the arm {arm}")
    if not counts:
        return []
    return [
        "A reading, a size after a number of tokens, is admitted once its model uses its context (predicts later "
        f"positions {0.2:g} nats better than the second). Left out, as they came before that: {', '.join(counts)}."
    ]
