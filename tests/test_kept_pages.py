"""The kept pages: their constants follow from the points beside them by plain NumPy and SciPy."""

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import optimize

RESULTS = Path(__file__).parents[1] / "results"


def rows(name: str, **where: str) -> dict[str, np.ndarray]:
    """Columns of numbers of a kept CSV, of the rows whose cells are these."""
    lines = list(csv.DictReader((RESULTS / f"{name}.csv").read_text(encoding="utf-8").splitlines()))
    lines = [line for line in lines if all(line[column] == cell for column, cell in where.items())]
    assert lines
    found = {}
    for column in lines[0]:
        try:
            found[column] = np.array([float(line[column] or "nan") for line in lines])
        except ValueError:
            continue  # words
    return found


def constants(page: str) -> dict[tuple[str, str], dict[str, Any]]:
    every = json.loads((RESULTS / page / "constants.json").read_text(encoding="utf-8"))
    return {(one["name"], one["equation"]): one for one in every}


def slope(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def least(residuals, start) -> np.ndarray:
    return optimize.least_squares(residuals, start, xtol=1e-14, ftol=1e-14, gtol=1e-14).x


@pytest.fixture(scope="module")
def kaplan():
    return constants("kaplan")


@pytest.mark.parametrize(("panel", "claim"), [("N", ("alpha_N", "(1.1)")), ("C_min", ("alpha_C_min", "(1.3)"))])
def test_exponents_of_one_quantity_are_slopes_of_the_kept_points(kaplan, panel, claim):
    points = rows("kaplan/fig1", panel=panel)
    assert -slope(points["x"], points["loss"]) == pytest.approx(kaplan[claim]["value"], rel=1e-6)


def test_the_laws_of_two_quantities_are_least_squares_of_the_kept_points(kaplan):
    points = rows("kaplan/fig4", panel="L(N, D)")
    ln_N, ln_D, ln_L = (np.log(points[name]) for name in ("params", "x", "loss"))
    _, _, *found = least(
        lambda c: c[3] * np.logaddexp(c[2] / c[3] * (c[0] - ln_N), c[1] - ln_D) - ln_L, (20.0, 20.0, 0.09, 0.1)
    )
    assert found == pytest.approx([kaplan[name, "Table 2"]["value"] for name in ("alpha_N", "alpha_D")], rel=1e-4)

    points = rows("kaplan/fig4", panel="L(N, S_min)")
    ln_N, ln_S, ln_L = (np.log(points[name]) for name in ("params", "x", "loss"))
    _, _, *found = least(
        lambda c: np.logaddexp(c[2] * (c[0] - ln_N), c[3] * (c[1] - ln_S)) - ln_L, (24.0, 4.0, 0.08, 0.8)
    )
    assert found == pytest.approx([kaplan[name, "Table 3"]["value"] for name in ("alpha_N", "alpha_S")], rel=1e-4)


def test_alpha_B_follows_from_hyperbolas_through_the_kept_steps_and_tokens(kaplan):
    scans, every = rows("kaplan/fig10", **{"from": "scan"}), rows("kaplan/fig18")
    assert len(scans["loss"]) > 10
    for N, loss, B_crit in zip(scans["params"], scans["loss"], scans["batch_crit"], strict=True):
        own = (every["params"] == N) & (every["loss"] == loss)
        S, B = every["steps"][own], every["batch_tokens"][own]
        np.testing.assert_allclose(every["tokens"][own], B * S)
        # (S / S_min - 1) (E / E_min - 1) = 1 is S = S_min + E_min / B.
        ln_S, ln_E = least(lambda c, S=S, B=B: np.log((np.exp(c[0]) + np.exp(c[1]) / B) / S), np.log([S.min(), B[0]]))
        assert math.exp(ln_E - ln_S) == pytest.approx(B_crit, rel=1e-4)

    weight = 1 / np.hypot(np.log(scans["high"] / scans["low"]), 0.1)
    power, ln_star = np.polyfit(np.log(scans["loss"]), np.log(scans["batch_crit"]), 1, w=weight)
    assert -1 / power == pytest.approx(kaplan["alpha_B", "(1.4)"]["value"], rel=1e-6)
    assert math.exp(ln_star) == pytest.approx(kaplan["B_*", "(1.4)"]["value"], rel=1e-5)


def test_the_growth_of_the_best_size_is_the_slope_of_the_kept_points(kaplan):
    points = rows("kaplan/fig14", compute="least")
    found = slope(points["flops"], points["params"])
    assert found == pytest.approx(kaplan["N_opt exponent", "Table 6"]["value"], rel=1e-6)


def test_the_three_approaches_follow_from_the_kept_points():
    a = {number: constants("chinchilla")[f"a, approach {number}", "Table 2"]["value"] for number in (1, 2, 3)}
    points = rows("chinchilla/fig2")
    assert slope(points["flops"], points["params"]) == pytest.approx(a[1], rel=1e-6)

    every, C, N = rows("chinchilla/fig3"), [], []
    for flops in np.unique(every["flops"]):
        own = every["flops"] == flops
        x, y = np.log(every["params"][own]), np.log(every["loss"][own])
        off = np.abs(x - x[np.argmin(y)])
        near = off <= max(math.log(4), np.sort(off)[:5][-1]) * (1 + 1e-12)
        bend, tilt, _ = np.polyfit(x[near], y[near], 2)
        if bend > 0 and x[0] < -tilt / (2 * bend) < x[-1]:
            C.append(flops)
            N.append(math.exp(-tilt / (2 * bend)))
    assert slope(np.array(C), np.array(N)) == pytest.approx(a[2], abs=1e-3)

    ln_N, ln_D, ln_L = (np.log(rows("chinchilla/fig4")[name]) for name in ("params", "tokens", "loss"))

    def huber(c):
        r = np.logaddexp(np.logaddexp(c[0] - c[3] * ln_N, c[1] - c[4] * ln_D), c[2]) - ln_L
        return 1e3 * np.sum(np.where(np.abs(r) < 1e-3, r * r / 2, 1e-3 * (np.abs(r) - 5e-4)))

    options = {"maxiter": 20_000, "maxfev": 20_000, "xatol": 1e-8, "fatol": 1e-14}
    found = optimize.minimize(huber, (4.0, 6.0, 0.5, 0.3, 0.4), method="Nelder-Mead", options=options).x
    assert found[4] / (found[3] + found[4]) == pytest.approx(a[3], abs=0.005)
