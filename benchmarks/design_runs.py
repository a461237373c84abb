"""A designed study, a grid and IsoFLOP profiles at equal cost: which one forecasts a far larger run best?

    python -m benchmarks.design_runs --minutes 30 --repeats 3 --folder studies/design_runs [--portion 60] [--show]

On the embedded text. Every study has so many minutes of a core, by the rule of `configs/designed.py`; the grid and the
profiles are those of their kind that promise most for what published laws say. Each is fitted by Chinchilla's law,
which predicts a run at ten times the compute of the largest run that a study may have. Repeats have other seeds. What
two studies of a repeat have in common is trained once: each sees the very run that it would have trained, and the
comparison is paired. A repeat is a study of its own, of this file; the first trains the run that is forecast, too.

The same command goes on where it was stopped: after `--portion` minutes, by Ctrl-C, or by anything else. What is
finished is written to `--kept` whenever a repeat ends or is left, a file for each, and taken from there by a folder
that lacks it: on another machine the same command goes on from these files. Other `--minutes` or `--shortest` than the
usual want a `--kept` of their own. `--show` says what is trained, what it
costs, and what of it is kept. Writes design_runs.md of what is there; `--portion 0` does nothing else.
"""

import argparse
import datetime
import math
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from analysis.design import RUNS, usual
from analysis.design.criterion import Criterion, Target
from analysis.design.prior import published
from analysis.digits import minus, percent, short
from analysis.fit import fit
from analysis.load import load
from analysis.table import Table
from benchmarks.calibration import machine
from configs import designed
from configs.designed import Candidate
from scaling import calibration, exchange
from scaling import study as studies
from scaling.config import RunConfig, Study
from scaling.errors import InputError

KINDS = ("designed", "grid", "isoflop")
APART = 1000  # between the seeds of repeats
Key = tuple[int, int, int]  # N, D and the seed of a run


class Asked(NamedTuple):
    """What is compared: minutes of a core for each study, and tokens of the shortest run."""

    minutes: float
    shortest: int


USUAL = Asked(30.0, designed.SHORTEST)
KEPT = Path("results/design")  # the files of what is usual: they do not say what was asked


def study(minutes: float = 30.0, shortest: int = designed.SHORTEST, repeat: int = 1) -> Study:
    """The runs of a repeat that are known beforehand.

    Args:
      minutes: of a core, for each of the three kinds of study.
      shortest: tokens of the shortest run; fewer only to try things out.
      repeat: 1 trains the run that is forecast, too.
    """
    asked, seed = Asked(minutes, shortest), APART * (repeat - 1)
    wanted = [run for runs in rivals(asked).values() for run in runs]
    runs = [designed.run(each, seed, "python") for each in (*_held_out(asked, repeat), *wanted)]
    return Study(
        f"design_runs-{repeat}",
        "Which kind of study forecasts a far larger run best?",
        tuple(dict.fromkeys((*runs, *_pilot(asked, repeat)))),
    )


def more(
    table: Table, minutes: float = 30.0, shortest: int = designed.SHORTEST, repeat: int = 1
) -> tuple[RunConfig, ...]:
    """What the designed study asks for next, and no other study has trained."""
    return designs(table, Asked(minutes, shortest), repeat)[1]


def designs(table: Table, asked: Asked, repeat: int) -> tuple[tuple[RunConfig, ...], tuple[RunConfig, ...]]:
    """Runs of the designed study of a repeat, and those of them that the table lacks.

    It is asked again from its pilot on, and sees its own runs only.
    """
    own, there = _pilot(asked, repeat), set(_keys(table))
    while not (lacking := tuple(run for run in own if _key(run) not in there)):
        answer = designed.more(_rows(table, own), **_settings(asked, repeat))
        if not answer:
            break
        own = (*own, *answer)
    return own, lacking


def _settings(asked: Asked, repeat: int) -> dict[str, Any]:
    far = held_out(asked)
    return {
        "minutes": asked.minutes,
        "shortest": asked.shortest,
        "target": f"{far.N},{far.tokens}",
        "seed": APART * (repeat - 1),
    }


def _pilot(asked: Asked, repeat: int) -> tuple[RunConfig, ...]:
    return designed.study(**_settings(asked, repeat)).runs


def _held_out(asked: Asked, repeat: int) -> list[Candidate]:
    return [held_out(asked)] if repeat == 1 else []


def _key(run: RunConfig) -> Key:
    return run.model.N, run.tokens, run.seed


def _keys(table: Table) -> list[Key]:
    columns = (table[name].astype(float) for name in ("params", "tokens", "seed"))
    return [(round(N), round(D), round(seed)) for N, D, seed in zip(*columns, strict=True)]


def _rows(table: Table, runs: Sequence[RunConfig]) -> Table:
    wanted = {_key(run) for run in runs}
    return table.where(np.array([key in wanted for key in _keys(table)]), "")


def held_out(asked: Asked) -> Candidate:
    """The run that is forecast: a width and a number of tokens nearest to the target."""
    N, D = designed.target_of("", asked.minutes, asked.shortest)
    width = max(1, round(math.sqrt(N / 24) / 8)) * 8
    update = designed.BATCH * designed.run(Candidate(32, asked.shortest), 0, "python").model.n_ctx
    return Candidate(width, round(D * N / (24 * width**2) / update) * update)


def rivals(asked: Asked) -> dict[str, list[Candidate]]:
    """A grid and IsoFLOP profiles within the budget, the best of their kinds by what published laws say."""
    some = designed.candidates(asked.minutes, asked.shortest)
    pool, far, prior = designed.pool(some), held_out(asked), published()
    criterion = Criterion.of(prior, pool, Target(np.array([float(far.N)]), np.array([float(far.tokens)])))
    flops = 60 * asked.minutes * calibration.SPEED["cpu"]
    found = {
        "grid": usual.grid(criterion.narrow, pool, flops, RUNS),
        "isoflop": usual.isoflop(criterion.narrow, pool, prior, flops, RUNS),
    }
    return {name: [some[i] for i in np.flatnonzero(counts)] for name, counts in found.items()}


class Places(NamedTuple):
    """Where repeats are trained, and where what is finished of them is kept."""

    folder: Path
    kept: Path

    def of(self, repeat: int) -> tuple[Path, Path]:
        return self.folder / f"repeat-{repeat}", self.kept / f"repeat-{repeat}.tar.xz"


def trained(asked: Asked, repeats: int, places: Places, until: float) -> bool:
    """Trains what is missing; False where the time was up, or a repeat has not come to its end."""
    for repeat in range(1, repeats + 1):
        if time.monotonic() >= until:
            return False
        folder, file = places.of(repeat)
        take_in(folder, file)
        settings = (f"minutes={asked.minutes:g}", f"shortest={asked.shortest}", f"repeat={repeat}")
        command = [
            sys.executable,
            "-m",
            "scaling",
            "study",
            "run",
            "benchmarks.design_runs",
            "--retry",
            "--out",
            str(folder),
        ]
        folder.parent.mkdir(parents=True, exist_ok=True)
        with (places.folder / f"{folder.name}.log").open("a") as log:
            process = subprocess.Popen([*command, "--set", *settings], stdout=log, stderr=subprocess.STDOUT)
            try:
                code = process.wait(max(until - time.monotonic(), 1))
            except (subprocess.TimeoutExpired, KeyboardInterrupt):
                process.send_signal(signal.SIGINT)  # which saves
                code = process.wait()
        print(f"{folder.name}: exit code {code}, {keep(folder, file)} runs kept", flush=True)
        if code not in (0, 3):  # 3: a run diverged, which is a result
            return False
    return True


def take_in(folder: Path, file: Path) -> None:
    """The finished runs of a study from its file, where its folder is not there."""
    if file.exists() and not (folder / "study.json").exists():
        exchange.read(folder, file, print)


def keep(folder: Path, file: Path) -> int:
    """Writes the finished runs of a study to its file; how many those are."""
    if not (folder / "study.json").exists():
        return 0
    whole = studies.read(folder)
    if not any(whole.done(pack) for pack in whole.packs):
        return 0
    file.parent.mkdir(parents=True, exist_ok=True)
    return exchange.write(whole, file)


def finished(asked: Asked, repeat: int, places: Places) -> tuple[float, dict[str, Table]]:
    """The loss of the run that is forecast, NaN where it is not there; the kinds of study whose runs all are."""
    folder, file = places.of(repeat)
    take_in(folder, file)
    if not (folder / "study.json").exists():
        return math.nan, {}
    table = load(folder)
    table = table.where((table["status"] == "done") | (table["status"] == "diverged"), "")
    own, lacking = designs(table, asked, repeat)
    seed = APART * (repeat - 1)
    wanted = {"designed": [*own, *lacking]}
    wanted |= {kind: [designed.run(each, seed, "python") for each in runs] for kind, runs in rivals(asked).items()}
    there = set(_keys(table))
    far = _rows(table, [designed.run(held_out(asked), 0, "python")])
    loss = float(far["loss"][0]) if repeat == 1 and len(far) else math.nan
    return loss, {kind: _rows(table, runs) for kind, runs in wanted.items() if {_key(run) for run in runs} <= there}


def found(asked: Asked, repeats: int, places: Places) -> tuple[float, list[dict[str, Any]]]:
    """The held-out run's loss, and what each study that is whole forecasts of it."""
    far, rows = held_out(asked), []
    each = [finished(asked, repeat, places) for repeat in range(1, repeats + 1)]
    measured = each[0][0]
    for kind, repeat in ((kind, n) for n in range(repeats) for kind in KINDS if kind in each[n][1]):
        table = each[repeat][1][kind]
        runs = [Candidate(math.isqrt(round(N / 24)), D) for N, D, _ in _keys(table)]
        fitted = designed.admitted(table)
        row: dict[str, Any] = {"study": kind, "repeat": repeat + 1, "runs": len(runs), "fitted": len(fitted)}
        row["minutes"] = sum(map(designed.seconds, runs)) / 60
        try:
            law = fit("chinchilla", fitted, loss="squared")
        except InputError as error:
            rows.append(row | {"why": str(error)})
            continue
        value, low, high = law.predict(params=far.N, tokens=far.tokens)
        _, least, most = law.predict(run=True, params=far.N, tokens=far.tokens)
        row |= {"predicted": value, "error": math.log(measured / value), "law": math.log(high / low) / 2,
                "run": math.log(most / least) / 2, "inside": bool(least <= measured <= most),
                "why": "" if law.sound else str(law.status)}  # fmt: skip
        rows.append(row)
    return measured, rows


def written(asked: Asked, repeats: int, measured: float, rows: list[dict[str, Any]]) -> str:
    far = held_out(asked)
    lacking = len(KINDS) * repeats - len(rows)
    lines = [
        "# Designed, grid and IsoFLOP studies trained",
        "",
        f"`python -m benchmarks.design_runs --minutes {asked.minutes:g} --repeats {repeats} --shortest "
        f"{asked.shortest} --folder studies/design_runs`, {datetime.date.today()}, {machine()}.",
        "",
        *([f"So far: {len(rows)} of {len(rows) + lacking} studies are whole.", ""] if lacking else []),
        f"{asked.minutes:g} minutes of a core for each study, by rule. Held out: N = {short(far.N)} on D = "
        f"{short(far.tokens)} tokens, "
        f"{f'loss {measured:.4f}' if math.isfinite(measured) else 'not trained yet'}. Runs that two studies of a "
        "repeat have in common were trained once. Runs that ended before their model used its context are not "
        "fitted. Intervals at 95 %, half widths.",
        "",
        "| study | repeat | runs | fitted | minutes | predicted | measured off by | law ± | one run ± | inside | "
        "doubtful |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        told = "– | – | – | – | –"
        if "error" in row:
            off, inside = percent(row["error"], sign=True), "yes" if row["inside"] else "no"
            off, inside = (off, inside) if math.isfinite(measured) else ("–", "–")
            told = f"{row['predicted']:.4f} | {off} | {percent(row['law'])} | {percent(row['run'])} | {inside}"
        lines.append(
            f"| {row['study']} | {row['repeat']} | {row['runs']} | {row['fitted']} | {row['minutes']:.1f} | {told} | "
            f"{row['why']} |"
        )
    if math.isfinite(measured):
        lines += ["", "| study | rms error | median law ± | inside |", "| --- | --- | --- | --- |"]
    for kind in KINDS if math.isfinite(measured) else ():
        own = [row for row in rows if row["study"] == kind and "error" in row]
        if own:
            rms = math.sqrt(sum(row["error"] ** 2 for row in own) / len(own))
            half = float(np.median([row["law"] for row in own]))
            inside = sum(row["inside"] for row in own)
            lines.append(f"| {kind} | {percent(rms)} | {percent(half)} | {inside} of {len(own)} |")
    return minus("\n".join(lines) + "\n")


def shown(asked: Asked, repeats: int, places: Places) -> str:
    far, others, pilot = held_out(asked), rivals(asked), designed.pilot(asked.minutes, asked.shortest)

    def minutes(runs: Sequence[Candidate]) -> float:
        return sum(map(designed.seconds, runs)) / 60

    lines = [f"held out: N = {far.N:,} on D = {far.tokens:,} tokens, {minutes([far]):.1f} minutes of a core"]
    for name, runs in {"designed, its pilot": pilot, **others}.items():
        lines.append(f"{name}: {len(runs)} runs, {minutes(runs):.1f} minutes: {[tuple(each) for each in runs]}")
    known = minutes(list({*pilot, *others["grid"], *others["isoflop"]}))
    most = known + asked.minutes - minutes(pilot)  # where the design asks for nothing that the others have
    lines.append(
        f"a repeat: {known:.1f} minutes known beforehand, each run once; with the design's own at most {most:.1f}"
    )
    lines += [f"kept: {file}" for repeat in range(1, repeats + 1) for file in places.of(repeat)[1:] if file.exists()]
    return "\n".join([*lines, f"in all at most {minutes([far]) + repeats * most:.0f} minutes of a core by rule"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=USUAL.minutes, help="of a core, for each study")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--shortest", type=int, default=USUAL.shortest, help="tokens of the shortest run")
    parser.add_argument("--folder", type=Path, default=Path("studies/design_runs"))
    parser.add_argument("--kept", type=Path, default=KEPT, help="finished runs, for a later day")
    parser.add_argument(
        "--portion", type=float, default=math.inf, help="minutes after which to stop for now; 0: the page only"
    )
    parser.add_argument("--show", action="store_true", help="what is trained, and what it costs")
    parser.add_argument("--out", type=Path, default=Path("results"))
    args = parser.parse_args()
    asked, places = Asked(args.minutes, args.shortest), Places(args.folder, args.kept)
    try:
        if args.kept == KEPT and asked != USUAL:
            raise InputError(
                f"--kept {KEPT}: found --minutes {asked.minutes:g} --shortest {asked.shortest}, wanted "
                f"{USUAL.minutes:g} and {USUAL.shortest}, of which that folder is; give --kept a folder of its own"
            )
        designed.pilot(asked.minutes, asked.shortest)  # or it says that the budget is too small
        if args.show:
            print(shown(asked, args.repeats, places))
            return
        if args.portion > 0 and not trained(asked, args.repeats, places, time.monotonic() + 60 * args.portion):
            print("the same command goes on")
        measured, rows = found(asked, args.repeats, places)
        print(f"{len(rows)} of {len(KINDS) * args.repeats} studies are whole")
        if rows:
            args.out.mkdir(parents=True, exist_ok=True)
            (args.out / "design_runs.md").write_text(written(asked, args.repeats, measured, rows))
    except InputError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
