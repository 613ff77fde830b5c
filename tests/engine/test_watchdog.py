"""A rank that hangs is found, says where it stands, and its attempt fails."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from engine.conftest import MakeConfig
from engine.test_interrupt import ALONE

from vidgen.config.load import dump
from vidgen.engine.distributed import Ranks
from vidgen.engine.watchdog import Watchdog
from vidgen.storage.run_folder import RunFolder


def watch(folder: Path, left: list[int], said: list[str], limit_s: float = 0.4) -> Watchdog:
    return Watchdog(
        RunFolder(str(folder)), Ranks(rank=1), limit_s=limit_s, say=said.append, leave=left.append
    )


def test_a_loop_that_moves_is_left_alone(tmp_path: Path) -> None:
    left: list[int] = []
    with watch(tmp_path, left, []) as dog:
        for step in range(12):
            dog.beat("training", step)
            time.sleep(0.1)
    time.sleep(0.6)  # closed: nobody watches any more
    assert left == []


def test_without_a_limit_nobody_watches(tmp_path: Path) -> None:
    left: list[int] = []
    before = threading.active_count()
    with watch(tmp_path, left, [], limit_s=0):
        assert threading.active_count() == before


def test_a_loop_that_hangs_leaves_its_stacks(tmp_path: Path) -> None:
    left: list[int] = []
    said: list[str] = []

    def a_function_that_hangs() -> None:
        while not left:
            time.sleep(0.01)

    with watch(tmp_path, left, said) as dog:
        dog.beat("validation", 7)
        a_function_that_hangs()
    assert left == [1]
    assert said[0].startswith("rank 1 hangs in validation of step 7: nothing moved for 0.4 s")
    stacks = (tmp_path / "stacks" / "step_00000007_rank_1.txt").read_text()
    assert stacks.index("thread MainThread:") < stacks.index("thread watchdog:")
    assert "a_function_that_hangs" in stacks


@pytest.mark.slow  # make chaos lets ranks on Ray hang
def test_two_ranks_that_hang_both_end(make_config: MakeConfig, tmp_path: Path) -> None:
    """Rank 1 stops in its fourth step; rank 0 waits for its gradients; torchrun sees both fail."""
    config = make_config(
        model={"hang_at": 3, "hang_rank": 1},
        train={"hang_timeout_s": 3, "checkpoint_every": 2},
    )
    path = tmp_path / "run.yaml"
    path.write_text(dump(config))
    script = tmp_path / "rank.py"
    script.write_text(
        "import engine.duet\n"  # the tests' family
        "from vidgen.cli import main\nmain()\n"
    )
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2",
        str(script), "train", str(path),
    ]  # fmt: skip
    tests = str(Path(__file__).parents[1])
    began = time.monotonic()
    done = subprocess.run(
        command, env={**ALONE, "PYTHONPATH": tests}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1, done.stderr
    assert time.monotonic() - began < 60
    folder = Path(str(config.run)) / "stacks"
    assert "in loss" in (folder / "step_00000004_rank_1.txt").read_text()  # the duet's
    # Rank 0 stands where gradients are summed, or torchrun has ended it for rank 1's sake.
    assert re.search(r"rank \d hangs in training of step 4", done.stderr)
    assert RunFolder(str(config.run)).checkpoint_steps() == [2]
