"""Whether intervals hold what happens beyond the runs, and whether a back-test says so."""

import dataclasses
import json
import math

import numpy as np
import pytest

from analysis.backtest import backtest
from analysis.fit import fit
from analysis.fit.estimate import Fit
from analysis.fit.misfit import USUAL, steps_of
from analysis.forecast import forecast
from analysis.laws import Chinchilla, GadreError, KaplanBCrit
from analysis.table import Table
from benchmarks.backtest import Line, Set, of_the_pair
from scaling import cli
from scaling.errors import InputError

TRUTH = Chinchilla(1.8, 480.0, 2000.0, 0.35, 0.37)
NOISE = 0.003


def grid(n: int = 6, d: int = 6) -> tuple[np.ndarray, np.ndarray]:
    N, D = np.meshgrid(np.geomspace(1e7, 1e9, n), np.geomspace(1e9, 1e11, d))
    return N.ravel(), D.ravel()


def noisy(loss: np.ndarray, seed: int = 0) -> np.ndarray:
    return loss * np.exp(NOISE * np.random.default_rng(seed).normal(size=len(loss)))


def bent(N: np.ndarray, D: np.ndarray) -> np.ndarray:
    """A loss whose exponents fall as N and D grow: no law of this form goes on as it began."""
    return 1.2 + 300 * N ** (-0.33 + 0.006 * np.log(N / 1e7)) + 900 * D ** (-0.33 + 0.006 * np.log(D / 1e9))


@pytest.fixture(scope="module")
def true_table() -> Table:
    N, D = grid()
    return Table.from_columns({"params": N, "tokens": D, "loss": noisy(TRUTH(N, D))})


@pytest.fixture(scope="module")
def bent_table() -> Table:
    N, D = grid(8, 8)
    return Table.from_columns({"params": N, "tokens": D, "loss": noisy(bent(N, D))})


def test_a_law_that_is_true_errs_no_more_than_is_usual(true_table):
    learnt = fit("chinchilla", true_table).misfit
    assert learnt is not None
    assert learnt.error < 1.5 * USUAL


def test_a_law_that_does_not_go_on_is_found_to_err(bent_table):
    found = fit("chinchilla", bent_table)
    law, run = (found.predict(params=1e11, tokens=1e13, run=one) for one in (False, True))
    truth = float(bent(np.array([1e11]), np.array([1e13]))[0])
    assert not law.low <= truth <= law.high
    assert run.low <= truth <= run.high


def test_inside_the_runs_the_laws_own_error_adds_nothing(true_table):
    found = fit("chinchilla", true_table)
    without = dataclasses.replace(found, misfit=None)
    inside, beyond = dict(params=1e8, tokens=1e10), dict(params=1e10, tokens=1e12)
    assert found.predict(run=True, **inside) == without.predict(run=True, **inside)
    assert found.predict(run=True, **beyond).high > without.predict(run=True, **beyond).high


def test_the_laws_own_error_is_kept_in_the_json(true_table):
    found = fit("chinchilla", true_table, hold_out="params")
    again = Fit.from_json(found.to_json())
    assert again.predict(params=1e10, tokens=1e12, run=True) == found.predict(params=1e10, tokens=1e12, run=True)
    assert again.held_out == found.held_out


def test_held_out_rows_are_listed_with_their_intervals(true_table):
    found = fit("chinchilla", true_table, hold_out="params")
    held = found.held_out
    assert held is not None
    assert len(held.rows) == 6 == len(held.predicted)
    assert held.inside.all()
    assert "held out (params): 6 of 6 inside 95% of one run" in found.summary()


def test_no_interval_is_given_beyond_the_runs_of_a_doubtful_fit_whoever_asks():
    N, D = grid(3, 3)
    table = Table.from_columns({"params": N, "tokens": D, "loss": noisy(TRUTH(N, D))})
    found = fit("chinchilla", table, hold_out="params")  # two sizes: E, A and alpha are one curve through them
    held = found.held_out
    assert held is not None
    assert not found.sound
    assert not (held.bounded | held.inside | held.inside_law).any()
    assert "held out (params): no interval is given: other constants that suit the runs part ways" in found.summary()
    assert "(no interval)" in found.summary()
    assert Fit.from_json(found.to_json()).held_out == held
    told = forecast(found, params=N.max(), tokens=D.max())
    assert (told.value, told.low, told.high) == (held.predicted[-1], held.low[-1], held.high[-1])
    inside = fit("chinchilla", table, hold_out=np.arange(9) == 4).held_out
    assert inside is not None
    assert inside.bounded.all()


def test_where_a_law_leaves_the_limits_of_its_target_nothing_is_counted():
    loss = np.linspace(4.0, 0.05, 40)
    error = np.maximum(noisy(GadreError(0.9, 1.1, 0.6)(loss)), 0.01)  # which the law leaves for less than 0
    table = Table.from_columns({"loss": loss, "error": error})
    found = fit(GadreError, table, hold_out=loss < 0.8)
    held, beyond = found.held_out, found.law(loss[loss < 0.8]) < 0
    assert held is not None
    assert 0 < beyond.sum() < len(beyond)
    np.testing.assert_array_equal(held.bounded, ~beyond)
    assert not held.inside[beyond].any()
    assert f"of the other {beyond.sum()} no interval is given: the law leaves" in found.summary()
    walked = backtest(GadreError, table)
    assert all(np.all(step.predicted > 0) for step in walked.steps)
    assert any("predictions are not counted" in note for note in walked.notes)


def test_a_run_is_fitted_or_predicted_never_both():
    N, D = grid()
    run = np.repeat(np.arange(6), 6)
    N, D = np.sort(N), np.tile(np.geomspace(1e9, 1e11, 6), 6)
    for rows in steps_of(Chinchilla, (N, D), 2, 6, run):
        assert all(rows[run == r].all() or not rows[run == r].any() for r in range(6))


def test_rows_of_runs_are_not_counted_as_runs(true_table):
    pairs = true_table.with_columns(run=np.repeat(np.arange(18), 2).astype(str))
    found = backtest("chinchilla", pairs, steps=1)
    assert (found.rows, found.runs) == (36, 18)
    assert found.text().startswith("chinchilla: 36 of 36 rows (18 runs), ")


def test_a_law_of_the_loss_walks_towards_smaller_losses():
    loss = np.geomspace(2.0, 6.0, 12)
    steps = steps_of(KaplanBCrit, (loss,), 4, 4)
    assert steps
    assert all(loss[rows].min() > loss[~rows].max() for rows in steps)


def test_intervals_of_a_true_law_hold_and_those_of_a_bent_one_do_too(true_table, bent_table):
    true, wrong = backtest("chinchilla", true_table), backtest("chinchilla", bent_table)
    assert true.covered() >= 0.9
    assert wrong.covered() >= 0.9 > wrong.covered(run=False)


def test_the_score_is_the_width_plus_forty_times_what_lies_outside(true_table):
    found = backtest("chinchilla", true_table, steps=2)
    step = found.steps[0]
    half = step.half_of_run[-1]
    wanted = np.mean(2 * half + 40 * np.maximum(np.abs(step.missed) - half, 0))
    one = dataclasses.replace(found, steps=(step,))
    assert one.score() == pytest.approx(wanted)
    near = (step.far >= math.log(2)) & (step.far < math.log(8))
    beyond = np.abs(step.missed[near]) > one.reach()  # what would have held 95 % in hindsight
    assert len(beyond) == 11
    assert beyond.sum() == 1
    assert 0 < one.reach() < one.half_width()  # a true law misses by no more than its interval says


def test_of_two_forms_the_narrower_is_taken_step_by_step(true_table):
    found = backtest("chinchilla", true_table, steps=2)
    times = np.resize([2.0, 0.5], len(found.steps))
    rival = tuple(
        dataclasses.replace(s, half_of_run=s.half_of_run * w) for s, w in zip(found.steps, times, strict=True)
    )
    one, other = (Line(Set("own", "runs.csv", {}), b) for b in (found, dataclasses.replace(found, steps=rival)))
    (narrow,) = of_the_pair({"chinchilla": [one], "q-norm": [other]})["the narrower, steps of both"]
    assert narrow.found
    for step, taken, factor in zip(found.steps, narrow.found.steps, np.minimum(times, 1), strict=True):
        np.testing.assert_allclose(taken.half_of_run, factor * step.half_of_run)


def test_too_few_runs_are_refused_in_a_line():
    N, D = grid(3, 3)
    with pytest.raises(InputError, match=r"8 lie below the largest, and a step fits 15 or more .3 for each of 5"):
        backtest("chinchilla", Table.from_columns({"params": N, "tokens": D, "loss": TRUTH(N, D)}))


def test_the_verb_prints_draws_and_gives_json(true_table, tmp_path, capsys):
    true_table.to_csv(tmp_path / "runs.csv")

    def command(*more: str) -> str:
        with pytest.raises(SystemExit) as end:
            cli.main(["backtest", str(tmp_path / "runs.csv"), "--steps", "2", *more])
        assert not end.value.code
        return capsys.readouterr().out

    said = command("--plot", str(tmp_path / "b.svg"), "--where", "tokens<9e10")
    assert said.startswith("chinchilla: 30 of 36 rows, ")
    assert "inside the 95% interval of one run" in said
    assert (tmp_path / "b.svg").stat().st_size > 1000
    found = json.loads(command("--json"))
    assert 0.5 <= found["covered"]["0.95"] <= 1
    assert 0.5 * found["predictions"] <= found["inside"] <= found["predictions"]
    assert math.isfinite(found["half_width"])


def test_a_backtest_whose_intervals_hold_too_few_says_so_first(true_table):
    found = backtest("chinchilla", true_table, steps=2)
    assert not found.doubt
    narrow = [dataclasses.replace(s, half_of_run=0.2 * s.half_of_run) for s in found.steps]
    sure = dataclasses.replace(found, steps=tuple(narrow))
    assert sure.covered() < 0.9
    assert sure.text().startswith(f"warning: the intervals of chinchilla hold {sure.covered():.0%} where they say 95%")
