"""What share of a pack's time passes outside the device's programs, and what share in checkpoints.

    python -m benchmarks.overhead [--seconds 65] [--n-ctx 64] [--batch 16]

One run of N = 12,288 (d_model 32, one layer) is trained by the trainer itself, on one pinned thread as a worker of a
study has it, for about a minute after a first one that compiles its programs. A program's time is from its call until
the trainer has its results; the rest is overhead, of which checkpoints are given apart. Then the same updates are done
with other things measured as well; the last column compares their processor time, which a busy machine disturbs less.
"""

import argparse
import dataclasses
import os
import tempfile
import time
from pathlib import Path
from typing import Any


class Busy:
    """Adds up the time from the call of a jitted function until the trainer has its results."""

    def __init__(self):
        self.seconds, self._began = 0.0, 0.0

    def update(self, function: Any) -> Any:
        """Training updates, watched: the trainer goes on with other things before it asks for the metrics."""

        def watched(*arguments: Any) -> Any:
            self._began = time.perf_counter()
            state, metrics = function(*arguments)
            names = list(metrics)
            return state, {name: Asked(metrics[name], self._over if name == names[0] else None) for name in names}

        return watched

    def measurement(self, function: Any) -> Any:
        """A measurement, watched: its results are asked for at once."""

        def watched(*arguments: Any) -> Any:
            self._began = time.perf_counter()
            results = function(*arguments)
            for leaf in results.values() if isinstance(results, dict) else [results]:
                leaf.block_until_ready()
            self._over()
            return results

        return watched

    def _over(self) -> None:
        self.seconds += time.perf_counter() - self._began


class Asked:
    """An array that tells when somebody has got its values."""

    def __init__(self, array: Any, tell: Any):
        self.array, self.tell = array, tell

    def __array__(self, *arguments: Any, **options: Any) -> Any:
        values = self.array.__array__(*arguments, **options)
        if self.tell:
            self.tell()
        return values


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=float, default=65)
    options.add_argument("--n-ctx", type=int, default=64)
    options.add_argument("--batch", type=int, default=16)
    args = options.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false --xla_backend_optimization_level=1"
    os.environ["JAX_PLATFORMS"] = "cpu"

    import numpy as np

    from scaling import checkpoints, measure, train
    from scaling.config import EvalConfig, RunConfig
    from scaling.ladder import transformer

    model = transformer(32, 1, d_head=8, n_ctx=args.n_ctx)
    stream = np.random.default_rng(0).integers(0, model.n_vocab, 2**20).astype(np.uint16)

    def run_of(steps: int, eval: EvalConfig) -> RunConfig:
        batch_tokens = args.batch * args.n_ctx
        return RunConfig(model, steps * batch_tokens, 2**19, batch=args.batch, eval=eval)

    def go(steps: int, eval: EvalConfig) -> tuple[float, float, float, float]:
        """Seconds in all, in programs, in checkpoints, and of processor time."""
        busy, saving = Busy(), [0.0]
        functions, measuring = train.compiled, measure.compiled
        begin, settle = checkpoints.Record.begin, checkpoints.Record.settle

        def watched(method: Any) -> Any:
            """What holds up the training; the first of two that call one another counts."""

            def call(*arguments: Any, **options: Any) -> None:
                checkpoints.Record.begin, checkpoints.Record.settle = begin, settle
                began = time.perf_counter()
                method(*arguments, **options)
                saving[0] += time.perf_counter() - began
                checkpoints.Record.begin, checkpoints.Record.settle = watched(begin), watched(settle)

            return call

        run = run_of(steps, eval)
        plain, plain_measuring = functions(run), measuring(run)
        train.compiled = lambda run, mesh: plain._replace(update=busy.update(plain.update))
        measure.compiled = lambda run, mesh: measure.Functions(*map(busy.measurement, plain_measuring))
        checkpoints.Record.begin, checkpoints.Record.settle = watched(begin), watched(settle)
        try:
            with tempfile.TemporaryDirectory() as folder:
                began, worked = time.perf_counter(), time.process_time()
                tokens = {"same": stream[2**19 :]}
                train.train([run], stream[: 2**19], stream[2**19 :], Path(folder), separator=0, transfer_tokens=tokens)
                whole, work = time.perf_counter() - began, time.process_time() - worked
        finally:
            train.compiled, measure.compiled = functions, measuring
            checkpoints.Record.begin, checkpoints.Record.settle = begin, settle
        return whole, busy.seconds, saving[0], work

    plain = EvalConfig()
    go(64, plain)
    seconds, _, saved, _ = go(256, plain)
    steps = max(256, int(256 * args.seconds / max(seconds - saved, 0.1)))
    form = "{:34} {:>8} {:>14} {:>16} {:>12}"
    print(f"N = {model.N:,}, {steps:,} updates of {args.batch} x {args.n_ctx} tokens")
    print(form.format("measured on the way", "seconds", "outside, %", "checkpoints, %", "processor, %"))
    base = 0.0
    for name, eval in {
        "held-out loss": plain,
        "and the noise, 4 batches": dataclasses.replace(plain, noise=4),
        "and another source": dataclasses.replace(plain, transfer=("same",)),
        "and 32 windows of the training text": dataclasses.replace(plain, train_windows=32),
    }.items():
        go(64, eval)  # compiles
        whole, busy, saved, work = go(steps, eval)
        base = base or work
        shares = [f"{100 * share:.2f}" for share in ((whole - busy) / whole, saved / whole, work / base)]
        print(form.format(name, f"{whole:.1f}", *shares), flush=True)


if __name__ == "__main__":
    main()
