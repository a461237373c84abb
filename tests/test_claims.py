"""Claims hold between real processes: killed, frozen beyond their lease, many at once."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scaling import claims

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds out in /proc whether a process lives")


@pytest.fixture
def pack(tmp_path) -> Path:
    return tmp_path / "packs" / "a"


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


HOLD = """
import sys, time
from pathlib import Path
from scaling import claims
claim = claims.take(Path(sys.argv[1]), beat=0.05)
print(claim.folder, flush=True)
sys.stdin.readline()
try:
    claim.confirm()
    (claim.folder / "late").write_text("written by one who had lost it")
    print("wrote", flush=True)
except claims.Lost:
    print("lost", flush=True)
"""


def test_a_folder_is_one_process_s_until_it_gives_it_back(pack):
    first = claims.take(pack)
    assert first
    (first.folder / "state").write_text("1")
    assert claims.take(pack) is None
    holder = claims.holder(pack)
    assert holder
    assert (holder.pid, holder.open()) == (os.getpid(), False)
    first.release()
    second = claims.take(pack)
    assert second
    with second:
        assert (second.folder / "state").read_text() == "1"
        assert claims.data(pack) == second.folder != first.folder


def test_a_killed_holder_s_folder_is_open_at_once_and_goes_on_where_it_was(pack):
    holder = start(HOLD, pack)
    assert holder.stdout
    folder = Path(holder.stdout.readline().strip())
    (folder / "state").write_text("1")
    holder.kill()
    holder.communicate()
    claim = claims.take(pack)
    assert claim
    with claim:
        assert (claim.folder / "state").read_text() == "1"


def test_a_holder_frozen_beyond_its_lease_loses_and_notices_before_it_writes(pack):
    holder = start(HOLD, pack)
    assert holder.stdout
    assert holder.stdin
    folder = Path(holder.stdout.readline().strip())
    (folder / "state").write_text("1")
    assert claims.take(pack, lease=5.0) is None
    holder.send_signal(signal.SIGSTOP)
    end = time.monotonic() + 30
    while (claim := claims.take(pack, lease=0.5)) is None:
        assert time.monotonic() < end
        time.sleep(0.05)
    with claim:
        holder.send_signal(signal.SIGCONT)
        assert holder.communicate("go on\n")[0] == "lost\n"
        assert [path.name for path in claim.folder.iterdir()] == ["state"]
        claim.confirm()


def test_what_a_loser_still_writes_is_never_read(pack):
    """It checked, was frozen, lost, and goes on with the write that it was about to do."""
    loser, winner = claims.take(pack), None
    assert loser
    (loser.folder / "state").write_text("1")
    loser.confirm()
    winner = claims.take(pack, lease=-1.0)
    assert winner
    with pytest.raises(FileNotFoundError):
        (loser.folder / "state").write_text("2")
    loser.folder.mkdir(parents=True)  # as a library might that makes the folders it needs
    (loser.folder / "state").write_text("2")
    assert (claims.data(pack) / "state").read_text() == "1"
    with pytest.raises(claims.Lost):
        loser.confirm()
    for claim in (loser, winner):
        claim.release()
    third = claims.take(pack)
    assert third
    with third:
        assert (third.folder / "state").read_text() == "1"
        assert [path.name for path in pack.iterdir() if path.is_dir()] == [third.folder.name]


# Takes the folder again and again, counts by read, wait, write: two at once would lose a count.
COUNT = """
import random, sys, time
from pathlib import Path
from scaling import claims
rng = random.Random(int(sys.argv[2]))
mine, end = 0, time.monotonic() + float(sys.argv[3])
while time.monotonic() < end:
    claim = claims.take(Path(sys.argv[1]), lease=float(sys.argv[4]), beat=0.05)
    if claim is None:
        time.sleep(rng.uniform(0, 0.002))
        continue
    with claim:
        try:
            count = claim.folder / "count"
            n = int(count.read_text()) if count.exists() else 0
            time.sleep(rng.uniform(0, 0.004))
            claim.confirm()
            new = claim.folder / f"count-{sys.argv[2]}"
            new.write_text(str(n + 1))
            new.replace(count)
            mine += 1
            print(claim.number, n + 1, flush=True)
        except (claims.Lost, FileNotFoundError):
            pass
"""


def test_of_many_processes_at_once_no_two_ever_have_the_folder(pack):
    crowd = [start(COUNT, pack, seed, 4, 60) for seed in range(8)]
    counts = [int(line.split()[1]) for each in crowd for line in each.communicate()[0].splitlines()]
    assert sorted(counts) == list(range(1, len(counts) + 1))
    assert len(counts) > 20
    assert all(each.returncode == 0 for each in crowd)


def test_of_many_that_are_killed_and_frozen_none_counts_twice_under_one_number(pack):
    """With leases so short that live holders lose them: whoever wrote, the numbers only rise and no count goes back."""
    crowd = [start(COUNT, pack, seed, 5, 0.3) for seed in range(6)]
    began = time.monotonic()
    while time.monotonic() - began < 4:
        for each in crowd[:4]:
            each.send_signal(signal.SIGSTOP)
            time.sleep(0.1)
            crowd[5].kill()
            each.send_signal(signal.SIGCONT)
    said = [tuple(map(int, line.split())) for each in crowd for line in each.communicate()[0].splitlines()]
    numbers = [number for number, _ in sorted(said)]
    assert len(numbers) == len(set(numbers)) > 5
    final = int((claims.data(pack) / "count").read_text())
    assert final <= len(said) + 1  # one may have been killed between writing and saying so
    counts = [count for _, count in sorted(said)]
    assert counts == sorted(set(counts))  # who came later went on from what was written last, never from before


def test_a_reader_needs_no_right_to_write(pack):
    with claims.take(pack) or pytest.fail("not taken"):
        holder = claims.holder(pack)
    assert holder
    assert json.loads((pack / "claim-000001").read_text())["free"]


def test_what_a_version_without_claims_left_is_taken_up(pack):
    (pack / "checkpoints" / "32").mkdir(parents=True)
    assert claims.data(pack) == pack
    with claims.take(pack) or pytest.fail("not taken") as claim:
        assert (claim.folder / "checkpoints" / "32").is_dir()


def test_waiting_for_a_folder_says_so_once_and_ends(pack):
    holder = start(HOLD, pack)
    assert holder.stdout
    holder.stdout.readline()
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        holder.kill()
        holder.wait()

    with claims.held(pack, say, "it"):
        assert [line.split(" by ")[0] for line in said] == ["it is being prepared"]
    holder.communicate()
