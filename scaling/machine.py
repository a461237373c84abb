"""Where and with what numbers were made: the machine and the versions of the packages, for records and pages."""

import importlib.metadata
import os
import platform
import re
from pathlib import Path
from typing import Any

from scaling import __version__, own_code

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "scipy", "matplotlib")


def describe() -> str:
    """CPU model, cores available to this process, memory, system: one line."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = re.findall(r"^model name\s*:\s*(.+)$", info.read_text(encoding="utf-8", errors="replace"), re.M)
        model = names[0].strip() if names else model
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parts = [model, f"{cores} core{'' if cores == 1 else 's'}"]
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        parts.append(f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.1f} GiB of memory")
    return ", ".join([*parts, platform.system()])


def origin() -> dict[str, Any]:
    """Where and with what this process makes numbers, for a record; `numerics.settings` belongs beside it."""
    return {"machine": describe(), "versions": versions(), "code": own_code.digest()}


def versions() -> dict[str, str]:
    """Python and the packages that the numbers depend on, name to version; nothing is imported to find out."""
    found = {"python": platform.python_version(), "scaling": __version__}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
