"""A process that trains packs, one after the other, as `scaling.workers` hands them out.

It reads a pack's id per line from standard input and writes one JSON object per line to standard output. When the input
ends, because the coordinator is done or gone, it saves what it is doing and leaves: no pack is trained unwatched.
"""

import errno
import fcntl
import json
import math
import os
import queue
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from scaling import folders, machine

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
REPORT_EVERY = 0.25  # seconds


def main() -> None:
    """python -m scaling.worker STUDY_FOLDER DEVICE CORE"""
    folder, device, core = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the coordinator hears Ctrl-C and ends our input
    leave = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: leave.set())
    origin = {"machine": machine.describe(), "versions": machine.versions()}  # before we see but one core
    if device == "cpu":
        _one_core(core)
    packs: queue.Queue[str | None] = queue.Queue()
    threading.Thread(target=_listen, args=(packs, leave), daemon=True).start()

    folders.keep_programs()
    import jax

    from scaling import study, train

    jax.devices()  # what keeps the device from starting is better known before a pack is begun
    _write(event="ready")
    whole = study.read(folder)
    planned = {pack.id: pack for pack in whole.all_packs}
    while (id := packs.get()) is not None:
        pack = planned[id]
        try:
            _train(whole, pack, train.train, leave, origin)
        except Exception as failure:  # whatever went wrong with this pack must not take the others along
            error = traceback.format_exc()
            if getattr(failure, "errno", None) in NO_ROOM or "No space left" in error:
                _write(event="full")
                os._exit(1)  # an orderly end would have Orbax go on trying to write, and complain
            path = whole.pack_folder(pack) / "error.txt"
            try:
                path.write_text(error)
            except OSError:
                path = None
            _write(event="failed", pack=id, error=error.strip().splitlines()[-1], where=str(path or ""))
        if leave.is_set():
            break


def _train(whole: Any, pack: Any, train: Any, leave: threading.Event, origin: dict[str, Any]) -> None:
    from scaling import record
    from scaling.data import tokens

    folder = whole.pack_folder(pack)
    folder.mkdir(parents=True, exist_ok=True)
    stream = tokens.open_tokens(Path(whole.tokens[pack.runs[0].tokens_id]))
    told = 0.0

    def progress(done: int) -> None:
        nonlocal told
        if time.monotonic() - told > REPORT_EVERY:
            told = time.monotonic()
            _write(event="progress", pack=pack.id, done=done)

    with (folder / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a worker whose coordinator was killed may still be saving this pack
        history: record.History = train(
            [run.config for run in pack.runs],
            stream.train,
            stream.validation,
            folder,
            say=lambda text: _write(event="say", text=f"pack {pack.id}: {text}"),
            progress=progress,
            should_stop=leave.is_set,
        )
        if not history["finished"]:
            _write(event="left", pack=pack.id, done=len(history["train_loss"]))
            return
        (folder / "error.txt").unlink(missing_ok=True)
        diverged = record.diverged(history)
        loss = [float(x) if math.isfinite(x) else None for x in history["eval_loss"][-1].mean(-1)]
        folders.write_json(
            folder / "done.json",
            {
                "steps": len(history["train_loss"]),
                "seconds": float(history["seconds"]),
                "status": ["diverged" if bad else "done" for bad in diverged],
                "loss": loss,
                **origin,
            },
        )
        lost = [run.id for run, bad in zip(pack.runs, diverged, strict=True) if bad]
        _write(event="done", pack=pack.id, diverged=lost)


def _one_core(core: int) -> None:
    """One pinned, single-threaded worker per core trains small models twice as fast as one process over all cores."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    flags = "--xla_cpu_multi_thread_eigen=false --xla_backend_optimization_level=1"  # 1: a third less time to compile
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()
    os.environ["JAX_PLATFORMS"] = "cpu"


def _listen(packs: queue.Queue, leave: threading.Event) -> None:
    for line in sys.stdin:
        packs.put(line.strip())
    leave.set()
    packs.put(None)


def _write(**message: Any) -> None:
    try:
        print(json.dumps(message), flush=True)
    except BrokenPipeError:
        os._exit(1)  # no coordinator is left to tell


if __name__ == "__main__":
    main()
