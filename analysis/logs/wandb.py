"""Weights & Biases: the CSV of a chart, a column per run, and those of its table of runs, a row per run."""

import ast
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.logs import settings
from analysis.logs.log import BY_CALLS, BY_POINTS, CALLS, Log, counted_by, curve_of, plain, step_column
from scaling.errors import InputError

RUNS = "W&B's CSV of runs"  # the format of rows of its table of runs
EDGES = ("__MIN", "__MAX")  # of the values that one point of a chart stands for
BETWEEN = " - "  # a run's name and its metric
PAGE = ("Name", "State")  # how its table of runs begins
EXPORTED = ("summary", "config", "name")  # columns of what its script for exports writes
LONGEST = 100_000  # characters of a cell there
# Columns of the table of runs that say nothing of the training.
LEFT_OUT = ("Notes", "User", "Tags", "Created", "Updated", "End Time", "Sweep", "Hostname", "Host", "GPU Type", "ID")


def is_chart(names: Sequence[str]) -> bool:
    """Whether all columns but the first are of one run each."""
    others = [name for name in names[1:] if not name.endswith(EDGES)]
    return bool(others) and BETWEEN not in names[0] and all(BETWEEN in name for name in names[1:])


def chart(columns: Mapping[str, Sequence[Any]]) -> list[Log]:
    """The runs of a chart; `x` is its first column, the updates unless it has another name."""
    names = list(columns)
    x = names[0]
    runs: dict[str, dict[str, Sequence[Any]]] = {}
    for name in names[1:]:
        if not name.endswith(EDGES):
            run, _, metric = name.rpartition(BETWEEN)
            runs.setdefault(re.sub(r"^Group: ", "", run), {})[metric] = columns[name]
    logs = []
    for run, own in runs.items():
        filled = [i for i in range(len(columns[x])) if any(cells[i] not in (None, "") for cells in own.values())]
        every: dict[str, Sequence[Any]] = {
            name: [cells[i] for i in filled] for name, cells in {x: columns[x], **own}.items()
        }
        step = step_column([name for name in every if plain(name) != "step" or name == x]) or "_row"
        if step == "_row":  # a chart over time or tokens: the rows are in their order
            every["_row"] = list(range(1, len(filled) + 1))
        curve, constant, notes = curve_of(every, step)
        counts = BY_CALLS if step.lower() == "step" else BY_POINTS if step == "_row" else counted_by(step)
        if step == "_row":
            notes = (*notes, f"the chart is over {x}: step only counts its points")
        elif counts == BY_CALLS:
            notes = tuple(dict.fromkeys((*notes, CALLS)))
        logs.append(Log(run, "W&B's CSV of a chart", curve, constant, notes, counts))
    return logs


def exported(columns: Mapping[str, Sequence[Any]], path: Path) -> list[Log]:
    """The runs of the script that its documents give for exports: mappings of Python as text, read as literals alone.

    Raises:
        InputError: a cell that is no such mapping.
    """
    logs = []
    for i, run in enumerate(columns["name"]):
        found: dict[str, Any] = {}
        for name in ("config", "summary"):
            words = re.sub(r"(?<=[:,\[ ])(nan|-?inf)(?=[,}\]])", "None", str(columns[name][i]))
            try:
                value = ast.literal_eval(words) if len(words) < LONGEST else None
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                value = None
            if not isinstance(value, dict):
                raise InputError(
                    f"{path}, row {i + 1}, column {name}: found {words[:40]!r}, wanted {{'lr': 0.001, ...}}"
                )
            found |= settings.flat(value)
        logs.append(Log(str(run), RUNS, {}, found))
    return logs


def is_runs(names: Sequence[str]) -> bool:
    return set(PAGE) <= set(names) and bool({"Created", "Runtime", "User", "Tags", "Sweep", "ID"} & set(names))


def runs(columns: Mapping[str, Sequence[Any]]) -> list[Log]:
    """The runs of the table of runs: their settings, and each metric as it was last logged."""
    known = [name for name in columns if name not in (*PAGE, *LEFT_OUT)]
    logs = []
    for i, run in enumerate(columns["Name"]):
        found = {("seconds" if name == "Runtime" else name): columns[name][i] for name in known}
        state = str(columns["State"][i]).strip().lower()
        logs.append(Log(str(run), RUNS, {}, found | {"status": state}))
    return logs
