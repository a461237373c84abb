"""Runs as columns: what somebody else's CSV, a Parquet file or a study of our own becomes before a law is fitted to it.

Units of the canonical columns are in `docs/table.md`; every other column is kept as it is.
"""

import csv
import dataclasses
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis.digits import plural
from analysis.table import algebra, contradictions, curves, frames, shown, units
from analysis.table.columns import (
    COLUMNS,
    COUNTED,
    NUMBER_COLUMNS,
    above_zero,
    cells,
    column,
    counted,
    from_batches,
    from_shape,
    harmless,
    meaning,
    nearest,
    possible,
    simple,
    surely,
    unit_in,
    without_thousands,
)
from analysis.table.conditions import check_once, rows_with
from analysis.table.naming import Doubt, Naming
from scaling import folders
from scaling.errors import InputError

TRIPLE = ("params", "tokens", "flops")  # two of them give the third
CORE = (*TRIPLE, "loss")  # that most laws want
ENDED = ("done", "finished")  # what the status of a run that ended well is called, here and by Weights & Biases
LISTED = 40  # columns that a message names
GUESSES = 6  # of these, where any may be the one
LUCK = {"seed", "seconds"}  # words in the names of columns in which copies of a run may differ too
ONE_RUN = "count as one run; where they are not, give each row a name of its own in a column run"
INDEX = ("id", "index", "idx", "row", "", "unnamed: 0")  # columns of numbers that only name rows


@dataclasses.dataclass(frozen=True, repr=False)
class Excluded:
    """Rows that were left out, and why."""

    rows: tuple[str, ...]  # run ids, or "row 7" where the table has none
    reason: str
    cells: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict, compare=False, repr=False)

    def __repr__(self) -> str:
        more = f" and {len(self.rows) - 3} more" if len(self.rows) > 3 else ""
        return f"Excluded({', '.join(self.rows[:3])}{more}: {self.reason})"


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Table(dict[str, np.ndarray]):
    """Columns of equal length, one row per run. `table["loss"]` is a column, `len(table)` the number of rows.

    A dict of names to arrays, so that pandas and polars take it as it stands, except that its length counts rows and
    that nothing is put into it: `with_columns` gives another table.
    """

    columns: Mapping[str, np.ndarray]
    rows: np.ndarray  # i64, row numbers in the source, the first below the header is 1
    source: str = "table"
    notes: tuple[str, ...] = ()
    excluded: tuple[Excluded, ...] = ()
    derived: frozenset[str] = frozenset()  # columns that the source lacks and that followed from others
    not_asked: int = 0  # rows of the source that nobody asked for
    taken: Mapping[str, str] = dataclasses.field(default_factory=dict)  # what of the file a column was taken from
    option: str = algebra.OPTION  # with which columns are named
    of_logs: bool = False  # read from logs of other tools, beside which another file may say more of their runs

    @classmethod
    def from_rows(cls, rows: Iterable[Mapping[str, Any]], source: str = "table", *, recorded: bool = False) -> "Table":
        """Rows as mappings of column name to value; a key that a row lacks is an empty cell."""
        rows = list(rows)
        names = list(dict.fromkeys(name for row in rows for name in row))
        return cls.from_columns({name: [row.get(name) for row in rows] for name in names}, source, recorded=recorded)

    @classmethod
    def from_columns(
        cls,
        columns: Mapping[str, Sequence[Any] | np.ndarray],
        source: str = "table",
        taken: Mapping[str, str] | None = None,
        option: str = algebra.OPTION,
        *,
        recorded: bool = False,
    ) -> "Table":
        """Columns as sequences of equal length; fills in what follows from the others (tokens, flops, epochs).

        Args:
            recorded: by a study of our own, whose units are known, however small its runs.
            taken, option: canonical name -> what of the file it was taken from, and by which option, for messages.

        Raises:
            InputError: no rows, unequal lengths, text in a column of numbers, or units that cannot be right.
        """
        lengths = {name: len(values) for name, values in columns.items()}
        if not lengths or not max(lengths.values()):
            raise InputError(f"{source}: no rows; wanted one row per run below a header line")
        n = max(lengths.values())
        for name, length in lengths.items():
            if length != n:
                raise InputError(f"{source}: column {name} has {length} rows and another {n}; give each run a value")
        parsed = {name: column(name, values, source) for name, values in columns.items()}
        thousands = [name for name, values in columns.items() if without_thousands(name, values)]
        taken = dict(taken or {})
        naming = Naming(source, taken, parsed.get("run"), option)
        whole, notes = (parsed, ()) if recorded else units.completed(parsed, naming)
        if not recorded:
            run, said = _of_points(whole, naming)
            whole, notes = {**whole, **run}, (*notes, *said)
        derived = frozenset(whole) - frozenset(parsed)
        notes = (*notes, *contradictions.notes(whole))
        if thousands:
            notes = (*notes, f"commas and blanks in {', '.join(thousands)} are taken for thousands: 1,024 is 1024")
        table = cls(whole, np.arange(1, n + 1), source, notes, derived=derived, taken=taken, option=option)
        return _without_copies(table)

    @property
    def given(self) -> int:
        """Rows of the source: those here, those left out and those that nobody asked for."""
        return len(self) + sum(len(e.rows) for e in self.excluded) + self.not_asked

    @property
    def n_runs(self) -> int:
        """Runs that its rows are of: those that share an id of `run` are of one."""
        ids = self.columns.get("run", np.full(len(self), ""))
        return len(set(ids) - {""}) + int((ids == "").sum())

    @property
    def counted(self) -> str:
        """How many runs its rows are, in words: "12 runs", or "120 rows of 12 runs"."""
        runs = f"{self.n_runs} {plural(self.n_runs, 'run', 'runs')}"
        return runs if self.n_runs == len(self) else f"{len(self)} rows of {runs}"

    def __post_init__(self):
        dict.update(self, self.columns)

    def __len__(self) -> int:
        return len(self.rows)

    def __missing__(self, name: str) -> np.ndarray:
        """A column by the file's name for it, where it was taken as it is."""
        if (meant := self.meant(name)) is None:
            raise InputError(self._missing(name))
        return self.columns[meant]

    def __setitem__(self, name: str, values: np.ndarray) -> None:
        raise TypeError(f"a table is not changed; use table.with_columns({name}=...), which gives another")

    def meant(self, name: str) -> str | None:
        """The column of this name, or the one that was taken from the file's column of this name; None without one."""
        if name in self.columns:
            return name
        return next((here for here, own in self.taken.items() if own == name and here in self.columns), None)

    def __reduce__(self):
        return Table, tuple(getattr(self, field.name) for field in dataclasses.fields(self))

    __eq__ = object.__eq__

    def __hash__(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride] # as every object has it
        return object.__hash__(self)

    def __repr__(self) -> str:
        return shown.text(self)

    def _repr_html_(self) -> str:
        return shown.html(self)

    def has(self, name: str) -> bool:
        """Whether the column is there and holds at least one value."""
        if self.meant(name) is None:
            return False
        column = self[name]
        return bool(np.any(np.isfinite(column)) if column.dtype.kind == "f" else np.any(column != ""))

    def positive(self, *names: str) -> tuple[np.ndarray, ...]:
        """These columns, each cell a finite number above zero, as a logarithm needs.

        Raises:
            InputError: a column is missing, or a cell is not such a number (row, column and value are named).
        """
        for name in names:
            column = self[name]
            if column.dtype.kind != "f":
                raise InputError(f"{self.source}, column {name}: holds text ({column[0]!r}); wanted numbers above 0")
            bad = np.flatnonzero(~(np.isfinite(column) & (column > 0)))
            if bad.size:
                value = "an empty cell or NaN" if math.isnan(column[bad[0]]) else f"{column[bad[0]]:g}"
                more = f" (and {bad.size - 1} more {plural(bad.size - 1, 'row', 'rows')})" if bad.size > 1 else ""
                out = f" (--where '{self.taken.get(name, name)}!=')" if np.isnan(column[bad]).all() else ""
                raise InputError(
                    f"{self.source}, {self.label(int(bad[0]))}, column {name}: found {value}, wanted a number above 0; "
                    f"correct the cell or leave the row out{out}{more}"
                )
        return tuple(self[name] for name in names)

    def ended(self) -> np.ndarray:
        """Whether the run of each row ended well, as far as the table has a status; bool, one per row."""
        return np.isin(np.char.lower(self["status"]), ENDED) if self.has("status") else np.ones(len(self), bool)

    def updates(self) -> np.ndarray:
        """Updates made when the row was measured: `step` in a table of curves, else `steps`, all of the run's."""
        return self.positive("step" if "step" in self else "steps")[0]

    def label(self, i: int) -> str:
        """What row i (from 0) is called in messages."""
        row = f"row {self.rows[i]}"
        return f"{row} (run {self.columns['run'][i]})" if "run" in self.columns and self.columns["run"][i] else row

    @property
    def names(self) -> tuple[str, ...]:
        """What each row is called in figures: its run, or its number where the table names none."""
        runs = self.columns["run"] if "run" in self.columns else [""] * len(self)
        return tuple(str(run) or f"row {row}" for run, row in zip(runs, self.rows, strict=True))

    def where(self, keep: np.ndarray, reason: str) -> "Table":
        """The rows where `keep` (bool, one per row) holds; the others are remembered with the reason."""
        keep = np.asarray(keep, bool)
        if keep.all():
            return self
        labels = tuple(self.label(int(i)) for i in np.flatnonzero(~keep))
        left_out = Excluded(labels, reason, {name: column[~keep] for name, column in self.columns.items()})
        return dataclasses.replace(self._at(keep), excluded=(*self.excluded, left_out))

    def matching(self, *conditions: str) -> "Table":
        """The rows asked for: those that meet all of these conditions, such as "dataset=c4" and "params<1e9".

        To choose is no rule of exclusion: the others are counted in `given`, and no law is fitted with them.
        """
        table = self
        check_once(self, conditions)
        for condition in conditions:
            keep = rows_with(table, condition)
            table = table.chosen(keep)
        return table

    def chosen(self, keep: np.ndarray) -> "Table":
        """The rows where `keep` holds (bool, one per row), as if the others had not been in the source."""
        return dataclasses.replace(self._at(keep), not_asked=self.not_asked + int((~keep).sum()))

    def _at(self, keep: np.ndarray) -> "Table":
        columns = {name: column[keep] for name, column in self.columns.items()}
        return dataclasses.replace(self, columns=columns, rows=self.rows[keep])

    def with_columns(self, **columns: np.ndarray) -> "Table":
        """The same rows with columns added or replaced."""
        added = {name: column(name, values, self.source) for name, values in columns.items()}
        for name, values in added.items():
            if len(values) != len(self):
                raise InputError(f"column {name} has {len(values)} rows, the table {len(self)}")
        return dataclasses.replace(self, columns={**self.columns, **added})

    def with_notes(self, *notes: str) -> "Table":
        return dataclasses.replace(self, notes=(*self.notes, *notes))

    @property
    def doubts(self) -> tuple[str, ...]:
        """The notes that doubt its units."""
        return tuple(note for note in self.notes if isinstance(note, Doubt))

    def to_csv(self, path: str | Path) -> None:
        """Full precision; an empty cell where a number is missing."""
        folders.write(Path(path), self.csv_text())

    def csv_text(self) -> str:
        """The text of `to_csv`."""
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow(map(harmless, self.columns))
        writer.writerows(zip(*map(cells, self.columns.values()), strict=True))
        return text.getvalue()

    def to_pandas(self) -> Any:
        """A pandas.DataFrame: numbers as f64, an empty cell NaN."""
        return frames.to_pandas(self.columns)

    def to_polars(self) -> Any:
        """A polars.DataFrame: numbers as Float64, an empty cell null."""
        return frames.to_polars(self.columns)

    @classmethod
    def from_pandas(cls, frame: Any, source: str = "table") -> "Table":
        """The table of a pandas.DataFrame; an index that is more than row numbers is a column."""
        return cls.from_columns(frames.from_pandas(frame), source)

    @classmethod
    def from_polars(cls, frame: Any, source: str = "table") -> "Table":
        """The table of a polars.DataFrame."""
        return cls.from_columns(frame.to_dict(as_series=False), source)

    def to_parquet(self, path: str | Path) -> None:
        import pyarrow
        import pyarrow.parquet

        arrays = {name: pyarrow.array(column.tolist()) for name, column in self.columns.items()}
        buffer = pyarrow.BufferOutputStream()
        pyarrow.parquet.write_table(pyarrow.table(arrays), buffer)
        folders.write(Path(path), buffer.getvalue().to_pybytes())

    def _missing(self, name: str) -> str:
        # Names that a person can give: not a fit's own columns, and not those that were worked out here.
        names = [column for column in self.columns if not column.startswith("_") and column not in self.derived]
        for here, formula in self.taken.items():
            if here in self.columns and name in formula:
                return f"{self.source}: no column {name}: it was taken as {here}={formula}; call it {here}, in its unit"
        typed = nearest(name, names)
        if name not in COLUMNS and typed in COLUMNS:  # no law asks for it: somebody mistyped it
            return f"{self.source}: no column {name}, nearest is {typed!r}; found {', '.join(names)}"
        others = [one for one in names if one not in COLUMNS]  # those have a meaning of their own
        if name in NUMBER_COLUMNS and len(self):
            others = [one for one in others if counted(self.columns[one][0]) is not None]
        several = possible(name, others)
        near = several[0] if len(several) > 1 else nearest(name, others)
        instead = _by_formula(name, names) if near is None else ""
        left = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
        listed = f"; found {', '.join(names[:LISTED])}{left}"
        unlike = [one for one in others if not (near or instead or self.of_logs or meaning(one) in COLUMNS)]
        found = {name: _in_its_unit(name, near) if near else instead or (unlike[0] if unlike else "")}
        for other in CORE:  # what else the file calls by another name, so that one line names all
            one = surely(other, names) or ("" if "flops" in self.columns else _by_formula(other, names))
            if other not in self.columns and other != name and one:
                found |= {other: _in_its_unit(other, one)} if one != near and one not in COLUMNS else {}
        if (
            near is None
            and not instead
            and name in TRIPLE
            and all(one in found or one in self for one in TRIPLE if one != name)
        ):
            del found[name]  # it follows from the other two
            unlike = []
        elif not found[name]:
            return f"{self.source}: no column {name}, {self._nowhere(name)}{listed}"
        hint, which = f", nearest is {near!r}" if near else "", "say which one it is with"
        if instead:
            usual = "of a usual Transformer is" if name == "params" else "on one device, without accumulation, is"
            hint = f", which {usual if '*' in instead else 'may be'} {instead}"
        if len(several) > 1:
            hint, which, listed = f", and {len(several)} may be it ({', '.join(several)})", "choose one, as in", ""
        elif unlike:
            hint, which = ", and none is called like it", f"if {' or '.join(unlike[:GUESSES])} is it, say so, as in"
            found = {name: found[name]}  # nothing is known of such a table: no unit, and no other column
        said = {**self.taken, **found}
        taken = {**self.columns, **{one: self.columns[own] for one, own in found.items() if own in self.columns}}
        for one, factor in ({} if unlike else units.factors(taken, Naming(self.source, said))).items():
            said[one] = algebra.times(said.get(one, one), factor)
        return (
            f"{self.source}: no column {name}{hint}; {which} {algebra.line(said, self.option)}, "
            f"or load(path, {json.dumps(said)}) in Python{listed}"
        )

    def _nowhere(self, name: str) -> str:
        """That no column of the table can be one that is missing, and the way out."""
        if self.of_logs and name in ("params", "tokens"):
            return (
                "and the logs do not tell it; give a table of the runs too (a column run, or W&B's CSV of its page of "
                f"runs), or say {name} with {self.option} as a number or a formula of what was found"
            )
        rate = any(meaning(one) == "learning_rate" for one in self.columns)
        if name in TRIPLE and rate and "loss" in self.columns and "step" in self.columns:
            return (
                "and none that can be it; losses and learning rates by step are curves under a schedule: "
                "scaling predict CURVES --schedule cosine; of one that all rows share say "
                f"{algebra.line({name: '1e8'}, self.option)}"
            )
        return "and none that can be it"


def _of_points(columns: Mapping[str, np.ndarray], naming: Naming) -> tuple[dict[str, np.ndarray], list[str]]:
    """The column `run` where rows that have none are points of runs, and a note on it, or on how to say it."""
    if ids := curves.named(columns, surely=True):
        said = f"no column run: {ids} is taken as it, since its values repeat along their runs"
        return {"run": columns[ids].astype(str)}, [said]
    if (run := curves.runs(columns)) is not None:
        several = len(set(run) - {""})
        said = (
            f"no column run: {int((run != '').sum())} rows follow one another as the points of {several} learning "
            f"{plural(several, 'curve', 'curves')} do, and those of one {ONE_RUN}"
        )
        return {"run": run}, [said]
    ids = curves.named(columns, surely=False)
    if ids and not curves.of_sizes(columns, ids):
        shared = curves.shared(columns, ids)
        if shared and above_zero(columns, "step") is not None:
            said = f"no column run: {ids} is taken as it, since step grows along its values and {shared}"
            return {"run": columns[ids].astype(str)}, [f"{said}, and those of one {ONE_RUN}"]
        if shared or curves.may_be_run(ids):
            why = f", and {shared}" if shared else ""
            line = naming.line({}, {"run": ids})
            return {}, [f"values of {ids} repeat{why}: where the rows of one are points of one run, say {line}"]
    if "run" in columns or above_zero(columns, "step") is None:
        return {}, []
    said = "no column run, and step says how far a run was"
    sizes = above_zero(columns, "params")
    if sizes is not None and len(np.unique(sizes)) < len(np.unique(np.stack([sizes, columns["step"]]), axis=1).T):
        line = naming.line({}, {"run": "params"})
        return {}, [f"{said}: where the rows of one size are points of one run, say {line}"]
    return {}, [f"{said}: where several rows are points of one run, name it in a column run"]


def _by_formula(name: str, names: Sequence[str]) -> str:
    """What may stand for N or D where no column does: a formula, for N another count, or one in the runs' names."""
    if name != "params":
        return (from_batches(names) or "") if name == "tokens" else ""
    known = ("params_head", "params_embed", "params_total", "count_1_in_run")
    return from_shape(names) or next((one for one in known if one in names), "")


def _in_its_unit(name: str, own: str) -> str:
    """A column of a file as it is taken for a count, times the unit that its name says."""
    return algebra.times(own, unit_in(own)) if name in COUNTED and unit_in(own) != 1 else own


def _without_copies(table: Table) -> Table:
    """Rows equal in every cell are one run written twice, and so are rows equal in all but their names whose losses
    agree in five digits or more, whatever their seeds: the first is kept. Losses of fewer digits may agree by chance,
    which is said.
    """
    codes = {name: np.unique(column, return_inverse=True)[1] for name, column in table.columns.items()}
    once = _firsts(list(codes.values()))
    table = table.where(once, "equal in every cell to a row above")
    named = {name for name, column in table.columns.items() if _is_name(name, column)}
    luck = {name for name in codes if LUCK & set(simple(name).split("_"))}
    losses = [column for name, column in table.columns.items() if _is_loss(name) and column.dtype.kind == "f"]
    if not (named or luck) or not losses or all(len(np.unique(column)) == len(table) for column in losses):
        return table
    exact = np.any([digits_beyond(column, 4) for column in losses], axis=0)
    others = {name: code[once] for name, code in codes.items() if name not in named}
    by_name = _firsts(list(others.values()))
    by_seed = _firsts([code for name, code in others.items() if name not in luck])
    alike = int((~by_name & ~exact).sum())
    if alike:
        table = table.with_notes(
            f"{alike} rows differ from others in their name alone, and their losses have four digits or fewer: copies "
            "would make intervals too short, so leave them out if they are"
        )
    differ = "name" if named else " and ".join(sorted(luck))
    return table.where(by_seed | ~exact, f"equal in every cell but its {differ} to a row above, and counted once")


def _is_name(name: str, column: np.ndarray) -> bool:
    """Whether a column only names rows."""
    distinct = len(np.unique(column)) == len(column)
    return name == "run" or (distinct and (column.dtype.kind != "f" or name.lower() in INDEX))


def _is_loss(name: str) -> bool:
    return "loss" in name.lower() and name != "loss_floor"  # which is the text's, and not the run's


def _firsts(codes: Sequence[np.ndarray]) -> np.ndarray:
    """Which rows no row above equals; bool. codes: a number per value, by column."""
    if not codes:
        return np.ones(0, bool)
    seen: dict[bytes, int] = {}
    return np.array([seen.setdefault(row.tobytes(), i) == i for i, row in enumerate(np.stack(codes, axis=1))], bool)


def digits_beyond(column: np.ndarray, digits: int) -> np.ndarray:
    """Whether a number has more significant digits than so many; bool, one per row."""
    with np.errstate(divide="ignore", invalid="ignore"):
        unit = 10.0 ** (np.floor(np.log10(np.abs(column))) - digits + 1)
        return np.abs(column / unit - np.round(column / unit)) > 1e-6
