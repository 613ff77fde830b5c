"""A dry run tells what the run will need; running out of memory names the knob to turn."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from engine.conftest import MakeConfig
from engine.test_interrupt import ALONE, flow, write

from vidgen.cli import cli
from vidgen.config.run import RunConfig
from vidgen.engine import dry_run as module
from vidgen.engine.distributed import Ranks
from vidgen.engine.dry_run import dry_run
from vidgen.engine.memory import memory_advice, naming_the_knob
from vidgen.engine.strategy import Strategy
from vidgen.errors import TrainingError
from vidgen.storage.run_folder import RunFolder


def large(make_config: MakeConfig, **keys: int) -> RunConfig:
    """A model whose activations outweigh everything else."""
    config = flow(make_config, **{"batch_size": 64, **keys})
    model = {**config.model.model_dump(mode="json"), "patch": [1, 1, 1], "width": 96, "heads": 2}
    return RunConfig.model_validate({**config.model_dump(mode="json"), "model": model})


def test_a_dry_run_measures_and_leaves_nothing(make_config: MakeConfig, tmp_path: Path) -> None:
    config = large(make_config)
    path = write(config, tmp_path)
    before = sorted(tmp_path.rglob("*"))
    done = CliRunner().invoke(cli, ["train", path, "--dry-run", "--json"], catch_exceptions=False)
    assert sorted(tmp_path.rglob("*")) == before
    found = json.loads(done.stdout)
    assert found["clips"] == found["clips_at_once"] == 64
    assert found["step_s"] > found["data_wait_s"] >= 0
    assert 8 * found["step_s"] < found["seconds"] < 16 * found["step_s"] + 60
    assert "of state fits in" in found["strategy"]
    assert found["state_bytes"] == pytest.approx(20 * found["weights"], rel=0.01)  # and buffers
    assert found["peak_bytes"] < found["device_bytes"]
    assert found["largest_batch"] > 64


def test_the_largest_batch_is_what_fits(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = large(make_config, accumulate=2)
    first = dry_run(config)
    assert first.clips_at_once == 32
    # With room for two and a half times what the activations take, two and a half times the clips.
    small = dry_run(large(make_config, accumulate=8))
    each = (first.peak_bytes - small.peak_bytes) / (32 - 8)
    room = first.peak_bytes + 48 * each
    monkeypatch.setattr(module, "device_bytes", lambda ranks: int(room / 0.95))
    largest = dry_run(config).largest_batch
    assert largest == pytest.approx(2 * (32 + 48), rel=0.35)


def test_shared_state_leaves_more_room(make_config: MakeConfig) -> None:
    config = flow(make_config)
    ddp, fsdp = (
        dry_run(config.model_copy(update={"scale": make_config(
            scale={"workers": 2, "strategy": kind}).scale}))
        for kind in ("ddp", "fsdp")
    )  # fmt: skip
    assert ddp.ranks == 2
    assert ddp.clips_at_once == 4
    assert "scale.strategy=fsdp" in fsdp.strategy
    assert str(ddp).splitlines()[0].startswith("model")


def test_text_is_for_people(make_config: MakeConfig, tmp_path: Path) -> None:
    path = write(flow(make_config), tmp_path)
    done = CliRunner().invoke(cli, ["train", path, "--dry-run"], catch_exceptions=False)
    lines = dict(line.split("  ", 1) for line in done.stdout.splitlines() if "  " in line)
    assert {"model", "strategy", "peak memory", "batch", "step", "the run"} <= lines.keys()
    assert CliRunner().invoke(cli, ["train", path, "--json"]).exit_code == 2


LIMITED = """
import resource
import vidgen.engine.train
from vidgen.cli import main
limit = int(open("/proc/self/statm").read().split()[0]) * 4096 + 700 * 1024**2
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
main()
"""


def test_out_of_memory_names_the_knob(make_config: MakeConfig, tmp_path: Path) -> None:
    """A real process that may take 700 MB more than Python and torch do."""
    config = large(make_config, batch_size=2048)
    command = [sys.executable, "-c", LIMITED, "train", write(config, tmp_path)]
    done = subprocess.run(command, env=ALONE, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1, done.stderr
    assert "out of memory: 2048 clips of 4x8x8 at a time do not fit" in done.stderr
    assert "Set train.accumulate=2" in done.stderr
    assert not RunFolder(str(config.run)).checkpoint_steps()


@pytest.mark.parametrize(
    ("keys", "world", "knob"),
    [
        ({"batch_size": 8}, 1, "train.accumulate=2"),
        ({"batch_size": 8, "accumulate": 4}, 1, "train.accumulate=8"),
        ({"batch_size": 8, "accumulate": 4}, 2, "train.recompute=true"),
        ({"batch_size": 8, "accumulate": 4, "recompute": True}, 2, "scale.strategy=fsdp: ranks"),
        ({"batch_size": 8, "accumulate": 8, "recompute": True}, 1, "Use more ranks"),
    ],
)
def test_the_knob_is_the_cheapest_left(
    make_config: MakeConfig, keys: dict[str, int], world: int, knob: str
) -> None:
    config = flow(make_config, **keys)
    assert knob in memory_advice(config, world, Strategy(kind="ddp", replicas=world, why=""))


def test_a_gpu_without_memory_is_told_from_other_errors(make_config: MakeConfig) -> None:
    strategy = Strategy(kind="ddp", replicas=1, why="")
    for error, raised in (
        (torch.OutOfMemoryError("CUDA out of memory"), TrainingError),
        (RuntimeError("shapes differ"), RuntimeError),
    ):
        with pytest.raises(raised), naming_the_knob(make_config(), Ranks(), strategy):
            raise error
