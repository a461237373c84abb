"""TPU VMs by queued resources: Cloud TPU's older API, for v4 to v6e.

Google keeps it running and develops it no further; tpu7x and later are on GKE and Compute Engine (launch.mig) alone.
Each part is one queued resource, which its first worker deletes when the part has ended (launch.startup).
"""

import dataclasses
from pathlib import Path

from launch import relaunch, startup
from launch.bucket import in_bucket
from launch.request import Request, Shell, options, quoted, words
from scaling.errors import InputError

CLIENT = "gcloud"
RUNTIMES = {
    "v4": "tpu-ubuntu2204-base",
    "v5e": "v2-alpha-tpuv5-lite",
    "v5p": "v2-alpha-tpuv5",
    "v6e": "v2-alpha-tpuv6e",
}
TYPES = {"v4": "v4", "v5e": "v5litepod", "v5p": "v5p", "v6e": "v6e"}
TAKEN = ("SUSPENDED", "FAILED")  # states of a resource that was preempted, or of which nothing came


@dataclasses.dataclass(frozen=True)
class Options:
    """What differs from project to project."""

    zone: str = ""
    project: str = ""  # empty: gcloud's own
    runtime: str = ""  # the machine's system; empty: what suits the generation
    network: str = ""
    subnetwork: str = ""
    service_account: str = ""  # its e-mail address; empty: the project's default
    reserved: bool = False
    internal_ips: bool = False
    relaunches: int = 0  # of a part whose machines were taken away, by a script that stays in the foreground


def check(request: Request) -> None:
    chosen = options(Options, request, "tpu-vm")
    accelerator = request.accelerator
    if accelerator.chip.name not in RUNTIMES:
        way = "use --on gke or mig" if accelerator.chip.kind == "tpu" else "use --on gke, slurm or skypilot"
        raise InputError(f"{accelerator.name}: queued resources have {', '.join(RUNTIMES)}; {way}")
    if not chosen.zone:
        raise InputError("no zone: queued resources lie in one; --with zone=us-central2-b")
    words(chosen)
    relaunch.check(chosen.relaunches)
    if request.spot and chosen.reserved:
        raise InputError("--spot and reserved=true: a queued resource is one or the other")
    if not request.image:
        raise InputError("no image: the startup script runs one, as docs/launch/tpu-vm.md builds it; --image NAME")
    if request.seconds:
        raise InputError("--time: queued resources have no limit of their own; leave it out")
    for what, path in (("output", request.out), ("data", request.data)):
        if path and not in_bucket(path):
            raise InputError(f"{what} {path}: a TPU VM's disk is gone with the VM; use gs://bucket/folder")


def notes(request: Request) -> tuple[str, ...]:
    legacy = "queued resources are Cloud TPU's legacy API: where there is a choice, --on gke or --on mig"
    return (legacy, *relaunch.notes(request.spot, options(Options, request, "tpu-vm").relaunches))


def files(request: Request) -> dict[str, str]:
    """One startup script per part, and the script that makes the resources."""
    chosen = options(Options, request, "tpu-vm")
    parts = {request.part_name(part): part for part in request.parts}
    machines = {name: _machines(request, name, chosen) for name in parts}
    return {
        **{f"{name}.sh": startup.script(request, part, _delete(name, chosen)) for name, part in parts.items()},
        relaunch.SCRIPT: relaunch.script(machines, TAKEN, chosen.relaunches, startup.logs(request)),
    }


def slice_type(request: Request) -> str:
    """The slice's name in the older API, which counts cores: v4-32, v5litepod-16."""
    accelerator = request.accelerator
    return f"{TYPES[accelerator.chip.name]}-{accelerator.chips * accelerator.chip.cores}"


def _where(chosen: Options) -> list[str]:
    return [f"--zone={chosen.zone}", *([f"--project={chosen.project}"] if chosen.project else [])]


def _delete(name: str, chosen: Options) -> list[str]:
    return ["gcloud", "compute", "tpus", "queued-resources", "delete", name, *_where(chosen), "--force", "--quiet"]


def commands(request: Request, folder: Path) -> list[list[str]]:
    return [["bash", str(folder / relaunch.SCRIPT)]]


def _machines(request: Request, name: str, chosen: Options) -> relaunch.Machines:
    state = ["gcloud", "compute", "tpus", "queued-resources", "describe", name, *_where(chosen)]
    return relaunch.Machines(
        create=quoted(_create(request, name, chosen)),
        state=quoted([*state, "--format=value(state.state)"]),
        delete=quoted(_delete(name, chosen)),
    )


def _create(request: Request, name: str, chosen: Options) -> list[str]:
    accelerator = request.accelerator
    if len(accelerator.topology) == 3:
        shape = [f"--type={TYPES[accelerator.chip.name]}", f"--topology={accelerator.shape}"]
    else:
        shape = [f"--accelerator-type={slice_type(request)}"]
    flags = {
        "zone": chosen.zone,
        "project": chosen.project,
        "runtime-version": chosen.runtime or RUNTIMES[accelerator.chip.name],
        "node-id": name if request.slices == 1 else "",
        "node-count": str(request.slices) if request.slices > 1 else "",
        "node-prefix": name if request.slices > 1 else "",
        "network": chosen.network,
        "subnetwork": chosen.subnetwork,
        "service-account": chosen.service_account,
        "labels": f"scaling-study={request.name}",
    }
    switches = {"spot": request.spot, "reserved": chosen.reserved, "internal-ips": chosen.internal_ips, "async": True}
    return [
        *("gcloud", "compute", "tpus", "queued-resources", "create", name, *shape),
        *(f"--{flag}={value}" for flag, value in flags.items() if value),
        Shell(f'--metadata-from-file="startup-script=$folder/{name}.sh"'),
        *(f"--{switch}" for switch, on in switches.items() if on),
    ]


def watch(request: Request) -> str:
    zone = options(Options, request, "tpu-vm").zone
    return f"gcloud compute tpus queued-resources list --zone={zone}"
