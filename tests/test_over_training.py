"""Over-training from our own runs: a known law comes back, and the public runs of both papers give what they print."""

import functools

import chinchilla_records
import numpy as np
import pytest
from chinchilla_records import LAW

from analysis.laws import Chinchilla, Gadre
from analysis.load import load
from analysis.papers.chinchilla import approaches, trunks
from analysis.papers.claim import Verdict
from analysis.papers.over_training import lines, ratios, recipe
from analysis.papers.over_training.evidence import LEAST, OverTraining
from analysis.papers.over_training.paper import PAPER
from analysis.plan import prices
from configs.over_training import budgets, experiments

GADRE = Gadre(E=1.7, a=20.0, b=30.0, eta=0.14)  # parallel lines
DRAWS = 20


class Few(OverTraining):
    """With fewer draws, which are enough for these claims."""

    @functools.cached_property
    def draws(self):
        return approaches.draws(self.runs, self.luck, DRAWS)


@pytest.fixture(scope="module")
def drawn():
    evidence = Few({"grid": chinchilla_records.main_grid("cpu-1h")})
    return {name: PAPER.draw_one(name, evidence) for name in PAPER.figures}


def claims(drawn):
    return {claim.name: claim for one in drawn.values() for claim in one.claims}


# --- a known law comes back through the page's own path


def test_different_exponents_of_n_and_d_are_seen_and_the_fit_does_not_depend_on_the_ratios(drawn):
    found = claims(drawn)
    low, high = found["alpha − beta"].interval
    assert low < LAW.alpha - LAW.beta < high < 0
    for name in ("alpha", "beta"):
        low, high = found[f"{name}, all runs less those of M ≤ 100"].interval
        assert low < 0 < high
    n = prices.served_shares(LAW.alpha, LAW.beta, 1.0).params
    low, high = found["N at a demand of 1"].interval
    assert low < n < high


def test_every_figure_has_its_points_and_its_finding(drawn):
    for name in ("fig1", "fig2", "fig3", "fig4"):
        assert drawn[name].figure is not None
        assert len(drawn[name].data) > 10
        assert drawn[name].sentences
    assert set(drawn["table1"].data["fitted"]) == {"M ≤ 100", "M ≤ 250", "M ≤ 500", "all"}


def test_lines_of_a_law_with_one_exponent_are_parallel_and_larger_runs_are_predicted():
    records = chinchilla_records.main_grid("cpu-24h", 0.0, 0.0)
    runs = trunks.counted(records.runs, trunks.WHOLE)
    evidence = OverTraining(
        {"grid": type(records)(runs.with_columns(loss=GADRE(runs["params"], runs["tokens"])), records.curves,
                               records.positions, ())}
    )  # fmt: skip
    evidence.draws = np.log(evidence.runs["loss"])[:, None]
    assert evidence.at_ratios.table["ratio"].min() == LEAST
    assert evidence.eta.ours == pytest.approx(GADRE.eta, abs=1e-4)
    np.testing.assert_allclose(evidence.lines.slopes[:, 0], -GADRE.eta, atol=1e-3)
    assert evidence.parallel.ours == pytest.approx(0.0, abs=1e-3)
    assert np.abs(evidence.misses).max() < 1e-3
    assert evidence.forecast.verdict is Verdict.CANNOT_TELL  # no seed differs: no interval


def test_without_runs_everything_is_open_and_nothing_fails():
    for name in PAPER.figures:
        assert PAPER.draw_one(name, OverTraining({})).open


def test_the_budgets_are_the_main_grid_and_that_of_six_hours_a_part_of_it():
    whole = set(experiments.main_grid(budgets.named("cpu-24h", rates="english")))
    part = set(experiments.main_grid(budgets.named("cpu-6h", rates="english")))
    assert part < whole
    assert max(run.tokens / run.model.N for run in part) > 20_000


# --- the public runs of both papers, through the same functions


@pytest.mark.parametrize(
    ("data", "error", "change"),
    [("rpj", 0.00732, 0.003), ("c4_original", 0.04295, 0.006), ("rw_original", 0.016, 0.002)],
)
def test_gadres_runs_give_the_printed_error_of_the_largest_and_nearly_parallel_lines(shared, data, error, change):
    runs = load(shared / "reference_runs" / "gadre2024_overtraining" / "runs.csv", {"loss": "loss_c4_val"})
    runs = runs.where(runs["dataset"] == data, "other text")
    runs = runs.with_columns(ratio=20 * runs["chinchilla_multiplier"], flops=6 * runs["params"] * runs["tokens"])
    found = recipe.fitted(runs, recipe.chosen(runs))
    assert len(found.rows) == 5
    assert abs(found.errors(runs)[np.argmax(runs["params"])]) == pytest.approx(error, abs=3e-4)
    late = runs.where(runs["ratio"] >= LEAST, "too few tokens")
    read = lines.lines(late, np.log(late["loss"])[:, None], np.array([found.fit.constants["E"]]))
    assert read.change[0] == pytest.approx(change, abs=6e-4)
    assert np.abs(read.slopes + found.fit.constants["eta"]).max() < 0.0085


def test_sardanas_runs_give_the_refits_of_their_table_by_ratio(shared):
    path = shared / "reference_runs" / "sardana2024_overtraining" / "trainingresults.csv"
    runs = load(path, {"loss": "Smoothed Loss", "params": "Parameters", "tokens": "Tokens"})
    found = ratios.fits(runs)
    wanted = {  # alpha, beta, A, B, E as known, and 1e4 times the sum; and both of the constants as they print them
        100: (34, (0.077, 0.126, 7.14, 26.0, 0.153), 2.19, (0.08, 0.13, 7.199, 25.97, 0.17), 22.9),
        250: (39, (0.131, 0.157, 14.44, 39.47, 0.986), 3.07, (0.13, 0.16, 14.23, 39.54, 0.98), 11.1),
        500: (43, (0.132, 0.158, 17.07, 35.81, 0.946), 3.92, (0.13, 0.16, 17.07, 35.80, 0.95), 4.53),
        np.inf: (47, (0.179, 0.232, 35.39, 133, 1.463), 6.20, (0.18, 0.24, 33.66, 138.9, 1.45), 27.5),
    }
    for limit, (n, constants, objective, printed, rounded) in wanted.items():
        law, part = found[limit], ratios.up_to(runs, limit)
        assert law.n_runs == len(part) == n
        ours = [law.constants[name] for name in ("alpha", "beta", "A", "B", "E")]
        np.testing.assert_allclose(ours, constants, rtol=2e-3, atol=6e-4)
        assert 1e4 * law.objective == pytest.approx(objective, abs=6e-3)
        alpha, beta, A, B, E = printed
        off = np.log(Chinchilla(E, A, B, alpha, beta)(part["params"], part["tokens"]) / part["loss"])
        assert 1e4 * law.objective_kind.terms(off)[0].sum() == pytest.approx(rounded, rel=5e-3)
