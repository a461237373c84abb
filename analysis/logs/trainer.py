"""The Hugging Face Trainer's trainer_state.json, one in every checkpoint of a run."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from analysis.logs.log import Log, curve_of, run_of

CHECKPOINT = re.compile(r"checkpoint-\d+")
# Its `loss` is the mean training loss since the row before; `train_loss`, in the last row, that of the whole run.
NAMED = {"loss": "train_loss", "eval_loss": "loss", "train_loss": "mean_train_loss", "num_input_tokens_seen": "tokens"}
SUMMARY = ("total_flos", "train_runtime")  # in the last row alone, of the whole run


def is_state(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("log_history"), list) and "global_step" in value


def state(value: Mapping[str, Any], path: Path, root: Path) -> Log:
    """The run of a trainer_state.json; its id is the folder above the checkpoint.

    `total_flos` is 6 N D with N without embeddings, as our `flops`.
    """
    rows = [row for row in value["log_history"] if isinstance(row, dict)]
    names = dict.fromkeys(name for row in rows for name in row if name not in SUMMARY and name != "epoch")
    columns = {name: [row.get(name) for row in rows] for name in names} or {"step": []}
    columns.setdefault("step", [None] * len(rows))
    curve, settings, notes = curve_of(columns, "step", NAMED)
    done, planned = value.get("global_step"), value.get("max_steps")
    settings["steps"] = done
    if isinstance(done, (int, float)) and isinstance(planned, (int, float)) and planned > 0:
        settings["status"] = "done" if done >= planned else "running"
    for name, new in (("total_flos", "flops"), ("num_input_tokens_seen", "num_input_tokens_seen")):
        if isinstance(value.get(name), (int, float)) and value[name] > 0:
            settings[new] = value[name]
    if seconds := next((row["train_runtime"] for row in rows if "train_runtime" in row), None):
        settings["seconds"] = seconds
    if (tokens := settings.pop("num_input_tokens_seen", None)) and "tokens" not in curve and done:
        settings["batch_tokens"] = tokens / done
    if tokens and settings.get("flops"):
        settings["params"] = settings["flops"] / (6 * tokens)
        notes = (*notes, "params is total_flos / (6 num_input_tokens_seen), which leaves embeddings out")
    return Log(run_of(_above_checkpoint(path), root), "the Hugging Face Trainer", curve, settings, notes)


def _above_checkpoint(path: Path) -> Path:
    folder = path.parent
    return (folder.parent if CHECKPOINT.fullmatch(folder.name) else folder) / "trainer_state.json"
