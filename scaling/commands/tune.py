"""scaling tune: the best learning rate per size from runs at several, and the law through them."""

import argparse
from pathlib import Path
from typing import Any

from scaling import rates
from scaling.commands import arguments, laws


def add(verbs: Any) -> None:
    tune = arguments.verb(
        verbs,
        "tune",
        _tune,
        "the best learning rate of each size and length, and the law LR(N, D, B) through them",
        "scaling tune studies/rates --out rates.json --plot rates.svg",
    )
    tune.add_argument("table", type=Path, help=f"{laws.TABLE}, with several rates per size")
    laws.rows(tune)
    tune.add_argument(
        "--sigma", type=float, metavar="SHARE", help="seed noise as a share of the loss (read off the table)"
    )
    tune.add_argument("--out", type=Path, metavar="FILE", help="keep the law, for scaling plan --rates and for configs")
    tune.add_argument("--name", default=rates.OWN, help="of the text, for --out: beside other names there (own)")
    tune.add_argument("--plot", type=Path, metavar="FILE", help=".svg, .png or .pdf, of the commonest kind of model")
    tune.add_argument("--json", action="store_true", help="JSON in place of text")


def _tune(args: argparse.Namespace) -> int:
    from analysis import tuning
    from analysis.page import canvas, study_plots

    found = tuning.by_kind(laws.table_of(args.table, args.columns, args.where), sigma=args.sigma)
    compared = tuning.keep(found, args.out, args.name) if args.out else ()
    if args.plot:
        canvas.save(study_plots.learning_rates(next(iter(found.values()))), args.plot)
    if args.json:
        arguments.print_json({kind: one.to_dict() for kind, one in found.items()})
    else:
        print("\n".join([tuning.text(found), *compared]))
    return 0
