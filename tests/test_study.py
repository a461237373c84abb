"""A study on disk: stable identities and packs, its file, its lock."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scaling import study
from scaling.config import DataConfig, EvalConfig, OptimConfig, RunConfig, Study
from scaling.errors import InputError
from scaling.ladder import transformer
from scaling.study import StudyFolder

DATA = DataConfig("synthetic:order=1,symbols=8,bytes=1e6", "bytes")
SMALL, LARGE = (transformer(d, 1, d_head=8, n_vocab=257, n_ctx=16) for d in (8, 16))


def a_run(model=SMALL, steps: int = 4, seed: int = 0, rate: float = 1e-2) -> RunConfig:
    return RunConfig(
        model,
        tokens=steps * 64,
        batch=4,
        seed=seed,
        data=DATA,
        optim=OptimConfig(learning_rate=rate),
        eval=EvalConfig(windows=8, per_octave=1, octaves=2),
    )


def a_study(*runs: RunConfig) -> Study:
    return Study("small", "Does it hold together?", runs)


def prepare(folder: Path, *runs: RunConfig, **options) -> StudyFolder:
    return study.prepare(a_study(*runs), folder, say=lambda line: None, **options)


pytestmark = pytest.mark.usefixtures("cache")

RUNS = (a_run(), a_run(seed=1), a_run(rate=1e-3), a_run(steps=8), a_run(LARGE), a_run(LARGE, seed=1))


def layout_of(whole: StudyFolder) -> dict[str, str]:
    """The pack of each run."""
    return {run.id: pack.id for pack in whole.all_packs for run in pack.runs}


def test_a_study_comes_back_from_its_file_as_it_was(tmp_path):
    whole = prepare(tmp_path, *RUNS)
    assert study.read(tmp_path) == whole
    assert [run.config for pack in whole.packs for run in pack.runs if run.id == whole.runs[3]] == [RUNS[3]]
    assert len(set(whole.runs)) == len(RUNS)


def test_planning_again_changes_nothing(tmp_path):
    prepare(tmp_path, *RUNS, pack=4)
    before = (tmp_path / "study.json").read_bytes()
    prepare(tmp_path, *RUNS)
    assert (tmp_path / "study.json").read_bytes() == before


def test_a_pack_holds_runs_of_one_program_length_and_data(tmp_path):
    whole = prepare(tmp_path, *RUNS, pack=16)
    packs = [[run.config for run in pack.runs] for pack in whole.packs]
    assert packs == [[RUNS[0], RUNS[1], RUNS[2]], [RUNS[3]], [RUNS[4], RUNS[5]]]
    assert [len(pack.runs) for pack in prepare(tmp_path / "two", *RUNS, pack=2).packs] == [2, 1, 1, 2]


def test_runs_keep_their_pack_when_others_come_and_go(tmp_path):
    whole = prepare(tmp_path, *RUNS, pack=2)
    before = layout_of(whole)
    new = a_run(seed=7)
    changed = prepare(tmp_path, new, *RUNS[1:3])
    assert len(changed.runs) == 3
    assert layout_of(changed).items() >= before.items()
    assert {run.config for pack in changed.packs for run in pack.runs} >= {new, *RUNS[1:3]}
    assert [row[0].config for row in study.status(changed)] == [new, *RUNS[1:3]]  # only those of the study now
    again = prepare(tmp_path, *RUNS)
    assert again.runs == whole.runs
    assert layout_of(again).items() >= before.items()


def test_the_same_run_twice_is_one_run(tmp_path):
    assert len(prepare(tmp_path, RUNS[0], RUNS[0], RUNS[1]).runs) == 2


def test_a_layout_once_chosen_is_reused(tmp_path):
    first = prepare(tmp_path, *RUNS, pack=3, workers=1)
    assert (first.layout.runs_per_pack, first.layout.workers) == (3, 1)
    assert prepare(tmp_path, *RUNS).layout == first.layout


def test_without_an_accelerator_there_is_a_worker_per_core_and_a_run_per_program(tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    layout = prepare(tmp_path, *RUNS).layout
    assert (layout.device, layout.runs_per_pack, layout.workers) == ("cpu", 1, len(study.cores()))


@pytest.mark.parametrize("options", [{"workers": 10_000}, {"workers": -1}, {"pack": -1}])
def test_impossible_layouts_are_refused(options, tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    with pytest.raises(InputError, match=f"--{next(iter(options))} ") as error:
        prepare(tmp_path, *RUNS, **options)
    assert "\n" not in str(error.value)


def test_status_tells_what_each_run_has_come_to(tmp_path):
    whole = prepare(tmp_path, *RUNS, pack=1)
    assert {state for _, state, _, _ in study.status(whole)} == {"waiting"}
    done, begun, failed, *_ = (whole.pack_folder(pack) for pack in whole.packs)
    done.mkdir(parents=True)
    (done / "done.json").write_text(json.dumps({"steps": 4, "seconds": 1, "status": ["diverged"], "loss": [None]}))
    (begun / "checkpoints" / "3").mkdir(parents=True)
    (begun / "checkpoints" / "4.orbax-checkpoint-tmp").mkdir()
    failed.mkdir(parents=True)
    (failed / "error.txt").write_text("what happened")
    assert [(state, at) for _, state, at, _ in study.status(whole)] == [
        ("diverged", 4),
        ("begun", 3),
        ("failed", 0),
        *[("waiting", 0)] * 3,
    ]
    assert len(whole.open_packs) == 5
    costs = [pack.cost for pack in whole.open_packs]
    assert costs == sorted(costs, reverse=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "is not a study: it has no study.json"),
        ("", "study.json"),
        ("{", "study.json"),
        ("[]", "study.json"),
        ("{}", "study.json"),
        ('{"format": 1}', "study.json"),
        ('{"format": 2}', "has format 2, this version reads 1"),
        ("\x00\x01", "study.json"),
    ],
)
def test_a_folder_that_is_no_study_is_refused_in_one_line(text, message, tmp_path):
    if text is not None:
        (tmp_path / "study.json").write_text(text)
    with pytest.raises(InputError, match=message) as error:
        study.read(tmp_path)
    assert "\n" not in str(error.value)
    assert str(tmp_path) in str(error.value)


# Configs


CONFIG = """
from scaling.config import *
from scaling.ladder import transformer
def study(n: int = 2, D: int = 1024, name: str = "mine"):
    model = transformer(8, 1, d_head=8, n_vocab=257, n_ctx=16)
    return Study(name, "?", tuple(RunConfig(model, tokens=D, batch=4, seed=seed) for seed in range(n)))
"""


def test_a_config_file_takes_its_parameters_and_fields_of_its_runs(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(CONFIG)
    found = study.load(str(path), {"n": "3", "D": "2048", "optim.learning_rate": "0.5", "model.dropout": "0.1"})
    assert [run.seed for run in found.runs] == [0, 1, 2]
    assert {(run.tokens, run.optim.learning_rate, run.model.dropout) for run in found.runs} == {(2048, 0.5, 0.1)}


@pytest.mark.parametrize(
    ("text", "settings", "message"),
    [
        (CONFIG, {"m": "3"}, "unknown key 'm'"),
        (CONFIG, {"model.d_modle": "3"}, "did you mean 'model.d_model'"),
        (CONFIG, {"n": "three"}, "n=three: wanted a whole number"),
        (CONFIG, {"n": "0"}, "study 'mine' has no runs"),
        (CONFIG, {"tokens": "1000"}, "tokens=1000 is not a whole number of steps"),
        ("", {}, "has no function named study"),
        ("study = 3", {}, "has no function named study"),
        ("def study(): return 3", {}, "wanted a scaling.config.Study"),
        ("def study(x: int): pass", {}, "x"),
        ("def study(:", {}, "line 1"),
        ("\x00\x01\x02", {}, "mine.py"),
        (None, {}, "no config file"),
    ],
)
def test_configs_that_cannot_be_used_are_refused_in_one_line(text, settings, message, tmp_path):
    path = tmp_path / "mine.py"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=message) as error:
        study.load(str(path), settings)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["configs.quikstart", "nowhere", "configs/quickstart", "", ".", "a..b", ".quickstart"])
def test_a_name_that_is_no_config_is_refused_in_one_line(name):
    with pytest.raises(InputError, match="no config") as error:
        study.load(name, {})
    assert "\n" not in str(error.value)


def test_a_binary_file_is_refused_in_one_line(tmp_path):
    (tmp_path / "mine.py").write_bytes(os.urandom(2000))
    with pytest.raises(InputError, match=r"mine\.py"):
        study.load(str(tmp_path / "mine.py"), {})


@pytest.mark.parametrize("name", ["configs.quickstart", "configs.learning_rate"])
def test_the_configs_that_come_with_the_project_load(name):
    assert study.load(name, {}).runs


# The lock


def test_a_second_process_says_so_and_waits_for_the_first(tmp_path):
    code = """
import sys, pathlib
from scaling import study
with study.lock(pathlib.Path(sys.argv[1]), lambda line: print(line, flush=True)):
    print("mine", flush=True)
"""
    with study.lock(tmp_path, pytest.fail):
        second = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert second.stdout is not None
        line = second.stdout.readline()
        assert f"{tmp_path} is being run by process {os.getpid()}; waiting" in line
    assert second.communicate(timeout=60)[0] == "mine\n"
    assert second.returncode == 0


def test_a_lock_ends_with_its_process_and_is_free_again(tmp_path):
    for _ in range(2):
        with study.lock(tmp_path, pytest.fail):
            assert (tmp_path / "lock").read_text() == str(os.getpid())
    killed = """
import os, pathlib, sys
from scaling import study
with study.lock(pathlib.Path(sys.argv[1]), print):
    os._exit(9)
"""
    assert subprocess.run([sys.executable, "-c", killed, str(tmp_path)]).returncode == 9
    with study.lock(tmp_path, pytest.fail):
        pass


def test_a_study_is_read_and_planned_without_jax():
    code = "import sys; from scaling import study, workers, cli; assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_same_tokens_under_another_name_are_the_same_runs(tmp_path):
    other = DataConfig("synthetic:bytes=1000000,symbols=8,order=1,seed=0", "bytes")
    moved = prepare(tmp_path / "b", *(dataclasses.replace(run, data=other) for run in RUNS))
    assert moved.runs == prepare(tmp_path / "a", *RUNS).runs
