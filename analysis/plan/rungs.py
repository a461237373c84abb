"""The ladder of small runs to train before a planned one."""

import dataclasses
from collections.abc import Callable

import numpy as np

from analysis.frontier import FLOP_PER_PARAM_TOKEN
from analysis.plan.recipe import Shape, shape_for
from analysis.plan.routes import LineRoute, Route, best_for_size
from scaling.errors import InputError

# Sizes over two decades that end a decade below the plan, each on several lengths, since one length per size cannot
# tell what N does from what D does.
SIZES, SMALLEST, LARGEST = 7, 1 / 1000, 1 / 10
LENGTHS = (0.5, 1.0, 2.0)  # times the tokens for which a size is the best one


@dataclasses.dataclass(frozen=True)
class Rung:
    """One size of the ladder: `tokens` are those for which it is the best size, `share` what its runs take of C."""

    shape: Shape
    tokens: float
    share: float
    batch: float  # tokens
    learning_rate: float  # peak


def rungs(
    way: Route | LineRoute,
    C: float,
    N: float,
    *,
    aspect: float,
    rows: int,
    recipe: Callable[[float, float, float], tuple[float, float]],
) -> tuple[Rung, ...]:
    """Sizes to train before N parameters on C FLOP, by a law's own way of spending; those too small for a standard
    shape are left out.

    Args:
        recipe: batch in tokens and peak rate of a run of N parameters, embeddings not counted, on D tokens that reaches
            a loss.
    """
    found = {}
    for size in np.geomspace(SMALLEST * N, LARGEST * N, SIZES):
        try:
            shape = shape_for(float(size), aspect=aspect, rows=rows)
            best = best_for_size(way, shape.params, C)
        except InputError:  # no standard shape, or no best size so far down
            continue
        tokens = float(best.tokens)
        share = FLOP_PER_PARAM_TOKEN * shape.params * tokens * sum(LENGTHS) / C
        batch, rate = recipe(shape.params - shape.rows * shape.d_model, tokens, float(best.loss))
        found[shape.params] = Rung(shape, tokens, share, batch, rate)
    return tuple(found.values())
