"""The page of a study: one self-contained HTML file with its figures inside, and the data of the figures beside it.

    DIR/report/index.html                         opens from disk, fetches nothing
    DIR/report/runs.csv curves.csv positions.csv  what the figures show, at full precision
    DIR/report/findings.json                      every number of the page, with covariances and bootstrap draws

Anybody's table has such a page too (`write_table`): the same table gives the same bytes.

Whatever comes from data is escaped: text is `str`, and only HTML that the page's own modules made is `Markup`.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from markupsafe import Markup, escape

from analysis import digits, findings, laws, records
from analysis.confidence import LEVEL
from analysis.findings import Findings, of_table
from analysis.findings.checks import RATE
from analysis.findings.finding import EXPONENTS, Finding, constants, formula
from analysis.findings.of_table import OfTable
from analysis.findings.study_laws import DOUBLING, LEAST
from analysis.laws.law import Law
from analysis.page import answer_sections, markup, plots, report_runs, table_sections
from analysis.page.canvas import Shades
from analysis.page.markup import tag
from analysis.records import Origin
from analysis.table import Table
from scaling import folders, study
from scaling.errors import InputError

# As printed. Kaplan's C_c is 1.6e7 PF-days; Hoffmann's constants have the digits of their source.
PAPERS = KAPLAN, HOFFMANN, BESIROGLU = "Kaplan et al. (2020)", "Hoffmann et al. (2022)", "Besiroglu et al. (2024)"
PUBLISHED: Mapping[type[Law], Mapping[str, Mapping[str, str]]] = {
    laws.Chinchilla: {
        HOFFMANN: {"E": "1.6934", "A": "406.4", "B": "410.7", "alpha": "0.3392", "beta": "0.2849"},
        BESIROGLU: {
            "E": "1.8172 (1.769 to 1.871)",
            "A": "482.01 (285 to 744)",
            "B": "2085.43 (1042 to 5810)",
            "alpha": "0.3478 (0.317 to 0.373)",
            "beta": "0.3658 (0.331 to 0.415)",
        },
    },
    laws.KaplanND: {KAPLAN: {"N_c": "6.4×10¹³", "D_c": "1.8×10¹³", "alpha_N": "0.076", "alpha_D": "0.103"}},
    laws.KaplanN: {KAPLAN: {"N_c": "8.8×10¹³", "alpha_N": "0.076"}},
    laws.KaplanD: {KAPLAN: {"D_c": "5.4×10¹³", "alpha_D": "0.095"}},
    laws.KaplanC: {KAPLAN: {"C_c": "1.38×10²⁷", "alpha_C": "0.057"}},
}


def write(folder: Path, out: Path | None = None) -> tuple[Path, Findings]:
    """Makes the page of the study in `folder`; an older page is replaced.

    Args:
        out: where it is written, DIR/report if None.

    Returns:
        OUT/index.html, and the findings that it shows.

    Raises:
        InputError: as `files`.
    """
    found, texts = files(folder)
    return put(texts, out or folder / "report"), found


def put(texts: Mapping[str, str], out: Path) -> Path:
    """Writes a page and what stands beside it, name -> text, to the folder `out`: OUT/index.html."""
    for name, text in texts.items():
        folders.write(out / name, text)
    return out / "index.html"


def files(folder: Path) -> tuple[Findings, dict[str, str]]:
    """The findings of the study in `folder`, and its page with what stands beside it: name -> text.

    Raises:
        InputError: not the folder of a study, or no run has a record yet.
    """
    read = records.read(folder)
    whole = study.current(folder)
    found = findings.find(read.runs, read.curves)
    text = page(found, read.curves, read.positions, name=whole.name, question=whole.question, origins=read.origins)
    tables = {"runs.csv": read.runs, "curves.csv": read.curves, "positions.csv": read.positions}
    return found, {
        **{name: rows.csv_text() for name, rows in tables.items()},
        "findings.json": found.to_json() + "\n",
        "index.html": text,
        "findings.txt": found.text() + "\n",
    }


def write_live(folder: Path, every: float, progress: Sequence[str]) -> Path:
    """Makes the page of a study whose runs train, which a browser loads again every so many seconds.

    It shows the curves of all runs; its fits have no bootstrap, and no data are written beside it. `settle` ends it.

    Args:
        progress: what is said of it at the head.
    """
    said = study.current(folder)
    try:
        read = records.read(folder)
    except InputError as error:
        opening = tag("h1", said.name), tag("p", said.question, class_="lede"), _progress([*progress, str(error)])
        text = markup.document(f"{said.name}: scaling laws", opening, [], live=every)
    else:
        found = findings.find(read.runs, read.curves, draws=0)
        what = {"name": said.name, "question": said.question, "origins": read.origins}
        text = page(found, read.curves, read.positions, **what, live=every, progress=progress)
    path = folder / "report" / "index.html"
    folders.write(path, text.encode())
    return path


def settle(path: Path) -> None:
    """Has a page that `write_live` made stay as it is."""
    if path.exists():
        folders.write(path, markup.settled(path.read_text(encoding="utf-8")).encode())


def _progress(lines: Sequence[str]) -> Markup:
    return tag("div", *(tag("p", line) for line in lines), class_="warning progress")


def page(
    found: Findings,
    curves: Table | None,
    positions: Table | None,
    *,
    name: str,
    question: str,
    origins: Sequence[Origin] = (),
    live: float = 0.0,
    progress: Sequence[str] = (),
) -> str:
    """The page as HTML text.

    Args:
        found: what the runs say.
        curves, positions: of `analysis.records.Records`; their figures are left out without them.
        name, question: of the study.
        origins: where and with what it was trained, as far as its records tell.
        live: seconds after which a browser loads it again, with the curves of runs that are not finished; 0 for never.
        progress: of the runs, for its head.
    """
    shades = Shades.of(found.everything)
    sections = [
        ("answers", "What this study asked", answer_sections.content(found, curves)),
        ("laws", "What the runs say", _laws(found)),
        ("curves", "Learning curves", _curves(found, curves, shades, found.everything if live else found.table)),
        ("loss", "Loss against N and D", _surfaces(found, shades)),
        ("constants", "Constants beside the papers'", _constants(found)),
        ("checks", "Checks", _checks(found)),
        ("positions", "Loss by position", _positions(found, positions, shades)),
        ("runs", "Runs", report_runs.runs(found, shades, report_runs.FILES)),
        ("excluded", "Left out", report_runs.excluded(found)),
        ("conventions", "Conventions", report_runs.conventions(found)),
        ("origin", "Where this page comes from", report_runs.origin(found, origins)),
    ]
    head = [_progress(progress)] if progress else []
    opening = tag("h1", name), tag("p", question, class_="lede"), *head, _facts(found), report_runs.what(found)
    return markup.document(f"{name}: scaling laws", opening, sections, runs=found.everything, live=live)


FILES = ("runs.csv", "findings.json")  # beside the page of a table


def write_table(table: Table, out: Path, name: str) -> tuple[Path, OfTable]:
    """Makes the page of anybody's table in the folder `out`; an older page is replaced.

    Returns:
        OUT/index.html, and what it shows.

    Raises:
        InputError: as `files_of_table`.
    """
    found, texts = files_of_table(table, name)
    return put(texts, out), found


def files_of_table(table: Table, name: str) -> tuple[OfTable, dict[str, str]]:
    """As `files`, of anybody's table.

    Raises:
        InputError: no law is about such columns.
    """
    found = of_table.find(table)
    return found, {
        FILES[0]: table.csv_text(),
        FILES[1]: json.dumps(found.to_dict(), indent=1, allow_nan=False) + "\n",
        "index.html": table_page(found, name),
        "findings.txt": found.text() + "\n",
    }


def table_page(found: OfTable, name: str) -> str:
    """The page of a table as HTML text: what it says of size and data, where it has these columns, and all else."""
    study, table = found.study, found.table
    sections: list[markup.Section] = []
    facts = markup.facts([("Rows", str(len(table)), f"of {table.given} in the file")])
    if study:
        shades, facts = Shades.of(study.everything), _facts(study, counted="")
        sections = [
            ("answers", "What these runs are", answer_sections.content(study, None)),
            ("laws", "What the runs say", _laws(study)),
            ("loss", "Loss against N and D", _surfaces(study, shades)),
            ("constants", "Constants beside the papers'", _constants(study)),
        ]
    sections += [
        ("form", "Which form", table_sections.form(found.choice)),
        ("others", "Laws of other columns" if study else "Laws of its columns", table_sections.others(found, table)),
        ("suspects", "Rows that may spoil a law", table_sections.suspects(found)),
        ("ahead", "Larger runs", table_sections.ahead(found)),
        ("split", "How compute is best split", table_sections.allocation(found.allocation, found.unallocated)),
    ]
    if study:
        sections += [
            ("checks", "Checks", _checks(study)),
            ("runs", "Runs", report_runs.runs(study, Shades.of(study.everything), FILES)),
            ("excluded", "Left out", report_runs.excluded(study)),
        ]
    else:
        sections.append(("notes", "Notes", markup.bullets([found.why, *table.notes])))
    sections.append(("origin", "Where this page comes from", report_runs.source(table, FILES)))
    lede = f"What {digits.plural(table.given, 'the row', f'the {table.given} rows')} of a table say."
    opening = tag("h1", name), tag("p", lede, class_="lede"), facts
    return markup.document(f"{name}: scaling laws", opening, sections, runs=table)


# --- sections


def _facts(found: Findings, counted: str = ", non-embedding") -> Markup:
    table, everything = found.table, found.everything

    def between(column: str) -> str:
        low, high = np.nanmin(everything[column]), np.nanmax(everything[column])
        return digits.short(low) if low == high else f"{digits.short(low)} – {digits.short(high)}"

    def values(column: str, what: str) -> str:
        n = len(np.unique(everything[column]))
        return f"{n} {digits.plural(n, what, f'{what}s')}"

    kept = str(len(table)) if table.n_runs == len(table) else table.counted
    facts = [
        ("Runs", str(everything.n_runs), f"{kept} {'finished' if found.answers.no_laws else 'for the laws'}"),
        ("Parameters N", between("params"), f"{values('params', 'size')}{counted}"),
        ("Tokens D", between("tokens"), values("tokens", "length")),
    ]
    if len(table):
        i = int(np.nanargmin(table["loss"]))
        per_byte = float(table["bits_per_byte"][i]) if table.has("bits_per_byte") else math.nan
        bits = f"nats per token; {per_byte:.3f} bits per byte" if math.isfinite(per_byte) else ""
        facts.append(("Lowest loss", f"{table['loss'][i]:.4f}", bits or "nats per token"))
    if found.noise:
        facts.append(("Seed noise", digits.percent(found.noise.sigma), f"{found.noise.nats:.2g} nats per token"))
    for finding in found.laws:
        held = finding.held_out_prediction
        if held:
            facts.append(
                (
                    "Forecast error",
                    digits.percent(held.rms),
                    f"{finding.title}{', doubtful' if finding.doubts else ''}: {held.rule}",
                )
            )
    return markup.facts(facts)


def _laws(found: Findings) -> Markup:
    parts = []
    if found.warnings:
        parts.append(tag("div", *(tag("p", w) for w in found.warnings), class_="warning"))
    if found.answers.no_laws:
        return markup.joined([*parts, tag("p", f"No laws of size and data: {found.answers.no_laws}.")])
    for finding in found.laws:
        fit = finding.fit
        if fit is None:
            inside = tag("p", f"Not identified: {finding.why}.", class_="missing")
        elif not finding.sound:
            inside = tag("p", markup.mathematics(f"Doubtful: {fit.status} ({fit.why})."), class_="missing")
        else:
            inside = tag("p", "L = ", markup.mathematics(formula(finding)), class_="formula")
            intervals = (f"{n} {i}" for n, _, i in constants(fit) if n in EXPONENTS)
            text = f"{digits.percent(LEVEL)} intervals: {', '.join(intervals)}. From {finding.rows}, "
            text += f"which it misses by {digits.percent(fit.residuals.rms)} rms."
            inside += tag("p", markup.mathematics(text))
            if finding.doubts:
                inside += tag("p", markup.mathematics(finding.doubt().strip()), class_="missing")
            inside += markup.joined(tag("p", line) for line in (finding.misfit(), finding.forecast()) if line)
        if fit and finding.evidence:
            inside += tag("p", finding.evidence, class_="evidence")
        parts.append(tag("div", tag("h3", finding.title), tag("div", inside), class_="law", id=finding.law.name))
    return markup.joined(parts)


def _curves(found: Findings, curves: Table | None, shades: Shades, runs: Table) -> Markup:
    if curves is None:
        return Markup()
    shown = _only(curves, runs)
    if not len(shown):
        return Markup()
    compute = found.law(laws.KaplanC)
    fit = compute.fit if compute.sound else None
    doubtful = "the doubtful " if compute.doubts else ""
    return markup.figure(
        plots.learning_curves(shown, ends=found.envelope, fit=fit, shades=shades),
        "curves",
        "Held-out loss along training, one line per run, a dot at its end. At the right the lower envelope of all runs"
        + (f", and {doubtful}L(C) fitted to the marked ends of runs with its 95 % band." if fit else "."),
    )


def _surfaces(found: Findings, shades: Shades) -> Markup:
    parts: list[str] = []
    shown = [f for f in found.laws if f.sound and len(f.law.inputs) == 2]
    if found.answers.no_laws or (found.answers.profiles and not shown):
        return Markup()
    if not shown and len(found.table) > 1:
        caption = "Dots are runs, joined by lines: these runs identify no law of N and D."
        parts.append(markup.figure(plots.against_size_and_data(found.table, shades=shades), "loss", caption))
    for finding in shown:
        fit, rows, column = finding.fit, finding.table, finding.law.inputs[1]
        assert fit is not None
        assert rows is not None
        data = "tokens processed" if column == "tokens" else "unique tokens, repeated until the held-out loss turned"
        sigma = found.noise.sigma if found.noise else None
        parts += [
            tag("h3", finding.title),
            markup.figure(
                plots.against_size_and_data(rows, fit, column=column, shades=shades),
                f"{finding.law.name}-loss",
                f"Dots are runs, lines the fitted law with the 95 % band of its mean, dashed where no run of "
                f"that size or D is. D: {data}.",
            ),
            markup.figure(
                plots.residuals(fit, rows, sigma=sigma, shades=shades),
                f"{finding.law.name}-residuals",
                f"Residuals, rms {digits.percent(fit.residuals.rms)}"
                + (", with two standard deviations of the seed noise shaded." if sigma else "."),
            ),
        ]
    single = [
        markup.figure(
            plots.against_one(finding.fit, finding.table, shades=shades),
            f"{finding.law.name}-loss",
            f"{finding.title} with its 95 % band. {finding.evidence}",
            "half",
        )
        for finding in found.laws
        if finding.sound and finding.fit and finding.table and finding.law in (laws.KaplanN, laws.KaplanD)
    ]
    if single:
        parts += [tag("h3", "One quantity at a time"), tag("div", *single, class_="pair")]
    return markup.joined(parts)


def _constants(found: Findings) -> Markup:
    if found.answers.no_laws:
        return Markup()
    interval_ = f"{digits.percent(LEVEL)} interval"
    head = (
        "Constant", "This study", (interval_, "profile likelihood"), (interval_, "bootstrap"),
        *((paper.partition(" ")[0], paper[-5:-1]) for paper in PAPERS),
    )  # fmt: skip
    rows: list[tuple[str, ...] | str] = []
    for finding in found.laws:
        fit = finding.fit
        state = ": not identified" if fit is None else "" if finding.sound else f": doubtful, {fit.status}"
        state += ": doubtful, as said above" if finding.sound and finding.doubts else ""
        rows.append(f"{finding.title}, {finding.law.source}{state}")
        for c in finding.law.constants():
            papers = (_printed(PUBLISHED[finding.law].get(paper, {}).get(c.name, "–")) for paper in PAPERS)
            rows.append((_symbol(c.name, c.unit), *_estimate(finding, c.name), *papers))
    table = markup.table(head, rows, text=1, wide=True)
    notes = [
        f"Intervals are profile likelihood at {digits.percent(LEVEL)}, which takes runs to be independent, branches of "
        "one trunk apart where there are three trunks or more for each constant; beside them bootstrap percentiles of "
        f"{findings.DRAWS} refits to resampled runs, branches of one trunk together, which cover less than they say "
        "where runs are few. The fits are least squares in the logarithm of the loss, with E "
        "free.",
        "Exponents are pure numbers and may be compared between studies, with care: they depend on the range of sizes, "
        "on which parameters count, and on how well each size was tuned. N_c, D_c, C_c, A, B and E may not: they say "
        "at which size a loss per token is reached, and a token is another piece of another text in every study. "
        "Kaplan's laws have no irreducible loss, so their exponents are far smaller than those beside an E.",
    ]
    parts = [table, *(tag("p", markup.mathematics(n)) for n in notes), _entropy(found)]
    remarks = [
        f"{finding.title}: {note}."
        for finding in found.laws
        if finding.fit
        for note in finding.fit.notes
        if note not in found.everything.notes
    ]
    if remarks:
        parts += [tag("h3", "Remarks of the fits"), markup.bullets(remarks)]
    return markup.joined(parts)


def _estimate(finding: Finding, name: str) -> Iterator[str]:
    """A constant, its interval and its bootstrap interval; in grey where doubtful."""
    fit = finding.fit
    if fit is None:
        yield from ("–", "–", "–")
        return
    value, interval = digits.constant(fit.constants[name], *fit.intervals[name])
    enough = len(fit.draws) * (1 - fit.level) >= 2  # else no draw lies beyond either end
    drawn = digits.constant(fit.constants[name], *fit.percentile[name])[1] if enough and fit.percentile else "–"
    for text in (value, interval, drawn):
        yield tag("span", text, class_="doubtful") if finding.doubts or not finding.sound else text


def _entropy(found: Findings) -> Markup:
    """The source's own entropy beside E, where it is known."""
    if not found.everything.has("loss_floor"):
        return Markup()
    floor = float(np.nanmin(found.everything["loss_floor"]))
    text = f"The entropy of this source is known: {floor:.4f} nats per token, below which no model can get."
    chinchilla = found.law(laws.Chinchilla)
    if chinchilla.sound and chinchilla.fit:
        low, high = chinchilla.fit.intervals["E"]
        text += f" The interval of E {'contains' if low <= floor <= high else 'misses'} it."
    return tag("p", text)


def _checks(found: Findings) -> Markup:
    parts = [tag("h3", "Seed noise"), tag("p", found.noise_sentence())]
    if found.noise:
        rows = [
            (f"{g.params:,.0f}", digits.short(g.tokens), str(len(g.losses)), f"{np.mean(g.losses):.4f}",
             f"{min(g.losses):.4f} to {max(g.losses):.4f}", digits.percent(g.sigma))
            for g in found.noise.groups
        ]  # fmt: skip
        parts.append(markup.table(("N", "D", "Seeds", "Mean loss", "Range", "Standard deviation"), rows))
    parts += [tag("h3", "Learning rate"), tag("p", found.rate_rule)]
    if found.rates:
        rows = [
            (f"{check.params:,.0f}", digits.short(check.tokens), f"{check.rate:.3g}",
             f"{trial.own:.4f}" if math.isfinite(trial.own) else "diverged",
             f"{trial.rate:.3g}", f"{trial.loss:.4f}" if math.isfinite(trial.loss) else "diverged",
             digits.percent(trial.change, sign=True))
            for check in found.rates
            for trial in check.trials
        ]  # fmt: skip
        parts.append(
            markup.table(("N", "D", "Own rate", ("Loss", "of the same seeds"), "Other rate", "Loss", "Change"), rows)
        )
        if not any(check.diverged or check.best for check in found.rates):
            lost = not all(math.isfinite(trial.change) for check in found.rates for trial in check.trials)
            tried = "No other rate that was tried" + (" without diverging" if lost else "")
            least = max(trial.least for check in found.rates for trial in check.trials)
            luck = ", and by more than other seeds do" if least > RATE else ""
            parts.append(tag("p", f"{tried} lowers the loss by over {digits.percent(RATE)}{luck}."))
    parts += [tag("p", sentence) for sentence in found.untried]
    if found.answers.no_laws:
        return markup.joined(parts)
    parts.append(tag("h3", "Are the data ample?"))
    rows = [
        (f"{d.params:,.0f}", digits.short(d.unique_tokens), f"{d.loss:.4f}", digits.percent(d.change), d.basis)
        for d in found.doublings
    ]
    text = (
        "L(N) is about runs that more data would hardly improve. It takes a size only if there the last doubling of "
        f"the unique tokens D lowered the loss by under {digits.percent(DOUBLING)}, and needs {LEAST} such "
        "sizes."
    )
    parts += [
        tag("p", text),
        markup.table(("N", "Largest D", "Loss", "Last doubling took off", "Seen from"), rows),
    ]
    for finding in found.laws:
        if finding.held_out_prediction and len(finding.law.inputs) == 2:
            f = finding.held_out_prediction
            parts += [tag("h3", f"Forecast of the largest models: {finding.title}"), tag("p", f.sentence())]
            if f.bounded:
                parts.append(
                    markup.figure(
                        plots.held_out(f, column=finding.law.inputs[1]),
                        f"{finding.law.name}-held-out",
                        f"Thin bars: {digits.percent(LEVEL)} interval of one run, with the scatter of runs and the "
                        "law's own error beyond its runs; thick: of the law alone.",
                    )
                )
    return markup.joined(parts)


def _positions(found: Findings, positions: Table | None, shades: Shades) -> Markup:
    if positions is None or not len(found.table):
        return Markup()
    table = found.table
    longest = np.zeros(len(table), bool)
    for size in np.unique(table["params"]):
        here = table["params"] == size
        longest |= here & (table["unique_tokens"] >= table["unique_tokens"][here].max())
    shown = _only(positions, table.where(longest, "fewer tokens"))
    if not len(shown):
        return Markup()
    caption = (
        "Held-out loss by position in the context, averaged over octaves, for the runs of each size with the most "
        "unique tokens. A position's loss is that of the text that stands there in the held-out windows, known to "
        "0.03 to 0.1 nats and the same for all runs: bends that all lines share are the text's."
    )
    return markup.figure(plots.positions(shown, shades=shades), "positions", caption, "half")


# --- pieces


def _printed(value: str) -> Markup:
    """A published value, its interval below it in small."""
    number, _, interval = value.partition(" (")
    return escape(number) + (tag("small", interval.rstrip(")")) if interval else "")


def _symbol(name: str, unit: str) -> Markup:
    return markup.mathematics(name) + (Markup(" ") + tag("span", unit, class_="soft") if unit else "")


def _only(rows: Table, runs: Table) -> Table:
    """The rows that belong to these runs."""
    return rows.where(np.isin(rows["run"], runs["run"]), "of a run that was left out")
