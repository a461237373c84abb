"""What the loss owes to a model's shape at one size: d_ff / d_model, d_model / n_layer and the width of a head.

Kaplan et al. (2020) Fig. 5 and section 3.1. The shapes of a table are found from its rows alone; changes are shares of
the loss of one base shape, the one from which most others differ in one ratio.
"""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from analysis import digits
from analysis.confidence import LEVEL, t_quantile
from analysis.laws.admission import ONE_PASS
from analysis.replicates import seed_noise
from analysis.table import Table

SAME_SIZE = 0.02  # N of matched shapes differs by less than this
SAME_RATIO = 1.5  # where d_ff takes up what the steps of the width leave, d_ff / d_model is as good as held within this
LEAST = 4  # shapes of a panel, the base among them
WHAT = ("d_ff / d_model", "d_model / n_layer", "d_model / n_head")


class Shape(NamedTuple):
    """What a row says of a shape; heads are told by their width."""

    d_model: int
    n_layer: int
    d_ff: int
    d_head: float
    n_head: int

    @property
    def ratios(self) -> tuple[float, float, float]:
        """Those of WHAT."""
        return self.d_ff / self.d_model, self.d_model / self.n_layer, self.d_model / self.n_head

    def differs(self, base: "Shape") -> str:
        """The one of WHAT in which this shape differs from the base; empty for none or several."""
        ff, aspect, head = (abs(math.log(a / b)) for a, b in zip(self.ratios, base.ratios, strict=True))
        same_head = math.isclose(self.d_head, base.d_head)
        if (self.d_model, self.n_layer, self.d_ff) == (base.d_model, base.n_layer, base.d_ff):
            return WHAT[2] if head > 0 else ""
        if self.n_layer == base.n_layer:
            return WHAT[0] if same_head and ff > 0 else ""
        return WHAT[1] if same_head and aspect > 0 and ff < math.log(SAME_RATIO) else ""


@dataclasses.dataclass(frozen=True)
class Panel:
    """Shapes that differ from the base in one ratio, the base among them, by rising ratio."""

    what: str
    ratio: tuple[float, ...]
    change: tuple[float, ...]  # of the loss, as a share of the base's
    seeds: tuple[int, ...]

    def sentence(self, noise: Sequence[float]) -> str:
        """What the panel shows; `noise`: the change that seeds alone explain, at each ratio; NaN where not known."""
        low, high = int(np.argmin(self.change)), int(np.argmax(self.change))
        text = (
            f"{self.what} from {digits.plain(self.ratio[0])} to {digits.plain(self.ratio[-1])}: the loss changes by "
            f"{digits.percent(self.change[low], sign=True)} (at {digits.plain(self.ratio[low])}) to "
            f"{digits.percent(self.change[high], sign=True)} (at {digits.plain(self.ratio[high])})"
        )
        near = [r for r, change, most in zip(self.ratio, self.change, noise, strict=True) if change <= most]
        if near:
            text += f"; from {digits.plain(min(near))} to {digits.plain(max(near))} no worse than the noise allows"
        return text + "."


@dataclasses.dataclass(frozen=True)
class Shapes:
    """The shapes of one size.

    Attributes:
        base: the shape that changes are measured from, `base_loss` its mean loss over `base_seeds` runs.
        sizes: the smallest and the largest N among the shapes.
        sigma: standard deviation of ln(loss) among seeds, pooled over all shapes; NaN without replicates.
        degrees: of sigma.
    """

    base: Shape
    base_loss: float
    base_seeds: int
    sizes: tuple[float, float]
    tokens: float
    panels: tuple[Panel, ...]
    sigma: float
    degrees: int

    def half(self, seeds: int, level: float = LEVEL) -> float:
        """Half width of the interval of a change of a shape that is as good as the base, as a share of the loss."""
        if not self.degrees:
            return math.nan
        t = float(t_quantile(level, np.array(float(self.degrees))))
        return t * self.sigma * math.sqrt(1 / seeds + 1 / self.base_seeds)

    def sentences(self) -> Iterator[str]:
        low, high = self.sizes
        b = self.base
        yield (
            f"Shapes of N = {digits.short(math.sqrt(low * high))} (within {digits.percent(high / low - 1)}) after "
            f"{digits.short(self.tokens)} tokens. The base has {b.n_layer} layers, d_model {b.d_model}, d_ff {b.d_ff} "
            f"and {b.n_head} heads; its loss is {self.base_loss:.4f}."
        )
        if self.degrees:
            yield (
                f"A shape as good as the base differs from it by up to "
                f"{digits.percent(self.half(max(k for p in self.panels for k in p.seeds)))} by the seeds alone "
                f"({digits.percent(LEVEL)}; one standard deviation of a run is {digits.percent(self.sigma)})."
            )
        else:
            yield "No shape was trained with several seeds: which of these changes are noise is not known."
        for panel in self.panels:
            yield panel.sentence([self.half(seeds) for seeds in panel.seeds])

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {"base": self.base._asdict(), "sentences": list(self.sentences())}


def shapes_of(table: Table) -> list[Shape]:
    """The shape of each row."""
    width = table["d_attn"] if table.has("d_attn") else table["d_model"]
    columns = (table["d_model"], table["n_layer"], table["d_ff"], width, table["n_head"])
    return [
        Shape(int(d), int(layers), int(ff), float(attn) / int(heads), int(heads))
        for d, layers, ff, attn, heads in zip(*columns, strict=True)
    ]


def find(table: Table) -> Shapes | None:
    """The shapes of one size in a table of finished runs; None where these are not what the table is about.

    That is where over half of the one-epoch runs have one N within SAME_SIZE, one length, and at least LEAST shapes
    that differ from one base in one ratio.
    """
    wanted = ("params", "tokens", "loss", "d_model", "n_layer", "n_head", "d_ff")
    if not len(table) or not all(table.has(name) for name in wanted):
        return None
    whole = len(table)
    table = ONE_PASS.admit(table)
    middle = float(np.median(table["params"])) if len(table) else math.nan
    same = (np.abs(table["params"] / middle - 1) < SAME_SIZE) & np.isfinite(table["loss"])
    lengths, counts = np.unique(table["tokens"][same], return_counts=True)
    if not len(lengths):
        return None
    same &= table["tokens"] == lengths[np.argmax(counts)]
    if same.sum() < LEAST or same.sum() < whole / 2:
        return None
    rows = table.where(same, "another size or length")
    found: dict[Shape, list[float]] = {}
    for shape, loss in zip(shapes_of(rows), rows["loss"], strict=True):
        found.setdefault(shape, []).append(float(np.log(loss)))

    def panels(base: Shape) -> dict[str, list[Shape]]:
        groups = {what: [base, *(shape for shape in found if shape.differs(base) == what)] for what in WHAT}
        return {what: group for what, group in groups.items() if len(group) >= LEAST}

    base = max(found, key=lambda shape: (sum(map(len, panels(shape).values())), len(found[shape])))
    groups = panels(base)
    if not groups:
        return None
    mean = {shape: float(np.mean(losses)) for shape, losses in found.items()}
    noise = seed_noise(rows)
    return Shapes(
        base=base,
        base_loss=math.exp(mean[base]),
        base_seeds=len(found[base]),
        sizes=(float(rows["params"].min()), float(rows["params"].max())),
        tokens=float(rows["tokens"][0]),
        panels=tuple(_panel(what, group, base, found, mean) for what, group in groups.items()),
        sigma=noise.sigma if noise else math.nan,
        degrees=noise.degrees if noise else 0,
    )


def _panel(
    what: str, group: list[Shape], base: Shape, found: dict[Shape, list[float]], mean: dict[Shape, float]
) -> Panel:
    k = WHAT.index(what)
    ordered = sorted(group, key=lambda shape: shape.ratios[k])
    return Panel(
        what,
        tuple(shape.ratios[k] for shape in ordered),
        tuple(math.expm1(mean[shape] - mean[base]) for shape in ordered),
        tuple(len(found[shape]) for shape in ordered),
    )
