"""scaling quickstart, study and report: runs are trained, watched, exported and shown."""

import argparse
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scaling.commands import arguments
from scaling.errors import InputError

QUICKSTART = "configs.quickstart"


def add(verbs: Any) -> None:
    quick = arguments.verb(
        verbs,
        "quickstart",
        _quickstart,
        "the whole loop within minutes: text, ladder, laws, page",
        "scaling quickstart --minutes 20",
    )
    quick.add_argument(
        "--minutes", type=float, help="how long it may take on two cores; more adds sizes, seeds, decades"
    )
    quick.add_argument("--data", metavar="SOURCE", help="your own text, such as text:'notes/**/*.md'; see docs/data.md")
    quick.add_argument(
        "--out", type=Path, help="folder of the study (studies/quickstart, with --data a name of its own)"
    )
    arguments.settings(quick)
    arguments.layout(quick)

    study = verbs.add_parser("study", help="runs that answer one question").add_subparsers(
        metavar="show|run|status|export", required=True
    )
    show = arguments.verb(
        study,
        "show",
        _study_show,
        "the runs of a config, without training",
        "scaling study show configs/quickstart.py --set minutes=20",
    )
    run = arguments.verb(
        study,
        "run",
        _study_run,
        "train what is missing; the same command goes on after any interruption",
        "scaling study run configs/quickstart.py --out studies/mine --set model.n_ctx=128",
    )
    for verb in (show, run):
        verb.add_argument(
            "config", help="a Python file with a function study() -> Study, run as a program, or a dotted name"
        )
        arguments.settings(verb)
    show.add_argument("--json", action="store_true")
    run.add_argument("--out", type=Path, required=True, help="folder of the study")
    arguments.layout(run)
    state = arguments.verb(
        study, "status", _study_status, "how far the runs are", "scaling study status studies/quickstart"
    )
    export = arguments.verb(
        study,
        "export",
        _study_export,
        "the table of runs as CSV or Parquet",
        "scaling study export studies/quickstart --csv runs.csv",
    )
    for verb in (state, export):
        verb.add_argument("dir", type=Path, help="folder of the study")
    state.add_argument("--json", action="store_true")
    export.add_argument("--csv", type=Path, metavar="FILE")
    export.add_argument("--parquet", type=Path, metavar="FILE")
    export.add_argument("--curves", action="store_true", help="one row per run and evaluation instead of one per run")

    report = arguments.verb(
        verbs,
        "report",
        _report,
        "figures, constants and intervals as one self-contained page",
        "scaling report studies/quickstart",
    )
    report.add_argument("dir", type=Path, help="folder of the study")
    report.add_argument("--json", action="store_true", help="the findings, instead of the page's path")


def _quickstart(args: argparse.Namespace) -> int:
    settings = {} if args.minutes is None else {"minutes": str(args.minutes)}
    name = "quickstart"
    if args.data is not None:
        settings["data.source"] = args.data
        words = "".join(c if c.isalnum() else "-" for c in args.data).strip("-")[-30:]
        name += f"-{words}-{hashlib.sha256(args.data.encode()).hexdigest()[:4]}"  # other sources, other folders
    out = args.out or Path("studies") / name
    return _run_study(QUICKSTART, settings | arguments.pairs(args.set, "--set"), out, args)


def _study_run(args: argparse.Namespace) -> int:
    return _run_study(args.config, arguments.pairs(args.set, "--set"), args.out, args)


def _run_study(config: str, settings: dict[str, str], out: Path, args: argparse.Namespace) -> int:
    from scaling import study, workers

    if not out.name:
        raise InputError(f"--out '{out}': wanted a folder of its own, such as studies/mine")
    wanted = study.load(config, settings)
    with study.lock(out, arguments.say):
        whole = study.prepare(wanted, out, pack=args.pack, workers=args.workers, say=arguments.say)
        n_open = sum(run.id in whole.runs for pack in whole.open_packs for run in pack.runs)
        if not n_open:
            arguments.say(f"{out}: all {len(whole.runs)} runs are there")
        else:
            layout = whole.layout
            each = f", {layout.runs_per_pack} to a program" if layout.runs_per_pack > 1 else ""
            arguments.say(
                f"{out}: {n_open} of {len(whole.runs)} runs to train on {layout.workers} {layout.device} workers{each}"
            )
        outcome = workers.run(whole, say=arguments.say)
        if outcome.left or outcome.failed:
            arguments.say(
                f"{out}: {outcome.finished} of {len(whole.runs)} runs done, the rest saved; the same command goes on"
            )
        if outcome.finished + outcome.diverged and not outcome.interrupted:
            _write_report(out, only_if_older_than=[out / "study.json", *out.glob("packs/*/done.json")])
    return outcome.exit_code


def _write_report(folder: Path, only_if_older_than: Sequence[Path] = ()) -> None:
    """Makes the page and prints what it says; a page that is newer than all of these files is not made again."""
    text, page = folder / "report" / "findings.txt", folder / "report" / "index.html"
    newest = max((path.stat().st_mtime_ns for path in only_if_older_than), default=None)
    if newest is None or not (text.exists() and page.exists()) or text.stat().st_mtime_ns < newest:
        arguments.fits_on_the_cpu()
        from analysis import report

        report.write(folder)
    print(text.read_text())
    print(f"The page: {page}")


def _study_show(args: argparse.Namespace) -> int:
    from scaling import config, counts, study

    found = study.load(args.config, arguments.pairs(args.set, "--set"))
    if args.json:
        arguments.print_json(config.to_dict(found))
        return 0
    print(f"{found.name}: {found.question}\n")
    form = "{:>12} {:>12} {:>12} {:>8} {:>9} {:>9} {:>9} {:>5}  {}"
    print(form.format("N", "tokens", "unique", "steps", "C, FLOP", "rate", "schedule", "seed", "shape"))
    for run in found.runs:
        m, o = run.model, run.optim
        flops = counts.flops_per_token(m)["flops"] * run.tokens
        shape = " ".join(f"{name}={getattr(m, name)}" for name in ("d_model", "n_layer", "n_head", "d_attn", "d_ff"))
        sizes = (f"{m.N:,}", f"{run.tokens:,}", f"{run.U:,}", f"{run.steps:,}", f"{flops:.2g}")
        print(form.format(*sizes, f"{o.learning_rate:.3g}", o.schedule, run.seed, shape))
    total = sum(counts.flops_per_token(run.model)["flops"] * run.tokens for run in found.runs)
    print(f"\n{len(found.runs)} runs, {sum(run.tokens for run in found.runs):,} tokens, {total:.3g} FLOP in all")
    return 0


def _study_status(args: argparse.Namespace) -> int:
    from scaling import study

    rows = study.status(study.read(args.dir))
    if args.json:
        arguments.print_json(
            [
                {
                    "run": run.id,
                    "params": run.config.model.N,
                    "tokens": run.config.tokens,
                    "state": state,
                    "steps": steps,
                    "of": run.config.steps,
                    "loss": loss,
                }
                for run, state, steps, loss in rows
            ]
        )
        return 0
    form = "{:12} {:>12} {:>12} {:>9} {:>19} {:>7}"
    print(form.format("run", "N", "tokens", "state", "saved at", "loss"))
    for run, state, steps, loss in rows:
        saved = f"{steps:,} of {run.config.steps:,}"
        shown = "" if loss is None else f"{loss:.4f}"
        print(form.format(run.id, f"{run.config.model.N:,}", f"{run.config.tokens:,}", state, saved, shown))
    done = sum(state in ("done", "diverged") for _, state, _, _ in rows)
    print(f"\n{done} of {len(rows)} runs finished")
    return 0


def _study_export(args: argparse.Namespace) -> int:
    from analysis import table

    if not args.csv and not args.parquet:
        raise InputError("nothing to write: give --csv FILE or --parquet FILE")
    rows = table.read_curves(args.dir) if args.curves else table.read_study(args.dir)
    for path, write in ((args.csv, rows.to_csv), (args.parquet, rows.to_parquet)):
        if path:
            write(path)
            print(f"{path}: {len(rows)} rows, {len(list(rows))} columns")
    return 0


def _report(args: argparse.Namespace) -> int:
    if args.json:
        arguments.fits_on_the_cpu()
        from analysis import report

        arguments.print_json(report.write(args.dir)[1].to_dict())
    else:
        _write_report(args.dir)
    return 0
