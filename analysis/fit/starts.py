"""Where the descents begin."""

import numpy as np
from numpy.typing import ArrayLike

from analysis.fit import solver
from analysis.fit.solver import Array, Problem
from analysis.laws.law import Constant
from scaling.errors import InputError


def starts_of(problem: Problem, starts: ArrayLike | int, fixed: dict[str, float]) -> Array:
    """Starts in fit coordinates, (s, p); constants in which the law is linear are solved for."""
    law = problem.law
    constants = law.constants()
    if not isinstance(starts, int):
        given = np.asarray(starts, np.float64)
        if given.ndim != 2 or given.shape[1] != len(constants) or not np.all(np.isfinite(given)):
            raise InputError(
                f"starts of shape {given.shape}; wanted (starts, {len(constants)}) numbers, one per constant"
            )
        values = given.copy()
    else:
        if starts < 1:
            raise InputError(f"starts {starts}; wanted at least 1")
        # A low-discrepancy sequence: multiples of the powers of the root of z ** (p + 1) = z + 1, modulo 1.
        root = 2.0
        for _ in range(40):
            root = (1 + root) ** (1 / (len(constants) + 1))
        unit = (0.5 + np.arange(starts)[:, None] / root ** np.arange(1, len(constants) + 1)) % 1
        values = np.empty_like(unit)
        for k, c in enumerate(constants):
            a, b = _start(c, problem)
            values[:, k] = a * (b / a) ** unit[:, k] if c.log else a + (b - a) * unit[:, k]
    for k, c in enumerate(constants):
        if c.name in fixed:
            values[:, k] = fixed[c.name]
    if isinstance(starts, int):
        values = _solve_linear(problem, values, fixed)
    return solver.to_theta(law, values)


def _start(c: Constant, problem: Problem) -> tuple[float, float]:
    """The range that a constant's starts are spread over."""
    if not c.within:
        return c.start
    x = problem.x[problem.law.inputs.index(c.within)]
    low, high = (float(np.clip(end, *c.start)) for end in (x.min(), x.max()))
    return (low, high) if low < high else c.start


def some_of(theta0: Array, most: int) -> Array:
    """So many of the starts (s, p) at most, taken by chance, always the same: a grid's first ones lie in a corner."""
    if len(theta0) <= most:
        return theta0
    return theta0[np.sort(np.random.default_rng(0).choice(len(theta0), most, replace=False))]


def _solve_linear(problem: Problem, values: Array, fixed: dict[str, float]) -> Array:
    """Starts (s, p) with the law's linear constants at their least-squares values given the others."""
    law = problem.law
    index = [k for k, c in enumerate(law.constants()) if c.name in law.linear and c.name not in fixed]
    if not index:
        return values
    rows = np.unique(np.linspace(0, len(problem.x[0]) - 1, 512).astype(int))  # enough for a start
    x = tuple(column[rows] for column in problem.x)
    y = problem.y[0, rows]
    if problem.objective.log and not law.linear_in_log:
        y = np.exp(y)
    elif law.linear_in_log and not problem.objective.log:
        y = np.log(y)

    def at(linear: dict[int, float]) -> Array:
        constants = [values[:, k, None] for k in range(values.shape[1])]
        for k in index:
            constants[k] = np.full_like(constants[k], linear.get(k, 0.0))
        with np.errstate(all="ignore"):
            out = np.broadcast_to(law(*constants)(*x), (len(values), len(rows)))
            return np.log(out) if law.linear_in_log else out

    origin = at({})
    basis = np.stack([at({k: 1.0}) - origin for k in index], -1)  # s n k
    scale = np.ones_like(y) if law.linear_in_log else 1 / np.abs(y)
    A, b = basis * scale[:, None], (y - origin) * scale
    usable = np.isfinite(A).all((1, 2)) & np.isfinite(b).all(1)
    size = np.linalg.norm(A, axis=1, keepdims=True)
    size = np.where(size > 0, size, 1.0)
    solved = values.copy()
    solution = np.einsum("skn,sn->sk", np.linalg.pinv((A / size)[usable], rcond=1e-10), b[usable]) / size[usable, 0]
    for j, k in enumerate(index):
        if law.constants()[k].log:
            typical = np.abs(y).mean() / np.maximum(np.abs(basis[usable, :, j]).mean(1), 1e-300)
            solution[:, j] = np.maximum(solution[:, j], 1e-3 * typical)
        solved[usable, k] = solution[:, j]
    return solved
