"""Where the compute should go: the model size N and tokens D that give the lowest loss for C FLOP.

Hoffmann et al. (2022) find N_opt(C) in three ways: from the envelope of learning curves (`envelope`), from IsoFLOP
profiles (`analysis.isoflop`) and from a fitted surface L(N, D) (`surface`). Kaplan's way is `analysis.kaplan_path`.

Losses are in nats per token, C in FLOP, N in parameters as the table or the law counts them, D in tokens.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.laws import Chinchilla, Law
from analysis.table import Table
from scaling.errors import InputError

PF_DAY = 8.64e19  # FLOP
FLOP_PER_PARAM_TOKEN = 6.0  # forward 2, backward 4: Kaplan et al. (2020) sec. 2.1
DRAWS = 1000  # of the whole chain, per interval
LEVEL = 0.95
LAST_PART = 0.85  # of a run: Hoffmann et al. (2022) find all envelope points of matched cosines beyond it

Array = NDArray[np.float64]
Surface = Callable[[Array, Array], Array]


@dataclasses.dataclass(frozen=True)
class Optimum:
    """The best way to spend C FLOP on one training run. Fields are floats, or arrays of equal shape."""

    flops: Array
    params: Array
    tokens: Array
    loss: Array

    @property
    def tokens_per_param(self) -> Array:
        return self.tokens / self.params


@dataclasses.dataclass(frozen=True)
class Minimum:
    """The lowest point of the losses of several sizes at one budget.

    `status` is "interior", "at the smallest size", "at the largest size", "a maximum" (the losses bend the wrong way),
    "too few sizes" or "lost in the noise" (interior in under half of the redraws); only interior minima are optima.
    `span` is largest over smallest N, `offset` the place of the minimum in ln N: -1 at the smallest size, 0 at the
    middle, 1 at the largest.
    """

    flops: float
    params: float
    tokens: float
    loss: float
    status: str
    n_sizes: int
    span: float
    offset: float

    @property
    def interior(self) -> bool:
        return self.status == "interior"


@dataclasses.dataclass(frozen=True)
class Allocation:
    """N_opt(C) = N_1 (C / C_1)^a and D_opt(C) = D_1 (C / C_1)^b through the optima in `points`.

    C_1 is the geometric middle of the budgets. `draws`: (n_draws, 4), rows (ln N_1, a, ln D_1, b) of the whole chain
    made again; no rows when no interval was asked for. Each interval is the percentile interval of the draws, at LEVEL.
    """

    method: str
    C_1: float
    N_1: float
    a: float
    D_1: float
    b: float
    points: tuple[Optimum, ...]
    minima: tuple[Minimum, ...]
    draws: Array
    warnings: tuple[str, ...]

    @property
    def a_interval(self) -> tuple[float, float]:
        return percentile_interval(self.draws[:, 1])

    @property
    def b_interval(self) -> tuple[float, float]:
        return percentile_interval(self.draws[:, 3])

    def params(self, C: ArrayLike) -> Array:
        """N_opt at C FLOP."""
        return self.N_1 * (np.asarray(C, float) / self.C_1) ** self.a

    def tokens(self, C: ArrayLike) -> Array:
        """D_opt at C FLOP."""
        return self.D_1 * (np.asarray(C, float) / self.C_1) ** self.b

    def params_band(self, C: ArrayLike) -> tuple[Array, Array]:
        """Lower and upper end of the interval of N_opt at C FLOP."""
        x = np.log(np.asarray(C, float) / self.C_1)
        ln_N = self.draws[:, 0, None] + self.draws[:, 1, None] * np.atleast_1d(x)  # draw c
        low, high = np.percentile(ln_N, _percents(), axis=0) if len(ln_N) else np.full((2, np.size(x)), np.nan)
        return np.exp(low).reshape(np.shape(x)), np.exp(high).reshape(np.shape(x))

    def text(self) -> str:
        """The allocation as a person reads it."""

        def between(ends: tuple[float, float]) -> str:
            return f" ({LEVEL:.0%}: {ends[0]:.3f} to {ends[1]:.3f})" if np.isfinite(ends[0]) else ""

        lines = [
            f"{self.method}, {len(self.points)} points",
            f"  N = {self.N_1:.3g} (C / {self.C_1:.3g}) ^ {self.a:.3f}{between(self.a_interval)}",
            f"  D = {self.D_1:.3g} (C / {self.C_1:.3g}) ^ {self.b:.3f}{between(self.b_interval)}",
        ]
        lines += [f"  {m.flops:9.3g} FLOP: N {m.params:.3g}, loss {m.loss:.4f}" for m in self.minima if m.interior]
        return "\n".join([*lines, *(f"Note: {warning}" for warning in self.warnings)])


def _percents() -> tuple[float, float]:
    return 50 * (1 - LEVEL), 50 * (1 + LEVEL)


def percentile_interval(draws: ArrayLike) -> tuple[float, float]:
    """The middle LEVEL of the draws; (nan, nan) where there are none."""
    draws = np.asarray(draws, float)
    if not len(draws):
        return np.nan, np.nan
    low, high = np.percentile(draws, _percents())
    return float(low), float(high)


def finished(table: Table) -> Table:
    """The runs that ended well, where the table says which did."""
    return table.where(table["status"] == "done", "diverged or unfinished") if "status" in table else table


# --- lower envelope


def lower_envelope(x: ArrayLike, loss: ArrayLike) -> NDArray[np.intp]:
    """Indices, by rising x, of the points that no cheaper point matches in loss: the steps of the frontier of (x,
    loss).
    """
    x, loss = np.asarray(x, float), np.asarray(loss, float)
    order = np.lexsort((loss, x))
    best = np.minimum.accumulate(np.concatenate(([np.inf], loss[order])))
    return order[loss[order] < best[:-1]]


# --- approach 1: the envelope over learning curves


def envelope(
    table: Table, *, compute: str = "flops", n_budgets: int = 1500, draws: int = DRAWS, seed: int = 0
) -> Allocation:
    """Approach 1 of Hoffmann et al. (2022): at each budget, the run whose learning curve is lowest there.

    Budgets won by the smallest or the largest size of the table are left out: nobody tried a smaller or a larger one
    there. The interval resamples runs and repeats everything.

    Args:
        table: one row per (run, step): columns run, params, flops (spent so far) and loss; schedule, where known.
        compute: "flops", or "flops_min" for Kaplan's C_min (`analysis.batch_size.with_minima`), whose tokens are those
            of batches far below B_crit.

    Raises:
        InputError: a column is missing or not positive, or fewer than two sizes remain on the envelope.
    """
    table = finished(table)
    params, flops, loss = table.positive("params", compute, "loss")
    run = np.unique(table["run"], return_inverse=True)[1]
    C = np.geomspace(flops.min(), flops.max(), n_budgets)
    n_runs = run.max() + 1
    N = np.empty(n_runs)
    end = np.empty(n_runs)
    curves = np.full((n_runs, n_budgets), np.inf)  # run budget
    for r in range(n_runs):
        rows = np.flatnonzero(run == r)
        rows = rows[np.argsort(flops[rows])]
        N[r], end[r] = params[rows[0]], flops[rows[-1]]
        inside = (flops[rows[0]] <= C) & (end[r] >= C)
        curves[r, inside] = np.interp(np.log(C[inside]), np.log(flops[rows]), np.log(loss[rows]))
    if len(set(N)) < 3:
        raise InputError(
            f"{len(set(N))} model sizes: the envelope needs at least 3, so that one lies between two others"
        )

    def through(chosen: NDArray[np.intp]) -> tuple[Array, Array, Array, Array]:
        """C, N, ln loss and the share of the run that is over, along the envelope of the chosen runs."""
        best = chosen[np.argmin(curves[chosen], axis=0)]  # budget
        low = curves[best, np.arange(n_budgets)]
        kept = np.isfinite(low) & (N[best] > N[chosen].min()) & (N[best] < N[chosen].max())
        return C[kept], N[best[kept]], low[kept], C[kept] / end[best[kept]]

    C_env, N_env, ln_L, share = through(np.arange(n_runs))
    if len(set(N_env)) < 2:
        raise InputError(
            f"{len(set(N_env))} sizes lie on the envelope between the smallest and the largest one, wanted 2: add sizes"
        )
    C_1 = float(np.exp(np.log(C_env).mean()))
    rng = np.random.default_rng(seed)
    redrawn = []
    for _ in range(draws):
        C_d, N_d, *_ = through(np.unique(rng.integers(n_runs, size=n_runs)))
        if len(set(N_d)) >= 2:
            redrawn.append(power_laws(C_d, N_d, C_d / (FLOP_PER_PARAM_TOKEN * N_d), C_1))
    warnings = [*few_draws(redrawn, draws, "two sizes between the smallest and the largest on the envelope")]
    early = float(np.mean(share < LAST_PART))
    constant = "schedule" in table and set(table["schedule"]) <= {"constant", "const"}
    if early > 0.1 and not constant:
        warnings.append(
            f"{early:.0%} of the envelope lies before {LAST_PART:.0%} of its run: where the learning rate decays, "
            "runs of that length would end lower"
        )
    points = tuple(
        Optimum(*p) for p in zip(C_env, N_env, C_env / (FLOP_PER_PARAM_TOKEN * N_env), np.exp(ln_L), strict=True)
    )
    return allocation("envelope", C_1, points, (), redrawn, warnings)


# --- approach 3: a fitted surface


def chinchilla_optimum(law: Chinchilla, C: ArrayLike) -> Optimum:
    """The optimum of L = E + A/N^alpha + B/D^beta at C = 6 N D FLOP: Hoffmann et al. (2022) eq. 4."""
    C = np.asarray(C, float)
    G = (law.alpha * law.A / (law.beta * law.B)) ** (1 / (law.alpha + law.beta))
    ND = C / FLOP_PER_PARAM_TOKEN
    N, D = G * ND ** (law.beta / (law.alpha + law.beta)), ND ** (law.alpha / (law.alpha + law.beta)) / G
    return Optimum(C, N, D, law(N, D))


def optimum(surface: Surface, C: ArrayLike) -> Optimum:
    """The optimum of any surface L(N, D) at each C = 6 N D, by search over ln N: a grid, then golden sections.

    Args:
        surface: L(N, D), elementwise on arrays.
        C: FLOP, any shape.

    Raises:
        InputError: the loss has no minimum between one parameter and one token.
    """
    C = np.asarray(C, float)
    ND = C / FLOP_PER_PARAM_TOKEN

    def loss(x: Array) -> Array:
        N = np.exp(x)
        # Laws of a user's own may overflow far from any model; such sizes are no candidates.
        with np.errstate(all="ignore"):
            L = np.asarray(surface(N, ND / N), float)
        return np.where(np.isfinite(L), L, np.inf)

    top = np.log(ND)  # one token
    n_grid = 256
    grid = np.linspace(0, 1, n_grid).reshape(-1, *[1] * C.ndim) * top
    i = np.argmin(loss(grid), axis=0)
    if np.any((i == 0) | (i == n_grid - 1)):
        raise InputError(
            f"no best size at {np.max(C):.3g} FLOP: the loss of this law only falls towards one end; fit more sizes "
            "and tokens"
        )
    low, high = (np.take_along_axis(grid, np.asarray(i)[None] + step, axis=0)[0] for step in (-1, 1))
    x = golden_section(loss, low, high)
    N = np.exp(x)
    return Optimum(C, N, ND / N, loss(x))


def golden_section(f: Callable[[Array], Array], low: Array, high: Array) -> Array:
    """Minima of f between low and high, elementwise; to about 1e-8, where the values of f end being different."""
    ratio = (np.sqrt(5) - 1) / 2
    for _ in range(64):
        a, b = high - ratio * (high - low), low + ratio * (high - low)
        left = f(a) < f(b)
        low, high = np.where(left, low, a), np.where(left, b, high)
    return (low + high) / 2


def best(law: Surface, C: ArrayLike) -> Optimum:
    """The optimum of L(N, D) at C: the closed form for Chinchilla's law, else `optimum`.

    Args:
        law: a law of (params, tokens), or any function of N and D.
        C: FLOP.

    Raises:
        InputError: the law's columns are others: L(N, D) of early-stopped runs, say, has unique tokens for D and says
            nothing of compute.
    """
    if isinstance(law, Law) and law.inputs != ("params", "tokens"):
        raise InputError(
            f"{law.name} is a law of {', '.join(law.inputs)}; how C is best spent follows from one of params, tokens: "
            "fit chinchilla"
        )
    return chinchilla_optimum(law, C) if isinstance(law, Chinchilla) else optimum(law, C)


def surface(law: Surface, C: ArrayLike, *, drawn: Sequence[Surface] = ()) -> Allocation:
    """Approach 3 of Hoffmann et al. (2022): N_opt(C) and D_opt(C) of a fitted surface.

    Args:
        law: L(N, D) with D the tokens processed in at most one epoch.
        C: budgets in FLOP between which the straight lines are drawn; exact for the Chinchilla form.
        drawn: the law fitted to each bootstrap draw, for intervals.
    """
    C = np.atleast_1d(np.asarray(C, float))
    if len(C) < 2:
        raise InputError(f"{len(C)} budget: an exponent needs at least 2")
    C_1 = float(np.exp(np.log(C).mean()))
    found = best(law, C)
    redrawn = []
    for one in drawn:
        try:
            o = best(one, C)
        except InputError:  # this draw has no optimum; counted below
            continue
        if np.all(np.isfinite(o.params)):
            redrawn.append(power_laws(C, o.params, o.tokens, C_1))
    points = tuple(Optimum(*p) for p in zip(found.flops, found.params, found.tokens, found.loss, strict=True))
    return allocation("surface", C_1, points, (), redrawn, few_draws(redrawn, len(drawn), "an optimum"))


def power_laws(C: Array, N: Array, D: Array, C_1: float) -> tuple[float, float, float, float]:
    """(ln N_1, a, ln D_1, b) by least squares of ln N and ln D over ln (C / C_1)."""
    x = np.log(C / C_1)
    (a, b), (ln_N, ln_D) = np.polyfit(x, np.log(np.stack([N, D], axis=1)), 1)
    return float(ln_N), float(a), float(ln_D), float(b)


def few_draws(redrawn: Sequence[object], draws: int, what: str) -> list[str]:
    lost = draws - len(redrawn)
    return [f"{lost} of {draws} draws had not {what}: the interval is too narrow"] if lost > 0.05 * draws else []


def allocation(
    method: str,
    C_1: float,
    points: tuple[Optimum, ...],
    minima: tuple[Minimum, ...],
    redrawn: Sequence[tuple[float, float, float, float]],
    warnings: Sequence[str],
) -> Allocation:
    C, N, D = (np.array([getattr(p, name) for p in points]) for name in ("flops", "params", "tokens"))
    ln_N, a, ln_D, b = power_laws(C, N, D, C_1)
    draws = np.array(redrawn, float).reshape(-1, 4)
    return Allocation(
        method, C_1, float(np.exp(ln_N)), a, float(np.exp(ln_D)), b, points, minima, draws, tuple(warnings)
    )
