"""Sweeps of the tests' family on a small Ray of this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml
from engine.conftest import clips, config_on  # noqa: F401 - fixtures
from engine.small_ray import small_ray

from vidgen.config.load_sweep import Sweep, parse_sweep

MakeSweep = Callable[..., Sweep]


def sweep_text(clips: Path, folder: Path, **keys: Any) -> str:  # noqa: F811
    """A sweep of 4 trials of 12 steps that validate every 2, in the trials' own processes."""
    train = {
        "steps": 12,
        "validate_every": 2,
        "checkpoint_every": 4,
        "sample_every": 0,
        "ema_decay": 0,
    }
    run = config_on(clips, folder, train={**train, **keys.pop("train", {})}, run=None)
    model = keys.pop("model", {})
    document: dict[str, Any] = {
        "name": "test",
        "run": str(folder / "sweep"),
        "recipe": run.model_dump(mode="json"),
        "set": {f"model.{key}": value for key, value in model.items()},
        "space": {"optimizer.lr": {"loguniform": [1e-3, 1e-1]}},
        "budget": {"trials": 4},
        "trial": {"workers": 0},
        "concurrent": 2,
        "final": {"top": 0},
    }
    return yaml.safe_dump({**document, **keys}, sort_keys=False)


@pytest.fixture
def make_sweep(clips: Path, tmp_path: Path) -> MakeSweep:  # noqa: F811
    """Keyword arguments replace keys of `sweep_text`; train and model change the recipe."""
    return lambda **keys: parse_sweep(sweep_text(clips, tmp_path, **keys), "sweep.yaml")


@pytest.fixture(scope="session")
def local_ray() -> Iterator[None]:
    """One small Ray for all; its workers find the tests' family."""
    with small_ray(cpus=4):
        yield


def left_over() -> tuple[list[str], list[str]]:
    """Actors that are alive and placement groups that are not removed, in the Ray joined here."""
    from ray.util import placement_group_table

    actors = ray._private.state.actors()
    alive = [a["ActorClassName"] for a in actors.values() if a["State"] != "DEAD"]
    # Of the cluster, not of a job: Ray Train's elastic scaling starts one and keeps it.
    alive = [name for name in alive if name != "_AutoscalingCoordinatorActor"]
    groups = [
        str(group["name"] or group["placement_group_id"])
        for group in placement_group_table().values()
        if group["state"] != "REMOVED"
    ]
    return alive, groups
