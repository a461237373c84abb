"""Where things lie on a user's machine, and how a file is replaced."""

import json
import os
import stat
from pathlib import Path
from typing import Any


def cache() -> Path:
    """Packed tokens, tokenizers and compiled programs: $SCALING_CACHE, else the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("SCALING_CACHE") or Path(home) / "scaling")


def keep_programs() -> None:
    """Has JAX keep every compiled program in the cache folder; to be called before JAX is imported."""
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache() / "compiled"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")


def write_json(path: Path, value: Any) -> None:
    """`write`, of a value as JSON."""
    write(path, json.dumps(value, indent=1).encode())


def write(path: Path, content: bytes) -> None:
    """Replaces `path` in one step, so that a reader or a crash finds the old or the new, never half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with new.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, path)
    finally:
        new.unlink(missing_ok=True)


def own(path: Path) -> bool:
    """Whether what lies there is a folder, or nothing; what is written below a link would land elsewhere."""
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except FileNotFoundError:
        return True
    except NotADirectoryError:
        return False


def saved_steps(pack: Path) -> list[int]:
    """The updates after which a pack has a checkpoint, by the names of their folders alone."""
    root = pack / "checkpoints"
    try:
        names = os.listdir(root)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(int(name) for name in names if name.isascii() and name.isdigit())
