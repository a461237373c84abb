"""The figures and the table of the page."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes

from analysis import digits, reference
from analysis.page.canvas import GREY, INK, LOSS, STYLE, panels
from analysis.papers.claim import Undecided
from analysis.papers.data_constrained import repeats, rivals
from analysis.papers.data_constrained.evidence import (
    DROPOUT,
    MOST_RATIO,
    PAPER,
    PLAIN,
    RATIO,
    Arm,
    DataConstrained,
)
from analysis.papers.drawing import (
    LAW,
    SYMBOLS,
    beside,
    dots,
    fixed_limits,
    legend,
    level,
    logarithmic,
    named,
    symbol,
    tints,
)
from analysis.papers.drawn import Drawn
from analysis.papers.evidence import means
from analysis.table import Table

EPOCHS = "Epochs D / U"
TOKENS = "Tokens processed D"
HARMLESS = 4  # epochs, of the paper
LEAST = 1e-3  # of a loss, drawn for what is less
WORTH = ("run", "params", "unique_tokens", "epochs", "worth")
ELSEWHERE = (
    "Of the other alternatives that the paper tries, de-duplicated and filtered text are on the page of quality; other "
    "English beside text that repeats is on that of mixtures"
)


def figure_1(evidence: DataConstrained, drawn: Drawn) -> None:
    """Left: loss of one size over the tokens processed, on U unique ones and on new ones (black). Right: the loss over
    that of as many new tokens, less 1, over epochs, by size and U, in the colour of N / U; dashed with dropout 0.1."""
    drawn.tell(evidence.excess(DROPOUT), evidence.excess(PLAIN))
    found = evidence.returns
    drawn.points(row | arm._asdict() for arm, own in found.items() for row in named(own, list(own)))
    with rc_context(STYLE):
        drawn.figure, (left, right) = panels(2)
        with drawn.panel(left, "One size"):
            _one_size(left, evidence)
        with drawn.panel(right, "Loss over that of new tokens"):
            _by_trunk(right, found, "excess", LEAST)
            right.axvline(HARMLESS, color=GREY, lw=0.8, dashes=(4, 3), zorder=0)
            right.set_ylabel(f"Loss over that of new tokens − 1 (at least {digits.percent(LEAST)})")
        ratios = _ratios(found)
        beside(drawn.figure, _named(ratios, tints(ratios)), "N / U")
    drawn.say(*_costs(evidence))


def _named(values: Any, shade: Any) -> list[tuple[str, dict[str, Any]]]:
    """Values and their colours as a legend has them."""
    some = np.unique(np.round(np.log10(values), 3))
    some = some[np.unique(np.linspace(0, len(some) - 1, min(len(some), 8)).round().astype(int))]
    return [(digits.plain(10**v, 2), {"color": shade(10**v), "marker": "o", "ms": 4}) for v in some]


def _one_size(axes: Axes, evidence: DataConstrained) -> None:
    """The size that repeats most, the larger of equal ones."""
    runs = evidence.runs_of(PLAIN, warmup=1.0)
    sizes, counts = np.unique(runs["params"][~repeats.new(runs)], return_counts=True)
    if not len(sizes):
        raise Undecided("no run repeats its tokens")
    N = float(sizes[counts == counts.max()].max())
    own = runs.chosen(runs["params"] == N)
    fresh = repeats.new(own)
    logarithmic(axes, own["tokens"], TOKENS, own["loss"])
    axes.plot(*means(own.chosen(fresh), "tokens"), color=INK, lw=1.4, label="new tokens", zorder=4)
    each = list(repeats.trunks(own))
    for k, rows in enumerate(each):
        U = float(own["unique_tokens"][rows[0]])
        style = symbol(k + 1, ms=4, lw=1.0, label=f"U = {digits.short(U)}")
        axes.plot(own["tokens"][rows], own["loss"][rows], **style)
    axes.set_title(f"N = {digits.short(N)} with the embedding")
    axes.set_ylabel(LOSS)
    legend(axes, "lower left")


def _ratios(found: Mapping[Arm, Table]) -> np.ndarray:
    """N / U of all their rows."""
    return np.concatenate([own["params"] / own["unique_tokens"] for own in found.values()])


def _by_trunk(axes: Axes, found: Mapping[Arm, Table], column: str, least: float) -> None:
    """A column over epochs, of each trunk in the colour of its N / U; what is below `least` is drawn there."""
    shade = tints(_ratios(found))
    kept = {arm: own.chosen(np.isfinite(own[column])) for arm, own in found.items()}
    epochs = np.concatenate([own["epochs"] for own in kept.values()])
    if not len(epochs):
        raise Undecided("no run repeats as many tokens as another saw new")
    y = np.concatenate([np.maximum(own[column], least) for own in kept.values()])
    logarithmic(axes, epochs, EPOCHS, y, most=7, write_y=digits.percent if column == "excess" else digits.short)
    for arm, every in kept.items():
        for N, U in sorted(set(zip(every["params"], every["unique_tokens"], strict=True))):
            own = every.chosen((every["params"] == N) & (every["unique_tokens"] == U))
            own = own.chosen(np.argsort(own["epochs"]))
            colour, values = shade(N / U), np.maximum(own[column], least)
            dashes = (3, 2) if arm.dropout else (1, 0)
            axes.plot(own["epochs"], values, color=colour, lw=0.9, dashes=dashes, zorder=3)
            dots(axes, own["epochs"], values, [colour] * len(own), runs=own["run"].tolist(), ms=4)


def _sets(n: int) -> str:
    return f"{n} {digits.plural(n, 'set', 'sets')}"


def _costs(evidence: DataConstrained) -> Iterator[str]:
    for arm in evidence.returns:
        said = []
        for epochs in (2, 4, 8, 16):
            try:
                line = evidence.by_ratio(arm, epochs, "excess")
            except Undecided:
                continue
            said.append(f"{epochs} epochs {digits.percent(line.value, sign=True)} ({_sets(line.sets)})")
        if said:
            yield f"At N / U = {RATIO:g}, {arm.words}, over as many new tokens: {', '.join(said)}."
    found = evidence.returns.get(PLAIN)
    if found is None:
        return
    large = (found["params"] > found["unique_tokens"]) & np.isclose(found["epochs"], HARMLESS)
    values = found["excess"][large & np.isfinite(found["excess"])]
    if len(values):
        yield (
            f"Of models of more parameters than unique tokens four epochs cost {digits.percent(float(values.min()))} "
            f"to {digits.percent(float(values.max()))} ({_sets(len(values))})."
        )


def figure_2(evidence: DataConstrained, drawn: Drawn) -> None:
    """How many new tokens give the loss of so many epochs, in U. Left: over epochs, in the colour of N / U, dashed with
    dropout 0.1; the thin grey line has every token count as a new one, the broken one is the paper's effective data,
    the red one that law fitted to our runs without dropout. Right: over N / U, with dropout 0.1, and lines through
    those of up to one parameter a token; broken, the paper's, which are the same at any N / U."""
    drawn.tell(evidence.worth(DROPOUT, 4), evidence.worth(DROPOUT, 16), evidence.worth(PLAIN, 4), evidence.decay)
    found = evidence.returns
    drawn.points(row | arm._asdict() for arm, own in found.items() for row in named(own, WORTH))
    ratios = _ratios(found)
    with rc_context(STYLE):
        drawn.figure, (left, right) = panels(2)
        with drawn.panel(left, "New tokens that give the same loss"):
            _by_trunk(left, found, "worth", 0.0)
            with fixed_limits(left):
                x = np.geomspace(1, max(float(own["epochs"].max()) for own in found.values()), 60)
                left.plot(x, x, color=GREY, lw=0.8, zorder=1)
                laws = {"the paper's law": (reference.value("R_D_star", PAPER), {"color": GREY, "dashes": (5, 3)})}
                with drawn.part("effective data"):
                    laws["fitted to our runs"] = float(evidence.rivals.effective.law.R_D), {"color": LAW}
                for label, (R, style) in laws.items():
                    left.plot(x, 1 + R * -np.expm1(-(x - 1) / R), lw=1.4, label=label, **style)
            left.set_ylabel("New tokens / U")
            legend(left, "upper left")
        with drawn.panel(right, "By parameters a unique token, dropout 0.1", "how they move with N / U"):
            _by_ratio(right, evidence)
        beside(drawn.figure, _named(ratios, tints(ratios)), "N / U")
    drawn.say(*_slopes(evidence))


def _by_ratio(axes: Axes, evidence: DataConstrained) -> None:
    """New tokens that give the loss of 4 and of 16 epochs, over N / U."""
    own = evidence.returns.get(DROPOUT)
    if own is None:
        raise Undecided("no run with dropout 0.1 repeats tokens beside new ones")
    every, R = own["params"] / own["unique_tokens"], reference.value("R_D_star", PAPER)
    shown = np.isfinite(own["worth"])
    logarithmic(axes, every[shown], "N / U, parameters per unique token", own["worth"][shown], most=6,
                write_y=digits.short)  # fmt: skip
    for k, epochs in enumerate((4, 16)):
        here = shown & np.isclose(own["epochs"], epochs)
        axes.plot(every[here], own["worth"][here], **symbol(k + 1, ls="", ms=5, label=f"{epochs} epochs"))
        colour = symbol(k + 1)["color"]
        with fixed_limits(axes):
            axes.axhline(1 + R * -np.expm1(-(epochs - 1) / R), color=colour, lw=0.9, dashes=(5, 3), zorder=1)
            try:
                line = evidence.by_ratio(DROPOUT, epochs, "worth")
            except Undecided:
                continue
            x = np.geomspace(every[here].min(), min(every[here].max(), MOST_RATIO), 30)
            axes.plot(x, line.at(x), color=colour, lw=1.1)
    axes.set_ylabel("New tokens / U")
    legend(axes, "lower left")


def _slopes(evidence: DataConstrained) -> Iterator[str]:
    """How what repeated tokens are worth moves with N / U."""
    for epochs in (4, 16):
        try:
            line = evidence.by_ratio(DROPOUT, epochs, "worth")
        except Undecided:
            continue
        ten = math.log(10)
        yield (
            f"With dropout 0.1 the worth of {epochs} epochs changes by {digits.plain(ten * line.slope, 2)} U "
            f"(± {digits.plain(ten * line.slope_half, 2)}) for each factor of 10 in N / U ({line.sets} sets of up to "
            f"{MOST_RATIO:g} parameter a token): {digits.plain(float(line.at(np.array(0.04))), 2)} U at 0.04, "
            f"{digits.plain(line.value, 2)} U at {RATIO:g}."
        )


def figure_3(evidence: DataConstrained, drawn: Drawn) -> None:
    """Left: the loss over epochs, over the lowest of the same size and unique tokens, less 1, up to 40 %. Right: the
    epochs of the lowest loss over N / U; hollow where the longest run has it, so that the best lies further on; the
    line is the penalty's, fitted to our runs, at the middle U."""
    drawn.tell(evidence.best_epochs("N"), evidence.best_epochs("U"))
    at, runs = evidence.turns, evidence.runs_of(PLAIN, warmup=1.0)
    drawn.points(named(at, list(at)))
    ratios = at["params"] / at["unique_tokens"]
    shade = tints(ratios)
    with rc_context(STYLE):
        drawn.figure, (left, right) = panels(2)
        with drawn.panel(left, "Loss over the lowest of its trunk"):
            shown = []
            for own in repeats.trunks(runs):
                epochs = runs["tokens"][own] / runs["unique_tokens"][own]
                above = runs["loss"][own] / runs["loss"][own].min() - 1
                colour = shade(float(runs["params"][own[0]] / runs["unique_tokens"][own[0]]))
                left.plot(epochs, 100 * above, color=colour, lw=0.9)
                dots(left, epochs, 100 * above, [colour] * len(own), runs=runs["run"][own].tolist(), ms=3.6)
                shown += epochs.tolist()
            logarithmic(left, shown, EPOCHS, most=7)
            left.set_ylim(-1, 40)
            left.set_ylabel("Loss over the lowest − 1, %")
        with drawn.panel(right, "Epochs of the lowest loss"):
            _turns(right, evidence, shade)
        beside(drawn.figure, _named(ratios, shade), "N / U")
    turned = at["turned"] > 0
    drawn.say(
        f"{int(turned.sum())} of {len(at)} trunks have their lowest loss before their longest run"
        + (f", all with N / U of at least {digits.plain(float(ratios[turned].min()), 2)}" if turned.any() else "")
        + (
            f"; from the lowest to the longest the loss rises by up to {digits.percent(float(at['risen'].max()))}."
            if turned.any()
            else "."
        )
    )
    near = turned & (ratios > 0.5) & (ratios < 2)
    if near.any():
        mean = float(np.exp(np.log(at["epochs"][near]).mean()))
        drawn.say(
            f"Near N = U the best number of epochs is {digits.plain(mean, 2)} ({_sets(int(near.sum()))}), where "
            "Lovelace et al. have 5 to 10."
        )


def _turns(axes: Axes, evidence: DataConstrained, shade: Any) -> None:
    at = evidence.turns
    ratios, turned = at["params"] / at["unique_tokens"], at["turned"] > 0
    logarithmic(axes, ratios, "N / U, parameters per unique token", at["epochs"], most=6, write_y=digits.short)
    sets = np.unique(at["unique_tokens"])
    for k, U in enumerate(sets):
        own = at["unique_tokens"] == U
        style: dict[str, Any] = {"marker": SYMBOLS[k % len(SYMBOLS)], "ms": 5}
        dots(axes, ratios[own & turned], at["epochs"][own & turned], [shade(r) for r in ratios[own & turned]], **style)
        for r, e in zip(ratios[own & ~turned], at["epochs"][own & ~turned], strict=True):
            axes.plot(r, e, ls="", mfc="white", mec=shade(r), mew=1.0, **style)
        axes.plot([], [], ls="", color=GREY, label=f"U = {digits.short(U)}", **style)
    with fixed_limits(axes):
        try:
            law = evidence.rivals.penalty.law
            U = float(sets[len(sets) // 2])
            x = np.geomspace(ratios.min(), ratios.max(), 40)
            axes.plot(x, [law.best_epochs(float(r) * U, U) for r in x], color=LAW, lw=1.0, zorder=2,
                      label=f"penalty, U = {digits.short(U)}")  # fmt: skip
        except Undecided:
            pass
    axes.set_ylim(axes.get_ylim()[0] / 4, None)  # room for the legend
    axes.set_ylabel("Best epochs")
    legend(axes, "lower left")


def figure_4(evidence: DataConstrained, drawn: Drawn) -> None:
    """Measured over predicted loss, less 1, over epochs, in the colour of N / U, of the runs that repeat: above 0 a run
    is worse than the law has it. Each run is predicted from a fit that has not seen its size on its unique tokens."""
    drawn.tell(evidence.sums)
    found = evidence.rivals
    runs = found.runs
    own = runs.chosen(~repeats.new(runs))
    errors = found.held_out()
    epochs, ratios = own["tokens"] / own["unique_tokens"], own["params"] / own["unique_tokens"]
    shade = tints(ratios)
    drawn.points(
        {"run": run, "params": n, "unique_tokens": u, "epochs": e, "loss": L}
        | {f"held-out error, {name}": float(errors[name][k]) for name in errors}
        for k, (run, n, u, e, L) in enumerate(
            zip(own["run"], own["params"], own["unique_tokens"], epochs, own["loss"], strict=True)
        )
    )
    every = 100 * np.concatenate(list(errors.values()))
    margin = 0.05 * float(np.nanmax(every) - np.nanmin(every))
    with rc_context(STYLE):
        drawn.figure, each = panels(2)
        for axes, name in zip(each, errors, strict=True):
            with drawn.panel(axes, name.capitalize()):
                level(axes)
                logarithmic(axes, epochs, EPOCHS, most=7)
                for n, u in sorted(set(zip(own["params"], own["unique_tokens"], strict=True))):
                    k = np.flatnonzero((own["params"] == n) & (own["unique_tokens"] == u))
                    k = k[np.argsort(epochs[k])]
                    axes.plot(epochs[k], 100 * errors[name][k], color=shade(n / u), lw=0.9, zorder=3)
                dots(axes, epochs, 100 * errors[name], [shade(r) for r in ratios], runs=own["run"].tolist(), ms=4)
                axes.set_ylim(np.nanmin(every) - margin, np.nanmax(every) + margin)
        each[0].set_ylabel("Measured over predicted loss − 1, %")
        beside(drawn.figure, _named(ratios, shade), "N / U")
    both = np.all([np.isfinite(error) for error in errors.values()], axis=0)  # where neither descent was lost
    if not both.any():
        raise Undecided("no trunk is predicted by both laws from the others")
    rms = {name: float(np.sqrt(np.mean(error[both] ** 2))) for name, error in errors.items()}
    worst = {name: float(np.max(np.abs(error[both]))) for name, error in errors.items()}
    drawn.say(
        f"Of {'' if both.all() else f'{int(both.sum())} of '}the {len(own)} runs that repeat, unseen, "
        + " and ".join(
            f"{name} misses {digits.percent(rms[name])} rms and {digits.percent(worst[name])} at worst"
            for name in errors
        ),
        f"The law of new tokens that both share misses its own {evidence.base.n_runs} runs by "
        f"{digits.percent(evidence.base.residuals.rms)} rms: what is below that says nothing of repetition.",
        "Effective data cannot rise with training, so it has no best number of epochs.",
        _shares_of_draws(evidence),
    )


def _shares_of_draws(evidence: DataConstrained) -> str:
    ratio = evidence.drawn["ratio"]
    ratio = ratio[np.isfinite(ratio)]
    if not len(ratio):
        return ""
    share = digits.percent(float((ratio < 1).mean()))
    return f"With the trunks drawn again the penalty fits better in {share} of the draws."


def table_1(evidence: DataConstrained, drawn: Drawn) -> None:
    """The constants of both laws on our runs, with the law of new tokens as it is and with all constants fitted
    together, and on the 182 public runs of Muennighoff et al."""
    drawn.tell(evidence.power("delta"), evidence.power("kappa"))
    rows: list[dict[str, Any]] = []
    for way, found in (("law of new tokens first", evidence.rivals), ("all together", evidence.free)):
        for name, one in found.fits.items():
            rows.append(
                {"runs": "ours", "law": name, "fitted": way, "n": one.n_runs, "Huber sum": one.objective}
                | {"rms": one.residuals.rms, "status": str(one.status)}
                | {c: float(v) for c, v in one.constants.items()}
                | {f"{c} {end}": float(one.intervals[c][k]) for c in one.constants if c in rivals.OF_REPETITION
                   for k, end in enumerate(("low", "high"))}
            )  # fmt: skip
    rows += PUBLIC_FITS
    drawn.points(rows)
    law = evidence.base.law
    drawn.say(
        f"The law of new tokens: E = {law.E:.3g}, A = {law.A:.3g}, B = {law.B:.3g}, alpha = {law.alpha:.3g}, "
        f"beta = {law.beta:.3g}, on {evidence.base.n_runs} runs.",
        "On the 182 public runs with the paper's law of new tokens the sums are 0.01583 at the published R_D and R_N, "
        "0.01581 refitted, 0.02699 for a penalty with delta = kappa = 1 and 0.01098 with both free; with all constants "
        "free 0.00657 and 0.00513.",
    )


PUBLIC_FITS = (
    {"runs": "182 public", "law": "effective data", "fitted": "law of new tokens first", "n": 182,
     "Huber sum": 0.01583, "R_D": 15.387756, "R_N": 5.309743},
    {"runs": "182 public", "law": "penalty", "fitted": "law of new tokens first", "n": 182,
     "Huber sum": 0.01098, "P": 0.318, "delta": 0.160, "kappa": 0.289},
)  # fmt: skip


def figure_5(evidence: DataConstrained, drawn: Drawn) -> None:
    """Loss over epochs by weight decay and dropout; each panel one size on one set of unique tokens: of each size the
    set with most arms and most parameters a token. Losses above those of the first epoch are cut."""
    drawn.tell(evidence.by_decay)
    every = {PLAIN: evidence.runs_of(PLAIN, warmup=1.0)} | {
        arm: evidence.runs_of(arm, warmup=1.0) for arm in evidence.arms
    }
    where: dict[tuple[float, float], list[Arm]] = {}
    for arm, runs in every.items():
        for own in repeats.trunks(runs):
            where.setdefault((float(runs["params"][own[0]]), float(runs["unique_tokens"][own[0]])), []).append(arm)
    places = _places({place: len(arms) for place, arms in where.items() if len(arms) > 1})
    if not places:
        raise Undecided("no size was trained on the same unique tokens with and without dropout or weight decay")
    rows: list[dict[str, Any]] = []
    order = sorted(every)
    with rc_context(STYLE):
        drawn.figure, each = panels(len(places), beyond=0.35)
        for axes, (N, U) in zip(each, places, strict=True):
            axes.set_title(f"N = {digits.short(N)}, U = {digits.short(U)}")
            shown = []
            for arm in where[N, U]:
                runs = every[arm]
                own = next(o for o in repeats.trunks(runs)
                           if runs["params"][o[0]] == N and runs["unique_tokens"][o[0]] == U)  # fmt: skip
                epochs, loss = runs["tokens"][own] / U, runs["loss"][own]
                axes.plot(epochs, loss, lw=1.0, **symbol(order.index(arm), ms=4))
                shown += [*zip(epochs.tolist(), loss.tolist(), strict=True)]
                rows += [{"params": N, "unique_tokens": U, "weight_decay": arm.weight_decay, "dropout": arm.dropout,
                          "epochs": e, "loss": L} for e, L in zip(epochs, loss, strict=True)]  # fmt: skip
            x, y = np.array(shown).T
            first = y[x == x.min()].max()
            logarithmic(axes, x, EPOCHS, np.minimum(y, 1.02 * first), most=7)
        each[0].set_ylabel(LOSS)
        styles = [(f"{arm.weight_decay:g}, {arm.dropout:g}", symbol(k, ms=4, lw=1.0)) for k, arm in enumerate(order)]
        beside(drawn.figure, styles, "Decay, dropout")
    drawn.points(rows)
    drawn.say(*(_bought(rows, N, U) for N, U in places))


def _places(arms: Mapping[tuple[float, float], int]) -> list[tuple[float, float]]:
    """Three of the places, by size: of each size the one with most arms, and most parameters a token, and of the sizes
    those with most arms; where there are fewer sizes, more places of them. arms: at each N and U."""
    order = sorted(arms, key=lambda place: (-arms[place], -place[0] / place[1]))
    first = [place for k, place in enumerate(order) if place[0] not in {before[0] for before in order[:k]}]
    return sorted([*first, *(place for place in order if place not in first)][:3])


def _bought(rows: list[dict[str, Any]], N: float, U: float) -> str:
    """The lowest loss of each arm at one place, and its epochs."""
    best: dict[Arm, tuple[float, float]] = {}
    for row in rows:
        if (row["params"], row["unique_tokens"]) == (N, U):
            arm = Arm(row["weight_decay"], row["dropout"])
            best[arm] = min(best.get(arm, (np.inf, 0.0)), (row["loss"], row["epochs"]))
    plain = best[PLAIN][0] if PLAIN in best else np.nan
    said = [
        f"{arm.words} {low:.3f} at {epochs:g} epochs"
        + ("" if arm == PLAIN else f" ({digits.percent(low / plain - 1, sign=True)})")
        for arm, (low, epochs) in sorted(best.items())
    ]
    return f"N = {digits.short(N)} on {digits.short(U)} unique tokens, lowest loss: {'; '.join(said)}."


def figure_6(evidence: DataConstrained, drawn: Drawn) -> None:
    """P, delta and kappa of the penalty P R^delta (N / U)^kappa over weight decay, each arm fitted to its own runs with
    the law of new tokens of the unregularised ones times what one epoch of the arm costs, and 95 % intervals; those
    without an end are left out."""
    constants = ("P", "delta", "kappa")
    rows: list[dict[str, Any]] = []
    for arm in (PLAIN, *evidence.arms):
        with drawn.part("the penalty of each arm"):
            found = evidence.penalty_of_its_own(arm)
            at = repeats.turns(evidence.runs_of(arm, warmup=1.0))
            once = evidence.one_epoch(arm) if arm != PLAIN else np.zeros(0)
            rows.append(
                {**arm._asdict(), "n": found.n_runs, "trunks": len(at), "turned": int(at["turned"].sum())}
                | {name: float(found.constants[name]) for name in constants}
                | {f"{name} {end}": float(found.intervals[name][k]) for name in constants
                   for k, end in enumerate(("low", "high"))}
                | {"rms": found.residuals.rms, "one epoch": float(np.expm1(once.mean())) if len(once) else np.nan}
            )  # fmt: skip
    if len(rows) < 2:
        raise Undecided("fewer than two arms have runs of enough sizes and sets of unique tokens for a penalty each")
    decays, dropouts = (sorted({row[name] for row in rows}) for name in ("weight_decay", "dropout"))
    with rc_context(STYLE):
        drawn.figure, each = panels(len(constants), beyond=0.35)
        for axes, name in zip(each, constants, strict=True):
            axes.set_title("P, nats per token" if name == "P" else name)
            for k, dropout in enumerate(dropouts):
                own = [row for row in rows if row["dropout"] == dropout]
                x = np.array([decays.index(row["weight_decay"]) for row in own]) + 0.12 * (k - (len(dropouts) - 1) / 2)
                y, low, high = (np.array([row[key] for row in own]) for key in (name, f"{name} low", f"{name} high"))
                ended = np.isfinite(low) & np.isfinite(high) & ((low > 0) | (name != "P"))
                axes.vlines(x[ended], low[ended], high[ended], color=symbol(k + 1)["color"], lw=1.0)
                axes.plot(x, y, **symbol(k + 1, ms=5, lw=0.8))
            if name == "P":
                axes.set_yscale("log")
            axes.set_xticks(range(len(decays)), [f"{decay:g}" for decay in decays])
            axes.set_xlim(-0.5, len(decays) - 0.5)
            axes.set_xlabel("Weight decay")
        beside(drawn.figure, [(f"{p:g}", symbol(k + 1, ms=5, lw=0.8)) for k, p in enumerate(dropouts)], "Dropout")
    drawn.points(rows)
    drawn.say(*map(_penalty_said, rows))
    drawn.say("P is the penalty of a second epoch where N = U; what an arm costs in one epoch is no part of it.")


def _penalty_said(row: Mapping[str, Any]) -> str:
    """An arm's penalty, where its trunks turn, and what it costs where nothing is repeated."""
    arm = Arm(row["weight_decay"], row["dropout"])
    law = f"{digits.plain(row['P'], 2)} R^{digits.plain(row['delta'], 2)} (N / U)^{digits.plain(row['kappa'], 2)}"
    cost = row["one epoch"]
    return (
        f"{arm.words}: {law} on {row['n']} runs, missed by {digits.percent(row['rms'])} rms; {row['turned']} of "
        f"{row['trunks']} trunks have their lowest loss before their longest run"
        + (f"; one epoch ends {digits.percent(cost, sign=True)} from the unregularised" if np.isfinite(cost) else "")
    )


def figure_7(evidence: DataConstrained, drawn: Drawn) -> None:
    """Left: loss on held-out text over the tokens processed, of the text repeated, of new tokens (black), and with a
    share of code in place of repeats, of one size and set. Right: the loss with code over that of the text repeated for
    as many tokens, less 1, by the share of code, in the colour of N / U; 2, 4 and 8 epochs beside each other. Bars are
    of 95 %, of the noise of the seed."""
    drawn.tell(*(evidence.half_code(epochs) for epochs in (2, 4, 8)))
    found = evidence.filled
    drawn.points(named(found, list(found)))
    ratios = found["params"] / found["unique_tokens"]
    shade = tints(ratios)
    with rc_context(STYLE):
        drawn.figure, (left, right) = panels(2)
        with drawn.panel(left, "One size"):
            _filled_size(left, evidence)
        with drawn.panel(right, "Loss over that of the text repeated"):
            level(right)
            shares, epochs = np.unique(found["share"]), np.unique(found["epochs"])
            places = sorted(set(ratios))
            columns = (found["share"], ratios, found["epochs"], 100 * found["change"], 100 * found["half"])
            for share, ratio, e, change, half in zip(*columns, strict=True):
                n = int(np.searchsorted(epochs, e)) * len(places) + places.index(ratio)
                x = int(np.searchsorted(shares, share)) + 0.8 * ((n + 0.5) / (len(epochs) * len(places)) - 0.5)
                mark = SYMBOLS[int(np.searchsorted(epochs, e)) % len(SYMBOLS)]
                right.errorbar([x], [change], [half], color=shade(ratio), marker=mark, ms=5, elinewidth=0.9, zorder=3)
            right.set_xticks(range(len(shares)), [digits.percent(share) for share in shares])
            right.set_xlabel("Share of code")
            right.set_ylabel("Loss over that of the text repeated − 1, %")
            for n, e in enumerate(epochs):
                right.plot([], [], ls="", color=GREY, marker=SYMBOLS[n % len(SYMBOLS)], label=f"{e:g} epochs")
            legend(right, "upper left")
        beside(drawn.figure, _named(ratios, shade), "N / U")
    drawn.say(*_filled(evidence), ELSEWHERE)


def _filled_size(axes: Axes, evidence: DataConstrained) -> None:
    """The size and the set whose N / U is nearest that of the claims."""
    (N, U), found = evidence.filled_place, evidence.filled
    runs = evidence.runs_of(PLAIN, warmup=1.0)
    here = found.chosen((found["params"] == N) & (found["unique_tokens"] == U))
    on_set = np.isin(np.arange(len(runs)), repeats.on_set(runs, N, U))
    own = runs.chosen(on_set & (runs["tokens"] <= here["tokens"].max()))
    fresh = runs.chosen(repeats.new(runs) & (runs["params"] == N) & (runs["tokens"] >= U))
    fresh = fresh.chosen(fresh["tokens"] <= here["tokens"].max())
    every = np.concatenate([own["loss"], here["loss"], fresh["loss"]])
    logarithmic(axes, np.concatenate([own["tokens"], here["tokens"]]), TOKENS, every)
    axes.plot(*means(fresh, "tokens"), color=INK, lw=1.4, label="new tokens", zorder=4)
    axes.plot(*means(own, "tokens"), **symbol(0, lw=1.0, label="text repeated"))
    for k, share in enumerate(np.unique(here["share"])):
        some = here["share"] == share
        axes.plot(here["tokens"][some], here["loss"][some],
                  **symbol(k + 1, lw=1.0, label=f"{digits.percent(share)} code"))  # fmt: skip
    axes.set_title(f"N = {digits.short(N)}, U = {digits.short(U)}")
    axes.set_ylabel(LOSS)
    legend(axes, "lower left")


def _filled(evidence: DataConstrained) -> Iterator[str]:
    """What code in place of repeats changes at each place, and the noise of the seed."""
    found = evidence.filled
    for N, U in sorted(set(zip(found["params"], found["unique_tokens"], strict=True)), key=lambda p: p[0] / p[1]):
        own = found.chosen((found["params"] == N) & (found["unique_tokens"] == U))
        said = [
            f"{digits.percent(share)} code in {e:g} U {digits.percent(change, sign=True)} (± {digits.percent(half)})"
            for share, e, change, half in zip(*(own[k] for k in ("share", "epochs", "change", "half")), strict=True)
        ]
        yield (
            f"N = {digits.short(N)} on {digits.short(U)} tokens of text (N / U = {digits.plain(N / U, 2)}), over the "
            f"text repeated alone for as many tokens: {', '.join(said)}."
        )
        half = own.chosen((own["share"] == 0.5) & np.isfinite(own["added"]))
        if len(half):
            added = ", ".join(
                f"{times:g} {digits.percent(change, sign=True)}"
                for times, change in zip(half["times"], half["added"], strict=True)
            )
            yield (
                "As much code beside all of that text changes its loss, for twice the compute, by epochs of the text: "
                f"{added}."
            )
    yield evidence.known_noise.sentence()
