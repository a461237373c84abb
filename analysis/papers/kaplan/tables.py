"""Tables 1 to 6 and the summary of section 1.2, with the one tally of independent claims, from our runs."""

import numpy as np

from analysis import digits
from analysis.papers.claim import Verdict, tally
from analysis.papers.drawn import Drawn
from analysis.papers.kaplan import runs
from analysis.papers.kaplan.claims import Kaplan
from analysis.papers.kaplan.context import uncounted
from analysis.table import Table


def table_1(evidence: Kaplan, drawn: Drawn) -> None:
    """Parameters and forward FLOP per token by operation, for the smallest and the largest model of the main grid.

    Worked out here from the models' shapes as the paper prints it, and held against what the runs themselves counted.
    """
    table = runs.of_kind(evidence.need("grid"), "transformer")
    ends = [int(end(table["params"])) for end in (np.argmin, np.argmax)]
    keys = ("operation", "parameters_formula", "parameters", "flop_formula", "forward_flop_per_token")
    each = [_operations(table, i) for i in ends]
    drawn.points(
        {"d_model": table["d_model"][i]} | dict(zip(keys, row, strict=True))
        for i, rows in zip(ends, each, strict=True)
        for row in rows
    )
    for i, rows in zip(ends, each, strict=True):
        _counted(table, i, rows, drawn)
    shares = [
        f"{digits.percent(2 * N / (inner + head))} at N = {digits.short(N)}"
        for N, inner, head in ((rows[-1][2], rows[-1][4], rows[-2][4]) for rows in each)
    ]
    context = [digits.percent(1 - 2 * rows[-1][2] / rows[-1][4]) for rows in each]
    drawn.say(
        f"Of the whole forward FLOP 2N is {shares[0]} and {shares[1]}: the rest is the head, which N and C = 6ND leave "
        f"out, and attention over the context, {context[0]} and {context[1]} of the FLOP inside the layers, which the "
        f"paper leaves out where d_model is well above n_ctx / 12. {uncounted(table)}"
    )


Row = tuple[str, str, float, str, float]


def _operations(table: Table, i: int) -> list[Row]:
    """Operation, parameters and forward FLOP per token, with their formulas; the total last, the head before it."""
    d, layers, attn, ff, ctx, vocab = (
        float(table[column][i]) for column in ("d_model", "n_layer", "d_attn", "d_ff", "n_ctx", "n_vocab")
    )
    rows: list[Row] = [
        ("embed", "(n_vocab + n_ctx) d_model", (vocab + ctx) * d, "4 d_model", 4 * d),
        ("attention: QKV", "n_layer d_model 3 d_attn", 3 * layers * d * attn, "2 × parameters", 6 * layers * d * attn),
        ("attention: mask", "", 0.0, "2 n_layer n_ctx d_attn", 2 * layers * ctx * attn),
        ("attention: project", "n_layer d_attn d_model", layers * attn * d, "2 × parameters", 2 * layers * attn * d),
        ("feed-forward", "n_layer 2 d_model d_ff", 2 * layers * d * ff, "2 × parameters", 4 * layers * d * ff),
        ("de-embed", "", 0.0, "2 d_model n_vocab", 2 * d * vocab),
    ]
    inner = rows[1:5]
    N, forward = sum(row[2] for row in inner), sum(row[4] for row in inner)
    return [*rows, ("total, non-embedding", "N", N, "2N + 2 n_layer n_ctx d_attn", forward)]


def _counted(table: Table, i: int, rows: list[Row], drawn: Drawn) -> None:
    """Whether the run counted as these rows do."""
    _, _, N, _, forward = rows[-1]
    counted = float(table["params"][i])
    ours = f"for d_model = {table['d_model'][i]:.0f} and {table['n_layer'][i]:.0f} layers N is {N:,.0f}"
    if counted != N:
        drawn.lacks(f"{ours}, but the run counted {counted:,.0f}")
        return
    said = f"{ours}, as the run counted it (eq. 2.1)"
    if table.has("flops_attention"):
        ratio = float(table["flops_attention"][i] / table["tokens"][i]) / (3 * forward)
        flop = f"{3 * ratio:.3g} times that forward FLOP per token"
        if abs(ratio - 1) > 1e-6:
            drawn.lacks(f"the run counted {flop}, where forward and backward take 3")
        else:
            said += f", with {flop}, as forward and backward take"
    drawn.say(f"{said}.")


def table_2(evidence: Kaplan, drawn: Drawn) -> None:
    """L(N, D), with the held-out error on the largest size."""
    drawn.tell(*evidence.joint_claims, evidence.ratio)
    with drawn.part():
        drawn.say(evidence.joint.forecast(), evidence.joint.evidence)


def table_3(evidence: Kaplan, drawn: Drawn) -> None:
    """L(N, S_min)."""
    drawn.tell(*evidence.steps_claims)


# Law, and N, D, steps and batch as the paper has them.
REGIMES = (
    ("L(N)", "varied", "ample", "to convergence", "fixed", "grid"),
    ("L(D)", "large", "varied", "early stopping", "fixed", "data"),
    ("L(C)", "best", "ample", "varied", "fixed (naive)", "grid"),
    ("L(C_min)", "best", "ample, best", "varied", "far below critical", "grid"),
    ("L(N, D)", "varied", "varied", "early stopping", "fixed", "data"),
    ("L(N, S)", "varied", "ample", "varied", "fixed, near critical", "steps"),
)


def table_4(evidence: Kaplan, drawn: Drawn) -> None:
    """What is varied and what is fixed in each law, and which of our runs it rests on."""
    used = {
        "L(N)": lambda: evidence.size.table,
        "L(D)": lambda: evidence.data.table,
        "L(C)": lambda: evidence.fixed_batch.points,
        "L(C_min)": lambda: evidence.least_compute.points,
        "L(N, D)": lambda: evidence.joint.table,
        "L(N, S)": lambda: evidence.steps.table,
    }
    rows = []
    for law, N, D, steps, batch, experiment in REGIMES:
        row = {"law": law, "N": N, "D": D, "training": steps, "batch": batch, "experiment": experiment, "rows": 0.0}
        with drawn.part(law):
            table = used[law]()
            amount = "unique_tokens" if "unique_tokens" in table else "tokens"
            row |= {"rows": float(len(table)), "N_low": table["params"].min(), "N_high": table["params"].max()}
            row |= {"D_low": table[amount].min(), "D_high": table[amount].max()}
        rows.append(row)
    drawn.points(rows)
    if drawn.decided:
        drawn.say(
            "Each law rests on the runs of one experiment; L(C_min) and L(N, S) take B_crit(L) from another, batch."
        )


def table_5(evidence: Kaplan, drawn: Drawn) -> None:
    """Every exponent and scale of the laws of one quantity."""
    drawn.tell(evidence.alpha_N, evidence.N_c, evidence.alpha_D, evidence.D_c, evidence.alpha_C, evidence.C_c)
    drawn.tell(evidence.alpha_C_min, evidence.C_c_min, evidence.alpha_B, evidence.B_star)
    drawn.tell(evidence.alpha_S, evidence.S_c)


def table_6(evidence: Kaplan, drawn: Drawn) -> None:
    """The best N, B, S and D over C_min."""
    exponents = evidence.N_opt, evidence.B_opt, evidence.S_opt, evidence.D_opt
    for exponent, scale in zip(exponents, evidence.scales_of_path, strict=True):
        drawn.tell(exponent, scale)
    drawn.say("The values at one PF-day are extrapolations of our runs by many decades: shown, not compared.")


def summary(evidence: Kaplan, drawn: Drawn) -> None:
    """Section 1.2: equations 1.1 to 1.8 with our exponents."""
    drawn.show(evidence.alpha_N, evidence.alpha_D, evidence.alpha_C_min, evidence.alpha_B)
    drawn.show(evidence.joint_alpha_N, evidence.joint_alpha_D, evidence.steps_alpha_N, evidence.alpha_S)
    drawn.show(evidence.N_opt, evidence.B_opt, evidence.S_opt, evidence.D_opt, evidence.alpha_C_min_predicted)
    found = tally(drawn.claims)
    n = sum(map(len, found.values()))
    drawn.say(f"Of {n} independent exponents the paper's value lies in our interval for {len(found[Verdict.HOLDS])}.")
    if apart := found[Verdict.DIFFERS]:
        named = "; ".join(f"{one.label}: {one.written}, paper {one.paper:.3g}" for one in apart)
        drawn.say(f"It does not for {named}. The figures say what is likely behind each.")
    for verdict in (Verdict.CANNOT_TELL, Verdict.NOT_MEASURABLE):
        for claim in found[verdict]:
            drawn.lacks(claim.lack, claim.label)
