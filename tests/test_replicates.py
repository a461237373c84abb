"""Seed noise: measured from runs that differ in their seed alone."""

import numpy as np
import pytest
from known_runs import run, table

from analysis.fit import fit
from analysis.laws import HenighanN, KaplanN
from analysis.replicates import seed_noise
from analysis.table import Table


def test_seed_noise_is_measured_and_the_wrong_form_fails_against_it():
    rng = np.random.default_rng(1)
    N = np.repeat(np.geomspace(1e5, 1e9, 8), 3)
    y = (1.5 + KaplanN(1e9, 0.4)(N)) * np.exp(0.003 * rng.normal(size=24))
    table = Table.from_columns({"params": N, "seed": np.tile([0.0, 1.0, 2.0], 8), "loss": y})
    noise = seed_noise(table)
    assert noise is not None
    assert noise.degrees == 16
    assert noise.sigma == pytest.approx(0.003, rel=0.4)
    right, wrong = (fit(law, table, loss="squared").lack_of_fit for law in (HenighanN, KaplanN))
    assert right is not None
    assert wrong is not None
    assert right.p > 0.01
    assert wrong.p < 1e-6
    weighted = fit(HenighanN, table, loss="squared", weights="replicates")
    assert weighted.law.L_inf == pytest.approx(1.5, abs=0.05)
    assert "note: rows are weighed by the noise that replicates show at their size: all alike" in weighted.summary()


def branches(rng: np.random.Generator, shared: float = 0.004, own: float = 0.001) -> Table:
    """Three sizes with two seeds each, a trunk each with four branches: nearly all of the noise is the trunk's."""
    rows = []
    for shape in ((8, 2), (16, 2), (32, 2)):
        expected = float(KaplanN(8.8e13, 0.076)(12 * shape[1] * shape[0] ** 2))
        for seed in (0, 1):
            trunk = shared * rng.normal()
            rows += [
                run(
                    shape,
                    D,
                    expected * float(np.exp(trunk + own * rng.normal())),
                    seed=seed,
                    schedule="wsd",
                    warmup=2**13 / D,
                )
                for D in (2**17, 2**18, 2**19, 2**20)
            ]
    return table(rows)


def test_branches_of_one_trunk_count_once():
    """The interval of sigma holds the truth as often as it says, where the noise is nearly all the trunk's."""
    sigma, held, said = np.hypot(0.004, 0.001), 0, ""
    for k in range(60):
        noise = seed_noise(branches(np.random.default_rng(k)))
        assert noise is not None
        assert noise.degrees == 3
        held += noise.low <= sigma <= noise.high
        said = noise.sentence()
    assert held >= 52  # of 60: 57 less three standard errors
    assert "branches of 6 trunks" in said


def test_the_bootstrap_draws_the_branches_of_a_trunk_together():
    """Each trunk is off by an amount of its own: drawn one by one, branches would hide how little six trunks say."""
    runs = branches(np.random.default_rng(0), shared=0.01, own=1e-4)
    apart = runs.with_columns(_trunk=np.arange(float(len(runs))))
    together, alone = (
        fit(KaplanN, rows, loss="squared", bootstrap=200, every_run=True).percentile["alpha_N"]
        for rows in (runs, apart)
    )
    assert together[1] - together[0] > 1.4 * (alone[1] - alone[0])


def seeded(sigma: np.ndarray | float, seeds: int, seed: int = 0, columns: dict | None = None) -> Table:
    """L(N) on six sizes, each with so many seeds; sigma may differ from size to size."""
    sizes = np.geomspace(1e5, 1e9, 6)
    N = np.repeat(sizes, seeds)
    noise = np.repeat(np.broadcast_to(sigma, 6), seeds) * np.random.default_rng(seed).normal(size=len(N))
    loss = KaplanN(8.8e13, 0.076)(N) * np.exp(noise)
    return Table.from_columns(
        {"params": N, "seed": np.tile(np.arange(float(seeds)), 6), "loss": loss, **(columns or {})}
    )


def test_runs_of_different_experiments_are_no_replicates():
    """Any column may tell two experiments apart, known here or not."""
    for name, values in {
        "dataset": np.tile(["c4", "rpj"], 6),
        "experts": np.tile([1.0, 8.0], 6),
        "d_attn": np.tile([64.0, 128.0], 6),
        "rotary": np.tile(["yes", "no"], 6),
    }.items():
        assert seed_noise(seeded(0.01, 2, columns={name: values})) is None, name


def test_what_came_of_a_run_does_not_make_it_another_experiment():
    rng = np.random.default_rng(1)
    outcomes = {
        name: rng.uniform(2, 3, 12)
        for name in ("train_loss", "loss_initial", "seconds", "bits_per_byte", "error", "onset")
    }
    noise = seed_noise(seeded(0.01, 2, columns={"run": [f"r{i}" for i in range(12)], **outcomes}))
    assert noise is not None
    assert noise.degrees == 6


def slope(table: Table) -> float:
    noise = seed_noise(table)
    assert noise is not None
    return noise.slope


def test_noise_that_differs_with_size_is_believed_only_where_it_is_significant():
    steep = 0.01 * np.geomspace(1, 0.05, 6)
    assert slope(seeded(steep, 6)) == pytest.approx(-0.325, abs=0.1)
    believed = np.mean([slope(seeded(0.01, 3, seed)) != 0 for seed in range(200)])
    assert believed == pytest.approx(0.05, abs=0.05)
    assert slope(seeded(steep, 2)) == 0, "six degrees of freedom are too few to believe a slope"


def test_weights_from_replicates_keep_the_intervals_honest():
    """Coverage of alpha_N with equal noise and three seeds a size: weights that are noise would cost some of it."""
    truth = KaplanN(8.8e13, 0.076)
    covered = 0
    for seed in range(100):
        low, high = fit(
            truth.__class__, seeded(0.01, 3, seed), loss="squared", weights="replicates", starts=4
        ).intervals["alpha_N"]
        covered += low <= truth.alpha_N <= high
    assert covered >= 88  # 95 less three standard errors
