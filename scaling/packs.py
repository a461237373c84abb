"""What a pack does, from its configs alone and before its first step: which run is in which lane when.

The runs of a pack are trained in lanes of one vmapped program. They may differ in length, so the program has fewer
lanes as runs end, and runs that agree up to their cooldowns are one lane until the first of them cools down. Nothing
here looks at a loss: the layout, and with it every bit of the result, is the same however often a pack is interrupted.
"""

import dataclasses
import itertools
from collections.abc import Hashable, Sequence

from scaling.config import COOLED, OptimConfig, RunConfig


@dataclasses.dataclass(frozen=True)
class Lane:
    """One of the trainings that a program does side by side."""

    runs: tuple[int, ...]  # whose training it is, the longest first; () for a lane that only fills the program up
    like: int  # the run whose seed, examples and rates it has
    parent: int  # the lane of the segment before, from which its state comes; in the first segment its own number


@dataclasses.dataclass(frozen=True)
class Segment:
    """Updates begin + 1, ..., end of a pack, done with the same lanes."""

    begin: int
    end: int
    lanes: tuple[Lane, ...]


def trunk(run: RunConfig) -> Hashable | None:
    """What runs that can share their updates before the cooldown have in common; None: this one shares none.

    Runs of a schedule with a cooldown that agree in all but their tokens and the cooldown do, if the updates of the
    warm-up and the tokens from which they draw examples are the same, as absolute `optim.warmup_tokens` and
    `unique_tokens` make them.
    """
    if run.optim.schedule not in COOLED:
        return None
    optim = dataclasses.replace(run.optim, warmup=0.0, warmup_tokens=None, schedule="wsd", decay=OptimConfig.decay)
    return run.warmup_steps, dataclasses.replace(run, tokens=run.batch_tokens, unique_tokens=run.pool, optim=optim)


def segments(runs: Sequence[RunConfig]) -> tuple[Segment, ...]:
    """The segments of a pack, in order, from its first update to its last.

    A segment has as many lanes as trainings that go on, rounded up to a power of two where that is not more than the
    pack ever needs: so a pack of 2^k runs needs at most k + 1 compiled programs, and one of equal runs needs one.
    """
    steps = [run.steps for run in runs]
    trunks = [trunk(run) for run in runs]
    holds = [run.steps - run.decay_steps if shared else 0 for run, shared in zip(runs, trunks, strict=True)]

    def trainings_after(begin: int) -> list[tuple[int, ...]]:
        """The runs that are trained after update `begin`, those on one trunk together, the longest of them first."""
        together: dict[Hashable, list[int]] = {}
        for r in range(len(runs)):
            if steps[r] > begin:
                together.setdefault(trunks[r] if holds[r] > begin else r, []).append(r)
        return [tuple(sorted(members, key=lambda r: -steps[r])) for members in together.values()]

    marks = sorted({0, *steps, *holds})
    spans = [(begin, end, trainings_after(begin)) for begin, end in itertools.pairwise(marks)]
    most = max(len(trainings) for _, _, trainings in spans)
    found: list[Segment] = []
    for begin, end, trainings in spans:
        if found and [lane.runs for lane in found[-1].lanes if lane.runs] == trainings:
            found[-1] = dataclasses.replace(found[-1], end=end)
            continue
        lanes = [Lane(members, members[0], _parent(found, members, i)) for i, members in enumerate(trainings)]
        idle = lanes_for(len(trainings), most) - len(trainings)
        filling = [Lane((), lanes[0].like, lanes[0].parent)] * idle
        found.append(Segment(begin, end, (*lanes, *filling)))
    return tuple(found)


def lanes_for(n: int, most: int) -> int:
    """The lanes of a program for `n` trainings: a power of two, or `most`."""
    return min(most, 1 << (n - 1).bit_length())


def at(plan: Sequence[Segment], done: int) -> Segment:
    """The segment in whose lanes the state is after `done` updates: a segment's last update is its own."""
    return next(segment for segment in plan if done <= segment.end)


def updates(runs: Sequence[RunConfig], done: int | None = None) -> int:
    """Updates of single lanes that a pack computes, those of idle lanes included: its cost, up to the model's.

    Args:
      done: only the first so many updates of the pack; None: all.
    """
    plan = segments(runs)
    done = plan[-1].end if done is None else done
    return sum(len(segment.lanes) * max(0, min(segment.end, done) - segment.begin) for segment in plan)


def across(runs: Sequence[RunConfig], devices: int) -> int:
    """Over how many of so many devices a pack's lanes are spread: the fewest with which it is as short as can be.

    Its runs divide over them. In segments whose lanes do not, each of them has all lanes (scaling.sharding).
    """
    plan = segments(runs)

    def updates(n: int) -> int:
        return sum((segment.end - segment.begin) * on_each(len(segment.lanes), n) for segment in plan)

    return min((n for n in range(1, min(devices, len(runs)) + 1) if len(runs) % n == 0), key=updates)


def on_each(lanes: int, devices: int) -> int:
    """Lanes that each device trains where they are spread over so many."""
    return lanes // devices if lanes % devices == 0 else lanes


def trained(runs: Sequence[RunConfig], done: int) -> list[float]:
    """Updates computed for each run when the pack has done so many; those of a shared trunk in equal parts."""
    parts = [0.0] * len(runs)
    for segment in segments(runs):
        n = max(0, min(segment.end, done) - segment.begin)
        for lane in segment.lanes:
            for r in lane.runs:
                parts[r] += n / len(lane.runs)
    return parts


def _parent(before: Sequence[Segment], members: tuple[int, ...], lane: int) -> int:
    if not before:
        return lane
    return next(i for i, parent in enumerate(before[-1].lanes) if members[0] in parent.runs)
