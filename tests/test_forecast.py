"""Forecasts are written once, before the run, and scored after it."""

import dataclasses
import json

import numpy as np
import pytest

from analysis import forecast
from analysis.fit import fit
from analysis.fit.estimate import Fit
from scaling import folders
from scaling.errors import InputError


@pytest.fixture(scope="module")
def fitted():
    N = np.geomspace(1e5, 1e8, 10)
    noise = np.exp(0.004 * np.random.default_rng(0).standard_normal(10))
    return fit("kaplan-n", {"params": N, "loss": (8.8e13 / N) ** 0.076 * noise}, loss="squared")


def test_a_forecast_comes_back_from_its_file_and_is_scored(fitted, tmp_path):
    path = tmp_path / "forecast.json"
    made = forecast.forecast(fitted, params=1e9)
    forecast.store(made, path)
    hit, miss = forecast.score(path, made.value * 1.001), forecast.score(path, made.value * 1.1)
    assert hit.forecast == made
    assert hit.inside
    assert hit.error == pytest.approx(0.001)
    assert not miss.inside
    assert "outside the 95% interval of one run" in miss.text()
    assert made.made[:10] in miss.text()


def test_a_forecast_is_of_a_single_run_and_wider_than_the_mean(fitted):
    made, mean = forecast.forecast(fitted, params=1e9), fitted.predict(params=1e9)
    assert made.low < mean.low < made.value < mean.high < made.high
    assert (made.law_low, made.law_high) == (float(mean.low), float(mean.high))


def test_a_forecast_beyond_the_runs_says_by_what_factor(fitted):
    assert forecast.forecast(fitted, params=1e7).warnings == ()
    assert forecast.forecast(fitted, params=3e8).warnings == ("N = 300M is 3 times the largest fitted, 100M",)
    far = forecast.forecast(fitted, params=1e10)
    assert far.warnings == ("N = 10B is 100 times the largest fitted, 100M", "that far beyond the runs it is a guess")
    assert forecast.forecast(fitted, params=1e4).warnings[0] == "N = 10k is 10 times below the smallest fitted, 100k"


def test_a_doubtful_fit_bounds_nothing_beyond_its_runs(fitted, tmp_path):
    doubtful = dataclasses.replace(fitted, status="flat direction", why="N_c and alpha_N go together")
    inside, beyond = forecast.forecast(doubtful, params=1e7), forecast.forecast(doubtful, params=1e9)
    assert "the fit is doubtful, flat direction" in inside.warnings[0]
    assert "interval of one run" in inside.text()
    assert "interval of one run" not in beyond.text()
    forecast.store(beyond, tmp_path / "f.json")
    score = forecast.score(tmp_path / "f.json", 3.0)
    assert score.forecast == beyond
    assert not score.inside
    assert "no interval was predicted" in score.text()


def test_a_forecast_keeps_the_whole_fit(fitted, tmp_path):
    forecast.store(forecast.forecast(fitted, params=1e9), tmp_path / "f.json")
    kept = json.loads((tmp_path / "f.json").read_text())
    assert kept["fit"]["alpha_N"] == pytest.approx(fitted.law.alpha_N)
    assert kept["inputs"] == {"params": 1e9}


def test_a_forecast_is_never_rewritten(fitted, tmp_path):
    path = tmp_path / "f.json"
    forecast.store(forecast.forecast(fitted, params=1e9), path)
    before = path.read_text()
    with pytest.raises(InputError, match="forecasts are not rewritten"):
        forecast.store(forecast.forecast(fitted, params=1e10), path)
    assert path.read_text() == before


def test_a_bucket_is_no_folder_of_forecasts_and_none_of_its_name_is_made(fitted, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for place in ("gs://b/st/", "az://b/st/", "s3://b/f.json"):
        with pytest.raises(InputError, match=f"^{place}: .*: is no folder on a disk"):
            forecast.store(forecast.forecast(fitted, params=1e9), place)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"made": "2026"}'])
def test_a_file_that_is_no_forecast_is_refused(text, tmp_path):
    (tmp_path / "f.json").write_text(text)
    with pytest.raises(InputError, match=r"not a forecast|no JSON .*; wanted a forecast"):
        forecast.score(tmp_path / "f.json", 3.0)


@pytest.mark.parametrize(
    ("name", "value"),
    [("value", "x"), ("value", None), ("value", -2.0), ("low", "x"), ("level", None), ("law", 3), ("inputs", "x"),
     ("inputs", {"params": "x"}),
     ("inputs", {"params": "1e9"}), ("inputs", {"params": True}), ("value", "2.5"),
     ("inputs", {"params": None}), ("warnings", None), ("made", None)],
)  # fmt: skip
def test_a_damaged_forecast_is_refused_in_one_line(fitted, name, value, tmp_path):
    forecast.store(forecast.forecast(fitted, params=1e9), tmp_path / "f.json")
    kept = json.loads((tmp_path / "f.json").read_text())
    del kept[folders.SEAL]  # as a file of an older version
    (tmp_path / "f.json").write_text(json.dumps(kept | {name: value}))
    with pytest.raises(InputError, match="not a forecast") as error:
        forecast.score(tmp_path / "f.json", 3.0)
    assert "\n" not in str(error.value)


def test_a_missing_file_and_an_impossible_loss_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        forecast.score(tmp_path / "none.json", 3.0)
    with pytest.raises(InputError, match="wanted a number above 0"):
        forecast.score(tmp_path / "none.json", float("nan"))


def test_a_fit_from_before_profiles_over_the_floor_says_so():
    """Only where the floor may be 0 does its file lack what predictions want."""
    N, D = (each.ravel() for each in np.meshgrid(np.geomspace(1e6, 1e8, 5), np.geomspace(1e8, 1e10, 4)))
    noise = np.exp(0.01 * np.random.default_rng(1).standard_normal(len(N)))
    warned = {}
    for E in (0.0, 1.5):
        loss = (E + 400 / N**0.34 + 1000 / D**0.4) * noise
        made = fit("chinchilla", {"params": N, "tokens": D, "loss": loss}, loss="squared")
        assert (made.intervals["E"][0] == 0) == (E == 0)
        old = json.loads(made.to_json())
        del old[folders.SEAL]
        del old["ends"]["over_floor"]
        for name, one in {"new": made, "old": Fit.from_json(json.dumps(old))}.items():
            warnings = forecast.forecast(one, params=1e9, tokens=2e10).warnings
            warned[E, name] = any("over the floor; fit again" in warning for warning in warnings)
    assert [key for key, told in warned.items() if told] == [(0.0, "old")]
