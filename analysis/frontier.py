"""Where the compute should go: the model size N and tokens D that give the lowest loss for C FLOP.

Hoffmann et al. (2022) find N_opt(C) in three ways: from the envelope of learning curves (`analysis.envelope`), from
IsoFLOP profiles (`analysis.isoflop`) and from a fitted surface L(N, D) (`surface`). `analysis.allocation` chooses among
them. Kaplan's way is `analysis.kaplan_path`.

Losses are in nats per token, C in FLOP, N in parameters as the table or the law counts them, D in tokens.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.confidence import LEVEL
from analysis.digits import compute, short, typed
from analysis.jsonable import jsonable
from analysis.laws import Chinchilla, Gadre, admission
from analysis.laws.law import Law
from analysis.table import Table
from scaling import folders
from scaling.errors import InputError

FLOP_PER_PARAM_TOKEN = 6.0  # forward 2, backward 4: Kaplan et al. (2020) sec. 2.1
DRAWS = 1000  # of the whole chain, per interval

Array = NDArray[np.float64]
Surface = Callable[[Array, Array], Array]
Line = tuple[float, float, float, float]  # ln N_1, a, ln D_1, b


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
    made again; no rows when no interval was asked for. Each interval is the percentile interval of the draws, at
    `level`. `budgets` are those that `text` and `to_dict` tell N and D of. `doubts` say why not to trust any of
    it, `warnings` what else to know.
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
    level: float = LEVEL
    budgets: tuple[float, ...] = ()
    doubts: tuple[str, ...] = ()

    @property
    def a_interval(self) -> tuple[float, float]:
        return percentile_interval(self.draws[:, 1], self.level)

    @property
    def b_interval(self) -> tuple[float, float]:
        return percentile_interval(self.draws[:, 3], self.level)

    def params(self, C: ArrayLike) -> Array:
        """N_opt at C FLOP."""
        return self.N_1 * (np.asarray(C, float) / self.C_1) ** self.a

    def tokens(self, C: ArrayLike) -> Array:
        """D_opt at C FLOP."""
        return self.D_1 * (np.asarray(C, float) / self.C_1) ** self.b

    def params_band(self, C: ArrayLike) -> tuple[Array, Array]:
        """Lower and upper end of the interval of N_opt at C FLOP."""
        return self._band(self.draws[:, :2], C)

    def tokens_band(self, C: ArrayLike) -> tuple[Array, Array]:
        """Lower and upper end of the interval of D_opt at C FLOP."""
        return self._band(self.draws[:, 2:], C)

    def _band(self, lines: Array, C: ArrayLike) -> tuple[Array, Array]:
        """The interval at C of lines drawn as (level at C_1, slope), both in logarithms: (n_draws, 2)."""
        x = np.log(np.asarray(C, float) / self.C_1)
        values = lines[:, 0, None] + lines[:, 1, None] * np.atleast_1d(x)  # draw c
        percents = 50 * (1 - self.level), 50 * (1 + self.level)
        low, high = np.percentile(values, percents, axis=0) if len(values) else np.full((2, np.size(x)), np.nan)
        return np.exp(low).reshape(np.shape(x)), np.exp(high).reshape(np.shape(x))

    def text(self) -> str:
        """The allocation as a person reads it."""

        def between(ends: tuple[Any, Any], told: Callable[[float], str] = "{:.3f}".format) -> str:
            if not np.isfinite(ends[0]):
                return ""
            return f" ({100 * self.level:.4g} %: {told(float(ends[0]))} to {told(float(ends[1]))})"

        C, C_1 = [float(p.flops) for p in self.points], compute(self.C_1)
        lines = [
            *(f"Warning: {doubt}" for doubt in self.doubts),
            f"{self.method}: {len(self.points)} points from {typed(min(C), 3)} to {compute(max(C))}",
            f"  best N = {short(self.N_1)} (C / {C_1}) ^ {self.a:.3f}{between(self.a_interval)}",
            f"  best D = {short(self.D_1)} (C / {C_1}) ^ {self.b:.3f}{between(self.b_interval)}",
        ]
        for m in self.minima:
            if m.interior:
                size = f"N {short(m.params)}, D {short(m.tokens)}"
                lines.append(f"  minimum at {compute(m.flops)}: {size}, loss {m.loss:.4f}")
        for C in self.budgets:
            N, D = float(self.params(C)), float(self.tokens(C))
            lines += [
                f"  at {compute(C)}: {typed(D / N, 3)} tokens per parameter",
                f"    N {short(N)}{between(self.params_band(C), short)}",
                f"    D {short(D)}{between(self.tokens_band(C), short)}",
            ]
        return "\n".join([*lines, *(f"Note: {warning}" for warning in self.warnings)])

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON takes them; None where there is no interval."""

        def ends(interval: tuple[Any, Any]) -> list[float] | None:
            return [float(end) for end in interval] if np.isfinite(interval[0]) else None

        return {
            "method": self.method,
            **{name: getattr(self, name) for name in ("C_1", "N_1", "a", "D_1", "b", "level")},
            "a_interval": ends(self.a_interval),
            "b_interval": ends(self.b_interval),
            "budgets": [
                {
                    "flops": C,
                    "params": float(self.params(C)),
                    "params_interval": ends(self.params_band(C)),
                    "tokens": float(self.tokens(C)),
                    "tokens_interval": ends(self.tokens_band(C)),
                }
                for C in self.budgets
            ],
            "points": [{n: _plain(float(v)) for n, v in dataclasses.asdict(p).items()} for p in self.points],
            "minima": [{name: _plain(value) for name, value in dataclasses.asdict(m).items()} for m in self.minima],
            "n_draws": len(self.draws),
            "warnings": list(self.doubts),
            "notes": list(self.warnings),
        }

    def to_json(self, path: str | Path) -> None:
        """As `to_dict`, with the draws: from these follow the intervals at any budget."""
        text = json.dumps(jsonable(self.to_dict() | {"draws": self.draws.tolist()}), allow_nan=False)
        folders.write(Path(path), text + "\n")

    @classmethod
    def from_dict(cls, said: Mapping[str, Any]) -> "Allocation":
        """From what `to_dict` gave, or the JSON of `scaling allocate`; without draws there are no intervals.

        Raises:
            InputError: something else.
        """
        try:
            names = [field.name for field in dataclasses.fields(Optimum)]
            points = (Optimum(*np.array([p[name] for name in names], float)) for p in said["points"])
            return cls(
                str(said["method"]),
                *(float(said[name]) for name in ("C_1", "N_1", "a", "D_1", "b")),
                points=tuple(points),
                minima=(),
                draws=np.array(said.get("draws", ()), float).reshape(-1, 4),
                warnings=tuple(map(str, said["notes"])),
                level=float(said["level"]),
                doubts=tuple(map(str, said["warnings"])),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"not an allocation ({error}); wanted what scaling allocate TABLE --out FILE keeps"
            ) from error


def _plain(value: Any) -> Any:
    """A number that JSON can hold; None for NaN."""
    return None if isinstance(value, float) and not np.isfinite(value) else value


def percentile_interval(draws: ArrayLike, level: float = LEVEL) -> tuple[float, float]:
    """The middle `level` of the draws; (nan, nan) where there are none."""
    draws = np.asarray(draws, float)
    if not len(draws):
        return np.nan, np.nan
    low, high = np.percentile(draws, (50 * (1 - level), 50 * (1 + level)))
    return float(low), float(high)


def learning_curves(table: Table) -> Table:
    """The rows of learning curves that say what training reaches; the others are remembered with their reason.

    Raises:
        InputError: no column run or loss, or no row is left.
    """
    if "run" not in table:
        raise InputError(
            f"{table.source}: no column run; learning curves are wanted, several rows per run (of a study: "
            "scaling study export DIR --curves --csv FILE, or analysis.records.read(DIR).curves in Python)"
        )
    table = admission.FINISHED.admit(table)
    table = table.where(np.isfinite(table["loss"]), "no loss there: the run diverged")
    table = admission.ONE_PASS.admit(table)
    if not len(table):
        reasons = "; ".join(e.reason for e in table.excluded)
        raise InputError(f"{table.source}: no row of a learning curve is left ({reasons})")
    return table


# --- lower envelope


def lower_envelope(x: ArrayLike, loss: ArrayLike) -> NDArray[np.intp]:
    """Indices, by rising x, of the points that no cheaper point matches in loss: the steps of the frontier of (x,
    loss).
    """
    x, loss = np.asarray(x, float), np.asarray(loss, float)
    order = np.lexsort((loss, x))
    best = np.minimum.accumulate(np.concatenate(([np.inf], loss[order])))
    return order[loss[order] < best[:-1]]


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
            f"no best size at {compute(float(np.max(C)))}: the loss of this law only falls towards one end; fit more "
            "sizes and tokens"
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
    """The optimum of L(N, D) at C: the closed form for Chinchilla's and Gadre's law, else `optimum`.

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
    law = law.as_chinchilla() if isinstance(law, Gadre) else law
    return chinchilla_optimum(law, C) if isinstance(law, Chinchilla) else optimum(law, C)


def surface(law: Surface, C: ArrayLike, *, drawn: Sequence[Surface] = (), level: float = LEVEL) -> Allocation:
    """Approach 3 of Hoffmann et al. (2022): N_opt(C) and D_opt(C) of a fitted surface.

    Args:
        law: L(N, D) with D the tokens processed in at most one epoch.
        C: budgets in FLOP between which the straight lines are drawn; exact for the Chinchilla form.
        drawn: the law fitted to each bootstrap draw, for intervals.
        level: of the intervals.
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
    redrawn, few = enough_draws(redrawn, len(drawn), "an optimum")
    points = tuple(Optimum(*p) for p in zip(found.flops, found.params, found.tokens, found.loss, strict=True))
    return allocation("surface", C_1, points, (), redrawn, few, level)


def power_laws(C: Array, N: Array, D: Array, C_1: float) -> Line:
    """(ln N_1, a, ln D_1, b) by least squares of ln N and ln D over ln (C / C_1)."""
    x = np.log(C / C_1)
    (a, b), (ln_N, ln_D) = np.polyfit(x, np.log(np.stack([N, D], axis=1)), 1)
    return float(ln_N), float(a), float(ln_D), float(b)


def enough_draws(redrawn: Sequence[Line], draws: int, what: str) -> tuple[Sequence[Line], list[str]]:
    """The draws that had what a line needs, and a warning where some had not; none where that were fewer than half.

    What is left of a chain that mostly fails says nothing of how far its result scatters.
    """
    lost = draws - len(redrawn)
    if 2 * lost > draws:
        return [], [f"no intervals: {lost} of {draws} draws had not {what}"]
    return redrawn, [
        f"{lost} of {draws} draws had not {what}: the interval is too narrow"
    ] if lost > 0.05 * draws else []


def allocation(
    method: str,
    C_1: float,
    points: tuple[Optimum, ...],
    minima: tuple[Minimum, ...],
    redrawn: Sequence[Line],
    warnings: Sequence[str],
    level: float,
) -> Allocation:
    C, N, D = (np.array([getattr(p, name) for p in points]) for name in ("flops", "params", "tokens"))
    ln_N, a, ln_D, b = power_laws(C, N, D, C_1)
    draws = np.array(redrawn, float).reshape(-1, 4)
    return Allocation(
        method, C_1, float(np.exp(ln_N)), a, float(np.exp(ln_D)), b, points, minima, draws, tuple(warnings), level
    )
