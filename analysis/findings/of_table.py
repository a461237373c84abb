"""What anybody's table says besides the laws of a study: which form its rows choose, laws of its other columns, rows
that may spoil a law, how compute is best split, and the losses of larger runs.

Nothing but columns is asked for. Losses are in nats per token, N in parameters, D in tokens, C in FLOP.
"""

import collections
import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from analysis import digits, findings, forms, frontier, laws, mixed
from analysis.average import AVERAGE, Average, average
from analysis.findings import DRAWS, Findings
from analysis.findings.finding import TITLES
from analysis.fit import fit
from analysis.fit.estimate import Fit
from analysis.fit.suspects import suspicions, told
from analysis.forecast import Forecast, forecast
from analysis.forms import Choice
from analysis.frontier import Allocation
from analysis.jsonable import jsonable
from analysis.laws import Law
from analysis.table import Table
from analysis.table.columns import COLUMNS, from_batches, from_shape, surely
from scaling.errors import InputError

SURFACE = ("params", "tokens", "loss")  # columns that the laws of a study want
ALONE = (("params",), ("unique_tokens",), ("tokens",), ("flops",))  # a law of one sees the edge of a surface alone
AHEAD = (1.0, 2.0, 4.0, 10.0)  # times the largest N and D of the table
STARTS = 31  # of the laws that are only tried


@dataclasses.dataclass(frozen=True, eq=False)
class OfTable:
    """What the rows of a table say.

    Attributes:
        table: its rows.
        study: the laws of size and data and what they rest on; None where a column of SURFACE is missing.
        why: which one, and how it is named.
        choice: the form that rows choose which none of the forms has seen; None where nothing could be judged.
        fits: other laws whose columns the table has.
        refused: why others could not be fitted, by their name.
        suspects: a line for each row, or for all rows of a check, that may spoil a law.
        allocation: N_opt(C) and D_opt(C): from profiles where the table has them, else from the surface.
        unallocated: why there is none.
        ahead: the losses of larger runs, by the form that the rows choose, else by the study's law.
        average: the forms by their held-out weight, which say what each alone makes of these runs; None where no two
            could be judged.
    """

    table: Table
    study: Findings | None
    why: str
    choice: Choice | None
    fits: tuple[Fit, ...]
    refused: Mapping[str, str]
    suspects: tuple[str, ...]
    allocation: Allocation | None
    unallocated: str
    ahead: tuple[Forecast, ...]
    average: Average | None = None

    def alone(self) -> list[tuple[str, float, tuple[float, ...], tuple[float, float]]]:
        """Of each form and of their average: name, weight, losses at the places of `ahead`, and the interval of one run
        at the last of them."""
        if self.average is None:
            return []
        places = {name: np.array([one.inputs[name] for one in self.ahead]) for name in self.ahead[0].inputs}
        told = []
        weighed = [*zip(self.average.fits, self.average.weights, strict=True), (self.average, 1.0)]
        for found, weight in weighed:
            said = found.predict(run=True, **places).where(found.bounded(**places))
            name = found.law.name if isinstance(found, Fit) else AVERAGE
            told.append((name, weight, tuple(map(float, said.value)), (float(said.low[-1]), float(said.high[-1]))))
        return told

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        said = {
            "source": self.table.source,
            "rows": self.table.given,
            "study": self.study.to_dict() if self.study else None,
            "no_study": self.why,
            "form": self.choice.to_dict() if self.choice else None,
            "other_laws": [found.to_dict() for found in self.fits],
            "not_fitted": dict(self.refused),
            "suspicious": list(self.suspects),
            "allocation": self.allocation.to_dict() if self.allocation else None,
            "no_allocation": self.unallocated,
            "ahead": [{k: v for k, v in one.to_dict().items() if k not in ("made", "fit")} for one in self.ahead],
            "ahead_by_form": [
                {"form": name, "weight": weight, "values": values, "last_of_one_run": ends}
                for name, weight, values, ends in self.alone()
            ],
        }
        return jsonable(said)

    def text(self) -> str:
        """The same for a terminal."""
        lines = [self.study.text() if self.study else f"No laws of size and data: {self.why}"]
        lines += ["\n".join(self.choice.lines())] if self.choice else []
        lines += [found.summary() for found in self.fits]
        lines += self.suspects
        lines += [self.allocation.text()] if self.allocation else []
        if self.ahead:
            head = f"larger runs, by {self.ahead[0].by}:"
            said = [f"Warning: {warning}" for warning in self.warnings_ahead]
            lines.append("\n".join([*said, head, *(f"  {one.line()}" for one in self.ahead)]))
        if alone := self.alone():
            head = "the same by each form alone, by its weight of rows held out, and by their average:"
            told = (
                f"  {weight:>6.1%} {name}: {', '.join(f'{value:.4f}' for value in values)}"
                for name, weight, values, _ in alone
            )
            lines.append("\n".join([head, *told]))
        return "\n\n".join(lines)

    @property
    def warnings_ahead(self) -> list[str]:
        """What more than one of the larger runs is warned of; one alone is told how far it lies, which its row says."""
        count = collections.Counter(warning for one in self.ahead for warning in one.warnings)
        return [warning for warning, times in count.items() if times > 1]


def find(table: Table, *, draws: int = DRAWS) -> OfTable:
    """What a table says: of any columns, rows as they are.

    Args:
        draws: bootstrap refits of each law of a study.

    Raises:
        InputError: the table has no column that a law predicts, or none that a law is of; or it has N, D or the loss
            under another name, without which laws of the rest would be of runs of all sizes together.
    """
    study, why = None, ""
    try:
        study = findings.find(table, draws=draws)
        study.table.positive(*SURFACE)
        study = dataclasses.replace(study, warnings=(*study.warnings, *_mixed(study)))
    except InputError as error:
        study, why = None, str(error)
        if _called_otherwise(table):
            raise
    fits, refused = _others(table, bool(study))
    choice = None
    if study is None or not study.answers.no_laws:
        try:
            choice = forms.choose(forms.candidates(table), table)
        except InputError as error:
            refused["form"] = str(error)
    if study is None and choice and choice.best:
        fits.insert(0, fit(choice.best, table))
    if study is None and not fits and not (choice and choice.forms):
        raise InputError(why)
    surface = study.surface.fit if study and study.surface else None
    chosen, said = _chosen(study, choice, draws) if study and choice else (None, "")
    if study and said:
        study = dataclasses.replace(study, warnings=(*study.warnings, said))
    allocation, unallocated = _allocation(study, chosen) if study else (None, "")
    by = chosen or surface
    ahead = tuple(_ahead(by)) if by else ()
    return OfTable(
        table=table,
        study=study,
        why=why,
        choice=choice if choice and choice.forms else None,
        fits=tuple(fits),
        refused=refused,
        suspects=tuple(_suspects(table)),
        allocation=allocation,
        unallocated=unallocated,
        ahead=ahead,
        average=_average(choice, study.table) if study and ahead and choice and choice.forms else None,
    )


def _average(choice: Choice, table: Table) -> Average | None:
    """The forms by their weight, each as the laws of a study are fitted."""
    try:
        return average(choice, list(forms.candidates(table)), table, loss="squared")
    except InputError:  # no form is sound: the laws say why
        return None


def _chosen(study: Findings, choice: Choice, draws: int) -> tuple[Fit[Law] | None, str]:
    """The form of N and D that the rows choose, where it is not that of the study's law and its fit can be believed;
    and what a reader should know of it."""
    surface = study.surface
    if study.answers.no_laws or not choice.best or (surface and surface.law.name == choice.best):
        return None, ""
    best = f"Rows held out are predicted best by {choice.best}, beyond luck"
    try:
        found = fit(choice.best, study.table, loss="squared", bootstrap=draws)
    except InputError as error:
        return None, f"{best}, but it cannot be fitted to all rows: {error}."
    if found.law.inputs != SURFACE[:2]:
        return None, ""
    if not found.sound:
        return (
            None,
            f"{best}, but its fit to all rows is doubtful ({found.status}: {found.why}): nothing here is by it.",
        )
    by_it = "larger runs are" if study.answers.profiles else "larger runs, and how compute is best split, are"
    return found, f"{best}: {by_it} by it, which misses these rows by {digits.percent(found.residuals.rms)} rms."


def _mixed(study: Findings) -> list[str]:
    """What the rows behind the law of N and D differ in besides, as sentences."""
    rows = study.law(laws.Chinchilla).table
    said = [] if rows is None else mixed.notes(rows, SURFACE[:2], SURFACE[2])
    return [f"{note[0].upper()}{note[1:]}." for note in said]


def _called_otherwise(table: Table) -> bool:
    """Whether a column of a surface is missing that the table seems to have under another name, or as a shape.

    Logs have all of them somewhere: training has a size and a length.
    """
    others = [name for name in table if name not in COLUMNS and table[name].dtype.kind == "f"]
    missing = [name for name in SURFACE if not table.has(name)]
    by_formula = {"params": from_shape, "tokens": from_batches}
    return bool(missing and table.of_logs) or any(
        surely(name, others) or (name in by_formula and by_formula[name](table)) for name in missing
    )


def _others(table: Table, surface: bool) -> tuple[list[Fit], dict[str, str]]:
    """Laws whose columns the table has, but for those of a study and the forms that are judged together."""
    fits: list[Fit] = []
    refused: dict[str, str] = {}
    judged = {law.name for law in (*forms.candidates(table), *TITLES)}
    for law in laws.LAWS:
        if law.name in judged or law.inputs in (SURFACE[:2], ("tokens",)) or (surface and law.inputs in ALONE):
            continue
        targets = [name for name in (law.target, law.fallback) if name and table.has(name)]
        if targets and all(_varies(table, name) for name in law.inputs):
            try:
                _differ(table, law.inputs)
                fits.append(fit(law, table, starts=STARTS))
            except InputError as error:
                refused[law.name] = str(error).removeprefix(f"{law.name}: ")
    return fits, refused


def _differ(table: Table, names: Sequence[str]) -> None:
    """Refuses two columns that are one: where no token is repeated, no constant of repeats can be found."""
    for a, b in itertools.combinations(names, 2):
        if np.array_equal(table[a], table[b], equal_nan=True):
            raise InputError(f"{a} and {b} are equal in every row")


def _varies(table: Table, name: str) -> bool:
    if not table.has(name) or table[name].dtype.kind != "f":
        return False
    values = table[name][np.isfinite(table[name])]
    return bool(np.ptp(values) > 0)


def _suspects(table: Table) -> Iterator[str]:
    for law in (laws.Chinchilla, laws.KaplanC):
        if all(table.has(name) for name in (*law.inputs, law.target)):
            lines = told(table, suspicions(table, law.inputs, law.target))
            yield from (line.removeprefix("suspicious: ") for line in lines)
            return


def _allocation(study: Findings, chosen: Fit[Law] | None) -> tuple[Allocation | None, str]:
    """From the profiles that the table is, else along the surface that was fitted, with its bootstrap."""
    if study.answers.profiles:
        return study.answers.profiles.allocation, study.answers.profiles.why
    found = study.law(laws.Chinchilla)
    if chosen:
        surface, table = chosen, study.table
    elif found.sound and found.fit and found.table:
        surface, table = found.fit, found.table
    else:
        return None, found.why or study.answers.no_laws or "the surface is doubtful"
    C = table["flops"] if table.has("flops") else 6 * table["params"] * table["tokens"]
    drawn = [type(surface.law)(*draw) for draw in surface.draws]
    try:
        return frontier.surface(surface.law, np.geomspace(C.min(), C.max(), 9), drawn=drawn), ""
    except InputError as error:
        return None, str(error)


def _ahead(surface: Fit[Law]) -> Iterator[Forecast]:
    for times in AHEAD:
        yield forecast(surface, **{name: times * high for name, (_, high) in surface.ranges.items()})
