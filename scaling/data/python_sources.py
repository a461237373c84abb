"""Python source code that is always there: of this project's own dependencies, or of the standard library."""

import dataclasses
import importlib.metadata
import os
import re
import sys
import sysconfig
from collections.abc import Collection, Iterator

from scaling.data.documents import PIECE, Document, Part, digest, gather, pieces
from scaling.errors import InputError

STDLIB_WITHOUT = {"test", "tests", "idle_test", "encodings", "idlelib", "lib2to3", "site-packages", "dist-packages"}
LATER = {"markupsafe"}  # dependencies that came after the first runs on source python, whose text must stay as it was


@dataclasses.dataclass(frozen=True)
class PythonCorpus:
    """Python source code: of the project's dependencies, or of the standard library.

    The dependencies are those of this project as installed, with theirs and so on, without optional extras. They are
    pinned, so that two installations from the same lock file on the same platform hold the same text.
    """

    source: str
    drops_near_duplicates: bool = True
    cut: int = PIECE
    entropy_rate: None = None

    def signature(self) -> str:
        if self.source == "python:stdlib":
            return digest(["stdlib", sys.version])
        return digest([d.read_text("RECORD") or d.version for d in _dependencies()])

    def parts(self) -> list[Part]:
        files = self._stdlib() if self.source == "python:stdlib" else self._installed()
        return gather([(file, os.path.getsize(file.path)) for file in files])

    def _installed(self) -> Iterator["PythonFile"]:
        for distribution in _dependencies():
            name = distribution.metadata["Name"]
            for record in sorted(distribution.files or (), key=str):
                path = str(distribution.locate_file(record))
                if record.suffix == ".py" and os.path.isfile(path):
                    yield PythonFile(path, str(record), f"{name}/{record.parent}")

    def _stdlib(self) -> Iterator["PythonFile"]:
        root = sysconfig.get_paths()["stdlib"]
        for folder, folders, names in os.walk(root):
            folders[:] = sorted(set(folders) - STDLIB_WITHOUT)
            for name in sorted(names):
                if name.endswith(".py"):
                    path = os.path.join(folder, name)
                    relative = os.path.relpath(path, root)
                    yield PythonFile(path, f"stdlib/{relative}", os.path.dirname(f"stdlib/{relative}"))


@dataclasses.dataclass(frozen=True)
class PythonFile:
    """A module. Installed packages hold a few files that are not UTF-8; they count as empty."""

    path: str
    name: str
    group: str

    def documents(self, keep: Collection[int] | None) -> Iterator[tuple[int, Document]]:
        try:
            with open(self.path, "rb") as file:
                text = file.read().decode()
        except UnicodeDecodeError:
            text = ""
        for k, piece in enumerate(pieces(iter([text])) if text else [""]):
            if keep is None or k in keep:
                yield k, Document(f"{self.name}#{k}" if k or len(piece) < len(text) else self.name, piece, self.group)


def ourselves() -> str:
    """The name of the distribution that installed this project: the one whose command is ours."""
    for each in importlib.metadata.entry_points(group="console_scripts", name="scaling"):
        if each.value == "scaling.cli:main" and each.dist:
            return _normal(each.dist.name)
    raise InputError("source python: this project is not installed here, nor what it needs; pip install . does both")


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _dependencies() -> list[importlib.metadata.Distribution]:
    """Every installed distribution that this project needs, directly or not, in order of name: not it, not `LATER`."""
    from packaging.requirements import Requirement

    found: dict[str, importlib.metadata.Distribution] = {}
    project = ourselves()
    todo = [project]
    while todo:
        name = _normal(todo.pop())
        if name in found:
            continue
        try:
            found[name] = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            raise InputError(
                f"source python: {name} is not installed; install this project with its dependencies"
            ) from None
        requirements = map(Requirement, found[name].requires or ())
        todo += [r.name for r in requirements if r.marker is None or r.marker.evaluate({"extra": ""})]
    return [found[name] for name in sorted(found.keys() - {project, *LATER})]
