"""Pairs of texts, and models that score them: which text is better, the loss of a pair, what a record says."""

import math
import re
import runpy
from collections import Counter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT
from scipy import stats

from scaling import counts, sharding, study
from scaling.config import CHARACTERS, DataConfig, EvalConfig, ModelConfig, OptimConfig, RunConfig, Study
from scaling.data import encoding, pairs
from scaling.data.corpora import open_corpus
from scaling.data.documents import read
from scaling.errors import InputError
from scaling.ladder import transformer
from scaling.models import loss, model, preference
from scaling.train import train

pytestmark = pytest.mark.usefixtures("unoptimised")
HARD, SOFT = "pairs:chain?items=4000", "pairs:chain?labels=soft&items=4000"
PROXY = transformer(8, 2, 4, n_vocab=18, n_ctx=34, kind="reward")


def draw(source: str, n: int = 4000) -> tuple[pairs.Pairs, np.ndarray]:
    found = pairs.parse(source)
    return found, found.labelled(0, n)


@pytest.mark.parametrize("gold", pairs.GOLDS)
def test_the_better_text_is_first_and_what_the_policy_writes_has_mean_0_and_variance_1(gold):
    found, texts = draw(f"{HARD}&gold={gold}")
    worth = found.reward(texts.reshape(-1, 16)).reshape(-1, 2)
    assert (worth[:, 0] >= worth[:, 1]).all()
    assert worth.mean() == pytest.approx(0, abs=4 / math.sqrt(worth.size))
    assert worth.var() == pytest.approx(1, rel=0.1)


def test_the_reward_of_the_page_labels_pairs_once_it_stands_in_the_table(monkeypatch, tmp_path):
    (written,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "overoptimisation.md").read_text(), re.DOTALL)
    page = tmp_path / "page.py"
    page.write_text(f"from scaling.data.pairs import Gold\n{written}")
    monkeypatch.setitem(pairs.GOLDS, "alternation", runpy.run_path(str(page))["Alternation"])
    _, texts = draw(f"{HARD}&gold=alternation")
    first, second = (texts[..., 1:] != texts[..., :-1]).sum(-1).T
    assert (first >= second).all()
    assert (first > second).any()


def test_drawn_labels_have_the_chances_of_bradley_and_terry_and_the_entropy_that_is_said():
    found, texts = draw(SOFT)
    worth = found.reward(texts.reshape(-1, 16)).reshape(-1, 2)
    gap = np.abs(worth[:, 0] - worth[:, 1])
    p = 1 / (1 + np.exp(-gap))  # of the better one being first
    right = worth[:, 0] > worth[:, 1]
    for low, high in ((0, 0.5), (0.5, 1.5), (1.5, 9)):
        some = (gap >= low) & (gap < high)
        error = math.sqrt((p * (1 - p))[some].sum()) / some.sum()
        assert right[some].mean() == pytest.approx(p[some].mean(), abs=4 * error)
    exact = np.mean([stats.bernoulli(q).entropy() for q in p[:500]])
    assert pairs.entropy(worth[:500, 0] - worth[:500, 1]) == pytest.approx(exact, rel=1e-9)


def test_a_pair_is_a_function_of_its_number_alone():
    ahead = pairs.parse(f"{SOFT}&first=5")
    np.testing.assert_array_equal(ahead.labelled(2, 4), pairs.parse(SOFT).labelled(7, 9))
    assert (pairs.parse(f"{SOFT}&seed=1").drawn(0, 9) != pairs.parse(SOFT).drawn(0, 9)).any()


def test_the_policy_is_a_chain_whose_symbols_follow_by_the_chances_of_its_world():
    found = pairs.parse("pairs:chain?symbols=4&length=24&items=4000")
    texts = found.drawn(0, 4000).reshape(-1, 24)
    after = Counter(zip(texts[:, :-1].ravel().tolist(), texts[:, 1:].ravel().tolist(), strict=True))
    chances = np.diff(pairs._policy(4, 0), axis=1, prepend=0)[1:]
    for symbol in range(4):
        n = [after[symbol, other] for other in range(4)]
        assert stats.chisquare(n, sum(n) * chances[symbol]).pvalue > 1e-4


def test_the_first_symbol_is_good_up_to_three_times():
    gold = pairs.Tail(16, 16, np.random.default_rng(0))
    gold.weights[:] = 0
    worth = gold.score(np.array([[0] * m + [1] * (16 - m) for m in range(17)], np.int8))
    assert worth[:4].tolist() == [0, 1, 2, 3]
    assert (np.diff(worth[3:]) < 0).all()
    assert worth[5] == pytest.approx(5 - 3 * 2**1.5)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("pairs:chain?gold=beauty", "gold=beauty, wanted one of tail, network"),
        ("pairs:chain?labels=mine", "labels=mine, wanted one of hard, soft"),
        ("pairs:web?items=3", "unknown policy 'web'; wanted chain"),
        ("pairs:chain?items=1", "items=1, wanted 2 to"),
        ("pairs:chain?items=-4", "items=-4, wanted a whole number"),
        ("pairs:chain?items=٣", "items=٣, wanted a whole number"),
        ("pairs:chain?colour=2", "unknown option 'colour=2'"),
        ("pairs:chain?symbols=2&length=4", "make 16 texts"),
    ],
)
def test_pairs_that_cannot_be_are_refused_in_a_line(source, words):
    with pytest.raises(InputError, match=words) as error:
        open_corpus(source)
    assert "\n" not in str(error.value)


# --- the model


@pytest.fixture(scope="module")
def params() -> dict[str, jax.Array]:
    rng = np.random.default_rng(2)
    start = model.init(PROXY, jax.random.key(0))
    return {name: leaf + 0.3 * rng.normal(size=leaf.shape).astype(np.float32) for name, leaf in start.items()}


def windows(source: str, n: int) -> np.ndarray:
    """As a stream has them: a separator, a text, the mark, a text, a separator."""
    _, texts = draw(source, n)
    edge = np.full((n, 1), 17)
    return np.concatenate([edge, texts[:, 0], np.full((n, 1), 16), texts[:, 1], edge], 1).astype(np.int32)


def test_a_reward_model_is_counted_as_it_is_allocated():
    allocated = jax.eval_shape(lambda: model.init(PROXY, jax.random.key(0)))
    size = {name: math.prod(leaf.shape) for name, leaf in allocated.items()}
    matrices = sum(n for name, n in size.items() if name[:2] == "w_" and name not in ("w_embed", "w_score"))
    assert PROXY.N == matrices == 12 * 2 * 8**2
    found = counts.params(PROXY)
    assert found["params_total"] == sum(size.values())
    assert found["params_head"] == PROXY.N + size["w_score"]
    assert all(len(sharding.axes(name)) == leaf.ndim for name, leaf in allocated.items())
    # No text sees the other: half of the context that a window of so many tokens would have.
    dense = counts.flops_per_token(transformer(8, 2, 4, n_vocab=18, n_ctx=34))
    ours = counts.flops_per_token(PROXY)
    assert ours["flops"] == dense["flops"]
    assert 2 * (ours["flops_attention"] - ours["flops"]) == dense["flops_attention"] - dense["flops"]


def test_a_score_is_of_its_text_alone_and_the_loss_is_that_of_their_difference_in_plain_numpy(params):
    """Each text is read by itself, after a separator; the sums are in float64."""
    tokens = windows(HARD, 6)
    alone = np.concatenate([tokens[:, :1], tokens[:, 1:17]], 1), np.concatenate([tokens[:, :1], tokens[:, 18:34]], 1)
    first, second = (
        np.asarray(model.apply(PROXY, params, jnp.asarray(one)))[..., 0].astype(np.float64).sum(1) for one in alone
    )
    scores = np.asarray(preference.scores(PROXY, params, jnp.asarray(tokens)))
    np.testing.assert_allclose(scores, [first, second], rtol=1e-5, atol=1e-5)
    expected = np.log(1 + np.exp(second - first))
    found = np.asarray(loss.token_losses(PROXY, params, jnp.asarray(tokens)))
    np.testing.assert_allclose(found, np.broadcast_to(expected[:, None], (6, 34)), rtol=1e-4)
    whole, mean = loss.objective(PROXY, params, jnp.asarray(tokens))
    assert float(whole) == float(mean) == pytest.approx(expected.mean(), rel=1e-4)


def test_texts_in_the_other_order_have_each_others_scores_so_no_place_tells_which_is_preferred(params):
    tokens = windows(HARD, 6)
    swapped = tokens.copy()
    swapped[:, 1:17], swapped[:, 18:34] = tokens[:, 18:34], tokens[:, 1:17]
    one, other = (np.asarray(preference.scores(PROXY, params, jnp.asarray(x))) for x in (tokens, swapped))
    np.testing.assert_allclose(one, other[::-1], rtol=1e-5, atol=1e-6)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "head": ({"tied": False}, "model.tied=False with model.kind=reward, which has no logits"),
    "odd": ({"n_ctx": 35}, "model.n_ctx=35 with model.kind=reward: a window is two texts"),
    "muP": ({"parametrization": "mup", "tied": False}, "model.parametrization=mup with model.kind=reward"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_a_reward_model_has_not_is_refused(case):
    fields, words = WRONG[case]
    shape: dict[str, Any] = {"d_model": 8, "n_layer": 2, "n_head": 2, "d_attn": 8, "d_ff": 32, "n_ctx": 34}
    with pytest.raises(InputError, match=words):
        ModelConfig(**shape | fields, kind="reward")


# --- a run


SCORED = "pairs:chain?first=1000000&items=64"


@pytest.fixture(scope="module")
def trained(tmp_path_factory, unoptimised):
    """A proxy, and what its record says."""
    folder = tmp_path_factory.mktemp("pairs")
    alphabet = CHARACTERS + pairs.parse(HARD).alphabet
    tokens = encoding.prepare(
        HARD, alphabet, 18, train_tokens=34 * 4000, validation_tokens=34 * 64, validation_source=SCORED, cache=folder,
        say=lambda line: None,
    )  # fmt: skip
    run = RunConfig(
        PROXY,
        tokens=34 * 16 * 100,
        data=DataConfig(HARD, alphabet, SCORED),
        optim=OptimConfig(learning_rate=1e-2),
        eval=EvalConfig(windows=64, per_octave=1, octaves=1, transfer=(SCORED,), scores=64),
    )
    history = train(
        [run], tokens.train, tokens.validation, folder / "run", separator=tokens.separator,
        transfer_tokens={SCORED: tokens.validation}, say=lambda line: None,
    )  # fmt: skip
    return run, tokens, history


def test_a_run_begins_at_ln_2_and_learns(trained):
    _, _, history = trained
    assert history["eval_loss"][0, 0].mean() == pytest.approx(math.log(2), abs=1e-6)
    assert history["train_loss"][-20:].mean() < math.log(2) - 0.03


def test_scores_in_a_record_are_those_of_the_texts_that_are_said_and_give_the_loss_on_them(trained):
    _, tokens, history = trained
    texts = pairs.scored(SCORED, 64)
    np.testing.assert_array_equal(
        np.asarray(tokens.validation).reshape(64, 34)[:, :-1],
        windows_of(texts)[:, 1:-1],
        "the order is that of the stream",
    )
    scores = history["scores"][0, 0].reshape(64, 2).astype(np.float64)
    assert np.isfinite(scores).all()
    mean = np.log1p(np.exp(scores[:, 1] - scores[:, 0])).mean()
    assert history["eval_loss"][-1, 0].mean() == pytest.approx(mean, rel=1e-5)
    assert history["transfer_loss"][-1, 0, 0] == pytest.approx(mean, rel=1e-5)
    preferred = history["window_loss"][0] < math.log(2)
    assert preferred.mean() == (scores[:, 0] > scores[:, 1]).mean()


def windows_of(texts: np.ndarray) -> np.ndarray:
    edge, mark = np.full((len(texts), 1), 17), np.full((len(texts), 1), 16)
    return np.concatenate([edge, texts[:, 0], mark, texts[:, 1], edge], 1)


def test_documents_are_the_pairs_and_what_is_held_out_is_trained_on_by_nobody(trained):
    _, tokens, _ = trained
    found, texts = draw(HARD)
    documents = [document.text for part in open_corpus(HARD).parts() for _, document in read(part)]
    assert documents == [found.text(pair) for pair in texts]
    train, held = (
        {row.tobytes() for row in np.asarray(stream).reshape(-1, 34)} for stream in (tokens.train, tokens.validation)
    )
    assert len(train) == 4000
    assert not train & held


def reward(**changes: Any) -> RunConfig:
    fields: dict[str, Any] = {
        "data": DataConfig(HARD, CHARACTERS + pairs.parse(HARD).alphabet, SCORED),
        "eval": EvalConfig(windows=16, transfer=(SCORED,), scores=64),
    }
    return RunConfig(PROXY, tokens=34 * 16 * 4, **fields | changes)


ALPHABET = CHARACTERS + pairs.parse(HARD).alphabet
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "text": ({"data": DataConfig("python", ALPHABET, SCORED)}, "data.source=python with model.kind=reward"),
    "longer texts": (
        {"data": DataConfig("pairs:chain?length=20", ALPHABET, SCORED)},
        "a pair of pairs:chain.length=20 is a window of 42 tokens; use --set model.n_ctx=42",
    ),
    "trained on": (
        {"data": DataConfig(HARD, ALPHABET, "pairs:chain?labels=soft&first=3999&items=99")},
        "has pairs of data.source=pairs:chain.items=4000, on which .*&first=4000",
    ),
    "nothing held out": (
        {"data": DataConfig("pairs:chain?gold=network&first=7&items=4000", ALPHABET)},
        "no data.validation: .* 'data.validation=pairs:chain.gold=network&first=4007&items=1024'",
    ),
    "too few": (
        {"eval": EvalConfig(windows=16, transfer=(SCORED,), scores=65)},
        "eval.scores=65: .* has 64 pairs",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_reward_model_cannot_read_is_found_when_the_study_is_planned(case, cache, tmp_path):
    changes, words = REFUSED[case]
    with pytest.raises(InputError, match=words):
        study.prepare(Study("mine", "why", (reward(**changes),)), tmp_path / "study", say=lambda line: None)


def test_a_model_of_tokens_gives_no_scores_and_one_of_pairs_no_answers():
    plain = transformer(8, 2, 4, n_vocab=18, n_ctx=34)
    with pytest.raises(InputError, match=r"eval\.scores=64 with model\.kind=transformer, which gives texts no score"):
        RunConfig(plain, tokens=34 * 16, eval=EvalConfig(transfer=(SCORED,), scores=64))
    with pytest.raises(InputError, match=r"answers_after=16 with model\.kind=reward"):
        reward(answers_after=16)
    with pytest.raises(InputError, match=r"but eval\.transfer has no pairs"):
        EvalConfig(scores=3)
