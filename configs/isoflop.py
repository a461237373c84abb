"""IsoFLOP profiles: sizes around the best one at each of several budgets, for N_opt(C) (Hoffmann et al. 2022).

    scaling study run configs/isoflop.py --out studies/isoflop

The sizes of a budget lie within a factor of 4 of where its optimum is expected: wide and off-centre grids bias the
exponent (arXiv 2603.22339). The page warns where an optimum lies off the centre all the same.
"""

from configs.rates import learning_rate
from scaling.config import EvalConfig, OptimConfig, RunConfig, Study
from scaling.ladder import matched
from scaling.rates import Text

BATCH = 4  # sequences of 64 tokens
REACH = 4.0  # largest and smallest size of a budget, over and under the expected optimum


def study(
    first: float = 2e11,
    n_budgets: int = 3,
    factor: float = 3.0,
    n_sizes: int = 7,
    n_seeds: int = 1,
    rates: Text = "python",
) -> Study:
    """`n_sizes` models of two layers at each of `n_budgets` budgets, one epoch each.

    Args:
      first: the smallest budget, C = 6ND in FLOP; each is `factor` times the one before.
      rates: the text whose learning rates the runs take; that of data.source where it is left out.
    """
    runs = []
    for C in (first * factor**k for k in range(n_budgets)):
        for j in range(n_sizes):
            size = expected_optimum(C) * REACH ** (2 * j / max(n_sizes - 1, 1) - 1)
            model = matched(round(size), n_layer=2, d_head=8)
            tokens = round(C / (6 * model.N * BATCH * model.n_ctx)) * BATCH * model.n_ctx
            runs += [
                RunConfig(
                    model,
                    tokens=tokens,
                    batch=BATCH,
                    seed=seed,
                    optim=OptimConfig(learning_rate=learning_rate(model.N, tokens, text=rates)),
                    eval=EvalConfig(windows=512, per_octave=1),
                )
                for seed in range(n_seeds)
            ]
    return Study("isoflop", "Which size is best at each budget?", tuple(runs))


def expected_optimum(C: float) -> float:
    """N_opt(C) of the surface that the quickstart found on the embedded Python sources; only the grid's centre."""
    return 29_000 * (C / 2e11) ** 0.62
