"""Small source videos, squares that wander over a shade, and a run over them."""

from __future__ import annotations

import csv
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from vidgen.config.base import FamilyConfig
from vidgen.config.data import DataConfig
from vidgen.config.prepare import PrepareOptions
from vidgen.config.run import RunConfig, TrainConfig
from vidgen.data.encode import write_mp4
from vidgen.data.manifest import MANIFEST, REJECTS, SUMMARY, Row

SMALL = PrepareOptions(width=32, height=32, fps=12, workers=2)


def moving_square(
    seed: int, *, frames: int = 24, height: int = 48, width: int = 64
) -> NDArray[np.uint8]:
    """(T, H, W, 3); every seed has its own colours and path."""
    draw = np.random.default_rng(seed)
    video = np.empty((frames, height, width, 3), np.uint8)
    left, right = draw.integers(0, 256, (2, 3))
    video[:] = np.linspace(left, right, width).astype(np.uint8)
    colour = (left + draw.integers(96, 160, 3)) % 256
    y0, x0 = draw.integers(0, height - 12), draw.integers(0, width - 12)
    dy, dx = draw.choice([-2, -1, 1, 2], 2)
    for t in range(frames):
        y, x = _bounce(y0 + t * dy, height - 13), _bounce(x0 + t * dx, width - 13)
        video[t, y : y + 12, x : x + 12] = colour
    return video


def _bounce(place: int, last: int) -> int:
    """To and fro between 0 and `last`; a jump would be a cut."""
    return last - abs(place % (2 * last) - last) if last > 0 else 0


def make_sources(folder: Path, count: int, *, labels: int = 2, **shape: Any) -> Path:
    """`count` videos of 24 frames at 12 per second, and captions.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for n in range(count):
        write_mp4(folder / f"v{n:03d}.mp4", moving_square(n, **shape), 12)
        rows.append([f"v{n:03d}.mp4", f"square number {n}", f"kind{n % labels}", n])
    with (folder / "captions.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["file", "caption", "label", "number"], *rows])
    return folder


def clip_bytes(dataset: Path, row: Row | dict[str, Any]) -> bytes:
    """The MP4 file of a packed clip."""
    values = row if isinstance(row, dict) else asdict(row)
    data = (dataset / values["clip"]).read_bytes()
    return data[values["offset"] : values["offset"] + values["bytes"]]


def files_of(dataset: Path) -> dict[str, bytes]:
    """What a data set says of its clips."""
    return {name: (dataset / name).read_bytes() for name in (MANIFEST, REJECTS, SUMMARY)}


class AnyClip(FamilyConfig):
    """Any conditions, any shape: what is tested here ends before the model."""

    reads: ClassVar = frozenset({"label", "text", "image", "sketch", "past"})
    any_size: ClassVar[bool] = True


def run_config(
    url: str = "unused", *, batch_size: int = 4, seed: int = 0, **data: object
) -> RunConfig:
    """A run over clips of 16x16, 8 frames."""
    conditions = data.pop("conditions", ("label", "text"))
    shape = {"frames": 8, "height": 16, "width": 16, **data}
    return RunConfig.model_validate(
        {
            "name": "test",
            "seed": seed,
            "data": DataConfig(url=url, **shape),  # type: ignore[arg-type]
            "model": AnyClip(
                family="flow",
                conditions=conditions,  # type: ignore[arg-type]
                past_frames=2 if "past" in conditions else 0,  # type: ignore[operator]
            ),
            "train": TrainConfig(batch_size=batch_size),
        }
    )
