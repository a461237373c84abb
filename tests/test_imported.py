"""Tokens that were made elsewhere are taken as they are, or refused in one line."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scaling.data.encoding import prepare
from scaling.data.imported import import_tokens
from scaling.data.token_set import TokenSet, describe
from scaling.data.tokenizer import bytes_tokenizer
from scaling.errors import InputError

EOS = 4


def ids(n_documents: int, seed: int = 0, n_vocab: int = 300) -> np.ndarray:
    """Documents of 10 to 60 ids, each ended by EOS."""
    rng = np.random.default_rng(seed)
    documents = (rng.integers(5, n_vocab, rng.integers(10, 60)) for _ in range(n_documents))
    return np.concatenate([np.append(document, EOS) for document in documents])


def take(path: Path | str, folder: Path, **given: Any) -> TokenSet:
    options: dict[str, Any] = {"n_vocab": 300, "eos": EOS, "bytes_per_token": 4.0, "say": lambda line: None}
    return import_tokens(str(path), cache=folder / "cache", **options | given)


def test_ids_stay_in_their_order_and_three_percent_of_the_documents_are_held_out(tmp_path):
    given = ids(2000)
    twice = np.concatenate([given, given])  # equal documents are on one side
    twice.astype("<u2").tofile(tmp_path / "train.bin")
    made = take(tmp_path / "train.bin", tmp_path, dtype="u16")
    held = {
        tuple(document) for document in np.split(np.array(made.validation), np.flatnonzero(made.validation == EOS) + 1)
    }
    documents = [tuple(document) for document in np.split(twice, np.flatnonzero(twice == EOS) + 1)][:-1]
    assert made.train.tolist() == [id for document in documents if document not in held for id in document]
    assert made.validation.tolist() == [id for document in documents if document in held for id in document]
    assert 0.015 < made.manifest["validation"]["documents"] / 4000 < 0.05
    assert made.manifest["train"]["longest"] == max(map(len, documents))
    made.verify()


def test_every_way_of_keeping_ids_gives_the_same_tokens(tmp_path):
    train, held = ids(300), ids(20, seed=1)
    half = np.flatnonzero(train == EOS)[150] + 1
    np.save(tmp_path / "train.npy", train.astype(np.int32))
    np.save(tmp_path / "two.npy", train.reshape(1, -1).astype(np.uint16))
    train.astype("<u4").tofile(tmp_path / "train.bin")
    for n, part in enumerate([train[:half], train[half:]]):
        header = np.zeros(256, "<i4")
        header[:3] = 20240520, 1, len(part)
        (tmp_path / f"shard_{n}.bin").write_bytes(header.tobytes() + part.astype("<u2").tobytes())
    np.save(tmp_path / "held.npy", held)
    found = [
        take(tmp_path / name, tmp_path, validation=str(tmp_path / "held.npy"), dtype=dtype)
        for name, dtype in (("train.npy", ""), ("two.npy", ""), ("train.bin", "u32"), ("shard_*.bin", ""))
    ]
    assert len({made.id for made in found}) == 1
    np.testing.assert_array_equal(found[0].train, train)
    np.testing.assert_array_equal(found[0].validation, held)
    assert found[0].train.dtype == np.uint16


def test_they_are_a_source_of_runs_by_their_id(tmp_path):
    np.save(tmp_path / "a.npy", ids(600))
    made = take(tmp_path / "a.npy", tmp_path)
    options: dict[str, Any] = dict(train_tokens=1000, validation_tokens=50, cache=tmp_path / "cache", say=print)
    assert prepare(f"tokens:{made.id}", "bpe", 300, **options).id == made.id  # bpe: nothing was said
    with pytest.raises(InputError, match=r"use model.n_vocab=300"):
        prepare(f"tokens:{made.id}", "bpe", 512, **options)
    options["train_tokens"] = 10**6
    with pytest.raises(InputError, match="import more: scaling corpus import"):
        prepare(f"tokens:{made.id}", "bpe", 300, **options)
    assert made.bytes_of(np.array([5, 6, EOS])) == 8
    assert made.manifest["train"]["bytes_per_token"] == pytest.approx(4 * np.mean(np.array(made.train) != EOS))
    assert "imported, 300 tokens" in describe(made)
    with pytest.raises(InputError, match="imported without their tokenizer"):
        _ = made.tokenizer


def test_with_their_tokenizer_they_give_the_text_back(tmp_path):
    bytes_tokenizer().save(tmp_path / "tokenizer.model")
    texts = [f"Document {i}. " * (1 + i % 7) for i in range(200)]
    np.save(tmp_path / "a.npy", np.concatenate(bytes_tokenizer().encode_batch(texts)))
    made = take(tmp_path / "a.npy", tmp_path, n_vocab=260, eos=None, tokenizer=str(tmp_path / "tokenizer.model"))
    assert made.separator == 256
    assert made.tokenizer.decode(made.train[:13]).startswith("Document")
    parts = made.manifest["train"], made.manifest["validation"]
    assert sum(part["bytes"] for part in parts) == sum(map(len, texts))
    said: list[str] = []
    shifted = (np.concatenate(bytes_tokenizer().encode_batch(texts)) + 1) % 257  # not of this tokenizer
    np.save(tmp_path / "b.npy", np.where(shifted == 0, 256, shifted.clip(128)))
    take(
        tmp_path / "b.npy",
        tmp_path,
        n_vocab=257,
        eos=None,
        tokenizer=str(tmp_path / "tokenizer.model"),
        say=said.append,
    )
    assert any("is it the one that made them?" in line for line in said)


@pytest.mark.parametrize(
    ("name", "values", "given", "message"),
    [
        ("a.bin", ids(50).astype("<u2"), {}, "does not say of what type its ids are; give --dtype u16 | u32"),
        ("a.bin", ids(50).astype("<u4"), {"dtype": "u16"}, "every second id is 0, so it holds four bytes per id"),
        (
            "a.bin",
            np.resize(ids(50), 1000).astype("<u2"),
            {"dtype": "u32"},
            "wanted 0 to 299; the vocabulary is larger",
        ),
        ("a.bin", np.zeros(7, "u1"), {"dtype": "u16"}, "7 bytes; wanted a multiple of 2 bytes, as u16 has"),
        ("a.npy", ids(50), {"n_vocab": 200}, "wanted 0 to 199; the vocabulary is larger"),
        ("a.npy", ids(50) - 9, {}, "is -"),
        ("a.npy", ids(50).astype(float), {}, "holds float64; wanted whole numbers"),
        ("a.npy", np.array(["a", "b"]), {}, "wanted whole numbers"),
        ("a.npy", ids(50), {"eos": 300}, "--eos 300 is no id of a vocabulary of 300; wanted 0 to 299"),
        ("a.npy", ids(50), {"eos": None}, "which id ends a document? give --eos ID"),
        ("a.npy", ids(50), {"bytes_per_token": None}, "give --tokenizer FILE, or --bytes-per-token X"),
        ("a.npy", ids(1), {}, "nothing is left for "),
    ],
)
def test_files_that_are_no_such_ids_end_in_one_line(tmp_path, name, values, given, message):
    if name.endswith(".npy"):
        np.save(tmp_path / name, values)
    else:
        values.tofile(tmp_path / name)
    with pytest.raises(InputError, match=re.escape(message)) as error:
        take(tmp_path / name, tmp_path, **given)
    assert "\n" not in str(error.value)


def test_arrays_of_objects_are_not_unpickled(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(InputError, match="not a readable array"):
        take(tmp_path / "a.npy", tmp_path)


def test_a_file_cut_short_is_told_by_its_header(tmp_path):
    header = np.zeros(256, "<i4")
    header[:3] = 20240520, 1, 500
    (tmp_path / "a.bin").write_bytes(header.tobytes() + ids(5).astype("<u2").tobytes())
    with pytest.raises(InputError, match="wanted 500 ids, as it says: it is cut short"):
        take(tmp_path / "a.bin", tmp_path)
