"""Which clip stands at which global position: a function of (seed, epoch, position) alone.

Training reads positions 0, 1, 2, ...; step s uses positions s*B to (s+1)*B - 1. Position p is in
epoch p // n, where a keyed permutation of the n clips says which one it is. Ranks, loader processes
and restarts do not enter, and nothing of length n is ever stored.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]

_ROUNDS = 6
# What a random stream is for; streams of different purpose are independent.
_ORDER, _SAMPLE, _WINDOW, _STEP, _SUBSTITUTE, _UNIFORM = 1, 2, 3, 4, 5, 6


@dataclass(frozen=True, kw_only=True)
class Places:
    """What stands at consecutive global positions.

    Attributes:
        clip: (n,) int64 indices into the split.
        seed: (n,) int64 >= 0, one independent random stream per sample.
    """

    clip: NDArray[np.int64]
    seed: NDArray[np.int64]


def places(*, clips: int, seed: int, start: int, count: int) -> Places:
    """Clips and sample seeds at global positions start, ..., start + count - 1.

    Args:
        clips: how many clips the split has, at least 1.
        seed: the run's seed.
    """
    position = np.arange(start, start + count, dtype=np.uint64)
    epoch, offset = position // np.uint64(clips), position % np.uint64(clips)
    clip = np.empty(count, np.int64)
    for value in np.unique(epoch):
        rows = epoch == value
        clip[rows] = permute(offset[rows], clips, key=_key(_ORDER, seed, int(value)))
    streams = _mix(position ^ _mix(epoch ^ np.uint64(_key(_SAMPLE, seed))))
    return Places(clip=clip, seed=(streams >> np.uint64(1)).astype(np.int64))


def window(sample_seed: int, available: int, wanted: int) -> int:
    """First frame of a random window of `wanted` frames in a clip of `available` frames."""
    room = available - wanted + 1
    assert room > 0, f"a clip of {available} frames has no window of {wanted}"
    return _key(_WINDOW, sample_seed) % room


def substitute(sample_seed: int, attempt: int, clips: int) -> int:
    """The clip that stands in for one that does not decode, after `attempt` others."""
    return _key(_SUBSTITUTE, sample_seed, attempt) % clips


def uniform(sample_seed: int, count: int) -> NDArray[np.float64]:
    """`count` numbers in [0, 1) of a sample."""
    bits = _mix(np.arange(count, dtype=np.uint64) ^ np.uint64(_key(_UNIFORM, sample_seed)))
    return (bits >> np.uint64(11)).astype(np.float64) / 2**53


def draws(seed: int, step: NDArray[np.int64]) -> NDArray[np.float64]:
    """One number in [0, 1) for each step."""
    bits = _mix(step.astype(np.uint64) ^ np.uint64(_key(_STEP, seed)))
    return (bits >> np.uint64(11)).astype(np.float64) / 2**53


def fixed_seeds(index: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sample seeds of evaluation: a function of the index in the split alone."""
    return (_mix(index.astype(np.uint64)) >> np.uint64(1)).astype(np.int64)


def permute(index: NDArray[np.integer], n: int, *, key: int) -> NDArray[np.int64]:
    """Where a keyed pseudo-random permutation of 0..n-1 sends each index.

    A Feistel network permutes the smallest even-bit range that holds n; values outside 0..n-1 walk
    on until they are inside (Black and Rogaway 2002, "Ciphers with arbitrary finite domains").
    """
    half = np.uint64(max(1, ((n - 1).bit_length() + 1) // 2))
    low = (np.uint64(1) << half) - np.uint64(1)
    keys = [np.uint64(_key(key, turn)) for turn in range(_ROUNDS)]
    value = index.astype(np.uint64)
    outside = np.ones(len(value), bool)
    while outside.any():
        left, right = value[outside] >> half, value[outside] & low
        for turn in keys:
            left, right = right, left ^ (_mix(right ^ turn) & low)
        value[outside] = (left << half) | right
        outside = value >= n
    return value.astype(np.int64)


def _key(*parts: int) -> int:
    """64 bits that depend on every part and their order."""
    state = np.zeros(1, np.uint64)
    for part in parts:
        state = _mix(state ^ np.uint64(part % 2**64))
    return int(state[0])


def _mix(value: Words) -> Words:
    """SplitMix64's step: every output bit depends on every input bit."""
    value = value + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
