"""What the verbs share: how a verb is declared, KEY=VALUE words, what goes to standard output and to standard error."""

import argparse
import dataclasses
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from scaling import folders
from scaling.buckets import Bucket
from scaling.errors import InputError, one_line

if TYPE_CHECKING:
    from analysis.fit.estimate import Fit

Verbs: TypeAlias = argparse._SubParsersAction


class Parser(argparse.ArgumentParser):
    """Errors in one line; an option that is given twice is one."""

    def __init__(self, *args: Any, **more: Any):
        super().__init__(*args, **more)
        for name in (None, "store"):
            self.register("action", name, _Once)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # pyright: ignore
        for word in args or ():
            if not word.strip() or re.fullmatch(r"--[\w-]+=(--)?\s*", word):  # of "--", argparse would make a list
                self.error(f"{word or 'an empty word'}: wanted a value; leave it out where there is none")
        found, rest = super().parse_known_args(args, namespace)
        for action in self._actions:  # a place that Python would take for a folder called gs:
            values = getattr(found, action.dest, None)
            for value in values if isinstance(values, list) else [values]:
                if isinstance(value, Path) and not isinstance(value, Bucket):
                    folders.on_disk(value, f"{action.option_strings[-1]} " if action.option_strings else "")
        if "parser" not in found:  # the innermost, whose help lists what could have been meant
            found.parser = self
        return found, rest

    def _print_message(self, message: str, file: Any = None) -> None:
        """Argparse's own says nothing of a disk that is full."""
        (file or sys.stderr).write(message)

    def error(self, message: str):
        self.exit(2, f"{self.prog}: {one_line(message)}; see {self.prog} --help\n")


class _Once(argparse._StoreAction):
    """Else the last one would count without a word."""

    given: argparse.Namespace | None = None

    def __call__(self, parser, namespace, values, option_string=None):
        if option_string and self.given is namespace:
            parser.error(f"{option_string} is there twice; give it once")
        self.given = namespace
        super().__call__(parser, namespace, values, option_string)


def verb(
    verbs: Verbs, name: str, run: Callable[[argparse.Namespace], int], text: str, example: str
) -> argparse.ArgumentParser:
    verb = verbs.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.", epilog=f"example: {example}")
    verb.set_defaults(run=run)
    return verb


def settings(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="a parameter of the study, or a field of every run such as model.n_ctx=256",
    )


def layout(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--workers", type=int, default=0, help="processes (one per core on a CPU)")
    verb.add_argument("--pack", type=int, default=0, help="runs trained as one program (1 on a CPU)")


def given(args: argparse.Namespace, *names: str) -> list[str]:
    """Of these options, those that were given, as they are typed; 0 is given too."""
    values = ((name, getattr(args, name)) for name in names)
    return [f"--{name.replace('_', '-')}" for name, value in values if value is not None and value is not False]


def number(text: str) -> float:
    """A finite number, as an option takes it."""
    from scaling.config import parse

    try:
        return parse("value", text, float)
    except InputError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a finite number") from None


def count(text: str) -> int:
    from scaling.config import parse

    try:
        value = parse("value", text, int)
    except InputError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0, such as 1000000 or 1e6")
    return value


def out_file(*endings: str) -> Callable[[str], Path]:
    """The type of an option that names a file to write: it is tried before any work.

    Args:
        endings: that its name may have; none for any.
    """

    def tried(text: str) -> Path:
        path = Path(text)
        if endings and path.suffix not in endings:
            *others, last = endings
            wanted = f"{', '.join(others)} or {last}" if others else last
            raise argparse.ArgumentTypeError(f"{text}: wanted a name that ends in {wanted}")
        try:
            folders.try_file(path)
        except (InputError, OSError) as error:
            raise argparse.ArgumentTypeError(str(error)) from None
        return path

    return tried


OUT, JSON, PICTURE, PYTHON = out_file(), out_file(".json"), out_file(".svg", ".png", ".pdf"), out_file(".py")


def law(text: str) -> str:
    """The type of an option that names a law: a published one, or FILE.py:Name of the user's own, which is loaded."""
    from scaling import extensions

    if not extensions.is_file(text):
        return text
    from analysis import laws

    try:
        return laws.own(text).name
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _own_law(text: str) -> str:
    if law(text) == text:
        raise argparse.ArgumentTypeError(f"{text}: wanted FILE.py:Name; a published law needs no mention")
    return text


def own_laws(verb: argparse.ArgumentParser, of_curves: Sequence[str] = ()) -> None:
    """The option of a verb that reads fits, whose laws may be the user's own.

    Args:
        of_curves: names that it takes beside, of laws of whole loss curves.
    """
    beside = f"; of whole loss curves, with --schedule: {' or '.join(of_curves)} ({of_curves[0]})" if of_curves else ""
    verb.add_argument(
        "--law",
        type=lambda text: text if text in of_curves else _own_law(text),
        metavar="FILE.py:NAME",
        help=f"the law of your own that the fit is of: a class in a file{beside}",
    )


def store(text: str) -> str:
    """The type of --store FILE|DIR/: tried as `out_file` does, a folder that is not there yet excepted."""
    try:
        path = folders.on_disk(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if path.is_file():
        raise argparse.ArgumentTypeError(
            f"{text}: is there already, and forecasts are not rewritten; choose another name"
        )
    if not text.endswith("/") and not path.is_dir():
        OUT(text)
    return text


def pairs(items: Sequence[str], what: str) -> dict[str, str]:
    """KEY=VALUE words as a mapping; a key twice is refused."""
    pairs = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not equals or not key:
            raise InputError(f"{what} {item!r}: wanted KEY=VALUE")
        if key in pairs:
            raise InputError(f"{what} {key} is there twice, as {pairs[key]} and as {value}; give it once")
        pairs[key] = value
    return pairs


def place(text: str) -> Path:
    """The type of an argument that may lie in a bucket as well as on a disk."""
    try:
        return folders.place(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def check_folder(out: Path) -> None:
    """Refuses an --out that no study can be written to."""
    if not out.name:
        raise InputError(f"--out '{out}': wanted a folder of its own, such as studies/mine")
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out}: there is a file of that name; wanted a folder, such as studies/mine")


def read_fit(path: Path) -> "Fit":
    """A fit that was kept in a file."""
    from analysis.fit.estimate import Fit

    if not path.exists():
        raise InputError(f"{path}: no such file; make it with scaling fit LAW TABLE --out {path}")
    return Fit.from_json(path)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """Infinite and missing numbers become null, as JSON has no word for them."""
    from analysis.jsonable import jsonable

    print(json.dumps(jsonable(value), indent=1, allow_nan=False))


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a verb found, where that is more than one thing: the text, and the value as JSON."""

    words: str
    value: Any

    def text(self) -> str:
        return self.words

    def to_dict(self) -> Any:
        return self.value


def answer(found: Any, as_json: bool, *files: tuple[Path | str | None, Callable[[Any], object]]) -> int:
    """Writes what an analysis found to files, and prints it even where one of them cannot be written; 0, for the exit.

    Args:
        found: has `text()` and `to_dict()`.
        files: each a path, None where it was not asked for, and what writes it; that may return a better path.
    """
    written, failed = [], None
    for path, write in files:
        if path is not None:
            try:
                kept = write(path)
                written.append(kept if isinstance(kept, Path) else path)
            except (OSError, InputError) as error:
                failed = failed or error
    if as_json:
        print_json(found.to_dict())
    else:
        print(found.text())
    for path in written:
        say(f"written: {path}")
    if failed:
        sys.stdout.flush()
        raise failed
    return 0


def fits_on_the_cpu() -> None:
    """Fits run on the CPU: an accelerator would only cost them its start."""
    os.environ["JAX_PLATFORMS"] = "cpu"
