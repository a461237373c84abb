"""A kind of somebody's own whose source this process was not given: it is read about, and not trained."""

from typing import TYPE_CHECKING, Any, NoReturn

from scaling.errors import InputError
from scaling.kinds.kind import Counted, Kept, Kind

if TYPE_CHECKING:
    from scaling.config import ModelConfig

_TOLD: "dict[ModelConfig, Counted]" = {}


def tell(model: "ModelConfig", counted: Counted) -> None:
    """Remembers what a record says of a model of such a kind."""
    _TOLD[model] = counted


class Foreign(Kind):
    """What a record tells of a model, and no network."""

    remat = embedding_alone = True  # not for us to refuse

    def __init__(self, name: str):
        self.name = name
        self.title = f"a {name.partition('@')[0]}"  # pyright: ignore[reportAttributeAccessIssue]

    def _missing(self) -> InputError:
        return InputError(
            f"model.kind={self.name} is somebody's own, and its source is not given here; scaling study run CONFIG "
            "finds it beside the config that names it, and in Python scaling.question.load(CONFIG, {}) does"
        )

    def counted(self, model: "ModelConfig") -> Counted:
        if model not in _TOLD:
            raise self._missing()
        return _TOLD[model]

    def N(self, model: "ModelConfig") -> int:
        return self.counted(model).N

    def vectors(self, model: "ModelConfig") -> int:
        return self.counted(model).vectors

    def active(self, model: "ModelConfig") -> int:
        return self.counted(model).active

    def idle(self, model: "ModelConfig") -> int:
        return self.counted(model).idle

    def positions(self, model: "ModelConfig") -> int:
        return self.counted(model).positions

    def context(self, model: "ModelConfig") -> int:
        return self.counted(model).context

    def depth(self, model: "ModelConfig") -> int:
        return self.counted(model).depth

    def kept(self, model: "ModelConfig", tensor: int) -> Kept:
        """A guess, for estimates of what is trained elsewhere."""
        return Kept(16 * model.d_model, 16 * model.d_model)

    def init(self, model: "ModelConfig", rng: Any) -> NoReturn:
        raise self._missing()

    def features(self, model: "ModelConfig", params: Any, tokens: Any, **how: Any) -> NoReturn:
        raise self._missing()
