"""The packet index of a video: where every picture lies, when it is shown, and what decodes it."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vidgen.storage.base import Stat

KEY, DISPOSABLE, HIDDEN = 1, 2, 4  # bits of Packets.flags


@dataclass(frozen=True, kw_only=True)
class Codec:
    """All that a decoder needs besides packets.

    Attributes:
        name: FFmpeg's name of the codec, such as 'h264'.
        decoder: the decoder that was used when the index was made.
        extradata: parameter sets as the container keeps them.
        tag: the container's four-character code.
        width, height: stored pixels.
        bits: per coded sample, 0 where the codec knows itself.
        reorder: pictures that a decoder must hold back to show them in order.
        color_range, colorspace, primaries, transfer: FFmpeg's numbers.
    """

    name: str
    decoder: str
    extradata: bytes
    tag: str
    width: int
    height: int
    pix_fmt: str
    bits: int
    reorder: int
    color_range: int
    colorspace: int
    primaries: int
    transfer: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Packets:
    """One row per packet, in decoding order.

    Attributes:
        pts: (N,) int64, presentation time in ticks.
        offset: (N,) int64, first byte in the file.
        size: (N,) int32, bytes.
        flags: (N,) uint8: KEY decoding can start here; DISPOSABLE no other picture refers to it;
            HIDDEN decoded but never shown (cut off by an edit list, or only to be referred to).
    """

    pts: NDArray[np.int64]
    offset: NDArray[np.int64]
    size: NDArray[np.int32]
    flags: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.pts)

    @cached_property
    def shown(self) -> NDArray[np.int64]:
        """Rows of the pictures that are shown, in order of their time; one per time."""
        rows = np.flatnonzero((self.flags & HIDDEN) == 0)
        rows = rows[np.argsort(self.pts[rows], kind="stable")]
        return rows[np.diff(self.pts[rows], prepend=self.pts[rows[:1]] - 1) > 0]

    def reorder_depth(self, window: int = 16) -> int:
        """How many earlier packets are shown later than a packet, at most; H.264 allows 16."""
        later = np.zeros(len(self), dtype=np.int64)
        for back in range(1, min(window, len(self) - 1) + 1):
            later[back:] += self.pts[:-back] > self.pts[back:]
        return int(later.max(initial=0))


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """The index of one video file.

    Attributes:
        key: name of the object in its store.
        size, etag: of the object when it was indexed.
        container: FFmpeg's name of the format.
        sparse: the media bytes were not read to make this index.
        verbatim: every packet lies in the file as it goes into the decoder, so that clips are read
            by range; otherwise (MPEG-TS, Ogg, ...) the file must be demuxed again.
        tick: seconds per unit of `pts`.
        pixel_shape: width of a pixel over its height.
        turns: quarter turns clockwise from stored to displayed frames.
    """

    key: str
    size: int
    etag: str
    container: str
    sparse: bool
    verbatim: bool
    codec: Codec
    packets: Packets
    tick: Fraction
    pixel_shape: Fraction
    turns: int

    @property
    def stat(self) -> Stat:
        return Stat(key=self.key, size=self.size, etag=self.etag)

    @cached_property
    def times(self) -> NDArray[np.int64]:
        """Ticks of the shown pictures after the first of them, rising."""
        pts = self.packets.pts[self.packets.shown]
        return pts - pts[:1]

    @cached_property
    def duration_s(self) -> float:
        """From the first picture to the end of the last, which lasts as long as most do."""
        usual = float(np.median(np.diff(self.times))) if len(self.times) > 1 else 0.0
        return float((float(self.times[-1]) + usual) * self.tick)

    @cached_property
    def displayed(self) -> tuple[int, int]:
        """(height, width) with square pixels, upright."""
        return displayed_size(self.codec.height, self.codec.width, self.pixel_shape, self.turns)


def displayed_size(height: int, width: int, pixel_shape: Fraction, turns: int) -> tuple[int, int]:
    """(height, width) of a stored picture when it is shown with square pixels, upright."""
    if pixel_shape > 1:
        width = max(1, round(width * pixel_shape))
    elif pixel_shape < 1:
        height = max(1, round(height / pixel_shape))
    return (width, height) if turns % 2 else (height, width)
