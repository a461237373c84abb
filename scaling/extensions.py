"""Code of a user's own: a class in a Python file, which a config or an option names as FILE.py:Name.

A config names files in its own folder, itself among them. What it keeps is Name@HASH, so that a run's identity holds
what the file says and not where it lies; runs that name none keep the identity that they have.

Only what somebody at the keyboard named is run: `load` and `resolved` do, reading Name@HASH in a study or an archive
does not. `known` gives the class where this process has loaded it, and None anywhere else.
"""

import ast
import contextlib
import contextvars
import functools
import hashlib
import inspect
import re
import sys
import types
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

from scaling import folders
from scaling.errors import InputError, place

T = TypeVar("T")

OF_A_CONFIG = ("study", "more")  # functions that say which runs there are, and nothing of what one is
_KEPT = re.compile(r"([^\W\d]\w*)@([0-9a-f]{12})")
_FOLDER: contextvars.ContextVar[Path | None] = contextvars.ContextVar("folder of the config", default=None)


class Source(NamedTuple):
    """A file as it was when it was read."""

    path: Path
    text: str
    module: types.ModuleType


_SOURCES: dict[str, Source] = {}  # by the hash of what it says
_READING: list[Path] = []


@contextlib.contextmanager
def beside(folder: Path | None) -> Iterator[None]:
    """While this lasts, configs may name files in `folder`."""
    before = _FOLDER.set(folder)
    try:
        yield
    finally:
        _FOLDER.reset(before)


def resolved(text: str, base: type, label: str) -> str:
    """What a config keeps of a name: Name@HASH of FILE.py:Name; any other as it is.

    Args:
        base: the class that it has to be one of.
        label: the field, for messages.

    Raises:
        InputError: no such file or class there, a file that is not in the config's folder, or one that fails.
    """
    if not is_file(text):
        return text
    folder, (file, _, name) = _FOLDER.get(), text.rpartition(":")
    if folder is None:
        raise InputError(
            f"{label}={text}: a config names files in its own folder, and this is read outside of one; "
            "use it in study(), or `with scaling.extensions.beside(FOLDER):` in a program of yours"
        )
    if Path(file).is_absolute() or ".." in Path(file).parts:
        raise InputError(f"{label}={text}: wanted a file in the folder of the config, {folder}; put it there")
    load(folder / file, name, base, label)
    return f"{name}@{_read(folder / file)}"


def is_file(text: str) -> bool:
    """Whether a name is that of a class in a file."""
    return bool(re.search(r"\.py:[^/:]*$", text))


def kept(text: str) -> bool:
    """Whether a name is what a config keeps of a class in a file."""
    return bool(_KEPT.fullmatch(text))


def known(text: str, base: type[T]) -> type[T] | None:
    """The class that Name@HASH means, where this process has loaded it; None elsewhere."""
    found = _KEPT.fullmatch(text)
    source = _SOURCES.get(found[2]) if found else None
    return _own(source, base).get(found[1]) if source and found else None


def load(path: Path, name: str, base: type[T], label: str) -> type[T]:
    """The class `name` in a Python file, which is run: only one that the user named.

    Raises:
        InputError: one line that says where.
    """
    source = _SOURCES[_read(path)]
    there = _own(source, base)
    if name in there:
        return there[name]
    made = getattr(source.module, name, None)
    if missing := sorted(getattr(made, "__abstractmethods__", ())):
        raise InputError(f"{label}: {name} in {path} does not say {', '.join(missing)}, as every {base.__name__} does")
    what = f"a subclass of {base.__module__}.{base.__qualname__}"
    raise InputError(f"{label}: {path} has no {name} of its own that is {what}; it has {', '.join(there) or 'none'}")


def _own(source: Source, base: type[T]) -> dict[str, type[T]]:
    """The classes of a kind that a file itself says: what it imports is not in its hash."""
    return {
        name: value
        for name, value in vars(source.module).items()
        if isinstance(value, type)
        and issubclass(value, base)
        and value.__module__ == source.module.__name__
        and not inspect.isabstract(value)
    }


def hash_of(made: type) -> str:
    """The hash of the file that a class was loaded from; empty for any other class."""
    return next((hash for hash, source in _SOURCES.items() if source.module.__name__ == made.__module__), "")


def word_of(made: type) -> str:
    """FILE.py:Name of a class that was loaded from a file, as somebody typed it; empty for any other class."""
    source = _SOURCES.get(hash_of(made))
    return f"{source.path}:{made.__name__}" if source else ""


def known_classes(base: type[T]) -> list[type[T]]:
    """All classes of a kind in the files that this process has loaded, the newest last."""
    return [made for source in _SOURCES.values() for made in _own(source, base).values()]


def words(names: Iterable[str]) -> list[str]:
    """HASH=PATH of the files that these names are of, for the words of a process that is to load them: `take`."""
    found = {match[2] for name in names if (match := _KEPT.fullmatch(name)) and match[2] in _SOURCES}
    return [f"{hash}={_SOURCES[hash].path.resolve()}" for hash in sorted(found)]


def take(word: str) -> None:
    """Loads a file of `words`.

    Raises:
        InputError: it says something else by now.
    """
    hash, _, path = word.partition("=")
    if (found := _read(Path(path))) != hash:
        raise InputError(
            f"{path} was changed while the study was being trained (its hash was {hash}, now {found}); the same "
            "command, begun again, takes its runs to be others"
        )


def has(file: str) -> bool:
    """Whether a file of that name is loaded."""
    return any(source.module.__file__ == file for source in _SOURCES.values())


def text_of(name: str) -> tuple[str, str] | None:
    """The hash and the text of the file that Name@HASH is of; None where it is not loaded."""
    match = _KEPT.fullmatch(name)
    source = _SOURCES.get(match[2]) if match else None
    return (match[2], source.text) if match and source else None


def _read(path: Path) -> str:
    """The hash of a file, which is run unless it was before."""
    try:
        at = path.stat()
    except OSError:
        raise InputError(f"no file {path}; wanted FILE.py:Name, a class in a Python file") from None
    hash = _run(path, (at.st_ino, at.st_mtime_ns, at.st_size))
    _SOURCES[hash] = _SOURCES[hash]._replace(path=path)  # where it lies now: another file may say the same
    return hash


@functools.lru_cache(maxsize=256)
def _run(path: Path, stamp: tuple[int, ...]) -> str:
    if path in _READING:
        raise InputError(f"{path} names a class of its own while it is being read; name it inside study()")
    try:
        text = folders.read_text(path, "a Python file")
        tree = ast.parse(text)
    except (SyntaxError, ValueError) as error:
        where = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        raise InputError(f"{path} is not a Python file: {getattr(error, 'msg', error)}{where}") from None
    hash = _hash(text, tree)
    if hash in _SOURCES:
        return hash
    module = types.ModuleType(f"extension_{hash}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # where dataclasses look for it
    _READING.append(path)
    try:
        exec(compile(text, str(path), "exec"), vars(module))
    except BaseException as error:  # somebody's program
        del sys.modules[module.__name__]
        if isinstance(error, InputError) or not isinstance(error, Exception | SystemExit):
            raise
        raise InputError(place(error, str(path).__eq__)) from None
    finally:
        _READING.remove(path)
    _SOURCES[hash] = Source(path, text, module)
    return hash


def _hash(text: str, tree: ast.Module) -> str:
    """Of what a file says beside its docstring, what stands between its statements, and the functions of a config."""
    lines, found = text.split("\n"), hashlib.sha256()
    for i, node in enumerate(tree.body):
        if isinstance(node, ast.FunctionDef) and node.name in OF_A_CONFIG:
            continue
        if i == 0 and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue
        begin = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", ()))])
        found.update("\n".join(line.rstrip() for line in lines[begin - 1 : node.end_lineno]).encode() + b"\0")
    return found.hexdigest()[:12]
