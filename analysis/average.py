"""A forecast that carries the doubt about the form: several laws, with and without a floor, by their held-out weight.

Each law predicts with its own interval; the average lies at the weighted mean of their logarithms (of their values,
where residuals are not logarithmic), and its interval adds how far they lie apart. So a form that these rows like
better says more, and one that they can't rule out is heard.
"""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis import forms
from analysis.confidence import t_quantile
from analysis.digits import typed
from analysis.fit import fit
from analysis.fit.estimate import Fit, Prediction
from analysis.fit.rows import FitError
from analysis.jsonable import jsonable
from analysis.laws import Law
from analysis.table import Table
from scaling import folders
from scaling.errors import InputError

AVERAGE = "average"  # in place of a law: of the forms that suit the table
LEAST = 0.01  # weight below which a form is left out


@dataclasses.dataclass(frozen=True, eq=False)
class Average:
    """Fits of one target over the same inputs, and their weights, which add up to 1; the heaviest first."""

    fits: tuple[Fit, ...]
    weights: tuple[float, ...]
    notes: tuple[str, ...] = ()

    @property
    def target(self) -> str:
        return self.fits[0].target

    @property
    def level(self) -> float:
        return self.fits[0].level

    @property
    def name(self) -> str:
        return " + ".join(f"{w:.2f} {f.law.name}" for f, w in zip(self.fits, self.weights, strict=True))

    def at_level(self, level: float) -> Self:
        """The same with intervals of another level."""
        return dataclasses.replace(self, fits=tuple(dataclasses.replace(f, level=level) for f in self.fits))

    def predict(self, *, run: bool = False, **columns: ArrayLike) -> Prediction:
        """The average at these inputs, with an interval as `Fit.predict` has it: floats, or arrays that broadcast."""
        said = [f.predict(run=run, **columns) for f in self.fits]
        log = self.fits[0].objective_kind.log
        w = np.array(self.weights)
        centres, lows, highs = np.moveaxis(np.array(said, np.float64), 1, 0)  # f ... each
        if log:
            centres, lows, highs = (np.log(np.maximum(part, 1e-300)) for part in (centres, lows, highs))
        centre = np.tensordot(w, centres, 1)
        apart = t_quantile(self.level, math.inf) ** 2 * np.tensordot(w, (centres - centre) ** 2, 1)
        below, above = (np.sqrt(np.tensordot(w, (end - centres) ** 2, 1) + apart) for end in (lows, highs))
        parts = [np.exp(part) if log else part for part in (centre, centre - below, centre + above)]
        if (limits := self.fits[0].limits) is not None:
            parts = [np.clip(part, *limits) for part in parts]
        return Prediction(*(part[()] for part in parts))

    def bounded(self, **columns: ArrayLike) -> NDArray[np.bool_]:
        """Where an interval is given: where each form gives one."""
        return np.all([f.bounded(**columns) for f in self.fits], 0)

    def to_dict(self) -> dict[str, Any]:
        forms_ = [{"weight": w, "fit": f.to_dict()} for f, w in zip(self.fits, self.weights, strict=True)]
        return {"average": forms_, "notes": list(self.notes)}

    def to_json(self, path: str | Path) -> None:
        text = json.dumps(folders.sealed(jsonable(self.to_dict())), indent=1, allow_nan=False)
        folders.write(Path(path), text + "\n")

    @classmethod
    def from_dict(cls, d: dict[str, Any]) -> Self:
        """An average from what `to_dict` gives.

        Raises:
            InputError: it is none.
        """
        try:
            parts = [(float(each["weight"]), Fit.from_json(json.dumps(each["fit"]))) for each in d["average"]]
            return cls(tuple(f for _, f in parts), tuple(w for w, _ in parts), tuple(map(str, d["notes"])))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"not an average of fits ({error}); wanted what `scaling fit --choose --average TABLE --out FILE` wrote"
            ) from error

    def alone(self, **columns: float) -> list[str]:
        """What each form says by itself, with both intervals; none of a doubtful form beyond its runs."""
        lines = []
        for found, weight in zip(self.fits, self.weights, strict=True):
            said, law = found.predict(run=True, **columns), found.predict(run=False, **columns)
            ends = f"law {law.low:.4f} to {law.high:.4f}, one run {said.low:.4f} to {said.high:.4f}"
            if out := found.beyond_limits(**columns):
                ends = f"no interval: {out}"
            elif not found.bounded(**columns):
                ends = f"no interval: {found.status}, {found.why}"
            lines.append(f"  {weight:>5.1%} {found.law.name} alone: {said.value:.4f} ({ends})")
        return lines

    def text(self) -> str:
        forms_ = "1 form" if len(self.fits) == 1 else f"{len(self.fits)} forms"
        used, given = self.fits[0].n_runs, self.fits[0].n_given
        lines = [f"average of {forms_} on {used} of {given} rows, by what they gave the rows held out:"]
        for found, weight in zip(self.fits, self.weights, strict=True):
            values = ", ".join(f"{name} {typed(value, 4)}" for name, value in found.constants.items())
            lines.append(f"  {weight:>5.1%} {found.law.name}: {values}; {found.status}")
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])


def read(path: Path) -> Average | None:
    """The average in a file; None where it holds something else."""
    try:
        found = folders.read_json(path, "a fit")
    except InputError:  # told by whoever reads it as a fit
        return None
    return Average.from_dict(found) if isinstance(found, dict) and "average" in found else None


def average(choice: forms.Choice, laws: list[type[Law]], table: Table, **options: Any) -> Average:
    """All forms of a choice, fitted to all rows, by their held-out weight.

    A score that is ln(20) lower weighs 1/e, since the rows held out share the error of one fit.

    Args:
        choice: of these laws, from the same table.
        options: of `fit`.

    Raises:
        InputError: no law could be judged, or they predict from different columns.
    """
    if not choice.forms:
        raise InputError(f"nothing to average: {choice.verdict()}; {'; '.join(choice.unscored.values())}")
    by_name = {law.name: law for law in laws}
    if len({by_name[form.law].inputs for form in choice.forms}) > 1:
        told = "; ".join(f"{form.law} from {', '.join(by_name[form.law].inputs)}" for form in choice.forms)
        raise InputError(f"an average wants forms of the same columns, found {told}; choose among those of one kind")
    best = choice.forms[0].score
    fits, weights, notes = [], [], list(choice.unscored.values())
    for form in choice.forms:
        weight = math.exp((form.score - best) / forms.LUCK)
        if weight < LEAST:
            notes.append(f"{form.law} is left out: its score is {best - form.score:.1f} lower")
            continue
        try:
            found = fit(by_name[form.law], table, **options)
        except FitError as error:
            notes.append(f"{form.law} is left out: {error}")
            continue
        if not found.sound:
            notes.append(f"{form.law} is left out: {found.status}, {found.why}")
            continue
        fits.append(found)
        weights.append(weight)
    if not fits:
        raise InputError(f"nothing to average: {'; '.join(notes)}")
    shared = [note for note in fits[0].notes if all(note in found.notes for found in fits)]  # on the rows, mostly
    return Average(tuple(fits), tuple(w / sum(weights) for w in weights), (*shared, *notes))
