"""A prepared data set, opened for reading."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate
from typing import Any

import numpy as np
import pyarrow as pa

from vidgen.config.run import RunConfig, StorageConfig
from vidgen.data.manifest import SPLITS, DatasetSummary, lengths, read_summary
from vidgen.data.picture import Frames
from vidgen.data.rows import FileRows, Rows, Split, TableRows
from vidgen.errors import DataError, did_you_mean
from vidgen.storage.base import Store
from vidgen.storage.open import open_store


class ClipCache:
    """Decoded clips in memory, kept first come first served until full.

    Every clip is read equally often, so throwing one out to keep another gains nothing.
    """

    def __init__(self) -> None:
        self._clips: dict[tuple[object, ...], Frames] = {}
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, key: tuple[object, ...]) -> Frames | None:
        return self._clips.get(key)

    def wants(self, key: tuple[object, ...], size: int, limit: int) -> bool:
        """Whether a clip of `size` bytes is held or would be kept."""
        return key in self._clips or self._bytes + size <= limit

    def keep(self, key: tuple[object, ...], frames: Frames, limit: int) -> None:
        """Keep frames if the cache stays within `limit` bytes."""
        with self._lock:
            if key not in self._clips and self._bytes + frames.nbytes <= limit:
                self._clips[key] = frames
                self._bytes += frames.nbytes


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Where the clips are and what they are.

    Attributes:
        store: the data set folder.
        summary: dataset.json.
        rows: of the manifest.
    """

    store: Store
    summary: DatasetSummary
    rows: Rows
    cache: ClipCache = field(default_factory=ClipCache, compare=False)

    def __repr__(self) -> str:
        size = f"{self.summary.width}x{self.summary.height} at {self.summary.fps:g} fps"
        counts = ", ".join(f"{self.summary.clips.get(name, 0)} {name}" for name in SPLITS)
        return f"Dataset({self.store.url}: {counts} clips, {size})"

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names; a label's index is its place here."""
        return self.summary.labels

    @property
    def table(self) -> pa.Table:
        """All manifest rows, in memory."""
        return self.rows.table()

    @cached_property
    def splits(self) -> dict[str, Split]:
        starts = accumulate((self.summary.clips.get(name, 0) for name in SPLITS), initial=0)
        return {
            name: Split(self.rows, start, self.summary.clips.get(name, 0))
            for name, start in zip(SPLITS, starts, strict=False)
        }

    def with_rows(self, table: pa.Table) -> Dataset:
        """The same data set with other rows of its manifest, in its order."""
        counts = Counter(table["split"].to_pylist())
        summary = self.summary.model_copy(
            update={"clips": {n: counts[n] for n in SPLITS}, "lengths": lengths(table)}
        )
        return replace(self, summary=summary, rows=TableRows(table))

    def split(self, name: str) -> Split:
        """Raises DataError for an unknown split."""
        if name not in SPLITS:
            raise DataError(
                f"no split '{name}'{did_you_mean(name, SPLITS)}", expected=", ".join(SPLITS)
            )
        return self.splits[name]

    def usable(self, name: str, config: RunConfig) -> Split:
        """The clips of a split that are long enough for the run's windows.

        Raises DataError if there is none.
        """
        split, need = self.split(name), window_frames(config)
        fps = frame_rate(self.summary, config)
        if not len(split):
            raise DataError(
                f"{self.store.url} has no clip in split '{name}'",
                fix="Prepare more sources: it takes three to fill train, val and test.",
            )
        counts = self.summary.lengths.get(name, {})
        longest = int(frames_at(max(counts), self.summary.fps, fps))
        enough = [n for n in counts if frames_at(n, self.summary.fps, fps) >= need]
        if not enough:
            raise DataError(
                f"no clip in split '{name}' of {self.store.url} has {need} frames at {fps:g} fps",
                expected=f"at most {longest}",
                fix="Lower data.frames or raise data.fps, or prepare longer clips.",
            )
        return split.first(sum(counts[n] for n in enough))


def window_frames(config: RunConfig) -> int:
    """Frames of a training window: those of the video and, before them, `past`."""
    past = config.model.past_frames if "past" in config.model.conditions else 0
    return config.data.frames + past


def frames_at(frames: Any, own_fps: Any, fps: float) -> Any:
    """Frames of a clip of `frames` at `own_fps` when it is sampled at `fps`; numbers or arrays."""
    return np.floor(frames * (fps / own_fps) + 1e-6).astype(np.int64)


def frame_rate(summary: DatasetSummary, config: RunConfig) -> float:
    """Frames per second that clips are sampled at. Raises DataError if the data has fewer."""
    fps = config.data.fps or summary.fps
    if fps > summary.fps:
        raise DataError(
            f"data.fps is {fps:g}, the data set has {summary.fps:g} frames per second",
            fix=f"Set data.fps to {summary.fps:g} or less, or prepare with --set fps={fps:g}.",
        )
    return fps


def open_dataset(url: str | Store, storage: StorageConfig | None = None) -> Dataset:
    """Open a folder that `vidgen data prepare` made.

    Raises DataError if there is no data set, StorageError if the place cannot be read.
    """
    store = open_store(url, storage) if isinstance(url, str) else url
    return Dataset(store=store, summary=read_summary(store), rows=FileRows(store))
