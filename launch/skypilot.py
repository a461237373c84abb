"""SkyPilot's managed jobs: whichever cloud has the chips. Each part is one task.

Its controller brings a preempted part back on another machine; the codes of ours that ask for another try (42) are
among those that it recovers from. TPU pods here are TPU VMs (v4 to v6e) whose hosts come with the slice's name.
"""

import dataclasses
from pathlib import Path
from typing import Any

from launch import container, manifest, tpu_vm
from launch.request import Request, Shell, in_bucket, options, word
from scaling.errors import InputError

CLIENT = "sky"
NOTES = ()
GPU = {"v100": "V100-32GB", "l4": "L4", "a100": "A100-80GB", "h100": "H100", "h200": "H200", "b200": "B200"}
PORT = 8482


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
        raise InputError(f"{accelerator.name}: SkyPilot has {', '.join(tpu_vm.TYPES)} of the TPUs; use --on gke")
    if accelerator.chip.kind == "tpu" and chosen.infra.split("/")[0] != "gcp":
        raise InputError(f"{accelerator.name} on infra={chosen.infra}: TPUs are Google's; infra=gcp")
    if request.slices > 1:
        raise InputError(f"{request.slices} slices: SkyPilot joins none; use --on gke, or one larger slice")
    if not request.image:
        raise InputError("no image: the tasks run one, as docs/launch/skypilot.md builds it; --image NAME")
    if request.seconds:
        raise InputError("--time: managed jobs have no limit of their own; leave it out")
    for what, path in (("output", request.out), ("data", request.data)):
        if path and not in_bucket(path):
            raise InputError(f"{what} {path}: a task's disk is gone with its machine; use gs://bucket/folder")


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
    processes: dict[str, str] = {}
    if request.hosts > 1:
        processes = {"--distributed": "auto"}
        if not tpu:  # a TPU's hosts know one another, others are told
            processes = {
                "--distributed": Shell(f'"$(head -n1 <<<"$SKYPILOT_NODE_IPS"):{PORT}"'),
                "--processes": str(request.hosts),
                "--process-id": Shell('"$SKYPILOT_NODE_RANK"'),
            }
    setup = [*container.registry_login(request, sudo=True), f"sudo docker pull {request.image}"]
    run = [
        "folder=$(mktemp --directory)",
        *container.unpack(request),
        "sudo docker rm --force scaling >/dev/null 2>&1",
        container.run(request, part, sudo=True, processes=processes),
    ]
    return {
        "name": request.part_name(part),
        "num_nodes": 1 if tpu else request.hosts,
        "resources": resources,
        "setup": "\n".join(setup) + "\n",
        "run": "\n".join(run) + "\n",
    }


def commands(request: Request, folder: Path) -> list[list[str]]:
    return [["sky", "jobs", "launch", "--yes", "--detach-run", str(folder / name)] for name in files(request)]


def watch(request: Request) -> str:
    return "sky jobs queue"
