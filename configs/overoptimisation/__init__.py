"""What is trained to see how far a proxy of a reward can be optimised: reward models of many sizes and numbers of pairs
(Gao, Schulman and Hilton 2022).

    scaling reproduce overoptimisation --budget cpu-1h
"""
