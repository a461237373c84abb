"""The parts of `analysis.plan`."""
