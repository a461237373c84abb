"""What is said while a training runs."""

import dataclasses
import importlib.util
import math

import numpy as np
import pytest

from scaling import counts, train, watch
from scaling.config import RunConfig
from scaling.errors import InputError
from scaling.ladder import transformer

pytestmark = pytest.mark.usefixtures("unoptimised")

RUN = RunConfig(transformer(64, 2, n_ctx=32), tokens=1000 * 16 * 32)


@pytest.mark.parametrize(
    ("kind", "tflops"),
    [
        ("TPU v4", 275),
        ("TPU v5 lite", 197),
        ("TPU v5", 459),
        ("TPU v5p", 459),
        ("TPU v6 lite", 918),
        ("TPU7x", 1153.5),  # a device is half a chip
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H200", 989),
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA GeForce RTX 4090", 165.2),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", math.nan),  # another chip
        ("NVIDIA H100 PCIe", math.nan),  # slower than the board whose peak is known
        ("cpu", math.nan),
        ("something else", math.nan),
    ],
)
def test_the_peak_is_that_of_the_data_sheet(kind, tflops):
    np.testing.assert_equal(watch.peak(kind) / 1e12, tflops)


def test_a_line_tells_speed_mfu_loss_gradient_and_rate():
    said = []
    seen = watch.Watch([RUN], ["NVIDIA H100"] * 2, said.append)
    metrics = {"train_loss": np.array([[9.0], [3.25]]), "grad_norm": np.array([[1.0], [0.5]])}
    line = seen.line(500, 10.0, metrics, [1e-3])
    share = 10 * 16 * 32 * counts.mfu_flops_per_token(RUN.model) / (2 * 989e12)
    assert line == (
        f"500 of 1,000 updates, 0:50 left: loss 3.2500, gradient 0.5, rate 0.001, 5,120 tokens/s, MFU {share:.1%}"
    )
    assert "MFU" not in watch.Watch([RUN], ["cpu"], said.append).line(500, 10.0, metrics, [1e-3])
    given = watch.Watch([RUN], ["something else"] * 2, said.append, each=989e12)
    assert f"MFU {share:.1%}" in given.line(500, 10.0, metrics, [1e-3])


def test_a_training_is_watched_without_being_changed(tiny, stream, tmp_path, monkeypatch):
    monkeypatch.setattr(watch, "EVERY", 0.0)
    said = []
    seen = watch.Watch([tiny], ["cpu"], said.append, profile=(4, 8))
    monkeypatch.chdir(tmp_path)
    told = []

    def both(done, metrics):
        told.append((done, metrics["train_loss"][-1, 0]))
        seen(done, metrics)

    history = train.train([tiny], stream[:15_000], stream[15_000:], tmp_path / "run", separator=0, watch=both)
    seen.close()
    assert [loss for _, loss in told] == [history["train_loss"][done - 1, 0] for done, _ in told]
    assert said[-1].startswith("24 of 24 updates")
    assert "profile written to profile" in said
    assert list((tmp_path / "profile").rglob("*.xplane.pb"))


def test_runs_of_a_pack_that_are_over_are_not_counted():
    short = dataclasses.replace(RUN, tokens=RUN.tokens // 2)
    seen = watch.Watch([RUN, short], ["cpu"], print)
    metrics = {"train_loss": np.array([[3.0, np.nan]]), "grad_norm": np.array([[1.0, np.nan]])}
    assert "5,120 tokens/s" in seen.line(600, 10.0, metrics, [1e-3])
    assert "loss 3.0000" in seen.line(600, 10.0, metrics, [1e-3])


@pytest.mark.parametrize("text", ["", "5", "8:4", "4:4", "a:b"])
def test_a_span_that_is_none_is_told(text):
    with pytest.raises(InputError, match="wanted FROM:TO in updates"):
        watch.span(text)


def test_tensorboard_is_written_or_missed_in_one_line(tmp_path):
    if importlib.util.find_spec("tensorboardX") is None:
        with pytest.raises(InputError, match="needs the package tensorboardX"):
            watch.Watch([RUN], ["cpu"], print, tmp_path)
        return
    seen = watch.Watch([RUN], ["cpu"], print, tmp_path)
    seen(16, {"train_loss": np.array([[3.0]]), "grad_norm": np.array([[1.0]])})
    seen.close()
    assert list(tmp_path.glob("events.out.tfevents*"))
