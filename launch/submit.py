"""Writes the files and runs the platform's own client, whose words reach the person as they are."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from launch import bucket
from launch.request import Request, quoted
from scaling import folders
from scaling.errors import InputError


def check_client(client: str) -> None:
    """Raises InputError where the platform's client is not installed."""
    if not shutil.which(client):
        raise InputError(f"no {client} on this machine: --dry-run shows the files, --files DIR with it keeps them")


def check_buckets(request: Request, hierarchical: bool) -> None:
    """Looks at the output's bucket and at the data, where gcloud is there to ask.

    Args:
      hierarchical: whether the output's is to have a hierarchical namespace, or none.

    Raises:
      InputError: one that is missing, that one may not read, or a bucket of the other kind.
    """
    if not shutil.which("gcloud") or not bucket.in_bucket(request.out):
        return
    name = f"gs://{bucket.name(request.out)}"
    if request.out.startswith("s3:"):
        return
    told = _asked("bucket", name, "buckets", "describe", "--raw", "--format=value(hierarchicalNamespace.enabled)")
    if not request.direct and (told == "True") != hierarchical:
        found, wanted = ("no", "one") if hierarchical else ("a", "one without")
        raise InputError(
            f"bucket {name} has {found} hierarchical namespace; make {wanted} as docs/launch/buckets.md says"
        )
    if request.data:
        _asked("data", request.data, "ls")


def _asked(what: str, place: str, *words: str) -> str:
    done = subprocess.run(["gcloud", "storage", *words, place], capture_output=True, text=True)
    if done.returncode:
        raise InputError(f"{what} {place}: {(done.stderr.strip().splitlines() or ['no word of why'])[0]}")
    return done.stdout.strip()


def write(files: dict[str, str], folder: Path) -> None:
    """Writes the files into `folder`, over those of an earlier launch."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        folders.write(folder / name, text)


def run(commands: Sequence[Sequence[str]], say: Callable[[str], None]) -> None:
    """Runs the commands one after the other.

    Raises:
      InputError: one failed; those after it were not run.
    """
    for i, words in enumerate(commands):
        say(f"$ {quoted(words)}")
        code = subprocess.run(words).returncode
        if code:
            left = len(commands) - i - 1
            rest = f"; not run after it: {left} of {len(commands)} commands" if left else ""
            raise InputError(f"{words[0]} ended with exit code {code}, its words are above{rest}")


def become(words: Sequence[str], say: Callable[[str], None]) -> None:
    """Runs the last command in place of this process: signals and exit code are its own."""
    say(f"$ {quoted(words)}")
    sys.stdout.flush()
    os.execvp(words[0], list(words))
