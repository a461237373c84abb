"""The page's four figures and its table: the walk, the same runs counted twice, the head's worth, the arms."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes

from analysis import digits, reference
from analysis.laws.admission import IN_CONTEXT
from analysis.onset import GAIN
from analysis.page.canvas import GREY, INK, LOSS, STYLE, WIDE, Shades, log_axis, panels
from analysis.papers.claim import UNDECIDED, Claim, Undecided
from analysis.papers.discrepancy import arithmetic
from analysis.papers.discrepancy.evidence import (
    ARMS,
    ATTENTION,
    CONTROL,
    CONTROL_HEAD,
    CONTROL_WITHOUT,
    HEAD,
    KAPLAN,
    STEPS,
    TUNED,
    TUNED_WITHOUT,
    WALK,
    WARM,
    WARM_FIRST,
    Discrepancy,
    Station,
    Step,
)
from analysis.papers.discrepancy.expected import WORTHS
from analysis.papers.drawing import (
    BITS,
    GROUPS,
    LAW,
    OTHER,
    PF_DAYS,
    bits_per_byte,
    layered,
    legend,
    logarithmic,
    pf_days,
    symbol,
)
from analysis.papers.drawn import Drawn
from analysis.recount import Best, Count

PORIANS = "Porian et al. (2024), RefinedWeb"
TOLD = {
    "long": "long warm-up, one cosine",
    "short": "short warm-up, one cosine",
    "matched": "a decay for each length",
    "tuned": "tuned for each size",
}
# Where the stations of Figure 1 stand, and its routes: the stations, those among them that are new, the look.
PLACES = {at: float(i) for i, at in enumerate((*WALK, ATTENTION))} | {WARM_FIRST: 1.0}
ROUTES: tuple[tuple[tuple[Station, ...], tuple[Station, ...], dict[str, Any]], ...] = (
    (WALK, WALK, {"color": INK, "marker": "o", "dashes": (1, 0), "label": "our runs"}),
    (
        (KAPLAN, WARM_FIRST, WARM),
        (WARM_FIRST,),
        {"color": OTHER, "marker": "s", "dashes": (4, 2), "label": "the warm-up shortened first"},
    ),
    ((TUNED, ATTENTION), (ATTENTION,), {"color": GREY, "marker": "o", "dashes": (1, 2), "label": ""}),
)
EVERY = 2  # budget that Figure 2 draws
F_SHOWN = 1.6  # the largest f that Figure 3 shows
VOCABULARIES = np.geomspace(256, 16384, 40)


def figure_1(evidence: Discrepancy, drawn: Drawn) -> None:
    """The exponent a of the best size in compute, from Kaplan's way to Hoffmann's, with 95 % intervals; dashed, the
    warm-up is shortened before the head is counted. Diamonds: Porian et al.'s. Red, and blue where the warm-up is
    shortened first: what arithmetic has before anything is trained, for f = 0.25 to 1, the line at 0.5."""
    claims = {at: evidence.exponent(at) for at in (*WALK, WARM_FIRST, ATTENTION)}
    _show(drawn, claims.values())
    drawn.show(*(evidence.step(step) for step in STEPS))
    drawn.say(*_walked(evidence, claims[KAPLAN], claims[TUNED]), *_admitted(evidence))
    known = {at: claim for at, claim in claims.items() if claim.ours is not None}
    rows = {at: _row(evidence, at, claim) for at, claim in claims.items()}
    drawn.points(rows.values())
    drawn.say(*_against_arithmetic(rows[at] for at in known))
    with rc_context(STYLE):
        figure, (axes,) = panels(1, legend=False)
        drawn.figure = figure
        figure.set_figwidth(WIDE[0])
        figure.subplots_adjust(left=0.08, right=0.98)
        for stations, new, look in ROUTES:
            _route(axes, evidence, [at for at in stations if at in known], [at for at in new if at in known], look)
        for at in set(WALK) - set(known):
            axes.annotate(UNDECIDED.replace(" ", "\n"), (PLACES[at], 0.02), xycoords=("data", "axes fraction"),
                          ha="center", fontsize=7.5, color=GREY)  # fmt: skip
        for at in known:
            _predicted(axes, PLACES[at], _predictions(rows[at]), OTHER if at is WARM_FIRST else LAW)
        _porian(axes)
        _published(axes)
        told = [*(at.told.replace(" ", "\n", 1) for at in WALK), "attention\ncounted too"]
        axes.set_xticks(range(len(told)), told)
        axes.set_xlim(-0.4, len(told) - 0.6)
        axes.set_ylabel("Exponent a of the best size, N ~ Cᵃ")
        axes.grid(visible=False, axis="x")
        low, high = axes.get_ylim()
        axes.set_ylim(low, high + 0.18 * (high - low))  # room for the legend above Kaplan's exponent
        legend(axes, "upper right")
    if not known:
        raise Undecided(claims[KAPLAN].why)


def _show(drawn: Drawn, claims: Iterable[Claim]) -> None:
    """Claims beside the paper's; what cannot be decided is said, the rest stands in the table."""
    for claim in claims:
        drawn.show(claim)
        if claim.enough is not None and not claim.decided:
            drawn.lacks(claim.remark, claim.name)


def _walked(evidence: Discrepancy, first: Claim, last: Claim) -> Iterator[str]:
    """The whole walk, and that its first two changes depend on their order."""
    if not (first.decided and last.decided):
        return
    yield (
        f"Counted and trained as by Kaplan et al. the exponent of the best size is {first.written}. With the head "
        f"counted, a short warm-up, a decay for each length, and rate, batch and beta2 tuned for each size it is "
        f"{last.written}. Porian et al. (2024) went from {first.paper:.3f} to {last.paper:.3f} by the same changes."
    )
    with contextlib.suppress(Undecided):
        kaplan, head, warm_first, warm = (evidence.best(at).a for at in (KAPLAN, HEAD, WARM_FIRST, WARM))
        yield (
            f"Counting the head takes off {kaplan - head:.2f} while the warm-up is long and {warm_first - warm:.2f} "
            "once it is short: what a change is worth depends on the order, the sum does not."
        )


def _row(evidence: Discrepancy, at: Station, claim: Claim) -> dict[str, Any]:
    low, high = claim.interval or (None, None)
    row = {"station": at.told, "arm": at.arm, "count": at.count.value, "a": claim.ours, "low": low, "high": high}
    row["porian"] = claim.paper
    if claim.ours is not None:
        said = arithmetic.predictions(evidence, at)
        row |= {f"predicted_f_{worth:g}": value for worth, value in zip(WORTHS, said, strict=True)}
    return row


def _predictions(row: dict[str, Any]) -> list[float]:
    """What arithmetic has for each of WORTHS."""
    return [row[f"predicted_f_{worth:g}"] for worth in WORTHS]


def _against_arithmetic(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """At how many stations the measured exponent is not what arithmetic has for any f."""
    known = [row for row in rows if row["high"] is not None]
    below = [row for row in known if row["high"] < min(_predictions(row))]
    above = [row for row in known if row["low"] > max(_predictions(row))]
    for some, side in ((below, "below"), (above, "above")):
        if some:
            stations = digits.plural(len(some), "station", "stations")
            yield (
                f"At {len(some)} {stations} of {len(known)} the whole interval lies {side} what arithmetic has for any "
                f"f from {WORTHS[0]:g} to {WORTHS[-1]:g} ({', '.join(row['station'] for row in some)}): it takes equal "
                "exponents of N and D, and nothing but counting and the warm-up into account."
            )


def _published(axes: Axes) -> None:
    """Kaplan's and Hoffmann's own exponents, as level lines that are named at the left, where there is room."""
    for paper, name, told in (
        ("kaplan2020", "p_N", "Kaplan et al."),
        ("hoffmann2022", "approach1_a", "Hoffmann et al."),
    ):
        value = reference.value(name, paper)
        axes.axhline(value, color=GREY, lw=0.8, dashes=(6, 3), zorder=0)
        axes.annotate(
            f"{told} {value:.2f}",
            (0.005, value),
            xycoords=("axes fraction", "data"),
            xytext=(0, 3),
            textcoords="offset points",
            fontsize=7.5,
            color=GREY,
        )


def _porian(axes: Axes) -> None:
    for at, place in PLACES.items():
        if (a := at.exponent) is not None:
            colour = OTHER if at is WARM_FIRST else GREY
            label = {KAPLAN: PORIANS, WARM_FIRST: "theirs, the warm-up shortened first"}.get(at, "")
            axes.plot(place + 0.14, a, ls="", marker="D", ms=5, mfc="none", mec=colour, mew=1.0, label=label)


def _predicted(axes: Axes, place: float, values: Sequence[float], colour: str) -> None:
    """What arithmetic has, beside a station: its range over WORTHS, and the one in the middle."""
    x = [place - 0.3, place - 0.08]
    label = f"arithmetic, f = {WORTHS[0]:g} to {WORTHS[-1]:g}" if place == 0 else ""
    axes.fill_between(x, min(values), max(values), color=colour, alpha=0.22, lw=0, label=label)
    axes.plot(x, [values[1]] * 2, color=colour, lw=1.0)


def _route(
    axes: Axes, evidence: Discrepancy, stations: Sequence[Station], new: Sequence[Station], look: dict[str, Any]
) -> None:
    """A line through stations, and those that it is the first to pass with their intervals."""
    colour, marker, label = look["color"], look["marker"], look["label"]
    axes.plot([PLACES[at] for at in stations], [evidence.best(at).a for at in stations], color=colour, lw=1.1,
              dashes=look["dashes"], zorder=3)  # fmt: skip
    for at in new:
        best, x = evidence.best(at), PLACES[at]
        axes.plot(x, best.a, ls="", marker=marker, ms=6, color=colour, mec="white", mew=0.6, zorder=5, label=label)
        axes.plot([x, x], best.interval(), color=colour, lw=1.3, zorder=4)
        label = ""


def _admitted(evidence: Discrepancy) -> list[str]:
    """How many readings came before the onset of context use."""
    counts = []
    for arm in ARMS:
        with contextlib.suppress(Undecided):
            keep = IN_CONTEXT.rule(evidence.every_reading(arm)).keep
            counts.append(f"{int((~keep).sum())} of {len(keep)} of the arm {arm}")
    if not counts:
        return []
    return [
        "A reading, a size after a number of tokens, is admitted once its model uses its context (predicts later "
        f"positions {GAIN:g} nats better than the second). Left out, as they came before that: {', '.join(counts)}."
    ]


def table_1(evidence: Discrepancy, drawn: Drawn) -> None:
    """What each change is worth: the exponent before and after it, the difference with the paired 95 % interval, what
    arithmetic has for f = 0.25 to 1, and Porian et al.'s difference."""
    drawn.points(_change(evidence, step) for step in STEPS)
    for claim in map(evidence.step, STEPS):
        if not claim.decided:
            drawn.lacks(claim.remark, claim.name)
    moves = evidence.moves.get("long")
    if moves is not None and np.isfinite(moves.sigma):
        drawn.say(
            f"The losses of the sizes scatter by {digits.percent(moves.sigma)} about smooth profiles, "
            f"{digits.percent(moves.shared)} of it alike in all arms. Intervals redraw every run with that scatter, "
            "the same for both sides of a change."
        )
    drawn.say("Porian et al.'s values are for RefinedWeb; those of other orders are our own reading of their runs.")


def _change(evidence: Discrepancy, step: Step) -> dict[str, str]:
    """A row of the table."""
    claim = evidence.step(step)
    row = {"change": step.told, "before": "", "after": "", "difference": UNDECIDED, "interval": "", "arithmetic": ""}
    if claim.ours is not None:
        row |= {"before": evidence.exponent(step.before).written, "after": evidence.exponent(step.after).written}
        row["difference"] = digits.minus(f"{claim.ours:+.2f}")
        if claim.interval is not None:
            row["interval"] = digits.minus("{:+.2f} to {:+.2f}".format(*claim.interval))
        row["arithmetic"] = _by_arithmetic(evidence, step)
    return row | {"porian": "" if claim.paper is None else digits.minus(f"{claim.paper:+.2f}")}


def _by_arithmetic(evidence: Discrepancy, step: Step) -> str:
    """What arithmetic has for a change of the count or of the warm-up; of another it has nothing to say."""
    if step.before.count is step.after.count and "long" not in (step.before.arm, step.after.arm):
        return ""
    before, after = (arithmetic.predictions(evidence, at) for at in (step.before, step.after))
    said = [b - a for a, b in zip(before, after, strict=True)]
    return digits.minus(f"{min(said):+.2f} to {max(said):+.2f}")


def figure_2(evidence: Discrepancy, drawn: Drawn) -> None:
    """The losses of the tuned runs at every other budget, light for the smallest, once with N and C counted without the
    head and once with it. Stars: the lowest point of a parabola at each budget."""
    found = {count: evidence.best(Station("", "tuned", count)) for count in (Count.KAPLAN, Count.HEAD)}
    rows = []
    with rc_context(STYLE):
        drawn.figure, axes = panels(2, legend=False, beyond=BITS)
        for axis, (count, best) in zip(axes, found.items(), strict=True):
            with drawn.panel(axis, f"Counted {count}"):
                rows += _profiles(axis, best)
                axis.set_ylabel(LOSS if count is Count.KAPLAN else "")
                if count is Count.HEAD:
                    bits_per_byte(axis, evidence.readings("tuned"))
    drawn.points(rows)
    drawn.say(
        f"Dots are the same {len(evidence.readings('tuned'))} readings of the same runs in both panels. Without the "
        "head a small model looks cheap and is trained for longer at the same compute. The larger the model, the less "
        "that matters: the best size grows faster."
    )
    without, counted = (best.a for best in found.values())
    drawn.say(f"Between the panels the exponent falls from {without:.2f} to {counted:.2f}.")


def _profiles(axes: Axes, best: Best) -> list[dict[str, Any]]:
    """Profiles at every other budget, their minima, and the line through all minima."""
    shown = best.read[::-1][::EVERY][::-1]
    shades = Shades(shown[0].flops, shown[-1].flops, "magma", (0.82, 0.14))
    rows = []
    for profile in shown:
        N, loss = np.exp(profile.x), np.exp(profile.y)
        axes.plot(N, loss, "-o", color=shades(profile.flops), lw=0.9, ms=3.6, mec="white", mew=0.4, zorder=3)
        rows += [{"count": best.count.value, "flops": profile.flops, "params": n, "loss": L}
                 for n, L in zip(N, loss, strict=True)]  # fmt: skip
    axes.plot(best.params, best.loss, ls="-", lw=1.0, marker="*", ms=8, color=INK, mec="white", mew=0.5, zorder=6,
              label=f"best size, exponent {best.a:.2f}")  # fmt: skip
    logarithmic(axes, [row["params"] for row in rows], f"N, {best.count}", [row["loss"] for row in rows])
    for profile, below in ((shown[0], False), (shown[-1], True)):
        clear = min(profile.y[-2:]) if below else max(profile.y[-2:])  # of the curve, which ends there
        axes.annotate(f"{digits.ten(profile.flops)} FLOP", (np.exp(profile.x[-1]), np.exp(clear)),
                      xytext=(2, -6 if below else 5), textcoords="offset points", fontsize=7.5, ha="right",
                      va="top" if below else "bottom", color=shades(profile.flops))  # fmt: skip
    low, high = axes.get_ylim()
    axes.set_ylim(low / (high / low) ** 0.12, high * (high / low) ** 0.06)  # room for the legend and what is written
    legend(axes, "lower left")
    return rows


def figure_4(evidence: Discrepancy, drawn: Drawn) -> None:
    """The best size at each compute in each arm, a mark and a line for each arm whose slope is the exponent, with N and
    C counted without the head and with it."""
    rows: list[dict[str, Any]] = []
    with rc_context(STYLE):
        drawn.figure, axes = panels(2, legend=False, above=PF_DAYS)
        for axis, count in zip(axes, (Count.KAPLAN, Count.HEAD), strict=True):
            with drawn.panel(axis, f"Counted {count}"):
                rows += _arms(axis, evidence, count)
    drawn.points(rows)
    with contextlib.suppress(Undecided):
        drawn.say(_late(*(evidence.best(Station("", arm, Count.HEAD)) for arm in ("long", "short"))))


def _late(long: Best, short: Best) -> str:
    """What the long warm-up does to the smallest budget that both arms have."""
    C = max(long.flops.min(), short.flops.min())
    larger = np.exp(np.interp(np.log(C), np.log(short.flops), np.log(short.params)))
    larger /= np.exp(np.interp(np.log(C), np.log(long.flops), np.log(long.params)))
    return (
        f"Counted with the head, the best size at {digits.ten(float(C))} FLOP is {digits.plain(float(larger), 2)} "
        "times as large after a short warm-up as after a long one: where the warm-up takes much of the tokens, a "
        "small model, which sees more of them, loses less."
    )


def _arms(axes: Axes, evidence: Discrepancy, count: Count) -> list[dict[str, Any]]:
    rows, why = [], None
    for k, arm in enumerate(ARMS):
        try:
            best = evidence.best(Station("", arm, count))
        except Undecided as undecided:
            why = undecided
            continue
        label = f"{TOLD[arm]}: a = {best.a:.2f}"
        axes.plot(best.flops, best.params, zorder=5, label=label, **symbol(k, ls="", ms=4.6))
        C, N = best.line
        axes.plot(best.flops, N * (best.flops / C) ** best.a, color=GROUPS[k], **layered(k))
        rows += [{"arm": arm, "count": count.value, "flops": C, "params": N, "tokens": D, "loss": L}
                 for C, N, D, L in zip(best.flops, best.params, best.tokens, best.loss, strict=True)]  # fmt: skip
    if why is not None and not rows:
        raise why
    logarithmic(axes, [row["flops"] for row in rows], "C = 6ND of that N, FLOP", [row["params"] for row in rows],
                write=digits.ten, write_y=digits.short)  # fmt: skip
    axes.set_ylabel(f"Best N, {count}")
    legend(axes, "upper left")
    pf_days(axes)
    return rows


def figure_3(evidence: Discrepancy, drawn: Drawn) -> None:
    """Left: f of L(N + f V d, D), fitted to the tuned runs at one vocabulary and at both, with 95 % intervals. Right:
    by how much the exponent without the head exceeds that with it, and what arithmetic has for such models."""
    claims = [evidence.worth("one vocabulary", "tuned"), evidence.worth("both vocabularies", "tuned", CONTROL)]
    _show(drawn, claims)
    drawn.say(*_worth_said(claims[-1]))
    with rc_context(STYLE):
        drawn.figure, (left, right) = panels(2, legend=False, left=1.2)
        with drawn.panel(left, "What a parameter of the head is worth"):
            _worth(left, claims)
        with drawn.panel(right, "What counting is worth, by vocabulary"):
            drawn.points(_gaps(right, evidence, drawn))


def _worth_said(claim: Claim) -> Iterator[str]:
    if claim.decided:
        yield (
            f"Fitted to both vocabularies at once, in bytes of text, f = {claim.written}: 0 would make Kaplan's count "
            "the one on which the loss depends, 1 the count with the head. One vocabulary alone hardly tells f from "
            "the exponent of N."
        )


def _worth(axes: Axes, claims: Sequence[Claim]) -> None:
    known = [(claim, claim.ours) for claim in claims if claim.ours is not None and claim.interval is not None]
    if not known:
        raise Undecided(claims[-1].why)
    for value, told in ((0, "nothing:\nKaplan's count"), (1, "as much as any other:\nthe head counted")):
        axes.axvline(value, color=GREY, lw=0.8, dashes=(6, 3), zorder=0)
        axes.annotate(told, (value, 0.98), xycoords=("data", "axes fraction"), xytext=(4, 0), va="top",
                      textcoords="offset points", fontsize=7.5, color=GREY)  # fmt: skip
    for k, (claim, f) in enumerate(known):
        low, high = claim.interval or (np.nan, np.nan)
        axes.plot([low, min(high, 10)], [k, k], color=INK, lw=1.3)
        if high > F_SHOWN:
            axes.plot(F_SHOWN, k, ">", color=INK, ms=6, clip_on=False)  # it goes on
        axes.plot(f, k, "o", color=INK, ms=6, mec="white", mew=0.6, zorder=5)
    axes.set_yticks(range(len(known)), [claim.name.partition(", ")[2].replace(" ", "\n") for claim, _ in known])
    axes.set_ylim(-0.6, len(known) - 0.2)
    axes.set_xlim(-0.1, F_SHOWN)
    axes.set_xlabel("f in L(N + f V d, D)")


def _gaps(axes: Axes, evidence: Discrepancy, drawn: Drawn) -> list[dict[str, Any]]:
    rows, ends = [], arithmetic.ends(evidence)
    axes.set_xscale("log")
    for worth, dashes in zip(WORTHS, ((1, 2), (4, 2), (1, 0)), strict=True):
        gaps = [arithmetic.gap(V, worth, *ends) for V in VOCABULARIES]
        axes.plot(VOCABULARIES, gaps, color=LAW, lw=1.1, dashes=dashes, label=f"arithmetic, f = {worth:g}")
        rows += [{"n_vocab": V, "f": worth, "gap": gap} for V, gap in zip(VOCABULARIES, gaps, strict=True)]
    label = "our runs"
    for before, after in ((CONTROL_WITHOUT, CONTROL_HEAD), (TUNED_WITHOUT, TUNED)):
        with drawn.part(f"the gap of the arm {after.arm}"):
            without, counted = evidence.best(before), evidence.best(after)
            V = float(evidence.need(after.arm)["n_vocab"][0])
            claim = next(evidence.step(step) for step in STEPS if (step.before, step.after) == (before, after))
            gap = without.a - counted.a
            axes.plot(V, gap, "o", color=INK, ms=6, mec="white", mew=0.6, zorder=5, label=label)
            if claim.interval is not None:
                axes.plot([V, V], [-claim.interval[0], -claim.interval[1]], color=INK, lw=1.3, zorder=4)
            rows.append({"n_vocab": V, "gap": gap})
            label = ""
    log_axis(axes.xaxis, VOCABULARIES, digits.short, ((1, 2, 5),))
    axes.set_ylim(min(0.0, axes.get_ylim()[0]), None)
    axes.set_xlabel("Vocabulary V")
    axes.set_ylabel("a without the head − a with it")
    legend(axes, "lower right")
    return rows
