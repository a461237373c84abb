# ruff: noqa: B018  (a cell shows what its last line is)
# pyright: reportUnusedExpression=false
# %% [markdown]
# # From logs to a law and a plan
#
# A notebook as a file of cells: Jupyter opens it with jupytext, VS Code and PyCharm as it is, and the tests run it as a
# program. It writes sixteen short logs, as a small training program of yours would, and reads them back.

# %%
import tempfile
from pathlib import Path

import numpy as np

from analysis.fit import fit
from analysis.load import load
from analysis.page import fit_figure
from analysis.plan import plan

# %% [markdown]
# ## The logs
#
# One log per run, lines of steps as nanoGPT prints them. Here they come from a formula whose constants are known,
# L = 1.8 + 480 / N^0.35 + 2100 / D^0.37; take the folder of your own logs in its place.

# %%
folder = Path(tempfile.mkdtemp())
noise = np.random.default_rng(0)
for N in (1e7, 2e7, 4e7, 8e7):
    for steps in (4_000, 8_000, 16_000, 32_000):
        loss = (1.8 + 480 / N**0.35 + 2100 / (65_536 * steps) ** 0.37) * np.exp(0.002 * noise.normal())
        (folder / f"{N / 1e6:.0f}M-{steps}.log").write_text(
            "tokens per iteration will be: 65,536\n"
            f"model size: {N:.0f}\n"
            "step 0: train loss 10.8, val loss 10.8\n"
            f"step {steps}: train loss {loss:.5f}, val loss {loss:.5f}\n"
        )

# %% [markdown]
# ## A table
#
# A folder of logs becomes a row per run. D follows from the tokens of an iteration; which column is N, we say.

# %%
runs = load(folder, {"params": "model_size"})
runs

# %% [markdown]
# What was read and what was not understood stands in the notes.

# %%
runs.notes

# %% [markdown]
# ## A law
#
# Constants come with intervals, and with the doubts that the rows leave.

# %%
found = fit("chinchilla", runs)
print(found.summary())

# %%
figure = fit_figure.draw(found, runs)
figure

# %% [markdown]
# ## The next model
#
# What the law says of a budget, and how sure it is.

# %%
next_model = plan(found, 1e21)
print(next_model.text())
