"""Learning rates from sweeps: configs/learning_rate.py makes them, results/learning_rate keeps them."""


def learning_rate(N: int) -> float:
    """The rate that suited Transformers of N non-embedding parameters best, Adam, batches of 256 tokens, one epoch.

    A power law through the optima of the sweep in results/learning_rate.
    """
    return 0.016 * (N / 6144) ** -0.3
