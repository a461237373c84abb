"""How the time of a study was spent: the share in which it trained (its goodput), and what took the rest.

A session is the time that one claim to a pack was held. What it spends is written beside its checkpoints, in
spent.json, each time that one is begun and at its end:

    start     Python, JAX and its devices, tokens: until the pack's training is begun
    restore   reading the checkpoint to go on from
    compile   programs, of the updates and of the first weights
    save      the time that the training stood still for a checkpoint; what is written while it goes on costs nothing
    train     the rest, evaluations among it

After a session that another one followed:

    lost      from its last checkpoint to its last sign of life, which its claim (scaling.claims) keeps: where it ended
              without a word, killed say
    idle      from there until somebody took the pack up again, on purpose or not

All sessions of all packs are added up: on several workers an hour has as many hours as there are workers.
"""

import contextlib
import dataclasses
import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from scaling import checked, claims, study
from scaling.buckets import Bucket
from scaling.checked import Damaged
from scaling.study import StudyFolder

FILE = "spent.json"
MEASURED = ("start", "restore", "compile", "save")
CAUSES = ("train", *MEASURED, "lost", "idle")


class Session:
    """How the time of one session is spent, as it goes on; `scaling.train` tells it."""

    def __init__(self, folder: Path | None = None, number: int = 0, since: float | None = None):
        """
        Args:
          folder: of the claim, where it is written down; None for nowhere.
          number: of the claim.
          since: when it began, by time.monotonic(); now if None.
        """
        self.folder, self.number = folder, number
        self.since = time.monotonic() if since is None else since
        self.began = time.time() - (time.monotonic() - self.since)
        self.seconds: dict[str, float] = dict.fromkeys(MEASURED, 0.0)
        self.before = _read(folder) if folder else []

    @contextlib.contextmanager
    def at(self, cause: str) -> Iterator[None]:
        """What is done here takes time for this cause of MEASURED."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[cause] += time.monotonic() - began

    def started(self) -> None:
        """The training is begun."""
        self.seconds["start"] = time.monotonic() - self.since

    def write(self) -> None:
        """Writes down what was spent so far; all work until now is in a checkpoint, or will be."""
        if self.folder:
            spent = {cause: round(self.seconds[cause], 3) for cause in MEASURED}
            seconds = round(time.monotonic() - self.since, 3)
            own = {"claim": self.number, "began": self.began, "seconds": seconds, **spent}
            try:
                checked.write(self.folder / FILE, {"sessions": [*self.before, own]})
            except OSError:
                if not isinstance(self.folder, Bucket):
                    raise  # else the next one may get through


def _read(folder: Path) -> list[dict[str, Any]]:
    """The sessions so far; none where nothing tells, as in folders of older versions."""
    try:
        told = checked.read(folder / FILE)
        for one in told["sessions"].items():
            one["claim"].whole(1)
            for name in ("began", "seconds", *MEASURED):
                one[name].number(least=0)
        told.sealed()
        return [one.object() for one in told["sessions"].items()]
    except (FileNotFoundError, Damaged):
        return []


@dataclasses.dataclass(frozen=True)
class Goodput:
    """Seconds by cause (CAUSES), of all sessions of some packs."""

    seconds: Mapping[str, float]

    @property
    def whole(self) -> float:
        return sum(self.seconds.values())

    @property
    def share(self) -> float:
        """Of the time, that in which something was trained that stayed."""
        return self.seconds["train"] / self.whole

    def __str__(self) -> str:
        rest = sorted(CAUSES[1:], key=lambda cause: -self.seconds[cause])
        told = [f"{cause} {self.seconds[cause] / self.whole:.1%}" for cause in rest if self.seconds[cause] > 0]
        return f"goodput {self.share:.1%}" + (f" ({', '.join(told)})" if told else "")


def of(whole: StudyFolder) -> Goodput | None:
    """How the time of a study's packs was spent; None where nothing tells."""
    each = study.of_packs(whole, lambda pack: _of_pack(whole.claims(pack), whole.pack_folder(pack)))
    found = {cause: sum(one.get(cause, 0.0) for one in each) for cause in CAUSES}
    return Goodput(found) if sum(found.values()) else None


def _of_pack(claimed: Path, folder: Path) -> Mapping[str, float]:
    sessions = {one["claim"]: one for one in _read(folder)}
    if not sessions:
        return {}
    return spent(sessions, claims.times(claimed) if len(sessions) > 1 or claims.several(claimed) else [])


def spent(sessions: Mapping[int, Mapping[str, float]], held: Sequence[tuple[int, float, float]]) -> Mapping[str, float]:
    """Seconds by cause of one pack.

    Args:
      sessions: what they wrote down, by the number of their claim.
      held: of all claims in order their number, when they were taken and their last sign of life; one that wrote
        nothing down came to no checkpoint.
    """
    found: dict[str, float] = dict.fromkeys(CAUSES, 0.0)
    for one in sessions.values():
        for cause in MEASURED:
            found[cause] += one[cause]
        found["train"] += max(0.0, one["seconds"] - sum(one[cause] for cause in MEASURED))
    last = max(sessions)
    for (number, taken, alive), (_, again, _) in itertools.pairwise(held):
        if number >= last:
            break
        told = sessions.get(number)
        saved = told["began"] + told["seconds"] if told else taken
        found["lost"] += max(0.0, alive - saved)
        found["idle"] += max(0.0, again - max(alive, saved))
    return found
