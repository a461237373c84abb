"""How far the best learning rate moves along a ladder, from bowls whose bottoms are known."""

import json

import numpy as np
import pytest

from analysis import transfer
from analysis.page import study_plots
from analysis.table import Table
from configs import transfer as ladder
from scaling.cli import main
from scaling.errors import InputError

WIDTHS, DEPTHS = (16, 32, 64, 128, 256), (2, 4, 8)
RATES = 2.0 ** np.arange(-13, -2)


def bowls(name: str, octaves: float, *, noise: float = 0.002, sizes=None, seed: int = 0) -> list[dict]:
    """Runs whose best rate is 2^-8 in the middle of the widths and moves by so many octaves per doubling."""
    rng = np.random.default_rng(seed)
    rows = []
    for width, depth in sizes or [(width, 2) for width in WIDTHS]:
        best = -8 + octaves * (np.log2(width / 64) + np.log2(depth / 2))
        for rate in RATES:
            u = np.log2(rate) - best
            rows.append(
                {
                    "parametrization": name,
                    "d_model": width,
                    "n_layer": depth,
                    "params": 12 * depth * width**2,
                    "tokens": 2**17,
                    "batch_tokens": 512,
                    "learning_rate": rate,
                    "loss": 3.5 * width**-0.05 * depth**-0.02 * np.exp(0.01 * u**2 + noise * rng.normal()),
                    "status": "done",
                }
            )
    return rows


def table(*rows: dict) -> Table:
    return Table.from_rows(rows)


def test_the_movement_of_the_best_rate_is_found_with_its_interval_for_each_parametrisation():
    found = transfer.transfer(table(*bowls("standard", -0.7), *bowls("mup", 0.05)))
    standard, mup = found.shifts
    assert (standard.parametrization, mup.parametrization) == ("standard", "mup")
    assert standard.sizes == WIDTHS
    for shift, octaves in ((standard, -2.8), (mup, 0.2)):
        assert shift.low < octaves < shift.high
        assert shift.octaves == pytest.approx(octaves, abs=0.3)
        assert shift.high - shift.low < 1
    assert abs(mup.octaves) < 0.5 < abs(standard.octaves)
    assert "standard, width 16 to 256: the best rate moves by −2." in found.text()
    assert standard.cost == pytest.approx(np.expm1(0.01 * 1.4**2), abs=0.01)  # of 64's best rate at 256
    assert mup.cost < 0.003


def test_intervals_of_the_movement_hold_the_truth_about_as_often_as_they_say():
    held = 0
    for seed in range(40):
        (shift,) = transfer.transfer(table(*bowls("mup", -0.2, seed=seed))).shifts
        held += shift.low < -0.8 < shift.high
    assert held >= 34


def test_widths_and_depths_are_told_apart():
    sizes = [*((width, 2) for width in WIDTHS), *((64, depth) for depth in DEPTHS[1:])]
    wide, deep = transfer.transfer(table(*bowls("completep", -0.3, sizes=sizes))).shifts
    assert (wide.along, wide.held, wide.sizes) == ("width", 2, WIDTHS)
    assert (deep.along, deep.held, deep.sizes) == ("depth", 64, DEPTHS)
    assert deep.octaves == pytest.approx(-0.6, abs=0.3)


def test_bowls_without_a_bottom_are_said_to_say_nothing():
    rows = [row | {"loss": 3 - 0.05 * np.log(row["learning_rate"])} for row in bowls("mup", 0)]
    found = transfer.transfer(table(*rows))
    assert np.isnan(found.shifts[0].octaves)
    assert "try other rates" in found.text()
    assert "at the highest" in found.text()


def test_a_table_of_several_lengths_is_refused_in_one_line():
    rows = bowls("mup", 0)
    with pytest.raises(InputError, match="--where tokens=131072") as error:
        transfer.transfer(table(*rows, *(row | {"tokens": 2**18} for row in rows)))
    assert "\n" not in str(error.value)


def called(capsys, *words: str) -> tuple[int, str, str]:
    """Exit code, output and errors of scaling tune."""
    with pytest.raises(SystemExit) as end:
        main(["tune", *words])
    said = capsys.readouterr()
    return int(end.value.code or 0), said.out, said.err


def test_the_command_says_draws_and_writes_it(tmp_path, capsys):
    path, figure = tmp_path / "runs.csv", tmp_path / "transfer.svg"
    table(*bowls("standard", -0.7), *bowls("mup", 0)).to_csv(path)
    code, said, _ = called(capsys, str(path), "--plot", str(figure))
    assert code == 0
    assert "mup, width 16 to 256: the best rate moves by" in said
    assert figure.read_text(encoding="utf-8").count("<svg") == 1
    shifts = json.loads(called(capsys, str(path), "--json")[1])["shifts"]
    assert [shift["parametrization"] for shift in shifts] == ["standard", "mup"]
    assert "LR = " in called(capsys, str(path), "--where", "parametrization=standard")[1]
    for words in ([], [str(path), "--coordinate-check", "configs/transfer.py"]):
        code, _, error = called(capsys, *words)
        assert code == 2
        assert "give either a table of runs, or --coordinate-check CONFIG" in error


def test_the_study_has_one_model_at_the_base_and_a_grid_of_rates_for_each():
    study = ladder.study()
    assert {run.model.d_model for run in study.runs} == set(WIDTHS)
    assert {run.model.n_layer for run in study.runs} == set(DEPTHS)
    assert not any(run.model.tied for run in study.runs)
    models = {run.model for run in study.runs}
    assert len(study.runs) == 7 * len(models)
    assert {model.d_model // model.n_head for model in models} == {16}


def test_a_figure_of_coordinates_is_drawn_from_plain_values():
    distance = np.ones((10, 3, 2)) * np.array([32, 64, 128])[:, None] ** 0.5
    one = {
        "parametrization": "standard",
        "widths": [32, 64, 128],
        "places": ["tokens", "logits"],
        "distance": distance.tolist(),
        "slopes": np.full((10, 2), 0.5).tolist(),
    }
    figure = study_plots.coordinates({"parametrizations": [one, one | {"parametrization": "mup"}]})
    assert [axes.get_title("left") for axes in figure.axes] == ["standard", "mup"]
    labels = figure.axes[0].get_legend_handles_labels()[1]
    assert labels == ["tokens, slope +0.50", "logits, slope +0.50"]
