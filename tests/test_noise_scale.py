"""Noise scales come back from gradients drawn from them."""

import numpy as np
import pytest

from analysis import noise_scale
from analysis.laws import KaplanBCrit
from scaling.errors import InputError


def gradients(n_steps, B_small, B_big, dim=40, seed=0):
    """Squared norms of mean gradients over B_small and B_big examples g_i ~ N(G, Sigma), the small ones part of the big
    one.
    """
    rng = np.random.default_rng(seed)
    G, scale = rng.standard_normal(dim), rng.uniform(0.5, 4.0, dim)
    parts = B_big // B_small
    noise = rng.standard_normal((n_steps, parts, dim)) * scale / np.sqrt(B_small)
    small = G + noise
    return np.sum(small**2, -1).mean(1), np.sum(small.mean(1) ** 2, -1), float(np.sum(scale**2)), float(G @ G)


def test_noise_estimators_are_unbiased():
    small, big, true_trace, true_square = gradients(20_000, 4, 64)
    trace, square = noise_scale.noise_estimates(small, big, 4, 64)
    assert abs(trace.mean() - true_trace) < 4 * trace.std() / np.sqrt(len(trace))
    assert abs(square.mean() - true_square) < 4 * square.std() / np.sqrt(len(square))
    assert trace.mean() == pytest.approx(true_trace, rel=0.01)


def test_the_mean_of_single_step_ratios_is_biased_and_the_ratio_of_means_is_not():
    small, big, true_trace, true_square = gradients(20_000, 2, 8)
    trace, square = noise_scale.noise_estimates(small, big, 2, 8)
    true = true_trace / true_square
    assert noise_scale.noise_scale(trace, square).B_simple == pytest.approx(true, rel=0.05)
    assert abs(np.mean(trace / square) / true - 1) > 0.1


def test_the_interval_of_the_noise_scale_covers():
    hits = 0
    for seed in range(200):
        small, big, true_trace, true_square = gradients(60, 4, 32, dim=20, seed=seed)
        low, high = noise_scale.noise_scale(*noise_scale.noise_estimates(small, big, 4, 32)).interval
        hits += low <= true_trace / true_square <= high
    assert abs(hits / 200 - 0.95) < 3 * np.sqrt(0.05 * 0.95 / 200)


def test_too_little_signal_leaves_the_noise_scale_without_an_upper_end():
    rng = np.random.default_rng(1)
    found = noise_scale.noise_scale(rng.normal(10.0, 1.0, 50), rng.normal(0.3, 2.0, 50))
    assert found.interval[1] == np.inf


def test_noise_scale_over_loss_is_ready_for_the_law():
    rng = np.random.default_rng(2)
    loss = np.geomspace(6.0, 3.0, 5000)
    law = KaplanBCrit(2.1e8, 0.21)
    square = 1.0 + 0.5 * rng.standard_normal(5000)
    trace = law(loss) + 0.1 * law(loss) * rng.standard_normal(5000)
    found = noise_scale.noise_scale_over_loss(loss, trace, square, n_bins=10)
    assert set(found) == {"loss", "batch_crit", "low", "high"}
    np.testing.assert_allclose(found["batch_crit"], law(found["loss"]), rtol=0.1)
    assert (found["low"] < found["high"]).all()


def test_the_big_batch_must_be_the_bigger_one():
    with pytest.raises(InputError, match="the second must be larger"):
        noise_scale.noise_estimates(1.0, 2.0, 64, 64)
