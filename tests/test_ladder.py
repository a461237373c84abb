"""Sizes from one rule."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling.errors import InputError
from scaling.ladder import ladder, transformer


@given(st.integers(1, 64), st.integers(1, 12), st.integers(1, 64))
def test_the_standard_shape_has_heads_of_one_width_or_is_refused(d_model, n_layer, d_head):
    if d_model > d_head and d_model % d_head:
        with pytest.raises(InputError, match=f"d_model={d_model} is not a multiple of d_head={d_head}"):
            transformer(d_model, n_layer, d_head)
        return
    shape = transformer(d_model, n_layer, d_head)
    assert shape.N == 12 * n_layer * d_model**2
    assert shape.d_attn == d_model
    assert shape.d_ff == 4 * d_model
    assert shape.d_attn // shape.n_head == min(d_head, d_model)


def test_the_width_named_in_the_way_out_is_accepted():
    with pytest.raises(InputError, match="the nearest is 32"):
        transformer(20, 2, d_head=16)
    assert transformer(32, 2, d_head=16).n_head == 2


def test_a_ladder_rises_in_N_and_shares_its_fields():
    rungs = ladder(((64, 2), (8, 2), (32, 8), (8, 1)), d_head=8, n_vocab=257, n_ctx=32, dropout=0.1)
    sizes = [rung.N for rung in rungs]
    assert sizes == sorted(sizes)
    assert {(rung.n_vocab, rung.n_ctx, rung.dropout) for rung in rungs} == {(257, 32, 0.1)}
