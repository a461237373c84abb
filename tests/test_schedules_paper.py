"""Schedules from our own runs: known laws come back through the page, and the public curves give the printed errors."""

import dataclasses

import numpy as np
import pytest
import schedule_records
from schedule_records import FLOOR, TRUTH
from test_schedule_laws import EXACT, FITTED, PREDICTED, rates, summed

from analysis.laws.schedules import Luo, of_schedules
from analysis.load import load
from analysis.papers import page
from analysis.papers.claim import Claim, Verdict
from analysis.papers.evidence import split
from analysis.papers.schedules import collapse, unseen
from analysis.papers.schedules.evidence import LAWS, Schedules
from analysis.papers.schedules.figures import PUBLIC
from analysis.papers.schedules.paper import PAPER
from analysis.schedule_forecast import Curve
from configs.chinchilla import budgets as chinchilla_budgets
from configs.chinchilla import experiments as chinchilla
from configs.schedules import budgets, experiments
from configs.schedules.experiments import CYCLES, GENTLE, SCHEDULES, SHARES, SLOW
from scaling import calibration, packs
from scaling.errors import InputError

MADE = page.Made("cpu-1h", "scaling reproduce schedules", "synthetic", 80)


def evidence_of(budget: str) -> Schedules:
    return Schedules({name: schedule_records.experiment(name, budget) for name in experiments.EXPERIMENTS})


@pytest.fixture(scope="module")
def evidence():
    return evidence_of("cpu-1h")


@pytest.fixture(scope="module")
def drawn(evidence):
    return {name: PAPER.draw_one(name, evidence) for name in PAPER.figures}


def change(config, than):
    """Of ln loss at the end of one run against another's, by the known law."""
    return float(np.log(schedule_records.under(config, [config.steps]) / schedule_records.under(than, [than.steps]))[0])


# --- a known law comes back through the page's own path


def test_three_schedules_give_the_law_that_six_others_follow(evidence):
    for errors in evidence.errors("tissue"):
        assert errors.relative < 1e-3  # luck moves each run by 3e-4
        assert errors.R2 > 0.999
    assert np.abs(evidence.ends("tissue")).max() < 2e-3
    claim = evidence.error("luo", "relative", 0.0011, 0.003)
    assert claim.ours < 2e-3  # another law, but one that comes near
    for claim in evidence.constants("tissue"):
        low, high = claim.interval
        assert low < getattr(TRUTH, claim.name.partition(",")[0]) < high


def test_differences_of_cooldowns_and_long_cosines_are_those_of_the_law(evidence):
    nine, gentle = (evidence.experiments[name].configs for name in ("nine", "gentle"))
    cosine = next(run for run in nine.values() if run.optim.schedule == "cosine")
    for share, found in zip(SHARES, evidence.cooldowns[GENTLE].mean(axis=0), strict=True):
        run = next(run for run in gentle.values() if run.optim.decay == share)
        assert found == pytest.approx(change(run, cosine), abs=1e-3)
    for experiment, factor in (("cycle", 1.0), ("slow", SLOW)):
        found = evidence.cosines(experiment)
        assert found.rate == pytest.approx(factor * cosine.optim.learning_rate)
        for length, loss in zip(CYCLES, found.ln_loss.mean(axis=0), strict=True):
            run = experiments.cosine(budgets.named("cpu-1h"), length, 0, factor)
            by_law = np.log(schedule_records.under(run, [cosine.steps])) - np.log(
                schedule_records.under(experiments.cosine(budgets.named("cpu-1h"), 1.0, 0, factor), [cosine.steps])
            )
            assert loss - found.ln_loss[:, 0].mean() == pytest.approx(float(by_law[0]), abs=1.5e-3)


def test_the_law_of_one_rate_and_length_is_drawn_through_cosines_of_another(evidence):
    run = experiments.cosine(budgets.named("cpu-1h"), 2.0, 0, SLOW)
    shape = schedule_records.rates(run)
    wanted = float(np.log(unseen.losses(TRUTH, shape, [1000.0]))[0])
    assert evidence.predicted("tissue", shape, 1000) == pytest.approx(wanted, abs=5e-3)


def test_every_figure_has_its_points_and_its_finding_and_all_of_them_are_on_the_page(drawn, evidence, tmp_path):
    for name, one in drawn.items():
        assert (one.figure is None) == name.startswith("table")
        assert len(one.data) >= 9
        assert one.sentences
        assert one.decided
    path = page.write(tmp_path, PAPER, list(drawn.values()), evidence.experiments, MADE)
    text = path.read_text(encoding="utf-8")
    assert all(entry.title.partition(":")[0] in text for entry in PAPER.figures.values())
    claims = {claim.label: claim.verdict for one in drawn.values() for claim in one.claims}
    assert set(PAPER.summary.claims) <= set(claims)
    assert Verdict.CANNOT_TELL not in {claims[label] for label in PAPER.summary.claims}


def test_a_tiny_budget_is_drawn_as_far_as_it_goes_and_without_runs_everything_is_open():
    tiny = evidence_of("tiny")
    assert PAPER.draw_one("fig2", tiny).figure is not None
    assert "2 seeds have" in " ".join(PAPER.draw_one("fig3", tiny).open)  # an interval wants three
    assert "at the tuned rate and at 0.25 of it" in PAPER.draw_one("fig3", tiny).caption
    assert PAPER.draw_one("fig4", tiny).open  # two of its sizes use no context by a quarter of their runs
    for name in PAPER.figures:
        assert PAPER.draw_one(name, Schedules({})).open


def test_an_interval_over_seeds_is_of_a_positive_number_and_wants_three():
    """By hand for ln of 1, e and e^2: 1 ± t(2) / sqrt(3), t = 4.303."""
    claim, none = Claim("error", "here", None, enough=10.0), Schedules({})
    found = none._of_seeds(claim, np.exp([0.0, 1.0, 2.0]))
    assert found.ours == pytest.approx(np.e)
    assert found.interval == pytest.approx(np.exp(1 + np.array([-1, 1]) * 4.3027 / np.sqrt(3)), rel=1e-4)
    assert "2 seeds have 0.0027 and 0.0020; 3 are wanted" in none._of_seeds(claim, np.array([0.0027, 0.002])).doubt


def test_a_caption_names_what_is_there(evidence):
    """Without the runs at a quarter of the rate, that of Figure 3 is silent about them."""
    there = Schedules({name: own for name, own in evidence.experiments.items() if name != "slow"})
    there._known.update(evidence._known)
    drawn = PAPER.draw_one("fig3", there)
    assert "own length, at the tuned rate." in drawn.caption
    assert "0.25" not in drawn.caption


def test_with_one_seed_nothing_is_said_of_floors_nor_of_what_three_schedules_do_not_tell(evidence, drawn):
    every = " ".join(drawn["table2"].sentences)
    assert "The floor L_0 depends on the law: " in every
    assert "undecided" not in every
    nine = evidence.experiments["nine"]
    ids = [id for id, run in nine.configs.items() if run.seed == evidence.seeds[0]]
    alone = Schedules(split(nine, {"nine": ids}))
    alone._known.update({law: found[:1] for law, found in evidence._known.items()})
    one = PAPER.draw_one("table2", alone)
    assert all("3 are wanted for an interval" in claim.why or "at the edge" in claim.why for claim in one.claims)
    assert "floor" not in " ".join(one.sentences)
    told = [name for law in LAWS for name in alone.at_edge(law)]
    assert len(one.sentences) == bool(told)
    assert all(name in one.sentences[0] for name in told)


# --- one curve for all sizes


def curves(params):
    """Runs that collapse above the floor but for a little luck in how fast each falls."""
    share, rng = np.unique(np.geomspace(20, 2000, 60).round()) / 2000, np.random.default_rng(0)
    falls = -0.4 + 2e-3 * rng.normal(size=len(params))
    each = [FLOOR + (n / 1e4) ** -0.3 * (0.4 + 0.6 * share**fall) for n, fall in zip(params, falls, strict=True)]
    return [Curve(f"{n:g}", 2000 * share, loss, np.ones(2000)) for n, loss in zip(params, each, strict=True)]


def test_curves_that_collapse_do_so_at_their_floor_and_at_no_other():
    params = np.repeat([1e4, 3e4, 9e4, 2.7e5], 2)
    each = curves(params)
    ends = np.array([curve.loss[-1] for curve in each])
    assert collapse.asymptote(params**2, ends) == pytest.approx(FLOOR, abs=5e-3)
    assert collapse.closest(each, params).floor == pytest.approx(FLOOR, abs=0.05)
    right, wrong = (collapse.of(each, params, floor) for floor in (FLOOR, FLOOR - 0.5))
    assert right.ratio < 2 < 10 < wrong.ratio
    assert not len(right.left)


def test_curves_of_sizes_collapse_where_their_lengths_are_the_best_and_not_at_one_length():
    """Of L(N, D) = E + A N^-a + B D^-b the share of either term at D ~ N^(a/b) is the same for all sizes."""
    a, b, share = 0.35, 0.3, np.unique(np.geomspace(20, 2000, 60).round()) / 2000
    params, rng = np.repeat([1e4, 3e4, 9e4, 2.7e5], 2), np.random.default_rng(0)

    def under(lengths):
        each = [
            FLOOR + (300 * n**-a + 100 * (D * share) ** -b) * np.exp(5e-4 * rng.normal() * (1 - share))
            for n, D in zip(params, lengths, strict=True)
        ]
        return [Curve("", 2000 * share, loss, np.ones(2000)) for loss in each]

    best, equal, short = (
        collapse.of(under(1e6 * (params / 1e4) ** power), params, FLOOR).ratio for power in (a / b, 0.0, 0.7)
    )
    assert best < 3
    assert min(equal, short) > 10 * best


def test_the_page_names_the_run_that_leaves_the_others_and_no_other():
    """The only run of the largest size, whose loss fell late."""
    whole = schedule_records.experiment("collapse", "cpu-6h")
    largest = whole.runs["run"][int(np.argmax(whole.runs["params"]))]
    assert np.sum(whole.runs["params"] == whole.runs["params"].max()) == 1
    curves = whole.curves
    late = (curves["run"] == largest) & (curves["step"] < 0.5 * curves["steps"])
    odd = dataclasses.replace(whole, curves=curves.with_columns(loss=curves["loss"] * np.where(late, 1.02, 1.0)))
    said = {
        name: " ".join(PAPER.draw_one("fig4", Schedules({"collapse": records})).sentences)
        for name, records in (("as drawn", whole), ("odd", odd))
    }
    assert "No run leaves it" in said["as drawn"]
    named = said["odd"].partition("These leave it, by over four times that: ")[2].partition(").")[0]
    assert [run for run in whole.runs["run"] if run in named] == [largest]


# --- what is trained


def test_cosines_and_sizes_of_six_hours_are_runs_of_chinchilla_at_a_day():
    known = set(chinchilla.study("cpu-24h", rates="english").runs)
    at = budgets.named("cpu-6h", rates="english")
    assert set(experiments.EXPERIMENTS["cycle"](at)) | set(experiments.collapse(at)) <= known
    nine = experiments.nine(at)
    assert len(nine) == 3 * len(SCHEDULES) == len(set(nine))
    assert sum(run in known for run in nine) == 3  # the cosines
    assert len({packs.trunk(run) for run in nine}) == 4  # a trunk for each seed; constant, linear and cosine have none


def test_a_budget_is_kept_and_experiments_can_be_trained_by_themselves():
    for budget, hours in (("tiny", 0.05), ("cpu-1h", 1.0), ("cpu-6h", 6.0)):
        assert calibration.seconds(experiments.study(budget).runs, workers=1) < 3600 * hours
    assert set(experiments.study(only=("nine",)).runs) < set(experiments.study().runs)
    with pytest.raises(InputError, match="experiment 'ten': wanted one of nine, gentle"):
        experiments.study(only=("ten",))
    assert set(budgets.BUDGETS) <= {*chinchilla_budgets.BUDGETS, "cpu-6h"}


# --- the public curves, through the same functions


@pytest.mark.slow
@pytest.mark.parametrize(("size", "fitted"), [(25, 1.38e-4), (100, 2.1e-5), (400, 7.9e-5)])
def test_the_public_curves_give_the_errors_of_the_table(shared, size, fitted):
    """And the sums known of a refitted multi-power law to a tenth: ours is fitted to 60 points of a curve."""
    folder = shared / "reference_runs" / "luo2025_loss_curves"
    tables = {name: load(folder / f"{size}_{name}.csv") for name in (*FITTED, *PREDICTED)}
    known = {name: Curve(name, one["step"], one["loss"], rates(name)) for name, one in tables.items()}
    for law in LAWS:
        found = unseen.known(law, [known[name] for name in FITTED])
        errors = unseen.errors(found, [known[name] for name in PREDICTED])
        np.testing.assert_allclose(errors, PUBLIC[law, f"here, {size}M"], rtol=0.02, atol=2e-5, err_msg=law)
        if law == "luo":
            refitted = of_schedules(Luo, EXACT)(**{c.name: getattr(found, c.name) for c in found.constants()})
            curves = {(size, name): table for name, table in tables.items()}
            assert summed(refitted, curves, size) == pytest.approx(fitted, rel=0.1)
