"""Hoffmann et al. (2022) from our own runs: a known law comes back by every approach, and published numbers recur."""

import csv
import dataclasses
import functools
import math

import chinchilla_records
import numpy as np
import pytest
from chinchilla_records import LAW
from scipy import optimize

from analysis import forecast, frontier, papers, reference, registry
from analysis.fit import fit
from analysis.isoflop import parabola_minima
from analysis.laws import Chinchilla
from analysis.papers import page
from analysis.papers.chinchilla import approaches, cycles, published, trunks
from analysis.papers.chinchilla.evidence import Chinchilla2022
from analysis.papers.chinchilla.paper import PAPER
from analysis.papers.claim import Undecided
from analysis.records import Records
from analysis.table import Table
from configs import grid
from scaling.config import DataConfig
from scaling.errors import InputError

A = LAW.beta / (LAW.alpha + LAW.beta)  # the exponent of N_opt
MADE = page.Made("cpu-1h", "scaling reproduce chinchilla", "synthetic", 118)


class Few(Chinchilla2022):
    """With fewer draws, which are enough for these claims."""

    @functools.cached_property
    def draws(self):
        return approaches.draws(self.runs, self.luck, 60)


@pytest.fixture(scope="module")
def evidence() -> Few:
    return Few({"grid": chinchilla_records.main_grid(), "cycle": chinchilla_records.cycles()})


@pytest.fixture(scope="module")
def drawn(evidence):
    return {name: PAPER.draw_one(name, evidence) for name in PAPER.figures}


@pytest.fixture(scope="module")
def written(drawn, evidence, tmp_path_factory):
    folder = tmp_path_factory.mktemp("chinchilla")
    page.write(folder, PAPER, list(drawn.values()), evidence.experiments, MADE)
    return folder


def rows(path):
    """Columns of a CSV as arrays of numbers, those of text left out."""
    lines = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    numeric = [name for name in lines[0] if name not in ("run", "approach", "constants", "counted")]
    return {name: np.array([float(line[name] or "nan") for line in lines]) for name in numeric}


# --- a known law comes back through the page's own path


@pytest.mark.parametrize("number", [1, 2, 3])
def test_the_exponent_of_the_known_law_lies_in_the_interval_of_every_approach(evidence, number):
    claim = evidence.a(number)
    assert claim.decided
    assert claim.interval[0] < A < claim.interval[1]
    assert claim.ours == pytest.approx(A, abs=0.07)
    assert claim.span[0] <= claim.ours <= claim.span[1]
    assert evidence.b(number).ours == pytest.approx(1 - claim.ours, abs=0.01)


def test_the_constants_of_the_known_law_lie_in_their_intervals(evidence):
    found = {claim.name: claim for claim in evidence.constants}
    for name in ("alpha", "beta", "E"):
        low, high = found[name].interval
        assert low < getattr(LAW, name) < high


def test_approaches_differ_by_less_than_the_luck_of_the_seeds(evidence):
    one, two, three = evidence.envelope, evidence.profiles, evidence.surface
    for first, second in ((one, two), (two, three), (one, three)):
        _, low, high = first.difference(second)
        assert low < 0 < high


def test_the_interval_of_what_follows_from_the_surface_is_no_narrower_than_the_fits_own(evidence):
    """Redrawn seeds alone know nothing of how far the form misses whole trunks."""
    fit, found = evidence.law, evidence.surface.found
    for claim, of in ((evidence.a(3), lambda law: law.beta / (law.alpha + law.beta)),
                      (evidence.b(3), lambda law: law.alpha / (law.alpha + law.beta))):  # fmt: skip
        low, high = claim.interval
        _, least, most = fit.derived(of)
        assert low - 1e-9 < least < most < high + 1e-9
    luck = found.a_interval
    assert evidence.a(3).interval[0] <= luck[0] < luck[1] <= evidence.a(3).interval[1]


def test_sizes_whose_compute_no_best_size_was_found_at_are_said_to_be_extrapolated(drawn, evidence):
    columns = drawn["table3"].data.columns
    C = [point.flops for point in evidence.envelope.found.points]
    within = columns["where"] == "within"
    np.testing.assert_array_equal(within, (columns["FLOP"] >= min(C)) & (columns["FLOP"] <= max(C)))
    assert 0 < within.sum() < len(within)


def test_the_luck_of_trunks_and_of_runs_comes_back():
    made = [trunks.luck(trunks.admitted(chinchilla_records.main_grid("cpu-24h", seed=k).runs)) for k in range(3)]
    assert np.mean([one.trunk for one in made]) == pytest.approx(chinchilla_records.TRUNK, rel=0.3)
    assert np.mean([one.run for one in made]) == pytest.approx(chinchilla_records.RUN, rel=0.1)


def test_runs_without_a_second_seed_get_no_interval():
    runs = chinchilla_records.main_grid("tiny").runs
    one = trunks.admitted(runs.where(runs["seed"] == 0, "another seed"))
    with pytest.raises(Undecided, match="no setting has two seeds"):
        trunks.luck(one)
    assert approaches.draws(one, None).shape == (len(one), 1)


def test_runs_that_end_before_their_model_uses_its_context_are_left_out_and_counted(evidence, drawn):
    runs = evidence.every_run
    early = np.isnan(runs["onset"])
    assert 0 < early.sum() < 10
    assert not set(runs["run"][early]) & set(evidence.runs["run"])
    assert f"{len(runs) - early.sum()} of {len(runs)} runs are admitted; {early.sum()} are left out" in " ".join(
        drawn["admitted"].sentences
    )


def test_where_no_model_uses_its_context_every_figure_of_the_grid_is_undecided_for_that_reason():
    records = chinchilla_records.main_grid("tiny")
    blind = records.runs.with_columns(onset=np.full(len(records.runs), np.nan))
    unused = Chinchilla2022({"grid": type(records)(blind, records.curves, records.positions, ())})
    for name in ("fig1", "fig2", "fig3", "fig4", "table2", "figA3", "figA5"):
        assert "every run ended before its model used its context" in " ".join(PAPER.draw_one(name, unused).open)


def test_between_branches_the_losses_of_the_known_law_are_met():
    runs = trunks.admitted(chinchilla_records.main_grid("cpu-1h", 0.0, 0.0).runs)
    C = 2.0 ** np.arange(34, 43, 0.25)
    table, ln_loss = trunks.along(trunks.counted(runs, trunks.WHOLE), C, np.log(runs["loss"])[:, None])
    np.testing.assert_allclose(np.exp(ln_loss[:, 0]), LAW(table["params"], table["tokens"]), rtol=5e-4)


def test_without_noise_all_three_approaches_are_the_law_itself():
    runs = trunks.counted(trunks.admitted(chinchilla_records.main_grid("cpu-24h", 0.0, 0.0).runs), trunks.WHOLE)
    ln_loss = np.log(runs["loss"])[:, None]
    tolerances = {approaches.by_envelope: 0.01, approaches.by_profiles: 0.01, approaches.by_surface: 1e-5}
    for find, tolerance in tolerances.items():
        assert find(runs, ln_loss).found.a == pytest.approx(A, abs=tolerance)


def test_a_cosine_longer_than_the_run_is_seen_to_hurt_where_it_does(drawn):
    said = " ".join(drawn["figA1"].sentences)
    assert drawn["figA1"].decided
    assert "at 5 times as long" in said
    assert "here the longest costs 2.3 %" in said  # 1 % for each of 2.3 doublings


def test_peak_rates_of_fewer_seeds_are_compared_on_the_seeds_that_they_share():
    """Seed 0 is 1 % better than the others at every rate: a mean over all seeds would have twice the rate win."""
    rate, seed = np.array([1.0, 1.0, 1.0, 2.0]), np.array([0.0, 1.0, 2.0, 0.0])
    loss = 3.0 * np.where(seed == 0, 0.99, 1.0) * np.where(rate == 2.0, 1.005, 1.0)
    table = Table.from_columns({"learning_rate": rate, "seed": seed, "loss": loss})
    assert "by +0.50 % at 2 times it (1 seed, paired)" in cycles._tuned(table, 1.0)


def test_on_another_text_the_exponent_of_its_own_law_is_found_and_held_against_the_main_one(evidence):
    other = {"grid": chinchilla_records.main_grid(seed=1)}
    alone = PAPER.draw_one("tableA2", evidence)
    assert "--beside" in alone.open[0]
    found = PAPER.draw_one("tableA2", Few(evidence.experiments, beside={"text:verse/*.jsonl": other}))
    (claim,) = found.claims
    assert (claim.name, claim.paper) == ("a, approach 2 on verse/*.jsonl", None)
    assert claim.interval is not None
    assert claim.interval[0] <= A <= claim.interval[1]
    assert "no difference is seen" in found.sentences[-1]
    assert set(found.data["text"]) == {"verse/*.jsonl"}


def test_a_study_beside_another_is_one_of_its_experiments_on_another_text():
    def records(text: str, budget: str) -> Records:
        runs = [dataclasses.replace(run, data=DataConfig(text)) for run in grid.runs(grid.named(budget), "python")]
        configs = {f"grid-{i:03d}": run for i, run in enumerate(runs)}
        return dataclasses.replace(chinchilla_records.main_grid(budget), configs=configs)

    wanted = papers.wanted("chinchilla", "tiny", ["tableA2"], settings={"data.source": "text:a", "rates": "python"})
    main = records("text:a", "tiny")
    with pytest.raises(InputError, match=r"another than text:a$"):
        wanted.drawn_from(main, beside=[records("text:a", "cpu-1h")])
    (table,) = wanted.drawn_from(main, beside=[records("text:b", "cpu-1h")]).drawn
    assert [claim.name for claim in table.claims] == ["a, approach 2 on b"]
    with pytest.raises(InputError, match="none of these figures shows other texts; tableA2 does"):
        papers.wanted("chinchilla", "tiny", ["fig3"]).check_beside()
    nothing = dataclasses.replace(main, configs={})
    with pytest.raises(InputError, match="no run of the experiments grid"):
        wanted.drawn_from(main, beside=[nothing])


def test_leaving_out_the_embedding_raises_the_exponent_of_small_models(drawn):
    table = drawn["tableA9"].data
    assert table["counted"].tolist() == ["with the embedding", "without the embedding"]
    for number in (1, 2):
        whole, inner = table[f"a, approach {number}"]
        assert inner > whole + 0.05
    if np.isnan(table["a, approach 3"][1]):
        assert "approach 3 without the embedding: L(N, D) is doubtful" in " ".join(drawn["tableA9"].open)


def test_forecasts_are_of_budgets_that_were_held_out_and_hit_a_law_that_holds(drawn, evidence):
    columns = drawn["forecast"].data.columns
    assert columns["flops"].min() > evidence.smaller["flops"].max()
    assert np.abs(columns["cost of the size, %"]).max() < 1
    surface = columns["approach"] == "approach 3"
    assert np.abs(columns["loss off, %"][surface]).max() < 1


def test_dated_forecasts_are_held_against_what_their_run_gave(evidence, tmp_path):
    table = evidence.runs
    found = fit("chinchilla", table, loss="squared", every_run=True)
    largest = {"params": float(table["params"].max()) * 2, "tokens": float(table["tokens"].max())}
    store = forecast.store(forecast.forecast(found, **largest), f"{tmp_path}/")
    with_forecasts = PAPER.evidence({"grid": evidence.experiments["grid"]}, registry.read(tmp_path))
    waiting = PAPER.draw_one("promised", with_forecasts)
    assert "the run of these forecasts has not been measured" in " ".join(waiting.open)
    registry.keep(tmp_path, store.name, float(LAW(*largest.values())))
    scored = PAPER.draw_one("promised", PAPER.evidence(with_forecasts.experiments, registry.read(tmp_path)))
    assert scored.decided
    assert "The 95 % interval of one run holds what came in 1 of 1 forecasts" in " ".join(scored.lines)
    assert scored.data["measured"] == pytest.approx(float(LAW(*largest.values())))


# --- the page's numbers from its own files, with NumPy and SciPy alone


def test_the_lines_of_approaches_1_and_2_follow_from_the_exported_points(written, evidence):
    points = rows(written / "fig2.csv")
    slope = np.polyfit(np.log(points["flops"]), np.log(points["params"]), 1)[0]
    assert slope == pytest.approx(evidence.a(1).ours, abs=1e-9)

    every = rows(written / "fig3.csv")
    C, N = [], []
    for flops in np.unique(every["flops"]):
        own = every["flops"] == flops
        x, y = np.log(every["params"][own]), np.log(every["loss"][own])
        u = np.abs(x - x[np.argmin(y)])
        near = u <= max(math.log(4), np.sort(u)[:5][-1]) * (1 + 1e-12)
        bend, slope, _ = np.polyfit(x[near], y[near], 2)
        if bend > 0 and x[0] < -slope / (2 * bend) < x[-1]:
            C.append(math.log(flops))
            N.append(-slope / (2 * bend))
    assert np.polyfit(C, N, 1)[0] == pytest.approx(evidence.a(2).ours, abs=1e-3)


def test_scipy_finds_the_surface_from_the_exported_runs(written, evidence):
    runs = rows(written / "fig4.csv")
    ln_N, ln_D, ln_L = (np.log(runs[name]) for name in ("params", "tokens", "loss"))

    def objective(theta):
        a, b, e, alpha, beta = theta
        r = np.logaddexp(np.logaddexp(a - alpha * ln_N, b - beta * ln_D), e) - ln_L
        return 1e3 * np.sum(np.where(np.abs(r) < 1e-3, r * r / 2, 1e-3 * (np.abs(r) - 5e-4)))

    starts = [(a, b, 0.5, 0.3, 0.4) for a in (2.0, 4.0) for b in (4.0, 6.0)]
    found = min((optimize.minimize(objective, start, method="Nelder-Mead",
                                   options={"maxiter": 20_000, "maxfev": 20_000, "xatol": 1e-8, "fatol": 1e-14})
                 for start in starts), key=lambda one: one.fun)  # fmt: skip
    law = evidence.law.law
    assert objective((math.log(law.A), math.log(law.B), math.log(law.E), law.alpha, law.beta)) <= found.fun * (1 + 1e-4)
    assert found.x[4] / (found.x[3] + found.x[4]) == pytest.approx(evidence.a(3).ours, abs=0.005)


# --- published numbers


def test_the_papers_tables_have_20_tokens_per_parameter_by_approach_1_alone(drawn):
    said = " ".join(drawn["figA3"].sentences)
    # 8.0B / 400M to 11.0T / 520B and the like; 7.7B / 400M to 292T / 10T; 9.2B / 400M to 1425.5T / 10T
    assert "20.0 to 22.4 by approach 1, 19.2 to 29.2 by approach 2 and 23.0 to 143 by approach 3" in said


def test_the_refit_of_the_papers_runs_is_held_against_our_intervals(drawn):
    said = " ".join(drawn["fig4"].sentences)
    assert "refitted the paper's runs, whose fit had not converged, to a = 0.51, alpha = 0.35 and beta = 0.37" in said


def test_the_papers_tables_of_optimal_compute_are_6_N_D_but_for_one_misprint():
    for name in ("table3", "tableA3_approach2", "tableA3_approach3"):
        N, C, D = np.asarray(reference.published()["hoffmann2022"][name]["value"]).T
        off = np.abs(C / (6 * N * D) - 1)
        wrong = off > 0.08  # both columns are rounded
        assert (N[wrong].tolist(), wrong.sum()) == (([1.75e11], 1) if name.endswith("approach3") else ([], 0))


def test_published_constants_give_18_59_and_93_tokens_per_parameter_side_by_side(drawn):
    sentence = drawn["constants"].sentences[0]
    assert "18, 59 and 93 tokens per parameter" in sentence
    by_name = dict(
        zip(drawn["constants"].data["constants"], drawn["constants"].data["tokens per parameter"], strict=True)
    )
    assert by_name["Hoffmann et al. (2022), as printed"] == pytest.approx(92.6, abs=0.1)
    assert "ours" in by_name


def test_rounding_is_to_the_digits_that_the_paper_prints():
    released = published.laws_published()["Hoffmann et al. (2022), as released"]
    printed = published.laws_published()["Hoffmann et al. (2022), as printed"]
    assert published.rounded(released) == Chinchilla(1.69, 406.4, 410.7, 0.34, 0.28)
    assert printed == published.rounded(printed)


def test_an_N_that_is_wrong_by_one_factor_changes_A_alone(evidence):
    law = evidence.law
    twice = dict(published.misread(evidence.runs, law))["every N twice as large"].law
    assert twice.A == pytest.approx(law.law.A * 2**law.law.alpha, rel=1e-3)
    for name in ("alpha", "beta", "B", "E"):
        assert getattr(twice, name) == pytest.approx(getattr(law.law, name), rel=1e-3)


def test_an_N_to_a_power_divides_alpha_by_it_and_a_constant_added_to_N_moves_alpha_and_E():
    """Schaeffer et al. (2025), on losses of Besiroglu's refit at the sizes of Table A9."""
    law = published.laws_published()["Besiroglu et al. (2024), refit"]
    N = np.repeat(1e6 * np.asarray(reference.published()["hoffmann2022"]["tableA9"]["value"], float)[:, 0], 5)
    D = np.tile(np.geomspace(1e9, 1e12, 5), len(N) // 5)
    loss = law(N, D)

    def alpha_and_E(counted):
        # With beta known the law is linear in E, A and B: alpha is a search in one dimension.
        def misfit(alpha):
            X = np.stack([np.ones_like(N), counted**-alpha, D**-law.beta], axis=1) / loss[:, None]
            found, *_ = np.linalg.lstsq(X, np.ones_like(N), rcond=None)
            return float(((X @ found - 1) ** 2).sum()), found[0]

        alpha = float(np.asarray(optimize.fminbound(lambda alpha: misfit(alpha)[0], 0.05, 1.5, xtol=1e-9)))
        return alpha, misfit(alpha)[1]

    alpha, E = alpha_and_E(N)
    assert (alpha, E) == (pytest.approx(law.alpha, rel=1e-3), pytest.approx(law.E, rel=1e-3))
    assert alpha_and_E(N**1.2)[0] == pytest.approx(law.alpha / 1.2, rel=1e-3)
    assert alpha_and_E(N + 4e7)[0] > 1.02 * law.alpha
    assert alpha_and_E(N - 4e7)[0] < 0.98 * law.alpha


@pytest.mark.parametrize(
    ("exponents", "reach", "bias"), [((0.34, 0.28), 2, 0.003), ((0.34, 0.28), 16, 0.041), ((0.46, 0.15), 16, 0.23)]
)
def test_a_centred_parabola_has_the_right_exponent_and_too_few_tokens(exponents, reach, bias):
    """Czech et al. (2026, arXiv 2603.22339): the parabola over all sizes of a grid, without noise."""
    law = Chinchilla(1.69, 406.4, 410.7, *exponents)
    C = np.geomspace(1e18, 1e22, 5)
    best = frontier.chinchilla_optimum(law, C)
    found = []
    for flops, N_opt in zip(C, best.params, strict=True):
        N = N_opt * np.geomspace(1 / reach, reach, 15)
        (at,), _, _ = parabola_minima(np.log(N), law(N, flops / 6 / N)[:, None], window=1e9)
        found.append(at)
    slope = np.polyfit(np.log(C), found, 1)[0]
    assert slope == pytest.approx(law.beta / (law.alpha + law.beta), abs=1e-3)
    assert -np.expm1(np.mean(np.log(best.params) - found)) == pytest.approx(bias, rel=0.25)


def test_the_parameters_of_table_A9_are_as_far_from_the_textbook_count_as_schaeffer_says():
    table = np.asarray(reference.published()["hoffmann2022"]["tableA9"]["value"], float)
    printed, d, ff, kv, heads, layers = table.T
    textbook = layers * (4 * d * kv * heads + 2 * d * ff) + 32_000 * d
    off = 1 - textbook / (1e6 * printed)
    assert 0.03 < off.min() < off.mean() < off.max() < 0.16


def test_the_page_shows_every_figure_and_each_claim_once(written, drawn):
    text = (written / "index.html").read_text(encoding="utf-8")
    for name, one in drawn.items():
        assert f'id="{name}"' in text
        assert (written / f"{name}.csv").exists()
        assert (written / f"{name}.svg").exists() == (one.figure is not None)
    assert isinstance(drawn["table3"].data, Table)
    # The exponent a is no constant A.
    assert ">a, approach 1</th>" in text
    assert "A, approach 1" not in text
    assert "with models of 1.54k to" in text
