"""What is trained to see what the shares of several texts are worth (Ye et al. 2024; Liu et al. 2024, RegMix).

scaling reproduce mixtures --budget cpu-1h
"""
