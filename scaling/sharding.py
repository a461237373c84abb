"""How a pack lies on many devices: a mesh of the axes run, data, fsdp, expert and tensor, and one rule per weight.

    run      the runs of a pack, side by side
    data     sequences of a batch; every device has the whole model
    fsdp     sequences as well, and a share of every matrix, gathered when it is used (Rajbhandari et al. 2020, ZeRO-3)
    expert   sequences as well, and the experts of routed layers, to which tokens travel (Lepikhin et al. 2020)
    tensor   heads, the feed-forward's width and the vocabulary (Shoeybi et al. 2019, arXiv 1909.08053)

The model knows nothing of this: its kind (scaling.kinds) names the dimensions of each weight, `SPREAD` says which of
them the mesh cuts.
The axes are `AxisType.Auto`: the compiler finds the communication. A function whose `mesh` is None is that of one
device, untouched.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from scaling import kinds, mesh_axes
from scaling.config import RunConfig
from scaling.errors import InputError
from scaling.mesh_axes import AXES, show, usual

BATCH = ("data", "fsdp", "expert")  # what the sequences of a batch are spread over

SPREAD = {
    "d": "fsdp",
    "e": "expert",
    "hk": "tensor",
    "kv": "tensor",
    "f": "tensor",
    "v": "tensor",
}  # of vectors, d is not: gathering it costs more


def axes(name: str) -> tuple[str, ...]:
    """The dimensions of a weight.

    Raises:
      ValueError: no rule covers it.
    """
    found = kinds.axes()
    if name not in found:
        raise ValueError(f"weight {name!r} has no rule; name its dimensions in the axes of its kind, see scaling.kinds")
    return tuple(found[name].split())


def stacked(name: str) -> bool:
    """Whether the weight has one entry per layer."""
    return axes(name)[0] == "l"


def parse(text: str) -> dict[str, int]:
    """The sizes that `data=2,fsdp=4` means, all axes.

    Raises:
      InputError: as of `mesh_axes.parse`.
    """
    return dict.fromkeys(AXES, 1) | mesh_axes.parse(text)


def make(sizes: Mapping[str, int], devices: Sequence[Any] | None = None) -> Mesh:
    """The mesh of these sizes (axes left out are 1) over all `devices`; None: all that JAX has.

    Devices of several slices, which are connected by a slower network: `data` runs across them, else `run`, else
    `fsdp`.

    Raises:
      InputError: the sizes do not make up the number of devices, or no axis divides by the slices.
    """
    devices = list(jax.devices() if devices is None else devices)
    shape = tuple(sizes.get(name, 1) for name in AXES)
    typed = show(sizes)
    if math.prod(shape) != len(devices):
        raise InputError(
            f"--mesh {typed} is for {math.prod(shape)} devices, and there are {len(devices)}; "
            f"use sizes whose product is {len(devices)}, such as {show(usual(len(devices), slices_of(devices)))}"
        )
    slices = slices_of(devices)
    if slices == 1:
        grid = mesh_utils.create_device_mesh(shape, devices, allow_split_physical_axes=True)
        return Mesh(grid, AXES, axis_types=(AxisType.Auto,) * len(AXES))
    across = mesh_axes.across(sizes, slices)
    outer = tuple(slices if name == across else 1 for name in AXES)
    inner = tuple(size // n for size, n in zip(shape, outer, strict=True))
    grid = mesh_utils.create_hybrid_device_mesh(inner, outer, devices, allow_split_physical_axes=True)
    return Mesh(grid, AXES, axis_types=(AxisType.Auto,) * len(AXES))


def slices_of(devices: Sequence[Any]) -> int:
    """How many slices the devices lie in; hosts with GPUs are slices of their own."""
    return len({getattr(device, "slice_index", 0) for device in devices})


def check(runs: Sequence[RunConfig], sizes: Mapping[str, int]) -> None:
    """Raises InputError where a mesh of these sizes does not divide a pack of `runs`: one line."""
    m, parts = runs[0].model, sequences(sizes)
    kind = kinds.of(m)
    if not kind.cut(m) and sizes.get("tensor", 1) > 1:
        raise InputError(
            f"--mesh {show(sizes)}: tensor has nothing to cut in {kind.title}; use run, data or fsdp for it"
        )
    fields = [
        ("fsdp", "model.d_model", m.d_model),
        *(("tensor", name, size) for name, size in kind.cut(m).items()),
        ("expert", "model.experts", m.experts),
        ("run", "the number of runs in a pack", len(runs)),
    ]
    for axis, field, size in fields:
        n = sizes.get(axis, 1)
        if size % n:
            raise InputError(
                f"{field}={size} does not divide over {axis}={n}; the nearest "
                f"{field.removeprefix('the ')} that does is {max(1, round(size / n)) * n}, or choose another --mesh"
            )
    whole, n = runs[0].batch, runs[0].accumulate
    if whole // n % parts:
        part = f" in accumulate={n} parts" if n > 1 else ""
        spread = " x ".join(axis for axis in BATCH if axis != "expert" or sizes.get(axis, 1) > 1)
        raise InputError(
            f"batch={whole} sequences{part} do not divide over {spread} = {parts}; use a multiple of {parts * n}, "
            "or another --mesh"
        )


def specs(tree: Any, sizes: Mapping[str, int], like: Mapping[str, Any], *, lanes: bool) -> Any:
    """The PartitionSpec of each leaf of a state, parameters or gradients.

    Args:
      sizes: of the mesh.
      like: name of each weight -> something with its shape. A leaf below a weight's name that has the weight's shape
        lies as the weight does; Adafactor's statistics, which lack one of its dimensions, along those that remain;
        whatever else is small, and on every device.
      lanes: whether all shapes have the lanes of a pack first.
    """
    first = 1 if lanes else 0

    def spec(path: tuple[Any, ...], leaf: Any) -> PartitionSpec:
        run = (_lanes(leaf.shape[0], sizes),) if lanes else ()
        found = tuple(leaf.shape[first:])
        names = [key.key for key in path if isinstance(key, jax.tree_util.DictKey)]
        name = next((name for name in reversed(names) if name in like), None)
        if name is None:
            return PartitionSpec(*run)
        cut, shape = _cut(name), tuple(like[name].shape[first:])
        if found == shape:
            return PartitionSpec(*run, *cut)
        statistic = next((key.name for key in path if getattr(key, "name", "") in ("v_row", "v_col")), "")
        for gone in _reduced(statistic, shape, stacked(name)):
            if found == shape[:gone] + shape[gone + 1 :]:
                return PartitionSpec(*run, *cut[:gone], *cut[gone + 1 :])
        return PartitionSpec(*run)

    return jax.tree_util.tree_map_with_path(spec, tree)


def _cut(name: str) -> tuple[str | None, ...]:
    """The mesh axis of each dimension of a weight."""
    matrix = name.startswith("w_")
    return tuple(SPREAD.get(axis) if matrix or axis != "d" else None for axis in axes(name))


def _reduced(statistic: str, shape: tuple[int, ...], layered: bool) -> list[int]:
    """The dimension that Adafactor has averaged away: of a row statistic the largest, of a column's the second."""
    first = 1 if layered else 0
    order = [first + int(i) for i in np.argsort(shape[first:])]
    return {"v_row": order[-1:], "v_col": order[-2:-1]}.get(statistic, [])


def _lanes(n: int, sizes: Mapping[str, int]) -> str | None:
    """Lanes are spread over `run` while there are enough of them; later every device of that axis has all."""
    return "run" if n % sizes.get("run", 1) == 0 else None


def lanes_axis(mesh: Mesh | None, n: int) -> str | None:
    """What `jax.vmap` over n lanes is told of the axis."""
    return "run" if mesh is None else _lanes(n, mesh.shape)


def shardings(tree: Any, mesh: Mesh, like: Mapping[str, Any], *, lanes: bool) -> Any:
    """As `specs`, on this mesh."""
    return jax.tree.map(
        lambda spec: NamedSharding(mesh, spec),
        specs(tree, mesh.shape, like, lanes=lanes),
        is_leaf=lambda leaf: isinstance(leaf, PartitionSpec),
    )


def constrain(tree: Any, mesh: Mesh | None, like: Mapping[str, Any], *, lanes: bool = False) -> Any:
    """Inside a jitted function: has the leaves of a state lie as the rules say. Arguments as of `specs`."""
    return tree if mesh is None else jax.lax.with_sharding_constraint(tree, shardings(tree, mesh, like, lanes=lanes))


def everywhere(tree: Any, mesh: Mesh | None) -> Any:
    """Inside a jitted function: has every device, and so every host, know the leaves."""
    return tree if mesh is None else jax.lax.with_sharding_constraint(tree, NamedSharding(mesh, PartitionSpec()))


def over_batch(x: jax.Array, mesh: Mesh | None) -> jax.Array:
    """Inside a jitted function of one run: activations stay with their sequences. x: b ..."""
    if mesh is None or x.shape[0] % sequences(mesh.shape):
        return x
    return jax.lax.with_sharding_constraint(x, NamedSharding(mesh, PartitionSpec(BATCH)))


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def gathered(w: jax.Array, axis: int, mesh: Mesh | None) -> jax.Array:
    """Inside a jitted function of one run: a matrix with the whole of its dimension `axis`, which is d.

    Said explicitly, since the compiler would rather add up activations over fsdp, which for long batches is far more.
    The gradient is cut again as it is added up.
    """
    return _one_axis(w, axis, None, mesh)


def _one_axis(w: jax.Array, axis: int, name: str | None, mesh: Mesh | None) -> jax.Array:
    if mesh is None or (name and w.shape[axis] % mesh.shape[name]):
        return w
    spec = [name if i == axis else PartitionSpec.UNCONSTRAINED for i in range(w.ndim)]
    return jax.lax.with_sharding_constraint(w, NamedSharding(mesh, PartitionSpec(*spec)))


gathered.defvjp(
    lambda w, axis, mesh: (gathered(w, axis, mesh), None),
    lambda axis, mesh, _, dw: (_one_axis(dw, axis, SPREAD["d"], mesh),),
)


def between_experts(x: jax.Array, mesh: Mesh | None, *, back: bool) -> jax.Array:
    """Inside a jitted function of one run: tokens in the slots of experts, g e ..., groups g of a batch's sequences.

    They travel from the devices of their groups to those of their experts. Both ends are said, so that gradients, which
    go the other way, do it as well while groups and experts are dimensions of their own.

    Args:
      back: from the experts to the groups.
    """
    if mesh is None or mesh.shape["expert"] == 1 or x.shape[0] % sequences(mesh.shape):
        return x
    home, away = (BATCH,), (tuple(axis for axis in BATCH if axis != "expert"), "expert")
    for lies in (away, home) if back else (home, away):
        x = jax.lax.with_sharding_constraint(x, NamedSharding(mesh, PartitionSpec(*lies)))
    return x


def whole_rows(table: jax.Array, mesh: Mesh | None) -> jax.Array:
    """Inside a jitted function of one run: a table v d to look up in, gathered over fsdp; so is its gradient."""
    if mesh is None:
        return table
    return jax.lax.with_sharding_constraint(table, NamedSharding(mesh, PartitionSpec(SPREAD["v"], None)))


def sequences(sizes: Mapping[str, int]) -> int:
    """Over how many parts a batch is spread."""
    return math.prod(sizes.get(name, 1) for name in BATCH)


def parts(n: int, mesh: Mesh | None) -> int:
    """Into how many parts a batch of n sequences is spread over a mesh; 1 where it does not divide."""
    over = 1 if mesh is None else sequences(mesh.shape)
    return over if n % over == 0 else 1


def apart(tree: Any, mesh: Mesh | None) -> Any:
    """Inside a jitted function of one run: each part of a batch with a sum of its own. Leaves: `parts` v ..."""

    def one(leaf: jax.Array) -> jax.Array:
        if mesh is None or leaf.shape[0] == 1:
            return leaf
        return jax.lax.with_sharding_constraint(leaf, NamedSharding(mesh, PartitionSpec(BATCH, SPREAD["v"])))

    return jax.tree.map(one, tree)


def per_run(mesh: Mesh | None) -> int:
    """Devices that work on one run."""
    return 1 if mesh is None else mesh.size // mesh.shape["run"]


def platform(mesh: Mesh | None) -> str:
    """For what a program is compiled: "cpu", "gpu" or "tpu"."""
    return jax.default_backend() if mesh is None else mesh.devices.flat[0].platform


def batch_spec(shape: Sequence[int], sizes: Mapping[str, int]) -> PartitionSpec:
    """Of tokens k lanes b t+1. Sequences that do not divide are on every device."""
    return PartitionSpec(None, _lanes(shape[1], sizes), BATCH if shape[2] % sequences(sizes) == 0 else None)


def put(values: Any, mesh: Mesh | None, spec: PartitionSpec | None = None) -> Any:
    """Host arrays, the same on all hosts, onto the mesh; each host hands over what its devices hold of them."""
    if mesh is None:
        return values
    sharding = NamedSharding(mesh, spec or PartitionSpec())

    def one(value: Any) -> jax.Array:
        value = np.asarray(value)
        return jax.make_array_from_callback(value.shape, sharding, lambda index: value[index])

    return jax.tree.map(one, values)


def put_rows(
    shape: tuple[int, ...], dtype: Any, mesh: Mesh, rows: Callable[[int, range, range], np.ndarray]
) -> jax.Array:
    """Tokens k lanes b t+1 of which each host makes only the rows that its devices hold.

    Args:
      rows: (k, lanes, sequences of the batch) -> k lanes b t+1.
    """
    sharding = NamedSharding(mesh, batch_spec(shape, mesh.shape))
    made: dict[tuple[range, range], np.ndarray] = {}

    def part(index: Any) -> np.ndarray:
        held = range(*index[1].indices(shape[1])), range(*index[2].indices(shape[2]))
        if held not in made:
            made[held] = rows(shape[0], *held).astype(dtype, copy=False)
        return made[held]

    return jax.make_array_from_callback(shape, sharding, part)
