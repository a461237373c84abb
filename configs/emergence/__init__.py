"""What is trained to see how abilities appear with size: sums, copies and modular sums, alone and mixed into text.

scaling reproduce emergence --budget cpu-1h
"""
