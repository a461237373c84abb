"""TPUs as Compute Engine has them, v5p and later: each part is one managed instance group, which is one slice.

A workload policy gives the group its topology, an instance template its machines. Nothing in a group is repaired by
itself, which would tear the slice: a group whose machines were taken away is deleted and made again. Multislice there
is set up by hand, so that a task is one slice.
"""

import dataclasses
from pathlib import Path

from launch import relaunch, startup
from launch.bucket import in_bucket
from launch.request import Request, Shell, options, quoted, words
from scaling.errors import InputError

CLIENT = "gcloud"
IMAGES = {  # families of ubuntu-os-accelerator-images
    "v5p": "ubuntu-accel-2204-amd64-tpu-v5e-v5p-v6e",
    "v6e": "ubuntu-accel-2204-amd64-tpu-v5e-v5p-v6e",
    "tpu7x": "ubuntu-accel-2404-amd64-tpu-tpu7x",
}
DISKS = {"tpu7x": "hyperdisk-balanced"}  # where Compute Engine's own choice will not do
OTHERWISE = ("shutdown", "--poweroff", "+10")  # minutes; a machine that is off costs its disk alone
TAKEN = ("TERMINATED", "STOPPED", "SUSPENDED", "EMPTY")  # a preempted instance; a group that has none


@dataclasses.dataclass(frozen=True)
class Options:
    """What differs from project to project."""

    zone: str = ""
    project: str = ""  # empty: gcloud's own
    image_family: str = ""  # the machines' system; empty: what suits the generation
    disk: int = 200  # GB
    disk_type: str = ""
    network: str = ""
    subnetwork: str = ""
    service_account: str = ""  # its e-mail address; empty: the project's default
    reservation: str = ""
    reservation_bound: bool = False  # in calendar mode or of a dense deployment: machines go when it ends
    relaunches: int = 0  # of a part whose machines were taken away, by a script that stays in the foreground


def check(request: Request) -> None:
    chosen = options(Options, request, "mig")
    accelerator = request.accelerator
    if accelerator.chip.name not in IMAGES:
        way = "use --on gke or tpu-vm" if accelerator.chip.kind == "tpu" else "use --on gke, slurm or skypilot"
        raise InputError(f"{accelerator.name}: instance groups of TPUs have {', '.join(IMAGES)}; {way}")
    if request.slices > 1:
        raise InputError(f"{request.hardware}: an instance group is one slice; for several use --on gke")
    if not chosen.zone:
        raise InputError("no zone: an instance group lies in one; --with zone=us-east5-a")
    words(chosen)
    relaunch.check(chosen.relaunches)
    if chosen.disk < 50:
        raise InputError(f"disk={chosen.disk}: wanted 50 GB or more, for the system and the container's image")
    if request.spot and chosen.reservation:
        raise InputError(f"--spot and reservation={chosen.reservation}: machines are one or the other")
    if chosen.reservation_bound and not chosen.reservation:
        raise InputError("reservation_bound=true is said of a reservation, and none is named: add reservation=NAME")
    if not request.image:
        raise InputError("no image: the startup script runs one, as docs/launch/mig.md builds it; --image NAME")
    if request.seconds:
        raise InputError("--time: the machines are given back when the part has ended; leave it out")
    for what, path in (("output", request.out), ("data", request.data)):
        if path and not in_bucket(path):
            raise InputError(f"{what} {path}: a VM's disk is gone with the VM; use gs://bucket/folder")


def notes(request: Request) -> tuple[str, ...]:
    return relaunch.notes(request.spot, options(Options, request, "mig").relaunches)


def files(request: Request) -> dict[str, str]:
    """One startup script per part, and the script that makes the groups."""
    chosen = options(Options, request, "mig")
    parts = {request.part_name(part): part for part in request.parts}
    policy = _policy(request, chosen)
    return {
        **{
            f"{name}.sh": startup.script(request, part, _delete(name, chosen), OTHERWISE)
            for name, part in parts.items()
        },
        relaunch.SCRIPT: relaunch.script(
            {name: _machines(request, name, chosen) for name in parts},
            TAKEN,
            chosen.relaunches,
            startup.logs(request),
            policy,
        ),
    }


def _project(chosen: Options) -> list[str]:
    return [f"--project={chosen.project}"] if chosen.project else []


def _region(chosen: Options) -> str:
    return chosen.zone.rpartition("-")[0]


def _policy_name(request: Request) -> str:
    """Of the topology: launches share it."""
    return f"scaling-{request.accelerator.chip.name}-{request.accelerator.shape}"


def _policy(request: Request, chosen: Options) -> list[str]:
    """Lines that make the workload policy where there is none; a group wants it with its project."""
    if request.hosts == 1:
        return []
    gcloud = ["gcloud", "compute", "resource-policies"]
    where = [_policy_name(request), f"--region={_region(chosen)}", *_project(chosen)]
    topology = ["--type=HIGH_THROUGHPUT", f"--accelerator-topology={request.accelerator.shape}"]
    return [
        f"project={chosen.project or '$(gcloud config get-value project)'}",
        f"{quoted([*gcloud, 'describe', *where])} >/dev/null 2>&1 ||",
        f"  {quoted([*gcloud, 'create', 'workload-policy', *where, *topology])} || exit",
    ]


def _machines(request: Request, name: str, chosen: Options) -> relaunch.Machines:
    template = ["gcloud", "compute", "instance-templates"]
    group = ["gcloud", "compute", "instance-groups", "managed"]
    where = [f"--zone={chosen.zone}", *_project(chosen)]
    policy = f"regions/{_region(chosen)}/resourcePolicies/{_policy_name(request)}"
    made = [
        *(*group, "create", name, f"--template={_template_name(name)}", f"--size={request.hosts}", *where),
        *([Shell(f'--workload-policy="projects/$project/{policy}"')] if request.hosts > 1 else []),
        "--default-action-on-vm-failure=do-nothing",
    ]
    before = quoted([*template, "delete", _template_name(name), *_project(chosen), "--quiet"])  # of an earlier launch
    # An instance that is being made has no status yet, but an action.
    listed = quoted([*group, "list-instances", name, *where, "--format=value(instanceStatus,currentAction)"])
    return relaunch.Machines(
        create=f"{before} >/dev/null 2>&1; {quoted(_template(request, name, chosen))} && {quoted(made)}",
        state=f'listed=$({listed}) && echo "${{listed:-EMPTY}}"',
        delete=quoted(_delete(name, chosen)),
    )


def _template_name(name: str) -> str:
    """Ours alone: templates are the whole project's, and that of an earlier launch is deleted."""
    return f"scaling-{name}"


def _template(request: Request, name: str, chosen: Options) -> list[str]:
    """The command that makes the template of a part's machines."""
    chip = request.accelerator.chip
    model, ends = "", ""
    if request.spot:
        model, ends = "SPOT", "STOP"
    elif chosen.reservation_bound:
        model, ends = "RESERVATION_BOUND", "DELETE"
    given = {
        "project": chosen.project,
        "machine-type": request.accelerator.machine,
        "image-project": "ubuntu-os-accelerator-images",
        "image-family": chosen.image_family or IMAGES[chip.name],
        "boot-disk-size": f"{chosen.disk}GB",
        "boot-disk-type": chosen.disk_type or DISKS.get(chip.name, ""),
        "maintenance-policy": "TERMINATE",
        "provisioning-model": model,
        "instance-termination-action": ends,
        "reservation-affinity": "specific" if chosen.reservation else "",
        "reservation": chosen.reservation,
        "network": chosen.network,
        "subnet": chosen.subnetwork,
        "region": _region(chosen) if chosen.subnetwork else "",
        "scopes": "cloud-platform",
        "service-account": chosen.service_account,
        "labels": f"scaling-study={request.name}",
    }
    return [
        *("gcloud", "compute", "instance-templates", "create", _template_name(name)),
        *(f"--{flag}={value}" for flag, value in given.items() if value),
        Shell(f'--metadata-from-file="startup-script=$folder/{name}.sh"'),
    ]


def _delete(name: str, chosen: Options) -> list[str]:
    where = [f"--zone={chosen.zone}", *_project(chosen)]
    return ["gcloud", "compute", "instance-groups", "managed", "delete", name, *where, "--quiet"]


def commands(request: Request, folder: Path) -> list[list[str]]:
    return [["bash", str(folder / relaunch.SCRIPT)]]


def watch(request: Request) -> str:
    return f"gcloud compute instance-groups managed list --filter=name~^{request.name}"
