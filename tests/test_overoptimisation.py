"""Over-optimisation from our own runs: the best of n exactly, what was planted comes back, and what is trained."""

import dataclasses
import itertools
import math
import re

import numpy as np
import overoptimisation_records
import pytest
from scipy import integrate

from analysis.fit import fit
from analysis.laws import BestOfN, Reinforced
from analysis.papers.claim import Undecided, Verdict
from analysis.papers.overoptimisation.best_of_n import best_of, kl, kl_of_classes, weights
from analysis.papers.overoptimisation.evidence import SPARE, Overoptimisation, grid, slope_of, with_seeds
from analysis.papers.overoptimisation.figures import _form
from analysis.papers.overoptimisation.paper import PAPER
from analysis.papers.reproduction import _key, wanted
from configs.overoptimisation import budgets, experiments
from scaling import histories
from scaling.config import program
from scaling.data import pairs


def test_the_best_of_n_is_the_mean_over_all_choices_of_n_of_the_samples():
    rng = np.random.default_rng(0)
    proxy, gold = rng.standard_normal((2, 9))
    for n in (1, 3, 8, 9):
        chosen = [gold[max(some, key=lambda i: proxy[i])] for some in itertools.combinations(range(9), n)]
        assert best_of(proxy, gold, [n])[0] == pytest.approx(np.mean(chosen), rel=1e-12)


def test_of_samples_with_one_score_either_may_be_the_best():
    proxy, gold = np.array([0.0, 1.0, 1.0, 1.0]), np.array([5.0, 1.0, 2.0, 6.0])
    assert best_of(proxy, gold, [4])[0] == pytest.approx(3.0)
    # Of two of the four, every pair has one of the last three in it.
    assert best_of(proxy, gold, [2])[0] == pytest.approx(3.0)


def test_scores_as_they_are_kept_change_no_best_of_n_by_a_fiftieth_of_what_other_samples_would():
    rng = np.random.default_rng(0)
    gold = rng.standard_normal(2**15)
    score = (0.8 * gold + 0.6 * rng.standard_normal(len(gold)) + 1.0).astype(np.float32)
    kept = histories.rounded(score, histories.DIGITS["scores"])
    assert len(np.unique(kept)) < len(kept) / 3  # ties there are
    n = grid(len(gold))
    n = n[n <= len(gold) // SPARE]
    exact, found = (best_of(one, gold, n) for one in (score.astype(np.float64), kept.astype(np.float64)))
    deviation = 1 / np.sqrt(len(gold) / n)  # of a mean over so many best texts, at most
    assert (np.abs(found - exact) < deviation / 50).all()


def test_weights_of_tens_of_thousands_of_samples_are_chances():
    found = weights(2**16, [1, 16, 2**15])
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-6)


def test_the_distance_of_the_best_of_n_is_the_kl_of_its_density():
    """The best of n has the density n u^(n - 1) in the rank u."""
    for n in (2, 16, 1000):
        exact, _ = integrate.quad(lambda v, n=n: math.exp(-v) * (math.log(n) - v * (n - 1) / n), 0, 60)  # v = -n ln u
        assert kl(n) == pytest.approx(exact, abs=1e-9)
    assert kl(1) == 0


@pytest.mark.parametrize(("classes", "n", "nats"), [(10, 16, 1.733), (10, 10_000, math.log(10)), (100, 256, 4.31)])
def test_texts_that_are_drawn_again_are_nearer_than_n_says_and_no_further_than_the_best_of_them(classes, n, nats):
    found = kl_of_classes(np.full(classes, 1 / classes), n)
    assert found == pytest.approx(nats, abs=5e-3)
    assert found < kl(n)


def test_a_proxy_that_is_gold_and_noise_gives_its_correlation_of_what_it_promises():
    """And what it promises is the largest of n normal numbers: 1.766 at 16, 2.85 at 256."""
    rng = np.random.default_rng(1)
    gold, noise = rng.standard_normal((2, 2**17))
    for rho in (0.5, 0.9):
        proxy = rho * gold + math.sqrt(1 - rho**2) * noise
        for n, most in ((16, 1.766), (256, 2.825)):
            promised, found = best_of(proxy, proxy, [n])[0], best_of(proxy, gold, [n])[0]
            assert promised == pytest.approx(most, abs=0.04)
            assert found / promised == pytest.approx(rho, abs=0.03)


def test_the_laws_are_highest_where_they_say():
    for law in (BestOfN(1.2, 0.3), Reinforced(1.2, 0.5)):
        d = np.linspace(0.01, 2 * law.peak, 40_001)
        assert d[law(d).argmax()] == pytest.approx(law.peak, rel=1e-3)
    assert BestOfN(1.2, 0.3)(4.0) == pytest.approx(0)
    assert BestOfN(1.2, 0.3).height == pytest.approx(1.2**2 / 1.2)


@pytest.mark.parametrize(("law", "loss"), [(BestOfN(1.5, 0.65), "auto"), (Reinforced(0.8, 1.1), "absolute")])
def test_a_gold_reward_that_falls_below_0_is_fitted(law, loss):
    d = np.sqrt(kl(2 ** np.arange(1, 15)))
    table = {"distance": d, "gold": law(d) + 0.01 * np.random.default_rng(3).standard_normal(len(d))}
    assert table["gold"].min() < 0
    found = fit(type(law), table, loss=loss)
    assert dataclasses.astuple(found.law) == pytest.approx(dataclasses.astuple(law), abs=0.03)


@pytest.mark.parametrize("sigma", [1.0, 6.0], ids=["alike", "unlike"])
@pytest.mark.parametrize(("sizes", "seeds"), [(8, 2), (9, 3)])
def test_the_interval_of_a_slope_holds_the_slope_in_19_of_20_worlds_of_other_seeds(sizes, seeds, sigma):
    """Where seeds scatter alike at each size, and where they do so six times as far at one end."""
    rng, x, scatter = np.random.default_rng(0), np.geomspace(400, 6e4, sizes), np.geomspace(1, sigma, sizes)
    law = 0.3 * np.log(x)
    found = [with_seeds(x, list((law + scatter * rng.standard_normal((seeds, sizes))).T)) for _ in range(1000)]
    held = np.mean([low < 0.3 < high for _, (low, high) in found])
    assert 0.93 < held < 0.99
    assert np.mean([value for value, _ in found]) == pytest.approx(slope_of(x, list(law)), abs=0.1)


def test_what_seeds_share_widens_the_interval_of_a_slope_as_it_scatters():
    x, alike = np.geomspace(400, 6e4, 4), [np.array([y, y]) for y in (1.0, 2.0, 3.0, 4.0)]
    value, (low, high) = with_seeds(x, alike, variance=0.25)
    assert (value - low, high - value) == pytest.approx((0.98, 0.98), abs=1e-3)


# --- what was planted


@pytest.fixture(scope="module")
def planted():
    return overoptimisation_records.records()


@pytest.fixture(scope="module")
def evidence(planted) -> Overoptimisation:
    return Overoptimisation(planted)


@pytest.fixture(scope="module")
def honest() -> Overoptimisation:
    """Of proxies that nothing deceives."""
    return Overoptimisation(overoptimisation_records.records(baited=False))


def test_proxies_that_are_gold_and_noise_come_back_with_their_correlation(honest):
    for one in honest.judged():
        rho = overoptimisation_records.correlation(one.N, one.pairs)
        assert one.correlation == pytest.approx(rho, abs=0.02)
        n = grid(len(one.gold)) <= 256
        np.testing.assert_allclose(one.best_gold[n] / one.best_proxy[n], rho, atol=0.08)
        # Two normal scores apart by rho: right with the chance 1/2 + asin(rho) / pi.
        assert one.accuracy == pytest.approx(0.5 + math.asin(rho) / math.pi, abs=0.02)


def test_small_proxies_that_take_the_worst_for_good_turn_and_large_ones_do_not(evidence, honest):
    most = evidence.most()
    small, large = ([one for one in most if one.N == N] for N in (most[0].N, most[-1].N))
    assert all(one.law.beta > 0.2 and one.law.peak < 2 for one in small)
    assert all(one.best_gold.argmax() > len(one.best_gold) // 2 for one in large)
    assert evidence.sign(1, -1.0).verdict is Verdict.HOLDS
    assert honest.sign(0, 1.0).verdict is Verdict.HOLDS
    assert honest.slope(1).value > evidence.slope(1).value


def test_a_law_of_its_own_samples_is_drawn_around_what_it_is(evidence):
    one = evidence.most()[0]
    drawn = np.array([values[one.run][:2] for values in evidence.draws])
    for k, value in enumerate((one.law.alpha, one.law.beta)):
        assert abs(drawn[:, k].mean() - value) < drawn[:, k].std()


def test_the_interval_of_alpha_covers_other_samples_of_the_policy(planted, evidence):
    """The same proxy, asked about other texts: what differs is what the draws say differs."""
    run = planted["proxies"].configs["proxies-0"]
    other = pairs.parse(run.eval.scored[0])
    source = experiments.source(experiments.GOLD, first=other.first + 10 * other.items, items=other.items)
    worth = overoptimisation_records.gold(source, other.items)
    rng, rho = np.random.default_rng(5), overoptimisation_records.correlation(run.model.N, run.U / run.model.n_ctx)
    score = rho * worth + math.sqrt(1 - rho**2) * rng.standard_normal(len(worth))
    score[worth < np.quantile(worth, overoptimisation_records.SPIKE)] += overoptimisation_records.bait(run.model.N)
    (one,) = (one for one in evidence.proxies() if one.run == "proxies-0")
    beside = dataclasses.replace(one, score=score, gold=worth)
    scatter = np.std([values[one.run][0] for values in evidence.draws])
    assert abs(beside.law.alpha - one.law.alpha) < 4 * math.sqrt(2) * scatter


def test_a_study_whose_longest_runs_are_missing_is_drawn_of_those_that_scored_as_many_samples(planted):
    """The longest are packs of their own, and may end last."""
    records = planted["proxies"]
    tokens, N = records.runs["tokens"], records.runs["params"]
    for missing in (tokens == tokens.max(), (tokens == tokens.max()) & (N == N.max())):
        part = dataclasses.replace(records, runs=records.runs.where(~missing, "not there yet"))
        found = Overoptimisation({**planted, "proxies": part})
        assert len({len(one.gold) for one in (*found.most(), *found.largest())}) == 1
        for name in PAPER.figures:
            assert len(PAPER.draw_one(name, found).data)


def test_a_sign_is_told_only_where_the_sizes_that_the_parabola_fits_have_it_too(evidence, honest):
    missed = evidence.missed()
    assert missed == [min(one.N for one in evidence.most())]
    assert "without the sizes whose curves the parabola misses (N = 384)" in evidence.sign(1, -1.0).note
    assert not honest.missed()
    turned = dataclasses.replace(honest.most()[0])
    turned.__dict__["law"] = BestOfN(9.0, 9.0)
    found = Overoptimisation(honest.experiments)
    found.__dict__["_proxies"] = {"proxies": [turned, *honest.proxies()[1:]]}
    assert found.missed()
    told = found.sign(1, -1.0)
    assert (told.ours, told.verdict) == (None, Verdict.CANNOT_TELL)
    assert "an interval has both signs: the slope is" in told.why


def test_with_one_seed_the_slopes_are_not_known(planted):
    records = planted["proxies"]
    one = dataclasses.replace(records, runs=records.runs.where(records.runs["seed"] == 0, "another seed"))
    with pytest.raises(Undecided, match="one seed"):
        Overoptimisation({**planted, "proxies": one}).slope(0)


def test_four_epochs_that_change_nothing_change_nothing(evidence):
    assert evidence.epochs.verdict is Verdict.HOLDS


def test_proxies_of_four_epochs_and_of_one_are_judged_on_the_same_pairs(planted):
    """Proxies that all say how often the first symbol stands in a text: no luck of other pairs is left."""

    def same(records):
        texts = {id: pairs.scored(run.eval.scored[0], run.eval.scores) for id, run in records.configs.items()}
        said = {id: (of == 0).sum(-1).reshape(1, -1).astype(np.float32) for id, of in texts.items()}
        return dataclasses.replace(records, scores=said)

    found = Overoptimisation({name: same(records) for name, records in planted.items() if name != "soft"})
    assert len(found.proxies("repeated")[0].gold) < len(found.judged()[0].gold)
    assert set(found.by_epochs().values()) == {0.0}


def test_a_form_is_said_to_miss_a_fall_only_where_the_gold_reward_falls(evidence):
    first = evidence.most()[0]
    d = np.sqrt(kl(grid(len(first.gold))))
    for gold, words in ((d, "rise"), (np.minimum(d, 4 - d), "fall")):
        one = dataclasses.replace(first)
        one.__dict__["best_gold"] = gold
        assert _form([one], 0.3).endswith(words)
        assert _form([one], 0.1) == "the form holds here"


def test_no_reason_is_given_for_what_it_does_not_explain(evidence):
    """The tail makes the gold reward at large n lower, not higher; it says nothing of the slopes."""
    told = [evidence.sign(0, 1.0), evidence.sign(1, -1.0), evidence.beyond, evidence.few, evidence.epochs]
    assert [bool(claim.above) for claim in told] == [False, False, False, True, True]
    assert [bool(claim.below) for claim in told] == [False, False, True, False, False]
    fallen = dataclasses.replace(told[0], ours=-1.0, interval=(-1.0, -1.0))
    assert fallen.sentence().endswith("below the paper's 1.00.")


def test_where_noise_alone_is_selected_nothing_falls(evidence):
    assert evidence.control.verdict is Verdict.HOLDS


def test_what_is_beyond_the_law_is_judged_where_sixteen_samples_stand_for_each_text(evidence):
    """The last few of the order are chance, and drawing them again does not show the tail that none of them reached."""
    assert "16,384 samples tell of no n of 2,000 or more" in evidence.beyond.why
    few = dataclasses.replace(
        overoptimisation_records.BUDGET, widths=(4,), lengths=1, scored=2**14, control=(), repeated=(), soft=False
    )
    found = Overoptimisation(overoptimisation_records.records(few)).beyond
    assert found.note.endswith("n = 2,048")
    assert found.ours is not None
    assert found.interval is not None
    assert found.interval[0] < found.ours < found.interval[1]


def test_the_loss_with_drawn_labels_is_never_below_their_entropy_and_gold_itself_has_it(evidence):
    table, floor = evidence.soft
    assert (table["loss"] > floor).all()
    one = evidence.proxies("soft")[0]
    assert dataclasses.replace(one, score=one.gold).loss(soft=True) == pytest.approx(floor, rel=1e-9)


@pytest.mark.parametrize(("x", "y"), [(0.05, 0.1), (0.0, 0.3)])
def test_the_exponents_of_the_loss_above_its_floor_are_those_that_were_planted(planted, x, y):
    found = Overoptimisation(planted)
    table, floor = found.soft
    noise = np.exp(0.03 * np.random.default_rng(0).standard_normal(len(table)))
    above = table["params"] ** -x * (table["tokens"] / table["n_ctx"]) ** -y * noise
    found.__dict__["soft"] = table.with_columns(loss=floor + above), floor
    for claim, truth in ((found.above("size"), x), (found.above("pairs"), y)):
        assert claim.interval is not None
        low, high = claim.interval
        assert low < truth < high
        assert high - low < 0.1


def test_the_page_opens_with_how_many_proxies_are_over_optimised(evidence, honest):
    """Small ones are, by what was planted, and honest ones are not, nor those of a reward without a tail."""
    baited, without = (
        [PAPER.draw_one(name, of).findings[-1] for name in ("fig1", "fig5")] for of in (evidence, honest)
    )
    assert re.match(r"By [1-9]\d* of these \d+ proxies the gold reward of the best of n turns: ", baited[0])
    assert re.match(r"By none of these \d+ proxies .* falls by 0.3 standard deviations", without[0])
    for said in (baited[1], without[1]):
        assert said.startswith(f"Without a tail by none of these {len(evidence.most('control'))} proxies")


def test_a_policy_that_is_tilted_by_normal_scores_moves_along_them(honest):
    """exp(b z) moves a standard normal z by b, at KL b^2 / 2: the gold reward is rho sqrt(2) d."""
    one = honest.most()[-1]
    d, gold = honest.tilted(one)
    near = (d > 0.3) & (d < 1.5)
    np.testing.assert_allclose(gold[near] / d[near], math.sqrt(2) * one.correlation, atol=0.06)


@pytest.mark.parametrize("name", PAPER.figures)
def test_every_figure_has_its_points_and_says_what_it_finds(evidence, name):
    drawn = PAPER.draw_one(name, evidence)
    assert len(drawn.data)
    assert drawn.figure is not None
    assert drawn.sentences
    # Planted are too few samples for what is beyond, no runs of few pairs, and no loss that is a sum of powers.
    assert drawn.decided or name in ("fig1", "fig3", "fig4"), drawn.open


def test_without_a_run_every_figure_says_what_it_lacks():
    for name in PAPER.figures:
        assert not PAPER.draw_one(name, Overoptimisation({})).decided


# --- what is trained


@pytest.mark.parametrize("budget", budgets.BUDGETS)
def test_numbers_of_pairs_are_branches_and_programs_train_all_seeds_of_a_size_that_score_as_much(budget):
    at = budgets.named(budget)
    runs = experiments.proxies(at)
    assert len({run.unique_tokens for run in runs}) == 1
    most = max(run.tokens for run in runs)
    assert {run.tokens for run in runs} == {most // 4**n for n in range(at.lengths)}
    assert len({run.model.N for run in runs}) == len(at.widths)
    programs = {(program(run), run.model.N, run.eval.scores) for run in runs}
    assert len({one for one, *_ in programs}) == len(programs)
    judged = {(run.model.N, run.tokens) for run in runs if run.eval.scores == at.scored}
    assert {N for N, tokens in judged if tokens == most} == {run.model.N for run in runs}
    assert {tokens for N, tokens in judged if N == max(run.model.N for run in runs)} == {run.tokens for run in runs}


def test_no_run_of_one_experiment_is_taken_for_one_of_another():
    """Runs are found again in a study by all that they are but the names of texts; of pairs the name says what."""
    found = wanted("overoptimisation", "cpu-1h")
    keys = [_key(run) for run in found.study.runs]
    assert len(set(keys)) == len(keys) == sum(map(len, found.members.values()))


def test_no_pair_that_is_held_out_or_scored_is_trained_on_and_four_epochs_have_one_epoch_beside_them():
    for budget in budgets.BUDGETS.values():
        once = {(run.model.N, run.tokens) for run in experiments.proxies(budget)}
        for name, of in experiments.EXPERIMENTS.items():
            for run in of(budget):
                pairs.check(run)
                trained, (scored,) = pairs.parse(run.data.source), run.eval.scored
                assert trained.first + trained.items <= pairs.parse(run.data.validation).first
                assert trained.first + trained.items <= pairs.parse(scored).first
                if name == "repeated":
                    assert run.tokens == 4 * run.U
                    assert (run.model.N, run.U) in once
