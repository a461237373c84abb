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

    `D` is in the tokens that the law is about; `low` and `high` bound a single run: the law's own uncertainty and the
    scatter of runs around it.
    """

    rule: str
    N: np.ndarray
    D: np.ndarray
    measured: np.ndarray
    predicted: np.ndarray
    low: np.ndarray
    high: np.ndarray

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

    def sentence(self) -> str:
        n, inside = len(self.off), int(((self.low <= self.measured) & (self.measured <= self.high)).sum())
        if n == 1:
            where = "inside" if inside else "outside"
            return (
                f"Fitted without {self.rule}, it predicts the loss there with an error of "
                f"{digits.percent(self.mean, sign=True)}, {where} the {digits.percent(LEVEL)} interval."
            )
        return (
            f"Fitted without {self.rule}, it predicts the {n} losses there with an error of "
            f"{digits.percent(self.rms)} rms ({digits.percent(self.mean, sign=True)} on average; {inside} of {n} "
            f"inside the {digits.percent(LEVEL)} interval)."
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

    `evidence` says why the law may be fitted to these rows; `table` holds them.
    """

    law: type[Law]
    fit: Fit | None
    why: str = ""
    evidence: str = ""
    table: Table | None = None
    held_out_prediction: HeldOutPrediction | None = None

    @property
    def title(self) -> str:
        return TITLES[self.law]

    @property
    def sound(self) -> bool:
        return self.fit is not None and self.fit.sound

    def sentence(self) -> str:
        """The law in one sentence."""
        if self.fit is None:
            return f"{self.title} is not identified: {self.why}."
        if not self.sound:
            return f"{self.title}: the constants are doubtful ({self.fit.status}: {self.fit.why})."
        exponents = ", ".join(f"{name} {interval}" for name, _, interval in constants(self.fit) if name in EXPONENTS)
        rows = "points of the envelope" if self.law is laws.KaplanC else "runs"
        return (
            f"{self.title}: L = {formula(self.fit)}, from {self.fit.n_runs} {rows}; "
            f"{digits.percent(LEVEL)} intervals {exponents}."
        )

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
            f"(F({test.degrees[0]}, {test.degrees[1]}) = {test.F:.3g}, p = {digits.plain(test.p, 2)}): the form, or "
            "the shape or tuning of some sizes, is not right to within the noise."
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "law": self.law.name,
            "identified": self.sound,
            "sentence": self.sentence(),
            "why": self.why,
            "evidence": self.evidence,
            "misfit": self.misfit(),
            "fit": self.fit.to_dict() if self.fit else None,
            "runs": self.table["run"].tolist() if self.table is not None and "run" in self.table else [],
            "held_out_prediction": self.held_out_prediction.to_dict() if self.held_out_prediction else None,
        }


def constants(found: Fit) -> Iterator[tuple[str, str, str]]:
    """(name, value, interval) of each constant, to the digits that the interval supports."""
    for name, value in found.constants.items():
        yield (name, *digits.constant(value, *found.intervals[name]))


def formula(found: Fit) -> str:
    """The law with its numbers; exponents follow a caret."""
    c = {name: value for name, value, _ in constants(found)}
    match found.law:
        case laws.Chinchilla():
            return f"{c['E']} + {c['A']} / N^{c['alpha']} + {c['B']} / D^{c['beta']}"
        case laws.KaplanND():
            ratio = f"{found.law.alpha_N / found.law.alpha_D:.3g}"
            return f"[({c['N_c']} / N)^{ratio} + {c['D_c']} / D]^{c['alpha_D']}"
        case laws.KaplanN():
            return f"({c['N_c']} / N)^{c['alpha_N']}"
        case laws.KaplanD():
            return f"({c['D_c']} / D)^{c['alpha_D']}"
        case laws.KaplanC():
            return f"({c['C_c']} / C)^{c['alpha_C']}"
    raise AssertionError(found.law)
