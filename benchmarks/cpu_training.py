"""Tokens per second of training a small GPT on two cores, against PyTorch eager on the same model in the same minutes.

    python -m benchmarks.cpu_training --torch PYTHON [--layouts threads pinned pair] [--rounds 15] [--updates 16]

PYTHON is an interpreter that has PyTorch, in an environment of its own. Ours is the program that studies run: a pack of
one run, many updates per dispatch. PyTorch's model and update are in `benchmarks/torch_gpt.py`; it tries its fused and
its plain attention and its fused and its grouped optimiser, and keeps the fastest. Everything is warm, no data is read.
The two take turns; figures are medians over the rounds, ratios medians of each round's ratio. Processor seconds stand
beside the clock's, since other programs on the machine disturb them less.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

BATCH, N_CTX, N_VOCAB, N_LAYER, N_HEAD = 16, 128, 512, 4, 4
WIDTHS = (64, 128)
LAYOUTS = {"threads": "one process, two threads", "pinned": "one pinned process", "pair": "two pinned processes"}


def ours(d_model: int) -> Callable[[int], None]:
    """A function that does n updates (at most 16 a dispatch) and waits for them."""
    import jax
    import numpy as np

    from scaling import step, train
    from scaling.config import ModelConfig, RunConfig

    model = ModelConfig(d_model, N_LAYER, N_HEAD, d_model, 4 * d_model, N_VOCAB, N_CTX)
    run = RunConfig(model, tokens=10_000 * BATCH * N_CTX, batch=BATCH)
    functions = train.compiled(run)
    hyper = step.Hyper.of((run,))
    state = functions.init(hyper)
    tokens = np.random.default_rng(0).integers(0, N_VOCAB, (16, 1, BATCH, N_CTX + 1), np.int32)

    def update(n: int) -> None:
        nonlocal state
        state, metrics = functions.update(hyper, state, tokens, n)
        jax.block_until_ready(metrics)

    return update


def pytorch(d_model: int) -> Callable[[int], None]:
    """The same of the fastest of PyTorch's ways."""
    import torch  # pyright: ignore[reportMissingImports]  # in an environment of its own

    from benchmarks.torch_gpt import GPT, Trainer

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    tokens = torch.randint(0, N_VOCAB, (16, BATCH, N_CTX + 1))

    def updates(trainer: Trainer) -> Callable[[int], None]:
        def update(n: int) -> None:
            for i in range(n):
                trainer.update(tokens[i])

        return update

    ways = {}
    for fused_attention in (True, False):
        for fused_update in (True, False):
            model = GPT(d_model, N_LAYER, N_HEAD, N_VOCAB, N_CTX, fused_attention)
            update = updates(Trainer(model, fused_update))
            update(2)
            ways[min(timed(update, 3)[0] for _ in range(3))] = update
    return ways[min(ways)]


def timed(update: Callable[[int], None], n: int) -> tuple[float, float]:
    """Seconds of the clock and of the processor that n updates take."""
    clock, processor = time.perf_counter(), time.process_time()
    update(n)
    return time.perf_counter() - clock, time.process_time() - processor


def serve(who: str, d_model: int, core: int | None) -> None:
    """A worker: reads numbers of updates, one a line, and answers each with its seconds."""
    if core is not None:
        os.sched_setaffinity(0, {core})  # before JAX or PyTorch count the cores
    update = {"ours": ours, "PyTorch": pytorch}[who](d_model)
    update(2)
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(timed(update, int(line))), flush=True)


class Team:
    """One or more workers that are asked at the same time."""

    def __init__(self, who: str, python: str, d_model: int, cores: tuple[int | None, ...]):
        self.workers = []
        for core in cores:
            command = [python, "-m", "benchmarks.cpu_training", "--serve", who, "--width", str(d_model)]
            command += [] if core is None else ["--core", str(core)]
            worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            assert worker.stdin is not None
            assert worker.stdout is not None
            self.workers.append((worker, worker.stdin, worker.stdout))
            if worker.stdout.readline() != "ready\n":
                raise SystemExit(f"the worker of {who} did not start; see above")

    def tokens_per_second(self, n: int) -> tuple[float, float]:
        """By the clock, of all workers together, and per processor second."""
        for _, ask, _ in self.workers:
            ask.write(f"{n}\n")
            ask.flush()
        seconds = [json.loads(answer.readline()) for _, _, answer in self.workers]
        done = n * BATCH * N_CTX
        processor = sum(spent for _, spent in seconds)
        return sum(done / clock for clock, _ in seconds), done * len(seconds) / processor

    def close(self) -> None:
        for worker, ask, _ in self.workers:
            ask.close()
            worker.wait()


def compare(torch_python: str, layouts: list[str], rounds: int, updates: int) -> Iterator[dict]:
    """The rows of the table, each as soon as it is measured."""
    cores = sorted(os.sched_getaffinity(0))
    places = {"threads": (None,), "pinned": (cores[-1],), "pair": (*cores[:2],)}
    for d_model in WIDTHS:
        for layout in layouts:
            placed = places[layout]
            teams = [Team("ours", sys.executable, d_model, placed), Team("PyTorch", torch_python, d_model, placed)]
            found = []
            for i in range(rounds):
                turn = teams if i % 2 else teams[::-1]
                speeds = {team: team.tokens_per_second(updates) for team in turn}
                found.append([speeds[team] for team in teams])
            for team in teams:
                team.close()
            for kind, name in enumerate(("by the clock", "per processor second")):
                ratios = [one[kind] / two[kind] for one, two in found]
                yield {
                    "d_model": d_model,
                    "layout": LAYOUTS[layout],
                    "tokens": name,
                    "ours": statistics.median(one[kind] for one, _ in found),
                    "pytorch": statistics.median(two[kind] for _, two in found),
                    "ratio": statistics.median(ratios),
                    "quartiles": statistics.quantiles(ratios)[::2],
                }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch", help="an interpreter that has PyTorch")
    parser.add_argument("--layouts", nargs="+", choices=LAYOUTS, default=list(LAYOUTS))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--updates", type=int, default=16, help="per turn, at most the 16 of a dispatch")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--width", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--core", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        return serve(arguments.serve, arguments.width, arguments.core)
    if not arguments.torch or not Path(arguments.torch).exists():
        parser.error(f"--torch {arguments.torch}: wanted the path of a Python that has PyTorch")
    print("| d_model | layout | tokens | ours | PyTorch | ours / PyTorch (quartiles) |")
    print("| --- | --- | --- | --- | --- | --- |")
    for row in compare(arguments.torch, arguments.layouts, arguments.rounds, arguments.updates):
        low, high = row["quartiles"]
        print(
            f"| {row['d_model']} | {row['layout']} | {row['tokens']} | {row['ours']:,.0f} | {row['pytorch']:,.0f} "
            f"| {row['ratio']:.2f} ({low:.2f} to {high:.2f}) |",
            flush=True,
        )
    return None


if __name__ == "__main__":
    main()
