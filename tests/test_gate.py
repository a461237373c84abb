"""A change passes a gate when its whole interval reaches what the rule asked for, and a known speed-up is found."""

import csv
import json
import shlex
import signal

import numpy as np
import pytest

from analysis.fit import fit
from analysis.fit.floor import Floor
from analysis.gate import Rule, Verdict, gate
from analysis.laws import Chinchilla
from analysis.table import Table
from scaling import cli
from scaling.errors import InputError

E = 1.6


def ladder(speed_up=1.0, seed=0, noise=0.003, trend=0.0, slower=1.0, n=8):
    """Runs over three decades that need 1 / speed_up of the compute; `trend`: power of C by which that grows."""
    rng = np.random.default_rng(seed)
    C = np.geomspace(1e17, 1e20, n)
    loss = E + 2.2 * (speed_up * C * (C / 1e18) ** trend / 1e17) ** -0.15
    seconds = slower * C**0.95 / 1e14 * np.exp(0.01 * rng.standard_normal(n))
    wobble = np.exp(noise * rng.standard_normal(n))
    return Table.from_columns({"flops": C, "loss": loss * wobble, "seconds": seconds})


def test_a_known_speed_up_is_found_at_every_budget_and_passes():
    found = gate(ladder(), ladder(1.3, seed=1), Rule(1.05, 1e20), floor=Floor(E))
    assert len(found.speed_ups) == 5
    assert [one.flops[0] for one in found.speed_ups] == pytest.approx([1.3] * 5, rel=0.05)
    assert found.measured[1] < 1.3 < found.measured[2]
    assert found.decisive.budget == 1e20
    assert found.verdict is Verdict.PASS
    assert f"PASS: {found.measured[0]:.3g} (" in found.text()


@pytest.mark.parametrize(
    ("at_least", "verdict"), [(1.05, Verdict.PASS), (1.3, Verdict.CANNOT_TELL), (1.6, Verdict.FAIL)]
)
def test_only_a_whole_interval_decides(at_least, verdict):
    found = gate(ladder(), ladder(1.3, seed=1), Rule(at_least, 1e20), floor=Floor(E))
    assert found.verdict is verdict
    assert found.to_dict()["passed"] is (verdict is Verdict.PASS)


def test_two_validation_sets_pass_no_gate():
    words = ("web", "books")
    baseline, candidate = (
        table.with_columns(eval_set=np.array([text] * len(table)))
        for table, text in zip((ladder(), ladder(2.0, seed=1)), words, strict=True)
    )
    found = gate(baseline, candidate, Rule(1.05, 1e20), floor=Floor(E))
    assert found.verdict is Verdict.CANNOT_TELL
    assert "CANNOT TELL, so not passed: eval_set is web in A and books in B" in found.text()


def test_without_noise_speed_up_and_trend_are_exact():
    found = gate(ladder(noise=0.0), ladder(1.2, noise=0.0, trend=0.05), Rule(), floor=Floor(E))
    for one in found.speed_ups:
        assert one.flops[0] == pytest.approx(1.2 * (one.budget / 1e18) ** 0.05, rel=1e-4)
    assert found.trend is not None
    assert found.trend[0] == pytest.approx(10**0.05, rel=1e-4)


def test_a_gain_that_grows_with_compute_is_told_from_one_that_does_not():
    grows = gate(ladder(), ladder(1.2, seed=1, trend=0.1), Rule(), floor=Floor(E)).trend
    stays = gate(ladder(), ladder(1.2, seed=1), Rule(), floor=Floor(E)).trend
    assert grows
    assert stays
    assert 1 < grows[1] < 10**0.1 < grows[2]
    assert stays[1] < 1 < stays[2]


def test_a_change_that_saves_flop_may_lose_time():
    found = gate(ladder(), ladder(1.3, seed=1, slower=1.6), Rule(1.0, 1e19, by="seconds"), floor=Floor(E))
    _, low, high = found.measured
    assert low < 1.3**0.95 / 1.6 < high
    assert found.verdict is Verdict.FAIL
    assert found.decisive.flops[1] > 1
    bare = Table.from_columns({name: column for name, column in ladder().items() if name != "seconds"})
    assert gate(bare, ladder(1.3, seed=1), Rule(), floor=Floor(E)).decisive.seconds is None
    with pytest.raises(InputError, match="both ladders need a column seconds"):
        gate(bare, ladder(1.3, seed=1), Rule(by="seconds"), floor=Floor(E))


def test_intervals_hold_the_speed_up():
    """40 pairs; results of 200 are in docs/planning.md."""
    held = 0
    for seed in range(40):
        found = gate(ladder(seed=seed), ladder(1.1, seed=1000 + seed), Rule(at=1e21), floor=Floor(E))
        held += found.measured[1] <= 1.1 <= found.measured[2]
    assert held >= 34  # 3 standard errors of a binomial with p = 0.95 below 38


def test_a_floor_comes_from_a_named_fit_and_its_own_doubt_is_told():
    found = fit("henighan-c", {"flops": ladder(n=16, seed=9)["flops"], "loss": ladder(n=16, seed=9)["loss"]})
    floor = Floor.of(found, "law.json")
    assert floor.low < E < floor.high
    told = gate(ladder(), ladder(1.3, seed=1), Rule(1.05, 1e20), floor=floor)
    assert told.comparison.A.constants["L_inf"] == pytest.approx(floor.value)
    assert "L_inf of henighan-c in law.json: 16 of 16 runs" in told.text()
    first, last = told.other_floors
    assert min(first, last) < told.measured[0] < max(first, last)
    with pytest.raises(InputError, match=r"floor 2\.5: wanted one below every loss, and the lowest is 2\.3"):
        gate(ladder(), ladder(1.3, seed=1), Rule(), floor=Floor(2.5))
    with pytest.raises(InputError, match="kaplan-c has no floor"):
        Floor.of(fit("kaplan-c", {"flops": ladder()["flops"], "loss": ladder()["loss"]}), "law.json")
    with pytest.raises(InputError, match="a floor of bits_per_byte, and this is a law of loss"):
        gate(ladder(), ladder(1.3), Rule(), floor=Floor(0.5, target="bits_per_byte"))


def test_grids_are_gated_by_their_surfaces_with_the_floor_pinned():
    law = Chinchilla(1.8, 480.0, 2100.0, 0.35, 0.37)
    N, D = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 1e9, 6), np.geomspace(3e8, 3e10, 6)))
    A, B = (
        Table.from_columns({"params": N, "tokens": D, "loss": law(N * g**0.5, D * g**0.5) * np.exp(0.002 * z)})
        for g, z in (
            (1.0, np.random.default_rng(0).standard_normal(36)),
            (1.3, np.random.default_rng(1).normal(size=36)),
        )
    )
    found = gate(A, B, Rule(1.1), floor=Floor(1.8))
    assert found.comparison.A.law.name == "chinchilla"
    assert found.comparison.A.fixed == ("E",)
    assert found.measured[1] < 1.3 < found.measured[2]
    assert found.verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("rule", "code", "word"), [("--at-least 1.05 --at 1e20", 0, "PASS"), ("--at-least 1.6 --at 1e20", 1, "FAIL"),
                               ("--at-least 0", 2, "at least 0: wanted a number above 0")]
)  # fmt: skip
def test_the_exit_code_says_whether_a_change_passed(rule, code, word, tmp_path, capsys, cache):
    for name, table in (("a", ladder()), ("b", ladder(1.3, seed=1))):
        with (tmp_path / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([table.keys(), *zip(*table.columns.values(), strict=True)])
    words = f"gate {tmp_path}/a.csv {tmp_path}/b.csv --floor 1.6 {rule}"
    with pytest.raises(SystemExit) as end:
        cli.main(shlex.split(words))
    out, err = capsys.readouterr()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    assert (end.value.code or 0) == code
    assert word in out + err
    if code == 0:
        with pytest.raises(SystemExit):
            cli.main(shlex.split(f"{words} --json"))
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        assert json.loads(capsys.readouterr()[0])["passed"] is True
