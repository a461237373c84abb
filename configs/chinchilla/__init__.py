"""The experiments of Hoffmann et al. (2022): the main grid (configs/grid.py), and cosines longer than the run.

scaling reproduce chinchilla --budget cpu-1h
"""
