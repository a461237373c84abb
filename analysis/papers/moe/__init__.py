"""Models with experts (Clark et al. 2022; Ludziejewski et al. 2025), from our own runs."""
