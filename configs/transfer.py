"""Does a learning rate tuned at one size serve others? Bowls over the width and the depth, by parametrisation.

    scaling study run configs/transfer.py --out studies/transfer
    scaling tune studies/transfer --plot transfer.svg
    scaling tune --coordinate-check configs/transfer.py

The same Transformers under the standard parametrisation and under muP (widths) or CompleteP (depths), with a head of
their own, seven learning rates each. Heads stay 16 wide. The base is 64 wide and 2 layers deep: there all are one.
"""

from typing import Literal

from scaling.config import EvalConfig, OptimConfig, RunConfig, Study
from scaling.ladder import transformer

WIDTHS = (16, 32, 64, 128, 256)  # two layers
DEPTHS = (2, 4, 8)  # 64 wide
LOWEST = 2.0**-10  # the lowest rate, about 0.001


def study(
    D: int = 2**17, batch: int = 8, n_widths: int = 5, n_depths: int = 3, n_rates: int = 7, n_seeds: int = 1
) -> Study:
    """`n_rates` learning rates, each double the one before, for each model and seed.

    Args:
      D: tokens of each run.
      batch: sequences of 64 tokens.
      n_widths, n_depths: how many of WIDTHS and DEPTHS, the smallest first.
    """

    def bowl(width: int, depth: int, name: Literal["standard", "mup", "completep"]) -> list[RunConfig]:
        model = transformer(width, depth, tied=False, parametrization=name)
        return [
            RunConfig(
                model,
                tokens=D,
                batch=batch,
                seed=seed,
                optim=OptimConfig(learning_rate=LOWEST * 2**k),
                eval=EvalConfig(per_octave=1, octaves=2),
            )
            for k in range(n_rates)
            for seed in range(n_seeds)
        ]

    runs: list[RunConfig] = []
    for width in WIDTHS[:n_widths]:
        runs += bowl(width, 2, "standard") + bowl(width, 2, "mup")
    for depth in DEPTHS[:n_depths]:
        runs += bowl(64, depth, "standard") + bowl(64, depth, "completep")
    return Study("transfer", "Does a learning rate tuned at one size serve others?", tuple(dict.fromkeys(runs)))
