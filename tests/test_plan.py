"""Plans: budgets in every currency, the optimum of the fitted law, and what others would say beside it."""

import dataclasses
import doctest
import json
import math
from pathlib import Path

import numpy as np
import pytest

from analysis import frontier
from analysis import plan as planning
from analysis.fit import fit
from analysis.laws import Chinchilla, Gadre, KaplanBCrit, KaplanNS, Muennighoff
from analysis.plan import Budget, plan
from analysis.recipe import RateRule
from analysis.table import Table, load
from scaling.errors import InputError

DOCS = Path(__file__).parents[1] / "docs"
TRUE = Chinchilla(E=1.81722, A=477.83, B=2143.42, alpha=0.34731, beta=0.36717)


def runs(noise=0.003, seed=0):
    N, D = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 1e10, 7), np.geomspace(3e8, 1e11, 6)))
    loss = TRUE(N, D) * np.exp(noise * np.random.default_rng(seed).standard_normal(len(N)))
    return Table.from_columns({"params": N, "tokens": D, "loss": loss})


@pytest.fixture(scope="module")
def fitted():
    return fit("chinchilla", runs(), loss="squared", bootstrap=100)


# --- budgets


def test_a_budget_of_hardware_is_chips_times_hours_times_utilisation():
    budget = Budget.of_hardware("v5p-128", hours=10, utilisation=0.5)
    assert budget.flops == pytest.approx(64 * 459e12 * 36_000 * 0.5)
    assert budget.hours == pytest.approx(10)


def test_a_budget_of_money_buys_hours():
    budget = Budget.of_money(800.0, "h100-8", price=2.5, utilisation=0.4)
    assert budget.hours == pytest.approx(40)
    assert budget.flops == pytest.approx(8 * 989e12 * 40 * 3600 * 0.4)


def test_a_budget_of_flops_tells_the_hours_of_named_hardware():
    assert Budget.of_flops(1e21, "v5e-256").hours == pytest.approx(1e21 / (256 * 197e12 * 0.4 * 3600))
    assert math.isnan(Budget.of_flops(1e21).hours)


@pytest.mark.parametrize(
    ("name", "found"),
    [("v5p-128", ("v5p", 64)), ("v4-8", ("v4", 4)), ("v5e-256", ("v5e", 256)), ("H100-8", ("h100", 8))],
)
def test_slices_are_named_by_cores_or_chips_as_their_maker_does(name, found):
    assert planning.chips(name) == found


@pytest.mark.parametrize("name", ["v5p", "v9-8", "h100-0", "h100-many", "-8"])
def test_unknown_hardware_is_named_in_the_error(name):
    with pytest.raises(InputError, match=f"hardware '{name}'"):
        planning.chips(name)


@pytest.mark.parametrize("flops", [0.0, -1.0, math.nan, math.inf])
def test_a_budget_must_be_a_positive_number(flops):
    with pytest.raises(InputError, match="wanted a number above 0"):
        Budget.of_flops(flops)


# --- the plan


def test_a_plan_spends_its_budget_at_the_optimum_of_the_law(fitted):
    found = plan(fitted, 1e22)
    best = frontier.best(fitted.law, 1e22)
    assert found.params == pytest.approx(float(best.params))
    assert 6 * found.params * found.tokens == pytest.approx(1e22)
    assert found.batch * found.steps == pytest.approx(found.tokens)
    assert found.a == pytest.approx(fitted.law.beta / (fitted.law.alpha + fitted.law.beta))


def test_intervals_of_a_plan_hold_the_truth_and_widen_with_the_budget(fitted):
    near, far = plan(fitted, 1e21), plan(fitted, 1e25)
    true = frontier.best(TRUE, 1e21)
    for name, value in (("params", true.params), ("tokens", true.tokens), ("loss", true.loss)):
        low, high = near.intervals[name]
        assert low < float(value) < high
        assert far.intervals[name][1] / far.intervals[name][0] > high / low


def test_draws_and_covariance_give_like_intervals(fitted):
    without = fit("chinchilla", runs(), loss="squared")
    drawn, derived = (plan(f, 1e21).intervals["params"] for f in (fitted, without))
    np.testing.assert_allclose(np.log(derived[1] / derived[0]), np.log(drawn[1] / drawn[0]), rtol=0.35)


def test_prices_of_half_and_double_the_size_stand_in_the_plan(fitted):
    found = plan(fitted, 1e21).price
    assert set(found) == {0.5, 2.0}
    assert all(0.05 < excess < 0.5 for excess in found.values())


def test_kaplan_and_hoffmann_always_stand_beside_the_plan(fitted):
    by_name = {r.name: r for r in plan(fitted, 1e21).rivals}
    # Hoffmann et al. (2022) sec. D.4 turn Kaplan's law into 4.68e9 parameters at 1e21 FLOP.
    assert by_name["Kaplan (2020)"].params == pytest.approx(4.68e9, rel=5e-3)
    ratio = {name: r.tokens / r.params for name, r in {r.name: r for r in plan(fitted, 5.76e23).rivals}.items()}
    assert ratio["Hoffmann (2022), 20 tokens per parameter"] == pytest.approx(20)
    assert ratio["Hoffmann (2022), approach 3"] == pytest.approx(58.9, abs=0.05)
    assert ratio["DeepSeek (2024), their own data"] == pytest.approx(
        5.8316 * 6 / 0.1715 * 5.76e23 ** (0.4757 - 0.5243), rel=1e-3
    )
    assert ratio["Besiroglu (2024), its refit"] == pytest.approx(17.9, abs=0.05)
    assert all(r.loss >= plan(fitted, 1e21).loss for r in by_name.values())


def test_constants_kept_at_full_precision_are_the_papers(papers):
    for law, constants in (
        (
            planning.HOFFMANN,
            {n: papers["hoffmann2022"][f"{n}_unrounded"]["value"] for n in ("E", "A", "B", "alpha", "beta")},
        ),
        (planning.BESIROGLU, papers["besiroglu2024"]["global_optimum_240pts"]["value"]),
    ):
        for name in ("E", "A", "B", "alpha", "beta"):
            assert getattr(law, name) == pytest.approx(constants[name], rel=1e-4)


def test_inference_data_and_size_add_their_answers(fitted):
    found = plan(fitted, 1e22, inference_tokens=1e13, unique_tokens=1e10, params=1e9)
    assert found.served is not None
    assert found.repeated is not None
    assert found.overtrained is not None
    assert found.served.params < found.params
    assert found.repeated.epochs > 4
    assert found.overtrained.excess > 0
    assert any("borrowed" in note for note in found.notes)
    text = found.text()
    for word in ("Served", "Repeated", "Given N", "Others would say", "Note: "):
        assert word in text


def test_a_plan_far_beyond_the_runs_is_called_a_guess(fitted):
    assert any("times 6 N D of the largest" in note and "guess" in note for note in plan(fitted, 1e26).notes)
    assert not any("largest N and D" in note for note in plan(fitted, 1e20).notes)


def test_ones_own_batch_and_rates_go_first(fitted):
    L = np.linspace(2.0, 6.0, 12)
    noise = np.exp(0.05 * np.random.default_rng(1).standard_normal(12))
    critical = fit("kaplan-bcrit", {"loss": L, "batch_crit": KaplanBCrit(2.1e8, 0.21)(L) * noise}, loss="squared")
    found = plan(fitted, 1e21, B_crit=critical, rates=RateRule(1e-3, 1e8, -0.2, (1e7, 1e9), ()))
    assert found.batch == pytest.approx(float(critical.law(found.loss)))
    assert next(iter(found.learning_rates)) == "your sweep"


def test_a_doubtful_fit_makes_a_plan_that_says_so(fitted):
    doubtful = dataclasses.replace(fitted, status="flat direction", why="A and alpha go together")
    assert any("doubtful, flat direction: A and alpha" in note for note in plan(doubtful, 1e21).notes)


def test_any_law_of_params_and_tokens_can_be_planned_with():
    gadre = Gadre(E=1.84, a=212.0, b=367.0, eta=0.136)
    table = runs().with_columns(loss=gadre(runs()["params"], runs()["tokens"]))
    found = plan(fit("gadre", table, loss="squared"), 1e21, inference_tokens=1e12)
    assert found.a == pytest.approx(0.5, abs=1e-6)
    assert found.served is not None
    with pytest.raises(InputError, match="gadre says nothing of repeated data"):
        plan(fit("gadre", table, loss="squared"), 1e21, unique_tokens=1e9)


def test_a_plan_is_json_without_infinities(fitted):
    found = json.loads(json.dumps(plan(fitted, 1e21, unique_tokens=1e10).to_dict(), allow_nan=False))
    assert found["params"] > 0
    assert found["budget"]["hours"] is None
    assert found["repeated"]["epochs"] > 1
    assert found["shape"]["d_ff"] == 4 * found["shape"]["d_model"]


def test_a_law_of_compute_alone_names_no_size():
    C = np.geomspace(1e15, 1e19, 6)
    alone = fit("kaplan-c", {"flops": C, "loss": (1e26 / C) ** 0.05}, loss="squared")
    with pytest.raises(InputError, match="kaplan-c is a law of flops: no size follows"):
        plan(alone, 1e20)


def test_a_law_of_early_stopped_runs_names_no_size_either(papers):
    points = np.array(papers["kaplan2020_digitised"]["fig9_L_of_N_D"]["value"])
    N, D, L = points[points[:, 1] > 3e7].T
    law = fit("kaplan-nd", {"params": N, "unique_tokens": D, "loss": L}, loss="squared")
    with pytest.raises(InputError, match="kaplan-nd is a law of params, unique_tokens"):
        plan(law, 1e20)


# --- Kaplan's path


@pytest.fixture(scope="module")
def kaplan():
    rng = np.random.default_rng(3)
    N, S = (x.ravel() for x in np.meshgrid(np.geomspace(1e6, 1e9, 8), np.geomspace(1e3, 1e5, 8)))
    law = KaplanNS(N_c=6.5e13, alpha_N=0.077, S_c=1.05e3, alpha_S=0.76)
    loss = law(N, S) * np.exp(0.003 * rng.standard_normal(len(N)))
    L = np.linspace(2.5, 6.0, 14)
    critical = KaplanBCrit(2.1e8, 0.21)(L) * np.exp(0.1 * rng.standard_normal(len(L)))
    ns = fit("kaplan-ns", {"params": N, "steps_min": S, "loss": loss}, loss="squared", bootstrap=60)
    return ns, fit("kaplan-bcrit", {"loss": L, "batch_crit": critical}, loss="squared", bootstrap=60)


def test_kaplans_laws_lead_along_kaplans_path(kaplan):
    ns, critical = kaplan
    C = 2 * 1e-3 * frontier.PF_DAY
    found = plan(ns, C, B_crit=critical)
    # Figure 14: at C_min = 1.3e-3 PF-days the best model has 1e7 parameters.
    assert found.params == pytest.approx(8e6, rel=0.3)
    assert 6 * found.params * found.tokens == pytest.approx(C)
    assert found.batch == pytest.approx(float(critical.law(found.loss)))
    assert found.price[2.0] == pytest.approx(0.16, abs=0.03)  # (B.16)
    low, high = found.intervals["params"]
    assert low < found.params < high
    given = plan(ns, C, B_crit=critical, params=1e8).overtrained
    assert given is not None
    assert given.excess > 0


def test_without_the_critical_batch_kaplans_laws_spend_nothing(kaplan):
    with pytest.raises(InputError, match="give a fit of kaplan-bcrit"):
        plan(kaplan[0], 1e18)


def test_a_fit_of_something_else_is_no_critical_batch(fitted, kaplan):
    with pytest.raises(InputError, match="wanted one of kaplan-bcrit"):
        plan(fitted, 1e20, B_crit=kaplan[0])


def test_kaplans_laws_say_nothing_of_inference(kaplan):
    with pytest.raises(InputError, match="says nothing of inference"):
        plan(kaplan[0], 1e18, B_crit=kaplan[1], inference_tokens=1e9)


# --- other people's runs


def test_muennighoffs_law_plans_with_its_own_decay():
    rng = np.random.default_rng(5)
    law = Muennighoff(1.87, 520.0, 1490.0, 0.3527, 0.3527, R_D=15.4, R_N=5.3)
    N, D, U = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 5e9, 6), np.geomspace(1e9, 1e11, 6), [1e8, 1e9, 1e10]))
    U = np.minimum(U, D)
    loss = law(N, D, U) * np.exp(0.001 * rng.standard_normal(len(N)))
    fitted = fit("muennighoff", {"params": N, "tokens": D, "unique_tokens": U, "loss": loss}, loss="squared")
    found = plan(fitted, 1e21, unique_tokens=5e9)
    assert found.repeated is not None
    assert found.repeated.best.loss == pytest.approx(
        float(law(found.repeated.best.params, found.repeated.best.tokens, 5e9)), rel=0.01
    )
    assert not any("borrowed" in note for note in found.notes)


def test_chinchillas_runs_plan_gopher_at_18_tokens_per_parameter(shared):
    path = shared / "reference_runs" / "besiroglu2024_chinchilla" / "svg_extracted_data.csv"
    table = load(path, {"params": "Model Size", "flops": "Training FLOP"})
    found = plan(fit("chinchilla", table, drop_worst=5), 5.76e23)
    assert found.tokens / found.params == pytest.approx(17.9, abs=0.05)
    low, high = found.intervals["a"]
    assert low < 0.5126 < high


def test_the_session_in_the_documentation_runs_as_printed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    results = doctest.testfile(str(DOCS / "planning.md"), module_relative=False)
    assert results.attempted > 20
    assert results.failed == 0
