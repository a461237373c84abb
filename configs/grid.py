"""The main grid: every size trained once at a constant rate, with a cooldown at each of several lengths.

    scaling study show configs/grid.py --set budget=cpu-24h
    scaling study run configs/grid.py --set budget=cpu-24h 'data.source=text:main/train*' --out studies/grid

Sizes are N = 1,536 2^k and lengths D = 2^m tokens, so that each compute C = 6ND is that of several sizes. The same runs
are learning curves, IsoFLOP profiles and a surface L(N, D), and papers share them (configs/chinchilla, configs/kaplan).

Two layers; d_model and d_ff = 4 d_model of the standard shape where N allows it, and 3/2 and 5/4 of the next smaller
size's between, which doubles N to the last weight. The warm-up takes about N tokens, as in Porian et al. (2024), and no
share of a run: it is the same for all branches of a trunk. No run is shorter than LEAST tokens per parameter, of which
the warm-up and the cooldown leave something at the constant rate.
"""

import dataclasses

from configs.budget import one_of
from configs.rates import learning_rate, trunk
from scaling.config import EvalConfig, ModelConfig, RunConfig, Study
from scaling.errors import InputError
from scaling.rates import Text

N_0 = 1536  # parameters of the smallest size: two layers of 8
LEAST = 2  # tokens per parameter of the shortest run of a size
WARMUP = 16  # updates of the warm-up at least
NARROW = 16  # d_model below which heads are half as wide


@dataclasses.dataclass(frozen=True)
class Rung:
    """One size and what is trained of it: N = N_0 2^k, lengths up to 2^longest tokens."""

    k: int
    longest: int
    seeds: int = 1


@dataclasses.dataclass(frozen=True)
class Grid:
    """What a budget affords."""

    rungs: tuple[Rung, ...]
    shortest: int  # log2 of the tokens of the shortest runs
    batch: int  # sequences of 64 tokens
    windows: int  # held-out
    per_octave: int  # evaluations

    @property
    def pool(self) -> int:
        """Tokens from which all runs draw: the same windows in the same order, whatever the size and the length."""
        return 2 ** max(rung.longest for rung in self.rungs)


GRIDS = {
    # A minute of two cores: every figure finds runs to draw, and hardly any can decide.
    "tiny": Grid(tuple(Rung(k, 19 if k < 5 else 18, 2 if k == 3 else 1) for k in range(2, 7)), 17, 4, 128, 2),
    # Python, 25 minutes of two cores.
    "cpu-1h": Grid(
        tuple(Rung(k, 23 if k < 6 else 22, 3 if k < 3 else 2 if k < 6 else 1) for k in range(9)), 18, 16, 512, 2
    ),
    # English, nine core-hours.
    "cpu-24h": Grid(tuple(Rung(k, 25 if k < 9 else 24, 3 if k < 7 else 1) for k in range(11)), 18, 16, 1024, 4),
}


def study(budget: str = "cpu-1h", largest: int = 0, rates: Text = "python") -> Study:
    """The grid of a budget.

    Args:
      largest: only sizes of at most so many parameters, for a study that is trained in portions; 0: all.
      rates: the text whose learning rates the runs take; that of data.source where it is left out.
    """
    all_ = runs(named(budget), rates)
    own = tuple(run for run in all_ if not largest or run.model.N <= largest)
    if not own:
        raise InputError(f"largest={largest}: the smallest size of this grid has {min(r.model.N for r in all_)}")
    return Study("grid", "How does the loss depend on N and D, and how is compute best split?", own)


def named(budget: str) -> Grid:
    """The grid of a budget.

    Raises:
        InputError: there is none of that name.
    """
    return one_of(GRIDS, budget)


def runs(grid: Grid, rates: Text) -> tuple[RunConfig, ...]:
    """All branches of all trunks."""
    return tuple(
        _run(grid, rung, 2**m, seed, rates)
        for rung in grid.rungs
        for seed in range(rung.seeds)
        for m in range(grid.shortest, rung.longest + 1)
        if 2**m >= LEAST * size(rung.k)
    )


def size(k: int) -> int:
    """N of the k-th size, from 0."""
    return N_0 * 2**k


def model(k: int) -> ModelConfig:
    """The k-th size."""
    N, width = size(k), (8, 12)[k % 2] * 2 ** (k // 2)
    d_ff = (N // 2 // width - 4 * width) // 2
    return ModelConfig(width, 2, width // (8 if width >= NARROW else 4), width, d_ff)


def _run(grid: Grid, rung: Rung, tokens: int, seed: int, rates: Text) -> RunConfig:
    shape = model(rung.k)
    B = grid.batch * shape.n_ctx
    middle = 2 ** ((grid.shortest + rung.longest) / 2)  # one rate serves all lengths
    warmup = max(shape.N, WARMUP * B)
    return RunConfig(
        shape,
        tokens=tokens,
        unique_tokens=grid.pool,
        batch=grid.batch,
        seed=seed,
        optim=trunk(learning_rate(shape.N, middle, B, text=rates), warmup=warmup),
        eval=EvalConfig(windows=grid.windows, per_octave=grid.per_octave, octaves=6),
    )
