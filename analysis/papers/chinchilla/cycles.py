"""Figure A1: a cosine longer than the run costs loss."""

import math
from collections.abc import Iterator

import matplotlib
import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes

from analysis import digits
from analysis.page.canvas import GREY, LOSS, STYLE, log_y, panels
from analysis.papers.chinchilla.evidence import Chinchilla2022
from analysis.papers.chinchilla.growth import joined_words
from analysis.papers.claim import Undecided
from analysis.papers.drawing import LAW, dots, level
from analysis.papers.drawn import Drawn
from analysis.papers.evidence import means, paired_half
from analysis.table import Table

LIMIT = 1.25  # times the run: beyond it a longer cosine visibly hurts, in the paper
SIGMAS = 2.0  # half-width of an interval of known noise


def figure_a1(evidence: Chinchilla2022, drawn: Drawn) -> None:
    """Left: the losses of one seed along cosines as long as the run and longer. Right: the losses after the same tokens
    above the mean of the matched cosine, grey each seed, red their mean."""
    runs = evidence.need("cycle")
    D = float(runs["tokens"].min())
    shortest = runs.where(runs["tokens"] == D, "a longer cosine")
    rate = float(np.median(shortest["learning_rate"]))
    own = runs.where(np.isclose(runs["learning_rate"], rate), "another peak rate")
    table = at(evidence.curves_of(own), own, D)
    cycle, loss = means(table, "cycle")
    drawn.points(dict(zip(("cycle", "seed", "loss"), row, strict=True))
                 for row in zip(*(table[name] for name in ("cycle", "seed", "loss")), strict=True))  # fmt: skip
    if len(cycle) < 2 or not np.isclose(cycle[0], 1):
        raise Undecided("no two lengths of the cosine have finished, that of the run among them")
    with rc_context(STYLE):
        drawn.figure, (left, right) = panels(2, legend=False)
        left.set_title("Along the runs")
        _curves(left, evidence.curves_of(own), own, D)
        right.set_title("After the same tokens")
        above = 100 * (table["loss"] / loss[0] - 1)
        dots(right, table["cycle"], above, [GREY] * len(above), ms=3.6)
        right.plot(cycle, 100 * (loss / loss[0] - 1), color=LAW, lw=1.2, marker="o", ms=4.6, mec="white", mew=0.5)
        level(right)
        right.set_xlabel("Length of the cosine, in lengths of the run")
        right.set_ylabel("Loss above that of the matched cosine, %")
    drawn.say(*_said(evidence, cycle, loss, table, D), _tuned(shortest, rate))


def at(curves: Table, runs: Table, D: float) -> Table:
    """The loss of each run after D tokens, read between its evaluations: cycle, seed, loss."""
    rows = []
    for i, run in enumerate(runs["run"]):
        own = curves["run"] == run
        x, y = np.log(curves["tokens"][own]), np.log(curves["loss"][own])
        order = np.argsort(x)
        loss = float(np.exp(np.interp(np.log(D), x[order], y[order])))
        rows.append({"cycle": runs["tokens"][i] / D, "seed": runs["seed"][i], "loss": loss})
    return Table.from_rows(rows, "cosines")


def _curves(axes: Axes, curves: Table, runs: Table, D: float) -> None:
    """The curves of one seed, up to D tokens."""
    first = runs["seed"] == runs["seed"].min()
    colours = matplotlib.colormaps["viridis"]
    shown, length = [], runs["tokens"] / D
    order = np.argsort(runs["tokens"][first])
    for k, i in enumerate(np.flatnonzero(first)[order]):
        own = (curves["run"] == runs["run"][i]) & (curves["tokens"] <= D * 1.001) & (curves["tokens"] >= D / 8)
        x, y = curves["tokens"][own], curves["loss"][own]
        axes.plot(x, y, color=colours(0.85 - 0.8 * k / max(len(order) - 1, 1)), lw=1.2, label=f"{length[i]:.3g}")
        shown.append(y)
    log_y(axes, np.concatenate(shown), digits.plain)
    axes.set_xlabel("Tokens D")
    axes.xaxis.set_major_formatter(lambda v, _: digits.short(v))
    axes.set_ylabel(LOSS)
    axes.legend(title="Length of the cosine", alignment="left")


def _said(evidence: Chinchilla2022, cycle: np.ndarray, loss: np.ndarray, table: Table, D: float) -> Iterator[str]:
    half, why = _half(evidence, table)
    changes = ", ".join(
        f"{digits.percent(float(b / loss[0] - 1), sign=True)} at {c:.3g}"
        for c, b in zip(cycle[1:], loss[1:], strict=True)
    )
    yield (
        f"After {digits.short(D)} tokens, against the cosine of that length: {changes} times as long. Differences of "
        f"{digits.percent(half)} either way are luck ({why})."
    )
    far = loss[cycle > LIMIT] / loss[0] - 1
    if not len(far) or float(far.max()) <= half:
        raise Undecided("whether a cosine longer than the run hurts: no difference exceeds what luck explains")
    better = cycle[1:][loss[1:] / loss[0] - 1 < -half]
    told = f", while cosines of {joined_words([f'{c:.3g}' for c in better])} times the run do better than its own"
    yield (
        f"In the paper a cosine over {100 * (LIMIT - 1):.0f} % too long visibly hurts; here the longest costs "
        f"{digits.percent(float(far[-1]))}{told if len(better) else ''}. The paper's cosines fall to a tenth of the "
        "peak, ours to zero."
    )


def _half(evidence: Chinchilla2022, table: Table) -> tuple[float, str]:
    """Half-width of the interval of a difference of two cosines, as a share of the loss, and where it comes from."""
    seeds, cycles = np.unique(table["seed"]), np.unique(table["cycle"])
    if len(seeds) < 2 or len(table) < len(seeds) * len(cycles):
        return SIGMAS * evidence.known_noise.sigma * math.sqrt(2), "one seed, and the noise of the grid's"
    loss = dict(zip(zip(table["seed"], table["cycle"], strict=True), table["loss"], strict=True))
    y = np.log([[loss[seed, cycle] for cycle in cycles] for seed in seeds])
    return paired_half(y), f"{len(seeds)} seeds, paired"


def _tuned(shortest: Table, rate: float) -> str:
    """Whether the peak rate is a good one where the cosine is as long as the run: the same seeds at each rate."""
    of = {
        r: dict(zip(shortest["seed"][own].tolist(), np.log(shortest["loss"][own]).tolist(), strict=True))
        for r in np.unique(shortest["learning_rate"]).tolist()
        if (own := shortest["learning_rate"] == r).any()
    }
    seeds = set.intersection(*map(set, of.values()))
    if len(of) < 2 or not seeds:
        return ""
    changes = {r: float(np.mean([loss[s] - of[rate][s] for s in seeds])) for r, loss in of.items() if r != rate}
    others = joined_words(
        [f"{digits.percent(math.expm1(d), sign=True)} at {r / rate:.2g} times it" for r, d in changes.items()]
    )
    n = len(seeds)
    return (
        "The peak rate is the sweep's for this length; others change the loss of the matched cosine by "
        f"{others} ({n} {digits.plural(n, 'seed', 'seeds')}, paired)."
    )
