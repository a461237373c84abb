"""Figures 1 and A3, Tables 3 and A3: what the three approaches say of any compute, side by side."""

import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from matplotlib import rc_context

from analysis import digits, reference
from analysis.page.canvas import GREY, STYLE, panels
from analysis.papers.chinchilla.approaches import Approach
from analysis.papers.chinchilla.evidence import NUMBERS, PAPER, SHARE, Chinchilla2022
from analysis.papers.chinchilla.growth import COLOURS, COMPUTE, MARKS, SIZE, joined_words, line, optima
from analysis.papers.chinchilla.trunks import INNER
from analysis.papers.claim import Undecided
from analysis.papers.drawing import PF_DAYS, across, dots, fixed_limits, layered, legend, logarithmic, pf_days
from analysis.papers.drawn import Drawn

BEYOND = 10.0  # times our largest compute, that figure 1 shows
KAPLAN = 0.73  # exponent of N_opt: Kaplan et al. (2020) Table 6
EXTRAPOLATED = "Extrapolated: outside the computes at which the approach has best sizes."
LARGER = 4.0  # times our largest size, a row of its own in the tables


def figure_1(evidence: Chinchilla2022, drawn: Drawn) -> None:
    """The best size over compute: for each approach a line and the band in which the luck of the seeds leaves it, at
    95 %; for approaches 1 and 2 the measured best sizes as marks; dashed in grey a line of Kaplan's exponent. Shaded:
    the compute of our runs; the rest is extrapolated."""
    found = evidence.found()
    runs = evidence.runs
    C = np.array([runs["flops"].min(), runs["flops"].max() * BEYOND])
    rows = [row for one in found for row in optima(one)]
    with rc_context(STYLE):
        drawn.figure, (axes,) = panels(1, legend=False, above=PF_DAYS)
        N = [one.found.params(C) for one in found] + [np.array([row["params"] for row in rows])]
        logarithmic(axes, C, COMPUTE, np.concatenate(N), write=digits.ten, write_y=digits.short, most=6)
        with fixed_limits(axes):
            axes.axvspan(runs["flops"].min(), runs["flops"].max(), color=GREY, alpha=0.1, lw=0, label="our runs")
            for one in found:
                line(axes, one, "params", across(axes, 60), label=one.title)
                if one.number < 3:  # the optima of the surface lie on its line
                    own = one.found.points
                    at = ([float(getattr(p, name)) for p in own] for name in ("flops", "params"))
                    look = {"marker": MARKS[one.number], "ms": 3.6}
                    dots(axes, *at, colours=[COLOURS[one.number]] * len(own), **look)
            middle = found[-1].found
            x = across(axes, 2)
            label = f"Kaplan's exponent {KAPLAN:g}"
            axes.plot(x, middle.N_1 * (x / middle.C_1) ** KAPLAN, color=GREY, lw=1.0, dashes=(5, 3), label=label)
        axes.set_ylabel(SIZE)
        legend(axes, "upper left")
        pf_days(axes)
    drawn.points(rows)
    beyond = math.log10(reference.value("gopher_budget", PAPER) / runs["flops"].max())
    drawn.say(
        f"N and C count the embedding, as the paper's do. The dashed line has Kaplan's exponent {KAPLAN:g}, of N and C "
        f"without it{_so_counted(evidence)}.",
        f"Gopher, at the right of the paper's figure, lies {beyond:.1f} decades of compute beyond our runs.",
        *_differences(found),
    )
    if len(found) < 3:
        missing = joined_words([f"approach {n}" for n in NUMBERS if n not in {one.number for one in found}])
        raise Undecided(f"{missing} found no line in these runs")


def _so_counted(evidence: Chinchilla2022) -> str:
    """The exponents without the embedding, where they are known."""
    a = {number: own[INNER.words] for number, own in evidence.choices.items() if INNER.words in own}
    if not a:
        return ""
    each = joined_words([f"{digits.plain(value, 2)} (approach {number})" for number, value in a.items()])
    return f"; so counted, ours are {each}"


def _differences(found: list[Approach]) -> Iterator[str]:
    """How far the approaches differ on the same runs."""
    for i, one in enumerate(found):
        for other in found[i + 1 :]:
            gap, low, high = one.difference(other)
            if not np.isfinite(low):
                continue
            told = "they agree within the luck of the seeds" if low <= 0 <= high else "they differ by more than luck"
            if high - low > 2 * SHARE:
                told = "whether they agree cannot be told"
            value, interval = digits.constant(gap, low, high)
            yield (
                f"With the same luck drawn for both, a of {one.title} less that of {other.title} is "
                f"{value} ({interval}): {told}."
            )


def figure_a3(evidence: Chinchilla2022, drawn: Drawn) -> None:
    """The best number of tokens over the best size, a line for each approach up to ten times our largest compute;
    dashed in grey, twenty tokens for each parameter."""
    drawn.show(*evidence.ratios)
    found = evidence.found()
    runs = evidence.runs
    C = np.geomspace(runs["flops"].min(), runs["flops"].max() * BEYOND, 60)
    rows = [
        {"approach": one.title, "flops": c, "params": float(one.found.params(c)), "tokens": float(one.found.tokens(c))}
        for one in found
        for c in C
    ]
    with rc_context(STYLE):
        drawn.figure, (axes,) = panels(1, legend=False)
        N, D = (np.array([row[name] for row in rows]) for name in ("params", "tokens"))
        logarithmic(axes, N, SIZE, D, write_y=digits.short, most=6)
        axes.set_ylabel("Best number of tokens D")
        for one in found:
            look = {"color": COLOURS[one.number], "label": one.title} | layered(one.number - 1)
            axes.plot(one.found.params(C), one.found.tokens(C), **look)
        with fixed_limits(axes):
            x = across(axes, 2)
            axes.plot(x, 20 * x, color=GREY, lw=1.0, dashes=(5, 3), zorder=1.5, label="20 tokens per parameter")
        legend(axes, "upper left")
    drawn.points(rows)
    for one, claim in zip(NUMBERS, evidence.ratios, strict=True):
        if claim.ours is not None:
            at = digits.ten(evidence.middle)
            drawn.say(
                f"Approach {one} has {claim.written} tokens per parameter at {at} FLOP, the middle of our budgets."
            )
    each = [f"{_papers_ratios(number)} by approach {number}" for number in NUMBERS]
    drawn.say(
        f"The paper's tables have, over all sizes, {joined_words(each)}. The number depends on the text, the "
        "vocabulary and the count, and moves along each line whose exponents differ from a half: it is shown, not "
        "compared."
    )


def table_3(evidence: Chinchilla2022, drawn: Drawn) -> None:
    """Compute and tokens at which a size is the best, by approach 1."""
    drawn.points(_optimal(evidence, (evidence.envelope,)))
    drawn.say(_papers_sizes("Table 3", (1,)), EXTRAPOLATED)


def table_a3(evidence: Chinchilla2022, drawn: Drawn) -> None:
    """The same by approaches 2 and 3."""
    drawn.points(_optimal(evidence, evidence.found(2, 3)))
    drawn.say(_papers_sizes("Table A3", (2, 3)), EXTRAPOLATED)


def _optimal(evidence: Chinchilla2022, found: Iterable[Approach]) -> Iterator[dict[str, float | str]]:
    """A row for each size of our runs, and for one beyond."""
    sizes = np.unique(evidence.runs["params"])
    for one in found:
        C_seen = [float(point.flops) for point in one.found.points]
        for N in (*sizes, LARGER * sizes[-1]):
            C = one.found.C_1 * (N / one.found.N_1) ** (1 / one.found.a)
            D = float(one.found.tokens(C))
            yield {
                "approach": one.title,
                "where": "within" if min(C_seen) <= C <= max(C_seen) else "extrapolated",
                "params": float(N),
                "FLOP": float(C),
                "tokens": D,
                "tokens per parameter": D / float(N),
            }


def _papers_table(number: int) -> np.ndarray:
    """Parameters, FLOP and tokens of the paper's table of an approach."""
    name = "table3" if number == 1 else f"tableA3_approach{number}"
    return np.asarray(reference.published()[PAPER][name]["value"], float)


def _papers_ratios(number: int) -> str:
    """From the fewest to the most tokens per parameter there."""
    rows = _papers_table(number)
    ratios = rows[:, 2] / rows[:, 0]
    return f"{digits.plain(float(ratios.min()))} to {digits.plain(float(ratios.max()))}"


def _papers_sizes(table: str, numbers: Sequence[int]) -> str:
    N = _papers_table(numbers[0])[:, 0]
    each = joined_words([f"approach {number} has {_papers_ratios(number)}" for number in numbers])
    return (
        f"In the paper's {table}, from {digits.short(N[0])} to {digits.short(N[-1])} parameters, {each} tokens per "
        "parameter."
    )
