"""The line at the terminal: what share is done, and how long the rest will take."""

import contextlib
import os
import socket

import pytest

from scaling import claims, folders, status, study, workers
from scaling.config import DataConfig, EvalConfig, RunConfig, Study
from scaling.ladder import transformer
from scaling.progress_bar import Bar

pytestmark = pytest.mark.usefixtures("cache")

MODEL = transformer(8, 1, d_head=8, n_vocab=257, n_ctx=16)
RUNS = tuple(
    RunConfig(
        MODEL,
        tokens=64 * steps,
        batch=4,
        data=DataConfig("synthetic:order=1,symbols=8,bytes=1e6", "bytes"),
        eval=EvalConfig(windows=4),
    )
    for steps in (4, 1000, 4000)
)


@pytest.fixture
def whole(tmp_path) -> study.StudyFolder:
    return study.prepare(Study("s", "?", RUNS), tmp_path / "s", workers=1, say=lambda line: None)


def test_nothing_to_do_is_all_of_it_done(whole):
    outcome = workers.run(whole, packs=[], say=pytest.fail)
    assert (outcome.exit_code, outcome.finished) == (0, 0)
    Bar(whole, []).draw(force=True)


def test_a_small_pack_that_took_long_to_begin_says_little_about_the_rest(whole):
    bar = Bar(whole, whole.packs)
    small = min(whole.packs, key=lambda pack: pack.steps)
    predicted = bar.left(bar.began)
    bar.done[small.id] = 1.0
    started = 15.0  # seconds until the worker was there and its program compiled
    assert bar.left(bar.began + started) < 3 * predicted + started
    share = bar._share()
    assert share < 0.2  # at its pace the rest would take minutes
    assert (1 - share) / share * started > 3 * predicted + started


def test_in_the_end_the_time_left_is_by_the_pace(whole):
    bar = Bar(whole, whole.packs)
    bar.predicted = 1e6
    for pack in whole.packs:
        bar.done[pack.id] = 0.5
    assert bar.left(bar.began + 60) == pytest.approx(60)
    bar.done |= dict.fromkeys(bar.done, 1.0)
    assert bar.left(bar.began + 60) == 0


def test_a_few_small_packs_that_compiled_correct_the_time_left_but_little(whole):
    """A pack of 4 updates took 12 seconds, nearly all of them compiling: the rest does not take 20 times as long."""
    before = status.of(whole).left
    small = min(whole.packs, key=lambda pack: pack.steps)
    folder = whole.claims(small) / "000001"
    folder.mkdir(parents=True)
    (whole.claims(small) / "claim-000001").write_text("{}")
    (folder / "checkpoints" / "4").mkdir(parents=True)
    done = {"steps": [4], "seconds": 12.0, "status": ["done"], "loss": [5.0]}
    folders.write_json(folder / "done.json", done)
    assert status.of(whole).counts == {"done": 1, "waiting": 2}
    assert 0.5 * before < status.of(whole).left < 2 * before


def test_waiting_for_others_is_told_once_and_says_for_whom(whole):
    said = []
    crew = workers.Crew(whole, whole.packs, False, False, said.append)
    with contextlib.ExitStack() as others:
        for pack in whole.packs:
            claim = claims.take(whole.claims(pack))
            assert claim
            others.enter_context(claim)
        crew.held, crew.waiting = {pack.id: pack for pack in whole.packs}, []
        crew._tick()
        crew._tick()
        where = f"process {os.getpid()} on {socket.gethostname()}"
        assert said == [f"3 packs are trained by others, {whole.packs[0].id} by {where}; waiting for the end"]
