"""Imports without what no command needs: both are side effects of libraries, and cost a twelfth of a short command.

SciPy's special functions take all names of NumPy, and with them its compiler of Fortran; JAX reads the metadata of all
installed packages in search of a plugin for AMD's chips.
"""

import importlib.metadata
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

ROCM = "jax_rocm*"  # packages that hold such a plugin


class Lighter(MetaPathFinder):
    """Finds two modules as Python does, and has them loaded with less."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        wrap = LOADERS.get(fullname)
        spec = PathFinder.find_spec(fullname, path, target) if wrap else None
        if wrap and spec and spec.loader:
            spec.loader = wrap(spec.loader)
        return spec


class Unsearched(Loader):
    """Loads a module that sees no installed packages while it is loaded, where none is what it searches for."""

    def __init__(self, loader: Loader):
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        if any(next(Path(folder or ".").glob(ROCM), None) for folder in sys.path):
            self.loader.exec_module(module)
            return
        distributions = importlib.metadata.distributions
        importlib.metadata.distributions = lambda **_: iter(())
        try:
            self.loader.exec_module(module)
        finally:
            importlib.metadata.distributions = distributions


LOADERS = {
    "numpy.f2py": importlib.util.LazyLoader,  # read when it is used
    "jax._src.numpy.array_constructors": Unsearched,
}


def install() -> None:
    """From now on, in this process."""
    if not any(isinstance(finder, Lighter) for finder in sys.meta_path):
        sys.meta_path.insert(0, Lighter())
