"""Tasks: every answer is right, no question is asked that was trained on, and what the record says of answers is so."""

import math
import re
import runpy
import shlex
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT

from scaling import cli, step, study
from scaling.config import CHARACTERS, DataConfig, EvalConfig, OptimConfig, RunConfig, Study
from scaling.data import encoding, tasks
from scaling.data.batches import validation_windows
from scaling.data.corpora import open_corpus
from scaling.data.documents import read
from scaling.data.tasks import ALPHABET, MARK
from scaling.data.tokenizer import Tokenizer
from scaling.errors import InputError
from scaling.ladder import transformer
from scaling.models import loss, model
from scaling.train import train

VOCABULARY = CHARACTERS + ALPHABET
pytestmark = pytest.mark.usefixtures("unoptimised")
MARK_ID = ALPHABET.index(MARK)
OTHER, TEXT = "text:words.txt", np.random.default_rng(0).integers(0, 13, 1000).astype(np.int32)


def documents(source: str) -> list[str]:
    return [document.text for part in open_corpus(source).parts() for _, document in read(part)]


@pytest.mark.parametrize(
    ("source", "answer"),
    [
        ("task:sum?digits=3&items=300", lambda a, b: f"{int(a) + int(b):04d}"),
        ("task:sum?digits=2&items=300&reversed=1", lambda a, b: f"{int(a) + int(b):03d}"[::-1]),
        ("task:modsum?modulus=97&items=300", lambda a, b: f"{(int(a) + int(b)) % 97:02d}"),
        ("task:copy?digits=6&items=300", lambda a, _: a),
    ],
)
def test_every_answer_is_right_and_all_documents_are_of_one_length(source, answer):
    task, found = tasks.parse(source), documents(source)
    assert len(set(found)) == 300
    for text in found:
        question, _, given = text.partition(MARK)
        a, _, b = question.partition("+")
        assert given == answer(a, b)
        assert (len(text), len(given)) == (task.width, task.answer)


def test_the_task_of_the_page_is_a_source_once_it_stands_in_the_table(monkeypatch, tmp_path, capsys):
    text_of_page = (ROOT / "docs" / "emergence.md").read_text()
    (written,) = re.findall(r"```python\n(.*?)```", text_of_page, re.DOTALL)
    page = tmp_path / "page.py"
    page.write_text(f"import dataclasses\nfrom scaling.data.tasks import MARK, Task, _between\n{written}")
    monkeypatch.setitem(tasks.KINDS, "larger", runpy.run_path(str(page))["Larger"])
    for text in documents("task:larger?digits=2&items=300"):
        question, _, answer = text.partition(MARK)
        assert answer == max(question.split("+"))
        assert set(text) <= set(ALPHABET)
    with pytest.raises(InputError, match="digits=0, wanted 1 to 9"):
        tasks.parse("task:larger?digits=0")
    (shown,) = re.findall(r"^    scaling (corpus show 'task:larger.*)$", text_of_page, re.MULTILINE)
    monkeypatch.setenv("SCALING_CACHE", str(tmp_path / "cache"))
    with pytest.raises(SystemExit) as end:
        cli.main(shlex.split(shown))
    assert end.value.code == 0
    assert "task:larger?digits=2" in capsys.readouterr().out


def test_all_questions_are_there_once_and_ranges_share_none():
    every = documents("task:modsum?modulus=11&items=121")
    assert len(set(every)) == 121
    first, rest = documents("task:modsum?modulus=11&items=50"), documents("task:modsum?modulus=11&first=50&items=71")
    assert sorted(first + rest) == sorted(every)
    assert documents("task:modsum?modulus=11&items=50&seed=1") != first


@pytest.mark.parametrize(
    "source",
    [
        "task:",
        "task:product",
        "task:sum?digits=0",
        "task:sum?digit=3",
        "task:sum?digits=two",
        "task:sum?digits=1&items=101",
        "task:sum?digits=1&first=99&items=2",
        "task:copy?digits=19",
        "task:modsum?modulus=1",
    ],
)
def test_a_task_that_cannot_be_is_refused_in_a_line(source):
    with pytest.raises(InputError) as said:
        open_corpus(source)
    assert "\n" not in str(said.value)


def test_characters_are_a_token_each_and_others_are_refused(tmp_path):
    tokenizer = Tokenizer.load(VOCABULARY)
    text = "123+456=0579"
    ids = tokenizer.encode(text)
    assert len(ids) == len(text)
    assert (tokenizer.n_vocab, tokenizer.eos) == (len(ALPHABET) + 1, len(ALPHABET))
    tokenizer.save(tmp_path / "kept")
    assert Tokenizer.load(str(tmp_path / "kept")).decode(ids) == text
    with pytest.raises(InputError, match="'a'"):
        tokenizer.encode("1a")
    with pytest.raises(InputError, match="different"):
        Tokenizer.load(CHARACTERS + "aa")
    with pytest.raises(InputError, match="n_vocab=13"):
        RunConfig(transformer(4, 1), tokens=1024, data=DataConfig("task:sum", VOCABULARY))


def test_questions_that_would_be_others_are_read_anew(monkeypatch):
    before = open_corpus("task:copy").signature()
    assert before == open_corpus("task:copy?digits=6").signature()
    monkeypatch.setattr(tasks, "VERSION", tasks.VERSION + 1)
    assert before != open_corpus("task:copy").signature()


def test_only_answers_weigh_in_the_loss_whatever_lies_in_a_window():
    end, mark = 12, MARK_ID
    #                    sep q  q  mark a  a  sep q  mark a
    window = jnp.array([[end, 1, 2, mark, 3, 4, end, 5, mark, 6, end]])
    weights = np.asarray(loss.answer_weights(window, mark))[0]
    assert np.flatnonzero(weights).tolist() == [3, 4, 8]  # the tokens 3, 4 and 6 as targets
    assert weights.mean() == pytest.approx(1)
    assert not np.asarray(loss.answer_weights(jnp.array([[end, 1, 2, 3]]), mark)).any()


def test_a_guess_without_knowledge_costs_ln_m_and_has_the_brier_score_of_m_options():
    run = RunConfig(transformer(4, 1, n_vocab=13, n_ctx=8), tokens=1024, answers_after=MARK_ID)
    params = jax.tree.map(jnp.zeros_like, model.init(run.model, jax.random.key(0)))
    items = np.random.default_rng(0).integers(0, 13, (2, 4, 9)).astype(np.int32)
    found = step.answer_step(run, params, items, n=3)
    np.testing.assert_allclose(found["loss"], math.log(13), rtol=1e-5)
    np.testing.assert_allclose(found["brier"], 1 - 1 / 13, rtol=1e-5)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, unoptimised):
    """A run on sums of one digit, which has learnt some of them."""
    folder = tmp_path_factory.mktemp("task")
    train_on, held_out = "task:sum?digits=1&items=80", "task:sum?digits=1&first=80&items=20"
    tokens = encoding.prepare(
        train_on, VOCABULARY, 13, train_tokens=560, validation_tokens=140, validation_source=held_out, cache=folder,
        say=lambda line: None,
    )  # fmt: skip
    run = RunConfig(
        transformer(8, 1, 4, n_vocab=13, n_ctx=7),
        tokens=7 * 16 * 60,
        unique_tokens=560,
        answers_after=MARK_ID,
        data=DataConfig(train_on, VOCABULARY, held_out),
        optim=OptimConfig(learning_rate=1e-2),
        eval=EvalConfig(windows=20, per_octave=1, octaves=1, transfer=(held_out, OTHER), answers=20),
    )
    history = train(
        [run], tokens.train, tokens.validation, folder / "run", separator=tokens.separator,
        transfer_tokens={held_out: tokens.validation, OTHER: TEXT}, say=lambda line: None,
    )  # fmt: skip
    return run, tokens, history


def test_no_question_that_is_asked_was_trained_on(trained):
    _, tokens, _ = trained

    def questions(stream):
        return {tuple(row) for row in np.asarray(stream).reshape(-1, 7)}

    assert len(questions(tokens.train)) == 80
    assert len(questions(tokens.validation)) == 20
    assert not questions(tokens.train) & questions(tokens.validation)


def test_the_record_of_answers_says_one_thing_in_all_its_arrays(trained):
    run, _, history = trained
    wrong = history["answer_wrong"][0, 0]  # i
    right, exact, nll = (history[f"answer_{name}"][-1, 0, 0] for name in ("right", "exact", "loss"))  # a
    assert wrong.shape == (20,)
    assert exact[-1] == pytest.approx((wrong == 0).mean())
    assert (1 - right).sum() == pytest.approx(wrong.mean(), abs=1e-5)
    assert exact[0] == right[0]
    assert (np.diff(exact) <= 0).all()
    assert history["eval_step"].tolist() == list(run.eval_steps)
    # The held-out loss is that of the same answers, per token of an answer.
    assert history["eval_loss"][-1, 0].mean() == pytest.approx(nll.mean(), rel=1e-5)
    assert history["eval_loss"][-1, 0].mean() < history["eval_loss"][0, 0].mean()
    assert not history["eval_loss"][-1, 0][[0, 1, 2, 3, 6]].any()


def test_digits_that_are_no_tokens_of_their_own_are_refused():
    with pytest.raises(InputError, match="characters:"):
        tasks.items("task:copy?digits=1", np.array([1, 2, 12, 1, 2, 3, 12, 1]), 2, 12)
    with pytest.raises(InputError, match="ask for fewer"):
        tasks.items("task:copy?digits=1", np.array([1, 11, 1, 12]), 2, 12)


def planned(folder, *, n_ctx: int = 14, answers: int = 10, answers_after: int | None = None, **data: str) -> None:
    """Plans a study of one run on the characters of tasks, or on bytes where there is text."""
    asked = data.pop("transfer")
    tokenizer, n_vocab = ("bytes", 257) if "text:" in f"{data}" else (VOCABULARY, 13)
    run = RunConfig(
        transformer(4, 1, n_vocab=n_vocab, n_ctx=n_ctx),
        tokens=16 * n_ctx,
        answers_after=answers_after,
        data=DataConfig(data.pop("source"), tokenizer, **data),
        eval=EvalConfig(windows=2, transfer=(asked,), answers=answers),
    )
    study.prepare(Study("mine", "why", (run,)), folder / "study", say=lambda line: None)


SHOWN = {
    "in a mixture": ("mix:0.5*text:words.txt+0.5*task:copy?digits=6&items=4000", "task:copy?digits=6&items=2000", 4000),
    "by a rule": ("repeat(task:copy?digits=6&items=400, times=2)", "task:copy?digits=6&first=399&items=9", 400),
    "the same": ("task:copy?digits=6", "task:copy?digits=6", 100_000),
    "in another order": ("task:copy?digits=6&items=90", "task:copy?digits=6&items=90&seed=1", 90),
}


@pytest.mark.parametrize("case", SHOWN)
def test_questions_that_are_trained_on_are_not_asked_and_others_are_proposed(case, tmp_path):
    source, asked, free = SHOWN[case]
    with pytest.raises(InputError, match=r"eval\.transfer") as said:
        planned(tmp_path, source=source, transfer=asked)
    assert "\n" not in str(said.value)
    way = str(said.value).rpartition(" ")[2]
    assert f"first={free}&" in way
    assert tasks.parse(way).items == tasks.parse(asked).items
    run = RunConfig(transformer(4, 1), tokens=16 * 1024, data=DataConfig(source), eval=EvalConfig(transfer=(way,)))
    tasks.check(run)


def test_where_all_questions_are_trained_on_fewer_are_proposed_and_held_out_ones_are_not_trained_on(cache, tmp_path):
    with pytest.raises(InputError, match=r"train on fewer, task:modsum.modulus=11&items=108, and ask .*first=108"):
        planned(tmp_path, source="task:modsum?modulus=11", transfer="task:modsum?modulus=11&items=9")
    held = "task:modsum?modulus=11&items=20"
    planned(tmp_path, source="task:modsum?modulus=11", validation=held, transfer=held)
    planned(tmp_path / "other", source="task:modsum?modulus=11", validation=held, transfer="task:modsum?modulus=13")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source": "task:sum?digits=2", "answers_after": 5}, "use answers_after=11"),
        ({"source": "task:sum?digits=2", "answers_after": 10}, "use answers_after=11"),
        ({"source": "text:words.txt", "answers_after": 61}, "data.source=text:words.txt is not of tasks alone"),
        (
            {"source": "task:sum?digits=2", "validation": "text:words.txt", "answers_after": 61},
            "data.validation=text:words.txt is not of tasks alone",
        ),
        ({"source": "task:sum?digits=2", "n_ctx": 12}, "n_ctx=12: .* has 13 tokens .*n_ctx=13"),
        ({"source": "task:sum?digits=2", "answers": 80}, "eval.answers=80: .* has 50 questions; use .*eval.answers=50"),
    ],
)
def test_what_cannot_be_asked_of_a_task_is_found_when_the_study_is_planned(changes, message, cache, tmp_path):
    with pytest.raises(InputError, match=message) as said:
        planned(tmp_path, **({"transfer": "task:copy?digits=6&items=50"} | changes))
    assert "\n" not in str(said.value)


def all_losses(run: RunConfig, windows: Any) -> jax.Array:
    """Of each next token, weighed or not, before the first update."""

    def losses(windows: jax.Array) -> jax.Array:
        return loss.token_losses(run.model, model.init(run.model, jax.random.key(0)), windows, dtype=run.dtype)

    return jax.jit(losses)(jnp.asarray(windows))


def test_the_losses_of_parts_are_those_of_the_answers_in_them():
    """A part's loss is the mean over its own answer tokens, whichever tokens of questions belong to it too."""
    run = RunConfig(transformer(4, 1, n_vocab=13, n_ctx=6), tokens=6 * 16, answers_after=MARK_ID)
    params = jax.jit(model.init, static_argnums=0)(run.model, jax.random.key(0))
    windows = jnp.array([[[12, 2, 2, MARK_ID, 3, 4, 12], [12, 2, 1, MARK_ID, 4, 1, 12]]])
    part = jnp.asarray(np.equal.outer(np.arange(13) == 1, [False, True]), jnp.float32)
    each = np.asarray(all_losses(run, windows[0]))[:, 3:5]
    ones = np.asarray(windows[0])[:, 4:6] == 1
    found = jax.jit(step.frequency_step, static_argnums=0)(run, params, windows, part)
    np.testing.assert_allclose(found, [each[~ones].mean(), each[ones].mean()], rtol=1e-5)


def test_other_text_is_measured_on_all_its_tokens_where_only_answers_are_trained_on(trained):
    run, tokens, history = trained
    windows = validation_windows(TEXT, run.model.n_ctx, run.eval.windows, tokens.separator)
    assert history["transfer_loss"][0, 0, 1] == pytest.approx(float(all_losses(run, windows).mean()), rel=1e-5)


@pytest.mark.parametrize("value", ["digits=1000000000", f"seed={'1' * 5000}", f"first={'9' * 20}"])
def test_a_value_out_of_all_bounds_is_refused_before_anything_is_counted(value):
    with pytest.raises(InputError, match="wanted") as said:
        tasks.parse(f"task:sum?{value}")
    assert len(str(said.value)) < 200


def test_characters_that_are_no_text_are_refused():
    with pytest.raises(InputError, match="UTF-8") as said:
        Tokenizer.load(CHARACTERS + "01\udcff")
    str(said.value).encode()
