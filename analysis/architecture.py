"""What a model is besides its size: the parts that a table tells of each run, and in which of them two runs differ.

An architecture is the same at every size of a ladder; a law is of one architecture.
"""

from collections import Counter
from collections.abc import Sequence

from analysis.table import Table
from analysis.table.columns import cell
from scaling.kinds import KINDS

# The columns that describe a model but neither its size nor its shape. The scale of positions is not among them: that
# of the older model follows the width.
PARTS = (
    *("kind", "reuse", "positions", "rotary_base", "norm", "feed_forward", "qk_norm"),
    *("tied", "bias", "z_loss", "softcap", "parametrization", "experts", "routing"),
)
GROUPED = "grouped"  # 1 where heads of queries share their keys: how many do may follow the size

Architecture = tuple[tuple[str, str], ...]  # (part, its value as text); no value of what a kind has not

WORDS = {
    ("norm", "layer"): "layer norm",
    ("norm", "rms"): "RMS norm",
    ("feed_forward", "gelu"): "GELU",
    ("feed_forward", "swiglu"): "SwiGLU",
    ("feed_forward", "relu2"): "squared ReLU",
    ("qk_norm", "1"): "normed queries and keys",
    ("qk_norm", "0"): "queries and keys as they are",
    ("tied", "1"): "tied head",
    ("tied", "0"): "untied head",
    ("bias", "1"): "biases",
    ("bias", "0"): "no biases",
    ("z_loss", "0"): "no z-loss",
    ("softcap", "0"): "no softcap",
    (GROUPED, "1"): "grouped queries",
    (GROUPED, "0"): "keys of every head's own",
}


def architectures(table: Table) -> list[Architecture]:
    """That of each row, from those of PARTS that the table has."""
    columns = {name: [cell(value) for value in table[name]] for name in PARTS if name in table}
    if table.has("n_kv_head") and table.has("n_head"):
        shared = table["n_kv_head"] < table["n_head"]
        columns[GROUPED] = [
            str(int(one)) if keys > 0 else "" for one, keys in zip(shared, table["n_kv_head"], strict=True)
        ]
    values = zip(*columns.values(), strict=True) if columns else ((),) * len(table)
    return [tuple((name, value) for name, value in zip(columns, row, strict=True) if value) for row in values]


def commonest(found: Sequence[Architecture]) -> Architecture:
    """The one that most rows have, of equally many the first."""
    return Counter(found).most_common(1)[0][0]


def differences(one: Architecture, base: Architecture) -> str:
    """In which parts the one differs from the base, by its own values: "SwiGLU, no biases".

    Another kind of model has parts of its own, so that only what the base has as well is told of it.
    """
    known = dict(base)
    return ", ".join(_words(part) for part in one if part[0] in known and part not in base)


def described(one: Architecture) -> str:
    """Its parts that are words or numbers other than none: "Transformer, rotary positions, layer norm, ..."."""
    told = ("kind", "positions", "norm", "feed_forward", "tied", "bias", "parametrization")
    return ", ".join(_words(part) for part in one if part[0] in told and part != ("parametrization", "standard"))


def _words(part: tuple[str, str]) -> str:
    name, value = part
    if name == "kind":  # without its article, or the hash of the user's own
        return KINDS[value].title.partition(" ")[2] if value in KINDS else value.partition("@")[0]
    return WORDS.get(part, f"{value} positions" if name == "positions" else f"{name.replace('_', '-')} {value}")
