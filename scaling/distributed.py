"""Several processes train one pack together, on one machine or on all hosts of a slice: start, agree, leave.

Every process runs the same command. The first one plans the study, holds the claim and writes what is read later; all
write their shares of a checkpoint. Between two dispatches the processes agree: if any was told to leave, all save the
same update and leave; when it is time for a checkpoint is the first one's to say.

A process that is told to leave while the compiler holds it cannot agree on anything. It ends with what the last
checkpoint has, and the others follow when they miss it.
"""

import contextlib
import json
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from scaling import buckets, claims, machine, own_code, rendezvous, sharding, surroundings
from scaling.buckets import Bucket
from scaling.config import RunConfig
from scaling.errors import InputError

T = TypeVar("T")
LEFT = 42  # exit code: interrupted and saved
PATIENCE = 8.0  # seconds for a process without an update of its own to come to a point where it can agree
WINDOW = 25.0  # the same for one that trains: spot machines are gone after 30
LOOKS = 6  # at the others, in a bucket, in the time after which one counts as lost
SIGNS = 4  # of life that a process may miss at least
DONE, HELD, LEAVE = 0, -1, -2  # in place of a claim's number
NEAR = 1e-2  # of a weight's norm: other random numbers differ by most of it
PACKAGES = ("scaling", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")  # packages that make the numbers


def check_times(silence: int, heartbeat: int) -> None:
    """Raises InputError where a process would count as lost that lives, or JAX would end it before we can say why."""
    if silence < SIGNS * claims.BEAT:
        raise InputError(
            f"--silence {silence}: a process gives a sign of life every {claims.BEAT:.0f} s; "
            f"use {SIGNS * claims.BEAT:.0f} or more"
        )
    if heartbeat <= silence:
        raise InputError(
            f"--heartbeat {heartbeat} with --silence {silence}: JAX would end the process before it can say why; use a "
            f"--heartbeat above {silence}, such as {3 * silence}"
        )


def start(
    address: str,
    process: int | None,
    processes: int | None,
    wait: int,
    heartbeat: int,
    facts: Mapping[str, str],
    say: Callable[[str], None],
) -> None:
    """Joins the other processes; before anything touches a device.

    Args:
      address: HOST:PORT of the first process, or "auto": what Slurm, Kubernetes or the TPU's machines tell.
      wait: seconds for all to come.
      heartbeat: seconds after which JAX ends a process that misses another.
      facts: what has to be alike in all of them, as far as it is known before they meet.

    Raises:
      InputError: who is missing, or differs; no cluster is found.
    """
    import jax

    if address == "auto":
        address, process, processes = _told(wait)
    elif process is None or processes is None or not 0 <= process < processes:
        raise InputError(
            f"--distributed {address} with --process-id {process} and --processes {processes}: wanted a number "
            "of processes, and for each its own id from 0"
        )
    host, port = _parsed(address)
    if processes > 1:
        try:
            rendezvous.meet((host, port), process, processes, facts, wait)
        except rendezvous.Gone as error:
            say(lost(error))
            end(LEFT)
        if process:
            _reachable(host, port, wait)  # until JAX's service is up
    jax.config.update("jax_enable_preemption_service", False)  # it would swallow the signals that `Notice` hears
    try:
        jax.distributed.initialize(
            coordinator_address=address,
            process_id=process,
            num_processes=processes,
            initialization_timeout=wait,
            heartbeat_timeout_seconds=heartbeat,
            shutdown_timeout_seconds=10,
        )
    except (RuntimeError, ValueError) as error:
        reason = (str(error).splitlines() or [""])[0][:160]
        raise InputError(
            f"--distributed {address}: not all processes met there within {wait} s ({reason}); start the same "
            "command on every host, open the port, or give more time with --wait"
        ) from None


def _told(wait: int) -> tuple[str, int, int]:
    """The first process's address, this one's id and the number of all, as the cluster tells them to JAX.

    Raises:
      InputError: no cluster that JAX knows.
    """
    from jax._src import clusters  # what jax.distributed.initialize asks; nothing public does

    detect = clusters.ClusterEnv.auto_detect_unset_distributed_params
    try:
        address, processes, process, _ = detect(None, None, None, [], None, wait)
    except (RuntimeError, ValueError, KeyError, OSError) as error:
        reason = (str(error).splitlines() or [""])[0][:160]
        raise InputError(
            f"--distributed auto: this cluster does not say where the first process is ({reason}); give HOST:PORT "
            "with --process-id and --processes"
        ) from None
    address = address or os.environ.get("JAX_COORDINATOR_ADDRESS")
    if address is None or processes is None or process is None:
        raise InputError(
            "--distributed auto: no Slurm, Kubernetes or TPU slice that JAX knows is seen here; give HOST:PORT with "
            "--process-id and --processes"
        )
    return address, int(process), int(processes)


def _parsed(address: str) -> tuple[str, int]:
    host, colon, port = address.rpartition(":")
    if not colon or not host or not re.fullmatch(r"[1-9]\d{0,4}", port) or int(port) > 65535:
        raise InputError(f"--distributed {address!r}: wanted auto, or HOST:PORT of the first process")
    return host.strip("[]"), int(port)


def _reachable(host: str, port: int, wait: float) -> None:
    """Waits until something listens there; JAX itself would end the process without a word that helps."""
    ends = time.monotonic() + wait
    while True:
        try:
            socket.create_connection((host, port), 2).close()
            return
        except OSError as error:
            if time.monotonic() > ends:
                raise InputError(
                    f"--distributed {host}:{port}: process 0 came and does not answer after {wait:.0f} s "
                    f"({error.strerror or error}); its own line says why"
                ) from None
            time.sleep(0.2)


def agree(stop: bool, save: bool) -> tuple[bool, bool]:
    """Whether any process wants to stop, and whether the first wants to save."""
    import jax
    import numpy as np
    from jax.experimental import multihost_utils

    if jax.process_count() == 1:
        return stop, save
    said = np.asarray(multihost_utils.process_allgather(np.array([stop, save])))  # process, (stop, save)
    return bool(said[:, 0].any()), bool(said[0, 1])


def executes(settings: Mapping[str, str]) -> dict[str, str]:
    """What makes the numbers in this process: our code, the packages below it, settings of JAX (scaling.numerics)."""
    versions = machine.versions()
    return {"code": own_code.digest(), **{name: versions.get(name, "") for name in PACKAGES}, **settings}


def alike(facts: Mapping[str, str]) -> None:
    """Lets only processes train together that have all of this alike: else each would train something else.

    Raises:
      InputError: in all of them, where one differs; it says who and in what.
    """
    import jax

    if jax.process_count() == 1:
        return
    everywhere = [json.loads(said) for said in _gathered(json.dumps([socket.gethostname(), facts]).encode())]
    rendezvous.refuse(
        rendezvous.differing([(f"process {i} on {host}", there) for i, (host, there) in enumerate(everywhere)])
    )


def alike_at_first(run: RunConfig) -> None:
    """The same for the weights with which a run begins. Last bits may differ from one kind of machine to another.

    Raises:
      InputError: as in `alike`.
    """
    import jax
    import numpy as np
    from jax.experimental import multihost_utils

    from scaling import train

    if jax.process_count() == 1:
        return
    names, sums = train.beginning(run)
    everywhere = np.asarray(multihost_utils.process_allgather(sums))  # process, weight, (norm, sum)
    other = (np.abs(everywhere - everywhere[0]) > NEAR * everywhere[0, :, :1]).any(-1)
    rendezvous.refuse(
        [
            f"process {i} begins with other weights ({', '.join(names[k] for k in np.flatnonzero(other[i])[:3])})"
            for i in np.flatnonzero(other.any(-1))
        ]
    )


def _gathered(said: bytes) -> list[bytes]:
    """What each process has said."""
    import numpy as np
    from jax.experimental import multihost_utils

    lengths = np.asarray(multihost_utils.process_allgather(np.array([len(said)], np.int32)))[:, 0]
    padded = np.frombuffer(said.ljust(lengths.max()), np.uint8)
    return [row.tobytes() for row in np.asarray(multihost_utils.process_allgather(padded))]


def all_or_none(task: Callable[[], T], otherwise: str) -> T:
    """What `task` gives here, once it has ended in all processes.

    Raises:
      InputError: `otherwise`, where it raised in another process. Here it raises its own error.
    """
    try:
        found = task()
    except Exception:  # whatever it is, the others hear of it before this process ends
        agree(True, False)
        raise
    if agree(False, False)[0]:
        raise InputError(otherwise)
    return found


class Notice:
    """SIGTERM, SIGHUP or SIGINT as a question that the training asks; used in a `with`.

    Python's own handler waits while the compiler holds the main thread, so another thread reads the signal from a pipe.
    It ends the process where nobody asks for too long.
    """

    def __init__(self, say: Callable[[str], None]):
        self.say, self.told, self.heard, self.trained = say, threading.Event(), threading.Event(), False

    def __enter__(self) -> "Notice":
        self._asks = (signal.SIGINT, *surroundings.endings())
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        self._before = {s: signal.signal(s, lambda *_: None) for s in self._asks}
        self._wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._wakeup)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._write)

    def _listen(self) -> None:
        while number := os.read(self._read, 1):
            if number[0] in self._asks:
                break
        else:
            return
        self.told.set()
        if not self.heard.wait(WINDOW if self.trained else PATIENCE):
            self.say("told to leave in the middle of something long; the last checkpoint stands")
            os._exit(LEFT)

    def should_stop(self) -> bool:
        if self.told.is_set():
            self.heard.set()
        return self.told.is_set()

    def progress(self, done: int) -> None:
        self.trained = done > 0


class Peers:
    """Notices that another process is gone, by the files that all touch in a folder that all see; used in a `with`.

    A computation in which others take part may wait for them for long, and JAX ends the process in the end without a
    word that helps. Begun when all have come, so that no file is of an earlier time.

    Args:
      silence: seconds after which a process counts as lost.
    """

    def __init__(self, folder: Path, process: int, processes: int, say: Callable[[str], None], silence: int):
        self.folder, self.files = folder, [folder / str(i) for i in range(processes)]
        self.beat = silence / LOOKS if isinstance(folder, Bucket) else claims.BEAT
        self.own, self.say, self.silence, self.ended = self.files[process], say, silence, threading.Event()
        self.own.parent.mkdir(parents=True, exist_ok=True)
        self.own.touch()

    def __enter__(self) -> "Peers":
        if len(self.files) > 1:
            threading.Thread(target=self._look, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.ended.set()
        if kind is None:  # else the others are to miss us
            self.own.unlink(missing_ok=True)

    def _look(self) -> None:
        while not self.ended.wait(self.beat):
            try:
                self.own.touch()
                silent = self.silent()
            except OSError:
                if not isinstance(self.folder, Bucket):
                    raise
                continue  # the store does not answer: it says nothing of the others
            if silent:
                self.say(
                    lost(f"process {silent[0]} has been silent for {self.silence} s; if it lives, raise --silence")
                )
                end(LEFT)

    def silent(self) -> list[int]:
        """The processes whose last sign of life is too old, by the clock of the disk; one that left has no file."""
        if isinstance(self.folder, Bucket):  # all at once
            there = buckets.listing(self.folder)
            now = there[self.own.name].st_mtime if self.own.name in there else 0.0
            return [i for i, file in enumerate(self.files) if _older(there.get(file.name), now - self.silence)]
        now, found = self.own.stat().st_mtime, []
        for i, file in enumerate(self.files):
            with contextlib.suppress(FileNotFoundError):
                if now - file.stat().st_mtime > self.silence:
                    found.append(i)
        return found


def _older(at: os.stat_result | None, when: float) -> bool:
    return at is not None and at.st_mtime < when


def train_all(
    whole: Any,
    mine: Collection[str],
    sizes: Mapping[str, int],
    notice: Notice,
    say: Callable[[str], None],
    *,
    settings: Mapping[str, str],
    save_steps: int | None = None,
    tensorboard: Path | None = None,
    profile: tuple[int, int] | None = None,
    peak: float | None = None,
    since: float | None = None,
) -> int:
    """Trains what is open of a part of a study, pack by pack over all devices of all processes; the exit code.

    Args:
      whole: the study, the same in every process.
      mine: ids of the packs of this part.
      sizes: of the mesh.
      settings: of JAX (scaling.numerics), for the records.
      save_steps: as in `train.train`.
      tensorboard, profile, peak: as in `watch.Watch`; TensorBoard's files of a pack in a folder of their own.
      since: when the command began, by time.monotonic(): the first pack pays for the start (scaling.goodput).
    """
    import jax

    from scaling import goodput, study, train, watch, worker
    from scaling.models import model

    first = jax.process_index() == 0
    origin = {**machine.origin(), "settings": dict(settings)}
    mesh = sharding.make(sizes)
    diverged: list[str] = []
    ordered = _in_order(whole, mine, first)
    for pack in ordered:  # before any is trained, for hours perhaps
        sharding.check(pack.configs, sizes)
    for pack in ordered:
        with _claimed(whole, pack, first, notice, say) as (number, claim):
            if number == LEAVE:
                return LEFT
            if number == DONE:
                continue
            spent = goodput.Session(claim.folder, number, since) if claim else None
            since = None
            stream, transfer = worker.streams(whole, pack)
            alike_at_first(pack.configs[0])
            kinds = [device.device_kind for device in mesh.devices.flat]
            board = tensorboard / pack.id if tensorboard else None
            seen = watch.Watch(pack.configs, kinds, say, board, profile, peak) if first else None
            if first and (backend := sharding.platform(mesh)) != "cpu":
                run = pack.configs[0]
                say(f"pack {pack.id}: attention: {model.attention(run.model, run.dtype, backend)}")

            begun: list[int] = []

            def progress(done: int, claim: Any = claim, begun: list[int] = begun) -> None:
                if not begun:
                    begun.append(done)
                    alike({"a checkpoint of update": str(done)})
                    if claim:
                        study.goes_on(claim.folder, done, origin)
                notice.progress(done)
                if claim:
                    claim.confirm(worker.CONFIRM_EVERY)
                    claim.done = done

            with contextlib.closing(seen) if seen else contextlib.nullcontext():
                history = train.train(
                    pack.configs,
                    stream.train,
                    stream.validation,
                    whole.claims(pack) / f"{number:06}",
                    separator=stream.separator,
                    transfer_tokens=transfer,
                    mesh=mesh,
                    save_steps=save_steps,
                    say=say if first else lambda text: None,
                    progress=progress,
                    should_stop=notice.should_stop,
                    agree=agree,
                    watch=seen or (lambda done, metrics: None),
                    session=spent,
                )
            if not history["finished"]:
                say(f"pack {pack.id}: saved after {len(history['train_loss'])} updates")
                return LEFT
            if claim:
                diverged += worker.finish(pack, claim, history, origin)
                say(f"pack {pack.id}: done after {len(history['train_loss'])} updates")
    return 3 if diverged else 0


def _in_order(whole: Any, mine: Collection[str], first: bool) -> list[Any]:
    """The open packs as the first process orders them: others may have measured other costs."""
    import numpy as np
    from jax.experimental import multihost_utils

    order = np.full(len(whole.all_packs), -1, np.int32)
    if first:
        places = {pack.id: i for i, pack in enumerate(whole.all_packs)}
        open_packs = [places[pack.id] for pack in whole.open_packs if pack.id in mine]
        order[: len(open_packs)] = open_packs
    return [whole.all_packs[i] for i in np.asarray(multihost_utils.broadcast_one_to_all(order)) if i >= 0]


@contextlib.contextmanager
def _claimed(whole: Any, pack: Any, first: bool, notice: Notice, say: Callable[[str], None]) -> Iterator[Any]:
    """In all processes the number of the first one's claim (or DONE, or LEAVE), and in the first the claim.

    What somebody else holds is waited for: after the sudden end of a machine the same command on another one comes
    before the lease has run out, and would otherwise call it done.
    """
    import numpy as np
    from jax.experimental import multihost_utils

    waited = False
    while True:
        with (first and claims.take(whole.claims(pack))) or contextlib.nullcontext() as claim:
            own = DONE if first and whole.done(pack) else claim.number if claim else HELD
            number = int(multihost_utils.broadcast_one_to_all(np.int32(own)))
            if number == HELD and agree(notice.should_stop(), False)[0]:
                number = LEAVE
            if number != HELD:
                yield number, claim if number > 0 else None
                return
        if first and not waited:
            waited = True
            say(f"pack {pack.id} is held by {claims.holder(whole.claims(pack))}; waiting until it is done or given up")
        time.sleep(1)


def lost(why: object) -> str:
    """What to say when a computation that others take part in fails, or they are silent."""
    reason = (str(why).splitlines() or [""])[0][:160]
    if "heartbeat" in str(why).lower():
        reason += "; if it lives, raise --heartbeat"
    return f"another process is gone ({reason}); start the same command on all hosts, and it goes on"


def end(code: int) -> NoReturn:
    """Ends this process where others are gone: an orderly end would wait for them."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
