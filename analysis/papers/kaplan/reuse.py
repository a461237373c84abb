"""Figure 17: Universal (recurrent) Transformers: layers applied several times, with and without counting the reuse."""

import math

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from analysis.estimation.intervals import t_quantile
from analysis.page import digits
from analysis.page.canvas import LOSS, STYLE, log_axes, margins, panels
from analysis.page.checks import LEVEL
from analysis.papers import reference
from analysis.papers.kaplan import ghosts, runs
from analysis.papers.kaplan.drawn import Drawn, Experiments, points, undecided
from analysis.papers.kaplan.marks import beside, symbol
from analysis.papers.kaplan.trend import between, mean_interval
from analysis.table import Table

NAME, TITLE = "fig17", "Figure 17: recurrent Transformers, with and without counting the reuse"
LEAST = 3  # sizes at which a group is compared
TOLD = 0.03  # of the loss: a wider interval cannot see the slight differences that the paper saw


def figure_17(experiments: Experiments) -> Drawn:
    """Loss against N, and against N times the reuse; each group is held against Transformers of the same count."""
    found = runs.finished(experiments, "universal")
    universal = runs.of_kind(found, "universal") if found is not None else None
    if universal is not None and (universal["reuse"] > 1).any():
        universal = universal.where(universal["reuse"] > 1, "reuse 1 is the Transformer itself")
    else:
        return undecided(NAME, TITLE, "no Universal Transformer is finished.")
    universal = runs.best_rates(universal)
    plain = runs.transformers_like(experiments, universal)
    data = _data(universal, plain)
    if plain is None:
        return undecided(NAME, TITLE, "no Transformer was trained on the same tokens for as long.", data=data)
    figure = _draw(universal, plain)
    noise = runs.noise_of(experiments)
    sentences, halves, as_theirs = [], [], True
    for reuse in np.unique(universal["reuse"]):
        group = universal.where(universal["reuse"] == reuse, "another reuse")
        parts = []
        for counted, words in ((1.0, "per parameter"), (reuse, "per parameter and use, that is per FLOP")):
            N, loss = runs.means(group)
            gap = np.log(loss / between(*runs.means(plain), N * counted))
            gap = gap[np.isfinite(gap)]
            if len(gap) < LEAST:
                parts.append(f"{words} only {len(gap)} sizes lie among those of the Transformers")
                as_theirs = False
                continue
            mean, low, high = mean_interval(gap)
            if noise is not None:  # sizes that happen to agree do not make the seeds agree
                least = float(t_quantile(LEVEL, np.array(float(noise.degrees)))) * noise.sigma * math.sqrt(2 / len(gap))
                low, high = min(low, mean - least), max(high, mean + least)
            halves.append((high - low) / 2)
            verdict = "worse" if low > 0 else "better" if high < 0 else "not told from it"
            as_theirs &= verdict == ("better" if counted == 1 else "worse")
            parts.append(
                f"{words} {digits.percent(mean, sign=True)} ({digits.percent(low, sign=True)} to "
                f"{digits.percent(high, sign=True)}, {len(gap)} sizes), {verdict}"
            )
        sentences.append(f"Layers used {reuse:.0f} times, loss against a Transformer's: {'; '.join(parts)}.")
    if not halves or max(halves) > TOLD:
        why = (
            f"the differences are known only to ± {digits.percent(max(halves))}."
            if halves
            else f"{LEAST} sizes of one reuse among those of the Transformers are wanted."
        )
        return undecided(NAME, TITLE, why, figure=figure, data=data)
    sentences.append(
        "The paper saw them slightly better per parameter and slightly worse once the reuse is counted, as in compute"
        + (
            "; so do we."
            if as_theirs
            else ". Ours differ in part, or too little to be told: they have few distinct layers, so that uses of them "
            "do much the same, and their learning rates are those of Transformers."
        )
    )
    return Drawn(NAME, TITLE, figure, tuple(sentences), (), data)


def _draw(universal: Table, plain: Table) -> Figure:
    kinds = [int(reuse) for reuse in np.unique(universal["reuse"])]
    with rc_context(STYLE):
        figure, grid = panels(2)
        for axes, counted in zip(grid, (False, True), strict=True):
            seen = [plain["params"]]
            axes.plot(*runs.means(plain), color=symbol(0)["color"], lw=0.9)
            axes.plot(plain["params"], plain["loss"], **symbol(0, lw=0))
            for k, reuse in enumerate(kinds, 1):
                own = universal.where(universal["reuse"] == reuse, "another reuse")
                N, loss = runs.means(own)
                times = reuse if counted else 1
                axes.plot(N * times, loss, color=symbol(k)["color"], lw=0.9)
                axes.plot(own["params"] * times, own["loss"], **symbol(k, lw=0))
                seen.append(own["params"] * times)
            N = np.concatenate(seen)
            log_axes(axes, "params", N, np.concatenate([plain["loss"], universal["loss"]]))
            axes.set_xlim(*margins(N, 1.4))
            ghosts.slope(axes, plain["params"], plain["loss"], -reference.value("alpha_N"))
            axes.set_xlabel("Parameters times uses" if counted else "Parameters N, each counted once")
            axes.set_title("Reuse counted" if counted else "Reuse not counted")
        grid[0].set_ylabel(LOSS)
        grid[1].legend(loc="lower left")
        beside(figure, [(f"{k}×" if k > 1 else "none", symbol(j, lw=0.9)) for j, k in enumerate((1, *kinds))], "Reuse")
        return figure


def _data(universal: Table, plain: Table | None) -> Table:
    names = ("run", "kind", "reuse", "params", "n_layer", "learning_rate", "seed", "loss")
    tables = [universal] if plain is None else [plain, universal]
    return points(
        NAME, [{name: table[name][i] for name in names if name in table} for table in tables for i in range(len(table))]
    )
