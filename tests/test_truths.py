"""Surfaces whose exponents are known: their values, their limits, and the tables that users get of them."""

import json
import math
import signal

import numpy as np
import pytest
from scipy import special

from analysis import truths
from analysis.fit import fit
from analysis.laws import Chinchilla, QNorm
from analysis.load import load
from analysis.truths import Hutter, LinearFeatures, PowerLawSGD
from scaling import cli


def test_hutters_sum_has_its_known_values_and_limits():
    law = Hutter(0.6)
    np.testing.assert_allclose(law([1e1, 1e2, 1e3, 1e4], math.inf), [0.177806, 0.045869, 0.011553, 0.002903], atol=6e-7)
    many = law(math.inf, [1e2, 1e3, 1e4, 1e5, 1e6])
    np.testing.assert_allclose(many, [0.156746, 0.066252, 0.027945, 0.011785, 0.004970], atol=6e-7)
    np.testing.assert_allclose(law([1e2, 1e3, 1e4], [1e3, 1e5, 1e5]), [0.069423, 0.013592, 0.011798], atol=6e-7)
    k = np.arange(1.0, 31)
    p = k**-1.6 / float(np.sum(np.arange(1.0, 2e6) ** -1.6) + 2e6**-0.6 / 0.6)
    assert law(30, 50) == pytest.approx((p * (1 - p) ** 50).sum() + 1 - p.sum(), rel=1e-8)


def test_linear_features_have_their_closed_form_and_their_limit():
    D = np.array([10, 1e3, 1e4])
    np.testing.assert_allclose(LinearFeatures(1.0)(D), D * math.pi**2 / (2 * D + 1) ** 2, rtol=1e-8)
    assert LinearFeatures(0.5)(1e8) == pytest.approx(3.76 * 1e8**-0.5, rel=1e-3)


def test_the_recursion_of_sgd_is_what_sgd_does():
    """The mean of many trainings, step by step, on the same features."""
    law, N, far, steps, runs = PowerLawSGD(0.8, 0.2), 6, 400, 30, 4000
    rng = np.random.default_rng(0)
    j = np.arange(1.0, far + 1)
    variance, target = j**-1.6, j**-0.2
    rate = 0.25 / float(special.zeta(1.6))
    error = np.tile(target[:N], (runs, 1))
    for _ in range(steps):
        x = np.sqrt(variance) * rng.normal(size=(runs, far))
        miss = (x[:, :N] * error).sum(-1) + x[:, N:] @ target[N:]
        error -= rate * miss[:, None] * x[:, :N]
    unseen = float(special.zeta(2.0, N + 1))  # variance x target ** 2 of the features beyond N
    loss = (variance[:N] * error**2).sum(-1) + unseen
    assert float(law(N, steps)) == pytest.approx(loss.mean(), abs=4 * loss.std() / runs**0.5)


@pytest.mark.parametrize(
    ("law", "at", "exponent"),
    [
        (Hutter(0.6), lambda law: law([300, 3000], math.inf), "alpha"),
        (Hutter(0.6), lambda law: law(math.inf, [1e4, 1e5]), "beta"),
        (LinearFeatures(0.7), lambda law: law([1e5, 1e6]), "beta"),
        (PowerLawSGD(), lambda law: law([50, 500], 1e12), "alpha"),
        (PowerLawSGD(), lambda law: law(1500, [1e3, 1e4]), "beta"),
    ],
)
def test_the_exponents_are_those_of_the_limits(law, at, exponent):
    small, large = at(law)
    assert math.log10(small / large) == pytest.approx(law.exponents[exponent], rel=0.03)


def test_the_chinchilla_form_fails_on_hutters_sum_and_the_q_norm_does_not():
    """Exponents 0.69 and 0.41 for 0.60 and 0.375, and over a third too high at 30 times the size."""
    columns = truths.drawn(Hutter(0.6), truths.SURFACES["hutter"][1])
    wrong, right = (fit(law, columns, loss="squared", every_run=True) for law in (Chinchilla, QNorm))
    far = float(Hutter(0.6)(9e4, 9e6))
    assert (wrong.law.alpha, wrong.law.beta) == pytest.approx((0.691, 0.410), abs=2e-3)
    assert wrong.residuals.rms == pytest.approx(0.143, abs=3e-3)
    assert float(wrong.law(9e4, 9e6)) / far > 1.33
    assert (right.law.alpha, right.law.beta) == pytest.approx((0.594, 0.374), abs=2e-3)
    assert right.residuals.rms == pytest.approx(0.006, abs=5e-4)
    assert float(right.law(9e4, 9e6)) == pytest.approx(far, rel=0.02)


def run(words, capsys):
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        cli.main(words.split())
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    return int(end.value.code or 0), *capsys.readouterr()


@pytest.mark.parametrize("name", truths.SURFACES)
def test_a_surface_comes_as_a_table_that_holds_its_losses(name, capsys, tmp_path):
    code, out, _ = run(f"table synthetic:{name} --out {tmp_path}/runs.csv --json", capsys)
    assert code == 0
    truth = truths.surface(name, {})
    assert json.loads(out)["exponents"] == pytest.approx(truth.exponents)
    table = load(tmp_path / "runs.csv")
    np.testing.assert_allclose(truth(*table.positive(*truth.inputs)), table["loss"], rtol=1e-12)


def test_a_table_has_the_grid_the_constants_and_the_noise_that_were_asked_for(capsys, tmp_path):
    words = (
        f"table synthetic:hutter --set a=0.4 --params 10 1e3 5 --tokens 100 1e5 40 --noise 0.02 --out {tmp_path}/a.csv"
    )
    assert run(f"{words} --seed 3", capsys)[0] == 0
    table = load(tmp_path / "a.csv")
    assert len(table) == 200
    assert (table["params"].min(), table["params"].max()) == (10, 1000)
    scatter = np.log(table["loss"] / Hutter(0.4)(table["params"], table["tokens"]))
    assert np.std(scatter) == pytest.approx(0.02, rel=0.2)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("table hutter --out x.csv", "or synthetic: and one of"),
        ("table synthetic:huter --out x.csv", "no surface is called 'huter'"),
        ("table synthetic:hutter --out x.txt", "wanted a name that ends in .csv or .parquet"),
        ("table synthetic:hutter --out x.csv --set b=1", "hutter has no constant b; it has a"),
        ("table synthetic:hutter --out x.csv --params 10 1 5", "--params 10 1 5: wanted LOW from 1"),
        ("table synthetic:features --out x.csv --params 10 100 5", "features is a curve of tokens"),
        ("table synthetic:sgd --out x.csv --params 10 1e5 5", "params 100000; wanted 1 to 4096 features"),
        ("table synthetic:sgd --out x.csv --noise 2", "--noise 2: wanted a share"),
    ],
)
def test_a_table_that_cannot_be_drawn_ends_in_one_line(words, said, capsys):
    code, _, err = run(words, capsys)
    assert code == 2
    assert said in err
    assert err.count("\n") == 1
