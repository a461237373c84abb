"""What runs cost: seconds and bytes, by measurements kept for this machine, and by rule where there are none.

A pack costs its updates, its evaluations and a moment of its own; a worker costs its start, and each program that it
meets the tracing and loading of what was compiled, or compiling. `scaling study show --calibrate` measures the programs
of a study (scaling.timing) and keeps what it finds in the cache folder, where every later study looks.
"""

import contextlib
import dataclasses
import functools
import hashlib
import heapq
import json
import math
import os
import queue
import shutil
import subprocess
import threading
import time
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from scaling import chips, config, counts, extensions, folders, kinds, layout, machine, optimizers, own_code, packs
from scaling.buckets import Bucket
from scaling.config import RunConfig
from scaling.errors import InputError

# One core of an AMD EPYC of 2023, or a large accelerator: what `Costs` says of programs until they are measured.
SPEED = {"cpu": 30e9}  # FLOP/s of matrix products, the rest of a model counted as OVERHEAD
ACCELERATED = 20e12
OVERHEAD = 1e5  # FLOP per token
DISPATCH = {"cpu": 1e-4}  # seconds of an update beside its products
ACCELERATED_DISPATCH = 2e-4  # and per layer
ACCELERATED_POSITION = 4e-5  # per position and layer of a recurrent model, there and back: a guess
START = 3.0  # seconds of a worker before its first pack
BASE = 0.6e9  # bytes of a process that holds JAX
SAVING = 0.1  # seconds of a checkpoint
SAVED = 20.0  # seconds between them
KEPT = 2  # checkpoints on the disk
HELD = 3  # arrays of a model's size in an update, beside what the optimiser keeps: weights, gradient, update
BYTES = {"bfloat16": 2.0, "float16": 2.0}  # of a number that the forward pass keeps; else 4
LOGITS = 2**26  # that the loss holds at a time (scaling.models.loss)
TAKEN = {"gpu": 0.75}  # share of the memory that JAX takes, and all that it then has
SURE = 2.0  # times the device's memory: above it the rule refuses a pack, below it only a measurement does
LARGEST = 0.3  # seconds of an update above which a program is not measured: large products follow the rule
MEASURED = 6  # programs measured in one go, spread over the sizes
ALONE: Mapping[str, int] = types.MappingProxyType({})  # the mesh of one device
LANES = (4, 16, 64)  # tried on accelerators; on a CPU eight lanes of N = 1,536 take longer than eight runs


@dataclasses.dataclass(frozen=True)
class Timing:
    """What one program costs with so many lanes."""

    update: float  # seconds of one update of all lanes
    evaluation: float  # seconds
    begin: float  # seconds that a pack takes beside updates and evaluations: first arrays, last checkpoint
    compile: float  # seconds, where nothing is cached
    load: float  # seconds, of a program compiled before on this machine
    memory: float  # bytes: of the process, or of the accelerator

    def __mul__(self, ratio: "Timing") -> "Timing":
        return Timing(*(a * b for a, b in zip(dataclasses.astuple(self), dataclasses.astuple(ratio), strict=True)))

    def __truediv__(self, by: "Timing") -> "Timing":
        pairs = zip(dataclasses.astuple(self), dataclasses.astuple(by), strict=True)
        return Timing(*(max(a, 1e-9) / max(b, 1e-9) for a, b in pairs))


def predicted(run: RunConfig, lanes: int, device: str) -> Timing:
    """By rule, from the model's shape alone."""
    model, wanted, kind = run.model, run.eval, kinds.of(run.model)
    depth = kind.depth(model)
    flops = counts.flops_per_token(model)["flops_total"]
    speed = SPEED.get(device, ACCELERATED)
    accelerated = ACCELERATED_DISPATCH * (1 + depth)
    if kind.recurrent:
        accelerated += ACCELERATED_POSITION * depth * model.n_ctx
    dispatch = DISPATCH.get(device, accelerated)
    update = lanes * run.batch_tokens * (flops + OVERHEAD) / speed + dispatch
    windows = wanted.windows * (1 + len(wanted.transfer) + (wanted.by_frequency > 0)) + wanted.train_windows
    windows += wanted.answers * len(wanted.tasks)
    windows += wanted.scores * len(wanted.scored) / len(run.eval_steps)  # at the end alone
    forward = lanes * windows * model.n_ctx * (flops + OVERHEAD) / 3 / speed
    return Timing(
        update=update,
        evaluation=forward + wanted.noise * 2 * update,
        begin=0.3,
        compile=6.0 + 1.0 * depth,
        load=1.2 + 0.2 * depth,
        memory=BASE + held(run, lanes, {}),
    )


def held(run: RunConfig, lanes: int, sizes: Mapping[str, int]) -> float:
    """Bytes of the arrays of a pack on each device of a mesh, by rule.

    What is of a model's size is cut by fsdp and tensor, and idle experts by expert; what the forward pass keeps by
    data, fsdp and expert, and its wide parts by tensor; lanes by run. Of the programs in results/compile.md this is 0.7
    to 0.9 times what they need.

    Args:
      sizes: of the mesh; empty for one device.
    """
    model, kind = run.model, kinds.of(run.model)
    across, fsdp, expert, tensor = (sizes.get(name, 1) for name in ("run", "fsdp", "expert", "tensor"))
    layer, products = kind.kept(model, tensor)
    kept = {"none": layer, "matmuls": products}.get(run.remat, model.d_model)  # offloaded products lie with the host
    activations = kind.depth(model) * kept + (layer if run.remat != "none" else 0)
    tokens = run.batch_tokens / run.accumulate / (sizes.get("data", 1) * fsdp * expert)
    count, idle = counts.params(model), kind.idle(model)
    total = count["params_total"]
    weights = (HELD + (run.accumulate > 1)) * total  # gradients are summed up
    weights += optimizers.of(run.optim.optimizer).kept(count["params_experts"], total)
    weights *= 1 - idle / total * (1 - 1 / expert)  # those of which each device has some experts
    logits = min(tokens * model.n_vocab / tensor, LOGITS)
    each = 4 * weights / (fsdp * tensor)
    each += BYTES.get(run.dtype, 4.0) * tokens * activations + 4 * 3 * logits
    return each * (lanes / across if lanes % across == 0 else lanes)


@dataclasses.dataclass(frozen=True, eq=False)
class Costs:
    """What is known of a machine."""

    device: str
    start: float = START  # seconds of a worker before its first pack
    measured: Mapping[str, tuple[RunConfig, int, Timing]] = dataclasses.field(default_factory=dict)
    told: float | None = None  # bytes that the accelerator has for arrays, as JAX says; None: it was not asked
    devices: int = 1  # over which the lanes of a pack are spread

    @functools.cached_property
    def room(self) -> float:
        """Bytes that this machine has for a pack's arrays: of the accelerator, or of the machine; inf if unknown."""
        if self.device == "cpu":
            return _memory()
        return self.told or TAKEN.get(self.device, 1.0) * chips.memory(self.device)

    def knows(self, run: RunConfig, lanes: int = 1) -> bool:
        return key(config.program(run), lanes) in self.measured

    def timing(self, run: RunConfig, lanes: int) -> Timing:
        """As measured; else by rule, corrected as the measured programs that are nearest in size want it."""
        return self._timing(config.program(run), lanes)

    @functools.lru_cache(maxsize=4096)  # noqa: B019
    # A process has few of these, and to its end.
    def _timing(self, program: RunConfig, lanes: int) -> Timing:
        if exact := self.measured.get(key(program, lanes)):
            return exact[2]
        rule = predicted(program, lanes, self.device)
        near = []
        for other, n, found in self.measured.values():
            theirs = predicted(other, n, self.device)
            away = abs(math.log(rule.update / theirs.update)) + abs(math.log(n / lanes))
            near.append((away, dataclasses.astuple(found / theirs)))
        near = sorted(near)[:2]
        if not near:
            return rule
        weights = [1 / (away + 0.1) for away, _ in near]
        logs = [
            sum(w * math.log(ratio[i]) for w, (_, ratio) in zip(weights, near, strict=True)) / sum(weights)
            for i in range(len(near[0][1]))
        ]
        return rule * Timing(*map(math.exp, logs))

    def pack(self, runs: Sequence[RunConfig]) -> float:
        """Seconds of a pack in a worker that has its program."""
        if len(runs) == 1:  # most are, on a CPU
            return self._alone(runs[0])
        plan, devices, busy = packs.segments(runs), packs.across(runs, self.devices), 0.0
        for segment in plan:
            lanes = packs.on_each(len(segment.lanes), devices)
            busy += (segment.end - segment.begin) * self.timing(runs[0], lanes).update
        measured = sorted({at for run in runs for at in run.eval_steps})
        timing = self.timing(runs[0], packs.on_each(len(plan[0].lanes), devices))
        busy += timing.begin + len(measured) * timing.evaluation
        return busy + busy / SAVED * SAVING

    def _alone(self, run: RunConfig) -> float:
        timing = self.timing(run, 1)
        busy = timing.begin + run.steps * timing.update + len(run.eval_steps) * timing.evaluation
        return busy + busy / SAVED * SAVING

    def lanes(self, run: RunConfig) -> int:
        """How many runs of its program side by side are trained fastest, of those that the devices' memory holds."""
        return self.devices * self._lanes(run)

    def _lanes(self, run: RunConfig) -> int:
        """On one device."""
        program = config.program(run)
        tried = {n: found.update / n for other, n, found in self.measured.values() if other == program}
        if len(tried) < 2:
            if self.device == "cpu":
                return 1
            lanes = layout.ACCELERATED_PACK
            while lanes > 1 and self.timing(program, lanes).memory > self.room:
                lanes //= 2
            return lanes
        return min((n for n in tried if tried[n] <= 1.1 * min(tried.values())), default=1)

    def makespan(self, work: Sequence[Sequence[RunConfig]], workers: int) -> float:
        """Seconds until the last pack is done: the costliest first, each to the worker that is free first.

        Like `workers.Crew` does it, a worker rather takes a pack whose program no other has.
        """
        order = sorted(work, key=lambda runs: -self.pack(runs))
        forms = {id(runs): _forms(runs) for runs in order}
        free = [(self.start, worker) for worker in range(max(1, min(workers, len(work))))]
        has: list[set[tuple[RunConfig, int]]] = [set() for _ in free]
        compiled: dict[tuple[RunConfig, int], float] = {}
        while order:
            at, worker = heapq.heappop(free)
            others = set().union(*(has[other] for other in range(len(has)) if other != worker)) - has[worker]
            runs = order.pop(next((i for i, runs in enumerate(order) if not forms[id(runs)] & others), 0))
            for form in forms[id(runs)] - has[worker]:
                has[worker].add(form)
                timing = self.timing(*form)
                cached = self.knows(*form) or compiled.get(form, math.inf) <= at
                at += timing.load if cached else timing.compile
                compiled.setdefault(form, at)
            heapq.heappush(free, (at + self.pack(runs), worker))
        return max(at for at, _ in free)

    def memory(self, work: Sequence[Sequence[RunConfig]], sizes: Mapping[str, int] = ALONE, devices: int = 1) -> float:
        """Bytes of the largest worker, with so many devices of a mesh of these sizes."""
        return max(self.needs(runs[0], _widest(runs, self.devices), sizes, devices) for runs in work)

    def needs(self, run: RunConfig, lanes: int, sizes: Mapping[str, int], devices: int) -> float:
        """Bytes of a program: as it was measured on one device, cut as the rule is."""
        share = (BASE + devices * held(run, lanes, sizes)) / (BASE + held(run, lanes, {}))
        return self.timing(run, lanes).memory * share


def _widest(runs: Sequence[RunConfig], devices: int) -> int:
    """The most lanes of a pack that a device has, where they are spread over so many."""
    n = packs.across(runs, devices)
    return max(packs.on_each(len(segment.lanes), n) for segment in packs.segments(runs))


def _forms(runs: Sequence[RunConfig]) -> set[tuple[RunConfig, int]]:
    """The program of a pack with each number of lanes that it has in turn: each is compiled by itself."""
    lanes = {1} if len(runs) == 1 else {len(segment.lanes) for segment in packs.segments(runs)}
    return {(config.program(runs[0]), n) for n in lanes}


def seconds(runs: Sequence[RunConfig], workers: int = 2) -> float:
    """How long runs take on so many cores of the machine of the rule, one run a pack: the same everywhere."""
    groups = layout.together(runs, lambda run: run)
    return Costs("cpu").makespan(groups, workers)


def disk(runs: Sequence[RunConfig]) -> float:
    """Bytes that the checkpoints and the history of a pack take on the disk."""
    state = sum(12 * counts.params(run.model)["params_total"] for run in runs)
    rows = sum(8 * run.steps + 4 * len(run.eval_steps) * run.model.n_ctx for run in runs)
    return KEPT * (state + rows + 2**16) + rows


def check(
    work: Sequence[Sequence[RunConfig]],
    spread: layout.Layout,
    costs: Costs,
    folder: Path,
    sizes: Mapping[str, int] = ALONE,
    devices: int = 1,
) -> None:
    """Refuses what cannot fit.

    Args:
      sizes: of the mesh, where devices train a pack together.
      devices: of the mesh that are this machine's.

    Raises:
        InputError: more memory than this machine has, or more disk than is free.
    """
    if spread.device != "cpu":
        _check_device(work, spread, costs, sizes)
    elif (wanted := costs.memory(work, sizes, devices) * spread.workers) > costs.room:
        who, way = f"{spread.workers} workers", "fewer --workers, a smaller --pack or a smaller batch"
        if math.prod(sizes.values()) > 1:
            who, way = f"{devices} devices of --mesh", "fewer, more fsdp in --mesh, or a smaller batch"
        raise InputError(
            f"{who} would need about {wanted / 2**30:,.1f} GiB of memory, this machine has "
            f"{costs.room / 2**30:.1f}; use {way}"
        )
    wanted = sum(map(disk, work))
    if isinstance(folder, Bucket):  # where checkpoints go by way of this machine's disk
        wanted, folder = spread.workers * max(map(disk, work)), folders.cache()
    free = shutil.disk_usage(next(path for path in (folder, *folder.absolute().parents) if path.exists())).free
    if wanted > free:
        raise InputError(
            f"{folder} would need about {wanted / 1e9:.2g} GB of disk, {free / 1e9:.2g} GB are free; "
            "free some, or use another --out folder"
        )


def _check_device(
    work: Sequence[Sequence[RunConfig]], spread: layout.Layout, costs: Costs, sizes: Mapping[str, int]
) -> None:
    """Refuses a pack that an accelerator cannot hold; where only the rule says so, not before it is far too much."""
    for runs in work:
        lanes, mesh = _widest(runs, costs.devices), math.prod(sizes.values()) > 1
        wanted = costs.needs(runs[0], lanes, sizes, 1) * spread.workers
        if wanted > costs.room * (1.0 if costs.knows(runs[0], lanes) and not mesh else SURE):
            smaller = "a smaller --pack, " if lanes > 1 else ""
            raise InputError(
                f"{lanes} run{'s' if lanes > 1 else ''} of N = {runs[0].model.N:,} at a time would need about "
                f"{wanted / 2**30:.1f} GiB of each {spread.device}'s memory, which has {costs.room / 2**30:.1f}; use "
                f"{smaller}a smaller batch, accumulate, remat, or {'more fsdp in --mesh' if mesh else '--mesh'}"
            )


def _memory(cgroup: Path = Path("/proc/self/cgroup"), mounts: Path = Path("/sys/fs/cgroup")) -> float:
    """Bytes that this process may have: of the machine, or what a container or a scheduler's task is given of it."""
    limits = [math.inf]
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        limits.append(float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")))
    with contextlib.suppress(OSError, ValueError):
        for line in cgroup.read_text().splitlines():
            _, controllers, name = line.split(":", 2)
            if controllers not in ("", "memory"):  # those of version 2, where there is but one tree, and of version 1
                continue
            top, file = (mounts / "memory", "memory.limit_in_bytes") if controllers else (mounts, "memory.max")
            below = top / name.lstrip("/")
            for folder in (below, *below.parents):  # a limit above holds for all below
                with contextlib.suppress(OSError, ValueError):  # not there, or "max"
                    limits.append(float(int((folder / file).read_text())))
                if folder == top:
                    break
    return min(limits)


def key(program: RunConfig, lanes: int) -> str:
    return hashlib.sha256(json.dumps([config.to_dict(program), lanes]).encode()).hexdigest()[:16]


def kept(device: str, devices: int = 1) -> Costs:
    """What was measured on this machine with these versions so far, for so many devices."""
    try:
        values = folders.read_json(_path(device), "what was measured")
        found = {
            name: (config.from_dict(RunConfig, one["run"]), one["lanes"], Timing(**one["timing"]))
            for name, one in values["programs"].items()
        }
        found = {
            name: one for name, one in found.items() if all(map(extensions.text_of, config.extended([one[0]])))
        }  # what nobody gave the source of cannot be counted
        return Costs(device, values["start"], found, values["told"], devices)
    except (KeyError, TypeError, ValueError, AttributeError):  # none, damaged, or of another version
        return Costs(device, devices=devices)


def keep(costs: Costs) -> None:
    programs = {
        name: {"run": config.to_dict(run), "lanes": lanes, "timing": dataclasses.asdict(timing)}
        for name, (run, lanes, timing) in costs.measured.items()
    }
    folders.write_json(_path(costs.device), {"start": costs.start, "told": costs.told, "programs": programs})


def _path(device: str) -> Path:
    """Per machine and versions: either changes what a program costs."""
    where = json.dumps([device, machine.describe(), machine.versions()], sort_keys=True)
    return folders.cache() / "calibration" / f"{hashlib.sha256(where.encode()).hexdigest()[:16]}.json"


def calibrate(runs: Sequence[RunConfig], costs: Costs, workers: int, say: Callable[[str], None]) -> Costs:
    """Measures the programs of these runs that are not known yet, at most MEASURED of them, and keeps what it finds."""
    wanted = _wanted(runs, costs)
    if not wanted:
        return costs
    say(f"measuring {len(wanted)} of the study's programs")
    began = time.monotonic()
    tasks: queue.SimpleQueue[tuple[RunConfig, int]] = queue.SimpleQueue()
    for task in wanted:
        tasks.put(task)
    found: dict[str, tuple[RunConfig, int, Timing]] = {}
    starts: list[dict[str, float]] = []
    words = extensions.words(config.extended(run for run, _ in wanted))
    threads = [
        threading.Thread(target=_worker, args=(costs.device, core, words, tasks, found, starts))
        for core in layout.cores()[: min(workers, len(wanted))]
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if not found:
        raise InputError("no program could be measured here; its process says why above")
    start = sum(each["start"] for each in starts) / len(starts)
    told = starts[0]["memory"] or None
    result = dataclasses.replace(costs, start=start, measured={**costs.measured, **found}, told=told)
    keep(result)
    say(f"measured in {time.monotonic() - began:.0f} s, and kept in {_path(costs.device)}")
    return result


def _wanted(runs: Sequence[RunConfig], costs: Costs) -> list[tuple[RunConfig, int]]:
    """Programs with lanes, the cheapest first: evenly spread over those not known, of what fits into some seconds."""
    programs = sorted(dict.fromkeys(map(config.program, runs)), key=lambda program: costs.timing(program, 1).update)
    brief = [program for program in programs if costs.timing(program, 1).update <= LARGEST] or programs[:1]
    unknown = [program for program in brief if not costs.knows(program)]
    n = min(MEASURED, len(unknown))
    spread = [unknown[round(i * (len(unknown) - 1) / max(1, n - 1))] for i in range(n)]
    wanted = [(program, 1) for program in dict.fromkeys(spread)]
    return wanted if costs.device == "cpu" else [*wanted, *((spread[0], lanes) for lanes in LANES if spread)]


def _worker(
    device: str, core: int, words: Sequence[str], tasks: Any, found: dict, starts: list[dict[str, float]]
) -> None:
    """Has one process measure, until there is nothing left."""
    began = time.monotonic()
    command = own_code.command("scaling.timing", device, str(core), *words)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        if not (line := process.stdout.readline()):
            return
        said = json.loads(line)
        starts.append(said if device == "cpu" else said | {"start": time.monotonic() - began})
        while True:
            try:
                program, lanes = tasks.get_nowait()
            except queue.Empty:
                break
            process.stdin.write(json.dumps({"run": config.to_dict(program), "lanes": lanes}) + "\n")
            process.stdin.flush()
            if not (line := process.stdout.readline()):
                return
            found[key(program, lanes)] = (program, lanes, Timing(**json.loads(line)))
        process.stdin.close()
