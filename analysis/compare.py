"""Two ladders held against each other: how much more compute the one needs for the loss of the other."""

import dataclasses
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from analysis import frontier, mixed
from analysis.confidence import half_width, t_quantile
from analysis.digits import short, typed
from analysis.fit import fit
from analysis.fit.estimate import Fit, Prediction
from analysis.fit.floor import Floor
from analysis.fit.rows import FitError, clustered
from analysis.frontier import lower_envelope
from analysis.jsonable import jsonable
from analysis.laws import law_by_name
from analysis.laws.admission import FINISHED, UNDER_WAY
from analysis.laws.law import Law
from analysis.plan.prices import compute_for
from analysis.replicates import RATE
from analysis.table import Table, digits_beyond
from analysis.table.columns import COLUMNS, meaning
from scaling.errors import InputError

SIZES, PLACES = 3, 8  # a grid has at least so many sizes, and so many different pairs of N and D
SCATTER = 0.1  # of ln D about its line in ln N; below it, D follows N
NEAR = 0.1  # loss above the lowest one at no more compute, relative: runs beyond say little of the optimum
APART = 1.25  # factor beyond its interval at which the runs themselves contradict a gain
WIDEST = math.log(1e4)  # of a gain: an interval that reaches farther bounds nothing
CHANCE = 4  # digits of losses that two runs may share by chance
COUNTED_ALIKE = 1.2  # times between C / 6 N D of two ladders at one size: shapes alone make less
# Words in the name of a column that say how a run was measured or counted, and not what it was.
MEASURED = {"val", "valid", "validation", "eval", "evaluation", "test", "heldout", "loss", "flop", "flops", "count"}
# Words beside these that say how a loss was worked out, and not on which text.
PLAIN = frozenset(
    (
        *("final", "last", "best", "min", "mean", "avg", "smooth", "smoothed", "on", "set", "data", "dev", "train"),
        *("training", "ce", "cross", "entropy", "nll", "nats", "token", "per", "lm", "model", "metric", "metrics"),
    )
)
LIKE = 2.0  # ratio below which the ends of two ladders are alike

STRAIGHT = (
    "takes the lower envelope of each ladder for a straight line in logarithms: it assumes sizes that suit their "
    "compute, one batch size, and like ranges of compute"
)


@dataclasses.dataclass(frozen=True)
class Gain:
    """Compute that ladder A needs over what B needs for one loss, with its interval.

    Where a law does not come down to the loss, `value` is nan and `unreached` names its ladder, "A", "B" or "A and B".
    `by_runs` is the same read off the lower envelopes of the runs themselves, without a law or an interval; nan where
    one of them has none there.
    """

    loss: float
    value: float
    low: float
    high: float
    by_runs: float = math.nan
    unreached: str = ""

    @property
    def contradicted(self) -> bool:
        """The runs themselves say something else: the law does not describe these ladders."""
        return bool(self.by_runs > self.high * APART or self.by_runs < self.low / APART)


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Compute-equivalent gain of ladder B over ladder A along the losses that both reach, highest loss first.

    Above 1, B is the better recipe: A would need `value` times its compute. `last` is at the lowest loss that both
    ladders and both laws reach, the end that matters for larger runs. `unlike` says what was measured or counted in two
    ways, so that no figure here tells the recipes apart.
    """

    gains: tuple[Gain, ...]
    A: Fit
    B: Fit
    notes: tuple[str, ...]
    unlike: tuple[str, ...] = ()

    @property
    def last(self) -> Gain | None:
        return next((gain for gain in reversed(self.gains) if not gain.unreached), None)

    @property
    def doubt(self) -> str:
        """Why nothing here tells the gain; empty where something does."""
        if self.unlike:
            return "; ".join(self.unlike)
        doubtful = [name for name, f in (("A", self.A), ("B", self.B)) if not f.sound]
        if doubtful:
            return f"the fit of {' and '.join(doubtful)} is doubtful"
        return "the law and the runs themselves disagree" if self.last and self.last.contradicted else ""

    @property
    def verdict(self) -> str:
        last = self.last
        if self.doubt:
            return f"cannot be told: {self.doubt}"
        if last is None:
            return "cannot be told"
        return "B is better" if last.low > 1 else "A is better" if last.high < 1 else "no difference is shown"

    def to_dict(self) -> dict[str, Any]:
        return jsonable(
            {
                "gains": [dataclasses.asdict(gain) for gain in self.gains],
                "level": self.A.level,
                "law": self.A.law.name,
                "target": self.A.target,
                "verdict": self.verdict,
                "A": self.A.to_dict(),
                "B": self.B.to_dict(),
                "notes": list(self.notes),
                "unlike": list(self.unlike),
            }
        )

    def text(self) -> str:
        """The comparison as a person reads it."""
        target, last = self.A.target, self.last
        lines = [
            f"Compute that A needs for every FLOP of B, by {self.A.law.name} ({100 * self.A.level:.4g}% intervals)"
        ]
        for g in self.gains:
            told = f"{typed(g.value, 3)}  ({typed(g.low, 3)} to {typed(g.high, 3)})"
            if g.unreached:
                told = f"beyond what the law of {g.unreached} reaches"
            elif not math.isfinite(g.high):
                told = f"{typed(g.value, 3)}  (no interval: the fits do not bound it)"
            runs = f"; {typed(g.by_runs, 3)} by the runs themselves" if math.isfinite(g.by_runs) else ""
            lines.append(f"  {target} {g.loss:.4f} {COLUMNS.get(target, '')}   {told}{runs}")
        if self.unlike:
            lines.append(f"Which is better {self.verdict}.")
        elif last is None:
            lines.append(
                "Which is better cannot be told: the fitted laws end above the losses that both ladders reach."
            )
        else:
            where = "" if last is self.gains[-1] else " and both laws"
            lines.append(f"At the lowest {target} that both ladders{where} reach, {last.loss:.4f}, {self.verdict}.")
        return "\n".join([*lines, *(f"Note: {note}" for note in self.notes)])


def compare(
    A: Table, B: Table, *, law: type[Law] | str | None = None, n_losses: int = 3, floor: Floor | None = None
) -> Comparison:
    """The compute-equivalent gain of ladder B over ladder A.

    The law is fitted to each by least squares of the logarithm. The interval of the ratio of computes is Student's t in
    its logarithm, the variances of the two fits added and their degrees of freedom joined as Welch does.

    Args:
        A, B: ladders, one row per run, counted and evaluated alike: where they show that they are not, there is no
            verdict. Ladders with different tokenizers are compared in bits per byte where both have them.
        law: of (params, tokens), whose optimum is taken, or of compute (kaplan-c, henighan-c), fitted to each ladder's
            envelope. None takes chinchilla where both ladders identify it, else kaplan-c, or henighan-c with a floor.
        n_losses: losses at which to compare, evenly spread over the range that both ladders reach.
        floor: at which both laws are pinned; None leaves it to each ladder.

    Raises:
        InputError: the ladders share no losses, or share runs, or the law cannot be fitted.
    """
    column, notes = _target(A, B)
    first, second = (_near(FINISHED.admit(UNDER_WAY.admit(table)), column) for table in (A, B))
    _check_runs(first, second, column)
    ladders = first, second
    seen = [table.positive(column)[0] for table in ladders]
    high, low = min(s.max() for s in seen), max(s.min() for s in seen)
    if low > high:
        raise InputError(
            f"the ladders share no losses: one ends at {low:.4g}, the other begins at {high:.4g}; extend one"
        )
    if floor:
        floor.check(column, np.concatenate(seen))
    ladders = tuple(_between(table, column, low, high) for table in ladders)
    fits, chosen = _fits(law, ladders, column, floor)
    gains = tuple(
        dataclasses.replace(gain_at(fits, float(loss)), by_runs=_by_runs(ladders, column, float(loss)))
        for loss in np.geomspace(high, low, n_losses)
    )
    left_out = _left_out((A, B), ladders)
    rows = _of_the_rows(fits, ladders, column)
    notes = (*notes, *chosen, *_doubts(fits), *left_out, *rows, *_contexts(A, B))
    return Comparison(gains, *fits, notes=notes, unlike=tuple(_unlike(A, B, column)))


def gain_at(fits: tuple[Fit, Fit], loss: float) -> Gain:
    """The gain at one loss by two fits of one law, with its interval."""
    reached = [compute_at(f.law, loss) for f in fits]
    unreached = " and ".join(name for name, C in zip("AB", reached, strict=True) if not math.isfinite(C))
    if unreached:
        return Gain(loss, math.nan, math.nan, math.nan, unreached=unreached)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # at the floor; told below
        parts = [f.derived(lambda one: np.asarray(compute_at(one, loss)), log=True) for f in fits]
        variances = [variance(part, f) for part, f in zip(parts, fits, strict=True)]
    value = float(parts[0].value / parts[1].value)
    return Gain(loss, value, *welch(value, variances, [f.degrees for f in fits], fits[0].level))


def variance(part: Prediction, fit: Fit) -> float:
    """Of the logarithm of a quantity that `Fit.derived` gave with log=True."""
    return float((np.log(part.high / part.value) / t_quantile(fit.level, np.asarray(fit.degrees))) ** 2)


def welch(value: float, variances: Sequence[float], degrees: Sequence[float], level: float) -> tuple[float, float]:
    """Student's interval of a value whose logarithm has these variances together; (0, inf) if nothing bounds it."""
    total = float(sum(variances))
    if not math.isfinite(total):
        return 0.0, math.inf
    if total == 0:  # computed, not measured
        return value, value
    half = half_width(variances, degrees, level)
    return (value * math.exp(-half), value * math.exp(half)) if half <= WIDEST else (0.0, math.inf)


def _by_runs(ladders: Sequence[Table], column: str, loss: float) -> float:
    """The ratio of computes at a loss, each interpolated along the lower envelope of its ladder."""
    computes = []
    for table in ladders:
        C, seen = table["flops"], table[column]
        edge = lower_envelope(C, seen)[::-1]  # by rising loss
        inside = seen[edge[0]] <= loss <= seen[edge[-1]]
        at = np.interp(math.log(loss), np.log(seen[edge]), np.log(C[edge]))
        computes.append(math.exp(at) if inside else math.nan)
    return computes[0] / computes[1]


def compute_at(law: Any, loss: float) -> float:
    """The C at which a law reaches a loss: of compute itself, or of (params, tokens) at its optimum; nan where it never
    does.
    """
    if law.inputs != ("flops",):
        try:
            return float(compute_for(law, loss).flops)
        except InputError:
            return math.nan
    low, high = math.log(1e3), math.log(1e40)
    if float(law(math.exp(high))) > loss:
        return math.nan
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if float(law(math.exp(middle))) > loss else (low, middle)
    return math.exp((low + high) / 2)


def loss_at(law: Any, C: float) -> float:
    """The loss of a law with C FLOP: of compute itself, or of (params, tokens) at its optimum."""
    return float(law(C) if law.inputs == ("flops",) else frontier.best(law, C).loss)


# --- which law, and in what unit


def _fits(
    law: type[Law] | str | None, ladders: Sequence[Table], column: str, floor: Floor | None
) -> tuple[tuple[Fit, Fit], list[str]]:
    """The law fitted to both ladders, and notes on its choice."""

    def both(law: type[Law] | str) -> tuple[Fit, Fit]:
        law = law_by_name(law) if isinstance(law, str) else law
        A, B = (fit(law, table, loss="squared", target=column, floor=floor) for table in ladders)
        return A, B

    if law is not None:
        chosen = law_by_name(law) if isinstance(law, str) else law
        if chosen.inputs not in (("flops",), ("params", "tokens")):
            raise InputError(
                f"{chosen.name} is a law of {', '.join(chosen.inputs)}; compared are laws of params, tokens or of "
                "flops, such as chinchilla or kaplan-c"
            )
        fits = both(chosen)
        return fits, _straight(fits) if chosen.inputs == ("flops",) else []
    why = next((f"{name} {told}" for name, table in zip("AB", ladders, strict=True) if (told := _no_grid(table))), "")
    if not why:
        try:
            fits = both("chinchilla")
            why = next((f"{n}: {f.why}" for n, f in zip("AB", fits, strict=True) if not f.sound), "")
            if not why:
                return fits, []
        except FitError as error:
            why = str(error)
    fits = both("henighan-c" if floor else "kaplan-c")
    return fits, [f"not compared by chinchilla, which is sharper: {why}", *_straight(fits)]


def _near(table: Table, column: str) -> Table:
    """The runs within NEAR of the lowest loss that their ladder reaches with no more compute.

    Far from the best sizes the form of a law fails first, and what it says of the optimum would pay for that.
    """
    C, loss = table.positive("flops", column)
    lowest = np.array([loss[C <= c].min() for c in C])
    return table.where(loss <= (1 + NEAR) * lowest, "far above the lowest loss at no more compute")


def _between(table: Table, column: str, low: float, high: float) -> Table:
    """The runs in the range of losses that both ladders reach, so that a law errs alike in both."""
    loss = table[column]
    keep = (loss <= (1 + NEAR) * high) & (loss >= low / (1 + NEAR))
    return table.where(keep, "outside the losses that both ladders reach")


def _left_out(whole: Sequence[Table], used: Sequence[Table]) -> list[str]:
    rows = " and ".join(f"{len(b)} of {a.given} rows of {name}" for name, a, b in zip("AB", whole, used, strict=True))
    if all(len(a) == len(b) for a, b in zip(whole, used, strict=True)):
        return [f"used: {rows}"]
    why = f"unfinished, over {NEAR:.0%} above the lowest loss at no more compute, or outside the losses that both reach"
    return [f"used: {rows} (left out: {why})"]


def _of_the_rows(fits: Sequence[Fit], ladders: Sequence[Table], column: str) -> list[str]:
    """What to know of the rows behind each fit: which are of one run, and what they differ in."""
    return [
        f"{name}: {note}"
        for name, f, rows in zip("AB", fits, ladders, strict=True)
        for note in (*clustered(type(f.law), rows)[2], *mixed.notes(rows, f.law.inputs, column))
    ]


def _doubts(fits: Sequence[Fit]) -> list[str]:
    return [f"{name}: {f.status}, {f.why}" for name, f in zip("AB", fits, strict=True) if not f.sound]


def _no_grid(table: Table) -> str:
    """Why a ladder cannot tell what N does from what D does; empty where it may."""
    if not (table.has("params") and table.has("tokens")):
        return "has no columns params and tokens"
    N, D = np.log(table.positive("params", "tokens"))
    sizes, places = len(np.unique(N)), len(np.unique(np.round([N, D], 6), axis=1).T)
    if sizes < SIZES or places < PLACES:
        return f"has {sizes} sizes and {places} different pairs of N and D, wanted at least {SIZES} and {PLACES}"
    scatter = float(np.std(D - np.polyval(np.polyfit(N, D, 1), N)))
    return "" if scatter >= SCATTER else "has tokens that follow its sizes: vary D at fixed N"


def _straight(fits: Sequence[Fit]) -> list[str]:
    """What a comparison of straight lines assumes, and where these ladders do not keep to it."""
    (low_A, high_A), (low_B, high_B) = (f.ranges["flops"] for f in fits)
    alike = all(1 / LIKE <= ratio <= LIKE for ratio in (low_A / low_B, high_A / high_B))
    ends = f"A from {typed(low_A, 2)} to {typed(high_A, 2)} FLOP, B from {typed(low_B, 2)} to {typed(high_B, 2)}"
    unlike = f"these ranges differ ({ends}), so the gain is biased where the losses bend towards a floor"
    law = fits[0].law.name
    straight = f"{law} {STRAIGHT}" if law == "kaplan-c" else f"{law} {STRAIGHT}, of the loss above the floor"
    return [straight] if alike else [straight, unlike]


def _target(A: Table, B: Table) -> tuple[str, list[str]]:
    """The column to compare in: the loss, or bits per byte where the tokenizers differ."""
    if not (unlike := _tokenizers(A, B)):
        return "loss", []
    if A.has("bits_per_byte") and B.has("bits_per_byte"):
        named = A.taken.get("loss", "loss")
        left = "" if named == "loss" else f" of the held-out text of each, not in {named}"
        return "bits_per_byte", [f"the ladders have {unlike}: compared in bits per byte{left}"]
    return "loss", [f"the ladders have {unlike}, so their losses per token do not compare: use bits per byte"]


def _check_runs(A: Table, B: Table, target: str) -> None:
    """Refuses a run that is in both ladders: cells that are equal where the loss has too many digits for chance."""
    names = [name for name in ("params", "tokens", "flops", target, RATE, "seed") if name in A and name in B]
    there = set(zip(*(B[name].tolist() for name in names), strict=True))
    both = np.array([row in there for row in zip(*(A[name].tolist() for name in names), strict=True)])
    if not np.any(both & digits_beyond(A[target], CHANCE)) and both.sum() <= len(A) / 2:
        return
    rows = np.flatnonzero(both)
    more = f" and {len(rows) - 1} more" if len(rows) > 1 else ""
    raise InputError(
        f"{A.source}, {A.label(int(rows[0]))}{more}: in both ladders; a run is of one recipe or of the other: choose "
        "with --where-a and --where-b"
    )


def _differ(A: Table, B: Table, column: str) -> bool:
    """Whether the values that are known differ, numbers in their first six digits."""
    if not (A.has(column) and B.has(column)):
        return False
    ours, theirs = ({f"{x:.6g}" if isinstance(x, float) else x for x in t[column].tolist()} for t in (A, B))
    unknown = {"", "nan"}
    return bool(ours - unknown and theirs - unknown and ours - unknown != theirs - unknown)


def _tokenizers(A: Table, B: Table) -> str:
    """What differs where the ladders may have different ones, by their vocabulary, bytes per token, or a column that
    names it; empty where nothing does."""
    columns = [name for name in A if meaning(name) in ("n_vocab", "bytes_per_token") or "tokeni" in name.lower()]
    told = [name for name in columns if A[name].dtype.kind == "U" or COLUMNS.get(meaning(name))]
    found = {meaning(name) for name in told if _differ(A, B, name)}
    by_text = found == {"bytes_per_token"} and any(_differ(A, B, column) for column in ("data", "dataset"))
    tokens = "different bytes per token, of two texts or two tokenizers" if by_text else "different tokenizers"
    return tokens if found else ""


def _contexts(A: Table, B: Table) -> list[str]:
    """What else to know of the tables: contexts that differ, units that are doubtful."""
    told = "the ladders have different contexts, and tokens late in a long one are easier"
    doubts = [f"{name}: {doubt}" for name, table in (("A", A), ("B", B)) for doubt in table.doubts]
    return [*([told] if _differ(A, B, "n_ctx") else []), *doubts]


def _unlike(A: Table, B: Table, target: str) -> Iterator[str]:
    """What was measured or counted in two ways."""
    if target == "loss" and _tokenizers(A, B):
        yield "losses per token of two tokenizers do not compare"
    losses = _two_columns(A, B, target, "validation sets") or _two_texts(A, B, target)
    flops = _two_columns(A, B, "flops", "counts of FLOP") or _counted_by_name(A, B, "flops", "counts of FLOP")
    yield from filter(None, (losses, flops, _counted_by_name(A, B, "params", "counts of parameters")))
    # A loss under a name of its own is of the text that it names; one text has one number of bytes per token.
    one_text = A.taken.get(target, target) != target or _one_value(A, B, "bytes_per_token")
    if any(_differ(A, B, column) for column in ("data", "dataset")) and not one_text:
        yield "the ladders have different data, and nothing says that they were evaluated on one text"
    for column in filter(_of_the_measurement, A):
        if A[column].dtype.kind == "U" and _one_each(A, B, column):
            yield f"{column} is {A[column][0]} in A and {B[column][0]} in B"
    for name, table in (("A", A), ("B", B)):
        inputs = [one for one in ("params", "tokens", "flops") if table.has(one)][:2]
        at_equal = mixed.at_equal(table, inputs, target)
        for column in table:
            text = table[column].dtype.kind == "U"
            if text and (column in at_equal or (_of_the_measurement(column) and len(set(table[column]) - {""}) > 1)):
                there = ", ".join(sorted(set(table[column]) - {""}))
                yield f"{name} mixes values of {column}: {there}"
    if not any(_differ(A, B, column) for column in ("n_ctx", "n_vocab", "experts", "n_layer")):
        yield from filter(None, [_two_counts(A, B)])


def _of_the_measurement(column: str) -> bool:
    """Whether a column says how runs were measured or counted, by its name."""
    return bool(MEASURED & set(re.split("[^a-z]+", column.lower())))


def _two_columns(A: Table, B: Table, name: str, what: str) -> str:
    """That one file's columns were taken for one thing; empty where they were not."""
    one, other = (table.taken.get(name, name) for table in (A, B))
    if one == other or not (_in_the_file(A, other) or _in_the_file(B, one)):
        return ""
    return f"{name} is {one} in A and {other} in B, two {what}"


def _two_texts(A: Table, B: Table, target: str) -> str:
    """That the names of two files' columns say two texts, as loss_on_c4 and val/pile do; empty where they do not."""
    one, other = (table.taken.get(target, target) for table in (A, B))
    texts = [set(re.split("[^a-z0-9]+", name.lower())) - MEASURED - PLAIN - {""} for name in (one, other)]
    if not all(texts) or texts[0] == texts[1]:
        return ""
    return f"{target} is {one} in A and {other} in B, two validation sets by their names"


def _in_the_file(table: Table, name: str) -> bool:
    """Whether the source has a column of this name, whatever it is called here."""
    return name in table.taken.values() or (name in table and name not in {*table.taken, *table.derived})


def _counted_by_name(A: Table, B: Table, name: str, what: str) -> str:
    """That two files' columns of a size or a compute are two counts, as flops_total and flops_attention are, by their
    names; empty where they are not."""
    one, other = (table.taken.get(name, name) for table in (A, B))
    counts = {meaning(one), meaning(other)}
    if len(counts) < 2 or not all(COLUMNS.get(count) == COLUMNS[name] for count in counts):
        return ""
    return f"{name} is {one} in A and {other} in B, two {what}"


def _two_counts(A: Table, B: Table) -> str:
    """That C / 6 N D differs at like sizes; empty where it does not."""
    lines = []
    for table in (A, B):
        if not all(table.has(name) for name in ("params", "tokens", "flops")):
            return ""
        N, D, C = (table[name] for name in ("params", "tokens", "flops"))
        reuse = np.fmax(np.nan_to_num(table["reuse"]), 1.0) if table.has("reuse") else np.ones(len(table))
        known = np.isfinite(N * D * C) & (N * D * C > 0)
        x, y = np.log(N[known]), np.log((C / (6 * N * reuse * D))[known])
        if not len(x):
            return ""
        lines.append((x, np.polyfit(x, y, 1) if np.ptp(x) > 0 else np.array([0.0, y.mean()])))
    middle = np.clip(np.mean([x.mean() for x, _ in lines]), *(f([f(x) for x, _ in lines]) for f in (np.min, np.max)))
    a, b = (float(np.exp(np.polyval(line, middle))) for _, line in lines)
    if max(a / b, b / a) < COUNTED_ALIKE:
        return ""
    return (
        f"at {short(math.exp(middle))} parameters the FLOP of A are {typed(a, 3)} times 6 params tokens and those of B "
        f"{typed(b, 3)} times, two counts of FLOP"
    )


def _one_value(A: Table, B: Table, column: str) -> bool:
    return A.has(column) and B.has(column) and len(set(A[column]) | set(B[column])) == 1


def _one_each(A: Table, B: Table, column: str) -> bool:
    """Whether a column has one value in each ladder, and another one."""
    if column not in B or B[column].dtype.kind != "U":
        return False
    one, other = set(A[column]) - {""}, set(B[column]) - {""}
    return len(one) == len(other) == 1 and one != other
