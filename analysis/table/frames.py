"""Tables as data frames of pandas and polars, and back. Both are optional and imported when asked for."""

import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from scaling.errors import InputError


def to_pandas(columns: Mapping[str, np.ndarray]) -> Any:
    """A pandas.DataFrame: numbers as f64, an empty cell NaN; texts as pandas keeps them."""
    return _library("pandas").DataFrame(dict(columns))


def to_polars(columns: Mapping[str, np.ndarray]) -> Any:
    """A polars.DataFrame: numbers as Float64, an empty cell null; texts as String."""
    return _library("polars").DataFrame(dict(columns), nan_to_null=True)


def from_pandas(frame: Any) -> dict[str, list[Any]]:
    """The columns of a pandas.DataFrame; an index that is more than row numbers is a column, `run` without a name."""
    numbered = frame.index.nlevels == 1 and frame.index.name is None and frame.index.inferred_type == "integer"
    if not numbered:
        names = ["run" if name is None and "run" not in frame.columns else name for name in frame.index.names]
        frame = frame.rename_axis(index=names).reset_index()
    empty = frame.isna()
    return {
        "/".join(map(str, name)) if isinstance(name, tuple) else str(name): [
            None if missing else cell
            for cell, missing in zip(frame.iloc[:, k].tolist(), empty.iloc[:, k].tolist(), strict=True)
        ]
        for k, name in enumerate(frame.columns)
    }


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(f"{name} is not installed here; install it with pip install {name}") from error
