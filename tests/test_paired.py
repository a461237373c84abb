"""Differences between two runs on the same windows, and their intervals."""

from pathlib import Path

import numpy as np
import pytest

from analysis import records
from analysis.paired import clustered, paired
from scaling import checkpoints, study, train
from scaling.config import DataConfig, EvalConfig, OptimConfig, RunConfig, Study
from scaling.data import token_set
from scaling.errors import InputError
from scaling.ladder import transformer

pytestmark = pytest.mark.usefixtures("unoptimised")


@pytest.mark.parametrize(
    ("n_documents", "spread", "share"), [(8, 0.0, 0.5), (30, 1.0, 0.5), (30, 1.5, 0.8), (100, 1.0, 0.0)]
)
def test_the_interval_covers_the_truth_as_often_as_it_says(n_documents, spread, share):
    """Documents of log-normal sizes, with a part of the variance that their windows share."""
    rng = np.random.default_rng(0)
    hits, n = 0, 1500
    for _ in range(n):
        sizes = np.maximum(1, np.round(np.exp(rng.normal(1, spread, n_documents)))).astype(int)
        document = np.repeat(np.arange(n_documents), sizes)
        common = rng.normal(size=n_documents)[document]
        values = 0.02 + 0.05 * (np.sqrt(share) * common + np.sqrt(1 - share) * rng.normal(size=len(document)))
        low, high = clustered(values, document).interval
        hits += low <= 0.02 <= high
    assert hits / n == pytest.approx(0.95, abs=0.02)  # three binomial standard errors


def test_windows_of_one_document_are_not_taken_for_independent():
    rng = np.random.default_rng(1)
    document = np.repeat(np.arange(20), 10)
    values = rng.normal(size=20)[document]
    one_each = clustered(values, np.arange(200))
    found = clustered(values, document)
    assert found.mean == pytest.approx(one_each.mean)
    assert found.sigma == pytest.approx(values[::10].std(ddof=1) / np.sqrt(20))
    assert found.sigma > 3 * one_each.sigma
    assert (found.n_windows, found.n_documents) == (200, 20)
    with pytest.raises(InputError, match="of 1 document: an interval needs at least 2"):
        clustered(values, np.zeros(200))


OTHER = "synthetic:order=1,symbols=8,bytes=5e5"


@pytest.fixture(scope="module")
def trained(cache, tmp_path_factory) -> study.StudyFolder:
    """Two tiny runs of one program, one of them with a learning rate that learns nothing."""
    folder = tmp_path_factory.mktemp("paired")
    for k in range(40):
        text = f"{k} " + "the cat sat on the mat, " * (1 + k % 7)
        (folder / f"train{k}.txt").write_text(text)
        (folder / f"held{k}.txt").write_text(text[::-1])
    rates = [
        RunConfig(
            transformer(8, 1, d_head=4, n_vocab=257, n_ctx=16),
            tokens=40 * 64,
            batch=4,
            data=DataConfig(f"text:{folder}/train*.txt", "bytes", f"text:{folder}/held*.txt"),
            optim=OptimConfig(rate),
            eval=EvalConfig(64, per_octave=1, octaves=1, noise=2, transfer=(OTHER,), train_windows=8),
        )
        for rate in (1e-2, 1e-9)
    ]
    whole = study.prepare(Study("paired", "?", tuple(rates)), folder / "study", say=lambda text: None)
    for pack in whole.packs:
        of_run = pack.runs[0]
        ids = of_run.tokens_id, *of_run.transfer_ids
        stream, other = (token_set.open_tokens(Path(whole.tokens[id])) for id in ids)
        train.train(
            [one.config for one in pack.runs],
            stream.train,
            stream.validation,
            whole.pack_folder(pack),
            separator=stream.separator,
            transfer_tokens={OTHER: other.validation},
        )
    return whole


def test_the_difference_is_that_of_the_final_losses(trained):
    better, worse = trained.runs
    losses = {}
    for pack in trained.packs:
        history = checkpoints.read_history(trained.pack_folder(pack))
        assert history is not None
        losses |= {run.id: history["eval_loss"][-1, r].mean() for r, run in enumerate(pack.runs)}
    found = paired(trained.path, better, worse)
    assert found.mean == pytest.approx(losses[better] - losses[worse], rel=1e-4)
    assert found.interval[0] < found.mean < found.interval[1] < 0
    assert found.n_windows == 64
    assert 2 < found.n_documents < 64
    assert paired(trained.path, worse, better).mean == -found.mean
    assert paired(trained.path, better, better).interval == (0, 0)
    with pytest.raises(InputError, match="no run 'other'"):
        paired(trained.path, better, "other")


def test_what_was_measured_on_the_way_is_in_the_tables(trained):
    found = records.read(trained.path)
    runs, curves = found.runs, found.curves
    learnt, still = runs.matching(f"run={trained.runs[0]}"), runs.matching(f"run={trained.runs[1]}")
    first = still["loss_initial"][0]
    for name in (f"loss_on_{OTHER}", "loss_on_train"):
        assert still[name][0] == pytest.approx(first, abs=0.1)  # about ln n_vocab on any text
    assert learnt["loss_on_train"][0] < first - 1
    assert learnt[f"loss_on_{OTHER}"][0] > learnt["loss"][0]  # of that text it has seen nothing
    np.testing.assert_array_equal(runs["flops_trained"], runs["flops"])  # no other run shared the work
    later = curves["step"] == 40
    assert (curves["noise_trace"][later] > 0).all()
    history = checkpoints.read_history(trained.pack_folder(trained.packs[0]))
    assert history is not None
    small, whole = history["noise_sq"][-1, 0, [0, -1]].astype(float)  # parts of one sequence, and the batch of four
    assert curves["noise_trace"][later][0] == pytest.approx((small - whole) / (1 / 16 - 1 / 64))
    assert curves["grad_square"][later][0] == pytest.approx((64 * whole - 16 * small) / 48)
