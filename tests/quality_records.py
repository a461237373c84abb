"""Records of the experiments of configs/quality with a known law."""

import dataclasses
import zlib

import numpy as np

from analysis.laws import Subramanyam
from analysis.papers.quality.evidence import CORRUPTED, FILTERED, SLIVER
from analysis.papers.reproduction import planned_row
from analysis.records import Records
from analysis.table import Table
from configs.quality import budgets, experiments

LAW = Subramanyam(E=2.0, B=100.0, beta=0.4, gamma=0.3)
ALPHA = 0.2  # of the sizes: their loss on new text is LAW's at their own N
HARM = 0.05  # of the loss at worst, of half of the tokens
WORST = 256  # repeats, where they harm most
EPOCHS, RUINED = 64, 2.0  # of all of the text, that make its loss so many times higher
DEARER = 1.2  # tokens of a corrupted document, over those of the same one before
TEXT = "text:a/*.txt"
WORTH = {"duplicate": 0.6, "dedup(duplicate": 0.95}  # of a token, with near-copies and without
DOCUMENTS = {"duplicate": (1990, 0), "dedup(duplicate": (1990, 940)}  # and near-copies left out


def in_tokens(clean: float) -> float:
    """The share of tokens that are of the documents left as they are."""
    return clean / (clean + DEARER * (1 - clean))


def harm(share, repeats):
    """Of the loss, where a share of the tokens is read so often."""
    return HARM * share / 0.5 * np.exp(-((np.log(repeats / WORST) / 3) ** 2))


def loss(run, seed_noise: float, rng: np.random.Generator) -> float:
    source, D, quality = run.data.source, float(run.tokens), 1.0
    if match := CORRUPTED.fullmatch(source):
        quality = in_tokens(1 - float(match[1]))
    if match := FILTERED.fullmatch(source):
        quality = min(1.0, 0.5 / float(match[1]))
    if (
        run.unique_tokens < run.tokens and ", share=0.5)" in source
    ):  # of a pool: what is read again is soon worth nothing
        D = run.unique_tokens * (2 - np.exp(1 - run.tokens / run.unique_tokens))
        quality = min(quality, 1.0) if FILTERED.fullmatch(source) else 0.5
    D *= 1.0 if ", share=0," in source else WORTH.get(source.partition("(text")[0], 1.0)
    found = float(LAW(D, quality)) * (run.model.N / 24576) ** -ALPHA
    if match := SLIVER.fullmatch(source):
        share, repeats = float(match[1]), float(match[1]) * run.tokens / float(match[2])
        found *= 1 + harm(share, repeats)
    if run.unique_tokens == run.tokens // EPOCHS and source == TEXT:
        found *= RUINED
    return found * float(np.exp(seed_noise * rng.standard_normal()))


def of_text(source: str) -> dict[str, float]:
    """What is known of a text."""
    match = CORRUPTED.fullmatch(source)
    bad = float(match[1]) if match else np.nan
    documents, near = DOCUMENTS.get(source.partition("(text")[0], (np.nan, np.nan))
    if ", share=0," in source:
        documents, near = 1000, 10
    tokens_per_byte = 0.5 * (1 - bad + DEARER * bad)
    return {
        "train_bytes_per_token": 1 / tokens_per_byte,
        "train_documents": documents,
        "train_near_duplicates": near,
    }


def records(budget: str = "cpu-1h", seed_noise: float = 0.003) -> dict[str, Records]:
    """Every experiment's runs."""
    at, found = dataclasses.replace(budgets.named(budget), source=TEXT), {}
    for name, of in experiments.EXPERIMENTS.items():
        rows = []
        for run in of(at):
            name_of = f"{run.model.N}-{run.data.source}-{run.tokens}-{run.unique_tokens}-{run.seed}"
            rng = np.random.default_rng(zlib.crc32(name_of.encode()))
            rows.append(
                {
                    **planned_row(run).row,
                    **of_text(run.data.source),
                    "run": name_of,
                    "status": "done",
                    "loss": loss(run, seed_noise, rng),
                    "epochs": run.tokens / run.U,
                    "data": run.data.source,
                    "onset": 0.1 * run.tokens,
                    "steps": run.steps,
                }
            )
        table = Table.from_rows(rows, "planted")
        empty = Table({"run": np.array([], str), "step": np.array([])}, np.arange(0), "planted")
        found[name] = Records(table, empty, empty, (), {})
    return found
