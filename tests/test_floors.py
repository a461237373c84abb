"""A module imports from its own floor of docs/architecture.md or a lower one, and no imports go in a circle."""

import ast
import functools
import graphlib
import re
from collections.abc import Iterator

from conftest import ROOT

PACKAGES = ("scaling", "configs", "launch", "analysis")
PATHS = [path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
MODULES = {".".join(path.with_suffix("").parts).removesuffix(".__init__"): path for path in PATHS}
PAGE = (ROOT / "docs" / "architecture.md").read_text()
DRAWN = re.findall(r"^    floor: .+?  (.+)$", PAGE, re.MULTILINE)
FLOORS = {name: -row for row, names in enumerate(DRAWN) for name in names.split()}


@functools.cache
def floor(module: str) -> int:
    """0 is the front door. Of the names that a module's own begins with, the longest counts."""
    return FLOORS[max((name for name in FLOORS if f"{module}.".startswith(f"{name}.")), key=len)]


def statements(tree: ast.AST) -> Iterator[ast.AST]:
    """What is run: not what is there for the type checker alone."""
    for name in ("body", "handlers", "orelse", "finalbody", "cases"):
        for node in getattr(tree, name, ()):
            if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)):
                yield node
                yield from statements(node)


@functools.cache
def imported(module: str) -> set[str]:
    found = set()
    for node in statements(ast.parse((ROOT / MODULES[module]).read_text())):
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{a.name}" for a in node.names]
            found |= {name if name in MODULES else str(node.module) for name in names}
        elif isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
    return {name for name in found if name in MODULES and name not in PACKAGES}


def test_no_module_imports_from_a_higher_floor():
    upwards = [(a, b) for a in MODULES if a not in PACKAGES for b in imported(a) if floor(b) > floor(a)]
    assert not upwards


def test_no_imports_go_in_a_circle():
    tuple(graphlib.TopologicalSorter({module: imported(module) for module in MODULES}).static_order())


def test_every_floor_is_inhabited():
    assert all(any(f"{module}.".startswith(f"{name}.") for module in MODULES) for name in FLOORS)


def test_every_module_stands_in_the_house_and_every_name_in_it_is_one():
    house = PAGE[PAGE.index("## The house") : PAGE.index("## Floors")]
    alike = {name for name, told in re.findall(r"^ +(\S+)/ (.*(?:\n {15,}.*)*)", house, re.M) if "module per" in told}
    alike |= {"commands"}  # told with the front door
    named = set(re.findall(r"([a-z_]\w*)\.py", house))
    lacking = [
        path for path in PATHS if path.stem not in {*named, "__init__", "__main__"} and path.parent.name not in alike
    ]
    assert not lacking
    assert named <= {path.stem for path in [*PATHS, *ROOT.glob("tests/*.py"), *ROOT.glob("benchmarks/*.py")]}
