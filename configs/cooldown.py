"""Several D from one run: a trunk at a constant rate with a cooldown branch for each length, beside a cosine for each.

    scaling study run configs/cooldown.py --out studies/cooldown

Warm-up, constant, then down to zero over the last fifth of each run (Haegele et al. 2024). Runs that share the trunk
are trained once up to where their cooldowns begin, so the longest run pays for nearly all of the others; each is a run
of its own in the table. A cosine matched to each length is what this must be held against.
"""

from configs.rates import SHARE, learning_rate, trunk
from scaling.config import EvalConfig, OptimConfig, RunConfig, Study
from scaling.ladder import ladder
from scaling.rates import Text

SHAPES = ((16, 2), (32, 2), (64, 2))


def study(D: int = 2**17, n_data: int = 4, n_sizes: int = 3, factor: float = SHARE, rates: Text = "python") -> Study:
    """Lengths D, 2 D, 4 D, ... of each size, by cooldown and by cosine.

    Args:
      factor: the constant rate as a share of the cosine's peak.
      rates: the text whose learning rates the runs take; that of data.source where it is left out.
    """
    lengths = [D * 2**k for k in range(n_data)]
    evaluate = EvalConfig(windows=512, per_octave=4, octaves=6)
    runs = []
    for model in ladder(SHAPES[:n_sizes], d_head=8):
        cooled = trunk(learning_rate(model.N, lengths[-1], text=rates), factor)
        for tokens in lengths:
            cosine = OptimConfig(learning_rate=learning_rate(model.N, tokens, text=rates))
            runs += [
                # All draw from the pool of the longest: the same windows in the same order, whatever the length.
                RunConfig(model, tokens=tokens, unique_tokens=lengths[-1], batch=4, optim=cooled, eval=evaluate),
                RunConfig(model, tokens=tokens, unique_tokens=lengths[-1], batch=4, optim=cosine, eval=evaluate),
            ]
    return Study("cooldown", "Does one trunk with cooldowns serve for several lengths?", tuple(runs))
