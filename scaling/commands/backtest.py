"""scaling backtest: whether a law's forecasts would have held, had they been made from the smaller runs of a table."""

import argparse
from pathlib import Path

from scaling.commands import arguments, laws


def add(verbs: arguments.Verbs) -> None:
    verb = arguments.verb(
        verbs,
        "backtest",
        _backtest,
        "walk a law forward over a table: fit the smaller runs, predict the larger, count what the intervals held",
        "scaling backtest runs.csv --law chinchilla --plot backtest.svg",
    )
    verb.add_argument("table", type=arguments.place, help=laws.TABLE)
    verb.add_argument(
        "--law",
        type=arguments.law,
        default="chinchilla",
        help="name of a law, or average: of forms by held-out weight (chinchilla)",
    )
    laws.rows(verb)
    verb.add_argument("--target", metavar="COLUMN", help="column to predict (the law's own, mostly loss)")
    verb.add_argument("--clusters", metavar="COLUMN", help="rows with one value here are one run")
    verb.add_argument("--steps", type=arguments.count, help="at most, along size and along N")
    verb.add_argument("--every-run", action="store_true", help="also the runs that the law is not about")
    verb.add_argument(
        "--plot", type=arguments.PICTURE, metavar="FILE", help="calibration and sharpness: .svg, .png or .pdf"
    )
    verb.add_argument("--json", action="store_true", help="JSON in place of text")


def _backtest(args: argparse.Namespace) -> int:
    arguments.fits_on_the_cpu()
    from analysis import backtest

    found = backtest.backtest(
        args.law,
        laws.asked_for(args, target=args.target),
        target=args.target,
        clusters=args.clusters,
        steps=args.steps or backtest.STEPS,
        every_run=args.every_run,
    )

    def draw(path: Path) -> None:
        from analysis.page import backtest_figure, canvas

        canvas.write(backtest_figure.draw(found), path, dpi=200)

    return arguments.answer(found, args.json, (args.plot, draw))
