"""The page of a folder of forecasts: one self-contained HTML file."""

from collections.abc import Sequence

import matplotlib
import numpy as np
from markupsafe import Markup

from analysis import digits
from analysis.follow import Followed
from analysis.page import canvas, markup
from analysis.page.markup import tag
from analysis.registry import HEAD, Entry, Registry

HIT, MISS = "#1d6b3f", "#b3261e"  # as the page's verdicts
ROW = 0.28  # inches of the figure for each forecast


def page(found: Registry, followed: Sequence[Followed] = ()) -> str:
    """The page as HTML text.

    Args:
        found: the forecasts of a folder.
        followed: runs that go on, against their forecasts.
    """
    scored = [e for e in found.entries if e.score and e.forecast.bounded and not e.changed]
    title = "Dated forecasts"
    opening = (
        tag("h1", title),
        tag("p", "Predictions written down, dated, before their runs; each is scored once, and none is rewritten.",
            class_="lede"),
        _facts(found),
    )  # fmt: skip
    sections = [
        ("forecasts", "All forecasts", _table(found)),
        ("errors", "Measured against predicted", _errors(scored) if scored else Markup()),
        ("runs", "Runs that go on", markup.joined(_curve(one, k) for k, one in enumerate(followed))),
        ("notes", "What else to know", _notes(found)),
    ]
    return markup.document(title, opening, sections)


def _facts(found: Registry) -> Markup:
    scored = sum(e.score is not None for e in found.entries)
    facts = [("Forecasts", str(len(found.entries)), f"{scored} scored")]
    for c in found.calibration:
        level = f"{100 * c.level:.4g} %"
        facts += [
            (f"Inside {level}", f"{c.inside} of {c.forecasts}", f"intervals of one run; of {c.runs} runs"),
            ("Error", digits.percent(c.rms), f"rms; the {level} intervals reach {digits.percent(c.half_width)}"),
        ]
    return markup.facts(facts)


def _table(found: Registry) -> Markup:
    rows = []
    for entry in found.entries:
        cells = dict(zip(HEAD, entry.cells(), strict=True))
        below = (cells["at"], f"{cells['made']}, by {cells['by']}")
        name = markup.joined([cells["forecast"], *(tag("small", line) for line in below)])
        rows.append((name, *(cells[column] for column in HEAD[4:])))
    head = ("forecast", "predicted", ("law", "interval"), ("one run", "interval"), *HEAD[7:])
    return markup.table(head, rows, text=1, wide=True)


def _errors(scored: Sequence[Entry]) -> Markup:
    with matplotlib.rc_context(canvas.STYLE):
        height = 0.9 + ROW * len(scored)
        figure = canvas.Drawing(figsize=(canvas.WIDE[0], height))
        axes = figure.add_axes((0.32, 0.55 / height, 0.65, 1 - 0.75 / height))
        for k, entry in enumerate(scored):
            score, f = entry.score, entry.forecast
            assert score is not None
            colour = HIT if score.inside else MISS
            low, high = (100 * (end / f.value - 1) for end in (f.low, f.high))
            law_low, law_high = (100 * (end / f.value - 1) for end in (f.law_low, f.law_high))
            axes.plot([low, high], [k, k], color=canvas.GREY, lw=7, alpha=0.35, solid_capstyle="butt", zorder=2)
            axes.plot([law_low, law_high], [k, k], color=canvas.GREY, lw=2.5, solid_capstyle="butt", zorder=2)
            axes.plot(100 * score.error, k, "o", color=colour, ms=5, zorder=3)
        axes.axvline(0, color=canvas.INK, lw=0.8)
        axes.set_yticks(range(len(scored)), [_label(e) for e in scored])
        axes.set_ylim(len(scored) - 0.4, -0.6)
        axes.set_xlabel("Measured above predicted, %")
        axes.grid(axis="y", visible=False)
    caption = (
        "Wide bars: the interval of one run about its prediction; narrow: of the law alone. Dots: what the run gave, "
        "red where outside that of one run."
    )
    return markup.figure(figure, "errors", caption)


def _label(entry: Entry) -> str:
    """The name of a forecast, short enough to stand beside a figure; its date is in the table."""
    name = entry.name.removeprefix(f"{entry.forecast.made[:10]}-")
    return name if len(name) < 45 else f"{name[:43]}…"


def _curve(one: Followed, k: int) -> Markup:
    f = one.forecast
    with matplotlib.rc_context(canvas.STYLE):
        figure, (left, right) = canvas.panels(2, legend=False)
        left.fill_between(one.x, one.low, one.high, color=canvas.GREY, alpha=0.25, lw=0)
        left.plot(one.x, one.value, color=canvas.GREY, lw=1.1, label="promised")
        left.plot(one.x, one.measured, color=canvas.INK, lw=1.3, label="this run")
        ends = [[f.value - f.low], [f.high - f.value]] if f.bounded else None
        left.errorbar([one.end], [f.value], yerr=ends, fmt="o", ms=4, color=MISS, lw=1.1, label="forecast")
        shown = [*one.measured, *one.low, *one.high, f.value, *((f.low, f.high) if f.bounded else ())]
        canvas.log_axes(left, one.along, np.append(one.x, one.end), shown)
        left.set_ylabel(f.target)
        left.legend()
        low, high = 100 * (one.low / one.value - 1), 100 * (one.high / one.value - 1)
        right.fill_between(one.x, low, high, color=canvas.GREY, alpha=0.25, lw=0)
        right.plot(one.x, 100 * one.above, color=canvas.INK, lw=1.3)
        if f.bounded:
            ends = [[100 * (1 - f.low / f.value)], [100 * (f.high / f.value - 1)]]
            right.errorbar([one.end], [0], yerr=ends, fmt="o", ms=4, color=MISS, lw=1.1)
        canvas.log_axes(right, one.along, np.append(one.x, one.end), [1.0])
        right.set_yscale("linear")
        canvas.percent_axis(right, float(np.abs([*low, *high, *(100 * one.above)]).max()))
        right.set_title("This run above the promise")
    said = ". ".join(note[0].upper() + note[1:] for note in one.notes)
    band = f"the {100 * f.level:.4g} % band of one run"
    caption = f"The loss so far, and what the law promises of a run that ends there, with {band}. {said}."
    return tag("h3", one.name) + markup.figure(figure, f"run-{k}", caption)


def _notes(found: Registry) -> Markup:
    warnings = [f"{e.name}: {warning}" for e in found.entries for warning in e.forecast.warnings]
    return markup.bullets([*found.notes(), *warnings])
