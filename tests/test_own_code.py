"""What executes: our code, Python's modules, and settings of JAX that are ours."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import pytest
from conftest import ROOT

from analysis import records
from scaling import checked, numerics, own_code, study

SHADOWS = ("random", "json", "argparse", "signal", "dataclasses", "analysis")


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory) -> Path:
    """A folder with modules that are not to be run."""
    folder = tmp_path_factory.mktemp("elsewhere")
    for name in SHADOWS:
        (folder / f"{name}.py").write_text("raise SystemExit('not to be run')\n")
    return folder


@pytest.mark.parametrize(
    "command",
    [
        [sys.executable, "-m", "scaling", "--help"],
        [sys.executable, "-m", "scaling.cli", "--help"],
        [str(Path(sys.executable).with_name("scaling")), "--help"],
        own_code.command("scaling", "--help"),
    ],
)
def test_modules_of_the_current_folder_are_not_run(command, elsewhere):
    done = subprocess.run(
        command, cwd=elsewhere, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "usage: scaling" in done.stdout


def test_a_package_of_the_name_of_ours_that_is_found_first_is_said_in_a_line(tmp_path):
    (tmp_path / "analysis").mkdir()
    (tmp_path / "analysis" / "__init__.py").write_text("raise SystemExit('not to be run')\n")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (tmp_path, ROOT)))}
    command = [sys.executable, "-m", "scaling", "fit", "chinchilla", "runs.csv"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith(f"scaling: {tmp_path / 'analysis'} has the name of a part of this program")
    assert done.stderr.count("\n") == 1


def test_our_processes_run_the_code_that_runs_here_whatever_else_is_found_first(elsewhere, tmp_path):
    shutil.copytree(ROOT / "scaling", tmp_path / "scaling")
    (tmp_path / "scaling" / "__init__.py").write_text("raise SystemExit('not to be run')")
    command = own_code.command("scaling", "--version")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (tmp_path, elsewhere)))}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.stdout.startswith("scaling "), done.stderr


def test_code_is_known_by_its_content_and_not_by_where_it_lies(tmp_path, monkeypatch):
    copy = tmp_path / "scaling"
    shutil.copytree(ROOT / "scaling", copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(own_code, "PACKAGE", copy)
    digest = own_code.digest.__wrapped__
    assert digest() == own_code.digest()
    path = copy / "kinds" / "kind.py"
    path.write_text(path.read_text() + "\n")
    assert digest() != own_code.digest()


def test_what_changes_a_run_is_not_taken_and_what_changes_last_bits_is_recorded(monkeypatch):
    for name in [name for name in os.environ if name.startswith("JAX_") or name in numerics.ENVIRONMENT]:
        monkeypatch.delenv(name)
    assert numerics.overruled() == []
    for name, value in {"PRNG_IMPL": "rbg", "ENABLE_X64": "on", "THREEFRY_PARTITIONABLE": "1"}.items():
        monkeypatch.setenv("JAX_" + ("DEFAULT_" if name == "PRNG_IMPL" else "") + name, value)
    flags = "--xla_dump_to=/x --xla_cpu_enable_fast_math=true --xla_cpu_use_fusion_emitters=false"
    monkeypatch.setenv("XLA_FLAGS", flags)
    assert numerics.overruled() == [
        *("JAX_DEFAULT_PRNG_IMPL=rbg", "JAX_ENABLE_X64=on", "XLA_FLAGS=--xla_cpu_enable_fast_math=true")
    ]
    numerics.without_fast_math()
    assert os.environ["XLA_FLAGS"] == "--xla_dump_to=/x --xla_cpu_use_fusion_emitters=false"
    assert numerics.settings({"XLA_FLAGS": flags}) == {
        "device": jax.devices()[0].device_kind,
        "XLA_FLAGS": "--xla_cpu_use_fusion_emitters=false",
    }
    monkeypatch.setitem(numerics.BITS, "default_matmul_precision", "highest")
    assert numerics.settings({})["jax_default_matmul_precision"] == "None"


def test_a_table_of_runs_that_were_not_trained_alike_says_so():
    one = records.Origin("here", {"jax": "0.10.2"}, "0123", {"device": "cpu"})
    older, moved = one._replace(code="", settings={}), one._replace(machine="there")
    assert records.unlike([([one], 3), ([older], 2), ([moved, one], 1)]) == []
    other = one._replace(code="4567", settings={"device": "cpu", "XLA_FLAGS": "--x=1"})
    assert records.unlike([([one], 3), ([older], 2), ([other], 1)]) == [
        "the runs were not all trained alike: code 0123 (3 runs), 4567 (1 run); "
        "device cpu (3 runs), device cpu, XLA_FLAGS --x=1 (1 run)"
    ]
    assert records.unlike([([one, other._replace(settings=one.settings), one], 2)]) == [
        "the runs were not all trained alike: code 0123 then 4567 then 0123 (2 runs)"
    ]


def test_a_pack_that_goes_on_under_other_code_tells_of_all_that_trained_it_and_of_nothing_that_was_lost(tmp_path):
    here, there, last = ({"code": code, "versions": {"jax": "1"}} for code in ("0123", "4567", "89ab"))
    for done, by in ((0, there), (0, here), (40, here), (80, there), (60, last), (90, last)):
        study.goes_on(tmp_path, done, by)
    assert study.origin_so_far(tmp_path) == {**last, "earlier": [{"until": 60, **here}]}
    (tmp_path / "origins.json").write_text("{}")
    study.goes_on(tmp_path, 70, here)
    assert study.origin_so_far(tmp_path) == {**here, "earlier": [{"until": 70}]}
    told = checked.Field(tmp_path, "", study.origin_so_far(tmp_path))
    assert study.origin(told) == told.value
