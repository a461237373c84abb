"""A statement of a paper beside ours, by a rule that does not look at the paper's value to judge whether ours is known.

What is missing for a claim or a figure is an exception, `Undecided`, and no sentence is read to learn what was decided.
"""

import contextlib
import dataclasses
import functools
import math
import re
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from typing import Any, ClassVar, Self, TypeVar

from analysis import digits
from analysis.fit.estimate import Interval
from scaling.errors import InputError

T = TypeVar("T")

UNDECIDED = "cannot decide"
NOT_MEASURABLE = "not measurable here"
# The usual reason where nothing better is known: the paper's own span is a thousand times longer.
SHORT = "our runs are a short span of small models, on other text and another vocabulary"


def capital(text: str) -> str:
    """With a capital letter, but for the name of a constant."""
    return text[0].upper() + text[1:] if re.match(r"(?!alpha\b|beta\b)[a-z]{2,}\b", text) else text


def sentence(text: str) -> str:
    """As `capital`, and with a full stop."""
    text = capital(text)
    return text if text.endswith(".") else f"{text}."


class Undecided(Exception):
    """What a figure or a claim lacks, in words for the page."""

    word: ClassVar[str] = UNDECIDED  # before what it is about, and why

    def __init__(self, why: object):
        self.why = digits.minus(str(why)).rstrip(".")
        super().__init__(self.why)

    @classmethod
    def of(cls, why: object) -> "Undecided":
        """A reason, or what an analysis raised, as what it lacks: `NotMeasurable` stays what it is."""
        return why if isinstance(why, Undecided) else cls(why)


class NotMeasurable(Undecided):
    """Why runs like these could not tell, however many there were: the estimate would be of something else."""

    word = NOT_MEASURABLE


# What an analysis raises that lacks something.
MISSING = (Undecided, InputError)


def those(*options: Callable[[], T]) -> list[T]:
    """What those choices of an analysis give that have what they need."""
    found = []
    for option in options:
        with contextlib.suppress(*MISSING):
            found.append(option())
    return found


class Verdict(StrEnum):
    """What our runs say of a statement of the paper."""

    HOLDS = "holds"
    DIFFERS = "differs"
    CANNOT_TELL = "cannot tell"
    NOT_MEASURABLE = NOT_MEASURABLE
    NOT_COMPARED = "not compared"  # a scale, or what the paper has no value of


@dataclasses.dataclass(frozen=True)
class Claim:
    """A number of a paper beside ours.

    Attributes:
        name: as the paper writes it, such as alpha_N.
        source: the equation, such as "(1.1)", or a table or figure of the paper.
        paper: its value there; None where the paper prints none.
        ours: our estimate; None where `why` says that there is none to rely on.
        interval: statistical, at 95 %.
        over_choices: from the lowest to the highest estimate over choices of the analysis, where it is known.
        others: estimates by other choices, worked out when asked for; `span` is from the lowest to the highest.
        held_out: relative error on the runs held out from the fit; None where none was.
        enough: the half-width of the interval at which ours is decided, in the unit of the number, whatever the paper
            says. None for a scale: it depends on text and vocabulary, and is shown, not compared.
        independent: False where it follows from other claims; the tally leaves it out.
        unit: such as "tokens"; empty for pure numbers.
        note: what a reader must know.
        why: there is no estimate to rely on; empty where there is one.
        measurable: False where runs like these could not tell, for the reason in `why`.
        above, below: the likely reason where ours is larger, or smaller, than the paper's; empty where none is known.
    """

    name: str
    source: str
    paper: float | None
    ours: float | None = None
    interval: Interval | None = None
    over_choices: Interval | None = None
    held_out: float | None = None
    enough: float | None = None
    independent: bool = True
    unit: str = ""
    note: str = ""
    why: str = ""
    measurable: bool = True
    others: Callable[[], Sequence[float]] = dataclasses.field(default=tuple, compare=False, repr=False)
    above: str = dataclasses.field(default=SHORT, repr=False)
    below: str = dataclasses.field(default=SHORT, repr=False)

    def without(self, error: Exception) -> Self:
        """The claim with the reason why there is no estimate of ours."""
        lack = Undecided.of(error)
        measurable = not isinstance(lack, NotMeasurable)
        return dataclasses.replace(self, ours=None, interval=None, why=lack.why, measurable=measurable)

    @property
    def doubt(self) -> str:
        """Why ours is not decided; empty where it is."""
        if self.ours is None or self.enough is None:
            return self.why
        if self.interval is None:
            return "it has no interval"
        if not math.isfinite(self.half):
            return f"the interval of {digits.plain(self.ours)} has no end"
        return f"{self.written} is too wide: ± {self.enough:g} decides" if self.half > self.enough else ""

    @property
    def decided(self) -> bool:
        return self.ours is not None and not self.doubt

    @property
    def half(self) -> float:
        """Half-width of the interval; infinite without one."""
        return math.inf if self.interval is None else (self.interval[1] - self.interval[0]) / 2

    @functools.cached_property
    def span(self) -> Interval | None:
        """The range over defensible choices of the analysis; None where there is but one."""
        if self.over_choices is not None or self.ours is None:
            return self.over_choices
        others = self.others()
        return (min(self.ours, *others), max(self.ours, *others)) if others else None

    @property
    def verdict(self) -> Verdict:
        if self.enough is None or self.paper is None:
            return Verdict.NOT_COMPARED
        if not self.measurable:
            return Verdict.NOT_MEASURABLE
        if not self.decided or self.interval is None:
            return Verdict.CANNOT_TELL
        return Verdict.HOLDS if self.interval[0] <= self.paper <= self.interval[1] else Verdict.DIFFERS

    @property
    def label(self) -> str:
        """The name with the equation, or the table, in brackets."""
        return f"{self.name} {self.source if self.source.startswith('(') else f'({self.source})'}"

    @property
    def written(self) -> str:
        """Our value with its interval."""
        if self.ours is None:
            return "undecided" if self.measurable else NOT_MEASURABLE
        if self.interval is None:
            return digits.plain(self.ours)
        return "{} ({})".format(*digits.constant(self.ours, *self.interval, self.paper))

    @property
    def parts(self) -> tuple[str, str]:
        """Our value and its interval, each "–" where it is not decided."""
        if self.ours is None or not self.decided:
            return "–", "–"
        if self.interval is None:
            return digits.plain(self.ours), "–"
        return digits.constant(self.ours, *self.interval, self.paper)

    @property
    def remark(self) -> str:
        """Why it is not decided, and the note."""
        return ". ".join(filter(None, (self.doubt, capital(self.note) if self.doubt else self.note)))

    @property
    def lack(self) -> Undecided:
        """Why it is not decided, and the note, as what can be raised."""
        return Undecided(self.remark) if self.measurable else NotMeasurable(self.remark)

    def sentence(self) -> str:
        """Ours beside the paper's.

        Raises:
            Undecided: ours is not decided.
        """
        if not self.decided:
            raise self.lack
        if self.paper is None:
            return f"{self.label} is {self.written}."
        theirs = digits.plain(self.paper)
        if self.verdict is Verdict.HOLDS:
            return f"{self.label} is {self.written}, and the paper's {theirs} lies in that interval."
        side, reason = ("above", self.above) if (self.ours or 0.0) > self.paper else ("below", self.below)
        why = f"; likely because {reason}" if reason else ""
        return f"{self.label} is {self.written}, {side} the paper's {theirs}{why}."

    def widened(self, half: float) -> "Claim":
        """With an interval of at least this half-width about our value."""
        if self.ours is None or self.interval is None:
            return self
        low, high = self.interval
        return dataclasses.replace(self, interval=(min(low, self.ours - half), max(high, self.ours + half)))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, a row of the table of constants."""
        low, high = self.interval or (None, None)
        lowest, highest = self.span or (None, None)
        return {
            "name": self.name,
            "equation": self.source,
            "paper": self.paper,
            "value": self.ours,
            "low": low,
            "high": high,
            "lowest_choice": lowest,
            "highest_choice": highest,
            "unit": self.unit,
            "exponent": self.enough is not None,
            "held_out": self.held_out,
            "verdict": self.verdict.value,
            "note": self.remark,
        }


def tally(claims: Iterable[Claim]) -> dict[Verdict, list[Claim]]:
    """The independent claims that can be compared, each once, by their verdict."""
    found: dict[Verdict, list[Claim]] = {verdict: [] for verdict in Verdict if verdict is not Verdict.NOT_COMPARED}
    for claim in dict.fromkeys(claims):
        if claim.independent and claim.verdict in found:
            found[claim.verdict].append(claim)
    return found
