"""What to launch where: a checked request, and the words of the command that each task runs."""

import dataclasses
import re
import shlex
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from launch.bucket import in_bucket, part_folder
from scaling import config, folders, mesh_axes, watch
from scaling.chips import Accelerator
from scaling.errors import InputError
from scaling.mesh_axes import AXES

T = TypeVar("T")

TASKS = 1000  # more parts than that no study has runs for, and few schedulers take
NAME = r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?"  # a DNS label, short enough for the suffixes that Kubernetes adds
BUCKET = r"(gs|s3)://[a-z0-9][a-z0-9._-]{1,61}[a-z0-9](/[^/]+)*/?"
IMAGE = r"[a-z0-9][\w.\-/:@]*"
VARIABLE = r"[A-Za-z_][A-Za-z0-9_]{0,199}"
GATHER = 1800  # seconds for the hosts of a cloud's task to come: machines start, and pull the image, each by itself
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclasses.dataclass(frozen=True)
class Request:
    """A study, cut into `tasks` parts that know nothing of one another; each part has `slices` accelerators.

    A part on several hosts is one process per host, joined by jax.distributed.
    """

    config: str  # a Python file, or a dotted name that the machine has installed
    accelerator: Accelerator
    out: str  # folder of the study: an absolute path, or gs://bucket/folder
    tasks: int = 1
    slices: int = 1
    settings: tuple[tuple[str, str], ...] = ()  # of the study, as in --set
    mesh: tuple[tuple[str, int], ...] = ()  # axis and size; none: see `sizes`
    data: str = ""  # the cache folder with prepared tokens; from a bucket it is copied
    image: str = ""
    spot: bool = False
    seconds: int = 0  # time limit; 0: the platform's
    name: str = "study"
    options: tuple[tuple[str, str], ...] = ()  # of the platform
    env: tuple[tuple[str, str], ...] = ()  # variables that the program sees
    tensorboard: bool = False  # curves for it, in the folder tensorboard of the output
    profile: str = ""  # updates FROM:TO, whose profile goes there too
    save_steps: int = 0  # save every so many updates too; 0: by time alone
    direct: bool = False  # whether the program writes to the output's bucket itself, which then is not mounted

    def __post_init__(self):
        if not re.fullmatch(NAME, self.name):
            raise InputError(
                f"name {self.name!r}: wanted a letter, then at most 39 letters, digits and dashes, as in kaplan-size"
            )
        if not 1 <= self.tasks <= TASKS:
            raise InputError(f"{self.tasks} tasks: wanted 1 to {TASKS}")
        if self.slices < 1:
            raise InputError(f"{self.slices} slices: wanted 1 or more")
        if self.slices > 1 and self.accelerator.chip.kind != "tpu":
            raise InputError(
                f"{self.slices} slices of {self.accelerator.name}: only TPUs come in slices; ask for more chips"
            )
        for what, text in (
            ("config", self.config),
            ("output", self.out),
            ("data", self.data),
            *(("setting", f"{key}={value}") for key, value in self.settings),
            *(("variable", f"{key}={value}") for key, value in self.env),
        ):
            if not text.isprintable():
                raise InputError(f"{what} {text!r} holds a line break or another control character; leave it out")
        if self.image and not re.fullmatch(IMAGE, self.image):
            raise InputError(f"image {self.image!r}: wanted a name such as europe-docker.pkg.dev/project/scaling/tpu:1")
        _location("output", self.out, ("gs", "s3") if self.direct else ("gs",))
        _location("data", self.data, ("gs",))
        if self.direct and not re.match("(gs|s3):", self.out):
            raise InputError(f"--direct with output {self.out!r}: wanted gs://bucket/folder or s3://bucket/folder")
        self._check_mesh()
        self._check_env()
        if self.profile:
            watch.span(self.profile)

    def _check_env(self) -> None:
        for key, _ in self.env:
            if not re.fullmatch(VARIABLE, key):
                raise InputError(f"--env {key!r}: wanted a variable's name, letters, digits and _, as in XLA_FLAGS=...")
            if key == "SCALING_CACHE":
                raise InputError("--env SCALING_CACHE: the folder of prepared tokens is --data")
            if key == "LIBTPU_INIT_ARGS" and self.accelerator.chip.kind != "tpu":
                raise InputError(f"--env LIBTPU_INIT_ARGS: {self.accelerator.name} has no libtpu; leave it out")

    @property
    def variables(self) -> dict[str, str]:
        """What the program sees in a pod."""
        return {"PYTHONUNBUFFERED": "1", **dict(self.env)}

    def _check_mesh(self) -> None:
        for axis, size in self.mesh:
            if axis not in AXES:
                raise InputError(f"mesh axis {axis!r}: wanted {', '.join(AXES)}, as in data=4,fsdp=8")
            if size < 1:
                raise InputError(f"mesh {axis}={size}: wanted 1 or more")

    @property
    def hardware(self) -> str:
        """Of one task, as in 2 x v6e:4x4."""
        return f"{self.slices} x {self.accelerator.name}" if self.slices > 1 else self.accelerator.name

    @property
    def chips(self) -> int:
        """Of one task."""
        return self.accelerator.chips * self.slices

    @property
    def devices(self) -> int:
        """Of one task, as JAX counts them."""
        return self.accelerator.devices * self.slices

    @property
    def hosts(self) -> int:
        """Of one task; each is one process."""
        return self.accelerator.hosts * self.slices

    @property
    def islands(self) -> int:
        """What of one task the data-centre network joins: slices, as JAX counts them, or hosts with GPUs."""
        return self.hosts if self.accelerator.chip.kind == "gpu" else self.slices

    @property
    def sizes(self) -> dict[str, int]:
        """The mesh that a task will use; empty where its lanes are spread over the devices of one host."""
        if self.mesh or self.hosts == 1:
            return dict(self.mesh)
        return mesh_axes.usual(self.devices, self.islands)

    @property
    def parts(self) -> range:
        return range(1, self.tasks + 1)

    def part_name(self, part: int) -> str:
        return self.name if self.tasks == 1 else f"{self.name}-{part:0{len(str(self.tasks))}}"

    @property
    def config_file(self) -> Path | None:
        """The config, where it is a file of the person's and not a module that comes with the program."""
        return Path(self.config).absolute() if self.config.endswith(".py") else None

    @property
    def config_text(self) -> str:
        """What the config file says now: it travels with the job, so that what runs is what was checked."""
        assert self.config_file is not None
        return folders.read_text(self.config_file, "a config in Python")


def _location(what: str, text: str, schemes: Sequence[str]) -> None:
    if not text:
        if what == "output":
            raise InputError("output is empty: wanted a folder, or gs://bucket/folder")
        return
    scheme = re.match(r"([a-zA-Z][a-zA-Z0-9+.-]*):", text)
    if scheme and scheme[1] not in schemes:
        way = "; s3:// is written to with --direct" if scheme[1] == "s3" and what == "output" else ""
        raise InputError(f"{what} {text!r}: wanted a folder, or gs://bucket/folder{way}")
    if scheme and not re.fullmatch(BUCKET, text):
        raise InputError(f"{what} {text!r}: wanted a bucket and a folder in it, as in gs://my-bucket/kaplan")
    if scheme and {".", ".."} & set(text.split("/")):
        raise InputError(f"{what} {text!r}: a bucket has no . or .. in its folders; write the folder itself")
    if not scheme and not text.startswith("/"):
        raise InputError(f"{what} {text!r}: wanted an absolute path, or gs://bucket/folder")


def parse_mesh(text: str) -> tuple[tuple[str, int], ...]:
    """data=4,fsdp=8 as pairs; none where nothing is typed."""
    return tuple(mesh_axes.parse(text).items()) if text else ()


def parse_time(text: str) -> int:
    """Seconds in 90m, 12h or 2d."""
    found = re.fullmatch(r"(\d{1,6}(?:\.\d{1,3})?)([smhd])", text)
    seconds = round(float(found[1]) * UNITS[found[2]]) if found else 0
    if seconds < 1:
        raise InputError(f"time {text!r}: wanted a number and a unit, as in 90m, 12h or 2d")
    return seconds


def options(kind: type[T], request: Request, target: str) -> T:
    """The platform's own options (`--with KEY=VALUE`) as `kind` has them.

    Raises:
      InputError: a key that the platform does not have, a value of another type, one with control characters.
    """
    hints = typing.get_type_hints(kind)
    values: dict[str, Any] = {}
    for key, text in request.options:
        if key not in hints:
            raise InputError(f"{target} knows no option {key!r}; it has {', '.join(hints)}")
        if not text.isprintable():
            raise InputError(f"{target}'s option {key}={text!r} holds a control character; leave it out")
        values[key] = config.parse(key, text, hints[key])
    return kind(**values)


def words(chosen: Any) -> None:
    """Raises InputError where a text among a platform's own options is not one plain word."""
    for field in dataclasses.fields(chosen):
        if isinstance(value := getattr(chosen, field.name), str):
            word(field.name, value)


def word(key: str, value: str, pattern: str = r"[\w][\w.:/@,=+\-]*") -> None:
    """Raises InputError where an option is not one plain word, as names on a platform are."""
    if value and not re.fullmatch(pattern, value):
        raise InputError(f"{key}={value!r}: wanted one plain word, without spaces or quotes")


class Shell(str):
    """Text that the shell is to expand as it stands, among words that it must not touch."""


def quoted(words: Sequence[str]) -> str:
    """The words as one line of shell; all but `Shell` come out of it unchanged."""
    return " ".join(each if isinstance(each, Shell) else shlex.quote(each) for each in words)


def exports(request: Request, cache: str = "") -> list[str]:
    """Lines of shell that set the variables of a program on this machine."""
    found = dict(request.env)
    if cache:
        found["SCALING_CACHE"] = cache
    return [f"export {quoted([f'{key}={value}'])}" for key, value in found.items()]


def study_words(
    request: Request, program: str, config: str, part: str, processes: Mapping[str, str] | None = None
) -> list[str]:
    """The command of one task.

    Args:
      program: `scaling`, or its path.
      config: where the config lies on the machine that runs it.
      part: which part of the study, counted from 1; may be `Shell` where the output is no bucket.
      processes: `--distributed` and the options that go with it, where the task has several hosts, by option.
    """
    mounted = in_bucket(request.out) and not request.direct
    out = part_folder(request.out, part, request.tasks) if mounted else request.out
    words = [program, "study", "run", config, f"--out={out}"]
    if request.tasks > 1:
        words += ["--shard", type(part)(f"{part}/{request.tasks}")]
    if request.mesh:
        words += ["--mesh", ",".join(f"{axis}={size}" for axis, size in request.mesh)]
    if request.tensorboard or request.profile:
        words.append(f"--tensorboard={out}/tensorboard")
    if request.profile:
        words += ["--profile", request.profile]
    if request.save_steps:
        words += ["--save-steps", str(request.save_steps)]
    for option, value in (processes or {}).items():
        words += [option, value]
    if request.settings:
        words += ["--set", *(f"{key}={value}" for key, value in request.settings)]
    return words
