"""SkyPilot's managed jobs: whichever cloud has the chips. Each part is one task on one machine.

Its controller brings a preempted part back on another machine; the codes of ours that ask for another try (42) are
among those that it recovers from. TPUs here are TPU VMs (v4 to v6e). SkyPilot mounts buckets with options of its own,
by which a host remembers for some seconds what others have changed: no run spans hosts.
"""

import dataclasses
import math
from pathlib import Path
from typing import Any

from launch import bucket, container, manifest, tpu_vm
from launch.bucket import in_bucket
from launch.request import Request, Shell, options, word
from scaling import chips
from scaling.errors import InputError

CLIENT = "sky"
GPU = {
    "v100": "V100-32GB",
    "l4": "L4",
    "l40s": "L40S",
    "a100": "A100-80GB",
    "h100": "H100",
    "h200": "H200",
    "b200": "B200",
}
CACHE = "scaling-cache"  # in the machine's home


@dataclasses.dataclass(frozen=True)
class Options:
    """What differs from account to account."""

    infra: str = "gcp"  # cloud, or cloud/region, or cloud/region/zone
    cpus: int = 8  # on CPUs only
    disk: int = 100  # GB
    restarts: int = 3  # after failures that are nobody's preemption


def check(request: Request) -> None:
    chosen = options(Options, request, "skypilot")
    accelerator = request.accelerator
    word("infra", chosen.infra, r"[a-z0-9][a-z0-9*./-]*")
    for key, least in (("cpus", 1), ("disk", 50), ("restarts", 0)):
        if getattr(chosen, key) < least:
            raise InputError(f"{key}={getattr(chosen, key)}: wanted {least} or more")
    if accelerator.chip.kind == "tpu" and accelerator.chip.name not in tpu_vm.TYPES:
        raise InputError(f"{accelerator.name}: SkyPilot has {', '.join(tpu_vm.TYPES)} of the TPUs; use --on gke or mig")
    if accelerator.chip.kind == "tpu" and chosen.infra.split("/")[0] != "gcp":
        raise InputError(f"{accelerator.name} on infra={chosen.infra}: TPUs are Google's; infra=gcp")
    if accelerator.chip.kind == "gpu" and accelerator.chip.name not in GPU:
        raise InputError(f"{accelerator.name}: SkyPilot is asked for {', '.join(GPU)}; use --on slurm or local")
    if request.hosts > 1:
        raise InputError(
            f"{request.hardware} is {request.hosts} hosts, and what one writes to a bucket that "
            f"SkyPilot mounts the others see late; use --on gke, or one host such as {_one_host(request)}"
        )
    if not request.image:
        raise InputError("no image: the tasks run one, as docs/launch/skypilot.md builds it; --image NAME")
    if request.seconds:
        raise InputError("--time: managed jobs have no limit of their own; leave it out")
    for what, path in (("output", request.out), ("data", request.data)):
        if path and not in_bucket(path):
            raise InputError(f"{what} {path}: a task's disk is gone with its machine; use gs://bucket/folder")


def notes(request: Request) -> tuple[str, ...]:
    return ()


def files(request: Request) -> dict[str, str]:
    """One task per part."""
    return {
        f"{request.part_name(part)}.yaml": manifest.dump([task(request, part, options(Options, request, "skypilot"))])
        for part in request.parts
    }


def task(request: Request, part: int, chosen: Options) -> dict[str, Any]:
    """The task of one part, by SkyPilot's schema."""
    accelerator = request.accelerator
    tpu = accelerator.chip.kind == "tpu"
    resources: dict[str, Any] = {"infra": chosen.infra}
    if tpu:
        resources["accelerators"] = f"tpu-{tpu_vm.slice_type(request)}"
        resources["accelerator_args"] = {"runtime_version": tpu_vm.RUNTIMES[accelerator.chip.name]}
    elif accelerator.chip.kind == "gpu":
        resources["accelerators"] = f"{GPU[accelerator.chip.name]}:{accelerator.per_host}"
    else:
        resources["cpus"] = f"{chosen.cpus}+"
    resources |= {
        "use_spot": request.spot,
        "disk_size": chosen.disk,
        "job_recovery": {"max_restarts_on_errors": chosen.restarts, "recover_on_exit_codes": [42]},
    }
    mounts: dict[str, Any] = {}
    if not request.direct:
        name = bucket.name(request.out)
        mounts[f"{bucket.ROOT}/{name}"] = _stored(f"gs://{name}", "MOUNT")
    if request.data:
        mounts[f"~/{CACHE}"] = _stored(request.data.rstrip("/"), "COPY")
    setup = [*container.registry_login(request, sudo=True), f"sudo docker pull {request.image}"]
    run = [
        "folder=$(mktemp --directory)",
        *container.unpack(request),
        "sudo docker rm --force scaling >/dev/null 2>&1",
        container.run(request, part, Shell(f'"$HOME/{CACHE}"'), sudo=True),
    ]
    return {
        "name": request.part_name(part),
        "resources": resources,
        **({"file_mounts": mounts} if mounts else {}),
        "setup": "\n".join(setup) + "\n",
        "run": "\n".join(run) + "\n",
    }


def _stored(source: str, mode: str) -> dict[str, str]:
    return {"source": source, "mode": mode}


def _one_host(request: Request) -> str:
    chip = request.accelerator.chip
    if chip.kind != "tpu":
        return f"{chip.name}:{request.accelerator.per_host}"
    alone = [shape for shape in chips.slices(chip) if math.prod(shape) in chip.alone]
    return f"{chip.name}:{'x'.join(map(str, alone[-1]))}"


def commands(request: Request, folder: Path) -> list[list[str]]:
    return [["sky", "jobs", "launch", "--yes", "--detach-run", str(folder / name)] for name in files(request)]


def watch(request: Request) -> str:
    return "sky jobs queue"
