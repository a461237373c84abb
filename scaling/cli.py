"""The front door: one command, `scaling`. It adds words to the Python API and nothing else.

Exit codes: 0 done, 1 a change did not pass its gate, 2 something typed or supplied cannot be used, 3 a run diverged or
failed and the rest finished, 42 interrupted and saved (a supervisor restarts on it).
"""

import argparse
import signal
import sys
from collections.abc import Sequence

from scaling import __version__, folders, terminal
from scaling.errors import InputError


def main(argv: Sequence[str] | None = None) -> None:
    """Runs one command and exits the process."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        code = _run(argv)
    except InputError as error:
        sys.exit(_usage_error(error))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = 42
    except BrokenPipeError:  # the reader of our output, such as head, has left
        sys.stderr.close()
        code = 0
    except OSError as error:  # a full disk, a folder that may not be written to
        sys.exit(
            _usage_error(f"{error.filename or 'writing'}: {error.strerror or error}; choose another file or folder")
        )
    sys.exit(code)


def _run(argv: Sequence[str] | None) -> int:
    folders.keep_programs()
    args, args.inputs = parser().parse_known_args(argv)
    if args.inputs and "takes_columns" not in args:
        early = "; the table goes before the options" if vars(args).get("table", "") in (None, []) else ""
        parser().error(f"unrecognized arguments: {' '.join(args.inputs)}{early}")
    with terminal.shown():
        return args.run(args)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _usage_error(error: Exception | str) -> int:
    with terminal.shown():
        print(f"scaling: {error}", file=sys.stderr)
    return 2


def parser() -> argparse.ArgumentParser:
    # Here, where main catches an interruption, which may come before all of these are read.
    from scaling.commands import (
        arguments,
        backtest,
        compile,
        corpus,
        forecast,
        gate,
        launch,
        laws,
        plans,
        reproduce,
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
    for module in (study, corpus, laws, backtest, gate, plans, forecast, table, tune, reproduce, compile, launch):
        module.add(verbs)
    return top


if __name__ == "__main__":
    main()
