"""Runs with code in place of repeats beside runs of the same size that repeat the same text for as many tokens.

A place is one size on one set of unique tokens of text. Losses are on held-out text, in nats per token of the text's
vocabulary, N as `params` counts it.
"""

import numpy as np
from numpy.typing import NDArray

from analysis.confidence import LEVEL, t_quantile
from analysis.papers.claim import Undecided
from analysis.papers.data_constrained import repeats
from analysis.replicates import Noise
from analysis.table import Table
from scaling.data import mixture

Array = NDArray[np.float64]


def with_shares(runs: Table) -> Table:
    """The runs with `share`, of code, and `unique_tokens` of the text alone.

    Raises:
        InputError: the source of a run is no mixture.
    """
    share, unique = [], []
    for source in runs["data"]:
        text = next((part for part in mixture.parse(str(source)) if part.most), None)
        share.append(np.nan if text is None else 1 - text.share)
        unique.append(np.nan if text is None or text.most is None else float(text.most))
    return runs.with_columns(share=np.array(share), unique_tokens=np.array(unique))


def beside_repeats(filled: Table, repeated: Table, noise: Noise) -> Table:
    """What code in place of repeats changes.

    Args:
        filled: runs `with_shares`.
        repeated: runs on text alone, with `_pool` (`repeats`).
        noise: of the seed, of each run alike.

    Returns:
        Columns params, unique_tokens, tokens, epochs, of the text alone; share, of code; times that the text is read
        beside it; seeds; loss, a geometric mean, and repeated_loss; change, one over the other less 1, and half, of its
        interval, with the noise of both; added, the loss over that of the text read as often without code, less 1, NaN
        where no run is. By size, unique tokens, epochs and share.

    Raises:
        Undecided: no run with code has one beside it.
    """
    q = float(t_quantile(LEVEL, np.array(float(noise.degrees))))
    keys = ("params", "unique_tokens", "tokens")

    def mean_alone(N: float, U: float, tokens: float) -> tuple[float, int]:
        """Of ln loss, and of how many runs."""
        own = repeats.on_set(repeated, N, U)
        own = own[repeated["tokens"][own] == tokens]
        return (float(np.log(repeated["loss"][own]).mean()), len(own)) if len(own) else (np.nan, 0)

    cells = sorted({*zip(*(filled[name] for name in (*keys, "share")), strict=True)})
    rows = []
    for N, U, tokens, share in cells:
        here = np.all([filled[name] == x for name, x in zip(keys, (N, U, tokens), strict=True)], axis=0)
        own = np.log(filled["loss"][here & (filled["share"] == share)])
        alone, n = mean_alone(N, U, tokens)
        if not n:
            continue
        change = np.expm1(own.mean() - alone)
        sigma = noise.sigma * np.sqrt(1 / len(own) + 1 / n)
        less, _ = mean_alone(N, U, (1 - share) * tokens)
        rows.append({"params": N, "unique_tokens": U, "tokens": tokens, "epochs": tokens / U, "share": share,
                     "times": (1 - share) * tokens / U, "seeds": float(len(own)), "loss": np.exp(own.mean()),
                     "repeated_loss": np.exp(alone), "change": change,
                     "half": (1 + change) * q * sigma, "added": np.expm1(own.mean() - less)})  # fmt: skip
    if not rows:
        raise Undecided("no run with code has one beside it that repeats the same text for as many tokens")
    return Table.from_columns({name: np.array([float(row[name]) for row in rows]) for name in rows[0]})
