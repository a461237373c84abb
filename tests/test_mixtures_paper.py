"""Mixtures of texts from our own runs: a planted law comes back through the page's own path, and what is trained."""

import dataclasses
import re
import zlib
from collections.abc import Iterable

import numpy as np
import pytest

from analysis.mixtures import laws
from analysis.papers.claim import Undecided, Verdict
from analysis.papers.evidence import split
from analysis.papers.mixtures.evidence import Mixtures, short
from analysis.papers.mixtures.paper import PAPER
from analysis.papers.mixtures.proposed import ALIKE, REPEATED, short_parts
from analysis.papers.reproduction import planned_row
from analysis.records import Records
from analysis.table import Table
from configs.mixtures import budgets, experiments
from scaling.config import RunConfig
from scaling.data import mixture
from scaling.errors import InputError

NOISE = 0.002  # of a loss
WORN = np.array([[0.1, 0.3, 0.3], [0.2, 2.4, 0.3], [0.2, 0.3, 2.0]])  # of it in what repeats lack of new text
SLOPES = np.array([[-1.5, -0.1, 0.1], [0.0, -1.2, 0.2], [0.1, 0.0, -0.9]])  # of ln(loss - floor) in the shares


def losses(shares: np.ndarray, N: float, most: tuple[int | None, ...] = (), D: float = 2**20) -> np.ndarray:
    """Of each domain, by the exponential law of Ye et al. (2024); larger models are better on all alike.

    Args:
        most: tokens that there are of each part, which repeat then.
    """
    there = most or [None] * len(shares)
    worn = np.array([laws.worn(share, m / D) if m else 0.0 for share, m in zip(shares, there, strict=True)])
    return (N / 24576) ** -0.05 * (1.5 + 2.0 * np.exp(SLOPES @ shares + WORN @ worn))


def row(run: RunConfig) -> dict:
    """What a run leaves behind that follows the law, with noise."""
    parts = mixture.parse(run.data.source)
    luck = np.random.default_rng(zlib.crc32(f"{run.data.source} {run.model.N} {run.seed}".encode()))
    each = losses(np.array([part.share for part in parts]), run.model.N, tuple(part.most for part in parts), run.tokens)
    each = each * np.exp(NOISE * luck.standard_normal(len(each)))
    return {
        **planned_row(run).row,
        "run": f"{run.data.source} {run.model.N} {run.seed}",
        "status": "done",
        "loss": float(each.mean()),
        "data": run.data.source,
        **{f"share_{part}": part.share for part in parts},
        **{f"loss_on_{text}": loss for text, loss in zip(run.eval.transfer, each, strict=True)},
    }


def table(runs: Iterable[RunConfig]) -> Table:
    """As of a study: a share that a run has not is none."""
    found = Table.from_rows([row(run) for run in dict.fromkeys(runs)], "planted")
    columns = {k: np.nan_to_num(v) if k.startswith("share_") else v for k, v in found.columns.items()}
    return dataclasses.replace(found, columns=columns)


def records(budget: str = "cpu-1h") -> dict[str, Records]:
    at = budgets.named(budget)
    members = {name: of(at) for name, of in experiments.EXPERIMENTS.items()}
    members = experiments.grown(at, table(run for runs in members.values() for run in runs))
    every = table(run for runs in members.values() for run in runs)
    empty = Table({"run": np.array([], str), "step": np.array([])}, np.arange(0), "planted")
    whole = Records(every, empty, empty, (), {})
    return dict(split(whole, {name: {row(run)["run"] for run in runs} for name, runs in members.items()}))


@pytest.fixture(scope="module")
def evidence() -> Mixtures:
    return Mixtures(records())


def test_the_law_that_was_planted_orders_mixtures_best_and_its_intervals_hold(evidence):
    exponential, linear = (evidence.rank(law) for law in ("exponential", "linear"))
    assert linear.ours < exponential.ours == pytest.approx(1, abs=0.02)
    assert linear.verdict is Verdict.DIFFERS  # better than on the paper's thirteen domains
    assert evidence.fit.verdict().laws[0] == "exponential"
    low, high = evidence.covered.interval
    assert low < 0.95 <= high


def test_models_that_differ_by_a_factor_order_mixtures_alike(evidence):
    assert evidence.scales.ours == pytest.approx(1, abs=0.03)
    assert evidence.scales.interval[1] <= 1


def test_the_best_mixture_for_a_domain_is_the_planted_one(evidence):
    for d, domain in enumerate(evidence.domains):
        best = evidence.proposals[domain].best
        assert np.argmax(best.shares) == d
        grid = np.random.default_rng(0).dirichlet(np.ones(3), 5000)
        lowest = min(losses(shares, 24576)[d] for shares in grid)
        assert losses(best.shares, 24576)[d] == pytest.approx(lowest, abs=0.03)


def test_every_figure_has_its_points_and_its_finding(evidence):
    drawn = {name: PAPER.draw_one(name, evidence) for name in PAPER.figures}
    assert all(len(one.data) for one in drawn.values())
    for name in ("fig1", "fig2", "fig3", "fig4", "fig5"):
        assert all(drawn[name].missing.values()), drawn[name].open  # nothing for the whole figure
        assert drawn[name].figure is not None
        assert drawn[name].sentences
    assert list(drawn["fig2"].data) == ["target", *(f"share_{part}" for part in evidence.fit.runs.parts)]
    inside, prices, promised = (text for one in drawn.values() for text in one.findings)
    assert "of 36 losses on 12 mixtures that were not fitted" in inside
    assert re.search(r"larger ones at most \S+ \(12 mixtures\) and small ones with repeats at most \S+ \(36", prices)
    assert re.search(r"of 10 trained proposals lie inside .*; for all alike, of ample text .*; where parts", promised)


def test_a_price_of_none_holds_only_where_it_is_below_what_decides(evidence):
    claim = evidence.choice("small", "large")
    ends = {0.009: Verdict.HOLDS, 0.011: Verdict.CANNOT_TELL}
    for high, verdict in ends.items():
        assert dataclasses.replace(claim, ours=0.0, interval=(0.0, high)).verdict is verdict


def test_ample_text_is_set_beside_repeats_by_the_same_mixtures(evidence):
    assert evidence.whole_of_repeats is evidence.whole
    few, runs = Mixtures(evidence.experiments), evidence.repeats.runs
    some = dataclasses.replace(
        runs,
        shares=runs.shares[5:25],
        losses=runs.losses[5:25],
        scales={name: x[5:25] for name, x in runs.scales.items()},
    )
    few.whole, few.repeats = evidence.whole, dataclasses.replace(evidence.repeats, runs=some)
    np.testing.assert_allclose(few.whole_of_repeats.runs.shares, some.shares, atol=1e-6)
    np.testing.assert_array_equal(few.whole_of_repeats.runs.losses, evidence.whole.runs.losses[5:25])


def test_proposals_that_are_one_mixture_have_no_price(evidence):
    same = Mixtures(evidence.experiments)
    same.repeats, same.proposals = evidence.repeats, evidence.where_parts_repeat
    same.where_parts_repeat = evidence.where_parts_repeat
    with pytest.raises(Undecided, match="the same mixture"):
        same.measured_price()


def test_where_parts_repeat_the_law_of_repeats_is_believed_and_the_best_mixture_has_less_of_them(evidence):
    fit = evidence.repeats
    assert len(short_parts(fit)) == 2
    assert fit.verdict(np.ones(3)).laws[0] == REPEATED
    assert REPEATED in evidence.whole.unscored
    grid = np.random.default_rng(0).dirichlet(np.ones(3), 5000)
    most = (None, *[2**20 // 24] * 2)
    for target, domains in {ALIKE: [0, 1, 2], fit.runs.domains[1]: [1]}.items():
        best = min(losses(shares, 24576, most)[domains].mean() for shares in grid)
        there, ample = (
            losses(found[target].best.shares, 24576, most)[domains].mean()
            for found in (evidence.where_parts_repeat, evidence.proposals)
        )
        assert there == pytest.approx(best, abs=0.01)
        _, low, high = evidence.price(target)
        assert low <= ample - there + 1e-3
        assert ample - there - 1e-3 <= high
        assert evidence.measured_price(target)[0] == pytest.approx(ample - there, rel=0.15, abs=0.02)
    assert evidence.price(fit.runs.domains[1])[1] > 0.1  # nothing but that part would be read 24 times
    assert evidence.moved.verdict is Verdict.DIFFERS


def test_proposals_that_are_trained_keep_their_promises_where_the_law_is_true(evidence):
    assert len(evidence.trained) == 4 + 3 * 2
    assert sum(one.inside[0] for one in evidence.trained) >= 9
    assert evidence.kept.ours >= 0.9
    for one in evidence.trained:
        for rival in one.gains:
            value, low, high = evidence.gained(one, rival)
            promised = one.gains[rival][0]
            assert low <= value <= high
            assert value == pytest.approx(promised[0], abs=0.03)


def test_a_price_is_none_where_nothing_moves(evidence):
    assert evidence.choice("small", "large").ours == pytest.approx(0, abs=0.01)
    assert evidence.order("repeated", "repeated_large").ours > evidence.order("small", "repeated_large").ours


def test_what_is_proposed_is_trained_once_and_only_after_all_mixtures():
    at = budgets.named("cpu-1h")
    first = [run for of in experiments.EXPERIMENTS.values() for run in of(at)]
    some = experiments.grown(at, table([*experiments.small(at), *experiments.repeated(at)[1:]]))
    assert not some["proposed_repeated"]
    assert not experiments.grown(at, table(experiments.small(at)[1:]))["proposed"]
    found = experiments.grown(at, table(first))
    assert found["proposed"] == some["proposed"]
    wanted = dict.fromkeys([*first, *found["proposed"], *found["proposed_repeated"]])
    again = experiments.grown(at, table(wanted))
    assert all(again[name] == found[name] for name in experiments.EXPERIMENTS)
    larger = [run for run in found["proposed_repeated"] if run.model.N == experiments.GRID.model(at.large).N]
    assert len({run.data.source for run in larger}) == len(larger) == 4
    assert min(part.share for run in wanted for part in mixture.parse(run.data.source)) > 0.005


@pytest.mark.parametrize("budget", budgets.BUDGETS)
def test_short_parts_are_read_so_often_at_equal_shares(budget):
    at = budgets.named(budget)
    for ample, repeated in zip(experiments.small(at), experiments.repeated(at), strict=True):
        before, after = (mixture.parse(run.data.source) for run in (ample, repeated))
        assert [part.share for part in after] == pytest.approx([part.share for part in before])
        assert sum(part.most is not None for part in after) == at.scarce
        for part in after[-at.scarce :]:
            assert 2**at.tokens / len(after) / part.most == pytest.approx(at.repeats, rel=1e-3)


@pytest.mark.parametrize("budget", budgets.BUDGETS)
def test_shares_are_drawn_from_all_mixtures_and_the_last_are_trained_again(budget):
    at = budgets.named(budget)
    sources = experiments.mixtures(at)
    shares = np.array([[part.share for part in mixture.parse(source)] for source in sources])
    assert len(set(sources)) == len(sources) == at.mixtures
    assert sources[0] == at.source
    assert shares.min() >= experiments.LEAST - 1 / experiments.WHOLE
    assert {run.data.source for run in experiments.large(at)} == set(sources[-at.held :])
    assert len({run.eval.transfer for of in experiments.EXPERIMENTS.values() for run in of(at)}) == 1


def test_one_text_is_no_mixture():
    with pytest.raises(InputError, match=re.escape("python: wanted several texts")):
        experiments.study("tiny", source="python")


def test_names_of_texts_are_short():
    assert short("text:../shared/verse/train-*.jsonl.gz") == "verse"
    assert short("synthetic:order=2") == "order=2"
    assert short("python") == "python"
