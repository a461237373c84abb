"""A fit as a value: it predicts, is stored and read back, and says what a reader must know."""

import dataclasses
import json
from typing import ClassVar

import numpy as np
import pytest
from drawn import TRUTH, grid, noisy

from analysis.fit import fit
from analysis.fit.estimate import Fit
from analysis.laws import Chinchilla, HenighanN, KaplanN, Law, constant
from scaling import folders
from scaling.errors import InputError


@pytest.fixture(scope="module")
def found() -> Fit:
    table = noisy(Chinchilla(*TRUTH["chinchilla"]), grid(Chinchilla), 0.005)
    table["loss"][-2:] *= 1.1
    return fit("chinchilla", table, drop_worst=2, bootstrap=60)


def test_a_prediction_lies_in_its_interval_and_a_run_scatters_more(found):
    mean = found.predict(params=7e10, tokens=1.4e12)
    run = found.predict(params=7e10, tokens=1.4e12, run=True)
    assert run.low < mean.low < mean.value < mean.high < run.high
    assert mean.value == pytest.approx(found.law(7e10, 1.4e12))
    band = found.band(np.geomspace(1e8, 1e10, 5), 1e11)
    assert band.low.shape == (5,)
    with pytest.raises(InputError, match="missing tokens"):
        found.predict(params=1e9)
    with pytest.raises(InputError, match="does not take steps"):
        found.predict(params=1e9, tokens=1e10, steps=3)
    with pytest.raises(InputError, match="params: found -1"):
        found.predict(params=-1.0, tokens=1e10)


def test_a_fit_survives_being_stored(found, tmp_path):
    found.to_json(tmp_path / "fit.json")
    again = Fit.from_json(tmp_path / "fit.json")
    assert again.to_json() == found.to_json()
    assert again.law == found.law
    assert again.predict(params=1e9, tokens=1e10) == found.predict(params=1e9, tokens=1e10)
    stored = json.loads((tmp_path / "fit.json").read_text())
    assert {"E", "A", "B", "alpha", "beta", "objective", "intervals", "status"} <= set(stored)


def test_the_text_of_a_fit_that_was_changed_is_refused_as_its_file_is(found):
    text = found.to_json()
    assert Fit.from_json(text).law == found.law
    with pytest.raises(folders.Changed, match="changed after it was written"):
        Fit.from_json(text.replace('"alpha": ', '"alpha": 1', 1))


@pytest.mark.parametrize("text", ["{}", "{nonsense", '{"law": "chinchilla"}'])
def test_json_that_is_no_fit_ends_in_one_line(text, tmp_path):
    with pytest.raises(InputError, match="not the JSON of a fit"):
        Fit.from_json(text)
    with pytest.raises(InputError, match="no such file"):
        Fit.from_json(tmp_path / "none.json")


def test_the_summary_says_what_a_reader_must_know(found):
    text = found.summary()
    for words in (
        "34 of 36 rows",
        "converged",
        "objective 0.0",
        "left out: 2",
        "95% 1.",
        "nats/token",
        "profile likelihood",
    ):
        assert words in text
    assert "with these left in (among the 2 largest loss (drop_worst)): E " in text


def test_a_level_is_written_to_all_its_digits():
    table = noisy(KaplanN(8.8e13, 0.076), {"params": np.geomspace(1e5, 1e9, 12)}, 0.01)
    assert " 99.9% " in fit(KaplanN, table, level=0.999).summary()
    assert " 68.27% " in fit(KaplanN, table, level=0.6827).summary()


def test_the_summary_tells_how_heavy_the_asymmetric_loss_is():
    table = noisy(KaplanN(8.8e13, 0.076), {"params": np.geomspace(1e5, 1e9, 12)}, 0.01)
    text = fit(KaplanN, table, loss="asymmetric", asymmetry=7).summary()
    assert "(asymmetric, delta 0.001, 7 times as heavy above a run, log loss, summed)" in text


def test_intervals_of_data_without_noise_are_called_linearised():
    N = np.geomspace(1e5, 1e9, 12)
    assert fit(KaplanN, {"params": N, "loss": KaplanN(8.8e13, 0.076)(N)}).interval_kind == "linearised"
    assert fit(KaplanN, noisy(KaplanN(8.8e13, 0.076), {"params": N}, 0.01)).interval_kind == "profile likelihood"


@pytest.mark.parametrize("raw", [b"\xff\xfe{\x00", b"\x80\x81"])
def test_a_file_that_is_not_text_ends_in_one_line(raw, tmp_path):
    (tmp_path / "fit.json").write_bytes(raw)
    with pytest.raises(InputError, match=r"fit\.json: no text in UTF-8 .* wanted the JSON of a fit") as error:
        Fit.from_json(tmp_path / "fit.json")
    assert "\n" not in str(error.value)


def test_a_law_of_ones_own_takes_a_few_lines():
    @dataclasses.dataclass(frozen=True)
    class Depth(Law):
        """L = A / N ** alpha + c / depth."""

        A: float = constant("nats/token", (1.0, 1e4))
        alpha: float = constant("", (0.05, 1.0), "exponent")
        c: float = constant("nats layers/token", (0.01, 10.0))
        name: ClassVar[str] = "depth"
        inputs: ClassVar[tuple[str, ...]] = ("params", "n_layer")

        def __call__(self, N, n_layer):
            return self.A * N**-self.alpha + self.c / n_layer

    N, depth = (x.ravel() for x in np.meshgrid(np.geomspace(1e6, 1e9, 5), [2.0, 4.0, 8.0]))
    truth = Depth(A=30.0, alpha=0.15, c=0.7)
    found = fit(Depth, noisy(truth, {"params": N, "n_layer": depth}, 1e-3), loss="squared", bootstrap=50)
    assert found.law.c == pytest.approx(0.7, rel=0.05)
    again = Fit.from_json(found.to_json(), law=Depth)
    assert again.law == found.law


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ({"E": "x"}, 'E is "x", not a number'),
        ({"alpha": None}, "alpha is null, not a number"),
        ({"covariance": [[1.0] * 5] * 4}, r"covariance of shape \(4, 5\) for 5 constants"),
        ({"covariance": 3}, "not iterable"),
        ({"ends": {"theta": [[True] * 5], "level": 0.95}}, "ends is true, not a number"),
        ({"notes": ["checked", " "]}, 'notes is " ", not a text'),
        ({"covariance": [[1.0, 2.0, 0.0, 0.0, 0.0], *[[0.0] * 5] * 4]}, "covariance that is not symmetric"),
        ({"intervals": {"E": ["a", 2.0]}}, 'the interval of E is "a", not a number|no interval of'),
        ({"intervals": {}}, "no interval of A"),
        ({"ranges": {"params": ""}}, "the range of params is no pair of numbers"),
        ({"degrees": "many"}, 'degrees is "many", not a number'),
        ({"ranges": {"params": [1.0, None]}}, "params is null, not a number"),
        ({"misfit": {"error": 0.1}, "ranges": {"params": [1.0, -2.0]}}, "params is not above 0"),
        ({"residuals": {"rms": 0.1, "sigma": None, "largest": []}}, "sigma is null, not a number"),
    ],
)
def test_a_damaged_fit_ends_in_one_line(found, damage, words):
    damaged = json.loads(found.to_json()) | damage
    del damaged[folders.SEAL]  # else its checksum tells
    with pytest.raises(InputError, match=words) as error:
        Fit.from_json(json.dumps(damaged))
    assert "\n" not in str(error.value)


def test_residuals_are_shares_of_what_the_law_has():
    """A run a quarter above the others: +25 %, not its logarithm, and above 0 where it is worse than the law."""
    N = np.geomspace(1e5, 1e9, 30)
    table = {"params": N, "loss": KaplanN(8.8e13, 0.076)(N) * np.exp(1e-4 * np.cos(9 * np.arange(30)))}
    table["loss"][12] *= 1.25
    fitted = fit(KaplanN, table)
    label, largest = fitted.residuals.largest[0]
    assert label == "row 13"
    assert largest == pytest.approx(0.25, abs=2e-3)
    assert "measured / law - 1: rms" in fitted.summary()
    held = fit(KaplanN, table, hold_out=np.arange(30) == 12).held_out
    assert held is not None
    assert held.mean == held.worst == pytest.approx(0.25, abs=2e-3)


def test_a_law_of_another_column_has_its_units():
    N = np.geomspace(1e5, 1e9, 12)
    error = HenighanN(0.2, 1e4, 0.2)(N) * np.exp(1e-3 * np.cos(9 * np.arange(12)))
    fitted = fit(HenighanN, {"params": N, "error": error}, target="error", loss="squared")
    assert fitted.units == {"L_inf": "share", "N_0": "parameters", "alpha": ""}
    assert "nats/token" not in fitted.summary()
