"""Models trained on what models write (Gerstgrasser et al. 2024; Dohmatob et al. 2024), from our own runs."""
