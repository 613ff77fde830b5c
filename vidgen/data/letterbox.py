"""Black bars: rows or columns at opposite edges that are black in every picture of a video."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from vidgen.data.picture import Box, Frames

LOOKED_AT = 8  # pictures, spread over the video
_BLACK = 26  # levels of 255 that hardly a pixel of a bar exceeds
_PICTURE = 48  # and that the picture beside the bar reaches within a few lines
_EDGE = 4  # lines
_LEAST, _MOST = 0.02, 0.35  # thickness of one bar, share of the side
_UNEQUAL = 0.04  # by which two opposite bars may differ, share of the side


def find_box(pictures: Iterable[Frames]) -> Box | None:
    """The part of the pictures, all (H, W, 3) of one size, that bars leave; None if all of it."""
    rows: NDArray[np.float64] | None = None
    columns: NDArray[np.float64] | None = None
    for picture in pictures:
        bright = picture.max(-1)
        down, across = np.quantile(bright, 0.98, axis=1), np.quantile(bright, 0.98, axis=0)
        if rows is None or columns is None:
            rows, columns = down, across
        elif len(rows) == len(down) and len(columns) == len(across):
            rows, columns = np.maximum(rows, down), np.maximum(columns, across)
    if rows is None or columns is None:
        return None
    (top, height), (left, width) = _between(rows), _between(columns)
    if (height, width) == (1, 1):
        return None
    return Box(top=top, left=left, height=height, width=width)


def _between(peaks: NDArray[np.float64]) -> tuple[float, float]:
    """(start, length) of what lies between two bars, as shares; (0, 1) without bars."""
    side = len(peaks)
    first, last = _bar(peaks), _bar(peaks[::-1])
    thin, thick = sorted((first, last))
    if thin < max(2, _LEAST * side) or thick > _MOST * side or thick - thin > _UNEQUAL * side:
        return 0.0, 1.0
    # One line more on each side: coding smears the edge.
    return (first + 1) / side, (side - first - last - 2) / side


def _bar(peaks: NDArray[np.float64]) -> int:
    """Lines of the bar at the beginning; 0 if it fades into the picture as a dark scene does."""
    lit = np.flatnonzero(peaks >= _BLACK)
    if not len(lit):
        return 0
    start = int(lit[0])
    return start if peaks[start : start + _EDGE].max() >= _PICTURE else 0
