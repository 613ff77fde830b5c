"""Small parts of convolutional networks on pictures and on videos."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ChannelNorm(nn.Module):
    """RMS norm over the channels at every place of (B, C, ...): no place sees another, so a video
    can be worked on in pieces without seams."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        shape = (-1, *(1,) * (x.ndim - 2))
        size = x.float().square().mean(1, keepdim=True).add(1e-6).rsqrt()
        return (x * size).to(x.dtype) * self.scale.view(shape).to(x.dtype)


def rising(share: float, depth: int) -> list[float]:
    """How often to leave out each of `depth` blocks: the last as often as `share` says, earlier
    ones less often, evenly."""
    return [share * (n + 1) / depth for n in range(depth)]


class StochasticDepth(nn.Module):
    """Leaves a residual branch out of a share of the samples in training (arXiv:1603.09382)."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.share:
            return x
        kept = torch.rand(len(x), *(1,) * (x.ndim - 1), device=x.device) >= self.share
        return x * kept / (1 - self.share)
