"""The parts of `analysis.report`: what a study's page says and shows."""
