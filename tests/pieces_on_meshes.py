"""Pieces of the model on the meshes given, of all devices there are, beside the same on one; prints JSON.

python -m tests.pieces_on_meshes losses|attention MESH...
"""

import functools
import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from scaling import compile, sharding
from scaling.models.attention import attend
from scaling.models.loss import cross_entropy

B, T, D, V = 8, 16, 32, 64
CHUNKS = 4


def inputs() -> tuple[jax.Array, ...]:
    rng = np.random.default_rng(0)
    x, w, b = (jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in ((B, T, D), (V, D), (V,)))
    return x, w, b, jnp.asarray(rng.integers(0, V, (B, T)), jnp.int32)


def gradients(mesh, limit: int, arguments):
    """Of the mean loss and z-loss in x, w and b, compiled, w lying as it does in a model."""

    def mean(x, w, b, targets):
        w = sharding.gathered(w, 1, mesh)
        x = sharding.over_batch(x, mesh)
        losses, log_total = cross_entropy(x, jnp.asarray(w), b, targets, softcap=5.0, limit=limit, mesh=mesh)
        return (losses + 0.1 * log_total**2).mean()

    gradient = jax.grad(mean, (0, 1, 2))
    if mesh is None:
        return jax.jit(gradient).lower(*arguments).compile()
    specs = (PartitionSpec(sharding.BATCH), PartitionSpec("tensor", "fsdp"), PartitionSpec("tensor"))
    lie = [NamedSharding(mesh, spec) for spec in (*specs, specs[0])]
    return jax.jit(gradient, in_shardings=lie, out_shardings=tuple(lie[:3])).lower(*arguments).compile()


def losses(meshes: list[str]) -> dict:
    """Of the loss at once and in chunks: bytes that a device receives, and the largest error of a gradient."""
    arguments, found = inputs(), {}
    wanted = gradients(None, B * T * V, arguments)(*arguments)
    for text in meshes:
        mesh = sharding.make(sharding.parse(text))
        found[text] = {}
        for name, chunks in (("at once", 1), ("in chunks", CHUNKS)):
            program = gradients(mesh, B * T * V // chunks, arguments)
            found[text][name] = sum(kind.moved for kind in compile.collectives(program.as_text() or ""))
            placed = [jax.device_put(a, s) for a, s in zip(arguments, program.input_shardings[0], strict=True)]
            found[text][f"{name}, error"] = error(program(*placed), wanted)
    return found


def error(found, wanted) -> float:
    """The largest difference, relative to the largest element."""
    return max(float(abs(a - b).max() / abs(b).max()) for a, b in zip(found, wanted, strict=True))


def attention(meshes: list[str]) -> dict:
    """The largest error of the splash kernel's result and gradients, of a pack of two runs."""
    rng = np.random.default_rng(0)
    qkv = [jnp.asarray(rng.normal(size=(2, 4, 128, 2, 64)), jnp.float32) for _ in range(3)]  # r b t h k

    def value_and_gradients(mesh, implementation):
        def total(*qkv):
            one = functools.partial(attend, implementation=implementation, mesh=mesh, interpret=True)
            y = jax.vmap(one, spmd_axis_name=sharding.lanes_axis(mesh, 2))(*qkv)
            return (y**2).sum(), y

        (_, y), grads = jax.jit(jax.value_and_grad(total, (0, 1, 2), has_aux=True))(*qkv)
        return y, *grads

    wanted = value_and_gradients(None, "xla")
    return {text: error(value_and_gradients(sharding.make(sharding.parse(text)), "splash"), wanted) for text in meshes}


def main() -> None:
    piece, *meshes = sys.argv[1:]
    print(json.dumps({"losses": losses, "attention": attention}[piece](meshes)))


if __name__ == "__main__":
    main()
