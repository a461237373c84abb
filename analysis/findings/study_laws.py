"""The laws that the runs of a study identify: which rows each is fitted to, and what shows that it may be.

Losses are in nats per token, N in non-embedding parameters, D in tokens, C in FLOP.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from analysis import digits, laws
from analysis.confidence import LEVEL
from analysis.findings.checks import APART, Doubling
from analysis.findings.finding import Finding, HeldOutPrediction
from analysis.fit import fit
from analysis.fit.estimate import Fit
from analysis.fit.rows import FitError, admitted
from analysis.frontier import lower_envelope
from analysis.laws.admission import CONVERGED, CONVERGED_RUNS, OF_ENVELOPE, constant_rate
from analysis.laws.law import Law
from analysis.replicates import RATE, mean_loss, settings, trunks
from analysis.table import Table
from scaling.errors import InputError

DOUBLING = CONVERGED  # a quantity is ample where its last doubling lowered the loss by less than this share
LEAST = 3  # sizes or data sets that a law of one variable is fitted to


def fitted(
    law: type[Law], table: Table, draws: int, *, evidence: str = "", hold: str = "params", **options: Any
) -> Finding:
    """The law on the rows of `table` that it is about, less the rules that are `waived`."""
    missing = [name for name in law.inputs if not table.has(name)]
    if missing:
        return Finding(law, None, f"the table has no column {' and '.join(missing)}")
    try:
        rows = admitted(law, table, options.get("waived", ()))
        found = fit(law, table, loss="squared", level=LEVEL, bootstrap=draws, **options)
    except InputError as error:
        return Finding(law, None, _reason(law, str(error)), evidence)
    finding = Finding(law, found, "", evidence, rows)
    if not finding.sound:
        return finding
    return dataclasses.replace(finding, held_out_prediction=_predict_largest(law, rows, found, hold, options))


def _predict_largest(
    law: type[Law], rows: Table, found: Fit, hold: str, options: dict[str, Any]
) -> HeldOutPrediction | None:
    """The law fitted without the largest `hold`, held against the runs that have it; None where too few remain."""
    largest = rows[hold] >= rows[hold].max() * (1 - 1e-9)
    if len(np.unique(rows[hold])) < LEAST + 1:
        return None
    try:
        smaller = fit(law, rows, loss="squared", level=LEVEL, hold_out=largest, **{**options, "every_run": True})
    except InputError:
        return None
    held, data = rows.where(largest, "fitted"), next((name for name in law.inputs if "tokens" in name), "tokens")
    columns = {name: held[name] for name in law.inputs}
    bounded = smaller.bounded(**columns)
    said, alone = (smaller.predict(run=run, **columns).where(bounded) for run in (True, False))
    size = digits.short(float(held[hold][0]))
    what = f"size among its rows (N = {size})" if hold == "params" else f"data set among its rows ({size} tokens)"
    bounds = (np.asarray(part, float) for part in (*said, alone.low, alone.high))
    return HeldOutPrediction(f"the largest {what}", held["params"], held[data], held[found.target], *bounds)


def _reason(law: type[Law], message: str) -> str:
    """Why a fit was refused, without the law's name that the sentence begins with already."""
    return message.removeprefix(f"{law.name}: ").removeprefix(f"{law.name} is not identified: ").rstrip(".")


def _lowered(change: float) -> str:
    """What a doubling did, in words."""
    return f"{'lowered' if change >= 0 else 'raised'} the loss by {digits.percent(abs(change))}"


def law_of_size(table: Table, doublings: Sequence[Doubling], draws: int) -> Finding:
    """L(N): the runs that it is about, at the sizes where doubling D hardly changes the loss any more.

    That further rule stands in place of the law's own about convergence, which looks at one run alone.
    """
    law = laws.KaplanN
    known = [d for d in doublings if math.isfinite(d.change)]
    if not known:
        return Finding(
            law, None, "no size was trained on two amounts of data, so nothing shows that its data were ample"
        )
    ample = [d for d in known if d.change < DOUBLING]
    least, worst = (pick(known, key=lambda d: d.change) for pick in (min, max))
    span = _lowered(worst.change)
    if len(known) > 1:
        where = f" (most at N = {digits.short(worst.params)})"
        fell = f"lowered the loss by {digits.percent(least.change)} to {digits.percent(worst.change)}"
        span = (fell if least.change >= 0 else f"{span} at most") + where
    if len(ample) < LEAST:
        return Finding(
            law,
            None,
            f"the last doubling of D {span}; the law needs {LEAST} sizes at which more data gain under "
            f"{digits.percent(DOUBLING)}, here there {digits.plural(len(ample), 'is', 'are')} {len(ample) or 'none'}",
        )
    keep = np.zeros(len(table), bool)
    for d in ample:
        most = table["unique_tokens"] == d.unique_tokens if "unique_tokens" in table else np.ones(len(table), bool)
        keep |= (table["params"] == d.params) & (table["tokens"] == d.tokens) & most
    evidence = (
        f"At these {len(ample)} sizes the last doubling of D lowered the loss by at most "
        f"{digits.percent(max(0.0, *(d.change for d in ample)))}."
    )
    rows = table.where(keep, "not the most data of its size, or data that were not ample")
    target = "loss_min" if rows.has("loss_min") else "loss"
    return fitted(law, rows, draws, evidence=evidence, waived=(CONVERGED_RUNS,), target=target)


def law_of_data(table: Table, draws: int) -> Finding:
    """L(D): the best size for each number of unique tokens, where a larger one would hardly do better."""
    law = laws.KaplanD
    if not (table.has("unique_tokens") and table.has("params")):
        return Finding(law, None, "the table has no column unique_tokens")
    try:
        early, best = admitted(laws.KaplanND, table), admitted(law, table)
    except FitError as error:
        return Finding(law, None, _reason(laws.KaplanND, _reason(law, str(error))))
    target = law.target if early.has(law.target) else law.fallback
    keep, changes = np.zeros(len(best), bool), []
    for D in np.unique(best["unique_tokens"]):
        rows = best["unique_tokens"] == D
        size = best["params"][rows][0]
        rivals = early.where(early["unique_tokens"] == D, "other data")
        smaller = rivals["params"][rivals["params"] * APART <= size]
        if (rivals["params"] > size).any():
            change = 0.0  # a larger size was no better
        elif len(smaller):
            next_ = smaller.max()
            ratio = mean_loss(best[target][rows]) / mean_loss(rivals[target][rivals["params"] == next_])
            change = 1 - ratio ** (math.log(2) / math.log(size / next_))
        else:
            continue
        changes.append(change)
        keep |= rows & (change < DOUBLING)
    sets, ample = len(np.unique(best["unique_tokens"])), sum(change < DOUBLING for change in changes)
    if sets < LEAST:
        return Finding(
            law,
            None,
            f"the runs that went on until their held-out loss stopped falling cover {sets} "
            f"{digits.plural(sets, 'data set', 'data sets')}; wanted {LEAST} or more",
        )
    if ample < LEAST:
        known = len(changes)
        why = (
            f"of {sets} data sets {known or 'none'} {'has' if known < 2 else 'have'} a clearly smaller model beside it"
        )
        if known > ample:
            why = (
                f"larger models would still do better on {known - ample} of {sets} data sets: the last doubling of N "
                f"{_lowered(max(changes))}{' at most' if known > 1 else ''}"
            )
        return Finding(
            law, None, f"{why}; the law needs {LEAST} data sets on which this is under {digits.percent(DOUBLING)}"
        )
    evidence = f"On these {ample} data sets doubling N lowers the loss by under {digits.percent(DOUBLING)}."
    rows = best.where(keep, "a larger model would still do better on these data")
    return fitted(law, rows, draws, evidence=evidence, hold="unique_tokens")


def compute_envelope(table: Table, curves: Table | None = None) -> Table:
    """The lowest loss reached with C FLOP: columns run, params, tokens, flops, loss, one row per point.

    The runs are those that L(C) is about. The envelope is that of all losses recorded along them, averaged over the
    seeds of a setting first: the lowest of several seeds would be luck. Of a run whose learning rate decays only the
    end is a point: a run of the length that it had before would have ended lower. Compute below the end of every run is
    left out.

    Raises:
        InputError: no column flops, or no run that L(C) is about.
    """
    if not table.has("flops"):
        raise InputError("the table has no column flops")
    table = admitted(laws.KaplanC, table, waived=OF_ENVELOPE)
    cell, trunk = settings(table, RATE), trunks(table, RATE, "seed")
    constant = constant_rate(table)
    least = table["flops"].min() * (1 - 1e-9)
    rows: list[dict[str, Any]] = []
    kept: list[bool] = []
    for k in np.unique(cell):
        members = np.flatnonzero(cell == k)
        i, end = int(members[0]), float(table["tokens"][members].min())
        names = table["run"][members] if "run" in table else members.astype(str)
        points = {(end, float(table["flops"][i])): table["loss"][members].tolist()}
        if curves is not None:
            for j in np.flatnonzero(np.isin(curves["run"], names) & (curves["tokens"] < end)):
                points.setdefault((float(curves["tokens"][j]), float(curves["flops"][j])), []).append(curves["loss"][j])
        for (D, C), losses in points.items():
            if least <= C and len(losses) == len(members) and np.all(np.isfinite(losses)):
                loss = mean_loss(np.array(losses))
                place = {"params": table["params"][i], "tokens": D, "flops": C, "_trunk": float(trunk[i])}
                rows.append({"run": names[0], **place, "loss": loss})
                kept.append(D == end or bool(constant[i]))
    chosen = [rows[i] for i in lower_envelope([r["flops"] for r in rows], [r["loss"] for r in rows]) if kept[i]]
    if not chosen:
        raise InputError("no run ends on the envelope")
    return dataclasses.replace(Table.from_rows(chosen, table.source), notes=())


def law_of_compute(table: Table, curves: Table | None, draws: int) -> Finding:
    """L(C) through the envelope. Several points of one run, at a constant learning rate, are resampled together."""
    law = laws.KaplanC
    try:
        envelope = compute_envelope(table, curves)
    except InputError as error:
        return Finding(law, None, _reason(law, str(error)))
    runs = len(np.unique(envelope["run"]))
    if runs < LEAST:
        why = f"{runs} {digits.plural(runs, 'run makes', 'runs make')} up the envelope; wanted {LEAST} or more"
        return Finding(law, None, why, table=envelope)
    edge = int((envelope["params"] == table["params"].max()).sum())
    what = "C = 6ND." if np.allclose(envelope["flops"], 6 * envelope["params"] * envelope["tokens"], rtol=0.01) else ""
    parts = [what]
    if edge:
        parts.append(
            f"{edge} of the {len(envelope)} points of the envelope {digits.plural(edge, 'is', 'are')} of the largest "
            "size: how the envelope goes on is not known."
        )
    # The envelope has met the rules: its runs before it was drawn, its points by what it is.
    evidence = " ".join(filter(None, parts))
    found = fitted(law, envelope, draws, evidence=evidence, waived=law.about)
    return dataclasses.replace(found, table=envelope, edge=_short_of_tokens(envelope, table), drawn_from=table.given)


def _short_of_tokens(envelope: Table, table: Table) -> str:
    """Why the last point is no best run at its compute; empty where nothing shows it.

    With more compute the best run has more tokens: fewer than at an earlier point, at the largest size that was
    trained, are those of a run that the study did not train for longer.
    """
    last = int(np.argmax(envelope["flops"]))
    size, D = (float(envelope[name][last]) for name in ("params", "tokens"))
    most = float(envelope["tokens"].max())
    if size < float(table["params"].max()) or D * APART > most:
        return ""
    return (
        f"the last point of the envelope is of the largest size at {digits.short(D)} tokens, where points at less "
        f"compute have up to {digits.short(most)}"
    )
