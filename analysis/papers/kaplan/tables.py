"""Tables 1 to 6 and the summary of section 1.2, from our runs."""

from collections.abc import Sequence

import numpy as np

from analysis.papers.kaplan import claims, fits, runs
from analysis.papers.kaplan.context import uncounted
from analysis.papers.kaplan.drawn import Constant, Drawn, Experiments, points, undecided
from analysis.papers.kaplan.words import UNDECIDED, agrees, decided, label, written
from analysis.table import Table


def of_constants(name: str, constants: Sequence[Constant]) -> Table:
    """Constants as rows: ours beside the paper's; an empty cell where our runs do not decide."""
    return points(
        name,
        [
            {
                "constant": one.name,
                "equation": one.equation,
                "paper": one.paper,
                "ours": one.value,
                "low": one.low,
                "high": one.high,
                "unit": one.unit,
                "held_out_error": one.held_out,
                "compared": "yes" if one.exponent else "scale",
                "note": one.note,
            }
            for one in constants
        ],
    )


def _made(name: str, title: str, constants: Sequence[Constant], sentences: Sequence[str]) -> Drawn:
    """A table of constants."""
    return Drawn(
        name, title, None, tuple(sentences), tuple(constants), of_constants(name, constants), decided(constants)
    )


def table_1(experiments: Experiments) -> Drawn:
    """Parameters and forward FLOP per token by operation, for the largest model of the experiment size.

    Worked out here from the model's shape as the paper prints it, and held against what the run itself counted.
    """
    name, title = "table1", "Table 1: parameters and compute by operation"
    table = runs.finished(experiments, "size")
    if table is None or (table := runs.of_kind(table, "transformer")) is None:
        return undecided(name, title, "no run of the experiment size has finished")
    i = int(np.argmax(table["params"]))
    d, layers, attn, ff, ctx, vocab = (
        float(table[column][i]) for column in ("d_model", "n_layer", "d_attn", "d_ff", "n_ctx", "n_vocab")
    )
    rows = [
        ("embed", "(n_vocab + n_ctx) d_model", (vocab + ctx) * d, "4 d_model", 4 * d),
        ("attention: QKV", "n_layer d_model 3 d_attn", 3 * layers * d * attn, "2 × parameters", 6 * layers * d * attn),
        ("attention: mask", "", 0.0, "2 n_layer n_ctx d_attn", 2 * layers * ctx * attn),
        ("attention: project", "n_layer d_attn d_model", layers * attn * d, "2 × parameters", 2 * layers * attn * d),
        ("feed-forward", "n_layer 2 d_model d_ff", 2 * layers * d * ff, "2 × parameters", 4 * layers * d * ff),
        ("de-embed", "", 0.0, "2 d_model n_vocab", 2 * d * vocab),
    ]
    inner = rows[1:5]
    N, forward = sum(row[2] for row in inner), sum(row[4] for row in inner)
    rows.append(("total, non-embedding", "N", N, "2N + 2 n_layer n_ctx d_attn", forward))
    keys = ("operation", "parameters_formula", "parameters", "flop_formula", "forward_flop_per_token")
    counted = float(table["params"][i])
    same = counted == N
    sentences = [
        f"For d_model = {d:.0f} and {layers:.0f} layers N is {N:,.0f}, "
        + ("as the run counted it (eq. 2.1)." if same else f"but the run counted {counted:,.0f}.")
    ]
    if table.has("flops_attention"):
        trained = float(table["flops_attention"][i] / table["tokens"][i])
        ratio = trained / (3 * forward)
        sentences.append(
            f"The run counted {3 * ratio:.3g} times that forward FLOP per token, as forward and backward do."
        )
        same &= abs(ratio - 1) < 1e-6
    sentences.append(
        f"The context term is {2 * layers * ctx * attn / (2 * N):.0%} of 2N; the laws leave it out, as the paper does "
        f"where d_model is well above n_ctx / 12. {uncounted(table)}"
    )
    data = points(name, [dict(zip(keys, row, strict=True)) for row in rows])
    return Drawn(name, title, None, tuple(sentences), (), data, same)


def table_2(experiments: Experiments) -> Drawn:
    """L(N, D), with the held-out error on the largest size."""
    found = fits.of_size_and_data(experiments)
    constants = claims.joint(experiments)
    sentences = [*claims.told(constants), *(s for s in (found.forecast(), found.evidence) if s)]
    return _made("table2", "Table 2: L(N, D)", constants, sentences)


def table_3(experiments: Experiments) -> Drawn:
    """L(N, S_min)."""
    constants = claims.steps(experiments)
    return _made("table3", "Table 3: L(N, S_min)", constants, claims.told(constants))


# Law, and N, D, steps and batch as the paper has them.
REGIMES = (
    ("L(N)", "varied", "ample", "to convergence", "fixed", "size"),
    ("L(D)", "large", "varied", "early stopping", "fixed", "data"),
    ("L(C)", "best", "ample", "varied", "fixed (naive)", "size"),
    ("L(C_min)", "best", "ample, best", "varied", "far below critical", "size"),
    ("L(N, D)", "varied", "varied", "early stopping", "fixed", "data"),
    ("L(N, S)", "varied", "ample", "varied", "fixed, adjusted to S_min", "size"),
)


def table_4(experiments: Experiments) -> Drawn:
    """What is varied and what is fixed in each law, and which of our runs it rests on."""
    name, title = "table4", "Table 4: what each law is about"
    used = {
        "L(N)": fits.of_size(experiments).table,
        "L(D)": fits.of_data(experiments).table,
        "L(C)": fits.fixed_batch(experiments).points,
        "L(C_min)": fits.least_compute(experiments).points,
        "L(N, D)": fits.of_size_and_data(experiments).table,
        "L(N, S)": fits.of_steps(experiments).table,
    }
    rows = []
    for law, N, D, steps, batch, experiment in REGIMES:
        table = used[law]
        row = {"law": law, "N": N, "D": D, "training": steps, "batch": batch, "experiment": experiment, "rows": 0.0}
        if table is not None:
            row |= {"rows": float(len(table)), "N_low": table["params"].min(), "N_high": table["params"].max()}
            amount = "unique_tokens" if "unique_tokens" in table else "tokens"
            row |= {"D_low": table[amount].min(), "D_high": table[amount].max()}
        rows.append(row)
    missing = [row["law"] for row in rows if not row["rows"]]
    sentence = (
        f"{UNDECIDED} {', '.join(missing)}: no runs of the kind have finished."
        if missing
        else "Each law rests on the runs of one experiment; L(C_min) and L(N, S) take B_crit(L) from the batch scan."
    )
    return Drawn(name, title, None, (sentence,), (), points(name, rows), not missing)


def table_5(experiments: Experiments) -> Drawn:
    """Every exponent and scale of the laws of one quantity."""
    constants = (
        *claims.size(experiments),
        *claims.data(experiments),
        *claims.fixed_batch(experiments),
        *claims.least_compute(experiments),
        *claims.batch(experiments),
        *claims.steps(experiments)[1::2],
    )
    return _made("table5", "Table 5: exponents and scales", constants, _tally(constants))


def table_6(experiments: Experiments) -> Drawn:
    """The best N, B, S and D over C_min."""
    constants = claims.path(experiments)
    far = ("The values at one PF-day are extrapolations of our runs by many decades: shown, not compared.",)
    return _made("table6", "Table 6: compute-efficient training", constants, (*claims.told(constants), *far))


def summary(experiments: Experiments) -> Drawn:
    """Section 1.2: equations 1.1 to 1.8 with our exponents."""
    path = claims.path(experiments)
    constants = (
        claims.size(experiments)[0],
        claims.data(experiments)[0],
        claims.least_compute(experiments)[0],
        claims.batch(experiments)[0],
        *claims.joint(experiments)[:2],
        *claims.steps(experiments)[:2],
        *path[::2],
        claims.predicted_exponent(experiments),
    )
    return _made("summary", "Section 1.2: the scaling laws in summary", constants, _tally(constants))


def _tally(constants: Sequence[Constant]) -> list[str]:
    """How many exponents agree with the paper's, which do not, and which are undecided."""
    exponents = [one for one in constants if one.exponent]
    within = [one for one in exponents if agrees(one)]
    apart = [one for one in exponents if one.value is not None and not agrees(one)]
    open_ = [one for one in exponents if one.value is None]
    sentences = [f"Of {len(exponents)} exponents the paper's value lies in our interval for {len(within)}."]
    if apart:
        named = "; ".join(f"{label(one)}: {written(one)}, paper {one.paper:.3g}" for one in apart)
        sentences.append(f"It does not for {named}. The figures say what is likely behind each.")
    if open_:
        sentences.append(f"{UNDECIDED} {', '.join(map(label, open_))}: see the notes.")
    return sentences
