"""How many devices there are, and how runs become packs whose lanes they share."""

import dataclasses
import os
import tempfile

import pytest

from scaling import calibration, layout, packs
from scaling.config import RunConfig
from scaling.errors import InputError
from scaling.ladder import transformer

RUN = RunConfig(transformer(8, 1, d_head=4, n_vocab=32, n_ctx=16), tokens=100 * 64, batch=4)


def seeds(n: int, steps: int = 100) -> list[RunConfig]:
    return [dataclasses.replace(RUN, seed=seed, tokens=steps * 64) for seed in range(n)]


def sizes(n: int, most: int, devices: int) -> list[int]:
    packed = layout.packed(seeds(n), lambda run: run, lambda run: None, lambda run: most, devices)
    assert [run.seed for pack in packed for run in pack] == list(range(n))
    return [len(pack) for pack in packed]


def test_a_pack_has_as_many_runs_as_its_devices_can_share():
    assert sizes(16, 16, 8) == [16]
    assert sizes(40, 16, 8) == [16, 16, 8]
    assert sizes(5, 16, 8) == [5]  # one on each of five
    assert sizes(12, 16, 8) == [12]  # two on each of six, as long as two on each of eight
    assert sizes(13, 16, 8) == [8, 5]  # thirteen divide over one device alone
    assert sizes(13, 16, 1) == [13]


@pytest.mark.parametrize("room", [1, 2, 4])
@pytest.mark.parametrize("n", [3, 5, 6, 12, 14, 28])
def test_no_device_has_more_lanes_than_it_holds_at_any_time(n, room):
    """Runs of all lengths: as a pack shrinks, lanes that do not divide would all be on each device."""
    runs = [dataclasses.replace(run, tokens=(i + 1) * 640) for i, run in enumerate(seeds(n))]
    packed = layout.packed(runs, lambda run: run, lambda run: None, lambda run: 8 * room, 8, lambda run: room)
    assert sorted(run.tokens for pack in packed for run in pack) == [run.tokens for run in runs]
    for pack in packed:
        over = packs.across(pack, 8)
        assert max(packs.on_each(len(segment.lanes), over) for segment in packs.segments(pack)) <= room


@pytest.mark.parametrize(
    ("n", "devices", "used"), [(16, 8, 8), (16, 3, 2), (12, 8, 6), (5, 8, 5), (7, 4, 1), (3, 1, 1)]
)
def test_lanes_are_spread_over_as_many_devices_as_they_divide_over(n, devices, used):
    assert packs.across(seeds(n), devices) == used


def test_a_pack_that_shrinks_is_on_the_devices_that_make_it_shortest():
    """Two lanes at a time after the first tenth: with eight devices each would have both."""
    runs = [*seeds(2), *(dataclasses.replace(run, seed=9 + i) for i, run in enumerate(seeds(6, steps=10)))]
    assert [len(segment.lanes) for segment in packs.segments(runs)] == [8, 2]
    assert packs.across(runs, 8) == 2
    one, eight = (calibration.Costs("gpu", devices=n) for n in (1, 8))
    assert eight.pack(runs) < one.pack(runs)


def test_cores_are_taken_in_a_folder_that_nobody_else_can_write_to(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = tmp_path / f"scaling-{os.getuid()}"

    def mode() -> int:
        place = layout.place("cpu", tmp_path / "study", 0, shared=False)
        assert place
        place.close()
        return folder.stat().st_mode & 0o777

    assert mode() == 0o700
    folder.chmod(0o755)  # as older versions left it
    assert mode() == 0o700
    folder.chmod(0o777)
    with pytest.raises(
        InputError, match=r"not a folder that you alone can write to \(owner \d+, mode 777\); remove it"
    ):
        mode()
    folder.chmod(0o700)
    victim = tmp_path / "victim"
    for file in folder.iterdir():
        file.unlink()
        file.symlink_to(victim)
    with pytest.raises(OSError, match="symbolic link"):
        mode()
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"is no folder of yours \(.*\); remove it, or set TMPDIR"):
        mode()
    assert not victim.exists()


def test_devices_are_those_that_a_worker_will_see(monkeypatch):
    assert layout.devices("cpu") == 1
    for names, n in (("0,1,2", 3), ("GPU-8932f937, GPU-7a5f", 2), ("-1", 1), ("", 1)):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", names)
        assert layout.devices("gpu") == n
        assert layout.devices("cpu") == 1
    monkeypatch.setenv("TPU_VISIBLE_CHIPS", "0,1,2,3")
    assert layout.devices("tpu") == 4


def test_with_eight_devices_a_pack_is_eight_times_as_large_and_each_has_what_one_had(tmp_path):
    one, eight = (calibration.Costs("gpu", devices=n, told=1e9) for n in (1, 8))
    assert eight.lanes(RUN) == 8 * one.lanes(RUN) == 128
    runs = [dataclasses.replace(run, tokens=64) for run in seeds(128)]  # the disk is another matter
    assert eight.memory([runs]) == pytest.approx(one.memory([runs[:16]]))
    assert eight.memory([runs]) < one.memory([runs])
    calibration.check([runs], layout.Layout("gpu", 128, 1, devices=8), eight, tmp_path)
