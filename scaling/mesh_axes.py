"""The axes of a mesh and their sizes as they are typed, data=2,fsdp=4; without JAX, which a launcher does not need."""

import math
import re
from collections.abc import Mapping

from scaling.errors import InputError

AXES = ("run", "data", "fsdp", "expert", "tensor")  # the neighbours on the network last: they talk most

ACROSS = ("data", "run", "fsdp")  # what may run across slices; `tensor` and `expert` talk within each layer


def parse(text: str) -> dict[str, int]:
    """The axes that `data=2,fsdp=4` names, with their sizes.

    Raises:
      InputError: an unknown axis, one named twice, or a size that is none.
    """
    found: dict[str, int] = {}
    for part in text.split(","):
        name, _, size = part.strip().partition("=")
        if name not in AXES or name in found or not re.fullmatch(r"[1-9]\d{0,5}", size):
            raise InputError(f"--mesh {text!r}: wanted sizes of {', '.join(AXES)}, each once, such as data=2,fsdp=4")
        found[name] = int(size)
    return found


def show(sizes: Mapping[str, int]) -> str:
    """`data=2,fsdp=4`: the axes that are not 1."""
    return ",".join(f"{name}={sizes[name]}" for name in AXES if sizes.get(name, 1) > 1) or "data=1"


def usual(devices: int, slices: int = 1) -> dict[str, int]:
    """The mesh where nobody names one: `data` across slices, whose network is slow, `fsdp` over the devices of each."""
    if slices > 1 and devices % slices == 0:
        return {"data": slices, "fsdp": devices // slices}
    return {"fsdp": devices}


def across(sizes: Mapping[str, int], slices: int) -> str:
    """The axis that runs across slices, whose network is slow.

    Raises:
      InputError: none that may divides by them.
    """
    found = next((name for name in ACROSS if sizes.get(name, 1) % slices == 0), None)
    if found is None:
        inside = math.prod(sizes.values()) // slices
        raise InputError(
            f"--mesh {show(sizes)} over {slices} slices: data, run or fsdp must be a multiple of {slices}; "
            f"use data={slices},fsdp={inside}"
        )
    return found


def crossing(sizes: Mapping[str, int], slices: int, what: str = "slices") -> str:
    """What to say where matrices are gathered across slices; empty where none are.

    Across `data` goes one sum of gradients an update; across `run`, whose runs know nothing of one another, nothing.
    """
    if slices == 1 or across(sizes, slices) != "fsdp":
        return ""
    inside = {**sizes, "data": sizes.get("data", 1) * slices, "fsdp": sizes["fsdp"] // slices}
    return (
        f"--mesh {show(sizes)}: fsdp crosses {slices} {what}, so that matrices are gathered layer by layer over the "
        f"data-centre network; {show(inside)} keeps that inside each"
    )
