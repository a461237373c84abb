"""Running a study: worker processes, which pack goes to which, and what the person at the terminal sees."""

import collections
import contextlib
import dataclasses
import json
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from scaling import config, study
from scaling.errors import InputError
from scaling.study import Pack, StudyFolder

ONE_SIGNAL = 2.0  # seconds within which signals are one: `timeout` and some schedulers send theirs twice
ATTEMPTS = 2  # at a pack whose worker died


@dataclasses.dataclass
class Worker:
    """A process and the pack that it trains."""

    process: subprocess.Popen
    core: int
    ready: bool = False
    pack: Pack | None = None
    programs: set = dataclasses.field(default_factory=set)  # that it has compiled


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a study ended."""

    finished: int  # runs
    diverged: int
    failed: int
    left: int  # interrupted and saved, or never begun
    interrupted: bool

    @property
    def exit_code(self) -> int:
        """0 done, 3 a run diverged or failed and the rest finished, 42 interrupted and saved."""
        return 42 if self.interrupted else 3 if self.diverged or self.failed or self.left else 0


def run(whole: StudyFolder, *, say: Callable[[str], None]) -> Outcome:
    """Trains every pack that has updates left; the caller holds the study's lock.

    Ctrl-C or SIGTERM saves and leaves; a second one gives up at once (KeyboardInterrupt).

    Raises:
        InputError: the disk is full; what was saved before stays.
    """
    waiting = whole.open_packs
    events: queue.SimpleQueue[tuple[Worker | None, dict[str, Any] | None]] = queue.SimpleQueue()
    cores = study.cores()
    workers: list[Worker] = []
    attempts: collections.Counter[str] = collections.Counter()
    failed: dict[str, str] = {}
    bar = Bar(whole)
    interrupted, full = 0.0, False  # when, and whether
    try:
        with _signals_to(events):
            for i in range(min(whole.layout.workers, len(waiting))):
                workers.append(_start(whole, cores[i % len(cores)], events))
            while workers:
                worker, event = events.get()
                if worker is None:  # a signal
                    if interrupted and time.monotonic() - interrupted < ONE_SIGNAL:
                        continue
                    if interrupted:
                        raise KeyboardInterrupt
                    interrupted = time.monotonic()
                    bar.say(say, "stopping: each worker saves what it has (again to give up at once)")
                    for each in workers:
                        _close(each)
                    continue
                if event is None:
                    workers.remove(worker)
                    _close(worker)
                    how = _how(worker.process.wait())
                    if interrupted or full:
                        continue
                    if not worker.ready:
                        bar.say(say, f"a worker ended with {how} before it could begin; its own words are above")
                        continue
                    if worker.pack:
                        bar.say(say, f"a worker ended with {how} while it trained pack {worker.pack.id}")
                        attempts[worker.pack.id] += 1
                        if attempts[worker.pack.id] < ATTEMPTS:
                            waiting.insert(0, worker.pack)
                        else:
                            failed[worker.pack.id] = how
                    if waiting:
                        workers.append(_start(whole, worker.core, events))
                    continue
                match event.pop("event"):
                    case "ready":
                        worker.ready = True
                    case "progress":
                        bar.at(event["pack"], event["done"])
                        continue
                    case "say":
                        bar.say(say, event["text"])
                        continue
                    case "left":  # because of us, or somebody told this worker alone to end
                        if worker.pack and not interrupted:
                            waiting.insert(0, worker.pack)
                        worker.pack = None
                        _close(worker)
                        continue
                    case "failed":
                        failed[event["pack"]] = event["error"]
                        where = f"; the whole story is in {event['where']}" if event["where"] else ""
                        bar.say(say, f"pack {event['pack']} failed: {event['error']}{where}")
                    case "full":
                        full = True
                    case "done":
                        bar.finish(event["pack"])
                        for id in event["diverged"]:
                            bar.say(say, f"run {id} diverged: its loss is not a number, or above where it started")
                worker.pack = None if interrupted or full else _next(waiting, worker, workers)
                if worker.pack:
                    worker.programs.add(_program(worker.pack))
                    _tell(worker, worker.pack.id)
                else:
                    _close(worker)
    finally:
        bar.end()
        for worker in workers:
            worker.process.kill()
            worker.process.wait()
    if full:
        raise InputError(f"no room left on the disk of {whole.path}; free some, then the same command goes on")
    return _outcome(whole, failed, bool(interrupted))


@contextlib.contextmanager
def _signals_to(events: queue.SimpleQueue) -> Iterator[None]:
    """SIGINT and SIGTERM become events while this lasts: an exception might be raised between any two lines."""
    if threading.current_thread() is not threading.main_thread():  # only there Python lets us
        yield
        return
    handlers = {
        number: signal.signal(number, lambda *_: events.put((None, None))) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _start(whole: StudyFolder, core: int, events: queue.SimpleQueue) -> Worker:
    process = subprocess.Popen(
        [sys.executable, "-m", "scaling.worker", str(whole.path), whole.layout.device, str(core)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,  # the terminal's Ctrl-C is for us
    )
    worker = Worker(process, core)

    def listen() -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                with contextlib.suppress(ValueError):  # a line cut short by a kill
                    events.put((worker, json.loads(line)))
        events.put((worker, None))

    threading.Thread(target=listen, daemon=True).start()
    return worker


def _next(waiting: list[Pack], worker: Worker, workers: list[Worker]) -> Pack | None:
    """The costliest pack, but rather one whose program no other worker is the first to compile."""
    if not waiting:
        return None
    others = set().union(*(other.programs for other in workers if other is not worker)) - worker.programs
    best = next((pack for pack in waiting if _program(pack) not in others), waiting[0])
    waiting.remove(best)
    return best


def _program(pack: Pack) -> Any:
    return config.program(pack.runs[0].config)


def _tell(worker: Worker, line: str) -> None:
    assert worker.process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it died: the end of its output tells
        worker.process.stdin.write(line + "\n")
        worker.process.stdin.flush()


def _close(worker: Worker) -> None:
    assert worker.process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        worker.process.stdin.close()


def _how(code: int) -> str:
    return f"signal {-code} (9: killed, perhaps for lack of memory)" if code < 0 else f"exit code {code}"


def _outcome(whole: StudyFolder, failed: dict[str, str], interrupted: bool) -> Outcome:
    counts = collections.Counter(state for _, state, _, _ in study.status(whole))
    lost = sum(run.id in whole.runs for pack in whole.packs if pack.id in failed for run in pack.runs)
    left = len(whole.runs) - counts["done"] - counts["diverged"] - lost
    return Outcome(counts["done"], counts["diverged"], lost, left, interrupted)


class Bar:
    """One line with the share of the work done and the time left; silent when standard error is not a terminal."""

    def __init__(self, whole: StudyFolder):
        self.cost = {pack.id: pack.cost for pack in whole.packs}
        self.steps = {pack.id: pack.steps for pack in whole.packs}
        self.runs = {pack.id: len(pack.runs) for pack in whole.packs}
        self.done = {pack.id: whole.share_done(pack) for pack in whole.packs}
        self.began, self.before = time.monotonic(), self._share()
        self.live = sys.stderr.isatty()
        self.drawn = 0.0

    def at(self, pack: str, step: int) -> None:
        self.done[pack] = step / self.steps[pack]
        self.draw()

    def finish(self, pack: str) -> None:
        self.done[pack] = 1.0
        self.draw(force=True)

    def _share(self) -> float:
        return sum(self.cost[id] * done for id, done in self.done.items()) / sum(self.cost.values())

    def draw(self, force: bool = False) -> None:
        if not self.live or (not force and time.monotonic() - self.drawn < 0.1):
            return
        self.drawn = time.monotonic()
        share = self._share()
        rate = (share - self.before) / (self.drawn - self.began + 1e-9)
        left = f"{_clock((1 - share) / rate)} left" if share > self.before + 0.005 else ""
        runs = sum(self.runs[id] for id, done in self.done.items() if done == 1)
        filled = int(24 * share)
        line = f"[{'#' * filled}{'.' * (24 - filled)}] {share:4.0%}  {runs}/{sum(self.runs.values())} runs  {left}"
        sys.stderr.write("\r" + line[: shutil.get_terminal_size().columns - 1].ljust(70))
        sys.stderr.flush()

    def say(self, say: Callable[[str], None], text: str) -> None:
        """A line of its own above the bar."""
        if self.live:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()
        say(text)

    def end(self) -> None:
        if self.live and self.drawn:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
