"""Do forecasts hold? Laws walked forward through run tables that nobody made for it, other groups' and our own.

    python -m benchmarks.backtest ../shared/reference_runs [--laws chinchilla q-norm average] [--out results]

Writes results/backtest.md and results/backtest.json.
"""

import argparse
import dataclasses
import datetime
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from analysis.backtest import LEVELS, Backtest, Step, backtest
from analysis.confidence import LEVEL
from analysis.jsonable import jsonable
from analysis.load import load
from analysis.table import Table
from benchmarks.calibration import machine
from scaling.errors import InputError

PAIR = ("chinchilla", "q-norm")  # of which the narrower interval is taken too, step by step
NOT_WALKED = (
    "- luo2025_loss_curves: whole loss curves under schedules, another question (`scaling predict CURVES --schedule`).",
    "- regmix2024_mixtures: losses over the shares of a mixture, another question (`docs/mixtures.md`).",
    "- our own shapes and architecture: one or two sizes, at which something else differs.",
    "- our own positions and transfer: one length at each size, so that no ladder of N and D is there.",
    "- our own learning_rate: each size and length at many rates, of which most are bad ones.",
)
LEAST = 1.0  # tokens per parameter: runs with fewer have hardly left their first loss


@dataclasses.dataclass(frozen=True)
class Set:
    """Runs of one setting: a file, what its columns are called, and which of its rows."""

    source: str
    path: str
    columns: dict[str, str]
    where: dict[str, str] = dataclasses.field(default_factory=dict)
    drop_worst: int = 0
    text: str = ""  # whose loss it is, where a table has several

    @property
    def name(self) -> str:
        words = [value for column, value in self.where.items() if column != "outlier"]
        return " ".join([self.source, *words, *([self.text] if self.text else [])])

    def table(self, root: Path) -> Table:
        table = load(root / self.path, self.columns)
        for column, value in self.where.items():
            table = table.matching(f"{column}={value}")
        table = dataclasses.replace(table, excluded=())  # other settings are other sets
        for name in ("params", "tokens", "loss"):
            table = table.where(np.isfinite(table[name]), f"no {name}")
        if self.drop_worst:
            order = np.argsort(table["loss"])
            table = table.where(np.isin(np.arange(len(table)), order[: -self.drop_worst]), "largest losses")
        return table.where(table["tokens"] >= LEAST * table["params"], f"fewer than {LEAST:g} tokens per parameter")


def others() -> Iterator[Set]:
    yield Set(
        "besiroglu2024",
        "besiroglu2024_chinchilla/svg_extracted_data.csv",
        {"params": "Model Size", "flops": "Training FLOP"},
        drop_worst=5,
    )
    for dataset in ("c4_original", "rpj", "rw_original"):
        yield Set("gadre2024", "gadre2024_overtraining/runs.csv", {"loss": "loss_c4_val"}, {"dataset": dataset})
    for experiment in ("comma", "dclm", "nemotron"):
        where = {"experiment": f"marin_202603__{experiment}__llama_2", "outlier": "False"}
        yield Set("isoflop", "isoflop_collection/isoflops.csv", {"flops": "budget"}, where)
    where = {"experiment": "misfitting__fineweb_c4__transformer", "outlier": "False"}
    yield Set("isoflop", "isoflop_collection/isoflops.csv", {"flops": "budget"}, where)
    yield Set(
        "muennighoff2023",
        "muennighoff2023_data_constrained/runs.csv",
        {"params": "n_params"},
        {"in_published_fit": "1"},
    )
    for text in ("c4_en", "dolma_stack", "pile", "wikitext_103"):
        yield Set("olmo2024", "olmo2024_ladder/runs.csv", {"loss": f"loss_on_{text}"}, text=text)
    for dataset in ("rw", "owt2"):
        for hparams, warmup, decay in (
            ("base", "long", "kaplan"),
            ("base", "short", "kaplan"),
            ("base", "short", "chinchilla"),
            ("tuned", "short", "const"),
        ):
            where = {"dataset": dataset, "hparams": hparams, "warmup": warmup, "decay": decay}
            where |= {"param_count": "standard", "loss_kind": "val"}
            yield Set("porian2024", "porian2024_isoflop/isoflop_points.csv", {"params": "n_params"}, where)
    yield Set(
        "sardana2024",
        "sardana2024_overtraining/trainingresults.csv",
        {"params": "Parameters", "tokens": "Tokens", "loss": "Smoothed Loss"},
    )


def ours() -> Iterator[Set]:
    for name in ("chinchilla", "english", "isoflop", "quickstart"):
        yield Set(f"own: {name}", f"{name}/runs.csv", {})


@dataclasses.dataclass(frozen=True)
class Line:
    """One set: its back-test, or why there is none."""

    set: Set
    found: Backtest | None
    why: str = ""


def lines_of(sets: list[tuple[Set, Path]], law: str) -> Iterator[Line]:
    for each, root in sets:
        try:
            yield Line(each, backtest(law, each.table(root)))
        except InputError as error:
            yield Line(each, None, str(error))


def of_the_pair(found: dict[str, list[Line]]) -> dict[str, list[Line]]:
    """Both forms of `PAIR` on the steps that they share, and of each step the one whose interval is narrower."""
    told: dict[str, list[Line]] = {}
    for one, other in zip(*(found[law] for law in PAIR), strict=True):
        if not (one.found and other.found):
            continue
        rival = {_key(step): step for step in other.found.steps}
        pairs = [(step, rival[_key(step)]) for step in one.found.steps if _key(step) in rival]
        if not pairs:
            continue
        narrow = [min(pair, key=lambda s: float(np.median(s.half_of_run[LEVELS.index(LEVEL)]))) for pair in pairs]
        for name, steps in zip((*PAIR, "the narrower"), (*zip(*pairs, strict=True), narrow), strict=True):
            line = dataclasses.replace(one, found=dataclasses.replace(one.found, law=name, steps=tuple(steps)))
            told.setdefault(f"{name}, steps of both", []).append(line)
    return told


def _key(step: Step) -> tuple[int, bytes]:
    """What tells a step: how many rows it fits, and what it predicts."""
    return step.fitted, step.measured.tobytes()


def overall(lines: list[Line]) -> dict[str, float]:
    """Means in which every source counts alike, however many settings it has."""
    groups: dict[str, list[Backtest]] = {}
    for line in lines:
        if line.found:
            groups.setdefault(line.set.source, []).append(line.found)

    def mean(value) -> float:
        return float(np.mean([np.nanmean([value(found) for found in group]) for group in groups.values()]))

    return {
        "covered": mean(lambda b: b.covered()),
        "covered_of_law": mean(lambda b: b.covered(run=False)),
        "covered_near": mean(lambda b: b.covered(most=8.0)),
        "least": min(float(np.mean([b.covered() for b in group])) for group in groups.values()),
        "least_of_runs": min(b.inside() / b.predictions() for group in groups.values() for b in group),
        "half_width": float(np.nanmedian([np.nanmedian([b.half_width() for b in g]) for g in groups.values()])),
        "reach": float(np.nanmedian([np.nanmedian([b.reach() for b in g]) for g in groups.values()])),
        "score": mean(lambda b: b.score()),
        "predictions": sum(b.predictions() for group in groups.values() for b in group),
    }


def told(law: str, all_: dict[str, float]) -> str:
    return (
        f"| `{law}` | {all_['predictions']:,} | {all_['covered_of_law']:.1%} | {all_['covered']:.1%} "
        f"| {all_['covered_near']:.1%} | {all_['least']:.1%} | {all_['least_of_runs']:.1%} "
        f"| {all_['half_width']:.1%} | {all_['reach']:.1%} | {all_['score']:.3f} |"
    )


def report(found: dict[str, list[Line]], pair: dict[str, list[Line]], command: str, seconds: float) -> str:
    text = [
        "# Do the forecasts hold?",
        "",
        f"`{command}`, {datetime.date.today()}, {seconds / 60:.1f} minutes of one processor, {machine()}.",
        "",
        "Laws walked forward through run tables that nobody made for it (`analysis/backtest.py`): the runs up to",
        "a size are fitted with all defaults and the larger ones predicted, in up to six steps along N D and six",
        "along N, each with at least three times as many runs as constants. `average` is of the forms that suit a",
        f"table, by what they gave rows held out (`analysis/average.py`). Runs with fewer than {LEAST:g} token per",
        "parameter are left out, as is what the authors marked as outliers.",
        "",
        "`of the law`: share of the predicted runs inside the 95 % interval of the law alone, which takes its",
        "form for true. `of one run`: inside that of one run, which holds the law's own error; steps count alike,",
        "and `inside` counts runs.",
        "Half-width: of one run, median where the predicted run is 2 to 8 times beyond the fitted. Needed: the",
        "half-width that would have held 95 % of these runs, had it been known: no interval of one width about these",
        "predictions does with less. Score: interval score in ln(loss), lower is better. In the first table every",
        "source counts alike; the lowest source is by steps, the lowest set by runs. A doubtful fit would forecast",
        "nothing and is not counted (`refused` in the JSON).",
        "",
        "Tables beside these that are not walked:",
        "",
        *NOT_WALKED,
        "",
        "| | predictions | of the law | of one run | up to 8 times beyond | lowest source | lowest set | half-width "
        "| needed | score |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        *(told(law, overall(lines)) for law, lines in (found | pair).items()),
    ]
    for law, lines in found.items():
        text += [
            "",
            f"## {law}",
            "",
            "| runs | rows | fits | rms error | of the law | of one run | inside | half-width | needed | score |",
            "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        ]
        for line in lines:
            b = line.found
            if b is None:
                text.append(f"| {line.set.name} | none: {line.why} | | | | | | | | |")
                continue
            text.append(
                f"| {line.set.name} | {b.rows} | {len(b.steps)} | {b.rms():.1%} | {b.covered(run=False):.0%} "
                f"| {b.covered():.0%} | {b.inside()} of {b.predictions()} | {b.half_width():.1%} | {b.reach():.1%} "
                f"| {b.score():.3f} |"
            )
    return "\n".join(text) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="Do forecasts hold?")
    parser.add_argument("runs", type=Path, help="other groups' run tables")
    parser.add_argument("--laws", nargs="+", default=["chinchilla", "q-norm", "average"])
    parser.add_argument("--results", type=Path, default=Path("results"), help="our own")
    parser.add_argument("--out", type=Path, default=Path("results"))
    args = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    sets = [*((s, args.runs) for s in others()), *((s, args.results) for s in ours())]
    found: dict[str, list[Line]] = {}
    for law in args.laws:
        for line in lines_of(sets, law):
            found.setdefault(law, []).append(line)
            said = f"{line.found.covered():.1%}, {line.found.half_width():.1%}" if line.found else line.why
            print(f"{time.process_time():5.0f} s {law}, {line.set.name}: {said}", file=sys.stderr, flush=True)
    command = f"python -m benchmarks.backtest ../shared/reference_runs --laws {' '.join(args.laws)}"
    args.out.mkdir(exist_ok=True)
    pair = of_the_pair(found) if all(law in found for law in PAIR) else {}
    (args.out / "backtest.md").write_text(report(found, pair, command, time.process_time()), encoding="utf-8")
    facts = {
        "command": command,
        "date": str(datetime.date.today()),
        "machine": machine(),
        "overall": {law: overall(lines) for law, lines in (found | pair).items()},
        "sets": {
            law: {line.set.name: line.found.summary() if line.found else {"why": line.why} for line in lines}
            for law, lines in found.items()
        },
    }
    (args.out / "backtest.json").write_text(json.dumps(jsonable(facts), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
