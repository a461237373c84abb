"""The runs that a law is about: rules of admission, each in words and as a function of a table.

A rule that a table cannot answer, for want of a column, keeps every row and says what it could not check.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from analysis import mixed
from analysis.table import ENDED, Table

# A run counts as converged when the last doubling of its tokens lowered the loss by less than this share of it, and its
# data as ample when its held-out loss is above its training loss by less: about the seed noise in Kaplan et al. (2020)
# sec. 4.2.
CONVERGED = 0.02
ONE_EPOCH = 1.001  # whole batches may pass the end of the data by a little


class Rule(NamedTuple):
    """Which rows of a table a rule admits."""

    keep: np.ndarray  # bool, one per row
    reason: str  # why the other rows are left out
    unchecked: str = ""  # what could not be checked for want of a column


@dataclasses.dataclass(frozen=True)
class Admission:
    """A rule of admission: `runs` completes the sentence "the law is about runs that ...", `rule` finds them."""

    runs: str
    rule: Callable[[Table], Rule]

    def admit(self, table: Table) -> Table:
        """The rows that it admits; the others are in `excluded`, what could not be checked is in `notes`."""
        rule = self.rule(table)
        if rule.unchecked:
            table = table.with_notes(f"not checked: {rule.unchecked}")
        return table.where(rule.keep, rule.reason)


def everything(table: Table, unchecked: str = "") -> Rule:
    return Rule(np.ones(len(table), bool), "", unchecked)


def finished(table: Table) -> Rule:
    if not table.has("status"):
        return everything(table)
    done = table.ended()
    others = ", ".join(sorted(set(table["status"]) - {*ENDED, "diverged", "running", ""})[:3])
    if others and not done.any():
        return Rule(done, f'its status is {others}; wanted "done" for the runs that ended well, or no column status')
    return Rule(done, "diverged or unfinished")


def one_epoch(table: Table) -> Rule:
    if not table.has("epochs"):
        return everything(table, "that every run saw its data at most once (no column epochs or unique_tokens)")
    return Rule(~(table["epochs"] > ONE_EPOCH), "more than one epoch: its data are repeated")


def decayed(table: Table) -> Rule:
    if not table.has("schedule"):
        along = len(table) - table.n_runs
        more = (
            f": {along} rows are points along the runs, where a rate that decays has not decayed yet" if along else ""
        )
        return everything(table, f"that the learning rate decayed over exactly each run (no column schedule){more}")
    return Rule(~constant_rate(table), "learning rate not decayed at the end of the run")


def constant_rate(table: Table) -> np.ndarray:
    """Whether the table says of each row that its learning rate did not fall; bool, one per row."""
    return np.isin(table["schedule"], ("constant", "const")) if "schedule" in table else np.zeros(len(table), bool)


def ample_data(table: Table) -> Rule:
    """One epoch, or a held-out loss that hardly exceeds the training loss.

    The gap between the two overstates over-fitting (Kaplan et al. 2020 Fig. 16), so the rule errs on the safe side.
    """
    once = table["epochs"] <= ONE_EPOCH if table.has("epochs") else np.zeros(len(table), bool)
    if table.has("train_loss") and table.has("loss"):
        known = np.isfinite(table["train_loss"])
        return Rule(
            once | ~known | (table["loss"] < (1 + CONVERGED) * table["train_loss"]),
            "over-fitted: repeated data, and a held-out loss over 2 % above the training loss",
        )
    if not table.has("epochs"):
        return everything(table, "that data were ample (no column epochs, unique_tokens or train_loss)")
    unknown = np.isnan(table["epochs"])
    return Rule(once | unknown, "more than one epoch, and no column train_loss shows that data were ample")


def _last_doubling(table: Table) -> np.ndarray:
    """Share of the loss that the last doubling of tokens took off, NaN where it is not known."""
    if not table.has("loss_half"):
        return np.full(len(table), np.nan)
    return table["loss_half"] / table["loss"] - 1


def stopped_early(table: Table) -> Rule:
    """Trained until the held-out loss stopped falling: its minimum lies before the end, or it had become flat."""
    turned = np.zeros(len(table), bool)
    known = table.has("loss_half")
    if table.has("tokens_at_min") and table.has("tokens"):
        turned, known = table["tokens_at_min"] < table["tokens"], True
    if not known:
        return everything(
            table,
            "that every run went on until its held-out loss stopped falling (no column tokens_at_min or loss_half)",
        )
    return Rule(
        turned | (_last_doubling(table) < CONVERGED),
        "stopped while their held-out loss was still falling by over 2 % per doubling",
    )


def converged(table: Table) -> Rule:
    if not table.has("loss_half"):
        return everything(table, "that doubling the data would hardly change the losses (no column loss_half)")
    return Rule(
        _last_doubling(table) < CONVERGED, "not converged: the last doubling of its tokens changed the loss by over 2 %"
    )


def uses_context(table: Table) -> Rule:
    """Rows after the onset of context use of `analysis.onset`; an empty cell says that it was not reached."""
    if "onset" not in table:
        return everything(table, "that every model used its context when its run ended (no column onset)")
    return Rule(table["tokens"] > table["onset"], "ended before its model used its context")


def two_layers(table: Table) -> Rule:
    if not table.has("n_layer"):
        return everything(table, "that no model has a single layer (no column n_layer)")
    return Rule(~(table["n_layer"] < 2), "a single layer: off the line of deeper models")


def updates_made(table: Table) -> np.ndarray | None:
    """Updates made when each row was measured, by `step`, tokens and batch, or the run's `steps`; None if unknown."""
    if table.has("step"):
        return table["step"]
    if table.has("tokens") and table.has("batch_tokens"):
        return table["tokens"] / table["batch_tokens"]
    return table["steps"] if table.has("steps") else None


def warmup_updates(table: Table) -> np.ndarray | None:
    """Updates of each row's warm-up, of which `warmup` is a share below 1 and the number from 1 on; None if unknown."""
    if (name := mixed.named(table, "warmup")) is None or not table.has(name):
        return None
    warmup = table[name]
    share = warmup < 1
    if np.any(share & (warmup > 0)) and not table.has("steps"):
        return None
    return np.where(share, warmup * (table["steps"] if table.has("steps") else 0.0), warmup)


def after_warmup(table: Table) -> Rule:
    step, until = updates_made(table), warmup_updates(table)
    if step is None or until is None:
        return everything(table, "that every row lies after its run's warm-up (no columns warmup, and step or steps)")
    return Rule(~(step <= until), "before the end of its warm-up")


def under_way(table: Table) -> Rule:
    """Rows after the first update and the warm-up, where the table says so: what comes before follows no law."""
    keep = np.ones(len(table), bool)
    for name in ("step", "tokens"):
        if table.has(name):
            keep &= ~(table[name] <= 0)
    return Rule(keep & after_warmup(table).keep, "before the first update or the end of the warm-up")


def most_data_of_its_size(table: Table) -> Rule:
    """Of each size, the runs with the most unique tokens, and of these the longest."""
    keep = np.ones(len(table), bool)
    if not table.has("params"):
        return everything(table)
    for name in ("unique_tokens", "tokens"):
        if table.has(name):
            for size in np.unique(table["params"]):
                same = keep & (table["params"] == size)
                if same.any() and np.isfinite(table[name][same]).any():
                    keep &= ~same | (table[name] >= np.nanmax(table[name][same]) * (1 - 1e-9))
    return Rule(keep, "a run of the same size saw more data")


def best_size_for_its_data(table: Table) -> Rule:
    """At each D, the runs of the size with the lowest mean loss: that size does not limit."""
    if not (table.has("params") and table.has("unique_tokens")):
        return everything(table, "that the model was large enough for each data set (no column params)")
    loss = table["loss_min" if table.has("loss_min") else "loss"]
    keep = np.zeros(len(table), bool)
    for tokens in np.unique(table["unique_tokens"]):
        same = (table["unique_tokens"] == tokens) & np.isfinite(loss)
        if not same.any():
            continue
        sizes = np.unique(table["params"][same])
        means = [np.mean(loss[same & (table["params"] == size)]) for size in sizes]
        keep |= same & (table["params"] == sizes[int(np.argmin(means))])
    return Rule(keep, "another size reached a lower loss on the same data")


def on_the_envelope(compute: str) -> Callable[[Table], Rule]:
    """Runs that no run with as little `compute` beats."""

    def rule(table: Table) -> Rule:
        if not (table.has(compute) and table.has("loss")):
            return everything(table)
        C, L = table[compute], table["loss"]
        order = np.lexsort((L, C))
        best = np.minimum.accumulate(np.where(np.isfinite(L[order]), L[order], np.inf))
        keep = np.zeros(len(table), bool)
        keep[order] = L[order] <= best
        return Rule(keep, "another run reached a lower loss with no more compute")

    return rule


def commonest(column: str, what: str, why: str) -> Callable[[Table], Rule]:
    """The rows that share the commonest value of a column (of equally common ones the largest): `what` names it."""

    def rule(table: Table) -> Rule:
        if not table.has(column):
            return everything(table, f"that all runs have one {what} (no column {column})")
        values, count = np.unique(table[column][np.isfinite(table[column])], return_counts=True)
        value = values[np.flatnonzero(count == count.max())[-1]]
        near = np.abs(table[column] / value - 1) < 1e-6
        return Rule(near | np.isnan(table[column]), f"another {what} than {value:.6g}, which most runs have: {why}")

    return rule


def largest_model(table: Table) -> Rule:
    if not table.has("params"):
        return everything(table, "that all rows are of one model (no column params)")
    largest = np.nanmax(table["params"])
    keep = table["params"] >= largest * (1 - 1e-9)
    return Rule(keep, f"another size than {largest:.6g}: the constants are a model's own")


def lowest_bound(table: Table) -> Rule:
    return everything(
        table,
        "that no run stopped sooner than this lower bound; loss asymmetric (--loss asymmetric) keeps it below them",
    )


FINISHED = Admission("finished without diverging", finished)
ONE_PASS = Admission("saw their data at most once", one_epoch)
DECAYED = Admission("have a learning rate that decayed over exactly the run", decayed)
AMPLE = Admission("had ample data: one epoch, or a held-out loss within 2 % of the training loss", ample_data)
STOPPED_EARLY = Admission("went on until their held-out loss stopped falling", stopped_early)
CONVERGED_RUNS = Admission("converged: the last doubling of tokens changed the loss by under 2 %", converged)
MOST_DATA = Admission("saw the most data of their size", most_data_of_its_size)
DEEP = Admission("have two layers or more", two_layers)
WARM = Admission("are past their warm-up", after_warmup)
UNDER_WAY = Admission("are past their first update and their warm-up", under_way)  # of every law
IN_CONTEXT = Admission("ended after their model began to use its context", uses_context)
LARGE_ENOUGH = Admission("have the best size for their data", best_size_for_its_data)
BEST_FOR_C = Admission("no run with as little compute beats", on_the_envelope("flops"))
BEST_FOR_C_MIN = Admission("no run with as little C_min beats", on_the_envelope("flops_min"))
OF_ENVELOPE = (BEST_FOR_C, BEST_FOR_C_MIN)  # of points; the other rules of a law of compute are about whole runs
ONE_BATCH = Admission("share one batch size", commonest("batch_tokens", "batch size", "the law is at one"))
ONE_LENGTH = Admission("share one number of tokens", commonest("tokens", "number of tokens", "the law is at one"))
LOWEST = Admission("stopped at their lowest held-out loss, none of them sooner than the law says", lowest_bound)
ONE_MODEL = Admission("are of one model, the largest", largest_model)
