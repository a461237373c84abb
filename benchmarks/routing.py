"""Tokens per second of routed small models on one core, beside the dense model of the same active FLOPs.

    python -m benchmarks.routing [--rounds 15] [--experts 8] [--d-model 64]

Two layers, 64 positions, vocabulary 512. The program is the one that studies run: a pack of one run, 16 updates per
dispatch, everything warm, no data read. Experts compute all their slots, so a capacity of 1.25 has the FLOPs of a dense
model whose feed-forward is 1.25 times as wide, which stands beside. All take turns in one process that has one core;
figures are medians over the rounds, ratios medians of each round's ratio to the dense model.
"""

import argparse
import dataclasses
import os
import statistics

from benchmarks.cpu_training import UPDATES, ours, timed

BATCHES = (8, 32)  # sequences of 64 tokens
WARM = 3  # dispatches before anything is timed
CAPACITIES = (1.0, 1.25)
ROUTINGS = ("hash", "top_k", "expert_choice")


def cases(d_model: int, experts: int) -> dict[str, object]:
    """What is compared, by name; the dense model first."""
    from scaling import ladder

    dense = ladder.transformer(d_model, 2)
    wide = dataclasses.replace(dense, d_ff=round(dense.d_ff * max(CAPACITIES)))
    found: dict[str, object] = {"dense": dense, f"dense, d_ff x {max(CAPACITIES):g}": wide}
    for routing in ROUTINGS:
        with_slots = routing in ("hash", "top_k")
        for capacity in ({"capacity": c} for c in CAPACITIES) if with_slots else ({},):
            name = ", capacity ".join([routing, *(f"{c:g}" for c in capacity.values())])
            found[name] = dataclasses.replace(dense, kind="routed", experts=experts, routing=routing, **capacity)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, metavar="N")
    parser.add_argument("--experts", type=int, default=8, metavar="E")
    parser.add_argument("--d-model", type=int, default=64, metavar="D")
    asked = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # before JAX counts the cores
    print("| tokens of a batch | model | thousand tokens/s | of the dense model's |")
    print("| --- | --- | --- | --- |")
    for batch in BATCHES:
        dispatches = max(1, 32 // batch)
        teams = {name: ours(model, batch) for name, model in cases(asked.d_model, asked.experts).items()}
        for update in teams.values():
            timed(update, WARM)
        seconds = {name: [] for name in teams}
        for i in range(asked.rounds):
            for name in list(teams)[:: 1 if i % 2 else -1]:
                seconds[name].append(timed(teams[name], dispatches))
        tokens = UPDATES * batch * 64 * dispatches
        for name, found in seconds.items():
            speed = tokens / statistics.median(found) / 1e3
            ratio = statistics.median(a / b for a, b in zip(seconds["dense"], found, strict=True))
            print(f"| {batch * 64:,} | {name} | {speed:.0f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
