"""What a sweep must come through: no finished work is done twice, one trial's trouble is its own,
and nothing is left in the cluster.

Every trial keeps a journal of the steps it did, so that what was done twice shows.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from chaos.conftest import SCRIPT, Pool
from chaos.test_chaos import a_worker
from tune.conftest import left_over, sweep_text

from vidgen.config.load_sweep import parse_sweep
from vidgen.tune.folder import SweepFolder, Trial

STEPS, SAVE_EVERY, TRIALS = 16, 4, 4
GATE = 10  # the step at which trials wait until the test lets them on


class SweepDriver:
    """`vidgen tune` as a process of its own, of four trials with one worker each."""

    def __init__(self, clips: Path, folder: Path, address: str, **keys: Any) -> None:
        self.folder, self.address = folder, address
        self.process: subprocess.Popen[bytes] | None = None
        self.starts = 0
        journals = [str(folder / f"journal{n}") for n in range(TRIALS)]
        text = sweep_text(
            clips, folder,
            train={"steps": STEPS, "validate_every": 4, "checkpoint_every": SAVE_EVERY},
            model={"slow_s": 0.3, "gate_at": GATE - 1, "gate": str(folder / "gate")},
            space={"model.journal": {"grid": journals}},
            budget={"trials": TRIALS},
            trial={"workers": 1, "start_timeout_s": 60, "max_failures": 3},
            concurrent=2,
            **keys,
        )  # fmt: skip
        (folder / "sweep.yaml").write_text(text)
        self.sweep = parse_sweep(text, "sweep.yaml")

    def start(self, *options: str) -> None:
        self.starts += 1
        with (self.folder / f"driver-{self.starts}.log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", SCRIPT, "tune", str(self.folder / "sweep.yaml"), *options],
                env={**os.environ, "RAY_ADDRESS": self.address},
                stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    @property
    def shown(self) -> str:
        return "".join(each.read_text() for each in sorted(self.folder.glob("driver-*.log")))

    def journal(self, number: int) -> list[int]:
        """Steps that trial `number` did, counted from 1, in the order it did them."""
        path = self.folder / f"journal{number}"
        return [int(line) + 1 for line in path.read_text().split()] if path.exists() else []

    def trials(self) -> list[Trial]:
        return SweepFolder(self.sweep.url).trials()

    def saved(self, number: int) -> int:
        """The newest checkpoint of a trial."""
        run = SweepFolder(self.sweep.url).run(f"t{number:03d}")
        return max(run.checkpoint_steps(), default=0)

    def until(self, what: Callable[[], bool], seconds: float = 400) -> None:
        assert self.process is not None
        deadline = time.monotonic() + seconds
        while not what():
            assert self.process.poll() is None, self.shown
            assert time.monotonic() < deadline, self.shown
            time.sleep(0.05)

    def finish(self, seconds: float = 300) -> int:
        assert self.process is not None
        return self.process.wait(seconds)

    def open_gate(self) -> None:
        (self.folder / "gate").touch()

    def at_the_gate(self) -> bool:
        """Whether the first two trials wait there."""
        return all(self.journal(number)[-1:] == [GATE] for number in (0, 1))

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def sweep(two_nodes: Pool, clips: Path, tmp_path: Path) -> Iterator[SweepDriver]:
    made = SweepDriver(clips, tmp_path, two_nodes.cluster.address)
    yield made
    made.kill()
    print(made.shown)


@pytest.fixture
def nothing_is_left(two_nodes: Pool) -> Iterator[Callable[..., None]]:
    """Fails unless the cluster is soon as it was before.

    After `kill -9` Ray Train's own watchers of its controllers, detached and without resources,
    are left: they learn of a death from the dashboard, which this cluster does not have.
    """
    ray.init(address=two_nodes.cluster.address, log_to_driver=False, logging_level="ERROR")
    before = Counter(left_over()[0])

    def found(killed: bool) -> tuple[list[str], list[str]]:
        actors, groups = left_over()
        actors = list((Counter(actors) - before).elements())
        return [a for a in actors if not (killed and a == "PlacementGroupCleaner")], groups

    def check(*, killed: bool = False) -> None:
        deadline = time.monotonic() + 60
        while found(killed) != ([], []):
            assert time.monotonic() < deadline, found(killed)
            time.sleep(0.5)

    yield check
    ray.shutdown()


def states(sweep: SweepDriver) -> list[str]:
    return [trial.state for trial in sweep.trials()]


def test_a_killed_driver_goes_on_without_repeating_what_is_finished(
    sweep: SweepDriver, nothing_is_left: Callable[..., None]
) -> None:
    sweep.open_gate()
    sweep.start()
    sweep.until(lambda: states(sweep).count("done") >= 2)
    sweep.until(lambda: any(self_started(sweep, n) for n in (2, 3)))
    sweep.kill()
    nothing_is_left(killed=True)  # its actors and workers die with it
    before = [sweep.journal(n) for n in range(TRIALS)]
    lost = [max(journal, default=0) - sweep.saved(n) for n, journal in enumerate(before)]
    sweep.start("--resume")
    assert sweep.finish() == 0, sweep.shown
    assert states(sweep) == ["done"] * TRIALS
    for number in range(TRIALS):
        journal = sweep.journal(number)
        assert set(journal) == set(range(1, STEPS + 1))
        if before[number][-1:] == [STEPS]:
            assert journal == before[number]  # run once
        assert len(journal) - STEPS <= lost[number]
    nothing_is_left(killed=True)


def self_started(sweep: SweepDriver, number: int) -> bool:
    """Whether a trial is between its first checkpoint and its end."""
    return SAVE_EVERY < max(sweep.journal(number), default=0) < STEPS - 4


def test_a_killed_worker_restarts_its_own_trial_alone(
    sweep: SweepDriver, nothing_is_left: Callable[..., None]
) -> None:
    sweep.start()
    sweep.until(sweep.at_the_gate)
    os.kill(a_worker(), signal.SIGKILL)
    sweep.open_gate()
    assert sweep.finish() == 0, sweep.shown
    assert states(sweep) == ["done"] * TRIALS
    redone = [len(sweep.journal(n)) - STEPS for n in range(TRIALS)]
    assert sorted(redone)[:-1] == [0] * (TRIALS - 1), redone
    (victim,) = (n for n in range(TRIALS) if redone[n])
    journal = sweep.journal(victim)
    assert set(journal) == set(range(1, STEPS + 1))
    again = next(i for i in range(1, len(journal)) if journal[i] <= journal[i - 1])
    assert journal[again] > 1  # from its checkpoint, not from the start
    assert redone[victim] <= 2 * SAVE_EVERY
    nothing_is_left()


def test_ctrl_c_saves_every_trial_and_resume_does_no_step_twice(
    sweep: SweepDriver, nothing_is_left: Callable[..., None]
) -> None:
    sweep.start()
    sweep.until(sweep.at_the_gate)
    assert sweep.process is not None
    sweep.process.send_signal(signal.SIGINT)
    time.sleep(2)  # for the wish to reach the workers
    sweep.open_gate()
    assert sweep.finish() == 130, sweep.shown
    assert "--resume" in sweep.shown
    nothing_is_left()
    assert states(sweep)[:2] == ["waiting", "waiting"]
    for number in (0, 1):
        assert sweep.saved(number) == sweep.journal(number)[-1]
    sweep.start("--resume")
    assert sweep.finish() == 0, sweep.shown
    for number in range(TRIALS):
        assert sweep.journal(number) == list(range(1, STEPS + 1))
    nothing_is_left()


def test_failing_trials_leave_nothing_behind(
    two_nodes: Pool, clips: Path, tmp_path: Path, nothing_is_left: Callable[..., None]
) -> None:
    sweep = SweepDriver(clips, tmp_path, two_nodes.cluster.address)
    text = (tmp_path / "sweep.yaml").read_text()
    (tmp_path / "sweep.yaml").write_text(text.replace("explode_at: -1", "explode_at: 2"))
    try:
        sweep.start()
        assert sweep.finish() == 1, sweep.shown
        assert "no longer a finite number at step 3" in sweep.shown
        assert states(sweep).count("failed") >= 3
        nothing_is_left()
    finally:
        sweep.kill()
