"""Captioned moving shapes as real H.264 files: a data set to learn from without any download.

A clip shows one shape that crosses the picture; its caption says all there is to know but where
exactly it passes. Clips of one caption form a group, so that a split by group keeps captions apart.
Legend: T frames, H height, W width.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vidgen.data.encode import write_mp4
from vidgen.data.pool import Pool
from vidgen.data.shapes import (
    ATTRIBUTES,
    BACKGROUNDS,
    COLOURS,
    DIRECTIONS,
    SPEEDS,
    Scene,
    all_scenes,
    outline,
)
from vidgen.errors import DataError, StorageError
from vidgen.storage.local import LocalStore

VERSION = 1  # grows when the same arguments give other clips
FRAMES, HEIGHT, WIDTH, FPS = 16, 64, 64, 8
RADIUS = 0.19  # of the picture's shorter side
ASIDE = 0.12  # how far a path may lie from the middle, as a share of the side
AHEAD = 0.05  # and how far its own middle may lie before or behind
_AT_ONCE = 32  # clips a process draws per task


def scene_of(index: int, *, seed: int) -> Scene:
    """The scene of a clip: all scenes in an order that the seed shuffles, over and over."""
    scenes = all_scenes()
    order = np.random.default_rng(seed).permutation(len(scenes))
    return scenes[int(order[index % len(scenes)])]


def paint(
    scene: Scene,
    *,
    rng: np.random.Generator,
    frames: int = FRAMES,
    height: int = HEIGHT,
    width: int = WIDTH,
) -> NDArray[np.uint8]:
    """A video of a scene, (T, H, W, 3) RGB, with anti-aliased edges; `rng` places the path."""
    right, down = DIRECTIONS[scene.direction]
    sides = np.array([width, height])
    step = np.array([right, down])
    along = (np.linspace(-0.5, 0.5, frames) * SPEEDS[scene.speed])[:, None] * step  # (T, 2)
    offset = rng.uniform(-AHEAD, AHEAD) * step + rng.uniform(-ASIDE, ASIDE) * np.abs(step[::-1])
    centre = (0.5 + along + offset) * sides  # (T, 2) in pixels
    x = np.arange(width) + 0.5 - centre[:, 0, None, None]  # (T, 1, W)
    y = (np.arange(height) + 0.5)[:, None] - centre[:, 1, None, None]  # (T, H, 1)
    distance = outline(scene.shape, x, y, RADIUS * min(height, width))  # (T, H, W)
    cover = np.clip(0.5 - distance, 0, 1)[..., None]  # (T, H, W, 1)
    front, back = np.array(COLOURS[scene.colour]), np.array(BACKGROUNDS[scene.background])
    video = np.round(cover * front + (1 - cover) * back)  # (T, H, W, 3)
    return np.asarray(video, np.uint8)


def synthesise(
    folder: Path,
    *,
    clips: int,
    seed: int = 0,
    workers: int = 0,
    frames: int = FRAMES,
    height: int = HEIGHT,
    width: int = WIDTH,
    fps: float = FPS,
    progress: Callable[[int], None] = lambda done: None,
) -> None:
    """Write `clips` videos and captions.csv into a folder. Equal arguments give equal bytes.

    captions.csv has the columns file, caption, label (the shape), group (the caption again: prepare
    keeps a group in one split), the labels scene, action and object, and one column per attribute.
    It is written last, so a folder that has it is whole.

    Args:
        workers: processes that draw; 0: one per CPU core.
        height, width: pixels, even.
        progress: called with the number of clips drawn so far.

    Raises:
        DataError: a count or size that gives no video.
        StorageError: the folder cannot be written.
    """
    if clips < 1 or frames < 2 or min(height, width) < 16 or height % 2 or width % 2:
        raise DataError(
            f"cannot draw {clips} clips of {frames} frames of {width}x{height}",
            expected="at least one clip of two frames, sides even and at least 16",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot write {folder}: {error.strerror}") from None
    draw = partial(
        _draw, folder, seed=seed, frames=frames, height=height, width=width, fps=fps, clips=clips
    )
    starts = range(0, clips, _AT_ONCE)
    workers = min(workers or os.cpu_count() or 1, len(starts))
    if workers == 1:
        for start in starts:
            draw(start)
            progress(min(start + _AT_ONCE, clips))
    else:
        with Pool[int, None](draw, workers=workers) as pool:
            for done, outcome in enumerate(pool.run(starts), start=1):
                outcome.get()
                progress(min(done * _AT_ONCE, clips))
    LocalStore(folder).write("captions.csv", _table(clips, seed).encode())


def _draw(
    folder: Path,
    start: int,
    *,
    clips: int,
    seed: int,
    frames: int,
    height: int,
    width: int,
    fps: float,
) -> None:
    """One process's share of the videos."""
    for index in range(start, min(start + _AT_ONCE, clips)):
        rng = np.random.default_rng([seed, index])
        scene = scene_of(index, seed=seed)
        video = paint(scene, rng=rng, frames=frames, height=height, width=width)
        write_mp4(folder / _file(index), video, fps)


def _table(clips: int, seed: int) -> str:
    text = io.StringIO()
    columns = ["file", "caption", "label", "group", "scene", "action", "object", *ATTRIBUTES]
    table = csv.DictWriter(text, columns, lineterminator="\n")
    table.writeheader()
    for index in range(clips):
        scene = scene_of(index, seed=seed)
        table.writerow(
            {
                "file": _file(index),
                "caption": scene.caption,
                "label": scene.shape,
                "group": scene.caption,
                "scene": f"{scene.background} background",
                "action": f"moving {scene.direction} {scene.speed}",
                "object": f"{scene.colour} {scene.shape}",
                **scene.attributes(),
            }
        )
    return text.getvalue()


def _file(index: int) -> str:
    return f"shape_{index:05d}.mp4"
