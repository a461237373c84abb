"""The page: complete, self-contained, escaped, the same numbers as its data, and a real browser shows it."""

import base64
import contextlib
import functools
import hashlib
import html
import html.parser
import http.server
import json
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import known_runs
import numpy as np
import pytest
from conftest import ROOT
from known_runs import SURFACE
from matplotlib import image

from analysis import findings, laws, records, report
from analysis.findings import of_table as tables
from analysis.findings.of_table import OfTable
from analysis.load import load
from analysis.records import Origin
from analysis.table import Table
from scaling import checkpoints, histories, study
from scaling.config import DataConfig, EvalConfig, RunConfig, Study
from scaling.counts import PF_DAY
from scaling.errors import InputError
from scaling.ladder import ladder

EVIL = "<script>alert('x')</script>"
VOID = {"meta", "br", "link"}
WAIT = 300  # seconds at most for another process, on a busy machine


class Reader(html.parser.HTMLParser):
    """Collects what a page refers to, and checks that its tags close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.references: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("href", "src", "xlink:href", "srcset", "data", "action"):
                self.references.append(value or "")
            if name == "id":
                self.ids.append(value or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    assert not reader.open
    return reader


@pytest.fixture(scope="module")
def page() -> str:
    rows = [*known_runs.grid(), *known_runs.repeated()]
    rows += [known_runs.run((8, 2), 2**20, 4.4, seed=1), known_runs.run((8, 2), 2**20, 4.1, learning_rate=2e-2)]
    for row in rows:
        row["data"] = f"text:{EVIL}/*.txt"
    table = known_runs.table(rows)
    found = findings.find(table, known_runs.curves(table), draws=20)
    return report.page(found, known_runs.curves(table), known_runs.positions(table), name=EVIL, question=f"Why {EVIL}?")


def scripts(page: str) -> dict[str, str]:
    """What a browser would take for scripts, by their type."""
    return {kind: text for kind, text in re.findall(r'<script(?: type="([^"]*)")?[^>]*>(.*?)</script>', page, re.S)}


def test_whatever_comes_from_data_is_escaped(page):
    assert page.count("<script") == 2  # the page's own, and the data that it reads
    assert page.count("&lt;script&gt;") >= 4  # title, heading, question, text


def test_the_policy_of_a_page_lets_its_own_script_run_and_nothing_else(page):
    said = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert said
    own = base64.b64encode(hashlib.sha256(scripts(page)[""].encode()).digest()).decode()
    assert f"script-src 'sha256-{own}';" in said[1]
    assert said[1].startswith("default-src 'none';")
    assert not re.search(r" on[a-z]+=", page)


def test_a_table_wider_than_the_page_scrolls_by_itself(page):
    assert page.count("<table") == page.count('<div class="scroll"><table') > 3


def test_names_of_runs_cannot_leave_the_data_of_a_page():
    rows = [row | {"run": f"</script>{EVIL}{k}"} for k, row in enumerate(known_runs.grid())]
    text = report.page(findings.find(known_runs.table(rows), draws=0), None, None, name="a", question="b")
    assert text.count("<script") == 2
    read(text)
    told = json.loads(scripts(text)["application/json"])
    assert told["runs"][f"</script>{EVIL}0"][told["names"].index("loss")] == f"{rows[0]['loss']:.4f}"


def test_the_page_is_well_formed_and_fetches_nothing(page):
    reader = read(page)
    assert len(reader.ids) == len(set(reader.ids))
    for reference in reader.references:
        assert reference.startswith("#") or re.fullmatch(r"[a-z]+\.(csv|json)", reference), reference
    assert not re.search(r"@import|@font-face|url\((?!#)", page)


def test_links_inside_the_page_lead_somewhere(page):
    reader = read(page)
    for reference in reader.references:
        if reference.startswith("#"):
            assert reference[1:] in reader.ids, reference


def test_the_page_has_all_its_figures(page):
    figures = re.findall(r'<figure[^>]* id="figure-([\w-]+)"', page)
    assert figures == [
        *("curves", "chinchilla-loss", "chinchilla-residuals", "kaplan-nd-loss", "kaplan-nd-residuals"),
        "kaplan-d-loss",
        *("chinchilla-held-out", "kaplan-nd-held-out", "positions"),
    ]
    assert page.count('class="panels"') == len(figures)


@pytest.mark.parametrize(
    "text",
    ["Seed noise", "bits per byte", "Learning rate", "profile likelihood", "Exponents are pure numbers", "runs.csv",
     "not identified", "GiB of memory", "jax 0.", "python 3.", "UTC", "Kaplan et al. (2020) eq. 2.1",
     "trained at another learning rate", "prefers-color-scheme: dark", "@media print", "other rate"],
)  # fmt: skip
def test_the_page_says_what_a_careful_reader_asks_for(page, text):
    assert text in page


def test_a_study_that_has_only_begun_has_a_page():
    table = known_runs.table([row | {"status": "running"} for row in known_runs.grid()])
    page = report.page(
        findings.find(table), known_runs.curves(table), known_runs.positions(table), name="a", question="b"
    )
    read(page)
    assert "not finished yet" in page
    assert "<figure" not in page


@pytest.mark.parametrize(
    ("rate", "said"),
    [
        (known_runs.RATE, "diverged at the study&#39;s own rate 0.01; 0.02 reaches a loss of 9.0000"),
        (2e-2, "No other rate that was tried without diverging lowers"),
    ],
)
def test_the_page_does_not_praise_a_rate_that_diverged(rate, said):
    rows = [*known_runs.grid(), known_runs.run((8, 2), 2**20, 9.0, learning_rate=2e-2)]
    for row in rows:
        if (row["d_model"], row["tokens"], row["learning_rate"]) == (8, 2**20, rate):
            row |= {"loss": np.nan, "status": "diverged"}
    page = report.page(findings.find(known_runs.table(rows), draws=0), None, None, name="a", question="b")
    assert "<td>diverged</td>" in page
    assert "<td>nan</td>" not in page
    assert said in page
    assert page.count("No other rate") == said.count("No other rate")


def test_a_study_whose_runs_all_diverged_has_a_page():
    rows = [row | {"status": "diverged", "loss": np.nan} for row in known_runs.grid()]
    page = report.page(findings.find(known_runs.table(rows), draws=0), None, None, name="a", question="b")
    read(page)
    assert "Not identified: no run is left" in page


def test_published_constants_are_those_of_the_papers(papers):
    def value(paper: str, name: str) -> float:
        return papers[paper][name]["value"]

    def number(text: str) -> float:
        """What is printed before an interval, powers of ten read back."""
        digits = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")
        return float(text.split(" (")[0].translate(digits).replace("×10", "e"))

    kaplan, hoffmann, besiroglu = "kaplan2020", "hoffmann2022", "besiroglu2024"
    unrounded = {name: f"{name}_unrounded" for name in ("E", "A", "B", "alpha", "beta")}
    for law, paper, key, names, factor in (
        (laws.KaplanN, report.KAPLAN, kaplan, {"N_c": "N_c", "alpha_N": "alpha_N"}, {}),
        (laws.KaplanD, report.KAPLAN, kaplan, {"D_c": "D_c", "alpha_D": "alpha_D"}, {}),
        (laws.KaplanC, report.KAPLAN, kaplan, {"C_c": "C_c", "alpha_C": "alpha_C"}, {"C_c": PF_DAY}),
        (laws.KaplanND, report.KAPLAN, kaplan,
         {name: f"table2_{name}" for name in ("N_c", "D_c", "alpha_N", "alpha_D")}, {}),
        (laws.Chinchilla, report.HOFFMANN, hoffmann, unrounded, {}),
        (laws.Chinchilla, report.BESIROGLU, besiroglu, {name: name for name in unrounded}, {}),
    ):  # fmt: skip
        printed = report.PUBLISHED[law][paper]
        assert set(printed) == {c.name for c in law.constants()}
        for name, text in printed.items():
            assert number(text) == pytest.approx(value(key, names[name]) * factor.get(name, 1), rel=2e-3), (paper, name)


def made_up_study(folder: Path) -> None:
    """A study folder as training leaves it, with losses that follow the known law."""
    models = ladder(((8, 1), (8, 2), (16, 2), (24, 2)), d_head=8, n_vocab=257)
    evaluate = EvalConfig(windows=4, per_octave=1, octaves=3)
    data = DataConfig("synthetic:bytes=2e5", "bytes")
    runs = tuple(RunConfig(m, tokens=D, data=data, eval=evaluate) for m in models for D in (2**14, 2**15, 2**16))
    planned = study.prepare(Study("ladder", "What does size buy?", runs), folder, say=lambda line: None)
    rng = np.random.default_rng(0)
    for pack in planned.packs:
        one = pack.runs[0].config
        t = one.model.n_ctx
        means = [float(SURFACE(one.model.N, max(step, 1) * one.batch_tokens)) for step in one.eval_steps]
        losses = np.array(means) * np.exp(0.0002 * rng.normal(size=len(means)))
        shape = (np.arange(1, t + 1) ** -0.5)[None, None]
        history = histories.start(1, t) | {
            "train_loss": np.full((one.steps, 1), losses[-1], np.float32),
            "grad_norm": np.ones((one.steps, 1), np.float32),
            "eval_step": np.array(one.eval_steps),
            "eval_loss": (losses[:, None, None] + shape - shape.mean()).astype(np.float32),
            "seconds": np.asarray(1.0),
            "finished": np.asarray(True),
        }
        kept = checkpoints.Record(planned.pack_folder(pack))
        kept.save(one.steps, {"weights": np.zeros(1)}, history)
        kept.close()


def test_runs_of_a_pack_share_its_time_and_diverge_early_only_by_a_loss_that_is_no_number(tmp_path, monkeypatch):
    monkeypatch.setenv("SCALING_CACHE", str(tmp_path / "cache"))
    (model,) = ladder(((8, 1),), d_head=8, n_vocab=257)
    data = DataConfig("synthetic:bytes=2e5", "bytes")
    runs = tuple(RunConfig(model, tokens=2**14, data=data, eval=EvalConfig(windows=4), seed=s) for s in range(4))
    planned = study.prepare(Study("pack", "?", runs), tmp_path / "study", pack=4, workers=1, say=lambda line: None)
    (pack,) = planned.packs
    train_loss = np.full((5, 4), 9.0, np.float32)  # above the first held-out loss, as early steps can be
    train_loss[3, 1] = np.nan
    eval_loss = np.full((1, 4, model.n_ctx), 5.0, np.float32)
    eval_loss[0, 2, 0] = np.inf
    history = histories.start(4, model.n_ctx) | {
        "train_loss": train_loss,
        "grad_norm": np.ones((5, 4), np.float32),
        "eval_step": np.array([0]),
        "eval_loss": eval_loss,
        "seconds": np.asarray(10.0),
    }
    kept = checkpoints.Record(planned.pack_folder(pack))
    kept.save(5, {"weights": np.zeros(1)}, history)
    kept.close()
    table = records.read(tmp_path / "study").runs
    assert table["status"].tolist() == ["running", "diverged", "diverged", "running"]
    # Run 1 counts up to the update whose loss was no number: 4 of the 19 that count.
    np.testing.assert_allclose(table["seconds"], np.array([5, 4, 5, 5]) * 10 / 19)


TRAINED = {"machine": "Abacus <9000>", "versions": {"python": "3.99", "jax": "0.99"}}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SCALING_CACHE", str(tmp_path_factory.mktemp("cache")))
        made_up_study(folder)
    made = study.read(folder)
    for pack, left in zip(made.packs, ({}, TRAINED, TRAINED, {"machine": "a second one"}), strict=False):
        told = {"steps": 1, "seconds": 1.0, "status": ["done"] * len(pack.runs), "loss": [None] * len(pack.runs)}
        (made.pack_folder(pack) / "done.json").write_text(json.dumps(left | told))
    path, found = report.write(folder)
    assert found.law(laws.Chinchilla).sound
    return path


def test_a_study_becomes_a_page_with_its_data_beside_it(written):
    assert written.name == "index.html"
    names = {path.name for path in written.parent.iterdir()}
    assert names == {"index.html", "runs.csv", "curves.csv", "positions.csv", "findings.json", "findings.txt"}
    page = written.read_text(encoding="utf-8")
    assert "What does size buy?" in page
    assert "The entropy of this source is known" in page
    assert read(page).references.count("runs.csv") == 2


def test_the_page_tells_where_and_with_what_the_study_was_trained(written):
    assert records.read(written.parents[1]).origins == (Origin(**TRAINED), Origin("a second one", {}))
    page = written.read_text(encoding="utf-8")
    assert "<dt>Trained on</dt><dd>Abacus &lt;9000&gt;</dd><dt>Trained on</dt><dd>a second one</dd>" in page
    assert "<dt>Trained with</dt><dd>python 3.99, jax 0.99</dd>" in page
    assert "<dt>Page made on</dt>" in page


def test_the_data_beside_the_page_give_the_same_laws(written):
    said = json.loads((written.parent / "findings.json").read_text())
    again = findings.find(load(written.parent / "runs.csv"), draws=0).law(laws.Chinchilla)
    assert again.fit is not None
    for name, value in again.fit.constants.items():
        assert said["laws"][0]["fit"][name] == pytest.approx(value, rel=1e-6)


def test_the_documented_example_runs(written, tmp_path, monkeypatch, capsys):
    text = (Path(__file__).parents[1] / "docs" / "report.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.S)
    monkeypatch.chdir(tmp_path)
    exec(code.replace("DIR", str(written.parents[1])), {})
    assert "L(N, D), Chinchilla's form: L = " in capsys.readouterr().out
    assert (tmp_path / "loss.pdf").stat().st_size > 5_000


def test_a_folder_that_is_no_study_is_refused_in_one_line(tmp_path):
    with pytest.raises(InputError, match="is not a study"):
        report.write(tmp_path)


def test_the_page_of_runs_that_train_loads_itself_again_until_it_is_settled(written, tmp_path):
    folder = tmp_path / "study"
    shutil.copytree(written.parents[1], folder)
    shutil.rmtree(folder / "report")
    page = report.write_live(folder, 5, ["3 of 12 runs finished <soon>"])
    text = page.read_text(encoding="utf-8")
    read(text)
    assert '<html lang="en" data-live="5">' in text
    assert "3 of 12 runs finished &lt;soon&gt;" in text
    assert [path.name for path in page.parent.iterdir()] == ["index.html"]  # nothing half written is left
    report.settle(page)
    assert page.read_text(encoding="utf-8") == text.replace(' data-live="5"', "")
    shutil.rmtree(folder / "packs")
    text = report.write_live(folder, 5, []).read_text(encoding="utf-8")
    assert "no run has a record yet" in text
    assert "data-live" in text


@pytest.fixture(scope="module")
def of_table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of somebody's table: three columns, and names that are HTML."""
    folder = tmp_path_factory.mktemp("table")
    rows = [
        {"run": f"{EVIL}{k}"} | {name: row[name] for name in ("params", "tokens", "loss")}
        for k, row in enumerate(known_runs.grid())
    ]
    return report.write_table(Table.from_rows(rows, "theirs.csv"), folder, "theirs.csv")[0]


def test_a_table_of_three_columns_has_a_page_with_laws_forecasts_and_the_split_of_compute(of_table):
    text = of_table.read_text(encoding="utf-8")
    seen = read(text)
    assert {"laws", "loss", "constants", "form", "ahead", "split", "runs", "origin"} <= set(seen.ids)
    assert not {"conventions", "positions", "curves"} & set(seen.ids)  # nobody knows these of such a table
    assert text.count("<script") == 2
    assert "non-embedding" not in text
    said = json.loads((of_table.parent / "findings.json").read_text())
    assert said["allocation"]["a"] == pytest.approx(SURFACE.beta / (SURFACE.alpha + SURFACE.beta), abs=0.1)
    for one in said["ahead"]:
        true = float(SURFACE(one["inputs"]["params"], one["inputs"]["tokens"]))
        assert one["low"] < true < one["high"]
    *each, average = said["ahead_by_form"]
    assert sum(one["weight"] for one in each) == pytest.approx(1)
    assert {one["form"] for one in each} <= {form["law"] for form in said["form"]["forms"]}
    own = next(one for one in each if one["form"] == said["ahead"][0]["law"])
    assert own["values"] == pytest.approx([one["value"] for one in said["ahead"]], rel=1e-6)
    for k, value in enumerate(average["values"]):
        alone = [one["values"][k] for one in each]
        assert min(alone) - 1e-9 <= value <= max(alone) + 1e-9
        assert f"<td>{value:.4f}</td>" in text
    low, high = average["last_of_one_run"]
    assert low < float(SURFACE(*(said["ahead"][-1]["inputs"][name] for name in ("params", "tokens")))) < high


def test_a_page_says_how_far_larger_runs_lie_in_one_sentence(of_table):
    assert " times the largest fitted" not in of_table.read_text(encoding="utf-8")


def test_the_same_findings_give_the_same_page(of_table):
    """Nothing on it tells when or where it was made."""
    text = of_table.read_text(encoding="utf-8")
    assert "UTC" not in text
    assert "GiB" not in text
    table = load(of_table.parent / "runs.csv")
    one, other = (report.table_page(of_table_alone(table), "t.csv") for _ in range(2))
    assert one == other


def of_table_alone(table: Table) -> OfTable:
    """What is said of a table of which no law is asked."""
    return OfTable(table, findings.find(table, draws=0), "", None, (), {}, (), None, "", ())


def test_a_table_without_sizes_has_a_page_of_the_curve_that_it_is(tmp_path):
    D = np.geomspace(1e6, 1e9, 12)
    table = Table.from_columns({"tokens": D, "loss": 2.0 + 300 * D**-0.4}, "curve.csv")
    path, found = report.write_table(table, tmp_path, "curve.csv")
    text = path.read_text(encoding="utf-8")
    read(text)
    assert found.study is None
    assert "no column params" in text  # and how it would be named


def test_sizes_under_another_name_are_asked_for_and_not_taken_for_one_model(tmp_path):
    table = Table.from_rows(known_runs.grid(), "theirs.csv")
    table = Table.from_columns({"n_params": table["params"], "tokens": table["tokens"], "loss": table["loss"]})
    with pytest.raises(InputError, match=r"no column params, nearest is 'n_params'.*--columns params=n_params"):
        report.write_table(table, tmp_path / "page", "theirs.csv")


def test_a_page_begins_with_what_its_rows_mix(tmp_path):
    """Two texts of different loss in one table: no law is of both."""
    table = Table.from_rows(known_runs.grid(), "theirs.csv")
    both = {name: np.tile(table[name], 2) for name in ("params", "tokens")}
    text = np.repeat(["web", "books"], len(table))
    loss = np.concatenate([table["loss"], 1.2 * table["loss"]])
    mixed = Table.from_columns(both | {"loss": loss, "dataset": text}, "theirs.csv")
    study = tables.find(mixed, draws=0).study
    assert study
    assert [w for w in study.warnings if "the rows differ in dataset (2 values" in w]
    alone = Table.from_columns({name: table[name] for name in ("params", "tokens", "loss")}, "theirs.csv")
    study = tables.find(alone, draws=0).study
    assert study
    assert not [w for w in study.warnings if "differ" in w]


def test_larger_runs_are_forecast_by_the_form_that_rows_held_out_choose():
    """Kaplan's form has no floor, and Chinchilla's law of its losses bends towards one."""
    law = laws.KaplanOnePass(N_c=8.8e13, D_c=5.4e13, alpha_N=0.076, alpha_D=0.103)
    N, D = (x.ravel() for x in np.meshgrid(np.geomspace(1e6, 1e9, 5), np.geomspace(1e8, 1e11, 5)))
    noise = np.exp(0.003 * np.random.default_rng(0).standard_normal(25))
    found = tables.find(Table.from_columns({"params": N, "tokens": D, "loss": law(N, D) * noise}), draws=20)
    assert found.choice
    assert found.study
    assert found.allocation
    assert found.choice.best == "kaplan-one-pass"
    assert [one.law for one in found.ahead] == ["kaplan-one-pass"] * 4
    for one in found.ahead:
        assert one.law_low < float(law(one.inputs["params"], one.inputs["tokens"])) < one.law_high
    assert found.allocation.a == pytest.approx(0.103 / (0.076 + 0.103), abs=0.02)
    assert any("predicted best by kaplan-one-pass" in warning for warning in found.study.warnings)


def test_a_table_of_nothing_that_a_law_is_about_is_refused_in_one_line(tmp_path):
    table = Table.from_columns({"colour": ["red", "blue"], "size": [1.0, 2.0]}, "t.csv")
    with pytest.raises(InputError, match="no column"):
        report.write_table(table, tmp_path / "page", "t.csv")
    assert not (tmp_path / "page").exists()


def test_a_table_whose_sizes_have_another_name_is_refused_and_not_read_as_of_one_size(tmp_path):
    D = np.geomspace(1e6, 1e9, 12)
    table = Table.from_columns({"n_params": np.tile([1e6, 1e7], 6), "tokens": D, "loss": 2.0 + 300 * D**-0.4}, "t.csv")
    with pytest.raises(InputError, match="--columns params=n_params"):
        report.write_table(table, tmp_path, "t.csv")


def test_runs_are_done_by_whatever_name_their_tool_gives_it():
    """W&B and MLflow call it finished, in capitals or not."""
    table = load(ROOT / "docs" / "runs.csv")
    found = findings.find(table.with_columns(status=np.array(["FINISHED", *["finished"] * (len(table) - 1)])), draws=0)
    assert len(found.table) == len(findings.find(table, draws=0).table) > 0


@pytest.mark.slow
def test_the_page_of_runs_that_train_is_left_as_it_is_by_ctrl_c(written, tmp_path):
    folder = tmp_path / "study"
    shutil.copytree(written.parents[1], folder)
    shutil.rmtree(folder / "report")
    for done in folder.glob("packs/*/done.json"):
        done.unlink()
    page = folder / "report" / "index.html"
    with started([sys.executable, "-m", "scaling", "report", str(folder), "--live", "1"]) as process:
        until(lambda: page.exists() or process.poll() is not None)
        assert "data-live" in page.read_text()
        process.send_signal(signal.SIGINT)
        assert process.wait(WAIT) == 42
    text = page.read_text(encoding="utf-8")
    assert "runs finished" in text
    assert "data-live" not in text


LOOK = r"""
const panel = [...document.querySelectorAll("#figure-chinchilla-loss svg")][1];
const use = panel.querySelector("[data-runs] use");
const at = () => new DOMPoint(+use.getAttribute("x"), +use.getAttribute("y")).matrixTransform(panel.getScreenCTM());
const point = (type) => panel.dispatchEvent(new PointerEvent(type, {clientX: at().x, clientY: at().y}));
const [left, top_, width] = panel.dataset.box.split(" ").map(Number);
const [low, high] = panel.dataset.x.split(" ").map(Number);
const share = () => (+use.getAttribute("x") - left) / width;
const D = low * (high / low) ** share();
point("pointermove");
const tip = document.getElementById("tip").innerText;
const run = tip.split("\n")[0];
const lit = [...document.querySelectorAll(".lit")].map((one) => one.closest("figure").id);
point("pointerleave");
const after = document.querySelectorAll(".lit").length;
document.querySelector("#figure-chinchilla-loss .scales button").click();
const [a, b] = [...document.querySelectorAll("#figure-curves svg")].map((one) => one.getBoundingClientRect());
const wanted = (D - low) / (high - low);
document.title = JSON.stringify({tip, run, lit, after, linear: share(), wanted, below: b.top >= a.bottom});
"""


@pytest.mark.slow
def test_a_browser_without_a_network_shows_the_whole_page(written, tmp_path):
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("no chromium: the page was not opened in a browser")
    quiet = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync",
             "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")  # fmt: skip

    def chromium(address: str, *arguments: str) -> str:
        command = [browser, *quiet, f"--user-data-dir={tmp_path / 'profile'}", *arguments, address]
        return subprocess.run(command, capture_output=True, text=True, timeout=WAIT, check=True).stdout

    page = written.read_text(encoding="utf-8")
    (tmp_path / "index.html").write_text(page, encoding="utf-8")
    free = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    for name, text in (("styled", free), ("refused", page)):
        styled = text.replace("</head>", f'<link rel="stylesheet" href="{name}.css"></head>')
        (tmp_path / f"{name}.html").write_text(styled)
    with requests_to(tmp_path) as (address, requested):
        chromium(f"{address}/styled.html", "--dump-dom")
        assert "/styled.css" in requested  # what a page fetches is seen
        chromium(f"{address}/refused.html", "--dump-dom")
        assert "/refused.css" not in requested  # and its policy lets it fetch nothing
        requested.clear()
        chromium(f"{address}/index.html", "--dump-dom")
        assert set(requested) <= {"/index.html", "/favicon.ico"}
        (tmp_path / "live.html").write_text(page.replace("<html", '<html data-live="1"', 1))
        requested.clear()
        stays = [browser, *quiet, f"--user-data-dir={tmp_path / 'stays'}", "--remote-debugging-port=0"]
        with started([*stays, f"{address}/live.html"]):
            until(lambda: requested.count("/live.html") > 1)  # it loads itself again

    seen = read_loosely(chromium(written.as_uri(), "--dump-dom"))
    assert seen.tags.count("svg") > seen.tags.count("figure") >= 5
    assert "button" in seen.tags  # the page's script ran

    # A script of the test tells what it sees of the page where no policy stops it.
    for name, text in (("free", free), ("strict", page)):
        (tmp_path / f"{name}.html").write_text(text.replace("</body>", f"<script>{LOOK}</script></body>"))
    narrow = chromium((tmp_path / "free.html").as_uri(), "--dump-dom", "--window-size=600,900")
    told = re.search(r"<title>(.*?)</title>", narrow)
    assert told
    look = json.loads(html.unescape(told[1]))
    rows = load(written.parent / "runs.csv")
    i = rows["run"].tolist().index(look["run"])
    assert look["tip"].startswith(look["run"])
    assert f"loss {rows['loss'][i]:.4f}" in look["tip"]
    assert set(look["lit"]) == {"figure-curves", "figure-chinchilla-loss", "figure-chinchilla-residuals"}
    assert look["after"] == 0
    assert look["below"]  # panels stand below one another
    # On linear axes a mark lies where its number says: 2^15 tokens of 2^14 to 2^16, which the axis shows with margins.
    assert look["linear"] == pytest.approx(look["wanted"], abs=0.02)
    assert "<title>ladder: scaling laws</title>" in chromium((tmp_path / "strict.html").as_uri(), "--dump-dom")

    shot = tmp_path / "page.png"
    chromium(written.as_uri(), "--window-size=1280,6000", f"--screenshot={shot}")
    pixels = image.imread(shot)[..., :3]
    assert pixels.shape[:2] == (6000, 1280)
    blank = (pixels > 0.99).all(-1)
    assert 0.5 < blank.mean() < 0.98  # ink on paper
    assert len(np.unique((pixels[~blank] * 15).astype(int), axis=0)) > 50  # and colours


@contextlib.contextmanager
def started(command: list[str]) -> Iterator[subprocess.Popen]:
    """Another process, which does not outlive the block."""
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.terminate()


def until(so: Callable[[], bool]) -> None:
    """Waits for what another process does."""
    deadline = time.monotonic() + WAIT
    while not so():
        assert time.monotonic() < deadline
        time.sleep(0.2)


@contextlib.contextmanager
def requests_to(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Serves a folder on this machine; the address, and the paths that were asked for."""
    requested: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            requested.append(self.path)

    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", requested
        finally:
            server.shutdown()
            thread.join()


def read_loosely(text: str) -> Reader:
    """As `read`, for a browser's own serialisation, which leaves tags open."""
    reader = Reader()
    reader.handle_endtag = lambda tag: None  # type: ignore[method-assign]  # not well-formed by design
    reader.feed(text)
    return reader
