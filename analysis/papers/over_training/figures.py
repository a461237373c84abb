"""The figures and the table of the page."""

from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes

from analysis import digits, reference
from analysis.page.canvas import GREY, INK, LOSS, STYLE, log_axis, panels
from analysis.page.served_figure import COSTS, MODELS, cost_panel, model_panel
from analysis.papers.claim import Undecided
from analysis.papers.drawing import (
    GROUPS,
    LAW,
    PF_DAYS,
    beside,
    dots,
    fixed_limits,
    layered,
    legend,
    level,
    logarithmic,
    pf_days,
    symbol,
    tints,
)
from analysis.papers.drawn import Drawn
from analysis.papers.over_training import ratios
from analysis.papers.over_training.evidence import OverTraining
from analysis.plan import prices

COMPUTE = "Compute C = 6ND, FLOP"
RATIO = "Tokens per parameter M"
DEMANDS = np.geomspace(1e-2, 1e3, 61)  # tokens served over those of the cheapest training
EXPONENTS = {"alpha": 3, "beta": 4}  # and their columns among the constants


def figure_1(evidence: OverTraining, drawn: Drawn) -> None:
    """Left: loss above the fitted floor over compute, at fixed tokens per parameter M, and the lines of eq. 4. Right:
    the slope of a straight line through the points of each M of four sizes or more, with 95 % intervals, and the one
    exponent of eq. 4."""
    drawn.tell(evidence.parallel, evidence.eta, evidence.one_exponent)
    at = evidence.at_ratios
    found, floor = at.lines, float(at.constants[0, 0])
    table = at.table
    C, reducible = table["flops"], table["loss"] - floor
    M, every = table["ratio"], np.unique(table["ratio"])
    tint = tints(every)
    drawn.points(
        {"ratio": m, "params": n, "flops": c, "loss": L, "reducible": L - floor}
        for m, n, c, L in zip(M, table["params"], C, table["loss"], strict=True)
    )
    with rc_context(STYLE):
        drawn.figure, (left, right) = panels(2, above=PF_DAYS, left=0.8)
        with drawn.panel(left, "Loss above the floor, at fixed M"):
            logarithmic(left, C, COMPUTE, reducible, write=digits.ten, most=6)
            dots(left, C, reducible, [tint(m) for m in M], ms=4)
            with fixed_limits(left):
                for ratio in every:
                    own = M == ratio
                    x = np.geomspace(C[own].min() / 1.3, C[own].max() * 1.3, 20)
                    N = np.sqrt(x / (6 * ratio))
                    left.plot(x, at.fit.law(N, ratio * N) - floor, color=tint(ratio), lw=1.0, zorder=3)
            left.set_ylabel(f"Loss − {floor:.2f}, nats per token")
            pf_days(left)
        with drawn.panel(right, "Exponent of each line"):
            _slopes(right, evidence)
        style = [(digits.short(m), {"color": tint(m), "marker": "o", "ms": 4}) for m in every]
        beside(drawn.figure, style, "M")
    change, first, last = -float(found.change[0]), -found.slopes[0, 0], -found.slopes[-1, 0]
    drawn.say(
        f"A line through the sizes has the exponent {first:.3f} at M = {found.ratios[0]:g} and {last:.3f} at M = "
        f"{found.ratios[-1]:g}: it {'falls' if change > 0 else 'rises'} by {abs(change):.3f} for each factor of 10 in "
        "M. The public runs of Gadre et al., read by the same functions at M from 10 on, have exponents that rise by "
        "0.002 (RefinedWeb), 0.003 (RedPajama) and 0.006 (C4).",
        f"Eq. 4 misses the {len(table)} points by {digits.percent(at.fit.residuals.rms)} rms.",
    )


def _slopes(axes: Axes, evidence: OverTraining) -> None:
    found, constants = evidence.lines, evidence.at_ratios.constants
    low, high = np.nanpercentile(-found.slopes, (2.5, 97.5), axis=1)
    axes.vlines(found.ratios, low, high, color=INK, lw=1.2, zorder=4)
    axes.plot(found.ratios, -found.slopes[:, 0], "o", color=INK, ms=5, mec="white", mew=0.5, zorder=5,
              label="our lines")  # fmt: skip
    logarithmic(axes, found.ratios, RATIO, most=5)
    eta = constants[:, 3]
    axes.axhspan(*np.nanpercentile(eta, (2.5, 97.5)), color=LAW, alpha=0.14, lw=0)
    axes.axhline(eta[0], color=LAW, lw=1.2, label="eta of eq. 4, ours")
    for k, (text, name) in enumerate((("RedPajama", "redpajama_eta"), ("C4", "c4_eta"))):
        style: dict[str, Any] = {"dashes": (5, 3)} if k else {"dashes": (1.5, 1.5)}
        axes.axhline(reference.value(name, "gadre2024"), color=GREY, lw=1.0, label=f"the paper's, {text}", **style)
    axes.set_ylim(0.07, max(0.21, 1.05 * float(high.max())))
    axes.set_ylabel("Exponent of C")
    legend(axes, "lower left")


def figure_2(evidence: OverTraining, drawn: Drawn) -> None:
    """Left: the few small runs that eq. 4 is fitted to (squares), the larger ones (dots), and the law at their tokens
    per parameter. Right: predicted over measured loss of the larger runs, over M, by size."""
    drawn.tell(evidence.forecast)
    found, runs, misses = evidence.recipe, evidence.held_out, evidence.misses
    N, M = runs["params"], runs["tokens"] / runs["params"]
    drawn.points(
        {"run": run, "params": n, "tokens": D, "ratio": m, "flops": C, "loss": L, "predicted": L * (1 + e), "error": e}
        for run, n, D, m, C, L, e in zip(
            runs["run"], N, runs["tokens"], M, runs["flops"], runs["loss"], misses[0], strict=True
        )
    )
    few = evidence.recipe_rows
    with rc_context(STYLE):
        drawn.figure, (left, right) = panels(2, above=PF_DAYS, beyond=0.0)
        with drawn.panel(left, "Fitted to the squares"):
            C = np.append(few["flops"], runs["flops"])
            logarithmic(left, C, COMPUTE, np.append(few["loss"], runs["loss"]), write=digits.ten, most=6)
            dots(left, few["flops"], few["loss"], [evidence.shades(n) for n in few["params"]], marker="s", ms=5)
            dots(left, runs["flops"], runs["loss"], [evidence.shades(n) for n in N], runs=runs["run"].tolist())
            with fixed_limits(left):
                for n in np.unique(N):
                    D = runs["tokens"][n == N]
                    x = np.geomspace(D.min(), D.max(), 30)
                    left.plot(6 * n * x, found.fit.law(n, x), color=evidence.shades(n), lw=1.0, zorder=3)
            left.set_ylabel(LOSS)
            pf_days(left)
        with drawn.panel(right, "How far it misses"):
            _misses(right, evidence)
        beside(drawn.figure, _named(evidence, np.append(few["params"], N)), "N")
    long = M >= 10
    if long.any():
        worst = float(misses[0, long][np.argmax(np.abs(misses[0, long]))])
        rms = float(np.sqrt(np.mean(misses[0, long] ** 2)))
        drawn.say(
            f"From {len(found.rows)} readings of {len(np.unique(few['params']))} sizes up to N = "
            f"{digits.short(float(few['params'].max()))}, at M = {few['ratio'].min():g} and of the smallest at M = "
            f"{few['ratio'].max():g}, the {int(long.sum())} larger runs of M ≥ 10 are met to {digits.percent(rms)} rms "
            f"and {digits.percent(worst, sign=True)} at worst."
        )
    if (~long).any():
        drawn.say(
            f"Below M = 10 the law is up to {digits.percent(float(np.abs(misses[0, ~long]).max()))} off. Gadre et "
            "al.'s own runs leave theirs there too, by up to 15 % at M = 5."
        )
    drawn.say(
        "The same recipe on the public runs of Gadre et al. gives 0.71 % for 1.4e9 parameters at M = 640 and 0.73 % "
        "for 6.9e9 at M = 20 (RedPajama), as they print, and 4.3 % for the latter on C4."
    )


def _misses(axes: Axes, evidence: OverTraining) -> None:
    runs, misses = evidence.held_out, 100 * evidence.misses
    M = runs["tokens"] / runs["params"]
    level(axes)
    for n in np.unique(runs["params"]):
        own = np.flatnonzero(runs["params"] == n)
        own = own[np.argsort(M[own])]
        low, high = np.nanpercentile(misses[:, own], (2.5, 97.5), axis=0)
        colour = evidence.shades(float(n))
        axes.fill_between(M[own], low, high, color=colour, alpha=0.12, lw=0)
        axes.plot(M[own], misses[0, own], "-o", color=colour, lw=1.0, ms=4.6, mec="white", mew=0.5, zorder=4)
    logarithmic(axes, M, RATIO, most=6)
    axes.set_ylabel("Predicted over measured loss − 1, %")


def figure_3(evidence: OverTraining, drawn: Drawn) -> None:
    """Left: loss over tokens per parameter, by size, with L(N, D) fitted to the runs of up to 100 of them (dashed) and
    to all (solid). Right: its exponents by the largest M that is fitted, with 95 % intervals, and those of Sardana et
    al."""
    drawn.tell(evidence.moved("alpha"), evidence.moved("beta"))
    runs = evidence.runs
    M = runs["tokens"] / runs["params"]
    drawn.points(
        {"run": run, "params": n, "tokens": D, "ratio": m, "loss": L}
        for run, n, D, m, L in zip(runs["run"], runs["params"], runs["tokens"], M, runs["loss"], strict=True)
    )
    drawn.say(_still_falls(evidence))
    found = evidence.by_ratio
    with rc_context(STYLE):
        drawn.figure, (left, right) = panels(2, beyond=0.0)
        with drawn.panel(left, "Loss over tokens per parameter"):
            logarithmic(left, M, RATIO, runs["loss"], most=6)
            dots(left, M, runs["loss"], [evidence.shades(n) for n in runs["params"]], runs=runs["run"].tolist(), ms=3.6)
            with fixed_limits(left):
                for n in np.unique(runs["params"]):
                    own = M[runs["params"] == n]
                    x = np.geomspace(own.min(), own.max(), 40)
                    for limit, dashes in ((ratios.LIMITS[0], (4, 2)), (ratios.LIMITS[-1], (1, 0))):
                        if limit in found:
                            left.plot(x, found[limit].law(n, n * x), color=evidence.shades(n), lw=0.9, dashes=dashes)
            left.set_ylabel(LOSS)
        with drawn.panel(right, "Exponents by what is fitted"):
            _exponents(right, evidence)
        beside(drawn.figure, _named(evidence, runs["params"]), "N")
    first = found.get(ratios.LIMITS[0])
    far = ratios.LIMITS[0] * 10 <= M
    if first is not None and far.any():
        off = np.asarray(first.law(runs["params"][far], runs["tokens"][far])) / runs["loss"][far] - 1
        drawn.say(
            f"The law of the runs of M ≤ 100 misses the {int(far.sum())} runs beyond M = 1,000 by "
            f"{digits.percent(float(off.mean()), sign=True)} on average and {digits.percent(float(np.abs(off).max()))} "
            "at worst, as predicted over measured loss."
        )


def _named(evidence: OverTraining, params: Any) -> list[tuple[str, dict[str, Any]]]:
    """The sizes as a legend has them."""
    return [(digits.short(n), {"color": evidence.shades(n), "marker": "o", "ms": 4}) for n in np.unique(params)]


def _still_falls(evidence: OverTraining) -> str:
    """What the last doubling of the tokens gained, of the size that is over-trained most."""
    runs = evidence.runs
    own = np.flatnonzero(runs["params"] == runs["params"].min())
    D = np.unique(runs["tokens"][own])
    if len(D) < 2:
        raise Undecided("the smallest size has one length")
    last, before = (np.log(runs["loss"][own][runs["tokens"][own] == d]).mean() for d in (D[-1], D[-2]))
    N = float(runs["params"].min())
    return (
        f"The smallest size, N = {digits.short(N)}, still improves at M = {digits.short(float(D[-1]) / N)}: its loss "
        f"falls by {digits.percent(1 - float(np.exp(last - before)))} over the last doubling of its tokens."
    )


def _exponents(axes: Axes, evidence: OverTraining) -> None:
    limits = [limit for limit in ratios.LIMITS if limit in evidence.by_ratio]
    shown = np.array([_place(evidence, limit) for limit in ratios.LIMITS])
    for k, (name, column) in enumerate(EXPONENTS.items()):
        x = shown[[ratios.LIMITS.index(limit) for limit in limits]] * (1 + 0.06 * (2 * k - 1))
        drawn = [evidence.by_ratio_drawn[limit][:, column] for limit in limits]
        low, high = np.array([np.nanpercentile(each, (2.5, 97.5)) for each in drawn]).T
        axes.vlines(x, low, high, color=GROUPS[k], lw=1.2)
        axes.plot(x, [each[0] for each in drawn], label=f"{name}, ours", **symbol(k, lw=0.9))
        theirs = [PUBLISHED[limit][k] for limit in ratios.LIMITS]
        axes.plot(shown, theirs, color=GROUPS[k], lw=0.9, dashes=(4, 2), label=f"{name}, Sardana et al.")
    axes.set_xscale("log")
    log_axis(axes.xaxis, shown, digits.short)
    axes.set_xticks(shown, [*(f"≤ {limit:g}" for limit in ratios.LIMITS[:-1]), "all"])
    axes.set_xlim(shown[0] / 1.4, shown[-1] * 1.4)
    axes.set_ylim(0, None)
    axes.set_xlabel("Tokens per parameter of the runs that are fitted")
    axes.set_ylabel("Exponent")
    legend(axes, "upper left")


def _place(evidence: OverTraining, limit: float) -> float:
    """Where a limit stands on the axis; that of all runs at a round place beyond the others."""
    return limit if np.isfinite(limit) else 2 * ratios.LIMITS[-2]


# alpha and beta of Sardana et al. (2024), Table 1, by the largest ratio.
PUBLISHED = {100.0: (0.08, 0.13), 250.0: (0.13, 0.16), 500.0: (0.13, 0.16), np.inf: (0.18, 0.24)}


def table_1(evidence: OverTraining, drawn: Drawn) -> None:
    """L(N, D) = E + A / N^alpha + B / D^beta by the largest ratio of the runs that it is fitted to, ours and Sardana et
    al.'s exponents; the last column is the misfit."""
    rows: list[dict[str, Any]] = []
    for limit, found in evidence.by_ratio.items():
        rows.append(
            {
                "fitted": f"M ≤ {limit:g}" if np.isfinite(limit) else "all",
                "runs": float(found.n_runs),
                **{name: found.constants[name] for name in ("E", "A", "B", "alpha", "beta")},
                "alpha, Sardana": PUBLISHED[limit][0],
                "beta, Sardana": PUBLISHED[limit][1],
                "rms, %": 100 * found.residuals.rms,
            }
        )
    drawn.points(rows)
    drawn.say(
        "The same functions on the 47 public runs of Sardana et al. give the objectives 2.19, 3.07, 3.92 and 6.20 "
        "times 1e-4 with alpha 0.077, 0.131, 0.132, 0.179 and beta 0.126, 0.157, 0.158, 0.232; their printed constants "
        "have 22.9, 11.1, 4.53 and 27.5."
    )


def figure_4(evidence: OverTraining, drawn: Drawn) -> None:
    """The model of least lifetime cost over the one that is cheapest to train to the same loss, by the tokens that it
    will serve over those of the cheapest training. Left: its size and its tokens. Right: what it costs, counted in FLOP
    and in money at a usual price."""
    drawn.tell(evidence.served)
    ours = evidence.surfaces
    each = prices.served_shares(ours[:, 3, None], ours[:, 4, None], DEMANDS)
    laws = {"our fit": LAW, **dict(zip(evidence.published, GROUPS[2:], strict=False))}
    money = prices.USUAL.cost_ratio
    rows = []
    with rc_context(STYLE):
        drawn.figure, (left, right) = panels(2, legend=False)
        with drawn.panel(left, MODELS):
            bands = [np.nanpercentile(x, (2.5, 97.5), axis=0) for x in (each.params, each.tokens)]
            for band in bands:
                left.fill_between(DEMANDS, *band, color=LAW, alpha=0.14, lw=0)
            for k, (name, colour) in enumerate(laws.items()):
                alpha, beta = _pair(evidence, name)
                shares = prices.served_shares(alpha, beta, DEMANDS)
                model_panel(left, DEMANDS, shares, **(layered(k) | {"color": colour, "label": name}))
                columns = zip(DEMANDS, shares.params, shares.tokens, shares.cost, strict=True)
                rows += [
                    {"constants": name, "demand": r, "params": n, "tokens": d, "cost": c} for r, n, d, c in columns
                ]
            legend(left, "upper left")
        with drawn.panel(right, COSTS):
            for k, (name, colour) in enumerate(laws.items()):
                alpha, beta = _pair(evidence, name)
                for ratio in (1.0, money):
                    shares = prices.served_shares(alpha, beta, DEMANDS * ratio)
                    label = {1.0: f"{name}, in FLOP", money: f"{name}, in money"}[ratio]
                    style = layered(k) | {"color": colour, "label": label if k == 0 else ""}
                    style |= {"lw": 2.0, "dashes": (1, 0)} if ratio == 1 else {"lw": 1.0, "dashes": (1.5, 1.5)}
                    cost_panel(right, DEMANDS, shares, **style)
            legend(right, "lower left")
    drawn.points(rows)
    drawn.say(*_demand_said(evidence, money))


def _pair(evidence: OverTraining, name: str) -> tuple[float, float]:
    law = evidence.published.get(name)
    if law is not None:
        return float(law.alpha), float(law.beta)
    return float(evidence.surfaces[0, 3]), float(evidence.surfaces[0, 4])


def _demand_said(evidence: OverTraining, money: float) -> list[str]:
    alpha, beta = _pair(evidence, "our fit")
    ten = prices.served_shares(alpha, beta, [10.0, 10.0 * money])
    theirs = prices.served_shares(*_pair(evidence, "Hoffmann et al. (2022)"), [10.0, 10.0 * money])
    return [
        "Only the two exponents and the demand decide how the best model moves: its scales cancel.",
        "For ten times as many tokens served as the cheapest training takes, the best model is "
        f"{float(ten.params[0]):.2f} of the size on {float(ten.tokens[0]):.1f} times the tokens by our exponents, "
        f"{float(theirs.params[0]):.2f} on {float(theirs.tokens[0]):.1f} by those of Hoffmann et al.; it costs "
        f"{digits.percent(1 - float(ten.cost[0]))} and {digits.percent(1 - float(theirs.cost[0]))} less.",
        f"In money a FLOP of serving costs {money:.0f} times one of training where a chip at one price trains at 50 % "
        "of its peak, reads at 50 % and writes at 1 % of twice that peak (eight bits), 70 tokens read and 215 written "
        f"to a request. The same demand then wants {float(ten.params[1]):.2f} of the size and saves "
        f"{digits.percent(1 - float(ten.cost[1]))}.",
        "How far down a curve may be followed is not decided by these runs: their sizes lie within a factor of "
        f"{float(evidence.runs['params'].max() / evidence.runs['params'].min()):.0f}, and Chinchilla's form misses "
        f"them by {digits.percent(evidence.law.residuals.rms)}.",
    ]
