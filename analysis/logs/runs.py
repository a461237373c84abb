"""Logs as the columns of two tables: a row per run, and a row per run and evaluation."""

import dataclasses
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from analysis.digits import count_of
from analysis.logs.log import (
    BATCH,
    BY_CALLS,
    BY_POINTS,
    BY_UPDATES,
    CALLS,
    SEEDS,
    TABLES,
    TOKENS,
    Column,
    Log,
    named_curve,
    plain,
    step_column,
    value_of,
)
from analysis.table import ENDED
from analysis.table.columns import COLUMNS, NUMBER_COLUMNS, TEXT_COLUMNS, number

LAST = 0.05  # share of the updates over whose end training losses are averaged, as in our own records
STEADY = 0.01  # relative: tokens per update that vary by less are one batch
# Words in names of what says how fast a machine was or when: no measurement of the run.
SPEED = frozenset(
    (
        *("runtime", "second", "seconds", "sec", "time", "timestamp", "wall", "elapsed", "eta", "dt", "ms"),
        *("mfu", "memory", "mem", "gpu", "cpu", "utilization", "epoch", "progress"),
    )
)
MEASURED = ("loss", "train_loss", "tokens", "flops", "steps", "step", "bits_per_byte", "loss_min", "run", "status")
AT_THE_END = ("loss", "train_loss", "tokens", "flops", "bits_per_byte", "loss_min", "tokens_at_min")  # of a run
COUNT = re.compile(r"(?<![A-Za-z0-9.=])(\d+(?:\.\d+)?[kKmMbB])(?![A-Za-z0-9=])")  # in the id of a run
PAIR = re.compile(r"([A-Za-z][\w.]*?)=([-+]?\d[\d.]*(?:[eE][-+]?\d+)?[kKMBT]?)(?![A-Za-z0-9])")


def runs(logs: Sequence[Log]) -> tuple[dict[str, list[Any]], tuple[str, ...]]:
    """One row per log, and notes. Columns by name, None for an empty cell.

    `loss`, `tokens`, `flops` and `steps` are those of the last evaluation; other columns of the log are as last logged.
    """
    rows, earlier = [], 0
    logs = [log if log.curve or log.format == TABLES else _named(log) for log in logs]
    for log in logs:
        row, before_end = _row(log)
        rows.append(row)
        earlier += before_end
    names = list(dict.fromkeys(name for row in rows for name in row))
    counts = [COUNT.findall(log.run) for log in logs]
    if counts and len({len(found) for found in counts}) == 1:  # gpt-70M-300B: what each counts, a person knows
        for row, found in zip(rows, counts, strict=True):
            row |= {f"count_{k}_in_run": count_of(words) for k, words in enumerate(found, 1)}
        names += [f"count_{k}_in_run" for k in range(1, len(counts[0]) + 1)]
    if "status" in names:  # a log that does not say whether its run ended is no reason to leave it out
        for row in rows:
            row.setdefault("status", "done")
    columns = _tidy({name: [row.get(name) for row in rows] for name in names})
    notes = [*_once(note for log in logs for note in log.notes)]
    if earlier:
        notes.append(f"{earlier} of {len(logs)} runs went on after their last evaluation: D and L are taken there")
    return columns, tuple(notes)


def curves(logs: Sequence[Log]) -> dict[str, list[Any]]:
    """One row per run and evaluation, or per logged step of a run without; empty where no log has a curve.

    `train_loss` is the mean since the row before, and settings of the run stand in each of its rows.
    """
    parts = [_evaluations(log) for log in logs if len(log.curve.get("step", ()))]
    names = list(dict.fromkeys(name for part, _ in parts for name in part))
    return _tidy(
        {name: [value for part, n in parts for value in (part[name] if name in part else [None] * n)] for name in names}
    )


def with_results(log: Log, results: Sequence[Log]) -> Log:
    """A log with what rows of tables say of its run; what it measured and says itself comes first.

    Tokens of the whole run, which a curve without tokens has not, are those of its updates; where its steps count
    calls of W&B's log, those of the calls, and the updates too where the tables tell them.
    """
    more: dict[str, Any] = {}
    notes: list[str] = []
    for one in results:
        said = (one if one.format == TABLES else _named(one)).settings
        said = {name: value for name, value in said.items() if value not in (None, "")}
        differ = [name for name, value in said.items() if more.get(name, value) != value]
        notes += [f"{log.run}: rows of it differ in {', '.join(differ[:3])}; the last one counts"] if differ else []
        more |= said
    tokens, steps = (_above_zero(more.get(name)) for name in ("tokens", "steps"))
    end = log.curve["step"][-1] if len(log.curve["step"]) else math.nan
    if log.counts == BY_CALLS:
        told = any("_step" in one.settings for one in results)
        updates = steps if "_step" in more or not told else math.nan
        ended = str(more.get("status", "done")).lower() in ENDED
        steps = _above_zero(more.get("_step", steps if told else end if ended else None))
        if math.isfinite(updates / steps):
            curve = {**log.curve, "step": log.curve["step"] / steps * updates}
            own = tuple(note for note in log.notes if note != CALLS)
            log = dataclasses.replace(log, curve=curve, notes=own, counts=BY_UPDATES)
            end, steps = end / steps * updates, updates
            notes.append("Step counts calls of W&B's log: the updates are those of the table of runs, in proportion")
    if math.isfinite(tokens / steps) and not _any(log.curve.get("tokens")):
        if log.counts == BY_CALLS:
            curve = {**log.curve, "tokens": log.curve["step"] * (tokens / steps)}
            log = dataclasses.replace(log, curve=curve)
        if log.counts != BY_POINTS and abs(end / steps - 1) > LAST:
            notes.append("the curve ends at another step than its table of runs tells: D is in proportion to the steps")
    if math.isfinite(tokens / steps) and log.counts != BY_CALLS:
        more.setdefault("batch_tokens", tokens / steps)
    return dataclasses.replace(log, settings={**more, **log.settings}, notes=(*log.notes, *notes))


def _above_zero(cell: Any) -> float:
    """A number above 0, NaN for all else."""
    found = number(cell)
    return found if found is not None and found > 0 else math.nan


def _row(log: Log) -> tuple[dict[str, Any], bool]:
    """The row of a run, and whether it went on after the evaluation that the row tells of."""
    row: dict[str, Any] = {"run": log.run}
    settings = _settings(log)
    curve = log.curve
    step = curve.get("step", np.zeros(0))
    if not len(step):
        return {**row, **settings}, False
    losses, training = curve.get("loss"), curve.get("train_loss")
    marks = _marks(curve)
    at = int(np.flatnonzero(np.isfinite(marks))[-1])
    tokens, flops = _tokens(log, settings), _flops(log, settings)
    row["status"] = _status(log, settings)
    row |= {"steps": step[at]} if log.counts != BY_POINTS else {}
    row |= {"tokens": tokens[at]} if tokens is not None else {}
    row |= {"flops": flops[at]} if flops is not None else {}
    if losses is not None and _any(losses):
        finite = np.where(np.isfinite(losses), losses, np.inf)
        row |= {"loss": losses[at], "loss_min": finite.min()}
        row |= {"tokens_at_min": tokens[finite.argmin()]} if tokens is not None else {}
    if training is not None and _any(training):
        late = training[np.isfinite(training) & (step >= step[-1] * (1 - LAST))]
        row["train_loss"] = late.mean() if len(late) else training[np.isfinite(training)][-1]
    rate = curve.get("learning_rate")
    row |= {"learning_rate": float(rate[np.isfinite(rate)].max())} if rate is not None and _any(rate) else {}
    for name, values in curve.items():
        if name not in row and name != "step" and not SPEED & set(plain(name).split("_")) and _any(values):
            row[name] = values[np.isfinite(values)][-1]
    row = {name: value for name, value in row.items() if value != ""}
    kept = {name: value for name, value in settings.items() if name not in MEASURED or name not in row}
    return {**row, **kept}, bool(step[at] < step[-1] * (1 - LAST))


def _evaluations(log: Log) -> tuple[dict[str, list[Any]], int]:
    """The columns of a run's curve, and how many rows they have."""
    curve, settings = log.curve, _settings(log)
    step = curve["step"]
    marks = _marks(curve)
    rows = np.flatnonzero(np.isfinite(marks) & (step > 0))
    found: dict[str, Any] = {"run": [log.run] * len(rows), "step": step[rows]}
    if log.counts != BY_POINTS:
        found["steps"] = [settings.get("steps", step[-1])] * len(rows)
    status = _status(log, settings)
    found |= {"status": [status] * len(rows)} if status else {}
    for name, values in (("tokens", _tokens(log, settings)), ("flops", _flops(log, settings))):
        found |= {name: values[rows]} if values is not None else {}
    for name, values in curve.items():
        if name == "train_loss":
            found[name] = _means(values, rows)
        elif name not in found:
            found[name] = np.where(np.isfinite(values), values, math.nan)[rows]
    found |= {name: [value] * len(rows) for name, value in settings.items() if name not in (*found, *AT_THE_END)}
    return {name: list(values) for name, values in found.items()}, len(rows)


def _named(log: Log) -> Log:
    """A log that holds results alone, under the names of our tables; its count of updates is `steps`."""
    own_names = [name for name in log.settings if not name.startswith("_") or name == "_step"]  # W&B's clock has a _
    cells = {name: np.array([value_of(log.settings[name])]) for name in own_names}
    named, notes = named_curve(cells, {})
    own = {id(values): name for name, values in cells.items()}
    found = {name: log.settings[own[id(v)]] if id(v) in own else float(v[0]) for name, v in named.items()}
    if (step := step_column(list(found))) and "steps" not in found:
        found["steps"] = found.pop(step)
        notes = (*notes, CALLS) if step == "_step" else notes
    return dataclasses.replace(log, settings=found, notes=(*log.notes, *notes))


def _marks(curve: Mapping[str, Column]) -> Column:
    """The column whose finite cells are the rows of a curve: the held-out loss, else what comes nearest to it."""
    for name in ("loss", "bits_per_byte", "train_loss"):
        if _any(curve.get(name)):
            return curve[name]
    return curve["step"]


def _means(values: Column, rows: np.ndarray) -> list[float]:
    """The mean of what was logged after the row before, up to each of these rows."""
    means, after = [], 0
    for row in rows:
        part = values[after : row + 1]
        part = part[np.isfinite(part)]
        means.append(float(part.mean()) if len(part) else math.nan)
        after = row + 1
    return means


def _any(values: Column | None) -> bool:
    return values is not None and bool(np.isfinite(values).any())


def _status(log: Log, settings: Mapping[str, Any]) -> str:
    """What the log says of the run's end; "diverged" where its last loss is no number, "" where nothing is said."""
    for name in ("loss", "train_loss"):
        logged = log.curve.get(name, np.zeros(0))
        logged = logged[~np.isnan(logged)]
        if len(logged) and np.isinf(logged[-1]):
            return "diverged"
    return str(settings.get("status", ""))


def _tokens(log: Log, settings: Mapping[str, Any]) -> Column | None:
    """Tokens so far at each step: as logged, in between in proportion to the updates; else updates times the batch."""
    step, tokens = log.curve["step"], log.curve.get("tokens")
    if not _any(tokens) or tokens is None:
        batch = settings.get("batch_tokens")
        found = number(batch) if batch is not None else None
        return step * found if found and math.isfinite(found) and log.counts != BY_POINTS else None
    known = np.isfinite(tokens) & (step > 0)
    if not known.any():
        return tokens
    each = tokens[known] / step[known]
    if np.ptp(each) <= STEADY * each.max():
        return np.where(np.isfinite(tokens), tokens, step * each[-1])
    return np.where(np.isfinite(tokens), tokens, np.interp(step, step[known], tokens[known], math.nan, math.nan))


def _flops(log: Log, settings: Mapping[str, Any]) -> Column | None:
    """FLOP so far at each step: as logged, else in proportion to the updates where the log gives those of the run."""
    if _any(log.curve.get("flops")):
        return log.curve["flops"]
    total, steps = settings.get("flops"), settings.get("steps") if log.counts != BY_POINTS else None
    if isinstance(total, (int, float)) and isinstance(steps, (int, float)) and total > 0 and steps > 0:
        return log.curve["step"] * (total / steps)
    return None


def _settings(log: Log) -> dict[str, Any]:
    """Settings of a run under the names of our tables; pairs in its id such as lr=1e-3 are settings too."""
    found = {name: count_of(value) for name, value in PAIR.findall(log.run)} | dict(log.settings)
    for new, names in (("batch_tokens", BATCH), ("seed", SEEDS), ("learning_rate", ("lr",))):
        own = [name for name in found if plain(name) in names]
        nested = [name for name in found if plain(name.rpartition(".")[2]) in names]
        if new not in found and (own or len(nested) == 1):
            found[new] = found.pop((own or nested)[0])
    if not log.curve and "tokens" not in found and (own := next((n for n in found if plain(n) in TOKENS), None)):
        found["tokens"] = found.pop(own)
    return {name: _cell(value) for name, value in found.items()}


def _cell(value: Any) -> Any:
    """A setting as a cell: a number, a text or nothing."""
    if isinstance(value, str):
        words = value.strip()
        if words.lower() in ("true", "false"):
            return float(words.lower() == "true")
        return words
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return str(value)[:80]


def _tidy(columns: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """Columns that our tables take: one whose cells are no numbers where we hold numbers gets a name of its own."""
    out: dict[str, list[Any]] = {}
    for name, cells in columns.items():
        if all(cell is None or cell == "" for cell in cells):
            continue
        bad = name in NUMBER_COLUMNS and any(not _is_number(cell) for cell in cells)
        if not bad and name not in COLUMNS and name.lower() in TEXT_COLUMNS and name.lower() not in columns:
            name = name.lower()
        out[f"{name} (setting)" if bad else name] = cells
    return out


def _is_number(cell: Any) -> bool:
    if number(cell) is not None:
        return True
    try:
        count_of(str(cell).replace(",", ""))
    except ValueError:
        return False
    return True


def _once(notes: Iterable[str]) -> Iterable[str]:
    """Each note once, with the number of logs that it is about where there are several."""
    count: dict[str, int] = {}
    for note in notes:
        count[note] = count.get(note, 0) + 1
    return (note if n == 1 else f"{note} ({n} logs)" for note, n in count.items())
