"""Writes the files and runs the platform's own client, whose words reach the person as they are."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from launch.request import Request, in_bucket, quoted
from scaling.errors import InputError


def check_client(client: str) -> None:
    """Raises InputError where the platform's client is not installed."""
    if not shutil.which(client):
        raise InputError(f"no {client} on this machine: --dry-run shows the files, --files DIR with it keeps them")


def check_buckets(request: Request) -> None:
    """Asks for the buckets by name, where gcloud is there to ask.

    Raises:
      InputError: a bucket that is missing, or that one may not read.
    """
    if not shutil.which("gcloud"):
        return
    places = [place for place in (request.out, request.data) if in_bucket(place)]
    for bucket in dict.fromkeys("/".join(place.split("/")[:3]) for place in places):
        done = subprocess.run(["gcloud", "storage", "buckets", "describe", bucket], capture_output=True, text=True)
        if done.returncode:
            why = (done.stderr.strip().splitlines() or ["no word of why"])[0]
            raise InputError(f"bucket {bucket}: {why}")


def write(files: dict[str, str], folder: Path) -> None:
    """Writes the files into `folder`, over those of an earlier launch."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)


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
