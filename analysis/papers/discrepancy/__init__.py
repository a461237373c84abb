"""Why Kaplan et al. (2020) and Hoffmann et al. (2022) disagree about N_opt(C), from our own runs: after Porian et al. (2024)."""
