"""scaling gate: whether a change is promoted, by a rule given before."""

import argparse
from pathlib import Path

from scaling.commands import arguments
from scaling.commands.laws import TABLE, pair, two_tables


def add(verbs: arguments.Verbs) -> None:
    gate = arguments.verb(
        verbs,
        "gate",
        _gate,
        "whether a change passes: its effective speed-up over a baseline, by a rule given before",
        "scaling gate studies/baseline studies/change --at-least 1.05 --at 1e21 --floor-from law.json",
    )
    gate.add_argument("a", type=Path, metavar="baseline", help=TABLE)
    gate.add_argument("b", type=Path, metavar="candidate", help="the same; parts of one table by --where-a, --where-b")
    gate.add_argument(
        "--at-least",
        type=arguments.number,
        default=1.0,
        metavar="X",
        help="speed-up that the whole interval must reach (1: any at all)",
    )
    gate.add_argument(
        "--at", type=arguments.number, metavar="C", help="FLOP at which (the largest that both ladders reach)"
    )
    gate.add_argument("--by", choices=["flops", "seconds"], default="flops", help="what is to be saved (flops)")
    floors = gate.add_mutually_exclusive_group()
    floors.add_argument(
        "--floor", type=arguments.number, metavar="LOSS", help="irreducible loss at which both laws are pinned"
    )
    floors.add_argument("--floor-from", type=Path, metavar="FIT", help="pinned at the floor of this fit")
    gate.add_argument("--law", help="by which to compare (chinchilla where both ladders allow it, else of compute)")
    pair(gate)
    gate.add_argument("--json", action="store_true", help="JSON in place of text")


def _gate(args: argparse.Namespace) -> int:
    arguments.fits_on_the_cpu()
    from analysis.gate import Floor, Rule, Verdict, gate

    rule = Rule(args.at_least, args.at, args.by)
    floor = None if args.floor is None else Floor(args.floor)
    if args.floor_from:
        floor = Floor.of(arguments.read_fit(args.floor_from), args.floor_from.name)
    found = gate(*two_tables(args), rule, floor=floor, law=args.law)
    arguments.answer(found, args.json)
    return 0 if found.verdict is Verdict.PASS else 1
