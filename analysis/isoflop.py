"""IsoFLOP profiles, approach 2 of Hoffmann et al. (2022): the best size at each budget, and a line through them.

Losses in nats per token, C in FLOP, N in parameters as the table counts them, D in tokens.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from analysis import digits
from analysis.confidence import LEVEL
from analysis.frontier import (
    DRAWS,
    FLOP_PER_PARAM_TOKEN,
    Allocation,
    Array,
    Minimum,
    Optimum,
    Surface,
    allocation,
    enough_draws,
    optimum,
    power_laws,
)
from analysis.laws.admission import FINISHED
from analysis.table import Table
from scaling.errors import InputError

SAME_BUDGET = 0.1  # runs whose C differ by less belong to one IsoFLOP profile: Porian et al. (2024)
AKIMA_POINTS = 25  # per interval between neighbouring sizes: Porian et al. (2024)
WINDOW = 4.0  # a parabola sees the sizes within this factor of the best one: a compromise of noise and bias
NEAREST = 5  # sizes it sees at least, where there are so many
WIDE = 100.0  # largest over smallest size of a profile
OFF_CENTRE = 0.5  # of the half width of the grid in ln N


@dataclasses.dataclass(frozen=True)
class Profile:
    """The runs of one budget: sizes rising, one loss each. x is ln N, y ln loss, t ln D.

    `spread` is how much larger than its smallest C the largest one is, relative.
    """

    flops: float
    x: Array
    y: Array
    t: Array
    n_runs: int
    spread: float


def profiles(table: Table) -> tuple[tuple[Profile, ...], tuple[str, ...]]:
    """Sorts runs into IsoFLOP profiles: (profiles by rising budget, warnings).

    Runs whose C differ by less than SAME_BUDGET from the next share a budget. At one budget and size, seeds are
    averaged, and of several learning rates the best one stays.

    Args:
        table: columns params, flops, tokens, loss; seed and learning_rate where known.
    """
    table = FINISHED.admit(table)
    params, flops, loss = table.positive("params", "flops", "loss")
    (tokens,) = table.positive("tokens")
    # An unknown setting compares as one value, not as NaN, which equals nothing.
    rate, seeds = (np.nan_to_num(table[c]) if c in table else np.zeros(len(params)) for c in ("learning_rate", "seed"))
    order = np.argsort(flops, kind="stable")
    budget = np.empty(len(flops), int)
    budget[order] = np.concatenate(([0], np.cumsum(np.diff(np.log(flops[order])) > np.log1p(SAME_BUDGET))))
    found, repeats = [], 0
    for k in range(budget.max() + 1):
        rows = np.flatnonzero(budget == k)
        C = float(np.exp(np.log(flops[rows]).mean()))
        N = np.unique(params[rows])
        y = np.empty(len(N))
        for i, n in enumerate(N):
            same = rows[params[rows] == n]
            settings = [same[rate[same] == r] for r in np.unique(rate[same])]
            # Rows that share a seed too are repeats of one run: the lowest, as for untold settings.
            means = [np.mean([np.log(loss[s[seeds[s] == q]]).min() for q in np.unique(seeds[s])]) for s in settings]
            y[i] = min(means)
            repeats += len(same) > 1
        t = np.array([np.log(tokens[rows][params[rows] == n]).mean() for n in N])
        found.append(Profile(C, np.log(N), y, t, len(rows), float(flops[rows].max() / flops[rows].min() - 1)))
    warnings = []
    if repeats:
        warnings.append(
            f"{repeats} points are several runs of one size and budget: seeds were averaged, of other settings "
            "the best was kept"
        )
    spread = max(p.spread for p in found)
    if spread > SAME_BUDGET:
        warnings.append(
            f"budgets run into each other: C differs by up to {spread:.0%} within one profile; choose clear budgets"
        )
    return tuple(found), tuple(warnings)


def akima_minima(x: Array, y: Array) -> tuple[Array, Array, NDArray[np.str_]]:
    """Lowest points of Akima's interpolant of y over x, on AKIMA_POINTS points per interval, for many y at once.

    Args:
        x: rising, shape (n,), n >= 3.
        y: shape (n, draws).

    Returns:
        x and y of each minimum and its status (see `Minimum`), shape (draws,).
    """
    from scipy.interpolate import Akima1DInterpolator

    grid = np.linspace(x[0], x[-1], AKIMA_POINTS * (len(x) - 1))
    z = Akima1DInterpolator(x, y)(grid)  # grid draw
    i = np.argmin(z, axis=0)
    status = np.where(i == 0, "at the smallest size", np.where(i == len(grid) - 1, "at the largest size", "interior"))
    return grid[i], z[i, np.arange(z.shape[1])], status


def parabolas(x: Array, y: Array, window: float = WINDOW) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Parabolas c0 + c1 (x - centre) + c2 (x - centre)^2 near the lowest point, by least squares, for many y at once.

    Args:
        x: rising, shape (n,), n >= 3.
        y: shape (n, draws).
        window: the points within ln(window) of the lowest one take part, and at least the NEAREST.

    Returns:
        centre (draws,), c (3, draws), and which points took part (n, draws).
    """
    centre = x[np.argmin(y, axis=0)]  # draw
    u = x[:, None] - centre  # n draw
    near = np.abs(u) <= np.maximum(np.log(window), np.sort(np.abs(u), axis=0)[:NEAREST][-1]) * (1 + 1e-12)
    basis = np.stack([np.ones_like(u), u, u**2], axis=-1)  # n draw 3
    gram = np.einsum("ndi,nd,ndj->dij", basis, near.astype(float), basis)
    return centre, np.linalg.solve(gram, np.einsum("ndi,nd->di", basis, near * y)[..., None])[..., 0].T, near


def parabola_minima(x: Array, y: Array, window: float = WINDOW) -> tuple[Array, Array, NDArray[np.str_]]:
    """Vertices of parabolas in x through the points within ln(window) of the lowest one; as `akima_minima`.

    At least the NEAREST points take part. A parabola that opens downwards is "a maximum", a vertex outside the sizes
    "at the smallest size" or "at the largest size".
    """
    centre, (c0, c1, c2), _ = parabolas(x, y, window)
    bends = c2 > 0
    # A downward parabola has no minimum: its vertex is reported as nan.
    vertex = np.where(bends, -c1 / (2 * np.where(bends, c2, 1.0)), np.nan)
    at = centre + vertex
    status = np.where(
        ~bends,
        "a maximum",
        np.where(at <= x[0], "at the smallest size", np.where(at >= x[-1], "at the largest size", "interior")),
    )
    return at, c0 + c1 * vertex / 2, status


METHODS = {"akima": akima_minima, "parabola": parabola_minima}


def isoflop(
    table: Table,
    *,
    method: str = "parabola",
    sigma: float | None = None,
    draws: int = DRAWS,
    seed: int = 0,
    level: float = LEVEL,
) -> Allocation:
    """Approach 2 of Hoffmann et al. (2022): the best size at each budget, then a line through ln N_opt over ln C.

    The interval draws the losses of all runs again with noise `sigma` in ln loss, finds all minima again and fits the
    line again; a budget whose minimum lies at an edge in a draw is missing from that draw's line, and one that does so
    in over half of them from the result's.

    Args:
        table: columns as for `profiles`.
        method: "parabola" (Hoffmann et al. 2022; averages noise, biased where the profile is no parabola) or "akima"
            (Porian et al. 2024; follows every run: with 9 sizes and 0.2 % noise its interval is 7 times as wide).
        sigma: standard deviation of ln loss between seeds; None takes what a smooth profile leaves (`profile_scatter`).
        draws, seed: of the whole chain; the draws are the same for the same seed.
        level: of the intervals.

    Raises:
        InputError: bad columns, an unknown method, or fewer than two budgets with an interior minimum.
    """
    if method not in METHODS:
        raise InputError(f"method '{method}': choose {' or '.join(METHODS)}")
    found, warnings = profiles(table)
    warnings = list(warnings)
    minima = [_minimum(p, method) for p in found]
    if sigma is None:
        sigma = profile_scatter(found)
        warnings.append(
            f"no seed noise given: intervals use the scatter about smooth profiles, {sigma:.2%} of the loss"
            if np.isfinite(sigma)
            else "no intervals: no seed noise given and too few sizes per budget to see the scatter"
        )
    rng = np.random.default_rng(seed)
    n_draws = draws if np.isfinite(sigma) else 0
    if method == "akima" and n_draws:
        warnings.append("Akima's intervals are wide: in simulations 95 % held the truth in about 99 cases of 100")
    moved = [
        sigma * rng.standard_normal((len(p.x), n_draws)) if len(p.x) >= 3 else np.zeros((len(p.x), n_draws))
        for p in found
    ]
    ln_N, ln_D, good = redrawn_minima(found, moved, method)
    if n_draws:
        for k, m in enumerate(minima):
            if m.interior and good[k].mean() < 0.5:
                minima[k] = dataclasses.replace(m, status="lost in the noise")
    kept = [k for k, m in enumerate(minima) if m.interior]
    warnings += _profile_warnings(minima, method)
    if len(kept) < 2:
        budgets = f"{len(kept)} {digits.plural(len(kept), 'budget', 'budgets')}"
        seen = "; ".join(_by_status(minima))
        raise InputError(
            f"{budgets} with a minimum between their sizes, wanted at least 2 ({seen}); add sizes or budgets"
        )
    points = tuple(Optimum(*(getattr(minima[k], f.name) for f in dataclasses.fields(Optimum))) for k in kept)
    C = np.array([p.flops for p in points])
    C_1 = float(np.exp(np.log(C).mean()))
    redrawn = []
    for d in range(n_draws):
        use = good[kept, d]
        if use.sum() >= 2:
            redrawn.append(power_laws(C[use], np.exp(ln_N[kept, d][use]), np.exp(ln_D[kept, d][use]), C_1))
    redrawn, few = enough_draws(redrawn, n_draws, "two interior minima")
    warnings += few
    return allocation(f"isoflop, {method}", C_1, points, tuple(minima), redrawn, warnings, level)


def redrawn_minima(
    found: Sequence[Profile], moved: Sequence[Array], method: str
) -> tuple[Array, Array, NDArray[np.bool_]]:
    """The minima of profiles whose losses are moved: ln N, ln D and whether each is interior; (profile, draw).

    Args:
        moved: what is added to ln loss, (size, draw) of each profile. One of fewer than three sizes has no minimum.
        method: of METHODS.
    """
    n_draws = moved[0].shape[1]
    ln_N, ln_D = np.full((2, len(found), n_draws), np.nan)
    good = np.zeros((len(found), n_draws), bool)
    for k, profile in enumerate(found):
        if len(profile.x) < 3 or not n_draws:
            continue
        at, _, status = METHODS[method](profile.x, profile.y[:, None] + moved[k])
        good[k], ln_N[k] = status == "interior", at
        ln_D[k] = np.interp(at, profile.x, profile.t)
    return ln_N, ln_D, good


def _minimum(profile: Profile, method: str) -> Minimum:
    x, n = profile.x, len(profile.x)
    if n < 3:
        return Minimum(profile.flops, np.nan, np.nan, np.nan, "too few sizes", n, float(np.exp(x[-1] - x[0])), np.nan)
    (at,), (low,), (status,) = METHODS[method](x, profile.y[:, None])
    return Minimum(
        flops=profile.flops,
        params=float(np.exp(at)),
        tokens=float(np.exp(np.interp(at, x, profile.t))),
        loss=float(np.exp(low)),
        status=str(status),
        n_sizes=n,
        span=float(np.exp(x[-1] - x[0])),
        offset=float((2 * at - x[0] - x[-1]) / (x[-1] - x[0])),
    )


def profile_scatter(found: Sequence[Profile]) -> float:
    """Standard deviation of ln loss about smooth profiles, pooled over budgets; nan where no profile has four sizes.

    Each contrast of five neighbouring sizes that no cubic in ln N can feed (four sizes and parabolas, where there are
    no more) has the variance of one loss when its weights have length 1: what a smooth profile leaves is noise.
    """
    squares = []
    for p in found:
        near = np.abs(p.x - p.x[np.argmin(p.y)]) <= np.log(WIDE) / 2 + 1e-9
        squares += ((contrasts(p.x[near]) @ p.y[near]) ** 2).tolist()
    return float(np.sqrt(np.mean(squares))) if squares else np.nan


def contrasts(x: Array) -> Array:
    """Weights of each NEAREST neighbouring places that no cubic can feed, of length 1: (window, place).

    Of four places no parabola feeds them; fewer have none.
    """
    n = min(NEAREST, len(x))
    if n < 4:
        return np.empty((0, len(x)))
    found = np.zeros((len(x) - n + 1, len(x)))
    for k, row in enumerate(found):
        u = x[k : k + n] - x[k : k + n].mean()
        row[k : k + n] = np.linalg.svd(np.vander(u, n - 1).T)[2][-1]  # orthogonal to all lower powers
    return found


def _by_status(minima: Sequence[Minimum]) -> Iterator[str]:
    """The budgets without a minimum, by the reason: "at the largest size at 2 budgets (5 sizes, 1e11 to 1e12 FLOP)"."""
    for status in dict.fromkeys(m.status for m in minima if not m.interior):
        own = [m for m in minima if m.status == status]
        sizes, C = sorted({m.n_sizes for m in own}), sorted(m.flops for m in own)
        few = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
        span = digits.compute(C[0]) if len(C) == 1 else f"{digits.typed(C[0], 3)} to {digits.compute(C[-1])}"
        yield f"{status} at {len(C)} {digits.plural(len(C), 'budget', 'budgets')} ({few} sizes, {span})"


def _profile_warnings(minima: Sequence[Minimum], method: str) -> list[str]:
    warnings = [f"left out: {said}" for said in _by_status(minima)]
    off = [m for m in minima if m.interior and abs(m.offset) > OFF_CENTRE]
    if off:
        side = "smaller" if np.mean([m.offset for m in off]) < 0 else "larger"
        warnings.append(
            f"{len(off)} of {len(minima)} profiles are off centre, which biases the exponent: train {side} sizes too"
        )
    wide = [m for m in minima if m.interior and m.span > WIDE]
    if wide and method == "parabola":
        warnings.append(
            f"{len(wide)} of {len(minima)} profiles span over {WIDE:g}x in N; their parabolas see only the sizes "
            f"within {WINDOW:g}x of the best"
        )
    drift = np.ptp([m.offset for m in minima if m.interior]) if any(m.interior for m in minima) else 0.0
    if drift > OFF_CENTRE and method == "parabola":
        warnings.append(
            "the minimum wanders across the grid from budget to budget: analysis.isoflop.grid_bias says what that does"
        )
    return warnings


def grid_bias(table: Table, surface: Surface, *, method: str = "parabola") -> tuple[float, float]:
    """What the method makes of a known surface on this table's grid, without noise: (exponent a found, exponent a of
    the surface).

    The difference is the bias of the grid and the method alone (arXiv 2603.22339: wide or off-centre
    grids, alpha unlike beta).

    Args:
        surface: L(N, D), say a fitted law.
    """
    params, flops = table.positive("params", "flops")
    loss = surface(params, flops / (FLOP_PER_PARAM_TOKEN * params))
    clean = Table.from_columns({"params": params, "flops": flops, "loss": loss})
    found = isoflop(clean, method=method, sigma=0.0, draws=0)
    best = optimum(surface, np.array([p.flops for p in found.points]))
    return found.a, float(np.polyfit(np.log(best.flops), np.log(best.params), 1)[0])
