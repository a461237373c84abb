"""Our own code: what identifies it, and how a process is started that runs it and nothing of the current folder."""

import functools
import hashlib
import importlib.util
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
BESIDE = ("analysis", "configs", "launch")  # our packages beside this one, whose names others may have too
# Our folder is searched right behind Python's own: a process finds the very code that runs here, installed or not, and
# of Python's modules none but Python's.
BEGIN = """\
import os, runpy, sys
folder, module = sys.argv[1:3]
sys.argv[:3] = ["-m"]
python = os.path.dirname(os.__file__), os.path.join(os.path.dirname(os.__file__), "lib-dynload")
sys.path.sort(key=lambda path: path not in python)
sys.path.insert(sum(path in python for path in sys.path), folder)
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""


def shadowing() -> str:
    """A package or module of the name of one of ours that Python finds before it; empty for none."""
    for name in BESIDE:
        spec = importlib.util.find_spec(name)
        at = next(iter(spec.submodule_search_locations or ()), spec.origin) if spec else None
        if at and Path(at).resolve() != (PACKAGE.parent / name).resolve():  # either may be a link
            return str(at)
    return ""


@functools.cache
def digest() -> str:
    """A hash of the .py files of this package, as they were when it was first asked for: 12 hexadecimal digits."""
    found = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        content = path.read_bytes()
        found.update(f"{path.relative_to(PACKAGE).as_posix()} {len(content)}\n".encode())
        found.update(content)
    return found.hexdigest()[:12]


def command(module: str, *words: str) -> list[str]:
    """How a process is started that does what `python -m module words` does, with the code that runs here.

    With -P, so that the current folder is not searched, where a random.py or another checkout may lie.
    """
    return [sys.executable, "-P", "-c", BEGIN, str(PACKAGE.parent), module, *words]
