"""A folder of dated forecasts: what was promised when, what came of it, and how well the intervals held.

DIR/large.json            a forecast that `scaling predict --store` or `scaling plan --store` wrote before the run
DIR/large.measured.json   what the run gave, kept once: neither file is ever rewritten
"""

import dataclasses
import datetime
import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis import forecast
from analysis.forecast import Forecast, Score
from analysis.jsonable import jsonable
from scaling import folders
from scaling.errors import InputError

MEASURED = ".measured.json"
HEAD = ("forecast", "made", "by", "at", "predicted", "law", "one run", "measured", "error", "inside")


@dataclasses.dataclass(frozen=True)
class Entry:
    """A forecast of the folder, and its score once the run has ended.

    Attributes:
        scored: when it was scored, ISO 8601, UTC; empty before.
        changed: whether the forecast's file is no longer what was stored, or what was scored.
    """

    name: str
    forecast: Forecast
    measured: float = math.nan
    scored: str = ""
    changed: bool = False

    @property
    def score(self) -> Score | None:
        return Score(self.forecast, self.measured) if self.scored else None

    def cells(self) -> tuple[str, ...]:
        """A row of the table, in the order of `HEAD`."""
        f, score = self.forecast, self.score
        ends = [f"{low:.4f} to {high:.4f}" for low, high in ((f.law_low, f.law_high), (f.low, f.high))]
        verdict = "" if score is None or not f.bounded else "yes" if score.inside else "no"
        return (
            self.name,
            f.made[:10],
            f.by,
            f.at,
            f"{f.value:.4f}",
            *(ends if f.bounded else ("none", "none")),
            "" if score is None else f"{self.measured:.4f}",
            "" if score is None else f"{score.error:+.2%}",
            "file changed" if self.changed else verdict,
        )

    def to_dict(self) -> dict[str, Any]:
        score = self.score
        told = self.forecast.to_dict()
        del told["fit"]
        return jsonable(
            {"name": self.name, **told, "by": self.forecast.by}
            | {"measured": None, "error": None, "inside": None, "scored": self.scored, "changed": self.changed}
            | ({"measured": self.measured, "error": score.error} if score else {})
            | ({"inside": score.inside} if score and self.forecast.bounded else {})
        )


@dataclasses.dataclass(frozen=True)
class Calibration:
    """How the intervals of one run held, among forecasts of one level that were scored.

    Attributes:
        runs: how many different runs the forecasts are of: several forecasts of one run share its luck.
        rms: of measured / predicted - 1.
        half_width: median half width of the intervals, relative: how sharp the forecasts are.
    """

    level: float
    inside: int
    forecasts: int
    runs: int
    rms: float
    half_width: float

    def text(self) -> str:
        runs = f"{self.runs} runs" if self.runs > 1 else "one run"
        shared = f", of {runs}" if self.runs < self.forecasts else ""
        return (
            f"{self.inside} of {self.forecasts} inside {100 * self.level:.4g} %{shared}: "
            f"error {self.rms:.2%} rms, intervals reach {self.half_width:.2%} (median)"
        )


@dataclasses.dataclass(frozen=True)
class Registry:
    """The forecasts of a folder by date, and files in it that are none."""

    folder: Path
    entries: tuple[Entry, ...]
    others: tuple[str, ...]

    @property
    def calibration(self) -> tuple[Calibration, ...]:
        """One for each level, the highest first."""
        scored = [e for e in self.entries if e.score and e.forecast.bounded and not e.changed]
        levels = sorted({e.forecast.level for e in scored}, reverse=True)
        return tuple(_calibration(level, [e for e in scored if e.forecast.level == level]) for level in levels)

    def notes(self) -> list[str]:
        waiting = sum(not e.scored for e in self.entries)
        unbounded = sum(bool(e.scored) and not e.forecast.bounded for e in self.entries)
        changed = [e.name for e in self.entries if e.changed]
        told = [
            (waiting, f"{waiting} of {len(self.entries)} not scored yet"),
            (unbounded, f"{unbounded} scored without an interval: their fits were too doubtful to bound anything"),
            (changed, f"changed after they were stored, and not counted: {', '.join(changed)}"),
            (self.others, f"not forecasts: {', '.join(self.others)}"),
        ]
        return [line for any_, line in told if any_]

    def to_dict(self) -> dict[str, Any]:
        return jsonable(
            {
                "forecasts": [e.to_dict() for e in self.entries],
                "calibration": [dataclasses.asdict(c) for c in self.calibration],
                "notes": self.notes(),
            }
        )

    def text(self) -> str:
        """The table as a person reads it."""
        rows = [HEAD, *(e.cells() for e in self.entries)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([*lines, *(c.text() for c in self.calibration), *(f"Note: {n}" for n in self.notes())])


def read(folder: str | Path) -> Registry:
    """The forecasts in a folder.

    Raises:
        InputError: no such folder, no forecast in it, or a score that cannot be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; wanted one that scaling predict --store {folder}/ writes to")
    files = sorted(path for path in folder.glob("*.json") if not path.name.endswith(MEASURED))
    ours = [path for path in files if forecast.is_one(path)]
    if not ours:
        raise InputError(f"{folder}: holds no forecast; make one with scaling predict FIT ... --store {folder}/")
    entries = sorted((_entry(path) for path in ours), key=lambda e: (e.forecast.made, e.name))
    return Registry(folder, tuple(entries), tuple(path.name for path in files if path not in ours))


def keep(folder: str | Path, name: str, measured: float) -> Entry:
    """Scores a forecast of the folder and keeps the score beside it, once.

    Args:
        name: of its file, with or without .json.
        measured: what the run gave, in the unit of the forecast's target.

    Raises:
        InputError: no such forecast, a measurement that is not above 0, or a score that is there already.
    """
    path = file_of(folder, name)
    forecast.score(path, measured)  # refuses what is no measurement
    value = {"measured": float(measured), "scored": _now(), "forecast_sha256": _digest(path)}
    try:
        forecast.write_once(_beside(path), value)
    except FileExistsError:
        before = _entry(path).measured
        raise InputError(
            f"{path.stem}: scored already, with {before:g}, and scores are not rewritten; another measurement of it "
            "needs a forecast of its own"
        ) from None
    return _entry(path)


def file_of(folder: str | Path, name: str) -> Path:
    """The file of a forecast in the folder.

    Raises:
        InputError: none of that name.
    """
    path = Path(folder) / (name if name.endswith(".json") else f"{name}.json")
    if not path.is_file():
        there = ", ".join(sorted(p.stem for p in Path(folder).glob("*.json") if not p.name.endswith(MEASURED)))
        raise InputError(f"{folder}: no forecast is called {name!r}; there are {there or 'none'}")
    return path


def _entry(path: Path) -> Entry:
    made, changed = forecast.read(path, changed=True), False
    try:
        forecast.read(path)
    except folders.Changed:
        changed = True
    beside = _beside(path)
    if not beside.exists():
        return Entry(path.stem, made, changed=changed)
    try:
        kept: Mapping[str, Any] = folders.read_json(beside, "a score")
        measured = forecast.measurement(float(kept["measured"]))
        changed = changed or kept["forecast_sha256"] != _digest(path)
        return Entry(path.stem, made, measured, str(kept["scored"]), changed)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{beside}: not a score ({error}); wanted what scaling forecast --measured writes") from error


def _beside(path: Path) -> Path:
    return path.with_name(path.stem + MEASURED)


def _digest(path: Path) -> str:
    return hashlib.sha256(folders.read_bytes(path, "a forecast")).hexdigest()


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _calibration(level: float, entries: Sequence[Entry]) -> Calibration:
    scores = [Score(e.forecast, e.measured) for e in entries]
    widths = [(s.forecast.high - s.forecast.low) / 2 / s.forecast.value for s in scores]
    runs = {(s.forecast.target, s.measured) for s in scores}  # one may be asked for by several counts of N
    return Calibration(
        level,
        sum(s.inside for s in scores),
        len(scores),
        len(runs),
        math.sqrt(float(np.mean([s.error**2 for s in scores]))),
        float(np.median(widths)),
    )
