"""Learning curves in a table that does not say which rows are of one run.

Points of a curve share the luck and the settings of their run: taken for runs of their own they make intervals several
times too short. They show themselves: at equal settings many rows follow one another densely and in even steps, as a
training logs them and nobody trains runs. Where few of them have a name, their common luck shows it.
"""

from collections.abc import Mapping

import numpy as np

from analysis.linear import CHANCE, MISFIT, gain, polynomial
from analysis.table.columns import COLUMNS, above_zero, counted, meaning, simple

POINTS = 10  # rows of one setting, from which they may be a curve
DENSE = 1.25  # times between neighbours, at most
EVEN, MOSTLY = 0.05, 0.8  # so far from their median are the steps of so many neighbours at most
FEW = 10  # values of a number that tells settings apart; more are measured, or change along a run
IDS = ("run_id", "run_name", "run_label", "runid", "wandb_id")  # columns that name runs and nothing else
ROUNDED = 0.25  # of the logarithm: so far is a size from what it is called
PERHAPS = ("name", "id", "experiment")  # that may name runs, or sizes, as any text may
SHARED = 5.0  # F of losses that names share, from which it is no misfit
LESS = 0.3  # of what powers of one degree less miss of a law, these miss about
DEGREES = 3  # of freedom: seven names or more, for the size has four in a smooth law
PLACES = ("step", "tokens", "flops")  # that say how far a run was at a row, the surest first
# What rises, decays or is measured along one run, by unit and by name.
ALONG = ("updates", "tokens", "FLOP", "epochs", "nats/token", "bits/byte", "share", "s")
RATES = ("learning_rate", "lr", "loss", "error", "acc")


def runs(columns: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """The column `run` of a table that lacks it: "curve 1" and so on, empty where a row is no point of one; str, (n,).

    None where no rows are points of a curve, or the table has ids of its own.
    """
    if "run" in columns or (place := _place(columns)) is None:
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
        surely: of the names that mean runs and nothing else; otherwise of those, and of any text, that may mean sizes.
    """
    if "run" in columns or (place := _place(columns)) is None:
        return None
    known = [name for name in columns if simple(name) in (IDS if surely else PERHAPS)]
    texts = {name: values for name, values in columns.items() if values.dtype.kind != "f"}
    own = any(meaning(name) == "run" and len(set(values)) == len(values) for name, values in texts.items())
    others = () if surely or own or "params" not in columns else (one for one in texts if meaning(one) not in COLUMNS)
    for name in dict.fromkeys([*known, *others]):
        there, of = np.unique(columns[name], return_inverse=True)
        if len(there) == len(of) or (name not in known and (len(there) < 2 or 2 * len(there) > len(of))):
            continue
        pairs = [len(np.unique(np.stack([of, columns[one]]), axis=1).T) for one in (place, "params") if one in columns]
        if pairs[0] == len(of) and all(count == len(there) for count in pairs[1:]):
            return name
    return None


def of_sizes(columns: Mapping[str, np.ndarray], ids: str) -> bool:
    """Whether each value is the size of its rows, as 150M is, and no name of a run."""
    N = above_zero(columns, "params")
    counts = np.array([counted(value) or np.nan for value in columns[ids].tolist()])
    return N is not None and bool(np.all(np.abs(np.log(np.abs(counts) / N)) < ROUNDED))


def may_be_run(ids: str) -> bool:
    """Whether a column of this name may name runs, which any other text hardly does."""
    return simple(ids) in PERHAPS


def shared(columns: Mapping[str, np.ndarray], ids: str) -> str:
    """That rows of one name have losses above or below all others together, in words; empty where nothing shows it.

    Points of one run share its luck so. Runs of one size share what is wrong with that size, its shape or its rate.
    """
    N, D, loss = (above_zero(columns, name) for name in ("params", _place(columns) or "tokens", "loss"))
    if N is None or D is None or loss is None:
        return ""
    known = np.isfinite(N) & np.isfinite(D) & np.isfinite(loss)
    of = np.unique(columns[ids][known], return_inverse=True)[1]
    *x, z = (np.log(values[known]) for values in (N, D, loss))
    quadratic, cubic = (polynomial(x, degree) for degree in (2, 3))
    smooth = [X @ np.linalg.lstsq(X, z)[0] for X in (quadratic, cubic)]
    missed = float(np.std(np.subtract(*smooth)))  # by powers of one degree less
    found = gain(cubic, np.eye(int(of.max(initial=0)) + 1)[of], z, max(MISFIT, LESS * missed))
    if min(found.added, found.left) < DEGREES or found.F < SHARED or found.p > CHANCE:
        return ""
    return "losses of one value lie above or below the others' together, as those of one run do"


def _place(columns: Mapping[str, np.ndarray]) -> str | None:
    return next((name for name in PLACES if above_zero(columns, name) is not None), None)


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
