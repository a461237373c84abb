"""Any paper: what a further one costs, how it is found, and what is said where something is missing."""

import importlib
import json
from pathlib import Path

import kaplan_records
import pytest

from analysis import papers
from analysis.page import canvas
from analysis.papers import page
from analysis.papers.claim import Undecided, Verdict
from analysis.papers.drawn import Drawn
from analysis.papers.paper import Paper
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
    assert N_c["verdict"] == Verdict.NOT_MEASURABLE


def test_without_runs_the_figure_says_once_what_is_missing(skeleton):
    (drawn,) = skeleton.draw(("fig1",), {})
    assert drawn.open == ["cannot decide alpha_N (1): no run of the experiment size has finished."]
    assert {claim.verdict for claim in drawn.claims} == {Verdict.CANNOT_TELL, Verdict.NOT_MEASURABLE}


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
