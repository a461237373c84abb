# ruff: noqa: RUF009  (`constant` returns a dataclass field)
"""Errors and accuracies lie between 0 and 1, and what a law says of them stays there and says so."""

import dataclasses
import json
import math

import numpy as np
import pytest

from analysis import forecast
from analysis.fit import fit
from analysis.fit.estimate import Fit
from analysis.laws import GadreError
from analysis.laws.law import Law, Scalar, Values, constant, namespace
from analysis.table import Table
from scaling.cli import main

TRUTH = GadreError(0.85, 2.5, 0.76)


def runs(noise=0.01, low=2.5, high=6.0, n=30, name="error"):
    loss = np.linspace(low, high, n)
    error = TRUTH(loss) * np.exp(noise * np.random.default_rng(0).standard_normal(n))
    return Table.from_columns({"loss": loss, name: error})


def test_an_error_is_never_predicted_below_0_or_above_1_and_never_as_no_number():
    found = fit("gadre-error", runs())
    band = found.predict(loss=np.geomspace(0.1, 100, 50), run=True)
    for part in band:
        assert np.all((part >= 0) & (part <= 1))
    assert band.value[0] == 0
    inside = found.predict(loss=3.0)
    assert inside.low < TRUTH(3.0) < inside.high
    again = Fit.from_json(found.to_json())
    assert again.predict(loss=0.3) == found.predict(loss=0.3)


def test_a_forecast_beyond_the_limits_says_so_and_has_no_interval(tmp_path, capsys):
    found = fit("gadre-error", runs())
    made = forecast.forecast(found, loss=0.3)
    assert made.value == 0
    assert "nan" not in made.text()
    assert "the law says -1.05 there" in made.text()
    assert "error lies between 0 and 1: it does not hold so far out, and no interval is given" in made.text()
    found.to_json(tmp_path / "fit.json")
    with pytest.raises(SystemExit) as done:
        main(["predict", str(tmp_path / "fit.json"), "--loss", "0.3", "--json"])
    assert done.value.code == 0
    assert json.loads(capsys.readouterr().out)["value"] == 0
    forecast.store(made, tmp_path / "stored.json")
    assert math.isinf(forecast.score(tmp_path / "stored.json", 0.1).error)
    assert not any("between 0 and 1" in warning for warning in forecast.forecast(found, loss=2.0).warnings)


def test_an_accuracy_under_its_own_name_is_a_share_and_one_in_per_cent_is_not():
    for name, factor, limits in (
        ("acc_hellaswag", 1.0, (0.0, 1.0)),
        ("acc_hellaswag", 100.0, None),
        ("bpb", 1.0, None),
    ):
        table = runs(name=name)
        table = table.with_columns(**{name: factor * table[name]})
        assert fit("gadre-error", table, target=name, starts=16).limits == limits


def test_a_hold_out_at_which_a_law_means_nothing_is_remarked_on():
    rows = runs(low=1.6)
    held = rows["loss"] < 2.0
    measured = np.where(held, 0.28, rows["error"])  # a task that stays where chance has it
    found = fit("gadre-error", rows.with_columns(error=measured), hold_out=held)
    assert found.held_out is not None
    assert found.held_out.rms > 0.2
    assert any(note.startswith("held out, the law misses by") for note in found.notes)
    wide = Table.from_columns({"loss": np.append(rows["loss"], 0.5), "error": np.append(measured, 0.28)})
    found = fit("gadre-error", wide, hold_out=wide["loss"] < 2.0)
    assert any("error lies between 0 and 1, and the law leaves that at" in note for note in found.notes)
    assert "inf" not in found.summary()
    fair = fit("gadre-error", runs(low=1.6), hold_out=held)
    assert not any("held out, the law misses" in note or "the law explains" in note for note in fair.notes)


def test_a_falling_law_of_a_rising_accuracy_is_said_to_tell_nothing():
    N, D = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 1e9, 6), np.geomspace(1e9, 1e11, 5)))
    luck = 1 + 0.01 * np.random.default_rng(0).normal(size=len(N))
    accuracy = luck * (0.25 + 0.5 / (1 + np.exp(-(np.log(N * D) - 43) / 2)))
    found = fit("chinchilla", {"params": N, "tokens": D, "accuracy": accuracy}, target="accuracy", hold_out="params")
    assert found.held_out is not None
    assert found.held_out.rms < 5 * found.residuals.rms  # its own residuals are as bad
    notes = "\n".join(found.notes)
    assert "the law explains 0% of what one number for all rows leaves of accuracy" in notes
    assert "accuracy rises with params and tokens" in notes
    assert "e+" not in found.summary()  # of constants that left the fit
    assert f"held out, the law misses by {found.held_out.rms:.0%} (rms)" in notes


@dataclasses.dataclass(frozen=True)
class Wave(Law):
    """L(N) = 3 + A sin(w ln N): an optimum for every wave that happens to fit a little."""

    A: Scalar = constant("nats/token", (0.01, 1.0))
    w: Scalar = constant("", (1.0, 50.0))

    name = "wave"
    inputs = ("params",)

    def __call__(self, N: Values) -> Values:
        xp = namespace(self.A, self.w, N)
        return 3 + self.A * xp.sin(self.w * xp.log(N))


def test_a_fit_that_hardly_any_start_reached_does_not_say_that_none_did():
    N = np.geomspace(1e6, 1e9, 40)
    loss = Wave(0.2, 7.0)(N) * np.exp(0.01 * np.random.default_rng(0).standard_normal(40))
    starts = [[0.1, 7.02], *([0.1, w] for w in np.linspace(20, 40, 299))]
    found = fit(Wave, {"params": N, "loss": loss}, starts=np.array(starts))
    assert found.share_at_optimum < 0.005
    assert found.why == "0.3% of the starts came as near to this optimum as these runs tell optima apart"
