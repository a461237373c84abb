"""The page of a paper: what of it holds, in a few sentences, one table and the figures that carry it, and then, folded
away, every figure and table in its order, from our own runs with the numbers beside the paper's.

OUT/NAME/index.html        opens from disk, fetches nothing
OUT/NAME/fig1.svg fig1.csv each figure by itself, and its points
OUT/NAME/constants.json    every constant beside the paper's
"""

import dataclasses
import datetime
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup, escape

from analysis import digits
from analysis.jsonable import jsonable
from analysis.page import canvas, markup
from analysis.page.markup import tag
from analysis.papers import summary
from analysis.papers.claim import Claim, Verdict, capital, sentence, tally
from analysis.papers.drawn import Drawn
from analysis.papers.evidence import Experiments, joined
from analysis.papers.paper import Paper
from analysis.records import Origin
from analysis.table import Table
from scaling import folders, machine

EXPECTED = "losses of the planned runs drawn from the paper's laws with 0.3 % of noise, and fitted as ours are."
COLUMNS = 7  # more are set closer
VERDICTS = {  # classes of report.css
    Verdict.HOLDS: "holds",
    Verdict.DIFFERS: "differs",
    Verdict.CANNOT_TELL: "untold",
    Verdict.NOT_MEASURABLE: "unmeasurable",
    Verdict.NOT_COMPARED: "soft",
}
OPEN = (Verdict.CANNOT_TELL, Verdict.NOT_MEASURABLE)
COUNTED = {  # after one, after more
    Verdict.HOLDS: ("holds", "hold"),
    Verdict.DIFFERS: ("differs", "differ"),
    Verdict.CANNOT_TELL: ("cannot be told", "cannot be told"),
    Verdict.NOT_MEASURABLE: ("not measurable here", "not measurable here"),
}
ROWS = 60  # of a table that the page shows; the file beside it has all


@dataclasses.dataclass(frozen=True)
class Made:
    """Where a page comes from.

    Attributes:
        budget: its name.
        command: that made the page.
        data: the source of the text.
        planned: runs of the figures that were asked for.
        expected: what intervals the exponents could expect, said before the start.
    """

    budget: str
    command: str
    data: str
    planned: int
    expected: Sequence[str] = ()


def write(folder: Path, paper: Paper, drawn: Sequence[Drawn], experiments: Experiments, made: Made) -> Path:
    """Writes the page and what stands beside it into a folder; what other figures left there is kept.

    Returns:
        The page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for one in drawn:
        one.data.to_csv(folder / f"{one.name}.csv")
        if one.figure is not None:
            canvas.save(one.figure, folder / f"{one.name}.svg")
    constants = [{"figure": one.name, **each.to_dict()} for one in drawn for each in one.claims]
    folders.write(folder / "constants.json", json.dumps(jsonable(constants), indent=1) + "\n")
    path = folder / "index.html"
    folders.write(path, page(paper, drawn, experiments, made))
    return path


def page(paper: Paper, drawn: Sequence[Drawn], experiments: Experiments, made: Made) -> str:
    """The page as HTML text: what holds, with the figures that carry the paper; then all else in folds."""
    joined_runs = joined([records.runs for records in experiments.values()])
    leading = [one for name in paper.summary.figures for one in drawn if one.name == name]
    sections: list[markup.Section] = [("facts", "The runs in numbers", _facts(drawn, experiments, made))]
    for k, section in enumerate(paper.sections):
        own = [one for one in drawn if paper.figures[one.name].section == section]
        if any(one not in leading for one in own):
            shown = markup.joined(_above(one) if one in leading else _folded(one) for one in own)
            sections.append((f"section-{k}", section, shown))
    ends = [
        ("constants", "The exponents, beside the paper's", _exponents(paper, drawn)),
        ("scales", "Scales, which depend on text and vocabulary", _scales(paper, drawn)),
        ("runs", "What was run", _runs(experiments, made)),
    ]
    ends = [end for end in ends if end[2]]
    folds = markup.joined(markup.fold(title, tag("div", content, id=id)) for id, title, content in ends)
    sections.append(("all", "All constants, and the runs", folds))
    opening = (
        tag("h1", paper.title),
        tag(
            "p",
            f"{paper.lede} at the budget {made.budget}{_models(joined_runs)}{_so_far(joined_runs, made)}.",
            class_="lede",
        ),
        _summary(paper, drawn),
        markup.joined(map(_leading, leading)),
    )
    links = [(one.name, one.short_title) for one in drawn] + [(id, title.partition(",")[0]) for id, title, _ in ends]
    return markup.document(paper.title, opening, sections, links, runs=joined_runs)


def _so_far(runs: Table | None, made: Made) -> str:
    """How many runs there are where some are still to be trained, as the end of a sentence."""
    done = 0 if runs is None else len(runs)
    return f": {done} of {made.planned} runs so far" if done < made.planned else ""


def _models(runs: Table | None) -> str:
    """Which models were trained, as the end of a sentence; nothing where no run has a record."""
    if runs is None:
        return ""
    words = {"params": "{} parameters without the embedding", "n_layer": "depth {}"}
    words |= {"n_ctx": "context {}", "n_vocab": "vocabulary {}"}
    values = {name: runs[name][runs[name] > 0] for name in words if runs.has(name)}
    shapes = ", ".join(words[name].format(_between(own, " to ")) for name, own in values.items() if len(own))
    return shapes and f", with models of {shapes}"


def _summary(paper: Paper, drawn: Sequence[Drawn]) -> Markup:
    """What the figures found, sentences on the main claims, and the table of these; on all exponents, without a table,
    where none is a main one."""
    claims = [claim for one in drawn for claim in one.claims]
    stated = paper.summary.stated(claims)
    words = stated or {claim: claim.label for claim in claims if claim.independent}
    sentences = [*(text for one in drawn for text in one.findings), *summary.sentences(words)]
    if sentences and paper.summary.beyond:
        sentences.append(f"This scale cannot decide {paper.summary.beyond}.")
    if not (sentences or stated):
        return Markup()
    said = tag("div", markup.bullets(map(_said, sentences)), class_="summary") if sentences else Markup()
    return tag("section", said, _main(stated), id="summary")


def _main(stated: Mapping[Claim, str]) -> Markup:
    """The main claims in words, with numbers and verdicts; on a narrow page a block each."""
    if not stated:
        return Markup()
    head = ("Claim", "Paper", "Ours", "95 % interval", ("Range over", "analyses"), "Verdict")
    rows = []
    for claim, words in stated.items():
        ours, interval = claim.parts
        about = markup.mathematics(claim.label) + (Markup(". ") + _said(claim.doubt) if claim.doubt else "")
        span = _span(claim) if claim.decided else "–"
        cells = ("–" if claim.paper is None else digits.plain(claim.paper), ours, interval, span)
        if claim.verdict is Verdict.HOLDS:
            cells = (cells[0], tag("strong", ours), *cells[2:])
        rows.append(
            (
                tag("div", markup.mathematics(words[0].upper() + words[1:]), tag("small", about)),
                *(
                    tag("span", name, class_="label") + cell
                    for name, cell in zip(("paper", "ours", "95 %", "range"), cells, strict=True)
                ),
                _verdict(claim.verdict),
            )
        )
    return tag("div", markup.table(head, rows, text=1, wide=True), class_="claims")


def _verdict(verdict: Verdict, words: str = "") -> Markup:
    """In its colour, bold where the claim holds."""
    return tag("span", words or verdict.value, class_=f"verdict {VERDICTS[verdict]}")


def _leading(one: Drawn) -> Markup:
    """A figure that carries the paper: the drawing first, what it says and its data in a fold."""
    lines = _lines(one) if one.figure is None else markup.fold("What it says, and its data", _lines(one))
    return _article(one, _drawing(one), lines)


def _folded(one: Drawn) -> Markup:
    return markup.fold(one.title, _article(one, _drawing(one), _lines(one)), _status(one))


def _above(one: Drawn) -> Markup:
    return tag("p", tag("a", one.title, href=f"#{one.name}"), " is at the head of the page.", class_="soft")


def _status(one: Drawn) -> Markup:
    """The verdicts of its claims, counted, and whether something is left open."""
    said = _counted(one.claims)
    if not one.decided and not any(claim.verdict in OPEN for claim in one.claims):
        said.append(_verdict(Verdict.CANNOT_TELL, "something is left open"))
    return Markup(" ").join(said)


def _facts(drawn: Sequence[Drawn], experiments: Experiments, made: Made) -> Markup:
    runs = joined([records.runs for records in experiments.values()])
    facts = [("Runs", f"{0 if runs is None else len(runs)} of {made.planned}", "of all experiments, each once")]
    if runs is not None:
        facts += [
            ("Parameters N", _between(runs["params"][runs["params"] > 0]), "non-embedding"),
            ("Tokens D", _between(runs["tokens"]), "processed by a run"),
            ("Compute", f"{digits.ten(float(np.nansum(runs['flops'])))}", "FLOP, C = 6ND of all runs"),
        ]
    whole = sum(one.decided for one in drawn)
    facts.append(
        ("Figures and tables", f"{whole} of {len(drawn)}", "leave nothing open; what cannot be decided says so")
    )
    claims = [each for one in drawn for each in one.claims]
    if compared := sum(map(len, tally(claims).values())):
        facts.append(("Independent exponents", f"{compared}", Markup(", ").join(_counted(claims))))
    return markup.facts(facts)


def _counted(claims: Iterable[Claim]) -> list[Markup]:
    """How many of the independent claims have each verdict."""
    found = ((verdict, len(own)) for verdict, own in tally(claims).items() if own)
    return [_verdict(verdict, f"{n} {digits.plural(n, *COUNTED[verdict])}") for verdict, n in found]


def _exponents(paper: Paper, drawn: Sequence[Drawn]) -> Markup:
    said = (
        "An exponent is decided where its fit is sound and the half-width of its interval is small enough, whatever "
        "the paper's value. It holds, in bold, where that value lies in the interval. It is not measurable here where "
        "runs like ours could not tell, however many there were. The range over choices has what the "
        f"analysis gives {paper.choices}."
    )
    data = tag("p", "The same as data: ", tag("a", "constants.json", href="constants.json"), ".")
    shown = _beside(_first(drawn, exponents=True))
    return tag("p", said) + shown + data if shown else Markup()


def _scales(paper: Paper, drawn: Sequence[Drawn]) -> Markup:
    shown = _beside(_first(drawn, exponents=False))
    return tag("p", f"Shown, not compared: the paper's are for {paper.scales}.") + shown if shown else Markup()


def _first(drawn: Sequence[Drawn], *, exponents: bool) -> Mapping[Claim, Drawn | None]:
    """The exponents, or the scales, of all figures, each with the first that shows it."""
    found: dict[Claim, Drawn | None] = {}
    for one in drawn:
        for each in one.claims:
            if (each.enough is not None) == exponents:
                found.setdefault(each, one)
    return found


def _beside(found: Mapping[Claim, Drawn | None]) -> Markup:
    """Constants beside the paper's, and the figure that shows each, where one is named; nothing for none."""
    if not found:
        return Markup()
    in_figures = any(found.values())
    head = ("Constant", "Equation", "Paper", ("Ours", "95 % interval"), ("Range over", "choices"))
    head = (*head, ("Held out", "error"), "Verdict", *["Figure"] * in_figures, tag("div", "Note", class_="text"))
    rows = [
        (
            markup.mathematics(each.name) + (tag("small", each.unit) if each.unit else ""),
            each.source,
            "–" if each.paper is None else digits.plain(each.paper),
            _ours(each),
            _span(each),
            "–" if each.held_out is None else digits.percent(each.held_out),
            _verdict(each.verdict),
            *([tag("a", one.short_title, href=f"#{one.name}")] if one else []),
            tag("div", Markup(" ").join(map(_said, filter(None, (each.doubt, each.note)))), class_="wrap soft text"),
        )
        for each, one in found.items()
    ]
    return tag("div", markup.table(head, rows, text=2, wide=True), class_="scroll")


def _span(claim: Claim) -> str:
    """The range over choices of the analysis; one number where none makes a difference."""
    return "–" if claim.span is None else " to ".join(dict.fromkeys(map(digits.plain, claim.span)))


def _ours(claim: Claim) -> Markup:
    if not claim.decided:
        return tag("span", claim.lack.word, class_="doubtful")
    return tag("strong", claim.written) if claim.verdict is Verdict.HOLDS else escape(claim.written)


def _article(one: Drawn, *content: str) -> Markup:
    return tag("article", tag("h3", markup.mathematics(one.title)), *content, id=one.name)


def _drawing(one: Drawn) -> Markup:
    """The figure with its caption, or the table."""
    if one.figure is not None:
        small = "half" if one.figure.get_figwidth() < canvas.WIDE[0] else ""
        return markup.figure(one.figure, one.name, one.caption or f"{one.title}.", small)
    if one.claims:
        return _beside(dict.fromkeys(one.claims))
    # A figure that cannot be drawn has the runs that there are in its file.
    return Markup() if one.name.startswith("fig") else _table(one.data)


def _lines(one: Drawn) -> Markup:
    """What a figure or table says, what is open, and the files beside it."""
    said = markup.joined(tag("p", _said(text)) for text in one.sentences)
    said += markup.joined(tag("p", _said(text), class_="missing") for text in one.open)
    if not len(one.data):
        return said
    kind, ends = ("table", ("csv",)) if one.figure is None else ("figure", ("csv", "svg"))
    links = (tag("a", f"{one.name}.{end}", href=f"{one.name}.{end}") for end in ends)
    return said + tag("p", f"Data of this {kind}: ", Markup(", ").join(links), ".", class_="soft")


def _said(text: str) -> Markup:
    return markup.mathematics(sentence(text))


def _table(table: Table) -> Markup:
    """The rows of a table, numbers to four digits; nothing where it has none."""
    if not len(table):
        return Markup()
    names = [name for name in table if name != "run"]
    rows = [[_cell(table[name][i]) for name in names] for i in range(min(len(table), ROWS))]
    words = next((k for k, name in enumerate(names) if table[name].dtype.kind != "U"), len(names))
    more = tag("p", f"{len(table) - ROWS} more rows are in the file.") if len(table) > ROWS else ""
    shown = markup.table([*map(_head, names)], rows, text=max(words, 1), wide=len(names) > COLUMNS)
    return tag("div", shown, class_="scroll") + more


def _head(column: str) -> Markup:
    """A column as a reader knows it: no underscores, no small flop."""
    words = column.replace("_", " ").replace("flop", "FLOP")
    return markup.mathematics(canvas.LABELS.get(column, capital(words)))


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return markup.mathematics(value)
    whole = float(value).is_integer() and abs(value) < 1e9
    return f"{value:,.0f}" if whole else digits.plain(float(value), 4)


def _runs(experiments: Experiments, made: Made) -> Markup:
    names = list(experiments)
    rows = []
    for name in names:
        runs = experiments[name].runs
        done = int(np.sum(runs["status"] == "done"))
        minutes = float(np.nansum(runs["seconds"])) / 60 if runs.has("seconds") else math.nan
        rows.append(
            (
                name,
                f"{len(runs)}",
                f"{done}",
                _between(runs["params"]),
                _between(runs["tokens"]),
                digits.ten(float(np.nansum(runs["flops"]))),
                f"{minutes:,.1f}",
            )
        )
    head = ("Experiment", "Runs", "Done", ("N", "parameters"), ("D", "tokens"), ("C", "FLOP"), ("Time", "minutes"))
    origins = list(dict.fromkeys(_origin(o) for name in names for o in experiments[name].origins))
    about = [
        *([("Command", made.command)] if made.command else []),
        ("Text", made.data),
        *(("Bytes per token", rate) for rate in _rates(experiments)),
        ("Page made", f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC on {machine.describe()}"),
        ("Page made with", _versions(machine.versions())),
        *(("Trained on", where) for where in dict.fromkeys(where for where, _ in origins if where)),
        *(("Trained with", what) for what in dict.fromkeys(what for _, what in origins if what)),
    ]
    said = markup.table(head, rows, text=1) if rows else tag("p", "No run has finished yet.")
    expected = Markup()
    if made.expected:
        expected = (
            tag("h3", "What was to be expected")
            + tag("p", "Said before the first update, if the laws hold: " + EXPECTED)
            + markup.bullets(map(_said, made.expected))
        )
    return said + markup.pairs(about) + expected


def _rates(experiments: Experiments) -> list[str]:
    """How many bytes of text a token is, where it is known: nats per token by ln 2 of it are bits per byte."""
    runs = joined([records.runs for records in experiments.values()])
    if runs is None or not runs.has("bytes_per_token"):
        return []
    low, high = (digits.plain(float(end(runs["bytes_per_token"])), 3) for end in (np.nanmin, np.nanmax))
    return [f"{low if low == high else f'{low} to {high}'}, so that 1 bit per byte is that times 0.693 nats per token"]


def _between(values: np.ndarray, to: str = " – ") -> str:
    low, high = digits.short(float(values.min())), digits.short(float(values.max()))
    return low if low == high else f"{low}{to}{high}"


def _origin(origin: Origin) -> tuple[str, str]:
    return origin.machine, str(origin)


def _versions(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())
