"""Running a study: worker processes, and which pack goes to which; several such may work at one study.

What somebody else has claimed, here or on another machine, is left to him and looked at again every TICK seconds: it
may be done, or its holder may have gone.
"""

import collections
import contextlib
import dataclasses
import json
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from scaling import claims, config, extensions, layout, numerics, own_code, status, study, surroundings, worker
from scaling.buckets import Bucket
from scaling.errors import InputError
from scaling.progress_bar import Bar
from scaling.study import ATTEMPTS, Pack, StudyFolder

ONE_SIGNAL = 2.0  # seconds within which signals are one: `timeout` and some schedulers send theirs twice
TICK = 1.0  # seconds between looks at what others do
TICK_AWAY = 10.0  # the same in a bucket


@dataclasses.dataclass
class Worker:
    """A process and the pack that it trains."""

    process: subprocess.Popen
    ready: bool = False
    closed: bool = False
    pack: Pack | None = None
    programs: set = dataclasses.field(default_factory=set)  # that it has compiled


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a study ended."""

    finished: int  # runs
    diverged: int
    failed: int
    left: int  # interrupted and saved, never begun, or left out
    interrupted: bool

    @property
    def exit_code(self) -> int:
        """0 done, 3 a run diverged or failed and the rest finished, 42 interrupted and saved."""
        return 42 if self.interrupted else 3 if self.diverged or self.failed or self.left else 0


def run(
    whole: StudyFolder,
    *,
    packs: Sequence[Pack] | None = None,
    retry: bool = False,
    shared: bool = False,
    board: Path | None = None,
    say: Callable[[str], None],
) -> Outcome:
    """Trains every pack that has updates left.

    Ctrl-C or SIGTERM saves and leaves; a second one gives up at once (KeyboardInterrupt).

    Args:
      packs: only these; None for all.
      retry: try again what is quarantined.
      shared: start as many workers as planned even where others of this study have the cores.
      board: where TensorBoard's files of each pack go, in a folder of its own; None for none.

    Raises:
        InputError: the disk is full, or the tokens are not those of the study; what was saved before stays.
    """
    with study.at_a_glance(whole):
        crew = Crew(whole, whole.packs if packs is None else packs, retry, shared, say, board)
    crew.work()
    return crew.outcome()


class Crew:
    """The workers of one `scaling study run` and what is left for them."""

    def __init__(
        self,
        whole: StudyFolder,
        packs: Sequence[Pack],
        retry: bool,
        shared: bool,
        say: Callable[[str], None],
        board: Path | None = None,
    ):
        self.board = str(board.absolute()) if board else ""
        self.whole, self.packs, self.retry, self.shared = whole, packs, retry, shared
        self.tick = TICK_AWAY if isinstance(whole.path, Bucket) else TICK
        self.code = own_code.digest()  # which that of all workers is to be
        self.mine = {run.id for pack in packs for run in pack.runs}
        self.seen = whole  # study.json when it was last looked at
        self.waiting = self._open({pack.id for pack in packs})
        self.held: dict[str, Pack] = {}  # by others
        self.tries = collections.Counter({pack.id: 0 if retry else _attempts(whole, pack) for pack in self.waiting})
        self.workers: list[Worker] = []
        self.events: queue.SimpleQueue[tuple[Worker | None, dict[str, Any] | None]] = queue.SimpleQueue()
        self.bar = Bar(whole, packs)
        self.say = lambda text: self.bar.say(say, text)
        self.interrupted = self.ticked = 0.0  # when
        self.ending = ""  # why no pack is handed out any more
        self.broken = False  # whether no worker can begin
        self.told = self.told_of_others = False  # whether waiting for a core was told, and for what others train

    def work(self) -> None:
        if asked := numerics.overruled():
            self.say(f"{', '.join(asked)}: not taken, since it would change what a run is")
        try:
            with _signals_to(self.events):
                self._tick()
                while self.workers or (self._left() and not self.ending and not self.broken):
                    with contextlib.suppress(queue.Empty):
                        self._handle(*self.events.get(timeout=TICK))
                    if time.monotonic() - self.ticked > self.tick:
                        self._tick()
        finally:
            self.bar.end()
            for each in self.workers:
                each.process.kill()
                each.process.wait()
        if self.ending and not self.interrupted:
            raise InputError(self.ending)

    def outcome(self) -> Outcome:
        states = [row.state for row in status.of(self.whole).runs if row.pack in {pack.id for pack in self.packs}]
        found = collections.Counter(states)
        lost = found["failed"] + found["quarantined"]
        left = len(states) - found["done"] - found["diverged"] - lost
        return Outcome(found["done"], found["diverged"], lost, left, bool(self.interrupted))

    def _open(self, among: Collection[str]) -> list[Pack]:
        """The packs with these ids that are to be trained, the costliest first."""
        packs = [pack for pack in self.whole.open_packs if pack.id in among]
        return [pack for pack in packs if self.retry or not self.whole.quarantined(pack)]

    def _follow(self) -> None:
        """Looks whether runs have come in from elsewhere: their packs are not trained, what is left of them is."""
        seen = study.current(self.whole.path)
        if seen is self.seen:
            return
        self.seen = seen
        before = {pack.id for pack in self.whole.all_packs}
        tokens = {**seen.tokens, **self.whole.tokens}
        self.whole = dataclasses.replace(self.whole, all_packs=seen.all_packs, tokens=tokens)
        if {pack.id for pack in seen.all_packs} == before:
            return
        wanted = {pack.id for pack in self.whole.packs if any(run.id in self.mine for run in pack.runs)}
        wanted |= {each.pack.id for each in self.workers if each.pack}
        self.packs = [pack for pack in seen.all_packs if pack.id in wanted]
        there = {pack.id for pack in self.packs}
        self.waiting = [pack for pack in self.waiting if pack.id in there] + self._open(there - before)
        self.held = {id: pack for id, pack in self.held.items() if id in there}
        self.bar = Bar(self.whole, self.packs)

    def _left(self) -> bool:
        return bool(self.waiting or self.held)

    def _handle(self, each: Worker | None, event: dict[str, Any] | None) -> None:
        if each is None:
            self._signal()
            return
        if event is None:
            self._ended(each)
            return
        match event.pop("event"):
            case "ready":
                each.ready = True
                if event.get("code") != self.code:
                    self.say(
                        f"a worker would run other code ({event.get('code')}) than this process ({self.code}): the "
                        f"files in {own_code.PACKAGE} have changed since it began; the same command, begun again, "
                        "runs what is there now"
                    )
                    self.broken = True
                    _close(each)
                    return
            case "progress":
                self.bar.at(event["pack"], event["done"])
                return
            case "say":
                self.say(event["text"])
                return
            case "left":  # because of us, or somebody told this worker alone to end
                if each.pack and not self.ending:
                    self.waiting.insert(0, each.pack)
                each.pack = None
                _close(each)
                return
            case "taken":
                assert each.pack
                self._follow()
                if any(pack.id == each.pack.id for pack in self.packs):  # else its runs came in from elsewhere
                    self.held[each.pack.id] = each.pack
            case "failed":
                where = f"; the whole story is in {event['where']}" if "where" in event else ""
                self._failed(each.pack, f"{event['error']}{where}")
            case "refused":
                self.say(f"pack {event['pack']} is left out this time: {event['error']}")
            case "full":
                self.ending = f"no room left on the disk of {self.whole.path}; free some, then the same command goes on"
            case "unusable":
                self.ending = event["error"]
            case "done":
                self.bar.finish(event["pack"])
                for id in event["diverged"]:
                    self.say(f"run {id} diverged: its loss is not a number, or ended above where it started")
        each.pack = None
        self._hand_out()

    def _signal(self) -> None:
        if self.interrupted and time.monotonic() - self.interrupted < ONE_SIGNAL:
            return
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = time.monotonic()
        self.ending = "stopped"
        self.say("stopping: each worker saves what it has (again to give up at once)")
        for each in self.workers:
            _close(each)

    def _ended(self, each: Worker) -> None:
        self.workers.remove(each)
        _close(each)
        how = _how(each.process.wait())
        if self.ending:
            return
        if not each.ready:
            self.say(f"a worker ended with {how} before it could begin; its own words are above")
            self.broken = True
        elif each.pack:
            self.say(f"a worker ended with {how} while it trained pack {each.pack.id}")
            with contextlib.suppress(OSError):
                _write_failure(self.whole, each.pack, how)
            self._failed(each.pack, how)
        self._tick()

    def _failed(self, pack: Pack | None, error: str) -> None:
        """A pack that fails is tried once more, at the end; then it is left alone until somebody asks for it."""
        assert pack
        self.tries[pack.id] += 1
        if self.tries[pack.id] < ATTEMPTS:
            self.waiting.append(pack)
            self.say(f"pack {pack.id} failed and is tried once more: {error}")
        else:
            self.say(f"pack {pack.id} failed again and is left out from now on (--retry tries it): {error}")

    def _tick(self) -> None:
        """Looks at what others hold, starts workers where there is work and room, hands out packs."""
        self.ticked = time.monotonic()
        try:
            self._look_at_others()
        except OSError as error:
            if not isinstance(self.whole.path, Bucket):
                raise
            self.say(f"no look at what others do ({error}); what is trained here goes on")
        busy = sum(each.pack is None and not each.closed for each in self.workers)
        while not self.ending and not self.broken and len(self.workers) < self.whole.layout.workers:
            if len(self.waiting) <= busy:
                break
            place = layout.place(self.whole.layout.device, self.whole.path, len(self.workers), shared=self.shared)
            if place is None:
                if not self.workers and not self.told:
                    self.told = True
                    self.say(f"the cores of this machine are at work on {self.whole.path} already; waiting for one")
                break
            self.workers.append(_start(self.whole, place, self.events))
            busy += 1
        self._hand_out()

    def _look_at_others(self) -> None:
        self._follow()
        for pack in list(self.held.values()):
            who = claims.holder(self.whole.claims(pack))
            if self.whole.done(pack):
                self.bar.finish(pack.id)
                del self.held[pack.id]
            elif who is None or who.open():
                del self.held[pack.id]
                if self.retry or not self.whole.quarantined(pack):
                    self.waiting.append(pack)
            else:
                self.bar.at(pack.id, who.done)
        if self.held and not self.waiting and not any(each.pack for each in self.workers) and not self.told_of_others:
            self.told_of_others = True
            pack = next(iter(self.held.values()))
            who = claims.holder(self.whole.claims(pack))
            some = "1 pack is" if len(self.held) == 1 else f"{len(self.held)} packs are"
            self.say(f"{some} trained by others, {pack.id} by {who}; waiting for the end")

    def _hand_out(self) -> None:
        """A pack for each worker that has none; where none is left, here or with others, workers end."""
        for each in self.workers:
            if each.pack or not each.ready or each.closed:
                continue
            if self.ending or not self._left():
                _close(each)
                continue
            each.pack = self._next(each)
            if each.pack:
                each.programs.add(_program(each.pack))
                following = self.waiting[0].id if self.waiting else ""
                _tell(each, json.dumps({"pack": each.pack.id, "next": following, "board": self.board}))

    def _next(self, each: Worker) -> Pack | None:
        """The costliest pack, but rather one whose program no other worker is the first to compile."""
        if not self.waiting:
            return None
        others = set().union(*(other.programs for other in self.workers if other is not each)) - each.programs
        best = next((i for i, pack in enumerate(self.waiting) if _program(pack) not in others), 0)
        return self.waiting.pop(best)


@contextlib.contextmanager
def _signals_to(events: queue.SimpleQueue) -> Iterator[None]:
    """SIGINT, SIGTERM and SIGHUP become events while this lasts: an exception might be raised between any two lines."""
    if threading.current_thread() is not threading.main_thread():  # only there Python lets us
        yield
        return
    heard = (signal.SIGINT, *surroundings.endings())
    handlers = {number: signal.signal(number, lambda *_: events.put((None, None))) for number in heard}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _start(whole: StudyFolder, place: layout.Place, events: queue.SimpleQueue) -> Worker:
    process = subprocess.Popen(
        own_code.command(
            "scaling.worker",
            *(str(whole.path), whole.layout.device, str(place.core)),
            *extensions.words(study.extended(whole.packs)),
        ),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,  # the terminal's Ctrl-C is for us
        pass_fds=place.files,
    )
    place.close()
    each = Worker(process)

    def listen() -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                with contextlib.suppress(ValueError):  # a line cut short by a kill
                    events.put((each, json.loads(line)))
        events.put((each, None))

    threading.Thread(target=listen, daemon=True).start()
    return each


def _attempts(whole: StudyFolder, pack: Pack) -> int:
    return whole.failed(pack)["attempts"]


def _write_failure(whole: StudyFolder, pack: Pack, how: str) -> None:
    """For a worker that can no longer do it; not for a pack that somebody else has taken up."""
    claim = claims.take(whole.claims(pack))
    if claim:
        with claim:
            worker.failed(claim.folder, _attempts(whole, pack), f"its worker ended with {how}")


def _program(pack: Pack) -> Any:
    return config.program(pack.runs[0].config)


def _tell(each: Worker, line: str) -> None:
    assert each.process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it died: the end of its output tells
        each.process.stdin.write(line + "\n")
        each.process.stdin.flush()


def _close(each: Worker) -> None:
    each.closed = True
    assert each.process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        each.process.stdin.close()


def _how(code: int) -> str:
    return f"signal {-code} (9: killed, perhaps for lack of memory)" if code < 0 else f"exit code {code}"
