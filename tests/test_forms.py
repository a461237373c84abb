"""Forms are chosen by rows that they have not seen, and compared by a likelihood that belongs to the loss."""

import math
from typing import Any

import numpy as np
import pytest
from drawn import noisy
from scipy import optimize, stats

from analysis import truths
from analysis.fit import fit, held_out
from analysis.fit.solver import Objective, Problem
from analysis.forms import candidates, choose, compare_laws, deviance
from analysis.laws import Chinchilla, KaplanLogN, KaplanN, KaplanOnePass, QNorm
from analysis.table import Table
from scaling.errors import InputError


def test_forms_are_compared_by_what_they_predict():
    table = noisy(KaplanN(8.8e13, 0.12), {"params": np.geomspace(1e4, 1e9, 20)}, 0.002)
    scores = compare_laws(
        ["kaplan-log-n", "kaplan-n"], Table.from_columns(table), hold_out="params>1e8", loss="squared"
    )
    assert [score.law for score in scores] == ["kaplan-n", "kaplan-log-n"]
    assert scores[0].aicc < scores[1].aicc
    assert scores[0].held_out < scores[1].held_out


def test_the_criterion_is_the_familiar_one_for_least_squares():
    """AIC differences of Gaussian models are n ln(sum of squares) + 2 k."""
    r = np.array([0.1, -0.2, 0.05, 0.3])
    value = 0.5 * (r**2).sum()
    assert deviance(Objective("squared"), value, np.ones(4)) == pytest.approx(
        4 * math.log(2 * math.pi * (r**2).mean()) + 4, rel=1e-9
    )
    w = np.array([0.5, 1.5, 1.0, 1.0])
    value = 0.5 * (w * r**2).sum()
    gaussian = -2 * stats.norm.logpdf(r, scale=np.sqrt((w * r**2).mean() / w)).sum()
    assert deviance(Objective("squared"), value, w) == pytest.approx(gaussian, rel=1e-9)


@pytest.mark.parametrize("kind", ["huber", "asymmetric"])
def test_the_robust_criterion_is_a_likelihood(kind):
    """Its density integrates to one and its scale is the best one, against a quadrature."""
    objective = Objective(kind, delta=0.3, asymmetry=4.0)
    r = np.array([0.1, -0.9, 0.05, 0.5, -0.02])
    value = float(objective.terms(r)[0].sum())

    def minus_two_ln(tau: float) -> float:
        x = np.linspace(-40, 40, 400_001)
        Z = np.trapezoid(np.exp(-objective.terms(x)[0] / tau), x)
        return 2 * len(r) * math.log(Z) + 2 * value / tau

    best: Any = optimize.minimize_scalar(minus_two_ln, bounds=(1e-3, 1.0), method="bounded")
    assert deviance(objective, value, np.ones(5)) == pytest.approx(best.fun, abs=1e-4)


def test_weights_count_when_forms_are_compared():
    """Half of the runs follow one form and half another: the weights say whom to believe."""
    N = np.geomspace(1e5, 1e9, 24)
    power, log = KaplanN(8.8e13, 0.076)(N), KaplanLogN(0.25, 7.1e12)(N)
    rng = np.random.default_rng(0)
    even = np.arange(24) % 2 == 0
    table = Table.from_columns({"params": N, "loss": np.where(even, power, log) * np.exp(0.001 * rng.normal(size=24))})
    for weights, best in ((np.where(even, 1e4, 1.0), "kaplan-n"), (np.where(even, 1.0, 1e4), "kaplan-log-n")):
        for loss in ("squared", "huber"):
            scores = compare_laws(["kaplan-n", "kaplan-log-n"], table, weights=weights, loss=loss)
            assert scores[0].law == best


def test_laws_of_different_columns_are_not_compared():
    with pytest.raises(InputError, match="the laws predict batch_crit, loss; compare laws of one column"):
        compare_laws(["kaplan-n", "kaplan-bcrit"], Table.from_columns({"params": [1e6, 2e6], "loss": [3.0, 2.9]}))


def test_runs_held_out_must_be_among_those_compared():
    table = noisy(KaplanN(8.8e13, 0.12), {"params": np.geomspace(1e4, 1e9, 20)}, 0.002)
    table = Table.from_columns({**table, "status": ["done"] * 19 + ["running"]})
    with pytest.raises(InputError, match="none of its rows"):
        compare_laws(["kaplan-n", "kaplan-log-n"], table, hold_out="params")


def surface(law, noise, seed=0, N=5, D=5):
    """Rows of a law over three decades of N and of D."""
    N, D = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 1e10, N), np.geomspace(1e9, 1e12, D)))
    columns = {"params": N, "tokens": D}
    return Table.from_columns(noisy(law, columns, noise, seed))


CHINCHILLA = Chinchilla(1.8172, 482.01, 2085.43, 0.3478, 0.3658)
KAPLAN = KaplanOnePass(6.4e13, 1.8e13, 0.076, 0.103)


@pytest.mark.parametrize("noise", [0.01, 0.04])
@pytest.mark.parametrize("law", [CHINCHILLA, KAPLAN], ids=lambda law: law.name)
def test_kaplan_and_chinchilla_are_told_apart_or_cannot_be(law, noise):
    """Of ten noisy draws none is wrong; at 1 % none is left open either."""
    best = [choose([Chinchilla, KaplanOnePass], surface(law, noise, seed)).best for seed in range(10)]
    assert set(best) <= {law.name, ""}
    if noise == 0.01:
        assert set(best) == {law.name}


def test_a_wider_form_is_not_chosen_where_it_is_no_better():
    choice = choose([QNorm, Chinchilla, KaplanOnePass], surface(CHINCHILLA, 0.01))
    assert choice.best == "chinchilla"
    assert "q-norm" in choice.open


def test_the_chooser_notices_that_hutters_sum_is_neither_chinchillas_nor_kaplans():
    for noise in (0.0, 0.01):
        columns = truths.drawn(truths.Hutter(), truths.SURFACES["hutter"][1], noise)
        choice = choose([Chinchilla, KaplanOnePass, QNorm], Table.from_columns(columns))
        assert choice.best == "q-norm"
        assert [form.law for form in choice.forms] == ["q-norm", "kaplan-one-pass", "chinchilla"]


def test_sizes_in_one_line_choose_nothing():
    """Where tokens follow parameters, Chinchilla's sum and the form of Kaplan with a floor of its own are alike."""
    N = np.geomspace(1e7, 1e10, 16)
    table = Table.from_columns(noisy(CHINCHILLA, {"params": N, "tokens": 20 * N}, 0.03))
    choice = choose([Chinchilla, QNorm], table)
    assert choice.best in ("", "chinchilla")
    assert set(choice.open) == {"chinchilla", "q-norm"}


def test_held_out_rows_lie_further_out_than_all_that_they_are_predicted_from():
    rng = np.random.default_rng(0)
    distance = rng.permutation(np.repeat(np.arange(10.0), 3))
    held = held_out.folds(distance, 5)
    assert 1 < len(held) <= held_out.FOLDS
    assert held.sum(0).max() == 1
    for fold, train in zip(held, held_out.before(held), strict=True):
        assert distance[fold].min() > distance[train].max()
        assert train.sum() >= 5 + held_out.SPARE


def test_the_largest_of_two_budgets_is_held_out_even_where_it_has_most_rows():
    distance = np.repeat([1.0, 2.0], [8, 14])
    (fold,) = held_out.folds(distance, 5)
    assert (fold == (distance == 2)).all()
    N = np.geomspace(1e7, 1e9, 20)
    loss = CHINCHILLA(N, 1e19 / N)
    choice = choose([Chinchilla, QNorm], Table.from_columns({"params": N, "tokens": 1e19 / N, "loss": loss}))
    assert choice.best == ""
    assert "of 20 rows too few lie nearer than the rest" in choice.unscored["chinchilla"]


def test_rows_of_one_cluster_are_held_out_together():
    clusters = np.repeat(np.arange(12), 4)
    distance = np.tile(np.arange(4.0), 12) + 0.1 * clusters
    for fold in held_out.folds(distance, 5, clusters):
        assert all(len(set(fold[clusters == run])) == 1 for run in range(12))


def test_the_score_of_a_true_law_is_the_density_of_its_own_predictions():
    """On average no density scores rows of a truth higher than the truth's own: the fitted one comes close to it."""
    noise, x = 0.01, np.geomspace(1e5, 1e9, 24)
    law = KaplanN(8.8e13, 0.12)
    y = np.log(law(x)) + noise * np.random.default_rng(0).normal(size=(300, 24))
    held = held_out.folds(np.log(x), 2)
    density, off = held_out.all_folds(Problem(KaplanN, Objective("squared"), (x,), y, np.ones(y.shape)), held)
    true = stats.norm.logpdf(y - np.log(law(x)), scale=noise)[:, held.any(0)].sum(-1)
    behind = (true - density.sum(-1)).mean()
    assert 0 < behind < 2  # nats: two constants and a scatter learnt from half of the rows
    assert np.nanstd(off) == pytest.approx(noise, rel=0.2)


def test_too_few_rows_are_refused_and_the_number_wanted_is_said():
    table = surface(CHINCHILLA, 0.01, N=3, D=3)
    choice = choose([Chinchilla, KaplanOnePass], table)
    assert (choice.best, choice.forms) == ("", ())
    assert (
        "9 rows are too few to judge 5 constants by rows held out; wanted 12 or more" in choice.unscored["chinchilla"]
    )


def test_a_column_that_all_forms_miss_is_refused_once():
    table = Table.from_columns({"step": np.arange(1.0, 40), "loss": np.linspace(4, 3, 39)})
    with pytest.raises(InputError, match=r"^table: no column tokens"):
        choose(candidates(table), table)
    few = Table.from_columns({"params": np.geomspace(1e6, 1e8, 5), "loss": np.linspace(4, 3, 5)})
    assert len(choose(["kaplan-n", "kaplan-log-n"], few).unscored) == 2  # what is too little to judge may be fitted


def test_forms_are_judged_by_the_absolute_loss_that_a_fit_takes():
    table = surface(CHINCHILLA, 0.01)
    laws = ["chinchilla", "kaplan-one-pass"]
    form = next(form for form in choose(laws, table, loss="absolute").forms if form.law == "chinchilla")
    assert form.rms == pytest.approx(fit("chinchilla", table, loss="absolute").residuals.rms, rel=1e-3)


def test_rows_of_one_run_count_as_one():
    """Three readings of each run look like three times the evidence, unless they are said to be of one run."""
    table = surface(CHINCHILLA, 0.04, N=5, D=4)
    columns = {name: np.tile(table[name], 3) for name in ("params", "tokens", "loss")}
    columns["loss"] *= 1 + 1e-6 * np.arange(60)
    copies = Table.from_columns({**columns, "cluster": np.tile(np.arange(20.0), 3), "row": np.arange(60.0)})
    apart, together = (choose([Chinchilla, KaplanOnePass], copies, clusters=name) for name in (None, "cluster"))
    gaps = [choice.forms[0].score - choice.forms[1].score for choice in (apart, together)]
    assert gaps[1] < gaps[0] / 2
