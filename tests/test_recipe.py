"""Recipes: shapes that have the size asked for, published rules at their printed values."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.plan import recipe
from scaling.errors import InputError


@given(st.floats(5.0, 12.0), st.sampled_from([0, 257, 32_000]))
def test_shapes_have_about_the_size_and_aspect_asked_for(log_N, rows):
    N = 10**log_N
    try:
        shape = recipe.shape_for(N, rows=rows)
    except InputError:
        assert rows * 16 > N / 2  # a vocabulary larger than the model
        return
    assert shape.params == 12 * shape.n_layer * shape.d_model**2 + rows * shape.d_model
    assert abs(np.log(shape.params / N)) < np.log(1.5)
    assert shape.d_model % shape.n_head == 0
    if N > 1e7 and not rows:
        assert abs(shape.params / N - 1) < 0.12
        assert 40 <= shape.d_model / shape.n_layer <= 160


def test_too_small_a_model_has_no_shape():
    with pytest.raises(InputError, match="no standard shape"):
        recipe.shape_for(100)


def test_kaplans_learning_rate_and_where_it_ends():
    assert recipe.kaplan_learning_rate(1e8) == pytest.approx(6.693e-4, abs=5e-8)
    assert recipe.kaplan_learning_rate(1.2126e10) == pytest.approx(0, abs=1e-8)
    assert not any("Kaplan" in name for name in recipe.published_learning_rates(2e10, 1e12, 1e23))


def test_a_batch_that_leaves_few_updates_is_none():
    usable, notes = recipe.leaving_updates({"small": 1e3, "large": 1e6}, 1e6)
    assert usable == {"small": 1e3}
    assert notes == ["no batch of large: 1M tokens, of 1M in all, leave fewer than 100 updates"]
    (only,) = recipe.leaving_updates({"large": 1e6}, 1e6)[0].values()
    assert only == 1e4


def test_deepseeks_rules_at_their_printed_values():
    for C, rate, batch in ((1e17, 2.34e-3, 1.06e5), (1e20, 9.86e-4, 1.02e6), (1e24, 3.1e-4, 2.1e7)):
        assert recipe.published_learning_rates(1e8, 1e10, C)["DeepSeek (2024) eq. 1, by C"] == pytest.approx(
            rate, rel=0.02
        )
        assert recipe.published_batches(1e10, C, 3.0)["DeepSeek (2024), by C"] == pytest.approx(batch, rel=0.04)


def test_step_law_at_its_printed_values():
    for N, D, rate, batch in ((1e8, 1e10, 4.2e-3, 3.0e5), (1e9, 2e10, 1.0e-3, 4.4e5), (1e9, 1e11, 1.6e-3, 1.1e6)):
        assert recipe.published_learning_rates(N, D, 6 * N * D)["Step Law (2025), by N and D"] == pytest.approx(
            rate, rel=0.05
        )
        assert recipe.published_batches(D, 6 * N * D, 3.0)["Step Law (2025), by D"] == pytest.approx(batch, rel=0.05)
