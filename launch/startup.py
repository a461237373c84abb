"""The startup script of a TPU's virtual machines, whichever of Google's services makes them.

It runs as root on every worker, at every boot, so that a repaired or rebooted worker goes on by itself, and ends when
its part has ended. Then the first worker leaves the exit code in the bucket and gives all machines back, which it tries
until it is gone with them. Logs and exit codes are for outputs in gs:// alone: gcloud here has no key to s3://.
"""

from collections.abc import Sequence

from launch import bucket, container
from launch.request import GATHER, Request, Shell, quoted

ATTEMPTS = 5  # at a part that crashes
TRIES = 30  # at what needs the network, 20 s apart: with a wrong name the part ends, and gives back what it may
RETURN = 600  # seconds between further tries at giving the machines back: without gcloud or its right, for ever
CACHE = '"$folder/cache"'
GCSFUSE = "3.6.0"


def script(request: Request, part: int, give_back: Sequence[str], otherwise: Sequence[str] = ()) -> str:
    """The script of one part.

    Args:
      give_back: the command that deletes the part's machines.
      otherwise: a command by which each machine ends by itself, a while after its part, where it was not deleted.
    """
    name = request.part_name(part)
    processes = {"--distributed": "auto", "--wait": str(GATHER)} if request.hosts > 1 else {}
    lines = [
        "#!/bin/bash",
        "# Runs as root on every worker, at every boot.",
        "set -u",
        "folder=/var/lib/scaling",
        'mkdir -p "$folder"',
        'exec > >(tee -a "$folder/log.txt") 2>&1',
        "attribute() {",
        "  curl --silent --fail --retry 5 --header 'Metadata-Flavor: Google' \\",
        '    "http://metadata.google.internal/computeMetadata/v1/instance/attributes/$1"',
        "}",
        "of_slice() {",
        '  attribute tpu-env | sed -n "s/^$1: *//p" | tr -d "\'"',
        "}",
        "worker=$(attribute agent-worker-number || of_slice TPU_WORKER_ID)",
        "slice=$(of_slice MEGASCALE_SLICE_ID)",
        *_sent(request, name),
        "tried() {  # until it succeeds, so many times at most",
        "  local most=$1 try",
        "  shift",
        "  for ((try = 1; try <= most; try++)); do",
        '    "$@" && return',
        '    [ "$try" = "$most" ] || sleep 20',
        "  done",
        '  echo "gave up after $most tries: $*"',
        "  return 1",
        "}",
        "finish() {  # with this exit code, which the first worker tells the bucket before it gives the machines back",
        "  local pause=20",
        '  echo "$1" > "$folder/ended"',
        *([f"  {quoted(otherwise)}"] if otherwise else []),
        '  [ -z "${sender-}" ] || kill "$sender"',
        *(["  send_log"] if logs(request) else []),
        '  if [ "${slice:-0}" = 0 ] && [ "${worker:-0}" = 0 ]; then',
        *(['    tried 3 send_end "$1"'] if logs(request) else []),
        f"    until {quoted(give_back)}; do",
        '      echo "the machines are not given back yet; the next try is in $pause s"',
        *(["      send_log"] if logs(request) else []),
        '      sleep "$pause"',
        f"      pause={RETURN}",
        "    done",
        "  fi",
        "  exit 0",
        "}",
        "again() {",
        f'  tried {TRIES} "$@" || finish 1',
        "}",
        '[ ! -s "$folder/ended" ] || finish "$(cat "$folder/ended")"',
        *INSTALL,
        *([] if request.direct else [*_mounted(request), *INSTALL_GCSFUSE]),
        "again installed",
        *container.unpack(request),
        *container.registry_login(request),
        f"again docker pull {request.image}",
        *_copy(request),
        *([] if request.direct else ["again installed_gcsfuse"]),
        *(["while sleep 60; do send_log; done >/dev/null 2>&1 &", "sender=$!"] if logs(request) else []),
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


INSTALL = (
    "# shellcheck disable=SC2329  # `again` calls it",
    "installed() {  # what the images of Compute Engine lack, and those of TPU VMs have",
    "  command -v gcloud >/dev/null || snap install google-cloud-cli --classic || return",
    "  command -v docker >/dev/null || { apt-get update && apt-get install --yes docker.io; } || return",
    "  command -v gcloud >/dev/null && command -v docker >/dev/null",
    "}",
)
INSTALL_GCSFUSE = (
    "# shellcheck disable=SC2329  # `again` calls it",
    "installed_gcsfuse() {",
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


def logs(request: Request) -> str:
    """The folder of the logs, and of the exit code of each part that has ended, PART.ended; empty for s3://."""
    return f"{request.out.rstrip('/')}/logs" if request.out.startswith("gs://") else ""


def _sent(request: Request, name: str) -> list[str]:
    """Functions that send the log and the exit code."""
    if not logs(request):
        return []
    log = quoted([f"{logs(request)}/{name}-"]) + '"${slice:-0}-${worker:-0}.txt"'
    return [
        "send_log() {",
        f'  gcloud storage cp "$folder/log.txt" {log}',
        "}",
        "# shellcheck disable=SC2329  # `tried` calls it",
        "send_end() {",
        f'  gcloud storage cp - {quoted([f"{logs(request)}/{name}.ended"])} <<< "$1"',
        "}",
    ]
