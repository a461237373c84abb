"""scaling fit, allocate and compare: what a table of runs says."""

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from scaling.commands import arguments
from scaling.errors import InputError

if TYPE_CHECKING:
    from analysis.table import Table

TABLE = "folder of a study, or a .csv or .parquet file"


def add(verbs: arguments.Verbs) -> None:
    _add_fit(verbs)
    allocate = arguments.verb(
        verbs,
        "allocate",
        _allocate,
        "how compute is best split into parameters and tokens, with intervals",
        "scaling allocate studies/isoflop --approach isoflop --budgets 1e21 1e22",
    )
    allocate.add_argument("table", type=Path, help=TABLE)
    allocate.add_argument(
        "--approach",
        choices=["auto", "envelope", "isoflop", "surface"],
        default="auto",
        help="lower envelope of learning curves, sizes at fixed budgets, or a fitted law (what suits the table)",
    )
    allocate.add_argument(
        "--method",
        choices=["parabola", "akima"],
        default="parabola",
        help="how isoflop finds the best size of a budget (parabola)",
    )
    allocate.add_argument(
        "--sigma",
        type=float,
        metavar="SHARE",
        help="seed noise as a share of the loss, for envelope and isoflop (read off the table)",
    )
    allocate.add_argument("--law", default="chinchilla", help="of the surface (chinchilla)")
    allocate.add_argument("--budgets", nargs="+", type=float, metavar="C", help="FLOP for which to tell N and D")
    _level(allocate)
    _drop_worst(allocate)
    rows(allocate)
    allocate.add_argument("--json", action="store_true", help="JSON in place of text")

    compare = arguments.verb(
        verbs,
        "compare",
        _compare,
        "how many times the compute of ladder B ladder A needs for the same loss",
        "scaling compare studies/baseline studies/change",
    )
    compare.add_argument("a", type=Path, help=TABLE)
    compare.add_argument("b", type=Path, help="the same; parts of one table by --where-a and --where-b")
    compare.add_argument("--law", help="by which to compare (chinchilla where both ladders allow it, else kaplan-c)")
    rows(compare)
    for side in "ab":
        for option, metavar in (("columns", "NAME=COLUMN"), ("where", "COLUMN=VALUE")):
            compare.add_argument(
                f"--{option}-{side}",
                nargs="+",
                default=[],
                metavar=metavar,
                help=f"--{option} for {side.upper()} alone",
            )
    compare.add_argument("--json", action="store_true", help="JSON in place of text")


def _add_fit(verbs: arguments.Verbs) -> None:
    fit = arguments.verb(
        verbs,
        "fit",
        _fit,
        "fit a law to a table of runs",
        'scaling fit chinchilla runs.csv --columns params="Model Size" flops="Training FLOP" --drop-worst 5',
    )
    fit.add_argument("law", nargs="?", help="name of a law; --list shows them")
    fit.add_argument("table", nargs="?", type=Path, help=TABLE)
    fit.add_argument(
        "--list", action="store_true", help="show the laws, their columns and the runs that they are about"
    )
    rows(fit)
    fit.add_argument("--target", metavar="COLUMN", help="column to predict (the law's own, mostly loss)")
    fit.add_argument(
        "--loss",
        choices=["auto", "huber", "squared", "asymmetric"],
        default="auto",
        help="how much a residual counts (auto: squared for few rows, else huber with a delta from their scatter)",
    )
    fit.add_argument("--delta", type=float, help="residual from which Huber's loss grows linearly (0.001)")
    fit.add_argument(
        "--asymmetry",
        type=float,
        default=10.0,
        help="how many times more a run below the curve counts, for asymmetric (10)",
    )
    fit.add_argument("--linear", action="store_true", help="residuals of the loss itself, not of its logarithm")
    _drop_worst(fit)
    fit.add_argument(
        "--hold-out",
        metavar="RULE",
        help="predict these rows instead of fitting them: params (its largest value), 'params>1e9', or dataset=c4",
    )
    fit.add_argument(
        "--weights", choices=["replicates"], help="weigh runs by the noise that runs differing in seed alone show"
    )
    fit.add_argument("--fix", nargs="+", default=[], metavar="CONSTANT=VALUE", help="hold constants at a value")
    _level(fit)
    fit.add_argument(
        "--bootstrap",
        type=int,
        default=0,
        metavar="DRAWS",
        help="also intervals from this many refits to resampled runs",
    )
    fit.add_argument(
        "--clusters", metavar="COLUMN", help="rows with one value here are one run, such as its checkpoints"
    )
    fit.add_argument(
        "--batch-fit",
        type=Path,
        metavar="FIT",
        help="a fit of kaplan-bcrit: gives the columns steps_min and flops_min of kaplan-ns and kaplan-cmin",
    )
    fit.add_argument("--every-run", action="store_true", help="also the runs that the law is not about")
    fit.add_argument("--against", nargs="+", default=[], metavar="LAW", help="other laws to score on the same runs")
    fit.add_argument("--out", type=Path, metavar="FILE", help="keep the fit, for scaling predict and scaling plan")
    fit.add_argument("--plot", type=Path, metavar="FILE", help=".svg, .png or .pdf")
    fit.add_argument("--json", action="store_true", help="JSON in place of text")


def _level(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--level", type=float, help="of the intervals (0.95)")


def _drop_worst(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--drop-worst", type=int, default=0, metavar="K", help="leave out the K runs of largest loss")


def rows(verb: argparse.ArgumentParser) -> None:
    """Options that say how a table is read."""
    verb.add_argument(
        "--columns",
        nargs="+",
        default=[],
        metavar="NAME=COLUMN",
        help="which column is which, or what it is of others: tokens=1e9*D, params='flops/(6*tokens)', tokens=300B",
    )
    verb.add_argument(
        "--where",
        nargs="+",
        default=[],
        metavar="COLUMN=VALUE",
        help="only rows with this value, such as dataset=c4",
    )


def table_of(
    path: Path, columns: Sequence[str], where: Sequence[str], *, curves: bool = False, option: str = "--columns"
) -> "Table":
    """The rows asked for; `curves`: the learning curves, where the path is the folder of a study.

    Args:
        option: with which the columns are named, for messages.
    """
    from analysis.load import load

    if curves and path.is_dir():
        from analysis import records

        if columns:
            raise InputError(f"--columns renames the columns of a file; those of the study {path} have their names")
        rows = records.read(path).curves
    else:
        rows = load(path, arguments.pairs(columns, "--columns"), option)
    for column, value in arguments.pairs(where, "--where").items():
        rows = rows.matching(column, value)
    return rows


def _fit(args: argparse.Namespace) -> int:
    arguments.fits_on_the_cpu()
    from analysis import batch_size, fit, forms, laws
    from analysis.confidence import LEVEL
    from analysis.laws.law import describe, to_dict
    from scaling.config import parse

    if args.list:
        if args.json:
            arguments.print_json([to_dict(law) for law in laws.LAWS])
        else:
            print("\n\n".join(describe(law) for law in laws.LAWS))
        return 0
    if not args.law or not args.table:
        raise InputError(
            "wanted a law and a table, such as: scaling fit chinchilla runs.csv; scaling fit --list names the laws"
        )
    if args.plot and args.plot.suffix not in (".svg", ".png", ".pdf"):
        raise InputError(f"--plot {args.plot}: wanted a name that ends in .svg, .png or .pdf")
    law = laws.law_by_name(args.law)
    rivals = [laws.law_by_name(name) for name in args.against]
    table = table_of(args.table, args.columns, args.where, curves=law is laws.KaplanBCrit)
    rows = batch_size.for_law(law, table, arguments.read_fit(args.batch_fit) if args.batch_fit else None)
    options = {
        "target": args.target,
        "loss": args.loss,
        "delta": args.delta,
        "asymmetry": args.asymmetry,
        "log": not args.linear,
        "drop_worst": args.drop_worst,
        "weights": args.weights,
        "level": LEVEL if args.level is None else args.level,
        "clusters": args.clusters,
    }
    found = fit.fit(
        law,
        rows,
        hold_out=args.hold_out,
        fixed={
            name: parse(f"--fix {name}", value, float) for name, value in arguments.pairs(args.fix, "--fix").items()
        },
        bootstrap=args.bootstrap,
        every_run=args.every_run,
        **options,
    )
    given = {name: value for name, value in options.items() if value is not None}
    rivalry = forms.against(law, rivals, rows, args.hold_out, **given)
    if args.out:
        found.to_json(args.out)
    if args.plot:
        from analysis.page import fit_figure

        fit_figure.draw(found, rows).savefig(args.plot, dpi=200)
    if args.json:
        arguments.print_json(found.to_dict() | (rivalry.to_dict() if rivals else {}))
    else:
        print("\n".join([found.summary(), *rivalry.lines()]))
    for path in filter(None, (args.out, args.plot)):
        arguments.say(f"written: {path}")
    return 0


def _allocate(args: argparse.Namespace) -> int:
    arguments.fits_on_the_cpu()
    from analysis import allocation
    from analysis.confidence import LEVEL

    rows = table_of(args.table, args.columns, args.where, curves=args.approach == "envelope")
    found = allocation.allocate(
        rows,
        args.approach,
        method=args.method,
        sigma=args.sigma,
        level=LEVEL if args.level is None else args.level,
        budgets=args.budgets,
        law=args.law,
        drop_worst=args.drop_worst,
    )
    if args.json:
        arguments.print_json(found.to_dict())
    else:
        print(found.text())
    return 0


def _beside(side: str, columns: Sequence[str], option: str) -> str:
    """An option for the columns of one ladder beside what was said of the other's."""
    said = " ".join(map(shlex.quote, columns))
    return f"--columns-{side} {said} {option}" if said else option


def _compare(args: argparse.Namespace) -> int:
    arguments.fits_on_the_cpu()
    from analysis import compare

    columns_A, columns_B = [*args.columns, *args.columns_a], [*args.columns, *args.columns_b]
    one_file = args.a == args.b and not (args.columns_a or args.columns_b)
    option_A = "--columns" if one_file else _beside("b", columns_B, "--columns-a")
    option_B = "--columns" if one_file else _beside("a", columns_A, "--columns-b")
    A = table_of(args.a, columns_A, [*args.where, *args.where_a], option=option_A)
    B = table_of(args.b, columns_B, [*args.where, *args.where_b], option=option_B)
    if args.a == args.b and (args.where_a, args.columns_a) == (args.where_b, args.columns_b):
        raise InputError(f"{args.a} held against itself; give --where-a and --where-b to choose different rows")
    found = compare.compare(A, B, law=args.law)
    if args.json:
        arguments.print_json(found.to_dict())
    else:
        print(found.text())
    return 0
