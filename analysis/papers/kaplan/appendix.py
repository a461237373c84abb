"""Appendix B: its closed forms against direct numerical optimisation of our own L(N, S_min) and B_crit(L)."""

import math
from typing import Any

import numpy as np

from analysis import digits, reference
from analysis.frontier import golden_section
from analysis.kaplan_path import KaplanPath
from analysis.papers.drawn import Drawn
from analysis.papers.kaplan.claims import Kaplan

STOPS = reference.value("convergence_factor_f"), reference.value("inefficient_factor_f_prime")
EXACT = 1e-3  # relative difference below which a closed form is confirmed


def appendix_b(evidence: Kaplan, drawn: Drawn) -> None:
    """One row per quantity and compute: the closed form, the same by optimisation, and the paper's number."""
    path, curves = evidence.path, evidence.compute_curves
    rows = compared(path, np.geomspace(curves["flops_min"].min() * 10, curves["flops_min"].max(), 4))
    drawn.points(rows)
    worst = max(abs(row["difference"]) for row in rows)
    f, (_, _, saved) = path.f, path.stopping_later(*STOPS)
    differ = f"the closed forms and the optimisation differ by at most {digits.plain(worst, 2)}, relative"
    if worst < EXACT:
        drawn.say(differ)
    else:
        drawn.lacks(f"{differ}: more than the optimisation is uncertain by")
    drawn.say(
        f"By our exponents compute-efficient training stops {digits.percent(f)} above the converged loss (B.5); the "
        f"paper has {digits.percent(STOPS[0])}.",
        f"Stopping 10 % instead of 2 % above it takes {digits.plain(saved, 2)} times the compute (B.14); the paper "
        f"has {reference.value('ratio_C_efficient'):g}."
        + (" Above 1: 10 % is beyond the best stop." if saved > 1 else ""),
    )


def compared(path: KaplanPath, C: np.ndarray) -> list[dict[str, Any]]:
    """Each closed form beside direct optimisation.

    Args:
        C: compute on the path's axis, FLOP, shape (n,), n >= 2.
    """

    def loss(ln_N: np.ndarray) -> np.ndarray:
        return path.loss_at(np.exp(ln_N), C)

    guess = np.log(path.params(C))
    N = np.exp(golden_section(loss, guess - 3, guess + 3))
    L = path.loss_at(N, C)
    B = path.B_crit(L)
    S = C / (6 * N * B)
    rows: list[dict[str, Any]] = []

    def row(
        quantity: str, equation: str, closed: float, direct: float, paper: float | None = None, at: float | None = None
    ):
        rows.append(
            {
                "quantity": quantity,
                "equation": equation,
                "flops_min": at,
                "closed_form": closed,
                "direct": direct,
                "difference": closed / direct - 1,
                "paper": paper,
            }
        )

    for k, at in enumerate(C):
        row("L(C), nats per token", "(B.6)", float(path.loss(at)), float(L[k]), at=float(at))
        row("N(C), parameters", "(B.9)", float(path.params(at)), float(N[k]), at=float(at))
        row("S(C), updates", "(B.10)", float(path.steps(at)), float(S[k]), at=float(at))
    ln_C = np.log(C)
    slope = -float(np.polyfit(ln_C, np.log(L), 1)[0])
    row("alpha_C_min", "(B.7)", path.alpha_C, slope, reference.value("alpha_C_min_predicted_eqB_7"))
    scale = float(C[0] * L[0] ** (1 / path.alpha_C))
    row("C_c_min, FLOP", "(B.8)", path.C_c, scale)
    f = float(L[0] / path.converged(N[0]) - 1)
    row("f, above the converged loss", "(B.5)", path.f, f, reference.value("convergence_factor_f"))
    theirs = {"N": "ratio_N_efficient", "S": "ratio_S_efficient", "C": "ratio_C_efficient"}
    early, late = STOPS
    for what, equation, closed, direct in zip(
        "NSC",
        ("(B.12)", "(B.13)", "(B.14)"),
        path.stopping_later(early, late),
        _stopping(path, early, late),
        strict=True,
    ):
        row(
            f"{what}_f / {what}_f', f = {early:g}, f' = {late:g}",
            equation,
            closed,
            direct,
            reference.value(theirs[what]),
        )
    for ratio in (reference.value("suboptimal_N_low_20pct"), reference.value("suboptimal_N_high_20pct")):
        dear = float(path.compute(ratio * N[0], L[0]) / C[0])
        paper = reference.value("steps_ratio_at_2_2x") if ratio > 1 else None
        row(f"C(N) / C(N_eff), N = {ratio:g} N_eff", "(B.16)", float(path.excess_compute(ratio)), dear, 1.2)
        row(f"S(N) / S(N_eff), N = {ratio:g} N_eff", "(B.17)", float(path.excess_steps(ratio)), dear / ratio, paper)
    return rows


def _stopping(path: KaplanPath, early: float, late: float) -> tuple[float, float, float]:
    """N, S and C to one loss by the size that stops a share `early` above its converged loss over that for `late`:
    sizes by bisection of L(N, inf), compute by (B.15).
    """
    loss = float(path.loss(path.C_c / 1e6))

    def size(share: float) -> float:
        low, high = 0.0, math.log(path.N_c)
        for _ in range(200):
            middle = (low + high) / 2
            above = float(path.converged(math.exp(middle))) * (1 + share) > loss
            low, high = (middle, high) if above else (low, middle)
        return math.exp((low + high) / 2)

    N = [size(share) for share in (early, late)]
    C = [float(path.compute(n, loss)) for n in N]
    return N[0] / N[1], (C[0] / N[0]) / (C[1] / N[1]), C[0] / C[1]
