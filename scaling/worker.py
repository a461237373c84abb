"""A process that trains packs, one after the other, as `scaling.workers` hands them out.

It reads a line per pack from standard input, {"pack": id, "next": id of the one that will probably follow, "board":
folder of TensorBoard's files, or empty}, and writes one JSON object per line to standard output. When the input ends,
because the coordinator is done or gone, it saves what it is doing and leaves: no pack is trained unwatched. It trains
only what it has claimed (scaling.claims).
"""

import errno
import functools
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

from scaling import checked, claims, extensions, folders, layout, machine, numerics, own_code, surroundings
from scaling.buckets import Bucket
from scaling.errors import InputError, one_line, place
from scaling.mesh_axes import AXES

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
REPORT_EVERY = 0.25  # seconds
CONFIRM_EVERY = 1.0  # seconds


def main() -> None:
    """python -m scaling.worker STUDY_FOLDER DEVICE CORE [HASH=FILE.py...]: the files are of the user's own code."""
    began: float | None = time.monotonic()  # the first pack pays for the start
    folder, device, core = folders.place(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the coordinator hears Ctrl-C and ends our input
    leave = threading.Event()
    for number in surroundings.endings():
        signal.signal(number, lambda *_: leave.set())
    origin: dict[str, Any] = machine.origin()  # before we see but one core
    environment = dict(os.environ)
    layout.pin(device, core)
    asked: queue.Queue[dict[str, str] | None] = queue.Queue()
    threading.Thread(target=_listen, args=(asked, leave), daemon=True).start()

    try:
        for word in sys.argv[4:]:
            extensions.take(word)
    except InputError as error:
        _write(event="unusable", error=str(error))
        return
    folders.keep_programs()
    numerics.without_fast_math()
    import jax

    try:
        jax.devices()  # what keeps the device from starting is better known before a pack is begun
    except (RuntimeError, AssertionError) as error:
        why = one_line(error) or type(error).__name__
        _write(event="unusable", error=f"JAX finds no {device} here ({why}); mend its driver, or unset JAX_PLATFORMS")
        return
    origin["settings"] = numerics.settings(environment)
    _write(event="ready", code=own_code.digest())
    from scaling import goodput

    while (task := asked.get()) is not None:
        id = task["pack"]
        try:
            whole, pack, claim = _claimed(folder, id)
            with claim:
                spent, began = goodput.Session(claim.folder, claim.number, began), None
                _train(
                    whole,
                    pack,
                    claim,
                    whole.pack(task.get("next", "")),
                    device,
                    leave,
                    origin,
                    spent,
                    task.get("board"),
                )
        except _Taken as taken:
            _write(event="taken", pack=id, by=str(taken))
        except claims.Lost as lost:
            _write(event="taken", pack=id, by="somebody else")
            _write(event="say", text=f"pack {id}: {lost}")
        except OSError as error:
            if error.errno in NO_ROOM:
                _full()
            if not isinstance(folder, Bucket):
                raise
            _write(event="failed", pack=id, error=place(error))
        if leave.is_set():
            break


class _Taken(Exception):
    """Somebody else trains the pack, or has, or its runs came in from elsewhere."""


def _claimed(folder: Path, id: str) -> tuple[Any, Any, claims.Claim]:
    """The study as it is now, the pack, and our claim to it.

    Raises:
        _Taken: it is not ours to train.
    """
    whole, pack = _open(folder, id)
    claim = claims.take(whole.claims(pack))
    if claim is None:
        raise _Taken(str(claims.holder(whole.claims(pack))))
    try:
        return *_open(folder, id), claim  # looked at again: what changed a moment ago changes no more
    except BaseException:
        claim.release()
        raise


def _open(folder: Path, id: str) -> tuple[Any, Any]:
    from scaling import study

    whole = study.current(folder)
    pack = whole.pack(id)
    if pack is None or whole.done(pack):
        raise _Taken("")
    return whole, pack


def _train(
    whole: Any,
    pack: Any,
    claim: claims.Claim,
    following: Any,
    device: str,
    leave: threading.Event,
    origin: dict[str, Any],
    spent: Any,
    board: str | None,
) -> None:
    """Trains a pack that is ours.

    Raises:
        claims.Lost: it no longer is, and nothing more was written.
    """
    from scaling import study, train, watch

    told, begun = 0.0, False
    claim.done = max(folders.saved_steps(claim.folder), default=0)

    def progress(done: int) -> None:
        nonlocal told, begun
        claim.confirm(CONFIRM_EVERY)  # before what follows an update: a checkpoint
        if not begun:
            study.goes_on(claim.folder, done, origin)
            begun = True
        claim.done = done
        if time.monotonic() - told > REPORT_EVERY:
            told = time.monotonic()
            _write(event="progress", pack=pack.id, done=done)

    def say(text: str) -> None:
        _write(event="say", text=f"pack {pack.id}: {text}")

    def should_stop() -> bool:
        claim.confirm(CONFIRM_EVERY)
        return leave.is_set()

    try:
        stream, transfer = streams(whole, pack)
    except InputError as error:
        _write(event="unusable", pack=pack.id, error=str(error))
        return
    mesh = _mesh(pack, device)
    seen = watch.Board(pack.configs, folders.place(board) / pack.id, say) if board else None
    try:
        # A pinned worker would only take turns with itself; what is compiled ahead is for one device.
        if following and device != "cpu" and mesh is _mesh(following, device) is None:
            threading.Thread(target=train.compile_ahead, args=(following.configs,), daemon=True).start()
        history = train.train(
            pack.configs,
            stream.train,
            stream.validation,
            claim.folder,
            separator=stream.separator,
            transfer_tokens=transfer,
            mesh=mesh,
            say=say,
            progress=progress,
            should_stop=should_stop,
            watch=seen or (lambda done, metrics: None),
            session=spent,
        )
    except claims.Lost:
        raise
    except InputError as error:  # what lies in its folder is not for this model, or this version; it may be for another
        _write(event="refused", pack=pack.id, error=str(error))
        return
    except Exception as failure:  # whatever went wrong with this pack must not take the others along
        claim.confirm()  # a folder that was taken from under us fails in many ways
        error, short = traceback.format_exc(), place(failure, extensions.has, _ours)
        if getattr(failure, "errno", None) in NO_ROOM or "No space left" in error:
            claim.release()
            _full()
        path = claim.folder / "error.txt"
        path.write_text(error)
        failed(claim.folder, whole.failed(pack)["attempts"], short)
        _write(event="failed", pack=pack.id, error=short, where=str(path))
        return
    finally:
        if seen:
            seen.close()
    if not history["finished"]:
        _write(event="left", pack=pack.id, done=len(history["train_loss"]))
        return
    _write(event="done", pack=pack.id, diverged=finish(pack, claim, history, origin))


def _ours(file: str) -> bool:
    return Path(file).is_relative_to(own_code.PACKAGE)


def _mesh(pack: Any, device: str) -> Any:
    """Of this machine's accelerators those over which the pack's lanes are spread; None for one."""
    import jax
    import numpy as np
    from jax.sharding import AxisType, Mesh

    from scaling import packs

    here = jax.local_devices() if device != "cpu" else []  # a worker on a CPU has its core
    n = packs.across(pack.configs, max(1, len(here)))
    if n == 1:
        return None
    # In any order, for lanes do not talk: `sharding.make` wants a part of a TPU's slice to have no holes.
    grid = np.array(here[:n]).reshape(n, *[1] * (len(AXES) - 1))
    return Mesh(grid, AXES, axis_types=(AxisType.Auto,) * len(AXES))


def finish(pack: Any, claim: claims.Claim, history: Any, origin: dict[str, Any]) -> list[str]:
    """Writes down that a pack is done; the ids of the runs that diverged.

    Args:
        origin: where it was trained and with what, unless its folder tells.

    Raises:
        claims.Lost: the pack is no longer ours, and nothing was written.
    """
    from scaling import histories, study

    claim.confirm()
    origin = study.origin_so_far(claim.folder) or origin
    (claim.folder / "error.txt").unlink(missing_ok=True)
    kept = study.keep_history(claim.folder, history)
    checked.write(claim.folder / "done.json", {**outcome(pack, history), "history": kept, **origin})
    return [run.id for run, bad in zip(pack.runs, histories.diverged(history), strict=True) if bad]


def outcome(pack: Any, history: Any) -> dict[str, Any]:
    """What done.json tells of a finished pack's history."""
    from scaling import histories

    return {
        "steps": [int(n) for n in histories.steps(history)],
        "seconds": float(history["seconds"]),
        "status": ["diverged" if bad else "done" for bad in histories.diverged(history)],
        "loss": _last_losses(pack, history),
    }


def _full() -> None:
    _write(event="full")
    os._exit(1)  # an orderly end would have Orbax go on trying to write, and complain


def failed(folder: Path, before: int, error: str) -> None:
    """Writes down that a pack failed once more; for its holder."""
    checked.write(folder / "failed.json", {"attempts": before + 1, "error": error[:500]})


def _last_losses(pack: Any, history: Any) -> list[float | None]:
    """The last held-out loss of each run of a pack, nats per token; None where it is not a number."""
    from scaling import histories

    loss, ends = history["eval_loss"].mean(-1), histories.steps(history)  # e r, r
    found: list[float | None] = []
    for r, run in enumerate(pack.runs):
        own = [e for e, step in enumerate(history["eval_step"]) if step in run.config.eval_steps and step <= ends[r]]
        last = float(loss[own[-1], r]) if own else math.nan
        found.append(last if math.isfinite(last) else None)
    return found


def streams(whole: Any, pack: Any) -> tuple[Any, dict[str, Any]]:
    """The tokens of a pack and those of its transfer sources, looked through for what was not written.

    Raises:
        InputError: they are missing, or not those that the study was planned with.
    """
    first = pack.runs[0]
    own = _stream(_tokens(whole, first.tokens_id), first.tokens_id, max(run.config.pool for run in pack.runs) + 1)
    names = zip(first.config.eval.transfer, first.transfer_ids, strict=True)
    return own, {name: _stream(_tokens(whole, id), id, 0).validation for name, id in names}


def _tokens(whole: Any, id: str) -> Path:
    """Where the tokens lie; another machine that planned the study may have them elsewhere than this one."""
    there, here = Path(whole.tokens[id]), folders.cache() / "tokens" / id
    return here if here.exists() and not there.exists() else there


@functools.cache
def _stream(folder: Path, id: str, train_tokens: int) -> Any:
    from scaling.data import token_set

    found = token_set.open_tokens(folder)
    if found.id != id:
        raise InputError(f"{folder} holds the tokens {found.id}, the study was made with {id}; prepare those again")
    found.verify(train_tokens)
    return found


def _listen(asked: queue.Queue, leave: threading.Event) -> None:
    for line in sys.stdin:
        asked.put(json.loads(line))
    leave.set()
    asked.put(None)


def _write(**message: Any) -> None:
    try:
        print(json.dumps(message), flush=True)
    except BrokenPipeError:
        os._exit(1)  # no coordinator is left to tell


if __name__ == "__main__":
    main()
