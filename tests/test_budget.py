"""Budgets in every currency, and the names of hardware."""

import dataclasses
import math

import pytest

from analysis.plan.budget import Budget, Machine
from scaling.chips import CHIPS
from scaling.errors import InputError


def test_a_budget_of_hardware_is_chips_times_hours_times_utilisation():
    budget = Budget.of_hardware("v5p-128", hours=10, utilisation=0.5)
    assert budget.flops == pytest.approx(64 * 459e12 * 36_000 * 0.5)
    assert budget.hours == pytest.approx(10)


def test_a_budget_of_money_buys_hours():
    budget = Budget.of_money(800.0, "h100-8", price=2.5, utilisation=0.4)
    assert budget.hours == pytest.approx(40)
    assert budget.flops == pytest.approx(8 * 989e12 * 40 * 3600 * 0.4)


def test_a_budget_of_flops_tells_the_hours_of_named_hardware():
    assert Budget.of_flops(1e21, "v5e-256").hours == pytest.approx(1e21 / (256 * 197e12 * 0.4 * 3600))
    assert math.isnan(Budget.of_flops(1e21).hours)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("v5p-128", (64, 459e12)),  # named by cores
        ("v5p:4x4x4", (64, 459e12)),
        ("v5litepod-16", (16, 197e12)),
        ("tpu7x-16", (8, 2307e12)),
        ("H100-8", (8, 989e12)),
        ("h100:8", (8, 989e12)),
        ("rtx4090", (1, 165.2e12)),
    ],
)
def test_hardware_is_named_as_everywhere(name, found):
    machine = Machine.named(name)
    assert (machine.number, machine.peak) == found
    assert Budget.of_hardware(name, 1.0, 1.0).flops == pytest.approx(math.prod(found) * 3600)


@pytest.mark.parametrize("name", ["v5p", "v9-8", "h100-0", "h100-many", "-8", "cpu-8", "v5p-7"])
def test_unknown_hardware_is_named_in_the_error(name):
    with pytest.raises(InputError, match=f"accelerator '{name}'"):
        Machine.named(name)


def test_hardware_can_be_given_by_numbers():
    card = Machine("a card", 3, peak=50e12, power=200.0, utilisation=0.5)
    assert Budget.of_hardware(card, 2.0).flops == pytest.approx(3 * 50e12 * 0.5 * 7200)
    for wrong in ({"peak": 0.0}, {"peak": math.nan}, {"number": 0}, {"utilisation": 0.0}, {"power": -1.0}):
        with pytest.raises(InputError, match=r"wanted"):
            dataclasses.replace(card, **wrong)


@pytest.mark.parametrize("flops", [0.0, -1.0, math.nan, math.inf])
def test_a_budget_must_be_a_positive_number(flops):
    with pytest.raises(InputError, match="wanted a number above 0"):
        Budget.of_flops(flops)


@pytest.mark.parametrize("value", [0.0, -2.0, math.nan, math.inf])
def test_hours_money_and_price_must_be_positive_numbers(value):
    for make in (
        lambda: Budget.of_hardware("h100-8", value),
        lambda: Budget.of_money(value, "h100-8", 2.0),
        lambda: Budget.of_money(100.0, "h100-8", value),
    ):
        with pytest.raises(InputError, match="wanted a number above 0"):
            make()


def test_every_accelerator_has_a_budget():
    for chip in CHIPS.values():
        if chip.kind != "cpu":
            assert Budget.of_hardware(f"{chip.name}-8", 1.0, 1.0).flops == 8 / chip.cores * chip.peak * 3600


def test_an_impossible_utilisation_is_refused_even_where_no_hardware_is_named():
    with pytest.raises(InputError, match="utilisation 2: wanted a share between 0 and 1"):
        Budget.of_flops(1e21, utilisation=2.0)


def test_a_budget_says_where_it_comes_from():
    assert "64 chips" in Budget.of_hardware("v5p-128", 10).told
    assert "100 at 2.5 per chip-hour: 5 h" in Budget.of_money(100.0, "h100-8", 2.5).told
