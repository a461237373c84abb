"""Files for people: whole or as they were before, tried before the work; and read within bounds."""

import contextlib
import json
import os
import resource
from pathlib import Path

import pytest

from analysis.table import files, opened
from scaling import checked, folders
from scaling.errors import InputError, one_line


@contextlib.contextmanager
def room(n_bytes: int):
    """No file may grow beyond this, as on a disk that is nearly full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    path = tmp_path / "fit.json"
    folders.write(path, "good")
    with room(1000), pytest.raises(OSError, match="File too large") as error:
        folders.write(path, "x" * 100_000)
    assert error.value.filename == str(path)
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("fit.json", "good")]


def test_a_link_stays_a_link_and_a_file_keeps_its_permissions(tmp_path):
    path, link = tmp_path / "runs.csv", tmp_path / "link.csv"
    path.write_text("old")
    path.chmod(0o640)
    link.symlink_to(path)
    folders.write(link, "new")
    assert link.is_symlink()
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_device_is_written_to_and_never_replaced():
    folders.write(Path(os.devnull), "x")
    assert Path(os.devnull).is_char_device()
    with pytest.raises(OSError, match="No space left"):
        folders.write(Path("/dev/full"), "x")


def test_a_new_file_replaces_none(tmp_path):
    folders.write_new(tmp_path / "a.json", "one")
    with pytest.raises(FileExistsError):
        folders.write_new(tmp_path / "a.json", "two")
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("a.json", "one")]


def test_what_is_no_text_is_replaced(tmp_path):
    folders.write(tmp_path / "page.html", "caf\udce9 \N{GREEK SMALL LETTER ALPHA}")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == "caf? \N{GREEK SMALL LETTER ALPHA}"
    assert one_line("a\n b\x1b[2J" + "c" * 5000).startswith(r"a b\x1b[2Jccc")
    assert len(one_line("c" * 5000)) < 1100


def test_where_nothing_can_be_written_is_told_before(tmp_path):
    (tmp_path / "file").write_text("x")
    for path, words in ((tmp_path, "a folder"), (tmp_path / "none/x", "no folder"), (tmp_path / "file/x", "no folder")):
        with pytest.raises(InputError, match=words):
            folders.try_file(path)
    with room(1000), pytest.raises(InputError, match="File too large"):
        folders.try_file(tmp_path / "x")
    folders.try_file(tmp_path / "x")
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("content", "words"),
    [(b'{"a": 1, "a": 2}', "'a' is there twice"), (b"[NaN]", "NaN is no finite number"),
     (b"[1e400]", "1e400 is no finite number"), (b"9" * 400, "is no finite number"),
     (b"[" * 100_000, "nested too deeply"), (b"\xff", "no text in UTF-8"), (b"[1", "no JSON"),
     (b'"' + b"x" * 2000 + b'"', "at most 1,000"), (b"[" + b"1," * 400 + b"1]", "more than 300 values")],
)  # fmt: skip
def test_json_that_cannot_be_taken_at_its_word_is_refused(content, words, tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "MOST", 1000 if "at most" in words else folders.MOST)
    monkeypatch.setattr(folders, "VALUES", 300 if "values" in words else folders.VALUES)
    (tmp_path / "f.json").write_bytes(content)
    with pytest.raises(InputError, match=words):
        folders.read_json(tmp_path / "f.json", "a fit")


@pytest.mark.parametrize(
    "read",
    [lambda path: folders.read_text(path, "a table"), checked.read, opened.text, files.read_parquet],
    ids=["named by somebody", "ours", "a log or a table", "Parquet"],
)
def test_what_never_ends_is_not_begun(read, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "endless").symlink_to("/dev/zero")
    (tmp_path / "circle").symlink_to("circle")
    kinds = {"pipe": "a device or pipe", "endless": "a device or pipe", ".": "a folder", "circle": "symbolic links"}
    for name, words in kinds.items():
        with pytest.raises(InputError, match=words):
            read(tmp_path / name)


def test_a_file_that_was_changed_after_it_was_written_is_refused_until_its_checksum_is_taken_out(tmp_path):
    path = tmp_path / "fit.json"
    path.write_text(json.dumps(folders.sealed({"alpha": 0.34, "notes": ["as it was"]}), indent=4, sort_keys=True))
    assert folders.read_json(path, "a fit") == {"alpha": 0.34, "notes": ["as it was"]}
    path.write_text(path.read_text().replace("0.34", "0.35"))
    with pytest.raises(folders.Changed, match=r"changed after it was written.*delete its field 'sha256'"):
        folders.read_json(path, "a fit")
    path.write_text(json.dumps({"alpha": 0.35}))
    assert folders.read_json(path, "a fit") == {"alpha": 0.35}
