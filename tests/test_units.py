"""Units of a table: those of whole columns, those of single rows, and hints that work when they are typed back."""

import json
import math
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from analysis import digits
from analysis.compare import compare
from analysis.fit import fit
from analysis.laws import Chinchilla
from analysis.load import load
from analysis.table import Table, algebra
from scaling.cli import main
from scaling.errors import InputError

N = np.array([7e7, 1.6e8, 4.1e8])
D = 20 * N
C = 6 * N * D


def typed(message: str) -> dict[str, str]:
    """The --columns line of a message as a shell and the verb read it."""
    found = re.search(r"--columns (.*?)(?:, or load\(|$)", message)
    assert found, message
    return dict(word.split("=", 1) for word in shlex.split(found[1]))


@pytest.mark.parametrize(
    ("columns", "words", "hint"),
    [
        ({"params": N, "tokens": D / 1e9}, "tokens looks like billions", {"tokens": "1e9*tokens"}),
        ({"params": N, "tokens": D / 1e6}, "tokens looks like millions", {"tokens": "1e6*tokens"}),
        ({"params": N, "unique_tokens": D / 1e9}, "unique_tokens: found", {"unique_tokens": "1e9*unique_tokens"}),
        (
            {"params": N / 1e9, "tokens": D / 1e9},
            "row 3, column params: found 0.41",
            {"params": "1e9*params", "tokens": "1e9*tokens"},
        ),
        ({"params": N / 1e9, "tokens": D}, "row 3, column params: found 0.41", {"params": "1e9*params"}),
        ({"params": N / 1e6, "tokens": D}, "column params: found", {"params": "1e6*params"}),
        ({"params": N / 1e6, "tokens": D / 1e9}, "8.2 tokens", {"params": "1e6*params", "tokens": "1e9*tokens"}),
        ({"params": N / 1e9}, "looks like billions", {"params": "1e9*params"}),
        ({"params": [70.5, 160.2, 410.0]}, "looks like millions", {"params": "1e6*params"}),
        ({"params": N, "tokens": D / 1e9, "flops": C}, "tokens looks like billions", {"tokens": "1e9*tokens"}),
        (
            {"params": N / 1e6, "tokens": D / 1e6, "flops": C},
            "column flops: found .*but 6 params tokens",
            {"params": "1e6*params", "tokens": "1e6*tokens"},
        ),
        ({"params": N, "tokens": D, "flops": C / 8.64e19}, "looks like PF-days", {"flops": "8.64e19*flops"}),
        ({"params": N, "flops": C / 8.64e19}, "looks like PF-days", {"flops": "8.64e19*flops"}),
        ({"flops": C / 8.64e19}, "looks like PF-days", {"flops": "8.64e19*flops"}),
        ({"params": N, "tokens": D, "flops": C / 1e18}, "looks like 1e18 FLOP", {"flops": "1e18*flops"}),
        (
            {"params": N / 1e6, "tokens": D / 1e9, "flops": C / 1e18},
            "params looks like millions and tokens looks like billions and flops looks like 1e18 FLOP",
            {"params": "1e6*params", "tokens": "1e9*tokens", "flops": "1e18*flops"},
        ),
    ],
)
def test_units_that_cannot_be_right_end_in_one_line_with_the_option_that_puts_them_right(columns, words, hint):
    with pytest.raises(InputError, match=words) as error:
        Table.from_columns({**columns, "loss": [4.0, 3.5, 3.2]})
    assert "\n" not in str(error.value)
    assert "row " in str(error.value)
    assert typed(str(error.value)) == hint


def test_a_unit_in_the_name_of_a_column_is_the_remedy():
    """These small models with little text could be a thousand times larger, were it not for the names."""
    own = {"Params (M)": [1.2, 3.5, 9.4], "Tokens (B)": [0.02, 0.05, 0.2], "loss": [4.0, 3.5, 3.2]}
    columns = {"params": "Params (M)", "tokens": "Tokens (B)"}
    with pytest.raises(InputError) as error:
        Table.from_columns(algebra.taken(own, columns, "x"), "x", columns)
    assert typed(str(error.value)) == {"params": "1e6*Params (M)", "tokens": "1e9*Tokens (B)"}


def test_losses_tell_millions_from_billions():
    for loss, unit in (([4.0, 3.7, 3.2], 1e6), ([1.9, 1.8, 1.6], 1e9)):
        with pytest.raises(InputError) as error:
            Table.from_columns({"params": [7.0, 13.0, 70.0], "tokens": [2000.0] * 3, "loss": loss})
        assert typed(str(error.value))["params"] == f"{digits.typed(unit)}*params"


def test_columns_that_no_unit_puts_right_are_said_without_one():
    with pytest.raises(InputError, match="one of the three is off by a factor of about 1e9") as error:
        Table.from_columns({"params": N, "tokens": D, "flops": C * 1e9, "loss": [4.0, 3.5, 3.2]})
    assert "--columns" not in str(error.value)


NAMED = {
    "own names, units in them": ("Model Size (M),Tokens (B),val_loss", (1e6, 1e9, None), {}),
    "own names": ("Model Size,D,loss", (1e6, 1e9, None), {}),
    "own names and compute": ("n_params,D,Training FLOP,Final Loss", (1e9, 1e12, 1e18), {}),
    "names that were said": ("size,tok,loss", (1e6, 1e9, None), {"params": "size", "tokens": "tok"}),
    "a factor that was wrong": ("N,D,loss", (1.0, 1e12, None), {"params": "N", "tokens": "1e3*D"}),
    "names of ours": ("params,tokens,flops,loss", (1e6, 1e9, 1e21), {}),
    "a factor too many": ("params,tokens,loss", (1.0, 1.0, None), {"tokens": "1e-9*tokens"}),
}


@pytest.mark.parametrize("case", NAMED)
def test_hints_typed_as_they_stand_end_at_the_right_numbers(tmp_path, case):
    header, (n, d, c), said = NAMED[case]
    losses = (3.9, 3.45, 3.05)
    given = [N / n, D / d, *([C / c] if c else []), losses]
    rows = np.stack(given, axis=1).tolist()
    (tmp_path / "runs.csv").write_text("\n".join([header, *(",".join(map(repr, row)) for row in rows)]) + "\n")
    for _ in range(2):
        try:
            table = load(tmp_path / "runs.csv", said)
            found = [table[name] for name in ("params", "tokens", "loss")]
            break
        except InputError as error:
            said = typed(str(error))
    else:
        pytest.fail(f"hints go on and on: {said}")
    for values, truth in zip(found, (N, D, losses), strict=True):
        np.testing.assert_allclose(values, truth, rtol=1e-12)


@pytest.mark.parametrize(
    "path", ["besiroglu2024_chinchilla/svg_extracted_data", "sardana2024_overtraining/trainingresults",
             "muennighoff2023_data_constrained/runs", "porian2024_isoflop/isoflop_points"]
)  # fmt: skip
def test_others_tables_are_fitted_after_one_hint(shared, path):
    path = shared / "reference_runs" / f"{path}.csv"
    with pytest.raises(InputError) as error:
        load(path).positive("loss", "params", "tokens")
    table = load(path, typed(str(error.value)))
    assert len(table.positive("loss", "params", "tokens")) == 3


# --- formulas


def formulas(tmp_path, **columns):
    (tmp_path / "t.csv").write_text(
        "n body,n-embed,D (B),budget,size,loss\n1e6,5e5,20,1.2e17,70M,3\n2e6,5e5,40,4.8e17,1.4B,2.9\n"
    )
    return load(tmp_path / "t.csv", columns)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("n body + n-embed", [1.5e6, 2.5e6]),
        ("n body-n-embed", [5e5, 1.5e6]),
        ("2*(n body + n-embed) / 4", [7.5e5, 1.25e6]),
        ("-(0 - n body)", [1e6, 2e6]),
        ("budget / (6 * 1e9*D (B))", [1e6, 2e6]),
        ("70M", [7e7, 7e7]),
        (".3B", [3e8, 3e8]),
        ("size", [7e7, 1.4e9]),
    ],
)  # fmt: skip
def test_columns_are_worked_out_from_others(tmp_path, text, values):
    table = formulas(tmp_path, params=text)
    np.testing.assert_allclose(table["params"], values, rtol=1e-12)


def test_params_follow_from_flops_and_tokens(tmp_path):
    (tmp_path / "t.csv").write_text("flops,tokens,loss\n1.2e20,2e10,3\n4.8e20,4e10,2.8\n")
    table = load(tmp_path / "t.csv")
    np.testing.assert_allclose(table["params"], [1e9, 2e9])
    assert "params was missing: taken as flops / (6 tokens)" in table.notes[0]
    # Where another column is the size, it is asked for.
    (tmp_path / "u.csv").write_text("flops,tokens,n_params,loss\n1.2e20,2e10,9e8,3\n4.8e20,4e10,2e9,2.8\n")
    with pytest.raises(InputError, match="nearest is 'n_params'"):
        load(tmp_path / "u.csv")["params"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("n body +", "it ends where a column or a number is wanted"),
        ("(n body", "a bracket is left open"),
        ("(" * 200, "more than 100 brackets or signs in one another"),
        ("-" * 200 + "D", "more than 100 brackets or signs in one another"),
        ("n body)", "')' is left over"),
        ("nbody*2", "no column 'nbody' to take as params; nearest is 'n body'"),
        ("__import__('os')", "no column"),
        ("2**3", "no column"),
        ("1e9*size + loss_", "no column 'loss_'"),
    ],
)
def test_what_is_no_formula_ends_in_one_line(tmp_path, text, words):
    with pytest.raises(InputError, match=re.escape(words)) as error:
        formulas(tmp_path, params=text)
    assert "\n" not in str(error.value)


def test_a_number_in_words_is_read_in_columns_of_numbers_alone():
    table = Table.from_columns({"params": ["70M", "1.4B"], "model": ["70M", "1.4B"], "run": ["70M", "1.4B"]})
    assert table["params"].tolist() == [7e7, 1.4e9]
    assert table["model"].tolist() == table["run"].tolist() == ["70M", "1.4B"]


# --- honest tables


@pytest.mark.parametrize(
    "columns",
    [
        {"params": [768.0, 1.5e9], "tokens": [1.3e11, 1.3e11]},  # Kaplan's smallest and largest model
        {"params": [768.0, 3072.0], "tokens": [2.0**11, 2.0**12]},  # a test on a laptop
        {"params": [1.5e9, 7e8], "unique_tokens": [2.2e7, 2.2e7]},  # Kaplan's smallest data set
        {"params": [2e4, 1e6], "tokens": [1e8, 1e8], "flops": [2e4 * 6e8 * 66, 1e6 * 6e8 * 8]},  # C with logits
        {"params": [1e11, 2e11], "experts": [256.0, 256.0], "tokens": [1e11, 1e11], "flops": [6e20, 1.2e21]},
        {"params": [np.nan, -1.0, 0.0, 1e8], "tokens": [1e9, np.inf, -1.0, 1e9], "flops": [0.0, np.nan, 1.0, 6e17]},
        {"params": [7e9] * 8, "step": [1, 2, 4, 8, 1000, 2000, 4000, 8000],
         "tokens": 4e3 * np.array([1.0, 2, 4, 8, 1000, 2000, 4000, 8000])},  # the head of a curve
    ],
)  # fmt: skip
def test_honest_tables_are_not_refused(columns):
    assert len(Table.from_columns({**columns, "loss": np.linspace(4, 3, len(columns["params"]))}))


HONEST = {
    "besiroglu2024_chinchilla/svg_extracted_data.csv": {"params": "Model Size", "flops": "Training FLOP"},
    "gadre2024_overtraining/runs.csv": {"loss": "loss_c4_val"},
    "isoflop_collection/isoflops.csv": {},
    "muennighoff2023_data_constrained/runs.csv": {"params": "n_params"},
    "olmo2024_ladder/runs.csv": {"loss": "loss_on_c4_en", "learning_rate": "lr"},
    "porian2024_isoflop/isoflop_points.csv": {"params": "n_params"},
    "sardana2024_overtraining/trainingresults.csv": {
        "params": "Parameters", "tokens": "Tokens", "loss": "Smoothed Loss"},
}  # fmt: skip


@pytest.mark.parametrize("path", HONEST)
def test_no_row_of_a_published_table_is_doubted(shared, path):
    notes = load(shared / "reference_runs" / path, HONEST[path]).notes
    assert [note for note in notes if "missing: taken as" not in note] == []


def test_no_row_of_our_own_results_is_doubted():
    for path in sorted((Path(__file__).parents[1] / "results").glob("*/runs.csv")):
        assert load(path).notes == (), path


def test_honest_rows_with_runs_that_went_wrong_and_one_far_beyond_are_not_doubted():
    for seed in range(20):
        n, d, loss = grid(seed=seed)
        rng = np.random.default_rng(seed)
        bad = rng.random(len(n)) < 0.1
        loss = np.where(bad, loss * rng.uniform(1.05, 1.6, len(n)), loss)
        n, d, loss = np.append(n, 50 * n.max()), np.append(d, 10 * d.max()), np.append(loss, LAW(50e10, 10e11))
        assert Table.from_columns({"params": n, "tokens": d, "loss": loss}).notes == (MISSING,)


# --- rows in other units

LAW = Chinchilla(1.8, 480.0, 2100.0, 0.35, 0.37)
MISSING = "flops was missing: taken as 6 params tokens"


def grid(noise=0.01, seed=0, sizes=7, lengths=6):
    n, d = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 1e10, sizes), np.geomspace(1e9, 1e11, lengths)))
    return n, d, LAW(n, d) * np.exp(noise * np.random.default_rng(seed).standard_normal(len(n)))


def refused(words, **columns):
    with pytest.raises(InputError, match=words) as error:
        Table.from_columns(columns)
    assert "\n" not in str(error.value)
    assert re.search("leave (it|the rows) out", str(error.value))


@pytest.mark.parametrize("noise", [0.003, 0.04])
def test_rows_that_cannot_be_right_are_named_and_refused(noise):
    n, d, loss = grid(noise)
    seventh, one, fifth = np.arange(len(n)) % 7 == 3, np.arange(len(n)) == 5, np.arange(len(n)) % 5 == 2
    rows = "rows 4, 11, 18, 25, 32 and 1 more"
    for unit, word in ((1e9, "billions"), (1e6, "millions")):
        refused(
            f"{rows}, column tokens: .*look like {word}", params=n, tokens=np.where(seventh, d / unit, d), loss=loss
        )
    # In thousands tokens per parameter are among the others': all such rows are named, and no other.
    thousands = np.where(seventh, d / 1e3, d)
    refused(f"{rows}, column tokens: .*these look like thousands", params=n, tokens=thousands, loss=loss)
    # Lengths over a wider range: no gap divides tokens per parameter, and the losses of short runs look too low.
    wide, most = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 1e10, 7), np.geomspace(1e9, 3e11, 8)))
    level = LAW(wide, most) * np.exp(noise * np.random.default_rng(1).standard_normal(56))
    few = np.where(np.arange(56) % 7 == 3, most / 1e6, most)
    refused("rows 4, 11, .*column tokens: found 1000.*look like millions", params=wide, tokens=few, loss=level)
    large = np.where(one, 1e3 * n, n)
    refused("row 6, column params: found 3.16e12.*1000 times too large", params=large, tokens=d, loss=loss)
    refused(
        "row 6, column flops: .*params looks 1000 times too large", params=large, tokens=d, loss=loss, flops=6 * n * d
    )
    refused("row 6, column params: .*1000 times too large", params=large, loss=loss, flops=6 * n * d)
    refused("row 6, column loss: .*10 times too small", params=n, tokens=d, loss=np.where(one, loss / 10, loss))
    refused("rows 3, 8.*looks like a perplexity", params=n, tokens=d, loss=np.where(fifth, np.exp(loss), loss))


def test_a_run_of_the_file_is_named_with_its_row_and_the_columns_own_name(tmp_path):
    n, d, loss = grid()
    d[4] /= 1e9
    lines = [f"r{k},{','.join(map(repr, row))}" for k, row in enumerate(np.stack([n, d, loss], axis=1).tolist())]
    (tmp_path / "t.csv").write_text("\n".join(["run,N,D,loss", *lines]))
    with pytest.raises(InputError, match=r"t.csv, row 5 \(run r4\), column tokens \(D\): found 1, where"):
        load(tmp_path / "t.csv", {"params": "N", "tokens": "D"})


def doubted(**columns) -> list[str]:
    return [note for note in Table.from_columns(columns).notes if "missing: taken as" not in note]


def test_rows_that_are_hard_to_believe_are_named_in_a_note():
    n, d, loss = grid()
    fifth = np.arange(len(n)) % 5 == 2
    (note,) = doubted(params=n, tokens=d, loss=np.where(fifth, loss / math.log(2), loss))
    assert "rows 3, 8" in note
    assert "1.44 times as much, as bits would be" in note
    (note,) = doubted(params=n, tokens=d, loss=np.where(np.arange(len(n)) % 2, loss / math.log(2), loss))
    assert "rows 2, 4, 6, 8, 10 and 16 more" in note  # half of them: neither kind is the most of the table
    assert "1.44 times as much, as bits would be" in note
    (note,) = doubted(params=n, tokens=d, loss=np.where(np.arange(len(n)) == 20, 0.18, loss))
    assert "row 21, column loss: found 0.18" in note
    assert "less than half of it" in note
    ladder = np.geomspace(1e7, 1e10, 12)
    large = np.where(np.arange(12) == 5, 1e3 * ladder, ladder)
    (note,) = doubted(params=large, tokens=20 * ladder, loss=LAW(ladder, 20 * ladder))
    assert "row 6, column params" in note
    assert "1000 times too large: is it right?" in note
    # Any row of a coarse grid, its corners too; at its upper end the floor hides what a size changes.
    sizes, lengths = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 1e10, 6), np.geomspace(1e9, 1e11, 4)))
    for row in range(22):
        large = np.where(np.arange(24) == row, 1e3 * sizes, sizes)
        try:
            (note,) = doubted(params=large, tokens=lengths, loss=grid(0.003, 0, 6, 4)[2])
        except InputError as error:
            note = str(error)
        assert f"row {row + 1}, column params: found {1e3 * sizes[row]:.3g}".replace("+", "") in note
    # Among so many tokens per parameter it is the loss that tells.
    sizes, lengths = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 1e10, 7), np.geomspace(1e9, 1e13, 6)))
    large = np.where(np.arange(len(sizes)) == 37, 1e3 * sizes, sizes)
    (note,) = doubted(params=large, tokens=lengths, loss=LAW(sizes, lengths))
    assert "row 38, column params" in note
    assert "is it 1000 times too large?" in note
    # A size times 1000 may be one of the others: then, too, the loss tells.
    large = np.where(np.arange(len(sizes)) == 0, 1e3 * sizes, sizes)
    (note,) = doubted(params=large, tokens=lengths, loss=LAW(sizes, lengths))
    assert "row 1, column params: found 1e10, and a loss that suits 1e7: is it 1000 times too large?" in note


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"loss": [60.0, 40.0, 20.0]}, "loss is 20 or more in all rows: are these nats per token"),
        ({"loss": [0.18, 0.16, 0.15]}, "loss is 0.18 or less in all rows: are these nats per token"),
        (
            {"loss": [14.0, 12.0, 11.0], "n_vocab": [32000.0] * 3},
            "loss is 14 in row 1, and guessing among 32000 tokens",
        ),
        (
            {"loss": [5.5, 5.0, 4.5], "n_vocab": [32000.0] * 3, "loss_initial": [14.97] * 3},
            "loss looks like bits per token: loss_initial is 1.44 times ln(n_vocab), and a model begins by guessing; "
            "in nats it is --columns loss='0.693147*loss'",
        ),
        (
            {"loss": [5.5, 5.0, 4.4], "bits_per_byte": [1.25, 1.1363636, 1.0], "bytes_per_token": [4.4] * 3},
            "loss looks like bits per token: it is bits_per_byte times bytes_per_token",
        ),
        ({"loss": [102.0, 40.0, 8.9]}, "loss is above 13 in 2 rows, the most 102 in row 1"),
        ({"loss": [20.0, 3.1, 3.0]}, "loss is above 13 in row 1, and a guess among 440 thousand tokens costs no more"),
        ({"loss": [20.0, 3.1, 3.0], "status": ["diverged", "done", "done"]}, ""),
        ({"loss": [14.0, 4.0, 3.0], "n_vocab": [32000.0] * 3, "status": ["diverged", "done", "done"]}, ""),
        ({"loss": [11.0, 4.0, 3.0], "n_vocab": [32000.0] * 3}, ""),
        ({"loss": [11.0, 4.0, math.nan]}, ""),
    ],
)
def test_losses_that_are_no_nats_per_token_are_doubted(columns, words):
    said = [note for note in Table.from_columns({"params": [1e6, 2e6, 4e6], **columns}).notes if "loss" in note]
    assert len(said) == bool(words)
    assert all(note.startswith(words) for note in said)


# --- compute beside N and D


def test_sizes_with_embeddings_beside_compute_without_are_seen_from_their_slope():
    n, d, loss = grid(0.0)
    with_embeddings = n + 0.35 * 1e7 * (n / 1e7) ** 0.5  # 1.35 times N at the smallest size
    (note,) = doubted(params=with_embeddings, tokens=d, flops=6 * n * d, loss=loss)
    assert "0.741 to 0.989 times 6 params tokens" in note
    assert "nearer to it at larger params" in note
    assert "params seem to count embeddings that the flops leave out" in note
    assert doubted(params=n + 0.25 * (with_embeddings - n), tokens=d, flops=6 * n * d, loss=loss) == []
    (note,) = doubted(params=n, tokens=d, flops=6 * with_embeddings * d, loss=loss)
    assert "the flops seem to count a head, embeddings or attention that params leave out" in note
    (note,) = doubted(params=n, tokens=d, flops=2 * n * d, loss=loss)
    assert "alike at all sizes" in note
    assert "a third is what a forward pass alone takes" in note


def test_compute_that_one_row_contradicts_is_refused():
    rows = {"params": N, "tokens": D, "loss": [4.0, 3.5, 3.2]}
    refused("row 3, column flops: found 2.02e21, but 6 params tokens is 2.02e19", **rows, flops=C * [1, 1, 100])


def test_a_compute_that_is_the_same_trifle_in_all_rows_is_not_taken_for_a_unit():
    with pytest.raises(InputError, match="column flops: found 1, as in all 3 rows; wanted the FLOP of each run"):
        Table.from_columns({"params": [1e6, 2e6, 4e6], "flops": [1.0] * 3, "loss": [4.0, 3.5, 3.2]})


def test_a_fit_and_a_comparison_say_what_their_tables_say():
    n, d, loss = grid()
    table = Table.from_columns({"params": n, "tokens": d, "flops": 12 * n * d, "loss": loss})
    assert len(table.doubts) == 1
    assert set(table.notes) <= set(fit("chinchilla", table, starts=16).notes)
    other = Table.from_columns({"params": n, "tokens": d, "loss": loss})
    assert other.doubts == ()
    assert f"A: {table.doubts[0]}" in compare(table, other).notes


def test_what_follows_from_two_others_is_not_asked_for_and_no_column_of_ours_is_offered_for_another():
    table = Table.from_columns({"Model Size": [1e6, 2e6], "D": [1e8, 2e8], "loss": [4.0, 3.5]})
    with pytest.raises(InputError) as error:
        table["flops"]
    assert typed(str(error.value)) == {"params": "Model Size", "tokens": "D"}
    with pytest.raises(InputError) as error:  # billions in the name of a count, another text in that of a loss
        Table.from_columns({"params_b": [1.0, 2.0], "D": [1e8, 2e8], "loss_b": [4.0, 3.5]})["params"]
    assert typed(str(error.value)) == {"params": "1e9*params_b", "tokens": "D", "loss": "loss_b"}


def test_hints_of_a_comparison_name_the_ladder_and_keep_what_was_said_of_the_other(tmp_path, capsys):
    for name, header in (("a", "Model Size,D,loss"), ("b", "N,tok,val_loss")):
        n, d, loss = grid()
        loss = loss * (0.999 if name == "b" else 1.0)  # else they were the same runs
        rows = np.stack([n / 1e6, d / 1e9, loss], axis=1).tolist()
        (tmp_path / f"{name}.csv").write_text("\n".join([header, *(",".join(map(repr, row)) for row in rows)]))
    command = ["compare", str(tmp_path / "a.csv"), str(tmp_path / "b.csv")]
    said, printed = [], None
    for _ in range(5):
        with pytest.raises(SystemExit) as done:
            main([*command, *said, "--json"])
        printed = capsys.readouterr()
        if done.value.code == 0:
            break
        hint = re.search(r"(--columns-.*?)(?:, or load\(|$)", printed.err.strip())
        assert hint, printed.err
        said = shlex.split(hint[1])
    assert printed is not None
    assert json.loads(printed.out)["gains"][-1]["value"] == pytest.approx(1.02, abs=0.03)
