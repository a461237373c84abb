"""Tables: somebody else's files become columns, and what is wrong with them is said in one line."""

import doctest
from pathlib import Path

import numpy as np
import pytest

from analysis.table import Table, load
from scaling.errors import InputError

CSV = "run,params,tokens,loss,note\na,1e6,2e8,4.5,first\nb,2e6,2e8,4.2,\nc,4e6,4e8,3.9,third\n"


@pytest.fixture
def csv(tmp_path):
    def write(text: str, name: str = "runs.csv"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def test_a_csv_becomes_columns_of_numbers_and_text(csv):
    table = load(csv(CSV))
    assert len(table) == 3
    assert table["params"].dtype == np.float64
    assert table["note"].tolist() == ["first", "", "third"]
    np.testing.assert_allclose(table["flops"], 6 * table["params"] * table["tokens"])
    assert table.notes == ("flops was missing: taken as 6 params tokens",)


def test_columns_are_renamed_and_rescaled(csv):
    path = csv("Model Size,D (B),loss\n1e9,20,2.5\n2e9,40,2.3\n")
    table = load(path, {"params": "Model Size", "tokens": "1e9*D (B)"})
    np.testing.assert_allclose(table["tokens"], [2e10, 4e10])
    assert "Model Size" not in table


def test_tokens_follow_from_compute_where_they_are_missing(csv):
    table = load(csv("params,flops,loss\n1e9,1.2e20,2.5\n2e9,4.8e20,2.3\n"))
    np.testing.assert_allclose(table["tokens"], [2e10, 4e10])
    assert "flops / (6 params)" in table.notes[0]


@pytest.mark.parametrize("name", ["to_csv", "to_parquet"])
def test_a_table_survives_being_written_and_read(csv, tmp_path, name):
    table = load(csv(CSV))
    path = tmp_path / ("again.csv" if name == "to_csv" else "again.parquet")
    getattr(table, name)(path)
    again = load(path)
    assert list(again) == list(table)
    for column in table:
        np.testing.assert_array_equal(again[column], table[column])


def test_rows_left_out_are_remembered_with_the_reason(csv):
    table = load(csv(CSV))
    kept = table.where(table["loss"] < 4.3, "loss too high")
    assert len(kept) == 2
    assert kept.excluded[-1].rows == ("row 1 (run a)",)
    assert kept.excluded[-1].reason == "loss too high"
    assert kept.label(0) == "row 2 (run b)"


def test_a_row_written_twice_counts_once(csv):
    table = load(csv("params,tokens,loss\n1e6,2e8,4.5\n1e6,2e8,4.5\n2e6,2e8,4.2\n"))
    assert len(table) == 2
    assert table.excluded[0].rows == ("row 2",)


def test_a_run_id_on_two_different_rows_is_said(csv):
    assert "separate runs: a" in load(csv("run,params,loss\na,1e6,4\na,2e6,3\n")).notes[-1]


def test_rows_from_mappings_have_empty_cells_for_missing_keys():
    table = Table.from_rows([{"params": 1e6, "loss": 4.0}, {"params": 2e6}])
    assert np.isnan(table["loss"][1])


@pytest.mark.parametrize(
    ("text", "columns", "words"),
    [
        ("", {}, "empty"),
        ("params,loss\n", {}, "no rows"),
        ("params,loss\n1e6,4\n2e6,low\n", {}, "row 2, column loss: found 'low'"),
        ("params,loss\n1e6,4\n2e6\n", {}, "row 2: 1 cells under 2"),
        ("params,loss,loss\n1e6,4,4\n", {}, "'loss' is there twice"),
        ("size,loss\n1e6,4\n", {"params": "Size"}, "nearest is 'size'"),
        ("params,tokens,loss\n1e9,20,2.5\n2e9,40,2.3\n", {}, 'looks like billions; say tokens="1e9*tokens"'),
    ],
)
def test_an_unusable_file_ends_in_one_line(csv, text, columns, words):
    with pytest.raises(InputError) as error:
        load(csv(text), columns)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_binary_file_ends_in_one_line(tmp_path):
    for name in ("runs.csv", "runs.parquet"):
        (tmp_path / name).write_bytes(bytes(range(256)))
        with pytest.raises(InputError, match=r"not a (CSV|Parquet) table"):
            load(tmp_path / name)


@pytest.mark.parametrize(("name", "words"), [("none.csv", "no such file"), ("runs.xls", "wanted .csv")])
def test_a_path_that_is_no_table_ends_in_one_line(tmp_path, name, words):
    if name.endswith("xls"):
        (tmp_path / name).write_text("x")
    with pytest.raises(InputError, match=words):
        load(tmp_path / name)


@pytest.mark.parametrize(("value", "found"), [("-1", "-1"), ("0", "0"), ("nan", "NaN"), ("", "empty"), ("inf", "inf")])
def test_a_cell_no_logarithm_can_take_is_named(csv, value, found):
    table = load(csv(f"run,params,loss\na,1e6,4\nb,2e6,{value}\n"))
    with pytest.raises(InputError, match=rf"row 2 \(run b\), column loss: found .*{found}"):
        table.positive("loss")


def test_a_missing_column_names_what_is_there(csv):
    with pytest.raises(InputError, match='no column params; found parms, loss; say which one it is: params="parms"'):
        load(csv("parms,loss\n1e6,4\n2e6,3\n"))["params"]


def test_text_where_numbers_are_needed_is_named():
    table = Table.from_columns({"experts": ["many", "few"], "loss": [3.0, 2.0]})
    with pytest.raises(InputError, match="column experts: holds text"):
        table.positive("experts")


def test_columns_of_unequal_length_are_refused():
    with pytest.raises(InputError, match="column loss has 1 rows and another 2"):
        Table.from_columns({"params": [1e6, 2e6], "loss": [3.0]})


def test_the_reference_tables_load_whole(shared):
    runs = shared / "reference_runs"
    sizes = {
        ("besiroglu2024_chinchilla/svg_extracted_data.csv", "Model Size"): 245,
        ("gadre2024_overtraining/runs.csv", "params"): 104,
        ("muennighoff2023_data_constrained/runs.csv", "n_params"): 296,
        ("porian2024_isoflop/isoflop_points.csv", "n_params"): 1745,
    }
    for (path, params), rows in sizes.items():
        assert len(load(runs / path, {"params": params})) == rows


def test_the_documentation_runs_as_printed():
    results = doctest.testfile(str(Path(__file__).parents[1] / "docs" / "table.md"), module_relative=False)
    assert results.failed == 0
    assert results.attempted > 3
