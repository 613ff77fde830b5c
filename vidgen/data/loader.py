"""Batches of clips in an order that depends on (seed, epoch, global position) alone.

Legend: B batch, T frames, P past frames, H height, W width.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from vidgen.config.run import RunConfig
from vidgen.data.conditions import make_condition
from vidgen.data.dataset import ClipCache, Dataset, Split, frame_rate, window_frames
from vidgen.data.ensure import ensure_dataset
from vidgen.data.manifest import Row
from vidgen.data.order import fixed_seeds, permute, places, window
from vidgen.data.pool import Pool, WorkerError
from vidgen.data.reasons import Rejected
from vidgen.data.video import Frames, decode
from vidgen.errors import DataError
from vidgen.storage.base import Store
from vidgen.types import Batch

__all__ = ["Batches", "EvalBatch", "all_rows", "batches", "ensure_dataset", "eval_batches"]


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
        size = config.train.batch_size
        self._first, self._last = rank * size // world, (rank + 1) * size // world
        self._size, self._seed, self._step = size, config.seed, start_step
        self._rows = dataset.usable(split, config)
        self._maker = _BatchMaker(dataset, config, conditions)
        self._ready: queue.Queue[Batch | Exception] = queue.Queue(maxsize=config.data.prefetch)
        self._closed = threading.Event()
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
                self._put(self._next())
        except Exception as error:  # raised again by __next__
            self._put(error)
        finally:
            self._maker.close()

    def _next(self) -> Batch:
        start = self._step * self._size + self._first
        here = places(
            clips=len(self._rows), seed=self._seed, start=start, count=self._last - self._first
        )
        self._step += 1
        return self._maker.make(
            [self._rows[index] for index in here.clip], here.seed, random_window=True
        )

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

    def __init__(self, dataset: Dataset, config: RunConfig, conditions: Sequence[str]) -> None:
        self.dataset, self.config, self.conditions = dataset, config, conditions
        self.fps = frame_rate(dataset.summary, config)
        self.size = (config.data.height, config.data.width)
        self.window = window_frames(config)
        names = config.data.labels or dataset.labels
        self.label_index = {name: index for index, name in enumerate(names)}
        if "label" in conditions and (unknown := set(dataset.labels) - set(names)):
            raise DataError(
                f"{dataset.store.url} has the label '{min(unknown)}', unknown to the model",
                expected=f"one of: {', '.join(names)}",
            )
        self.cache_bytes = config.data.cache_bytes if config.data.cache else 0
        read = partial(read_clip, dataset.store, fps=self.fps, size=self.size)
        self._pool: Pool[str, Frames] | None = None
        if config.data.loader_workers:
            self._pool = Pool(read, workers=config.data.loader_workers)
        self._read = read

    def make(self, rows: list[Row], seeds: np.ndarray, *, random_window: bool) -> Batch:
        """A Batch of the rows' clips; windows follow from the seeds, or are the middle."""
        clips = self._clips([row.clip for row in rows])
        cut = np.empty((len(rows), self.window, *self.size, 3), np.uint8)  # (B, P+T, H, W, 3)
        for n, (row, seed) in enumerate(zip(rows, seeds, strict=True)):
            frames, want = clips[row.clip], self.window
            spare = len(frames) - want
            if spare < 0:
                raise DataError(
                    f"{self.dataset.store.where(row.clip)} has {len(frames)} frames",
                    expected=f"the manifest's {row.frames} at {row.fps:g} per second",
                    fix="The file is damaged: prepare the data set again.",
                )
            start = window(int(seed), len(frames), want) if random_window else spare // 2
            cut[n] = frames[start : start + want]
        # (B, P+T, H, W, 3) uint8 -> (B, 3, P+T, H, W) in [-1, 1]
        whole = torch.from_numpy(cut).permute(0, 4, 1, 2, 3).float().div_(127.5).sub_(1)
        past = self.window - self.config.data.frames
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

    def _decode(self, keys: list[str]) -> Iterator[tuple[str, Frames]]:
        if self._pool is None:
            for key in keys:
                yield key, self._read(key)
            return
        for outcome in self._pool.run(keys):
            try:
                yield outcome.task, outcome.get()
            except WorkerError as error:
                where = self.dataset.store.where(outcome.task)
                raise DataError(f"cannot decode {where}: {error}") from None


def read_clip(store: Store, key: str, *, fps: float, size: tuple[int, int]) -> Frames:
    """A prepared clip as (T, H, W, 3) uint8 at a frame rate and (H, W).

    Raises DataError if it cannot be decoded, StorageError if it cannot be read.
    """
    try:
        return decode(store.read(key), fps=fps, size=size, name=store.where(key))
    except Rejected as error:
        raise DataError(
            f"cannot decode {error.detail}", fix="Prepare the data set again: the file is damaged."
        ) from None


def all_rows(split: Split) -> Iterator[Row]:
    """Every row of a split, in manifest order."""
    return (split[index] for index in range(len(split)))
