"""Why Kaplan et al. (2020) and Hoffmann et al. (2022) disagree: Porian et al. (2024) from our own runs."""
