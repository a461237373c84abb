"""What each optimiser is, as far as that can be said without JAX. `scaling.optim` has their arithmetic.

Read by the checks of a config, by estimates of memory, and by `config.program`. Another optimiser is an entry here and
a transformation in `scaling.optim.TRANSFORMATIONS`.
"""

import dataclasses
from collections.abc import Mapping

MOMENTS = frozenset({"b1", "b2", "eps"})
DECAY = frozenset({"weight_decay", "independent_decay"})


@dataclasses.dataclass(frozen=True)
class Facts:
    """One optimiser.

    Attributes:
        program: the transformation that it runs; two that share one can be in one pack.
        fields: of OptimConfig that it has, beside those that all have.
        per_matrix: numbers kept from one update to the next for each weight in a matrix of a layer.
        per_weight: the same for each other weight: embedding, head, positions, gains, biases.
        transfers: whether the factors of `scaling.parametrization` are about it.
    """

    program: str
    fields: frozenset[str]
    per_matrix: int
    per_weight: int
    transfers: bool

    def kept(self, matrices: int, weights: int) -> int:
        """Numbers kept for a model of so many weights, of which `matrices` are in matrices of layers."""
        return self.per_matrix * matrices + self.per_weight * (weights - matrices)


OPTIMIZERS: Mapping[str, Facts] = {
    "adam": Facts("adamw", MOMENTS, 2, 2, transfers=True),  # AdamW whose decay is zero
    "adamw": Facts("adamw", MOMENTS | DECAY, 2, 2, transfers=True),
    "adafactor": Facts("adafactor", DECAY, 0, 0, transfers=False),  # means over rows and columns, which are few
    "muon": Facts("muon", MOMENTS | DECAY, 1, 2, transfers=False),  # the moments are those of all but the matrices
}
OWN = tuple(sorted(MOMENTS | DECAY))  # the fields that only some have


def having(field: str) -> list[str]:
    """The optimisers that have a field."""
    return [name for name, facts in OPTIMIZERS.items() if field in facts.fields]
