"""Published papers, figure by figure, from our own runs.

A paper NAME is two folders: `analysis/papers/NAME/`, whose module `paper` has a `PAPER`, and `configs/NAME/`, which
says what to train, by `experiments.EXPERIMENTS` and `budgets.named`. Whatever of these there are can be reproduced.
"""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from analysis.papers.paper import Paper


def names() -> tuple[str, ...]:
    """The papers there are."""
    return tuple(sorted(path.parent.name for path in Path(__file__).parent.glob("*/paper.py")))


def named(name: str, home: str = __name__) -> "Paper":
    """The paper of a folder of the package `home`."""
    return importlib.import_module(f"{home}.{name}.paper").PAPER
