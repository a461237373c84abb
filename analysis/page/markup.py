"""Pieces of HTML for a page. What comes from data is `str` and is escaped; only our own making is `Markup`."""

import html
import re
from collections.abc import Iterable, Sequence

from matplotlib.figure import Figure

from analysis.page import canvas


class Markup(str):
    """HTML of our own making; every other string is escaped where it enters the page."""


def escaped(value: str) -> Markup:
    """Escaped, unless it is our own HTML already."""
    return value if isinstance(value, Markup) else Markup(html.escape(str(value)))


def tag(name: str, content: str, *, class_: str = "", id: str = "", href: str = "") -> Markup:
    given = (("class", class_), ("id", id), ("href", href))
    attributes = "".join(f' {key}="{html.escape(value)}"' for key, value in given if value)
    return Markup(f"<{name}{attributes}>{escaped(content)}</{name}>")


def bullets(items: Iterable[str]) -> Markup:
    return tag("ul", Markup("".join(tag("li", item) for item in items)))


def pairs(pairs: Iterable[tuple[str, str]]) -> Markup:
    return tag("dl", Markup("".join(tag("dt", a) + tag("dd", b) for a, b in pairs)), class_="pairs")


def table(
    head: Sequence[str | tuple[str, str]],
    rows: Sequence[Sequence[str] | str],
    *,
    text: int = 0,
    classes: Sequence[str] = (),
    wide: bool = False,
) -> Markup:
    """A table; a row that is one string heads a group. The first `text` columns are set flush left.

    A wide one fills the page.
    """
    last = len(head) - 1

    def align(k: int) -> str:
        wordy = text == 0 and k == last and any(re.search("[a-z]{5}", row[k]) for row in rows)
        return "text" if k < text or wordy else ""

    heads = "".join(
        tag("th", h if isinstance(h, str) else Markup(escaped(h[0]) + tag("small", h[1])), class_=align(k))
        for k, h in enumerate(head)
    )
    lines = []
    for r, row in enumerate(rows):
        if isinstance(row, str):
            lines.append(f'<tr><th class="group" colspan="{len(head)}">{escaped(row)}</th></tr>')
            continue
        cells = "".join(
            tag("td", c, class_=" ".join(filter(None, (align(k), "id" if classes and k == 0 else ""))))
            for k, c in enumerate(row)
        )
        lines.append(tag("tr", Markup(cells), class_=classes[r] if classes else ""))
    inside = f"<thead><tr>{heads}</tr></thead><tbody>{''.join(lines)}</tbody>"
    return tag("table", Markup(inside), class_="wide" if wide else "")


def figure(figure: Figure, id: str, caption: str, class_: str = "") -> Markup:
    drawing = canvas.svg(figure, id).replace("<svg", f'<svg role="img" aria-label="{html.escape(caption)}"', 1)
    return tag("figure", Markup(drawing + tag("figcaption", caption)), class_=class_, id=f"figure-{id}")


def mathematics(text: str) -> Markup:
    """Escaped text with Greek exponents, subscripts and superscripts."""
    text = html.escape(text)
    text = re.sub(r"\^([-−]?[\d.]+)", r"<sup>\1</sup>", text)
    text = re.sub(r"\b(alpha|beta|[NDC])(?:_(\w))\b", r"\1<sub>\2</sub>", text)
    return Markup(re.sub(r"\balpha", "α", re.sub(r"\bbeta", "β", text)))
