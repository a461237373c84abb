"""The parts of a study's page about its runs: their table, what was left out, the conventions, where it comes from."""

import datetime
import math
import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from markupsafe import Markup
from matplotlib.colors import to_hex

from analysis import architecture, digits
from analysis.findings import Findings
from analysis.page import markup
from analysis.page.canvas import Shades
from analysis.page.markup import tag
from analysis.records import Origin
from analysis.table import Table
from scaling import machine

FILES = ("runs.csv", "curves.csv", "positions.csv", "findings.json")  # beside the page of a study
COLUMNS: Sequence[tuple[str, str | tuple[str, str], Callable[[float], str]]] = (  # of the table of runs, after N
    ("tokens", ("D", "tokens"), digits.short),
    ("unique_tokens", ("Unique D", "tokens"), digits.short),
    ("batch_tokens", ("B", "tokens"), "{:,.0f}".format),
    ("learning_rate", ("Rate", "peak"), "{:.3g}".format),
    ("seed", "Seed", "{:.0f}".format),
    ("loss", ("Loss", "nats/token"), "{:.4f}".format),
    ("bits_per_byte", ("Loss", "bits/byte"), "{:.4f}".format),
    ("flops", ("C", "FLOP"), lambda C: digits.ten(C, 3)),
    ("seconds", ("Time", "s"), "{:,.0f}".format),
)


def what(found: Findings) -> Markup:
    """What was trained on what, for the head of a page: the text, the model in words, D/N, the onset of context use."""
    table = found.everything
    pairs = []
    if table.has("data"):
        pairs.append(("Text", ", ".join(text.replace("../", "") for text in dict.fromkeys(table["data"].tolist()))))
    model = [architecture.described(architecture.commonest(architecture.architectures(table)))]
    for column, name in (("n_ctx", "context of {} tokens"), ("n_vocab", "vocabulary of {}")):
        if table.has(column):
            model.append(name.format(" and ".join(f"{v:,.0f}" for v in np.unique(table[column]))))
    pairs.append(("Model", ", ".join(filter(None, model))))
    ratio = table["tokens"][table["params"] > 0] / table["params"][table["params"] > 0]
    if len(ratio):
        pairs.append(("Tokens per parameter", " to ".join(dict.fromkeys((_two(ratio.min()), _two(ratio.max()))))))
    if table.has("onset"):
        pairs.append(("Context is used", _onset(table)))
    return markup.pairs([pair for pair in pairs if pair[1]])


def _two(ratio: float) -> str:
    return digits.short(float(f"{ratio:.2g}"))


def _onset(table: Table) -> str:
    """When the models began to use their context, over the runs that did."""
    reached = np.isfinite(table["onset"])
    at = table["onset"][reached]
    ends = dict.fromkeys(digits.short(float(f"{end:.2g}")) for end in (at.min(), at.max()))
    text = f"after {' to '.join(ends)} tokens"
    if table.has("onset_is_first") and (table["onset_is_first"][reached] == 1).any():
        text += ", or earlier: some did at their first evaluation"
    never = int((~reached).sum())
    return text + (f"; not in {never} of {_count(len(table))}" if never else "")


def runs(found: Findings, shades: Shades, files: Sequence[str]) -> Markup:
    """The table of runs; of the columns those that it has."""
    table = found.everything
    used = set(found.table.rows.tolist())
    what = architecture.architectures(table)
    base = architecture.commonest(what)
    of = [architecture.differences(one, base) for one in what]
    names = [n for n in ("params", "tokens", "unique_tokens", "learning_rate", "seed") if n in table]
    order = np.lexsort([table[name] for name in reversed(names)])

    def cell(i: int, column: str, write: Callable[[float], str]) -> str:
        value = float(table[column][i])
        return write(value) if math.isfinite(value) else "–"

    shown = [(head, column, write) for column, head, write in COLUMNS if table.has(column)]
    shaped = table.has("d_model") and table.has("n_layer")
    head = (
        "Run",
        "",
        ("N", "parameters"),
        *([("Shape", "width × layers")] if shaped else []),
        *(h for h, _, _ in shown),
    )
    rows, classes, ended = [], [], table.ended()
    for i in (int(i) for i in order):
        shade = to_hex(shades(float(table["params"][i])))
        dot = Markup('<span class="dot" style="background:{}"></span>').format(shade)
        mine = int(table.rows[i]) in used
        classes.append("" if mine else "out")
        rows.append(
            (
                table.names[i],
                "" if mine else (of[i] or "other rate") if ended[i] else str(table["status"][i]),
                dot + cell(i, "params", "{:,.0f}".format),
                *([f"{cell(i, 'd_model', '{:.0f}'.format)} × {cell(i, 'n_layer', '{:.0f}'.format)}"] if shaped else []),
                *(cell(i, column, write) for _, column, write in shown),
            )
        )
    lead = tag("p", "The same with every column, at full precision: ", links(files), ".")
    body = markup.table(head, rows, text=2, classes=classes, wide=True)
    return lead + body


def excluded(found: Findings) -> Markup:
    items = []
    for e in found.excluded:
        ids = tag("span", f"({', '.join(map(_id, e.rows))})", class_="soft")
        items.append(Markup("{}: {} {}").format(_count(len(e.rows)), e.reason, ids))
    for finding in found.laws:
        own = [e for e in finding.fit.excluded if e not in found.excluded] if finding.fit else []
        items += [f"{_count(len(e.rows))} for {finding.title} alone: {e.reason}" for e in own]
    items += found.everything.notes
    if not items:
        return tag("p", "No run was left out.")
    return markup.bullets(items) + tag("p", "Which runs each law was fitted to is in findings.json.")


def conventions(found: Findings) -> Markup:
    table = found.everything
    pairs = [
        ("N", "Parameters of the attention and feed-forward matrices, without embeddings, biases and norms: Kaplan et "
              "al. (2020) eq. 2.1. Counts with the output projection, with embeddings, and of everything allocated are "
              "the columns params_head, params_embed and params_total of runs.csv."),
        ("D", "Tokens processed in training for Chinchilla's form, in at most one epoch with the learning rate decayed "
              "over exactly that run; unique tokens for Kaplan's L(D) and L(N, D), repeated until the held-out loss "
              "turned."),
        ("C", "6ND FLOP: a multiply-add counts 2, the backward pass twice the forward, the attention square and the "
              "logits not at all. Other counts are the columns flops_attention, flops_head and flops_total."),
        ("L", "Mean cross-entropy of held-out tokens in nats per token, on the same windows for every run, averaged "
              "over the context. Laws of unique tokens take the lowest loss along the run, the others the last one."),
    ]  # fmt: skip
    if table.has("bytes_per_token"):
        sizes = np.unique(table["bytes_per_token"])
        bytes_ = " and ".join(f"{size:.4g}" for size in sizes)
        pairs.append(("Bits per byte", f"L / (ln 2 · bytes per token); a held-out token has {bytes_} bytes here."))
    if table.has("n_ctx") and table.has("n_vocab"):
        contexts, vocabularies = (", ".join(f"{v:,.0f}" for v in np.unique(table[n])) for n in ("n_ctx", "n_vocab"))
        pairs.append(("Context, vocabulary", f"{contexts} tokens; {vocabularies} different ones"))
    if table.has("data"):
        pairs.append(("Text", ", ".join(dict.fromkeys(table["data"].tolist()))))
    if table.has("optimizer"):
        ways = sorted(set(zip(table["optimizer"].tolist(), table["schedule"].tolist(), strict=True)))
        same = [(table["optimizer"] == o) & (table["schedule"] == s) for o, s in ways]
        text = (f"{o}, {s}, warm-up {_warmup(table, rows)}" for (o, s), rows in zip(ways, same, strict=True))
        pairs.append(("Optimiser", "; ".join(text)))
    pairs.append(
        (
            "Entropy floor",
            "known for this source, see the constants" if table.has("loss_floor") else "not known for text",
        )
    )
    return markup.pairs(pairs)


def _warmup(table: Table, rows: np.ndarray) -> str:
    """As a share where that is the same for all of these rows, else in tokens where these are."""
    share = table["warmup"][rows]
    tokens = np.unique(np.round(share * table["tokens"][rows]))
    if len(np.unique(share)) > 1 and len(tokens) == 1:
        return f"over the first {digits.short(float(tokens[0]))} tokens"
    ends = dict.fromkeys(f"{end:.3g}" for end in (share.min(), share.max()))
    return f"over {' to '.join(ends)} of the updates"


def source(table: Table, files: Sequence[str]) -> Markup:
    """Where the rows of somebody's table come from, and how its columns were read."""
    taken = [f"{name} = {of}" for name, of in table.taken.items() if name != of]
    worked_out = [name for name in table if name in table.derived]
    pairs = [
        ("Table", table.source),
        ("Rows", f"{len(table)} of {table.given}"),
        ("Columns taken", ", ".join(taken)),
        ("Columns worked out", ", ".join(worked_out)),
        ("Page made with", _versions(machine.versions())),
    ]
    return markup.pairs([pair for pair in pairs if pair[1]]) + tag("p", "Data of this page: ", links(files), ".")


def origin(found: Findings, origins: Sequence[Origin]) -> Markup:
    spent = float(np.nansum(found.everything["seconds"])) if "seconds" in found.everything else math.nan
    command = [Path(sys.argv[0]).name, *sys.argv[1:]] if Path(sys.argv[0]).name == "scaling" else ["scaling", "report"]
    pairs: list[tuple[str, str]] = [
        ("Study", Path(found.everything.source).name),
        ("Made", f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC by {shlex.join(command)}"),
        ("Page made on", machine.describe()),
        ("Page made with", _versions(machine.versions())),
    ]
    pairs += [("Trained on", where) for where in dict.fromkeys(o.machine for o in origins if o.machine)]
    pairs += [("Trained with", what) for what in dict.fromkeys(str(o) for o in origins if o.versions)]
    if math.isfinite(spent):
        pairs.append(("Training", f"{spent / 60:,.1f} minutes, all runs added up"))
    return markup.pairs(pairs) + tag("p", "Data of this page: ", links(FILES), ".")


def _versions(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def links(files: Sequence[str]) -> Markup:
    return Markup(", ").join(tag("a", name, href=name) for name in files)


def _count(runs: int) -> str:
    return f"{runs} {digits.plural(runs, 'run', 'runs')}"


def _id(row: str) -> str:
    """The run's id out of "row 7 (run ID)"."""
    found = re.fullmatch(r"row \d+ \(run (.+)\)", row)
    return found[1] if found else row
