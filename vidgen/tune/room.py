"""How many trials run at a time, and how Ray Tune is kept to that.

A trial's actor needs next to nothing: the workers of Ray Train that it starts need CPUs and GPUs,
in placement groups of their own. More trials than fit would each hold a part of what another waits
for, so that none ever starts. Ray Tune counts trials by what their actors ask for, which is
therefore a share of the driver's node (every node has one unit of a resource with its own name);
its own limit counts the paused trials of a population as well. That also keeps the actors on the
driver's node, where they live as long as it does.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ray
from ray.tune import PlacementGroupFactory

from vidgen.config.load_sweep import Sweep
from vidgen.errors import Interrupted, TrainingError

_WHOLE = 0.999  # of the node's own resource; Ray itself takes a thousandth here and there
_FINEST = 10_000  # Ray counts resources in ten-thousandths
_MOST = 64


@dataclass(frozen=True, kw_only=True)
class Room:
    """Attributes:
    trials: at a time.
    of_trial: what Ray Tune reserves for each.
    width: GPUs of a trial, or CPUs where there are no GPUs.
    text: what a trial runs on, in words.
    """

    trials: int
    of_trial: PlacementGroupFactory
    width: float
    text: str


def find_room(sweep: Sweep, stopping: Callable[[], bool]) -> Room:
    """What the Ray cluster has room for; waits for nodes until one trial fits.

    Raises TrainingError if none fits within `trial.start_timeout_s`, Interrupted if told to stop.
    """
    trial = sweep.config.trial
    workers = max(1, trial.workers)
    needs = {"CPU": workers * trial.cpus_per_worker, "GPU": workers * trial.gpus_per_worker}
    deadline = time.monotonic() + trial.start_timeout_s
    while not (fits := _fits(needs)) and time.monotonic() < deadline:
        if stopping():
            raise Interrupted("interrupted before the first trial; there was nothing to save")
        time.sleep(0.5)
    if not fits:
        raise TrainingError(
            f"a trial needs {needs['CPU']:g} CPUs and {needs['GPU']:g} GPUs, and the Ray cluster "
            f"has {_total('CPU'):g} and {_total('GPU'):g}",
            fix="Ask for less under `trial`, or raise trial.start_timeout_s if nodes come late.",
        )
    count = max(1, min(sweep.config.concurrent or fits, sweep.trials, _MOST))
    mine = {} if trial.workers else {name: amount for name, amount in needs.items() if amount}
    share = math.floor(_WHOLE * _FINEST / count) / _FINEST
    gpus = f" and {trial.gpus_per_worker:g} GPU" if trial.gpus_per_worker else ""
    text = f"each on {workers} x {trial.cpus_per_worker:g} CPU{gpus}"
    return Room(
        trials=count,
        of_trial=PlacementGroupFactory([{"CPU": 0, **mine, _this_node(): share}]),
        width=needs["GPU"] or needs["CPU"],
        text=text,
    )


def _fits(needs: dict[str, float]) -> int:
    counts = [math.floor(_total(name) / amount) for name, amount in needs.items() if amount]
    return min(counts, default=1)


def _total(name: str) -> float:
    return float(ray.cluster_resources().get(name, 0.0))  # type: ignore[no-untyped-call]


def _nodes() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return found


def _this_node() -> str:
    """The resource that only the driver's node has."""
    mine = ray.get_runtime_context().get_node_id()
    node = next(node for node in _nodes() if node["NodeID"] == mine)
    return next(
        str(name)
        for name in node["Resources"]
        if name.startswith("node:") and name != "node:__internal_head__"
    )
