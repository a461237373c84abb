"""scaling reproduce NAME: a paper's experiments run or resumed at a budget, and its figures from our own runs."""

import argparse
import contextlib
import importlib
import json
import os
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis import papers
from scaling.commands import arguments, study
from scaling.errors import InputError

EXPECTED = "expected.json"  # beside the page
Members = Mapping[str, Sequence[Any]]  # the RunConfigs of each experiment


def add(verbs: Any) -> None:
    verb = verbs.add_parser("reproduce", help="a paper's experiments and figures, from our own runs")
    there = verb.add_subparsers(metavar="|".join(papers.names()), required=True)
    for name in papers.names():
        _add_paper(there, name)


def _add_paper(verbs: Any, name: str) -> None:
    paper = arguments.verb(
        verbs,
        name,
        lambda args: _reproduce(name, args),
        "every figure of the paper from our own runs; the same command goes on after any interruption",
        f"scaling reproduce {name} --budget cpu-20m",
    )
    paper.add_argument(
        "--budget", default="cpu-20m", help="tiny, cpu-20m, cpu-3h (two cores), gpu-1h, or pod: the paper's own scale"
    )
    paper.add_argument(
        "--only", nargs="+", action="extend", default=[], metavar="FIGURE", help="such as fig5, with the runs it needs"
    )
    paper.add_argument("--data", metavar="SOURCE", help="the text in place of Python's; see docs/data.md")
    paper.add_argument(
        "--transfer",
        nargs="+",
        action="extend",
        default=[],
        metavar="SOURCE",
        help="held-out text of other kinds, for figures 8 and 24",
    )
    paper.add_argument("--out", type=Path, help="folder of the study (studies/NAME-BUDGET); the page is in its NAME/")
    paper.add_argument("--draw", action="store_true", help="draw from the runs there are; train nothing")
    paper.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="a field of every run, such as data.validation=SOURCE, or rates=python|english, whose learning rates they "
        "take (python where that is the text, else english)",
    )
    paper.add_argument("--retry", action="store_true", help="try again what was left out")
    arguments.layout(paper)


def _reproduce(name: str, args: argparse.Namespace) -> int:
    from configs.rates import law_of
    from scaling.config import Study
    from scaling.study import read

    budget, names, members = _asked(name, args)
    out = args.out or Path("studies") / f"{name}-{budget.name}"
    if args.draw:
        _draw(name, args, read(out), budget, names, members)
        return 0
    _can_start(name, budget)
    if not budget.paper:
        text, _ = law_of(budget.rates, "transformer")
        arguments.say(
            f"learning rates: as swept on {text}; --set rates=python or rates=english chooses, where both are"
        )
    runs = tuple(dict.fromkeys(run for own in members.values() for run in own))
    experiments = _configs(name, "experiments")
    whole, packs = study.plan(Study(experiments.NAME, experiments.QUESTION, runs), out, args)
    _foretell(name, whole, names, members)
    outcome = study.train(whole, packs, args, retry=args.retry)
    if outcome.interrupted:
        arguments.say(f"{out}: --draw draws what is there")
        return outcome.exit_code
    try:
        _draw(name, args, whole, budget, names, members)
    except InputError as error:
        if not outcome.exit_code:
            raise
        arguments.say(f"nothing is drawn: {error}")  # runs have failed, and that is what the exit code tells
    return outcome.exit_code


def _configs(name: str, module: str) -> Any:
    """A module of what the paper's experiments train."""
    return importlib.import_module(f"configs.{name}.{module}")


def _asked(name: str, args: argparse.Namespace) -> tuple[Any, Sequence[str], Members]:
    """The budget, the figures, and the runs of the experiments that they need."""
    with _on_the_cpu():  # JAX asks for its device when it is first imported
        paper = papers.named(name)
    from scaling import config, rates
    from scaling.config import DataConfig

    experiments = _configs(name, "experiments").EXPERIMENTS
    names = paper.chosen(args.only)
    settings = arguments.pairs(args.set, "--set")
    if args.data is not None:
        settings = {"data.source": args.data, **settings}
    text: Any = settings.pop("rates", rates.suiting(settings.get("data.source", DataConfig.source)))
    budget = _configs(name, "budgets").named(args.budget, tuple(args.transfer), text)
    wanted = [one for one in experiments if one in paper.needed(names)]
    members = {one: tuple(config.override(run, settings) for run in experiments[one](budget)) for one in wanted}
    return budget, names, members


def _can_start(name: str, budget: Any) -> None:
    """Refuses what a CPU would take months for."""
    from scaling import layout

    if budget.accelerated and layout.device() == "cpu":
        raise InputError(
            f"--budget {budget.name} is not for a CPU: run this command on the accelerator itself, see scaling launch "
            f"--help for how, or look with scaling study show configs/{name}/experiments.py --set budget={budget.name}"
        )


def _ids(whole: Any, members: Members) -> dict[str, set[str]]:
    """The ids, in the study, of each experiment's runs."""
    from scaling import config

    def key(run: Any) -> str:  # a study has one text, and a run in it may have been begun under another name of it
        return config.identity(run, "", ("",) * len(run.eval.transfer))

    wanted = set(whole.runs)
    ids = {key(run.config): run.id for pack in whole.all_packs for run in pack.runs if run.id in wanted}
    return {name: {ids[key(run)] for run in runs if key(run) in ids} for name, runs in members.items()}


@contextlib.contextmanager
def _on_the_cpu() -> Iterator[None]:
    """Fits run on the CPU, and what is trained afterwards where it belongs."""
    before = os.environ.get("JAX_PLATFORMS")
    arguments.fits_on_the_cpu()
    try:
        yield
    finally:
        del os.environ["JAX_PLATFORMS"]
        if before is not None:
            os.environ["JAX_PLATFORMS"] = before


def _foretell(name: str, whole: Any, names: Sequence[str], members: Members) -> None:
    """Prints what intervals the exponents may expect, and keeps it for the page; not worked out twice."""
    from scaling import folders
    from scaling.study import asked_of

    path = whole.path / name / EXPECTED
    of = [list(names), asked_of([run for runs in members.values() for run in runs])]
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if kept.get("of") != of:
        with _on_the_cpu():
            planned = {one: [planned_row(run) for run in runs] for one, runs in members.items()}
            kept = {"of": of, "lines": [str(line) for line in papers.named(name).expected(planned, names)]}
        folders.write_json(path, kept)
    print("What intervals to expect if the paper's laws hold here and seeds scatter the loss by 0.3 %:")
    print("".join(f"  {line}\n" for line in kept["lines"]) or "  none of these figures has a main exponent")


def planned_row(run: Any) -> Any:
    """A run as a row of a table, as far as it is known before it is trained."""
    import numpy as np

    from analysis.papers.paper import Planned

    model, optim = run.model, run.optim
    row = {
        **{
            name: getattr(model, name)
            for name in ("kind", "reuse", "n_layer", "d_model", "n_ctx", "n_vocab", "dropout")
        },
        "params": model.N,
        "tokens": run.tokens,
        "unique_tokens": run.U,
        "batch_tokens": run.batch_tokens,
        "learning_rate": optim.learning_rate,
        "schedule": optim.schedule,
        "warmup": run.warmup_steps / run.steps,
        "seed": run.seed,
    }
    return Planned(row, np.array([step for step in run.eval_steps if step], float))


def _draw(name: str, args: argparse.Namespace, whole: Any, budget: Any, names: Sequence[str], members: Members) -> None:
    """Makes the page from the runs there are and prints what it says."""
    folder = whole.path / name
    with _on_the_cpu():
        from analysis import records
        from analysis.papers import evidence, page

        ids = _ids(whole, members)
        found = evidence.split(records.read(whole.path), ids)
        if not found:
            raise InputError(
                f"{whole.path} has no run of budget {budget.name} with these settings yet; give --budget, --data, "
                "--transfer and --set as when it was begun"
            )
        path = folder / EXPECTED
        expected = json.loads(path.read_text(encoding="utf-8"))["lines"] if path.exists() else ()
        paper = papers.named(name)
        drawn = paper.draw(names, found)
        made = page.Made(
            budget=budget.name,
            command=shlex.join(["scaling", *sys.argv[1:]]),
            data=", ".join(dict.fromkeys(run.data.source for runs in members.values() for run in runs)),
            planned=len(set().union(*ids.values())),
            expected=expected,
        )
        at = page.write(folder, paper, drawn, found, made)
    for one in drawn:
        print(f"\n{one.title}{'' if one.decided else ' (undecided)'}")
        for sentence in (*one.sentences, *one.open):
            print(f"  {sentence}")
    print(f"\nThe page: {at}")
