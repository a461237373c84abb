"""scaling reproduce kaplan: a paper's experiments run or resumed at a budget, and its figures from our own runs."""

import argparse
import contextlib
import functools
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis import papers
from scaling import folders
from scaling.commands import arguments, study
from scaling.errors import InputError

if TYPE_CHECKING:
    from analysis.papers.reproduction import Wanted
    from analysis.records import Records
    from scaling.study import StudyFolder

EXPECTED = "expected.json"  # beside the page
FORECASTS = "forecasts"  # beside it too: what scaling predict --store wrote there, held against what came


def add(verbs: arguments.Verbs) -> None:
    there = verbs.add_parser("reproduce", help="a paper's experiments and figures, from our own runs")
    there = there.add_subparsers(metavar="|".join(papers.names()), required=True)
    for name in papers.names():
        _add_paper(there, name)


def _add_paper(verbs: arguments.Verbs, name: str) -> None:
    paper = arguments.verb(
        verbs,
        name,
        functools.partial(_reproduce, name),
        "every figure of the paper from our own runs; the same command goes on after any interruption",
        f"scaling reproduce {name} --budget tiny",
    )
    paper.add_argument("--budget", default="", help=f"how much may be trained, see docs/{name}.md")
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
        help="held-out text of other kinds, for figures 8 and 24 of kaplan",
    )
    paper.add_argument(
        "--beside",
        nargs="+",
        action="extend",
        default=[],
        metavar="STUDY",
        help="folders of studies of the same experiments on other texts, for tableA2 of chinchilla",
    )
    paper.add_argument(
        "--out", type=Path, help="folder of the study, which papers share (studies/papers-BUDGET); the page is in NAME/"
    )
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


def _reproduce(paper: str, args: argparse.Namespace) -> int:
    from configs.rates import law_of
    from scaling.study import read

    settings = {} if args.data is None else {"data.source": args.data}
    with _on_the_cpu():  # JAX asks for its device when it is first imported
        wanted = papers.wanted(
            paper,
            args.budget,
            args.only,
            transfer=args.transfer,
            settings=settings | arguments.pairs(args.set, "--set"),
        )
        beside = _beside(wanted, args.beside)
    out = args.out or Path("studies") / f"{wanted.study.name}-{wanted.budget.name}"
    if args.draw:
        _draw(wanted, read(out), beside)
        return 0
    refuse_on_a_cpu(wanted)
    wanted, left_out = wanted.trainable()
    for line in left_out:
        arguments.say(line)
    if not wanted.budget.paper:
        text, _ = law_of(wanted.budget.rates, "transformer")
        arguments.say(
            f"learning rates: as swept on {text}; --set rates=python or rates=english chooses, where both are"
        )
    if (out / "study.json").exists():
        with contextlib.suppress(InputError):  # no record yet
            wanted = _grown(wanted, out)
    whole, packs = study.plan(wanted.study, out, args)
    _tell_expected(wanted, whole)
    while True:
        outcome = study.train(whole, packs, args, retry=args.retry)
        grown = wanted if outcome.interrupted or outcome.left or outcome.failed else _grown(wanted, out)
        if grown.members == wanted.members:
            break
        arguments.say(f"{out}: {len(grown.study.runs) - len(wanted.study.runs)} runs follow from those that are done")
        wanted = grown
        whole, packs = study.plan(wanted.study, out, args)
    if outcome.interrupted:
        arguments.say(f"{out}: --draw draws what is there")
        return outcome.exit_code
    try:
        _draw(wanted, whole, beside)
    except InputError as error:
        if not outcome.exit_code:
            raise
        arguments.say(f"nothing is drawn: {error}")  # runs have failed, and that is what the exit code tells
    return outcome.exit_code


def _beside(wanted: "Wanted", paths: Sequence[str]) -> list["Records"]:
    """The studies of other texts, read before anything is trained."""
    if not paths:
        return []
    from analysis import records

    wanted.check_beside()
    return [records.read(path) for path in paths]


def _grown(wanted: "Wanted", out: Path) -> "Wanted":
    """With the runs that follow from those that are done in a folder."""
    if wanted.later is None:
        return wanted
    with _on_the_cpu():
        from analysis import records

        return wanted.grown(records.read(out))


def refuse_on_a_cpu(wanted: "Wanted") -> None:
    """Refuses a budget that a CPU would take months for.

    Raises:
        InputError: there is only a CPU, and the budget is not for one.
    """
    from scaling import layout

    budget = wanted.budget
    if budget.accelerated and layout.device() == "cpu":
        config = f"configs/{papers.module(wanted.paper)}/experiments.py"
        raise InputError(
            f"--budget {budget.name} is not for a CPU: run this command on the accelerator itself, see scaling launch "
            f"--help for how, or look with scaling study show {config} --set budget={budget.name}"
        )


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


def _tell_expected(wanted: "Wanted", whole: "StudyFolder") -> None:
    """Prints what intervals the exponents may expect, and keeps it for the page; not worked out twice."""
    from scaling.study import asked_of

    path = whole.path / wanted.paper / EXPECTED
    of = [list(wanted.figures), asked_of([run for runs in wanted.members.values() for run in runs])]
    kept = _kept(path)
    if kept.get("of") != of:
        with _on_the_cpu():
            kept = {"of": of, "lines": wanted.expected()}
        folders.write_json(path, kept)
    print("What intervals to expect if the paper's laws hold here and seeds scatter the loss by 0.3 %:")
    print("".join(f"  {line}\n" for line in kept["lines"]) or "  none of these figures has a main exponent")


def _kept(path: Path) -> dict[str, Any]:
    """What `_tell_expected` kept; nothing where it is not there or damaged, and made again."""
    try:
        found = folders.read_json(path, "expected intervals")
        return found if isinstance(found["lines"], list) and all(isinstance(x, str) for x in found["lines"]) else {}
    except (InputError, TypeError, KeyError):
        return {}


def _draw(wanted: "Wanted", whole: "StudyFolder", beside: Sequence["Records"]) -> None:
    """Makes the page from the runs there are and prints what it says."""
    folder = whole.path / wanted.paper
    path = folder / EXPECTED
    with _on_the_cpu():
        from analysis import records

        promised = folder / FORECASTS
        found = wanted.drawn_from(records.read(whole.path), promised if promised.is_dir() else None, beside)
        expected = _kept(path).get("lines", ())
        page, command = folder / "index.html", shlex.join(["scaling", *sys.argv[1:]])
        folder.mkdir(parents=True, exist_ok=True)
        folders.try_file(page)
        arguments.answer(found, False, (page, lambda _: found.write(folder, command=command, expected=expected)))
    print(f"\nThe page: {page}")
