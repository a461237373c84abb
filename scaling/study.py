"""A study on disk: expand its config, pack its runs, train them on workers, resume, tell how far it is.

    DIR/study.json              the study, its layout, its packs and their runs, written before the first step
    DIR/packs/ID/checkpoints    what the pack leaves behind (scaling.record)
    DIR/packs/ID/done.json      written after the last checkpoint: what `status` shows
    DIR/lock                    held by the process that runs the study

Nothing here imports JAX: the workers do.
"""

import contextlib
import dataclasses
import fcntl
import hashlib
import importlib
import importlib.util
import inspect
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from scaling import config, counts, folders
from scaling.config import DataConfig, RunConfig, Study
from scaling.data import batches, tokens
from scaling.errors import InputError

FORMAT = 1
ACCELERATED_PACK = 16  # runs trained as one program where small models leave the device idle


@dataclasses.dataclass(frozen=True)
class PlannedRun:
    """A run of a study with its identity and what its tokens are."""

    id: str
    config: RunConfig
    tokens_id: str
    bytes_per_token: float  # of the held-out windows
    entropy_rate: float | None  # nats per byte, where the source knows it


@dataclasses.dataclass(frozen=True)
class Pack:
    """Runs that are trained as one program."""

    id: str
    runs: tuple[PlannedRun, ...]

    @property
    def cost(self) -> float:
        """Relative time to train it: matrix products, and a part that small models pay for each token all the same."""
        return sum(
            run.config.tokens * (counts.flops_per_token(run.config.model)["flops_total"] + 1e5) for run in self.runs
        )

    @property
    def steps(self) -> int:
        return self.runs[0].config.steps


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a study is spread over this machine."""

    device: str  # cpu | gpu | tpu
    runs_per_pack: int
    workers: int


@dataclasses.dataclass(frozen=True)
class StudyFolder:
    """What study.json says."""

    path: Path
    name: str
    question: str
    layout: Layout
    tokens: dict[str, str]  # id -> folder of packed tokens
    runs: tuple[str, ...]  # ids that the study consists of now, in its order
    all_packs: tuple[Pack, ...]  # with those of an earlier form of the study: kept, not shown

    @property
    def packs(self) -> list[Pack]:
        """The packs that hold runs of the study as it is now."""
        wanted = set(self.runs)
        return [pack for pack in self.all_packs if any(run.id in wanted for run in pack.runs)]

    def pack_folder(self, pack: Pack) -> Path:
        return self.path / "packs" / pack.id

    def done(self, pack: Pack) -> dict[str, Any] | None:
        """What the finished pack left in done.json; None without it, or damaged: a worker then writes it again."""
        try:
            return json.loads((self.pack_folder(pack) / "done.json").read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return None

    def share_done(self, pack: Pack) -> float:
        """Of the pack's updates, those done or saved."""
        if self.done(pack):
            return 1.0
        return max(folders.saved_steps(self.pack_folder(pack)), default=0) / pack.steps

    @property
    def open_packs(self) -> list[Pack]:
        """Packs with updates left, the costliest first."""
        return sorted((pack for pack in self.packs if self.done(pack) is None), key=lambda pack: -pack.cost)


def load(name: str, settings: Mapping[str, str]) -> Study:
    """The study that a config file makes, with settings applied.

    Args:
      name: a path to a Python file or a dotted module name; either has a function `study`. The file is a program: run
        only those you trust.
      settings: keys are parameters of that function, or dotted fields of RunConfig, set on every run.
    """
    make: Any = getattr(_module(name), "study", None)
    if not callable(make):
        raise InputError(f"{name} has no function named study; see configs/quickstart.py for one")
    hints = inspect.get_annotations(make, eval_str=True)
    signature = inspect.signature(make).parameters
    parameters = {key: hints.get(key, str) for key in signature}
    known = parameters | config.keys()
    for key in settings:
        config.known_key(key, known)
    for key, parameter in signature.items():
        if parameter.default is parameter.empty and key not in settings:
            raise InputError(f"study() in {name} has no default for {key}; give one with --set {key}=VALUE")
    study: Any = make(
        **{key: config.parse(key, text, known[key]) for key, text in settings.items() if key in parameters}
    )
    if not isinstance(study, Study):
        raise InputError(f"study() in {name} returned {type(study).__name__}; wanted a scaling.config.Study")
    on_runs = {key: text for key, text in settings.items() if key not in parameters}
    return dataclasses.replace(study, runs=tuple(config.override(run, on_runs) for run in study.runs))


def _module(name: str) -> Any:
    path = Path(name)
    if path.suffix == ".py":
        if not path.exists():
            raise InputError(f"no config file {name}; the ready-made ones are in configs/")
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except ImportError as error:
            raise InputError(f"{name} imports what is not there: {error}") from None
        except SyntaxError as error:
            where = f", line {error.lineno}" if error.lineno else ""
            raise InputError(f"{name} is not a Python file: {error.msg}{where}") from None
        return module
    if not all(part.isidentifier() for part in name.split(".")):
        raise InputError(f"no config {name!r}; give a path such as configs/quickstart.py or a dotted name")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        raise InputError(f"no config {name!r}; give a path such as configs/quickstart.py or a dotted name") from None


def prepare(study: Study, folder: Path, *, pack: int = 0, workers: int = 0, say: Callable[[str], None]) -> StudyFolder:
    """Makes the tokens, the packs and study.json, or finds them as they are; trains nothing.

    Args:
      pack: runs per pack; 0: what suits the device (and, for a study already there, what it was made with).
      workers: processes; 0: one per core on a CPU, one on an accelerator.
    """
    found = read(folder) if (folder / "study.json").exists() else None
    layout = _layout(pack, workers, found.layout if found else None)
    ready = {
        data: _tokens(data, study.runs, say) for data in dict.fromkeys((r.data, r.model.n_vocab) for r in study.runs)
    }
    planned: dict[str, PlannedRun] = {}
    for run in study.runs:
        stream = ready[run.data, run.model.n_vocab]
        id = config.identity(run, stream.id)
        planned[id] = PlannedRun(id, run, stream.id, _bytes_per_token(stream, run), stream.manifest.get("entropy_rate"))
    if len(planned) < len(study.runs):
        say(f"{len(study.runs) - len(planned)} of {len(study.runs)} runs are equal to others, and trained once")
    known = found.all_packs if found else ()
    begun = {run.id for pack in known for run in pack.runs}  # a run stays in the pack in which it was begun
    result = StudyFolder(
        path=folder,
        name=study.name,
        question=study.question,
        layout=layout,
        tokens={stream.id: str(stream.folder) for stream in ready.values()},
        runs=tuple(planned),
        all_packs=(*known, *_packs([run for run in planned.values() if run.id not in begun], layout.runs_per_pack)),
    )
    if result != found:
        _write(result)
    return result


def _tokens(data: tuple[DataConfig, int], runs: Sequence[RunConfig], say: Callable[[str], None]) -> tokens.TokenSet:
    source, n_vocab = data
    users = [run for run in runs if (run.data, run.model.n_vocab) == data]
    return tokens.prepare(
        source.source,
        source.tokenizer,
        n_vocab,
        train_tokens=max(run.U for run in users),
        validation_tokens=max(run.model.n_ctx * run.eval.windows for run in users),
        validation_source=source.validation,
        cache=folders.cache(),
        say=say,
    )


def _bytes_per_token(stream: tokens.TokenSet, run: RunConfig) -> float:
    windows = batches.validation_windows(stream.validation, run.model.n_ctx, run.eval.windows)
    return stream.bytes_of(windows[:, 1:]) / windows[:, 1:].size


def _layout(pack: int, workers: int, before: Layout | None) -> Layout:
    if before and not pack and not workers:
        return before
    for option, value in (("--pack", pack), ("--workers", workers)):
        if value < 0:
            raise InputError(f"{option} {value} is negative; use 0 for what suits this machine")
    device = before.device if before else _device()
    available = len(cores())
    if workers > available and device == "cpu":
        raise InputError(f"--workers {workers}, but this machine has {available} cores; use at most {available}")
    return Layout(
        device=device,
        runs_per_pack=pack or (before.runs_per_pack if before else 1 if device == "cpu" else ACCELERATED_PACK),
        workers=workers or (before.workers if before else available if device == "cpu" else 1),
    )


def cores() -> list[int]:
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def _device() -> str:
    """The kind of device that JAX will find, without the second that importing it takes."""
    if os.environ.get("JAX_PLATFORMS"):
        first = os.environ["JAX_PLATFORMS"].split(",")[0]
        return "gpu" if first == "cuda" else first
    if importlib.util.find_spec("libtpu") and any((*Path("/dev").glob("accel*"), *Path("/dev/vfio").glob("[0-9]*"))):
        return "tpu"
    if Path("/dev/nvidia0").exists() and any(importlib.util.find_spec(f"jax_cuda{n}_plugin") for n in (12, 13)):
        return "gpu"
    return "cpu"


def _packs(runs: Sequence[PlannedRun], size: int) -> list[Pack]:
    """Runs of one program, length and data together, `size` at a time, in the order given."""
    groups: dict[Any, list[PlannedRun]] = {}
    for run in runs:
        groups.setdefault((config.program(run.config), run.config.eval_steps, run.tokens_id), []).append(run)
    chunks = [group[i : i + size] for group in groups.values() for i in range(0, len(group), size)]
    return [
        Pack(hashlib.sha256(" ".join(r.id for r in chunk).encode()).hexdigest()[:12], tuple(chunk)) for chunk in chunks
    ]


def read(folder: Path) -> StudyFolder:
    """The study in `folder`, as study.json has it."""
    path = folder / "study.json"
    if not path.exists():
        raise InputError(
            f"{folder} is not a study: it has no study.json; make one with scaling study run CONFIG --out {folder}"
        )
    try:
        values = json.loads(path.read_bytes())
        found = values["format"]
        if found == FORMAT:
            return _from_json(folder, values)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} is damaged ({type(error).__name__}: {error}); use a new --out folder or put back a copy"
        ) from None
    raise InputError(f"{path} has format {found}, this version reads {FORMAT}; use a new --out folder")


def _from_json(folder: Path, values: dict[str, Any]) -> StudyFolder:
    packs = tuple(
        Pack(
            pack["id"],
            tuple(PlannedRun(**run | {"config": config.from_dict(RunConfig, run["config"])}) for run in pack["runs"]),
        )
        for pack in values["packs"]
    )
    return StudyFolder(
        path=folder,
        name=values["name"],
        question=values["question"],
        layout=Layout(**values["layout"]),
        tokens=values["tokens"],
        runs=tuple(values["runs"]),
        all_packs=packs,
    )


def _write(study: StudyFolder) -> None:
    folders.write_json(
        study.path / "study.json",
        {
            "format": FORMAT,
            "name": study.name,
            "question": study.question,
            "layout": dataclasses.asdict(study.layout),
            "tokens": study.tokens,
            "runs": study.runs,
            "packs": [dataclasses.asdict(pack) for pack in study.all_packs],
        },
    )


def status(study: StudyFolder) -> list[tuple[PlannedRun, str, int, float | None]]:
    """(run, state, updates saved, last held-out loss) of each run: done, diverged, begun, waiting or failed."""
    rows = {}
    for pack in study.packs:
        done = study.done(pack)
        saved = folders.saved_steps(study.pack_folder(pack))
        failed = (study.pack_folder(pack) / "error.txt").exists()
        for r, run in enumerate(pack.runs):
            if done:
                rows[run.id] = (run, done["status"][r], done["steps"], done["loss"][r])
            else:
                rows[run.id] = (
                    run,
                    "failed" if failed else "begun" if saved else "waiting",
                    max(saved, default=0),
                    None,
                )
    return [rows[id] for id in study.runs]


@contextlib.contextmanager
def lock(folder: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Held while a process runs the study; a second one says so and waits. Ends with its process, however that ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            owner = file.read().strip() or "?"
            say(f"{folder} is being run by process {owner}; waiting for it to end (Ctrl-C leaves it alone)")
            fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
