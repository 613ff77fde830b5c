"""Batches of clips in an order that depends on (seed, epoch, global position) alone.

Legend: B batch, T frames, P past frames, H height, W width.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from vidgen.config.run import RunConfig
from vidgen.data.buckets import Bucket, BucketPlan
from vidgen.data.conditions import make_condition
from vidgen.data.dataset import ClipCache, Dataset, Split, frame_rate, frames_at, window_frames
from vidgen.data.ensure import ensure_dataset
from vidgen.data.fetch import OriginalClips, PackedClips, Window
from vidgen.data.manifest import Row
from vidgen.data.order import fixed_seeds, permute, places, window
from vidgen.data.pool import Pool, WorkerError
from vidgen.data.video import Frames
from vidgen.errors import DataError
from vidgen.storage.open import open_store
from vidgen.storage.tally import TALLY
from vidgen.types import Batch

__all__ = ["Batches", "EvalBatch", "all_rows", "batches", "ensure_dataset", "eval_batches"]

Task = TypeVar("Task")


@dataclass(frozen=True, kw_only=True)
class EvalBatch:
    """Clips of a fixed pass over a split.

    Attributes:
        batch: video, conditions and seeds.
        rows: the manifest row of each clip.
        index: each clip's place among the usable clips of its split.
    """

    batch: Batch
    rows: list[Row]
    index: list[int]

    @property
    def captions(self) -> list[str]:
        return [row.caption for row in self.rows]


class Batches(Iterator[Batch]):
    """This rank's share of every global batch from `start_step` on, without end.

    A thread works `data.prefetch` batches ahead and then waits. Close it to end the thread and the
    decoder processes; errors of the thread are raised by `next`.
    """

    def __init__(
        self,
        dataset: Dataset,
        config: RunConfig,
        *,
        split: str,
        rank: int,
        world: int,
        start_step: int,
        conditions: Sequence[str],
    ) -> None:
        self._rank, self._world = rank, world
        self._seed, self._step = config.seed, start_step
        self._plan = BucketPlan(config)
        self._rows = [_rows(dataset, split, bucket) for bucket in self._plan.buckets]
        self._makers = [
            _BatchMaker(dataset, bucket.config, conditions, still=bucket.still)
            for bucket in self._plan.buckets
        ]
        self._ready: queue.Queue[Batch | Exception] = queue.Queue(maxsize=config.data.prefetch)
        self._closed = threading.Event()
        self._made, self._busy_s = 0, 0.0
        self._told = (0, 0.0, TALLY.counts().read_s)
        self._thread = threading.Thread(target=self._fill, name="vidgen-loader", daemon=True)
        self._thread.start()

    def __next__(self) -> Batch:
        if self._closed.is_set():
            raise StopIteration
        item = self._ready.get()
        if isinstance(item, Exception):
            self.close()
            raise item
        return item

    def spent(self) -> dict[str, float]:
        """`ready_batches` that wait to be taken, and means per batch made since the last call:
        `load_s`, and `read_s` of it in stores, by all decoder processes together.
        """
        made, busy, read = self._made, self._busy_s, TALLY.counts().read_s
        before, self._told = self._told, (made, busy, read)
        batches = max(1, made - before[0])
        return {
            "ready_batches": self._ready.qsize(),
            "load_s": (busy - before[1]) / batches,
            "read_s": (read - before[2]) / batches,
        }

    def close(self) -> None:
        """Stop reading ahead. Safe to call twice."""
        self._closed.set()
        while not self._ready.empty():  # let a waiting `put` go on
            self._ready.get_nowait()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def __enter__(self) -> Batches:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _fill(self) -> None:
        try:
            while not self._closed.is_set():
                began = time.perf_counter()
                batch = self._next()
                self._busy_s += time.perf_counter() - began
                self._made += 1
                self._put(batch)
        except Exception as error:  # raised again by __next__
            self._put(error)
        finally:
            for maker in self._makers:
                maker.close()

    def _next(self) -> Batch:
        step = self._plan.at(self._step)
        rows, maker = self._rows[step.bucket], self._makers[step.bucket]
        first = self._rank * step.clips // self._world
        last = (self._rank + 1) * step.clips // self._world
        seed = self._seed + (step.bucket << 40)  # an order of its own for every bucket
        here = places(clips=len(rows), seed=seed, start=step.start + first, count=last - first)
        self._step += 1
        return maker.make([rows[index] for index in here.clip], here.seed, random_window=True)

    def _put(self, item: Batch | Exception) -> None:
        while not self._closed.is_set():
            try:
                self._ready.put(item, timeout=0.2)
                return
            except queue.Full:
                continue


def batches(
    dataset: Dataset,
    config: RunConfig,
    *,
    split: str = "train",
    rank: int = 0,
    world: int = 1,
    start_step: int = 0,
    conditions: Sequence[str] | None = None,
) -> Batches:
    """Batches for training, one per optimizer step.

    Step s holds global positions s*B to (s+1)*B - 1 and rank r its consecutive share of them, so
    that all ranks together see the same clips whatever their number.

    Args:
        conditions: names to build; default: those of `config.model.conditions`.

    Raises DataError if no clip is long enough.
    """
    names = config.model.conditions if conditions is None else conditions
    return Batches(
        dataset,
        config,
        split=split,
        rank=rank,
        world=world,
        start_step=start_step,
        conditions=names,
    )


def eval_batches(
    dataset: Dataset,
    config: RunConfig,
    *,
    split: str,
    limit: int,
    batch_size: int,
    rank: int = 0,
    world: int = 1,
    conditions: Sequence[str] | None = None,
) -> Iterator[EvalBatch]:
    """At most `limit` clips of a split: always the same ones, order and windows.

    They are spread over the split; with several ranks each takes every world-th.
    Raises DataError if no clip is long enough.
    """
    rows = dataset.usable(split, config)
    names = config.model.conditions if conditions is None else conditions
    order = permute(np.arange(min(limit, len(rows))), len(rows), key=0)
    mine = order[rank::world]
    maker = _BatchMaker(dataset, config, names)
    try:
        for start in range(0, len(mine), batch_size):
            index = mine[start : start + batch_size]
            chosen = [rows[i] for i in index]
            batch = maker.make(chosen, fixed_seeds(index), random_window=False)
            yield EvalBatch(batch=batch, rows=chosen, index=index.tolist())
    finally:
        maker.close()


class _BatchMaker:
    """Manifest rows to a Batch: fetch, decode (or take from the cache), cut, convert."""

    def __init__(
        self,
        dataset: Dataset,
        config: RunConfig,
        conditions: Sequence[str],
        *,
        still: bool = False,
    ) -> None:
        self.dataset, self.config, self.conditions = dataset, config, conditions
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
        self._pool: Pool[Any, Frames] | None = None
        if config.data.loader_workers:
            self._pool = Pool(self._read, workers=config.data.loader_workers)

    def make(self, rows: list[Row], seeds: np.ndarray, *, random_window: bool) -> Batch:
        """A Batch of the rows' clips; windows follow from the seeds, or are the middle."""
        cut = np.empty((len(rows), self.window, *self.size, 3), np.uint8)  # (B, P+T, H, W, 3)
        chosen = [int(seed) if random_window else None for seed in seeds]
        if self.dataset.summary.originals is None:
            self._cut_packed(rows, chosen, cut)
        else:
            self._cut_originals(rows, chosen, cut)
        # (B, P+T, H, W, 3) uint8 -> (B, 3, P+T, H, W) in [-1, 1]
        whole = torch.from_numpy(cut).permute(0, 4, 1, 2, 3).float().div_(127.5).sub_(1)
        whole = whole.expand(-1, -1, self.wanted, -1, -1) if self.window == 1 else whole
        past = self.wanted - self.config.data.frames
        video = whole[:, :, past:].contiguous()
        cond = make_condition(
            self.conditions,
            video,
            past=whole[:, :, :past].contiguous() if past else None,
            captions=[row.caption for row in rows],
            labels=[self.label_index.get(row.label, -1) for row in rows],
        )
        return Batch(video=video, cond=cond, seed=torch.from_numpy(np.array(seeds, np.int64)))

    def close(self) -> None:
        if self._pool is not None:
            self._pool.close()

    def _cut_packed(self, rows: list[Row], seeds: list[int | None], out: Frames) -> None:
        """Windows of prepared clips, which are decoded, and cached, whole."""
        clips = self._clips([row.clip for row in rows])
        for n, (row, seed) in enumerate(zip(rows, seeds, strict=True)):
            frames = clips[row.clip]
            if len(frames) < self.window:
                raise DataError(
                    f"{self.dataset.store.where(row.clip)} has {len(frames)} frames",
                    expected=f"the manifest's {row.frames} at {row.fps:g} per second",
                    fix="The file is damaged: prepare the data set again.",
                )
            start = self._start(len(frames), seed)
            out[n] = frames[start : start + self.window]

    def _cut_originals(self, rows: list[Row], seeds: list[int | None], out: Frames) -> None:
        """Windows of original videos: only their frames are read."""
        wanted: dict[Window, list[int]] = {}
        for n, (row, seed) in enumerate(zip(rows, seeds, strict=True)):
            start = self._start(int(frames_at(row.frames, row.fps, self.fps)), seed)
            piece = Window(
                source=row.source,
                packets=row.packets,
                start_s=row.start_s + start / self.fps,
                frames=self.window,
            )
            wanted.setdefault(piece, []).append(n)
        for piece, frames in self._decode(wanted):
            out[wanted[piece]] = frames

    def _start(self, available: int, seed: int | None) -> int:
        """First frame of a clip's window: drawn with a seed, the middle without."""
        if seed is None:
            return (available - self.window) // 2
        return window(seed, available, self.window)

    def _clips(self, keys: list[str]) -> dict[str, Frames]:
        """Decoded clips by key."""
        cache: ClipCache = self.dataset.cache
        found: dict[str, Frames] = {}
        for key in dict.fromkeys(keys):
            held = cache.get((key, self.fps, self.size))
            if held is not None:
                found[key] = held
        missing = [key for key in dict.fromkeys(keys) if key not in found]
        for key, frames in self._decode(missing):
            cache.keep((key, self.fps, self.size), frames, self.cache_bytes)
            found[key] = frames
        return found

    def _decode(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, Frames]]:
        """Keys of clips, or windows of originals, with their frames; in any order."""
        if self._pool is None:
            for task in tasks:
                yield task, self._read(task)
            return
        for outcome in self._pool.run(tasks):
            try:
                yield outcome.task, outcome.get()
            except WorkerError as error:
                task = outcome.task
                what = task.source if isinstance(task, Window) else self.dataset.store.where(task)
                raise DataError(f"cannot decode {what}: {error}") from None


def _rows(dataset: Dataset, split: str, bucket: Bucket) -> Split:
    """The clips that are long enough for a bucket."""
    config = bucket.config
    if bucket.still:
        config = config.model_copy(update={"data": config.data.model_copy(update={"frames": 1})})
    return dataset.usable(split, config)


def _reader(
    dataset: Dataset, config: RunConfig, fps: float, size: tuple[int, int]
) -> Callable[[Any], Frames]:
    """What decodes a clip of this data set."""
    summary, data = dataset.summary, config.data
    if summary.originals is None:
        return PackedClips(dataset.store, fps=fps, size=size)
    return OriginalClips(
        dataset.store,
        open_store(data.originals or summary.originals, config.storage),
        fps=fps,
        size=size,
        fit=summary.options.get("fit", "crop"),
        cache=Path(data.disk_cache) if data.disk_cache else None,
        cache_bytes=data.disk_cache_bytes,
    )


def all_rows(split: Split) -> Iterator[Row]:
    """Every row of a split, in manifest order."""
    return (split[index] for index in range(len(split)))
