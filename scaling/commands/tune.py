"""scaling tune: the best learning rate per size, the law through them, and how far it moves along a ladder."""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling import rates
from scaling.commands import arguments, laws
from scaling.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def add(verbs: arguments.Verbs) -> None:
    tune = arguments.verb(
        verbs,
        "tune",
        _tune,
        "the best learning rate of each size and length, and the law LR(N, D, B) through them, or how far it moves",
        "scaling tune studies/rates --out rates.json --plot rates.svg",
    )
    tune.add_argument("table", type=Path, nargs="?", help=f"{laws.TABLE}, with several rates per size")
    tune.add_argument(
        "--coordinate-check",
        metavar="CONFIG",
        help="in place of a table: how far activations move in first updates, over the widths of a study's models",
    )
    arguments.settings(tune)
    laws.rows(tune)
    tune.add_argument(
        "--sigma", type=float, metavar="SHARE", help="seed noise as a share of the loss (read off the table)"
    )
    tune.add_argument("--out", type=Path, metavar="FILE", help="keep the law, for scaling plan --rates and for configs")
    tune.add_argument("--name", default=rates.OWN, help="of the text, for --out: beside other names there (own)")
    tune.add_argument("--plot", type=Path, metavar="FILE", help=".svg, .png or .pdf, of the commonest kind of model")
    tune.add_argument("--json", action="store_true", help="JSON in place of text")


def _tune(args: argparse.Namespace) -> int:
    if (args.table is None) == (args.coordinate_check is None):
        raise InputError("scaling tune: give either a table of runs, or --coordinate-check CONFIG")
    if args.coordinate_check:
        return _coordinates(args)
    if args.set:
        raise InputError("--set is for the study of --coordinate-check; of a table, --where takes rows")
    from analysis import transfer, tuning
    from analysis.page import study_plots

    table = laws.asked_for(args)
    rows = f"{len(table)} of {table.given} rows asked for"
    if transfer.asked(table):
        if args.out:
            raise InputError(
                "--out keeps a law of learning rates, and these runs tell how far the best rate moves under "
                f"{', '.join(sorted(set(table['parametrization'])))}; take one of them at one size with --where"
            )
        found = transfer.transfer(table, sigma=args.sigma)
        return _show(args, found.to_dict(), f"{found.text()}\n{rows}", lambda: study_plots.transfer(found))
    tuned = tuning.by_kind(table, sigma=args.sigma)
    compared = tuning.keep(tuned, args.out, args.name) if args.out else ()
    values = {kind: one.to_dict() for kind, one in tuned.items()}
    text = "\n".join([tuning.text(tuned), rows, *compared])
    return _show(args, values, text, lambda: study_plots.learning_rates(next(iter(tuned.values()))))


def _coordinates(args: argparse.Namespace) -> int:
    from analysis.page import study_plots
    from scaling import coordinates, question

    found = coordinates.check(question.load(args.coordinate_check, arguments.pairs(args.set, "--set")), arguments.say)
    return _show(args, found.to_dict(), found.text(), lambda: study_plots.coordinates(found.to_dict()))


def _show(args: argparse.Namespace, values: Mapping[str, Any], text: str, figure: Callable[[], "Figure"]) -> int:
    """What was found, as a figure where one is wanted, and as text or JSON."""
    if args.plot:
        from analysis.page import canvas

        canvas.save(figure(), args.plot)
    if args.json:
        arguments.print_json(values)
    else:
        print(text)
    return 0
