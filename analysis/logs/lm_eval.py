"""Results of lm-evaluation-harness: one JSON file per model and call."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from analysis.logs.log import Log


def is_results(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("results"), dict)
        and bool(value["results"])
        and all(isinstance(task, dict) for task in value["results"].values())
        and bool({"configs", "versions", "config"} & set(value))
    )


def results(value: Mapping[str, Any], path: Path, root: Path) -> Log:
    """Every metric of every task, as TASK/METRIC; filters other than "none" are kept in the name.

    `params_total` is the file's model_num_parameters, which counts everything.
    """
    found: dict[str, Any] = {}
    for task, metrics in value["results"].items():
        for name, number in metrics.items():
            metric = name.removesuffix(",none")
            if isinstance(number, (int, float)) and "stderr" not in metric and metric != "sample_len":
                found[f"{task}/{metric}"] = number
    config = found_config if isinstance(found_config := value.get("config"), dict) else {}
    arguments = dict(re.findall(r"(\w+)=([^,]+)", str(config.get("model_args", ""))))
    model = value.get("model_name") or arguments.get("pretrained") or path.parent.name
    if arguments.get("revision", "main") != "main":
        model = f"{model}@{arguments['revision']}"
        found["revision"] = arguments["revision"]
    if isinstance(config.get("model_num_parameters"), int) and config["model_num_parameters"] > 0:
        found["params_total"] = config["model_num_parameters"]
    shots = {count for count in (value.get("n-shot") or {}).values() if isinstance(count, int)}
    found |= {"n_shot": shots.pop()} if len(shots) == 1 else {}
    return Log(str(model), "lm-evaluation-harness", {}, found)
