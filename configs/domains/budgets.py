"""The budgets: which sets, sizes, lengths and seeds each affords."""

import dataclasses
import functools
from collections.abc import Sequence

from configs import budget
from scaling.config import RunConfig


@dataclasses.dataclass(frozen=True)
class Ladder:
    """Sizes times lengths of one domain.

    Attributes:
        source: of the training text.
        n_ctx: tokens of an example; of pictures one more than they have pixels.
        n_vocab: levels, or characters, and the separator.
        sizes: numbers of the sizes N = 1,536 2^k of the main grid.
        examples: of the longest runs.
        there: different examples that the runs draw from; of a text, as many as the longest run sees.
        lengths: so many, each half of the next, branches of one trunk; those below LEAST tokens per parameter are
            left out.
        seeds: of the smaller half of the sizes; the others have one.
        batch: examples.
        windows: held-out examples. Of glyphs, as `there`, all of Unifont 15.0.01: with captions and without a stream is
            in another order, and less than all of it would be other glyphs.
    """

    source: str
    n_ctx: int
    n_vocab: int
    sizes: tuple[int, ...]
    examples: int
    lengths: int
    seeds: int
    batch: int
    windows: int
    there: int = 0


DIGITS = Ladder("images:digits", 65, 18, (0, 1, 2, 3, 4, 5), 2**14, 6, 3, 8, 256, there=1_440)
FASHION_7 = Ladder("images:fashion-mnist@7", 50, 17, (0, 1, 2, 3, 4, 5, 6), 2**17, 5, 2, 16, 1024, there=59_392)
FASHION_14 = Ladder("images:fashion-mnist@14", 197, 17, (0, 1, 2, 3, 4, 5, 6), 2**15, 5, 2, 8, 512, there=59_392)
FASHION_28 = Ladder("images:fashion-mnist@28", 785, 17, (2, 3, 4, 5, 6), 2**13, 3, 1, 2, 256, there=59_392)
BYTES = Ladder("", 128, 257, (0, 1, 2, 3, 4, 5, 6), 2**15, 5, 2, 8, 512)
HANGUL = Ladder("glyphs:hangul", 73, 56, (2, 4, 6), 2**16, 2, 2, 16, 1_134, there=10_038)
IDEOGRAPHS = Ladder("glyphs:ideographs", 70, 56, (2, 4, 6), 2**16, 2, 2, 16, 2_813, there=24_767)
OTHERS = Ladder("glyphs:others", 106, 56, (2, 4, 6), 2**16, 2, 2, 16, 1_515, there=13_273)


@dataclasses.dataclass(frozen=True)
class Budget(budget.Budget):
    """One budget.

    Attributes:
        source: a text beside Python's sources, by equal tokens; python for none.
        digits: pictures that are always there.
        fashion: pictures, of one set at several resolutions.
        text: the ladder of Python's sources and of the text.
        glyphs: sets of glyphs, each trained with captions and without.
        rated: the smallest and the largest size of the digits, and of Python's sources, at half and twice the learning
            rate.
    """

    source: str = "python"
    digits: Ladder = DIGITS
    fashion: tuple[Ladder, ...] = (FASHION_7, FASHION_14)
    text: Ladder = BYTES
    glyphs: tuple[Ladder, ...] = (HANGUL,)
    rated: bool = True

    def texts(self, runs: Sequence[RunConfig]) -> list[str]:
        """All of them: one of the sources is no more than one domain."""
        return list(dict.fromkeys(run.data.source for run in runs))


def _tiny(ladder: Ladder, sizes: tuple[int, ...], examples: int) -> Ladder:
    return dataclasses.replace(ladder, sizes=sizes, examples=examples, lengths=3, seeds=1, windows=128)


# For tests: a minute or two, and nothing can be decided.
TINY = Budget(
    "tiny",
    digits=dataclasses.replace(_tiny(DIGITS, (0, 1, 2, 3), 2**11), seeds=2),
    fashion=(_tiny(FASHION_7, (0, 1, 2, 3), 2**11), dataclasses.replace(_tiny(FASHION_14, (0, 1), 2**9), lengths=2)),
    text=_tiny(BYTES, (0, 1, 2, 3), 2**10),
    glyphs=(dataclasses.replace(_tiny(HANGUL, (0, 2), 2**10), lengths=1, windows=HANGUL.windows),),
    rated=False,
)

CPU_1H = Budget("cpu-1h")

CPU_3H = dataclasses.replace(
    CPU_1H,
    name="cpu-3h",
    digits=dataclasses.replace(DIGITS, seeds=5),
    fashion=(FASHION_7, dataclasses.replace(FASHION_14, examples=2**16, lengths=6), FASHION_28),
    text=dataclasses.replace(BYTES, sizes=(*BYTES.sizes, 7), examples=2**16, lengths=6),
    glyphs=(HANGUL, IDEOGRAPHS, OTHERS),
)

BUDGETS = {one.name: one for one in (TINY, CPU_1H, CPU_3H)}
DEFAULT = "cpu-1h"

named = functools.partial(budget.of_one_text, BUDGETS)
