"""Our constants beside the paper's: which of them our runs decide, and the sentences that compare them.

An exponent is undecided where its fit is doubtful, or where the half-width of its interval exceeds half of its value.
"""

import dataclasses
import math
from collections.abc import Iterable

from analysis import digits, reference
from analysis.findings.finding import Finding
from analysis.fit.estimate import Fit
from analysis.papers.kaplan.drawn import Constant

UNDECIDED = "cannot decide"
HALF = 0.5  # of the value: the widest half-interval that decides an exponent
# The usual reason where nothing better is known: the paper's own span is a thousand times longer.
SHORT = "our runs are a short span of small models, on other text and another vocabulary"


def from_fit(
    name: str,
    equation: str,
    found: Finding | Fit | str,
    attribute: str,
    *,
    paper: str | float | None = None,
    unit: str = "",
    exponent: bool = True,
    divide: float = 1.0,
    enough: float = 0.0,
    note: str = "",
) -> Constant:
    """A constant of a fit beside the paper's.

    Args:
        found: the fit, or why there is none.
        attribute: of the law, such as "alpha_N".
        paper: its name among the published constants, or the number itself.
        divide: ours by this, such as `PF_DAY` for a scale in FLOP that the paper gives in PF-days.
        enough: as for `judged`.
    """
    fit = found.fit if isinstance(found, Finding) else found
    theirs = reference.value(paper) if isinstance(paper, str) else paper
    if not isinstance(fit, Fit):
        why = found.why if isinstance(found, Finding) else str(found)
        return Constant(name, equation, theirs, None, unit=unit, exponent=exponent, note=why)
    value = fit.constants[attribute] / divide
    low, high = (end / divide for end in fit.intervals[attribute])
    held_out = found.foretold.rms if isinstance(found, Finding) and found.foretold else None
    return judged(
        Constant(name, equation, theirs, value, low, high, unit, exponent, held_out, note),
        doubt="" if fit.status == "converged" else fit.why,
        enough=enough,
    )


def judged(constant: Constant, doubt: str = "", *, enough: float = 0.0) -> Constant:
    """The constant, without a value where the fit is doubtful or its interval, of an exponent, is too wide.

    Args:
        doubt: why the fit is doubtful.
        enough: a half-width that decides whatever the value, for an exponent near zero.
    """
    if constant.value is None:
        return constant
    why = doubt
    if not why and constant.exponent:
        if constant.low is None or constant.high is None:
            why = "it has no interval"
        elif not math.isfinite(constant.high - constant.low):
            why = f"the interval of {digits.plain(constant.value)} has no end"
        elif (constant.high - constant.low) / 2 > max(HALF * abs(constant.value), enough):
            value, interval = digits.constant(constant.value, constant.low, constant.high)
            why = f"{value} ({interval}) is too wide"
    if not why:
        return constant
    note = f"{why}. {constant.note}" if constant.note else why
    return dataclasses.replace(constant, value=None, low=None, high=None, held_out=None, note=note)


def written(constant: Constant) -> str:
    """Our value with its interval."""
    if constant.value is None:
        return "undecided"
    if constant.low is None or constant.high is None:
        return digits.plain(constant.value)
    value, interval = digits.constant(constant.value, constant.low, constant.high)
    return f"{value} ({interval})"


def label(constant: Constant) -> str:
    """The name with the equation, or the table, in brackets."""
    return f"{constant.name} {constant.equation if constant.equation.startswith('(') else f'({constant.equation})'}"


def agrees(constant: Constant) -> bool:
    """Whether the paper's value lies in our interval."""
    if constant.value is None or constant.paper is None or constant.low is None or constant.high is None:
        return False
    return constant.low <= constant.paper <= constant.high


def compared(constant: Constant, *, above: str = SHORT, below: str = SHORT) -> str:
    """One exponent beside the paper's in a sentence.

    Args:
        above, below: the likely reason where ours is larger, or smaller, than the paper's.
    """
    name = label(constant)
    if constant.value is None:
        return f"{UNDECIDED} {name}: {constant.note.rstrip('.')}."
    if constant.paper is None:
        return f"{name} is {written(constant)}."
    theirs = digits.plain(constant.paper)
    if agrees(constant):
        return f"{name} is {written(constant)}, and the paper's {theirs} lies in that interval."
    higher = constant.value > constant.paper
    return (
        f"{name} is {written(constant)}, {'above' if higher else 'below'} the paper's {theirs}; likely because "
        f"{above if higher else below}."
    )


def decided(constants: Iterable[Constant]) -> bool:
    """Whether our runs decide all of the exponents among these."""
    return all(constant.value is not None for constant in constants if constant.exponent)
