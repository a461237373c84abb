"""The best learning rate from runs at several: a bowl per size, length, batch and depth, LR(N, D, B) through them.

`analysis.tuning.bowls` finds a bottom and its interval, `analysis.tuning.rate_law` the law. Each kind of model has
bowls, scatter and law of its own. Losses are in nats per token, N in non-embedding parameters, D and B in tokens.
"""

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from analysis import digits, mixed
from analysis.confidence import LEVEL
from analysis.jsonable import jsonable
from analysis.laws import admission
from analysis.replicates import RATE, settings
from analysis.table import ENDED, Table
from analysis.tuning import odd_rates, rate_law
from analysis.tuning.bowls import (
    BESIDE,
    FEW,
    FLAT,
    MAXIMUM,
    NEAREST,
    Array,
    Bowl,
    Noise,
    bottom,
    common_noise,
    parabola,
)
from analysis.tuning.rate_law import RateFit
from scaling import folders, rates
from scaling.errors import InputError
from scaling.rates import OWN

COARSE = 4.0  # times between rates: from there on the intervals of bowls and laws hold less than they say
NAMED = 3  # runs or statuses that a warning names
WRONG = (0.5, 1.0, 2.0)  # times the rule's rate: where the cost of being wrong is shown


class Cost(NamedTuple):
    """What a factor away from the rule's rate costs at one bowl."""

    factor: float  # times the rate of the rule
    rate: float
    excess: float  # share of the loss above the bottom, NaN where it was not tried
    tokens: float  # share of tokens more that reach the same loss as the best rate, NaN where their worth is not known


@dataclasses.dataclass(frozen=True)
class Tuning:
    """All bowls of a table, the law through their bottoms, and the best batches where several were tried.

    Attributes:
        sigma: scatter of ln(loss) of single runs about the bowls, pooled; seed noise and misfit together.
        degrees: of sigma.
        law: None where the bowls identify none; `why` says it.
        batches: bowls over the batch, each of the losses at the best rates.
        batch_law: B_opt(N, D) through their bottoms; None where they identify none, `why_no_batch_law` says why.
        runs: those in a bowl, those of the table.
        mixed: sizes, lengths and batches at which runs differ in more than their rate and seed.
        mixed_in: the columns in which they differ.
        notes: what was wrong with rows of the table.
    """

    bowls: tuple[Bowl, ...]
    sigma: float
    degrees: float
    law: RateFit | None
    why: str
    batches: tuple[Bowl, ...] = ()
    batch_law: RateFit | None = None
    why_no_batch_law: str = ""
    runs: tuple[int, int] = (0, 0)
    mixed: int = 0
    mixed_in: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def edges(self) -> tuple[Bowl, ...]:
        """The bowls whose lowest loss lies at an end of what was tried."""
        return tuple(b for b in self.bowls if b.status.startswith("at the"))

    def costs(self, bowl: Bowl) -> tuple[Cost, ...]:
        """What half the rule's rate, the rate itself and its double cost here; the bowl's own best where no law is."""
        rule = self.law.law(bowl.params, bowl.tokens, bowl.batch_tokens) if self.law else bowl.best
        worth = self._worth_of_tokens(bowl)
        found = []
        for factor in WRONG:
            excess = bowl.excess(factor * rule)
            tokens = math.expm1(math.log1p(excess) / worth) if worth > 0 else math.nan
            found.append(Cost(factor, factor * rule, excess, tokens))
        return tuple(found)

    def _worth_of_tokens(self, bowl: Bowl) -> float:
        """-d ln(loss) / d ln(D) at this size and batch at the best rates, between the neighbouring lengths."""
        mine = (bowl.params, bowl.batch_tokens, bowl.n_layer)
        same = [b for b in self.bowls if (b.params, b.batch_tokens, b.n_layer) == mine]
        near = sorted(same, key=lambda b: abs(math.log(b.tokens / bowl.tokens)))[:2]
        if len(near) < 2:
            return math.nan
        a, b = near
        return -math.log(a.loss / b.loss) / math.log(a.tokens / b.tokens)

    def warnings(self) -> Iterator[str]:
        yield from self.notes
        if self.mixed:
            beside = f" ({', '.join(self.mixed_in)})" if self.mixed_in else ""
            yield (
                f"runs of one size, length and batch differ in more than their rate and seed{beside} at {self.mixed} "
                f"{digits.plural(self.mixed, 'bowl', 'bowls')}: a bowl through several settings says nothing of either"
            )
        if coarse := [b for b in self.bowls if b.spacing >= COARSE]:
            widest = digits.typed(max(b.spacing for b in coarse), 2)
            yield (
                f"rates up to {widest} times apart beside the best one at {len(coarse)} of {len(self.bowls)} "
                f"bowls: no parabola holds over so far, and intervals of {digits.percent(LEVEL)} held 57 to 80 % of "
                "the best rates with a factor of 10 between (95 % with up to 3); try rates between them"
            )
        for end in ("lowest", "highest"):
            there = [b for b in self.edges if b.status == f"at the {end}"]
            if there:
                yield (
                    f"the best rate is the {end} that was tried at {_places(there)}: "
                    f"it may lie {'below' if end == 'lowest' else 'above'}, and the law leaves these out"
                )
        for status, text in (
            (FLAT, "no bend is seen through the noise"),
            (MAXIMUM, "the losses bend the wrong way"),
            (FEW, f"fewer than {NEAREST - 1} rates that did not diverge"),
            (BESIDE, "the best rate is next to one that diverged"),
        ):
            there = [b for b in self.bowls if b.status == status]
            if there:
                yield f"{text} at {_places(there)}: the law leaves these out"

    def law_lines(self) -> tuple[str, ...]:
        """The law, its intervals and what is known of its fit, or why there is none."""
        return (self.law.formula, *self.law.sentences()) if self.law else (f"No law of rates: {self.why}.",)

    def batch_lines(self) -> tuple[str, ...]:
        """The law of batches, or why there is none; nothing where no size was trained at three batches."""
        if self.batch_law:
            return self.batch_law.formula, *self.batch_law.sentences()
        return (f"No law of batches: {self.why_no_batch_law}.",) if self.batches else ()

    def text(self) -> str:
        """The tuning for a terminal."""
        form = "{:>8} {:>8} {:>7} {:>10} {:>20} {:>8} {:>9} {:>9} {:>9}  {}"
        head = ("N", "D", "B", "best rate", f"{digits.percent(LEVEL)} interval", "loss", "rule / 2", "rule", "rule x 2")
        lines = [form.format(*head, "")]
        several = len({b.n_layer for b in self.bowls}) > 1
        for b in self.bowls:
            paid = (digits.percent(cost.excess, sign=True) for cost in self.costs(b))
            size = (digits.short(b.params), digits.short(b.tokens), digits.short(b.batch_tokens))
            ends = f"{_end(b.low)} to {_end(b.high)}" if b.interior else "–"
            depth = f"{b.n_layer:.0f} layers" if several and math.isfinite(b.n_layer) else ""
            note = ", ".join(filter(None, (depth, "" if b.interior else b.status)))
            lines.append(form.format(*size, digits.plain(b.best), ends, f"{b.loss:.4f}", *paid, note).rstrip())
        if math.isfinite(self.sigma):
            lines += ["", f"Scatter of single runs about the bowls: {digits.percent(self.sigma)} of the loss."]
        lines.append(f"{self.runs[0]} of {self.runs[1]} runs are in a bowl.")
        lines += ["", *(self.law_lines())]
        for b in self.batches:
            ends = f" ({_end(b.low)} to {_end(b.high)})" if b.interior else f", {b.status}"
            where = f"N = {digits.short(b.params)}, D = {digits.short(b.tokens)}"
            lines.append(f"Best batch at {where}: {digits.short(b.best)} tokens{ends}.")
        lines += self.batch_lines()
        lines += [f"Warning: {warning}." for warning in self.warnings()]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: `law` holds the constants that `scaling.rates` reads."""
        said = {
            **(self.law.to_dict() if self.law else {"law": None}),
            "why": self.why,
            "level": LEVEL,
            "sigma": self.sigma,
            "sigma_degrees": self.degrees,
            "bowls": [
                dataclasses.asdict(b) | {"costs": [cost._asdict() for cost in self.costs(b)]} for b in self.bowls
            ],
            "batches": [dataclasses.asdict(b) for b in self.batches],
            "batch_law": self.batch_law.to_dict() if self.batch_law else None,
            "runs": self.runs,
            "warnings": list(self.warnings()),
        }
        return jsonable(said)


def by_kind(table: Table, *, sigma: float | None = None) -> dict[str, Tuning]:
    """A tuning of each kind of model of a table, the commonest first; of "transformer" where it does not tell kinds.

    Args:
        table, sigma: as `tune` takes them.

    Raises:
        InputError: as `tune` does, where none of the kinds was trained at three rates.
    """
    if not table.has("kind"):
        return {"transformer": tune(table, sigma=sigma)}
    of = {
        str(kind): table.where(table["kind"] == kind, f"not of kind {kind}")
        for kind, _ in Counter(table["kind"].tolist()).most_common()
    }
    swept = [kind for kind, rows in of.items() if _most_rates(rows) >= NEAREST - 1] or list(of)
    found = {kind: tune(of[kind], sigma=sigma) for kind in swept}
    notes = tuple(f"{kind}: no size was trained at {NEAREST - 1} learning rates" for kind in of if kind not in swept)
    first = found[swept[0]]
    return found | {swept[0]: dataclasses.replace(first, notes=(*first.notes, *notes))}


def tune(table: Table, *, sigma: float | None = None) -> Tuning:
    """The best learning rate at each size, length, batch and depth, and the law through them.

    Args:
        table: columns params, tokens, learning_rate and loss, batch_tokens, n_layer and status where known; three rates
            or more somewhere. Runs of a size, length, batch, depth and rate should differ in their seed alone. Of
            several kinds of model the commonest is taken, with a note; `by_kind` takes each.
        sigma: standard deviation of ln(loss) of a single run, where it is known from elsewhere; None takes the scatter
            about the bowls.

    Raises:
        InputError: a column is missing, a loss is no number above 0, or nowhere were three rates tried.
    """
    if sigma is not None and not 0 < sigma < 1:
        raise InputError(f"sigma={sigma:g}: wanted the seed noise as a share of the loss, such as 0.003")
    table, notes = _of_one_kind(table)
    given = len(table)
    unknown = set(table["status"]) - {*ENDED, "diverged", "running"} if table.has("status") else set()
    whole, table = len(table), _ended(table)
    params, tokens, rate = table.positive("params", "tokens", "learning_rate")
    loss, lost = _losses(table)
    notes += [*odd_rates.check(table, rate, loss), *odd_rates.unmapped_batch(table), *table.doubts]
    places = _places_of(table, params, tokens)
    cell = settings(table)
    drafts, several, few, used = [], 0, 0, 0
    for place in dict.fromkeys(places):
        rows = np.array([other == place for other in places])
        if len(np.unique(rate[rows])) < NEAREST - 1:
            few += 1
            continue
        drafts.append((place, parabola(np.log(rate[rows]), np.log(loss[rows]))))
        several += len(np.unique(cell[rows])) > 1
        used += int(rows.sum())
    if not drafts:
        raise InputError(
            f"{table.source}: no size was trained at {NEAREST - 1} learning rates; "
            "scaling study run configs/learning_rate.py makes such runs"
        )
    drafts.sort(key=lambda d: d[0])
    noise = common_noise([draft for _, draft in drafts], sigma)
    bowls = tuple(bottom(N, D, B or math.nan, draft, noise, depth or math.nan) for (N, D, B, depth), draft in drafts)
    law, why = rate_law.through(bowls, noise.degrees)
    batches = tuple(_batches(bowls, noise))
    batch_law, why_none = rate_law.through(batches, noise.degrees, of_batches=True) if batches else (None, "")
    if few:
        those = digits.plural(few, "setting was", "settings were")
        notes.append(
            f"{few} {those} trained at fewer than {NEAREST - 1} rates and {digits.plural(few, 'has', 'have')} no bowl"
        )
    if lost:
        runs = digits.plural(len(lost), "run has", "runs have")
        notes.append(f"{len(lost)} {runs} no loss, taken as diverged: {', '.join(lost[:NAMED])}")
    if unknown:
        statuses = ", ".join(sorted(unknown)[:NAMED]) or "nothing"
        rows = digits.plural(whole - len(table), "row", "rows")
        notes.append(f"{whole - len(table)} {rows} left out whose status is not done or diverged ({statuses})")
    return Tuning(
        *(bowls, noise.sigma, noise.degrees, law, why, batches, batch_law, why_none),
        runs=(used, given),
        mixed=several,
        mixed_in=_mixed_in(table) if several else (),
        notes=tuple(notes),
    )


def text(found: Mapping[str, Tuning]) -> str:
    """The tunings of several kinds of model for a terminal, each under its kind; of one kind, that alone."""
    if len(found) == 1:
        return next(iter(found.values())).text()
    head = f"{len(found)} kinds of model; each has bowls, scatter and a law of its own."
    return "\n\n".join([head, *(f"{kind}\n{one.text()}" for kind, one in found.items())])


def beside_others(found: Mapping[str, Tuning], path: str | Path, name: str = OWN) -> tuple[str, ...]:
    """How the exponents compare with those of the same kind that a file holds under other names, in sentences.

    Args:
        found: kind of model -> tuning, as `by_kind` gives it.
        name: of the text that the sweep was trained on.

    Raises:
        InputError: the file is there and holds something else.
    """
    return tuple(
        f"{kind}: {sentence}"
        for kind, one in found.items()
        for other, kinds in _kept(path).items()
        if other != name and one.law and kinds.get(kind, {}).get("law")
        if (sentence := rate_law.beside(one.law, kinds[kind], other))
    )


def keep(found: Mapping[str, Tuning], path: str | Path, name: str = OWN) -> None:
    """Writes the tuning of each kind under a name, beside what the file holds under others; see `beside_others`."""
    kept = _kept(path) | {name: {kind: one.to_dict() for kind, one in found.items()}}
    folders.write(Path(path), json.dumps(folders.sealed(kept), indent=1, allow_nan=False) + "\n")


def _kept(path: str | Path) -> dict[str, dict[str, dict[str, Any]]]:
    return rates.raw(path) if Path(path).exists() else {}


def _batches(bowls: Sequence[Bowl], noise: Noise) -> Iterator[Bowl]:
    """Bowls over the batch: of each size and length tried at three batches or more, the losses at their best rates."""
    for N, D, depth in dict.fromkeys((b.params, b.tokens, b.n_layer) for b in bowls):
        same = [b for b in bowls if (b.params, b.tokens, b.n_layer) == (N, D, depth) and math.isfinite(b.batch_tokens)]
        if len(same) >= NEAREST - 1:
            draft = parabola(np.log([b.batch_tokens for b in same]), np.log([b.loss for b in same]))
            yield bottom(N, D, math.nan, draft, noise._replace(skew=0.0, skew_error=0.0))  # that of rates is another


# --- words and rows


def _of_one_kind(table: Table) -> tuple[Table, list[str]]:
    """The runs of the commonest kind of model, and a note of the others."""
    if not table.has("kind") or not len(table):
        return table, []
    (kind, n), *others = Counter(table["kind"].tolist()).most_common()
    if not others:
        return table, []
    left = len(table) - n
    note = f"{left} {digits.plural(left, 'run', 'runs')} of another kind of model than {kind} left out"
    return table.where(table["kind"] == kind, f"not of kind {kind}"), [note]


def _places_of(table: Table, params: Array, tokens: Array) -> list[tuple[float, float, float, float]]:
    """N, D, B and depth of each run; 0 for what is not known."""
    known = [
        np.nan_to_num(table[name]) if table.has(name) else np.zeros(len(table)) for name in ("batch_tokens", "n_layer")
    ]
    return list(zip(*(column.tolist() for column in (params, tokens, *known)), strict=True))


def _mixed_in(table: Table) -> tuple[str, ...]:
    """The columns in which runs of one bowl differ: those of one rate, else those of several."""
    place = ["params", "tokens", *(name for name in ("batch_tokens", "n_layer") if table.has(name))]
    if found := mixed.at_equal(table, [*place, RATE], "loss"):
        return found
    others = {name: column for name, column in table.columns.items() if not name.startswith(RATE)}
    return mixed.at_equal(dataclasses.replace(table, columns=others), place, "loss")  # not by what follows from a rate


def _most_rates(table: Table) -> int:
    """At how many rates the setting was trained that was trained at most."""
    params, tokens, rate = table.positive("params", "tokens", "learning_rate")
    of: dict[tuple[float, ...], set[float]] = {}
    for place, tried in zip(_places_of(table, params, tokens), rate, strict=True):
        of.setdefault(place, set()).add(float(tried))
    return max(map(len, of.values()), default=0)


def _ended(table: Table) -> Table:
    """The runs that ended, those that diverged with them: such a run bounds the rates that are worth trying.

    Raises:
        InputError: no run ended.
    """
    if not table.has("status"):
        return table
    ended = table["status"] == "diverged"
    if ended.all():
        return table
    rule = admission.finished(table.where(~ended, "diverged"))
    ended[~ended] = rule.keep
    if not ended.any():
        raise InputError(f"{table.source}: no run ended ({rule.reason})")
    return table.where(ended, rule.reason)


def _losses(table: Table) -> tuple[Array, list[str]]:
    """Losses, NaN where a run diverged, and which runs have none though nothing says that they diverged.

    Raises:
        InputError: another loss is no number above 0.
    """
    loss = table["loss"]
    diverged = table["status"] == "diverged" if "status" in table else np.zeros(len(table), bool)
    lost = np.isnan(loss) & ~diverged
    table.where(~(diverged | lost), "diverged").positive("loss")
    return np.where(diverged, np.nan, loss), [table.label(int(i)) for i in np.flatnonzero(lost)]


def _places(bowls: Sequence[Bowl]) -> str:
    return "; ".join(f"N = {digits.short(b.params)}, D = {digits.short(b.tokens)}" for b in bowls)


def _end(x: float) -> str:
    return digits.plain(x, 2)
