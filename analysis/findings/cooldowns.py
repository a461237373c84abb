"""Several lengths from one trunk: what the cooldown branches reach, beside runs that decayed over their own length.

Warm-up-stable-decay, Haegele et al. (2024). Runs of a schedule with a cooldown that differ in their tokens alone are
branches of one trunk. Losses are in nats per token, N in non-embedding parameters, D in tokens.
"""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from analysis import digits
from analysis.replicates import RATE, mean_loss
from analysis.replicates import trunks as trunks_of
from analysis.table import Table
from scaling.config import COOLED


@dataclasses.dataclass(frozen=True)
class Branch:
    """A run that ends in a cooldown, and the runs of another schedule of its size, length and batch."""

    run: str
    tokens: float
    loss: float
    other: float  # mean loss of those, NaN without any

    @property
    def change(self) -> float:
        """loss / other - 1."""
        return self.loss / self.other - 1


@dataclasses.dataclass(frozen=True)
class Trunk:
    """The branches of one trunk, the shortest first."""

    params: float
    seed: float
    branches: tuple[Branch, ...]


@dataclasses.dataclass(frozen=True)
class Cooldowns:
    """All trunks of a table.

    Attributes:
        trained: FLOP computed for the branches, each stretch of a trunk once; NaN where the table does not say.
        apart: FLOP that the branches would cost one by one.
    """

    trunks: tuple[Trunk, ...]
    trained: float
    apart: float

    @property
    def changes(self) -> np.ndarray:
        """Of the branches that have a run of another schedule beside them."""
        found = np.array([b.change for t in self.trunks for b in t.branches])
        return found[np.isfinite(found)]

    @property
    def mean_change(self) -> tuple[float, float]:
        """The mean of `changes` and its standard error; NaN without two trunks.

        Branches of one trunk share most of their training, so the trunks are the independent ones: the error is that
        of a mean over clusters.
        """
        clusters = [[b.change for b in t.branches if math.isfinite(b.change)] for t in self.trunks]
        clusters = [np.array(cluster) for cluster in clusters if cluster]
        mean, n = float(self.changes.mean()), len(clusters)
        if n < 2:
            return mean, math.nan
        off = np.array([(cluster - mean).sum() for cluster in clusters])
        return mean, math.sqrt(n / (n - 1) * float(off @ off)) / len(self.changes)

    def sentences(self) -> Iterator[str]:
        branches = sum(len(t.branches) for t in self.trunks)
        trunks = digits.plural(len(self.trunks), "trunk", "trunks")
        text = f"{branches} lengths are cooldown branches of {len(self.trunks)} {trunks}"
        if math.isfinite(self.trained):
            text += (
                f": {digits.ten(self.trained)} FLOP in place of {digits.ten(self.apart)} for the lengths one by one, "
                f"{digits.percent(1 - self.trained / self.apart)} less"
            )
        yield text + "."
        changes, (mean, error) = self.changes, self.mean_change
        among = sum(any(math.isfinite(b.change) for b in t.branches) for t in self.trunks)
        how = f"in {among} trunks, and its standard error among trunks" if among > 1 else "of one trunk"
        yield (
            f"They end {digits.percent(abs(mean))}{f' ± {digits.percent(error)}' if among > 1 else ''} "
            f"{'above' if mean > 0 else 'below'} runs that decayed over exactly their length (mean of "
            f"{len(changes)} {digits.plural(len(changes), 'branch', 'branches')} {how}; from "
            f"{digits.percent(float(changes.min()), sign=True)} to "
            f"{digits.percent(float(changes.max()), sign=True)})."
        )

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {"sentences": list(self.sentences())}


def find(table: Table) -> Cooldowns | None:
    """The trunks with two branches or more among finished runs.

    None without any, and where no branch has a run of another schedule beside it: such a study uses trunks, and asks
    something else.

    Args:
        table: columns run, params, tokens, schedule, loss; flops, and flops_trained where known: what was computed for
            a run, of a trunk that it shares a part.
    """
    if not len(table) or not all(table.has(name) for name in ("params", "tokens", "schedule", "loss")):
        return None
    trunk = trunks_of(table, RATE, "seed")
    branch = np.isin(table["schedule"], COOLED) & np.isfinite(table["loss"])
    trunks, members = [], []
    for k in np.unique(trunk):
        rows = sorted(np.flatnonzero(branch & (trunk == k)).tolist(), key=lambda i: table["tokens"][i])
        if len(rows) < 2:
            continue
        members += rows
        seed = float(table["seed"][rows[0]]) if "seed" in table else math.nan
        branches = tuple(_branch(table, i) for i in rows)
        trunks.append(Trunk(float(table["params"][rows[0]]), seed, branches))
    if not trunks:
        return None
    trained, apart = (
        float(table[name][members].sum()) if table.has(name) else math.nan for name in ("flops_trained", "flops")
    )
    trunks.sort(key=lambda t: (t.params, t.seed))
    found = Cooldowns(tuple(trunks), trained, apart)
    return found if len(found.changes) else None


def _branch(table: Table, i: int) -> Branch:
    same = ~np.isin(table["schedule"], COOLED) & np.isfinite(table["loss"])
    for name in ("params", "d_model", "n_layer", "tokens", "batch_tokens", "seed", "data", "tokens_id"):
        if name in table:
            same &= table[name] == table[name][i]
    if "epochs" in table:
        same &= np.isclose(table["epochs"], table["epochs"][i])
    other = mean_loss(table["loss"][same]) if same.any() else math.nan
    name = str(table["run"][i]) if "run" in table else str(table.rows[i])
    return Branch(name, float(table["tokens"][i]), float(table["loss"][i]), other)
