"""Suspicious rows: each check finds what it is for, and says nothing of a clean ladder or without its columns."""

import numpy as np
import pytest

from analysis.fit import fit
from analysis.fit.suspects import suspicions, told
from analysis.laws import Chinchilla
from analysis.load import load
from analysis.table import Table

TRUE = Chinchilla(E=1.8, A=400.0, B=2000.0, alpha=0.34, beta=0.36)
INPUTS = ("params", "tokens")


def ladder(sizes=6, lengths=6, sigma=0.005, seed=0) -> dict[str, np.ndarray]:
    N, D = (x.ravel() for x in np.meshgrid(np.geomspace(1e6, 1e9, sizes), np.geomspace(1e8, 1e11, lengths)))
    return {
        "params": N,
        "tokens": D,
        "loss": TRUE(N, D) * np.exp(sigma * np.random.default_rng(seed).standard_normal(len(N))),
    }


def found(columns) -> list[str]:
    table = Table.from_columns(columns)
    return told(table, suspicions(table, INPUTS, "loss"))


@pytest.mark.parametrize(("sizes", "lengths"), [(3, 3), (6, 6), (8, 30)])
@pytest.mark.parametrize("sigma", [0.001, 0.01, 0.04])
def test_a_clean_ladder_is_above_suspicion_in_95_of_100_draws(sizes, lengths, sigma):
    n = sizes * lengths
    clean = {"warmup": np.full(n, 0.01), "batch_tokens": np.full(n, 2.0**18), "cooldown": np.full(n, 0.2)}
    draws = [bool(found({**ladder(sizes, lengths, sigma, seed), **clean})) for seed in range(60)]
    assert np.mean(draws) <= 0.05


@pytest.mark.parametrize("how", ["checkpoints", "branches"])
def test_rows_that_share_the_luck_of_their_run_are_above_suspicion_and_an_onset_along_them_is_not(how):
    """Taken as rows that err by themselves, a fifth of these ladders showed a transition at a size, which was luck."""
    run, n = np.tile(np.arange(8), 10), 80
    N, D = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 1e9, 8), np.geomspace(1e8, 2e10, 10)))
    ids = {"run": run.astype(str)} if how == "checkpoints" else {"schedule": np.full(n, "wsd")}
    clean, late = [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        loss = TRUE(N, D) * np.exp(0.01 * rng.standard_normal(8)[run] + 0.001 * rng.standard_normal(n))
        clean += found({"params": N, "tokens": D, "loss": loss, **ids})
        late += found({"params": N, "tokens": D, "loss": loss * (1 + 0.4 / (1 + (D / 1e9) ** 3)), **ids})
    assert len(clean) <= 1
    assert len(late) == 20
    assert all("before a transition: from tokens" in line for line in late)


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({"warmup": 0.3}, "a warm-up of more than 10% of its updates"),
        ({"warmup": 300.0, "steps": 1000.0}, "a warm-up of more than 10% of its updates"),
        ({"cooldown": 0.01}, "a cooldown of less than 5% of its updates"),
        ({"decay_steps": 20.0, "steps": 1000.0}, "a cooldown of less than 5% of its updates"),
        ({"decay_ratio": 0.01}, "a cooldown of less than 5% of its updates"),
        ({"config.cooldown_frac": 0.01}, "a cooldown of less than 5% of its updates"),
        ({"batch_tokens": 2.0**20}, "another batch than 262144, which most rows have"),
    ],
)
def test_a_row_made_otherwise_is_named_with_the_reason(columns, why):
    usual = {"warmup": 0.01, "steps": 1000.0, "decay_steps": 200.0, "batch_tokens": 2.0**18}
    odd = {
        name: np.where(np.isin(np.arange(36), (4, 20)), value, usual.get(name, 0.2)) for name, value in columns.items()
    }
    assert found({**ladder(), **odd}) == [f"suspicious: row {row}: {why}" for row in (5, 21)]


def test_a_batch_that_grows_with_the_size_is_above_suspicion():
    assert found({**ladder(), "batch_tokens": np.tile(2.0 ** np.arange(16, 22), 6)}) == []


def test_the_best_rate_of_a_sweep_is_suspicious_at_its_edge_alone():
    N, rate = (x.ravel() for x in np.meshgrid(np.geomspace(1e6, 1e9, 4), [1e-3, 2e-3, 4e-3]))
    best = np.where(N < 1e7, 4e-3, 2e-3)
    loss = TRUE(N, 1e10) * np.exp(0.1 * np.log(rate / best) ** 2)
    lines = found({"params": N, "tokens": np.full(12, 1e10), "learning_rate": rate, "loss": loss})
    assert len(lines) == 1
    assert lines[0].startswith("suspicious: row 9: its rate is the best of its sweep and at the edge of it")


def test_runs_before_the_onset_of_context_use_are_suspicious():
    """Until about 1e9 tokens the loss lies two fifths above the law."""
    columns = ladder()
    onset = 1 + 0.4 / (1 + (columns["tokens"] / 1e9) ** 3)
    (line,) = found({**columns, "loss": columns["loss"] * onset})
    assert line.startswith("suspicious: 12 rows (rows 1-12): before a transition: from tokens 3.98e8 on")
    late = np.where(np.isin(np.arange(36), (0, 1, 2, 3, 6, 7, 8, 12)), np.nan, 5e7)
    (line,) = found({**columns, "onset": late})
    assert line == "suspicious: 8 rows (rows 1-4, 7-9, 13): before its model used its context (column onset)"


@pytest.mark.parametrize("fall", [1.0, 0.9])
def test_a_break_of_one_ladder_is_seen_and_a_straight_or_a_flattening_one_has_none(fall):
    """Of 600 straight or flattening ladders each, of 8 to 40 sizes at 0.05 to 4 % noise, at most 0.8 % showed one."""

    def marked(loss: np.ndarray, together: bool = False) -> list[str]:
        table = Table.from_columns({"params": N, "loss": loss} | ({"tokens": 20 * N} if together else {}))
        return told(table, suspicions(table, INPUTS if together else INPUTS[:1], "loss"))

    N, clean = np.geomspace(1e5, 1e10, 12), 0
    for seed in range(30):
        noise = np.exp(0.003 * np.random.default_rng(seed).standard_normal(12))
        for loss in (6 * (1e5 / N) ** 0.07, 1.7 + 2 * (1e6 / N) ** 0.3):
            clean += len(marked(loss * noise))
        broken = np.where(N < 3e6, 5 * (3e6 / N) ** 0.05, 5 * fall * (3e6 / N) ** 0.1) * noise
        for together in (False, True):
            lines = marked(broken, together)
            assert 3 <= len(lines) <= 5
            assert all("before a transition: from params" in line for line in lines)
    assert clean == 0


def test_runs_that_over_fit_their_repeated_data_are_suspicious(shared):
    path = shared / "reference_runs" / "muennighoff2023_data_constrained" / "runs.csv"
    table = load(path, {"params": "n_params"})
    (found,) = suspicions(table, ("params", "tokens", "unique_tokens"), "loss")
    assert "another run with no more params, tokens and unique_tokens ended 2% or more lower" in found.reason
    assert table["loss"][found.rows].max() > 11  # 660 epochs, above the loss of guessing
    assert found.rows[table["epochs"] <= 4].mean() < 0.1  # so many repeats cost next to nothing


def test_leaving_suspicious_rows_out_gives_the_law_and_shows_what_changes():
    columns = ladder(sigma=0.002)
    odd = np.isin(np.arange(36), np.arange(0, 12, 2))
    columns |= {"loss": columns["loss"] * np.where(odd, 1.15, 1.0), "warmup": np.where(odd, 0.5, 0.01)}
    kept, dropped = fit("chinchilla", columns, loss="squared"), fit("chinchilla", columns, drop="suspicious")
    assert any("suspicious: row 1: a warm-up" in note for note in kept.notes)
    assert abs(kept.law.beta - 0.36) > 0.03
    assert dropped.law.beta == pytest.approx(0.36, abs=0.01)
    assert dropped.n_runs == 30
    assert list(dropped.without_rule) == ["suspicious: a warm-up of more than 10% of its updates"]
    assert any("leaving rows out matters" in note for note in dropped.notes)


def test_other_groups_tables_have_few_suspicious_rows(shared):
    """None, but for runs of Porian et al. (2024) that were not tuned and read off before 1.1e8 tokens."""
    runs = shared / "reference_runs"
    names = {"params": "Parameters", "tokens": "Tokens", "loss": "Smoothed Loss", "batch_tokens": "2048*Batch Size"}
    for path, columns in (
        ("besiroglu2024_chinchilla/svg_extracted_data.csv", {"params": "Model Size", "flops": "Training FLOP"}),
        ("gadre2024_overtraining/runs.csv", {"loss": "loss_c4_val"}),
        ("isoflop_collection/isoflops.csv", {"flops": "budget"}),
        ("muennighoff2023_data_constrained/runs.csv", {"params": "n_params"}),
        ("olmo2024_ladder/runs.csv", {"loss": "loss_on_c4_en"}),
        ("sardana2024_overtraining/trainingresults.csv", names),
    ):
        assert suspicions(load(runs / path, columns), INPUTS, "loss") == []
    porian = load(runs / "porian2024_isoflop" / "isoflop_points.csv", {"params": "n_params"})
    porian = porian.matching("dataset=rw", "param_count=standard", "loss_kind=val", "warmup=short")
    assert suspicions(porian.matching("hparams=tuned"), INPUTS, "loss") == []
    (untuned,) = suspicions(porian.matching("hparams=base", "decay=kaplan"), INPUTS, "loss")
    assert "from tokens 1.05e8 on" in untuned.reason
