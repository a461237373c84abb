"""What an accelerator gives: the tests that it can run, the MFU of a model of 124M, a pack of 64 small models at once.

    python -m benchmarks.accelerator [--out DIR] [--minutes 13] [--small]

One script for a machine that is lent for a quarter of an hour. Each part is a process of its own, whose time is
bounded, and leaves its result in DIR (`$OUT`, or accelerator/) as soon as it has one: tests.txt, mfu.json, packs.json.
It needs a JAX that sees the accelerator, and what else pyproject.toml names; `--small` tries the script on a CPU.

mfu: GPT-2's small shape (12 layers of 768, heads of 64, contexts of 1024, 50,304 tokens) in bfloat16, batches of 16 to
128 sequences, trained by the trainer as `study run` calls it; model FLOP by the convention of docs/pods.md. packs: one
model of 2 layers of 64 alone, and 64 of them as lanes of one program; what a pack saves is 64 times the one over the
other. Seconds of an update are those between the middle and the end of a run, of which two evaluations take a part.
"""

import argparse
import dataclasses
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SHARES = {"tests": 0.35, "mfu": 0.4, "packs": 0.25}  # of the time
TESTS = ("attention", "packs", "step", "transformer", "train")  # what an accelerator may do otherwise than a CPU
PART = "part"
EPOCH = 8  # batches of text


def main() -> int:
    verb = argparse.ArgumentParser(description="What an accelerator gives.")
    verb.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", "accelerator")))
    verb.add_argument("--minutes", type=float, default=13.0)
    verb.add_argument("--small", action="store_true", help="sizes that a CPU can do")
    verb.add_argument(f"--{PART}", choices=SHARES, help=argparse.SUPPRESS)
    args = verb.parse_args()
    if args.part:
        {"mfu": mfu, "packs": packs}[args.part](args.out, args.small)
        return 0
    args.out.mkdir(parents=True, exist_ok=True)
    failed = 0
    for part, share in SHARES.items():
        words = [sys.executable, "-m", "benchmarks.accelerator", f"--{PART}", part, "--out", str(args.out)]
        words += ["--small"] * args.small
        if part == "tests":
            files = [f"tests/test_{name}.py" for name in TESTS[: 1 if args.small else None]]
            words = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-m", "not slow", *files]
        began = time.monotonic()
        with (args.out / f"{part}.txt").open("w") as log:
            try:
                code = subprocess.run(words, stdout=log, stderr=log, timeout=60 * args.minutes * share).returncode
                ended = f"ended with {code}"
            except subprocess.TimeoutExpired:
                code, ended = 1, "was ended when its time was over"
        failed += code != 0
        print(f"{part}: {ended} after {time.monotonic() - began:.0f} s", flush=True)
        print("\n".join((args.out / f"{part}.txt").read_text().splitlines()[-8:]), flush=True)
    return 3 if failed else 0


def keep(out: Path, part: str, rows: list[dict[str, Any]]) -> None:
    """Writes what there is so far, and says the last of it."""
    import jax

    from scaling import machine

    told = {"devices": [device.device_kind for device in jax.devices()], "versions": machine.versions(), "rows": rows}
    (out / f"{part}.json").write_text(json.dumps(told, indent=1, default=str))
    print(rows[-1], flush=True)


def update_seconds(runs: list, steps: int) -> float:
    """Of an update of a pack, by the trainer: of its second half, when all programs are there."""
    import numpy as np

    from scaling import train

    run, marks = runs[0], {}
    tokens = np.random.default_rng(0).integers(0, run.model.n_vocab, run.batch_tokens * (EPOCH + 1), np.int32)
    with tempfile.TemporaryDirectory() as folder:
        train.train(
            runs,
            tokens,
            tokens[: run.model.n_ctx * run.eval.windows],
            Path(folder),
            separator=0,
            say=lambda line: None,
            progress=lambda done: marks.update({done: time.perf_counter()}),
        )
    middle = min((done for done in marks if done >= steps // 2), default=0)
    return (marks[steps] - marks[middle]) / (steps - middle)


def mfu(out: Path, small: bool) -> None:
    """Model FLOP/s of the whole trainer over the device's peak."""
    from scaling import counts, layout
    from scaling.config import EvalConfig, RunConfig
    from scaling.ladder import transformer
    from scaling.watch import peak

    if small:
        layout.pin("cpu", layout.cores()[-1])
    import jax

    shape = (64, 2, 16, 256, 64) if small else (768, 12, 64, 50_304, 1024)
    d_model, n_layer, d_head, n_vocab, n_ctx = shape
    model = transformer(d_model, n_layer, d_head=d_head, n_vocab=n_vocab, n_ctx=n_ctx)
    rows: list[dict[str, Any]] = []
    for batch in (2, 4) if small else (16, 32, 64, 128):
        for remat in ("none", "matmuls"):
            steps = 32 if small else 64
            run = RunConfig(
                model,
                tokens=steps * batch * n_ctx,
                unique_tokens=EPOCH * batch * n_ctx,
                batch=batch,
                dtype="bfloat16",
                remat=remat,
                eval=EvalConfig(windows=8, per_octave=1, octaves=1),
            )
            row: dict[str, Any] = {"N": model.N, "batch": batch, "remat": remat}
            try:
                seconds = update_seconds([run], steps)
                rate = run.batch_tokens * counts.mfu_flops_per_token(model) / seconds
                each = peak(jax.devices()[0].device_kind)
                row |= {"s_per_update": seconds, "tokens_per_s": run.batch_tokens / seconds, "flop_per_s": rate}
                row |= {"mfu": rate / each if math.isfinite(each) else None}
            except jax.errors.JaxRuntimeError as error:  # what there is no room for is a result, and the next may fit
                row |= {"error": (str(error).splitlines() or [type(error).__name__])[0][:300]}
            rows.append(row)
            keep(out, "mfu", rows)


def packs(out: Path, small: bool) -> None:
    """One run alone, and packs of it."""
    from scaling import layout
    from scaling.config import EvalConfig, RunConfig
    from scaling.ladder import transformer

    if small:
        layout.pin("cpu", layout.cores()[-1])
    d_model, n_ctx, steps = (16, 32, 64) if small else (64, 256, 512)
    model = transformer(d_model, 2, d_head=8, n_vocab=257, n_ctx=n_ctx)
    run = RunConfig(
        model,
        tokens=steps * 16 * n_ctx,
        unique_tokens=EPOCH * 16 * n_ctx,
        batch=16,
        eval=EvalConfig(windows=8, per_octave=1, octaves=1),
    )
    rows: list[dict[str, Any]] = []
    for lanes in (1, 4) if small else (1, 8, 64, 256):
        seconds = update_seconds([dataclasses.replace(run, seed=seed) for seed in range(lanes)], steps)
        alone = rows[0]["s_per_update"] if rows else seconds
        rate = lanes * run.batch_tokens / seconds
        rows.append({"N": model.N, "lanes": lanes, "s_per_update": seconds, "tokens_per_s": rate})
        rows[-1]["times_one_by_one"] = lanes * alone / seconds
        keep(out, "packs", rows)


if __name__ == "__main__":
    sys.exit(main())
