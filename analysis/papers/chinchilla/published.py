"""What rounding, a wrong count of parameters and a grid off its centre do to the constants, the paper's and ours.

Besiroglu et al. (2024) refitted the paper's own runs; Schaeffer et al. (2025, arXiv 2509.23963) found that the N of
Table A9 differ from its shapes; Czech et al. (2026, arXiv 2603.22339) what wide and uneven grids do to parabolas.
"""

import contextlib
from collections.abc import Iterator

import numpy as np

from analysis import digits, frontier, reference
from analysis.fit import fit
from analysis.fit.estimate import Fit
from analysis.isoflop import grid_bias, isoflop
from analysis.laws import Chinchilla
from analysis.papers.chinchilla.approaches import budgets, profile_points
from analysis.papers.chinchilla.evidence import BESIROGLU, PAPER, ROUNDED, Chinchilla2022
from analysis.papers.chinchilla.growth import joined_words
from analysis.papers.claim import MISSING
from analysis.papers.drawn import Drawn
from analysis.table import Table

GOPHER = reference.value("gopher_budget", PAPER)
NAMES = ("E", "A", "B", "alpha", "beta")
SPREAD = 0.074  # mean error of N among the three readings of Table A9
CENTRES = {"centred": 1.0, "centred at half the best size": 0.5, "at twice the best size": 2.0}
REACH = 4.0  # largest and smallest size of a made profile, over and under its centre


def laws_published() -> dict[str, Chinchilla]:
    """The paper's constants as printed and as released, and the refit of Besiroglu et al. (2024)."""
    own = {name: reference.value(name, PAPER) for name in NAMES}
    released = {name: reference.value(f"{name}_unrounded", PAPER) for name in NAMES}
    return {
        "Hoffmann et al. (2022), as printed": Chinchilla(**own),
        "Hoffmann et al. (2022), as released": Chinchilla(**released),
        "Besiroglu et al. (2024), refit": BESIROGLU,
    }


def rounded(law: Chinchilla) -> Chinchilla:
    """With as many digits as the paper prints."""
    return Chinchilla(**{name: float(f"{getattr(law, name):.{n}g}") for name, n in ROUNDED.items()})


def constants(evidence: Chinchilla2022, drawn: Drawn) -> None:
    """Published constants and ours, as they are and as they come out of what is done to them."""
    rows = [_row(name, law, GOPHER) for name, law in laws_published().items()]
    ratios = [digits.plain(float(row["tokens per parameter"]), 2) for row in rows]
    drawn.points(rows)
    drawn.say(
        f"At Gopher's {digits.ten(GOPHER, 3)} FLOP the published constants have {ratios[2]}, {ratios[1]} and "
        f"{ratios[0]} tokens per parameter: refitted, as released, and as printed. Two digits of an exponent are too "
        "few to extrapolate with."
    )
    law, runs = evidence.law, evidence.runs
    C = float(runs["flops"].max())
    rows += [_row("ours", law.law, C), _row("ours, rounded as the paper's", rounded(law.law), C)]
    with drawn.part("what an error in N does"):
        rows += [_row(f"ours, {what}", found.law, C) for what, found in misread(runs, law)]
    rows += [_row("ours, at Gopher's compute", law.law, GOPHER)]
    drawn.points(rows)
    drawn.say(*_said(law, rows, _others_at(evidence, C)), *off_centre(law.law, budgets(runs)))
    with drawn.part("what our own grid does"):
        table, _ = profile_points(runs, np.log(runs["loss"])[:, None])
        made, true = grid_bias(table, law.law)
        drawn.say(
            "Approach 2 on our own grid, with losses that are exactly those of our fitted law, gives "
            f"a = {digits.plain(made)} where the law has {digits.plain(true)}: the grid and the parabola alone are off "
            f"by {digits.plain(made - true, 2)}."
        )


def _row(name: str, law: Chinchilla, C: float) -> dict[str, float | str]:
    best = frontier.chinchilla_optimum(law, C)
    own = {each: float(getattr(law, each)) for each in NAMES}
    at = {"FLOP": C, "tokens per parameter": float(best.tokens_per_param)}
    return {"constants": name, **own, "a": law.beta / (law.alpha + law.beta), **at}


def misread(runs: Table, law: Fit[Chinchilla]) -> Iterator[tuple[str, Fit[Chinchilla]]]:
    """The fit with an N that is wrong as those of Table A9 are: by chance, and with a fifth matrix in each layer."""
    start = np.array([[law.constants[name] for name in (c.name for c in Chinchilla.constants())]])

    def again(N: np.ndarray) -> Fit[Chinchilla]:
        return fit(Chinchilla, runs.with_columns(params=N), clusters="trunk", loss="huber", starts=start)

    sizes, which = np.unique(runs["params"], return_inverse=True)
    # The mean of |x| is 0.8 of a standard deviation.
    errors = np.exp(SPREAD / 0.8 * np.random.default_rng(0).standard_normal(len(sizes)))
    yield f"each N wrong by {digits.percent(SPREAD)}, drawn once", again(runs["params"] * errors[which])
    fifth = runs["n_layer"] * runs["d_model"] * runs["d_attn"]
    yield "a fifth matrix in each layer, as in Table A9", again(runs["params"] + fifth)
    yield "every N twice as large", again(2 * runs["params"])


def off_centre(law: Chinchilla, C: np.ndarray) -> Iterator[str]:
    """What approach 2 makes of our law on made grids, without noise."""
    exact = law.beta / (law.alpha + law.beta)
    x = np.linspace(-1, 1, len(C))
    found = {words: _on_grid(law, C, np.full(len(C), factor)) for words, factor in CENTRES.items()}
    found["moving from the one to the other with compute"] = _on_grid(law, C, 2.0**x)
    best = frontier.chinchilla_optimum(law, C[-1]).params
    said = "; ".join(
        f"{words}, a = {digits.plain(one.a)} and {digits.plain(float(one.params(C[-1]) / best))} of the true best size"
        for words, one in found.items()
    )
    yield (
        f"If our law were exact, with a = {digits.plain(exact)}, profiles over sizes within a factor of {REACH:g} of "
        f"their centre would give at our largest budget: {said}."
    )


def _on_grid(law: Chinchilla, C: np.ndarray, factor: np.ndarray) -> frontier.Allocation:
    """Approach 2 on exact losses of the law, the grid of each budget centred at `factor` times its best size."""
    best = frontier.chinchilla_optimum(law, C).params
    N = ((factor * best)[:, None] * np.geomspace(1 / REACH, REACH, 9)).ravel()
    flops = np.repeat(C, 9)
    table = Table.from_columns({"params": N, "flops": flops, "loss": law(N, flops / 6 / N)})
    return isoflop(table, sigma=0.0, draws=0)


def _others_at(evidence: Chinchilla2022, C: float) -> str:
    """What approaches 1 and 2 have at this compute, where they have a line."""
    found = []
    for number in (1, 2):
        with contextlib.suppress(*MISSING):
            one = evidence.approach(number).found
            found.append(f"approach {number} has {digits.plain(float(one.tokens(C) / one.params(C)), 2)}")
    return f"; {joined_words(found)} there" if found else ""


def _said(law: Fit[Chinchilla], rows: list[dict[str, float | str]], others: str) -> Iterator[str]:
    """What ours say.

    Args:
        others: what the other approaches say at our largest compute, as the end of a sentence.
    """
    by_name: dict[str, dict] = {str(row["constants"]): row for row in rows}
    own, cut = (by_name[name]["tokens per parameter"] for name in ("ours", "ours, rounded as the paper's"))
    yield (
        f"Ours, at our own largest compute, have {digits.plain(own)} tokens per parameter, and {digits.plain(cut)} "
        f"once they are rounded to the digits that the paper prints{others}. Of Gopher's compute, "
        f"{np.log10(GOPHER / float(by_name['ours']['FLOP'])):.1f} decades further, they say nothing: the last row "
        "shows what becomes of an exponent that far out."
    )
    twice = by_name.get("ours, every N twice as large")
    if twice:
        expected = law.law.A * 2**law.law.alpha
        yield (
            "An N that is wrong by one factor everywhere changes A alone: with twice the N it is "
            f"{digits.plain(float(twice['A']))}, where A 2^alpha is {digits.plain(expected)}; the others stay."
        )
