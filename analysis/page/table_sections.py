"""The parts of a page about anybody's table that no study has: forms, laws of its other columns, rows that may spoil a
law, the best split of compute, larger runs."""

import math

import numpy as np
from markupsafe import Markup

from analysis import digits
from analysis.average import LEAST
from analysis.confidence import LEVEL
from analysis.findings.of_table import AHEAD, OfTable
from analysis.fit.estimate import Fit
from analysis.forms import Choice
from analysis.frontier import Allocation
from analysis.page import fit_figure, markup
from analysis.page.markup import tag
from analysis.table import Table

BUDGETS = 5  # decades or more of compute, for which the best N and D are told


def form(choice: Choice | None) -> Markup:
    """How the forms predicted rows that they had not seen."""
    if choice is None:
        return Markup()
    verdict = choice.verdict().removeprefix("form: ")
    verdict = f"Chosen: {verdict}" if choice.best else f"{verdict[0].upper()}{verdict[1:]}"
    said = f"{verdict}. {choice.held} of {choice.rows} rows were held out in {choice.steps} "
    said += digits.plural(choice.steps, "step.", "steps.")
    head = ("Form", "Constants", "Residual", ("Error", "of rows held out"), ("Score", "below the best"))
    rows = [
        (one.law, str(one.constants), digits.percent(one.rms), digits.percent(one.held_out),
         f"{choice.forms[0].score - one.score:.1f}")
        for one in choice.forms
    ]  # fmt: skip
    more = markup.bullets(choice.unscored.values()) if choice.unscored else ""
    return tag("p", said) + markup.table(head, rows, text=1) + more


def others(found: OfTable, table: Table) -> Markup:
    """Laws of its other columns, each with its constants and a figure, and those that could not be fitted."""
    parts = [_law(one, table) for one in found.fits]
    if found.refused:
        parts.append(markup.bullets(f"{name}: {why}." for name, why in found.refused.items()))
    return markup.joined(parts)


def _law(found: Fit, table: Table) -> Markup:
    law = type(found.law)
    columns = ", ".join(map(fit_figure.label, law.inputs))
    state = "" if found.sound else f" Doubtful: {found.status} ({found.why})."
    said = f"{law.source}: {found.target} from {columns}. {found.n_runs} of {found.n_given} rows.{state}"
    rows = []
    for constant in law.constants():
        value, interval = digits.constant(found.constants[constant.name], *found.intervals[constant.name])
        rows.append((markup.mathematics(constant.name), value, interval, constant.unit))
    head = ("Constant", "Value", f"{digits.percent(found.level)} interval", "Unit")
    drawing = markup.figure(
        fit_figure.draw(found, table),
        f"law-{found.law.name}",
        f"The law over its rows, and what it leaves of each: rms {digits.percent(found.residuals.rms)}.",
    )
    return tag("h3", law.name) + tag("p", markup.mathematics(said)) + markup.table(head, rows, text=1) + drawing


def suspects(found: OfTable) -> Markup:
    if not found.suspects:
        return Markup()
    lead = "How these rows were made may spoil a law. They are in the laws all the same: scaling fit --drop suspicious "
    return tag("p", f"{lead}leaves them out.") + markup.bullets(found.suspects)


def allocation(found: Allocation | None, why: str) -> Markup:
    """Best N and D at round budgets around those of the table."""
    if found is None:
        return tag("p", f"No best size by compute: {why}.") if why else Markup()
    ends = [p.flops for p in found.points]
    first, last = math.floor(math.log10(min(ends))), math.ceil(math.log10(max(ends))) + 1
    step = max(1, round((last - first) / (2 * BUDGETS)))
    a, (low, high) = found.a, found.a_interval
    between = f" ({digits.percent(found.level)}: {low:.3f} to {high:.3f})" if math.isfinite(low) else ""
    said = f"By {found.method}, the best N grows as C^{a:.3f}{between} and D as C^{found.b:.3f}."
    rows = []
    for C in 10.0 ** np.arange(first, last + 1, step):
        N, D = float(found.params(C)), float(found.tokens(C))
        beyond = "beyond the runs" if C > 1.001 * max(ends) else "below the runs" if C < min(ends) / 1.001 else ""
        rows.append((digits.ten(C), digits.short(N), _ends(found.params_band(C)), digits.short(D),
                     _ends(found.tokens_band(C)), digits.plain(D / N), beyond))  # fmt: skip
    interval = f"{digits.percent(found.level)} interval"
    head = (("C", "FLOP"), "Best N", ("of N", interval), "Best D", ("of D", interval), "D / N", "")
    notes = [f"{note[0].upper()}{note[1:]}." for note in (*found.doubts, *found.warnings)]
    return tag("p", markup.mathematics(said)) + markup.table(head, rows) + (markup.bullets(notes) if notes else "")


def _ends(band: tuple[np.ndarray, np.ndarray]) -> str:
    low, high = (float(end) for end in band)
    return f"{digits.short(low)} to {digits.short(high)}" if math.isfinite(low) else "–"


def ahead(found: OfTable) -> Markup:
    """What the surface promises of runs as large as the largest, and larger."""
    if not found.ahead:
        return Markup()
    names = list(found.ahead[0].inputs)
    interval = f"{digits.percent(LEVEL)} interval"
    head = (
        *(({"params": "N"}.get(n, "D"), n) for n in names),
        "Loss",
        ("of the law", interval),
        ("of one run", interval),
    )
    rows = [
        (*(digits.short(one.inputs[n]) for n in names), f"{one.value:.4f}",
         *(f"{low:.4f} to {high:.4f}" if one.bounded else "–"
           for low, high in ((one.law_low, one.law_high), (one.low, one.high))))
        for one in found.ahead
    ]  # fmt: skip
    said = f"By {found.ahead[0].by}: a model of the largest N on the most D of the table, and both 2, 4 and 10 times."
    warnings = markup.bullets(found.warnings_ahead) if found.warnings_ahead else Markup()
    return tag("p", said) + markup.table(head, rows) + warnings + _alone(found)


def _alone(found: OfTable) -> Markup:
    """What each form says of the larger runs by itself, and their average."""
    alone = found.alone()
    if not alone:
        return Markup()
    last = [values[-1] for *_, values, _ in alone[:-1]]
    apart = digits.percent(max(last) / min(last) - 1)
    said = (
        f"Which form goes on is not known. Each that the rows above gave a weight of {100 * LEAST:g} % or more, "
        "and whose fit can be believed, says by itself, and all of them on average by that weight:"
    )
    times = ["the largest", *(f"{digits.plain(t, 2 if t >= 10 else 1)} times" for t in AHEAD[1:])]
    ends = f"{digits.percent(LEVEL)} interval of one run, {times[-1]}"
    head = ("Form", "Weight", *(("Loss", each) for each in times), ("there", ends))
    rows = [
        (name, digits.percent(weight), *(f"{value:.4f}" for value in values),
         f"{low:.4f} to {high:.4f}" if math.isfinite(high) else "–")
        for name, weight, values, (low, high) in alone
    ]  # fmt: skip
    far = (
        f"At {times[-1]} the largest N and D they lie {apart} apart." if len(last) > 1 else "No other form has as much."
    )
    return tag("p", said) + markup.table(head, rows, text=1) + tag("p", far)
