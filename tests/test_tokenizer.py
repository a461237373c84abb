"""Tokens give the text back, exactly, whatever it is."""

import io
import pickle

import numpy as np
import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st

from scaling.data.tokenizer import Tokenizer, bytes_tokenizer, train_bpe
from scaling.errors import InputError

CODE = "def area(width, height):\n    '''Of a rectangle.'''\n    if width < 0:\n        raise ValueError(width)\n" * 3
ENGLISH = "It was the best of times, it was the worst of times, it was the age of wisdom.\n\n"
WORLD = "Ænima 東京都 Ελλάδα Привет мир مرحبا 🙂🙃 naïve café — “quoted”…\u00a0\u2581\n"
SAMPLE = [
    CODE + f"x_{i} = {i * i} + area({i}, {i + 1})\n\tindented = {i}" + ENGLISH * (i % 3) + WORLD for i in range(200)
]
HOSTILE = [
    "",
    " ",
    "  leading and trailing  ",
    "\n\n\t\r\n\x0b\x0c\x1c\x85\u2028",
    "a\0b\x01\x7f",
    "\ufeffbyte order mark",
    "<s></s><unk><pad><0x41> \u2047",
    "\u2581\u2581 a\u2581 \u2585",
    "e\u0301 \u00e9 \u212b \u00c5 ﬁ ½",
    "👩‍👩‍👧‍👦 \U0010ffff \ufffd",
    "x" * 20_000,
    " " * 5_000 + "\t" * 5_000,
]


@pytest.fixture(scope="module", params=["bytes", "bpe 300", "bpe 500"])
def tokenizer(request) -> Tokenizer:
    kind, _, n_vocab = request.param.partition(" ")
    return bytes_tokenizer() if kind == "bytes" else train_bpe(SAMPLE, int(n_vocab))


@pytest.mark.parametrize("text", HOSTILE + SAMPLE[:3])
def test_hostile_text_comes_back_unchanged(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_any_text_comes_back_unchanged_and_its_bytes_add_up(tokenizer):
    @given(st.text(st.characters(codec="utf-8") | st.sampled_from(" \n\t\u2581\u2585<>s/0x"), max_size=200))
    def check(text):
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text
        assert tokenizer.n_bytes[ids].sum() == len(text.encode())
        assert tokenizer.eos not in ids
        assert ids.dtype == tokenizer.dtype

    check()


def test_a_separator_ends_every_document_and_stands_for_no_bytes(tokenizer):
    first, empty = tokenizer.encode_batch(["ab", ""])
    assert first[-1] == tokenizer.eos
    np.testing.assert_array_equal(empty, [tokenizer.eos])
    assert tokenizer.n_bytes[tokenizer.eos] == 0
    assert tokenizer.decode(np.concatenate([first, first])) == "abab"


def test_the_vocabulary_has_the_size_asked_for(tokenizer):
    assert tokenizer.n_vocab == len(tokenizer.pieces) == len(tokenizer.n_bytes) in (257, 300, 500)


def test_a_larger_vocabulary_spells_with_fewer_tokens():
    small, large = (train_bpe(SAMPLE, n) for n in (300, 500))
    text = "".join(SAMPLE)
    assert len(large.encode(text)) < len(small.encode(text)) < len(bytes_tokenizer().encode(text))


def test_a_small_vocabulary_holds_words_even_where_characters_abound():
    # 2,000 distinct characters, each rarer than the words: they must not crowd out everything else.
    sample = [ENGLISH * 5 + "".join(map(chr, range(0x4E00 + i * 20, 0x4E00 + i * 20 + 20))) for i in range(100)]
    tokenizer = train_bpe(sample, 320)
    assert sum(len(piece.decode("utf-8", "replace")) > 1 for piece in tokenizer.pieces) >= 25


def test_training_twice_gives_the_same_model():
    a, b = train_bpe(iter(SAMPLE), 400), train_bpe(list(SAMPLE), 400)
    assert a.model == b.model
    assert a.hash == b.hash != train_bpe(SAMPLE, 401).hash


def test_a_tokenizer_survives_disk_and_pickle(tokenizer, tmp_path):
    tokenizer.save(tmp_path / "model")
    for copy in (Tokenizer.load(tmp_path / "model"), pickle.loads(pickle.dumps(tokenizer))):
        assert copy == tokenizer
        assert copy.hash == tokenizer.hash
        np.testing.assert_array_equal(copy.encode(CODE), tokenizer.encode(CODE))


@pytest.mark.parametrize(
    ("sample", "n_vocab", "message"),
    [
        (SAMPLE, 299, "a BPE vocabulary of 299 is too small"),
        (["short"], 1000, "5 bytes of text do not give a BPE vocabulary of 1000"),
        ([], 300, "no text to learn a vocabulary from"),
        (["", "\t"], 300, "no text to learn a vocabulary from"),
    ],
)
def test_impossible_vocabularies_end_in_one_line(sample, n_vocab, message):
    with pytest.raises(InputError, match=message) as error:
        train_bpe(sample, n_vocab)
    assert "\n" not in str(error.value)


def test_models_that_lose_text_are_refused(tmp_path):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SAMPLE), model_writer=model, vocab_size=500, minloglevel=2, hard_vocab_limit=False
    )
    (tmp_path / "lossy.model").write_bytes(model.getvalue())
    with pytest.raises(InputError, match="does not give text back unchanged"):
        Tokenizer.load(tmp_path / "lossy.model")
    (tmp_path / "not.model").write_bytes(b"plain text")
    with pytest.raises(InputError, match="is not a SentencePiece model"):
        Tokenizer.load(tmp_path / "not.model")
    with pytest.raises(InputError, match="no such file"):
        Tokenizer.load(tmp_path / "absent.model")
