"""The numbers of published papers, from the one file that holds them: reference_constants.json.

Every constant has a value, its unit, the equation or table, and how sure it is (`level`: read in the paper, in its
authors' release, quoted by others, or derived: our own reading of a plot). Scales such as N_c depend on text and
tokenizer; exponents may be compared.
"""

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

FILE = Path(__file__).with_name("reference_constants.json")
DIGITISED = "kaplan2020_digitised"  # points read off the plots of Kaplan et al. (2020)


@functools.lru_cache(maxsize=1)
def published() -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
    """{paper: {constant: {value, units, equation, verified, level, source, ...}}}."""
    return json.loads(FILE.read_text(encoding="utf-8"))


def value(constant: str, paper: str = "kaplan2020") -> float:
    """A constant in the unit that its paper prints it in: Kaplan's C_c, say, in PF-days."""
    return float(published()[paper][constant]["value"])


def points(name: str) -> Array:
    """Points of a plot of Kaplan et al. (2020), one row each, columns in the order of their `units`.

    Read off the vector graphics of the paper: about 0.2 % in loss.
    """
    return np.asarray(published()[DIGITISED][name]["value"], np.float64)


def curves(name: str) -> dict[float, Array]:
    """Digitised curves by model size N, each with rows as `points` has them."""
    return {float(N): np.asarray(rows, np.float64) for N, rows in published()[DIGITISED][name]["value"].items()}
