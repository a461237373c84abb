"""Makes site/: the guides and the API reference, as pages that open from disk and fetch nothing. `make docs` runs it.

A Markdown page keeps its place, so docs/data.md becomes site/docs/data.html; README.md is the front page. The reference
is pdoc's, with a page per module: scaling.config becomes site/scaling/config.html.
"""

import re
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import pdoc
from pdoc import render
from pdoc.render_helpers import to_html

ROOT = Path(__file__).parents[1]
SITE = ROOT / "site"
PACKAGES = ("scaling", "analysis", "configs", "launch")
GUIDE = """
{% extends "frame.html.jinja2" %}
{% block title %}{{ title }}{% endblock %}
{% block nav %}
  <h2>Guides</h2>
  <ul>{% for name, page in guides %}<li><a href="{{ root }}{{ page }}">{{ name }}</a></li>{% endfor %}</ul>
  <h2>Reference</h2>
  <ul>{% for name in packages %}<li><a href="{{ root }}{{ name }}.html">{{ name }}</a></li>{% endfor %}</ul>
{% endblock %}
{% block content %}
  <main class="pdoc"><section class="module-info"><div class="docstring">{{ text | safe }}</div></section></main>
{% endblock %}
"""


def guides() -> list[Path]:
    """The Markdown pages, relative to the project's root, in the order in which the site lists them."""
    found = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
    for folder in ("docs", "docs/launch", "results"):
        found += sorted((ROOT / folder).glob("*.md"))
    return [path.relative_to(ROOT) for path in found]


def page_of(guide: Path) -> str:
    """Where a guide stands in the site."""
    return "index.html" if guide.name == "README.md" and guide.parent == Path() else str(guide.with_suffix(".html"))


def linked(guide: Path, text: str) -> str:
    """The guide's text, with its links to other guides made links to their pages.

    Raises:
        FileNotFoundError: a link leads to nothing that the site has.
    """
    pages = {(ROOT / other).resolve(): page_of(other) for other in guides()}

    def page(link: re.Match[str]) -> str:
        target = (ROOT / guide.parent / link[1]).resolve()
        if target not in pages:
            raise FileNotFoundError(f"{guide} links to {link[1]}, which is no page of the site")
        return f"]({'../' * len(guide.parent.parts)}{pages[target]}{link[2]})"

    return re.sub(r"\]\((?!https?:|#)([^)#\s]+)(#[^)\s]*)?\)", page, text)


def titles() -> Iterator[tuple[str, str]]:
    """Of each guide the title and the page."""
    for guide in guides():
        first = (ROOT / guide).read_text(encoding="utf-8").partition("\n")[0]
        yield first.removeprefix("# "), page_of(guide)


def write_guides() -> None:
    template = render.env.from_string(GUIDE)
    listed = list(titles())
    for (title, page), guide in zip(listed, guides(), strict=True):
        text = to_html(linked(guide, (ROOT / guide).read_text(encoding="utf-8")))
        root = "../" * len(guide.parent.parts)
        path = SITE / page
        path.parent.mkdir(parents=True, exist_ok=True)
        html = template.render(title=title, guides=listed, packages=PACKAGES, root=root, text=text)
        path.write_text(html, encoding="utf-8")


def main() -> None:
    warnings.simplefilter("error")  # a docstring or an annotation that cannot be shown
    warnings.filterwarnings("ignore", ".*Import of ArrayTree failed")  # an annotation of Optax
    shutil.rmtree(SITE, ignore_errors=True)
    render.configure(docformat="google", show_source=False)
    pdoc.pdoc(*PACKAGES, output_directory=SITE)
    write_guides()  # after the reference, whose list of modules the front page replaces
    print(f"{len(list(SITE.rglob('*.html')))} pages: {SITE / 'index.html'}")


if __name__ == "__main__":
    main()
