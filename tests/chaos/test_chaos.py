"""What a run on spot machines must come through: it ends, little is done twice, and the weights
are those of a run that nothing happened to.

One Ray cluster of several nodes on this machine, a worker to a node, and real processes: `make
chaos`.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from chaos.conftest import SAVE_EVERY, STEPS, Driver, MakeDriver, Pool
from engine.conftest import MakeConfig
from engine.trouble import a_worker, small_disk_at
from storage.faulty_proxy import faulty_proxy
from torch import Tensor

from vidgen.engine.load import load_model
from vidgen.engine.train import train

Weights = dict[str, Tensor]


def assert_unharmed(driver: Driver, expected: Weights, *, redone: int) -> None:
    """Bit-equal weights, and at most so many steps done more than once."""
    found = driver.weights()
    assert found.keys() == expected.keys()
    for name, value in found.items():
        assert value.equal(expected[name]), name
    journal = driver.journal
    assert set(journal) == set(range(1, STEPS + 1))
    assert len(journal) - STEPS <= redone, journal
    steps = [line["step"] for line in driver.run.metrics() if "loss" in line]
    assert steps == list(range(1, STEPS + 1))


def since_saved(driver: Driver) -> int:
    """Steps done since the last checkpoint: the most that may be lost now."""
    return max(driver.journal) - max(driver.run.checkpoint_steps(), default=0)


def until_it_stands(driver: Driver) -> None:
    """Wait until no step has been done for two seconds."""
    done = -1
    while done < (done := len(driver.journal)):
        time.sleep(2)


def test_workers_shrink_to_one_and_grow_to_two(
    two_nodes: Pool, driver: MakeDriver, make_config: MakeConfig, tmp_path: Path
) -> None:
    train_keys = {"steps": 60, "checkpoint_every": SAVE_EVERY}
    gate = tmp_path / "gate"  # the run does not end before there are two again
    run = driver(
        train=train_keys,
        scale={"min_workers": 1, "resize_every_s": 4},
        model={"gate_at": 40, "gate": str(gate)},
    )
    run.start()
    run.until_saved(10)
    two_nodes.remove(two_nodes.nodes[0])
    run.until(lambda: "fp32 on cpu, from step" in run.shown)
    run.until_step(max(run.journal) + 5)  # one worker alone
    two_nodes.add()
    run.until(lambda: run.shown.count("fp32 on 2 x cpu, from step") == 2)
    gate.touch()
    assert run.finish() == 0, run.shown
    journal = run.journal
    assert set(journal) == set(range(1, 61))
    assert len(journal) - 60 <= 2 * (2 * SAVE_EVERY + 1), journal
    alone = make_config(
        train={**train_keys, "validate_every": 10, "sample_every": 0},
        run=str(tmp_path / "alone"),
    )
    expected, _ = load_model(train(alone))
    for name, value in run.weights().items():
        assert torch.allclose(value, expected.state_dict()[name], rtol=1e-3, atol=1e-4), name


def test_kill_9_of_a_worker(two_nodes: Pool, driver: MakeDriver, undisturbed: Weights) -> None:
    run = driver()
    run.start()
    run.until_saved(10)
    run.until_step(13)
    os.kill(a_worker(), signal.SIGKILL)
    lost = since_saved(run)
    assert run.finish() == 0, run.shown
    assert "2 x cpu, from step 1" in run.shown
    assert_unharmed(run, undisturbed, redone=lost + 1)  # one may have ended as the kill came


def test_a_node_dies(two_nodes: Pool, driver: MakeDriver, undisturbed: Weights) -> None:
    run = driver()
    run.start()
    run.until_saved(10)
    two_nodes.remove(two_nodes.nodes[0])
    until_it_stands(run)  # workers outlive their node by a moment
    lost = since_saved(run)
    two_nodes.add()
    assert run.finish() == 0, run.shown
    assert_unharmed(run, undisturbed, redone=lost)


def test_the_driver_dies_and_is_started_again(
    two_nodes: Pool, driver: MakeDriver, undisturbed: Weights
) -> None:
    run = driver()
    run.start()
    run.until_saved(10)
    run.until_step(12)
    run.kill()
    time.sleep(2)  # Ray ends the workers of a driver that is gone
    lost = since_saved(run)
    run.start()
    assert run.finish() == 0, run.shown
    assert_unharmed(run, undisturbed, redone=lost)


def test_sigterm_saves_within_its_grace_and_nothing_is_redone(
    two_nodes: Pool, driver: MakeDriver, undisturbed: Weights
) -> None:
    run = driver(train={"checkpoint_every": 0})
    run.start()
    run.until_step(8)
    run.signal(signal.SIGTERM)
    assert run.finish(30) == 130, run.shown
    assert "all of it saved" in run.shown
    (stopped,) = run.run.checkpoint_steps()
    assert max(run.journal) == stopped
    run.start()
    assert run.finish() == 0, run.shown
    assert_unharmed(run, undisturbed, redone=0)


def test_a_node_that_will_be_taken_away_is_left_in_time(
    two_nodes: Pool, driver: MakeDriver, undisturbed: Weights
) -> None:
    """The notice of a spot machine: 15 seconds, in which a checkpoint is due out of turn."""
    run = driver(train={"checkpoint_every": 0})
    run.start()
    run.until_step(6)
    node = two_nodes.nodes[0]
    ray = shutil.which("ray", path=str(Path(sys.executable).parent))
    assert ray is not None
    subprocess.run(
        [
            ray, "drain-node", "--address", two_nodes.cluster.address, "--node-id", node.node_id,
            "--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "spot",
            "--deadline-remaining-seconds", "15",
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    run.until(lambda: bool(run.run.checkpoint_steps()), seconds=12)
    (saved,) = run.run.checkpoint_steps()
    assert saved < STEPS
    two_nodes.add()
    time.sleep(8)
    assert max(run.journal) == saved  # waits for the end instead of steps that would be redone
    two_nodes.remove(node)
    assert run.finish() == 0, run.shown
    assert_unharmed(run, undisturbed, redone=0)


def test_s3_fails_a_tenth_of_all_requests(
    two_nodes: Pool, driver: MakeDriver, undisturbed: Weights, s3_server: Any
) -> None:
    faults = ("500", "503", "reset", "short", "hang")

    def fault(n: int, method: str, path: str) -> str:
        return faults[n // 10 % len(faults)] if n % 10 == 9 else "ok"

    bucket = s3_server.make_bucket("chaos-tenth")
    with faulty_proxy(s3_server.endpoint, fault) as (url, log):
        run = driver(run=f"{bucket}/run", storage={"endpoint_url": url})
        run.start()
        assert run.finish() == 0, run.shown
        assert {"500", "503", "reset", "hang"} <= set(log)
        assert_unharmed(run, undisturbed, redone=0)


def test_s3_is_down_for_20_seconds_during_a_save(
    two_nodes: Pool, driver: MakeDriver, undisturbed: Weights, s3_server: Any
) -> None:
    down: list[float] = []

    def fault(n: int, method: str, path: str) -> str:
        if not down and method == "PUT" and "step_00000010" in path:
            down.append(time.monotonic())
        return "reset" if down and time.monotonic() - down[0] < 20 else "ok"

    bucket = s3_server.make_bucket("chaos-down")
    with faulty_proxy(s3_server.endpoint, fault) as (url, log):
        run = driver(run=f"{bucket}/run", storage={"endpoint_url": url}, model={"slow_s": 0.8})
        run.start()
        run.until(lambda: bool(down))
        until = down[0] + 20
        before = max(run.journal)
        while time.monotonic() < until:
            time.sleep(0.1)
        assert max(run.journal) > before + 4  # training goes on meanwhile
        assert run.finish() == 0, run.shown
        assert "reset" in log
        assert_unharmed(run, undisturbed, redone=0)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk_at(tmp_path / "disk", "20m") as folder:
        yield folder


def take_all_room(path: Path) -> None:
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"\0" * 1024)


def test_a_full_disk_ends_the_run_which_then_goes_on(
    two_nodes: Pool, driver: MakeDriver, undisturbed: Weights, small_disk: Path
) -> None:
    run = driver(run=str(small_disk / "run"))
    run.start()
    run.until_saved(10)
    take_all_room(small_disk / "someone-else")
    assert run.finish() == 1, run.shown
    assert "disk full while writing" in run.shown
    assert max(run.run.checkpoint_steps()) >= 10
    (small_disk / "someone-else").unlink()
    lost = since_saved(run)
    run.start()
    assert run.finish() == 0, run.shown
    assert_unharmed(run, undisturbed, redone=lost)


def test_a_hung_worker_ends_its_attempt_and_the_run_goes_on(
    two_nodes: Pool, driver: MakeDriver, undisturbed: Weights, tmp_path: Path
) -> None:
    once = {"hang_at": 12, "hang_rank": 1, "hang_once": str(tmp_path / "hung")}
    run = driver(model=once, train={"hang_timeout_s": 5})
    run.start()
    assert run.finish() == 0, run.shown
    stacks = sorted(stat.key for stat in run.run.store.list("stacks/"))
    assert stacks == [f"stacks/step_00000013_rank_{rank}.txt" for rank in range(2)]
    assert "_play_up" in run.run.store.read(stacks[1]).decode()  # where rank 1 hung
    assert "all_reduce" in (text := run.run.store.read(stacks[0]).decode()) or "backward" in text
    assert_unharmed(run, undisturbed, redone=3 + 1)
