"""The page's figures and its table."""

import numpy as np
from matplotlib import rc_context

from analysis import digits
from analysis.page.canvas import LOSS, STYLE, panels
from analysis.papers.claim import Undecided
from analysis.papers.drawing import beside, dots, fixed_limits, legend, level, logarithmic, symbol, tints
from analysis.papers.drawn import Drawn
from analysis.papers.quality.evidence import LEAST, Quality, interval

REPEATS = "Times that the repeated text is read"
SIDE = 1.03  # between the points of one length
NAMES = {"planted": "with near-copies", "sought": "near-copies dropped", "own": "its own dropped"}


def figure_1(evidence: Quality, drawn: Drawn) -> None:
    """Left: held-out loss, on text that is never corrupted, over the tokens trained, by the share Q of them that is of
    documents left as they are; lines, the law. Right: how much higher it is than with Q = 1, over Q^(−gamma) − 1, at
    each number of tokens; lines, the law, which has them through 0."""
    drawn.tell(evidence.exponent("gamma"), evidence.exponent("beta"), evidence.extrapolated)
    drawn.show(evidence.worth)
    table, found = evidence.corrupted, evidence.law
    D, Q, loss = table["tokens"], table["quality"], table["loss"]
    drawn.points(
        {"run": run, "tokens": d, "quality": q, "seed": s, "loss": L}
        for run, d, q, s, L in zip(table["run"], D, Q, table["seed"], loss, strict=True)
    )
    of_q, of_d, gamma = tints(1.05 - Q), tints(D), found.constants["gamma"]
    with rc_context(STYLE):
        drawn.figure, (left, right) = panels(2, left=0.8)
        with drawn.panel(left, "Loss by quality"):
            logarithmic(left, D, "tokens", loss)
            dots(left, D, loss, [of_q(1.05 - q) for q in Q], runs=table["run"].tolist(), ms=4)
            with fixed_limits(left):
                x = np.geomspace(D.min() / 1.3, D.max() * 1.3, 30)
                for q in np.unique(Q):
                    left.plot(x, found.law(x, q), color=of_q(1.05 - q), lw=1.0, zorder=3)
            left.set_ylabel(LOSS)
        with drawn.panel(right, "Loss above that of clean text"):
            for d in np.unique(D):
                own = D == d
                clean = loss[own & (Q == 1)]
                if not len(clean):
                    raise Undecided("no run on clean text has finished")
                dots(right, Q[own] ** -gamma - 1, loss[own] - clean.mean(), [of_d(d)] * int(own.sum()), ms=4)
                q = np.linspace(1, Q.min(), 20)
                right.plot(q**-gamma - 1, found.law(d, q) - found.law(d, 1.0), color=of_d(d), lw=1.0, zorder=3,
                           label=f"{digits.short(d)} tokens")  # fmt: skip
            level(right)
            right.set_xlabel("Q^(−gamma) − 1")
            right.set_ylabel("Nats per token")
            legend(right, "upper left")
        style = [(f"{q:.3g}", {"color": of_q(1.05 - q), "marker": "o", "ms": 4}) for q in np.unique(Q)[::-1]]
        beside(drawn.figure, style, "Q")
    worth, half = evidence.worth, float(Q.min())
    if worth.ours is not None:
        drawn.say(
            f"D tokens of quality Q are worth D Q^(gamma / beta) of the text as it is, where gamma / beta is "
            f"{worth.written}: at Q = {half:.2g} {digits.percent(half**worth.ours)} of them."
        )
    if evidence.dearer is None:
        drawn.say("Q counts documents here: how many tokens corrupted ones take is not recorded.")
    else:
        drawn.say(
            f"A corrupted document takes {evidence.dearer:.3g} times the tokens that it took before; Q counts the "
            "tokens of documents left as they are, though half of the words of the others are as they were."
        )
    drawn.say(f"The law misses these {len(table)} runs by {digits.percent(found.residuals.rms)} rms.")


def figure_2(evidence: Quality, drawn: Drawn) -> None:
    """Left: held-out loss over how often the repeated text is read, where a share of the tokens is a sliver of the text
    (its size falls to the right) or all of the text is repeated; the line, all of it new. Right: the size that reaches
    that loss on new text, over the model's own, with 95 % intervals; broken, what the paper has at worst. A run that is
    worse than the smallest size, or better than the largest, has no point there."""
    drawn.tell(*(evidence.least(share) for share in LEAST))
    N, losses, _ = evidence.sizes
    found = evidence.repeated
    shares = sorted(set(found.share.tolist()))
    drawn.points(
        {"run": run, "share": s, "repeats": e, "loss": L, "effective": value}
        for run, s, e, L, value in zip(
            found.table["run"], found.share, found.repeats, found.table["loss"], found.effective[:, 0], strict=True
        )
    )
    own = float(found.table["params"][0])
    new = float(np.exp(losses[N == own][0])) if own in N else np.nan
    entries = []
    with rc_context(STYLE):
        drawn.figure, (left, right) = panels(2, left=0.8)
        for axes in (left, right):
            logarithmic(axes, found.repeats, REPEATS)
        for k, share in enumerate(shares):
            one, style = found.of(share), symbol(k)
            name = "all of it" if share == 1 else f"{share:.0%} of D"
            entries.append((name, style))
            left.plot(one.repeats, one.table["loss"], lw=0.9, **style)
            right.plot(one.repeats, one.effective[:, 0], lw=0.9, **style)
            for x, draws in zip(one.repeats, one.effective, strict=True):
                if (ends := interval(draws)) is not None:
                    right.vlines(x, *ends, color=style["color"], lw=0.9)
            if share in LEAST:
                right.axhline(LEAST[share], color=style["color"], lw=0.9, dashes=(4, 3))
        if np.isfinite(new):
            level(left, new)
        level(right, 1.0)
        left.set_title("Loss")
        left.set_ylabel(LOSS)
        right.set_title("Effective size")
        right.set_ylabel("N_eff / N")
        right.set_ylim(0, None)
        beside(drawn.figure, entries, "repeated")
    for share in shares:
        one = found.of(share)
        what = "All of the text" if share == 1 else f"A sliver of {share:.0%} of the tokens"
        worst = int(one.table["loss"].argmax())
        loss = float(one.table["loss"][worst])
        drawn.say(
            f"{what}, read {digits.short(float(one.repeats[0]))} to {digits.short(float(one.repeats[-1]))} times: "
            f"the loss is {digits.percent(loss / new - 1, sign=True)} at worst, read "
            f"{digits.short(float(one.repeats[worst]))} times, "
            f"{evidence.beyond(loss, own) or f'as that of {one.effective[worst, 0]:.2f} N'}."
        )


def figure_3(evidence: Quality, drawn: Drawn) -> None:
    """Held-out loss over the tokens trained: the text as it is, and of one length, side by side, with planted
    near-copies, the same after near-copies were sought and dropped, and the text as it is without its own. What a text
    is worth is by the law's fall with D; its interval has the luck of the seeds alone, not the law's own error."""
    found = evidence.copies
    table = found.table
    clean = evidence.corrupted.where(evidence.corrupted["quality"] == 1, "corrupted")
    rows = [("as it is", clean, np.ones(len(clean), bool)), *((NAMES[r], table, found.role == r) for r in NAMES)]
    drawn.points(
        {"run": run, "text": name, "tokens": d, "loss": L}
        for name, of, own in rows
        for run, d, L in zip(of["run"][own], of["tokens"][own], of["loss"][own], strict=True)
    )
    with rc_context(STYLE):
        drawn.figure, axes = panels(1, left=0.8)
        logarithmic(axes[0], clean["tokens"], "tokens", np.concatenate([clean["loss"], table["loss"]]))
        for k, (_, of, own) in enumerate(rows):
            axes[0].plot(of["tokens"][own] * SIDE**k, of["loss"][own], ls="", **symbol(k))
        axes[0].set_ylabel(LOSS)
        beside(drawn.figure, [(name, symbol(k)) for k, (name, *_) in enumerate(rows)], "text")
    if found.planted > 0:
        drawn.say(
            f"Of {found.planted:,} planted near-copies {digits.percent(found.found / found.planted)} are found and "
            "dropped, those of the text's own not counted."
        )
    else:
        drawn.lacks(
            "the records do not tell how many documents were left out", "the share of near-copies that is found"
        )
    fitted, length = clean["tokens"], float(table["tokens"][0])
    for role, worth in found.worth.items():
        ends = interval(worth)
        with drawn.part(f"what the text is worth, {NAMES[role]}"):
            if ends is None:
                raise Undecided("its loss, or that of the text as it is, lies within the noise of the law's floor")
            say = drawn.say if role == "own" else drawn.find
            beyond = ""
            if worth[0] * length < fitted.min() or ends[0] * length > fitted.max():
                beyond = (
                    f", by a law that is extrapolated to {digits.short(worth[0] * length)} tokens from "
                    f"{digits.short(fitted.min())} to {digits.short(fitted.max())}"
                )
            say(
                f"{NAMES[role].capitalize()}, D tokens are worth {worth[0]:.2f} D of the text as it is "
                f"({ends[0]:.2f} to {ends[1]:.2f}){beyond}."
            )


def figure_4(evidence: Quality, drawn: Drawn) -> None:
    """Left: held-out loss over the share of a pool that a filter keeps, which is then read as often as the tokens ask
    for, by the tokens trained; lines, the means over seeds. Right: the share that is best, over the tokens, with
    95 % intervals."""
    found = evidence.filters
    table = found.table
    drawn.points(
        {"run": run, "keep": k, "tokens": d, "epochs": e, "seed": s, "loss": L}
        for run, k, d, e, s, L in zip(
            table["run"], found.keep, table["tokens"], table["epochs"], table["seed"], table["loss"], strict=True
        )
    )
    shades = tints(found.lengths)
    keeps = np.unique(found.keep)
    with rc_context(STYLE):
        drawn.figure, (left, right) = panels(2, left=0.8)
        for d in found.lengths:
            own = table["tokens"] == d
            means = [float(np.exp(np.log(table["loss"][own & (found.keep == k)]).mean())) for k in keeps]
            left.plot(keeps, means, color=shades(d), lw=0.9)
            left.plot(found.keep[own], table["loss"][own], "o", color=shades(d), ms=3, mew=0)
        left.set_xscale("log")
        left.set_xticks(keeps, [f"{k:g}" for k in keeps])
        left.minorticks_off()
        left.set_xlabel("Share of the pool that is kept")
        left.set_ylabel(LOSS)
        left.set_title("Loss by filter")
        logarithmic(right, found.lengths, "tokens")
        right.plot(found.lengths, found.best[:, 0], "o-", color="0.2", lw=0.9, ms=4)
        for d, draws in zip(found.lengths, found.best, strict=True):
            right.vlines(d, *np.quantile(draws[1:], [0.025, 0.975]), color="0.2", lw=0.9)
        right.set_yscale("log")
        right.set_yticks(keeps, [f"{k:g}" for k in keeps])
        right.set_title("Best filter")
        beside(
            drawn.figure,
            [(digits.short(d), {"color": shades(d), "marker": "o", "ms": 4}) for d in found.lengths],
            "tokens",
        )
    first, last = found.best[0], found.best[-1]
    drawn.say(
        f"At {digits.short(found.lengths[0])} tokens it is best to keep {first[0]:g} of the pool, at "
        f"{digits.short(found.lengths[-1])} {last[0]:g}."
    )
    wider = float((last[1:] > first[1:]).mean()), float((last[1:] < first[1:]).mean())
    if wider[0] > 0.95:
        drawn.say("The best filter keeps more when more is trained, as Goyal et al. (2024) have it.")
    elif wider[1] > 0.95:
        drawn.say("The best filter keeps less when more is trained, against Goyal et al. (2024).")
    else:
        drawn.lacks(
            "the best shares at the fewest and at the most tokens are the same, or differ within the noise",
            "whether one filters less when more is trained (Goyal et al. 2024)",
        )


def table_1(evidence: Quality, drawn: Drawn) -> None:
    """The constants of L(D, Q) = E + B / (D^beta Q^gamma), ours and Subramanyam et al.'s of C4 and of translation."""
    found = evidence.law
    theirs = {
        "E": (3.439, 0.067),
        "B": (1441.5, 139.6),
        "beta": (0.396, 0.250),
        "gamma": (0.401, 0.173),
    }
    drawn.points(
        {
            "constant": name,
            "ours": value,
            "low": found.intervals[name][0],
            "high": found.intervals[name][1],
            "C4": theirs[name][0],
            "translation": theirs[name][1],
        }
        for name, value in found.constants.items()
    )
