"""Checkpoints: exact, committed together, and never read wrongly however they are damaged."""

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT
from orbax.checkpoint import v1 as ocp

from scaling import checkpoints, folders, histories
from scaling.checkpoints import Record
from scaling.errors import InputError
from scaling.histories import History

pytestmark = pytest.mark.usefixtures("unoptimised")


def state_of(step: int) -> dict:
    """Leaves of several sizes, so that Orbax stores some in line and some in files of their own."""
    rng = np.random.default_rng(step)
    return {
        "step": jnp.full(2, step, jnp.int32),
        "params": {"w": jnp.asarray(rng.normal(size=(2, 60, 50)), jnp.float32), "b": jnp.asarray(rng.normal(size=3))},
    }


def history_of(step: int) -> History:
    rng = np.random.default_rng(step)
    return {
        "train_loss": rng.normal(size=(step, 2)).astype(np.float32),
        "grad_norm": np.where(rng.random((step, 2)) < 0.1, np.nan, 1).astype(np.float32),
        "eval_step": np.arange(step, dtype=np.int64) + 2**40,
        "eval_loss": rng.normal(size=(step, 2, 40)).astype(np.float32),
        "seconds": np.asarray(1 / 3 + step),
        "finished": np.asarray(step == 30),
    }


def abstract(step: int):
    return jax.eval_shape(lambda: state_of(step))


def assert_same(found, wanted) -> None:
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        assert np.asarray(a).dtype == np.asarray(b).dtype
        np.testing.assert_array_equal(a, b)


def restored(folder: Path, say: Callable[[str], None] = pytest.fail):
    kept = Record(folder)
    try:
        return kept.restore(abstract, say)
    finally:
        kept.close()


@pytest.fixture(scope="module")
def pack(tmp_path_factory) -> Path:
    """Checkpoints after 10, 20 and 30 updates, of which the last two are kept."""
    folder = tmp_path_factory.mktemp("pack")
    kept = Record(folder)
    for step in (10, 20, 30):
        kept.save(step, state_of(step), history_of(step))
    kept.close()
    return folder


def files(folder: Path) -> list[Path]:
    newest = folder / "checkpoints" / "30"
    return sorted(path.relative_to(folder) for path in newest.rglob("*") if path.is_file())


def test_nothing_is_there_before_the_first_checkpoint(tmp_path):
    assert restored(tmp_path) is None
    assert checkpoints.read_history(tmp_path) is None
    assert checkpoints.read_history(tmp_path / "absent") is None


def test_state_and_history_come_back_bit_for_bit(pack):
    assert_same(restored(pack), (30, state_of(30), history_of(30)))
    history = checkpoints.read_history(pack)
    assert_same(history, history_of(30))
    assert history is not None
    assert {type(values) for values in history.values()} == {np.ndarray}


def test_two_checkpoints_are_kept(pack):
    assert folders.saved_steps(pack) == [20, 30]


def test_a_step_already_there_is_kept(tmp_path):
    kept = Record(tmp_path)
    kept.save(10, state_of(10), history_of(10))
    kept.save(10, state_of(20), history_of(20))
    kept.close()
    assert_same(restored(tmp_path), (10, state_of(10), history_of(10)))


DAMAGES: dict[str, Callable[[Path, random.Random], object]] = {
    "truncated": lambda path, rng: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "removed": lambda path, rng: path.unlink(),
    "one bit": lambda path, rng: flip(path, rng),
}


def flip(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_to_any_file_of_the_newest_falls_back_to_the_one_before(damage, pack, tmp_path, capfd):
    rng = random.Random(0)
    for number, file in enumerate(files(pack)):
        copy = tmp_path / str(number)
        shutil.copytree(pack, copy)
        DAMAGES[damage](copy / file, rng)
        newest = (30, state_of(30), history_of(30))
        unnoticed = damage == "removed" and file.name == checkpoints.SEAL  # as after a crash before it was written
        if file.name != checkpoints.SEAL:  # else either is right
            assert_same(checkpoints.read_history(copy), history_of(20 if file.parts[2] == "history" else 30))
        said: list[str] = []
        found = restored(copy, said.append)
        if unnoticed:
            assert_same(found, newest)
            assert not said
            continue
        assert_same(found, (20, state_of(20), history_of(20)))
        (line,) = said
        assert line.startswith("checkpoint of step 30 is unreadable, using the one before (")
        assert "\n" not in line
        assert folders.saved_steps(copy) == [20]
        assert (copy / "unreadable" / "30").is_dir()  # set aside, not destroyed
        shutil.rmtree(copy)
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""  # one line to `say`, and no tracebacks of Orbax beside it


def test_when_no_checkpoint_is_readable_the_pack_begins_again(pack, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(pack, copy)
    for step in (20, 30):
        (copy / "checkpoints" / str(step) / "history" / "_METADATA").write_bytes(b"")
    said: list[str] = []
    assert restored(copy, said.append) is None
    assert [line.split(" is")[0] for line in said] == ["checkpoint of step 30", "checkpoint of step 20"]
    assert checkpoints.read_history(copy) is None


def other(**changes) -> Callable[[int], Any]:
    """Shapes that are not those of `state_of`."""

    def shapes(step: int):
        state = state_of(step)
        return jax.eval_shape(lambda: state | {"params": state["params"] | changes})

    return shapes


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (other(w=jnp.ones((2, 60, 51))), r"params.w is float32\[2,60,50\] there and float32\[2,60,51\] here;"),
        (other(w=jnp.ones((2, 60, 50), jnp.bfloat16)), r"float32\[2,60,50\] there and bfloat16\[2,60,50\] here;"),
        (other(b_up=jnp.ones(2), c=jnp.ones(3)), r"params.b_up is absent there and .* here \(and 1 more\);"),
        (
            lambda step: jax.eval_shape(lambda: {"step": state_of(step)["step"]}),
            r"params.b is float32\[3\] there and ab",
        ),
    ],
)
def test_a_whole_checkpoint_of_another_model_is_told_in_one_line_and_left_where_it_is(wanted, words, pack, capfd):
    kept = Record(pack)
    with pytest.raises(InputError, match=words) as error:
        kept.restore(wanted, pytest.fail)
    kept.close()
    assert "checkpoint of step 30 is of another model" in str(error.value)
    assert "\n" not in str(error.value)
    assert folders.saved_steps(pack) == [20, 30]
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


@pytest.mark.parametrize(
    ("begun", "words"),
    [
        ({"train_loss": np.zeros((0, 3), np.float32)}, r"train_loss is float32\[2\] there and float32\[3\] here"),
        ({"noise_sq": np.zeros((0, 2, 4), np.float32)}, r"noise_sq is absent there and float32\[2,4\] here"),
    ],
)
def test_a_checkpoint_with_other_measurements_is_told_in_one_line_and_one_with_the_same_is_read(begun, words, pack):
    same = {name: values[:0] if values.ndim else values for name, values in history_of(0).items()}
    kept = Record(pack)
    with pytest.raises(InputError, match=words):
        kept.restore(abstract, pytest.fail, same | begun)
    assert kept.restore(abstract, pytest.fail, same) is not None
    kept.close()


def test_what_another_program_has_saved_with_orbax_is_told_in_one_line(tmp_path):
    ocp.save(str(tmp_path / "checkpoints" / "7"), {"w": jnp.ones(3)})
    with pytest.raises(InputError, match="checkpoint of step 7 is of another model, optimiser or version: it has no h"):
        restored(tmp_path)


def test_damage_that_no_seal_tells_of_falls_back_to_the_one_before(pack, tmp_path):
    """As after a crash just before the seal was written, and another that spoilt the disk."""
    for number, spoil in enumerate((lambda path: (path / "state" / "_METADATA").write_bytes(b""), emptied)):
        copy = tmp_path / str(number)
        shutil.copytree(pack, copy)
        (copy / "checkpoints" / "30" / checkpoints.SEAL).unlink()
        spoil(copy / "checkpoints" / "30")
        said: list[str] = []
        assert_same(restored(copy, said.append), (20, state_of(20), history_of(20)))
        assert [line.split(" is")[0] for line in said] == ["checkpoint of step 30"]


def emptied(path: Path) -> None:
    shutil.rmtree(path)
    path.mkdir()


def test_a_pack_goes_on_saving_after_a_damaged_checkpoint(pack, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(pack, copy)
    (copy / "checkpoints" / "30" / "state" / "_METADATA").unlink()
    kept = Record(copy)
    assert kept.restore(abstract, lambda line: None) is not None
    for step in (25, 30):
        kept.save(step, state_of(step), history_of(step))
    kept.close()
    assert folders.saved_steps(copy) == [25, 30]
    assert_same(restored(copy), (30, state_of(30), history_of(30)))


def test_an_unfinished_save_is_not_a_checkpoint(pack, tmp_path):
    """What a kill in the middle of a save leaves: a folder with a temporary name."""
    copy = tmp_path / "copy"
    shutil.copytree(pack, copy)
    unfinished = copy / "checkpoints" / "40.orbax-checkpoint-tmp"
    shutil.copytree(copy / "checkpoints" / "30", unfinished)
    assert folders.saved_steps(copy) == [20, 30]
    assert_same(checkpoints.read_history(copy), history_of(30))
    assert_same(restored(copy), (30, state_of(30), history_of(30)))
    deadline = time.monotonic() + 30
    while unfinished.exists() and time.monotonic() < deadline:  # it is deleted in the background
        time.sleep(0.05)
    assert not unfinished.exists()


def test_a_run_that_ends_above_its_start_diverged_unless_that_is_chance():
    """One that rose steadily, one that wandered up, and one whose few updates near its first loss were unlucky."""
    rng = np.random.default_rng(0)
    wild = 8 + rng.standard_normal(400)
    unlucky = np.concatenate([0.69 + 0.12 * rng.standard_normal(61), [0.75, 0.7, 0.68]])
    for train_loss, start, ended in ((np.linspace(6, 6.5, 400), 6.2, True), (wild, 6.2, True), (unlucky, 0.69, False)):
        history = {"train_loss": train_loss[:, None], "eval_loss": np.full((1, 1, 2), start)}
        assert histories.diverged(history).tolist() == [ended]


def test_a_run_ends_with_its_first_loss_that_is_not_a_number_however_long_its_pack_goes_on():
    """Alone it is left at the next dispatch, beside others it is carried along to their end."""

    def history(rows: int, *runs: int) -> histories.History:
        train_loss = np.ones((48, 3), np.float32)
        train_loss[10:, 1] = np.nan
        train_loss[20:, 2] = np.nan  # its end
        whole = {"train_loss": train_loss, "eval_loss": np.full((1, 3, 2), 2, np.float32)}
        return {
            "train_loss": whole["train_loss"][:rows, runs],
            "eval_loss": whole["eval_loss"][:, runs],
            "steps": np.minimum(rows, np.array([48, 48, 20]))[list(runs)],
        }

    assert histories.steps(history(48, 0, 1, 2)).tolist() == [48, 11, 20]
    assert histories.diverged(history(48, 0, 1, 2)).tolist() == [False, True, False]
    assert histories.steps(history(16, 1)).tolist() == [11]
    assert histories.diverged(history(16, 1)).tolist() == [True]
    assert histories.steps(history(0, 0, 1)).tolist() == [0, 0]


SPREAD = """
import sys
from pathlib import Path
import jax, numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from scaling.checkpoints import Record

along = NamedSharding(jax.make_mesh((4,), ("fsdp",)), PartitionSpec("fsdp"))
weights = {"w": jax.device_put(np.arange(32, dtype=np.float32).reshape(8, 4), along)}
kept = Record(Path(sys.argv[1]))
kept.save(3, {"params": weights, "moments": weights}, {"train_loss": np.zeros((3, 1), np.float32)})
kept.close()
"""


def test_weights_of_four_devices_are_read_where_there_is_one(tmp_path):
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "4"}
    subprocess.run([sys.executable, "-c", SPREAD, str(tmp_path)], env=environment, cwd=ROOT, check=True)
    step, params = checkpoints.read_params(tmp_path) or pytest.fail("no weights")
    assert step == 3
    np.testing.assert_array_equal(params["w"], np.arange(32).reshape(8, 4))
    assert params.keys() == {"w"}
