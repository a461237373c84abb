"""A study of one run, for processes that train it together."""

from scaling.config import EvalConfig, RunConfig, Study
from scaling.ladder import transformer


def study(steps: int = 1500) -> Study:
    run = RunConfig(
        transformer(32, 1, d_head=8, n_vocab=257, n_ctx=16),
        tokens=steps * 8 * 16,
        batch=8,
        eval=EvalConfig(windows=16, per_octave=1, octaves=2),
    )
    return Study("together", "Is it one curve?", (run,))
