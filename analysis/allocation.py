"""N_opt(C) and D_opt(C) of a table of runs by whichever of Hoffmann's three approaches suits it, or by all of them.

from analysis import allocation, records
from analysis.load import load
allocation.allocate(load("runs.csv"), budgets=[1e21])               # IsoFLOP profiles, or a fitted surface
allocation.allocate(records.read("studies/mine").curves, "envelope")      # learning curves
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from analysis import frontier, mixed
from analysis.confidence import LEVEL
from analysis.digits import compute, short, typed
from analysis.envelope import envelope
from analysis.fit import fit, suspects
from analysis.fit.rows import admitted
from analysis.frontier import Allocation
from analysis.isoflop import SAME_BUDGET, isoflop, profiles
from analysis.laws import Gadre, law_by_name
from analysis.laws.admission import FINISHED
from analysis.plan.reach import doubt
from analysis.table import Table
from scaling.errors import InputError

APPROACHES = ("auto", "envelope", "hull", "isoflop", "surface", "optima")
CROSSED = ("envelope", "isoflop", "surface")  # Hoffmann's three
FIT_DRAWS = 200  # refits of the surface: each is a search from several starts
SIZES, BUDGETS, SHARE = 5, 3, 0.8  # a table is a set of IsoFLOP profiles: sizes per budget, budgets, of all its rows
LINE_DRAWS = 4_000  # of a straight line through optima, where a draw costs nothing
BEYOND = 10.0  # times the largest budget: farther out a line through the optima is a guess


def allocate(
    table: Table,
    approach: str = "auto",
    *,
    method: str = "parabola",
    sigma: float | None = None,
    level: float = LEVEL,
    budgets: Sequence[float] | None = None,
    law: str = "chinchilla",
    drop_worst: int = 0,
) -> Allocation:
    """How C FLOP are best split into N and D, with intervals that make the whole chain again.

    Args:
        table: one row per run (params, flops or tokens, loss), or learning curves (several rows per run).
        approach: "envelope" of learning curves, "isoflop" profiles, "surface" L(N, D), or "auto": the first where a run
            has several rows, the second where most runs lie on a few clear budgets, else the third. "hull" is an
            envelope by the convex hull of the curves; "optima" takes each row for a best run: flops, params and tokens.
        method: of the minima of IsoFLOP profiles, "parabola" or "akima".
        sigma: seed noise of ln loss, for the intervals of an envelope or of IsoFLOP profiles; None reads it off the
            table.
        level: of the intervals.
        budgets: FLOP at which N and D are told as well; None leaves these out.
        law: the surface, a law of params and tokens.
        drop_worst: leave out this many runs with the largest losses; learning curves have no such runs.

    Raises:
        InputError: an unknown approach, columns that it lacks, or runs that identify no optimum.
    """
    if approach not in APPROACHES:
        raise InputError(f"approach {approach!r}: choose {', '.join(APPROACHES)}")
    if not 0 < level < 1:
        raise InputError(f"level {level:g}: wanted a number between 0 and 1, such as 0.95")
    asked = tuple(float(C) for C in budgets or ())
    for C in asked:
        if not (np.isfinite(C) and C > 0):
            raise InputError(f"budget {C:g}: wanted FLOP above 0, such as 1e21")
    if drop_worst < 0:
        raise InputError(f"drop_worst {drop_worst}: wanted 0 or more")
    if sigma is not None and not 0 < sigma < 1:
        raise InputError(f"sigma {sigma:g}: wanted the seed noise as a share of the loss, such as 0.003")
    chosen, why = suited(table) if approach == "auto" else (approach, "")
    notes = [why] if why else []
    if chosen not in ("surface", "optima"):  # whose fit says so itself
        notes += [*mixed.notes(table, ("params", "tokens"), "loss"), *table.doubts]
    if chosen in ("envelope", "hull"):
        if drop_worst:
            raise InputError(f"drop_worst {drop_worst}: of runs, not of learning curves; leave it out")
        found = envelope(table, hull=chosen == "hull", sigma=sigma, level=level)
        notes.append(f"{len(table)} of {table.given} rows used")
    elif chosen == "optima":
        if drop_worst or sigma is not None:
            raise InputError(
                "optima: their own scatter about the line is all that counts; leave out drop_worst and sigma"
            )
        found = optima(table, level=level)
        notes.append(f"{len(found.points)} of {table.given} rows used")
    elif chosen == "isoflop":
        if drop_worst:
            notes.append(f"left out: the {drop_worst} largest losses (drop_worst)")
        rows = _without_worst(FINISHED.admit(table), drop_worst)
        notes += suspects.told(rows, suspects.suspicions(rows, ("params", "tokens"), "loss"))
        found = isoflop(rows, method=method, sigma=sigma, level=level)
        notes.append(f"{len(rows)} of {table.given} rows used")
    else:
        if sigma is not None:
            raise InputError(
                f"sigma {sigma:g}: of an envelope or of IsoFLOP profiles; a surface refits resampled runs, leave it out"
            )
        found = _surface(table, law, level, drop_worst)
    first, last = (float(end(p.flops for p in found.points)) for end in (min, max))
    if asked and max(asked) > BEYOND * last:
        notes.append(f"{compute(max(asked))} is {typed(max(asked) / last, 3)} times the largest compute here: a guess")
    if asked and min(asked) * BEYOND < first:
        notes.append(
            f"{compute(min(asked))} is {typed(first / min(asked), 3)} times below the smallest compute here: a guess"
        )
    return replace(found, budgets=asked, warnings=tuple(dict.fromkeys([*notes, *found.warnings])))


def optima(table: Table, *, level: float = LEVEL, seed: int = 0) -> Allocation:
    """Straight lines through best runs that are known already, such as a paper's table of minima.

    The scatter of ln N and ln D about their lines makes the interval: Student's, with two degrees fewer than optima.

    Args:
        table: one row per optimum: flops, params and tokens (two of them, and C = 6 N D).

    Raises:
        InputError: a column is missing or not positive, or fewer than two budgets.
    """
    C, N, D = table.positive("flops", "params", "tokens")
    n = len(C)
    x = np.log(C) - np.log(C).mean()
    if n < 2 or np.ptp(x) < 1e-9:
        raise InputError(f"{table.source}: {n} optima at one budget; an exponent needs at least 2 budgets")
    y = np.log(np.stack([N, D], axis=1))
    lines = np.polyfit(x, y, 1)  # slope and level, of N and D
    draws: list[frontier.Line] = []
    notes: list[str] = []
    if n > 2:
        rest = y - np.stack([x, np.ones(n)], axis=1) @ lines
        rng = np.random.default_rng(seed)
        # N and D of one optimum err together: with C = 6 N D one is too small by what the other is too large.
        root = np.linalg.qr(rest)[1].T / np.sqrt(n - 2)  # of their covariance, singular where C = 6 N D
        scale = np.sqrt((n - 2) / rng.chisquare(n - 2, LINE_DRAWS))[:, None]
        level_, slope = (scale * rng.standard_normal((LINE_DRAWS, 2)) @ root.T for _ in range(2))
        level_, slope = lines[1] + level_ / np.sqrt(n), lines[0] + slope / np.sqrt(float(x @ x))
        draws = [*zip(level_[:, 0], slope[:, 0], level_[:, 1], slope[:, 1], strict=True)]
    else:
        notes.append("no interval: two optima lie on any line; more budgets would tell their scatter")
    loss = table["loss"] if "loss" in table else np.full(n, np.nan)
    points = tuple(frontier.Optimum(*p) for p in sorted(zip(C, N, D, loss, strict=True)))
    return frontier.allocation("optima", float(np.exp(np.log(C).mean())), points, (), draws, notes, level)


@dataclass(frozen=True)
class CrossCheck:
    """What Hoffmann's three approaches say of the same runs, and where they part.

    Attributes:
        found: by approach; missing: why one of them says nothing.
        budget: FLOP at which their N are compared, the largest that all of them saw.
    """

    found: Mapping[str, Allocation]
    missing: Mapping[str, str]
    budget: float

    def apart(self) -> list[str]:
        """Where two of them differ by more than both their intervals allow together, in words.

        They saw the same runs, so that their errors go together: what is said here is said too seldom, not too often.
        """
        told = []
        for one, other in itertools.combinations(self.found, 2):
            a, b = self.found[one], self.found[other]
            if not (len(a.draws) and len(b.draws)):
                continue
            if _differ(a.a, a.a_interval, b.a, b.a_interval):
                told.append(f"exponent of N, {one} {a.a:.3f}, {other} {b.a:.3f}")
            N = [float(f.params(self.budget)) for f in (a, b)]
            ends = [np.log(f.params_band(self.budget)) for f in (a, b)]
            if _differ(np.log(N[0]), ends[0], np.log(N[1]), ends[1]):
                told.append(f"best N at {compute(self.budget)}, {one} {short(N[0])}, {other} {short(N[1])}")
        return told

    def to_dict(self) -> dict[str, Any]:
        return {
            "approaches": {name: found.to_dict() for name, found in self.found.items()},
            "missing": dict(self.missing),
            "budget": self.budget,
            "apart": self.apart(),
        }

    def text(self) -> str:
        """A line for each approach, and where they part."""
        lines = [f"{'approach':<20}{'points':>7}  {'exponent of N':<26}best N at {compute(self.budget)}"]
        for name, found in self.found.items():
            a = f"{found.a:.3f}{_ends(found.a_interval, '{:.3f}'.format)}"
            N = f"{short(float(found.params(self.budget)))}{_ends(found.params_band(self.budget), short)}"
            lines.append(f"{name:<20}{len(found.points):>7}  {a:<26}{N}")
        lines += [f"{name:<20}{'none':>7}  {why}" for name, why in self.missing.items()]
        apart = self.apart()
        lines += [f"They differ by more than their intervals: {line}" for line in apart]
        compared = sum(len(found.draws) > 0 for found in self.found.values())
        if compared < 2:
            lines.append("Whether they agree cannot be told: fewer than two of them have intervals.")
        elif not apart:
            lines.append("They agree within their intervals.")
        notes = (f"{name}: {w}" for name, f in self.found.items() for w in (*f.doubts, *f.warnings))
        return "\n".join([*lines, *(f"Note: {note}" for note in notes)])


def cross_check(runs: Table, curves: Table, *, budgets: Sequence[float] | None = None, **options: Any) -> CrossCheck:
    """All three approaches to the same runs.

    Args:
        runs: one row per run.
        curves: their learning curves; the runs again where there are none.
        budgets: FLOP at which each tells N and D as well.
        options: `method`, `sigma`, `level`, `law` and `drop_worst`, each given to the approaches that it is for.

    Raises:
        InputError: none of them says anything.
    """
    found, missing = {}, {}
    of = {"envelope": ("sigma", "level"), "isoflop": ("method", "sigma", "level", "drop_worst"),
          "surface": ("law", "level", "drop_worst")}  # fmt: skip
    for name in CROSSED:
        given = {option: value for option, value in options.items() if option in of[name]}
        try:
            found[name] = allocate(curves if name == "envelope" else runs, name, budgets=budgets, **given)
        except InputError as error:
            missing[name] = str(error)
    if not found:
        raise InputError("; ".join(f"{name}: {why}" for name, why in missing.items()))
    budget = min(max(float(p.flops) for p in one.points) for one in found.values())
    return CrossCheck(found, missing, budget)


def last_rows(curves: Table) -> Table:
    """Runs from their learning curves: the last row of each."""
    if not curves.has("run"):
        return curves
    last = {run: i for i, run in sorted(enumerate(curves["run"]), key=lambda one: curves["flops"][one[0]])}
    return curves.where(np.isin(np.arange(len(curves)), list(last.values())), "not the end of its run")


def _differ(x: float, x_ends: Any, y: float, y_ends: Any) -> bool:
    """Whether two values are further apart than their intervals allow together."""
    first, second = (float(high - low) / 2 for low, high in (x_ends, y_ends))
    return abs(x - y) > math.hypot(first, second)


def _ends(interval: Any, told: Callable[[float], str]) -> str:
    low, high = (float(end) for end in interval)
    return f" ({told(low)} to {told(high)})" if np.isfinite(low) else ""


def suited(table: Table) -> tuple[str, str]:
    """The approach for a table, and a sentence that says why."""
    runs = len(np.unique(table["run"])) if table.has("run") else len(table)
    if table.has("step") or runs < len(table):
        return "envelope", f"envelope chosen: {len(table)} rows along {runs} runs"
    if table.has("params") and table.has("flops") and table.has("tokens"):
        found, _ = profiles(table)
        clear = [p for p in found if len(p.x) >= SIZES and p.spread <= SAME_BUDGET]
        if len(clear) >= BUDGETS and sum(p.n_runs for p in clear) >= SHARE * sum(p.n_runs for p in found):
            return "isoflop", f"isoflop chosen: {len(clear)} budgets with {SIZES} sizes or more"
    return "surface", "surface chosen: the runs lie on no clear budgets"


def _without_worst(table: Table, k: int) -> Table:
    if k >= len(table):
        raise InputError(f"drop_worst {k} of {len(table)} runs; wanted fewer")
    keep = np.ones(len(table), bool)
    keep[np.argsort(table["loss"], kind="stable")[len(table) - k :]] = False
    return table.where(keep, f"among the {k} largest losses (drop_worst)")


def _surface(table: Table, law: str, level: float, drop_worst: int) -> Allocation:
    kind = law_by_name(law)
    if kind.inputs != ("params", "tokens"):
        raise InputError(f"law {law}: a law of {', '.join(kind.inputs)}; wanted one of params, tokens, as chinchilla")
    rows = _without_worst(admitted(kind, table), drop_worst)
    found = fit(kind, rows, bootstrap=FIT_DRAWS, level=level)
    (C,) = rows.positive("flops")
    doubted = doubt(found)
    drawn = [] if doubted else [kind(*draw) for draw in found.draws]
    made = frontier.surface(found.law, np.geomspace(C.min(), C.max(), 9), drawn=drawn, level=level)
    notes = [f"{found.n_runs} of {found.n_given} rows used"]
    notes += [f"left out: {len(e.rows)} rows, {e.reason}" for e in found.excluded]
    if isinstance(found.law, Gadre):
        notes.append(
            "gadre's form alone makes the exponent 0.5, whatever the runs say: its N^eta and D^eta share one eta"
        )
    return replace(
        made,
        method=f"surface, {law}",
        doubts=(doubted, "no intervals are given: other sizes may fit these runs as well") if doubted else (),
        warnings=(*made.warnings, *notes, *found.notes),
    )
