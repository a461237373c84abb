"""Configs: checks, JSON and back, overrides, and what a run's identity depends on."""

import contextlib
import dataclasses
import itertools
import json
import subprocess
import sys
from typing import Any, Literal, Optional

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling import config
from scaling.config import DataConfig, EvalConfig, ModelConfig, OptimConfig, RunConfig, Study, identity, program
from scaling.errors import InputError
from scaling.ladder import llama, lstm, transformer, universal

MODEL = ModelConfig(d_model=16, n_layer=2, n_head=2, d_attn=16, d_ff=64)
RUN = RunConfig(MODEL, tokens=2**16)
FULL = RunConfig(
    dataclasses.replace(MODEL, n_vocab=257, n_ctx=32, dropout=0.1),
    tokens=2**17,
    unique_tokens=2**12,
    batch=8,
    seed=7,
    dtype="bfloat16",
    data=DataConfig("text:*.txt", "bytes", "python"),
    optim=OptimConfig(3e-4, "adamw", "constant", 0.1, 0.01, 0.8, 0.95, 1e-7, 0.5),
    eval=EvalConfig(32, 3, 4),
)
BRANCH = dataclasses.replace(
    RUN,
    unique_tokens=2**20,
    optim=OptimConfig(schedule="wsd", decay=0.3, warmup_tokens=4096),
    eval=EvalConfig(noise=2, transfer=("text:*.md", "bytes"), train_windows=4),
)

# Another value for every field of a run, apart from those that only say where its tokens lie.
CHANGES = {
    "model.d_model": "24",
    "model.n_layer": "3",
    "model.n_head": "4",
    "model.d_attn": "32",
    "model.d_ff": "65",
    "model.n_vocab": "513",
    "model.n_ctx": "32",
    "model.dropout": "0.1",
    "model.kind": "universal",
    "model.reuse": "2",
    "model.positions": "learned",
    "model.rotary_base": "100",
    "model.position_scale": "2",
    "model.norm": "rms",
    "model.feed_forward": "relu2",
    "model.qk_norm": "true",
    "model.n_kv_head": "1",
    "model.tied": "false",
    "model.bias": "false",
    "model.z_loss": "1e-4",
    "model.softcap": "30",
    "model.experts": "4",
    "model.routing": "expert_choice",
    "model.top_k": "2",
    "model.capacity": "2",
    "model.balance": "0.1",
    "model.router_z": "0.1",
    "tokens": str(2**17),
    "unique_tokens": str(2**15),
    "batch": "8",
    "seed": "1",
    "dtype": "bfloat16",
    "model.parametrization": "mup",
    "model.base_width": "32",
    "model.base_depth": "3",
    "optim.learning_rate": "2e-3",
    "optim.optimizer": "adamw",
    "optim.schedule": "constant",
    "optim.warmup": "0.1",
    "optim.weight_decay": "0.1",
    "optim.b1": "0.8",
    "optim.b2": "0.999",
    "optim.eps": "1e-9",
    "optim.clip": "2",
    "eval.windows": "64",
    "eval.per_octave": "1",
    "eval.octaves": "3",
    "optim.independent_decay": "true",
    "optim.decay": "0.1",
    "optim.end": "0.1",
    "optim.warmup_tokens": "2048",
    "eval.noise": "1",
    "eval.transfer": "text:a.md,bytes of b",
    "eval.train_windows": "8",
    "eval.by_frequency": "4",
    "accumulate": "2",
    "remat": "layers",
    "answers_after": "11",
    "eval.answers": "100",
    "eval.scores": "100",
}

# What must be set before a field can have another value.
NEEDS = {
    "optim.weight_decay": {"optim.optimizer": "adamw"},
    "optim.independent_decay": {"optim.optimizer": "adamw", "optim.weight_decay": "0.1"},
    "model.position_scale": {"model.positions": "learned"},
    "model.parametrization": {"model.tied": "false"},
    "model.base_width": {"model.tied": "false", "model.parametrization": "mup"},
    "model.base_depth": {"model.tied": "false", "model.parametrization": "completep"},
    "optim.decay": {"optim.schedule": "wsd"},
    "model.reuse": {"model.kind": "universal"},
    "eval.answers": {"eval.transfer": "task:copy?digits=3"},
    "eval.scores": {"model.kind": "reward", "eval.transfer": "pairs:chain?first=1000000"},
    "model.experts": {"model.kind": "routed"},
    "model.routing": {"model.kind": "routed", "model.experts": "4"},
    "model.top_k": {"model.kind": "routed", "model.experts": "4"},
    "model.capacity": {"model.kind": "routed", "model.experts": "4"},
    "model.balance": {"model.kind": "routed", "model.experts": "4"},
    "model.router_z": {"model.kind": "routed", "model.experts": "4"},
}


def one_line(error: pytest.ExceptionInfo[InputError]) -> str:
    text = str(error.value)
    assert text.strip()
    assert "\n" not in text
    return text


def test_a_config_survives_json():
    models = (lstm(16, 2), universal(16, 2, 4), transformer(16, 0), llama(16, 2, n_kv_head=1, d_head=8))
    others = (RunConfig(model, tokens=2**16) for model in models)
    for run in (RUN, FULL, BRANCH, *others):
        assert config.from_dict(RunConfig, json.loads(json.dumps(config.to_dict(run)))) == run


def test_the_changes_cover_every_field():
    assert CHANGES.keys() | {"data.source", "data.tokenizer", "data.validation"} == config.keys().keys()


@pytest.mark.parametrize("key", CHANGES)
def test_identity_depends_on_every_field_that_the_result_depends_on(key):
    base = config.override(RUN, NEEDS.get(key, {}))
    changed = config.override(base, {key: CHANGES[key]})
    assert changed != base
    assert identity(changed, "t") != identity(base, "t")


def test_identity_depends_on_the_tokens_and_not_on_where_they_lie():
    moved = dataclasses.replace(RUN, data=DataConfig("text:elsewhere/*.txt", "bpe", "text:other"))
    assert identity(moved, "t") == identity(RUN, "t")
    assert identity(RUN, "u") != identity(RUN, "t")


def test_one_epoch_said_in_two_ways_is_one_run():
    assert identity(dataclasses.replace(RUN, unique_tokens=RUN.tokens), "t") == identity(RUN, "t")


def test_a_warm_up_in_tokens_is_one_run_whatever_share_stands_beside_it():
    run, other = (dataclasses.replace(BRANCH, optim=dataclasses.replace(BRANCH.optim, warmup=w)) for w in (0.05, 0.5))
    assert run.warmup_steps == other.warmup_steps == 4
    assert identity(run, "t") == identity(other, "t")


def test_identity_depends_on_the_tokens_of_transfer_sources_where_they_are_given():
    renamed = dataclasses.replace(BRANCH, eval=dataclasses.replace(BRANCH.eval, transfer=("text:b/*.md", "bytes")))
    assert identity(renamed, "t") != identity(BRANCH, "t")
    assert identity(renamed, "t", ("u", "v")) == identity(BRANCH, "t", ("u", "v"))
    assert identity(BRANCH, "t", ("u", "w")) != identity(BRANCH, "t", ("u", "v"))


def test_a_run_may_draw_its_examples_from_more_tokens_than_it_sees():
    assert (BRANCH.pool, BRANCH.U, BRANCH.tokens) == (2**20, 2**16, 2**16)
    assert (FULL.pool, FULL.U, FULL.tokens) == (2**12, 2**12, 2**17)
    assert identity(BRANCH, "t") != identity(dataclasses.replace(BRANCH, unique_tokens=2**19), "t")


@given(st.integers(1, 96))
def test_the_gradient_noise_is_measured_at_batches_that_halve(batch):
    sizes = dataclasses.replace(RUN, batch=batch, tokens=batch * 64).noise_batches
    assert sizes[-1] == batch
    assert len(sizes) <= 4
    assert all(2 * small == large for small, large in itertools.pairwise(sizes))
    assert len(sizes) == 4 or min(sizes) % 2


def test_numbers_of_other_types_are_the_same_run():
    other = RunConfig(
        dataclasses.replace(MODEL, d_model=np.int64(16), dropout=0),
        tokens=65536.0,  # pyright: ignore[reportArgumentType]
        optim=OptimConfig(learning_rate=np.float64(1e-3), clip=1),
    )
    assert other == RUN
    assert identity(other, "t") == identity(RUN, "t")
    assert type(other.tokens) is int


def test_identities_stay_as_they_are():
    """When this fails, a default or a field's meaning has changed: raise SEMANTICS and renew the ids here."""
    assert config.SEMANTICS == 2
    assert [identity(run, "t") for run in (RUN, FULL, BRANCH)] == ["76482cd7aa75", "e3831ee37d61", "41e10a7f1f12"]


def test_runs_of_the_first_semantics_are_read_as_what_they_were_under_the_ids_that_they_had():
    for run, id in zip((RUN, FULL, BRANCH), ("439df221dc0b", "d6ec1a40556d", "55d632759edd"), strict=True):
        values = config.to_dict(run)
        for field in ("positions", "rotary_base", "position_scale"):
            del values["model"][field]
        assert config.semantics_of(values) == 1
        read = config.recorded(values, 1)
        assert read.model.positions == "learned"
        assert read.model.position_scale * run.model.d_model**0.5 == 1  # added as they are
        assert identity(read, "t", semantics=1) == id
        assert identity(read, "t") != id
        assert config.recorded(config.to_dict(read), 1) == read  # as it is written down from now on
    with pytest.raises(InputError, match=r"^runs of semantics 3, this version knows 1 to 2"):
        config.recorded(config.to_dict(RUN), 3)


def test_runs_of_one_program_differ_only_in_what_is_an_array():
    optim = (
        "learning_rate",
        "optimizer",
        "schedule",
        "warmup",
        "warmup_tokens",
        "decay",
        "weight_decay",
        "independent_decay",
        "end",
    )
    same = ("tokens", "unique_tokens", "seed", *(f"optim.{name}" for name in optim), "eval.per_octave", "eval.octaves")
    for key, text in CHANGES.items():
        base = config.override(RUN, NEEDS.get(key, {}))
        changed = config.override(base, {key: text})
        assert (program(changed) == program(base)) == (key in same), key


@given(st.integers(1, 5000), st.integers(1, 4), st.integers(1, 9))
def test_evaluations_include_the_start_the_middle_and_the_end(steps, per_octave, octaves):
    run = dataclasses.replace(
        RUN, tokens=steps * RUN.batch_tokens, eval=EvalConfig(per_octave=per_octave, octaves=octaves)
    )
    assert run.steps == steps
    assert run.eval_steps == tuple(sorted(set(run.eval_steps)))
    assert run.eval_steps[0] == 0
    assert run.eval_steps[-1] == steps
    if steps > 1:
        assert round(steps / 2) in run.eval_steps
    assert len(run.eval_steps) <= per_octave * octaves + 2


def test_evaluations_are_spaced_evenly_in_the_logarithm_of_the_steps():
    run = dataclasses.replace(RUN, tokens=4096 * RUN.batch_tokens, eval=EvalConfig(per_octave=1, octaves=3))
    assert run.eval_steps == (0, 512, 1024, 2048, 4096)


OF_OTHER_TYPES = (
    ({"model": None}, "model=None: wanted a ModelConfig"),
    ({"data": {"source": "python"}}, "data={'source': 'python'}: wanted a DataConfig"),
    ({"dtype": ["float32"]}, r"dtype=\['float32'\]: wanted text"),
    ({"unique_tokens": float("inf")}, "unique_tokens=inf: wanted a whole number"),
)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: dataclasses.replace(MODEL, d_model=0), "model.d_model=0 must be positive"),
        (lambda: dataclasses.replace(MODEL, n_head=3), "model.n_head=3 does not divide model.d_attn=16"),
        (lambda: dataclasses.replace(MODEL, dropout=1.0), "model.dropout=1.0"),
        (lambda: dataclasses.replace(MODEL, d_ff=1.5), "model.d_ff=1.5: wanted a whole number"),
        (lambda: dataclasses.replace(MODEL, n_layer=-1), "model.n_layer=-1 must be positive"),
        (lambda: dataclasses.replace(MODEL, n_layer=0, kind="universal"), "model.n_layer=0 must be positive"),
        (lambda: dataclasses.replace(MODEL, kind="gru"), "model.kind='gru': wanted one of transformer, lstm"),
        (lambda: dataclasses.replace(MODEL, reuse=2), "model.reuse=2 with model.kind=transformer: .* --set model.kind"),
        (lambda: dataclasses.replace(MODEL, reuse=0, kind="universal"), "model.reuse=0 must be positive"),
        (lambda: dataclasses.replace(MODEL, kind="lstm"), "model.n_head=2, d_attn=16, d_ff=64: an LSTM has no such"),
        (lambda: lstm(16, 2, reuse=2), "model.reuse=2 with model.kind=lstm"),
        (
            lambda: lstm(16, 2, qk_norm=True),
            "model.qk_norm=True with model.kind=lstm: it says nothing of an LSTM; leave",
        ),
        (lambda: lstm(16, 2, positions="learned"), "model.positions=learned with model.kind=lstm"),
        (lambda: dataclasses.replace(MODEL, norm="batch"), "model.norm='batch': wanted one of layer, rms"),
        (lambda: dataclasses.replace(MODEL, n_kv_head=3), "model.n_kv_head=3 does not divide model.n_head=2; choose"),
        (lambda: dataclasses.replace(MODEL, n_kv_head=0), "model.n_kv_head=0 does not divide model.n_head=2; choose"),
        (
            lambda: dataclasses.replace(MODEL, d_attn=6),
            "rotary turns pairs, and heads are d_attn / n_head = 3 wide; use",
        ),
        (lambda: dataclasses.replace(MODEL, z_loss=-1), "model.z_loss=-1.0: wanted a number from 0 on"),
        (
            lambda: config.from_dict(ModelConfig, config.to_dict(MODEL) | {"bias": "no"}),
            "bias='no': wanted true or false",
        ),
        (lambda: RunConfig(lstm(16, 2), 2**16, remat="layers"), "remat=layers with model.kind=lstm"),
        (lambda: OptimConfig(learning_rate=0), "optim.learning_rate=0.0 must be positive"),
        (lambda: OptimConfig(learning_rate=float("nan")), "optim.learning_rate=nan: wanted a number"),
        (lambda: OptimConfig(learning_rate=float("inf")), "optim.learning_rate=inf: wanted a number"),
        (lambda: OptimConfig(optimizer="adamw", weight_decay=float("nan")), "optim.weight_decay=nan: wanted a number"),
        (lambda: RunConfig(MODEL, tokens=True), "^tokens=True: wanted a whole number"),
        *((lambda wrong=wrong: dataclasses.replace(RUN, **wrong), message) for wrong, message in OF_OTHER_TYPES),
        (lambda: EvalConfig(transfer="python"), r"eval.transfer='python': wanted several texts, such as \('python',\)"),  # pyright: ignore
        (lambda: EvalConfig(transfer=("python", None)), "eval.transfer=None: wanted text"),  # pyright: ignore
        (lambda: DataConfig(source=b"python"), "data.source=b'python': wanted text"),  # pyright: ignore
        (lambda: Study(None, "?", (RUN,)), "name of the study=None: wanted text"),  # pyright: ignore
        (lambda: Study(b"mine", "?", (RUN,)), "name of the study=b'mine': wanted text"),  # pyright: ignore
        (lambda: Study("mine\x1b[2J", "?", (RUN,)), "wanted characters that can be printed"),
        (lambda: Study("mine", "?", None), "study 'mine' has no runs"),  # pyright: ignore
        (
            lambda: config.from_dict(OptimConfig, {"learning_rate": "fast"}),
            "optim.learning_rate='fast': wanted a number",
        ),
        (lambda: OptimConfig(warmup=1.0), "optim.warmup=1.0 is a share of the steps"),
        (lambda: OptimConfig(b2=1.0), "optim.b2=1.0 must lie in"),
        (
            lambda: OptimConfig(weight_decay=0.1),
            "optim.weight_decay=0.1 with optimizer=adam, which has none; .* optim.optimizer=adamw or adafactor or muon",
        ),
        (lambda: OptimConfig(optimizer="adamw", weight_decay=-0.1), "optim.weight_decay=-0.1 is negative"),
        (lambda: OptimConfig(optimizer="adafactor", b1=0.8), "optim.b1=0.8 with optimizer=adafactor, which has none"),
        (
            lambda: config.from_dict(OptimConfig, {"optimizer": "sgd"}),
            "optim.optimizer='sgd': wanted one of adam, adamw",
        ),
        (lambda: EvalConfig(windows=0), "eval.windows=0 must be positive"),
        (
            lambda: dataclasses.replace(RUN, tokens=1000),
            "tokens=1000 is not a whole number of steps .* nearest is 1024",
        ),
        (lambda: dataclasses.replace(RUN, tokens=-1024), "tokens=-1024 must be positive"),
        (lambda: dataclasses.replace(RUN, unique_tokens=100), "unique_tokens=100 .* the nearest is 128"),
        (lambda: OptimConfig(decay=0.1), "optim.decay=0.1 with optim.schedule=cosine; only wsd, "),
        (lambda: OptimConfig(schedule="wsd", decay=0.0), "optim.decay=0.0 is a share"),
        (lambda: OptimConfig(warmup_tokens=-1), "optim.warmup_tokens=-1 is negative"),
        (
            lambda: dataclasses.replace(RUN, optim=OptimConfig(schedule="wsd", warmup=0.9)),
            "warm-up of 58 updates and the cooldown of 13 do not fit into tokens=65536, 64 updates",
        ),
        (
            lambda: dataclasses.replace(RUN, optim=OptimConfig(warmup_tokens=2**20)),
            "optim.warmup_tokens=1048576 exceeds tokens=65536",
        ),
        (lambda: EvalConfig(noise=-1), "eval.noise=-1 is negative"),
        (lambda: EvalConfig(transfer=("a", "b", "a")), "eval.transfer=a,b,a names a source twice"),
        (lambda: DataConfig("text:gs://b/x.md"), "text is read from disks, and gs://b/x.md is none"),
        (lambda: DataConfig("filter(text:s3://b/x, keep=0.5, by=python)"), "and s3://b/x is none; copy it or mount"),
        (lambda: DataConfig("filter(python, keep=0.5, by=text:az://b/x)"), "and az://b/x is none"),
        (lambda: DataConfig("mix:0.5*python+0.5*text:a.txt,gs://b/x"), "or stage its tokens and name them tokens:ID"),
        (lambda: EvalConfig(transfer=("text:gs://b/x",)), "eval.transfer=text:gs://b/x: text is read from disks"),
        (lambda: dataclasses.replace(RUN, batch=1, eval=EvalConfig(noise=1)), "eval.noise=1 with batch=1"),
        (
            lambda: dataclasses.replace(RUN, eval=EvalConfig(by_frequency=RUN.model.n_vocab + 1)),
            rf"eval.by_frequency={RUN.model.n_vocab + 1}: wanted {RUN.model.n_vocab} at most",
        ),
        (lambda: dataclasses.replace(RUN, batch=0), "batch=0 must be positive"),
        (lambda: dataclasses.replace(RUN, seed=-1), "seed=-1 must lie between 0 and"),
        (lambda: dataclasses.replace(RUN, seed=2**32), "seed=4294967296 must lie between 0 and"),
        (lambda: dataclasses.replace(RUN, dtype="float16"), "dtype='float16': wanted one of float32, bfloat16"),
        (lambda: dataclasses.replace(RUN, data=DataConfig(tokenizer="bytes")), "--set model.n_vocab=257"),
        (lambda: Study("empty", "?", ()), "study 'empty' has no runs"),
        (lambda: config.from_dict(RunConfig, {"token": 1}), "RunConfig has no field 'token'; did you mean 'tokens'"),
    ],
)
def test_values_that_cannot_be_used_are_refused_in_one_line(make, message):
    with pytest.raises(InputError, match=message) as error:
        make()
    one_line(error)


def test_the_nearest_number_of_tokens_that_is_named_is_accepted():
    for tokens in (1, 1000, 65_000, 10**9 + 7):
        with pytest.raises(InputError) as error:
            dataclasses.replace(RUN, tokens=tokens)
        nearest = int(one_line(error).rsplit(" ", 1)[1])
        assert dataclasses.replace(RUN, tokens=nearest).steps >= 1


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("model.d_modle", "model.d_model"),
        ("learning_rate", "optim.learning_rate"),
        ("optim.lr", "optim."),
        ("n_ctx", "model.n_ctx"),
        ("token", "tokens"),
        ("model", "model."),
    ],
)
def test_an_unknown_key_names_the_nearest(key, nearest):
    with pytest.raises(InputError, match=f"unknown key '{key}'") as error:
        config.override(RUN, {key: "1"})
    assert nearest in one_line(error)


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("tokens", "many", "tokens=many: wanted a whole number"),
        ("tokens", "1.5", "tokens=1.5: wanted a whole number"),
        ("tokens", "inf", "tokens=inf: wanted a whole number"),
        ("tokens", "", "tokens=: wanted a whole number"),
        ("unique_tokens", "all", "unique_tokens=all: wanted a whole number"),
        ("optim.learning_rate", "1e-3x", "optim.learning_rate=1e-3x: wanted a number"),
        ("optim.learning_rate", "nan", "optim.learning_rate=nan: wanted a number"),
        ("dtype", "half", "dtype=half: wanted one of float32, bfloat16"),
        ("model.bias", "maybe", "model.bias=maybe: wanted true or false"),
    ],
)
def test_an_override_that_cannot_be_read_is_refused_in_one_line(key, text, message):
    with pytest.raises(InputError, match=message) as error:
        config.override(RUN, {key: text})
    one_line(error)


def test_overrides_read_numbers_as_people_write_them():
    run = config.override(RUN, {"tokens": "65.536e3", "unique_tokens": "none", "optim.learning_rate": "1"})
    assert run.tokens == 2**16
    assert run.unique_tokens is None
    assert run.optim.learning_rate == 1.0
    assert config.override(RUN, {"unique_tokens": "1024"}).U == 1024
    assert config.parse("n", str(2**60 + 1), int) == 2**60 + 1  # no detour over a float


def test_overrides_read_names_between_commas():
    assert config.override(RUN, {"eval.transfer": "text:a.md, python"}).eval.transfer == ("text:a.md", "python")
    assert config.override(BRANCH, {"eval.transfer": "none"}).eval.transfer == ()


def test_overrides_that_need_each_other_can_be_given_together():
    both = config.override(RUN, {"data.tokenizer": "bytes", "model.n_vocab": "257"})
    assert both.model.n_vocab == 257
    with pytest.raises(InputError):
        config.override(RUN, {"data.tokenizer": "bytes"})


@pytest.mark.parametrize(
    ("annotation", "text", "value"),
    [
        (Optional[int], "3", 3),  # noqa: UP045
        (Optional[int], "none", None),  # noqa: UP045
        (float | None, "1e-3", 1e-3),
        (tuple[int, ...], "1, 2,3e3", (1, 2, 3000)),
        (list[float], "0.5", [0.5]),
        (list[int] | None, "", []),
        (tuple[Literal["a", "b"], ...], "b,a", ("b", "a")),
        (Literal[1, 2], "2", 2),
        (tuple[int, ...], "1,two", "n=two: wanted a whole number"),
        (tuple[Literal["a", "b"], ...], "c", "n=c: wanted one of a, b"),
        *(
            (kind, "3", "for which no text can be given; wanted int, float")
            for kind in (list, tuple[int, int], int | str)
        ),
        *((kind, "3", "for which no text can be given; wanted int, float") for kind in (Any, bytes, list[list[int]])),
    ],
)
def test_text_for_a_parameter_becomes_what_its_annotation_says_or_is_refused(annotation, text, value):
    if isinstance(value, str):
        with pytest.raises(InputError, match=value) as error:
            config.parse("n", text, annotation)
        one_line(error)
    else:
        found = config.parse("n", text, annotation)
        assert (found, type(found)) == (value, type(value))


@given(st.sampled_from(sorted(CHANGES)), st.text(max_size=12))
def test_whatever_text_is_given_an_override_is_done_or_refused(key, text):
    with contextlib.suppress(InputError):
        config.override(RUN, {key: text})


def test_a_config_is_read_without_jax():
    code = "import sys; from scaling import config, counts, ladder; assert not {'jax', 'numpy'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_ladder_and_the_model_agree_on_the_standard_shape():
    assert transformer(16, 2, d_head=8) == MODEL
