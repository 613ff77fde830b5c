"""A Ray cluster of several nodes on this machine, and drivers that train on it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from engine.conftest import MakeConfig, clips, config_on, make_config  # noqa: F401 - fixtures
from engine.ranks import on_ranks
from engine.small_ray import ray_environment
from ray.cluster_utils import Cluster
from safetensors.torch import load
from torch import Tensor

from vidgen.config.load import dump
from vidgen.config.run import RunConfig
from vidgen.engine.train import train
from vidgen.storage.run_folder import EXPORT, RunFolder

STEPS, SAVE_EVERY = 30, 5
SCRIPT = "import engine.duet\nfrom vidgen.cli import main\nmain()\n"  # the tests' family


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "chaos" in str(item.path):
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.timeout(600))


@dataclass
class Pool:
    """Nodes of one CPU each, beside a head without any: one worker to a node."""

    cluster: Cluster
    nodes: list[Any] = field(default_factory=list)

    def add(self) -> Any:
        node = self.cluster.add_node(num_cpus=1, object_store_memory=80 * 1024**2)
        self.nodes.append(node)
        return node

    def remove(self, node: Any) -> None:
        """Kill a node and all that runs on it."""
        self.nodes.remove(node)
        self.cluster.remove_node(node, allow_graceful=False)

    def resize(self, count: int) -> None:
        while len(self.nodes) > count:
            self.remove(self.nodes[-1])
        while len(self.nodes) < count:
            self.add()


@pytest.fixture(scope="session")
def pool() -> Iterator[Pool]:
    with ray_environment():
        cluster = Cluster(
            initialize_head=True,
            head_node_args={
                "num_cpus": 0,
                "object_store_memory": 80 * 1024**2,
                "include_dashboard": False,
                "_system_config": {
                    "health_check_period_ms": 500,
                    "health_check_timeout_ms": 2000,
                },
            },
        )
        try:
            yield Pool(cluster)
        finally:
            cluster.shutdown()


@pytest.fixture
def two_nodes(pool: Pool) -> Pool:
    pool.resize(2)
    return pool


@dataclass
class Driver:
    """`vidgen train` as a process of its own."""

    config: RunConfig
    folder: Path
    address: str
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0

    @property
    def run(self) -> RunFolder:
        return RunFolder(str(self.config.run), self.config.storage)

    @property
    def journal(self) -> list[int]:
        """Every step that was done, counted from 1, in the order they were."""
        path = Path(self.config.model.journal)  # type: ignore[attr-defined]
        return [int(line) + 1 for line in path.read_text().split()] if path.exists() else []

    @property
    def shown(self) -> str:
        return "".join(each.read_text() for each in sorted(self.folder.glob("driver-*.log")))

    def start(self) -> None:
        """Start it, or go on with what an earlier one left."""
        path = self.folder / "run.yaml"
        path.write_text(dump(self.config))
        self.starts += 1
        with (self.folder / f"driver-{self.starts}.log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", SCRIPT, "train", str(path)],
                env={**os.environ, "RAY_ADDRESS": self.address, "VIDGEN_WORKER_OUTPUT": "1"},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def until(self, what: Callable[[], bool], seconds: float = 200) -> None:
        assert self.process is not None
        deadline = time.monotonic() + seconds
        while not what():
            assert self.process.poll() is None, self.shown
            assert time.monotonic() < deadline, self.shown
            time.sleep(0.02)

    def until_step(self, step: int) -> None:
        self.until(lambda: step in self.journal)

    def until_saved(self, step: int) -> None:
        self.until(lambda: step in self.run.checkpoint_steps())

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def finish(self, seconds: float = 240) -> int:
        """Wait for its end; the exit code."""
        assert self.process is not None
        return self.process.wait(seconds)

    def weights(self) -> dict[str, Tensor]:
        found: dict[str, Tensor] = load(self.run.store.read(EXPORT))
        return found

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()


MakeDriver = Callable[..., Driver]


@pytest.fixture
def driver(
    pool: Pool,
    make_config: MakeConfig,  # noqa: F811
    tmp_path: Path,
) -> Iterator[MakeDriver]:
    """Makes a driver of a run on two workers; all are killed at the end."""
    made: list[Driver] = []

    def make(**keys: Any) -> Driver:
        config = disturbed(make_config, tmp_path, **keys)
        made.append(Driver(config, tmp_path, pool.cluster.address))
        return made[-1]

    yield make
    for each in made:
        each.kill()
        if each.process is not None and each.process.returncode:
            print(each.shown)


def disturbed(make: MakeConfig, folder: Path, **keys: Any) -> RunConfig:
    base: dict[str, Any] = {
        "run": str(folder / "run"),
        "model": {"slow_s": 0.25, "journal": str(folder / "journal")},
        "scale": {"workers": 2, "start_timeout_s": 60},
        "train": {
            "steps": STEPS, "checkpoint_every": SAVE_EVERY, "validate_every": 10,
            "sample_every": 0, "save_patience_s": 120,
        },
    }  # fmt: skip
    for name, value in keys.items():
        merge = isinstance(value, dict) and name in base
        base[name] = {**base[name], **value} if merge else value
    return make(**base)


@pytest.fixture(scope="session")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory,
    clips: Path,  # noqa: F811
) -> dict[str, Tensor]:
    """The weights of the same run on two ranks that nothing happens to."""
    folder = tmp_path_factory.mktemp("undisturbed")
    make = partial(config_on, clips, folder)
    config = disturbed(make, folder, model={"slow_s": 0}, scale={"workers": 0})
    on_ranks(2, train, config)
    found: dict[str, Tensor] = load((folder / "run" / EXPORT).read_bytes())
    return found
