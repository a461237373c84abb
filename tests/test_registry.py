"""A folder of forecasts: kept once, scored once, counted, and followed while the run goes on."""

import json

import numpy as np
import pytest

from analysis import forecast, registry
from analysis.average import Average
from analysis.fit import fit
from analysis.follow import follow
from analysis.laws import Chinchilla
from analysis.page import forecasts
from analysis.table import Table
from scaling.errors import InputError

TRUE = Chinchilla(E=1.817, A=477.8, B=2143.0, alpha=0.3473, beta=0.3672)


@pytest.fixture(scope="module")
def fitted():
    N, D = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 1e9, 5), np.geomspace(3e8, 3e10, 5)))
    noise = np.exp(0.003 * np.random.default_rng(0).standard_normal(25))
    return fit("chinchilla", {"params": N, "tokens": D, "loss": TRUE(N, D) * noise}, loss="squared")


@pytest.fixture
def folder(fitted, tmp_path):
    """Four forecasts; two are inside their intervals, one outside, one is not scored yet."""
    for name, N in (("a", 1e9), ("b", 2e9), ("c", 3e9), ("d", 4e9)):
        forecast.store(forecast.forecast(fitted, params=N, tokens=3e10), tmp_path / f"{name}.json")
    for name, off in (("a", 1.0), ("b", 1.001), ("c", 1.1)):
        registry.keep(tmp_path, name, forecast.read(tmp_path / f"{name}.json").value * off)
    return tmp_path


def test_a_folder_counts_how_many_forecasts_were_inside(folder):
    found = registry.read(folder)
    assert [e.name for e in found.entries] == ["a", "b", "c", "d"]
    (calibration,) = found.calibration
    assert (calibration.inside, calibration.forecasts, calibration.runs) == (2, 3, 3)
    assert calibration.rms == pytest.approx(np.sqrt((0.001**2 + 0.1**2) / 3))
    assert "2 of 3 inside 95 %" in found.text()
    assert "1 of 4 not scored yet" in found.text()
    told = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert [one["inside"] for one in told["forecasts"]] == [True, True, False, None]


def test_forecasts_of_one_run_share_its_luck_and_are_counted_so(fitted, folder):
    path = forecast.store(forecast.forecast(fitted, params=1e9, tokens=3e10), f"{folder}/")
    registry.keep(folder, path.name, json.loads((folder / "a.measured.json").read_text())["measured"])
    (calibration,) = registry.read(folder).calibration
    assert (calibration.forecasts, calibration.runs) == (4, 3)
    assert "of 3 runs" in calibration.text()


def test_a_score_is_kept_once(folder):
    before = (folder / "a.measured.json").read_text()
    with pytest.raises(InputError, match=r"scored already, with .*, and scores are not rewritten"):
        registry.keep(folder, "a", 3.0)
    assert (folder / "a.measured.json").read_text() == before


def test_a_forecast_changed_after_its_score_is_found_out_and_not_counted(folder):
    kept = json.loads((folder / "c.json").read_text())
    (folder / "c.json").write_text(json.dumps(kept | {"high": 9.0}))
    found = registry.read(folder)
    assert found.entries[2].changed
    assert found.calibration[0].forecasts == 2
    assert "changed after they were stored, and not counted: c" in found.text()


def test_a_folder_names_its_forecasts_and_never_takes_one_name_twice(fitted, tmp_path):
    made = forecast.forecast(fitted, params=1e9, tokens=3e10)
    first, second = (forecast.store(made, f"{tmp_path}/new/") for _ in range(2))
    assert first.name == f"{made.made[:10]}-chinchilla-params-1B-tokens-30B.json"
    assert second.name == first.name.replace(".json", "-2.json")


def test_what_is_no_forecast_is_named_and_an_empty_folder_refused(folder, tmp_path_factory):
    (folder / "fit.json").write_text("{}")
    assert registry.read(folder).others == ("fit.json",)
    with pytest.raises(InputError, match="no forecast is called 'z'; there are a, b, c, d"):
        registry.keep(folder, "z", 2.0)
    with pytest.raises(InputError, match="holds no forecast"):
        registry.read(tmp_path_factory.mktemp("empty"))
    (folder / "a.measured.json").write_text("{}")
    with pytest.raises(InputError, match=r"a.measured.json: not a score"):
        registry.read(folder)


# --- a run that goes on


def curves(N=2e9, off=1.0, **columns):
    """Two runs so far, the first 2 % above what the truth promises at each point, the second of another size."""
    D = np.geomspace(1e9, 1e10, 8)
    rows = [
        {"run": run, "step": k + 1, "params": size, "tokens": d, "loss": float(TRUE(size, d)) * off, **columns}
        for run, size in (("ours", N), ("other", 5e8))
        for k, d in enumerate(D)
    ]
    return Table.from_rows(rows)


def test_a_curve_is_held_against_what_its_law_promises_at_each_point(fitted):
    made = forecast.forecast(fitted, params=2e9, tokens=3e10)
    found = follow("b", made, curves(off=1.02))
    assert found.run == "ours"
    assert (found.along, found.end) == ("tokens", 3e10)
    promised = fitted.predict(params=2e9, tokens=found.x, run=True)
    np.testing.assert_allclose(found.value, promised.value)
    np.testing.assert_allclose(found.above, 0.02, atol=0.005)
    assert (found.measured > found.high).all()
    assert "33% of its tokens" in found.text()


def test_a_run_at_constant_rate_is_said_to_lie_above_the_promise(fitted):
    made = forecast.forecast(fitted, params=2e9, tokens=3e10)
    assert "keeps its rate, and lies above" in follow("b", made, curves(schedule="constant")).text()
    assert "comes down as the rate falls" in follow("b", made, curves(schedule="cosine")).text()


def test_a_curve_of_no_run_that_was_forecast_is_refused(fitted):
    made = forecast.forecast(fitted, params=9e9, tokens=3e10)
    with pytest.raises(InputError, match="none of 2 runs has params 9B, tokens 30B; choose one with --where run="):
        follow("b", made, curves())


def test_the_only_curve_is_refused_where_it_is_of_another_size(fitted):
    alone = curves().matching("run=ours")
    made = forecast.forecast(fitted, params=1e9, tokens=3e10)
    with pytest.raises(InputError, match="run ours has params 2B, and the forecast is of params 1B, tokens 30B"):
        follow("b", made, alone)
    assert follow("b", forecast.forecast(fitted, params=2e9, tokens=3e10), alone).run == "ours"


def test_a_run_that_has_ended_says_how_it_is_scored(fitted):
    whole = curves().matching("run=ours")
    made = forecast.forecast(fitted, params=2e9, tokens=1e10)
    assert f"score it with --measured b={whole['loss'][-1]:.6g}" in follow("b", made, whole).text()
    early = whole.where(whole["tokens"] < 5e9, "later")
    assert "--measured" not in follow("b", made, early).text()


def test_a_forecast_of_several_forms_is_followed_by_all_of_them(fitted, tmp_path):
    N, D = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 1e9, 5), np.geomspace(3e8, 3e10, 5)))
    other = fit("kaplan-one-pass", {"params": N, "tokens": D, "loss": TRUE(N, D)}, loss="squared")
    both = Average((fitted, other), (0.7, 0.3))
    stored = forecast.store(forecast.forecast(both, params=2e9, tokens=3e10), tmp_path / "both.json")
    found = follow("both", forecast.read(stored), curves())
    np.testing.assert_allclose(found.value, both.predict(params=2e9, tokens=found.x, run=True).value)
    assert (abs(found.value / fitted.predict(params=2e9, tokens=found.x).value - 1) > 1e-4).any()


def test_a_run_that_has_just_begun_is_known_by_its_size(fitted):
    begun = curves()
    begun = begun.where(begun["step"] == 1, "later")
    found = follow("b", forecast.forecast(fitted, params=2e9, tokens=3e10), begun)
    assert found.run == "ours"
    assert len(found.x) == 1


def test_points_before_the_first_update_or_without_a_loss_are_left_out_and_counted(fitted):
    made, whole = forecast.forecast(fitted, params=2e9, tokens=3e10), curves()
    tokens, loss = whole["tokens"].copy(), whole["loss"].copy()
    tokens[0], loss[7] = 0.0, np.nan
    found = follow("b", made, whole.with_columns(tokens=tokens, loss=loss))
    assert len(found.x) == 6
    assert "2 points left out" in found.text()
    with pytest.raises(InputError, match="no point of the curve has loss and tokens yet"):
        follow("b", made, whole.with_columns(tokens=tokens, loss=np.full(16, np.nan)))


def test_a_law_whose_inputs_stay_the_same_promises_nothing_before_the_end():
    N = np.geomspace(1e5, 1e8, 8)
    wobble = np.exp(0.003 * np.random.default_rng(1).standard_normal(8))
    made = forecast.forecast(fit("kaplan-n", {"params": N, "loss": (8.8e13 / N) ** 0.076 * wobble}), params=2e9)
    with pytest.raises(InputError, match="kaplan-n promises nothing before the end"):
        follow("b", made, curves())


def test_the_page_holds_every_forecast_and_escapes_what_it_is_given(fitted, folder):
    forecast.store(forecast.forecast(fitted, params=5e9, tokens=3e10), folder / "<script>.json")
    made = forecast.read(folder / "d.json")
    text = forecasts.page(registry.read(folder), [follow("<b>", made, curves(N=4e9))])
    assert text.count("<script>") == 1  # our own
    assert "&lt;script&gt;" in text
    assert "<b>" not in text
    assert "2 of 3" in text
    assert 'id="figure-errors"' in text
    assert "http" not in text.split("</style>")[1].replace("http://www.w3.org", "")
