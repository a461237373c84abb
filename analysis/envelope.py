"""Approach 1 of Hoffmann et al. (2022): the best size at each budget along the envelope of learning curves.

Losses in nats per token, C in FLOP, N in parameters as the table counts them, D in tokens.
"""

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull

from analysis.confidence import LEVEL
from analysis.frontier import (
    DRAWS,
    FLOP_PER_PARAM_TOKEN,
    Allocation,
    Array,
    Optimum,
    Surface,
    allocation,
    enough_draws,
    learning_curves,
    optimum,
    power_laws,
)
from analysis.laws.admission import constant_rate
from analysis.replicates import RATE, settings
from analysis.table import Table
from scaling.errors import InputError

LAST_PART = 0.85  # of a run: Hoffmann et al. (2022) find all envelope points of matched cosines beyond it


@dataclasses.dataclass(frozen=True)
class Curves:
    """Learning curves on common budgets, a row per configuration: the mean of ln loss over its seeds.

    Attributes:
        C: budgets in FLOP, rising.
        ln_loss: (configuration, budget), infinite where one of its runs was not measured on both sides of the budget.
        N, end, per_token: parameters, largest C and FLOP per token of each configuration.
        seeds: runs of each configuration.
        sigma, degrees: standard deviation of ln loss between seeds, pooled, and what it rests on; nan and 0 where every
            configuration was run once.
    """

    C: Array
    ln_loss: Array
    N: Array
    end: Array
    per_token: Array
    seeds: NDArray[np.int64]
    sigma: float
    degrees: int

    def crossings(self, ln_loss: Array) -> tuple[Array, Array, Array, Array, float, int]:
        """Where the best size changes because two of these curves cross: C, N, D and ln loss of each crossing; the
        share of budgets from the first to the last at which the run that wins is not yet near its end; and at how many
        changes one of the two curves begins or ends instead.

        The best size at a crossing is the geometric mean of the two. Of a curve's end nothing follows: were all changes
        taken, a line through a grid whose runs are all as long would be far too steep, as small sizes win before large
        ones have begun and large ones after small ones have ended.
        """
        best = np.argmin(ln_loss, axis=0)  # budget
        at = np.flatnonzero(np.diff(self.N[best]))
        old, new = best[at], best[at + 1]
        met = np.isfinite(ln_loss[[old, old, new, new], [at, at + 1, at, at + 1]]).all(axis=0)
        at, old, new = at[met], old[met], new[met]
        before, after = (ln_loss[old, k] - ln_loss[new, k] for k in (at, at + 1))
        part = before / (before - after)  # of the way to the next budget
        ln_C = np.log(self.C)
        ln_C = ln_C[at] + part * (ln_C[at + 1] - ln_C[at])
        low = ln_loss[old, at] + part * (ln_loss[old, at + 1] - ln_loss[old, at])
        per_token = (np.log(self.per_token[old]) + np.log(self.per_token[new])) / 2
        between = slice(at[0], at[-1] + 1) if len(at) else slice(0)
        early = self.C[between] < LAST_PART * self.end[best[between]]
        N = np.sqrt(self.N[old] * self.N[new])
        share = float(early.mean()) if early.size else 0.0
        return np.exp(ln_C), N, np.exp(ln_C - per_token), low, share, int((~met).sum())

    def hull(self, ln_loss: Array) -> tuple[Array, Array, Array, Array, float, int]:
        """As `crossings`, from the lower convex hull of all curves over (ln C, ln loss): a size is best in the middle
        of the part of the hull that its curve holds.

        The smallest and the largest size on the hull are left out: their parts end where the curves do, or would go on
        if there were more sizes.
        """
        best = np.argmin(ln_loss, axis=0)  # budget
        low = ln_loss[best, np.arange(len(self.C))]
        seen = np.flatnonzero(np.isfinite(low))
        corners = seen[lower_hull(np.log(self.C[seen]), low[seen])]
        held = best[corners]
        sizes = np.unique(self.N[held])[1:-1]
        parts = [corners[self.N[held] == size] for size in sizes]
        middle = np.array([(np.log(self.C[part[0]]) + np.log(self.C[part[-1]])) / 2 for part in parts])
        of = np.array([best[part[len(part) // 2]] for part in parts], int)
        inside = np.concatenate([*parts, corners[:0]])
        share = float((self.C[inside] < LAST_PART * self.end[best[inside]]).mean()) if inside.size else 0.0
        ln_L = np.array([np.interp(m, np.log(self.C[corners]), low[corners]) for m in middle])
        left_out = len(np.unique(self.N[held])) - len(sizes)
        return np.exp(middle), sizes, np.exp(middle) / self.per_token[of], ln_L, share, left_out


def lower_hull(x: Array, y: Array) -> NDArray[np.intp]:
    """Indices, by rising x, of the corners of the lower convex hull of the points; x must rise."""
    if len(x) < 3:
        return np.arange(len(x))
    around = ConvexHull(np.stack([x, y], axis=1)).vertices  # against the clock
    around = np.roll(around, -int(np.argmin(around)))  # from the leftmost along the lower side
    return around[: int(np.argmax(around)) + 1].astype(np.intp)


def envelope(
    table: Table,
    *,
    hull: bool = False,
    compute: str = "flops",
    n_budgets: int = 1500,
    sigma: float | None = None,
    draws: int = DRAWS,
    seed: int = 0,
    level: float = LEVEL,
) -> Allocation:
    """At each of `n_budgets` budgets, the size whose learning curve is lowest there; a line through where it changes.

    Runs that differ in their seed alone are one curve, the mean of their ln loss: the luckiest of several seeds is no
    measure of a size. The best size changes where two curves cross; where one of them begins or ends it only seems to
    (`Curves.crossings`), and that is left out. So are rows without a loss, and those that repeat their data. The
    interval moves each curve up or down by the seed noise and repeats everything. It knows nothing of what the method
    itself is off by: a loss in the middle of a decay is above that at its end, which is warned about; uneven sizes: see
    `grid_bias`.

    Args:
        table: one row per (run, step), as the curves of a study: columns run, params, flops (spent so far) and loss;
            status, epochs (so far) and schedule, where known.
        hull: take the convex hull of the curves (`Curves.hull`) in place of where two of them cross: a size counts only
            where no straight line between two others lies below it.
        compute: "flops", or "flops_min" for Kaplan's C_min (`analysis.batch_size.with_minima`), whose tokens are those
            of batches far below B_crit.
        sigma: standard deviation of ln loss between seeds; None takes what runs show that differ in their seed alone.
            Without such runs there is no interval.
        draws, seed: of the noise; the draws are the same for the same seed.
        level: of the intervals.

    Raises:
        InputError: a column is missing or not positive, or the best size changes less than twice.
    """
    table = learning_curves(table)
    curves = _on_common_budgets(table, compute, n_budgets)
    if len(set(curves.N)) < 3:
        raise InputError(
            f"{len(set(curves.N))} model sizes: the envelope needs at least 3, so that one lies between two others"
        )
    best_sizes = curves.hull if hull else curves.crossings
    C_env, N_env, D_env, ln_L, early, ends = best_sizes(curves.ln_loss)
    left_out = f"{ends} more times where a curve begins or ends"
    if hull and len(N_env) < 2:
        raise InputError(
            f"{len(N_env)} sizes on the convex hull between the smallest and the largest, wanted 2: add sizes"
        )
    if len(N_env) < 2:
        changes = f"{len(N_env)} times where two curves cross" + (f" and {left_out}" if ends else "")
        raise InputError(f"the best size changes {changes}, wanted 2: add sizes, or make the runs longer")
    C_1 = float(np.exp(np.log(C_env).mean()))
    warnings = [f"{len(e.rows)} rows left out: {e.reason}" for e in table.excluded]
    redrawn = []
    if ends and not hull:
        warnings.append(f"the best size changes {left_out}, which tells nothing: longer runs or more sizes would")
    if sigma is None and not curves.degrees:
        warnings.append("no intervals: no seed noise given, and no runs that differ in their seed alone show it")
    else:
        rng = np.random.default_rng(seed)
        for _ in range(draws):
            # A spread that few runs showed is itself unsure: Student's, not Gauss's.
            scale = sigma or curves.sigma * np.sqrt(curves.degrees / rng.chisquare(curves.degrees))
            moved = scale / np.sqrt(curves.seeds) * rng.standard_normal(len(curves.N))
            C_d, N_d, D_d, *_ = best_sizes(curves.ln_loss + moved[:, None])
            if len(N_d) >= 2:
                redrawn.append(power_laws(C_d, N_d, D_d, C_1))
        redrawn, few = enough_draws(
            redrawn, draws, f"two {'sizes on the hull' if hull else 'changes of the best size'}"
        )
        warnings += few
    constant = constant_rate(table).all()
    if early > 0.1 and not constant:
        warnings.append(
            f"{early:.0%} of the envelope lies before {LAST_PART:.0%} of its run: where the learning rate decays, "
            "runs of that length would end lower"
        )
    points = tuple(Optimum(*p) for p in zip(C_env, N_env, D_env, np.exp(ln_L), strict=True))
    return allocation("hull" if hull else "envelope", C_1, points, (), redrawn, warnings, level)


def grid_bias(table: Table, surface: Surface) -> tuple[float, float]:
    """What the envelope makes of a known surface on this table's curves, without noise: (exponent a found, exponent a
    of the surface).

    Args:
        surface: L(N, D), say a fitted law.
    """
    params, flops = table.positive("params", "flops")
    clean = {name: table[name] for name in ("run", "status", "epochs") if name in table}
    loss = surface(params, flops / (FLOP_PER_PARAM_TOKEN * params))
    found = envelope(Table.from_columns({**clean, "params": params, "flops": flops, "loss": loss}), draws=0)
    C = np.array([p.flops for p in found.points])
    return found.a, float(np.polyfit(np.log(C), np.log(optimum(surface, C).params), 1)[0])


def _on_common_budgets(table: Table, compute: str, n_budgets: int) -> Curves:
    params, flops, loss = table.positive("params", compute, "loss")
    run = np.unique(table["run"], return_inverse=True)[1]
    C = np.geomspace(flops.min(), flops.max(), n_budgets)
    n_runs = run.max() + 1
    last = np.empty(n_runs, int)  # row of each run's end
    per_token = np.empty(n_runs)  # FLOP
    ln_loss = np.full((n_runs, n_budgets), np.inf)  # run budget
    for r in range(n_runs):
        rows = np.flatnonzero(run == r)
        rows = rows[np.argsort(flops[rows])]
        last[r] = rows[-1]
        # The compute of a table may count more than 6 N per token; C_min has no tokens but those of 6 N D.
        counted = compute == "flops" and table.has("tokens")
        per_token[r] = (
            np.median(flops[rows] / table["tokens"][rows]) if counted else FLOP_PER_PARAM_TOKEN * params[rows[0]]
        )
        inside = (flops[rows[0]] <= C) & (flops[rows[-1]] >= C)
        ln_loss[r, inside] = np.interp(np.log(C[inside]), np.log(flops[rows]), np.log(loss[rows]))
    # Seeds end with the same compute, which their least compute C_min need not be.
    of = settings(table, RATE, "flops" if "flops" in table else compute)[last]
    of = np.unique(of, return_inverse=True)[1]  # run -> configuration
    cells = np.arange(of.max() + 1)
    first = np.array([np.flatnonzero(of == c)[0] for c in cells])
    squares, degrees = 0.0, 0
    means = np.empty((len(cells), n_budgets))
    for c in cells:
        mine = ln_loss[of == c]
        means[c] = mine.mean(axis=0)
        common = np.isfinite(means[c])
        if len(mine) > 1 and common.any():
            squares += (len(mine) - 1) * float(mine[:, common].var(axis=0, ddof=1).mean())
            degrees += len(mine) - 1
    return Curves(
        C=C,
        ln_loss=means,
        N=params[last][first],
        end=flops[last][first],
        per_token=per_token[first],
        seeds=np.bincount(of),
        sigma=float(np.sqrt(squares / degrees)) if degrees else np.nan,
        degrees=degrees,
    )
