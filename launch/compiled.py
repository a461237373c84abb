"""The seam to `scaling compile`: does the study's program compile for the slice, and fit into its memory?"""

import importlib.util
import os
import subprocess

from launch.request import Request
from scaling import own_code
from scaling.errors import InputError


def check(request: Request) -> str:
    """Compiles the study for the slice that was asked for, where this machine can -> one line on what was found.

    Raises:
      InputError: it does not fit.
    """
    if request.accelerator.chip.kind != "tpu":
        return "not compiled ahead: that is for TPU slices"
    if request.devices > 1 and not request.sizes:
        return "not compiled ahead: without --mesh packs are as large as measurements on the machine make them"
    if importlib.util.find_spec("libtpu") is None:
        return "not compiled ahead: libtpu is not installed here (pip install libtpu)"
    words = own_code.command("scaling", "compile", request.config)
    words.append(f"--topology={request.accelerator.typed}")
    if request.slices > 1:
        words.append(f"--slices={request.slices}")
    if request.mesh:
        words.append("--mesh=" + ",".join(f"{axis}={size}" for axis, size in request.mesh))
    if request.settings:
        words += ["--set", *(f"{key}={value}" for key, value in request.settings)]
    flags = {key: value for key, value in request.env if key == "LIBTPU_INIT_ARGS"}  # may change what it needs
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, **flags})
    last = (done.stderr.strip().splitlines() or ["no word of why"])[-1]
    if done.returncode:
        raise InputError(f"does not compile for {request.hardware}: {last.removeprefix('scaling: ')}")
    return f"compiles for {request.hardware}"
