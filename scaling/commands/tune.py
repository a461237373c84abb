"""scaling tune: the best learning rate per size from runs at several, and the law through them."""

import argparse
from pathlib import Path
from typing import Any

from scaling.commands import arguments


def add(verbs: Any) -> None:
    tune = arguments.verb(
        verbs,
        "tune",
        _tune,
        "the best learning rate per size and length, and LR(N, D) through them",
        "scaling tune studies/rates --out rates.json --plot rates.svg",
    )
    tune.add_argument("table", type=Path, help="folder of a study, .csv or .parquet, with several rates per size")
    tune.add_argument(
        "--columns", nargs="+", default=[], metavar="NAME=COLUMN", help="which column is which, as in scaling fit"
    )
    tune.add_argument("--sigma", type=float, help="seed noise as a share of the loss (the scatter about the bowls)")
    tune.add_argument("--out", type=Path, metavar="FILE", help="keep the law, for configs: scaling.rates reads it")
    tune.add_argument("--plot", type=Path, metavar="FILE", help=".svg, .png or .pdf")
    tune.add_argument("--json", action="store_true")


def _tune(args: argparse.Namespace) -> int:
    from analysis import canvas, study_plots, tuning
    from analysis.table import load

    table = load(args.table, arguments.pairs(args.columns, "--columns"))
    found = tuning.tune(table, sigma=args.sigma)
    if args.out:
        found.to_json(args.out)
    if args.plot:
        canvas.save(study_plots.learning_rates(found), args.plot)
    if args.json:
        arguments.print_json(found.to_dict())
    else:
        print(found.text())
    return 0
