"""Convolutions over video that never look ahead, and can go on where they left off.

B batch, C channels, T frames, H height, W width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidgen.nn.conv import ChannelNorm

Cache = dict[nn.Module, Tensor]  # the last frames that each layer saw

Factors = tuple[int, int, int]  # of time, height and width


class CausalConv3d(nn.Module):
    """A 3D convolution whose frame t sees frames up to t. What lies before the first is like it.

    With a cache a video may come in pieces: the outcome is that of the whole.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int = 3) -> None:
        super().__init__()
        self.before = kernel - 1
        self.conv = nn.Conv3d(inputs, outputs, kernel, padding=(0, kernel // 2, kernel // 2))

    def forward(self, x: Tensor, cache: Cache | None = None) -> Tensor:
        """(B, C, T, H, W) to the same T, H and W."""
        earlier = cache.get(self) if cache is not None else None
        if earlier is None:
            earlier = x[:, :, :1].expand(-1, -1, self.before, -1, -1)
        x = torch.cat([earlier, x], 2)
        if cache is not None:
            cache[self] = x[:, :, x.shape[2] - self.before :]
        out: Tensor = self.conv(x)
        return out


class CausalBlock(nn.Module):
    """Two convolutions beside a straight way."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = ChannelNorm(width), CausalConv3d(width, width)
        self.norm2, self.conv2 = ChannelNorm(width), CausalConv3d(width, width)
        nn.init.zeros_(self.conv2.conv.weight)
        nn.init.zeros_(self.conv2.conv.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, cache: Cache | None = None) -> Tensor:
        """(B, C, T, H, W) to the same shape."""
        y = self.conv1(F.silu(self.norm1(x)), cache)
        out: Tensor = x + self.conv2(F.silu(self.norm2(y)), cache)
        return out


def fold(x: Tensor, factors: Factors) -> Tensor:
    """Pixels of every (a, b, c) box into channels, (B, C, T, H, W) to (B, C*a*b*c, ...)."""
    (n, ch, t, h, w), (a, b, c) = x.shape, factors
    x = x.reshape(n, ch, t // a, a, h // b, b, w // c, c).permute(0, 1, 3, 5, 7, 2, 4, 6)
    return x.reshape(n, ch * a * b * c, t // a, h // b, w // c)


def unfold(x: Tensor, factors: Factors) -> Tensor:
    """The inverse of `fold`."""
    (n, ch, t, h, w), (a, b, c) = x.shape, factors
    x = x.reshape(n, ch // (a * b * c), a, b, c, t, h, w).permute(0, 1, 5, 2, 6, 3, 7, 4)
    return x.reshape(n, ch // (a * b * c), t * a, h * b, w * c)
