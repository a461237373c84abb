"""Runs drawn from laws whose constants are known."""

import numpy as np

from analysis.laws import Law

TRUTH = {
    "kaplan-n": (8.8e13, 0.076),
    "kaplan-d": (5.4e13, 0.095),
    "kaplan-c": (1.4e27, 0.057),
    "kaplan-cmin": (2.7e28, 0.050),
    "kaplan-nd": (6.4e13, 1.8e13, 0.076, 0.103),
    "kaplan-one-pass": (6.4e13, 1.8e13, 0.076, 0.103),
    "kaplan-excess": (1e3, 0.738, 0.103),
    "kaplan-ns": (6.5e13, 0.077, 2.1e3, 0.76),
    "kaplan-bcrit": (2.1e8, 0.21),
    "kaplan-stop": (2.1e3, 0.76),
    "kaplan-position": (2.4, 5.1, 0.61),
    "kaplan-log-n": (0.25, 7.1e12),
    "henighan-n": (2.2, 63.0, 0.13),
    "henighan-d": (1.7, 1e9, 0.3),
    "henighan-c": (2.21, 3.1e11, 0.1),
    "chinchilla": (1.69, 406.4, 410.7, 0.34, 0.28),
    "counted": (1.69, 406.4, 410.7, 0.34, 0.28, 0.5),
    "muennighoff": (1.87, 521.0, 1488.0, 0.35, 0.36, 15.4, 5.3),
    "lovelace": (1.87, 521.0, 1488.0, 0.35, 0.36, 0.318, 0.6, 0.289),
    "gadre": (1.84, 212.0, 367.0, 0.136),
    "gadre-error": (0.857, 2.21, 0.715),
    "sigmoid-accuracy": (0.99, 0.73, 2.0, 3.5),
    "gemstones": (1.69, 60.0, 1.5, 410.7, 0.8, 0.9, 0.28),
    "clark": (-0.082, -0.108, 0.009, 1.104, 1.847, 314.478),
    "ludziejewski": (35.91, -0.1889, -0.2285, 0.0098, 35.98, -0.1775, 0.5529, -0.0259, 1.3637, 2.0732, 290.4521),
    "krajewski": (0.47, 2.1, 18.1, 30.8, 0.58, 0.115, 0.147),
    "abnar": (0.94, 16612.5, 5455.67, 0.4598, 17.26, 0.5962, 0.3954, -0.1666, 0.1603, 0.1595),
    "q-norm": (1.69, 406.4, 410.7, 0.34, 0.28, 0.6),
    # WikiText-103: I 6.60, n 16.34, B 0.33, E 9.04, exponents 0.74 and 0.56, for N and D as shares of 1e7 and 1e9.
    "rosenfeld": (6.60, 6.60 * 1e7**0.74 / 16.34, 6.60 * 0.33 * 1e9**0.56 / 16.34, 6.60 * 9.04 / 16.34, 0.74, 0.56),
    "subramanyam": (3.439, 1441.5, 0.396, 0.401),
    "best-of-n": (0.9, 0.05),
    "reinforced": (0.9, 0.2),
    "farseer": (-0.062465473, 0.13, 0.128488068, 230.734371, -0.1729, -1.544209554, -1.665630816, 0.0459, 3.133347199),
    "m3": (100.0, 1e-9, 0.25),
    "m4": (1.5, 9.0, 0.7, 300.0, 0.35),
    "bnsl-0": (1.0, 20.0, 0.2),
    "bnsl-1": (1.0, 20.0, 0.05, 3e7, 0.3, 0.25),
    "bnsl-2": (1.0, 20.0, 0.02, 1e7, 0.3, 0.2, 1e9, 0.2, -0.1),
}
RANGES = {
    "params": np.geomspace(1e6, 1e10, 6),
    "d_model": np.array([128.0, 256.0, 512.0, 1024.0, 2048.0]),
    "n_layer": np.array([3.0, 6.0, 12.0, 24.0, 48.0]),
    "params_head": np.geomspace(3e6, 2e10, 6),
    "tokens": np.geomspace(1e8, 1e12, 6),
    "unique_tokens": np.geomspace(1e8, 1e12, 6),
    "flops": np.geomspace(1e15, 1e22, 9),
    "flops_min": np.geomspace(1e15, 1e22, 9),
    "steps_min": np.geomspace(1e3, 1e6, 6),
    "loss": np.linspace(2, 6, 9),
    "loss_gap": np.geomspace(0.01, 1, 9),
    "position": np.geomspace(1, 1024, 11),
    "experts": np.geomspace(2, 512, 9),
    "params_experts": np.geomspace(1e8, 1e11, 6),
    "granularity": np.geomspace(1, 32, 6),
    "distance": np.linspace(0.4, 3.0, 14),
    "quality": np.array([1.0, 0.9, 0.8, 0.75, 0.7, 0.6, 0.5]),
    "active_share": np.array([1.0, 0.75, 0.5, 0.25, 0.1, 0.05, 0.02]),
}


def grid(law: type[Law]) -> dict[str, np.ndarray]:
    """Every combination of the law's inputs; a curve has points enough for its bends."""
    if law.inputs == ("tokens",):
        return {"tokens": np.geomspace(1e5, 1e11, 24)}
    mesh = np.meshgrid(*(RANGES[name] for name in law.inputs), indexing="ij")
    return {name: column.ravel() for name, column in zip(law.inputs, mesh, strict=True)}


def noisy(law: Law, columns: dict[str, np.ndarray], sigma: float, seed: int = 0) -> dict[str, np.ndarray]:
    y = law(*columns.values())
    return {**columns, law.target: y * np.exp(sigma * np.random.default_rng(seed).normal(size=len(y)))}
