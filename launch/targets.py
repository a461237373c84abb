"""The platforms, and the checks that all of them share: everything that can be known before anything is written."""

from pathlib import Path
from typing import Protocol

from launch import bucket, gke, local, skypilot, slurm, tpu_vm
from launch.request import Request
from scaling import sharding
from scaling.config import RunConfig, Study, program
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
        """A command that shows the progress of the runs."""
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
    _check_devices(request, study)
    _check_data(request, study, target)


def _check_devices(request: Request, study: Study) -> None:
    """Whether all chips of a task are used, and divide its runs."""
    chip, chips = request.accelerator.chip, request.chips
    one = "" if chip.kind == "tpu" and 1 not in chip.alone else f"{chip.name}:{'1x1' if chip.kind == 'tpu' else 1}"
    asked = f"{request.slices} x {request.accelerator.name}" if request.slices > 1 else request.accelerator.name
    if chips > 1 and request.hosts == 1 and not request.mesh:
        raise InputError(
            f"{asked}: without --mesh a task trains on one of its {chips} chips; say how all are used, as in "
            f"--mesh {'run' if len(study.runs) > 1 else 'fsdp'}={chips}{f', or take {one}' if one else ''}"
        )
    if request.sizes:
        programs: dict[RunConfig, list[RunConfig]] = {}
        for run in dict.fromkeys(study.runs):
            programs.setdefault(program(run), []).append(run)
        for runs in programs.values():
            sharding.check(runs, request.sizes)


def _check_data(request: Request, study: Study, target: str) -> None:
    if request.data.startswith("/") and not Path(request.data).is_dir():
        raise InputError(f"data {request.data} is not there; stage it as docs/launch/{target}.md says")
    if target not in ELSEWHERE:
        return
    seen = f"{bucket.ROOT}/{bucket.name(request.out)}/"
    for source in dict.fromkeys(source for run in study.runs for source in _sources(run)):
        kind = source.partition(":")[0]
        if kind == "tokens" and not request.data:
            raise InputError(
                f"{source} lie on this machine alone; stage them as docs/launch/buckets.md says, then --data"
            )
        if kind not in ("python", "synthetic", "tokens") and seen not in source:
            raise InputError(
                f"text {source} lies on this machine alone; copy it to the output's bucket and name it as the job sees "
                f"it, as in --set data.source=text:{seen}notes/*.txt, or stage its tokens and name them tokens:ID"
            )
    for tokenizer in {run.data.tokenizer for run in study.runs} - {"bpe", "bytes"}:
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
