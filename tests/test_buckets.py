"""A study in a bucket is what one on a disk is: owned by one, whole after every crash, and nobody else's in between."""

import concurrent.futures
import contextlib
import dataclasses
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import QUICKLY, ROOT
from gcs_stub import Stub
from test_distributed import Processes, assert_one_curve, port

from analysis import logs
from scaling import buckets, checkpoints, claims, config, exchange, folders, status, study
from scaling.buckets import Bucket
from scaling.config import to_dict
from scaling.errors import InputError

CLIENT = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
pytestmark = CLIENT  # gcsfs leaves its connections to the end of the process


@pytest.fixture(scope="module")
def served() -> Iterator[Stub]:
    pytest.importorskip("gcsfs", reason="the package gcsfs is not installed: buckets not tested")
    with Stub() as stub, pytest.MonkeyPatch.context() as patch:
        for name, value in stub.environment.items():
            patch.setenv(name, value)
        buckets._connected.cache_clear()
        yield stub
        buckets._connected.cache_clear()


@pytest.fixture
def stub(served) -> Iterator[Stub]:
    yield served
    served.busy, served.mute, served.away, served.careless = 0, 0, False, False
    served.objects.clear()


@pytest.fixture
def folder(stub) -> Path:
    return folders.place("gs://study/x")


def in_bucket(path: Path) -> Bucket:
    assert isinstance(path, Bucket)
    return path


def test_a_place_in_a_bucket_is_no_folder_on_the_disk(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    place = folders.place("gs://study/x") / "packs"
    assert str(place) == "gs://study/x/packs"
    for disk_only in (lambda: place.open("wb"), lambda: os.makedirs(place), lambda: place.rename("elsewhere")):
        with pytest.raises(InputError, match=r"^gs://study/x/packs: a place in a bucket, and this needs a folder"):
            disk_only()
    assert not list(tmp_path.iterdir())
    for none in ("gs://", "s3:/"):
        with pytest.raises(buckets.NoStore, match=r"^(gs|s3)://: no bucket is named; wanted (gs|s3)://BUCKET/FOLDER$"):
            folders.place(none)


def test_without_its_package_a_bucket_is_one_line_and_no_damage(monkeypatch):
    buckets._connected.cache_clear()
    monkeypatch.setitem(sys.modules, "gcsfs.core", None)
    with pytest.raises(buckets.NoStore, match=r"^gs:// needs the package gcsfs; install it in the clone with"):
        study.read(folders.place("gs://study/x"))


def test_an_object_is_what_was_written_to_the_last_byte(folder):
    for content in (b"", b"\r", b"1\n", b"1\r\n", b"\n\n--", bytes(range(256)) * 9):
        (folder / "a").write_bytes(content)
        assert (folder / "a").read_bytes() == content


def test_of_many_who_create_an_object_one_succeeds(folder):
    def tried(n: int) -> bool:
        try:
            buckets.create(folder / "claim", f"{n}".encode())
        except FileExistsError:
            return False
        return True

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(tried, range(24))) == 1


def test_an_answer_that_is_lost_on_the_way_does_not_lose_what_was_created(stub, folder):
    stub.mute = 1  # the object is written, its writer hears nothing and asks again
    buckets.create(folder / "claim", b"mine")
    with pytest.raises(FileExistsError):
        buckets.create(folder / "claim", b"yours")


def test_a_store_that_lets_two_create_one_object_is_refused(stub, folder):
    buckets.check(folder)
    stub.careless = True
    with pytest.raises(InputError, match="two processes could train the same runs"):
        buckets.check(folder)


def test_a_claim_is_one_s_until_it_is_given_back_and_the_next_finds_what_is_whole(folder):
    pack = folder / "packs" / "a"
    first = claims.take(pack)
    assert first
    assert claims.take(pack) is None
    holder = claims.holder(pack)
    assert holder
    assert (holder.pid, holder.number, holder.open()) == (os.getpid(), 1, False)
    whole = ("done.json", "checkpoints/100/state", "checkpoints/100/checksums.json")
    for name in (*whole, "checkpoints/200/state", "shares/200.0.has"):
        (first.folder / name).write_bytes(b"1")
    first.release()
    second = claims.take(pack)
    assert second
    with second:
        assert claims.data(pack) == second.folder != first.folder
        assert set(buckets.below(in_bucket(second.folder))) == {*whole}
        assert folders.saved_steps(second.folder) == [100]
        assert not buckets.below(in_bucket(first.folder))


def test_what_a_late_holder_writes_is_never_read(folder):
    pack = folder / "packs" / "a"
    late = claims.take(pack)
    assert late
    (late.folder / "state").write_bytes(b"1")
    winner = claims.take(pack, lease=-1.0)  # as after a lease that has run out
    assert winner
    with winner:
        (late.folder / "state").write_bytes(b"2")
        (late.folder / "done.json").write_bytes(b"2")
        late.beat()
        with pytest.raises(claims.Lost):
            late.confirm()
        with pytest.raises(claims.Lost):
            late.confirm(within=1.0)
        late.release()
        holder = claims.holder(pack)
        assert holder
        assert holder.number == winner.number
        assert claims.data(pack) == winner.folder
        assert set(buckets.below(in_bucket(claims.data(pack)))) == {"state"}
        assert (winner.folder / "state").read_bytes() == b"1"
    third = claims.take(pack)
    assert third
    with third:
        assert (third.folder / "state").read_bytes() == b"1"
        assert set(buckets.below(in_bucket(pack))) == {
            *("claim-000001", "claim-000002", "claim-000003", "data-000003", "000003/state"),
        }


def test_a_takeover_that_ends_halfway_leaves_all_to_the_next(folder, monkeypatch):
    pack = folder / "packs" / "a"
    with claims.take(pack) or pytest.fail("not taken") as first:
        (first.folder / "one").write_bytes(b"1")
        (first.folder / "two").write_bytes(b"2")

    def half(there, to, names):
        (to / "one").write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(buckets, "copy", half)
        with pytest.raises(KeyboardInterrupt):
            claims.take(pack)
    assert claims.data(pack) == first.folder
    with claims.take(pack) or pytest.fail("not taken") as third:
        assert third.number == 3
        assert [(third.folder / name).read_bytes() for name in ("one", "two")] == [b"1", b"2"]


def test_a_folder_of_logs_in_a_bucket_is_one_line_with_the_way_out(folder):
    (folder / "logs" / "a.csv").write_bytes(b"params,tokens,loss\n1e6,1e7,3\n")
    with pytest.raises(InputError, match=r"^gs://study/x/logs: it has no study\.json, and folders of logs .* copy it"):
        logs.read([folder / "logs"])


def test_a_store_that_does_not_answer_is_no_damage(folder, stub, tiny_study, monkeypatch):
    whole = tiny_study(folder)
    before = status.of(whole).counts
    stub.away = True
    monkeypatch.setattr("gcsfs.retry.asyncio.sleep", _at_once)
    with pytest.raises(OSError, match="slow down"):
        status.of(whole)
    stub.away = False
    assert status.of(whole).counts == before


async def _at_once(seconds: float) -> None: ...


@pytest.fixture
def tiny_study(tiny, monkeypatch):
    """A study of one run in a folder, as it was planned."""

    def made(folder: Path) -> study.StudyFolder:
        from scaling import layout

        run = study.PlannedRun(config.identity(tiny, "1" * 16), tiny, "1" * 16, 1.0, None)
        pack = study.Pack(layout.pack_id([run.id]), (run,))
        spread = layout.choose(1, 1, None, lambda _: 1)
        whole = study.StudyFolder(folder, "s", "?", spread, {"1" * 16: "/nowhere"}, (run.id,), (pack,))
        study.write(whole)
        return study.read(folder)

    return made


def test_a_checkpoint_counts_once_its_last_object_is_there(folder, stub, tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SCALING_CACHE", str(tmp_path))
    state, history = {"w": np.arange(6, dtype=np.float32)}, {"train_loss": np.zeros((3, 1), np.float32)}
    kept = checkpoints.Record(folder / "000001")
    for step in (1, 2, 3):
        kept.save(step, {"w": state["w"] * step}, history)
    kept.close()
    assert folders.saved_steps(folder / "000001") == [2, 3]  # the newest and the one to fall back on
    assert not list((tmp_path / "staging").iterdir())
    found = checkpoints.read_history(folder / "000001")
    assert found is not None
    np.testing.assert_array_equal(found["train_loss"], history["train_loss"])

    name = next(n for n in stub.names("study", "x/000001/checkpoints/3/state/") if "/d/" in n)
    stub.objects["study", name]["content"] = b"x" + stub.content("study", name)[1:]
    again = checkpoints.Record(folder / "000001")
    step, restored, _ = again.restore(lambda _: state, print) or pytest.fail("nothing")
    again.close()
    assert step == 2
    np.testing.assert_array_equal(restored["w"], 2 * state["w"])
    assert "checkpoint of step 3 is unreadable" in capsys.readouterr().out
    assert folders.saved_steps(folder / "000001") == [2]

    (folder / "000001" / "checkpoints" / "2" / "checksums.json").unlink()
    assert folders.saved_steps(folder / "000001") == []


def test_a_checkpoint_waits_until_the_store_is_back(folder, stub, tmp_path, monkeypatch):
    monkeypatch.setenv("SCALING_CACHE", str(tmp_path))
    monkeypatch.setattr("gcsfs.retry.asyncio.sleep", _at_once)
    monkeypatch.setattr(checkpoints, "AWAY", (0.01,) * 500)
    said: list[str] = []
    kept = checkpoints.Record(folder / "000001", said.append)
    stub.away = True
    kept.begin(1, {"w": np.arange(6.0)}, {"train_loss": np.zeros((3, 1), np.float32)})
    kept.begin(2, {"w": np.arange(6.0)}, {"train_loss": np.zeros((3, 1), np.float32)})  # not begun: one is on its way
    while not said:
        time.sleep(0.01)
    assert "checkpoint of step 1 is not in the bucket yet" in said[0]
    stub.away = False
    kept.settle()
    kept.close()
    assert folders.saved_steps(folder / "000001") == [1]


SESSION = """
import json, sys, time
import numpy as np
from scaling import claims, folders, train
from scaling.config import RunConfig, from_dict

if "save always" in sys.argv:
    train.SAVE_EVERY, train.SAVE_SHARE = 0.0, float("inf")
run = from_dict(RunConfig, json.loads(sys.argv[1]))
stream = np.load(sys.argv[2])
with claims.take(folders.place(sys.argv[3])) as claim:
    train.train(
        [run], stream[:15_000], stream[15_000:], claim.folder, separator=0, say=lambda line: sys.exit(line),
        progress=lambda done: time.sleep(0.1 if "save always" in sys.argv else 0),
        should_stop=lambda: claim.confirm(1.0) or False,
    )
"""


@pytest.mark.slow
@pytest.mark.parametrize("store", ["folder", "s3"])
@pytest.mark.filterwarnings("ignore")  # of moto's and boto's own
def test_a_pack_killed_while_it_sends_checkpoints_is_one_curve(store, request, tiny, stream, tmp_path, cache):
    """Killed with -9 up to three times, mostly with a checkpoint on its way; every eighth request is refused."""
    folder, busy = request.getfixturevalue(store), 8
    stub = request.getfixturevalue("stub" if store == "folder" else "moto")
    run = dataclasses.replace(tiny, tokens=60 * 16 * tiny.batch_tokens, unique_tokens=2**13)
    np.save(tmp_path / "stream.npy", stream)
    pack = folder / "packs" / "a"

    def session(place: Path, *words: str) -> subprocess.Popen[str]:
        arguments = [json.dumps(to_dict(run)), str(tmp_path / "stream.npy"), str(place), *words]
        environment = os.environ | {"SCALING_CACHE": str(tmp_path / "cache"), "XLA_FLAGS": QUICKLY}
        return subprocess.Popen(
            [sys.executable, "-c", SESSION, *arguments], stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment
        )

    whole = session(tmp_path / "whole")
    assert (whole.communicate(timeout=300)[1], whole.returncode) == ("", 0)
    stub.busy, rng = busy, random.Random(busy)
    reached = killed = 0
    for _ in range(3):
        process = session(pack, "save always")
        begun, ends = stub.counts["write"], time.monotonic() + 120
        more = rng.randrange(4, 50)
        while process.poll() is None and stub.counts["write"] < begun + more and time.monotonic() < ends:
            time.sleep(0.002)
        process.kill()
        assert process.communicate()[1] == ""
        if process.returncode == 0:  # it was faster than we
            break
        assert process.returncode == -signal.SIGKILL
        killed += 1
        done = max(folders.saved_steps(claims.data(pack)), default=0)
        assert reached <= done < run.steps
        reached = done
    assert killed
    assert reached
    last = session(pack)
    assert (last.communicate(timeout=300)[1], last.returncode) == ("", 0)
    stub.busy = 0
    one = checkpoints.read_history(claims.data(pack))
    other = checkpoints.read_history(claims.data(tmp_path / "whole"))
    assert one is not None
    assert other is not None
    for name in other.keys() - {"seconds"}:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


class Busy:
    """An application that refuses every so many-th request, as S3 does where it is asked too much."""

    def __init__(self, app):
        self.app, self.busy, self.asked = app, 0, itertools.count(1)
        self.counts: Counter[str] = Counter()

    def __call__(self, environ, start_response):
        n = next(self.asked)
        self.counts["write"] += environ["REQUEST_METHOD"] in ("PUT", "POST")
        if not self.busy or n % self.busy:
            return self.app(environ, start_response)
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start_response("503 Slow Down" if n % 2 else "429 Too Many Requests", [("Content-Type", "application/xml")])
        return [b"<Error><Code>SlowDown</Code><Message>slow down</Message></Error>"]


@pytest.fixture
def moto(monkeypatch) -> Iterator[Busy]:
    s3fs = pytest.importorskip("s3fs", reason="the package s3fs is not installed: S3 not tested")
    server = pytest.importorskip("moto.server", reason="the package moto[server] is not installed: S3 not tested")
    import boto3  # pyright: ignore[reportMissingImports] # moto's

    serving = server.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    serving.start()
    host, port = serving.get_host_and_port()
    serving._server.app = busy = Busy(serving._server.app)
    # Another server of this process would go on with the buckets of the one before.
    urllib.request.urlopen(f"http://{host}:{port}/moto-api/reset", data=b"", timeout=60).close()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3").create_bucket(Bucket="study")
    s3fs.S3FileSystem.clear_instance_cache()  # that of an earlier server
    buckets._connected.cache_clear()
    yield busy
    buckets._connected.cache_clear()
    serving.stop()


@pytest.fixture
def s3(moto) -> Path:
    return folders.place("s3://study/x")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of moto's and boto's own
def test_on_s3_a_claim_is_one_s_and_a_checkpoint_counts_when_it_is_whole(s3, tmp_path, monkeypatch):
    monkeypatch.setenv("SCALING_CACHE", str(tmp_path))
    buckets.check(in_bucket(s3))
    pack, state = s3 / "packs" / "a", {"w": np.arange(6, dtype=np.float32)}
    first = claims.take(pack)
    assert first
    assert claims.take(pack) is None
    holder = claims.holder(pack)
    assert holder
    assert holder.pid == os.getpid()
    assert holder.age < 60
    kept = checkpoints.Record(first.folder)
    for step in (1, 2, 3):
        kept.save(step, {"w": state["w"] * step}, {"train_loss": np.zeros((3, 1), np.float32)})
    kept.close()
    (first.folder / "checkpoints" / "4" / "state").write_bytes(b"half of it")
    first.release()
    with claims.take(pack) or pytest.fail("not taken") as second:
        assert folders.saved_steps(second.folder) == [2, 3]
        assert not buckets.below(in_bucket(first.folder))
        again = checkpoints.Record(second.folder)
        step, restored, _ = again.restore(lambda _: state, print) or pytest.fail("nothing")
        again.close()
        assert step == 3
        np.testing.assert_array_equal(restored["w"], 3 * state["w"])
    with pytest.raises(FileNotFoundError):
        (s3 / "nothing").read_bytes()
    assert buckets.listing(in_bucket(s3 / "nothing")) == {}


@pytest.mark.slow
@pytest.mark.parametrize("store", ["folder", "s3"])
@pytest.mark.filterwarnings("ignore")  # of moto's and boto's own
def test_two_processes_then_four_are_killed_and_one_goes_on_alone(store, request, tmp_path, cache):
    """Each sends its share to the bucket; one with half of the devices goes on from what is there."""
    folder = in_bucket(request.getfixturevalue(store))
    alone = tmp_path / "alone"
    assert Processes(1, 1, cache, alone, "data=1", tmp_path / "log-alone", steps=400).ends(600) == [0]

    def reached() -> int:
        with contextlib.suppress(FileNotFoundError, InputError):  # before it is planned
            whole = study.read(folder)
            return max(folders.saved_steps(whole.pack_folder(whole.packs[0])), default=0)
        return 0

    before = 0
    for n in (2, 4):
        gang = Processes(n, 4 // n, cache, folder, "data=2,fsdp=2", tmp_path / f"log-{n}", steps=400)
        gang.until(lambda before=before: reached() > before, 500)
        for process in gang.all:
            process.kill()
        gang.ends()
        before = reached()
    assert before < 400
    last = Processes(1, 2, cache, folder, "fsdp=2", tmp_path / "log-last", steps=400)
    assert last.ends(600) == [0]
    assert_one_curve(folder, alone)


SPREAD = """
import sys
import jax
from scaling import checkpoints, folders

address, process, place, *steps = sys.argv[1:]
jax.distributed.initialize(address, 2, int(process))
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec as P

mesh = jax.make_mesh((2, 2), ("data", "fsdp"))
axes = {"w": P("fsdp"), "v": P(("data", "fsdp")), "b": P()}
lie = {name: NamedSharding(mesh, spec) for name, spec in axes.items()}
all_of = {name: np.arange(32, dtype=np.float32).reshape(8, 4) for name in lie}
made = {name: jax.make_array_from_callback((8, 4), lie[name], lambda i, x=x: x[i]) for name, x in all_of.items()}
kept = checkpoints.Record(folders.place(place))
wanted = {name: jax.ShapeDtypeStruct((8, 4), np.float32, sharding=lie[name]) for name in lie}
if found := kept.restore(lambda _: {"params": wanted}, print):
    step, state, history = found
    for name, leaf in state["params"].items():
        for shard in leaf.addressable_shards:
            np.testing.assert_array_equal(shard.data, step * all_of[name][shard.index])
    print(f"from {step}, {len(history['train_loss'])} rows")
for step in map(int, steps):
    times = {"params": {name: step * leaf for name, leaf in made.items()}}
    kept.save(step, times, {"train_loss": np.zeros((step, 1), np.float32)})
kept.close()
"""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of moto's and boto's own
def test_on_s3_the_shares_of_two_processes_are_one_checkpoint(s3, tmp_path, monkeypatch):
    """Read by one, which falls back on the one before where a share is damaged; and what one writes is read by two."""
    monkeypatch.setenv("SCALING_CACHE", str(tmp_path))

    def two(*steps: int) -> list[list[str]]:
        address = f"127.0.0.1:{port()}"
        environment = os.environ | {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "2"}
        words = [[sys.executable, "-c", SPREAD, address, str(i), str(s3), *map(str, steps)] for i in (0, 1)]
        both = [subprocess.Popen(each, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment) for each in words]
        said = [process.communicate(timeout=600)[0].splitlines()[-1:] for process in both]  # after words of Gloo's
        assert [process.returncode for process in both] == [0, 0]
        return said

    two(1, 2, 3)
    assert folders.saved_steps(s3) == [2, 3]
    assert not buckets.below(in_bucket(s3 / "shares"))
    wanted = np.arange(32).reshape(8, 4)
    step, params = checkpoints.read_params(s3) or pytest.fail("no weights")
    assert step == 3
    for name in "wvb":
        np.testing.assert_array_equal(params[name], 3 * wanted)

    [share] = [name for name in buckets.below(in_bucket(s3)) if name.endswith("checkpoints/3/state/params.v/c/3/0")]
    (s3 / share).write_bytes(b"x" + (s3 / share).read_bytes()[1:])
    state = {"params": dict.fromkeys("wvb", np.zeros((8, 4), np.float32))}
    alone, said = checkpoints.Record(s3), []
    step, found, _ = alone.restore(lambda _: state, said.append) or pytest.fail("nothing")
    assert step == 2
    assert "checkpoint of step 3 is unreadable" in said[0]
    np.testing.assert_array_equal(found["params"]["v"], 2 * wanted)
    state = {"params": {name: 5 * wanted.astype(np.float32) for name in "wvb"}}
    alone.save(5, state, {"train_loss": np.zeros((5, 1), np.float32)})
    alone.close()
    assert two() == [["from 5, 5 rows"]] * 2


STUDY = """
from scaling.config import DataConfig, EvalConfig, RunConfig, Study
from scaling.ladder import transformer

DATA = DataConfig("synthetic:order=1,symbols=8,bytes=1e6", "bytes")

def study(n: int = 4, steps: int = 600):
    model = transformer(16, 1, d_head=8, n_vocab=257, n_ctx=16)
    return Study("small", "Does it hold together?", tuple(
        RunConfig(model, tokens=64 * steps, batch=4, seed=seed, data=DATA, eval=EvalConfig(windows=8))
        for seed in range(n)
    ))
"""


def command(*words: object, cache: Path) -> subprocess.Popen[str]:
    environment = os.environ | {"SCALING_CACHE": str(cache)}
    return subprocess.Popen(
        [sys.executable, "-m", "scaling.cli", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env=environment,
        start_new_session=True,
    )


def ended(process: subprocess.Popen[str], code: int = 0) -> str:
    said, _ = process.communicate(timeout=900)
    assert process.returncode == code, said
    assert "Traceback" not in said, said
    return said


def held(folder: buckets.Bucket, by: subprocess.Popen[str]) -> int:
    """The worker's process of that coordinator, once it has a pack."""
    ends = time.monotonic() + 240
    while time.monotonic() < ends:
        for name in buckets.below(folder / "packs"):
            who = claims.holder(folder / "packs" / name.split("/")[0])
            if who and not who.open() and os.getsid(who.pid) == by.pid:
                return who.pid
        time.sleep(0.1)
    pytest.fail("no pack was taken")


def losses(whole: study.StudyFolder) -> dict[str, list[float]]:
    return {pack.id: study.history(whole, pack)["train_loss"].tolist() for pack in whole.packs}  # pyright: ignore


@pytest.mark.slow
@pytest.mark.parametrize("store", ["folder", "s3"])
@pytest.mark.filterwarnings("ignore")  # of moto's and boto's own
def test_two_coordinators_one_of_them_killed_end_with_the_table_of_one_on_a_disk(store, request, tmp_path, cache):
    """With its worker, and a pack half done; every eighth request is refused meanwhile."""
    folder = in_bucket(request.getfixturevalue(store))
    server = request.getfixturevalue("stub" if store == "folder" else "moto")
    asked_for = tmp_path / "small.py"
    asked_for.write_text(STUDY)
    disk = tmp_path / "disk"
    ended(command("study", "run", asked_for, "--out", disk, "--workers", 1, cache=cache))
    server.busy = 8
    killed = command("study", "run", asked_for, "--out", folder, "--workers", 1, cache=cache)
    its = held(folder, killed)
    os.killpg(its, signal.SIGSTOP)  # the other one finds the pack taken, whichever is faster
    other = command("study", "run", asked_for, "--out", folder, "--workers", 1, cache=cache)
    held(folder, other)
    for group in (killed.pid, its):
        os.killpg(group, signal.SIGKILL)
    killed.communicate()
    ended(other)
    server.busy = 0
    assert any("/claim-000002" in name for name in buckets.below(folder / "packs"))  # one was taken over
    there, here = study.read(folder), study.read(disk)
    assert status.of(there).counts == {"done": 4}
    assert losses(there) == losses(here)
    if store == "folder":
        asked = sum(server.counts.values())
        assert status.of(there).counts == {"done": 4}
        assert sum(server.counts.values()) - asked < 20 * 4  # requests, some for each pack

    said = ended(command("study", "status", folder, cache=cache))
    assert "4 of 4 runs finished" in said
    records = folders.place(f"{folder.scheme}://study/runs.tar")
    assert "4 runs" in ended(command("study", "export", folder, "--records", records, cache=cache))
    assert exchange.read(tmp_path / "taken", records, print) == 4
    taken = folders.place(f"{folder.scheme}://study/taken")
    ended(command("study", "import", taken, records, cache=cache))
    assert status.of(study.read(taken)).counts == {"done": 4}
    assert f"The page: {folder}/report/index.html" in ended(command("report", folder, cache=cache))
    ended(command("study", "export", folder, "--csv", tmp_path / "runs.csv", cache=cache))
    assert len((tmp_path / "runs.csv").read_text().splitlines()) == 5
    assert not [*ROOT.glob("[gs][s3]:*"), *tmp_path.glob("[gs][s3]:*")]
