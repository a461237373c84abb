"""JSON and JSON Lines: the formats of tools, and tables as rows or as columns, nested or not."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.logs import lm_eval, rows, settings, tensorboard, trainer
from analysis.logs.log import Log, counted_by, curve_of, run_of, step_column
from analysis.table import opened
from scaling.errors import InputError

Columns = dict[str, list[Any]]


def read(text: str, path: Path, root: Path, *, alone: bool) -> list[Log] | Columns:
    """The logs of a JSON or JSON Lines file, or its columns where it is a table of runs.

    Raises:
        InputError: neither, or nothing in it that is a table.
    """
    value, cut = _value(text, path)
    if trainer.is_state(value):
        return [trainer.state(value, path, root)]
    if lm_eval.is_results(value):
        return [lm_eval.results(value, path, root)]
    if isinstance(value, list) and value and all(isinstance(one, list) and len(one) == 3 for one in value):
        columns: Columns = {name: [one[k] for one in value] for k, name in enumerate(tensorboard.CSV)}
    elif isinstance(value, dict) and (log := _one_run(value, path, root)):
        return [log]
    else:
        columns = _columns(value, path)
    logs = rows.logs_in(columns, path, root, alone=alone)
    if cut and not logs:
        raise InputError(f"{path}: {cut}; correct or delete the line")
    if not cut:
        return logs or columns
    return [dataclasses.replace(log, notes=(*log.notes, f"{path.name}: {cut}")) for log in logs or ()]


def _value(text: str, path: Path) -> tuple[Any, str]:
    """The value of a JSON text, or the list of those of its lines, and what is wrong with a last line that was cut."""
    try:
        return opened.json_in(text), ""
    except ValueError as error:
        lines = [line for line in text.splitlines() if line.strip()]
        found = []
        for number, line in enumerate(lines, 1):
            try:
                found.append(opened.json_in(line))
            except ValueError as problem:
                if number == 1:
                    raise InputError(f"{path}: neither JSON ({error}) nor JSON Lines; write it again") from problem
                if number == len(lines) and isinstance(
                    problem, json.JSONDecodeError
                ):  # a run that was stopped while it wrote
                    return found, f"line {number}, the last, is cut"
                raise InputError(f"{path}, line {number}: no JSON ({problem}); correct or delete the line") from problem
        return found, ""


def _one_run(value: Mapping[str, Any], path: Path, root: Path) -> Log | None:
    """A file that holds one run: settings and results, and lists by step where there are any."""
    lists = {name: cells for name, cells in _lists(value).items() if cells}
    step = step_column(list(lists)) or next((name for name in lists if step_column([name.rpartition(".")[2]])), None)
    if step:
        same = {name: cells for name, cells in lists.items() if len(cells) == len(lists[step])}
        last = {name.rpartition(".")[2]: cells for name, cells in same.items()}  # history.val_loss is val_loss
        short = last if len(last) == len(same) else same
        step = step.rpartition(".")[2] if short is last else step
        curve, texts, notes = curve_of(short, step)
        others = [name for name in lists if name not in same]
        said = (f"{path.name}: lists of another length are left out: {', '.join(others[:5])}",) if others else ()
        return Log(
            run_of(path, root), "JSON", curve, {**settings.flat(value), **texts}, (*notes, *said), counted_by(step)
        )
    flat = settings.flat(value)
    if flat and not lists and rows.says_of_training(list(flat)) and not _of_runs(value):
        return Log(run_of(path, root), "JSON", {}, flat)
    return None


def _of_runs(value: Mapping[str, Any]) -> bool:
    """Whether a mapping holds runs by name, or columns by row."""
    inner = [set(one) for one in value.values() if isinstance(one, Mapping)]
    return len(inner) > 1 and len(inner) == len(value) and bool(set.intersection(*inner))


def _lists(value: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The lists of numbers of a mapping and of the mappings in it, by name."""
    found: dict[str, list[Any]] = {}
    for name, one in value.items():
        inner = _flat_lists(one)
        found |= {f"{name}.{key}" if key else name: cells for key, cells in inner.items()}
    return found


def _flat_lists(one: Any) -> dict[str, list[Any]]:
    if isinstance(one, list):
        return {"": one} if all(cell is None or isinstance(cell, (bool, int, float)) for cell in one) else {}
    if isinstance(one, Mapping):
        return {name: cells for name, cells in one.items() if isinstance(cells, list) and "" in _flat_lists(cells)}
    return {}


def _columns(value: Any, path: Path) -> Columns:
    """A table as its columns: a list of rows, {name: row}, {column: cells}, {column: {row: cell}}, pandas' "split"."""
    if isinstance(value, dict):
        if {"columns", "data"} <= set(value) and isinstance(value["data"], list):
            value = [dict(zip(map(str, value["columns"]), row, strict=False)) for row in value["data"]]
        elif len(value) == 1 and isinstance(only := next(iter(value.values())), list) and _are_rows(only):
            value = only
        elif value and all(isinstance(cells, list) for cells in value.values()):
            return {str(name): list(cells) for name, cells in value.items()}
        elif _of_runs(value):
            inner = list(value.values())
            by_row = all(not isinstance(cell, Mapping) for one in inner for cell in one.values())
            counted = all(str(key).isdigit() for one in inner for key in one)
            if by_row and counted:  # {column: {"0": cell}}
                index = list(dict.fromkeys(key for one in inner for key in one))
                return {str(name): [cells.get(key) for key in index] for name, cells in value.items()}
            value = [{"run": name, **row} for name, row in value.items()]
        elif (tables := [one for one in value.values() if isinstance(one, list) and _are_rows(one)]) and len(
            tables
        ) == 1:
            value = tables[0]
    if not isinstance(value, list) or not _are_rows(value):
        raise InputError(f"{path}: JSON, and no table in it; wanted a list of rows, each {{column: value}}")
    flat = [settings.flat(row) for row in value]
    names = dict.fromkeys(name for row in flat for name in row)
    return {name: [row.get(name) for row in flat] for name in names}


def _are_rows(values: Sequence[Any]) -> bool:
    return bool(values) and all(isinstance(row, dict) for row in values)
