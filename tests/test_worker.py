"""A worker with several devices: the lanes of its pack lie on all of them, and nothing else changes."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import QUICKLY, ROOT
from test_distributed import rounding

from scaling import folders, study
from scaling.config import DataConfig, EvalConfig, OptimConfig, RunConfig, Study
from scaling.ladder import transformer
from scaling.study import StudyFolder

DATA = DataConfig("synthetic:order=1,symbols=8,bytes=1e6", "bytes")
RUN = RunConfig(
    transformer(8, 1, d_head=8, n_vocab=257, n_ctx=16), tokens=64, batch=4, data=DATA, eval=EvalConfig(windows=8)
)
STEPS = 1200
# Relative, on other numbers of devices: products of other shapes round otherwise, and training magnifies that.
EARLY, TOLERANCE, TOLERANCE_OF_NORMS = 100, 1e-5, 1e-4  # of the first updates
LATER, LATER_OF_NORMS = 5e-3, 5e-2  # of all; 4.8e-4 was seen of a loss


def planned(folder: Path, patch: pytest.MonkeyPatch, devices: int) -> StudyFolder:
    """A study of eight runs of two lengths for a machine with so many GPUs, as one pack."""
    patch.setenv("JAX_PLATFORMS", "gpu")
    patch.setenv("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(devices))))
    runs = tuple(
        dataclasses.replace(
            RUN, tokens=64 * STEPS // (1 + i % 2), seed=i // 4, optim=OptimConfig(learning_rate=2e-3 * (1 + i // 2))
        )
        for i in range(8)
    )
    return study.prepare(Study("spread", "?", runs), folder, workers=1, say=lambda line: None)


def train(whole: StudyFolder, devices: int, *, stop: bool = False) -> dict[str, Any]:
    """Has a worker train the only pack with so many virtual devices; what it said last.

    Args:
      stop: tell it to leave once it trains.
    """
    (pack,) = whole.packs
    virtual = {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(devices)}
    env = os.environ | virtual | {"XLA_FLAGS": QUICKLY}
    command = [sys.executable, "-m", "scaling.worker", str(whole.path), whole.layout.device, "0"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, env=env, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(json.dumps({"pack": pack.id}) + "\n")
        process.stdin.flush()
        event: dict[str, Any] = {}
        for line in process.stdout:
            event = json.loads(line)
            assert event["event"] in ("ready", "progress", "left", "done"), event
            if event["event"] == "done" or (stop and event.get("done", 0) > 0 and not process.stdin.closed):
                process.stdin.close()
    return event


def devices_of_lanes(whole: StudyFolder) -> set[int]:
    """Over how many devices the lanes of the arrays in the newest checkpoint lay, as Orbax noted it."""
    folder = whole.pack_folder(whole.packs[0])
    path = folder / "checkpoints" / str(max(folders.saved_steps(folder))) / "state" / "_sharding"
    notes = [json.loads(note) for note in json.loads(path.read_text()).values()]
    assert all(note["partition_spec"][0] == "run" for note in notes)
    return {dict(zip(note["axis_names"], note["shape"], strict=True))["run"] for note in notes}


def curves(whole: StudyFolder) -> dict[str, np.ndarray]:
    found = study.history(whole, whole.packs[0])
    assert found is not None
    return {name: values for name, values in found.items() if name != "seconds"}


@pytest.mark.slow
def test_a_pack_on_four_devices_stopped_and_ended_on_two_has_the_losses_of_one(cache, tmp_path, monkeypatch):
    four = planned(tmp_path / "four", monkeypatch, 4)
    assert (four.layout.device, four.layout.devices) == ("gpu", 4)
    assert study.read(four.path).layout == four.layout  # before the first step
    left = train(four, 4, stop=True)
    assert left["event"] == "left"
    assert 0 < left["done"] < STEPS
    assert devices_of_lanes(four) == {4}
    assert train(four, 2)["event"] == "done"
    assert devices_of_lanes(four) == {2}
    one = planned(tmp_path / "one", monkeypatch, 1)
    assert train(one, 1)["event"] == "done"
    found, wanted = curves(four), curves(one)
    assert found.keys() == wanted.keys()
    for name in wanted:
        early, later = (TOLERANCE_OF_NORMS, LATER_OF_NORMS) if name == "grad_norm" else (TOLERANCE, LATER)
        np.testing.assert_allclose(found[name], wanted[name], rtol=later + rounding(name), err_msg=name)
        if name in ("train_loss", "grad_norm"):
            first = found[name][:EARLY], wanted[name][:EARLY]
            np.testing.assert_allclose(*first, rtol=early + rounding(name), err_msg=name)
