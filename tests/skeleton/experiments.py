"""What is trained: models of several sizes, as long, on text that is not repeated."""

import dataclasses

from configs import budget
from configs.rates import BATCH, learning_rate
from scaling.config import ModelConfig, OptimConfig, RunConfig
from scaling.ladder import ladder

NAME, QUESTION = "skeleton", "Does the loss fall as a power of the size?"


@dataclasses.dataclass(frozen=True)
class Budget(budget.Budget):
    """What may be trained."""

    shapes: tuple[tuple[int, int], ...]  # d_model, layers
    tokens: int


def size(at: Budget) -> tuple[RunConfig, ...]:
    """L(N): a ladder of sizes."""
    return tuple(_run(at, model) for model in ladder(at.shapes, d_head=8, n_vocab=512, n_ctx=64))


def _run(at: Budget, model: ModelConfig) -> RunConfig:
    optim = OptimConfig(learning_rate(model.N, at.tokens, text=at.rates))
    return RunConfig(model, tokens=at.tokens, batch=BATCH // model.n_ctx, optim=optim)


EXPERIMENTS = {"size": size}
