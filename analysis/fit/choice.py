"""Which loss a fit takes where none is named: least squares for few rows, otherwise Huber's with a delta from the rows.

A delta far below the scatter makes Huber's function a modulus: its fit runs through as many rows as it has constants,
and neither the scatter nor the density of the residuals can then be read off few rows.
"""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from analysis.fit import intervals, solver
from analysis.fit.solver import Array, Problem

SPARE = 24  # rows beyond the constants from which their scatter is known well enough to call one of them far off
TUNING = 1.345  # delta in standard deviations: 95 % as efficient as least squares where the scatter is Gaussian
LEAST = 1e-3  # of delta, in ln(loss): the published one
ROUNDS = 4  # of scatter and refit


def robust(rows: int, constants: int) -> bool:
    """Whether so many rows are enough for Huber's loss."""
    return rows - constants >= SPARE


def settled(problem: Problem, theta: Array, free: NDArray[np.bool_], lanes: int | None = None) -> tuple[Problem, Array]:
    """The problem with Huber's loss whose delta fits its own residuals, and its optima, from those of least squares.

    Args:
        theta: optimum of each of the problem's m data sets, (m, p).
    """
    m = len(theta)
    for _ in range(ROUNDS):
        r = np.where(
            problem.weights > 0, solver.predict(problem.law, theta, problem.x, problem.objective.log) - problem.y, 0.0
        )
        s = intervals.scatter(r, (problem.weights > 0).sum(-1), int(free.sum()))
        objective = dataclasses.replace(problem.objective, kind="huber", delta=np.maximum(TUNING * s, LEAST)[:, None])
        problem = dataclasses.replace(problem, objective=objective)
        theta = solver.solve(problem, theta, free, np.arange(m), solver.CLOSE, lanes, warm=True).theta
    return problem, theta
