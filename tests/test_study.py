"""A study on disk: stable identities and packs, its file, what it refuses."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from scaling import calibration, claims, histories, layout, question, schedules, status, study
from scaling.config import DataConfig, EvalConfig, OptimConfig, RunConfig, Study, identity
from scaling.errors import InputError
from scaling.ladder import transformer
from scaling.study import StudyFolder

DATA = DataConfig("synthetic:order=1,symbols=8,bytes=1e6", "bytes")
SMALL, LARGE = (transformer(d, 1, d_head=8, n_vocab=257, n_ctx=16) for d in (8, 16))


def a_run(model=SMALL, steps: int = 4, seed: int = 0, rate: float = 1e-2) -> RunConfig:
    return RunConfig(
        model,
        tokens=steps * 64,
        batch=4,
        seed=seed,
        data=DATA,
        optim=OptimConfig(learning_rate=rate),
        eval=EvalConfig(windows=8, per_octave=1, octaves=2),
    )


def a_study(*runs: RunConfig) -> Study:
    return Study("small", "Does it hold together?", runs)


def prepare(folder: Path, *runs: RunConfig, **options) -> StudyFolder:
    return study.prepare(a_study(*runs), folder, say=lambda line: None, **options)


pytestmark = pytest.mark.usefixtures("cache", "unoptimised")

RUNS = (a_run(), a_run(seed=1), a_run(rate=1e-3), a_run(steps=8), a_run(LARGE), a_run(LARGE, seed=1))


def layout_of(whole: StudyFolder) -> dict[str, str]:
    """The pack of each run."""
    return {run.id: pack.id for pack in whole.all_packs for run in pack.runs}


def test_a_study_comes_back_from_its_file_as_it_was(tmp_path):
    whole = prepare(tmp_path, *RUNS)
    assert study.read(tmp_path) == whole
    assert [run.config for pack in whole.packs for run in pack.runs if run.id == whole.runs[3]] == [RUNS[3]]
    assert len(set(whole.runs)) == len(RUNS)


def test_planning_again_changes_nothing(tmp_path):
    prepare(tmp_path, *RUNS, pack=4)
    before = (tmp_path / "study.json").read_bytes()
    prepare(tmp_path, *RUNS)
    assert (tmp_path / "study.json").read_bytes() == before


def test_a_pack_holds_runs_of_one_program_and_data_the_longest_first(tmp_path):
    whole = prepare(tmp_path, *RUNS, pack=16)
    packs = [[run.config for run in pack.runs] for pack in whole.packs]
    assert packs == [[RUNS[3], RUNS[0], RUNS[1], RUNS[2]], [RUNS[4], RUNS[5]]]
    assert [len(pack.runs) for pack in prepare(tmp_path / "two", *RUNS, pack=2).packs] == [2, 2, 2]


def test_runs_that_share_a_trunk_are_one_pack_whatever_its_size(tmp_path):
    optim = OptimConfig(schedule="wsd", warmup_tokens=64)
    branches = [dataclasses.replace(a_run(steps=n), optim=optim, unique_tokens=64 * 32) for n in (8, 16, 32)]
    packs = prepare(tmp_path, RUNS[0], *branches, RUNS[1], pack=1).packs
    assert [[run.config.steps for run in pack.runs] for pack in packs] == [[8, 16, 32], [4], [4]]


def test_runs_keep_their_pack_when_others_come_and_go(tmp_path):
    whole = prepare(tmp_path, *RUNS, pack=2)
    before = layout_of(whole)
    new = a_run(seed=7)
    changed = prepare(tmp_path, new, *RUNS[1:3])
    assert len(changed.runs) == 3
    assert layout_of(changed).items() >= before.items()
    assert {run.config for pack in changed.packs for run in pack.runs} >= {new, *RUNS[1:3]}
    assert [row.run.config for row in status.of(changed).runs] == [new, *RUNS[1:3]]  # only those of the study now
    again = prepare(tmp_path, *RUNS)
    assert again.runs == whole.runs
    assert layout_of(again).items() >= before.items()


def test_the_same_run_twice_is_one_run(tmp_path):
    assert len(prepare(tmp_path, RUNS[0], RUNS[0], RUNS[1]).runs) == 2


def test_a_layout_once_chosen_is_reused(tmp_path):
    first = prepare(tmp_path, *RUNS, pack=3, workers=1)
    assert (first.layout.runs_per_pack, first.layout.workers) == (3, 1)
    assert prepare(tmp_path, *RUNS).layout == first.layout


def test_without_an_accelerator_there_is_a_worker_per_core_and_a_run_per_program(tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    made = prepare(tmp_path, *RUNS).layout
    assert (made.device, made.runs_per_pack, made.workers, made.threads) == ("cpu", 1, len(layout.cores()), 1)


@pytest.mark.parametrize("options", [{"workers": 10_000}, {"workers": -1}, {"pack": -1}])
def test_impossible_layouts_are_refused(options, tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    with pytest.raises(InputError, match=f"--{next(iter(options))} ") as error:
        prepare(tmp_path, *RUNS, **options)
    assert "\n" not in str(error.value)


def test_status_tells_what_each_run_has_come_to(tmp_path):
    whole = prepare(tmp_path, *RUNS, pack=1)
    assert status.of(whole).counts == {"waiting": 6}
    done, begun, failed, given_up, running, _ = whole.packs
    states = {
        done: {"done.json": {"steps": [4], "seconds": 1, "status": ["diverged"], "loss": [None]}},
        failed: {"failed.json": {"attempts": 1, "error": "what happened"}},
        given_up: {"failed.json": {"attempts": 2, "error": "it again"}},
    }
    for pack, files in states.items():
        with claims.take(whole.claims(pack)) or pytest.fail("not taken") as claim:
            for name, values in files.items():
                (claim.folder / name).write_text(json.dumps(values))
    (whole.pack_folder(begun) / "checkpoints" / "3").mkdir(parents=True)
    (whole.pack_folder(begun) / "checkpoints" / "4.orbax-checkpoint-tmp").mkdir()
    with claims.take(whole.claims(running)) or pytest.fail("not taken") as claim:
        claim.done = 2
        claim.beat()
        now = status.of(whole)
    state = {row.pack: (row.state, row.steps) for row in now.runs}
    assert [state[pack.id] for pack in whole.packs] == [
        ("diverged", 4),
        ("saved", 3),
        ("failed", 0),
        ("quarantined", 0),
        ("running", 2),
        ("waiting", 0),
    ]
    assert [each.holder.pid for each in now.packs if each.holder] == [os.getpid()]
    assert 0 < now.left < 600
    assert len(whole.open_packs) == 5
    costs = calibration.kept("cpu")
    seconds = [costs.pack(pack.configs) for pack in whole.open_packs]
    assert seconds == sorted(seconds, reverse=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "is not a study: it has no study.json"),
        ("", "study.json"),
        ("{", "study.json"),
        ("[]", "study.json"),
        ("{}", "study.json"),
        ('{"format": 1}', "study.json"),
        ('{"format": 2}', "has format 2, this version reads 1"),
        ("\x00\x01", "study.json"),
    ],
)
def test_a_folder_that_is_no_study_is_refused_in_one_line(text, message, tmp_path):
    if text is not None:
        (tmp_path / "study.json").write_text(text)
    with pytest.raises(InputError, match=message) as error:
        study.read(tmp_path)
    assert "\n" not in str(error.value)
    assert str(tmp_path) in str(error.value)


# Configs


CONFIG = """
from scaling.config import *
from scaling.ladder import transformer
def study(n: int = 2, D: int = 1024, name: str = "mine"):
    model = transformer(8, 1, d_head=8, n_vocab=257, n_ctx=16)
    return Study(name, "?", tuple(RunConfig(model, tokens=D, batch=4, seed=seed) for seed in range(n)))
"""


def test_a_config_file_takes_its_parameters_and_fields_of_its_runs(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(CONFIG)
    found = question.load(str(path), {"n": "3", "D": "2048", "optim.learning_rate": "0.5", "model.dropout": "0.1"})
    assert [run.seed for run in found.runs] == [0, 1, 2]
    assert {(run.tokens, run.optim.learning_rate, run.model.dropout) for run in found.runs} == {(2048, 0.5, 0.1)}


@pytest.mark.parametrize(
    ("text", "settings", "message"),
    [
        (CONFIG, {"m": "3"}, "unknown key 'm'"),
        (CONFIG, {"model.d_modle": "3"}, "did you mean 'model.d_model'"),
        (CONFIG.replace("n: int", "source: str = 'python', n: int"), {"data.source": "x"}, "give --set source=x"),
        (CONFIG, {"n": "three"}, "n=three: wanted a whole number"),
        (CONFIG, {"n": "0"}, "study 'mine' has no runs"),
        (CONFIG, {"tokens": "1000"}, "tokens=1000 is not a whole number of steps"),
        ("", {}, "has no function named study"),
        ("study = 3", {}, "has no function named study"),
        ("def study(): return 3", {}, r"mine.py:1: study\(\) returned int 3; wanted a scaling.config.Study"),
        ("\ndef study(): pass", {}, r"mine.py:2: study\(\) returned None"),
        ("from scaling.config import Study\ndef study(): return Study('x', '?', (1,))", {}, "a tuple with int 1"),
        ("async def study(): pass", {}, "returned coroutine"),
        (CONFIG.replace("Study(name", "Study(None"), {}, "name of the study=None: wanted text"),
        ("study = dict", {}, "ValueError: no signature found"),
        ("def study(x: int): pass", {}, "x"),
        ("def study(:", {}, "line 1"),
        ("\x00\x01\x02", {}, "mine.py"),
        (None, {}, "no config file"),
    ],
)
def test_configs_that_cannot_be_used_are_refused_in_one_line(text, settings, message, tmp_path):
    path = tmp_path / "mine.py"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=message) as error:
        question.load(str(path), settings)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["configs.quikstart", "nowhere", "configs/quickstart", "", ".", "a..b", ".quickstart"])
def test_a_name_that_is_no_config_is_refused_in_one_line(name):
    with pytest.raises(InputError, match="no config") as error:
        question.load(name, {})
    assert "\n" not in str(error.value)


def test_a_binary_file_is_refused_in_one_line(tmp_path):
    (tmp_path / "mine.py").write_bytes(os.urandom(2000))
    with pytest.raises(InputError, match=r"mine\.py"):
        question.load(str(tmp_path / "mine.py"), {})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("configs/quickstart.py", r"there is no folder configs; ready-made, from any folder: configs\.quickstart$"),
        ("mime.py", r"no config file mime\.py; here is mine\.py; ready-made, from any folder: configs\.architecture, "),
        ("isoflop", r"wanted FILE\.py or a dotted name; ready-made, from any folder: configs\.isoflop$"),
        ("helper.py", r"helper\.py has no function named study; ready-made"),
        ("mine.py", r"No module named 'helper'; a config is read by itself, without the files beside it"),
    ],
)
def test_where_a_config_is_not_what_is_there_is_named(name, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text("import helper\n\n\ndef study():\n    pass\n")
    Path("helper.py").write_text("x = 1\n")
    with pytest.raises(InputError, match=message):
        question.load(name, {})


@pytest.mark.parametrize("name", ["configs.quickstart", "configs.learning_rate"])
def test_the_configs_that_come_with_the_project_load(name):
    assert question.load(name, {}).runs


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("1 / 0", r"mine\.py:1: ZeroDivisionError: division by zero"),
        ("def study():\n    return [][3]", r"mine\.py:2: IndexError: list index out of range"),
        ("def study():\n    raise ValueError('first\\nsecond')", r"mine\.py:2: ValueError: first$"),
        ("import nowhere_at_all", r"mine\.py imports what is not there: No module named 'nowhere_at_all'"),
        ("def study():\n    import json\n    json.loads('{')", r"mine\.py:3: JSONDecodeError"),
        ("import sys\nsys.exit(0)", r"mine\.py:2: SystemExit: 0"),
        ("def study():\n    while True:\n        pass", r"mine\.py:\d: TimeoutError: still running after 0 s"),
    ],
)
def test_a_config_whose_code_raises_is_one_line_that_says_where(code, message, tmp_path, monkeypatch):
    monkeypatch.setattr(question, "LIMIT", 0.3)
    path = tmp_path / "mine.py"
    path.write_text(code)
    with pytest.raises(InputError, match=message) as error:
        question.load(str(path), {})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("returned", "message"),
    [("None", r"mine.py:\d+: more\(\) returned None; wanted a tuple of RunConfig"), ("7", "int 7"),
     ("'ab'", "str 'ab'"), ("(1,)", "a tuple with int 1"),
     ("__import__('sys').exit(0)", r"mine.py:\d+: SystemExit: 0")],
)  # fmt: skip
def test_more_that_returns_something_else_is_one_line_that_says_where(returned, message, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(f"{CONFIG}\ndef more(table, **settings):\n    return {returned}")
    ask = question.more(str(path), {})
    assert ask
    with pytest.raises(InputError, match=message):
        ask(None)


def test_an_unknown_key_names_the_nearest_and_not_all(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(CONFIG)
    with pytest.raises(InputError, match=r"did you mean 'model\.d_model'") as error:
        question.load(str(path), {"model.d_modle": "3"})
    assert len(str(error.value)) < 200
    assert list(question.keys(str(path)))[:3] == ["n", "D", "name"]


MEDDLES = """
import os
import scaling.schedules
os.environ["JAX_DEFAULT_MATMUL_PRECISION"] = "float32"
scaling.schedules.FALLS.clear()
print("said")
"""


def test_a_config_changes_what_a_run_is_trained_with_through_its_values_alone(tmp_path, capfd):
    path, environment, falls = tmp_path / "mine.py", dict(os.environ), dict(schedules.FALLS)
    path.write_text(MEDDLES + CONFIG)
    found = question.apart(str(path), {"n": "3", "eval.transfer": "synthetic:"})
    assert capfd.readouterr() == ("", "said\n")
    assert schedules.FALLS == falls
    path.write_text(CONFIG)
    assert found == question.load(str(path), {"n": "3", "eval.transfer": "synthetic:"})
    path.write_text(MEDDLES.replace("scaling.schedules.FALLS.clear()", "") + CONFIG)
    question.load(str(path), {})
    assert dict(os.environ) == environment


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def study(): return 3", r"mine\.py:1: study\(\) returned int 3"),
        ("import os\nos._exit(0)", "exit code 0 and named"),
    ],
)
def test_what_goes_wrong_with_a_config_in_its_own_process_is_one_line_in_ours(code, message, tmp_path):
    (tmp_path / "mine.py").write_text(code)
    with pytest.raises(InputError, match=message):
        question.apart(str(tmp_path / "mine.py"), {})


# What has changed under a study


def test_a_text_that_changed_is_refused_in_one_line_and_harms_nothing(tmp_path):
    text = tmp_path / "text.txt"
    words = [f"{i} {i * i}" for i in range(30_000)]
    text.write_text("\n\n".join(words))
    data = DataConfig(f"text:{text}", "bytes", validation="synthetic:order=1,symbols=8,bytes=1e6")
    run = dataclasses.replace(RUNS[0], data=data)
    prepare(tmp_path / "study", run)
    before = (tmp_path / "study" / "study.json").read_bytes()
    text.write_text("\n\n".join(reversed(words[:-1])))
    with pytest.raises(InputError, match="is not the text it was") as error:
        prepare(tmp_path / "study", run)
    assert "\n" not in str(error.value)
    assert (tmp_path / "study" / "study.json").read_bytes() == before


def test_runs_that_a_config_no_longer_has_are_kept_and_said(tmp_path):
    prepare(tmp_path, *RUNS)
    said: list[str] = []
    changed = study.prepare(a_study(*RUNS[:2]), tmp_path, say=said.append)
    assert [line.split(": ")[1] for line in said] == [
        "4 runs are no longer of this study; what they left is kept, and not shown"
    ]
    assert (len(changed.packs), len(changed.all_packs)) == (2, 6)


def test_a_failed_preparation_leaves_no_folder(tmp_path):
    with pytest.raises(InputError):
        prepare(tmp_path / "new", dataclasses.replace(RUNS[0], data=DataConfig("text:nowhere/*.txt", "bytes")))
    assert not (tmp_path / "new").exists()


def test_what_neither_memory_nor_disk_can_hold_is_refused_in_one_line(tmp_path):
    large = transformer(16_384, 96, d_head=128, n_vocab=257, n_ctx=16)
    with pytest.raises(InputError, match="GiB of memory, this machine has") as error:
        prepare(tmp_path, a_run(large))
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match=r"GB of disk, .* GB are free"):
        calibration.check([[a_run(large)]], layout.Layout("gpu", 1, 1), calibration.Costs("gpu"), tmp_path)


# More runs, asked for until there are none


def test_the_answer_of_more_is_kept_for_the_runs_it_was_given_for(tmp_path):
    base, added = RUNS[:2], (a_run(seed=9),)
    prepare(tmp_path, *base)
    assert study.answer(tmp_path, base, None, added, {}, pytest.fail)
    study.answer(tmp_path, base, None, (), {}, pytest.fail)  # the second to finish, who asks as well
    whole = prepare(tmp_path, *base)
    assert [run.config for pack in whole.packs for run in pack.runs] == [*base, *added]
    first = study.Asked(study.asked_of(base), added, closed=False)
    assert study.read(tmp_path).asked == first
    again = (a_run(seed=10), *added)
    assert study.answer(tmp_path, base, first, again, {}, pytest.fail)
    second = study.Asked(first.of, (*added, again[0]), closed=False)
    assert study.read(tmp_path).asked == second
    assert len(prepare(tmp_path, *base).runs) == len(base) + 2
    assert not study.answer(tmp_path, base, second, added, {}, pytest.fail)  # what is there is nothing new
    assert study.read(tmp_path).asked == dataclasses.replace(second, closed=True)
    other = prepare(tmp_path, *RUNS[:3])
    assert other.asked is None
    assert len(other.runs) == 3


def test_more_is_asked_again_with_other_settings_and_what_it_had_asked_for_stays(tmp_path):
    """One question to a folder for each of its settings: a larger budget goes on from the runs that are there."""
    base, added = RUNS[:2], (a_run(seed=9),)
    once, twice = {"n": "2"}, {"n": "3"}
    prepare(tmp_path, *base, settings=once)
    study.answer(tmp_path, base, None, added, once, pytest.fail)
    first = prepare(tmp_path, *base, settings=once).asked
    study.answer(tmp_path, base, first, (), once, pytest.fail)
    for settings in (once, None):  # None: nobody will ask, as where several machines train parts
        assert prepare(tmp_path, *base, settings=settings).asked == study.Asked(study.asked_of(base), added, True, once)
    reopened = prepare(tmp_path, *base, settings=twice)
    assert reopened.asked == study.read(tmp_path).asked == study.Asked(study.asked_of(base), added, False, twice)
    assert len(reopened.runs) == len(base) + 1
    said: list[str] = []
    whole = study.prepare(a_study(*RUNS[:3]), tmp_path, settings=twice, say=said.append)
    assert whole.asked is None
    assert any("its `more` saw (n=3)" in line for line in said)


# The history


@pytest.mark.parametrize("digits", [8, 14])
def test_a_rounded_number_is_within_its_digits_and_finite_where_it_was(digits):
    largest = np.finfo(np.float32).max
    values = np.array([np.pi, -1e-3, 0.0, 3e4, 7e9, largest, -largest, np.inf, -np.inf, np.nan], np.float32)
    for part in (values, values[:4]):  # of which float16 has all
        found = histories.rounded(part, digits).astype(np.float32)
        np.testing.assert_allclose(found, part, rtol=2.0**-digits)
        np.testing.assert_array_equal(histories.rounded(found, digits), found)


def test_the_compact_history_is_the_checkpoint_s_rounded_and_damage_sends_one_back_to_it(stream, tmp_path):
    from scaling import checkpoints, train, worker

    whole = prepare(tmp_path, RUNS[0])
    (pack,) = whole.packs
    with claims.take(whole.claims(pack)) or pytest.fail("not taken") as claim:
        assert study.history(whole, pack) is None
        trained = train.train(
            pack.configs, stream[:15_000], stream[15_000:], claim.folder, separator=0, say=pytest.fail
        )
        worker.finish(pack, claim, trained, {})
    checkpoint = checkpoints.read_history(claim.folder)
    assert checkpoint

    def same(found, wanted) -> bool:
        return found.keys() == wanted.keys() and all(
            np.array_equal(found[name], wanted[name], equal_nan=True) for name in found
        )

    file = claim.folder / "history.npz"
    digits = histories.DIGITS
    assert same(
        study.history(whole, pack),
        {name: histories.rounded(v, digits[name]) if name in digits else v for name, v in checkpoint.items()},
    )
    whole_file = file.read_bytes()
    for damaged in (whole_file[:-9], b"", whole_file.replace(b"eval", b"evil")):
        file.write_bytes(damaged)
        assert same(study.history(whole, pack), checkpoint)


def test_a_study_is_read_and_planned_without_jax():
    code = "import sys; from scaling import study, workers, cli; assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_same_tokens_under_another_name_are_the_same_runs_and_called_as_they_were_asked_for_last(tmp_path):
    """A study that was begun elsewhere goes on here, where its text lies in another folder, as one of one text."""
    other = DataConfig("synthetic:bytes=1000000,symbols=8,order=1,seed=0", "bytes")
    begun = prepare(tmp_path, *RUNS[:4])
    moved = prepare(tmp_path, *(dataclasses.replace(run, data=other) for run in RUNS))
    assert moved.runs == prepare(tmp_path / "alone", *RUNS).runs
    assert layout_of(begun).items() <= layout_of(moved).items()
    assert {run.config.data for pack in study.read(tmp_path).packs for run in pack.runs} == {other}


def test_prepared_tokens_named_by_their_id_are_the_same_runs_as_their_text(tmp_path):
    with_text = prepare(tmp_path / "a", *RUNS)
    (id,) = with_text.tokens
    named = DataConfig(f"tokens:{id}", RUNS[0].data.tokenizer)
    by_tokens = [dataclasses.replace(run, data=named) for run in RUNS]
    assert prepare(tmp_path / "b", *by_tokens).runs == with_text.runs
    assert prepare(tmp_path / "a", *by_tokens).all_packs == with_text.all_packs  # the name of the text is kept


def test_a_d_that_is_no_whole_number_of_updates_is_rounded_with_a_line_for_whoever_is_told(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from scaling.config import RunConfig, Study\nfrom scaling.ladder import transformer\n\n"
        "def study(D: int):\n"
        "    run = RunConfig(transformer(8, 1, d_head=8, n_ctx=64), tokens=D, unique_tokens=D, batch=8)\n"
        "    return Study('mine', 'Why?', (run, run))\n"
    )
    said: list[str] = []
    (run, _) = question.load(str(path), {"D": "4e6"}, said.append).runs
    assert (run.tokens, run.pool) == (7812 * 512, 4_000_000)
    assert said == ["tokens=4000000 is not a whole number of steps of batch x n_ctx tokens (512): 3999744 is taken"]
    with pytest.raises(InputError, match=r"tokens=100 is not a whole number of steps .* \(512\); the nearest is 512"):
        question.load(str(path), {"D": "100"}, said.append)
    exact = dataclasses.replace(run, tokens=3_999_744)
    assert identity(run, "t") == identity(exact, "t")
    for refused in (lambda: question.load(str(path), {"D": "4e6"}), lambda: dataclasses.replace(run, tokens=4_000_000)):
        with pytest.raises(InputError, match=r"tokens=4000000 .* the nearest is 3999744"):
            refused()
    with pytest.raises(InputError, match="tokens=0 must be positive"):
        question.load(str(path), {"D": "0"}, said.append)
