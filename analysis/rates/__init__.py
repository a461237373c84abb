"""The parts of `analysis.tuning`."""
