"""The platforms, and the checks that all of them share: everything that can be known before anything is written."""

import contextlib
import dataclasses
import itertools
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from launch import bucket, gke, local, mig, skypilot, slurm, tpu_vm
from launch.request import Request
from scaling import calibration, chips, layout, mesh_axes, packs, sharding, split
from scaling.config import RunConfig, Study
from scaling.data import mixture
from scaling.errors import InputError


class Target(Protocol):
    """One platform: a module of this package."""

    @property
    def CLIENT(self) -> str:
        """The program that submits."""
        ...

    def notes(self, request: Request) -> tuple[str, ...]:
        """What is said at each launch."""
        ...

    def check(self, request: Request) -> None:
        """Raises InputError for what this platform cannot do."""
        ...

    def files(self, request: Request) -> dict[str, str]:
        """What the platform's engine reads, by file name."""
        ...

    def commands(self, request: Request, folder: Path) -> list[list[str]]:
        """The commands that submit those files from `folder`."""
        ...

    def watch(self, request: Request) -> str:
        """A command that shows the progress of the runs."""
        ...


TARGETS: dict[str, Target] = {
    "slurm": slurm,
    "gke": gke,
    "local": local,
    "mig": mig,
    "tpu-vm": tpu_vm,
    "skypilot": skypilot,
}
ELSEWHERE = ("gke", "mig", "tpu-vm", "skypilot")  # whose machines see none of our files


def check(request: Request, study: Study, target: str) -> None:
    """Whether `target` can run this request, and has what the study needs.

    Raises:
      InputError: one line with the value found, the value wanted and the way out.
    """
    chip = request.accelerator.chip
    if chip.kind == "tpu" and chip.name not in chips.CHIPS and target != "local":
        raise InputError(
            f"--on {target}: how {request.accelerator.name} is asked for is not known, of a TPU that is not listed; on "
            "its hosts start scaling study run CONFIG --out PLACE --distributed auto, as docs/pods.md says"
        )
    TARGETS[target].check(request)
    _check_hosts(request, target)
    if request.tasks > len(study.runs):
        raise InputError(f"{request.tasks} tasks for {len(study.runs)} runs; use --tasks {len(study.runs)} at most")
    _check_devices(request, study, target)
    _check_data(request, study, target)


def _check_hosts(request: Request, target: str) -> None:
    """Whether Google has the hosts of a slice, where their chips were given: 4, and what a queued resource chooses."""
    one = request.accelerator
    usual = chips.accelerator(one.name) if one.chip.kind == "tpu" and target in ELSEWHERE else one
    if one.per_host != usual.per_host and (target == "tpu-vm" or one.per_host != usual.chip.host):
        raise InputError(
            f"{one.typed}: --on {target} has {one.name} in hosts of {usual.per_host}, not of {one.per_host}; leave "
            "host= out"
        )


def _check_devices(request: Request, study: Study, target: str) -> None:
    """Whether devices of a task would stand idle, or do not divide its runs where they train them together."""
    runs = list(dict.fromkeys(study.runs))
    product = math.prod(size for _, size in request.mesh)
    if request.mesh and request.accelerator.chip.kind != "cpu" and product != request.devices:
        told, mesh = " x ".join(str(size) for _, size in request.mesh), fitting(request, study)
        way = f"; make the axes multiply to that, as in {mesh}" if mesh else _without_mesh(request, study, target)
        raise InputError(f"mesh {told} = {product} devices, but {request.hardware} has {request.devices}{way}")
    if (request.profile or request.save_steps) and not request.sizes:
        mesh = fitting(request, study)
        way = f", such as --mesh {mesh}" if mesh else ", and none of all devices divides the study"
        raise InputError(f"--profile and --save-steps are for runs with --mesh{way}")
    if request.devices > 1 and not request.sizes and len(runs) == 1:
        mesh = fitting(request, study)
        way = f"say how all are used, as in --mesh {mesh}" if mesh else "no mesh of all divides it; use fewer chips"
        raise InputError(
            f"{request.hardware}: one run without --mesh trains on one of {request.devices} devices; {way}"
        )
    if request.sizes:
        try:
            _check_mesh(request, request.sizes, _packs(request, study))
        except InputError as error:
            mesh = fitting(request, study)
            way = f"; use --mesh {mesh}" if mesh else _without_mesh(request, study, target)
            found = str(error).partition("; ")[0]  # its own way out is of one axis and one pack
            raise InputError(f"{found}{way}") from None


def _check_mesh(request: Request, sizes: Mapping[str, int], found: Sequence[Sequence[RunConfig]]) -> None:
    mesh_axes.across(sizes, request.islands)
    for pack in found:
        sharding.check(pack, sizes)


def _packs(request: Request, study: Study) -> list[list[RunConfig]]:
    """The packs of all tasks where a mesh trains each, unless measurements on the machine make them smaller."""
    chip, parts = request.accelerator.chip, split.parts(study.runs, request.tasks)
    costs = calibration.Costs(chip.kind, told=chip.hbm / chip.devices)
    return layout.packed(list(parts), lambda run: run, lambda run: (run.data, parts[run]), costs.lanes)


def fitting(request: Request, study: Study) -> str:
    """A mesh of all devices of a task that divides every pack of a study, as it is typed; empty where there is none.

    Runs side by side have nothing to say, so `run` is as large as the packs allow; then little tensor, much fsdp.
    """
    n, found = request.devices, _packs(request, study)
    divisors = [k for k in range(1, n + 1) if n % k == 0]
    lanes = [k for k in divisors if all(len(pack) % k == 0 for pack in found)]
    shapes = [
        {"run": run, "data": data, "fsdp": n // run // data // tensor, "tensor": tensor}
        for run, data, tensor in itertools.product(lanes, divisors, divisors)
        if n % (run * data * tensor) == 0
    ]

    def dear(sizes: Mapping[str, int]) -> tuple[int, bool, int, int]:
        crosses = sizes["data"] % request.islands > 0 and sizes["run"] % request.islands > 0
        return sizes["tensor"], crosses, -sizes["run"], sizes["data"]

    for sizes in sorted(shapes, key=dear):
        with contextlib.suppress(InputError):
            _check_mesh(request, sizes, found)
            return mesh_axes.show(sizes)
    return ""


def _without_mesh(request: Request, study: Study, target: str) -> str:
    """The way out where no mesh of all devices divides a study."""
    less = smaller(request, study, target)
    return f", and no mesh of all divides the study; use {_typed(less, request) if less else 'fewer chips'}"


def smaller(request: Request, study: Study, target: str) -> Request | None:
    """The study on the smallest such accelerators, on as many at most; None where the target has no smaller ones."""
    one = request.accelerator
    shapes = chips.slices(one.chip) if one.chip.kind == "tpu" else [(1,)]
    numbers = re.sub(",host=[^,]*", "", one.chip.numbers) if target in ELSEWHERE else one.chip.numbers
    with contextlib.suppress(InputError, IndexError):  # no slices are known of a TPU that is not listed
        found = chips.accelerator(f"{one.chip.name}:{'x'.join(map(str, shapes[0]))}{numbers}")
        most = request.tasks * request.chips // found.chips
        tasks = max(1, min(most, len(dict.fromkeys(study.runs)) // found.devices))
        less = dataclasses.replace(request, accelerator=found, slices=1, mesh=(), tasks=tasks)
        if found.chips < request.chips:
            TARGETS[target].check(less)
            _check_devices(less, study, target)
            return less
    return None


def _typed(less: Request, request: Request) -> str:
    """What is typed for `less`, and what of `request` is no longer."""
    gone = [f"--{what}" for what, there in (("slices", request.slices > 1), ("mesh", request.mesh)) if there]
    without = f" without {' and '.join(gone)}" if gone else ""
    return f"--accelerator {less.accelerator.typed} --tasks {less.tasks}{without}"


def _busy(request: Request, study: Study) -> list[int]:
    """On how many devices of a task's one host the lanes of each pack lie, without a mesh."""
    parts, most = split.parts(study.runs, request.tasks), layout.ACCELERATED_PACK * request.devices
    busy: list[int] = []
    for part in request.parts:
        runs = [run for run, its in parts.items() if its == part]
        found = layout.packed(runs, lambda run: run, lambda run: run.data, lambda _: most, request.devices)
        busy += [packs.across(pack, request.devices) for pack in found]
    return busy


def spread(request: Request, study: Study, target: str) -> str:
    """How a study without a mesh uses the devices of a task's one host; empty where there is one, or a mesh.

    Where a pack has other lanes than its devices divide, or a program has one run, fewer of them work on it.
    """
    n = request.devices
    if n == 1 or request.sizes:
        return ""
    busy = _busy(request, study)
    few, many = min(busy), max(busy)
    told, way = f"{few}" if few == many else f"{few} to {many}", ""
    if few < n:
        mesh, less = fitting(request, study), smaller(request, study, target)
        ways = [f"--mesh {mesh}"] if mesh else []
        if less and min(_busy(less, study)) == less.devices:
            ways.append(_typed(less, request))
        way = f"; {' or '.join(ways)} leaves none idle" if ways else ""
    return f"without --mesh the runs of one program are a pack, whose lanes lie on {told} of the {n} devices{way}"


def crossing(request: Request) -> str:
    """What to say of a mesh that gathers matrices across slices, or hosts with GPUs; empty where it does not."""
    return mesh_axes.crossing(
        request.sizes, request.islands, "hosts" if request.accelerator.chip.kind == "gpu" else "slices"
    )


def _check_data(request: Request, study: Study, target: str) -> None:
    if request.data.startswith("/") and not Path(request.data).is_dir():
        raise InputError(f"data {request.data} is not there; stage it as docs/launch/{target}.md says")
    if target not in ELSEWHERE:
        return
    seen = "\0" if request.direct else f"{bucket.ROOT}/{bucket.name(request.out)}/"  # of what is mounted, if any
    for source in _sources(study):
        kind = source.partition(":")[0]
        if kind == "tokens" and not request.data:
            raise InputError(
                f"{source} lie on this machine alone; stage them as docs/launch/buckets.md says, then --data"
            )
        if kind not in ("python", "synthetic", "tokens") and seen not in source:
            if request.direct:
                raise InputError(
                    f"{source} lies on this machine alone; stage its tokens as docs/launch/buckets.md says and name "
                    "them tokens:ID"
                )
            raise InputError(
                f"{source} lies on this machine alone; copy it to the output's bucket and name it as the job sees it, "
                f"as in --set data.source=text:{seen}notes/*.txt, or stage its tokens and name them tokens:ID"
            )
    for tokenizer in {run.data.tokenizer for run in study.runs} - {"bpe", "bytes"}:
        if request.direct:
            raise InputError(
                f"data.tokenizer={tokenizer} lies on this machine alone; stage tokens as docs/launch/buckets.md says "
                "and name them tokens:ID"
            )
        if not tokenizer.startswith(seen):
            raise InputError(
                f"data.tokenizer={tokenizer} lies on this machine alone; copy it to the output's bucket and name it as "
                f"the job sees it, as in {seen}tokenizer.model"
            )
    if request.hosts > 1 and not request.data:
        raise InputError(
            f"{request.hosts} hosts need the same tokens at the same place; stage them as docs/launch/buckets.md says, "
            "then --data gs://bucket/tokens"
        )


def _sources(study: Study) -> list[str]:
    """What the sources of a study are made of, but for what a rule makes up: tasks and pairs."""
    found: dict[str, str] = {}
    for run in study.runs:
        for source in (run.data.source, *filter(None, [run.data.validation]), *run.eval.transfer):
            mixture.form(source, found)
    return list(found)
