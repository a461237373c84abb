"""Folders are checked like archives: whatever is done to a file, it is said in a line, or changes nothing."""

import copy
import gzip
import json
import lzma
import os
import random
import shutil
import signal
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis import records
from scaling import checked, claims, cli, exchange, folders, status, study, worker
from scaling.config import DataConfig, EvalConfig, RunConfig, Study
from scaling.data import token_set
from scaling.errors import InputError
from scaling.ladder import transformer

DATA = DataConfig("synthetic:order=1,symbols=8,bytes=1e6", "bytes")
MODEL = transformer(8, 1, d_head=8, n_vocab=257, n_ctx=16)
RUNS = tuple(
    RunConfig(MODEL, tokens=4 * 64, batch=4, seed=seed, data=DATA, eval=EvalConfig(windows=8)) for seed in range(3)
)
PROMPT = 5  # seconds that nothing here may take
N_EDITS = 40  # of each file, by seed

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture(autouse=True)
def in_time() -> Iterator[None]:
    def late(*_: object) -> None:
        raise TimeoutError("it waits")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def made(tmp_path_factory, cache) -> Path:
    """A study of three finished runs."""
    folder = tmp_path_factory.mktemp("made") / "study"
    whole = study.prepare(Study("mine", "Why?", RUNS), folder, pack=1, workers=1, say=lambda line: None)
    for p, pack in enumerate(whole.packs):
        at = np.array(pack.configs[0].eval_steps)
        history = {
            "train_loss": np.full((4, 1), 3.0 + p, np.float32),
            "grad_norm": np.ones((4, 1), np.float32),
            "steps": np.full(1, 4),
            "eval_step": at,
            "eval_loss": np.full((len(at), 1, 16), 3.0 + p, np.float32),
            "seconds": np.float64(1),
            "finished": np.bool_(True),
        }
        with claims.take(whole.claims(pack)) or pytest.fail("not taken") as claim:
            worker.finish(pack, claim, history, {"machine": "here", "versions": {"python": "3"}})
    return folder


def edits(values: Any, rng: random.Random) -> Iterator[Any]:
    """Copies of a JSON value with one value, somewhere, gone or another."""

    def places(value: Any) -> Iterator[tuple[Any, Any]]:
        for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
            yield value, key
            yield from places(value[key])

    n = len(list(places(values)))
    for _ in range(N_EDITS):
        new = copy.deepcopy(values)
        holder, key = list(places(new))[rng.randrange(n)]
        old = holder[key]
        others = [None, -3, 0, 1e400, float("nan"), [], {}, [old], {"a": old}, "", "../../victim", "\x1b[2J", 10**400]
        others += [old * 1000, old + 1] if type(old) in (int, float) else [not old] if type(old) is bool else []
        others += [old[::-1] + "0"] if isinstance(old, str) else []
        new_value = rng.choice(others)
        if rng.random() < 0.15:
            del holder[key]
        else:
            holder[key] = new_value
        yield new


def bend(path: Path, how: Callable[[bytes], bytes]) -> None:
    path.write_bytes(how(path.read_bytes()))


def become(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


def sparse(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(2**40)


WHOLE: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: bend(path, lambda raw: b""),
    "cut short": lambda path: bend(path, lambda raw: raw[: len(raw) // 2]),
    "more after it": lambda path: bend(path, lambda raw: raw + b"x"),
    "a byte-order mark": lambda path: bend(path, lambda raw: b"\xef\xbb\xbf" + raw),
    "another encoding": lambda path: bend(path, lambda raw: raw.decode("latin-1").encode("utf-16")),
    "no UTF-8": lambda path: bend(path, lambda raw: raw[:-3] + b"\xff" + raw[-3:]),
    "nested": lambda path: bend(path, lambda raw: b"[" * 10**6),
    "a list": lambda path: bend(path, lambda raw: b"[" + raw + b"]"),
    "a long number": lambda path: bend(path, lambda raw: b"1" * 10_000),
    "a key twice": lambda path: bend(path, lambda raw: b'{"format": 1, "steps": [1],' + raw.lstrip()[1:]),
    "a format to come": lambda path: bend(path, lambda raw: b'{"format": 7}'),
    "a flipped bit": lambda path: bend(path, lambda raw: raw[:-40] + bytes([raw[-40] ^ 1]) + raw[-39:]),
    "enormous": sparse,
    "many values": lambda path: bend(path, lambda raw: b"[" + b"0," * (folders.VALUES + 1) + b"0]"),
    "a folder": lambda path: become(path, Path.mkdir),
    "a pipe": lambda path: become(path, os.mkfifo),
    "a link to a device": lambda path: become(path, lambda it: it.symlink_to("/dev/zero")),
    "a link to itself": lambda path: become(path, lambda it: it.symlink_to(it)),
}


def seen(folder: Path) -> tuple[Any, str]:
    """What the verbs make of a study, and what they say was wrong."""
    whole = study.read(folder)
    now = status.of(whole)
    table = records.read(folder).runs
    rows = [(row.run.id, row.state, row.steps, row.loss, row.run.config, row.run.bytes_per_token) for row in now.runs]
    columns = {name: [str(cell) for cell in table[name]] for name in table}
    said = " ".join((*table.notes, *(each.error for each in now.packs)))
    return (whole.name, whole.question, rows, columns), said


def check(folder: Path, name: str, there: Any) -> None:
    """Either all is as it was, or it is said in one line that names the file."""
    began = time.process_time()
    try:
        found, said = seen(folder)
    except InputError as error:
        found, said = None, str(error)
        assert "\n" not in said
        assert len(said) < 1000
    assert time.process_time() - began < PROMPT
    assert name in said or found == there
    if found and found != there:
        assert [row[0] for row in found[2]] == [row[0] for row in there[2]]
        assert sum(row[1] == "done" for row in found[2]) == 2  # the others go on


@pytest.mark.parametrize("name", ["study.json", "done.json", "history.npz", "failed.json"])
def test_a_damaged_file_is_said_or_changes_nothing(name, made, tmp_path):
    there, said = seen(made)
    assert "damaged" not in said
    packs = study.read(made).packs

    def damaged(damage: Callable[[Path], object]) -> None:
        folder = tmp_path / "copy"
        shutil.copytree(made, folder, symlinks=True)
        path = folder / name if name == "study.json" else claims.data(folder / "packs" / packs[1].id) / name
        if name == "failed.json":
            checked.write(path, {"attempts": 0, "error": ""})
        damage(path)
        check(folder, name, there)
        shutil.rmtree(folder)

    for damage in WHOLE.values():
        damaged(damage)
    if name != "history.npz":
        path = made / name if name == "study.json" else claims.data(made / "packs" / packs[1].id) / name
        values = json.loads(path.read_text()) if path.exists() else folders.sealed({"attempts": 0, "error": ""})
        for new in edits(values, random.Random(name)):
            damaged(lambda path, new=new: path.write_text(json.dumps(new)))


@pytest.mark.parametrize("sealed", [True, False])
@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda run: run["config"]["optim"].update(learning_rate=0.5), r"packs\[1\]\.runs\[0\]\.id"),
        (lambda run: run["config"].update(tokens=run["config"]["tokens"] * 1000), r"packs\[1\]\.runs\[0\]\.id"),
        (lambda run: run["config"].update(tokens="many"), r"runs\[0\]\.config: tokens='many'"),
        (lambda run: run["config"]["data"].update(source=3), r"config\.data\.source is 3, wanted text"),
        (lambda run: run.update(bytes_per_token=-3), "bytes_per_token is -3, wanted a number above 0"),
        (lambda run: run.update(bytes_per_token=3), "was changed after it was written"),
        (lambda run: run.update(id="../../victim"), "wanted 12 hexadecimal digits"),
        (lambda run: run.pop("tokens_id"), "tokens_id is missing"),
        (lambda run: run.update(colour="red"), "colour is no field"),
        (lambda run: run.update(semantics=3), "runs of semantics 3"),
    ],
)
def test_an_edited_run_is_refused_with_its_field_with_and_without_a_checksum(edit, message, sealed, made, tmp_path):
    values = json.loads((made / "study.json").read_text())
    edit(values["packs"][1]["runs"][0])
    if not sealed:
        del values["sha256"]
    (tmp_path / "study.json").write_text(json.dumps(values))
    if "changed" in message and not sealed:
        return  # of older versions only what an id vouches for is known
    with pytest.raises(InputError, match=message) as error:
        study.read(tmp_path)
    assert str(tmp_path / "study.json") in str(error.value)


def test_ids_are_of_what_they_name(made, tmp_path):
    values = json.loads((made / "study.json").read_text())
    del values["sha256"]
    for change, message in (
        (lambda v: v["runs"].append("0" * 12), r"runs\[3\] is '000000000000', wanted a run of one of its packs"),
        (lambda v: v["packs"].append(v["packs"][0]), "packs is a list, wanted each pack once"),
        (lambda v: v["packs"][0].update(id="0" * 12), r"packs\[0\]\.id .* the hash of its runs' ids"),
        (lambda v: v["tokens"].update({"../x": "/"}), "wanted 16 hexadecimal digits"),
    ):
        new = copy.deepcopy(values)
        change(new)
        (tmp_path / "study.json").write_text(json.dumps(new))
        with pytest.raises(InputError, match=message):
            study.read(tmp_path)


def test_a_study_without_its_file_is_found_again_by_the_ids_of_its_packs(made, tmp_path):
    folder = shutil.copytree(made, tmp_path / "copy")
    (folder / "study.json").write_text("[]")
    with pytest.raises(InputError, match="move it away and give scaling study run"):
        study.read(folder)
    (folder / "study.json").unlink()
    whole = study.prepare(Study("mine", "Why?", RUNS), folder, workers=1, say=pytest.fail)
    assert status.of(whole).counts == {"done": 3}


def test_a_damaged_pack_is_set_aside_before_it_is_trained_again(made, tmp_path):
    folder = shutil.copytree(made, tmp_path / "copy")
    pack = study.read(folder).packs[1]
    (claims.data(folder / "packs" / pack.id) / "done.json").write_text("[]")
    said: list[str] = []
    whole = study.prepare(Study("mine", "Why?", RUNS), folder, workers=1, say=said.append)
    assert [line for line in said if f"pack {pack.id} is damaged" in line and "done.json is a list" in line]
    assert status.of(whole).counts == {"done": 2, "waiting": 1}
    kept = {path.name.partition("-")[0] for path in (whole.pack_folder(pack) / "unreadable").iterdir()}
    assert kept == {"done.json", "history.npz"}


@pytest.mark.parametrize("what", ["packs", "a pack", "its folder", "done.json"])
def test_nothing_is_written_through_a_link(what, made, tmp_path):
    folder, victim = shutil.copytree(made, tmp_path / "copy"), tmp_path / "victim"
    pack = study.read(folder).packs[1]
    path = {
        "packs": folder / "packs",
        "a pack": folder / "packs" / pack.id,
        "its folder": claims.data(folder / "packs" / pack.id),
        "done.json": claims.data(folder / "packs" / pack.id) / "done.json",
    }[what]
    shutil.move(path, victim)
    path.symlink_to(victim)
    before = {file: file.stat().st_mtime_ns for file in (victim, *victim.rglob("*"))}
    if what == "packs":
        with pytest.raises(InputError, match="packs is a link or a file, wanted a folder of the study's own"):
            study.prepare(Study("mine", "Why?", RUNS), folder, workers=1, say=pytest.fail)
    else:
        whole = study.prepare(Study("mine", "Why?", RUNS), folder, workers=1, say=lambda line: None)
        with claims.take(whole.claims(pack)) or pytest.fail("not taken") as claim:
            checked.write(claim.folder / "done.json", {})
    assert {file: file.stat().st_mtime_ns for file in (victim, *victim.rglob("*"))} == before


# Claims


@pytest.mark.parametrize(
    "damage",
    [
        *("empty", "a list", "no UTF-8", "a folder", "a pipe", "enormous", "a link to a device"),
        *("dated tomorrow", "of a live process, an hour ago"),
    ],
)
def test_whatever_a_claim_is_its_lease_ends(damage, tmp_path):
    with claims.take(tmp_path / "a") or pytest.fail("not taken"):
        path = tmp_path / "b" / "claim-000001"
        shutil.copytree(tmp_path / "a", path.parent)  # of a process that lives
    if damage in WHOLE:
        WHOLE[damage](path)
        assert claims.take(path.parent) is None  # it may be that of a process that is just writing it
    now = time.time()
    at = now + 86_400 if "tomorrow" in damage else now - 3600
    if not path.is_symlink():
        os.utime(path, (at, at))
    holder = claims.holder(path.parent)
    assert holder
    if not path.is_symlink():
        assert holder.open()
        with claims.take(path.parent) or pytest.fail("not taken") as claim:
            assert claim.number == 2


def test_numbers_that_are_none_of_ours_are_not_taken_for_claims(tmp_path):
    for name in ("claim-7", "claim-٣", "claim-" + "9" * 200, "claim--00001", "0007", "٣"):
        (tmp_path / name).mkdir()
    assert claims.holder(tmp_path) is None
    assert claims.data(tmp_path) == tmp_path
    (tmp_path / "claim-999999999999").write_text("{}")
    os.utime(tmp_path / "claim-999999999999", (0, 0))
    with pytest.raises(InputError, match="no folder of claims"):
        claims.take(tmp_path)


# Seals and tokens


def test_a_damaged_seal_is_a_damaged_checkpoint(tmp_path):
    from scaling import checkpoints

    (tmp_path / "history").mkdir()
    (tmp_path / "history" / "a").write_bytes(b"abc")
    checkpoints.seal(tmp_path)
    checkpoints.check(tmp_path)
    seal = (tmp_path / checkpoints.SEAL).read_bytes()
    for name, damage in WHOLE.items():
        if name in ("a key twice", "a flipped bit", "a link to itself"):
            continue
        damage(tmp_path / checkpoints.SEAL)
        with pytest.raises(ValueError, match=r"wanted|not what was written"):
            checkpoints.check(tmp_path)
        path = tmp_path / checkpoints.SEAL
        path.rmdir() if path.is_dir() else path.unlink()
        path.write_bytes(seal)
    for other in ('{"history/a": "1"}', '{"../../victim": 3}', '{"/etc/passwd": 3}'):
        (tmp_path / checkpoints.SEAL).write_text(other)
        with pytest.raises(ValueError, match=r"outside|wanted"):
            checkpoints.check(tmp_path)


@pytest.fixture(scope="module")
def tokens(made, tmp_path_factory) -> Path:
    (folder,) = map(Path, study.read(made).tokens.values())
    return shutil.copytree(folder, tmp_path_factory.mktemp("tokens") / "them")


def test_a_damaged_manifest_of_tokens_is_refused_or_changes_nothing(tokens, tmp_path):
    there = token_set.open_tokens(tokens).manifest
    path = tmp_path / "manifest.json"
    path.write_bytes((tokens / "manifest.json").read_bytes())

    def refused() -> None:
        found, said = there, ""
        try:
            found = token_set.open_tokens(tmp_path).manifest
        except InputError as error:
            said = str(error)
        assert "\n" not in said
        assert str(tmp_path) in said or found | {"sha256": ""} == there | {"sha256": ""}

    for damage in WHOLE.values():
        damage(path)
        refused()
        path.rmdir() if path.is_dir() else path.unlink()
        path.write_bytes((tokens / "manifest.json").read_bytes())
    for new in edits(there, random.Random("manifest")):
        path.write_text(json.dumps(new))
        refused()


@pytest.mark.parametrize("name", ["tokenizer.model", "token_bytes.npy", "train.bin"])
def test_every_file_of_tokens_is_under_a_checksum(name, tokens, tmp_path):
    folder = shutil.copytree(tokens, tmp_path / "copy")
    bend(folder / name, lambda raw: bytes([raw[0] ^ 1]) + raw[1:])
    found = token_set.open_tokens(folder)
    with pytest.raises(InputError, match="is not what was written"):
        {"tokenizer.model": lambda: found.tokenizer, "token_bytes.npy": lambda: found.token_bytes}.get(
            name, found.verify
        )()


# Archives


def repacked(path: Path, members: list[tuple[tarfile.TarInfo, bytes]], zeros: int = 0) -> Path:
    """A tar.gz with these members, the last of which may have so many zeros."""
    with gzip.open(path, "wb", 1) as file:
        for member, content in members:
            member.size = len(content) + (zeros if (member, content) == members[-1] else 0)
            file.write(member.tobuf(tarfile.USTAR_FORMAT if member.size < 2**33 else tarfile.GNU_FORMAT))
            file.write(content)
            file.write(bytes(-len(content) % 512))
        for _ in range(zeros // 2**20):
            file.write(bytes(2**20))
        file.write(bytes(1024))
    return path


def test_an_archive_is_read_within_bounds_and_nothing_but_what_it_announces(made, tmp_path):
    exchange.write(study.read(made), tmp_path / "runs.tar")
    with tarfile.open(tmp_path / "runs.tar") as archive:
        there = [(member, archive.extractfile(member).read()) for member in archive]  # pyright: ignore

    def member(name: str, type: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
        info = tarfile.TarInfo(name)
        info.type = type
        return info

    n = 64 * 2**20
    for members, zeros, message in (
        (there[1:], 0, "begins with '.*npz', wanted manifest.json"),
        ([*there, there[1]], 0, "is of no pack, or there twice"),
        (there[:-1], 0, "is missing"),
        ([*there, (member("../../victim"), b"")], 0, "'../../victim' is of no pack"),
        ([*there, (member("x", tarfile.SYMTYPE), b"")], 0, "a link, a folder or a device"),
        ([(member("manifest.json"), b" ")], n + 2**20, "bytes, wanted at most 67,108,864"),
        ([*there[:2], (member(there[2][0].name), b"")], n, r"has 67,108,864 bytes, wanted at most \d\d,\d\d\d$|wanted"),
        ([(member("x", tarfile.XHDTYPE), b"")], n, "a link, a folder or a device"),
        ([*there, *((member(f"{i:012x}.npz"), b"") for i in range(1000))], 0, "is of no pack"),
    ):
        path = repacked(tmp_path / "new.tar.gz", [(copy.copy(info), content) for info, content in members], zeros)
        with pytest.raises(InputError, match=message) as error:
            exchange.read(tmp_path / "here", path, pytest.fail)
        assert "\n" not in str(error.value)
        assert not (tmp_path / "here").exists()
    path = repacked(tmp_path / "good.tar.gz", there)
    assert exchange.read(tmp_path / "here", path, pytest.fail) == 3


def test_an_archive_by_xz_is_refused_where_it_is_cut_or_asks_for_more_memory_than_ours_do(made, tmp_path):
    exchange.write(study.read(made), tmp_path / "runs.tar")
    content = (tmp_path / "runs.tar").read_bytes()
    asks = [{"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": 2**28}]
    exchange.write(study.read(made), tmp_path / "runs.tar.xz")
    ours = (tmp_path / "runs.tar.xz").read_bytes()
    assert lzma.decompress(ours) == content
    path = tmp_path / "new.tar.xz"
    for bad, message in (
        (lzma.compress(content, filters=asks), "Memory usage limit"),
        (ours[: len(ours) // 2], "cut short"),
        (ours[:-20], "cut short"),
        (ours + b"x", "goes on"),
        (ours + ours, "goes on"),
        (ours[:200] + bytes(20) + ours[220:], "LZMAError: Corrupt input data"),
    ):
        path.write_bytes(bad)
        with pytest.raises(InputError, match=message) as error:
            exchange.read(tmp_path / "here", path, pytest.fail)
        assert "\n" not in str(error.value)
        assert not (tmp_path / "here").exists()


def test_a_history_of_other_runs_is_refused_though_its_checksum_is_right(made, tmp_path):
    folder = shutil.copytree(made, tmp_path / "copy")
    pack = study.read(folder).packs[1]
    below = claims.data(folder / "packs" / pack.id)
    found = study.history(study.read(folder), pack)
    assert found
    others: list[dict[str, np.ndarray]] = [
        {"train_loss": found["train_loss"][:2]},
        {"eval_loss": found["eval_loss"][:, :, :3]},
        {"eval_step": found["eval_step"][::-1]},
        {"seconds": np.asarray(np.nan)},
        {"extra": np.zeros(3)},
        {"eval_loss": np.array(["a"] * 4)},
    ]
    for wrong in others:
        sha256 = study.keep_history(below, found | wrong)
        told = json.loads((below / "done.json").read_text())
        del told["sha256"]
        checked.write(below / "done.json", {**told, "history": sha256})
        table = records.read(folder).runs
        assert len(table) == 2
        assert [note for note in table.notes if "history.npz" in note and pack.id in note]


# Terminals and spreadsheets


def test_no_control_character_of_a_file_reaches_the_terminal(made, tmp_path, capsys):
    folder = shutil.copytree(made, tmp_path / "copy\x1b]0;x\x07")
    pack = study.read(folder).packs[1]
    below = claims.data(folder / "packs" / pack.id)
    (below / "done.json").unlink()
    (below / "history.npz").unlink()
    folders.write_json(below / "failed.json", {"attempts": 2, "error": "\x1b[2J\r\x9b1A\u202eno"})
    for words in (["study", "status", str(folder)], ["study", "status", f"{folder}\x1b[2J"]):
        with pytest.raises(SystemExit):
            cli.main(words)
        said = "".join(capsys.readouterr())
        assert r"\x1b[2J" in said
        assert all(c.isprintable() or c == "\n" for c in said)
