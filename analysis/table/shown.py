"""A table as a person sees it: a few rows as text or, in a notebook, as HTML."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from analysis.digits import plural, typed

if TYPE_CHECKING:
    from analysis.table import Table

ROWS, COLUMNS = 6, 8  # of a table in a terminal
ROWS_HTML, COLUMNS_HTML = 10, 12
WIDTH = 14  # characters of a cell
NOTES = 3
NAMES = 300  # characters of the names of columns that are not shown


def text(table: "Table") -> str:
    """The first rows and columns, and how many more there are; below 1,500 characters, whatever the table holds."""
    names = list(table.columns)[:COLUMNS]
    lines = [[_cut(name) for name in names]]
    lines += [[_cell(table.columns[name][i]) for name in names] for i in range(min(len(table), ROWS))]
    widths = [max(len(line[k]) for line in lines) for k in range(len(names))]
    drawn = ["  ".join(word.rjust(width) for word, width in zip(line, widths, strict=True)) for line in lines]
    return "\n".join([head(table), *drawn, *_rest(table, ROWS, COLUMNS)])


def html(table: "Table") -> str:
    """The same as HTML, its text escaped, with the notes."""
    from markupsafe import Markup

    names = list(table.columns)[:COLUMNS_HTML]
    header = Markup("").join(Markup("<th>{}</th>").format(_cut(name)) for name in names)
    rows = Markup("").join(
        Markup("<tr>{}</tr>").format(
            Markup("").join(Markup("<td>{}</td>").format(_cell(table.columns[name][i])) for name in names)
        )
        for i in range(min(len(table), ROWS_HTML))
    )
    below = [*_rest(table, ROWS_HTML, COLUMNS_HTML), *(_cut(note, NAMES) for note in table.notes[:NOTES])]
    said = Markup("").join(Markup("<p>{}</p>").format(line) for line in below)
    return str(
        Markup("<div><p>{}</p><table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>{}</div>").format(
            head(table), header, rows, said
        )
    )


def head(table: "Table") -> str:
    """Table of 54 rows and 20 columns from runs.csv; 3 rows left out, 2 notes."""
    left_out = sum(len(one.rows) for one in table.excluded)
    more = [f"{left_out} {plural(left_out, 'row', 'rows')} left out"] if left_out else []
    more += [f"{len(table.notes)} {plural(len(table.notes), 'note', 'notes')}"] if table.notes else []
    size = f"{len(table)} {plural(len(table), 'row', 'rows')} and {len(table.columns)} columns"
    return f"Table of {size} from {_cut(table.source, 80)}{'; ' * bool(more)}{', '.join(more)}"


def _rest(table: "Table", rows: int, columns: int) -> Iterator[str]:
    if len(table) > rows:
        more = len(table) - rows
        yield f"and {more} more {plural(more, 'row', 'rows')}"
    if others := list(table.columns)[columns:]:
        yield _cut(f"and {len(others)} more columns: {', '.join(others)}", NAMES)


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return _cut(value)
    return "" if math.isnan(value) else typed(float(value))


def _cut(words: str, width: int = WIDTH) -> str:
    words = " ".join(words.split())
    return words if len(words) <= width else f"{words[: width - 1]}…"
