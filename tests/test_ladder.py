"""Sizes from one rule, shapes of one size, and the ready-made studies that use them."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs import cooldown, isoflop, shapes
from scaling import packs
from scaling.errors import InputError
from scaling.ladder import gpt2, ladder, llama, lstm, matched, transformer, universal


@given(st.integers(1, 32).map(lambda n: 2 * n), st.integers(1, 12), st.integers(1, 32).map(lambda n: 2 * n))
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


def test_a_universal_transformer_has_the_shape_of_the_plain_one():
    shape = universal(32, 2, reuse=4, d_head=8, n_ctx=128)
    assert dataclasses.replace(shape, kind="transformer", reuse=1) == transformer(32, 2, d_head=8, n_ctx=128)
    assert (shape.kind, shape.reuse, shape.N) == ("universal", 4, 12 * 2 * 32**2)


@given(st.integers(1, 64), st.integers(1, 8))
def test_an_lstm_is_its_width_and_its_depth_alone(d_model, n_layer):
    shape = lstm(d_model, n_layer, dropout=0.1)
    assert shape.N == 8 * n_layer * d_model**2
    for field in ("n_head", "d_attn", "d_ff"):
        with pytest.raises(InputError, match="an LSTM has no such parts"):
            dataclasses.replace(shape, **{field: getattr(shape, field) + 1})


def test_gpt2_is_the_standard_shape_with_the_positions_of_the_papers():
    assert gpt2(32, 2, d_head=8, n_ctx=128) == transformer(32, 2, d_head=8, n_ctx=128, positions="learned")


@given(st.integers(2, 256), st.integers(1, 4), st.sampled_from([None, 1, 2]))
def test_a_llama_has_the_N_of_the_standard_shape_whatever_its_heads_share(heads, n_layer, n_kv_head):
    if n_kv_head and heads % n_kv_head:
        with pytest.raises(InputError, match=f"n_kv_head=2 does not divide model.n_head={heads}"):
            llama(8 * heads, n_layer, n_kv_head, d_head=8)
        return
    shape = llama(8 * heads, n_layer, n_kv_head, d_head=8)
    assert 100 * abs(shape.N - 12 * n_layer * shape.d_model**2) <= 12 * n_layer * shape.d_model**2  # 1 %
    assert (shape.norm, shape.feed_forward, shape.bias, shape.tied) == ("rms", "swiglu", False, False)
    if n_kv_head is None:
        assert shape.d_ff == pytest.approx(8 / 3 * shape.d_model, rel=0.04)


def test_a_large_llama_has_a_feed_forward_that_a_mesh_can_cut():
    assert llama(4096, 32, 8, d_head=128).d_ff % 128 == 0


@given(st.integers(50_000, 10_000_000), st.integers(1, 4), st.sampled_from([None, 2]))
def test_matched_shapes_of_other_forms_have_the_same_N_too(N, n_layer, n_kv_head):
    shape = matched(N, n_layer, ff_ratio=8 / 3, d_head=8, feed_forward="swiglu", n_kv_head=n_kv_head)
    assert abs(shape.N / N - 1) <= 0.01
    assert shape.n_kv_head == n_kv_head


def test_a_ladder_rises_in_N_and_shares_its_fields():
    rungs = ladder(((64, 2), (8, 2), (32, 8), (8, 1)), d_head=8, n_vocab=257, n_ctx=32, dropout=0.1)
    sizes = [rung.N for rung in rungs]
    assert sizes == sorted(sizes)
    assert {(rung.n_vocab, rung.n_ctx, rung.dropout) for rung in rungs} == {(257, 32, 0.1)}


@given(st.integers(20_000, 10_000_000), st.integers(1, 8), st.floats(0.5, 32), st.sampled_from([4, 8, 16]))
def test_matched_shapes_have_the_same_N_within_one_percent_or_are_refused(N, n_layer, ff_ratio, d_head):
    if 4 * n_layer * d_head**2 >= N:  # a width of one head leaves nothing for d_ff
        with pytest.raises(InputError, match="use fewer layers"):
            matched(N, n_layer, ff_ratio=ff_ratio, d_head=d_head)
        return
    shape = matched(N, n_layer, ff_ratio=ff_ratio, d_head=d_head)
    assert abs(shape.N / N - 1) <= 0.01
    assert shape.n_layer == n_layer
    assert shape.d_attn == shape.d_model == d_head * shape.n_head
    assert shape.N == 2 * shape.d_model * n_layer * (2 * shape.d_attn + shape.d_ff)


def test_matched_shapes_keep_to_the_ratio_as_far_as_whole_heads_allow():
    assert matched(98_304, 2, d_head=8) == transformer(64, 2, d_head=8)
    ratios = [(shape.d_ff / shape.d_model) / wanted for wanted in (1, 2, 4, 8, 16, 32)
              for shape in [matched(1_000_000, 2, ff_ratio=wanted, d_head=4)]]  # fmt: skip
    assert max(ratios) < 1.15
    assert min(ratios) > 0.85


def test_the_shapes_of_the_ready_made_study_differ_from_its_base_in_one_ratio():
    base, *others = shapes.shapes(98_304)
    assert len(others) == len(set(others)) == 16
    for shape in others:
        assert abs(shape.N / base.N - 1) < 0.01
        same_head = shape.d_attn / shape.n_head == base.d_attn / base.n_head
        same_depth = shape.n_layer == base.n_layer
        same_widths = (shape.d_model, shape.d_ff) == (base.d_model, base.d_ff)
        assert [same_head, same_depth, same_widths].count(True) == (2 if same_depth else 1)


def test_the_budgets_of_the_ready_made_isoflop_study_are_clear_and_its_grids_centred():
    runs = isoflop.study().runs
    C = np.array([6 * run.model.N * run.tokens for run in runs]).reshape(3, 7)
    N = np.array([run.model.N for run in runs]).reshape(3, 7)
    assert np.all(C.max(1) / C.min(1) < 1.01)
    np.testing.assert_allclose(C.mean(1), [2e11, 6e11, 1.8e12], rtol=0.01)
    for sizes, budget in zip(N, C.mean(1), strict=True):
        assert np.sqrt(sizes[0] * sizes[-1]) == pytest.approx(isoflop.expected_optimum(budget), rel=0.02)
        assert sizes[-1] / sizes[0] == pytest.approx(16, rel=0.02)


def test_the_branches_of_the_ready_made_cooldown_study_share_their_trunks():
    runs = cooldown.study().runs
    trunks = {packs.trunk(run) for run in runs if run.optim.schedule == "wsd"}
    assert None not in trunks
    assert len(trunks) == 3
    assert {packs.trunk(run) for run in runs if run.optim.schedule == "cosine"} == {None}
    assert len({run.pool for run in runs}) == 1  # so that a branch and its cosine see the same windows
