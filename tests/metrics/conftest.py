"""Real clips as tensors."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

FRAMES = 16


@pytest.fixture(scope="session")
def windows(real_clips: Path) -> Tensor:
    """(N, 3, 16, 64, 64) uint8: windows of real videos that share no frame, in order."""
    from vidgen.data.video import decode

    found: list[Tensor] = []
    for name in CLIPS:
        frames = torch.from_numpy(decode(real_clips / name, fps=12.0, size=(64, 64)))
        starts = range(0, len(frames) - FRAMES + 1, FRAMES)
        for start in starts[: min(8, len(starts) // 2 * 2)]:
            found.append(frames[start : start + FRAMES].permute(3, 0, 1, 2))
    return torch.stack(found)


# Short files with moving content; an even number of windows each, so that halves share videos.
CLIPS = [
    "asl_walk.mkv", "bee.mp4", "chaplin.mp4", "chimps_river.mp4", "stpancras_60fps.mp4",
    "gannets.avi", "bear_cage.webm", "car_window_vfr.3gp", "flower.mp4", "nasa_mirror.mp4",
]  # fmt: skip
