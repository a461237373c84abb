"""A study from a config: a Python file, or a module by its dotted name, with a function `study`.

Whatever its code raises ends in one line that says where. What is trained depends on its values alone, which the ids of
runs hold: its code never runs in a process that trains, and what it does to the environment ends with it.
"""

import contextlib
import dataclasses
import functools
import importlib
import importlib.util
import inspect
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from scaling import config, extensions, folders, own_code, rates
from scaling.config import RunConfig, Study
from scaling.errors import InputError, place

LOOKED_AT, NAMED = 200, 8  # files of a folder where a config is not, in a message
LONGEST = 2**20  # bytes of a file that is looked at for whether it is one
LIMIT = 300.0  # seconds that the code of a config may take
Say = Callable[[str], object]
P = ParamSpec("P")
R = TypeVar("R")


def _in_its_folder(read: Callable[Concatenate[str, P], R]) -> Callable[Concatenate[str, P], R]:
    """What a config is asked may name classes in the files beside it (scaling.extensions)."""

    @functools.wraps(read)
    def inside(name: str, *args: P.args, **options: P.kwargs) -> R:
        with extensions.beside(_folder(name)):
            return read(name, *args, **options)

    return inside


def _folder(name: str) -> Path | None:
    if name.endswith(".py"):
        return Path(name).parent
    with contextlib.suppress(ImportError, ValueError, AttributeError):
        found = importlib.util.find_spec(name)
        return Path(found.origin).parent if found and found.origin else None
    return None


@_in_its_folder
def load(name: str, settings: Mapping[str, str], say: Say | None = None) -> Study:
    """The study that a config file makes, with settings applied.

    Args:
      name: a path to a Python file or a dotted module name; either has a function `study`. The file is a program: run
        only those you trust.
      settings: keys are parameters of that function, or dotted fields of RunConfig, set on every run. One with a
        parameter `source` makes the texts of its runs, and data.source, which would replace them, is refused. A
        parameter `rates` that they leave out, the text whose learning rates the runs take, is the one that suits
        data.source.
      say: told where the tokens of a run were rounded to whole updates; None: they are not, and such a run is refused.
    """
    make = _function(name)
    parameters = _parameters(make)
    known = parameters | config.keys()
    for key in settings:
        try:
            config.known_key(key, known)
        except InputError as error:
            said = str(error).partition("; known:")[0]
            raise InputError(f"{said}; scaling study show {name} --keys lists all") from None
    if "source" in parameters and "data.source" in settings:
        raise InputError(
            f"data.source={settings['data.source']} would replace the text of every run, and {name} makes these of its "
            f"own parameter source; give --set source={settings['data.source']}"
        )
    for key, parameter in inspect.signature(make).parameters.items():
        if parameter.default is parameter.empty and key not in settings:
            raise InputError(f"study() in {name} has no default for {key}; give one with --set {key}=VALUE")
    given = _given(settings, parameters)
    with _plainly(name), config.rounded(say):
        study = make(**given)
    if isinstance(study, Study) and not all(isinstance(run, RunConfig) for run in study.runs):
        raise InputError(f"{_place(make)}: study() returned a Study of {_shown(study.runs)}; wanted RunConfigs")
    if inspect.iscoroutine(study):
        study.close()  # else Python warns of it
    if not isinstance(study, Study):
        raise InputError(f"{_place(make)}: study() returned {_shown(study)}; wanted a scaling.config.Study")
    with config.rounded(say):
        return dataclasses.replace(study, runs=_overridden(study.runs, settings, parameters))


def apart(name: str, settings: Mapping[str, str]) -> Study:
    """As `load`, for a process that trains: another one runs the config's code.

    Raises:
        InputError: as `load`, or that process ended without an answer.
    """
    words = own_code.command("scaling.question", name, *(f"{key}={value}" for key, value in settings.items()))
    done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False)
    try:
        told = json.loads(done.stdout)
    except ValueError:
        raise InputError(f"{name}: its process ended with exit code {done.returncode} and named no runs") from None
    if "refused" in told:
        raise InputError(told["refused"])
    for word in told["sources"]:
        extensions.take(word)
    return Study(told["name"], told["question"], tuple(config.from_dict(RunConfig, run) for run in told["runs"]))


@_in_its_folder
def keys(name: str) -> dict[str, Any]:
    """Every key that a config's settings may have, with its type: the parameters of its function first."""
    return _parameters(_function(name)) | config.keys()


@_in_its_folder
def more(
    name: str, settings: Mapping[str, str], say: Say | None = None
) -> Callable[[Any], tuple[RunConfig, ...]] | None:
    """The config's function `more`, which is asked for further runs when all are done, until it has no new ones.

    None if it has none.

    Returns:
      table (analysis.table.Table) -> runs, with the settings applied as `load` does.
    """
    ask: Any = getattr(_module(name), "more", None)
    if not callable(ask):
        return None
    parameters = _parameters(_function(name))
    given = _given(settings, parameters)

    def asked(table: Any) -> tuple[RunConfig, ...]:
        with extensions.beside(_folder(name)), _plainly(name), config.rounded(say):
            found: Any = ask(table, **given)
        if not isinstance(found, tuple | list) or not all(isinstance(run, RunConfig) for run in found):
            raise InputError(
                f"{_place(ask)}: more() returned {_shown(found)}; wanted a tuple of RunConfig, () for none"
            )
        with extensions.beside(_folder(name)), config.rounded(say):
            return _overridden(tuple(found), settings, parameters)

    return asked


def _function(name: str) -> Any:
    make = getattr(_module(name), "study", None)
    if not callable(make):
        raise InputError(f"{name} has no function named study; {_ready_made()}")
    return make


def _parameters(make: Any) -> dict[str, Any]:
    with _plainly(getattr(make, "__module__", "")):
        hints = inspect.get_annotations(make, eval_str=True)
        return {key: hints.get(key, str) for key in inspect.signature(make).parameters}


def _given(settings: Mapping[str, str], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What a config's function is called with."""
    given = {key: config.parse(key, text, parameters[key]) for key, text in settings.items() if key in parameters}
    if parameters.get("rates") == rates.Text and "data.source" in settings:
        given.setdefault("rates", rates.suiting(settings["data.source"]))
    return given


def _overridden(
    runs: Sequence[RunConfig], settings: Mapping[str, str], parameters: Mapping[str, Any]
) -> tuple[RunConfig, ...]:
    on_runs = {key: text for key, text in settings.items() if key not in parameters}
    return tuple(config.override(run, on_runs) for run in runs)


def _place(function: Callable[..., Any]) -> str:
    """FILE:LINE of a config's function."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else getattr(function, "__module__", "the config")


def _shown(value: object) -> str:
    """A value that a config returned, cut short."""
    if isinstance(value, tuple | list):
        others = [each for each in value if not isinstance(each, RunConfig)]
        return f"a {type(value).__name__} with {_shown(others[0])}" if others else f"a {type(value).__name__} of runs"
    try:
        said = repr(value)
    except Exception as error:  # somebody's program
        said = f"and cannot be shown: {type(error).__name__}"
    return "None" if value is None else f"{type(value).__name__} {said[:60]}"


@contextlib.contextmanager
def _plainly(name: str) -> Iterator[None]:
    """What the code of a config raises, in one line that says where; in the main thread it has `LIMIT` seconds.

    Our processes inherit the environment as it was before.
    """
    before = dict(os.environ)
    try:
        with _limited():
            yield
    except InputError:
        raise
    except (Exception, SystemExit, GeneratorExit) as error:  # a config is somebody's program: anything may happen in it
        stem = Path(name).stem if name.endswith(".py") else name.rpartition(".")[2]
        raise InputError(place(error, lambda file: Path(file).stem == stem)) from None
    finally:
        if os.environ != before:
            os.environ.clear()
            os.environ.update(before)


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return
    before = signal.signal(signal.SIGALRM, _too_long)
    signal.setitimer(signal.ITIMER_REAL, LIMIT)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _too_long(*_: object) -> None:
    raise TimeoutError(f"still running after {LIMIT:.0f} s; a config only names its runs")


def _there(path: Path) -> str:
    """What configs there are in the folder where one was looked for."""
    if not path.parent.is_dir():
        return f"there is no folder {path.parent}"
    found = [each.name for each in sorted(path.parent.glob("*.py"))[:LOOKED_AT] if _is_config(each)]
    folder = "here" if path.parent == Path() else f"in {path.parent}"
    more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    return f"{folder} {'are' if len(found) > 1 else 'is'} {', '.join(found[:NAMED]) or 'none'}{more}"


def _ready_made(asked: Path = Path()) -> str:
    """The configs that come with this project, which are found from any folder; the one that was meant alone."""
    spec = importlib.util.find_spec("configs")
    root = Path(spec.origin).parent if spec and spec.origin else Path()
    found = [each.relative_to(root.parent).with_suffix("") for each in sorted(root.rglob("*.py")) if _is_config(each)]
    meant = [each for each in found if each.name in (asked.stem, asked.name.rpartition(".")[2])]
    names = [
        ".".join(each.parts) for each in meant or found if meant or len(each.parts) == len(Path("configs/a").parts)
    ]
    return f"ready-made, from any folder: {', '.join(names)}"


def _is_config(path: Path) -> bool:
    with contextlib.suppress(OSError, InputError):
        return re.search(rb"^def study\(", folders.content(path, "a config", LONGEST), re.MULTILINE) is not None
    return False


def _module(name: str) -> Any:
    path = Path(name)
    if path.suffix == ".py":
        if not path.is_file():
            raise InputError(f"no config file {name}; {_there(path)}; {_ready_made(path)}")
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        with _plainly(name):
            try:
                spec.loader.exec_module(module)
            except ImportError as error:
                beside = path.with_name(f"{(error.name or '').partition('.')[0]}.py").is_file()
                way = (
                    "; a config is read by itself, without the files beside it: see docs/extending.md" if beside else ""
                )
                raise InputError(f"{name} imports what is not there: {error}{way}") from None
            except SyntaxError as error:
                where = f", line {error.lineno}" if error.lineno else ""
                raise InputError(f"{name} is not a Python file: {error.msg}{where}") from None
        return module
    if not all(part.isidentifier() for part in name.split(".")):
        raise InputError(f"no config {name!r}; wanted FILE.py or a dotted name; {_ready_made(Path(name))}")
    with _plainly(name):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise
            raise InputError(
                f"no config {name!r}; wanted FILE.py or a dotted name; {_ready_made(Path(name))}"
            ) from None


def main() -> None:
    """python -m scaling.question CONFIG KEY=VALUE...: the study as JSON, for `apart`."""
    name, *settings = sys.argv[1:]
    with open(os.dup(1), "w") as answer:
        os.dup2(2, 1)  # what the config prints
        try:
            study = load(name, dict(item.split("=", 1) for item in settings), lambda text: print(text, file=sys.stderr))
            told = config.to_dict(study) | {"sources": extensions.words(config.extended(study.runs))}
        except InputError as error:
            told = {"refused": str(error)}
        json.dump(told, answer)


if __name__ == "__main__":
    main()
