"""What the runs of a study say, worked out once: the laws that they identify and the checks on which these rest.

The page (`analysis.report`), the end of a study and its JSON all show one `Findings`. Losses are in nats per token, N
in non-embedding parameters, D in tokens, C in FLOP.
"""

import dataclasses
import json
import math
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from analysis import architecture, digits, laws
from analysis.findings import answers, study_laws
from analysis.findings.answers import Answers
from analysis.findings.checks import Doubling, RateCheck, last_doublings, own_rates, rate_checks
from analysis.findings.finding import TITLES, Finding
from analysis.jsonable import jsonable
from analysis.laws.law import Law
from analysis.replicates import Noise, seed_noise
from analysis.table import Excluded, Table

DRAWS = 200  # bootstrap refits: the secondary interval
WIDTH = 110  # of a terminal line
VARIED = "The learning rate is what these runs vary."
NONE_LEFT = "no run is left: each at the study's own rates diverged, or is not finished"


@dataclasses.dataclass(frozen=True, eq=False)
class Findings:
    """What the runs of a study say.

    Attributes:
        everything: the table as it was given, but for models without layers.
        table: the runs that the laws may use: finished, of one architecture, at the study's own rates.
        laws: one Finding per law, in the order of TITLES.
        answers: what the kinds of study that these runs are say, besides the laws.
        warnings: what a reader must know before trusting the rest.
    """

    everything: Table
    table: Table
    laws: tuple[Finding, ...]
    noise: Noise | None
    rate_rule: str
    rates: tuple[RateCheck, ...]
    untried: tuple[str, ...]
    doublings: tuple[Doubling, ...]
    excluded: tuple[Excluded, ...]
    answers: Answers
    warnings: tuple[str, ...]

    def law(self, law: type[Law]) -> Finding:
        return next(finding for finding in self.laws if finding.law is law)

    @property
    def envelope(self) -> Table | None:
        """The points of (C, loss) that L(C) is about."""
        return self.law(laws.KaplanC).table

    @property
    def surface(self) -> Finding | None:
        """The law of N and D: Chinchilla's form where these runs identify it, else Kaplan's, else None."""
        return next((f for f in self.laws if f.sound and len(f.law.inputs) == 2), None)

    def noise_sentence(self) -> str:
        return (
            self.noise.sentence() if self.noise else "Seed noise is not known: no two runs differ in their seed alone."
        )

    def overview(self) -> str:
        table = self.table
        parts = [self.everything.counted, f"N {_range(table, 'params')}", f"D {_range(table, 'tokens')} tokens"]
        if len(table):
            i = int(np.nanargmin(table["loss"]))
            per_byte = float(table["bits_per_byte"][i]) if table.has("bits_per_byte") else math.nan
            bits = f", {per_byte:.3f} bits per byte" if math.isfinite(per_byte) else ""
            parts.append(f"lowest loss {table['loss'][i]:.4f} nats per token{bits}")
        return "; ".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; what is not a finite number is None."""
        said = {
            "source": self.everything.source,
            "overview": self.overview(),
            "runs": len(self.everything),
            "fitted_runs": len(self.table),
            **self.answers.to_dict(),
            "laws": [finding.to_dict() for finding in self.laws],
            "seed_noise": dataclasses.asdict(self.noise) if self.noise else None,
            "rate_rule": self.rate_rule,
            "rate_checks": [dataclasses.asdict(check) for check in self.rates],
            "rates_not_tried": list(self.untried),
            "doublings": [dataclasses.asdict(d) for d in self.doublings],
            "excluded": [{"runs": list(e.rows), "reason": e.reason} for e in self.excluded],
            "warnings": list(self.warnings),
            "notes": list(self.everything.notes),
        }
        return jsonable(said)

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=1, allow_nan=False)

    def text(self) -> str:
        """The findings for a terminal."""
        lines = [self.overview(), ""]
        lines += [*self.answers.sentences()]
        if self.answers.no_laws:
            lines.append(f"No laws: {self.answers.no_laws}.")
        for finding in () if self.answers.no_laws else self.laws:
            lines.append(finding.sentence())
            if finding.sound:
                lines += [f"    {line}" for line in (finding.misfit(), finding.forecast()) if line]
        lines += ["", self.noise_sentence()]
        lines += [f"Warning: {warning}" for warning in self.warnings]
        lines += [f"Left out: {len(e.rows)} ({e.reason})" for e in self.excluded]
        lines += [f"Note: {note}" for note in self.everything.notes]
        return "\n".join(
            textwrap.fill(line, WIDTH, subsequent_indent=" " * (4 + 4 * line.startswith(" "))) for line in lines
        )


def find(table: Table, curves: Table | None = None, *, draws: int = DRAWS) -> Findings:
    """What the runs of a table say.

    Args:
        table: one row per run: params, tokens, loss; the laws that need other columns are not identified without them.
        curves: losses along training, as `analysis.records.read` gives them; without them L(C) sees ends alone.
        draws: bootstrap refits per law.

    Raises:
        InputError: a column that everything needs is missing or holds something else than numbers.
    """
    everything = _with_layers(table)
    beside = answers.compared(_finished(everything))
    table = everything if beside.positions else _of_one_architecture(everything)
    swept = answers.sweep(table)
    own, rule = (np.ones(len(table), bool), VARIED) if swept else own_rates(table)
    fitted = _finished(table.where(own, "trained at another learning rate than the study's own, to check that rate"))
    if len(fitted):
        fitted.positive("params", "tokens", "loss")
    noise = seed_noise(_finished(table))
    if swept:
        said = Answers(tuning=swept)
    elif beside.positions:
        said = beside
    else:
        said = dataclasses.replace(answers.find(fitted, sigma=noise.sigma if noise else None), choices=beside.choices)
    doublings = tuple(last_doublings(fitted))
    if said.no_laws:
        found = tuple(Finding(law, None, said.no_laws) for law in TITLES)
    elif len(fitted):
        found = (
            study_laws.fitted(laws.Chinchilla, fitted, draws),
            study_laws.fitted(laws.KaplanND, fitted, draws),
            study_laws.law_of_size(fitted, doublings, draws),
            study_laws.law_of_data(fitted, draws),
            study_laws.law_of_compute(fitted, curves, draws),
        )
    else:
        found = tuple(Finding(law, None, NONE_LEFT) for law in TITLES)
    rates, untried = ([], []) if swept else rate_checks(table, own)
    return Findings(
        everything=everything,
        table=fitted,
        laws=found,
        noise=noise,
        rate_rule=rule,
        rates=tuple(rates),
        untried=tuple(untried),
        doublings=doublings,
        excluded=tuple(e for e in fitted.excluded if e.rows),
        answers=said,
        warnings=tuple(_warnings(rates, untried)),
    )


def _range(table: Table, name: str) -> str:
    column = table[name]
    if not len(column):
        return "–"
    low, high = digits.short(np.nanmin(column)), digits.short(np.nanmax(column))
    return low if low == high else f"{low} to {high}"


# --- which runs


def _with_layers(table: Table) -> Table:
    """A law is of N above 0."""
    if not table.has("params"):
        return table
    return table.where(table["params"] != 0, "a model without layers: its N is 0")


def _of_one_architecture(table: Table) -> Table:
    """The models of the commonest architecture: a law is of one."""
    if not len(table):
        return table
    what = architecture.architectures(table)
    base = architecture.commonest(what)
    others = ", ".join(dict.fromkeys(f"({architecture.differences(one, base)})" for one in what if one != base))
    return table.where(
        np.array([one == base for one in what]), f"of another architecture than most runs have: {others}"
    )


def _finished(table: Table) -> Table:
    if "status" not in table:
        return table
    status = table["status"]
    table = table.where(status != "diverged", "diverged: its loss was not a number, or ended above where it began")
    return table.where(table.ended(), "not finished yet")


# --- what to be told


def _warnings(rates: Sequence[RateCheck], untried: Sequence[str]) -> Iterator[str]:
    for check in rates:
        best, where = check.best, f"At N = {digits.short(check.params)}, D = {digits.short(check.tokens)}"
        if check.diverged:
            others = (
                f"{best.rate:.3g} reaches a loss of {best.loss:.4f} there" if best else "so did all others tried there"
            )
            yield f"{where} training diverged at the study's own rate {check.rate:.3g}; {others}."
        elif best:
            yield (
                f"{where} the learning rate "
                f"{best.rate:.3g} gives a loss {digits.percent(-best.change)} lower than the study's own "
                f"{check.rate:.3g}: the laws describe badly tuned runs there, and their exponents may be off."
            )
    yield from untried
