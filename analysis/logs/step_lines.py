"""Logs of lines that begin with a step and go on with pairs: nanoGPT, nanochat, modded-nanogpt, llm.c, Megatron-LM, and
what resembles them.

    step 250: train loss 2.1034, val loss 2.2101
    iter 250: loss 2.0987, time 24.31ms, mfu 17.90%
    step 00250/21400 (1.17%) | loss: 3.101 | dt: 355.01ms | tok/sec: 1,476,000
    Step 00250 | Validation bpb: 1.2034
    step:250/1750 val_loss:4.2101 train_time:30100ms

Lines above the first of these that say `name: number` or `name = value` are settings of the run.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from analysis.digits import count_of
from analysis.logs.log import LOSS, TRAINING, Log, curve_of, measured, plain, run_of
from scaling.errors import InputError

NUMBER = r"[-+]?(?:\d[\d,]*\.?\d*(?:[eE][-+]?\d+)?|nan|inf)"
LINE = re.compile(
    r"(?P<before>.{0,80}?)\b(?:global[ _])?(?:step|iter|iteration)s?\b\s*[:=#]?\s*"
    r"(?P<at>\d[\d,]*)\s*(?:/\s*(?P<of>\d[\d,]*))?(?P<rest>[\s\]):|,-].*)",
    re.IGNORECASE,
)
KEYED = re.compile(rf"([A-Za-z][\w ./()-]{{0,60}}?)\s*[:=]\s*({NUMBER})(?![\d.])", re.IGNORECASE)
SPACED = re.compile(rf"([A-Za-z][\w ./-]{{0,60}}?)\s+({NUMBER})\s*(?:ms|s|%)?", re.IGNORECASE)
SETTING = re.compile(r"(?:Overriding:\s*)?([A-Za-z][\w ]{0,60}?)\s*(?:\s=|:| will be:)\s*(.+?)\s*(?:\s#.*)?")
BATCH = re.compile(r"Total batch size ([\d,]+) => ")  # nanochat
LONGEST = 2000  # characters of a line that may be one of a step
LONGEST_SETTING = 200  # of one above them
# What nanoGPT and nanochat call a model's parameters. nanoGPT counts the tied head and no positions.
COUNTS = {"transformer_matrices": "params", "total": "params_total", "number_of_parameters": "params_total"}


def is_log(text: str) -> bool:
    """Whether a text has lines of steps; the last line of a part of a text may be cut."""
    return any(_pairs(found) for line in text.splitlines() if len(line) < LONGEST and (found := LINE.match(line)))


def log(text: str, path: Path, root: Path) -> Log:
    """The run of a log.

    Raises:
        InputError: no line of a step, or steps that begin again.
    """
    rows: list[dict[str, Any]] = []
    settings: dict[str, Any] = {}
    planned, others = 0, 0
    for number, line in enumerate(text.splitlines(), 1):
        found = LINE.match(line) if len(line) < LONGEST else None
        pairs = _pairs(found) if found else {}
        if found and pairs:
            at = _whole(found["at"])
            if rows and at <= rows[0]["step"] and at < rows[-1]["step"]:
                raise InputError(
                    f"{path}, line {number}: step {at} after step {rows[-1]['step']}: the steps begin again; wanted "
                    "one run, and updates counted over all epochs: split the file where a run begins"
                )
            rows.append({"step": at, **pairs})
            planned = _whole(found["of"]) if found["of"] else planned
        elif not rows and len(line) < LONGEST_SETTING:
            settings |= _setting(line.strip())
        elif line.strip():
            others += 1
    if not rows:
        raise InputError(f"{path}: no line such as step 250: train loss 2.1, val loss 2.2")
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: [row.get(name) for row in rows] for name in names}
    own = next((name for name in names if plain(name) == "loss"), None)
    trains = any(measured(name, LOSS, TRAINING) is not None for name in names)
    curve, _, notes = curve_of(columns, "step", {own: "batch_loss" if trains else "train_loss"} if own else {})
    if planned:
        settings["status"] = "done" if curve["step"][-1] >= planned - 1 else "running"
    if others:
        notes = (*notes, f"{others} of {len(text.splitlines())} lines are no lines of steps")
    return Log(run_of(path, root), "lines of steps", curve, settings, notes)


def _pairs(found: re.Match[str]) -> dict[str, str]:
    """What a line of a step says, by name."""
    pairs: dict[str, str] = {}
    part = "val " if "validation" in found["before"].lower() else ""  # Megatron: validation loss at iteration 100 | ...
    for words in re.split(r"\s*[|;]\s*|,\s+", re.sub(r"\([^)]*\)|^[\s\]):|,-]+", "", found["rest"])):
        spaced = SPACED.fullmatch(words)
        for name, value in [spaced.groups()] if spaced else KEYED.findall(words):
            name = re.sub(r"\s+", " ", name.strip())
            pairs.setdefault(part + name, value.replace(",", ""))
    return pairs


def _setting(line: str) -> Mapping[str, Any]:
    """What a line above the steps says of the run."""
    if found := BATCH.match(line):
        return {"batch_tokens": _whole(found[1])}
    found = SETTING.fullmatch(line)
    if not found:
        return {}
    name, words = plain(found[1]), found[2].strip("'\"")
    try:
        value: Any = count_of(words.replace(",", ""))
    except ValueError:
        if words in ("True", "False"):
            return {name: float(words == "True")}
        return {name: words} if re.fullmatch(r"[\w./-]{1,40}", words) and " = " in line else {}
    name = COUNTS.get(name, name)
    if name == "params_total" and words[-1:] == "M":  # nanoGPT: 10.65M, without positions
        name = "params_head"
    return {name: value}


def _whole(digits: str) -> int:
    return int(digits.replace(",", "")[:18])
