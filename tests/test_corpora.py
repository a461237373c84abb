"""Every source yields its documents, and says in one line what is wrong with it."""

import gzip
import json
import pickle

import numpy as np
import pyarrow
import pyarrow.feather
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling.data import documents as reading
from scaling.data import text_files
from scaling.data.corpora import open_corpus
from scaling.data.documents import PIECE, Document, read
from scaling.data.synthetic import Language
from scaling.errors import InputError

ROWS = [{"text": f"document {i}\nwith ünïcode", "id": f"d{i}"} for i in range(50)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()


def zstd(data: bytes) -> bytes:
    return pyarrow.compress(data, "zstd", asbytes=True)


def documents(source: str) -> list[Document]:
    return [document for part in open_corpus(source).parts() for _, document in read(part)]


def complaint(source: str) -> str:
    with pytest.raises(InputError) as error:
        documents(source)
    assert "\n" not in str(error.value)
    return str(error.value)


def write_rows(path, rows=ROWS):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    if path.name.endswith(".gz"):
        lines = gzip.compress(lines)
    elif path.name.endswith(".zst"):
        half = len(lines) // 2  # two frames, as appending writers leave them
        lines = zstd(lines[:half]) + zstd(lines[half:])
    elif path.name.endswith((".arrow", ".feather")):
        pyarrow.feather.write_feather(pyarrow.Table.from_pylist(rows), str(path), chunksize=7)
        return
    elif path.name.endswith(".parquet"):
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=7)
        return
    path.write_bytes(lines)


# Files of text


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.parquet"])
def test_rows_are_documents_with_their_ids(tmp_path, name):
    write_rows(tmp_path / name)
    found = documents(f"text:{tmp_path / name}")
    assert [(d.text, d.id) for d in found] == [(row["text"], row["id"]) for row in ROWS]
    assert {d.group for d in found} == {""}


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.parquet"])
def test_rows_without_an_id_get_different_ones(tmp_path, name):
    write_rows(tmp_path / name, [{"text": row["text"]} for row in ROWS])
    assert len({d.id for d in documents(f"text:{tmp_path / name}")}) == 50


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.txt.gz"])
def test_a_short_file_is_one_document_byte_for_byte(tmp_path, name):
    text = "\ufeffWindows\r\n\r\nlines \u2028 and a tab\t\n\n"
    data = text.encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    (document,) = documents(f"text:{tmp_path / name}")
    assert document == Document(str(tmp_path / name), text, "")


def test_a_file_too_long_to_be_held_is_cut_at_paragraphs_into_pieces_that_stand_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "WHOLE", 10**5)
    text = "".join(f"Paragraph {i}. " + "Ä sentence. " * (i % 90) + "\n\n" for i in range(1500))
    (tmp_path / "book.txt").write_text(text)
    pieces = documents(f"text:{tmp_path}/*.txt")
    assert "".join(piece.text for piece in pieces) == text
    assert all(len(piece.text) <= PIECE and piece.text.endswith("\n\n") for piece in pieces)
    assert {piece.group for piece in pieces} == {""}
    assert len(pieces) > 20


@given(st.lists(st.text(st.sampled_from("ab \n"), max_size=50).map(lambda text: text * 700), max_size=12))
def test_pieces_are_the_text_however_it_arrives(blocks):
    pieces = list(reading.pieces(iter(blocks)))
    assert "".join(pieces) == "".join(blocks)
    assert all(0 < len(piece) <= PIECE for piece in pieces)
    assert pieces == list(reading.pieces(iter(["".join(blocks)])))


def test_characters_cut_by_a_block_are_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(text_files, "BLOCK", 7)
    text = "日本語 🙂 " * 50
    (tmp_path / "a.txt").write_text(text)
    assert "".join(d.text for d in documents(f"text:{tmp_path}/a.txt")) == text


@pytest.mark.parametrize("part", [1, 10, 33, 47, 1000])
def test_every_line_is_read_once_however_the_file_is_cut(tmp_path, monkeypatch, part):
    monkeypatch.setattr(reading, "PART", part)
    (tmp_path / "a.jsonl").write_bytes(LINES.replace(b'{"text": "document 7', b'\n  \n{"text": "document 7'))
    assert [d.id for d in documents(f"text:{tmp_path}/a.jsonl")] == [row["id"] for row in ROWS]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.parquet", "a.arrow", "a.txt"])
def test_a_document_is_found_again_by_its_place(tmp_path, name):
    if name == "a.txt":
        (tmp_path / name).write_text("A line of text.\n" * 9000)
    else:
        write_rows(tmp_path / name)
    write_rows(tmp_path / "b.jsonl")
    for part in open_corpus(f"text:{tmp_path}/*").parts():
        part = pickle.loads(pickle.dumps(part))
        everything = dict(read(part))
        some = list(everything)[1::3]
        assert dict(read(part, some)) == {place: everything[place] for place in some}


# Fields of text


NESTED = [{"doc": {"body": None if i == 3 else f"body {i}"}, "text": ["no", "string"], "n": i} for i in range(9)]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.parquet", "a.arrow", "a.feather"])
def test_the_text_is_in_the_field_that_is_named_and_a_null_is_counted(tmp_path, name):
    write_rows(tmp_path / name, NESTED)
    found = documents(f"text:{tmp_path}/{name}?field=doc.body")
    assert [d.text for d in found] == ["" if i == 3 else f"body {i}" for i in range(9)]
    assert [i for i, d in enumerate(found) if d.null] == [3]
    assert "field=NAME" in complaint(f"text:{tmp_path}/{name}?field=doc.head")
    assert "field=NAME" in complaint(f"text:{tmp_path}/{name}")


def test_lines_of_other_systems_are_read(tmp_path):
    rows = [b'{"text": "one"}', b'{"id": 5}', '{"text": "zwölf"}'.encode(), b'{"text": null}']
    (tmp_path / "a.ndjson").write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(rows))  # byte-order mark, no newline at the end
    found = documents(f"text:{tmp_path}/*")
    assert [(d.text, d.null) for d in found] == [("one", False), ("", True), ("zwölf", False), ("", True)]


def test_arrow_files_are_read_as_files_and_as_streams(tmp_path):
    table = pyarrow.table({"n": list(range(50)), "text": pyarrow.array([row["text"] for row in ROWS])})
    with pyarrow.OSFile(str(tmp_path / "a.arrow"), "wb") as sink, pyarrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=7)
    with pyarrow.OSFile(str(tmp_path / "b.arrow"), "wb") as sink, pyarrow.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=7)
    for name in ("a.arrow", "b.arrow"):
        assert [d.text for d in documents(f"text:{tmp_path}/{name}")] == [row["text"] for row in ROWS]


def test_a_saved_data_set_is_read_by_its_own_list_of_files(tmp_path):
    folder = tmp_path / "saved" / "train"
    write_rows(folder / "data-00000-of-00001.arrow")
    write_rows(folder / "cache-1f.arrow", [{"text": "of a map that was left behind"}])
    state = {"_data_files": [{"filename": "data-00000-of-00001.arrow"}], "_fingerprint": "1f", "_split": "train"}
    (folder / "state.json").write_text(json.dumps(state))
    (tmp_path / "saved" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    assert [d.text for d in documents(f"text:{folder}")] == [row["text"] for row in ROWS]
    assert f"holds the splits train, test; write text:{folder}" in complaint(f"text:{tmp_path}/saved")
    state["_data_files"][0]["filename"] = "../../secret.arrow"
    (folder / "state.json").write_text(json.dumps(state))
    assert "which is no file of" in complaint(f"text:{folder}")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("?fild=body", "unknown option 'fild=body'; known: field=NAME, cut=CHARACTERS"),
        ("?cut=no", "cut=no, wanted a number of characters, at least 64"),
        ("?cut=nan", "cut=nan, wanted a number of characters"),
    ],
)
def test_options_that_do_not_exist_end_in_one_line(tmp_path, options, message):
    (tmp_path / "a.txt").write_text("x")
    assert message in complaint(f"text:{tmp_path}/a.txt{options}")


def test_several_globs_with_home_and_subfolders(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write_rows(tmp_path / "x" / "y" / "a.jsonl")
    (tmp_path / "b.md").write_text("b")
    assert len(documents("text:~/**/*.jsonl, ~/b.md,~/b.m*")) == 51


def test_empty_files_are_told_apart_from_none(tmp_path):
    for name in ("a.txt", "b.jsonl", "c.md"):
        (tmp_path / name).touch()
    write_rows(tmp_path / "d.parquet", [{"text": "x"}])
    pyarrow.parquet.write_table(pyarrow.table({"text": pyarrow.array([], pyarrow.string())}), tmp_path / "e.parquet")
    found = documents(f"text:{tmp_path}/*")
    assert [d.text for d in found] == ["", "", "", "x", ""]
    assert [d.id for d in found][:3] == [str(tmp_path / name) for name in ("a.txt", "b.jsonl", "c.md")]


def test_half_a_surrogate_pair_becomes_a_replacement_character(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "a\\ud83d b \\ud83d\\ude42"}\n')
    assert documents(f"text:{tmp_path}/a.jsonl")[0].text == "a\ufffd b 🙂"


def test_the_signature_changes_with_the_files(tmp_path):
    write_rows(tmp_path / "a.jsonl")
    before = open_corpus(f"text:{tmp_path}/*").signature()
    assert before == open_corpus(f"text:{tmp_path}/*.jsonl").signature()
    write_rows(tmp_path / "a.jsonl", ROWS[:-1])
    assert before != open_corpus(f"text:{tmp_path}/*").signature()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"fine\xff\xfe", "a.txt: byte 0xff at offset 4 is not UTF-8 text"),
        ("a.txt", b"x" * 3_000_000 + b"\xe2\x82", "byte 0xe2 at offset 3000000 is not UTF-8"),
        ("a.md", bytes(range(256)), "a.md: byte 0x80 at offset 128 is not UTF-8 text"),
        ("a.jsonl", LINES + b'{"text": "\xff"}\n', "a.jsonl, line 51: byte 0xff is not UTF-8 text"),
        ("a.jsonl", LINES + b"\n{'text'}\n", "a.jsonl, line 52: not JSON (Expecting property name"),
        ("a.jsonl", b'\n{"body": "x", "n": 1}\n', "line 2: no field 'text' (it has 'body', 'n'); name the one"),
        ("a.jsonl", LINES.decode().encode("utf-16"), "a.jsonl, line 1: byte 0xff is not UTF-8 text"),
        ("a.jsonl", b'"text"\n', "line 1: no field 'text' (not an object)"),
        ("a.jsonl", b'{"text": ["x"]}\n', "line 1: field 'text' holds ['x']; wanted a string"),
        ("a.jsonl.gz", gzip.compress(LINES, mtime=0)[:-20], "a.jsonl.gz: damaged or cut short"),
        ("a.jsonl.gz", LINES, "a.jsonl.gz: damaged or cut short (Not a gzipped file"),
        ("a.txt.gz", gzip.compress(LINES, mtime=0)[:60] + b"x" * 100, "a.txt.gz: damaged or cut short"),
        ("a.jsonl.zst", LINES, "a.jsonl.zst: damaged or cut short"),
        ("a.jsonl.zst", zstd(LINES)[:-20], "a.jsonl.zst: damaged or cut short"),
        ("a.parquet", LINES, "a.parquet: not a readable Parquet file"),
        ("a.arrow", LINES, "a.arrow: not a readable Arrow file"),
        ("a.json", LINES, "cannot read this kind of file; wanted .txt, .txt.gz, .md, .jsonl"),
        ("a.csv", b"text", "a.csv: cannot read this kind of file; wanted .txt, .txt.gz, .md, .jsonl"),
    ],
)
def test_unreadable_files_end_in_one_line_with_file_and_place(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    assert message in complaint(f"text:{tmp_path}/{name}")


def test_parquet_without_text_ends_in_one_line(tmp_path):
    write_rows(tmp_path / "a.parquet", [{"body": "x"}])
    assert "no column 'text' (it has body)" in complaint(f"text:{tmp_path}/a.parquet")
    write_rows(tmp_path / "b.parquet", [{"text": 1}])
    assert "column 'text' holds int64; wanted strings" in complaint(f"text:{tmp_path}/b.parquet")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("pyhton", "unknown source 'pyhton'; wanted python, python:stdlib, text:GLOB, tfds:NAME, synthetic:"),
        ("python:numpy", "unknown source 'python:numpy'"),
        ("text:", "unknown source 'text:'"),
        ("text:nowhere/*.txt", "text:nowhere/*.txt matches no file"),
        ("", "unknown source ''"),
    ],
)
def test_unknown_sources_end_in_one_line(source, message):
    assert message in complaint(source)


def test_a_path_without_its_kind_is_shown_the_way(tmp_path):
    assert f"write text:{tmp_path}/**/*.txt" in complaint(f"{tmp_path}/")
    (tmp_path / "a.txt").touch()
    assert f"write text:{tmp_path}/a.txt" in complaint(f"{tmp_path}/a.txt")
    (tmp_path / "b.jsonl").touch()
    assert f"write text:{tmp_path}/*.jsonl?field=body" in complaint(f"{tmp_path}/*.jsonl?field=body")


def test_a_folder_is_answered_with_the_pattern_for_its_files(tmp_path):
    folder = tmp_path / "a, [b]"
    (folder / "deep").mkdir(parents=True)
    (folder / "notes.csv").touch()
    assert complaint(f"text:{folder}").endswith("/**/*.txt'")
    (folder / "deep" / "a.md").write_text("a")
    (folder / "b.txt.gz").write_bytes(gzip.compress(b"b"))
    message = complaint(f"text:{folder}/")
    assert "is a folder; for the files in it write 'text:" in message
    assert {d.text for d in documents(message.split("'")[1])} == {"a", "b"}


@pytest.mark.parametrize("name", ["a[1].txt", "a]b[.txt", "a,b.txt", "a, b.txt", "what?*.txt"])
def test_a_file_is_taken_whatever_its_name(tmp_path, name):
    for other in ("a1.txt", "b.txt", "whatever.txt"):
        (tmp_path / other).write_text("another")
    (tmp_path / name).write_text("this one")
    assert [d.text for d in documents(f"text:{tmp_path}/{name}")] == ["this one"]


def test_a_pattern_may_hold_a_comma(tmp_path):
    (tmp_path / "a,b").mkdir()
    (tmp_path / "a,b" / "c.txt").write_text("c")
    (tmp_path / "d[1].txt").write_text("d")
    assert [d.text for d in documents(f"text:{tmp_path}/a,b/*.txt")] == ["c"]
    assert {d.text for d in documents(f"text:{tmp_path}/a?b/*.txt,{tmp_path}/d[1].txt")} == {"c", "d"}
    assert "(a [ in a name is written [[])" in complaint(f"text:{tmp_path}/e[1].txt")


# Python sources


def test_the_dependencies_are_a_corpus_that_is_always_there():
    corpus = open_corpus("python")
    parts = corpus.parts()
    assert len(parts) > 10
    some = [document for part in parts[:2] for _, document in read(part)]
    assert sum(len(d.text) for d in some) > 1e6
    names = {file.name for part in parts for file in part}  # type: ignore[attr-defined]  # all are PythonFile
    assert {"numpy/__init__.py", "jax/__init__.py", "six.py"} <= names
    assert not any(name.startswith(("scaling/", "markupsafe/", "pytest/", "hypothesis/", "/", "..")) for name in names)
    assert corpus.signature() == open_corpus("python").signature()


def test_files_of_one_folder_are_one_group():
    groups = {file.name: file.group for part in open_corpus("python").parts() for file in part}  # type: ignore[attr-defined]
    assert groups["numpy/linalg/__init__.py"] == "numpy/numpy/linalg"
    assert groups["six.py"] != groups["typing_extensions.py"]


def test_the_standard_library_leaves_out_its_tests_and_tables():
    found = documents("python:stdlib")
    names = {d.id.split("#")[0] for d in found}
    assert {"stdlib/argparse.py", "stdlib/json/decoder.py"} <= names
    folders = {folder for name in names for folder in name.split("/")[:-1]}
    assert not folders & {"test", "tests", "encodings", "idlelib", "lib2to3", "site-packages"}
    assert sum(len(d.text) for d in found) > 5e6


# Generated languages


@pytest.mark.parametrize("order", [0, 1, 3])
def test_the_generated_language_has_the_entropy_it_states(order):
    language = Language(order=order, symbols=8, zipf=1.0, seed=5, bytes=400_000, document=1000)
    text = "".join(language.texts(range(400)))
    ids = np.frombuffer(text.encode(), np.uint8).reshape(400, 1000)
    codes = np.unique(ids, return_inverse=True)[1].reshape(ids.shape)
    context = np.zeros((400, 1000 - order), np.int64)
    for k in range(order):
        context = context * 8 + codes[:, k : 1000 - order + k]
    counts = np.zeros((8**order, 8))
    np.add.at(counts, (context.ravel(), codes[:, order:].ravel()), 1)
    # The plug-in conditional entropy with the Miller-Madow correction for its bias.
    rows = counts.sum(axis=1, keepdims=True)
    share = np.where(counts > 0, counts / np.maximum(rows, 1), 1)
    entropy = -(counts * np.log(share)).sum() / counts.sum()
    entropy += ((counts > 0).sum() - (rows > 0).sum()) / 2 / counts.sum()
    assert entropy == pytest.approx(language.entropy_rate, abs=0.01)


def test_ranks_are_zipfian_and_shorter_contexts_tell_less():
    language = Language(order=2, symbols=8, zipf=1.5, seed=0, bytes=10**6, document=5000)
    codes = np.concatenate([np.frombuffer(t.encode(), np.uint8) for t in language.texts(range(60))]).astype(int) - 97

    def entropy(order: int) -> float:
        context = (
            sum(codes[k : len(codes) - 2 + k] * 8 ** (k - (2 - order)) for k in range(2 - order, 2)) + codes[2:] * 0
        )
        counts = np.zeros((8**order, 8))
        np.add.at(counts, (context, codes[2:]), 1)
        return (
            -(counts * np.log(np.maximum(counts, 1) / np.maximum(counts.sum(1, keepdims=True), 1))).sum() / counts.sum()
        )

    assert np.log(8) > entropy(0) + 0.02
    assert entropy(0) > entropy(1) + 0.02
    assert entropy(1) > entropy(2) + 0.02
    assert entropy(2) == pytest.approx(language.entropy_rate, abs=0.005)


def test_a_generated_document_depends_on_its_number_alone():
    language = Language(order=2, symbols=64, zipf=1.2, seed=0, bytes=10**6, document=100)
    together = list(language.texts(range(50)))
    assert list(language.texts([3])) == [together[3]]
    assert list(language.texts([41, 7])) == [together[41], together[7]]
    assert len(set(together)) == 50
    assert together[0][:30] == '"3oIQjDBUeTe6w0sdPMVZj6dbjHXdN'


def test_a_generated_corpus_has_the_size_asked_for():
    found = documents("synthetic:order=1,symbols=20,bytes=9_999_999,document=2000")
    assert len(found) == 4999
    assert all(len(d.text) == 2000 and d.text.isascii() and d.text.isprintable() for d in found[:100])
    part = open_corpus("synthetic:bytes=1e6").parts()[0]
    everything = dict(read(part))
    assert dict(read(part, [3, 100])) == {place: everything[place] for place in (3, 100)}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("ordr=2", "unknown key 'ordr'; known, with their defaults: order=2"),
        ("order=x", "order='x' is not a whole number"),
        ("order=1.5", "order='1.5' is not a whole number"),
        ("symbols=1", "symbols=1 must lie between 2 and 94"),
        ("zipf=inf", "zipf=inf must lie between"),
        ("bytes=0", "bytes=0 must lie between"),
    ],
)
def test_impossible_languages_end_in_one_line(spec, message):
    assert message in complaint(f"synthetic:{spec}")


# TensorFlow Datasets


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """A real data set, prepared as ArrayRecord without TensorFlow."""
    tfds = pytest.importorskip("tensorflow_datasets")

    class TinyText(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")
        BUILDER_CONFIGS = (tfds.core.BuilderConfig(name="small"),)

        def _info(self):
            features = {"text": tfds.features.Text(), "title": tfds.features.Text(), "n": np.int64}
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples(40), "test": self._generate_examples(3)}

        def _generate_examples(self, n):
            for i in range(n):
                yield i, {"text": f"text {i} ünïcode", "title": f"title {i}", "n": i}

    folder = tmp_path_factory.mktemp("tfds")
    TinyText(data_dir=folder, config="small", file_format="array_record").download_and_prepare()
    return folder


def test_a_prepared_data_set_is_read_without_tensorflow(data_dir):
    found = documents(f"tfds:tiny_text/small?data_dir={data_dir}")
    assert sorted(d.text for d in found) == sorted(f"text {i} ünïcode" for i in range(40))
    assert len({d.group for d in found}) == 40
    titles = documents(f"tfds:tiny_text/small?split=test&field=title&data_dir={data_dir}")
    assert sorted(d.text for d in titles) == ["title 0", "title 1", "title 2"]


def test_a_data_set_is_read_in_parts(data_dir, monkeypatch):
    monkeypatch.setattr("scaling.data.tfds.PART", 400)
    corpus = open_corpus(f"tfds:tiny_text/small?data_dir={data_dir}")
    parts = corpus.parts()
    assert len(parts) > 3
    everything = [dict(read(pickle.loads(pickle.dumps(part)))) for part in parts]
    assert sum(map(len, everything)) == 40
    assert dict(read(parts[1], [2])) == {2: everything[1][2]}
    assert corpus.signature() == open_corpus(corpus.source).signature()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("tfds:tiny_text/small?split=dev", "has no split 'dev'; choose from"),
        ("tfds:tiny_text/small?field=body", "no text field 'body' (text fields: text, title)"),
        ("tfds:tiny_text/small?fild=text", "unknown option 'fild=text'"),
        ("tfds:no_such_text", "Dataset no_such_text not found. Nothing is prepared in"),
        ("tfds:ag_news_subset", "is not prepared in"),
    ],
)
def test_absent_data_sets_end_in_one_line(data_dir, source, message):
    assert message in complaint(f"{source}{'&' if '?' in source else '?'}data_dir={data_dir}")
