"""How well forecasts do: each approach fitted to the smaller runs and held against those of HELD_OUT times their
compute, and those that were stored before a run was trained."""

import dataclasses
import math
from collections.abc import Iterator

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from analysis import digits
from analysis.fit import fit
from analysis.isoflop import Profile, parabolas
from analysis.laws import HenighanC
from analysis.page.canvas import GREY, INK, LOSS, STYLE, WIDE, panels
from analysis.papers.chinchilla import approaches
from analysis.papers.chinchilla.approaches import Approach
from analysis.papers.chinchilla.evidence import FIND, NUMBERS, Chinchilla2022
from analysis.papers.chinchilla.growth import COLOURS, COMPUTE, MARKS, SIZE, joined_words
from analysis.papers.chinchilla.profiles import measured_profiles
from analysis.papers.claim import MISSING, Undecided
from analysis.papers.drawing import BITS, PF_DAYS, bits_per_byte, dots, layered, legend, logarithmic, pf_days
from analysis.papers.drawn import Drawn
from analysis.registry import Entry, Registry
from analysis.table import Table
from scaling.errors import InputError

FEWEST = 4  # points that L(C) with a floor is fitted to
ROW, HEADROOM = 0.28, 0.7  # inches of a figure, for each stored forecast and beside them


@dataclasses.dataclass(frozen=True)
class Scored:
    """What an approach, fitted to smaller runs, says of one larger budget, and what came out there.

    Attributes:
        cost: by how much the loss at the forecast size exceeds the lowest there, as a share, by the profile's parabola.
        predicted: the lowest loss; NaN where no law of it was identified.
    """

    approach: int
    flops: float
    size: float
    best: float
    cost: float
    predicted: float
    measured: float

    def row(self) -> dict[str, float | str]:
        return {
            "approach": f"approach {self.approach}",
            "flops": self.flops,
            "N forecast": self.size,
            "N measured": self.best,
            "cost of the size, %": 100 * self.cost,
            "loss forecast": self.predicted,
            "loss measured": self.measured,
            "loss off, %": 100 * (self.predicted / self.measured - 1),
        }


def forecast(evidence: Chinchilla2022, drawn: Drawn) -> None:
    """What each approach, fitted to runs of a quarter of the compute and less, says of the best size and of the lowest
    loss at the budgets above; hollow, the minimum of the measured profile there."""
    scored = list(scores(evidence))
    if not scored:
        raise Undecided("no approach finds a line in the smaller runs")
    drawn.points(one.row() for one in scored)
    with rc_context(STYLE):
        drawn.figure, (left, right) = panels(2, legend=False, above=PF_DAYS, beyond=BITS)
        left.set_title("Best size")
        right.set_title("Lowest loss")
        C = np.array([one.flops for one in scored])
        logarithmic(left, C, COMPUTE, [n for one in scored for n in (one.size, one.best)], write=digits.ten,
                    write_y=digits.short)  # fmt: skip
        seen = [L for one in scored for L in (one.predicted, one.measured) if np.isfinite(L)]
        logarithmic(right, C, COMPUTE, seen, write=digits.ten)
        measured = {one.flops: one for one in scored}
        for axes, name in ((left, "best"), (right, "measured")):
            y = [getattr(one, name) for one in measured.values()]
            dots(axes, list(measured), y, [INK] * len(y), marker="o", mfc="white", mec=INK, ms=7, mew=1.2)
            axes.plot([], [], "o", mfc="white", mec=INK, ms=7, mew=1.2, label="measured, held out")
        for number in sorted({one.approach for one in scored}):
            own = [one for one in scored if one.approach == number]
            for axes, name in ((left, "size"), (right, "predicted")):
                y = [getattr(one, name) for one in own]
                style = layered(number - 1) | {"color": COLOURS[number], "marker": MARKS[number], "ms": 4.5}
                axes.plot([one.flops for one in own], y, label=f"approach {number}", **style)
        left.set_ylabel(SIZE)
        right.set_ylabel(LOSS)
        legend(left, "upper left")
        legend(right, "upper right")
        pf_days(left)
        pf_days(right)
        bits_per_byte(right, evidence.runs)
    reach = [digits.plain(end(C) / evidence.smaller["flops"].max(), 2) for end in (np.min, np.max)]
    drawn.say(f"These budgets are {' to '.join(reach)} times the compute of the largest run that was fitted.")
    drawn.say(*_said(scored))
    absent = [f"approach {n}" for n in NUMBERS if n not in {one.approach for one in scored}]
    if absent:
        raise Undecided(f"{joined_words(absent)} found no line in the runs of a quarter of the compute and less")


def _said(scored: list[Scored]) -> Iterator[str]:
    for number in sorted({one.approach for one in scored}):
        own = [one for one in scored if one.approach == number]
        size = np.exp(np.abs(np.log([one.size / one.best for one in own])).max())
        cost = max(one.cost for one in own)
        off = np.array([one.predicted / one.measured - 1 for one in own])
        said = (
            f"Approach {number}, from runs of a quarter of the compute and less, has the best size within a factor of "
            f"{size:.2f}; choosing it costs at most {digits.percent(max(cost, 0.0))} of the loss"
        )
        if np.isfinite(off).all():
            worst = off[np.argmax(np.abs(off))]
            said += f". The lowest loss is forecast to {digits.percent(float(worst), sign=True)} at worst"
        yield f"{said}."


def scores(evidence: Chinchilla2022) -> Iterator[Scored]:
    """All approaches at all budgets that were held out and have their minimum inside."""
    smaller = evidence.smaller
    limit = smaller["flops"].max() * 1.01
    held = [(p, *minimum) for p in measured_profiles(evidence)
            if p.flops > limit and (minimum := _minimum(p)) is not None]  # fmt: skip
    if not held:
        raise Undecided("no budget beyond the smaller runs has its minimum between two sizes")
    ln_loss = np.log(smaller["loss"])[:, None]
    for find in FIND.values():
        try:
            one = find(smaller, ln_loss)
        except MISSING:
            continue
        law = _loss_law(one)
        for profile, best, low in held:
            size = float(one.found.params(profile.flops))
            lowest = float(law(profile.flops)) if law else np.nan
            yield Scored(one.number, profile.flops, size, best, _cost(profile, size), lowest, low)


def _minimum(profile: Profile) -> tuple[float, float] | None:
    """N and loss at the vertex of a profile's parabola; None where it lies at an edge."""
    if len(profile.x) < approaches.FEWEST:
        return None
    (centre,), (c0, c1, c2), near = parabolas(profile.x, profile.y[:, None])
    if not c2[0] > 0:
        return None
    vertex = centre - c1[0] / (2 * c2[0])
    own = profile.x[near[:, 0]]
    return (
        (float(np.exp(vertex)), float(np.exp(c0[0] - c1[0] ** 2 / (4 * c2[0])))) if own[0] < vertex < own[-1] else None
    )


def _cost(profile: Profile, size: float) -> float:
    """The loss at a size above the lowest, as a share, by the parabola."""
    (centre,), (c0, c1, c2), _ = parabolas(profile.x, profile.y[:, None])
    u = np.log(size) - centre
    return float(np.expm1(c0[0] + c1[0] * u + c2[0] * u**2 - (c0[0] - c1[0] ** 2 / (4 * c2[0]))))


def _loss_law(one: Approach):
    """The lowest loss over compute: the surface's own, or a power law with a floor through the optima."""
    if one.fit is not None:
        law = one.fit.law
        return lambda C: law(one.found.params(C), one.found.tokens(C))
    points = one.found.points
    if len(points) < FEWEST:
        return None
    table = Table.from_columns(
        {name: np.array([float(getattr(p, name)) for p in points]) for name in ("flops", "loss")}
    )
    try:
        found = fit(HenighanC, table, loss="squared", every_run=True)
    except InputError:
        return None
    return found.law


def promised(evidence: Chinchilla2022, drawn: Drawn) -> None:
    """Forecasts of a run that were stored, dated, before it was trained, each from runs of less compute: a dot for what
    was predicted, dark the 95 % interval of the law, light that of one run, a diamond for what the run gave."""
    found = evidence.promised
    if found is None:
        raise Undecided("no forecast was stored before its run; scaling predict --store PAGE/forecasts/ does")
    drawn.points(_promise(entry) for entry in found.entries)
    height = HEADROOM + ROW * len(found.entries)
    with rc_context(STYLE):
        drawn.figure = Figure(figsize=(WIDE[0], height))
        axes = drawn.figure.add_axes((0.33, 0.5 / height, 0.64, 1 - HEADROOM / height))
        for k, entry in enumerate(found.entries):
            f = entry.forecast
            if f.bounded:
                for low, high, width, alpha in ((f.low, f.high, 7, 0.3), (f.law_low, f.law_high, 3, 0.8)):
                    axes.plot([low, high], [k, k], color=GREY, lw=width, alpha=alpha, solid_capstyle="butt")
            axes.plot(f.value, k, "o", color=COLOURS[1], ms=4.5)
            if entry.scored:
                axes.plot(entry.measured, k, "D", mfc="white", mec=INK, ms=6, mew=1.2)
        axes.set_yticks(range(len(found.entries)), [entry.name for entry in found.entries])
        axes.set_ylim(len(found.entries) - 0.4, -0.6)
        axes.set_xlabel(LOSS)
        axes.grid(axis="y", visible=False)
    scored = [entry for entry in found.entries if entry.scored]
    drawn.say(*_held(found), *found.notes())
    if not scored:
        raise Undecided("the run of these forecasts has not been measured")
    order = sorted(scored, key=lambda entry: abs(math.log(entry.measured / entry.forecast.value)))
    ends = {"closest": order[0], "furthest": order[-1]} if len(order) > 1 else {"only one": order[0]}
    for word, entry in ends.items():
        f, off = entry.forecast, digits.percent(entry.measured / entry.forecast.value - 1, sign=True)
        drawn.say(
            f"The {word} is {entry.name} ({f.by}), made {f.made[:10]}: {f.value:.4f} was predicted and "
            f"{entry.measured:.4f} came, {off}"
        )


def _held(found: Registry) -> Iterator[str]:
    """How many intervals held what came, those of one run and those of the law, and how wide they are."""
    scored = [e for e in found.entries if e.scored and e.forecast.bounded and not e.changed]
    for c in found.calibration:
        own = [e for e in scored if e.forecast.level == c.level]
        law = sum(e.forecast.law_low <= e.measured <= e.forecast.law_high for e in own)
        shared = ""
        if c.runs < c.forecasts:
            trials = "one run: that is one trial" if c.runs == 1 else f"{c.runs} runs: that many trials"
            shared = f" All {c.forecasts} are of {trials}."
        yield (
            f"The {100 * c.level:.4g} % interval of one run holds what came in {c.inside} of {c.forecasts} forecasts, "
            f"that of the law in {law}.{shared} The forecasts are off by {digits.percent(c.rms)} rms; half of an "
            f"interval of one run is {digits.percent(c.half_width)} (median)."
        )


def _promise(entry: Entry) -> dict[str, float | str]:
    f = entry.forecast
    return {
        "forecast": entry.name,
        "made": f.made,
        "by": f.by,
        "at": f.at,
        "predicted": f.value,
        **({"law low": f.law_low, "law high": f.law_high, "run low": f.low, "run high": f.high} if f.bounded else {}),
        **({"measured": entry.measured} if entry.scored else {}),
    }
