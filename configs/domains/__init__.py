"""What is trained to compare domains: pictures, code, text, glyphs after their names (Henighan et al. 2020).

scaling reproduce domains --budget cpu-1h
"""
