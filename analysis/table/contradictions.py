"""Cells of one row that cannot all be right: epochs beside both numbers of tokens, updates beside batch and tokens."""

from collections.abc import Mapping

import numpy as np

from analysis import digits

EPOCHS = 0.5  # by which the epochs may be off, for they may be rounded
ROUNDED = 1.25  # times, and so may small ones
LAST_BATCH = 0.05  # of the tokens, which a run may be short of, or have too many
SHOWN = 3  # rows that a note names


def notes(columns: Mapping[str, np.ndarray]) -> list[str]:
    """A sentence for each contradiction, with the rows in which it is."""
    return [*_epochs(columns), *_updates(columns)]


def _numbers(columns: Mapping[str, np.ndarray], *names: str) -> list[np.ndarray] | None:
    """These columns with NaN for what is no number above 0; None where one is missing."""
    found = [columns.get(name) for name in names]
    if any(values is None or values.dtype.kind != "f" for values in found):
        return None
    return [np.where(values > 0, values, np.nan) for values in found if values is not None]


def _epochs(columns: Mapping[str, np.ndarray]) -> list[str]:
    found = _numbers(columns, "epochs", "tokens", "unique_tokens")
    if found is None:
        return []
    epochs, tokens, unique = found
    ratio = tokens / unique
    with np.errstate(invalid="ignore"):
        factor = np.maximum(epochs / ratio, ratio / epochs)
        off = (np.abs(epochs - ratio) >= EPOCHS) & (factor > ROUNDED)
    return _said(off, epochs, ratio, "epochs", "tokens / unique_tokens", "rules about repeated data go by epochs")


def _updates(columns: Mapping[str, np.ndarray]) -> list[str]:
    steps = "step" if "step" in columns else "steps"
    found = _numbers(columns, "tokens", steps, "batch_tokens")
    if found is None:
        return []
    tokens, updates, batch = found
    with np.errstate(invalid="ignore"):
        ratio = tokens / (updates * batch)
        off = np.abs(ratio - 1) > LAST_BATCH
    known = ratio[np.isfinite(ratio)]
    if off.any() and np.ptp(known) <= 2 * LAST_BATCH * known.min():
        each = f"{np.median(known):.4g}"
        return [f"tokens are {each} times {steps} x batch_tokens in all rows: does batch_tokens count tokens?"]
    return _said(off, tokens, updates * batch, "tokens", f"{steps} x batch_tokens", "which of them is right?")


def _said(off: np.ndarray, a: np.ndarray, b: np.ndarray, one: str, other: str, why: str) -> list[str]:
    rows = np.flatnonzero(off)
    if not len(rows):
        return []
    shown = ", ".join(f"row {i + 1}: {digits.short(float(a[i]))} and {digits.short(float(b[i]))}" for i in rows[:SHOWN])
    more = f" and {len(rows) - SHOWN} more" if len(rows) > SHOWN else ""
    return [f"{one} and {other} contradict each other in {len(rows)} rows ({shown}{more}): {why}"]
