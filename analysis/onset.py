"""When a model begins to use its context: the tokens after which later positions are predicted better than the second.

A model that looks at the last token alone has the same loss at every position from the second on. The onset is where
the mean loss of the positions beyond BEYOND comes to lie GAIN below that of position 2, which sees one
token (position 1 sees none: windows begin with the separator), and stays there: at an unstable step the loss at one
position may jump by ten times as much for a single evaluation. Tokens are those processed, losses in nats per token.

The loss at one position is the mean over as few tokens as there are held-out windows: of 1024 windows it is known to
about 0.06 nats, of 512 to 0.09. This error is that of the text which stands there, so it is common to all runs that
share the windows: it moves all their onsets together, and says little against their order. Runs of other contexts have
other windows. In an ablation on English, models at the loss of bigrams showed a gain of 0.05 to 0.12 from it alone,
for a long time: GAIN lies above that, since at 0.1 the onset of such models was where the text's error put it.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from analysis.table import Table

BEYOND = 8  # positions
GAIN = 0.2  # nats per token
COMPARED = (
    "params",
    "n_ctx",
    "positions",
    "d_head",
    "batch_tokens",
    "learning_rate",
    "seed",
    "tokens",
    "loss",
    "onset",
)


def onset(tokens: ArrayLike, near: ArrayLike, far: ArrayLike) -> float:
    """The tokens at the onset, between evaluations on a straight line over ln(tokens); NaN where there was none yet.

    Where every evaluation lies beyond it, the first one's tokens are given: the onset was there at the latest.

    Args:
        tokens: processed at each evaluation, above 0 and rising. e
        near: the loss at the position that sees one token, there. e
        far: the mean loss at the positions beyond BEYOND, there. e
    """
    gain = np.asarray(near, float) - np.asarray(far, float)
    at = np.log(np.asarray(tokens, float))
    below = np.flatnonzero(~(gain >= GAIN))
    i = int(below[-1]) + 1 if len(below) else 0
    if i == len(gain):
        return math.nan
    if i == 0 or not math.isfinite(gain[i - 1]):
        return float(np.exp(at[i]))
    share = (GAIN - gain[i - 1]) / (gain[i] - gain[i - 1])
    return float(np.exp(at[i - 1] + share * (at[i] - at[i - 1])))


def onsets(runs: Table) -> Table:
    """The finished runs whose onset can be told, with all their columns; `onset` is NaN where it was not reached.

    Such a run tells a lower bound, its `tokens`.

    Args:
        runs: of `analysis.records.Records`, or a table with the columns of COMPARED.

    Raises:
        InputError: a column is missing.
    """
    runs = runs.where(runs.ended(), "diverged or unfinished")
    for name in COMPARED:
        runs[name]  # or it says which column is missing
    runs = runs.where(runs["n_ctx"] > BEYOND, f"a context of {BEYOND} tokens or fewer")
    return runs.where(runs["positions"] != "", "without positions: it is no Transformer")
