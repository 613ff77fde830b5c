"""Signals to a real `vidgen train` process, and ranks that torchrun starts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from engine.conftest import MakeConfig
from engine.test_train import curve

from vidgen.config.load import dump
from vidgen.config.run import RunConfig
from vidgen.engine.train import train
from vidgen.storage.run_folder import RunFolder

FLOW = {
    "family": "flow", "patch": [2, 4, 4], "width": 24, "depth": 1, "heads": 2,
    "conditions": ["label", "text"],
}  # fmt: skip
VIDGEN = [sys.executable, "-c", "from vidgen.cli import main; main()"]
ALONE = {**os.environ, "OMP_NUM_THREADS": "1"}


def flow(make_config: MakeConfig, **keys: int) -> RunConfig:
    """A tiny model of a real family: the command line knows no other."""
    config = make_config(train=keys)
    return RunConfig.model_validate({**config.model_dump(mode="json"), "model": FLOW})


def write(config: RunConfig, folder: Path) -> str:
    path = folder / "run.yaml"
    path.write_text(dump(config))
    return str(path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_the_step_saves_and_exits_130(
    make_config: MakeConfig, tmp_path: Path, number: signal.Signals
) -> None:
    config = flow(make_config, steps=10**6, checkpoint_every=0, validate_every=0, sample_every=0)
    process = subprocess.Popen(
        [*VIDGEN, "train", write(config, tmp_path)],
        env=ALONE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    folder = RunFolder(str(config.run))
    deadline = time.monotonic() + 120
    while not any(line["step"] >= 3 for line in folder.metrics()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, number)  # as a terminal does: everyone in the group gets it
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    (stopped,) = folder.checkpoint_steps()
    assert errors.strip().splitlines() == [
        f"interrupted: stopped after step {stopped} of 1000000, all of it saved. "
        f"Go on with: vidgen train --resume {folder.url}"
    ]
    longer = folder.config().train.model_copy(update={"steps": stopped + 2})
    train(folder.config().model_copy(update={"train": longer}), resume=folder.url)
    assert [line["step"] for line in folder.metrics()] == list(range(1, stopped + 3))


def test_two_ranks_of_torchrun_train_like_one_process(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    config = flow(make_config)
    path = write(config, tmp_path)
    one, two = train(config), str(tmp_path / "two")
    script = tmp_path / "rank.py"
    script.write_text("from vidgen.cli import main; main()")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    command = [*torchrun, str(script), "train", path, "--set", f"run={two}"]
    done = subprocess.run(command, env=ALONE, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("run folder:") == 1  # rank 1 is silent
    for a, b in zip(curve(one), curve(two), strict=True):
        assert a == pytest.approx(b, rel=2e-3)
    assert RunFolder(two).read_json("checkpoints/step_00000008/COMMITTED")["world"] == 2
