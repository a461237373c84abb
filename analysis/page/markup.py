"""Pieces of HTML for a page. Text is `str` and is escaped where it enters; `Markup` is HTML, and stays as it is.

A page runs one script, its own: its policy names that script's hash, so that a browser runs nothing else, whatever a
table contains.
"""

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from analysis import digits
from analysis.page import svg
from analysis.table import Table

STYLE, SCRIPT = (Path(__file__).parent / name for name in ("../report.css", "page.js"))
Section = tuple[str, str, str]  # id, title, content: Markup, or "" of a section that has nothing to say
LIVE = ' data-live="{:g}"'  # of a page that loads itself again after so many seconds
GREEK = {"alpha": "α", "beta": "β"}
TOLD: Mapping[str, tuple[str, Callable[[float], str]]] = {  # columns that a run under the pointer tells
    "params": ("N", digits.short),
    "tokens": ("D", digits.short),
    "unique_tokens": ("unique D", digits.short),
    "flops": ("C", digits.ten),
    "learning_rate": ("rate", "{:.3g}".format),
    "seed": ("seed", "{:.0f}".format),
    "loss": ("loss", "{:.4f}".format),
}


def document(
    title: str,
    opening: Iterable[str],
    sections: Iterable[Section],
    links: Sequence[tuple[str, str]] | None = None,
    *,
    runs: Table | None = None,
    live: float = 0.0,
) -> str:
    """A page that fetches nothing: what stands at its head, a line of links, its sections that have something to say.

    Args:
        title: of the window.
        links: (id, text) each; to the sections where they are not given.
        runs: what the marks of its figures tell under the pointer.
        live: seconds after which the page loads itself again; 0 for one that is not written again.
    """
    sections = [section for section in sections if section[2]]
    links = [(id, name) for id, name, _ in sections] if links is None else links
    script = SCRIPT.read_text(encoding="utf-8")
    hashed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{hashed}'; base-uri 'none'"
    again = LIVE.format(live) if live else ""
    body = [
        *opening,
        tag("nav", Markup(" ").join(tag("a", text, href=f"#{id}") for id, text in links)),
        *(tag("section", tag("h2", name), content, id=id) for id, name, content in sections),
        *([_data(runs)] if runs is not None else []),
        f"<script>{script}</script>",
    ]
    return (
        f'<!doctype html>\n<html lang="en"{again}>\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"{tag('title', title)}\n<style>\n{STYLE.read_text(encoding='utf-8')}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def settled(text: str) -> str:
    """A page that loaded itself again, as one that does not."""
    return re.sub(LIVE.replace("{:g}", '[^"]*'), "", text, count=1)


def _data(table: Table) -> Markup:
    """What the page's script tells of each run, as JSON in which no tag can begin or end."""
    columns = [(table[name], *TOLD[name]) for name in TOLD if table.has(name) and table[name].dtype.kind == "f"]
    runs = {
        name: [write(float(column[i])) if np.isfinite(column[i]) else "" for column, _, write in columns]
        for i, name in enumerate(table.names)
    }
    text = json.dumps(
        {"names": [name for _, name, _ in columns], "runs": runs}, ensure_ascii=False, separators=(",", ":")
    )
    harmless = text.replace("<", "\\u003c")
    return Markup(f'<script type="application/json" id="shown-runs">{harmless}</script>')


def joined(pieces: Iterable[str]) -> Markup:
    return Markup().join(pieces)


def tag(name: str, *content: str, class_: str = "", id: str = "", href: str = "") -> Markup:
    given = (("class", class_), ("id", id), ("href", href))
    attributes = joined(Markup(' {}="{}"').format(key, value) for key, value in given if value)
    return Markup("<{0}{1}>{2}</{0}>").format(name, attributes, joined(content))


def fold(title: str, content: str, beside: str = "") -> Markup:
    """Content that opens by a click on its title, and by a link to an id in it; on paper it is open.

    Args:
        beside: shown after the title.
    """
    said = tag("summary", tag("span", mathematics(title), class_="title"), Markup(" ") if beside else "", beside)
    return tag("details", said, content)


def bullets(items: Iterable[str]) -> Markup:
    return tag("ul", *(tag("li", item) for item in items))


def pairs(pairs: Iterable[tuple[str, str]]) -> Markup:
    return tag("dl", *(tag("dt", a) + tag("dd", b) for a, b in pairs), class_="pairs")


def facts(facts: Iterable[tuple[str, str, str]]) -> Markup:
    """Large numbers at the head of a page: what is counted, the number, a remark."""
    return tag("dl", *(tag("div", tag("dt", a), tag("dd", b, tag("small", c))) for a, b, c in facts), class_="facts")


def table(
    head: Sequence[str | tuple[str, str]],
    rows: Sequence[Sequence[str] | str],
    *,
    text: int = 0,
    classes: Sequence[str] = (),
    wide: bool = False,
) -> Markup:
    """A table; a row that is one string heads a group. The first `text` columns are set flush left.

    A wide one fills the page; one that is wider than the page scrolls by itself.
    """
    last = len(head) - 1

    def align(k: int) -> str:
        wordy = text == 0 and k == last and any(re.search("[a-z]{5}", row[k]) for row in rows)
        return "text" if k < text or wordy else ""

    heads = (
        tag("th", h if isinstance(h, str) else escape(h[0]) + tag("small", h[1]), class_=align(k))
        for k, h in enumerate(head)
    )
    lines = []
    for r, row in enumerate(rows):
        if isinstance(row, str):
            lines.append(Markup('<tr><th class="group" colspan="{}">{}</th></tr>').format(len(head), row))
            continue
        cells = (
            tag("td", c, class_=" ".join(filter(None, (align(k), "id" if classes and k == 0 else ""))))
            for k, c in enumerate(row)
        )
        lines.append(tag("tr", *cells, class_=classes[r] if classes else ""))
    whole = tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *lines), class_="wide" if wide else "")
    return tag("div", whole, class_="scroll")


def figure(figure: Figure, id: str, caption: str, class_: str = "") -> Markup:
    drawing = Markup('<div role="img" aria-label="{}">{}</div>').format(caption, svg.drawings(figure, id))
    return tag("figure", drawing, tag("figcaption", mathematics(caption)), class_=class_, id=f"figure-{id}")


def mathematics(text: str) -> Markup:
    """Escaped text with Greek letters, subscripts and superscripts: alpha_C_min, B_crit, L^(1/alpha_B), N^-0.07."""
    text = str(escape(text))
    text = re.sub(r"\^(?:\(([^()]+)\)|([-−]?[\w.]*\w))", lambda found: f"<sup>{found[1] or found[2]}</sup>", text)
    text = re.sub(r"\b(alpha|beta|[A-Za-z])_(\*|[A-Za-z]+)(?:_(min))?(?!\w)", _subscript, text)
    return Markup(re.sub(r"\b(alpha|beta)\b", lambda found: GREEK[found[1]], text))


def _subscript(found: re.Match[str]) -> str:
    base, below, above = found.groups()
    return f"{base}<sub>{below}</sub>" + (f"<sup>{above}</sup>" if above else "")
