"""Learning rates that suited, by size."""


def learning_rate(N: int) -> float:
    """The peak rate for a Transformer of N non-embedding parameters: Adam, batches of 256 tokens, 1e5 to 1e6 tokens.

    A power law drawn through the optima of the sweep in results/learning_rate (configs/learning_rate.py): at no size of
    it does half or double this rate improve the loss by 1 %.
    """
    return 0.0105 * (N / 20_000) ** -0.4
