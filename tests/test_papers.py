"""Any paper: what a further one costs, how it is found, and what is said where something is missing."""

import importlib
import json
import shutil
from pathlib import Path

import kaplan_records
import numpy as np
import pytest

import configs
from analysis import papers
from analysis.findings import study_laws
from analysis.laws import KaplanN
from analysis.page import canvas, markup
from analysis.papers import page
from analysis.papers.claim import Claim, Undecided, Verdict
from analysis.papers.drawn import Drawn
from analysis.papers.known import known, measured
from analysis.papers.paper import Paper
from analysis.table import Table
from scaling import cli
from scaling.commands import reproduce
from scaling.errors import InputError

SKELETON = Path(__file__).with_name("skeleton")
MADE = page.Made("tiny", "scaling reproduce skeleton", "synthetic", 12)


@pytest.fixture(scope="module")
def skeleton() -> Paper:
    return papers.named("skeleton", "tests")


def test_every_paper_has_a_folder_and_says_what_to_train():
    assert "kaplan" in papers.names()
    for name in papers.names():
        paper, configs = papers.named(name), importlib.import_module(f"configs.{name}.experiments")
        assert set(paper.needed(tuple(paper.figures))) == set(configs.EXPERIMENTS)


def test_a_paper_of_one_figure_and_two_claims_costs_under_120_lines(skeleton):
    lines = [line for file in SKELETON.glob("*.py") for line in file.read_text(encoding="utf-8").splitlines()]
    assert len(lines) < 120
    experiments, budgets = (importlib.import_module(f"tests.skeleton.{name}") for name in ("experiments", "budgets"))
    runs = experiments.EXPERIMENTS["size"](budgets.named("tiny"))
    assert len({run.model.N for run in runs}) == 5
    assert skeleton.needed(("fig1",)) == tuple(experiments.EXPERIMENTS)


@pytest.fixture
def copied(tmp_path, monkeypatch) -> None:
    """The skeleton as a paper of its own, made by the steps of CONTRIBUTING.md, "Add a paper"."""
    for package, home, modules in (
        (configs, "configs", ("experiments", "budgets")),
        (papers, "analysis/papers", ("paper",)),
    ):
        folder = tmp_path / home / "skeleton"
        folder.mkdir(parents=True)
        shutil.copy(SKELETON / "__init__.py", folder)
        for module in modules:
            text = (SKELETON / f"{module}.py").read_text(encoding="utf-8")
            (folder / f"{module}.py").write_text(text.replace("tests.skeleton", "configs.skeleton"), encoding="utf-8")
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder.parent)])


def test_its_files_copied_to_their_places_are_a_paper_that_can_be_started(copied):
    assert "skeleton" in papers.names()
    wanted = papers.wanted("skeleton", settings={"rates": "english", "model.n_ctx": "32"})
    reproduce.refuse_on_a_cpu(wanted)
    assert wanted.budget.name == "tiny"
    assert wanted.budget.rates == "english"
    assert len(wanted.study.runs) == 5
    assert wanted.study.name == "skeleton"


@pytest.mark.slow
def test_its_copied_files_are_trained_and_drawn(copied, cache, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    source = ("--data", "synthetic:order=1,symbols=16,bytes=2e6", "--set", "data.tokenizer=bytes", "model.n_vocab=257")
    with pytest.raises(SystemExit) as end:
        cli.main(["reproduce", "skeleton", "--out", str(tmp_path / "mine"), *source, "tokens=16384"])
    said = capsys.readouterr()
    assert end.value.code == 0, said.err
    assert "alpha_N" in said.out
    assert (tmp_path / "mine" / "skeleton" / "index.html").exists()


def test_its_page_has_the_figure_the_claims_and_a_verdict_on_each(skeleton, tmp_path):
    experiments = {"size": kaplan_records.size()}
    (drawn,) = skeleton.draw(skeleton.chosen(()), experiments)
    assert drawn.decided
    assert "and the paper's 0.0760" in drawn.sentences[0] or "the paper's 0.0760" in drawn.sentences[0]
    at = page.write(tmp_path, skeleton, [drawn], experiments, MADE)
    text = at.read_text(encoding="utf-8")
    assert skeleton.title in text
    assert "<figure" in text
    alpha_N, N_c = json.loads((tmp_path / "constants.json").read_text())
    assert alpha_N["verdict"] in (Verdict.HOLDS, Verdict.DIFFERS)
    assert alpha_N["lowest_choice"] <= alpha_N["value"] <= alpha_N["highest_choice"]
    assert N_c["verdict"] == Verdict.NOT_COMPARED


def test_without_runs_the_figure_says_once_what_is_missing(skeleton):
    (drawn,) = skeleton.draw(("fig1",), {})
    assert drawn.open == ["cannot decide alpha_N (1.1): no run of the experiment size has finished."]
    assert {claim.verdict for claim in drawn.claims} == {Verdict.CANNOT_TELL, Verdict.NOT_COMPARED}


def test_what_is_missing_for_a_panel_stands_in_it_and_the_others_are_drawn():
    drawn = Drawn("fig1", "Figure 1")
    drawn.figure, (left, right) = canvas.panels(2)
    with drawn.panel(left, "Left", "the left panel"):
        left.plot([1, 2], [1, 2])
        raise Undecided("there is no paper.")
    with drawn.panel(right, "Right"):
        right.plot([1, 2], [1, 2])
    assert not left.lines
    assert left.texts[0].get_text() == "cannot decide: there is no paper"
    assert len(right.lines) == 1
    assert drawn.open == ["cannot decide the left panel: there is no paper."]


def test_a_figure_that_a_paper_has_not_is_refused(skeleton):
    with pytest.raises(InputError, match="no such figure; there are fig1"):
        skeleton.chosen(("fig2",))


def test_the_range_over_choices_is_that_of_runs_form_and_count_each_changed_alone():
    N = np.geomspace(1e5, 1e9, 12)
    loss = (1.0 + (1e7 / N) ** 0.2) * np.exp(0.001 * np.cos(9 * np.arange(12)))
    runs = Table.from_columns(
        {
            "params": N,
            "params_head": N + 64 * N**0.5,
            "tokens": np.full(12, 1e9),
            "loss": loss,
            "n_layer": np.r_[1, [2] * 11],
        }
    )
    found = known(study_laws.fitted(KaplanN, runs, 0))
    alpha_N = measured(Claim("alpha_N", "(1)", 0.076, enough=0.02), lambda: found, "alpha_N")
    N_c = measured(Claim("N_c", "(1)", 8.8e13), lambda: found, "N_c")
    (floor,), (head,) = found.by_form, found.by_count
    assert alpha_N.ours is not None
    assert isinstance(floor, KaplanN)
    assert isinstance(head, KaplanN)
    assert floor.alpha_N == pytest.approx(0.2, abs=0.02)
    assert head.alpha_N > alpha_N.ours
    (shallow,) = found.fit.without_rule.values()
    each = [alpha_N.ours, floor.alpha_N, head.alpha_N, shallow["alpha_N"]]
    assert alpha_N.span == (min(each), max(each))
    assert N_c.span is not None
    assert floor.N_c < N_c.span[0]  # a scale beside a floor is another quantity


@pytest.mark.parametrize(
    ("text", "typeset"),
    [
        ("alpha_C_min is 0.05", "α<sub>C</sub><sup>min</sup> is 0.05"),
        ("B_crit = B_* / L^(1/alpha_B)", "B<sub>crit</sub> = B<sub>*</sub> / L<sup>1/α<sub>B</sub></sup>"),
        ("2 n_layer d_model^2 & alphabets", "2 n<sub>layer</sub> d<sub>model</sub><sup>2</sup> &amp; alphabets"),
        ("the column loss_on_train", "the column loss_on_train"),
    ],
)
def test_constants_are_typeset_alike(text, typeset):
    assert markup.mathematics(text) == typeset


def test_the_page_says_what_is_seen_in_a_figure(skeleton):
    assert skeleton.figures["fig1"].caption == "Loss over size, with our law and the paper's exponent."
