"""Tokens give the text back, exactly, whatever it is."""

import base64
import io
import pickle
import sys

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
    for copy in (Tokenizer.load(str(tmp_path / "model")), pickle.loads(pickle.dumps(tokenizer))):
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
        Tokenizer.load(str(tmp_path / "lossy.model"))
    (tmp_path / "not.model").write_bytes(b"plain text")
    with pytest.raises(InputError, match="is not a SentencePiece model"):
        Tokenizer.load(str(tmp_path / "not.model"))
    with pytest.raises(InputError, match="no such file"):
        Tokenizer.load(str(tmp_path / "absent.model"))


# Vocabularies that other projects made

BOOK = [
    f"The {word} said 'don't' {n} times to the {word}s of \u00fcber-{word}\n\n"
    for n in range(90)
    for word in SAMPLE[0].split()[:9]
]


@pytest.fixture
def huggingface(tmp_path):
    """A tokenizer.json in the manner of GPT-2, trained here."""
    tokenizers = pytest.importorskip("tokenizers")
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<|endoftext|>", "<|pad|>"], initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(BOOK, trainer)
    made.save(str(tmp_path / "tokenizer.json"))
    return made, tmp_path / "tokenizer.json"


def test_a_tokenizer_json_encodes_as_its_own_package_does(huggingface, tmp_path):
    theirs, path = huggingface
    ours = Tokenizer.load(str(path))
    assert (ours.kind, ours.n_vocab, ours.eos) == ("tokenizers", 400, theirs.token_to_id("<|endoftext|>"))
    text = "".join(BOOK[:20])
    assert ours.encode(text).tolist() == theirs.encode(text).ids
    for text in [*HOSTILE, "a <|endoftext|> that is text", *SAMPLE[:2]]:
        ids = ours.encode(text)
        assert ours.decode(ids) == text
        assert ours.n_bytes[ids].sum() == len(text.encode())
    assert ours.n_bytes[ours.eos] == 0
    ours.save(tmp_path / "kept")
    for copy in (Tokenizer.load(str(tmp_path / "kept")), pickle.loads(pickle.dumps(ours))):
        assert (copy.hash, copy.encode("one two").tolist()) == (ours.hash, ours.encode("one two").tolist())


def test_the_end_of_text_of_a_tokenizer_json_is_named_beside_it_or_asked_for(huggingface):
    theirs, path = huggingface
    (path.parent / "tokenizer_config.json").write_text('{"eos_token": {"content": "<|pad|>"}}')
    assert Tokenizer.load(str(path)).eos == theirs.token_to_id("<|pad|>")
    assert Tokenizer.load(f"{path}?eos=<|endoftext|>").eos == theirs.token_to_id("<|endoftext|>")
    with pytest.raises(InputError, match="which token ends a text"):
        Tokenizer.load(f"{path}?eos=<stop>")


def test_a_tokenizer_json_that_changes_text_is_refused(huggingface):
    tokenizers = pytest.importorskip("tokenizers")
    theirs, path = huggingface
    theirs.normalizer = tokenizers.normalizers.Lowercase()
    theirs.save(str(path))
    with pytest.raises(InputError, match=r"does not give text back unchanged .'A .* becomes 'a "):
        Tokenizer.load(str(path))
    path.write_text('{"model": 5}')
    with pytest.raises(InputError, match=r"is not a tokenizer\.json"):
        Tokenizer.load(str(path))


def test_a_tiktoken_file_encodes_by_its_ranks(tmp_path):
    tiktoken = pytest.importorskip("tiktoken")
    merges = [b"th", b"he", b"the", b" the", b"an", b"and", b" and", b"\n\n"]
    ranks = {piece: rank for rank, piece in enumerate([*(bytes([byte]) for byte in range(256)), *merges])}
    lines = b"".join(base64.b64encode(piece) + b" %d\n" % rank for piece, rank in ranks.items())
    (tmp_path / "mine.tiktoken").write_bytes(lines)
    with pytest.raises(InputError, match=r"does not say how text is split; name an encoding .*cl100k_base"):
        Tokenizer.load(str(tmp_path / "mine.tiktoken"))
    ours = Tokenizer.load(f"{tmp_path}/mine.tiktoken?encoding=gpt2")
    assert (ours.kind, ours.n_vocab, ours.eos) == ("tiktoken", 265, 264)
    assert ours.encode("the and the\n\n").tolist() == [ranks[piece] for piece in (b"the", b" and", b" the", b"\n\n")]
    pattern = tiktoken.Encoding("mine", pat_str=r"\p{L}+|\P{L}", mergeable_ranks=ranks, special_tokens={})
    assert pattern.encode("the and the") != ours.encode("the and the").tolist()  # the pattern counts
    for text in [*HOSTILE, "a <|endoftext|> that is text"]:
        assert ours.decode(pickle.loads(pickle.dumps(ours)).encode(text)) == text
    (tmp_path / "mine.tiktoken").write_bytes(lines[:1000])
    with pytest.raises(InputError, match="is damaged"):
        Tokenizer.load(f"{tmp_path}/mine.tiktoken?encoding=gpt2")


@pytest.mark.parametrize(("name", "content"), [("tokenizers", b'{"model": {}}'), ("tiktoken", b"IQ== 0\n")])
def test_a_package_that_is_absent_is_named(tmp_path, monkeypatch, name, content):
    monkeypatch.setitem(sys.modules, name, None)
    (tmp_path / "given").write_bytes(content)
    with pytest.raises(InputError, match=f"needs the package {name}; install it .pip install {name}."):
        Tokenizer.load(str(tmp_path / "given"))
