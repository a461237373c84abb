"""The front door: one command, `scaling`. It adds words to the Python API and nothing else.

Exit codes: 0 done, 2 something typed or supplied cannot be used, 3 a run diverged or failed and the rest finished,
42 interrupted and saved (a supervisor restarts on it).
"""

import argparse
import dataclasses
import hashlib
import json
import math
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scaling import folders
from scaling.errors import InputError

QUICKSTART = "configs.quickstart"


def main(argv: Sequence[str] | None = None) -> None:
    """Runs one command and exits the process."""
    signal.signal(signal.SIGTERM, _interrupt)
    folders.keep_programs()
    args, args.inputs = parser().parse_known_args(argv)  # scaling predict takes the columns of its law
    if args.inputs and args.run is not _predict:
        parser().error(f"unrecognized arguments: {' '.join(args.inputs)}")
    try:
        code = args.run(args)
    except InputError as error:
        sys.exit(_usage_error(error))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = 42
    except BrokenPipeError:  # the reader of our output, such as head, has left
        sys.stderr.close()
        code = 0
    except OSError as error:  # a full disk, a folder that may not be written to
        sys.exit(
            _usage_error(f"{error.filename or 'writing'}: {error.strerror or error}; choose another file or folder")
        )
    sys.exit(code)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _usage_error(error: Exception | str) -> int:
    print(f"scaling: {error}", file=sys.stderr)
    return 2


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def parser() -> argparse.ArgumentParser:
    top = _Parser(
        prog="scaling",
        description="Neural scaling laws, measured: train ladders of models, fit the laws, plan the next model.",
    )
    verbs = top.add_subparsers(title="verbs", metavar="VERB", required=True)

    quick = _verb(
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
    _settings(quick)
    _layout(quick)

    corpus = verbs.add_parser("corpus", help="text to packed tokens").add_subparsers(
        metavar="prepare|show", required=True
    )
    for name, run, text in (
        ("prepare", _corpus_prepare, "make packed tokens, or find them made"),
        ("show", _corpus_show, "what a source holds, with its first tokens"),
    ):
        verb = _verb(corpus, name, run, text, f"scaling corpus {name} python --tokens 1e6 --n-vocab 512")
        verb.add_argument("source", help="python | text:GLOB | tfds:NAME | synthetic:..., see docs/data.md")
        verb.add_argument("--tokens", type=_count, default=2**20, help="for training (1e6 is understood)")
        verb.add_argument("--validation-tokens", type=_count, default=2**14)
        verb.add_argument("--validation", default="", metavar="SOURCE", help="a source of its own for held-out text")
        verb.add_argument("--tokenizer", default="bpe", help="bpe, bytes, or the path of a SentencePiece model")
        verb.add_argument("--n-vocab", type=_count, default=None, help="size of the vocabulary (512; bytes: 257)")
        verb.add_argument("--json", action="store_true", help="the manifest")

    study = verbs.add_parser("study", help="runs that answer one question").add_subparsers(
        metavar="show|run|status|export", required=True
    )
    show = _verb(
        study,
        "show",
        _study_show,
        "the runs of a config, without training",
        "scaling study show configs/quickstart.py --set minutes=20",
    )
    run = _verb(
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
        _settings(verb)
    show.add_argument("--json", action="store_true")
    run.add_argument("--out", type=Path, required=True, help="folder of the study")
    _layout(run)
    state = _verb(study, "status", _study_status, "how far the runs are", "scaling study status studies/quickstart")
    export = _verb(
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

    fit = _verb(
        verbs,
        "fit",
        _fit,
        "fit a law to a table of runs",
        'scaling fit chinchilla runs.csv --columns params="Model Size" flops="Training FLOP" --drop-worst 5',
    )
    fit.add_argument("law", nargs="?", help="its name; see --list")
    fit.add_argument("table", nargs="?", type=Path, help="folder of a study, .csv or .parquet")
    fit.add_argument("--list", action="store_true", help="the laws, their columns and the runs they admit")
    fit.add_argument(
        "--columns",
        nargs="+",
        default=[],
        metavar="NAME=COLUMN",
        help="which column is which; tokens=1e9*D where the file counts in billions",
    )
    fit.add_argument(
        "--where",
        nargs="+",
        default=[],
        metavar="COLUMN=VALUE",
        help="only rows with this value, such as dataset=c4",
    )
    fit.add_argument("--target", help="column to fit (the law's own)")
    fit.add_argument(
        "--loss", choices=["huber", "squared", "asymmetric"], default="huber", help="of the residual in log loss"
    )
    fit.add_argument("--delta", type=float, default=1e-3, help="where Huber turns linear")
    fit.add_argument("--linear", action="store_true", help="residuals of the loss itself, not of its logarithm")
    fit.add_argument(
        "--drop-worst", type=int, default=0, metavar="K", help="leave out the K largest losses; shown with and without"
    )
    fit.add_argument(
        "--hold-out",
        metavar="RULE",
        help="predict instead of fit these rows, such as params or flops (their largest value)",
    )
    fit.add_argument("--fix", nargs="+", default=[], metavar="CONSTANT=VALUE", help="hold constants at a value")
    fit.add_argument("--level", type=float, default=0.95, help="of the intervals")
    fit.add_argument(
        "--bootstrap", type=int, default=0, metavar="DRAWS", help="percentile intervals beside the primary ones"
    )
    fit.add_argument("--every-run", action="store_true", help="also the runs that the law is not about")
    fit.add_argument("--out", type=Path, metavar="FILE", help="keep the fit, for scaling predict and scaling plan")
    fit.add_argument("--plot", type=Path, metavar="FILE", help=".svg, .png or .pdf")
    fit.add_argument("--json", action="store_true")

    predict = _verb(
        verbs,
        "predict",
        _predict,
        "what a fitted law says of a model, or how a stored forecast fared",
        "scaling predict fit.json --params 1e9 --tokens 2e10 --store forecast.json",
    )
    predict.add_argument("fit", type=Path, help="a file from scaling fit --out, or from --store with --measured")
    predict.add_argument(
        "--store", type=Path, metavar="FILE", help="keep the forecast of the run, dated, before it starts"
    )
    predict.add_argument("--measured", type=float, metavar="LOSS", help="what the run gave: scores a stored forecast")
    predict.add_argument("--json", action="store_true")

    plan = _verb(
        verbs,
        "plan",
        _plan,
        "from a fitted law and a budget to the next model",
        "scaling plan fit.json --hardware v5p-128 --hours 72",
    )
    plan.add_argument("fit", type=Path, help="a file from scaling fit --out")
    plan.add_argument("--flops", type=float, metavar="C", help="the budget in FLOP")
    plan.add_argument("--hardware", metavar="NAME", help="such as v5p-128, v5e-256, h100-8; with --hours or --money")
    plan.add_argument("--hours", type=float)
    plan.add_argument("--money", type=float)
    plan.add_argument("--price", type=float, help="of a chip and hour")
    plan.add_argument("--utilisation", type=float, default=0.4, help="share of the peak (0.4)")
    plan.add_argument(
        "--inference-tokens", type=float, metavar="D", help="that the model will read and write in its life"
    )
    plan.add_argument("--unique-tokens", type=float, metavar="U", help="that there are")
    plan.add_argument("--params", type=float, metavar="N", help="a size that is given: the price of training it")
    plan.add_argument("--batch-fit", type=Path, metavar="FIT", help="a fit of kaplan-bcrit to your own runs")
    plan.add_argument("--store", type=Path, metavar="FILE", help="keep the forecast of the planned run, dated")
    plan.add_argument("--json", action="store_true")

    compare = _verb(
        verbs,
        "compare",
        _compare,
        "two ladders, as compute-equivalent gain with an interval",
        "scaling compare studies/baseline studies/change",
    )
    compare.add_argument("a", type=Path, help="folder of a study, .csv or .parquet")
    compare.add_argument("b", type=Path)
    compare.add_argument("--law", default="kaplan-c", help="by which to compare (kaplan-c)")
    compare.add_argument(
        "--columns", nargs="+", default=[], metavar="NAME=COLUMN", help="which column is which, in both"
    )
    compare.add_argument("--json", action="store_true")

    report = _verb(
        verbs,
        "report",
        _report,
        "figures, constants and intervals as one self-contained page",
        "scaling report studies/quickstart",
    )
    report.add_argument("dir", type=Path, help="folder of the study")
    report.add_argument("--json", action="store_true", help="the findings, instead of the page's path")
    return top


class _Parser(argparse.ArgumentParser):
    """Errors in one line."""

    def error(self, message: str):
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def _verb(verbs: Any, name: str, run: Any, text: str, example: str) -> argparse.ArgumentParser:
    verb = verbs.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.", epilog=f"example: {example}")
    verb.set_defaults(run=run)
    return verb


def _settings(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="a parameter of the study, or a field of every run such as model.n_ctx=256",
    )


def _layout(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--workers", type=int, default=0, help="processes (one per core on a CPU)")
    verb.add_argument("--pack", type=int, default=0, help="runs trained as one program (1 on a CPU)")


def _count(text: str) -> int:
    from scaling.config import parse

    try:
        value = parse("value", text, int)
    except InputError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0, such as 1000000 or 1e6")
    return value


def _pairs(items: Sequence[str], what: str) -> dict[str, str]:
    pairs = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not equals or not key:
            raise InputError(f"{what} {item!r}: wanted KEY=VALUE")
        pairs[key] = value
    return pairs


def _print_json(value: Any) -> None:
    """Infinite and missing numbers become null, as JSON has no word for them."""
    print(json.dumps(_plain(value), indent=1, allow_nan=False))


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def _quickstart(args: argparse.Namespace) -> int:
    settings = {} if args.minutes is None else {"minutes": str(args.minutes)}
    name = "quickstart"
    if args.data is not None:
        settings["data.source"] = args.data
        words = "".join(c if c.isalnum() else "-" for c in args.data).strip("-")[-30:]
        name += f"-{words}-{hashlib.sha256(args.data.encode()).hexdigest()[:4]}"  # other sources, other folders
    out = args.out or Path("studies") / name
    return _run_study(QUICKSTART, settings | _pairs(args.set, "--set"), out, args)


def _study_run(args: argparse.Namespace) -> int:
    return _run_study(args.config, _pairs(args.set, "--set"), args.out, args)


def _run_study(config: str, settings: dict[str, str], out: Path, args: argparse.Namespace) -> int:
    from scaling import study, workers

    if not out.name:
        raise InputError(f"--out '{out}': wanted a folder of its own, such as studies/mine")
    wanted = study.load(config, settings)
    with study.lock(out, _say):
        whole = study.prepare(wanted, out, pack=args.pack, workers=args.workers, say=_say)
        n_open = sum(run.id in whole.runs for pack in whole.open_packs for run in pack.runs)
        if not n_open:
            _say(f"{out}: all {len(whole.runs)} runs are there")
        else:
            layout = whole.layout
            each = f", {layout.runs_per_pack} to a program" if layout.runs_per_pack > 1 else ""
            _say(
                f"{out}: {n_open} of {len(whole.runs)} runs to train on {layout.workers} {layout.device} workers{each}"
            )
        outcome = workers.run(whole, say=_say)
        if outcome.left or outcome.failed:
            _say(f"{out}: {outcome.finished} of {len(whole.runs)} runs done, the rest saved; the same command goes on")
        if outcome.finished + outcome.diverged and not outcome.interrupted:
            _write_report(out, only_if_older_than=[out / "study.json", *out.glob("packs/*/done.json")])
    return outcome.exit_code


def _analysis() -> None:
    """Fits run on the CPU: an accelerator would only cost them its start."""
    os.environ["JAX_PLATFORMS"] = "cpu"


def _write_report(folder: Path, only_if_older_than: Sequence[Path] = ()) -> None:
    """Makes the page and prints what it says; a page that is newer than all of these files is not made again."""
    text, page = folder / "report" / "findings.txt", folder / "report" / "index.html"
    newest = max((path.stat().st_mtime_ns for path in only_if_older_than), default=None)
    if newest is None or not (text.exists() and page.exists()) or text.stat().st_mtime_ns < newest:
        _analysis()
        from analysis import report

        report.write(folder)
    print(text.read_text())
    print(f"The page: {page}")


def _corpus_prepare(args: argparse.Namespace) -> int:
    from scaling.data import tokens

    stream = _tokens(args)
    if args.json:
        _print_json(stream.manifest)
    else:
        print(tokens.describe(stream))
    return 0


def _corpus_show(args: argparse.Namespace) -> int:
    code = _corpus_prepare(args)
    if not args.json:
        stream = _tokens(args)
        print("\nIts first tokens, one per bar:\n")
        print("|".join(stream.tokenizer.decode(stream.train[i : i + 1]) for i in range(min(160, len(stream.train)))))
    return code


def _tokens(args: argparse.Namespace) -> Any:
    from scaling.data import tokens

    return tokens.prepare(
        args.source,
        args.tokenizer,
        args.n_vocab or (257 if args.tokenizer == "bytes" else 512),
        train_tokens=args.tokens,
        validation_tokens=args.validation_tokens,
        validation_source=args.validation,
        cache=folders.cache(),
        say=_say,
    )


def _study_show(args: argparse.Namespace) -> int:
    from scaling import config, counts, study

    found = study.load(args.config, _pairs(args.set, "--set"))
    if args.json:
        _print_json(config.to_dict(found))
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
        _print_json(
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


def _fit(args: argparse.Namespace) -> int:
    _analysis()
    from analysis import fit, laws, table
    from scaling.config import parse

    if args.list:
        for law in laws.LAWS:
            print(
                f"{law.name:16} {law.target} from {', '.join(law.inputs)}\n{'':16} {law.__doc__}\n{'':16} {law.source}"
            )
        return 0
    if not args.law or not args.table:
        raise InputError(
            "wanted a law and a table, such as: scaling fit chinchilla runs.csv; scaling fit --list names the laws"
        )
    law = laws.law_by_name(args.law)
    rows = table.load(args.table, _pairs(args.columns, "--columns"))
    for column, value in _pairs(args.where, "--where").items():
        rows = rows.matching(column, value)
    found = fit.fit(
        law,
        rows,
        target=args.target,
        loss=args.loss,
        delta=args.delta,
        log=not args.linear,
        drop_worst=args.drop_worst,
        hold_out=args.hold_out,
        fixed={name: parse(f"--fix {name}", value, float) for name, value in _pairs(args.fix, "--fix").items()},
        level=args.level,
        bootstrap=args.bootstrap,
        every_run=args.every_run,
    )
    if args.out:
        found.to_json(args.out)
    if args.plot:
        _plot(found, rows, args.plot)
    if args.json:
        _print_json(found.to_dict())
    else:
        print(found.summary())
    for path in filter(None, (args.out, args.plot)):
        _say(f"written: {path}")
    return 0


def _plot(found: Any, rows: Any, path: Path) -> None:
    from analysis import plots
    from analysis.rows import admitted

    if path.suffix not in (".svg", ".png", ".pdf"):
        raise InputError(f"--plot {path}: wanted a name that ends in .svg, .png or .pdf")
    law = found.law
    runs = admitted(type(law), rows)
    if len(law.inputs) == 1:
        figure = plots.against_one(found, runs)
    elif law.inputs[0] == "params" and len(law.inputs) == 2:
        figure = plots.against_size_and_data(runs, found, column=law.inputs[1])
    else:
        raise InputError(f"--plot: no figure for a law of {', '.join(law.inputs)}; one of params and another is drawn")
    figure.savefig(path)


def _read_fit(path: Path) -> Any:
    from analysis.fit import Fit

    if not path.exists():
        raise InputError(f"{path}: no such file; make it with scaling fit LAW TABLE --out {path}")
    return Fit.from_json(path)


def _predict(args: argparse.Namespace) -> int:
    _analysis()
    from analysis import forecast

    if args.measured is not None:
        if args.inputs:
            raise InputError(f"--measured scores the forecast in {args.fit}; leave out {' '.join(args.inputs)}")
        score = forecast.score(args.fit, args.measured)
        if args.json:
            _print_json(dataclasses.asdict(score) | {"error": score.error, "inside": score.inside})
        else:
            print(score.text())
        return 0
    found = _read_fit(args.fit)
    inputs = _inputs(args.inputs, found.law.inputs)
    missing = " ".join(f"--{name} VALUE" for name in found.law.inputs if name not in inputs)
    if missing:
        raise InputError(f"{found.law.name} wants {missing}")
    if args.store:
        forecast.store(forecast.forecast(found, **inputs), args.store)
    if found.status != "converged":
        _say(f"the fit is doubtful, {found.status}: {found.why}")
    value, low, high = (float(x) for x in found.predict(**inputs))
    if args.json:
        _print_json({"target": found.target, **inputs, "value": value, "low": low, "high": high, "level": found.level})
    else:
        at = ", ".join(f"{name} {value:.4g}" for name, value in inputs.items())
        print(f"{found.target} {value:.4f}, {found.level:.0%} interval {low:.4f} to {high:.4f}, at {at}")
    if args.store:
        _say(f"written: {args.store}")
    return 0


def _inputs(words: Sequence[str], known: Sequence[str]) -> dict[str, float]:
    """--params 1e9 --tokens=2e10 as {"params": 1e9, "tokens": 2e10}; only columns that the law knows."""
    from scaling.config import known_key, parse

    words = [part for word in words for part in word.split("=", 1)]
    if len(words) % 2:
        raise InputError(f"{words[-1]}: wanted --COLUMN VALUE pairs; the law's columns are {', '.join(known)}")
    inputs = {}
    for flag, text in zip(words[::2], words[1::2], strict=True):
        name = flag.removeprefix("--").replace("-", "_")
        known_key(name, dict.fromkeys(known))
        inputs[name] = parse(flag, text, float)
    return inputs


def _plan(args: argparse.Namespace) -> int:
    _analysis()
    from analysis import forecast, plan

    found = _read_fit(args.fit)
    if (args.flops is None) + (args.hours is None) + (args.money is None) != 2:
        raise InputError(
            "wanted one budget: --flops C, --hardware NAME --hours H, or --hardware NAME --money M --price P"
        )
    if args.flops is not None:
        budget = plan.Budget.of_flops(args.flops, args.hardware, args.utilisation)
    elif args.hardware is None:
        raise InputError("--hours and --money need --hardware NAME, such as v5p-128 or h100-8")
    elif args.hours is not None:
        budget = plan.Budget.of_hardware(args.hardware, args.hours, args.utilisation)
    elif args.price is None:
        raise InputError("--money needs --price, of one chip and hour")
    else:
        budget = plan.Budget.of_money(args.money, args.hardware, args.price, args.utilisation)
    made = plan.plan(
        found,
        budget,
        B_crit=_read_fit(args.batch_fit) if args.batch_fit else None,
        inference_tokens=args.inference_tokens,
        unique_tokens=args.unique_tokens,
        params=args.params,
    )
    if args.json:
        _print_json(made.to_dict())
    else:
        print(made.text())
    if args.store:
        if found.law.inputs != ("params", "tokens"):
            raise InputError(
                f"--store keeps a forecast of params and tokens; {found.law.name} takes {found.law.inputs}"
            )
        forecast.store(forecast.forecast(found, params=made.params, tokens=made.tokens), args.store)
        _say(f"written: {args.store}")
    return 0


def _compare(args: argparse.Namespace) -> int:
    _analysis()
    from analysis import compare, table

    columns = _pairs(args.columns, "--columns")
    found = compare.compare(table.load(args.a, columns), table.load(args.b, columns), law=args.law)
    if args.json:
        _print_json(found.to_dict())
    else:
        print(found.text())
    return 0


def _report(args: argparse.Namespace) -> int:
    if args.json:
        _analysis()
        from analysis import report

        _print_json(report.write(args.dir)[1].to_dict())
    else:
        _write_report(args.dir)
    return 0


if __name__ == "__main__":
    main()
