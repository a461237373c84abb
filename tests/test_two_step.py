"""Accuracy in two steps: planted chains come back, published forecasts to the digit, and doubtful ones are refused."""

import numpy as np
import pytest

from analysis.fit import fit
from analysis.fit.intervals import resample
from analysis.laws import Chinchilla, SigmoidAccuracy
from analysis.load import load
from analysis.table import Table
from analysis.two_step import two_step
from scaling.errors import InputError

LOSS = Chinchilla(E=0.5, A=40.0, B=100.0, alpha=0.24, beta=0.25)
TARGET = {"params": 6.9e9, "tokens": 3.9e12}


def ladder(accuracy: SigmoidAccuracy, seed: int = 0, noise: float = 0.002) -> Table:
    rng = np.random.default_rng(seed)
    N, ratio = (x.ravel() for x in np.meshgrid([1.9e8, 3.7e8, 7.6e8, 1.3e9], [20.0, 40.0, 100.0, 200.0]))
    loss = LOSS(N, ratio * N) * np.exp(noise * rng.standard_normal(len(N)))
    share = accuracy(loss) + noise * rng.standard_normal(len(N))
    return Table.from_columns({"params": N, "tokens": ratio * N, "bpb": loss, "acc_task": share})


def chain(table: Table, **more):
    return two_step(table, "bpb", "acc_task", how_second={"log": False, "loss": "squared"}, **more)


def test_a_planted_chain_comes_back_with_the_truth_inside_its_interval():
    accuracy = SigmoidAccuracy(top=1.0, drop=0.73, k=12.0, L_0=1.0)
    found = chain(ladder(accuracy))
    told = found.predict(**TARGET)
    assert told.low < float(accuracy(LOSS(*TARGET.values()))) < told.high
    assert told.high - told.low < 0.2
    assert found.doubts(**TARGET) == []


def test_accuracy_that_has_not_left_chance_is_refused():
    """Runs all of whose losses lie above the rise do not tell where it is."""
    found = chain(ladder(SigmoidAccuracy(top=1.0, drop=0.75, k=12.0, L_0=0.55), noise=0.01))
    assert found.doubts(**TARGET)


def test_an_interval_of_the_chain_is_wider_than_that_of_its_second_step_alone():
    accuracy = SigmoidAccuracy(top=1.0, drop=0.73, k=12.0, L_0=1.0)
    found = chain(ladder(accuracy, noise=0.01))
    told, alone = found.predict(**TARGET), found.second.predict(loss=float(found.first.law(*TARGET.values())))
    assert told.high - told.low > alone.high - alone.low


def few(runs: int) -> Table:
    table = ladder(SigmoidAccuracy(top=1.0, drop=0.73, k=12.0, L_0=1.0), noise=0.01)
    return Table.from_columns({name: table[name][16 - runs :] for name in table.columns})


def test_a_draw_of_both_laws_is_of_the_same_runs():
    """Of eight runs many draws hold too few different ones for one law and enough for the other."""
    table = few(8)
    found = chain(table, draws=100)
    counts = resample(np.random.default_rng(0), 8, 100)
    counts = counts[(counts > 0).sum(1) > 5]
    assert len(found.first.draws) == len(found.second.draws) == len(counts) < 100
    for k in (0, 10, 20):
        at = counts[k] > 0
        drawn = Table.from_columns({name: table[name][at] for name in table.columns})
        drawn = drawn.with_columns(loss=drawn["bpb"])
        for law, target, how in (
            (found.first, "bpb", {}),
            (found.second, "acc_task", {"log": False, "fixed": {"top": 1.0}}),
        ):
            weighed = {"loss": "squared", "every_run": True, "weights": counts[k][at].astype(float)}
            refit = fit(type(law.law), drawn, target=target, **weighed, **how)
            x = [drawn[name] for name in law.law.inputs]
            np.testing.assert_allclose(type(law.law)(*law.draws[k])(*x), refit.law(*x), rtol=1e-4)


def test_a_forecast_from_so_few_runs_that_hardly_a_draw_is_left_is_refused():
    found = chain(few(6))
    assert found.pairs < 40
    assert any("draws hold enough different runs" in why for why in found.doubts(**TARGET))


def test_laws_of_different_runs_are_not_drawn_together():
    with pytest.raises(InputError, match="same rules for both"):
        chain(few(16), how_first={"drop_worst": 1})


def test_a_column_that_is_missing_is_named():
    with pytest.raises(InputError, match="no column acc"):
        two_step(ladder(SigmoidAccuracy(1.0, 0.7, 12.0, 0.8)), "bpb", "acc")


@pytest.mark.parametrize(
    ("task", "published"),
    [("mmlu", "0.18"), ("hellaswag", "-1.17"), ("arc_challenge", "9.4"), ("arc_easy", "16.0"), ("piqa", "-2.7"),
     ("csqa", "-18.5"), ("socialiqa", "3.6"), ("openbookqa", "0.9")],
)  # fmt: skip
def test_the_ladders_published_errors_are_reached_to_the_digit_by_its_authors_choices(shared, task, published):
    table = load(shared / "reference_runs" / "olmo2024_ladder" / "runs.csv")
    ladder, target = table.where(table["params"] < 2e9, "a target"), table.where(table["params"] > 1e10, "not 13B")
    found = fit("chinchilla", ladder, target=f"bpb_{task}", loss="huber", delta=1e-3, every_run=True)
    error = 100 * (found.law(target["params"], target["tokens"]) / target[f"bpb_{task}"] - 1)[0]
    assert f"{error:.{len(published.partition('.')[2])}f}" == published
    assert (found.constants["E"] == 0) == (task == "csqa")
