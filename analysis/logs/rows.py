"""Tables of cells: which of them are logs, a row per step, and which are tables of runs, a row per run."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis.logs import mlflow, tensorboard, wandb
from analysis.logs.log import TABLES, Log, counted_by, curve_of, plain, run_of, step_column, value_of
from analysis.table.columns import UNNAMED, number, surely

RUN = ("run", "run_name", "run_id", "run_label", "experiment", "experiment_name", "exp_name", "name", "model_name")
SIZES = ("params", "tokens", "flops", "unique_tokens")
Columns = Mapping[str, Sequence[Any]]


def logs_in(columns: Columns, path: Path, root: Path, *, alone: bool) -> list[Log] | None:
    """The logs that a table holds; None where it is a table of runs, or of curves in our own names.

    Args:
        alone: the only file: a curve with `tokens` or `params` of its own is then a table as it stands.
    """
    index = next((n for n in UNNAMED if n in columns and None not in map(number, columns[n])), None)
    if index is not None and step_column(list(columns)):
        rest = {name: cells for name, cells in columns.items() if name != index}
        found = logs_in(rest, path, root, alone=alone)
        note = f"the column {index!r} numbers the rows and is left out"
        return found and [dataclasses.replace(found[0], notes=(*found[0].notes, note)), *found[1:]]
    names = list(columns)
    if not names or not len(columns[names[0]]):
        return None
    if set(tensorboard.CSV) == set(names):
        return [tensorboard.exported(columns, path, root)]
    if by := mlflow.history_columns(names):
        return mlflow.history(columns, by)
    if mlflow.is_runs(names):
        return mlflow.runs(columns)
    if wandb.is_runs(names):
        return wandb.runs(columns)
    if set(wandb.EXPORTED) <= set(names):
        return wandb.exported(columns, path)
    if wandb.is_chart(names):
        return wandb.chart(columns)
    rows, step = _by_run(columns, alone=alone), step_column(names)
    if rows is None or step is None:
        return None
    logs = []
    for run, own in rows.items():
        part = {name: [cells[i] for i in own] for name, cells in columns.items() if not run or plain(name) not in RUN}
        curve, settings, notes = curve_of(part, step)
        lightning = path.name.startswith("metrics.csv") and "epoch" in names
        form = "Lightning's metrics.csv" if lightning else "rows by step"
        logs.append(Log(run or run_of(path, root), form, curve, settings, notes, counted_by(step)))
    return logs


def says_of_training(names: Sequence[str]) -> bool:
    """Whether columns of such names may be a log or a table of runs: what else lies in a folder is left alone."""
    words = {word for name in names for word in plain(name).split("_")}
    return bool(words & {"loss", "ppl", "perplexity", "bpb", "nll"})


def as_logs(columns: Columns, path: Path, root: Path) -> list[Log]:
    """The rows of a table of runs, each as a log that holds its results alone."""
    run = next((name for name in ("run", "name", "id", "run_id") if name in columns), None) or surely("run", columns)
    n = len(next(iter(columns.values()), ()))
    stem = run_of(path, root)
    logs = []
    for i in range(n):
        row = {name: cells[i] for name, cells in columns.items()}
        name = str(row.pop(run)) if run else f"{stem}:{i + 1}" if n > 1 else stem
        logs.append(Log(name, TABLES, {}, row))
    return logs


def _is_ours(columns: Columns) -> bool:
    """Whether a table has our own names of a curve: its rows are taken as they stand."""
    filled = "loss" in columns and not any(cell in (None, "") for cell in columns["loss"])
    return filled and any(name in columns for name in ("run", "step", *SIZES))


def _by_run(columns: Columns, *, alone: bool) -> dict[str, list[int]] | None:
    """The rows of each run of a table of curves, "" where all are one run's; None where a row is a run.

    The steps of a run rise, but for what was trained again after a stop; a run has one size, and two rows or more.
    """
    step = step_column(list(columns))
    if step is None or (alone and _is_ours(columns)) or not says_of_training(list(columns)):
        return None
    run = next((name for name in columns if plain(name) in RUN), None)
    rows: dict[str, list[int]] = {}
    for i, name in enumerate(columns[run] if run else [""] * len(columns[step])):
        rows.setdefault(str(name), []).append(i)
    size = "params" if "params" in columns else surely("params", [name for name in columns if name != step])
    for own in rows.values():
        steps = np.array([value_of(columns[step][i]) for i in own])
        steps = steps[np.isfinite(steps)]
        again = (np.diff(steps) < 0) & (steps[1:] <= steps[0]) if len(steps) else np.zeros(0, bool)
        if len(steps) < 2 or not np.ptp(steps) or again.any():
            return None
        if size and len({str(columns[size][i]) for i in own if columns[size][i] not in (None, "")}) > 1:
            return None
    return rows
