"""Forms are compared by what they predict and by a likelihood that belongs to the loss."""

import math
from typing import Any

import numpy as np
import pytest
from drawn import noisy
from scipy import optimize, stats

from analysis.fit.solver import Objective
from analysis.forms import compare_laws, deviance
from analysis.laws import KaplanLogN, KaplanN
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
