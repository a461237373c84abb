"""Learning curves in a table that does not say which rows are of one run.

Points of a curve share the luck and the settings of their run: taken for runs of their own they make intervals several
times too short. They show themselves: at equal settings many rows follow one another densely and in even steps, as a
training logs them and nobody trains runs.
"""

from collections.abc import Mapping

import numpy as np

from analysis.table.columns import COLUMNS, above_zero, simple

POINTS = 10  # rows of one setting, from which they may be a curve
DENSE = 1.25  # times between neighbours, at most
EVEN, MOSTLY = 0.05, 0.8  # so far from their median are the steps of so many neighbours at most
FEW = 10  # values of a number that tells settings apart; more are measured, or change along a run
IDS = ("run_id", "run_name", "run_label", "runid", "wandb_id")  # columns that name runs and nothing else
PERHAPS = ("name", "id", "experiment")  # that may name runs, or sizes
PLACES = ("step", "tokens", "flops")  # that say how far a run was at a row, the surest first
# What rises, decays or is measured along one run, by unit and by name.
ALONG = ("updates", "tokens", "FLOP", "epochs", "nats/token", "bits/byte", "share", "s")
RATES = ("learning_rate", "lr", "loss", "error", "acc")


def runs(columns: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """The column `run` of a table that lacks it: "curve 1" and so on, empty where a row is no point of one; str, (n,).

    None where no rows are points of a curve, or the table has ids of its own.
    """
    place = next((name for name in PLACES if above_zero(columns, name) is not None), None)
    if "run" in columns or place is None:
        return None
    x, setting = columns[place], _setting(columns)
    curve = np.zeros(len(x), np.int64)
    for k in range(setting.max(initial=-1) + 1):
        rows = setting == k
        if _logged(np.unique(x[rows & np.isfinite(x)]), surely=place == "step"):
            curve[rows] = curve.max() + 1
    if not curve.any():
        return None
    return np.where(curve > 0, np.char.add("curve ", curve.astype(str)), "")


def named(columns: Mapping[str, np.ndarray], *, surely: bool) -> str | None:
    """The column that names runs of which rows are points, where none is called `run`; None without one.

    Each of its values stands for one size at places that all differ; copies and seeds do not look like that.

    Args:
        surely: of the names that mean runs and nothing else; otherwise of those that may mean sizes too.
    """
    place = next((name for name in PLACES if above_zero(columns, name) is not None), None)
    if "run" in columns or place is None:
        return None
    for name, values in columns.items():
        if simple(name) not in (IDS if surely else PERHAPS) or len(set(values)) == len(values):
            continue
        of = np.unique(values, return_inverse=True)[1]
        pairs = [len(np.unique(np.stack([of, columns[one]]), axis=1).T) for one in (place, "params") if one in columns]
        if pairs[0] == len(of) and all(count == of.max() + 1 for count in pairs[1:]):
            return name
    return None


def _setting(columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """A number per row, from 0, equal where the settings are that a run keeps."""
    out = np.zeros(len(next(iter(columns.values()))), np.int64)
    for name, values in columns.items():
        if name != "params" and (COLUMNS.get(name) in ALONG or name.lower().startswith(RATES)):
            continue
        there, code = np.unique(values, return_inverse=True)
        named = values.dtype.kind != "f" and len(there) < len(values)
        if named or name == "params" or 1 < len(there) <= FEW:
            out = np.unique(out * len(there) + code, return_inverse=True)[1]
    return out


def _logged(x: np.ndarray, *, surely: bool) -> bool:
    """Whether rising places are those of one log."""
    if len(x) < POINTS or x[0] < 0 or np.median(x[2:] / x[1:-1]) > DENSE:
        return False
    step = np.diff(x)
    return surely or bool(np.mean(np.abs(step / np.median(step) - 1) < EVEN) >= MOSTLY)
