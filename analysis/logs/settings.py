"""Settings of runs in files beside their logs: Lightning's hparams.yaml, Hydra's and W&B's config.yaml, config.json."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from analysis.table import opened
from scaling.errors import InputError

FILES = (
    *("hparams.yaml", "config.yaml", "config.yml", ".hydra/config.yaml", "config.json", "hparams.json", "args.json"),
    *("params.json", "hyperparameters.json", "training_args.json"),
)
MOST = 500  # settings of a run
LARGEST = 2**22  # bytes of such a file


def beside(log: Path, root: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The settings in a log's folder or the next one above it, up to `root`, and a note on each unreadable file."""
    root = root.absolute()
    for folder in (log.absolute().parent, *log.absolute().parent.parents):
        files = [folder / name for name in FILES if (folder / name).is_file() and folder / name != log]
        if files:
            found: dict[str, Any] = {}
            notes = []
            for file in files:
                try:
                    found |= read(file)
                except InputError as error:
                    notes.append(str(error))
            return found, tuple(notes)
        if folder == root or not folder.is_relative_to(root):
            break
    return {}, ()


def read(path: Path) -> dict[str, Any]:
    """The settings of a file, nested names joined by dots.

    Raises:
        InputError: neither JSON nor plain YAML.
    """
    words = opened.data(path, LARGEST).decode("utf-8", "replace")
    try:
        return flat(opened.json_in(words) if path.suffix == ".json" else plain_yaml(words))
    except ValueError as error:
        raise InputError(f"{path}: no settings ({str(error).splitlines()[0]})") from error


def plain_yaml(words: str) -> Any:
    """The value of a YAML text. Of an object of a program, which Lightning writes too, its text where it has one.

    Raises:
        ValueError: no YAML.
    """
    import yaml

    class Plain(yaml.SafeLoader):
        pass

    Plain.add_multi_constructor(
        "tag:yaml.org,2002:python/",
        lambda loader, tag, node: node.value if isinstance(node, yaml.ScalarNode) else None,
    )
    try:
        return yaml.load(words, Plain)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(str(error)) from error


def flat(value: Any, most: int = MOST) -> dict[str, Any]:
    """A nested mapping as one of numbers and texts; W&B's {"value": x} is x, and lists are left out."""
    found: dict[str, Any] = {}
    waiting: list[tuple[str, Any]] = [("", value)]
    while waiting and len(found) < most:
        name, one = waiting.pop(0)
        if isinstance(one, Mapping):
            if "value" in one and set(one) <= {"value", "desc"}:
                waiting.append((name, one["value"]))
            elif len(waiting) < most:
                own = {key: inner for key, inner in one.items() if key not in ("_wandb", "wandb_version")}
                waiting += [(f"{name}.{key}" if name else str(key), inner) for key, inner in own.items()]
        elif name and (one is None or isinstance(one, (str, bool, int, float))):
            found[name] = one
    return found
