"""A GPU cluster (or CPUs) under Slurm: one batch script, an array with one element per part.

Before the time limit and on preemption Slurm sends TERM to the job's steps: they save and end with 42, and the script
puts its element back into the queue. The program and the folders are the same on all nodes: a shared disk.
"""

import dataclasses
import sys
from pathlib import Path
from typing import Literal

from launch.bucket import in_bucket
from launch.request import Request, Shell, exports, options, quoted, study_words, word
from scaling.errors import InputError

CLIENT = "sbatch"
NOT_SHARED = ("/tmp", "/var/tmp", "/dev/shm", "/run")


@dataclasses.dataclass(frozen=True)
class Options:
    """What differs from cluster to cluster."""

    partition: str = ""
    account: str = ""
    qos: str = ""
    constraint: str = ""
    gpu_type: str = ""  # as the cluster's GRES calls it; empty: any
    cpus: int = 8  # per process
    memory: str = ""  # per node, as in 64G; empty: the cluster's default
    processes: Literal["per-node", "per-gpu"] = "per-node"
    notice: int = 300  # seconds between TERM and the time limit
    at_once: int = 0  # elements of the array that run at the same time; 0: as many as can
    program: str = str(Path(sys.executable).with_name("scaling"))


def check(request: Request) -> None:
    chosen = options(Options, request, "slurm")
    for key in ("partition", "account", "qos", "constraint", "gpu_type", "memory"):
        word(key, getattr(chosen, key), r"[\w][\w.:/@,+&|\-]*")
    for key, least in (("cpus", 1), ("notice", 30), ("at_once", 0)):
        if getattr(chosen, key) < least:
            raise InputError(f"{key}={getattr(chosen, key)}: wanted {least} or more")
    if request.accelerator.chip.kind == "tpu":
        raise InputError(f"{request.accelerator.name}: Slurm has no TPU slices; use --on gke")
    if request.spot:
        raise InputError("--spot: each cluster has a partition or QOS of its own for that; --with partition=NAME")
    if request.image:
        raise InputError(f"image {request.image}: under Slurm the installed program runs; leave --image out")
    for what, path in (("output", request.out), ("data", request.data)):
        if in_bucket(path) and not (request.direct and what == "output"):
            way = ", or --direct to write to the bucket itself" if what == "output" else ""
            raise InputError(f"{what} {path}: Slurm's nodes have a disk in common; use a folder on it{way}")
        if "\\" in path:
            raise InputError(f"{what} {path}: sbatch has a meaning of its own for backslashes; use a folder without")
        if path and any(Path(path).is_relative_to(place) for place in NOT_SHARED):
            raise InputError(
                f"{what} {path}: every node has its own {path.split('/')[1]}; use a folder on a shared disk"
            )
    if request.seconds and request.seconds <= chosen.notice:
        raise InputError(f"time limit of {request.seconds} s with a notice of {chosen.notice} s; raise the one limit")


def notes(request: Request) -> tuple[str, ...]:
    return ()


def files(request: Request) -> dict[str, str]:
    """The batch script."""
    chosen = options(Options, request, "slurm")
    return {"job.sh": "\n".join([*_header(request, chosen), *_body(request, chosen), ""])}


def _header(request: Request, chosen: Options) -> list[str]:
    accelerator = request.accelerator
    gpus = accelerator.per_host if accelerator.chip.kind == "gpu" else 0
    per_gpu = gpus and chosen.processes == "per-gpu"
    limit = f"%{chosen.at_once}" if chosen.at_once else ""
    lines = {
        "job-name": request.name,
        "array": f"1-{request.tasks}{limit}" if request.tasks > 1 else "",
        "nodes": request.hosts,
        "ntasks-per-node": gpus if per_gpu else 1,
        "cpus-per-task": chosen.cpus,
        "gres": f"gpu:{chosen.gpu_type + ':' if chosen.gpu_type else ''}{gpus}" if gpus else "",
        "mem": chosen.memory,
        "time": _clock(request.seconds) if request.seconds else "",
        "signal": f"TERM@{chosen.notice}",  # to the steps, not to this script
        "partition": chosen.partition,
        "account": chosen.account,
        "qos": chosen.qos,
        "constraint": f'"{chosen.constraint}"' if chosen.constraint else "",
    }
    return [
        "#!/bin/bash",
        *(f"#SBATCH --{key}={value}" for key, value in lines.items() if value),
        "#SBATCH --requeue",
        "#SBATCH --open-mode=append",
    ]


def _body(request: Request, chosen: Options) -> list[str]:
    gpus = request.accelerator.per_host if request.accelerator.chip.kind == "gpu" else 0
    per_gpu = chosen.processes == "per-gpu" and gpus > 1
    together = request.hosts > 1 or per_gpu
    config = str(request.config_file) if request.config_file else request.config
    processes = {"--distributed": "auto"} if together else {}
    element = Shell('"$SLURM_ARRAY_TASK_ID"')
    words = study_words(request, chosen.program, config, element, processes)
    # srun's tasks leave one after the other when they have saved: the last of them may take a while, but not for ever
    srun = ["srun", "--kill-on-bad-exit=0", "--wait=600", f"--cpus-per-task={chosen.cpus}"]
    lines = ["set -u", "trap : TERM  # a preemption's: the step gets it too, and this script has to outlive it"]
    lines += exports(request, request.data)
    if together and gpus and not per_gpu:  # JAX takes a Slurm task for the owner of one GPU
        lines.append(f"export JAX_LOCAL_DEVICE_IDS={','.join(map(str, range(gpus)))}")
    # the number of an array's last element is that of the whole array: the pair means one element
    job = '"${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"' if request.tasks > 1 else '"$SLURM_JOB_ID"'
    return [
        *lines,
        quoted([*srun, *words]),
        "code=$?",
        'if [ "$code" = 42 ]; then  # saved; a job that somebody cancelled is no longer running and stays away',
        f"  job={job}",
        '  if scontrol --oneliner show job "$job" | grep -q "JobState=RUNNING"; then',
        '    scontrol requeue "$job"',
        "  fi",
        "fi",
        'exit "$code"',
    ]


def commands(request: Request, folder: Path) -> list[list[str]]:
    """Makes the folder of the logs and submits the script."""
    logs = f"{folder if request.direct else request.out}/logs"
    job = "%A_%a" if request.tasks > 1 else "%j"
    pattern = logs.replace("%", "%%")  # sbatch reads % as the beginning of a number
    return [
        ["mkdir", "-p", logs],
        ["sbatch", f"--output={pattern}/{request.name}-{job}.txt", str(folder / "job.sh")],
    ]


def watch(request: Request) -> str:
    return f"squeue --name={request.name}"


def _clock(seconds: int) -> str:
    days, rest = divmod(seconds, 86400)
    return f"{days}-{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
