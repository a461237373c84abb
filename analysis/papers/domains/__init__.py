"""Scaling laws of pictures, code and text (Henighan et al. 2020), from our own runs."""
