"""Hostile input of every kind ends in a line: a part of benchmarks/hostile.py, in a process of its own."""

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT


@pytest.mark.parametrize("share", [0.03, pytest.param(0.07, marks=pytest.mark.slow)])
def test_hostile_input_ends_in_no_traceback_no_hang_and_is_not_silently_accepted(share):
    words = [sys.executable, "-m", "benchmarks.hostile", "--share", str(share), "--seed", "3"]
    done = subprocess.run(words, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "0 ended in a traceback" in done.stdout
