"""Pictures and glyphs as sources: counts, order, split and identity are exact, and hostile files are one line."""

import gzip
import struct

import numpy as np
import pytest

from scaling.config import DataConfig, EvalConfig, RunConfig
from scaling.data import encoding, glyphs, images, tasks
from scaling.data.batches import Batches, validation_windows
from scaling.data.corpora import open_corpus, vocabulary
from scaling.data.documents import read
from scaling.data.tokenizer import Tokenizer, characters_tokenizer
from scaling.errors import InputError
from scaling.ladder import transformer

N, SIDE = 120, 8


def idx(pixels: np.ndarray, magic: int = images.MAGIC) -> bytes:
    return struct.pack(">4I", magic, *pixels.shape) + pixels.astype(np.uint8).tobytes()


def drawn(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, SIDE, SIDE)).astype(np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A set as MNIST's: a part by gzip and one as it is; two of its test pictures are trained on too."""
    path = tmp_path_factory.mktemp("set")
    train, test = drawn(N, 0), drawn(40, 1)
    test[:2] = train[:2]
    (path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(train)))
    (path / "t10k-images-idx3-ubyte").write_bytes(idx(test))
    return path


@pytest.fixture(scope="module")
def font(tmp_path_factory):
    """Every hundredth syllable, of a glyph that is told by its number; two others, one of half the width."""
    rows = [f"{point:04X}:{point:064X}" for point in range(0xAC00, 0xD7A4, 100)]
    path = tmp_path_factory.mktemp("font") / "mine.hex"
    path.write_text("\n".join([*rows, "0041:" + "18" * 16, "4E00:" + "0F" * 32]) + "\n")
    return path


def texts(source: str) -> list[str]:
    return [document.text for part in open_corpus(source).parts() for _, document in read(part)]


def prepared(source: str, n_vocab: int, cache, *, held_out: str = "", tokens: int = 65 * 64, validation: int = 65 * 20):
    return encoding.prepare(
        source, "bpe", n_vocab, train_tokens=tokens, validation_tokens=validation, validation_source=held_out,
        cache=cache, say=lambda line: None,
    )  # fmt: skip


@pytest.mark.parametrize("levels", [16, 256])
@pytest.mark.parametrize("size", [2, 8])
def test_a_document_is_a_picture_row_after_row_and_a_pixel_the_floor_of_its_mean(folder, levels, size):
    found = texts(f"images:{folder}@{size}?levels={levels}")
    raw = drawn(N, 0).astype(float)
    step = SIDE // size
    mean = np.stack([[raw[:, i * step : (i + 1) * step, j * step : (j + 1) * step].mean((1, 2)) for j in range(size)]
                     for i in range(size)])  # fmt: skip
    expected = np.floor(mean * levels / 256).astype(int).transpose(2, 0, 1)
    alphabet = images.alphabet(levels)
    assert len(set(alphabet)) == levels
    assert [[alphabet.index(c) for c in text] for text in found] == expected.reshape(N, -1).tolist()


def test_a_mean_of_many_pixels_is_exact(tmp_path):
    """A sum of 512 x 512 bytes times 256 is more than 32 bits hold."""
    (tmp_path / "white").write_bytes(idx(np.full((1, 512, 512), 255)))
    assert images.ImageCorpus.of(f"images:{tmp_path / 'white'}@1?levels=256").pixels().item() == 255


def test_an_example_is_one_picture_after_the_token_that_begins_it_and_D_is_exact(folder, tmp_path):
    """n_ctx = R^2 + 1: windows of the stream, held out and trained on, never straddle two pictures."""
    source = f"images:{folder}"
    tokens = prepared(source, 17, tmp_path, held_out=f"{source}?part=test")
    n_ctx = SIDE**2 + 1
    assert (tokens.n_vocab, tokens.separator) == (17, 16)
    every = Batches(tokens.train, n_ctx, 64 * n_ctx, 0, tokens.separator).examples(0, 64)
    held_out = validation_windows(tokens.validation, n_ctx, 20, tokens.separator)
    for windows in (every, held_out):
        assert (windows[:, [0, -1]] == tokens.separator).all()
        assert (windows[:, 1:-1] != tokens.separator).all()
    shown = {tokens.tokenizer.decode(row[1:-1]) for row in every}
    assert len(shown) == 64
    assert shown <= set(texts(source))


def test_what_is_held_out_is_not_trained_on_though_the_set_has_it_twice(folder, tmp_path):
    source = f"images:{folder}"
    test = set(texts(f"{source}?part=test"))
    assert len(test & set(texts(source))) == 2
    tokens = prepared(source, 17, tmp_path, held_out=f"{source}?part=test", tokens=(N - 2) * 65)
    assert tokens.manifest["train"]["documents_in_corpus"] == N - 2
    stream = tokens.train[: (N - 2) * 65].reshape(-1, 65)
    assert not {tokens.tokenizer.decode(row[:-1]) for row in stream} & test


def test_a_set_is_known_by_its_pictures_and_not_by_its_place(folder, tmp_path):
    (tmp_path / "copy.gz").write_bytes((folder / "train-images-idx3-ubyte.gz").read_bytes())
    here, there = open_corpus(f"images:{folder}"), open_corpus(f"images:{tmp_path / 'copy.gz'}")
    assert here.signature() == there.signature()
    others = drawn(N, 0)
    others[5, 3, 3] ^= 0x80
    (tmp_path / "other").write_bytes(idx(others))
    assert open_corpus(f"images:{tmp_path / 'other'}").signature() != here.signature()
    assert open_corpus(f"images:{folder}?levels=256").signature() != here.signature()


def test_there_is_no_tokenizer_to_choose(folder, font, tmp_path):
    for source, size in (
        (f"images:{folder}", 17),
        (f"images:{folder}?levels=256", 257),
        (f"glyphs:hangul?font={font}", len(glyphs.ALPHABET) + 1),
    ):
        assert vocabulary(source) == size
        with pytest.raises(InputError, match=f"use n_vocab={size}"):
            prepared(source, 512, tmp_path)
    assert vocabulary("python") is None


def hostile(name: str, path):
    good = idx(drawn(4, 0))
    contents = {
        "empty": b"",
        "text": b"not an image\n" * 9,
        "labels": struct.pack(">2I", 0x00000801, 4) + bytes(4),
        "cut": good[:-1],
        "longer": good + b"\0",
        "lying": struct.pack(">4I", images.MAGIC, 2**31, 2**10, 2**10) + bytes(9),
        "oblong": idx(np.zeros((4, 3, 5), np.uint8)),
        "none": idx(np.zeros((0, 8, 8), np.uint8)),
        "gzip": gzip.compress(good)[:-9],
        "no gzip": b"\x1f\x8b" + bytes(40),
    }
    (path / "file").write_bytes(contents[name])
    return f"images:{path / 'file'}"


@pytest.mark.parametrize(
    "name", ["empty", "text", "labels", "cut", "longer", "lying", "oblong", "none", "gzip", "no gzip"]
)
def test_a_file_that_is_no_set_of_pictures_is_refused_in_a_line(name, tmp_path):
    with pytest.raises(InputError) as said:
        open_corpus(hostile(name, tmp_path))
    assert "\n" not in str(said.value)
    assert str(tmp_path / "file") in str(said.value)


@pytest.mark.parametrize(
    "source",
    ["images:", "images:digits@4", "images:digits?levels=16", "images:{}@3", "images:{}@0", "images:{}?levels=17",
     "images:{}?part=all", "images:{}?colour=1", "images:{}/none.gz", "images:{}/t10k-images-idx3-ubyte?part=test",
     "glyphs:", "glyphs:kanji", "glyphs:hangul?captions=2", "glyphs:hangul?font={}/t10k-images-idx3-ubyte",
     "glyphs:hangul?font={}/none.hex", "images:{}\0", "glyphs:hangul?font={}\0", "images:~nobody-of-this-name/a",
     "images:{}?part=test&part=train", "glyphs:hangul?captions=0&captions=0"],
)  # fmt: skip
def test_a_source_that_cannot_be_is_refused_in_a_line(source, folder):
    with pytest.raises(InputError) as said:
        open_corpus(source.format(folder))
    assert "\n" not in str(said.value)


def test_a_pair_is_a_name_and_its_glyph_and_without_captions_the_glyph_alone(font):
    pairs = {text for part in ("train", "test") for text in texts(f"glyphs:hangul?font={font}&part={part}")}
    bare = {text for part in ("train", "test") for text in texts(f"glyphs:hangul?captions=0&font={font}&part={part}")}
    assert len(pairs) == len(bare) == len(range(0xAC00, 0xD7A4, 100))
    assert {len(text) for text in pairs | bare} == {glyphs.parse("glyphs:hangul").width}
    assert {text.partition(glyphs.MARK)[2] for text in pairs} == {text.partition(glyphs.MARK)[2] for text in bare}
    assert {text.partition(glyphs.MARK)[0].strip() for text in bare} == {""}
    (first,) = [text for text in pairs if text.startswith("     GA")]
    digits = first.partition(glyphs.MARK)[2].translate(str.maketrans(glyphs.NIBBLES, "0123456789abcdef"))
    assert int(digits, 16) == 0xAC00
    (letter,) = texts(f"glyphs:others?font={font}") or texts(f"glyphs:others?font={font}&part=test")
    assert letter.strip().startswith("LATIN CAPITAL LETTER A=")
    assert letter.endswith("biaa" * 16)  # 0x18 in the left half


def test_equal_glyphs_are_one_with_captions_and_without(tmp_path):
    """Otherwise the captions would keep copies in training and in the test that are dropped without them."""
    path = tmp_path / "twice.hex"
    path.write_text("".join(f"{point:04X}:{point // 3:064X}\n" for point in range(0xAC00, 0xAC00 + 300)))
    for captions in (0, 1):
        train, test = (
            [text[-64:] for text in texts(f"glyphs:hangul?captions={captions}&font={path}&part={part}")]
            for part in ("train", "test")
        )
        assert len({*train, *test}) == len(train) + len(test) == len({p // 3 for p in range(0xAC00, 0xAC00 + 300)})


@pytest.mark.parametrize("line", ["0041:+" + "0" * 31, "0041:" + "0_0" + "0" * 29, "0041:" + "\u0663" * 32,
                                  "-041:" + "0" * 32, "0_41:" + "0" * 32, "110000:" + "0" * 32,
                                  "0041:" + "0" * 33])  # fmt: skip
def test_a_line_of_a_font_has_hexadecimal_digits_alone(line, tmp_path):
    (tmp_path / "bad.hex").write_text(f"AC00:{'0' * 64}\n{line}\n")
    with pytest.raises(InputError, match="line 2"):
        open_corpus(f"glyphs:hangul?font={tmp_path / 'bad.hex'}")


def test_a_pair_is_on_the_same_side_with_its_name_and_without(font):
    def pictures(source: str) -> set[str]:
        return {text.partition(glyphs.MARK)[2] for text in texts(source)}

    for part in ("train", "test"):
        named, bare = (pictures(f"glyphs:hangul?captions={k}&font={font}&part={part}") for k in (1, 0))
        assert named == bare
        assert named
    assert not pictures(f"glyphs:hangul?font={font}") & pictures(f"glyphs:hangul?font={font}&part=test")


def test_the_loss_may_be_that_of_the_glyph_alone_and_no_other_mark_will_do(font):
    source = f"glyphs:hangul?font={font}"
    mark = glyphs.ALPHABET.index(glyphs.MARK)
    tokenizer = characters_tokenizer(glyphs.ALPHABET)

    def check(answers_after: int, where: str = source, tokenizer: Tokenizer | None = tokenizer) -> None:
        run = RunConfig(transformer(8, 1, 4, n_vocab=56, n_ctx=73), tokens=73 * 16, answers_after=answers_after,
                        data=DataConfig(where), eval=EvalConfig(windows=4))  # fmt: skip
        tasks.check(run, tokenizer)

    check(mark)
    with pytest.raises(InputError, match=f"use answers_after={mark}"):
        check(mark + 1)
    with pytest.raises(InputError, match="not of tasks alone"):
        check(mark, "python")


def test_the_digits_are_1797_and_a_sixth_of_them_is_held_out():
    if why := images.missing("images:digits"):
        pytest.skip(why)
    train, test = texts("images:digits"), texts("images:digits?part=test")
    assert len(train) + len(test) == 1797
    assert len(test) == pytest.approx(1797 / 6, abs=40)
    assert not set(train) & set(test)
    assert {len(text) for text in train} == {64}
    assert set("".join(train)) == set(images.alphabet(17))


@pytest.mark.parametrize(("source", "train", "test"), [("images:fashion-mnist@7", 60_000, 10_000)])
def test_fashion_mnist_has_as_many_pictures_as_it_says(source, train, test):
    if why := images.missing(source):
        pytest.skip(why)
    assert images.ImageCorpus.of(source).pixels().shape == (train, 7, 7)
    assert images.ImageCorpus.of(f"{source}?part=test").pixels().shape == (test, 7, 7)


def test_unifont_has_every_syllable_and_no_two_look_alike():
    if why := glyphs.missing("glyphs:hangul"):
        pytest.skip(why)
    every = texts("glyphs:hangul?captions=0") + texts("glyphs:hangul?captions=0&part=test")
    assert len(set(every)) == len(every) == 11_172
