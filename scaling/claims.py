"""Who works on what: leases in a folder that processes and machines share, without flock, which network disks may lack.

    FOLDER/claim-000007   the newest claim: who has the pack, and its progress; rewritten every BEAT seconds
    FOLDER/000007/        what its holder writes

A claim is made by creating the file of the next number, which succeeds once (O_EXCL). It is open to others when it
was given back, when its process is known to be gone, or when its heart has not beaten for LEASE seconds by the disk's
clock: a stopped process has none, nor has a claim whose time lies as far ahead, or that is a folder. The number is a
fencing token: whoever takes over first renames the older claim's folder to his own number, so what a holder writes
that slept beyond its lease, in the middle of a save say, finds no folder, or ends in one that is never read. It also
looks before it writes (`confirm`), to leave early. Claim files stay, so a number never comes twice.
"""

import contextlib
import dataclasses
import functools
import json
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from scaling import checked, folders
from scaling.checked import Damaged
from scaling.errors import InputError

LEASE = 60.0  # seconds without a heartbeat after which a claim is open to others
BEAT = 3.0  # seconds between heartbeats
PREFIX = "claim-"
WIDTH = 512  # bytes of a claim file: always the same, so that a rewrite is one write
DIGITS = 12  # of a number at most


class Lost(Exception):
    """Somebody else took over: nothing may be written any more."""


@dataclasses.dataclass(frozen=True)
class Holder:
    """What the newest claim of a folder says."""

    number: int
    free: bool  # given back
    host: str
    pid: int  # 0 while the claim is being written
    began: float  # seconds since 1970 by the holder's clock
    done: int  # updates, as of the last heartbeat
    age: float  # seconds since the last heartbeat by the clock of the disk
    gone: bool  # a process of this machine that has ended
    damage: str = ""  # what is wrong with a claim that does not tell who holds it

    def open(self, lease: float = LEASE) -> bool:
        """Whether others may take over."""
        return self.free or self.gone or self.age > lease

    def __str__(self) -> str:
        if self.pid:
            return f"process {self.pid} on {self.host}"
        return f"nobody who can be named ({self.damage})" if self.damage else "a process that is just beginning"


def holder(folder: Path) -> Holder | None:
    """The newest claim; None where there never was one."""
    number = _newest(folder, PREFIX)
    if not number:
        return None
    path, damage = _claim(folder, number), ""
    said: dict[str, Any] = {}
    try:
        raw = checked.content(path, WIDTH)  # opened, since a network disk then asks for what is new
        said = _said(path, raw) if raw else {}  # empty while it is being written
    except Damaged as error:
        damage = str(error)
    return Holder(
        number=number,
        free=said.get("free", False),
        host=said.get("host", "?"),
        pid=said.get("pid", 0),
        began=said.get("began", 0.0),
        done=said.get("done", 0),
        age=abs(age(path, folder.parent)),
        gone=bool(said) and said["place"] == _place() and _started(said["pid"]) != said["started"],
        damage=damage,
    )


def age(path: Path, beside: Path) -> float:
    """Seconds since a file was written, by the clock of the disk; below 0 for one that is dated ahead.

    Args:
        beside: a folder of the same disk to try the clock in.
    """
    return time.time() + _offset(beside, int(time.time() // 60)) - path.lstat().st_mtime


def _said(path: Path, raw: bytes) -> dict[str, Any]:
    said = checked.parsed(path, raw)
    said["free"].one_of(True, False)
    said["host"].text()
    said["place"].text()
    said["pid"].whole(1)
    said["done"].whole()
    said["began"].number(least=0)
    if said["started"].value is not None:
        said["started"].whole()
    return said.object()


def data(folder: Path) -> Path:
    """What the newest holder has written; `folder` itself where no claim has a folder yet (or none knew of claims)."""
    number = _newest(folder, "")
    return folder / f"{number:06}" if number else folder


def take(folder: Path, lease: float = LEASE, beat: float = BEAT) -> "Claim | None":
    """The folder for this process alone, or None: somebody else has it."""
    before = holder(folder)
    if before and not before.open(lease):
        return None
    number = before.number + 1 if before else 1
    if not folders.own(folder) or len(f"{number}") > DIGITS:
        raise InputError(f"{folder} is no folder of claims (a link, a file, or claim {number}); move it away")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        file = os.open(_claim(folder, number), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    except FileExistsError:
        return None
    claim = Claim(folder, number, file, beat)
    try:
        claim.begin()
    except BaseException as error:
        claim.release()
        if isinstance(error, Lost):
            return None
        raise
    return claim


class Claim:
    """A folder that is ours until `release`, or until our heart stops; use it in a `with`."""

    def __init__(self, folder: Path, number: int, file: int, beat: float):
        self.root, self.number, self.file = folder, number, file
        self.folder = folder / f"{number:06}"
        self.done = 0
        self.began = time.time()
        self._every, self._ended, self._write = beat, threading.Event(), threading.Lock()
        self._looked = 0.0
        self._thread = threading.Thread(target=self._live, daemon=True)

    def begin(self) -> None:
        """Writes who we are, moves what the holder before left to our number, starts the heart.

        Raises:
            Lost: somebody was faster.
        """
        self._say()
        before = data(self.root)
        if before == self.root:
            self.folder.mkdir()
            _adopt(self.root, self.folder)
        elif before.name > self.folder.name:
            raise Lost
        else:
            with contextlib.suppress(FileNotFoundError):  # whoever moved it has a higher number, as we see next
                os.rename(before, self.folder)
        self.confirm()
        for orphan in _folders(self.root):
            if orphan < self.number:
                shutil.rmtree(self.root / f"{orphan:06}", ignore_errors=True)
        self._thread.start()

    def confirm(self, within: float = 0.0) -> None:
        """Looks whether the folder is still ours; not again `within` seconds of the last look.

        Raises:
            Lost: it is not.
        """
        now = time.time()
        if 0 <= now - self._looked < within:
            return
        if _claim(self.root, self.number + 1).exists() or not self.folder.is_dir():
            raise Lost(f"{self.root} was taken over, after {LEASE:.0f} s without a sign of life from here")
        self._looked = now

    def release(self) -> None:
        """Gives the folder back; others may take it at once."""
        if self._ended.is_set():
            return
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        with contextlib.suppress(OSError):  # then it expires
            self._say(free=True)
        os.close(self.file)

    def __enter__(self) -> "Claim":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _live(self) -> None:
        while not self._ended.wait(self._every):
            self.beat()

    def beat(self) -> None:
        """Tells that we are alive, and our progress; otherwise done every BEAT seconds."""
        with contextlib.suppress(OSError):  # a full or absent disk: the next beat may get through
            self._say()

    def _say(self, free: bool = False) -> None:
        said = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "place": _place(),
            "started": _started(os.getpid()),
            "began": self.began,
            "done": self.done,
            "free": free,
        }
        with self._write:
            os.pwrite(self.file, json.dumps(said).encode().ljust(WIDTH), 0)
            os.utime(self.file)  # by the clock of the disk


@contextlib.contextmanager
def held(folder: Path, say: Callable[[str], None], what: str) -> Iterator[None]:
    """The folder for this process alone, once whoever has it now has given it back."""
    told = False
    while (claim := take(folder)) is None:
        who = holder(folder)
        if who and not told and not who.open():
            say(
                f"{what} is being prepared by {who}; waiting until it is done, or has given no sign of life for "
                f"{LEASE:.0f} s (Ctrl-C leaves it alone)"
            )
            told = True
        time.sleep(0.1)
    with claim:
        yield


def _claim(folder: Path, number: int) -> Path:
    return folder / f"{PREFIX}{number:06}"


def _newest(folder: Path, prefix: str) -> int:
    return max(_folders(folder, prefix), default=0)


def _folders(folder: Path, prefix: str = "") -> list[int]:
    """The numbers N of all prefix-N in the folder."""
    try:
        with os.scandir(folder) as entries:  # what is written below a link would land elsewhere
            names = [entry.name for entry in entries if prefix or entry.is_dir(follow_symlinks=False)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    found = [name.removeprefix(prefix) for name in names if name.startswith(prefix)]
    return [int(n) for n in found if len(n) <= DIGITS and n.isascii() and n.isdigit() and n == f"{int(n):06}"]


def _adopt(root: Path, folder: Path) -> None:
    """What a version without claims left in `root` itself."""
    for name in ("checkpoints", "error.txt"):
        if (root / name).exists():
            os.rename(root / name, folder / name)


@functools.lru_cache(maxsize=64)
def _offset(folder: Path, minute: int) -> float:
    """How far the disk's clock is ahead of ours in that minute, seconds; 0 where we may not write."""
    probe = folder / f".clock.{socket.gethostname()}.{os.getpid()}"
    try:
        probe.touch()
        try:
            return probe.stat().st_mtime - time.time()
        finally:
            probe.unlink(missing_ok=True)
    except OSError:
        return 0.0


@functools.cache
def _place() -> str:
    """Where a process id means something: this boot of this machine, and which processes are seen from here."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{socket.gethostname()} {boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return f"{socket.gethostname()} {os.getpid()}"  # nobody else's: only the heartbeat tells


def _started(pid: int) -> Any:
    """When a process of this machine was started, in its own units; None when it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None if Path("/proc/self/stat").exists() else 0
    return None if fields[0] == "Z" else int(fields[19])
