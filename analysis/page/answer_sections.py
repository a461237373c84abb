"""The first section of a page: what its kinds of study say, each with a figure and its numbers."""

import math
from collections.abc import Iterator

from markupsafe import Markup

from analysis import digits
from analysis.confidence import LEVEL
from analysis.findings import Findings, choices
from analysis.findings.answers import Profiles
from analysis.findings.choices import Choices
from analysis.findings.cooldowns import Cooldowns
from analysis.findings.positions import HEAD, Positions
from analysis.findings.shapes import Shapes
from analysis.page import choices_figure, markup, onset_figure, study_plots
from analysis.page.markup import tag
from analysis.table import Table
from analysis.tuning import Tuning
from analysis.tuning.bowls import Bowl
from analysis.tuning.halves import LIMIT


def content(found: Findings, curves: Table | None) -> Markup:
    """The section's HTML; empty for a table that is of no such kind."""
    said = found.answers
    parts = [
        *(_tuning(said.tuning, found.everything) if said.tuning else ()),
        *(_positions(said.positions) if said.positions else ()),
        *(_choices(said.choices) if said.choices else ()),
        *(_profiles(said.profiles, found.table) if said.profiles else ()),
        *(_shapes(said.shapes) if said.shapes else ()),
        *(_cooldowns(said.cooldowns, curves) if said.cooldowns else ()),
    ]
    return markup.joined(parts)


def _paragraphs(sentences: Iterator[str]) -> Iterator[str]:
    yield from (tag("p", markup.mathematics(sentence)) for sentence in sentences)


def _tuning(found: Tuning, runs: Table) -> Iterator[str]:
    yield tag("h3", "Best learning rates")
    warnings = [tag("p", f"{w[0].upper()}{w[1:]}.") for w in found.warnings()]
    if warnings:
        yield tag("div", *warnings, class_="warning")
    first, *more = found.law_lines()
    yield tag("p", markup.mathematics(first), class_="formula" if found.law else "")
    yield from _paragraphs(iter(more))
    if found.law and found.law.scatter:
        yield tag("p", f"Best rates scatter about it by {digits.percent(found.law.scatter)} beyond their own errors.")
    if math.isfinite(found.sigma):
        yield tag("p", f"Single runs scatter by {digits.percent(found.sigma)} of the loss about the bowls.")
    yield markup.figure(
        study_plots.learning_rates(found, runs=runs),
        "rates",
        "Dots are runs (means over seeds), curves the bowls through those near the lowest, diamonds their bottoms with "
        f"the {digits.percent(LEVEL)} interval of the best rate: open where it is not bounded. A cross is a rate that "
        "diverged. Then the best rates with the law through them, hollow where the rates tried do not bound them, and "
        "where the sweep has other batches, depths or lengths, all best rates over the law's; at the dotted line D/N "
        f"is {LIMIT:.0f}: the law is fitted by itself on either side of it, or of the middle of the sweep.",
    )
    head = (
        "N", "D", ("B", "tokens"), "Best rate", f"{digits.percent(LEVEL)} interval", ("Loss", "at the bottom"),
        ("Half the rule", "loss above"), ("The rule", "loss above"), ("Double", "loss above"),
        ("Half", "tokens to make up"), ("Double", "tokens to make up"), "",
    )  # fmt: skip
    yield markup.table(head, [_bowl(found, bowl) for bowl in found.bowls], wide=True)
    yield tag(
        "p",
        "Loss above the bottom of the bowl where the rate is the rule's, half of it or double it; and how many tokens "
        "more would make up for that at this size, from what tokens are worth between the lengths tried.",
    )
    for bowl in found.batches:
        ends = f"{digits.short(bowl.low)} to {digits.short(bowl.high)}" if bowl.interior else bowl.status
        where = f"N = {digits.short(bowl.params)}, D = {digits.short(bowl.tokens)}"
        yield tag("p", f"Best batch at {where}: {digits.short(bowl.best)} tokens ({ends}).")
    yield from (tag("p", markup.mathematics(line)) for line in found.batch_lines())


def _bowl(found: Tuning, bowl: Bowl) -> tuple[str, ...]:
    half, rule, double = found.costs(bowl)
    ends = f"{digits.plain(bowl.low, 2)} to {digits.plain(bowl.high, 2)}" if bowl.interior else "–"
    return (
        f"{bowl.params:,.0f}",
        digits.short(bowl.tokens),
        digits.short(bowl.batch_tokens),
        digits.plain(bowl.best),
        ends,
        f"{bowl.loss:.4f}",
        *(digits.percent(cost.excess, sign=True) for cost in (half, rule, double)),
        *(digits.percent(cost.tokens, sign=True) for cost in (half, double)),
        "" if bowl.interior else bowl.status,
    )


def _profiles(found: Profiles, runs: Table) -> Iterator[str]:
    yield tag("h3", "Best size at each budget")
    yield from _paragraphs(found.sentences())
    caption = (
        "Dots are runs (means over seeds), curves the parabolas through the sizes near the lowest of each budget, "
        "diamonds their minima; at the right the line through them"
        + (
            f" with its {digits.percent(LEVEL)} band."
            if found.allocation and len(found.allocation.draws)
            else ", without a band for the noise is not known."
        )
    )
    yield markup.figure(study_plots.isoflop(found.profiles, found.allocation, runs=runs), "isoflop", caption)
    if found.allocation:
        head = (("C", "FLOP"), "Sizes", ("Best N", "parameters"), ("D there", "tokens"), "D / N", "Loss", "Minimum")
        rows = [
            (digits.ten(m.flops), str(m.n_sizes), digits.short(m.params), digits.short(m.tokens),
             digits.plain(m.tokens / m.params), f"{m.loss:.4f}", m.status)
            for m in found.allocation.minima
        ]  # fmt: skip
        yield markup.table(head, rows)


def _positions(found: Positions) -> Iterator[str]:
    yield tag("h3", "When models begin to use their context")
    yield from _paragraphs(found.sentences())
    caption = (
        "Above, the tokens after which a model begins to use its context; a hollow mark with an arrow is one that did "
        "not in as many. Below, the final loss beside the first scheme's. Both at the best of the rates tried, means "
        "over seeds."
    )
    yield markup.figure(onset_figure.onset(found), "onset", caption)
    yield markup.table(HEAD, found.rows(), wide=True)


def _choices(found: Choices) -> Iterator[str]:
    yield tag("h3", "What the choices of an architecture are worth")
    yield from _paragraphs(found.sentences())
    caption = (
        f"Loss above the base's at equal N and D, with the {digits.percent(LEVEL)} interval of each by itself; filled "
        "where it differs with the number of choices allowed for (Holm)."
    )
    yield markup.figure(choices_figure.changes(found), "choices", caption)
    yield markup.table(choices.HEAD, found.rows(), text=1, wide=True)
    yield tag(
        "p",
        "Equal FLOP: every matrix product counts, and the base's loss is carried to the FLOP of the choice along the "
        "slope between its lengths there. Best rates: both at the best of the learning rates tried, on the seeds that "
        "all of these have.",
    )


def _shapes(found: Shapes) -> Iterator[str]:
    yield tag("h3", "What the shape does")
    yield from _paragraphs(found.sentences())
    caption = "Loss above that of the base (diamond), the other ratios held; means over seeds"
    caption += ", and shaded what seeds alone explain in 95 of 100." if found.degrees else "; the noise is not known."
    yield markup.figure(study_plots.shapes(found), "shapes", caption)


def _cooldowns(found: Cooldowns, curves: Table | None) -> Iterator[str]:
    yield tag("h3", "Several lengths from one trunk")
    yield tag("p", "A trunk is what runs of several lengths share before their cooldowns; it is trained once.")
    yield from _paragraphs(found.sentences())
    if curves is not None:
        caption = "Held-out loss along the trunks and their branches; a dot ends a branch"
        if len(found.changes):
            caption += ", a dash is the run that decayed over exactly that length. At the right the one above the other"
        yield markup.figure(study_plots.cooldowns(found, curves), "cooldowns", f"{caption}.")
    head = ("N", "D", "Loss of the branch", "Loss of its own decay", "Change")
    rows = [
        (f"{t.params:,.0f}", digits.short(b.tokens), f"{b.loss:.4f}",
         f"{b.other:.4f}" if math.isfinite(b.other) else "–", digits.percent(b.change, sign=True))
        for t in found.trunks
        for b in t.branches
    ]  # fmt: skip
    yield markup.table(head, rows)
