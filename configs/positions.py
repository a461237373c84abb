"""How a model learns where its tokens stand, and how early it then uses its context: positions, one change at a time.

    scaling study run configs/positions.py --out studies/positions

Two layers, heads 16 wide, 64 positions, batches of 256 tokens and three learning rates are the base; beside it 256
positions with batches of 2,048 tokens, larger batches, other heads, other wavelengths of rotary positions, and learned
positions of other scales. The held-out loss is kept by position: the onset of context use is read from it
(analysis.onset).
"""

from collections.abc import Iterator, Sequence
from typing import Literal

from scaling.config import EvalConfig, OptimConfig, RunConfig, Study
from scaling.ladder import transformer

Positions = Literal["rotary", "learned", "sinusoidal", "none"]

SCHEMES: tuple[Positions, ...] = ("rotary", "learned", "sinusoidal", "none")
WIDTHS = (16, 32, 64, 128)  # two layers: N = 6,144 to 393,216
LARGE = 128  # from this width on one rate, half the tokens and fewer changes, for their cost
BATCH_EXPONENT = 0.35  # of the best rate over the batch, where only the middle of three rates is at stake


def study(D: int = 2**21, n_widths: int = 4, n_seeds: int = 1) -> Study:
    """Runs of D tokens, those of the widest models half as long.

    Args:
      n_widths: how many of WIDTHS, the narrowest first.
    """
    runs = dict.fromkeys(run for width in WIDTHS[:n_widths] for run in _of_width(width, D, range(n_seeds)))
    return Study("positions", "How early does a model use its context, by its kind of positions?", tuple(runs))


def _of_width(width: int, D: int, seeds: Sequence[int]) -> Iterator[RunConfig]:
    def runs(factors: Sequence[float], seeds: Sequence[int] = seeds, **fields) -> Iterator[RunConfig]:
        for factor in (1.0,) if width >= LARGE else factors:
            for seed in seeds:
                yield _run(width, D // 2 if width >= LARGE else D, factor, seed, **fields)

    three, one = (0.5, 1.0, 2.0), (1.0,)
    for scheme in SCHEMES:
        yield from runs(one if scheme == "none" else three, positions=scheme)
        yield from runs(one, positions=scheme, n_ctx=256, batch=8)
    for scheme in SCHEMES[:2]:
        yield from runs(one, positions=scheme, batch=32)
        for d_head in (8, 32):
            if d_head <= width < LARGE:
                yield from runs(one, positions=scheme, d_head=d_head)
    if width < LARGE:
        yield from runs(one, rotary_base=100.0)
        yield from runs(one, rotary_base=100.0, n_ctx=256, batch=8)
        for scale in (4.0, 16.0):
            yield from runs(one, positions="learned", position_scale=scale)
    if width < LARGE // 2:
        for scheme in SCHEMES[:3]:
            yield from runs(one, [1], positions=scheme)


def _run(width: int, D: int, factor: float, seed: int, *, n_ctx=64, batch=4, d_head=16, **fields) -> RunConfig:
    model = transformer(width, 2, d_head, n_ctx=n_ctx, **fields)
    rate = factor * learning_rate(model.N) * (batch * n_ctx / 256) ** BATCH_EXPONENT
    windows = 1024 if n_ctx <= 64 else 512  # the loss at one position is the mean of so few losses
    return RunConfig(
        model,
        tokens=D,
        batch=batch,
        seed=seed,
        optim=OptimConfig(learning_rate=float(f"{rate:.3g}")),
        eval=EvalConfig(windows=windows, per_octave=2, octaves=6),
    )


def learning_rate(N: float) -> float:
    """About the best for two million tokens in batches of 256: the middle of what is tried."""
    return 0.0078 * (N / 24_576) ** -0.35
