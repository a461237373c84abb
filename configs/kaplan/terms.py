"""What a budget says: the main grid, the length at which others are held against it, the experiments' sizes."""

import dataclasses
from typing import Any

from configs import budget
from configs.grid import Grid
from scaling.config import EvalConfig, ModelConfig, RunConfig
from scaling.ladder import transformer

Shape = tuple[int, int]  # d_model, layers


@dataclasses.dataclass(frozen=True)
class Data:
    """L(N, D): sizes of the grid times unique tokens, each a trunk over epochs with cooldowns after 1, 2, 4, ..."""

    sizes: tuple[tuple[int, int], ...]  # k, and log2 of the tokens beyond which data are not repeated
    unique: tuple[int, ...]  # log2 of the tokens, rising; the last is ample
    epochs: int  # at most
    without: tuple[tuple[int, int], ...]  # k and log2 of the unique tokens that are trained without dropout too
    warmup: int  # tokens
    per_octave: int
    octaves: int
    train_windows: int


@dataclasses.dataclass(frozen=True)
class Batch:
    """B_crit(L): batches times learning rates at a constant rate."""

    sizes: tuple[int, ...]  # k
    tokens: int  # of a batch far below `reference`; a batch of B tokens gets (1 + B / reference) times as many
    reference: int  # tokens
    batches: tuple[int, ...]  # sequences
    factors: tuple[float, ...]  # times the rate of a trunk
    noisy: tuple[int, ...]  # sequences: the batches at which the gradient noise is measured
    noise: int
    warmup: int  # updates


@dataclasses.dataclass(frozen=True)
class Steps:
    """L(N, S): sizes of the grid at one batch near the critical one, constant rate."""

    sizes: tuple[int, ...]  # k
    tokens: int
    batch: int  # sequences
    per_octave: int
    octaves: int
    noise: int


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
    """LSTMs of several depths, each at several rates."""

    shapes: tuple[Shape, ...]
    factors: tuple[float, ...]  # times the rule's rate for an LSTM


@dataclasses.dataclass(frozen=True)
class Universal:
    """Transformers that use their layers several times."""

    shapes: tuple[tuple[Shape, int], ...]  # and how often its layers are used


@dataclasses.dataclass(frozen=True)
class Schedules:
    """Learning-rate schedules of one size."""

    k: int
    tokens: int
    seeds: int


@dataclasses.dataclass(frozen=True)
class Context:
    """Losses by position: a long context and a very short one, the same tokens in a batch."""

    shapes: tuple[Shape, ...]
    recurrent: tuple[Shape, ...]  # LSTMs at the long context
    factors: tuple[float, ...]  # times the rule's rate for an LSTM
    tokens: int
    n_ctx: int
    short: int
    windows: int  # of the long context; the short one has as many tokens


@dataclasses.dataclass(frozen=True)
class Budget(budget.Budget):
    """One budget: the main grid, and each experiment's own.

    Texts of other kinds are measured by `steps` and `shape`.

    Attributes:
        branch: tokens, a length of the grid, at which depths, LSTMs and recurrent Transformers are held against it.
    """

    grid: Grid
    branch: int
    data: Data
    batches: Batch
    steps: Steps
    depths: tuple[Shape, ...]  # other than that of the grid
    shapes: Shapes
    recurrent: Recurrent
    universal: Universal
    schedules: Schedules
    context: Context

    def model(self, shape: Shape, **fields: Any) -> ModelConfig:
        """A Transformer of the standard shape, its heads as wide as those of the grid."""
        d_head = self.grid.d_head if shape[0] >= 2 * self.grid.d_head else self.grid.d_head // 2
        return transformer(*shape, d_head=d_head, **self.grid.fields | fields)

    def recurrent_fields(self) -> dict[str, Any]:
        """Of the ModelConfig of an LSTM, which has no positions."""
        return {name: value for name, value in self.grid.fields.items() if name != "positions"}

    def seen(self, per_octave: int = 1, octaves: int = 3, **more: Any) -> EvalConfig:
        """What is measured along a run."""
        return EvalConfig(windows=self.grid.windows, per_octave=per_octave, octaves=octaves, **more)

    def run(self, model: ModelConfig, tokens: int, evaluate: EvalConfig, **fields: Any) -> RunConfig:
        """A run as the grid would train it, but for `fields` of `Grid.trained`."""
        return self.grid.trained(model, tokens, evaluate, self.rates, **fields)
