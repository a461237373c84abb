"""The kinds of model that there are: a line each. docs/extending.md says how one is added, here or beside a config."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING

from scaling import extensions
from scaling.errors import InputError
from scaling.kinds.foreign import Foreign, tell
from scaling.kinds.kind import Counted, Kept, Kind
from scaling.kinds.lstm import LSTM
from scaling.kinds.reward import Reward
from scaling.kinds.routed import Routed
from scaling.kinds.transformer import Transformer, Universal

if TYPE_CHECKING:
    from scaling.config import ModelConfig

__all__ = ["KINDS", "Counted", "Kept", "Kind", "check", "of", "resolved", "tell"]

KINDS: dict[str, Kind] = {
    "transformer": Transformer(),
    "lstm": LSTM(),
    "universal": Universal(),
    "routed": Routed(),
    "reward": Reward(),
}


def of(model: "ModelConfig") -> Kind:
    """What a model's kind is.

    Raises:
      InputError: there is none of this name.
    """
    if found := KINDS.get(model.kind):
        return found
    if not extensions.kept(model.kind):
        raise InputError(f"model.kind={model.kind!r}: wanted one of {', '.join(KINDS)}, or your own, FILE.py:Name")
    made = extensions.known(model.kind, Kind)
    return _one(made) if made else Foreign(model.kind)


@functools.cache
def _one(made: type[Kind]) -> Kind:
    return made()


def resolved(kind: str) -> str:
    """What a config keeps of the name of a kind: `scaling.extensions.resolved`."""
    found = extensions.resolved(kind, Kind, "model.kind")
    if made := extensions.known(found, Kind):
        for name, dims in made.axes.items():
            for other in KINDS.values():
                if other.axes.get(name, dims) != dims:
                    raise InputError(
                        f"model.kind={kind}: its axes of {name} are {dims!r}, and those of {other.title} are "
                        f"{other.axes[name]!r}; give the weight a name of its own"
                    )
    return found


def check(model: "ModelConfig") -> None:
    """Raises InputError, one line, where fields are not those of a model of its kind."""
    kind = of(model)
    if isinstance(kind, Foreign):  # its source was asked when it was planned
        return
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
    """The dimensions of every weight that a kind has; of two versions of one's own kind, those of the newer."""
    every = [*(made.axes for made in extensions.known_classes(Kind)), *(kind.axes for kind in KINDS.values())]
    return {name: dims for axes in every for name, dims in axes.items()}
