"""The facts of a Transformer that scores texts; scaling.models.reward computes it."""

from typing import TYPE_CHECKING, ClassVar, NoReturn

from scaling.errors import InputError
from scaling.kinds.transformer import PARAMETRIZATION, Transformer

if TYPE_CHECKING:
    from scaling.config import ModelConfig


class Reward(Transformer):
    """A reward model: Stiennon et al. (2020), arXiv 2009.01325, section 3.4.

    What it makes of each token is one number, by a vector in place of the logits' matrix, and their sum is the score of
    the text. An example is a pair of texts of which the first is preferred (scaling.data.pairs), and a text is half a
    window.
    """

    title = "a reward model"
    network = "scaling.models.reward"
    fields = Transformer.fields - PARAMETRIZATION
    embedding_alone = False
    of_pairs = True
    axes: ClassVar = {name: dims for name, dims in Transformer.axes.items() if name != "w_head"} | {"w_score": "o d"}

    def check(self, model: "ModelConfig") -> None:
        super().check(model)
        for name in ("tied", "z_loss", "softcap"):
            if getattr(model, name) != getattr(type(model), name):
                raise InputError(
                    f"model.{name}={getattr(model, name)} with model.kind=reward, which has no logits; leave it out"
                )
        if model.n_ctx % 2 or model.n_ctx < 4:
            raise InputError(
                f"model.n_ctx={model.n_ctx} with model.kind=reward: a window is two texts of one length, each after a "
                "separator; use an even number, such as 34 for texts of 16 tokens"
            )

    def outputs(self, model: "ModelConfig") -> int:
        return 1

    def vectors(self, model: "ModelConfig") -> int:
        return super().vectors(model) + model.d_model

    def context(self, model: "ModelConfig") -> int:
        """No token of one text sees the other."""
        return super().context(model) // 2

    def cut(self, model: "ModelConfig") -> dict[str, int]:
        return {name: size for name, size in super().cut(model).items() if name != "model.n_vocab"}

    def writing(self, model: "ModelConfig") -> "NoReturn":
        raise InputError("model.kind=reward scores texts and writes none; use a model of another kind")
