"""scaling tune: the best learning rate per size, the law through them, and how far it moves along a ladder."""

import argparse
import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

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
    tune.add_argument("table", type=arguments.place, nargs="?", help=f"{laws.TABLE}, with several rates per size")
    tune.add_argument(
        "--coordinate-check",
        metavar="CONFIG",
        help="in place of a table: how far activations move in first updates, over the widths of a study's models",
    )
    arguments.settings(tune)
    laws.rows(tune)
    tune.add_argument(
        "--sigma", type=arguments.number, metavar="SHARE", help="seed noise as a share of the loss (read off the table)"
    )
    tune.add_argument(
        "--out", type=arguments.JSON, metavar="FILE", help="keep the law, for scaling plan --rates and for configs"
    )
    tune.add_argument("--name", default=rates.OWN, help="of the text, for --out: beside other names there (own)")
    tune.add_argument(
        "--plot", type=arguments.PICTURE, metavar="FILE", help=".svg, .png or .pdf, of the commonest kind of model"
    )
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
        said = arguments.Answer(f"{found.text()}\n{rows}", found.to_dict())
        return arguments.answer(said, args.json, (args.plot, _drawing(lambda: study_plots.transfer(found))))
    tuned = tuning.by_kind(table, sigma=args.sigma)
    compared = tuning.beside_others(tuned, args.out, args.name) if args.out else ()
    values = {kind: one.to_dict() for kind, one in tuned.items()}
    draw = _drawing(lambda: study_plots.learning_rates(next(iter(tuned.values()))))
    keep = functools.partial(tuning.keep, tuned, name=args.name)
    said = arguments.Answer("\n".join([tuning.text(tuned), rows, *compared]), values)
    return arguments.answer(said, args.json, (args.out, keep), (args.plot, draw))


def _coordinates(args: argparse.Namespace) -> int:
    from analysis.page import study_plots
    from scaling import coordinates, question

    study = question.load(args.coordinate_check, arguments.pairs(args.set, "--set"), arguments.say)
    found = coordinates.check(study, arguments.say)
    draw = _drawing(lambda: study_plots.coordinates(found.to_dict()))
    return arguments.answer(found, args.json, (args.plot, draw))


def _drawing(figure: Callable[[], "Figure"]) -> Callable[[Path], None]:
    """What draws a figure into a file."""

    def draw(path: Path) -> None:
        from analysis.page import canvas

        canvas.save(figure(), path)

    return draw
