"""The platforms, and the checks that all of them share: everything that can be known before anything is written."""

import math
from pathlib import Path
from typing import Protocol

from launch import gke, local, skypilot, slurm, tpu_vm
from launch.request import Request
from scaling.config import Study
from scaling.errors import InputError


class Target(Protocol):
    """One platform: a module of this package."""

    @property
    def CLIENT(self) -> str:
        """The program that submits."""
        ...

    @property
    def NOTES(self) -> tuple[str, ...]:
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
        """A command that shows how far it is."""
        ...


TARGETS: dict[str, Target] = {"slurm": slurm, "gke": gke, "local": local, "tpu-vm": tpu_vm, "skypilot": skypilot}
ELSEWHERE = ("gke", "tpu-vm", "skypilot")  # whose machines see none of our files


def check(request: Request, study: Study, target: str) -> None:
    """Whether `target` can run this request, and has what the study needs.

    Raises:
      InputError: one line with the value found, the value wanted and the way out.
    """
    TARGETS[target].check(request)
    if request.tasks > len(study.runs):
        raise InputError(f"{request.tasks} tasks for {len(study.runs)} runs; use --tasks {len(study.runs)} at most")
    for run in study.runs:
        over = [(axis, size) for axis, size in request.mesh if axis in ("data", "fsdp")]
        split = math.prod(size for _, size in over)
        if run.batch % split:
            told = " x ".join(f"{axis}={size}" for axis, size in over)
            raise InputError(f"a batch of {run.batch} sequences does not split over {told}; use a multiple of {split}")
    _check_data(request, study, target)


def _check_data(request: Request, study: Study, target: str) -> None:
    if request.data.startswith("/") and not Path(request.data).is_dir():
        raise InputError(f"data {request.data} is not there; stage it as docs/launch/{target}.md says")
    if target not in ELSEWHERE or request.data:
        return
    for source in dict.fromkeys(run.data.source for run in study.runs):
        if source.partition(":")[0] in ("text", "tfds"):
            raise InputError(
                f"data.source={source} lies on this machine alone; stage its tokens in a bucket as "
                f"docs/launch/{target}.md says, then --data gs://bucket/tokens"
            )
