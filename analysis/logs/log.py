"""What one run left in a log, whichever tool wrote it, and what the columns of such logs mean."""

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.table.columns import HELD_OUT, TRAINING, number

Column = NDArray[np.float64]

LOSS = ("loss", "nll", "ce", "cross_entropy", "ce_loss", "xent", "lm_loss", "lm_loss_value", "loss_epoch", "loss_step")
BITS = ("bpb", "bits_per_byte")
PERPLEXITY = ("ppl", "perplexity", "lm_loss_ppl")
# Names of the number of updates so far; W&B's own `_step` counts its calls, and is taken where nothing else is there.
STEPS = (
    *("step", "global_step", "trainer/global_step", "train/global_step", "train/step", "iter", "iteration", "iter_num"),
    *("num_updates", "training_step", "_step"),
)
CALLS = "_step, the Step of W&B's charts, is taken as the updates; it counts calls of its log, one by one"
BY_UPDATES, BY_CALLS, BY_POINTS = "updates", "calls of W&B's log", "points of a chart"  # what a step counts
TOKENS = (
    *("tokens", "tokens_seen", "num_input_tokens_seen", "train_num_input_tokens_seen", "train_tokens", "num_tokens"),
    *("train_tokens_seen", "total_tokens", "consumed_tokens", "tokens_processed", "num_tokens_seen", "n_tokens"),
    *("throughput_total_tokens", "train_total_tokens", "total_tokens_seen", "training_tokens"),
)
RATES = ("learning_rate", "lr", "train_learning_rate", "train_lr", "lr_adamw", "lr_adam", "optim_learning_rate")
BATCH = ("batch_tokens", "tokens_per_iter", "tokens_per_iteration", "tokens_per_step", "tokens_per_batch")
SEEDS = ("seed", "random_seed", "manual_seed", "seed_everything")
TABLES = "tables"  # the format of rows whose columns are named as their file has them
GENERIC = re.compile(  # stems of files that are called alike in every run's folder
    r"metrics|trainer_state|history|progress|main|output|stdout|stderr|out|log|logs|train|train_?log|training_?log|"
    r"results?|results_\d.*|wandb-summary|events\.out.*|summary|eval|losses|run|scores|stats|\.?"
)


@dataclasses.dataclass(frozen=True, eq=False)
class Log:
    """What one run left in a log.

    Attributes:
        run: its id.
        format: what wrote it, in words.
        curve: columns by row of the log; "step", the updates so far, is among them. NaN: not logged there; infinite:
            logged, and no number. Empty where the log holds results alone.
        settings: what holds for the whole run, by name.
        notes: what of the log was not understood, or was understood in one of several ways.
        counts: what the steps of its curve are, as far as the log tells: BY_UPDATES, BY_CALLS or BY_POINTS.
    """

    run: str
    format: str
    curve: Mapping[str, Column] = dataclasses.field(default_factory=dict)
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()
    counts: str = BY_UPDATES


def plain(name: str) -> str:
    """A name without signs and capitals: "Val Loss", "val/loss" and "val_loss" are one."""
    return re.sub("[^a-z0-9]+", "_", name.lower()).strip("_")


def run_of(path: Path, root: Path) -> str:
    """The id of a run by where its log lies below `root`: its folder where the file's name says nothing."""
    path, root = path.absolute(), root.absolute()
    within = path.relative_to(root) if path.is_relative_to(root) else path
    stem = within.name
    while Path(stem).suffix and not Path(stem).suffix[1:].isdigit():  # 1.5 is no suffix
        stem = Path(stem).stem
    folders = [name for name in within.parent.parts if name != "files"]  # W&B's, in the folder of a run
    parts = [*folders, *([] if GENERIC.fullmatch(stem.lower()) else [stem])]
    return "/".join(parts) or root.resolve().name


def step_column(names: Sequence[str]) -> str | None:
    """The column that counts updates, the surest name first."""
    found = {name.lower(): name for name in names}
    for wanted in STEPS:
        if wanted in found:
            return found[wanted]
    return None


def counted_by(step: str) -> str:
    """What a column of steps of that name counts."""
    return BY_CALLS if step.lower() == "_step" else BY_UPDATES


def measured(name: str, kinds: Sequence[str], parts: Sequence[str]) -> tuple[int, int] | None:
    """How sure a name is one of `kinds` on one of the `parts` of the text, least the surest; None where it is not."""
    words = plain(name)
    for i, part in enumerate(parts):
        for j, kind in enumerate(kinds):
            if words in (f"{part}_{kind}", f"{kind}_{part}"):
                return i, j
    return None


def value_of(cell: Any) -> float:
    """A cell of a curve: NaN where it is empty, infinite where it was logged and is no number."""
    if cell is None or (isinstance(cell, str) and not cell.strip()):
        return math.nan
    found = number(cell)
    if found is not None and math.isfinite(found):
        return found
    return (
        math.inf if found is not None or str(cell).strip().lower() in ("nan", "inf", "-inf", "infinity") else math.nan
    )


def curve_of(
    columns: Mapping[str, Sequence[Any]], step: str, named: Mapping[str, str] | None = None
) -> tuple[dict[str, Column], dict[str, Any], tuple[str, ...]]:
    """The columns of a log as a curve, those of texts that never change and of rows without a step as settings, notes.

    Args:
        step: which column counts updates.
        named: what the format itself says of its columns, own name -> name in our tables.
    """
    curve: dict[str, Column] = {"step": np.array([value_of(cell) for cell in columns[step]])}
    settings: dict[str, Any] = {}
    words: list[str] = []
    for name, cells in columns.items():
        if name == step:
            continue
        values = np.array([value_of(cell) for cell in cells])
        filled = [cell for cell in cells if cell not in (None, "")]
        if filled and np.isnan(values).sum() > len(cells) - len(filled):  # some of them are text
            distinct = {str(cell) for cell in filled}
            settings |= {name: next(iter(distinct))} if len(distinct) == 1 else {}
            words += [name] if len(distinct) > 1 else []
        elif (
            filled
            and len(set(filled)) == 1
            and (plain(name.rpartition(".")[2]) in BATCH or not np.isfinite(curve["step"][~np.isnan(values)]).any())
        ):
            settings[name] = filled[0]  # a batch that never changes; said before the first step: an event "config"
        elif filled:
            curve[name] = values
    curve, notes = named_curve(merged(curve), named or {})
    said = (f"columns of text are left out: {', '.join(words[:5])}",) if words else ()
    notes = (*notes, CALLS) if step.lower() == "_step" else notes
    return curve, settings, (*notes, *said)


def named_curve(curve: Mapping[str, Column], named: Mapping[str, str]) -> tuple[dict[str, Column], tuple[str, ...]]:
    """A curve with the names of our tables where a column's meaning is sure."""
    curve = {named.get(name, name): values for name, values in curve.items()}
    notes: list[str] = []

    def best(kinds: Sequence[str], parts: Sequence[str]) -> list[str]:
        ranked = [(sure, name) for name in curve if (sure := measured(name, kinds, parts)) is not None]
        return [name for _, name in sorted(ranked, key=lambda pair: pair[0])]

    def rename(name: str, new: str) -> None:
        if new not in curve and name in curve:
            curve[new] = curve.pop(name)

    held_out = [name for name in best(LOSS, HELD_OUT) if name != "loss"]
    if not held_out:  # val/c4/loss: one of a kind is meant, several are not
        words = {name: set(plain(name).split("_")) for name in curve if plain(name).endswith("loss")}
        held_out = [n for n, found in words.items() if found & set(HELD_OUT) and not found & {"best", "min", "lowest"}]
        if len(held_out) > 1:
            notes.append(f"several held-out losses: {', '.join(held_out[:5])}; say --columns loss={held_out[0]}")
            held_out = []
    if held_out and "loss" in curve and "loss" not in named.values():
        rename("loss", "train_loss")
        rename("loss", "batch_loss")
    if held_out:
        rename(held_out[0], "loss")
    elif "loss" in curve and "loss" not in named.values():
        notes.append("the column loss does not say of which text it is: taken as held out")
    training = best((*LOSS[:-2], "loss_step", "loss_epoch"), TRAINING)
    if not training:  # metrics.train.loss
        own = {name: set(plain(name).split("_")) for name in curve if plain(name).endswith("loss")}
        training = [name for name, found in own.items() if found & set(TRAINING) and not found & set(HELD_OUT)]
    for name in training[:1]:
        rename(name, "train_loss")
    for name in best(BITS, HELD_OUT)[:1]:
        rename(name, "bits_per_byte")
    if "loss" not in curve:
        for name in best(PERPLEXITY, HELD_OUT)[:1]:
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                curve["loss"] = np.log(curve[name])
            notes.append(f"loss is taken as ln({name})")
    for new, names in (("tokens", TOKENS), ("learning_rate", RATES)):
        found = [name for wanted in names for name in curve if plain(name) == wanted]
        found = found or [name for wanted in names for name in curve if plain(name.rpartition(".")[2]) == wanted]
        for name in [name for name in found if new != "tokens" or _rises(curve[name])][:1]:
            rename(name, new)
    return curve, tuple(notes)


def _rises(values: Column) -> bool:
    """Whether a column counts up: tokens so far, and not those of each batch."""
    finite = values[np.isfinite(values)]
    return len(values) < 2 or (len(finite) > 0 and bool((np.diff(finite) >= 0).all()) and bool(np.ptp(finite) > 0))


def merged(curve: Mapping[str, Column]) -> dict[str, Column]:
    """A curve with one row per step, rising; where a step was logged again the last value counts."""
    known = np.isfinite(curve["step"])
    order = np.argsort(curve["step"][known], kind="stable")
    if not len(order):
        return {name: values[:0] for name, values in curve.items()}
    steps, first = np.unique(curve["step"][known][order], return_index=True)
    out: dict[str, Column] = {}
    for name, column in curve.items():
        values = column[known][order]
        last = np.maximum.reduceat(np.where(np.isnan(values), -1, np.arange(len(values))), first)
        out[name] = np.where(last >= 0, values[last], math.nan)
    out["step"] = steps.astype(np.float64)
    return out


def _differ(curves: Sequence[Mapping[str, Column]], name: str) -> bool:
    """Whether curves hold different values of a column at the same steps, beyond rounding to f32."""
    seen: dict[float, float] = {}
    for curve in curves:
        for step, value in zip(curve["step"], curve.get(name, ()), strict=False):
            if np.isfinite(value) and not math.isclose(seen.setdefault(step, value), value, rel_tol=1e-4):
                return True
    return False


def joined(logs: Sequence[Log]) -> Log:
    """Several logs of one run as one."""
    if len(logs) == 1:
        return logs[0]
    names = dict.fromkeys(name for log in logs for name in log.curve)
    curve = {
        name: np.concatenate([log.curve.get(name, np.full(len(log.curve["step"]), math.nan)) for log in logs])
        for name in names
    }
    settings = {name: value for log in logs for name, value in log.settings.items()}
    formats = " and ".join(dict.fromkeys(log.format for log in logs))
    notes = tuple(dict.fromkeys(note for log in logs for note in log.notes))
    differ = [name for name in names if name != "step" and _differ([log.curve for log in logs], name)]
    if differ:
        notes = (*notes, f"{logs[0].run}: its {len(logs)} logs differ in {', '.join(differ[:3])}; the last one counts")
    counts = logs[0].counts if len({log.counts for log in logs}) == 1 else BY_UPDATES
    return Log(logs[0].run, formats, merged(curve), settings, notes, counts)
