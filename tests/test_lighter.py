"""Imports without what no command needs: NumPy's Fortran compiler stays unread until it is asked for."""

import subprocess
import sys

PROBE = """
import importlib.metadata
import sys

from scaling import lighter

lighter.install()
lighter.install()
import jax
import numpy
from scipy import special

assert sum(isinstance(finder, lighter.Lighter) for finder in sys.meta_path) == 1
assert special.ndtr(0.0) == 0.5
assert "numpy.f2py.crackfortran" not in sys.modules
assert numpy.f2py.get_include()
assert "numpy.f2py.crackfortran" in sys.modules
assert importlib.metadata.version("jax") == jax.__version__
assert len(list(importlib.metadata.distributions())) > 10
asked = []
sys.path.insert(0, sys.argv[1])
read = importlib.metadata.Distribution.metadata.fget
importlib.metadata.Distribution.metadata = property(lambda self: asked.append(self) or read(self))
del sys.modules["jax._src.numpy.array_constructors"]
import jax._src.numpy.array_constructors
assert bool(asked) == (sys.argv[2] == "a plugin")
"""


def test_a_command_imports_less_and_still_finds_a_plugin(tmp_path):
    for there in ("nothing", "a plugin"):
        if there == "a plugin":
            (tmp_path / "jax_rocm7_plugin").mkdir()
        subprocess.run([sys.executable, "-W", "error", "-c", PROBE, str(tmp_path), there], check=True)
