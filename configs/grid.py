"""The main grid: every size trained once at a constant rate, with a cooldown at each of several lengths.

    scaling study show configs/grid.py --set budget=cpu-24h
    scaling study run configs/grid.py --set budget=cpu-24h 'data.source=text:main/train*' --out studies/papers

Sizes are N = 1,536 2^k and lengths D = 2^m tokens, so that each compute C = 6ND is that of several sizes. The same runs
are learning curves, IsoFLOP profiles and a surface L(N, D), and papers share them (configs/chinchilla, configs/kaplan).

Two layers; d_model and d_ff = 4 d_model of the standard shape where N allows it, and 3/2 and 5/4 of the next smaller
size's between, which doubles N to the last weight. The warm-up takes about N tokens, as in Porian et al. (2024), and no
share of a run: it is the same for all branches of a trunk. No run is shorter than LEAST tokens per parameter, of which
the warm-up and the cooldown leave something at the constant rate.

`pod` has sizes of Kaplan et al. (2020) in their own shapes, with the optimiser, rates and warm-up of configs/pod.py.
"""

import dataclasses
import math
from typing import Any, Literal

from configs import pod
from configs.budget import NAME, QUESTION, one_of
from configs.rates import learning_rate, trunk
from scaling import kinds
from scaling.config import EvalConfig, ModelConfig, RunConfig, Study
from scaling.errors import InputError
from scaling.ladder import transformer
from scaling.rates import Text

N_0 = 1536  # parameters of the smallest size: two layers of 8
LEAST = 2  # tokens per parameter of the shortest run of a size
WARMUP = 16  # updates of the warm-up at least
LARGEST = 2**14  # tokens, the largest batch of configs/learning_rate.py


@dataclasses.dataclass(frozen=True)
class Rung:
    """One size and what is trained of it: the k-th size, lengths up to 2^longest tokens."""

    k: int
    longest: int
    seeds: int = 1


@dataclasses.dataclass(frozen=True)
class Grid:
    """What a budget affords, and how all of it is trained."""

    rungs: tuple[Rung, ...]
    shortest: int  # log2 of the tokens of the shortest runs
    batch: int  # sequences of n_ctx tokens
    windows: int  # held-out
    per_octave: int  # evaluations
    n_ctx: int = 64
    d_head: int = 8  # half of it in models narrower than two heads
    shapes: tuple[tuple[int, int], ...] = ()  # d_model, layers: of the paper's own sizes, where they are trained

    @property
    def pool(self) -> int:
        """Tokens from which all runs draw: the same windows in the same order, whatever the size and the length."""
        return 2 ** max(rung.longest for rung in self.rungs)

    @property
    def batch_tokens(self) -> int:
        return self.batch * self.n_ctx

    @property
    def fields(self) -> dict[str, Any]:
        """Of ModelConfig, the same for every model; the paper's own scale has the paper's positions."""
        own = {"n_vocab": pod.VOCABULARY, "positions": "learned"} if self.shapes else {}
        return {"n_ctx": self.n_ctx, **own}

    def size(self, k: int) -> int:
        """N of the k-th size, from 0."""
        if self.shapes:
            d_model, layers = self.shapes[k]
            return 12 * layers * d_model**2
        return N_0 * 2**k

    def model(self, k: int) -> ModelConfig:
        """The k-th size."""
        if self.shapes:
            return transformer(*self.shapes[k], d_head=self.d_head, **self.fields)
        N, width = self.size(k), (8, 12)[k % 2] * 2 ** (k // 2)
        d_ff = (N // 2 // width - 4 * width) // 2
        d_head = self.d_head if width >= 2 * self.d_head else self.d_head // 2
        return ModelConfig(width, 2, width // d_head, width, d_ff, **self.fields)

    def rate(self, N: float, tokens: float, B: int, text: Text, kind: str = "transformer") -> float:
        """The best peak rate of a cosine for N parameters on so many tokens, B of them to an update.

        By the laws of the sweeps; models smaller than N_0 and batches larger than LARGEST have the rate of these. The
        paper's rates are for its batch. To a batch of B they go as the root of 2 / (1 + that batch / B): as the root of
        the batch far below it, not at all far above (McCandlish et al. 2018 sec. 2.4, with the root that suits Adam).
        """
        if self.shapes:
            return pod.rate(max(N, 1)) * math.sqrt(2 / (1 + self.batch_tokens / B))
        return learning_rate(max(N, N_0), tokens, min(B, LARGEST), text=text, kind=kind)

    def trained(
        self,
        model: ModelConfig,
        tokens: int,
        evaluate: EvalConfig,
        text: Text,
        *,
        batch: int = 0,
        factor: float = 1.0,
        warmup: int = 0,
        schedule: Literal["wsd", "constant"] = "wsd",
        **fields: Any,
    ) -> RunConfig:
        """A run of any model as the branch of `tokens` of the grid's own: its examples, batch, warm-up and cooldown.

        Args:
            text: whose learning rates it takes.
            batch: sequences; the grid's own where it is left out.
            factor: times the rule's rate.
            warmup: tokens; the grid's own where it is left out.
            schedule: constant has no cooldown.
            fields: of RunConfig, in which it differs.
        """
        own = [rung for rung in self.rungs if self.size(rung.k) <= model.N] or self.rungs[:1]
        middle = 2 ** ((self.shortest + own[-1].longest) / 2)  # one rate serves all lengths
        B = batch * model.n_ctx or self.batch_tokens
        peak = factor * self.rate(model.N, middle, B, text, model.kind)
        own_warmup = pod.WARMUP * B if self.shapes else max(model.N, WARMUP * B)
        optim = dataclasses.replace(trunk(peak, warmup=warmup or own_warmup), schedule=schedule)
        if self.shapes:
            optim = dataclasses.replace(optim, optimizer=pod.optimizer(model.N))
            remat = pod.remat(model.N) if kinds.of(model).remat else "none"
            fields = {"dtype": "bfloat16", "remat": remat} | fields
        return RunConfig(
            model,
            tokens=tokens,
            batch=B // model.n_ctx,
            eval=evaluate,
            **{"unique_tokens": self.pool, "optim": optim} | fields,
        )


GRIDS = {
    # A minute of two cores: every figure finds runs to draw, and hardly any can decide.
    "tiny": Grid(tuple(Rung(k, 19 if k < 5 else 18, 2 if k == 3 else 1) for k in range(2, 7)), 17, 4, 128, 2),
    # Python, 25 minutes of two cores.
    "cpu-1h": Grid(
        tuple(Rung(k, 23 if k < 6 else 22, 3 if k < 3 else 2 if k < 6 else 1) for k in range(9)), 18, 16, 512, 2
    ),
    # English, nine core-hours.
    "cpu-24h": Grid(tuple(Rung(k, 25 if k < 9 else 24, 3 if k < 7 else 1) for k in range(11)), 18, 16, 1024, 4),
    # One large accelerator, a text of 7e7 tokens; rates are the sweeps' laws, a decade of N beyond them.
    "gpu-1h": Grid(tuple(Rung(k, 26, 3 if k < 7 else 1) for k in range(2, 13)), 20, 32, 1024, 4, n_ctx=128, d_head=16),
    # Sizes as in the plots of Kaplan et al. (2020), 2^18 updates of 2^19 tokens at most.
    "pod": Grid(
        tuple(Rung(k, 37, 3 if k in (3, 7) else 1) for k in range(12)),
        33,
        512,
        512,
        4,
        n_ctx=1024,
        d_head=64,
        shapes=(
            *((d, 2) for d in (16, 32, 64, 128, 256)),
            *((256, 4), (512, 4), (512, 8), (768, 12), (1024, 24), (1280, 36), (1600, 48)),
        ),
    ),
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
    return Study(NAME, QUESTION, own)


def named(budget: str) -> Grid:
    """The grid of a budget.

    Raises:
        InputError: there is none of that name.
    """
    return one_of(GRIDS, budget)


def runs(grid: Grid, rates: Text) -> tuple[RunConfig, ...]:
    """All branches of all trunks."""
    evaluate = EvalConfig(windows=grid.windows, per_octave=grid.per_octave, octaves=6)
    return tuple(
        grid.trained(grid.model(rung.k), 2**m, evaluate, rates, seed=seed)
        for rung in grid.rungs
        for seed in range(rung.seeds)
        for m in range(grid.shortest, rung.longest + 1)
        if 2**m >= LEAST * grid.size(rung.k)
    )
