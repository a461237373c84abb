"""Logs and tables that other tools left, as runs and curves: one module per format, `read` for all of them.

What a file is, its content says; its name only where that fits several. A folder is searched for logs, and what lies
beside them in it, weights and texts, is left alone. Units and names of columns: docs/table.md.
"""

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.digits import plural
from analysis.logs import json_files, mlflow, rows, runs, settings, step_lines, tensorboard
from analysis.logs.log import TABLES, Log, joined
from analysis.logs.wandb import RUNS
from analysis.table import opened
from analysis.table.files import read_csv, read_parquet
from scaling.buckets import Bucket
from scaling.errors import InputError

MOST_FILES = 20_000  # below a folder
NAMED = 3  # files that a note names
QUOTING = (".py", ".md", ".rst", ".ipynb")  # in a folder: programs and texts, which may show lines of a log
BESIDE = ("meta.yaml", *(Path(name).name for name in settings.FILES))  # files of settings, read with the logs
KNOWN = (
    "tables as CSV (with , ; or tabs), Parquet, JSON and JSON Lines; W&B's CSVs, Lightning's metrics.csv, "
    "trainer_state.json, TensorBoard's event files and CSV, lines of steps (nanoGPT, nanochat), MLflow's folders and "
    "CSVs, lm-evaluation-harness results, any of these as .gz; the folder of a study"
)

Columns = Mapping[str, Sequence[Any]]


@dataclasses.dataclass(frozen=True)
class Found:
    """What was read.

    Attributes:
        runs: columns of a table, a row per run; of a single file that is a table, that table as it stands.
        curves: columns, a row per run and evaluation; empty where nothing read has curves.
        notes: how it was read, and what was not understood.
        formats: what wrote the logs, in words; empty where there is one table and no log.
    """

    runs: Columns
    curves: Columns
    notes: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()


def read(paths: Sequence[Path]) -> Found:
    """The logs and tables in these files and folders, as one table of runs and one of curves.

    Raises:
        InputError: no such file, none that can be read, or a damaged one that was named itself.
    """
    for path in paths:
        if not path.exists():
            raise InputError(f"{path}: no such file or folder; wanted {KNOWN}")
        if isinstance(path, Bucket) and (len(paths) > 1 or path.is_dir()):
            raise InputError(
                f"{path}: it has no study.json, and folders of logs and several files are read from a disk alone; copy "
                "it (gcloud storage rsync --recursive, aws s3 sync), or name one table"
            )
    if len(paths) == 1 and not paths[0].is_dir():
        one = _of_file(paths[0], paths[0].parent, alone=True)
        if not isinstance(one, list):
            return Found(one, {})
        return _found(_with_settings(one, paths[0], paths[0].parent), ())
    root = _root(paths)
    logs: list[Log] = []
    unknown: list[Path] = []
    notes: list[str] = []
    tables: dict[Path, list[Log]] = {}
    for path, named in list(_files(paths)):  # to its end, which closes the folders
        if path.is_dir():
            logs.append(mlflow.run(path))
            continue
        before = len(logs)
        try:
            one = _of_file(path, root, alone=False) if named or _may_be(path) else None
        except InputError as error:
            if named:
                raise
            notes.append(str(error))
            continue
        if one is None:
            unknown.append(path)
        elif isinstance(one, list):
            logs += _with_settings(one, path, root)
        elif named or rows.says_of_training(list(one)):
            logs += rows.as_logs(one, path, root)
        else:
            unknown.append(path)
        if one is not None and (
            rows_of := [log for log in logs[before:] if not log.curve and log.format in (TABLES, RUNS)]
        ):
            tables[path] = rows_of
    if not logs:
        where = ", ".join(map(str, paths[:NAMED]))
        raise InputError(f"{where}: no log or table of runs among {len(unknown) + len(notes)} files; wanted {KNOWN}")
    if unknown:
        names = ", ".join(path.name for path in unknown[:NAMED])
        notes.append(f"{len(unknown)} files that are no logs are left alone: {names}{', ...' * (len(unknown) > NAMED)}")
    return _found(logs, notes, tables)


def _found(logs: Sequence[Log], notes: Sequence[str], tables: Mapping[Path, Sequence[Log]] | None = None) -> Found:
    """Logs as tables, the logs of one run joined. tables: the rows of each file that is a table of runs."""
    of_run: dict[str, list[Log]] = {}
    whole: list[Log] = []
    for log in logs:
        if log.curve:
            of_run.setdefault(log.run, []).append(log)
        else:
            whole.append(log)
    meant = {log: run for log in whole if (run := _same(log.run, of_run))}
    again = list(meant)
    whole = [log for log in whole if log not in meant]
    states = {run: _newest(own) for run, own in of_run.items()}
    older = sum(len(own) for own in of_run.values()) - sum(len(own) for own in states.values())
    whole = [
        runs.with_results(joined(own), [log for log in again if meant[log] == run]) for run, own in states.items()
    ] + whole
    columns, said = runs.runs(whole)
    formats = tuple(dict.fromkeys(log.format for log in whole))
    told = [f"{len(whole)} {plural(len(whole), 'run', 'runs')} read from {' and '.join(formats)}"]
    if again:
        n = len(again)
        told.append(
            f"{n} {plural(n, 'row of a table tells', 'rows of tables tell')} of runs whose logs are here too: "
            "taken for what these do not say"
        )
    for table, own in (tables or {}).items() if of_run else ():
        if not any(log in meant for log in own):
            names = f"{', '.join(list(of_run)[:NAMED])}{', ...' * (len(of_run) > NAMED)}"
            told.append(f"no row of {table.name} names a run of the logs (they are called {names})")
    if older:
        told.append(f"{older} earlier checkpoints of the same runs are left out")
    return Found(columns, runs.curves(whole), (*told, *said, *notes), formats)


def _same(name: str, runs: Mapping[str, Any]) -> str | None:
    """The run of this name, or the only one whose path ends in it; None without one."""
    if name in runs:
        return name
    ending = [run for run in runs if run.endswith(f"/{name}")]
    return ending[0] if name and len(ending) == 1 else None


def _newest(logs: Sequence[Log]) -> list[Log]:
    """Of the states of one run that its checkpoints hold, the last; all logs of other formats."""
    states = [log for log in logs if log.format == "the Hugging Face Trainer"]
    last = max(states, key=lambda log: log.settings.get("steps") or 0, default=None)
    return [log for log in logs if log is last or log not in states]


def _of_file(path: Path, root: Path, *, alone: bool) -> list[Log] | Columns:
    """The logs of a file, or the columns of a table."""
    suffix = _suffix(path)
    if suffix in (".parquet", ".pq"):
        columns: Columns = read_parquet(path)
        return rows.logs_in(columns, path, root, alone=alone) or columns
    head = opened.head(path)
    if head[:4] == b"PAR1":
        return read_parquet(path)
    if tensorboard.is_events(head):
        return [tensorboard.events(path, root)]
    words = head.decode("utf-8-sig", "replace").lstrip()
    first = words.partition("\n")[0]
    if suffix in (".csv", ".tsv") and not step_lines.is_log(first):
        columns = read_csv(path)
        return rows.logs_in(columns, path, root, alone=alone) or columns
    if b"\0" in head or "\ufffd" in words[:1000]:
        raise InputError(f"{path}: binary, and no format that is known; wanted {KNOWN}")
    if words[:1] in ("{", "[") and (suffix in (".json", ".jsonl", ".ndjson") or not step_lines.is_log(words)):
        return json_files.read(opened.text(path), path, root, alone=alone)
    if step_lines.is_log(words) or (len(head) == 2**18 and step_lines.is_log(opened.text(path))):
        return [step_lines.log(opened.text(path), path, root)]
    second = words.partition("\n")[2].partition("\n")[0]
    if any(first.count(mark) and first.count(mark) == second.count(mark) for mark in ",;\t"):
        columns = read_csv(path)
        return rows.logs_in(columns, path, root, alone=alone) or columns
    raise InputError(f"{path}: no table and no log that is known; wanted {KNOWN}")


def _suffix(path: Path) -> str:
    """What a file says of itself at the end of its name, packed by gzip or not."""
    return next((one for one in map(str.lower, reversed(path.suffixes)) if one != ".gz"), "")


def _may_be(path: Path) -> bool:
    """Whether a file in a folder may be a log, by its first bytes."""
    if _suffix(path) in QUOTING:
        return False
    head = opened.head(path, 4096)
    if head[:4] == b"PAR1" or tensorboard.is_events(head):
        return True
    if not head or b"\0" in head:
        return False
    if head.lstrip()[:1] in (b"{", b"["):  # a file of texts or of a tokenizer may be huge
        return b"loss" in (start := opened.head(path)) or b"results" in start or b"log_history" in start
    if _suffix(path) in (".csv", ".tsv"):
        return True
    return step_lines.is_log(opened.head(path).decode("utf-8", "replace"))


def _with_settings(logs: Sequence[Log], path: Path, root: Path) -> list[Log]:
    """The logs with the settings that lie beside them; what a log says itself comes first."""
    found, notes = settings.beside(path, root)
    if not found and not notes:
        return list(logs)
    return [dataclasses.replace(log, settings={**found, **log.settings}, notes=(*log.notes, *notes)) for log in logs]


def _files(paths: Sequence[Path]) -> Iterator[tuple[Path, bool]]:
    """The files below these paths, in order, and the folders of MLflow's runs; and whether a file was named itself."""
    count = 0
    for path in paths:
        if not path.is_dir():
            yield path, True
            continue
        for folder, folders, files in os.walk(path):
            here = Path(folder)
            if "study.json" in files:
                raise InputError(
                    f"{here}: the folder of a study, which is read alone; scaling study export {here} --csv runs.csv "
                    "makes a table of it to give here"
                )
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            if mlflow.is_run(here):
                folders.clear()
                yield here, False
                continue
            for name in sorted(files):
                count += 1
                if count > MOST_FILES:
                    raise InputError(f"{path}: more than {MOST_FILES} files; name the folders or files of the logs")
                if not name.startswith(".") and name not in BESIDE and (here / name).is_file():
                    yield here / name, False


def _root(paths: Sequence[Path]) -> Path:
    """The folder below which runs are named."""
    folders = [path if path.is_dir() else path.parent for path in paths]
    return Path(os.path.commonpath([folder.absolute() for folder in folders])) if len(folders) > 1 else folders[0]
