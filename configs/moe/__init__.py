"""What is trained for the page of models with experts (Clark et al. 2022; Ludziejewski et al. 2025).

scaling reproduce moe --budget cpu-1h
"""
