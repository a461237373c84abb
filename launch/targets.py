"""The platforms, and the checks that all of them share: everything that can be known before anything is written."""

import math
from pathlib import Path
from typing import Protocol

from launch import bucket, gke, local, mig, skypilot, slurm, tpu_vm
from launch.request import Request
from scaling import chips, layout, mesh_axes, packs, sharding, split
from scaling.config import RunConfig, Study, program
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
    _check_devices(request, study)
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


def _check_devices(request: Request, study: Study) -> None:
    """Whether devices of a task would stand idle, or do not divide its runs where they train them together."""
    runs = list(dict.fromkeys(study.runs))
    product = math.prod(size for _, size in request.mesh)
    if request.mesh and request.accelerator.chip.kind != "cpu" and product != request.devices:
        told, mesh = " x ".join(str(size) for _, size in request.mesh), fitting(request, study)
        way = f"make the axes multiply to that, as in {mesh}" if mesh else "no mesh of all divides the study"
        raise InputError(f"mesh {told} = {product} devices, but {request.hardware} has {request.devices}; {way}")
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
            for these in _programs(study):
                sharding.check(these, request.sizes)
        except InputError as error:
            mesh = "" if request.mesh else fitting(request, study)
            raise InputError(f"{error}{f', such as --mesh {mesh}' if mesh else ''}") from None


def _programs(study: Study) -> list[list[RunConfig]]:
    """The runs of a study by the program that trains them."""
    found: dict[RunConfig, list[RunConfig]] = {}
    for run in dict.fromkeys(study.runs):
        found.setdefault(program(run), []).append(run)
    return list(found.values())


def fitting(request: Request, study: Study) -> str:
    """A mesh of all devices of a task that divides every run of a study, as it is typed; empty where there is none."""
    n, programs = request.devices, _programs(study)
    divisors = [k for k in range(1, n + 1) if n % k == 0]
    pairs = [(tensor, data) for tensor in divisors for data in divisors if n % (tensor * data) == 0]
    pairs.sort(key=lambda pair: (pair[0], pair[1] % request.slices > 0, pair[1]))  # little tensor, much fsdp
    for tensor, data in pairs:
        sizes = {"data": data, "fsdp": n // data // tensor, "tensor": tensor}
        try:
            for these in programs:
                sharding.check(these, sizes)
        except InputError:
            continue
        return mesh_axes.show(sizes)
    return ""


def spread(request: Request, study: Study) -> str:
    """How a study without a mesh uses the devices of a task's one host; empty where there is one, or a mesh.

    Where a pack has other lanes than its devices divide, or a program has one run, fewer of them work on it.
    """
    n = request.devices
    if n == 1 or request.sizes:
        return ""
    parts = split.parts(study.runs, request.tasks)
    busy: list[int] = []
    for part in request.parts:
        runs = [run for run, its in parts.items() if its == part]
        most = layout.ACCELERATED_PACK * n
        found = layout.packed(runs, lambda run: run, lambda run: run.data, lambda _, most=most: most, n)
        busy += [packs.across(pack, n) for pack in found]
    few, many = min(busy), max(busy)
    told = f"{few}" if few == many else f"{few} to {many}"
    mesh = "" if few == n else fitting(request, study)
    way = f"; --mesh {mesh} has all of them train each run, more --tasks on fewer chips each one" if mesh else ""
    if few < n and not mesh:
        way = "; more --tasks on fewer chips use each one"
    return f"without --mesh the runs of one program are a pack, whose lanes lie on {told} of the {n} devices{way}"


def _check_data(request: Request, study: Study, target: str) -> None:
    if request.data.startswith("/") and not Path(request.data).is_dir():
        raise InputError(f"data {request.data} is not there; stage it as docs/launch/{target}.md says")
    if target not in ELSEWHERE:
        return
    seen = "\0" if request.direct else f"{bucket.ROOT}/{bucket.name(request.out)}/"  # of what is mounted, if any
    for source in dict.fromkeys(source for run in study.runs for source in _sources(run)):
        kind = source.partition(":")[0]
        if kind == "tokens" and not request.data:
            raise InputError(
                f"{source} lie on this machine alone; stage them as docs/launch/buckets.md says, then --data"
            )
        if kind not in ("python", "synthetic", "tokens") and seen not in source:
            if request.direct:
                raise InputError(
                    f"text {source} lies on this machine alone; stage its tokens as docs/launch/buckets.md says and "
                    "name them tokens:ID"
                )
            raise InputError(
                f"text {source} lies on this machine alone; copy it to the output's bucket and name it as the job sees "
                f"it, as in --set data.source=text:{seen}notes/*.txt, or stage its tokens and name them tokens:ID"
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


def _sources(run: RunConfig) -> tuple[str, ...]:
    return (run.data.source, *filter(None, [run.data.validation]), *run.eval.transfer)
