"""scaling gate: whether a change is promoted, by a rule given before."""

import argparse

from scaling.commands import arguments
from scaling.commands.laws import TABLE, floor_of, floors, pair, two_tables


def add(verbs: arguments.Verbs) -> None:
    gate = arguments.verb(
        verbs,
        "gate",
        _gate,
        "whether a change passes: its effective speed-up over a baseline, by a rule given before",
        "scaling gate studies/baseline studies/change --at-least 1.05 --at 1e21 --floor-from law.json",
    )
    gate.add_argument("a", type=arguments.place, metavar="baseline", help=TABLE)
    gate.add_argument(
        "b", type=arguments.place, metavar="candidate", help="the same; parts of one table by --where-a, --where-b"
    )
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
    floors(gate)
    gate.add_argument(
        "--law",
        type=arguments.law,
        help="by which to compare (chinchilla where both ladders allow it, else of compute)",
    )
    pair(gate)
    gate.add_argument("--json", action="store_true", help="JSON in place of text")


def _gate(args: argparse.Namespace) -> int:
    arguments.fits_on_the_cpu()
    from analysis.gate import Rule, Verdict, gate

    rule = Rule(args.at_least, args.at, args.by)
    found = gate(*two_tables(args), rule, floor=floor_of(args), law=args.law)
    arguments.answer(found, args.json)
    return 0 if found.verdict is Verdict.PASS else 1
