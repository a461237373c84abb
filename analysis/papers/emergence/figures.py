"""The page's figures and its table."""

import numpy as np
from matplotlib import rc_context

from analysis import digits
from analysis.confidence import LEVEL
from analysis.page.canvas import STYLE, Shades, panels
from analysis.papers.claim import Undecided
from analysis.papers.drawing import beside, dots, fixed_limits, groups_legend, level, logarithmic, symbol, tints
from analysis.papers.drawn import Drawn
from analysis.papers.emergence.evidence import (
    BETWEEN,
    METRICS,
    NEAR,
    PRODUCT,
    TESTS,
    Answers,
    Emergence,
    questions,
    questions_for,
)

SIZE = "Parameters N"
STEP = 0.2, 0.8  # of the questions: below, a digit is not learnt, above it is
APART = 0.8  # share of digits outside these from which they are said to step
LABELS = {
    "exact match": "Exact match",
    "wrong digits": "Wrong digits",
    "Brier score": "Brier score per digit",
    "log-likelihood": "ln p of the answer",
}
SHORT = {"reversed=1": "last digit first", "copy": "copies", "modsum": "sums modulo 997"}


def figure_1(evidence: Emergence, drawn: Drawn) -> None:
    """The same answers of the longest runs under four metrics, over the size N: means over seeds, a line for each
    number of digits of the answer, from its first, that are asked for."""
    found = evidence.longest
    lengths = range(1, found.right.shape[1] + 1)
    means = {(name, L): mean_by_size(found.N, found.metric(name, L)) for name in METRICS for L in lengths}
    N = np.unique(found.N)
    drawn.points(
        {"params": n, "digits": L, **{name.replace(" ", "_"): means[name, L][k] for name in METRICS}}
        for L in lengths
        for k, n in enumerate(N)
    )
    with rc_context(STYLE):
        drawn.figure, axes = panels(4, left=0.8)
        for own, name in zip(axes, METRICS, strict=True):
            with drawn.panel(own, LABELS[name]):
                logarithmic(own, N, SIZE, most=3)
                for k, L in enumerate(lengths):
                    own.plot(N, means[name, L], lw=1.0, **symbol(k))
        beside(drawn.figure, [(f"{L}", symbol(k)) for k, L in enumerate(lengths)], "digits")
    first, last = (
        [digits.plain(float(means[name, lengths[-1]][end]), 2) for name in ("exact match", "wrong digits")]
        for end in (0, -1)
    )
    drawn.say(
        f"From the smallest size to the largest the mean exact match of all digits goes from {first[0]} to {last[0]}, "
        f"the wrong digits of an answer from {first[1]} to {last[1]}."
    )
    halves = [f"{name} at N = {digits.short(half_way(N, means[name, lengths[-1]]))}" for name in METRICS]
    drawn.say(f"The first size at which a mean is half-way or further: {', '.join(halves)}.")


def table_1(evidence: Emergence, drawn: Drawn) -> None:
    """The emergence score of each metric, sign(argmax − argmin) (max − min) / sqrt(median of squared steps), of the
    means over seeds of the longest runs."""
    drawn.show(*(evidence.score(name) for name in METRICS))


def figure_2(evidence: Emergence, drawn: Drawn) -> None:
    """Exact match of each run of the sums, over N, measured with its first 50 questions, its first 500 and all 20,000;
    the broken line is one right answer, and runs without any lie below it."""
    drawn.tell(evidence.hidden)
    found = evidence.sums
    tests = [n for n in TESTS if n <= found.wrong.shape[1]]
    exact = {n: (found.wrong[:, :n] == 0).mean(1) for n in tests}
    drawn.points(
        {"run": run, "params": N, "tokens": D, "seed": seed, **{f"of_{n}": exact[n][k] for n in tests}}
        for k, (run, N, D, seed) in enumerate(
            zip(found.runs["run"], found.N, found.runs["tokens"], found.runs["seed"], strict=True)
        )
    )
    lowest = 0.4 / max(tests)
    with rc_context(STYLE):
        drawn.figure, axes = panels(len(tests), left=0.8)
        for own, n in zip(np.atleast_1d(axes), tests, strict=True):
            with drawn.panel(own, f"{n:,} questions"):
                logarithmic(own, found.N, SIZE, [lowest, 1.0], most=5)
                shown = np.maximum(exact[n], lowest)
                dots(own, spread(found.N), shown, ["#1d2433"] * len(shown), runs=found.runs["run"].tolist(), ms=4)
                own.axhline(1 / n, color="#b3261e", lw=0.8, dashes=(4, 3))
                own.set_ylabel("Exact match")
    zeros = [f"{int((exact[n] == 0).sum())} with {n:,}" for n in tests]
    drawn.say(f"Of {len(found.N)} runs so many have no right answer: {', '.join(zeros)} questions.")
    if (above := exact[tests[-1]][exact[tests[-1]] > 0]).size and (least := float(above.min())) < 1:
        drawn.say(
            f"To see one right answer of the run with the lowest exact match above 0, {digits.plain(least)}, takes "
            f"{questions(least):,} questions with a chance of {digits.percent(LEVEL)}; to know it to 10 %, "
            f"{questions_for(least, 0.1):,.0f}"
        )


def figure_3(evidence: Emergence, drawn: Drawn) -> None:
    """Exact match over the loss per digit, at every evaluation of every run of the sums; colours, the size. Were it a
    function of the loss alone, all would lie on one curve."""
    table = evidence.by_loss
    drawn.points(
        {name: table[name][k] for name in ("run", "params", "seed", "tokens", "loss", "exact")}
        for k in range(len(table))
    )
    shades = Shades.of(table)
    with rc_context(STYLE):
        drawn.figure, (left, right) = panels(2, left=0.8)
        for own, title in ((left, "Exact match"), (right, "The same, in logarithms")):
            with drawn.panel(own, title):
                colours = [shades(n) for n in table["params"]]
                shown = table["exact"] if own is left else np.maximum(table["exact"], 1e-5)
                logarithmic(own, table["loss"], "Loss, nats per digit", shown if own is right else None)
                dots(own, table["loss"], shown, colours, runs=table["run"].tolist(), ms=4)
                own.set_ylabel("Exact match")
        sizes = np.unique(table["params"])
        style = [(digits.short(n), {"color": shades(n), "marker": "o", "ms": 4, "lw": 0}) for n in sizes]
        beside(drawn.figure, style, "N")
    factor, loss, exact = evidence.spread
    if factor > 1:
        drawn.say(
            f"At losses within {digits.percent(NEAR - 1)} of one another exact match of two runs differs, chance taken "
            f"off, by a factor of up to {digits.plain(factor, 2)}: it is {digits.plain(float(exact[0]), 2)} at a loss "
            f"of {digits.plain(float(loss[0]), 3)} and {digits.plain(float(exact[1]), 2)} at "
            f"{digits.plain(float(loss[1]), 3)}."
        )
    else:
        drawn.say(f"At losses within {digits.percent(NEAR - 1)} of one another no two runs differ by more than chance.")


def figure_4(evidence: Emergence, drawn: Drawn) -> None:
    """Left: exact match of single runs, by size: a point for each seed and length, and the mean over the seeds of the
    longest as a line. A guess of one digit of ten is worth a factor of 10: the broken lines. Right: how many of these
    runs, of all sizes and lengths, have which exact match."""
    drawn.show(evidence.between)
    found = evidence.sums
    longest = found.runs["tokens"] == found.runs["tokens"].max()
    exact, N = found.exact[:, -1], np.unique(found.N)
    lowest = 0.4 / found.wrong.shape[1]
    drawn.points(
        {"run": run, "params": n, "tokens": D, "seed": seed, "exact": value}
        for run, n, D, seed, value in zip(
            found.runs["run"], found.N, found.runs["tokens"], found.runs["seed"], exact, strict=True
        )
    )
    of_d = tints(found.runs["tokens"])
    with rc_context(STYLE):
        drawn.figure, (left, right) = panels(2, left=0.8)
        for own in (left, right):
            with drawn.panel(own, "Seeds by size" if own is left else "How often"):
                shown = np.maximum(exact, lowest)
                if own is left:
                    logarithmic(own, found.N, SIZE, shown)
                    colours = [of_d(d) for d in found.runs["tokens"]]
                    dots(own, spread(found.N), shown, colours, runs=found.runs["run"].tolist(), ms=4.5)
                    own.plot(N, mean_by_size(found.N[longest], exact[longest]), color="#b3261e", lw=1.2)
                    for step in (0.1, 0.01, 0.001):
                        own.axhline(step, color="#999999", lw=0.6, dashes=(4, 3))
                    own.set_ylabel("Exact match")
                else:
                    own.hist(np.log10(shown), bins=np.arange(-4.75, 0.01, 0.25), color="#2f6db5")
                    own.set_xlabel("log10 of exact match")
                    own.set_ylabel("Runs")
        style = [
            (digits.short(d), {"color": of_d(d), "marker": "o", "ms": 4, "lw": 0})
            for d in np.unique(found.runs["tokens"])
        ]
        beside(drawn.figure, style, "tokens")
    drawn.find(_learnt(evidence.longest))
    claim = evidence.between
    if claim.ours is not None and claim.interval is not None:
        low, high = claim.interval
        most = "fewer than half" if high < 0.5 else "more than half" if low > 0.5 else "whether half are is not decided"
        drawn.say(
            f"At sizes whose mean exact match of the longest runs is half-way ({BETWEEN[0]:g} to {BETWEEN[1]:g}), "
            f"{digits.percent(claim.ours)} of these runs are ({digits.percent(low)} to {digits.percent(high)}): {most}."
        )


def figure_5(evidence: Emergence, drawn: Drawn) -> None:
    """Measured exact match over what is predicted from the shares of right digits, given the right ones before: their
    mean to the power of the length (p^L), and their product."""
    drawn.tell(evidence.ratio("power"), evidence.ratio("product"))
    ratios, intervals, _ = evidence.ratios("product")
    own = ratios[np.ptp(intervals, axis=1) <= 2 * PRODUCT]
    if len(own):
        drawn.say(
            f"In the {len(own)} of the {len(ratios)} longest runs whose interval is within ± {PRODUCT:g} it is "
            f"{own.min():.2f} to {own.max():.2f} of the product."
        )
    ratios, intervals, _ = evidence.ratios("power")
    own = ratios[np.ptp(intervals, axis=1) <= 2 * PRODUCT]
    if len(own):
        drawn.say(f"In the {len(own)} such runs of p^L it is {own.min():.2f} to {own.max():.2f} of it.")
    middle = [float(np.median(evidence.ratios(by)[0])) for by in ("power", "product")]
    drawn.say(f"In the middle one of the longest it is {middle[0]:.2f} of p^L and {middle[1]:.2f} of the product.")
    found = evidence.sums
    exact = found.exact[:, -1]
    drawn.points(
        {"run": run, "params": N, "power": a, "product": b, "exact": c}
        for run, N, a, b, c in zip(found.runs["run"], found.N, found.power, found.product, exact, strict=True)
    )
    lowest = 0.4 / found.wrong.shape[1]
    with rc_context(STYLE):
        drawn.figure, (left, right) = panels(2, left=0.8)
        for own, title, predicted in (
            (left, "p^L, of the mean p", found.power),
            (right, "Product over the digits", found.product),
        ):
            with drawn.panel(own, title):
                x = np.maximum(predicted, lowest)
                logarithmic(own, x, "Predicted exact match", np.maximum(exact, lowest), write=digits.plain)
                dots(own, x, np.maximum(exact, lowest), ["#1d2433"] * len(x), runs=found.runs["run"].tolist(), ms=4)
                with fixed_limits(own):
                    own.plot([lowest, 1], [lowest, 1], color="#b3261e", lw=0.9)
                own.set_ylabel("Measured")


def figure_6(evidence: Emergence, drawn: Drawn) -> None:
    """Other tasks, over the size: exact match of each run and its loss per digit of the answer. Sums whose last digit
    comes first need no carry to be foreseen; copies need one operation; sums modulo 997 have no carry to learn from."""
    found = {task: evidence.answers("others", task) for task in evidence.tasks}
    names = {task: next((words for key, words in SHORT.items() if key in task), task) for task in found}
    drawn.points(
        {"run": run, "task": task, "params": N, "seed": seed, "loss": loss, "exact": exact}
        for task, own in found.items()
        for run, N, seed, loss, exact in zip(
            own.runs["run"], own.N, own.runs["seed"], own.loss.mean(1), own.exact[:, -1], strict=True
        )
    )
    with rc_context(STYLE):
        drawn.figure, (left, right) = panels(2, left=0.8)
        for own in (left, right):
            with drawn.panel(own, "Exact match" if own is left else "Loss, nats per digit"):
                logarithmic(own, np.concatenate([one.N for one in found.values()]), SIZE)
                for k, one in enumerate(found.values()):
                    values = one.exact[:, -1] if own is left else one.loss.mean(1)
                    own.plot(np.unique(one.N), mean_by_size(one.N, values), lw=0.9, **symbol(k))
        groups_legend(left, [(name, symbol(k)) for k, name in enumerate(names.values())], "center right")
    for task, own in found.items():
        drawn.say(f"{names[task]}: {_first_size(own)}.")


def figure_7(evidence: Emergence, drawn: Drawn) -> None:
    """Copies of six digits mixed into text, by their share of the tokens: exact match, loss per digit of the answer,
    and the loss on the held-out text, over the size."""
    found = evidence.answers("mixed")
    shares = np.array([float(source.rpartition("+")[2].partition("*")[0]) for source in found.runs["data"]])
    values = {"Exact match": found.exact[:, -1], "Loss, nats per digit": found.loss.mean(1), "Loss": found.runs["loss"]}
    drawn.points(
        {"run": run, "params": N, "share": share, "exact": exact, "answer_loss": loss, "loss": whole}
        for run, N, share, exact, loss, whole in zip(found.runs["run"], found.N, shares, *values.values(), strict=True)
    )
    with rc_context(STYLE):
        drawn.figure, axes = panels(3, left=0.8)
        for own, (name, value) in zip(axes, values.items(), strict=True):
            with drawn.panel(own, name if name != "Loss" else "Loss of the text"):
                logarithmic(own, found.N, SIZE)
                for k, share in enumerate(np.unique(shares)):
                    here = shares == share
                    own.plot(np.unique(found.N[here]), mean_by_size(found.N[here], value[here]), lw=0.9, **symbol(k))
                if name != "Loss":
                    level(own)
        beside(drawn.figure, [(f"{share:.0%}", symbol(k)) for k, share in enumerate(np.unique(shares))], "share")
    for share in np.unique(shares):
        own = found.where(shares == share)
        drawn.say(f"With {share:.0%} of the tokens: {_first_size(own)}.")


def _learnt(found: Answers) -> str:
    """How many digits the runs have learnt, and whether a digit is learnt or not, or half."""
    most = found.right.shape[1]
    learnt = (found.right > 0.5).sum(1)
    told = [f"{(learnt == k).sum()} have learnt {k if k < most else f'all {k}'}" for k in np.unique(learnt)]
    apart = float(((found.right < STEP[0]) | (found.right > STEP[1])).mean())
    what = "the loss itself steps, a digit at a time" if apart > APART else "digits are learnt by and by"
    return (
        f"Of the {len(learnt)} longest runs {', '.join(told)} of the digits, and {digits.percent(apart)} of all digits "
        f"are right in fewer than {STEP[0]:g} or more than {STEP[1]:g} of the questions: {what}"
    )


def _first_size(found: Answers) -> str:
    """At which sizes the mean exact match is above a half."""
    N = np.unique(found.N)
    mean = mean_by_size(found.N, found.exact[:, -1])
    above = mean > 0.5
    if not above.any():
        return f"no size answers half of the questions; the best is {digits.plain(float(mean.max()), 2)}"
    sizes = " and ".join(digits.short(float(n)) for n in N[above])
    if above[above.argmax() :].all():
        return f"half of the questions are answered from N = {digits.short(float(N[above.argmax()]))} on"
    return f"half of the questions are answered at N = {sizes}, not at every larger size ({_seeds(found)})"


def _seeds(found: Answers) -> str:
    most = max(int((found.N == n).sum()) for n in found.N)
    return "one run each" if most == 1 else f"up to {most} runs each"


def half_way(N: np.ndarray, values: np.ndarray) -> float:
    """The first of the sizes at which a value has gone half of its way from the smallest to the largest."""
    gone = np.abs(values - values[0]) >= abs(values[-1] - values[0]) / 2
    return float(N[gone.argmax()])


def mean_by_size(N: np.ndarray, values: np.ndarray) -> np.ndarray:
    if not len(N):
        raise Undecided("no run was asked")
    return np.array([values[N == n].mean() for n in np.unique(N)])


def spread(N: np.ndarray) -> np.ndarray:
    """The sizes, those of several runs a little apart so that all are seen."""
    found = N.astype(float)
    for n in np.unique(N):
        at = np.flatnonzero(N == n)
        found[at] *= np.exp(np.linspace(-0.06, 0.06, len(at)) if len(at) > 1 else 0)
    return found
