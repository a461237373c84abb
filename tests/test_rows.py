"""Rows: which runs a fit uses, what they weigh, and what is held out."""

import re

import numpy as np
import pytest
from drawn import noisy

from analysis.compare import compare
from analysis.fit import fit
from analysis.fit.rows import clustered
from analysis.forms import compare_laws
from analysis.laws import Chinchilla, KaplanN, KaplanPosition
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
        ("params>1e10", "no row has params>1e10; params goes from 100000 to 1e9"),
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
    said = "the rows mix 2 values of dataset (c4, rpj): another condition has another law, choose one with --where"
    assert said in fit(KaplanN, ladder()).notes
    assert said not in fit(KaplanN, ladder().matching("dataset=c4")).notes
    assert said not in fit(KaplanN, ladder(), hold_out="dataset=rpj").notes


CHINCHILLA = Chinchilla(E=1.8, A=400.0, B=2000.0, alpha=0.34, beta=0.36)


def checkpoints(runs: int, rows: int = 30, seed: int = 0, luck: float = 0.01) -> dict[str, np.ndarray]:
    """Runs measured many times, each with its own luck."""
    rng = np.random.default_rng(seed)
    N = np.repeat(np.geomspace(1e7, 1e9, runs), rows)
    D = np.tile(np.geomspace(3e8, 3e10, rows), runs)
    noise = np.repeat(luck * rng.standard_normal(runs), rows) + 0.001 * rng.standard_normal(runs * rows)
    names = np.repeat([f"run {i}" for i in range(runs)], rows)
    step = np.tile(np.arange(1.0, rows + 1), runs)
    return {"run": names, "step": step, "params": N, "tokens": D, "loss": CHINCHILLA(N, D) * np.exp(noise)}


def without(columns: dict[str, np.ndarray], *names: str) -> dict[str, np.ndarray]:
    return {name: column for name, column in columns.items() if name not in names}


def test_rows_of_one_run_are_one_cluster_without_being_asked_for_and_a_step_silences_nothing():
    """Taken for 240 runs, they would give alpha to a few thousandths, beside the truth."""
    rows = checkpoints(8)
    own, named, seen, as_runs = (
        fit("chinchilla", rows, loss="squared"),
        fit("chinchilla", {**rows, "group": np.repeat(np.arange(8.0), 30)}, loss="squared", clusters="group"),
        fit("chinchilla", without(rows, "run"), loss="squared"),  # by their steps
        fit("chinchilla", without(rows, "run", "step"), loss="squared"),
    )
    assert seen.intervals["alpha"] == pytest.approx(named.intervals["alpha"])
    assert any("240 rows follow one another as the points of 8 learning curves do" in note for note in seen.notes)
    assert own.intervals["alpha"] == pytest.approx(named.intervals["alpha"])
    assert "240 rows of 8 runs (column run): the rows of a run are one cluster" in own.notes
    assert own.n_clusters == 8
    (low, high), (least, most) = own.intervals["alpha"], as_runs.intervals["alpha"]
    assert low < 0.34 < high
    assert high - low > 5 * (most - least)
    assert not least < 0.34 < most


def test_rows_of_too_few_runs_have_no_interval_and_the_reason():
    found = fit("chinchilla", checkpoints(5), bootstrap=50)
    assert not found.percentile
    assert found.interval_kind == "none"
    assert not found.sound
    assert found.why.startswith("150 rows of 5 runs, for 5 constants: nothing tells how runs differ; wanted 6 runs")
    assert "no interval" in found.summary()


def test_positions_of_one_run_are_what_a_law_of_positions_is_about():
    table = Table.from_columns({"run": ["a"] * 8, "position": 2.0 ** np.arange(8), "loss": np.linspace(4, 3, 8)})
    assert clustered(KaplanPosition, table)[0] is None


def test_branches_of_one_trunk_are_drawn_together_and_clustered_where_trunks_are_many():
    for sizes, clusters in ((6, 0), (16, 16)):
        rows = without(checkpoints(sizes, rows=4), "run", "step")
        schedule = np.full(4 * sizes, "wsd")
        found = fit("chinchilla", {**rows, "schedule": schedule, "unique_tokens": rows["tokens"]}, loss="squared")
        assert found.n_clusters == clusters
        assert any(f"{4 * sizes} rows are branches of {sizes} trunks" in note for note in found.notes)


def test_rows_before_the_first_update_and_in_the_warm_up_are_left_out_and_counted():
    rows = checkpoints(8)
    tokens = np.where(rows["step"] == 1, 0.0, rows["tokens"])
    columns = {**rows, "step": rows["step"] - 1, "tokens": tokens, "warmup": np.full(240, 4.0)}
    found = fit("chinchilla", columns)
    assert found.n_runs == 8 * 25
    assert found.n_given == 240
    reason = "before the first update or the end of the warm-up"
    assert [(len(e.rows), e.reason) for e in found.excluded] == [(40, reason)]
    assert f"left out: 40 ({reason})" in found.summary()
    columns["warmup_steps"] = columns.pop("warmup")  # as others call it
    assert fit("chinchilla", columns).n_runs == 8 * 25


def test_held_out_rows_of_runs_that_are_fitted_are_said_to_be_seen():
    seen = "8 runs have rows held out and others fitted: these are not predicted unseen"
    assert seen in fit("chinchilla", checkpoints(8), hold_out="tokens>1e10").notes
    assert seen not in fit("chinchilla", checkpoints(8), hold_out="params").notes


def test_forms_are_scored_by_runs_and_not_by_their_rows():
    """30 rows of a run hold no 30 times the evidence of it."""
    rows = checkpoints(24, rows=10, luck=0.003)
    rows["loss"] *= Chinchilla(1.8, 4e3, 300.0, 0.45, 0.25)(rows["params"], rows["tokens"]) / CHINCHILLA(
        rows["params"], rows["tokens"]
    )
    by_run, by_row = (
        {
            score.law: score.aicc
            for score in compare_laws(["chinchilla", "gadre"], Table.from_columns(one), loss="squared")
        }
        for one in (rows, without(rows, "run", "step"))
    )
    assert 3 < by_run["gadre"] - by_run["chinchilla"] < 0.2 * (by_row["gadre"] - by_row["chinchilla"])


def test_ladders_of_checkpoints_are_compared_as_runs():
    A, B = (checkpoints(12, rows=10, seed=seed) for seed in (0, 1))
    by_run = compare(Table.from_columns(A), Table.from_columns(B), law="chinchilla")
    found = compare(*(Table.from_columns(without(one, "run")) for one in (A, B)), law="chinchilla")
    ours, named = ([gain.high for gain in one.gains] for one in (found, by_run))
    assert ours == pytest.approx(named, rel=1e-9)  # the rows of a curve are one run, named or not
    alone = [one | {"run": [f"{i}" for i in range(120)]} for one in (A, B)]
    by_row = compare(*map(Table.from_columns, alone), law="chinchilla")
    assert any(re.match(r"A: \d+ rows of 12 runs \(column run\)", note) for note in by_run.notes)
    assert any(re.match(r"used: \d+ of 120 rows of A and \d+ of 120 rows of B", note) for note in by_run.notes)
    wide, narrow = (found.gains[-1] for found in (by_run, by_row))
    assert wide.high / wide.low > narrow.high / narrow.low


def test_every_run_says_which_conditions_its_rows_break():
    columns = without(checkpoints(8, rows=4), "run", "step")
    status = np.where(np.arange(32) < 3, "crashed", "finished")
    epochs = np.where(np.arange(32) > 29, 4.0, 1.0)
    found = fit("chinchilla", {**columns, "status": status, "epochs": epochs}, every_run=True)
    assert found.n_runs == 32
    assert (
        "every run is fitted, also 5 rows that chinchilla is not about: 3 diverged or unfinished; 2 more than one "
        "epoch: its data are repeated" in found.notes
    )
    assert fit("chinchilla", {**columns, "status": status, "epochs": epochs}).n_runs == 27


def test_rows_that_were_chosen_are_no_rows_left_out():
    chosen = ladder().matching("dataset=c4")
    found = fit(KaplanN, chosen, loss="squared")
    assert found.without_rule == {}
    assert found.excluded == ()
    assert not any("leaving rows out" in note for note in found.notes)
    assert "8 of 12 rows; " in found.summary()
