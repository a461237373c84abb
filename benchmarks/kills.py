"""Does a study that is killed again and again end with the table of one that was left alone? Bit for bit, or not.

    python -m benchmarks.kills --kills 50

A study of 40 runs on two workers is trained once undisturbed. Then the same study is trained while, at random moments,
its coordinator, one worker or all of them get SIGKILL, or the coordinator SIGTERM, and the same command is given again;
when it ends before there were enough kills, it begins anew in another folder. Each ends with `scaling study export`:
the tables of runs and of curves are compared cell by cell as they are written, all but the wall-clock column.
"""

import argparse
import collections
import csv
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from scaling import folders, machine

CONFIG = """
from scaling.config import DataConfig, EvalConfig, OptimConfig, RunConfig, Study
from scaling.ladder import transformer

DATA = DataConfig("synthetic:order=1,symbols=8,bytes=1e6", "bytes")

def study(n: int = 20, steps: int = 3000) -> Study:
    return Study("kills", "Does it hold together?", tuple(
        RunConfig(
            transformer(d_model, 1, d_head=8, n_vocab=257, n_ctx=16), tokens=64 * steps, batch=4, seed=seed, data=DATA,
            optim=OptimConfig(learning_rate=1e-2), eval=EvalConfig(windows=8),
        )
        for d_model in (8, 16) for seed in range(n)
    ))
"""
CLOCKED = ("seconds",)  # columns that tell of the wall clock
KINDS = ("coordinator killed", "worker killed", "all killed", "coordinator told to end")


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "scaling.cli", *map(str, words)]


def run(config: Path, out: Path) -> subprocess.Popen:
    words = command("study", "run", config, "--out", out, "--workers", 2, "--retry")
    return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def children(process: subprocess.Popen) -> list[int]:
    try:
        return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def disturb(process: subprocess.Popen, rng: random.Random) -> str:
    """Kills something; says what, or nothing when it was too late."""
    workers = children(process)
    if process.poll() is not None or not workers:
        return ""
    kind = rng.choice(KINDS)
    if kind == "coordinator told to end":
        process.send_signal(signal.SIGTERM)
    else:
        doomed = {"coordinator killed": [process.pid], "worker killed": [rng.choice(workers)]}
        for pid in doomed.get(kind, [process.pid, *workers]):
            os.kill(pid, signal.SIGKILL)
    return kind


def tables(out: Path) -> list[str]:
    """The rows of both tables, without what the wall clock says."""
    found = []
    for words in ([], ["--curves"]):
        file = out / "table.csv"
        subprocess.run(command("study", "export", out, "--csv", file, *words), check=True, stdout=subprocess.DEVNULL)
        with file.open() as lines:
            for row in csv.DictReader(lines):
                found.append(str({name: cell for name, cell in row.items() if name not in CLOCKED}))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    rng, began = random.Random(args.seed), time.monotonic()
    kills: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = folder / "kills.py"
        config.write_text(CONFIG)
        assert run(config, folder / "undisturbed").wait() == 0
        alone = time.monotonic() - began
        wanted = tables(folder / "undisturbed")
        same = studies = sessions = 0
        while kills.total() < args.kills:
            out = folder / f"disturbed-{studies}"
            studies += 1
            while True:
                process = run(config, out)
                sessions += 1
                while process.poll() is None and kills.total() < args.kills:
                    time.sleep(rng.uniform(0.5, 12))
                    if kind := disturb(process, rng):
                        kills[kind] += 1
                        print(f"{time.monotonic() - began:.0f} s  {kills.total()}: {kind}", file=sys.stderr, flush=True)
                        if kind != "worker killed":
                            break
                if process.wait() == 0:
                    break
            found = tables(out)
            for got, expected in zip(found, wanted, strict=True):
                if got != expected:
                    sys.exit(f"after {dict(kills)} study {studies} says\n{got}\nundisturbed\n{expected}")
            same += 1
    kinds = ", ".join(f"{n} times {kind}" for kind, n in sorted(kills.items()))
    lines = [
        "# Killed again and again",
        "",
        f"`python -m benchmarks.kills --kills {args.kills} --seed {args.seed}`, {time.strftime('%Y-%m-%d')}, "
        f"{machine.describe()}, jax {machine.versions()['jax']}",
        "",
        f"A study of 40 runs on 2 workers, {kills.total()} kills at random moments ({kinds}), {sessions} invocations,",
        f"{same} of {studies} disturbed studies have the table of the undisturbed one, bit for bit",
        f"({len(wanted)} rows of runs and curves, all columns but {', '.join(CLOCKED)}).",
        f"Undisturbed {alone:.0f} s, all together {time.monotonic() - began:.0f} s.",
    ]
    print("\n".join(lines))
    if args.out:
        folders.write(args.out, ("\n".join(lines) + "\n").encode())


if __name__ == "__main__":
    main()
