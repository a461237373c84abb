"""The sweep behind configs/rates.py: sizes at several learning rates."""

from scaling.config import EvalConfig, OptimConfig, RunConfig, Study
from scaling.ladder import ladder

SHAPES = ((8, 2), (16, 2), (24, 2), (32, 2), (48, 2), (64, 2), (96, 2))


def study(D: int = 2**18, lowest: float = 2e-3, n_rates: int = 6, n_sizes: int = 7) -> Study:
    """`n_rates` learning rates, doubling from `lowest`, for each of the `n_sizes` smallest models, at D tokens."""
    runs = tuple(
        RunConfig(
            model,
            tokens=D,
            batch=4,
            optim=OptimConfig(learning_rate=lowest * 2**k),
            eval=EvalConfig(per_octave=1, octaves=5),
        )
        for model in ladder(SHAPES[:n_sizes], d_head=8)
        for k in range(n_rates)
    )
    return Study("learning-rate", "Which learning rate suits which size?", runs)
