"""A small prepared data set, and configs that train on it in a second."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import engine.duet  # noqa: F401 - adds its row to the table of families
import pytest
import torch
from engine.command_line import Vidgen, call

from vidgen.config.run import RunConfig
from vidgen.data.encode import encode_mp4
from vidgen.data.manifest import DatasetSummary, Row, SourceCounts, write_dataset
from vidgen.storage.local import LocalStore

torch.set_num_threads(1)  # two would wait for each other on a busy machine

MakeConfig = Callable[..., RunConfig]


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 clips of 6 frames, 8x8 pixels: two labels, each a drifting brightness of its own."""
    folder = tmp_path_factory.mktemp("clips")
    store = LocalStore(folder)
    rows = []
    for n in range(24):
        label = ("dark", "light")[n % 2]
        base = torch.full((6, 8, 8, 3), 40 + 150 * (n % 2), dtype=torch.int64)
        drift = torch.arange(6).view(6, 1, 1, 1) * (n % 5)
        frames = (base + drift).to(torch.uint8).numpy()
        data = encode_mp4(frames, 8)
        store.write(f"clips/{n:03d}.mp4", data)
        split = "train" if n < 16 else "val" if n < 20 else "test"
        rows.append(
            Row(
                clip=f"clips/{n:03d}.mp4", source=f"{n:03d}.mp4", split=split, start_s=0.0,
                duration_s=0.75, frames=6, fps=8.0, width=8, height=8, caption=f"{label} {n}",
                label=label, sha256=hashlib.sha256(data).hexdigest(), bytes=len(data), motion=0.1,
                brightness=0.5, source_width=8, source_height=8, source_fps=8.0,
                source_codec="h264", extra="{}",
            )
        )  # fmt: skip
    summary = DatasetSummary(
        width=8,
        height=8,
        fps=8.0,
        labels=("dark", "light"),
        sources=SourceCounts(seen=24, kept=24, rejected=0, skipped=0),
        clips={"train": 16, "val": 4, "test": 4},
        rejects={},
        options={},
    )
    write_dataset(store, rows, [], summary)
    return folder


@pytest.fixture
def vidgen(capfd: pytest.CaptureFixture[str]) -> Vidgen:
    """Run a command line in this process: (exit code, stdout, stderr)."""
    return lambda *argv: (call(*argv), *capfd.readouterr())


@pytest.fixture
def make_config(clips: Path, tmp_path: Path) -> MakeConfig:
    """A run of 8 steps; keyword arguments replace keys, `train={...}` and the like merge."""
    return partial(config_on, clips, tmp_path)


def config_on(clips: Path, folder: Path, **keys: Any) -> RunConfig:
    """A run in `folder` on those clips."""
    base: dict[str, Any] = {
        "name": "test",
        "run": str(folder / "run"),
        "data": {"url": str(clips), "frames": 4, "height": 8, "width": 8},
        "model": {"family": "duet", "conditions": ["label"]},
        "train": {
            "steps": 8, "batch_size": 8, "log_every": 1, "validate_every": 4,
            "sample_every": 4, "samples": 3, "checkpoint_every": 4,
        },
        "optimizer": {"lr": 0.01, "weight_decay": 0.1},
        "schedule": {"warmup_steps": 2},
    }  # fmt: skip
    for key, value in keys.items():
        merge = isinstance(value, dict) and key in base
        base[key] = {**base[key], **value} if merge else value
    return RunConfig.model_validate(base)
