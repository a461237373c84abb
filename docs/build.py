"""Makes site/: the guides and the API reference, as pages that open from disk and fetch nothing. `make docs` runs it.

A Markdown page keeps its place, so docs/data.md becomes site/docs/data.html; README.md is the front page. The reference
is pdoc's, with a page per module: scaling.config becomes site/scaling/config.html.
"""

import re
import shutil
import sys
import warnings
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
    found = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")]
    for folder in ("docs", "docs/launch", "results"):
        found += sorted((ROOT / folder).glob("*.md"))
    return [path.relative_to(ROOT) for path in found]


def page_of(guide: Path) -> Path:
    """Where a guide stands in the site."""
    return Path("index.html") if guide == Path("README.md") else guide.with_suffix(".html")


def write_guides() -> None:
    template = render.env.from_string(GUIDE)
    texts = {guide: (ROOT / guide).read_text(encoding="utf-8") for guide in guides()}
    listed = [(text.partition("\n")[0].removeprefix("# "), page_of(guide)) for guide, text in texts.items()]
    for (title, page), text in zip(listed, texts.values(), strict=True):
        to_pages = re.sub(r"\]\(([^:)]+)\.md\b", r"](\1.html", text)
        root = "../" * (len(page.parts) - 1)
        html = template.render(title=title, guides=listed, packages=PACKAGES, root=root, text=to_html(to_pages))
        (SITE / page).parent.mkdir(parents=True, exist_ok=True)
        (SITE / page).write_text(html, encoding="utf-8")


def check_links() -> None:
    """Refuses a guide that links to something that the site does not have."""
    for guide in guides():
        page = SITE / page_of(guide)
        for link in re.findall(r'href="(?!https?:)([^"#]+)', page.read_text(encoding="utf-8")):
            if not (page.parent / link).exists():
                sys.exit(f"{guide} links to {link}, which is not in the site; link to a Markdown page")


def main() -> None:
    warnings.simplefilter("error")  # a docstring or an annotation that cannot be shown
    warnings.filterwarnings("ignore", ".*Import of ArrayTree failed")  # an annotation of Optax
    shutil.rmtree(SITE, ignore_errors=True)
    render.configure(docformat="google", show_source=False)
    pdoc.pdoc(*PACKAGES, output_directory=SITE)
    write_guides()  # after the reference, whose list of modules the front page replaces
    check_links()
    print(f"{len(list(SITE.rglob('*.html')))} pages: {SITE / 'index.html'}")


if __name__ == "__main__":
    main()
