"""MLflow: the folder of a run in its file store, and the CSVs of its page and of `search_runs`.

mlruns/EXPERIMENT/RUN/meta.yaml      run_id, run_name, status (a number)
mlruns/EXPERIMENT/RUN/metrics/KEY    lines of "timestamp value step", KEY may hold /
mlruns/EXPERIMENT/RUN/params/KEY     the value as text
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.logs import settings as files
from analysis.logs.log import Log, curve_of
from analysis.table import opened
from scaling.errors import InputError

STATUS = {1: "running", 2: "scheduled", 3: "finished", 4: "failed", 5: "killed"}
PAGE = ("Start Time", "Duration", "Run ID", "Name")  # how the page's CSV of runs begins
LEFT_OUT = ("Start Time", "Duration", "Run ID", "Source Type", "Source Name", "User")
# A row per run, metric and step: the page's CSV of metrics first.
HISTORY = (("run_id", "run", "run_name"), ("key", "metric", "tag"), ("value",), ("step", "_step"))


def is_run(folder: Path) -> bool:
    return (folder / "meta.yaml").is_file() and (folder / "metrics").is_dir()


def run(folder: Path) -> Log:
    """A run of the file store.

    Raises:
        InputError: a damaged meta.yaml or metric.
    """
    try:
        meta = files.plain_yaml(opened.text(folder / "meta.yaml"))
    except ValueError as error:
        raise InputError(f"{folder / 'meta.yaml'}: no YAML ({str(error).splitlines()[0]})") from error
    meta = meta if isinstance(meta, dict) else {}
    rows: list[dict[str, Any]] = []
    for key, path in _values(folder / "metrics"):
        for number, line in enumerate(opened.text(path).splitlines(), 1):
            words = line.split()
            if len(words) not in (2, 3):
                raise InputError(
                    f"{path}, line {number}: {len(words)} words; wanted MLflow's timestamp, value and step"
                )
            rows.append({"step": words[2] if len(words) == 3 else number - 1, key: words[1]})
    settings = {key: opened.text(path).strip() for key, path in _values(folder / "params")}
    if meta.get("status") in STATUS:
        settings["status"] = STATUS[meta["status"]]
    columns = {name: [row.get(name) for row in rows] for name in dict.fromkeys(n for row in rows for n in row)}
    curve, _, notes = curve_of(columns or {"step": []}, "step")
    return Log(str(meta.get("run_name") or folder.name), "MLflow", curve, settings, notes)


def is_runs(names: Sequence[str]) -> bool:
    return tuple(names[:4]) == PAGE or {"run_id", "experiment_id"} <= set(names)


def runs(columns: Mapping[str, Sequence[Any]]) -> list[Log]:
    """The runs of the page's CSV, or of what `search_runs` gave."""
    logs = []
    for i in range(len(next(iter(columns.values())))):
        row = {name: cells[i] for name, cells in columns.items()}
        if "Run ID" in row:
            found = {name: cell for name, cell in row.items() if name not in (*LEFT_OUT, "Name", "Status")}
            name, status = row["Name"] or row["Run ID"], row.get("Status", "")
        else:
            found = {key.split(".", 1)[1]: cell for key, cell in row.items() if key.startswith(("metrics.", "params."))}
            name, status = row.get("tags.mlflow.runName") or row["run_id"], row.get("status", "")
        found |= {"status": str(status).lower()} if status else {}
        logs.append(Log(str(name), "MLflow's CSV", {}, found))
    return logs


def history_columns(names: Sequence[str]) -> tuple[str, ...] | None:
    """The columns of run, metric, value and step of a table with a row for each; None where it is another."""
    found = tuple(next((one for one in wanted if one in names), "") for wanted in HISTORY)
    return found if all(found) else None


def history(columns: Mapping[str, Sequence[Any]], by: Sequence[str]) -> list[Log]:
    """The runs of a table with a row per run, metric and step."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for run, key, value, step in zip(*(columns[name] for name in by), strict=True):
        rows.setdefault(str(run), []).append({"step": step, str(key): value})
    logs = []
    for name, own in rows.items():
        keys = dict.fromkeys(key for row in own for key in row)
        curve, settings, notes = curve_of({key: [row.get(key) for row in own] for key in keys}, "step")
        logs.append(Log(name, "rows by run, metric and step", curve, settings, notes))
    return logs


def _values(folder: Path) -> Iterator[tuple[str, Path]]:
    """Keys and their files, in order; a key with a / lies in a folder."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path.relative_to(folder).as_posix(), path
