"""Finished runs move between studies as they are, and nothing else comes in with them."""

import hashlib
import io
import json
import math
import tarfile
from pathlib import Path

import numpy as np
import pytest

from analysis import records
from scaling import claims, config, exchange, folders, histories, layout, status, study
from scaling.config import DataConfig, EvalConfig, RunConfig, Study
from scaling.errors import InputError
from scaling.ladder import transformer
from scaling.study import StudyFolder

ALONG = np.array([1.875, *[-0.125] * 15], np.float32)  # the loss at each of 16 positions above their mean

pytestmark = pytest.mark.usefixtures("cache")

DATA = DataConfig("synthetic:order=1,symbols=8,bytes=1e6", "bytes")
MODEL = transformer(8, 1, d_head=8, n_vocab=257, n_ctx=16)
RUNS = tuple(
    RunConfig(MODEL, tokens=4 * 64, batch=4, seed=seed, data=DATA, eval=EvalConfig(windows=8)) for seed in range(4)
)


def planned(folder: Path, *runs: RunConfig, pack: int = 1, name: str = "mine") -> StudyFolder:
    return study.prepare(Study(name, "?", runs), folder, pack=pack, workers=1, say=lambda line: None)


def finish(whole: StudyFolder, n: int) -> None:
    """Gives the first n packs the record of a training that did not take place."""
    for p, pack in enumerate(whole.packs[:n]):
        n_run, at = len(pack.runs), np.array(pack.configs[0].eval_steps)
        history = {
            "train_loss": np.full((4, n_run), 3.0 + p, np.float32),
            "grad_norm": np.ones((4, n_run), np.float32),
            "steps": np.full(n_run, 4),
            "eval_step": at,
            "eval_loss": np.full((len(at), n_run, 16), 3.0 + p, np.float32) + ALONG,
            "seconds": np.float64(1),
            "finished": np.bool_(True),
        }
        with claims.take(whole.claims(pack)) or pytest.fail("not taken") as claim:
            sha256 = study.keep_history(claim.folder, history)
            told = {"steps": [4] * n_run, "seconds": 1.0, "status": ["done"] * n_run, "loss": [3.0 + p] * n_run}
            folders.write_json(claim.folder / "done.json", {**told, "history": sha256})


def losses(whole: StudyFolder) -> list[float | None]:
    return [row.loss for row in status.of(whole).runs]


@pytest.fixture
def there(tmp_path) -> StudyFolder:
    whole = planned(tmp_path / "there", *RUNS)
    finish(whole, 3)
    return whole


def take(folder: Path, file: Path) -> int:
    return exchange.read(folder, file, pytest.fail)


@pytest.mark.parametrize("name", ["runs.tar", "runs.tar.gz", "runs.tar.xz", "runs"])
def test_finished_runs_count_as_done_where_they_are_taken_in(name, there, tmp_path):
    assert exchange.write(there, tmp_path / name) == 3
    here = planned(tmp_path / "here", *RUNS)
    finish(here, 1)
    assert take(here.path, tmp_path / name) == 2
    here = study.read(here.path)
    assert losses(here) == [3.0, 4.0, 5.0, None]
    assert [pack.runs[0].config for pack in here.open_packs] == [RUNS[3]]
    assert take(here.path, tmp_path / name) == 0
    for pack in there.packs[:3]:
        there_, here_ = study.history(there, pack), study.history(here, pack)
        assert there_
        assert here_
        assert all(np.array_equal(there_[name], here_[name]) for name in there_)
    assert planned(here.path, *RUNS).runs == here.runs  # the config goes on with them


def test_a_study_is_made_where_there_was_none(there, tmp_path):
    exchange.write(there, tmp_path / "runs.tar")
    assert take(tmp_path / "new", tmp_path / "runs.tar") == 3
    assert losses(study.read(tmp_path / "new")) == [3.0, 4.0, 5.0]
    assert losses(planned(tmp_path / "new", *RUNS)) == [3.0, 4.0, 5.0, None]


def test_a_waiting_pack_gives_up_the_runs_that_come_in(there, tmp_path):
    exchange.write(there, tmp_path / "runs.tar")
    here = planned(tmp_path / "here", *RUNS, pack=4)
    assert take(here.path, tmp_path / "runs.tar") == 3
    here = study.read(here.path)
    assert losses(here) == [3.0, 4.0, 5.0, None]
    assert [[run.config for run in pack.runs] for pack in here.open_packs] == [[RUNS[3]]]


def test_the_same_runs_give_the_same_bytes(there, tmp_path):
    for name in ("a.tar", "b.tar"):
        exchange.write(there, tmp_path / name)
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


def test_what_is_one_of_many_is_kept_to_so_many_digits_and_sent_on_as_it_is(there, tmp_path):
    """All else is kept to the bit; numbers off by at most 2^-digits have zeros where they are cut."""
    rng = np.random.default_rng(0)
    odd = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, 3e38, -3e38], np.float32)
    values = np.concatenate([odd, rng.standard_normal(2000) * 10.0 ** rng.integers(-30, 30, 2000)]).astype(np.float32)
    history = {name: values for name in ("eval_loss", *histories.DIGITS)}
    file = histories.packed(history)
    kept = study.unpacked(file, hashlib.sha256(file).hexdigest())
    assert histories.packed(kept) == file
    for name, found in kept.items():
        assert found.dtype == np.float32
        if name not in histories.DIGITS:
            np.testing.assert_array_equal(found, values)
            continue
        digits = histories.DIGITS[name]
        np.testing.assert_array_equal(found[:6], values[:6])
        np.testing.assert_allclose(found, values, rtol=2.0**-digits)
        bits = found[np.isfinite(found)].view(np.uint32)[3:]  # nor of the smallest there is
        assert not (bits % 2 ** (24 - digits)).any()
    within = values[~(np.abs(values) > np.finfo(np.float16).max) | np.isinf(values)]
    file = histories.packed({"scores": within})
    assert len(file) < 2.5 * len(within)
    found = study.unpacked(file, hashlib.sha256(file).hexdigest())["scores"]
    np.testing.assert_allclose(found, within, rtol=2.0 ** -histories.DIGITS["scores"], atol=3e-8)


def edited(change, there: StudyFolder, folder: Path, sealed: bool = False) -> Path:
    """An export with its manifest changed."""
    exchange.write(there, folder / "edited")
    path = folder / "edited" / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    if not sealed:  # as versions without checksums wrote it
        manifest.pop("sha256")
    path.write_text(json.dumps(manifest))
    return folder / "edited"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m["packs"][0]["runs"][0]["config"].update(seed=77), r"runs\[0\].id is .*, the hash of its config"),
        (lambda m: m["packs"][0]["runs"][0].update(id="0" * 12), "the hash of its config"),
        (lambda m: m["packs"][0]["done"].update(history="0" * 64), "not what was written"),
        (lambda m: m["packs"][0]["done"].update(versions=[1]), "versions is a list, wanted an object"),
        (
            lambda m: m["packs"][0]["runs"][0].update(bytes_per_token=-1.0),
            "bytes_per_token is -1.0, wanted a number abo",
        ),
        (lambda m: m["packs"][0]["runs"][0].update(bytes_per_token=9.0), "was changed after it was written"),
        (lambda m: m["packs"][0].update(id="../../../../x"), "wanted 12 hexadecimal digits"),
        (lambda m: m["packs"].pop(), "is of no pack"),
        (lambda m: m.pop("packs"), "packs is missing"),
        (lambda m: m.update(format=2), "has format 2, this version reads 1"),
        (lambda m: m.update(name="theirs"), "is of study 'theirs'"),
        (lambda m: m["packs"][0]["runs"][0]["config"].update(colour="red"), "has no field 'colour'"),
    ],
)
def test_an_edited_or_foreign_file_is_refused_in_one_line_and_nothing_changes(change, message, there, tmp_path):
    here = planned(tmp_path / "here", *RUNS)
    before = (here.path / "study.json").read_bytes()
    with pytest.raises(InputError, match=message) as error:
        take(here.path, edited(change, there, tmp_path, sealed="changed" in message))
    assert "\n" not in str(error.value)
    assert (here.path / "study.json").read_bytes() == before
    assert losses(here) == [None] * 4


@pytest.mark.parametrize("kind", ["outside", "absolute", "link", "device", "pickle", "cut short", "text", "empty"])
def test_a_file_that_means_harm_is_refused_in_one_line(kind, there, tmp_path):
    path = tmp_path / "runs.tar"
    exchange.write(there, path)
    with tarfile.open(path, "a") as archive:
        member = tarfile.TarInfo({"outside": "../../harm", "absolute": "/tmp/harm"}.get(kind, "manifest.json"))
        if kind in ("link", "device"):
            member.type = tarfile.SYMTYPE if kind == "link" else tarfile.CHRTYPE
            member.linkname = "/etc/passwd"
        if kind in ("outside", "absolute", "link", "device"):
            archive.addfile(member, io.BytesIO())
        if kind == "pickle":
            file = io.BytesIO()
            np.save(file, np.array([object()], dtype=object), allow_pickle=True)
            member = tarfile.TarInfo("0" * 12 + ".npz")
            member.size = len(file.getvalue())
            archive.addfile(member, io.BytesIO(file.getvalue()))
    if kind == "cut short":
        path.write_bytes(path.read_bytes()[:3000])
    if kind in ("text", "empty"):
        path.write_text("hello" * (kind == "text"))
    with pytest.raises(InputError, match=r"runs\.tar") as error:
        take(tmp_path / "here", path)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "here").exists()
    assert not (tmp_path.parent / "harm").exists()


def test_nothing_finished_and_nothing_there_are_said(tmp_path):
    with pytest.raises(InputError, match="no pack is finished"):
        exchange.write(planned(tmp_path / "none", *RUNS), tmp_path / "runs.tar")
    with pytest.raises(InputError, match="no such file or folder"):
        take(tmp_path / "none", tmp_path / "absent.tar")


def test_what_became_of_a_run_is_read_from_its_history(there, tmp_path):
    path = edited(lambda m: m["packs"][0]["done"].update(loss=[0.5], status=["diverged"]), there, tmp_path)
    take(tmp_path / "here", path)
    assert losses(study.read(tmp_path / "here")) == [3.0, 4.0, 5.0]


def test_a_damaged_record_without_a_checkpoint_is_told_and_not_done(there):
    (there.pack_folder(there.packs[0]) / "history.npz").write_bytes(b"")
    assert losses(there)[:3] == [None, 4.0, 5.0]
    said = []
    study.prepare(Study("mine", "?", RUNS), there.path, pack=1, workers=1, say=said.append)
    assert "is damaged; its 1 runs are trained again" in said[0]
    assert [path.name for path in (there.pack_folder(there.packs[0]) / "unreadable").iterdir()]


def as_the_first_semantics_wrote_it(manifest) -> None:
    """Renames runs and packs of an export to what they were before positions and semantics stood in it."""
    for pack in manifest["packs"]:
        for run in pack["runs"]:
            for field in ("positions", "rotary_base", "position_scale"):
                del run["config"]["model"][field]
            del run["semantics"]
            read = config.recorded(run["config"], 1)
            run["id"] = config.identity(read, run["tokens_id"], semantics=1)


def test_the_runs_of_an_older_model_stay_what_they_were_and_are_not_trained_further(there, tmp_path):
    folder = edited(as_the_first_semantics_wrote_it, there, tmp_path)
    manifest = json.loads((folder / "manifest.json").read_text())
    for pack in manifest["packs"]:
        name = layout.pack_id(run["id"] for run in pack["runs"])
        (folder / f"{pack['id']}.npz").rename(folder / f"{name}.npz")
        pack["id"] = name
    (folder / "manifest.json").write_text(json.dumps(manifest))

    old = tmp_path / "old"
    assert take(old, folder) == 3
    assert losses(study.read(old)) == [3.0, 4.0, 5.0]
    assert set(records.read(old).runs["positions"]) == {"learned"}
    # Their first position saw one token, and its loss is the highest here; today's sees none.
    assert np.isfinite(records.read(old).runs["onset"]).all()
    assert records.read(old).positions["position"].min() == 2
    assert np.isnan(records.read(there.path).runs["onset"]).all()
    assert take(tmp_path / "again", export(old, tmp_path / "again.tar")) == 3  # what they are is kept on the way

    assert take(there.path, folder) == 3
    assert "3 of 6 runs are of an older model" in " ".join(records.read(there.path).runs.notes)
    said = []
    study.prepare(Study("mine", "?", RUNS), old, pack=1, workers=1, say=said.append)
    assert "3 runs are no longer of this study" in said[0]
    assert "3 of them are of an older model, which this version shows and fits but does not train" in said[1]
    assert {run.config for pack in study.read(old).open_packs for run in pack.runs} == set(RUNS)


def export(folder: Path, file: Path) -> Path:
    exchange.write(study.read(folder), file)
    return file


@pytest.mark.parametrize("field", ["positions", "position_scale"])
def test_what_an_older_model_was_cannot_be_edited(field, there, tmp_path):
    """Their identity does not cover what did not exist then."""
    folder = edited(as_the_first_semantics_wrote_it, there, tmp_path)
    values = json.loads((folder / "manifest.json").read_text())["packs"][0]["runs"][0]
    values["config"]["model"][field] = {"positions": "none", "position_scale": 9.0}[field]
    model = config.recorded(values["config"], 1).model
    assert (model.positions, model.position_scale) == ("learned", 1 / math.sqrt(8))


def test_a_pack_that_somebody_has_is_kept(there, tmp_path):
    exchange.write(there, tmp_path / "runs.tar")
    here = planned(tmp_path / "here", *RUNS, pack=4)
    with claims.take(here.claims(here.packs[0])) or pytest.fail("not taken"):
        take(here.path, tmp_path / "runs.tar")
    assert study.read(here.path).pack(here.packs[0].id)


def test_a_pack_that_is_being_trained_stays_and_the_others_come_in(there, tmp_path):
    exchange.write(there, tmp_path / "runs.tar")
    here, told = planned(tmp_path / "here", *RUNS), []
    begun = here.packs[1]
    with claims.take(here.claims(begun)) or pytest.fail("not taken"):
        assert exchange.read(here.path, tmp_path / "runs.tar", told.append) == 2
    assert told == [f"pack {begun.id} is being trained here, and stays as it is"]
    assert losses(study.read(here.path)) == [3.0, None, 5.0, None]


def test_a_name_that_is_no_tar_file_is_refused(there, tmp_path):
    with pytest.raises(InputError, match=r"ends in \.zip"):
        exchange.write(there, tmp_path / "runs.zip")


def test_a_broken_layout_is_told_in_one_line(there):
    path = there.path / "study.json"
    values = json.loads(path.read_text())
    values["layout"]["workers"] = "many"
    path.write_text(json.dumps(values))
    with pytest.raises(InputError, match="layout: workers 'many' of the layout is no number"):
        study.read(there.path)
