"""Rewards for being as real clips are in one measurement: a band around what they have."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from vidgen.rl.rewards.base import Reward
from vidgen.types import Condition

_NEAR = 0.1  # what is left and right of a clip's own past
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


class Level(Reward):
    """1 inside the band, falling with the ratio outside of it.

    Args:
        low, high: the band; empty: for a model that goes on from past frames, near what those
            frames have; for others, the 10 % and 90 % quantiles of real clips.
        above: whether more than the band is as bad as less.
    """

    floor = 1e-4  # below it a measurement is rounding noise
    least = 1  # frames that can be measured
    differentiable = True

    def __init__(
        self, low: float | None = None, high: float | None = None, *, above: bool = True
    ) -> None:
        self.low, self.high, self._above = low, high, above
        self._given = low is not None or high is not None

    @abstractmethod
    def measure(self, video: Tensor) -> Tensor:
        """(B,) measurements, >= 0, of (B, C, T, H, W) videos in [-1, 1]."""

    def fit(self, real: Tensor) -> None:
        ends = torch.quantile(
            self.measure(real).double(),
            torch.tensor([0.1, 0.9], dtype=torch.float64).to(real.device),
        )
        self.low = float(ends[0]) if self.low is None else self.low
        self.high = float(ends[1]) if self.high is None else self.high

    def __call__(self, video: Tensor, cond: Condition) -> Tensor:
        assert self.low is not None, "fit it first"
        assert self.high is not None, "fit it first"
        found = self.measure(video) + self.floor
        low: Tensor | float = self.low + self.floor
        high: Tensor | float = self.high + self.floor
        if not self._given and cond.past is not None and cond.past.shape[2] >= self.least:
            # Clips differ more from each other than one from its own past.
            own = self.measure(cond.past.to(video)) + self.floor
            low, high = (1 - _NEAR) * own, (1 + _NEAR) * own
        share = (found / low).clamp_max(1)
        if self._above:
            share = share * (high / found).clamp_max(1)
        return share


class Fault(Reward):
    """1 up to what real clips have of a fault, falling with the ratio above it.

    Args:
        level: what is no fault yet; empty: the median of real clips.
    """

    floor = 1e-4

    def __init__(self, level: float | None = None) -> None:
        self.level = level

    @abstractmethod
    def measure(self, video: Tensor) -> Tensor:
        """(B,) measurements, >= 0, of (B, C, T, H, W) videos in [-1, 1]."""

    def fit(self, real: Tensor) -> None:
        if self.level is None:
            self.level = float(self.measure(real).median())

    def __call__(self, video: Tensor, cond: Condition) -> Tensor:
        assert self.level is not None, "fit it first"
        return ((self.level + self.floor) / (self.measure(video) + self.floor)).clamp_max(1)


def luma(video: Tensor) -> Tensor:
    """Brightness (B, T, H, W) in [0, 1]."""
    weights = torch.tensor(_LUMA, dtype=video.dtype, device=video.device)
    return (torch.einsum("bcthw,c->bthw", video, weights) + 1) / 2
