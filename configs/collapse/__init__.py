"""What is trained to see whether models collapse that are trained on what models write (Gerstgrasser et al. 2024;
Dohmatob et al. 2024).

    scaling reproduce collapse --budget cpu-1h
"""
