"""What a kind of model is: the one object that configs, counts, costs, meshes and training ask about it."""

import abc
import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

if TYPE_CHECKING:  # facts are read without JAX
    import jax
    import numpy as np

    from scaling.config import ModelConfig
    from scaling.models.shared import Features, Params


class Kept(NamedTuple):
    """Numbers that the forward pass leaves to the backward one, per position and layer, on one device."""

    layer: float  # with remat=none
    products: float  # with remat=matmuls


class Counted(NamedTuple):
    """What a kind counts of one model, for whoever reads its records without the kind's source; as in `Kind`."""

    N: int
    vectors: int
    active: int
    positions: int
    context: int
    depth: int
    idle: int = 0


class Kind(abc.ABC):
    """Facts of all models of one kind, and where their network is; docs/extending.md goes through them with an example.

    A kind names its network's module in place of importing it: networks know configs, configs know kinds, and a study
    is listed without JAX.
    """

    title: ClassVar[str]  # in a sentence: "an LSTM"
    network: ClassVar[str]  # the module with `init` and `features`, for a kind that does not define them itself
    axes: ClassVar[Mapping[str, str]]  # the dimensions of each weight, letters as in scaling.sharding
    fields: ClassVar[frozenset[str]] = frozenset()  # of ModelConfig, that mean something to it and not to every kind
    embedding_alone: ClassVar[bool] = False  # whether n_layer=0 is a model
    remat: ClassVar[bool] = False  # whether the backward pass can compute layers again
    recurrent: ClassVar[bool] = False  # whether a layer goes through the positions one by one
    of_pairs: ClassVar[bool] = False  # whether it scores texts, and an example is two of them (scaling.data.pairs)

    def check(self, model: "ModelConfig") -> None:  # noqa: B027  # many kinds refuse nothing
        """Raises InputError, one line, where fields are not those of a model of this kind."""

    @abc.abstractmethod
    def N(self, model: "ModelConfig") -> int:
        """Non-embedding parameters: the elements of the matrices (named w_) but w_embed, w_pos and w_head, and but
        those that are `idle`."""

    @abc.abstractmethod
    def vectors(self, model: "ModelConfig") -> int:
        """Parameters of gains (g_) and biases (b_)."""

    def active(self, model: "ModelConfig") -> int:
        """Of N, those that a token meets, each as often as it meets it: 2 FLOP each in the forward pass."""
        return self.N(model)

    def idle(self, model: "ModelConfig") -> int:
        """Elements of the matrices that a token does not meet, while others do: experts that it is not sent to."""
        return 0

    def positions(self, model: "ModelConfig") -> int:
        """Parameters of learned positions."""
        return 0

    def context(self, model: "ModelConfig") -> int:
        """Products of a token with its context, once: attention's scores with n_ctx keys; as many mix the values."""
        return 0

    def outputs(self, model: "ModelConfig") -> int:
        """Rows of the matrix that what comes out of the layers meets: logits, or one score."""
        return model.n_vocab

    def depth(self, model: "ModelConfig") -> int:
        """Layers that a token goes through."""
        return model.n_layer

    @abc.abstractmethod
    def kept(self, model: "ModelConfig", tensor: int) -> Kept:
        """What a layer holds in training. tensor: devices over which its wide parts are cut."""

    def counted(self, model: "ModelConfig") -> Counted:
        """All that is counted of a model."""
        return Counted(*(getattr(self, name)(model) for name in Counted._fields))

    def cut(self, model: "ModelConfig") -> Mapping[str, int]:
        """The fields, with their values, that the mesh axis `tensor` cuts; none: it has nothing to cut."""
        return {}

    def attention(self, model: "ModelConfig", dtype: str, backend: str) -> str:
        """Which attention a program uses on a backend ("cpu", "gpu", "tpu"), and why, in one line."""
        return "none"

    def frozen(self, model: "ModelConfig", tokens: "np.ndarray") -> "Mapping[str, np.ndarray]":
        """Weights that training leaves as they are and that the text decides, by name.

        Args:
            tokens: from which a run draws its examples, (n,).
        """
        return {}

    def writing(self, model: "ModelConfig") -> "ModelConfig":
        """The model as it writes text, in which every token depends on those before it in its own text alone.

        Raises:
            InputError: it has none, one line.
        """
        return model

    def init(self, model: "ModelConfig", rng: "jax.Array") -> "Params":
        """Float32 parameters by name, those of the layers stacked (l first)."""
        return importlib.import_module(self.network).init(model, rng)

    def features(self, model: "ModelConfig", params: "Params", tokens: "jax.Array", **how: Any) -> "Features":
        """What the logits are made from. tokens: i32 b t. Arguments as of `scaling.models.model.features`."""
        return importlib.import_module(self.network).features(model, params, tokens, **how)

    def cache(self, model: "ModelConfig", b: int, dtype: str) -> Any:
        """What `continued` keeps of b texts of which nothing was read: of a network that has no `cache` of its own, the
        tokens, so that all is computed again at each one.
        """
        if (network := self._with_cache()) is not None:
            return network.cache(model, b, dtype)
        import jax.numpy as jnp

        return jnp.zeros((b, model.n_ctx), jnp.int32)

    def continued(
        self, model: "ModelConfig", params: "Params", tokens: "jax.Array", cache: Any, at: "jax.Array | int", **how: Any
    ) -> "tuple[Features, Any]":
        """As `features`, after further tokens at the positions from `at` on, and the cache with them. i32 b t."""
        if (network := self._with_cache()) is not None:
            return network.continued(model, params, tokens, cache, at, **how)
        from jax import lax

        seen = lax.dynamic_update_slice_in_dim(cache, tokens, at, 1)
        found = self.features(model, params, seen, dropout_key=None, remat="none", mesh=None, **how)
        return found._replace(x=lax.dynamic_slice_in_dim(found.x, at, tokens.shape[1], 1)), seen

    def _with_cache(self) -> Any:
        """The module of the network, where it has a cache, and is what computes the features."""
        if not hasattr(self, "network") or type(self).features is not Kind.features:
            return None
        network = importlib.import_module(self.network)
        return network if hasattr(network, "continued") else None
