"""The page's figures and its table."""

import numpy as np
from matplotlib import rc_context

from analysis import digits
from analysis.page.canvas import GREY, STYLE, panels
from analysis.papers.drawing import beside, symbol
from analysis.papers.drawn import Drawn
from analysis.papers.mixtures.evidence import LAWS, Mixtures, short


def figure_1(evidence: Mixtures, drawn: Drawn) -> None:
    """Predicted against measured loss of the mixtures that no law was fitted to, less the mean of each domain: left by
    the linear law, right by the exponential one. On the line they agree."""
    drawn.tell(*(evidence.rank(law) for law in LAWS), evidence.covered)
    found = evidence.fit
    held = found.held
    assert held is not None
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
