"""Designs against closed forms, brute force and what a fit really finds."""

import dataclasses
import itertools
import json
import math
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis import design, laws
from analysis.design import config_file, criterion, exchange, prior, score, usual
from analysis.design.criterion import Criterion, Target, elfving, half_width
from analysis.design.pool import Pool, pool, standard_sizes
from analysis.design.prior import Prior
from analysis.digits import percent
from analysis.fit import fit, solver
from analysis.fit.estimate import Fit
from analysis.fit.floor import Floor
from analysis.laws import Chinchilla, KaplanN
from analysis.table import Table
from benchmarks import design as of_designs
from benchmarks import design_runs
from configs import designed
from scaling import calibration, question
from scaling.cli import main
from scaling.config import RunConfig
from scaling.errors import InputError

LAW = Chinchilla(E=1.0, A=12.0, B=60.0, alpha=0.25, beta=0.28)
BUDGET = 2.2e14
SIZES = 1e4 * 2.0 ** np.arange(8)
POOL = pool(SIZES, BUDGET, overhead=4e11)
TARGET = Target(np.array([1e7]), np.array([2e8]))
PRIOR = Prior((LAW,), noise=0.005, error=0.0)


def at_ends(where: float) -> tuple[float, float]:
    """Elfving's design of a straight line on [-1, 1] for its value at `where` > 1: (least sd at cost 1, share at 1)."""
    return where, (where + 1) / (2 * where)


@pytest.mark.parametrize("where", [1.2, 2.0, 5.0])
def test_extrapolating_a_power_law_takes_elfvings_two_sizes(where):
    """ln L = alpha (ln N_c - ln N) is a straight line in ln N: Hoel and Levine (1964) give the optimum."""
    middle, half = math.log(1e6), math.log(100)
    N = np.exp(middle + half * np.linspace(-1, 1, 9))
    law = KaplanN(alpha_N=0.076, N_c=8.8e13)
    theta = solver.theta_of(law)
    slopes = solver.jacobian(KaplanN, theta, (N,), True)
    (wanted,) = solver.jacobian(KaplanN, theta, (np.exp([middle + half * where]),), True)
    sd, share = elfving(slopes, wanted, np.ones(9))
    least, above = at_ends(where)
    assert sd == pytest.approx(least, rel=1e-6)
    assert share[-1] == pytest.approx(above, abs=1e-6)
    assert share[0] == pytest.approx(1 - above, abs=1e-6)


def test_two_constants_are_told_best_by_as_many_runs_at_each_end():
    """D-optimal for a straight line, ln L = ln B - beta ln D: det M = (n/2)^2 (ln D_high - ln D_low)^2 / sigma^4."""
    D = np.geomspace(1e6, 1e9, 9)
    law = Chinchilla(E=1e-12, A=1e-12, B=60.0, alpha=0.25, beta=0.28)
    line = Prior((law,), noise=0.005, fixed=(("E", "A", "alpha"),))
    own = Pool(np.full(9, 1e4), D, overhead=1e14 - 6e4 * D)  # all as dear
    (form,) = Criterion.of(line, own, TARGET).forms

    def wide(counts: Any) -> tuple[float, Any]:
        now, after = form.logarithms(counts)
        return -0.5 * float(now[0]), -0.5 * after[0]

    found = exchange.choose(wide, own, 1e15, 10, 10)
    assert found.tolist() == [5, *[0] * 7, 5]
    exact = math.log(25 * math.log(D[-1] / D[0]) ** 2 / 0.005**4)
    assert form.logarithms(found)[0][0] == pytest.approx(exact, abs=1e-6)


def test_dear_runs_get_more_money_and_fewer_repeats():
    """With costs c the optimum spends |u_i| on each, u for slopes g / sqrt(c): by hand for two candidates."""
    slopes, wanted, cost = np.array([[1.0, -1.0], [1.0, 1.0]]), np.array([1.0, 3.0]), np.array([1.0, 100.0])
    sd, share = elfving(slopes, wanted, cost)  # 3 = -u_0 + u_1, 1 = u_0 + u_1: -1 and 2 runs' worth
    assert sd == pytest.approx(1 * 1 + 2 * 10)
    assert share == pytest.approx([1 / 21, 20 / 21])


def test_candidates_that_cannot_tell_the_target_are_refused():
    with pytest.raises(InputError, match="do not tell the target"):
        elfving(np.array([[1.0, 2.0]]), np.array([1.0, 3.0]), np.ones(1))


def test_exchange_finds_the_best_of_all_studies():
    few = Pool(np.array([1e4, 1e4, 1e5, 1e5, 1e6, 1e6]), np.array([1e5, 1e7, 1e6, 1e7, 1e7, 1e8]))
    flops = 7e14
    c = Criterion.of(PRIOR, few, TARGET)
    all_studies = np.array(list(itertools.product(range(3), repeat=6)))
    fits = all_studies[(few.cost(all_studies) <= flops) & (all_studies.sum(1) <= 9)]
    found = exchange.choose(c.narrow, few, flops, 9, 2)
    assert c.narrow(found)[0] == pytest.approx(min(c.narrow(counts)[0] for counts in fits), abs=1e-6)


def test_one_run_more_is_what_the_study_with_it_is():
    """The quick formulas for all candidates at once, against the study itself; with runs that are there, too."""
    c = Criterion.of(PRIOR, POOL, TARGET, (np.array([1e4, 3e5]), np.array([1e6, 1e7])))
    counts = np.random.default_rng(0).integers(0, 2, len(POOL))
    for aim in (c.narrow, c.departure):
        after = aim(counts)[1]
        for i in (0, 17, len(POOL) - 1):
            assert after[i] == pytest.approx(aim(counts + (np.arange(len(POOL)) == i))[0], rel=1e-9)


def test_a_trunk_pays_for_its_branches():
    """6N (0.8 of the longest + 0.2 of each): by hand."""
    own = Pool(np.array([1e3, 1e3, 2e3]), np.array([1e6, 2e6, 1e6]), trunks=True)
    one = 6e9 * (0.8 * 2 + 0.2 * 3)
    assert own.cost(np.array([1, 1, 0])) == pytest.approx(one)
    assert own.cost(np.array([2, 1, 0])) == pytest.approx(one + 6e9)  # the second seed has a trunk of its own
    assert own.cost(np.array([[1, 1, 1], [0, 0, 2]])) == pytest.approx([one + 12e9, 24e9])


@pytest.mark.parametrize("trunks", [False, True])
def test_what_each_candidate_is_paid_sums_to_the_cost(trunks):
    own = Pool(np.array([1e3, 1e3, 2e3]), np.array([1e6, 2e6, 1e6]), trunks, overhead=1e8)
    counts = np.array([3, 1, 2])
    assert own.paid(counts).sum() == pytest.approx(float(own.cost(counts)))
    assert own.paid(counts)[1] == pytest.approx(12e9 + 1e8)  # the longest, with its trunk


def test_a_floor_of_0_may_be_believed(tmp_path):
    N, D = (each.ravel() for each in np.meshgrid([1e4, 4e4, 1.6e5, 6.4e5], [1e5, 8e5, 6.4e6], indexing="ij"))
    loss = dataclasses.replace(LAW, E=0.0)(N, D) * np.exp(0.01 * np.random.default_rng(0).normal(size=len(N)))
    table = Table.from_columns({"params": N, "tokens": D, "loss": loss})
    found = fit(Chinchilla, table, floor=Floor(0.0), every_run=True)
    again = Fit.from_json(found.to_json())
    assert again.constants["E"] == 0
    assert all(getattr(law, "E") < 1e-6 for law in prior.of_fit(again).laws)  # noqa: B009


def test_a_design_beats_the_habits_and_keeps_to_its_bounds():
    made = design.design(PRIOR, POOL, TARGET, BUDGET, runs=35)
    counts = made.study.counts
    assert counts.sum() <= 35
    assert counts.max() <= design.REPEATS
    assert POOL.cost(counts) <= BUDGET * (1 + 1e-9)
    assert len(made.rivals) == 2
    for rival in made.rivals:
        assert rival.flops <= BUDGET
        assert made.study.promise.law < 0.7 * rival.promise.law
    assert made.bound < made.study.promise.law
    assert made.wrong is not None
    assert made.wrong[0] <= made.study.promise.law <= made.wrong[1]
    assert f"half or double what is believed: ± {percent(made.wrong[0])} to ± {percent(made.wrong[1])}" in made.text()
    widths = [one.law for _, one in sorted(made.spendings.items())]
    assert widths == sorted(widths, reverse=True)


def test_a_wrong_gap_leaves_both_terms_as_they_are_at_one_place():
    def terms(law: Any) -> tuple[float, float]:
        if isinstance(law, laws.KaplanOnePass):
            return (law.N_c / 1e6) ** law.alpha_N, (law.D_c / 1e8) ** law.alpha_D
        return law.A / 1e6**law.alpha, law.B / 1e8**law.beta

    for law in (LAW, prior.FLOORLESS, laws.QNorm(1.0, 12.0, 60.0, 0.25, 0.28, 0.7)):
        double = prior.with_gap(law, 2.0, 1e6, 1e8)
        assert prior.gap_of(double) == pytest.approx(2 * prior.gap_of(law))
        assert terms(double) == pytest.approx(terms(law))
        assert prior.with_gap(double, 0.5, 1e6, 1e8)(1e7, 1e9) == pytest.approx(law(1e7, 1e9))
        widest = prior.with_gap(law, 50.0, 1e6, 1e8)  # both exponents stay above 0
        assert widest(1e7, 1e9) < widest(1e6, 1e9) < widest(1e6, 1e8)


def test_a_promise_by_a_wrong_gap_is_mended_by_the_cheapest_tenth_of_the_runs():
    """Kaplan's form, whose gap is believed half: what the fits of the whole study find is known by the true law."""
    case = next(each for each in of_designs.gaps() if each.form is laws.KaplanOnePass and "0.5" in each.believed)
    believed = Criterion.of(case.prior, of_designs.CANDIDATES, of_designs.TARGET)
    counts = design.chosen(believed, of_designs.BUDGET)
    study = design.Study("the design", believed.pool, counts, of_designs.BUDGET, design.promised(believed, counts))
    true = dataclasses.replace(case.prior, laws=(case.truth,))
    found = float(of_designs.halves(true, case, counts)[0])
    assert study.promise.law < 0.92 * found
    assert max(most for _, most in design.wrong(believed, counts)) == pytest.approx(found, rel=1e-6)
    after = of_designs.after_pilot(case, study, *of_designs.drawn(case, study, 20))
    assert after == pytest.approx(found, rel=0.03)


def test_each_aim_is_best_at_what_it_is_for():
    """At one budget: the forecast, N_opt's exponent, and the power to tell a bend, each by its own design."""
    c = Criterion.of(PRIOR, POOL, TARGET)
    made = {aim: design.design(PRIOR, POOL, TARGET, BUDGET, runs=20, checks=0.1, aim=aim) for aim in criterion.AIMS}
    for aim in criterion.AIMS:
        reached = {name: c.aim(aim)(one.study.counts)[0] for name, one in made.items()}
        assert min(reached, key=lambda name: reached[name]) == aim
    of_exponent = {name: one.study.promise.exponents["N_opt's"] for name, one in made.items()}
    assert of_exponent["exponent"] < 0.9 * of_exponent["forecast"]


def test_the_split_moves_with_the_exponents_as_finite_differences_have_it():
    law = Chinchilla(E=1.0, A=12.0, B=60.0, alpha=0.25, beta=0.28)
    slope = criterion.split_slope(prior.Belief(law, (), 0.0))
    step = 1e-6
    for k, name in enumerate(c.name for c in law.constants()):
        moved = dataclasses.replace(law, **{name: getattr(law, name) + step})
        change = moved.beta / (moved.alpha + moved.beta) - law.beta / (law.alpha + law.beta)
        assert slope is not None
        assert slope[k] == pytest.approx(change / step, abs=1e-5)


def test_checks_notice_a_bend_that_the_narrowest_design_would_not():
    c = Criterion.of(PRIOR, POOL, TARGET)
    narrow = exchange.choose(c.narrow, POOL, BUDGET, 20, 3)
    with_checks = design.design(PRIOR, POOL, TARGET, BUDGET, runs=20, checks=0.3).study.counts
    assert c.departure(with_checks)[0] < c.departure(narrow)[0] - 0.5
    for own in (POOL.params, POOL.tokens):
        assert len(np.unique(own[with_checks > 0])) >= design.LEAST


@pytest.mark.parametrize(("believed", "slope"), [((0.0,), 0.0), ((-0.25,), -0.25), ((0.0, -0.25), -0.25)])
def test_what_is_promised_is_what_fits_find(believed, slope):
    """40 studies of the design, drawn from the law and fitted: the interval's middle width, and how often it holds.

    Noise that falls with size is believed or not; the fit weighs runs as the design says.
    """
    belief = dataclasses.replace(PRIOR, slopes=believed)
    made = design.design(belief, POOL, TARGET, BUDGET, runs=20)
    promised = design.promised(Criterion.of(belief, POOL, TARGET), made.study.counts).spread[believed[0] == slope]
    rows = np.repeat(np.arange(len(POOL)), made.study.counts)
    N, D = POOL.params[rows], POOL.tokens[rows]
    truth = float(LAW(1e7, 2e8))
    rng, halves, inside = np.random.default_rng(0), [], 0
    for _ in range(40):
        loss = LAW(N, D) * np.exp(0.005 * (N / 1e4) ** slope * rng.normal(size=len(N)))
        table = Table.from_columns({"params": N, "tokens": D, "loss": loss})
        found = fit(Chinchilla, table, loss="squared", weights=belief.slope or None, every_run=True)
        low, high = found.predict(params=1e7, tokens=2e8)[1:]
        halves.append(math.log(high / low) / 2)
        inside += low <= truth <= high
    assert np.median(halves) == pytest.approx(promised, rel=0.15)
    assert inside >= 34  # 38 wanted; 2 of 1,000 such counts are lower


def test_weights_may_be_a_power_of_N():
    N, D = (each.ravel() for each in np.meshgrid([1e4, 4e4, 1.6e5, 6.4e5], [1e5, 8e5, 6.4e6], indexing="ij"))
    loss = LAW(N, D) * np.exp(0.005 * np.random.default_rng(0).normal(size=len(N)))
    table = Table.from_columns({"params": N, "tokens": D, "loss": loss})
    by_power = fit(Chinchilla, table, weights=-0.25, every_run=True)
    assert by_power.constants == pytest.approx(fit(Chinchilla, table, weights=N**0.5, every_run=True).constants)
    assert any("N^-0.25" in note for note in by_power.notes)
    with pytest.raises(InputError, match="wanted a power of N"):
        fit(Chinchilla, table, weights=2.0)


def test_forms_with_and_without_a_floor_may_be_believed_together():
    """Each promises for a fit of its own, and both decide what is trained."""
    with_floor, none = dataclasses.replace(PRIOR, error=0.01), Prior((prior.FLOORLESS,), noise=0.005, error=0.01)
    both = prior.joined([with_floor, none])
    assert both.noise == pytest.approx(0.005)
    measured = dataclasses.replace(with_floor, noise=0.02, error=0.03, noise_at=1e6)
    mixed = prior.joined([measured, none])  # what was measured is not averaged with what is usual
    assert (mixed.noise, mixed.error, mixed.noise_at) == pytest.approx((0.02, 0.03, 1e6))
    pinned = dataclasses.replace(with_floor, fixed=(("E",),))
    held = prior.joined([with_floor, pinned])
    made = {name: design.design(one, POOL, TARGET, BUDGET) for name, one in {"both": both, "held": held}.items()}
    assert set(made["both"].study.promise.forms) == {"chinchilla", "kaplan-one-pass"}
    told = made["held"].study.promise.forms
    assert told["chinchilla with E held"] < told["chinchilla"]
    c = {one.told: Criterion.of(one, POOL, TARGET) for one in (both, with_floor)}
    alone = design.design(with_floor, POOL, TARGET, BUDGET).study.counts
    assert c[both.told].narrow(made["both"].study.counts)[0] < c[both.told].narrow(alone)[0]


def test_the_laws_own_error_falls_with_the_distance_to_the_target():
    c = Criterion.of(Prior((LAW,), error=0.004), POOL, TARGET)
    near, far = np.zeros((2, len(POOL)), np.int64)
    near[np.argmax(POOL.flops)] = 1
    far[np.argmin(POOL.flops)] = 1
    assert c.error(near)[0] < c.error(far)[0]
    ratio = 1e7 * 2e8 / float((POOL.params * POOL.tokens)[near > 0][0])
    assert c.error(near)[0] == pytest.approx(
        0.004**2 * max(math.log(ratio), math.log(2e8 / POOL.tokens[near > 0][0])) ** 1.5
    )


def test_what_no_study_can_be_made_of_is_refused():
    with pytest.raises(InputError, match="wanted a share"):
        design.design(PRIOR, POOL, TARGET, BUDGET, checks=1.0)
    with pytest.raises(InputError, match="cannot tell 5 constants"):
        design.design(PRIOR, POOL, TARGET, BUDGET, runs=5)
    with pytest.raises(InputError, match="buys"):
        design.design(PRIOR, pool([1e6, 2e6], 1e13), TARGET, 1e13)
    with pytest.raises(InputError, match="no run of"):
        pool([1e9, 2e9], 1e12)


def test_half_widths_are_students():
    """t(15) = 2.131 of a table; the median of chi^2(15) is 14.339."""
    assert half_width(np.array(1.0), 20, 5) == pytest.approx(2.1314 * math.sqrt(14.339 / 15), rel=1e-3)


def test_habits_are_what_they_are_called():
    c = Criterion.of(PRIOR, POOL, TARGET)
    counts = usual.grid(c.narrow, POOL, BUDGET, 35)
    N, D = POOL.params[counts > 0], POOL.tokens[counts > 0]
    assert len(np.unique(N)) * len(np.unique(D)) >= counts.sum() > 5
    profiles = usual.isoflop(c.narrow, POOL, PRIOR, BUDGET, 35)
    C = 6 * (POOL.params * POOL.tokens)[profiles > 0]
    assert len(np.unique(C)) >= 3  # budgets
    assert profiles.sum() >= 10


def run(capsys, *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        main(list(words))
    said = capsys.readouterr()
    return int(end.value.code or 0), said.out, said.err


SMALL = ("--target", "1e7,2e8", "--flops", "2e14", "--sizes", "1e4", "1e6", "--runs", "12")


def test_the_written_study_holds_the_runs_of_the_design_and_scores_as_promised(capsys, tmp_path):
    """Trunks: the runs of a size share batch, rate and examples, and so are planned as branches of one."""
    out, picture = tmp_path / "study.py", tmp_path / "study.svg"
    words = ("--trunks", "--json", "--out", str(out), "--plot", str(picture))
    code, said, _ = run(capsys, "design", *SMALL, *words)
    assert code == 0
    assert "double the budget buys" in picture.read_text()
    wanted = json.loads(said)
    study = question.load(str(out), {})
    assert len(study.runs) == sum(row["times"] for row in wanted["runs"]) <= 12
    assert {run.model.N for run in study.runs} == {row["params"] for row in wanted["runs"]}
    tokens = sorted(row["tokens"] for row in wanted["runs"] for _ in range(row["times"]))
    assert np.array(sorted(run.tokens for run in study.runs)) == pytest.approx(tokens, rel=0.05)
    for N in {run.model.N for run in study.runs}:
        of_size = [run for run in study.runs if run.model.N == N]
        assert len({(run.batch, run.optim, run.unique_tokens) for run in of_size}) == 1
    parted = question.load(str(out), {"at_once": "512"}).runs
    assert max(run.accumulate for run in parted) > 1
    assert all(run.batch_tokens / run.accumulate <= 512 for run in parted)
    checked = question.load(str(out), {"check_rates": "true"}).runs
    assert checked[: len(study.runs)] == study.runs
    sizes = sorted({run.model.N for run in study.runs})
    for N in (sizes[0], sizes[-1]):
        shortest = min((run for run in study.runs if run.model.N == N), key=lambda run: run.tokens)
        tried = [run for run in checked[len(study.runs) :] if run.model.N == N]
        assert {run.tokens for run in tried} == {shortest.tokens}
        rates = [run.optim.learning_rate / shortest.optim.learning_rate for run in tried]
        assert rates == pytest.approx([0.5, 2.0])
    fewer = tmp_path / "fewer.py"
    fewer.write_text(out.read_text().replace("for seed in range(seeds)", "for seed in range(1)"))
    code, said, _ = run(capsys, "design", "--score", str(out), str(fewer), "--target", "1e7,2e8", "--json")
    assert code == 0
    own, less = json.loads(said)["studies"]
    promise = wanted["promise"]
    assert own["flops"] == pytest.approx(wanted["flops"], rel=0.05)  # whole updates, and whole cooldowns
    assert own["promise"]["law"] == pytest.approx(promise["law"], rel=0.05)
    assert own["promise"]["exponents"]["alpha"] == pytest.approx(promise["exponents"]["alpha"], rel=0.05)
    assert less["runs"] < own["runs"]
    assert less["promise"]["law"] > own["promise"]["law"]
    assert own["bent"] > own["promise"]["law"]
    assert 0.9 * own["wrong"][0] > own["promise"]["law"]  # of six published laws two have a gap, and these say so
    assert own["wrong"][1] > own["wrong"][0]


def test_the_best_size_moves_with_a_constant_as_the_closed_form_has_it():
    """ln N_opt = ln(alpha A / beta B) / (alpha + beta) + ...: Hoffmann et al. (2022) eq. 4."""
    slope = dict(zip([c.name for c in LAW.constants()], score._slope(LAW, 1e16), strict=True))
    assert slope["A"] == pytest.approx(1 / (LAW.alpha + LAW.beta), rel=1e-6)
    assert slope["B"] == pytest.approx(-slope["A"], rel=1e-6)
    assert slope["E"] == pytest.approx(0, abs=1e-9)


def test_a_floor_that_is_pinned_is_known_to_the_design_as_to_the_fit():
    N, D = (each.ravel() for each in np.meshgrid([1e4, 4e4, 1.6e5, 6.4e5], [1e5, 8e5, 6.4e6], indexing="ij"))
    loss = LAW(N, D) * np.exp(0.005 * np.random.default_rng(2).normal(size=len(N)))
    table = Table.from_columns({"params": N, "tokens": D, "loss": loss})
    left = {}
    for name, floor in (("free", None), ("pinned", Floor(LAW.E))):
        found = fit(Chinchilla, table, loss="squared", floor=floor, every_run=True)
        believed = prior.of_fit(found)
        before = design.promised(Criterion.of(believed, POOL, TARGET, (N, D)), np.zeros(len(POOL), np.int64))
        low, high = found.predict(params=1e7, tokens=2e8)[1:]
        left[name] = before.law, math.log(high / low) / 2
    assert left["pinned"][0] == pytest.approx(left["pinned"][1], rel=0.15)
    assert left["pinned"][0] < 0.6 * left["free"][0]


OWN = """
import dataclasses

from analysis.laws import Law, constant


@dataclasses.dataclass(frozen=True)
class Mine(Law):
    A: float = constant("", start=(1, 1e4))
    B: float = constant("", start=(1, 1e4))
    alpha: float = constant("", start=(0.05, 1), kind="exponent")
    name = "mine-of-designs"
    inputs = ("params", "tokens")

    def __call__(self, N, D):
        return self.A / N**self.alpha + self.B / D**self.alpha
"""


def test_a_written_design_names_ones_own_law_as_it_was_typed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("my law.py").write_text(OWN)
    law: Any = laws.own("my law.py:Mine")
    shapes = {float(shape.params): shape for shape in standard_sizes(1e4, 1e5)}
    made = design.design(Prior((law(12.0, 60.0, 0.2),)), pool(list(shapes), 1e13), TARGET, 1e13, runs=8)
    written = config_file.config(made, shapes, "next.py")
    assert "scaling fit 'my law.py:Mine' studies/design --loss squared" in written


def test_a_written_design_has_a_command_for_each_form_with_its_own_promise():
    shapes = {float(shape.params): shape for shape in standard_sizes(1e4, 1e5)}
    candidates = pool(list(shapes), 1e13)
    pinned = dataclasses.replace(PRIOR, fixed=(("E",),))
    several = prior.joined([PRIOR, pinned, Prior((prior.FLOORLESS,))])
    several = dataclasses.replace(several, slopes=(0.0, -0.25))
    made = design.design(several, candidates, TARGET, 1e13, runs=8)
    written = config_file.config(made, shapes, "next.py")
    for form, command in {
        "chinchilla": "chinchilla studies/design --loss squared --out chinchilla.json",
        "chinchilla with E held": f"chinchilla studies/design --loss squared --fix E={LAW.E:.6g} "
        "--out chinchilla-with-E-held.json",
        "kaplan-one-pass": "kaplan-one-pass studies/design --loss squared --out kaplan-one-pass.json",
    }.items():
        assert f"    scaling fit {command}\n" in written
        assert f"{form} ± {percent(made.study.promise.forms[form])}" in " ".join(written.split())
    averaged = dataclasses.replace(made, prior=dataclasses.replace(several, averaged=True, slopes=(-0.25,)))
    written = config_file.config(averaged, shapes, "next.py")
    command = "scaling fit --choose --average studies/design --loss squared --weights -0.25 --out law.json\n"
    assert written.count("scaling fit") == 1
    assert command in written


@pytest.mark.parametrize("words", [["--minutes", "5"], ["--shortest", "32768"]])
def test_a_short_try_of_the_benchmark_is_not_kept_beside_the_usual(capsys, monkeypatch, words):
    monkeypatch.setattr(sys, "argv", ["design_runs", *words])
    with pytest.raises(SystemExit) as end:
        design_runs.main()
    assert end.value.code == 2
    assert "give --kept a folder of its own" in capsys.readouterr().err


def test_a_study_that_has_begun_is_told_what_it_leaves_and_what_more_would(capsys, tmp_path):
    N, D = (each.ravel() for each in np.meshgrid([1e4, 4e4, 1.6e5, 6.4e5], [1e5, 8e5, 6.4e6], indexing="ij"))
    loss = LAW(N, D) * np.exp(0.005 * np.random.default_rng(1).normal(size=len(N)))
    table = tmp_path / "runs.csv"
    Table.from_columns({"params": N, "tokens": D, "loss": loss}).to_csv(table)
    code, said, err = run(capsys, "suggest", str(table), *SMALL, "--json", "--until", "0.5")
    assert code == 0
    assert "is reached" in err
    found = json.loads(said)
    fitted_to = Table.from_columns({"params": N, "tokens": D, "loss": loss})
    low, high = fit(Chinchilla, fitted_to).predict(params=1e7, tokens=2e8)[1:]
    assert found["before"]["law"] == pytest.approx(math.log(high / low) / 2, rel=0.5)
    assert found["promise"]["law"] < found["before"]["law"]
    _, said, _ = run(capsys, "suggest", str(table), *SMALL, "--json", "--noise-slope", "-0.25")
    low, high = fit(Chinchilla, fitted_to, weights=-0.25).predict(params=1e7, tokens=2e8)[1:]
    assert json.loads(said)["before"]["law"] == pytest.approx(math.log(high / low) / 2, rel=0.3)
    Table.from_columns({"N": N, "tokens": D, "loss": loss}).to_csv(table)
    words = ("--columns", "params=N", "--until", "0.001", "--out", str(tmp_path / "next.py"))
    _, _, err = run(capsys, "suggest", str(table), *SMALL, *words)
    assert "cannot be reached with this budget" in err
    _, said, _ = run(capsys, "suggest", str(table), *words[:2], "--target", "1e7,2e8", "--flops", "1e17", "--json")
    own = json.loads(said)
    assert min(row["params"] for row in own["runs"]) >= N.min()
    assert min(row["tokens"] for row in own["runs"]) >= D.min()
    assert any("the budget pays for the target itself" in note for note in own["notes"])
    assert "fitted together with the runs" in " ".join((tmp_path / "next.py").read_text().split())
    code, said, _ = run(capsys, "suggest", str(table), *SMALL, *words[:2], "--law", "average", "--json")
    assert code == 0
    assert "draws of the fit of chinchilla" in json.loads(said)["believed"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--target", "near", "--flops", "1e15"), "wanted FLOP, such as 1e21, or parameters and tokens"),
        (("--target", "1e7,2e8,3", "--flops", "1e15"), "wanted FLOP, such as 1e21, or parameters and tokens"),
        ((*SMALL, "--noise", "0"), "wanted a number above 0"),
        ((*SMALL, "--noise-slope", "0", "-2"), "--noise-slope -2: wanted a power of N from -1 to 1"),
        ((*SMALL, "--checks", "1"), "wanted a share of the budget"),
        ((*SMALL, "--law", "kaplan"), "no published law is of the form kaplan; they are of chinchilla, gadre"),
        ((*SMALL, "--law", "gadre", "--aim", "exponent"), "no law believed leaves the exponent of N_opt to the runs"),
        ((*SMALL, "--along"), "--along: wanted --target C above the budget's 2e+14 FLOP; found 1e7,2e8"),
        (("--target", "1e7,2e8", "--flops", "1e9"), "allow smaller models, or spend more"),
        (("--target", "1e7,2e8", "--flops", "1e15", "--sizes", "1e6", "1e4"), "the smaller first"),
        (("--target", "1e3,1e5", "--flops", "1e12"), "give --sizes"),
        ((*SMALL, "--max-tokens", "0"), "wanted 1 token or more"),
        ((*SMALL, "--overhead", "-1"), "no less than 0"),
        ((*SMALL, "--law", "none.py:Law"), "none.py"),
        ((*SMALL, "--score", "study.py"), "--score makes no design; leave out --flops, --sizes, --runs"),
        (("--target", "1e7,2e8", "--score", "study.py", "--checks", "0"), "leave out --checks"),
        ((*SMALL, "--where", "loss<3"), "--where: of the table of --prior TABLE"),
    ],
)
def test_what_cannot_be_designed_is_told_in_a_line(capsys, words, told):
    code, _, err = run(capsys, "design", *words)
    assert code == 2
    assert told in err
    assert err.count("\n") == 1


def test_no_run_is_asked_for_that_the_hardware_cannot_hold(capsys, tmp_path):
    """16 bytes a parameter: weights, gradients and two moments in float32."""
    out = tmp_path / "study.py"
    words = ("design", "--target", "1e22", "--hardware", "rtx4090:2", "--hours", "336", "--json", "--out", str(out))
    _, said, _ = run(capsys, *words)
    made = json.loads(said)
    assert max(row["params"] for row in made["runs"]) * 16 <= 2 * 24 * 2**30
    assert made["hours"] == 336
    assert any("fill the memory of rtx4090:2" in note for note in made["notes"])
    assert "hours are those of rtx4090:2 at 40 % of its peak (--utilisation)" in made["notes"]
    assert "--mesh fsdp=2" in out.read_text()
    runs = question.load(str(out), {}).runs
    assert {run.dtype for run in runs} == {"bfloat16"}
    assert all(run.batch % (2 * run.accumulate) == 0 for run in runs)
    held = max(calibration.held(run, 1, {"fsdp": 2}) for run in runs)
    assert held <= calibration.SURE * 24 * 2**30  # above it the rule would refuse them there


def test_a_study_for_a_larger_machine_is_shown_on_this_one(capsys, tmp_path):
    file = tmp_path / "large.py"
    file.write_text(
        "from scaling.config import RunConfig, Study\nfrom scaling.ladder import transformer\n\n\n"
        "def study():\n    return Study('large', 'Which law?', (RunConfig(transformer(16_384, 96), 10**9),))\n"
    )
    code, said, _ = run(capsys, "study", "show", str(file))
    assert code == 0
    assert "309,237,645,312" in said  # 12 x 96 x 16,384^2
    assert "not for this machine: " in said
    assert "GiB of memory" in said


def drawn(runs: tuple[RunConfig, ...]) -> Table:
    """Losses of these runs by LAW with noise of their own, the same whenever they are asked for."""
    rows = []
    for run in runs:
        noise = np.random.default_rng([run.model.N, run.tokens, run.seed]).normal()
        loss = float(LAW(run.model.N, run.tokens)) * math.exp(0.004 * noise)
        rows.append({"params": run.model.N, "tokens": run.tokens, "seed": run.seed, "status": "done", "loss": loss})
    return Table.from_rows(rows)


def test_runs_before_the_onset_are_no_information_and_are_asked_for_longer(capsys):
    """What they lost decides nothing, nor are runs as short asked for of models as small."""
    settings: dict[str, Any] = {"minutes": 5.0, "shortest": 2**15, "target": "1e6,2e7"}
    runs = designed.study(**settings).runs
    table = drawn(runs)
    small = min(run.model.N for run in runs)
    early = (table["params"] == small) & (table["tokens"] == table["tokens"][table["params"] == small].min())
    assert early.sum() == 1
    table = table.with_columns(onset=np.where(early, math.nan, 1e4))
    asked = designed.more(table, **settings)
    assert "1 of 9 runs diverged or ended before their model used its context" in capsys.readouterr().err
    assert asked
    assert not any(run.model.N <= small and run.tokens <= table["tokens"][early][0] for run in asked)
    assert designed.more(table.with_columns(loss=np.where(early, 9.0, table["loss"])), **settings) == asked


def test_a_larger_budget_keeps_the_pilot_that_the_folder_was_begun_with():
    begun = designed.study(minutes=30.0).runs
    assert designed.study(minutes=60.0).runs != begun
    assert designed.study(minutes=60.0, began=30.0).runs == begun


def test_a_designed_study_that_shares_runs_with_others_sees_its_own_alone(capsys):
    """Of a benchmark's repeat: what others lost decides nothing, and no run is asked for twice."""
    asked = design_runs.Asked(5.0, 2**15)
    runs = design_runs.study(*asked, repeat=2).runs
    assert len(set(runs)) == len(runs)
    table = drawn(runs)
    pilot = designed.study(minutes=5.0, shortest=2**15, seed=1000).runs
    own = np.array([key in {(run.model.N, run.tokens, run.seed) for run in pilot} for key in design_runs._keys(table)])
    assert own.sum() == len(pilot) < len(runs)
    next_ones = design_runs.more(table, *asked, repeat=2)
    far = design_runs.held_out(asked)
    alone = designed.more(drawn(pilot), minutes=5.0, target=f"{far.N},{far.tokens}", seed=1000, shortest=2**15)
    assert next_ones == tuple(run for run in alone if run not in runs)
    others = table.with_columns(loss=np.where(own, table["loss"], 9.0))
    assert design_runs.more(others, *asked, repeat=2) == next_ones
    capsys.readouterr()


@pytest.mark.slow
def test_a_study_that_designs_itself_spends_its_budget_by_what_it_has_seen(capsys):
    """What is next follows from the table alone: the same after an interruption."""
    settings: dict[str, Any] = {"minutes": 5.0, "shortest": 2**15, "target": "1e6,2e7"}

    def spent(runs: tuple[RunConfig, ...]) -> float:
        return sum(designed.seconds(designed.Candidate(run.model.d_model, run.tokens)) for run in runs)

    runs = designed.study(**settings).runs
    assert len(runs) == 9
    assert spent(runs) <= designed.PILOT * 300
    answers = []
    while more := designed.more(drawn(runs), **settings):
        answers.append(more)
        runs = (*runs, *more)
    assert len(answers) == 2
    assert len(set(runs)) == len(runs)
    assert 0.8 * 300 < spent(runs) <= 300
    said = capsys.readouterr().err
    assert "no more runs; --set minutes=10 began=5 in the same folder goes on" in said
    larger: dict[str, Any] = {**settings, "minutes": 10.0, "began": 5.0}
    assert 0 < spent(designed.more(drawn(runs), **larger)) <= 600 - spent(runs)
    capsys.readouterr()
    halves = [float(share) for share in re.findall(r"target ± ([\d.]+) %", said)]
    assert halves == sorted(halves, reverse=True)  # narrower with each answer
    first = runs[: 9 + len(answers[0])]
    again: dict[str, Any] = {**settings, "until": halves[1] / 95}  # a little more than is printed
    assert designed.more(drawn(first), **settings) == answers[1]
    assert designed.more(drawn(first), **again) == ()
    assert "that is what was asked for" in capsys.readouterr().err
    never: dict[str, Any] = {**settings, "until": 1e-4}
    assert designed.more(drawn(first), **never)
    assert "cannot be reached with this budget" in capsys.readouterr().err
    with pytest.raises(InputError, match="no pilot"):
        designed.study(minutes=1.0)
