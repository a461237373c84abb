"""The front door: one command, `scaling`. It adds words to the Python API and nothing else.

Exit codes: 0 all that was asked for is there, 1 a change did not pass its gate, 2 something typed or supplied cannot be
used, 3 a run diverged or failed and the rest finished, 42 interrupted and saved (a supervisor restarts on it), 70 a
fault of this program, 141 whoever read the output left before its end.
"""

import argparse
import atexit
import contextlib
import errno
import gc
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from scaling import __version__, folders, own_code, surroundings, terminal
from scaling.errors import InputError, one_line

INTERRUPTED = 42
FAULT = 70  # EX_SOFTWARE of sysexits.h
MANY = 100_000  # new objects before garbage is looked for: imports make many, and hardly any garbage
UNREAD = 141  # what a shell says of a program that SIGPIPE ended
WAYS_OUT = {
    errno.ENOSPC: "free some room, or choose another place",
    errno.EDQUOT: "free some room, or choose another place",
    errno.EMFILE: "allow more files at once: ulimit -n 1024",
    errno.ENFILE: "allow more files at once",
    errno.ENOMEM: "free some memory",
    errno.EHOSTUNREACH: "check the bucket's name, the network and the credentials here; see docs/buckets.md",
}


def main(argv: Sequence[str] | None = None) -> None:
    """Runs one command and exits the process."""
    gc.set_threshold(MANY)
    atexit.register(gc.freeze)  # else the interpreter's end looks through everything that was imported, twice
    for number in surroundings.endings():
        signal.signal(number, _interrupt)
    sys.exit(_code(argv))


def _code(argv: Sequence[str] | None) -> int:
    """The exit code of a command, whatever becomes of it; it has said in a line what was wrong."""
    try:
        try:
            surroundings.prepare()
            folders.keep_programs()
            code = _run(argv)
        except SystemExit as end:  # of the parser: --help, or a line of its own
            code = end.code if isinstance(end.code, int) else 2
        sys.stdout.flush()
        return code
    except InputError as error:
        return _refused(error)
    except KeyboardInterrupt:
        _say("interrupted")
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output, such as head, has left
        _silence()
        return UNREAD
    except OSError as error:  # a full disk, a folder that may not be written to
        where = error.filename if error.filename is not None else "standard output"
        if error.filename is None:
            _silence()
        way_out = WAYS_OUT.get(error.errno or 0, "choose another file or folder")
        return _refused(f"{where}: {error.strerror or error}; {way_out}")
    except MemoryError:
        return _refused("not enough memory for this; give it fewer rows or runs, or a machine with more")
    except Exception as error:
        return _fault(error)


def _run(argv: Sequence[str] | None) -> int:
    if other := own_code.shadowing():
        raise InputError(
            f"{other} has the name of a part of this program, and Python finds it first; take it off PYTHONPATH"
        )
    args, args.inputs = parser().parse_known_args(argv)
    if args.inputs and "takes_columns" not in args:
        early = "; the table goes before the options" if vars(args).get("table", "") in (None, []) else ""
        args.parser.error(f"unrecognized arguments: {' '.join(args.inputs)}{early}")
    with terminal.shown():
        return args.run(args)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _refused(error: Exception | str) -> int:
    _say(f"scaling: {one_line(error)}")
    return 2


def _fault(error: Exception) -> int:
    """Says where this program failed, and keeps the whole story in a file."""
    at = traceback.extract_tb(error.__traceback__)[-1]
    said = one_line(error)[:200]
    kept = folders.cache() / "fault.txt"
    try:
        folders.write(kept, "".join(traceback.format_exception(error)).encode(errors="replace"))
        story = f"the whole story is in {kept}"
    except OSError:
        story = "nothing could be written down"
    place = f"{Path(at.filename).name}:{at.lineno}"
    _say(f"scaling: a fault of this program: {type(error).__name__}: {said} ({place}); {story}, please report it")
    return FAULT


def _say(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # nobody is there to hear it
        print(text, file=sys.stderr, flush=True)


def _silence() -> None:
    """Standard output goes nowhere from now on, so that the process can end without another word."""
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


def parser() -> argparse.ArgumentParser:
    # Here, where main catches an interruption, which may come before all of these are read.
    from scaling.commands import (
        arguments,
        backtest,
        compile,
        corpus,
        design,
        forecast,
        gate,
        launch,
        laws,
        mix,
        plans,
        reproduce,
        sample,
        study,
        table,
        tune,
    )

    top = arguments.Parser(
        prog="scaling",
        description="Neural scaling laws, measured: train ladders of models, fit the laws, plan the next model.",
    )
    top.add_argument("--version", action="version", version=f"scaling {__version__}")
    verbs = top.add_subparsers(title="verbs", metavar="VERB", required=True)
    for module in (
        study,
        corpus,
        laws,
        backtest,
        gate,
        plans,
        design,
        forecast,
        mix,
        table,
        tune,
        reproduce,
        sample,
        compile,
        launch,
    ):
        module.add(verbs)
    return top


if __name__ == "__main__":
    main()
