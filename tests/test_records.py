"""Records of our own studies as tables, read once, and used as they are by what allocates compute and finds batches."""

import dataclasses
import itertools
import math
from pathlib import Path

import numpy as np
import pytest

from analysis import batch_size, findings, records
from analysis.allocation import allocate
from analysis.fit import fit
from analysis.fit.rows import admitted
from analysis.frontier import learning_curves
from analysis.laws import KaplanBCrit, KaplanNS
from analysis.load import load
from scaling import checkpoints, histories, study, train
from scaling.config import DataConfig, EvalConfig, OptimConfig, RunConfig, Study
from scaling.data import token_set
from scaling.errors import InputError
from scaling.ladder import lstm, transformer, universal

pytestmark = pytest.mark.usefixtures("unoptimised")

TOKENS = 2**11
LOST = 1e30  # a learning rate that ends in numbers that are none
STEPS = KaplanNS(N_c=3e6, alpha_N=0.15, S_c=20.0, alpha_S=0.7)
CRITICAL = KaplanBCrit(B_star=1e4, alpha_B=0.3)


def run(d_model: int = 8, batch: int = 4, rate: float = 1e-2, tokens: int = TOKENS, layers: int = 1) -> RunConfig:
    return RunConfig(
        transformer(d_model, layers, d_head=8, n_vocab=257, n_ctx=16),
        tokens=tokens,
        batch=batch,
        data=DataConfig("synthetic:order=1,symbols=8,bytes=5e5", "bytes"),
        optim=OptimConfig(learning_rate=rate, schedule="constant", warmup=0.02),
        eval=EvalConfig(windows=16, per_octave=4, octaves=7),
    )


def tokens_of(planned: study.PlannedRun) -> int:
    return planned.config.tokens


def train_packs(whole: study.StudyFolder, left: float = 0.0) -> None:
    """Trains all packs but the last; those with learning rate `left` are left half-way."""
    for pack in whole.packs[:-1]:
        configs, asked = [one.config for one in pack.runs], itertools.count()
        halfway = configs[0].optim.learning_rate == left
        stream = token_set.open_tokens(Path(whole.tokens[pack.runs[0].tokens_id]))
        train.train(
            configs,
            stream.train,
            stream.validation,
            whole.pack_folder(pack),
            separator=stream.separator,
            should_stop=lambda halfway=halfway, asked=asked: halfway and next(asked) > 3,
        )


@pytest.fixture(scope="module")
def trained(tmp_path_factory, cache) -> Path:
    """A study as training leaves it: runs of two lengths, one that diverged, one left half-way, one not begun."""
    folder = tmp_path_factory.mktemp("trained")
    runs = (run(), run(tokens=TOKENS // 2), run(rate=LOST), run(rate=3e-3), run(rate=5e-3))
    train_packs(study.prepare(Study("tiny", "?", runs), folder, pack=1, workers=1, say=lambda line: None), left=3e-3)
    return folder


@pytest.fixture(scope="module")
def read(trained) -> records.Records:
    return records.read(trained)


def expected(config: RunConfig, step: np.ndarray) -> np.ndarray:
    """The loss after so many updates in a world that follows Kaplan's L(N, S_min) and B_crit(L)."""
    loss = np.full(len(step), 4.0)
    for _ in range(200):
        minimum = np.maximum(step, 0.5) / (1 + CRITICAL(loss) / config.batch_tokens)
        loss = STEPS(config.model.N, minimum)
    return loss


def keep(folder: Path, config: RunConfig, loss: np.ndarray) -> None:
    """Leaves the record of a run with these held-out losses, equal at all positions. loss: e"""
    steps = np.arange(config.steps)
    history = histories.start(1, 16) | {
        "train_loss": np.interp(steps, config.eval_steps, loss)[:, None].astype(np.float32),
        "grad_norm": np.ones((config.steps, 1), np.float32),
        "eval_step": np.array(config.eval_steps),
        "eval_loss": np.repeat(loss[:, None, None], 16, axis=2).astype(np.float32),
        "seconds": np.asarray(1.0),
        "finished": np.asarray(True),
    }
    kept = checkpoints.Record(folder)
    kept.save(config.steps, {"weights": np.zeros(1)}, history)
    kept.close()


@pytest.fixture(scope="module")
def made_up(tmp_path_factory, cache) -> records.Records:
    """The records of a study whose losses follow known laws: six sizes at one batch, one size at four more."""
    folder = tmp_path_factory.mktemp("made_up")
    runs = [run(d, 16, tokens=2**17, layers=2) for d in (8, 16, 24, 32, 48, 64)]
    runs += [run(16, b, tokens=2**17, layers=2) for b in (4, 8, 64, 256)]
    whole = study.prepare(Study("known", "?", tuple(runs)), folder, pack=1, workers=1, say=lambda line: None)
    for pack in whole.packs:
        config = pack.runs[0].config
        keep(whole.pack_folder(pack), config, expected(config, np.array(config.eval_steps)))
    return records.read(folder)


def test_the_loss_of_answers_alone_is_in_no_bits_per_byte_of_all_tokens(tmp_path, cache):
    text = "task:sum?digits=2"
    plain = dataclasses.replace(run(), data=DataConfig(text, "bytes"))
    answers = dataclasses.replace(plain, answers_after=ord("="))
    whole = study.prepare(Study("sums", "?", (plain, answers)), tmp_path, pack=1, workers=1, say=lambda line: None)
    for pack in whole.packs:
        config = pack.runs[0].config
        keep(whole.pack_folder(pack), config, np.full(len(config.eval_steps), 2.0))
    table = records.read(tmp_path).runs
    bits = dict(zip(table["run"].tolist(), table["bits_per_byte"].tolist(), strict=True))
    found = {pack.runs[0].config.answers_after: bits[pack.runs[0].id] for pack in whole.packs}
    assert found[None] == pytest.approx(2 / math.log(2) * 10 / 9, rel=0.01)  # nine characters and a separator
    assert math.isnan(found[ord("=")])


def test_runs_and_curves_tell_the_same_ends(read):
    assert sorted(read.runs["status"]) == ["diverged", "done", "done", "running"]
    for i in np.flatnonzero(read.runs["status"] == "done"):
        own = read.curves["run"] == read.runs["run"][i]
        last = np.flatnonzero(own)[-1]
        for name in ("loss", "tokens", "flops", "epochs", "steps", "batch_tokens", "seed", "learning_rate", "schedule"):
            assert read.curves[name][last] == read.runs[name][i], name
        assert read.curves["step"][last] == read.curves["steps"][last]
        assert read.curves["loss"][own].min() == read.runs["loss_min"][i]
        at = read.positions["run"] == read.runs["run"][i]
        assert read.positions["position"][at].tolist() == list(range(1, 17))
        assert read.positions["loss"][at].mean() == pytest.approx(read.runs["loss"][i], rel=1e-6)
    assert all("1 runs of the study have no record yet" in table.notes for table in (read.runs, read.curves))


def test_losses_by_octaves_of_the_position_average_to_the_loss(read):
    octaves, weights = (1, 2, 4, 8, 16), np.array([1, 1, 2, 4, 8])
    found = np.stack([read.curves[f"loss_at_{T}"] for T in octaves], axis=1)
    np.testing.assert_allclose(found @ weights / 16, read.curves["loss"], rtol=1e-6)
    run = read.runs["run"][read.runs["status"] == "done"][0]
    last = read.positions["loss"][read.positions["run"] == run]
    np.testing.assert_allclose(found[read.curves["run"] == run][-1, 3], last[4:8].mean(), rtol=1e-6)


def test_the_loss_of_a_run_is_the_mean_over_its_windows(read):
    done = read.runs["status"] == "done"
    assert set(read.windows) == set(read.runs["run"][done])
    for run, loss in zip(read.runs["run"][done], read.runs["loss"][done], strict=True):
        assert read.windows[run].shape == (read.configs[run].eval.windows,)
        assert read.windows[run].mean() == pytest.approx(loss, rel=2.0 ** -histories.DIGITS["window_loss"])


def test_a_diverged_run_keeps_its_rows_and_its_status(read):
    lost = read.curves["status"] == "diverged"
    assert np.isnan(read.curves["loss"][lost]).any()
    assert set(read.curves["learning_rate"][lost]) == {LOST}


def test_the_training_loss_of_a_curve_is_the_mean_since_the_evaluation_before(trained, read):
    (pack, *_) = study.read(trained).packs
    history = checkpoints.read_history(study.read(trained).pack_folder(pack))
    assert history is not None
    own = read.curves["run"] == pack.runs[0].id
    ends = read.curves["step"][own].astype(int)
    parts = np.split(history["train_loss"][:, 0].astype(np.float64), ends)[:-1]
    np.testing.assert_allclose(read.curves["train_loss"][own], [part.mean() for part in parts], rtol=1e-9)


def test_each_history_is_read_once(trained, monkeypatch):
    asked = []
    real = checkpoints.read_history
    monkeypatch.setattr(checkpoints, "read_history", lambda folder: asked.append(folder) or real(folder))
    records.read(trained)
    assert len(asked) == len(set(asked)) == 5


def test_loading_a_study_gives_its_runs(trained, read):
    np.testing.assert_array_equal(load(trained)["loss"], read.runs["loss"])
    renamed = load(trained, {"params": "params_embed"})
    assert renamed["params"].tolist() == read.runs["params_embed"].tolist()


def test_what_reads_learning_curves_leaves_out_runs_that_diverged_or_are_not_finished(read):
    kept = learning_curves(read.curves)
    assert np.isfinite(kept["loss"]).all()
    assert set(kept["status"]) == {"done"}
    assert {e.reason for e in kept.excluded} == {"diverged or unfinished"}
    unlabelled = dataclasses.replace(read.curves, columns={k: v for k, v in read.curves.items() if k != "status"})
    assert np.isfinite(learning_curves(unlabelled)["loss"]).all()
    with pytest.raises(InputError, match="1 model sizes: the envelope needs at least 3"):
        allocate(read.curves)
    with pytest.raises(InputError, match="1 of 1 sizes have fewer than 3 batch sizes"):
        batch_size.critical(read.curves)


def test_the_envelope_of_a_studys_curves_is_that_of_the_law_they_follow(made_up):
    one_batch = made_up.curves.where(made_up.curves["batch_tokens"] == 256, "another batch")
    found = allocate(one_batch, budgets=[1e12])
    assert found.method == "envelope"
    sizes = [float(p.params) for p in found.points]
    N = np.geomspace(min(sizes), max(sizes), 4001)
    for C in (3e9, 1e10):
        best = N[np.argmin(expected_at(N, C))]
        assert found.params(C) == pytest.approx(best, rel=0.35)  # no size lies between two that were trained


def expected_at(N: np.ndarray, C: float) -> np.ndarray:
    """The loss of sizes N at C FLOP in batches of 256 tokens."""
    step, loss = C / (6 * N * 256), np.full(len(N), 4.0)
    for _ in range(200):
        loss = STEPS(N, step / (1 + CRITICAL(loss) / 256))
    return loss


def test_critical_batches_of_a_studys_curves_are_those_of_the_law_they_follow(made_up):
    found = batch_size.critical(made_up.curves)
    np.testing.assert_allclose(found.table["batch_crit"], CRITICAL(found.table["loss"]), rtol=0.1)
    assert set(found.table["params"]) == {12 * 2 * 16 * 16}
    assert any("fewer than 3 batch sizes left out: N = 1536, 13824, " in note for note in found.notes)
    assert any("not independent" in note for note in found.notes)
    law = fit("kaplan-bcrit", found.table, loss="squared").law
    np.testing.assert_allclose(law(found.table["loss"]), CRITICAL(found.table["loss"]), rtol=0.1)


def test_steps_and_compute_of_each_row_of_a_curve_turn_into_their_minima(made_up):
    found = batch_size.with_minima(made_up.curves, CRITICAL)
    np.testing.assert_allclose(
        found["steps_min"], found["step"] / (1 + CRITICAL(found["loss"]) / found["batch_tokens"])
    )
    np.testing.assert_allclose(found["loss"], STEPS(found["params"], found["steps_min"]), rtol=1e-4)
    kept = admitted(KaplanNS, found)
    assert (kept["step"] > 0.02 * kept["steps"]).all()
    assert len(kept) < len(found)
    law = fit("kaplan-ns", kept, loss="squared")
    assert law.constants["alpha_N"] == pytest.approx(0.15, rel=1e-3)
    assert law.constants["S_c"] == pytest.approx(20, rel=1e-2)


def test_a_pack_of_runs_of_several_lengths_gives_each_run_its_own_rows(tmp_path, cache, monkeypatch):
    short, long = (run(tokens=D) for D in (TOKENS // 2, TOKENS))
    apart = study.prepare(Study("two", "?", (short, long)), tmp_path, pack=1, workers=1, say=lambda line: None)
    pack = study.Pack("both", tuple(sorted((run for pack in apart.packs for run in pack.runs), key=tokens_of)))
    assert [run.config for run in pack.runs] == [short, long]
    whole = dataclasses.replace(apart, all_packs=(pack,))
    monkeypatch.setattr(study, "read", lambda folder: whole)
    rows = sorted({*short.eval_steps, *long.eval_steps})
    loss = np.full((len(rows), 2, 16), np.nan, np.float32)
    for r, config in enumerate((short, long)):
        loss[np.isin(rows, config.eval_steps), r] = 5.0 - r
    train_loss = np.full((long.steps, 2), 3.0, np.float32)
    train_loss[short.steps :, 0] = np.nan
    history = histories.start(2, 16) | {
        "train_loss": train_loss,
        "grad_norm": train_loss,
        "steps": np.array([short.steps, long.steps]),
        "eval_step": np.array(rows),
        "eval_loss": loss,
        "seconds": np.asarray(3.0),
        "finished": np.asarray(True),
    }
    kept = checkpoints.Record(whole.pack_folder(pack))
    kept.save(long.steps, {"weights": np.zeros(1)}, history)
    kept.close()
    found = records.read(tmp_path)
    assert found.runs["status"].tolist() == ["done", "done"]
    assert found.runs["tokens"].tolist() == [TOKENS // 2, TOKENS]
    assert found.runs["seconds"].tolist() == [1.0, 2.0]  # by the updates of each
    assert found.runs["loss"].tolist() == [5.0, 4.0]
    assert np.isfinite(found.curves["loss"]).all()
    for config, name in zip((short, long), found.runs["run"], strict=True):
        own = found.curves["run"] == name
        assert found.curves["step"][own].tolist() == [step for step in config.eval_steps if step]


def test_a_table_tells_the_kinds_of_model_apart_and_its_laws_are_of_one(tmp_path, cache):
    sizes = {"n_vocab": 257, "n_ctx": 16}
    models = [transformer(8, 0, **sizes), transformer(8, 1, **sizes), transformer(16, 1, **sizes),
              universal(8, 1, reuse=8, **sizes), lstm(8, 2, **sizes)]  # fmt: skip
    runs = tuple(dataclasses.replace(run(), model=model) for model in models)
    whole = study.prepare(Study("kinds", "?", runs), tmp_path, pack=1, workers=1, say=lambda line: None)
    for pack in whole.packs:
        config = pack.runs[0].config
        keep(whole.pack_folder(pack), config, np.linspace(5, 4, len(config.eval_steps)))
    found = records.read(tmp_path)
    assert found.runs["kind"].tolist() == ["transformer"] * 3 + ["universal", "lstm"]
    assert found.runs["reuse"].tolist() == [1, 1, 1, 8, 1]
    assert found.runs["params"].tolist() == [0, 768, 3072, 768, 1024]
    assert found.runs["flops"].tolist() == [6 * N * TOKENS for N in (0, 768, 3072, 8 * 768, 1024)]
    assert set(found.positions["kind"]) == set(found.curves["kind"]) == {"transformer", "universal", "lstm"}
    assert not found.runs.notes  # the FLOP of layers used again contradict nothing
    left_out = {e.reason: len(e.rows) for e in findings.find(found.runs, found.curves).excluded}
    assert left_out["a model without layers: its N is 0"] == 1
    others = "(universal Transformer, reuse 8), (LSTM)"
    assert left_out[f"of another architecture than most runs have: {others}"] == 2


def test_a_text_that_runs_call_by_two_names_has_one(tmp_path, cache):
    names = [tmp_path / "a", tmp_path / "b", tmp_path / "another"]
    for k, name in enumerate(names):
        name.mkdir()
        (name / "x.txt").write_text(f"Alike are {'two' if k < 2 else 'none'}, line after line.\n\n" * 3000)
    held_out = dataclasses.replace(run().eval, windows=4)
    runs = [
        dataclasses.replace(run(), seed=k, eval=held_out, data=DataConfig(f"text:{name}/*", "bytes"))
        for k, name in enumerate(names)
    ]
    study.prepare(Study("named", "?", tuple(runs)), tmp_path / "out", pack=1, workers=1, say=lambda line: None)
    planned = [run for pack in study.read(tmp_path / "out").packs for run in pack.runs]
    found = {config.seed: config.data for config in records._by_one_name(planned).values()}
    assert found[0] == found[1] != found[2]


def test_a_study_that_is_none_or_has_not_begun_is_told(tmp_path, cache):
    with pytest.raises(InputError, match="is not a study"):
        records.read(tmp_path)
    study.prepare(Study("tiny", "?", (run(8, 4),)), tmp_path, pack=1, workers=1, say=lambda line: None)
    with pytest.raises(InputError, match="no run has a record yet"):
        records.read(tmp_path)
