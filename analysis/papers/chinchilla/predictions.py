"""Figures 1 and A3, Tables 3 and A3: what the three approaches say of any compute, side by side."""

from collections.abc import Iterator

import numpy as np
from matplotlib import rc_context

from analysis import digits, reference
from analysis.page.canvas import GREY, STYLE, panels
from analysis.papers.chinchilla.approaches import Approach
from analysis.papers.chinchilla.evidence import PAPER, Chinchilla2022
from analysis.papers.chinchilla.growth import COLOURS, COMPUTE, MARKS, SIZE, joined_words, line, optima
from analysis.papers.claim import Undecided
from analysis.papers.drawing import across, dots, fixed_limits, legend, logarithmic
from analysis.papers.drawn import Drawn

BEYOND = 10.0  # times our largest compute, that figure 1 shows
KAPLAN = 0.73  # exponent of N_opt: Kaplan et al. (2020) Table 6
LARGER = 4.0  # times our largest size, a row of its own in the tables


def figure_1(evidence: Chinchilla2022, drawn: Drawn) -> None:
    """The best size over compute by all three approaches, with Kaplan's slope."""
    found = _all(evidence)
    runs = evidence.runs
    C = np.array([runs["flops"].min(), runs["flops"].max() * BEYOND])
    rows = [row for one in found for row in optima(one)]
    with rc_context(STYLE):
        drawn.figure, (axes,) = panels(1, legend=False)
        N = [one.found.params(C) for one in found] + [np.array([row["params"] for row in rows])]
        logarithmic(axes, C, COMPUTE, np.concatenate(N), write=digits.ten, write_y=digits.short, most=6)
        with fixed_limits(axes):
            axes.axvspan(runs["flops"].min(), runs["flops"].max(), color=GREY, alpha=0.1, lw=0, label="our runs")
            for one in found:
                line(axes, one, "params", across(axes, 60), label=one.title)
                if one.number < 3:  # the optima of the surface lie on its line
                    at = [(row["flops"], row["params"]) for row in optima(one)]
                    dots(
                        axes, *zip(*at, strict=True), [COLOURS[one.number]] * len(at), marker=MARKS[one.number], ms=3.6
                    )
            middle = found[-1].found
            x = across(axes, 2)
            label = f"Kaplan's exponent {KAPLAN:g}"
            axes.plot(x, middle.N_1 * (x / middle.C_1) ** KAPLAN, color=GREY, lw=1.0, dashes=(5, 3), label=label)
        axes.set_ylabel(SIZE)
        legend(axes, "upper left")
    drawn.points(rows)
    drawn.say(
        f"The dashed line has Kaplan's exponent {KAPLAN:g}; the large models of the paper's figure lie nine decades "
        "of compute beyond ours.",
        *_differences(found),
    )
    if len(found) < 3:
        missing = joined_words([f"approach {n}" for n in (1, 2, 3) if n not in {one.number for one in found}])
        raise Undecided(f"{missing} found no line in these runs")


def _all(evidence: Chinchilla2022) -> list[Approach]:
    """The approaches that found a line.

    Raises:
        Undecided: none did, for the reason that the first has.
    """
    found = list(evidence.found())
    if not found:
        evidence.envelope  # noqa: B018  it says why
    return found


def _differences(found: list[Approach]) -> Iterator[str]:
    """How far the approaches differ on the same runs."""
    for i, one in enumerate(found):
        for other in found[i + 1 :]:
            gap, low, high = one.difference(other)
            if not np.isfinite(low):
                continue
            told = "they agree within the luck of the seeds" if low <= 0 <= high else "they differ by more than luck"
            value, interval = digits.constant(gap, low, high)
            yield (
                f"On the same draws the exponent a of {one.title} less that of {other.title} is {value} ({interval}): "
                f"{told}."
            )


def figure_a3(evidence: Chinchilla2022, drawn: Drawn) -> None:
    """The best number of tokens over the best size, by all three approaches."""
    found = _all(evidence)
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
            axes.plot(one.found.params(C), one.found.tokens(C), color=COLOURS[one.number], lw=1.4, label=one.title)
        with fixed_limits(axes):
            x = across(axes, 2)
            axes.plot(x, 20 * x, color=GREY, lw=1.0, dashes=(5, 3), zorder=1.5, label="20 tokens per parameter")
        legend(axes, "upper left")
    drawn.points(rows)
    drawn.show(*evidence.ratios)
    for one, claim in zip((1, 2, 3), evidence.ratios, strict=True):
        if claim.ours is not None:
            at = digits.ten(evidence.middle)
            drawn.say(
                f"Approach {one} has {claim.written} tokens per parameter at {at} FLOP, the middle of our budgets."
            )
    drawn.say(
        "The paper's tables have about 20 over all sizes for approaches 1 and 2. The number depends on the text, the "
        "vocabulary and the count, and moves along each line whose exponents differ from a half: it is shown, not "
        "compared."
    )


def table_3(evidence: Chinchilla2022, drawn: Drawn) -> None:
    """Compute and tokens at which a size is the best, by approach 1."""
    drawn.points(_optimal(evidence, (evidence.envelope,)))
    drawn.say(*_papers_table())


def table_a3(evidence: Chinchilla2022, drawn: Drawn) -> None:
    """The same by approaches 2 and 3."""
    found = [one for one in evidence.found() if one.number > 1]
    if not found:
        evidence.profiles  # noqa: B018  it says why
    drawn.points(_optimal(evidence, found))


def _optimal(
    evidence: Chinchilla2022, found: Iterator[Approach] | tuple[Approach, ...] | list[Approach]
) -> Iterator[dict]:
    """Rows of the sizes of our runs, and of a few beyond."""
    N = np.unique(evidence.runs["params"])
    largest = evidence.runs["flops"].max()
    for size in (*N, N[-1] * LARGER):
        row: dict[str, float | str] = {"params": float(size)}
        for one in found:
            C = one.found.C_1 * (size / one.found.N_1) ** (1 / one.found.a)
            D = float(one.found.tokens(C))
            name = f" ({one.title})" if len(list(found)) > 1 else ""
            row |= {f"FLOP{name}": float(C), f"tokens{name}": D, f"tokens per parameter{name}": D / float(size)}
            row |= {f"beyond our runs{name}": "yes" if C > largest else ""}
        yield row


def _papers_table() -> Iterator[str]:
    rows = np.asarray(reference.published()[PAPER]["table3"]["value"], float)
    ratios = rows[:, 2] / rows[:, 0]
    yield (
        f"In the paper's Table 3, from {digits.short(rows[0, 0])} to {digits.short(rows[-1, 0])} parameters, approach "
        f"1 has {ratios.min():.1f} to {ratios.max():.1f} tokens per parameter."
    )
