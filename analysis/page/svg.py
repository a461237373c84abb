"""A Matplotlib figure as the SVG of a page: a drawing of its own for each panel, so that panels stack where the page is
narrow, with what the page's script reads: which run a mark or a curve is of, and between what its axes run.

The same figure gives the same text. Coordinates are points from the figure's top left corner.
"""

import contextlib
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from urllib.parse import quote
from weakref import WeakKeyDictionary
from xml.etree import ElementTree

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from analysis.page import canvas

Element = ElementTree.Element
Box = tuple[float, float, float, float]  # left, top, right, bottom
Panel = tuple[list[Axes], float, float]  # what shares a place, left, right
Row = tuple[list[Panel], float, float]  # panels, top, bottom

DPI = 72  # a pixel is a point
PANEL, RUNS = "panel:", "runs:"  # begin the ids of groups that the page knows
AXIS = "axis"  # class of a group with the ticks of one axis; x comes before y
LEGEND = "legend"
NUMBER = re.compile(r"-?\d+\.\d+")
APART = 3.0  # points around a legend
FONT = f"font-family: '{canvas.STYLE['font.family'][0]}'; "  # text takes the page's own


_runs: WeakKeyDictionary[Artist, list[str]] = WeakKeyDictionary()  # of marks: a file of the figure need not tell


def of_runs(marks: Line2D | PathCollection, runs: Iterable[object]) -> None:
    """Says which run each of these marks is of, "" of none; of a single run, a whole line is its curve."""
    _runs[marks] = [quote(str(run), safe="") for run in runs]


def drawings(figure: Figure, prefix: str) -> Markup:
    """The figure as HTML: for each row of its panels a row of drawings, the legend at its side last in the first.

    A figure whose panels are not laid out in a grid is one drawing.

    Args:
        prefix: makes its ids unique on a page.
    """
    width, height = (float(inches * DPI) for inches in figure.get_size_inches())
    with matplotlib.rc_context(canvas.STYLE), _known(figure):
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
        rows = _rows(figure, width, height)
        aside = _box(figure.legends, height) if figure.legends else None
    root = _plain(buffer.getvalue(), prefix, height)
    (drawn,) = root.findall("g")
    clips = root.findall("defs")
    if not rows:
        return _row([_drawing((0, 0, width, height), [*drawn, *clips], width)], "panels whole")
    groups = {element.get("class", ""): element for element in drawn}
    out = []
    for row, top, bottom in rows:
        panels = []
        beside = aside if not out else None
        for members, left, right in row:
            inside = [groups[f"{PANEL}{figure.axes.index(axes)}"] for axes in members]
            end = min(right, beside[0] - APART) if beside else right
            shared = clips if not out and not panels else []
            said = _scales(members, inside, width, height)
            panels.append(_drawing((left, top, end, bottom), [*inside, *shared], width, said))
        if beside:
            box = (beside[0] - APART, top, width, beside[3] + APART)
            panels.append(_drawing(box, [groups[LEGEND]], width, {"class": LEGEND}))
        out.append(_row(panels))
    return Markup().join(out)


# --- the figure


@contextlib.contextmanager
def _known(figure: Figure) -> Iterator[None]:
    """While inside, panels are known by their place in the figure, and marks that are not drawn name no run."""
    dpi = figure.dpi
    figure.set_dpi(DPI)
    figure.draw_without_rendering()
    data: dict[Line2D, tuple[ArrayLike, ArrayLike]] = {}
    named: dict[Artist, str] = {axes: f"{PANEL}{k}" for k, axes in enumerate(figure.axes)}
    for marks in (one for axes in figure.axes for one in (*axes.lines, *axes.collections) if one in _runs):
        runs = _runs[marks]
        if isinstance(marks, Line2D) and len(runs) > 1:
            at = marks.get_transform().transform(np.asarray(marks.get_xydata(), float))
            shown = np.all(np.isfinite(at) & (at >= 0) & (at <= figure.bbox.size), axis=1)
            runs = [run for run, here in zip(runs, shown.tolist(), strict=True) if here]
            if not shown.all():  # where a line leaves the figure, Matplotlib marks the edge
                data[marks] = marks.get_data()
                marks.set_data(np.where(shown, marks.get_xdata(), np.nan), marks.get_ydata())
        named[marks] = RUNS + " ".join(runs)
    before = {one: one.get_gid() for one in named}
    for one, gid in named.items():
        one.set_gid(gid)
    yield
    for one, gid in before.items():
        one.set_gid(gid)
    for line, (x, y) in data.items():
        line.set_data(x, y)
    figure.set_dpi(dpi)


def _rows(figure: Figure, width: float, height: float) -> list[Row]:
    """The panels by rows, cut in the middle between what they show; none where they are not laid out in a grid."""
    places: dict[tuple[int, int], list[Axes]] = {}
    for axes in figure.axes:
        spec = axes.get_subplotspec()
        if spec is None:
            return []
        places.setdefault((spec.rowspan.start, spec.colspan.start), []).append(axes)
    boxes = {place: _box(members, height) for place, members in places.items()}
    rows: list[Row] = []
    numbers = sorted({row for row, _ in places})
    tops, feet = (
        [side(boxes[p][k] for p in places if p[0] == row) for row in numbers] for side, k in ((min, 1), (max, 3))
    )
    level = _cuts(0, tops, feet, height)
    for row, top, bottom in zip(numbers, level, level[1:], strict=False):
        own = sorted(place for place in places if place[0] == row)
        cuts = _cuts(0, [boxes[place][0] for place in own], [boxes[place][2] for place in own], width)
        rows.append(([(places[p], a, b) for p, a, b in zip(own, cuts, cuts[1:], strict=False)], top, bottom))
    return rows


def _cuts(first: float, starts: Sequence[float], ends: Sequence[float], last: float) -> list[float]:
    return [first, *((end + start) / 2 for end, start in zip(ends, starts[1:], strict=False)), last]


def _box(members: Sequence[Artist], height: float) -> Box:
    """Around all that these artists show."""
    boxes = [box for one in members if (box := one.get_tightbbox()) is not None]
    left, right = min(b.x0 for b in boxes), max(b.x1 for b in boxes)
    return float(left), height - float(max(b.y1 for b in boxes)), float(right), height - float(min(b.y0 for b in boxes))


def _scales(members: Sequence[Axes], groups: Sequence[Element], width: float, height: float) -> Mapping[str, str]:
    """Where the axes of a panel stand, and the ends of those that are logarithmic; nothing where there are several."""
    if len(members) > 1 or any(child.get("class") == "axes" for child in groups[0]):
        return {}
    (axes,) = members
    at = axes.get_position()
    box = (at.x0 * width, (1 - at.y1) * height, at.width * width, at.height * height)
    said = {"data-box": " ".join(f"{v:.2f}" for v in box)}
    for name, axis, (low, high) in (("x", axes.xaxis, axes.get_xlim()), ("y", axes.yaxis, axes.get_ylim())):
        if axis.get_scale() == "log" and 0 < low < high and len(axis.get_majorticklocs()):
            said[f"data-{name}"] = f"{low:.9g} {high:.9g}"
    return said


# --- the text


def _plain(text: str, prefix: str, height: float) -> Element:
    """Matplotlib's SVG as HTML has it: no namespaces, no ids that nothing refers to, hundredths of a point."""
    root = ElementTree.fromstring(text)
    named = set(re.findall(r'(?:url\(|href=")#([^)"]+)', text))
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.text = element.text if element.tag in ("text", "tspan") else None
        element.tail = None
        for key in list(element.attrib):
            value = element.attrib.pop(key)
            if key == "id" and value in named:
                element.set("id", f"{prefix}-{value}")
            elif key == "id":
                _name(element, value)
            elif not (key == "transform" and value.startswith("rotate(-0 ")):
                value = value.replace("url(#", f"url(#{prefix}-")
                value = f"#{prefix}-{value[1:]}" if key.endswith("href") else value
                if key == "style":
                    value = value.replace(FONT, "").replace(": ", ":").replace("; ", ";")
                elif key != "clip-path":
                    value = " ".join(NUMBER.sub(lambda found: _hundredths(float(found[0])), value).split())
                element.set(key.rpartition("}")[2], value)
    for defs in root.findall("defs"):
        for style in defs.findall("style"):  # the page's own style sheet says it
            defs.remove(style)
    _unpack(root, height)
    return root


def _name(element: Element, id: str) -> None:
    """What a group is, as far as the page asks."""
    if id.startswith(RUNS):
        element.set("data-runs", id.removeprefix(RUNS))
    elif id.startswith(PANEL):
        element.set("class", id)
    elif found := re.match(rf"({LEGEND}|axes|matplotlib\.{AXIS})_\d+", id):
        element.set("class", found[1].rpartition(".")[2])


def _hundredths(number: float) -> str:
    return f"{number:.2f}".rstrip("0").rstrip(".")


def _unpack(root: Element, height: float) -> None:
    """Areas, which Matplotlib defines upside down below the figure and then uses once, as the paths that they are."""
    defined = {path.get("id"): path for path in root.iter("path") if path.get("id")}
    for group in list(root.iter("g")):
        for k, use in enumerate(list(group)):
            if use.tag == "use" and use.get("x") == "0" and abs(float(use.get("y", "0")) - height) < 0.02:
                path = Element("path", {"d": _lowered(defined[use.get("href", "")[1:]].get("d", ""), height)})
                path.attrib |= {key: value for key, value in use.attrib.items() if key not in ("href", "x", "y")}
                group[k] = path


def _lowered(d: str, by: float) -> str:
    """A path, moved down."""
    odd, out = False, []
    for word in d.split():
        if word[-1].isdigit():
            word, odd = _hundredths(float(word) + by) if odd else word, not odd
        out.append(word)
    return " ".join(out)


def _drawing(box: Box, inside: Iterable[Element], width: float, said: Mapping[str, str] | None = None) -> Markup:
    """Part of a figure, its width in points and that of the figure for the style sheet."""
    left, top, right, bottom = box
    view = " ".join(f"{v:.2f}" for v in (left, top, right - left, bottom - top))
    svg = Element("svg", {"viewBox": view, "style": f"--w:{right - left:.2f};--of:{width:.2f}", **(said or {})})
    svg.extend(inside)
    return Markup(ElementTree.tostring(svg, encoding="unicode", short_empty_elements=True))


def _row(drawings: Iterable[Markup], class_: str = "panels") -> Markup:
    return Markup('<div class="{}">{}</div>\n').format(class_, Markup().join(drawings))
