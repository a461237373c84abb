"""Forecasts: a prediction is stored before the run and scored after it."""

import dataclasses
import datetime
import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.average import Average
from analysis.digits import short
from analysis.fit.estimate import PART_WAYS, Fit
from analysis.jsonable import jsonable
from analysis.plan.reach import beyond, doubt, unprofiled
from analysis.table.columns import COLUMNS
from scaling import folders
from scaling.errors import InputError


@dataclasses.dataclass(frozen=True)
class Forecast:
    """A prediction written down before the run: what was expected, by which fit, and when.

    `low` and `high` bound a single run, `law_low` and `law_high` the mean of such runs; 0 and inf where the fit is too
    doubtful to bound anything there.
    """

    made: str  # ISO 8601, UTC
    law: str
    target: str
    inputs: Mapping[str, float]
    value: float
    low: float
    high: float
    law_low: float
    law_high: float
    level: float
    warnings: tuple[str, ...]
    fit: Mapping[str, Any]  # `to_dict()` of a fit or of an average

    @property
    def bounded(self) -> bool:
        """Whether it has intervals at all."""
        return math.isfinite(self.high)

    @property
    def by(self) -> str:
        """The law, and the fit that gave its constants; of an average of laws, the heaviest's."""
        parts = self.fit.get("average")
        fit = parts[0]["fit"] if parts else self.fit
        n, clusters = fit.get("n_runs", "?"), fit.get("n_clusters", 0)
        n = f"{n} of {fit['n_given']}" if "n_given" in fit else n
        rows = f"{n} rows in {clusters} clusters" if clusters else f"{n} runs"
        return f"{self.law}, {rows}, {fit.get('status', 'status unknown')}"

    @property
    def at(self) -> str:
        """Its inputs in words."""
        return ", ".join(f"{name} {short(value)}" for name, value in self.inputs.items())

    def to_dict(self) -> dict[str, Any]:
        return jsonable(dataclasses.asdict(self))

    def line(self) -> str:
        """The prediction in a line, without its doubts."""
        ends = f"law {self.law_low:.4f} to {self.law_high:.4f}, one run {self.low:.4f} to {self.high:.4f}"
        return f"{self.at}: {self.target} {self.value:.4f} ({ends if self.bounded else 'no interval'})"

    def text(self) -> str:
        """The prediction as a person reads it, its doubts first."""
        unit = COLUMNS.get(self.target, "")
        lines = [f"Warning: {warning}" for warning in self.warnings]
        lines.append(f"{self.target} {self.value:.4f} {unit}".rstrip() + f" at {self.at}, by {self.law}")
        if self.bounded:
            lines += [
                f"{100 * self.level:.4g}% interval of the law   {self.law_low:.4f} to {self.law_high:.4f}",
                f"{100 * self.level:.4g}% interval of one run   {self.low:.4f} to {self.high:.4f}",
            ]
        return "\n".join(lines)


@dataclasses.dataclass(frozen=True)
class Score:
    """How a forecast did."""

    forecast: Forecast
    measured: float

    @property
    def error(self) -> float:
        """Measured over predicted, less 1, as residuals and held-out errors are."""
        return self.measured / self.forecast.value - 1 if self.forecast.value else math.inf

    @property
    def inside(self) -> bool:
        """Whether an interval was given and held it."""
        return self.forecast.bounded and self.forecast.low <= self.measured <= self.forecast.high

    def to_dict(self) -> dict[str, Any]:
        return jsonable(dataclasses.asdict(self) | {"error": self.error, "inside": self.inside})

    def text(self) -> str:
        f = self.forecast
        verdict = f"{'inside' if self.inside else 'outside'} the {100 * f.level:.4g}% interval of one run"
        law, run = f"law {f.law_low:.4f} to {f.law_high:.4f}", f"one run {f.low:.4f} to {f.high:.4f}"
        ends = f" ({law}, {run})" if f.bounded else ""
        return "\n".join(
            [
                f"Predicted  {f.value:.4f}{ends} on {f.made[:10]}, {f.target} at {f.at}, by {f.law}",
                f"Measured   {self.measured:.4f}",
                f"Measured / predicted - 1 is {self.error:+.2%}, {verdict if ends else 'no interval was predicted'}",
            ]
        )


def forecast(fit: Fit | Average, **inputs: float) -> Forecast:
    """The prediction at the columns of the law, or of an average of laws, dated now.

    A doubtful fit bounds nothing beyond its runs: several sets of constants suit the runs and part ways outside them.
    """
    told = {name: float(x) for name, x in inputs.items()}
    mean, run = fit.predict(**told), fit.predict(run=True, **told)  # type: ignore[arg-type]  # told holds columns only
    forms = fit.fits if isinstance(fit, Average) else (fit,)
    heaviest, outside = forms[0], beyond(forms[0], told)
    doubtful = _each(forms, doubt)
    out = _each(forms, lambda form: form.beyond_limits(**told))
    warnings = [*doubtful, *out]
    warnings += _each(forms, unprofiled)
    bounded = fit.bounded(**told)
    bounds = [float(end) for said in (run, mean) for end in said.where(bounded)[1:]]
    if not (bounded or out):
        warnings.append(PART_WAYS)
    if heaviest.floor:
        warnings.append(
            f"the floor is pinned at {heaviest.floor.value:.4g} ({heaviest.floor.told}): no interval doubts it"
        )
    return Forecast(
        datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        fit.name if isinstance(fit, Average) else fit.law.name,
        fit.target,
        told,
        float(mean.value),
        *bounds,
        level=fit.level,
        warnings=(*warnings, *outside),
        fit=jsonable(fit.to_dict()),
    )


def _each(forms: Sequence[Fit], told: Callable[[Fit], str]) -> list[str]:
    """What is to be said of each form, with its name where there are several; nothing of those without."""
    name = "{}: {}" if len(forms) > 1 else "{1}"
    return [name.format(form.law.name, words) for form in forms if (words := told(form))]


def store(forecast: Forecast, path: str | Path) -> Path:
    """Writes a forecast as JSON, once: an existing file is never replaced, since a forecast changed afterwards is none.

    Args:
        path: the file, or a folder (one that is there, or a text that ends in "/"): then the name is date, law and
            inputs, numbered where there are several.

    Returns:
        The file.

    Raises:
        InputError: the file is there already, or lies in a bucket.
    """
    place = folders.on_disk(path)
    path = _in_folder(forecast, place) if str(path).endswith("/") or place.is_dir() else place
    try:
        write_once(path, forecast.to_dict())
    except FileExistsError as error:
        raise InputError(
            f"{path}: holds a forecast already, and forecasts are not rewritten; choose another name"
        ) from error
    return path


def _in_folder(forecast: Forecast, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    inputs = "-".join(f"{name}-{short(value)}" for name, value in forecast.inputs.items())
    law = "average" if "average" in forecast.fit else forecast.law
    stem = f"{forecast.made[:10]}-{law}-{inputs}"
    names = (f"{stem}{f'-{k}' if k > 1 else ''}.json" for k in itertools.count(1))
    return next(folder / name for name in names if not (folder / name).exists())


def write_once(path: Path, value: Mapping[str, Any]) -> None:
    """A new file of JSON; FileExistsError where there is one already."""
    folders.write_new(path, json.dumps(folders.sealed(jsonable(value)), indent=1, allow_nan=False) + "\n")


def score(path: str | Path, measured: float) -> Score:
    """Holds a stored forecast against what the run gave.

    Raises:
        InputError: no such file, not a forecast, or a measurement that is not above 0.
    """
    measured = measurement(measured)
    return Score(read(path), measured)


def measurement(value: float) -> float:
    """What a run gave, refused where it is no number above 0."""
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"measured {value:g}: wanted a number above 0")
    return float(value)


def read(path: str | Path, *, changed: bool = False) -> Forecast:
    """A stored forecast.

    Args:
        changed: whether one is taken that was changed after it was stored.

    Raises:
        InputError: no such file, not a forecast, or one that was changed.
    """
    try:
        found = folders.read_json(Path(path), "a forecast that --store wrote", changed=changed)
        for low, high in (("low", "high"), ("law_low", "law_high")):
            found |= {low: found[low] or 0.0, high: math.inf if found[high] is None else found[high]}
        found["warnings"] = tuple(map(str, found["warnings"]))
        found["inputs"] = {name: _float(name, value) for name, value in found["inputs"].items()}
        found |= {name: _float(name, found[name]) for name in ("value", "low", "high", "law_low", "law_high", "level")}
        for name in ("made", "law", "target"):
            if not isinstance(found[name], str):
                raise TypeError(f"{name} is {found[name]!r}, no text")
        for name in ("value", "level", *found["inputs"]):
            value = found[name] if name in found else found["inputs"][name]
            if not (math.isfinite(value) and (value > 0 or (name == "value" and value == 0))):  # of a share: its end
                raise ValueError(f"{name} is {value:g}, no number above 0")
        made = Forecast(**found)
        str(made.by)  # what its fit has to tell
        return made
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{path}: not a forecast ({str(error).splitlines()[0]}); wanted a file that --store wrote"
        ) from error


def is_one(path: str | Path) -> bool:
    """Whether a file looks like a stored forecast, and not like the fit that one is made by."""
    try:
        found = folders.read_json(Path(path), "a forecast", changed=True)
    except InputError:
        return False
    return isinstance(found, dict) and {"made", "fit", "inputs"} <= found.keys()


def _float(name: str, value: object) -> float:
    """A number as JSON has it: neither a word that reads as one nor true or false."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} is {value!r}, no number")
    return float(value)
