"""What is seen of a training while it runs: a line now and then, TensorBoard's files, a profile of some updates.

These are mirrors: the record is the history (scaling.checkpoints). Only the first process writes.
"""

import importlib.util
import math
import re
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scaling import chips, counts, folders, progress_bar
from scaling.buckets import Bucket
from scaling.config import RunConfig
from scaling.errors import InputError, one_line

EVERY = 10.0  # seconds between lines
PROJECT = 128  # characters of a project's name at Weights & Biases
SEND_EVERY = 60.0  # seconds after which a bucket has what was written since


def peak(kind: str) -> float:
    """Dense bfloat16 FLOP/s of a device by the data sheet, from the name JAX has for it; nan where it is not known."""
    chip = chips.of_device(kind)
    return chip.peak / chip.devices if chip else math.nan


class Watch:
    """Told of each dispatch, says how it goes."""

    def __init__(
        self,
        runs: Sequence[RunConfig],
        kinds: Sequence[str],
        say: Callable[[str], None],
        folder: Path | None = None,
        profile: tuple[int, int] | None = None,
        each: float | None = None,
    ):
        """
        Args:
          runs: of a pack.
          kinds: `device_kind` of each device that trains it.
          folder: for TensorBoard's files, on a disk or in a bucket; None for none.
          profile: the updates, from and to, whose profile goes to `folder` or ./profile, in whole dispatches.
          each: FLOP/s at the peak of a device, where it is no chip that is listed.

        Raises:
          InputError: tensorboardX is not installed.
        """
        self.runs, self.say = runs, say
        self.peak = each * len(kinds) if each else sum(peak(kind) for kind in kinds)
        self.board = Board(runs, folder, say) if folder else None
        self.profile, self.profiling, self.folder = profile, False, folder or Path("profile")
        self.told = time.monotonic()
        self.done: int | None = None  # at that time

    def __call__(self, done: int, metrics: Mapping[str, np.ndarray]) -> None:
        """After `done` updates. metrics: rows of the last dispatch by run, n r."""
        now = time.monotonic()
        self._profile(done)
        if self.board:
            self.board(done, metrics)
        if self.done is None:  # the first dispatch was compiled as well
            self.told, self.done = now, done
        elif now - self.told > EVERY:
            rates = [_rate(run, done) for run in self.runs]
            self.say(self.line(done, (done - self.done) / (now - self.told), metrics, rates))
            self.told, self.done = now, done

    def line(self, done: int, speed: float, metrics: Mapping[str, np.ndarray], rates: Sequence[float]) -> str:
        """One line. speed: updates per second."""
        first, last = self.runs[0], max(run.steps for run in self.runs)
        going = [run for run in self.runs if run.steps >= done]
        tokens = speed * first.batch_tokens * len(going)
        share = tokens * counts.mfu_flops_per_token(first.model) / self.peak
        mean = {name: float(np.nanmean(rows[-1])) for name, rows in metrics.items()}
        used = f", MFU {share:.1%}" if math.isfinite(share) else ""
        left = progress_bar.clock((last - done) / speed)
        return (
            f"{done:,} of {last:,} updates, {left} left: loss {mean['train_loss']:.4f}, "
            f"gradient {mean['grad_norm']:.3g}, rate {rates[0]:.3g}, {tokens:,.0f} tokens/s{used}"
        )

    def _profile(self, done: int) -> None:
        import jax

        if self.profile and not self.profiling and self.profile[0] <= done < self.profile[1]:
            jax.profiler.start_trace(str(self.board.here if self.board else self.folder))
            self.profiling = True
        elif self.profiling and self.profile and done >= self.profile[1]:
            self._end_profile()

    def _end_profile(self) -> None:
        import jax

        jax.profiler.stop_trace()
        self.profile, self.profiling = None, False
        self.say(f"profile written to {self.folder}")

    def close(self) -> None:
        if self.profiling:
            self._end_profile()
        if self.board:
            self.board.close()


class Board:
    """TensorBoard's curves of a pack while it is trained: the last update of a dispatch, one a second at most."""

    def __init__(self, runs: Sequence[RunConfig], folder: Path, say: Callable[[str], None]):
        """Raises InputError where tensorboardX is not installed."""
        check_board()
        self.sent = _Sent(folder, say) if isinstance(folder, Bucket) else None
        self.here = self.sent.here if self.sent else folder
        self.runs, self.writer, self.wrote = runs, _writer(self.here), -math.inf
        names = [_as_tag(named(run.model.N, run.tokens, run.optim.learning_rate, run.seed)) for run in runs]
        self.names = [f"{name}_{r}" if names.count(name) > 1 else name for r, name in enumerate(names)]

    def __call__(self, done: int, metrics: Mapping[str, np.ndarray]) -> None:
        """As `Watch`."""
        if time.monotonic() < self.wrote + 1:
            return
        self.wrote = time.monotonic()
        for r, (run, name) in enumerate(zip(self.runs, self.names, strict=True)):
            if done > run.steps:
                continue
            values = {metric: rows[-1, r] for metric, rows in metrics.items()} | {"learning_rate": _rate(run, done)}
            for metric, value in values.items():
                if math.isfinite(value):
                    self.writer.add_scalar(f"{metric}/{name}", value, done * run.batch_tokens)

    def close(self) -> None:
        self.writer.close()
        if self.sent:
            self.sent.close()


class _Sent:
    """A folder on this disk whose files go to a bucket, once a minute and at the end: no object can be appended to.

    A store that does not answer is said once, and asked again the next time; the training does not wait for it.
    """

    def __init__(self, to: Bucket, say: Callable[[str], None]):
        self.here, self.to, self.say = folders.staging(to), to, say
        self.sizes: dict[Path, int] = {}  # of what is there
        self.over = threading.Event()
        self.sender = threading.Thread(target=self._now_and_then, daemon=True)
        self.sender.start()

    def _now_and_then(self) -> None:
        while not self.over.wait(SEND_EVERY):
            self._send()

    def _send(self) -> None:
        try:
            for path in self.here.rglob("*"):
                if path.is_file() and path.stat().st_size != self.sizes.get(path):
                    content = path.read_bytes()
                    (self.to / path.relative_to(self.here)).write_bytes(content)
                    self.sizes[path] = len(content)
        except (OSError, InputError) as error:
            self.say(f"{self.to}: curves are not in the bucket yet ({one_line(error)})")
            self.say = lambda text: None

    def close(self) -> None:
        self.over.set()
        self.sender.join()
        self._send()
        shutil.rmtree(self.here, ignore_errors=True)


def named(N: float, D: float, learning_rate: float, seed: float) -> str:
    """What a run is called in charts."""
    return f"N={N:.0f} D={D:.0f} rate={learning_rate:.3g} seed={seed:.0f}"


def _as_tag(name: str) -> str:
    """In the letters that TensorBoard has for tags."""
    return re.sub(r"[^\w.+-]", "_", name)


def check_board() -> None:
    """Raises InputError where TensorBoard's files cannot be written."""
    if importlib.util.find_spec("tensorboardX") is None:
        raise InputError("--tensorboard needs the package tensorboardX; install it, or leave the option out")


def span(text: str) -> tuple[int, int]:
    """The updates that `100:120` means.

    Raises:
      InputError: it means none.
    """
    found = re.fullmatch(r"(\d{1,12}):(\d{1,12})", text)
    if not found or int(found[1]) >= int(found[2]):
        raise InputError(f"--profile {text!r}: wanted FROM:TO in updates, such as 100:120")
    return int(found[1]), int(found[2])


def write_curves(folder: Path, runs: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    """Writes recorded curves as TensorBoard's files, a folder for each run.

    Args:
      runs: by name, columns of equal length, of which `tokens` is the axis.

    Raises:
      InputError: the folder has something in it, or tensorboardX is not installed.
    """
    _must_be_new(folder)
    for name, columns in runs.items():
        writer = _writer(folder / name)
        for column in columns.keys() - {"tokens"}:
            for tokens, value in zip(columns["tokens"], columns[column], strict=True):
                if math.isfinite(value):
                    writer.add_scalar(column, value, int(tokens))
        writer.close()


def write_wandb(folder: Path, runs: Mapping[str, Mapping[str, np.ndarray]], study: str) -> None:
    """As `write_curves`, for Weights & Biases: runs that were offline, which `wandb sync` sends.

    Args:
      study: its name, of which the project has what Weights & Biases allows.

    Raises:
      InputError: the folder has something in it, or wandb is not installed.
    """
    _must_be_new(folder)
    if importlib.util.find_spec("wandb") is None:
        raise InputError("--wandb needs the package wandb; install it, or take --tensorboard or --csv")
    import wandb  # pyright: ignore[reportMissingImports] # optional

    folder.mkdir(parents=True, exist_ok=True)
    project = re.sub(r"[/\\#?%:]", "-", study)[:PROJECT] or None
    quiet = wandb.Settings(mode="offline", silent=True, console="off", x_disable_stats=True, disable_git=True)
    for name, columns in runs.items():
        told = {key: float(value) for key, value in (part.split("=") for part in name.split() if "=" in part)}
        run = wandb.init(
            project=project, dir=str(folder), name=name, config=told, reinit="finish_previous", settings=quiet
        )
        run.define_metric("*", step_metric="tokens")
        for i, tokens in enumerate(columns["tokens"]):
            row = {column: float(columns[column][i]) for column in columns.keys() - {"tokens"}}
            run.log({"tokens": int(tokens)} | {column: value for column, value in row.items() if math.isfinite(value)})
        run.finish()


def _must_be_new(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is not empty; give a new folder, so that no curve is there twice")


def _rate(run: RunConfig, done: int) -> float:
    import jax

    from scaling import optim

    schedule = jax.tree.map(lambda leaf: leaf[0], optim.Schedule.of((run,)))
    return float(schedule(jax.numpy.float32(min(done, run.steps) - 1)))


def _writer(folder: Path) -> Any:
    check_board()
    from tensorboardX import SummaryWriter  # pyright: ignore[reportMissingImports] # optional

    return SummaryWriter(str(folder))
