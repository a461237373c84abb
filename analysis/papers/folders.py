"""Which papers there are: a folder beside this file each."""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from analysis.papers.paper import Paper

HOME = "analysis.papers"


def names() -> tuple[str, ...]:
    """The papers there are, by their folders."""
    return tuple(sorted(path.parent.name for path in Path(__file__).parent.glob("*/paper.py")))


def named(name: str, home: str = HOME) -> "Paper":
    """The paper of a folder of the package `home`."""
    return importlib.import_module(f"{home}.{name}.paper").PAPER
