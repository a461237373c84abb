"""Kinds of positions beside one another: the onset of context use and the final loss over N, scheme by scheme.

A cell is what runs of one size, context, batch and scheme reached at the best learning rate of those tried. Tokens are
those processed, losses in nats per token, N in non-embedding parameters.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from analysis import digits
from analysis.architecture import PARTS
from analysis.onset import BEYOND, COMPARED, GAIN, onsets
from analysis.replicates import mean_loss
from analysis.table import Table

MOST = 0.5  # of the runs that must have another scheme beside them
REFERENCE = "rotary"  # that losses and onsets are compared with; the first of the schemes where it was not trained
BASE = 10_000.0  # of rotary positions, which their name leaves out


@dataclasses.dataclass(frozen=True)
class Cell:
    """Runs that differ in their seed alone, at the learning rate with the lowest loss of those tried.

    Attributes:
        rates: learning rates tried.
        onset: geometric mean over the seeds, NaN where one of them did not reach it.
        at_latest: whether one of them had reached it at its first evaluation.
    """

    setting: "Setting"
    scheme: str
    params: float
    tokens: float
    learning_rate: float
    rates: int
    seeds: int
    loss: float
    onset: float
    at_latest: bool = False

    def when(self) -> str:
        """The tokens at the onset, in words."""
        if not math.isfinite(self.onset):
            return f"over {digits.short(self.tokens)}"
        return f"{digits.short(self.onset)}{' at the latest' if self.at_latest else ''}"


@dataclasses.dataclass(frozen=True, order=True)
class Setting:
    """What schemes are compared at."""

    n_ctx: int
    batch_tokens: int
    d_head: int

    def __str__(self) -> str:
        return f"{self.n_ctx} tokens of context, batches of {self.batch_tokens:,} tokens, heads {self.d_head} wide"


@dataclasses.dataclass(frozen=True)
class Positions:
    """All cells of a table, by setting, scheme and N."""

    cells: tuple[Cell, ...]

    @property
    def settings(self) -> tuple[Setting, ...]:
        """Of each context the one with the most cells, the first of equals."""
        found: dict[int, Setting] = {}
        for n_ctx in sorted({cell.setting.n_ctx for cell in self.cells}):
            here = [cell.setting for cell in self.cells if cell.setting.n_ctx == n_ctx]
            found[n_ctx] = max(sorted(set(here)), key=here.count)
        return tuple(found.values())

    @property
    def schemes(self) -> tuple[str, ...]:
        """The reference first."""
        names = sorted({cell.scheme for cell in self.cells})
        return tuple(sorted(names, key=lambda name: (name != REFERENCE, name)))

    def of(self, setting: Setting, scheme: str) -> list[Cell]:
        """Its cells, N rising."""
        cells = [cell for cell in self.cells if (cell.setting, cell.scheme) == (setting, scheme)]
        return sorted(cells, key=lambda cell: cell.params)

    def changes(self, setting: Setting, scheme: str) -> Mapping[float, float]:
        """Loss above the reference scheme's, as a share of it, at each N that both were trained at for as long."""
        reference = {(cell.params, cell.tokens): cell.loss for cell in self.of(setting, self.schemes[0])}
        return {
            cell.params: cell.loss / reference[cell.params, cell.tokens] - 1
            for cell in self.of(setting, scheme)
            if (cell.params, cell.tokens) in reference
        }

    def sentences(self) -> Iterator[str]:
        yield (
            f"A model begins to use its context where its loss beyond position {BEYOND} comes to lie {GAIN} nats per "
            "token below that at position 2, which sees one token."
        )
        for setting in self.settings:
            yield f"{setting}: {'; '.join(self._onsets(setting, scheme) for scheme in self._at(setting))}."
            others = [text for scheme in self._at(setting) if (text := self._losses(setting, scheme))]
            if others:
                yield f"Final loss above that of {self.schemes[0]} there, N rising: {'; '.join(others)}."

    def _at(self, setting: Setting) -> list[str]:
        return [scheme for scheme in self.schemes if self.of(setting, scheme)]

    def _onsets(self, setting: Setting, scheme: str) -> str:
        cells = self.of(setting, scheme)
        reached = [cell for cell in cells if math.isfinite(cell.onset)]
        if not reached:
            return f"{scheme} never, at {len(cells)} {digits.plural(len(cells), 'size', 'sizes')}"
        low, high = min(cell.onset for cell in reached), max(cell.onset for cell in reached)
        text = digits.short(low) if low == high else f"{digits.short(low)} to {digits.short(high)}"
        never = len(cells) - len(reached)
        return f"{scheme} after {text} tokens" + (f", never at {never} of {len(cells)} sizes" if never else "")

    def _losses(self, setting: Setting, scheme: str) -> str:
        changes = self.changes(setting, scheme) if scheme != self.schemes[0] else {}
        return f"{scheme} {', '.join(digits.percent(c, sign=True) for c in changes.values())}" if changes else ""

    def rows(self) -> list[tuple[str, ...]]:
        """What HEAD names, of each cell."""
        return [
            (
                str(cell.setting.n_ctx),
                f"{cell.setting.batch_tokens:,}",
                str(cell.setting.d_head),
                cell.scheme,
                f"{cell.params:,.0f}",
                digits.short(cell.tokens),
                digits.plain(cell.learning_rate),
                f"{cell.loss:.4f}",
                cell.when(),
                f"{cell.rates}, {cell.seeds}",
            )
            for cell in self.cells
        ]

    def markdown(self) -> str:
        """The cells as a table for a text file."""
        lines = [HEAD, tuple("---" for _ in HEAD), *self.rows()]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {"sentences": list(self.sentences())}


HEAD = ("context", "batch", "d_head", "positions", "N", "D", "best rate", "loss", "onset", "rates, seeds")


def find(runs: Table) -> Positions | None:
    """The cells of finished runs, where most have a run of another scheme beside them; None where they have not.

    Args:
        runs: at all learning rates.
    """
    if not (len(runs) and all(name in runs for name in COMPARED) and runs.has("positions")):
        return None
    table = onsets(runs)
    scheme = schemes(table)
    groups: dict[tuple[Any, ...], list[int]] = {}
    beside: dict[tuple[Any, ...], set[str]] = {}
    others = [name for name in PARTS if name in table and name not in ("positions", "rotary_base")]
    same = ("n_ctx", "batch_tokens", "d_head", "params", "tokens", *others)
    place = list(zip(*(table[name] for name in same), strict=True))
    for i, at in enumerate(place):
        groups.setdefault((*at, scheme[i]), []).append(i)
        beside.setdefault(at, set()).add(scheme[i])
    if sum(len(beside[at]) > 1 for at in place) <= MOST * len(runs):
        return None
    cells = [_cell(table, scheme[rows[0]], rows) for rows in groups.values()]
    return Positions(tuple(sorted(cells, key=lambda cell: (cell.setting, cell.scheme, cell.params, cell.tokens))))


def schemes(table: Table) -> list[str]:
    """What the positions of each row are called: their kind, and the base or the scale where it is not the default."""
    unknown = np.full(len(table), math.nan)
    base, scale = (table[name] if table.has(name) else unknown for name in ("rotary_base", "position_scale"))
    return [_name(str(kind), float(b), float(s)) for kind, b, s in zip(table["positions"], base, scale, strict=True)]


def _name(kind: str, base: float, scale: float) -> str:
    if kind == "rotary" and math.isfinite(base) and base != BASE:
        return f"rotary, base {digits.short(base)}"
    if kind in ("learned", "sinusoidal") and math.isfinite(scale) and scale != 1:
        return f"{kind} × {digits.typed(scale, 3)}"
    return kind


def _cell(table: Table, scheme: str, rows: Sequence[int]) -> Cell:
    rates = np.unique(table["learning_rate"][rows])
    at = {rate: [i for i in rows if table["learning_rate"][i] == rate] for rate in rates}
    best = min(rates, key=lambda rate: mean_loss(table["loss"][at[rate]]))
    same = at[best]
    n_ctx, batch, d_head, N, D = (
        table[name][same[0]] for name in ("n_ctx", "batch_tokens", "d_head", "params", "tokens")
    )
    return Cell(
        Setting(int(n_ctx), int(batch), int(d_head)),
        scheme,
        float(N),
        float(D),
        float(best),
        len(rates),
        len(same),
        mean_loss(table["loss"][same]),
        float(np.exp(np.log(table["onset"][same]).mean())),
        bool((table["onset_is_first"][same] == 1).any()) if table.has("onset_is_first") else False,
    )
