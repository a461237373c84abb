"""The columns that have a meaning here, and what their cells may hold. docs/table.md says what each one is."""

import difflib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from scaling.errors import InputError

TEXT = "text"

# Name to unit; "" for plain numbers.
COLUMNS: Mapping[str, str] = {
    "run": TEXT,
    "status": TEXT,
    "params": "parameters",
    "params_head": "parameters",
    "params_embed": "parameters",
    "params_total": "parameters",
    "experts": "experts",
    "tokens": "tokens",
    "unique_tokens": "tokens",
    "epochs": "epochs",
    "batch_tokens": "tokens",
    "batch_crit": "tokens",
    "step": "updates",
    "steps": "updates",
    "steps_min": "updates",
    "steps_stop": "updates",
    "flops": "FLOP",
    "flops_attention": "FLOP",
    "flops_head": "FLOP",
    "flops_total": "FLOP",
    "flops_min": "FLOP",
    "flops_trained": "FLOP",
    "loss": "nats/token",
    "loss_min": "nats/token",
    "loss_half": "nats/token",
    "loss_initial": "nats/token",
    "loss_gap": "nats/token",
    "loss_floor": "nats/token",
    "train_loss": "nats/token",
    "loss_on_train": "nats/token",
    "noise_trace": "",
    "grad_square": "",
    "excess": "share",
    "error": "share",
    "accuracy": "share",
    "bits_per_byte": "bits/byte",
    "bytes_per_token": "bytes",
    "tokens_at_min": "tokens",
    "onset": "tokens",
    "onset_is_first": "1 or 0",
    "position": "tokens",
    "learning_rate": "",
    "learning_rate_sum": "",
    "warmup": "share of the updates, or updates",
    "weight_decay": "",
    "independent_decay": "1 or 0",
    "tied": "1 or 0",
    "parametrization": TEXT,
    "dropout": "share",
    "seed": "",
    "seconds": "s",
    "kind": TEXT,
    "reuse": "",
    "d_model": "channels",
    "n_layer": "layers",
    "n_head": "",
    "d_attn": "",
    "d_head": "",
    "rotary_base": "",
    "position_scale": "",
    "d_ff": "",
    "n_ctx": "tokens",
    "n_vocab": "tokens",
    "n_kv_head": "",
    "positions": TEXT,
    "norm": TEXT,
    "feed_forward": TEXT,
    "qk_norm": "1 or 0",
    "bias": "1 or 0",
    "z_loss": "",
    "softcap": "",
    "schedule": TEXT,
    "optimizer": TEXT,
    "dtype": TEXT,
    "data": TEXT,
    "dataset": TEXT,
    "tokens_id": TEXT,
}
TEXT_COLUMNS = tuple(name for name, unit in COLUMNS.items() if unit == TEXT)
EITHER = ("warmup",)  # others' tables name a kind of warm-up there
NUMBER_COLUMNS = tuple(name for name, unit in COLUMNS.items() if unit != TEXT and name not in EITHER)

THOUSANDS = re.compile(r"[+-]?\d{1,3}([, ]\d{3})+(\.\d*)?")

# What others call these columns, as `_plain` writes names.
OTHER_NAMES: Mapping[str, tuple[str, ...]] = {
    "params": ("n", "model_size", "parameters", "size", "non_embedding_params"),
    "params_total": ("total_params",),
    "tokens": ("d", "training_tokens", "dataset_size", "data"),
    "unique_tokens": ("u", "unique", "dataset_tokens"),
    "flops": ("c", "compute", "training_flop", "flop"),
    "loss": ("l", "val_loss", "validation_loss", "test_loss", "final_loss", "nll"),
    "batch_tokens": ("batch_size", "batch", "global_batch"),
    "steps": ("updates", "iterations"),
    "learning_rate": ("lr", "peak_lr"),
    "run": ("name", "id", "run_label"),
    "error": ("mean_error",),
    "accuracy": ("acc", "mean_accuracy"),
}


def nearest(name: str, names: Iterable[str]) -> str | None:
    """Of the names, the one that most likely means column `name`; None where none comes near."""
    plain = {_plain(one): one for one in names}
    for wanted in (name, *OTHER_NAMES.get(name, ())):
        if wanted in plain:
            return plain[wanted]
    for wanted in (name, *OTHER_NAMES.get(name, ())):
        whole = [one for one in plain if len(wanted) > 1 and re.search(rf"(^|_){wanted}(_|$)", one)]
        if whole:
            return plain[min(whole, key=len)]
    near = difflib.get_close_matches(_plain(name), list(plain), n=1, cutoff=0.5)
    return plain[near[0]] if near else None


def _plain(name: str) -> str:
    return re.sub("[^a-z0-9]+", "_", name.lower()).strip("_")


def number(cell: Any) -> float | None:
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


def column(name: str, values: Sequence[Any] | np.ndarray, source: str) -> np.ndarray:
    """One column: f64 where it holds numbers (NaN where empty), else str.

    Raises:
        InputError: text in a column of numbers.
    """
    if isinstance(values, np.ndarray):  # a table of ours, or one that is built in one go: no cell is looked at
        if values.dtype.kind in "fiub" and name not in TEXT_COLUMNS:
            return values.astype(np.float64)
        if values.dtype.kind == "U" and name not in NUMBER_COLUMNS:
            return values
    if name in TEXT_COLUMNS:
        return np.asarray(["" if v is None else str(v) for v in values], dtype=str)
    numbers = [number(v) for v in values]
    if None in numbers:
        if name in NUMBER_COLUMNS:
            i = numbers.index(None)
            found = str(values[i])
            hint = "wanted a number like 1.5e9"
            plain = re.sub("[, ]", "", found)
            if THOUSANDS.fullmatch(found.strip()):
                hint = f"wanted a number without separators, {plain}"
            elif found.count(",") == 1 and number(found.replace(",", ".")) is not None:
                hint = f"wanted a decimal point, {found.strip().replace(',', '.')}"
            raise InputError(f"{source}, row {i + 1}, column {name}: found {found!r}, {hint}")
        return np.asarray(["" if v is None else str(v) for v in values], dtype=str)
    return np.asarray(numbers, dtype=np.float64)


def cell(value: Any) -> str:
    """A value of a column as a file holds it."""
    if isinstance(value, str):
        return str(value)
    if math.isnan(value):
        return ""
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))
