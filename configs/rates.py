"""The learning rate that suits a size, a length, a batch, a text and a kind of model: the laws in rates.json.

Made by, once the parts of configs/learning_rate.py are trained in A and the part `few` on English in B:

    scaling tune A --out configs/rates.json --name python
    scaling tune B --out configs/rates.json --name english
"""

from pathlib import Path

from scaling import rates
from scaling.rates import Text

LAWS = rates.read(Path(__file__).with_name("rates.json"))
BATCH = 256  # tokens: of most studies, 4 sequences of 64


def learning_rate(
    N: float, D: float | None = None, B: float = BATCH, *, text: Text = "python", kind: str = "transformer"
) -> float:
    """The best peak rate by the laws of the sweeps (docs/tuning.md): Adam, cosine.

    Args:
        N: non-embedding parameters.
        D: tokens; None for the middle of the sweep.
        B: tokens per update.
        text: whose laws. What the sweep of a text lacks is taken from that of Python.
        kind: of the model; a universal Transformer takes the rate of a Transformer.
    """
    kind = "lstm" if kind == "lstm" else "transformer"
    law = LAWS.get(text, {}).get(kind) or LAWS["python"][kind]
    return law(N, D, B)
