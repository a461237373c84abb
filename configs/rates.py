"""The learning rate that suits a size, a length, a batch, a text and a kind of model: the laws in rates.json.

They are those of the sweeps of configs/learning_rate.py, whose runs are in results/learning_rate: all parts on Python,
for Transformers and LSTMs, and `few` of them on English. docs/tuning.md says how well they fit.

    scaling tune results/learning_rate/runs.csv --out configs/rates.json --name python
    scaling tune results/learning_rate/english.csv --out configs/rates.json --name english
"""

from pathlib import Path

from scaling import rates
from scaling.config import OptimConfig
from scaling.rates import Text

LAWS = rates.read(Path(__file__).with_name("rates.json"))
BATCH = 256  # tokens: of most studies, 4 sequences of 64
SHARE = 0.7  # a trunk's constant rate, of the peak of a cosine
WARMUP = 2**13  # tokens: every branch of a trunk has the same


def learning_rate(
    N: float, D: float | None = None, B: float = BATCH, *, text: Text = "python", kind: str = "transformer"
) -> float:
    """The best peak rate by the laws of the sweeps (docs/tuning.md): Adam, cosine.

    Args:
        N: non-embedding parameters.
        D: tokens; None for the middle of the sweep.
        B: tokens per update.
        text: whose laws. What the sweep of a text lacks is taken from that of Python.
        kind: of the model. What was swept for no model of its kind is taken from Transformers.
    """
    whose, of = law_of(text, kind)
    return LAWS[whose][of](N, D, B)


def law_of(text: Text, kind: str) -> tuple[str, str]:
    """The text and the kind of model whose law rates of these are taken from."""
    for one in ((text, kind), ("python", kind), (text, "transformer")):
        if one[1] in LAWS.get(one[0], {}):
            return one
    return "python", "transformer"


def trunk(peak: float, share: float = SHARE, warmup: int = WARMUP) -> OptimConfig:
    """A constant rate that falls over the last fifth of a run, about where Haegele et al. (2024) find no more gain.

    Runs that differ in their tokens alone are then branches of one trunk.

    Args:
        peak: the best peak rate of a cosine.
        share: of it, the constant rate.
        warmup: tokens.
    """
    return OptimConfig(learning_rate=share * peak, schedule="wsd", warmup=0.0, warmup_tokens=warmup)
