"""scaling fit, allocate and compare: what a table of runs says."""

import argparse
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from scaling import folders
from scaling.commands import arguments
from scaling.errors import InputError

if TYPE_CHECKING:
    from analysis.fit.floor import Floor
    from analysis.forms import Choice
    from analysis.laws import Law
    from analysis.table import Table

TABLE = "folder of a study, a table (CSV, Parquet, JSON), a log of another tool, or a folder of logs"


def add(verbs: arguments.Verbs) -> None:
    _add_fit(verbs)
    allocate = arguments.verb(
        verbs,
        "allocate",
        _allocate,
        "how compute is best split into parameters and tokens, with intervals",
        "scaling allocate studies/isoflop --approach isoflop --budgets 1e21 1e22",
    )
    allocate.add_argument("table", type=arguments.place, nargs="+", help=TABLE)
    allocate.add_argument(
        "--approach",
        choices=["auto", "envelope", "hull", "isoflop", "surface", "optima", "all"],
        default="auto",
        help="lower envelope or convex hull of learning curves, sizes at fixed budgets, a fitted law (what suits the "
        "table), a table of best runs, or all three of Hoffmann's against one another",
    )
    allocate.add_argument(
        "--method",
        choices=["parabola", "akima"],
        default="parabola",
        help="how isoflop finds the best size of a budget (parabola)",
    )
    allocate.add_argument(
        "--sigma",
        type=arguments.number,
        metavar="SHARE",
        help="seed noise as a share of the loss, for envelope and isoflop (read off the table)",
    )
    allocate.add_argument("--law", type=arguments.law, default="chinchilla", help="of the surface (chinchilla)")
    allocate.add_argument(
        "--budgets", nargs="+", type=arguments.number, metavar="C", help="FLOP for which to tell N and D"
    )
    _level(allocate)
    _drop_worst(allocate)
    rows(allocate)
    allocate.add_argument("--out", type=arguments.JSON, metavar="FILE", help="keep the allocation, for scaling plan")
    allocate.add_argument("--json", action="store_true", help="JSON in place of text")

    compare = arguments.verb(
        verbs,
        "compare",
        _compare,
        "how many times the compute of ladder B ladder A needs for the same loss",
        "scaling compare studies/baseline studies/change",
    )
    compare.add_argument("a", type=arguments.place, help=TABLE)
    compare.add_argument("b", type=arguments.place, help="the same; parts of one table by --where-a and --where-b")
    compare.add_argument(
        "--law", type=arguments.law, help="by which to compare (chinchilla where both ladders allow it, else kaplan-c)"
    )
    pair(compare)
    compare.add_argument("--json", action="store_true", help="JSON in place of text")


def _add_fit(verbs: arguments.Verbs) -> None:
    fit = arguments.verb(
        verbs,
        "fit",
        _fit,
        "fit a law to a table of runs",
        'scaling fit chinchilla runs.csv --columns params="Model Size" flops="Training FLOP" --drop-worst 5',
    )
    fit.add_argument(
        "law", nargs="?", type=arguments.law, help="name of a law, --list shows them; or your own, FILE.py:Name"
    )
    fit.add_argument("table", nargs="*", type=arguments.place, help=TABLE)
    fit.add_argument(
        "--list", action="store_true", help="show the laws, their columns and the runs that they are about"
    )
    rows(fit)
    fit.add_argument("--target", metavar="COLUMN", help="column to predict (the law's own, mostly loss)")
    fit.add_argument(
        "--loss",
        choices=["auto", "huber", "squared", "asymmetric", "absolute"],
        default="auto",
        help="how much a residual counts (auto: squared for few rows, else huber with a delta from their scatter)",
    )
    fit.add_argument("--delta", type=arguments.number, help="residual from which Huber's loss grows linearly (0.001)")
    fit.add_argument(
        "--asymmetry",
        type=arguments.number,
        default=10.0,
        help="how many times more a run below the curve counts, for asymmetric (10)",
    )
    fit.add_argument("--linear", action="store_true", help="residuals of the loss itself, not of its logarithm")
    _drop_worst(fit)
    fit.add_argument(
        "--hold-out",
        metavar="RULE",
        help="predict these rows instead of fitting them: params (its largest value), or a condition as of --where",
    )
    fit.add_argument(
        "--weights",
        type=_weights,
        metavar="replicates|POWER",
        help="weigh runs by the noise that runs differing in seed alone show, or that goes as a power of N (-0.25)",
    )
    fit.add_argument("--fix", nargs="+", default=[], metavar="CONSTANT=VALUE", help="hold constants at a value")
    floors(fit)
    _level(fit)
    fit.add_argument(
        "--bootstrap",
        type=int,
        default=0,
        metavar="DRAWS",
        help="also intervals from this many refits to resampled runs",
    )
    fit.add_argument(
        "--clusters",
        metavar="COLUMN",
        help="rows with one value here are one run, such as its checkpoints (rows with one id in the column run)",
    )
    fit.add_argument(
        "--batch-fit",
        type=Path,
        metavar="FIT",
        help="a fit of kaplan-bcrit: gives the columns steps_min and flops_min of kaplan-ns and kaplan-cmin",
    )
    fit.add_argument(
        "--drop",
        choices=["suspicious"],
        help="leave out the rows that notes call suspicious: short cooldowns, rates at the edge of their sweep, a "
        "transition, long warm-ups, odd batches",
    )
    fit.add_argument("--every-run", action="store_true", help="also the runs that the law is not about")
    fit.add_argument(
        "--against",
        nargs="+",
        default=[],
        type=arguments.law,
        metavar="LAW",
        help="other laws to judge by rows that none of them has seen",
    )
    fit.add_argument(
        "--choose",
        nargs="*",
        type=arguments.law,
        metavar="LAW",
        help="fit whichever of these laws predicts rows held out best, if the difference is beyond luck "
        "(chinchilla, kaplan-one-pass and q-norm, or curves of the tokens alone)",
    )
    fit.add_argument(
        "--average",
        action="store_true",
        help="with --choose: keep all forms by their held-out weight in place of one, for scaling predict",
    )
    fit.add_argument(
        "--out", type=arguments.JSON, metavar="FILE", help="keep the fit, for scaling predict and scaling plan"
    )
    fit.add_argument("--plot", type=arguments.PICTURE, metavar="FILE", help=".svg, .png or .pdf")
    fit.add_argument("--json", action="store_true", help="JSON in place of text")


def _level(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--level", type=arguments.number, help="of the intervals (0.95)")


def _drop_worst(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--drop-worst", type=int, default=0, metavar="K", help="leave out the K runs of largest loss")


def floors(verb: argparse.ArgumentParser) -> None:
    """Options that pin the floor of a law."""
    one = verb.add_mutually_exclusive_group()
    one.add_argument(
        "--floor", type=arguments.number, metavar="LOSS", help="irreducible loss at which the law is pinned"
    )
    one.add_argument("--floor-from", type=Path, metavar="FIT", help="pinned at the floor of this fit")


def floor_of(args: argparse.Namespace) -> "Floor | None":
    """The floor that the options of `floors` pin."""
    from analysis.fit.floor import Floor

    if args.floor_from:
        return Floor.of(arguments.read_fit(args.floor_from), args.floor_from.name)
    return None if args.floor is None else Floor(args.floor)


def rows(verb: argparse.ArgumentParser) -> None:
    """Options that say how a table is read."""
    verb.add_argument(
        "--columns",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=COLUMN",
        help="which column is which, or what it is of others: tokens=1e9*D, params='flops/(6*tokens)', tokens=300B",
    )
    verb.add_argument(
        "--where",
        nargs="+",
        action="extend",
        default=[],
        metavar="CONDITION",
        help="only rows that meet all of these: dataset=c4, dataset!=c4, 'params<1e9', '1e8<=params<=1e9', loss!= "
        "(not empty), loss= (empty)",
    )
    verb.add_argument(
        "--best-of",
        nargs="+",
        action="extend",
        default=[],
        metavar="COLUMN",
        help="of rows that differ in nothing else, the one with the lowest loss, such as --best-of learning_rate",
    )


def pair(verb: argparse.ArgumentParser) -> None:
    """Options that say how the two tables of a verb, a and b, are read."""
    rows(verb)
    for side, which in (("a", "first"), ("b", "second")):
        for option, metavar in (("columns", "NAME=COLUMN"), ("where", "CONDITION")):
            verb.add_argument(
                f"--{option}-{side}",
                nargs="+",
                action="extend",
                default=[],
                metavar=metavar,
                help=f"--{option} for the {which} alone",
            )


def two_tables(args: argparse.Namespace) -> "tuple[Table, Table]":
    """The tables of a verb whose options are those of `pair`."""
    if args.a == args.b and (args.where_a, args.columns_a) == (args.where_b, args.columns_b):
        raise InputError(f"{args.a} held against itself; give --where-a and --where-b to choose different rows")
    columns_A, columns_B = [*args.columns, *args.columns_a], [*args.columns, *args.columns_b]
    one_file = args.a == args.b and not (args.columns_a or args.columns_b)
    option_A = "--columns" if one_file else _beside("b", columns_B, "--columns-a")
    option_B = "--columns" if one_file else _beside("a", columns_A, "--columns-b")
    common = columns_of(args)
    A, B = (
        table_of(
            path, common | arguments.pairs(own, f"--columns-{side}"), [*args.where, *where], args.best_of, option=o
        )
        for side, path, own, where, o in (
            ("a", args.a, args.columns_a, args.where_a, option_A),
            ("b", args.b, args.columns_b, args.where_b, option_B),
        )
    )
    return A, B


def table_of(
    path: Path | Sequence[Path],
    columns: Mapping[str, str],
    where: Sequence[str],
    best_of: Sequence[str] = (),
    *,
    target: str | None = None,
    curves: bool = False,
    option: str = "--columns",
) -> "Table":
    """The rows asked for; `curves`: the learning curves, where the path is the folder of a study or logs.

    Args:
        columns, where, best_of: as the options of these names.
        target: of which `best_of` takes the lowest, the loss if None.
        option: with which the columns are named, for messages.
    """
    from analysis import mixed
    from analysis.load import load

    if curves and isinstance(path, Path) and (path / "study.json").exists():
        from analysis import records

        if columns:
            raise InputError(f"--columns renames the columns of a file; those of the study {path} have their names")
        rows = records.read(path).curves
    else:
        rows = load(path, columns, option, curves=curves)
    return mixed.best_of(rows.matching(*where), best_of, target or "loss")


def one_or_all(paths: "Path | Sequence[Path]") -> "Path | list[Path]":
    """The only path of several words, else all of them."""
    if isinstance(paths, Path):
        return paths
    return paths[0] if len(paths) == 1 else list(paths)


def columns_of(args: argparse.Namespace) -> dict[str, str]:
    return arguments.pairs(args.columns, "--columns")


def asked_for(
    args: argparse.Namespace,
    path: Path | Sequence[Path] | None = None,
    *,
    target: str | None = None,
    curves: bool = False,
) -> "Table":
    """The rows of the verb's table, or of the one at `path`, that its options of `rows` ask for."""
    return table_of(
        path or one_or_all(args.table), columns_of(args), args.where, args.best_of, target=target, curves=curves
    )


def _fit(args: argparse.Namespace) -> int:
    arguments.fits_on_the_cpu()
    from analysis import batch_size, fit, laws
    from analysis.confidence import LEVEL
    from analysis.laws.law import describe, to_dict
    from scaling.config import parse

    if args.list:
        every = (*laws.LAWS, *laws.OF_CURVES)
        if args.json:
            arguments.print_json([to_dict(law) for law in every])
        else:
            print("\n\n".join(map(describe, every)))
        return 0
    laws_asked, path = _asked(args)
    table = asked_for(args, path, target=args.target, curves=laws_asked[:1] == [laws.KaplanBCrit])
    laws_asked = laws_asked or _usual(table)
    batch_fit = arguments.read_fit(args.batch_fit) if args.batch_fit else None
    rows = batch_size.for_law(laws_asked[0], table, batch_fit)
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
        "drop": args.drop,
    }
    choice, law, floor = None, laws_asked[0], floor_of(args)
    if len(laws_asked) > 1 and (floor or args.fix):
        raise InputError("--floor and --fix hold constants of one law: leave them out where several are judged")
    if len(laws_asked) > 1:
        given = {name: value for name, value in options.items() if value is not None and name != "level"}
        from analysis import forms

        choice = forms.choose(laws_asked, rows, args.hold_out, every_run=args.every_run, **given)
    fitted = {"bootstrap": args.bootstrap, "every_run": args.every_run, **options}
    if args.average:
        if not choice or args.choose is None or args.plot or args.hold_out:
            raise InputError("--average goes with --choose and two laws or more, without --plot and --hold-out")
        from analysis import average

        averaged = average.average(choice, laws_asked, rows, **fitted)
        return arguments.answer(averaged, args.json, (args.out, averaged.to_json))
    if choice and args.choose is not None:
        if not choice.best:
            return _undecided(choice, args)
        law = laws.law_by_name(choice.best)
    found = fit.fit(
        law,
        rows,
        hold_out=args.hold_out,
        fixed={
            name: parse(f"--fix {name}", value, float) for name, value in arguments.pairs(args.fix, "--fix").items()
        },
        floor=floor,
        **fitted,
    )

    def draw(path: Path) -> None:
        from analysis.page import canvas, fit_figure

        canvas.write(fit_figure.draw(found, rows), path, dpi=200)

    said = arguments.Answer(
        "\n".join([found.summary(), *(choice.lines() if choice else [])]),
        found.to_dict() | ({"choice": choice.to_dict()} if choice else {}),
    )
    return arguments.answer(said, args.json, (args.out, found.to_json), (args.plot, draw))


def _weights(text: str) -> str | float:
    if text == "replicates":
        return text
    try:
        return arguments.number(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"{text!r}: wanted replicates, or a power of N such as -0.25") from None


def _usual(table: "Table") -> "list[type[Law]]":
    """The laws to choose from where none is named."""
    from analysis import forms

    return list(forms.candidates(table))


def _asked(args: argparse.Namespace) -> tuple[list["type[Law]"], Path | list[Path]]:
    """The laws and the table that were typed: the law to fit first, or the laws to choose from, none for the usual."""
    from analysis.laws import law_by_name

    if args.choose is None:
        if not args.law or not args.table:
            file = shlex.quote(args.law) if args.law and Path(args.law).exists() else ""
            ways = f"; scaling fit --choose {file} takes the law that predicts rows held out best" if file else ""
            raise InputError(
                f"wanted a law and a table before the options, such as: scaling fit chinchilla {file or 'runs.csv'}"
                f"{ways}; scaling fit --list names the laws"
            )
        return [law_by_name(name) for name in (args.law, *args.against)], one_or_all(args.table)
    # The option takes words greedily, the table among them: it is the word that is no law's name.
    words = [str(word) for word in (args.law, *args.table, *args.choose) if word]
    names, others = [], []
    for word in words:
        try:
            names.append(law_by_name(word))
        except InputError:
            others.append(word)
    if not all(Path(word).exists() for word in others[:-1]):
        law_by_name(next(word for word in others[:-1] if not Path(word).exists()))
    if not others:
        raise InputError("--choose: wanted a table, such as: scaling fit --choose chinchilla q-norm runs.csv")
    if args.against or len(names) == 1:
        raise InputError("--choose: wanted two laws or more, or none for the usual ones, and no --against beside it")
    return names, one_or_all([folders.place(word) for word in others])


def _undecided(choice: "Choice", args: argparse.Namespace) -> int:
    """Says that the rows do not choose: no law is fitted."""
    if path := args.out or args.plot:
        raise InputError(f"{choice.verdict()}; nothing to write to {path}: name the law, scaling fit LAW TABLE")
    if args.json:
        arguments.print_json({"choice": choice.to_dict()})
    else:
        print("\n".join(choice.lines()))
    return 0


def _allocate(args: argparse.Namespace) -> int:
    arguments.fits_on_the_cpu()
    from analysis import allocation
    from analysis.confidence import LEVEL
    from analysis.laws import law_by_name

    options = {
        "method": args.method,
        "sigma": args.sigma,
        "level": LEVEL if args.level is None else args.level,
        "budgets": args.budgets,
        "law": args.law,
        "drop_worst": args.drop_worst,
    }
    if args.out and args.approach == "all":
        raise InputError("--out keeps one allocation; choose an --approach")
    law_by_name(args.law)  # whatever the approach
    rows = asked_for(args, curves=args.approach in ("envelope", "hull", "all"))
    if args.approach == "all":
        study = len(args.table) == 1 and (args.table[0] / "study.json").exists()
        runs = asked_for(args) if study else allocation.last_rows(rows)
        return arguments.answer(allocation.cross_check(runs, rows, **options), args.json)
    found = allocation.allocate(rows, args.approach, **options)
    return arguments.answer(found, args.json, (args.out, found.to_json))


def _beside(side: str, columns: Sequence[str], option: str) -> str:
    """An option for the columns of one ladder beside what was said of the other's."""
    said = " ".join(map(shlex.quote, columns))
    return f"--columns-{side} {said} {option}" if said else option


def _compare(args: argparse.Namespace) -> int:
    arguments.fits_on_the_cpu()
    from analysis import compare

    found = compare.compare(*two_tables(args), law=args.law)
    return arguments.answer(found, args.json)
