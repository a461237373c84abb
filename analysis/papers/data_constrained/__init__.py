"""Muennighoff et al. (2023), arXiv 2305.16264, and Lovelace et al. (2026), arXiv 2605.01640: repeated data."""
