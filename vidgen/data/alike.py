"""Clips that show the same: a few hundred bits each, compared without comparing all pairs.

A signature says, for a few frames of a clip, in which direction brightness changes from cell to
cell, where it changes from one of these frames to the next, and which colours it has where: it
hardly minds another size, codec or brightness. The second part tells takes apart that one camera
made in one place, the third drawings whose colours alone differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from vidgen.data.picture import Frames

_FRAMES, _ROWS, _COLUMNS = 4, 8, 8
BITS = _FRAMES * _ROWS * _COLUMNS  # of the first part
_MOVES = BITS // 8 + 2 * (_FRAMES - 1) * _ROWS * _COLUMNS // 8  # where the second part ends
_PATCHES = 4  # by 4, of the third
_BYTES = _MOVES + 2 * _PATCHES**2
_BANDS = 16  # of 16 bits; two clips are compared where one of them is the same in both
_APART = 0.14  # share of bits by which near duplicates may differ, if they move alike
_MOVED_APART = 0.35  # share of cells that change in either, by which they may differ
_STILL_APART = 0.035  # share of bits by which they may differ where nothing moves
_FEW = 16  # such cells; with fewer there is no motion to compare
_SAME_BAND = 64  # clips on either side that a clip is compared with, at most, in each band
_COLOURS_APART = 0.03  # of full scale; copies of real, drawn and made-up clips stay below it
_FLAT = 0.02  # of full scale; smaller differences of cells are no difference

Signatures = NDArray[np.uint8]  # (n, _BYTES)


def signature(frames: Frames) -> str:
    """Of a clip, (T, H, W, 3) uint8, in hexadecimal; '' if there is too little to see."""
    chosen = np.linspace(0, len(frames) - 1, 2 * _FRAMES + 1).astype(int)[1::2]
    rgb = frames[chosen] / np.float32(255)
    luma = rgb @ np.array([0.2126, 0.7152, 0.0722], np.float32)
    lines = _cells(luma, _ROWS, 1)
    steps = np.diff(_cells(lines, _COLUMNS + 1, 2), axis=2)  # (frames, rows, columns)
    if float((np.abs(steps) > _FLAT).mean()) < 0.1:
        return ""
    moves = np.diff(_cells(lines, _COLUMNS, 2), axis=0)  # (frames - 1, rows, columns)
    bits = [steps > _FLAT / 4, moves > _FLAT, moves < -_FLAT]
    packed = np.packbits(np.concatenate([each.ravel() for each in bits]))
    chroma = (rgb[..., ::2] - luma[..., None]).mean(0)  # (H, W, 2): red and blue
    patches = _cells(_cells(chroma, _PATCHES, 0), _PATCHES, 1)
    return packed.tobytes().hex() + np.uint8((patches + 1) * 127.5).tobytes().hex()


def near_duplicates(signatures: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Pairs (a, b), a < b, of clips whose signatures nearly agree.

    '' agrees with nothing, and neither does what an older version wrote.
    """
    known = np.array([n for n, text in enumerate(signatures) if len(text) == 2 * _BYTES], np.int64)
    if not len(known):
        return
    data = np.frombuffer(bytes.fromhex("".join(signatures[n] for n in known)), np.uint8)
    rows: Signatures = data.reshape(len(known), _BYTES)
    words = np.ascontiguousarray(rows[:, : BITS // 8]).view(">u2")  # (n, _BANDS)
    seen: set[tuple[int, int]] = set()
    for band in range(_BANDS):
        order = np.argsort(words[:, band], kind="stable")
        values = words[order, band]
        for step in range(1, min(_SAME_BAND, len(order) - 1) + 1):
            same = np.flatnonzero(values[step:] == values[:-step])
            if not len(same):
                break
            first, second = order[same], order[same + step]
            for at in np.flatnonzero(_alike(rows[first], rows[second])):
                a, b = sorted((int(known[first[at]]), int(known[second[at]])))
                if (a, b) not in seen:
                    seen.add((a, b))
                    yield a, b


def _alike(a: Signatures, b: Signatures) -> NDArray[np.bool_]:
    """Whether two clips each nearly agree."""
    different = np.unpackbits((a ^ b)[:, :_MOVES], axis=1)
    moved = np.unpackbits((a | b)[:, BITS // 8 : _MOVES], axis=1).sum(1)
    colours = (a[:, _MOVES:].astype(np.float32) - b[:, _MOVES:]) / 127.5
    shares = different[:, :BITS].mean(1)
    still = moved < _FEW
    agree = different[:, BITS:].sum(1) <= _MOVED_APART * moved
    nearly = np.where(still, shares <= _STILL_APART, (shares <= _APART) & agree)
    found: NDArray[np.bool_] = nearly & (np.sqrt((colours**2).mean(1)) <= _COLOURS_APART)
    return found


class Groups:
    """Union of what belongs together."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def find(self, name: str) -> str:
        """The group's name: its last member in order."""
        while (above := self._parent.get(name, name)) != name:
            self._parent[name] = self._parent.get(above, above)
            name = above
        return name

    def join(self, a: str, b: str) -> None:
        a, b = sorted((self.find(a), self.find(b)))
        if a != b:
            self._parent[a] = b


def _cells(values: NDArray[np.float32], count: int, axis: int) -> NDArray[np.float32]:
    """Means of `count` parts of about equal size along an axis."""
    length = values.shape[axis]
    edges = np.linspace(0, length, count + 1).round().astype(int)
    starts = np.minimum(edges[:-1], length - 1)
    sums = np.add.reduceat(values, starts, axis)
    sizes = np.maximum(1, np.diff(edges))
    shape = [1] * values.ndim
    shape[axis] = count
    means: NDArray[np.float32] = (sums / sizes.reshape(shape)).astype(np.float32)
    return means
