"""Files that are whole or not there, one writer at a time, and work spread over processes."""

import contextlib
import errno
import fcntl
import os
import re
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import IO, Any, TypeVar

from scaling import claims
from scaling.errors import InputError

Task = TypeVar("Task")
Result = TypeVar("Result")
Say = Callable[[str], None]

NO_ACCESS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST)
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
ELSEWHERE = "set SCALING_CACHE to a folder you may write to"
POLL = 0.2  # seconds between two tries to have a lock
PROGRESS = 10.0  # seconds between two lines about a long stage


def write(path: Path, save: Callable[[Any], object]) -> None:
    """Write a file so that it is whole on the disk or absent, whenever power or patience ends.

    Args:
        path: the file.
        save: gets something with a `write` for bytes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(unfinished, "wb") as file:
            save(_Writer(file))
            sync(file)
        os.replace(unfinished, path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


class _Writer:
    """A file that hides its descriptor: NumPy's own writing does not say that a full disk was the reason to stop."""

    def __init__(self, file: Any):
        self.write, self.flush = file.write, file.flush


def sync(file: Any) -> None:
    """Have the kernel put what was written onto the disk."""
    file.flush()
    os.fsync(file.fileno())


@contextlib.contextmanager
def locked(folder: Path, say: Say) -> Iterator[None]:
    """One process at a time in `folder`; the lock goes away with its process, however that ends.

    Raises:
        InputError: the process that has it gives no sign of life. It could wake up and write, so nobody takes over.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "lock"
    with path.open("a+") as file:
        _wait_for(file, folder, say)
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        ended = threading.Event()
        heart = threading.Thread(target=_beat, args=(path, ended), daemon=True)
        heart.start()
        try:
            yield
        finally:
            ended.set()
            heart.join()


def _wait_for(file: IO[str], folder: Path, say: Say) -> None:
    began = None
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            file.seek(0)
            who = re.fullmatch(r"process (\d+) on ([\w.-]+)", file.read(200))
        if began is None:
            began = time.monotonic()
            say(f"waiting: another process is preparing {folder}")
        path = folder / "lock"
        if time.monotonic() - began > claims.LEASE and abs(claims.age(path, folder)) > claims.LEASE:
            pid, host = (who[1], who[2]) if who else ("PID", "its machine")
            raise InputError(
                f"{folder} is being prepared by {who[0] if who else 'a process'}, which has given no sign of life for "
                f"{claims.LEASE:.0f} s; let it go on (kill -CONT {pid}) or end it (kill -9 {pid}) on {host}, then give "
                "the same command again"
            )
        time.sleep(POLL)


def _beat(path: Path, ended: threading.Event) -> None:
    while not ended.is_set():
        with contextlib.suppress(OSError):
            os.utime(path)  # by the clock of the disk
        ended.wait(claims.BEAT)


@contextlib.contextmanager
def room(folder: Path) -> Iterator[None]:
    """Makes the cache folder; turns a full disk, or one that must not be written to, into one line."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in NO_ROOM:
            raise InputError(f"no room left for {folder}; {ELSEWHERE}") from None
        raise InputError(f"{folder}: cannot be made ({error.strerror}); {ELSEWHERE}") from None
    try:
        yield
    except OSError as error:
        if error.errno in NO_ROOM:
            raise no_room(folder) from None
        if error.errno in NO_ACCESS:
            raise InputError(f"{error.filename}: {error.strerror}; {ELSEWHERE}") from None
        raise


def no_room(folder: Path, need: str = "") -> InputError:
    free = shutil.disk_usage(folder).free
    return InputError(
        f"no room left for {folder}: {need}{size(free)} are free; free some, or choose another cache folder"
    )


def want(folder: Path, n_bytes: int) -> None:
    """Refuses to begin what would fill the disk.

    Raises:
        InputError: fewer bytes are free.
    """
    if n_bytes > shutil.disk_usage(folder).free:
        raise no_room(folder, f"about {size(n_bytes)} are needed, ")


def begun(doing: str, parts: int, todo: int) -> str:
    """What is said before a stage of so many parts, some of which may be there."""
    return f"{doing}: {parts} part{'s' * (parts != 1)}" + (f", {todo} to go" if todo < parts else "")


def size(n_bytes: float) -> str:
    """1.5 MB"""
    units = ["TB", "GB", "MB", "kB", "bytes"]
    while n_bytes >= 1000 and len(units) > 1:
        n_bytes /= 1000
        units.pop()
    return f"{n_bytes:.3g} {units[-1]}"


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    weights: Sequence[int],
    workers: int,
    what: str,
    say: Say,
) -> list[Result]:
    """[function(task) for task in tasks], in this process or spread over `workers` of them.

    Args:
        function: importable by name, since processes are spawned.
        tasks: values that pickle.
        weights: how much work each is; for the estimate of the time that remains.
        workers: 1 for this process alone.
        what: names the stage in the lines about its progress.

    Raises:
        InputError: a process was killed; and whatever `function` raises.
    """
    began = last = time.monotonic()
    done = 0
    results: dict[int, Result] = {}
    for n, (i, result) in enumerate(_completed(function, tasks, workers), 1):
        results[i] = result
        done += weights[i]
        now = time.monotonic()
        if now - last > PROGRESS and n < len(tasks):
            last = now
            share = done / max(1, sum(weights))
            left = (now - began) * (1 - share) / max(share, 1e-9)
            say(f"{what}: {share:.0%}, about {left:.0f} s left")
    return [results[i] for i in range(len(tasks))]


def _completed(function: Callable[[Task], Result], tasks: Sequence[Task], workers: int) -> Iterator[tuple[int, Result]]:
    """Results as they come, each with the number of its task."""
    if workers <= 1 or len(tasks) <= 1:
        for i, task in enumerate(tasks):
            yield i, function(task)
        return
    # Spawned, not forked: the caller may hold JAX with its threads. Ctrl-C is the caller's to handle.
    pool = ProcessPoolExecutor(
        min(workers, len(tasks)),
        get_context("spawn"),
        initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_IGN),
    )
    try:
        futures = {pool.submit(function, task): i for i, task in enumerate(tasks)}
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BrokenProcessPool:
        raise InputError(
            "a process died while it prepared tokens, perhaps for want of memory; run again with fewer workers "
            '(a script of your own needs `if __name__ == "__main__":` around its work)'
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
