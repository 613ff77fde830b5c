"""The slowest waves of a box of pixels: what a small copy of a video keeps of it."""

from __future__ import annotations

import math
from itertools import product

import torch
from torch import Tensor


def slow_waves(channels: int, box: tuple[int, int, int], count: int) -> Tensor:
    """The first `count` cosines over a box of (a, b, c) pixels (DCT-II), slowest first, each in
    every channel: (count, C*a*b*c), in the order of `fold`.

    Rows are orthogonal and their mean square over a channel is 1, so the first C times a channel's
    mean colour give it back. Rows past the last wave are zero.
    """
    axes = [_cosines(size) for size in box]
    slowest = sorted(product(*map(range, box)), key=lambda k: (sum(n * n for n in k), k))
    rows = torch.zeros(count, channels, math.prod(box))
    for row, (wave, channel) in enumerate(product(slowest, range(channels))):
        if row == count:
            break
        a, b, c = (axis[n] for axis, n in zip(axes, wave, strict=True))
        rows[row, channel] = torch.einsum("a,b,c->abc", a, b, c).flatten()
    return rows.flatten(1)


def _cosines(size: int) -> Tensor:
    """(size, size): wave by pixel."""
    places = (torch.arange(size) + 0.5) / size
    waves = (math.pi * torch.arange(size)[:, None] * places).cos() * math.sqrt(2)
    waves[0] = 1.0
    return waves
