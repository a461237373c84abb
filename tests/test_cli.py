"""The front door: help everywhere, one line and exit code 2 for what cannot be used, JSON that parses."""

import argparse
import importlib.metadata
import json
import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scaling import cli
from scaling.data.python_sources import ourselves

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
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        out, err = capsys.readouterr()
        return int(end.value.code or 0), out, err

    return command


@pytest.fixture
def mine(tmp_path) -> Path:
    (tmp_path / "mine.py").write_text(CONFIG)
    return tmp_path / "mine.py"


def test_python_m_scaling_tells_the_version_that_is_installed():
    done = subprocess.run([sys.executable, "-m", "scaling", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"scaling {importlib.metadata.version(ourselves())}\n"


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


# What is wrong with a command, and the command; FOLDER holds the files of the fixture below.
WRONG = {
    "no verb": "",
    "a misspelt verb": "quickstrat",
    "a verb without its part": "study",
    "a misspelt option": "study show FOLDER/mine.py --sett n=3",
    "a misspelt parameter": "study show FOLDER/mine.py --set m=3",
    "a misspelt override": "study run FOLDER/mine.py --out FOLDER/out --set model.d_modle=3",
    "an override without a value": "study show FOLDER/mine.py --set model.d_model",
    "an override of the wrong kind": "study show FOLDER/mine.py --set model.d_model=big",
    "an override that does not fit": "study show FOLDER/mine.py --set batch=3 accumulate=2",
    "an unknown config": "study show configs/quikstart.py",
    "an unknown dotted config": "study show configs.quikstart",
    "an empty config": "study show FOLDER/empty.py",
    "a config with a syntax error": "study show FOLDER/broken.py",
    "a binary config": "study run FOLDER/binary.py --out FOLDER/out",
    "a folder as config": "study show FOLDER",
    "an unknown corpus": "study run FOLDER/mine.py --out FOLDER/out --set data.source=pyhton",
    "an unknown synthetic key": "study run FOLDER/mine.py --out FOLDER/out --set data.source=synthetic:order=x",
    "text that is not there": "study run FOLDER/mine.py --out FOLDER/out --set data.source=text:FOLDER/none/*.txt",
    "an empty text": "study run FOLDER/mine.py --out FOLDER/out --set data.source=text:FOLDER/empty.txt",
    "a binary text": "study run FOLDER/mine.py --out FOLDER/out --set data.source=text:FOLDER/binary.txt",
    "a vocabulary that bytes do not have": "study show FOLDER/mine.py --set model.n_vocab=300",
    "a file as folder": "study run FOLDER/mine.py --out FOLDER/file",
    "a folder below a file": "study run FOLDER/mine.py --out FOLDER/file/below",
    "too many workers": "study run FOLDER/mine.py --out FOLDER/out --workers 100000",
    "negative workers": "study run FOLDER/mine.py --out FOLDER/out --workers -1",
    "workers that are no number": "study run FOLDER/mine.py --out FOLDER/out --workers two",
    "no minutes": "quickstart --minutes 0 --out FOLDER/out",
    "minutes that are no number": "quickstart --minutes nan --out FOLDER/out",
    "no text for the quickstart": "quickstart --data text:FOLDER/none/*.txt --out FOLDER/out",
    "an unknown corpus to prepare": "corpus prepare pyhton",
    "no number of tokens": "corpus prepare synthetic: --tokens many",
    "no study in a folder": "study status FOLDER/void",
    "no folder": "study status FOLDER/absent",
    "a file as study": "study status FOLDER/file",
    "a damaged study": "study status FOLDER/damaged",
    "running on a damaged study": "study run FOLDER/mine.py --out FOLDER/damaged",
    "exporting what is no study": "study export FOLDER/void --csv FOLDER/x.csv",
    "exporting to nowhere": "study export FOLDER/void",
    "a report of what is no study": "report FOLDER/void",
    "a fit without a law": "fit",
    "an unknown law": "fit chinchila FOLDER/header.csv",
    "a table that is not there": "fit chinchilla FOLDER/absent.csv",
    "an empty table": "fit chinchilla FOLDER/empty.csv",
    "a table without rows": "fit chinchilla FOLDER/header.csv",
    "a binary table": "fit chinchilla FOLDER/binary.csv",
    "a fit that is not there": "predict FOLDER/absent.json --params 1e9",
    "a fit that is none": "predict FOLDER/damaged/study.json --params 1e9",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wrong")
    noise = random.Random(0).randbytes(999)
    for name, content in {
        "mine.py": CONFIG.encode(),
        "empty.py": b"",
        "broken.py": b"def study(:",
        "binary.py": noise,
        "empty.txt": b"",
        "binary.txt": bytes(range(256)) * 40,
        "empty.csv": b"",
        "header.csv": b"params,tokens,loss\n",
        "binary.csv": noise,
        "file": b"a file, not a folder",
        "damaged/study.json": b'{"format": 1, "na',
        "void/nothing": b"",
    }.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_used_ends_in_one_line_and_exit_code_2(what, folder, run):
    code, out, err = run(*WRONG[what].replace("FOLDER", str(folder)).split())
    (line,) = (line for line in err.splitlines() if not line.startswith("reading "))  # that is progress
    assert line.startswith("scaling")
    assert code == 2
    assert out == ""


@pytest.mark.parametrize("verb", [("fit", "chinchilla", "runs.csv"), ("study", "run", "mine.py", "--out", "a")])
def test_an_unknown_option_points_to_the_help_of_its_own_verb(verb, folder, run):
    code, out, err = run(*verb, "--bogus", "3")
    name = " ".join(word for word in verb[:2] if word != "chinchilla")
    assert (code, out, err) == (
        2,
        "",
        f"scaling {name}: unrecognized arguments: --bogus 3; see scaling {name} --help\n",
    )


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
    from scaling import question, study

    study.prepare(question.load(str(mine), {}), tmp_path / "out", say=lambda line: None)
    code, out, _ = run("study", "status", tmp_path / "out", "--json")
    assert code == 0
    rows = json.loads(out)
    assert [(row["state"], row["steps"], row["of"], row["loss"]) for row in rows] == [("waiting", 0, 16, None)] * 2
    code, out, _ = run("study", "status", tmp_path / "out")
    assert code == 0
    assert "0 of 2 runs finished" in out


def test_a_part_without_runs_is_no_error(mine, run, tmp_path):
    code, _, err = run("study", "run", mine, "--out", tmp_path / "out", "--shard", "5/16")
    assert code == 0
    assert err.splitlines()[-1].endswith("out: part 5/16 has no runs")


def test_what_failed_twice_is_told_apart_from_what_is_to_be_trained(mine, run, tmp_path, capsys):
    from scaling import folders, question, study
    from scaling.commands.study import _only_given_up, _say_what_is_open

    out = tmp_path / "out"
    whole = study.prepare(question.load(str(mine), {}), out, workers=1, say=lambda line: None)
    for pack in whole.packs:
        folder = whole.claims(pack) / "000001"
        folder.mkdir(parents=True)
        (whole.claims(pack) / "claim-000001").write_text("{}")
        folders.write_json(folder / "failed.json", {"attempts": 2, "error": "?"})
    code, _, err = run("study", "run", mine, "--out", out, "--shard", "1/1")
    assert code == 3
    said = [line.split("out: ")[1] for line in err.splitlines()]
    assert said == [
        "2 packs of 2 runs in part 1/1 failed before and are left out; --retry tries what failed",
        "0 of 2 runs done; --retry tries what failed",
    ]
    assert _only_given_up(whole, whole.packs)
    (whole.pack_folder(whole.packs[0]) / "failed.json").unlink()
    assert not _only_given_up(whole, whole.packs)
    _say_what_is_open(whole, whole.packs, None, False)
    _say_what_is_open(whole, whole.packs, None, True)
    assert [line.split("out: ")[1] for line in capsys.readouterr().err.splitlines()] == [
        "1 of 2 runs to train on 1 cpu worker",
        "1 pack of 1 run failed before and is left out; --retry tries what failed",
        "2 of 2 runs to train on 1 cpu worker",
    ]


def test_a_folder_of_another_study_is_refused(mine, run, tmp_path):
    out = tmp_path / "out"
    assert run("study", "run", mine, "--out", out, "--shard", "5/16")[0] == 0
    before = (out / "study.json").read_bytes()
    other = tmp_path / "other.py"
    other.write_text(CONFIG.replace('"mine"', '"other"'))
    code, _, err = run("study", "run", other, "--out", out)
    assert code == 2
    assert err.splitlines()[-1].endswith("holds the study 'mine', not 'other'; use another --out folder")
    assert (out / "study.json").read_bytes() == before


def test_a_quickstart_on_too_little_text_says_which_length_would_do(run, tmp_path):
    (tmp_path / "texts").mkdir()
    chance = random.Random(0)
    words = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(2, 9))) for _ in range(900)]
    for n in range(60):
        (tmp_path / "texts" / f"{n}.txt").write_text(" ".join(chance.choices(words, k=3000)))
    source = f"text:{tmp_path}/texts/*.txt"
    code, _, err = run("quickstart", "--data", source, "--out", tmp_path / "out")
    assert code == 2
    found = re.search(r" has (\d+) tokens to train on, .* \(--set D=(\d+)\)$", err.splitlines()[-1])
    assert found
    has, D = map(int, found.groups())
    assert D % 512 == 0
    assert 8 * D <= has < 8 * (D + 512)


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


def test_a_reader_that_leaves_ends_it_without_a_word_as_any_program(mine):
    command = Path(sys.executable).with_name("scaling")
    words = [command, "study", "show", mine, "--set", "n=5000"]  # more lines than a pipe holds
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as shown:
        assert shown.stdout is not None
        assert shown.stderr is not None
        shown.stdout.readline()
        shown.stdout.close()
        assert shown.stderr.read() == ""
    assert shown.returncode == 141


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("SCALING study show MINE >&-", 2, "standard output is closed"),
        ("SCALING study show MINE >/dev/full", 2, "standard output: No space left on device"),
        ("SCALING study show MINE <&- 2>&-", 0, ""),
        ("ulimit -n 24; SCALING study show MINE", 2, "may open 24 files at once"),
        ("ulimit -v 1000000; SCALING study show MINE", 2, "GiB of addresses"),
        ("JAX_PLATFORMS=nonsense SCALING study show MINE", 2, "JAX_PLATFORMS=nonsense"),
        ("XLA_FLAGS=--xla_nonsense=1 SCALING study show MINE", 2, "Unknown flag in XLA_FLAGS: --xla_nonsense=1"),
        ("PYTHONIOENCODING=ascii SCALING fit --list", 0, ""),
    ],
)
def test_what_a_process_inherits_ends_in_a_line_or_does_no_harm(line, code, said, mine):
    shell = line.replace("SCALING", f"{sys.executable} -m scaling").replace("MINE", str(mine))
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, timeout=300)
    assert done.returncode == code
    assert said in done.stderr
    assert done.stderr.count("\n") == (1 if said else 0)


@pytest.mark.parametrize(
    ("words", "file", "found"),
    [
        ("table synthetic:chinchilla --params 1e7 1e9 50 --tokens 1e9 1e11 50 --json --out {}", "x.csv", "surface"),
        ("report batch.csv --json --out {}", "page/index.html", "rows"),
    ],
    ids=["table", "page"],
)
def test_what_was_found_is_printed_even_if_its_file_cannot_be_written(words, file, found, run, tmp_path, monkeypatch):
    """The disk is found full at the end; the old file stays."""
    import resource

    monkeypatch.chdir(tmp_path)
    Path("batch.csv").write_text("loss,batch_crit\n3,1e5\n2.5,3e5\n2.2,6e5\n2,9e5\n")
    out = tmp_path / file
    out.parent.mkdir(exist_ok=True)
    out.write_text("old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        code, said, err = run(*words.format(out if file == out.name else out.parent).split())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert code == 2
    assert found in json.loads(said)
    assert err.startswith(f"scaling: {out}: File too large")
    assert out.read_text() == "old"


@pytest.mark.parametrize(
    "words",
    [
        "study run {mine} --out hdfs://bucket/x",
        "study export {tmp} --tensorboard s3://bucket/x",
        "study export {tmp} --csv GS://bucket/x",
        "study status abfss://bucket/x",
        "reproduce kaplan --budget cpu-1h --out gs://bucket/x",
        "fit kaplan runs.csv --floor-from gs://bucket/x",
        "plan fit.json --flops 1e18 --store gs://bucket/x/",
        "predict fit.json --params 1e9 --store az://bucket/x/",
        "table gs://bucket/x --out y.csv",
        "corpus show text:gs://bucket/x",
        "study run {mine} --out q --set data.tokenizer=gs://bucket/x data.source=python",
        "launch {mine} --on slurm --accelerator cpu --out /q --files gs://bucket/x",
    ],
)
def test_a_bucket_is_refused_wherever_only_a_disk_will_do_and_no_folder_of_that_name_is_made(
    words, run, mine, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    code, _, err = run(*words.format(mine=mine, tmp=tmp_path).split())
    assert (code, err.count("\n")) == (2, 1)
    assert re.search("://bucket/x/?: ", err)
    assert "is no folder on a disk, which is wanted here; copy it or mount the bucket, see docs/buckets.md" in err
    assert not [path for path in tmp_path.iterdir() if ":" in path.name]


def test_a_cache_in_a_bucket_is_refused(run, mine, monkeypatch):
    monkeypatch.setenv("SCALING_CACHE", "gs://bucket/x")
    code, _, err = run("study", "show", mine)
    assert code == 2
    assert "SCALING_CACHE=gs://bucket/x: gs: is no folder" in err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_an_interruption_while_the_words_are_read_is_a_line_and_exit_code_42(number, capsys):
    class Words(list):
        def __iter__(self):
            os.kill(os.getpid(), number)
            return super().__iter__()

    with pytest.raises(SystemExit) as end:
        cli.main(Words(["fit", "--list"]))
    signal.signal(number, signal.SIG_DFL)
    assert end.value.code == 42
    assert capsys.readouterr().err == "interrupted\n"
