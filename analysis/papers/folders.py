"""Which papers there are: a folder of this package each."""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from analysis.papers.paper import Paper

HOME = "analysis.papers"


def names() -> tuple[str, ...]:
    """The papers there are, by their folders."""
    homes = importlib.import_module(HOME).__path__
    return tuple(sorted(path.parent.name for home in homes for path in Path(home).glob("*/paper.py")))


def named(name: str, home: str = HOME) -> "Paper":
    """The paper of a folder of the package `home`."""
    return importlib.import_module(f"{home}.{name}.paper").PAPER
