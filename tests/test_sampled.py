"""Text that a trained model writes or chooses, as a source: what it is known by, how its documents begin and end."""

import dataclasses
import itertools
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from test_encoding import make

from scaling import sampling, scoring, study, train, trained
from scaling.config import DataConfig, EvalConfig, OptimConfig, RunConfig, Study
from scaling.data import token_set
from scaling.data.corpora import open_corpus
from scaling.data.documents import Document, read
from scaling.data.index import key, on_held_out_side
from scaling.data.perplexity import SCORE, FilteredByModel, ScoreFilter
from scaling.data.quality import bound
from scaling.data.sampled import FILE
from scaling.data.token_set import describe
from scaling.errors import InputError
from scaling.ladder import transformer

pytestmark = pytest.mark.usefixtures("unoptimised")
REAL = "synthetic:order=1,symbols=8,bytes=2e5,document=64"
OTHER = REAL + ",seed=1"


def taught(source: str, folder: Path) -> Path:
    """STUDY/RUN of a model that has learnt a little of a language."""
    patch = pytest.MonkeyPatch()
    patch.setenv("SCALING_CACHE", str(folder / "cache"))
    run = RunConfig(
        transformer(16, 1, d_head=8, n_vocab=257, n_ctx=16),
        tokens=2**14,
        batch=8,
        data=DataConfig(source, "bytes"),
        optim=OptimConfig(learning_rate=1e-2),
        eval=EvalConfig(windows=16),
    )
    whole = study.prepare(Study("real", "?", (run,)), folder / "study", workers=1, say=lambda line: None)
    pack = whole.packs[0]
    stream = token_set.open_tokens(Path(whole.tokens[pack.runs[0].tokens_id]))
    train.train([run], stream.train, stream.validation, whole.pack_folder(pack), separator=stream.separator)
    patch.undo()
    return folder / "study" / pack.runs[0].id


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """Of a language of eight letters, in documents of 64 of them."""
    return taught(REAL, tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def rival(tmp_path_factory) -> Path:
    """Of another language of the same letters."""
    return taught(OTHER, tmp_path_factory.mktemp("rival"))


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(sampling, "LENGTH", 256)


def texts(told: dict[str, str]) -> list[str]:
    return [json.loads(line)["text"] for line in (Path(told["folder"]) / "0.jsonl").read_text().splitlines()]


@pytest.fixture
def cache(model, monkeypatch) -> Path:
    """In which a text that several tests read is written once."""
    monkeypatch.setenv("SCALING_CACHE", str(model.parent.parent / "cache"))
    return model.parent.parent / "cache"


def test_a_models_text_is_read_as_any_other_and_known_by_its_content(model, cache, tmp_path, monkeypatch):
    source = f"sample({model}, tokens=1e5, seed=3)"
    bytes_ = {"tokenizer": "bpe", "n_vocab": 257, "validation_source": f"held_out({REAL})"}  # the model's are bytes
    tokens = make(source, cache, 90_000, 500, **bytes_)
    assert tokens.tokenizer.is_bytes
    assert FILE * 0.9 < tokens.manifest["train"]["bytes_in_corpus"] < FILE * 1.05  # what is no UTF-8 takes three bytes
    letters = set(np.unique(tokens.validation))
    assert np.isin(tokens.train, list(letters)).mean() > 0.9  # it writes what it has read
    moved = shutil.copytree(model.parent, tmp_path / "moved")
    monkeypatch.setattr("subprocess.run", lambda *args, **kwargs: pytest.fail("it was written before"))
    again = open_corpus(f"sample({moved / model.name}, tokens=1e5, seed=3, temperature=1)")
    assert again.signature() == open_corpus(source).signature()
    mixed = make(f"mix:0.5*{REAL}+0.5*{source}", cache, 40_000, 500, **bytes_)
    assert min(part["tokens"] for part in mixed.manifest["parts"] if "sample" in part["source"]) > 90_000


def test_a_study_is_opened_again_where_the_model_that_wrote_its_text_has_moved(model, cache, tmp_path):
    old = shutil.copytree(model.parent, tmp_path / "old")
    written = f"sample({old / model.name}, tokens=1e5, seed=3)"
    first = study.read(old).packs[0].runs[0].config
    data = DataConfig(f"mix:0.5*{REAL}+0.5*{written}", "bytes", f"held_out({REAL})")
    run = dataclasses.replace(first, data=data, seed=1)

    def prepare(*runs: RunConfig) -> study.StudyFolder:
        return study.prepare(Study("next", "?", runs), tmp_path / "next", workers=1, say=lambda line: None)

    before = prepare(run)
    moved = old.rename(tmp_path / "new")
    assert prepare(run) == before
    another = dataclasses.replace(run, seed=2)
    with pytest.raises(InputError, match="no study is there, as seen from this folder") as refused:
        prepare(run, another)
    assert "study run" not in str(refused.value)
    old.symlink_to(moved)
    assert set(prepare(run, another).tokens) == set(before.tokens)
    assert trained.load(*study.place(old / model.name)).id == model.name


@pytest.mark.usefixtures("short")
def test_documents_begin_as_in_training_and_end_where_the_model_ends_them(model, tmp_path):
    told = sampling.written(str(model), 1, 1.0, 0, tmp_path)
    found = texts(told)
    assert sum(map(len, found)) + len(found) == pytest.approx(256 * 64, abs=64)  # a separator each, but for 64 lanes
    assert 256 / 4 / 4 < np.mean([len(text) for text in found]) < 64 * 2  # of documents of 64
    loaded = trained.load(*study.place(model))
    first = next(loaded.written(np.zeros((64, 0), np.int32), 0))[0].tolist()
    begun = first[: first.index(256)] if 256 in first else first
    assert found[0][:8] == loaded.tokenizer.decode(begun)[:8]


@pytest.mark.usefixtures("short")
def test_what_is_written_depends_on_weights_temperature_and_seed_and_more_of_it_leaves_the_rest(model, tmp_path):
    one = sampling.written(str(model), 1, 1.0, 0, tmp_path)
    before = texts(one)
    assert sampling.written(str(model), 2, 1.0, 0, tmp_path) == one
    assert texts(one) == before
    cold, other = (sampling.written(str(model), 1, *how, tmp_path) for how in ((0.5, 0), (1.0, 1)))
    assert len({one["folder"], cold["folder"], other["folder"]}) == 3
    assert before != texts(other)

    def commonest(some: list[str]) -> float:
        _, counts = np.unique(list("".join(some)), return_counts=True)
        return float(np.sort(counts)[-2:].sum() / counts.sum())

    assert commonest(texts(cold)) > commonest(before)  # a low temperature cuts the tail


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("sample({0})", "no tokens, wanted tokens"),
        ("sample({0}, tokens=1e5, temprature=1)", "unknown option 'temprature'"),
        ("sample({0}, tokens=1e5, temperature=-1)", "wanted temperature from 0 to 100"),
        ("sample({0}, tokens=1e5, seed=0.5)", "seed=0.5"),
    ],
)
def test_what_cannot_be_written_ends_in_one_line(model, typed, message):
    with pytest.raises(InputError, match=message):
        open_corpus(typed.format(model))


def test_a_model_whose_experts_choose_among_texts_is_refused_before_a_process_begins(tmp_path, monkeypatch):
    monkeypatch.setenv("SCALING_CACHE", str(tmp_path / "cache"))
    shape = transformer(8, 1, d_head=8, n_vocab=257, n_ctx=16, kind="routed", experts=2, routing="expert_choice")
    run = RunConfig(shape, tokens=16, batch=1, data=DataConfig(REAL, "bytes"), eval=EvalConfig(windows=1))
    whole = study.prepare(Study("experts", "?", (run,)), tmp_path / "study", workers=1, say=lambda line: None)
    monkeypatch.setattr("subprocess.run", lambda *args, **kwargs: pytest.fail("a process has begun"))
    with pytest.raises(InputError, match=r"model\.routing=expert_choice writes no text"):
        open_corpus(f"sample({tmp_path / 'study' / whole.packs[0].runs[0].id}, tokens=1e5)").signature()


def test_a_run_without_weights_says_so(model, tmp_path):
    whole = study.read(model.parent)
    bare = dataclasses.replace(whole, path=tmp_path)
    study.write(bare)
    with pytest.raises(InputError, match="has no weights"):
        open_corpus(f"sample({tmp_path / model.name}, tokens=1e5)").signature()


# What a model chooses


def spoken(source: str, n: int) -> list[str]:
    """n texts of a language, of three to eight of its documents."""
    every = (document.text for part in open_corpus(source).parts() for _, document in read(part))
    return ["".join(itertools.islice(every, 3 + k % 6)) for k in range(n)]


@pytest.fixture
def both(tmp_path) -> tuple[str, dict[str, str]]:
    """A source of texts in two languages, and the language of each text."""
    whose = {text: name for name in (REAL, OTHER) for text in spoken(name, 400)}
    lines = [json.dumps({"text": text}) + "\n" for text in whose]
    (tmp_path / "both.jsonl").write_text("".join(lines))
    return f"text:{tmp_path}/both.jsonl", whose


def chosen(source: str) -> list[str]:
    every = (document for part in open_corpus(source).parts() for _, document in read(part))
    return [document.text for document in every if not on_held_out_side(document)]


def test_a_model_keeps_the_language_that_it_has_learnt_and_drops_the_other(both, model, rival, cache):
    source, whose = both
    every = [text for text in whose if not on_held_out_side(Document("", text, ""))]
    for of, language in ((model, REAL), (rival, OTHER)):
        for keep, own in ((0.25, 0.98), (0.5, 0.93)):
            kept = chosen(f"filter({source}, keep={keep}, by=perplexity({of}))")
            n_bytes = sum(map(len, every))
            assert 0 <= sum(map(len, kept)) - keep * n_bytes < 8 * 64
            assert np.mean([whose[text] == language for text in kept]) > own
    assert chosen(f"filter({source}, keep=1, by=perplexity({model}))") == every


def test_a_score_is_what_the_model_needs_for_each_byte_in_windows_of_its_context_whatever_stands_beside_it(
    model, monkeypatch
):
    monkeypatch.setattr(scoring, "SHORTEST", 4)  # several shapes
    found = trained.load(*study.place(model))
    texts = [text[:n] for n, text in zip((1, 15, 16, 17, 40, 64, 300), spoken(REAL, 60)[5::6], strict=False)]
    wanted = []
    for text in texts:
        nats, tokens = 0.0, found.tokenizer.encode(text)
        for start in range(0, len(tokens), 16):
            window = tokens[start : start + 16]
            logits = np.asarray(found.logits(np.array([[256, *window[:-1]]]))[0], np.float64)
            nats -= (logits - np.log(np.exp(logits).sum(-1, keepdims=True)))[np.arange(len(window)), window].sum()
        wanted.append(nats / len(text) / np.log(2))
    bits, sizes = scoring.bits_per_byte(found, texts)
    np.testing.assert_allclose(bits, wanted, rtol=1e-4)
    assert sizes.tolist() == [len(text) for text in texts]
    np.testing.assert_allclose(scoring.bits_per_byte(found, texts[::-1] * 200)[0][-7:], bits[::-1], rtol=1e-5)


def test_what_a_model_chose_is_told_held_out_text_stays_and_the_model_is_known_by_its_weights(
    both, model, rival, cache, tmp_path, monkeypatch
):
    source, _ = both
    typed = f"filter({source}, keep=0.5, by=perplexity({model}))"
    bytes_ = {"tokenizer": "bytes", "n_vocab": 257}
    made = make(typed, cache, 20_000, 500, **bytes_)
    told = made.manifest["corpora"][typed]["rules"][typed]
    assert (told["documents"], told["met"]) == (
        len(chosen(f"filter({source}, keep=1, by=perplexity({model}))")),
        len(chosen(typed)),
    )
    assert re.search(
        r"kept by .* documents that are not held out, at no more than [12]\.\d+ bits per byte", describe(made)
    )
    plain = make(source, cache, 20_000, 500, **bytes_)
    assert (made.validation == plain.validation).all()
    signatures = {open_corpus(typed.replace(str(model), str(of))).signature() for of in (model, rival)}
    assert len(signatures) == 2
    assert open_corpus(typed).signature() != open_corpus(typed.replace("0.5", "0.4")).signature()
    moved = shutil.copytree(model.parent, tmp_path / "moved")
    monkeypatch.setattr("subprocess.run", lambda *args, **kwargs: pytest.fail("it was scored before"))
    assert open_corpus(typed.replace(str(model), str(moved / model.name))).signature() in signatures


@pytest.mark.parametrize(
    ("by", "message"),
    [
        ("perplexity()", "the model and nothing else"),
        ("perplexity({0}, temperature=1)", "the model and nothing else"),
        ("perplexity({0}", "a bracket is not closed"),
        ("perplexity({0}x)", "0 runs have ids that begin with"),
        ("perplexity(nowhere)", "nowhere: no study is there"),
        ("perplexity", r"by=perplexity, wanted by=perplexity\(STUDY/RUN\)"),
        ("Perplexity({0})", r"wanted by=perplexity\(STUDY/RUN\)"),
    ],
)
def test_a_model_that_cannot_choose_ends_in_one_line(both, model, by, message):
    with pytest.raises(InputError, match=message) as refused:
        open_corpus(f"filter({both[0]}, keep=0.5, by={by.format(model)})").signature()
    assert "\n" not in str(refused.value)


def test_of_texts_of_one_score_as_many_are_kept_as_were_asked_for(tmp_path):
    texts = [f"{n:04}" for n in range(1_000)]
    rows = np.array([(key(text.encode()), 2.1, 4) for text in texts], SCORE)
    np.save(tmp_path / "scores.npy", np.sort(rows, order="key"))
    most, last = bound(-rows["bits"], rows["key"], rows["size"], 0.1)
    kept = ScoreFilter(tmp_path / "scores.npy", -most, last)
    assert sum(kept.keeps(Document("", text, "")) for text in texts) == 100


@pytest.mark.parametrize("left", [b"", b"no array", b"PK\3\4 no archive", b"\x93NUMPY\1\0", None])
def test_a_damaged_file_of_scores_ends_in_one_line_with_the_way_out(tmp_path, left):
    np.save(path := tmp_path / "scores.npy", np.zeros(1_000, SCORE))
    path.write_bytes(path.read_bytes()[:5_000] if left is None else left)
    with pytest.raises(InputError, match=f"damaged; delete the folder {tmp_path} and run again") as refused:
        ScoreFilter(path, 1.0, 0).keeps(Document("", "one", ""))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("part", [False, True])
def test_damaged_scores_are_made_again(both, model, cache, part):
    typed = f"filter({both[0]}, keep=0.5, by=perplexity({model}))"
    corpus = open_corpus(typed)
    assert isinstance(corpus, FilteredByModel)
    path, before = corpus.scored, corpus.scored.read_bytes()
    path.unlink()
    (path.with_name("0.npy") if part else path).write_bytes(before[:200])
    again = open_corpus(typed)
    assert isinstance(again, FilteredByModel)
    assert again.scored.read_bytes() == before
    assert chosen(typed)
    assert not path.with_name("0.npy").exists()


def test_text_that_changed_after_it_was_scored_is_not_kept_or_dropped_by_chance(both, model, cache, tmp_path):
    corpus = open_corpus(f"filter({both[0]}, keep=0.5, by=perplexity({model}))")
    corpus.signature()
    (tmp_path / "both.jsonl").write_text(json.dumps({"text": "another"}) + "\n")
    with pytest.raises(InputError, match="changed since its text was scored; delete the folder"):
        [list(read(part)) for part in corpus.parts()]
