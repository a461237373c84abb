"""What the shares of several texts are worth (Ye et al. 2024; Liu et al. 2024), from our own runs."""
