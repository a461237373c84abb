"""Two-step forecasts of accuracy on other groups' runs, held to their targets: which of them would be refused?

    python -m benchmarks.two_steps ../shared/reference_runs [--out results/two_steps.md]

The OLMo ladder (Bhagia et al. 2024): 16 runs of four sizes, two targets. The test bed of Gadre et al. (2024): the runs
below 1.4e9 parameters, three targets to each of three texts.
"""

import argparse
import datetime
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from analysis.fit import fit
from analysis.load import load
from analysis.table import Table
from analysis.two_step import WIDE, TwoStep, two_step
from benchmarks.calibration import machine
from scaling import folders

TASKS = {
    "mmlu": "MMLU",
    "hellaswag": "HellaSwag",
    "arc_challenge": "ARC-C",
    "arc_easy": "ARC-E",
    "piqa": "PIQA",
    "csqa": "CSQA",
    "socialiqa": "SocialIQA",
    "openbookqa": "OBQA",
}
AUTHORS = {"loss": "huber", "delta": 1e-3, "every_run": True}  # of step 1; the sum, from one start
PUBLISHED = (0.18, -1.17, 9.4, 16.0, -2.7, -18.5, 3.6, 0.9)  # per cent, step 1, the 13B target
STEP_2 = {"log": False, "loss": "squared"}  # curve_fit
TEXTS = {"c4_original": "C4", "rpj": "RedPajama", "rw_original": "RefinedWeb"}
LARGE = 1.4e9  # parameters from which on a run of Gadre et al. is a target


def olmo(root: Path) -> Iterator[str]:
    table = load(root / "olmo2024_ladder" / "runs.csv")
    ladder, targets = table.where(table["params"] < 2e9, "a target"), table.where(table["params"] > 2e9, "the ladder")
    yield "## The OLMo ladder: loss on the task at the targets (step 1)\n"
    yield "| task | published, 13B | by the authors' choices | by ours | ours, 95 % of one run | inside, 7B and 13B |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for (task, name), published in zip(TASKS.items(), PUBLISHED, strict=True):
        column = f"bpb_{task}"
        theirs, own = fit("chinchilla", ladder, target=column, **AUTHORS), fit("chinchilla", ladder, target=column)
        N, D = targets["params"], targets["tokens"]
        true, band = targets[column], own.predict(run=True, params=N, tokens=D)
        half = 50 * (band.high - band.low) / band.value
        inside = ["yes" if low < y < high else "no" for low, y, high in zip(band.low, true, band.high, strict=True)]
        errors = [100 * (found.predict(params=N, tokens=D).value[1] / true[1] - 1) for found in (theirs, own)]
        yield (
            f"| {name} | {published:+g} % | {errors[0]:+.2f} % | {errors[1]:+.2f} % | ± {half[1]:.0f} % | "
            f"{', '.join(inside)} |"
        )
    yield "\n## The OLMo ladder: accuracy in two steps\n"
    yield "| task | target | true | forecast | 95 % of one run | inside | refused, because |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for task, name in TASKS.items():
        if not np.isfinite(ladder[f"acc_{task}"]).any():
            yield f"| {name} | – | – | – | – | – | no accuracies in the table |"
            continue
        found = two_step(ladder, f"bpb_{task}", f"acc_{task}", how_second=STEP_2)
        for k, size in enumerate(("7B-4T", "13B-5T")):
            at = {column: float(targets[column][k]) for column in ("params", "tokens")}
            yield row(f"{name} | {size}", found, at, float(targets[f"acc_{task}"][k]))


def gadre(root: Path) -> Iterator[str]:
    folder = root / "gadre2024_overtraining"
    runs = load(folder / "runs.csv", {"loss": "loss_c4_val"})
    runs = runs.with_columns(error=load(folder / "downstream_accuracy.csv")["mean_error_17"])
    yield "\n## Gadre et al.: mean error on 17 tasks in two steps\n"
    yield "| text | target | true | forecast | 95 % of one run | inside | refused, because |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for source, name in TEXTS.items():
        table = runs.where(runs["dataset"] == source, "another text")
        small = table.where((table["params"] < LARGE) & (table["chinchilla_multiplier"] >= 1), "a target, or too short")
        found = two_step(small, "loss", "error", first="gadre", second="gadre-error", ceiling=None)
        for large in rows_of(table.where(table["params"] >= LARGE, "small")):
            at = {column: float(large[column]) for column in ("params", "tokens")}
            ratio = at["tokens"] / at["params"]
            yield row(f"{name} | {at['params']:.2g} at {ratio:.0f} tokens each", found, at, float(large["error"]))


def rows_of(table: Table) -> Iterator[dict[str, float]]:
    for k in range(len(table)):
        yield {name: table[name][k] for name in ("params", "tokens", "error")}


def row(label: str, found: TwoStep, at: dict[str, float], true: float) -> str:
    told, doubts = found.predict(**at), found.doubts(**at)
    inside = "yes" if told.low <= true <= told.high else "**no**"
    return (
        f"| {label} | {true:.3f} | {told.value:.3f} ({100 * (told.value / true - 1):+.1f} %) | {told.low:.3f} to "
        f"{told.high:.3f} | {inside} | {'; '.join(doubts) or '–'} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--out", type=Path, default=Path("results/two_steps.md"))
    args = parser.parse_args()
    lines = [
        "# Accuracy in two steps, on other groups' runs\n",
        f"`python -m benchmarks.two_steps ../shared/reference_runs`, {datetime.date.today():%Y-%m-%d}, {machine()}.\n",
        "Step 1: L(N, D) of the task's own loss; step 2: accuracy by that loss, both drawn again together from the "
        "same runs (`analysis/two_step.py`, docs/emergence.md). A forecast is refused where a law is doubtful or at a "
        "bound, where the loss is as far below the runs' as these differ, where the runs do not tell where accuracy "
        f"ends, or where its interval is wider than ± {WIDE:g}. These rules were made while looking at the OLMo "
        "targets: that their forecasts lie inside says less than the runs of Gadre et al., which came after.\n",
        *olmo(args.runs),
        *gadre(args.runs),
    ]
    folders.write(args.out, "\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
