"""What a pack leaves behind: Orbax checkpoints that hold `state` and `history` in one atomic step.

The history (scaling.histories) grows with the state, so after any crash there is exactly one curve with no gap and no
repeat, and `analysis` reads it without the parameters.

Orbax notices a checkpoint that is cut short, but not a flipped bit, and complains about damage in many tracebacks. So
each committed checkpoint gets checksums.json, the CRC of its files, and is compared with it before Orbax sees it.

Of a pack in a bucket (scaling.buckets) a checkpoint is written to this machine's disk, sealed there, and sent while the
training goes on, file by file, checksums.json last: without that it does not count. One that is still on its way when
the next is due lets that one wait. To go on, the newest that came whole is fetched, and compared with its seal.
Where several processes train the pack, each writes its share to the bucket itself, as Orbax does on GCS; what such a
checkpoint holds is in no one place, and its seal has sizes in place of checksums. Orbax has no way to S3: there each
writes its share to its own disk, in files of their own for each shard, so that all shares together are the checkpoint,
tells the others in the bucket what it has, and sends what no process before it has; the first seals it. To go on each
fetches all of it.
"""

import concurrent.futures
import contextlib
import errno
import logging
import os
import re
import shutil
import tempfile
import threading
import warnings
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from orbax.checkpoint import v1 as ocp

from scaling import buckets, checked, claims, folders
from scaling.buckets import Bucket
from scaling.errors import InputError
from scaling.histories import TOTALS, History

OVERHEAD = 2**18  # bytes of a checkpoint's own files, generously
KEEP = 2  # checkpoints: the newest, and the one to fall back on
SEAL = folders.LAST
AWAY = (5.0, 10.0, 20.0, 40.0, 80.0, 160.0)  # seconds between tries to send a checkpoint, each of which has its own
# What Orbax and TensorStore raise for a damaged checkpoint.
UNREADABLE = (ValueError, OSError, LookupError, TypeError, AttributeError, OverflowError, RecursionError)

logging.getLogger("absl").setLevel(logging.CRITICAL)  # Orbax narrates every save; what fails is raised as well


class Record:
    """The checkpoints of one pack, newest last."""

    def __init__(self, folder: Path, say: Callable[[str], None] = print):
        several = jax.process_count() > 1
        self.bucket = folder if isinstance(folder, Bucket) and not (several and folder.scheme == "gs") else None
        self.shares = _Shares(self.bucket) if self.bucket and several else None
        self.folder = (
            folders.staging(self.bucket.parent / f"{jax.process_index()}") if self.bucket else folder.absolute()
        )
        self.home, self.say = folder, say
        with self._orbax():
            self.checkpointer = ocp.training.Checkpointer(
                str(self.folder / "checkpoints"),
                preservation_policy=ocp.training.preservation_policies.LatestN(KEEP),  # pyright: ignore[reportArgumentType]
                cleanup_tmp_directories=True,
            )
        self._writing: tuple[int, Any] | None = None  # step, Orbax's answer to come
        self._sender = concurrent.futures.ThreadPoolExecutor(1, "checkpoint") if self.bucket else None
        self._sent = folders.saved_steps(self.bucket) if self.bucket else []
        self._closing = threading.Event()

    def _orbax(self) -> contextlib.AbstractContextManager[Any]:
        """How Orbax writes: as it likes to, or each process all of its share to a disk of its own."""
        if not self.shares:
            return contextlib.nullcontext()
        context = ocp.Context()
        context.multiprocessing.primary_host = None
        context.array.saving.use_replica_parallel = False
        context.array.saving.use_ocdbt = False  # whose files would be in need of merging
        return context

    def save(self, step: int, state: Any, history: History) -> None:
        """Commits both together; returns when they are on disk. A step already there is kept."""
        self.begin(step, state, history, last=True)
        self.settle()

    def begin(self, step: int, state: Any, history: History, last: bool = False) -> bool:
        """As `save`, but returns as soon as `state` may be changed: `settle` ends what is written meanwhile.

        Where the one before is still on its way to a bucket, nothing is saved, unless this is the last; several
        processes, of which each would find it otherwise, wait for it.

        Returns:
          Whether it is saved, or was.
        """
        if self.bucket and not self.shares and not last:
            self.settle(wait=False)
            if self._writing:
                return False
        else:
            self.settle()
        if any(there.step == step for there in self.checkpointer.checkpoints):
            return True
        leaves = [*jax.tree.leaves(state), *history.values()]
        in_bucket = isinstance(self.folder, Bucket)
        if not in_bucket and shutil.disk_usage(self.folder).free < sum(leaf.nbytes for leaf in leaves) + OVERHEAD:
            # Asked before, because Orbax tells of a disk that fills up under its hands in many tracebacks.
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.folder))
        if jax.default_backend() == "cpu":  # where Orbax would read the memory that the next update writes
            state = jax.tree.map(jnp.copy, state)
        asked = {"state": state, "history": history}
        with self._orbax():
            answer = self.checkpointer.save_checkpointables_async(step, asked, force=True)
        self._writing = step, self._sender.submit(self._send, step, answer) if self._sender else answer
        return True

    def _send(self, step: int, answer: Any) -> None:
        """Seals what Orbax has written here, sends it to the bucket, and deletes there what is not kept.

        Raises:
          OSError: the bucket has refused it for minutes.
        """
        assert self.bucket
        answer.result()
        local, there = self.folder / "checkpoints" / str(step), self.bucket / "checkpoints"
        told = _told(local)
        for pause in (*AWAY, None):
            try:
                if self.shares:
                    told = self.shares.send(step, local, told, self._closing)
                else:
                    buckets.upload(local, there / str(step), told)
                if jax.process_index() == 0:
                    folders.write_json(there / str(step) / SEAL, told)
                break
            except OSError as error:
                if pause is None or self._closing.is_set():
                    raise
                self.say(f"the checkpoint of step {step} is not in the bucket yet, and sent again: {error}")
                self._closing.wait(pause)
        if jax.process_index():
            return
        if self.shares:
            folders.remove(self.shares.folder)
        self._sent.append(step)
        while len(self._sent) > KEEP:
            with contextlib.suppress(OSError):  # then it stays
                buckets.remove(there / str(self._sent[0]), first=SEAL)
            del self._sent[0]

    def settle(self, wait: bool = True) -> None:
        """Seals what `begin` began, once it is committed: the place where a failure to write it is raised.

        Args:
          wait: for the commit, and of several processes for the others. Otherwise a save still under way is left to
            the next call.
        """
        if self._writing and self._sender:
            _, answer = self._writing
            if wait or answer.done():
                self._writing = None
                answer.result()
        elif self._writing and (wait or not self.checkpointer.is_saving_in_progress()):
            (step, answer), self._writing = self._writing, None
            answer.result()
            if jax.process_index() == 0:
                seal(self.folder / "checkpoints" / str(step))
        if wait:
            together("sealed")

    def restore(
        self, abstract_state: Callable[[int], Any], say: Callable[[str], None], begun: History | None = None
    ) -> tuple[int, Any, History] | None:
        """(step, state, history) of the newest readable checkpoint; unreadable newer ones are named and set aside.

        Of several processes the first looks for damage.

        Args:
          abstract_state: (step) -> the shapes of the state after so many updates, and how they are to lie on the
            devices: it need not be as they lay when it was written.
          begun: the history before the first update, when the arrays of the one found are to be those of this one.

        Raises:
          InputError: the newest readable checkpoint is whole, but of something else. Nothing is set aside.
        """
        with self._orbax():
            if not self.bucket:
                return self._restored(abstract_state, say, begun)
            if self.shares:
                if jax.process_index() == 0:
                    for _ in self._fetched():
                        self._drop_damaged(say)
                        if self.checkpointer.checkpoints:
                            break
                together("checked")
            for _ in self._fetched():
                if found := self._restored(abstract_state, say, begun):
                    return found
            return None

    def _fetched(self) -> Iterator[int]:
        """The steps of the bucket's checkpoints, newest first, each once it lies on this disk."""
        assert self.bucket
        for step in reversed(folders.saved_steps(self.bucket)):
            if not (self.folder / "checkpoints" / str(step)).exists():
                _fetch(self.bucket, step, self.folder)
            self.checkpointer.reload()
            yield step

    def _restored(
        self, abstract_state: Callable[[int], Any], say: Callable[[str], None], begun: History | None
    ) -> tuple[int, Any, History] | None:
        """`restore`, of what lies on the disk."""
        if jax.process_count() > 1 and not self.shares:
            if jax.process_index() == 0:
                self._drop_damaged(say)
            together("checked")
            self.checkpointer.reload()
        for there in reversed(self.checkpointer.checkpoints):
            try:
                if jax.process_count() == 1 or self.shares:
                    check(self.folder / "checkpoints" / str(there.step))
                wanted = abstract_state(there.step)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    # Asked before, because Orbax calls another model unreadable, and rounds to another dtype silently.
                    self._refuse_others(there.step, wanted, begun)
                    found = self.checkpointer.load_checkpointables(there.step, {"state": wanted, "history": None})
                return there.step, found["state"], _as_history(found["history"])
            except InputError:
                raise
            except UNREADABLE as error:
                if jax.process_count() > 1:
                    raise InputError(
                        f"{self.home}: the checkpoint of step {there.step} cannot be read ({_first_line(error)}); "
                        "move its folder away, and the same command goes on from the one before"
                    ) from None
                say(f"checkpoint of step {there.step} is unreadable, using the one before ({_first_line(error)})")
                self._set_aside(there.step)
        return None

    def _refuse_others(self, step: int, state: Any, begun: History | None) -> None:
        """Looks at what the arrays of a checkpoint are, before any is read.

        Raises:
          InputError: they are not those of this state, or of these measurements.
          ValueError: it does not tell.
        """
        path = self.folder / "checkpoints" / str(step)
        if not any(path.iterdir()):
            raise ValueError("it is empty")
        if absent := [part for part in ("state", "history") if not (path / part).is_dir()]:
            found = f"it has no {' and no '.join(absent)}"
        else:
            there = self.checkpointer.checkpointables_metadata(step).metadata
            if not jax.tree.leaves(there["state"]) or not there["history"]:
                raise ValueError("it does not say what it holds")
            found = _difference(_arrays(there["state"]), _arrays(state))
            if begun is not None and not found:
                rows = [name for name, values in begun.items() if values.shape[:1] == (0,)]
                kept = {name: values for name, values in there["history"].items() if name not in TOTALS}
                found = _difference(_arrays(kept, rows), _arrays(begun, rows))
        if found:
            raise InputError(
                f"{self.home}: the checkpoint of step {step} is of another model, optimiser or version: {found}; "
                "go on with what it was begun with, or move its checkpoints away to begin the pack anew"
            )

    def _drop_damaged(self, say: Callable[[str], None]) -> None:
        for there in reversed(self.checkpointer.checkpoints):
            try:
                check(self.folder / "checkpoints" / str(there.step))
                return
            except UNREADABLE as error:
                say(f"checkpoint of step {there.step} is unreadable, using the one before ({_first_line(error)})")
                self._set_aside(there.step)

    def _set_aside(self, step: int) -> None:
        """Moved, not deleted: what cannot be read today may be readable by another version."""
        for place in filter(None, (self.folder, self.bucket)):
            aside = place / "unreadable" / str(step)
            folders.remove(aside)
            folders.move(place / "checkpoints" / str(step), aside)
        self.checkpointer.reload()

    def close(self) -> None:
        self._closing.set()
        self.checkpointer.close()
        if self._sender:
            self._sender.shutdown()
            shutil.rmtree(self.folder, ignore_errors=True)


class _Shares:
    """What each process has of a checkpoint, told to the others in the bucket: nobody has all of it."""

    def __init__(self, pack: Bucket):
        self.folder = pack / claims.SHARES
        self.process, self.processes = jax.process_index(), jax.process_count()

    def send(self, step: int, local: Path, told: Mapping[str, Any], ended: threading.Event) -> dict[str, Any]:
        """Sends those files of this process that none before it has.

        Args:
          told: of each file here its checksum.
          ended: nobody waits for the others any more.

        Returns:
          The checksums of all; in the first process once all files are in the bucket.

        Raises:
          OSError: the bucket refuses, or the others did not come.
        """
        folders.write_json(self._of(step, "has"), told)
        self._wait(step, "has", ended)
        everywhere = buckets.each(lambda i: checked.read(self._of(step, "has", i), checked.LARGE).object(), self.all)
        whole, mine = {}, []
        for i, its in enumerate(everywhere):
            new = its.keys() - whole.keys()
            whole |= {name: its[name] for name in new}
            mine = list(new) if i == self.process else mine
        buckets.upload(local, self.folder.parent / "checkpoints" / str(step), mine)
        self._of(step, "sent").write_bytes(b"1")
        if self.process == 0:
            self._wait(step, "sent", ended)
        return whole

    @property
    def all(self) -> range:
        return range(self.processes)

    def _of(self, step: int, what: str, process: int | None = None) -> Bucket:
        return self.folder / f"{step}.{self.process if process is None else process}.{what}"

    def _wait(self, step: int, what: str, ended: threading.Event) -> None:
        while {self._of(step, what, i).name for i in self.all} - buckets.listing(self.folder).keys():
            if ended.wait(claims.SOON_AWAY):
                raise TimeoutError(errno.ETIMEDOUT, "other processes have not sent their shares", str(self.folder))


def _fetch(pack: Bucket, step: int, to: Path, part: str = "") -> Path:
    """Copies a checkpoint from a bucket, or what of it is needed to read a part; its folder here."""
    there, here = pack / "checkpoints" / str(step), to / "checkpoints" / str(step)
    names = [name for name in buckets.below(there) if name.startswith(part) or "/" not in name]
    buckets.download(there, here, names)
    return here


@contextlib.contextmanager
def _on_disk(folder: Path, step: int, part: str = "") -> Iterator[Path]:
    """A checkpoint of a pack on this disk, for as long as it is read."""
    if not isinstance(folder, Bucket):
        yield folder.absolute() / "checkpoints" / str(step)
        return
    with tempfile.TemporaryDirectory(prefix="scaling-") as here:
        yield _fetch(folder, step, Path(here), part)


def together(name: str) -> None:
    """Where several processes train a pack: waits for the others."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def read_history(folder: Path) -> History | None:
    """The newest readable history of a pack, without its parameters; None before the first checkpoint."""
    for step in reversed(folders.saved_steps(folder)):
        with _on_disk(folder, step, "history/") as checkpoint:
            try:
                check(checkpoint, "history/")
                return _as_history(ocp.load_checkpointables(str(checkpoint), {"history": None})["history"])
            except UNREADABLE:
                continue
    return None


def read_params(folder: Path) -> tuple[int, dict[str, np.ndarray]] | None:
    """The weights in the newest readable checkpoint of a pack, lanes first, and the updates that they have had.

    None before the first checkpoint.
    """
    for step in reversed(folders.saved_steps(folder)):
        with _on_disk(folder, step) as checkpoint:
            try:
                check(checkpoint)
                return step, _params(checkpoint)
            except UNREADABLE:
                continue
    return None


def _params(checkpoint: Path) -> dict[str, np.ndarray]:
    """The weights alone, asked for as arrays of this host: the devices that they were on may not be here."""
    there = ocp.checkpointables_metadata(str(checkpoint)).metadata["state"]["params"]
    wanted = {name: np.broadcast_to(np.zeros((), leaf.dtype), leaf.shape) for name, leaf in there.items()}
    context = ocp.Context()
    context.pytree.loading.partial_load = True  # without the optimiser's
    with context, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Orbax, of where arrays lay when they were written
        return ocp.load_checkpointables(str(checkpoint), {"state": {"params": wanted}})["state"]["params"]


def seal(checkpoint: Path) -> None:
    """Writes down what the files of a committed checkpoint hold."""
    folders.write_json(checkpoint / SEAL, _told(checkpoint))


def _seal_of(told: checked.Field) -> int | str:
    if type(told.value) is not str:
        return told.whole()
    if not re.fullmatch(r"\d{1,18} bytes", told.value):
        raise told.wrong("a checksum, or a size such as '12 bytes'")
    return told.value


def _told(checkpoint: Path) -> dict[str, Any]:
    """What is told of each file: its CRC; of an object in a bucket its size, which is known without reading it."""
    if isinstance(checkpoint, Bucket):
        return _sizes(checkpoint)
    return {name: _crc(checkpoint / name) for name in _files(checkpoint)}


def _sizes(checkpoint: Path) -> dict[str, str]:
    if isinstance(checkpoint, Bucket):
        found = {name: at.st_size for name, at in buckets.below(checkpoint).items()}
    else:
        found = {name: (checkpoint / name).stat().st_size for name in _files(checkpoint)}
    return {name: f"{size} bytes" for name, size in found.items() if name != SEAL}


def _files(checkpoint: Path) -> list[str]:
    return [path.relative_to(checkpoint).as_posix() for path in checkpoint.rglob("*") if path.is_file()]


def check(checkpoint: Path, part: str = "") -> None:
    """Compares the files whose names begin with `part` with the seal; after a crash just before it there may be none.

    Raises:
      ValueError: a file is missing or not what was written.
    """
    try:
        seal = checked.read(checkpoint / SEAL, checked.LARGE)
        told = {name: _seal_of(seal[name]) for name in seal.object()}
    except FileNotFoundError:
        return
    except checked.Damaged as error:
        raise ValueError(str(error)) from None
    sizes = _sizes(checkpoint) if any(isinstance(one, str) for one in told.values()) else {}
    for name, one in told.items():
        path = checkpoint / name
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise ValueError(f"{SEAL} names {checked.shown(name)}, which lies outside")
        if not name.startswith(part):
            continue
        if sizes.get(name) != one if isinstance(one, str) else not path.is_file() or _crc(path) != one:
            raise ValueError(f"{checked.shown(name)} is not what was written")


def _crc(path: Path) -> int:
    crc = 0
    with buckets.opened(path) if isinstance(path, Bucket) else path.open("rb") as file:
        while block := file.read(2**24):
            crc = zlib.crc32(block, crc)
    return crc


def _as_history(tree: Any) -> History:
    return {name: np.asarray(values) for name, values in tree.items()}


def _arrays(tree: Any, rows: Collection[str] = ()) -> dict[str, str]:
    """What each array of a tree is, such as float32[2,3], by its path; of those in `rows` what a row is."""
    found = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        shape = leaf.shape[1:] if name in rows else leaf.shape
        found[name] = f"{np.dtype(leaf.dtype)}[{','.join(map(str, shape))}]"
    return found


def _difference(found: dict[str, str], wanted: dict[str, str]) -> str:
    """The first array that is not the same in both, and how many more there are; empty for none."""
    names = [name for name in {**wanted, **found} if found.get(name) != wanted.get(name)]
    if not names:
        return ""
    more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
    return f"{names[0]} is {found.get(names[0], 'absent')} there and {wanted.get(names[0], 'absent')} here{more}"


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:160]
