"""Parameters and FLOP by every convention, against the papers and against what the model allocates."""

import dataclasses
import math

import jax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling import counts
from scaling.config import ModelConfig
from scaling.ladder import gpt2, llama, lstm, transformer, universal
from scaling.models import model


@st.composite
def shapes(draw) -> ModelConfig:
    """Transformers of any form."""
    n_head = draw(st.integers(1, 4))
    groups = [n for n in range(1, n_head + 1) if n_head % n == 0]
    return ModelConfig(
        d_model=draw(st.integers(1, 40)),
        n_layer=draw(st.integers(1, 5)),
        n_head=n_head,
        d_attn=2 * n_head * draw(st.integers(1, 5)),
        d_ff=draw(st.integers(1, 70)),
        n_vocab=draw(st.integers(2, 300)),
        n_ctx=draw(st.integers(1, 40)),
        positions=draw(st.sampled_from(["rotary", "learned", "sinusoidal", "none"])),
        norm=draw(st.sampled_from(["layer", "rms"])),
        feed_forward=draw(st.sampled_from(["gelu", "swiglu", "relu2"])),
        qk_norm=draw(st.booleans()),
        n_kv_head=draw(st.sampled_from([None, *groups])),
        tied=draw(st.booleans()),
        bias=draw(st.booleans()),
    )


ROUTINGS = ("hash", "top_k", "expert_choice", "expert_choice_at_position")


def routed(shape: ModelConfig, experts: int, routing: str, top_k: int) -> ModelConfig:
    top_k = 1 if routing == "hash" else min(top_k, experts)
    return dataclasses.replace(shape, kind="routed", experts=experts, routing=routing, top_k=top_k)


@st.composite
def kinds(draw) -> ModelConfig:
    """Of shapes, the universal among them, and LSTMs."""
    sizes = {"n_vocab": draw(st.integers(2, 300)), "n_ctx": draw(st.integers(1, 40))}
    return draw(
        st.one_of(
            shapes(),
            shapes().map(lambda shape: dataclasses.replace(shape, n_layer=0)),
            shapes().map(lambda shape: dataclasses.replace(shape, kind="universal", reuse=3)),
            st.builds(routed, shapes(), st.integers(1, 5), st.sampled_from(ROUTINGS), st.integers(1, 5)),
            st.builds(
                lambda d, n, tied: lstm(d, n, tied=tied, **sizes), st.integers(1, 40), st.integers(1, 5), st.booleans()
            ),
        )
    )


@given(kinds())
@settings(deadline=None, max_examples=40)
def test_the_counts_are_what_the_model_allocates(shape):
    allocated = jax.eval_shape(lambda: model.init(shape, jax.random.key(0)))
    size = {name: math.prod(leaf.shape) for name, leaf in allocated.items()}
    embedding = size.pop("w_embed") + size.pop("w_pos", 0) + size.pop("w_head", 0)
    matrices = sum(n for name, n in size.items() if name.startswith("w_"))
    biases_and_norms = sum(n for name, n in size.items() if not name.startswith("w_"))
    found = counts.params(shape)
    each = sum(n for name, n in size.items() if name.startswith("w_expert")) // shape.experts
    idle = (
        shape.experts - shape.top_k
    ) * each  # none but in a routed model, which counts the experts that a token meets
    assert found["params"] == shape.N == matrices - idle
    assert found["params_experts"] == matrices
    assert found["params_head"] == matrices - idle + shape.n_vocab * shape.d_model
    assert found["params_embed"] == matrices - idle + embedding
    assert found["params_total"] == matrices + embedding + biases_and_norms


@pytest.mark.parametrize(
    ("n_layer", "d_model", "N"),
    [
        (2, 128, 393_216),
        (12, 768, 84_934_656),
        (24, 1024, 301_989_888),
        (36, 1280, 707_788_800),
        (48, 1600, 1_474_560_000),
        (207, 768, 1_465_122_816),
    ],
)
def test_N_of_the_standard_shape_is_12_layers_times_width_squared(n_layer, d_model, N):
    assert transformer(d_model, n_layer).N == N == 12 * n_layer * d_model**2


@pytest.mark.parametrize(("d_model", "n_layer"), [(32, 1), (40, 2), (28, 4)])
def test_N_of_an_lstm_is_8_layers_times_width_squared(d_model, n_layer):
    shape = lstm(d_model, n_layer, n_ctx=256)
    flops = counts.flops_per_token(shape)
    assert shape.N == 8 * n_layer * d_model**2
    assert flops["flops"] == flops["flops_attention"] == 6 * shape.N
    assert flops["flops_total"] == flops["flops_head"] == 6 * (shape.N + 512 * d_model)


def test_layers_used_again_cost_compute_and_no_parameters():
    once, thrice = (universal(32, 2, reuse=n) for n in (1, 3))
    assert counts.params(once) == counts.params(thrice) == counts.params(transformer(32, 2))
    a, b, deep = (counts.flops_per_token(m) for m in (once, thrice, transformer(32, 6)))
    assert a == counts.flops_per_token(transformer(32, 2))
    assert b == deep
    assert b["flops"] == 3 * a["flops"]


@given(shapes())
def test_the_operations_of_kaplan_table_1_sum_to_its_total(shape):
    table = counts.kaplan_table_1(shape)
    total = table.pop("total, non-embedding")
    del table["embed"], table["de-embed"]
    assert tuple(map(sum, zip(*table.values(), strict=True))) == total
    assert total == (shape.N, 2 * shape.N + 2 * shape.n_layer * shape.n_ctx * shape.d_attn)


@given(shapes())
def test_the_conventions_of_C_differ_by_their_terms_alone(shape):
    flops = counts.flops_per_token(shape)
    context = 3 * 2 * shape.n_layer * shape.n_ctx * shape.d_attn
    head = 3 * 2 * shape.n_vocab * shape.d_model
    assert flops["flops"] == 6 * shape.N
    assert flops["flops_attention"] == 3 * counts.kaplan_table_1(shape)["total, non-embedding"][1]
    assert flops["flops_attention"] - flops["flops"] == context
    assert flops["flops_head"] - flops["flops"] == head
    assert flops["flops_total"] - flops["flops"] == 2 * context + head


@pytest.mark.parametrize(
    "shape",
    [
        transformer(64, 2, n_ctx=64),
        gpt2(64, 2, n_ctx=64),
        universal(64, 1, reuse=2, n_ctx=64),
        llama(64, 2, n_ctx=64),
        llama(64, 2, n_kv_head=1, n_ctx=64, qk_norm=True),
        transformer(64, 2, n_ctx=64, n_kv_head=2, feed_forward="relu2", softcap=30.0),
        transformer(64, 2, n_ctx=64, kind="routed", experts=4, top_k=2, capacity=1.0),
        transformer(64, 2, n_ctx=64, kind="routed", experts=8, routing="expert_choice", feed_forward="swiglu"),
    ],
)
def test_flops_total_is_what_xla_counts_for_the_forward_pass(shape):
    params = jax.eval_shape(lambda: model.init(shape, jax.random.key(0)))
    tokens = jax.ShapeDtypeStruct((4, shape.n_ctx), "int32")
    cost = jax.jit(lambda p, t: model.apply(shape, p, t)).lower(params, tokens).cost_analysis()
    assert cost is not None
    per_token = cost["flops"] / (4 * shape.n_ctx)
    forward = counts.flops_per_token(shape)["flops_total"] / 3
    assert forward < per_token < 1.1 * forward  # the rest: norms, activations, softmax


def test_the_chinchilla_count_reproduces_all_50_rows_of_table_A9(papers):
    rows = papers["hoffmann2022"]["tableA9"]["value"]
    assert len(rows) == 50
    for millions, d_model, d_ff, d_head, n_head, n_layer in rows:
        shape = ModelConfig(d_model, n_layer, n_head, d_head * n_head, d_ff, n_vocab=32_000)
        assert counts.chinchilla_params(shape) / 1e6 == pytest.approx(millions, rel=0.00805), (
            millions
        )  # the smallest is rounded most


def test_the_chinchilla_flop_ratios_of_table_A4_come_out_without_the_vocabulary_only(papers):
    without, with_vocabulary = [], []
    for _, n_layer, d_model, d_ff, n_head, d_head, printed in papers["hoffmann2022"]["tableA4_flop_ratio"]["value"]:
        shape = ModelConfig(d_model, n_layer, n_head, d_head * n_head, d_ff, n_vocab=32_000, n_ctx=2048)
        six_ND = 6 * counts.chinchilla_params(shape) * shape.n_ctx
        without.append(counts.chinchilla_flops_per_sequence(shape, vocabulary=False) / six_ND)
        with_vocabulary.append(counts.chinchilla_flops_per_sequence(shape) / six_ND)
        assert without[-1] == pytest.approx(printed, abs=0.01)
    assert without == pytest.approx([1.027, 1.100, 1.084, 1.045, 1.033, 0.994], abs=2e-3)
    assert with_vocabulary == pytest.approx([1.58, 1.31, 1.23, 1.15, 1.12, 1.03], abs=1e-2)
