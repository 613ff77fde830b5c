"""A source as prepare sees it: what it says of itself, a few pictures, then all frames in order.

Two kinds: a file that is decoded from its beginning to its end, and an original that is read by
range through its packet index, clip after clip, as training will.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import numpy as np

from vidgen.config.prepare import PrepareOptions
from vidgen.data.indexing import index_source
from vidgen.data.letterbox import LOOKED_AT
from vidgen.data.packets import Source
from vidgen.data.picture import Box, Frames
from vidgen.data.reader import ClipReader
from vidgen.data.reasons import Reason, Rejected
from vidgen.data.video import Video, VideoInfo, open_video
from vidgen.errors import DataError
from vidgen.storage.base import Stat, Store

_GAP = Fraction(3, 2)  # usual distances between pictures; more means that some are missing


class Footage(Protocol):
    """One source.

    Attributes:
        info: of its video stream.
        lost: (frame, why) after which frames could not be read, in order; grows on the way.
    """

    info: VideoInfo
    lost: list[tuple[int, str]]

    def glimpses(self) -> Iterator[Frames]:
        """A few pictures (H, W, 3) of the displayed size, spread over the video."""

    def frames(self, box: Box | None) -> Iterator[Frames | None]:
        """All frames (H, W, 3) as the options want them; None where one cannot be read."""

    def missing(self, first: int, count: int) -> int:
        """How many of these frames fall where the file has none."""

    def check(self) -> None:
        """At the end: raises Rejected where too much was damaged."""


class WholeFile:
    """A file, decoded in one go."""

    def __init__(self, path: Path, video: Video, name: str, options: PrepareOptions) -> None:
        self._path, self._video, self._name, self._options = path, video, name, options
        self.lost: list[tuple[int, str]] = []
        self.info = video.info()

    def glimpses(self) -> Iterator[Frames]:
        duration = self.info.duration_s
        with open_video(self._path, name=self._name, max_pixels=self._options.max_pixels) as other:
            yield from other.glimpses(duration * (n + 0.5) / LOOKED_AT for n in range(LOOKED_AT))

    def frames(self, box: Box | None) -> Iterator[Frames | None]:
        o = self._options
        yield from self._video.frames(
            fps=o.fps,
            size=(o.height, o.width),
            fit=o.fit,
            box=box,
            blend=o.missing == "interpolate",
        )

    def missing(self, first: int, count: int) -> int:
        return sum(first <= number < first + count for number in self._video.tally.filled)

    def check(self) -> None:
        tally, most = self._video.tally, self._options.max_damaged
        if tally.damaged > most * (tally.frames + tally.damaged):
            detail = f"{self._name}: {tally.damaged} damaged frames, {tally.frames} whole ones"
            raise Rejected(Reason.CORRUPT, detail)


class Indexed:
    """An original, through its packet index."""

    def __init__(self, store: Store, stat: Stat, options: PrepareOptions) -> None:
        self._options = options
        self.source: Source = index_source(store, stat, max_pixels=options.max_pixels)
        self._reader = ClipReader(store, max_pixels=options.max_pixels)
        self._rate = Fraction(options.fps).limit_denominator(100_000)
        self.lost: list[tuple[int, str]] = []
        source = self.source
        height, width = source.displayed
        self.info = VideoInfo(
            container=source.container,
            codec=source.codec.name,
            pixel_format=source.codec.pix_fmt,
            width=width,
            height=height,
            rotation=90 * source.turns,
            fps=len(source.times) / source.duration_s if source.duration_s else 0.0,
            duration_s=source.duration_s,
        )

    def glimpses(self) -> Iterator[Frames]:
        last = float(self.source.times[-1] * self.source.tick)
        for number in range(LOOKED_AT):
            with suppress(DataError):
                at = last * (number + 0.5) / LOOKED_AT
                yield self._reader.read(self.source, start_s=at, frames=1, stride=1)[0]

    def frames(self, box: Box | None) -> Iterator[Frames | None]:
        options = self._options
        duration = Fraction(self.source.duration_s).limit_denominator(10**6)
        total = max(1, int(duration * self._rate + Fraction(1, 2)))
        step = max(1, round(options.clip_seconds * options.fps))
        for first in range(0, total, step):
            count = min(step, total - first)
            try:
                yield from self._reader.read(
                    self.source,
                    start_s=float(first / self._rate),
                    frames=count,
                    fps=self._rate,
                    size=(options.height, options.width),
                    fit=options.fit,
                    box=box,
                )
            except Rejected as error:
                self.lost.append((first, error.detail))
                yield from [None] * count

    def missing(self, first: int, count: int) -> int:
        """As `Video.frames` counts them, from the times in the index."""
        times = self.source.times
        if len(times) < 3:
            return 0
        gaps = np.diff(times)
        usual = float(np.median(gaps))
        if gaps.mean() > 1.25 * usual:  # a variable rate: gaps are meant
            return 0
        due = np.arange(first, first + count) / float(self._rate * self.source.tick)
        at = np.clip(np.searchsorted(times, due, side="right") - 1, 0, len(gaps) - 1)
        inside = (due > times[at] + usual / 2) & (due < times[at + 1] - usual / 2)
        return int((inside & (gaps[at] > float(_GAP) * usual)).sum())

    def check(self) -> None:
        """Each clip was read by itself, or not."""


def open_footage(
    src: Store, stat: Stat, options: PrepareOptions
) -> AbstractContextManager[Footage]:
    """Raises Rejected, and StorageError if the file is not to be had."""
    return _indexed(src, stat, options) if options.output == "index" else _whole(src, stat, options)


@contextmanager
def _indexed(src: Store, stat: Stat, options: PrepareOptions) -> Iterator[Indexed]:
    yield Indexed(src, stat, options)


@contextmanager
def _whole(src: Store, stat: Stat, options: PrepareOptions) -> Iterator[WholeFile]:
    with (
        src.as_file(stat.key) as path,
        open_video(
            path, name=stat.key, max_pixels=options.max_pixels, denoise=options.denoise
        ) as video,
    ):
        yield WholeFile(path, video, stat.key, options)
