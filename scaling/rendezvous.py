"""Processes meet before JAX does, which ends a process without a word of use where another is missing.

The first process listens where JAX's own service will later. Each other calls it and says who it is and what it would
run. When all have come, and alike, all are told to go on; where somebody is missing or differs, all are told who.
A caller that ends has not come; if it comes again it is welcome, as a supervisor starts it again.

On the wire: lines of JSON, of one caller at most LINE bytes. What is no greeting of ours is counted and hung up on.
"""

import contextlib
import dataclasses
import errno
import json
import os
import selectors
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any

from scaling.errors import InputError

VERSION = 1  # of what is said on the wire
LINE = 1 << 16  # bytes of a greeting at most
AGAIN = 0.2  # seconds between two calls
RETURN = 15.0  # seconds in which a first process that ended may be back
LATER = 5.0  # seconds that a caller waits longer than the first, whose word says more
TOLD = 3  # processes that a refusal names, and twice as many that are missing
SILENT = (5, 2, 3)  # a line is idle for so many seconds, then so many apart so many questions: no answer is an end
NEWS = 0.5  # seconds between two words to those that wait: a pod has a thousand of them


class Gone(Exception):
    """The first process was there and is not any more."""


@dataclasses.dataclass(frozen=True)
class Caller:
    """Who is calling, and what it would run."""

    process: int
    processes: int
    host: str
    pid: int
    facts: Mapping[str, str]

    @property
    def who(self) -> str:
        return f"process {self.process} on {self.host}"


def meet(address: tuple[str, int], process: int, processes: int, facts: Mapping[str, str], wait: float) -> None:
    """Returns when all processes have come, and alike.

    Args:
      address: of the first process, host and port.
      facts: what has to be alike in all of them.
      wait: seconds for all to come.

    Raises:
      InputError: in all of them, where one is missing, differs, counts otherwise, or has the id of another.
      Gone: the first process ended meanwhile.
    """
    me = Caller(process, processes, socket.gethostname(), os.getpid(), facts)
    ends = time.monotonic() + wait
    if process or (listener := _listening(address, me, ends, wait)) is None:
        _call(address, me, ends, wait)
        return
    with _Door(listener, address, me) as door:
        door.gather(ends, wait)


def differing(everywhere: Sequence[tuple[str, Mapping[str, str]]]) -> list[str]:
    """Who differs from the first in what; (who, facts) of each."""
    first, found = everywhere[0][1], []
    for who, there in everywhere:
        names = [name for name in {**first, **there} if first.get(name) != there.get(name)]
        if names:
            told = [f"{name} {there.get(name, 'unset')} for {first.get(name, 'unset')}" for name in names]
            found.append(f"{who} has {', '.join(told)}")
    return found


def refuse(found: Sequence[str]) -> None:
    """Raises InputError where anybody differs from the first process."""
    if found:
        more = f"; and {len(found) - TOLD} more" if len(found) > TOLD else ""
        raise InputError(
            f"{'; '.join(found[:TOLD])}{more}: other than process 0, with which they would train; start the same "
            "command, with the same code, packages and environment, on every host"
        )


def _shown(address: tuple[str, int]) -> str:
    return f"--distributed {address[0]}:{address[1]}"


def _missing(first: Sequence[int], n: int) -> str:
    """What to say of n processes, of which these are the first."""
    names = ", ".join(str(process) for process in first)
    more = f" and {n - len(first)} more" if n > len(first) else ""
    return f"missing: process{'es' if n > 1 else ''} {names}{more}"


# --- the first process


def _listening(address: tuple[str, int], me: Caller, ends: float, wait: float) -> socket.socket | None:
    """The door at this machine's port; None where another process of the same id has it.

    Raises:
      InputError: somebody else has it.
    """
    while True:
        try:
            if socket.has_dualstack_ipv6():
                return socket.create_server(("", address[1]), family=socket.AF_INET6, dualstack_ipv6=True)
            return socket.create_server(("", address[1]))
        except OSError as error:
            if error.errno == errno.EADDRINUSE and _ours(address):
                return None
            if error.errno != errno.EADDRINUSE or time.monotonic() > ends:
                raise InputError(
                    f"{_shown(address)}: process 0 cannot listen at port {address[1]} of {me.host} "
                    f"({error.strerror}); choose another port, or end what has it"
                ) from None
            time.sleep(AGAIN)  # of a process that is just ending


def _ours(address: tuple[str, int]) -> bool:
    """Whether a first process of ours listens at this machine's port: it says at once who is missing."""
    with contextlib.suppress(OSError), socket.create_connection(("localhost", address[1]), 2) as line:
        line.settimeout(2)
        return "missing" in _read(line)
    return False


class _Door:
    """Where the first process hears the others; used in a `with`."""

    def __init__(self, listener: socket.socket, address: tuple[str, int], me: Caller):
        self.listener, self.address, self.me = listener, address, me
        self.came = {me.process: me}
        self.lines: dict[socket.socket, tuple[bytearray, Caller | None]] = {}
        self.left: set[int] = set()  # that had come
        self.strangers: set[str] = set()
        self.told: tuple[float, dict[str, Any]] = 0.0, {}  # the last news, and when
        self.selector = selectors.DefaultSelector()
        self.selector.register(listener, selectors.EVENT_READ)

    def __enter__(self) -> "_Door":
        return self

    def __exit__(self, *_: object) -> None:
        for line in self.lines:
            line.close()
        self.listener.close()
        self.selector.close()

    def gather(self, ends: float, wait: float) -> None:
        """Until all have come. Raises InputError for all that are there."""
        try:
            while self.gone():
                left = ends - time.monotonic()
                if left <= 0:
                    raise InputError(self.lacking(wait))
                self.tell_news()
                for key, _ in self.selector.select(min(left, NEWS)):
                    if key.fileobj is self.listener:
                        self.answer()
                    else:
                        self.hear(key.fileobj)  # pyright: ignore[reportArgumentType] # all others are callers
            callers = [self.came[process] for process in sorted(self.came)]
            refuse(differing([(caller.who, caller.facts) for caller in callers]))
        except InputError as error:
            self.tell({"refused": str(error)})
            raise
        self.listener.close()  # JAX's service has the port next
        self.tell({"go": True})
        for line in self.lines:  # who closes first keeps the port for a minute: that is theirs to do
            with contextlib.suppress(OSError):
                line.settimeout(LATER)
                line.recv(1)

    def gone(self) -> list[int]:
        return [process for process in range(self.me.processes) if process not in self.came]

    def news(self) -> dict[str, Any]:
        gone = self.gone()
        return {"missing": gone[: 2 * TOLD], "of": len(gone)}

    def tell_news(self) -> None:
        when, before = self.told
        if time.monotonic() > when + NEWS and (now := self.news()) != before:
            self.told = time.monotonic(), now
            self.tell(now)

    def lacking(self, wait: float) -> str:
        gone, n = self.gone(), self.me.processes
        left = sorted(self.left & set(gone))
        was = f" ({', '.join(map(str, left))} came and left)" if left else ""
        others = sorted(self.strangers)
        strange = f"; called by what is not this version of this program, from {', '.join(others[:TOLD])}"
        return (
            f"{_shown(self.address)}: {len(self.came)} of {n} processes came within {wait:g} s; "
            f"{_missing(gone[: 2 * TOLD], len(gone))}{was}"
            f"{strange if others else ''}; start the same command there, open the port, or give more time with --wait"
        )

    def answer(self) -> None:
        with contextlib.suppress(OSError):
            line, _ = self.listener.accept()
            _keep_alive(line)
            line.setblocking(False)
            self.lines[line] = bytearray(), None
            self.selector.register(line, selectors.EVENT_READ)
            _send(line, self.news())

    def hear(self, line: socket.socket) -> None:
        heard, caller = self.lines[line]
        try:
            said = line.recv(LINE)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        if caller is None:
            heard += said
        if caller is None and b"\n" in heard:
            caller = _caller(bytes(heard.partition(b"\n")[0]))
            if caller is None:
                said = b""
            else:
                self.lines[line] = heard, caller
                self.welcome(caller)
        if not said or (caller is None and len(heard) > LINE):
            self.hang_up(line, caller, heard)

    def hang_up(self, line: socket.socket, caller: Caller | None, heard: bytearray) -> None:
        if caller:
            self.came.pop(caller.process, None)
            self.left.add(caller.process)
        elif heard:
            with contextlib.suppress(OSError):
                self.strangers.add(line.getpeername()[0].removeprefix("::ffff:"))
        self.selector.unregister(line)
        del self.lines[line]
        line.close()

    def welcome(self, caller: Caller) -> None:
        """Raises InputError for one that counts otherwise, or has the id of another that is there."""
        if caller.processes != self.me.processes:
            raise InputError(
                f"{_shown(self.address)}: {caller.who} counts {caller.processes} processes, process 0 on "
                f"{self.me.host} {self.me.processes}; start the same command on every host"
            )
        if other := self.came.get(caller.process):
            raise InputError(
                f"{_shown(self.address)}: two processes have the id {caller.process}: on {other.host} (pid "
                f"{other.pid}) and on {caller.host} (pid {caller.pid}); give each its own, from 0"
            )
        self.came[caller.process] = caller

    def tell(self, words: Mapping[str, Any]) -> None:
        for line in self.lines:
            _send(line, words)


def _caller(said: bytes) -> Caller | None:
    """Who says this; None for what is no greeting of this version."""
    with contextlib.suppress(ValueError, TypeError, KeyError, RecursionError):
        words = json.loads(said)
        facts = words["facts"]
        found = Caller(words["process"], words["processes"], words["host"], words["pid"], facts)
        numbers = (found.process, found.processes, found.pid)
        if (
            words["scaling"] == VERSION
            and all(type(number) is int and number >= 0 for number in numbers)
            and found.process < found.processes
            and all(isinstance(text, str) and text.isprintable() for text in (found.host, *facts, *facts.values()))
        ):
            return found
    return None


# --- the others


def _call(address: tuple[str, int], me: Caller, ends: float, wait: float) -> None:
    """Calls the first process until it says that all have come. Raises as `meet`."""
    lost = 0.0  # when the first process ended
    missing: list[int] = []
    n = 0  # that are
    while True:
        try:
            with socket.create_connection(address, 2) as line:
                _keep_alive(line)
                _send(line, {"scaling": VERSION, **dataclasses.asdict(me)})
                buffer = bytearray()
                while True:
                    line.settimeout(max(0.1, ends + LATER - time.monotonic()))
                    words = _read(line, buffer)
                    if "go" in words:
                        return
                    if "refused" in words:
                        raise InputError(str(words["refused"]))
                    if not isinstance(words.get("missing"), list) or type(words.get("of")) is not int:
                        break
                    missing, n, lost = words["missing"], words["of"], 0.0
        except TimeoutError as error:
            if missing and not lost and error.errno is None:  # else its machine is gone, without a word
                raise InputError(
                    f"{_shown(address)}: process 0 is there, others did not come within {wait:g} s; "
                    f"{_missing(missing, n)}; start the same command there, or give more time with --wait"
                ) from None
            why: object = error
        except OSError as error:
            why = error.strerror or error
        else:
            why = "it hangs up" if missing else "what answers is not this version of this program"
        now = time.monotonic()
        if missing and lost and now > lost + RETURN:
            raise Gone(f"process 0 at {address[0]}:{address[1]} came and ended before all had come")
        lost = lost or now
        if now > ends:
            raise InputError(
                f"{_shown(address)}: missing: process 0, nothing answers there after {wait:.0f} s ({why}); start the "
                "same command there, open the port, or give more time with --wait"
            ) from None
        time.sleep(AGAIN)


def _keep_alive(line: socket.socket) -> None:
    """Has the system end a line whose other side is gone without a word: a machine that died, a cable.

    Else its process would seem to be there, and one that comes in its place would be a second of its id.
    """
    line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in zip(("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT"), SILENT, strict=True):
        if hasattr(socket, name):  # of Linux
            line.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _send(line: socket.socket, words: Mapping[str, Any]) -> None:
    with contextlib.suppress(OSError):  # who has gone is missed when it is read from
        line.sendall(json.dumps(words).encode() + b"\n")


def _read(line: socket.socket, buffer: bytearray | None = None) -> dict[str, Any]:
    """The next line that the other side says; empty where it hangs up or says what is none of ours."""
    heard = bytearray() if buffer is None else buffer
    while b"\n" not in heard:
        said = line.recv(LINE)
        if not said or len(heard) > LINE:
            return {}
        heard += said
    first, _, rest = bytes(heard).partition(b"\n")
    heard[:] = rest
    try:
        words = json.loads(first)
    except (ValueError, RecursionError):
        return {}
    return words if isinstance(words, dict) else {}
