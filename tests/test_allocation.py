"""One question, three approaches: how C is best split into N and D, from whatever table there is."""

import dataclasses
import json

import known_runs
import numpy as np
import pytest

from analysis.allocation import allocate, cross_check, last_rows
from analysis.envelope import lower_hull
from analysis.frontier import Allocation
from analysis.laws import Chinchilla
from analysis.load import load
from analysis.plan import along
from analysis.table import Table
from scaling.errors import InputError

LAW = Chinchilla(E=1.8172, A=482.01, B=2085.43, alpha=0.3478, beta=0.3658)  # Besiroglu et al. (2024)
EXPONENT = LAW.beta / (LAW.alpha + LAW.beta)


def noisy(loss, share=0.003, seed=0):
    return loss * np.exp(share * np.random.default_rng(seed).standard_normal(len(loss)))


@pytest.fixture(scope="module")
def tables() -> dict[str, Table]:
    """Runs of one law, as each approach wants them."""
    N, D = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 3e9, 7), np.geomspace(1e9, 3e10, 5)))
    C = np.repeat(np.geomspace(1e18, 1e20, 5), 9)
    sizes = 9e8 * (C / 1e20) ** 0.5 * np.tile(np.geomspace(1 / 6, 6, 9), 5)
    curves = [
        {"run": f"run{i}-{s}", "params": size, "flops": c, "schedule": "constant", "seed": s,
         "loss": float(LAW(size, c / 6 / size)) * (1 + 0.001 * (s - 0.5) * (-1) ** i)}
        for i, size in enumerate(np.geomspace(1e7, 1e10, 12)) for s in range(2)
        for c in np.geomspace(12, 1200, 60) * size**2
    ]  # fmt: skip
    return {
        "surface": Table.from_columns({"params": N, "tokens": D, "loss": noisy(LAW(N, D))}),
        "isoflop": Table.from_columns({"params": sizes, "flops": C, "loss": noisy(LAW(sizes, C / 6 / sizes))}),
        "envelope": Table.from_rows(curves),
    }


@pytest.mark.parametrize("approach", ["surface", "isoflop", "envelope"])
def test_the_approach_that_suits_a_table_is_chosen_and_finds_its_exponent(tables, approach):
    found = allocate(tables[approach], budgets=[1e21])
    assert found.method.startswith(approach)
    assert found.warnings[0].startswith(f"{approach} chosen: ")
    assert found.a == pytest.approx(EXPONENT, abs=0.05)
    low, high = found.a_interval
    assert low < EXPONENT < high
    assert found.a + found.b == pytest.approx(1, abs=0.02)
    assert "tokens per parameter" in found.text()
    assert f"{found.a:.3f} (95 %: {low:.3f} to {high:.3f})" in found.text()


@pytest.mark.parametrize("approach", ["surface", "isoflop", "envelope"])
def test_an_allocation_is_plain_json(tables, approach):
    found = allocate(tables[approach], approach, budgets=[1e19, 1e21])
    said = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert said["a"] == found.a
    assert said["a_interval"] == list(found.a_interval)
    assert [one["flops"] for one in said["budgets"]] == [1e19, 1e21]
    low, high = said["budgets"][0]["tokens_interval"]
    assert low < said["budgets"][0]["tokens"] < high
    assert len(said["points"]) == len(found.points)


def test_a_wider_level_gives_a_wider_interval(tables):
    narrow, wide = (allocate(tables["isoflop"], level=level).a_interval for level in (0.5, 0.99))
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_a_budget_far_beyond_the_runs_is_called_a_guess(tables):
    assert any("a guess" in note for note in allocate(tables["isoflop"], budgets=[1e25]).warnings)
    assert not any("a guess" in note for note in allocate(tables["isoflop"], budgets=[2e20]).warnings)


def test_a_budget_far_below_the_runs_is_called_a_guess_too(tables):
    notes = allocate(tables["isoflop"], budgets=[1e15]).warnings
    assert any("times below the smallest compute here: a guess" in note for note in notes)


def test_a_doubtful_surface_says_so_first_and_gives_no_intervals():
    """D = 20 N throughout: no runs tell what N does from what D does."""
    N = np.geomspace(1e7, 1e10, 12)
    found = allocate(Table.from_columns({"params": N, "tokens": 20 * N, "loss": noisy(LAW(N, 20 * N))}), "surface")
    assert found.text().startswith("Warning: the fit is doubtful")
    assert np.isnan(found.a_interval).all()
    assert "%:" not in found.text()
    assert found.to_dict()["a_interval"] is None
    assert found.to_dict()["warnings"] == list(found.doubts)


def test_the_exponent_of_gadres_form_is_said_to_be_its_own(tables):
    found = allocate(tables["surface"], "surface", law="gadre")
    assert found.a == pytest.approx(0.5)
    assert any("gadre's form alone makes the exponent 0.5" in note for note in found.warnings)


def test_mixed_settings_are_told(tables):
    halves = tables["isoflop"].with_columns(dataset=np.array(["a", "b"] * 22 + ["a"]))
    assert any("mix 2 values of dataset (a, b): another condition" in note for note in allocate(halves).warnings)


def test_the_runs_of_a_study_are_split_by_their_surface():
    diverged = known_runs.run((64, 4), 2**26, np.nan, status="diverged")
    found = allocate(known_runs.table([*known_runs.grid(), diverged]))
    assert found.method == "surface, chinchilla"
    low, high = found.a_interval
    assert low < known_runs.SURFACE.beta / (known_runs.SURFACE.alpha + known_runs.SURFACE.beta) < high
    assert max(p.flops for p in found.points) < diverged["flops"] / 10
    assert any("diverged" in note for note in found.warnings)


def test_the_largest_losses_are_left_out_and_that_is_told(tables):
    whole = tables["isoflop"]
    spoilt = whole.with_columns(loss=np.where(np.arange(len(whole)) == 20, 9.0, whole["loss"]))
    found, clean = allocate(spoilt, sigma=0.003, drop_worst=1), allocate(whole, sigma=0.003)
    assert "left out: the 1 largest losses (drop_worst)" in found.warnings
    assert found.a == pytest.approx(clean.a, abs=0.02)
    assert len(found.points) == len(clean.points)


def test_porians_tuned_runs_give_his_exponent(shared):
    table = load(shared / "reference_runs" / "porian2024_isoflop" / "isoflop_points.csv", {"params": "n_params"})
    assert any("mix" in note for note in allocate(table, "isoflop").warnings)
    table = table.matching("dataset=rw", "hparams=tuned", "param_count=standard", "loss_kind=val")
    found = allocate(table, method="akima", sigma=0.002)
    assert found.method == "isoflop, akima"
    assert found.a == pytest.approx(0.497, abs=0.005)
    assert found.a_interval[0] < 0.497 < found.a_interval[1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"approach": "magic"}, "approach 'magic': choose auto, envelope, hull, isoflop, surface, optima"),
        ({"level": 95}, "level 95: wanted a number between 0 and 1"),
        ({"budgets": [0.0]}, "budget 0: wanted FLOP above 0"),
        ({"approach": "surface", "law": "kaplan-nd"}, "a law of params, unique_tokens; wanted one of params, tokens"),
        ({"approach": "isoflop", "method": "spline"}, "method 'spline': choose akima or parabola"),
        ({"sigma": -0.01}, "sigma -0.01: wanted the seed noise as a share of the loss, such as 0.003"),
        ({"sigma": float("nan")}, "sigma nan: wanted"),
        ({"sigma": float("inf")}, "sigma inf: wanted"),
        ({"approach": "surface", "sigma": 0.003}, "sigma 0.003: of an envelope or of IsoFLOP profiles"),
        ({"drop_worst": -1}, "drop_worst -1: wanted 0 or more"),
        ({"drop_worst": 45}, "drop_worst 45 of 45 runs; wanted fewer"),
        ({"approach": "envelope", "drop_worst": 1}, "of runs, not of learning curves"),
        ({"approach": "envelope"}, "no column run; learning curves are wanted"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(tables, options, words):
    with pytest.raises(InputError, match=words) as error:
        allocate(tables["isoflop"], **options)
    assert "\n" not in str(error.value)


# --- best runs that are known already


def optima(seed, n=5, a=0.49, scatter=0.08):
    C = np.geomspace(1e18, 1e21, n)
    N = 9e8 * (C / 1e20) ** a * np.exp(scatter * np.random.default_rng(seed).standard_normal(n))
    return Table.from_columns({"flops": C, "params": N})


def test_ready_optima_give_their_line():
    found = allocate(optima(0, scatter=0.0), "optima", budgets=[1e20])
    assert "5 of 5 rows used" in found.warnings
    assert found.a == pytest.approx(0.49)
    assert found.b == pytest.approx(0.51)
    assert float(found.params(1e20)) == pytest.approx(9e8)
    assert "at 1e20 FLOP" in found.text()


def test_intervals_through_few_optima_hold_the_truth_as_often_as_they_say():
    held = np.zeros(3)
    for seed in range(200):
        found = allocate(optima(seed), "optima")
        pairs = (0.49, found.a_interval), (0.51, found.b_interval), (9e8, found.params_band(1e20))
        held += [float(low) <= truth <= float(high) for truth, (low, high) in pairs]
    assert (held >= 181).all()  # 3 standard errors of a binomial with p = 0.95 below 190
    assert (held <= 199).all()


def test_two_optima_make_a_line_without_an_interval():
    found = allocate(optima(0, n=2), "optima")
    assert np.isnan(found.a_interval[0])
    assert any("two optima lie on any line" in note for note in found.warnings)
    with pytest.raises(InputError, match="1 optima at one budget"):
        allocate(optima(0, n=1), "optima")


def test_an_allocation_kept_in_a_file_plans_the_run_that_it_says(tmp_path):
    found = allocate(optima(0), "optima")
    found.to_json(tmp_path / "line.json")
    kept = Allocation.from_dict(json.loads((tmp_path / "line.json").read_text()))
    made = along(kept, 1e22)
    assert (made.params, made.tokens) == pytest.approx((float(found.params(1e22)), float(found.tokens(1e22))))
    assert made.intervals["params"] == pytest.approx([float(end) for end in found.params_band(1e22)])
    assert made.a == found.a
    assert made.shape is not None
    assert "Loss" not in made.text()
    assert "tells no loss" in made.text()
    json.dumps(made.to_dict(), allow_nan=False)
    assert any("a guess" in warning for warning in along(kept, 1e25).warnings)
    bare = along(Allocation.from_dict(json.loads(json.dumps(found.to_dict(), allow_nan=False))), 1e22)
    assert np.isnan(bare.intervals["params"][0])
    assert any("no intervals: keep the allocation" in note for note in bare.notes)
    with pytest.raises(InputError, match="not an allocation"):
        Allocation.from_dict({"method": "isoflop", "N_1": 1.0})


# --- the convex hull, and all approaches against one another


def test_the_hull_of_learning_curves_finds_the_exponent(tables):
    found = allocate(tables["envelope"], "hull")
    assert found.method == "hull"
    assert found.a == pytest.approx(EXPONENT, abs=0.02)
    low, high = found.a_interval
    assert low < EXPONENT < high


def test_a_lower_hull_keeps_the_corners_below_which_nothing_lies():
    x = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    assert lower_hull(x, np.array([4.0, 1.0, 2.0, 0.5, 2.0])).tolist() == [0, 1, 3, 4]
    assert lower_hull(x[:2], x[:2]).tolist() == [0, 1]


@pytest.fixture(scope="module")
def budgets_and_curves():
    """IsoFLOP profiles whose runs have curves at constant rate, all on one law: the approaches agree."""
    rows = []
    for C in np.geomspace(1e18, 1e20, 4):
        for size in 9e8 * (C / 1e20) ** 0.51 * np.geomspace(1 / 5, 5, 7):
            luck = np.exp(0.001 * np.random.default_rng(len(rows)).standard_normal())
            end = {"run": f"r{len(rows)}", "params": size, "schedule": "constant"}
            rows += [{**end, "flops": c, "loss": float(LAW(size, c / 6 / size)) * luck}
                     for c in C * np.geomspace(0.02, 1, 12)]  # fmt: skip
    return Table.from_rows(rows)


def test_three_approaches_to_one_law_agree(budgets_and_curves):
    curves = budgets_and_curves.with_columns(schedule=np.full(len(budgets_and_curves), "cosine"))
    found = cross_check(last_rows(curves), curves)
    assert set(found.found) == {"envelope", "isoflop", "surface"}
    for one in found.found.values():
        assert one.a == pytest.approx(EXPONENT, abs=0.04)
    assert found.apart() == []
    assert "agree within their intervals" in found.text()


def test_approaches_that_part_by_more_than_their_intervals_are_named(budgets_and_curves):
    curves = budgets_and_curves.with_columns(schedule=np.full(len(budgets_and_curves), "cosine"))
    found = cross_check(last_rows(curves), curves)
    isoflop = found.found["isoflop"]
    tilted = dataclasses.replace(isoflop, a=0.8, draws=np.add(isoflop.draws, [0, 0.3, 0, -0.3]))
    other = dataclasses.replace(found, found={**found.found, "isoflop": tilted})
    assert any(line.startswith("exponent of N, isoflop 0.800, surface 0.5") for line in other.apart())
    assert "They differ by more than their intervals" in other.text()
    json.dumps(other.to_dict(), allow_nan=False)


def test_an_approach_that_a_table_cannot_serve_says_why(tables):
    found = cross_check(tables["surface"], tables["surface"])
    assert "surface" in found.found
    assert "no column run" in found.missing["envelope"]
    assert "cannot be told" in found.text()
