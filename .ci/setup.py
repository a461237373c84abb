"""Makes .venv from requirements.lock, with uv where it is there, else venv and pip. Of two at once the second waits.

With the word cuda or tpu it adds to it what such chips want: requirements-cuda.lock, requirements-tpu.lock; and again
whenever .venv is made anew.

Modules are byte-compiled: importing jax takes three times as long otherwise. In plain Python, so that an old one can
say what it lacks.
"""

import fcntl
import os
import shutil
import subprocess
import sys

if sys.version_info < (3, 11):  # noqa: UP036
    found = "%d.%d" % sys.version_info[:2]  # noqa: UP031
    sys.exit("scaling needs Python 3.11 or newer, found " + found + "; use make PYTHON=/path/to/python3.11")

CHIPS = ".venv.chips"  # what was asked for


def up_to_date():
    made = os.path.getmtime(".venv/ready") if os.path.exists(".venv/ready") else 0
    return made >= max(os.path.getmtime(name) for name in ("requirements.lock", "pyproject.toml"))


def run(*command):
    if subprocess.run(command).returncode:
        sys.exit("setting up .venv failed at: " + " ".join(command))


with open(".venv.lock", "w") as lock:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("another process is setting up .venv; waiting for it")
        fcntl.flock(lock, fcntl.LOCK_EX)
    python = ".venv/bin/python"
    if shutil.which("uv"):
        venv = ["uv", "venv", "--quiet", "--python", sys.executable]
        pip = ["uv", "pip", "install", "--quiet", "--python", python, "--compile-bytecode", "--no-deps"]
    else:
        venv = [sys.executable, "-m", "venv"]
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    with open(CHIPS, "a+") as file:
        file.seek(0)
        kept = file.read().split()
    wanted = sys.argv[1:]
    if not up_to_date():
        wanted = kept + [chips for chips in wanted if chips not in kept]
        print("setting up .venv: a minute or two")
        shutil.rmtree(".venv", ignore_errors=True)
        run(*venv, ".venv")
        run(*pip, "--require-hashes", "--requirement", "requirements.lock")
        run(*pip, "--no-build-isolation", "--editable", ".")
        open(".venv/ready", "w").close()
    for chips in wanted:
        run(*pip, "--require-hashes", "--requirement", "requirements-" + chips + ".lock")
        if chips not in kept:
            with open(CHIPS, "a") as file:
                file.write(chips + "\n")
