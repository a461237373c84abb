"""Any paper: what a further one costs, how it is found, and what is said where something is missing."""

import dataclasses
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
from analysis.papers import drawing, page, summary
from analysis.papers.claim import Claim, NotMeasurable, Undecided, Verdict, tally
from analysis.papers.drawn import Drawn
from analysis.papers.known import known, measured
from analysis.papers.paper import Paper
from analysis.table import Table
from scaling import cli
from scaling.commands import reproduce
from scaling.counts import PF_DAY
from scaling.errors import InputError

SKELETON = Path(__file__).with_name("skeleton")
MADE = page.Made("tiny", "scaling reproduce skeleton", "synthetic", 12)


@pytest.fixture(scope="module")
def skeleton() -> Paper:
    return papers.named("skeleton", "tests")


def test_every_paper_has_a_folder_and_says_what_to_train():
    assert "kaplan" in papers.names()
    for name in papers.names():
        paper, configs = papers.named(name), importlib.import_module(f"configs.{papers.module(name)}.experiments")
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
    experiments = {"size": kaplan_records.grid()}
    (drawn,) = skeleton.draw(skeleton.chosen(()), experiments)
    assert drawn.decided
    assert "and the paper's 0.0760" in drawn.sentences[0] or "the paper's 0.0760" in drawn.sentences[0]
    drawn.find("it fell by -1 %")
    at = page.write(tmp_path, skeleton, [drawn], experiments, MADE)
    text = at.read_text(encoding="utf-8")
    assert skeleton.title in text
    assert text.count("It fell by −1 %.") == 2  # what opens it, and the figure
    head, rest = text.split('<section id="summary">')[1].split("<nav>")
    assert "On ample data" not in rest
    assert "The loss falls as N" in head
    assert '<figure class="half" id="figure-fig1">' in head
    assert f'<span class="verdict {page.VERDICTS[drawn.claims[0].verdict]}">' in head
    assert 'href="#constants"' in rest
    assert rest.count("<details>") == 3  # exponents, scales and runs
    alpha_N, N_c = json.loads((tmp_path / "constants.json").read_text())
    assert alpha_N["verdict"] in (Verdict.HOLDS, Verdict.DIFFERS)
    assert alpha_N["lowest_choice"] <= alpha_N["value"] <= alpha_N["highest_choice"]
    assert N_c["verdict"] == Verdict.NOT_COMPARED


@pytest.mark.parametrize("name", ["skeleton", *papers.names()])
def test_the_claims_and_figures_at_the_head_of_a_page_are_some_of_the_papers(name):
    paper = papers.named(name, "tests") if name == "skeleton" else papers.named(name)
    drawn = paper.draw(paper.chosen(()), {})
    stated = paper.summary.stated(claim for one in drawn for claim in one.claims)
    assert [claim.label for claim in stated] == list(paper.summary.claims)
    assert set(paper.summary.figures) <= set(paper.figures)
    assert len(summary.sentences(stated)) == 1  # no run: nothing can be told


def claim(name: str, ours: float | None = None, half: float = 0.01, **more) -> Claim:
    """Of 0.1 in the paper."""
    interval = None if ours is None else (ours - half, ours + half)
    return Claim(name, "(1)", 0.1, ours=ours, interval=interval, enough=0.02, **more)


def test_a_summary_says_in_five_sentences_what_the_verdicts_say():
    holds, differs, wide = claim("p", 0.105), claim("q", 0.2, over_choices=(0.09, 0.2)), claim("r", 0.1, half=0.3)
    never = claim("s").without(NotMeasurable("S_min falls along the runs"))
    scale = Claim("D_c", "(1)", 5e13, ours=1e9)
    assert [one.verdict for one in (holds, differs, wide, never, scale)] == list(Verdict)
    assert Verdict.NOT_COMPARED not in tally([scale, holds])
    words = {one: f"L falls as x^{one.name}" for one in (holds, differs, wide, never, scale)}
    assert summary.sentences(words) == [
        "Of 4 main claims 1 holds: L falls as x^p (0.105, 0.095 to 0.115; the paper 0.100).",
        "1 differs: L falls as x^q (0.200, 0.190 to 0.210; the paper 0.100).",
        "Other analyses of the same runs reach the paper's value of q (1).",
        "Our runs cannot tell whether L falls as x^r: 0.10 (−0.20 to 0.40) is too wide: ± 0.02 decides.",
        "Runs like ours cannot measure whether L falls as x^s: S_min falls along the runs.",
    ]


def test_what_cannot_be_measured_here_is_told_from_what_cannot_be_decided(tmp_path, skeleton):
    drawn = Drawn("fig1", "Figure 1")
    drawn.tell(claim("p").without(NotMeasurable("S_min falls")), claim("q").without(Undecided("too few runs")))
    assert drawn.open == ["not measurable here p (1): S_min falls.", "cannot decide q (1): too few runs."]
    text = page.page(skeleton, [drawn], {}, MADE)
    assert '<span class="verdict unmeasurable">not measurable here</span>' in text
    assert '<span class="verdict untold">cannot tell</span>' in text


def test_a_page_opens_with_what_no_run_of_its_scale_decides(skeleton):
    drawn = Drawn("fig1", "Figure 1")
    drawn.tell(claim("p", 0.105))
    beyond = dataclasses.replace(skeleton.summary, beyond="whether the moon is x")
    for of, said in ((skeleton.summary, False), (beyond, True)):
        text = page.page(dataclasses.replace(skeleton, summary=of), [drawn], {}, MADE)
        assert ("This scale cannot decide whether the moon is x." in text) == said


def test_a_curve_of_the_same_power_lies_on_ours_once_it_has_our_height():
    x, theirs = np.geomspace(1e3, 1e6, 9), np.geomspace(1e4, 1e9, 12)
    _, (axes,) = canvas.panels(1)
    drawing.logarithmic(axes, x, "params", 3 * x**-0.1)
    fall = drawing.papers_curve(axes, x, 3 * x**-0.1, np.column_stack([theirs, 70 * theirs**-0.1]), -0.1)
    assert fall is not None
    assert fall.end == pytest.approx(1e6)
    assert fall.ours == pytest.approx(fall.theirs) == pytest.approx((fall.end / fall.start) ** 0.1)
    points, through = axes.lines
    assert np.asarray(through.get_xdata()).max() > axes.get_xlim()[1]  # it goes on to their next point
    at, y = (np.asarray(values, float) for values in points.get_data())
    assert len(at) == 5  # of theirs, those within our axes
    np.testing.assert_allclose(y, 3 * at**-0.1, rtol=1e-9)


def test_axes_in_pf_days_and_bits_show_what_the_axes_in_flop_and_nats_do():
    _, (axes,) = canvas.panels(1, above=drawing.PF_DAYS, beyond=drawing.BITS)
    runs = Table.from_columns(
        {"flops": [8.64e10, 8.64e13], "params": [1e3, 1e4], "loss": [4.0, 2.0], "bytes_per_token": [2.0, 2.0]}
    )
    drawing.logarithmic(axes, runs["flops"], "flops", runs["loss"])
    drawing.pf_days(axes)
    drawing.bits_per_byte(axes, runs)
    axes.figure.draw_without_rendering()
    days, bits = axes.child_axes
    np.testing.assert_allclose(np.array(days.get_xlim()) * PF_DAY, axes.get_xlim())
    np.testing.assert_allclose(np.array(bits.get_ylim()) * 2 * np.log(2), axes.get_ylim())
    _, (left, right) = canvas.panels(2, above=drawing.PF_DAYS, between=drawing.BITS)
    drawing.logarithmic(left, runs["loss"], "loss", runs["params"])
    drawing.bits_per_byte(left, runs, above=True)
    left.figure.draw_without_rendering()
    (bits,) = left.child_axes
    np.testing.assert_allclose(np.array(bits.get_xlim()) * 2 * np.log(2), left.get_xlim())
    _, (near, far) = canvas.panels(2)
    inches = [
        (b.get_position().x0 - a.get_position().x1) * a.figure.get_figwidth() for a, b in ((left, right), (near, far))
    ]
    assert inches[0] > inches[1] + drawing.BITS / 2
    kept = runs.where(runs["flops"] > 1e12, "too short")
    assert drawing.left_out(axes, kept, "flops", shades=canvas.Shades.of(runs)) == 1
    assert axes.lines[-1].get_markerfacecolor() == "white"


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
