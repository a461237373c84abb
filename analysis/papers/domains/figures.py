"""The page's figures and its tables."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes

from analysis import digits
from analysis.fit.estimate import Fit
from analysis.page.canvas import GREY, STYLE, along_runs, fitted_line, panels
from analysis.papers.claim import MISSING, Undecided
from analysis.papers.domains.evidence import PERCENTILES, Captions, Domain, Domains, printed, said, words
from analysis.papers.drawing import LAW, OTHER, across, beside, dots, fixed_limits, level, logarithmic, symbol, tints
from analysis.papers.drawn import Drawn

COLUMNS = 3  # panels side by side
SIZE = "Parameters N"
NOT_TOLD = 0.5  # of the variance of ln loss: less is no power law of the position


def figure_1(evidence: Domains, drawn: Drawn) -> None:
    """Loss over compute C = 6ND of all runs of each domain, colour: the size; the best size at each compute is ringed
    where it lies between a smaller and a larger one, and the line is L_inf + (C_0/C)^alpha through these, dashed beyond
    them."""
    drawn.tell(*(evidence.alpha_C(name) for name in evidence.names))
    domains = list(evidence.domains.values())
    rows = []
    with rc_context(STYLE):
        drawn.figure, axes = _grid(len(domains))
        for axis, one in zip(axes, domains, strict=False):
            runs = one.runs
            rows += _rows(one, ("run", "params", "tokens", "flops", "seed", "loss"))
            with drawn.panel(axis, one.name):
                logarithmic(axis, runs["flops"], "flops", runs["loss"], write=digits.ten)
                _dots(axis, one, "flops")
                axis.set_ylabel(one.unit.capitalize())
                with drawn.part(f"L(C) of {one.name}"):
                    C, loss = one.best["flops"], one.best["loss"]
                    axis.plot(C, loss, ls="", marker="o", ms=8, mfc="none", mec=LAW, mew=0.9, zorder=6)
                    _law(axis, one.compute_law, C)
        _sizes(drawn, domains)
    drawn.points(rows)
    for one in domains:
        try:
            law = one.compute_law
        except MISSING:
            continue
        low, high = law.intervals["L_inf"]
        drawn.say(
            f"{one.name}: the floor is {digits.plain(law.constants['L_inf'])} {one.unit} ({digits.plain(low)} to "
            f"{digits.plain(high)}), the lowest loss of a run {digits.plain(float(one.runs['loss'].min()))}"
        )


def figure_2(evidence: Domains, drawn: Drawn) -> None:
    """Loss of the longest runs over the size N, with L_inf + (N_0/N)^alpha fitted to those of pictures, and a power
    without a floor, (N_c/N)^alpha_N, to those of text. Levels: what pixels cost by their frequency (unigram) and by the
    pixels at the left and above, counted, without any weights: a Transformer above the latter is not learning."""
    drawn.tell(*(evidence.alpha_N(name) for name in evidence.names))
    domains = list(evidence.domains.values())
    rows = []
    with rc_context(STYLE):
        drawn.figure, axes = _grid(len(domains))
        for axis, one in zip(axes, domains, strict=False):
            runs = one.longest
            shown = list(runs["loss"])
            levels = {}
            if one.pictures:
                with drawn.part(f"the models without weights of {one.name}"):
                    found = evidence.baselines(one)
                    levels = {"left and up": found.left_up}
                    shown.append(found.left_up)
                    _say_levels(drawn, one, found.unigram, found.position, found.left_up)
            rows += [row | levels for row in _rows(one, ("run", "params", "tokens", "seed", "loss"), longest=True)]
            with drawn.panel(axis, one.name):
                logarithmic(axis, runs["params"], SIZE, shown, most=5)
                dots(axis, runs["params"], runs["loss"], ["#1d2433"] * len(runs), runs=runs["run"].tolist(), ms=4)
                axis.set_ylabel(one.unit.capitalize())
                for name, value in levels.items():
                    axis.axhline(value, color=OTHER, lw=1.0, dashes=(4, 3), label=name)
                    axis.legend(loc="lower left")
                with drawn.part(f"L(N) of {one.name}"):
                    _law(axis, one.size_law if one.pictures else one.power_of_size, runs["params"])
                if not one.pictures:
                    with drawn.part(f"L(N) with a floor of {one.name}"):
                        law = one.size_law
                        other = f"alpha is {said(law, 'alpha')}" if law.sound else f"the law is doubtful: {law.why}"
                        drawn.say(f"{one.name}: alpha_N is of a power without a floor; with one {other}")
    drawn.points(rows)


def _law(axis: Axes, law: Fit, runs: np.ndarray, colour: Any = LAW) -> None:
    """The line of a law, where the runs tell it."""
    if not law.sound:
        raise Undecided(f"the law is doubtful: {law.why}")
    x = across(axis, 60)
    with fixed_limits(axis):
        fitted_line(axis, x, law, [x], colour, runs=runs)


def _say_levels(drawn: Drawn, one: Domain, unigram: float, position: float, left_up: float) -> None:
    runs = one.longest
    above = np.unique(runs["params"][runs["loss"] > left_up])
    said = "every size is below it"
    if len(above):
        said = f"up to N = {digits.short(float(above[-1]))} a Transformer is above it: it is not learning to use them"
    drawn.say(
        f"{one.name}: {digits.plain(unigram)} nats per pixel by frequency, {digits.plain(position)} by frequency at "
        f"each pixel, {digits.plain(left_up)} by the pixels at the left and above; {said}"
    )


def figure_3(evidence: Domains, drawn: Drawn) -> None:
    """The best size over compute: the minimum of a parabola through the runs of each compute, and the line through
    these, where they are more than two; broken, the slope of the paper's beta."""
    drawn.tell(*(evidence.beta(name) for name in evidence.names))
    domains = list(evidence.domains.values())
    rows = []
    with rc_context(STYLE):
        drawn.figure, axes = _grid(len(domains))
        for axis, one in zip(axes, domains, strict=False):
            with drawn.panel(axis, one.name, f"N_opt(C) of {one.name}"):
                found = one.allocation
                C, N = (np.array([getattr(p, name) for p in found.points]) for name in ("flops", "params"))
                rows += [{"domain": one.name, "flops": c, "params": n} for c, n in zip(C, N, strict=True)]
                logarithmic(axis, C, "flops", N, write=digits.ten, write_y=digits.short, most=4)
                dots(axis, C, N, ["#1d2433"] * len(C), ms=4.5)
                x = np.geomspace(C.min(), C.max(), 40)
                beta = printed(one.paper, "N_opt")[1]
                middle = np.exp(np.log(C).mean()), np.exp(np.log(N).mean())
                with fixed_limits(axis):
                    if np.isfinite(found.a_interval[0]):
                        axis.fill_between(x, *found.params_band(x), color=LAW, alpha=0.15, lw=0)
                    if len(C) > 2:
                        axis.plot(x, found.params(x), color=LAW, lw=1.1)
                    axis.plot(x, middle[1] * (x / middle[0]) ** beta, color=GREY, lw=1.0, dashes=(5, 3))
                axis.set_ylabel("Best N")
    drawn.points(rows)


def figure_4(evidence: Domains, drawn: Drawn) -> None:
    """Loss by the place of a pixel in the largest longest runs, nats; dark is much. Below, the same along the
    picture, row after row, and of code along its window."""
    pictures, texts = evidence.pictures, [one for one in evidence.domains.values() if not one.pictures]
    rows, told = [], []
    along = [*pictures, *texts[:1]]
    columns = max(len(along), 2)
    with rc_context(STYLE):
        drawn.figure, axes = panels(2 * columns, rows=2, legend=False, height=3.2)
        for axis, one in zip(axes, pictures, strict=False):
            with drawn.panel(axis, one.name, f"loss by pixel of {one.name}"):
                places = evidence.by_place(one)
                pixels = places[: one.side**2].reshape(one.side, one.side)
                axis.pcolormesh(pixels, cmap="viridis_r")  # shapes: a page takes no pictures in its drawings
                axis.invert_yaxis()
                axis.set_aspect("equal")
                axis.grid(False)
                axis.set_xticks([])
                axis.set_yticks([])
                drawn.say(_columns(one, pixels), f"The separator that ends a picture costs {places[-1]:.2g} nats")
        for axis, one in zip(axes[columns:], along, strict=False):
            with drawn.panel(axis, one.name, f"loss by place of {one.name}"):
                places = evidence.by_place(one)
                rows += [{"domain": one.name, "place": p + 1, "loss": v} for p, v in enumerate(places)]
                told.append((one, places[: one.side**2] if one.pictures else places))
                _along(axis, places)
        for axis in (*axes[len(pictures) : columns], *axes[columns + len(along) :]):
            axis.remove()
    drawn.points(rows)
    for one, places in told:
        share = explained(places)
        if not share:
            drawn.say(f"{one.name}: no power law of the place: the loss does not fall with the place")
            continue
        drawn.say(
            f"{one.name}: a power of the place explains {digits.percent(share)} of the variance of ln loss over places "
            f"2 to {len(places)}: {'a power law' if share > NOT_TOLD else 'no power law'}"
        )


def explained(places: np.ndarray) -> float:
    """The share of the variance of ln loss that a falling straight line in ln place has, from the second place on."""
    x, y = np.log(np.arange(2, len(places) + 1)), np.log(np.maximum(places[1:], 1e-6))
    slope, middle = np.polyfit(x, y, 1)
    if slope >= 0 or not y.var():
        return 0.0
    return float(1 - (y - slope * x - middle).var() / y.var())


def _along(axis: Axes, places: np.ndarray) -> None:
    at = np.arange(1, len(places) + 1)
    logarithmic(axis, at, "Place", most=5)
    axis.plot(at, places, color="#1d2433", lw=0.9)
    axis.set_ylabel("Nats")


def _columns(one: Domain, pixels: np.ndarray) -> str:
    by_row = pixels.mean(1)
    worst = np.unravel_index(int(pixels.argmax()), pixels.shape)
    return (
        f"{one.name}: a pixel costs {digits.plain(float(pixels.min()), 2)} to {digits.plain(float(pixels.max()), 2)} "
        f"nats, the most in row {worst[0] + 1}, column {worst[1] + 1}; in the first row "
        f"{digits.plain(float(by_row[0]), 2)}, in the last {digits.plain(float(by_row[-1]), 2)}"
    )


def figure_5(evidence: Domains, drawn: Drawn) -> None:
    """Code against text byte by byte, equal tokens and equal sizes: bits per byte over compute, of the best size at
    each, with L_inf + (C_0/C)^alpha; and of the longest runs over the size."""
    texts = evidence.texts
    drawn.show(*(evidence.least(one) for one in texts))
    rows = []
    with rc_context(STYLE):
        drawn.figure, (left, right) = panels(2, left=0.8)
        for axis, title, column, of in (
            (left, "Over compute", "flops", lambda one: (one.best, one.compute_law)),
            (right, "Over size", "params", lambda one: (one.longest, one.size_law)),
        ):
            with drawn.panel(axis, title, f"code {title.lower()}"):
                tables = [of(one) for one in texts]
                x = np.concatenate([table[column] for table, _ in tables])
                y = np.concatenate([table["loss"] for table, _ in tables])
                logarithmic(
                    axis, x, column if axis is left else SIZE, y,
                    write=digits.ten if axis is left else digits.short, most=4 if axis is left else 8,
                )  # fmt: skip
                for k, (one, (table, law)) in enumerate(zip(texts, tables, strict=True)):
                    axis.plot(table[column], table["loss"], ls="", **symbol(k))
                    line = np.geomspace(x.min(), x.max(), 40)
                    if law.sound:
                        with fixed_limits(axis):
                            fitted_line(axis, line, law, [line], symbol(k)["color"], runs=table[column])
                    rows += [
                        {"domain": one.name, column: a, "loss": b}
                        for a, b in zip(table[column], table["loss"], strict=True)
                    ]
                axis.set_ylabel("Bits per byte")
        beside(drawn.figure, [(one.name, symbol(k)) for k, one in enumerate(texts)], "source")
    drawn.points(rows)
    if len(texts) < 2:
        drawn.lacks("no text was trained beside Python's sources (--data)", "code against text")
        return
    code, text = texts[0], texts[1]
    if code.longest["tokens"][0] == text.longest["tokens"][0]:
        N = np.intersect1d(code.longest["params"], text.longest["params"])[-1]
        a, b = (float(one.longest["loss"][one.longest["params"] == N].mean()) for one in (code, text))
        drawn.find(
            f"After {digits.short(float(code.longest['tokens'][0]))} tokens, bytes and separators, at "
            f"N = {digits.short(float(N))} Python's sources cost {digits.plain(a)} bits per byte and the "
            f"text {digits.plain(b)}"
        )


def figure_6(evidence: Domains, drawn: Drawn) -> None:
    """Left: nats per glyph after its name and after none, over the size. Right: their difference, what the name tells
    of the glyph, with 95 % intervals; broken, ln of how many pairs were trained on, the mutual information of a name
    that says which of them it is. Two models may differ by more: it bounds what a name tells the best ones."""
    found = evidence.captions
    for one in found:
        drawn.show(evidence.told(one))
    drawn.points(
        {"set": one.name, "params": n, "without": a, "after": b, "told": a - b, "half": h, "ln_pairs": one.which}
        for one in found
        for n, a, b, h in zip(one.params, one.without, one.after, one.half, strict=True)
    )
    sizes = np.concatenate([one.params for one in found])
    with rc_context(STYLE):
        drawn.figure, (left, right) = panels(2, left=0.8)
        with drawn.panel(left, "A glyph's loss"):
            logarithmic(left, sizes, SIZE)
            for k, one in enumerate(found):
                left.plot(one.params, one.without, lw=0.9, **symbol(k))
                left.plot(one.params, one.after, lw=0.9, **symbol(k, mfc="white", mec=symbol(k)["color"], mew=1.0))
            left.set_ylabel("Nats per glyph")
            left.set_ylim(0)
        with drawn.panel(right, "What the name tells"):
            logarithmic(right, sizes, SIZE)
            for k, one in enumerate(found):
                right.plot(one.params, one.told, lw=0.9, **symbol(k))
                known = np.isfinite(one.half)
                low, high = (one.told[known] + sign * one.half[known] for sign in (-1, 1))
                right.vlines(one.params[known], low, high, color=symbol(k)["color"], lw=0.9)
                right.axhline(one.which, color=symbol(k)["color"], lw=0.8, dashes=(4, 3))
            level(right)
            right.set_ylabel("Nats per glyph")
        beside(drawn.figure, [(one.name, symbol(k)) for k, one in enumerate(found)], "glyphs")
    drawn.find(*(_told(one) for one in found))
    drawn.say("Filled marks are of glyphs without a name, hollow ones after it.")


def _told(one: Captions) -> str:
    return (
        f"{one.name}: at N = {digits.short(float(one.params[-1]))} a name tells {digits.plain(float(one.told[-1]))} "
        f"nats of {digits.plain(float(one.without[-1]))}; to say which of {one.pairs:,.0f} it is takes "
        f"{digits.plain(one.which)}"
    )


def figure_7(evidence: Domains, drawn: Drawn) -> None:
    """What is above the floor L_inf of Figure 1 over compute: of all runs, and ringed of the best sizes, whose line
    (C_0/C)^alpha is straight here, dashed beyond them. Grey: the best sizes above either end of the floor's 95 %
    interval. How straight they lie depends on the floor that is taken off."""
    domains = list(evidence.domains.values())
    rows = []
    with rc_context(STYLE):
        drawn.figure, axes = _grid(len(domains))
        for axis, one in zip(axes, domains, strict=False):
            with drawn.panel(axis, one.name, f"what is above the floor of {one.name}"):
                law, best, runs = one.compute_law, one.best, one.runs
                if not law.sound:
                    raise Undecided(f"the law is doubtful: {law.why}")
                floor = law.constants["L_inf"]
                keep = runs["loss"] > floor
                C, above = runs["flops"][keep], runs["loss"][keep] - floor
                rows += [{"domain": one.name, "flops": c, "above": a, "floor": floor}
                         for c, a in zip(C, above, strict=True)]  # fmt: skip
                ends = [(best["flops"][at], best["loss"][at] - end)
                        for end in law.intervals["L_inf"] for at in (best["loss"] > end,)]  # fmt: skip
                ringed = best["loss"] > floor
                logarithmic(axis, C, "flops", np.concatenate([above, *(y for _, y in ends)]), write=digits.ten)
                shade = tints(one.runs["params"])
                dots(axis, C, above, [shade(n) for n in runs["params"][keep]], runs=runs["run"][keep].tolist(), ms=3.4)
                with fixed_limits(axis):
                    for x, y in ends:
                        axis.plot(x, y, color=GREY, lw=0.9)
                    line = across(axis, 40)
                    along_runs(axis, line, law.law(line) - floor, best["flops"][ringed], LAW)
                    x, y = best["flops"][ringed], best["loss"][ringed] - floor
                    axis.plot(x, y, ls="", marker="o", ms=8, mfc="none", mec=LAW, mew=0.9)
                axis.set_ylabel(f"{one.unit.capitalize()} above the floor")
                lowest = f"{one.name}: the best size at {digits.plain(float(best['flops'][-1]))} FLOP is"
                if floor > 0:
                    drawn.say(f"{lowest} {digits.percent(float(best['loss'][-1]) / floor - 1)} above the floor")
                else:
                    drawn.say(f"{lowest} at {digits.plain(float(best['loss'][-1]))}; the floor is 0")
                if not keep.all():
                    below = int((~keep).sum())
                    drawn.say(f"{one.name}: of {len(keep)} runs so many lie below the floor and are not drawn: {below}")
                if lost := sum(len(best) - len(x) for x, _ in ends):
                    drawn.say(f"{one.name}: of a grey line {lost} sizes are left out, which lie below that end")
        _sizes(drawn, domains)
    drawn.points(rows)


def figure_8(evidence: Domains, drawn: Drawn) -> None:
    """Nats of whole pictures over the size N: those that are cheap and those that are dear, at percentiles of all that
    are held out, longest runs, with L_inf + (N_0/N)^alpha fitted to each."""
    pictures = evidence.pictures
    shade = dict(
        zip(PERCENTILES, map(tints((1, 2 ** len(PERCENTILES))), 2.0 ** np.arange(len(PERCENTILES))), strict=True)
    )
    rows = []
    with rc_context(STYLE):
        drawn.figure, axes = _grid(len(pictures))
        for axis, one in zip(axes, pictures, strict=False):
            with drawn.panel(axis, one.name, f"percentiles of {one.name}"):
                found, told, off = evidence.percentiles(one), [], 0.0
                rows += [{"domain": one.name, "params": n, "percentile": p, "nats": v}
                         for n, each in zip(found.params, found.nats, strict=True)
                         for p, v in zip(PERCENTILES, each, strict=True)]  # fmt: skip
                logarithmic(axis, found.params, SIZE, found.nats.ravel(), most=5)
                for k, percentile in enumerate(PERCENTILES):
                    colour = shade[percentile]
                    axis.plot(found.params, found.nats[:, k], ls="", marker="o", ms=4, color=colour)
                    with drawn.part(f"L(N) of percentile {percentile} of {one.name}"):
                        law = found.law(k)
                        _law(axis, law, found.params, colour)
                        off = max(off, law.residuals.rms)
                        told.append(f"{said(law, 'alpha')} at {percentile}")
                axis.set_ylabel("Nats per picture")
                if told:
                    most = f"the form is off by {digits.percent(off)} rms at most"
                    drawn.say(f"{one.name}: alpha by percentile is {', '.join(told)}; {most}")
        beside(drawn.figure, [(f"{p} %", {"color": shade[p], "lw": 1.4}) for p in PERCENTILES], "percentile")
    drawn.points(rows)


def table_1(evidence: Domains, drawn: Drawn) -> None:
    """The exponents of L(N), L(C) and N_opt(C) of each domain, beside the nearest row of the paper's Table 1."""
    drawn.show(*(make(name) for name in evidence.names for make in (evidence.alpha_N, evidence.alpha_C, evidence.beta)))
    drawn.say(
        *(
            f"{one.name} stands beside the paper's {words(one.paper)}"
            + (
                ": one token a pixel here, three there"
                if one.pictures
                else ", of which no floor could be fitted there: both exponents are without one"
            )
            for one in evidence.domains.values()
        )
    )


def table_2(evidence: Domains, drawn: Drawn) -> None:
    """What is left at infinite compute, per picture, and the compute of one nat above it, beside the paper's
    Table 3."""
    drawn.show(*(make(one) for one in evidence.pictures for make in (evidence.floor, evidence.one_nat)))
    drawn.say(
        "Table 3 of the paper follows from its Table 1, times three colours a pixel, or one code of a VQ image, in all "
        "rows but that of 8×8: its "
        "C of 1 nat is ten times smaller there than Table 1 gives (1.9e3 for 1.9e4 PF-days)"
    )


def table_3(evidence: Domains, drawn: Drawn) -> None:
    """What this scale cannot decide: of each domain how much was read, how often, by which sizes, and over which
    compute."""
    rows = []
    for one in evidence.domains.values():
        runs = one.runs
        row = {
            "domain": one.name,
            "examples": float((runs["tokens"] / runs["n_ctx"]).max()),
            "epochs": float((runs["tokens"] / runs["unique_tokens"]).max()),
            "smallest": float(runs["params"].min()),
            "largest": float(runs["params"].max()),
            "decades_of_C": math.log10(runs["flops"].max() / runs["flops"].min()),
        }
        try:
            low, high = one.compute_law.intervals["L_inf"]
            row |= {"floor_low": low, "floor_high": high}
        except MISSING:
            row |= {"floor_low": math.nan, "floor_high": math.nan}
        rows.append(row)
    drawn.points(rows)
    drawn.say(
        "The paper's pictures are a hundred million of everything, read once in three colours; ours are ten kinds of "
        "one thing, some read several times: what is an exponent of pictures, and what of these sets, is not told",
        "Sizes end where the paper's begin: whether a law goes on is not told, and a floor is an extrapolation from "
        f"{digits.plain(max(row['decades_of_C'] for row in rows), 2)} decades of compute at most",
        "Learning rates are those of text, with half and double of them tried at the extreme sizes alone",
    )
    with drawn.part("whether the rates suit"):
        for (source, N), by in evidence.rates.items():
            told = ", ".join(
                f"{digits.percent(by[f], sign=True)} at {f:.2g} times the rate" for f in sorted(by) if f != 1
            )
            drawn.say(f"{source} at N = {digits.short(N)}: the loss changes by {told}")


def _grid(n: int):
    return panels(n, rows=-(-n // COLUMNS), height=3.4)


def _rows(one: Domain, names: Sequence[str], longest: bool = False) -> list[dict]:
    table = one.longest if longest else one.runs
    return [{"domain": one.name, "unit": one.unit, **dict(zip(names, row, strict=True))} for row in
            zip(*(table[name] for name in names), strict=True)]  # fmt: skip


def _dots(axis: Axes, one: Domain, column: str) -> None:
    shade, runs = tints(one.runs["params"]), one.runs
    dots(axis, runs[column], runs["loss"], [shade(n) for n in runs["params"]], runs=runs["run"].tolist(), ms=3.4)


def _sizes(drawn: Drawn, domains: Sequence[Domain]) -> None:
    N = np.unique(np.concatenate([one.runs["params"] for one in domains]))
    shade = tints(N)
    if drawn.figure is not None:
        style = [(digits.short(float(n)), {"color": shade(n), "marker": "o", "ms": 4, "lw": 0}) for n in N]
        beside(drawn.figure, style, "N")
