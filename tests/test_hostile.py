"""Hostile input of every kind ends in a line: a fast part of benchmarks/hostile.py, in a process of its own."""

import os
import subprocess
import sys

from tests.conftest import ROOT


def test_hostile_input_ends_in_no_traceback_no_hang_and_is_not_silently_accepted():
    words = [sys.executable, "-m", "benchmarks.hostile", "--share", "0.07", "--seed", "3"]
    done = subprocess.run(words, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "0 ended in a traceback" in done.stdout
