"""Robust least squares for many problems at once: a compiled Levenberg-Marquardt step over lanes of (start, data set).

A lane holds one start for one set of rows and weights. Starts, bootstrap draws and profile points are all lanes, so a
law is compiled once per table. Lanes that have converged are refilled from the queue: none waits for the slowest.

The objective is sum_i w_i rho(r_i), r the residual of the logarithm (or of the value) of the law. Sums, never means: a
mean of Huber terms is small enough to meet an optimiser's tolerance anywhere (Besiroglu et al. 2024).
"""

import contextlib
import dataclasses
import functools
import math
from collections.abc import Callable, Iterator
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from analysis.laws import Law
from scaling.errors import InputError

Array = NDArray[np.float64]
State = tuple[Any, ...]

ITERATIONS = 200  # per lane
WARM = 1e-3  # damping from a start that is an optimum but for rounding, or nearly one; from elsewhere 1
BUSY = 0.75  # lanes are refilled once fewer than this share of them is still going down
BLOCK = 1024  # rows summed at a time, so that the working set stays in the second-level cache
LANE_ELEMENTS = 2**13  # lanes x rows of one block: twice as many, and more of them wait for the slowest
CALL_ELEMENTS = 2**19  # lanes x rows of one call
EXACT = 1e-15  # a lane is done when a step would lower the objective by less than this share of it
ZERO = 1e-9  # what a floor of 0 is while it is fitted as a logarithm: too little to tell, enough to have a slope
RISEN = 0.2  # of the smallest target: a floor that all rows feel
SAME = 1e-6  # relative difference of objectives below which two fits are one
ABSOLUTE = 1e-6  # delta of the absolute loss
CLOSE = 1e-8  # enough to tell optima apart, and for a bootstrap draw: 1e-4 of a standard error
# XLA's newer emitters take twice as long to compile this program and run it no faster. Later versions have no others.
OLD_EMITTERS = {"xla_cpu_use_fusion_emitters": False}


@dataclasses.dataclass(frozen=True)
class Objective:
    """How far a law is from the data: rho of the residuals, in the logarithm of the target or in the target itself.

    "huber": r^2 / 2 up to delta, then delta (|r| - delta / 2). "squared": r^2 / 2. "asymmetric": Huber's, `asymmetry`
    times as heavy where the law lies above the run, so that badly tuned runs do not lift it. "absolute": |r|, as
    Huber's in units of a delta so small (`ABSOLUTE`) that it only makes the corner at 0 smooth.
    """

    kind: Literal["auto", "huber", "squared", "asymmetric", "absolute"] = "huber"  # "auto" until the rows are known
    delta: Any = 1e-3  # float; (m, 1) where each of m data sets has its own
    log: bool = True
    asymmetry: float = 10.0

    def shape(self) -> tuple[Any, float]:
        """Huber's delta and the weight of positive residuals: all kinds are one function with two numbers."""
        return (1e150 if self.kind == "squared" else self.delta), (self.asymmetry if self.kind == "asymmetric" else 1.0)

    @classmethod
    def asked(cls, loss: Any, delta: float | None, log: bool, asymmetry: float) -> Self:
        """As the options of a fit have it: "auto" with a delta is Huber's, and the absolute loss has its own.

        Raises:
            InputError: a delta for the absolute loss.
        """
        if loss == "absolute":
            if delta is not None:
                raise InputError(f"delta {delta:g}: the absolute loss has none; leave it out, or fit with loss huber")
            delta = ABSOLUTE
        kind = "huber" if loss == "auto" and delta is not None else loss
        return cls(kind, cls.delta if delta is None else float(delta), log, float(asymmetry))

    @property
    def unit(self) -> float:
        """What the objective is told in units of."""
        return ABSOLUTE if self.kind == "absolute" else 1.0

    def terms(self, r: Array) -> tuple[Array, Array]:
        """rho(r) and its derivative psi(r)."""
        return _rho(r, *self.shape(), np)[:2]


def _rho(r: Any, delta: Any, asymmetry: Any, xp: Any) -> tuple[Any, Any, Any, Any]:
    """rho(r), its first and second derivative, and the weight rho'(r) / r of iterated reweighting."""
    a = xp.abs(r)
    inside = a <= delta
    rho = xp.where(inside, 0.5 * a * a, delta * (a - 0.5 * delta))
    weight = xp.where(inside, 1.0, delta / xp.maximum(a, 1e-150))
    heavy = xp.where(r > 0, asymmetry, 1.0)
    return heavy * rho, heavy * xp.clip(r, -delta, delta), heavy * inside, heavy * weight


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """A law, its objective and the data.

    Attributes:
        x: columns that the law takes, f64 (n,) each.
        y: target, in the logarithm where the objective is, f64 (m, n) for m data sets.
        weights: f64 (m, n), 0 where a row does not count.
    """

    law: type[Law]
    objective: Objective
    x: tuple[Array, ...]
    y: Array
    weights: Array

    def with_data(self, y: Array | None = None, weights: Array | None = None) -> "Problem":
        y = self.y if y is None else np.atleast_2d(y)
        weights = self.weights if weights is None else np.atleast_2d(weights)
        m = max(len(y), len(weights))
        return dataclasses.replace(
            self, y=np.broadcast_to(y, (m, y.shape[1])), weights=np.broadcast_to(weights, (m, y.shape[1]))
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Solutions:
    """Where the lanes ended; all arrays have one entry per lane."""

    theta: Array  # (s, p), in fit coordinates
    value: Array  # (s,), inf where the start itself had no finite objective
    gradient: Array  # (s, p), of the summed objective
    converged: NDArray[np.bool_]  # (s,)
    iterations: NDArray[np.int64]  # (s,)


@contextlib.contextmanager
def double_precision() -> Iterator[None]:
    """float64 on the CPU inside, whatever the trainer uses outside."""
    import jax

    with jax.enable_x64(True), jax.default_device(jax.local_devices(backend="cpu")[0]):
        yield


def to_constants(law: type[Law], theta: Array) -> Array:
    """Constants from fit coordinates, (..., p): scales and floors are fitted as logarithms."""
    log = np.array([c.log for c in law.constants()])
    with np.errstate(over="ignore"):
        return np.where(log, np.exp(np.where(log, theta, 0.0)), theta)


def to_theta(law: type[Law], constants: Array) -> Array:
    """Fit coordinates from constants, (..., p); a floor of 0 is `ZERO`."""
    log = np.array([c.log for c in law.constants()])
    return np.where(log, np.log(np.where(log & (constants != 0), constants, np.where(log, ZERO, 1.0))), constants)


def theta_of(law: Law) -> Array:
    """The constants of a law in fit coordinates, (p,)."""
    return to_theta(type(law), np.array([getattr(law, c.name) for c in law.constants()], np.float64))


def at_zero(law: type[Law], theta: Array) -> NDArray[np.bool_]:
    """Which of the constants theta (..., p) are floors of 0."""
    return np.array([c.kind == "floor" for c in law.constants()]) & (theta <= math.log(ZERO) + 1e-9)


def lifted(problem: Problem) -> float:
    """A floor that all rows feel, as a logarithm."""
    return math.log(RISEN * float(np.min(np.exp(problem.y) if problem.objective.log else np.abs(problem.y))))


def risen(problem: Problem, theta: Array) -> Array:
    """The constants theta (..., p) with floors of 0 lifted until all rows feel them."""
    return np.where(at_zero(problem.law, theta), lifted(problem), theta)


def sink(
    problem: Problem, theta: Array, value: Array, free: NDArray[np.bool_], lanes: int | None = None
) -> tuple[Array, Array]:
    """Optima theta (m, p) and their objectives (m,) with the floors at 0 that the rows want no higher.

    As a logarithm a floor only nears 0, and stops anywhere on the way: where the fit is as good with 0, it is 0.
    """
    for k, c in enumerate(problem.law.constants()):
        if c.kind != "floor" or not free[k] or not (free & (np.arange(len(free)) != k)).any():
            continue
        start, held = theta.copy(), free.copy()
        start[:, k], held[k] = math.log(ZERO), False
        found = solve(problem, start, held, np.arange(len(theta)), EXACT, lanes)
        none = (found.value <= value * (1 + SAME)) | (theta[:, k] <= math.log(ZERO))
        theta, value = np.where(none[:, None], found.theta, theta), np.where(none, found.value, value)
    return theta, value


def predict(law: type[Law], theta: Array, x: tuple[Array, ...], log: bool) -> Array:
    """The law, or its logarithm, at the rows: theta (..., p) and columns (n,) give (..., n)."""
    constants = to_constants(law, np.asarray(theta, np.float64))
    with np.errstate(all="ignore"):
        value = np.asarray(law(*(constants[..., k, None] for k in range(constants.shape[-1])))(*x), np.float64)
        value = np.broadcast_to(value, (*constants.shape[:-1], len(x[0])))
        return np.log(value) if log else value


def jacobian(law: type[Law], theta: Array, x: tuple[Array, ...], log: bool) -> Array:
    """Slopes of `predict` in the fit coordinates by central differences (exact to 1e-9), (..., n, p)."""
    theta = np.asarray(theta, np.float64)
    step = 1e-5 * np.maximum(1.0, np.abs(theta))
    columns = []
    for k in range(theta.shape[-1]):
        h = np.zeros_like(theta)
        h[..., k] = step[..., k]
        difference = predict(law, theta + h, x, log) - predict(law, theta - h, x, log)
        columns.append(difference / (2 * step[..., k, None]))
    return np.stack(columns, -1)


def solve(
    problem: Problem,
    theta0: Array,
    free: NDArray[np.bool_] | None = None,
    data: NDArray[np.int64] | None = None,
    tolerance: float = EXACT,
    lanes: int | None = None,
    *,
    warm: bool = False,
    iterations: int = ITERATIONS,
) -> Solutions:
    """The minimum that each start leads to.

    Args:
        theta0: starts in fit coordinates, (s, p).
        free: bool (p,) or (s, p), False for a constant that stays as the start has it; all free by default.
        data: which of the problem's data sets a start is for, (s,); the first by default.
        tolerance: a lane is done when a step would lower its objective by less than this share of it.
        lanes: how many run side by side; by default as many as the cache holds.
        warm: the starts are optima, or nearly: a damped step at the limit of rounding is refused again and again.
        iterations: of each lane, at most.
    """
    theta0 = np.asarray(theta0, np.float64)
    s, p = theta0.shape
    n = len(problem.x[0])
    padded = _padded(n)
    lanes = lanes or int(np.clip(min(LANE_ELEMENTS // min(padded, BLOCK), CALL_ELEMENTS // padded), 1, 128))
    pad = ((0, 0), (0, padded - n))
    x = tuple(np.pad(column, pad[1], mode="edge") for column in problem.x)
    y = np.pad(problem.y, pad, mode="edge")
    weights = np.pad(problem.weights, pad)
    free = np.broadcast_to(np.ones(p, bool) if free is None else free, (s, p))
    data = np.zeros(s, np.int64) if data is None else data

    out = Solutions(theta0.copy(), np.full(s, np.inf), np.zeros((s, p)), np.zeros(s, bool), np.zeros(s, np.int64))
    with double_precision():
        advance = _program(problem.law, problem.objective.log)
        delta, asymmetry = problem.objective.shape()
        delta = np.broadcast_to(np.ravel(delta), len(y))
        settings = (tolerance, asymmetry, iterations)
        _run_queue(advance, out, free, data, x, y, weights, delta, settings, lanes, WARM if warm else 1.0)
    return out


def _run_queue(
    advance: Callable[..., State],
    out: Solutions,
    free: NDArray[np.bool_],
    data: NDArray[np.int64],
    x: tuple[Array, ...],
    y: Array,
    weights: Array,
    delta: Array,
    settings: tuple[float, float, int],
    lanes: int,
    damping: float,
) -> None:
    """Feeds starts to lanes until all are done; writes into `out`."""
    s, p = out.theta.shape
    who = np.full(lanes, -1)  # the start in each lane
    lane_free, lane_y, lane_w = np.ones((lanes, p), bool), np.zeros((lanes, y.shape[1])), np.zeros((lanes, y.shape[1]))
    lane_delta = np.ones(lanes)
    state = [
        np.zeros((lanes, p)),  # theta
        np.full(lanes, np.inf),  # value
        np.zeros((lanes, p)),  # gradient
        np.zeros((lanes, p, p)),  # curvature by rho''
        np.zeros((lanes, p, p)),  # curvature by rho'/r: never too small
        np.ones(lanes),  # damping
        np.zeros(lanes, np.int64),  # iterations
        np.ones(lanes, bool),  # done
        np.zeros(lanes, bool),  # converged
    ]
    queued = 0
    while True:
        empty = np.flatnonzero(who < 0)[: s - queued]
        if empty.size:
            new = np.arange(queued, queued + empty.size)
            queued += empty.size
            who[empty] = new
            lane_free[empty], lane_y[empty], lane_w[empty] = free[new], y[data[new]], weights[data[new]]
            lane_delta[empty] = delta[data[new]]
            for part, fill in zip(
                state, (out.theta[new], np.inf, 0.0, 0.0, 0.0, damping, 0, False, False), strict=True
            ):
                part[empty] = fill
        busy = who >= 0
        if not busy.any():
            return
        fewest = math.ceil(BUSY * busy.sum()) if queued < s else 1
        state = [
            np.array(part) for part in advance(tuple(state), lane_free, x, lane_y, lane_w, lane_delta, settings, fewest)
        ]
        finished = np.flatnonzero(busy & state[7])
        starts = who[finished]
        out.theta[starts], out.value[starts], out.gradient[starts] = (part[finished] for part in state[:3])
        out.iterations[starts], out.converged[starts] = state[6][finished], state[8][finished]
        state[7][finished] = True
        who[finished] = -1


def _padded(n: int) -> int:
    """Rows rounded up to a power of two or three quarters of one, so that tables of similar length share a program."""
    full = max(64, 1 << (n - 1).bit_length())
    return 3 * full // 4 if 64 < n <= 3 * full // 4 else full


@functools.cache
def _program(law: type[Law], log_target: bool) -> Callable[..., State]:
    """The compiled descent of all lanes: iterations until fewer than a given number of them are left to go on."""
    import jax
    import jax.numpy as jnp

    log = np.array([c.log for c in law.constants()])
    p = len(log)

    def transformed(theta: Any, x: Any) -> Any:
        constants = jnp.where(log, jnp.exp(jnp.where(log, theta, 0.0)), theta)
        value = law(*(constants[:, k, None] for k in range(p)))(*x)
        return jnp.log(value) if log_target else value

    def block_sums(theta: Any, free: Any, x: Any, y: Any, w: Any, delta: Any, asymmetry: Any) -> tuple[Any, ...]:
        def along(tangent: Any) -> tuple[Any, Any]:
            return jax.jvp(
                lambda t: jnp.broadcast_to(transformed(t, x), y.shape),
                (theta,),
                (jnp.broadcast_to(tangent, theta.shape),),
            )

        value, J = jax.vmap(along, out_axes=(None, 1))(jnp.eye(p))  # s n, s p n
        J = J * free[..., None]
        rho, psi, slope, weight = _rho(value - y, delta[:, None], asymmetry, jnp)

        def curvature(weights: Any) -> Any:
            return (J * weights[:, None]) @ jnp.swapaxes(J, 1, 2)

        return jnp.sum(w * rho, -1), (J @ (w * psi)[..., None])[..., 0], curvature(w * slope), curvature(w * weight)

    def evaluate(theta: Any, free: Any, x: Any, y: Any, w: Any, delta: Any, asymmetry: Any) -> tuple[Any, ...]:
        """The objective, its gradient, and the curvature by rho'' and by rho' / r."""
        s, n = y.shape
        if n <= 2 * BLOCK:
            return block_sums(theta, free, x, y, w, delta, asymmetry)

        def add(sums: Any, rows: Any) -> tuple[Any, None]:
            columns, targets, weights = rows
            more = block_sums(theta, free, columns, targets, weights, delta, asymmetry)
            return jax.tree.map(jnp.add, sums, more), None

        zeros = jnp.zeros(s), jnp.zeros((s, p)), jnp.zeros((s, p, p)), jnp.zeros((s, p, p))
        columns = tuple(column.reshape(-1, BLOCK) for column in x)
        targets, weights = (jnp.moveaxis(part.reshape(s, -1, BLOCK), 1, 0) for part in (y, w))
        return jax.lax.scan(add, zeros, (columns, targets, weights))[0]

    def newton_step(value: Any, g: Any, H: Any, D: Any, damping: Any, free: Any) -> tuple[Any, ...]:
        # Damped by the curvature of iterated reweighting, which spans what rho'' misses where all residuals are large.
        scale = jnp.diagonal(D, axis1=1, axis2=2)  # s p
        more = damping[:, None] * (0.001 * scale + 1e-9 * jnp.max(scale, -1, keepdims=True)) + 1e-14 * scale + ~free
        step, definite = eliminate(H + damping[:, None, None] * D + more[..., None] * jnp.eye(p), -g)
        unknown = ~jnp.isfinite(value)
        step = jnp.where(unknown[:, None], 0.0, step)
        fall = -jnp.sum(step * (g + 0.5 * (H @ step[..., None])[..., 0]), -1)
        return step, definite | unknown, fall

    def eliminate(A: Any, b: Any) -> tuple[Any, Any]:
        """Gauss-Jordan on small positive matrices; a LAPACK call per lane would cost more than the rows do."""

        def sweep(j: Any, carry: tuple[Any, Any]) -> tuple[Any, Any]:
            M, definite = carry
            pivot = M[:, j, j]
            row = M[:, j] / jnp.where(pivot > 0, pivot, 1.0)[:, None]
            M = jnp.where((jnp.arange(p) == j)[:, None], row[:, None], M - M[:, :, j, None] * row[:, None])
            return M, definite & (pivot > 1e-14 * A[:, j, j])

        start = jnp.concatenate([A, b[..., None]], -1), jnp.ones(len(A), bool)
        M, definite = jax.lax.fori_loop(0, p, sweep, start)
        return M[..., p], definite

    def iterate(state: State, free: Any, x: Any, y: Any, w: Any, delta: Any, settings: Any) -> State:
        theta, value, g, H, D, damping, count, done, converged = state
        step, definite, decrease = newton_step(value, g, H, D, damping, free)
        new = evaluate(theta + step, free, x, y, w, delta, settings[1])
        fresh = ~jnp.isfinite(value)
        better = definite & (new[0] <= value) & jnp.isfinite(new[0]) & jnp.all(jnp.isfinite(new[1]), -1) & ~done
        gain = (value - new[0]) / jnp.maximum(decrease, 1e-300)
        # In the bent valleys of these objectives a step that was just right is the longest that will do next: easing
        # at once what a rejection has raised costs every second iteration.
        eased = damping * jnp.where(gain > 0.9, 0.3, jnp.where(gain > 0.6, 0.5, jnp.where(gain > 0.2, 1.0, 2.0)))
        eased = jnp.where(eased < 1e-8, 0.0, eased)
        damping = jnp.where(fresh, damping, jnp.where(better, eased, jnp.maximum(3 * damping, 1e-3)))
        small = ~fresh & definite & (damping < 1e-2) & (decrease <= settings[0] * value + 1e-30)

        def keep(a: Any, b: Any) -> Any:
            return jnp.where(better.reshape((-1,) + (1,) * (a.ndim - 1)), a, b)

        return (
            keep(theta + step, theta),
            *(keep(a, b) for a, b in zip(new, (value, g, H, D), strict=True)),
            damping,
            count + ~done,
            done | small | (damping > 1e9) | (fresh & ~better) | (count + 1 >= settings[2]),
            converged | (small & ~done),
        )

    def advance(state: State, free: Any, x: Any, y: Any, w: Any, delta: Any, settings: Any, fewest: Any) -> State:
        return jax.lax.while_loop(
            lambda state: jnp.sum(~state[7]) >= fewest,
            lambda state: iterate(state, free, x, y, w, delta, settings),
            state,
        )

    programs = [jax.jit(advance, compiler_options=OLD_EMITTERS), jax.jit(advance)]

    def program(*arguments: Any) -> State:
        try:
            return programs[0](*arguments)
        except jax.errors.JaxRuntimeError:  # this version of XLA has no such option
            if len(programs) == 1:
                raise
            del programs[0]
            return programs[0](*arguments)

    return program
