"""Tasks as sources of text: a document is a question and its answer, task:KIND?KEY=VALUE&KEY=VALUE.

task:sum?digits=3              123+456=0579, each number with its leading zeros
task:sum?digits=3&reversed=1   123+456=9750, the last digit of the answer first
task:modsum?modulus=97         12+96=11
task:copy?digits=6             140327=140327

All questions of a task stand in one order, a permutation by `seed`; a source is `items` of them from number `first`
on, so that sources whose ranges do not overlap share no question. Questions and answers have one length each, and
every character of the answer is a digit, a token of its own in each vocabulary of ours: exact match, wrong digits and
products over digits need no alignment.
"""

import abc
import dataclasses
import hashlib
from collections.abc import Collection, Iterator
from typing import ClassVar

import numpy as np

from scaling.config import GLYPHS, TASK, EvalConfig, RunConfig
from scaling.data import expressions, glyphs, mixture
from scaling.data.batches import mix, permute
from scaling.data.documents import Document, File, Numbered, Part, options, stretches
from scaling.data.tokenizer import Tokenizer
from scaling.errors import InputError

VERSION = 1  # raised when a task has other questions, or in another order
ALPHABET = "0123456789+="  # of all tasks: data.tokenizer=characters:0123456789+= has a token for each
MARK = "="  # between a question and its answer
EXAMPLE = "task:sum?digits=3&items=100000"
LONGEST = 19  # digits of a value


@dataclasses.dataclass(frozen=True)
class Task(abc.ABC):
    """A kind of question. Its fields are the keys of its source.

    Attributes:
        seed: of the order of all questions.
        first, items: which of them; where it is left out, as many items as there are up to that.
    """

    seed: int = 0
    first: int = 0
    items: int = 100_000

    name: ClassVar[str]

    @property
    @abc.abstractmethod
    def questions(self) -> int:
        """How many there are."""

    @property
    @abc.abstractmethod
    def answer(self) -> int:
        """Digits of an answer."""

    @abc.abstractmethod
    def text(self, number: int) -> str:
        """The question of that number, and its answer."""

    @property
    def width(self) -> int:
        """Characters of a document, and tokens but for the separator that ends it."""
        return len(self.text(0))

    @property
    def end(self) -> int:
        """The number after that of the last item."""
        return self.first + self.items

    def alike(self, other: "Task") -> bool:
        """Whether both are of the same questions, whichever of them and in whatever order."""
        return dataclasses.replace(self, seed=other.seed, first=other.first, items=other.items) == other

    @abc.abstractmethod
    def bound(self, source: str) -> None:
        """Raises InputError for values of its own keys that cannot be, before its questions are counted."""

    def check(self, source: str) -> None:
        """Raises InputError for items that cannot be."""
        for name, low, high in (
            ("seed", 0, 2**63 - 1),
            ("first", 0, self.questions - 1),
            ("items", 2, self.questions - self.first),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise InputError(
                    f"{source}: {name}={value}, wanted {low} to {high}; the task has {self.questions:,} questions"
                )


@dataclasses.dataclass(frozen=True)
class Sum(Task):
    """The sum of two numbers of so many digits."""

    digits: int = 3
    reversed: int = 0

    name = "sum"

    @property
    def questions(self) -> int:
        return 100**self.digits

    @property
    def answer(self) -> int:
        return self.digits + 1

    def text(self, number: int) -> str:
        a, b = divmod(number, 10**self.digits)
        total = f"{a + b:0{self.answer}d}"
        return f"{a:0{self.digits}d}+{b:0{self.digits}d}{MARK}{total[::-1] if self.reversed else total}"

    def bound(self, source: str) -> None:
        _between(source, "digits", self.digits, 1, 9)
        _between(source, "reversed", self.reversed, 0, 1)


@dataclasses.dataclass(frozen=True)
class ModularSum(Task):
    """The sum of two numbers modulo a third."""

    modulus: int = 97

    name = "modsum"

    @property
    def questions(self) -> int:
        return self.modulus**2

    @property
    def answer(self) -> int:
        return len(str(self.modulus - 1))

    def text(self, number: int) -> str:
        a, b = divmod(number, self.modulus)
        return f"{a:0{self.answer}d}+{b:0{self.answer}d}{MARK}{(a + b) % self.modulus:0{self.answer}d}"

    def bound(self, source: str) -> None:
        _between(source, "modulus", self.modulus, 2, 10**9)


@dataclasses.dataclass(frozen=True)
class Copy(Task):
    """A string of so many digits, again."""

    digits: int = 6

    name = "copy"

    @property
    def questions(self) -> int:
        return 10**self.digits

    @property
    def answer(self) -> int:
        return self.digits

    def text(self, number: int) -> str:
        return f"{number:0{self.digits}d}{MARK}{number:0{self.digits}d}"

    def bound(self, source: str) -> None:
        _between(source, "digits", self.digits, 1, 18)


KINDS: dict[str, type[Task]] = {kind.name: kind for kind in (Sum, ModularSum, Copy)}


def _between(source: str, name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise InputError(f"{source}: {name}={value}, wanted {low} to {high}")


def parse(source: str) -> Task:
    """The task that a source names.

    Raises:
        InputError: an unknown kind or key, or a value that cannot be.
    """
    kind, _, query = source.removeprefix(TASK).partition("?")
    if kind not in KINDS:
        raise InputError(f"{source}: unknown task {kind!r}; wanted one of {', '.join(KINDS)}, such as {EXAMPLE}")
    known = {field.name: f"{field.default}" for field in dataclasses.fields(KINDS[kind])}
    values: dict[str, int] = {}
    for name, text in options(source, query, known).items():
        if not text.isdecimal():
            raise InputError(f"{source}: {name}={text}, wanted a whole number; such as {EXAMPLE}")
        if len(text) > LONGEST:
            raise InputError(
                f"{TASK}{kind}: {name} of {len(text):,} digits, wanted {LONGEST} at most; such as {EXAMPLE}"
            )
        values[name] = int(text)
    task = KINDS[kind](**values)
    task.bound(source)
    if "items" not in values:
        task = dataclasses.replace(task, items=max(2, min(task.items, task.questions - task.first)))
    task.check(source)
    return task


def roots(source: str) -> tuple[str, ...]:
    """The sources of which one is made, as a mixture or by rules; of a plain one, itself."""
    if (call := expressions.call(source)) is not None:
        return roots(call[1])
    if mixture.is_one(source):
        return tuple(root for part in mixture.parse(source) for root in roots(part.source))
    return (source,)


def alone(source: str) -> bool:
    """Whether a source is of tasks, or of glyphs after their names, and nothing else: each document has its answer."""
    return all(root.startswith((TASK, GLYPHS)) for root in roots(source))


def check(run: RunConfig, tokenizer: Tokenizer | None = None) -> None:
    """Checks what a run asks of tasks, before anything is trained.

    Args:
        tokenizer: of the run, where `answers_after` is to be checked too.

    Raises:
        InputError: questions that are trained on would be asked, a question does not fit into a window, there are too
            few of them, or `answers_after` is no id after which the answers come.
    """
    for name in run.eval.transfer:
        if name.startswith(TASK):
            _apart(name, run)
    fit(run)
    for name in run.eval.tasks:
        if (has := parse(name).items) < run.eval.answers:
            raise InputError(
                f"eval.answers={run.eval.answers}: {name} has {has} questions; use --set eval.answers={has}, or ask "
                "more (&items=N)"
            )
    if run.answers_after is None:
        return
    for key, source in (("source", run.data.source), ("validation", run.data.validation)):
        if source and not alone(source):
            raise InputError(
                f"answers_after={run.answers_after}, but data.{key}={source} is not of tasks alone, such as {EXAMPLE}; "
                "leave answers_after out"
            )
        for root in filter(None, roots(source)):
            if tokenizer is not None:
                _answered_after(run.answers_after, root, tokenizer)


def fit(run: RunConfig) -> None:
    """Raises InputError where a question that is asked is longer than a window."""
    for name in run.eval.tasks:
        if (width := parse(name).width) > run.model.n_ctx:
            raise InputError(
                f"model.n_ctx={run.model.n_ctx}: {name} has {width} tokens with its answer; use as many "
                f"(--set model.n_ctx={width})"
            )


def _apart(name: str, run: RunConfig) -> None:
    """Raises InputError where some of the questions of a source of `eval.transfer` are trained on."""
    asked, validation = parse(name), run.data.validation
    if validation.startswith(TASK):  # none of it is trained on, whatever else holds it
        held = parse(validation)
        if held.alike(asked) and held.seed == asked.seed and held.first <= asked.first and asked.end <= held.end:
            return
    for source in roots(run.data.source):
        if not source.startswith(TASK) or not (task := parse(source)).alike(asked):
            continue
        if task.seed == asked.seed and (task.end <= asked.first or asked.end <= task.first):
            continue
        rooms = (task.end, task.questions - task.end), (0, task.first)
        start, room = max(rooms, key=lambda one: min(one[1], asked.items))
        way = f"ask others: {_with(name, seed=task.seed, first=start, items=min(room, asked.items))}"
        if room < 2:
            fewer = max(2, task.questions * 9 // 10)
            way = f"train on fewer, {_with(source, first=0, items=fewer)}, and ask others (&first={fewer})"
        order = "" if task.seed == asked.seed else " in another order"
        raise InputError(f"eval.transfer={name}: data.source has questions of it{order} ({source}); {way}")


def _with(source: str, **values: int) -> str:
    """The source with other values of these keys; those that are the default's are left out."""
    name, _, query = source.partition("?")
    kept = [item for item in query.split("&") if item and item.partition("=")[0] not in values]
    return "?".join(
        filter(None, (name, "&".join([*kept, *(f"{key}={value}" for key, value in values.items() if value)])))
    )


def _answered_after(mark: int, source: str, tokenizer: Tokenizer) -> None:
    """Raises InputError where the answers of a task, or the glyphs, are not what comes after the id `mark`."""
    if source.startswith(GLYPHS):
        text, answer = f"A{glyphs.MARK}{glyphs.NIBBLES[0] * glyphs.PICTURE}", glyphs.PICTURE
    else:
        text, answer = parse(source).text(0), parse(source).answer
    ids = [int(id) for id in tokenizer.encode(text)]
    right = [id for id in dict.fromkeys(ids) if tokenizer.decode(ids[ids.index(id) + 1 :]) == text[-answer:]]
    if mark not in right:
        way = (
            f"use answers_after={right[0]}"
            if right
            else "use a tokenizer that splits there, or leave answers_after out"
        )
        raise InputError(f"answers_after={mark} is not the id before the answers of {source}; {way}")


@dataclasses.dataclass(frozen=True)
class TaskCorpus(Numbered):
    """Questions with their answers, a document each."""

    source: str
    task: Task

    @classmethod
    def of(cls, source: str) -> "TaskCorpus":
        return cls(source, parse(source))

    def signature(self) -> str:
        return hashlib.sha256(f"{VERSION} {self.task!r}".encode()).hexdigest()[:16]

    def parts(self) -> list[Part]:
        some = stretches(range(self.task.first, self.task.first + self.task.items), self.task.width)
        return [[TaskFile(self.task, places.start, places.stop)] for places in some]


@dataclasses.dataclass(frozen=True)
class TaskFile(File):
    """The questions in the places start, ..., stop - 1 of a task's order."""

    task: Task
    start: int
    stop: int

    def documents(self, keep: Collection[int] | None) -> Iterator[tuple[int, Document]]:
        chosen = np.arange(self.stop - self.start) if keep is None else np.sort(np.fromiter(keep, np.int64))
        places = (self.start + chosen).astype(np.uint64)
        numbers = permute(places, self.task.questions, mix(np.array([self.task.seed], np.uint64)))
        for k, number in zip(chosen.tolist(), numbers.tolist(), strict=True):
            text = self.task.text(number)
            yield k, Document(text, text, "")


def answers(wanted: EvalConfig) -> tuple[int, int, int]:
    """How many tasks are looked at, the tokens of the longest answer among them, and questions of each."""
    lengths = [parse(name).answer for name in wanted.tasks]
    return len(lengths), max(lengths, default=0), wanted.answers if lengths else 0


def wanted(source: str, by: EvalConfig) -> int:
    """Tokens of a source of `eval.transfer` in which the questions lie that are asked."""
    return by.answers * (parse(source).width + 1) if source in by.tasks else 0


def filler(source: str, by: EvalConfig, held_out: np.ndarray) -> np.ndarray:
    """Tokens with the separator 0 in place of those of a source of `eval.transfer`, to measure times with."""
    if source not in by.tasks:
        return held_out
    n, width = by.answers, parse(source).width
    rows = np.repeat([1] * width + [0], max(1, n)).reshape(width + 1, -1).T.reshape(-1)
    return np.concatenate([rows.astype(np.int32), np.ones(max(0, len(held_out) - len(rows)), np.int32)])


def items(source: str, tokens: np.ndarray, n: int, separator: int) -> np.ndarray:
    """The first questions of a stream of a task, each after a separator and with its answer, i32 (n, 1 + width).

    Args:
        tokens: the stream.
        separator: the token that ends each document.

    Raises:
        InputError: there are fewer, or their characters are no tokens of their own.
    """
    width = parse(source).width
    rows = np.asarray(tokens[: n * (width + 1)])
    if len(rows) < n * (width + 1):
        raise InputError(f"eval.answers={n}: {source} has {len(tokens) // (width + 1)}; ask for fewer, or give it more")
    rows = rows.reshape(n, width + 1)
    if (rows[:, -1] != separator).any() or (rows[:, :-1] == separator).any():
        raise InputError(
            f"{source}: its digits are not a token each in this vocabulary, which eval.answers needs; use "
            f"data.tokenizer=bpe, bytes or characters:{ALPHABET}"
        )
    return np.concatenate([rows[:, -1:], rows[:, :-1]], axis=1).astype(np.int32)
