"""Which run is in which lane when: a function of the configs alone."""

import dataclasses
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling import packs
from scaling.config import OptimConfig, RunConfig
from scaling.ladder import transformer

B = 4 * 16  # tokens per update
RUN = RunConfig(transformer(8, 1, d_head=4, n_vocab=32, n_ctx=16), tokens=100 * B, batch=4)
WSD = dataclasses.replace(
    RUN, unique_tokens=1000 * B, optim=OptimConfig(schedule="wsd", decay=0.2, warmup_tokens=3 * B)
)


def lengths(run: RunConfig, *steps: int, **fields) -> list[RunConfig]:
    return [dataclasses.replace(run, tokens=n * B, **fields) for n in steps]


def owners(runs) -> list[tuple[int, int, list[tuple[int, ...]]]]:
    return [(s.begin, s.end, [lane.runs for lane in s.lanes]) for s in packs.segments(runs)]


def test_runs_of_one_length_are_one_segment_with_a_lane_each():
    for n in (1, 2, 3, 5, 8):
        runs = [dataclasses.replace(RUN, seed=seed) for seed in range(n)]
        assert owners(runs) == [(0, 100, [(r,) for r in range(n)])]
        assert packs.updates(runs) == 100 * n


def test_a_pack_shrinks_by_powers_of_two_as_its_runs_end():
    runs = lengths(RUN, 80, 10, 40, 20, 5)
    assert owners(runs) == [
        (0, 5, [(0,), (1,), (2,), (3,), (4,)]),
        (5, 10, [(0,), (1,), (2,), (3,)]),
        (10, 20, [(0,), (2,), (3,), ()]),
        (20, 40, [(0,), (2,)]),
        (40, 80, [(0,)]),
    ]
    assert packs.updates(runs) == 5 * 5 + 5 * 4 + 10 * 4 + 20 * 2 + 40
    assert packs.updates(runs, 12) == 5 * 5 + 5 * 4 + 2 * 4
    assert packs.trained(runs, 12) == [12, 10, 12, 12, 5]


def test_a_trunk_is_one_lane_that_forks_where_each_run_cools_down():
    runs = lengths(WSD, 20, 40, 80)  # cooldowns begin after 16, 32 and 64
    assert owners(runs) == [
        (0, 16, [(2, 1, 0)]),
        (16, 20, [(0,), (2, 1)]),
        (20, 32, [(2, 1)]),
        (32, 40, [(1,), (2,)]),
        (40, 80, [(2,)]),
    ]
    assert [[lane.parent for lane in s.lanes] for s in packs.segments(runs)] == [[0], [0, 0], [1], [0, 0], [1]]
    assert [[lane.like for lane in s.lanes] for s in packs.segments(runs)] == [[2], [0, 2], [2], [1, 2], [2]]
    assert packs.updates(runs) == 80 + 4 + 8
    assert packs.trained(runs, 80) == pytest.approx([16 / 3 + 4, 16 / 3 + 16 / 2 + 8, 16 / 3 + 16 / 2 + 48])


def test_runs_share_a_trunk_only_if_all_before_the_cooldown_is_equal():
    key = packs.trunk(WSD)
    assert key is not None
    hash(key)
    optim = WSD.optim
    same = [
        dataclasses.replace(WSD, tokens=200 * B),
        dataclasses.replace(WSD, tokens=50 * B, optim=dataclasses.replace(optim, decay=0.5)),
        dataclasses.replace(WSD, optim=dataclasses.replace(optim, warmup_tokens=None, warmup=0.03)),
    ]
    assert {packs.trunk(run) for run in same} == {key}
    other = [
        dataclasses.replace(WSD, seed=1),
        dataclasses.replace(WSD, batch=5),
        dataclasses.replace(WSD, unique_tokens=500 * B),
        dataclasses.replace(WSD, tokens=200 * B, unique_tokens=None),
        dataclasses.replace(WSD, eval=dataclasses.replace(WSD.eval, noise=1)),
        dataclasses.replace(WSD, optim=dataclasses.replace(optim, learning_rate=2e-3)),
        dataclasses.replace(WSD, optim=dataclasses.replace(optim, warmup_tokens=4 * B)),
        dataclasses.replace(WSD, optim=dataclasses.replace(optim, optimizer="adamw", weight_decay=0.1)),
    ]
    assert key not in {packs.trunk(run) for run in other}
    for schedule in ("cosine", "linear", "constant"):
        assert packs.trunk(dataclasses.replace(WSD, optim=OptimConfig(schedule=schedule))) is None


@st.composite
def mixed(draw) -> list[RunConfig]:
    """Runs of several lengths, on trunks and not."""

    def run(steps: int, seed: int, schedule, decay: float) -> RunConfig:
        optim = OptimConfig(schedule=schedule, warmup_tokens=0)
        if schedule != "cosine":
            optim = dataclasses.replace(optim, decay=decay)
        return dataclasses.replace(WSD, tokens=steps * B, seed=seed, optim=optim)

    one = st.builds(
        run,
        st.integers(1, 60),
        st.integers(0, 1),
        st.sampled_from(("wsd", "two_stage", "cosine")),
        st.sampled_from((0.1, 0.5, 1.0)),
    )
    return draw(st.lists(one, min_size=1, max_size=9))


@given(mixed())
def test_each_run_is_in_one_lane_of_its_own_history_from_its_first_update_to_its_last(runs):
    plan = packs.segments(runs)
    assert plan[0].begin == 0
    assert plan[-1].end == max(run.steps for run in runs)
    for before, after in itertools.pairwise(plan):
        assert before.end == after.begin
    for r, run in enumerate(runs):
        place = None
        for segment in plan:
            found = [i for i, lane in enumerate(segment.lanes) if r in lane.runs]
            assert len(found) == (segment.begin < run.steps)
            if not found:
                continue
            assert segment.end <= run.steps  # a run does not end within a segment
            lane = segment.lanes[found[0]]
            if place is not None:
                assert lane.parent == place
            place = found[0]
            if lane.like != r:  # on a trunk with another one
                assert packs.trunk(runs[lane.like]) == packs.trunk(run) is not None
                assert segment.end <= run.steps - run.decay_steps
                assert segment.end <= runs[lane.like].steps - runs[lane.like].decay_steps


@given(mixed())
def test_a_pack_needs_few_programs_and_its_lanes_are_never_twice_those_in_use(runs):
    plan = packs.segments(runs)
    sizes = {len(segment.lanes) for segment in plan}
    assert len(sizes) <= max(sizes).bit_length() + 1
    for segment in plan:
        used = sum(bool(lane.runs) for lane in segment.lanes)
        assert used <= len(segment.lanes) < 2 * used
        for lane in segment.lanes:
            assert segment.end <= runs[lane.like].steps


@given(mixed(), st.integers(0, 70))
def test_what_is_computed_adds_up(runs, done):
    plan = packs.segments(runs)
    idle = sum(sum(not lane.runs for lane in s.lanes) * max(0, min(s.end, done) - s.begin) for s in plan)
    assert sum(packs.trained(runs, done)) + idle == pytest.approx(packs.updates(runs, done))
    whole = packs.updates(runs)
    assert packs.updates(runs, plan[-1].end) == whole
    assert packs.updates(runs, 10**9) == whole
    segment = packs.at(plan, min(done, plan[-1].end))
    assert segment.begin <= done or segment is plan[0]
