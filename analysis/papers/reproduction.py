"""A paper from our own runs: which runs its figures need at a budget, and what their records show.

A paper NAME has the folders `analysis/papers/NAME` (its figures and page) and `configs/NAME` (its experiments and
budgets).
"""

import contextlib
import dataclasses
import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import numpy as np

from analysis import registry
from analysis.papers import folders, page
from analysis.papers.drawn import Drawn
from analysis.papers.evidence import Experiments, split
from analysis.papers.paper import Paper, Planned
from analysis.records import Records
from analysis.table import Table
from configs.budget import Budget
from scaling import config, rates
from scaling.config import DataConfig, RunConfig, Study
from scaling.data import mixture
from scaling.errors import InputError

Members = Mapping[str, tuple[RunConfig, ...]]  # the runs of each experiment
SHOWN = ("kind", "reuse", "n_layer", "d_model", "n_ctx", "n_vocab", "dropout")  # of a model, in a planned row


@dataclasses.dataclass(frozen=True)
class Wanted:
    """Figures of a paper at a budget, and the runs of the experiments that they need.

    Attributes:
        later: the runs of the experiments that a table of those that are done tells, where not all are known before.
        others: the runs of the paper's other experiments, which are not needed but may be in the same study.
    """

    paper: str
    budget: Budget
    figures: tuple[str, ...]
    members: Members
    later: Callable[[Table], Members] | None = None
    others: Callable[[], tuple[RunConfig, ...]] = tuple

    def grown(self, records: Records) -> "Wanted":
        """With the runs that follow from those of the records, where not all are known before."""
        return self if self.later is None else dataclasses.replace(self, members=self.later(records.runs))

    @property
    def study(self) -> Study:
        """All these runs, each once."""
        experiments = _part(self.paper, "experiments")
        runs = dict.fromkeys(run for own in self.members.values() for run in own)
        return Study(experiments.NAME, experiments.QUESTION, tuple(runs))

    def trainable(self) -> tuple["Wanted", list[str]]:
        """Without the experiments that this machine has not the data for, and a line on each of these."""
        asked = getattr(_part(self.paper, "experiments"), "left_out", None)
        lacking = {} if asked is None else {k: v for k, v in asked(self.budget).items() if k in self.members}
        members = {name: runs for name, runs in self.members.items() if name not in lacking}
        if not any(members.values()):
            raise InputError(f"{self.paper}: nothing can be trained here; {next(iter(lacking.values()), 'no runs')}")
        if not lacking:
            return self, []
        why = {line: [name for name in lacking if lacking[name] == line] for line in lacking.values()}
        lines = [f"left out, as the page will say: {', '.join(names)} ({line})" for line, names in why.items()]
        return dataclasses.replace(self, members=members), lines

    def expected(self) -> list[str]:
        """What intervals these runs promise for the main exponents, a line each, if the paper's laws hold here."""
        planned = {name: [planned_row(run) for run in runs] for name, runs in self.members.items()}
        return [str(line) for line in self._paper.expected(planned, self.figures)]

    def drawn_from(
        self, records: Records, forecasts: str | Path | None = None, beside: Sequence[Records] = ()
    ) -> "Reproduction":
        """The figures from the records of a study that holds these runs, among others or not all of them yet.

        Args:
            forecasts: folder of dated forecasts, which a page holds against what came.
            beside: of studies of the same experiments on other texts, at any budget.

        Raises:
            InputError: none of these runs has a record, or the folder has no forecast, or a study beside has no run of
                these experiments, or the text of another.
        """
        wanted = self.grown(records)
        experiments = split(records, _ids(wanted.members, records.configs, self.others()))
        if not experiments:
            raise InputError(
                f"{records.runs.source} has no run of budget {self.budget.name} with these settings yet; give the "
                "budget, the text, the texts of other kinds and the settings with which it was begun"
            )
        promised = None if forecasts is None else registry.read(forecasts)
        others = self._on_other_texts(records, beside)
        drawn = tuple(self._paper.draw(self.figures, experiments, promised, others))
        return Reproduction(wanted, experiments, drawn, len(wanted.study.runs))

    @property
    def _paper(self) -> Paper:
        return folders.named(self.paper)

    def check_beside(self) -> None:
        """Refuses studies of other texts where none of the figures shows them.

        Raises:
            InputError: none does.
        """
        if not set(self._paper.beside) & set(self.figures):
            which = " or ".join(self._paper.beside) or "none of this paper"
            raise InputError(f"--beside: none of these figures shows other texts; {which} does")

    def _on_other_texts(self, records: Records, beside: Sequence[Records]) -> dict[str, Experiments]:
        """The experiments of each study beside this one, by its text."""
        found: dict[str, Experiments] = {}
        if beside:
            self.check_beside()
        anywhere = _at_any_budget(self.paper, tuple(self.members)) if beside else {}
        texts = _texts(records)
        for other in beside:
            own = split(other, _ids(anywhere, other.configs))
            if not own:
                raise InputError(f"{other.runs.source} has no run of the experiments {', '.join(anywhere)}")
            (text, *more) = _texts(other)
            if more or text in (*texts, *found):
                theirs, ours = (" and ".join(names) for names in ([text, *more], [*texts, *found]))
                raise InputError(
                    f"{other.runs.source} is of {theirs}; a study beside this one has one text, and another than {ours}"
                )
            found[text] = own
        return found


@dataclasses.dataclass(frozen=True)
class Reproduction:
    """A paper's figures from our own runs.

    Attributes:
        experiments: the records of each experiment's runs.
        drawn: a figure or table each, in the paper's order.
        planned: runs of the study that the figures are about, with or without a record.
    """

    wanted: Wanted
    experiments: Experiments
    drawn: tuple[Drawn, ...]
    planned: int

    def text(self) -> str:
        """What each figure says."""
        return "\n".join(
            line
            for one in self.drawn
            for line in (
                f"\n{one.title}{'' if one.decided else ' (undecided)'}",
                *(f"  {s}" for s in one.lines),
            )
        )

    def write(self, folder: str | Path, *, command: str = "", expected: Sequence[str] = ()) -> Path:
        """Writes the page and what stands beside it into a folder, and returns the page.

        Args:
            command: that made it, as the page tells.
            expected: what was promised before the start (`Wanted.expected`).
        """
        sources = self.wanted.budget.texts([run for runs in self.wanted.members.values() for run in runs])
        made = page.Made(self.wanted.budget.name, command, ", ".join(sources), self.planned, expected)
        return page.write(Path(folder), folders.named(self.wanted.paper), self.drawn, self.experiments, made)


def wanted(
    paper: str,
    budget: str,
    only: Sequence[str] = (),
    *,
    transfer: Sequence[str] = (),
    settings: Mapping[str, str] | None = None,
) -> Wanted:
    """What a paper's figures need at a budget. Arguments as of `analysis.papers.reproduce`."""
    figures, experiments = folders.named(paper), _part(paper, "experiments").EXPERIMENTS
    settings = dict(settings or {})
    text: Any = settings.pop("rates", rates.suiting(settings.get("data.source", DataConfig.source)))
    budgets = _part(paper, "budgets")
    at = budgets.named(budget or budgets.DEFAULT, tuple(transfer), text)
    if at.source:
        at = dataclasses.replace(at, source=settings.pop("data.source", at.source))
    names = figures.chosen(tuple(only))
    needed = [name for name in experiments if name in figures.needed(names)]

    def overridden(found: Members) -> Members:
        return {name: tuple(config.override(run, settings) for run in found[name]) for name in needed}

    grown = getattr(_part(paper, "experiments"), "grown", None)
    later = None if grown is None else lambda table: overridden(grown(at, table))

    def others() -> tuple[RunConfig, ...]:
        found: list[RunConfig] = []
        for run in (run for name, of in experiments.items() if name not in needed for run in of(at)):
            with contextlib.suppress(InputError):  # a run that these settings do not suit is in no study
                found.append(config.override(run, settings))
        return tuple(found)

    return Wanted(paper, at, names, overridden({name: experiments[name](at) for name in needed}), later, others)


def planned_row(run: RunConfig) -> Planned:
    """A run as a row of a table, as far as it is known before it is trained."""
    row = {
        **{name: getattr(run.model, name) for name in SHOWN},
        "params": run.model.N,
        "tokens": run.tokens,
        "unique_tokens": run.U,
        "batch_tokens": run.batch_tokens,
        "learning_rate": run.optim.learning_rate,
        "schedule": run.optim.schedule,
        "warmup": run.warmup_steps / run.steps,
        "seed": run.seed,
    }
    return Planned(row, np.array([step for step in run.eval_steps if step], float))


def _at_any_budget(paper: str, names: Sequence[str]) -> Members:
    """The runs of these experiments at every budget of the paper, at the rates of either text."""
    budgets, experiments = _part(paper, "budgets"), _part(paper, "experiments").EXPERIMENTS
    every = [budgets.named(name, (), text) for name in budgets.BUDGETS for text in get_args(rates.Text)]
    return {name: tuple(dict.fromkeys(run for at in every for run in experiments[name](at))) for name in names}


def _ids(members: Members, configs: Mapping[str, RunConfig], others: Sequence[RunConfig] = ()) -> dict[str, set[str]]:
    """The ids, in a study, of each experiment's runs: of the same data by the same name, else by another name where no
    two data could be meant, of those in the study or of those that the paper wants.

    Args:
        others: the runs of the paper's other experiments.
    """
    named = {config.identity(run, repr(run.data)): id for id, run in configs.items()}
    found = {run: named.get(config.identity(run, repr(run.data))) for runs in members.values() for run in runs}
    ours, theirs = _data([*found, *others]), _data(configs.values())
    in_study, in_paper = (set[DataConfig]().union(*names.values()) for names in (theirs, ours))
    left: dict[tuple[str, DataConfig], list[str]] = {}
    for id in configs.keys() - set(found.values()):
        left.setdefault((_key(configs[id]), configs[id].data), []).append(id)
    for run in (run for run, id in found.items() if id is None):
        key, meant = _key(run), [run.data]
        if run.data not in in_study:
            new, other = ours[key] - in_study, theirs.get(key, set()) - in_paper
            meant = list(other) if len(new) == 1 else []
        candidates = [id for data in meant for id in left.get((key, data), [])]
        found[run] = candidates[0] if len(candidates) == 1 else None
    return {name: {id for run in runs if (id := found[run]) is not None} for name, runs in members.items()}


def _data(runs: Iterable[RunConfig]) -> dict[str, set[DataConfig]]:
    """The names of the data of runs that differ in nothing else."""
    found: dict[str, set[DataConfig]] = {}
    for run in runs:
        found.setdefault(_key(run), set()).add(run.data)
    return found


def _texts(records: Records) -> list[str]:
    """The texts of a study's runs."""
    return list(dict.fromkeys(run.data.source for run in records.configs.values()))


def _key(run: RunConfig) -> str:
    """What two configs of one run share, whatever name of its text it was begun under: a study has one text, as it is
    or made into others."""
    return config.identity(run, mixture.form(run.data.source), ("",) * len(run.eval.transfer))


def _part(paper: str, module: str) -> ModuleType:
    """A module of what the paper's experiments train."""
    return importlib.import_module(f"configs.{folders.module(paper)}.{module}")
