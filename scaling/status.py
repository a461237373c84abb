"""How far a study is, from its folder alone: runs and packs, who trains what, and when it will be done."""

import collections
import dataclasses
from collections.abc import Sequence

from scaling import calibration, claims, folders, study
from scaling.study import Pack, PlannedRun, StudyFolder

UNSURE = 30.0  # seconds of work by which the prediction is trusted as much as what finished packs took
STATES = ("done", "diverged", "running", "saved", "waiting", "failed", "quarantined", "damaged")


@dataclasses.dataclass(frozen=True)
class RunStatus:
    """A run, at a glance."""

    run: PlannedRun
    state: str  # of STATES
    steps: int  # done, or saved
    loss: float | None  # last held-out loss, nats per token
    pack: str


@dataclasses.dataclass(frozen=True)
class PackStatus:
    """A pack, at a glance."""

    pack: Pack
    state: str  # of STATES; done also where some of its runs diverged
    steps: int  # done where it runs, else saved
    seconds: float  # that it took, or that are left
    holder: claims.Holder | None
    error: str


@dataclasses.dataclass(frozen=True)
class Status:
    """A study, at a glance."""

    runs: tuple[RunStatus, ...]
    packs: tuple[PackStatus, ...]
    left: float  # seconds, until all that is open is done by the workers that are at it now, or by as many as planned

    @property
    def counts(self) -> dict[str, int]:
        """Runs by state."""
        found = collections.Counter(run.state for run in self.runs)
        return {state: found[state] for state in STATES if found[state]}

    @property
    def share(self) -> float:
        """Of all updates, those done."""
        steps = sum(each.pack.steps * len(each.pack.runs) for each in self.packs)
        return sum(each.steps * len(each.pack.runs) for each in self.packs) / max(1, steps)


def of(whole: StudyFolder) -> Status:
    """The state of every pack and run; reads a few small files per pack."""
    costs = calibration.kept(whole.layout.device, whole.layout.devices)
    with study.at_a_glance(whole):
        return _now(whole, costs)


def _now(whole: StudyFolder, costs: calibration.Costs) -> Status:
    packs = tuple(study.of_packs(whole, lambda pack: _pack(whole, pack, costs)))
    rows: dict[str, RunStatus] = {}
    for each in packs:
        done = whole.done(each.pack) if each.state == "done" else None
        for r, run in enumerate(each.pack.runs):
            if done:
                steps = done["steps"][r] if isinstance(done["steps"], list) else done["steps"]
                rows[run.id] = RunStatus(run, done["status"][r], steps, done["loss"][r], each.pack.id)
            elif run.id not in rows or rows[run.id].state not in ("done", "diverged"):
                rows[run.id] = RunStatus(run, each.state, min(each.steps, run.config.steps), None, each.pack.id)
    return Status(tuple(rows[id] for id in whole.runs), packs, _left(whole, packs, costs))


def _pack(whole: StudyFolder, pack: Pack, costs: calibration.Costs) -> PackStatus:
    done = whole.done(pack)
    if done:
        return PackStatus(pack, "done", pack.steps, done["seconds"], None, "")
    folder, holder = whole.pack_folder(pack), claims.holder(whole.claims(pack))
    steps, failed = max(folders.saved_steps(folder), default=0), whole.failed(pack)
    state = "saved" if steps else "waiting"
    if failed["attempts"]:
        state = "quarantined" if whole.quarantined(pack) else "failed"
    if holder and not holder.open():
        state, steps = "running", max(steps, holder.done)
    else:
        holder = None
    damage = whole.damage(pack)
    if damage and state == "waiting":
        state = "damaged"
    steps = min(steps, pack.steps)
    left = costs.pack(pack.configs) * (1 - steps / pack.steps)
    return PackStatus(pack, state, steps, left, holder, failed["error"] or damage)


def _left(whole: StudyFolder, packs: Sequence[PackStatus], costs: calibration.Costs) -> float:
    """Predicted seconds, corrected by how long the finished packs took against what was predicted of them.

    A few small packs correct little: nearly all of their time goes into compiling.
    """
    unfinished = [each for each in packs if each.state not in ("done", "quarantined")]
    if not unfinished:
        return 0.0
    done = [each for each in packs if each.state == "done"]
    predicted = sum(costs.pack(each.pack.configs) for each in done)
    ratio = (sum(each.seconds for each in done) + UNSURE) / (predicted + UNSURE)
    workers = sum(each.state == "running" for each in packs) or whole.layout.workers
    waiting = [each.pack.configs for each in unfinished if each.state != "running"]
    running = [each.seconds for each in unfinished if each.state == "running"]
    alone = costs.makespan(waiting, workers) - costs.start if waiting else 0.0
    return ratio * max(alone + sum(running) / workers, *running, 0.0)
