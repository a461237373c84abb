"""scaling reproduce kaplan: from one command to a page with every figure, and what it says when it cannot."""

import dataclasses
import json
import math
import re
from pathlib import Path

import kaplan_records
import numpy as np
import pytest
from markupsafe import escape
from test_report import EVIL, Reader

from analysis.papers import page, reproduction
from analysis.papers.claim import Claim
from analysis.papers.drawn import Drawn
from analysis.papers.evidence import split
from analysis.papers.kaplan import power
from analysis.papers.kaplan.paper import PAPER
from analysis.papers.paper import Planned
from scaling import cli
from scaling.config import EvalConfig, OptimConfig, RunConfig
from scaling.ladder import ladder

MADE = page.Made("tiny", f"scaling reproduce kaplan --data '{EVIL}'", EVIL, 12, (EVIL,))
QUICK = ("--data", "synthetic:order=1,symbols=16,bytes=2e6", "--set", "data.tokenizer=bytes", "model.n_vocab=257")


def command(*words: str) -> int:
    with pytest.raises(SystemExit) as end:
        cli.main(["reproduce", "kaplan", *words])
    return int(end.value.code or 0)


def refusal(capsys, *words: str) -> str:
    """The one line with which a command is refused."""
    assert command(*words) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


def plan(n_sizes: int, lengths: tuple[int, ...] = (2**20,), seeds: int = 1) -> list[Planned]:
    """A ladder of cosines as `size` has it."""
    shapes = ((8, 2), (16, 2), (24, 2), (32, 2), (48, 2), (64, 2))[:n_sizes]
    return [
        reproduction.planned_row(
            RunConfig(model, tokens=D, batch=4, seed=seed, optim=OptimConfig(0.01), eval=EvalConfig(octaves=9))
        )
        for model in ladder(shapes, d_head=8)
        for D in lengths
        for seed in range(seeds)
    ]


# --- what cannot be done


def test_an_unknown_figure_is_one_line(capsys):
    assert "--only fig99: no such figure; there are fig1, length, " in refusal(capsys, "--only", "fig99")


def test_an_unknown_budget_is_one_line(capsys):
    assert "budget=cpu-9h: wanted one of tiny, cpu-1h, " in refusal(capsys, "--budget", "cpu-9h")


@pytest.mark.parametrize("budget", ["gpu-1h", "pod"])
def test_what_a_cpu_cannot_do_is_not_begun(capsys, monkeypatch, tmp_path, budget):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    line = refusal(capsys, "--budget", budget, "--out", str(tmp_path / "out"))
    assert f"--budget {budget} is not for a CPU" in line
    assert "scaling launch" in line
    assert not (tmp_path / "out").exists()


def test_a_setting_that_no_run_has_is_one_line(capsys):
    assert "unknown key 'model.width'" in refusal(capsys, "--budget", "tiny", "--set", "model.width=3")


def test_nothing_is_drawn_from_a_folder_that_is_no_study(capsys, tmp_path):
    assert "is not a study" in refusal(capsys, "--draw", "--out", str(tmp_path))


# --- which runs


def test_figures_come_in_the_papers_order_each_with_experiments_that_exist():
    assert PAPER.chosen(()) == tuple(PAPER.figures)
    assert PAPER.chosen(("fig9", "fig1")) == ("fig1", "fig9")
    assert PAPER.needed(("fig18", "fig22")) == ("batch", "schedule")
    places = [PAPER.sections.index(entry.section) for entry in PAPER.figures.values()]
    assert places == sorted(places)
    wanted = [f"fig{k}" for k in range(1, 25)] + [f"table{k}" for k in range(1, 7)] + ["summary", "appendixB", "length"]
    assert set(PAPER.figures) == set(wanted)


def test_records_are_split_by_experiment_and_nothing_counts_as_left_out():
    everything = kaplan_records.grid()
    ids = everything.runs["run"].tolist()
    found = split(everything, {"grid": ids[:3], "data": ids[2:4], "batch": ["unknown"]})
    assert list(found) == ["grid", "data"]
    assert found["grid"].runs["run"].tolist() == ids[:3]
    assert set(found["data"].curves["run"]) == set(ids[2:4])
    assert not found["grid"].runs.excluded


# --- which runs of a study are the paper's


def of_domains(text: str, *only: str) -> reproduction.Wanted:
    return reproduction.wanted("domains", "cpu-1h", only, settings={"data.source": text, "rates": "python"})


def found(wanted: reproduction.Wanted, *runs: RunConfig) -> dict[str, set[RunConfig]]:
    """Of each experiment, what is taken for its runs in a study of these."""
    study = {str(k): run for k, run in enumerate(dict.fromkeys(runs))}
    ids = reproduction._ids(wanted.members, study, wanted.others())
    return {name: {study[id] for id in own} for name, own in ids.items()}


def test_a_text_is_found_by_another_name_where_no_other_text_could_be_meant():
    a, b = of_domains("text:a/*"), of_domains("text:b/*")
    for study in (a, b):
        everything = found(a, *study.study.runs)
        assert everything == {name: set(runs) for name, runs in study.members.items()}
    code, glyphs = a.members["code"], a.members["glyphs"]
    assert not found(a, *code)["text"]  # they are Python's
    assert not any(found(a, *b.members["text"]).values())  # of Python's sources, or of the text
    few = found(a, *code[1:], *b.members["text"])
    assert few["code"] == set(code[1:])
    assert few["text"] == set(b.members["text"])
    arm = [run for run in glyphs if "captions=0" in run.data.source]
    assert found(a, *arm)["glyphs"] == set(arm)


def test_every_run_on_a_text_that_was_changed_is_found_by_another_name_of_the_text():
    named = [reproduction.wanted("quality", "cpu-1h", settings={"data.source": f"text:{name}/*"}) for name in "ab"]
    assert found(named[0], *named[1].study.runs) == {name: set(runs) for name, runs in named[1].members.items()}


def test_runs_of_what_was_not_asked_for_are_not_taken_for_what_was():
    a, b = of_domains("text:a/*"), of_domains("text:b/*")
    glyphs = of_domains("text:a/*", "fig6")
    assert {*glyphs.study.runs, *glyphs.others()} == set(a.study.runs)
    alone = dataclasses.replace(a, members={"text": a.members["text"]}, others=lambda: a.study.runs)
    assert found(alone, *a.members["code"]) == {"text": set()}
    assert found(alone, *b.members["text"]) == {"text": set()}
    assert found(alone, *a.members["code"], *b.members["text"]) == {"text": set(b.members["text"])}


def test_one_text_with_two_tokenizers_or_two_held_out_texts_is_two():
    (run, *_) = of_domains("text:a/*").members["text"]
    ways = [{"tokenizer": "b.model"}, {"validation": "text:held/*"}, {}]
    runs = [dataclasses.replace(run, data=dataclasses.replace(run.data, **way)) for way in ways]
    wanted = dataclasses.replace(of_domains("text:a/*"), members={str(k): (one,) for k, one in enumerate(runs)})
    wanted = dataclasses.replace(wanted, others=tuple)
    assert found(wanted, *runs) == {str(k): {one} for k, one in enumerate(runs)}
    assert found(wanted, *runs[:2]) == {"0": {runs[0]}, "1": {runs[1]}, "2": set()}


def test_figures_of_no_runs_at_all_are_undecided_and_do_not_raise():
    for one in PAPER.draw(tuple(PAPER.figures), {}):
        assert not one.decided
        assert one.figure is None
        assert all(sentence.startswith("cannot decide") for sentence in one.open)


# --- what may be expected


def test_more_sizes_and_less_noise_promise_a_narrower_interval():
    def half(n_sizes: int, noise: float) -> float:
        (found,) = power.expected({"grid": plan(n_sizes)}, ["fig23"], draws=1, noise=noise)
        assert (found.constant, found.figure) == ("alpha_N", "Figure 1 (N)")
        assert found.half is not None
        return found.half

    assert half(6, 0.001) < half(6, 0.003) < half(4, 0.003)


def test_two_sizes_promise_nothing():
    (found,) = power.expected({"grid": plan(2)}, ["fig23"], draws=1)
    assert found.half is None
    assert str(found).startswith("Figure 1 (N): cannot decide alpha_N: 2 sizes")


def test_only_figures_that_were_asked_for_are_predicted():
    assert power.expected({"grid": plan(3)}, ["fig22"]) == ()
    assert power.expected({}, []) == ()


def test_the_laws_behind_the_expectation_are_the_papers():
    truth = power.Truth.of(1e5)
    assert truth.joint(1e5, 1e15) == pytest.approx(3, rel=1e-3)
    assert truth.joint.excess(24_576, 2**18) == pytest.approx(0.04)
    assert truth.path.B_crit(4.0) == pytest.approx(6e3)
    # Far above the critical batch S_min is S: (1.6) itself.
    S = np.array([1e2, 1e3])
    law = 3 + (power.S_C / S) ** 0.76
    np.testing.assert_allclose(truth.ample(1e5, S, 1e12), law, rtol=1e-6)


# --- the page


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> tuple[Path, list[Drawn]]:
    experiments = {"grid": kaplan_records.grid(), "data": kaplan_records.data(), "batch": kaplan_records.batch()}
    names = ("fig1", "fig5", "table2", "table4", "fig9")
    drawn = PAPER.draw(names, experiments)
    spiteful = Drawn("fig18", EVIL, claims=[Claim(EVIL, EVIL, 0.1, 0.2, (0.1, 0.3), enough=1.0, note=EVIL)])
    spiteful.say(EVIL)
    spiteful.points([{"word": EVIL, "x": 1.5}, {"word": "b"}])
    lacking = Drawn("fig22", "Figure 22: schedules")
    lacking.lacks(EVIL)
    drawn += [spiteful, lacking]
    return page.write(tmp_path_factory.mktemp("kaplan"), PAPER, drawn, experiments, MADE), drawn


def test_the_page_holds_everything_and_fetches_nothing(written):
    path, drawn = written
    text = path.read_text(encoding="utf-8")
    reader = Reader()
    reader.feed(text)
    assert not reader.open
    assert len(set(reader.ids)) == len(reader.ids)
    for reference in reader.references:
        if reference.startswith("#"):
            assert reference[1:] in reader.ids
        else:
            assert (path.parent / reference).exists(), reference
    assert reader.tags.count("figure") == sum(one.figure is not None for one in drawn)
    assert EVIL not in text
    assert escape(EVIL) in text
    for one in drawn:
        assert f'id="{one.name}"' in text


def test_every_figure_has_its_points_beside_the_page_and_every_constant_is_in_the_json(written):
    path, drawn = written
    for one in drawn:
        rows = (path.parent / f"{one.name}.csv").read_text().splitlines()
        assert len(rows) == 1 + len(one.data) or not len(one.data)
        assert (path.parent / f"{one.name}.svg").exists() == (one.figure is not None)
    constants = json.loads((path.parent / "constants.json").read_text())
    assert len(constants) == sum(len(one.claims) for one in drawn)
    (joint,) = [c for c in constants if (c["figure"], c["name"]) == ("table2", "alpha_N")]
    assert joint["low"] < joint["value"] < joint["high"]
    assert joint["paper"] == pytest.approx(0.076)


def test_the_page_counts_what_is_decided(written):
    path, drawn = written
    text = path.read_text(encoding="utf-8")
    assert f"<dd>{sum(one.decided for one in drawn)} of {len(drawn)}<small>leave nothing open" in text
    assert "of 12" in text  # planned runs


# --- the whole way


def test_one_figure_is_trained_drawn_and_not_trained_again(cache, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    here = ("--workers", "1", "--pack", "18", "--out", str(tmp_path / "mine"))
    words = ("--budget", "tiny", "--only", "fig22", *here, *QUICK, "optim.clip=1.0")
    assert command(*words) == 0
    said = capsys.readouterr()
    assert "18 of 18 runs to train" in said.err
    assert "none of these figures has a main exponent" in said.out
    assert "Figure 22" in said.out
    made = tmp_path / "mine" / "kaplan"
    assert len((made / "fig22.csv").read_text().splitlines()) > 12
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "mine" / "packs").rglob("done.json")}

    assert command(*words) == 0
    assert "all 18 runs are there" in capsys.readouterr().err
    assert stamps == {path: path.stat().st_mtime_ns for path in (tmp_path / "mine" / "packs").rglob("done.json")}

    (made / "index.html").unlink()
    assert command("--draw", *words) == 0
    capsys.readouterr()
    assert (made / "index.html").exists()
    assert "has no run of budget cpu-1h" in refusal(
        capsys, "--draw", *("cpu-1h" if word == "tiny" else word for word in words)
    )


@pytest.mark.slow
def test_every_figure_is_drawn_from_a_tiny_budget(cache, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert command("--budget", "tiny", "--out", str(tmp_path / "mine")) == 0
    out = capsys.readouterr().out
    made = tmp_path / "mine" / "kaplan"
    for name in PAPER.figures:
        assert (made / f"{name}.csv").exists()
    assert len(list(made.glob("*.svg"))) >= 14  # such models hardly use their context: no critical batch is read
    assert len(re.findall(r"at best|cannot decide", out)) >= 9
    for constant in json.loads((made / "constants.json").read_text()):
        assert constant["value"] is None or math.isfinite(constant["value"])
