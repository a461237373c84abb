"""How a model learns where its tokens stand, and how early it then uses its context: positions, one change at a time.

    scaling study run configs/positions.py --out studies/positions

Two layers, heads 16 wide, 64 positions and batches of 256 tokens are the base, 256 positions with batches of 2,048
tokens a second one. Beside them three learning rates, larger batches, other heads, other wavelengths of rotary
positions, learned positions of other scales, and seeds. The held-out loss is kept by position: the onset of context use
is read from it (analysis.onset).
"""

from collections.abc import Iterator
from typing import Literal

from scaling.config import EvalConfig, OptimConfig, RunConfig, Study
from scaling.ladder import transformer

Positions = Literal["rotary", "learned", "sinusoidal", "none"]
Part = Literal["schemes", "all"]

SCHEMES: tuple[Positions, ...] = ("rotary", "learned", "sinusoidal", "none")
WIDTHS = (16, 32, 64, 128)  # two layers: N = 6,144 to 393,216
LARGE = 128  # from this width on one rate, half the tokens and fewer changes, for their cost
BATCH_EXPONENT = 0.35  # of the best rate over the batch, where only the middle of three rates is at stake


def study(D: int = 2**21, n_widths: int = 4, part: Part = "all") -> Study:
    """Runs of D tokens, those of the widest models half as long.

    Args:
      n_widths: how many of WIDTHS, the narrowest first.
      part: the schemes at the two bases and one rate, or all there is.
    """
    runs: dict[RunConfig, None] = {}
    for width in WIDTHS[:n_widths]:
        runs |= dict.fromkeys(_schemes(width, D))
        if part == "all":
            runs |= dict.fromkeys(_changes(width, D))
    return Study("positions", "How early does a model use its context, by its kind of positions?", tuple(runs))


def _schemes(width: int, D: int) -> Iterator[RunConfig]:
    for scheme in SCHEMES:
        yield _run(width, D, positions=scheme)
        yield _run(width, D, positions=scheme, n_ctx=256, batch=8)


def _changes(width: int, D: int) -> Iterator[RunConfig]:
    """What is tried beside the two bases, one at a time."""
    for scheme in SCHEMES[:2]:
        yield _run(width, D, positions=scheme, batch=32)
    if width >= LARGE:
        return
    for scheme in SCHEMES[:3]:
        yield from (_run(width, D, factor=factor, positions=scheme) for factor in (0.5, 2.0))
    for scheme in SCHEMES[:2]:
        yield from (_run(width, D, positions=scheme, d_head=d_head) for d_head in (8, 32) if d_head <= width)
    yield _run(width, D, rotary_base=100.0)
    yield _run(width, D, rotary_base=100.0, n_ctx=256, batch=8)
    yield from (_run(width, D, positions="learned", position_scale=scale) for scale in (4.0, 16.0))
    if width < LARGE // 2:
        yield from (_run(width, D, seed=1, positions=scheme) for scheme in SCHEMES[:3])


def _run(
    width: int,
    D: int,
    *,
    factor: float = 1.0,
    seed: int = 0,
    n_ctx: int = 64,
    batch: int = 4,
    d_head: int = 16,
    **fields,
) -> RunConfig:
    model = transformer(width, 2, d_head, n_ctx=n_ctx, **fields)
    rate = factor * learning_rate(model.N) * (batch * n_ctx / 256) ** BATCH_EXPONENT
    windows = 1024 if n_ctx <= 64 else 512  # the loss at one position is the mean of so few losses
    return RunConfig(
        model,
        tokens=D // 2 if width >= LARGE else D,
        batch=batch,
        seed=seed,
        optim=OptimConfig(learning_rate=float(f"{rate:.3g}")),
        eval=EvalConfig(windows=windows, per_octave=2, octaves=6),
    )


def learning_rate(N: float) -> float:
    """About the best for two million tokens in batches of 256 tokens: the middle of what is tried."""
    return 0.0078 * (N / 24_576) ** -0.35
