"""Gadre et al. (2024), arXiv 2403.08540, and Sardana et al. (2024), arXiv 2401.00448: over-training."""
