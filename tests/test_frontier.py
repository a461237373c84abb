"""Allocation of compute: known optima come back, published exponents are met, useless grids are refused."""

import dataclasses

import numpy as np
import pytest

from analysis import frontier
from analysis.batch_size import with_minima
from analysis.envelope import envelope, grid_bias
from analysis.laws import Chinchilla, Gadre, KaplanBCrit, KaplanND
from analysis.table import Table
from scaling.counts import PF_DAY
from scaling.errors import InputError

REFIT = Chinchilla(E=1.8172, A=482.01, B=2085.43, alpha=0.3478, beta=0.3658)  # Besiroglu et al. (2024)


def exponent(law):
    return law.beta / (law.alpha + law.beta)


def chinchilla(constants, suffix=""):
    return Chinchilla(**{name: constants[name + suffix]["value"] for name in ("E", "A", "B", "alpha", "beta")})


BUDGETS = np.geomspace(1e18, 1e20, 6)


def test_the_lower_envelope_keeps_only_points_nothing_cheaper_beats():
    x, loss = np.array([3.0, 1.0, 2.0, 4.0, 2.0]), np.array([2.5, 3.0, 3.5, 2.0, 2.9])
    assert frontier.lower_envelope(x, loss).tolist() == [1, 4, 0, 3]


@pytest.mark.parametrize("rows", [[0, 1], [1, 0]])
def test_equal_points_enter_the_lower_envelope_once(rows):
    assert len(frontier.lower_envelope(np.array([1.0, 1.0])[rows], np.array([2.0, 2.0]))) == 1


# --- approach 3


@pytest.mark.parametrize(("suffix", "ratio"), [("", 92.6), ("_unrounded", 58.9)])
def test_tokens_per_parameter_of_hoffmanns_constants_at_gophers_budget(papers, suffix, ratio):
    best = frontier.chinchilla_optimum(chinchilla(papers["hoffmann2022"], suffix), 5.76e23)
    assert best.tokens_per_param == pytest.approx(ratio, abs=0.05)


def test_tokens_per_parameter_of_the_refit_at_gophers_budget(papers):
    c = papers["besiroglu2024"]["global_optimum_240pts"]["value"]
    law = Chinchilla(**{name: c[name] for name in ("E", "A", "B", "alpha", "beta")})
    assert frontier.chinchilla_optimum(law, 5.76e23).tokens_per_param == pytest.approx(17.9, abs=0.05)


def test_search_finds_the_closed_form():
    C = np.geomspace(1e12, 1e26, 15)
    exact, found = frontier.chinchilla_optimum(REFIT, C), frontier.optimum(REFIT, C)
    np.testing.assert_allclose(found.params, exact.params, rtol=1e-6)
    np.testing.assert_allclose(found.loss, exact.loss, rtol=1e-12)
    np.testing.assert_allclose(6 * found.params * found.tokens, C, rtol=1e-12)
    gadre = Gadre(E=1.8, a=141.0, b=190.0, eta=0.121)
    exact, found = frontier.best(gadre, C), frontier.optimum(gadre, C)
    np.testing.assert_allclose(found.params, exact.params, rtol=1e-6)
    np.testing.assert_allclose(found.loss, exact.loss, rtol=1e-12)


def test_hoffmanns_table_of_approach_3_follows_from_equation_4(papers):
    law = chinchilla(papers["hoffmann2022"], "_unrounded")
    for N, flops, tokens in ((1e9, 1.62e20, 27.1e9), (67e9, 1.71e24, 4.1e12), (1e12, 5.65e26, 94.1e12)):
        best = frontier.chinchilla_optimum(law, flops)
        # The released digits are those of another run of the same fit.
        assert best.params == pytest.approx(N, rel=0.08)
        assert best.tokens == pytest.approx(tokens, rel=0.08)


def test_a_law_of_unique_tokens_says_nothing_about_compute():
    with pytest.raises(InputError, match="kaplan-nd is a law of params, unique_tokens"):
        frontier.best(KaplanND(8.8e13, 5.4e13, 0.076, 0.095), 1e20)


def test_a_surface_that_only_falls_with_N_has_no_optimum():
    with pytest.raises(InputError, match="no best size"):
        frontier.optimum(lambda N, D: N**-0.1 + 0 * D, 1e20)


def test_the_surface_gives_its_own_exponents_and_an_interval_from_its_draws():
    rng = np.random.default_rng(0)
    drawn = [dataclasses.replace(REFIT, alpha=0.3478 + 0.01 * rng.standard_normal()) for _ in range(200)]
    found = frontier.surface(REFIT, BUDGETS, drawn=drawn)
    assert found.a == pytest.approx(exponent(REFIT), abs=1e-9)
    assert found.a + found.b == pytest.approx(1)
    low, high = found.a_interval
    np.testing.assert_allclose([low, high], np.percentile([exponent(law) for law in drawn], [2.5, 97.5]), rtol=1e-6)
    at, (below, above) = found.params(1e21), found.params_band(1e21)
    assert below < at < above


# --- approach 1


def curves(law, sizes, noise=0.0, schedule="constant", seeds=1, seed=1):
    """Learning curves; the noise of ln loss moves each run as a whole, as a seed does."""
    rows = []
    rng = np.random.default_rng(seed)
    for i, N in enumerate(sizes):
        for s in range(seeds):
            moved = np.exp(noise * rng.standard_normal())
            for C in np.geomspace(6 * N * 2 * N, 6 * N * 200 * N, 60):
                loss = law(N, C / 6 / N) * moved
                rows.append({"run": f"r{i}-{s}" if s else f"r{i}", "params": N, "flops": C, "loss": loss, "seed": s,
                             "schedule": schedule})  # fmt: skip
    return Table.from_rows(rows)


def test_the_envelope_of_learning_curves_finds_the_exponent():
    found = envelope(curves(REFIT, np.geomspace(1e7, 1e10, 16)), draws=100, sigma=0.003)
    assert found.a == pytest.approx(exponent(REFIT), abs=0.002)
    low, high = found.a_interval
    assert low < found.a < high


@pytest.mark.parametrize("n", [6, 8, 12])
def test_few_sizes_do_not_flatten_the_line_through_an_envelope(n):
    found, true = grid_bias(curves(REFIT, np.geomspace(1e7, 1e10, n)), REFIT)
    assert true == pytest.approx(exponent(REFIT), abs=1e-6)
    assert found == pytest.approx(true, abs=0.002)


@pytest.mark.parametrize(("sizes", "seeds", "sigma"), [(6, 1, 0.003), (8, 3, None)])
def test_intervals_of_an_envelope_hold_the_truth_as_often_as_they_say(sizes, seeds, sigma):
    held, spread, widths = 0, [], []
    for k in range(60):
        table = curves(REFIT, np.geomspace(1e7, 1e10, sizes), noise=0.003, seeds=seeds, seed=k)
        found = envelope(table, sigma=sigma, draws=150, n_budgets=400)
        low, high = found.a_interval
        held += low < exponent(REFIT) < high
        spread.append(found.a)
        widths.append(high - low)
    assert 52 <= held <= 60
    assert np.median(widths) / 4 == pytest.approx(np.std(spread), rel=0.35)


def test_one_run_per_size_shows_no_seed_noise_and_gets_no_interval():
    found = envelope(curves(REFIT, np.geomspace(1e7, 1e10, 6), noise=0.003))
    assert np.isnan(found.a_interval).all()
    assert "no intervals: no seed noise given, and no runs that differ in their seed alone show it" in found.warnings
    assert "%:" not in found.text()


def test_curves_that_never_cross_have_no_envelope():
    with pytest.raises(
        InputError, match=r"changes 0 times where two curves cross and 3 more times where a curve begins or ends"
    ):
        envelope(curves(REFIT, np.geomspace(1e7, 1e10, 4)), sigma=0.003)


def test_sizes_whose_budgets_end_with_a_curve_do_not_tilt_the_envelope():
    """All sizes trained on 1e9 to 1e10 tokens: the small are best where the large have not begun, and the other way."""
    N, D = np.geomspace(1e6, 1e10, 17)[:, None], np.geomspace(1e9, 1e10, 60)
    columns = {"run": np.arange(17)[:, None].astype(str), "params": N, "flops": 6 * N * D, "loss": REFIT(N, D)}
    table = Table.from_columns({name: np.broadcast_to(x, (17, 60)).ravel() for name, x in columns.items()})
    found, truth = envelope(table, draws=0), frontier.surface(REFIT, np.geomspace(1e16, 1e21, 9)).a
    assert found.a == pytest.approx(truth, abs=0.02)
    assert len(found.points) == 3


def test_draws_that_mostly_failed_give_no_interval():
    line = (0.0, 0.5, 0.0, 0.5)
    assert frontier.enough_draws([line] * 49, 100, "x") == ([], ["no intervals: 51 of 100 draws had not x"])
    assert frontier.enough_draws([line] * 60, 100, "x") == (
        [line] * 60,
        ["40 of 100 draws had not x: the interval is too narrow"],
    )
    assert frontier.enough_draws([line] * 96, 100, "x") == ([line] * 96, [])


def test_the_luckiest_of_several_seeds_is_no_size_of_its_own():
    sizes = np.geomspace(1e7, 1e10, 8)
    table = curves(REFIT, sizes, seeds=2)
    lucky = np.where(table["seed"] == 1, 0.99, 1 / 0.99)
    found = envelope(table.with_columns(loss=table["loss"] * lucky), draws=0)
    assert found.a == pytest.approx(envelope(curves(REFIT, sizes), draws=0).a, abs=1e-9)


def test_the_tokens_of_an_envelope_are_those_of_its_runs_where_the_compute_counts_more_than_6_N_D():
    plain = curves(REFIT, np.geomspace(1e7, 1e10, 12))
    logits = plain.with_columns(tokens=plain["flops"] / (6 * plain["params"]), flops=1.5 * plain["flops"])
    found, more = (envelope(table, draws=0) for table in (plain, logits))
    assert more.tokens(1.5e19) == pytest.approx(found.tokens(1e19), rel=1e-6)
    assert more.params(1.5e19) == pytest.approx(found.params(1e19), rel=1e-6)


def test_the_envelope_leaves_out_repeated_data_and_runs_that_diverged():
    table = curves(REFIT, np.geomspace(1e7, 1e10, 12))
    lost, repeated = table["run"] == "r5", table["run"] == "r6"
    spoilt = table.with_columns(
        loss=np.where(lost, np.nan, np.where(repeated, 1.0, table["loss"])), epochs=np.where(repeated, 4.0, 1.0)
    )
    found, without = envelope(spoilt, draws=0), envelope(table.where(~(lost | repeated), "spoilt"), draws=0)
    assert found.a == without.a
    assert [w for w in found.warnings if "left out" in w] == [
        "60 rows left out: no loss there: the run diverged",
        "60 rows left out: more than one epoch: its data are repeated",
    ]


def test_the_best_size_where_two_curves_cross_is_the_mean_of_the_two():
    sizes = np.geomspace(1e7, 1e9, 6)
    found = envelope(curves(REFIT, sizes), draws=0)
    assert [p.params for p in found.points] == pytest.approx(np.sqrt(sizes[:-1] * sizes[1:]))
    for p, small, large in zip(found.points, sizes[:-1], sizes[1:], strict=True):
        assert REFIT(small, p.flops / (6 * small)) == pytest.approx(REFIT(large, p.flops / (6 * large)), rel=1e-4)


def test_the_envelope_follows_kaplans_adjusted_compute_where_asked():
    table = curves(REFIT, np.geomspace(1e7, 1e10, 16)).with_columns(batch_tokens=np.full(16 * 60, 5e5))
    adjusted = with_minima(table, lambda loss: 5e5 * np.ones_like(loss))
    plain, least = (envelope(adjusted, compute=c, draws=0) for c in ("flops", "flops_min"))
    assert least.a == pytest.approx(plain.a, abs=1e-6)
    assert least.params(1e19) == pytest.approx(plain.params(2e19))


def test_kaplans_learning_curves_give_the_sizes_of_his_figure_14(papers):
    """Figure 4 right, its S_min turned into C_min with the paper's B_crit(L), against 1.3e9 C_min^0.73."""
    digitised = papers["kaplan2020_digitised"]
    B_crit = KaplanBCrit(papers["kaplan2020"]["B_star"]["value"], papers["kaplan2020"]["alpha_B"]["value"])
    points = [(float(N), S, L) for N, curve in digitised["fig4_learning_curves"]["value"].items() for S, L in curve]
    N, S_min, loss = np.array(points).T
    C_min = 6 * N * S_min * B_crit(loss)
    table = Table.from_columns({"run": [f"{n:g}" for n in N], "params": N, "flops_min": C_min, "loss": loss})
    found = envelope(table, compute="flops_min", draws=0)
    C = np.geomspace(1e-4, 0.2, 9)  # PF-days
    np.testing.assert_allclose(found.params(C * PF_DAY) / (1.3e9 * C**0.73), 1, atol=0.25)


def test_an_envelope_through_the_middle_of_decaying_runs_is_warned_about():
    table = curves(REFIT, np.geomspace(1e7, 1e9, 6), schedule="cosine")
    assert any("runs of that length would end lower" in w for w in envelope(table, draws=0).warnings)


def test_two_sizes_make_no_envelope():
    with pytest.raises(InputError, match="at least 3"):
        envelope(curves(REFIT, [1e7, 1e8]))
