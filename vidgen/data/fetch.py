"""From a place in the manifest to frames: whole prepared clips, or windows of original videos.

Both are picklable and run in decoder processes; what they open stays open there.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vidgen.data.index_file import PacketIndex
from vidgen.data.picture import Fit
from vidgen.data.reader import ClipReader
from vidgen.data.reasons import Rejected
from vidgen.data.video import Frames, decode
from vidgen.errors import DataError
from vidgen.storage.base import Store
from vidgen.storage.cache import CachedStore
from vidgen.storage.local import LocalStore

_DAMAGED = "Prepare the data set again: the file is damaged."


@dataclass(frozen=True, kw_only=True)
class Window:
    """Frames of an original video.

    Attributes:
        source: its key, for messages.
        packets: its number in the packet index.
        start_s: time of the first frame, seconds after the video's first.
        frames: how many, at the reader's rate.
    """

    source: str
    packets: int
    start_s: float
    frames: int


class PackedClips:
    """Prepared clips by key, each a file of its own."""

    def __init__(self, store: Store, *, fps: float, size: tuple[int, int]) -> None:
        self.store, self.fps, self.size = store, fps, size

    def __call__(self, key: str) -> Frames:
        """(T, H, W, 3) uint8. Raises DataError if it does not decode, StorageError."""
        try:
            data = self.store.read(key)
            return decode(data, fps=self.fps, size=self.size, name=self.store.where(key))
        except Rejected as error:
            raise DataError(f"cannot decode {error.detail}", fix=_DAMAGED) from None


class OriginalClips:
    """Windows of the originals, read by range.

    Args:
        store: the data set, which holds the packet index.
        originals: the videos.
        fps, size, fit: frame rate and (H, W) of the result, and how frames are fitted to it.
        cache, cache_bytes: a local folder for ranges of remote videos, and its limit.
    """

    def __init__(
        self,
        store: Store,
        originals: Store,
        *,
        fps: float,
        size: tuple[int, int],
        fit: Fit = "crop",
        cache: Path | None = None,
        cache_bytes: int = 0,
    ) -> None:
        self.fps, self.size, self.fit = fps, size, fit
        if cache is not None and cache_bytes:
            store, originals = (
                place if isinstance(place, LocalStore) else CachedStore(place, cache, cache_bytes)
                for place in (store, originals)
            )
        self.index, self.reader = PacketIndex(store), ClipReader(originals)

    def __call__(self, window: Window) -> Frames:
        """(T, H, W, 3) uint8. Raises DataError if it does not decode, StorageError."""
        source = self.index[window.packets]
        if source.key != window.source:
            raise DataError(
                f"the packet index in {self.index.store.url} has {source.key} at {window.packets}",
                expected=window.source,
                fix="Prepare the data set again.",
            )
        try:
            return self.reader.read(
                source,
                start_s=window.start_s,
                frames=window.frames,
                fps=self.fps,
                size=self.size,
                fit=self.fit,
            )
        except Rejected as error:
            raise DataError(f"cannot decode {error.detail}", fix=_DAMAGED) from None
