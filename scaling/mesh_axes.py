"""The axes of a mesh and their sizes as they are typed, data=2,fsdp=4; without JAX, which a launcher does not need."""

import re
from collections.abc import Mapping

from scaling.errors import InputError

AXES = ("run", "data", "fsdp", "expert", "tensor")  # the neighbours on the network last: they talk most


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
