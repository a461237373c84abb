"""A study of 32 runs under 1e5 parameters, against the same runs one after another in one warm process.

    python -m benchmarks.packing [--rounds 5] [--steps 512] [--workers 2] [--pack 1]

The baseline is one process that has both cores, has read the tokens and has compiled its programs: it calls the
trainer run by run. Ours is `study run`; what is compared is the time from the first pack's claim to the last pack's
end, in which workers also load programs from the cache. The whole command, and the first one with nothing cached,
stand beside it. The two take turns; figures are medians, the ratio the median of each round's.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from scaling import study, workers
from scaling.config import DataConfig, EvalConfig, OptimConfig, RunConfig, Study
from scaling.ladder import ladder

DATA = DataConfig("synthetic:order=1,symbols=16,bytes=4e6", "bytes")
SHAPES = tuple((d, 2) for d in (8, 16, 24, 32, 40, 48, 56, 64))


def the_study(steps: int) -> Study:
    runs = (
        RunConfig(
            model,
            tokens=256 * steps,
            batch=4,
            unique_tokens=2**19,
            seed=seed,
            data=DATA,
            optim=OptimConfig(learning_rate=5e-3),
            eval=EvalConfig(windows=128),
        )
        for model in ladder(SHAPES, d_head=8, n_vocab=257)
        for seed in range(4)
    )
    return Study("packing", "How long do 32 small runs take?", tuple(runs))


def one_after_another(whole: study.StudyFolder) -> None:
    """Trains every run of a study by itself, at each line that is read; answers with its seconds."""
    from scaling import train
    from scaling.data.token_set import open_tokens

    (folder,) = whole.tokens.values()
    stream = open_tokens(Path(folder))
    runs = [run.config for pack in whole.packs for run in pack.runs]

    def go() -> float:
        with tempfile.TemporaryDirectory() as out:
            began = time.perf_counter()
            for i, run in enumerate(runs):
                train.train(
                    [run],
                    stream.train,
                    stream.validation,
                    Path(out) / str(i),
                    separator=stream.separator,
                    say=lambda line: None,
                )
            return time.perf_counter() - began

    go()
    print("ready", flush=True)
    for _ in sys.stdin:
        print(go(), flush=True)


def together(steps: int, folder: Path, spread: argparse.Namespace) -> tuple[float, float]:
    """Seconds of the packs and of the whole, trained by workers."""
    began = time.time()
    whole = study.prepare(the_study(steps), folder, workers=spread.workers, pack=spread.pack, say=lambda line: None)
    outcome = workers.run(whole, shared=True, say=print)
    assert outcome.exit_code == 0
    ended = time.time()
    first = min(json.loads(claim.read_text())["began"] for claim in folder.glob("packs/*/claim-*"))
    last = max(done.stat().st_mtime for done in folder.glob("packs/*/*/done.json"))
    return last - first, ended - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=512)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--pack", type=int, default=1)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        return one_after_another(study.read(Path(args.serve)))
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        os.environ["SCALING_CACHE"], os.environ["JAX_COMPILATION_CACHE_DIR"] = (
            str(home / "cache"),
            str(home / "compiled"),
        )
        _, cold = together(args.steps, home / "cold", args)
        command = [sys.executable, "-m", "benchmarks.packing", "--serve", str(home / "cold")]
        worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert worker.stdin
        assert worker.stdout
        assert worker.stdout.readline() == "ready\n"
        found = []
        for i in range(args.rounds):
            worker.stdin.write("\n")
            worker.stdin.flush()
            alone = float(worker.stdout.readline())
            packs, command_ = together(args.steps, home / str(i), args)
            found.append((alone, packs, command_, alone / packs))
            print(" ".join(f"{value:.2f}" for value in found[-1]), flush=True)
        worker.stdin.close()
        worker.wait()
    alone, packs, warm, ratio = (statistics.median(column) for column in zip(*found, strict=True))
    print(f"one after another in a warm process  {alone:6.1f} s")
    print(f"packs of a study, {args.workers} workers          {packs:6.1f} s, {ratio:.2f} times as fast")
    print(f"the whole command, programs cached   {warm:6.1f} s; with nothing cached {cold:.1f} s")
    return None


if __name__ == "__main__":
    main()
