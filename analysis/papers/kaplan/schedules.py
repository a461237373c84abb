"""Figure 22: the learning-rate schedule hardly matters once the rates add up to enough."""

import math
from typing import NamedTuple

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from analysis.estimation.intervals import t_quantile
from analysis.page import digits
from analysis.page.canvas import FAINT, LOSS, STYLE, log_axis, log_y, margins, panels
from analysis.page.checks import LEVEL, Noise
from analysis.papers import reference
from analysis.papers.kaplan import runs
from analysis.papers.kaplan.drawn import Drawn, Experiments, points, undecided
from analysis.papers.kaplan.marks import groups_legend, symbol
from analysis.table import Table

NAME, TITLE = "fig22", "Figure 22: learning-rate schedules"
LEAST = 6  # schedules
TOLD = 0.02  # of the loss: noise beyond it hides what the paper saw


def figure_22(experiments: Experiments) -> Drawn:
    """Final loss against the sum of the learning rate over all updates, a point per run, one size and length."""
    table = runs.finished(experiments, "schedule")
    if table is None:
        return undecided(NAME, TITLE, "no run of the experiment schedule is finished.")
    if not table.has("learning_rate_sum"):
        return undecided(NAME, TITLE, "the table has no column learning_rate_sum.")
    N, counts = np.unique(table["params"], return_counts=True)
    table = table.where(table["params"] == N[np.argmax(counts)], "another size")
    noise = runs.noise_of(experiments)
    each = _schedules(table)
    figure, data = _draw(table, noise), _data(table)
    if len(each) < LEAST:
        return undecided(NAME, TITLE, f"{len(each)} schedules; wanted {LEAST}.", figure=figure, data=data)
    if noise is None:
        why = "no setting has two seeds: which differences are noise is not known."
        return undecided(NAME, TITLE, why, figure=figure, data=data)
    # The lowest of many losses is too low; an interval for all differences at once makes up for it.
    level = 1 - (1 - LEVEL) / (len(each) - 1)
    half = float(t_quantile(level, np.array(float(noise.degrees)))) * noise.sigma
    half *= math.sqrt(2 / min(one.seeds for one in each))
    if half > TOLD:
        why = f"the seeds alone explain differences of {digits.percent(half)} among {len(each)} schedules."
        return undecided(NAME, TITLE, why, figure=figure, data=data)
    return Drawn(NAME, TITLE, figure, _sentences(table, each, half, noise), (), data)


class Schedule(NamedTuple):
    """Runs that differ in their seed alone."""

    kind: str
    peak: float
    total: float  # of the rates of all updates
    loss: float  # geometric mean over the seeds
    seeds: int


def _schedules(table: Table) -> list[Schedule]:
    """Each schedule once, by rising sum."""
    names = ("schedule", "learning_rate", "learning_rate_sum")
    groups: dict[tuple[str, float, float], list[float]] = {}
    for key, loss in zip(zip(*(table[name].tolist() for name in names), strict=True), table["loss"], strict=True):
        groups.setdefault(key, []).append(math.log(loss))
    found = [Schedule(*key, math.exp(np.mean(logs)), len(logs)) for key, logs in groups.items()]
    return sorted(found, key=lambda one: (one.total, one.loss))


def _sentences(table: Table, each: list[Schedule], half: float, noise: Noise) -> tuple[str, ...]:
    best = min(one.loss for one in each)
    alike = [one.loss < best * math.exp(half) for one in each]
    # The sum that parts those that are worse, below, from those that are not, above, with the fewest exceptions.
    k = min(range(len(each)), key=lambda k: sum(alike[:k]) + len(alike[k:]) - sum(alike[k:]))
    short, inside = (
        [one for one, same in zip(each[part], alike[part], strict=True) if not same]
        for part in (slice(k), slice(k, None))
    )
    low, high = each[k].total, each[-1].total
    head = (
        f"{len(each)} schedules of N = {digits.short(table['params'][0])} over {table['steps'].max():.0f} updates; "
        f"{runs.noise_text(noise)}, so losses within {digits.percent(half)} of the lowest ({best:.3f}) are not told "
        f"from it: {sum(alike)} are not, {sum(alike[k:])} of the {len(each) - k} whose rates add up to "
        f"{digits.plain(low, 2)} or more, up to {digits.plain(high, 2)}."
    )
    said = [head]
    if short:
        said.append(
            f"Too small a sum costs, as in the paper: {_listed(short, best)}. There the loss is flat at about 3.75 "
            "once the sum exceeds 100, in 250,000 updates, and 3.87 where it is too small."
        )
    else:
        said.append("No sum tried was too small; the paper saw the loss rise where it was.")
    if inside:
        said.append(
            f"With such a sum these do worse all the same: {_listed(inside, best)}."
            + (
                " A rate that does not decay at the end leaves the noise of the last updates in the loss, the more the "
                f"smaller the batch: ours is {table['batch_tokens'][0]:.0f} tokens, the paper's "
                f"{reference.value('batch_tokens'):.0f}."
                if any(one.kind == "constant" for one in inside)
                else ""
            )
        )
    else:
        said.append("With such a sum the shape of the schedule does not matter, as in the paper.")
    return tuple(said)


def _listed(some: list[Schedule], best: float) -> str:
    """At most four of them, the worst first."""
    worst = sorted(some, key=lambda one: -one.loss)
    text = ", ".join(
        f"{one.kind} from {one.peak:.2g} (sum {digits.plain(one.total, 2)}): "
        f"{digits.percent(one.loss / best - 1, sign=True)}"
        for one in worst[:4]
    )
    return text + (f" and {len(worst) - 4} more" if len(worst) > 4 else "")


def _draw(table: Table, noise: Noise | None) -> Figure:
    kinds = list(dict.fromkeys(sorted(table["schedule"].tolist())))
    total, loss = table["learning_rate_sum"], table["loss"]
    with rc_context(STYLE):
        figure, (axes,) = panels(1, legend=False)
        if noise is not None:
            axes.axhspan(loss.min(), loss.min() * math.exp(2 * noise.sigma), color=FAINT, lw=0, zorder=0)
        for k, kind in enumerate(kinds):
            rows = table["schedule"] == kind
            axes.plot(total[rows], loss[rows], **symbol(k, lw=0, ms=6))
        axes.set_xscale("log")
        log_y(axes, loss, digits.plain)
        low, high = axes.get_ylim()
        axes.set_ylim(low, high * (high / low) ** 0.25)
        log_axis(axes.xaxis, np.geomspace(total.min(), total.max(), 9), digits.plain)
        axes.set_xlim(*margins(total, 1.2))
        axes.set_xlabel("Learning rate, summed over the updates")
        axes.set_ylabel(LOSS)
        axes.set_title("Final loss of each schedule")
        groups_legend(axes, [(kind, symbol(k, lw=0, ms=6)) for k, kind in enumerate(kinds)], "upper right", ncols=2)
        return figure


def _data(table: Table) -> Table:
    names = ("run", "schedule", "learning_rate", "warmup", "learning_rate_sum", "steps", "params", "seed", "loss")
    return points(NAME, [{name: table[name][i] for name in names if name in table} for i in range(len(table))])
