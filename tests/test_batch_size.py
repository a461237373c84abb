"""Batch size: known hyperbolas come back from runs drawn from them."""

import numpy as np
import pytest

from analysis import batch_size
from analysis.batch_size import Hyperbola
from analysis.fit import fit
from analysis.laws import KaplanBCrit
from analysis.table import Table
from scaling.errors import InputError

BATCHES = 2.0 ** np.arange(12, 23)  # tokens


def test_at_the_critical_batch_steps_and_examples_are_twice_their_least():
    curve = Hyperbola(S_min=1500.0, E_min=3e8)
    assert curve.steps(curve.B_crit) == pytest.approx(2 * curve.S_min)
    assert curve.examples(curve.B_crit) == pytest.approx(2 * curve.E_min)


def test_steps_and_examples_lie_on_kaplans_hyperbola():
    curve = Hyperbola(S_min=1500.0, E_min=3e8)
    S, E = curve.steps(BATCHES), curve.examples(BATCHES)
    np.testing.assert_allclose((S / curve.S_min - 1) * (E / curve.E_min - 1), 1)
    np.testing.assert_allclose(E, BATCHES * S)


def test_adjustments_undo_the_batch():
    curve, N = Hyperbola(S_min=1500.0, E_min=3e8), 1e7
    S = curve.steps(BATCHES)
    np.testing.assert_allclose(batch_size.steps_to_minimum(S, BATCHES, curve.B_crit), curve.S_min)
    C = batch_size.compute_to_minimum(6 * N * BATCHES * S, BATCHES, curve.B_crit)
    np.testing.assert_allclose(C, 6 * N * curve.E_min)


def test_a_table_is_adjusted_at_the_critical_batch_of_each_loss(papers):
    law = KaplanBCrit(papers["kaplan2020"]["B_star"]["value"], papers["kaplan2020"]["alpha_B"]["value"])
    table = Table.from_columns(
        {"batch_tokens": [2.0**19] * 2, "loss": [3.0, 2.57], "steps": [1e4] * 2, "flops": [1e18] * 2}
    )
    out = batch_size.with_minima(table, law)
    np.testing.assert_allclose(out["batch_crit"], [1.12e6, 2.35e6], rtol=5e-3)
    np.testing.assert_allclose(out["steps_min"], 1e4 / (1 + out["batch_crit"] / 2**19))
    np.testing.assert_allclose(out["flops_min"], 1e18 / (1 + 2**19 / out["batch_crit"]))


def test_a_hyperbola_is_recovered_from_its_points():
    curve = Hyperbola(S_min=1500.0, E_min=3e8)
    found = batch_size.fit_hyperbola(BATCHES, curve.steps(BATCHES), 3.0)
    assert found.curve.S_min == pytest.approx(curve.S_min, rel=1e-6)
    assert found.curve.E_min == pytest.approx(curve.E_min, rel=1e-6)
    assert found.warnings == ()


def test_the_interval_of_the_critical_batch_covers():
    curve, hits = Hyperbola(S_min=1500.0, E_min=3e8), 0
    rng = np.random.default_rng(0)
    for _ in range(300):
        low, high = batch_size.fit_hyperbola(
            BATCHES, curve.steps(BATCHES) * np.exp(0.05 * rng.standard_normal(11))
        ).interval
        hits += low <= curve.B_crit <= high
    assert 0.95 - hits / 300 < 3 * np.sqrt(0.05 * 0.95 / 300)
    assert hits < 300


def test_batches_all_below_the_critical_one_only_bound_it():
    curve = Hyperbola(S_min=1500.0, E_min=3e12)
    found = batch_size.fit_hyperbola(BATCHES, curve.steps(BATCHES))
    assert "above all batches that reached the loss: train with larger ones" in found.warnings[0]


def test_one_batch_size_is_no_hyperbola():
    with pytest.raises(InputError, match="1 batch sizes reached it"):
        batch_size.fit_hyperbola([1e5, 1e5], [100.0, 110.0], 3.0)


def runs_of(law, batches=BATCHES, rates=(1.0,)):
    """Learning curves of one model: at each loss the steps of its hyperbola; slower runs for other learning rates."""
    losses = np.linspace(6.0, 2.8, 200)
    S_min = 1000.0 * losses**-4.0 * 3.0**4
    rows = []
    for B in batches:
        for rate in rates:
            for loss, least in zip(losses, S_min, strict=True):
                step = rate * Hyperbola(least, least * law(loss)).steps(B)
                rows.append({"run": f"b{B:g} r{rate}", "batch_tokens": B, "steps": float(step), "loss": loss})
    return Table.from_rows(rows)


def test_learning_curves_at_several_batches_give_the_critical_batch_as_a_function_of_loss():
    law = KaplanBCrit(2.1e8, 0.21)
    targets = [5.0, 4.0, 3.5, 3.0]
    found = batch_size.tradeoffs(runs_of(law, rates=(1.0, 1.7)), targets)
    assert [t.loss for t in found] == targets
    columns = batch_size.critical_batches(found)
    np.testing.assert_allclose(columns["batch_crit"], law(np.array(targets)), rtol=2e-3)


def test_batch_runs_lead_to_a_fitted_law_of_the_critical_batch():
    law = KaplanBCrit(2.1e8, 0.21)
    columns = batch_size.critical_batches(batch_size.tradeoffs(runs_of(law), np.geomspace(5.5, 2.9, 12)))
    found = fit("kaplan-bcrit", columns, loss="squared")
    assert found.constants["alpha_B"] == pytest.approx(0.21, rel=5e-3)
    assert found.law(3.5) == pytest.approx(float(law(3.5)), rel=5e-3)


def test_a_loss_that_is_never_reached_is_left_out_and_no_loss_at_all_an_error():
    table = runs_of(KaplanBCrit(2.1e8, 0.21))
    assert len(batch_size.tradeoffs(table, [4.0, 1.0])) == 1
    with pytest.raises(InputError, match="none of 1 losses"):
        batch_size.tradeoffs(table, [1.0])


def test_a_loss_below_the_first_recorded_one_is_not_invented():
    _, steps = batch_size.steps_to_loss(runs_of(KaplanBCrit(2.1e8, 0.21)), [7.0])
    assert np.isnan(steps).all()


def test_a_table_with_two_model_sizes_is_refused():
    table = Table.from_columns(
        {"run": ["a", "b"], "params": [1e6, 2e6], "batch_tokens": [1e5] * 2, "steps": [10.0] * 2, "loss": [3.0] * 2}
    )
    with pytest.raises(InputError, match="2 model sizes"):
        batch_size.steps_to_loss(table, [3.0])


def test_figure_10_gives_kaplans_law(papers):
    L, B = np.array(papers["kaplan2020_digitised"]["fig10_Bcrit_85M"]["value"]).T
    slope, level = np.polyfit(np.log(L), np.log(B), 1)
    assert slope == pytest.approx(-4.81, abs=5e-3)
    assert np.exp(level) == pytest.approx(2.12e8, rel=5e-3)
