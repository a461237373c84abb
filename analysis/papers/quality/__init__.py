"""What the quality of text is worth (Subramanyam et al. 2025; Hernandez et al. 2022), from our own runs."""
