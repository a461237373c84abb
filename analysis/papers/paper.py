"""A paper: its figures and tables in its order, what draws each, and the experiments whose runs they need."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from analysis.papers.drawn import Drawn
from analysis.papers.evidence import Evidence, Experiments
from analysis.papers.summary import Summary
from analysis.registry import Registry
from scaling.errors import InputError


class Planned(NamedTuple):
    """A run that is to be trained: its columns in a table of runs, as far as they are known, and its evaluations."""

    row: Mapping[str, Any]  # kind, params, n_layer, tokens, unique_tokens, batch_tokens, schedule, warmup, ...
    step: np.ndarray  # updates, rising, the last is the run's


@dataclasses.dataclass(frozen=True)
class Entry:
    """A figure or table of the paper.

    Attributes:
        title: a line, such as "Figure 5: shape at fixed N".
        section: of the paper, under which the page shows it.
        draw: fills it from the evidence; raises Undecided where something is missing for all of it, and InputError
            where a table lacks a column. The first paragraph of its docstring is the caption.
        needs: experiments.
    """

    title: str
    section: str
    draw: Callable[[Any, Drawn], None]
    needs: tuple[str, ...]

    @property
    def caption(self) -> str:
        """What is seen, in a sentence or two."""
        return " ".join((inspect.getdoc(self.draw) or "").partition("\n\n")[0].split())


@dataclasses.dataclass(frozen=True)
class Paper:
    """What the page of a paper is made of.

    Attributes:
        title: of the page.
        lede: of which experiments it shows the results, for its first sentence.
        figures: by name, in the paper's order.
        summary: the main claims and figures, at the head of the page.
        evidence: works out what several figures share, from the records of the experiments.
        scales: what the paper's scales, such as N_c, belong to.
        choices: what an estimate is the range over, beside its interval.
        expected: what intervals planned runs may expect, from `Planned` runs by experiment and the names of figures; a
            sentence each, by `str`.
        beside: the figures that show the same experiments on other texts.
    """

    title: str
    lede: str
    figures: Mapping[str, Entry]
    summary: Summary = dataclasses.field(default_factory=Summary)
    evidence: type[Evidence] = Evidence
    scales: str = "its text and vocabulary"
    choices: str = "with the runs that a rule left out, with a floor in the law, and with other counts of N"
    expected: Callable[..., Sequence[Any]] = lambda planned, names: ()
    beside: tuple[str, ...] = ()

    @property
    def sections(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(entry.section for entry in self.figures.values()))

    def chosen(self, names: Sequence[str]) -> tuple[str, ...]:
        """These figures in the paper's order, all where none is named.

        Raises:
            InputError: there is no such figure.
        """
        for name in names:
            if name not in self.figures:
                raise InputError(f"--only {name}: no such figure; there are {', '.join(self.figures)}")
        return tuple(name for name in self.figures if not names or name in names)

    def needed(self, names: Sequence[str]) -> tuple[str, ...]:
        """The experiments that these figures need."""
        return tuple(dict.fromkeys(need for name in names for need in self.figures[name].needs))

    def draw(
        self,
        names: Sequence[str],
        experiments: Experiments,
        promised: Registry | None = None,
        beside: Mapping[str, Experiments] | None = None,
    ) -> list[Drawn]:
        """These figures and tables, of one evidence."""
        evidence = self.evidence(experiments, promised, beside)
        return [self.draw_one(name, evidence) for name in names]

    def draw_one(self, name: str, evidence: Evidence) -> Drawn:
        """A figure or table: what can be shown, and what is missing."""
        entry = self.figures[name]
        drawn = Drawn(name, entry.title, entry.caption)
        with drawn.part():
            entry.draw(evidence, drawn)
        if drawn.figure is None and drawn.claims and not len(drawn.data):
            drawn.points(claim.to_dict() for claim in drawn.claims)
        return drawn
