"""scaling mix: what a mixture of texts does to losses, and which mixture to train on."""

import argparse
from pathlib import Path

from scaling.commands import arguments, laws
from scaling.errors import InputError


def add(verbs: arguments.Verbs) -> None:
    mix = verbs.add_parser("mix", help="laws of losses over the shares of a mixture, and the mixture to train on")
    verbs = mix.add_subparsers(metavar="fit|propose", required=True)
    fit = arguments.verb(
        verbs,
        "fit",
        _fit,
        "fit mixture laws to runs, and judge each by mixtures that it has not seen",
        "scaling mix fit runs.csv --columns share_code=CODE share_web=WEB loss_code=VAL_CODE --out mix.json",
    )
    fit.add_argument(
        "table",
        nargs="+",
        type=arguments.place,
        help=f"{laws.TABLE}: columns share_NAME, loss_NAME, perhaps params and tokens",
    )
    laws.rows(fit)
    fit.add_argument(
        "--laws",
        nargs="+",
        default=[],
        metavar="LAW",
        help="those to judge: exponential, repeats, additive, joint, bimix, linear (all)",
    )
    fit.add_argument(
        "--hold-out",
        metavar="RULE",
        help="predict these rows instead of fitting them: params (its largest value), or a condition as of --where",
    )
    fit.add_argument("--out", type=arguments.JSON, metavar="FILE", help="keep the fits, for scaling mix propose")
    fit.add_argument("--json", action="store_true", help="JSON in place of text")

    propose = arguments.verb(
        verbs,
        "propose",
        _propose,
        "the mixture with the lowest loss, an interval for it, and the regret if another law is true",
        "scaling mix propose mix.json --target code --tokens 2e9 --available code=200M web=5B --max-epochs 4",
    )
    propose.add_argument("fit", type=Path, help="what scaling mix fit --out wrote")
    propose.add_argument(
        "--target",
        nargs="+",
        action="extend",
        required=True,
        metavar="DOMAIN[=WEIGHT]",
        help="the loss to make low: a domain, or several with weights, code=0.7 web=0.3",
    )
    propose.add_argument("--tokens", type=arguments.count, metavar="D", help="of the training that is planned")
    propose.add_argument("--params", type=arguments.count, metavar="N", help="the same, where the law knows N")
    propose.add_argument(
        "--available",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=TOKENS",
        help="tokens that there are of every part, such as code=200M",
    )
    propose.add_argument(
        "--max-epochs", type=arguments.number, metavar="E", help="passes over a part at most (4, nearly as good as new)"
    )
    propose.add_argument("--law", metavar="LAW", help="in place of the one that is believed")
    propose.add_argument("--json", action="store_true", help="JSON in place of text")


def _fit(args: argparse.Namespace) -> int:
    arguments.fits_on_the_cpu()
    from analysis import mixtures

    found = mixtures.fit(laws.asked_for(args), laws=args.laws or mixtures.NAMES, hold_out=args.hold_out)
    return arguments.answer(found, args.json, (args.out, found.to_json))


def _propose(args: argparse.Namespace) -> int:
    arguments.fits_on_the_cpu()
    from analysis import mixtures
    from analysis.digits import count_of
    from analysis.mixtures import proposal

    available = {}
    for name, text in arguments.pairs(args.available, "--available").items():
        try:
            available[name] = count_of(text.strip())
        except ValueError:
            raise InputError(f"--available {name}={text}: wanted tokens, such as 200M or 2e9") from None
    found = proposal.propose(
        mixtures.MixtureFit.from_json(args.fit),
        _target(args.target),
        tokens=args.tokens,
        params=args.params,
        available=available or None,
        max_epochs=proposal.MAX_EPOCHS if args.max_epochs is None else args.max_epochs,
        law=args.law,
    )
    return arguments.answer(found, args.json)


def _target(words: list[str]) -> dict[str, float]:
    from scaling.config import parse

    if len(words) == 1 and "=" not in words[0]:
        return {words[0]: 1.0}
    return {
        name: parse(f"--target {name}", weight, float) for name, weight in arguments.pairs(words, "--target").items()
    }
