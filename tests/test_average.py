"""A forecast that carries the doubt about the form."""

import dataclasses
import json
import math

import numpy as np
import pytest

from analysis import average, forms
from analysis.average import Average
from analysis.fit import fit
from analysis.fit.estimate import Status
from analysis.forecast import forecast, store
from analysis.laws import Chinchilla, KaplanC, KaplanOnePass, QNorm
from analysis.table import Table
from scaling import cli
from scaling.errors import InputError

FORMS = [Chinchilla, KaplanOnePass, QNorm]
FAR = {"params": 1e11, "tokens": 1e13}


@pytest.fixture(scope="module")
def table() -> Table:
    """Runs of a law that lies between Chinchilla's and Kaplan's."""
    N, D = (c.ravel() for c in np.meshgrid(np.geomspace(1e7, 1e9, 6), np.geomspace(1e9, 1e11, 6)))
    loss = QNorm(1.0, 60.0, 90.0, 0.2, 0.2, 0.6)(N, D)
    loss = loss * np.exp(0.004 * np.random.default_rng(3).normal(size=36))
    return Table.from_columns({"params": N, "tokens": D, "loss": loss})


@pytest.fixture(scope="module")
def averaged(table) -> Average:
    return average.average(forms.choose(FORMS, table), FORMS, table)


def test_the_weights_add_up_to_one_and_fall_with_the_score(averaged):
    assert math.isclose(sum(averaged.weights), 1)
    assert list(averaged.weights) == sorted(averaged.weights, reverse=True)


def test_an_average_of_one_form_is_that_form(table):
    found = fit(Chinchilla, table)
    one = Average((found,), (1.0,))
    for run in (False, True):
        assert one.predict(run=run, **FAR) == pytest.approx(found.predict(run=run, **FAR))


def test_without_logarithms_the_average_is_one_of_the_loss_itself(table):
    """Ends of an interval of the loss may lie below 0, where there is no logarithm."""
    fits = tuple(fit(law, table, log=False) for law in (Chinchilla, KaplanOnePass))
    doubtful = dataclasses.replace(fits[0], covariance=1e4 * fits[0].covariance)
    assert doubtful.predict(run=False, **FAR).low < 0
    both, alone = (
        Average((doubtful, fits[1]), (0.5, 0.5)).predict(run=False, **FAR),
        [f.predict(run=False, **FAR) for f in fits],
    )
    assert both.value == pytest.approx(np.mean([a.value for a in alone]))
    assert both.low < both.value < both.high < doubtful.predict(run=False, **FAR).high
    assert Average(fits[:1], (1.0,)).predict(run=False, **FAR) == pytest.approx(alone[0])


def test_an_average_of_errors_stays_between_0_and_1(table):
    errors = Table.from_columns({"params": table["params"], "tokens": table["tokens"], "err": table["loss"] / 5.5})
    fits = tuple(fit(law, errors, target="err") for law in (Chinchilla, KaplanOnePass))
    near = {"params": 2e6, "tokens": 2e8}
    said = Average(fits, (0.5, 0.5)).predict(run=True, **near)
    assert 0 < said.low < said.value < said.high == 1


def test_forms_that_part_ways_widen_the_interval(table):
    fits = tuple(fit(law, table) for law in (Chinchilla, KaplanOnePass))
    both = Average(fits, (0.5, 0.5)).predict(run=True, **FAR)
    alone = [f.predict(run=True, **FAR) for f in fits]
    assert min(a.value for a in alone) < both.value < max(a.value for a in alone)
    assert math.log(both.high / both.low) > np.mean([math.log(a.high / a.low) for a in alone])
    apart = 1.96 * 0.5 * abs(math.log(alone[0].value / alone[1].value))
    above = [math.log(a.high / a.value) for a in alone]
    assert math.log(both.high / both.value) == pytest.approx(math.sqrt(np.mean(np.square(above)) + apart**2), 1e-3)


def test_an_average_is_kept_forecast_and_shown_form_by_form(averaged, table, tmp_path, capsys):
    averaged.to_json(tmp_path / "a.json")
    again = average.read(tmp_path / "a.json")
    assert again is not None
    assert again.predict(run=True, **FAR) == pytest.approx(averaged.predict(run=True, **FAR))
    made = forecast(again, **FAR)
    assert made.by == f"{averaged.name}, 36 of 36 runs, converged"
    assert "-average-params-100B-" in store(made, f"{tmp_path}/forecasts/").name
    table.to_csv(tmp_path / "runs.csv")
    with pytest.raises(SystemExit):
        cli.main(["predict", str(tmp_path / "a.json"), "--params", "1e11", "--tokens", "1e13"])
    out = capsys.readouterr().out
    assert "95% interval of one run" in out
    assert out.count(" alone: ") == len(averaged.fits)


def test_a_doubtful_form_gives_no_interval_beyond_the_runs_alone_or_in_the_average(table):
    sound, doubtful = fit(Chinchilla, table), fit(KaplanOnePass, table)
    doubtful = dataclasses.replace(doubtful, status=Status.FLAT, why="for a test")
    both = Average((sound, doubtful), (0.9, 0.1))
    made = forecast(both, **FAR)
    assert not made.bounded
    assert made.warnings[0] == "kaplan-one-pass: the fit is doubtful, flat direction: for a test"
    first, second = both.alone(**FAR)
    assert " to " in first
    assert "no interval: flat direction, for a test" in second
    assert forecast(both, params=1e8, tokens=1e10).bounded


def test_nothing_but_predict_takes_an_average(averaged, tmp_path, capsys):
    averaged.to_json(tmp_path / "a.json")
    with pytest.raises(SystemExit) as end:
        cli.main(["plan", str(tmp_path / "a.json"), "--flops", "1e21"])
    assert end.value.code == 2
    assert (
        "an average of forms, which scaling predict takes; a best size, a gain or a floor follows from the constants "
        "of one form: scaling fit LAW TABLE --out FILE"
    ) in capsys.readouterr().err


def test_an_average_repeats_what_its_forms_say_of_the_rows(averaged):
    assert "flops was missing: taken as 6 params tokens" in averaged.notes


def test_forms_of_different_columns_are_not_averaged(table):
    laws = [Chinchilla, KaplanC]
    with pytest.raises(InputError, match="chinchilla from params, tokens; kaplan-c from flops"):
        average.average(forms.choose(laws, table, every_run=True), laws, table, every_run=True)


def test_a_fit_alone_is_no_average(table, tmp_path):
    (tmp_path / "fit.json").write_text(json.dumps({"law": "chinchilla"}))
    assert average.read(tmp_path / "fit.json") is None


def test_the_option_wants_forms_to_choose_from(table, tmp_path, capsys):
    table.to_csv(tmp_path / "runs.csv")
    with pytest.raises(SystemExit) as end:
        cli.main(["fit", "chinchilla", str(tmp_path / "runs.csv"), "--average"])
    assert end.value.code == 2
    assert "--average goes with --choose" in capsys.readouterr().err
