"""A trained model outside its training: what it writes, and its weights as a file that others read."""

import dataclasses
import functools
import json
import struct

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scaling import cli, config
from scaling.config import RunConfig
from scaling.data.tokenizer import Tokenizer, bytes_tokenizer
from scaling.errors import InputError
from scaling.ladder import lstm, transformer
from scaling.models import model as networks
from scaling.models import writing
from scaling.trained import Trained

CONTEXT = 8


@pytest.fixture(scope="module")
def found() -> Trained:
    """A model whose weights nobody has trained, made large enough that its preferences differ."""
    run = RunConfig(transformer(16, 1, d_head=8, n_vocab=264, n_ctx=CONTEXT), tokens=1024)
    params = networks.init(run.model, jax.random.key(3))
    return Trained("abc", run, {name: 5 * leaf for name, leaf in params.items()}, 7, bytes_tokenizer())


def test_the_likeliest_text_is_what_the_model_says_step_by_step(found):
    """Also beyond its context: a full window goes on from its newer half, after a separator."""
    short = np.asarray(found.logits(np.array([[256, 97, *[1] * (CONTEXT - 2)]]))[0, 1, :257])  # sees no later token
    assert found.sample("a", 1, temperature=0)[0] == bytes([int(short.argmax())]).decode("utf-8", "replace")
    prompt = "abcdef"
    text, ended = found.sample(prompt, 2 * CONTEXT, temperature=0)
    ids, seen = list(prompt.encode()), [256, *prompt.encode()]
    while len(ids) < len(prompt) + 2 * CONTEXT:
        padded = np.array([[*seen, *[0] * (CONTEXT - len(seen))]])  # one program for all lengths
        ids.append(int(np.asarray(found.logits(padded)[0, len(seen) - 1, :257]).argmax()))
        seen = [*seen, ids[-1]] if len(seen) < CONTEXT else [256, *ids[-CONTEXT // 2 :]]
        if ids[-1] == 256:
            break
    assert ended == (ids[-1] == 256)
    assert text == bytes(i for i in ids[len(prompt) :] if i < 256).decode("utf-8", "replace")


@pytest.mark.usefixtures("unoptimised")
@pytest.mark.parametrize(
    "model",
    [
        transformer(16, 2, d_head=8, n_vocab=64, n_ctx=CONTEXT),
        transformer(16, 2, d_head=4, n_vocab=64, n_ctx=CONTEXT, positions="learned", n_kv_head=2, qk_norm=True),
        transformer(16, 1, d_head=8, n_vocab=64, n_ctx=CONTEXT, positions="sinusoidal", softcap=5.0),
        transformer(16, 2, d_head=8, n_vocab=64, n_ctx=CONTEXT, kind="universal", reuse=2),
        lstm(16, 2, n_vocab=64, n_ctx=CONTEXT),
    ],
    ids=lambda model: f"{model.kind}-{model.positions}",
)
def test_a_text_read_piece_by_piece_gives_the_logits_of_the_whole(model):
    params = {name: 3 * leaf + 0.1 for name, leaf in networks.init(model, jax.random.key(1)).items()}
    tokens = np.random.default_rng(0).integers(0, 64, (3, CONTEXT))
    whole = np.asarray(jax.jit(functools.partial(networks.apply, model))(params, tokens))
    further = jax.jit(functools.partial(networks.continued, model))
    cache, pieces = networks.cache(model, 3), []
    for begin, stop in ((0, 3), (3, 4), (4, 5), (5, CONTEXT)):
        logits, cache = further(params, tokens[:, begin:stop], cache, begin)
        pieces.append(np.asarray(logits))
    np.testing.assert_allclose(np.concatenate(pieces, 1), whole, rtol=1e-3, atol=5e-4)
    assert np.abs(whole).max() > 0.3


def test_what_is_drawn_has_the_models_probabilities():
    """By temperature and the likeliest alone: within 4 standard errors of 4,000 draws."""
    logits = jnp.asarray(np.tile(np.log([0.5, 0.3, 0.2]), (4000, 1)))
    uniform = jnp.asarray(np.random.default_rng(0).random(4000))
    for temperature, top, wanted in (
        (1, 0, [0.5, 0.3, 0.2]),
        (0.5, 0, [25, 9, 4]),
        (1, 2, [5, 3, 0]),
        (0, 0, [1, 0, 0]),
    ):
        drawn = np.bincount(writing.draw(logits, uniform, temperature, top), minlength=3) / 4000
        p = np.array(wanted) / np.sum(wanted)
        assert (np.abs(drawn - p) <= 4 * np.sqrt(p * (1 - p) / 4000)).all()


@pytest.mark.usefixtures("unoptimised")
@pytest.mark.parametrize("routing", ["hash", "top_k"])
def test_what_a_routed_model_writes_does_not_depend_on_the_texts_beside_it(routing):
    """Nor on how few slots its experts had in training: the likeliest text is that of a model with a slot for all."""
    shape = transformer(
        16, 1, d_head=8, n_vocab=264, n_ctx=CONTEXT, kind="routed", experts=4, routing=routing, capacity=0.5
    )
    run = RunConfig(shape, tokens=1024)
    params = {name: 5 * leaf for name, leaf in networks.init(shape, jax.random.key(3)).items()}
    for name in ("w_out", "w_expert_down"):
        params[name] = jax.random.normal(jax.random.key(4), params[name].shape)
    if routing == "hash":
        params["b_hash"] = jnp.arange(264.0) % 4
    few = Trained("abc", run, params, 7, bytes_tokenizer())
    prompt = np.random.default_rng(0).integers(0, 256, (12, 2))
    others = np.concatenate([256 - prompt[:6], prompt[6:]])
    np.testing.assert_array_equal(next(few.written(others, 0))[6:], next(few.written(prompt, 0))[6:])
    whole = dataclasses.replace(few, config=dataclasses.replace(run, model=dataclasses.replace(shape, capacity=4.0)))
    greedy = next(few.written(prompt, 0, temperature=0.0))
    read = np.concatenate([np.full((12, 1), 256), prompt, greedy], 1)[:, :CONTEXT]
    np.testing.assert_array_equal(np.asarray(whole.logits(read))[:, 2:, :257].argmax(-1)[:, : CONTEXT - 2], greedy)


@pytest.mark.parametrize("routing", ["expert_choice", "expert_choice_at_position"])
def test_a_model_whose_experts_choose_among_tokens_that_are_not_written_yet_writes_none(found, routing):
    shape = dataclasses.replace(found.config.model, kind="routed", experts=4, routing=routing)
    looks_ahead = dataclasses.replace(found, config=dataclasses.replace(found.config, model=shape))
    with pytest.raises(InputError, match=rf"model\.routing={routing} writes no text: .*; use a model of hash or top_k"):
        looks_ahead.sample("a", 1)


def test_the_same_seed_writes_the_same_text_and_never_a_token_without_a_meaning(found):
    one = found.sample("x", 30, seed=1)
    assert one == found.sample("x", 30, seed=1)
    assert len({found.sample("x", 30, seed=seed) for seed in range(3)}) > 1  # of 264 logits seven are no token
    assert found.sample("x", 0) == ("", False)
    with pytest.raises(InputError, match="wanted numbers from 0 on"):
        found.sample("x", temperature=-1)


def test_weights_are_written_as_the_format_has_it_with_config_and_tokenizer(found, tmp_path):
    """Read by hand: https://huggingface.co/docs/safetensors, "Format"."""
    file, beside = found.write(tmp_path / "model.safetensors")
    raw = file.read_bytes()
    [size] = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + size])
    told = header.pop("__metadata__")
    assert config.from_dict(RunConfig, json.loads(told["config"])) == found.config
    assert (told["id"], told["steps"]) == ("abc", "7")
    assert header.keys() == found.params.keys()
    at = 0
    for name, place in header.items():
        begin, end = place["data_offsets"]
        assert (begin, place["dtype"]) == (at, "F32")
        read = np.frombuffer(raw[8 + size + begin : 8 + size + end], "<f4").reshape(place["shape"])
        np.testing.assert_array_equal(read, found.params[name])
        at = end
    assert len(raw) == 8 + size + at
    assert size % 8 == 0
    assert Tokenizer.load(str(beside)) == found.tokenizer
    with pytest.raises(InputError, match=r"ends in \.safetensors"):
        found.write(tmp_path / "model.bin")


def test_what_is_about_text_is_refused_beside_weights_and_not_ignored(tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["sample", str(tmp_path), "--weights", str(tmp_path / "m.safetensors"), "--seed", "0", "--json"])
    assert end.value.code == 2
    assert "--weights writes the model, and --seed is about text; leave out --seed, --json" in capsys.readouterr().err


def test_a_seed_that_is_no_seed_is_refused_in_one_line(tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["sample", str(tmp_path), "--seed", str(2**32)])
    assert end.value.code == 2
    assert f"--seed {2**32}: wanted a number below 2^32" in capsys.readouterr().err


def test_the_library_of_that_name_reads_them(found, tmp_path):
    safetensors = pytest.importorskip("safetensors", reason="no safetensors: what is written is read by hand alone")
    file, _ = found.write(tmp_path / "model.safetensors")
    with safetensors.safe_open(str(file), "numpy") as opened:
        assert set(opened.keys()) == found.params.keys()
        for name in found.params:
            np.testing.assert_array_equal(opened.get_tensor(name), found.params[name])
        assert json.loads(opened.metadata()["config"]) == json.loads(json.dumps(dataclasses.asdict(found.config)))
