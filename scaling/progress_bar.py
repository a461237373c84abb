"""What the person at the terminal sees while a study runs: a line with the share done and the time left."""

import shutil
import sys
import time
from collections.abc import Callable, Sequence

from scaling import calibration, status, terminal
from scaling.study import Pack, StudyFolder

TRUSTED = 2.0  # the pace since the start counts for this many times the share of the work that it was seen on


class Bar:
    """One line with the share of the work done and the time left; silent when standard error is not a terminal."""

    def __init__(self, whole: StudyFolder, packs: Sequence[Pack]):
        now = status.of(whole)
        mine = {pack.id: pack for pack in packs}
        costs = calibration.kept(whole.layout.device, whole.layout.devices)
        self.cost = {id: costs.pack(pack.configs) for id, pack in mine.items()}
        self.steps = {id: pack.steps for id, pack in mine.items()}
        self.runs = {id: len(pack.runs) for id, pack in mine.items()}
        self.done = {each.pack.id: each.steps / each.pack.steps for each in now.packs if each.pack.id in mine}
        self.predicted = now.left
        self.began, self.before = time.monotonic(), self._share()
        self.live = sys.stderr.isatty()
        self.drawn = 0.0

    def at(self, pack: str, step: int) -> None:
        if pack in self.steps:  # it may have been taken out of the study meanwhile
            self.done[pack] = step / self.steps[pack]
            self.draw()

    def finish(self, pack: str) -> None:
        if pack in self.steps:
            self.done[pack] = 1.0
            self.draw(force=True)

    def _share(self) -> float:
        whole = sum(self.cost.values())
        return sum(self.cost[id] * done for id, done in self.done.items()) / whole if whole else 1.0

    def left(self, now: float) -> float:
        """Seconds: as predicted, and the more work was watched, the more at the pace of it.

        A first small pack says little: starting and compiling took most of its time.
        """
        share, spent = self._share(), now - self.began
        predicted = max(0.0, self.predicted - spent)
        gained = share - self.before
        if gained <= 0:
            return predicted
        trust = min(1.0, TRUSTED * gained / (1 - self.before))
        return trust * (1 - share) * spent / gained + (1 - trust) * predicted

    def draw(self, force: bool = False) -> None:
        if not self.live or (not force and time.monotonic() - self.drawn < 0.1):
            return
        self.drawn = time.monotonic()
        share = self._share()
        runs = sum(self.runs[id] for id, done in self.done.items() if done == 1)
        filled = int(24 * share)
        line = f"[{'#' * filled}{'.' * (24 - filled)}] {share:4.0%}  {runs}/{sum(self.runs.values())} runs  "
        line += f"{clock(self.left(self.drawn))} left"
        terminal.obeyed(sys.stderr).write("\r" + line[: shutil.get_terminal_size().columns - 1].ljust(70))
        sys.stderr.flush()

    def say(self, say: Callable[[str], None], text: str) -> None:
        """A line of its own above the bar."""
        if self.live:
            terminal.obeyed(sys.stderr).write("\r\033[K")
            sys.stderr.flush()
        say(text)

    def end(self) -> None:
        if self.live and self.drawn:
            terminal.obeyed(sys.stderr).write("\r\033[K")
            sys.stderr.flush()


def clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
