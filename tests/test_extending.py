"""Laws, optimisers and kinds of model of a user's own, as docs/extending.md has them."""

import csv
import dataclasses
import json
import math
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

from analysis import fit
from analysis.fit.estimate import Fit
from analysis.laws import own
from scaling import config, counts, exchange, extensions, kinds, own_code, question, study, workers
from scaling.cli import main
from scaling.config import ModelConfig, OptimConfig, RunConfig
from scaling.data import batches, token_set
from scaling.errors import InputError
from scaling.study import StudyFolder
from scaling.trained import load

PAGE = (ROOT / "docs" / "extending.md").read_text()
FILES = dict(re.findall(r"`(\w+\.py)`(?:(?!```|\.py`).)*```python\n(.*?)```", PAGE, re.DOTALL))
STUDY = """
from scaling.config import DataConfig, EvalConfig, ModelConfig, OptimConfig, RunConfig, Study

def study(steps: int = 120):
    model = ModelConfig(
        kind="convolution.py:Convolution", d_model=8, n_layer=1, n_head=1, d_attn=8, d_ff=32, n_vocab=257, n_ctx=16
    )
    same = dict(tokens=64 * steps, batch=4, eval=EvalConfig(windows=8))
    data = DataConfig("synthetic:order=1,symbols=8,bytes=1e6", "bytes")
    return Study("own", "Does it train?", tuple(
        RunConfig(model, data=data, optim=OptimConfig(2e-2, name), **same)
        for name in ("lion.py:Lion", "bad.py:Bad")
    ))
"""
BAD = """
from scaling.optimizers import Optimizer

class Bad(Optimizer):
    def transformation(self, config):
        import jax, optax

        return optax.stateless(lambda updates, params: jax.tree.map(lambda leaf: leaf @ leaf[:7], updates))
"""


@pytest.fixture
def files(tmp_path) -> Path:
    """A folder with the files of the page."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.fixture(scope="module")
def trained(tmp_path_factory, cache) -> tuple[StudyFolder, str]:
    """A study of the page's kind with its optimiser and with one that fails, and what was said of it."""
    folder = tmp_path_factory.mktemp("own")
    for name, text in {**FILES, "own.py": STUDY, "bad.py": BAD}.items():
        (folder / name).write_text(text)
    said: list[str] = []
    wanted = question.load(str(folder / "own.py"), {})
    whole = study.prepare(wanted, folder / "out", workers=1, say=said.append)
    workers.run(whole, shared=True, say=said.append)
    return whole, "\n".join(said)


def test_the_page_s_kind_is_trained_with_the_page_s_optimiser(trained):
    whole, _ = trained
    lion = next(pack for pack in whole.packs if pack.configs[0].optim.optimizer.startswith("Lion@"))
    done = whole.done(lion)
    assert done
    assert done["status"] == ["done"]
    assert done["loss"][0] < 0.6 * math.log(257)
    run = lion.configs[0]
    kept = {path.name: path.read_text() for path in (whole.path / "sources").iterdir()}
    for name, file in ((run.model.kind, "convolution.py"), (run.optim.optimizer, "lion.py")):
        assert kept[f"{name.partition('@')[2]}.py"] == FILES[file]


def test_a_trained_model_is_loaded_with_the_loss_that_its_record_has(trained, capsys):
    whole, _ = trained
    done = next(done for pack in whole.packs if (done := whole.done(pack)))
    found = load(whole.path)
    assert found.steps == found.config.steps == 120
    held_out = token_set.open_tokens(Path(next(iter(whole.tokens.values()))))
    windows = batches.validation_windows(held_out.validation, 16, 8, held_out.separator)
    logits = np.asarray(found.logits(windows[:, :-1]), np.float64)
    log_z = np.log(np.exp(logits).sum(-1))
    chosen = np.take_along_axis(logits, windows[:, 1:, None], -1)[..., 0]
    assert (log_z - chosen).mean() == pytest.approx(done["loss"][0], rel=1e-5)
    assert found.tokenizer.decode(found.tokens("abc")[0, 1:]) == "abc"
    with pytest.raises(SystemExit) as end:
        main(["sample", f"{whole.path}/{found.id}", "--prompt", "abc", "--tokens", "20", "--json"])
    assert not end.value.code
    said = json.loads(capsys.readouterr().out)
    assert (said["run"], said["text"]) == (found.id, found.sample("abc", 20)[0])
    for wrong in ("no", found.config.model.kind):
        with pytest.raises(InputError, match="0 runs have ids that begin with"):
            load(whole.path, wrong)
    failed = next(run.id for pack in whole.packs for run in pack.runs if not whole.done(pack))
    with pytest.raises(InputError, match=f"run {failed} has no weights: it has not begun"):
        load(whole.path, failed)


def test_what_fails_in_a_worker_is_said_with_its_place(trained):
    whole, said = trained
    line = 1 + BAD.splitlines().index(next(line for line in BAD.splitlines() if "leaf @ leaf" in line))
    assert said.count(f"{whole.path.parent / 'bad.py'}:{line}: TypeError: ") == 2
    assert "For simplicity" not in said


def test_a_study_and_an_archive_are_read_without_the_code_of_their_runs(trained, tmp_path):
    """Another process, in a folder where files of these names would say so if they were run."""
    whole, _ = trained
    for name in FILES:
        (tmp_path / name).write_text("open('was_run', 'w')")
    exchange.write(whole, tmp_path / "runs.tar")
    for words in (("study", "import", "copy", "runs.tar"), ("table", "copy", "--out", "runs.csv")):
        subprocess.run(own_code.command("scaling", *words), cwd=tmp_path, check=True, capture_output=True)
    assert not (tmp_path / "was_run").exists()
    with (tmp_path / "runs.csv").open() as file:
        (found,) = csv.DictReader(file)
    model = next(run.config.model for pack in whole.packs for run in pack.runs)
    assert float(found["params"]) == model.N == 8 * (4 + 2 * 32)
    assert float(found["params_total"]) == counts.params(model)["params_total"]
    assert found["kind"] == model.kind


@pytest.mark.parametrize("name", ["lion.py:Lion", "Lion", "Lion@1"])
def test_a_file_that_an_archive_names_is_not_looked_for(files, monkeypatch, name):
    monkeypatch.chdir(files)
    with pytest.raises(InputError, match=r"outside of one|wanted one of"):
        config.from_dict(OptimConfig, {"optimizer": name})
    with pytest.raises(InputError, match=r"outside of one|wanted one of"):
        ModelConfig(8, 1, 1, 8, 32, kind=name)
    values = config.to_dict(run_of(files))
    with extensions.beside(files), pytest.raises(InputError, match=r"outside of one|wanted one of"):
        config.recorded({**values, "optim": {**values["optim"], "optimizer": name}}, config.SEMANTICS)


def run_of(folder: Path, name: str = "lion.py:Lion") -> RunConfig:
    with extensions.beside(folder):
        return RunConfig(ModelConfig(8, 1, 1, 8, 32, n_ctx=16), tokens=640, optim=OptimConfig(1e-3, name), batch=4)


def test_an_id_holds_what_a_file_says_and_not_where_it_lies(files):
    (files / "elsewhere").mkdir()
    text = (files / "lion.py").read_text()
    (files / "elsewhere" / "other.py").write_text(
        '"""Another docstring."""\n' + text.partition("\n")[2] + "\n# the end\n"
    )
    (files / "with_study.py").write_text(text + "\n\ndef study():\n    return [1, 2, 3]\n")
    (files / "changed.py").write_text(text.replace("0.2)", "0.3)"))
    names = ("lion.py", "elsewhere/other.py", "with_study.py", "changed.py")
    first, *same, changed = (config.identity(run_of(files, f"{name}:Lion"), "t") for name in names)
    assert same == [first, first]
    assert changed != first
    assert config.from_dict(RunConfig, json.loads(json.dumps(config.to_dict(run_of(files))))) == run_of(files)


def test_runs_that_name_no_code_of_their_own_keep_the_ids_that_they_had():
    plain = RunConfig(ModelConfig(8, 1, 1, 8, 32, n_ctx=16), tokens=640, batch=4)
    assert config.identity(plain, "t") == "6932d34721eb"
    adamw = dataclasses.replace(plain, optim=OptimConfig(1e-3, "adamw", weight_decay=0.1))
    assert config.identity(adamw, "t") == "f2ecabdba16b"


def test_a_worker_refuses_a_file_that_has_changed(files):
    (word,) = extensions.words([run_of(files).optim.optimizer])
    extensions.take(word)
    (files / "lion.py").write_text(FILES["lion.py"].replace("0.2)", "0.30)"))
    with pytest.raises(InputError, match=r"lion\.py was changed while the study was being trained"):
        extensions.take(word)


def test_the_optimiser_keeps_what_it_says(files):
    import jax
    import jax.numpy as jnp

    from scaling import optim, optimizers

    found = run_of(files).optim
    params = {"w_up": jnp.ones((1, 3, 5)), "g_final": jnp.ones(4)}
    state = jax.eval_shape(optim.optimizer(found).init, params)
    numbers = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(state) if leaf.shape)
    assert numbers == optimizers.of(found.optimizer).kept(15, 19) == 19


def test_the_page_s_law_finds_the_exponent_and_its_fit_is_read_with_the_law_alone(files):
    law = own(f"{files / 'one_exponent.py'}:OneExponent")
    N, D = (x.ravel() for x in np.meshgrid(np.geomspace(1e6, 1e9, 6), np.geomspace(1e8, 1e11, 6)))
    values = {"E": 1.7, "A": 400.0, "B": 900.0, "alpha": 0.34}
    loss = law(**values)(N, D) * np.exp(0.002 * np.random.default_rng(0).normal(size=36))
    found = fit.fit("one-exponent", {"params": N, "tokens": D, "loss": loss}, loss="squared")
    low, high = found.intervals["alpha"]
    assert low < 0.34 < high < low + 0.02
    found.to_json(files / "one.json")
    again = Fit.from_json(files / "one.json", law)
    assert again.constants == found.constants
    assert again.law(1e9, 2e10) == found.law(1e9, 2e10)
    (files / "one_exponent.py").write_text(FILES["one_exponent.py"].replace("self.A /", "2 * self.A /"))
    other = own(f"{files / 'one_exponent.py'}:OneExponent")
    with pytest.raises(InputError, match="'one-exponent' whose file said something else"):
        Fit.from_json(files / "one.json", other)


def test_the_commands_of_the_page_about_laws_work_as_printed(files, monkeypatch, capsys):
    (files / "docs").symlink_to(ROOT / "docs")
    monkeypatch.chdir(files)
    for line in re.findall(r"^    scaling ((?:fit|predict|plan) .*)$", PAGE, re.MULTILINE):
        with pytest.raises(SystemExit, match=r"^0$"):
            main(line.split())
    assert "by one-exponent" in capsys.readouterr().out


def test_a_fit_of_an_own_law_without_the_law_is_refused_with_the_way_out(files):
    law = own(f"{files / 'one_exponent.py'}:OneExponent")
    kept = {"law": law.name + "-unheard-of"}
    with pytest.raises(InputError, match=r"with a fit that was kept --law FILE\.py:Name"):
        Fit.from_json(json.dumps(kept))


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        (
            "lion.py:Lyon",
            "",
            r"lion\.py has no Lyon of its own that is a subclass of scaling\.optimizers\.Optimizer; it has Lion",
        ),
        ("lion.py:Optimizer", "", r"lion\.py has no Optimizer of its own that is a subclass"),
        ("lyon.py:Lion", "", r"no file .*lyon\.py; wanted FILE\.py:Name"),
        ("../lion.py:Lion", "", r"wanted a file in the folder of the config"),
        ("broken.py:A", "def a(:", r"broken\.py is not a Python file: .*, line 1"),
        ("broken.py:A", "\n1 / 0", r"broken\.py:2: ZeroDivisionError: division by zero"),
        ("broken.py:A", "import neighbour_of_mine", r"broken\.py:1: ModuleNotFoundError"),
        ("broken.py:A", "raise SystemExit", r"broken\.py:1: SystemExit"),
    ],
)
def test_code_that_cannot_be_used_is_refused_in_a_line(files, name, text, words):
    (files / "broken.py").write_text(text)
    with pytest.raises(InputError, match=words) as refused:
        run_of(files, name)
    assert "\n" not in str(refused.value)


def test_a_kind_that_lacks_what_every_kind_says_is_refused(files):
    (files / "half.py").write_text(
        "from scaling.kinds.kind import Kind\n\nclass Half(Kind):\n    title = 'half'\n    axes = {}\n"
    )
    with extensions.beside(files):
        with pytest.raises(InputError, match=r"Half in .*half\.py does not say N, kept, vectors, as every Kind does"):
            ModelConfig(8, 1, 1, 8, 32, kind="half.py:Half")
        (files / "odd.py").write_text(FILES["convolution.py"].replace('"w_up": "l d f"', '"w_up": "l f d"'))
        with pytest.raises(InputError, match="its axes of w_up are 'l f d', and those of a Transformer are 'l d f'"):
            ModelConfig(8, 1, 1, 8, 32, kind="odd.py:Convolution")


def test_a_config_may_hold_the_class_itself(files, tmp_path):
    (files / "whole.py").write_text(
        FILES["lion.py"]
        + "\n\n"
        + FILES["mine.py"].replace("lion.py:Lion", "whole.py:Lion").replace('"Lion"', '"whole.py:Lion"')
    )
    inside, beside = (question.load(str(files / name), {}).runs for name in ("whole.py", "mine.py"))
    assert [run.optim.optimizer.partition("@")[0] for run in (*inside, *beside)] == ["Lion"] * 4
    assert kinds.of(inside[0].model) is kinds.of(beside[0].model)
