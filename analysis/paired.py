"""Two runs on the same held-out windows: how far apart their losses are, and how sure that is.

The windows are the same for both, so what makes a text hard drops out of the difference. Windows of one document are
alike, so the interval treats documents as what was drawn: it says what other text of the same kind would give. What
another seed would give is in no pair of runs; that is the business of replicates (`analysis.replicates`).
"""

import dataclasses
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from analysis.confidence import LEVEL, t_quantile
from scaling import folders, study
from scaling.data import batches
from scaling.data.token_set import open_tokens
from scaling.errors import InputError


@dataclasses.dataclass(frozen=True)
class Difference:
    """A mean over windows, nats per token, and its interval of level LEVEL over documents."""

    mean: float
    sigma: float
    interval: tuple[float, float]
    n_windows: int
    n_documents: int

    def __str__(self) -> str:
        low, high = self.interval
        return (
            f"{self.mean:+.4f} nats/token ({low:+.4f} to {high:+.4f}), "
            f"{self.n_windows} windows of {self.n_documents} documents"
        )


def paired(path: str | Path, run_a: str, run_b: str) -> Difference:
    """Final held-out loss of run `run_a` less that of `run_b`, of the study in a folder.

    Raises:
        InputError: no such run, one without a loss for each window, or two whose windows are not the same.
    """
    whole = study.read(folders.place(path))
    losses, plans = [], []
    for id in (run_a, run_b):
        place = next(((pack, r) for pack in whole.packs for r, run in enumerate(pack.runs) if run.id == id), None)
        if place is None:
            raise InputError(f"{path}: no run {id!r}; scaling study status {path} lists them")
        pack, r = place
        history = study.history(whole, pack)
        if history is None or r >= len(loss := history.get("window_loss", ())) or not np.isfinite(loss[r]).all():
            raise InputError(
                f"{path}: run {id} has no loss for each window: it is not done, or was trained by a version that kept "
                "none; finish it with scaling study run, or train it in a new folder"
            )
        losses.append(loss[r].astype(np.float64))
        plans.append(pack.runs[r])
    a, b = plans
    for name, of_a, of_b in (
        ("tokens", a.tokens_id, b.tokens_id),
        ("semantics", a.semantics, b.semantics),
        ("model.n_ctx", a.config.model.n_ctx, b.config.model.n_ctx),
        ("eval.windows", a.config.eval.windows, b.config.eval.windows),
    ):
        if of_a != of_b:
            raise InputError(
                f"{path}: runs {run_a} and {run_b} have {name} {of_a} and {of_b}; only losses on the same windows pair"
            )
    if a.tokens_id not in whole.tokens:  # the runs were taken in from another machine
        raise InputError(
            f"{path}: the tokens {a.tokens_id} of {a.config.data.source} are not on this machine; scaling study run "
            f"CONFIG --out {path} with the config of the study prepares them"
        )
    tokens = open_tokens(Path(whole.tokens[a.tokens_id]))
    documents = batches.validation_documents(
        tokens.validation, a.config.model.n_ctx, a.config.eval.windows, tokens.separator
    )
    return clustered(losses[0] - losses[1], documents)


def clustered(values: ArrayLike, clusters: ArrayLike) -> Difference:
    """The mean of values that are alike within clusters, with the interval of a jackknife over clusters.

    One cluster is left out at a time (the CR3 estimator of Bell and McCaffrey 2002). The degrees of freedom are those
    of so many clusters of one size as have the same sum of squared shares: few where a few clusters hold most values.

    Args:
        values: one per window, shape (w,).
        clusters: of each window, shape (w,), any integers.

    Raises:
        InputError: fewer than two clusters.
    """
    values = np.asarray(values, float)
    _, index, sizes = np.unique(np.asarray(clusters), return_inverse=True, return_counts=True)
    n = len(sizes)
    if n < 2:
        raise InputError(f"{len(values)} windows of {n} document: an interval needs at least 2 documents")
    sums = np.bincount(index, values)
    mean = values.mean()
    without = (values.sum() - sums) / (len(values) - sizes)
    sigma = float(np.sqrt((n - 1) / n * ((without - without.mean()) ** 2).sum()))
    freedom = max(1.0, 1 / float(((sizes / len(values)) ** 2).sum()) - 1)
    reach = float(t_quantile(LEVEL, freedom)) * sigma
    return Difference(float(mean), sigma, (float(mean - reach), float(mean + reach)), len(values), n)
