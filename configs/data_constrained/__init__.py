"""What is trained to see repeated data (Muennighoff et al. 2023; Lovelace et al. 2026).

    scaling reproduce data-constrained --budget cpu-1h

Sizes times unique tokens, each a trunk over epochs with a cooldown after 1, 2, 4, ... of them, as in
configs/kaplan/data.py, whose runs with dropout are used where it has trained them.
"""
