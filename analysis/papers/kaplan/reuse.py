"""Figure 17: Universal (recurrent) Transformers: layers applied several times, with and without counting the reuse.

Counted once, N is that of a Transformer whose layers are the same and used once: against it alone the use again is
what differs. Counted by use, and so in compute, they stand against the ladder, the models that one would train instead.
"""

import math

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from analysis import digits, reference
from analysis.confidence import LEVEL, t_quantile
from analysis.page.canvas import GREY, LOSS, STYLE, log_axes, margins, panels
from analysis.papers.kaplan import ghosts, runs
from analysis.papers.kaplan.drawn import Drawn, Experiments, points, undecided
from analysis.papers.kaplan.marks import beside, symbol
from analysis.papers.kaplan.trend import between, mean_interval
from analysis.table import Table

NAME, TITLE = "fig17", "Figure 17: recurrent Transformers, with and without counting the reuse"
LEAST = 3  # sizes at which a group is compared
TOLD = 0.03  # of the loss: a wider interval cannot see the slight differences that the paper saw


def figure_17(experiments: Experiments) -> Drawn:
    """Loss against N, and against N times the reuse; each group is held against Transformers of the same count.

    Where fewer than LEAST Transformers of as many layers were trained, the ladder stands in on the left as well.
    """
    found = runs.finished(experiments, "universal")
    universal = runs.of_kind(found, "universal") if found is not None else None
    if universal is not None and (universal["reuse"] > 1).any():
        universal = universal.where(universal["reuse"] > 1, "reuse 1 is the Transformer itself")
    else:
        return undecided(NAME, TITLE, "no Universal Transformer is finished.")
    universal = runs.best_rates(universal)
    ladder = runs.transformers_like(experiments, universal)
    if ladder is None:
        why = "no Transformer was trained on the same tokens for as long."
        return undecided(NAME, TITLE, why, data=_data(universal))
    same = runs.transformers_like(experiments, universal, _layers(universal))
    if same is None or len(np.unique(same["params"])) < LEAST:
        same = ladder
    data, figure = _data(universal, same, ladder), _draw(universal, same, ladder)
    noise = runs.noise_of(experiments)
    sentences, halves, as_theirs = [], [], True
    for reuse in np.unique(universal["reuse"]):
        group = universal.where(universal["reuse"] == reuse, "another reuse")
        parts = []
        for counted, plain, words in (
            (1.0, same, f"per parameter, against {_called(same)},"),
            (reuse, ladder, f"per parameter and use, that is per FLOP, against {_called(ladder)},"),
        ):
            N, loss = runs.means(group)
            gap = np.log(loss / between(*runs.means(plain), N * counted))
            gap = gap[np.isfinite(gap)]
            if len(gap) < LEAST:
                parts.append(f"{words} only {len(gap)} sizes lie among theirs")
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
        sentences.append(f"Layers used {reuse:.0f} times change the loss: {'; '.join(parts)}.")
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


def _layers(universal: Table) -> float:
    """The commonest number of distinct layers."""
    layers, counts = np.unique(universal["n_layer"], return_counts=True)
    return float(layers[np.argmax(counts)])


def _called(plain: Table) -> str:
    return f"Transformers of {runs.depths_text(plain)}"


def _draw(universal: Table, same: Table, ladder: Table) -> Figure:
    kinds = [int(reuse) for reuse in np.unique(universal["reuse"])]
    with rc_context(STYLE):
        figure, grid = panels(2)
        for axes, counted in zip(grid, (False, True), strict=True):
            plain = ladder if counted else same
            seen = [plain["params"]]
            axes.plot(*runs.means(plain), color=symbol(0)["color"], lw=0.9, label=_called(plain))
            axes.plot(plain["params"], plain["loss"], **symbol(0, lw=0))
            if plain is not ladder:
                axes.plot(*runs.means(ladder), color=GREY, lw=0.9, dashes=(1, 2), label=_called(ladder))
                seen.append(ladder["params"])
            for k, reuse in enumerate(kinds, 1):
                own = universal.where(universal["reuse"] == reuse, "another reuse")
                N, loss = runs.means(own)
                times = reuse if counted else 1
                axes.plot(N * times, loss, color=symbol(k)["color"], lw=0.9)
                axes.plot(own["params"] * times, own["loss"], **symbol(k, lw=0))
                seen.append(own["params"] * times)
            N = np.concatenate(seen)
            log_axes(axes, "params", N, np.concatenate([one["loss"] for one in (same, ladder, universal)]))
            axes.set_xlim(*margins(N, 1.4))
            ghosts.slope(axes, plain["params"], plain["loss"], -reference.value("alpha_N"))
            axes.set_xlabel("Parameters times uses" if counted else "Parameters N, each counted once")
            axes.set_title("Reuse counted" if counted else "Reuse not counted")
            axes.legend(loc="lower left")
        grid[0].set_ylabel(LOSS)
        beside(figure, [(f"{k}×" if k > 1 else "none", symbol(j, lw=0.9)) for j, k in enumerate((1, *kinds))], "Reuse")
        return figure


def _data(universal: Table, *plain: Table) -> Table:
    """The points of both panels, each run once."""
    names = ("run", "kind", "reuse", "params", "n_layer", "learning_rate", "seed", "loss")
    rows = {
        table["run"][i]: {name: table[name][i] for name in names if name in table}
        for table in (*plain, universal)
        for i in range(len(table))
    }
    return points(NAME, rows.values())
