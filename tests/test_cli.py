"""The front door: help everywhere, one line and exit code 2 for what cannot be used, JSON that parses."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scaling import cli

pytestmark = pytest.mark.usefixtures("cache")

CONFIG = """
from scaling.config import *
from scaling.ladder import transformer
def study(n: int = 2):
    data = DataConfig("synthetic:order=1,symbols=8,bytes=1e6", "bytes")
    model = transformer(8, 1, d_head=8, n_vocab=257, n_ctx=16)
    return Study("mine", "?", tuple(
        RunConfig(model, tokens=1024, batch=4, seed=seed, data=data, eval=EvalConfig(windows=4)) for seed in range(n)
    ))
"""


def verbs(parser: argparse.ArgumentParser, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command that does something."""
    inner = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not inner:
        yield path
    for action in inner:
        for name, verb in action.choices.items():
            yield from verbs(verb, (*path, name))


VERBS = list(verbs(cli.parser()))


@pytest.fixture
def run(capsys):
    """Runs a command in this process -> (exit code, standard output, standard error)."""

    def command(*words: str | Path) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            cli.main([str(word) for word in words])
        out, err = capsys.readouterr()
        return int(end.value.code or 0), out, err

    return command


@pytest.fixture
def mine(tmp_path) -> Path:
    (tmp_path / "mine.py").write_text(CONFIG)
    return tmp_path / "mine.py"


def test_the_verbs_are_those_of_the_manual():
    assert {" ".join(verb) for verb in VERBS} >= {
        "quickstart",
        "corpus prepare",
        "corpus show",
        "study show",
        "study run",
        "study status",
        "study export",
        "fit",
        "predict",
        "plan",
        "report",
    }


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_every_verb_has_help_with_an_example_that_its_parser_accepts(verb, run):
    code, out, _ = run(*verb, "--help")
    assert code == 0
    example = " ".join(out.split("example: ")[1].split())
    words = example.replace('"', "").split()
    assert words[: len(verb) + 1] == ["scaling", *verb]


def test_help_needs_neither_jax_nor_numpy():
    code = """
import sys
from scaling import cli
cli.parser().format_help()
heavy = {"jax", "numpy", "scipy", "matplotlib", "pyarrow", "flax", "orbax"} & sys.modules.keys()
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def unusable(folder: Path) -> dict[str, list[str]]:
    """Commands that cannot be done, by what is wrong with them."""
    mine = folder / "mine.py"
    mine.write_text(CONFIG)
    (folder / "empty.py").write_text("")
    (folder / "broken.py").write_text("def study(:")
    (folder / "binary.py").write_bytes(os.urandom(999))
    (folder / "empty.txt").write_text("")
    (folder / "binary.txt").write_bytes(bytes(range(256)) * 40)
    (folder / "empty.csv").write_text("")
    (folder / "header.csv").write_text("params,tokens,loss\n")
    (folder / "binary.csv").write_bytes(os.urandom(999))
    (folder / "file").write_text("a file, not a folder")
    (folder / "damaged").mkdir()
    (folder / "damaged" / "study.json").write_text('{"format": 1, "na')
    (folder / "void").mkdir()
    out = ["--out", str(folder / "out")]
    return {
        "no verb": [],
        "a misspelt verb": ["quickstrat"],
        "a verb without its part": ["study"],
        "a misspelt option": ["study", "show", str(mine), "--sett", "n=3"],
        "a misspelt parameter": ["study", "show", str(mine), "--set", "m=3"],
        "a misspelt override": ["study", "run", str(mine), *out, "--set", "model.d_modle=3"],
        "an override without a value": ["study", "show", str(mine), "--set", "model.d_model"],
        "an override of the wrong kind": ["study", "show", str(mine), "--set", "model.d_model=big"],
        "an override that does not fit": ["study", "show", str(mine), "--set", "tokens=1000"],
        "an unknown config": ["study", "show", "configs/quikstart.py"],
        "an unknown dotted config": ["study", "show", "configs.quikstart"],
        "an empty config": ["study", "show", str(folder / "empty.py")],
        "a config with a syntax error": ["study", "show", str(folder / "broken.py")],
        "a binary config": ["study", "run", str(folder / "binary.py"), *out],
        "a folder as config": ["study", "show", str(folder)],
        "an unknown corpus": ["study", "run", str(mine), *out, "--set", "data.source=pyhton"],
        "an unknown synthetic key": ["study", "run", str(mine), *out, "--set", "data.source=synthetic:order=x"],
        "text that is not there": ["study", "run", str(mine), *out, "--set", f"data.source=text:{folder}/none/*.txt"],
        "an empty text": ["study", "run", str(mine), *out, "--set", f"data.source=text:{folder}/empty.txt"],
        "a binary text": ["study", "run", str(mine), *out, "--set", f"data.source=text:{folder}/binary.txt"],
        "a vocabulary that bytes do not have": ["study", "show", str(mine), "--set", "model.n_vocab=300"],
        "a file as folder": ["study", "run", str(mine), "--out", str(folder / "file")],
        "a folder below a file": ["study", "run", str(mine), "--out", str(folder / "file" / "below")],
        "too many workers": ["study", "run", str(mine), *out, "--workers", "100000"],
        "negative workers": ["study", "run", str(mine), *out, "--workers", "-1"],
        "workers that are no number": ["study", "run", str(mine), *out, "--workers", "two"],
        "no minutes": ["quickstart", "--minutes", "0", *out],
        "minutes that are no number": ["quickstart", "--minutes", "nan", *out],
        "no text for the quickstart": ["quickstart", "--data", f"text:{folder}/none/*.txt", *out],
        "an unknown corpus to prepare": ["corpus", "prepare", "pyhton"],
        "no number of tokens": ["corpus", "prepare", "synthetic:", "--tokens", "many"],
        "no study in a folder": ["study", "status", str(folder / "void")],
        "no folder": ["study", "status", str(folder / "absent")],
        "a file as study": ["study", "status", str(folder / "file")],
        "a damaged study": ["study", "status", str(folder / "damaged")],
        "running on a damaged study": ["study", "run", str(mine), "--out", str(folder / "damaged")],
        "exporting what is no study": ["study", "export", str(folder / "void"), "--csv", str(folder / "x.csv")],
        "exporting to nowhere": ["study", "export", str(folder / "void")],
        "a report of what is no study": ["report", str(folder / "void")],
        "a fit without a law": ["fit"],
        "an unknown law": ["fit", "chinchila", str(folder / "header.csv")],
        "a table that is not there": ["fit", "chinchilla", str(folder / "absent.csv")],
        "an empty table": ["fit", "chinchilla", str(folder / "empty.csv")],
        "a table without rows": ["fit", "chinchilla", str(folder / "header.csv")],
        "a binary table": ["fit", "chinchilla", str(folder / "binary.csv")],
        "a fit that is not there": ["predict", str(folder / "absent.json"), "--params", "1e9"],
        "a fit that is none": ["predict", str(folder / "damaged" / "study.json"), "--params", "1e9"],
    }


@pytest.fixture(scope="module")
def wrong(tmp_path_factory) -> dict[str, list[str]]:
    return unusable(tmp_path_factory.mktemp("wrong"))


@pytest.mark.parametrize("what", unusable(Path(os.devnull)) if False else [])
def test_placeholder(what): ...


def test_what_cannot_be_used_ends_in_one_line_and_exit_code_2(wrong, run, subtests):
    for what, words in wrong.items():
        with subtests.test(what):
            code, out, err = run(*words)
            assert code == 2, (what, out, err)
            assert len(err.splitlines()) == 1, (what, err)
            assert err.startswith("scaling"), what
            assert out == "", what


def test_a_study_is_shown_as_the_json_that_it_is(mine, run):
    from scaling.config import RunConfig, from_dict

    code, out, err = run("study", "show", mine, "--json", "--set", "n=3", "optim.learning_rate=0.5")
    assert (code, err) == (0, "")
    runs = [from_dict(RunConfig, values) for values in json.loads(out)["runs"]]
    assert [(each.seed, each.optim.learning_rate) for each in runs] == [(0, 0.5), (1, 0.5), (2, 0.5)]
    code, out, _ = run("study", "show", mine)
    assert code == 0
    assert "2 runs, 2,048 tokens" in out


def test_settings_can_be_given_together_or_one_by_one(mine, run):
    together = run("study", "show", mine, "--json", "--set", "n=3", "batch=8")
    assert run("study", "show", mine, "--json", "--set", "n=3", "--set", "batch=8") == together


def test_the_status_of_a_study_is_a_table_and_json(mine, run, tmp_path):
    from scaling import study

    study.prepare(study.load(str(mine), {}), tmp_path / "out", say=lambda line: None)
    code, out, _ = run("study", "status", tmp_path / "out", "--json")
    assert code == 0
    rows = json.loads(out)
    assert [(row["state"], row["steps"], row["of"], row["loss"]) for row in rows] == [("waiting", 0, 16, None)] * 2
    code, out, _ = run("study", "status", tmp_path / "out")
    assert code == 0
    assert "0 of 2 runs finished" in out


def test_corpora_are_described_in_words_and_json(run):
    words = ("synthetic:order=1,symbols=8,bytes=1e6", "--tokenizer", "bytes", "--tokens", "1e4")
    code, out, _ = run("corpus", "prepare", *words, "--json")
    assert code == 0
    assert json.loads(out)["n_vocab"] == 257
    for verb in ("prepare", "show"):
        code, out, _ = run("corpus", verb, *words)
        assert code == 0
        assert "bytes per token" in out


def test_the_command_is_installed(mine):
    command = Path(sys.executable).with_name("scaling")
    done = subprocess.run([command, "study", "show", mine, "--set", "m=1"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_a_reader_that_leaves_is_no_error(mine):
    command = Path(sys.executable).with_name("scaling")
    shown = subprocess.Popen(
        [command, "study", "show", mine, "--set", "n=20000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert shown.stdout is not None
    assert shown.stderr is not None
    shown.stdout.readline()
    shown.stdout.close()
    assert shown.stderr.read() == ""
    assert shown.wait() == 0
