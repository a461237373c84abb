"""Chips, slices and hosts, as their makers list them; what does not exist is one line with the way out."""

import math

import pytest

from scaling import chips
from scaling.errors import InputError


@pytest.mark.parametrize(
    ("text", "count", "hosts"),
    [
        ("v5e:1x1", 1, 1),
        ("v5e:2x4", 8, 1),
        ("v5e:4x4", 16, 4),
        ("v5e:16x16", 256, 64),
        ("v6e:2x2", 4, 1),
        ("v4:2x2x1", 4, 1),
        ("v4:2x2x4", 16, 4),
        ("v5p:4x8x8", 256, 64),
        ("tpu7x:2x2x1", 4, 1),
        ("tpu7x:1x1x1", 1, 1),
        ("tpu7x-32", 16, 4),
        ("v9x:2x2x2,devices=2,hbm=1e11", 8, 2),  # by its numbers
        ("v6e:2x4,host=4", 8, 2),  # on GKE it comes in one host or in two
        ("v6e-8,host=4", 8, 2),
        ("v5e:1x1,host=8", 1, 1),
        ("mi300x:16,peak=1.3e15", 16, 2),
        ("V5P:8x8x8", 512, 128),
        ("h100:1", 1, 1),
        ("h100:8", 8, 1),
        ("h100:16", 16, 2),
        ("cpu", 1, 1),
        ("cpu:3", 3, 3),
        ("h100-8", 8, 1),
        ("rtx4090", 1, 1),
        ("v5p-128", 64, 16),  # named by cores
        ("v5litepod-16", 16, 4),
    ],
)
def test_an_accelerator_has_these_chips_on_these_hosts(text, count, hosts):
    found = chips.accelerator(text)
    assert (found.chips, found.hosts) == (count, hosts)
    assert found.chips == found.hosts * found.per_host
    assert chips.accelerator(found.typed) == found


@pytest.mark.parametrize(
    ("one", "other"), [("h100:8", "h100-8"), ("v5p-128", "v5p:4x4x4"), ("v5litepod-16", "v5e:4x4")]
)
def test_two_ways_to_write_the_same_hardware_are_the_same(one, other):
    assert chips.accelerator(one) == chips.accelerator(other)
    assert (chips.named(one).chip, chips.named(one).number) == (chips.named(other).chip, chips.named(other).number)


def test_cards_at_home_have_the_peaks_of_products_summed_in_float32():
    # SMs x boost clock x 256 multiply-adds summed in float32 per SM and clock; the white paper rounds 71.16 to 71.
    for name, sms, boost in (("rtx3090", 82, 1.695e9), ("rtx4090", 128, 2.520e9), ("rtx5090", 170, 2.407e9)):
        assert chips.CHIPS[name].peak == pytest.approx(sms * boost * 2 * 256, rel=3e-3)


def test_a_device_is_a_chip_but_for_those_that_are_two():
    assert [chips.accelerator(text).devices for text in ("tpu7x:2x2x2", "v5p:2x2x2", "h100:8")] == [16, 8, 8]
    assert {name: chip.devices for name, chip in chips.CHIPS.items() if chip.devices != 1} == {"tpu7x": 2}
    assert chips.accelerator("v9x:2x2x2,devices=2").devices == 16


def test_hosts_are_called_as_on_compute_engine():
    for text, machine in (
        ("v4:2x2x4", "ct4p-hightpu-4t"),
        ("v5e:1x1", "ct5lp-hightpu-1t"),
        ("v5e:2x4", "ct5lp-hightpu-8t"),
        ("v5p:4x4x4", "ct5p-hightpu-4t"),
        ("v6e:4x4", "ct6e-standard-4t"),
        ("v6e:2x4", "ct6e-standard-8t"),
        ("v6e:2x4,host=4", "ct6e-standard-4t"),
        ("tpu7x:1x1x1", "tpu7x-standard-1t"),
        ("tpu7x:2x2x1", "tpu7x-standard-4t"),
        ("h100:8", ""),
    ):
        assert chips.accelerator(text).machine == machine


def test_numbers_that_are_given_stand_for_those_of_the_list():
    card, board = chips.named("h100:8").chip, chips.named("h100:8,peak=7.56e14,hbm=8.5e10").chip
    assert (board.peak, board.hbm, board.host, board.power) == (7.56e14, 8.5e10, card.host, card.power)
    new = chips.named("v9x:4x4x4,peak=5e15,links=1e12,network=2e10,host=8").chip
    assert (new.kind, new.peak, new.links, new.network, new.host) == ("tpu", 5e15, 1e12, 2e10, 8)
    assert math.isnan(new.hbm)


def test_gpus_of_a_host_can_be_other_than_eight():
    assert chips.accelerator("a100:16", per_host=4).hosts == 4


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("h1000:8", "no chip 'h1000'; wanted one of v4, v5e"),
        ("h1000:8", "or its numbers too: mi300x:8,peak=1.3e15"),
        ("h100:8,peek=1e15", "'peek=1e15'; wanted numbers above 0 of peak, hbm, host, devices"),
        ("h100:8,peak=fast", "'peak=fast'; wanted numbers"),
        ("h100:8,peak=0", "'peak=0'; wanted numbers above 0"),
        ("h100:8,hbm=1e9,hbm=1e9", "each once"),
        ("v9x:2x2x2,devices=1.5", "'devices=1.5'; wanted"),
        ("v9x:2x2x2,host=3", "8 chips do not fill hosts of 3; say host=N"),
        ("v9x:2x0x2,host=4", "no slice has a dimension of 0"),
        ("", "no chip ''"),
        ("v5e", "its topology, such as v5e:4x4"),
        ("v5e:16", "its topology, such as v5e:4x4"),
        ("v5e:3x4", "no such slice of v5e; near it: 4x4"),
        ("v5e:0x4", "no such slice"),
        ("v5e:4x4x4", "v5e has 2 dimensions"),
        ("v5p:4x4", "v5p has 3 dimensions"),
        ("v5p:8x4x4", "dimensions grow from left to right; near it: 4x4x8"),
        ("v5p:32x32x32", "no such slice of v5p"),
        ("v5p-512", "wanted the topology, here v5p:4x4x16 or v5p:4x8x8"),
        ("v6e-7", "no slice of v6e has 7 chips"),
        ("v5p-7", "named by cores, 2 to a chip; wanted an even number"),
        ("rtx-4090", "no chip 'rtx'"),
        ("h100-many", "wanted a number of chips, such as h100:8"),
        ("h100:0", "wanted a number of chips, such as h100:8"),
        ("h100:-8", "wanted a number"),
        ("h100:12", "do not fill hosts of 8; take 8 or 16"),
    ],
)
def test_what_does_not_exist_is_one_line_with_the_way_out(text, said):
    with pytest.raises(InputError, match="accelerator") as error:
        chips.accelerator(text)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "chip", [chip for chip in chips.CHIPS.values() if chip.kind == "tpu"], ids=lambda chip: chip.name
)
def test_every_slice_that_is_listed_is_understood_and_fills_its_hosts(chip):
    for shape in chips.slices(chip):
        found = chips.accelerator(f"{chip.name}:{'x'.join(map(str, shape))}")
        assert found.chips == found.hosts * found.per_host
        assert found.hosts == 1 or found.per_host == 4
        assert found.machine.endswith(f"-{found.per_host}t")


def test_the_largest_slices_are_those_of_the_data_sheets():
    largest = {name: chips.slices(chips.CHIPS[name])[-1] for name in ("v4", "v5e", "v5p", "v6e")}
    assert largest == {"v4": (12, 16, 16), "v5e": (16, 16), "v5p": (16, 16, 24), "v6e": (16, 16)}


def test_the_memory_of_this_machines_accelerators_is_known_or_unlimited(tmp_path, monkeypatch):
    smi = tmp_path / "nvidia-smi"
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    for said, found in (("81559\n81559\n", 81559 * 2.0**20), ("[N/A]\n", math.inf), ("", math.inf)):
        smi.write_text(f"#!/bin/sh\nprintf '{said}'\n")
        smi.chmod(0o755)
        chips.memory.cache_clear()
        assert chips.memory("gpu") == found
    smi.write_text("#!/bin/sh\nexit 9\n")
    chips.memory.cache_clear()
    assert chips.memory("gpu") == math.inf
    for name, found in (
        ("v5litepod-4", 16 * chips.GiB),
        ("tpu7x-16", 96 * chips.GiB),
        ("v99-8", math.inf),
        ("", math.inf),
    ):
        monkeypatch.setenv("TPU_ACCELERATOR_TYPE", name)
        chips.memory.cache_clear()
        assert chips.memory("tpu") == found
    chips.memory.cache_clear()
    assert chips.memory("cpu") == math.inf
