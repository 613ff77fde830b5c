"""Finite scalar quantisation (arXiv:2309.15505): each channel to one of a few levels.

B batch, C channels, ... places.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

_WIDER = 1 + 1e-3  # than the outermost levels, or of two levels none could be reached


class FiniteScalars(nn.Module):
    """Rounds every channel to its number of levels between -1 and 1; nothing to collapse.

    Gradients pass the rounding as if it were not there.
    """

    counts: Tensor
    places: Tensor

    def __init__(self, levels: tuple[int, ...]) -> None:
        super().__init__()
        self.size = math.prod(levels)
        counts = torch.tensor(levels)
        self.register_buffer("counts", counts, persistent=False)
        places = torch.cumprod(torch.tensor([1, *levels[:-1]]), 0)
        self.register_buffer("places", places, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) of any size to levels in [-1, 1], the same shape."""
        bounded = self._bounded(x)
        return (bounded + (bounded.round() - bounded).detach()) / self._half(x) + self._offset(x)

    def codes(self, x: Tensor) -> Tensor:
        """(B, C, ...) to one number below `size` per place, (B, ...) int64."""
        rank = self._bounded(x).round().long() + self._like(self.counts // 2, x)
        return (rank * self._like(self.places, x)).sum(1)

    def levels(self, codes: Tensor) -> Tensor:
        """The inverse of `codes`, as `forward` would give it: (B, ...) to (B, C, ...)."""
        wide = codes[:, None]
        rank = wide // self._like(self.places, wide) % self._like(self.counts, wide)
        centred = (rank - self._like(self.counts // 2, wide)).float()
        return centred / self._half(wide) + self._offset(wide)

    def aim(self, wish: Tensor) -> Tensor:
        """What `forward` takes to the levels nearest to a wish in [-1, 1], (B, C, ...)."""
        return wish.float().clamp(-0.98, 0.98).atanh() - self._start(wish)

    def _bounded(self, x: Tensor) -> Tensor:
        """Into a range whose whole numbers are the levels: for an even count one more below zero
        than above, so the range is shifted by half a level."""
        half = self._half(x) * _WIDER
        return (x.float() + self._start(x)).tanh() * half - self._offset(x) * self._half(x)

    def _start(self, x: Tensor) -> Tensor:
        """Where on the tanh nothing comes to lie: half a level up for an even count."""
        return torch.atanh(self._offset(x) / _WIDER)

    def _half(self, x: Tensor) -> Tensor:
        return (self._like(self.counts, x) - 1) / 2

    def _offset(self, x: Tensor) -> Tensor:
        """Puts the levels of an even count evenly around zero."""
        even = self._like(self.counts, x) % 2 == 0
        return torch.where(even, 0.5, 0.0) / self._half(x)

    @staticmethod
    def _like(values: Tensor, x: Tensor) -> Tensor:
        return values.view(-1, *(1,) * (x.ndim - 2)).to(x.device)
