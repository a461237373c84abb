"""Tables: somebody else's files become columns, and what is wrong with them is said in one line."""

import csv as csv_module
import pickle
import re
from pathlib import Path

import numpy as np
import pytest

from analysis.fit import fit
from analysis.load import load
from analysis.table import Table
from analysis.table.columns import COLUMNS
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


def test_no_text_of_others_is_a_formula_in_our_csv_and_all_of_it_comes_back(tmp_path):
    texts = ["=1+1", "+1", "-x", "@SUM(A1)", "\tx", "\rx", "'=1", "''-1", "'plain", "a=b", "\uff1d1", "-3"]
    columns = {"=name": texts, "run": texts, "loss": [-1.5 - i for i in range(12)], "params": [1e9] * 12}
    table = Table.from_rows([dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)])
    path = tmp_path / "again.csv"
    table.to_csv(path)
    with path.open(newline="") as file:
        header, *rows = csv_module.reader(file)
    assert header[0] == "'=name"
    assert not [row[k] for row in rows for k in (0, 1) if row[k][0] in "=+-@\t\r\uff1d"]
    assert [row[2] for row in rows] == [repr(loss) for loss in columns["loss"]]
    again = load(path)
    for name in columns:
        np.testing.assert_array_equal(again[name], table[name])


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


def test_copies_under_other_run_ids_count_once(csv):
    """Three times the rows would make intervals shorter by sqrt 3."""
    rows = [("1e6", "2e8", "4.51234"), ("2e6", "2e8", "4.21234"), ("4e6", "4e8", "3.91234")]
    text = "run,params,tokens,loss\n" + "".join(
        f"{copy}{i},{','.join(row)}\n" for copy in "abc" for i, row in enumerate(rows)
    )
    table = load(csv(text))
    assert table["run"].tolist() == ["a0", "a1", "a2"]
    assert table.excluded[0].reason == "equal in every cell but its name to a row above, and counted once"
    assert table.given == 9
    seeds = "params,tokens,seed,loss\n" + "".join(f"{N},{D},{copy},{L}\n" for copy in range(3) for N, D, L in rows)
    (left_out,) = load(csv(seeds)).excluded
    assert len(left_out.rows) == 6
    assert left_out.reason == "equal in every cell but its seed to a row above, and counted once"


def test_seeds_whose_rounded_losses_agree_are_no_copies_for_certain_and_are_said(csv):
    table = load(csv("run,params,tokens,loss\na,1e6,2e8,4.51\nb,1e6,2e8,4.51\nc,4e6,4e8,3.91\n"))
    assert len(table) == 3
    assert any(note.startswith("1 rows differ from others in their name alone") for note in table.notes)
    seeds = load(csv("run,seed,params,tokens,loss\na,0,1e6,2e8,4.51\nb,1,1e6,2e8,4.51\nc,0,4e6,4e8,3.91\n"))
    assert not any("name alone" in note for note in seeds.notes)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (
            {"tokens": [4e9, 1e9, 2e9], "unique_tokens": [1e9, 1e9, 2e9], "epochs": [1.0, 1.0, 1.0]},
            "epochs and tokens / unique_tokens contradict each other in 1 rows (row 1: 1 and 4)",
        ),
        (
            {"tokens": [1e9, 1e9, 2e9], "steps": [1e3, 1e3, 1e3], "batch_tokens": [1e6, 1e6, 1e6]},
            "tokens and steps x batch_tokens contradict each other in 1 rows (row 3: 2B and 1B)",
        ),
        (
            {"tokens": [1.024e9, 2.048e9, 4.096e9], "steps": [1e3, 2e3, 4e3], "batch_tokens": [512, 512, 512]},
            "tokens are 2000 times steps x batch_tokens in all rows",
        ),
        ({"tokens": [1.4e9, 1e9, 2e9], "unique_tokens": [1e9, 1e9, 2e9], "epochs": [1.4, 1.0, 1.0]}, None),
        ({"tokens": [1.01e9, 1e9, 2e9], "steps": [1e3, 1e3, 2e3], "batch_tokens": [1e6, 1e6, 1e6]}, None),
    ],
)
def test_cells_that_contradict_each_other_are_said(columns, words):
    table = Table.from_columns({"params": [1e8, 2e8, 4e8], "loss": [3.0, 2.8, 2.6], **columns})
    said = [note for note in table.notes if "contradict" in note or "times steps" in note]
    assert len(said) == (words is not None)
    assert all(note.startswith(words) for note in said)


@pytest.mark.parametrize(
    ("conditions", "rows"),
    [
        (["dataset=c4"], [1, 3]),
        (["dataset!=c4"], [2, 4]),
        (["params<3e6"], [1, 2]),
        (["params<=4e6", "params>1e6"], [2, 3]),
        (["params>1e6", "params<8e6", "dataset=c4"], [3]),
        (["1e6<params<=4e6"], [2, 3]),
        (["4e6>=params"], [1, 2, 3]),
        (["8e6 > params > 1e6"], [2, 3]),
        (["params>=4M"], [3, 4]),
        (["params==2M"], [2]),
        (["lr!="], [1, 2, 3]),
        (["lr="], [4]),
        (["a<b=1"], [1]),
        (["note="], [2, 3, 4]),
    ],
)
def test_rows_are_chosen_by_conditions_that_all_must_hold(csv, conditions, rows):
    text = "params,lr,dataset,a<b,note\n1e6,1e-3,c4,1,x\n2e6,2e-3,rpj,2,\n4e6,3e-3,c4,3,\n8e6,,pile,4,\n"
    table = load(csv(text)).matching(*conditions)
    assert table.rows.tolist() == rows
    assert table.given == 4
    assert table.excluded == ()


@pytest.mark.parametrize(
    ("conditions", "words"),
    [
        (["dataset=rpj", "params>3e6"], "rows chosen so far has params>3e6; params goes from 2e6 to 2e6"),
        (["dataset=c4", "dataset=rpj"], "'dataset=c4' and 'dataset=rpj': both say dataset=...; give one of them"),
        (["params>1e6", "params<3e6", "params>2e6"], "'params>1e6' and 'params>2e6': both say params>...; give one"),
        (["params>1e9"], "no row has params>1e9; params goes from 1e6 to 4e6"),
        (["dataset>3"], "dataset holds text"),
        (["params>big"], "found 'big', wanted a number"),
        (["params"], "wanted COLUMN=VALUE"),
        (["parms=1"], "no column parms, nearest is 'params'"),
        (["1<2<params"], "no column 2"),
    ],
)
def test_a_condition_that_cannot_be_met_ends_in_one_line(csv, conditions, words):
    table = load(csv("params,dataset\n1e6,c4\n2e6,rpj\n4e6,c4\n"))
    with pytest.raises(InputError, match=words) as error:
        table.matching(*conditions)
    assert "\n" not in str(error.value)


def test_an_empty_cell_is_named_with_the_option_that_leaves_it_out(csv):
    table = load(csv("n,loss\n1e6,4\n,3\n"), {"params": "n"})
    with pytest.raises(InputError, match=r"row 2, .*leave the row out \(--where 'n!='\)"):
        table.positive("params")
    assert len(table.matching("n!=")) == 1


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
        (
            "params,loss\n1e6,4\n2,000,000,3\n",
            {},
            "row 2: 4 cells under 2 column names; wanted as many; a comma inside",
        ),
        ('params,loss\n1e6,4\n2e6,"2,345"\n', {}, "found '2,345', wanted a number without separators, 2345"),
    ],
)
def test_an_unusable_file_ends_in_one_line(csv, text, columns, words):
    with pytest.raises(InputError) as error:
        load(csv(text), columns)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffparams,loss\n1000000,4.5\n2000000,4.2\n",
        "params,loss\r\n1000000,4.5\r\n2000000,4.2\r\n",
        "\ufeffparams,loss\r\n1000000,4.5\r\n\r\n2000000,4.2",
        " params , loss \n 1000000 , 4.5 \n2e6,4.2\n",
    ],
)
def test_byte_order_marks_line_ends_and_spaces_change_nothing(tmp_path, text):
    (tmp_path / "runs.csv").write_bytes(text.encode())
    table = load(tmp_path / "runs.csv")
    assert list(table) == ["params", "loss"]
    assert table["params"].tolist() == [1e6, 2e6]
    assert table["loss"].tolist() == [4.5, 4.2]


N = np.array([7e7, 1.6e8, 4.1e8])


def test_one_row_and_rows_without_a_number_end_in_one_line_when_a_law_is_fitted():
    for rows, words in (
        ({"params": [1e8], "loss": [3.0]}, "1 run"),
        ({"params": N, "loss": [4.0, -3.5, 3.2]}, "row 2, column loss: found -3.5, wanted a number above 0"),
        ({"params": N, "loss": [4.0, np.nan, 3.2]}, "row 2, column loss: found an empty cell or NaN"),
        ({"params": N, "loss": [4.0, -1.0, -1.0]}, r"and 1 more row\)$"),
    ):
        with pytest.raises(InputError, match=words) as error:
            fit("kaplan-n", Table.from_columns(rows))
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        'run,params,loss\na,"1,024,000",4.5\nb,70M,4.2\n',
        "run,params,loss\na,1 024 000,4.5\nb,70e6,4.2\n",
        "run;params;loss\na;1,024,000;4,5\nb;7e7;4,2\n",
        "run\tparams\tloss\na\t1024000\t4.5\nb\t0.07B\t4.2\n",
        "run|params|loss\na|1024k|4.5\nb|70000000|4.2\n",
    ],
)
def test_counts_and_separators_are_read_as_people_write_them(csv, text):
    table = load(csv(text))
    assert table["params"].tolist() == [1_024_000, 7e7]
    assert table["loss"].tolist() == [4.5, 4.2]
    assert any("taken for thousands" in note for note in table.notes) == (",024" in text or " 024" in text)


@pytest.mark.parametrize("name", ["", "Unnamed: 0"])
def test_a_column_that_numbers_the_rows_is_left_out_and_one_that_names_them_is_the_run(csv, name):
    table = load(csv(f"{name},params,loss\n0,1e6,4.5\n1,2e6,4.2\n"))
    assert list(table) == ["params", "loss"]
    assert table.notes == (f"the column {name!r} numbers the rows and is left out",)
    assert load(csv(f"{name},params,loss\nsmall,1e6,4.5\nlarge,2e6,4.2\n"))["run"].tolist() == ["small", "large"]


def test_a_binary_file_ends_in_one_line(tmp_path):
    for name in ("runs.csv", "runs.parquet"):
        (tmp_path / name).write_bytes(bytes(range(256)))
        with pytest.raises(InputError, match=r"not a (CSV|Parquet) table"):
            load(tmp_path / name)


@pytest.mark.parametrize(("name", "words"), [("none.csv", "no such file"), ("runs.xls", "wanted tables as CSV")])
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


@pytest.mark.parametrize(
    ("there", "wanted", "near"),
    [
        ("parms", "params", "parms"),
        ("Model Size", "params", "'Model Size'"),
        ("n_params", "params", "n_params"),
        ("Training FLOP", "flops", "'Training FLOP'"),
        ("D", "tokens", "D"),
        ("val_loss", "loss", "val_loss"),
    ],
)
def test_a_missing_column_names_the_nearest_and_how_to_say_it(there, wanted, near):
    table = Table.from_columns({there: [1e6, 2e6], "note": ["a", "b"]})
    with pytest.raises(InputError) as error:
        table[wanted]
    said = str(error.value)
    assert f"no column {wanted}, nearest is {there!r}" in said
    assert f"--columns {wanted}={near}, " in said
    assert f'load(path, {{"{wanted}": "{there}"}})' in said
    assert f"found {there}, note" in said


@pytest.mark.parametrize(
    ("names", "several"),
    [
        (["tokens", "loss_on_ice", "loss_on_c4_en"], ["loss_on_ice", "loss_on_c4_en"]),
        (["tokens", "train loss", "val_loss", "test_loss"], ["val_loss", "test_loss"]),
        (["tokens", "loss_of", "loss_a", "loss_b"], ["loss_a", "loss_b"]),  # the first of them holds text
        (["tokens", "m.train/loss", "m.val/loss", "m.test/loss"], ["m.val/loss", "m.test/loss"]),
    ],
)
def test_where_several_columns_may_be_the_loss_none_is_chosen_by_its_name(csv, names, several):
    cells = ("web" if name == "loss_of" else str(1000 + i) for i, name in enumerate(names))
    path = csv(f"{','.join(names)}\n{','.join(cells)}\n")
    with pytest.raises(InputError) as error:
        load(path)["loss"]
    said = str(error.value)
    assert f"no column loss, and 2 may be it ({', '.join(several)}); choose one, as in --columns loss=" in said
    (typed,) = re.findall(r"--columns loss=(\S+),", said)
    assert load(path, {"loss": typed})["loss"][0] >= 1000


def test_a_held_out_loss_is_offered_before_a_training_loss_and_a_table_of_no_rows_names_its_columns_too(csv):
    table = load(csv("n_params,m.train/loss,m.val/loss\n1e6,3,4\n2e6,2,3\n"))
    for rows in (table, table.where(np.zeros(2, bool), "none is asked for")):
        with pytest.raises(InputError, match=r"--columns loss=m\.val/loss params=n_params"):
            rows["loss"]


def test_conditions_may_call_a_column_as_the_file_does(csv):
    path = csv("Model Size,D (B),loss\n1e9,20,2.5\n2e9,40,2.3\n")
    table = load(path, {"params": "Model Size", "tokens": "1e9*D (B)"})
    assert table.matching("Model Size>1e9")["params"].tolist() == [2e9]
    assert table.matching("1e9<Model Size<=2e9")["params"].tolist() == [2e9]
    with pytest.raises(InputError, match=r"no column D \(B\): it was taken as tokens=1e9\*D \(B\); call it tokens"):
        table.matching("D (B)>20")


@pytest.mark.parametrize(
    ("name", "more", "runs", "words"),
    [
        ("run_id", {}, 6, "run_id is taken as it"),
        ("run label", {}, 6, "run label is taken as it"),
        ("name", {}, 0, "values of name repeat: where the rows of one are points of one run, say --columns run=name"),
        ("run_id", {"tokens": np.full(24, 1e9)}, 0, ""),  # seeds
        ("tier", {}, 0, ""),  # sizes
        ("tier", {"step": np.tile([1e3, 3e3, 1e4, 3e4], 6)}, 0, "say --columns run=params"),  # the last ones, perhaps
        ("tier", {"name": [f"run {i}" for i in range(24)]}, 0, ""),  # each row is a run of its own
        ("kind", {}, 0, ""),
    ],
)
def test_names_that_repeat_along_runs_are_their_ids(name, more, runs, words):
    """Four points of a run, evenly spaced in the logarithm, do not look like a curve."""
    N, D = np.repeat(np.geomspace(1e6, 1e9, 6), 4), np.tile([1e9, 3e9, 1e10, 3e10], 6)
    ids = [f"m{i}" for i in range(6) for _ in range(4)]
    table = Table.from_columns({name: ids, "params": N, "tokens": D, "loss": 2 + N**-0.1 + D**-0.1, **more})
    assert len(set(table.get("run", []))) == runs
    said = [note for note in table.notes if "repeat" in note or "no column run" in note]
    assert len(said) == bool(words)
    assert all(words in note for note in said)


def test_losses_that_a_name_shares_are_said_and_with_steps_are_one_run():
    """Of 400 grids of independent runs none is doubted; of runs of a per cent of luck nineteen of twenty are."""
    N, D = np.repeat(np.geomspace(1e7, 1e10, 8), 4), np.tile(np.geomspace(2e9, 1e11, 4), 8)
    names, rng = [f"m{i // 4}" for i in range(32)], np.random.default_rng(0)
    loss = 1.8 + 400 / N**0.34 + 2000 / D**0.36

    def read(luck: np.ndarray, **more) -> tuple[Table, list[str]]:
        found = Table.from_columns({"model": names, "params": N, "tokens": D, "loss": loss * np.exp(luck), **more})
        return found, [note for note in found.notes if "lie above or below" in note]

    for sigma in (1e-4, 1e-3, 0.01, 0.05):
        assert not any(read(sigma * rng.standard_normal(32))[1] for _ in range(100))
    lucky = [read(np.repeat(0.01 * rng.standard_normal(8), 4)) for _ in range(100)]
    assert sum(bool(notes) for _, notes in lucky) >= 95
    assert all(note.endswith("say --columns run=model") for _, notes in lucky for note in notes)
    assert not any("run" in found for found, _ in lucky)
    luck = np.repeat(0.01 * np.array([1, -1, 1, 1, -1, -1, 1, -1]), 4)
    assert read(luck, step=D / 1e6)[0].n_runs == 8


def test_steps_without_a_name_ask_which_rows_are_of_one_run(csv):
    text = "params,step,tokens,loss\n" + "".join(f"{N},{s},{s}e6,{3 + 1 / s}\n" for N in (2e7, 4e7) for s in (1, 3, 9))
    (note,) = (note for note in load(csv(text)).notes if "step" in note)
    assert note.endswith("where the rows of one size are points of one run, say --columns run=params")
    assert load(csv(text), {"run": "params"}).n_runs == 2


def test_an_error_is_no_loss(csv):
    path = csv("params,tokens,err_mmlu,bpb_mmlu\n1e9,2e10,0.7,0.9\n2e9,4e10,0.6,0.8\n")
    with pytest.raises(InputError, match=r"column loss \(err_mmlu\): holds shares from 0.6 to 0.7.* --target err_mmlu"):
        load(path, {"loss": "err_mmlu"})
    (doubt,) = load(path, {"loss": "bpb_mmlu"}).doubts
    assert "in bits by its name" in doubt
    assert doubt.endswith("to fit bpb_mmlu itself, say --target bpb_mmlu")


@pytest.mark.parametrize(
    ("tokens", "more", "runs"),
    [
        (np.arange(3, 33) * 1e7, {}, 2),  # evenly, as a training logs them
        (np.geomspace(3e7, 3e8, 30), {}, 0),
        (np.geomspace(3e7, 3e8, 30), {"step": np.tile(np.arange(1.0, 31), 2)}, 2),
        (np.arange(3, 11) * 1e7, {}, 0),  # so few may be runs
        (np.arange(3, 33) * 1e7, {"schedule": ["cosine", "constant"] * 30}, 4),
    ],
)
def test_points_of_learning_curves_are_told_from_runs(tokens, more, runs):
    N, D = np.repeat([1e6, 4e6], len(tokens)), np.tile(tokens, 2)
    table = Table.from_columns({"params": N, "tokens": D, "loss": 2 + N**-0.1 + D**-0.1, **more})
    assert len(set(table.get("run", np.array([])))) == runs
    assert any(f"as the points of {runs} learning curves do" in note for note in table.notes) is (runs > 0)


def test_each_published_loss_curve_is_one_run(shared):
    folder = shared / "reference_runs" / "luo2025_loss_curves"
    tables = [load(path, {"tokens": "1e6*step"}) for path in sorted(folder.glob("400_*.csv"))]
    assert [len(set(table["run"])) for table in tables] == [1] * 9


def test_a_missing_column_that_nothing_resembles_lists_what_is_there():
    columns = {"params": [1e6, 2e6], "loss": [4.0, 3.0]}
    with pytest.raises(InputError, match="no column experts, and none that can be it; found params, loss"):
        Table.from_columns(columns)["experts"]
    said = "no column experts, and none is called like it; if y or z is it, say so, as in --columns experts=y, "
    with pytest.raises(InputError, match=re.escape(said)):
        Table.from_columns({**columns, "y": [8.0, 1.0], "z": [2.0, 4.0], "wd": [0.1, 0.2]})["experts"]


def test_loss_curves_under_a_schedule_are_sent_to_the_verb_that_is_for_them(shared):
    curve = load(shared / "reference_runs" / "luo2025_loss_curves" / "100_cosine_24000.csv")
    with pytest.raises(
        InputError, match=r"no column params, .* predict CURVES --schedule cosine; .* params=1e8; found step, lr"
    ):
        curve.positive("params")


def test_text_where_numbers_are_needed_is_named():
    table = Table.from_columns({"depth": ["many", "few"], "loss": [3.0, 2.0]})
    with pytest.raises(InputError, match="column depth: holds text"):
        table.positive("depth")
    with pytest.raises(InputError, match=r"row 1, column experts: found 'many', wanted a number like 1\.5e9"):
        Table.from_columns({"experts": ["many", "few"], "loss": [3.0, 2.0]})


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


def test_a_curve_may_have_a_run_on_many_rows_and_rows_that_differ_in_a_zeros_sign_are_equal():
    table = Table.from_columns(
        {"run": ["a", "a", "a"], "step": [1, 2, 2], "loss": [4.0, 3.0, 3.0], "x": [1.0, 0.0, -0.0]}
    )
    assert table.notes == ()
    assert table.excluded[0].rows == ("row 3 (run a)",)
    assert table.updates().tolist() == [1, 2]


def test_every_column_is_in_the_documentation_with_its_unit():
    page = (Path(__file__).parents[1] / "docs" / "table.md").read_text()
    page = page[page.index("## Columns") : page.index("D means two things")]
    for name, unit in COLUMNS.items():
        (row,) = [line for line in page.splitlines() if line.startswith("| `") and f"`{name}`" in line.split("|")[1]]
        assert row.split("|")[2].strip() == unit, name


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("4,6262", "wanted a decimal point, 4.6262"),
        ("4,62", "wanted a decimal point, 4.62"),
        ("1,234,567", "wanted a number without separators, 1234567"),
        ("1 234 567", "wanted a number without separators, 1234567"),
        ("12,345.5", "wanted a number without separators, 12345.5"),
        ("1,23,4", "wanted a number like 1.5e9"),
    ],
)
def test_commas_are_taken_for_what_they_are(written, hint):
    with pytest.raises(InputError, match=re.escape(f"found {written!r}, {hint}")):
        Table.from_columns({"params": [1e6, 2e6], "loss": [written, "3.0"]})


def test_a_column_that_was_worked_out_is_not_offered_for_one_that_is_missing():
    table = Table.from_columns({"params": [1e6, 2e6], "tokens": [1e8, 2e8], "loss": [4.0, 3.5]})
    assert "flops" in table
    with pytest.raises(InputError) as error:
        table["flops_min"]
    assert "no column flops_min, and none that can be it" in str(error.value)
    assert str(error.value).endswith("found params, tokens, loss")


def test_a_table_of_any_size_prints_in_a_few_lines_and_a_notebook_shows_no_markup_of_a_cell():
    table = Table.from_columns(
        {"run": [f"<b>{'x' * 90}{i}" for i in range(500)], **{f"column {k}": range(500) for k in range(60)}},
        "<script>.csv",
    ).with_notes("<i>")
    assert len(repr(table)) < 1500
    assert repr(table).startswith("Table of 500 rows and 61 columns from <script>.csv; 1 note\n")
    page = table._repr_html_()
    assert page.count("<td>") == 120
    assert "<b>" not in page
    assert "<script>" not in page
    assert "<i>" not in page


def test_a_table_is_a_dict_of_its_columns_that_nothing_is_put_into():
    table = Table.from_columns({"params": [1e6, 2e6], "loss": [4.0, 3.5]})
    assert {**table}.keys() == dict(table).keys() == {"params", "loss"}
    assert len(table) == 2
    with pytest.raises(TypeError, match=r"use table.with_columns\(x="):
        table["x"] = table["loss"]
    again = pickle.loads(pickle.dumps(table.where(table["loss"] < 3.8, "high")))
    assert again["loss"].tolist() == [3.5]
    assert again.excluded[0].reason == "high"


FRAMED = {"run": ["a", ""], "params": [1e6, 2e6], "loss": [4.0, None]}


def test_pandas_takes_a_table_and_gives_it_back():
    pandas = pytest.importorskip("pandas")
    table = Table.from_columns(FRAMED)
    frame = pandas.DataFrame(table)
    assert frame.equals(table.to_pandas())
    assert frame["loss"].isna().tolist() == [False, True]
    again = Table.from_pandas(frame.assign(run=["a", None]).set_index("run"))
    for name in table:
        np.testing.assert_array_equal(again[name], table[name])
    assert list(Table.from_pandas(frame[["params"]])) == ["params"]


def test_polars_takes_a_table_and_gives_it_back():
    polars = pytest.importorskip("polars")
    table = Table.from_columns(FRAMED)
    assert polars.DataFrame(table).shape == (2, 3)
    assert table.to_polars()["loss"].to_list() == [4.0, None]
    again = Table.from_polars(table.to_polars())
    for name in table:
        np.testing.assert_array_equal(again[name], table[name])
