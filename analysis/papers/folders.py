"""Which papers there are: a folder of this package each."""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from analysis.papers.paper import Paper

HOME = "analysis.papers"


def names() -> tuple[str, ...]:
    """The papers there are, by their folders; a name has hyphens where a folder has underscores."""
    homes = importlib.import_module(HOME).__path__
    folders = (path.parent.name for home in homes for path in Path(home).glob("*/paper.py"))
    return tuple(sorted(folder.replace("_", "-") for folder in folders))


def module(name: str) -> str:
    """The name of a paper's folders: that of a module, which has no hyphen."""
    return name.replace("-", "_")


def named(name: str, home: str = HOME) -> "Paper":
    """The paper of a folder of the package `home`."""
    return importlib.import_module(f"{home}.{module(name)}.paper").PAPER
