"""How the runs of a study are spread over a machine: device, workers and their cores, and which runs are one pack."""

import contextlib
import dataclasses
import fcntl
import hashlib
import importlib.util
import os
import socket
import sys
import tempfile
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from scaling import chips, config, packs
from scaling.config import RunConfig
from scaling.errors import InputError

Item = TypeVar("Item")

ELSEWHERE = "remove it, or set TMPDIR to a folder of your own"
ACCELERATED_PACK = 16  # runs trained as one program where small models leave the device idle, unless measured otherwise


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a study is spread over a machine; written into study.json before the first step, and kept."""

    device: str  # cpu | gpu | tpu
    runs_per_pack: int  # at most, but for runs that share a trunk
    workers: int  # processes, on the machine that began the study
    threads: int = 1  # of a worker on a CPU, which is pinned to its core; elsewhere the device's own affair
    host: str = ""  # that machine
    devices: int = 1  # accelerators of that machine, over which the lanes of a pack are spread

    def __post_init__(self):
        """Raises ValueError for what no study.json of ours holds."""
        for name in ("device", "host"):
            if not isinstance(getattr(self, name), str):
                raise ValueError(f"{name} {getattr(self, name)!r} of the layout is no text")
        for name in ("runs_per_pack", "workers", "threads", "devices"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise ValueError(f"{name} {value!r} of the layout is no number from 1 on")


def choose(pack: int, workers: int, before: Layout | None, measured: Callable[[str], int]) -> Layout:
    """The layout for this machine.

    Args:
      pack, workers: as typed; 0 for what suits.
      before: that of the study, where it exists.
      measured: device -> runs per pack that was found to be fastest.

    Raises:
        InputError: negative, or more workers than cores.
    """
    for option, value in (("--pack", pack), ("--workers", workers)):
        if value < 0:
            raise InputError(f"{option} {value} is negative; use 0 for what suits this machine")
    kind = before.device if before else device()
    available = len(cores())
    if workers > available and kind == "cpu":
        raise InputError(f"--workers {workers}, but this machine has {available} cores; use at most {available}")
    here = socket.gethostname()
    if before and not workers and before.host in ("", here):
        workers = min(before.workers, available) if kind == "cpu" else before.workers
    return Layout(
        device=kind,
        runs_per_pack=pack or (before.runs_per_pack if before else measured(kind)),
        workers=workers or (available if kind == "cpu" else 1),
        host=here,
        devices=devices(kind),
    )


def cores() -> list[int]:
    """The cores that this process may use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def device() -> str:
    """The kind of device that JAX will find, without the second that importing it takes."""
    if os.environ.get("JAX_PLATFORMS"):
        first = os.environ["JAX_PLATFORMS"].split(",")[0]
        return "gpu" if first == "cuda" else first
    if importlib.util.find_spec("libtpu") and any((*Path("/dev").glob("accel*"), *Path("/dev/vfio").glob("[0-9]*"))):
        return "tpu"
    if Path("/dev/nvidia0").exists() and any(importlib.util.find_spec(f"jax_cuda{n}_plugin") for n in (12, 13)):
        return "gpu"
    return "cpu"


def devices(kind: str) -> int:
    """How many devices of this kind a worker here will train with, without asking JAX; 1 for the core of a CPU."""
    named = {"gpu": ("CUDA_VISIBLE_DEVICES",), "tpu": ("TPU_VISIBLE_CHIPS", "TPU_VISIBLE_DEVICES")}
    chip = chips.here() if kind == "tpu" else None
    each = chip.devices if chip else 1
    for name in named.get(kind, ()):
        if name in os.environ:
            return max(1, each * sum(part.strip() not in ("", "-1") for part in os.environ[name].split(",")))
    files = {"gpu": ("nvidia[0-9]*",), "tpu": ("accel[0-9]*", "vfio/[0-9]*")}
    return max([1, *(each * len(list(Path("/dev").glob(pattern))) for pattern in files.get(kind, ()))])


def pin(kind: str, core: int) -> None:
    """Makes this process a worker; before JAX is imported.

    One pinned, single-threaded worker per core trains small models twice as fast as one process over all cores.
    """
    if kind != "cpu":
        return
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    flags = "--xla_cpu_multi_thread_eigen=false --xla_backend_optimization_level=1"  # 1: a third less time to compile
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()
    os.environ["JAX_PLATFORMS"] = "cpu"


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a worker runs: a core, or an accelerator. It is taken while one of the files is open, by the worker too."""

    core: int
    files: tuple[int, ...]

    def close(self) -> None:
        for file in self.files:
            os.close(file)


def place(kind: str, study: Path, others: int, *, shared: bool) -> Place | None:
    """A place for a worker of a study on this machine, rather one that no other study's worker has.

    Args:
      others: workers that this process has already.
      shared: take one of this study's own rather than none.

    Returns:
      None when workers of this very study have all of them.
    """
    seen = os.environ.get("CUDA_VISIBLE_DEVICES", "all").replace("/", "-")
    names = {core: f"core-{core}" if kind == "cpu" else f"{kind}-{seen}" for core in cores()}
    mine = hashlib.sha256(str(study.resolve()).encode()).hexdigest()[:12]
    with _private(Path(tempfile.gettempdir()) / f"scaling-{os.getuid()}") as folder:
        for wanted in (("any", mine), (mine,)):
            for core, name in names.items():
                files = [file for whose in wanted if (file := _locked(f"{name}-{whose}", folder)) is not None]
                if len(files) == len(wanted):
                    return Place(core, tuple(files))
                for file in files:
                    os.close(file)
    return Place(cores()[others % len(cores())], ()) if shared else None


@contextlib.contextmanager
def _private(path: Path) -> Iterator[int]:
    """A folder of this user's alone, open. Others know its name, and may write into the folder that it lies in.

    Raises:
        InputError: others made it, or could write into it.
    """
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise InputError(f"{path} is no folder of yours ({error.strerror}); {ELSEWHERE}") from None
    try:
        found = os.fstat(folder)
        if found.st_uid != os.getuid() or found.st_mode & 0o022:
            whose = f"owner {found.st_uid}, mode {found.st_mode & 0o777:o}"
            raise InputError(f"{path} is not a folder that you alone can write to ({whose}); {ELSEWHERE}")
        os.fchmod(folder, 0o700)
        yield folder
    finally:
        os.close(folder)


def _locked(name: str, folder: int) -> int | None:
    """The open file, locked until every process that has it open has ended; None if others have."""
    file = os.open(name, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600, dir_fd=folder)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    return file


def pack_id(runs: Iterable[str]) -> str:
    """The id of a pack from those of its runs."""
    return hashlib.sha256(" ".join(runs).encode()).hexdigest()[:12]


def together(
    items: Sequence[Item], run: Callable[[Item], RunConfig], data: Callable[[Item], Hashable] = lambda item: None
) -> list[list[Item]]:
    """Items whose runs share a trunk, in groups; the others alone. Arguments as in `packed`."""
    groups: dict[Hashable, list[Item]] = {}
    for i, item in enumerate(items):
        trunk = packs.trunk(run(item))
        groups.setdefault(i if trunk is None else (trunk, data(item)), []).append(item)
    return list(groups.values())


def packed(
    items: Sequence[Item],
    run: Callable[[Item], RunConfig],
    data: Callable[[Item], Hashable],
    size: Callable[[RunConfig], int],
    devices: int = 1,
    room: Callable[[RunConfig], int] = lambda _: sys.maxsize,
) -> list[list[Item]]:
    """Items in packs of one program and one kind of data, those that share a trunk together.

    Args:
      run: the config of an item.
      data: what else must agree.
      size: of a pack at most, by the program of its runs; those that share a trunk may be more.
      devices: over which lanes are spread; what would not divide over them well becomes two packs.
      room: lanes that one of them holds; what would need more in any segment becomes two packs.

    The longest runs first, so that a pack's runs end at about the same time; otherwise in the order given.
    """
    programs: dict[Hashable, list[list[Item]]] = {}
    for group in together(items, run, data):
        programs.setdefault((config.program(run(group[0])), data(group[0])), []).append(group)
    found: list[list[Item]] = []

    def split(groups: list[list[Item]]) -> list[list[Item]]:
        parts = _even(groups, devices)
        if devices > 1:
            parts = [part for one in parts for part in _roomy(one, run, devices, room)]
        return [[item for group in part for item in group] for part in parts]

    for groups in programs.values():
        pack: list[list[Item]] = []
        for group in sorted(groups, key=lambda group: -max(run(item).steps for item in group)):
            if pack and sum(map(len, pack)) + len(group) > size(config.program(run(group[0]))):
                found += split(pack)
                pack = []
            pack = [*pack, group]
        found += split(pack)
    return found


def _roomy(
    groups: list[list[Item]], run: Callable[[Item], RunConfig], devices: int, room: Callable
) -> list[list[list[Item]]]:
    """The groups as packs of which no device has more lanes at a time than it holds: halved until that is so.

    Where lanes do not divide over the devices, each has all of them: a few large models are trained one after another.
    A group shares a trunk, and stays together however large it is.
    """
    configs = [run(item) for group in groups for item in group]
    over = packs.across(configs, devices)
    widest = max(packs.on_each(len(segment.lanes), over) for segment in packs.segments(configs))
    if widest <= room(config.program(configs[0])) or len(groups) == 1:
        return [groups]
    half = (len(groups) + 1) // 2
    return [part for some in (groups[:half], groups[half:]) for part in _roomy(some, run, devices, room)]


def _even(groups: list[list[Item]], devices: int) -> list[list[list[Item]]]:
    """The groups as one pack, or as two where each device then has fewer lanes at a time.

    Thirteen runs divide over no more than one of eight devices: eight and five take two lanes on each.
    """
    n = len(groups)
    if any(n % d == 0 and n // d <= -(-n // devices) for d in range(1, devices + 1)):
        return [groups]
    if max(map(len, groups)) > 1:  # runs of a trunk, whose lanes are fewer than the runs
        return [groups]
    whole = n - n % devices
    return [groups[:whole], groups[whole:]]
