"""The page's figures and its table."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes

from analysis import digits
from analysis.page.canvas import GREY, INK, STYLE, Shades, panels
from analysis.papers.claim import Undecided
from analysis.papers.drawing import LAW, beside, dots, fixed_limits, level, logarithmic, tints
from analysis.papers.drawn import Drawn
from analysis.papers.overoptimisation.best_of_n import kl
from analysis.papers.overoptimisation.evidence import (
    FEW,
    KNOWN,
    MISFIT,
    SPARE,
    Overoptimisation,
    Proxy,
    distance,
    ends,
    grid,
)

DISTANCE = "d = √KL, √nats"
GOLD = "Gold reward, standard deviations"
SIZE, PAIRS = "Parameters N", "Pairs"
NAMES = ("alpha", "beta")
FALL = 0.3  # standard deviations that a gold reward has fallen by where it turns
NAMED = 4  # sizes at the axis of one of three panels


def figure_1(evidence: Overoptimisation, drawn: Drawn) -> None:
    """The gold reward of the best of n texts by a proxy, over their distance from the policy, n = 2 to half of the
    samples. Left: by the size of the proxy, with the most pairs. Right: by the pairs of the largest proxy. Each line is
    a seed; broken, the law d (α − β d)."""
    drawn.tell(evidence.beyond)
    by_size, by_pairs = evidence.most(), evidence.largest()
    shown = {one.run: one for one in (*by_size, *by_pairs)}.values()
    drawn.points(
        {"run": one.run, "params": one.N, "pairs": one.pairs, "seed": one.seed, "n": n, "distance": d, "gold": gold,
         "proxy": proxy, "law": float(one.law(d)), "fitted": n <= len(one.gold) // SPARE}
        for one in shown
        for n, d, gold, proxy in _points(one)
    )  # fmt: skip
    sizes = Shades(min(one.N for one in by_size), max(one.N for one in by_size))
    of_pairs = tints([one.pairs for one in by_pairs])
    with rc_context(STYLE):
        drawn.figure, (left, right) = panels(2, left=0.8, above=0.4)
        for own, some, title, colour in (
            (left, by_size, f"{digits.short(by_size[0].pairs)} pairs", lambda one: sizes(one.N)),
            (right, by_pairs, f"N = {digits.short(by_pairs[0].N)}", lambda one: of_pairs(one.pairs)),
        ):
            with drawn.panel(own, title):
                _curves(own, some, colour)
                _of_n(own, len(by_size[0].gold))
        style = [(digits.short(N), {"color": sizes(N), "lw": 1.4}) for N in dict.fromkeys(one.N for one in by_size)]
        style += [("pairs", {"lw": 0})]  # a line of its own: with each number it would not fit
        style += [
            (digits.short(n), {"color": of_pairs(n), "lw": 1.4}) for n in dict.fromkeys(one.pairs for one in by_pairs)
        ]
        beside(drawn.figure, style, "N")
    drawn.find(_turns(list(shown)))
    smallest = [one for one in by_size if one.N == by_size[0].N]
    largest = [one for one in by_size if one.N == by_size[-1].N]
    for some in (smallest, largest) if largest[0].N > smallest[0].N else (smallest,):
        drawn.say(_course(some))
        off = float(np.mean([one.misfit for one in some]))
        drawn.say(f"Its law is {digits.plain(off, 2)} standard deviations off (rms): {_form(some, off)}.")


def figure_2(evidence: Overoptimisation, drawn: Drawn) -> None:
    """α and β of R(d) = d (α − β d) over the size of the proxy, with the most pairs, and of the largest with fewer: the
    mean over seeds, and the distance of the peak, α / (2β), where it is below three times what was measured. Bars are
    95 % intervals of one proxy, from other samples of the policy."""
    claims = [evidence.sign(0, 1.0), evidence.sign(1, -1.0)]
    drawn.tell(*claims)
    found = evidence.judged()
    spans = {one.run: [ends([values[one.run][k] for values in evidence.draws]) for k in (0, 1)] for one in found}
    drawn.points(
        {"run": one.run, "params": one.N, "pairs": one.pairs, "seed": one.seed, "alpha": one.law.alpha,
         "alpha_low": spans[one.run][0][0], "alpha_high": spans[one.run][0][1], "beta": one.law.beta,
         "beta_low": spans[one.run][1][0], "beta_high": spans[one.run][1][1],
         "peak": one.law.peak if one.law.beta > 0 else np.nan}
        for one in found
    )  # fmt: skip
    of_pairs = tints([one.pairs for one in found])
    with rc_context(STYLE):
        drawn.figure, (left, middle, right) = panels(3, left=0.8)
        for k, own in enumerate((left, middle)):
            with drawn.panel(own, ("α", "β")[k]):
                logarithmic(own, [one.N for one in found], SIZE, most=NAMED)
                for n in dict.fromkeys(one.pairs for one in found):
                    some = [one for one in found if one.pairs == n]
                    N, mean = _means(some, [getattr(one.law, NAMES[k]) for one in some])
                    own.plot(N, mean, color=of_pairs(n), lw=1.0)
                    for one in some:
                        own.plot([one.N] * 2, spans[one.run][k], color=of_pairs(n), lw=0.6, alpha=0.7)
                    dots(own, [one.N for one in some], [getattr(one.law, NAMES[k]) for one in some],
                         [of_pairs(n)] * len(some), runs=[one.run for one in some], ms=4)  # fmt: skip
                level(own)
                own.set_ylabel(("α, per √nat", "β, per nat")[k])
        with drawn.panel(right, "Peak", "where the gold reward is highest"):
            far = distance(len(found[0].gold))[-1]
            shown = [one for one in found if one.law.beta > 0 and 0 < one.law.peak < 3 * far]
            if not shown:
                raise Undecided("by none of the laws the gold reward turns")
            logarithmic(right, [one.N for one in found], SIZE, most=NAMED)
            dots(right, [one.N for one in shown], [one.law.peak for one in shown],
                 [of_pairs(one.pairs) for one in shown], runs=[one.run for one in shown], ms=4)  # fmt: skip
            level(right, float(far))
            right.set_ylabel("d at the peak, √nats")
        style = [
            (digits.short(n), {"color": of_pairs(n), "lw": 1.4})
            for n in sorted({one.pairs for one in found}, reverse=True)
        ]
        beside(drawn.figure, style, "pairs")
    for claim in claims:
        if claim.decided:
            drawn.say(f"{claim.name}: {claim.note}")
    drawn.say(_over_pairs(evidence))
    peaks = [one for one in evidence.most() if one.law.beta > 0]
    for one in (peaks[0], peaks[-1]) if len(peaks) > 1 else ():
        drawn.say(
            f"By its law the proxy of N = {digits.short(one.N)} with {digits.short(one.pairs)} pairs has its peak at "
            f"d = {digits.plain(one.law.peak, 2)}, of {digits.plain(one.law.height, 2)} standard deviations"
            + (", beyond what was measured." if one.law.peak > distance(len(one.gold))[-1] else ".")
        )


def figure_3(evidence: Overoptimisation, drawn: Drawn) -> None:
    """Left: the share of pairs in which a proxy prefers the better text, over the pairs that it was trained on, by
    size; hollow, four epochs of so many. Right: its loss on them. Grey, chance, and the comparisons below which Gao et
    al. found all proxies near it."""
    drawn.tell(evidence.few, evidence.epochs)
    found = evidence.proxies()
    sizes = Shades(found[0].N, found[-1].N)
    repeated: Sequence[Proxy] = ()
    with drawn.part("four epochs"):
        repeated = evidence.proxies("repeated")
    drawn.points(
        {"run": one.run, "params": one.N, "pairs": one.pairs, "unique": one.unique, "epochs": one.pairs / one.unique,
         "seed": one.seed, "accuracy": one.accuracy, "loss": one.loss(soft=False), "correlation": one.correlation}
        for one in (*found, *repeated)
    )  # fmt: skip
    with rc_context(STYLE):
        drawn.figure, (left, right) = panels(2, left=0.8)
        for own, of, chance in (
            (left, lambda one: one.accuracy, 0.5),
            (right, lambda one: one.loss(soft=False), float(np.log(2))),
        ):
            with drawn.panel(own, "Accuracy" if own is left else "Loss, nats per pair"):
                logarithmic(own, [one.pairs for one in found], PAIRS)
                for N in dict.fromkeys(one.N for one in found):
                    some = [one for one in found if one.N == N]
                    at = sorted({one.pairs for one in some})
                    own.plot(
                        at, [np.mean([of(one) for one in some if one.pairs == n]) for n in at], color=sizes(N), lw=1.0
                    )
                    dots(own, [one.pairs for one in some], [of(one) for one in some], [sizes(N)] * len(some),
                         runs=[one.run for one in some], ms=4)  # fmt: skip
                for one in repeated:
                    own.plot(one.unique, of(one), marker="o", ms=5, mfc="white", mec=sizes(one.N), zorder=6)
                level(own, chance)
                with fixed_limits(own):
                    own.axvline(FEW, color=GREY, lw=0.8, dashes=(4, 3), zorder=0)
        beside(
            drawn.figure,
            [(digits.short(N), {"color": sizes(N), "lw": 1.4}) for N in dict.fromkeys(o.N for o in found)],
            "N",
        )
    for (N, unique), gap in (evidence.by_epochs() if repeated else {}).items():
        drawn.say(
            f"Four epochs of {digits.short(unique)} pairs in place of one change the accuracy of the proxy of N = "
            f"{digits.short(N)} by {digits.minus(f'{100 * gap:+.1f}')} points."
        )


def figure_4(evidence: Overoptimisation, drawn: Drawn) -> None:
    """The loss of reward models whose labels are drawn, above the entropy of the labels given the texts, which no model
    can go below: over the size, by the pairs, and over the pairs, by the size."""
    drawn.tell(evidence.floor, evidence.above("pairs"), evidence.above("size"))
    table, floor = evidence.soft
    n = np.rint(table["tokens"] / table["n_ctx"])
    drawn.points(
        {"run": run, "params": N, "pairs": of, "loss": loss, "above_the_floor": loss - floor}
        for run, N, of, loss in zip(table["run"], table["params"], n, table["loss"], strict=True)
    )
    sizes, of_pairs = Shades(table["params"].min(), table["params"].max()), tints(n)
    with rc_context(STYLE):
        drawn.figure, (left, right) = panels(2, left=0.8)
        for own, x, by, colour, label in (
            (left, table["params"], n, of_pairs, SIZE),
            (right, n, table["params"], sizes, PAIRS),
        ):
            with drawn.panel(own, f"Above the floor of {digits.plain(floor, 3)}"):
                logarithmic(own, x, label, table["loss"] - floor)
                for value in np.unique(by):
                    at = np.flatnonzero(by == value)
                    at = at[np.argsort(x[at])]
                    own.plot(x[at], table["loss"][at] - floor, color=colour(value), lw=1.0)
                    dots(
                        own,
                        x[at],
                        table["loss"][at] - floor,
                        [colour(value)] * len(at),
                        runs=table["run"][at].tolist(),
                        ms=4,
                    )
                own.set_ylabel("Loss above it, nats per pair")
        style = [(digits.short(N), {"color": sizes(N), "lw": 1.4}) for N in np.unique(table["params"])]
        style += [("pairs", {"lw": 0})]
        style += [(digits.short(of), {"color": of_pairs(of), "lw": 1.4}) for of in np.unique(n)]
        beside(drawn.figure, style, "N")
    least = int(np.argmin(table["loss"]))
    drawn.say(
        f"The lowest loss is {digits.plain(float(table['loss'][least]), 3)} nats per pair, of N = "
        f"{digits.short(float(table['params'][least]))} with {digits.short(float(n[least]))} pairs; the labels' "
        f"entropy is {digits.plain(floor, 3)}."
    )


def figure_5(evidence: Overoptimisation, drawn: Drawn) -> None:
    """The control: a random network as the gold reward, which has no tail. Gold over proxy of the best of n, both in
    standard deviations; broken, the correlation times the proxy, which is all that selecting noise does."""
    drawn.tell(evidence.control)
    found, beside_it = evidence.most("control"), evidence.most()
    widths = {one.N for one in found}
    tail = [one for one in beside_it if one.N in widths and one.seed == 0]
    drawn.points(
        {"gold_reward": name, "run": one.run, "params": one.N, "n": n, "distance": d, "proxy": proxy, "gold": gold,
         "correlation": one.correlation}
        for name, some in (("no tail", found), ("tail", tail))
        for one in some
        for n, d, gold, proxy in _points(one)
    )  # fmt: skip
    shades = Shades(min(widths), max(widths))
    with rc_context(STYLE):
        drawn.figure, (left, right) = panels(2, left=0.8)
        for own, some, title in ((left, found, "A random network"), (right, tail, "With a tail")):
            with drawn.panel(own, title):
                if not some:
                    raise Undecided("no proxy of these sizes has finished")
                for one in some:
                    own.plot(one.best_proxy, one.best_gold, color=shades(one.N), lw=0.9, marker="o", ms=3)
                    own.plot(
                        one.best_proxy, one.correlation * one.best_proxy, color=shades(one.N), lw=0.7, dashes=(4, 3)
                    )
                level(own)
                own.set_xlabel("Proxy of the best of n, standard deviations")
                own.set_ylabel(GOLD)
        beside(drawn.figure, [(digits.short(N), {"color": shades(N), "lw": 1.4}) for N in sorted(widths)], "N")
    drawn.find(f"Without a tail {_turns(found)}")
    for one in found:
        drawn.say(
            f"Without a tail the proxy of N = {digits.short(one.N)} (correlation {digits.plain(one.correlation, 2)}) "
            f"has α = {digits.plain(one.law.alpha, 2)} and β = {digits.plain(one.law.beta, 2)}."
        )


def figure_6(evidence: Overoptimisation, drawn: Drawn) -> None:
    """Policies tilted by a proxy, p exp(b proxy) / Z: the highest proxy there is at their KL, where reinforcement
    learning with a penalty of 1/b on KL would end. Left: their gold reward over the distance (lines), beside the best
    of n (points). Right: how far both of Gao et al.'s forms are from them. No policy was trained."""
    found = evidence.most()
    tilted = {one.run: evidence.tilted(one) for one in found}
    drawn.points(
        {"run": one.run, "params": one.N, "seed": one.seed, "distance": d, "gold": gold}
        for one in found
        for d, gold in zip(*tilted[one.run], strict=True)
    )
    off = evidence.forms()
    sizes = Shades(min(one.N for one in found), max(one.N for one in found))
    with rc_context(STYLE):
        drawn.figure, (left, right) = panels(2, left=0.8)
        with drawn.panel(left, "Tilted policies"):
            for one in found:
                if one.seed:
                    continue
                own = distance(len(one.gold)) <= tilted[one.run][0][-1]
                left.plot(*tilted[one.run], color=sizes(one.N), lw=1.0)
                at, gold = distance(len(one.gold))[own], one.best_gold[own]
                dots(left, at, gold, [sizes(one.N)] * len(at), ms=3.5)
            level(left)
            left.set_xlabel(DISTANCE)
            left.set_ylabel(GOLD)
        with drawn.panel(right, "Off the forms"):
            right.bar(["d (α − β d)", "d (α − β ln d)"], list(off.values()), color=[INK, LAW], width=0.5)
            right.set_ylabel("rms, standard deviations")
        beside(
            drawn.figure,
            [(digits.short(N), {"color": sizes(N), "lw": 1.4}) for N in dict.fromkeys(o.N for o in found)],
            "N",
        )
    drawn.say(
        f"d (α − β d) is {digits.plain(off['best-of-n'], 2)} standard deviations from the tilted policies, "
        f"d (α − β ln d) {digits.plain(off['reinforced'], 2)} (rms)."
    )


def _points(one: Proxy) -> Iterable[tuple[int, float, float, float]]:
    """n, the distance, the gold reward and the proxy of the best of n."""
    n = len(one.gold)
    return zip(grid(n).tolist(), distance(n).tolist(), one.best_gold.tolist(), one.best_proxy.tolist(), strict=True)


def _curves(axes: Axes, found: Sequence[Proxy], colour: Callable[[Proxy], Any]) -> None:
    """Gold of the best of n over the distance, with the law."""
    for one in found:
        d = distance(len(one.gold))
        axes.plot(d, one.best_gold, color=colour(one), lw=1.0, marker="o", ms=2.6)
        axes.plot(d, one.law(d), color=colour(one), lw=0.7, dashes=(4, 3))
    level(axes)
    axes.set_xlabel(DISTANCE)
    axes.set_ylabel(GOLD)


def _of_n(axes: Axes, samples: int) -> None:
    """A second axis of n above a panel."""
    shown = [n for n in (2, 10, 100, KNOWN, 10_000) if n <= samples // 2]
    second = axes.secondary_xaxis("top")
    second.set_xticks(np.sqrt(kl(shown)), [digits.short(n) for n in shown])
    second.set_xlabel("best of n")
    axes.set_title(axes.get_title("left"), pad=34)


def _turns(some: Sequence[Proxy]) -> str:
    """By how many proxies the gold reward turns and falls by FALL, at which n, and where it ends: of n of which many
    samples tell."""
    curves = np.array([_mean_gold([one]) for one in some])
    n, turned = grid(len(some[0].gold))[: curves.shape[1]], curves.max(1) - curves[:, -1] > FALL
    whose = f"of these {len(some)} proxies the gold reward of the best of n"
    if not turned.any():
        return f"by none {whose} falls by {FALL:g} standard deviations up to n = {n[-1]:,}"
    peaks, last = n[curves[turned].argmax(1)], curves[turned, -1]
    return (
        f"by {turned.sum()} {whose} turns: it is highest at n = {_span(peaks, digits.short)} and "
        f"{_span(last, lambda end: digits.plain(end, 2))} standard deviations at n = {n[-1]:,}, where 0 is the mean "
        "of the policy"
    )


def _span(values: np.ndarray, write: Callable[[float], str]) -> str:
    return " to ".join(dict.fromkeys(write(float(end)) for end in (values.min(), values.max())))


def _over_pairs(evidence: Overoptimisation) -> str:
    """alpha and beta of the largest proxies by their pairs."""
    largest = evidence.largest()
    told = []
    for n in dict.fromkeys(one.pairs for one in largest):
        laws = [one.law for one in largest if one.pairs == n]
        alpha, beta = (float(np.mean([getattr(law, name) for law in laws])) for name in NAMES)
        told.append(f"{digits.plain(alpha, 2)} and {digits.plain(beta, 2)} with {digits.short(n)} pairs")
    return f"Of N = {digits.short(largest[0].N)} α and β are {', '.join(told)} (means over seeds)."


def _course(some: Sequence[Proxy]) -> str:
    """How the gold reward goes, of seeds of one setting."""
    first, n = some[0], grid(len(some[0].gold))
    mean = _mean_gold(some)
    top = int(mean.argmax())
    way = (
        f"rises to the largest n, {digits.short(n[top])}, and is {digits.plain(float(mean[top]), 2)} there"
        if top == len(mean) - 1
        else f"is highest at n = {digits.short(n[top])} ({digits.plain(float(mean[top]), 2)}) and "
        f"{digits.plain(float(mean[-1]), 2)} at n = {digits.short(n[len(mean) - 1])}"
    )
    return f"By the proxy of N = {digits.short(first.N)} with {digits.short(first.pairs)} pairs the gold reward {way}."


def _form(some: Sequence[Proxy], off: float) -> str:
    """What a law that is so far off says of the form."""
    if off <= MISFIT:
        return "the form holds here"
    mean = _mean_gold(some)
    turns = mean.argmax() < len(mean) - 1
    return f"a parabola is no form of {'so steep a fall' if turns else 'this rise'}"


def _mean_gold(some: Sequence[Proxy]) -> np.ndarray:
    """What the best of each n is worth of which many samples tell, the mean over seeds."""
    samples = len(some[0].gold)
    return np.mean([one.best_gold for one in some], axis=0)[grid(samples) <= samples // SPARE]


def _means(some: Sequence[Proxy], values: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """By size, the mean over seeds."""
    N = np.array([one.N for one in some])
    at = np.unique(N)
    return at, np.array([np.asarray(values)[N == n].mean() for n in at])
