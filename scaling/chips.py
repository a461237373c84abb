"""Chips and how they come: peak, memory, links, power, hosts, which slices exist, and the one way of naming them.

Peaks are FLOP/s of dense bfloat16 products that are summed in float32, memory is bytes, power is watts at most, each of
one chip and from its maker's data sheet. A TPU v5p-512 has 256 chips: slices of v4, v5p and tpu7x are named by cores,
two to a chip. What JAX calls a device is a chip, but for tpu7x, whose chips are two devices each.

A chip that is not listed, or a board of it that differs, is given by numbers after its name: `mi300x:8,peak=1.3e15`.
"""

import dataclasses
import functools
import math
import os
import re
import subprocess
from typing import Literal

from scaling.errors import InputError

GiB = 2**30


@dataclasses.dataclass(frozen=True)
class Chip:
    """One kind of chip."""

    name: str
    kind: Literal["tpu", "gpu", "cpu"]
    peak: float  # dense bfloat16 FLOP/s; nan where it is anybody's guess
    hbm: float  # bytes; nan likewise
    host: int  # chips on a host: of a slice over several hosts, of a usual server
    cores: int = 1  # per chip, as the names of slices count them
    alone: tuple[int, ...] = ()  # sizes of slices that are one host; none larger than a host that was given
    largest: tuple[int, ...] = ()  # the whole pod; empty: nobody says which slices there are
    power: float = math.nan  # watts, of a chip or its card; nan where the maker prints none
    devices: int = 1  # per chip, as JAX sees them
    links: float = math.nan  # bytes/s that it sends over all its links to neighbours at once, one way
    network: float = math.nan  # bytes/s of its share in the data-centre network, which connects slices
    seen: str = ""  # the words by which JAX's name of a device is known, where they are others
    label: str = ""  # of its nodes on GKE
    machine: str = ""  # Compute Engine's type of a host with so many chips
    policy: bool = False  # whether slices over several hosts want a workload policy there
    numbers: str = ""  # as they were typed: ,peak=1e15


# TPUs: docs.cloud.google.com, the pages of each generation and of GKE's and Compute Engine's machines; network is "DCN
# bandwidth per chip", of v5e the pod's over its chips; v4's is not printed. Links are 45 (v4, v5e) or 90 GB/s each way.
# GPUs: NVIDIA's data sheets, of the SXM boards where a chip has several; float16 of the v100, which has no bfloat16.
# Cards at home, whose products summed in float16 are twice as fast and are not these: NVIDIA's white papers of Ampere
# GA102, Ada and RTX Blackwell, appendix A.
CHIPS = {
    chip.name: chip
    for chip in (
        Chip(
            *("v4", "tpu", 275e12, 32 * GiB, 4, 2, (4,), (12, 16, 16)),
            links=2.7e11,
            label="tpu-v4-podslice",
            machine="ct4p-hightpu-{}t",
        ),
        Chip(
            *("v5e", "tpu", 197e12, 16 * GiB, 4, 1, (1, 4, 8), (16, 16)),
            links=1.8e11,
            network=3.125e9,
            seen="v5 lite",
            label="tpu-v5-lite-podslice",
            machine="ct5lp-hightpu-{}t",
        ),
        Chip(
            *("v5p", "tpu", 459e12, 95 * GiB, 4, 2, (4,), (16, 16, 24)),
            links=5.4e11,
            network=6.25e9,
            seen="v5",
            label="tpu-v5p-slice",
            machine="ct5p-hightpu-{}t",
        ),
        Chip(
            *("v6e", "tpu", 918e12, 32 * GiB, 4, 1, (1, 4, 8), (16, 16)),
            links=3.6e11,
            network=1.25e10,
            seen="v6 lite",
            label="tpu-v6e-slice",
            machine="ct6e-standard-{}t",
        ),
        Chip(
            *("tpu7x", "tpu", 2307e12, 192 * GiB, 4, 2, (1, 4), (16, 24, 24)),
            devices=2,
            links=5.4e11,
            network=1.25e10,
            label="tpu7x",
            machine="tpu7x-standard-{}t",
            policy=True,
        ),
        Chip("v100", "gpu", 125e12, 32 * GiB, 8, power=300, label="nvidia-tesla-v100"),
        Chip("l4", "gpu", 121e12, 24 * GiB, 8, power=72, label="nvidia-l4"),
        Chip("l40s", "gpu", 362.05e12, 48 * GiB, 8, power=350),
        Chip("a100", "gpu", 312e12, 80 * GiB, 8, power=400, label="nvidia-a100-80gb"),
        Chip("h100", "gpu", 989e12, 80 * GiB, 8, power=700, label="nvidia-h100-80gb"),
        Chip("h200", "gpu", 989e12, 141 * GiB, 8, power=700, label="nvidia-h200-141gb"),
        Chip("b200", "gpu", 2250e12, 180 * GiB, 8, power=1000, label="nvidia-b200"),
        Chip("rtx3090", "gpu", 71e12, 24 * GiB, 8, power=350),
        Chip("rtx4090", "gpu", 165.2e12, 24 * GiB, 8, power=450),
        Chip("rtx5090", "gpu", 209.5e12, 32 * GiB, 8, power=575),
        Chip("cpu", "cpu", math.nan, math.nan, 1),
    )
}
OTHER_NAMES = {"v5litepod": "v5e"}  # as accelerator types are written
FLAT = ((1, 1), (2, 2), (2, 4), (4, 4), (4, 8), (8, 8), (8, 16), (16, 16))  # slices of v5e and v6e
SMALL_CUBES = ((2, 2, 1), (2, 2, 2), (2, 2, 4), (2, 4, 4))  # larger ones are made of cubes of 4 x 4 x 4
NUMBERS = ("peak", "hbm", "host", "devices", "links", "network", "power")  # of a chip that a person may give
WHOLE = ("host", "devices")


@dataclasses.dataclass(frozen=True)
class Accelerator:
    """What one task runs on: a TPU slice, or GPUs or CPUs on one or more hosts."""

    chip: Chip
    topology: tuple[int, ...]  # of a slice; of GPUs and CPUs their number
    per_host: int

    @property
    def name(self) -> str:
        return f"{self.chip.name}:{self.shape}"

    @property
    def shape(self) -> str:
        """The topology as everybody writes it: 4x4."""
        return "x".join(map(str, self.topology))

    @property
    def typed(self) -> str:
        """The name with the numbers that were given: what another command understands."""
        return f"{self.name}{self.chip.numbers}"

    @property
    def chips(self) -> int:
        return math.prod(self.topology)

    @property
    def devices(self) -> int:
        """As JAX counts them."""
        return self.chips * self.chip.devices

    @property
    def machine(self) -> str:
        """Compute Engine's type of its hosts; empty where it is not known."""
        return self.chip.machine.format(self.per_host)

    @property
    def hosts(self) -> int:
        return self.chips // self.per_host


@dataclasses.dataclass(frozen=True)
class Chips:
    """So many chips of a kind, as somebody named them."""

    chip: Chip
    number: int
    topology: tuple[int, ...] = ()  # of a TPU slice, where it was said


def named(text: str) -> Chips:
    """What `h100:8` or `h100-8`, `h100` (one), `v5e:4x4`, `v5p-128` (64 chips, two cores each) or `cpu:2` mean.

    Numbers may follow, of one chip: `v9x:4x4x4,devices=2,peak=2e15,hbm=2e11` is a TPU that is not listed, for it has
    a topology; `mi300x:8,peak=1.3e15` are GPUs; `h100:8,peak=7.56e14` is another board of a chip that is listed.

    Raises:
      InputError: an unknown chip without numbers, no number of them, a slice that does not exist.
    """
    typed, *given = text.lower().strip().split(",")
    said = re.fullmatch(r"([a-z]+[a-z0-9]*)(?:([:-])(.*))?", typed)
    name, mark, size = said.groups(default="") if said else (typed, "", "")
    name = OTHER_NAMES.get(name, name)
    numbers = _numbers(text, given)
    if name not in CHIPS and not (numbers and said):
        raise InputError(
            f"accelerator {text!r}: no chip {name!r}; wanted one of {', '.join(CHIPS)}, then its topology or number: "
            "v5e:4x4, h100:8, rtx4090:2, cpu; or its numbers too: mi300x:8,peak=1.3e15,hbm=2e11"
        )
    known = CHIPS.get(name) or Chip(name, "tpu" if "x" in size else "gpu", math.nan, math.nan, 4 if "x" in size else 8)
    alone = tuple(chips for chips in known.alone if chips <= numbers.get("host", math.inf))
    chip = dataclasses.replace(known, **numbers, alone=alone, numbers="".join(f",{part}" for part in given))
    if chip.kind == "tpu" and mark != "-":
        topology = _topology(text, chip, size)
        return Chips(chip, math.prod(topology), topology)
    size = size if mark else "1"
    if not re.fullmatch(r"[1-9]\d{0,5}", size):
        raise InputError(f"accelerator {text!r}: wanted a number of chips, such as {name}:{chip.host}")
    if int(size) % chip.cores:
        raise InputError(
            f"accelerator {text!r}: {name} is named by cores, {chip.cores} to a chip; wanted an even number"
        )
    return Chips(chip, int(size) // chip.cores)


def _numbers(text: str, given: list[str]) -> dict[str, float]:
    """What `peak=1e15` and the like say of a chip."""
    found: dict[str, float] = {}
    for part in given:
        key, _, value = part.partition("=")
        number = float(value) if re.fullmatch(r"\d{1,20}(\.\d{1,20})?(e\+?\d{1,2})?", value) else 0.0
        if key not in NUMBERS or key in found or number <= 0 or (key in WHOLE and number not in range(1, 1025)):
            raise InputError(
                f"accelerator {text!r}: {part!r}; wanted numbers above 0 of {', '.join(NUMBERS)}, each once, such as "
                "peak=1.3e15 (FLOP/s), hbm=2e11 (bytes), host=4 (chips) or devices=2 (per chip)"
            )
        found[key] = int(number) if key in WHOLE else number
    return found


def accelerator(text: str, per_host: int | None = None) -> Accelerator:
    """What a task runs on, by a name that `named` understands; of a TPU it has to be one slice.

    Args:
      per_host: GPUs of a host, where they are not 8.

    Raises:
      InputError: an unknown chip, a slice that does not exist, hosts that are not full.
    """
    found = named(text)
    chip, count = found.chip, found.number
    if chip.kind == "tpu":
        return _slice(chip, found.topology or _only_slice(text, chip, count))
    full = per_host or chip.host
    if count > full and count % full:
        raise InputError(
            f"accelerator {text!r}: {count} chips do not fill hosts of {full}; take {full * (count // full)} or "
            f"{full * (count // full + 1)}"
        )
    return Accelerator(chip, (count,), min(count, full))


def _only_slice(text: str, chip: Chip, count: int) -> tuple[int, ...]:
    """The topology of the one slice that has so many chips."""
    fitting = [shape for shape in slices(chip) if math.prod(shape) == count]
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        raise InputError(
            f"accelerator {text!r}: no slice of {chip.name} has {count} chips; wanted its topology, such as "
            f"{chip.name}:{_example(chip)}"
        )
    found = " or ".join(f"{chip.name}:{'x'.join(map(str, shape))}" for shape in fitting[:3])
    raise InputError(f"accelerator {text!r}: wanted the topology, here {found}")


def slices(chip: Chip) -> list[tuple[int, ...]]:
    """The topologies in which a TPU comes, the smallest first."""
    if not chip.largest:
        return []
    if len(chip.largest) == 2:
        return list(FLAT)
    x, y, z = chip.largest
    one = [(1, 1, 1)] if 1 in chip.alone else []
    cubes = [(a, b, c) for a in range(4, x + 1, 4) for b in range(a, y + 1, 4) for c in range(b, z + 1, 4)]
    return [*one, *SMALL_CUBES, *sorted(cubes, key=math.prod)]


def _topology(text: str, chip: Chip, size: str) -> tuple[int, ...]:
    """The topology in a name such as v5e:4x4."""
    known = slices(chip)
    if not re.fullmatch(r"\d{1,3}(x\d{1,3}){1,2}", size):
        raise InputError(
            f"accelerator {text!r}: wanted {chip.name} and its topology, such as {chip.name}:{_example(chip)}"
        )
    topology = tuple(map(int, size.split("x")))
    if not known:  # nobody says which there are
        if 0 in topology:
            raise InputError(f"accelerator {text!r}: no slice has a dimension of 0")
        return topology
    if topology not in known:
        rank = len(chip.largest)
        near = sorted(known, key=lambda shape: abs(math.log(math.prod(shape) / (math.prod(topology) or 1))))[:3]
        if len(topology) != rank:
            why = f"{chip.name} has {rank} dimensions"
        elif tuple(sorted(topology)) in known:
            why = "dimensions grow from left to right"
            near = [tuple(sorted(topology))]
        else:
            why = f"no such slice of {chip.name}"
        shapes = ", ".join("x".join(map(str, shape)) for shape in near)
        raise InputError(f"accelerator {text!r}: {why}; near it: {shapes}")
    return topology


def _slice(chip: Chip, topology: tuple[int, ...]) -> Accelerator:
    chips = math.prod(topology)
    per_host = chips if chips in chip.alone else min(chips, chip.host)
    if chips % per_host:
        raise InputError(f"accelerator {chip.name}: {chips} chips do not fill hosts of {per_host}; say host=N")
    return Accelerator(chip, topology, per_host)


def _example(chip: Chip) -> str:
    return "4x4" if len(chip.largest) == 2 else "4x4x4"


def of_device(kind: str) -> Chip | None:
    """The chip of a device, from the name that JAX has for it; None where it is not listed, or a slower board of it."""
    words = kind.lower().replace("rtx ", "rtx")  # NVIDIA GeForce RTX 4090
    if re.search(r"laptop|max-q|h100.*(pcie|nvl)|rtx\d+ (ti|d)\b", words):
        return None
    tpus = sorted((chip for chip in CHIPS.values() if chip.seen), key=lambda chip: -len(chip.seen))
    by_name = (chip for chip in CHIPS.values() if re.search(rf"\b{chip.name}\b", words))
    return next(by_name, None) or next((chip for chip in tpus if "tpu" in words and chip.seen in words), None)


def here() -> Chip | None:
    """The TPU of this machine, by the name of its slice; None where it has none that is listed."""
    name = os.environ.get("TPU_ACCELERATOR_TYPE", "").lower().partition("-")[0]  # v5litepod-4
    return CHIPS.get(OTHER_NAMES.get(name, name))


@functools.cache
def memory(kind: str) -> float:
    """Bytes of one device of this machine, without the seconds that asking it through JAX takes; inf if unknown.

    Args:
      kind: gpu, of which the driver tells, or tpu, of which the name of the machine's slice does.
    """
    if kind == "gpu":
        command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]  # MiB
        try:
            said = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
        except (OSError, subprocess.SubprocessError):
            return math.inf
        return min((int(line) * 2.0**20 for line in said.split("\n") if line.strip().isdecimal()), default=math.inf)
    if kind == "tpu":
        chip = here()
        return chip.hbm / chip.devices if chip else math.inf
    return math.inf
