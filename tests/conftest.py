"""What several test files share."""

import gc
import importlib.metadata
import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

from analysis.reference import published
from scaling.config import EvalConfig, OptimConfig, RunConfig
from scaling.ladder import transformer

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"
# Tests compile for seconds what they compute in moments. XLA's older emitters take half as long. Later versions have
# none, and a flag that is not known ends the process.
OLD = importlib.metadata.version("jaxlib").startswith("0.10.")
EMITTERS = " --xla_cpu_use_fusion_emitters=false" if OLD else ""
QUICKLY = "--xla_backend_optimization_level=0" + EMITTERS  # for programs that hardly run
ROOM = 1.2e9  # bytes of a test process, above which it forgets its programs


def pytest_configure(config: pytest.Config) -> None:
    """Before JAX is imported, for this process and for those that tests start."""
    if importlib.util.find_spec("libtpu") is None:  # the compiler for TPUs would read them too
        os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=1" + EMITTERS)
    if not hasattr(config, "workerinput"):  # what pytest-xdist starts has this process's folder
        compiled = tempfile.TemporaryDirectory(prefix="compiled-")
        config.add_cleanup(compiled.cleanup)
        os.environ["JAX_COMPILATION_CACHE_DIR"] = compiled.name
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"


def pytest_collection_finish() -> None:
    """What is loaded by now stays, and need not be searched for cycles again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000)


@pytest.fixture(scope="module", autouse=True)
def few_programs() -> Iterator[None]:
    """Forgets compiled programs at the end of a file where they have become many: all of them are gigabytes."""
    yield
    if "jax" in sys.modules and resident() > ROOM:
        sys.modules["jax"].clear_caches()


@pytest.fixture(scope="module")
def unoptimised() -> Iterator[None]:
    """For files that train in this process: short runs of many programs. Fits run for longer than they compile."""
    import jax

    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def resident() -> int:
    """Bytes of memory that this process has; 0 where the system does not tell."""
    pages = Path("/proc/self/statm")
    return int(pages.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if pages.exists() else 0


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with other groups' run tables and the English corpora, beside the project's root; optional."""
    if not (SHARED / "reference_runs").is_dir():
        pytest.skip("no ../shared beside the project: reference tables and corpora not tested")
    return SHARED


@pytest.fixture(scope="session")
def papers() -> Mapping:
    """Published constants: {paper: {constant: {value, units, equation, ...}}}."""
    return published()


@pytest.fixture(scope="session")
def cache(tmp_path_factory) -> Iterator[Path]:
    """A cache folder of this session: tokens are made once, and the user's are left alone."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SCALING_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def tiny() -> RunConfig:
    """A run of 24 updates that takes a moment; tests that vary the arrays of its program share that."""
    return RunConfig(
        transformer(8, 1, d_head=4, n_vocab=32, n_ctx=16),
        tokens=24 * 4 * 16,
        batch=4,
        optim=OptimConfig(learning_rate=1e-2, warmup=0.1),
        eval=EvalConfig(windows=8, per_octave=1, octaves=2),
    )


@pytest.fixture(scope="session")
def stream() -> np.ndarray:
    """Tokens with something to learn: each is often the one before it, plus three."""
    rng = np.random.default_rng(0)
    steps = np.where(rng.random(20_000) < 0.7, 3, rng.integers(0, 32, 20_000))
    return (np.cumsum(steps) % 32).astype(np.uint16)
