"""What a scaling law leaves open: the shape of N parameters, the batch, the learning rate.

Published rules belong to their authors' data, optimiser and schedule; the law of one's own sweep (`own_rates`) goes
before them.
"""

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from analysis.digits import short
from analysis.frontier import Array
from scaling.errors import InputError

# d_model / n_layer: 50 to 100 is best in Kaplan et al. (2020) Fig. 5, about 100 in Henighan et al. (2020).
ASPECT = 80.0
FEWEST_UPDATES = 100.0  # of a run: a rule whose batch leaves fewer does not hold there


@dataclasses.dataclass(frozen=True)
class Shape:
    """A standard Transformer: d_attn = d_model, d_ff = 4 d_model, so N = 12 n_layer d_model^2 without embeddings."""

    d_model: int
    n_layer: int
    n_head: int
    rows: int = 0  # embedding rows that N counts

    @property
    def d_ff(self) -> int:
        return 4 * self.d_model

    @property
    def params(self) -> int:
        return 12 * self.n_layer * self.d_model**2 + self.rows * self.d_model


def shape_for(N: float, *, aspect: float = ASPECT, rows: int = 0) -> Shape:
    """The standard shape nearest to N parameters.

    Widths are multiples of 16 below 256 (heads of 16), of 64 below 1024 (heads of 64), of 128 below 2048, 256
    below 4096 and 512 above (heads of 128). Size counts four times as much as aspect, whose minimum is flat: Kaplan et
    al. (2020) Fig. 5.

    Args:
        N: parameters, with `rows` embedding rows counted in.
        aspect: d_model / n_layer wanted.
        rows: n_vocab (+ n_ctx) where N counts embeddings, 0 where it does not.

    Raises:
        InputError: N is below the smallest shape.
    """

    def miss(shape: Shape) -> float:
        return 4 * abs(math.log(shape.params / N)) + abs(math.log(shape.d_model / shape.n_layer / aspect))

    shapes = []
    for n_layer in range(1, 513):
        # d of 12 l d^2 + rows d = N
        d = (-rows + math.sqrt(rows**2 + 48 * n_layer * N)) / (24 * n_layer)
        head, step = (
            (16, 16) if d < 256 else (64, 64) if d < 1024 else (128, 128 if d < 2048 else 256 if d < 4096 else 512)
        )
        shapes += [
            Shape(width, n_layer, width // head, rows)
            for width in (math.floor(d / step) * step, math.ceil(d / step) * step)
            if width > 0
        ]
    best = min(shapes, key=miss)
    if abs(math.log(best.params / N)) > math.log(1.5):
        raise InputError(
            f"{short(N)} parameters: no standard shape within a factor of 1.5; the nearest has {best.params}"
        )
    return best


def kaplan_learning_rate(N: ArrayLike) -> Array:
    """0.003239 - 0.0001395 ln N, non-embedding N: Kaplan et al. (2020) eq. D.1, not trusted above 1e10."""
    return 0.003239 - 0.0001395 * np.log(np.asarray(N, float))


def published_learning_rates(N: float, D: float, C: float) -> dict[str, float]:
    """Peak learning rates of Adam by published rules; each belongs to its authors' batch, schedule and
    initialisation.
    """
    rates = {
        "DeepSeek (2024) eq. 1, by C": 0.3118 * C**-0.1250,
        "Step Law (2025), by N and D": 1.79 * N**-0.713 * D**0.307,
    }
    if N < 1e10:
        rates["Kaplan (2020) eq. D.1, by N"] = float(kaplan_learning_rate(N))
    return rates


def published_batches(D: float, C: float, loss: float | None) -> dict[str, float]:
    """Batches in tokens by published rules; Kaplan's only where the loss is known in nats per token."""
    batches = {
        "DeepSeek (2024), by C": 0.2920 * C**0.3271,
        "Step Law (2025), by D": 0.58 * D**0.571,
    }
    if loss is not None:
        batches["Kaplan (2020) B_crit, by loss"] = 2.1e8 / loss ** (1 / 0.21)
    return batches


def leaving_updates(batches: Mapping[str, float], D: float) -> tuple[dict[str, float], list[str]]:
    """The batches that leave a run of D tokens FEWEST_UPDATES or more, and a note on each of the others.

    Where none does, the batch of so many updates.
    """
    usable = {name: B for name, B in batches.items() if D / B >= FEWEST_UPDATES}
    notes = [
        f"no batch of {name}: {short(B)} tokens, of {short(D)} in all, leave fewer than {FEWEST_UPDATES:.0f} updates"
        for name, B in batches.items()
        if name not in usable
    ]
    return usable or {f"{FEWEST_UPDATES:.0f} updates, where every rule wants fewer": D / FEWEST_UPDATES}, notes
