"""N_opt(C) and D_opt(C) of a table of runs by whichever of Hoffmann's three approaches suits it.

from analysis import allocation, records
from analysis.load import load
allocation.allocate(load("runs.csv"), budgets=[1e21])               # IsoFLOP profiles, or a fitted surface
allocation.allocate(records.read("studies/mine").curves, "envelope")      # learning curves
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from analysis import frontier, mixed
from analysis.confidence import LEVEL
from analysis.envelope import envelope
from analysis.fit import fit
from analysis.fit.rows import admitted
from analysis.frontier import Allocation
from analysis.isoflop import SAME_BUDGET, isoflop, profiles
from analysis.laws import Gadre, law_by_name
from analysis.laws.admission import FINISHED
from analysis.plan.reach import doubt
from analysis.table import Table
from scaling.errors import InputError

APPROACHES = ("auto", "envelope", "isoflop", "surface")
FIT_DRAWS = 200  # refits of the surface: each is a search from several starts
SIZES, BUDGETS, SHARE = 5, 3, 0.8  # a table is a set of IsoFLOP profiles: sizes per budget, budgets, of all its rows
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
            has several rows, the second where most runs lie on a few clear budgets, else the third.
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
    if chosen != "surface":  # whose fit says so itself
        notes += mixed.notes(table, ("params", "tokens"), "loss")
    if chosen == "envelope":
        if drop_worst:
            raise InputError(f"drop_worst {drop_worst}: of runs, not of learning curves; leave it out")
        found = envelope(table, sigma=sigma, level=level)
        notes.append(f"{len(table)} of {table.given} rows used")
    elif chosen == "isoflop":
        if drop_worst:
            notes.append(f"left out: the {drop_worst} largest losses (drop_worst)")
        rows = _without_worst(FINISHED.admit(table), drop_worst)
        found = isoflop(rows, method=method, sigma=sigma, level=level)
        notes.append(f"{len(rows)} of {table.given} rows used")
    else:
        if sigma is not None:
            raise InputError(
                f"sigma {sigma:g}: of an envelope or of IsoFLOP profiles; a surface refits resampled runs, leave it out"
            )
        found = _surface(table, law, level, drop_worst)
    first, last = min(p.flops for p in found.points), max(p.flops for p in found.points)
    if asked and max(asked) > BEYOND * last:
        notes.append(f"{max(asked):.3g} FLOP is {max(asked) / last:.3g} times the largest compute here: a guess")
    if asked and min(asked) * BEYOND < first:
        notes.append(
            f"{min(asked):.3g} FLOP is {first / min(asked):.3g} times below the smallest compute here: a guess"
        )
    return replace(found, budgets=asked, warnings=tuple(dict.fromkeys([*notes, *found.warnings])))


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
