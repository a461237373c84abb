"""Compiles the training step of a pack for TPUs that are not there: what it needs and says, before renting one.

The package libtpu compiles for any slice on a machine without a TPU. What comes out is the program itself, so its
memory is exact; the time is an estimate: operations and bytes over the rates of the makers' data sheets.
"""

import collections
import contextlib
import dataclasses
import importlib.util
import math
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from scaling import chips, counts, mesh_axes, numerics, optimizers
from scaling.chips import Accelerator
from scaling.config import RunConfig
from scaling.errors import InputError

RECOMPUTED = {"none": 1.0, "matmuls": 1.0, "layers": 4 / 3, "offload": 1.0}  # operations done, over those needed
ASSUMPTIONS = (
    "matrix products run at the data sheet's dense bfloat16 peak, every link at its rate, and between slices the "
    "data-centre network at a chip's share; what else happens costs nothing. MFU counts causal attention half and the "
    "head, not the embedding look-up. First figure: communication behind computation; second: one after the other"
)
_BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4, "s64": 8, "u64": 8, "f64": 8}
_LOOP = ("condition", "body")
_KINDS = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute", "ragged-all-to-all")


@dataclasses.dataclass(frozen=True)
class Collective:
    """One kind of communication in one update."""

    kind: str
    count: float
    moved: float  # bytes that each device receives
    slow: bool = False  # between slices, over the data-centre network


@dataclasses.dataclass(frozen=True)
class Program:
    """The compiled update of a pack on one or more slices; bytes and FLOP per device and update."""

    accelerator: str  # 2 x v6e:4x4
    devices: int  # of all slices
    rate: float  # FLOP/s of a device at its peak
    links: float  # bytes/s of a device to its neighbours
    network: float  # bytes/s of a device to other slices
    mesh: str
    attention: str  # which, and why
    arguments: int  # the state and the tokens
    temporaries: int
    peak: int  # both, and the program
    hbm: float  # of the device
    xla_flops: float  # as the compiler counts, the body of a loop once
    model_flops: float  # by the convention of MFU
    done_flops: float  # with what is computed again, and the whole attention square
    collectives: tuple[Collective, ...]
    compile_seconds: float

    @property
    def fits(self) -> bool:
        return not self.peak > self.hbm  # an unlisted chip's memory may be unknown

    def received(self, slow: bool = False) -> float:
        """Bytes over the links of a slice, or those between slices."""
        return sum(kind.moved for kind in self.collectives if kind.slow == slow)

    def seconds(self) -> tuple[float, float]:
        """Of an update: communication behind computation, and one after the other."""
        compute = self.done_flops / self.rate
        talk = [
            moved / rate
            for moved, rate in ((self.received(), self.links), (self.received(slow=True), self.network))
            if moved
        ]
        return max(compute, *talk) if talk else compute, compute + sum(talk)

    def mfu(self) -> tuple[float, float]:
        """Share of the devices' peak, for both times of `seconds`."""
        behind, after = (self.model_flops / self.rate / seconds for seconds in self.seconds())
        return behind, after

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {"fits": self.fits, "seconds": self.seconds(), "mfu": self.mfu()}

    def text(self) -> str:
        """Some lines for the terminal."""
        gib = chips.GiB
        verdict = "fits" if self.fits else "does NOT fit"
        verdict = "memory unknown: say hbm=BYTES of a chip" if math.isnan(self.hbm) else verdict
        (first, second), (best, worst) = self.seconds(), self.mfu()
        speed = f"{first:.3g} to {second:.3g} s per update, MFU {best:.0%} to {worst:.0%}"
        if math.isnan(second):
            speed = (
                "time unknown: no peak, links or network of this chip; say them, as in NAME:4x4,peak=1e15,links=1e11"
            )
        return "\n".join(
            [
                f"{self.accelerator}, {self.devices} devices as {self.mesh}: {verdict}, peak {self.peak / gib:.2f} of "
                f"{self.hbm / gib:.0f} GiB (arguments {self.arguments / gib:.2f}, temporaries "
                f"{self.temporaries / gib:.2f}); compiled in {self.compile_seconds:.0f} s",
                f"  attention: {self.attention}",
                f"  {self.model_flops:.3g} FLOP per device and update, {self.done_flops:.3g} done; XLA counts "
                f"{self.xla_flops:.3g}, loops once",
                *(
                    f"  {c.kind:18} {c.count:8.0f} per update {c.moved / gib:9.3f} GiB"
                    + (f" between slices, at {self.network / 1e9:.3g} GB/s" if c.slow else "")
                    for c in self.collectives
                ),
                f"  {speed}",
            ]
        )


def devices(accelerator: Accelerator, slices: int = 1) -> list[Any]:
    """The devices of slices that need not be there.

    Raises:
      InputError: not a TPU, or libtpu is not installed or cannot describe it.
    """
    if accelerator.chip.kind != "tpu":
        raise InputError(
            f"--topology {accelerator.name}: only TPUs can be compiled for without one, such as v5e:4x4 or v5p:4x8x8"
        )
    if importlib.util.find_spec("libtpu") is None:
        raise InputError("scaling compile needs the package libtpu; install it with pip install libtpu")
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")  # else libtpu looks for a cloud's metadata server
    os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
    os.environ.setdefault("TPU_ACCELERATOR_TYPE", accelerator.chip.name)
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")  # no device is taken, so others may compile beside us
    from jax.experimental import topologies

    more: dict[str, Any] = {"num_slices": slices} if slices > 1 else {}
    if accelerator.chip.name == "v4":
        more["chip_config_name"] = "megacore"  # a chip's two cores as one device, as it comes
    if accelerator.chips == 1:
        more["chips_per_host_bounds"] = (1, 1, 1)
    with _quiet():
        try:
            found = list(topologies.get_topology_desc(accelerator.name, "tpu", **more).devices)
        except (RuntimeError, NotImplementedError, ValueError) as error:
            reason = str(error).splitlines()[0][:160]
            raise InputError(f"--topology {accelerator.name}: libtpu cannot describe it ({reason})") from None
    if len(found) != accelerator.devices * slices:
        each = len(found) / (accelerator.chips * slices)
        raise InputError(
            f"--topology {accelerator.typed}: libtpu has {len(found)} devices there, {each:g} a chip, and "
            f"{accelerator.chip.devices} was said; write {accelerator.name},devices={each:g}"
        )
    return found


@numerics.pinned()
def program(runs: Sequence[RunConfig], accelerator: Accelerator, sizes: dict[str, int], *, slices: int = 1) -> Program:
    """Compiles the update of a pack for a slice.

    Args:
      sizes: of the mesh.

    Raises:
      InputError: the mesh does not divide the pack or the slice, or there is no libtpu.
    """
    import jax
    import numpy as np
    from jax.sharding import NamedSharding, PartitionSpec

    from scaling import packs, sharding, train

    runs = tuple(runs)
    sharding.check(runs, sizes)
    mesh = sharding.make(sizes, devices(accelerator, slices))
    segment = packs.segments(runs)[0]
    shape = (train.CHUNK, len(segment.lanes), runs[0].batch, runs[0].model.n_ctx + 1)

    def placed(leaf: Any, spec: PartitionSpec) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=NamedSharding(mesh, spec))

    everywhere = PartitionSpec()
    hyper = jax.tree.map(lambda leaf: placed(leaf, everywhere), train.hyper_of(runs, segment))
    tokens = placed(jax.ShapeDtypeStruct(shape, np.int32), sharding.batch_spec(shape, sizes))
    n = placed(jax.ShapeDtypeStruct((), np.int32), everywhere)
    began = time.monotonic()
    with _quiet():
        state = train.abstract_state(runs, segment, mesh)
        lowered = train.compiled(runs[0], mesh).update.lower(hyper, state, tokens, n)
        try:
            compiled = lowered.compile()
        except jax.errors.JaxRuntimeError as error:
            return _too_large(runs, accelerator, sizes, slices, error, time.monotonic() - began)
    memory = compiled.memory_analysis()
    return Program(
        arguments=memory.argument_size_in_bytes,
        temporaries=memory.temp_size_in_bytes,
        peak=memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        - memory.alias_size_in_bytes
        + memory.temp_size_in_bytes
        + memory.generated_code_size_in_bytes,
        xla_flops=compiled.cost_analysis().get("flops", math.nan),
        collectives=collectives(compiled.as_text(), slices),
        compile_seconds=time.monotonic() - began,
        **_known(runs, accelerator, sizes, slices),
    )


def _known(runs: Sequence[RunConfig], accelerator: Accelerator, sizes: dict[str, int], slices: int) -> dict[str, Any]:
    """What does not depend on the compiler."""
    from scaling import packs
    from scaling.models import model

    first, n, chip = runs[0], len(packs.segments(runs)[0].lanes), accelerator.chip
    tokens = n * first.batch_tokens / math.prod(sizes.values())
    return {
        "accelerator": f"{slices} x {accelerator.name}" if slices > 1 else accelerator.name,
        "devices": accelerator.devices * slices,
        "rate": chip.peak / chip.devices,
        "links": chip.links / chip.devices,
        "network": chip.network / chip.devices,
        "mesh": mesh_axes.show(sizes),
        "attention": model.attention(first.model, first.dtype, "tpu"),
        "hbm": chip.hbm / chip.devices,
        "model_flops": tokens * counts.mfu_flops_per_token(first.model),
        "done_flops": tokens * counts.flops_per_token(first.model)["flops_total"] * RECOMPUTED[first.remat],
    }


def _too_large(
    runs: Sequence[RunConfig],
    accelerator: Accelerator,
    sizes: dict[str, int],
    slices: int,
    error: Exception,
    seconds: float,
) -> Program:
    """What the compiler says of a program that it refuses for want of memory; other errors are raised again."""
    size = r"([\d.]+)([KMGT])"
    said = re.search(rf"Used {size} of {size} hbm", str(error)) or re.search(
        rf"\({size}\) exceeds available HBM \({size}\)", str(error)
    )
    if said is None:
        raise error
    known = _known(runs, accelerator, sizes, slices)
    used, known["hbm"] = (
        int(float(n) * 1024 ** (1 + "KMGT".index(unit))) for n, unit in (said.group(1, 2), said.group(3, 4))
    )
    return Program(
        arguments=0,
        temporaries=0,
        peak=used,
        xla_flops=math.nan,
        collectives=(),
        compile_seconds=seconds,
        **known,
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """libtpu narrates on standard error, past Python."""
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def meshes(run: RunConfig, n: int) -> list[dict[str, int]]:
    """A few meshes of n devices that divide a run: all in fsdp, with some expert or tensor, all in data."""
    from scaling import sharding

    few = [(axis, t) for axis in ("tensor", "expert") for t in (4, 8) if n % t == 0 and n > t]
    tried = [{"fsdp": n}, *({"fsdp": n // t, axis: t} for axis, t in few), {"data": n}]
    found = []
    for sizes in tried:
        with contextlib.suppress(InputError):
            sharding.check([run], sizes)
            found.append(dict.fromkeys(mesh_axes.AXES, 1) | sizes)
    return found if n > 1 else found[:1]


def smallest(run: RunConfig, chip: chips.Chip, say: Callable[[str], None]) -> Program | None:
    """The program with the shortest update on the smallest slice of a chip on which the run fits; None: on no slice."""
    each = counts.params(run.model)
    weights = each["params_total"]
    state = 4 * (weights + optimizers.of(run.optim.optimizer).kept(each["params_experts"], weights))
    for topology in chips.slices(chip):
        accelerator = chips.accelerator(f"{chip.name}:{'x'.join(map(str, topology))}{chip.numbers}")
        if state > accelerator.chips * chip.hbm:
            continue
        fitting = []
        for sizes in meshes(run, accelerator.devices):
            found = program([run], accelerator, sizes)
            say(f"{found.accelerator} {found.mesh}: {found.peak / chips.GiB:.2f} GiB")
            if found.fits:
                fitting.append(found)
        if fitting:
            return min(fitting, key=lambda found: found.seconds()[0])
    return None


def collectives(hlo: str, slices: int = 1) -> tuple[Collective, ...]:
    """What a compiled program communicates in one update, from its text: by kind, the most first.

    What goes between slices the compiler writes as transfers through the hosts, with the kind as an attribute.

    A loop over layers, or over the pieces of a product, counts as often as it is run; the loop over updates, whose
    number is not known to the compiler, once.
    """
    bodies, entry = _computations(hlo)
    totals: dict[tuple[str, bool], list[float]] = collections.defaultdict(lambda: [0, 0])
    seen: set[str] = set()  # a gather that is spread over several fusions is in the text of each

    def visit(name: str, times: float) -> None:
        for line in bodies.get(name, {}).values():
            for called in _called(line):
                visit(called, times * _trips(line, bodies) if " while(" in line else times)
            far = _between(line, slices)
            if found := far or _operation(line):
                kind, moved, channel = found
                if channel not in seen:
                    totals[kind, far is not None][0] += times
                    totals[kind, far is not None][1] += times * moved
                seen.update({channel} - {""})

    visit(entry, 1)
    return tuple(
        Collective(kind, count, moved, slow)
        for (kind, slow), (count, moved) in sorted(totals.items(), key=lambda kv: -kv[1][1])
    )


def _computations(hlo: str) -> tuple[dict[str, dict[str, str]], str]:
    """The operations of each computation, name -> line, the result as "ROOT" too; and the computation that is run."""
    bodies: dict[str, dict[str, str]] = {}
    entry = name = ""
    for line in hlo.splitlines():
        if head := re.match(r"(ENTRY )?%?([\w.\-]+) \(.*\{$", line):
            name = head[2]
            bodies[name] = {}
            entry = name if head[1] else entry
        elif name and (operation := re.match(r"\s*(ROOT )?%?([\w.\-]+) = ", line)):
            bodies[name]["ROOT" if operation[1] else operation[2]] = line
    return bodies, entry


def _called(line: str) -> list[str]:
    """The computations that an operation runs."""
    single = re.findall(r"\b(?:body|calls|to_apply|called_computation)=%?([\w.\-]+)", line)
    many = re.findall(r"\b(?:called_computations|branch_computations)=\{([^}]*)\}", line)
    return [*single, *(name.strip().lstrip("%") for names in many for name in names.split(","))]


def _trips(line: str, bodies: dict[str, dict[str, str]]) -> float:
    """How often a loop is run whose condition is i < constant and whose i begins with 0; 1 for others."""
    if known := re.search(r'known_trip_count[^\d]*"?(\d+)', line):
        return float(known[1])
    condition, body = (bodies.get((re.search(word + r"=%?([\w.\-]+)", line) or " ")[1], {}) for word in _LOOP)
    compared = re.search(r" compare\(%([\w.\-]+), %([\w.\-]+)\), direction=LT", condition.get("ROOT", ""))
    limit = compared and re.search(r" constant\((\d+)\)", condition.get(compared[2], ""))
    index = compared and re.search(r"get-tuple-element\(.*index=(\d+)", condition.get(compared[1], ""))
    result = re.search(r" tuple\((.*?)\)", body.get("ROOT", ""))
    if not (limit and index and result):
        return 1.0
    following = re.findall(r"%([\w.\-]+)", result[1])[int(index[1])]
    step = 1
    for word in re.findall(r"%([\w.\-]+)", body.get(following, "").partition(" add(")[2].partition(")")[0]):
        if constant := re.search(r" constant\((\d+)\)", body.get(word, "")):
            step = int(constant[1])
    return math.ceil(int(limit[1]) / max(1, step))


def _operation(line: str) -> tuple[str, float, str] | None:
    """A communication's kind, the bytes that a device receives by it, and its channel; None for other operations."""
    found = re.match(r"\s*(?:ROOT )?%?[\w.\-]+ = (.*?) ([a-z\-]+)\(", line)
    if found is None or found[2].removesuffix("-start") not in _KINDS:
        return None
    kind = found[2].removesuffix("-start")
    sizes = _sizes(found[1])
    if found[2].endswith("-start"):  # (operand, result, ...)
        size = min(sizes[:2]) if kind == "reduce-scatter" else max(sizes[:2])
    else:
        size = sum(sizes)
    channel = re.search(r"channel_id=(\d+)", line)
    return kind, size * _share(kind, _group(line)), channel[1] if channel else ""


def _between(line: str, slices: int) -> tuple[str, float, str] | None:
    """The same of what a device receives from other slices; None for other operations."""
    found = re.match(r"\s*(?:ROOT )?%?[\w.\-]+ = (.*?) recv\(", line)
    said = re.search(r'_xla_megascale_transfer_type="(\w+)"', line)
    if found is None or said is None:
        return None
    kind = said[1].lower().replace("_", "-")
    channel = re.search(r'_xla_host_transfer_rendezvous="([^"]*)"', line)
    return kind, max(_sizes(found[1])) * _share(kind, slices), channel[1] if channel else ""


def _sizes(types: str) -> list[int]:
    """Bytes of each array of a result's type."""
    return [
        _BYTES.get(dtype, 4) * math.prod(int(n) for n in dims.split(",") if n)
        for dtype, dims in re.findall(r"\b([a-z]+\d*)\[([\d,]*)\]", types)
    ]


def _share(kind: str, group: int) -> float:
    """Bytes that each of a group receives, over those of the result."""
    return {
        "all-reduce": 2 * (group - 1) / group,
        "reduce-scatter": group - 1,
        "collective-permute": 1,
        "one-to-one": 1,
    }.get(kind, (group - 1) / group)


def _group(line: str) -> int:
    """How many devices talk to each other."""
    if named := re.search(r"replica_groups=mesh\[([^\]]*)\] ?\{([^}]*)\}", line):
        sizes = dict(re.findall(r"'(\w+)'=(\d+)", named[1]))
        return math.prod(int(sizes[axis]) for axis in re.findall(r"'(\w+)'", named[2]))
    if iota := re.search(r"replica_groups=\[\d+,(\d+)\]", line):
        return int(iota[1])
    if listed := re.search(r"replica_groups=\{\{([\d,]*)\}", line):
        return listed[1].count(",") + 1
    return 2
