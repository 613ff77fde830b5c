"""What shape the clips of a step have: a function of (seed, step) alone.

A step draws one bucket, the same for all ranks, so that no rank works longer than another. Buckets
that come and go with the steps are a curriculum; one of still frames trains on images among videos.
A step of smaller clips has more of them: as many tokens as `train.batch_size` clips of full size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidgen.config.data import BucketConfig
from vidgen.config.run import RunConfig
from vidgen.data.order import draws

_EVEN = 8  # clips of a step come in as many as divide the batch size, at most


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """Clips of one shape.

    Attributes:
        config: the run's, with this shape in `data`.
        still: whether a clip is one frame, shown for all of them.
        clips: how many a step has, over all ranks.
    """

    config: RunConfig
    still: bool
    clips: int


@dataclass(frozen=True, kw_only=True)
class Place:
    """What a step reads.

    Attributes:
        bucket: index into `BucketPlan.buckets`.
        start: the step's first global position among those of its bucket.
        clips: how many positions it reads, over all ranks.
    """

    bucket: int
    start: int
    clips: int


class BucketPlan:
    """The buckets of a run and which step draws which."""

    def __init__(self, config: RunConfig) -> None:
        self._config = config
        self.buckets = _buckets(config)
        self._next = 0  # the step that `_starts` is about
        self._starts = [0] * len(self.buckets)

    def at(self, step: int) -> Place:
        """Where step `step` (from 0) reads; cheapest when asked step by step."""
        if step < self._next:
            self._next, self._starts = 0, [0] * len(self.buckets)
        if step > self._next:
            drawn = self._drawn(np.arange(self._next, step))
            for index, times in enumerate(np.bincount(drawn, minlength=len(self.buckets))):
                self._starts[index] += int(times) * self.buckets[index].clips
            self._next = step
        bucket = int(self._drawn(np.array([step]))[0])
        return Place(bucket=bucket, start=self._starts[bucket], clips=self.buckets[bucket].clips)

    def _drawn(self, steps: NDArray[np.int64]) -> NDArray[np.int64]:
        """The bucket of each step."""
        buckets = self._config.data.buckets
        if not buckets:
            return np.zeros(len(steps), np.int64)
        shares = np.stack([np.where(_active(b, steps), b.share, 0.0) for b in buckets])
        edges = np.cumsum(shares, 0)  # (buckets, steps)
        drawn = draws(self._config.seed, steps) * edges[-1]
        return np.asarray((drawn >= edges).sum(0), np.int64)


def _active(bucket: BucketConfig, steps: NDArray[np.int64]) -> NDArray[np.bool_]:
    until = math.inf if bucket.until is None else bucket.until
    return (steps >= bucket.since) & (steps < until)


def _buckets(config: RunConfig) -> list[Bucket]:
    data, size = config.data, config.train.batch_size
    if not data.buckets:
        return [Bucket(config=config, still=False, clips=size)]
    found = []
    for each in data.buckets:
        shape = {
            "frames": each.frames or data.frames,
            "height": each.height or data.height,
            "width": each.width or data.width,
        }
        full = data.frames * data.height * data.width
        clips = size * full // math.prod(shape.values())
        clips -= clips % math.gcd(size, _EVEN)
        shaped = config.model_copy(update={"data": data.model_copy(update=shape)})
        found.append(Bucket(config=shaped, still=each.still, clips=clips))
    return found
