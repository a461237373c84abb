"""Plans: budgets in every currency, the optimum of the fitted law, and what others would say beside it."""

import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest
from scipy import optimize

from analysis import frontier
from analysis.digits import short
from analysis.fit import fit
from analysis.laws import Chinchilla, Gadre, KaplanBCrit, KaplanC, KaplanND, KaplanNS, Lovelace, Muennighoff
from analysis.load import load
from analysis.page import served_figure
from analysis.plan import along, by_published, plan
from analysis.plan.budget import Budget
from analysis.plan.own_rates import OwnRates
from analysis.plan.prices import repeating
from analysis.plan.published import BESIROGLU, BESIROGLU_OPTIMUM, HOFFMANN, PUBLISHED, expect
from analysis.plan.recipe import published_learning_rates
from analysis.plan.routes import route
from analysis.plan.rungs import LENGTHS
from analysis.table import Table
from scaling import counts
from scaling.errors import InputError
from scaling.rates import RateLaw

TRUE = Chinchilla(E=1.81722, A=477.83, B=2143.42, alpha=0.34731, beta=0.36717)


def runs(noise=0.003, seed=0):
    N, D = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 1e10, 7), np.geomspace(3e8, 1e11, 6)))
    loss = TRUE(N, D) * np.exp(noise * np.random.default_rng(seed).standard_normal(len(N)))
    return Table.from_columns({"params": N, "tokens": D, "loss": loss})


@pytest.fixture(scope="module")
def fitted():
    return fit("chinchilla", runs(), loss="squared", bootstrap=100)


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


def test_one_run_is_less_certain_than_the_law_and_more_so_further_out(fitted):
    widths = []
    for C in (1e21, 1e23):
        made = plan(fitted, C)
        (law_low, law_high), (low, high) = made.intervals["loss"], made.intervals["one run"]
        assert low < law_low < law_high < high
        widths.append(high / low)
    assert widths[1] > widths[0]
    text = plan(fitted, 1e21).text()
    assert "of one run, with the law's own error" in text
    assert f"; {fitted.n_runs} of {fitted.n_given} runs, converged" in text


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
    assert ratio["Besiroglu's data, exact optimum"] == pytest.approx(17.9, abs=0.05)
    assert all(r.loss >= plan(fitted, 1e21).loss for r in by_name.values())


def test_constants_kept_at_full_precision_are_the_papers(papers):
    for law, constants in (
        (
            HOFFMANN,
            {n: papers["hoffmann2022"][f"{n}_unrounded"]["value"] for n in ("E", "A", "B", "alpha", "beta")},
        ),
        (BESIROGLU, {n: papers["besiroglu2024"][n]["value"] for n in ("E", "A", "B", "alpha", "beta")}),
        (BESIROGLU_OPTIMUM, papers["besiroglu2024"]["global_optimum_240pts"]["value"]),
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
    for word in ("Served", "Repeated", "Given N", "Ladder", "Others", "Note: "):
        assert word in text


def test_a_plan_far_beyond_the_runs_says_of_which_column_and_is_called_a_guess(fitted):
    largest = fitted.ranges["params"][1]
    found = plan(fitted, 1e26)
    assert any(f"{found.params / largest:.3g} times the largest fitted, 10B" in told for told in found.warnings)
    assert any(told.startswith("D = ") for told in found.warnings)
    assert "it is a guess" in found.warnings[-1]
    assert found.text().startswith("Warning: N = ")
    assert plan(fitted, 1e20).warnings == ()


def test_other_answers_beyond_the_runs_are_told_too(fitted):
    notes = plan(fitted, 1e21, params=1e8, inference_tokens=1e13).notes
    assert any(note.startswith("given N: D = 1.67T is 16.7 times the largest fitted") for note in notes)
    assert any(note.startswith("served: D = ") for note in notes)


def test_a_size_below_the_runs_is_told_too(fitted):
    assert "times below the smallest fitted, 10M" in plan(fitted, 1e15).warnings[0]


def test_ones_own_batch_and_rates_go_first(fitted, kaplan):
    _, critical = kaplan
    law = RateLaw(1e-3, 1e8, 1e10, 1e6, n=-0.3, d=-0.1, b=0.5)
    found = plan(fitted, 1e21, B_crit=critical, rates=OwnRates(law, {"params": (1e7, 1e9)}, ("too short",)))
    assert found.batch == pytest.approx(float(critical.law(found.loss)))
    assert next(iter(found.learning_rates)) == "your sweep"
    assert f"of your sweep: N is {found.params / 1e9:.2g} times the largest swept, 1B" in found.notes
    assert found.learning_rates["your sweep"] == pytest.approx(law(found.params, found.tokens, found.batch))
    assert "of your sweep: too short" in found.notes


def test_a_rate_far_beyond_ones_own_sweep_is_called_a_guess_and_goes_last(fitted):
    found = plan(fitted, 1e21, rates=OwnRates(RateLaw(1e-3, 1e8, 1e10, 1e6, n=-0.3), {"params": (1e7, 1e8)}))
    assert list(found.learning_rates)[-1] == "your sweep"
    told = f"of your sweep: N is {found.params / 1e8:.2g} times the largest swept, 100M; its rate is a guess"
    assert told in found.notes


def test_the_rate_of_a_plan_is_that_of_its_size_without_embeddings(fitted):
    law = RateLaw(1e-3, 1e8, 1e10, 1e6, n=-0.3)
    found = plan(fitted, 1e21, rates=OwnRates(law, {}), embedding_rows=32_000)
    assert found.shape is not None
    assert found.learning_rates["your sweep"] == pytest.approx(law(found.params - 32_000 * found.shape.d_model))


@pytest.mark.parametrize("status", ["at a bound", "flat direction", "starts disagree", "not converged"])
def test_a_doubtful_fit_makes_no_plan_unless_told_and_then_one_without_intervals(fitted, status):
    doubtful = dataclasses.replace(fitted, status=status, why="A and alpha go together")
    with pytest.raises(InputError, match=f"doubtful, {status}: A and alpha go together; no plan .*--despite-doubts"):
        plan(doubtful, 1e21)
    found = plan(doubtful, 1e21, despite_doubts=True)
    assert found.text().startswith(f"Warning: the fit is doubtful, {status}: A and alpha go together")
    assert all(math.isnan(end) for ends in found.intervals.values() for end in ends)
    assert "interval " not in found.text().replace("no intervals", "")
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["intervals"]["params"] == [None, None]


def test_a_doubtful_allocation_makes_no_plan_unless_told_either():
    line = frontier.Allocation(
        "surface", 1e20, 1e9, 0.5, 1.7e10, 0.5, (frontier.best(TRUE, 1e20),), (), np.zeros((0, 4)), ()
    )
    assert along(line, 1e21).params == pytest.approx(1e9 * 10**0.5)
    doubtful = dataclasses.replace(line, doubts=("the fit is doubtful",))
    with pytest.raises(InputError, match="the fit is doubtful; no plan by it"):
        along(doubtful, 1e21)
    assert along(doubtful, 1e21, despite_doubts=True).warnings[0] == "the fit is doubtful"


@pytest.mark.parametrize("argument", ["inference_tokens", "unique_tokens", "params", "aspect"])
@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_zero_is_a_value_and_refused(fitted, argument, value):
    with pytest.raises(InputError, match="wanted a number above 0"):
        plan(fitted, 1e21, **{argument: value})


def test_negative_embeddings_are_refused(fitted):
    with pytest.raises(InputError, match="-1 embedding rows"):
        plan(fitted, 1e21, embedding_rows=-1)


def test_aspect_and_embeddings_change_the_shapes(fitted):
    deep, wide = (plan(fitted, 1e21, aspect=aspect).shape for aspect in (40.0, 160.0))
    assert deep is not None
    assert wide is not None
    assert deep.d_model / deep.n_layer < wide.d_model / wide.n_layer
    counted = plan(fitted, 1e21, embedding_rows=32_000)
    assert counted.shape is not None
    assert counted.shape.params == pytest.approx(counted.params, rel=0.1)
    assert (
        counted.shape.params - 12 * counted.shape.n_layer * counted.shape.d_model**2 == 32_000 * counted.shape.d_model
    )


def test_the_ladder_spans_two_decades_and_holds_the_sizes_that_the_law_would_choose(fitted):
    found = plan(fitted, 1e22)
    sizes = [rung.shape.params for rung in found.ladder]
    assert 6 <= len(sizes) <= 8
    assert sizes[-1] / sizes[0] == pytest.approx(100, rel=0.3)
    assert sizes[-1] < found.params / 5
    for rung in found.ladder:
        own = frontier.best(fitted.law, 6 * rung.shape.params * rung.tokens)
        assert float(own.params) == pytest.approx(rung.shape.params, rel=1e-6)
        cost = sum(6 * rung.shape.params * rung.tokens * length for length in LENGTHS)
        assert rung.share == pytest.approx(cost / 1e22)
    assert sum(rung.share for rung in found.ladder) < 0.1


def test_a_law_whose_best_size_hardly_grows_has_no_ladder(fitted):
    flat = dataclasses.replace(
        fitted, law=Chinchilla(E=1e-7, A=46.0, B=3.55, alpha=0.52, beta=0.0106), draws=np.zeros((0, 5))
    )
    assert plan(flat, 1e15).ladder == ()


def test_sizes_too_small_for_a_standard_shape_are_left_out_of_the_ladder(fitted):
    assert 0 < len(plan(fitted, 1e13).ladder) < 7


def test_any_law_of_params_and_tokens_can_be_planned_with():
    gadre = Gadre(E=1.84, a=212.0, b=367.0, eta=0.136)
    table = runs().with_columns(loss=gadre(runs()["params"], runs()["tokens"]))
    fitted = fit("gadre", table, loss="squared")
    found = plan(fitted, 1e21, inference_tokens=1e12)
    assert found.a == pytest.approx(0.5, abs=1e-6)
    assert found.served is not None
    with pytest.raises(InputError, match="gadre says nothing of repeated data"):
        plan(fitted, 1e21, unique_tokens=1e9)


def test_a_plan_is_json_without_infinities(fitted):
    found = json.loads(json.dumps(plan(fitted, 1e21, unique_tokens=1e10).to_dict(), allow_nan=False))
    assert found["params"] > 0
    assert found["budget"]["hours"] is None
    assert found["repeated"]["epochs"] > 1
    assert found["shape"]["d_ff"] == 4 * found["shape"]["d_model"]


def test_a_law_of_compute_alone_names_no_size(fitted):
    alone = dataclasses.replace(fitted, law=KaplanC(C_c=1e26, alpha_C=0.05))
    with pytest.raises(InputError, match="kaplan-c is a law of flops: no size follows"):
        plan(alone, 1e20)


def test_a_law_of_early_stopped_runs_names_no_size_either(fitted):
    early = dataclasses.replace(fitted, law=KaplanND(N_c=6.4e13, D_c=1.8e13, alpha_N=0.076, alpha_D=0.103))
    with pytest.raises(InputError, match="kaplan-nd is a law of params, unique_tokens"):
        plan(early, 1e20)


# --- against minimisers that know nothing of closed forms


def minimum(f, low, high):
    """The place and value of the lowest f over ln N."""
    found: Any = optimize.minimize_scalar(
        f, bounds=(math.log(low), math.log(high)), method="bounded", options={"xatol": 1e-9}
    )
    return math.exp(found.x), float(found.fun)


@pytest.mark.parametrize("C", [1e18, 1e21, 1e24])
def test_the_plan_is_where_a_direct_search_ends(fitted, C):
    N, loss = minimum(lambda x: float(fitted.law(math.exp(x), C / 6 / math.exp(x))), 1e5, 1e13)
    found = plan(fitted, C)
    assert found.params == pytest.approx(N, rel=1e-4)
    assert found.loss == pytest.approx(loss, rel=1e-9)


def test_the_price_of_a_wrong_size_is_what_a_direct_search_finds(fitted):
    found = plan(fitted, 1e21)
    for ratio, excess in found.price.items():
        N = ratio * found.params
        D: Any = optimize.brentq(lambda D: float(fitted.law(N, D)) - found.loss, 1e6, 1e16)  # noqa: B023
        assert 6 * N * D / 1e21 - 1 == pytest.approx(excess, rel=1e-6)


def test_a_dearer_flop_of_serving_is_as_many_more_tokens_served(fitted):
    dear = plan(fitted, 1e22, inference_tokens=1e12, inference_cost=10.0).served
    more = plan(fitted, 1e22, inference_tokens=1e13).served
    assert dear is not None
    assert more is not None
    assert (dear.params, dear.saving) == (more.params, more.saving)
    assert "at the price of 10 of training" in plan(fitted, 1e22, inference_tokens=1e12, inference_cost=10.0).text()


def test_the_figure_of_a_served_model_passes_through_the_plan_and_saves_more_with_demand(fitted):
    served = plan(fitted, 1e22, inference_tokens=1e13, inference_cost=5.0).served
    assert served is not None
    models, costs = served_figure.figure(fitted.law, served).axes
    sizes = [line for line in models.get_lines() if "serving" in str(line.get_label())]
    (mark, _) = [line for line in models.get_lines() if line.get_marker() == "o"]
    (at, n), (x, y) = np.asarray(mark.get_xydata())[0], np.asarray(sizes[0].get_xydata()).T
    assert np.interp(np.log(at), np.log(x), y) == pytest.approx(n, rel=0.01)
    for line in costs.get_lines():
        if line.get_marker() != "o":
            assert np.all(np.diff(np.asarray(line.get_ydata(), float)) < 0)


def test_the_served_model_is_where_a_direct_search_ends(fitted):
    served = plan(fitted, 1e22, inference_tokens=1e13).served
    assert served is not None

    def cost(x):
        N = math.exp(x)
        D: Any = optimize.brentq(lambda D: float(fitted.law(N, D)) - served.loss, 1e6, 1e25)
        return 6 * N * D + 2 * N * 1e13

    N, least = minimum(cost, served.params / 3, served.params * 2)
    assert served.params == pytest.approx(N, rel=1e-3)
    assert served.cost == pytest.approx(least, rel=1e-6)


def test_limited_data_are_split_where_a_direct_search_ends(fitted):
    repeated = plan(fitted, 1e22, unique_tokens=1e10).repeated
    assert repeated is not None
    law = Muennighoff(**dataclasses.asdict(fitted.law), R_D=15.387756, R_N=5.309743)
    N, loss = minimum(lambda x: float(law(math.exp(x), 1e22 / 6 / math.exp(x), 1e10)), 1e8, 1e11)
    assert float(repeated.best.params) == pytest.approx(N, rel=1e-3)
    assert float(repeated.best.loss) == pytest.approx(loss, rel=1e-8)


# --- what a forecast of the plan takes


def test_published_rates_take_the_size_without_embeddings(fitted):
    found = plan(fitted, 1e18, embedding_rows=32000)
    assert found.shape
    body = found.params - 32000 * found.shape.d_model
    assert body < 0.9 * found.params
    assert found.learning_rates == published_learning_rates(body, found.tokens, 1e18)


def test_absurd_demands_are_called_guesses(fitted):
    text = plan(fitted, 1e21, unique_tokens=1e5, params=10.0).text()
    assert text.startswith("Warning: N = ")
    assert "epochs are over 100, so far out the law is a guess" in text
    assert "over 1000 times the compute against the cheapest way there" in text


# --- small data


def test_a_plan_on_few_tokens_is_of_the_cheapest_run_within_a_thousandth_of_the_best(fitted):
    made = plan(fitted, 1e22, unique_tokens=1e8)
    surface = repeating(fitted.law, 1e8)
    best, own = float(frontier.optimum(surface, 1e22).loss), 6 * made.params * made.tokens
    assert made.loss == pytest.approx(1.001 * best, rel=1e-6)
    for C, better in ((0.9 * own, False), (1.1 * own, True)):
        assert (float(frontier.optimum(surface, C).loss) < 1.001 * best) is better
    assert own < 0.01 * 1e22  # all but a hundredth of the budget would be spent in vain
    assert made.repeated is not None
    assert made.repeated.epochs == pytest.approx(made.tokens / 1e8)
    assert f"{short(made.repeated.epochs)} epochs" in made.text()
    assert "Stop       after 0." in made.text()
    low, high = made.intervals["params"]
    assert low < made.params < high


def test_with_tokens_enough_for_one_epoch_the_plan_is_what_it_was(fitted):
    fresh, enough = plan(fitted, 1e21), plan(fitted, 1e21, unique_tokens=1e12)
    assert (enough.params, enough.tokens, enough.loss) == (fresh.params, fresh.tokens, fresh.loss)
    assert "Stop" not in enough.text()
    assert "1T tokens are enough for one epoch" in enough.text()


def test_a_penalty_of_repeats_alone_makes_no_plan_of_one_epoch_of_an_enormous_model(fitted):
    """Its loss falls with N without end while no text is read twice."""
    law = Lovelace(1.87, 521.0, 1488.0, 0.35, 0.36, 0.318, 0.6, 0.289)
    by_penalty = dataclasses.replace(fitted, law=law)
    with pytest.raises(InputError, match=r"leads to one epoch of N = [0-9.]+B, [0-9.]+ times its largest run"):
        plan(by_penalty, 1e20, unique_tokens=1e8)


# --- without a fit of one's own


def test_published_constants_plan_as_their_papers_print():
    # Besiroglu et al. (2024): their constants train about 20 tokens per parameter at Gopher's budget, Hoffmann's 59.
    assert by_published("published:chinchilla", 5.76e23).tokens / by_published("chinchilla", 5.76e23).params == (
        pytest.approx(18.3, abs=0.5)
    )
    assert by_published("hoffmann", 5.76e23).tokens / by_published("hoffmann", 5.76e23).params == (
        pytest.approx(58.9, abs=0.1)
    )
    # Llama Team (2024) section 3.2.1: 402B parameters on 16.55T tokens at 3.8e25 FLOP.
    llama = by_published("llama3", 3.8e25)
    assert llama.params == pytest.approx(402e9, rel=0.05)
    assert llama.tokens == pytest.approx(16.55e12, rel=0.05)
    assert math.isnan(llama.loss)


def test_the_interval_of_a_plan_by_published_constants_is_the_spread_of_those_without_a_known_fault():
    made = by_published("chinchilla", 1e21)
    kept = [one for one in made.choices if not one.left_out]
    assert made.intervals["params"] == (min(one.params for one in kept), max(one.params for one in kept))
    assert {one.name for one in made.choices} - {one.name for one in kept} == {"hoffmann", "kaplan"}
    text = made.text()
    assert text.startswith("Warning: published constants, no run of yours")
    assert "(published fits, lowest to highest: 2.78B to 6.97B)" in text
    for one in PUBLISHED.values():
        assert f"N {one.counts}; {one.data}" in text  # which is which
    assert "95%" not in text
    assert json.loads(json.dumps(made.to_dict(), allow_nan=False))["level"] is None


def test_a_budget_far_from_the_published_runs_is_called_a_guess():
    assert by_published("chinchilla", 1e13).warnings[-1] == "that far beyond the runs it is a guess"
    assert len(by_published("chinchilla", 1e21).warnings) == 1


def test_published_lines_tell_no_loss_and_say_so():
    with pytest.raises(
        InputError, match=r"published:kaplan tells no loss: leave out --params, or take one of chinchilla"
    ):
        by_published("kaplan", 1e21, params=1e9)
    with pytest.raises(InputError, match=r"published:llama: wanted published:NAME, of chinchilla, muennighoff"):
        by_published("published:llama", 1e21)


def test_a_run_is_expected_by_each_published_law_on_its_own_text():
    found = expect("published:muennighoff", 7e9, 1.4e11)
    # By hand: 1.8691 + 520.82 / 7e9^0.3526596 + 1487.7 / 1.4e11^0.3526596
    assert found.loss == pytest.approx(1.8691 + 520.82 * 7e9**-0.3526596 + 1487.7 * 1.4e11**-0.3526596, rel=1e-4)
    assert found.range[0] < found.loss < found.range[1]
    repeated = expect("muennighoff", 7e9, 1.4e11, 7e9)
    assert repeated.loss > found.loss
    assert {one.name for one in repeated.others} == {"chinchilla", "muennighoff", "hoffmann"}
    with pytest.raises(InputError, match=r"published:gadre-c4 tells no loss of repeated data"):
        expect("gadre-c4", 7e9, 1.4e11, 7e9)


def test_a_plan_that_the_chips_cannot_hold_says_so():
    small = by_published("chinchilla", Budget.of_hardware("rtx4090:2", 168))
    assert not any("GiB" in note for note in small.notes)
    # 16 bytes x 2.75e9 = 41 GiB, one card has 24.
    large = by_published("chinchilla", Budget.of_flops(1e21, "rtx4090"))
    assert any("41.4 GiB in float32" in note and "1 x 24 GiB" in note for note in large.notes)


def test_a_plan_holds_the_columns_of_its_law(fitted, kaplan):
    found = plan(fitted, 1e21)
    assert found.inputs == {"params": found.params, "tokens": found.tokens}
    ns, critical = kaplan
    found = plan(ns, 1e18, B_crit=critical)
    assert set(found.inputs) == {"params", "steps_min"}
    assert float(ns.law(*found.inputs.values())) == pytest.approx(found.loss, rel=1e-9)
    assert route(ns.law, critical.law).loss(found.params, 1e18) == pytest.approx(found.loss, rel=1e-9)


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
    C = 2 * 1e-3 * counts.PF_DAY
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
    assert any("lovelace does and fits better" in note for note in found.notes)
    assert found.inputs["unique_tokens"] == pytest.approx(min(5e9, found.tokens))


def test_chinchillas_runs_plan_gopher_at_18_tokens_per_parameter(shared):
    path = shared / "reference_runs" / "besiroglu2024_chinchilla" / "svg_extracted_data.csv"
    table = load(path, {"params": "Model Size", "flops": "Training FLOP"})
    found = plan(fit("chinchilla", table, loss="huber", drop_worst=5), 5.76e23)
    assert found.tokens / found.params == pytest.approx(17.9, abs=0.05)
    low, high = found.intervals["a"]
    assert low < 0.5126 < high
