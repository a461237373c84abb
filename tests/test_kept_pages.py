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


# --- after Chinchilla: repeated data, schedules, over-training


@pytest.fixture(scope="module")
def repeated():
    return constants("data-constrained")


def test_what_four_epochs_cost_is_a_line_through_the_kept_points(repeated):
    """In ln(N / U) through the sets of up to a parameter a token, at N / U = 0.2."""
    for dropout, words in ((0.0, "unregularised"), (0.1, "dropout 0.1")):
        points = rows("data-constrained/fig1")
        ratio = points["params"] / points["unique_tokens"]
        own = (points["dropout"] == dropout) & (points["weight_decay"] == 0) & (points["epochs"] == 4) & (ratio <= 1)
        own &= np.isfinite(points["excess"])
        _, at = np.polyfit(np.log(ratio[own] / 0.2), points["excess"][own], 1)
        claim = repeated[f"loss of 4 epochs over new tokens − 1, {words}", "Muennighoff et al., Figure 4"]
        assert at == pytest.approx(claim["value"], rel=1e-6)


def test_the_best_epochs_are_a_power_law_through_the_trunks_that_turn(repeated):
    points = rows("data-constrained/fig3")
    own = points["turned"] > 0
    N, U, epochs = (np.log(points[name][own]) for name in ("params", "unique_tokens", "epochs"))
    _, *found = np.linalg.lstsq(np.stack([np.ones_like(N), N, U], axis=1), epochs, rcond=None)[0]
    wanted = [repeated[f"best epochs over {name}", "Lovelace et al. (2026)"]["value"] for name in ("N", "U")]
    assert found == pytest.approx(wanted, rel=1e-6)


def test_the_penalty_and_the_decay_of_repeats_are_the_lowest_sums_over_the_kept_runs(repeated):
    """By SciPy, with the law of new tokens of the table, and R_N of effective data: beside these, runs that repeat
    nothing move no constant."""
    points = rows("data-constrained/fig4")
    laws = {name: rows("data-constrained/table1", runs="ours", fitted="law of new tokens first", law=name)
            for name in ("penalty", "effective data")}  # fmt: skip
    E, A, B, alpha, beta = (float(laws["penalty"][name][0]) for name in ("E", "A", "B", "alpha", "beta"))
    N, U, R = points["params"], points["unique_tokens"], points["epochs"] - 1
    U_N = np.minimum(N, (alpha * A / (beta * B)) ** (1 / alpha) * U ** (beta / alpha))

    def penalty(x):
        return E + A * N**-alpha + B * (U * (1 + R)) ** -beta + np.exp(x[0]) * R ** x[1] * (N / U) ** x[2]

    def effective(x):
        R_D, R_N = x, laws["effective data"]["R_N"][0]
        data, size = U * (1 - R_D * np.expm1(-R / R_D)), U_N * (1 - R_N * np.expm1(-(N / U_N - 1) / R_N))
        return E + A * size**-alpha + B * data**-beta

    def summed(law):
        def of(x):
            r = np.abs(np.log(law(x) / points["loss"]))
            return np.where(r <= 1e-3, r**2 / 2, 1e-3 * (r - 5e-4)).sum()

        return of

    at = laws["penalty"]
    start = np.array([math.log(at["P"][0]), at["delta"][0], at["kappa"][0]])
    fine = {"xatol": 1e-9, "fatol": 1e-14, "maxiter": 4000, "maxfev": 4000}
    best = optimize.minimize(summed(penalty), start + 0.1, method="Nelder-Mead", options=fine).x
    wanted = [repeated[name, "Lovelace et al. (2026)"]["value"] for name in ("delta", "kappa")]
    assert best[1:] == pytest.approx(wanted, abs=2e-3)
    (best,) = optimize.minimize(
        lambda ln: summed(effective)(math.exp(ln[0])), [1.0], method="Nelder-Mead", options=fine
    ).x
    best = math.exp(best)
    assert best == pytest.approx(repeated["R_D", "(5)"]["value"], rel=5e-3)


def test_cooldowns_and_cosines_are_those_of_the_kept_changes():
    known = constants("schedules")
    points = rows("schedules/fig2", shape="1 - sqrt", rate="1")
    change = dict(zip(points["share"], points["change, %"] / 100, strict=True))
    fifth = known["20 % cooldown over the cosine", "Haegele et al., Figure 3"]["value"]
    assert np.expm1(change[0.2]) == pytest.approx(fifth, rel=1e-9)
    longer = known["40 % cooldown over one of 20 %", "Haegele et al., Figure 5"]["value"]
    assert np.expm1(change[0.4] - change[0.2]) == pytest.approx(longer, rel=1e-9)
    # The best length of the mean curve lies near the mean of the best lengths of the seeds.
    points = rows("schedules/fig3")
    for rate, words in ((points["rate"].max(), "the tuned rate"), (points["rate"].min(), "0.25 of it")):
        own = (points["rate"] == rate) & (points["cycle"] <= 2)
        curved, rising, _ = np.polyfit(np.log(points["cycle"][own]), points["change, %"][own], 2)
        best = known[f"length of the best cosine at {words}", "Hoffmann et al., Figure A1"]["value"]
        assert math.exp(-rising / (2 * curved)) == pytest.approx(best, rel=0.02)


def test_the_spread_of_the_curves_of_sizes_over_that_of_seeds_is_that_of_the_kept_curves():
    points = rows("schedules/fig4")
    lines = csv.DictReader((RESULTS / "schedules/fig4.csv").read_text(encoding="utf-8").splitlines())
    names = np.array([line["run"] for line in lines])
    curves = {name: np.log(points["normalised"][names == name]) for name in dict.fromkeys(names.tolist())}
    size = {name: float(points["params"][names == name][0]) for name in curves}
    each = [np.array([curves[name] for name in curves if size[name] == N]) for N in sorted(set(size.values()))]
    among = np.std([own.mean(axis=0) for own in each], axis=0, ddof=1)
    within = np.mean([own.var(axis=0, ddof=1) for own in each if len(own) > 1], axis=0)
    claim = constants("schedules")["spread among sizes over that among seeds", "Qiu et al., supercollapse"]
    assert np.sqrt(np.mean(among**2) / np.mean(within)) == pytest.approx(claim["value"], rel=1e-6)


def test_lines_of_equal_tokens_per_parameter_have_the_slopes_of_the_kept_points():
    known, points = constants("over-training"), rows("over-training/fig1")
    C, M = points["flops"], points["ratio"]
    each = [m for m in np.unique(M) if len(np.unique(points["params"][m == M])) >= 4]
    slopes = [slope(C[m == M], points["reducible"][m == M]) for m in each]
    change = -np.polyfit(np.log10(each), slopes, 1)[0]
    assert change == pytest.approx(known["change of the slope", "Gadre et al., Figure 2"]["value"], rel=1e-6)

    def off(theta):
        E, rise, fall, eta = np.exp(theta)
        return np.log((E + (rise * M**eta + fall * M**-eta) * C**-eta) / points["loss"])

    E, _, _, eta = np.exp(least(off, np.log([2.0, 50.0, 50.0, 0.2])))
    assert eta == pytest.approx(known["eta", "(4)"]["value"], rel=1e-5)
    np.testing.assert_allclose(points["loss"] - points["reducible"], E, rtol=1e-6)


def test_the_model_that_serves_as_much_as_it_was_trained_on_meets_the_first_order_condition():
    """Of the law of all runs: alpha A N^-alpha / (beta B D^-beta) = 1 + D_inf / (3 D) at the loss of the cheapest."""
    law = rows("over-training/table1", fitted="all")
    alpha, beta = (float(law[name][0]) for name in ("alpha", "beta"))

    def left(n):
        """Sizes in those of the cheapest model, whose term of N is beta, that of D alpha, of all that can be saved."""
        d = ((alpha + beta - beta * n**-alpha) / alpha) ** (-1 / beta)
        return n**-alpha / d**-beta - 1 - 1 / (3 * d)

    lowest = (beta / (alpha + beta)) ** (1 / alpha)
    served = constants("over-training")["N at a demand of 1", "Sardana et al., eq. 3"]["value"]
    assert optimize.brentq(left, lowest * 1.001, 1.0) == pytest.approx(served, abs=2e-3)
    points = rows("over-training/fig2")
    top = int(np.argmax(points["flops"]))
    claim = constants("over-training")["error of the largest run", "Gadre et al., section 4"]
    assert abs(points["predicted"][top] / points["loss"][top] - 1) == pytest.approx(claim["value"], rel=1e-9)


def test_why_kaplan_and_hoffmann_differ_follows_from_the_kept_best_sizes():
    found = constants("discrepancy")

    def exponent(arm: str, count: str) -> float:
        best = rows("discrepancy/fig4", arm=arm, count=f"{count} the head")
        return slope(best["flops"], best["params"])

    walk = {
        "a, Kaplan's way": exponent("long", "without"),
        "a, head counted": exponent("long", "with"),
        "a, short warm-up": exponent("short", "with"),
        "a, matched decay": exponent("matched", "with"),
        "a, tuned by size": exponent("tuned", "with"),
    }
    changes = ("count the head", "shorten the warm-up", "match the decay to each length", "tune rate, batch and beta2")
    gaps = dict(zip(changes, np.diff(list(walk.values())), strict=True)) | {
        "count the head on tuned runs": walk["a, tuned by size"] - exponent("tuned", "without")
    }
    for name, value in (walk | gaps).items():
        claim = found[name, "Table 1"]
        assert claim["value"] == pytest.approx(value, abs=1e-9)
        assert claim["low"] < value < claim["high"]

    for count in ("without the head", "with the head"):  # the best size is the vertex of a parabola in ln N
        profiles, best = rows("discrepancy/fig2", count=count), rows("discrepancy/fig4", arm="tuned", count=count)
        for C in np.unique(profiles["flops"]):
            ln_N, ln_L = (np.log(profiles[name][profiles["flops"] == C]) for name in ("params", "loss"))
            far = np.abs(ln_N - ln_N[np.argmin(ln_L)])
            near = far <= max(math.log(4), np.sort(far)[:5][-1]) * (
                1 + 1e-9
            )  # within a factor of 4 of the lowest, or five
            second, first, _ = np.polyfit(ln_N[near], ln_L[near], 2)
            own = np.argmin(np.abs(np.log(best["flops"] / C)))
            assert math.log(best["params"][own]) == pytest.approx(-first / 2 / second, abs=1e-6)
