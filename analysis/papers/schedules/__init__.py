"""Schedules of the learning rate: Hoffmann et al. (2022) Figure A1, Haegele et al. (2024), Tissue et al. (2024), Luo et
al. (2025), the functional law of Li et al. (2025), and the collapse of Qiu et al. (2025)."""
