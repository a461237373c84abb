"""The page's figures."""

import numpy as np
from matplotlib import rc_context
from matplotlib.ticker import MaxNLocator

from analysis import digits
from analysis.page.canvas import GREY, LOSS, STYLE, panels
from analysis.papers.claim import Undecided
from analysis.papers.collapse import exact
from analysis.papers.collapse.evidence import ARMS, Collapse
from analysis.papers.collapse.scatter import REAL
from analysis.papers.drawing import groups_legend, level, logarithmic, symbol
from analysis.papers.drawn import Drawn

STYLES = {arm: symbol(k) for k, arm in enumerate(ARMS)}
B, KEPT = 1.5, (1e2, 1e3, 1e4)  # of the exact law of cut tails: Zipf's exponent, words that are left


def figure_1(evidence: Collapse, drawn: Drawn) -> None:
    """Loss on real held-out text over the generation, by how the text of a generation is made; each line a chain, at
    each temperature of what is written. Grey, real text, as much of it as the accumulated generations read."""
    chains = evidence.chains
    temperatures = sorted({t for _, t in chains}, reverse=True)
    drawn.points(
        {"way": arm, "temperature": t, "chain": chain, "generation": g + 1, "run": run, "loss": float(np.exp(loss))}
        for (arm, t), own in chains.items()
        for chain, (runs, losses) in enumerate(zip(own.runs, own.losses, strict=True))
        for g, (run, loss) in enumerate(zip(runs, losses, strict=True))
        if run
    )
    drawn.show(evidence.against_real())
    first = min(evidence.real)
    with rc_context(STYLE):
        drawn.figure, axes = panels(len(temperatures), left=0.8, legend=False)
        for one, t in zip(axes, temperatures, strict=True):
            n = [tokens / first for tokens in evidence.real]
            one.plot(n, [float(np.exp(losses.mean())) for losses in evidence.real.values()], color=GREY, lw=0.9)
            for arm, style in STYLES.items():
                if (arm, t) in chains:
                    for losses in chains[arm, t].losses:
                        one.plot(np.arange(1, len(losses) + 1), np.exp(losses), lw=0.9, **style)
            one.set_title(f"Temperature {t:g}")
            one.set_xlabel("Generation")
            one.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes[0].set_ylabel(LOSS)
        groups_legend(axes[0], [*((ARMS[arm], style) for arm, style in STYLES.items()), ("real", {"color": GREY})])
    for (arm, t), own in chains.items():
        with drawn.part(f"the rise, {ARMS[arm]}, at temperature {t:g}"):
            last = f"{ARMS[arm].capitalize()}, at temperature {t:g}: the loss of generation {own.generations}"
            say = drawn.find if t == max(temperatures) else drawn.say
            say(f"{last} is {_rise(*evidence.rise(arm, t))} over the first's")
            if arm == "accumulate" and own.generations > 2:
                say(f"{last} is {_rise(*evidence.rise(arm, t, since=2))} over the second's")
    with drawn.part("how far chains differ"):
        scatter = evidence.scatter
        drawn.say(
            f"Another chain changes the loss by {digits.percent(scatter.pooled.sigma)} (one standard deviation, "
            f"{scatter.pooled.degrees} degrees of freedom)"
        )
        for key, cell in scatter.apart.items():
            way, t, g = key
            where = "real text" if key == REAL else f"{ARMS[way]}, at temperature {t:g}, generation {g}"
            degrees = digits.plural(cell.degrees, "degree", "degrees")
            drawn.say(
                f"{where} scatters more, by {digits.percent(cell.sigma)}, and is judged by its own chains "
                f"({cell.degrees} {degrees} of freedom)"
            )
    with drawn.part("what accumulated text costs beside real text"):
        claim = evidence.against_real()
        if claim.ours is None:
            raise claim.lack
        drawn.say(
            f"The loss of the last accumulated generation is {digits.percent(float(np.expm1(claim.ours)), sign=True)} "
            "over that on as much real text."
        )


def figure_2(evidence: Collapse, drawn: Drawn) -> None:
    """Left: how far the loss has risen, over its rise in the second generation, at the highest temperature; not of text
    that accumulates, of which the second generation is better. Right: the same of the squared error of linear
    regression on the answers of fits before, drawn (points) and known (lines): n where text is replaced, at most the
    sum of 1/i² where it accumulates, and that of a mean where as much is read of the mixture as of the first."""
    claims = [evidence.growth("replace"), evidence.growth("fixed")]
    drawn.tell(*claims)
    if claims[1].decided:
        drawn.say(claims[1].note)
    rows = []
    with rc_context(STYLE):
        drawn.figure, (left, right) = panels(2, left=0.8, legend=False)
        with drawn.panel(left, "Our models"):
            n = 0
            for arm in ("replace", "fixed"):
                if evidence.growth(arm).ours is None:
                    continue
                n, mean = n + 1, np.exp(evidence.of(arm).mean)
                ratio = (mean - mean[0]) / (mean[1] - mean[0])
                left.plot(np.arange(1, len(mean) + 1), ratio, lw=0.9, **STYLES[arm])
                rows += [{"of": "models", "way": arm, "generation": g, "ratio": r} for g, r in enumerate(ratio, 1)]
            if not n:
                raise Undecided("the second generation is not worse than the first beyond the noise")
            level(left)
            left.set_ylabel("(L_n − L_1) / (L_2 − L_1)")
        for arm, law in exact.LAWS.items():
            n = 6
            error, line = exact.regression(n, way=arm), law(n)
            right.plot(np.arange(1, n + 1), (error - 1) / (error[1] - 1), ls="", **STYLES[arm])
            right.plot(np.arange(1, n + 1), (line - 1) / (line[1] - 1), color=STYLES[arm]["color"], lw=0.9)
            rows += [
                {"of": "regression", "way": arm, "generation": g, "ratio": (e - 1) / (error[1] - 1), "error": e}
                for g, e in enumerate(error, 1)
            ]
        level(right)
        right.set_title("Linear regression, exactly")
        for axes in (left, right):
            axes.set_xlabel("Generation")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        groups_legend(right, [(ARMS[arm], STYLES[arm]) for arm in exact.LAWS], "upper left")
        groups_legend(left, [(ARMS[arm], STYLES[arm]) for arm in ("replace", "fixed")], "upper left")
    drawn.points(rows)


def figure_3(evidence: Collapse, drawn: Drawn) -> None:
    """Left: how far the loss has risen in the last generation, by the frequency of the token that is predicted, in
    parts of about as many tokens, the commonest first. Right, exactly: the share of words that a learner by heart has
    not met, over the tokens that it has read, of Zipf's law with exponent 1.5 (black) and where all but the first words
    were lost (Dohmatob et al. 2024)."""
    chains, rows = evidence.chains, []
    entries = []
    with rc_context(STYLE):
        drawn.figure, (left, right) = panels(2, left=0.8, legend=False)
        with drawn.panel(left, "Our models"):
            for arm, t in chains:
                if arm == "accumulate":
                    continue
                own = evidence.by_part(arm, t)
                look = STYLES[arm] | (
                    {} if t == max(t for _, t in chains) else {"mfc": "white", "mec": STYLES[arm]["color"]}
                )
                entries.append((f"{ARMS[arm]}, {t:g}", look))
                x = np.arange(1, own.shape[1] + 1)
                left.plot(x, own.mean(0), lw=0.9, **look)
                rows += [
                    {"way": arm, "temperature": t, "part": k + 1, "chain": chain, "rise": rise}
                    for chain, rises in enumerate(own)
                    for k, rise in enumerate(rises)
                ]
                common, rare = (float(np.expm1(np.nanmean(some))) for some in np.array_split(own.mean(0), 2))
                drawn.say(
                    f"{ARMS[arm].capitalize()}, at temperature {t:g}: the loss on the rarer half of the tokens is "
                    f"{digits.percent(rare, sign=True)} over the first generation's, on the commoner half "
                    f"{digits.percent(common, sign=True)}."
                )
            level(left)
            left.set_xlabel("Part of the tokens, the rarest last")
            left.set_ylabel("ln L_last / L_1")
        T = np.geomspace(10, 1e7, 25)
        logarithmic(right, T, "Tokens read", exact.cut_tail(T, B))
        right.plot(T, exact.cut_tail(T, B), color="0.1", lw=1.2)
        for kept in KEPT:
            right.plot(T, exact.cut_tail(T, B, kept), color=GREY, lw=0.9)
            right.annotate(
                digits.short(kept), (T[-1], exact.cut_tail(T[-1:], B, kept)[0]), ha="right", va="bottom", fontsize=7
            )
        right.set_title("A cut tail, exactly")
        right.set_ylabel("Share of words not met")
        if entries:
            groups_legend(left, entries)
    drawn.points(rows)


def _rise(rise: float, half: float) -> str:
    """Of a loss: by how much, and whether that is known."""
    direction = "up" if rise > 0 else "down"
    told = direction if abs(rise) >= half else "not told from 0"
    return f"{digits.percent(float(np.expm1(rise)), sign=True)} (± {digits.percent(half)}, {told})"
