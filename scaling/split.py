"""Parts of a study for the tasks of a cluster's scheduler: the same from the config alone, of about equal cost."""

import json
import re
from collections.abc import Sequence

from scaling import calibration, config, layout
from scaling.config import RunConfig
from scaling.errors import InputError


def parse(text: str) -> tuple[int, int]:
    """3/16 -> (3, 16): the third of sixteen parts."""
    found = re.fullmatch("([0-9]{1,6})/([0-9]{1,6})", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise InputError(f"--shard {text}: wanted the part and their number, from 1/16 to 16/16")
    return int(found[1]), int(found[2])


def parts(runs: Sequence[RunConfig], n: int) -> dict[RunConfig, int]:
    """The part of each run, 1 to n: the costliest first, each to the part that has least so far.

    Runs that share a trunk stay together, and runs of one program do in clusters as large as a balance allows. Costs
    are those of the rule (`calibration.predicted`), so that every machine comes to the same parts.
    """
    costs = calibration.Costs("cpu")
    size = max(1, min(layout.ACCELERATED_PACK, len(runs) // (4 * n)))
    order = sorted(dict.fromkeys(runs), key=lambda run: json.dumps(config.to_dict(run), sort_keys=True))
    clusters = layout.packed(order, lambda run: run, lambda run: run.data, lambda program: size)
    weighed = [(sum(costs.pack([run]) for run in cluster), cluster) for cluster in clusters]
    load = [0.0] * n
    found: dict[RunConfig, int] = {}
    for cost, cluster in sorted(weighed, key=lambda one: -one[0]):
        lightest = load.index(min(load))
        load[lightest] += cost
        found |= dict.fromkeys(cluster, lightest + 1)
    return found
