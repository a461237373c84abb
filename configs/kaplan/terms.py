"""What a budget says: the tokens, batch and rates that all experiments share, and each experiment's own sizes."""

import dataclasses
import math
from typing import Any, Literal

from configs import budget, pod
from configs.rates import learning_rate
from scaling import kinds
from scaling.config import EvalConfig, ModelConfig, OptimConfig, RunConfig
from scaling.ladder import transformer

Shape = tuple[int, int]  # d_model, layers

SMALLEST = 1536  # N, a quarter of the smallest size of configs/learning_rate.py
LARGEST = 2**14  # tokens, the largest batch there


@dataclasses.dataclass(frozen=True)
class Size:
    """L(N): a ladder of one depth, one epoch; other depths; seeds of corners."""

    tokens: int
    shapes: tuple[Shape, ...]
    depths: tuple[Shape, ...]  # other than those of the ladder
    replicated: tuple[Shape, ...]
    seeds: int  # of the replicated shapes
    per_octave: int
    octaves: int
    noise: int


@dataclasses.dataclass(frozen=True)
class Data:
    """L(N, D): sizes times unique tokens, repeated for so many epochs."""

    shapes: tuple[Shape, ...]
    unique: tuple[tuple[int, int], ...]  # tokens, epochs of a model of `at` parameters; rising, the last is ample
    at: int
    longest: int  # tokens of the runs with ample data, and at most of any
    rated: int  # tokens of a run, for which the rate of all of them is chosen
    schedule: Literal["constant", "cosine"]
    warmup: int  # tokens
    per_octave: int
    octaves: int
    train_windows: int


@dataclasses.dataclass(frozen=True)
class Batch:
    """B_crit(L): batches times learning rates at a constant rate."""

    shapes: tuple[Shape, ...]
    tokens: int  # of a batch far below `reference`; a batch of B tokens gets (1 + B / reference) times as many
    reference: int  # tokens
    batches: tuple[int, ...]  # sequences
    factors: tuple[float, ...]  # times the rule's rate
    noisy: tuple[int, ...]  # sequences: the batches at which the gradient noise is measured
    noise: int
    warmup: int  # updates


@dataclasses.dataclass(frozen=True)
class Base:
    """A shape, and what is tried beside it at its N."""

    N: int
    n_layer: int
    d_head: int
    ff_ratios: tuple[float, ...]
    layers: tuple[int, ...]
    heads: tuple[int, ...]  # widths


@dataclasses.dataclass(frozen=True)
class Shapes:
    """Shape at one N: one ratio changed at a time."""

    bases: tuple[Base, ...]
    tokens: int
    seeds: int
    base_seeds: int


@dataclasses.dataclass(frozen=True)
class Recurrent:
    """LSTMs of several depths, each at several rates; as many tokens as the ladder of `Size`."""

    shapes: tuple[Shape, ...]
    factors: tuple[float, ...]  # times the rule's rate for an LSTM


@dataclasses.dataclass(frozen=True)
class Universal:
    """Transformers that use their layers several times; as many tokens as the ladder of `Size`."""

    shapes: tuple[tuple[Shape, int], ...]  # and how often its layers are used


@dataclasses.dataclass(frozen=True)
class Schedules:
    """Learning-rate schedules of one size."""

    shape: Shape
    tokens: int
    seeds: int


@dataclasses.dataclass(frozen=True)
class Context:
    """Losses by position: a long context and a very short one, the same tokens in a batch."""

    shapes: tuple[Shape, ...]
    recurrent: tuple[tuple[Shape, float], ...]  # LSTMs at the long context, and their factor on the rule's rate
    tokens: int
    n_ctx: int
    short: int
    windows: int  # of the long context; the short one has as many tokens


@dataclasses.dataclass(frozen=True)
class Budget(budget.Budget):
    """One budget: what all experiments share, then each experiment's own.

    Texts of other kinds are measured by `size` and `shape`. The paper's own scale has its learning rates, warm-up and
    optimisers (configs/pod.py).
    """

    n_vocab: int
    n_ctx: int
    batch: int  # sequences
    d_head: int
    windows: int  # held-out, of n_ctx tokens
    size: Size
    data: Data
    batches: Batch
    shapes: Shapes
    recurrent: Recurrent
    universal: Universal
    schedules: Schedules
    context: Context

    @property
    def batch_tokens(self) -> int:
        return self.batch * self.n_ctx

    def fields(self, **others: Any) -> dict[str, Any]:
        """Of ModelConfig, the same for every model of the budget unless said otherwise."""
        return {"n_vocab": self.n_vocab, "n_ctx": self.n_ctx, **others}

    def attending(self, **others: Any) -> dict[str, Any]:
        """`fields` of a Transformer: at the paper's own scale its positions are learned, as the paper's are."""
        return self.fields(**({"positions": "learned"} if self.paper else {}), **others)

    def model(self, shape: Shape, **fields: Any) -> ModelConfig:
        return transformer(*shape, d_head=self.d_head, **self.attending(**fields))

    def rate(self, N: float, tokens: int, B: int, kind: str = "transformer") -> float:
        """The peak rate for N parameters on so many tokens, B of them to an update.

        By the laws of the sweeps; models smaller than SMALLEST and batches larger than LARGEST have the rate of these.
        The paper's rates are for its batch of 2^19 tokens. To a batch of B they go as the root of 2 / (1 + 2^19 / B):
        as the root of the batch far below that one, not at all far above (McCandlish et al. 2018 sec. 2.4, with the
        root that suits Adam). The batch experiment tries rates around either.
        """
        if self.paper:
            return pod.rate(max(N, 1)) * math.sqrt(2 / (1 + self.batch_tokens / B))
        return learning_rate(max(N, SMALLEST), tokens, min(B, LARGEST), text=self.rates, kind=kind)

    def optim(
        self, N: float, tokens: int, B: int, factor: float = 1.0, kind: str = "transformer", **fields: Any
    ) -> OptimConfig:
        own: dict[str, Any] = {"optimizer": pod.optimizer(N)} if self.paper else {}
        if self.paper and "warmup" not in fields:
            own["warmup_tokens"] = pod.WARMUP * B
        return OptimConfig(learning_rate=factor * self.rate(N, tokens, B, kind), **own | fields)

    def run(self, model: ModelConfig, tokens: int, evaluate: EvalConfig, **fields: Any) -> RunConfig:
        """A run of this budget: one epoch, the standard batch and schedule, unless `fields` say otherwise."""
        own = {"batch": self.batch, "optim": self.optim(model.N, tokens, self.batch_tokens, kind=model.kind)}
        if self.paper:
            own |= {"dtype": "bfloat16", "remat": pod.remat(model.N) if kinds.of(model).remat else "none"}
        return RunConfig(model, tokens=tokens, eval=evaluate, **own | fields)
