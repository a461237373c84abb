"""What is trained to see what the schedule of the learning rate does: Hoffmann et al. (2022) Figure A1, Haegele et al.
(2024), Tissue et al. (2024), Luo et al. (2025).

    scaling reproduce schedules --budget cpu-1h

One size under nine schedules, cooldowns from a trunk at a lower rate, cosines longer than the run at two rates, and
sizes of the main grid. The cosines at the higher rate are those of configs/chinchilla.
"""
