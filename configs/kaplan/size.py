"""L(N), the learning curves of every size, other depths, transfer: Figures 1, 2, 4 right, 6, 8, 11 to 14, 19, 23.

One epoch of ample data, warm-up and a cosine to zero, the same tokens for every size (Kaplan et al. 2020 sec. 2.2).
The gradient noise is measured along each run, and the loss on the transfer sets where the budget has some.
"""

from configs.kaplan.budgets import named
from configs.kaplan.terms import Budget
from scaling.config import EvalConfig, ModelConfig, RunConfig, Study
from scaling.rates import Text


def study(budget: str = "cpu-20m", transfer: tuple[str, ...] = (), rates: Text = "python") -> Study:
    """All sizes, depths and seeds of a budget.

    Args:
      transfer: sources of held-out text of other kinds, as in eval.transfer.
      rates: the text whose learning rates the runs take; that of data.source where it is left out.
    """
    return Study("kaplan-size", "How does the loss fall with the model's size?", runs(named(budget, transfer, rates)))


def runs(budget: Budget) -> tuple[RunConfig, ...]:
    size = budget.size
    evaluate = EvalConfig(
        windows=budget.windows,
        per_octave=size.per_octave,
        octaves=size.octaves,
        noise=size.noise,
        transfer=budget.transfer,
    )

    def run(model: ModelConfig, seed: int = 0) -> RunConfig:
        return budget.run(model, size.tokens, evaluate, seed=seed)

    return (
        *(run(budget.model(shape)) for shape in (*size.shapes, *size.depths)),
        *(run(budget.model(shape), seed) for shape in size.replicated for seed in range(1, size.seeds)),
    )
