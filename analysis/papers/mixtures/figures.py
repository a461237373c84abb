"""The page's figures and its tables."""

import contextlib
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import rc_context

from analysis import digits
from analysis.mixtures.estimate import rank
from analysis.mixtures.proposal import Proposal
from analysis.page.canvas import GREY, STYLE, panels
from analysis.papers.claim import MISSING
from analysis.papers.drawing import beside, groups_legend, level, symbol
from analysis.papers.drawn import Drawn
from analysis.papers.mixtures.evidence import JUDGED, KINDS, LAWS, TITLES, Mixtures, Trained, short
from analysis.papers.mixtures.proposed import ALIKE, short_parts


def figure_1(evidence: Mixtures, drawn: Drawn) -> None:
    """Predicted against measured loss of the mixtures that no law was fitted to, less the mean of each domain: left by
    the linear law, right by the exponential one. On the line they agree."""
    drawn.tell(*(evidence.rank(law) for law in LAWS), evidence.covered)
    found = evidence.fit
    held = found.held
    assert held is not None
    inside = evidence.covered
    if inside.ours is not None and inside.interval is not None:
        drawn.find(
            f"{inside.ours * held.losses.size:.0f} of {held.losses.size} losses on {len(held.losses)} mixtures that "
            "were not fitted lie inside the 95 % interval of one run, by the exponential law "
            f"(a share of {digits.percent(inside.interval[0])} to {digits.percent(inside.interval[1])})"
        )
    mean = held.losses.mean(axis=0)
    drawn.points(
        {"domain": domain, "mixture": float(i), "loss": held.losses[i, d]}
        | {law: float(predicted[d, i]) for law in LAWS if (predicted := found.of(law).held) is not None}
        for d, domain in enumerate(held.domains)
        for i in range(len(held.losses))
    )
    with rc_context(STYLE):
        drawn.figure, axes = panels(2, left=0.8)
        lines = []
        for axis, law in zip(axes, LAWS, strict=True):
            with drawn.panel(axis, f"By the {law} law", law):
                predicted = found.of(law).held
                assert predicted is not None
                for d in range(len(held.domains)):
                    x, y = held.losses[:, d] - mean[d], predicted[d] - mean[d]
                    axis.plot(x, y, lw=0, **symbol(d))
                    lines += [x, y]
        low, high = np.min(np.concatenate(lines)), np.max(np.concatenate(lines))
        for axis in axes:
            axis.plot([low, high], [low, high], color=GREY, lw=0.8, zorder=0)
            axis.set_xlabel("Measured, nats per token above the mean")
            axis.set_ylabel("Predicted")
        beside(drawn.figure, [(short(name), symbol(d)) for d, name in enumerate(held.domains)], "loss on")
    drawn.say(
        f"{len(found.runs.shares)} mixtures are fitted and {len(held.shares)} predicted. Which law to believe, by "
        f"mixtures left out of the fit: {found.verdict().text()}.",
        *(f"{law} could not be judged: {why}" for law, why in found.unscored.items()),
    )


def figure_2(evidence: Mixtures, drawn: Drawn) -> None:
    """Left: loss of the larger models over that of the small ones on the same mixtures, each less the mean of its
    domain. Right: the share of each part in the best mixture for each domain, and for all of them alike."""
    drawn.tell(evidence.scales)
    small, large = evidence.both
    parts = evidence.fit.runs.parts
    with rc_context(STYLE):
        drawn.figure, (left, right) = panels(2, left=0.8)
        with drawn.panel(left, "Two sizes, the same mixtures"):
            for d in range(len(evidence.domains)):
                left.plot(small[:, d] - small[:, d].mean(), large[:, d] - large[:, d].mean(), lw=0, **symbol(d))
            ends = np.array(left.get_xlim())
            left.plot(ends, ends, color=GREY, lw=0.8, zorder=0)
            left.set_xlabel("Small model, nats per token above the mean")
            left.set_ylabel("Larger model")
        with drawn.panel(right, "The best mixture"):
            shares = np.array([proposal.best.shares for proposal in evidence.proposals.values()])
            bottom = np.zeros(len(shares))
            for k in range(len(parts)):
                right.bar(np.arange(len(shares)), shares[:, k], bottom=bottom, color=symbol(k)["color"], width=0.7)
                bottom += shares[:, k]
            right.set_xticks(
                np.arange(len(shares)), [short(name) for name in evidence.proposals], rotation=30, ha="right"
            )
            right.set_ylabel("Share of the tokens")
        beside(drawn.figure, [(short(name), symbol(k)) for k, name in enumerate(parts)], "text")
    drawn.points(
        {"target": name, **{f"share_{part}": share for part, share in zip(parts, p.best.shares, strict=True)}}
        for name, p in evidence.proposals.items()
    )
    both = evidence.proposals["all alike"]
    drawn.say(
        "For all domains alike the best mixture, by the exponential law, is "
        + ", ".join(f"{digits.percent(s)} {short(p)}" for p, s in zip(parts, both.best.shares, strict=True))
        + f"; the loss of what is best in truth may be {both.unsure:.2g} nats per token lower, if the law is right.",
        *(doubt for doubt in both.doubts if "--available" not in doubt),
    )


def table_1(evidence: Mixtures, drawn: Drawn) -> None:
    """Root mean square error (nats per token) and rank correlation of each law on the mixtures that it was not fitted
    to, by domain."""
    drawn.points(
        {
            "loss on": short(domain),
            **{f"{law}, error": evidence.fit.error(law, domain, True) for law in evidence.laws},
            **{f"{law}, rank": evidence.fit.rank(law, domain, True) for law in evidence.laws},
        }
        for domain in evidence.domains
    )


def figure_3(evidence: Mixtures, drawn: Drawn) -> None:
    """Left: loss where parts repeat over that of ample text, same size and mixture, each less the mean of its domain.
    Right: the loss on a short part's own text over its share, open of ample text, filled where it repeats."""
    short_text = evidence.repeats
    names, domains, once = (
        short_parts(short_text),
        short_text.runs.domains,
        dict(zip(short_text.runs.parts, short_text.runs.once, strict=True)),
    )
    drawn.tell(
        evidence.order("small", "repeated"), *(evidence.order(one, "repeated_large") for one in ("small", "repeated"))
    )
    ample, repeated = evidence.pairs("small", "repeated")
    rows = []
    with rc_context(STYLE):
        drawn.figure, (left, right) = panels(2, left=0.8)
        with drawn.panel(left, "The same mixtures, new or repeated"):
            for d in range(len(domains)):
                left.plot(ample[:, d] - ample[:, d].mean(), repeated[:, d] - repeated[:, d].mean(), lw=0, **symbol(d))
            ends = np.array(left.get_xlim())
            left.plot(ends, ends, color=GREY, lw=0.8, zorder=0)
            left.set_xlabel("Ample text, nats per token above the mean")
            left.set_ylabel("Some parts repeated")
        with drawn.panel(right, "Short parts, their own text"):
            for fit, filled in ((evidence.whole, False), (short_text, True)):
                for name in names:
                    d, k = domains.index(name), fit.runs.parts.index(name)
                    look = symbol(d, mfc="white", mec=symbol(d)["color"], mew=0.9) if not filled else symbol(d)
                    right.plot(fit.runs.shares[:, k], fit.runs.losses[:, d], lw=0, **look)
                    rows += [
                        {"part": name, "repeated": float(filled), "share": float(x), "loss": float(y),
                         "times read": float(x / once[name]) if filled else None}
                        for x, y in zip(fit.runs.shares[:, k], fit.runs.losses[:, d], strict=True)
                    ]  # fmt: skip
            right.set_xlabel("Share of the part")
            right.set_ylabel("Loss on it, nats per token")
        beside(drawn.figure, [(short(name), symbol(d)) for d, name in enumerate(domains)], "loss on")
    drawn.points(rows)
    times = {name: short_text.runs.shares[:, short_text.runs.parts.index(name)] / once[name] for name in names}
    drawn.say(
        "; ".join(f"{short(name)} is read {t.min():.2g} to {t.max():.2g} times" for name, t in times.items())
        + f" in {len(short_text.runs.shares)} mixtures",
        "rank correlation of each loss: "
        + ", ".join(f"{short(name)} {rank(ample[:, d], repeated[:, d]):.2f}" for d, name in enumerate(domains)),
        f"repeats cost {float((repeated - ample).mean()):.3f} nats per token in the mean over mixtures and domains",
    )


def table_2(evidence: Mixtures, drawn: Drawn) -> None:
    """Root mean square error (nats per token) of each law on mixtures left out of the fit, by domain, of ample text and
    where parts repeat, both of the same mixtures."""
    both = {"ample": evidence.whole_of_repeats, "repeats": evidence.repeats}
    drawn.points(
        {"loss on": short(domain)}
        | {
            f"{law}, {name}": fit.error(law, domain)
            for name, fit in both.items()
            for law in JUDGED
            if law not in fit.unscored
        }
        for domain in evidence.repeats.runs.domains
    )
    drawn.say(
        *(
            f"{name}: worth believing, all domains alike, is {fit.verdict(np.ones(len(fit.runs.domains))).text()}; for "
            + ", ".join(
                f"{short(part)} {fit.verdict(np.eye(len(fit.runs.domains))[fit.runs.domains.index(part)]).text()}"
                for part in short_parts(evidence.repeats)
            )
            for name, fit in both.items()
        )
    )


def figure_4(evidence: Mixtures, drawn: Drawn) -> None:
    """Left: the share of each short part in the best mixture, open where text is ample, filled where it repeats. Right:
    what the mixture of ample text costs where parts repeat, by the law, and crosses as trained."""
    drawn.tell(
        evidence.moved,
        evidence.choice("small", "repeated"),
        evidence.choice("small", "large"),
        *(evidence.choice(one, "repeated_large") for one in ("small", "repeated")),
    )
    _find_prices(evidence, drawn)
    fit, parts = evidence.repeats, evidence.repeats.runs.parts
    names, rows = short_parts(fit), []
    wanted = list(evidence.where_parts_repeat)
    at = np.arange(len(wanted))
    with rc_context(STYLE):
        drawn.figure, (left, right) = panels(2, left=0.8)
        with drawn.panel(left, "Short parts in the best mixture"):
            for n, name in enumerate(names):
                k, d = parts.index(name), fit.runs.domains.index(name)
                for proposals, filled in ((evidence.proposals, False), (evidence.where_parts_repeat, True)):
                    shares = np.array([proposals[t].best.shares[k] for t in wanted])
                    low, high = np.array([proposals[t].share_ends[k] for t in wanted]).T
                    look = symbol(d) if filled else symbol(d, mfc="white", mec=symbol(d)["color"], mew=0.9)
                    bars = np.maximum([shares - low, high - shares], 0)
                    left.errorbar(at + 0.2 * n + 0.1 * filled - 0.15, shares, bars, ls="", elinewidth=0.8, **look)
            left.set_ylabel("Share of the tokens")
        with drawn.panel(right, "Price of the mixture of ample text"):
            found = np.array([evidence.price(t) for t in wanted])
            bars = np.maximum([found[:, 0] - found[:, 1], found[:, 2] - found[:, 0]], 0)
            right.errorbar(at, found[:, 0], bars, ls="", elinewidth=0.8, **symbol(0))
            for i, target in enumerate(wanted):
                row = {"target": target, **dict(zip(("price", "low", "high"), found[i], strict=True))}
                for what, large in (("trained", False), ("trained, larger", True)):
                    with contextlib.suppress(*MISSING):
                        row[what], row[f"{what}, runs"] = evidence.measured_price(target, large)
                        right.plot(i + 0.15 + 0.15 * large, row[what], color=GREY, marker="x+"[large], ms=6, mew=1.4)
                for by, proposals in (("ample", evidence.proposals), ("repeats", evidence.where_parts_repeat)):
                    for k, part in enumerate(parts):
                        ends = dict(zip(("low", "high"), proposals[target].share_ends[k], strict=True))
                        row[f"{part}, {by}"] = float(proposals[target].best.shares[k])
                        row |= {f"{part}, {by}, {end}": float(x) for end, x in ends.items()}
                rows.append(row)
            level(right)
            reach = 1.5 * max(float(np.abs(found[:, 0]).max()), 0.02)  # of few mixtures intervals may have no end
            right.set_ylim(-reach / 2, reach)
            right.set_ylabel("Nats per token over the best")
        for axis in (left, right):
            axis.set_xticks(at, [short(name) for name in wanted], rotation=30, ha="right")
        beside(drawn.figure, [(short(name), symbol(fit.runs.domains.index(name))) for name in names], "text")
    drawn.points(rows)
    moved = evidence.where_parts_repeat[ALIKE]
    drawn.say(
        "for all domains alike the best mixture is "
        + " and ".join(
            f"{told} "
            + ", ".join(f"{digits.percent(s)} {short(p)}" for p, s in zip(parts, one.best.shares, strict=True))
            for told, one in (("of ample text", evidence.proposals[ALIKE]), ("where parts repeat", moved))
        ),
        *(
            f"for the loss on {short(name)} alone it has {_share(evidence.proposals, name)} of that text where it is "
            f"ample, {_share(evidence.where_parts_repeat, name)} where it repeats"
            for name in names
        ),
        *(doubt for doubt in moved.doubts if "--available" not in doubt),
    )
    for large in (False, True):
        with drawn.part("the price in training" + ", larger models" * large):
            value, runs = evidence.measured_price(ALIKE, large)
            drawn.say(
                f"trained{', with the larger model' * large}, the mixture of ample text is {value:+.3f} nats per token "
                f"above that of the law of repeats, {runs} {digits.plural(runs, 'run', 'runs')} of each"
            )


def figure_5(evidence: Mixtures, drawn: Drawn) -> None:
    """Left: loss of each trained proposal over what the law promised, with the interval of one run. Right: how much
    better it is than uniform and proportional mixtures, as trained over as promised."""
    drawn.tell(evidence.kept)
    trained = evidence.trained
    _find_promises(trained, drawn)
    rows, places = [], np.arange(len(trained))
    with rc_context(STYLE):
        drawn.figure, (left, right) = panels(2, left=0.8, below=0.25, legend=False)
        with drawn.panel(left, "Promised and trained"):
            for i, one in enumerate(trained):
                ends = np.array([one.promised.run_low, one.promised.run_high]) - one.promised.value
                left.plot([i, i], ends, color=GREY, lw=3, alpha=0.5, solid_capstyle="butt")
                left.plot(
                    np.full(len(one.losses), i), one.losses - one.promised.value, lw=0, **symbol(KINDS.index(one.kind))
                )
            level(left)
            left.set_xticks(places, [short(one.target) for one in trained], rotation=60, ha="right")
            left.set_ylabel("Trained less promised, nats per token")
        with drawn.panel(right, "Gain over other mixtures"):
            reach = [0.0]
            for one in trained:
                for gap, gain, _ in one.gains.values():
                    bars = [[max(gap[0] - gap[1], 0)], [max(gap[2] - gap[0], 0)]]
                    right.errorbar(gap[0], gain, xerr=bars, elinewidth=0.8, **symbol(KINDS.index(one.kind)))
                    reach += [gap[0], gain]
            right.plot([min(reach), max(reach)], [min(reach), max(reach)], color=GREY, lw=0.8, zorder=0)
            right.set_xlabel("Promised, nats per token")
            right.set_ylabel("Trained")
        there = [kind for kind in KINDS if any(one.kind == kind for one in trained)]
        groups_legend(right, [(kind, symbol(KINDS.index(kind))) for kind in there], "upper left", title="proposed")
    for one in trained:
        row = {"proposed": one.kind, "target": one.target, "promised": one.promised.value, "low": one.promised.run_low,
               "high": one.promised.run_high}  # fmt: skip
        row |= {f"trained, seed {n}": float(loss) for n, loss in enumerate(one.losses)}
        row |= {"inside": float(one.inside[0])}
        for rival, (gap, gain, _) in one.gains.items():
            row |= {f"{rival}, promised": gap[0], f"{rival}, low": gap[1], f"{rival}, high": gap[2]}
            row[f"{rival}, trained"] = gain
        rows.append(row)
    drawn.points(rows)
    for kind in there:
        own = [one for one in trained if one.kind == kind]
        inside = sum(one.inside[0] for one in own)
        drawn.say(f"{kind}: {inside} of {len(own)} lie inside their interval")
    for rival in dict.fromkeys(name for one in trained for name in one.gains):
        with drawn.part(f"gain over the {rival} mixture"):
            some = [(one, *evidence.gained(one, rival), one.gains[rival][0]) for one in trained if rival in one.gains]
            better = sum(low > 0 for _, _, low, _, _ in some)
            worse = sum(high < 0 for *_, high, _ in some)
            drawn.say(
                f"of {len(some)} proposals {better} are better than the {rival} mixture beyond the noise of seeds, "
                f"{worse} worse; {sum(high >= gap[1] and low <= gap[2] for *_, low, high, gap in some)} gains are as "
                "promised"
            )


def _find_prices(evidence: Mixtures, drawn: Drawn) -> None:
    """What choosing by small models of ample text costs at most, in a sentence."""
    told = []
    for other in ("large", "repeated"):
        claim = evidence.choice("small", other)
        if claim.ours is not None and claim.interval is not None:
            n = len(evidence.pairs("small", other)[0])
            told.append(f"{TITLES[other]} at most {digits.plain(claim.interval[1], 2)} ({n} mixtures)")
    if told:
        drawn.find(
            f"Choosing the mixture for all alike by small models of ample text costs {' and '.join(told)} nats per "
            "token, by one seed of each"
        )


def _find_promises(trained: Sequence[Trained], drawn: Drawn) -> None:
    """What was promised of the proposals beside what training gave, in a sentence."""
    inside = sum(one.inside[0] for one in trained)
    both = [
        f"{'where parts repeat' if one.experiment == 'proposed_repeated' else 'of ample text'} "
        f"{digits.plain(float(one.losses.mean()), 4)}, {digits.plain(one.promised.run_low, 4)} to "
        f"{digits.plain(one.promised.run_high, 4)} promised"
        for one in trained
        if one.target == ALIKE and (one.experiment == "proposed" or one.by == "repeated")
    ]
    drawn.find(
        f"{inside} of {len(trained)} trained proposals {digits.plural(inside, 'lies', 'lie')} inside the interval that "
        f"was promised{'; for all alike, ' * bool(both)}{'; '.join(both)}"
    )


def _share(proposals: Mapping[str, Proposal], name: str) -> str:
    """How much of its own part the best mixture for a domain has."""
    found = proposals[name]
    return digits.percent(float(found.best.shares[found.parts.index(name)]))
