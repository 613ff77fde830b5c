"""Optical flow between frames: DIS (Kroeger et al. 2016), the only use of OpenCV.

Flow is what lets two frames be compared where the picture went instead of where it was.

Legend: T frames, H height, W width.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# OpenCV's threads would fight with torch's and with other ranks on the same machine.
cv2.setNumThreads(1)


def grey(video: Array) -> Array:
    """(T, H, W, 3) uint8 RGB to (T, H, W) uint8 luma."""
    return np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in video])


def flow(before: Array, after: Array) -> Array:
    """(H, W, 2) float32: where each pixel of `before` is in `after`, dx and dy in pixels.

    Both (H, W) uint8. Frames narrower than 16 pixels are enlarged for the search.
    """
    height, width = before.shape
    scale = 1
    while min(height, width) * scale < 16:
        scale *= 2
    if scale > 1:
        size = (width * scale, height * scale)
        before, after = (
            cv2.resize(x, size, interpolation=cv2.INTER_LINEAR) for x in (before, after)
        )
    found: Array = _search().calc(before, after, None)
    if scale > 1:
        found = cv2.resize(found, (width, height), interpolation=cv2.INTER_AREA) / scale
    return found


def warp(image: Array, by: Array) -> Array:
    """Fetch each pixel p of the result from p + by(p), bilinearly, borders repeated.

    `warp(after, flow(before, after))` looks like `before`.
    """
    height, width = by.shape[:2]
    x = by[..., 0] + np.arange(width, dtype=np.float32)
    y = by[..., 1] + np.arange(height, dtype=np.float32)[:, None]
    fetched: Array = cv2.remap(
        image, x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    return fetched


def occluded(there: Array, back: Array) -> Array:
    """(H, W) bool: pixels whose flow there and back does not return (Sundaram et al. 2010).

    What appears or is covered has no counterpart in the other frame and says nothing about
    consistency.
    """
    returned = warp(back, there)
    gap = ((there + returned) ** 2).sum(-1)
    size = (there**2).sum(-1) + (returned**2).sum(-1)
    lost: Array = gap > 0.01 * size + 0.5
    return lost


@cache
def _search() -> Any:
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    search.setFinestScale(0)  # the preset stops at half size, too coarse for clips of 32 pixels
    return search
