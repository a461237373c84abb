"""scaling predict and plan: what a fitted law says of models that are not trained yet."""

import argparse
import functools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling import folders
from scaling.commands import arguments
from scaling.errors import InputError

if TYPE_CHECKING:
    from analysis.fit.estimate import Fit
    from analysis.frontier import Allocation
    from analysis.laws import Law
    from analysis.plan.accounting import Account
    from analysis.plan.budget import Budget, Machine
    from analysis.plan.next_run import Plan
    from analysis.schedule_forecast import Curve, ScheduleForecast

OF_CURVES = ("tissue", "luo", "functional")  # laws of whole loss curves


def add(verbs: arguments.Verbs) -> None:
    predict = arguments.verb(
        verbs,
        "predict",
        _predict,
        "what a fitted law says of a model, how a stored forecast fared, or what another learning-rate schedule gives",
        "scaling predict fit.json --params 1e9 --tokens 2e10 --store forecast.json",
    )
    predict.set_defaults(takes_columns=True)  # --params 1e9: the columns of its law
    predict.add_argument(
        "fit",
        type=arguments.place,
        nargs="+",
        help="a file from scaling fit --out, then the columns of its law; or published:NAME; or one from --store, with "
        "--measured; or, with --schedule, loss curves of one model with their learning rates: tables, logs, or the "
        "folder of a study",
    )
    predict.add_argument(
        "--schedule",
        nargs="+",
        action="extend",
        default=[],
        metavar="SCHEDULE",
        help="where a schedule leads: constant, cosine, linear, wsd, wsd_linear or two_stage, with ,decay= ,fall= "
        ",end= ,steps= ,peak= ,warmup= where they differ from the curves'; or planned, for the runs of a study that "
        "are on their way",
    )
    predict.add_argument(
        "--run", metavar="NAME", dest="going_on", help="the curve whose run goes on under the one --schedule"
    )
    predict.add_argument(
        "--columns",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=COLUMN",
        help="columns of the curves under other names, such as loss=val_loss; with --schedule",
    )
    predict.add_argument(
        "--store",
        type=arguments.store,
        metavar="FILE",
        help="keep the forecast, dated, before the run starts; in a folder with DIR/",
    )
    predict.add_argument(
        "--measured", type=arguments.number, metavar="LOSS", help="what the run gave, to score a stored forecast"
    )
    arguments.own_laws(predict, OF_CURVES)
    predict.add_argument("--json", action="store_true", help="JSON in place of text")

    plan = arguments.verb(
        verbs,
        "plan",
        _plan,
        "the next model for a budget, by a fitted law or published constants; or what one training takes",
        "scaling plan published:chinchilla --hardware rtx4090:2 --hours 168 --unique-tokens 7e8",
    )
    plan.add_argument(
        "fit",
        type=Path,
        nargs="?",
        help="a file from scaling fit --out or scaling allocate --out, or published:NAME; none to ask what --params N "
        "on --tokens D take",
    )
    plan.add_argument("--flops", type=arguments.number, metavar="C", help="the budget in FLOP")
    plan.add_argument("--hardware", metavar="NAME", help="such as h100:8, rtx4090:2, v5p-128")
    plan.add_argument("--peak", type=arguments.number, metavar="FLOP/S", help="of one chip, in place of a name")
    plan.add_argument("--chips", type=arguments.count, metavar="N", help="of that peak (1)")
    plan.add_argument("--power", type=arguments.number, metavar="W", help="of one chip (its data sheet's)")
    plan.add_argument("--hours", type=arguments.number, help="to train on it")
    plan.add_argument("--money", type=arguments.number, help="to spend on it; with --price")
    plan.add_argument("--price", type=arguments.number, help="of one chip for an hour, in any currency")
    plan.add_argument(
        "--utilisation", type=arguments.number, default=0.4, help="share of the chips' peak that training reaches (0.4)"
    )
    plan.add_argument(
        "--inference-tokens",
        type=arguments.number,
        metavar="D",
        help="tokens that the model will read and write once trained",
    )
    plan.add_argument(
        "--inference-cost",
        type=arguments.number,
        default=1.0,
        metavar="RATIO",
        help="what a FLOP of serving costs over one of training, in money (1; 19 where chips write at 1 %% of peak)",
    )
    plan.add_argument(
        "--plot",
        type=arguments.PICTURE,
        metavar="FILE",
        help="how the best model moves with the tokens it serves, with --inference-tokens: .svg, .png or .pdf",
    )
    plan.add_argument(
        "--unique-tokens", type=arguments.number, metavar="U", help="tokens that exist: more of them are repeats"
    )
    plan.add_argument("--params", type=arguments.number, metavar="N", help="also what training this size costs")
    plan.add_argument("--tokens", type=arguments.number, metavar="D", help="with --params, in place of a budget")
    plan.add_argument(
        "--accounting",
        action="store_true",
        help="FLOP by every convention, hours, energy, thresholds of laws; --price, --pue and --grid ask for it too",
    )
    plan.add_argument("--pue", type=arguments.number, metavar="RATIO", help="power of the centre over its chips' (1)")
    plan.add_argument("--grid", type=arguments.number, metavar="G", help="grams of CO2 per kWh of your grid")
    plan.add_argument("--n-ctx", type=arguments.count, help="of the model, for accounts and ladders (2048)")
    plan.add_argument("--n-vocab", type=arguments.count, help="likewise (32000)")
    plan.add_argument("--aspect", type=arguments.number, metavar="RATIO", help="d_model / n_layer of the shapes (80)")
    plan.add_argument(
        "--experts",
        nargs="+",
        action="extend",
        default=[],
        type=arguments.count,
        metavar="E",
        help="dense and routed models beside each other, by published:ludziejewski or a fit of that law",
    )
    plan.add_argument(
        "--total-params", type=arguments.number, metavar="N", help="with --experts: that a model may hold, all experts"
    )
    plan.add_argument(
        "--embeddings",
        type=int,
        default=0,
        metavar="ROWS",
        help="n_vocab (+ n_ctx), where the N of the fit counts them",
    )
    plan.add_argument(
        "--rates",
        type=Path,
        metavar="FILE",
        help="your learning rates: what scaling tune --out wrote, or a sweep's table",
    )
    plan.add_argument("--batch-fit", type=Path, metavar="FIT", help="a fit of kaplan-bcrit to your own runs")
    plan.add_argument(
        "--store",
        type=arguments.store,
        metavar="FILE",
        help="keep the forecast of the planned run, dated; a folder is DIR/",
    )
    arguments.own_laws(plan)
    plan.add_argument(
        "--write", type=arguments.PYTHON, metavar="FILE.py", help="write the ladder as a config for scaling study"
    )
    plan.add_argument("--despite-doubts", action="store_true", help="plan by a doubtful fit too, without intervals")
    plan.add_argument("--json", action="store_true", help="JSON in place of text")


def _predict(args: argparse.Namespace) -> int:
    if args.schedule:
        return _predict_schedules(args)
    of_curves = args.law if args.law in OF_CURVES else None
    if pairs := [str(word) for word in args.fit[1:] if "=" in str(word) and not word.exists()]:
        raise InputError(f"{pairs[0]}: wanted --COLUMN VALUE pairs: --{pairs[0].replace('=', ' ', 1)}")
    given = {"--run": args.going_on, "--law": of_curves, "--columns": args.columns, "more files": args.fit[1:]}
    if alone := [name for name, value in given.items() if value]:
        raise InputError(f"{', '.join(alone)}: of loss curves, with --schedule; leave out, or give --schedule")
    arguments.fits_on_the_cpu()
    from analysis import average, forecast

    (path,) = args.fit
    if args.measured is not None:
        if args.inputs or args.store:
            more = " ".join([*args.inputs, *(["--store"] if args.store else [])])
            raise InputError(f"--measured scores the forecast in {path}; leave out {more}")
        score = forecast.score(path, args.measured)
        return arguments.answer(score, args.json)
    if _is_published(path):
        return _expect(args, path)
    averaged = average.read(path)
    one = averaged.fits[0] if averaged else _fit(path)
    columns, name = one.law.inputs, averaged.name if averaged else one.law.name
    inputs = _inputs(args.inputs, columns)
    missing = " ".join(f"--{column} VALUE" for column in columns if column not in inputs)
    if missing:
        raise InputError(f"{name} wants {missing}")
    made = forecast.forecast(averaged or one, **inputs)
    said = arguments.Answer(
        "\n".join([made.text(), *(averaged.alone(**inputs) if averaged else [])]),
        {name: value for name, value in made.to_dict().items() if name != "fit"},
    )
    return arguments.answer(said, args.json, (args.store, functools.partial(forecast.store, made)))


def _predict_schedules(args: argparse.Namespace) -> int:
    """Where schedules lead, by the law of loss curves."""
    given = {"--measured": args.measured is not None, "--store": args.store, " ".join(args.inputs): args.inputs}
    if more := " ".join(name for name, value in given.items() if value):
        raise InputError(f"--schedule: leave out {more}, which belong to a fitted law")
    if args.going_on and (len(args.schedule) > 1 or args.schedule == ["planned"]):
        raise InputError("--run goes on under one schedule: give one --schedule such as cosine,steps=20000")
    if args.law not in (None, *OF_CURVES):
        raise InputError(f"--law {args.law}: with --schedule wanted {' or '.join(OF_CURVES)}")
    arguments.fits_on_the_cpu()
    from analysis import load, records, schedule_forecast

    law, run = args.law or OF_CURVES[0], args.going_on or ""
    if len(args.fit) > 1 or not (args.fit[0] / "study.json").exists():
        columns = arguments.pairs(args.columns, "--columns")
        curves = schedule_forecast.of_table(load.load(args.fit, columns, curves=True))
        return arguments.answer(schedule_forecast.forecast(curves, args.schedule, law=law, run=run), args.json)
    if args.columns:
        raise InputError(f"--columns renames the columns of a file; those of the study {args.fit[0]} have their names")
    models = schedule_forecast.of_records(records.read(args.fit[0]))
    if run:
        models = {name: own for name, own in models.items() if run in [curve.name for curve in own]}
    if args.schedule == [schedule_forecast.PLANNED]:
        models = {name: own for name, own in models.items() if any(curve.unfinished for curve in own)}
    elif len(models) > 1:
        raise InputError(
            f"{args.fit[0]} has {len(models)} models, and a law of whole curves is about one: give --run NAME of "
            "one of them, or --schedule planned"
        )
    if not models:
        which = f"run {run}" if run else "run on its way" if args.schedule == [schedule_forecast.PLANNED] else "run"
        raise InputError(f"{args.fit[0]}: no {which} with enough points after its warm-up")
    made = {name: _of_model(own, args.schedule, law, run) for name, own in models.items()}
    text = "\n".join(f"{name}\n{one if isinstance(one, str) else one.text()}" for name, one in made.items())
    value = {name: {"why": one} if isinstance(one, str) else one.to_dict() for name, one in made.items()}
    return arguments.answer(arguments.Answer(text, value), args.json)


def _of_model(curves: "list[Curve]", asked: Sequence[str], law: str, run: str) -> "ScheduleForecast | str":
    """Where the schedules lead for one model of a study, or why that cannot be said."""
    from analysis import schedule_forecast

    try:
        return schedule_forecast.forecast(curves, asked, law=law, run=run)
    except InputError as error:
        if asked != [schedule_forecast.PLANNED]:
            raise
        return f"  {error}"


def _fit(path: Path) -> "Fit":
    from analysis import forecast

    if forecast.is_one(path):
        raise InputError(
            f"{path}: this is a forecast; score it with scaling predict {path} --measured LOSS, or give its fit"
        )
    return arguments.read_fit(path)


def _inputs(words: Sequence[str], known: Sequence[str]) -> dict[str, float]:
    """--params 1e9 --tokens=2e10 as {"params": 1e9, "tokens": 2e10}; only columns that the law knows."""
    from scaling.config import known_key, parse

    words = [part for word in words for part in word.split("=", 1)]
    if len(words) % 2:
        raise InputError(f"{words[-1]}: wanted --COLUMN VALUE pairs; the law's columns are {', '.join(known)}")
    inputs = {}
    for flag, text in zip(words[::2], words[1::2], strict=True):
        name = flag.removeprefix("--").replace("-", "_")
        known_key(name, dict.fromkeys(known))
        if name in inputs:
            raise InputError(f"{flag} is given twice; a forecast is of one run")
        inputs[name] = parse(flag, text, float)
    return inputs


def _is_published(path: Path | None) -> bool:
    from analysis.plan import published

    return str(path).partition(":")[0] == published.PREFIX.rstrip(":")


def _expect(args: argparse.Namespace, name: Path) -> int:
    """What published constants say of a run."""
    from analysis.plan import published

    _refuse(args, f"{name} is no fit of yours", "store", "law")
    inputs = _inputs(args.inputs, ("params", "tokens", "unique_tokens"))
    if missing := " ".join(f"--{name} VALUE" for name in ("params", "tokens") if name not in inputs):
        raise InputError(f"{name} wants {missing}")
    return arguments.answer(published.expect(str(name), **inputs), args.json)


def _plan(args: argparse.Namespace) -> int:
    arguments.fits_on_the_cpu()
    from analysis import forecast, plan
    from analysis.plan import own_rates, published, recipe

    if args.inference_tokens is None and (args.plot or args.inference_cost != 1):
        raise InputError("--inference-cost and --plot are about a model that will be served: give --inference-tokens D")
    machine = _machine(args)
    if args.fit is None:
        return _account_alone(args, machine)
    budget = _budget(args, machine)
    if args.experts:
        return _compare_experts(args, budget)
    _refuse(args, "--total-params is about experts: give --experts 1 8 32", "total_params")
    common = {
        "rates": own_rates.read(args.rates) if args.rates else None,
        "aspect": recipe.ASPECT if args.aspect is None else args.aspect,
        "embedding_rows": args.embeddings,
    }
    demands = {
        "inference_tokens": args.inference_tokens,
        "inference_cost": args.inference_cost,
        "unique_tokens": args.unique_tokens,
        "params": args.params,
    }
    if _is_published(args.fit):
        _refuse(args, f"{args.fit} is no fit of yours", "batch_fit", "store", "law", "despite_doubts")
        made = plan.by_published(str(args.fit), budget, **common, **demands)
        return _answer_plan(args, made, (args.plot, _served(published.find(str(args.fit)).law, made)))
    common["despite_doubts"] = args.despite_doubts
    line = _allocation(args.fit)
    if line:
        _refuse(
            args,
            f"{args.fit} is an allocation, which tells no loss",
            *("batch_fit", "inference_tokens", "params", "unique_tokens", "store", "law", "plot"),
        )
        return _answer_plan(args, plan.along(line, budget, **common))
    found = _fit(args.fit)
    made = plan.plan(
        found,
        budget,
        **common,
        **demands,
        B_crit=arguments.read_fit(args.batch_fit) if args.batch_fit else None,
    )
    if args.store and made.repeats and "unique_tokens" not in made.inputs:
        raise InputError(
            f"--store: {found.law.name} predicts no run that repeats its data; fit muennighoff, or store the "
            "forecast of a run with scaling predict"
        )

    def store(path: str) -> Path:
        return forecast.store(forecast.forecast(found, **made.inputs), path)

    return _answer_plan(args, made, (args.store, store), (args.plot, _served(found.law, made)))


def _served(law: "Law | None", made: "Plan") -> Callable[[str], None]:
    """Draws how the best model of a plan moves with the tokens that it serves."""

    def draw(path: str) -> None:
        from analysis.page import canvas, served_figure
        from analysis.plan.routes import SurfaceRoute, route

        assert law is not None
        way = route(law)
        assert isinstance(way, SurfaceRoute)
        assert made.served is not None
        canvas.save(served_figure.figure(way.law, made.served), path)

    return draw


def _compare_experts(args: argparse.Namespace, budget: "Budget") -> int:
    """Dense and routed models of one compute."""
    from analysis.laws import Ludziejewski
    from analysis.plan import experts, published, reach

    _refuse(
        args,
        "--experts compares dense and routed models",
        *("inference_tokens", "unique_tokens", "params", "rates", "batch_fit", "write", "store", "plot", "accounting"),
    )
    if str(args.fit).removeprefix(published.PREFIX).lower() == experts.NAME:
        law, doubts = experts.published(), [published.NOT_YOURS]
        if max(args.experts) > experts.LARGEST:
            doubts.append(f"{max(args.experts)} experts: the paper's runs have {experts.LARGEST} at most")
    elif _is_published(args.fit):
        raise InputError(
            f"{args.fit} knows no experts; wanted {published.PREFIX}{experts.NAME} or a fit of {experts.NAME}, or no "
            "--experts"
        )
    else:
        found = _fit(args.fit)
        if not isinstance(found.law, Ludziejewski):
            raise InputError(
                f"{args.fit} is a fit of {found.law.name}, which knows no experts; wanted one of {experts.NAME}, or "
                f"{published.PREFIX}{experts.NAME}"
            )
        law, doubts = found.law, reach.beyond(found, {"experts": max(args.experts), "flops": budget.flops})
        if doubt := reach.doubt(found):
            if not args.despite_doubts:
                raise InputError(f"{args.fit}: {doubt}; --despite-doubts compares by it all the same")
            doubts.insert(0, doubt)
    total = math.inf if args.total_params is None else args.total_params
    made = experts.compare(law, budget.flops, args.experts, total_params=total, doubts=doubts)
    return arguments.answer(made, args.json)


def _refuse(args: argparse.Namespace, why: str, *names: str) -> None:
    """Options that do not go with what was given."""
    given = " ".join(arguments.given(args, *names))
    if given:
        raise InputError(f"{why}: leave out {given}")


def _answer_plan(args: argparse.Namespace, made: "Plan", *files: Any) -> int:
    """The plan, and with it what was asked for beside it: its account, its ladder as a file."""
    from analysis.plan import config_file

    words, value = made.text(), made.to_dict()
    if args.accounting or args.price is not None or args.pue is not None or args.grid is not None:
        account = _account(args, made.params, made.tokens, made.budget.machine)
        words += "\n\nWhat this run takes\n" + account.text()
        value["account"] = account.to_dict()
    shape = {name: number for name in ("n_ctx", "n_vocab") if (number := getattr(args, name)) is not None}
    text = config_file.config(made, str(args.write), **shape) if args.write else ""
    return arguments.answer(
        arguments.Answer(words, value), args.json, *files, (args.write, lambda path: folders.write(path, text))
    )


def _account_alone(args: argparse.Namespace, machine: "Machine | None") -> int:
    if args.params is None or args.tokens is None:
        raise InputError(
            "wanted a fit, or published:chinchilla where there is none, or --params N and --tokens D to ask what one "
            "training takes"
        )
    _refuse(
        args,
        "without a fit --params N on --tokens D are told alone",
        *("flops", "hours", "money", "inference_tokens", "unique_tokens", "rates", "batch_fit", "store", "write"),
        *("despite_doubts", "law"),
    )
    return arguments.answer(_account(args, args.params, args.tokens, machine), args.json)


def _account(args: argparse.Namespace, params: float, tokens: float, machine: "Machine | None") -> "Account":
    from analysis.plan import accounting, recipe

    if machine is None and (args.price is not None or args.pue is not None or args.grid is not None):
        raise InputError("--price, --pue and --grid need hardware: --hardware NAME, or --peak FLOP/S")
    asked = {
        name: value
        for name in ("price", "pue", "grid", "n_ctx", "n_vocab")
        if (value := getattr(args, name)) is not None
    }
    aspect = recipe.ASPECT if args.aspect is None else args.aspect
    return accounting.account(params, tokens, machine, **asked, aspect=aspect, embedding_rows=args.embeddings)


def _allocation(path: Path) -> "Allocation | None":
    """The allocation in a file; None where it holds something else."""
    from analysis.frontier import Allocation

    try:
        said = folders.read_json(path, "a fit or an allocation")
    except InputError:  # told by whoever reads it as a fit
        return None
    return Allocation.from_dict(said) if isinstance(said, dict) and {"method", "N_1"} <= said.keys() else None


def _machine(args: argparse.Namespace) -> "Machine | None":
    from analysis.plan.budget import Machine

    if args.hardware is not None and args.peak is not None:
        raise InputError("--hardware and --peak: the chips are named or given by numbers; leave one out")
    if args.chips is not None and args.peak is None:
        raise InputError("--chips belongs to --peak; of named hardware write h100:8")
    if args.hardware is not None:
        try:
            return Machine.named(args.hardware, args.utilisation, args.power)
        except InputError as error:
            raise InputError(
                f"{error}; hardware that is not listed is given by numbers: --peak FLOP/S --chips N"
            ) from None
    if args.peak is not None:
        power = float("nan") if args.power is None else args.power
        return Machine("your hardware", args.chips or 1, args.peak, power, utilisation=args.utilisation)
    if args.power is not None:
        raise InputError("--power is of a chip: give --hardware NAME or --peak FLOP/S too")
    return None


def _budget(args: argparse.Namespace, machine: "Machine | None") -> "Budget":
    from analysis.frontier import FLOP_PER_PARAM_TOKEN
    from analysis.plan.budget import Budget

    if sum(value is not None for value in (args.flops, args.hours, args.money, args.tokens)) != 1:
        raise InputError(
            "wanted one budget: --flops C, --hardware NAME --hours H, --hardware NAME --money M --price P, or "
            "--params N --tokens D"
        )
    if args.tokens is not None:
        if args.params is None:
            raise InputError("--tokens belongs to --params: both are the run whose compute is the budget")
        for name in ("params", "tokens"):
            if not getattr(args, name) > 0:
                raise InputError(f"--{name} {getattr(args, name):g}: wanted a number above 0")
        args.flops = FLOP_PER_PARAM_TOKEN * args.params * args.tokens
    if args.flops is not None:
        return Budget.of_flops(args.flops, machine, args.utilisation)
    if machine is None:
        raise InputError("--hours and --money need --hardware NAME, such as h100:8 or rtx4090:2, or --peak FLOP/S")
    if args.hours is not None:
        return Budget.of_hardware(machine, args.hours)
    if args.price is None:
        raise InputError("--money needs --price, of one chip and hour")
    return Budget.of_money(args.money, machine, args.price)
