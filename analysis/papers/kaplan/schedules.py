"""Figure 22: the learning-rate schedule hardly matters once the rates add up to enough."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from analysis import digits, reference
from analysis.confidence import LEVEL, t_quantile
from analysis.page.canvas import FAINT, GREY, LOSS, STYLE, log_axis, log_y, margins, panels
from analysis.papers.claim import Undecided
from analysis.papers.drawing import BITS, bits_per_byte, groups_legend, named, symbol
from analysis.papers.drawn import Drawn
from analysis.papers.evidence import mode
from analysis.papers.kaplan import runs
from analysis.papers.kaplan.claims import Kaplan
from analysis.replicates import Noise
from analysis.table import Table

LEAST = 6  # schedules
TOLD = 0.02  # of the loss: noise beyond it hides what the paper saw
# Of the default schedule's sum: less is too small. In the paper the loss is flat from about 100 on, where its own rule
# (D.1) for N = 3e6, a cosine to zero over 250,000 updates, adds up to 145.
ENOUGH = 2 / 3
ASIDE = 1.04  # of the sum: kinds are drawn so far apart where they share one


def figure_22(evidence: Kaplan, drawn: Drawn) -> None:
    """Final loss against the sum of the learning rates of all updates, a point per run, one size and length. Shaded:
    losses that another seed of the best schedule may have; dotted: the least sum that counts as enough. Kinds of one
    sum stand side by side.
    """
    table = evidence.need("schedule")
    if not table.has("learning_rate_sum"):
        raise Undecided("the table has no column learning_rate_sum")
    table = table.where(table["params"] == mode(table["params"]), "another size")
    each = _schedules(table)
    half = math.inf if evidence.noise is None else _half(each, evidence.noise)
    default = _default(each)
    drawn.figure = _draw(table, each, half, default)
    names = ("run", "schedule", "learning_rate", "warmup", "learning_rate_sum", "steps", "params", "seed", "loss")
    drawn.points(named(table, names))
    if len(each) < LEAST:
        raise Undecided(f"{len(each)} schedules; wanted {LEAST}")
    noise = evidence.known_noise
    if half > TOLD:
        raise Undecided(f"the seeds alone explain differences of {digits.percent(half)} among {len(each)} schedules")
    if default is None:
        raise Undecided("no cosine has the peak rate that most schedules have: what sum is too small is not known")
    drawn.say(
        f"{len(each)} schedules of N = {digits.short(table['params'][0])} over {table['steps'].max():.0f} updates; "
        f"{runs.noise_text(noise)}, so losses within {digits.percent(half)} of the lowest "
        f"({min(one.loss for one in each):.3f}) do not differ significantly from it.",
        *_sentences(each, half, default, float(table["batch_tokens"][0])),
    )


class Schedule(NamedTuple):
    """Runs that differ in their seed alone."""

    kind: str
    peak: float
    warmup: float  # of the run
    total: float  # of the rates of all updates
    loss: float  # geometric mean over the seeds
    seeds: int


def _schedules(table: Table) -> list[Schedule]:
    """Each schedule once, by rising sum."""
    names = ("schedule", "learning_rate", "warmup", "learning_rate_sum")
    groups: dict[tuple[str, float, float, float], list[float]] = {}
    for key, loss in zip(zip(*(table[name].tolist() for name in names), strict=True), table["loss"], strict=True):
        groups.setdefault(key, []).append(math.log(loss))
    found = [Schedule(*key, math.exp(np.mean(logs)), len(logs)) for key, logs in groups.items()]
    return sorted(found, key=lambda one: (one.total, one.loss))


def _half(each: list[Schedule], noise: Noise) -> float:
    """What the seeds may put between the lowest loss and any other: of many losses the lowest is too low, and an
    interval for all differences at once makes up for it.
    """
    level = 1 - (1 - LEVEL) / max(len(each) - 1, 1)
    half = float(t_quantile(level, np.array(float(noise.degrees)))) * noise.sigma
    return half * math.sqrt(2 / min(one.seeds for one in each))


def _default(each: list[Schedule]) -> Schedule | None:
    """The cosine with the peak and the warm-up that most schedules have; of equally many peaks the middle one."""
    peaks, counts = np.unique([one.peak for one in each], return_counts=True)
    often = peaks[counts == counts.max()]
    wanted = "cosine", float(often[(len(often) - 1) // 2]), float(mode([one.warmup for one in each]))
    return next((one for one in each if one[:3] == wanted), None)


def _sentences(each: list[Schedule], half: float, default: Schedule, batch: float) -> Iterator[str]:
    """What too small a sum costs, and whether the shape matters where it is enough.

    Only kinds that can do as well as the best where their sum is enough tell what a small one costs: others are worse
    for another reason.
    """
    best, enough = min(one.loss for one in each), ENOUGH * default.total
    few, many = ([one for one in each if (one.total < enough) == less] for less in (True, False))
    lost_few, lost_many = ([one for one in part if one.loss >= best * math.exp(half)] for part in (few, many))
    sound = {one.kind for one in many if one not in lost_many}
    telling, costly = ([one for one in part if one.kind in sound] for part in (few, lost_few))
    yield (
        f"Two thirds of the sum of the default schedule ({default.kind} from {default.peak:.2g}, sum "
        f"{digits.plain(default.total, 2)}) are taken for enough, as in the paper, where it is about 100 of 145. Worse "
        f"than the lowest are {len(lost_few)} of {len(few)} schedules with less and {len(lost_many)} of {len(many)} "
        f"with enough (sums up to {digits.plain(each[-1].total, 2)})."
    )
    if costly:
        yield (
            f"Too small a sum costs, as in the paper: {_listed(costly, best)}. There the loss is flat at about 3.75 "
            "where the sum is enough, and 3.87 where it is too small."
        )
    elif telling:
        yield (
            f"Whether too small a sum costs, as in the paper, cannot be decided: none of {len(telling)} schedules, of "
            "kinds that do well with enough, is worse."
        )
    yield from _within(each, half, default)
    if lost_many:
        yield (f"With enough these do worse all the same: {_listed(lost_many, best)}.")
        yield from _constant(many, half, batch)
    else:
        yield "With enough the shape of the schedule does not matter, as in the paper."


def _constant(many: list[Schedule], half: float, batch: float) -> Iterator[str]:
    """What a rate that stays high to the end costs, beside the falling ones of the nearest sum."""
    falling = [one for one in many if one.kind != "constant"]
    gaps = [
        math.log(one.loss / min(falling, key=lambda other: abs(math.log(other.total / one.total))).loss)
        for one in many
        if falling and one.kind == "constant"
    ]
    if gaps and np.mean(gaps) > half / math.sqrt(len(gaps)):
        yield (
            f"Constant rates end {digits.percent(math.expm1(float(np.mean(gaps))), sign=True)} above falling ones of "
            "the nearest sum. Possibly the noise of the last updates stays in the loss; larger batches would tell: "
            f"ours are of {batch:,.0f} tokens, the paper's of {reference.value('batch_tokens'):,.0f}."
        )


def _within(each: list[Schedule], half: float, default: Schedule) -> Iterator[str]:
    """The default's kind and warm-up at other peaks, where shape does not come in."""
    alike = [one for one in each if (one.kind, one.warmup) == (default.kind, default.warmup) and one != default]
    if alike:
        said = ", ".join(
            f"{digits.percent(one.loss / default.loss - 1, sign=True)} at {digits.plain(one.total / default.total, 2)}"
            for one in alike
        )
        yield (
            f"Within one kind, the {default.kind}, the loss differs from the default's by {said} times its sum "
            f"(± {digits.percent(half)} from the seeds)."
        )


def _listed(some: list[Schedule], best: float) -> str:
    """At most four of them, the worst first."""
    worst = sorted(some, key=lambda one: -one.loss)
    text = ", ".join(
        f"{one.kind} from {one.peak:.2g} (sum {digits.plain(one.total, 2)}): "
        f"{digits.percent(one.loss / best - 1, sign=True)}"
        for one in worst[:4]
    )
    return text + (f" and {len(worst) - 4} more" if len(worst) > 4 else "")


def _draw(table: Table, each: list[Schedule], half: float, default: Schedule | None) -> Figure:
    kinds = list(dict.fromkeys(sorted(table["schedule"].tolist())))
    total, loss, best = table["learning_rate_sum"], table["loss"], min(one.loss for one in each)
    with rc_context(STYLE):
        figure, (axes,) = panels(1, legend=False, beyond=BITS)
        if math.isfinite(half):
            band = {"color": FAINT, "lw": 0, "zorder": 0}
            axes.axhspan(best, best * math.exp(half), label="no significant difference from the lowest", **band)
        if default is not None:
            axes.axvline(ENOUGH * default.total, color=GREY, lw=0.8, dashes=(1, 2), label="2/3 of the default's sum")
        for k, kind in enumerate(kinds):
            rows = table["schedule"] == kind
            aside = ASIDE ** (k - (len(kinds) - 1) / 2)
            axes.plot(aside * total[rows], loss[rows], **symbol(k, lw=0, ms=6))
        axes.set_xscale("log")
        log_y(axes, loss, digits.plain)
        low, high = axes.get_ylim()
        axes.set_ylim(low, high * (high / low) ** 0.35)
        log_axis(axes.xaxis, np.geomspace(total.min(), total.max(), 9), digits.plain)
        axes.set_xlim(*margins(total, 1.2))
        axes.set_xlabel("Learning rate, summed over the updates")
        axes.set_ylabel(LOSS)
        bits_per_byte(axes, table)
        axes.set_title("Final loss of each schedule")
        groups_legend(axes, [(kind, symbol(k, lw=0, ms=6)) for k, kind in enumerate(kinds)], "upper right", ncols=2)
        return figure
