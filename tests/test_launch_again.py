"""What a platform does to a task, start it again elsewhere, and what the study makes of it."""

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scaling import cli, question, study
from scaling.data import encoding

CONFIG = """
import dataclasses
from scaling.config import *
from scaling.ladder import transformer
def study():
    data = DataConfig("synthetic:order=1,symbols=8,bytes=1e6", "bytes")
    model = transformer(8, 1, d_head=8, n_vocab=257, n_ctx=16)
    one = RunConfig(model, tokens=64 * 64, batch=4, data=data, eval=EvalConfig(windows=4))
    return Study("mine", "?", tuple(dataclasses.replace(one, seed=seed) for seed in range(4)))
"""


@pytest.fixture
def config(tmp_path, cache) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(CONFIG)
    return path


def scaling(*words: object) -> int:
    with pytest.raises(SystemExit) as end:
        cli.main([str(word) for word in words])
    return int(end.value.code or 0)


def states(folder: Path) -> set[bool]:
    whole = study.read(folder)
    return {whole.done(pack) is not None for pack in whole.packs}


@pytest.mark.slow
def test_a_task_that_comes_back_waits_for_the_lease_of_the_machine_that_is_gone(config, tmp_path):
    out = tmp_path / "out"
    whole = study.prepare(question.load(str(config), {}), out, workers=1, say=print)
    claim = whole.claims(whole.packs[0]) / "claim-000001"
    claim.parent.mkdir(parents=True)
    gone = {"host": "gone", "pid": 1, "place": "gone", "started": 1, "began": 0.0, "done": 0, "free": False}
    claim.write_text(json.dumps(gone))
    words = [sys.executable, "-m", "scaling.cli", "study", "run", str(config), "--out", str(out), "--mesh", "data=1"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as task:
        assert task.stderr
        assert any("held by process 1 on gone; waiting" in line for line in task.stderr)
        os.utime(claim, (0, 0))  # its lease ends
        task.stderr.read()
    assert task.returncode == 0
    assert states(out) == {True}


@pytest.mark.slow
def test_a_part_may_use_all_devices_for_each_of_its_packs(config, tmp_path):
    words = ["--out", tmp_path / "out", "--mesh", "data=1", "--shard"]
    assert scaling("study", "run", config, *words, "1/2") == 0
    assert states(tmp_path / "out") == {True, False}
    assert scaling("study", "run", config, *words, "2/2") == 0
    assert states(tmp_path / "out") == {True}


@pytest.mark.slow
def test_parts_in_folders_of_their_own_become_one_study(config, tmp_path):
    """As the manual gathers what parts have left in a bucket."""
    for part in (1, 2):
        words = ["study", "run", config, "--out", tmp_path / f"{part}-of-2", "--shard", f"{part}/2"]
        done = subprocess.run(
            [sys.executable, "-m", "scaling.cli", *map(str, words)], stderr=subprocess.PIPE, text=True
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr.splitlines()[-1] == f"{tmp_path / f'{part}-of-2'}: all runs in part {part}/2 are done"
        assert states(tmp_path / f"{part}-of-2") == {True, False}
        shutil.rmtree(tmp_path / f"{part}-of-2" / "planning")
        for checkpoints in (tmp_path / f"{part}-of-2").glob("packs/*/*/checkpoints"):
            shutil.rmtree(checkpoints)  # which nobody copies to a laptop
        file = tmp_path / f"{part}.tar"
        assert scaling("study", "export", tmp_path / f"{part}-of-2", "--records", file) == 0
        assert scaling("study", "import", tmp_path / "whole", file) == 0
    assert states(tmp_path / "whole") == {True}
    assert len(study.read(tmp_path / "whole").runs) == 4


def test_tokens_that_were_staged_with_their_text_are_found_wherever_that_lies(tmp_path):
    here, there, said = tmp_path / "here", tmp_path / "there", []
    here.mkdir()
    syllables = [f"{a}{b}{c}" for a in "bdfgk" for b in "aeiou" for c in "lmnrs"]
    rng = random.Random(0)
    for n in range(40):
        words = (rng.choice(syllables) + rng.choice(syllables) for _ in range(500))
        (here / f"{n}.txt").write_text(" ".join(words))

    def prepared(text: Path, cache: Path) -> str:
        source = f"text:{text}/*.txt"
        return encoding.prepare(
            source, "bpe", 400, train_tokens=1000, validation_tokens=100, cache=cache, say=said.append
        ).id

    made = prepared(here, tmp_path / "cache")
    assert any("encoding" in line for line in said)
    shutil.copytree(here, there, copy_function=shutil.copyfile)
    shutil.copytree(tmp_path / "cache", tmp_path / "copy", copy_function=shutil.copyfile)
    shutil.rmtree(here)
    said.clear()
    assert prepared(there, tmp_path / "copy") == made
    assert not any("encoding" in line or "learning" in line for line in said)
