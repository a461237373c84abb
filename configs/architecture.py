"""What is each choice of an architecture worth? Transformers and one change at a time, at one N and one D.

    scaling study run configs/architecture.py --out studies/architecture

The base is the default Transformer, two layers deep with heads 16 wide. All others have its N within 2 %: what a change
takes from or gives to the parameters, the width of the feed-forward makes up. At the first size half and double the
learning rate are tried as well, so that no choice wins by its rate alone. The base is also trained on twice the tokens:
what more compute is worth to it says what a choice that costs more FLOP is worth at equal FLOP.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

from configs.rates import BATCH, learning_rate
from scaling.config import EvalConfig, ModelConfig, OptimConfig, RunConfig, Study
from scaling.ladder import llama, lstm, matched, universal
from scaling.rates import Text

SIZES = (24_576, 98_304, 393_216)  # N
LAYERS, HEAD = 2, 16
MORE_SEEDS = 2  # of the base, beside those of every form
# What leaves N as it is. `positions` makes the base the GPT-2 of scaling.ladder.gpt2.
CHANGES: tuple[dict[str, Any], ...] = (
    {"positions": "learned"},
    {"norm": "rms"},
    {"feed_forward": "relu2"},
    {"qk_norm": True},
    {"bias": False},
    {"tied": False},
    {"z_loss": 1e-4},
    {"softcap": 30.0},
)


def study(D: int = 2**20, n_sizes: int = 2, n_seeds: int = 2, rates: Text = "python") -> Study:
    """Every form at every size for D tokens in batches of 256.

    Args:
      n_sizes: how many of SIZES, the smallest first.
      n_seeds: of every form; the base has more.
      rates: the text whose learning rates the runs take; that of data.source where it is left out.
    """
    runs = dict.fromkeys(run for N in SIZES[:n_sizes] for run in _runs(N, D, n_seeds, rates))
    return Study("architecture", "What is each choice of an architecture worth?", tuple(runs))


def forms(N: int) -> tuple[ModelConfig, ...]:
    """The base first, then what differs from it, each of about N parameters."""
    base = matched(N, LAYERS, d_head=HEAD)
    return (
        base,
        *(dataclasses.replace(base, **change) for change in CHANGES),
        matched(N, LAYERS, ff_ratio=8 / 3, d_head=HEAD, feed_forward="swiglu"),
        matched(N, LAYERS, d_head=HEAD, n_kv_head=base.n_head // 2),
        llama(base.d_model, LAYERS, d_head=HEAD),
        universal(base.d_model, LAYERS, 2, HEAD),  # twice the FLOP
        lstm(round((N / 8) ** 0.5), 1),
    )


def _runs(N: int, D: int, n_seeds: int, rates: Text) -> Iterator[RunConfig]:
    models = forms(N)
    base = models[0]

    def run(model: ModelConfig, D: int = D, *, factor: float = 1.0, seed: int = 0) -> RunConfig:
        return _run(model, D, factor * learning_rate(N, D, text=rates, kind=model.kind), seed)

    for model in models:
        yield from (run(model, seed=seed) for seed in range(n_seeds))
        if N == SIZES[0]:
            yield from (run(model, factor=factor) for factor in (0.5, 2.0))
    yield from (run(base, seed=seed) for seed in range(n_seeds, n_seeds + MORE_SEEDS))
    yield from (run(base, 2 * D, seed=seed) for seed in range(n_seeds))


def _run(model: ModelConfig, D: int, rate: float, seed: int) -> RunConfig:
    return RunConfig(
        model,
        tokens=D,
        batch=BATCH // model.n_ctx,
        seed=seed,
        optim=OptimConfig(learning_rate=float(f"{rate:.3g}")),
        eval=EvalConfig(windows=512, per_octave=1, octaves=2),
    )
