"""Through real Ray Train with two workers: the same curve, and coming through what can go wrong."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from engine.conftest import MakeConfig
from engine.small_ray import small_ray
from engine.test_train import curve, weights
from engine.trouble import a_worker

from vidgen.config.run import RunConfig
from vidgen.engine.train import train
from vidgen.errors import Interrupted, TrainingError
from vidgen.storage.run_folder import RunFolder


@pytest.fixture(scope="module", autouse=True)
def local_ray() -> Iterator[None]:
    """One small Ray for the module; its workers find the tests' family."""
    with small_ray(cpus=4):
        yield


def when_step(config: RunConfig, step: int, act: Callable[[], None]) -> threading.Thread:
    """Call `act` once the run has recorded a step."""

    def wait() -> None:
        folder = RunFolder(str(config.run))
        while max((line["step"] for line in folder.metrics()), default=0) < step:
            time.sleep(0.05)
        act()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def assert_same_run(one: str, other: str) -> None:
    for a, b in zip(curve(one), curve(other), strict=True):
        assert a == pytest.approx(b, rel=2e-3)
    for name, value in weights(one).items():
        assert value.numpy() == pytest.approx(weights(other)[name].numpy(), rel=1e-3, abs=1e-4)


def test_two_workers_and_a_killed_one_train_like_one_process(
    make_config: MakeConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = train(make_config(run=str(tmp_path / "alone")))
    config = make_config(run=str(tmp_path / "two"), scale={"workers": 2}, model={"slow_s": 0.2})
    when_step(config, 6, lambda: os.kill(a_worker(), signal.SIGKILL))
    together = train(config)
    assert_same_run(alone, together)
    shown = capsys.readouterr().out
    assert "2 x cpu, from step 0" in shown
    assert "2 x cpu, from step 4" in shown  # the checkpoint before the worker died
    assert RunFolder(together).read_json("checkpoints/step_00000008/COMMITTED")["world"] == 2


def test_ctrl_c_saves_and_another_world_size_goes_on(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    whole = train(make_config(run=str(tmp_path / "whole")))
    config = make_config(
        run=str(tmp_path / "parts"),
        scale={"workers": 2},
        model={"slow_s": 0.2},
        train={"validate_every": 0, "checkpoint_every": 0},
    )
    when_step(config, 2, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(Interrupted, match="all of it saved"):
        train(config)
    folder = RunFolder(str(config.run))
    (stopped,) = folder.checkpoint_steps()
    assert 2 <= stopped < 8
    assert [line["step"] for line in folder.metrics()] == list(range(1, stopped + 1))
    alone = config.model_copy(update={"scale": make_config().scale})
    parts = train(alone)
    for name, value in weights(whole).items():
        assert value.numpy() == pytest.approx(weights(parts)[name].numpy(), rel=1e-3, abs=1e-4)


def test_an_error_that_needs_a_person_ends_the_run_at_once(make_config: MakeConfig) -> None:
    config = make_config(scale={"workers": 2}, model={"explode_at": 5})
    with pytest.raises(TrainingError, match="no longer a finite number at step 6"):
        train(config)
    assert RunFolder(str(config.run)).checkpoint_steps() == [4]


def test_workers_that_cannot_start_give_up_in_time(make_config: MakeConfig) -> None:
    config = make_config(
        scale={"workers": 2, "cpus_per_worker": 64, "start_timeout_s": 1, "max_failures": 0}
    )
    with pytest.raises(TrainingError, match="2 workers with 64 CPU and 0 GPU each did not start"):
        train(config)
