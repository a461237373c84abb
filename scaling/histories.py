"""The history of a pack: all metrics of all its runs so far, as plain arrays.

    train_loss, grad_norm   f32 s r      each update
    steps                   i64 r        updates that each run has made, at most its own length (`steps` tells those
                                         that count of a run that diverged)
    updates_trained         f64 r        of these, those computed for it; of a shared trunk's an equal part
    eval_step               i64 e        updates done when some run was evaluated
    eval_loss               f32 e r t    held-out loss at each position, nats per token
    window_loss             f32 r w      held-out loss of each window after a run's last update
    noise_sq                f32 e r n    mean |gradient|^2 at the batches `RunConfig.noise_batches`
    transfer_loss           f32 e r x    loss on windows of each source in `eval.transfer`
    train_eval_loss         f32 e r      loss on windows that the run has been trained on
    answer_loss             f32 e r k a  of each task k in `eval.transfer`, where `eval.answers` asks for them: loss of
                                         token a of the right answer, given all before it; NaN beyond an answer's end
    answer_right            f32 e r k a  share of the questions in which that token is the likeliest
    answer_exact            f32 e r k a  share of the questions in which it and those of the answer before it are
    answer_brier            f32 e r k a  mean squared distance of the probabilities from it, over the vocabulary
    answer_wrong            i8 r k i     how many tokens of the answer to question i are not the likeliest, each given
                                         all before it, after a run's last update; -1 before
    scores                  f32 r k i    what a reward model says of text i of each source k of pairs in
                                         `eval.transfer`, both texts of a pair side by side, after a run's last update
    frequency_loss          f32 e r k    held-out loss by the frequency of the token that is predicted, commonest first
    seconds                 f64          wall-clock time spent training, all sessions together
    finished                bool         no update is left to do

The runs of a pack may have different lengths and evaluations. The rows are those of all of them together, and a run is
NaN in the updates after its last and in the evaluations that are not its own: its curve is its first `steps` updates
and the rows where `eval_step` is one of its `RunConfig.eval_steps`. What `eval` does not ask for has no array.

The history of a finished pack is kept in a file, and sent, with the arrays in `DIGITS` rounded (`packed`).
"""

import io
from collections.abc import Mapping

import numpy as np

History = dict[str, np.ndarray]

BY_TOKEN = ("answer_loss", "answer_right", "answer_brier", "answer_exact")
ENDS = {"window_loss", "answer_wrong", "scores"}  # of each run after its last update
TOTALS = ("steps", "updates_trained")  # in a history from its first save on

# Binary digits to which a file keeps what is one of many: the averages over updates, windows and texts, which laws are
# of, do not show the rounding. The norm of a gradient is for the eye.
DIGITS = {"train_loss": 14, "window_loss": 10, "scores": 8, "grad_norm": 8}
HALF = 11  # of NumPy's float16: a file has the arrays of no more digits in it, which compresses best


def start(
    n_run: int,
    n_ctx: int,
    *,
    windows: int = 0,
    noise: int = 0,
    transfer: int = 0,
    train: bool = False,
    answers: tuple[int, int, int] = (0, 0, 0),
    by_frequency: int = 0,
    scores: tuple[int, int] = (0, 0),
) -> History:
    """The history of a pack before its first update.

    Args:
      windows, noise, transfer: held-out windows, levels of noise, sources of other text; `train`: whether the loss on
        windows of the training text is measured; `answers`: tasks, tokens of the longest answer, questions;
        `by_frequency`: parts of the held-out tokens; `scores`: sources of pairs, texts of each. What is not measured
        has no array: Orbax keeps no empty ones.
    """
    tasks, longest, questions = answers
    eval_rows = {
        "eval_loss": (n_run, n_ctx),
        **({"noise_sq": (n_run, noise)} if noise else {}),
        **({"transfer_loss": (n_run, transfer)} if transfer else {}),
        **({"train_eval_loss": (n_run,)} if train else {}),
        **({name: (n_run, tasks, longest) for name in BY_TOKEN} if tasks else {}),
        **({"frequency_loss": (n_run, by_frequency)} if by_frequency else {}),
    }
    return {
        "train_loss": np.zeros((0, n_run), np.float32),
        "grad_norm": np.zeros((0, n_run), np.float32),
        "eval_step": np.zeros(0, np.int64),
        **{name: np.zeros((0, *shape), np.float32) for name, shape in eval_rows.items()},
        **({"window_loss": np.full((n_run, windows), np.nan, np.float32)} if windows else {}),
        **({"answer_wrong": np.full((n_run, tasks, questions), -1, np.int8)} if tasks else {}),
        **({"scores": np.full((n_run, *scores), np.nan, np.float32)} if scores[0] else {}),
        "seconds": np.zeros((), np.float64),
        "finished": np.zeros((), np.bool_),
    }


def packed(history: Mapping[str, np.ndarray]) -> bytes:
    """The file of a finished history, NumPy's npz: `DIGITS` as they say, all else as it is.

    Packed again, it is the same. `scaling.study.unpacked` reads it.
    """
    file = io.BytesIO()
    kept = {name: rounded(values, DIGITS[name]) if name in DIGITS else values for name, values in history.items()}
    np.savez(file, **kept)  # pyright: ignore[reportArgumentType]
    return file.getvalue()


def rounded(values: np.ndarray, digits: int) -> np.ndarray:
    """To so many binary digits, off by 2^-digits of each value at most; what is not finite, or would not be, stays.

    Of HALF digits or fewer it is float16, off by 3e-8 at most where it is below 6e-5, unless some are beyond its range.
    Else it is what it was, with zeros for the digits that are left out.
    """
    fraction, exponent = np.frexp(values)
    with np.errstate(over="ignore"):
        found = np.ldexp(np.rint(np.ldexp(fraction, digits)), exponent - digits)
    found = np.where(np.isfinite(found), found, values)
    half = digits <= HALF and np.max(np.abs(found), where=np.isfinite(found), initial=0.0) <= np.finfo(np.float16).max
    return found.astype(np.float16) if half else found


class Curve:
    """A history that grows. Its pieces are joined when it is asked for: joined at each dispatch, they would cost a long
    run more and more.
    """

    def __init__(self, history: History):
        self._pieces = {name: [values] for name, values in history.items()}

    def append(self, **rows: np.ndarray) -> None:
        for name, values in rows.items():
            self._pieces[name].append(np.asarray(values, self._pieces[name][0].dtype))

    def set(self, **values: np.ndarray) -> None:
        self._pieces |= {name: [value] for name, value in values.items()}

    def replace(self, name: str, runs: list[int], values: np.ndarray) -> None:
        """Sets the rows of some runs, where an array has one per run."""
        (whole,) = self._pieces[name]
        self._pieces[name] = [whole.copy()]
        self._pieces[name][0][runs] = values

    def last(self, name: str) -> np.ndarray:
        """The newest row."""
        return self._pieces[name][-1][-1]

    def history(self) -> History:
        self._pieces = {
            name: pieces if len(pieces) == 1 else [np.concatenate(pieces)] for name, pieces in self._pieces.items()
        }
        return {name: pieces[0] for name, pieces in self._pieces.items()}


def steps(history: History) -> np.ndarray:
    """How many rows of `train_loss` are each run's. -> i64 r

    A run ends with its first loss that is not a number: how long it is trained on after that is up to its pack.
    """
    n, n_run = history["train_loss"].shape
    ends = np.minimum(history.get("steps", np.full(n_run, n)), n)  # a record of runs of one length may not tell
    lost = ~np.isfinite(history["train_loss"])  # s r
    return np.minimum(ends, np.where(lost.any(0), lost.argmax(0) + 1, n)) if n else ends


def diverged(history: History) -> np.ndarray:
    """Which runs diverged: a loss that is not a number, or one that ended above where it started. -> bool r

    Above by more than chance, four standard errors by what parts one update from the next in its last quarter: a few
    updates on few sequences tell little where losses begin near their end. The training loss decides: a model that has
    learnt its few tokens by heart may end with a held-out loss above the first one, which is over-fitting and a result.
    """
    found = np.zeros(history["train_loss"].shape[1], bool)
    for r, n in enumerate(steps(history)):
        train_loss = history["train_loss"][:n, r]
        if n:
            if not np.isfinite(train_loss).all():
                found[r] = True
                continue
            last, quarter = train_loss[-max(1, n // 20) :], train_loss[-max(2, n // 4) :]
            noise = np.median(np.abs(np.diff(quarter))) / 0.95 if n > 1 else 0.0  # as of a normal one
            found[r] = not last.mean() - 4 * noise / len(last) ** 0.5 <= history["eval_loss"][0, r].mean()
    return found
