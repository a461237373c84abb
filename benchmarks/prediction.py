"""How near is the time that `scaling study show --calibrate` predicts?

    python -m benchmarks.prediction --out results/prediction.md

Three studies that differ in sizes, lengths and schedules are predicted for one worker, after their programs were
measured in a cache of their own, and then trained. Both sides are seconds of a core, which other programs on the
machine do not change.
"""

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path

from scaling import calibration, folders, machine, study, workers
from scaling.config import DataConfig, EvalConfig, OptimConfig, RunConfig, Study
from scaling.ladder import ladder

DATA = DataConfig("synthetic:order=1,symbols=8,bytes=4e6", "bytes")


def studies() -> list[Study]:
    def a_run(d_model: int, steps: int, seed: int = 0, windows: int = 128, **optim) -> RunConfig:
        (model,) = ladder([(d_model, 2)], d_head=8, n_vocab=257)
        return RunConfig(
            model,
            tokens=256 * steps,
            batch=4,
            unique_tokens=2**19,
            seed=seed,
            data=DATA,
            optim=OptimConfig(learning_rate=5e-3, **optim),
            eval=EvalConfig(windows=windows),
        )

    return [
        Study("seeds", "one small size, many seeds", tuple(a_run(8, 1500, seed) for seed in range(10))),
        Study(
            "lengths",
            "two sizes at four lengths",
            tuple(a_run(d_model, steps) for d_model in (24, 40) for steps in (250, 500, 1000, 2000)),
        ),
        Study(
            "cooldowns",
            "four lengths from one trunk, two seeds",
            tuple(
                a_run(16, steps, seed=seed, windows=64, schedule="wsd", warmup_tokens=256 * 50)
                for seed in range(2)
                for steps in (400, 800, 1600, 3200)
            ),
        ),
    ]


def children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        os.environ["SCALING_CACHE"] = str(Path(name) / "cache")
        for each in studies():
            before = calibration.kept("cpu")
            began = children()
            costs = calibration.calibrate(each.runs, before, 2, print)
            measuring = children() - began
            whole = study.prepare(each, Path(name) / each.name, workers=1, say=print)
            work = [pack.configs for pack in whole.packs]
            rule, predicted = calibration.Costs("cpu").makespan(work, 1), costs.makespan(work, 1)
            began, clock = children(), time.monotonic()
            outcome = workers.run(whole, shared=True, say=print)
            assert outcome.exit_code == 0
            took, wall = children() - began, time.monotonic() - clock
            rows.append(
                f"| {each.name}: {each.question} | {len(each.runs)} | {measuring:.0f} | {predicted:.1f} | {took:.1f} "
                f"| {predicted / took:.2f} | {rule / took:.2f} | {wall:.0f} |"
            )
            print(rows[-1], flush=True)
    lines = [
        "# Predicted and taken",
        "",
        f"`python -m benchmarks.prediction`, {time.strftime('%Y-%m-%d')}, {machine.describe()}, "
        f"jax {machine.versions()['jax']}, load {os.getloadavg()[0]:.0f}",
        "",
        "Seconds of a core with one worker; the last column is the clock on the wall, with what else the machine did.",
        "",
        "| study | runs | measuring | predicted | taken | ratio | ratio of the rule alone | wall |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        *rows,
    ]
    print("\n".join(lines))
    if args.out:
        folders.write(args.out, ("\n".join(lines) + "\n").encode())


if __name__ == "__main__":
    main()
