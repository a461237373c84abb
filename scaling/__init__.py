"""Neural scaling laws, measured: from text to trained ladders of models, and their records for `analysis`."""

__version__ = "0.1.0"  # the only place: the package's metadata are made from it
