"""The page of a study: one self-contained HTML file with its figures inside, and the data of the figures beside it.

    DIR/report/index.html                       opens from disk, fetches nothing
    DIR/report/runs.csv curves.csv positions.csv  what the figures show, at full precision
    DIR/report/findings.json                    every number of the page, with covariances and bootstrap draws

Whatever comes from data is escaped: text is `str`, and only what this module made itself is `Markup`.
"""

import datetime
import html
import importlib.metadata
import json
import math
import os
import platform
import re
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.colors import to_hex

from analysis import digits, findings, laws, plots
from analysis.checks import DOUBLINGS_AMPLE, LEVEL, RATE, settings
from analysis.findings import Finding, Findings
from analysis.laws import Law
from analysis.plots import Shades
from analysis.table import Table, read_curves, read_positions, read_study

PACKAGES = ("scaling", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "scipy", "sentencepiece",
            "matplotlib")  # fmt: skip

# As printed, beside ours; Kaplan's C_c in FLOP (1.6e7 PF-days), Hoffmann's constants with the digits of their source.
KAPLAN, HOFFMANN, BESIROGLU = "Kaplan et al. 2020", "Hoffmann et al. 2022", "Besiroglu et al. 2024"
PUBLISHED: dict[type[Law], dict[str, dict[str, str]]] = {
    laws.Chinchilla: {
        HOFFMANN: {"E": "1.6934", "A": "406.4", "B": "410.7", "alpha": "0.3392", "beta": "0.2849"},
        BESIROGLU: {
            "E": "1.8172 (1.769 to 1.871)",
            "A": "482.01 (285 to 744)",
            "B": "2085.43 (1042 to 5810)",
            "alpha": "0.3478 (0.317 to 0.373)",
            "beta": "0.3658 (0.331 to 0.415)",
        },
    },
    laws.KaplanND: {KAPLAN: {"N_c": "6.4×10¹³", "D_c": "1.8×10¹³", "alpha_N": "0.076", "alpha_D": "0.103"}},
    laws.KaplanN: {KAPLAN: {"N_c": "8.8×10¹³", "alpha_N": "0.076"}},
    laws.KaplanD: {KAPLAN: {"D_c": "5.4×10¹³", "alpha_D": "0.095"}},
    laws.KaplanC: {KAPLAN: {"C_c": "1.4×10²⁷", "alpha_C": "0.057"}},
}
