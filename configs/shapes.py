"""Shapes of one size: what the loss owes to d_ff / d_model, d_model / n_layer and the heads, N held fixed.

    scaling study run configs/shapes.py --out studies/shapes

After Kaplan et al. (2020) Fig. 5. N agrees within 1 %; seeds of every shape give the noise that a difference must
exceed.
"""

from collections.abc import Sequence
from typing import Any

from configs.rates import learning_rate
from scaling.config import EvalConfig, ModelConfig, OptimConfig, RunConfig, Study
from scaling.ladder import matched
from scaling.rates import Text

FF_RATIOS = (0.5, 1, 2, 8, 16, 32)  # 4 is the base
LAYERS = (1, 3, 4, 6, 8, 12)  # 2 is the base
HEADS = (4, 16, 32, 64)  # width of a head; 8 is the base
BASE_LAYERS, BASE_HEAD = 2, 8


def study(N: int = 98304, D: int = 2**19, n_seeds: int = 2, rates: Text = "python") -> Study:
    """One change at a time from a base of 2 layers, d_ff = 4 d_model and heads of width 8.

    Args:
      rates: the text whose learning rates the runs take; that of data.source where it is left out.
    """
    runs = tuple(
        RunConfig(
            model,
            tokens=D,
            batch=4,
            seed=seed,
            optim=OptimConfig(learning_rate=learning_rate(N, D, text=rates)),
            eval=EvalConfig(windows=512, per_octave=1, octaves=4),
        )
        for model in shapes(N)
        for seed in range(n_seeds)
    )
    return Study("shapes", "What does the loss owe to the shape, at one N?", runs)


def shapes(
    N: int,
    n_layer: int = BASE_LAYERS,
    d_head: int = BASE_HEAD,
    ff_ratios: Sequence[float] = FF_RATIOS,
    layers: Sequence[int] = LAYERS,
    heads: Sequence[int] = HEADS,
    **fields: Any,
) -> tuple[ModelConfig, ...]:
    """The base first, `n_layer` deep with heads `d_head` wide, then what differs from it in one ratio; equal ones once.

    Args:
      ff_ratios, layers, heads: d_ff / d_model, depths and widths of a head that are tried beside the base's.
      fields: of ModelConfig, for all.
    """
    base = matched(N, n_layer, d_head=d_head, **fields)
    found = (
        base,
        *(matched(N, n_layer, ff_ratio=ratio, d_head=d_head, **fields) for ratio in ff_ratios),
        *(matched(N, depth, d_head=d_head, **fields) for depth in layers),
        *(matched(N, n_layer, d_head=head, **fields) for head in heads if base.d_model % head == 0),
    )
    return tuple(dict.fromkeys(found))
