"""Figure 17: Universal (recurrent) Transformers: layers applied several times, with and without counting the reuse.

Counted once, N is that of a Transformer whose layers are the same and used once: against it alone the use again is
what differs. Counted by use, and so in compute, they stand against the ladder, the models that one would train instead.
"""

import math
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from analysis import digits, reference
from analysis.confidence import LEVEL, mean_interval, t_quantile
from analysis.page.canvas import GREY, LOSS, STYLE, panels
from analysis.papers.claim import Undecided
from analysis.papers.drawing import BITS, beside, bits_per_byte, logarithmic, named, papers_slope, symbol
from analysis.papers.drawn import Drawn
from analysis.papers.evidence import in_context, means, mode
from analysis.papers.kaplan import runs
from analysis.papers.kaplan.claims import Kaplan
from analysis.papers.kaplan.context import left_out, marks
from analysis.papers.kaplan.trend import between
from analysis.replicates import Noise
from analysis.table import Table

LEAST = 3  # sizes at which a group is compared
TOLD = 0.03  # of the loss: a wider interval cannot see the slight differences that the paper saw


def figure_17(evidence: Kaplan, drawn: Drawn) -> None:
    """Loss of Transformers that use their layers several times, left against N with each weight counted once and right
    against N times the uses, beside Transformers of as many layers and, right, those of the ladder.

    Where fewer than LEAST Transformers of as many layers were trained, the ladder stands in on the left as well.
    """
    universal = runs.of_kind(evidence.need("universal"), "universal")
    if not (universal["reuse"] > 1).any():
        raise Undecided("no Universal Transformer uses its layers more than once")
    every = universal.where(universal["reuse"] > 1, "reuse 1 is the Transformer itself")
    best = runs.best_rates(every)
    drawn.points(_rows(best))
    ladder = evidence.transformers_like(best)
    same = _same_layers(evidence, best, ladder)
    drawn.points(_rows(same, ladder, best))
    drawn.figure = _draw(best, same, ladder)
    lost = left_out(best, ladder) if same is ladder else left_out(best, same, ladder)
    universal, same, ladder = map(in_context, (best, same, ladder))
    sentences, halves, as_theirs = [], [], True
    for reuse in np.unique(universal["reuse"]):
        group = universal.where(universal["reuse"] == reuse, "another reuse")
        parts = []
        for counted, plain, words in (
            (1.0, same, f"per parameter, against {_called(same)},"),
            (reuse, ladder, f"per parameter and use, that is per FLOP, against {_called(ladder)},"),
        ):
            N, loss = means(group)
            gap = np.log(loss / between(*means(plain), N * counted))
            gap = gap[np.isfinite(gap)]
            if len(gap) < LEAST:
                parts.append(f"{words} only {len(gap)} sizes lie among theirs")
                as_theirs = False
                continue
            mean, low, high = _interval(gap, evidence.noise)
            halves.append((high - low) / 2)
            verdict = "worse" if low > 0 else "better" if high < 0 else "no significant difference"
            as_theirs &= verdict == ("better" if counted == 1 else "worse")
            parts.append(
                f"{words} {digits.percent(mean, sign=True)} ({digits.percent(low, sign=True)} to "
                f"{digits.percent(high, sign=True)}, {len(gap)} sizes), {verdict}"
            )
        sentences.append(f"Layers used {reuse:.0f} times change the loss: {'; '.join(parts)}.")
    if not halves:
        raise Undecided(f"{LEAST} sizes of one reuse among those of the Transformers are wanted. {lost}")
    if max(halves) > TOLD:
        raise Undecided(f"the differences are known only to ± {digits.percent(max(halves))}")
    drawn.say(
        *sentences,
        lost,
        "The paper saw them slightly better per parameter and slightly worse once the reuse is counted, as in compute"
        + ("; so do we." if as_theirs else ". Ours differ in part, or too little to be told. " + _few(every)),
    )


def _few(universal: Table) -> str:
    """What was tried of them, where more might make a difference."""
    text = f"They have {runs.depths_text(universal)} of their own"
    if not universal.has("learning_rate"):
        return f"{text}."
    tried: dict[tuple[float, float], set[float]] = {}
    for N, reuse, rate in zip(*(universal[name] for name in ("params", "reuse", "learning_rate")), strict=True):
        tried.setdefault((N, reuse), set()).add(rate)
    most = max(map(len, tried.values()))
    return (
        f"{text}, at {most} learning {digits.plural(most, 'rate', 'rates or fewer')} each: more of either would tell."
    )


def _same_layers(evidence: Kaplan, universal: Table, ladder: Table) -> Table:
    """Transformers of as many layers; the ladder where fewer than LEAST sizes of these were trained."""
    try:
        same = evidence.transformers_like(universal, float(mode(universal["n_layer"])))
    except Undecided:
        return ladder
    return same if len(np.unique(same["params"])) >= LEAST else ladder


def _interval(gap: np.ndarray, noise: Noise | None) -> tuple[float, float, float]:
    """The mean of gaps and its interval, no narrower than the seeds make it: sizes may agree by luck."""
    mean, low, high = mean_interval(gap)
    if noise is None:
        return mean, low, high
    least = float(t_quantile(LEVEL, np.array(float(noise.degrees)))) * noise.sigma * math.sqrt(2 / len(gap))
    return mean, min(low, mean - least), max(high, mean + least)


def _called(plain: Table) -> str:
    return f"Transformers of {runs.depths_text(plain)}"


def _draw(universal: Table, same: Table, ladder: Table) -> Figure:
    kinds = [int(reuse) for reuse in np.unique(universal["reuse"])]
    with rc_context(STYLE):
        figure, grid = panels(2, beyond=BITS)
        for axes, counted in zip(grid, (False, True), strict=True):
            plain = ladder if counted else same
            seen = [plain["params"]]
            axes.plot(*means(plain), color=symbol(0)["color"], lw=0.9, label=_called(plain))
            marks(axes, plain, 0)
            if plain is not ladder:
                axes.plot(*means(ladder), color=GREY, lw=0.9, dashes=(1, 2), label=_called(ladder))
                seen.append(ladder["params"])
            for k, reuse in enumerate(kinds, 1):
                own = universal.where(universal["reuse"] == reuse, "another reuse")
                N, loss = means(own)
                times = reuse if counted else 1
                axes.plot(N * times, loss, color=symbol(k)["color"], lw=0.9)
                marks(axes, own, k, times=times)
                seen.append(own["params"] * times)
            N = np.concatenate(seen)
            label = "Parameters times uses" if counted else "Parameters N, each counted once"
            logarithmic(axes, N, label, np.concatenate([one["loss"] for one in (same, ladder, universal)]))
            papers_slope(axes, plain["params"], plain["loss"], -reference.value("alpha_N"))
            axes.set_title("Reuse counted" if counted else "Reuse not counted")
            axes.legend(loc="lower left")
        grid[0].set_ylabel(LOSS)
        bits_per_byte(grid[1], ladder)
        beside(figure, [(f"{k}×" if k > 1 else "none", symbol(j, lw=0.9)) for j, k in enumerate((1, *kinds))], "Reuse")
        return figure


def _rows(*tables: Table) -> list[dict[str, Any]]:
    """The points of both panels, each run once."""
    names = ("run", "kind", "reuse", "params", "n_layer", "learning_rate", "seed", "loss")
    each = [row for table in tables for row in named(table, names)]
    return list({row["run"]: row for row in each}.values())
