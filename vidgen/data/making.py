"""Rows of a manifest to batches: choose a window, read it, replace what does not decode, convert.

Legend: B batch, T frames, P past frames, H height, W width.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidgen.config.run import RunConfig
from vidgen.data.augment import augment, speed
from vidgen.data.conditions import make_condition
from vidgen.data.dataset import Dataset, frame_rate, frames_at, window_frames
from vidgen.data.fetch import Window, WindowReader, window_of
from vidgen.data.manifest import Row
from vidgen.data.order import window
from vidgen.data.picture import Frames
from vidgen.data.pool import Pool, WorkerError
from vidgen.data.quarantine import Quarantine
from vidgen.data.reasons import Rejected
from vidgen.data.rows import Split
from vidgen.errors import DataError
from vidgen.storage.open import open_store
from vidgen.types import Batch


@dataclass(frozen=True, kw_only=True)
class Picked:
    """Decoded clips of a batch.

    Attributes:
        frames: (B, P+T, H, W, 3) uint8, in page-locked memory if asked for.
        rows: what they show.
        seeds: (B,) int64, one per sample.
        train: whether they are to be augmented.
    """

    frames: Tensor
    rows: list[Row]
    seeds: NDArray[np.int64]
    train: bool


@dataclass(frozen=True)
class _Choice:
    """The frames of a clip that a sample shows: `at`, counted from the first one of `window`."""

    window: Window
    at: NDArray[np.int64]


class BatchMaker:
    """Makes batches of one shape.

    Args:
        split: the clips to choose from; the same ones stand in for those that do not decode.
        conditions: names of those to build.
        still: whether a clip is one frame, shown for all of them.
    """

    def __init__(
        self,
        dataset: Dataset,
        config: RunConfig,
        split: Split,
        conditions: Sequence[str],
        quarantine: Quarantine,
        *,
        still: bool = False,
    ) -> None:
        self.dataset, self.config, self.split = dataset, config, split
        self.conditions, self.quarantine = conditions, quarantine
        self.fps = frame_rate(dataset.summary, config)
        self.size = (config.data.height, config.data.width)
        self.wanted = window_frames(config)
        self.window = 1 if still else self.wanted
        names = config.data.labels or dataset.labels
        self.label_index = {name: index for index, name in enumerate(names)}
        if "label" in conditions and (unknown := set(dataset.labels) - set(names)):
            raise DataError(
                f"{dataset.store.url} has the label '{min(unknown)}', unknown to the model",
                expected=f"one of: {', '.join(names)}",
            )
        self.cache_bytes = config.data.cache_bytes if config.data.cache else 0
        self._read = _reader(dataset, config, self.fps, self.size)
        self._pool: Pool[Window, Frames] | None = None
        if config.data.loader_workers:
            workers = config.data.loader_workers
            self._pool = Pool(self._read, workers=workers, ahead=self._read.ahead)

    def pick(
        self, index: NDArray[np.int64], seeds: NDArray[np.int64], *, train: bool, pin: bool = False
    ) -> Picked:
        """Read the clips at `index` of the split. In training, windows follow from the seeds; else
        they are the middle.

        Raises DataError when too many clips do not decode, StorageError.
        """
        rows = self.split.take(index)
        out = torch.empty(
            (len(rows), self.window, *self.size, 3), dtype=torch.uint8, pin_memory=pin
        )
        frames = out.numpy()
        attempts = [0] * len(rows)
        pending = list(range(len(rows)))
        while pending:
            chosen: dict[Window, list[tuple[int, _Choice]]] = {}
            for n in pending:
                seed = int(seeds[n])
                while self.quarantine.holds(rows[n]):
                    attempts[n] += 1
                    rows[n] = self.split[self.quarantine.instead(seed, attempts[n])]
                choice = self._choose(rows[n], seed if train else None)
                chosen.setdefault(choice.window, []).append((n, choice))
            pending = []
            for place, found in self._frames(chosen):
                for n, choice in chosen[place]:
                    if isinstance(found, Exception):
                        pending.append(n)
                        if not self.quarantine.holds(rows[n]):
                            self.quarantine.add(rows[n], found)
                    else:
                        frames[n] = found[choice.at]
        return Picked(frames=out, rows=rows, seeds=np.asarray(seeds, np.int64), train=train)

    def finish(self, picked: Picked, device: torch.device | str = "cpu") -> Batch:
        """Normalised, augmented and with their conditions, on a device."""
        seeds = torch.from_numpy(picked.seeds)
        # (B, P+T, H, W, 3) uint8 -> (B, 3, P+T, H, W) in [-1, 1]
        whole = picked.frames.to(device, non_blocking=True).permute(0, 4, 1, 2, 3)
        whole = whole.float().div_(127.5).sub_(1)
        if picked.train:
            whole = augment(whole, seeds, self.config.data.augment)
        whole = whole.expand(-1, -1, self.wanted, -1, -1) if self.window == 1 else whole
        past = self.wanted - self.config.data.frames
        video = whole[:, :, past:].contiguous()
        cond = make_condition(
            self.conditions,
            video,
            past=whole[:, :, :past].contiguous() if past else None,
            captions=[row.caption for row in picked.rows],
            labels=[self.label_index.get(row.label, -1) for row in picked.rows],
        )
        return Batch(video=video, cond=cond, seed=seeds)

    def close(self) -> None:
        if self._pool is not None:
            self._pool.close()

    def _choose(self, row: Row, seed: int | None) -> _Choice:
        """Which frames of a clip: drawn with a seed, the middle at its own speed without."""
        config, length = self.config.data.augment, self.window
        available = int(frames_at(row.frames, row.fps, self.fps))
        times = 1.0
        if seed is not None and length > 1:
            times = speed(seed, config.speed, (available - 1) / (length - 1))
        at = np.rint(np.arange(length) * times).astype(np.int64)
        span = int(at[-1]) + 1
        if seed is None or not config.shift:
            start = (available - span) // 2
        else:
            start = window(seed, available, span)
        size = available * self.size[0] * self.size[1] * 3
        whole = window_of(row, 0, available, self.fps)
        if row.clip and self.dataset.cache.wants(self._held(whole), size, self.cache_bytes):
            return _Choice(whole, at + start)
        return _Choice(window_of(row, start, span, self.fps), at)

    def _held(self, place: Window) -> tuple[object, ...]:
        return (place.key, place.packets, self.fps, self.size)

    def _frames(
        self, chosen: dict[Window, list[tuple[int, _Choice]]]
    ) -> Iterator[tuple[Window, Frames | Exception]]:
        """Windows with their frames, or why they do not decode; in any order."""
        cache, missing = self.dataset.cache, []
        for place in chosen:
            held = cache.get(self._held(place))
            if held is not None and place.start == 0 and place.frames == len(held):
                yield place, held
            else:
                missing.append(place)
        for place, found in self._decode(missing):
            whole = self.dataset.summary.originals is None and place.start == 0
            if whole and not isinstance(found, Exception):
                cache.keep(self._held(place), found, self.cache_bytes)
            yield place, found

    def _decode(self, places: Iterable[Window]) -> Iterator[tuple[Window, Frames | Exception]]:
        if self._pool is None:
            for place in places:
                try:
                    yield place, self._read(place)
                except Rejected as error:
                    yield place, error
            return
        for last_try in (False, True):
            died = []
            for outcome in self._pool.run(places):
                try:
                    yield outcome.task, outcome.get()
                except Rejected as error:
                    yield outcome.task, error
                except WorkerError as error:
                    if last_try:
                        yield outcome.task, error
                    died.append(outcome.task)  # perhaps not its fault
            places = died


def _reader(dataset: Dataset, config: RunConfig, fps: float, size: tuple[int, int]) -> WindowReader:
    """What decodes the clips of this data set."""
    summary, data = dataset.summary, config.data
    videos = dataset.store
    if summary.originals is not None:
        videos = open_store(data.originals or summary.originals, config.storage)
    fit: Any = summary.options.get("fit", "crop")
    return WindowReader(
        dataset.store,
        videos,
        fps=fps,
        size=size,
        fit=fit if summary.originals is not None else "crop",
        cache=Path(data.disk_cache) if data.disk_cache else None,
        cache_bytes=data.disk_cache_bytes,
        skip_loop_filter=data.skip_loop_filter,
    )
