"""Which corpus the name of a source means.

python                the .py files of this project's own dependencies: always there, no download
python:stdlib         the standard library: another distribution of the same language, for transfer
text:GLOB[,GLOB...]   .txt[.gz], .md, .jsonl[.gz|.zst], .parquet
tfds:NAME[/CONFIG]    TensorFlow Datasets, prepared beforehand; ?split=..., ?field=..., ?data_dir=...
synthetic:...         a generated language of known entropy (`scaling.data.synthetic`)
task:...              questions with their answers: sums, copies (`scaling.data.tasks`)
images:SET[@PIXELS]   pictures, a token each pixel (`scaling.data.images`)
glyphs:SET            glyphs after their Unicode names (`scaling.data.glyphs`)
pairs:...             pairs of texts, the preferred one first (`scaling.data.pairs`)
sample(STUDY/RUN, ..) what a trained model writes (`scaling.data.sampled`)
RULE(SOURCE, ...)     another source, changed by a rule (`scaling.data.transformations`, `scaling.data.quality`,
                      `scaling.data.perplexity`)

Several of them, each with its share, are a mixture (`scaling.data.mixture`).
"""

import glob
import os

from scaling.data import expressions, glyphs, images, mixture, perplexity, quality, sampled
from scaling.data.documents import Corpus
from scaling.data.glyphs import GlyphCorpus
from scaling.data.images import ImageCorpus
from scaling.data.pairs import PairCorpus
from scaling.data.python_sources import PythonCorpus
from scaling.data.synthetic import SyntheticCorpus
from scaling.data.tasks import TaskCorpus
from scaling.data.text_files import TextCorpus, inside
from scaling.data.tfds import TfdsCorpus
from scaling.data.transformations import transformed
from scaling.errors import InputError

USAGE = (
    "python, python:stdlib, text:GLOB, tfds:NAME, synthetic:KEY=VALUE,..., task:KIND?KEY=VALUE, "
    "images:SET@PIXELS, glyphs:SET, "
    "pairs:POLICY?KEY=VALUE, "
    "sample(STUDY/RUN, ...), RULE(SOURCE, ...), "
    "mix:SHARE*SOURCE+SHARE*SOURCE or tokens:ID"
)


def open_corpus(source: str) -> Corpus:
    """The corpus that `source` names.

    Raises:
        InputError: an unknown kind of source, or nothing there.
    """
    if (call := expressions.call(source)) is not None:
        name, inner, options = call
        if name == "sample":
            return sampled.sampled(source, inner, options)
        if mixture.is_one(inner) or name == "first":
            raise InputError(
                f"{source}: a rule changes one text, and first(...) is a part of a mixture; such as "
                "mix:0.5*dedup(text:a/*.txt)+0.5*first(python, tokens=1e5)"
            )
        if name == "filter":
            if options.keys() != {"keep", "by"}:
                raise InputError(f"{source}: wanted {quality.USAGE}")
            keep, by = quality.share(source, options["keep"]), expressions.call(options["by"])
            if by is not None and by[0] == "perplexity":
                return perplexity.FilteredByModel(source, open_corpus(inner), keep, perplexity.model(source, *by[1:]))
            if options["by"].partition("(")[0].strip().lower() == "perplexity":
                raise InputError(f"{source}: by={options['by']}, wanted {perplexity.USAGE}")
            return quality.FilteredByText(source, open_corpus(inner), keep, open_corpus(options["by"]))
        return transformed(source, name, open_corpus(inner), options)
    kind, _, rest = source.partition(":")
    match kind:
        case "python" if rest in ("", "stdlib"):
            return PythonCorpus(source)
        case "text" if rest:
            return TextCorpus(source)
        case "tfds" if rest:
            return TfdsCorpus(source)
        case "synthetic":
            return SyntheticCorpus(source)
        case "task":
            return TaskCorpus.of(source)
        case "images":
            return ImageCorpus.of(source)
        case "glyphs":
            return GlyphCorpus.of(source)
        case "pairs":
            return PairCorpus.of(source)
    files = os.path.expanduser(source.partition("?field=")[0])
    if os.path.exists(files) or next(glob.iglob(files), None):
        hint = inside(source) if os.path.isdir(files) else source
        raise InputError(f"unknown source {source!r}; for files on disk write text:{hint}")
    raise InputError(f"unknown source {source!r}; wanted {USAGE}")


def vocabulary(source: str) -> int | None:
    """The size of the vocabulary of a source that has its own, with the separator; None of any other."""
    kind = source.partition(":")[0]
    if kind == "images":
        return images.parse(source).levels + 1
    return len(glyphs.ALPHABET) + 1 if kind == "glyphs" else None
