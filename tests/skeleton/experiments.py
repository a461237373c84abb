"""What is trained: models of several sizes, as long, on text that is not repeated."""

import dataclasses

from scaling.config import OptimConfig, RunConfig
from scaling.ladder import ladder

NAME, QUESTION = "skeleton", "Does the loss fall as a power of the size?"


@dataclasses.dataclass(frozen=True)
class Budget:
    """What may be trained."""

    name: str
    shapes: tuple[tuple[int, int], ...]  # d_model, layers
    tokens: int


def size(budget: Budget) -> tuple[RunConfig, ...]:
    """L(N): a ladder of sizes."""
    return tuple(
        RunConfig(model, tokens=budget.tokens, batch=4, optim=OptimConfig(0.01))
        for model in ladder(budget.shapes, d_head=8)
    )


EXPERIMENTS = {"size": size}
