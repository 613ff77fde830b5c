"""Batches of clips in an order that depends on (seed, epoch, global position) alone.

Legend: B batch, T frames, P past frames, H height, W width.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from vidgen.config.run import RunConfig
from vidgen.data.buckets import Bucket, BucketPlan
from vidgen.data.dataset import Dataset
from vidgen.data.making import BatchMaker, Picked
from vidgen.data.manifest import Row
from vidgen.data.order import fixed_seeds, permute, places
from vidgen.data.quarantine import open_quarantine
from vidgen.data.rows import Split
from vidgen.storage.tally import TALLY
from vidgen.types import Batch


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
        device: torch.device,
    ) -> None:
        self._rank, self._world, self._device = rank, world, device
        self._seed, self._step = config.seed, start_step
        self._plan = BucketPlan(config)
        splits = [_clips(dataset, split, bucket) for bucket in self._plan.buckets]
        self._quarantine = open_quarantine(config, clips=max(map(len, splits)), rank=rank)
        self._makers = [
            BatchMaker(
                dataset, bucket.config, clips, conditions, self._quarantine, still=bucket.still
            )
            for bucket, clips in zip(self._plan.buckets, splits, strict=True)
        ]
        # A GPU's batches are finished where they are taken, so that its work stays in order.
        self._late = device.type == "cuda"
        self._pin = self._late and config.data.pin_memory
        self._ready: queue.Queue[Batch | tuple[BatchMaker, Picked] | Exception]
        self._ready = queue.Queue(maxsize=config.data.prefetch)
        self._closed = threading.Event()
        self._made, self._busy_s = 0, 0.0
        self._told = (0, 0.0, TALLY.counts())
        self._thread = threading.Thread(target=self._fill, name="vidgen-loader", daemon=True)
        self._thread.start()

    def __next__(self) -> Batch:
        if self._closed.is_set():
            raise StopIteration
        item = self._ready.get()
        if isinstance(item, Exception):
            self.close()
            raise item
        if isinstance(item, tuple):
            maker, picked = item
            return maker.finish(picked, self._device)
        return item

    def spent(self) -> dict[str, float]:
        """`ready_batches` that wait to be taken, clips `set_aside` so far, and means per batch made
        since the last call: `load_s`; `read_s` and `read_bytes` of it in stores and `decode_s` in
        decoders, by all processes together.
        """
        made, busy, counts = self._made, self._busy_s, TALLY.counts()
        before, self._told = self._told, (made, busy, counts)
        batches = max(1, made - before[0])
        asked = counts - before[2]
        return {
            "ready_batches": self._ready.qsize(),
            "set_aside": self._quarantine.count,
            "load_s": (busy - before[1]) / batches,
            "read_s": asked.read_s / batches,
            "read_bytes": asked.read_bytes / batches,
            "decode_s": asked.decode_s / batches,
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
                item = self._next()
                self._busy_s += time.perf_counter() - began
                self._made += 1
                self._put(item)
        except Exception as error:  # raised again by __next__
            self._put(error)
        finally:
            for maker in self._makers:
                maker.close()

    def _next(self) -> Batch | tuple[BatchMaker, Picked]:
        step = self._plan.at(self._step)
        maker = self._makers[step.bucket]
        first = self._rank * step.clips // self._world
        last = (self._rank + 1) * step.clips // self._world
        seed = self._seed + (step.bucket << 40)  # an order of its own for every bucket
        start, count = step.start + first, last - first
        here = places(clips=len(maker.split), seed=seed, start=start, count=count)
        self._step += 1
        picked = maker.pick(here.clip, here.seed, train=True, pin=self._pin)
        return (maker, picked) if self._late else maker.finish(picked, self._device)

    def _put(self, item: Batch | tuple[BatchMaker, Picked] | Exception) -> None:
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
    device: torch.device | str = "cpu",
) -> Batches:
    """Batches for training, one per optimizer step.

    Step s holds global positions s*B to (s+1)*B - 1 and rank r its consecutive share of them, so
    that all ranks together see the same clips whatever their number.

    Args:
        conditions: names to build; default: those of `config.model.conditions`.
        device: where batches are normalised, augmented and handed over.

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
        device=torch.device(device),
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
    clips = dataset.usable(split, config)
    names = config.model.conditions if conditions is None else conditions
    order = permute(np.arange(min(limit, len(clips))), len(clips), key=0)
    mine = order[rank::world]
    quarantine = open_quarantine(config, clips=len(clips), rank=rank, split=split)
    maker = BatchMaker(dataset, config, clips, names, quarantine)
    try:
        for start in range(0, len(mine), batch_size):
            index = mine[start : start + batch_size]
            picked = maker.pick(index, fixed_seeds(index), train=False)
            yield EvalBatch(batch=maker.finish(picked), rows=picked.rows, index=index.tolist())
    finally:
        maker.close()


def _clips(dataset: Dataset, split: str, bucket: Bucket) -> Split:
    """The clips that are long enough for a bucket."""
    config = bucket.config
    if bucket.still:
        config = config.model_copy(update={"data": config.data.model_copy(update={"frames": 1})})
    return dataset.usable(split, config)
