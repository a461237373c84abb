"""What is trained to see what the quality of text is worth: corrupted documents (Subramanyam et al. 2025), and a sliver
that is read again and again (Hernandez et al. 2022).

    scaling reproduce quality --budget cpu-1h
"""
