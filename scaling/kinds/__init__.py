"""The kinds of model that there are: a line each. docs/models.md says how one is added."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

from scaling.errors import InputError
from scaling.kinds.kind import Kept, Kind
from scaling.kinds.lstm import LSTM
from scaling.kinds.transformer import Transformer, Universal

if TYPE_CHECKING:
    from scaling.config import ModelConfig

__all__ = ["KINDS", "Kept", "Kind", "check", "of"]

KINDS: dict[str, Kind] = {
    "transformer": Transformer(),
    "lstm": LSTM(),
    "universal": Universal(),
}


def of(model: "ModelConfig") -> Kind:
    """What a model's kind is.

    Raises:
      InputError: there is none of this name.
    """
    if model.kind not in KINDS:
        raise InputError(f"model.kind={model.kind!r}: wanted one of {', '.join(KINDS)}")
    return KINDS[model.kind]


def check(model: "ModelConfig") -> None:
    """Raises InputError, one line, where fields are not those of a model of its kind."""
    kind = of(model)
    for field in dataclasses.fields(model):
        name, value = field.name, getattr(model, field.name)
        having = [other for other, each in KINDS.items() if name in each.fields]
        if having and name not in kind.fields and value != field.default:
            raise InputError(
                f"model.{name}={value} with model.kind={model.kind}: it says nothing of {kind.title}; leave it out, "
                f"or use --set model.kind={having[0]}"
            )
    kind.check(model)


def axes() -> Mapping[str, str]:
    """The dimensions of every weight that a kind has."""
    return {name: dims for kind in KINDS.values() for name, dims in kind.axes.items()}
