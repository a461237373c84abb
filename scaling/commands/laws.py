"""scaling fit, predict, plan and compare: what runs say."""

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scaling.commands import arguments
from scaling.errors import InputError


def add(verbs: Any) -> None:
    fit = arguments.verb(
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

    predict = arguments.verb(
        verbs,
        "predict",
        _predict,
        "what a fitted law says of a model, or how a stored forecast fared",
        "scaling predict fit.json --params 1e9 --tokens 2e10 --store forecast.json",
    )
    predict.set_defaults(takes_columns=True)  # --params 1e9: the columns of its law
    predict.add_argument("fit", type=Path, help="a file from scaling fit --out, or from --store with --measured")
    predict.add_argument(
        "--store", type=Path, metavar="FILE", help="keep the forecast of the run, dated, before it starts"
    )
    predict.add_argument("--measured", type=float, metavar="LOSS", help="what the run gave: scores a stored forecast")
    predict.add_argument("--json", action="store_true")

    plan = arguments.verb(
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

    compare = arguments.verb(
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


def _fit(args: argparse.Namespace) -> int:
    arguments.fits_on_the_cpu()
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
    rows = table.load(args.table, arguments.pairs(args.columns, "--columns"))
    for column, value in arguments.pairs(args.where, "--where").items():
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
        fixed={
            name: parse(f"--fix {name}", value, float) for name, value in arguments.pairs(args.fix, "--fix").items()
        },
        level=args.level,
        bootstrap=args.bootstrap,
        every_run=args.every_run,
    )
    if args.out:
        found.to_json(args.out)
    if args.plot:
        _plot(found, rows, args.plot)
    if args.json:
        arguments.print_json(found.to_dict())
    else:
        print(found.summary())
    for path in filter(None, (args.out, args.plot)):
        arguments.say(f"written: {path}")
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
    arguments.fits_on_the_cpu()
    from analysis import forecast

    if args.measured is not None:
        if args.inputs:
            raise InputError(f"--measured scores the forecast in {args.fit}; leave out {' '.join(args.inputs)}")
        score = forecast.score(args.fit, args.measured)
        if args.json:
            arguments.print_json(dataclasses.asdict(score) | {"error": score.error, "inside": score.inside})
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
        arguments.say(f"the fit is doubtful, {found.status}: {found.why}")
    value, low, high = (float(x) for x in found.predict(**inputs))
    if args.json:
        arguments.print_json(
            {"target": found.target, **inputs, "value": value, "low": low, "high": high, "level": found.level}
        )
    else:
        at = ", ".join(f"{name} {value:.4g}" for name, value in inputs.items())
        print(f"{found.target} {value:.4f}, {found.level:.0%} interval {low:.4f} to {high:.4f}, at {at}")
    if args.store:
        arguments.say(f"written: {args.store}")
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
    arguments.fits_on_the_cpu()
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
        arguments.print_json(made.to_dict())
    else:
        print(made.text())
    if args.store:
        if found.law.inputs != ("params", "tokens"):
            raise InputError(
                f"--store keeps a forecast of params and tokens; {found.law.name} takes {found.law.inputs}"
            )
        forecast.store(forecast.forecast(found, params=made.params, tokens=made.tokens), args.store)
        arguments.say(f"written: {args.store}")
    return 0


def _compare(args: argparse.Namespace) -> int:
    arguments.fits_on_the_cpu()
    from analysis import compare, table

    columns = arguments.pairs(args.columns, "--columns")
    found = compare.compare(table.load(args.a, columns), table.load(args.b, columns), law=args.law)
    if args.json:
        arguments.print_json(found.to_dict())
    else:
        print(found.text())
    return 0
