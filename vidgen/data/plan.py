"""Which packets a clip needs: from times to pictures, to runs of packets, to byte ranges. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from vidgen.data.packets import KEY, Packets, Source
from vidgen.errors import DataError

MERGE_GAP = 256 * 1024  # bytes; audio in between costs less than another request
Rows = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Run:
    """Packets to decode one after the other: from key packet `start` to before `stop`."""

    start: int
    stop: int


def nearest(source: Source, seconds: Sequence[Fraction]) -> Rows:
    """Rows of the pictures nearest to times after the first picture; the earlier at a tie."""
    middles = source.times[:-1] + source.times[1:]  # in half ticks
    halves = [-(-2 * time // source.tick) for time in seconds]
    return source.packets.shown[np.searchsorted(middles, np.array(halves), side="left")]


def clip_rows(
    source: Source,
    start_s: float | Fraction,
    frames: int,
    stride: int | None,
    fps: float | Fraction | None,
) -> Rows:
    """The pictures of a clip, by stride or by rate. Raises DataError past the end."""
    if (stride is None) == (fps is None):
        raise ValueError("give stride or fps")
    if stride is not None:
        return rows_by_stride(source, start_s=start_s, frames=frames, stride=stride)
    assert fps is not None
    return rows_at_rate(source, start_s=start_s, frames=frames, fps=fps)


def rows_at_rate(
    source: Source, *, start_s: float | Fraction, frames: int, fps: float | Fraction
) -> Rows:
    """The pictures nearest to start_s, start_s + 1/fps, ... Raises DataError past the end."""
    start = Fraction(start_s).limit_denominator(1_000_000)
    step = 1 / Fraction(fps).limit_denominator(100_000)
    seconds = [start + step * index for index in range(frames)]
    if start < 0 or seconds[-1] > source.duration_s + 0.5 / float(fps):
        raise _outside(source, f"{frames} frames at {float(fps):g} fps from {float(start_s):g} s")
    return nearest(source, seconds)


def rows_by_stride(source: Source, *, start_s: float | Fraction, frames: int, stride: int) -> Rows:
    """The picture nearest to start_s, every stride-th after it. Raises DataError past the end."""
    start = Fraction(start_s).limit_denominator(1_000_000)
    middles = source.times[:-1] + source.times[1:]
    first = int(np.searchsorted(middles, -(-2 * start // source.tick), side="left"))
    last = first + stride * (frames - 1)
    if start < 0 or last >= len(source.times) or start > source.duration_s:
        raise _outside(source, f"{frames} frames with stride {stride} from {float(start_s):g} s")
    return source.packets.shown[first : last + 1 : stride]


def runs(packets: Packets, rows: Rows, *, no_start: frozenset[int] = frozenset()) -> list[Run]:
    """The shortest runs that decode `rows`, in decoding order.

    A picture is decoded from the last key packet before it that is not shown after it: pictures
    shown before their key packet (open groups of pictures) also refer to the group before.
    `no_start`: key packets that turned out to be no place to start.
    """
    keys = np.flatnonzero(packets.flags & KEY)
    found: list[Run] = []
    for row in np.unique(rows):
        at = int(np.searchsorted(keys, row, side="right")) - 1
        while at >= 0 and (packets.pts[keys[at]] > packets.pts[row] or int(keys[at]) in no_start):
            at -= 1
        start = int(keys[at]) if at >= 0 else 0
        stop = int(row) + 1
        while found and start < found[-1].stop:  # one run from the earliest start that they need
            start = min(start, found.pop().start)
        found.append(Run(start=start, stop=stop))
    return found


def byte_spans(
    packets: Packets, chosen: Sequence[Run], gap: int = MERGE_GAP
) -> list[tuple[int, int]]:
    """(start, end) ranges of the file that hold the runs, sorted; one where closer than `gap`."""
    rows = np.concatenate([np.arange(run.start, run.stop) for run in chosen])
    order = rows[np.argsort(packets.offset[rows], kind="stable")]
    begin = packets.offset[order]
    end = np.maximum.accumulate(begin + packets.size[order])
    apart = np.flatnonzero(begin[1:] - end[:-1] > gap)
    firsts, lasts = [0, *(apart + 1)], [*apart, len(order) - 1]
    return [(int(begin[a]), int(end[b])) for a, b in zip(firsts, lasts, strict=True)]


def _outside(source: Source, asked: str) -> DataError:
    return DataError(
        f"{source.key}: {asked} is outside the video",
        expected=f"0 to {source.duration_s:.3f} s, {len(source.times)} frames",
    )
