"""Approach 1 of Hoffmann et al. (2022): the best size at each budget along the envelope of learning curves.

Losses in nats per token, C in FLOP, N in parameters as the table counts them, D in tokens.
"""

import numpy as np
from numpy.typing import NDArray

from analysis.frontier import (
    DRAWS,
    FLOP_PER_PARAM_TOKEN,
    LEVEL,
    Allocation,
    Array,
    Optimum,
    allocation,
    few_draws,
    learning_curves,
    power_laws,
)
from analysis.table import Table
from scaling.errors import InputError

LAST_PART = 0.85  # of a run: Hoffmann et al. (2022) find all envelope points of matched cosines beyond it


def envelope(
    table: Table,
    *,
    compute: str = "flops",
    n_budgets: int = 1500,
    draws: int = DRAWS,
    seed: int = 0,
    level: float = LEVEL,
) -> Allocation:
    """At each of `n_budgets` budgets, the run whose learning curve is lowest there; a line through their sizes.

    Budgets won by the smallest or the largest size of the table are left out: nobody tried a smaller or a larger one
    there. So are rows without a loss, and those that repeat their data. The interval resamples runs and repeats
    everything.

    Args:
        table: one row per (run, step), as the curves of a study: columns run, params, flops (spent so far) and loss;
            status, epochs (so far) and schedule, where known.
        compute: "flops", or "flops_min" for Kaplan's C_min (`analysis.batch_size.with_minima`), whose tokens are those
            of batches far below B_crit.
        draws, seed: of the runs; the draws are the same for the same seed.
        level: of the intervals.

    Raises:
        InputError: a column is missing or not positive, or fewer than two sizes remain on the envelope.
    """
    table = learning_curves(table)
    params, flops, loss = table.positive("params", compute, "loss")
    run = np.unique(table["run"], return_inverse=True)[1]
    C = np.geomspace(flops.min(), flops.max(), n_budgets)
    n_runs = run.max() + 1
    N = np.empty(n_runs)
    end = np.empty(n_runs)
    per_token = np.empty(n_runs)  # FLOP
    curves = np.full((n_runs, n_budgets), np.inf)  # run budget
    for r in range(n_runs):
        rows = np.flatnonzero(run == r)
        rows = rows[np.argsort(flops[rows])]
        N[r], end[r] = params[rows[0]], flops[rows[-1]]
        # The compute of a table may count more than 6 N per token; C_min has no tokens but those of 6 N D.
        counted = compute == "flops" and table.has("tokens")
        per_token[r] = np.median(flops[rows] / table["tokens"][rows]) if counted else FLOP_PER_PARAM_TOKEN * N[r]
        inside = (flops[rows[0]] <= C) & (end[r] >= C)
        curves[r, inside] = np.interp(np.log(C[inside]), np.log(flops[rows]), np.log(loss[rows]))
    if len(set(N)) < 3:
        raise InputError(
            f"{len(set(N))} model sizes: the envelope needs at least 3, so that one lies between two others"
        )

    def through(chosen: NDArray[np.intp]) -> tuple[Array, Array, Array, Array, Array]:
        """C, N, D, ln loss and the share of the run that is over, along the envelope of the chosen runs."""
        best = chosen[np.argmin(curves[chosen], axis=0)]  # budget
        low = curves[best, np.arange(n_budgets)]
        kept = np.isfinite(low) & (N[best] > N[chosen].min()) & (N[best] < N[chosen].max())
        won = best[kept]
        return C[kept], N[won], C[kept] / per_token[won], low[kept], C[kept] / end[won]

    C_env, N_env, D_env, ln_L, share = through(np.arange(n_runs))
    if len(set(N_env)) < 2:
        raise InputError(
            f"{len(set(N_env))} sizes lie on the envelope between the smallest and the largest one, wanted 2: add sizes"
        )
    C_1 = float(np.exp(np.log(C_env).mean()))
    rng = np.random.default_rng(seed)
    redrawn = []
    for _ in range(draws):
        C_d, N_d, D_d, *_ = through(np.unique(rng.integers(n_runs, size=n_runs)))
        if len(set(N_d)) >= 2:
            redrawn.append(power_laws(C_d, N_d, D_d, C_1))
    warnings = [f"{len(e.rows)} rows left out: {e.reason}" for e in table.excluded]
    warnings += [*few_draws(redrawn, draws, "two sizes between the smallest and the largest on the envelope")]
    early = float(np.mean(share < LAST_PART))
    constant = "schedule" in table and set(table["schedule"]) <= {"constant", "const"}
    if early > 0.1 and not constant:
        warnings.append(
            f"{early:.0%} of the envelope lies before {LAST_PART:.0%} of its run: where the learning rate decays, "
            "runs of that length would end lower"
        )
    points = tuple(Optimum(*p) for p in zip(C_env, N_env, D_env, np.exp(ln_L), strict=True))
    return allocation("envelope", C_1, points, (), redrawn, warnings, level)
