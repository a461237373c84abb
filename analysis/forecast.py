"""Forecasts: a prediction is stored before the run and scored after it."""

import dataclasses
import datetime
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from analysis.fit import Fit
from analysis.plan import count, plain
from scaling.errors import InputError


@dataclasses.dataclass(frozen=True)
class Forecast:
    """A prediction written down before the run: what was expected, by which fit, and when."""

    made: str  # ISO 8601, UTC
    law: str
    target: str
    inputs: Mapping[str, float]
    value: float
    low: float
    high: float
    level: float
    fit: Mapping[str, Any]  # `Fit.to_dict()`


@dataclasses.dataclass(frozen=True)
class Score:
    """How a forecast did."""

    forecast: Forecast
    measured: float

    @property
    def error(self) -> float:
        """Predicted over measured, less 1."""
        return self.forecast.value / self.measured - 1

    @property
    def inside(self) -> bool:
        return self.forecast.low <= self.measured <= self.forecast.high

    def text(self) -> str:
        f = self.forecast
        hit = "inside" if self.inside else "outside"
        at = ", ".join(f"{name} {count(value)}" for name, value in f.inputs.items())
        return (
            f"{f.target} at {at}: {f.value:.4f} ({f.low:.4f} to {f.high:.4f}) foretold on {f.made[:10]} by {f.law}, "
            f"{self.measured:.4f} measured: off by {self.error:+.2%}, {hit} the {f.level:.0%} interval of a run"
        )


def forecast(fit: Fit, **inputs: float) -> Forecast:
    """The prediction of a single run (its own scatter included), as `fit.predict(run=True, ...)`, dated now."""
    value, low, high = fit.predict(run=True, **inputs)
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    told = {name: float(x) for name, x in inputs.items()}
    return Forecast(
        now, fit.law.name, fit.target, told, float(value), float(low), float(high), fit.level, plain(fit.to_dict())
    )


def store(forecast: Forecast, path: str | Path) -> None:
    """Writes a forecast as JSON, once: an existing file is never replaced, since a forecast changed afterwards is none.

    Raises:
        InputError: the file is there already.
    """
    text = json.dumps(plain(dataclasses.asdict(forecast)), indent=1, allow_nan=False)
    try:
        with Path(path).open("x", encoding="utf-8") as file:
            file.write(text + "\n")
    except FileExistsError as error:
        raise InputError(
            f"{path}: holds a forecast already, and forecasts are not rewritten; choose another name"
        ) from error


def score(path: str | Path, measured: float) -> Score:
    """Holds a stored forecast against what the run gave.

    Raises:
        InputError: no such file, not a forecast, or a measurement that is not above 0.
    """
    if not (math.isfinite(measured) and measured > 0):
        raise InputError(f"measured {measured:g}: wanted a number above 0")
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
        found |= {"low": 0.0 if found["low"] is None else found["low"], "high": found["high"] or math.inf}
        return Score(Forecast(**found), float(measured))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; wanted a forecast that --store wrote") from error
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a forecast ({error}); wanted a file that --store wrote") from error
