"""Rows: which runs a fit uses, what they weigh, and what is held out."""

import numpy as np
import pytest
from drawn import noisy

from analysis.fit import fit
from analysis.laws import KaplanN
from analysis.table import Table
from scaling.errors import InputError


def test_a_bad_cell_names_row_column_and_value():
    table = noisy(KaplanN(8.8e13, 0.076), {"params": np.geomspace(1e5, 1e9, 12)}, 0.01)
    table["loss"][4] = -1.0
    with pytest.raises(InputError, match="row 5, column loss: found -1, wanted a number above 0"):
        fit(KaplanN, table)


def test_weights_decide_between_runs_that_disagree():
    N = np.geomspace(1e5, 1e9, 12)
    truth, other = KaplanN(8.8e13, 0.076), KaplanN(8.8e13, 0.06)
    loss = np.where(np.arange(12) % 2 == 0, truth(N), other(N))
    weights = np.where(np.arange(12) % 2 == 0, 1e6, 1.0)
    found = fit(KaplanN, {"params": N, "loss": loss}, loss="squared", weights=weights)
    assert found.law.alpha_N == pytest.approx(0.076, abs=1e-3)


def test_runs_held_out_are_predicted_not_fitted():
    truth = KaplanN(8.8e13, 0.076)
    table = noisy(truth, {"params": np.geomspace(1e5, 1e9, 12)}, 0.002)
    for rule, count in (("params", 1), ("params>1e8", 3)):
        found = fit(KaplanN, table, hold_out=rule)
        assert found.n_runs == 12 - count
        assert found.held_out is not None
        assert len(found.held_out.rows) == count
        assert found.held_out.rms < 0.01


def ladder() -> Table:
    table = noisy(KaplanN(8.8e13, 0.076), {"params": np.geomspace(1e5, 1e9, 12)}, 0.002)
    return Table.from_columns({**table, "dataset": np.tile(["c4", "rpj", "c4"], 4)})


def test_runs_with_a_value_are_held_out_by_a_rule():
    found = fit(KaplanN, ladder(), hold_out="dataset=rpj")
    assert found.held_out is not None
    assert len(found.held_out.rows) == 4
    assert found.n_runs == 8
    assert found.held_out.rule == "dataset=rpj"


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("params>1e10", "no row has params>1e10; params goes from 100000 to 1e\\+09"),
        ("dataset", "dataset holds text \\(c4, rpj\\); wanted a rule like .dataset=c4."),
        ("dataset=pile", "no row has dataset=pile"),
        ("dataset>c4", "holds text"),
        ("parms", "no column parms"),
    ],
)
def test_a_rule_that_holds_nothing_out_ends_in_one_line(rule, words):
    with pytest.raises(InputError, match=words) as error:
        fit(KaplanN, ladder(), hold_out=rule)
    assert "\n" not in str(error.value)


def test_runs_held_out_that_the_law_is_not_about_are_missed():
    table = ladder().with_columns(status=np.array(["done"] * 11 + ["diverged"]))
    with pytest.raises(InputError, match="hold_out params: none of its rows is among the 11 runs"):
        fit(KaplanN, table, hold_out="params")


def test_an_empty_cell_in_the_cluster_column_is_named():
    table = ladder().with_columns(group=np.array([0, 0, 1, 1, 2, 2, 3, 3, 4, 4, np.nan, 5]))
    with pytest.raises(InputError, match="row 11, column group: empty"):
        fit(KaplanN, table, clusters="group")


def test_every_rule_that_left_rows_out_is_shown_with_and_without():
    """The caller's, the law's and drop_worst, each by itself, as a fit of those rows gives it."""
    table = ladder().with_columns(status=np.array(["done"] * 10 + ["diverged"] * 2))
    table = table.with_columns(loss=table["loss"] * np.where(table["status"] == "done", 1.0, 1.3))
    chosen = table.where(table["dataset"] == "c4", "other text")
    found = fit(KaplanN, chosen, loss="squared", drop_worst=1)
    assert list(found.without_rule) == [
        "other text",
        "diverged or unfinished",
        "among the 1 largest loss (drop_worst)",
    ]
    again = fit(KaplanN, chosen, loss="squared")
    assert found.without_rule["among the 1 largest loss (drop_worst)"] == pytest.approx(again.constants, rel=1e-5)
    kept = np.isin(chosen["params"], np.sort(chosen["params"])[1:])
    everything = fit(KaplanN, chosen.where(kept, "worst"), loss="squared", every_run=True)
    assert found.without_rule["diverged or unfinished"] == pytest.approx(everything.constants, rel=1e-5)
    assert "with these left in (other text): N_c" in found.summary()
    assert any("leaving rows out matters: with them (diverged or unfinished)" in note for note in found.notes)


def test_rows_without_a_loss_cannot_be_left_in():
    table = ladder()
    loss = table["loss"].copy()
    loss[[3, 4]] = np.nan, 5.0
    table = table.with_columns(loss=loss, status=np.where(np.isin(np.arange(12), (3, 4)), "diverged", "done"))
    found = fit(KaplanN, table, loss="squared")
    assert list(found.without_rule) == ["diverged or unfinished; 1 of these cannot be fitted"]


def test_runs_held_out_are_not_left_in_again():
    table = ladder().with_columns(status=np.array(["done"] * 11 + ["diverged"]))
    assert fit(KaplanN, table, loss="squared", hold_out="params>4e8", every_run=True).without_rule == {}


@pytest.mark.parametrize("rule", ["params>1", "_all", np.ones(12, bool)])
def test_a_rule_that_holds_every_run_out_ends_in_one_line(rule):
    table = ladder().with_columns(_all=np.ones(12))
    with pytest.raises(InputError, match="the rule holds out all 12 runs; leave some to fit"):
        fit(KaplanN, table, hold_out=rule)


def test_runs_of_several_settings_are_said_to_be_mixed():
    said = "the rows mix 2 values of dataset: another condition has another law, choose one with --where"
    assert said in fit(KaplanN, ladder()).notes
    assert said not in fit(KaplanN, ladder().matching("dataset=c4")).notes
    assert said not in fit(KaplanN, ladder(), hold_out="dataset=rpj").notes
