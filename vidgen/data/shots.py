"""Consecutive frames to clips of equal length, none of which reaches over a cut.

A cut is a change between two frames that is large, and large beside those just before and after
it: fast motion changes much all the time, a flash changes twice. Fades and dissolves are no cuts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidgen.data.picture import Frames

_SIDE = 16  # cells of the thumbnails that are compared, each way
_LEAST = 0.07  # mean absolute change of thumbnails, of full scale
_TIMES = 3.0  # as much as the largest change nearby
_NEAR = 3  # frames
_REPEAT = 1e-4  # a change below this is none


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Part of a shot.

    Attributes:
        start: its first frame, counted from the first of the source.
        frames: (T, H, W, 3) uint8.
    """

    start: int
    frames: Frames


def pieces(frames: Iterable[Frames], *, length: int, shots: bool) -> Iterator[Piece]:
    """Cut (H, W, 3) frames into pieces of `length` frames; the last of each shot may be shorter."""
    held: list[Frames] = []  # frames that are in no piece yet, `start` and those after it
    changes: list[float] = []  # of each held frame against the one before it
    earlier: list[float] = []  # the last changes before the held frames
    start = 0
    before: NDArray[np.float32] | None = None

    def release(count: int) -> Piece:
        nonlocal held, changes, earlier, start
        piece = Piece(start=start, frames=np.stack(held[:count]))
        earlier = _real([*earlier, *changes[:count]])[-_NEAR:]
        held, changes, start = held[count:], changes[count:], start + count
        return piece

    for frame in frames:
        now = _thumbnail(frame) if shots else None
        changes.append(0.0 if before is None or now is None else float(np.abs(now - before).mean()))
        held.append(frame)
        before = now
        # Whether a frame begins a shot is known once a few more have been seen.
        at = len(held) - 1 - _NEAR if shots else len(held)
        if shots and at > 0 and _is_cut(earlier, changes, at):
            while at > 0:
                count = min(at, length)
                yield release(count)
                at -= count
        while at >= length:
            yield release(length)
            at -= length
    for at in range(max(0, len(held) - _NEAR), len(held)) if shots else ():
        if at > 0 and at < len(held) and _is_cut(earlier, changes, at):
            yield release(min(at, length))
            break
    while held:
        yield release(min(len(held), length))


def _is_cut(earlier: list[float], changes: list[float], at: int) -> bool:
    """Repeated frames say nothing: at a low source rate every second one or more is a repeat."""
    before = _real([*earlier, *changes[:at]])[-_NEAR:]
    after = _real(changes[at + 1 : at + 1 + _NEAR])
    return changes[at] > max(_LEAST, _TIMES * max([*before, *after], default=0.0))


def _real(changes: list[float]) -> list[float]:
    return [change for change in changes if change > _REPEAT]


def _thumbnail(frame: Frames) -> NDArray[np.float32]:
    """Mean colour of each cell, (S, S, 3) of full scale."""
    rows = np.linspace(0, frame.shape[0], min(_SIDE, frame.shape[0]) + 1).astype(int)[:-1]
    columns = np.linspace(0, frame.shape[1], min(_SIDE, frame.shape[1]) + 1).astype(int)[:-1]
    sums = np.add.reduceat(np.add.reduceat(frame.astype(np.float32), rows, 0), columns, 1)
    area = np.outer(np.diff([*rows, frame.shape[0]]), np.diff([*columns, frame.shape[1]]))
    cells: NDArray[np.float32] = (sums / (255 * area[..., None])).astype(np.float32)
    return cells
