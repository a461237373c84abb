"""A designed study, a grid and IsoFLOP profiles at equal cost: which one forecasts a far larger run best?

    python -m benchmarks.design_runs --minutes 30 --repeats 3 --folder studies/design_runs [--portion 60] [--show]

On the embedded text. Every study spends so many minutes of a core, by the rule of `configs/designed.py`; the grid and
the profiles are those of their kind that promise most for what published laws say. Each is fitted by Chinchilla's law,
which predicts a run at ten times the compute of the largest run that a study may have. Repeats have other seeds. The
same command goes on where it was stopped: after `--portion` minutes, by Ctrl-C, or by anything else. What is finished
is written to `--kept` whenever a study ends or is left, a file for each, and taken from there by a folder that lacks
it: on another machine the same command goes on from these files. `--show` says what is trained, what it costs, and what
of it is kept. Writes results/design_runs.md when all is there.
"""

import argparse
import datetime
import math
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from analysis.design import RUNS, usual
from analysis.design.criterion import Criterion, Target
from analysis.design.prior import published
from analysis.digits import minus, percent, short
from analysis.fit import fit
from analysis.load import load
from benchmarks.calibration import machine
from configs import designed
from configs.designed import Candidate
from scaling import calibration, exchange, study
from scaling.errors import InputError

KINDS = ("designed", "grid", "isoflop")
APART = 1000  # between the seeds of repeats

FILE = '''"""A study of benchmarks/design_runs.py."""

from configs import designed
from scaling.config import Study

RUNS = {runs}  # width, tokens, seed


def study() -> Study:
    runs = tuple(designed.run(designed.Candidate(*row[:2]), row[2], "python") for row in RUNS)
    return Study("{name}", "What does this kind of study forecast?", runs)
'''


class Asked(NamedTuple):
    minutes: float
    repeats: int
    shortest: int
    folder: Path
    kept: Path


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


def studies(asked: Asked) -> dict[str, list[str]]:
    """The words of `scaling study run` for each folder, the held-out run first."""
    asked.folder.mkdir(parents=True, exist_ok=True)
    far = held_out(asked)
    words = {"held-out": [_config(asked, "held-out", [far], 0)]}
    others = rivals(asked)
    settings = (f"minutes={asked.minutes:g}", f"shortest={asked.shortest}", f"target={far.N},{far.tokens}")
    for repeat in range(asked.repeats):
        words[f"designed-{repeat}"] = ["configs/designed.py", "--set", *settings, f"seed={APART * repeat}"]
        for kind, runs in others.items():
            words[f"{kind}-{repeat}"] = [_config(asked, f"{kind}-{repeat}", runs, APART * repeat)]
    return words


def _config(asked: Asked, name: str, runs: list[Candidate], seed: int) -> str:
    path = asked.folder / f"{name}.py"
    path.write_text(FILE.format(runs=tuple((*each, seed) for each in runs), name=name))
    return str(path)


def trained(asked: Asked, until: float) -> bool:
    """Trains what is missing; False where the time was up, or a study has not come to its end."""
    for name, words in studies(asked).items():
        take_in(asked, name)
        command = [sys.executable, "-m", "scaling", "study", "run", *words, "--out", str(asked.folder / name)]
        with (asked.folder / f"{name}.log").open("a") as log:
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
            try:
                code = process.wait(max(until - time.monotonic(), 1))
            except (subprocess.TimeoutExpired, KeyboardInterrupt):
                process.send_signal(signal.SIGINT)  # which saves
                code = process.wait()
        print(f"{name}: exit code {code}, {keep(asked, name)} runs kept", flush=True)
        if code not in (0, 3) or time.monotonic() > until:  # 3: a run diverged, which is a result
            return False
    return True


def take_in(asked: Asked, name: str) -> None:
    """The finished runs of a study from its file, where its folder is not there."""
    file = asked.kept / f"{name}.tar.gz"
    if file.exists() and not (asked.folder / name / "study.json").exists():
        exchange.read(asked.folder / name, file, print)


def keep(asked: Asked, name: str) -> int:
    """Writes the finished runs of a study to its file; how many those are."""
    if not (asked.folder / name / "study.json").exists():
        return 0
    whole = study.read(asked.folder / name)
    if not any(whole.done(pack) for pack in whole.packs):
        return 0
    asked.kept.mkdir(parents=True, exist_ok=True)
    return exchange.write(whole, asked.kept / f"{name}.tar.gz")


def found(asked: Asked) -> list[dict[str, Any]]:
    """What each study forecasts, beside what the held-out run gave."""
    far = held_out(asked)
    measured = float(load(asked.folder / "held-out")["loss"][0])
    rows = []
    for repeat in range(asked.repeats):
        for kind in KINDS:
            table = load(asked.folder / f"{kind}-{repeat}")
            runs = [Candidate(math.isqrt(round(N / 24)), round(D)) for N, D in
                    zip(table["params"], table["tokens"], strict=True)]  # fmt: skip
            row: dict[str, Any] = {"study": kind, "repeat": repeat + 1, "runs": len(runs),
                                   "fitted": len(designed.admitted(table))}  # fmt: skip
            row["minutes"] = sum(map(designed.seconds, runs)) / 60
            try:
                law = fit("chinchilla", designed.admitted(table), loss="squared")
            except InputError as error:
                rows.append(row | {"why": str(error)})
                continue
            value, low, high = law.predict(params=far.N, tokens=far.tokens)
            _, least, most = law.predict(run=True, params=far.N, tokens=far.tokens)
            row |= {"predicted": value, "error": math.log(measured / value), "law": math.log(high / low) / 2,
                    "run": math.log(most / least) / 2, "inside": bool(least <= measured <= most),
                    "why": "" if law.sound else str(law.status)}  # fmt: skip
            rows.append(row)
    return rows


def written(asked: Asked, rows: list[dict[str, Any]]) -> str:
    far = held_out(asked)
    measured = float(load(asked.folder / "held-out")["loss"][0])
    lines = [
        "# Designed, grid and IsoFLOP studies trained",
        "",
        f"`python -m benchmarks.design_runs --minutes {asked.minutes:g} --repeats {asked.repeats} --shortest "
        f"{asked.shortest} --folder studies/design_runs`, {datetime.date.today()}, {machine()}.",
        "",
        f"{asked.minutes:g} minutes of a core for each study, by rule. Held out: N = {short(far.N)} on D = "
        f"{short(far.tokens)} tokens, loss {measured:.4f}. Runs that ended before their model used its context are not "
        "fitted. Intervals at 95 %, half widths.",
        "",
        "| study | repeat | runs | fitted | minutes | predicted | measured off by | law ± | one run ± | inside | "
        "doubtful |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        told = "– | – | – | – | –"
        if "error" in row:
            told = (
                f"{row['predicted']:.4f} | {percent(row['error'], sign=True)} | {percent(row['law'])} | "
                f"{percent(row['run'])} | {'yes' if row['inside'] else 'no'}"
            )
        lines.append(
            f"| {row['study']} | {row['repeat']} | {row['runs']} | {row['fitted']} | {row['minutes']:.1f} | {told} | "
            f"{row['why']} |"
        )
    lines += ["", "| study | rms error | median law ± | inside |", "| --- | --- | --- | --- |"]
    for kind in KINDS:
        own = [row for row in rows if row["study"] == kind and "error" in row]
        if own:
            rms = math.sqrt(sum(row["error"] ** 2 for row in own) / len(own))
            half = float(np.median([row["law"] for row in own]))
            inside = sum(row["inside"] for row in own)
            lines.append(f"| {kind} | {percent(rms)} | {percent(half)} | {inside} of {len(own)} |")
    return minus("\n".join(lines) + "\n")


def shown(asked: Asked) -> str:
    far, others = held_out(asked), rivals(asked)
    alone = designed.seconds(far) / 60
    lines = [f"held out: N = {far.N:,} on D = {far.tokens:,} tokens, {alone:.1f} minutes of a core"]
    pilot = designed.pilot(asked.minutes, asked.shortest)
    for name, runs in {"designed, its pilot": pilot, **others}.items():
        cost = sum(map(designed.seconds, runs)) / 60
        lines.append(f"{name}: {len(runs)} runs, {cost:.1f} minutes: {[tuple(each) for each in runs]}")
    total = alone + len(KINDS) * asked.repeats * asked.minutes
    for file in sorted(asked.kept.glob("*.tar.gz")):
        lines.append(f"kept: {file}")
    return "\n".join([*lines, f"in all at most {total:.0f} minutes of a core by rule"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="of a core, for each study")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--shortest", type=int, default=designed.SHORTEST, help="tokens of the shortest run")
    parser.add_argument("--folder", type=Path, default=Path("studies/design_runs"))
    parser.add_argument("--kept", type=Path, default=Path("results/design_runs"), help="finished runs, for a later day")
    parser.add_argument("--portion", type=float, default=math.inf, help="minutes after which to stop for now")
    parser.add_argument("--show", action="store_true", help="what is trained, and what it costs")
    parser.add_argument("--out", type=Path, default=Path("results"))
    args = parser.parse_args()
    asked = Asked(args.minutes, args.repeats, args.shortest, args.folder, args.kept)
    try:
        designed.pilot(asked.minutes, asked.shortest)  # or it says that the budget is too small
        if args.show:
            print(shown(asked))
        elif trained(asked, time.monotonic() + 60 * args.portion):
            args.out.mkdir(parents=True, exist_ok=True)
            (args.out / "design_runs.md").write_text(written(asked, found(asked)))
        else:
            print("the same command goes on")
    except InputError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
