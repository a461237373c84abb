"""Hoffmann et al. (2022), Training Compute-Optimal Large Language Models, arXiv 2203.15556."""
