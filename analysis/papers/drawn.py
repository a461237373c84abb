"""A figure or table of a paper as its function fills it: drawing, points, claims, sentences, and what is missing."""

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import digits
from analysis.papers import drawing
from analysis.papers.claim import MISSING, Claim, NotMeasurable, Undecided, sentence
from analysis.table import Table
from analysis.table.columns import column


@dataclasses.dataclass
class Drawn:
    """One figure or table of the paper, from our runs. What is in it when something turns out to be missing stays.

    Attributes:
        name: of the paper, such as "fig5" or "table2"; also the name of its files.
        title: a line, such as "Figure 5: shape at fixed N".
        caption: what is seen in it.
        figure: None for a table, which is `data` itself.
        data: the points that are drawn.
        claims: for the table of constants.
        sentences: what agrees, what does not, and why (scale, data, vocabulary).
        findings: those of them that the page opens with, beside its main claims.
        missing: by the reason why our runs cannot decide something, what that is; nothing for the whole figure.
        unmeasurable: those of these reasons for which it cannot be measured with such runs.
    """

    name: str
    title: str
    caption: str = ""
    figure: Figure | None = None
    data: Table = dataclasses.field(default_factory=lambda: Table({}, np.arange(0)))
    claims: list[Claim] = dataclasses.field(default_factory=list)
    sentences: list[str] = dataclasses.field(default_factory=list)
    findings: list[str] = dataclasses.field(default_factory=list)
    missing: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    unmeasurable: set[str] = dataclasses.field(default_factory=set)

    @property
    def short_title(self) -> str:
        """Its number in the paper, such as "Figure 5"."""
        return self.title.partition(":")[0]

    @property
    def decided(self) -> bool:
        """Whether nothing that it is about was left open."""
        return not self.missing

    @property
    def open(self) -> list[str]:
        """What cannot be decided and why, a sentence each."""
        return [f"{self._word(why)}{' ' * bool(what)}{', '.join(what)}: {why}." for why, what in self.missing.items()]

    def _word(self, why: str) -> str:
        return (NotMeasurable if why in self.unmeasurable else Undecided).word

    @property
    def lines(self) -> list[str]:
        """What it says, and then what is open."""
        return [*self.sentences, *self.open]

    def say(self, *sentences: str) -> None:
        """Sentences; a capital letter and a full stop are seen to."""
        self.sentences += [sentence(digits.minus(text)) for text in sentences if text]

    def find(self, *sentences: str) -> None:
        """Sentences that the page opens with too."""
        before = len(self.sentences)
        self.say(*sentences)
        self.findings += self.sentences[before:]

    def show(self, *claims: Claim) -> None:
        """Claims beside the paper's, without a sentence."""
        self.claims += claims

    def tell(self, *claims: Claim) -> None:
        """Claims beside the paper's, with a sentence on each exponent that says how it compares or why it cannot."""
        self.show(*claims)
        for claim in claims:
            if claim.enough is not None:
                with self.part(claim.label):
                    self.say(claim.sentence())

    def lacks(self, why: object, what: str = "") -> None:
        """Notes what cannot be decided, or, for a reason that is NotMeasurable, not be measured here."""
        lack = Undecided.of(why)
        known = self.missing.setdefault(lack.why, [])
        if isinstance(lack, NotMeasurable):
            self.unmeasurable.add(lack.why)
        if what and what not in known:
            known.append(what)

    @contextlib.contextmanager
    def part(self, what: str = "") -> Iterator[None]:
        """Something that may be missing while the rest of the figure stands."""
        try:
            yield
        except MISSING as error:
            self.lacks(error, what)

    @contextlib.contextmanager
    def panel(self, axes: Axes, title: str, what: str = "") -> Iterator[None]:
        """A panel; what is missing for it stands in its place."""
        axes.set_title(title)
        with self.part(what):
            try:
                yield
            except MISSING as error:
                drawing.blank(axes, title, error)
                raise

    def points(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """The points that are drawn, a row each."""
        self.data = points(self.name, rows)


def points(name: str, rows: Iterable[Mapping[str, Any]]) -> Table:
    """The points of a figure as a table, as they are: nothing is filled in, no unit is asked after."""
    rows = list(rows)
    names = list(dict.fromkeys(key for row in rows for key in row))
    columns = {key: column(key, [row.get(key) for row in rows], name) for key in names}
    return Table(columns, np.arange(1, len(rows) + 1), name)
