"""TPU VMs by queued resources: Cloud TPU's older API, for v4 to v6e.

Google keeps it running and develops it no further; tpu7x and later are on GKE only. Each part is one queued resource
whose startup script runs on every worker at every boot, so that a repaired or rebooted worker goes on by itself. When
the part has ended, its first worker deletes the resource.
"""

import dataclasses
from pathlib import Path

from launch import bucket, container
from launch.bucket import in_bucket
from launch.request import GATHER, Request, Shell, options, quoted, word
from scaling.errors import InputError

CLIENT = "gcloud"
RUNTIMES = {
    "v4": "tpu-ubuntu2204-base",
    "v5e": "v2-alpha-tpuv5-lite",
    "v5p": "v2-alpha-tpuv5",
    "v6e": "v2-alpha-tpuv6e",
}
TYPES = {"v4": "v4", "v5e": "v5litepod", "v5p": "v5p", "v6e": "v6e"}
ATTEMPTS = 5  # at a part that crashes
TRIES = 30  # at what needs the network, 20 s apart: a wrong name must not bill a slice for ever


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


def check(request: Request) -> None:
    chosen = options(Options, request, "tpu-vm")
    accelerator = request.accelerator
    if accelerator.chip.name not in RUNTIMES:
        way = "use --on gke" if accelerator.chip.kind == "tpu" else "use --on gke, slurm or skypilot"
        raise InputError(f"{accelerator.name}: queued resources have {', '.join(RUNTIMES)}; {way}")
    if not chosen.zone:
        raise InputError("no zone: queued resources lie in one; --with zone=us-central2-b")
    for field in dataclasses.fields(Options):
        if isinstance(value := getattr(chosen, field.name), str):
            word(field.name, value)
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
    return ("queued resources are Cloud TPU's legacy API: where there is a choice, --on gke",)


def files(request: Request) -> dict[str, str]:
    """One startup script per part."""
    return {f"{request.part_name(part)}.sh": _startup(request, part) for part in request.parts}


def slice_type(request: Request) -> str:
    """The slice's name in the older API, which counts cores: v4-32, v5litepod-16."""
    accelerator = request.accelerator
    return f"{TYPES[accelerator.chip.name]}-{accelerator.chips * accelerator.chip.cores}"


def _startup(request: Request, part: int) -> str:
    chosen = options(Options, request, "tpu-vm")
    name = request.part_name(part)
    processes = {"--distributed": "auto", "--wait": str(GATHER)} if request.hosts > 1 else {}
    where = [f"--zone={chosen.zone}", *([f"--project={chosen.project}"] if chosen.project else [])]
    delete = ["gcloud", "compute", "tpus", "queued-resources", "delete", name, *where, "--force", "--async", "--quiet"]
    lines = [
        "#!/bin/bash",
        "# Runs as root on every worker, at every boot.",
        "set -u",
        "folder=/var/lib/scaling",
        'mkdir -p "$folder"',
        '[ -e "$folder/ended" ] && exit 0',
        'exec > >(tee -a "$folder/log.txt") 2>&1',
        "attribute() {",
        "  curl --silent --fail --header 'Metadata-Flavor: Google' \\",
        '    "http://metadata.google.internal/computeMetadata/v1/instance/attributes/$1"',
        "}",
        "worker=$(attribute agent-worker-number)",
        'slice=$(attribute tpu-env | sed -n "s/^MEGASCALE_SLICE_ID: *//p" | tr -d "\'")',
        "send_log() {",
        f'  gcloud storage cp "$folder/log.txt" {_logs(request, name)}',
        "}",
        "finish() {  # with this exit code: the log goes to the bucket, and the first worker gives the machines back",
        '  echo "$1" > "$folder/ended"',
        '  [ -z "${sender-}" ] || kill "$sender"',
        "  send_log",
        '  if [ "${slice:-0}" = 0 ] && [ "${worker:-0}" = 0 ]; then',
        f"    {' '.join(delete)}",
        "  fi",
        "  exit 0",
        "}",
        "again() {  # until it succeeds, but not for ever",
        "  local try",
        f"  for try in {{1..{TRIES}}}; do",
        '    "$@" && return',
        f'    [ "$try" = {TRIES} ] || sleep 20',
        "  done",
        f'  echo "gave up after {TRIES} tries: $*"',
        "  finish 1",
        "}",
        *([] if request.direct else [*_mounted(request), *INSTALL]),
        *container.unpack(request),
        *container.registry_login(request),
        f"again docker pull {request.image}",
        *_copy(request),
        *([] if request.direct else ["again installed"]),
        "while sleep 60; do send_log; done >/dev/null 2>&1 &",
        "sender=$!",
        "failures=0",
        "while :; do",
        *([] if request.direct else ["  again mounted"]),
        "  docker rm --force scaling >/dev/null 2>&1",
        f"  {container.run(request, part, Shell(CACHE), processes=processes)}",
        "  code=$?",
        '  case "$code" in',
        "    0 | 2 | 3) break ;;  # ended: all done, unusable, or some runs failed and the rest are done",
        "    42) ;;  # told to stop, and saved",
        "    *) failures=$((failures + 1)) ;;",
        "  esac",
        f'  [ "$failures" -lt {ATTEMPTS} ] || break',
        "  sleep 20",
        "done",
        'finish "$code"',
        "",
    ]
    return "\n".join(lines)


CACHE = '"$folder/cache"'
GCSFUSE = "3.6.0"
INSTALL = (
    "# shellcheck disable=SC2329  # `again` calls it",
    "installed() {  # gcsfuse",
    "  command -v gcsfuse >/dev/null && return",
    '  curl --silent --show-error --fail --location --output "$folder/gcsfuse.deb" \\',
    f"    https://github.com/GoogleCloudPlatform/gcsfuse/releases/download/v{GCSFUSE}/gcsfuse_{GCSFUSE}_amd64.deb &&",
    '    apt-get update && apt-get install --yes "$folder/gcsfuse.deb" && command -v gcsfuse >/dev/null',
    "}",
)


def _copy(request: Request) -> list[str]:
    """Brings the prepared tokens to this machine's disk."""
    if not request.data:
        return []
    copy = quoted(["gcloud", "storage", "rsync", "--recursive", request.data.rstrip("/"), Shell(CACHE)])
    return [f"mkdir -p {CACHE}", f"again {copy}"]


def _mounted(request: Request) -> list[str]:
    """Mounts the output's bucket, where it is not mounted or its mount has died."""
    name = bucket.name(request.out)
    place = f"{bucket.ROOT}/{name}"
    mount = quoted(["gcsfuse", *bucket.as_flags(request.hosts), name, place])
    return [
        "# shellcheck disable=SC2329  # `again` calls it",
        "mounted() {",
        f"  mountpoint --quiet {place} || {{ fusermount -uz {place}; mkdir -p {place}; {mount}; }}",
        "}",
    ]


def _logs(request: Request, name: str) -> str:
    return quoted([f"{request.out.rstrip('/')}/logs/{name}-"]) + '"${slice:-0}-${worker:-0}.txt"'


def commands(request: Request, folder: Path) -> list[list[str]]:
    chosen = options(Options, request, "tpu-vm")
    return [_create(request, part, folder, chosen) for part in request.parts]


def _create(request: Request, part: int, folder: Path, chosen: Options) -> list[str]:
    name = request.part_name(part)
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
        "metadata-from-file": f"startup-script={folder / f'{name}.sh'}",
    }
    switches = {"spot": request.spot, "reserved": chosen.reserved, "internal-ips": chosen.internal_ips, "async": True}
    return [
        *("gcloud", "compute", "tpus", "queued-resources", "create", name, *shape),
        *(f"--{flag}={value}" for flag, value in flags.items() if value),
        *(f"--{switch}" for switch, on in switches.items() if on),
    ]


def watch(request: Request) -> str:
    zone = options(Options, request, "tpu-vm").zone
    return f"gcloud compute tpus queued-resources list --zone={zone}"
