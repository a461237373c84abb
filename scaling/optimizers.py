"""What each optimiser is, as far as that can be said without JAX. `scaling.optim` has their arithmetic.

Read by the checks of a config, by estimates of memory, and by `config.program`. Another optimiser is a class beside a
config (docs/extending.md), or an entry here and a transformation in `scaling.optim.TRANSFORMATIONS`.
"""

import functools
import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from scaling import extensions
from scaling.errors import InputError

if TYPE_CHECKING:  # facts are read without JAX
    import optax

    from scaling.config import OptimConfig

MOMENTS = frozenset({"b1", "b2", "eps"})
DECAY = frozenset({"weight_decay", "independent_decay"})


class Optimizer:
    """One optimiser."""

    program: ClassVar[str] = ""  # its transformation in scaling.optim; two that share one can be in one pack
    fields: ClassVar[frozenset[str]] = frozenset()  # of OptimConfig that it has, beside those that all have
    per_matrix: ClassVar[int] = 2  # numbers kept between updates for each weight in a matrix of a layer
    per_weight: ClassVar[int] = 2  # for each other weight: embedding, head, positions, gains, biases
    transfers: ClassVar[bool] = False  # whether the factors of scaling.parametrization are about it

    def kept(self, matrices: int, weights: int) -> int:
        """Numbers kept for a model of so many weights, of which `matrices` are in matrices of layers."""
        return self.per_matrix * matrices + self.per_weight * (weights - matrices)

    def transformation(self, config: "OptimConfig") -> "optax.GradientTransformation":
        """Gradients, clipped, to updates of unit learning rate, which are subtracted. Trees: weights by name."""
        return importlib.import_module("scaling.optim").TRANSFORMATIONS[self.program](config)


class AdamW(Optimizer):
    program = "adamw"
    fields = MOMENTS | DECAY
    transfers = True


class Adam(AdamW):
    """AdamW whose decay is zero."""

    fields = MOMENTS


class Adafactor(Optimizer):
    program = "adafactor"
    fields = DECAY
    per_matrix = per_weight = 0  # means over rows and columns, which are few


class Muon(Optimizer):
    program = "muon"
    fields = MOMENTS | DECAY  # the moments are those of all but the matrices
    per_matrix = 1


class Foreign(Optimizer):
    """Somebody's own, whose source this process was not given: it is read about, and not trained."""

    fields = MOMENTS | DECAY  # not for us to refuse
    transfers = True

    def transformation(self, config: "OptimConfig") -> "optax.GradientTransformation":
        raise InputError(
            f"optim.optimizer={config.optimizer} is somebody's own, and its source is not given here; "
            "scaling study run CONFIG finds it beside the config that names it"
        )


OPTIMIZERS: Mapping[str, Optimizer] = {
    "adam": Adam(),
    "adamw": AdamW(),
    "adafactor": Adafactor(),
    "muon": Muon(),
}
OWN = tuple(sorted(MOMENTS | DECAY))  # the fields that only some have


def of(name: str) -> Optimizer:
    """What an optimiser is.

    Raises:
        InputError: there is none of this name.
    """
    if found := OPTIMIZERS.get(name):
        return found
    if not extensions.kept(name):
        names = ", ".join(OPTIMIZERS)
        raise InputError(f"optim.optimizer={name!r}: wanted one of {names}, or your own, FILE.py:Name")
    return _one(extensions.known(name, Optimizer) or Foreign)


@functools.cache
def _one(made: type[Optimizer]) -> Optimizer:
    return made()


def program(name: str) -> str:
    """What names the program of an optimiser: runs of equal programs can be one pack."""
    return name if extensions.kept(name) else of(name).program


def having(field: str) -> list[str]:
    """The optimisers that have a field."""
    return [name for name, facts in OPTIMIZERS.items() if field in facts.fields]
