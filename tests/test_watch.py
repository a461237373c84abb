"""What is said while a training runs."""

import dataclasses
import importlib.util
import math
import time

import numpy as np
import pytest
from gcs_stub import Stub

from scaling import buckets, counts, train, watch
from scaling.buckets import Bucket
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


def scalars(folder) -> dict[str, list[tuple[int, float]]]:
    """What a folder of TensorBoard's files has: (step, value) by tag. Records: 8 bytes of length, 4, the event, 4."""
    from tensorboardX.proto import event_pb2  # pyright: ignore[reportMissingImports]

    found: dict[str, list[tuple[int, float]]] = {}
    for path in folder.glob("events.out.tfevents*"):
        raw, at = path.read_bytes(), 0
        while at < len(raw):
            n = int.from_bytes(raw[at : at + 8], "little")
            event = event_pb2.Event.FromString(  # pyright: ignore[reportAttributeAccessIssue]
                raw[at + 12 : at + 12 + n]
            )
            at += n + 16
            for value in event.summary.value:
                found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return found


def test_recorded_curves_are_tensorboards_files_or_one_line(tmp_path):
    runs = {
        "N=768 D=96": {"tokens": np.array([32, 96]), "loss": np.array([5.0, 4.0])},
        "N=768 D=32": {"tokens": np.array([32]), "loss": np.array([np.nan]), "train_loss": np.array([3.5])},
    }
    if importlib.util.find_spec("tensorboardX") is None:
        with pytest.raises(InputError, match="needs the package tensorboardX"):
            watch.write_curves(tmp_path / "board", runs)
        return
    watch.write_curves(tmp_path / "board", runs)
    assert scalars(tmp_path / "board" / "N=768 D=96") == {"loss": [(32, 5.0), (96, 4.0)]}
    assert scalars(tmp_path / "board" / "N=768 D=32") == {"train_loss": [(32, 3.5)]}
    with pytest.raises(InputError, match="is not empty; give a new folder"):
        watch.write_curves(tmp_path / "board", runs)


def test_recorded_curves_are_runs_that_wandb_can_send_or_one_line(tmp_path):
    runs = {"N=768 D=96": {"tokens": np.array([32, 96]), "loss": np.array([5.0, np.nan])}}
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("")
    with pytest.raises(InputError, match="is not empty; give a new folder"):
        watch.write_wandb(tmp_path / "full", runs, "mine")
    if importlib.util.find_spec("wandb") is None:
        with pytest.raises(InputError, match="needs the package wandb"):
            watch.write_wandb(tmp_path / "board", runs, "sizes: 1/2")
        return
    watch.write_wandb(tmp_path / "board", runs, "sizes: 1/2")
    [file] = tmp_path.glob("board/wandb/offline-run-*/run-*.wandb")
    assert b"N=768 D=96" in file.read_bytes()
    assert b"sizes- 1-2" in file.read_bytes()  # the project, in which no such marks may be


def test_tensorboard_is_written_or_missed_in_one_line(tmp_path):
    if importlib.util.find_spec("tensorboardX") is None:
        with pytest.raises(InputError, match="needs the package tensorboardX"):
            watch.Watch([RUN], ["cpu"], print, tmp_path)
        return
    seen = watch.Watch([RUN], ["cpu"], print, tmp_path)
    seen(16, {"train_loss": np.array([[3.0]]), "grad_norm": np.array([[1.0]])})
    seen.close()
    [name] = {tag.partition("/")[2] for tag in scalars(tmp_path)}
    assert name == f"N_{RUN.model.N}_D_{RUN.tokens}_rate_{RUN.optim.learning_rate:.3g}_seed_{RUN.seed}"
    assert scalars(tmp_path)[f"train_loss/{name}"] == [(16 * RUN.batch_tokens, 3.0)]


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_curves_in_a_bucket_are_sent_while_they_grow_and_a_store_that_is_away_ends_nothing(tmp_path, monkeypatch):
    pytest.importorskip("tensorboardX")
    pytest.importorskip("gcsfs")
    monkeypatch.setenv("SCALING_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("gcsfs.retry.asyncio.sleep", _at_once)
    monkeypatch.setattr(watch, "SEND_EVERY", 0.02)
    said: list[str] = []
    with Stub() as stub:
        for variable, value in stub.environment.items():
            monkeypatch.setenv(variable, value)
        buckets._connected.cache_clear()
        stub.away = True
        seen = watch.Watch([RUN], ["cpu"], said.append, Bucket("gs://study/x/tensorboard"))
        seen(16, {"train_loss": np.array([[3.0]]), "grad_norm": np.array([[1.0]])})
        while not said:
            time.sleep(0.01)
        stub.away = False
        while not stub.names("study"):
            time.sleep(0.01)
        seen.close()
        buckets._connected.cache_clear()
        [name] = stub.names("study")
        assert name.startswith("x/tensorboard/events.out.tfevents.")
        (tmp_path / name.rpartition("/")[2]).write_bytes(stub.content("study", name))
    assert [line.partition(":")[0] for line in said] == ["gs"]
    assert "curves are not in the bucket yet" in said[0]
    assert len(scalars(tmp_path)) == 3
    assert not list((tmp_path / "cache" / "staging").iterdir())


async def _at_once(seconds: float) -> None: ...


def test_runs_of_a_pack_have_names_of_their_own_and_no_points_after_their_end(tmp_path):
    pytest.importorskip("tensorboardX")
    short = dataclasses.replace(RUN, tokens=8 * RUN.batch_tokens)
    seen = watch.Board([RUN, RUN, short], tmp_path, print)
    seen(16, {"train_loss": np.array([[3.0, 4.0, np.nan]])})
    seen(32, {"train_loss": np.array([[2.0, 3.0, np.nan]])})  # within a second
    seen.close()
    losses = {tag: points for tag, points in scalars(tmp_path).items() if tag.startswith("train_loss/")}
    assert sorted(losses.values()) == [[(16 * RUN.batch_tokens, 3.0)], [(16 * RUN.batch_tokens, 4.0)]]
