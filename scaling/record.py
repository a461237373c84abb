"""What a pack leaves behind: Orbax checkpoints that hold `state` and `history` in one atomic step.

The history is all metrics of all runs of the pack so far, as plain arrays, so after any crash there is exactly one
curve with no gap and no repeat, and `analysis` reads it without the parameters:

    train_loss, grad_norm   f32 s r      each update
    eval_step               i64 e        updates done when the held-out loss was measured
    eval_loss               f32 e r t    held-out loss at each position, nats per token
    seconds                 f64          wall-clock time spent training, all sessions together
    finished                bool         no update is left to do
"""

import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from orbax.checkpoint import v1 as ocp

from scaling import folders

History = dict[str, np.ndarray]

KEEP = 2  # checkpoints: the newest, and the one to fall back on
UNREADABLE = (ValueError, OSError, KeyError, TypeError)  # what Orbax and TensorStore raise for a damaged checkpoint

logging.getLogger("absl").setLevel(logging.ERROR)  # Orbax narrates every save


def start(n_run: int, n_ctx: int) -> History:
    """The history of a pack before its first update."""
    return {
        "train_loss": np.zeros((0, n_run), np.float32),
        "grad_norm": np.zeros((0, n_run), np.float32),
        "eval_step": np.zeros(0, np.int64),
        "eval_loss": np.zeros((0, n_run, n_ctx), np.float32),
        "seconds": np.zeros((), np.float64),
        "finished": np.zeros((), np.bool_),
    }


class Record:
    """The checkpoints of one pack, newest last."""

    def __init__(self, folder: Path):
        self.checkpointer = ocp.training.Checkpointer(
            str(folder.absolute() / "checkpoints"),
            preservation_policy=ocp.training.preservation_policies.LatestN(KEEP),  # pyright: ignore[reportArgumentType]
            cleanup_tmp_directories=True,
        )

    def save(self, step: int, state: Any, history: History) -> None:
        """Commits both together; returns when they are on disk. A step already there is kept."""
        if any(there.step == step for there in self.checkpointer.checkpoints):
            return
        self.checkpointer.save_checkpointables(step, {"state": state, "history": history}, force=True)

    def restore(self, abstract_state: Any, say: Callable[[str], None]) -> tuple[int, Any, History] | None:
        """(step, state, history) of the newest readable checkpoint; unreadable newer ones are named and removed."""
        for there in reversed(self.checkpointer.checkpoints):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    found = self.checkpointer.load_checkpointables(
                        there.step, {"state": abstract_state, "history": None}
                    )
                return there.step, found["state"], _as_history(found["history"])
            except UNREADABLE as error:
                say(f"checkpoint of step {there.step} is unreadable, using the one before ({_first_line(error)})")
                self.checkpointer.delete(there.step)
        return None

    def close(self) -> None:
        self.checkpointer.close()


def read_history(folder: Path) -> History | None:
    """The newest readable history of a pack, without its parameters; None before the first checkpoint."""
    for step in reversed(folders.saved_steps(folder)):
        checkpoint = str(folder.absolute() / "checkpoints" / str(step))
        try:
            return _as_history(ocp.load_checkpointables(checkpoint, {"history": None})["history"])
        except UNREADABLE:
            continue
    return None


def _as_history(tree: Any) -> History:
    return {name: np.asarray(values) for name, values in tree.items()}


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:160]


def diverged(history: History) -> np.ndarray:
    """Which runs ended with a loss that is not a number, or above the one they started with. -> bool r"""
    loss = history["eval_loss"].mean(-1)  # e r
    bad = ~np.isfinite(history["train_loss"]).all(0)
    return bad | ~(loss[-1] <= loss[0]) if len(loss) > 1 else bad
