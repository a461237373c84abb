"""The parts of `analysis.fit`."""
