"""From a place in the manifest to frames: windows of clips, read by range.

Picklable and run in decoder processes; what it opens stays open there.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from vidgen.config.data import SkipLoopFilter
from vidgen.data.index_file import PacketIndex
from vidgen.data.indexing import index_source
from vidgen.data.manifest import Row
from vidgen.data.packets import Source
from vidgen.data.picture import Box, Fit, Frames
from vidgen.data.reader import ClipReader, Fetched
from vidgen.errors import DataError
from vidgen.storage.base import Store
from vidgen.storage.cache import CachedStore
from vidgen.storage.local import LocalStore
from vidgen.storage.tally import TALLY, Counts

_OWN = 256  # indexes in memory


@dataclass(frozen=True, kw_only=True)
class Window:
    """Frames of a clip, or of the video that it stays in.

    Attributes:
        key: the object that holds it, for messages.
        packets: its number in the packet index.
        start: time of the first frame, seconds after the first of what is indexed.
        frames: how many, at the reader's rate.
        box: the part of the picture that counts, as in the manifest.
    """

    key: str
    packets: int
    start: Fraction
    frames: int
    box: str = ""


@dataclass(frozen=True)
class Ahead:
    """The video of a window, and bytes of it."""

    source: Source
    fetched: Fetched


def window_of(row: Row, first: int, frames: int, fps: float) -> Window:
    """`frames` frames of a clip at `fps`, from number `first` on."""
    offset = first / Fraction(fps).limit_denominator(100_000)
    if row.clip:
        return Window(key=row.clip, packets=row.packets, start=offset, frames=frames)
    start = Fraction(row.start_s).limit_denominator(10**6) + offset
    return Window(key=row.source, packets=row.packets, start=start, frames=frames, box=row.box)


class WindowReader:
    """Reads windows of one data set.

    Args:
        store: the data set, which holds the packet index.
        videos: what the index is about: the data set's packs, or the originals.
        fps, size, fit: frame rate and (H, W) of the result, and how frames are fitted to it.
        cache, cache_bytes: a local folder for ranges of remote objects, and its limit.
        skip_loop_filter: as ClipReader's.
    """

    def __init__(
        self,
        store: Store,
        videos: Store,
        *,
        fps: float,
        size: tuple[int, int],
        fit: Fit = "crop",
        cache: Path | None = None,
        cache_bytes: int = 0,
        skip_loop_filter: SkipLoopFilter = "none",
    ) -> None:
        self.fps, self.size, self.fit = fps, size, fit
        if cache is not None and cache_bytes:
            store, videos = (
                place if isinstance(place, LocalStore) else CachedStore(place, cache, cache_bytes)
                for place in (store, videos)
            )
        self.index = PacketIndex(store)
        self.reader = ClipReader(videos, skip_loop_filter=skip_loop_filter)
        self._own: OrderedDict[str, Source] = OrderedDict()  # of clips that are files of their own

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_own": OrderedDict()}

    def ahead(self, window: Window) -> Ahead:
        """What `__call__` needs of the stores. May run in a thread beside it, if it is always given
        what this returns. Raises DataError, StorageError."""
        source = self._source(window)
        fetched = self.reader.fetch(
            source, start_s=window.start, frames=window.frames, fps=self.fps
        )
        return Ahead(source, fetched)

    def __call__(self, window: Window, ahead: Ahead | None = None) -> Frames:
        """(T, H, W, 3) uint8. Raises Rejected if it does not decode, DataError, StorageError."""
        source = self._source(window) if ahead is None else ahead.source
        before = self.reader.stats.decode_s
        try:
            return self.reader.read(
                source,
                start_s=window.start,
                frames=window.frames,
                fps=self.fps,
                size=self.size,
                fit=self.fit,
                box=Box.parse(window.box),
                fetched=ahead.fetched if ahead is not None else None,
            )
        finally:
            TALLY.add(Counts(decode_s=self.reader.stats.decode_s - before))

    def _source(self, window: Window) -> Source:
        source = self._indexed(window)
        if source.key != window.key:
            raise DataError(
                f"the packet index in {self.index.store.url} has {source.key} at {window.packets}",
                expected=window.key,
                fix="Prepare the data set again.",
            )
        return source

    def _indexed(self, window: Window) -> Source:
        if window.packets >= 0:
            return self.index[window.packets]
        if window.key not in self._own:
            videos = self.reader.store
            self._own[window.key] = index_source(videos, videos.stat(window.key))
            if len(self._own) > _OWN:
                self._own.popitem(last=False)
        return self._own[window.key]
