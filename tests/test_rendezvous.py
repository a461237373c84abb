"""Processes that are to train together find out who is missing or differs, before they wait for each other in vain."""

import contextlib
import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import QUICKLY, ROOT
from test_distributed import port

from scaling import distributed, rendezvous
from scaling.errors import InputError

ALIKE = {"code": "abc", "study": "mine"}


def meet(*callers: tuple[int, int, dict[str, str]], wait: float = 20, at: int | None = None) -> list[str]:
    """What each of these processes (id, number of all, facts) ends with; empty for one that goes on."""
    address = ("127.0.0.1", at or port())

    def one(caller: tuple[int, int, dict[str, str]]) -> str:
        try:
            rendezvous.meet(address, *caller, wait)
        except (InputError, rendezvous.Gone) as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(len(callers)) as pool:
        return list(pool.map(one, callers))


def test_those_that_all_come_and_are_alike_go_on_and_leave_the_port_free():
    at = port()
    assert meet((2, 3, ALIKE), (0, 3, ALIKE), (1, 3, ALIKE), at=at) == ["", "", ""]
    assert meet((0, 2, ALIKE), (1, 2, ALIKE), at=at) == ["", ""]  # at once


def test_all_that_are_there_name_those_that_are_missing():
    told = meet((0, 5, ALIKE), (3, 5, ALIKE), wait=1)
    for line in told:
        assert "2 of 5 processes came within 1 s; missing: processes 1, 2, 4; start the same command there" in line
    [alone] = meet((0, 2, ALIKE), wait=0.5)
    assert "1 of 2 processes came within 0.5 s; missing: process 1;" in alone
    [many] = meet((0, 100, ALIKE), wait=0.1)
    assert "missing: processes 1, 2, 3, 4, 5, 6 and 93 more" in many


@pytest.mark.parametrize(
    ("callers", "said"),
    [
        (
            ((0, 2, ALIKE), (1, 3, ALIKE)),
            "process 1 on {host} counts 3 processes, process 0 on {host} 2; start the same",
        ),
        (((0, 3, ALIKE), (1, 3, ALIKE), (1, 3, ALIKE)), "two processes have the id 1: on {host} (pid {pid}) and"),
        (((0, 2, ALIKE), (0, 2, ALIKE)), "two processes have the id 0: on {host} (pid {pid}) and on {host}"),
        (
            ((0, 2, ALIKE), (1, 2, ALIKE | {"code": "def"})),
            "process 1 on {host} has code def for abc: other than process 0, with which they would train",
        ),
        (
            ((0, 2, ALIKE), (1, 2, {"code": "abc"})),
            "process 1 on {host} has study unset for mine: other than process 0",
        ),
    ],
)
def test_one_that_differs_is_named_by_all(callers, said):
    told = meet(*callers)
    for line in told:
        assert said.format(host=socket.gethostname(), pid=os.getpid()) in line
        assert "\n" not in line


def slurm_task(job: int, id: int, n: int) -> dict[str, str]:
    """What Slurm tells a process: of it `--distributed auto` takes where the first one is, its id and their number."""
    found = {"SLURM_JOB_ID": str(job), "SLURM_STEP_NODELIST": "127.0.0.1", "SLURM_JOB_NUM_NODES": "2"}
    return found | {"SLURM_NTASKS": str(n), "SLURM_PROCID": str(id), "SLURM_LOCALID": "0"}


@pytest.mark.parametrize(
    ("tasks", "code", "said"),
    [
        (((0, 2), (1, 2)), ("a", "a"), ("", "")),
        (((0, 2),), ("a",), ("1 of 2 processes came within 1 s; missing: process 1;",)),
        (((1, 2),), ("a",), ("missing: process 0, nothing answers there after 1 s",)),
        (((0, 2), (1, 3)), ("a", "a"), ("process 1 on {host} counts 3 processes, process 0 on {host} 2",) * 2),
        (((0, 3), (1, 3), (1, 3)), ("a",) * 3, ("two processes have the id 1: on {host}",) * 3),
        (((0, 2), (1, 2)), ("a", "b"), ("process 1 on {host} has code b for a",) * 2),
    ],
    ids=["all", "no other", "no first", "another count", "one id twice", "another version"],
)
def test_what_a_cluster_tells_is_held_against_what_the_others_are_told(tasks, code, said, monkeypatch):
    """Of `auto` the cluster's own words differ where its tasks are of two jobs or steps, or somebody sets them."""
    job, callers, addresses = port(), [], set()
    for (id, n), version in zip(tasks, code, strict=True):
        for name, value in slurm_task(job, id, n).items():
            monkeypatch.setenv(name, value)
        address, *who = distributed._told(1)
        addresses.add(distributed._parsed(address))
        callers.append((*who, {"code": version}))
    [(_, at)] = addresses
    told = meet(*callers, wait=1 if len(tasks) == 1 else 20, at=at)
    for line, wanted in zip(told, said, strict=True):
        assert wanted.format(host=socket.gethostname()) in line
        assert bool(wanted) == bool(line)


def test_another_program_is_told_from_a_process_that_has_not_come():
    at = port()

    def call() -> None:
        for words in (b"PRI * HTTP/2.0\r\n\r\n", b'{"scaling": 0}\n', b'{"scaling": 1, "process": -1}\n', b""):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", at), 5) as line:
                line.sendall(words)
                line.recv(1)
                time.sleep(0.05)

    other = threading.Timer(0.3, call)
    other.start()
    [told] = meet((0, 2, ALIKE), wait=1.2, at=at)
    other.join()
    assert "missing: process 1; called by what is not this version of this program, from 127.0.0.1;" in told
    with socket.create_server(("127.0.0.1", at)) as strange:
        strange.settimeout(10)

        def answer() -> None:
            with contextlib.suppress(OSError):
                while True:
                    line, _ = strange.accept()
                    line.sendall(b"HTTP/1.1 400 Bad Request\n")
                    line.close()

        threading.Thread(target=answer, daemon=True).start()
        [told] = meet((1, 2, ALIKE), wait=0.5, at=at)
        assert "missing: process 0, nothing answers there" in told
        assert "(what answers is not this version of this program)" in told
        [told] = meet((0, 2, ALIKE), wait=0.5, at=at)
        assert f"process 0 cannot listen at port {at}" in told


def test_a_first_process_that_ends_is_missed_and_one_that_comes_again_is_not(monkeypatch):
    monkeypatch.setattr(rendezvous, "RETURN", 0.5)
    at = port()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(meet, (1, 2, ALIKE), at=at)
        with socket.create_server(("127.0.0.1", at)) as first:  # says its first words, and is killed
            line, _ = first.accept()
            line.sendall(json.dumps({"missing": [1], "of": 1}).encode() + b"\n")
            line.close()
        assert meet((0, 2, ALIKE), at=at) == [""]
        assert waiting.result() == [""]
        waiting = pool.submit(meet, (1, 2, ALIKE), at=at)
        with socket.create_server(("127.0.0.1", at)) as first:
            line, _ = first.accept()
            line.sendall(json.dumps({"missing": [1], "of": 1}).encode() + b"\n")
            line.close()
        assert waiting.result() == [f"process 0 at 127.0.0.1:{at} came and ended before all had come"]


def test_a_machine_that_dies_without_a_word_does_not_keep_its_place(monkeypatch):
    monkeypatch.setattr(rendezvous, "SILENT", (1, 1, 1))
    at = port()

    def missing() -> list[int]:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", at), 2) as line:
            return rendezvous._read(line)["missing"]
        return []

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(meet, (0, 3, ALIKE), at=at)
        while not missing():
            time.sleep(0.05)
        dies = socket.create_connection(("127.0.0.1", at))
        caller = rendezvous.Caller(1, 3, "gone", 7, ALIKE)
        rendezvous._send(dies, {"scaling": rendezvous.VERSION, **dataclasses.asdict(caller)})
        while missing() != [2]:
            time.sleep(0.05)
        try:
            dies.setsockopt(socket.IPPROTO_TCP, 19, 1)  # TCP_REPAIR of Linux: closes without a word to the other side
        except OSError:
            pytest.skip("this system or user cannot end a connection without a word")
        finally:
            dies.close()
        ends = time.monotonic() + 15
        while missing() != [1, 2] and time.monotonic() < ends:
            time.sleep(0.05)
        assert missing() == [1, 2]
        assert meet((1, 3, ALIKE), (2, 3, ALIKE), at=at) == ["", ""]
        assert first.result() == [""]


# --- real processes


def start(process: int, processes: int, at: str, cache, out, wait: int, **env: str) -> subprocess.Popen:
    words = [sys.executable, "-m", "scaling.cli", "study", "run", str(ROOT / "tests" / "together_study.py")]
    words += ["--set", "data.tokenizer=bytes", "--out", str(out), "--mesh", f"data={processes}", "--wait", str(wait)]
    words += ["--distributed", at]
    if at != "auto":
        words += ["--process-id", str(process), "--processes", str(processes)]
    env = os.environ | {"SCALING_CACHE": str(cache), "JAX_PLATFORMS": "cpu", "XLA_FLAGS": QUICKLY, **env}
    return subprocess.Popen(words, cwd=ROOT, env=env, stderr=subprocess.PIPE, text=True)


def ends(process: subprocess.Popen) -> tuple[int, str]:
    _, error = process.communicate(timeout=120)
    return process.returncode, (error.splitlines() or [""])[-1]


@pytest.mark.slow
def test_of_three_processes_two_say_that_the_third_is_missing(cache, tmp_path):
    at = f"127.0.0.1:{port()}"
    there = [start(i, 3, at, cache, tmp_path / "out", 8) for i in (0, 2)]
    for code, line in map(ends, there):
        assert code == 2
        assert line.startswith(f"scaling: --distributed {at}: 2 of 3 processes came within 8 s; missing: process 1; ")


@pytest.mark.slow
def test_a_cluster_that_tells_who_they_are_lacks_one_too(cache, tmp_path):
    code, line = ends(start(0, 2, "auto", cache, tmp_path / "out", 1, **slurm_task(port(), 0, 2)))
    assert code == 2
    assert "1 of 2 processes came within 1 s; missing: process 1;" in line


@pytest.mark.slow
def test_a_first_process_that_is_killed_leaves_nobody_waiting(cache, tmp_path):
    address = port()
    at = f"127.0.0.1:{address}"
    first = start(0, 3, at, cache, tmp_path / "out", 300)
    second = start(1, 3, at, cache, tmp_path / "out", 300)
    until = time.monotonic() + 100
    while time.monotonic() < until:  # the second has come when the first says that the third alone is missing
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", address), 2) as line:
            line.settimeout(5)
            if json.loads(line.recv(1000))["missing"] == [2]:
                break
        time.sleep(0.2)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    began = time.monotonic()
    code, line = ends(second)
    assert code == 42
    assert "another process is gone (process 0 at" in line
    assert time.monotonic() - began < rendezvous.RETURN + 15
