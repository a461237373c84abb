"""What one training takes: FLOP by convention, hours, money, energy, carbon, thresholds; worked by hand."""

import math

import pytest

from analysis.plan.accounting import account, conventions, distance
from analysis.plan.budget import Machine
from analysis.plan.recipe import Shape
from scaling.errors import InputError

H100 = Machine.named("h100:8", 0.4)


def test_a_billion_parameters_on_twenty_billion_tokens_take_ten_and_a_half_hours_of_eight_h100():
    found = account(1e9, 2e10, H100, price=2.5)
    plain = found.ways[0]
    assert (plain.name, plain.flops) == ("6 N D", 1.2e20)
    assert plain.hours == pytest.approx(1.2e20 / (8 * 989e12 * 0.4) / 3600)  # 10.53
    assert plain.money == pytest.approx(plain.hours * 8 * 2.5)  # 210.6
    assert [row.split()[-3:-1] for row in found.text().splitlines() if row.startswith("6 N D")] == [["10.5", "211"]]


def test_conventions_count_what_they_say():
    # d 1024, 10 layers: attention 6 n_layer n_ctx d per token (its causal half), all of the square twice that much
    # twice; logits 6 n_vocab d.
    shape, D = Shape(1024, 10, 8), 1e9
    found = conventions(shape.params, D, shape, n_ctx=2048, n_vocab=32_000)
    body, square, logits = 6 * shape.params, 6 * 10 * 2048 * 1024, 6 * 32_000 * 1024
    assert list(found.values()) == pytest.approx(
        [body * D, (body + square) * D, (body + square + logits) * D, (body + 2 * square + logits) * D]
    )
    rows = conventions(shape.params + 32_000 * 1024, D, Shape(1024, 10, 8, 32_000), n_ctx=2048, n_vocab=32_000)
    assert rows["6 N D"] == pytest.approx((body + logits) * D)
    assert rows["6 N D without embeddings"] == pytest.approx(body * D)
    assert rows["every matrix product"] == pytest.approx(found["every matrix product"])


def test_energy_is_chip_hours_times_power_times_pue_and_carbon_that_times_the_grid():
    # 1e18 FLOP of H100 at 40 %: 0.49 kWh before PUE.
    found = account(1e18 / 6e9, 1e9, Machine.named("h100"), pue=1.2, grid=400)
    assert found.ways[0].energy == pytest.approx(0.4915 * 1.2, rel=1e-3)
    assert found.carbon == pytest.approx(0.4915 * 1.2 * 400 / 1000, rel=1e-3)
    assert "PUE 1.2; 0.236 kg CO2 at 400 g per kWh" in found.text()


def test_without_power_there_is_no_energy_and_without_hardware_no_hours():
    tpu = account(1e9, 2e10, Machine.named("v5p-128"))
    assert math.isnan(tpu.ways[0].energy)
    assert "kWh" not in tpu.text()
    assert "Energy" in account(1e9, 2e10, Machine.named("v5p-128", power=300.0)).text()
    assert math.isnan(account(1e9, 2e10).ways[0].hours)


@pytest.mark.parametrize(
    ("low", "high", "at", "said"),
    [
        (1e20, 2e20, 1e23, "500 to 1k times above this"),
        (4e25, 4e25, 1e26, "2.5 times above this"),
        (9e24, 2e25, 1e25, "passed by some ways to count: 9e24 FLOP to 2e25 FLOP"),
        (3e25, 5e25, 1e25, "passed, 3 to 5 times over"),
    ],
)
def test_the_distance_to_a_threshold_is_a_factor_by_the_ways_to_count(low, high, at, said):
    assert distance(low, high, at) == said


def test_thresholds_are_dated_and_no_legal_advice():
    text = account(1e9, 2e10).text()
    for word in ("1e23", "1e25", "1e26", "thresholds as of November 2026", "not legal advice"):
        assert word in text


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"price": 0.0}, "price 0"), ({"pue": 0.9}, "PUE 0.9: wanted 1 or more"), ({"grid": -1.0}, "grid -1")],
)
def test_numbers_that_are_none_are_refused(wrong, said):
    with pytest.raises(InputError, match=said):
        account(1e9, 2e10, H100, **wrong)
