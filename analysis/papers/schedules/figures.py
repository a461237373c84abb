"""The figures and the table of the page."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from numpy.typing import NDArray

from analysis import digits
from analysis.page.canvas import FAINT, GREY, INK, LOSS, STYLE, Shades, panels
from analysis.papers.chinchilla.growth import joined_words
from analysis.papers.claim import Undecided
from analysis.papers.drawing import GROUPS, LAW, OTHER, beside, dots, legend, level, symbol
from analysis.papers.drawn import Drawn
from analysis.papers.evidence import paired_half
from analysis.papers.schedules import unseen
from analysis.papers.schedules.collapse import Collapse
from analysis.papers.schedules.evidence import LAWS, UNSEEN, Cosines, Schedules
from analysis.papers.schedules.unseen import Errors
from configs.schedules.experiments import CYCLES, FITTED, SCHEDULES, SHARES, SLOW

FEWEST = "tissue"  # the law with the fewest constants, which is drawn along curves
DASHES = {"tissue": (3, 1.5), "luo": (1, 1.2), "functional": (7, 1.5)}
WIDE = 3.0  # times its lower end: an interval whose upper one is further says little
LATE = 1 / 4  # of the run, from which curves are drawn
# Of the curves of Luo et al. (2025), fitted to three and averaged over six: by their published constants, as they print
# it but for the worst of all points, and by the functions of this page (tests/test_schedules_paper.py).
PUBLIC = {
    ("luo", "published, 25M"): Errors(0.9988, 0.00376, 0.00465, 0.00110, 0.00409, 0.007),
    ("luo", "published, 100M"): Errors(0.9983, 0.00435, 0.00592, 0.00142, 0.00583, 0.01033),
    ("luo", "published, 400M"): Errors(0.9978, 0.00484, 0.00730, 0.00168, 0.00995, 0.01787),
    ("tissue", "here, 25M"): Errors(0.99842, 0.00438, 0.00537, 0.00128, 0.00421, 0.0064),
    ("tissue", "here, 100M"): Errors(0.9978, 0.00461, 0.00658, 0.00152, 0.00699, 0.00871),
    ("tissue", "here, 400M"): Errors(0.99611, 0.00674, 0.00938, 0.00239, 0.00911, 0.01238),
    ("luo", "here, 25M"): Errors(0.99788, 0.00458, 0.00532, 0.00135, 0.00282, 0.00549),
    ("luo", "here, 100M"): Errors(0.99722, 0.00489, 0.0063, 0.00162, 0.00498, 0.00764),
    ("luo", "here, 400M"): Errors(0.99627, 0.00615, 0.008, 0.0022, 0.00641, 0.01082),
    ("functional", "here, 25M"): Errors(0.99747, 0.00507, 0.00592, 0.0015, 0.0036, 0.00567),
    ("functional", "here, 100M"): Errors(0.9992, 0.00283, 0.00364, 0.00092, 0.00299, 0.00534),
    ("functional", "here, 400M"): Errors(0.99815, 0.00461, 0.0058, 0.00164, 0.00547, 0.00784),
}


def figure_1(evidence: Schedules, drawn: Drawn) -> None:
    """Left: loss curves of one seed under nine schedules, and the annealing law of three of them: solid where it was
    fitted (names in bold), dashed where it was not. Right: predicted over measured loss at the ends, by law, the
    mean over seeds and each seed; shaded, how far a seed alone moves an end."""
    for law in LAWS:
        drawn.show(evidence.error(law, "relative", 0.0011 if law == "luo" else None, 0.003))
    drawn.tell(evidence.error("luo", "worst", 0.00409, 0.01))
    nine, seed = evidence.nine, evidence.seeds[0]
    found = evidence.known(FEWEST)[0]
    rows, colours = [], colormaps["viridis"]
    order = np.argsort(-evidence.ln_ends.mean(axis=0))  # the highest end first
    names = [list(SCHEDULES)[k] for k in order]
    with rc_context(STYLE):
        drawn.figure, (left, right) = panels(2)
        left.set_title("Nine schedules of one size")
        for k, name in enumerate(names):
            curve = nine[name][seed].curve
            late = curve.step >= LATE * curve.seen
            colour = colours(0.78 - 0.76 * k / (len(names) - 1))
            step = np.linspace(LATE * curve.seen, curve.seen, 120)
            dashes = (1, 0) if name in FITTED else (3, 1.5)
            left.plot(step, unseen.losses(found, curve.rates, step), color=colour, lw=1.1, dashes=dashes, zorder=3)
            dots(left, curve.step[late], curve.loss[late], [colour] * int(late.sum()), ms=2.8, mew=0.2)
            rows += [
                {"schedule": name, "seed": seed, "step": t, "loss": L, "tissue": p, "fitted": float(name in FITTED)}
                for t, L, p in zip(curve.step, curve.loss, unseen.losses(found, curve.rates, curve.step), strict=True)
            ]
        left.set_xlabel("Updates")
        left.set_ylabel(LOSS)
        with drawn.panel(right, "At the end of each"):
            _ends(right, evidence, names)
            for k, label in enumerate(right.get_yticklabels()):
                label.set(
                    color=colours(0.78 - 0.76 * k / (len(names) - 1)), fontweight="bold" if names[k] in FITTED else None
                )
    drawn.points(rows)
    drawn.say(*_unseen_said(evidence))


def _ends(axes: Axes, evidence: Schedules, names: list[str]) -> None:
    place = {name: k for k, name in enumerate(names)}
    half = 100 * _luck(evidence)
    if np.isfinite(half):
        axes.axvspan(-half, half, color=FAINT, lw=0)
    axes.axvline(0, color=GREY, lw=0.8)
    for k, (law, words) in enumerate(LAWS.items()):
        off = 100 * evidence.ends(law)
        for j, name in enumerate(SCHEDULES):
            y = place[name] + 0.2 * (k - 1)
            axes.plot(off[:, j], np.full(len(off), y), ".", color=GROUPS[k + 1], ms=2.6, alpha=0.6, zorder=3)
            mark = symbol(k + 1, label=words if name == UNSEEN[0] else "", ls="")
            if name in FITTED:
                mark |= {"mfc": "white", "mew": 0.9, "mec": GROUPS[k + 1]}
            axes.plot(off[:, j].mean(), y, **mark)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.yaxis.tick_right()
    axes.tick_params(axis="y", labelsize=7.5, length=0)
    axes.set_xlabel("Predicted over measured loss − 1, % (hollow: fitted)")
    legend(axes, "best")


def _luck(evidence: Schedules) -> float:
    """Half-width of the interval of one run among schedules of one seed, relative."""
    seeds = len(evidence.seeds)
    return paired_half(evidence.ln_ends) * np.sqrt(seeds / 2)


def _unseen_said(evidence: Schedules) -> Iterator[str]:
    ends = {law: evidence.ends(law) for law in LAWS}
    new = [k for k, name in enumerate(SCHEDULES) if name not in FITTED]
    said = joined_words(
        [f"the {LAWS[law]} law to {digits.percent(float(np.abs(off[:, new]).mean()))}" for law, off in ends.items()]
    )
    measured = np.exp(evidence.ln_ends.mean(axis=0))
    cosine = list(SCHEDULES).index("cosine")
    naive = np.exp(evidence.ln_ends[:, [cosine]] - evidence.ln_ends[:, new]) - 1
    yield (
        f"From a constant rate, a cosine and one cooldown of a fifth the ends of {len(new)} other schedules are met on "
        f"average by {said}; taking each to end as the cosine does is off by "
        f"{digits.percent(float(np.abs(naive).mean()))}. {len(evidence.seeds)} seeds, each with a law of its own."
    )
    at = {name: float(loss) for name, loss in zip(SCHEDULES, measured, strict=True)}
    best, last = min(at, key=lambda name: at[name]), max(at, key=lambda name: at[name])
    yield (
        f"The nine ends lie between {at[best]:.3f} ({best}) and {at[last]:.3f} ({last}) nats per token; the cosine has "
        f"{at['cosine']:.3f}. A single run's end moves by {digits.percent(_luck(evidence))} either way against others "
        "of its seed."
    )
    for law, off in ends.items():
        mean = off.mean(axis=0)
        worst = new[int(np.argmax(np.abs(mean[new])))]
        yield (
            f"The {LAWS[law]} law is furthest off at {list(SCHEDULES)[worst]}: "
            f"{digits.percent(float(mean[worst]), sign=True)}."
        )


def table_1(evidence: Schedules, drawn: Drawn) -> None:
    """Errors on six unseen schedules, the mean over them, of laws fitted to three, and the worst of all points: ours
    (the mean over seeds, the worst of all), and on the public curves of Luo et al. (2025) by the constants that they
    print and by the functions of this page."""
    rows: list[dict[str, Any]] = []
    with drawn.part():
        rows += [_row(law, "ours", Errors.mean_of(evidence.errors(law))) for law in LAWS]
    rows += [_row(law, where, errors) for (law, where), errors in PUBLIC.items()]
    drawn.points(rows)
    drawn.say(
        "On the public curves the functional law, whose noise is forgotten as 1 / (1 + c T), does as well as the "
        "multi-power law with one constant fewer, and the annealing law with two fewer nearly so."
    )


def table_2(evidence: Schedules, drawn: Drawn) -> None:
    """Constants of the laws of three schedules: the mean over seeds, in logarithms, and its 95 % interval, which holds
    the luck of the seeds alone."""
    found = {law: evidence.constants(law) for law in LAWS}
    drawn.show(*(claim for claims in found.values() for claim in claims))
    rows, told = [], []
    for law, claims in found.items():
        wide, at_edge = [], evidence.at_edge(law)
        for claim in claims:
            name = claim.name.partition(",")[0]
            low, high = claim.interval or (np.nan, np.nan)
            rows.append(
                {"law": LAWS[law], "constant": name, "unit": claim.unit, "ours": claim.ours, "low": low, "high": high}
                | {"note": claim.remark}
            )
            if name in at_edge or (claim.interval and not high < WIDE * low):
                wide.append(name)
        if wide:
            told.append(f"{joined_words(wide)} of the {LAWS[law]} law")
    drawn.points(rows)
    floors = [f"{claims[0].written} ({LAWS[law]})" for law, claims in found.items() if claims[0].decided]
    if len(floors) > 1:
        drawn.say(f"The floor L_0 depends on the law: {joined_words(floors)}, in nats per token.")
    if told:
        drawn.say(
            f"Three schedules hardly tell {'; '.join(told)}: no interval, or one whose upper end is over {WIDE:g} "
            "times the lower."
        )


def _row(law: str, curves: str, errors: Errors) -> dict[str, Any]:
    return {
        "law": LAWS[law],
        "curves": curves,
        "R2": errors.R2,
        "mean error, nats": errors.mean,
        "rms, nats": errors.rms,
        "mean, %": 100 * errors.relative,
        "worst of a curve, %": 100 * errors.worst,
        "worst of all, %": 100 * errors.most,
    }


def figure_2(evidence: Schedules, drawn: Drawn) -> None:
    """Loss at the end above that of the tuned cosine, over the share of the updates in the cooldown: mean over seeds
    with 95 % intervals, and laws of three schedules at the cosine's peak (lines)."""
    drawn.tell(evidence.matched, evidence.plateau)
    rows = []
    cooldowns = evidence.cooldowns
    if len(cooldowns) > 1:
        drawn.caption = drawn.caption.replace("cooldown:", "cooldown, from two constant rates:")
    with rc_context(STYLE):
        drawn.figure, (axes,) = panels(1, legend=False)
        axes.set_title("Cooldowns of several shares")
        for k, (factor, change) in enumerate(cooldowns.items()):
            half = 100 * evidence.cooldown_luck(factor)
            y = 100 * change.mean(axis=0)
            if np.isfinite(half):
                axes.vlines(SHARES, y - half, y + half, color=GROUPS[k + 1], lw=1.0)
            axes.plot(
                SHARES,
                y,
                label="at the cosine's peak" if factor == 1 else f"at {factor:g} of it",
                **symbol(k + 1, ls=""),
            )
            rows += [
                {"rate": factor, "share": share, "shape": "1 - sqrt", "change, %": value, "half": half}
                for share, value in zip(SHARES, y, strict=True)
            ]
            with drawn.part("cooldowns by the laws"):
                for law, words in LAWS.items():
                    label = f"{words} law" if k == 0 else ""
                    x, y = _lines(evidence, law, factor)
                    axes.plot(x, y, color=GROUPS[k + 1], lw=0.9, dashes=DASHES[law], label=label)
        with drawn.part("the shape of a cooldown"):
            straight = 100 * float(
                (evidence.ln_ends[:, _place("wsd 20 %, linear")] - evidence.ln_ends[:, _place("cosine")]).mean()
            )
            axes.plot(0.2, straight, **symbol(3, ls="", label="at the peak, a straight line"))
            rows.append({"rate": 1.0, "share": 0.2, "shape": "linear", "change, %": straight})
            drawn.say(_shape_said(evidence))
        level(axes)
        axes.set_xscale("log")
        axes.set_xticks(SHARES, [f"{100 * share:g} %" for share in SHARES])
        axes.minorticks_off()
        axes.set_xlabel("Share of the updates in the cooldown")
        axes.set_ylabel("Loss above the cosine's, %")
        low, high = axes.get_ylim()
        axes.set_ylim(low, high + 0.5 * (high - low))  # room for the legend
        legend(axes, "upper right")
    drawn.points(rows)
    drawn.say(*_cooldowns_said(evidence))


def _lines(evidence: Schedules, law: str, factor: float) -> tuple[np.ndarray, np.ndarray]:
    """Shares, and what a law says of them against the cosine, in percent."""
    from scaling import schedules

    cosine = evidence.nine["cosine"][evidence.seeds[0]]
    config, peak = cosine.config, cosine.config.optim.learning_rate
    at = evidence.predicted(law, cosine.curve.rates)
    shares = np.geomspace(SHARES[0], SHARES[-1], 25)
    rates = [
        factor * peak * schedules.shape("wsd", config.steps, config.warmup_steps, int(np.ceil(share * config.steps)))
        for share in shares
    ]
    return shares, 100 * np.array([evidence.predicted(law, each) - at for each in rates])


def _place(name: str) -> int:
    return list(SCHEDULES).index(name)


def _shape_said(evidence: Schedules) -> str:
    y = evidence.ln_ends
    change = float((y[:, _place("wsd 20 %")] - y[:, _place("wsd 20 %, linear")]).mean())
    return (
        f"Over a fifth of the run, 1 − sqrt ends {digits.percent(float(np.expm1(change)), sign=True)} from a straight "
        f"line, ± {digits.percent(paired_half(y))}. Haegele et al. find it better, the more so the longer the run."
    )


def _cooldowns_said(evidence: Schedules) -> Iterator[str]:
    for factor, change in evidence.cooldowns.items():
        half = evidence.cooldown_luck(factor)
        shown = joined_words(
            [f"{digits.percent(float(value), sign=True)} at {100 * share:g} %"
             for share, value in zip(SHARES, np.expm1(change.mean(axis=0)), strict=True)]
        )  # fmt: skip
        yield (
            f"From {factor:g} of the cosine's peak the cooldowns end, against it, {shown} of the updates, "
            f"± {digits.percent(half)} ({_seeds(len(change), 'the other rate')})."
        )
    for factor, change in evidence.cooldowns.items():
        off = []
        for law, words in LAWS.items():
            shares, said = _lines(evidence, law, factor)
            by_law = np.interp(np.log(SHARES), np.log(shares), said) / 100
            off.append(f"{digits.percent(float(np.mean(by_law - change.mean(axis=0))), sign=True)} ({words})")
        yield (
            f"The laws, fitted at the cosine's peak, put the cooldowns from {factor:g} of it on average "
            f"{joined_words(off)} from where they end."
        )
    if len(evidence.cooldowns) > 1:
        yield (
            f"Of the two constant rates, {evidence.better:g} of the cosine's peak is the better one at 20 %; between "
            "them, and below, no rate was tried."
        )


def figure_3(evidence: Schedules, drawn: Drawn) -> None:
    """Figure A1 of Hoffmann et al.: loss after the same tokens along cosines as long as the run and longer, above that
    of the cosine of the run's own length. Dots: seeds and their mean; dashed: laws of three schedules of one length at
    the tuned rate."""
    drawn.tell(evidence.best_length("cycle"), evidence.best_length("slow"))
    rows, told, shown = [], [], []
    with rc_context(STYLE):
        drawn.figure, axes = panels(2, legend=False)
        for axis, experiment, factor, colour in zip(axes, ("cycle", "slow"), (1.0, SLOW), (LAW, OTHER), strict=True):
            title = "At the tuned rate" if factor == 1 else f"At {factor:g} of it"
            with drawn.panel(axis, title, title.lower()):
                found = evidence.cosines(experiment)
                change = 100 * found.change
                for each in change:
                    axis.plot(found.cycle, each, ".", color=GREY, ms=4, alpha=0.7)
                half = 100 * evidence.luck(found)
                mean = change.mean(axis=0)
                if np.isfinite(half):
                    axis.vlines(found.cycle[1:], mean[1:] - half, mean[1:] + half, color=colour, lw=1.0)
                axis.plot(found.cycle, mean, color=colour, lw=1.2, marker="o", ms=4.6, mec="white", mew=0.5)
                rows += [
                    {"rate": found.rate, "cycle": c, "change, %": y, "half": half}
                    for c, y in zip(found.cycle, mean, strict=True)
                ]
                with drawn.part("cosines by the laws"):
                    for law, words in LAWS.items():
                        label = "" if any(one.get_legend() for one in axes) else f"{words} law"
                        axis.plot(*_longer(evidence, law, found), color=INK, lw=0.9, dashes=DASHES[law], label=label)
                shown.append(title.lower())
                told.append(_cosines_said(found, evidence.luck(found), factor))
                with drawn.part("cosines by the laws"):
                    told.append(_laws_said(evidence, found, factor))
                level(axis)
                axis.set_xlabel("Length of the cosine, in lengths of the run")
                axis.set_ylabel("Loss above that of the matched cosine, %")
                legend(axis, "best")
    if shown:
        drawn.caption = drawn.caption.replace("own length.", f"own length, {joined_words(shown)}.", 1)
    drawn.points(rows)
    drawn.say(*told)


def _longer(evidence: Schedules, law: str, found: Cosines) -> tuple[np.ndarray, np.ndarray]:
    """Lengths, and what a law says of such cosines against the matched one, in percent."""
    from scaling import schedules

    warmup = evidence.nine["cosine"][evidence.seeds[0]].config.warmup_steps
    lengths = np.geomspace(1, CYCLES[-1], 25)
    steps = [round(float(length) * found.steps) for length in lengths]
    at = [
        evidence.predicted(law, found.rate * schedules.shape("cosine", n, warmup, n - warmup), found.steps)
        for n in steps
    ]
    return lengths, 100 * (np.array(at) - at[0])


def _cosines_said(found: Cosines, half: float, factor: float) -> str:
    changes = joined_words(
        [f"{digits.percent(float(np.expm1(y)), sign=True)} at {c:.3g}"
         for c, y in zip(found.cycle[1:], found.change.mean(axis=0)[1:], strict=True)]
    )  # fmt: skip
    luck = f"± {digits.percent(half)}; {_seeds(len(found.ln_loss), 'the tuned rate')}"
    where = "At the rate that was tuned for the run" if factor == 1 else f"At {factor:g} of that rate"
    return f"{where}, against the cosine of its own length: {changes} times as long ({luck})."


def _laws_said(evidence: Schedules, found: Cosines, factor: float) -> str:
    """How far the laws are off the changes."""
    measured = found.change.mean(axis=0)[1:]
    off = []
    for law, words in LAWS.items():
        lengths, said = _longer(evidence, law, found)
        by_law = np.interp(found.cycle[1:], lengths, said) / 100
        off.append(f"{digits.percent(float(np.sqrt(np.mean((by_law - measured) ** 2))))} ({words})")
    where = "" if factor == 1 else ", of a rate that they have not seen,"
    return (
        f"Fitted to three schedules of one length at the tuned rate, the laws miss these changes{where} by "
        f"{joined_words(off)}, rms."
    )


def _seeds(n: int, others: str) -> str:
    return f"{n} seeds, paired" if n > 1 else f"one seed, with the luck seen at {others}"


def figure_4(evidence: Schedules, drawn: Drawn) -> None:
    """Loss above L_0, over that at the end, along runs of sizes with equal tokens per parameter. Left: L_0 is that of a
    power law of compute through their ends. Right: L_0 is the one at which they lie closest."""
    drawn.show(evidence.collapse_spread)
    found, runs = evidence.collapse, evidence.sizes
    shades = Shades.of(evidence.need("collapse"))
    drawn.points(
        {"run": run.curve.name, "params": n, "seed": run.config.seed, "share": x, "normalised": y, "departure": d}
        for run, n, each, d in zip(runs, found.params, found.curves, evidence.suited.departure, strict=True)
        for x, y in zip(found.share, each, strict=True)
    )
    with rc_context(STYLE):
        drawn.figure, (left, right) = panels(2, beyond=0.0)
        left.set_title("By the floor of the ends")
        _scaled(left, found, evidence.suited.left, shades)
        with drawn.panel(right, "By the floor that suits them best", "which floor suits them best"):
            _scaled(right, evidence.closest, evidence.suited.left, shades)
        sizes = [
            (digits.short(n), {"color": shades(n), "marker": "o", "ms": 4}) for n in np.unique(found.params).tolist()
        ]
        beside(drawn.figure, sizes, "N")
    if len(evidence.suited.left):
        drawn.caption += " Dashed: runs that leave the trend over sizes."
    drawn.say(*_collapse_said(evidence))


def _scaled(axes: Axes, found: Collapse, gone: NDArray[np.intp], shades: Shades) -> None:
    for k, (n, each) in enumerate(zip(found.params.tolist(), found.curves, strict=True)):
        axes.plot(found.share, each, color=shades(n), lw=0.9, dashes=(3, 1.5) if k in gone else (1, 0))
    axes.set_xlabel("Share of the run that is done")
    axes.set_ylabel(f"(Loss − {found.floor:.2f}) / that at the end")


def _collapse_said(evidence: Schedules) -> Iterator[str]:
    found, runs = evidence.collapse, evidence.sizes
    shown = evidence.suited
    yield (
        f"{len(runs)} curves of {len(np.unique(found.params))} sizes, from {100 * found.share[0]:.0f} % of the run on, "
        f"typically lie {digits.percent(shown.usual)} from their trend over sizes (rms of the loss above "
        f"{shown.floor:.2f}, or how far seeds part a size, whichever is more)."
    )
    if len(shown.left):
        named = joined_words(
            [f"{runs[k].curve.name} (N = {digits.short(float(found.params[k]))}, seed {runs[k].config.seed}; "
             f"{digits.percent(float(shown.departure[k]))})" for k in shown.left]
        )  # fmt: skip
        yield f"These leave it, by over four times that: {named}."
    else:
        yield "No run leaves it by over four times that."
    try:
        best = evidence.closest
    except Undecided:
        return
    yield (
        f"By the floor of a power law through their ends, {found.floor:.2f}, sizes scatter {found.ratio:.1f} times as "
        f"far as seeds of one size do; at {best.floor:.2f}, where they lie closest, {best.ratio:.1f} times: "
        f"{'within' if best.ratio <= 1 else 'still beyond'} what luck explains. Which floor is right is not decided."
    )
    ratio = runs[0].config.tokens / runs[0].config.model.N
    yield (
        "In Qiu et al. sizes scatter less than seeds do, with widths alone growing, a parametrisation made for it and "
        f"the best length of each size; here rates are a rule's, and lengths are {ratio:.0f} tokens per parameter "
        "outside the embedding."
    )
