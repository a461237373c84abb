"""Rates of one's own sweep: read from what was kept or tuned anew, the same; how far from the sweep a run lies."""

import json
from pathlib import Path

import pytest

from analysis import tuning
from analysis.digits import short
from analysis.load import load
from analysis.plan import own_rates
from analysis.tuning import tune
from scaling import folders
from scaling.errors import InputError

RUNS = Path(__file__).parents[1] / "results" / "learning_rate" / "runs.csv"


def test_what_was_kept_and_the_table_give_the_same_rates(tmp_path):
    tuning.keep({"transformer": tune(load(RUNS))}, tmp_path / "rates.json")
    kept, tuned = own_rates.read(tmp_path / "rates.json"), own_rates.read(RUNS)
    assert kept == tuned
    params = load(RUNS)["params"]
    assert kept.ranges["params"] == (params.min(), params.max())


def test_a_run_outside_the_sweep_is_told_and_far_outside_a_guess():
    rates = own_rates.read(RUNS)
    N, D = rates.ranges["params"][1], rates.ranges["tokens"][0]
    assert rates.beyond(N / 2, 2 * D, 256) == ("", False)
    assert rates.beyond(2 * N, D, 256) == (f"N is 2 times the largest swept, {short(N)}", False)
    far, guess = rates.beyond(20 * N, D / 4, 256)
    assert guess
    assert far.startswith(f"N is 20 times the largest swept, {short(N)}; D is 4 times below the smallest swept")
    assert far.endswith("its rate is a guess")


def test_a_sweep_without_a_law_is_refused_in_one_line(tmp_path):
    load(RUNS).matching("params=98304", "tokens=131072").to_csv(tmp_path / "one.csv")
    for name, words in (
        ("one.csv", "no law of learning rates"),
        ("none.json", "no such file; wanted a file of rates that scaling tune"),
    ):
        with pytest.raises(InputError, match=words) as error:
            own_rates.read(tmp_path / name)
        assert "\n" not in str(error.value)


def test_kept_rates_whose_bowls_are_damaged_are_refused_in_a_line(tmp_path):
    tuning.keep({"transformer": tune(load(RUNS))}, tmp_path / "rates.json")
    kept = json.loads((tmp_path / "rates.json").read_text())
    del kept[folders.SEAL]  # as a file of an older version
    (tmp_path / "rates.json").write_text(json.dumps(kept).replace('"status"', '"state"', 1))
    with pytest.raises(InputError, match=r"a bowl has no 'status'; wanted what scaling tune --out wrote"):
        own_rates.read(tmp_path / "rates.json")
