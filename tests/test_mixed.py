"""Mixed rows: what differs at equal inputs or along a ladder is said, the best of a sweep taken, labels are let be."""

import numpy as np
import pytest

from analysis import mixed
from analysis.fit import fit
from analysis.laws import Chinchilla
from analysis.load import load
from analysis.table import Table

TRUE = Chinchilla(E=1.8, A=400.0, B=2000.0, alpha=0.34, beta=0.36)
INPUTS = ("params", "tokens")
SIZES, LENGTHS = np.geomspace(1e7, 1e9, 5), np.geomspace(3e8, 3e10, 4)


def ladder(sizes=SIZES, lengths=LENGTHS, repeats=1, sigma=0.002, seed=0) -> dict[str, np.ndarray]:
    N, D = (np.repeat(x.ravel(), repeats) for x in np.meshgrid(sizes, lengths))
    noise = np.exp(sigma * np.random.default_rng(seed).standard_normal(len(N)))
    return {"params": N, "tokens": D, "loss": TRUE(N, D) * noise}


def said(columns) -> list[str]:
    return mixed.notes(Table.from_columns(columns), INPUTS, "loss")


RATES = np.geomspace(1e-3, 3e-2, 6)


def swept() -> Table:
    """Six rates at each of 20 cells; the best falls with size, and its loss is the law's."""
    columns = ladder(repeats=6)
    rate = np.tile(RATES, 20)
    best = RATES[np.clip(np.round(4 - np.log(columns["params"] / 1e7)), 0, 5).astype(int)]
    bowl = np.exp(0.1 * np.log(rate / best) ** 2)
    return Table.from_columns({**columns, "loss": columns["loss"] * bowl, "learning_rate": rate})


def test_a_sweep_at_equal_sizes_and_lengths_is_said_in_one_line_with_the_way_out():
    (note,) = mixed.notes(swept(), INPUTS, "loss")
    assert note == (
        "at equal params and tokens the rows differ in learning_rate (6 values at 20 of 20): choose with --where, or "
        "take the best with --best-of learning_rate"
    )


def test_the_best_rate_of_each_cell_gives_the_exponent_that_the_whole_sweep_does_not():
    whole, best = swept(), mixed.best_of(swept(), ["learning_rate"])
    assert abs(fit("chinchilla", whole).law.alpha - 0.34) > 0.05
    found = fit("chinchilla", best)
    assert found.n_runs == 20
    assert found.n_given == 120
    assert found.law.alpha == pytest.approx(0.34, abs=0.02)
    assert found.without_rule == {}
    assert any("the best learning_rate of 20 places: 20 rows of 120" in note for note in found.notes)


def test_all_seeds_of_the_best_rate_stay_and_a_diverged_rate_is_never_best():
    columns = ladder(np.array([1e7]), np.array([1e9]), repeats=6)
    loss = np.array([3.0, 3.2, 3.05, 3.06, 1.0, 1.0])
    rates, status = np.repeat([0.1, 0.2, 0.4], 2), np.repeat(["done", "done", "diverged"], 2)
    table = Table.from_columns(
        {**columns, "loss": loss, "learning_rate": rates, "seed": np.tile([0.0, 1.0], 3), "status": status}
    )
    best = mixed.best_of(table, ["learning_rate"])
    assert best["learning_rate"].tolist() == [0.2, 0.2]


def test_a_best_rate_at_the_edge_of_what_was_tried_is_counted():
    table = mixed.best_of(swept().matching("learning_rate<0.02"), ["learning_rate"])
    assert "it is the least or the largest that was tried" in table.notes[-1]


@pytest.mark.parametrize(
    "label",
    [
        {"size": np.tile(["10M", "32M", "100M", "320M", "1B"], 4)},
        {"tier": np.tile(["small", "small", "medium", "large", "large"], 4)},
        {"run": [f"r{i}" for i in range(20)], "name": [f"{i}-x" for i in range(20)]},
        {"length": np.repeat(["1x", "5x", "20x", "100x"], 5)},
        {"accuracy": np.round(np.linspace(0.3, 0.4, 20), 2), "wall_hours": np.tile([1.0, 2.0], 10)},
        {"learning_rate": np.tile([5e-3, 4e-3, 3e-3, 2e-3, 1e-3], 4)},
        {"batch_tokens": np.tile([2.0**16, 2.0**16, 2.0**17, 2.0**18, 2.0**18], 4)},
        {"n_layer": np.tile([2.0, 4.0, 6.0, 8.0, 10.0], 4)},
        {"seed": np.arange(20.0)},
    ],
)
def test_labels_outcomes_and_what_follows_the_size_are_no_settings(label):
    assert said({**ladder(), **label}) == []


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("n_vocab", [32000.0, 50257.0]),
        ("n_ctx", [1024.0, 2048.0]),
        ("dropout", [0.0, 0.1]),
        ("weight_decay", [0.0, 0.1]),
        ("wd", [0.0, 0.1]),
        ("config.seq_len", [1024.0, 2048.0]),
        ("num_experts", [1.0, 8.0]),
        ("batch_tokens", [2.0**18, 2.0**19]),
        ("experts", [1.0, 8.0]),
        ("device", ["a100", "h100"]),
        ("schedule", ["constant", "cosine"]),
        ("data", ["c4", "pile"]),
    ],
)
def test_a_condition_that_differs_is_said_number_or_text_and_at_which_end(name, values):
    columns = ladder()
    largest = columns["params"] > 5e8
    column = np.where(largest, values[0], values[1])
    (note,) = said({**columns, name: column})
    value = values[0] if isinstance(values[0], str) else f"{values[0]:.10g}"
    assert f"the rows mix 2 values of {name} ({name} {value} at the largest params alone)" in note
    middle = np.where(np.arange(20) % 3 == 0, values[0], values[1])
    (note,) = said({**columns, name: middle})
    values = [one if isinstance(one, str) else f"{one:.10g}" for one in sorted(values)]
    assert f"2 values of {name} ({', '.join(values)}):" in note
    assert said({**columns, name: np.full(20, values[0])}) == []


@pytest.mark.parametrize("name", ["gpus", "beta2", "warmup"])
def test_a_number_that_no_ladder_need_keep_is_said_where_the_loss_differs_by_it_beyond_the_scatter(name):
    """Of 200 ladders whose loss does not, one at most says so."""
    values, idle = np.where(np.arange(20) % 2, 0.1, 0.9), 0
    for seed in range(200):
        columns = ladder(seed=seed, sigma=(0.0, 0.002, 0.02)[seed % 3])
        idle += len(said({**columns, name: values}))
        if seed < 10:
            (note,) = said({**columns, "loss": columns["loss"] * (1 + 0.06 * (values > 0.5)), name: values})
            assert note.startswith(f"the rows mix 2 values of {name} (0.1, 0.9): another condition")
    assert idle <= 1


def test_conditions_that_differ_together_are_all_named():
    """Whoever reads of n_ctx alone takes the loss of one dropout for that of one context."""
    twice = ladder(repeats=2)
    together = {"n_ctx": [512.0, 2048.0], "dropout": [0.0, 0.1], "device": ["A100", "H100"]}
    (note,) = said({**twice, **{name: np.tile(values, 20) for name, values in together.items()}})
    at = "at equal params and tokens the rows differ in n_ctx (2 values at 20 of 20), and with it in dropout, device:"
    assert note == f"{at} choose with --where"
    middle = np.arange(20) % 3 == 0
    (note,) = said({**ladder(), **{name: np.where(middle, *values) for name, values in together.items()}})
    assert note.startswith(
        "the rows mix 2 values of n_ctx (512, 2048), and with it in dropout, device: another condition"
    )


def test_what_follows_from_the_size_is_no_setting_of_a_law_of_compute_alone():
    columns = ladder()
    table = Table.from_columns({**columns, "n_layer": np.tile([2.0, 4.0, 6.0, 8.0, 10.0], 4)})
    assert mixed.notes(table.with_columns(flops=np.full(20, 1e18)), ("flops",), "loss") == []


def test_one_rate_over_three_decades_of_sizes_is_said():
    """Porian et al. (2024): untuned rates alone move exponents by 0.1."""
    wide, narrow = ladder(np.geomspace(1e6, 1e9, 5)), ladder()
    rate = np.full(20, 1e-3)
    (note,) = said({**wide, "learning_rate": rate})
    assert note.startswith("learning_rate is 0.001 at every size, and params differ 1000 times")
    assert said({**narrow, "learning_rate": rate}) == []
    for name in ("max_lr", "optim.lr"):
        assert said({**wide, name: rate})[0].startswith(f"{name} is 0.001 at every size")
    assert said({**wide, "learning_rate": rate, "parametrization": np.full(20, "mup")}) == []


def test_a_column_that_says_how_runs_ended_is_said_to_be_their_status():
    state = np.where(np.arange(20) % 5 == 4, "crashed", "finished")
    (note,) = said({**ladder(), "State": state})
    assert note == "State is crashed in 4 rows: --columns status=State leaves runs out that did not end well"
    assert said({**ladder(), "State": np.full(20, "finished")}) == []


def test_a_rule_that_takes_away_one_end_of_the_ladder_is_said():
    columns = ladder()
    schedule = np.where(columns["params"] > 1e8 * 1.01, "constant", "cosine")
    found = fit("chinchilla", {**columns, "schedule": schedule})
    note = "what is left out (learning rate not decayed at the end of the run) is all there was of params above 1e8: "
    assert any(note + "8 rows, up to 1e9" in one for one in found.notes)


def test_other_groups_ladders_differ_in_what_their_papers_say_and_in_nothing_else(shared):
    runs = shared / "reference_runs"
    gadre = load(runs / "gadre2024_overtraining" / "runs.csv", {"loss": "loss_c4_val"})
    assert "dataset (3 values at 34 of 37)" in mixed.notes(gadre, INPUTS, "loss")[0]
    porian = load(runs / "porian2024_isoflop" / "isoflop_points.csv", {"params": "n_params"})
    first = mixed.notes(porian, INPUTS, "loss")[0]
    assert all(name in first for name in ("dataset", "hparams", "warmup", "decay"))
    one = porian.matching("dataset=rw", "hparams=tuned", "decay=const", "param_count=standard", "loss_kind=val")
    assert mixed.notes(one, INPUTS, "loss") == []
    names = {"params": "Parameters", "tokens": "Tokens", "loss": "Smoothed Loss", "batch_tokens": "2048*Batch Size"}
    sardana = load(runs / "sardana2024_overtraining" / "trainingresults.csv", names)
    assert mixed.notes(sardana, INPUTS, "loss") == []
    olmo = load(runs / "olmo2024_ladder" / "runs.csv", {"loss": "loss_on_c4_en"})
    assert mixed.notes(olmo, INPUTS, "loss") == []
