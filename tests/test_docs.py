"""The documentation: its examples run as printed, on data of this repository."""

import doctest
import re
import runpy
import shlex
import shutil
import tempfile
from pathlib import Path

import pytest

from scaling import cli

DOCS = Path(__file__).parents[1] / "docs"
PAGES = [page for page in sorted(DOCS.rglob("*.md")) if ">>> " in page.read_text(encoding="utf-8")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_examples_run_as_printed(page, tmp_path, monkeypatch):
    (tmp_path / "docs").mkdir()
    shutil.copy(DOCS / "runs.csv", tmp_path / "docs")
    monkeypatch.chdir(tmp_path)  # an example may write files
    assert doctest.testfile(str(page), module_relative=False).failed == 0
    assert "+SKIP" not in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(("page", "commands"), [("planning", 4), ("design", 2), ("mixtures", 2)])
def test_commands_that_are_shown_with_their_output_print_it(page, commands, tmp_path, monkeypatch, capsys):
    (tmp_path / "docs").mkdir()
    shutil.copy(DOCS / "mixtures.csv", tmp_path / "docs")
    monkeypatch.chdir(tmp_path)
    shown = re.findall(
        r"^    \$ scaling (.*)\n((?:    .*\n)+)", (DOCS / f"{page}.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert len(shown) == commands
    for command, wanted in shown:
        with pytest.raises(SystemExit) as end:
            cli.main(shlex.split(command))
        assert not end.value.code
        wanted, printed = (re.sub(r"[ \n]+", " ", part) for part in (wanted, capsys.readouterr().out))
        assert doctest.OutputChecker().check_output(wanted.strip(), printed.strip(), doctest.ELLIPSIS), command


def test_the_worked_notebook_runs_and_finds_the_law_its_logs_were_drawn_from(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    cells = runpy.run_path(str(DOCS / "notebook.py"))
    low, high = cells["found"].intervals["alpha"]
    assert low < 0.35 < high
    assert len(cells["runs"]) == 16
    assert "1e21 FLOP" in capsys.readouterr().out
