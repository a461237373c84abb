"""What a study says: laws, noise, learning rates, ample data, forecasts, and what is left out."""

import ast
import dataclasses
import json
import math
import re

import known_runs
import numpy as np
import pytest
from known_runs import LENGTHS, RATE, REPEATED, SHAPES, SURFACE, run

from analysis import digits, findings, laws, replicates
from analysis.findings import Findings, checks, study_laws
from analysis.findings.finding import TITLES, Finding, formula
from analysis.fit.estimate import Fit
from analysis.table import Table

DRAWS = 40  # of the bootstrap: enough to see that it is there


def N(shape: tuple[int, int]) -> int:
    return 12 * shape[1] * shape[0] ** 2


def fitted(finding: Finding) -> tuple[Fit, Table]:
    """The fit and its rows, which must be there."""
    assert finding.fit is not None, finding.why
    assert finding.table is not None
    return finding.fit, finding.table


def corner_checks(better: float = 1.02) -> list[dict]:
    """Half and double the rate at both ends of the ladder, their losses off by the factor `better`."""
    return [
        run(shape, LENGTHS[-1], better * float(SURFACE(N(shape), LENGTHS[-1])), learning_rate=factor * RATE)
        for shape in (SHAPES[0], SHAPES[-1])
        for factor in (0.5, 2.0)
    ]


@pytest.fixture(scope="module")
def whole() -> Findings:
    """A study with everything: a grid, repeated data, rate checks, replicates, a run that diverged, one unfinished."""
    rng = np.random.default_rng(5)
    rows = [*known_runs.grid(), *known_runs.repeated(), *corner_checks()]
    for shape in (SHAPES[0], SHAPES[-1]):
        loss = float(SURFACE(N(shape), LENGTHS[-1]))
        rows += [run(shape, LENGTHS[-1], loss * np.exp(0.003 * rng.normal()), seed=seed) for seed in (1, 2, 3)]
    rows.append(run(SHAPES[2], LENGTHS[0], math.nan, status="diverged", seed=7, run="lost"))
    rows.append(run(SHAPES[3], LENGTHS[0], 4.0, status="running", seed=8, run="late"))
    table = known_runs.table(rows)
    return findings.find(table, known_runs.curves(table.where(table["status"] == "done", "")), draws=DRAWS)


@pytest.mark.parametrize("truth", [SURFACE, REPEATED])
def test_the_constants_that_made_the_losses_are_found(whole, truth):
    finding = whole.law(type(truth))
    assert finding.sound
    for name, (low, high) in finding.fit.intervals.items():
        width = high - low
        assert low - width / 2 < getattr(truth, name) < high + width / 2, name
    assert finding.fit.percentile


def test_each_law_uses_the_runs_that_it_is_about(whole):
    assert set(whole.law(laws.Chinchilla).table["epochs"]) == {1.0}
    assert min(whole.law(laws.KaplanND).table["epochs"]) > 1
    assert set(whole.envelope["tokens"]) <= set(map(float, LENGTHS))


def test_runs_that_only_try_another_rate_do_not_move_a_law():
    with_, without = (
        findings.find(known_runs.table(rows), draws=0)
        for rows in ([*known_runs.grid(), *corner_checks(better=0.9)], known_runs.grid())
    )
    a, b = (fitted(found.law(laws.Chinchilla))[0].constants for found in (with_, without))
    assert a == pytest.approx(b, rel=1e-9)
    assert sum(len(e.rows) for e in with_.excluded) == 4
    assert not without.excluded


def test_a_rate_becomes_the_own_one_without_a_look_at_its_loss():
    table = known_runs.table([*known_runs.grid(), *corner_checks()])
    own, rule = checks.own_rates(table)
    assert set(table["learning_rate"][own]) == {RATE}
    upside_down, _ = checks.own_rates(table.with_columns(loss=1 / table["loss"]))
    assert np.array_equal(own, upside_down)
    assert "without a look at the losses" in rule


def test_of_rates_tried_equally_often_the_middle_one_is_the_own():
    rates = (1e-3, 3e-3, 9e-3)
    table = known_runs.table([run(shape, 2**17, 4.0, learning_rate=r) for shape in SHAPES for r in rates])
    own, _ = checks.own_rates(table)
    assert set(table["learning_rate"][own]) == {3e-3}


@pytest.mark.parametrize(("better", "warned"), [(0.98, True), (0.995, False), (1.02, False)])
def test_a_rate_that_is_over_one_percent_better_is_warned_about(better, warned):
    found = findings.find(known_runs.table([*known_runs.grid(noise=1e-6), *corner_checks(better)]), draws=0)
    assert len(found.rates) == 2
    assert bool(found.warnings) == warned
    if warned:
        assert "2.0 % lower" in found.warnings[0]
        assert {warning.partition(",")[0] for warning in found.warnings} == {"At N = 1.54k", "At N = 197k"}


def test_a_rate_that_is_better_by_no_more_than_a_lucky_seed_is_not_warned_about():
    rows = [*known_runs.grid(noise=1e-6), *corner_checks(0.98)]
    loss = float(SURFACE(N(SHAPES[0]), LENGTHS[0]))
    rows += [run(SHAPES[0], LENGTHS[0], loss * off, seed=seed) for seed, off in ((1, 0.99), (2, 1.01), (3, 1.01))]
    found = findings.find(known_runs.table(rows), draws=0)
    assert found.noise is not None
    assert found.noise.sigma == pytest.approx(0.01, rel=0.2)
    assert not [warning for warning in found.warnings if "lower" in warning]


def test_rates_that_were_not_tried_are_named():
    found = findings.find(known_runs.table([*known_runs.grid(), *corner_checks()[:2], corner_checks()[2]]), draws=0)
    (sentence,) = found.untried
    assert sentence.startswith("Double the learning rate was not tried at the largest size (N = 197k)")


def test_a_rate_that_diverged_is_no_better():
    rows = [*known_runs.grid(), *corner_checks()]
    rows[-1] |= {"loss": math.nan, "status": "diverged"}
    found = findings.find(known_runs.table(rows), draws=0)
    assert not found.warnings
    assert math.isnan(found.rates[-1].trials[-1].loss)


def test_an_own_rate_that_diverged_is_warned_about_and_the_best_of_the_others_named():
    rows = [*known_runs.grid(), *corner_checks()]
    own = next(row for row in rows if (row["d_model"], row["n_layer"]) == SHAPES[-1] and row["tokens"] == LENGTHS[-1])
    own |= {"loss": math.nan, "status": "diverged"}
    rows[-2]["loss"] = 3.0
    found = findings.find(known_runs.table(rows), draws=0)
    assert found.rates[-1].best is found.rates[-1].trials[0]
    (warning,) = found.warnings
    assert warning == (
        "At N = 197k, D = 1.05M training diverged at the study's own rate 0.01; 0.005 reaches a loss of 3.0000 there."
    )
    for row in rows[-2:]:
        row |= {"loss": math.nan, "status": "diverged"}
    (warning,) = findings.find(known_runs.table(rows), draws=0).warnings
    assert warning.endswith("diverged at the study's own rate 0.01; so did all others tried there.")


def test_a_run_that_is_not_finished_says_nothing_of_its_rate():
    rows = [*known_runs.grid(), *corner_checks(better=0.9)]
    largest = [row for row in rows if (row["d_model"], row["n_layer"]) == SHAPES[-1] and row["tokens"] == LENGTHS[-1]]
    largest[0]["status"] = "running"
    found = findings.find(known_runs.table(rows), draws=0)
    assert [check.params for check in found.rates] == [N(SHAPES[0])]
    assert not any("diverged" in warning for warning in found.warnings)


def test_a_study_whose_runs_all_diverged_says_that_none_is_left():
    rows = [row | {"status": "diverged", "loss": math.nan} for row in known_runs.grid()]
    found = findings.find(known_runs.table(rows), draws=0)
    for finding in found.laws:
        assert "is not identified: no run is left" in finding.sentence()
    assert "no column" not in found.text()


def test_seed_noise_is_the_scatter_among_seeds():
    rng = np.random.default_rng(0)
    rows = [run(shape, 2**18, 4.0 * np.exp(0.004 * rng.normal()), seed=s) for shape in SHAPES[:4] for s in range(12)]
    noise = replicates.seed_noise(known_runs.table(rows))
    assert noise is not None
    assert noise.degrees == 44
    assert noise.low < 0.004 < noise.high
    assert noise.nats == pytest.approx(4.0 * noise.sigma, rel=0.01)


def test_runs_of_one_seed_say_nothing_of_its_noise():
    twice = [run(SHAPES[0], 2**18, loss, seconds=seconds) for loss, seconds in ((4.0, 1.0), (4.1, 2.0))]
    warmups = [run(SHAPES[1], 2**18, loss, warmup=w, seed=s) for s, (loss, w) in enumerate(((4.0, 0.05), (4.2, 0.1)))]
    assert replicates.seed_noise(known_runs.table([*twice, *warmups])) is None
    assert "not known" in findings.find(known_runs.table(known_runs.grid()), draws=0).noise_sentence()


def test_the_envelope_takes_the_mean_of_the_seeds_not_the_luckiest():
    rows = known_runs.grid(noise=0.0)
    lucky = [run(SHAPES[0], LENGTHS[0], factor * rows[0]["loss"], seed=s) for s, factor in ((1, 0.9), (2, 1.05))]
    envelope = study_laws.compute_envelope(known_runs.table([*rows, *lucky]))
    assert envelope is not None
    assert envelope["loss"][0] == pytest.approx(rows[0]["loss"] * (0.9 * 1.05) ** (1 / 3), rel=1e-12)


def test_the_envelope_is_below_all_curves_where_it_has_points():
    table = known_runs.table(known_runs.grid())
    curves = known_runs.curves(table)
    envelope = study_laws.compute_envelope(table, curves)
    assert envelope is not None
    for C, L in zip(envelope["flops"], envelope["loss"], strict=True):
        assert L <= curves["loss"][curves["flops"] <= C * (1 + 1e-9)].min() * (1 + 1e-12)


def test_size_alone_is_no_law_while_more_data_still_help(whole):
    finding = whole.law(laws.KaplanN)
    assert finding.fit is None
    assert "the last doubling of D lowered the loss by" in finding.why


def test_amounts_of_data_that_hardly_differ_say_nothing_of_a_doubling():
    """Two per cent more data and a loss 3 % higher would be 1 - 1.03^35 = -180 % for a doubling."""
    table = known_runs.table(
        [run(SHAPES[0], D, loss) for D, loss in ((2**19, 3.9), (2**20, 3.8), (int(2**20 * 1.02), 3.91))]
    )
    (doubling,) = checks.last_doublings(table)
    assert doubling.change == pytest.approx(1 - (3.91 / 3.9) ** (math.log(2) / math.log(2.04)))
    assert abs(doubling.change) < 0.01


def test_a_loss_that_rose_is_not_said_to_have_fallen():
    rows = [run(shape, D, 4.0 + 0.1 * (D > 2**19)) for shape in SHAPES[:2] for D in (2**19, 2**20)]
    why = findings.find(known_runs.table(rows), draws=0).law(laws.KaplanN).why
    assert "the last doubling of D raised the loss by 2.5 % at most" in why
    assert "−" not in why


def test_where_no_smaller_model_is_near_the_law_of_data_names_no_number():
    rows = [
        run(SHAPES[0], 2**19, 4.0 - 0.1 * k, unique_tokens=2 ** (12 + k), loss_min=3.9 - 0.1 * k, tokens_at_min=2**18)
        for k in range(4)
    ]
    why = findings.find(known_runs.table(rows), draws=0).law(laws.KaplanD).why
    assert "of 4 data sets none has a clearly smaller model beside it" in why
    assert "–" not in why


def test_size_alone_is_a_law_where_data_are_ample():
    rows = [
        run(shape, D, (1e12 / N(shape)) ** 0.08 * (1 + 1e3 / D) * np.exp(1e-4 * k))
        for k, shape in enumerate(SHAPES)
        for D in (2**19, 2**20)
    ]
    finding = findings.find(known_runs.table(rows), draws=0).law(laws.KaplanN)
    assert finding.sound
    fit, table = fitted(finding)
    assert fit.constants["alpha_N"] == pytest.approx(0.08, rel=0.02)
    assert set(table["tokens"]) == {float(2**20)}
    assert "the last doubling of D lowered the loss by at most" in finding.evidence


def test_a_loss_that_stops_falling_for_want_of_data_does_not_show_ample_data():
    rows = [run(shape, 2**20, 4.0, unique_tokens=2**13, loss_half=3.9, tokens_at_min=2**18) for shape in SHAPES]
    assert all(math.isnan(d.change) for d in checks.last_doublings(known_runs.table(rows)))
    assert findings.find(known_runs.table(rows), draws=0).law(laws.KaplanN).fit is None


def test_data_alone_are_a_law_where_a_larger_model_is_no_better():
    rows = []
    for U in (2**12, 2**13, 2**14, 2**15):
        for shape in SHAPES[:3]:
            low = (1e8 / U) ** 0.15 * (1 + 20 / N(shape)) * (1 + 1e-4 * U % 7e-4)
            rows.append(run(shape, 2**19, 1.02 * low, unique_tokens=U, loss_min=low, tokens_at_min=2**18))
    finding = findings.find(known_runs.table(rows), draws=0).law(laws.KaplanD)
    assert finding.sound
    fit, table = fitted(finding)
    assert fit.constants["alpha_D"] == pytest.approx(0.15, rel=0.02)
    assert len(table) == 4


def test_the_largest_size_is_predicted_from_the_smaller_ones(whole):
    held_out = whole.law(laws.Chinchilla).held_out_prediction
    assert set(held_out.N) == {float(N(SHAPES[-1]))}
    assert len(held_out.off) == len(LENGTHS) + 3
    assert held_out.sentence().startswith("Fitted without the largest size among its rows (N = 197k), it predicts")
    assert held_out.rms < 0.01
    assert np.all(held_out.low < held_out.predicted)
    assert np.all(held_out.predicted < held_out.high)
    np.testing.assert_allclose(held_out.predicted, SURFACE(held_out.N, held_out.D), rtol=0.01)


def test_a_law_that_misses_by_more_than_the_seeds_scatter_says_so(whole):
    assert whole.law(laws.Chinchilla).misfit() == ""
    rows = [
        run(shape, D, float(SURFACE(N(shape), D)) * (1.02 if shape == SHAPES[2] else 1) * (1 + 1e-3 * seed), seed=seed)
        for shape in SHAPES
        for D in LENGTHS
        for seed in (0, 1)
    ]
    assert (
        "more than their seeds scatter" in findings.find(known_runs.table(rows), draws=0).law(laws.Chinchilla).misfit()
    )


def test_what_is_left_out_is_listed_with_its_reason(whole):
    left = {row: e.reason for e in whole.excluded for row in e.rows}
    assert any("diverged" in reason for row, reason in left.items() if "lost" in row)
    assert any("not finished" in reason for row, reason in left.items() if "late" in row)
    assert sum("learning rate" in reason for reason in left.values()) == 4
    assert len(whole.table) + len(left) == len(whole.everything)


def test_the_findings_are_plain_json(whole):
    said = json.loads(whole.to_json(), parse_constant=pytest.fail)
    assert said["laws"][0]["law"] == "chinchilla"
    assert said["laws"][0]["fit"]["alpha"] == whole.law(laws.Chinchilla).fit.law.alpha
    assert said["seed_noise"]["degrees"] == 6


def test_of_the_largest_runs_a_doubtful_fit_gives_no_interval_and_none_is_counted(whole):
    held = whole.law(laws.Chinchilla).held_out_prediction
    none, endless = np.zeros(len(held.off)), np.full(len(held.off), math.inf)
    held = dataclasses.replace(held, low=none, law_low=none, high=endless, law_high=endless)
    assert not held.bounded
    assert not held.fails
    assert "no interval is given" in held.sentence()
    assert "inside" not in held.sentence()


def test_the_text_says_each_law_in_a_sentence(whole):
    text = whole.text()
    for title in TITLES.values():
        assert title in text
    assert "Another seed changes the loss by" in text
    assert "nan" not in text


def test_somebody_elses_table_of_three_columns_is_enough():
    rows = known_runs.grid()
    table = Table.from_rows([{name: row[name] for name in ("params", "tokens", "loss")} for row in rows])
    found = findings.find(table, draws=0)
    assert found.law(laws.Chinchilla).sound
    assert found.law(laws.KaplanND).why == "the table has no column unique_tokens"


def test_rows_of_a_run_are_not_called_runs_and_another_name_of_the_rate_is_seen():
    rows = [row for row in known_runs.grid() if row["status"] == "done"]
    columns = {name: [row[name] for row in rows] for name in ("params", "tokens", "loss")}
    pairs = [f"r{i // 2}" for i in range(len(rows))]
    found = findings.find(Table.from_columns({**columns, "run": pairs, "lr": [1e-3] * len(rows)}), draws=0)
    assert found.overview().startswith(f"{len(rows)} rows of {len(set(pairs))} runs; ")
    assert f"from {len(rows)} of {len(rows)} rows ({len(set(pairs))} runs); " in found.law(laws.Chinchilla).sentence()
    assert any("lr is it by its name: say --columns learning_rate=lr" in one for one in found.warnings)


def read_back(text: str, columns: dict[str, np.ndarray]) -> np.ndarray:
    """The value of a printed formula: caret, fraction and powers of ten as a reader takes them."""
    powers = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
    text = re.sub(r"×10([⁻⁰-⁹¹²³]+)", lambda found: f"e{found[1].translate(powers)}", text)
    text = re.sub(r"\b10([⁻⁰-⁹¹²³]+)", lambda found: f"1e{found[1].translate(powers)}", text)
    python = text.replace("^", " ** ").replace("−", "-").replace("[", "(").replace("]", ")")
    return simple(ast.parse(python, mode="eval").body, columns)


def simple(node: ast.AST, columns: dict[str, np.ndarray]) -> np.ndarray:
    """Arithmetic on numbers and columns."""
    doing = {ast.Add: np.add, ast.Div: np.divide, ast.Pow: np.power, ast.Mult: np.multiply}
    match node:
        case ast.BinOp(left, op, right):
            return doing[type(op)](simple(left, columns), simple(right, columns))
        case ast.Constant(int() | float() as value):
            return np.asarray(float(value))
        case ast.Name(name):
            return columns[name]
    raise AssertionError(ast.dump(node))


@pytest.mark.parametrize("law", [laws.Chinchilla, laws.KaplanND, laws.KaplanD, laws.KaplanC])
def test_a_printed_law_gives_the_fitted_losses(whole, law):
    """Constants that are known together need more digits than the interval of each has."""
    finding = whole.law(law)
    fit, rows = fitted(finding)
    columns = {{"params": "N", "flops": "C"}.get(name, "D"): rows[name] for name in fit.law.inputs}
    printed = read_back(formula(finding), columns)
    said = fit.law(*(rows[name] for name in fit.law.inputs))
    assert np.max(np.abs(printed / said - 1)) <= min(1e-3, 0.1 * fit.residuals.rms) * (1 + 1e-6)
    assert max(len(number) for number in re.findall(r"[\d.]+", formula(finding))) <= 8


def test_a_law_whose_forecast_fails_is_called_doubtful(whole):
    """The largest size is 3 % worse than the others have it."""
    rows = known_runs.grid()
    for row in rows:
        if row["params"] == N(SHAPES[-1]):
            row["loss"] *= 1.03
    finding = findings.find(known_runs.table(rows), draws=0).law(laws.Chinchilla)
    assert finding.sound
    assert "outside its 95 % interval" in finding.sentence()
    assert not whole.law(laws.Chinchilla).doubts


def test_an_envelope_that_ends_in_a_short_run_of_the_largest_size_is_doubted():
    rows = [row for row in known_runs.grid() if row["params"] < N(SHAPES[-1]) or row["tokens"] == LENGTHS[0]]
    for row in rows:  # the best run at its compute, as it is at the largest size for want of longer ones
        if row["params"] == N(SHAPES[-1]):
            row["loss"] = 0.9 * min(r["loss"] for r in rows)
            row["flops"] = 1.1 * max(r["flops"] for r in rows)
    finding = findings.find(known_runs.table(rows), draws=0).law(laws.KaplanC)
    assert "of the largest size at 131k tokens" in finding.edge
    assert "doubtful" in finding.sentence()


def test_a_study_without_a_finished_run_says_so():
    found = findings.find(known_runs.table([row | {"status": "running"} for row in known_runs.grid()]), draws=0)
    assert not any(finding.fit for finding in found.laws)
    assert "24 runs" in found.text()


@pytest.mark.parametrize(
    ("value", "low", "high", "said"),
    [
        (0.35432, 0.3448, 0.3633, ("0.354", "0.345 to 0.363")),
        (0.35432, 0.353, 0.3561, ("0.3543", "0.3530 to 0.3561")),
        (61.72, 58.1, 65.6, ("62", "58 to 66")),
        (0.34, 0.339999965, 0.340000024, ("0.340000000", "0.339999965 to 0.340000024")),
        (3.4e-5, 3.39999965e-5, 3.40000024e-5, ("3.40000000×10⁻⁵", "3.39999965×10⁻⁵ to 3.40000024×10⁻⁵")),
        (1.234e13, 1.1e13, 1.4e13, ("1.23×10¹³", "1.10×10¹³ to 1.40×10¹³")),
        (2e10, 2e9, 2e11, ("2.0×10¹⁰", "2.0×10⁹ to 2.0×10¹¹")),
        (1e-10, 0.0, 6e-4, ("10⁻¹⁰", "0 to 6.0×10⁻⁴")),
        (5.0, 0.1, math.inf, ("5.0", "0.10 to ∞")),
    ],
)
def test_constants_are_written_to_the_digits_of_their_interval(value, low, high, said):
    assert digits.constant(value, low, high) == said


def test_an_interval_is_written_on_the_side_of_a_number_on_which_it_lies():
    assert digits.constant(0.889, 0.7602, 1.023, beside=0.76) == ("0.8890", "0.7602 to 1.0230")
    assert digits.constant(0.44, 0.395, 0.4965, beside=0.497)[1] == "0.395 to 0.496"
    assert digits.constant(0.44, 0.395, 0.4965, beside=0.45)[1] == digits.constant(0.44, 0.395, 0.4965)[1]


@pytest.mark.parametrize(
    ("x", "said"),
    [(999, "999"), (999.9, "1k"), (1536, "1.54k"), (2**20, "1.05M"), (1e9, "1B"), (1e21, "1e21"), (2.57e15, "2.57e15")],
)
def test_counts_are_short(x, said):
    assert digits.short(x) == said


def test_counts_are_read_as_they_are_written():
    for x in (12.0, 1540.0, 7e7, 3e11, 1e12, 1e21):
        assert digits.count_of(digits.short(x)) == pytest.approx(x)
    with pytest.raises(ValueError, match="could not convert"):
        digits.count_of("many")
