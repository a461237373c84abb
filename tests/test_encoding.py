"""Packed tokens: exact, nested, the same everywhere, and never half there."""

import fcntl
import itertools
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.feather
import pyarrow.parquet
import pytest

from scaling import claims
from scaling.config import DataConfig
from scaling.data import copies, disk, encoding, index, token_set
from scaling.data.batches import SPAN, validation_windows
from scaling.data.corpora import open_corpus
from scaling.data.documents import PIECE, read
from scaling.data.encoding import prepare
from scaling.data.token_set import TokenSet, TooLittleText, open_tokens
from scaling.data.tokenizer import Tokenizer, train_bpe
from scaling.errors import InputError

WORDS = ["the", "of", "and", "to", "in", "is", "that", "for", "it", "as", "was", "with", "be", "by", "on", "not", "he"]


def sentence(rng: random.Random) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(4, 12))).capitalize() + ". "


def write_texts(folder: Path, n: int, seed: int = 0) -> list[str]:
    """n documents of about 1 kB in a few JSONL files."""
    rng = random.Random(seed)
    texts = [f"Nö. {seed}.{i}\n" + "".join(sentence(rng) for _ in range(rng.randint(1, 40))) for i in range(n)]
    folder.mkdir(parents=True, exist_ok=True)
    for shard in range(4):
        rows = "".join(json.dumps({"text": text}) + "\n" for text in texts[shard::4])
        (folder / f"{shard}.jsonl").write_text(rows)
    return texts


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> tuple[str, list[str]]:
    folder = tmp_path_factory.mktemp("corpus")
    texts = write_texts(folder, 1200)
    return f"text:{folder}/*.jsonl", texts


def make(source: str, cache: Path, train: int = 20_000, validation: int = 2_000, **options) -> TokenSet:
    options = {"tokenizer": "bpe", "n_vocab": 320, "workers": 1, "say": lambda line: None} | options
    return prepare(source, train_tokens=train, validation_tokens=validation, cache=cache, **options)


def texts_of(tokenizer: Tokenizer, stream: np.ndarray) -> list[str]:
    """The documents of a stream, the last of which may be cut."""
    return [
        tokenizer.decode(part[part != tokenizer.eos])
        for part in np.split(stream, np.flatnonzero(stream == tokenizer.eos) + 1)
    ]


@pytest.fixture(scope="module")
def prepared(corpus, tmp_path_factory) -> TokenSet:
    return make(corpus[0], tmp_path_factory.mktemp("cache"))


# What the streams hold


def test_a_stream_is_whole_documents_each_once_in_an_order_of_its_own(corpus, prepared):
    _, texts = corpus
    found = {split: texts_of(prepared.tokenizer, getattr(prepared, split))[:-1] for split in ("train", "validation")}
    for split, documents in found.items():
        assert set(documents) <= set(texts)
        assert len(set(documents)) == len(documents) == prepared.manifest[split]["documents"]
        keys = [index.key(document.encode()) for document in documents]
        assert keys == sorted(keys)
    assert not set(found["train"]) & set(found["validation"])
    numbers = [int(text.split("\n")[0].split(".")[2]) for text in found["train"]]
    assert abs(np.corrcoef(numbers, range(len(numbers)))[0, 1]) < 0.3  # not the order in the files


def test_the_counts_are_those_of_the_text(corpus, prepared):
    for split in ("train", "validation"):
        stream, part = getattr(prepared, split), prepared.manifest[split]
        text = prepared.tokenizer.decode(stream)
        assert part["tokens"] == len(stream)
        assert part["bytes"] == len(text.encode()) == prepared.bytes_of(stream)
        assert part["bytes_per_token"] == part["bytes"] / len(stream)
    total = sum(prepared.manifest[split]["documents_in_corpus"] for split in ("train", "validation"))
    assert total == len(set(corpus[1]))


def test_at_least_as_many_tokens_are_there_as_were_asked_for(prepared):
    assert len(prepared.train) >= 20_000
    assert len(prepared.validation) >= 2_000
    assert prepared.train.dtype == np.uint16
    assert not prepared.train.flags.writeable


def test_about_three_percent_are_held_out(corpus, prepared):
    share = prepared.manifest["validation"]["documents_in_corpus"] / len(corpus[1])
    assert 0.015 < share < 0.05


def test_asking_for_more_extends_the_stream_and_keeps_its_name(corpus, tmp_path):
    few = make(corpus[0], tmp_path, train=3_000)
    few_train, few_validation = np.array(few.train), np.array(few.validation)
    more = make(corpus[0], tmp_path, train=60_000)
    most = make(corpus[0], tmp_path, train=150_000)
    assert few.id == more.id == most.id
    assert len(few_train) < len(more.train) < len(most.train)
    np.testing.assert_array_equal(more.train[: len(few_train)], few_train)
    np.testing.assert_array_equal(most.train[: len(more.train)], more.train)
    np.testing.assert_array_equal(few.train, few_train)  # who read it before still can
    np.testing.assert_array_equal(
        validation_windows(few_validation, 8, 100, 0), validation_windows(most.validation, 8, 100, 0)
    )
    at_once = make(corpus[0], tmp_path / "other", train=150_000)
    np.testing.assert_array_equal(at_once.train[:150_000], most.train[:150_000])
    most.verify()


def test_names_of_files_cuts_and_processes_do_not_matter(corpus, tmp_path, monkeypatch):
    _, texts = corpus
    plain = make(corpus[0], tmp_path / "a", validation_source="synthetic:bytes=1e5", n_vocab=320)
    # The same documents in other files and another order, read in many small parts and merged in small blocks.
    (tmp_path / "again").mkdir()
    shuffled = random.Random(1).sample(texts, len(texts))
    rows = "".join(json.dumps({"text": text, "id": i}) + "\n" for i, text in enumerate(shuffled + texts[:50]))
    (tmp_path / "again" / "all.jsonl").write_text(rows)
    monkeypatch.setattr("scaling.data.documents.PART", 100_000)
    monkeypatch.setattr(encoding, "BLOCK", 10_000)
    monkeypatch.setattr(encoding, "RUN", 1_000)
    other = make(f"text:{tmp_path}/again/*", tmp_path / "b", validation_source="synthetic:bytes=1e5", n_vocab=320)
    assert plain.id == other.id
    n = min(len(plain.train), len(other.train))
    np.testing.assert_array_equal(plain.train[:n], other.train[:n])
    assert len(other.manifest["train"]["blocks"]) > 3
    assert next(iter(other.manifest["corpora"].values()))["duplicates"] == 50
    other.verify()


def test_the_same_files_in_another_folder_are_the_same_tokens(corpus, prepared, tmp_path):
    folder = Path(corpus[0].removeprefix("text:")).parent
    shutil.copytree(folder, tmp_path / "moved")
    assert make(f"text:{tmp_path}/moved/*.jsonl", tmp_path / "cache").id == prepared.id


def test_two_processes_make_what_one_makes(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(encoding, "IN_PROCESS", 0)
    one = make(corpus[0], tmp_path / "one")
    two = make(corpus[0], tmp_path / "two", workers=2)
    assert one.manifest == two.manifest
    np.testing.assert_array_equal(one.train, two.train)


def test_another_tokenizer_is_another_stream(corpus, prepared, tmp_path):
    other = make(corpus[0], tmp_path, n_vocab=330)
    raw = make(corpus[0], tmp_path, tokenizer="bytes", n_vocab=257)
    assert len({prepared.id, other.id, raw.id}) == 3
    assert raw.manifest["train"]["bytes"] + raw.manifest["train"]["documents"] == len(raw.train)


def test_a_tokenizer_from_elsewhere_can_be_used(corpus, prepared, tmp_path):
    train_bpe(corpus[1], 400).save(tmp_path / "my.model")
    mine = make(corpus[0], tmp_path, tokenizer=str(tmp_path / "my.model"), n_vocab=400)
    assert mine.tokenizer == Tokenizer.load(str(tmp_path / "my.model"))
    with pytest.raises(InputError, match=r"n_vocab=320, but the tokenizer .* has 400 tokens; use n_vocab=400"):
        make(corpus[0], tmp_path, tokenizer=str(tmp_path / "my.model"), n_vocab=320)


def test_large_vocabularies_take_four_bytes():
    tokenizer = Tokenizer(b"")
    for n_vocab, dtype in ((2**16, np.uint16), (2**16 + 1, np.uint32)):
        vars(tokenizer)["n_vocab"] = n_vocab  # as if cached
        assert tokenizer.dtype == dtype


def test_a_validation_source_is_evaluated_on_and_never_trained_on(corpus, tmp_path):
    source, texts = corpus
    write_texts(tmp_path / "other", 100, seed=1)
    rows = "".join(json.dumps({"text": text}) + "\n" for text in texts[:300])
    (tmp_path / "other" / "leak.jsonl").write_text(rows)
    made = make(source, tmp_path / "cache", train=100, validation_source=f"text:{tmp_path}/other/*")
    assert made.manifest["validation"]["documents_in_corpus"] == 400
    assert made.manifest["train"]["documents_in_corpus"] == len(texts) - 300


def test_prepared_tokens_are_a_source_by_their_id_and_need_no_text(tmp_path):
    write_texts(tmp_path / "text", 300)
    write_texts(tmp_path / "other", 60, seed=1)
    source, other, cache = f"text:{tmp_path}/text/*", f"text:{tmp_path}/other/*", tmp_path / "cache"
    made = make(source, cache)
    model = str(made.folder / "tokenizer.model")
    beside = make(source, cache, train=1, validation_source=other, tokenizer=model)
    shutil.rmtree(tmp_path / "text")
    shutil.rmtree(tmp_path / "other")
    found = make(f"tokens:{made.id}", cache)
    assert found.id == made.id
    np.testing.assert_array_equal(found.train, made.train)
    transfer = make(f"tokens:{made.id}", cache, train=1, validation_source=f"tokens:{beside.id}", tokenizer=model)
    assert transfer.id == beside.id
    refused: list[tuple[dict[str, Any], str]] = [
        (dict(train=10**6), "has [0-9]+ tokens for train, 1000000 were asked for"),
        (dict(n_vocab=512), "320 tokens of bpe were prepared, 512 of bpe are asked for"),
        (dict(tokenizer="bytes", n_vocab=257), "use model.n_vocab=320 and data.tokenizer=bpe"),
        (dict(validation_source=other), "one is text, the other was prepared apart from it"),
    ]
    for asked, why in refused:
        with pytest.raises(InputError, match=why):
            make(f"tokens:{made.id}", cache, **asked)
    with pytest.raises(InputError, match="holds no such tokens, but " + "|".join(sorted((made.id, beside.id)))):
        make("tokens:0123", cache)
    with pytest.raises(InputError, match="have held-out text of their own"):
        DataConfig(source=f"tokens:{made.id}", validation=other)


def test_prepared_tokens_give_the_windows_of_their_text_or_none(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr("scaling.data.batches.SPAN", 64)
    write_texts(tmp_path / "text", 60, seed=1)
    asked: dict[str, Any] = dict(train=100, validation=50, validation_source=corpus[0])
    made = make(f"text:{tmp_path}/text/*", tmp_path / "cache", **asked)
    has = len(made.validation)
    assert made.manifest["validation"]["documents"] < made.manifest["validation"]["documents_in_corpus"]
    with pytest.raises(InputError, match=f"has {has} tokens for validation, {has // 2} were asked for"):
        make(f"tokens:{made.id}", tmp_path / "cache", train=100, validation=has // 2)  # spread over four times as many
    again = make(f"tokens:{made.id}", tmp_path / "cache", train=100, validation=50)
    ours, theirs = (validation_windows(one.validation, 10, 5, one.separator) for one in (again, made))
    np.testing.assert_array_equal(ours, theirs)


def test_near_duplicates_and_twins_in_a_folder_never_straddle_the_split(tmp_path, monkeypatch):
    rng = random.Random(0)
    for folder in range(60):
        (tmp_path / "lib" / f"p{folder}").mkdir(parents=True)
    for folder in range(60):
        for i in range(4):
            code = "".join(
                f"def f_{folder}_{i}_{j}({rng.choice(WORDS)}):\n    return {rng.random()}\n" for j in range(30)
            )
            (tmp_path / "lib" / f"p{folder}" / f"m{i}.py").write_text(code)
            # A copy with one line changed, in another folder.
            (tmp_path / "lib" / f"p{(folder + 1) % 60}" / f"copy{i}.py").write_text(code.replace("return", "yield", 1))
    monkeypatch.setattr("scaling.data.python_sources.sysconfig.get_paths", lambda: {"stdlib": str(tmp_path / "lib")})
    built = index.open_index(open_corpus("python:stdlib"), tmp_path / "cache", 1, lambda line: None)
    assert built.summary["near_duplicates"] == 240
    assert built.summary["train"]["documents"] + built.summary["validation"]["documents"] == 240
    groups = {}
    for part in open_corpus("python:stdlib").parts():
        for _, document in read(part):
            groups[index.key(document.text.encode())] = document.group
    sides = [{groups[key] for key in built.rows(split)["key"]} for split in ("train", "validation")]
    assert sides[1]
    assert not sides[0] & sides[1]


def test_different_documents_are_not_taken_for_near_duplicates(corpus, tmp_path):
    rng = random.Random(0)
    sketches = [copies.sketch("".join(sentence(rng) for _ in range(50)).encode()) for _ in range(200)]
    assert len(copies.dissimilar(np.array(sketches))) == 200
    assert (copies.sketch(b"") == copies.sketch(b"   ")).all()


@pytest.mark.parametrize("share", [0.5, 0.8])
def test_sketches_agree_in_the_share_of_what_texts_have_in_common(share):
    rng = random.Random(3)
    words = ["".join(rng.choices("abcdefghijklmnop", k=20)) for _ in range(3000)]
    n = int(1000 * (1 + share))  # |A| = |B| = n, |A and B| = 2 n share / (1 + share)
    shift = round(n - 2 * n * share / (1 + share))
    a, b = (copies.sketch(" ".join(words[start : start + n]).encode()) for start in (0, shift))
    assert np.mean(a == b) == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / copies.N_HASH))


# Long documents and copies


def words(rng: random.Random, n: int) -> str:
    return " ".join("".join(rng.choices("abcdefghij", k=rng.randint(2, 8))) for _ in range(n))


def test_a_long_document_is_cut_alike_in_every_kind_of_file(tmp_path):
    rng = random.Random(5)
    long = "\n\n".join(words(rng, 60) for _ in range(200))  # some 66 kB
    texts = [long, *(words(rng, 100) for _ in range(60))]
    for name in ("txt", "jsonl", "parquet", "arrow"):
        (tmp_path / name).mkdir()
    for i, text in enumerate(texts):
        (tmp_path / "txt" / f"{i}.txt").write_text(text)
    (tmp_path / "jsonl" / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    table = pyarrow.table({"text": texts})
    pyarrow.parquet.write_table(table, tmp_path / "parquet" / "a.parquet")
    pyarrow.feather.write_feather(table, str(tmp_path / "arrow" / "a.arrow"))
    asked: dict[str, Any] = dict(tokenizer="bytes", n_vocab=257, train=1000, validation=100)
    made = [
        make(f"text:{tmp_path}/{name}/*", tmp_path / "cache", **asked) for name in ("txt", "jsonl", "parquet", "arrow")
    ]
    assert len({one.id for one in made}) == 1
    (summary,) = made[1].manifest["corpora"].values()
    assert summary["cut"] == 1
    assert "cut in text:" in token_set.describe(made[1])
    everything = make(f"text:{tmp_path}/jsonl/*", tmp_path / "cache", **asked | dict(train=80_000))
    found = [texts_of(everything.tokenizer, getattr(everything, split))[:-1] for split in ("train", "validation")]
    pieces = [text for text in itertools.chain(*found) if text not in texts]
    assert len(pieces) >= len(long) / PIECE
    assert all(len(piece) <= PIECE and piece in long for piece in pieces)
    assert sum(map(len, pieces)) == len(long)
    assert max(everything.manifest["train"]["longest"], everything.manifest["validation"]["longest"]) <= PIECE + 1


def test_a_document_is_cut_only_if_it_is_much_of_its_corpus_or_if_asked(tmp_path):
    rng = random.Random(6)
    long = words(rng, 4_000)  # 24 kB
    rest = [words(rng, 500) for _ in range(50)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in [long, *rest]))
    few = index.open_index(open_corpus(f"text:{tmp_path}/a.jsonl"), tmp_path / "cache", 1, print)
    assert few.summary["cut"] == 1
    many = index.open_index(open_corpus(f"text:{tmp_path}/a.jsonl"), tmp_path / "cache", 1, print, limit=len(long))
    assert many.summary["cut"] == 0  # as beside a thousand times as much text
    assert many.summary["documents"] == 51
    asked = index.open_index(open_corpus(f"text:{tmp_path}/a.jsonl?cut=1000"), tmp_path / "cache", 1, print)
    assert asked.summary["cut"] == 51
    assert max(max(asked.rows(split)["size"]) for split in ("train", "validation")) <= 1000


def test_copies_but_for_white_space_and_case_are_on_no_two_sides(tmp_path):
    rng = random.Random(7)
    texts = [words(rng, 50) for _ in range(300)]
    copied = [text + "\n" for text in texts[:100]] + [text.upper().replace(" ", "\n  ") for text in texts[100:150]]
    rows = [*texts, *copied, "Ünï " + texts[0], "ünï\xa0" + texts[0].replace(" ", "\t")]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in rows))
    built = index.open_index(open_corpus(f"text:{tmp_path}/a.jsonl"), tmp_path / "cache", 1, print)
    assert built.summary["copies"] == 151
    assert built.summary["train"]["documents"] + built.summary["validation"]["documents"] == 301
    # Text that is held out as a source of its own is not trained on in another spelling either.
    (tmp_path / "held.txt").write_text(texts[0].title() + "\n")
    said: list[str] = []
    made = make(
        f"text:{tmp_path}/a.jsonl",
        tmp_path / "cache",
        train=100,
        validation=10,
        say=said.append,
        validation_source=f"text:{tmp_path}/held.txt",
    )
    assert made.manifest["train"]["documents_in_corpus"] == 300
    assert any("151 equal but for white space and case, 1 held out too" in line for line in said)


def test_held_out_documents_that_nearly_repeat_training_text_are_counted(tmp_path):
    rng = random.Random(8)
    texts = [words(rng, 100) for _ in range(400)]
    near = [" ".join([*text.split()[:7], "another", *text.split()[8:]]) for text in texts[:200]]
    half = [" ".join(text.split()[:30]) + " " + words(rng, 70) for text in texts[200:300]]  # a third in common
    (tmp_path / "held.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in near + half))
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    said: list[str] = []
    options: dict[str, Any] = dict(train=100, validation=10, say=said.append)
    made = make(
        f"text:{tmp_path}/a.jsonl", tmp_path / "cache", validation_source=f"text:{tmp_path}/held.jsonl", **options
    )
    assert made.manifest["corpora"][f"text:{tmp_path}/held.jsonl"]["held_out_near_copies"] == 200
    assert any("200 of 300 documents nearly repeat one that is trained on" in line for line in said)
    assert made.manifest["train"]["documents_in_corpus"] == 400  # told, not dropped


@pytest.mark.parametrize("share", [0.5, 0.8])
def test_outlines_agree_in_the_share_of_what_texts_have_in_common(share):
    rng = random.Random(3)
    n = int(1000 * (1 + share))
    shift = round(n - 2 * n * share / (1 + share))
    agree = []
    for _ in range(4):
        vocabulary = ["".join(rng.choices("abcdefghijklmnop", k=20)) for _ in range(3000)]
        a, b = copies.outlines([" ".join(vocabulary[start : start + n]).encode() for start in (0, shift)])
        agree.append(np.mean(a == b))
    assert np.mean(agree) == pytest.approx(share, abs=3 * np.sqrt(share * (1 - share) / copies.N_HASH / 4))


def test_a_document_that_is_much_of_what_is_trained_on_is_told_with_its_share():
    lengths = [300, 40, 5000, 7, 100_000, 900]
    stream = np.concatenate([np.append(np.zeros(n - 1, np.uint16), 1) for n in lengths]).astype(np.uint16)
    ends = np.cumsum(lengths)
    for D in (300, 340, 4000, 5340, 5347, 50_000, 105_347, len(stream)):
        begun = [min(length, D - (end - length)) for length, end in zip(lengths, ends, strict=True) if end - length < D]
        assert token_set._largest(stream, D, 1) == max(begun)
    short = np.tile(np.append(np.zeros(9, np.uint16), 1), 1000).astype(np.uint16)
    assert token_set._largest(short, len(short), 1) == 0


def test_it_is_said_when_one_document_is_over_a_hundredth_of_the_tokens(tmp_path):
    rng = random.Random(9)
    rows = [words(rng, 60) for _ in range(400)] + [words(rng, 1500)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in rows))
    made = make(f"text:{tmp_path}/a.jsonl?cut=1e6", tmp_path / "cache", tokenizer="bytes", n_vocab=257, train=120_000)
    n, D = made.manifest["train"]["longest"], len(made.train)
    assert n == len(rows[-1]) + 1
    line = f"its largest document, {n:,} tokens, is {100 * n / D:.0f} % of D = {D:,}"
    assert line in str(token_set.crowding(made, [D]))
    cut = make(f"text:{tmp_path}/a.jsonl?cut=500", tmp_path / "cache", tokenizer="bytes", n_vocab=257, train=120_000)
    assert token_set.crowding(cut, [len(cut.train)]) is None


def test_the_floor_of_a_generated_language_is_stated(tmp_path):
    made = make("synthetic:bytes=3e5", tmp_path, tokenizer="bytes", n_vocab=257, train=1000, validation=1000)
    rate = open_corpus("synthetic:bytes=3e5").entropy_rate
    assert made.manifest["entropy_rate"] == rate
    assert f"{rate:.6f} nats per byte" in token_set.describe(made)


def test_what_is_prepared_can_be_read_by_a_person(corpus, prepared):
    text = token_set.describe(prepared)
    assert prepared.id in text
    assert "bpe, 320 tokens" in text
    assert f"{len(prepared.train):,} tokens" in text
    assert "validation" in text


def test_empty_files_among_good_ones_are_counted(corpus, tmp_path):
    write_texts(tmp_path / "texts", 100)
    (tmp_path / "texts" / "empty.txt").touch()
    made = make(f"text:{tmp_path}/texts/*", tmp_path / "cache", train=100, validation=10)
    (summary,) = made.manifest["corpora"].values()
    assert summary["empty"] == 1
    assert "1 empty" in token_set.describe(made)
    assert "empty.txt" in token_set.describe(made)


# What cannot be had


def test_too_little_text_is_refused_with_what_there_is(corpus, tmp_path):
    with pytest.raises(InputError, match=r"has \d+ tokens to train on, 10000000 were asked for") as error:
        make(corpus[0], tmp_path, train=10_000_000)
    has = int(str(error.value).split(" has ")[1].split()[0])
    assert len(make(corpus[0], tmp_path, train=has).train) == has
    assert isinstance(error.value, TooLittleText)
    assert error.value.has == has
    assert "quickstart" not in str(error.value)  # any study may ask
    with pytest.raises(InputError, match=r"the held-out 3 % of .*data.validation=SOURCE or eval.windows=N"):
        make(corpus[0], tmp_path, validation=1_000_000)
    with pytest.raises(InputError, match=r"has \d+ tokens, .*eval.windows=N"):
        make(corpus[0], tmp_path, validation=1_000_000, validation_source="synthetic:bytes=1e5")


@pytest.mark.parametrize("value", [0, -1])
def test_no_tokens_at_all_cannot_be_asked_for(corpus, tmp_path, value):
    with pytest.raises(InputError, match=f"^train_tokens={value}: wanted at least 1$"):
        make(corpus[0], tmp_path, train=value)
    with pytest.raises(InputError, match=f"^validation_tokens={value}: wanted at least 1$"):
        make(corpus[0], tmp_path, validation=value)


def test_an_empty_source_is_an_unknown_one(tmp_path):
    with pytest.raises(InputError, match="unknown source ''; wanted python"):
        make("", tmp_path)
    with pytest.raises(InputError, match="unknown source ''; wanted python"):
        make("", tmp_path, validation_source="synthetic:bytes=1e5")


def test_a_single_document_leaves_nothing_to_evaluate_on(tmp_path):
    (tmp_path / "a.txt").write_text("one short text " * 50)
    with pytest.raises(InputError, match="have 0 tokens, 10 were asked for"):
        make(f"text:{tmp_path}/a.txt", tmp_path, tokenizer="bytes", n_vocab=257, train=10, validation=10)


def test_a_corpus_of_nothing_is_refused(tmp_path):
    (tmp_path / "a.txt").touch()
    with pytest.raises(InputError, match=r"holds no text \(1 empty, such as .*a.txt\)"):
        make(f"text:{tmp_path}/a.txt", tmp_path)


def test_a_bad_file_is_refused_by_another_process_in_one_line(corpus, tmp_path, monkeypatch):
    write_texts(tmp_path / "texts", 20)
    (tmp_path / "texts" / "bad.jsonl").write_bytes(b'{"text": "\xff"}')
    monkeypatch.setattr("scaling.data.documents.PART", 100)
    with pytest.raises(InputError, match=r"bad.jsonl, line 1: byte 0xff"):
        make(f"text:{tmp_path}/texts/*", tmp_path / "cache", workers=2)


def test_text_that_changed_is_told_by_its_content_whatever_its_size_and_time(tmp_path):
    write_texts(tmp_path / "texts", 800)
    source, cache = f"text:{tmp_path}/texts/*", tmp_path / "cache"
    first = make(source, cache, train=1_000, validation=100)
    (index,) = (cache / "index").iterdir()
    path = tmp_path / "texts" / "0.jsonl"
    status, text = path.stat(), path.read_text()
    path.write_text(text.replace("the ", "eht "))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    other = make(source, cache, train=1_000, validation=100)
    assert other.id != first.id
    # A disk that does not tell when a file was changed: the index of the first text is taken for that of the other.
    (new,) = (path for path in (cache / "index").iterdir() if path != index)
    shutil.rmtree(new)
    index.rename(new)
    told: list[str] = []
    longer = make(source, cache, train=150_000, validation=100, say=told.append)
    assert longer.id == other.id
    assert [line for line in told if "is not the text of its index, and is read anew" in line]
    path.write_text(text)  # restored, later
    assert make(source, cache, train=1_000, validation=100).id == first.id


def test_damaged_tokens_are_noticed(corpus, tmp_path):
    made = make(corpus[0], tmp_path)
    with open(made.folder / "train.bin", "r+b") as file:
        file.seek(1000)
        file.write(b"\0\1\2\3")
    with pytest.raises(InputError, match="block 0 of train is not what was written"):
        open_tokens(made.folder).verify()
    with open(made.folder / "train.bin", "r+b") as file:
        file.truncate(1000)
    with pytest.raises(InputError, match="missing or cut short"):
        _ = open_tokens(made.folder).train
    with pytest.raises(InputError, match="holds no prepared tokens"):
        open_tokens(tmp_path)
    path = made.folder / "manifest.json"
    right = path.read_text()
    other = right.replace('"tokens":', '"tokans":')
    for text in ("", right[:200], "[]", "{}", '{"format": 1}', other, right.replace('"id"', '"no id"'), "\x00", "null"):
        path.write_text(text)
        with pytest.raises(InputError, match=r"manifest.json.* (wanted|missing).*; delete .* and prepare again$"):
            open_tokens(made.folder)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(
        InputError, match=r"manifest.json: no text in UTF-8 .*; wanted .*; delete .* and prepare again$"
    ):
        open_tokens(made.folder)
    path.write_text(right)
    assert open_tokens(made.folder).manifest == made.manifest


# What happens when it is interrupted


def test_a_second_call_takes_milliseconds(corpus, tmp_path):
    make(corpus[0], tmp_path)
    lines = []
    began = time.process_time()
    made = make(corpus[0], tmp_path, say=lines.append)
    assert time.process_time() - began < 0.1
    assert not lines
    began = time.process_time()
    assert open_tokens(made.folder).manifest == made.manifest
    assert time.process_time() - began < 0.02


SCRIPT = """
import pathlib, sys
from scaling.data import documents, encoding
documents.PART = 100_000
encoding.BLOCK = 100_000
encoding.RUN = 10_000
encoding.IN_PROCESS = 0
if __name__ == "__main__":
    source, cache, workers = sys.argv[1:]
    print("begin", flush=True)
    encoding.prepare(source, "bpe", 320, train_tokens=300_000, validation_tokens=2_000, cache=pathlib.Path(cache),
                   workers=int(workers), say=lambda line: print(line, flush=True))
"""


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_killed_at_any_moment_it_ends_with_the_same_tokens(corpus, tmp_path, monkeypatch, workers):
    command = [sys.executable, tmp_path / "script.py", corpus[0]]
    command[1].write_text(SCRIPT)
    began = time.monotonic()
    subprocess.run([*command, tmp_path / "whole", str(workers)], check=True, stdout=subprocess.DEVNULL)
    whole_time = time.monotonic() - began
    rng = random.Random(0)
    for _ in range(3 * workers):
        child = subprocess.Popen(
            [*command, tmp_path / "killed", str(workers)], stdout=subprocess.PIPE, start_new_session=True
        )
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(rng.uniform(0, 0.8 * whole_time))
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate()
        for manifest in tmp_path.glob("killed/tokens/*/manifest.json"):
            open_tokens(manifest.parent).verify()  # what is there is whole
    subprocess.run([*command, tmp_path / "killed", str(workers)], check=True, stdout=subprocess.DEVNULL)
    (a,), (b,) = (list(tmp_path.glob(f"{name}/tokens/*")) for name in ("whole", "killed"))
    whole, killed = open_tokens(a), open_tokens(b)
    assert whole.id == killed.id
    np.testing.assert_array_equal(whole.train[:300_000], killed.train[:300_000])
    np.testing.assert_array_equal(whole.validation, killed.validation)
    killed.verify()
    assert {path.name for path in b.iterdir()} == {path.name for path in a.iterdir()}  # nothing left over


def test_finished_parts_are_not_read_again(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr("scaling.data.documents.PART", 60_000)
    monkeypatch.setattr(encoding, "BLOCK", 2**40)
    n_parts = len(open_corpus(corpus[0]).parts())
    encode_part, calls = encoding._encode_part, []

    def interrupted(task):
        calls.append(task[1])
        if len(calls) == 10:
            raise KeyboardInterrupt
        encode_part(task)

    monkeypatch.setattr(encoding, "_encode_part", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make(corpus[0], tmp_path, train=300_000, validation=100)
    interrupted_at = calls[-1]
    made = make(corpus[0], tmp_path, train=300_000, validation=100)
    train_calls = calls[: n_parts + 1]
    assert sorted(train_calls) == sorted([*range(n_parts), interrupted_at])
    made.verify()


def test_the_second_of_two_waits_and_finds_it_done(corpus, tmp_path):
    lines: list[str] = []
    make(corpus[0], tmp_path, train=1_000)
    (folder,) = tmp_path.glob("tokens/*")
    made: list[TokenSet] = []
    with disk.locked(folder, lines.append):
        second = threading.Thread(target=lambda: made.append(make(corpus[0], tmp_path, train=90_000, say=lines.append)))
        second.start()
        deadline = time.monotonic() + 10
        while not lines and time.monotonic() < deadline:
            time.sleep(0.01)
        assert lines == [f"waiting: another process is preparing {folder}"]
        assert not made
    second.join()
    assert len(made[0].train) > 90_000


def test_tokens_that_a_stopped_process_prepares_are_waited_for_until_its_lease_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "LEASE", 0.3)
    (tmp_path / "lock").write_text("process 7 on there")
    with (tmp_path / "lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        os.utime(tmp_path / "lock", (0, 0))  # it has no heart
        with (
            pytest.raises(InputError, match=r"kill -CONT 7\) or end it \(kill -9 7\) on there"),
            disk.locked(tmp_path, print),
        ):
            pass
    with disk.locked(tmp_path, pytest.fail):
        assert claims.age(tmp_path / "lock", tmp_path) < 100


def test_a_full_disk_ends_in_one_line_and_leaves_nothing_half_done(corpus, tmp_path):
    few = make(corpus[0], tmp_path, train=1_000)
    before = np.array(few.train)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    limited = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(InputError, match="no room left for") as error:
            make(corpus[0], tmp_path, train=200_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, limited)
    assert "\n" not in str(error.value)
    open_tokens(few.folder).verify()
    assert not list(few.folder.glob("work-*"))
    assert not [path for path in tmp_path.rglob(".*")]
    made = make(corpus[0], tmp_path, train=200_000)
    np.testing.assert_array_equal(made.train[: len(before)], before)


def test_a_disk_known_to_be_too_small_is_refused_before_the_work(corpus, tmp_path, monkeypatch):
    make(corpus[0], tmp_path, train=1_000)
    usage = shutil.disk_usage(tmp_path)._replace(free=1234)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(InputError, match=r"about .* are needed, 1.23 kB are free"):
        make(corpus[0], tmp_path, train=200_000)


def test_a_folder_that_cannot_be_written_to_is_named(corpus, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere" / "cache")
    folders = [tmp_path / "file" / "cache", tmp_path / "file", tmp_path / "dangling"]
    if Path("/proc/self").exists():  # where no folder can be made, whoever asks
        folders.append(Path("/proc/nowhere/cache"))
    for folder in folders:
        with pytest.raises(InputError, match=r"; set SCALING_CACHE to a folder you may write to$") as error:
            make(corpus[0], folder)
        assert str(error.value).startswith(f"{folder}: cannot be made (")
        assert "\n" not in str(error.value)


def test_a_file_in_the_way_inside_the_cache_ends_in_one_line(corpus, tmp_path):
    (tmp_path / "tokenizers").touch()
    with pytest.raises(InputError, match=r"tokenizers.*; set SCALING_CACHE to a folder you may write to$"):
        make(corpus[0], tmp_path)


def test_the_quickstart_corpus_is_ready_in_seconds(tmp_path):
    began = sum(os.times()[:4])  # processor time, of child processes too: others may be at work here
    made = make("python", tmp_path, train=1_200_000, validation=64_000, n_vocab=512, workers=0)
    assert sum(os.times()[:4]) - began < 30  # 8 s; on two idle cores 6 s pass
    assert len(made.train) > 1_200_000
    assert len(made.validation) > SPAN
    assert made.manifest["validation"]["bytes_in_corpus"] > 1e6
