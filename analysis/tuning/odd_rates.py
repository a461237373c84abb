"""Rates in another unit, and batches that a table holds under another name: what spoils bowls before they are drawn."""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from analysis import digits
from analysis.table import Table
from analysis.table.columns import above_zero, surely
from analysis.table.naming import Naming
from analysis.tuning.bowls import Array
from scaling.errors import InputError

HIGHEST = 1.0  # Adam and its kin do not train at higher rates
APART = 100.0  # times between a rate and the next: nobody sweeps in such steps
USUAL = 3e-3  # about what best rates are
CONTEXT = ("n_ctx", "seq_len", "sequence_length", "seq_length", "context_length", "context", "block_size")


def check(table: Table, rate: Array, loss: Array) -> Iterator[str]:
    """Notes on rates that are too high for a rate.

    Args:
        rate, loss: one per row of the table; the loss is NaN where a run diverged.

    Raises:
        InputError: a rate far above all others at which the loss is as good.
    """
    naming = Naming(table.source, table.taken, option=table.option)
    high = rate > HIGHEST
    if not high.any():
        return
    order = np.sort(np.unique(rate))
    steps = np.flatnonzero((order[1:] / order[:-1] >= APART) & (order[1:] > HIGHEST))
    if steps.size and np.isfinite(loss).any():
        above = rate > order[steps[0]]
        rows = np.flatnonzero(above & (loss <= np.nanmax(np.where(above, np.nan, loss))))
        if rows.size:
            rest = rate[~above]
            raise InputError(
                f"{_at(table, naming, rows)}: found {digits.typed(float(rate[rows[0]]), 4)}, where the other rows hold "
                f"{digits.typed(rest.min(), 3)} to {digits.typed(rest.max(), 3)}, and a loss like theirs; correct the "
                "cell, or leave the row out"
            )
    rows = np.flatnonzero(high)
    said = f"{_at(table, naming, rows)}: found {digits.typed(float(rate[rows[0]]), 4)}; rates of Adam lie far below 1"
    if high.all():
        factor = 10.0 ** round(math.log10(USUAL / float(np.median(rate))))
        unit, hint = digits.typed(factor), naming.line({"learning_rate": factor})
        said += f"; if these count in units of {unit}, say {hint}"
    yield said


def _at(table: Table, naming: Naming, rows: NDArray[np.int64]) -> str:
    many = len(rows) > 1  # by their numbers in the file, which the rows of this table may be a part of
    where = naming.rows(table.rows[rows] - 1) if many else table.label(int(rows[0]))
    return f"{table.source}, {where}, {naming.column('learning_rate')}"


def unmapped_batch(table: Table) -> Iterator[str]:
    """A note where batches vary under a name that is not taken as the batch."""
    name = None if table.has("batch_tokens") else surely("batch_tokens", table)
    values = None if name is None else above_zero(table.columns, name)
    if name is None or values is None or len(np.unique(values[np.isfinite(values)])) < 2:
        return
    context = next((one for one in CONTEXT if above_zero(table.columns, one) is not None), "")
    formula = f"{name}*{context}" if context else name
    unit = "" if context else " (times the context, where it counts sequences)"
    said = Naming(table.source, table.taken, option=table.option).line({}, {"batch_tokens": formula})
    yield f"{name} varies and is not taken as the batch{unit}, so runs of several batches make one bowl: say {said}"
