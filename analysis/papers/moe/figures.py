"""The page's figures and its table."""

import math

import numpy as np
from matplotlib import rc_context

from analysis import digits
from analysis.page.canvas import LOSS, STYLE, panels
from analysis.papers.claim import MISSING
from analysis.papers.drawing import beside, dots, fixed_limits, layered, legend, level, logarithmic, symbol, tints
from analysis.papers.drawn import Drawn
from analysis.papers.moe.evidence import MoE, hashed
from analysis.plan import experts

EXPERTS = "Experts E of each layer"
LOOKS_AHEAD = "expert_choice"
WORDS = {
    "hash": "hash",
    "top_k": "top-1",
    "expert_choice": "expert choice",
    "expert_choice_at_position": "at one position",
}
BUDGETS = np.geomspace(1e19, 1e23, 41)


def figure_1(evidence: MoE, drawn: Drawn) -> None:
    """Left: held-out loss of the longest runs over the number of experts, by the size N that a token uses; lines,
    Clark et al.'s law fitted to them. Right: how much lower it is than the dense model's, with 95 % intervals; broken,
    the law with the paper's constants of a hash, extrapolated to these sizes."""
    drawn.tell(evidence.most(), evidence.slope(), evidence.interaction())
    runs, gains = evidence.longest, evidence.gains
    N, E, loss = runs["params"], runs["experts"], runs["loss"]
    drawn.points(
        {"run": run, "params": n, "params_experts": all_, "experts": e, "tokens": d, "seed": s, "loss": L}
        for run, n, all_, e, d, s, L in zip(
            *(evidence.runs[c] for c in ("run", "params", "params_experts", "experts", "tokens", "seed", "loss")),
            strict=True,
        )
    )
    shade, sizes = tints(N), np.unique(N)
    across = np.geomspace(1, E.max(), 40)
    with rc_context(STYLE):
        drawn.figure, (left, right) = panels(2, left=0.8)
        with drawn.panel(left, "Loss by experts"):
            logarithmic(left, E, EXPERTS, loss)
            dots(left, E, loss, [shade(n) for n in N], runs=runs["run"].tolist(), ms=4)
            left.set_ylabel(LOSS)
            law = evidence.clark.law
            with fixed_limits(left):
                for n in sizes:
                    left.plot(across, law(n, across), color=shade(n), lw=1.0, zorder=3)
        with drawn.panel(right, "Change by experts"):
            logarithmic(right, E, EXPERTS)
            longest = gains.at(tokens=gains.tokens.max())
            paper = hashed()
            for k, n in enumerate(sizes):
                own = longest[gains.params[longest] == n]
                x = gains.experts[own] * 1.04 ** (k - (len(sizes) - 1) / 2)
                dots(right, x, 100 * np.expm1(gains.change[own]), [shade(n)] * len(own), ms=4)
                for at, change, half in zip(x, gains.change[own], gains.half[own], strict=True):
                    if math.isfinite(half):
                        ends = 100 * np.expm1([change - half, change + half])
                        right.vlines(at, *ends, color=shade(n), lw=0.9)
                right.plot(across, 100 * (paper(n, across) / paper(n, 1.0) - 1), color=shade(n), lw=0.8, dashes=(4, 3))
            level(right)
            right.set_ylabel("Loss over the dense model's, %")
        style = [(digits.short(n), {"color": shade(n), "marker": "o", "ms": 4}) for n in sizes]
        beside(drawn.figure, style, "N, used")
    _say_gains(evidence, drawn)


def _say_gains(evidence: MoE, drawn: Drawn) -> None:
    gains = evidence.gains
    longest = gains.at(tokens=gains.tokens.max())
    most = longest[gains.experts[longest] == gains.experts[longest].max()]
    told = []
    for at in most:
        N, change, half = float(gains.params[at]), gains.change[at], gains.half[at]
        if not math.isfinite(half):
            word = "by an unknown luck of the seed"
        elif change + half < 0:
            word = "lower"
        else:
            word = "higher" if change - half > 0 else "no clear difference"
        told.append(f"{digits.percent(math.expm1(change), sign=True)} at N = {digits.short(N)} ({word})")
    drawn.find(
        f"{gains.experts[most[0]]:.0f} experts over one, at {digits.short(gains.tokens.max())} tokens: "
        f"{', '.join(told)}."
    )
    with drawn.part("how far Clark et al.'s law is off"):
        own, sooner = evidence.clark, evidence.sooner
        N = float(evidence.runs["params"].max())
        drawn.say(
            f"Clark et al.'s law is {digits.percent(own.residuals.rms)} off (rms) with the paper's saturation of a "
            f"hash, E_start = {digits.plain(own.law.E_start, 2)}, and {digits.percent(sooner.residuals.rms)} with that "
            f"of its learned router, {digits.plain(sooner.law.E_start, 2)}, by which b + c log N is "
            f"{digits.plain(sooner.law.b + sooner.law.c * math.log10(N), 2)}"
        )
    if evidence.noise:
        drawn.say(f"Two seeds of a setting differ by {digits.percent(evidence.noise.sigma)} of the loss (one sigma).")
    drawn.say(
        "A hash sends each token to one expert by a table that is balanced by how frequent tokens are; nothing is "
        "learned in it. The paper's models have it in every second layer, ours in each; its sizes begin at 15 million."
    )


def figure_2(evidence: MoE, drawn: Drawn) -> None:
    """Left: held-out loss of one size over the tokens trained, by the number of experts. Right: one size and number of
    experts, by how tokens are sent, over the dense model's loss, with 95 % intervals."""
    runs = evidence.runs
    N = np.unique(runs["params"])[-1]
    own = runs.where(runs["params"] == N, "another size")
    shade = tints(own["experts"])
    with rc_context(STYLE):
        drawn.figure, (left, right) = panels(2, legend=False)
        with drawn.panel(left, f"N = {digits.short(N)}"):
            logarithmic(left, own["tokens"], "tokens", own["loss"])
            for e in np.unique(own["experts"]):
                rows = np.flatnonzero(own["experts"] == e)
                at = np.unique(own["tokens"][rows])
                mean = [own["loss"][rows][own["tokens"][rows] == d].mean() for d in at]
                left.plot(at, mean, color=shade(e), lw=1.0, label=f"E = {e:.0f}")
            dots(left, own["tokens"], own["loss"], [shade(e) for e in own["experts"]], runs=own["run"].tolist(), ms=4)
            left.set_ylabel(LOSS)
            legend(left, "lower left")
        with drawn.panel(right, "By how tokens are sent"):
            found = evidence.routings
            for k, (change, half, _) in enumerate(found.values()):
                right.plot(k, 100 * math.expm1(change), **symbol(k))
                if math.isfinite(half):
                    right.vlines(k, *(100 * np.expm1([change - half, change + half])), color=symbol(k)["color"], lw=0.9)
            level(right)
            right.set_xticks(range(len(found)), [WORDS[way].replace(" ", "\n", 1) for way in found])
            right.set_xlim(-0.5, len(found) - 0.5)
            right.set_ylabel("Loss over the dense model's, %")
    found = evidence.routings
    rows = [{"routing": way, "experts": e, "change": math.expm1(c), "half": h} for way, (c, h, e) in found.items()]
    drawn.points(rows)
    drawn.say(
        *(
            f"{WORDS[way]}: {digits.percent(math.expm1(c), sign=True)} of the dense model's loss"
            for way, (c, *_) in found.items()
        )
    )
    if LOOKS_AHEAD in found:
        drawn.say(
            "Under expert choice an expert takes the surest tokens of whole sequences, so that where a token is sent "
            "depends on later ones: its loss, held out too, is lower than text that is written token by token would "
            "have. At one position experts choose among sequences, and nothing looks ahead."
        )
    try:
        rates = evidence.rates
    except MISSING as error:
        drawn.lacks(error, "whether the rule's learning rates suit experts")
        return
    for n, by in rates.items():
        told = ", ".join(f"{digits.percent(by[f], sign=True)} at {f:.2g} times the rate" for f in sorted(by) if f != 1)
        drawn.say(f"With the most experts at N = {digits.short(n)} the loss changes by {told}")


def table_1(evidence: MoE, drawn: Drawn) -> None:
    """The constants of the joint law L(N, D, E), ours and Ludziejewski et al.'s."""
    drawn.tell(evidence.joint_constant("gamma"), evidence.joint_constant("zeta"))
    found, theirs = evidence.joint, experts.published()
    drawn.points(
        {
            "constant": name,
            "ours": value,
            "low": found.intervals.get(name, (math.nan, math.nan))[0],
            "high": found.intervals.get(name, (math.nan, math.nan))[1],
            "paper": float(getattr(theirs, name)),
        }
        for name, value in found.constants.items()
    )
    drawn.say(f"The law misses these {len(evidence.runs)} runs by {digits.percent(found.residuals.rms)} rms.")
    if found.intervals["gamma"][1] < 0:
        drawn.say(
            "All of gamma's interval is below 0, where the paper's value is above: by this law experts lower what is "
            f"above the floor of {digits.plain(found.constants['c'])} nats and falls with N by more, the larger the "
            "model. Clark et al.'s law, in Figure 1, has no floor"
        )


def figure_3(evidence: MoE, drawn: Drawn) -> None:
    """By the joint law with the paper's constants. Left: the loss of the best model with so many experts over that of
    the best dense one, by compute C. Right: the same where no model may hold more parameters, all experts counted, than
    the best dense one has."""
    law = experts.published()
    numbers = experts.EXPERTS[1:]
    rows = []
    with rc_context(STYLE):
        drawn.figure, axes = panels(2, left=0.8)
        titles = ("At equal compute", "And in equal memory")
        for right, (axis, title) in enumerate(zip(axes, titles, strict=True)):
            with drawn.panel(axis, title):
                logarithmic(axis, BUDGETS, "flops")
                for k, e in enumerate(numbers):
                    each = []
                    for C in BUDGETS:
                        dense = experts.compare(law, C, [1]).best
                        total = dense.params if right else math.inf
                        one = experts.compare(law, C, [e], total_params=total).in_memory[-1]
                        each.append(100 * (one.loss / dense.loss - 1))
                        rows.append({"flops": C, "experts": e, "in_memory": right, "loss": one.loss,
                                     "dense": dense.loss, "params": one.params, "tokens": one.tokens})  # fmt: skip
                    axis.plot(BUDGETS, each, color=symbol(k)["color"], **layered(0) | {"lw": 1.2})
                level(axis)
                axis.set_ylabel("Loss over the best dense model's, %")
        beside(drawn.figure, [(f"{e}", {"color": symbol(k)["color"]}) for k, e in enumerate(numbers)], "Experts E")
    drawn.points(rows)
    for C in (1e20, 1e22):
        dense = experts.compare(law, C, [1]).best
        free = experts.compare(law, C).best
        fits = experts.compare(law, C, total_params=dense.params).best
        drawn.say(
            f"At {digits.ten(C)} FLOP the best dense model has {digits.short(dense.params)} parameters. With "
            f"{free.experts} experts the loss is {digits.percent(1 - free.loss / dense.loss)} lower, of "
            f"{digits.short(free.params)} used and {digits.short(free.params_experts)} held; in the dense one's memory "
            f"{fits.experts} are best, {digits.percent(1 - fits.loss / dense.loss)} lower"
        )
    drawn.say(
        "These are the paper's constants, of models that are a thousand times as large as ours, and two thirds of N "
        "are taken to be feed-forwards: scaling plan published:ludziejewski --flops C --experts 1 8 32 compares more"
    )
