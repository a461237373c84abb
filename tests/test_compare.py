"""Comparing two ladders gives the factor of compute between them, with an interval that covers."""

import dataclasses
import json

import numpy as np
import pytest

from analysis.compare import compare, gain_at
from analysis.laws import Chinchilla
from analysis.load import load
from analysis.table import Table
from scaling.errors import InputError


def ladder(gain, noise, seed, n=8, **columns):
    C = np.geomspace(1e15, 1e19, n)
    wobble = np.exp(noise * np.random.default_rng(seed).standard_normal(n))
    return Table.from_columns({"flops": C, "loss": (3e26 / (C * gain)) ** 0.05 * wobble, **columns})


def test_a_ladder_that_needs_a_third_less_compute_is_seen():
    found = compare(ladder(1.0, 0.0, 0), ladder(1.5, 0.0, 0))
    assert [g.value for g in found.gains] == pytest.approx([1.5] * 3)
    assert found.gains[0].loss > found.gains[-1].loss


def test_the_interval_of_the_gain_covers():
    hits = 0
    for seed in range(60):
        last = compare(ladder(1.0, 0.004, seed), ladder(1.3, 0.004, 1000 + seed)).last
        assert last is not None
        hits += last.low <= 1.3 <= last.high
    assert hits >= 51  # 3 standard errors of a binomial with p = 0.95 below 57, and a little


def test_equal_ladders_show_no_difference():
    found = compare(ladder(1.0, 0.004, 1), ladder(1.0, 0.004, 2))
    assert found.verdict == "no difference is shown"
    assert found.verdict in found.text()


def test_exchanging_the_ladders_turns_the_gain_around():
    A, B = ladder(1.0, 0.004, 1), ladder(1.3, 0.004, 2)
    for one, other in zip(compare(A, B).gains, compare(B, A).gains, strict=True):
        assert (one.value, one.low, one.high) == pytest.approx((1 / other.value, 1 / other.high, 1 / other.low))


def test_surfaces_are_compared_at_their_optima():
    N, D = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 1e10, 6), np.geomspace(3e8, 1e11, 6)))
    rng = np.random.default_rng(0)

    def runs(scale):
        law = Chinchilla(1.8, 480.0 * scale, 2100.0 * scale, 0.35, 0.35)
        return Table.from_columns(
            {"params": N, "tokens": D, "loss": law(N, D) * np.exp(0.001 * rng.standard_normal(36))}
        )

    # Both terms fall by s: N and D may each shrink by s^(1/0.35), compute by its square.
    found = compare(runs(1.0), runs(0.95), law="chinchilla").gains[-1]
    assert found.low < 0.95 ** (-2 / 0.35) < found.high


def test_ladders_that_share_no_losses_cannot_be_compared():
    C = np.geomspace(1e15, 1e17, 6)
    low, high = (Table.from_columns({"flops": C, "loss": s * C**-0.05}) for s in (10.0, 40.0))
    with pytest.raises(InputError, match="share no losses"):
        compare(low, high)


def test_a_law_that_says_nothing_of_compute_is_refused():
    with pytest.raises(InputError, match="kaplan-n is a law of params; compared are laws"):
        compare(ladder(1.0, 0.0, 0), ladder(1.5, 0.0, 0), law="kaplan-n")


def test_different_vocabularies_are_warned_about():
    A, B = ladder(1.0, 0.004, 1, n_vocab=[1000] * 8), ladder(1.3, 0.004, 2, n_vocab=[32000] * 8)
    assert "use bits per byte" in compare(A, B).notes[0]


def test_different_tokenizers_are_compared_in_bits_per_byte():
    # The same text, a token of B holding twice the bytes: twice the nats per token, the same bits per byte.
    A = ladder(1.0, 0.0, 0, n_vocab=[1000] * 8)
    B = ladder(1.3, 0.0, 0, n_vocab=[32000] * 8)
    A = A.with_columns(bits_per_byte=A["loss"] / np.log(2) / 2)
    B = B.with_columns(bits_per_byte=B["loss"] / np.log(2) / 2, loss=2 * B["loss"])
    found = compare(A, B)
    assert found.A.target == found.B.target == "bits_per_byte"
    assert [g.value for g in found.gains] == pytest.approx([1.3] * 3)
    assert "bits_per_byte" in found.text()
    assert "bits/byte" in found.text()


# --- grids


def grid(gain=1.0, noise=0.003, seed=0, decades=2.0, floor=1.8):
    """Runs of a recipe that needs 1 / gain of the compute: N and D count for sqrt(gain) as much each."""
    law = Chinchilla(floor, 480.0, 2100.0, 0.35, 0.37)
    sizes, lengths = np.geomspace(1e7, 10 ** (7 + decades), 6), np.geomspace(3e8, 3 * 10 ** (8 + decades), 6)
    N, D = (x.ravel() for x in np.meshgrid(sizes, lengths))
    wobble = np.exp(noise * np.random.default_rng(seed).standard_normal(36))
    return Table.from_columns({"params": N, "tokens": D, "loss": law(N * gain**0.5, D * gain**0.5) * wobble})


def test_grids_are_compared_by_their_surfaces():
    found = compare(grid(), grid(1.3, seed=1))
    assert found.A.law.name == "chinchilla"
    assert found.verdict == "B is better"
    assert found.last is not None
    assert found.last.low < 1.3 < found.last.high
    assert found.last.by_runs == pytest.approx(1.3, rel=0.25)


def test_a_ladder_that_goes_farther_gains_nothing_by_it():
    by_surface = compare(grid(), grid(seed=1, decades=3.0)).last
    assert by_surface is not None
    assert by_surface.low < 1 < by_surface.high
    straight = compare(grid(), grid(seed=1, decades=3.0), law="kaplan-c")
    assert any("these ranges differ" in note for note in straight.notes)


def test_ladders_whose_tokens_follow_their_sizes_are_compared_as_straight_lines_and_told_so():
    N = np.geomspace(1e7, 1e9, 9)
    law = Chinchilla(0.01, 30.0, 60.0, 0.1, 0.1)
    A, B = (Table.from_columns({"params": N, "tokens": 20 * N, "loss": law(N, 20 * N) * s}) for s in (1.0, 0.99))
    found = compare(A, B)
    assert found.A.law.name == "kaplan-c"
    assert "has tokens that follow its sizes: vary D at fixed N" in found.notes[0]
    assert "kaplan-c takes the lower envelope of each ladder for a straight line" in found.notes[1]


def test_a_loss_below_the_fitted_floor_is_said_in_words():
    found = compare(grid(noise=0.0), grid(1.3, noise=0.0))
    low = dataclasses.replace(found.gains[-1], value=np.nan, low=np.nan, high=np.nan, unreached="A")
    cut = dataclasses.replace(found, gains=(*found.gains[:-1], low))
    assert "beyond what the law of A reaches" in cut.text()
    assert cut.last == found.gains[-2]
    assert "that both ladders and both laws reach" in cut.text()
    none = dataclasses.replace(found, gains=(low,))
    assert none.verdict == "cannot be told"
    assert "nan" not in none.text() + cut.text()
    assert json.loads(json.dumps(none.to_dict(), allow_nan=False))["gains"][0]["value"] is None


def test_a_fit_whose_floor_lies_above_the_lowest_loss_gives_no_number_there():
    found = compare(grid(), grid(1.3, seed=1))
    gain = gain_at((found.A, found.B), 1.7)
    assert gain.unreached == "A and B"
    assert np.isnan(gain.value)


def test_a_gain_that_nothing_bounds_is_said_in_words():
    found = compare(grid(), grid(1.3, seed=1))
    vague = dataclasses.replace(found.A, covariance=1e6 * found.A.covariance)
    gain = gain_at((vague, found.B), found.gains[1].loss)
    assert (gain.low, gain.high) == (0.0, np.inf)
    assert "the fits do not bound it" in dataclasses.replace(found, gains=(gain,)).text()


def test_a_law_that_the_runs_contradict_gives_no_verdict():
    found = compare(grid(noise=0.0), grid(1.3, noise=0.0))
    odd = dataclasses.replace(found.gains[-1], low=0.4, value=0.5, high=0.6, by_runs=1.3)
    cut = dataclasses.replace(found, gains=(odd,))
    assert odd.contradicted
    assert "the law and the runs themselves disagree" in cut.text()


def test_a_doubtful_fit_gives_no_verdict():
    found = compare(grid(noise=0.0), grid(1.3, noise=0.0))
    cut = dataclasses.replace(found, B=dataclasses.replace(found.B, status="flat direction"))
    assert "cannot be told: the fit of B is doubtful" in cut.text()


def test_runs_far_from_the_best_sizes_are_left_out_and_counted():
    found = compare(grid(decades=3.0), grid(1.3, seed=1, decades=3.0))
    assert any("over 10% above the lowest loss at no more compute" in note for note in found.notes)
    assert found.A.n_runs < 36


def test_a_diverged_run_is_left_out():
    A, B = ladder(1.0, 0.0, 1), ladder(1.5, 0.0, 2)
    loss, status = B["loss"].copy(), np.array(["done"] * 7 + ["diverged"])
    loss[7] = np.nan
    found = compare(A, B.with_columns(loss=loss, status=status))
    assert found.gains[-1].value == pytest.approx(1.5)


# --- what cannot be compared


def two(tmp_path, columns_A, columns_B, **where):
    """Two ladders of one file: N, D, counts of FLOP and losses on two texts."""
    law = Chinchilla(1.8, 480.0, 2100.0, 0.35, 0.37)
    lines = ["params,tokens,flops,flops_head,val_a,val_b,recipe,eval_set"]
    for recipe, factor, text in (("base", 1.0, "web"), ("new", 1.3, "books")):
        whole = grid(factor, seed=int(10 * factor))
        for N, D, loss in zip(whole["params"], whole["tokens"], whole["loss"], strict=True):
            numbers = [N, D, 6 * N * D, 6 * N * D * 1.6, loss, float(law(N, D) * 0.9)]
            lines.append(",".join([*(repr(float(x)) for x in numbers), recipe, text]))
    (tmp_path / "runs.csv").write_text("\n".join(lines))
    tables = (load(tmp_path / "runs.csv", columns) for columns in (columns_A, columns_B))
    return [table.matching(f"recipe={recipe}") for table, recipe in zip(tables, ("base", "new"), strict=True)]


@pytest.mark.parametrize(
    ("columns_A", "columns_B", "why"),
    [
        ({"loss": "val_a"}, {"loss": "val_b"}, "loss is val_a in A and val_b in B, two validation sets"),
        (
            {"loss": "val_a"},
            {"loss": "val_a", "flops": "flops_head"},
            "flops is flops in A and flops_head in B, two counts of FLOP",
        ),
    ],
)
def test_two_validation_sets_or_counts_of_flop_give_no_verdict(tmp_path, columns_A, columns_B, why):
    found = compare(*two(tmp_path, columns_A, columns_B))
    assert found.verdict.startswith("cannot be told")
    assert why in found.verdict
    assert "Which is better cannot be told" in found.text()
    assert found.to_dict()["unlike"]


def test_what_a_column_says_of_the_measurement_gives_no_verdict(tmp_path):
    A, B = two(tmp_path, {"loss": "val_a"}, {"loss": "val_a"})
    assert "eval_set is web in A and books in B" in compare(A, B).verdict
    same = [table.with_columns(eval_set=np.array(["web"] * len(table))) for table in (A, B)]
    assert compare(*same).verdict == "B is better"
    tokenizers = [
        table.with_columns(tokenizer=np.full(len(table), name)) for table, name in zip(same, "ab", strict=True)
    ]
    assert "losses per token of two tokenizers do not compare" in compare(*tokenizers).verdict


@pytest.mark.parametrize(
    ("of_A", "of_B", "two"),
    [
        ({}, {"loss": "val_loss"}, ""),  # another name in another file is no other text
        ({}, {"params": "total_params"}, "params is params in A and total_params in B, two counts of parameters"),
        (
            {"flops": "flops_attention"},
            {"flops": "flops_total"},
            "flops is flops_attention in A and flops_total in B, two counts of FLOP",
        ),
        ({"flops": "compute"}, {"flops": "training_flop"}, ""),  # names of one thing
    ],
)
def test_names_of_two_files_say_what_was_counted_and_not_what_was_measured(of_A, of_B, two):
    A, B = (
        Table.from_columns({name: rows[name] for name in ("params", "tokens", "flops", "loss")}, f"{gain}.csv", taken)
        for gain, rows, taken in ((1, grid(1.0, seed=1), of_A), (1.6, grid(1.6, seed=2), of_B))
    )
    assert compare(A, B).verdict == (f"cannot be told: {two}" if two else "B is better")


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("loss_on_c4", "loss_on_pile"), False),
        (("c4 val loss", "eval/pile"), False),
        (("loss_on_c4", "val_loss"), True),  # the other may be of c4 too
        (("final val loss", "smoothed_loss"), True),
    ],
)
def test_losses_of_two_files_named_by_two_texts_give_no_verdict(names, told):
    ladders = []
    for factor, name in zip((1.0, 1.6), names, strict=True):
        columns = dict(grid(factor, seed=int(factor)).items())
        ladders.append(Table.from_columns({**columns}, f"{factor}.csv", {"loss": name}))
    verdict = compare(*ladders).verdict
    two = f"cannot be told: loss is {names[0]} in A and {names[1]} in B, two validation sets by their names"
    assert verdict == ("B is better" if told else two)


def test_a_ladder_of_two_measurements_gives_no_verdict(tmp_path):
    A, B = two(tmp_path, {"loss": "val_a"}, {"loss": "val_a"})
    mixed = B.with_columns(eval_set=np.array(["web", "books"] * (len(B) // 2)))
    assert "B mixes values of eval_set: books, web" in compare(A, mixed).verdict


def test_a_run_in_both_ladders_is_refused():
    A, B = grid(), grid(1.3, seed=1)
    columns = {name: np.append(B[name], A[name][7]) for name in ("params", "tokens", "loss")}
    with pytest.raises(InputError, match="table, row 8: in both ladders; a run is of one recipe or of the other"):
        compare(A, Table.from_columns(columns))
    coarse = {name: np.append(B[name], A[name][7]) for name in ("params", "tokens")}
    coarse["loss"] = np.round(columns["loss"], 2)
    rounded = Table.from_columns({"params": A["params"], "tokens": A["tokens"], "loss": np.round(A["loss"], 2)})
    assert compare(rounded, Table.from_columns(coarse)).last  # by chance, as far as three digits tell


def test_flop_that_count_a_head_in_one_ladder_alone_give_no_verdict():
    A, B = grid(), grid(1.3, seed=1)
    head = 1 + 0.8 * (1e7 / B["params"]) ** 0.3
    found = compare(A, B.with_columns(flops=B["flops"] * head))
    assert "times 6 params tokens and those of B" in found.verdict
    assert "two counts of FLOP" in found.verdict
    assert compare(A, B).verdict == "B is better"


def test_ladders_of_different_data_that_one_text_does_not_join_give_no_verdict():
    A, B = (grid(gain, seed=1).with_columns(data=np.array([text] * 36)) for gain, text in ((1.0, "web"), (1.3, "code")))
    assert "the ladders have different data, and nothing says that they were evaluated on one" in compare(A, B).verdict
    A, B = (table.with_columns(bytes_per_token=np.full(36, 4.2)) for table in (A, B))
    assert compare(A, B).verdict == "B is better"
