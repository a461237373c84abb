"""Whether abilities emerge with size (Wei et al. 2022; Schaeffer et al. 2023; Du et al. 2024), from our own runs."""
