"""The page: complete, self-contained, escaped, the same numbers as its data, and a real browser shows it."""

import contextlib
import functools
import html.parser
import http.server
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import known_runs
import numpy as np
import pytest
from known_runs import SURFACE
from matplotlib import image

from analysis import findings, laws, records, report
from analysis.load import load
from analysis.records import Origin
from scaling import checkpoints, histories, study
from scaling.config import DataConfig, EvalConfig, RunConfig, Study
from scaling.counts import PF_DAY
from scaling.errors import InputError
from scaling.ladder import ladder

EVIL = "<script>alert('x')</script>"
VOID = {"meta", "br", "link"}


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


def test_whatever_comes_from_data_is_escaped(page):
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 4  # title, heading, question, text


def test_the_page_is_well_formed_and_fetches_nothing(page):
    reader = read(page)
    assert "script" not in reader.tags
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
    assert page.count("<svg") == len(figures)


@pytest.mark.parametrize(
    "text",
    ["Seed noise", "bits per byte", "Learning rate", "profile likelihood", "Exponents are pure numbers", "runs.csv",
     "not identified", "GiB of memory", "jax 0.", "python 3.", "UTC", "Kaplan et al. (2020) eq. 2.1",
     "trained at another learning rate", "color-scheme: light", "@media print", "other rate"],
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
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout

    page = written.read_text(encoding="utf-8")
    (tmp_path / "index.html").write_text(page, encoding="utf-8")
    (tmp_path / "styled.html").write_text(page.replace("</head>", '<link rel="stylesheet" href="a.css"></head>'))
    with requests_to(tmp_path) as (address, requested):
        chromium(f"{address}/styled.html", "--dump-dom")
        assert "/a.css" in requested  # what a page fetches is seen
        requested.clear()
        chromium(f"{address}/index.html", "--dump-dom")
        assert set(requested) <= {"/index.html", "/favicon.ico"}

    seen = read_loosely(chromium(written.as_uri(), "--dump-dom"))
    assert seen.tags.count("svg") == seen.tags.count("figure") >= 5
    shot = tmp_path / "page.png"
    chromium(written.as_uri(), "--window-size=1280,6000", f"--screenshot={shot}")
    pixels = image.imread(shot)[..., :3]
    assert pixels.shape[:2] == (6000, 1280)
    blank = (pixels > 0.99).all(-1)
    assert 0.5 < blank.mean() < 0.98  # ink on paper
    assert len(np.unique((pixels[~blank] * 15).astype(int), axis=0)) > 50  # and colours


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
