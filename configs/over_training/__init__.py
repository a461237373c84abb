"""What is trained to see over-training (Gadre et al. 2024; Sardana et al. 2024): the main grid, and no more.

    scaling reproduce over-training --budget cpu-1h

The smallest sizes of configs/grid.py are trained far beyond their best length, the largest hardly to it.
"""
