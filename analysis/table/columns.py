"""The columns that have a meaning here, and what their cells may hold. docs/table.md says what each one is."""

import difflib
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from analysis.digits import count_of
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
    "params_experts": "parameters",
    "experts": "experts",
    "routing": TEXT,
    "capacity": "times",
    "active_share": "share",
    "quality": "share",
    "granularity": "times",
    "distance": "sqrt(nats)",
    "gold": "standard deviations",
    "tokens": "tokens",
    "unique_tokens": "tokens",
    "epochs": "epochs",
    "batch_tokens": "tokens",
    "batch_crit": "tokens",
    "step": "updates",
    "steps": "updates",
    "steps_min": "updates",
    "steps_stop": "updates",
    "schedule_number": "",
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
    "learning_rate_end": "share of the peak",
    "warmup": "share of the updates, or updates",
    "cooldown": "share of the updates",
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
HELD_OUT = ("val", "valid", "validation", "dev", "heldout", "held_out", "eval", "test")  # words of a loss's name
TRAINING = ("train", "training")
TEXT_COLUMNS = tuple(name for name, unit in COLUMNS.items() if unit == TEXT)
EITHER = ("warmup",)  # others' tables name a kind of warm-up there
NUMBER_COLUMNS = tuple(name for name, unit in COLUMNS.items() if unit != TEXT and name not in EITHER)

THOUSANDS = re.compile(r"[+-]?\d{1,3}([, ]\d{3})+(\.\d*)?")
# Columns of counts, in which 1,024 is a thousand and more; anywhere else it may be a decimal comma.
COUNTS = tuple(
    name for name, unit in COLUMNS.items() if unit in ("parameters", "tokens", "FLOP", "updates", "bytes", "channels")
)

# Text that a spreadsheet takes for a formula (OWASP, CSV Injection), or that looks as if it had been made harmless.
FORMULA = re.compile("'*[=+@\t\r\n\uff1d\uff0b\uff0d\uff20-]")

# How a part of a run is counted, in updates or as a share of all.
LENGTHS = ("steps", "updates", "iters", "iterations", "ratio", "fraction", "frac", "share")
# What others call these columns, as `simple` writes names.
OTHER_NAMES: Mapping[str, tuple[str, ...]] = {
    "params": ("n", "model_size", "parameters", "parameter", "size", "non_embedding_params"),
    "params_total": ("total_params",),
    "tokens": ("d", "training_tokens", "dataset_size", "data", "tok", "toks"),
    "unique_tokens": ("u", "unique", "dataset_tokens"),
    "flops": ("c", "compute", "training_flop", "flop", "budget"),
    "loss": ("l", "val_loss", "validation_loss", "test_loss", "final_loss", "nll"),
    "batch_tokens": (
        *("batch_size", "batch", "global_batch", "global_batch_size", "bsz", "bs"),
        *("tokens_per_step", "tokens_per_batch", "tokens_per_update"),
    ),
    "steps": ("updates", "iterations"),
    "learning_rate": ("lr", "peak_lr", "max_lr", "base_lr", "peak_learning_rate", "max_learning_rate"),
    "warmup": (*(f"warmup_{length}" for length in LENGTHS),),
    "cooldown": ("decay", *(f"{fall}_{length}" for fall in ("cooldown", "decay") for length in LENGTHS)),
    "weight_decay": ("wd",),
    "dropout": ("dropout_rate", "dropout_prob"),
    "schedule": ("lr_schedule", "scheduler", "lr_scheduler"),
    "experts": ("n_experts", "num_experts"),
    "n_vocab": ("vocab", "vocab_size", "vocabulary"),
    "n_ctx": ("context", "context_length", "seq_len", "sequence_length", "block_size", "max_seq_len"),
    "run": ("name", "id", "run_label", "run_id", "run_name"),
    "status": ("state", "run_state"),
    "error": ("mean_error",),
    "accuracy": ("acc", "mean_accuracy"),
}
# What others call the shape of a Transformer: N without embeddings is 12 n_layer d_model^2 where d_ff = 4 d_model.
LAYERS = ("n_layer", "n_layers", "num_layers", "num_hidden_layers", "layers", "depth")
WIDTHS = ("d_model", "n_embd", "hidden_size", "model_dim", "embed_dim", "width", "dim")
BATCHES = ("batch_size", "train_batch_size", "global_batch_size", "per_device_train_batch_size")  # of sequences

UNNAMED = ("", "Unnamed: 0")  # what pandas and spreadsheets call a column of row numbers or names

SPELT = 0.65  # so alike are a name and its misspelling, by `difflib`
SHARES = {"error", "err", "accuracy", "acc"}  # words in the names of columns that lie between 0 and 1
# What a name may say of the unit of its column, at its end.
UNIT_WORDS: Mapping[str, float] = {
    "k": 1e3, "thousand": 1e3, "thousands": 1e3,
    "m": 1e6, "mn": 1e6, "million": 1e6, "millions": 1e6,
    "b": 1e9, "bn": 1e9, "billion": 1e9, "billions": 1e9,
    "t": 1e12, "trillion": 1e12, "trillions": 1e12,
}  # fmt: skip
COUNTED = (
    "params",
    "params_total",
    "params_experts",
    "params_embed",
    "params_head",
    "tokens",
    "unique_tokens",
    "batch_tokens",
)


def meaning(name: str) -> str:
    """The canonical column that a name of others stands for, `config.lr` by its last part; else the name."""
    for word in (name, simple(name), simple(re.split(r"[./]", name)[-1])):
        if word in COLUMNS:
            return word
        if ours := next((ours for ours, others in OTHER_NAMES.items() if word in others), None):
            return ours
    return name


def is_share(name: str, values: np.ndarray) -> bool:
    """Whether a column is an error or an accuracy between 0 and 1; in per cent it is not."""
    return bool(SHARES & set(simple(name).split("_"))) and bool(np.all((values >= 0) & (values <= 1)))


def nearest(name: str, names: Iterable[str]) -> str | None:
    """Of the names, the one that most likely means column `name`; None where none comes near."""
    names = [one for one in names if not _is_another(one, name)]
    if one := surely(name, names):
        return one
    plain = {simple(one): one for one in names}
    for wanted in (name, *OTHER_NAMES.get(name, ())):
        if whole := _holding(wanted, plain):
            return plain[min(whole, key=len)]
    near = difflib.get_close_matches(simple(name), list(plain), n=1, cutoff=SPELT)
    return plain[near[0]] if near else None


def surely(name: str, names: Iterable[str]) -> str | None:
    """Of the names, the one that is another word for column `name`, or the only one that holds such a word."""
    exact, holding = _candidates(name, names)
    if exact:
        return exact[0]
    several = len(holding) > 1 or any(re.search(r"(^|_)per(_|$)|/", one.lower()) for one in holding)
    return None if several else next(iter(holding), None)


def possible(name: str, names: Iterable[str]) -> list[str]:
    """Of the names, those that are other words for column `name`; where none is, those that hold such a word."""
    exact, holding = _candidates(name, names)
    return exact or holding


def _candidates(name: str, names: Iterable[str]) -> tuple[list[str], list[str]]:
    names = [one for one in names if one and not _is_another(one, name)]
    plain = {simple(one): one for one in names}
    if name in COUNTED:  # whose columns may name a unit: "Tokens (B)"
        plain |= {simple(_split(one)[0]): one for one in names}
    words = (name, *OTHER_NAMES.get(name, ()))
    exact = [plain[word] for word in words if word in plain]
    holding = [plain[one] for one in plain if any(_holding(word, [one]) for word in words)]
    if name == "loss":  # a training loss beside a held-out one is not meant
        parts = {one: set(simple(one).split("_")) for one in holding}
        held_out = [one for one in holding if parts[one] & set(HELD_OUT)]
        if held_out and all(parts[one] & set(TRAINING) for one in holding if one not in held_out):
            holding = held_out
    return list(dict.fromkeys(exact)), list(dict.fromkeys(holding))


def _is_another(one: str, name: str) -> bool:
    """Whether a name is another word for a column other than `name`, as batch_size is none for the size of a model."""
    words = simple(one.rpartition(".")[2])
    ours = name in COLUMNS and words not in (name, *OTHER_NAMES.get(name, ()))
    return ours and any(words in others for meant, others in OTHER_NAMES.items() if meant != name)


def from_shape(names: Iterable[str]) -> str | None:
    """N of a usual Transformer as a formula of the columns that hold its depth and width; None without such."""
    last = {simple(one.rpartition(".")[2].rpartition("/")[2]): one for one in names}
    depth, width = (next((last[one] for one in known if one in last), None) for known in (LAYERS, WIDTHS))
    return f"12*{depth}*{width}*{width}" if depth and width else None


def from_batches(names: Iterable[str]) -> str | None:
    """D as a formula of the columns that hold updates, sequences in a batch and tokens in one; None without such."""
    last = {simple(one.rpartition(".")[2].rpartition("/")[2]): one for one in names}
    contexts = ("n_ctx", *OTHER_NAMES["n_ctx"])
    found = [next((last[one] for one in known if one in last), None) for known in (("steps",), BATCHES, contexts)]
    return "*".join(one for one in found if one) if all(found) else None


def unit_in(name: str) -> float:
    """The factor that the name of a column gives its numbers: 1e9 for "Tokens (B)", 1 where it names no unit."""
    return _split(name)[1]


def _split(name: str) -> tuple[str, float]:
    """A name without the unit at its end, and the factor that this unit is."""
    found = re.fullmatch(r"(.*?)(?:\s*[(\[]\s*(?:in )?([A-Za-z]+)\s*[)\]]|[_ ](?:in[_ ])?([A-Za-z]+))", name.strip())
    word = (found[2] or found[3]).lower() if found else ""
    return (found[1], UNIT_WORDS[word]) if found and word in UNIT_WORDS else (name, 1.0)


def _holding(wanted: str, plain: Iterable[str]) -> list[str]:
    """Of plain names, those that hold a word; a single letter is a word in none."""
    return [one for one in plain if len(wanted) > 1 and re.search(rf"(^|_){re.escape(wanted)}(_|$)", one)]


def simple(name: str) -> str:
    """A name in small letters, with _ for all that is neither letter nor digit."""
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
    """One column: f64 where it holds numbers (NaN where empty), else str. In a column of numbers, 70M is 7e7.

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
    if None in numbers and name in NUMBER_COLUMNS:
        plain = without_thousands(name, values) or values
        numbers = [counted(v) if found is None else found for v, found in zip(plain, numbers, strict=True)]
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


def without_thousands(name: str, values: Sequence[Any] | np.ndarray) -> list[Any] | None:
    """The cells of a column of counts as 1024 where all their commas and blanks stand for thousands; None elsewhere."""
    if name not in COUNTS or isinstance(values, np.ndarray):
        return None
    marked = [v for v in (v.strip() for v in values if isinstance(v, str)) if "," in v or " " in v]
    if not marked or not all(map(THOUSANDS.fullmatch, marked)):
        return None
    return [re.sub("[, ]", "", v) if isinstance(v, str) and THOUSANDS.fullmatch(v.strip()) else v for v in values]


def counted(cell: Any) -> float | None:
    """A cell such as 70M or 300B as a number, None where it is no such thing."""
    try:
        return count_of(str(cell).strip())
    except ValueError:
        return None


def above_zero(columns: Mapping[str, np.ndarray], name: str) -> np.ndarray | None:
    """The column with NaN for cells that are no numbers above 0; None where none is left."""
    values = columns.get(name)
    if values is None or values.dtype.kind != "f":
        return None
    values = np.where(np.isfinite(values) & (values > 0), values, np.nan)
    return values if np.isfinite(values).any() else None


def cell(value: Any) -> str:
    """A value of a column as text, in full precision."""
    if isinstance(value, str):
        return str(value)
    if math.isnan(value):
        return ""
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))


def cells(values: np.ndarray) -> Iterator[str]:
    """The cells of a column in a CSV file; text that a spreadsheet would run gets an apostrophe before it."""
    return map(cell, values) if values.dtype.kind == "f" else (harmless(str(value)) for value in values)


def harmless(text: str) -> str:
    return f"'{text}" if FORMULA.match(text) else text


def text_of(cell: str) -> str:
    """The text of which `harmless` made a cell."""
    return cell[1:] if cell[:1] == "'" and FORMULA.match(cell) else cell
