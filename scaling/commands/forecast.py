"""scaling forecast: a folder of dated forecasts, their table, page and scores."""

import argparse
from pathlib import Path

from scaling import folders
from scaling.commands import arguments
from scaling.commands.laws import columns_of, rows, table_of
from scaling.errors import InputError


def add(verbs: arguments.Verbs) -> None:
    forecast = arguments.verb(
        verbs,
        "forecast",
        _forecast,
        "a folder of dated forecasts: what was promised, what came of it, and how well the intervals held",
        "scaling forecast forecasts --measured large=2.31 --page forecasts.html",
    )
    forecast.add_argument("folder", type=Path, help="where scaling predict and scaling plan --store DIR/ put forecasts")
    forecast.add_argument(
        "--measured",
        nargs="+",
        default=[],
        metavar="NAME=LOSS",
        help="score forecasts by what their runs gave; kept beside each, once",
    )
    forecast.add_argument(
        "--follow",
        nargs="+",
        default=[],
        metavar="NAME=CURVES",
        help="a run that goes on, against what was promised at each point: folder of a study, or a table of its curve",
    )
    rows(forecast)
    forecast.add_argument(
        "--page", type=arguments.out_file(".html"), metavar="FILE", help="publish the table as one self-contained page"
    )
    arguments.own_laws(forecast)
    forecast.add_argument("--json", action="store_true", help="JSON in place of text")


def _forecast(args: argparse.Namespace) -> int:
    arguments.fits_on_the_cpu()
    from analysis import follow, forecast, registry
    from scaling.config import parse

    if (args.columns or args.where) and not args.follow:
        raise InputError("--columns and --where are for the curves of --follow; leave them out")
    measured = arguments.pairs(args.measured, "--measured")
    losses = {name: parse(f"--measured {name}", text, float) for name, text in measured.items()}
    for name in losses:  # all names, before any score is kept
        registry.file_of(args.folder, name)
    for name, loss in losses.items():
        registry.keep(args.folder, name, loss)
    found = registry.read(args.folder)
    scored = {entry.name for entry in found.entries if entry.scored}
    followed = [
        follow.follow(
            name,
            forecast.read(registry.file_of(args.folder, name)),
            table_of(folders.place(curves), columns_of(args), args.where, curves=True),
            name in scored,
        )
        for name, curves in arguments.pairs(args.follow, "--follow").items()
    ]

    def publish(path: Path) -> None:
        from analysis.page import forecasts

        folders.write(path, forecasts.page(found, followed))

    said = arguments.Answer(
        "\n\n".join([found.text(), *(one.text() for one in followed)]),
        found.to_dict() | {"followed": [one.to_dict() for one in followed]},
    )
    return arguments.answer(said, args.json, (args.page, publish))
