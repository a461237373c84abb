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

from analysis import answers, digits, laws
from analysis.admission import CONVERGED
from analysis.answers import Answers
from analysis.checks import (
    LEVEL,
    ONE_EPOCH,
    Doubling,
    Noise,
    RateCheck,
    last_doublings,
    mean_loss,
    own_rates,
    rate_checks,
    seed_noise,
    settings,
)
from analysis.estimate import Fit
from analysis.fit import fit
from analysis.frontier import lower_envelope
from analysis.jsonable import jsonable
from analysis.laws import Law
from analysis.rows import FitError, admitted
from analysis.table import Excluded, Table
from scaling.errors import InputError

DOUBLING = CONVERGED  # a quantity is ample where its last doubling lowered the loss by less than this share
DRAWS = 200  # bootstrap refits: the secondary interval
MISFIT = 0.01  # p below which the scatter around a law is more than that among seeds
WIDTH = 110  # of a terminal line
VARIED = "The learning rate is what these runs vary."
NONE_LEFT = "no run is left: each at the study's own rates diverged, or is not finished"
LEAST = 3  # sizes or data sets that a law of one variable is fitted to

TITLES = {
    laws.Chinchilla: "L(N, D), Chinchilla's form",
    laws.KaplanND: "L(N, D), Kaplan's form",
    laws.KaplanN: "L(N)",
    laws.KaplanD: "L(D)",
    laws.KaplanC: "L(C)",
}
EXPONENTS = ("alpha", "beta", "alpha_N", "alpha_D", "alpha_C")  # constants that a sentence gives an interval for


@dataclasses.dataclass(frozen=True, eq=False)
class Foretold:
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
        losses = digits.plural(n, "loss", "losses")
        return (
            f"Fitted without {self.rule}, it foretells the {n} {losses} there with an error of "
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
    foretold: Foretold | None = None

    @property
    def title(self) -> str:
        return TITLES[self.law]

    @property
    def sound(self) -> bool:
        return self.fit is not None and self.fit.status == "converged"

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
        """How well the smaller runs foretell the largest; empty where that was not tried."""
        return self.foretold.sentence() if self.foretold else ""

    def misfit(self) -> str:
        """That the law misses the runs by more than their seeds scatter; empty where nothing shows it."""
        test = self.fit.lack_of_fit if self.fit else None
        if self.fit is None or test is None or test.p > MISFIT:
            return ""
        return (
            f"It misses the runs by {digits.percent(self.fit.residuals.rms)} rms, more than their seeds scatter "
            f"(F({test.degrees[0]}, {test.degrees[1]}) = {test.F:.3g}, p = {digits.plain(test.p, 2)}): the form, or "
            "the tuning of some sizes, is not right to within the noise."
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
            "foretold": self.foretold.to_dict() if self.foretold else None,
        }


@dataclasses.dataclass(frozen=True, eq=False)
class Findings:
    """What the runs of a study say.

    Attributes:
        everything: the table as it was given.
        table: the runs that the laws may use: finished, at the study's own rates.
        laws: one Finding per law, in the order of TITLES.
        envelope: the points of (C, loss) that L(C) was fitted to.
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
    envelope: Table | None
    answers: Answers
    warnings: tuple[str, ...]

    def law(self, law: type[Law]) -> Finding:
        return next(finding for finding in self.laws if finding.law is law)

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
        parts = [f"{len(self.everything)} runs", f"N {_range(table, 'params')}", f"D {_range(table, 'tokens')} tokens"]
        if len(table):
            i = int(np.nanargmin(table["loss"]))
            bits = f", {table['bits_per_byte'][i]:.3f} bits per byte" if table.has("bits_per_byte") else ""
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
    swept = answers.sweep(table)
    own, rule = (np.ones(len(table), bool), VARIED) if swept else own_rates(table)
    fitted = _finished(table.where(own, "trained at another learning rate than the study's own, to check it"))
    if len(fitted):
        fitted.positive("params", "tokens", "loss")
    noise = seed_noise(_finished(table))
    said = Answers(tuning=swept) if swept else answers.find(fitted, sigma=noise.sigma if noise else None)
    doublings = tuple(last_doublings(fitted))
    envelope = compute_envelope(fitted, curves) if len(fitted) else None
    if said.no_laws:
        found = tuple(Finding(law, None, said.no_laws) for law in TITLES)
    elif len(fitted):
        found = (
            _fitted(laws.Chinchilla, fitted, draws),
            _fitted(laws.KaplanND, fitted, draws),
            _law_of_size(fitted, doublings, draws),
            _law_of_data(fitted, draws),
            _law_of_compute(fitted, envelope, draws),
        )
    else:
        found = tuple(Finding(law, None, NONE_LEFT) for law in TITLES)
    rates, untried = ([], []) if swept else rate_checks(table, own)
    return Findings(
        everything=table,
        table=fitted,
        laws=found,
        noise=noise,
        rate_rule=rule,
        rates=tuple(rates),
        untried=tuple(untried),
        doublings=doublings,
        excluded=tuple(e for e in fitted.excluded if e.rows),
        envelope=envelope,
        answers=said,
        warnings=tuple(_warnings(rates, untried)),
    )


# --- words for laws


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


def _range(table: Table, name: str) -> str:
    column = table[name]
    if not len(column):
        return "–"
    low, high = digits.short(np.nanmin(column)), digits.short(np.nanmax(column))
    return low if low == high else f"{low} to {high}"


# --- which runs


def _finished(table: Table) -> Table:
    if "status" not in table:
        return table
    status = table["status"]
    table = table.where(status != "diverged", "diverged: its loss was not a number, or ended above where it began")
    return table.where(table["status"] == "done", "not finished yet")


# --- laws


def _fitted(
    law: type[Law], table: Table, draws: int, *, evidence: str = "", hold: str = "params", **options: Any
) -> Finding:
    """The law on the rows of `table` that it is about (on all of them with every_run=True)."""
    missing = [name for name in law.inputs if not table.has(name)]
    if missing:
        return Finding(law, None, f"the table has no column {' and '.join(missing)}")
    try:
        rows = table if options.get("every_run") else admitted(law, table)
        found = fit(law, table, loss="squared", level=LEVEL, bootstrap=draws, **options)
    except InputError as error:
        return Finding(law, None, _reason(law, str(error)), evidence)
    finding = Finding(law, found, "", evidence, rows)
    if not finding.sound:
        return finding
    return dataclasses.replace(finding, foretold=_foretold(law, rows, found, hold, options))


def _foretold(law: type[Law], rows: Table, found: Fit, hold: str, options: dict[str, Any]) -> Foretold | None:
    """The law fitted without the largest `hold`, held against the runs that have it; None where too few remain."""
    largest = rows[hold] >= rows[hold].max() * (1 - 1e-9)
    if len(np.unique(rows[hold])) < LEAST + 1:
        return None
    try:
        smaller = fit(law, rows, loss="squared", level=LEVEL, hold_out=largest, **{**options, "every_run": True})
    except InputError:
        return None
    held, data = rows.where(largest, "fitted"), next((name for name in law.inputs if "tokens" in name), "tokens")
    said = smaller.band(*(held[name] for name in law.inputs), run=True)
    size = digits.short(float(held[hold][0]))
    what = f"size among its rows (N = {size})" if hold == "params" else f"data set among its rows ({size} tokens)"
    bounds = (np.asarray(part, float) for part in said)
    return Foretold(f"the largest {what}", held["params"], held[data], held[found.target], *bounds)


def _reason(law: type[Law], message: str) -> str:
    """Why a fit was refused, without the law's name that the sentence begins with already."""
    return message.removeprefix(f"{law.name}: ").removeprefix(f"{law.name} is not identified: ").rstrip(".")


def _law_of_size(table: Table, doublings: Sequence[Doubling], draws: int) -> Finding:
    """L(N): the runs with the most data of each size at which doubling D hardly changes the loss any more."""
    law = laws.KaplanN
    known = [d for d in doublings if math.isfinite(d.change)]
    if not known:
        return Finding(
            law, None, "no size was trained on two amounts of data, so nothing shows that its data were ample"
        )
    ample = [d for d in known if d.change < DOUBLING]
    span = f"lowered the loss by {digits.percent(min(d.change for d in known))}"
    if len(known) > 1:
        worst = max(known, key=lambda d: d.change)
        span += f" to {digits.percent(worst.change)} (most at N = {digits.short(worst.params)})"
    if len(ample) < LEAST:
        return Finding(
            law,
            None,
            f"the last doubling of D {span}; wanted under {digits.percent(DOUBLING)} at {LEAST} sizes or more, "
            f"found {len(ample)}",
        )
    keep = np.zeros(len(table), bool)
    for d in ample:
        most = table["unique_tokens"] == d.unique_tokens if "unique_tokens" in table else np.ones(len(table), bool)
        keep |= (table["params"] == d.params) & (table["tokens"] == d.tokens) & most
    evidence = (
        f"At these {len(ample)} sizes the last doubling of D lowered the loss by at most "
        f"{digits.percent(max(d.change for d in ample))}."
    )
    rows = table.where(keep, "not the most data of its size, or data that were not ample")
    target = "loss_min" if rows.has("loss_min") else "loss"
    return _fitted(law, rows, draws, evidence=evidence, every_run=True, target=target)


def _law_of_data(table: Table, draws: int) -> Finding:
    """L(D): the best size for each number of unique tokens, where a larger one would hardly do better."""
    law = laws.KaplanD
    if not (table.has("unique_tokens") and table.has("params")):
        return Finding(law, None, "the table has no column unique_tokens")
    try:
        early, best = admitted(laws.KaplanND, table), admitted(law, table)
    except FitError as error:
        return Finding(law, None, _reason(laws.KaplanND, _reason(law, str(error))))
    target = law.target if early.has(law.target) else law.fallback
    keep, changes = np.zeros(len(best), bool), []
    for D in np.unique(best["unique_tokens"]):
        rows = best["unique_tokens"] == D
        size = best["params"][rows][0]
        rivals = early.where(early["unique_tokens"] == D, "other data")
        smaller = rivals["params"][rivals["params"] < size]
        if (rivals["params"] > size).any():
            change = 0.0  # a larger size was no better
        elif len(smaller):
            next_ = smaller.max()
            ratio = mean_loss(best[target][rows]) / mean_loss(rivals[target][rivals["params"] == next_])
            change = 1 - ratio ** (math.log(2) / math.log(size / next_))
        else:
            continue
        changes.append(change)
        keep |= rows & (change < DOUBLING)
    sets, ample = len(np.unique(best["unique_tokens"])), sum(change < DOUBLING for change in changes)
    if sets < LEAST:
        return Finding(
            law,
            None,
            f"the runs that went on until their held-out loss stopped falling cover {sets} "
            f"{digits.plural(sets, 'data set', 'data sets')}; wanted {LEAST} or more",
        )
    if ample < LEAST:
        return Finding(
            law,
            None,
            f"a larger model would still do better on {sets - ample} of {sets} data sets: the last doubling of N "
            f"lowered the loss by up to {digits.percent(max(changes, default=math.nan))}; wanted under "
            f"{digits.percent(DOUBLING)} on {LEAST} or more",
        )
    evidence = f"On these {ample} data sets doubling N lowers the loss by under {digits.percent(DOUBLING)}."
    rows = best.where(keep, "a larger model would still do better on these data")
    return _fitted(law, rows, draws, evidence=evidence, hold="unique_tokens", every_run=True)


def compute_envelope(table: Table, curves: Table | None = None) -> Table | None:
    """The lowest loss reached with C FLOP: columns run, params, tokens, flops, loss, one row per point.

    The envelope is that of all recorded losses along the runs, averaged over the seeds of a setting first: the lowest
    of several seeds would be luck. Of a run whose learning rate decays only the end is a point: a run of the length
    that it had before would have ended lower. Compute below the end of every run is left out, and so are runs that
    repeat their data: L(C) is about data that do not limit.
    """
    if not table.has("flops"):
        return None
    if table.has("epochs"):
        table = table.where(table["epochs"] <= ONE_EPOCH, "repeats its data")
        if not len(table):
            return None
    cell = settings(table, "learning_rate")
    constant = np.isin(table["schedule"], ("constant", "const")) if "schedule" in table else np.zeros(len(table), bool)
    least = table["flops"].min() * (1 - 1e-9)
    rows: list[dict[str, Any]] = []
    kept: list[bool] = []
    for k in np.unique(cell):
        members = np.flatnonzero(cell == k)
        i, end = int(members[0]), float(table["tokens"][members].min())
        names = table["run"][members] if "run" in table else members.astype(str)
        points = {(end, float(table["flops"][i])): table["loss"][members].tolist()}
        if curves is not None:
            for j in np.flatnonzero(np.isin(curves["run"], names) & (curves["tokens"] < end)):
                points.setdefault((float(curves["tokens"][j]), float(curves["flops"][j])), []).append(curves["loss"][j])
        for (D, C), losses in points.items():
            if least <= C and len(losses) == len(members) and np.all(np.isfinite(losses)):
                loss = mean_loss(np.array(losses))
                rows.append({"run": names[0], "params": table["params"][i], "tokens": D, "flops": C, "loss": loss})
                kept.append(D == end or bool(constant[i]))
    chosen = [rows[i] for i in lower_envelope([r["flops"] for r in rows], [r["loss"] for r in rows]) if kept[i]]
    return dataclasses.replace(Table.from_rows(chosen, table.source), notes=()) if chosen else None


def _law_of_compute(table: Table, envelope: Table | None, draws: int) -> Finding:
    """L(C) through the envelope. Several points of one run, at a constant learning rate, are resampled together."""
    law = laws.KaplanC
    if envelope is None:
        return Finding(law, None, "no run saw its data just once" if table.has("flops") else "there is no column flops")
    runs = len(np.unique(envelope["run"]))
    if runs < LEAST:
        return Finding(
            law, None, f"{runs} {digits.plural(runs, 'run makes', 'runs make')} up the envelope; wanted {LEAST} or more"
        )
    edge = int((envelope["params"] == table["params"].max()).sum())
    evidence = ""
    if edge:
        evidence = (
            f"{edge} of the {len(envelope)} points of the envelope {digits.plural(edge, 'is', 'are')} of the largest "
            "size: a larger one might do better there."
        )
    options: dict[str, Any] = {"clusters": "run"} if runs < len(envelope) else {}
    return _fitted(law, envelope, draws, evidence=evidence, every_run=True, **options)


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
