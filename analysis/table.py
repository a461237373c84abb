"""Runs as columns: what somebody else's CSV, a Parquet file or a study of our own becomes before a law is fitted to it.

Units of the canonical columns are in `docs/table.md`; every other column is kept as it is.
"""

import csv
import dataclasses
import difflib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from scaling import counts
from scaling.errors import InputError

TEXT_COLUMNS = ("run", "status", "schedule")
NUMBER_COLUMNS = (
    "params",
    "params_total",
    "tokens",
    "unique_tokens",
    "epochs",
    "batch_tokens",
    "batch_crit",
    "steps",
    "steps_min",
    "flops",
    "flops_min",
    "loss",
    "loss_min",
    "loss_half",
    "tokens_at_min",
    "bits_per_byte",
    "learning_rate",
    "seed",
    "d_model",
    "n_layer",
    "n_head",
    "d_ff",
    "n_ctx",
    "n_vocab",
    "dropout",
)


class Excluded(NamedTuple):
    """Rows that were left out, and why."""

    rows: tuple[str, ...]  # run ids, or "row 7" where the table has none
    reason: str


@dataclasses.dataclass(frozen=True, eq=False)
class Table:
    """Columns of equal length, one row per run. `table["loss"]` is a column, `len(table)` the number of rows.

    It reads like a mapping of names to arrays, except that its length counts rows.
    """

    columns: Mapping[str, np.ndarray]
    rows: np.ndarray  # i64, row numbers in the source, the first below the header is 1
    source: str = "table"
    notes: tuple[str, ...] = ()
    excluded: tuple[Excluded, ...] = ()

    @classmethod
    def from_rows(cls, rows: Iterable[Mapping[str, Any]], source: str = "table") -> "Table":
        """Rows as mappings of column name to value; a key that a row lacks is an empty cell."""
        rows = list(rows)
        names = list(dict.fromkeys(name for row in rows for name in row))
        return cls.from_columns({name: [row.get(name) for row in rows] for name in names}, source)

    @classmethod
    def from_columns(cls, columns: Mapping[str, Sequence[Any] | np.ndarray], source: str = "table") -> "Table":
        """Columns as sequences of equal length; fills in what follows from the others (tokens, flops, epochs).

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
        table = cls(
            {name: _column(name, values, source) for name, values in columns.items()}, np.arange(1, n + 1), source
        )
        return _without_copies(_with_derived_columns(table))

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __contains__(self, name: object) -> bool:
        return name in self.columns

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.columns:
            raise InputError(self._missing(name))
        return self.columns[name]

    def keys(self):
        return self.columns.keys()

    def items(self):
        return self.columns.items()

    def get(self, name: str, default: np.ndarray | None = None) -> np.ndarray | None:
        return self.columns.get(name, default)

    def has(self, name: str) -> bool:
        """Whether the column is there and holds at least one value."""
        if name not in self.columns:
            return False
        column = self.columns[name]
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
                more = f" (and {bad.size - 1} more rows)" if bad.size > 1 else ""
                raise InputError(
                    f"{self.source}, {self.label(int(bad[0]))}, column {name}: found {value}, wanted a number above 0; "
                    f"correct the cell or leave the row out{more}"
                )
        return tuple(self.columns[name] for name in names)

    def label(self, i: int) -> str:
        """What row i (from 0) is called in messages."""
        row = f"row {self.rows[i]}"
        return f"{row} (run {self.columns['run'][i]})" if "run" in self.columns and self.columns["run"][i] else row

    def where(self, keep: np.ndarray, reason: str) -> "Table":
        """The rows where `keep` (bool, one per row) holds; the others are remembered with the reason."""
        keep = np.asarray(keep, bool)
        if keep.all():
            return self
        left_out = Excluded(tuple(self.label(int(i)) for i in np.flatnonzero(~keep)), reason)
        return dataclasses.replace(
            self,
            columns={name: column[keep] for name, column in self.columns.items()},
            rows=self.rows[keep],
            excluded=(*self.excluded, left_out),
        )

    def matching(self, name: str, value: str) -> "Table":
        """The rows with this value, a number or a text as it is written, in a column."""
        column = self[name]
        number = _number(value)
        keep = column == (number if column.dtype.kind == "f" and number is not None else value)
        if not np.any(keep):
            there = ", ".join(dict.fromkeys(_cell(cell) for cell in column[:1000]))[:200]
            raise InputError(f"{self.source}: no row has {name}={value}; its values are {there}")
        return self.where(keep, f"{name} is not {value}")

    def with_columns(self, **columns: np.ndarray) -> "Table":
        """The same rows with columns added or replaced."""
        added = {name: _column(name, values, self.source) for name, values in columns.items()}
        for name, column in added.items():
            if len(column) != len(self):
                raise InputError(f"column {name} has {len(column)} rows, the table {len(self)}")
        return dataclasses.replace(self, columns={**self.columns, **added})

    def with_notes(self, *notes: str) -> "Table":
        return dataclasses.replace(self, notes=(*self.notes, *notes))

    def to_csv(self, path: str | Path) -> None:
        """Full precision; an empty cell where a number is missing."""
        with Path(path).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(self.columns)
            writer.writerows(zip(*(map(_cell, column) for column in self.columns.values()), strict=True))

    def to_parquet(self, path: str | Path) -> None:
        import pyarrow
        import pyarrow.parquet

        arrays = {name: pyarrow.array(column.tolist()) for name, column in self.columns.items()}
        pyarrow.parquet.write_table(pyarrow.table(arrays), path)

    def _missing(self, name: str) -> str:
        names = [column for column in self.columns if not column.startswith("_")]  # those are a fit's own
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        example = near[0] if near else names[0]
        return f'{self.source}: no column {name}; found {", ".join(names)}; say which one it is: {name}="{example}"'


def load(path: str | Path, columns: Mapping[str, str] | None = None) -> Table:
    """A table from a .csv or .parquet file, or from the folder of a study.

    Args:
        path: the file or folder.
        columns: canonical name -> name in the file, or "1e9*name" where the file counts in other units.

    Raises:
        InputError: no such file, not a table, a named column is not there, text in a column of numbers.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; wanted a .csv or .parquet table or the folder of a study")
    if path.is_dir():
        table = read_study(path)
        return Table.from_columns(_renamed(dict(table.items()), columns, path.name), path.name) if columns else table
    if path.suffix.lower() == ".csv":
        raw = _read_csv(path)
    elif path.suffix.lower() in (".parquet", ".pq"):
        raw = _read_parquet(path)
    else:
        raise InputError(f"{path}: ends in {path.suffix or 'nothing'}; wanted .csv, .parquet or the folder of a study")
    return Table.from_columns(_renamed(raw, columns or {}, path.name), path.name)


def read_study(path: str | Path) -> Table:
    """The runs recorded in the folder of a study, one row each; columns are described in docs/table.md.

    Raises:
        InputError: not the folder of a study, or no run has a record yet.
    """
    return _study_table(path, _run_row)


def read_curves(path: str | Path) -> Table:
    """The held-out loss of a study's runs along training: one row per run and evaluation after the first update.

    Columns run, params, step, tokens (seen so far), flops, loss, train_loss (mean since the evaluation before).
    """
    return _study_table(path, _curve_rows)


def read_positions(path: str | Path) -> Table:
    """The last held-out loss by position in the context: columns run, params, position (from 1), loss."""
    return _study_table(path, _position_rows)


class Origin(NamedTuple):
    """Where and with what packs were trained; each empty where their records do not tell."""

    machine: str
    versions: Mapping[str, str]  # package to version


def read_origins(path: str | Path) -> tuple[Origin, ...]:
    """The different origins of a study's finished packs, in their order; () where no record tells."""
    from scaling import study

    whole = study.read(Path(path))
    found: list[Origin] = []
    for pack in whole.packs:
        done = whole.done(pack) or {}
        origin = Origin(done.get("machine", ""), done.get("versions", {}))
        if any(origin) and origin not in found:
            found.append(origin)
    return tuple(found)


def _study_table(path: str | Path, rows_of: Callable[..., Iterator[dict[str, Any]]]) -> Table:
    from scaling import record, study  # Orbax: a second that a table from a file need not wait for

    whole = study.read(Path(path))
    rows: dict[str, list[dict[str, Any]]] = {}
    for pack in whole.packs:
        history = record.read_history(whole.pack_folder(pack))
        if history is None or not len(history["eval_step"]):
            continue
        # Before the end a loss above the first one may still fall: only one that is not a number is lost already.
        diverged = record.diverged(history) if history["finished"] else _not_finite(history)
        for r, run in enumerate(pack.runs):
            rows[run.id] = list(rows_of(run, r, history, bool(diverged[r])))
    found = [row for id in whole.runs for row in rows.get(id, [])]
    if not found:
        raise InputError(f"{path}: no run has a record yet; continue with scaling study run")
    table = Table.from_rows(found, source=str(path))
    waiting = [id for id in whole.runs if id not in rows]
    return table.with_notes(f"{len(waiting)} runs of the study have no record yet") if waiting else table


def _not_finite(history: Mapping[str, np.ndarray]) -> np.ndarray:
    """Which runs had a loss that is not a finite number. -> bool r"""
    train_loss, eval_loss = history["train_loss"], history["eval_loss"]  # s r, e r t
    return np.asarray(~(np.isfinite(train_loss).all(0) & np.isfinite(eval_loss).all((0, 2))))


def _run_row(run: Any, r: int, history: Mapping[str, np.ndarray], diverged: bool) -> Iterator[dict[str, Any]]:
    config, model = run.config, run.config.model
    step = history["eval_step"]
    loss = history["eval_loss"][:, r].mean(-1, dtype=np.float64)  # e
    finite = np.where(np.isfinite(loss), loss, np.inf)
    done = len(history["train_loss"])
    tokens = done * config.batch_tokens
    half = np.flatnonzero(step == round(done / 2))
    per_token = counts.flops_per_token(model)
    yield {
        "run": run.id,
        "status": "diverged" if diverged else "done" if history["finished"] else "running",
        **counts.params(model),
        "tokens": tokens,
        "unique_tokens": config.U,
        "epochs": tokens / config.U,
        "batch_tokens": config.batch_tokens,
        "steps": done,
        **{name: tokens * flops for name, flops in per_token.items()},
        "loss": loss[-1],
        "loss_min": finite.min(),
        "tokens_at_min": step[finite.argmin()] * config.batch_tokens,
        "loss_half": loss[half[0]] if half.size else math.nan,
        "loss_initial": loss[0],
        "bits_per_byte": loss[-1] / math.log(2) / run.bytes_per_token,
        "train_loss": history["train_loss"][-max(1, done // 20) :, r].mean(dtype=np.float64) if done else math.nan,
        "learning_rate": config.optim.learning_rate,
        "schedule": config.optim.schedule,
        "warmup": config.optim.warmup,
        "optimizer": config.optim.optimizer,
        "weight_decay": config.optim.weight_decay,
        "seed": config.seed,
        **{
            name: getattr(model, name)
            for name in ("d_model", "n_layer", "n_head", "d_attn", "d_ff", "n_ctx", "n_vocab")
        },
        "dropout": model.dropout,
        "dtype": config.dtype,
        "data": config.data.source,
        "tokens_id": run.tokens_id,
        "bytes_per_token": run.bytes_per_token,
        "loss_floor": run.entropy_rate * run.bytes_per_token if run.entropy_rate else math.nan,
        "seconds": history["seconds"] / history["eval_loss"].shape[1],  # the pack's time, shared by its runs
    }


def _curve_rows(run: Any, r: int, history: Mapping[str, np.ndarray], diverged: bool) -> Iterator[dict[str, Any]]:
    flops = counts.flops_per_token(run.config.model)["flops"]
    before = 0
    for step, loss in zip(history["eval_step"], history["eval_loss"][:, r].mean(-1, dtype=np.float64), strict=True):
        if step == 0:
            continue
        tokens = step * run.config.batch_tokens
        yield {
            "run": run.id,
            "params": run.config.model.N,
            "step": step,
            "tokens": tokens,
            "flops": flops * tokens,
            "loss": loss,
            "train_loss": history["train_loss"][before:step, r].mean(dtype=np.float64),
        }
        before = step


def _position_rows(run: Any, r: int, history: Mapping[str, np.ndarray], diverged: bool) -> Iterator[dict[str, Any]]:
    for t, loss in enumerate(history["eval_loss"][-1, r]):
        yield {"run": run.id, "params": run.config.model.N, "position": t + 1, "loss": loss}


def _read_csv(path: Path) -> dict[str, list[str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = [line for line in csv.reader(file) if line]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a CSV table in UTF-8 ({error}); export it again as plain CSV") from error
    if not lines:
        raise InputError(f"{path}: empty; wanted a header line and one row per run")
    header = [name.strip() for name in lines[0]]
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise InputError(f"{path}: column {twice[0]!r} is there twice; give every column its own name")
    for i, line in enumerate(lines[1:], 1):
        if len(line) != len(header):
            raise InputError(f"{path}, row {i}: {len(line)} cells under {len(header)} column names; wanted as many")
    return {name: [line[k] for line in lines[1:]] for k, name in enumerate(header)}


def _read_parquet(path: Path) -> dict[str, list[Any]]:
    import pyarrow
    import pyarrow.parquet

    try:
        return pyarrow.parquet.read_table(path).to_pydict()
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise InputError(f"{path}: not a Parquet table ({str(error).splitlines()[0]}); write it again") from error


def _renamed(raw: dict[str, Any], columns: Mapping[str, str], source: str) -> dict[str, Any]:
    """The raw columns under their canonical names. A file's own column of that name gives way to the one asked for."""
    out = dict(raw)
    taken: dict[str, Any] = {}
    for canonical, name in columns.items():
        factor, star, rest = name.partition("*")
        scale = 1.0
        if name not in raw and star and _number(factor) is not None:
            scale, name = float(factor), rest.strip()
        if name not in raw:
            near = difflib.get_close_matches(name, list(raw), n=1, cutoff=0.3)
            hint = f"; nearest is {near[0]!r}" if near else ""
            raise InputError(f"{source}: no column {name!r} to take as {canonical}{hint}; found {', '.join(raw)}")
        taken[canonical] = raw[name] if scale == 1.0 else [scale * v for v in _column(canonical, raw[name], source)]
        out.pop(name, None)
    return {**out, **taken}


def _number(cell: Any) -> float | None:
    """A cell as a number, NaN where it is empty, None where it is text."""
    if cell is None:
        return math.nan
    if isinstance(cell, str):
        cell = cell.strip().replace("_", " ")
        if cell.lower() in ("", "na", "n/a", "null", "none", "nan"):
            return math.nan
    try:
        return float(cell)
    except (TypeError, ValueError):
        return None


def _column(name: str, values: Sequence[Any] | np.ndarray, source: str) -> np.ndarray:
    """One column: f64 where it holds numbers (NaN where empty), else str."""
    if name in TEXT_COLUMNS:
        return np.asarray(["" if v is None else str(v) for v in values], dtype=str)
    numbers = [_number(v) for v in values]
    if None in numbers:
        if name in NUMBER_COLUMNS:
            i = numbers.index(None)
            raise InputError(f"{source}, row {i + 1}, column {name}: found {values[i]!r}, wanted a number like 1.5e9")
        return np.asarray(["" if v is None else str(v) for v in values], dtype=str)
    return np.asarray(numbers, dtype=np.float64)


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return str(value)
    if math.isnan(value):
        return ""
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))


def _with_derived_columns(table: Table) -> Table:
    """tokens = C / 6N, flops = 6ND, epochs = tokens / unique_tokens, where a column is missing; each said in a note."""
    if table.has("params") and table.has("flops") and not table.has("tokens"):
        table = table.with_columns(tokens=table["flops"] / (6 * _nonzero(table["params"])))
        table = table.with_notes("tokens was missing: taken as flops / (6 params)")
    elif table.has("params") and table.has("tokens") and not table.has("flops"):
        table = table.with_columns(flops=6 * table["params"] * table["tokens"])
        table = table.with_notes("flops was missing: taken as 6 params tokens")
    for name, unit in (("tokens", "tokens"), ("unique_tokens", "tokens")):
        if table.has("params") and table.has(name):
            params, tokens = table["params"], table[name]
            # No language model has been trained on fewer tokens than a hundred-thousandth of a corpus of billions.
            if np.nanmax(tokens) < 1e5 and np.nanmin(params) > 1e5:
                raise InputError(
                    f"{table.source}: {name} goes up to {np.nanmax(tokens):g} and params to {np.nanmax(params):g}; "
                    f'wanted {unit}, this looks like billions; say {name}="1e9*{name}"'
                )
    if table.has("tokens") and table.has("unique_tokens") and not table.has("epochs"):
        table = table.with_columns(epochs=table["tokens"] / _nonzero(table["unique_tokens"]))
    return table


def _nonzero(column: np.ndarray) -> np.ndarray:
    return np.where(column == 0, np.nan, column)


def _without_copies(table: Table) -> Table:
    """Rows equal in every cell are one run written twice: the first is kept."""
    seen: dict[tuple[str, ...], int] = {}
    keep = np.ones(len(table), bool)
    for i, key in enumerate(zip(*(map(_cell, column) for column in table.columns.values()), strict=True)):
        keep[i] = seen.setdefault(key, i) == i
    table = table.where(keep, "equal in every cell to a row above")
    if table.has("run"):
        names, counts = np.unique(table["run"], return_counts=True)
        if np.any(counts > 1):
            again = ", ".join(names[counts > 1][:3])
            return table.with_notes(f"run ids that stand for more than one row, taken as separate runs: {again}")
    return table
