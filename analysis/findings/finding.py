"""One law of a study: its constants or why there are none, how well it predicts, and its words.

Losses are in nats per token, N in non-embedding parameters, D in tokens, C in FLOP.
"""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from analysis import digits, laws
from analysis.confidence import LEVEL
from analysis.fit.estimate import Fit
from analysis.laws.law import Law
from analysis.table import Table

PRINTED = 1e-3  # share by which a law with its printed constants may be off at a run that it was fitted to
OF_RMS = 0.1  # and share of the scatter of the runs about it
MISFIT = 0.01  # p below which the scatter around a law is more than that among seeds

TITLES = {
    laws.Chinchilla: "L(N, D), Chinchilla's form",
    laws.KaplanND: "L(N, D), Kaplan's form",
    laws.KaplanN: "L(N)",
    laws.KaplanD: "L(D)",
    laws.KaplanC: "L(C)",
}
EXPONENTS = ("alpha", "beta", "alpha_N", "alpha_D", "alpha_C")  # constants that a sentence gives an interval for


@dataclasses.dataclass(frozen=True, eq=False)
class HeldOutPrediction:
    """Runs kept out of a fit, and what the law fitted to the others says of them; arrays of one entry per run.

    `D` is in the tokens that the law is about; `low` and `high` bound a single run: the law's uncertainty, the scatter
    of runs around it and the law's own error beyond its runs; `law_low` and `law_high` the law alone. They are 0 and
    infinity where the fit to the others is too doubtful to bound anything.
    """

    rule: str
    N: np.ndarray
    D: np.ndarray
    measured: np.ndarray
    predicted: np.ndarray
    low: np.ndarray
    high: np.ndarray
    law_low: np.ndarray
    law_high: np.ndarray

    @property
    def off(self) -> np.ndarray:
        """predicted / measured - 1."""
        return self.predicted / self.measured - 1

    @property
    def rms(self) -> float:
        return math.sqrt(float(np.mean(self.off**2)))

    @property
    def mean(self) -> float:
        return float(self.off.mean())

    @property
    def bounded(self) -> bool:
        """Whether there are intervals at all."""
        return bool(np.all(np.isfinite(self.high)))

    @property
    def inside(self) -> int:
        """How many of the losses lie inside their intervals of one run."""
        return int(((self.low <= self.measured) & (self.measured <= self.high)).sum())

    @property
    def inside_law(self) -> int:
        """How many lie inside those of the law alone."""
        return int(((self.law_low <= self.measured) & (self.measured <= self.law_high)).sum())

    @property
    def fails(self) -> bool:
        """Whether most of them do not."""
        return self.bounded and 2 * self.inside < len(self.off)

    def sentence(self) -> str:
        n, inside = len(self.off), self.inside
        losses, mean = "loss" if n == 1 else f"{n} losses", digits.percent(self.mean, sign=True)
        off = mean if n == 1 else f"{digits.percent(self.rms)} rms"
        said = f"Fitted without {self.rule}, it predicts the {losses} there with an error of {off}"
        if not self.bounded:
            return (
                f"{said}; that fit is doubtful, and no interval is given: other constants that suit the smaller runs "
                "part ways there."
            )
        if n == 1:
            run, law = ("inside" if n_inside else "outside" for n_inside in (inside, self.inside_law))
            return f"{said}, {run} the {digits.percent(LEVEL)} interval of one run, {law} that of the law."
        return (
            f"{said} ({mean} on average; {inside} of {n} measured losses inside the {digits.percent(LEVEL)} interval "
            f"of one run, {self.inside_law} inside that of the law)."
        )

    def to_dict(self) -> dict[str, Any]:
        columns = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "rule"}
        return {
            "rule": self.rule,
            "rms": self.rms,
            "mean": self.mean,
            **{name: [float(v) for v in column] for name, column in columns.items()},
        }


@dataclasses.dataclass(frozen=True, eq=False)
class Finding:
    """One law: its constants from the runs that it is about, or the sentence why these runs do not identify it.

    `evidence` says why the law may be fitted to these rows; `table` holds them. `edge` says why those at the end of
    the range may not be what the law is about. `drawn_from` counts the rows given of which an envelope was drawn.
    """

    law: type[Law]
    fit: Fit | None
    why: str = ""
    evidence: str = ""
    table: Table | None = None
    edge: str = ""
    held_out_prediction: HeldOutPrediction | None = None
    drawn_from: int = 0

    @property
    def title(self) -> str:
        return TITLES[self.law]

    @property
    def sound(self) -> bool:
        return self.fit is not None and self.fit.sound

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why a fit that is sound as such is doubtful as a law."""
        held, said = self.held_out_prediction, [self.edge] if self.edge else []
        if held and held.fails:
            n = len(held.off)
            what = "the loss lies" if n == 1 else f"{n - held.inside} of {n} losses lie"
            said.append(f"fitted without {held.rule}, {what} outside its {digits.percent(LEVEL)} interval there")
        return tuple(said)

    @property
    def rows(self) -> str:
        """What the law was fitted to, and of how many that were given: runs, rows of so many runs, or points of an
        envelope."""
        n, given = (self.fit.n_runs, self.fit.n_given) if self.fit else (0, 0)
        if self.law is laws.KaplanC:
            return f"{n} points of the envelope of {self.drawn_from} rows"
        if self.table is None or len(self.table) != n or self.table.n_runs == n:
            return f"{n} of {given} runs"
        return f"{n} of {given} rows ({self.table.n_runs} {digits.plural(self.table.n_runs, 'run', 'runs')})"

    def sentence(self) -> str:
        """The law in one sentence."""
        if self.fit is None:
            return f"{self.title} is not identified: {self.why}."
        if not self.sound:
            return f"{self.title}: the constants are doubtful ({self.fit.status}: {self.fit.why})."
        exponents = ", ".join(f"{name} {interval}" for name, _, interval in constants(self.fit) if name in EXPONENTS)
        said = f"{self.rows} (the lowest loss at each compute)" if self.law is laws.KaplanC else self.rows
        return (
            f"{self.title}{' (doubtful)' if self.doubts else ''}: L = {formula(self)}, from {said}; "
            f"{digits.percent(LEVEL)} intervals {exponents}.{self.doubt()}"
        )

    def doubt(self) -> str:
        """Why the law is doubtful, in a sentence after a space; empty where nothing makes it so."""
        return f" Doubtful: {'; '.join(self.doubts)}." if self.doubts else ""

    def forecast(self) -> str:
        """How well the smaller runs predict the largest; empty where that was not tried."""
        return self.held_out_prediction.sentence() if self.held_out_prediction else ""

    def misfit(self) -> str:
        """That the law misses the runs by more than their seeds scatter; empty where nothing shows it."""
        test = self.fit.lack_of_fit if self.fit else None
        if self.fit is None or test is None or test.p > MISFIT:
            return ""
        return (
            f"It misses the runs by {digits.percent(self.fit.residuals.rms)} rms, more than their seeds scatter "
            f"(F({test.degrees[0]}, {test.degrees[1]}) = {digits.typed(test.F, 3)}, p = {digits.plain(test.p, 2)}): "
            "the form, or the shape or tuning of some sizes, is not right to within the noise."
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "law": self.law.name,
            "identified": self.sound,
            "sentence": self.sentence(),
            "why": self.why,
            "evidence": self.evidence,
            "doubts": list(self.doubts),
            "misfit": self.misfit(),
            "fit": self.fit.to_dict() if self.fit else None,
            "runs": self.table["run"].tolist() if self.table is not None and "run" in self.table else [],
            "held_out_prediction": self.held_out_prediction.to_dict() if self.held_out_prediction else None,
        }


def constants(found: Fit) -> Iterator[tuple[str, str, str]]:
    """(name, value, interval) of each constant, to the digits that the interval supports."""
    for name, value in found.constants.items():
        yield (name, *digits.constant(value, *found.intervals[name]))


def formula(finding: Finding) -> str:
    """The law with its numbers, to the fewest digits that give the fitted losses at its rows; exponents follow a caret.

    The losses agree within PRINTED and within OF_RMS of the scatter about the law.
    """
    fit, rows = finding.fit, finding.table
    assert fit is not None
    assert rows is not None
    law = fit.law
    numbers = fit.constants
    if isinstance(law, laws.KaplanND):
        numbers = {"N_c": law.N_c, "ratio": law.alpha_N / law.alpha_D, "D_c": law.D_c, "alpha_D": law.alpha_D}
    columns = [rows[name] for name in law.inputs]
    fitted = law(*columns)

    def off(written: dict[str, float]) -> float:
        return float(np.max(np.abs(_of_numbers(type(law), written)(*columns) / fitted - 1)))

    # Rounding errors of 1e-9 are left to laws without scatter.
    c = digits.together(numbers, off, min(PRINTED, max(OF_RMS * fit.residuals.rms, 1e-9)))
    match law:
        case laws.Chinchilla():
            return f"{c['E']} + {c['A']} / N^{c['alpha']} + {c['B']} / D^{c['beta']}"
        case laws.KaplanND():
            return f"[({c['N_c']} / N)^{c['ratio']} + {c['D_c']} / D]^{c['alpha_D']}"
        case laws.KaplanN():
            return f"({c['N_c']} / N)^{c['alpha_N']}"
        case laws.KaplanD():
            return f"({c['D_c']} / D)^{c['alpha_D']}"
        case laws.KaplanC():
            return f"({c['C_c']} / C)^{c['alpha_C']}"
    raise AssertionError(law)


def _of_numbers(law: type[Law], numbers: dict[str, float]) -> Law:
    """The law whose formula has these numbers."""
    if "ratio" in numbers:
        numbers = {name: number for name, number in numbers.items() if name != "ratio"} | {
            "alpha_N": numbers["ratio"] * numbers["alpha_D"]
        }
    return law(**numbers)
