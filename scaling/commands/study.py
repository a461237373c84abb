"""scaling quickstart, study and report: runs are trained, watched, exported and shown."""

import argparse
import dataclasses
import functools
import hashlib
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from scaling import folders, terminal
from scaling.buckets import Bucket
from scaling.commands import arguments, laws, together
from scaling.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from analysis.table import Table
    from scaling.config import ModelConfig, RunConfig, Study
    from scaling.layout import Layout
    from scaling.status import Status
    from scaling.study import Pack, StudyFolder
    from scaling.workers import Outcome

QUICKSTART = "configs.quickstart"
FEW = 60  # runs that are listed one by one
WATCH = 2.0  # seconds between two looks
WATCH_AWAY = 10.0  # the same at a bucket
LIVE = 10.0  # seconds between two pages


def add(verbs: arguments.Verbs) -> None:
    quick = arguments.verb(
        verbs,
        "quickstart",
        _quickstart,
        "the whole loop within minutes: text, ladder, laws, page",
        "scaling quickstart --minutes 20",
    )
    quick.add_argument(
        "--minutes", type=arguments.number, help="how long it may take on two cores; more adds sizes, seeds, decades"
    )
    quick.add_argument("--data", metavar="SOURCE", help="your own text, such as text:'notes/**/*.md'; see docs/data.md")
    quick.add_argument(
        "--out", type=arguments.place, help="folder of the study (studies/quickstart, with --data a name of its own)"
    )
    arguments.settings(quick)
    arguments.layout(quick)

    study = verbs.add_parser("study", help="runs that answer one question").add_subparsers(
        metavar="show|run|status|export|import", required=True
    )
    show = arguments.verb(
        study,
        "show",
        _study_show,
        "the runs of a config and what they will cost, without training",
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
    arguments.layout(show)
    show.add_argument("--json", action="store_true")
    show.add_argument("--keys", action="store_true", help="what --set knows, instead of the runs")
    show.add_argument("--calibrate", action="store_true", help="measure the programs here first, once per machine")
    run.add_argument("--out", type=arguments.place, required=True, help="folder of the study, or gs://... or s3://...")
    run.add_argument("--shard", metavar="3/16", help="train the third of sixteen parts, of about equal cost")
    run.add_argument("--retry", action="store_true", help="try again what was left out")
    arguments.layout(run)
    together.options(run)
    state = arguments.verb(
        study, "status", _study_status, "the progress of the runs", "scaling study status studies/quickstart"
    )
    export = arguments.verb(
        study,
        "export",
        _study_export,
        "the table of runs as CSV or Parquet, or finished runs for another machine",
        "scaling study export studies/quickstart --csv runs.csv",
    )
    take = arguments.verb(
        study,
        "import",
        _study_import,
        "take in finished runs that another machine exported",
        "scaling study import studies/quickstart runs.tar",
    )
    for verb in (state, export, take):
        verb.add_argument("dir", type=arguments.place, help="folder of the study")
    state.add_argument("--json", action="store_true")
    state.add_argument("--watch", action="store_true", help="show it again every few seconds until all is done")
    state.add_argument("--runs", action="store_true", help="a line per run, however many there are")
    take.add_argument("file", type=arguments.place, help="what study export --records wrote")
    export.add_argument(
        "--records", type=arguments.place, metavar="FILE.tar[.gz|.xz]|FOLDER", help="finished runs, for study import"
    )
    export.add_argument("--csv", type=arguments.OUT, metavar="FILE")
    export.add_argument("--parquet", type=arguments.OUT, metavar="FILE")
    export.add_argument("--tensorboard", type=Path, metavar="DIR", help="all learning curves, a folder for each run")
    export.add_argument("--wandb", type=Path, metavar="DIR", help="the same as offline runs for wandb sync")
    export.add_argument("--curves", action="store_true", help="one row per run and evaluation instead of one per run")

    report = arguments.verb(
        verbs,
        "report",
        _report,
        "figures, constants and intervals as one self-contained page, of a study or of anybody's table or logs",
        "scaling report runs.csv --columns params=n_params",
    )
    report.add_argument("table", type=arguments.place, nargs="+", help=laws.TABLE)
    report.add_argument(
        "--out",
        type=arguments.place,
        metavar="FOLDER",
        help="of the page (DIR/report of a study, NAME-report here of NAME.csv or a folder of logs NAME, the first of "
        "several)",
    )
    report.add_argument(
        "--live",
        nargs="?",
        type=arguments.number,
        const=LIVE,
        metavar="SECONDS",
        help=f"write the page again every so many seconds ({LIVE:g}) until all runs are done",
    )
    laws.rows(report)
    report.add_argument("--json", action="store_true", help="the findings, instead of the page's path")


def _quickstart(args: argparse.Namespace) -> int:
    settings = {} if args.minutes is None else {"minutes": str(args.minutes)}
    name = "quickstart"
    if args.data is not None:
        settings["data.source"] = args.data
        words = "".join(c if c.isalnum() else "-" for c in args.data).strip("-")[-30:]
        name += f"-{words}-{hashlib.sha256(os.fsencode(args.data)).hexdigest()[:4]}"  # other sources, other folders
    out = args.out or Path("studies") / name
    from scaling.data import token_set

    try:
        return _run_study(QUICKSTART, settings | arguments.pairs(args.set, "--set"), out, args)
    except token_set.TooLittleText as error:
        D = error.has // 8 // 512 * 512  # the config trains on up to 8 D, and D is a multiple of 512
        raise InputError(f"{error}" + (f" (--set D={D})" if D else "")) from None


def _study_run(args: argparse.Namespace) -> int:
    from scaling import watch

    if together.wanted(args):
        return together.run(args)
    if args.tensorboard:
        watch.check_board()
    return _run_study(args.config, arguments.pairs(args.set, "--set"), args.out, args)


def _run_study(config: str, settings: dict[str, str], out: Path, args: argparse.Namespace) -> int:
    from scaling import question, split

    shard = vars(args).get("shard")
    part, parts = split.parse(shard) if shard else (1, 1)
    retry = vars(args).get("retry", False)
    wanted = question.load(config, settings, arguments.say)
    ask = question.more(config, settings, arguments.say)
    asked_with = settings if ask is not None and parts == 1 else None
    while True:
        whole, packs = plan(wanted, out, args, part, parts, asked_with)
        if not packs:
            arguments.say(f"{out}: part {shard} has no runs")
            return 0
        outcome = train(whole, packs, args, shard=shard, retry=retry)
        if outcome.left or outcome.failed:
            break
        if ask is None or asked_with is None:
            break
        if whole.asked and whole.asked.closed:
            arguments.say(
                f"{out}: the config's `more` was asked before with these settings, and had no more to add; others ask "
                "again"
            )
            break
        if not _ask(ask, whole, wanted, asked_with):
            break
    if outcome.finished + outcome.diverged and not outcome.interrupted and parts == 1:
        _write_report(out, only_if_older_than=_what_a_page_shows(out))
    return outcome.exit_code


def _what_a_page_shows(out: Path) -> list[Path]:
    """The files of a study that are older than its page where nothing has changed; none in a bucket, where to look
    at each takes longer than to write a page.
    """
    return [] if isinstance(out, Bucket) else [out / "study.json", *out.glob("packs/*/*/done.json")]


def plan(
    wanted: "Study",
    out: Path,
    args: argparse.Namespace,
    part: int = 1,
    parts: int = 1,
    settings: Mapping[str, str] | None = None,
) -> tuple["StudyFolder", Sequence["Pack"]]:
    """The study in its folder, made there or found, and the packs of one of its parts."""
    from scaling import study

    arguments.check_folder(out)
    spread = {"pack": args.pack, "workers": args.workers, "shards_of": parts}
    whole = study.prepare(wanted, out, **spread, settings=settings, say=arguments.say)
    return whole, whole.part(part, parts)


def train(
    whole: "StudyFolder",
    packs: Sequence["Pack"],
    args: argparse.Namespace,
    *,
    shard: str | None = None,
    retry: bool = False,
) -> "Outcome":
    """Trains what these packs have left and says what is left then; how it ended."""
    from scaling import study, workers

    with study.at_a_glance(whole):
        _say_what_is_open(whole, packs, shard, retry)
    board = vars(args).get("tensorboard")
    outcome = workers.run(whole, packs=packs, retry=retry, shared=bool(args.workers), board=board, say=arguments.say)
    if outcome.left or outcome.failed:
        done = outcome.finished + outcome.diverged
        again = "--retry tries what failed" if _only_given_up(whole, packs) else "the same command goes on"
        arguments.say(f"{whole.path}: {done} of {done + outcome.left + outcome.failed} runs done; {again}")
    elif shard and outcome.finished + outcome.diverged:
        arguments.say(f"{whole.path}: all runs in part {shard} are done")  # a log ends with this
    return outcome


def _say_what_is_open(whole: "StudyFolder", packs: Sequence["Pack"], shard: str | None, retry: bool) -> None:
    of = f" in part {shard}" if shard else ""
    wanted = set(whole.runs)

    def runs(some: Sequence["Pack"]) -> int:
        return sum(run.id in wanted for pack in some for run in pack.runs)

    n_all, unfinished = runs(packs), [pack for pack in packs if not whole.done(pack)]
    given_up = [pack for pack in unfinished if not retry and whole.quarantined(pack)]
    left = [pack for pack in unfinished if pack not in given_up]
    if not unfinished:
        arguments.say(f"{whole.path}: all {n_all} runs{of} are there")
    if left:
        most = max(len(pack.runs) for pack in left)
        each = f", up to {most} to a program" if most > 1 else ""
        arguments.say(f"{whole.path}: {runs(left)} of {n_all} runs{of} to train on {_who(whole.layout)}{each}")
    if given_up:
        n, those = len(given_up), "1 pack" if len(given_up) == 1 else f"{len(given_up)} packs"
        arguments.say(
            f"{whole.path}: {those} of {runs(given_up)} run{'s' if runs(given_up) > 1 else ''}{of} failed before and "
            f"{'is' if n == 1 else 'are'} left out; --retry tries what failed"
        )


def _who(spread: "Layout") -> str:
    """Who trains: `2 cpu workers`, `1 gpu worker with 8 devices`."""
    who = f"{spread.workers} {spread.device} worker{'s' if spread.workers > 1 else ''}"
    return f"{who} with {spread.devices} devices" if spread.devices > 1 else who


def _only_given_up(whole: "StudyFolder", packs: Sequence["Pack"]) -> bool:
    """Whether the same command would find nothing to do, though runs are missing."""
    return all(whole.quarantined(pack) for pack in packs if not whole.done(pack))


def _ask(
    ask: Callable[["Table"], Sequence["RunConfig"]], whole: "StudyFolder", wanted: "Study", settings: Mapping[str, str]
) -> bool:
    """Asks the config for more runs, now that all are done, and writes its answer down; whether there are any."""
    from scaling import study

    arguments.fits_on_the_cpu()
    from analysis.load import load

    runs = ask(load(whole.path))
    added = study.answer(whole.path, wanted.runs, whole.asked, runs, settings, arguments.say)
    arguments.say(f"{whole.path}: the config adds {len(runs)} runs" if added else f"{whole.path}: no run is added")
    return added


def _write_report(
    folder: Path, only_if_older_than: Sequence[Path] = (), out: Path | None = None, as_json: bool = False
) -> None:
    """Makes the page and prints what it says; a page that is newer than all of these files is not made again."""
    out = out or folder / "report"
    text, page = out / "findings.txt", out / "index.html"
    newest = max((path.stat().st_mtime_ns for path in only_if_older_than), default=None)
    if newest is not None and text.exists() and page.exists() and text.stat().st_mtime_ns >= newest:
        print(text.read_text(encoding="utf-8"))
    else:
        arguments.fits_on_the_cpu()
        from analysis import report

        _try_page(page)
        found, texts = report.files(folder)
        arguments.answer(found, as_json, (page, lambda page: report.put(texts, page.parent)))
    if not as_json:
        print(f"The page: {page}")


def _try_page(page: Path) -> None:
    """Finds out whether a page can be written, and makes no folder for it yet."""
    there = next(folder for folder in page.absolute().parents if folder.exists())
    folders.try_file(page if page.parent.exists() else there / ".page")


def _study_show(args: argparse.Namespace) -> int:
    from scaling import config, counts, question

    if args.keys:
        for key, hint in question.keys(args.config).items():
            print(f"{key:24} {getattr(hint, '__name__', None) or str(hint).replace('typing.', '')}")
        return 0
    found = question.load(args.config, arguments.pairs(args.set, "--set"), arguments.say)
    if args.json:
        arguments.print_json(config.to_dict(found))
        return 0
    print(f"{found.name}: {found.question}\n")
    form = "{:>12} {:>12} {:>12} {:>8} {:>9} {:>9} {:>9} {:>5}  {}"
    print(form.format("N", "tokens", "unique", "steps", "C, FLOP", "rate", "schedule", "seed", "shape"))
    for run in found.runs:
        m, o = run.model, run.optim
        flops = counts.flops_per_token(m)["flops"] * run.tokens
        sizes = (f"{m.N:,}", f"{run.tokens:,}", f"{run.U:,}", f"{run.steps:,}", f"{flops:.2g}")
        print(form.format(*sizes, f"{o.learning_rate:.3g}", o.schedule, run.seed, _shape(m)))
    total = sum(counts.flops_per_token(run.model)["flops"] * run.tokens for run in found.runs)
    print(f"\n{len(found.runs)} runs, {sum(run.tokens for run in found.runs):,} tokens, {total:.3g} FLOP in all")
    _show_costs(found.runs, args)
    return 0


def _shape(model: "ModelConfig") -> str:
    """A model's sizes and whatever else is not as by default, but for n_vocab, n_ctx and dropout."""
    names = ("d_model", "n_layer", "n_head", "d_attn", "d_ff")
    words = [f"{name}={getattr(model, name)}" for name in names]
    for field in dataclasses.fields(model):
        value = getattr(model, field.name)
        if field.name not in (*names, "n_vocab", "n_ctx", "dropout") and value != field.default:
            words.append(f"{field.name}={value}")
    return " ".join(words)


def _show_costs(runs: Sequence["RunConfig"], args: argparse.Namespace) -> None:
    """Time, memory and disk here, as far as they are known; or that this machine cannot hold the runs, and why."""
    from scaling import calibration, config, layout, progress_bar

    costs = calibration.kept(layout.device(), layout.devices(layout.device()))
    spread = layout.choose(args.pack, args.workers, None, lambda _: max(costs.lanes(run) for run in runs))
    if args.calibrate:
        costs = calibration.calibrate(runs, costs, spread.workers, arguments.say)
    size = args.pack or 0
    work = layout.packed(
        runs, lambda run: run, lambda run: run.data, lambda run: size or costs.lanes(run), costs.devices
    )
    try:
        calibration.check(work, spread, costs, Path())
    except InputError as error:
        print(f"not for this machine: {error}\n(time, memory and disk are told where the runs fit)")
        return
    programs = {config.program(run) for run in runs}
    known = sum(costs.knows(program) for program in programs)
    how = (
        f"{known} of {len(programs)} programs measured here, the others by rule"
        if known
        else "by rule, nothing was measured here: within a factor of 3; --calibrate measures"
    )
    seconds, memory = costs.makespan(work, spread.workers), costs.memory(work) * spread.workers
    print(
        f"about {progress_bar.clock(seconds)} on {_who(spread)} in {len(work)} packs, "
        f"{memory / 2**30:.1f} GiB of memory, {sum(map(calibration.disk, work)) / 1e6:,.0f} MB of disk\n({how})"
    )


def _study_status(args: argparse.Namespace) -> int:
    from scaling import goodput, status, study

    if args.json:
        arguments.print_json(
            [
                {
                    "run": row.run.id,
                    "params": row.run.config.model.N,
                    "tokens": row.run.config.tokens,
                    "state": row.state,
                    "steps": row.steps,
                    "of": row.run.config.steps,
                    "loss": row.loss,
                    "pack": row.pack,
                }
                for row in status.of(study.read(args.dir)).runs
            ]
        )
        return 0
    while True:
        whole = study.read(args.dir)
        with study.at_a_glance(whole):
            now, spent = status.of(whole), goodput.of(whole)
        if args.watch and sys.stdout.isatty():
            terminal.obeyed(sys.stdout).write("\033[2J\033[H")
        lines = _glance(now, args.runs or (not args.watch and len(now.runs) <= FEW))
        if spent:
            lines.append(f"{spent}")
        if not args.watch:
            lines += _ends(whole, now)
        print("\n".join(lines), flush=True)
        over = all(each.state in ("done", "quarantined") for each in now.packs)
        if not args.watch or over:
            return 0
        time.sleep(WATCH_AWAY if isinstance(whole.path, Bucket) else WATCH)


def _glance(now: "Status", each_run: bool) -> list[str]:
    """The lines of `study status`."""
    from scaling import progress_bar

    lines = []
    if each_run:
        form = "{:12} {:>12} {:>12} {:>11} {:>19} {:>7}"
        lines.append(form.format("run", "N", "tokens", "state", "at update", "loss"))
        for row in now.runs:
            at, loss = f"{row.steps:,} of {row.run.config.steps:,}", "" if row.loss is None else f"{row.loss:.4f}"
            sizes = (f"{row.run.config.model.N:,}", f"{row.run.config.tokens:,}")
            lines.append(form.format(row.run.id, *sizes, row.state, at, loss))
        lines.append("")
    for each in now.packs:
        if each.state == "running":
            at = f"{each.steps:,} of {each.pack.steps:,} updates"
            n = len(each.pack.runs)
            lines.append(f"pack {each.pack.id}: {n} run{'s' * (n > 1)}, {at}, by {each.holder}")
        elif each.error:
            lines.append(f"pack {each.pack.id}: {each.state}, {each.error}")
    counts = now.counts
    finished = counts.get("done", 0) + counts.get("diverged", 0)
    states = ", ".join(f"{n} {state}" for state, n in counts.items())
    left = f", about {progress_bar.clock(now.left)} left" if now.left else ""
    lines.append(f"{finished} of {len(now.runs)} runs finished ({states}); {now.share:.0%} of the updates{left}")
    if "quarantined" in counts:
        lines.append("what is quarantined is tried again by scaling study run ... --retry")
    return lines


def _ends(whole: "StudyFolder", now: "Status") -> list[str]:
    """What the runs that are trained now will end at, as far as their curves tell."""
    running = [each.pack for each in now.packs if each.state == "running"]
    if not running:
        return []
    arguments.fits_on_the_cpu()
    from analysis import schedule_forecast

    told = schedule_forecast.of_running(whole, running)
    lines = ["", "where runs in training end, by the annealing law of their curves:"]
    for run, ending in told.items():
        lines.append(f"  {run} {ending if isinstance(ending, str) else f'ends at {ending.told()}'}")
    if (more := sum(len(pack.runs) for pack in running) - len(told)) > 0:
        lines.append(f"  {more} more: scaling predict {whole.path} --schedule planned")
    return lines


def _study_import(args: argparse.Namespace) -> int:
    from scaling import exchange

    n = exchange.read(args.dir, args.file, arguments.say)
    print(f"{args.dir}: {n} runs taken in from {args.file}")
    return 0


def _study_export(args: argparse.Namespace) -> int:
    if args.records:
        from scaling import exchange, study

        whole = study.read(args.dir)
        for pack in whole.packs:
            if damage := whole.damage(pack):
                arguments.say(f"{args.dir}: the record of pack {pack.id} is damaged and left out: {damage}")
        n = exchange.write(whole, args.records)
        print(f"{args.records}: {n} runs")
    if not args.csv and not args.parquet and not args.tensorboard and not args.wandb:
        if args.records:
            return 0
        raise InputError(
            "nothing to write: give --csv FILE, --parquet FILE, --tensorboard DIR, --wandb DIR or --records FILE.tar"
        )
    from analysis import records

    read = records.read(args.dir)
    rows = read.curves if args.curves else read.runs
    left_out = (f"{len(left.rows)} rows left out, {', '.join(left.rows)}: {left.reason}" for left in rows.excluded)
    for note in (*rows.notes, *left_out):
        arguments.say(f"{args.dir}: {note}")
    for path, write in ((args.csv, rows.to_csv), (args.parquet, rows.to_parquet)):
        if path:
            write(path)
            print(f"{path}: {len(rows)} rows, {len(list(rows))} columns")
    if args.tensorboard or args.wandb:
        from scaling import study, watch

        runs = _curves_by_run(read.curves)
        to_wandb = functools.partial(watch.write_wandb, study=study.read(args.dir).name)
        for folder, write in ((args.tensorboard, watch.write_curves), (args.wandb, to_wandb)):
            if folder:
                write(folder, runs)
                print(f"{folder}: the curves of {len(runs)} runs")
    return 0


def _curves_by_run(curves: "Table") -> dict[str, dict[str, "np.ndarray"]]:
    """Tokens and losses of each run, by a name that says its N, D, rate and seed; losses are of held-out text."""
    from scaling import watch

    losses = [name for name in curves if name in ("loss", "train_loss") or name.startswith("loss_on_")]
    found = {}
    for run in dict.fromkeys(curves["run"].tolist()):
        rows = curves["run"] == run
        first = {name: curves[name][rows][0] for name in ("params", "steps", "batch_tokens", "learning_rate", "seed")}
        N, D = first["params"], first["steps"] * first["batch_tokens"]
        name = f"{watch.named(N, D, first['learning_rate'], first['seed'])} {run}"
        found[name] = {column: curves[column][rows] for column in ("tokens", *losses)}
    return found


def _report(args: argparse.Namespace) -> int:
    folder = args.table[0]
    if len(args.table) > 1 or not (folder / "study.json").exists():
        return _report_table(args)
    arguments.fits_on_the_cpu()
    if args.columns or args.where or args.best_of:
        raise InputError(
            f"{folder}: --columns, --where and --best-of are for tables; export the study's with scaling study "
            f"export {folder} --csv runs.csv"
        )
    if args.live is not None:
        return _report_live(args)
    _write_report(folder, out=args.out, as_json=args.json)
    return 0


def _report_table(args: argparse.Namespace) -> int:
    if args.live is not None:
        raise InputError(f"--live: {args.table[0]} is no folder of a study, whose runs train; wanted one alone")
    arguments.fits_on_the_cpu()
    from analysis import report

    table = laws.asked_for(args)
    name = args.table[0].resolve().name  # of a folder of logs, too, which may be given as a dot
    page = (args.out or Path(f"{Path(name).stem}-report")) / "index.html"
    _try_page(page)
    found, texts = report.files_of_table(table, name if len(args.table) == 1 else table.source)
    arguments.answer(found, args.json, (page, lambda page: report.put(texts, page.parent)))
    if not args.json:
        print(f"The page: {page}")
    return 0


def _report_live(args: argparse.Namespace) -> int:
    """Writes the page again while runs train; Ctrl-C leaves the last one as it is."""
    if args.live < 1:
        raise InputError(f"--live {args.live:g}: wanted 1 second or more")
    if args.out or args.json:
        raise InputError("--live writes DIR/report and nothing else: leave out --out and --json")
    from analysis import report
    from scaling import status, study

    folder, seen = args.table[0], None
    page = folder / "report" / "index.html"
    arguments.say(f"{page}: written again every {args.live:g} s while runs train; an open browser shows it")
    try:
        while True:
            now = status.of(study.read(folder))
            if all(each.state in ("done", "quarantined") for each in now.packs):
                break
            if seen != (seen := [(row.run.id, row.state, row.steps) for row in now.runs]):
                report.write_live(folder, args.live, _glance(now, each_run=False))
            time.sleep(args.live)
    finally:
        report.settle(page)
    _write_report(folder)
    return 0
