"""Who works on what: leases in a folder that processes and machines share, without flock, which network disks may lack.

    FOLDER/claim-000007   the newest claim: who has the pack, and its progress; rewritten every BEAT seconds
    FOLDER/000007/        what its holder writes

A claim is made by creating the file of the next number, which succeeds once (O_EXCL). It is open to others when it
was given back, when its process is known to be gone, or when its heart has not beaten for LEASE seconds by the disk's
clock: a stopped process has none, nor has a claim whose time lies as far ahead, or that is a folder. The number is a
fencing token: whoever takes over first renames the older claim's folder to his own number, so what a holder writes
that slept beyond its lease, in the middle of a save say, finds no folder, or ends in one that is never read. It also
looks before it writes (`confirm`), to leave early. Claim files stay, so a number never comes twice.

In a bucket (scaling.buckets) no folder can be renamed. There the file of a claim is created by a write that only one
can win, and whoever takes over copies what the older claim's folder has that is whole to his own, within the store,
writes

    FOLDER/data-000007    the folder of this number counts from now on, and no older one

and then deletes the older one: what a late holder still writes to it is never read.
"""

import contextlib
import dataclasses
import functools
import json
import os
import shutil
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from scaling import buckets, checked, folders
from scaling.buckets import Bucket
from scaling.checked import Damaged
from scaling.errors import InputError

LEASE = 60.0  # seconds without a heartbeat after which a claim is open to others
BEAT = 3.0  # seconds between heartbeats
BEAT_AWAY = 10.0  # the same in a bucket, where each is a request that is paid for
SOON = 0.1  # seconds between two looks at what somebody else holds for a moment
SOON_AWAY = 2.0
PREFIX = "claim-"
COUNTS = "data-"
SHARES = "shares"  # of a checkpoint on its way, that several processes send; of no use to who takes over
TAKEOVERS = 3  # that may come between while one is under way
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
        age=abs(_age(path)),
        gone=bool(said) and said["place"] == _place() and _started(said["pid"]) != said["started"],
        damage=damage,
    )


def several(folder: Path) -> bool:
    """Whether the folder was claimed more than once."""
    return _newest(folder, PREFIX) > 1


def times(folder: Path) -> list[tuple[int, float, float]]:
    """Of each claim its number, when it was taken and its last sign of life, in order; those that tell."""
    found = []
    for number in sorted(_folders(folder, PREFIX)):
        path = _claim(folder, number)
        with contextlib.suppress(FileNotFoundError, Damaged):
            said = _said(path, checked.content(path, WIDTH))
            at = buckets.listing(folder)[path.name] if isinstance(folder, Bucket) else path.lstat()
            found.append((number, said["began"], at.st_mtime))
    return found


def age(path: Path, beside: Path) -> float:
    """Seconds since a file was written, by the clock of the disk; below 0 for one that is dated ahead.

    Args:
        beside: a folder of the same disk to try the clock in.
    """
    return _now(beside) - path.lstat().st_mtime


def _age(claim: Path) -> float:
    beside = claim.parent.parent
    if not isinstance(claim, Bucket):
        return age(claim, beside)
    found = buckets.listing(claim.parent).get(claim.name)  # as it was asked for its number
    return _now(beside) - found.st_mtime if found else 0.0


def _now(beside: Path) -> float:
    """The time by the clock of the disk or the store."""
    return time.time() + _offset(beside, int(time.time() // 60))


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
    number = (isinstance(folder, Bucket) and _newest(folder, COUNTS)) or _newest(folder, "")
    return folder / f"{number:06}" if number else folder


def take(folder: Path, lease: float = LEASE, beat: float | None = None) -> "Claim | None":
    """The folder for this process alone, or None: somebody else has it."""
    before = holder(folder)
    if before and not before.open(lease):
        return None
    number = before.number + 1 if before else 1
    if not folders.own(folder) or len(f"{number}") > DIGITS:
        raise InputError(f"{folder} is no folder of claims (a link, a file, or claim {number}); move it away")
    try:
        if isinstance(folder, Bucket):
            claim = _InBucket(folder, number, beat or BEAT_AWAY)
        else:
            claim = Claim(folder, number, beat or BEAT)
    except FileExistsError:
        return None
    try:
        claim.begin()
    except BaseException as error:
        claim.release()
        if isinstance(error, Lost):
            return None
        raise
    return claim


class Claim:
    """A folder that is ours until `release`, or until our heart stops; use it in a `with`.

    Raises:
        FileExistsError: the number is taken.
    """

    def __init__(self, folder: Path, number: int, beat: float):
        self.root, self.number = folder, number
        self.folder = folder / f"{number:06}"
        self.done = 0
        self.began = time.time()
        self._every, self._ended, self._write = beat, threading.Event(), threading.Lock()
        self._looked = 0.0
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._make()

    def _make(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        self.file = os.open(_claim(self.root, self.number), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)

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
        self._close()

    def _close(self) -> None:
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

    def _words(self, free: bool) -> bytes:
        said = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "place": _place(),
            "started": _started(os.getpid()),
            "began": self.began,
            "done": self.done,
            "free": free,
        }
        return json.dumps(said).encode().ljust(WIDTH)

    def _say(self, free: bool = False) -> None:
        with self._write:
            os.pwrite(self.file, self._words(free), 0)
            os.utime(self.file)  # by the clock of the disk


class _InBucket(Claim):
    """A claim to a folder in a bucket. Its heart also looks whether somebody else took over: each look is a request."""

    lost = False

    def _make(self) -> None:
        assert isinstance(self.root, Bucket)
        assert isinstance(self.folder, Bucket)
        self.home, self.own = self.root, self.folder  # which are buckets
        buckets.create(self.home / _claim(self.home, self.number).name, self._words(False))

    def begin(self) -> None:
        self._thread.start()
        before = self._take_over()
        self.confirm()
        (self.home / f"{COUNTS}{self.number:06}").write_bytes(b"1")
        if before:
            for orphan in {*_folders(self.home), *_folders(self.home, COUNTS)}:
                if orphan < self.number:
                    buckets.remove(self.home / f"{orphan:06}")
                    (self.home / f"{COUNTS}{orphan:06}").unlink(missing_ok=True)

    def _take_over(self) -> bool:
        """Copies what the holder before left; whether there was one."""
        for _ in range(TAKEOVERS):
            before = data(self.home)
            if before == self.home:
                return False
            if before.name > self.folder.name:
                raise Lost
            try:
                assert isinstance(before, Bucket)
                buckets.copy(before, self.own, _whole(before))
                return True
            except FileNotFoundError:  # somebody took over meanwhile, and came as far as to delete it
                continue
        raise Lost(f"{self.root} was taken over several times while it was being taken over from here")

    def confirm(self, within: float = 0.0) -> None:
        if self.lost or (not within and self._taken()):
            raise Lost(f"{self.root} was taken over, after {LEASE:.0f} s without a sign of life from here")

    def _taken(self) -> bool:
        return (self.home / _claim(self.home, self.number + 1).name).exists()

    def beat(self) -> None:
        if self.lost:
            return
        super().beat()
        with contextlib.suppress(OSError):
            self.lost = self.lost or self._taken()

    def _say(self, free: bool = False) -> None:
        with self._write:
            (self.home / _claim(self.home, self.number).name).write_bytes(self._words(free))

    def _close(self) -> None: ...


def _whole(folder: Bucket) -> list[str]:
    """The objects of a claim's folder, without checkpoints that came in half, and what was set aside."""
    names = [name for name in buckets.below(folder) if not name.startswith(("unreadable/", f"{SHARES}/"))]
    ends = {name.removesuffix(folders.LAST) for name in names if name.endswith(f"/{folders.LAST}")}
    return [name for name in names if not name.startswith("checkpoints/") or name.startswith(tuple(ends))]


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
        time.sleep(SOON_AWAY if isinstance(folder, Bucket) else SOON)
    with claim:
        yield


def _claim(folder: Path, number: int) -> Path:
    return folder / f"{PREFIX}{number:06}"


def _newest(folder: Path, prefix: str) -> int:
    return max(_folders(folder, prefix), default=0)


def _folders(folder: Path, prefix: str = "") -> list[int]:
    """The numbers N of all prefix-N in the folder."""
    if isinstance(folder, Bucket):
        found = buckets.listing(folder)
        return _numbers((name for name, at in found.items() if prefix or stat.S_ISDIR(at.st_mode)), prefix)
    try:
        with os.scandir(folder) as entries:  # what is written below a link would land elsewhere
            names = [entry.name for entry in entries if prefix or entry.is_dir(follow_symlinks=False)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return _numbers(names, prefix)


def _numbers(names: Iterable[str], prefix: str) -> list[int]:
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
    probe = folder / f".clock.{socket.gethostname()}.{os.getpid()}.{threading.get_ident()}"
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
