"""Does any input end in a traceback, a hang, or in an answer as if nothing were wrong?

    python -m benchmarks.hostile                 1,600 commands and 1,100 edited files, drawn by the seed
    python -m benchmarks.hostile --share 0.1     a tenth of each kind
    python -m benchmarks.hostile --only edited   kinds whose name begins so

Commands of all verbs with words, numbers, paths and settings that are none; files of every kind that the verbs read
(tables, fits, averages, forecasts, allocations, rates, studies, archives, configs) with bytes or values changed; and
what a process may inherit: closed streams, few descriptors, odd variables. Each command runs by itself in a forked
child of this process, with its modules loaded, and what a process inherits in a new one. What is wanted of each:

    REFUSED     exit code 2, one line, nothing on standard output
    DONE        exit code 0
    TOLD        REFUSED; or the answer to the file before the edit; or another that names the damage, or warns of more
    ENDED       an exit code of the manual, no more than a line where it is 2

A command fails, too, that prints a traceback, that a signal ends, that takes more than `CPU` seconds of a core or waits
for longer than `WALL`, or that tells of a fault of the program itself (exit code 70).
"""

import argparse
import collections
import contextlib
import dataclasses
import enum
import importlib
import io
import json
import math
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from scaling import cli, folders, machine, question

CPU = 30  # seconds of a core for one command
WALL = 120.0  # seconds; many, for a machine that others use
ADDRESSES = 8 * 2**30  # bytes
MEMORY = 2 * 2**30  # bytes that it may have at once
COMMANDS = 1_600  # in full
LONG_AGO = 600.0  # seconds before now when a case's files were written: nobody's lease is waited for
PROGRESS = re.compile(r"(reading|encoding|written|studies|/\S+: \d+ of|\S+: Note|[^:]*: note)\b")
CODES = (0, 1, 2, 3, 42, 141)  # of the manual


class Wanted(enum.Enum):
    REFUSED = "refused"
    DONE = "done"
    TOLD = "told or refused"
    ENDED = "ended"


@dataclasses.dataclass(frozen=True)
class Case:
    """A command and what is wanted of it.

    Attributes:
        kind: for the table.
        words: of the command; FOLDER is that of the good files, HERE one of its own.
        files: written to HERE before it runs.
        good: words whose answer is the same where the edit does no harm.
        names: what a message may call the damage.
        shell: in place of words, a line for a shell in which SCALING is the command.
    """

    kind: str
    words: tuple[str, ...]
    wanted: Wanted
    files: Mapping[str, bytes] = dataclasses.field(default_factory=dict)
    good: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    shell: str = ""

    @property
    def edited(self) -> bool:
        return self.kind.startswith("edited")


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, below 0 for a signal; what it said; whether it had to be stopped."""

    code: int
    out: str
    err: str
    stopped: bool = False
    memory: int = 0  # bytes at most


# --- the good files

CONFIG = """
from scaling.config import DataConfig, EvalConfig, RunConfig, Study
from scaling.ladder import transformer

def study(n: int = 2):
    data = DataConfig("synthetic:order=1,symbols=8,bytes=1e6", "bytes")
    model = transformer(8, 1, d_head=8, n_vocab=257, n_ctx=16)
    return Study("mine", "?", tuple(
        RunConfig(model, tokens=1024, batch=4, seed=seed, data=data, eval=EvalConfig(windows=4)) for seed in range(n)
    ))
"""
MAKE = (  # commands that make the good files
    "fit chinchilla FOLDER/runs.csv --out FOLDER/fit.json",
    "fit kaplan-bcrit FOLDER/batch.csv --out FOLDER/bcrit.json",
    "fit --choose chinchilla q-norm FOLDER/runs.csv --average --out FOLDER/average.json",
    "predict FOLDER/fit.json --params 1e10 --tokens 1e11 --store FOLDER/forecasts/one.json",
    "allocate FOLDER/isoflop.csv --approach isoflop --out FOLDER/line.json",
    "tune FOLDER/sweep.csv --out FOLDER/rates.json",
)
TRAIN = "study run FOLDER/mine.py --out FOLDER/trained --workers 1"
ARCHIVE = "study export FOLDER/trained --records FOLDER/trained.tar"


def write_tables(folder: Path) -> None:
    """runs.csv, isoflop.csv, isoflop.parquet, sweep.csv, batch.csv: losses of known laws with 0.3 % of noise."""
    import numpy as np

    from analysis.table import Table

    rng = np.random.default_rng(0)

    def loss(N: Any, D: Any) -> Any:
        return (1.7 + 400 / N**0.34 + 410 / D**0.28) * np.exp(0.003 * rng.standard_normal(len(N)))

    N, D = (x.ravel().round() for x in np.meshgrid(np.geomspace(1e6, 1e9, 6), np.geomspace(2e7, 2e10, 6)))
    Table.from_columns({"params": N, "tokens": D, "loss": loss(N, D)}).to_csv(folder / "runs.csv")
    C, N = (x.ravel() for x in np.meshgrid([1e18, 1e19, 1e20], np.geomspace(0.25, 4, 7)))
    N = (N * (C / 60) ** 0.5).round()
    isoflop = Table.from_columns({"params": N, "tokens": C / 6 / N, "flops": C, "loss": loss(N, C / 6 / N)})
    isoflop.to_csv(folder / "isoflop.csv")
    isoflop.to_parquet(folder / "isoflop.parquet")
    N, rate = (x.ravel() for x in np.meshgrid([1e5, 3e5, 1e6, 1e7], np.geomspace(1e-3, 1e-1, 7)))
    bowl = 3.0 * np.exp(0.02 * np.log(rate / (0.01 * (N / 1e6) ** -0.3)) ** 2)
    Table.from_columns({"params": N, "tokens": 0 * N + 1e9, "learning_rate": rate, "loss": bowl}).to_csv(
        folder / "sweep.csv"
    )
    L = np.linspace(2.5, 6.0, 12)
    batch = 2.1e8 * L ** (-1 / 0.21) * np.exp(0.1 * rng.standard_normal(12))
    Table.from_columns({"loss": L, "batch_crit": batch}).to_csv(folder / "batch.csv")


def write_odd_files(folder: Path, rng: random.Random) -> None:
    """What is no table and no fit, however it is named."""
    odd = folder / "odd"
    odd.mkdir()
    deep = b"[" * 100_000
    for ending in (".csv", ".parquet", ".json", ".py", ".toml", ".tar"):
        for name, content in {
            "empty": b"",
            "noise": rng.randbytes(999),
            "zeros": bytes(4096),
            "long": b"1" * 3_000_000,
            "deep": deep,
            "utf16": "params,tokens,loss\n1,2,3\n".encode("utf-16"),
            "newlines": b"\n" * 1000,
        }.items():
            (odd / f"{name}{ending}").write_bytes(content)
        (odd / f"endless{ending}").symlink_to("/dev/zero")
        (odd / f"full{ending}").symlink_to("/dev/full")
        os.mkfifo(odd / f"pipe{ending}")
        (odd / f"folder{ending}").mkdir()
        (odd / f"circle{ending}").symlink_to(odd / f"circle{ending}")
        (odd / f"below{ending}").symlink_to(folder / "runs.csv" / f"below{ending}")


def odd_paths(ending: str) -> list[str]:
    names = ("empty", "noise", "zeros", "long", "deep", "utf16", "newlines", "endless", "pipe", "folder", "circle")
    paths = [f"FOLDER/odd/{name}{ending}" for name in (*names, "below", "absent")]
    return [*paths, "", "/", ".", "/dev/zero", "/dev/null", f"FOLDER/{'x' * 300}{ending}", f"FOLDER/\x1b[2J{ending}",
            f"FOLDER/\udce9{ending}", f"FOLDER/runs.csv/x{ending}", "~", f"gs://bucket/x{ending}", "-"]  # fmt: skip


# --- commands

NONE = ("nan", "inf", "-inf", "", "abc", "1e400", "0x10", "1,000", "True", "1/0", "[1]", "--", "9" * 5000)
FEW = ("-1", "0", "1e-400", "1e300", "1e9", "0.5", "-0.0", " 7 ", "1_0", "٣", "1e18")
WORDS = ("", " ", "absent", "\x1b[31mred", "../../x", "é", "\udcff", "x" * 100_000, "'", "a b", "None", "=", "\n", "*")
FORMULAS = ("=", "params=", "=params", "params", "params=params", "params=absent", "params=1/0", "params=0*tokens",
            "params=1e400*tokens", "params=__import__('os')", "params=().__class__", "params=" + "(" * 5000,
            "params=" + "+".join(["tokens"] * 5000), "params=9**9**9**9", "params=tokens**tokens", "params=nan",
            "params=-tokens", "params='a'", "params=tokens[0]", "params=lambda:1", "params=1 if 1 else 2", "loss=inf",
            "tokens=300Q", "params=tokens params=loss", "params=\x1b", "loss=-loss", "loss=loss/0")  # fmt: skip
CONDITIONS = ("", "=", "<", "params", "params<", "<params", "params<abc", "params<nan", "absent=1", "1<params<",
              "params=", "params!=", "9<=params<=1", "params<1e400", "params==1==2", "loss<0", "\x1b=1")  # fmt: skip

# Verbs with each option that takes a value: N a number, W a word, F a formula, C a condition, I a file that is read and
# O one that is written, by its ending.
VERBS: dict[str, tuple[str, dict[str, str]]] = {
    "fit": (
        "fit chinchilla FOLDER/runs.csv",
        {"--delta": "N", "--asymmetry": "N", "--drop-worst": "N", "--level": "N", "--bootstrap": "N", "--fix": "W",
         "--columns": "F", "--where": "C", "--best-of": "W", "--target": "W", "--loss": "W", "--hold-out": "C",
         "--weights": "W", "--clusters": "W", "--batch-fit": "I.json", "--drop": "W", "--against": "W",
         "--choose": "W", "--out": "O.json", "--plot": "O.svg"},
    ),
    "allocate": (
        "allocate FOLDER/isoflop.csv --approach isoflop",
        {"--budgets": "N", "--sigma": "N", "--level": "N", "--drop-worst": "N", "--columns": "F", "--where": "C",
         "--law": "W", "--method": "W", "--approach": "W", "--best-of": "W", "--out": "O.json"},
    ),
    "compare": (
        "compare FOLDER/runs.csv FOLDER/runs.csv --where-a params<3e7",
        {"--law": "W", "--where-b": "C", "--columns-b": "F"},
    ),
    "gate": (
        "gate FOLDER/runs.csv FOLDER/runs.csv --where-a params<3e7",
        {"--at-least": "N", "--at": "N", "--by": "W", "--floor": "N", "--floor-from": "I.json", "--law": "W",
         "--where-b": "C"},
    ),
    "predict": (
        "predict FOLDER/fit.json --params 1e9 --tokens 1e10",
        {"--params": "N", "--tokens": "N", "--store": "O.json", "--measured": "N", "--absent": "N"},
    ),
    "score": ("predict FOLDER/forecasts/one.json", {"--measured": "N"}),
    "plan": (
        "plan FOLDER/fit.json --flops 1e21",
        {"--flops": "N", "--hardware": "W", "--hours": "N", "--money": "N", "--price": "N", "--utilisation": "N",
         "--inference-tokens": "N", "--inference-cost": "N", "--unique-tokens": "N", "--params": "N", "--aspect": "N",
         "--embeddings": "N",
         "--rates": "I.json", "--batch-fit": "I.json", "--store": "O.json", "--tokens": "N", "--peak": "N",
         "--chips": "N", "--power": "N", "--pue": "N", "--grid": "N", "--n-ctx": "N", "--n-vocab": "N",
         "--write": "O.py"},
    ),
    "plan without a fit": (
        "plan published:chinchilla --peak 1e14 --hours 5",
        {"--unique-tokens": "N", "--params": "N", "--inference-tokens": "N", "--peak": "N", "--hours": "N",
         "--write": "O.py"},
    ),
    "what a training takes": (
        "plan --params 1e9 --tokens 2e10 --hardware h100:8",
        {"--params": "N", "--tokens": "N", "--hardware": "W", "--price": "N", "--power": "N", "--pue": "N",
         "--grid": "N", "--n-ctx": "N", "--n-vocab": "N", "--aspect": "N", "--embeddings": "N"},
    ),
    "predict without a fit": (
        "predict published:chinchilla --params 1e9 --tokens 1e10",
        {"--params": "N", "--tokens": "N", "--unique-tokens": "N"},
    ),
    "plan by hours": (
        "plan FOLDER/fit.json --hardware v5p-128 --hours 72",
        {"--hours": "N", "--hardware": "W", "--utilisation": "N"},
    ),
    "forecast": (
        "forecast FOLDER/forecasts",
        {"--measured": "W", "--follow": "W", "--columns": "F", "--page": "O.html"},
    ),
    "tune": (
        "tune FOLDER/sweep.csv",
        {"--sigma": "N", "--columns": "F", "--where": "C", "--best-of": "W", "--name": "W", "--out": "O.json",
         "--plot": "O.svg", "--coordinate-check": "I.py"},
    ),
    "table": (
        "table synthetic:chinchilla --out HERE/x.csv",
        {"--noise": "N", "--seed": "N", "--set": "F", "--out": "O.csv"},
    ),
    "backtest": (
        "backtest FOLDER/runs.csv --law absent",
        {"--law": "W", "--steps": "N", "--clusters": "W", "--target": "W", "--where": "C", "--plot": "O.svg"},
    ),
    "study show": ("study show FOLDER/mine.py", {"--set": "F", "--workers": "N", "--pack": "N"}),
    "study run": (
        "study run FOLDER/mine.py --out HERE/out --shard 9/16",
        {"--shard": "W", "--workers": "N", "--pack": "N", "--out": "O", "--mesh": "W", "--process-id": "N"},
    ),
    "study export": ("study export FOLDER/begun", {"--csv": "O.csv", "--parquet": "O.parquet", "--records": "O.tar"}),
    "corpus prepare": (
        "corpus show synthetic:order=1,symbols=8,bytes=1e5 --tokenizer bytes --tokens 1e4 --validation-tokens 1000",
        {"--tokens": "N", "--n-vocab": "N", "--tokenizer": "I.model", "--validation": "W",
         "--validation-tokens": "N"},
    ),
    "quickstart": (
        "quickstart --out HERE/out --minutes 0",
        {"--minutes": "N", "--data": "W", "--workers": "N", "--pack": "N"},
    ),
    "reproduce": ("reproduce kaplan --draw --out FOLDER/begun", {"--budget": "W", "--only": "W", "--set": "F"}),
    "launch": (
        "launch FOLDER/mine.py --on local --accelerator cpu:1 --out HERE/out --dry-run",
        {"--on": "W", "--accelerator": "W", "--tasks": "N", "--slices": "N", "--mesh": "W", "--time": "W",
         "--name": "W", "--mfu": "N", "--prices": "I.toml", "--measured": "I", "--with": "F", "--set": "F"},
    ),
}  # fmt: skip
READ = {  # verbs by the file that they read first
    "fit chinchilla {}": (".csv", ".parquet"), "allocate {}": (".csv", ".parquet"), "tune {}": (".csv",),
    "compare {} FOLDER/runs.csv": (".csv",), "gate FOLDER/runs.csv {}": (".csv",), "backtest {}": (".csv",),
    "predict {} --params 1e9": (".json",), "predict {} --measured 2": (".json",), "plan {} --flops 1e20": (".json",),
    "forecast {}": ("",), "study show {}": (".py",), "study status {}": ("",), "report {}": ("",),
    "study export {} --csv HERE/x.csv": ("",), "study import FOLDER/begun {}": (".tar",),
    "study run {} --out HERE/out": (".py",),
    "launch {} --on local --accelerator cpu:1 --out HERE/o --dry-run": (".py",),
}  # fmt: skip
CONFIGS = {  # a config's code, without the imports that all share
    "raises": "def study(): raise ValueError('no')",
    "raises without words": "def study(): raise KeyError",
    "raises many lines": "def study(): raise ValueError('a\\nb\\x1b[2J')",
    "exits with 0": "import sys\nsys.exit(0)",
    "exits inside": "def study(): raise SystemExit",
    "is interrupted by itself": "def study(): raise GeneratorExit",
    "loops": "def study():\n while True: pass",
    "loops at once": "while True: pass",
    "sleeps": "import time\ntime.sleep(1e6)",
    "reads the keyboard": "def study(): return input()",
    "recurses": "def study(): return study()",
    "returns nothing": "def study(): pass",
    "returns a number": "def study(): return 7",
    "returns text": "def study(): return 'x'",
    "returns a class": "from scaling.config import Study\ndef study(): return Study",
    "yields": "def study(): yield 1",
    "waits": "async def study(): return 1",
    "returns runs that are none": "from scaling.config import Study\ndef study(): return Study('x', '?', (1, 2))",
    "returns None as runs": "from scaling.config import Study\ndef study(): return Study('x', '?', None)",
    "returns no runs": "from scaling.config import Study\ndef study(): return Study('x', '?', ())",
    "returns a name that is none": "from configs.quickstart import study as s\n"
    "def study():\n import dataclasses\n return dataclasses.replace(s(), name=None)",
    "wants a value": "def study(x): return x",
    "wants all values": "def study(*a, **k): return 1",
    "has another type": "study = 5",
    "is a built-in": "study = dict",
    "is a class": "class study: pass",
    "has an odd annotation": "def study(x: 'absent' = 1): return 1",
    "imports what is not there": "import absent",
    "imports itself": "import config\ndef study(): return config.study()",
    "is no Python": "def study(:",
    "is indented": " def study(): pass",
    "holds a zero": "def study(): pass\n\x00",
    "is in Latin-1": "# é\ndef study(): pass",
    "is nested": "def study(): return " + "(" * 300 + ")" * 300,
    "cannot be shown": "class A:\n def __repr__(self): raise ValueError\ndef study(): return A()",
}  # fmt: skip
INHERITED = {  # of a new process: what a shell does, and what is wanted
    "MPLBACKEND=nonsense SCALING fit chinchilla FOLDER/runs.csv --plot HERE/x.svg": Wanted.DONE,
    "MATPLOTLIBRC=FOLDER/odd/noise.csv SCALING fit chinchilla FOLDER/runs.csv --plot HERE/x.svg": Wanted.ENDED,
    "JAX_PLATFORMS=nonsense SCALING study show FOLDER/mine.py": Wanted.REFUSED,
    "JAX_PLATFORMS=nonsense SCALING fit chinchilla FOLDER/runs.csv": Wanted.REFUSED,
    "XLA_FLAGS=nonsense SCALING fit chinchilla FOLDER/runs.csv": Wanted.REFUSED,
    "XLA_FLAGS=--xla_nonsense=1 SCALING study show FOLDER/mine.py": Wanted.REFUSED,
    "SCALING study show FOLDER/mine.py >&-": Wanted.REFUSED,
    "SCALING study show FOLDER/mine.py <&-": Wanted.DONE,
    "SCALING predict FOLDER/fit.json --params 1e9 --tokens 1e9 --store HERE/f.json 2>&-": Wanted.DONE,
    "SCALING study show FOLDER/mine.py >/dev/full": Wanted.REFUSED,
    "SCALING study show FOLDER/mine.py 2>/dev/full": Wanted.DONE,
    "SCALING --help >/dev/full": Wanted.REFUSED,
    "ulimit -n 24; SCALING study run FOLDER/mine.py --out HERE/out": Wanted.REFUSED,
    "ulimit -n 24; SCALING study show FOLDER/mine.py": Wanted.REFUSED,
    "ulimit -v 1000000; SCALING fit chinchilla FOLDER/runs.csv": Wanted.REFUSED,
    "ulimit -v 500000; SCALING study show FOLDER/mine.py": Wanted.REFUSED,
    "ulimit -f 0; SCALING allocate FOLDER/isoflop.csv --approach isoflop --out HERE/a.json": Wanted.ENDED,
    "PYTHONIOENCODING=ascii SCALING plan FOLDER/fit.json --flops 1e21": Wanted.DONE,
    "PYTHONIOENCODING=ascii SCALING fit --list": Wanted.DONE,
    "PYTHONIOENCODING=latin-1 SCALING tune FOLDER/sweep.csv": Wanted.DONE,
    "LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 SCALING plan FOLDER/fit.json --flops 1e21": Wanted.DONE,
    "SCALING study show $'FOLDER/\\xe9.py'": Wanted.REFUSED,
    "HOME=/absent XDG_CACHE_HOME= SCALING predict FOLDER/fit.json --params 1e9 --tokens 1e9": Wanted.DONE,
    "SCALING_CACHE=/dev/null/x SCALING fit chinchilla FOLDER/runs.csv": Wanted.ENDED,
    "SCALING_CACHE=FOLDER/runs.csv SCALING corpus show synthetic: --tokens 1e4": Wanted.REFUSED,
    "JAX_COMPILATION_CACHE_DIR=/proc/x SCALING fit chinchilla FOLDER/runs.csv": Wanted.ENDED,
    "TMPDIR=/absent SCALING study show FOLDER/mine.py": Wanted.DONE,
    "SCALING study show FOLDER/mine.py --set n=5000 | head -1": Wanted.DONE,
    "set -o pipefail; SCALING study show FOLDER/mine.py --set n=5000 | head -1": Wanted.ENDED,
    "COLUMNS=0 SCALING fit --help": Wanted.DONE,
    "COLUMNS=x SCALING fit --help": Wanted.DONE,
    "PYTHONWARNINGS=error SCALING predict FOLDER/fit.json --params 1e9 --tokens 1e9": Wanted.DONE,
    "OMP_NUM_THREADS=x OPENBLAS_NUM_THREADS=-1 SCALING fit chinchilla FOLDER/runs.csv": Wanted.DONE,
    "TZ=nonsense/x SCALING predict FOLDER/fit.json --params 1e9 --tokens 1e9 --store HERE/f.json": Wanted.DONE,
    "cd HERE && mkdir gone && cd gone && rmdir ../gone && SCALING study show FOLDER/mine.py": Wanted.ENDED,
}  # fmt: skip


def commands(rng: random.Random) -> Iterator[Case]:
    """Verbs with one or two options that are hostile, or a file that is none."""
    for verb, (base, options) in VERBS.items():
        for option, takes in options.items():
            for value in _values(takes):
                words = (*base.split(), f"{option}={value}") if option != "--set" else (*base.split(), option, value)
                wanted = Wanted.REFUSED if takes == "N" and value in NONE else Wanted.ENDED
                yield Case(f"{verb}: {'number' if takes == 'N' else 'word or file'}", words, wanted)
    for form, endings in READ.items():
        for ending in endings:
            for path in odd_paths(ending):
                words = tuple(path if word == "{}" else word for word in form.split())
                yield Case("a file that is none", words, Wanted.REFUSED)
    keys = {key: kind for key, kind in question.keys("configs.quickstart").items() if "." in key or key == "batch"}
    for key in keys:
        for value in (*NONE, *FEW):
            wanted = Wanted.REFUSED if value in NONE and keys[key] in (int, float) else Wanted.ENDED
            yield Case("settings", ("study", "show", "FOLDER/mine.py", "--set", f"{key}={value}"), wanted)
    for _ in range(200):  # words of all verbs, shuffled
        verb, other = rng.sample(list(VERBS), 2)
        words = [*VERBS[verb][0].split(), *rng.sample(VERBS[other][0].split(), 2)]
        rest = words[1:]
        rng.shuffle(rest)
        yield Case("shuffled words", (words[0], *rest), Wanted.ENDED)


def _values(takes: str) -> Sequence[str]:
    if takes[0] == "I":
        return odd_paths(takes[1:])
    if takes[0] == "O":
        ending = takes[1:]
        return ["", "/dev/full", f"/absent/x{ending}", f"FOLDER/odd/folder{ending}",
                f"FOLDER/odd/full{ending}", f"FOLDER/runs.csv/x{ending}", f"HERE/{'x' * 300}{ending}",
                f"/proc/x{ending}", "HERE/x.absent",
                f"HERE/\udce9{ending}", f"FOLDER/odd/circle{ending}", f"HERE/\x1b[2J{ending}"]  # fmt: skip
    return {"N": (*NONE, *FEW), "W": (*WORDS, *NONE[:4]), "F": FORMULAS, "C": CONDITIONS}[takes]


def configs() -> Iterator[Case]:
    for what, text in CONFIGS.items():
        code = text.encode("latin-1" if "Latin" in what else "utf-8")
        for verb in ("study show", "study run --out HERE/out"):
            words = (*verb.split()[:2], "HERE/config.py", *verb.split()[2:])
            yield Case("configs", words, Wanted.REFUSED, {"config.py": code})


def inherited() -> Iterator[Case]:
    for shell, wanted in INHERITED.items():
        yield Case("inherited", (), wanted, shell=shell)


# --- edited files


def cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(1, max(2, len(content) - 2))]


def flipped(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 3, 30))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def mixed_up(content: bytes, rng: random.Random) -> bytes:
    """Bytes put in, doubled or in another encoding."""
    at = rng.randrange(len(content))
    return rng.choice(
        [
            lambda: content[:at] + b"\x00" + content[at:],
            lambda: content[:at] + b"\xff\xfe" + content[at:],
            lambda: content + content,
            lambda: content + b"garbage",
            lambda: content[:at] + rng.randbytes(50) + content[at + 50 :],
            lambda: content.decode("latin-1").encode("utf-16"),
            lambda: b"\xef\xbb\xbf" + content,
            lambda: content.replace(b"\n", b"\r"),
        ]
    )()


ODD_VALUES = (None, "text", "", [], {}, True, math.nan, math.inf, -math.inf, [[]], {"a": 1}, "\x1b[2J", 10**400)
OTHER_VALUES = (0, -1, 1e300, -1e-300, 0.5)


def edited_json(content: bytes, rng: random.Random) -> tuple[bytes, Wanted, str]:
    """A JSON file with one value changed, and its place; half of those that hold their checksum without it."""
    value = json.loads(content)
    unsealed = rng.random() < 0.5 and isinstance(value, dict) and bool(value.pop(folders.SEAL, ""))
    places = list(_places(value))
    *way, last = rng.choice([place for place in places if place])
    inside = value
    for step in way:
        inside = inside[step]
    place = ".".join(map(str, (*way, last)))
    what = rng.choice(("odd", "odd", "odd", "other", "gone", "twice", "renamed"))
    wanted = Wanted.ENDED if unsealed else Wanted.TOLD
    if what == "odd":
        inside[last] = rng.choice(ODD_VALUES)
    elif what == "other" or not isinstance(inside, dict):
        inside[last], wanted = rng.choice(OTHER_VALUES), Wanted.ENDED
    elif what == "gone":
        del inside[last]
    elif what == "renamed":
        inside[f"{last}_"] = inside.pop(last)
    else:
        text = json.dumps(value, indent=1)
        key = json.dumps(last)
        return text.replace(f"{key}: ", f"{key}: 1, {key}: ", 1).encode(), Wanted.REFUSED, place
    return json.dumps(value, indent=1).encode(), wanted, place


def _places(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield way
    if isinstance(value, dict):
        for key, inside in value.items():
            yield from _places(inside, (*way, key))
    elif isinstance(value, list):
        for i in range(min(len(value), 3)):
            yield from _places(value[i], (*way, i))


ODD_CELLS = ("nan", "inf", "-inf", "abc", "1e400", "-1", "0", "=1+1", "1;5", "∞", "-", "1e-400", "0x10", "\x1b[2J", '"')


def edited_csv(content: bytes, rng: random.Random) -> tuple[bytes, Wanted, str]:
    """A table with one cell, row or name changed, and what a message may call it."""
    lines = [line.split(",") for line in content.decode().split()]
    row, k = rng.randrange(1, len(lines)), rng.randrange(len(lines[0]))
    name, wanted, told = lines[0][k], Wanted.TOLD, f"row {row}"
    what = rng.choice(("cell", "cell", "cell", "cell", "empty", "short", "long", "name", "no name", "twice", "row"))
    if what == "cell":
        lines[row][k] = rng.choice(ODD_CELLS)
    elif what == "empty":
        lines[row][k] = ""
    elif what == "short":
        del lines[row][k]
        wanted = Wanted.REFUSED
    elif what == "long":
        lines[row].insert(k, "1")
        wanted = Wanted.REFUSED
    elif what in ("name", "no name"):
        lines[0][k] = "" if what == "no name" else rng.choice((f"{name}x", "\x1b[2J", name.upper(), "é"))
        told, wanted = name, Wanted.ENDED  # flops follow from the others
    elif what == "twice":
        lines[0][k] = lines[0][k - 1]
        wanted = Wanted.REFUSED
    else:
        lines.insert(row, list(lines[row]))
        wanted = Wanted.ENDED  # the text tells how many rows are used
    return "\n".join(map(",".join, lines)).encode(), wanted, told


def edited_parquet(content: bytes, rng: random.Random) -> tuple[bytes, Wanted, str]:
    """A Parquet table with a column of another type."""
    import pyarrow
    import pyarrow.parquet

    columns = pyarrow.parquet.read_table(io.BytesIO(content)).to_pydict()
    name = rng.choice(list(columns))
    n = len(columns[name])
    odd: list[list[Any]] = [
        [[1.0]] * n, [{"a": 1}] * n, [None] * n, ["abc"] * n, [True] * n, [b"\xff"] * n, [math.nan] * n, [-1.0] * n,
        [10**17] * n, [1.0, *[None] * (n - 1)],
    ]  # fmt: skip
    columns[name] = rng.choice(odd)
    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns).slice(0, rng.choice((n, n, n, 0))), out)
    return out.getvalue(), Wanted.ENDED if columns[name][0] == 10**17 else Wanted.TOLD, name


Edit = Callable[[bytes, random.Random], tuple[bytes, Wanted, str]]


def _bytes(change: Callable[[bytes, random.Random], bytes], wanted: Wanted) -> Edit:
    return lambda content, rng: (change(content, rng), wanted, "")


CUT, FLIPPED, MIXED = (
    _bytes(change, wanted)
    for change, wanted in ((cut, Wanted.REFUSED), (flipped, Wanted.ENDED), (mixed_up, Wanted.ENDED))
)
SCORE = "predict {} --measured 2.5"
EDITED: dict[str, tuple[str, tuple[str, ...], tuple[Edit, ...], int]] = {
    # kind: file, commands, edits, how many in full
    "fit": (
        "fit.json",
        ("predict {} --params 1e9 --tokens 1e10", "plan {} --flops 1e21", "plan {} --flops 1e21 --json"),
        (edited_json, edited_json, edited_json, CUT, FLIPPED, MIXED),
        300,
    ),
    "batch fit": ("bcrit.json", ("plan FOLDER/fit.json --flops 1e21 --batch-fit {}",), (edited_json, CUT, MIXED), 60),
    "average": ("average.json", ("predict {} --params 1e9 --tokens 1e10",), (edited_json, CUT, FLIPPED, MIXED), 80),
    "forecast": ("forecasts/one.json", (SCORE, "forecast HERE"), (edited_json, CUT, FLIPPED, MIXED), 140),
    "allocation": ("line.json", ("plan {} --flops 1e21",), (edited_json, CUT, FLIPPED, MIXED), 80),
    "rates": ("rates.json", ("plan FOLDER/fit.json --flops 1e21 --rates {}",), (edited_json, CUT, FLIPPED, MIXED), 100),
    "sweep": ("sweep.csv", ("tune {}",), (edited_csv, edited_csv, edited_csv, MIXED), 120),
    "isoflop table": (
        "isoflop.csv", ("allocate {} --approach isoflop",), (edited_csv, edited_csv, edited_csv, MIXED), 140
    ),
    "table": ("runs.csv", ("fit chinchilla {}",), (edited_csv, MIXED), 20),
    "Parquet": ("isoflop.parquet", ("allocate {} --approach isoflop",), (edited_parquet, CUT, FLIPPED), 60),
}  # fmt: skip
FOLDERS: dict[str, tuple[str, tuple[str, ...], int]] = {
    # kind: folder or archive, commands, how many in full
    "begun study": ("begun", ("study status {}", "study run FOLDER/mine.py --out {} --shard 9/16"), 80),
    "trained study": ("trained", ("study status {}", "study export {} --csv HERE/x.csv"), 100),
    "archive": ("trained.tar", ("study import HERE/into {}",), 60),
}  # fmt: skip


def edited_files(folder: Path, rng: random.Random) -> Iterator[Case]:
    for kind, (file, forms, edits, n) in EDITED.items():
        content = (folder / file).read_bytes()
        for i in range(n):
            edit = edits[i % len(edits)]
            changed, wanted, names = edit(content, rng)
            form, name = rng.choice(forms), Path(file).name
            here, there = (
                tuple(path if word == "{}" else word for word in of.split())
                for of, path in ((form, f"HERE/{name}"), (form.replace("HERE", "FOLDER/forecasts"), f"FOLDER/{file}"))
            )
            yield Case(f"edited {kind}", here, wanted, {name: changed}, there, (names,) if names else ())
    for kind, (name, forms, n) in FOLDERS.items():
        whole = folder / name
        if not whole.exists():
            continue
        files = {
            f"{name}/{path.relative_to(whole)}" if whole.is_dir() else name: path.read_bytes()
            for path in ([whole] if whole.is_file() else sorted(whole.rglob("*")))
            if path.is_file()
        }
        small = [file for file in files if files[file]]
        for _ in range(n):
            told = [file for file in small if file.endswith(".json")]
            file = rng.choice(told if told and rng.random() < 0.7 else small)
            if file.endswith(".json") and rng.random() < 0.6 and isinstance(json.loads(files[file]), dict):
                changed, _, _ = edited_json(files[file], rng)
            else:
                changed = rng.choice((cut, flipped, mixed_up))(files[file], rng)
            form = rng.choice(forms)
            words = tuple(f"HERE/{name}" if word == "{}" else word for word in form.split())
            yield Case(f"edited {kind}", words, Wanted.ENDED, {**files, file: changed})


# --- running and judging


class Bench:
    """The folder with the good files, and one of its own for each command."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.answers: dict[tuple[str, ...], Ended] = {}
        self.wall = WALL

    def run(self, case: Case) -> Ended:
        here = self.folder / "here"
        shutil.rmtree(here, ignore_errors=True)
        for name, content in case.files.items():
            (here / name).parent.mkdir(parents=True, exist_ok=True)
            (here / name).write_bytes(content)
            then = time.time() - LONG_AGO
            os.utime(here / name, (then, then))
        here.mkdir(exist_ok=True)
        if case.shell:
            return self._in_a_shell(self._placed(case.shell))
        return self._forked([self._placed(word) for word in case.words], here)

    def _placed(self, word: str) -> str:
        return word.replace("FOLDER", str(self.folder)).replace("HERE", str(self.folder / "here"))

    def _in_a_shell(self, line: str) -> Ended:
        line = re.sub(r"\bSCALING\b", f"{sys.executable} -m scaling", line)
        env = {**os.environ, "PYTHONPATH": os.getcwd()}
        with subprocess.Popen(
            ["bash", "-c", line], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env,
            start_new_session=True,
        ) as process:  # fmt: skip
            try:
                out, err = process.communicate(timeout=self.wall)
                stopped = False
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                out, err = process.communicate()
                stopped = True
        return Ended(process.returncode, out.decode(errors="replace"), err.decode(errors="replace"), stopped)

    def _forked(self, words: list[str], here: Path) -> Ended:
        out, err = self.folder / "out", self.folder / "err"
        pid = os.fork()
        if not pid:
            self._become(words, here, out, err)
        began = time.monotonic()
        pause = 0.002
        while True:
            done, status, used = os.wait4(pid, os.WNOHANG)
            if done:
                break
            if time.monotonic() - began > self.wall:
                os.killpg(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                return Ended(-9, *(path.read_text(errors="replace") for path in (out, err)), stopped=True)
            time.sleep(pause := min(0.05, pause * 1.2))
        code = os.waitstatus_to_exitcode(status)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)  # whom it left behind
        texts = [path.read_text(encoding="utf-8", errors="replace") for path in (out, err)]
        return Ended(code, texts[0], texts[1], code == -signal.SIGXCPU, used.ru_maxrss * 1024)

    def _become(self, words: list[str], here: Path, out: Path, err: Path) -> None:
        """The child: runs the command and never returns."""
        code = 99
        try:
            os.setsid()
            os.chdir(here)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            for number, path in ((1, out), (2, err)):
                os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
            sys.stdin = open(0, closefd=False)  # noqa: SIM115
            sys.stdout, sys.stderr = (open(number, "w", closefd=False) for number in (1, 2))  # noqa: SIM115
            resource.setrlimit(resource.RLIMIT_CPU, (CPU, CPU + 5))
            resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            question.LIMIT = 2.0
            try:
                cli.main(words)
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 98
            except BaseException:
                import traceback

                traceback.print_exc()
                code = 97
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
        finally:
            os._exit(code)

    def fault(self, case: Case, ended: Ended) -> str:
        """What is wrong with how a command ended; empty where nothing is."""
        if ended.stopped:
            return "hangs"
        if ended.memory > MEMORY:
            return f"takes {ended.memory / 2**30:.1f} GiB"
        if "Traceback (most recent" in ended.err + ended.out:
            return f"traceback: {ended.err.strip().splitlines()[-1][:150]}"
        if ended.code == cli.FAULT:
            return f"fault: {ended.err.strip()[:300]}"
        if ended.code < 0 or ended.code not in CODES:
            return f"exit code {ended.code}: {ended.err.strip()[-150:]}"
        lines = [line for line in ended.err.splitlines() if not PROGRESS.match(line)]
        if ended.code == 2 and (len(lines) != 1 or not lines[0].startswith("scaling")) and "2>&" not in case.shell:
            return f"{len(lines)} lines: {' / '.join(lines)[:200]!r}"
        if ended.code == 2 and any(not c.isprintable() for line in lines for c in line):
            return f"control characters: {lines!r:.150}"
        if ended.code == 2 and len(lines) == 1 and len(lines[0]) > 2000:
            return f"a line of {len(lines[0])} characters: {lines[0][:80]}"
        if (case.wanted is Wanted.REFUSED and ended.code != 2) or (case.wanted is Wanted.DONE and ended.code):
            return f"exit code {ended.code}, wanted {case.wanted.value}: {(ended.err or ended.out).strip()[:150]!r}"
        if case.wanted is Wanted.TOLD and ended.code == 0 and case.good:
            if case.good not in self.answers:
                self.answers[case.good] = self.run(Case("", case.good, Wanted.DONE))
            good = self.answers[case.good]
            here, there = (_bare(e.out + e.err) for e in (ended, good))
            told = (*case.names, "Warning: ", "Note: ", "note: ", "left out")
            if here != there and not any(here.count(word) > there.count(word) for word in told):
                return f"silently accepted ({', '.join(case.names)}): {_first_difference(there, here)}"
        return ""


def _bare(text: str) -> str:
    """An answer without paths."""
    return re.sub(r"\S*/|\S+\.(csv|json|parquet)", "", text)


def _first_difference(good: str, other: str) -> str:
    pairs = zip(good.splitlines(), other.splitlines(), strict=False)
    return next((f"{b.strip()[:90]!r} for {a.strip()[:90]!r}" for a, b in pairs if a != b), "more or fewer lines")


def prepared(folder: Path, trained: bool) -> Bench:
    """The good files, made by the verbs themselves."""
    (folder / "forecasts").mkdir()
    (folder / "mine.py").write_text(CONFIG)
    write_tables(folder)
    write_odd_files(folder, random.Random(0))
    bench = Bench(folder)
    bench.wall = math.inf
    begun = "study run FOLDER/mine.py --out FOLDER/begun --shard 9/16"
    for line in (*MAKE, begun, *([TRAIN, ARCHIVE] if trained else [])):
        ended = bench.run(Case("", tuple(line.split()), Wanted.DONE))
        if ended.code:
            raise RuntimeError(f"{line} ended with {ended.code}: {ended.err}{ended.out}")
    bench.wall = WALL
    return bench


def load() -> None:
    """Imports what commands import, so that their processes begin with it. JAX starts no thread before it is used."""
    os.environ["JAX_PLATFORMS"] = "cpu"
    cli.parser()
    for name in (
        "jax.numpy", "pyarrow.parquet", "scipy.optimize", "scipy.stats", "scaling.exchange", "scaling.status",
        "analysis.allocation", "analysis.backtest", "analysis.gate", "analysis.follow", "analysis.registry",
        "analysis.report", "analysis.transfer", "analysis.page.backtest_figure", "analysis.page.fit_figure",
        "analysis.page.forecasts",
    ):  # fmt: skip
        importlib.import_module(name)


def cases(folder: Path, seed: int, share: float) -> list[Case]:
    """A share of the commands and of the edited files of each kind, one at least, drawn by the seed."""
    rng = random.Random(seed)
    always = [*configs(), *inherited()]
    typed = [*rng.sample(list(commands(rng)), COMMANDS - len(always)), *always]
    edits = list(edited_files(folder, rng))
    kinds: dict[str, list[Case]] = collections.defaultdict(list)
    for case in (*typed, *edits):
        kinds[case.kind].append(case)
    return [case for of in kinds.values() for case in rng.sample(of, max(1, round(min(share, 1) * len(of))))]


@dataclasses.dataclass
class Tally:
    ran: int = 0
    refused: int = 0
    done: int = 0
    faults: list[str] = dataclasses.field(default_factory=list)


def run(bench: Bench, chosen: Sequence[Case], say: Callable[[str], None]) -> dict[str, Tally]:
    """kind -> how its commands ended; tells of each fault as it is found."""
    found: dict[str, Tally] = collections.defaultdict(Tally)
    for i, case in enumerate(chosen):
        ended = bench.run(case)
        tally = found[case.kind]
        tally.ran += 1
        tally.refused += ended.code == 2
        tally.done += ended.code == 0
        if fault := bench.fault(case, ended):
            said = (case.shell or " ".join(case.words))[:160]
            tally.faults.append(re.sub(r"/\S*/", "", f"{said}: {fault}"))  # without paths of this machine
            say(f"{i + 1}/{len(chosen)} {case.kind}: {tally.faults[-1]!r}")
    return found


def report(found: Mapping[str, Tally], command: str, seconds: float) -> str:
    edited = sum(t.ran for kind, t in found.items() if kind.startswith("edited"))
    ran = sum(t.ran for t in found.values())
    faults = [fault for t in found.values() for fault in t.faults]
    lines = [
        "# Hostile input",
        "",
        f"`{command}`, {time.strftime('%Y-%m-%d')}, {machine.describe()}",
        "",
        f"{ran:,} commands, {edited:,} of them on edited files, in {seconds:.0f} s of a core: {len(faults)} ended in a "
        "traceback, a hang, a fault of the program, more than a line, or as if nothing were wrong.",
        "",
        "| kind | commands | refused in a line | done | faults |",
        "| --- | --- | --- | --- | --- |",
        *(f"| {kind} | {t.ran} | {t.refused} | {t.done} | {len(t.faults)} |" for kind, t in sorted(found.items())),
        "",
        *(["The faults:", "", *(f"- `{fault}`" for fault in faults)] if faults else []),
    ]
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=1.0, help="of all commands (1)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="kinds whose name begins so")
    parser.add_argument("--trained", action="store_true", help="with a study that is trained first, and its archive")
    parser.add_argument("--out", type=Path, help="a page with the results")
    args = parser.parse_args()
    load()
    with tempfile.TemporaryDirectory() as name:
        os.environ["SCALING_CACHE"] = f"{name}/cache"
        folder = Path(name) / "good"
        folder.mkdir()
        bench = prepared(folder, args.trained)
        chosen = [case for case in cases(folder, args.seed, args.share) if case.kind.startswith(args.only)]
        found = run(bench, chosen, lambda line: print(line, file=sys.stderr, flush=True))
    spent = sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    words = " ".join(["python -m benchmarks.hostile", *sys.argv[1:]])
    text = report(found, words, spent)
    print(text)
    if args.out:
        folders.write(args.out, text)
    sys.exit(any(t.faults for t in found.values()))


if __name__ == "__main__":
    main()
