"""README.md: its commands and its Python run as printed, one after the other, and print what it says they print."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT

from analysis.fit.estimate import Fit
from analysis.laws import Chinchilla
from scaling import cli

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
QUICKSTART = next(i for i, (_, block) in enumerate(BLOCKS) if "quickstart" in block)
OWN = next(i for i, (_, block) in enumerate(BLOCKS) if "report logs" in block)
NUMBER = r"\d+(?:\.\d+)?(?:e-?\d+)?"


def alike(found: str, printed: str) -> None:
    """The same words, and the same numbers within 1 %."""
    numbers, wanted = (np.array(re.findall(NUMBER, text), float) for text in (found, printed))
    assert re.sub(NUMBER, "#", found) == re.sub(NUMBER, "#", printed)
    np.testing.assert_allclose(numbers, wanted, rtol=0.01, atol=1e-3)


def test_what_is_done_before_anything_is_trained_prints_what_it_says(tmp_path, monkeypatch, capsys):
    (tmp_path / "docs").mkdir()
    shutil.copy(ROOT / "docs" / "runs.csv", tmp_path / "docs")
    monkeypatch.chdir(tmp_path)
    for kind, block in BLOCKS[:OWN]:
        if kind == "text":
            alike(capsys.readouterr().out, block)
        elif kind == "python":
            capsys.readouterr()
            exec(block, {})
        else:
            for line in block.splitlines():
                with pytest.raises(SystemExit, match=r"^0$"):
                    cli.main(shlex.split(line)[1:])


@pytest.mark.slow
def test_ones_own_logs_and_exports_of_wandb_become_pages_a_law_and_a_plan(tmp_path, monkeypatch, capsys):
    """Files as their tools leave them, of L = 1.9 + 60 / N^0.34 + 250 / D^0.36: each finds its exponents."""
    noise, law = np.random.default_rng(0), Chinchilla(1.9, 60.0, 250.0, 0.34, 0.36)
    chart: dict[str, dict[int, float]] = {}
    settings, history = [], ["_step,run_name,n_params,tokens_seen,train/loss,val/loss"]
    (tmp_path / "logs").mkdir()
    for width, depth in ((128, 4), (192, 6), (256, 8), (384, 8), (512, 10)):
        for ratio in (5, 20, 60):
            N, name = 12 * depth * width**2, f"gpt-d{width}-x{ratio}"
            steps = [ratio * N // 16384 * part // 4 for part in (1, 2, 4)]
            chart[name] = {s: float(law(N, 16384 * s) * np.exp(0.002 * noise.normal())) for s in steps}
            lines: list[Any] = [{"config": {"n_params": N, "optim": {"lr": 1e-3}}, "gpu": "RTX 4090"}]
            for s, loss in chart[name].items():
                lines.append({"_step": s - 1, "train": {"loss": loss}, "tokens_seen": 16384 * (s - 1)})
                lines.append({"_step": s, "val": {"loss": loss, "ppl": np.exp(loss)}, "tokens_seen": 16384 * s})
                history.append(f"{s},{name},{N},{16384 * s},{loss * 0.99},{loss}")
            (tmp_path / "logs" / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)))
            settings.append(f'"{name}","finished","-","me","","2026-11-30T10:00:00.000Z","60","","{N}","{steps[-1]}"')
    (tmp_path / "history.csv").write_text("\n".join(history))
    (tmp_path / "wandb_runs.csv").write_text(
        '"Name","State","Notes","User","Tags","Created","Runtime","Sweep","n_params","_step"\n' + "\n".join(settings)
    )
    sides = ("", "__MIN", "__MAX")
    rows = [["Step", *(f"{name} - val/loss{side}" for name in chart for side in sides)]]
    for step in sorted({step for curve in chart.values() for step in curve}):
        rows.append([str(step), *(str(curve.get(step, "")) for curve in chart.values() for _ in sides)])
    (tmp_path / "chart.csv").write_text("\n".join(",".join(f'"{cell}"' for cell in row) for row in rows))
    monkeypatch.chdir(tmp_path)
    for _, block in BLOCKS[OWN:QUICKSTART]:
        for line in block.splitlines():
            with pytest.raises(SystemExit, match=r"^0$"):
                cli.main(shlex.split(line)[1:])
    for page in ("logs-report", "chart-report", "history-report"):
        said = json.loads((tmp_path / page / "findings.json").read_text())
        assert said["rows"] == 15
        assert 'id="figure-chinchilla-loss"' in (tmp_path / page / "index.html").read_text()
    for low, high in (Fit.from_json(tmp_path / "mine.json").intervals[name] for name in ("alpha", "beta")):
        assert low < 0.36
        assert high > 0.34
    assert "of rtx4090" in capsys.readouterr().out


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory) -> Path:
    """A folder with notes of some megabytes, sentences of words of which some are frequent."""
    folder, rng = tmp_path_factory.mktemp("elsewhere"), np.random.default_rng(0)
    words = np.array(["".join(rng.choice(list("aeioumnrstl"), rng.integers(2, 9))) for _ in range(3000)])
    (folder / "notes" / "below").mkdir(parents=True)
    for i in range(700):
        text = " ".join(words[np.minimum(rng.zipf(1.2, 2500) - 1, 2999)])
        (folder / "notes" / ("below" if i % 2 else "") / f"{i}.md").write_text(text)
    return folder


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> dict[str, str]:
    """With the command on the PATH, as the page has it."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    cache = str(tmp_path_factory.mktemp("cache"))
    return os.environ | {"PATH": path, "PYTHONPATH": str(ROOT), "SCALING_CACHE": cache}


@pytest.mark.slow
def test_the_quickstart_on_ones_own_text_begins_to_train(elsewhere, environment):
    """Its twenty minutes are cut short by Ctrl-C, which saves."""
    command = shlex.split(BLOCKS[QUICKSTART][1])
    with subprocess.Popen(command, cwd=elsewhere, env=environment, stderr=subprocess.PIPE, text=True) as process:
        begun = time.monotonic()
        while not any(elsewhere.glob("studies/*/packs/*/*/checkpoints/*")):
            assert process.poll() is None
            assert time.monotonic() - begun < 400
            time.sleep(1)
        process.send_signal(signal.SIGINT)
        assert process.stderr
        said = process.stderr.read()
    assert process.returncode == 42, said
    assert "runs to train" in said


@pytest.mark.slow
def test_a_study_of_ones_own_is_shown_trained_and_loaded_as_printed(elsewhere, environment):
    (config, *_), (script, *_) = (
        [b for k, b in BLOCKS[QUICKSTART:] if k == "python" and w in b] for w in ("def ", "load(")
    )
    (elsewhere / "mine.py").write_text(config)
    commands = next(block for kind, block in BLOCKS if kind == "sh" and "mine.py" in block)
    how = {"cwd": elsewhere, "env": environment, "capture_output": True, "text": True, "check": True}
    done = subprocess.run(["sh", "-e", "-c", commands], **how)
    assert "3 of 3 runs finished (3 done)" in done.stdout
    assert "tokens=100000 is not a whole number of steps" in done.stderr
    said = subprocess.run([sys.executable, "-c", script], **how)
    assert re.fullmatch(r"'.+'\n", said.stdout)


def test_the_page_names_what_is_there():
    for target in re.findall(r"^    make ([\w-]+)", TEXT, re.MULTILINE):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), target
    table = TEXT[TEXT.index("## What you can do") : TEXT.index("Every verb has")]
    cells = re.findall(r"^\| (`.+?) \|", table, re.MULTILINE)
    known = cli.parser()._subparsers._group_actions[0].choices  # pyright: ignore
    assert set(known or ()) <= {name for cell in cells for name in re.findall(r"`(\w+)", cell)}
    for page in (TEXT, *(path.read_text() for path in (ROOT / "docs").rglob("*.md"))):
        assert not re.search(r"pip install ['\"]?scaling\b", page)  # another project of that name
