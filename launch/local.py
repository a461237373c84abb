"""This machine: the parts of a study, or the processes of one part, side by side under one shell script.

The script passes TERM and Ctrl-C on, waits for all, and ends with the worst of their exit codes: what cannot be used
(2) or any crash before 42, 42 before 3, 3 before 0.
"""

import dataclasses
import sys
import zlib
from pathlib import Path

from launch.bucket import in_bucket
from launch.request import Request, Shell, exports, options, quoted, study_words
from scaling.errors import InputError

CLIENT = "bash"
PROCESSES = 256  # on one machine


@dataclasses.dataclass(frozen=True)
class Options:
    """What differs from machine to machine."""

    port: int = 0  # of the coordinator; 0: one that follows from the name
    workers: int = 0  # of each part, on CPUs; 0: this machine's cores shared out
    program: str = str(Path(sys.executable).with_name("scaling"))


def check(request: Request) -> None:
    chosen = options(Options, request, "local")
    kind = request.accelerator.chip.kind
    for key, least, most in (("port", 0, 65535), ("workers", 0, 10_000)):
        if not least <= getattr(chosen, key) <= most:
            raise InputError(f"{key}={getattr(chosen, key)}: wanted {least} to {most}")
    if request.tasks > 1 and request.hosts > 1:
        raise InputError(f"{request.tasks} tasks of {request.hosts} processes: locally one or the other")
    if kind == "tpu" and (request.tasks > 1 or request.hosts > 1):
        raise InputError(f"{request.tasks} x {request.accelerator.name}: this machine is one TPU host; --tasks 1")
    if kind == "gpu" and request.hosts > 1:
        raise InputError(f"{request.accelerator.name}: this machine is one host of {request.accelerator.per_host} GPUs")
    if max(request.tasks, request.hosts) > PROCESSES:
        raise InputError(f"{max(request.tasks, request.hosts)} processes on one machine: wanted {PROCESSES} at most")
    for what, path in (("output", request.out), ("data", request.data)):
        if in_bucket(path) and not (request.direct and what == "output"):
            way = ", or --direct to write to the bucket itself" if what == "output" else ""
            raise InputError(f"{what} {path}: this machine has disks; use a folder{way}")
    for what, given in (("--spot", request.spot), ("--time", request.seconds), ("--image", request.image)):
        if given:
            raise InputError(f"{what}: not on this machine; leave it out")


def notes(request: Request) -> tuple[str, ...]:
    return ()


def files(request: Request) -> dict[str, str]:
    """The script."""
    lines = ["#!/usr/bin/env bash", "set -u"]
    lines += exports(request, request.data)
    return {"run.sh": "\n".join([*lines, TRAP, *_starts(request), WAIT])}


def _starts(request: Request) -> list[str]:
    chosen = options(Options, request, "local")
    config = str(request.config_file) if request.config_file else request.config
    if request.hosts > 1:
        port = chosen.port or 20_000 + zlib.crc32(request.name.encode()) % 12_000
        processes = {
            "--distributed": f"127.0.0.1:{port}",
            "--processes": str(request.hosts),
            "--process-id": Shell('"$process"'),
        }
        words = study_words(request, chosen.program, config, "1", processes)
        return [f"for process in {{0..{request.hosts - 1}}}; do", f"  {quoted(words)} & pids+=($!)", "done"]
    words = study_words(request, chosen.program, config, Shell('"$part"'))
    before = ""
    if request.accelerator.chip.kind == "gpu" and request.tasks > 1:
        each = request.accelerator.chips
        devices = ",".join(f"$(((part - 1) * {each} + {i}))" for i in range(each))
        before = f'CUDA_VISIBLE_DEVICES="{devices}" '
    if request.accelerator.chip.kind == "cpu" and request.tasks > 1:
        share = Shell(str(chosen.workers) if chosen.workers else '"$workers"')
        words[4:4] = ["--workers", share]
    lines = [f"for part in {{1..{request.tasks}}}; do", f"  {before}{quoted(words)} & pids+=($!)", "done"]
    if "--workers" in words and not chosen.workers:
        cores = f"workers=$(($(nproc) / {request.tasks}))"
        lines[:0] = [cores, '[ "$workers" -ge 1 ] || workers=1']
    return lines


TRAP = """\
pids=() again=0
trap 'again=1; kill -TERM "${pids[@]}" 2>/dev/null' TERM INT HUP"""
WAIT = """\
[ "$again" = 0 ] || kill -TERM "${pids[@]}" 2>/dev/null  # a signal came before all were started
worst=0
for pid in "${pids[@]}"; do
  code=127
  while :; do  # a signal ends `wait` early; asked again for a process it has told of, it says 127
    again=0
    wait "$pid"
    now=$?
    [ "$now" = 127 ] || code=$now
    [ "$again" = 1 ] || break
  done
  case "$code:$worst" in
    0:*) ;;
    3:0) worst=3 ;;
    3:*) ;;
    42:0 | 42:3) worst=42 ;;
    42:*) ;;
    *:0 | *:3 | *:42) worst=$code ;;
  esac
done
exit "$worst"
"""


def commands(request: Request, folder: Path) -> list[list[str]]:
    return [["bash", str(folder / "run.sh")]]


def watch(request: Request) -> str:
    return quoted(["scaling", "study", "status", request.out])
