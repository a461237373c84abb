"""scaling design and suggest: which runs to train for a forecast, first and next, and how narrow it will be."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from scaling import folders
from scaling.commands import arguments, laws
from scaling.errors import InputError

if TYPE_CHECKING:
    from analysis.design import Design
    from analysis.design.criterion import Target
    from analysis.design.prior import Prior
    from analysis.design.score import Written
    from analysis.frontier import Array
    from analysis.plan.budget import Machine
    from analysis.table import Table

PUBLISHED, KAPLAN = "published", "kaplan"
AVERAGE = "average"  # in place of a law: of the forms that suit the runs, with and without a floor
BEYOND = 10.0  # times the compute of the largest run, the target of a study that has begun, where none is given
ALONG = 5  # places of a compute-optimal line
REACH, LEAST = 3000.0, 3072.0  # smallest size by default: a share of the target's, and the smallest standard shape


def add(verbs: arguments.Verbs) -> None:
    design = arguments.verb(
        verbs,
        "design",
        _design,
        "which runs to train for a forecast, and the interval that they promise",
        "scaling design --target 1e21 --flops 2e19 --out study.py",
    )
    design.add_argument(
        "--prior",
        nargs="+",
        default=[PUBLISHED],
        metavar="FIT|TABLE",
        help="what is believed of the law before, several as well: a file from scaling fit --out, runs, published, or "
        "kaplan, a published law without a floor (published)",
    )
    design.add_argument(
        "--score",
        nargs="+",
        default=[],
        metavar="STUDY.py",
        help="configs of studies, side by side: what each leaves at the target, and what it costs; no design is made",
    )
    _asked(design, required=True)
    suggest = arguments.verb(
        verbs,
        "suggest",
        _suggest,
        "the next runs of a study that has begun, and the interval that they will leave",
        "scaling suggest studies/mine --flops 5e18 --target 1e9,2e10",
    )
    suggest.add_argument("table", type=arguments.place, help="a study's folder, or a table of its runs")
    suggest.add_argument(
        "--until",
        type=arguments.number,
        metavar="SHARE",
        help="half width of the law's interval that is enough, such as 0.02: says whether it is reached, or can be",
    )
    _asked(suggest, required=False)


def _asked(verb: argparse.ArgumentParser, required: bool) -> None:
    """What both verbs take: the forecast, the budget, and which runs there may be."""
    largest = "" if required else f" ({BEYOND:g} times the FLOP of the largest run)"
    ends = f"1/{REACH:g} of the target's, and the target's" if required else "that of the runs, and the target's"
    shortest = "" if required else ", no run shorter than those that are there"
    verb.add_argument(
        "--target",
        required=required,
        metavar="C|N,D",
        help=f"of the forecast: FLOP, spent as the laws believed have it, or parameters and tokens, 1e9,2e10{largest}",
    )
    verb.add_argument(
        "--along",
        action="store_true",
        help="the forecast is along the best models from the budget's FLOP to --target C",
    )
    verb.add_argument(
        "--aim",
        choices=("forecast", "exponent", "forms"),
        default="forecast",
        help="what is made narrow: the forecast, the exponent of N_opt, or what tells that the law bends",
    )
    verb.add_argument("--flops", type=arguments.number, metavar="C", help="the budget of the runs together, in FLOP")
    verb.add_argument("--hardware", metavar="NAME", help="such as h100:8, rtx4090:2, v5p-128; with --hours")
    verb.add_argument("--hours", type=arguments.number, help="of it, for all runs together")
    verb.add_argument(
        "--utilisation", type=arguments.number, default=0.4, help="share of the chips' peak that training reaches (0.4)"
    )
    verb.add_argument(
        "--law",
        type=arguments.law,
        help="fitted to the runs that are there, or average: forms with and without a floor, by held-out weight "
        "(chinchilla); of published laws, those of that form",
    )
    verb.add_argument(
        "--sizes", type=arguments.number, nargs=2, metavar="N", help=f"smallest and largest model to train ({ends})"
    )
    verb.add_argument(
        "--ratios",
        type=arguments.number,
        nargs=2,
        metavar="D/N",
        help=f"fewest and most tokens per parameter of a run (1 and 1000{shortest})",
    )
    verb.add_argument("--max-tokens", type=arguments.number, metavar="D", help="that there are")
    verb.add_argument(
        "--trunks", action="store_true", help="runs of one size are branches of one trunk, cooled over their last fifth"
    )
    verb.add_argument("--runs", type=arguments.count, metavar="N", help="at most (24)")
    verb.add_argument("--repeats", type=arguments.count, metavar="N", help="of one run with other seeds, at most (3)")
    verb.add_argument(
        "--checks",
        type=arguments.number,
        metavar="SHARE",
        help="the runs notice a law that bends as well as any for this share of the budget (0.1; 0: none has to)",
    )
    verb.add_argument(
        "--noise",
        type=arguments.number,
        help="scatter of a run, in ln(loss), where it falls with size that of the smallest model (0.005, or the fit's)",
    )
    verb.add_argument(
        "--noise-slope",
        type=arguments.number,
        nargs="+",
        metavar="POWER",
        help="of N, by which the scatter changes: -0.25 where 16 times the size halves it; several are each believed "
        "(0: all sizes scatter alike)",
    )
    verb.add_argument(
        "--overhead",
        type=arguments.number,
        metavar="C|HOURS",
        help="that each run costs beside its training, to compile and evaluate: hours with --hours, else FLOP (0)",
    )
    verb.add_argument(
        "--plot",
        type=arguments.PICTURE,
        metavar="FILE",
        help="the runs, and the interval by budget: .svg, .png or .pdf",
    )
    verb.add_argument("--out", type=arguments.PYTHON, metavar="FILE.py", help="the runs as a study's config")
    laws.rows(verb)
    verb.add_argument("--json", action="store_true", help="JSON in place of text")


def _design(args: argparse.Namespace) -> int:
    arguments.fits_on_the_cpu()
    if args.score:
        return _score(args)
    made, write, draw = _made(args, _prior(args), None)
    return arguments.answer(made, args.json, (args.plot, draw), (args.out, write))


def _score(args: argparse.Namespace) -> int:
    from analysis.design import score

    of_a_design = ("flops", "hardware", "hours", "sizes", "ratios", "max_tokens", "trunks", "runs", "repeats", "checks",
                   "overhead", "plot", "out", "along")  # fmt: skip
    given = arguments.given(args, *of_a_design)
    if given := [*given, *(["--aim"] if args.aim != "forecast" else [])]:
        raise InputError(f"--score makes no design; leave out {', '.join(given)}")
    prior = _noisy(args, _prior(args))
    studies = [_written(name) for name in args.score]
    return arguments.answer(score.score(studies, prior, _target(args.target, prior)), args.json)


def _written(name: str) -> "Written":
    """The runs of a config, and their cost in FLOP, C = 6ND of every update that is trained."""
    import numpy as np

    from analysis.design.score import Written
    from analysis.frontier import FLOP_PER_PARAM_TOKEN
    from scaling import layout, packs, question

    runs = question.load(name, {}, arguments.say).runs
    updates = [(group[0], packs.updates(group)) for group in layout.together(runs, lambda run: run)]
    flops = sum(FLOP_PER_PARAM_TOKEN * run.model.N * run.batch_tokens * n for run, n in updates)
    N, D = (np.array([float(getter(run)) for run in runs]) for getter in (lambda r: r.model.N, lambda r: r.tokens))
    return Written(name, N, D, flops)


def _noisy(args: argparse.Namespace, prior: "Prior") -> "Prior":
    """With the scatter of a run that was given, and how it changes with size."""
    import dataclasses

    if args.noise is not None:
        if not args.noise > 0:
            raise InputError(f"--noise {args.noise:g}: wanted a number above 0, such as 0.005")
        prior = dataclasses.replace(prior, noise=args.noise, noise_at=None)
    if args.noise_slope is not None:
        from analysis.fit.rows import STEEP

        if steep := [power for power in args.noise_slope if not abs(power) <= STEEP]:
            raise InputError(f"--noise-slope {steep[0]:g}: wanted a power of N from -{STEEP:g} to {STEEP:g}, as -0.25")
        prior = dataclasses.replace(prior, slopes=tuple(args.noise_slope))
    return prior


def _suggest(args: argparse.Namespace) -> int:
    arguments.fits_on_the_cpu()
    from analysis.digits import percent
    from analysis.frontier import FLOP_PER_PARAM_TOKEN

    if args.until is not None and not args.until > 0:
        raise InputError(f"--until {args.until:g}: wanted a number above 0, such as 0.02")
    prior, rows = _of_runs(args, laws.asked_for(args))
    if args.target is None:
        C = BEYOND * FLOP_PER_PARAM_TOKEN * float((rows["params"] * rows["tokens"]).max())
        args.target = f"{C:.4g}"
        arguments.say(f"--target {args.target}: {BEYOND:g} times the FLOP of the largest run, as none is given")
    made, write, draw = _made(args, prior, (rows["params"], rows["tokens"]))
    code = arguments.answer(made, args.json, (args.plot, draw), (args.out, write))
    if args.until is not None and made.before is not None:
        now, then = made.before.law, made.study.promise.law
        arguments.say(
            f"± {percent(args.until)} is reached: the runs that are there leave ± {percent(now)}"
            if now <= args.until
            else f"± {percent(args.until)} {'will' if then <= args.until else 'cannot'} be reached with this budget: "
            f"± {percent(now)} now, ± {percent(then)} then"
        )
    return code


def _made(
    args: argparse.Namespace, prior: "Prior", begun: "tuple[Array, Array] | None"
) -> "tuple[Design, Callable[[Path], None], Callable[[Path], None]]":
    """The design, what writes its config, and what draws it."""
    import dataclasses
    import math

    from analysis import design
    from analysis.design import config_file
    from analysis.design.criterion import NOTHING
    from analysis.design.pool import RATIOS, pool, standard_sizes
    from analysis.digits import percent, short
    from analysis.plan import ADAM_BYTES

    prior = _noisy(args, prior)
    flops, machine = _budget(args)
    target = _target(args.target, prior, flops if args.along else None)
    N = float(target.params[0])
    if args.sizes is None and N < LEAST:
        raise InputError(f"a target of {N:g} parameters, and the smallest standard shape has {LEAST:g}; give --sizes")
    # Of a study that has begun, what is smaller or shorter than its runs may follow another law.
    least, shortest = (float(each.min()) for each in begun) if begun else (LEAST, 0.0)
    smallest, largest = args.sizes or (min(max(N / REACH, LEAST, least), N), N)
    fewest, most = args.ratios or RATIOS
    shapes = {float(shape.params): shape for shape in standard_sizes(smallest, largest)}
    room = machine.memory * machine.number / ADAM_BYTES if machine else math.nan
    held = {size: shape for size, shape in shapes.items() if not size > room}
    notes = ()
    if machine:
        notes = (f"hours are those of {args.hardware} at {percent(args.utilisation)} of its peak (--utilisation)",)
    if len(held) < len(shapes):
        notes += (
            f"over {short(room)} parameters, weights, gradients and Adam's moments fill the memory of {args.hardware}"
            f"{', which --sizes allows' if args.sizes else ': no larger size is asked for unless --sizes allows it'}",
        )
        if not args.sizes:
            if not held:
                raise InputError(f"{notes[-1]}; give more chips, or --sizes")
            shapes = held
    candidates = pool(
        list(shapes),
        flops,
        ratios=(fewest, most),
        most_tokens=float("inf") if args.max_tokens is None else args.max_tokens,
        fewest_tokens=0.0 if args.ratios else shortest,
        trunks=args.trunks,
        overhead=(args.overhead or 0.0) * (machine.flops_per_hour if machine else 1.0),
    )
    made = design.design(
        prior,
        candidates,
        target,
        flops,
        checks=design.CHECKS if args.checks is None else args.checks,
        runs=args.runs or design.RUNS,
        repeats=args.repeats or design.REPEATS,
        begun=begun or NOTHING,
        aim=args.aim,
    )
    made = dataclasses.replace(made, notes=(*made.notes, *notes))
    if machine:
        made = dataclasses.replace(made, hours=args.hours, hardware=args.hardware, chips=machine.number)

    def write(path: Path) -> None:
        folders.write(path, config_file.config(made, shapes, str(path)))

    def draw(path: Path) -> None:
        from analysis.page import canvas, design_figure

        canvas.save(design_figure.figure(made), path)

    return made, write, draw


def _budget(args: argparse.Namespace) -> "tuple[float, Machine | None]":
    """FLOP of the budget, all runs together, and the hardware whose hours it is."""
    from analysis.plan.budget import Budget, Machine

    if (args.flops is None) == (args.hours is None) or (args.hardware is None) != (args.hours is None):
        raise InputError("wanted one budget: --flops C, or --hardware NAME --hours H")
    if args.hours is None:
        return Budget.of_flops(args.flops).flops, None
    machine = Machine.named(args.hardware, args.utilisation)
    return Budget.of_hardware(machine, args.hours).flops, machine


def _prior(args: argparse.Namespace) -> "Prior":
    from analysis.design import prior

    tables = [word for word in args.prior if word not in (PUBLISHED, KAPLAN) and Path(word).suffix != ".json"]
    read = {"--columns": args.columns, "--where": args.where, "--best-of": args.best_of}
    if (given := " ".join(name for name, value in read.items() if value)) and not tables:
        raise InputError(f"{given}: of the table of --prior TABLE; leave out")
    return prior.joined([_believed(args, word) for word in args.prior])


def _believed(args: argparse.Namespace, word: str) -> "Prior":
    """What one word of --prior says."""
    from analysis import average
    from analysis.design import prior

    if word == PUBLISHED:
        return prior.published(form=args.law)
    if word == KAPLAN:
        return prior.without_floor()
    path = folders.place(word)
    if path.suffix == ".json":
        if averaged := average.read(path):
            return prior.of_average(averaged)
        found = arguments.read_fit(path)
        if args.law not in (None, found.law.name):
            raise InputError(f"--law {args.law}: {path} is a fit of {found.law.name}; leave it out")
        return prior.of_fit(found)
    return _of_runs(args, laws.asked_for(args, path))[0]


def _of_runs(args: argparse.Namespace, table: "Table") -> "tuple[Prior, Table]":
    """What runs say of the law, or of the forms that suit them, weighed as --noise-slope has it; those that count."""
    import dataclasses

    import numpy as np

    from analysis import average, forms
    from analysis.design import prior
    from analysis.fit import fit
    from analysis.fit.rows import admitted

    slope = max(args.noise_slope or [0.0])
    weights = slope or None
    if args.law == AVERAGE:
        tried = forms.candidates(table)
        chosen = forms.choose(tried, table, weights=weights)
        found = average.average(chosen, list(tried), table, weights=weights)
        believed, law = prior.of_average(found), type(found.fits[0].law)
    else:
        fitted = fit(args.law or "chinchilla", table, weights=weights)
        believed, law = prior.of_fit(fitted), type(fitted.law)
    rows = admitted(law, table)
    if slope:  # the scatter that the fit tells is that of a run of weight 1
        middle = float(np.mean(rows["params"] ** (-2 * slope)) ** (-1 / (2 * slope)))
        believed = dataclasses.replace(believed, noise_at=middle)
    return believed, rows


def _target(text: str, prior: "Prior", nearest: float | None = None) -> "Target":
    """Where the forecast is wanted, the far end first: one place, or several from so many FLOP on."""
    import numpy as np

    from analysis import frontier
    from analysis.design.criterion import Target

    try:
        values = [arguments.number(part) for part in text.split(",")]
    except argparse.ArgumentTypeError:
        values = []
    if len(values) not in (1, 2) or not all(value > 0 for value in values):
        raise InputError(f"--target {text}: wanted FLOP, such as 1e21, or parameters and tokens, such as 1e9,2e10")
    if nearest is not None and (len(values) == 2 or values[0] <= nearest):
        raise InputError(f"--along: wanted --target C above the budget's {nearest:g} FLOP; found {text}")
    if len(values) == 2:
        return Target(*(np.array([value]) for value in values))
    C = np.geomspace(values[0], nearest, ALONG) if nearest is not None else np.array(values)
    best = np.array([[float(frontier.best(law, c).params) for law in prior.laws] for c in C])
    N = np.exp(np.log(best).mean(1))
    return Target(N, C / (frontier.FLOP_PER_PARAM_TOKEN * N))
