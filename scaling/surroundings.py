"""What a process inherits from whoever starts it: streams, limits, variables, signals. Put in order before any work."""

import contextlib
import hashlib
import io
import os
import signal
import subprocess
import sys

from scaling import folders, machine
from scaling.errors import InputError

FILES = 256  # that a process opens at once, in training
ROOM = 4 * 2**30  # bytes of address space, of which JAX takes most
PLATFORMS = ("cpu", "gpu", "cuda", "rocm", "tpu")  # of JAX that we know how to use
PROBE = "from jaxlib import xla_client; xla_client.CompileOptions()"  # the least that reads XLA_FLAGS


def prepare() -> None:
    """Makes this process one that can be relied on.

    Raises:
        InputError: what it inherited cannot be made good: no standard output, too few files, too little memory.
    """
    os.environ |= {"MPLBACKEND": "agg", "MATPLOTLIBRC": os.devnull}  # figures are files, and look as we say
    closed = _open_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # an ASCII terminal, or a file name that is no text
    if closed:
        raise InputError("standard output is closed; redirect it, to /dev/null where nobody is to read it")
    _check_limits()
    _check_variables()


def endings() -> list[signal.Signals]:
    """The signals that ask a process to save and leave, but for those that `nohup` or a shell told it to ignore."""
    names = ("SIGTERM", "SIGHUP")
    there = [getattr(signal, name) for name in names if hasattr(signal, name)]
    return [number for number in there if signal.getsignal(number) != signal.SIG_IGN]


def _open_streams() -> bool:
    """Opens closed standard streams on the null device, so that no file of ours is given their numbers.

    Returns:
        whether standard output was closed.
    """
    closed = sys.stdout is None
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115  # as long as the process
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
    return closed


def _check_limits() -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < FILES:
        most = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
        if most < FILES:
            raise InputError(f"this process may open {soft} files at once, wanted {FILES} or more: ulimit -n {FILES}")
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    room, _ = resource.getrlimit(resource.RLIMIT_AS)
    if room != resource.RLIM_INFINITY and room < ROOM:
        raise InputError(
            f"this process may use {room / 2**30:.2g} GiB of addresses, wanted {ROOM / 2**30:.0f} or more: "
            "ulimit -v unlimited"
        )


def _check_variables() -> None:
    for name in filter(None, os.environ.get("JAX_PLATFORMS", "").split(",")):
        if name not in PLATFORMS:
            raise InputError(f"JAX_PLATFORMS={name}: wanted some of {', '.join(PLATFORMS)}, or leave it unset")
    if flags := os.environ.get("XLA_FLAGS"):
        _try_flags(flags)


def _try_flags(flags: str) -> None:
    """Has another process read the flags, since XLA ends its process over one that it does not know.

    Raises:
        InputError: it did.
    """
    known = hashlib.sha256(f"{machine.versions().get('jaxlib', '')} {flags}".encode(errors="replace")).hexdigest()[:16]
    mark = folders.cache() / "flags" / known
    if mark.exists():
        return
    done = subprocess.run(
        [sys.executable, "-P", "-c", PROBE], stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace"
    )
    if done.returncode:
        said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1].rpartition("] ")[2]
        raise InputError(f"XLA_FLAGS: {said[:200]}; mend or unset it")
    with contextlib.suppress(OSError):  # no cache: tried again the next time
        folders.write(mark, b"")
