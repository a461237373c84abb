"""How the time of a study was spent, from what its sessions wrote down."""

import dataclasses
import json

import numpy as np
import pytest

from scaling import claims, goodput, train


def session(began: float, seconds: float, **causes: float) -> dict[str, float]:
    return {"began": began, "seconds": seconds, **dict.fromkeys(goodput.MEASURED, 0.0), **causes}


def test_what_is_not_start_restore_compile_or_save_is_training():
    found = goodput.spent({1: session(1000, 100, start=10, compile=20, save=5)}, [])
    assert found == {"start": 10, "restore": 0, "compile": 20, "save": 5, "train": 65, "lost": 0, "idle": 0}
    whole = goodput.Goodput(found)
    assert whole.share == 0.65
    assert f"{whole}" == "goodput 65.0% (compile 20.0%, start 10.0%, save 5.0%)"


def test_work_since_the_last_checkpoint_of_a_killed_session_is_lost_and_then_the_pack_is_idle():
    first, second = session(1000, 100), session(1160, 40, restore=4)
    held = [(1, 1000, 1130), (2, 1160, 1200)]
    found = goodput.spent({1: first, 2: second}, held)
    assert (found["train"], found["lost"], found["idle"]) == (100 + 36, 30, 30)


def test_all_of_a_session_that_came_to_no_checkpoint_is_lost():
    found = goodput.spent({2: session(1100, 40)}, [(1, 1000, 1090), (2, 1100, 1140)])
    assert (found["train"], found["lost"], found["idle"]) == (40, 90, 10)


def test_a_session_writes_down_what_came_before_it(tmp_path):
    pack = tmp_path / "packs" / "a"
    for number in (1, 2):
        with claims.take(pack) or pytest.fail("not taken") as claim:
            spent = goodput.Session(claim.folder, claim.number)
            spent.started()
            with spent.at("restore"):
                pass
            spent.write()
            spent.write()
        told = json.loads((claims.data(pack) / goodput.FILE).read_text())["sessions"]
        assert [one["claim"] for one in told] == list(range(1, number + 1))
    assert [number for number, *_ in claims.times(pack)] == [1, 2]
    (claims.data(pack) / goodput.FILE).write_text("{}")
    assert goodput._of_pack(pack, claims.data(pack)) == {}


@pytest.mark.usefixtures("unoptimised")
def test_training_tells_what_compiled_restored_and_saved(tiny, stream, tmp_path):
    run = dataclasses.replace(tiny, tokens=20 * tiny.batch_tokens)
    arguments = ([run], stream[:15_000], stream[15_000:], tmp_path)
    spent = goodput.Session(tmp_path, 1)
    stops = iter([False, True])
    train.train(*arguments, separator=0, should_stop=lambda: next(stops), session=spent)
    again = goodput.Session(tmp_path, 2)
    history = train.train(*arguments, separator=0, session=again)
    assert history["finished"]
    for each in (spent, again):
        assert set(each.seconds) == set(goodput.MEASURED)
        assert all(seconds >= 0 for seconds in each.seconds.values())
    told = json.loads((tmp_path / goodput.FILE).read_text())["sessions"]
    assert [one["claim"] for one in told] == [1, 2]
    assert np.isfinite([one["seconds"] for one in told]).all()
