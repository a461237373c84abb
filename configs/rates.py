"""The learning rate that suits a size and a length."""

from pathlib import Path

from scaling.rates import RateLaw

# Made by: scaling study run configs/learning_rate.py --out A --set n_data=3; scaling tune A --out configs/rates.json
LAW = RateLaw.from_json(Path(__file__).with_name("rates.json"))


def learning_rate(N: float, D: float | None = None) -> float:
    """The peak rate for a Transformer of N non-embedding parameters on D tokens: Adam, cosine, batches of 256 tokens.

    Swept for N from 1.5e3 to 1e5 and D from 6.6e4 to 1e6, where it costs at most 0.3 % of loss (docs/tuning.md).
    Without D it is the rate for the middle of the sweep.
    """
    return LAW(N, D)
