"""Which runs count: those whose model used its context before they ended."""

import contextlib

import numpy as np
from matplotlib import rc_context

from analysis import digits
from analysis.laws.admission import IN_CONTEXT
from analysis.onset import BEYOND, GAIN
from analysis.page.canvas import GREY, INK, LABELS, STYLE, panels
from analysis.papers.chinchilla.evidence import MOST_WARMUP, Chinchilla2022
from analysis.papers.chinchilla.trunks import luck
from analysis.papers.claim import Undecided
from analysis.papers.drawing import legend, logarithmic, named
from analysis.papers.drawn import Drawn
from analysis.table import Table

LEGEND = 6.0  # times the shortest run, below which the legend has room


def figure(evidence: Chinchilla2022, drawn: Drawn) -> None:
    """The tokens of every run over its size, those left out hollow, and where the onset of context use lies, as a mean
    of the admitted runs of each size."""
    runs = evidence.every_run
    N, D, onset = runs["params"], runs["tokens"], runs["onset"]
    used = IN_CONTEXT.rule(runs).keep
    drawn.points(named(runs, ("run", "params", "tokens", "seed", "loss", "onset")))
    with rc_context(STYLE):
        drawn.figure, (axes,) = panels(1, legend=False)
        axes.plot(N[used], D[used], "o", color=INK, ms=4, mew=0, label="admitted")
        if not used.all():
            axes.plot(N[~used], D[~used], "o", mfc="white", mec=INK, ms=4.5, mew=0.9, label="left out")
        sizes = [n for n in np.unique(N) if used[n == N].any()]
        at = [float(np.exp(np.log(onset[used & (n == N)]).mean())) for n in sizes]
        axes.plot(sizes, at, color=GREY, lw=1.4, marker="_", ms=9, label="onset of context use")
        logarithmic(axes, N, LABELS["params"], [*D, *at, D.min() / LEGEND], write_y=digits.short, most=6)
        axes.set_ylabel("Tokens D")
        legend(axes, "lower left")
    out = int((~used).sum())
    drawn.say(
        "A run is admitted where its model used its context before the end: where its mean loss beyond position "
        f"{BEYOND} had come to lie {GAIN:g} nats per token below that at position 2, which sees one token, and stayed "
        "there. A law across this onset would measure the onset.",
        f"{len(runs) - out} of {len(runs)} runs are admitted"
        + (
            f"; {out} are left out, up to N = {digits.short(float(N[~used].max()))}, hollow in the figure."
            if out
            else "."
        ),
    )
    if sizes:
        drawn.say(
            f"The onset lies near {digits.short(at[0])} tokens at N = {digits.short(float(sizes[0]))} and "
            f"{digits.short(at[-1])} at N = {digits.short(float(sizes[-1]))}.",
            _warmed(runs.where(used, "left out")),
        )
    else:
        raise Undecided("no model had begun to use its context when its run ended")
    seen = evidence.luck
    drawn.say(
        f"Another seed changes a loss by {digits.percent(seen.total)}: {digits.percent(seen.trunk)} that all lengths "
        f"of a trunk share and {digits.percent(seen.run)} of each run's own (standard deviations, {seen.degrees} "
        f"{digits.plural(seen.degrees, 'degree', 'degrees')} of freedom). The intervals of all three approaches draw "
        "both again and repeat the whole chain.",
        _by_size(evidence.runs),
    )


def _warmed(runs: Table) -> str:
    """How long the runs warm up."""
    low, high = float(runs["warmup"].min()), float(runs["warmup"].max())
    long = int((runs["warmup"] > MOST_WARMUP).sum())
    return (
        f"The warm-up is {digits.percent(low)} to {digits.percent(high)} of a run, over {digits.percent(MOST_WARMUP)} "
        f"in {long} of those admitted; Table 2 has the exponents without these."
    )


def _by_size(runs: Table) -> str:
    """Between which sizes the luck of the seeds differs most."""
    seen: dict[float, float] = {}
    for N in np.unique(runs["params"]):
        with contextlib.suppress(Undecided):
            seen[float(N)] = luck(runs.where(runs["params"] == N, "another size")).total
    if len(seen) < 2:
        return ""
    least, most = min(seen, key=seen.__getitem__), max(seen, key=seen.__getitem__)
    return (
        f"It is pooled over the {len(seen)} sizes of several seeds, from {digits.percent(seen[least])} at N = "
        f"{digits.short(least)} to {digits.percent(seen[most])} at {digits.short(most)}, with the embedding; the other "
        "sizes are taken to have as much."
    )
